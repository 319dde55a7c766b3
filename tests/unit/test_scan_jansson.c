/*
 * The scanner against jansson, an independent reader of the same grammar: random texts, mutated, from a fixed seed. They
 * must agree on what is JSON, but for the exception that is_explained() names; and what the iterators find in a text must be
 * the tree that jansson builds of it. Each text lies in memory of exactly its size, for the sanitizer's sake.
 */
#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/scan.h"
#include "tests/unit/tap.h"

#define N_TEXTS	  20000
#define MAX_TEXT  480 /* too short for nesting beyond SCAN_MAX_DEPTH: the two differ in that limit */
#define MAX_DEPTH SCAN_MAX_DEPTH

static uint64_t seed = 20261123;

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators) */
static uint64_t random64(void)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static size_t below(size_t n)
{
	return (size_t)(random64() % n);
}

#define ONE_OF(list_) ((list_)[below(sizeof(list_) / sizeof((list_)[0]))])

/* ---- texts ---- */

static const char *const spaces[] = { "", "", "", "", " ", "\n", "\r\n", "\t", "  " };
static const char *const scalars[] = { "true",
				       "false",
				       "null",
				       "0",
				       "-0",
				       "-0.0",
				       "12",
				       "-3.25",
				       "1e5",
				       "2E-3",
				       "1e308",
				       "1e309",
				       "-1e400",
				       "1e-999",
				       "0e999",
				       "9223372036854775807",
				       "9223372036854775808",
				       "-9223372036854775808",
				       "-9223372036854775809",
				       "123456789012345678901234567890",
				       "1.7976931348623157e308",
				       "1.7976931348623159e308",
				       "0.000000000000000000000000000001e338",
				       "4.9e-324",
				       "1.50" };
static const char *const pieces[] = { "a",
				      "b",
				      "c",
				      "\\n",
				      "\\\\",
				      "\\\"",
				      "\\/",
				      "\\u0061",
				      "\\u0000",
				      "\\u00e9",
				      "\xc3\xa9",
				      "\x7f",
				      "\\ud83d\\ude00",
				      "\xf0\x9f\x98\x80",
				      "\\ud83d",
				      "\\ude00",
				      "0123456789abcdef",
				      "\xe2\x82\xac",
				      "{",
				      "]",
				      ",",
				      ":" };
static const char *const tokens[] = { "{",
				      "}",
				      "[",
				      "]",
				      ":",
				      ",",
				      "\"",
				      "\\",
				      "\\u",
				      "\\ud800",
				      "\\udc00",
				      "-",
				      "+",
				      ".",
				      "e",
				      "E5",
				      "0",
				      "00",
				      "1e999",
				      "true",
				      "null",
				      " ",
				      "\n",
				      "\xc3",
				      "\xed\xa0\x80",
				      "\xf4\x90\x80\x80",
				      "\xc0\x80",
				      "\x01",
				      "\xff",
				      "\"a\":1,",
				      ",\"a\":1",
				      "[]",
				      "{}",
				      "\xef\xbb\xbf",
				      "\f" };

static void put_string(struct buf *b, size_t max_pieces)
{
	buf_put_byte(b, '"');
	for (size_t n = below(max_pieces + 1); n; n--)
		buf_put_str(b, below(3) ? pieces[below(3)] : ONE_OF(pieces));
	buf_put_byte(b, '"');
}

static void put_value(struct buf *b, unsigned depth)
{
	size_t kind = below(depth ? 6 : 2), n = below(5);

	buf_put_str(b, ONE_OF(spaces));
	if (kind == 0) {
		put_string(b, 6);
	} else if (kind == 1) {
		buf_put_str(b, ONE_OF(scalars));
	} else {
		bool array = kind < 3;

		buf_put_byte(b, array ? '[' : '{');
		for (size_t i = 0; i < n; i++) {
			buf_put_str(b, i ? "," : "");
			if (!array) {
				buf_put_str(b, ONE_OF(spaces));
				put_string(b, 3);
				buf_put_str(b, ONE_OF(spaces));
				buf_put_byte(b, ':');
			}
			put_value(b, depth - 1);
		}
		buf_put_str(b, n ? "" : ONE_OF(spaces));
		buf_put_byte(b, array ? ']' : '}');
	}
	buf_put_str(b, ONE_OF(spaces));
}

