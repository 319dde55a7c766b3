/*
 * conn - one connection: reading, serving, writing, closing
 *
 *   OPEN ──peer closed its side, or drain──> FINISHING ──all answered and sent──> LINGERING ──peer closed too──> CLOSING
 *     └──────────────────────error, stale session, time-out───────────────────────────────────────────────────────^
 *
 * A closing connection is freed when its handle has closed and its last job is back. Lingering is for a drain: a socket that is
 * closed with something unread in it takes the answers back that the peer has not fetched yet. So our side is shut down, and what
 * still comes is thrown away until the peer has closed, too.
 *
 * Back-pressure over queues: a connection with too many requests or bytes in flight or too much unsent is not read from, and what it
 * has asked for already and no worker has begun is put back, since a short frame may ask for a long answer. Until it has
 * authenticated it has one frame in flight, so that its steps see each other. Of frames that are to be executed in the order sent one
 * is in the pool at a time; the others wait here, and go with the connection when it closes before their turn.
 */
#ifndef E2EED_DAEMON_CONN_H
#define E2EED_DAEMON_CONN_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "daemon/feed.h"
#include "daemon/loop.h"
#include "proto/frame.h"
#include "proto/peer.h"

enum conn_state { CONN_OPEN, CONN_FINISHING, CONN_LINGERING, CONN_CLOSING, CONN_NR };

#define CONN_LINGER_MS	2000
#define CONN_DISMISS_MS 5000

struct conn {
	struct loop *loop;	  /* borrowed */
	struct conn *prev, *next; /* of all */
	struct conn *next_dirty, *next_resting, *next_stranger;
	bool is_dirty, is_resting, is_stranger;
	enum conn_state state;
	bool handle_closed, reading;
	bool saw_eof; /* the peer has closed its side: nothing unread can be left */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_pipe_t pipe;
		uv_tcp_t tcp;
	} uv;
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct peer *peer; /* owned reference */
	struct frame_reader frames;
	struct buf held;		     /* received, but not served yet: in flight are enough */
	struct buf out;			     /* answers that gather */
	struct buf sending;		     /* given to uv_write */
	size_t told, told_sending;	     /* bytes of these two that no request asked for */
	unsigned in_flight;		     /* requests in the pool, and waiting */
	unsigned jobs;			     /* frames in the pool, and waiting */
	size_t bytes_in_flight;		     /* of these frames */
	struct job *waiting, **waiting_tail; /* owned: to be executed in order, behind the one that is in the pool */
	bool in_order;			     /* one is */
	struct job *put_back;		     /* owned: of no order, waiting until less is unsent */
	size_t moved_this_turn;		     /* bytes read, and bytes of answers made */
	uint64_t turn;
	struct feed_seat seat; /* among the subscribed ones */
	struct buf farewell;   /* what it is told last, behind all answers */
	bool is_dismissed;
	uint64_t dismissed_ms; /* on the loop's clock */
	uint64_t since_ms;     /* on the loop's clock: of its arrival; from CONN_LINGERING on, of that */
};

/** conn_start - take over @n->fd and @n->peer; frees nothing of @n itself. On failure both are released and a line is logged. */
void conn_start(struct loop *loop, struct newcomer *n);

/** conn_job_done - the loop has a result; takes @job */
void conn_job_done(struct conn *conn, struct job *job);

void conn_flush(struct conn *conn);  /* write what has gathered */
void conn_resume(struct conn *conn); /* its next turn */
void conn_close(struct conn *conn, const char *why);

/** conn_job_back - a job of the connection's, whose result was seen to, is no more; the connection may be freed */
void conn_job_back(struct conn *conn);

size_t conn_unsent(const struct conn *conn); /* bytes that the kernel has not taken yet */
size_t conn_untold(const struct conn *conn); /* of these, what was conn_put() */

/** conn_put - append frames that no request asked for, which may stand there already; they are sent with the wake-up */
void conn_put(struct conn *conn, struct bytes frames);

/** conn_dismiss - serve it no more, say the farewell once what is under way is sent, and close; soon, if the peer does not read */
void conn_dismiss(struct conn *conn);

/** conn_finish - no more reading; close when all is answered and sent */
void conn_finish(struct conn *conn);

#endif
