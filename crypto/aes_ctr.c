/*
 * aes_ctr - OpenSSL's CTR, taken up to the wrap and begun anew there
 *
 * OpenSSL counts over all 128 bits. As long as the low 64 do not wrap that is the same; where they do, a fresh start with the counter
 * block that WebCrypto goes on with gives its key stream (interop.md 28).
 */
#include "crypto/aes_ctr.h"

#include <assert.h>
#include <stdlib.h>

#include "crypto/ossl.h"

#define BLOCK	    16
#define COUNTER_AT  8	      /* of the counter block: the counter, big-endian */
#define MAX_AT_ONCE (1 << 30) /* EVP counts in int */

struct aes_ctr {
	EVP_CIPHER_CTX *ctx;		 /* owned */
	uint8_t behind_wrap[AES_CTR_IV]; /* the counter block that follows the last one */
	uint64_t until_wrap;		 /* bytes */
};

/* 2^64 - counter blocks; more bytes than any file has do not fit, and need not. */
static uint64_t bytes_until_wrap(const uint8_t iv[AES_CTR_IV])
{
	uint64_t counter = 0, blocks;

	for (size_t i = COUNTER_AT; i < AES_CTR_IV; i++)
		counter = counter << 8 | iv[i];
	blocks = 0 - counter; /* 0 stands for 2^64 */
	return blocks == 0 || blocks > UINT64_MAX / BLOCK ? UINT64_MAX : blocks * BLOCK;
}

int aes_ctr_new(const struct secret *key, struct bytes iv, struct aes_ctr **ret)
{
	CLEANUP(aes_ctr_freep) struct aes_ctr *c = calloc(1, sizeof(*c));

	assert(secret_len(key) == AES_CTR_KEY && iv.n == AES_CTR_IV);
	if (!c)
		return ERR_NOMEM;
	memcpy(c->behind_wrap, iv.p, COUNTER_AT);
	c->until_wrap = bytes_until_wrap(iv.p);
	c->ctx = EVP_CIPHER_CTX_new();
	if (!c->ctx || EVP_EncryptInit_ex2(c->ctx, ossl_aes_256_ctr(), secret_read(key), iv.p, NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	*ret = TAKE(c);
	return 0;
}

void aes_ctr_free(struct aes_ctr *c)
{
	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->ctx); /* wipes */
	free(c);
}

static int wrap(struct aes_ctr *c)
{
	if (EVP_EncryptInit_ex2(c->ctx, NULL, NULL, c->behind_wrap, NULL) != 1) /* the key stays */
		return ossl_error(ERR_CRYPTO);
	c->until_wrap = UINT64_MAX;
	return 0;
}

int aes_ctr_update(struct aes_ctr *c, struct bytes in, uint8_t *ret)
{
	while (in.n) {
		size_t n = in.n < MAX_AT_ONCE ? in.n : MAX_AT_ONCE;
		int r = c->until_wrap ? 0 : wrap(c), written;

		if (r < 0)
			return r;
		if (n > c->until_wrap)
			n = (size_t)c->until_wrap;
		if (EVP_EncryptUpdate(c->ctx, ret, &written, in.p, (int)n) != 1)
			return ossl_error(ERR_CRYPTO);
		c->until_wrap -= n;
		in = bytes_sub(in, n, SIZE_MAX);
		ret += n;
	}
	return 0;
}
