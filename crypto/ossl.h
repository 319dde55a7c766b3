/*
 * ossl - OpenSSL 3, set up so that its heap lies in the locked arena
 *
 * Algorithms are fetched once here; the rest of crypto/ borrows the fetched objects. Only EVP and other interfaces
 * that OpenSSL 3 does not deprecate are used.
 */
#ifndef E2EED_CRYPTO_OSSL_H
#define E2EED_CRYPTO_OSSL_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>

#include "base/cleanup.h"
#include "base/err.h"

/**
 * ossl_init - direct OpenSSL's heap to the arena, start libcrypto and libsodium, fetch what crypto/ uses
 *
 * After arena_init(), before anything else touches libcrypto, once, from one thread. Reads no openssl.cnf: a file on
 * the machine must not change algorithms. Return: 0, ERR_CRYPTO.
 */
int ossl_init(void) WARN_UNUSED;

/** ossl_fini - give everything back, libcrypto's own memory included; the last call into crypto/ */
void ossl_fini(void);

const EVP_CIPHER *ossl_aes_256_gcm(void);
const EVP_CIPHER *ossl_aes_128_cbc(void);
const EVP_CIPHER *ossl_aes_256_cbc(void);
const EVP_CIPHER *ossl_aes_256_ctr(void);
const EVP_MD *ossl_sha256(void);
EVP_KDF *ossl_pbkdf2(void);

/** ossl_hmac_sha256 - an HMAC-SHA-256 context that awaits its key; the caller's to free. Return: NULL on failure. */
EVP_MAC_CTX *ossl_hmac_sha256(void) WARN_UNUSED;

/** ossl_error - translate a failed call: ERR_NOMEM if that was why, else @otherwise; empties the error queue */
int ossl_error(int otherwise);

DEFINE_FREEP(EVP_PKEY *, evp_pkey_freep, EVP_PKEY_free)
DEFINE_FREEP(EVP_PKEY_CTX *, evp_pkey_ctx_freep, EVP_PKEY_CTX_free)
DEFINE_FREEP(EVP_MD_CTX *, evp_md_ctx_freep, EVP_MD_CTX_free)
DEFINE_FREEP(EVP_MAC_CTX *, evp_mac_ctx_freep, EVP_MAC_CTX_free)
DEFINE_FREEP(EVP_KDF_CTX *, evp_kdf_ctx_freep, EVP_KDF_CTX_free)
DEFINE_FREEP(BIGNUM *, bn_freep, BN_clear_free)
DEFINE_FREEP(OSSL_PARAM_BLD *, ossl_param_bld_freep, OSSL_PARAM_BLD_free)
DEFINE_FREEP(OSSL_PARAM *, ossl_param_freep, OSSL_PARAM_free)

#endif
