/* Blocks of every size keep their content and are wiped; misuse ends the process; the policies and the limits hold. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "tests/unit/tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MLOCK_WORKS 0 /* their run-time libraries make it a call that does nothing */
#else
#define MLOCK_WORKS 1
#endif

/* Small, repeatable, of no quality. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* ---- in a child: misuse and limits. Before test_start(), since a child finds nothing of its parent's arena. ---- */

static int in_child(int (*body)(void), char *said, size_t size)
{
	int fds[2], status = -1;
	size_t n = 0;
	ssize_t k;
	pid_t pid;

	said[0] = '\0';
	(void)fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0) {
		printf("Bail out! no child\n");
		exit(1);
	}
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };

		test_in_child();
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizers' handlers */
		(void)signal(SIGBUS, SIG_DFL);
		(void)dup2(fds[1], STDERR_FILENO);
		_exit(body());
	}
	(void)close(fds[1]);
	while (n < size - 1 && (k = read(fds[0], said + n, size - 1 - n)) > 0)
		n += (size_t)k;
	said[n] = '\0';
	(void)close(fds[0]);
	(void)waitpid(pid, &status, 0);
	return status;
}

static int free_twice(void)
{
	void *p, *q;

	if (arena_init(ARENA_LOCK_OFF) < 0)
		return 1;
	p = arena_alloc(40);
	q = arena_alloc(40);
	arena_free(p);
	arena_free(p);
	return q ? 0 : 1;
}

static int free_twice_large(void)
{
	void *p;

	if (arena_init(ARENA_LOCK_OFF) < 0)
		return 1;
	p = arena_alloc(100000);
	arena_free(p);
	arena_free(p);
	return 0;
}

static int overrun(void)
{
	uint8_t *p, *q;

	if (arena_init(ARENA_LOCK_OFF) < 0)
		return 1;
	p = arena_alloc(48);
	q = arena_alloc(48);
	if (!p || q != p + 64)
		return 1;
	((volatile uint8_t *)p)[48] ^= 1; /* the first byte of q's header */
	arena_free(q);
	return 0;
}

static int realloc_freed(void)
{
	void *p;

	if (arena_init(ARENA_LOCK_OFF) < 0)
		return 1;
	p = arena_alloc(40);
	arena_free(p);
	return arena_realloc(p, 50) ? 0 : 1;
}

static int past_the_end(void)
{
	volatile uint8_t *p;

	if (arena_init(ARENA_LOCK_OFF) < 0)
		return 1;
	p = arena_alloc(((size_t)4 << 20) - 16); /* fills its pages to the last byte */
	if (!p)
		return 1;
	p[((size_t)4 << 20) - 16] = 1;
	return 0;
}

/* Drops what lets root lock without limit. */
static bool as_nobody(rlim_t memlock)
{
	const struct rlimit limit = { memlock, memlock };

	return setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && (getuid() != 0 || setuid(65534) == 0);
}

static int require_without_limit(void)
{
	return as_nobody(0) && arena_init(ARENA_LOCK_REQUIRE) == ERR_NOMEM ? 0 : 1;
}

static int require_until_limit(void)
{
	struct arena_status status;
	void *first, *p[10];
	int n = 0;

	if (!as_nobody(3 << 20) || arena_init(ARENA_LOCK_REQUIRE) < 0)
		return 1;
	first = arena_alloc(500000);
	while (n < 10 && (p[n] = arena_alloc(500000)))
		n++;
	arena_get_status(&status);
	if (!first || n == 0 || n == 10 || status.locked_bytes != status.mapped_bytes || status.mapped_bytes > 3 << 20)
		return 2;
	if (arena_realloc(first, 900000)) /* no room: the old block stays */
		return 3;
	arena_free(first);
	first = arena_alloc(500000);
	if (!first)
		return 4;
	arena_free(first);
	while (n-- > 0)
		arena_free(p[n]);
	return 0;
}

static int auto_past_limit(void)
{
	struct arena_status status;
	uint8_t *p;

	if (!as_nobody(2 << 20) || arena_init(ARENA_LOCK_AUTO) < 0)
		return 1;
	p = arena_alloc(8 << 20);
	if (!p)
		return 2;
	memset(p, 7, 8 << 20);
	arena_get_status(&status);
	if (status.locked_bytes != 1 << 20 || status.mapped_bytes <= 8 << 20)
		return 3;
	arena_free(p);
	arena_get_status(&status);
	return status.mapped_bytes == 1 << 20 ? 0 : 4;
}

