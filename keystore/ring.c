#include "keystore/ring.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "keystore/ring_build.h"

/* a ring_key as it lies in memory */
struct entry {
	struct ring_key key; /* first: what others point to */
	atomic_uint refs;
	uint8_t text[]; /* kid, then ts */
};

struct ring {
	atomic_uint refs;
	bool has_current;
	size_t n;
	struct ring_key *keys[]; /* references; the current one first, the others sorted by is_newer() */
};

static struct entry *entry_of(const struct ring_key *key)
{
	return (struct entry *)(uintptr_t)key; /* it was allocated as one, and is not const but in what others see */
}

struct ring_key *ring_key_ref(const struct ring_key *key)
{
	struct entry *e = entry_of(key);

	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	return &e->key;
}

void ring_key_unref(struct ring_key *key)
{
	if (!key || atomic_fetch_sub_explicit(&entry_of(key)->refs, 1, memory_order_acq_rel) != 1)
		return;
	roomkey_unref(key->key);
	free(entry_of(key));
}

int ring_key_new(unsigned number, struct bytes kid, struct bytes ts, int64_t order_ms, struct roomkey *key,
		 struct ring_key **ret)
{
	struct entry *e = malloc(sizeof(*e) + kid.n + ts.n);

	if (!e)
		return ERR_NOMEM;
	if (kid.n)
		memcpy(e->text, kid.p, kid.n);
	if (ts.n)
		memcpy(e->text + kid.n, ts.p, ts.n);
	e->key = (struct ring_key){
		.number = number,
		.kid = BYTES(e->text, kid.n),
		.ts = BYTES(e->text + kid.n, ts.n),
		.order_ms = order_ms,
		.key = roomkey_ref(key),
	};
	atomic_init(&e->refs, 1);
	*ret = &e->key;
	return 0;
}

struct ring *ring_ref(struct ring *ring)
{
	if (ring)
		atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
	return ring;
}

void ring_unref(struct ring *ring)
{
	if (!ring || atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < ring->n; i++)
		ring_key_unref(ring->keys[i]);
	free(ring);
}

size_t ring_len(const struct ring *ring)
{
	return ring ? ring->n : 0;
}

const struct ring_key *ring_at(const struct ring *ring, size_t i)
{
	return i < ring_len(ring) ? ring->keys[i] : NULL;
}

const struct ring_key *ring_current(const struct ring *ring)
{
	return ring && ring->has_current ? ring->keys[0] : NULL;
}

const struct ring_key *ring_newest(const struct ring *ring, struct bytes kid)
{
	for (size_t i = 0; i < ring_len(ring); i++)
		if (bytes_eq(ring->keys[i]->kid, kid))
			return ring->keys[i];
	return NULL;
}

const struct ring_key *ring_same(const struct ring *ring, struct bytes kid, const struct roomkey *key)
{
	for (size_t i = 0; i < ring_len(ring); i++)
		if (bytes_eq(ring->keys[i]->kid, kid) && roomkey_same(ring->keys[i]->key, key))
			return ring->keys[i];
	return NULL;
}

/* ---- building ---- */

static bool is_newer(const struct ring_key *a, const struct ring_key *b)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): no key of a ring is NULL; the analyzer cannot know */
	return a->order_ms != b->order_ms ? a->order_ms > b->order_ms : a->number > b->number;
}

static int compare(const void *a, const void *b)
{
	const struct ring_key *ka = *(struct ring_key *const *)a, *kb = *(struct ring_key *const *)b;

	return ka == kb ? 0 : is_newer(ka, kb) ? -1 : 1;
}

static void put(struct ring *ring, const struct ring_key *key)
{
	ring->keys[ring->n++] = ring_key_ref(key);
}

static const struct ring_key *find_number(const struct ring *old, struct ring_key *const *added, size_t n_added,
					  uint32_t number)
{
	for (size_t i = 0; i < n_added; i++)
		if (added[i]->number == number)
			return added[i];
	for (size_t i = 0; i < ring_len(old); i++)
		if (old->keys[i]->number == number)
			return old->keys[i];
	return NULL;
}

int ring_new(const struct ring *old, struct ring_key *const *added, size_t n_added, uint32_t current, struct ring **ret)
{
	const struct ring_key *first = ring_current(old);
	struct ring_key **more; /* what has to find its place: the added keys and the one that was current; borrowed */
	size_t n_more = 0, old_at = 0, old_n = ring_len(old);
	struct ring *ring;

	if (current != RING_SAME_CURRENT) {
		first = find_number(old, added, n_added, current);
		if (!first)
			return ERR_NOT_FOUND;
	}
	ring = malloc(sizeof(*ring) + (old_n + n_added) * sizeof(ring->keys[0]));
	more = calloc(n_added + 1, sizeof(*more));
	if (!ring || !more) {
		free(ring);
		free(more);
		return ERR_NOMEM;
	}
	atomic_init(&ring->refs, 1);
	ring->n = 0;
	ring->has_current = first != NULL;

	for (; n_more < n_added; n_more++)
		more[n_more] = added[n_more];
	if (ring_current(old))
		more[n_more++] = old->keys[old_at++];
	qsort(more, n_more, sizeof(*more), compare);

	/* two sorted lists into one, so that a ring of n keys costs n steps and not more */
	if (first)
		put(ring, first);
	for (size_t i = 0; i < n_more || old_at < old_n;) {
		const struct ring_key *next;

		if (old_at == old_n || (i < n_more && is_newer(more[i], old->keys[old_at])))
			next = more[i++];
		else
			next = old->keys[old_at++];
		if (next != first)
			put(ring, next);
	}
	free(more);
	*ret = ring;
	return 0;
}

int ring_list_add(struct ring_list *list, struct ring_key *key)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 4;
		struct ring_key **keys = reallocarray(list->keys, cap, sizeof(struct ring_key *));

		if (!keys) {
			ring_key_unref(key);
			return ERR_NOMEM;
		}
		list->keys = keys;
		list->cap = cap;
	}
	list->keys[list->n++] = key;
	return 0;
}

void ring_list_fini(struct ring_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		ring_key_unref(list->keys[i]);
	free(list->keys);
	*list = RING_LIST_INIT;
}
