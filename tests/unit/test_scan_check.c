/* scan_check() by tables: grammar, UTF-8, numbers, depth, duplicates, and where in a frame JavaScript's rules hold. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/scan.h"
#include "tests/unit/tap.h"

#define BIG_LIMIT                                                                                    \
	"179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017" \
	"977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273" \
	"854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704" \
	"342711559699508093042880177904174497792"
#define BIG_BELOW                                                                                    \
	"179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017" \
	"977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273" \
	"854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704" \
	"342711559699508093042880177904174497791"

/* A copy of exactly its size, so that the sanitizer sees a step over the end. */
static int check_exact(struct bytes text, unsigned flags, unsigned max_depth)
{
	uint8_t *copy = malloc(text.n ? text.n : 1);
	int r;

	if (!copy)
		return ERR_NOMEM;
	if (text.n)
		memcpy(copy, text.p, text.n);
	r = scan_check(BYTES(copy, text.n), flags, max_depth);
	free(copy);
	return r;
}

/* Which flags make a text pass */
enum passes {
	ALWAYS,
	NEVER,
	WITH_JS,   /* SCAN_JS is needed */
	WITH_DUPS, /* SCAN_DUPS is needed */
	WITH_BOTH,
	WITH_FRAME, /* SCAN_JS or SCAN_FRAME */
};

struct row {
	enum passes passes;
	struct bytes text;
};

#define ROW(passes_, text_)                                            \
	{                                                              \
		passes_,                                               \
		{                                                      \
			(const uint8_t *)("" text_), sizeof(text_) - 1 \
		}                                                      \
	}

