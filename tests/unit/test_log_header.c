#include "keystore/log_header.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "tests/unit/own_seal.h"
#include "tests/unit/tap.h"

#define UNKNOWN_TYPE 99u /* of a seal that a later version may know */

#define AT_SIZE	     12u /* offsets in a header */
#define AT_N_SLOTS   52u
#define AT_SLOTS     56u
#define SLOT_FIXED   20u
#define SLOT_WRAPPED 72u

static struct own_seal keyfile = { .secret = 1, .out_of_reach = -1 };
static struct own_seal passphrase = { .secret = 2, .out_of_reach = -1 };
static struct secret *dek, *other_dek;
static char why_text[1024]; /* of the latest open */

/* a header's KEKs and parameters, while it is written */
struct making {
	struct log_header header;
	struct secret *keks[LOG_MAX_SLOTS];
	struct buf params[LOG_MAX_SLOTS];
};

static void making_fini(struct making *m)
{
	for (size_t i = 0; i < LOG_MAX_SLOTS; i++) {
		secret_free(m->keks[i]);
		buf_fini(&m->params[i]);
	}
}

static void add(struct making *m, uint32_t type, struct own_seal *own)
{
	const struct seal seal = own_seal((enum seal_type)type, own);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(64);
	size_t i = m->header.n_slots++;

	m->params[i] = BUF_INIT(SEAL_MAX_PARAMS);
	CHECK_INT(seal.make(&seal, &m->params[i], &why, &m->keks[i]), 0);
	m->header.slots[i] = (struct log_slot){ .number = m->header.next_slot++,
						.type = type,
						.created_ms = 1000 + (int64_t)i,
						.params = buf_bytes(&m->params[i]),
						.kek = m->keks[i] };
}

static struct making begin(void)
{
	struct making m = { .header = { .generation = 7, .created_ms = -5, .next_slot = 3 } };

	memset(m.header.file_id, 0xf1, sizeof(m.header.file_id));
	return m;
}

/* slots: a key file's, one of a kind that nobody knows, two of a passphrase */
static void write_four(struct buf *ret)
{
	CLEANUP(making_fini) struct making m = begin();

	keyfile.next = 'k';
	passphrase.next = 'p';
	add(&m, SEAL_KEYFILE, &keyfile);
	add(&m, UNKNOWN_TYPE, &keyfile);
	add(&m, SEAL_PASSPHRASE, &passphrase);
	add(&m, SEAL_PASSPHRASE, &passphrase);
	CHECK_INT(log_header_write(&m.header, dek, ret), 0);
	CHECK_INT(m.header.size, ret->n);
}

static int parse(struct bytes file, struct log_header *ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r = log_header_parse(file, "/some/keystore", &why, ret);

	memset(why_text, 0, sizeof(why_text));
	if (why.n)
		memcpy(why_text, why.p, why.n);
	return r;
}

static int parse_and_open(struct bytes file, enum seal_type type, struct own_seal *own, struct secret **ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	const struct seal seal = own_seal(type, own);
	struct log_header header;
	int r = parse(file, &header);

	if (r < 0)
		return r;
	own->n_opened = 0;
	r = log_header_open(&header, file, &seal, "/some/keystore", &why, ret);
	memset(why_text, 0, sizeof(why_text));
	if (why.n)
		memcpy(why_text, why.p, why.n);
	return r;
}

/* Does it open, and to @want? Otherwise: the error. */
static int opens(struct bytes file, enum seal_type type, struct own_seal *own, const struct secret *want)
{
	CLEANUP(secret_freep) struct secret *got = NULL;
	int r = parse_and_open(file, type, own, &got);

	if (r < 0 && got)
		return ERR_INTERNAL; /* on failure nothing may come out */
	return r < 0 ? r : secret_equal(got, want) ? 0 : ERR_INTERNAL;
}

