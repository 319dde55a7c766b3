/*
 * scan_check(): one pass over the text, no recursion, nothing built.
 *
 * Three steps take turns, each reading what its name says and telling which step follows: a value (or the bracket that
 * begins one), a member's name, what stands behind a value. Open containers are one byte each on a stack of fixed
 * size. That byte also tells where in a JSON-RPC frame the container stands, which is how SCAN_FRAME knows the members
 * whose value may hold what only JavaScript takes.
 *
 * Grammar: RFC 8259; well-formed UTF-8: the Unicode Standard, table 3-7.
 */
#include "base/scan.h"

#include "base/scan_names.h"
#include "base/scan_text.h"

enum step { STEP_DONE, STEP_VALUE, STEP_NAME, STEP_BEHIND };

/* Of a value that comes next, or of an open container */
enum place {
	PLACE_STRICT,
	PLACE_FRAME,   /* the frame itself */
	PLACE_BATCH,   /* the array of requests */
	PLACE_REQUEST, /* a request, or an element of the batch, which should be one */
	PLACE_PARAMS,  /* params of a request */
	PLACE_LAX,     /* SCAN_JS holds, all the way down */
};

#define IN_ARRAY 0x80

struct checker {
	const uint8_t *p, *end;
	unsigned depth, max_depth;
	bool want_names; /* duplicates are looked for */
	enum place place;
	uint8_t level[SCAN_MAX_DEPTH];	   /* enum place, and IN_ARRAY */
	size_t names_from[SCAN_MAX_DEPTH]; /* of objects: their first name on the stack */
	struct scan_names names;
};

/* ---- strings ---- */

/* A set top bit where a byte needs a look; perhaps in bytes behind it as well. */
static inline uint64_t needs_look(uint64_t w)
{
	return (w | (w - SCAN_EACH(0x20)) | ((w ^ SCAN_EACH('"')) - SCAN_EACH(1)) |
		((w ^ SCAN_EACH('\\')) - SCAN_EACH(1))) &
	       SCAN_TOP;
}

/* Over bytes that need no look: ASCII but for control characters, quote and backslash. */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
	while (end - p >= SCAN_STRIDE) { /* as in skip_string() of scan.c */
		uint64_t any = 0;

		for (size_t i = 0; i < SCAN_STRIDE; i += 8)
			any |= needs_look(scan_word(p + i));
		if (any)
			break;
		p += SCAN_STRIDE;
	}
	while (end - p >= 8) {
		uint64_t hits = needs_look(scan_word(p));

		if (hits)
			return p + scan_first_hit(hits);
		p += 8;
	}
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

static bool is_tail(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

/* Over the characters beyond ASCII at @p. Return: NULL if one is not well-formed. */
static const uint8_t *skip_utf8(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p >= 0x80) {
		size_t left = (size_t)(end - p);
		uint8_t c = p[0];

		if (c < 0xc2 || c > 0xf4)
			return NULL; /* a tail, an overlong form, or beyond U+10FFFF */
		if (c < 0xe0) {
			if (left < 2 || !is_tail(p[1]))
				return NULL;
			p += 2;
		} else if (c < 0xf0) {
			if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
				return NULL;
			if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f)) /* overlong; a surrogate */
				return NULL;
			p += 3;
		} else {
			if (left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
				return NULL;
			if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f)) /* overlong; beyond U+10FFFF */
				return NULL;
			p += 4;
		}
	}
	return p;
}

static int unit_at(const uint8_t *p, const uint8_t *end)
{
	return end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? scan_hex4(p + 2) : -1;
}

/* @p at the backslash. Return: behind the escape, NULL if it is none. */
static const uint8_t *skip_escape(const uint8_t *p, const uint8_t *end, bool lax)
{
	int unit;

	if (end - p < 2)
		return NULL;
	switch (p[1]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 2;
	case 'u':
		unit = unit_at(p, end);
		break;
	default:
		return NULL;
	}
	if (unit < 0 || (!lax && (unit == 0 || scan_is_low(unit))))
		return NULL;
	if (lax || !scan_is_high(unit))
		return p + 6;
	return scan_is_low(unit_at(p + 6, end)) ? p + 12 : NULL;
}

/* @p behind the opening quote. Return: behind the closing one, NULL if this is no string. */
static const uint8_t *check_string(const uint8_t *p, const uint8_t *end, bool lax, bool *ret_escaped)
{
	bool escaped = false;

	for (;;) {
		p = skip_plain(p, end);
		if (p == end)
			return NULL;
		if (*p == '"') {
			*ret_escaped = escaped;
			return p + 1;
		}
		if (*p == '\\') {
			escaped = true;
			p = skip_escape(p, end, lax);
		} else {
			p = *p >= 0x80 ? skip_utf8(p, end) : NULL;
		}
		if (!p)
			return NULL;
	}
}

