/*
 * sha256 - a digest context of OpenSSL's under a name of its own, so that callers need not know OpenSSL
 */
#include "crypto/sha256.h"

#include <stdlib.h>

#include "crypto/ossl.h"

struct sha256 {
	EVP_MD_CTX *ctx; /* owned */
};

int sha256_new(struct sha256 **ret)
{
	CLEANUP(sha256_freep) struct sha256 *h = calloc(1, sizeof(*h));

	if (!h)
		return ERR_NOMEM;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex2(h->ctx, ossl_sha256(), NULL) != 1)
		return ossl_error(ERR_CRYPTO);
	*ret = TAKE(h);
	return 0;
}

void sha256_free(struct sha256 *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

int sha256_update(struct sha256 *h, struct bytes in)
{
	return EVP_DigestUpdate(h->ctx, in.p, in.n) == 1 ? 0 : ossl_error(ERR_CRYPTO);
}

int sha256_final(struct sha256 *h, uint8_t ret[SHA256_SIZE])
{
	return EVP_DigestFinal_ex(h->ctx, ret, NULL) == 1 ? 0 : ossl_error(ERR_CRYPTO);
}
