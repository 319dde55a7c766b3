/*
 * seal_passphrase - the key-encryption key is Argon2id of a passphrase
 *
 * Parameters, 33 bytes, integers little-endian:
 *
 *   version u8 = 1 | salt, 16 | passes u64 | memory in bytes u64
 *
 * They come from the file, so they are held against limits before anything is allocated for them: a forged header must not be
 * able to take all memory or time.
 */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "crypto/rand.h"
#include "keystore/le.h"
#include "keystore/seal.h"
#include "keystore/seal_input.h"

#define VERSION	    1u
#define SALT_SIZE   crypto_pwhash_argon2id_SALTBYTES
#define PARAMS_SIZE (1 + SALT_SIZE + 16)
#define MAX_BYTES   1024u		/* of a passphrase */
#define MAX_PASSES  64u			/* minutes, with the most memory */
#define MAX_MEMORY  ((uint64_t)4 << 30) /* bytes */
#define MIN_PASSES  crypto_pwhash_argon2id_OPSLIMIT_MIN
#define MIN_MEMORY  crypto_pwhash_argon2id_MEMLIMIT_MIN

_Static_assert(SALT_SIZE == 16, "part of the format");

struct passphrase {
	struct secret *text; /* owned */
	uint64_t memory;     /* bytes; this and the next for new slots */
	uint64_t passes;
};

static int check_cost(uint64_t memory, uint64_t passes, struct buf *why)
{
	if (memory >= MIN_MEMORY && memory <= MAX_MEMORY && passes >= MIN_PASSES && passes <= MAX_PASSES)
		return 0;
	buf_printf(
		why,
		"the passphrase's slot asks for %llu KiB of memory and %llu passes; possible are %u to %llu KiB and %u to "
		"%u passes, so the slot is damaged or forged",
		(unsigned long long)(memory / 1024), (unsigned long long)passes, (unsigned)(MIN_MEMORY / 1024),
		(unsigned long long)(MAX_MEMORY / 1024), (unsigned)MIN_PASSES, MAX_PASSES);
	return ERR_SEAL;
}

static int derive(const struct passphrase *p, const uint8_t salt[SALT_SIZE], uint64_t memory, uint64_t passes,
		  struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r = check_cost(memory, passes, why);

	if (r < 0)
		return r;
	if (secret_len(p->text) == 0 || secret_len(p->text) > MAX_BYTES) {
		buf_printf(why, "the passphrase has %zu bytes; possible are 1 to %u", secret_len(p->text), MAX_BYTES);
		return ERR_SEAL;
	}
	r = secret_new(SEAL_KEY_SIZE, &key);
	if (r < 0)
		return r;
	r = crypto_pwhash_argon2id(secret_write(key), SEAL_KEY_SIZE, (const char *)secret_read(p->text),
				   secret_len(p->text), salt, passes, (size_t)memory,
				   crypto_pwhash_argon2id_ALG_ARGON2ID13);
	secret_wipe_stack();
	if (r < 0) { /* the parameters were checked, so nothing else is left that can fail */
		buf_printf(
			why,
			"not enough memory for the passphrase's %llu KiB: free some, or raise what the daemon may use "
			"and lock (MemoryMax, LimitAS, LimitMEMLOCK)",
			(unsigned long long)(memory / 1024));
		return ERR_NOMEM;
	}
	*ret = TAKE(key);
	return 0;
}

static int passphrase_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	const struct passphrase *p = seal->arg;
	CLEANUP(secret_freep) struct secret *key = NULL;
	uint8_t out[PARAMS_SIZE];
	int r;

	out[0] = VERSION;
	rand_bytes(out + 1, SALT_SIZE);
	le64_put(out + 1 + SALT_SIZE, p->passes);
	le64_put(out + 1 + SALT_SIZE + 8, p->memory);
	r = derive(p, out + 1, p->memory, p->passes, why, &key);
	if (r < 0)
		return r;
	buf_put(params, out, sizeof(out));
	if (buf_err(params))
		return buf_err(params);
	*ret = TAKE(key);
	return 0;
}

static int passphrase_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	if (params.n != PARAMS_SIZE || params.p[0] != VERSION) {
		buf_put_str(why, "the passphrase's slot has parameters that this version does not know: a newer e2eed "
				 "wrote them, or they are damaged");
		return ERR_SEAL;
	}
	return derive(seal->arg, params.p + 1, le64_get(params.p + 1 + SALT_SIZE + 8),
		      le64_get(params.p + 1 + SALT_SIZE), why, ret);
}

static void passphrase_fini(struct seal *seal)
{
	struct passphrase *p = seal->arg;

	secret_free(p->text);
	free(p);
	seal->arg = NULL;
}

int seal_passphrase_init(struct seal *seal, const struct secret *passphrase, unsigned memory_kib, unsigned passes)
{
	struct passphrase *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return ERR_NOMEM;
	r = secret_dup(secret_bytes(passphrase), &p->text);
	if (r < 0) {
		free(p);
		return r;
	}
	p->memory = (uint64_t)memory_kib * 1024;
	p->passes = passes;
	*seal = (struct seal){ .type = SEAL_PASSPHRASE,
			       .name = "passphrase",
			       .arg = p,
			       .make = passphrase_make,
			       .open = passphrase_open,
			       .fini = passphrase_fini };
	return 0;
}

int seal_passphrase_read(const char *path, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r = seal_input_read(path, "passphrase file", MAX_BYTES + 1, why, &text);

	if (r < 0)
		return r;
	seal_input_line(text);
	if (secret_len(text) == 0 || secret_len(text) > MAX_BYTES) {
		buf_printf(why, "the passphrase file %s holds %zu bytes; a passphrase has 1 to %u", path,
			   secret_len(text), MAX_BYTES);
		return ERR_SEAL;
	}
	*ret = TAKE(text);
	return 0;
}
