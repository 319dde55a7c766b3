/*
 * event_tail - the newest events, in memory, for those who wait for them
 *
 * Only what is durable gets in. Bounded: the oldest make room for new ones, and whoever still wants those reads the log
 * (store_read_events()). Any thread; a lock of its own, held for moments.
 */
#ifndef E2EED_KEYSTORE_EVENT_TAIL_H
#define E2EED_KEYSTORE_EVENT_TAIL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "keystore/event.h"

#define EVENT_TAIL_MAX 4096u /* events */

/* one event that never changes; reference-counted */
struct event_note {
	atomic_uint refs;
	struct event_note *next; /* of the same change, on the way into the tail */
	struct event event;	 /* its bytes are the note's */
	uint8_t bytes[];
};

/** event_notes_new - the events of a change, in order; NULL where it tells nothing. Return: 0, ERR_NOMEM. */
int event_notes_new(const struct record *record, struct event_note **ret) WARN_UNUSED;
void event_notes_free(struct event_note *list); /* a list that did not get in */
void event_note_unref(struct event_note *note);

struct event_tail {
	pthread_mutex_t lock;	   /* over what follows */
	struct event_note **notes; /* owned, with references; a circle of EVENT_TAIL_MAX */
	size_t first, n;
	uint64_t base, newest; /* all events behind number base and up to newest are here */
	bool open;	       /* otherwise the keystore is locked, and nothing is known */
};

int event_tail_init(struct event_tail *tail) WARN_UNUSED; /* 0, ERR_NOMEM */
void event_tail_fini(struct event_tail *tail);		  /* a zeroed one, too */

void event_tail_open(struct event_tail *tail, uint64_t newest); /* of what was loaded; the tail is empty */
void event_tail_shut(struct event_tail *tail);

/** event_tail_put - takes the events of the next change, whose number is @seq, or the last of whose numbers it is */
void event_tail_put(struct event_tail *tail, struct event_note *list, uint64_t seq);

/**
 * event_tail_get - the events behind number @since, at most @max, of all apps
 * @ret:      references
 * @ret_upto: whoever has these has all events up to this number
 *
 * Return: 0; ERR_LOCKED; ERR_NOT_FOUND (some of them are in the log only); ERR_SEQ_TOO_OLD (@since is above the newest).
 */
int event_tail_get(struct event_tail *tail, uint64_t since, size_t max, struct event_note **ret, size_t *ret_n,
		   uint64_t *ret_upto) WARN_UNUSED;

/** event_tail_newest - Return: 0, ERR_LOCKED */
int event_tail_newest(struct event_tail *tail, uint64_t *ret) WARN_UNUSED;

#endif