static void test_several_slots(void)
{
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX + 100);
	struct log_header h;

	write_four(&file);
	buf_put_str(&file, "records follow, and are not looked at");
	CHECK_INT(parse(buf_bytes(&file), &h), 0);
	CHECK(h.generation == 7 && h.created_ms == -5 && h.next_slot == 7 && h.n_slots == 4 && h.file_id[15] == 0xf1);
	for (unsigned i = 0; i < 4; i++)
		CHECK(h.slots[i].number == 3 + i && h.slots[i].created_ms == 1000 + i && h.slots[i].params.n == 1);
	CHECK(h.slots[1].type == UNKNOWN_TYPE && h.slots[3].params.p[0] == 'q');

	CHECK_INT(opens(buf_bytes(&file), SEAL_KEYFILE, &keyfile, dek), 0);
	CHECK_INT(keyfile.n_opened, 1); /* slots of other kinds are not tried */
	CHECK_INT(opens(buf_bytes(&file), SEAL_PASSPHRASE, &passphrase, dek), 0);
	CHECK_INT(passphrase.n_opened, 1);
	CHECK_INT(opens(buf_bytes(&file), SEAL_PKCS11, &keyfile, dek), ERR_SEAL);
	CHECK(keyfile.n_opened == 0 && strstr(why_text, "no key slot of the kind \"pkcs11\""));
	CHECK_INT(opens(buf_bytes(&file), SEAL_PASSPHRASE, &OWN_SEAL(3, 0), dek), ERR_SEAL);
	CHECK(strstr(why_text, "does not open") && strstr(why_text, "/some/keystore"));
}

static void test_out_of_reach(void)
{
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX);

	write_four(&file);
	passphrase.out_of_reach = 'p'; /* the first of two */
	CHECK_INT(opens(buf_bytes(&file), SEAL_PASSPHRASE, &passphrase, dek), 0);
	CHECK_INT(passphrase.n_opened, 2);
	CHECK(!why_text[0]); /* nothing has gone wrong */
	passphrase.out_of_reach = 'q';
	CHECK_INT(opens(buf_bytes(&file), SEAL_PASSPHRASE, &passphrase, dek), 0);
	CHECK_INT(passphrase.n_opened, 1);
	passphrase.out_of_reach = -1;

	keyfile.out_of_reach = 'k'; /* the only one of its kind */
	CHECK_INT(opens(buf_bytes(&file), SEAL_KEYFILE, &keyfile, dek), ERR_SEAL);
	CHECK(strstr(why_text, "out of reach") != NULL);
	keyfile.out_of_reach = -1;
}

/* One of two slots is another secret's: each opens with its own. */
static void test_two_secrets(void)
{
	CLEANUP(making_fini) struct making m = begin();
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX);
	struct own_seal second = OWN_SEAL(9, 'z');

	add(&m, SEAL_PASSPHRASE, &passphrase);
	add(&m, SEAL_PASSPHRASE, &second);
	CHECK_INT(log_header_write(&m.header, dek, &file), 0);
	CHECK_INT(opens(buf_bytes(&file), SEAL_PASSPHRASE, &second, dek), 0);
	CHECK_INT(second.n_opened, 2);
	CHECK_INT(opens(buf_bytes(&file), SEAL_PASSPHRASE, &passphrase, dek), 0);
}

