/*
 * map - a hash table from byte strings to pointers
 *
 * Open addressing, SipHash under a key of the process's own (libsodium's crypto_shorthash), so that nobody can choose ids that
 * collide. The key lies inside what the pointer points to; `key_of` finds it. Not thread-safe.
 */
#ifndef E2EED_BASE_MAP_H
#define E2EED_BASE_MAP_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

struct map {
	void **slots; /* owned; the pointers are borrowed */
	size_t n, cap;
	struct bytes (*key_of)(const void *value);
};

#define MAP_INIT(key_of_) ((struct map){ .key_of = (key_of_) })

void map_fini(struct map *m); /* frees the table, not the values */

/** map_reserve - make room for @more additions, so that map_add() cannot fail. Return: 0, ERR_NOMEM. */
int map_reserve(struct map *m, size_t more) WARN_UNUSED;

/** map_add - add @value, whose key must not be there yet, into room that map_reserve() made */
void map_add(struct map *m, void *value);

void *map_find(const struct map *m, struct bytes key); /* NULL if there is none */
void *map_remove(struct map *m, struct bytes key);     /* the value that was there, or NULL */

/** map_next - walk: start with *@at = 0; NULL at the end. The map may not change meanwhile. */
void *map_next(const struct map *m, size_t *at);

#endif
