#include "keystore/record.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tests/unit/tap.h"

#define UUID "01234567-89ab-4def-8123-456789abcdef"

static uint8_t token[STORE_TOKEN_SIZE] = { 1, 2, 3 };
static struct room_grant grants[] = { { { (const uint8_t *)"GENERAL", 7 }, 15 },
				      { { (const uint8_t *)"r\xc3\xa4um", 5 }, PERM_READ } };
static struct record_key keys[] = {
	{ .number = 7,
	  .kid = { (const uint8_t *)"eyJhbGciOiJB", 12 },
	  .jwk = { (const uint8_t *)"{}", 2 },
	  .ts = { (const uint8_t *)"\"2026-11-23T06:00:00.000Z\"", 26 },
	  .order_ms = 1795413600000 },
	{ .number = 8, .kid = { (const uint8_t *)"k", 1 }, .jwk = { (const uint8_t *)"{\"a\":1}", 7 }, .order_ms = -1 },
};

#define APP .time_ms = 1795413600123, .app_id = BYTES_LIT("app-1")

static struct record sample(enum record_op op)
{
	switch (op) {
	case RECORD_APP_CREATED:
		return (struct record){ .op = op,
					APP,
					.name = BYTES_LIT("An app \xe2\x9c\x93"),
					.token = BYTES(token, sizeof(token)),
					.key_id = BYTES_LIT(UUID),
					.pkcs8 = BYTES_LIT("der"),
					.created_ms = 42,
					.grants = grants,
					.n_grants = 2 };
	case RECORD_TOKEN_SET:
		return (struct record){ .op = op, APP, .token = BYTES(token, sizeof(token)) };
	case RECORD_IDENTITY_ADDED:
		return (struct record){ .op = op,
					APP,
					.key_id = BYTES_LIT(UUID),
					.pkcs8 = BYTES_LIT("der"),
					.previous_expires_ms = INT64_MAX };
	case RECORD_GRANT_SET:
		return (struct record){ .op = op, APP, .room_id = BYTES_LIT("GENERAL"), .perms = 5 };
	case RECORD_GRANT_DROPPED:
		return (struct record){ .op = op, APP, .room_id = BYTES_LIT("GENERAL"), .purge = true };
	case RECORD_ROOM_KEYS_ADDED:
		break;
	}
	return (struct record){
		.op = op, APP, .room_id = BYTES_LIT("GENERAL"), .keys = keys, .n_keys = 2, .current = 8
	};
}

static int decode(struct bytes plain, struct record *ret, bool *ret_said)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	int r = record_decode(plain, &why, ret);

	*ret_said = why.n > 0;
	return r;
}

/* Return: is @plain refused as damaged, with a sentence? */
static bool refused(struct bytes plain)
{
	struct record record;
	bool said;
	int r = decode(plain, &record, &said);

	record_fini(&record);
	return r == ERR_DAMAGED && said;
}

static void check_same(const struct record *a, const struct record *b)
{
	CHECK(a->op == b->op && a->time_ms == b->time_ms && a->created_ms == b->created_ms &&
	      a->previous_expires_ms == b->previous_expires_ms && a->perms == b->perms && a->purge == b->purge &&
	      a->current == b->current && a->n_grants == b->n_grants && a->n_keys == b->n_keys);
	CHECK_BYTES(a->app_id, b->app_id);
	CHECK_BYTES(a->name, b->name);
	CHECK_BYTES(a->token, b->token);
	CHECK_BYTES(a->key_id, b->key_id);
	CHECK_BYTES(a->pkcs8, b->pkcs8);
	CHECK_BYTES(a->room_id, b->room_id);
	for (size_t i = 0; i < a->n_grants && i < b->n_grants; i++) {
		CHECK_BYTES(a->grants[i].room_id, b->grants[i].room_id);
		CHECK_INT(a->grants[i].perms, b->grants[i].perms);
	}
	for (size_t i = 0; i < a->n_keys && i < b->n_keys; i++) {
		CHECK_INT(a->keys[i].number, b->keys[i].number);
		CHECK_INT(a->keys[i].order_ms, b->keys[i].order_ms);
		CHECK_BYTES(a->keys[i].kid, b->keys[i].kid);
		CHECK_BYTES(a->keys[i].jwk, b->keys[i].jwk);
		CHECK_BYTES(a->keys[i].ts, b->keys[i].ts);
	}
}

/* Flip each bit: what still decodes must be the one encoding of what it says. */
static void check_flips(struct bytes plain)
{
	uint8_t *copy = malloc(plain.n);
	size_t wrong = 0;

	memcpy(copy, plain.p, plain.n);
	for (size_t bit = 0; bit < 8 * plain.n; bit++) {
		CLEANUP(record_fini) struct record record = { 0 };
		CLEANUP(secret_freep) struct secret *again = NULL;
		bool said;
		int r;

		copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << (bit % 8));
		r = decode(BYTES(copy, plain.n), &record, &said);
		if (r == 0)
			wrong += record_encode(&record, &again) < 0 ||
				 !bytes_eq(secret_bytes(again), BYTES(copy, plain.n));
		else
			wrong += r != ERR_DAMAGED || !said;
		copy[bit / 8] = plain.p[bit / 8];
	}
	CHECK_INT(wrong, 0);
	free(copy);
}

