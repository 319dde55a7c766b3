#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fsio.h"

_Noreturn void bench_die(const char *what, const char *why)
{
	(void)fprintf(stderr, "%s: %s\n", what, why); /* nobody listening is fine: the exit status says it too */
	exit(EXIT_FAILURE);
}

size_t bench_number(const char *text, size_t min, size_t max)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max)
		bench_die(text, "not a number in the range that is allowed here");
	return (size_t)n;
}

uint64_t bench_now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) < 0)
		bench_die("clock_gettime", strerror(errno));
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- samples ---- */

void samples_add(struct samples *s, uint64_t ns)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		uint64_t *more = reallocarray(s->ns, cap, sizeof(*more));

		if (!more)
			bench_die("samples", "out of memory");
		s->ns = more;
		s->cap = cap;
	}
	s->ns[s->n++] = ns;
	s->total_ns += ns;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *na = a, *nb = b;

	return *na < *nb ? -1 : *na > *nb;
}

/* the smallest sample that @percent of them do not exceed, in microseconds */
static double rank_us(const struct samples *s, size_t percent)
{
	size_t rank = (s->n * percent + 99) / 100;

	return s->n ? (double)s->ns[rank ? rank - 1 : 0] / 1e3 : 0;
}

void samples_print(struct samples *s)
{
	if (s->n)
		qsort(s->ns, s->n, sizeof(*s->ns), compare);
	(void)printf("{\"n\":%zu,\"seconds\":%.6f,\"p50us\":%.1f,\"p99us\":%.1f,\"maxus\":%.1f}", s->n,
		     (double)s->total_ns / 1e9, rank_us(s, 50), rank_us(s, 99), rank_us(s, 100));
}

void samples_fini(struct samples *s)
{
	free(s->ns);
	*s = (struct samples){ 0 };
}

/* ---- the floor ---- */

void probe_open(struct probe *p, const char *path, size_t n)
{
	*p = (struct probe){ .n = n };
	p->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (p->fd < 0)
		bench_die(path, strerror(errno));
	p->block = malloc(n);
	if (!p->block)
		bench_die(path, "out of memory");
	randombytes_buf(p->block, n); /* a file system that packs zeros must not win by that */
}

void probe_once(struct probe *p)
{
	uint64_t before = bench_now_ns();

	if (fsio_pwrite_full(p->fd, BYTES(p->block, p->n), p->end) < 0 || fdatasync(p->fd) < 0)
		bench_die("the floor cannot be measured", strerror(errno));
	samples_add(&p->took, bench_now_ns() - before);
	p->end += p->n;
}

void probe_fini(struct probe *p, const char *path)
{
	samples_fini(&p->took);
	free(p->block);
	(void)close(p->fd); /* it was synced, and goes now */
	(void)unlink(path);
}
