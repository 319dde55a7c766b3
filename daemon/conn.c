#include "daemon/conn.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/log.h"
#include "daemon/daemon.h"

#define TURN_BYTES     ((size_t)256 << 10) /* read and answered per connection and wake-up, so that the others are served */
#define UNSENT_MAX     ((size_t)8 << 20)  /* above it the peer must read first */
#define UNSENT_MAX_NEW ((size_t)64 << 10) /* and before he has authenticated */
#define IN_FLIGHT_MAX  ((size_t)8 << 20)  /* bytes of frames that wait or are at work; above it no more is read */
#define OUT_MAX	       ((size_t)1 << 30)
#define KEEP_MEMORY    ((size_t)64 << 10)

static const char *const state_names[CONN_NR] = { "open", "finishing", "lingering", "closing" };

#define BIT(n_) (1u << (n_))
static const unsigned allowed[CONN_NR] = {
	[CONN_OPEN] = BIT(CONN_FINISHING) | BIT(CONN_CLOSING),
	[CONN_FINISHING] = BIT(CONN_LINGERING) | BIT(CONN_CLOSING),
	[CONN_LINGERING] = BIT(CONN_CLOSING),
};

static void move_to(struct conn *conn, enum conn_state next, const char *why)
{
	assert(allowed[conn->state] & BIT(next));
	log_debug("connection of %s: %s -> %s (%s)", conn->peer->origin, state_names[conn->state], state_names[next],
		  why);
	conn->state = next;
}

/* ---- the loop's lists ---- */

static void mark_dirty(struct conn *conn)
{
	if (conn->is_dirty)
		return;
	conn->is_dirty = true;
	conn->next_dirty = conn->loop->dirty;
	conn->loop->dirty = conn;
}

static void remove_from(struct conn **head, struct conn *conn, struct conn **(*next)(struct conn *))
{
	while (*head && *head != conn)
		head = next(*head);
	if (*head)
		*head = *next(conn);
}

static struct conn **next_dirty(struct conn *c)
{
	return &c->next_dirty;
}

static struct conn **next_resting(struct conn *c)
{
	return &c->next_resting;
}

static struct conn **next_stranger(struct conn *c)
{
	return &c->next_stranger;
}

static void forget_stranger(struct conn *conn)
{
	struct loop *loop = conn->loop;

	if (!conn->is_stranger)
		return;
	conn->is_stranger = false;
	remove_from(&loop->strangers, conn, next_stranger);
	loop->strangers_tail = &loop->strangers;
	while (*loop->strangers_tail)
		loop->strangers_tail = &(*loop->strangers_tail)->next_stranger;
}

/* ---- end ---- */

static void conn_free(struct conn *conn)
{
	struct loop *loop = conn->loop;

	if (conn->is_dirty)
		remove_from(&loop->dirty, conn, next_dirty);
	if (conn->is_resting)
		remove_from(&loop->resting, conn, next_resting);
	forget_stranger(conn);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		loop->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	loop->n_conns--;
	if (loop->draining && !loop->closing)
		(void)uv_async_send(&loop->wake); /* the last one out lets the loop end */
	atomic_fetch_sub(&loop->daemon->connections, 1);
	frame_reader_fini(&conn->frames);
	buf_fini(&conn->held);
	buf_fini(&conn->out);
	buf_fini(&conn->sending);
	buf_fini(&conn->farewell);
	peer_unref(conn->peer);
	free(conn);
}

/* It is done with, in whatever way. */
static void forget_job(struct conn *conn, struct job *job)
{
	conn->loop->jobs--;
	conn->jobs--;
	conn->in_flight -= job->requests;
	conn->bytes_in_flight -= job->in.n;
	job_free(job);
}

static struct job *take_waiting(struct conn *conn)
{
	struct job *job = conn->waiting;

	if (!job)
		return NULL;
	conn->waiting = TAKE(job->next);
	if (!conn->waiting)
		conn->waiting_tail = &conn->waiting;
	return job;
}

