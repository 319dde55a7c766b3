#include "proto/params.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/scan.h"
#include "crypto/roomkey.h"
#include "keystore/store.h"

#define MAX_SECRET 4096
#define PAGE	   100

static bool has_control_character(struct bytes s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
		/* U+0080 to U+009F, in the UTF-8 that the scanner has checked */
		if (s.p[i] == 0xc2 && i + 1 < s.n && s.p[i + 1] < 0xa0)
			return true;
	}
	return false;
}

bool param_id_is_usable(struct bytes id)
{
	return id.n >= 1 && id.n <= STORE_MAX_ID && !has_control_character(id);
}

bool param_kid_is_usable(struct bytes kid)
{
	return kid.n >= 1 && roomkey_kid_chars(kid);
}

/* A string without a copy where it has no escapes; else into @strings, which has room for every string of the params. */
static int string_value(struct bytes value, struct buf *strings, struct bytes *ret)
{
	size_t from = strings->n;
	int r;

	if (scan_type(value) != SCAN_STRING)
		return ERR_INVALID_PARAMS;
	if (scan_str_raw(value, ret))
		return 0;
	r = scan_str_decode(value, strings);
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_INVALID_PARAMS;
	*ret = bytes_sub(buf_bytes(strings), from, SIZE_MAX);
	return 0;
}

/*
 * The frame is ours to write (service.h), and it lies in memory that may be swapped out for as long as a passphrase is being
 * stretched, which takes up to a second. What it is overwritten with is still a JSON string, for whoever scans on.
 */
static void blot_out(struct bytes str)
{
	uint8_t *p = (uint8_t *)(uintptr_t)str.p;

	if (scan_type(str) == SCAN_STRING)
		memset(p + 1, '*', str.n - 2);
}

static int secret_value(struct bytes value, struct buf *strings, struct secret **ret)
{
	size_t from = strings->n;
	struct bytes text;
	int r = string_value(value, strings, &text);

	if (r == 0 && text.n > MAX_SECRET)
		r = ERR_INVALID_PARAMS;
	if (r == 0)
		r = secret_dup(text, ret);
	buf_cut(strings, from);
	blot_out(value);
	return r;
}

static int message_value(struct bytes value, struct buf *strings, struct param_message *ret)
{
	struct bytes rid;
	int r;

	if (scan_type(value) != SCAN_OBJECT || !scan_find(value, BYTES_LIT("rid"), &rid))
		return ERR_INVALID_PARAMS;
	r = string_value(rid, strings, &ret->rid);
	if (r < 0)
		return r;
	/* within a message \u0000 and the like may stand, so the rid is checked like any other id */
	if (!param_id_is_usable(ret->rid))
		return ERR_INVALID_PARAMS;
	ret->json = value;
	return 0;
}

/* EJSON date: {"$date": milliseconds}, as DDP gives it */
static int ejson_date(struct bytes object, int64_t *ret_ms)
{
	struct scan_iter it = scan_iter(object);
	struct scan_member m, more;
	char digits[24], *end;

	if (!scan_next_member(&it, &m) || scan_next_member(&it, &more) || !scan_str_is(m.key, BYTES_LIT("$date")))
		return ERR_INVALID_PARAMS;
	if (scan_type(m.value) != SCAN_NUMBER || m.value.n > 17)
		return ERR_INVALID_PARAMS;
	memcpy(digits, m.value.p, m.value.n);
	digits[m.value.n] = '\0';
	*ret_ms = strtoll(digits, &end, 10);
	return *end == '\0' ? 0 : ERR_INVALID_PARAMS; /* a fraction or an exponent is no date that EJSON writes */
}

int params_parse_ts(struct bytes json, struct param_ts *ret)
{
	struct bytes text;
	int r;

	if (json.n > PARAM_MAX_TS)
		return ERR_INVALID_PARAMS;
	switch (scan_type(json)) {
	case SCAN_NULL:
		*ret = (struct param_ts){ 0 };
		return 0;
	case SCAN_STRING:
		if (!scan_str_raw(json, &text))
			return ERR_INVALID_PARAMS; /* no date needs an escape */
		r = clock_parse_iso(text, &ret->ms);
		break;
	case SCAN_OBJECT:
		r = ejson_date(json, &ret->ms);
		break;
	default:
		return ERR_INVALID_PARAMS;
	}
	if (r == 0)
		ret->json = json;
	return r;
}

static int uint_value(struct bytes value, uint64_t *ret)
{
	uint64_t v = 0;

	if (scan_type(value) != SCAN_NUMBER || value.n > 16)
		return ERR_INVALID_PARAMS;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return ERR_INVALID_PARAMS; /* signs, fractions, exponents */
		v = v * 10 + (uint64_t)(value.p[i] - '0');
	}
	if (v >= (uint64_t)1 << 53)
		return ERR_INVALID_PARAMS;
	*ret = v;
	return 0;
}

static int raw_value(struct bytes value, bool fits, struct bytes *ret)
{
	if (!fits)
		return ERR_INVALID_PARAMS;
	*ret = value;
	return 0;
}