static const struct row rows[] = {
	/* values, white space */
	ROW(ALWAYS, "0"), ROW(ALWAYS, " \t\r\n1 \t\r\n"), ROW(ALWAYS, "true"), ROW(ALWAYS, "false"),
	ROW(ALWAYS, "null"), ROW(ALWAYS, "\"\""), ROW(ALWAYS, "[]"), ROW(ALWAYS, "{}"), ROW(ALWAYS, "[ ]"),
	ROW(ALWAYS, "{ }"), ROW(ALWAYS, "[1,\"a\",true,null,{},[]]"),
	ROW(ALWAYS, " { \"a\" : 1 , \"b\" : [ 2 , { } ] } "), ROW(ALWAYS, "{\"\":0}"), ROW(NEVER, ""), ROW(NEVER, " "),
	ROW(NEVER, "tru"), ROW(NEVER, "truE"), ROW(NEVER, "truee"), ROW(NEVER, "nul"), ROW(NEVER, "NaN"),
	ROW(NEVER, "Infinity"), ROW(NEVER, "undefined"), ROW(NEVER, "1 2"), ROW(NEVER, "1,"), ROW(NEVER, ",1"),
	ROW(NEVER, "[]]"), ROW(NEVER, "{}}"), ROW(NEVER, "[}"), ROW(NEVER, "{]"), ROW(NEVER, "[1}"),
	ROW(NEVER, "{\"a\":1]"), ROW(NEVER, "["), ROW(NEVER, "{"), ROW(NEVER, "]"), ROW(NEVER, "}"), ROW(NEVER, "[,]"),
	ROW(NEVER, "[1,]"), ROW(NEVER, "[,1]"), ROW(NEVER, "[1 2]"), ROW(NEVER, "[1,,2]"), ROW(NEVER, "[1:2]"),
	ROW(NEVER, "{,}"), ROW(NEVER, "{\"a\"}"), ROW(NEVER, "{\"a\":}"), ROW(NEVER, "{\"a\":1,}"),
	ROW(NEVER, "{\"a\" 1}"), ROW(NEVER, "{\"a\"::1}"), ROW(NEVER, "{\"a\":1 \"b\":2}"),
	ROW(NEVER, "{\"a\":1,,\"b\":2}"), ROW(NEVER, "{a:1}"), ROW(NEVER, "{1:1}"), ROW(NEVER, "{'a':1}"),
	ROW(NEVER, "{null:1}"), ROW(NEVER, "{[]:1}"), ROW(NEVER, ":"), ROW(NEVER, "/**/1"), ROW(NEVER, "1//"),
	ROW(NEVER, "\xef\xbb\xbf{}"), ROW(NEVER, "\f1"), ROW(NEVER, "\v1"), ROW(NEVER, "\xc2\xa0[]"), ROW(NEVER, "1\0"),
	ROW(NEVER, "\0"), ROW(NEVER, "[1\0]"), ROW(NEVER, "'a'"), ROW(NEVER, "\xe5"),

	/* strings */
	ROW(ALWAYS, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), ROW(ALWAYS, "\"\\u0061\\u00e9\\u20AC\\uFFFF\""),
	ROW(ALWAYS, "\"\x7f\""), ROW(ALWAYS, "\"0123456789abcdef0123456789abcdef\""), ROW(ALWAYS, "\"\\u0001\""),
	ROW(NEVER, "\""), ROW(NEVER, "\"a"), ROW(NEVER, "\"a\\\""), ROW(NEVER, "\"\\\""), ROW(NEVER, "\"\\"),
	ROW(NEVER, "\"\\x41\""), ROW(NEVER, "\"\\a\""), ROW(NEVER, "\"\\v\""), ROW(NEVER, "\"\\'\""),
	ROW(NEVER, "\"\\0\""), ROW(NEVER, "\"\\U0061\""), ROW(NEVER, "\"\\u\""), ROW(NEVER, "\"\\u0\""),
	ROW(NEVER, "\"\\u006\""), ROW(NEVER, "\"\\u006g\""), ROW(NEVER, "\"\\u00 1\""), ROW(NEVER, "\"\\u-061\""),
	ROW(NEVER, "\"\\u0061"), ROW(NEVER, "\"\\\n\""), ROW(NEVER, "\"\\\xc3\xa9\""), ROW(NEVER, "\"\n\""),
	ROW(NEVER, "\"\t\""), ROW(NEVER, "\"\0\""), ROW(NEVER, "\"\x1f\""), ROW(NEVER, "\"0123456\n\""),
	ROW(NEVER, "\"01234567\n\""), ROW(NEVER, "\"01234567890123456789\x01\""), ROW(NEVER, "{\"\n\":1}"),
	ROW(NEVER, "{\"\\x\":1}"),

	/* what JavaScript alone takes, in strings */
	ROW(ALWAYS, "\"\\ud83d\\ude00\""), ROW(ALWAYS, "\"\\uD800\\uDC00\\uDBFF\\uDFFF\""), ROW(WITH_JS, "\"\\u0000\""),
	ROW(WITH_JS, "\"a\\u0000b\""), ROW(WITH_JS, "\"\\ud800\""), ROW(WITH_JS, "\"\\udbff\""),
	ROW(WITH_JS, "\"\\udc00\""), ROW(WITH_JS, "\"\\uDFFF\""), ROW(WITH_JS, "\"\\ud800a\""),
	ROW(WITH_JS, "\"\\ud800\\n\""), ROW(WITH_JS, "\"\\ud800\\u0061\""), ROW(WITH_JS, "\"\\ud800\\ud800\""),
	ROW(WITH_JS, "\"\\udc00\\ud800\""), ROW(WITH_JS, "\"\\ud800\\ud83d\\ude00\""),
	ROW(WITH_JS, "\"\\ud83d\\ude00\\ude00\""), ROW(NEVER, "\"\\ud800\\u\""), ROW(NEVER, "\"\\ud800\\u12\""),
	ROW(NEVER, "\"\\ud800\\"), ROW(WITH_JS, "{\"\\u0000\":1}"), ROW(WITH_JS, "{\"\\ud800\":1}"),
	ROW(WITH_JS, "[[{\"a\":[\"\\udc00\"]}]]"),

	/* UTF-8 */
	ROW(ALWAYS, "\"\xc2\x80\xdf\xbf\""), ROW(ALWAYS, "\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
	ROW(ALWAYS, "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""), ROW(ALWAYS, "\"abcdefg\xc3\xa9hijklmnop\xe2\x82\xac\""),
	ROW(ALWAYS, "{\"\xc3\xa9\":1}"), ROW(ALWAYS, "\"\xef\xbb\xbf\""), ROW(NEVER, "\"\x80\""),
	ROW(NEVER, "\"\xbf\""), ROW(NEVER, "\"\xc0\x80\""), ROW(NEVER, "\"\xc1\xbf\""), ROW(NEVER, "\"\xc2\""),
	ROW(NEVER, "\"\xc2"), ROW(NEVER, "\"\xc2\xc2\x80\""), ROW(NEVER, "\"\xe0\x80\x80\""),
	ROW(NEVER, "\"\xe0\x9f\xbf\""), ROW(NEVER, "\"\xed\xa0\x80\""), ROW(NEVER, "\"\xed\xbf\xbf\""),
	ROW(NEVER, "\"\xe2\x82\""), ROW(NEVER, "\"\xe2\x82"), ROW(NEVER, "\"\xe2\x28\xa1\""),
	ROW(NEVER, "\"\xe2\x82\x28\""), ROW(NEVER, "\"\xf0\x80\x80\x80\""), ROW(NEVER, "\"\xf0\x8f\xbf\xbf\""),
	ROW(NEVER, "\"\xf4\x90\x80\x80\""), ROW(NEVER, "\"\xf5\x80\x80\x80\""), ROW(NEVER, "\"\xff\""),
	ROW(NEVER, "\"\xfe\""), ROW(NEVER, "\"\xf0\x9f\x98\""), ROW(NEVER, "\"\xf0\x9f\x98"),
	ROW(NEVER, "\"\xf0\x28\x8c\xbc\""), ROW(NEVER, "\"\xf0\x90\x28\xbc\""), ROW(NEVER, "\"\xf0\x90\x8c\x28\""),
	ROW(NEVER, "{\"\xc3\":1}"), ROW(NEVER, "\"abcdefghijklmno\xff\""), ROW(NEVER, "\"\xc3\xa9\x80\""),

	/* numbers */
	ROW(ALWAYS, "-0"), ROW(ALWAYS, "-1"), ROW(ALWAYS, "10"), ROW(ALWAYS, "0.5"), ROW(ALWAYS, "-0.0"),
	ROW(ALWAYS, "1e5"), ROW(ALWAYS, "1E+5"), ROW(ALWAYS, "1e-5"), ROW(ALWAYS, "0e1"), ROW(ALWAYS, "0e+400"),
	ROW(ALWAYS, "0.00e99999"), ROW(ALWAYS, "1.25e10"), ROW(ALWAYS, "1e00005"),
	ROW(ALWAYS, "123456789012345678901234567890"), ROW(NEVER, "-"), ROW(NEVER, "+1"), ROW(NEVER, "01"),
	ROW(NEVER, "-01"), ROW(NEVER, "00"), ROW(NEVER, "1."), ROW(NEVER, "1.e5"), ROW(NEVER, ".5"), ROW(NEVER, "-.5"),
	ROW(NEVER, "1e"), ROW(NEVER, "1e+"), ROW(NEVER, "1e-"), ROW(NEVER, "1e+-1"), ROW(NEVER, "1e1.5"),
	ROW(NEVER, "1e5e5"), ROW(NEVER, "1.2.3"), ROW(NEVER, "0x10"), ROW(NEVER, "1_000"), ROW(NEVER, "1a"),
	ROW(NEVER, "--1"), ROW(NEVER, "- 1"), ROW(NEVER, "-Infinity"), ROW(NEVER, "1\xc2\xbd"), ROW(ALWAYS, "1e308"),
	ROW(ALWAYS, "-1e308"), ROW(ALWAYS, "1.7976931348623157e308"), ROW(ALWAYS, "1e-999"),
	ROW(ALWAYS, "-1e-99999999999999999999999"), ROW(ALWAYS, "179769313486231570e291"), ROW(ALWAYS, "0.0001e312"),
	ROW(WITH_JS, "1e309"), ROW(WITH_JS, "-1e309"), ROW(WITH_JS, "1e400"), ROW(WITH_JS, "1.8e308"),
	ROW(WITH_JS, "1.7976931348623159e308"), ROW(WITH_JS, "17.976931348623159e307"), ROW(WITH_JS, "0.0001e313"),
	ROW(WITH_JS, "179769313486231590e291"), ROW(WITH_JS, "1e99999999999999999999999999"), ROW(WITH_JS, "[[1e400]]"),
	ROW(ALWAYS, BIG_BELOW), ROW(ALWAYS, BIG_BELOW ".9999"), ROW(WITH_JS, BIG_LIMIT), ROW(WITH_JS, "-" BIG_LIMIT),
	ROW(WITH_JS, BIG_LIMIT ".0"), ROW(WITH_JS, BIG_LIMIT "0e-1"), ROW(WITH_JS, BIG_LIMIT "000.1e-3"),
	ROW(ALWAYS, BIG_BELOW "9e-1"), ROW(ALWAYS, "0." BIG_BELOW "e309"), ROW(WITH_JS, "0." BIG_LIMIT "e309"),
	ROW(WITH_JS, "0.00" BIG_LIMIT "000e311"), ROW(WITH_JS, BIG_LIMIT "0"), ROW(WITH_JS, "{\"a\":1e400}"),

	/* duplicates */
	ROW(ALWAYS, "{\"a\":1,\"b\":2}"), ROW(ALWAYS, "{\"a\":{\"a\":{\"a\":1}}}"),
	ROW(ALWAYS, "[{\"a\":1},{\"a\":1}]"), ROW(ALWAYS, "{\"a\":1,\"A\":2}"),
	ROW(ALWAYS, "{\"a\":{\"b\":1},\"b\":{\"a\":1}}"), ROW(ALWAYS, "{\"\\\\n\":1,\"\\n\":2}"),
	ROW(ALWAYS, "{\"\\\\u0061\":1,\"a\":2}"), ROW(WITH_DUPS, "{\"a\":1,\"a\":1}"),
	ROW(WITH_DUPS, "{\"\":1,\"\":1}"), ROW(WITH_DUPS, "{\"a\":1,\"b\":2,\"a\":3}"),
	ROW(WITH_DUPS, "{\"a\":1,\"\\u0061\":1}"), ROW(WITH_DUPS, "{\"\\u0061\":1,\"a\":1}"),
	ROW(WITH_DUPS, "{\"\\u0061\":1,\"\\u0061\":1}"), ROW(WITH_DUPS, "{\"\\/\":1,\"/\":1}"),
	ROW(WITH_DUPS, "{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":1}"),
	ROW(WITH_DUPS, "{\"\xc3\xa9\":1,\"\\u00e9\":1}"), ROW(WITH_DUPS, "[{\"x\":{\"a\":1,\"a\":1}}]"),
	ROW(WITH_DUPS, "{\"a\":{\"b\":1},\"a\":{}}"), ROW(WITH_DUPS, "{\"a\":[{\"b\":{\"c\":1}}],\"x\":1,\"a\":{}}"),
	ROW(WITH_BOTH, "{\"\\ud800\":1,\"\\uD800\":1}"), ROW(WITH_BOTH, "{\"\\u0000\":1,\"\\u0000\":1}"),
	ROW(WITH_BOTH, "{\"a\":1,\"a\":\"\\u0000\"}"), ROW(WITH_JS, "{\"\\ud800\":1,\"\\ud801\":1}"),

	/* frames: within payload and message of a request's params */
	ROW(WITH_FRAME, "{\"params\":{\"payload\":\"\\u0000\"}}"), ROW(WITH_FRAME, "{\"params\":{\"payload\":1e400}}"),
	ROW(WITH_FRAME, "{\"params\":{\"message\":\"\\ud800\"}}"),
	ROW(WITH_FRAME,
	    " { \"id\" : 1 , \"params\" : { \"a\" : [ ] , \"payload\" : { \"b\" : [ { \"c\" : 1e400 } ] } } } "),
	ROW(WITH_FRAME, "{\"params\":{\"payload\":{\"\\ud800\":1}}}"),
	ROW(WITH_FRAME, "{\"params\":{\"payload\":[[],{},[1e400]],\"message\":-1e400}}"),
	ROW(WITH_FRAME, "{\"par\\u0061ms\":{\"p\\u0061yload\":1e400}}"),
	ROW(WITH_FRAME, "{\"\\u0070\\u0061\\u0072\\u0061\\u006d\\u0073\":{\"mess\\u0061ge\":1e400}}"),
	ROW(WITH_FRAME, "[{\"params\":{\"payload\":1e400}}]"),
	ROW(WITH_FRAME, "[1,[2],{},{\"params\":{}},{\"params\":{\"message\":{\"a\":1e400}}},null]"),
	ROW(WITH_FRAME, "{\"params\":{\"payload\":{\"params\":{\"x\":1e400}}}}"), ROW(WITH_JS, "\"\\u0000\""),
	ROW(WITH_JS, "[1e400]"), ROW(WITH_JS, "[\"\\ud800\"]"), ROW(WITH_JS, "{\"payload\":1e400}"),
	ROW(WITH_JS, "{\"id\":1e400,\"params\":{\"payload\":{}}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":{}},\"id\":1e400}"), ROW(WITH_JS, "{\"params\":1e400}"),
	ROW(WITH_JS, "{\"params\":[1e400]}"), ROW(WITH_JS, "{\"params\":{\"x\":1e400}}"),
	ROW(WITH_JS, "{\"params\":[{\"payload\":1e400}]}"), ROW(WITH_JS, "{\"params\":{\"x\":{\"payload\":1e400}}}"),
	ROW(WITH_JS, "{\"x\":{\"params\":{\"payload\":1e400}}}"),
	ROW(WITH_JS, "{\"x\":[{\"params\":{\"payload\":1e400}}]}"),
	ROW(WITH_JS, "[[{\"params\":{\"payload\":1e400}}]]"), ROW(WITH_JS, "{\"params\":{\"Payload\":1e400}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\\u0020\":1e400}}"), ROW(WITH_JS, "{\"params \":{\"payload\":1e400}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":[1],\"x\":1e400}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":{\"a\":1},\"x\":1e400}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":1,\"x\":\"\\u0000\"}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":1,\"\\u0000\":1}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":1},\"\\u0000\":1}"),
	ROW(WITH_JS, "{\"params\":{\"params\":{\"payload\":1e400}}}"),
	ROW(WITH_JS, "{\"params\":{\"payload\":1e400},\"method\":\"\\u0000\"}"),
	ROW(WITH_JS, "[{\"params\":{\"payload\":1e400}},{\"payload\":1e400}]"),
	ROW(WITH_JS, "[{\"params\":{\"payload\":1e400}},\"\\udc00\"]"),
	ROW(WITH_DUPS, "{\"params\":{\"payload\":{\"a\":1,\"\\u0061\":2}}}"),
	ROW(WITH_DUPS, "{\"params\":{\"payload\":1,\"payload\":2}}"),
	ROW(WITH_DUPS, "{\"params\":{},\"par\\u0061ms\":{}}"), ROW(NEVER, "{\"params\":{\"payload\":\"\\u000\"}}"),
	ROW(NEVER, "{\"params\":{\"payload\":\"\xed\xa0\x80\"}}"), ROW(NEVER, "{\"params\":{\"payload\":01}}"),
	ROW(NEVER, "{\"params\":{\"payload\":\"\n\"}}")
};

