/*
 * buf.c - growing by moving
 *
 * realloc(3) may leave a copy behind, so growing allocates, copies and wipes.
 */
#include "base/buf.h"

#include <assert.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void release(uint8_t *p, size_t cap)
{
	if (p) {
		sodium_memzero(p, cap);
		free(p);
	}
}

void buf_fini(struct buf *b)
{
	release(b->p, b->cap);
	*b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
	if (b->n)
		sodium_memzero(b->p, b->n);
	b->n = 0;
	b->err = 0;
}

uint8_t *buf_room(struct buf *b, size_t n)
{
	size_t cap;
	uint8_t *p;

	if (b->err)
		return NULL;
	if (n > b->max || b->n > b->max - n) {
		b->err = ERR_TOO_LARGE;
		return NULL;
	}
	if (b->p && n <= b->cap - b->n)
		return b->p + b->n;

	cap = b->cap < 256 ? 256 : b->cap;
	while (cap - b->n < n)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	p = malloc(cap ? cap : 1);
	if (!p) {
		b->err = ERR_NOMEM;
		return NULL;
	}
	if (b->p)
		memcpy(p, b->p, b->n);
	release(b->p, b->cap);
	b->p = p;
	b->cap = cap;
	return p + b->n;
}

void buf_added(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->n);
	b->n += n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *to;

	if (n == 0)
		return;
	to = buf_room(b, n);
	if (!to)
		return;
	memcpy(to, p, n);
	b->n += n;
}

void buf_put_bytes(struct buf *b, struct bytes v)
{
	buf_put(b, v.p, v.n);
}

void buf_put_str(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void buf_put_byte(struct buf *b, uint8_t c)
{
	buf_put(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
	char text[256], *longer;
	va_list ap, again;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(text, sizeof(text), format, ap);
	assert(n >= 0); /* formats are ours */
	if ((size_t)n < sizeof(text)) {
		buf_put(b, text, (size_t)n);
	} else if (!b->err) {
		longer = malloc((size_t)n + 1);
		if (longer) {
			(void)vsnprintf(longer, (size_t)n + 1, format, again); /* measured above */
			buf_put(b, longer, (size_t)n);
		} else {
			b->err = ERR_NOMEM;
		}
		release((uint8_t *)longer, (size_t)n + 1);
	}
	va_end(again);
	va_end(ap);
}

void buf_cut(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (n < b->n)
		sodium_memzero(b->p + n, b->n - n);
	b->n = n;
	b->err = 0;
}

void buf_drop_front(struct buf *b, size_t n)
{
	size_t rest;

	assert(n <= b->n);
	if (n == 0)
		return;
	rest = b->n - n;
	memmove(b->p, b->p + n, rest);
	sodium_memzero(b->p + rest, n);
	b->n = rest;
}