/* Replace @cut bytes at @at by @with. */
static void splice(struct buf *b, size_t at, size_t cut, struct bytes with)
{
	CLEANUP(buf_fini) struct buf copy = BUF_INIT(1 << 20);

	buf_put_bytes(&copy, bytes_sub(buf_bytes(b), 0, at));
	buf_put_bytes(&copy, with);
	buf_put_bytes(&copy, bytes_sub(buf_bytes(b), at + cut, SIZE_MAX));
	buf_reset(b);
	buf_put_bytes(b, buf_bytes(&copy));
}

static void mutate(struct buf *b)
{
	size_t at = below(b->n + 1), n = below(8) + 1;
	uint8_t byte = (uint8_t)random64(), part[8];
	struct bytes from = bytes_sub(buf_bytes(b), below(b->n + 1), n);

	switch (below(6)) {
	case 0:
		splice(b, at, 1, BYTES(&byte, 1));
		break;
	case 1:
		splice(b, at, n, BYTES_NONE);
		break;
	case 2:
		splice(b, at, SIZE_MAX / 2, BYTES_NONE);
		break;
	case 3: /* a part of it again, somewhere else */
		if (from.n)
			memcpy(part, from.p, from.n);
		splice(b, at, 0, BYTES(part, from.n));
		break;
	case 4:
		splice(b, at, 1, bytes_str(ONE_OF(tokens)));
		break;
	default:
		splice(b, at, 0, bytes_str(ONE_OF(tokens)));
		break;
	}
}

/* ---- comparing ---- */

static bool same_value(struct bytes value, json_t *want);

static bool same_number(struct bytes text, const json_t *want)
{
	char digits[MAX_TEXT + 1];
	double v, w;

	memcpy(digits, text.p, text.n);
	digits[text.n] = '\0';
	if (json_is_integer(want))
		return strtoll(digits, NULL, 10) == json_integer_value(want);
	v = strtod(digits, NULL);
	w = json_real_value(want);
	return isfinite(v) && v == w && signbit(v) == signbit(w);
}

static bool same_string(struct bytes str, const json_t *want)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(MAX_TEXT);
	struct bytes text = BYTES(json_string_value(want), json_string_length(want)), raw;

	if (scan_str_decode(str, &b) < 0 || !bytes_eq(buf_bytes(&b), text) || !scan_str_is(str, text))
		return false;
	return !scan_str_raw(str, &raw) || bytes_eq(raw, text);
}

static bool same_object(struct bytes value, json_t *want)
{
	struct scan_iter it = scan_iter(value);
	struct scan_member m;
	size_t n = 0;

	for (; scan_next_member(&it, &m); n++) {
		CLEANUP(buf_fini) struct buf name = BUF_INIT(MAX_TEXT);
		struct bytes found = BYTES_NONE;
		json_t *member;

		if (scan_str_decode(m.key, &name) < 0 || !scan_find(value, buf_bytes(&name), &found) ||
		    found.p != m.value.p)
			return false;
		member = json_object_getn(want, name.p ? (const char *)name.p : "", name.n);
		if (!member || !same_value(m.value, member))
			return false;
	}
	return n == json_object_size(want);
}

static bool same_array(struct bytes value, json_t *want)
{
	struct scan_iter it = scan_iter(value);
	struct bytes v;
	size_t n = 0;

	for (; scan_next_element(&it, &v); n++) {
		if (n >= json_array_size(want) || !same_value(v, json_array_get(want, n)))
			return false;
	}
	return n == json_array_size(want);
}

/* Recursion is bounded by the texts' length. */
static bool same_value(struct bytes value, json_t *want)
{
	switch (scan_type(value)) {
	case SCAN_OBJECT:
		return json_is_object(want) && same_object(value, want);
	case SCAN_ARRAY:
		return json_is_array(want) && same_array(value, want);
	case SCAN_STRING:
		return json_is_string(want) && same_string(value, want);
	case SCAN_NUMBER:
		return json_is_number(want) && same_number(value, want);
	case SCAN_TRUE:
		return json_is_true(want);
	case SCAN_FALSE:
		return json_is_false(want);
	case SCAN_NULL:
		return json_is_null(want);
	}
	return false;
}

