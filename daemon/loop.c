#include "daemon/loop.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/conn.h"
#include "daemon/daemon.h"

#define DRAIN_MS      20000 /* then whoever does not read his answers is cut off */
#define DRAIN_TICK_MS 100

#define DISMISS_TICK_MS 500

/* ---- from other threads ---- */

static void wake(struct loop *loop)
{
	/* under the mutex, so that a post never meets a handle that is being closed */
	if (!loop->closing)
		(void)uv_async_send(&loop->wake); /* fails for no open handle */
}

void loop_post_newcomer(struct loop *loop, struct newcomer *n)
{
	(void)pthread_mutex_lock(&loop->lock);
	n->next = loop->newcomers;
	loop->newcomers = n;
	wake(loop);
	(void)pthread_mutex_unlock(&loop->lock);
}

void loop_post_job(struct loop *loop, struct job *job)
{
	(void)pthread_mutex_lock(&loop->lock);
	job->next = loop->done;
	loop->done = job;
	wake(loop);
	(void)pthread_mutex_unlock(&loop->lock);
}

static void ask(struct loop *loop, bool *flag)
{
	(void)pthread_mutex_lock(&loop->lock);
	*flag = true;
	wake(loop);
	(void)pthread_mutex_unlock(&loop->lock);
}

void loop_post_sweep(struct loop *loop)
{
	ask(loop, &loop->sweep_asked);
}

void loop_post_drain(struct loop *loop)
{
	ask(loop, &loop->drain_asked);
}

void loop_post_feed(struct loop *loop)
{
	ask(loop, &loop->feed_asked);
}

/* ---- on the loop's own thread ---- */

static void flush_dirty(struct loop *loop)
{
	while (loop->dirty) {
		struct conn *conn = loop->dirty;

		loop->dirty = conn->next_dirty;
		conn->is_dirty = false;
		conn_flush(conn);
	}
}

static void close_handles(struct loop *loop)
{
	(void)pthread_mutex_lock(&loop->lock);
	loop->closing = true;
	uv_close((uv_handle_t *)&loop->wake, NULL);
	(void)pthread_mutex_unlock(&loop->lock);
	uv_close((uv_handle_t *)&loop->after_poll, NULL);
	uv_close((uv_handle_t *)&loop->resume, NULL);
	uv_close((uv_handle_t *)&loop->auth_timer, NULL);
	uv_close((uv_handle_t *)&loop->drain_timer, NULL);
	uv_close((uv_handle_t *)&loop->dismiss_timer, NULL);
}

static void go_on_draining(struct loop *loop)
{
	if (!loop->draining || loop->closing || loop->jobs)
		return;
	for (struct conn *conn = loop->conns, *next; conn; conn = next) {
		next = conn->next;
		conn_finish(conn);
	}
	if (!loop->n_conns)
		close_handles(loop);
}

static void resume_resting(uv_idle_t *handle)
{
	struct loop *loop = handle->data;
	struct conn *next, *conn = loop->resting;

	loop->resting = NULL; /* whoever spends this turn too waits for the next */
	for (; conn; conn = next) {
		next = conn->next_resting;
		conn_resume(conn);
	}
	flush_dirty(loop);
	if (!loop->resting)
		(void)uv_idle_stop(handle); /* always succeeds; polling may block from now on */
}

static void after_poll(uv_check_t *handle)
{
	struct loop *loop = handle->data;

	loop->turn++;
	flush_dirty(loop);
	if (loop->resting)
		(void)uv_idle_start(&loop->resume, resume_resting);
	go_on_draining(loop);
}

static void sweep(struct loop *loop)
{
	for (struct conn *conn = loop->conns; conn; conn = conn->next) {
		if (peer_is_stale(conn->peer))
			conn_close(conn, "its token was replaced");
	}
}

static void force_end(struct loop *loop)
{
	log_warning("connections that did not finish in %d s and are closed: %zu", DRAIN_MS / 1000, loop->n_conns);
	pool_cancel(loop->daemon->pool);
	for (struct conn *conn = loop->conns; conn; conn = conn->next)
		conn_close(conn, "drained too long");
}

static void on_drain_tick(uv_timer_t *handle)
{
	struct loop *loop = handle->data;
	uint64_t now = uv_now(&loop->uv);

	for (struct conn *conn = loop->conns; conn; conn = conn->next) {
		if (conn->state == CONN_LINGERING && now - conn->since_ms >= CONN_LINGER_MS)
			conn_close(conn, "the peer did not close");
	}
	if (now - loop->draining_since_ms >= DRAIN_MS)
		force_end(loop);
}

static void start_draining(struct loop *loop)
{
	if (loop->draining)
		return;
	loop->draining = true;
	loop->draining_since_ms = uv_now(&loop->uv);
	for (struct conn *conn = loop->conns; conn; conn = conn->next)
		conn_flush(conn); /* what waited for the peer to read is done now */
	(void)uv_timer_start(&loop->drain_timer, on_drain_tick, DRAIN_TICK_MS, DRAIN_TICK_MS);
}

static void start_newcomers(struct loop *loop, struct newcomer *n)
{
	struct newcomer *next;

	for (; n; n = next) {
		next = n->next;
		if (loop->draining) {
			(void)close(n->fd); /* nothing was sent on it */
			peer_unref(n->peer);
			atomic_fetch_sub(&loop->daemon->connections, 1);
		} else {
			conn_start(loop, n);
		}
		free(n);
	}
}

