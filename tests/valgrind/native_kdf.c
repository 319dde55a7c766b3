/*
 * native_kdf - PBKDF2 with HMAC-SHA-256 at the processor's own speed, for runs under valgrind only
 *
 * There 100,000 rounds take 2.4 seconds, and end-to-end tests ask for a hundred such keys. Preloaded, this takes EVP_KDF_derive()'s place
 * for that one function and lets the rounds run outside valgrind, where they take 0.1 seconds; valgrind is told what was read and
 * written. The tests against clients' envelopes say whether the keys are right, and the other flavours run with libcrypto's own.
 *
 * What runs outside finds no thread-local storage and must call nothing: hence SHA-256 here (FIPS 180-4), in plain loops.
 */
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>

#define BLOCK 64
#define WORDS 8
#define SIZE  (4 * WORDS)

/* Then the other threads, of which valgrind runs one at a time, have their turn. */
#define AT_ONCE 4000

static const uint32_t constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};
static const uint32_t start[WORDS] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

static uint32_t turned(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void compress(const uint32_t from[WORDS], const uint32_t block[16], uint32_t to[WORDS])
{
	uint32_t w[64], s[WORDS];

	for (int i = 0; i < 16; i++)
		w[i] = block[i];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (int i = 0; i < WORDS; i++)
		s[i] = from[i];
	for (int i = 0; i < 64; i++) {
		uint32_t a = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) +
			     ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
		uint32_t b = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) +
			     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		for (int k = WORDS - 1; k > 0; k--)
			s[k] = s[k - 1];
		s[4] += a;
		s[0] = a + b;
	}
	for (int i = 0; i < WORDS; i++)
		to[i] = from[i] + s[i];
}

struct sha256 {
	uint32_t state[WORDS], block[16];
	uint64_t n; /* bytes so far */
};

static void put(struct sha256 *h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t *word = &h->block[h->n % BLOCK / 4];

		*word = *word << 8 | p[i];
		if (++h->n % BLOCK == 0)
			compress(h->state, h->block, h->state);
	}
}

static void finish(struct sha256 *h)
{
	static const uint8_t one = 0x80, zero;
	uint64_t bits = 8 * h->n;

	put(h, &one, 1);
	while (h->n % BLOCK != BLOCK - 8)
		put(h, &zero, 1);
	for (int shift = 56; shift >= 0; shift -= 8)
		put(h, &(uint8_t){ (uint8_t)(bits >> shift) }, 1);
}

static struct sha256 begun(void)
{
	struct sha256 h = { .n = 0 };

	for (int i = 0; i < WORDS; i++)
		h.state[i] = start[i];
	return h;
}

struct derivation {
	const uint8_t *passphrase, *salt;
	size_t passphrase_len, salt_len;
	unsigned iterations;
	uint8_t *key;
	uint32_t inner[WORDS], outer[WORDS]; /* HMAC's states after the passphrase */
	uint32_t u[16], result[WORDS];
	unsigned done;
};

/* RFC 8018, 5.2; one block, since the key is as long as a hash. */
static void first_round(struct derivation *d)
{
	struct sha256 h = begun(), inner = begun(), outer = begun();
	uint8_t key[BLOCK] = { 0 };

	if (d->passphrase_len > BLOCK) {
		put(&h, d->passphrase, d->passphrase_len);
		finish(&h);
		for (size_t i = 0; i < SIZE; i++)
			key[i] = (uint8_t)(h.state[i / 4] >> (24 - 8 * (i % 4)));
	} else {
		for (size_t i = 0; i < d->passphrase_len; i++)
			key[i] = d->passphrase[i];
	}
	for (size_t i = 0; i < BLOCK; i++) {
		put(&inner, &(uint8_t){ key[i] ^ 0x36 }, 1);
		put(&outer, &(uint8_t){ key[i] ^ 0x5c }, 1);
	}
	h = inner;
	put(&h, d->salt, d->salt_len);
	put(&h, (const uint8_t[]){ 0, 0, 0, 1 }, 4);
	finish(&h);
	for (int i = 0; i < WORDS; i++) {
		d->inner[i] = inner.state[i];
		d->outer[i] = outer.state[i];
		d->u[i] = h.state[i];
	}
	d->u[WORDS] = 0x80000000; /* what follows a hash in the second block of an HMAC */
	d->u[15] = 8 * (BLOCK + SIZE);
	compress(d->outer, d->u, d->u);
	for (int i = 0; i < WORDS; i++)
		d->result[i] = d->u[i];
	d->done = 1;
}

static uintptr_t some_rounds(uintptr_t thread, uintptr_t arg)
{
	struct derivation *d = (struct derivation *)arg;

	(void)thread;
	if (d->done == 0)
		first_round(d);
	for (unsigned n = 0; n < AT_ONCE && d->done < d->iterations; n++, d->done++) {
		compress(d->inner, d->u, d->u);
		compress(d->outer, d->u, d->u);
		for (int i = 0; i < WORDS; i++)
			d->result[i] ^= d->u[i];
	}
	for (size_t i = 0; i < SIZE; i++)
		d->key[i] = (uint8_t)(d->result[i / 4] >> (24 - 8 * (i % 4)));
	return 0;
}

/* What libcrypto would have read is defined, or valgrind says so as it would have there. */
static bool octets(const OSSL_PARAM params[], const char *name, const uint8_t **ret, size_t *ret_len)
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);

	if (!p || OSSL_PARAM_get_octet_string_ptr(p, (const void **)ret, ret_len) != 1)
		return false;
	(void)VALGRIND_CHECK_MEM_IS_DEFINED(*ret, *ret_len);
	return true;
}

int EVP_KDF_derive(EVP_KDF_CTX *ctx, unsigned char *key, size_t n, const OSSL_PARAM params[])
{
	int (*real)(EVP_KDF_CTX *, unsigned char *, size_t, const OSSL_PARAM[]);
	struct derivation d = { .key = key };
	const OSSL_PARAM *iterations = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_ITER);
	const OSSL_PARAM *digest = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_DIGEST);
	const char *name;

	if (RUNNING_ON_VALGRIND && n == SIZE && EVP_KDF_is_a(EVP_KDF_CTX_kdf(ctx), "PBKDF2") && iterations &&
	    OSSL_PARAM_get_uint(iterations, &d.iterations) == 1 && digest &&
	    OSSL_PARAM_get_utf8_string_ptr(digest, &name) == 1 && strcmp(name, "SHA256") == 0 &&
	    octets(params, OSSL_KDF_PARAM_PASSWORD, &d.passphrase, &d.passphrase_len) &&
	    octets(params, OSSL_KDF_PARAM_SALT, &d.salt, &d.salt_len)) {
		while (d.done < d.iterations) {
			(void)VALGRIND_NON_SIMD_CALL1(some_rounds, &d);
			(void)VALGRIND_MAKE_MEM_DEFINED(&d, sizeof(d));
			(void)sched_yield();
		}
		(void)VALGRIND_MAKE_MEM_DEFINED(key, n);
		return 1;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "EVP_KDF_derive");
	return real(ctx, key, n, params);
}