static int off_locks_nothing(void)
{
	struct arena_status status;
	char line[256];
	FILE *f;

	if (arena_init(ARENA_LOCK_OFF) < 0)
		return 1;
	arena_get_status(&status);
	if (status.locked_bytes || status.secretmem || status.mapped_bytes != 1 << 20)
		return 2;
	f = fopen("/proc/self/status", "r");
	if (!f)
		return 3;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "VmLck:", 6) == 0)
			return strtol(line + 6, NULL, 10) == 0 ? 0 : 4;
	return 5;
}

static void test_children(void)
{
	char said[4096];
	int status;

	status = in_child(free_twice, said, sizeof(said));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(said, "freed twice"));

	status = in_child(free_twice_large, said, sizeof(said));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(said, "no block"));

	status = in_child(overrun, said, sizeof(said)); /* the sanitizer reports it before the arena can */
	CHECK(UNDER_ASAN || (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
	CHECK(strstr(said, UNDER_ASAN ? "use-after-poison" : "damaged"));

	status = in_child(realloc_freed, said, sizeof(said));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(said, "freed twice"));

	status = in_child(past_the_end, said, sizeof(said));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);

	if (MLOCK_WORKS) {
		CHECK_INT(in_child(require_without_limit, said, sizeof(said)), 0);
		CHECK_INT(in_child(require_until_limit, said, sizeof(said)), 0);
		CHECK_INT(in_child(auto_past_limit, said, sizeof(said)), 0);
	}
	CHECK_INT(in_child(off_locks_nothing, said, sizeof(said)), 0);
}

/* ---- in this process ---- */

static void test_sizes(void)
{
	bool aligned = true, kept = true, separate = true;
	struct arena_status before, after;
	uint8_t *p[600];
	size_t n[600];

	arena_get_status(&before);
	for (size_t i = 0; i < 600; i++) {
		n[i] = i < 560 ? i : (i - 559) * 7001;
		p[i] = arena_alloc(n[i]);
		if (!p[i]) {
			separate = false;
			continue;
		}
		aligned = aligned && (uintptr_t)p[i] % 16 == 0;
		memset(p[i], (int)(i & 0xff), n[i]);
	}
	for (size_t i = 0; i < 600; i++)
		for (size_t k = 0; k < n[i]; k++)
			kept = kept && p[i][k] == (uint8_t)i;
	arena_get_status(&after);
	CHECK(separate);
	CHECK(aligned);
	CHECK(kept);
	CHECK_INT(after.live_blocks - before.live_blocks, 600);
	CHECK(after.used_bytes - before.used_bytes > 559 * 560 / 2);
	CHECK(after.used_bytes <= after.mapped_bytes);
	for (size_t i = 0; i < 600; i++)
		arena_free(p[(i * 7) % 600]);
	arena_get_status(&after);
	CHECK_INT(after.live_blocks, before.live_blocks);
	CHECK_INT(after.used_bytes, before.used_bytes);

	CHECK(arena_alloc(SIZE_MAX) == NULL);
	CHECK(arena_alloc(SIZE_MAX / 4 + 1) == NULL);
	CHECK(arena_alloc(SIZE_MAX / 8) == NULL);
	arena_free(NULL);
}

/* OpenSSL's heap: room for a hundred thousand room keys within what ordinary users may lock. */
static void test_overhead(void)
{
	struct arena_status before, after;
	const size_t n = 100000;
	uint8_t **p = calloc(n, sizeof(*p));
	bool ok = p != NULL;

	arena_get_status(&before);
	for (size_t i = 0; ok && i < n; i++)
		ok = (p[i] = arena_alloc(40)) != NULL;
	arena_get_status(&after);
	CHECK(ok);
	CHECK(after.mapped_bytes - before.mapped_bytes < 8 << 20);
	for (size_t i = 0; ok && i < n; i++)
		arena_free(p[i]);
	arena_get_status(&before);
	CHECK_INT(before.mapped_bytes, after.mapped_bytes);

	/* what the small blocks left serves large ones */
	for (size_t i = 0; i < 6; i++)
		p[i] = arena_alloc(900000);
	arena_get_status(&before);
	CHECK_INT(before.mapped_bytes, after.mapped_bytes);
	for (size_t i = 0; i < 6; i++)
		arena_free(p[i]);
	free(p);
}

