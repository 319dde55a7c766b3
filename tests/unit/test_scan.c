/* Walking validated text and reading its strings; and spans nobody validated, which must do no harm. */
#include "base/cleanup.h"
#include "base/scan.h"
#include "tests/unit/tap.h"

static void test_trim_and_type(void)
{
	CHECK_BYTES(scan_trim(BYTES_LIT("1")), BYTES_LIT("1"));
	CHECK_BYTES(scan_trim(BYTES_LIT(" \t\r\n{ } \t\r\n")), BYTES_LIT("{ }"));
	CHECK_INT(scan_trim(BYTES_LIT(" \n")).n, 0);
	CHECK_INT(scan_trim(BYTES_NONE).n, 0);
	CHECK_INT(scan_type(BYTES_LIT("{}")), SCAN_OBJECT);
	CHECK_INT(scan_type(BYTES_LIT("[]")), SCAN_ARRAY);
	CHECK_INT(scan_type(BYTES_LIT("\"\"")), SCAN_STRING);
	CHECK_INT(scan_type(BYTES_LIT("-1")), SCAN_NUMBER);
	CHECK_INT(scan_type(BYTES_LIT("0")), SCAN_NUMBER);
	CHECK_INT(scan_type(BYTES_LIT("true")), SCAN_TRUE);
	CHECK_INT(scan_type(BYTES_LIT("false")), SCAN_FALSE);
	CHECK_INT(scan_type(BYTES_LIT("null")), SCAN_NULL);
}

static void test_members(void)
{
	static const char text[] =
		"{ \"a\" : 1 ,\"b\\u0062\":\"x,}\\\"\" , \"\":{\"k\":[1,{}]},\"d\":[ ] ,\"e\":-1.5e3,"
		"\"long\":\"0123456789\\\\\", \"f\":null }";
	static const char *const keys[] = { "\"a\"", "\"b\\u0062\"", "\"\"", "\"d\"", "\"e\"", "\"long\"", "\"f\"" };
	static const char *const values[] = { "1",   "\"x,}\\\"\"", "{\"k\":[1,{}]}",
					      "[ ]", "-1.5e3",	    "\"0123456789\\\\\"",
					      "null" };
	struct scan_iter it = scan_iter(BYTES(text, sizeof(text) - 1));
	struct scan_member m;
	size_t n = 0;

	CHECK_INT(scan_check(BYTES(text, sizeof(text) - 1), 0, 64), 0);
	while (scan_next_member(&it, &m) && n < 7) {
		CHECK_BYTES(m.key, bytes_str(keys[n]));
		CHECK_BYTES(m.value, bytes_str(values[n]));
		n++;
	}
	CHECK_INT(n, 7);
	CHECK(!scan_next_member(&it, &m)); /* and stays at the end */
	it = scan_iter(BYTES_LIT("{}"));
	CHECK(!scan_next_member(&it, &m));
	it = scan_iter(BYTES_LIT("{ }"));
	CHECK(!scan_next_member(&it, &m));
	it = scan_iter(BYTES_LIT("[\"a\"]"));
	CHECK(!scan_next_member(&it, &m));
}

static void test_elements(void)
{
	static const char *const want[] = { "1", "\"]\"", "[2,[3]]", "{\"]\":\"[\"}", "true", "[]" };
	struct scan_iter it = scan_iter(BYTES_LIT("[ 1,\"]\" ,[2,[3]], {\"]\":\"[\"},true\n,[] ]"));
	struct bytes v;
	size_t n = 0;

	while (scan_next_element(&it, &v) && n < 6)
		CHECK_BYTES(v, bytes_str(want[n++]));
	CHECK_INT(n, 6);
	CHECK(!scan_next_element(&it, &v));
	it = scan_iter(BYTES_LIT("[]"));
	CHECK(!scan_next_element(&it, &v));
	it = scan_iter(BYTES_LIT("[\t]"));
	CHECK(!scan_next_element(&it, &v));
	it = scan_iter(BYTES_LIT("{\"a\":1}"));
	CHECK(!scan_next_element(&it, &v));
}

static void test_find(void)
{
	struct bytes object = BYTES_LIT("{\"a\":1,\"b\":{\"c\":2},\"\\u0061\":3,\"A\":4}"), v = BYTES_NONE;

	CHECK(scan_find(object, BYTES_LIT("a"), &v)); /* the last wins, however it is written */
	CHECK_BYTES(v, BYTES_LIT("3"));
	CHECK(scan_find(object, BYTES_LIT("b"), &v));
	CHECK_BYTES(v, BYTES_LIT("{\"c\":2}"));
	CHECK(!scan_find(object, BYTES_LIT("c"), &v)); /* only the object's own */
	CHECK_BYTES(v, BYTES_LIT("{\"c\":2}"));	       /* untouched */
	CHECK(!scan_find(BYTES_LIT("{}"), BYTES_LIT("a"), &v));
	CHECK(!scan_find(object, BYTES_NONE, &v));
}

