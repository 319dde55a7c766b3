/*
 * rsa - RSA-OAEP with SHA-256 for label and MGF1 and an empty label; 2048-bit keys with e = 65537
 *
 * Rocket.Chat's E2EKey has room for exactly 256 wrapped bytes, so no other size occurs (interop.md 4). A struct rsa_key is
 * immutable and reference-counted; any thread may use one, several at once.
 */
#ifndef E2EED_CRYPTO_RSA_H
#define E2EED_CRYPTO_RSA_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/secret.h"

#define RSA_SIZE     256	/* modulus and wrapped text, bytes */
#define RSA_MAX_WRAP (256 - 66) /* longest text OAEP with SHA-256 can wrap */

struct rsa_key;

/** rsa_generate - a new 2048-bit key pair; 20 to 500 ms, for workers. Return: 0, ERR_CRYPTO, ERR_NOMEM. */
int rsa_generate(struct rsa_key **ret) WARN_UNUSED;

struct rsa_key *rsa_ref(struct rsa_key *key);
void rsa_unref(struct rsa_key *key);
DEFINE_FREEP(struct rsa_key *, rsa_unrefp, rsa_unref)

bool rsa_is_private(const struct rsa_key *key);

/** rsa_same_public - do both have the same modulus and exponent? */
bool rsa_same_public(const struct rsa_key *a, const struct rsa_key *b);

/**
 * rsa_oaep_wrap - RFC 8017, 7.1.1
 * @text: at most RSA_MAX_WRAP bytes
 *
 * Return: 0, ERR_INVALID_KEY for a text that is too long, ERR_CRYPTO, ERR_NOMEM.
 */
int rsa_oaep_wrap(const struct rsa_key *key, const struct secret *text, uint8_t ret[RSA_SIZE]) WARN_UNUSED;

/**
 * rsa_oaep_unwrap - RFC 8017, 7.1.2; one private-key operation
 * @wrapped: exactly RSA_SIZE bytes
 *
 * Return: 0, ERR_KEY_UNWRAP_FAILED (whatever the cause), ERR_NOMEM.
 */
int rsa_oaep_unwrap(const struct rsa_key *key, struct bytes wrapped, struct secret **ret) WARN_UNUSED;

/* PKCS#8 PrivateKeyInfo, DER (RFC 5208): how the keystore holds a private key. ERR_INVALID_KEY, ERR_NOMEM, ERR_CRYPTO. */
int rsa_to_pkcs8(const struct rsa_key *key, struct secret **ret) WARN_UNUSED;
int rsa_from_pkcs8(const struct secret *der, struct rsa_key **ret) WARN_UNUSED;

/* The numbers of a key, big-endian without leading zeros, as a JWK names them. */
enum rsa_number { RSA_N, RSA_E, RSA_D, RSA_P, RSA_Q, RSA_DP, RSA_DQ, RSA_QI, RSA_NUMBERS };

/** rsa_number - Return: 0; ERR_INVALID_KEY where the key (a public one) has no such number; ERR_NOMEM. */
int rsa_get_number(const struct rsa_key *key, enum rsa_number which, struct secret **ret) WARN_UNUSED;

/**
 * rsa_from_numbers - a key from its numbers: RSA_N and RSA_E alone (the rest NULL) for a public key, all for a private one
 *
 * Refused with ERR_INVALID_KEY: a modulus of other than 2048 bits, one with a factor below 256, e other than 65537, and private numbers that do
 * not belong together (each relation is checked: n = pq, both prime, d, dp, dq, qi). Return: 0, ERR_INVALID_KEY, ERR_NOMEM.
 */
int rsa_from_numbers(struct secret *const numbers[RSA_NUMBERS], struct rsa_key **ret) WARN_UNUSED;

#endif