/* The next generation, made from the last one and its data key, without any seal at hand. */
static void test_rewrapped(void)
{
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX), next = BUF_INIT(LOG_HEADER_MAX);
	CLEANUP(buf_fini) struct buf mixed = BUF_INIT(LOG_HEADER_MAX);
	CLEANUP(making_fini) struct making m = begin();
	CLEANUP(secret_freep) struct secret *kek = NULL;
	struct log_header h;
	size_t keys;

	write_four(&file);
	CHECK_INT(parse(buf_bytes(&file), &h), 0);
	m.header = h;
	for (size_t i = 0; i < h.n_slots; i++) {
		CHECK_INT(log_slot_kek(&h, &h.slots[i], dek, &m.keks[i]), 0);
		m.header.slots[i].kek = m.keks[i];
	}
	CHECK_INT(log_slot_kek(&h, &h.slots[0], other_dek, &kek), ERR_DAMAGED);
	CHECK(!kek);
	m.header.generation++;
	CHECK_INT(log_header_write(&m.header, other_dek, &next), 0);
	CHECK_INT(next.n, file.n);
	CHECK_INT(opens(buf_bytes(&next), SEAL_KEYFILE, &keyfile, other_dek), 0);
	CHECK_INT(opens(buf_bytes(&next), SEAL_PASSPHRASE, &passphrase, other_dek), 0);
	passphrase.out_of_reach = 'p';
	CHECK_INT(opens(buf_bytes(&next), SEAL_PASSPHRASE, &passphrase, other_dek), 0);
	passphrase.out_of_reach = -1;

	/* the old wrapping under a new head: bound to its generation */
	keys = AT_SLOTS + SLOT_FIXED + 1;
	buf_put_bytes(&mixed, buf_bytes(&next));
	memcpy(mixed.p + keys, file.p + keys, SLOT_WRAPPED);
	CHECK_INT(opens(buf_bytes(&mixed), SEAL_KEYFILE, &keyfile, dek), ERR_SEAL);

	/* one left out: the others still open, and it does not */
	m.header.slots[0] = m.header.slots[3];
	m.header.n_slots = 3;
	buf_reset(&next);
	CHECK_INT(log_header_write(&m.header, other_dek, &next), 0);
	CHECK(next.n < file.n);
	CHECK_INT(opens(buf_bytes(&next), SEAL_PASSPHRASE, &passphrase, other_dek), 0);
	CHECK_INT(opens(buf_bytes(&next), SEAL_KEYFILE, &keyfile, other_dek), ERR_SEAL);
}

/* Each bit matters to whoever opens it, by the first slot or by the third. */
static void test_every_bit(void)
{
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX);
	size_t bad = 0, silent = 0;

	write_four(&file);
	for (size_t bit = 0; bit < 8 * file.n; bit++) {
		uint8_t *p = file.p + bit / 8, was = *p;
		int by_first, by_third;

		*p = (uint8_t)(was ^ 1u << (bit % 8));
		by_first = opens(buf_bytes(&file), SEAL_KEYFILE, &keyfile, dek);
		silent += !why_text[0];
		by_third = opens(buf_bytes(&file), SEAL_PASSPHRASE, &passphrase, dek);
		silent += !why_text[0];
		bad += (by_first != ERR_DAMAGED && by_first != ERR_SEAL) ||
		       (by_third != ERR_DAMAGED && by_third != ERR_SEAL);
		*p = was;
	}
	CHECK_INT(bad, 0);
	CHECK_INT(silent, 0);
	printf("# %zu bits flipped\n", 8 * file.n);
	CHECK_INT(opens(buf_bytes(&file), SEAL_KEYFILE, &keyfile, dek), 0);
}

/* ---- hostile numbers: in memory of just that size, so that a sanitizer sees the first byte too many ---- */

static int parse_exactly(struct bytes file)
{
	uint8_t *copy = malloc(file.n ? file.n : 1);
	struct log_header header;
	int r;

	if (file.n)
		memcpy(copy, file.p, file.n);
	r = parse(BYTES(copy, file.n), &header);
	free(copy);
	return r;
}

static void test_every_length(void)
{
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX);
	size_t bad = 0;

	write_four(&file);
	for (size_t n = 0; n < file.n; n++)
		bad += parse_exactly(bytes_sub(buf_bytes(&file), 0, n)) != ERR_DAMAGED || !why_text[0];
	CHECK_INT(bad, 0);
	CHECK_INT(parse_exactly(buf_bytes(&file)), 0);
}

static size_t refused_with(struct buf *file, size_t at, uint32_t value)
{
	uint8_t was[4];
	bool refused;

	memcpy(was, file->p + at, 4);
	for (unsigned i = 0; i < 4; i++)
		file->p[at + i] = (uint8_t)(value >> 8 * i);
	refused = parse_exactly(buf_bytes(file)) == ERR_DAMAGED && why_text[0];
	memcpy(file->p + at, was, 4);
	return refused;
}