static void test_str_is(void)
{
	static const char long_name[] = "0123456789012345678901234567890123456789012345678901234567890123456789";
	static const char long_str[] =
		"\"\\u0030123456789012345678901234567890123456789012345678901234567890123456789\"";
	struct bytes name = BYTES(long_name, sizeof(long_name) - 1), str = BYTES(long_str, sizeof(long_str) - 1);

	CHECK(scan_str_is(BYTES_LIT("\"abc\""), BYTES_LIT("abc")));
	CHECK(!scan_str_is(BYTES_LIT("\"abc\""), BYTES_LIT("abd")));
	CHECK(!scan_str_is(BYTES_LIT("\"abc\""), BYTES_LIT("ab")));
	CHECK(!scan_str_is(BYTES_LIT("\"abc\""), BYTES_LIT("abcd")));
	CHECK(scan_str_is(BYTES_LIT("\"\""), BYTES_NONE));
	CHECK(!scan_str_is(BYTES_LIT("\"\""), BYTES_LIT("a")));
	CHECK(!scan_str_is(BYTES_LIT("\"a\""), BYTES_NONE));
	CHECK(scan_str_is(BYTES_LIT("\"\\u0061bc\""), BYTES_LIT("abc")));
	CHECK(scan_str_is(BYTES_LIT("\"\\u0061\\u0062\\u0063\""), BYTES_LIT("abc")));
	CHECK(scan_str_is(BYTES_LIT("\"ab\\u0063\""), BYTES_LIT("abc")));
	CHECK(!scan_str_is(BYTES_LIT("\"ab\\u0063d\""), BYTES_LIT("abc")));
	CHECK(!scan_str_is(BYTES_LIT("\"ab\\u0064\""), BYTES_LIT("abc")));
	CHECK(scan_str_is(BYTES_LIT("\"\\n\""), BYTES_LIT("\n")));
	CHECK(!scan_str_is(BYTES_LIT("\"\\n\""), BYTES_LIT("\\n"))); /* same bytes, another string */
	CHECK(scan_str_is(BYTES_LIT("\"\\\\n\""), BYTES_LIT("\\n")));
	CHECK(scan_str_is(BYTES_LIT("\"\\u00e9\\ud83d\\ude00\""), BYTES_LIT("\xc3\xa9\xf0\x9f\x98\x80")));
	CHECK(scan_str_is(BYTES_LIT("\"\\u0000\""), BYTES_LIT("\0")));
	CHECK(scan_str_is(BYTES_LIT("\"\\ud800\""), BYTES_LIT("\xed\xa0\x80")));
	CHECK(scan_str_is(str, name));
	CHECK(!scan_str_is(str, bytes_sub(name, 0, 64)));
	CHECK(!scan_str_is(str, bytes_sub(name, 1, 69)));
}

static void test_decode(void)
{
	static const struct {
		struct bytes str, want;
	} rows[] = {
		{ BYTES_LIT("\"\""), { NULL, 0 } },
		{ BYTES_LIT("\"plain\""), BYTES_LIT("plain") },
		{ BYTES_LIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), BYTES_LIT("\"\\/\b\f\n\r\t") },
		{ BYTES_LIT("\"a\\u0000b\""), BYTES_LIT("a\0b") },
		{ BYTES_LIT("\"\\u007f\\u0080\\u07FF\\u0800\\uffff\""),
		  BYTES_LIT("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf") },
		{ BYTES_LIT("\"\\ud800\\udc00-\\uDBFF\\uDFFF\""), BYTES_LIT("\xf0\x90\x80\x80-\xf4\x8f\xbf\xbf") },
		{ BYTES_LIT("\"\xc3\xa9\\u00e9\""), BYTES_LIT("\xc3\xa9\xc3\xa9") },
		{ BYTES_LIT("\"\\ud7ff\\ue000\""), BYTES_LIT("\xed\x9f\xbf\xee\x80\x80") },
	};
	static const char *const lone[] = { "\"ab\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0061\"", "\"\\udbff\\ud800\"",
					    "\"\\ud83d\\ude00\\ude00\"" };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_fini)
		struct buf b = BUF_INIT(rows[i].want.n + 2); /* room for the result, not for the text */

		buf_put_str(&b, ">>");
		CHECK_INT(scan_str_decode(rows[i].str, &b), 0);
		CHECK_BYTES(bytes_sub(buf_bytes(&b), 2, SIZE_MAX), rows[i].want);
		buf_fini(&b);
		b.max--;
		CHECK(scan_str_is(rows[i].str, rows[i].want));
		buf_put_str(&b, rows[i].want.n ? ">>" : ">");
		CHECK_INT(scan_str_decode(rows[i].str, &b), rows[i].want.n ? ERR_TOO_LARGE : 0);
	}
	for (size_t i = 0; i < sizeof(lone) / sizeof(lone[0]); i++) {
		CLEANUP(buf_fini) struct buf b = BUF_INIT(100);

		buf_put_str(&b, ">>");
		CHECK_INT(scan_check(bytes_str(lone[i]), SCAN_JS, 1), 0);
		CHECK_INT(scan_str_decode(bytes_str(lone[i]), &b), ERR_PARSE);
		CHECK_BYTES(buf_bytes(&b), BYTES_LIT(">>")); /* nothing was appended */
	}
}

