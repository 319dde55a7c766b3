/*
 * loop - one libuv event loop with its connections
 *
 * A loop serves fast frames where it read them and hands slow ones to the pool. Connections stay on the loop they were given to.
 * From other threads only the loop_post_* functions may be called: they leave something under the loop's mutex and wake it.
 */
#ifndef E2EED_DAEMON_LOOP_H
#define E2EED_DAEMON_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "daemon/feed.h"
#include "daemon/pool.h"
#include "proto/service.h"

#define LOOP_READ_SIZE 65536

struct conn;
struct daemon;

/* an accepted socket on its way to its loop */
struct newcomer {
	struct newcomer *next;
	int fd; /* owned */
	bool tcp;
	struct peer *peer; /* owned reference */
};

struct loop {
	struct daemon *daemon; /* borrowed */
	unsigned index;
	uv_loop_t uv;
	pthread_t thread; /* of loops other than the first */
	struct service_worker worker;

	uv_async_t wake;
	uv_check_t after_poll; /* one write per connection and wake-up */
	uv_idle_t resume;      /* runs while a connection has used up its turn */
	uv_timer_t auth_timer; /* for the head of `strangers` */
	uv_timer_t drain_timer;
	uv_timer_t dismiss_timer; /* while some are dismissed */

	pthread_mutex_t lock;
	struct newcomer *newcomers; /* lock; newest first */
	struct job *done;	    /* lock; newest first */
	bool sweep_asked;	    /* lock: some sessions are stale */
	bool drain_asked;	    /* lock */
	bool feed_asked;	    /* lock: there is something for subscribers to do */

	struct conn *conns;	/* all */
	struct conn *dirty;	/* with something to write */
	struct conn *resting;	/* that used up their turn */
	struct conn *strangers; /* not authenticated, oldest first */
	struct conn **strangers_tail;
	struct feed feed;
	size_t n_conns;
	size_t jobs; /* in the pool, of this loop */
	uint64_t turn;
	bool draining, closing;
	uint64_t draining_since_ms;
	uint8_t read_buf[LOOP_READ_SIZE]; /* wiped after each read */
};

/** loop_init - Return: 0, ERR_NOMEM, ERR_IO, ERR_CRYPTO. On failure nothing is left. */
int loop_init(struct loop *loop, struct daemon *daemon, unsigned index) WARN_UNUSED;

/** loop_fini - after uv_run() has returned */
void loop_fini(struct loop *loop);

/** loop_run - serve until drained; the loop's own thread */
void loop_run(struct loop *loop);

/** loop_watch_strangers - see to it that the oldest connection that has not authenticated is closed in time */
void loop_watch_strangers(struct loop *loop);

/** loop_watch_dismissed - see to it that those who were dismissed and do not read are closed in time */
void loop_watch_dismissed(struct loop *loop);

/* any thread */
void loop_post_feed(struct loop *loop);				/* there is something for subscribers to do */
void loop_post_newcomer(struct loop *loop, struct newcomer *n); /* takes it */
void loop_post_job(struct loop *loop, struct job *job);		/* takes it back */
void loop_post_sweep(struct loop *loop); /* close sessions that have become stale, look at time limits anew */
void loop_post_drain(
	struct loop *loop); /* refuse what is new, finish what is under way, close, return from loop_run() */

#endif
