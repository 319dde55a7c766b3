/*
 * bench - what the measuring programs share: a clock, samples, and the floor that a disk sets
 *
 * Anything that goes wrong ends the program with a sentence on stderr: half a measurement has nothing to say. Figures go to stdout
 * as JSON. One thread.
 */
#ifndef E2EED_TESTS_BENCH_H
#define E2EED_TESTS_BENCH_H

#include <stddef.h>
#include <stdint.h>

/** bench_die - "@what: @why" on stderr, and exit 1 */
_Noreturn void bench_die(const char *what, const char *why);

/** bench_number - a command line's decimal number from @min to @max, or the end of the program */
size_t bench_number(const char *text, size_t min, size_t max);

uint64_t bench_now_ns(void); /* monotonic */

/* durations; zero-initialized is empty */
struct samples {
	uint64_t *ns; /* owned */
	size_t n, cap;
	uint64_t total_ns;
};

void samples_add(struct samples *s, uint64_t ns);

/** samples_print - {"n","seconds","p50us","p99us","maxus"}: how many, their sum, and nearest ranks; sorts @s */
void samples_print(struct samples *s);
void samples_fini(struct samples *s);

/* the floor: a bare append and fdatasync, to a file in the same folder as what is measured */
struct probe {
	int fd;		/* owned */
	uint64_t end;	/* of the file */
	uint8_t *block; /* owned */
	size_t n;
	struct samples took;
};

/** probe_open - a new file at @path, which is removed by probe_fini(); each append has @n bytes */
void probe_open(struct probe *p, const char *path, size_t n);
void probe_once(struct probe *p); /* append, sync, note how long it took */
void probe_fini(struct probe *p, const char *path);

#endif
