/*
 * pages.c - address space first, memory second
 *
 * A reservation without access is trimmed to the aligned middle and a guard page on either side; then the middle is
 * made usable, so there is never a moment without guards.
 */
#include "base/pages.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE); /* cannot fail */
}

size_t pages_round(size_t n)
{
	return (n + page_bytes() - 1) / page_bytes() * page_bytes();
}

#if defined(SYS_memfd_secret) && !defined(E2EED_VALGRIND) /* valgrind does not know the call */
/*
 * What came by a raw system call goes by one. ThreadSanitizer sees neither; of a close() alone it would think that it ends whatever it
 * saw last under that number, such as a connection, which libuv opens by a function and closes by a raw call.
 */
static void raw_closep(int *fd)
{
	if (*fd >= 0)
		(void)syscall(SYS_close, *fd); /* nothing was promised about what is closed on the way out */
}
#endif

/* Memory that the kernel itself cannot reach; it counts as locked. Placed over @at, which is reserved. */
static bool map_secretmem(void *at, size_t n)
{
#if defined(SYS_memfd_secret) && !defined(E2EED_VALGRIND)
	CLEANUP(raw_closep) int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	void *p;

	if (fd < 0 || ftruncate(fd, (off_t)n) < 0)
		return false;
	/*
	 * Not MAP_FIXED: the limit is checked only after the old mapping is gone, and another thread could move into
	 * the hole. What exists can be moved without failing half-way.
	 */
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return false;
	if (madvise(p, n, MADV_DONTFORK) < 0 || mremap(p, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
		(void)munmap(p, n); /* nothing is in it yet */
		return false;
	}
	return true;
#else
	(void)at;
	(void)n;
	return false;
#endif
}

/* Make @n reserved bytes usable as the policy says. */
static bool make_usable(void *at, size_t n, enum arena_policy policy, bool *ret_locked, bool *ret_secretmem)
{
	bool locked = false;

	if (policy != ARENA_LOCK_OFF && map_secretmem(at, n)) {
		*ret_locked = *ret_secretmem = true;
		return true;
	}
	if (mprotect(at, n, PROT_READ | PROT_WRITE) < 0)
		return false;
	/* promises of the header, and every kernel we run on knows them */
	if (madvise(at, n, MADV_DONTDUMP) < 0 || madvise(at, n, MADV_WIPEONFORK) < 0)
		return false;
	if (policy != ARENA_LOCK_OFF)
		locked = mlock(at, n) == 0;
	if (policy == ARENA_LOCK_REQUIRE && !locked)
		return false;
	*ret_locked = locked;
	*ret_secretmem = false;
	return true;
}

void *pages_map(size_t n, size_t align, enum arena_policy policy, bool *ret_locked, bool *ret_secretmem)
{
	const size_t guard = page_bytes();
	size_t before, after;
	uint8_t *area, *at;

	area = mmap(NULL, n + align + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return NULL;
	before = align - ((uintptr_t)area + guard) % align;
	after = align - before;
	at = area + guard + before;
	(void)munmap(area, before); /* were it to fail, there would only be more guard */
	if (after)
		(void)munmap(at + n + guard, after);

	if (!make_usable(at, n, policy, ret_locked, ret_secretmem)) {
		pages_unmap(at, n);
		return NULL;
	}
	return at;
}

void pages_unmap(void *p, size_t n)
{
	const size_t guard = page_bytes();

	(void)munmap((uint8_t *)p - guard, n + 2 * guard); /* cannot fail: a whole range of ours */
}
