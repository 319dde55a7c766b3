/*
 * kdf - SHA-256, HMAC-SHA-256 and PBKDF2-HMAC-SHA-256
 */
#ifndef E2EED_CRYPTO_KDF_H
#define E2EED_CRYPTO_KDF_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

#define SHA256_SIZE 32

/** kdf_sha256 - FIPS 180-4, over the concatenation of @n_parts parts. Return: 0, ERR_CRYPTO, ERR_NOMEM. */
int kdf_sha256(const struct bytes *parts, size_t n_parts, uint8_t ret[SHA256_SIZE]) WARN_UNUSED;

/** kdf_hmac_sha256 - RFC 2104, over the concatenation of the parts. Return: 0, ERR_CRYPTO, ERR_NOMEM. */
int kdf_hmac_sha256(const struct secret *key, const struct bytes *parts, size_t n_parts,
		    uint8_t ret[SHA256_SIZE]) WARN_UNUSED;

/**
 * kdf_pbkdf2 - RFC 8018, 5.2, with HMAC-SHA-256
 * @passphrase: any bytes, none included
 * @salt:       any bytes, none included
 * @iterations: at least 1; bound it before: the time is proportional
 * @ret:        32 bytes
 *
 * Return: 0, ERR_CRYPTO, ERR_NOMEM.
 */
int kdf_pbkdf2(const struct secret *passphrase, struct bytes salt, unsigned iterations,
	       struct secret **ret) WARN_UNUSED;

#endif
