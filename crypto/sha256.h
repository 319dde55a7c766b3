/*
 * sha256 - SHA-256 (FIPS 180-4) of what comes piece by piece
 *
 * The state, which holds up to 63 bytes of what came last, lies in the arena. One thread at a time. What is there at once is
 * kdf_sha256()'s.
 */
#ifndef E2EED_CRYPTO_SHA256_H
#define E2EED_CRYPTO_SHA256_H

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "crypto/kdf.h"

struct sha256;

int sha256_new(struct sha256 **ret) WARN_UNUSED; /* ERR_NOMEM, ERR_CRYPTO */
void sha256_free(struct sha256 *h);
DEFINE_FREEP(struct sha256 *, sha256_freep, sha256_free)

int sha256_update(struct sha256 *h, struct bytes in) WARN_UNUSED; /* ERR_CRYPTO */

/** sha256_final - the hash of all that came; nothing more may come. Return: 0, ERR_CRYPTO. */
int sha256_final(struct sha256 *h, uint8_t ret[SHA256_SIZE]) WARN_UNUSED;

#endif