/* ---- numbers ---- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

/*
 * 2^1024 - 2^970: half way from the largest double to what would be the next one, and the least number that rounding to
 * the nearest turns into infinity. 309 digits.
 */
static const char limit[] = "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017"
			    "977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273"
			    "854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704"
			    "342711559699508093042880177904174497792";

#define LIMIT_DIGITS   (sizeof(limit) - 1)
#define LIMIT_EXPONENT ((int64_t)LIMIT_DIGITS - 1) /* of its first digit */

/* Are the digits of @p (a point among them), the first of which is not 0, at least those of the limit? */
static bool reaches_limit(const uint8_t *p, const uint8_t *end)
{
	size_t i = 0;

	for (; p < end; p++) {
		uint8_t digit = i < LIMIT_DIGITS ? (uint8_t)limit[i] : '0';

		if (*p == '.')
			continue;
		if (*p != digit)
			return *p > digit;
		i++;
	}
	for (; i < LIMIT_DIGITS; i++) {
		if (limit[i] != '0')
			return false;
	}
	return true;
}

static int64_t exponent_value(const uint8_t *p, const uint8_t *end)
{
	const int64_t plenty = INT64_C(1) << 40; /* more than a text of 4 GiB can balance by its digits */
	bool negative = false;
	int64_t v = 0;

	if (p < end && (*p == '+' || *p == '-'))
		negative = *p++ == '-';
	for (; p < end && v < plenty; p++)
		v = v * 10 + (*p - '0');
	return negative ? -v : v;
}

/* Is the number too large for a double? @digits..@point: before the point, ..@e: the point and behind, ..@end: the exponent */
static bool overflows(const uint8_t *digits, const uint8_t *point, const uint8_t *e, const uint8_t *end)
{
	const uint8_t *first = digits;
	int64_t exponent = e < end ? exponent_value(e + 1, end) : 0;

	while (first < e && (*first == '0' || *first == '.'))
		first++;
	if (first == e)
		return false;
	/* of the first digit that counts */
	exponent += first < point ? point - first - 1 : point - first;
	if (exponent != LIMIT_EXPONENT)
		return exponent > LIMIT_EXPONENT;
	return reaches_limit(first, e);
}

/* Return: behind the number, NULL if it is none or, unless @lax, too large. */
static const uint8_t *check_number(const uint8_t *p, const uint8_t *end, bool lax)
{
	const uint8_t *digits, *point, *e;

	if (p < end && *p == '-')
		p++;
	digits = p;
	p = skip_digits(p, end);
	if (p == digits || (*digits == '0' && p - digits > 1))
		return NULL;
	point = p;
	if (p < end && *p == '.') {
		p = skip_digits(p + 1, end);
		if (p == point + 1)
			return NULL;
	}
	e = p;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (p == end || !is_digit(*p))
			return NULL;
		p = skip_digits(p, end);
	}
	if (!lax && (p > e || point - digits >= (ptrdiff_t)LIMIT_DIGITS) && overflows(digits, point, e, p))
		return NULL;
	return p;
}

/* ---- the three steps ---- */

static int close_container(struct checker *c)
{
	int r = 0;

	c->depth--;
	if (c->want_names && !(c->level[c->depth] & IN_ARRAY))
		r = scan_names_close(&c->names, c->names_from[c->depth]);
	return r < 0 ? r : STEP_BEHIND;
}

static enum place place_of_element(enum place array)
{
	switch (array) {
	case PLACE_BATCH:
		return PLACE_REQUEST;
	case PLACE_LAX:
		return PLACE_LAX;
	default:
		return PLACE_STRICT;
	}
}

static enum place place_of_member(enum place object, struct bytes name)
{
	switch (object) {
	case PLACE_REQUEST:
		return scan_str_is(name, BYTES_LIT("params")) ? PLACE_PARAMS : PLACE_STRICT;
	case PLACE_PARAMS:
		return scan_str_is(name, BYTES_LIT("payload")) || scan_str_is(name, BYTES_LIT("message"))
			       ? PLACE_LAX
			       : PLACE_STRICT;
	case PLACE_LAX:
		return PLACE_LAX;
	default:
		return PLACE_STRICT;
	}
}

static enum place place_of_container(enum place value, bool array)
{
	if (value == PLACE_FRAME)
		return array ? PLACE_BATCH : PLACE_REQUEST;
	return value; /* an array passes only PLACE_LAX and PLACE_BATCH on to its elements */
}