static void test_hostile_numbers(void)
{
	static const uint32_t counts[] = { 0, 1, 3, 5, 16, 17, 255, 0x80000000u, UINT32_MAX };
	static const uint32_t around[] = { 0,
					   55,
					   56,
					   87,
					   88,
					   LOG_HEADER_MAX,
					   LOG_HEADER_MAX + 1,
					   0x7fffffffu,
					   0x80000000u,
					   UINT32_MAX - 19,
					   UINT32_MAX };
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX);
	uint32_t size;

	write_four(&file);
	size = (uint32_t)file.n;
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		CHECK(refused_with(&file, AT_N_SLOTS, counts[i]));
	CHECK(strstr(why_text, "number of key slots") != NULL);
	for (size_t i = 0; i < sizeof(around) / sizeof(*around); i++) {
		CHECK(refused_with(&file, AT_SIZE, around[i]));
		CHECK(refused_with(&file, AT_SLOTS + 16, around[i])); /* length of a slot's parameters */
	}
	CHECK(refused_with(&file, AT_SIZE, size - 1) && refused_with(&file, AT_SIZE, size + 1));
	CHECK(refused_with(&file, AT_SLOTS + 16, SEAL_MAX_PARAMS) &&
	      refused_with(&file, AT_SLOTS + 16, SEAL_MAX_PARAMS + 1));
	CHECK(refused_with(&file, 8, 1) && strstr(why_text, "format 1"));
	CHECK(refused_with(&file, 8, 3) && strstr(why_text, "format 3"));
	CHECK(refused_with(&file, 0, 0) && strstr(why_text, "not a keystore"));
	CHECK_INT(parse_exactly(buf_bytes(&file)), 0);
}

/* The largest header there can be: as many slots as may be, with as many parameters. */
static void test_largest(void)
{
	CLEANUP(making_fini) struct making m = begin();
	CLEANUP(buf_fini) struct buf file = BUF_INIT(LOG_HEADER_MAX);
	struct log_header h;

	passphrase.next = 'A';
	for (size_t i = 0; i < LOG_MAX_SLOTS; i++) {
		add(&m, SEAL_PASSPHRASE, &passphrase);
		memset(buf_room(&m.params[i], SEAL_MAX_PARAMS - 1), 'x', SEAL_MAX_PARAMS - 1);
		buf_added(&m.params[i], SEAL_MAX_PARAMS - 1);
		m.header.slots[i].params = buf_bytes(&m.params[i]);
	}
	CHECK_INT(log_header_write(&m.header, dek, &file), 0);
	CHECK_INT(parse_exactly(buf_bytes(&file)), 0);
	CHECK_INT(parse(buf_bytes(&file), &h), 0);
	CHECK(h.n_slots == LOG_MAX_SLOTS && h.slots[15].params.n == SEAL_MAX_PARAMS);
	CHECK_INT(log_header_check(&h, buf_bytes(&file), dek), 0);
	CHECK_INT(log_header_check(&h, buf_bytes(&file), other_dek), ERR_DAMAGED);
}

/* Two contexts, or two masters, never give the same key. */
static void test_derive(void)
{
	static const char *const contexts[] = { LOG_KEY_RECORD, LOG_KEY_FRAME, LOG_KEY_HEADER, LOG_KEY_KEYRING };
	struct secret *keys[8];

	for (size_t i = 0; i < 8; i++)
		CHECK_INT(log_key_derive(i < 4 ? dek : other_dek, contexts[i % 4], &keys[i]), 0);
	for (size_t i = 0; i < 8; i++)
		for (size_t k = 0; k < i; k++)
			CHECK(!secret_equal(keys[i], keys[k]));
	for (size_t i = 0; i < 8; i++)
		secret_free(keys[i]);
}

int main(void)
{
	test_start();
	CHECK_INT(secret_new(LOG_KEY_SIZE, &dek), 0);
	CHECK_INT(secret_new(LOG_KEY_SIZE, &other_dek), 0);
	randombytes_buf(secret_write(dek), LOG_KEY_SIZE);
	randombytes_buf(secret_write(other_dek), LOG_KEY_SIZE);
	test_several_slots();
	test_out_of_reach();
	test_two_secrets();
	test_rewrapped();
	test_every_bit();
	test_every_length();
	test_hostile_numbers();
	test_largest();
	test_derive();
	secret_free(dek);
	secret_free(other_dek);
	return test_end();
}
