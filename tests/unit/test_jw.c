/* Commas, escapes and raw values; what comes out is what scan_check() takes in. */
#include "base/cleanup.h"
#include "base/jw.h"
#include "base/scan.h"
#include "tests/unit/tap.h"

static void test_structure(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(4096);

	jw_object(&b, NULL);
	jw_str(&b, "a", "x");
	jw_int(&b, "b", -5);
	jw_array(&b, "c");
	jw_int(&b, NULL, INT64_MIN);
	jw_int(&b, NULL, INT64_MAX);
	jw_object(&b, NULL);
	jw_object_end(&b);
	jw_object(&b, NULL);
	jw_null(&b, "n");
	jw_object_end(&b);
	jw_array(&b, NULL);
	jw_array_end(&b);
	jw_str(&b, NULL, "");
	jw_array_end(&b);
	jw_bool(&b, "t", true);
	jw_bool(&b, "f", false);
	jw_key(&b, "k");
	jw_object(&b, NULL);
	jw_object_end(&b);
	jw_key(&b, "l");
	jw_int(&b, NULL, 0);
	jw_object(&b, "o");
	jw_string(&b, "s");
	buf_put_str(&b, "AA");
	buf_put_str(&b, "==");
	jw_string_end(&b);
	jw_raw(&b, "r", BYTES_LIT("[1,{}]"));
	jw_raw(&b, NULL, BYTES_LIT("\"key\"")); /* a member whose name is JSON already */
	buf_put_byte(&b, ':');
	jw_raw(&b, NULL, BYTES_LIT("2"));
	jw_object_end(&b);
	jw_object_end(&b);
	CHECK_INT(buf_err(&b), 0);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("{\"a\":\"x\",\"b\":-5,\"c\":[-9223372036854775808,9223372036854775807,{},"
					     "{\"n\":null},[],\"\"],\"t\":true,\"f\":false,\"k\":{},\"l\":0,"
					     "\"o\":{\"s\":\"AA==\",\"r\":[1,{}],\"key\":2}}"));
	CHECK_INT(scan_check(buf_bytes(&b), 0, 8), 0);
}

/* Each value at the top begins an empty buffer or a line. */
static void test_top(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(4096);

	jw_int(&b, NULL, 1);
	buf_put_byte(&b, '\n');
	jw_str(&b, NULL, "{");
	buf_put_byte(&b, '\n');
	jw_array(&b, NULL);
	jw_str(&b, NULL, "["); /* what a string holds is no structure */
	jw_str(&b, NULL, ",");
	jw_str(&b, NULL, ":");
	buf_put_byte(&b, ','); /* a caller's own comma is enough */
	jw_null(&b, NULL);
	jw_array_end(&b);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("1\n\"{\"\n[\"[\",\",\",\":\",null]"));
}

static void test_escapes(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(8192), back = BUF_INIT(1024);
	uint8_t all[0x80];

	jw_bytes(&b, NULL, BYTES_LIT("\0\x01\b\t\n\x0b\f\r\x1f \"\\/\x7f\xc3\xa9\xe2\x80\xa8"));
	CHECK_BYTES(buf_bytes(&b),
		    BYTES_LIT("\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/\x7f\xc3\xa9\xe2\x80\xa8\""));
	buf_reset(&b);
	jw_bytes(&b, NULL, BYTES_NONE);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("\"\""));
	buf_reset(&b);
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	jw_bytes(&b, NULL, BYTES(all, sizeof(all)));
	CHECK_INT(scan_check(buf_bytes(&b), SCAN_JS, 1), 0);
	CHECK_INT(scan_str_decode(buf_bytes(&b), &back), 0);
	CHECK_BYTES(buf_bytes(&back), BYTES(all, sizeof(all)));
}

static void test_raw(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(4096);

	jw_object(&b, NULL);
	jw_raw(&b, "a", BYTES_LIT("{\n\"x\\n\"\r\n:\t[1,\r\n\n2]\r}"));
	jw_raw(&b, "b", BYTES_LIT("\n1\n"));
	jw_raw(&b, "c", BYTES_LIT("1.50E+2"));
	jw_object_end(&b);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("{\"a\":{ \"x\\n\"  :\t[1,   2] },\"b\": 1 ,\"c\":1.50E+2}"));
}

static void test_encodings(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(4096);

	jw_array(&b, NULL);
	jw_b64(&b, NULL, BYTES_LIT("fooba"));
	jw_b64(&b, NULL, BYTES_NONE);
	jw_time(&b, NULL, 0);
	jw_time(&b, NULL, INT64_C(1795413600123));
	jw_array_end(&b);
	CHECK_BYTES(buf_bytes(&b),
		    BYTES_LIT("[\"Zm9vYmE=\",\"\",\"1970-01-01T00:00:00.000Z\",\"2026-11-23T06:00:00.123Z\"]"));
}

/* The buffer's error sticks through everything. */
static void test_too_small(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(8);

	jw_object(&b, NULL);
	jw_str(&b, "key", "value");
	jw_raw(&b, "r", BYTES_LIT("1"));
	jw_object_end(&b);
	CHECK_INT(buf_err(&b), ERR_TOO_LARGE);
	CHECK(b.n <= 8);
}

int main(void)
{
	test_start();
	test_structure();
	test_top();
	test_escapes();
	test_raw();
	test_encodings();
	test_too_small();
	return test_end();
}
