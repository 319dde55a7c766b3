/*
 * roomkey - a room's symmetric key, and the E2EKey strings that carry it to a member
 *
 * E2EKey = kid, then exactly 344 characters of base64: RSA-OAEP over the key's JWK text. The text is kept byte for byte, since
 * clients re-wrap the stored text and 7.x hashes it (interop.md 6). Immutable and reference-counted; any thread.
 */
#ifndef E2EED_CRYPTO_ROOMKEY_H
#define E2EED_CRYPTO_ROOMKEY_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/secret.h"
#include "crypto/jwk.h"
#include "crypto/rsa.h"

#define ROOMKEY_WRAPPED_LEN 344 /* base64 of 256 bytes */
#define ROOMKEY_MAX_KID	    64

struct roomkey;

/** roomkey_generate - a fresh A256GCM key. Return: 0, ERR_NOMEM. */
int roomkey_generate(struct roomkey **ret) WARN_UNUSED;

/** roomkey_from_jwk - takes a reference to nothing; copies @text. Return: 0, ERR_INVALID_KEY, ERR_NOMEM. */
int roomkey_from_jwk(const struct secret *text, struct roomkey **ret) WARN_UNUSED;

struct roomkey *roomkey_ref(struct roomkey *key);
void roomkey_unref(struct roomkey *key);
DEFINE_FREEP(struct roomkey *, roomkey_unrefp, roomkey_unref)

enum room_alg roomkey_alg(const struct roomkey *key);
const struct secret *roomkey_k(const struct roomkey *key); /* the raw key; borrowed */

/** roomkey_get_jwk - its JWK text, to the byte as it came. Return: 0 and a secret of the caller's; ERR_NOMEM. */
int roomkey_get_jwk(const struct roomkey *key, struct secret **ret) WARN_UNUSED;

/** roomkey_same - the same algorithm and key bytes (whatever the texts)? In constant time. */
bool roomkey_same(const struct roomkey *a, const struct roomkey *b);

/** roomkey_kid_chars - has @kid at most ROOMKEY_MAX_KID characters, all of them printable ASCII? (An empty one has.) */
bool roomkey_kid_chars(struct bytes kid);

/**
 * roomkey_split - an E2EKey string into its kid prefix and its wrapped part
 *
 * The wrapped part is the last 344 characters, the prefix the 0 to 64 characters before. Return: 0; ERR_MALFORMED_ENVELOPE
 * for a string that is too short, too long, whose prefix has other than printable ASCII or whose wrapped part is not base64.
 */
int roomkey_split(struct bytes e2ekey, struct bytes *ret_prefix, uint8_t ret_wrapped[RSA_SIZE]) WARN_UNUSED;

/**
 * roomkey_unwrap - open the wrapped part
 *
 * Return: 0; ERR_KEY_UNWRAP_FAILED for every way the unwrap or its content can fail; ERR_NOMEM.
 */
int roomkey_unwrap(const struct rsa_key *key, const uint8_t wrapped[RSA_SIZE], struct roomkey **ret) WARN_UNUSED;

/** roomkey_wrap_bytes - the JWK text wrapped for @recipient. Return: as roomkey_wrap(). */
int roomkey_wrap_bytes(const struct roomkey *key, const struct rsa_key *recipient, uint8_t ret[RSA_SIZE]) WARN_UNUSED;

/** roomkey_join - append kid and base64 of what was wrapped to @b: the reverse of roomkey_split() */
void roomkey_join(struct bytes kid, const uint8_t wrapped[RSA_SIZE], struct buf *b);

/**
 * roomkey_wrap - append kid and base64 of the wrapped JWK text to @b: an E2EKey string
 *
 * Return: 0; ERR_INVALID_KEY for a text that is too long to wrap; ERR_NOMEM, ERR_CRYPTO, buf_err(@b).
 */
int roomkey_wrap(const struct roomkey *key, const struct rsa_key *recipient, struct bytes kid,
		 struct buf *b) WARN_UNUSED;

#endif