static int open_container(struct checker *c, bool array)
{
	enum place place = place_of_container(c->place, array);

	if (c->depth == c->max_depth)
		return ERR_PARSE;
	c->level[c->depth] = (uint8_t)(place | (array ? IN_ARRAY : 0));
	c->names_from[c->depth] = c->names.n;
	c->depth++;
	c->p = scan_skip_space(c->p + 1, c->end);
	if (c->p < c->end && *c->p == (array ? ']' : '}')) {
		c->p++;
		return close_container(c);
	}
	c->place = place_of_element(place);
	return array ? STEP_VALUE : STEP_NAME;
}

static const uint8_t *check_literal(const uint8_t *p, const uint8_t *end, struct bytes literal)
{
	return bytes_eq(bytes_sub(BYTES(p, (size_t)(end - p)), 0, literal.n), literal) ? p + literal.n : NULL;
}

static int step_value(struct checker *c)
{
	bool lax = c->place == PLACE_LAX, escaped;

	c->p = scan_skip_space(c->p, c->end);
	if (c->p == c->end)
		return ERR_PARSE;
	switch (*c->p) {
	case '{':
		return open_container(c, false);
	case '[':
		return open_container(c, true);
	case '"':
		c->p = check_string(c->p + 1, c->end, lax, &escaped);
		break;
	case 't':
		c->p = check_literal(c->p, c->end, BYTES_LIT("true"));
		break;
	case 'f':
		c->p = check_literal(c->p, c->end, BYTES_LIT("false"));
		break;
	case 'n':
		c->p = check_literal(c->p, c->end, BYTES_LIT("null"));
		break;
	default:
		c->p = check_number(c->p, c->end, lax);
		break;
	}
	return c->p ? STEP_BEHIND : ERR_PARSE;
}

static int step_name(struct checker *c)
{
	enum place place = c->level[c->depth - 1];
	const uint8_t *from, *behind;
	bool escaped;
	int r;

	from = scan_skip_space(c->p, c->end);
	if (from == c->end || *from != '"')
		return ERR_PARSE;
	behind = check_string(from + 1, c->end, place == PLACE_LAX, &escaped);
	if (!behind)
		return ERR_PARSE;
	c->p = scan_skip_space(behind, c->end);
	if (c->p == c->end || *c->p != ':')
		return ERR_PARSE;
	c->p++;
	if (c->want_names) {
		r = scan_names_push(&c->names, from + 1, (size_t)(behind - from) - 2, escaped);
		if (r < 0)
			return r;
	}
	c->place = place_of_member(place, BYTES(from, (size_t)(behind - from)));
	return STEP_VALUE;
}

static int step_behind(struct checker *c)
{
	uint8_t level;
	bool array;

	c->p = scan_skip_space(c->p, c->end);
	if (c->depth == 0)
		return c->p == c->end ? STEP_DONE : ERR_PARSE;
	if (c->p == c->end)
		return ERR_PARSE;
	level = c->level[c->depth - 1];
	array = level & IN_ARRAY;
	switch (*c->p++) {
	case ',':
		if (!array)
			return STEP_NAME;
		c->place = place_of_element((enum place)(level & ~IN_ARRAY));
		return STEP_VALUE;
	case '}':
		return array ? ERR_PARSE : close_container(c);
	case ']':
		return array ? close_container(c) : ERR_PARSE;
	default:
		return ERR_PARSE;
	}
}

int scan_check(struct bytes text, unsigned flags, unsigned max_depth)
{
	struct checker c; /* no initialiser: the stacks would all be cleared for a short text */
	int r = STEP_VALUE;

	if (text.n == 0 || text.n > UINT32_MAX)
		return ERR_PARSE;
	c.p = text.p;
	c.end = text.p + text.n;
	c.depth = 0;
	c.max_depth = max_depth < SCAN_MAX_DEPTH ? max_depth : SCAN_MAX_DEPTH;
	c.want_names = !(flags & SCAN_DUPS);
	c.place = flags & SCAN_JS ? PLACE_LAX : flags & SCAN_FRAME ? PLACE_FRAME : PLACE_STRICT;
	scan_names_init(&c.names, text.p);
	while (r > 0) {
		switch (r) {
		case STEP_VALUE:
			r = step_value(&c);
			break;
		case STEP_NAME:
			r = step_name(&c);
			break;
		default:
			r = step_behind(&c);
			break;
		}
	}
	scan_names_fini(&c.names);
	return r;
}
