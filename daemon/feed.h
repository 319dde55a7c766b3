/*
 * feed - committed events -> subscribed connections
 *
 * Each loop serves its own. A subscription has a position, the number up to which everything has been given to the connection, and is
 *
 *   CATCHING UP ──reached the newest──> LIVE ──the events it needs are in memory no more──> CATCHING UP
 *
 * What is live is served together, each event made into text once. What catches up is served one by one, out of memory as far as that
 * goes back, otherwise out of the log by jobs for the pool: one of a loop at a time, each a bounded piece for one connection, and only
 * while little is unsent. So whoever catches up as slowly as he likes holds up nobody. A live one that does not read is told why and
 * closed; it goes on later from the last number it has seen.
 *
 * Everything happens on the loop's wake-up, never in the midst of serving a connection: so an answer stands before what follows it.
 */
#ifndef E2EED_DAEMON_FEED_H
#define E2EED_DAEMON_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/service.h"

struct conn;
struct job;
struct loop;

enum feed_state { FEED_NONE, FEED_CATCHING_UP, FEED_LIVE };

/* a connection's place */
struct feed_seat {
	struct conn *prev, *next; /* of all that are subscribed */
	enum feed_state state;
	uint64_t upto;	  /* its position */
	unsigned history; /* what its position is a number of: store_history() */
	unsigned number;  /* of the subscription: what was read for another one is of no use */
	bool reading;	  /* a job is out */
	bool full;	  /* enough is unsent; goes on when it is read */
};

/* of one loop */
struct feed {
	struct conn *first, *last;
	size_t n_live;
	atomic_size_t n;     /* of all */
	uint64_t upto;	     /* no live one is behind this number */
	bool reading;	     /* a job is out */
	struct buf own, all; /* an event as an app sees it, and as an admin does */
};

void feed_init(struct feed *feed);
void feed_fini(struct feed *feed);

/** feed_is_empty - any thread: nobody here waits for anything */
bool feed_is_empty(const struct feed *feed);

/** feed_note - what a request of the connection's has asked for, once its answer stands in what is to be sent */
void feed_note(struct conn *conn, const struct subscription *asked);

/** feed_leave - the subscription ends, if there is one */
void feed_leave(struct conn *conn);

/** feed_sent - something was sent, perhaps */
void feed_sent(struct conn *conn);

/** feed_serve - whatever can be done now; on the loop's wake-up */
void feed_serve(struct loop *loop);

/** feed_read - what a worker does for a job that reads */
void feed_read(struct service *svc, struct service_worker *w, struct job *job);

/** feed_read_done - the loop has it back; takes @job */
void feed_read_done(struct job *job);

#endif
