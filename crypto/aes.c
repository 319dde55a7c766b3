/*
 * aes - one context per cipher, re-keyed for each call
 *
 * A context keeps its cipher between calls, so that a call only sets key and IV; aes_forget() drops the cipher as well
 * and with it the key schedule. CBC runs with OpenSSL's padding switched off in both directions: the padding is put on
 * and checked here, since the check decides in constant time and OpenSSL's would tell by a branch.
 */
#include "crypto/aes.h"

#include <assert.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>

#include "crypto/ossl.h"

enum { GCM_256, CBC_128, CBC_256, N_CIPHERS };

struct aes {
	EVP_CIPHER_CTX *ctx[N_CIPHERS]; /* owned */
};

int aes_new(struct aes **ret)
{
	CLEANUP(aes_freep) struct aes *a = calloc(1, sizeof(*a));

	if (!a)
		return ERR_NOMEM;
	for (size_t i = 0; i < N_CIPHERS; i++) {
		a->ctx[i] = EVP_CIPHER_CTX_new();
		if (!a->ctx[i])
			return ossl_error(ERR_NOMEM);
	}
	*ret = TAKE(a);
	return 0;
}

void aes_free(struct aes *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < N_CIPHERS; i++)
		EVP_CIPHER_CTX_free(a->ctx[i]);
	free(a);
}

void aes_forget(struct aes *a)
{
	for (size_t i = 0; i < N_CIPHERS; i++)
		(void)EVP_CIPHER_CTX_reset(a->ctx[i]); /* frees and wipes; fails for no context only */
}

/* Give the context its cipher, unless it has it from an earlier call. */
static int prepare(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher)
{
	if (EVP_CIPHER_CTX_get0_cipher(ctx))
		return 0;
	if (EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, 1, NULL) != 1 || EVP_CIPHER_CTX_set_padding(ctx, 0) != 1) {
		(void)EVP_CIPHER_CTX_reset(ctx);
		return ossl_error(ERR_CRYPTO);
	}
	return 0;
}

