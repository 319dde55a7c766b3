/*
 * scan_text - what the scanner's files share: white space, eight bytes at a time, decoding of strings
 */
#ifndef E2EED_BASE_SCAN_TEXT_H
#define E2EED_BASE_SCAN_TEXT_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

static inline bool scan_is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const uint8_t *scan_skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && scan_is_space(*p))
		p++;
	return p;
}

/*
 * Eight bytes in one word, the first in the lowest bits. For a word x whose bytes are all under 0x80, x - SCAN_EACH(n)
 * has bit 7 set in the first byte that is under n; behind that byte the borrow makes the bits meaningless, so only the
 * first hit counts.
 */
#define SCAN_EACH(byte_) (UINT64_C(0x0101010101010101) * (byte_))
#define SCAN_TOP	 SCAN_EACH(0x80)
#define SCAN_STRIDE	 64 /* bytes */

static inline uint64_t scan_word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return le64toh(w);
}

static inline unsigned scan_first_hit(uint64_t hits)
{
	return (unsigned)__builtin_ctzll(hits) / 8;
}

/* The four hexadecimal digits at @p, or -1. The caller has checked that four bytes are there. */
int scan_hex4(const uint8_t *p);

static inline bool scan_is_high(int unit)
{
	return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool scan_is_low(int unit)
{
	return unit >= 0xdc00 && unit <= 0xdfff;
}

/* A string's content (no quotes), decoded piece by piece. A lone surrogate becomes the three bytes that UTF-8's scheme gives it. */
struct scan_decoder {
	struct bytes rest;
	uint8_t left[4]; /* decoded, found no room in the last piece */
	unsigned n_left;
};

#define SCAN_DECODER(content_) ((struct scan_decoder){ .rest = (content_) })

/** scan_decode - the next @n bytes; fewer only at the string's end. Pieces of equal strings are equal, however written. */
size_t scan_decode(struct scan_decoder *d, uint8_t *ret, size_t n);

#endif
