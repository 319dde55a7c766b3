/* RFC 4648's vectors, round trips of every length, and every way in which a strict decoder refuses. */
#include <ctype.h>
#include <string.h>

#include "base/b64.h"
#include "base/cleanup.h"
#include "tests/unit/tap.h"

typedef int decode_fn(struct bytes text, uint8_t *ret, size_t *ret_n);

static void takes(decode_fn *decode, const char *text, struct bytes want)
{
	uint8_t out[64];
	size_t n = 99;

	CHECK_INT(decode(bytes_str(text), out, &n), 0);
	CHECK_BYTES(BYTES(out, n < sizeof(out) ? n : 0), want);
}

static void refuses_bytes(decode_fn *decode, struct bytes text)
{
	uint8_t out[64];
	size_t n = 99;

	CHECK_INT(decode(text, out, &n), ERR_MALFORMED_ENVELOPE);
	CHECK_INT(n, 99);
}

static void refuses(decode_fn *decode, const char *text)
{
	refuses_bytes(decode, bytes_str(text));
}

static void encodes(struct bytes in, const char *want_std, const char *want_url)
{
	char out[64];

	memset(out, '#', sizeof(out));
	b64_encode(in, out);
	CHECK_BYTES(BYTES(out, B64_LEN(in.n)), bytes_str(want_std));
	CHECK_INT(out[B64_LEN(in.n)], '#');
	memset(out, '#', sizeof(out));
	b64url_encode(in, out);
	CHECK_BYTES(BYTES(out, B64URL_LEN(in.n)), bytes_str(want_url));
	CHECK_INT(out[B64URL_LEN(in.n)], '#');
}

static void test_vectors(void)
{
	static const struct {
		const char *plain, *std, *url;
	} v[] = {
		{ "", "", "" },
		{ "f", "Zg==", "Zg" },
		{ "fo", "Zm8=", "Zm8" },
		{ "foo", "Zm9v", "Zm9v" },
		{ "foob", "Zm9vYg==", "Zm9vYg" },
		{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
		{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
		{ "\xfb\xff\xfe", "+//+", "-__-" },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		encodes(bytes_str(v[i].plain), v[i].std, v[i].url);
		takes(b64_decode, v[i].std, bytes_str(v[i].plain));
		takes(b64url_decode, v[i].url, bytes_str(v[i].plain));
	}
	takes(b64_decode, "Zm9vYg", bytes_str("foob")); /* wholly without padding */
	takes(b64_decode, "Zm9vYmE", bytes_str("fooba"));
}

static void test_refused(void)
{
	static const char *const both[] = {
		"A",	    "AAAAA", "Zm9v ",	 "Zm9vYg==\n", "\nZm9v", "Zm 9v",   "Zm9v=",	    "Zm9v==",
		"Zm9v====", "Zg=",   "Zm8==",	 "Z===",       "====",	 "=",	    "==",	    "Zg==Zg==",
		"Zm=v",	    "Zg=A",  "Zm9v*A==", "Zh",	       "Zm9",	 "Zm9vYmF", "Zm9v\xc3\xa4",
	};

	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++) {
		refuses(b64_decode, both[i]);
		refuses(b64url_decode, both[i]);
	}
	refuses(b64_decode, "Zh=="); /* stray bits */
	refuses(b64_decode, "Zm9=");
	refuses(b64_decode, "-__-");
	refuses(b64url_decode, "+//+");
	refuses(b64url_decode, "Zg==");
	refuses(b64url_decode, "Zm8=");
	refuses_bytes(b64_decode, BYTES_LIT("Zm9\0"));
	refuses_bytes(b64_decode, BYTES_LIT("AAA\x80"));
}

/* Each alphabet has its 64 characters and no other, at each place of a group. */
static void test_alphabets(void)
{
	static decode_fn *const decoders[] = { b64_decode, b64url_decode };

	for (size_t d = 0; d < 2; d++) {
		for (size_t at = 0; at < 4; at++) {
			size_t taken = 0;

			for (int c = 0; c < 256; c++) {
				uint8_t text[4] = { 'A', 'A', 'A', 'A' }, out[6];
				size_t n;

				text[at] = (uint8_t)c;
				/* padding is no character */
				if (c != '=' && decoders[d](BYTES(text, 4), out, &n) == 0)
					taken++;
			}
			CHECK_INT(taken, 64);
		}
	}
}

static void test_lengths(void)
{
	uint8_t in[300], out[B64_MAX_DECODED(B64_LEN(300))];
	char text[B64_LEN(300)];
	bool same = true;
	size_t n;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 167 + 13);
	for (size_t len = 0; len <= sizeof(in); len++) {
		b64_encode(BYTES(in, len), text);
		same = same && b64_decode(BYTES(text, B64_LEN(len)), out, &n) == 0 && n == len &&
		       memcmp(in, out, len) == 0;
		b64url_encode(BYTES(in, len), text);
		same = same && b64url_decode(BYTES(text, B64URL_LEN(len)), out, &n) == 0 && n == len &&
		       memcmp(in, out, len) == 0;
	}
	CHECK(same);
	CHECK_INT(b64_decode(BYTES_NONE, out, &n), 0);
	CHECK_INT(n, 0);
}

