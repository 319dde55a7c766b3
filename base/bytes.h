/*
 * bytes - a borrowed view of bytes that somebody else owns
 *
 * Passed by value. May be logged by its length, never by its content. A view of a secret is taken only where the
 * callee needs raw bytes, through secret_bytes(), which is easy to search for.
 */
#ifndef E2EED_BASE_BYTES_H
#define E2EED_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *p;
	size_t n;
};

#define BYTES(p_, n_) ((struct bytes){ (const uint8_t *)(p_), (n_) })
#define BYTES_LIT(s_) ((struct bytes){ (const uint8_t *)("" s_), sizeof(s_) - 1 })
#define BYTES_NONE    ((struct bytes){ NULL, 0 })

static inline struct bytes bytes_str(const char *s)
{
	return BYTES(s, strlen(s));
}

/* Not for secrets: returns at the first difference. */
static inline bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* from..end, both clamped to the view */
static inline struct bytes bytes_sub(struct bytes b, size_t from, size_t n)
{
	if (from > b.n)
		from = b.n;
	if (n > b.n - from)
		n = b.n - from;
	return BYTES(b.n ? b.p + from : b.p, n);
}

#endif
