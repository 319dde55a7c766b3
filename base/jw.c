/*
 * Whether a comma is due is read off the last byte in the buffer: behind an opening bracket, a colon, a comma, a line
 * end or nothing a value begins a sequence; behind anything else, which can only be the end of a value, it continues
 * one. So there is no state to keep in step, and what others append (a colon, a raw value) fits in. A value at the top
 * must begin an empty buffer or a line.
 */
#include "base/jw.h"

#include <inttypes.h>

#include "base/b64.h"
#include "base/clock.h"

static void comma(struct buf *b)
{
	uint8_t last = b->n ? b->p[b->n - 1] : '\n';

	if (last != '{' && last != '[' && last != ':' && last != ',' && last != '\n')
		buf_put_byte(b, ',');
}

void jw_key(struct buf *b, const char *key)
{
	comma(b);
	buf_put_byte(b, '"');
	buf_put_str(b, key);
	buf_put(b, "\":", 2);
}

static void begin(struct buf *b, const char *key)
{
	if (key)
		jw_key(b, key);
	else
		comma(b);
}

void jw_object(struct buf *b, const char *key)
{
	begin(b, key);
	buf_put_byte(b, '{');
}

void jw_object_end(struct buf *b)
{
	buf_put_byte(b, '}');
}

void jw_array(struct buf *b, const char *key)
{
	begin(b, key);
	buf_put_byte(b, '[');
}

void jw_array_end(struct buf *b)
{
	buf_put_byte(b, ']');
}

void jw_string(struct buf *b, const char *key)
{
	begin(b, key);
	buf_put_byte(b, '"');
}

void jw_string_end(struct buf *b)
{
	buf_put_byte(b, '"');
}

void jw_str(struct buf *b, const char *key, const char *s)
{
	jw_bytes(b, key, bytes_str(s));
}

static bool needs_escape(uint8_t c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

static void put_escape(struct buf *b, uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	static const char letters[0x20] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
	char letter = c < 0x20 ? letters[c] : (char)c;
	char text[6] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };

	if (letter) {
		text[1] = letter;
		buf_put(b, text, 2);
	} else {
		buf_put(b, text, 6);
	}
}

void jw_bytes(struct buf *b, const char *key, struct bytes s)
{
	size_t from = 0;

	jw_string(b, key);
	for (size_t i = 0; i < s.n; i++) {
		if (!needs_escape(s.p[i]))
			continue;
		buf_put(b, s.p + from, i - from);
		put_escape(b, s.p[i]);
		from = i + 1;
	}
	buf_put_bytes(b, bytes_sub(s, from, SIZE_MAX));
	jw_string_end(b);
}

void jw_b64(struct buf *b, const char *key, struct bytes in)
{
	jw_string(b, key);
	buf_put_b64(b, in);
	jw_string_end(b);
}

void jw_int(struct buf *b, const char *key, int64_t v)
{
	begin(b, key);
	buf_printf(b, "%" PRId64, v);
}

void jw_bool(struct buf *b, const char *key, bool v)
{
	begin(b, key);
	buf_put_str(b, v ? "true" : "false");
}

void jw_null(struct buf *b, const char *key)
{
	begin(b, key);
	buf_put_str(b, "null");
}

void jw_time(struct buf *b, const char *key, int64_t unix_ms)
{
	char text[CLOCK_ISO_SIZE];

	clock_iso(unix_ms, text);
	jw_str(b, key, text);
}

/* Within strings no raw line end can stand, so this touches white space between tokens only. */
static void blank_out(uint8_t *p, size_t n, char c)
{
	uint8_t *end = p + n;

	while ((p = memchr(p, c, (size_t)(end - p))))
		*p = ' ';
}

void jw_raw(struct buf *b, const char *key, struct bytes json)
{
	uint8_t *to;

	begin(b, key);
	if (json.n == 0)
		return;
	to = buf_room(b, json.n);
	if (!to)
		return;
	memcpy(to, json.p, json.n);
	buf_added(b, json.n);
	blank_out(to, json.n, '\n');
	blank_out(to, json.n, '\r');
}
