/*
 * throttle - failed authentications per peer origin and minute
 *
 * A minute begins with an origin's first failure. More than THROTTLE_FAILURES of them within it, and further attempts are refused
 * until it has passed. The table is bounded; when it is full of fresh entries, the oldest gives way. Thread-safe.
 */
#ifndef E2EED_PROTO_THROTTLE_H
#define E2EED_PROTO_THROTTLE_H

#include <pthread.h>
#include <stdint.h>

#define THROTTLE_FAILURES  10
#define THROTTLE_WINDOW_MS 60000
#define THROTTLE_ENTRIES   1024

struct throttle {
	pthread_mutex_t lock;
	struct throttle_entry {
		char origin[64]; /* "" is free */
		int64_t since_ms;
		unsigned failures;
	} entries[THROTTLE_ENTRIES];
};

void throttle_init(struct throttle *t);
void throttle_fini(struct throttle *t);

/** throttle_wait_ms - how long @origin must wait before it may try; 0: it may now. @now_ms: the monotonic clock */
int64_t throttle_wait_ms(struct throttle *t, const char *origin, int64_t now_ms);
void throttle_note_failure(struct throttle *t, const char *origin, int64_t now_ms);

#endif
