/*
 * arena - the locked region that holds what must never reach swap, a core file or a child
 *
 * Serves struct secret, the whole heap of OpenSSL (CRYPTO_set_mem_functions) and key-bearing scratch. It grows in
 * chunks, each with guard pages on both sides, from memfd_secret(2) where the kernel gives it (unmapped even from the
 * kernel's own map), else from anonymous memory under mlock(2), MADV_DONTDUMP and MADV_WIPEONFORK. Blocks are wiped
 * when freed. Thread-safe. A forked child finds none of it: it may only exec or exit.
 */
#ifndef E2EED_BASE_ARENA_H
#define E2EED_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum arena_policy {
	ARENA_LOCK_OFF,	    /* do not lock (tests, tiny machines) */
	ARENA_LOCK_AUTO,    /* lock where the limits allow, serve unlocked memory otherwise and say so */
	ARENA_LOCK_REQUIRE, /* an allocation that cannot be locked fails */
};

struct arena_status {
	size_t mapped_bytes; /* chunks, without guard pages */
	size_t locked_bytes; /* of these, locked */
	size_t used_bytes;   /* in live blocks, rounding included */
	size_t live_blocks;
	bool secretmem; /* the newest chunk came from memfd_secret */
};

/**
 * arena_init - choose the policy; before the first allocation, once
 *
 * Return: 0; ERR_NOMEM when @policy is ARENA_LOCK_REQUIRE and not even the first chunk can be locked, or when there
 * is no memory at all.
 */
int arena_init(enum arena_policy policy) WARN_UNUSED;

/** arena_fini - unmap everything; every block must have been freed. For orderly exits and tests. */
void arena_fini(void);

/*
 * As malloc, realloc and free: 16-byte aligned, NULL when there is no memory. A moved or freed block is wiped, and so
 * is what shrinking cuts off. arena_alloc(0) gives a block; arena_realloc(p, 0) frees and gives NULL, as OpenSSL's own
 * does. A block freed twice, or whose header was overrun, ends the process with a message.
 */
void *arena_alloc(size_t n) __attribute__((malloc, warn_unused_result));
void *arena_realloc(void *p, size_t n) WARN_UNUSED;
void arena_free(void *p);

void arena_get_status(struct arena_status *ret);

#endif
