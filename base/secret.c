/*
 * secret.c - a length in front of bytes of the arena
 */
#include "base/secret.h"

#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>

#include "base/arena.h"

struct secret {
	size_t n;
	uint8_t data[];
};

static atomic_size_t live;

int secret_new(size_t n, struct secret **ret)
{
	struct secret *s;

	if (n > SIZE_MAX - sizeof(*s))
		return ERR_NOMEM;
	s = arena_alloc(sizeof(*s) + n);
	if (!s)
		return ERR_NOMEM;
	s->n = n;
	memset(s->data, 0, n);
	atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
	*ret = s;
	return 0;
}

int secret_dup(struct bytes from, struct secret **ret)
{
	struct secret *s;
	int r = secret_new(from.n, &s);

	if (r < 0)
		return r;
	if (from.n)
		memcpy(s->data, from.p, from.n);
	*ret = s;
	return 0;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	arena_free(s); /* wipes */
	atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
}

void secret_cut(struct secret *s, size_t n)
{
	assert(n <= s->n);
	sodium_memzero(s->data + n, s->n - n);
	s->n = n;
}

size_t secret_len(const struct secret *s)
{
	return s->n;
}

const uint8_t *secret_read(const struct secret *s)
{
	return s->data;
}

uint8_t *secret_write(struct secret *s)
{
	return s->data;
}

struct bytes secret_bytes(const struct secret *s)
{
	return BYTES(s->data, s->n);
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return a->n == b->n && sodium_memcmp(a->data, b->data, a->n) == 0;
}

void secret_wipe_stack(void)
{
	sodium_stackzero(16384);
}

size_t secret_live(void)
{
	return atomic_load_explicit(&live, memory_order_relaxed);
}
