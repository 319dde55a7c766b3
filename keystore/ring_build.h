/*
 * ring_build - make new rings; for the store alone, everybody else reads them (ring.h)
 */
#ifndef E2EED_KEYSTORE_RING_BUILD_H
#define E2EED_KEYSTORE_RING_BUILD_H

#include "keystore/ring.h"

struct ring_key *ring_key_ref(const struct ring_key *key);
void ring_key_unref(struct ring_key *key);
DEFINE_FREEP(struct ring_key *, ring_key_unrefp, ring_key_unref)

/** ring_key_new - @kid and @ts are copied, @key is referenced. Return: 0, ERR_NOMEM. */
int ring_key_new(unsigned number, struct bytes kid, struct bytes ts, int64_t order_ms, struct roomkey *key,
		 struct ring_key **ret) WARN_UNUSED;

#define RING_SAME_CURRENT UINT32_MAX

/**
 * ring_new - a ring of the keys of @old (may be NULL) and @added ones, which are referenced
 * @current: number of the key that is to be the current one, or RING_SAME_CURRENT
 *
 * Numbers must be unique. Return: 0; ERR_NOT_FOUND where no key has the number @current; ERR_NOMEM.
 */
int ring_new(const struct ring *old, struct ring_key *const *added, size_t n_added, uint32_t current,
	     struct ring **ret) WARN_UNUSED;

/* keys that are collected one by one and made into a ring at once: a ring for each of n keys would cost n * n steps */
struct ring_list {
	struct ring_key **keys; /* owned references */
	size_t n, cap;
	uint32_t current; /* as for ring_new() */
};

#define RING_LIST_INIT ((struct ring_list){ .current = RING_SAME_CURRENT })

/** ring_list_add - takes over the reference, whatever the result. Return: 0, ERR_NOMEM. */
int ring_list_add(struct ring_list *list, struct ring_key *key) WARN_UNUSED;
void ring_list_fini(struct ring_list *list);

#endif