/*
 * The one reason for which the scanner may accept what jansson refuses: an integer beyond 64 bits. Read as a double it
 * must pass, and so must the rest of the text. The reverse is never right.
 */
static bool is_explained(struct bytes text, size_t load_flags, const json_error_t *error)
{
	CLEANUP(json_decrefp) json_t *tree = NULL;

	if (strncmp(error->text, "too big", 7) != 0)
		return false;
	tree = json_loadb((const char *)text.p, text.n, load_flags | JSON_DECODE_INT_AS_REAL, NULL);
	return tree != NULL;
}

/* Walk whatever it is, validated or not. Only the sanitizer and termination judge. */
static size_t walk(struct bytes value, unsigned depth)
{
	struct scan_iter members = scan_iter(value), elements = members;
	struct scan_member m;
	struct bytes v;
	size_t n = 0;

	while (scan_next_member(&members, &m))
		n += m.key.n + (depth ? walk(m.value, depth - 1) : 0) + scan_str_is(m.key, BYTES_LIT("aa"));
	while (scan_next_element(&elements, &v))
		n += 1 + (depth ? walk(v, depth - 1) : 0);
	if (scan_type(value) == SCAN_STRING) {
		CLEANUP(buf_fini) struct buf b = BUF_INIT(MAX_TEXT);

		n += scan_str_decode(value, &b) == 0 ? b.n : 0;
	}
	return n;
}

struct counts {
	size_t accepted, refused, explained, differing;
};

static void report(struct counts *c, struct bytes text, int r, const char *said)
{
	c->differing++;
	printf("# scan_check gives %d, jansson says \"%s\": %.*s\n", r, said, (int)text.n, (const char *)text.p);
}

static void compare(struct bytes text, unsigned flags, size_t load_flags, struct counts *c)
{
	CLEANUP(json_decrefp) json_t *tree = NULL;
	json_error_t error = { .text = "" };
	int r = scan_check(text, flags, MAX_DEPTH);

	load_flags |= JSON_DECODE_ANY;
	tree = json_loadb((const char *)text.p, text.n, load_flags, &error);
	if (r == 0 && tree) {
		c->accepted++;
		/* of duplicates, jansson's tree holds one */
		if (!(flags & SCAN_DUPS) && !same_value(scan_trim(text), tree))
			report(c, text, r, "another tree");
	} else if (r == ERR_PARSE && !tree) {
		c->refused++;
	} else if (r == 0 && is_explained(text, load_flags, &error)) {
		c->explained++;
	} else {
		report(c, text, r, error.text);
	}
}

int main(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);
	struct counts strict = { 0 }, dups = { 0 };
	size_t walked = 0;

	test_start();
	for (size_t i = 0; i < N_TEXTS; i++) {
		struct bytes text;
		uint8_t *exact;

		buf_reset(&b);
		put_value(&b, 4);
		for (size_t n = below(4); n; n--)
			mutate(&b);
		if (b.n > MAX_TEXT)
			buf_cut(&b, MAX_TEXT);
		exact = malloc(b.n ? b.n : 1);
		if (!exact) {
			printf("Bail out! no memory\n");
			return 1;
		}
		if (b.n)
			memcpy(exact, b.p, b.n);
		text = BYTES(exact, b.n);
		compare(text, 0, JSON_REJECT_DUPLICATES, &strict);
		compare(text, SCAN_DUPS, 0, &dups);
		walked += walk(text, 8);
		free(exact);
	}
	printf("# strict: %zu accepted, %zu refused, %zu explained; duplicates allowed: %zu, %zu, %zu; %zu walked\n",
	       strict.accepted, strict.refused, strict.explained, dups.accepted, dups.refused, dups.explained, walked);
	CHECK_INT(strict.differing, 0);
	CHECK_INT(dups.differing, 0);
	/* the texts are worth the comparison */
	CHECK(strict.accepted > N_TEXTS / 8);
	CHECK(strict.refused > N_TEXTS / 8);
	CHECK(strict.explained > 0);
	CHECK(dups.accepted > strict.accepted);
	CHECK(walked > 0);
	return test_end();
}
