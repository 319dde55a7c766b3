/*
 * idmap - objects by id: a hash table to find one, a sorted list to walk them
 *
 * Borrows what it holds. Not thread-safe.
 */
#ifndef E2EED_KEYSTORE_IDMAP_H
#define E2EED_KEYSTORE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/map.h"

struct idmap {
	struct map map;
	void **sorted; /* by memcmp() of the ids, a prefix first */
	size_t n, cap;
};

#define IDMAP_INIT(id_of_) ((struct idmap){ .map = MAP_INIT(id_of_) })

void idmap_fini(struct idmap *m);

/** idmap_reserve - make room for one addition, so that idmap_add() cannot fail. Return: 0, ERR_NOMEM. */
int idmap_reserve(struct idmap *m) WARN_UNUSED;

/**
 * idmap_add - add @value, whose id must not be there yet, into room that idmap_reserve() made
 * @later: put it at the end of the list, to be sorted by one idmap_sort() when all are in: a replay of many would otherwise
 *         move the list about for each of them
 */
void idmap_add(struct idmap *m, void *value, bool later);
void idmap_sort(struct idmap *m);

static inline void *idmap_find(const struct idmap *m, struct bytes id)
{
	return map_find(&m->map, id);
}

#endif
