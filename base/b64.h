/*
 * b64 - strict base64 and base64url (RFC 4648)
 *
 * Encoding always pads standard base64 and never pads base64url. Decoding takes standard base64 with its padding or
 * wholly without it, base64url without it only, and refuses everything else: foreign characters, line breaks, half a
 * padding, stray bits in the last character. Not constant-time in the validity of its input, which is never secret.
 */
#ifndef E2EED_BASE_B64_H
#define E2EED_BASE_B64_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

#define B64_LEN(n_)	    (((n_) + 2) / 3 * 4) /* encoded length of n_ bytes, with padding */
#define B64_MAX_DECODED(n_) (((n_) / 4 + 1) * 3) /* room that decoding n_ characters may need */
#define B64URL_LEN(n_)	    (((n_)*4 + 2) / 3)	 /* encoded length of n_ bytes, without padding */

/**
 * b64_decode - decode into @ret, which has room for B64_MAX_DECODED(@text.n) bytes; may not overlap
 *
 * Return: 0 and the length in @ret_n; ERR_MALFORMED_ENVELOPE, @ret then holds nothing of use.
 */
int b64_decode(struct bytes text, uint8_t *ret, size_t *ret_n) WARN_UNUSED;
int b64url_decode(struct bytes text, uint8_t *ret, size_t *ret_n) WARN_UNUSED;

/** b64_encode - exactly B64_LEN(@in.n) (B64URL_LEN for url) characters into @ret, no NUL behind them */
void b64_encode(struct bytes in, char *ret);
void b64url_encode(struct bytes in, char *ret);

/** buf_put_b64 - append the encoding of @in to @b (sticky error as with buf_put) */
void buf_put_b64(struct buf *b, struct bytes in);

/** hex_encode - 2 * @in.n lower-case digits into @ret and a NUL behind them */
void hex_encode(struct bytes in, char *ret);

/** hex_decode - exactly 2 * @n digits of either case. Return: 0, ERR_MALFORMED_ENVELOPE. */
int hex_decode(struct bytes text, uint8_t *ret, size_t n) WARN_UNUSED;

#endif
