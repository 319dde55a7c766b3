/*
 * Walking text that scan_check() accepted, and reading its strings.
 *
 * Nothing here checks grammar again, but every step stays within the span it was given and moves on by at least one
 * byte, so that even text nobody validated cannot make it read outside or turn for ever.
 */
#include "base/scan.h"

#include <sodium.h>

#include "base/scan_text.h"

struct bytes scan_trim(struct bytes text)
{
	const uint8_t *end = text.p + text.n, *p;

	if (text.n == 0)
		return text;
	p = scan_skip_space(text.p, end);
	while (end > p && scan_is_space(end[-1]))
		end--;
	return BYTES(p, (size_t)(end - p));
}

enum scan_type scan_type(struct bytes value)
{
	if (value.n == 0)
		return SCAN_NULL;
	switch (value.p[0]) {
	case '{':
		return SCAN_OBJECT;
	case '[':
		return SCAN_ARRAY;
	case '"':
		return SCAN_STRING;
	case 't':
		return SCAN_TRUE;
	case 'f':
		return SCAN_FALSE;
	case 'n':
		return SCAN_NULL;
	default:
		return SCAN_NUMBER;
	}
}

/* ---- steps over values ---- */

/* A set top bit where a quote or a backslash is; perhaps in bytes behind it as well. */
static inline uint64_t special(uint64_t w)
{
	uint64_t quote = w ^ SCAN_EACH('"'), slash = w ^ SCAN_EACH('\\');

	return (((quote - SCAN_EACH(1)) & ~quote) | ((slash - SCAN_EACH(1)) & ~slash)) & SCAN_TOP;
}

/* @p behind the opening quote. Return: behind the closing one. */
static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		while (end - p >=
		       SCAN_STRIDE) { /* long strings: without a branch per word, the compiler takes several at once */
			uint64_t any = 0;

			for (size_t i = 0; i < SCAN_STRIDE; i += 8)
				any |= special(scan_word(p + i));
			if (any)
				break;
			p += SCAN_STRIDE;
		}
		while (end - p >= 8) {
			uint64_t hits = special(scan_word(p));

			if (hits) {
				p += scan_first_hit(hits);
				break;
			}
			p += 8;
		}
		if (p == end)
			break;
		if (*p == '"')
			return p + 1;
		p += *p == '\\' && end - p >= 2 ? 2 : 1;
	}
	return end;
}

static const uint8_t *skip_container(const uint8_t *p, const uint8_t *end)
{
	size_t depth = 0;

	while (p < end) {
		switch (*p++) {
		case '"':
			p = skip_string(p, end);
			break;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return p;
			break;
		default:
			break;
		}
	}
	return end;
}

static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end)
{
	if (p == end)
		return p;
	if (*p == '"')
		return skip_string(p + 1, end);
	if (*p == '{' || *p == '[')
		return skip_container(p, end);
	while (p < end && !scan_is_space(*p) && *p != ',' && *p != '}' && *p != ']')
		p++;
	return p;
}

/* ---- iterators ---- */

/* What is left begins with the opening bracket, later with the comma or bracket behind the last item. */
struct scan_iter scan_iter(struct bytes container)
{
	return (struct scan_iter){ .rest = container };
}

/* Step over @open or a comma. Return: where the next item begins, NULL where none does. */
static const uint8_t *next_item(struct scan_iter *it, uint8_t open, const uint8_t **ret_end)
{
	const uint8_t *p = it->rest.p, *end;

	if (it->rest.n == 0)
		return NULL;
	end = p + it->rest.n;
	p = scan_skip_space(p, end);
	it->rest = BYTES_NONE; /* unless an item is found */
	if (p == end || (*p != open && *p != ','))
		return NULL;
	p = scan_skip_space(p + 1, end);
	*ret_end = end;
	return p < end ? p : NULL;
}

static bool take_value(struct scan_iter *it, const uint8_t *p, const uint8_t *end, struct bytes *ret)
{
	const uint8_t *behind = skip_value(p, end);

	if (behind == p)
		return false;
	it->rest = BYTES(behind, (size_t)(end - behind));
	*ret = BYTES(p, (size_t)(behind - p));
	return true;
}

bool scan_next_member(struct scan_iter *it, struct scan_member *ret)
{
	const uint8_t *end, *from = next_item(it, '{', &end), *p;
	struct scan_member m;

	if (!from || *from != '"')
		return false;
	p = skip_string(from + 1, end);
	m.key = BYTES(from, (size_t)(p - from));
	p = scan_skip_space(p, end);
	if (p == end || *p != ':')
		return false;
	p = scan_skip_space(p + 1, end);
	if (!take_value(it, p, end, &m.value))
		return false;
	*ret = m;
	return true;
}

bool scan_next_element(struct scan_iter *it, struct bytes *ret)
{
	const uint8_t *end, *p = next_item(it, '[', &end);

	return p && take_value(it, p, end, ret);
}

