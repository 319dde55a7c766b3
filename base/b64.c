/*
 * b64.c - tables, four characters to three bytes
 *
 * One loop serves both alphabets; a foreign character's table entry has a bit that no value has, so the loop only
 * gathers and one test at the end refuses. Of standard base64, which files come in, the processor may have done most
 * already.
 */
#include "base/b64.h"

#include "base/b64_avx2.h"

#define BAD 0x80u

static const char std_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Rows of the decoding tables that both alphabets share: digits, then upper and lower case. */
#define X8     BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD
#define X32    X8, X8, X8, X8
#define X128   X32, X32, X32, X32
#define DIGITS 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, BAD, BAD, BAD, BAD, BAD, BAD
#define LETTERS(n_)                                                                                                \
	(n_), (n_) + 1, (n_) + 2, (n_) + 3, (n_) + 4, (n_) + 5, (n_) + 6, (n_) + 7, (n_) + 8, (n_) + 9, (n_) + 10, \
		(n_) + 11, (n_) + 12, (n_) + 13, (n_) + 14, (n_) + 15, (n_) + 16, (n_) + 17, (n_) + 18, (n_) + 19, \
		(n_) + 20, (n_) + 21, (n_) + 22, (n_) + 23, (n_) + 24, (n_) + 25

static const uint8_t std_values[256] = {
	X32,	X8,	     BAD,	 BAD, BAD, 62,	BAD, BAD,  BAD, 63, /* 0x00-0x2f */
	DIGITS, BAD,	     LETTERS(0), BAD, BAD, BAD, BAD, BAD,	    /* 0x30-0x5f */
	BAD,	LETTERS(26), BAD,	 BAD, BAD, BAD, BAD, X128,	    /* 0x60-0xff */
};
static const uint8_t url_values[256] = {
	X32,	X8,	     BAD,	 BAD, BAD, BAD, BAD, 62,   BAD, BAD, /* 0x00-0x2f */
	DIGITS, BAD,	     LETTERS(0), BAD, BAD, BAD, BAD, 63,	     /* 0x30-0x5f */
	BAD,	LETTERS(26), BAD,	 BAD, BAD, BAD, BAD, X128,	     /* 0x60-0xff */
};

/* Without padding; @ret has room for B64_MAX_DECODED(@n). */
static int decode(const uint8_t *p, size_t n, const uint8_t values[256], uint8_t *ret, size_t *ret_n)
{
	uint8_t *to = ret;
	unsigned bad = 0;

	for (; n >= 4; n -= 4, p += 4, to += 3) {
		const unsigned a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];

		bad |= a | b | c | d;
		to[0] = (uint8_t)(a << 2 | b >> 4);
		to[1] = (uint8_t)(b << 4 | c >> 2);
		to[2] = (uint8_t)(c << 6 | d);
	}
	if (n == 1)
		return ERR_MALFORMED_ENVELOPE;
	if (n) {
		const unsigned a = values[p[0]], b = values[p[1]], c = n == 3 ? values[p[2]] : 0;

		bad |= a | b | c;
		if (n == 3 ? c & 3 : b & 15) /* bits that no byte takes: more than one text for the same bytes */
			return ERR_MALFORMED_ENVELOPE;
		*to++ = (uint8_t)(a << 2 | b >> 4);
		if (n == 3)
			*to++ = (uint8_t)(b << 4 | c >> 2);
	}
	if (bad & BAD)
		return ERR_MALFORMED_ENVELOPE;
	*ret_n = (size_t)(to - ret);
	return 0;
}

int b64_decode(struct bytes text, uint8_t *ret, size_t *ret_n)
{
	size_t n = text.n, done, rest;
	int r;

	/* At most two: a third is left in and refused as a character, and so is padding that does not fit. */
	if (n > 0 && n % 4 == 0 && text.p[n - 1] == '=') {
		n--;
		if (text.p[n - 1] == '=')
			n--;
	}
	done = b64_avx2_decode(BYTES(text.p, n), ret);
	r = decode(text.p + done, n - done, std_values, ret + done / 4 * 3, &rest);
	if (r == 0)
		*ret_n = done / 4 * 3 + rest;
	return r;
}

int b64url_decode(struct bytes text, uint8_t *ret, size_t *ret_n)
{
	return decode(text.p, text.n, url_values, ret, ret_n);
}

/* Return: behind the last character written. */
static char *encode(struct bytes in, const char *chars, char *to)
{
	const uint8_t *p = in.p;
	size_t n = in.n;

	for (; n >= 3; n -= 3, p += 3, to += 4) {
		to[0] = chars[p[0] >> 2];
		to[1] = chars[(p[0] & 3) << 4 | p[1] >> 4];
		to[2] = chars[(p[1] & 15) << 2 | p[2] >> 6];
		to[3] = chars[p[2] & 63];
	}
	if (n) {
		*to++ = chars[p[0] >> 2];
		*to++ = chars[(p[0] & 3) << 4 | (n == 2 ? p[1] >> 4 : 0)];
		if (n == 2)
			*to++ = chars[(p[1] & 15) << 2];
	}
	return to;
}

void b64_encode(struct bytes in, char *ret)
{
	size_t done = b64_avx2_encode(in, ret);
	char *end = encode(bytes_sub(in, done, SIZE_MAX), std_chars, ret + done / 3 * 4);

	while ((end - ret) % 4)
		*end++ = '=';
}

void b64url_encode(struct bytes in, char *ret)
{
	(void)encode(in, url_chars, ret); /* the length is B64URL_LEN() */
}

void buf_put_b64(struct buf *b, struct bytes in)
{
	const size_t n = in.n > SIZE_MAX / 2 ? SIZE_MAX : B64_LEN(in.n); /* never wraps */
	uint8_t *to = buf_room(b, n);

	if (!to)
		return;
	b64_encode(in, (char *)to);
	buf_added(b, n);
}

void hex_encode(struct bytes in, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.n; i++) {
		*ret++ = digits[in.p[i] >> 4];
		*ret++ = digits[in.p[i] & 15];
	}
	*ret = '\0';
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(struct bytes text, uint8_t *ret, size_t n)
{
	if (n > SIZE_MAX / 2 || text.n != 2 * n)
		return ERR_MALFORMED_ENVELOPE;
	for (size_t i = 0; i < n; i++) {
		const int high = hex_value(text.p[2 * i]), low = hex_value(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return ERR_MALFORMED_ENVELOPE;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}