static struct job *take_put_back(struct conn *conn)
{
	struct job *job = conn->put_back;

	if (job)
		conn->put_back = TAKE(job->next);
	return job;
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;

	conn->handle_closed = true;
	if (conn->jobs == 0)
		conn_free(conn);
}

void conn_close(struct conn *conn, const char *why)
{
	struct job *job;

	if (conn->state == CONN_CLOSING)
		return;
	move_to(conn, CONN_CLOSING, why);
	feed_leave(conn);
	forget_stranger(conn);
	buf_fini(&conn->held);
	while ((job = take_waiting(conn)) || (job = take_put_back(conn)))
		forget_job(conn, job);
	uv_close(&conn->uv.handle, on_closed);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct conn *conn = handle->data;

	(void)suggested;
	*ret = uv_buf_init((char *)conn->loop->read_buf, LOOP_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void settle(struct conn *conn);
static void send_out(struct conn *conn);

/* Has it had its share of this wake-up? */
static bool is_spent(struct conn *conn, size_t more)
{
	if (conn->turn != conn->loop->turn) {
		conn->turn = conn->loop->turn;
		conn->moved_this_turn = 0;
	}
	conn->moved_this_turn += more;
	return conn->moved_this_turn >= TURN_BYTES;
}

static bool may_serve(const struct conn *conn)
{
	bool is_new = peer_role(conn->peer) == ROLE_NEW;

	if (conn->state == CONN_LINGERING || conn->state == CONN_CLOSING || conn->is_resting ||
	    (is_new && conn->jobs > 0))
		return false;
	return conn->in_flight < atomic_load_explicit(&conn->loop->daemon->svc.max_in_flight, memory_order_relaxed) &&
	       conn->bytes_in_flight < IN_FLIGHT_MAX &&
	       conn->out.n + conn->sending.n < (is_new ? UNSENT_MAX_NEW : UNSENT_MAX);
}

static void refuse(struct conn *conn, struct bytes frame)
{
	unsigned requests;

	(void)service_handle(&conn->loop->daemon->svc, &conn->loop->worker, conn->peer, frame, SERVE_OVERLOADED,
			     &conn->out, &requests); /* refusing is always done at once */
	mark_dirty(conn);
}

/* To the pool; what it does not take is refused. Return: false if it was. */
static bool hand_over(struct conn *conn, struct job *job)
{
	if (pool_submit(conn->loop->daemon->pool, job) == 0) {
		conn->in_order |= job->in_order;
		return true;
	}
	refuse(conn, buf_bytes(&job->in));
	forget_job(conn, job);
	return false;
}

static void submit(struct conn *conn, struct bytes frame, unsigned requests, bool in_order)
{
	struct job *job;

	if (job_new(conn, conn->loop, conn->peer, frame, requests, &job) < 0) {
		refuse(conn, frame);
		return;
	}
	job->in_order = in_order;
	conn->jobs++;
	conn->in_flight += requests;
	conn->bytes_in_flight += frame.n;
	conn->loop->jobs++;
	if (in_order && (conn->in_order || conn->waiting)) {
		*conn->waiting_tail = job;
		conn->waiting_tail = &job->next;
		return;
	}
	(void)hand_over(conn, job); /* if it was refused, all is said */
}

/* Not begun: the next of those that keep their order, or one of the others. */
static void put_back(struct conn *conn, struct job *job)
{
	struct job **head = job->in_order ? &conn->waiting : &conn->put_back;

	job->undone = false;
	job->next = *head;
	if (job->in_order && !conn->waiting)
		conn->waiting_tail = &job->next;
	*head = job;
}

/* What waits here goes to the pool, unless the peer is to read first. In a drain it need not: nothing comes in any more. */
static void submit_waiting(struct conn *conn)
{
	bool is_full = !conn->loop->draining && conn->out.n + conn->sending.n >= UNSENT_MAX;
	struct job *job;

	atomic_store_explicit(&conn->peer->is_full, is_full, memory_order_relaxed);
	while (!is_full && !conn->in_order && (job = take_waiting(conn)))
		(void)hand_over(conn, job); /* if it was refused, all is said */
	while (!is_full && (job = take_put_back(conn)))
		(void)hand_over(conn, job);
}

static void rest(struct conn *conn)
{
	struct loop *loop = conn->loop;

	if (conn->is_resting)
		return;
	conn->is_resting = true;
	conn->next_resting = loop->resting;
	loop->resting = conn;
}

static void serve_frame(struct conn *conn, struct bytes frame)
{
	struct loop *loop = conn->loop;
	unsigned requests;
	enum served served =
		service_handle(&loop->daemon->svc, &loop->worker, conn->peer, frame, SERVE_FAST, &conn->out, &requests);

	if (served == SERVED)
		feed_note(conn, &loop->worker.subscription);
	else
		submit(conn, frame, requests, served == SERVED_IN_ORDER);
}

static void serve(struct conn *conn, struct bytes *in)
{
	struct bytes frame;

	frame_reader_set_max(&conn->frames,
			     atomic_load_explicit(&conn->loop->daemon->svc.max_frame_bytes, memory_order_relaxed));
	while (may_serve(conn)) {
		size_t before = conn->out.n;
		int r = frame_next(&conn->frames, in, &frame);

		if (r == 0)
			break;
		if (r < 0)
			service_refuse(&conn->out, r, r == ERR_TOO_LARGE ? conn->frames.max : 0);
		else
			serve_frame(conn, frame);
		frame_done(&conn->frames); /* this may be the last call for long */
		if (is_spent(conn, conn->out.n - before))
			rest(conn);
	}
	if (conn->is_stranger && peer_role(conn->peer) != ROLE_NEW)
		forget_stranger(conn);
	if (conn->out.n || buf_err(&conn->out) < 0)
		mark_dirty(conn);
}

static void on_shut_down(uv_shutdown_t *req, int status)
{
	struct conn *conn = req->data;

	if (status < 0 && conn->state != CONN_CLOSING)
		conn_close(conn, uv_err_name(status));
}

static void linger(struct conn *conn)
{
	move_to(conn, CONN_LINGERING, "all answered");
	conn->since_ms = uv_now(&conn->loop->uv);
	conn->shutdown.data = conn;
	if (uv_shutdown(&conn->shutdown, &conn->uv.stream, on_shut_down) < 0) {
		conn_close(conn, "the peer is gone");
		return;
	}
	settle(conn);
}

/* What was held back first, then decide whether to read on, or to close. After anything that may have changed the answer. */
static void settle(struct conn *conn)
{
	bool want;

	if (conn->state == CONN_CLOSING)
		return;
	submit_waiting(conn);
	if (conn->held.n && may_serve(conn)) {
		struct bytes in = buf_bytes(&conn->held);

		serve(conn, &in);
		if (conn->state == CONN_CLOSING)
			return;
		buf_drop_front(&conn->held, conn->held.n - in.n);
		if (!conn->held.n && conn->held.cap > KEEP_MEMORY)
			buf_fini(&conn->held);
	}
	if (conn->farewell.n && conn->jobs == 0) {
		buf_put_bytes(&conn->out, buf_bytes(&conn->farewell));
		buf_fini(&conn->farewell);
		send_out(conn);
		if (conn->state == CONN_CLOSING)
			return;
	}
	feed_sent(conn);
	if (conn->state == CONN_FINISHING && conn->jobs == 0 && !conn->held.n && !conn->out.n && !conn->sending.n) {
		if (conn->saw_eof)
			conn_close(conn, "all answered");
		else
			linger(conn);
		return;
	}
	want = conn->state == CONN_LINGERING || (conn->state == CONN_OPEN && !conn->held.n && may_serve(conn));
	if (want && !conn->reading)
		conn->reading = uv_read_start(&conn->uv.stream, on_alloc, on_read) == 0;
	else if (!want && conn->reading) {
		(void)uv_read_stop(&conn->uv.stream); /* always succeeds */
		conn->reading = false;
	}
}

void conn_resume(struct conn *conn)
{
	conn->is_resting = false;
	settle(conn);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *conn = stream->data;
	struct bytes in;

	conn->saw_eof |= n == UV_EOF;
	if (n == UV_EOF && conn->state == CONN_OPEN) {
		conn_finish(conn);
		return;
	}
	if (n < 0) {
		conn_close(conn, uv_err_name((int)n));
		return;
	}
	if (conn->state == CONN_LINGERING) {
		sodium_memzero(buf->base, (size_t)n);
		return;
	}
	in = BYTES(buf->base, (size_t)n);
	serve(conn, &in);
	if (in.n && conn->state != CONN_CLOSING) {
		buf_put_bytes(&conn->held, in);
		if (buf_err(&conn->held) < 0)
			conn_close(conn, "out of memory");
	}
	sodium_memzero(buf->base, (size_t)n);
	if (is_spent(conn, (size_t)n))
		rest(conn);
	settle(conn);
}

size_t conn_unsent(const struct conn *conn)
{
	return conn->out.n + uv_stream_get_write_queue_size(&conn->uv.stream);
}

size_t conn_untold(const struct conn *conn)
{
	return conn->told + conn->told_sending;
}

void conn_put(struct conn *conn, struct bytes frames)
{
	buf_put_bytes(&conn->out, frames);
	conn->told += frames.n;
	mark_dirty(conn);
}

void conn_dismiss(struct conn *conn)
{
	conn->is_dismissed = true;
	conn->dismissed_ms = uv_now(&conn->loop->uv);
	loop_watch_dismissed(conn->loop);
	buf_fini(&conn->held);
	mark_dirty(conn); /* the wake-up finds the farewell */
	if (conn->state == CONN_OPEN)
		move_to(conn, CONN_FINISHING, "dismissed");
}

void conn_finish(struct conn *conn)
{
	if (conn->state == CONN_OPEN)
		move_to(conn, CONN_FINISHING, "no more requests");
	feed_leave(conn);
	settle(conn);
}

/* ---- writing ---- */

static void forget_sent(struct buf *b)
{
	if (b->cap > KEEP_MEMORY)
		buf_fini(b);
	else
		buf_reset(b);
}

static void on_written(uv_write_t *req, int status)
{
	struct conn *conn = req->data;

	forget_sent(&conn->sending);
	conn->told_sending = 0;
	if (conn->state == CONN_CLOSING)
		return;
	if (status < 0)
		conn_close(conn, uv_err_name(status));
	else
		conn_flush(conn);
}

static void send_out(struct conn *conn)
{
	struct buf swap;
	uv_buf_t part;
	int n;

	if (conn->state == CONN_CLOSING || conn->sending.n)
		return;
	if (buf_err(&conn->out) < 0) {
		conn_close(conn, "an answer did not fit into memory");
		return;
	}
	if (!conn->out.n)
		return;
	part = uv_buf_init((char *)conn->out.p, (unsigned)(conn->out.n < UINT_MAX ? conn->out.n : UINT_MAX));
	n = uv_try_write(&conn->uv.stream, &part, 1);
	if (n < 0 && n != UV_EAGAIN) {
		conn_close(conn, uv_err_name(n));
		return;
	}
	if (n > 0 && (size_t)n == conn->out.n) {
		forget_sent(&conn->out);
		conn->told = 0;
		return;
	}
	swap = conn->sending;
	conn->sending = conn->out;
	conn->out = swap;
	conn->told_sending = conn->told;
	conn->told = 0;
	n = n < 0 ? 0 : n;
	part = uv_buf_init((char *)conn->sending.p + n, (unsigned)(conn->sending.n - (size_t)n));
	conn->write.data = conn;
	n = uv_write(&conn->write, &conn->uv.stream, &part, 1, on_written);
	if (n < 0) {
		buf_reset(&conn->sending);
		conn_close(conn, uv_err_name(n));
	}
}

void conn_flush(struct conn *conn)
{
	send_out(conn);
	settle(conn);
}

/* The buffer itself, where it can be: answers may be large. */
static void gather(struct conn *conn, struct buf *answer)
{
	struct buf swap = conn->out;

	if (conn->out.n || buf_err(&conn->out) < 0) {
		buf_put_bytes(&conn->out, buf_bytes(answer));
		return;
	}
	conn->out = *answer;
	conn->out.max = OUT_MAX;
	*answer = swap;
}

void conn_job_back(struct conn *conn)
{
	conn->loop->jobs--;
	conn->jobs--;
	if (conn->state != CONN_CLOSING)
		settle(conn);
	else if (conn->handle_closed && conn->jobs == 0)
		conn_free(conn);
}

void conn_job_done(struct conn *conn, struct job *job)
{
	atomic_fetch_sub_explicit(&conn->peer->answered, job->out.n, memory_order_relaxed);
	if (job->in_order)
		conn->in_order = false;
	if (job->undone && conn->state != CONN_CLOSING) {
		put_back(conn, job);
		settle(conn);
		return;
	}
	conn->in_flight -= job->requests;
	conn->bytes_in_flight -= job->in.n;
	if (conn->state == CONN_CLOSING) {
		job_free(job);
		conn_job_back(conn);
		return;
	}
	if (buf_err(&job->out) < 0)
		conn_close(conn, "an answer did not fit into memory");
	else
		gather(conn, &job->out);
	feed_note(conn, &job->subscription);
	job_free(job);
	if (conn->is_stranger && peer_role(conn->peer) != ROLE_NEW)
		forget_stranger(conn);
	if (conn->state != CONN_CLOSING)
		mark_dirty(conn);
	conn_job_back(conn);
}

/* ---- start ---- */

static void watch_stranger(struct conn *conn)
{
	struct loop *loop = conn->loop;

	conn->is_stranger = true;
	conn->since_ms = uv_now(&loop->uv);
	*loop->strangers_tail = conn;
	loop->strangers_tail = &conn->next_stranger;
	loop_watch_strangers(loop);
}

void conn_start(struct loop *loop, struct newcomer *n)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	int r = UV_ENOMEM;

	if (conn)
		r = n->tcp ? uv_tcp_init(&loop->uv, &conn->uv.tcp) : uv_pipe_init(&loop->uv, &conn->uv.pipe, 0);
	if (r < 0) {
		log_error("a connection is dropped: %s", uv_strerror(r));
		free(conn);
		(void)close(n->fd); /* nothing was sent on it */
		peer_unref(n->peer);
		return;
	}
	conn->uv.handle.data = conn;
	conn->loop = loop;
	conn->peer = n->peer;
	conn->held = BUF_INIT(LOOP_READ_SIZE);
	conn->out = BUF_INIT(OUT_MAX);
	conn->sending = BUF_INIT(OUT_MAX);
	conn->waiting_tail = &conn->waiting;
	conn->farewell = BUF_INIT(4096);
	frame_reader_init(&conn->frames, atomic_load(&loop->daemon->svc.max_frame_bytes));
	conn->next = loop->conns;
	if (conn->next)
		conn->next->prev = conn;
	loop->conns = conn;
	loop->n_conns++;
	r = n->tcp ? uv_tcp_open(&conn->uv.tcp, n->fd) : uv_pipe_open(&conn->uv.pipe, n->fd);
	if (r < 0) {
		(void)close(n->fd); /* libuv did not take it */
		conn_close(conn, uv_err_name(r));
		return;
	}
	if (n->tcp)
		(void)uv_tcp_nodelay(&conn->uv.tcp, 1); /* only slower without */
	if (peer_role(conn->peer) == ROLE_NEW)
		watch_stranger(conn);
	settle(conn);
}
