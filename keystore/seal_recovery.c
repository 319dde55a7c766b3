/*
 * seal_recovery - the key-encryption key comes from a key that was printed and put away
 *
 * 160 random bits in the letters of modhex, which lie at the same place on all Latin keyboards and are told apart by ear and eye,
 * and 8 letters of checksum, so that a typing error is not taken for a wrong key:
 *
 *   cbdefg-hijkln-rtuvcb-...      8 groups of 6: 40 letters of key, 8 of checksum
 *
 *   key = 20 bytes, the high half of each first      checksum = BLAKE2b-16("e2eed recovery checksum" | key), its first 4 bytes
 *   KEK = BLAKE2b-32("e2eed recovery kek" | key)
 *
 * The key is random, so no slow derivation is needed, and no salt: the slot has no parameters.
 */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "crypto/rand.h"
#include "keystore/seal.h"

#define KEY_SIZE   20
#define CHECK_SIZE 4
#define LETTERS	   (2 * (KEY_SIZE + CHECK_SIZE))
#define GROUP	   6
#define PRINTED	   (LETTERS + LETTERS / GROUP - 1)
#define HASH_MIN   crypto_generichash_BYTES_MIN

static const char alphabet[] = "cbdefghijklnrtuv";

_Static_assert(CHECK_SIZE <= HASH_MIN, "the checksum is the start of a hash");

struct recovery {
	struct secret *given;	/* owned; NULL: none was */
	struct secret *printed; /* owned; NULL before make() */
};

/* BLAKE2b of @purpose and the key's bytes. */
static int hash(const char *purpose, const uint8_t key[KEY_SIZE], size_t n, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *in = NULL, *out = NULL;
	size_t purpose_n = strlen(purpose);
	int r;

	r = secret_new(purpose_n + KEY_SIZE, &in);
	if (r == 0)
		r = secret_new(n, &out);
	if (r < 0)
		return r;
	memcpy(secret_write(in), purpose, purpose_n);
	memcpy(secret_write(in) + purpose_n, key, KEY_SIZE);
	(void)crypto_generichash(secret_write(out), n, secret_read(in), secret_len(in), NULL,
				 0); /* fails for wrong sizes only */
	secret_wipe_stack();
	*ret = TAKE(out);
	return 0;
}

static int kek_of(const uint8_t key[KEY_SIZE], struct secret **ret)
{
	return hash("e2eed recovery kek", key, SEAL_KEY_SIZE, ret);
}

static int checksum_of(const uint8_t key[KEY_SIZE], struct secret **ret)
{
	return hash("e2eed recovery checksum", key, HASH_MIN, ret);
}

/* ---- letters ---- */

/* Without a table that the letter selects from, and without a branch on it: caches and predictors would see it. */
static uint8_t letter_of(unsigned value)
{
	unsigned letter = 0;

	for (unsigned i = 0; i < 16; i++)
		letter |= (uint8_t)alphabet[i] & (0u - (((i ^ value) - 1u) >> 31));
	return (uint8_t)letter;
}

/* Return: 0 to 15; 16 and more for what is no letter of the alphabet. */
static unsigned value_of(uint8_t c)
{
	unsigned lower = c | (unsigned)(c >= 'A' && c <= 'Z') << 5, value = 0, found = 0;

	for (unsigned i = 0; i < 16; i++) {
		unsigned same = 0u - (((lower ^ (uint8_t)alphabet[i]) - 1u) >> 31);

		value |= i & same;
		found |= 1 & same;
	}
	return value | (16 & (found - 1));
}

static void print(const uint8_t packed[KEY_SIZE + CHECK_SIZE], uint8_t *ret)
{
	for (size_t i = 0; i < LETTERS; i++) {
		if (i && i % GROUP == 0)
			*ret++ = '-';
		*ret++ = letter_of(packed[i / 2] >> (i % 2 ? 0 : 4) & 15);
	}
}

static bool is_skipped(uint8_t c)
{
	return c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The bytes that @text stands for into @ret, of KEY_SIZE + CHECK_SIZE bytes. */
static int parse(struct bytes text, uint8_t *ret, struct buf *why)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned value;

		if (is_skipped(text.p[i]))
			continue;
		value = value_of(text.p[i]);
		if (value > 15) {
			buf_printf(why,
				   "character %zu of the recovery key is none of its letters, which are %s: look for a "
				   "typing error there",
				   i + 1, alphabet);
			return ERR_SEAL;
		}
		if (n < LETTERS)
			ret[n / 2] = (uint8_t)((unsigned)ret[n / 2] << 4 | value);
		n++;
	}
	if (n == LETTERS)
		return 0;
	buf_printf(why, "the recovery key has %zu letters; it must have %d: %s", n, LETTERS,
		   n < LETTERS ? "some are missing" : "there are too many");
	return ERR_SEAL;
}

/* ---- the seal ---- */

static int recovery_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	struct recovery *v = seal->arg;
	CLEANUP(secret_freep) struct secret *packed = NULL, *check = NULL, *printed = NULL;
	int r;

	(void)params; /* it has none */
	(void)why;    /* only memory can fail */
	r = rand_secret(KEY_SIZE + CHECK_SIZE, &packed);
	if (r == 0)
		r = secret_new(PRINTED, &printed);
	if (r == 0)
		r = checksum_of(secret_read(packed), &check);
	if (r < 0)
		return r;
	memcpy(secret_write(packed) + KEY_SIZE, secret_read(check), CHECK_SIZE);
	print(secret_read(packed), secret_write(printed));
	r = kek_of(secret_read(packed), ret);
	if (r < 0)
		return r;
	secret_free(v->printed);
	v->printed = TAKE(printed);
	return 0;
}

static int recovery_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	const struct recovery *v = seal->arg;
	CLEANUP(secret_freep) struct secret *packed = NULL, *check = NULL;
	int r;

	if (params.n) {
		buf_put_str(why, "the recovery key's slot has parameters, which this version does not know");
		return ERR_SEAL;
	}
	if (!v->given) {
		buf_put_str(why, "no recovery key was given");
		return ERR_SEAL;
	}
	r = secret_new(KEY_SIZE + CHECK_SIZE, &packed);
	if (r == 0)
		r = parse(secret_bytes(v->given), secret_write(packed), why);
	if (r == 0)
		r = checksum_of(secret_read(packed), &check);
	if (r < 0)
		return r;
	if (sodium_memcmp(secret_read(check), secret_read(packed) + KEY_SIZE, CHECK_SIZE) != 0) {
		buf_put_str(why, "the recovery key's checksum does not fit: look for a typing error");
		return ERR_SEAL;
	}
	return kek_of(secret_read(packed), ret);
}

static void recovery_fini(struct seal *seal)
{
	struct recovery *v = seal->arg;

	secret_free(v->given);
	secret_free(v->printed);
	free(v);
	seal->arg = NULL;
}

int seal_recovery_init(struct seal *seal, const struct secret *text)
{
	struct recovery *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return ERR_NOMEM;
	if (text) {
		r = secret_dup(secret_bytes(text), &v->given);
		if (r < 0) {
			free(v);
			return r;
		}
	}
	*seal = (struct seal){ .type = SEAL_RECOVERY,
			       .name = "recovery",
			       .arg = v,
			       .make = recovery_make,
			       .open = recovery_open,
			       .fini = recovery_fini };
	return 0;
}

const struct secret *seal_recovery_text(const struct seal *seal)
{
	const struct recovery *v = seal->arg;

	assert(seal->type == SEAL_RECOVERY);
	return v->printed;
}
