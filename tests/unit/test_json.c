/* What json_load takes and refuses, that it takes what JSON.parse takes where the header says so, and the wiping heap. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "tests/unit/tap.h"

static void takes(const char *text, json_type type)
{
	CLEANUP(json_decrefp) json_t *json = NULL;

	CHECK_INT(json_load(bytes_str(text), &json), 0);
	CHECK_INT(json ? (int)json_typeof(json) : -1, type);
}

static void refuses_bytes(struct bytes text)
{
	json_t *json = NULL;

	CHECK_INT(json_load(text, &json), ERR_PARSE);
	CHECK(json == NULL);
}

static void refuses(const char *text)
{
	refuses_bytes(bytes_str(text));
}

static void test_texts(void)
{
	takes("{}", JSON_OBJECT);
	takes(" [1, 2.5] \n", JSON_ARRAY);
	takes("\"text\"", JSON_STRING);
	takes("17", JSON_INTEGER);
	takes("-1.5e3", JSON_REAL);
	takes("true", JSON_TRUE);
	takes("null", JSON_NULL);
	refuses("");
	refuses(" ");
	refuses_bytes(BYTES_NONE);
	refuses("{} {}");
	refuses("{\"a\":1,}");
	refuses("{a:1}");
	refuses("[01]");
	refuses("nul");
	refuses("NaN");
	refuses("'a'");
	refuses("[1] // comment");
	refuses("\"\n\"");
	refuses("\"\xc3\x28\"");     /* not UTF-8 */
	refuses("\"\xed\xa0\x80\""); /* a surrogate in UTF-8 */
	refuses("\xef\xbb\xbf{}");   /* byte order mark */
	refuses_bytes(BYTES_LIT("{}\0"));

	takes("99999999999999999999", JSON_REAL);
	takes("[1,99999999999999999999]", JSON_ARRAY);
	refuses("1e999");
	refuses("\"\\ud800\"");
	refuses("{\"a\\u0000\":1}");
}

static void test_deep(void)
{
	static char text[200000];

	memset(text, '[', sizeof(text));
	refuses_bytes(BYTES(text, sizeof(text))); /* and the stack holds */
	memset(text + 1000, ']', 1000);
	text[2000] = '\0';
	takes(text, JSON_ARRAY);
}

static void test_members(void)
{
	CLEANUP(json_decrefp) json_t *json = NULL;
	struct bytes s = BYTES_LIT("untouched");

	CHECK_INT(json_load(BYTES_LIT("{\"a\":\"first\",\"n\":1,\"z\":\"x\\u0000y\",\"a\":\"last\"}"), &json), 0);
	CHECK(!json_member_str(json, "absent", &s));
	CHECK(!json_member_str(json, "n", &s));
	CHECK_BYTES(s, BYTES_LIT("untouched"));
	CHECK(json_member_str(json, "a", &s));
	CHECK_BYTES(s, BYTES_LIT("last"));
	CHECK(json_member_str(json, "z", &s));
	CHECK_BYTES(s, BYTES_LIT("x\0y"));
	CHECK(!json_member_str(json_object_get(json, "n"), "a", &s));
	CHECK(!json_member_str(NULL, "a", &s));
}

static void test_put(void)
{
	CLEANUP(json_decrefp) json_t *json = NULL;
	CLEANUP(buf_fini) struct buf b = BUF_INIT(16), tight = BUF_INIT(6);

	CHECK_INT(json_load(BYTES_LIT("[ 1, \"b\" ]"), &json), 0);
	buf_put_str(&b, "a=");
	CHECK_INT(json_put(json, &b), 0);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("a=[1,\"b\"]"));
	CHECK_INT(json_put(json_array_get(json, 0), &b), 0);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("a=[1,\"b\"]1"));
	CHECK_INT(json_put(json, &tight), ERR_TOO_LARGE);
}

static void test_heap(void)
{
	json_malloc_t alloc;
	json_free_t release;
	void *p;

	json_get_alloc_funcs(&alloc, &release);
	CHECK(alloc(SIZE_MAX) == NULL);
	CHECK(alloc(SIZE_MAX - 15) == NULL);
	p = alloc(0);
	CHECK(p != NULL && (uintptr_t)p % 16 == 0);
	release(p);
	release(NULL);
	CHECK(release != free);
}

static size_t arena_used(void)
{
	struct arena_status status;

	arena_get_status(&status);
	return status.used_bytes;
}

static void test_secret(void)
{
	const struct bytes text = BYTES_LIT("{\"d\":\"0123456789abcdef0123456789abcdef\",\"ops\":[\"a\"]}");
	size_t before = arena_used(), loaded;
	json_t *json = NULL, *plain = NULL;

	CHECK_INT(json_load_secret(text, &json), 0);
	loaded = arena_used();
	CHECK(loaded > before);
	CHECK_INT(json_load(text, &plain), 0); /* is back in the ordinary heap */
	CHECK_INT(arena_used(), loaded);
	json_decref(plain);
	json_decref(json);
	CHECK_INT(arena_used(), before);
	CHECK_INT(json_load_secret(BYTES_LIT("{\"d\":\"0123"), &json), ERR_PARSE);
	CHECK_INT(arena_used(), before);
}

int main(void)
{
	test_start();
	test_texts();
	test_deep();
	test_members();
	test_put();
	test_heap();
	test_secret();
	return test_end();
}
