/*
 * kdf - hashes and what is built from them, each call with a context of its own
 *
 * Contexts live in the arena (OpenSSL's heap), so the state they leave behind is wiped when they are freed.
 */
#include "crypto/kdf.h"

#include <assert.h>

#include "crypto/ossl.h"

int kdf_sha256(const struct bytes *parts, size_t n_parts, uint8_t ret[SHA256_SIZE])
{
	CLEANUP(evp_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx || EVP_DigestInit_ex2(ctx, ossl_sha256(), NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	for (size_t i = 0; i < n_parts; i++)
		if (EVP_DigestUpdate(ctx, parts[i].p, parts[i].n) != 1)
			return ossl_error(ERR_CRYPTO);
	if (EVP_DigestFinal_ex(ctx, ret, NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	return 0;
}

int kdf_hmac_sha256(const struct secret *key, const struct bytes *parts, size_t n_parts, uint8_t ret[SHA256_SIZE])
{
	CLEANUP(evp_mac_ctx_freep) EVP_MAC_CTX *ctx = ossl_hmac_sha256();
	size_t n;

	if (!ctx || EVP_MAC_init(ctx, secret_read(key), secret_len(key), NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	for (size_t i = 0; i < n_parts; i++)
		if (parts[i].n && EVP_MAC_update(ctx, parts[i].p, parts[i].n) != 1)
			return ossl_error(ERR_CRYPTO);
	if (EVP_MAC_final(ctx, ret, &n, SHA256_SIZE) != 1)
		return ossl_error(ERR_CRYPTO);
	return 0;
}

int kdf_pbkdf2(const struct secret *passphrase, struct bytes salt, unsigned iterations, struct secret **ret)
{
	CLEANUP(evp_kdf_ctx_freep) EVP_KDF_CTX *ctx = NULL;
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(ossl_param_bld_freep) OSSL_PARAM_BLD *bld = NULL;
	CLEANUP(ossl_param_freep) OSSL_PARAM *params = NULL;
	int r;

	assert(iterations >= 1);
	r = secret_new(SHA256_SIZE, &key);
	if (r < 0)
		return r;
	/* The builder copies into the arena; PKCS5 = 1 allows what RFC 8018 does: short salts, any number of iterations. */
	bld = OSSL_PARAM_BLD_new();
	if (!bld ||
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_KDF_PARAM_PASSWORD, secret_read(passphrase),
					     secret_len(passphrase)) != 1 ||
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_KDF_PARAM_SALT, salt.n ? salt.p : (const uint8_t *)"", salt.n) !=
		    1 ||
	    OSSL_PARAM_BLD_push_uint(bld, OSSL_KDF_PARAM_ITER, iterations) != 1 ||
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_KDF_PARAM_DIGEST, "SHA256", 0) != 1 ||
	    OSSL_PARAM_BLD_push_int(bld, OSSL_KDF_PARAM_PKCS5, 1) != 1)
		return ossl_error(ERR_CRYPTO);
	params = OSSL_PARAM_BLD_to_param(bld);
	ctx = EVP_KDF_CTX_new(ossl_pbkdf2());
	if (!params || !ctx || EVP_KDF_derive(ctx, secret_write(key), secret_len(key), params) != 1)
		return ossl_error(ERR_CRYPTO);
	*ret = TAKE(key);
	return 0;
}
