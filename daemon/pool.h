/*
 * pool - worker threads for what is slow: RSA, PBKDF2, key generation, disk syncs, large frames
 *
 * Admins have a queue of their own, which goes first, and for which one worker more may be at work, so that an app that asks for too
 * much cannot keep them from revoking it. One mutex is over both; results go back to the loop they came from, which takes the whole list at once. Workers run at nice +10, so that
 * a flood of slow requests does not delay what the loops serve themselves. While one waits for the disk a spare one works in its
 * stead: so many changes can share one sync, and disks do not hold up cores. A worker may spread what it is at over those that have
 * nothing to do.
 */
#ifndef E2EED_DAEMON_POOL_H
#define E2EED_DAEMON_POOL_H

#include "base/buf.h"
#include "base/err.h"
#include "proto/service.h"

#define POOL_MAX_QUEUED 8192 /* frames of each queue; beyond it: OVERLOADED */

struct conn;
struct loop;
struct pool;

/* one slow frame, owned by one thread at a time */
struct job {
	struct job *next;
	struct loop *loop; /* where the result goes */
	struct conn *conn; /* borrowed: the loop's; a worker never looks inside */
	struct peer *peer; /* owned reference */
	unsigned requests; /* how many of the connection's in-flight requests these are */
	bool in_order; /* of such the connection has one in the pool at a time, which never refuses it: see pool_submit() */
	bool undone;			  /* not begun: the peer has enough answers to read (struct peer) */
	struct buf in;			  /* the frame; wiped when the job is freed */
	struct buf out;			  /* the reply */
	struct subscription subscription; /* what the frame has asked for */
	bool reads;			  /* no frame, but a piece of the log that a subscriber needs (feed_read) */
	struct {
		uint64_t since, upto;
		unsigned number; /* of the subscription */
		int err;
	} read;
};

/** job_new - copies @frame. Return: 0, ERR_NOMEM */
int job_new(struct conn *conn, struct loop *loop, struct peer *peer, struct bytes frame, unsigned requests,
	    struct job **ret) WARN_UNUSED;
void job_free(struct job *job);

#define POOL_SPARES 14 /* threads beside those that work */

/** pool_waits - the calling thread begins or ends to wait for a disk; nothing if it is none of a pool's */
void pool_waits(bool waits);

/** pool_new - start workers, @threads of which are at work at once. Return: 0, ERR_NOMEM, ERR_CRYPTO */
int pool_new(struct service *svc, unsigned threads, struct pool **ret) WARN_UNUSED;

/**
 * pool_submit - takes @job; on ERR_OVERLOADED it stays the caller's. Any loop.
 *
 * A full queue still takes one that is to keep its order: each connection has at most one there, and if one were refused, those that
 * were sent behind it would be executed without it. And one that reads for a subscriber, of which each loop has at most one there:
 * who fills the queue must not end the subscriptions of others.
 */
int pool_submit(struct pool *pool, struct job *job) WARN_UNUSED;

/**
 * pool_spread - call @item(@work, i) for each i below @n, here and on workers for which no frame waits; returns when all are done
 *
 * Within the pool's limit, and piece by piece: a frame that comes goes before the next item. Others than the calling thread wipe what
 * an item leaves on stack and in registers before it counts as done.
 */
void pool_spread(struct pool *pool, void (*item)(void *work, size_t i), void *work, size_t n);

size_t pool_queued(struct pool *pool);

/** pool_cancel - give all queued jobs back to their loops, undone. Any thread. */
void pool_cancel(struct pool *pool);

/** pool_free - stop and join the workers; when no loop waits for results any more, so that the queue is empty */
void pool_free(struct pool *pool);

#endif