static bool should_pass(enum passes passes, unsigned flags)
{
	bool js = flags & SCAN_JS, dups = flags & SCAN_DUPS;

	switch (passes) {
	case ALWAYS:
		return true;
	case WITH_JS:
		return js;
	case WITH_DUPS:
		return dups;
	case WITH_BOTH:
		return js && dups;
	case WITH_FRAME:
		return js || (flags & SCAN_FRAME);
	default:
		return false;
	}
}

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ok = true;

		for (unsigned flags = 0; flags < 8; flags++) {
			int want = should_pass(rows[i].passes, flags) ? 0 : ERR_PARSE;
			int got = check_exact(rows[i].text, flags, 64);

			if (got != want) {
				ok = false;
				printf("# flags %u: got %d, want %d\n", flags, got, want);
			}
		}
		if (!ok)
			printf("# text: %.*s\n", (int)rows[i].text.n, (const char *)rows[i].text.p);
		CHECK(ok);
	}
}

/* A stop at each place of the eight-byte steps */
static void test_alignment(void)
{
	static const char stops[] = "\"\\\n\x1f\x80\xff";
	char text[64];

	for (size_t n = 0; n < 40; n++) {
		memset(text, 'x', sizeof(text));
		text[0] = '"';
		text[1 + n] = '"';
		CHECK_INT(check_exact(BYTES(text, n + 2), 0, 1), 0);
		for (size_t k = 0; k < sizeof(stops); k++) { /* the NUL too */
			text[1 + n] = stops[k];
			text[42] = '"';
			if (check_exact(BYTES(text, 43), 0, 1) != ERR_PARSE) {
				printf("# stop %zu at %zu\n", k, n);
				CHECK(false);
			}
		}
	}
}

