/*
 * pages - memory from the kernel for the arena: guarded, undumped, not inherited, locked as the policy says
 *
 * memfd_secret(2) where the kernel gives it, else anonymous memory under mlock(2), MADV_DONTDUMP and MADV_WIPEONFORK.
 */
#ifndef E2EED_BASE_PAGES_H
#define E2EED_BASE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

/** pages_round - @n, rounded up to whole pages of this machine; @n is below SIZE_MAX / 2 */
size_t pages_round(size_t n);

/**
 * pages_map - zeroed memory between two guard pages
 * @n:     as pages_round() gives it
 * @align: of the address; a power of two, a page at least
 *
 * ARENA_LOCK_AUTO falls back to unlocked memory, ARENA_LOCK_REQUIRE fails. Any thread; allocates from no heap.
 *
 * Return: the memory and what it is, NULL when there is none.
 */
void *pages_map(size_t n, size_t align, enum arena_policy policy, bool *ret_locked, bool *ret_secretmem) WARN_UNUSED;

/** pages_unmap - give back what pages_map() gave, guard pages included; the caller has wiped it */
void pages_unmap(void *p, size_t n);

#endif