bool scan_find(struct bytes object, struct bytes name, struct bytes *ret)
{
	struct scan_iter it = scan_iter(object);
	struct scan_member m;
	bool found = false;

	while (scan_next_member(&it, &m)) {
		if (scan_str_is(m.key, name)) {
			*ret = m.value;
			found = true;
		}
	}
	return found;
}

/* ---- strings ---- */

int scan_hex4(const uint8_t *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t c = p[i], lower = c | 0x20;

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if (lower >= 'a' && lower <= 'f')
			v = v << 4 | (lower - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static struct bytes content_of(struct bytes str)
{
	return str.n < 2 ? BYTES_NONE : BYTES(str.p + 1, str.n - 2);
}

/* Where the next escape begins, or the end */
static size_t run_length(struct bytes s)
{
	const uint8_t *slash = s.n ? memchr(s.p, '\\', s.n) : NULL;

	return slash ? (size_t)(slash - s.p) : s.n;
}

static unsigned put_utf8(int c, uint8_t ret[4])
{
	if (c < 0x80) {
		ret[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		ret[0] = (uint8_t)(0xc0 | c >> 6);
		ret[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		ret[0] = (uint8_t)(0xe0 | c >> 12);
		ret[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		ret[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	ret[0] = (uint8_t)(0xf0 | c >> 18);
	ret[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	ret[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	ret[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

static int unescape_short(uint8_t c)
{
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return c; /* " \ / */
	}
}

/* Take the escape that @s begins with. Return: the character, a lone surrogate included; -1 (and @s empty) if it is broken. */
static int take_escape(struct bytes *s)
{
	struct bytes from = *s;
	int c, low;

	*s = BYTES_NONE;
	if (from.n < 2)
		return -1;
	if (from.p[1] != 'u') {
		*s = bytes_sub(from, 2, SIZE_MAX);
		return unescape_short(from.p[1]);
	}
	c = from.n < 6 ? -1 : scan_hex4(from.p + 2);
	if (c < 0)
		return -1;
	if (scan_is_high(c) && from.n >= 12 && from.p[6] == '\\' && from.p[7] == 'u') {
		low = scan_hex4(from.p + 8);
		if (scan_is_low(low)) {
			*s = bytes_sub(from, 12, SIZE_MAX);
			return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	*s = bytes_sub(from, 6, SIZE_MAX);
	return c;
}

size_t scan_decode(struct scan_decoder *d, uint8_t *ret, size_t n)
{
	size_t done = 0, run;
	int c;

	while (done < n) {
		if (d->n_left) {
			ret[done++] = d->left[0];
			d->n_left--;
			memmove(d->left, d->left + 1, d->n_left);
			continue;
		}
		if (d->rest.n == 0)
			break;
		run = run_length(bytes_sub(d->rest, 0, n - done));
		if (run) {
			memcpy(ret + done, d->rest.p, run);
			done += run;
			d->rest = bytes_sub(d->rest, run, SIZE_MAX);
			continue;
		}
		c = take_escape(&d->rest);
		if (c >= 0)
			d->n_left = put_utf8(c, d->left);
	}
	return done;
}

bool scan_str_is(struct bytes str, struct bytes name)
{
	struct bytes s = content_of(str);
	struct scan_decoder d = SCAN_DECODER(s);
	uint8_t piece[64];
	bool same = false;
	size_t n;

	/* An escape is longer than what it stands for, and at most six times as long: most strings are settled here. */
	if (s.n < name.n || s.n / 6 > name.n)
		return false;
	if (s.n == name.n)
		return bytes_eq(s, name) && run_length(s) == s.n;
	if (name.n && s.p[0] != '\\' && s.p[0] != name.p[0])
		return false;
	if (run_length(s) == s.n)
		return false;
	for (;;) {
		n = scan_decode(&d, piece, sizeof(piece));
		if (!bytes_eq(BYTES(piece, n), bytes_sub(name, 0, sizeof(piece))))
			break;
		if (n < sizeof(piece)) {
			same = true;
			break;
		}
		name = bytes_sub(name, n, SIZE_MAX);
	}
	sodium_memzero(piece, sizeof(piece));
	return same;
}

int scan_str_decode(struct bytes str, struct buf *ret)
{
	struct bytes s = content_of(str);
	size_t start = ret->n;
	uint8_t utf8[4];

	while (s.n && buf_err(ret) == 0) {
		size_t run = run_length(s);
		int c;

		buf_put(ret, s.p, run);
		s = bytes_sub(s, run, SIZE_MAX);
		if (s.n == 0)
			break;
		c = take_escape(&s);
		if (c < 0 || scan_is_high(c) || scan_is_low(c)) {
			if (buf_err(ret) == 0)
				buf_cut(ret, start);
			return ERR_PARSE;
		}
		buf_put(ret, utf8, put_utf8(c, utf8));
	}
	return buf_err(ret);
}

bool scan_str_raw(struct bytes str, struct bytes *ret)
{
	struct bytes s = content_of(str);

	if (run_length(s) < s.n)
		return false;
	*ret = s;
	return true;
}
