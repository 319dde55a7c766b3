#include "proto/throttle.h"

#include <stdio.h>
#include <string.h>

void throttle_init(struct throttle *t)
{
	memset(t, 0, sizeof(*t));
	(void)pthread_mutex_init(&t->lock, NULL); /* with default attributes glibc cannot fail here */
}

void throttle_fini(struct throttle *t)
{
	(void)pthread_mutex_destroy(&t->lock);
}

/* The origin's entry if its minute still runs, else NULL; the best place for a new one in @ret_place. */
static struct throttle_entry *find(struct throttle *t, const char *origin, int64_t now_ms,
				   struct throttle_entry **ret_place)
{
	struct throttle_entry *oldest = &t->entries[0];

	for (size_t i = 0; i < THROTTLE_ENTRIES; i++) {
		struct throttle_entry *e = &t->entries[i];

		if (e->origin[0] && now_ms - e->since_ms >= THROTTLE_WINDOW_MS)
			memset(e, 0, sizeof(*e));
		if (e->origin[0] && strcmp(e->origin, origin) == 0)
			return e;
		if (!e->origin[0]) {
			if (oldest->origin[0])
				oldest = e;
		} else if (oldest->origin[0] && e->since_ms < oldest->since_ms) {
			oldest = e;
		}
	}
	*ret_place = oldest;
	return NULL;
}

int64_t throttle_wait_ms(struct throttle *t, const char *origin, int64_t now_ms)
{
	struct throttle_entry *place, *e;
	int64_t wait = 0;

	(void)pthread_mutex_lock(&t->lock);
	e = find(t, origin, now_ms, &place);
	if (e && e->failures > THROTTLE_FAILURES)
		wait = e->since_ms + THROTTLE_WINDOW_MS - now_ms;
	(void)pthread_mutex_unlock(&t->lock);
	return wait;
}

void throttle_note_failure(struct throttle *t, const char *origin, int64_t now_ms)
{
	struct throttle_entry *place = NULL, *e;

	(void)pthread_mutex_lock(&t->lock);
	e = find(t, origin, now_ms, &place);
	if (!e) {
		e = place;
		(void)snprintf(e->origin, sizeof(e->origin), "%s", origin); /* peer.h: fits */
		e->since_ms = now_ms;
		e->failures = 0;
	}
	e->failures++;
	(void)pthread_mutex_unlock(&t->lock);
}
