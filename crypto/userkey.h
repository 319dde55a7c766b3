/*
 * userkey - the envelope in which a private key rests on the Rocket.Chat server, sealed with a passphrase
 *
 * v1: {"$binary": base64(16-byte IV, AES-256-CBC)}, key = PBKDF2(passphrase, salt = user id, 1000). v2: {"iv", "ciphertext",
 * "salt", "iterations"}, AES-256-GCM. interop.md section 1 and pitfalls 9, 17 to 20; Rocket.Chat client/lib/e2ee/keychain.ts.
 */
#ifndef E2EED_CRYPTO_USERKEY_H
#define E2EED_CRYPTO_USERKEY_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "crypto/aes.h"
#include "crypto/rsa.h"

#define USERKEY_MIN_ITERATIONS 1000
#define USERKEY_MAX_ITERATIONS 2000000 /* the envelope comes from a server that need not be friendly */

/**
 * userkey_open - open any envelope that a released client ever wrote
 * @envelope:   JSON text of v1 or v2; either of them JSON-encoded as a string again (up to 4 times); or the bare base64 of v1
 * @user_id:    UTF-8; salt of v1, and of a v2 envelope without one
 * @passphrase: UTF-8; tried one byte per UTF-16 code unit where every one is below 256 (web), then as UTF-8 (mobile)
 *
 * An object with $binary is v1, whatever else it has (web's order). A v2 IV has 12 bytes (GCM), or 16: web decrypts that as
 * AES-256-CBC, others wrote GCM with 16, so both are tried. Opened means: the plaintext is a private JWK that jwk_parse_private
 * takes, since v1 has no authentication. The plaintext may itself be JSON-encoded as a string.
 *
 * Up to two PBKDF2 of up to 2,000,000 iterations: seconds, for workers. Return: 0; ERR_MALFORMED_ENVELOPE for what is no
 * envelope (not base64, members missing or of a wrong type, impossible lengths, iterations out of bounds or no integer);
 * ERR_DECRYPT_FAILED when nothing opens it; ERR_NOMEM, ERR_CRYPTO.
 */
int userkey_open(struct aes *aes, struct bytes envelope, struct bytes user_id, const struct secret *passphrase,
		 struct rsa_key **ret) WARN_UNUSED;

/**
 * userkey_seal - the v2 envelope, as JSON text appended to @b: {"iv","ciphertext","salt","iterations"} in this order
 * @passphrase: printable ASCII only, so that every client family derives the same key: the caller has checked
 *
 * Fresh 12-byte IV, salt "v2:<user_id>:<uuid>", 100,000 iterations. Return: 0, ERR_NOMEM, ERR_CRYPTO, buf_err(@b).
 */
int userkey_seal(struct aes *aes, const struct rsa_key *key, struct bytes user_id, const struct secret *passphrase,
		 struct buf *b) WARN_UNUSED;

#endif