static void test_each_op(void)
{
	for (int op = RECORD_APP_CREATED; op <= RECORD_ROOM_KEYS_ADDED; op++) {
		CLEANUP(secret_freep) struct secret *plain = NULL;
		CLEANUP(record_fini) struct record back = { 0 };
		struct record record = sample((enum record_op)op);
		size_t accepted = 0;
		uint8_t *longer;
		bool said;

		CHECK_INT(record_encode(&record, &plain), 0);
		CHECK_INT(decode(secret_bytes(plain), &back, &said), 0);
		check_same(&back, &record);
		for (size_t n = 0; n < secret_len(plain); n++)
			accepted += !refused(bytes_sub(secret_bytes(plain), 0, n));
		CHECK_INT(accepted, 0);
		longer = calloc(1, secret_len(plain) + 1);
		memcpy(longer, secret_read(plain), secret_len(plain));
		CHECK(refused(BYTES(longer, secret_len(plain) + 1)));
		free(longer);
		check_flips(secret_bytes(plain));
	}
}

static void test_newer(void)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	struct record record = sample(RECORD_TOKEN_SET);

	CHECK_INT(record_encode(&record, &plain), 0);
	secret_write(plain)[0] = 2;
	CHECK_INT(record_decode(secret_bytes(plain), &why, &record), ERR_DAMAGED);
	CHECK(memmem(why.p, why.n, "newer e2eed", 11) != NULL);
	buf_reset(&why);
	secret_write(plain)[0] = 1;
	secret_write(plain)[1] = 7;
	CHECK_INT(record_decode(secret_bytes(plain), &why, &record), ERR_DAMAGED);
	CHECK(memmem(why.p, why.n, "newer e2eed", 11) != NULL);
}

static bool encodes(struct record record)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;

	return record_encode(&record, &plain) == 0;
}

#define WITH(op_, member_, value_)                 \
	__extension__({                            \
		struct record with_ = sample(op_); \
		with_.member_ = (value_);          \
		encodes(with_);                    \
	})

static void test_not_written(void)
{
	char big[4097];

	memset(big, 'x', sizeof(big));
	CHECK(WITH(RECORD_GRANT_SET, app_id, BYTES(big, 128)));
	CHECK(!WITH(RECORD_GRANT_SET, app_id, BYTES(big, 129)));
	CHECK(!WITH(RECORD_GRANT_SET, app_id, BYTES_NONE));
	CHECK(!WITH(RECORD_GRANT_SET, app_id, BYTES_LIT("a\nb")));
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("a\xff")));
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xc0\xaf")));		/* overlong */
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xed\xa0\x80")));	/* a surrogate */
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xf4\x90\x80\x80"))); /* past U+10FFFF */
	CHECK(!WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xe2\x9c")));		/* cut short */
	CHECK(WITH(RECORD_GRANT_SET, room_id, BYTES_LIT("\xf0\x9f\x94\x91")));
	CHECK(!WITH(RECORD_GRANT_SET, perms, 0));
	CHECK(!WITH(RECORD_GRANT_SET, perms, 16));
	CHECK(!WITH(RECORD_GRANT_SET, perms, 256 + 1));
	CHECK(!WITH(RECORD_TOKEN_SET, token, BYTES(token, 31)));
	CHECK(!WITH(RECORD_IDENTITY_ADDED, key_id, BYTES_LIT("01234567-89AB-4def-8123-456789abcdef")));
	CHECK(!WITH(RECORD_IDENTITY_ADDED, pkcs8, BYTES_NONE));
	CHECK(WITH(RECORD_APP_CREATED, name, BYTES_NONE));
	CHECK(WITH(RECORD_APP_CREATED, n_grants, 0));
	CHECK(!WITH(RECORD_APP_CREATED, name, BYTES(big, 257)));
	CHECK(WITH(RECORD_ROOM_KEYS_ADDED, current, RECORD_SAME_CURRENT));
	CHECK(WITH(RECORD_ROOM_KEYS_ADDED, n_keys, 0)); /* makes key 8 current */
	CHECK(!encodes((struct record){ .op = RECORD_ROOM_KEYS_ADDED,
					APP,
					.room_id = BYTES_LIT("r"),
					.current = RECORD_SAME_CURRENT })); /* says nothing */
	keys[0].kid = BYTES_NONE;
	CHECK(!encodes(sample(RECORD_ROOM_KEYS_ADDED)));
	keys[0].kid = BYTES(big, 65);
	CHECK(!encodes(sample(RECORD_ROOM_KEYS_ADDED)));
	keys[0].kid = BYTES(big, 64);
	CHECK(encodes(sample(RECORD_ROOM_KEYS_ADDED)));
	keys[0].ts = BYTES(big, 4097);
	CHECK(!encodes(sample(RECORD_ROOM_KEYS_ADDED)));
}

int main(void)
{
	test_start();
	test_each_op();
	test_newer();
	test_not_written();
	return test_end();
}