static void repeat(struct buf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_put_str(b, s);
}

static int nested(const char *open, const char *inner, const char *close, size_t n, unsigned flags, unsigned max)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 24);

	repeat(&b, open, n);
	buf_put_str(&b, inner);
	repeat(&b, close, n);
	return check_exact(buf_bytes(&b), flags, max);
}

static void test_depth(void)
{
	CHECK_INT(scan_check(BYTES_LIT("1"), 0, 0), 0);
	CHECK_INT(scan_check(BYTES_LIT("[]"), 0, 0), ERR_PARSE);
	CHECK_INT(scan_check(BYTES_LIT("[1,\"a\"]"), 0, 1), 0);
	CHECK_INT(scan_check(BYTES_LIT("[[]]"), 0, 1), ERR_PARSE);
	CHECK_INT(scan_check(BYTES_LIT("{\"a\":{}}"), 0, 1), ERR_PARSE);
	CHECK_INT(nested("[", "", "]", 64, 0, 64), 0);
	CHECK_INT(nested("[", "1", "]", 64, 0, 64), 0);
	CHECK_INT(nested("[", "", "]", 65, 0, 64), ERR_PARSE);
	CHECK_INT(nested("{\"a\":", "1", "}", 64, 0, 64), 0);
	CHECK_INT(nested("{\"a\":", "1", "}", 65, 0, 64), ERR_PARSE);
	CHECK_INT(nested("{\"a\":[", "1", "]}", 32, 0, 64), 0);
	CHECK_INT(nested("{\"a\":[", "{}", "]}", 32, 0, 64), ERR_PARSE);
	CHECK_INT(nested("[", "", "]", 512, SCAN_JS | SCAN_DUPS, 512), 0);
	CHECK_INT(nested("[", "", "]", 513, SCAN_JS | SCAN_DUPS, 512), ERR_PARSE);
	CHECK_INT(nested("{\"a\":", "1", "}", SCAN_MAX_DEPTH, 0, SCAN_MAX_DEPTH), 0);
	CHECK_INT(nested("{\"a\":", "1", "}", SCAN_MAX_DEPTH + 1, 0, SCAN_MAX_DEPTH), ERR_PARSE);
	CHECK_INT(nested("[", "", "]", SCAN_MAX_DEPTH + 1, 0, 100000),
		  ERR_PARSE); /* a larger limit is no larger stack */
	CHECK_INT(nested("[", "", "]", SCAN_MAX_DEPTH, 0, 100000), 0);
	CHECK_INT(nested("[", "", "", 1000000, 0, 512), ERR_PARSE);
	CHECK_INT(nested("[[]", "", "", 1, 0, 512), ERR_PARSE);
	CHECK_INT(nested("[", "[],[],[[]]", "]", 62, 0, 64), 0); /* siblings do not add up */
}