static void test_raw(void)
{
	struct bytes v = BYTES_LIT("untouched");

	CHECK(!scan_str_raw(BYTES_LIT("\"a\\n\""), &v));
	CHECK_BYTES(v, BYTES_LIT("untouched"));
	CHECK(scan_str_raw(BYTES_LIT("\"ab \xc3\xa9\""), &v));
	CHECK_BYTES(v, BYTES_LIT("ab \xc3\xa9"));
	CHECK(scan_str_raw(BYTES_LIT("\"\""), &v));
	CHECK_INT(v.n, 0);
}

/* Spans that no scanner accepted: an answer of any kind, but no item that lies outside. */
static void test_hostile_spans(void)
{
	static const char *const texts[] = { "{",
					     "[",
					     "{\"",
					     "{\"a",
					     "{\"a\"",
					     "{\"a\":",
					     "{\"a\":\"",
					     "{\"a\":\"\\",
					     "{\"a\":[",
					     "{\"a\":1,",
					     "[1,",
					     "[\"\\",
					     "[\"\\u",
					     "[[[[",
					     "[}}}",
					     "[]]]",
					     "]",
					     "}",
					     ",",
					     "[,,",
					     "{,,",
					     "{\"a\":,\"b\":1}",
					     "[:",
					     "\"",
					     "\\",
					     "\"\\",
					     "\"\\u\"",
					     "\"\\u12\"",
					     "\"\\ud800\\u\"",
					     "\"\\ud800\\",
					     "{\"a\\",
					     "[1 2 3]",
					     "{\"a\":1 \"b\":2}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CLEANUP(buf_fini) struct buf b = BUF_INIT(64);
		struct bytes text = bytes_str(texts[i]), v;
		struct scan_iter members = scan_iter(text), elements = members;
		struct scan_member m;
		size_t n = 0, bytes = 0;
		int r;

		while (scan_next_member(&members, &m) && n++ < 16)
			bytes += m.key.n + m.value.n;
		CHECK(n < 16 && bytes <= text.n);
		for (n = bytes = 0; scan_next_element(&elements, &v) && n < 16; n++)
			bytes += v.n;
		CHECK(n < 16 && bytes <= text.n);
		(void)scan_str_is(text, BYTES_LIT("a"));
		r = scan_str_decode(text, &b);
		CHECK((r == 0 || r == ERR_PARSE) && b.n <= text.n);
	}
}

/* Whatever stands where in a long string, of which many bytes are looked at together, it is seen. */
static void test_long_strings(void)
{
	static const struct {
		struct bytes text;
		bool ok;
	} specials[] = {
		{ BYTES_LIT("\\\""), true },  { BYTES_LIT("\\\\"), true },  { BYTES_LIT("\xc3\xa9"), true },
		{ BYTES_LIT("\x7f"), true },  { BYTES_LIT("\x1f"), false }, { BYTES_LIT("\\x"), false },
		{ BYTES_LIT("\xff"), false }, { BYTES_LIT("\""), false },
	};
	size_t right = 0, tried = 0;

	for (size_t at = 0; at < 200; at++) {
		for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
			CLEANUP(buf_fini) struct buf b = BUF_INIT(1024);
			struct scan_iter it;
			struct bytes first, second;

			buf_put_str(&b, "[\"");
			for (size_t k = 0; k < at; k++)
				buf_put_byte(&b, 'a');
			buf_put_bytes(&b, specials[i].text);
			for (size_t k = at; k < 200; k++)
				buf_put_byte(&b, 'b');
			buf_put_str(&b, "\",17]");
			it = scan_iter(buf_bytes(&b));
			tried++;
			if (scan_check(buf_bytes(&b), 0, 1) < 0)
				right += !specials[i].ok;
			else
				right += specials[i].ok && scan_next_element(&it, &first) &&
					 first.n == 202 + specials[i].text.n && scan_next_element(&it, &second) &&
					 bytes_eq(second, BYTES_LIT("17"));
		}
	}
	CHECK_INT(right, tried);
}

int main(void)
{
	test_start();
	test_long_strings();
	test_trim_and_type();
	test_members();
	test_elements();
	test_find();
	test_str_is();
	test_decode();
	test_raw();
	test_hostile_spans();
	return test_end();
}
