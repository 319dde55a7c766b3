/*
 * conn - one connection: reading, serving, writing, closing
 *
 *   OPEN ──peer closed its side──> FINISHING ──all answered and sent──> CLOSING ──handle closed, last job back──> freed
 *     └───────────error, stale session, time-out, drain──────────────────^
 *
 * Back-pressure over queues: a connection with too many requests in flight or too much unsent is not read from. Until it has
 * authenticated it has one frame in flight, so that its steps see each other.
 */
#ifndef E2EED_DAEMON_CONN_H
#define E2EED_DAEMON_CONN_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "daemon/loop.h"
#include "proto/frame.h"
#include "proto/peer.h"

enum conn_state { CONN_OPEN, CONN_FINISHING, CONN_CLOSING, CONN_NR };

struct conn {
	struct loop *loop;	  /* borrowed */
	struct conn *prev, *next; /* of all */
	struct conn *next_dirty, *next_resting, *next_stranger;
	bool is_dirty, is_resting, is_stranger;
	enum conn_state state;
	bool handle_closed, reading;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_pipe_t pipe;
		uv_tcp_t tcp;
	} uv;
	uv_write_t write;
	struct peer *peer; /* owned reference */
	struct frame_reader frames;
	struct buf held;    /* received, but not served yet: in flight are enough */
	struct buf out;	    /* answers that gather */
	struct buf sending; /* given to uv_write */
	unsigned in_flight; /* requests in the pool */
	unsigned jobs;	    /* frames in the pool */
	size_t read_this_turn;
	uint64_t turn;
	uint64_t deadline_ms; /* on the loop's clock: when a stranger is shown out */
};

/** conn_start - take over @n->fd and @n->peer; frees nothing of @n itself. On failure both are released and a line is logged. */
void conn_start(struct loop *loop, struct newcomer *n);

/** conn_job_done - the loop has a result; takes @job */
void conn_job_done(struct conn *conn, struct job *job);

void conn_flush(struct conn *conn);  /* write what has gathered */
void conn_resume(struct conn *conn); /* its next turn */
void conn_close(struct conn *conn, const char *why);

/** conn_finish - no more reading; close when all is answered and sent */
void conn_finish(struct conn *conn);

#endif