/* An object of @n members; with @again, one more that repeats member number @repeated as @again writes it */
static int members(size_t n, size_t repeated, const char *again, unsigned flags)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 26);

	buf_put_byte(&b, '{');
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s\"key%zu\":%zu", i ? "," : "", i, i);
	if (again)
		buf_printf(&b, ",\"%s%zu\":0", again, repeated);
	buf_put_byte(&b, '}');
	return check_exact(buf_bytes(&b), flags, 1);
}

static void test_many_members(void)
{
	static const size_t counts[] = { 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 200000 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t n = counts[i];

		CHECK_INT(members(n, 0, NULL, 0), 0);
		CHECK_INT(members(n, 0, "key", 0), ERR_PARSE);
		CHECK_INT(members(n, n - 1, "key", 0), ERR_PARSE);
		CHECK_INT(members(n, n / 2, "k\\u0065y", 0), ERR_PARSE);
		CHECK_INT(members(n, n / 2, "k\\u0065y", SCAN_DUPS), 0);
		CHECK_INT(members(n, n / 2, "kEy", 0), 0);
		CHECK_INT(members(n, n / 2, "k\\u0045y", 0), 0);
	}
}

/* Long names, alike but for one place; one of them may be written with escapes */
static int long_names(size_t n, size_t differs_at, bool escaped)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);

	buf_put_str(&b, "{\"");
	repeat(&b, "n", n);
	buf_put_str(&b, "\":1,\"");
	for (size_t i = 0; i < n; i++)
		buf_put_str(&b, i == differs_at ? "N" : escaped && i % 3 == 0 ? "\\u006e" : "n");
	buf_put_str(&b, "\":2}");
	return check_exact(buf_bytes(&b), 0, 1);
}