static void take_back(struct job *job)
{
	struct job *next, *in_order = NULL;

	for (; job; job = next) {
		next = job->next;
		job->next = in_order;
		in_order = job;
	}
	for (; in_order; in_order = next) {
		next = in_order->next;
		if (in_order->reads)
			feed_read_done(in_order);
		else
			conn_job_done(in_order->conn, in_order);
	}
}

static void on_wake(uv_async_t *handle)
{
	struct loop *loop = handle->data;
	struct newcomer *newcomers;
	struct job *done;
	bool sweep_asked, drain_asked, feed_asked;

	(void)pthread_mutex_lock(&loop->lock);
	newcomers = loop->newcomers;
	loop->newcomers = NULL;
	done = loop->done;
	loop->done = NULL;
	sweep_asked = loop->sweep_asked;
	loop->sweep_asked = false;
	drain_asked = loop->drain_asked;
	feed_asked = loop->feed_asked;
	loop->feed_asked = false;
	(void)pthread_mutex_unlock(&loop->lock);

	start_newcomers(loop, newcomers);
	take_back(done);
	if (sweep_asked) {
		sweep(loop);
		loop_watch_strangers(loop); /* the time they have may have changed */
	}
	if (feed_asked || sweep_asked) /* a sweep comes with an unlocking, too */
		feed_serve(loop);
	if (drain_asked)
		start_draining(loop);
}

static void on_dismiss_tick(uv_timer_t *handle)
{
	struct loop *loop = handle->data;
	uint64_t now = uv_now(&loop->uv);
	bool any = false;

	for (struct conn *conn = loop->conns; conn; conn = conn->next) {
		if (!conn->is_dismissed || conn->state == CONN_CLOSING)
			continue;
		if (now - conn->dismissed_ms >= CONN_DISMISS_MS)
			conn_close(conn, "dismissed, and the peer did not read to the end");
		else
			any = true;
	}
	if (!any)
		(void)uv_timer_stop(handle); /* always succeeds */
}

void loop_watch_dismissed(struct loop *loop)
{
	if (!uv_is_active((uv_handle_t *)&loop->dismiss_timer))
		(void)uv_timer_start(&loop->dismiss_timer, on_dismiss_tick, DISMISS_TICK_MS, DISMISS_TICK_MS);
}

static uint64_t shown_out_ms(const struct loop *loop)
{
	return loop->strangers->since_ms + atomic_load(&loop->daemon->auth_timeout_ms);
}

static void on_auth_timeout(uv_timer_t *handle)
{
	struct loop *loop = handle->data;

	while (loop->strangers && shown_out_ms(loop) <= uv_now(&loop->uv))
		conn_close(loop->strangers, "did not authenticate in time");
	loop_watch_strangers(loop);
}

void loop_watch_strangers(struct loop *loop)
{
	uint64_t now = uv_now(&loop->uv), due;

	if (!loop->strangers)
		return;
	due = shown_out_ms(loop);
	(void)uv_timer_start(&loop->auth_timer, on_auth_timeout, due > now ? due - now : 0, 0); /* or starts it anew */
}

void loop_run(struct loop *loop)
{
	(void)uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void set_data(struct loop *loop)
{
	loop->wake.data = loop;
	loop->after_poll.data = loop;
	loop->resume.data = loop;
	loop->auth_timer.data = loop;
	loop->drain_timer.data = loop;
	loop->dismiss_timer.data = loop;
}

int loop_init(struct loop *loop, struct daemon *daemon, unsigned index)
{
	int r;

	*loop = (struct loop){ .daemon = daemon, .index = index };
	loop->strangers_tail = &loop->strangers;
	feed_init(&loop->feed);
	r = service_worker_init(&daemon->svc, &loop->worker);
	if (r < 0) {
		service_worker_fini(&loop->worker);
		return r;
	}
	if (uv_loop_init(&loop->uv) < 0) {
		service_worker_fini(&loop->worker);
		return ERR_IO;
	}
	(void)pthread_mutex_init(&loop->lock, NULL); /* with default attributes glibc cannot fail here */
	r = uv_async_init(&loop->uv, &loop->wake, on_wake);
	if (r < 0) {
		(void)uv_loop_close(&loop->uv);
		service_worker_fini(&loop->worker);
		return ERR_IO;
	}
	/* these only link into the loop and cannot fail */
	(void)uv_check_init(&loop->uv, &loop->after_poll);
	(void)uv_idle_init(&loop->uv, &loop->resume);
	(void)uv_timer_init(&loop->uv, &loop->auth_timer);
	(void)uv_timer_init(&loop->uv, &loop->drain_timer);
	(void)uv_timer_init(&loop->uv, &loop->dismiss_timer);
	set_data(loop);
	(void)uv_check_start(&loop->after_poll, after_poll);
	return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void loop_fini(struct loop *loop)
{
	loop->closing = true;
	uv_walk(&loop->uv, close_handle, NULL); /* what others had on it, or all of it if it never ran */
	(void)uv_run(&loop->uv, UV_RUN_DEFAULT);
	if (uv_loop_close(&loop->uv) < 0)
		log_error("event loop %u was left with open handles: a defect of e2eed", loop->index);
	service_worker_fini(&loop->worker);
	feed_fini(&loop->feed);
	(void)pthread_mutex_destroy(&loop->lock);
	sodium_memzero(loop->read_buf, sizeof(loop->read_buf));
}
