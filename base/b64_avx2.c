/*
 * b64_avx2 - characters and values differ by a number that is the same over each of five ranges
 *
 * Both directions find the range by comparing and add its number. Three bytes and four values are turned into each other within 32 bits,
 * by multiplying: a multiplication shifts each field by its own distance.
 */
#include "base/b64_avx2.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define STEP_BYTES 24
#define STEP_CHARS 32
#define READ	   28 /* bytes that a step of encoding looks at */
#define LEFT	   40 /* characters that must be there for a step of decoding, which writes 28 bytes: these make 30 */

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i both(__m128i lane)
{
	return _mm256_broadcastsi128_si256(lane);
}

/* @n where @v is above @limit, else 0 */
AVX2 static inline __m256i above(__m256i v, char limit, char n)
{
	return _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8(limit)), _mm256_set1_epi8(n));
}

/* Values below 64 to characters. */
AVX2 static inline __m256i to_chars(__m256i v)
{
	__m256i add = _mm256_set1_epi8('A');

	add = _mm256_add_epi8(add, above(v, 25, 'a' - 26 - 'A'));
	add = _mm256_add_epi8(add, above(v, 51, ('0' - 52) - ('a' - 26)));
	add = _mm256_add_epi8(add, above(v, 61, ('+' - 62) - ('0' - 52)));
	add = _mm256_add_epi8(add, above(v, 62, ('/' - 63) - ('+' - 62)));
	return _mm256_add_epi8(v, add);
}

/* All ones where @first <= @c <= @last; bytes from 128 on are negative, and in no range. */
AVX2 static inline __m256i within(__m256i c, char first, char last)
{
	return _mm256_andnot_si256(_mm256_cmpgt_epi8(c, _mm256_set1_epi8(last)),
				   _mm256_cmpgt_epi8(c, _mm256_set1_epi8((char)(first - 1))));
}

/* The characters from @first to @last stand for @value and what follows it: mark them in @known, and note in @add what makes them that. */
AVX2 static inline void range(__m256i c, char first, char last, char value, __m256i *known, __m256i *add)
{
	__m256i in = within(c, first, last);

	*known = _mm256_or_si256(*known, in);
	*add = _mm256_or_si256(*add, _mm256_and_si256(in, _mm256_set1_epi8((char)(value - first))));
}

/* Characters to values. Return: false if there is a foreign one. */
AVX2 static inline bool to_values(__m256i c, __m256i *ret)
{
	__m256i known = _mm256_setzero_si256(), add = _mm256_setzero_si256();

	range(c, 'A', 'Z', 0, &known, &add);
	range(c, 'a', 'z', 26, &known, &add);
	range(c, '0', '9', 52, &known, &add);
	range(c, '+', '+', 62, &known, &add);
	range(c, '/', '/', 63, &known, &add);
	*ret = _mm256_add_epi8(c, add);
	return _mm256_movemask_epi8(known) == -1;
}

AVX2 static size_t encode(struct bytes in, char *ret)
{
	/* of bytes a b c: b a c b, so that each 16 bits hold two whole values */
	const __m256i spread = both(_mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
	size_t at = 0;

	for (; in.n - at >= READ; at += STEP_BYTES, ret += STEP_CHARS) {
		const uint8_t *p = in.p + at;
		__m256i v = _mm256_loadu2_m128i((const void *)(p + STEP_BYTES / 2), (const void *)p);
		__m256i even, odd;

		v = _mm256_shuffle_epi8(v, spread);
		even = _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0fc0fc00)),
					  _mm256_set1_epi32(0x04000040));
		odd = _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003f03f0)),
					 _mm256_set1_epi32(0x01000010));
		_mm256_storeu_si256((void *)ret, to_chars(_mm256_or_si256(even, odd)));
	}
	return at;
}

AVX2 static size_t decode(struct bytes text, uint8_t *ret)
{
	/* the three bytes of each 32 bits, the highest first */
	const __m256i gather = both(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
	size_t at = 0;
	__m256i v;

	for (; text.n - at >= LEFT; at += STEP_CHARS, ret += STEP_BYTES) {
		if (!to_values(_mm256_loadu_si256((const void *)(text.p + at)), &v))
			break;
		v = _mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140)); /* two values: 64 a + b */
		v = _mm256_madd_epi16(v, _mm256_set1_epi32(0x00011000));    /* and two of these: 4096 ab + cd */
		v = _mm256_shuffle_epi8(v, gather);
		_mm_storeu_si128((void *)ret, _mm256_castsi256_si128(v));
		_mm_storeu_si128((void *)(ret + STEP_BYTES / 2), _mm256_extracti128_si256(v, 1));
	}
	return at;
}

static bool is_worth_it(size_t n, size_t at_least)
{
	return n >= at_least && __builtin_cpu_supports("avx2");
}

size_t b64_avx2_encode(struct bytes in, char *ret)
{
	return is_worth_it(in.n, READ) ? encode(in, ret) : 0;
}

size_t b64_avx2_decode(struct bytes text, uint8_t *ret)
{
	return is_worth_it(text.n, LEFT) ? decode(text, ret) : 0;
}
#else
size_t b64_avx2_encode(struct bytes in, char *ret)
{
	(void)in;
	(void)ret;
	return 0;
}

size_t b64_avx2_decode(struct bytes text, uint8_t *ret)
{
	(void)text;
	(void)ret;
	return 0;
}
#endif
