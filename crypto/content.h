/*
 * content - the `content` of an encrypted message
 *
 * v1: {"algorithm":"rc.v1.aes-sha2","ciphertext": kid(12) + base64(iv 16 + AES-128-CBC)}; a legacy string is that ciphertext alone.
 * v2: {"algorithm":"rc.v2.aes-sha2","kid","iv","ciphertext"}. The version does not say the cipher: web writes v2 with a 16-byte
 * IV and CBC into rooms whose key is A128CBC (interop.md 13). The key's algorithm and the IV's length decide.
 */
#ifndef E2EED_CRYPTO_CONTENT_H
#define E2EED_CRYPTO_CONTENT_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/aes.h"
#include "crypto/roomkey.h"

#define CONTENT_V1_KID	   12
#define CONTENT_MAX_DEPTH  512		      /* of a payload; JSON.parse itself has no fixed limit */
#define CONTENT_MAX_CIPHER ((size_t)64 << 20) /* bytes; frames end long before */

/* one decoded envelope */
struct content {
	struct bytes kid; /* borrowed from the envelope's text */
	uint8_t iv[16];
	size_t iv_len;	   /* 12 or 16 */
	struct buf cipher; /* owned; GCM: ciphertext and tag, CBC: whole blocks */
};

void content_fini(struct content *c);

/**
 * content_decode_v1 - @text: kid and base64, as in v1's `ciphertext` and in the legacy string; no escapes left in it
 * content_decode_v2 - the three members of v2; @kid of 1 to 64 printable ASCII characters
 *
 * @c is zeroed before its first use; a later call reuses its cipher buffer. @kid and @text stay the caller's. Everything impossible is
 * ERR_MALFORMED_ENVELOPE: bad base64, an IV of other than 12 or 16 bytes, under 16 bytes for GCM, none or no whole blocks for
 * CBC, no kid. ERR_NOMEM; ERR_TOO_LARGE above CONTENT_MAX_CIPHER.
 */
int content_decode_v1(struct bytes text, struct content *c) WARN_UNUSED;
int content_decode_v2(struct bytes kid, struct bytes iv, struct bytes ciphertext, struct content *c) WARN_UNUSED;

/**
 * content_open - try one key
 * @plain: reset, then filled with the plaintext; on failure it is empty
 *
 * Opened means: authentic (GCM) or well padded (CBC), and, a leading byte order mark apart, a JSON object in UTF-8, nested up to 512
 * deep, by JSON.parse's rules; @ret_json is then the view of that object in @plain. A key that does not fit the IV does not open.
 * Return: 0, ERR_DECRYPT_FAILED for every reason, ERR_NOMEM, ERR_TOO_LARGE if @plain's ceiling is below the cipher's length.
 */
int content_open(struct aes *aes, const struct roomkey *key, const struct content *c, struct buf *plain,
		 struct bytes *ret_json) WARN_UNUSED;

/**
 * content_seal - encrypt @plain and append the `content` object to @b
 *
 * A256GCM: v2, fresh 12-byte IV. A128CBC: fresh 16-byte IV, v1 when @kid has 12 characters, else v2 (the only form
 * every client reads: interop.md 13). @scratch is reset and used. Return: 0, ERR_NOMEM, ERR_TOO_LARGE, ERR_CRYPTO.
 */
int content_seal(struct aes *aes, const struct roomkey *key, struct bytes kid, struct bytes plain, struct buf *scratch,
		 struct buf *b) WARN_UNUSED;

#endif
