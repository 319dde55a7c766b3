/*
 * jwk - JSON Web Keys (RFC 7517, 7518), read as WebCrypto's importKey reads them, written as Chromium's exportKey orders them
 *
 * Rocket.Chat stores JWKs as text and hashes room keys' texts, so what is written must be the very bytes that
 * JSON.stringify(await crypto.subtle.exportKey('jwk', key)) gives in its web client: members in alphabetical order, no spaces.
 */
#ifndef E2EED_CRYPTO_JWK_H
#define E2EED_CRYPTO_JWK_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "crypto/rsa.h"

/**
 * jwk_parse_public - a member's public key as Rocket.Chat hands it out
 * @text: JWK as JSON text, or that text JSON-encoded as a string any number of times up to 4 (interop.md 8)
 *
 * Refused: kty other than RSA; alg present and other than RSA-OAEP-256; key_ops present without "encrypt" or with duplicates; use
 * present and other than "enc"; private members (d, p, q, dp, dq, qi, oth); other than 2048 bits or e 65537; n not base64url.
 * Return: 0, ERR_INVALID_KEY, ERR_NOMEM.
 */
int jwk_parse_public(struct bytes text, struct rsa_key **ret) WARN_UNUSED;

/** jwk_parse_private - likewise for a private JWK (key_ops, if present, with "decrypt"; d p q dp dq qi all required) */
int jwk_parse_private(const struct secret *text, struct rsa_key **ret) WARN_UNUSED;

/** jwk_write_public - {"alg":"RSA-OAEP-256","e":"AQAB","ext":true,"key_ops":["encrypt"],"kty":"RSA","n":"..."} appended to @b */
int jwk_write_public(const struct rsa_key *key, struct buf *b) WARN_UNUSED;

/** jwk_write_private - {"alg","d","dp","dq","e","ext","key_ops":["decrypt"],"kty","n","p","q","qi"} */
int jwk_write_private(const struct rsa_key *key, struct secret **ret) WARN_UNUSED;

/** jwk_thumbprint - hex SHA-256 of the RFC 7638 input {"e":..,"kty":"RSA","n":..}, NUL-terminated */
int jwk_thumbprint(const struct rsa_key *key, char ret[65]) WARN_UNUSED;

enum room_alg {
	ROOM_A128CBC, /* made by web before 7.13 and by mobile: 16 bytes */
	ROOM_A256GCM, /* since: 32 bytes */
};

const char *room_alg_name(enum room_alg alg); /* "A128CBC", "A256GCM": the JWK's alg */

/**
 * jwk_parse_room - the room key in a JWK's text, if the web client would take it (interop.md 7)
 *
 * kty "oct"; alg exactly A256GCM with 32 bytes or A128CBC with 16; ext absent or true in JavaScript's sense; key_ops absent or
 * an array of strings without duplicates holding both "encrypt" and "decrypt"; use absent or "enc"; k strict base64url.
 * Return: 0, ERR_INVALID_KEY, ERR_NOMEM.
 */
int jwk_parse_room(const struct secret *text, enum room_alg *ret_alg, struct secret **ret_k) WARN_UNUSED;

/** jwk_write_room - {"alg":"A256GCM","ext":true,"k":"...","key_ops":["encrypt","decrypt"],"kty":"oct"} (or A128CBC) */
int jwk_write_room(enum room_alg alg, const struct secret *k, struct secret **ret_text) WARN_UNUSED;

/**
 * jwk_read_written_room - read the key out of a text that is, to the byte, what jwk_write_room() gives for it
 *
 * As web clients write nearly all of them: so it need not be parsed, nor be kept.
 * Return: 0; ERR_NOT_FOUND for any other text, good or bad; ERR_NOMEM.
 */
int jwk_read_written_room(const struct secret *text, enum room_alg *ret_alg, struct secret **ret_k) WARN_UNUSED;

#define JWK_FILE_KEY 32 /* bytes */

/**
 * jwk_parse_file - the key of a file out of a JWK's text, if WebCrypto's importKey would take it for decrypting with AES-CTR
 * @text: a JSON object; the caller's to wipe
 * @ret_k: JWK_FILE_KEY bytes
 *
 * kty "oct"; alg absent or A256CTR; key_ops absent or an array of strings without duplicates holding "decrypt"; use absent or "enc"; k
 * strict base64url of 32 bytes. `ext` is not looked at: it binds who would export the key.
 * Return: 0, ERR_INVALID_KEY, ERR_NOMEM.
 */
int jwk_parse_file(struct bytes text, struct secret **ret_k) WARN_UNUSED;

/** jwk_write_file - {"alg":"A256CTR","ext":true,"k":"...","key_ops":["encrypt","decrypt"],"kty":"oct"} */
int jwk_write_file(const struct secret *k, struct secret **ret_text) WARN_UNUSED;

#endif