static int parse_one(enum param_type type, struct bytes value, struct buf *strings, void *at)
{
	enum scan_type json = scan_type(value);
	struct bytes *view = at;
	int r;

	switch (type) {
	case PARAM_STRING:
		return string_value(value, strings, view);
	case PARAM_ID:
		r = string_value(value, strings, view);
		return r < 0 || param_id_is_usable(*view) ? r : ERR_INVALID_PARAMS;
	case PARAM_NAME:
		r = string_value(value, strings, view);
		return r < 0 || (view->n <= STORE_MAX_NAME && !has_control_character(*view)) ? r : ERR_INVALID_PARAMS;
	case PARAM_KID:
		r = string_value(value, strings, view);
		return r < 0 || param_kid_is_usable(*view) ? r : ERR_INVALID_PARAMS;
	case PARAM_SECRET:
		return secret_value(value, strings, at);
	case PARAM_SECRET_OR_NULL:
		return json == SCAN_NULL ? 0 : secret_value(value, strings, at);
	case PARAM_BOOL:
	case PARAM_BOOL_ON:
		*(bool *)at = json == SCAN_TRUE;
		return json == SCAN_TRUE || json == SCAN_FALSE ? 0 : ERR_INVALID_PARAMS;
	case PARAM_UINT:
	case PARAM_SEQ:
		return uint_value(value, at);
	case PARAM_PAGE:
		r = uint_value(value, at);
		return r < 0 || (*(uint64_t *)at >= 1 && *(uint64_t *)at <= PARAM_MAX_PAGE) ? r : ERR_INVALID_PARAMS;
	case PARAM_GRACE:
		r = uint_value(value, at);
		return r < 0 || *(uint64_t *)at <= PARAM_MAX_GRACE ? r : ERR_INVALID_PARAMS;
	case PARAM_OBJECT:
		return raw_value(value, json == SCAN_OBJECT, view);
	case PARAM_ARRAY:
		return raw_value(value, json == SCAN_ARRAY, view);
	case PARAM_CONTENT:
		return raw_value(value, json == SCAN_OBJECT || json == SCAN_STRING, view);
	case PARAM_TEXT:
		return json == SCAN_STRING ? string_value(value, strings, view)
					   : raw_value(value, json == SCAN_OBJECT, view);
	case PARAM_TS:
		return params_parse_ts(value, at);
	case PARAM_MESSAGE:
		return message_value(value, strings, at);
	}
	return ERR_INTERNAL;
}

int params_parse(const struct param *table, size_t n, struct bytes json, struct buf *strings, void *ret,
		 struct rpc_detail *ret_detail)
{
	struct scan_iter it;
	struct scan_member m;
	unsigned seen = 0;

	buf_reset(strings);
	/* Decoding shortens; with this much room the buffer never moves, so views into it stay right. */
	if (json.n && memchr(json.p, '\\', json.n) && !buf_room(strings, json.n))
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		if (table[i].type == PARAM_BOOL_ON)
			*(bool *)(void *)((char *)ret + table[i].offset) = true;
		if (table[i].type == PARAM_PAGE)
			*(uint64_t *)(void *)((char *)ret + table[i].offset) = PAGE;
		if (table[i].type == PARAM_SEQ)
			*(uint64_t *)(void *)((char *)ret + table[i].offset) = PARAM_NO_SEQ;
		if (table[i].type == PARAM_GRACE)
			*(uint64_t *)(void *)((char *)ret + table[i].offset) = PARAM_GRACE_S;
	}
	it = scan_iter(json.n ? json : BYTES_LIT("{}"));
	while (scan_next_member(&it, &m)) {
		size_t i = 0;
		int r;

		while (i < n && !scan_str_is(m.key, bytes_str(table[i].name)))
			i++;
		r = i < n ? parse_one(table[i].type, m.value, strings, (char *)ret + table[i].offset)
			  : ERR_INVALID_PARAMS;
		if (r == ERR_INVALID_PARAMS)
			*ret_detail = (struct rpc_detail){ .name = "param", .str = m.key, .is_json = true };
		if (r < 0)
			return r;
		seen |= 1u << i;
	}
	for (size_t i = 0; i < n; i++) {
		if (table[i].required && !(seen & 1u << i)) {
			*ret_detail = (struct rpc_detail){ .name = "param", .str = bytes_str(table[i].name) };
			return ERR_INVALID_PARAMS;
		}
	}
	return 0;
}

void params_release(const struct param *table, size_t n, void *params)
{
	for (size_t i = 0; i < n; i++) {
		if (table[i].type == PARAM_SECRET || table[i].type == PARAM_SECRET_OR_NULL)
			secret_freep((struct secret **)(void *)((char *)params + table[i].offset));
	}
}

const char *param_json_type(enum param_type type)
{
	switch (type) {
	case PARAM_STRING:
	case PARAM_SECRET:
		return "{\"type\":\"string\"}";
	case PARAM_SECRET_OR_NULL:
		return "{\"type\":[\"string\",\"null\"]}";
	case PARAM_ID:
		return "{\"type\":\"string\",\"minLength\":1,\"maxLength\":128}";
	case PARAM_NAME:
		return "{\"type\":\"string\",\"maxLength\":256}";
	case PARAM_KID:
		return "{\"type\":\"string\",\"minLength\":1,\"maxLength\":64,\"pattern\":\"^[ -~]+$\"}";
	case PARAM_BOOL:
		return "{\"type\":\"boolean\",\"default\":false}";
	case PARAM_BOOL_ON:
		return "{\"type\":\"boolean\",\"default\":true}";
	case PARAM_UINT:
	case PARAM_SEQ:
		return "{\"type\":\"integer\",\"minimum\":0,\"maximum\":9007199254740991}";
	case PARAM_PAGE:
		return "{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000,\"default\":100}";
	case PARAM_GRACE:
		return "{\"type\":\"integer\",\"minimum\":0,\"maximum\":315360000,\"default\":604800}";
	case PARAM_ARRAY:
		return "{\"type\":\"array\"}";
	case PARAM_OBJECT:
	case PARAM_MESSAGE:
		return "{\"type\":\"object\"}";
	case PARAM_CONTENT:
	case PARAM_TEXT:
	case PARAM_TS:
		return "{\"type\":[\"string\",\"object\"]}";
	}
	return "{}";
}
