/*
 * map.c - linear probing without tombstones
 *
 * The capacity is a power of two and a quarter of the slots at least stays free, so every search ends; what is removed
 * leaves no mark, since those behind it move up.
 */
#include "base/map.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define MIN_CAP ((size_t)8)
#define MAX_N	(SIZE_MAX / 64) /* far beyond any memory, and no product below can wrap */

static uint8_t hash_key[crypto_shorthash_KEYBYTES];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
	crypto_shorthash_keygen(hash_key);
}

/* Where the search for @key begins. */
static size_t home_of(const struct map *m, struct bytes key)
{
	uint8_t out[crypto_shorthash_BYTES];
	size_t h;

	(void)pthread_once(&hash_key_once, make_hash_key);   /* cannot fail with a valid once */
	(void)crypto_shorthash(out, key.p, key.n, hash_key); /* always succeeds */
	memcpy(&h, out, sizeof(h));
	return h & (m->cap - 1);
}

/* The key's slot, or the free one where it would go. */
static size_t slot_of(const struct map *m, struct bytes key)
{
	size_t i = home_of(m, key);

	while (m->slots[i] && !bytes_eq(m->key_of(m->slots[i]), key))
		i = (i + 1) & (m->cap - 1);
	return i;
}

static size_t room_of(size_t cap)
{
	return cap / 4 * 3;
}

void map_fini(struct map *m)
{
	free(m->slots);
	*m = MAP_INIT(m->key_of);
}

int map_reserve(struct map *m, size_t more)
{
	struct map bigger = { .cap = m->cap < MIN_CAP ? MIN_CAP : m->cap, .key_of = m->key_of };
	size_t at = 0;
	void *value;

	if (more > MAX_N || m->n > MAX_N - more)
		return ERR_NOMEM;
	while (room_of(bigger.cap) < m->n + more)
		bigger.cap *= 2;
	if (bigger.cap == m->cap)
		return 0;
	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return ERR_NOMEM;
	while ((value = map_next(m, &at)))
		map_add(&bigger, value);
	free(m->slots);
	*m = bigger;
	return 0;
}

void map_add(struct map *m, void *value)
{
	size_t i;

	assert(m->n < room_of(m->cap));
	i = slot_of(m, m->key_of(value));
	assert(!m->slots[i]);
	m->slots[i] = value;
	m->n++;
}

void *map_find(const struct map *m, struct bytes key)
{
	return m->n ? m->slots[slot_of(m, key)] : NULL;
}

/* Whose search passes the gap moves into it, and leaves the next one. */
static void close_gap(struct map *m, size_t gap)
{
	const size_t mask = m->cap - 1;

	for (size_t i = (gap + 1) & mask; m->slots[i]; i = (i + 1) & mask) {
		const size_t home = home_of(m, m->key_of(m->slots[i]));

		if (((i - home) & mask) < ((i - gap) & mask))
			continue; /* its search begins behind the gap */
		m->slots[gap] = m->slots[i];
		m->slots[i] = NULL;
		gap = i;
	}
}

void *map_remove(struct map *m, struct bytes key)
{
	void *value;
	size_t i;

	if (!m->n)
		return NULL;
	i = slot_of(m, key);
	value = m->slots[i];
	if (!value)
		return NULL;
	m->slots[i] = NULL;
	m->n--;
	close_gap(m, i);
	return value;
}

void *map_next(const struct map *m, size_t *at)
{
	while (*at < m->cap) {
		void *value = m->slots[(*at)++];

		if (value)
			return value;
	}
	return NULL;
}