/* One character after the other, of texts so long that they are not done one by one. */
static void reference(struct bytes in, char *ret)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t bits = 8 * in.n, i = 0;

	for (size_t at = 0; at < bits; at += 6, i++) {
		unsigned v = 0;

		for (size_t b = at; b < at + 6; b++)
			v = v << 1 | (b < bits ? (unsigned)in.p[b / 8] >> (7 - b % 8) & 1u : 0);
		ret[i] = chars[v];
	}
	while (i % 4)
		ret[i++] = '=';
}

#define LONG 200

static void test_long(void)
{
	uint8_t in[LONG], out[B64_MAX_DECODED(B64_LEN(LONG))];
	char want[B64_LEN(LONG)], got[B64_LEN(LONG) + 1];
	size_t right = 0, n;

	for (size_t len = 0; len <= LONG; len++) {
		const struct bytes all = BYTES(in, len);

		for (size_t i = 0; i < len; i++)
			in[i] = (uint8_t)(i * 151 + len * 7 + i * i);
		reference(all, want);
		memset(got, '!', sizeof(got));
		b64_encode(all, got);
		right += memcmp(got, want, B64_LEN(len)) == 0 && got[B64_LEN(len)] == '!';
		right += b64_decode(BYTES(want, B64_LEN(len)), out, &n) == 0 && n == len && memcmp(out, in, len) == 0;
	}
	CHECK_INT(right, 2 * (LONG + 1));
}

/* Each byte in each place of a long text: a foreign one is refused, any other is what the reference makes the same text of. */
static void test_long_alphabet(void)
{
	enum { CHARS = 128 };
	uint8_t out[B64_MAX_DECODED(CHARS)];
	char text[CHARS], again[CHARS];
	size_t right = 0, taken = 0, tried = 0, n;

	for (size_t at = 0; at < CHARS; at++) {
		memset(text, 'Q', CHARS);
		for (int c = 0; c < 256; c++) {
			bool ok;

			if (tried++ % TEST_STEP)
				continue;
			text[at] = (char)c;
			ok = b64_decode(BYTES(text, CHARS), out, &n) == 0;
			if (c == '=' && at == CHARS - 1) { /* padding */
				right += !ok || n == 95;
				continue;
			}
			if (ok)
				reference(BYTES(out, n), again);
			right += ok ? n == 96 && memcmp(again, text, CHARS) == 0 : c != '+' && c != '/' && !isalnum(c);
			taken += ok;
		}
	}
	CHECK_INT(right, (tried + TEST_STEP - 1) / TEST_STEP);
	CHECK(taken >= 64 * CHARS / TEST_STEP - CHARS && taken <= 64 * CHARS / TEST_STEP + CHARS);
}

static void test_buf(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(14);

	buf_put_str(&b, "x=");
	buf_put_b64(&b, bytes_str("fooba"));
	CHECK_BYTES(buf_bytes(&b), bytes_str("x=Zm9vYmE="));
	buf_put_b64(&b, bytes_str("foob"));
	CHECK_INT(buf_err(&b), ERR_TOO_LARGE);
	CHECK_BYTES(buf_bytes(&b), bytes_str("x=Zm9vYmE="));
	buf_cut(&b, 10);
	buf_put_b64(&b, bytes_str("foo"));
	CHECK_INT(buf_err(&b), 0);
	CHECK_BYTES(buf_bytes(&b), bytes_str("x=Zm9vYmE=Zm9v"));
	buf_put_b64(&b, BYTES_NONE);
	CHECK_INT(buf_err(&b), 0);
	buf_put_b64(&b, BYTES("", SIZE_MAX)); /* refused by its length alone */
	CHECK_INT(buf_err(&b), ERR_TOO_LARGE);
}

static void test_hex(void)
{
	char text[9];
	uint8_t out[4] = { 9, 9, 9, 9 };

	hex_encode(BYTES_LIT("\x00\x9f\xa0\xff"), text);
	CHECK_BYTES(BYTES(text, 9), BYTES_LIT("009fa0ff\0"));
	hex_encode(BYTES_NONE, text);
	CHECK_INT(text[0], 0);
	CHECK_INT(hex_decode(BYTES_LIT("009Fa0fF"), out, 4), 0);
	CHECK_BYTES(BYTES(out, 4), BYTES_LIT("\x00\x9f\xa0\xff"));
	CHECK_INT(hex_decode(BYTES_NONE, out, 0), 0);
	CHECK_INT(hex_decode(BYTES_LIT("009fa0f"), out, 4), ERR_MALFORMED_ENVELOPE);
	CHECK_INT(hex_decode(BYTES_LIT("009fa0ff0"), out, 4), ERR_MALFORMED_ENVELOPE);
	CHECK_INT(hex_decode(BYTES_LIT("009fa0fg"), out, 4), ERR_MALFORMED_ENVELOPE);
	CHECK_INT(hex_decode(BYTES_LIT(" 09fa0ff"), out, 4), ERR_MALFORMED_ENVELOPE);
	CHECK_INT(hex_decode(BYTES_LIT("0\x10"), out, 1), ERR_MALFORMED_ENVELOPE); /* 0x10 | 0x20 is '0' */
	CHECK_INT(hex_decode(BYTES_LIT("0x9fa0ff"), out, 4), ERR_MALFORMED_ENVELOPE);
}

int main(void)
{
	test_start();
	test_vectors();
	test_refused();
	test_alphabets();
	test_lengths();
	test_long();
	test_long_alphabet();
	test_buf();
	test_hex();
	return test_end();
}