static int gcm_start(struct aes *a, const struct secret *key, struct bytes iv, int enc, EVP_CIPHER_CTX **ret)
{
	EVP_CIPHER_CTX *ctx = a->ctx[GCM_256];
	int r = prepare(ctx, ossl_aes_256_gcm());

	if (r < 0)
		return r;
	if ((size_t)EVP_CIPHER_CTX_get_iv_length(ctx) != iv.n &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv.n, NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	if (EVP_CipherInit_ex2(ctx, NULL, secret_read(key), iv.p, enc, NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	*ret = ctx;
	return 0;
}

int aes_gcm_seal(struct aes *a, const struct secret *key, struct bytes iv, struct bytes plain, uint8_t *ret)
{
	EVP_CIPHER_CTX *ctx = NULL;
	int r, n;

	assert(secret_len(key) == 32 && iv.n >= 1 && iv.n <= 16);
	if (plain.n > INT_MAX - AES_GCM_TAG)
		return ERR_CRYPTO;
	r = gcm_start(a, key, iv, 1, &ctx);
	if (r < 0)
		return r;
	if (plain.n && EVP_CipherUpdate(ctx, ret, &n, plain.p, (int)plain.n) != 1)
		return ossl_error(ERR_CRYPTO);
	if (EVP_CipherFinal_ex(ctx, ret + plain.n, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AES_GCM_TAG, ret + plain.n) != 1)
		return ossl_error(ERR_CRYPTO);
	return 0;
}

int aes_gcm_open(struct aes *a, const struct secret *key, struct bytes iv, struct bytes sealed, uint8_t *ret)
{
	uint8_t tag[AES_GCM_TAG];
	EVP_CIPHER_CTX *ctx = NULL;
	size_t plain_n;
	int r, n;

	if (secret_len(key) != 32 || iv.n < 1 || iv.n > 16 || sealed.n < AES_GCM_TAG || sealed.n > INT_MAX)
		return ERR_DECRYPT_FAILED;
	plain_n = sealed.n - AES_GCM_TAG;
	memcpy(tag, sealed.p + plain_n, AES_GCM_TAG);
	r = gcm_start(a, key, iv, 0, &ctx);
	if (r < 0)
		return r;
	if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AES_GCM_TAG, tag) != 1)
		return ossl_error(ERR_CRYPTO);
	if (plain_n && EVP_CipherUpdate(ctx, ret, &n, sealed.p, (int)plain_n) != 1) {
		sodium_memzero(ret, plain_n);
		return ossl_error(ERR_CRYPTO);
	}
	if (EVP_CipherFinal_ex(ctx, tag, &n) != 1) { /* writes nothing: GCM holds nothing back */
		sodium_memzero(ret, plain_n);
		return ossl_error(ERR_DECRYPT_FAILED);
	}
	return 0;
}

static int cbc_start(struct aes *a, const struct secret *key, struct bytes iv, int enc, EVP_CIPHER_CTX **ret)
{
	bool is_256 = secret_len(key) == 32;
	EVP_CIPHER_CTX *ctx = a->ctx[is_256 ? CBC_256 : CBC_128];
	int r = prepare(ctx, is_256 ? ossl_aes_256_cbc() : ossl_aes_128_cbc());

	if (r < 0)
		return r;
	if (EVP_CipherInit_ex2(ctx, NULL, secret_read(key), iv.p, enc, NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	*ret = ctx;
	return 0;
}

int aes_cbc_seal(struct aes *a, const struct secret *key, struct bytes iv, struct bytes plain, uint8_t *ret)
{
	size_t whole = plain.n - plain.n % AES_BLOCK, rest = plain.n - whole;
	uint8_t last[AES_BLOCK];
	EVP_CIPHER_CTX *ctx = NULL;
	int r, n;

	assert((secret_len(key) == 16 || secret_len(key) == 32) && iv.n == AES_CBC_IV);
	if (plain.n > INT_MAX - AES_BLOCK)
		return ERR_CRYPTO;
	r = cbc_start(a, key, iv, 1, &ctx);
	if (r < 0)
		return r;
	memset(last, (int)(AES_BLOCK - rest), sizeof(last));
	if (rest)
		memcpy(last, plain.p + whole, rest);
	if ((whole && EVP_CipherUpdate(ctx, ret, &n, plain.p, (int)whole) != 1) ||
	    EVP_CipherUpdate(ctx, ret + whole, &n, last, AES_BLOCK) != 1)
		r = ossl_error(ERR_CRYPTO);
	sodium_memzero(last, sizeof(last));
	return r;
}

/* Keeps the compiler from reasoning about a value, and so from turning masks back into branches. */
static inline uint32_t opaque(uint32_t v)
{
	__asm__("" : "+r"(v));
	return v;
}

/*
 * All ones if the last block ends in PKCS#7 padding, else 0; the length of the padding, or 0 for bad padding, in
 * @ret_pad. Reads all 16 bytes whatever they are, without a branch or an index that depends on them.
 */
static uint32_t padding_mask(const uint8_t last[AES_BLOCK], uint32_t *ret_pad)
{
	uint32_t pad = opaque(last[AES_BLOCK - 1]);
	uint32_t bad = (pad - 1) >> 31 | (AES_BLOCK - pad) >> 31; /* 0, or above 16 */
	uint32_t good;

	for (uint32_t i = 0; i < AES_BLOCK; i++) {
		uint32_t within = 0 - ((i - pad) >> 31); /* all ones while i < pad */

		bad |= within & (last[AES_BLOCK - 1 - i] ^ pad);
	}
	good = opaque(0 - ((bad - 1) >> 31)); /* bad stays far below 2^31 */
	*ret_pad = pad & good;
	return good;
}

int aes_cbc_open(struct aes *a, const struct secret *key, struct bytes iv, struct bytes sealed, uint8_t *ret,
		 size_t *ret_n)
{
	EVP_CIPHER_CTX *ctx = NULL;
	uint32_t pad, good;
	int r, n;

	if ((secret_len(key) != 16 && secret_len(key) != 32) || iv.n != AES_CBC_IV || sealed.n == 0 ||
	    sealed.n % AES_BLOCK || sealed.n > INT_MAX)
		return ERR_DECRYPT_FAILED;
	r = cbc_start(a, key, iv, 0, &ctx);
	if (r < 0)
		return r;
	if (EVP_CipherUpdate(ctx, ret, &n, sealed.p, (int)sealed.n) != 1) {
		sodium_memzero(ret, sealed.n);
		return ossl_error(ERR_CRYPTO);
	}
	good = padding_mask(ret + sealed.n - AES_BLOCK, &pad);
	if (!good) { /* the verdict is what the caller is told anyway */
		sodium_memzero(ret, sealed.n);
		return ERR_DECRYPT_FAILED;
	}
	*ret_n = sealed.n - pad;
	return 0;
}