static bool all(const uint8_t *p, uint8_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != value)
			return false;
	return true;
}

static void test_realloc(void)
{
	uint8_t *p = arena_realloc(NULL, 10), *q;

	CHECK(p != NULL);
	memset(p, 1, 10);
	for (size_t n = 10; n < 3000000; n = n * 3 / 2) {
		q = arena_realloc(p, n);
		if (!q || !all(q, 1, 10))
			break;
		memset(q, 1, n);
		p = q;
	}
	CHECK(all(p, 1, 2500000));
	p = arena_realloc(p, 100000);
	CHECK(all(p, 1, 100000));
	p = arena_realloc(p, 99000);
	p = arena_realloc(p, 100000);
	CHECK(all(p, 1, 99000));
#ifndef E2EED_VALGRIND
	CHECK(all(p + 99000, 0, 1000)); /* what was cut off did not come back */
#endif
	CHECK(arena_realloc(p, SIZE_MAX) == NULL);
	CHECK(all(p, 1, 99000));
	CHECK(arena_realloc(p, 0) == NULL); /* freed: test_end() would miss it otherwise */
}

#ifndef E2EED_VALGRIND /* to which a new block's content is undefined */
static void test_wiped(void)
{
	static const size_t sizes[] = { 1, 40, 496, 497, 8000, 8176, 8177, 60000, 1000000 };
	bool wiped = true;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t n = sizes[i];
		uint8_t *keep = arena_alloc(n), *p = arena_alloc(n), *q;

		memset(p, 0xee, n);
		arena_free(p);
		q = arena_alloc(n); /* the same place: last in, first out; first fit for pages */
		wiped = wiped && keep && q == p && all(q, 0, n);
		arena_free(q);
		arena_free(keep);
	}
	CHECK(wiped);
}
#endif

static void *churn(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	uint8_t *p[64] = { NULL };
	size_t n[64] = { 0 };
	bool ok = true;

	for (int round = 0; round < 20000; round++) {
		const size_t i = next_random(&seed) % 64, kind = next_random(&seed) % 16;
		const size_t size = next_random(&seed) % (kind == 0 ? 200000 : kind < 4 ? 9000 : 300) + 1;
		const uint8_t mark = (uint8_t)((uintptr_t)arg + i);

		if (p[i])
			ok = ok && p[i][0] == mark && p[i][n[i] - 1] == mark;
		if (p[i] && kind % 2 == 0) {
			arena_free(p[i]);
			p[i] = NULL;
			n[i] = 0;
			continue;
		}
		p[i] = arena_realloc(p[i], size);
		if (!p[i])
			return NULL;
		if (n[i])
			ok = ok && p[i][0] == mark;
		n[i] = size;
		p[i][0] = p[i][size - 1] = mark;
	}
	for (size_t i = 0; i < 64; i++)
		arena_free(p[i]);
	return ok ? arg : NULL;
}

static void test_threads(void)
{
	struct arena_status before, after;
	pthread_t threads[4];
	void *result;

	arena_get_status(&before);
	for (uintptr_t i = 0; i < 4; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (uintptr_t i = 0; i < 4; i++) {
		CHECK_INT(pthread_join(threads[i], &result), 0);
		CHECK(result == (void *)(i + 1));
	}
	arena_get_status(&after);
	CHECK_INT(after.live_blocks, before.live_blocks);
	CHECK_INT(after.used_bytes, before.used_bytes);
}

/* A forked child must not hold a copy of the keys. */
static void test_fork(void)
{
	uint8_t *p = arena_alloc(32);
	int status = -1;
	pid_t pid;

	memset(p, 0x42, 32);
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		test_in_child();
		(void)signal(SIGSEGV, SIG_DFL); /* not the sanitizers' handlers */
		(void)signal(SIGBUS, SIG_DFL);
		for (size_t i = 0; i < 32; i++)
			if (((volatile uint8_t *)p)[i] == 0x42)
				_exit(1);
		_exit(0);
	}
	(void)waitpid(pid, &status, 0);
	CHECK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
	CHECK(p[31] == 0x42);
	arena_free(p);
}

int main(void)
{
	test_children();
	test_start();
	test_sizes();
	test_overhead();
	test_realloc();
#ifndef E2EED_VALGRIND
	test_wiped();
#endif
	test_threads();
	test_fork();
	return test_end();
}