static void test_long_names(void)
{
	static const size_t lengths[] = { 119, 120, 121, 127, 128, 239, 240, 241, 5000 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t n = lengths[i];

		for (int escaped = 0; escaped < 2; escaped++) {
			CHECK_INT(long_names(n, n, escaped), ERR_PARSE);
			CHECK_INT(long_names(n, n - 1, escaped), 0);
			CHECK_INT(long_names(n, 0, escaped), 0);
		}
	}
}

/* Names of objects that are still open are left alone when inner ones close; the stack grows on the way. */
static void test_nested_names(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);
	size_t n;

	for (int level = 0; level < 30; level++) {
		buf_put_byte(&b, '{');
		for (int i = 0; i < 40; i++)
			buf_printf(&b, "\"k%d\":{\"k%d\":1,\"x\":2},", i, i);
		buf_put_str(&b, "\"deeper\":");
	}
	buf_put_str(&b, "{}");
	n = b.n;
	repeat(&b, "}", 30);
	CHECK_INT(check_exact(buf_bytes(&b), 0, 64), 0);
	buf_cut(&b, n);
	repeat(&b, "}", 29);
	buf_put_str(&b, ",\"k39\":1}");
	CHECK_INT(check_exact(buf_bytes(&b), 0, 64), ERR_PARSE);
	buf_cut(&b, n);
	buf_put_str(&b, ",\"k\\u0030\":1");
	repeat(&b, "}", 30);
	CHECK_INT(check_exact(buf_bytes(&b), 0, 64), ERR_PARSE);
	CHECK_INT(check_exact(buf_bytes(&b), SCAN_DUPS, 64), 0);
}

static void test_truncated(void)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"id\":-12.5e+3,\"ok\":[true,false,null,{}],"
		"\"params\":{\"payload\":{\"m\\u00e9\":\"\\ud83d\\ude00 \xf0\x9f\x98\x80 \\u0000\"}}}";
	bool refused = true;

	CHECK_INT(check_exact(BYTES(text, sizeof(text) - 1), SCAN_FRAME, 64), 0);
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		if (check_exact(BYTES(text, n), SCAN_FRAME, 64) != ERR_PARSE) {
			printf("# passes when cut to %zu bytes\n", n);
			refused = false;
		}
	}
	CHECK(refused);
}

int main(void)
{
	test_start();
	test_rows();
	test_alignment();
	test_depth();
	test_many_members();
	test_long_names();
	test_nested_names();
	test_truncated();
	return test_end();
}
