#include "daemon/feed.h"

#include <assert.h>

#include "base/log.h"
#include "daemon/conn.h"
#include "daemon/daemon.h"
#include "keystore/event_tail.h"
#include "proto/notice.h"

#define UNTOLD_MAX    ((size_t)1 << 20) /* events unsent to a live one that is not told to go, when something new comes */
#define UNSENT_LITTLE ((size_t)64 << 10) /* below it, one that catches up gets more */
#define AT_ONCE	      128u		 /* events in one step, which takes a millisecond or two for many subscribers */
#define STEPS_AT_ONCE 8u		 /* of those that catch up, before the loop looks after the others */
#define READ_AT_ONCE  512u		 /* events out of the log */
#define TEXT_MAX      16384u		 /* of one event */

void feed_init(struct feed *feed)
{
	*feed = (struct feed){ .own = BUF_INIT(TEXT_MAX), .all = BUF_INIT(TEXT_MAX) };
	atomic_init(&feed->n, 0);
}

void feed_fini(struct feed *feed)
{
	assert(!feed->first);
	buf_fini(&feed->own);
	buf_fini(&feed->all);
}

bool feed_is_empty(const struct feed *feed)
{
	return atomic_load(&feed->n) == 0;
}

/* ---- who is there ---- */

static void link_last(struct feed *feed, struct conn *conn)
{
	conn->seat.prev = feed->last;
	conn->seat.next = NULL;
	*(feed->last ? &feed->last->seat.next : &feed->first) = conn;
	feed->last = conn;
}

static void unlink_seat(struct feed *feed, struct conn *conn)
{
	*(conn->seat.prev ? &conn->seat.prev->seat.next : &feed->first) = conn->seat.next;
	*(conn->seat.next ? &conn->seat.next->seat.prev : &feed->last) = conn->seat.prev;
}

/* It has had its turn: the others have theirs before its next, also when it subscribes anew. */
static void to_the_end(struct feed *feed, struct conn *conn)
{
	unlink_seat(feed, conn);
	link_last(feed, conn);
}

static void set_state(struct conn *conn, enum feed_state state)
{
	struct feed *feed = &conn->loop->feed;

	feed->n_live += (size_t)(state == FEED_LIVE) - (size_t)(conn->seat.state == FEED_LIVE);
	conn->seat.state = state;
}

void feed_leave(struct conn *conn)
{
	struct feed *feed = &conn->loop->feed;

	if (conn->seat.state == FEED_NONE)
		return;
	set_state(conn, FEED_NONE);
	unlink_seat(feed, conn);
	atomic_fetch_sub(&feed->n, 1);
}

static void join(struct conn *conn, const struct subscription *asked)
{
	struct feed *feed = &conn->loop->feed;

	if (conn->seat.state == FEED_NONE) {
		link_last(feed, conn);
		atomic_fetch_add(&feed->n,
				 1); /* before anything is looked at: whoever commits later sees that we wait */
	}
	set_state(conn, FEED_CATCHING_UP);
	conn->seat.upto = asked->since;
	conn->seat.history = asked->history;
	conn->seat.number++;
	conn->seat.full = false;
	loop_post_feed(conn->loop);
}

void feed_note(struct conn *conn, const struct subscription *asked)
{
	if (!asked->asked || conn->state != CONN_OPEN)
		return;
	if (asked->on)
		join(conn, asked);
	else
		feed_leave(conn);
}

void feed_sent(struct conn *conn)
{
	if (!conn->seat.full || conn_unsent(conn) > UNSENT_LITTLE)
		return;
	conn->seat.full = false;
	if (conn->seat.state == FEED_CATCHING_UP)
		loop_post_feed(conn->loop);
}

/* Whose session is over gets nothing more, though it is not closed yet. */
static bool may_get(const struct conn *conn)
{
	return conn->state == CONN_OPEN && !peer_is_stale(conn->peer);
}

static bool sees(const struct conn *conn, const struct event *event)
{
	return !conn->peer->app || bytes_eq(event->app_id, app_id(conn->peer->app));
}

/* ---- endings ---- */

static void end(struct conn *conn, int err)
{
	static const char slow[] =
		"you read more slowly than events come; connect again, and subscribe with the seq of "
		"the last event that you have seen as since";
	struct rpc_detail detail = { .name = "why",
				     .str = BYTES_LIT("events cannot be read; the daemon's log says more") };
	uint64_t oldest = 0, newest;

	if (err == ERR_SEQ_TOO_OLD) {
		if (store_event_range(conn->loop->daemon->store, conn->peer->app, &oldest, &newest) < 0)
			return; /* locked meanwhile: what holds is found after the unlocking */
		detail = (struct rpc_detail){ .name = "oldest", .number = (int64_t)oldest, .is_number = true };
	} else if (err == ERR_OVERLOADED) {
		detail.str = bytes_str(slow);
	}
	log_info("subscriber %s is closed behind event %llu: %s", conn->peer->origin,
		 (unsigned long long)conn->seat.upto,
		 err == ERR_OVERLOADED ? "it does not read what is sent" : err_text(err));
	feed_leave(conn);
	notice_end(&conn->farewell, err, &detail);
	conn_dismiss(conn);
}

static bool is_of_another_history(const struct conn *conn)
{
	return conn->seat.history != store_history(conn->loop->daemon->store);
}

/* Another keystore has been unlocked: the same numbers, if it has them, tell of other changes. */
static void end_those_of_before(struct feed *feed)
{
	struct conn *next;

	for (struct conn *conn = feed->first; conn; conn = next) {
		next = conn->seat.next;
		if (is_of_another_history(conn) && may_get(conn))
			end(conn, ERR_SEQ_TOO_OLD);
	}
}

/* ---- those who are live ---- */

static void give(struct feed *feed, struct conn *conn, const struct event *event)
{
	struct buf *text = conn->peer->app ? &feed->own : &feed->all;

	if (conn_untold(conn) > UNTOLD_MAX) { /* not of its answers, which may be long, and which it has asked for */
		end(conn, ERR_OVERLOADED);
		return;
	}
	if (!text->n)
		notice_event(text, event, !conn->peer->app);
	if (buf_err(text) < 0) {
		end(conn, buf_err(text));
		return;
	}
	conn_put(conn, buf_bytes(text));
}

static void give_all(struct feed *feed, const struct event *event)
{
	struct conn *next;

	buf_reset(&feed->own);
	buf_reset(&feed->all);
	for (struct conn *conn = feed->first; conn; conn = next) {
		next = conn->seat.next;
		if (conn->seat.state == FEED_LIVE && event->seq > conn->seat.upto && may_get(conn) && sees(conn, event))
			give(feed, conn, event);
	}
}

/* They fall back to what has to be read, or end; what they have had stands in each seat. */
static void stop_live(struct feed *feed, int r)
{
	struct conn *next;

	for (struct conn *conn = feed->first; conn; conn = next) {
		next = conn->seat.next;
		if (conn->seat.state != FEED_LIVE)
			continue;
		if (r == ERR_SEQ_TOO_OLD)
			end(conn, r);
		else
			set_state(conn, FEED_CATCHING_UP);
	}
}

static void serve_live(struct loop *loop)
{
	struct feed *feed = &loop->feed;
	struct event_note *notes[AT_ONCE];
	uint64_t upto;
	size_t n;
	int r;

	if (!feed->n_live)
		return;
	r = store_recent_events(loop->daemon->store, feed->upto, AT_ONCE, notes, &n, &upto);
	if (r == ERR_LOCKED)
		return; /* they go on after the unlocking */
	if (r < 0) {
		stop_live(feed, r);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		give_all(feed, &notes[i]->event);
		event_note_unref(notes[i]);
	}
	feed->upto = upto;
	for (struct conn *conn = feed->first; conn; conn = conn->seat.next) {
		if (conn->seat.state == FEED_LIVE && conn->seat.upto < upto)
			conn->seat.upto = upto;
	}
	if (n == AT_ONCE)
		loop_post_feed(loop); /* there may be more; others first */
}

/* ---- those who catch up ---- */

static void become_live(struct feed *feed, struct conn *conn)
{
	if (!feed->n_live || conn->seat.upto < feed->upto)
		feed->upto = conn->seat.upto;
	set_state(conn, FEED_LIVE);
}

static void submit_read(struct conn *conn)
{
	struct loop *loop = conn->loop;
	struct job *job = NULL;
	int r;

	if (loop->feed.reading || loop->draining)
		return;
	r = job_new(conn, loop, conn->peer, BYTES_NONE, 0, &job);
	if (r == 0) {
		job->reads = true;
		job->read.since = conn->seat.upto;
		job->read.number = conn->seat.number;
		job->read.err = ERR_LOCKED; /* as for one that comes back undone */
		r = pool_submit(loop->daemon->pool, job);
	}
	if (r < 0) {
		job_free(job);
		end(conn, r);
		return;
	}
	conn->jobs++;
	loop->jobs++;
	loop->feed.reading = conn->seat.reading = true;
	to_the_end(&loop->feed, conn);
}

/* Return: was something done? */
static bool catch_up(struct conn *conn)
{
	struct event_note *notes[AT_ONCE];
	uint64_t upto;
	size_t n;
	int r = store_recent_events(conn->loop->daemon->store, conn->seat.upto, AT_ONCE, notes, &n, &upto);

	if (r == ERR_NOT_FOUND)
		submit_read(conn);
	else if (r == ERR_SEQ_TOO_OLD)
		end(conn, r);
	if (r < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (sees(conn, &notes[i]->event))
			notice_event(&conn->out, &notes[i]->event, !conn->peer->app);
		event_note_unref(notes[i]);
	}
	conn_put(conn, BYTES_NONE);
	conn->seat.upto = upto;
	if (n < AT_ONCE)
		become_live(&conn->loop->feed, conn);
	return true;
}

static void serve_catching_up(struct loop *loop)
{
	unsigned steps = 0;
	struct conn *next;

	for (struct conn *conn = loop->feed.first; conn; conn = next) {
		next = conn->seat.next;
		if (conn->seat.state != FEED_CATCHING_UP || conn->seat.reading || !may_get(conn))
			continue;
		if (conn_unsent(conn) > UNSENT_LITTLE) {
			conn->seat.full = true;
			continue;
		}
		if (steps == STEPS_AT_ONCE) {
			loop_post_feed(loop);
			break;
		}
		if (catch_up(conn)) {
			steps++;
			to_the_end(&loop->feed, conn);
			if (conn->seat.state == FEED_CATCHING_UP)
				loop_post_feed(loop);
		}
	}
}

void feed_serve(struct loop *loop)
{
	end_those_of_before(&loop->feed);
	serve_live(loop);
	serve_catching_up(loop);
}

/* ---- reading the log ---- */

static int put_event(void *arg, const struct event *event)
{
	struct job *job = arg;

	notice_event(&job->out, event, !job->peer->app);
	return buf_err(&job->out);
}

void feed_read(struct service *svc, struct service_worker *w, struct job *job)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);

	job->read.err = ERR_LOCKED;
	if (service_enter(w))
		job->read.err = store_read_events(svc->store, job->peer->app, job->read.since, READ_AT_ONCE, put_event,
						  job, &why, &job->read.upto);
	if (job->read.err < 0 && job->read.err != ERR_LOCKED && job->read.err != ERR_SEQ_TOO_OLD)
		svc->hooks.failed(svc->hooks.arg, "reading events", job->read.err, buf_bytes(&why));
	service_leave(w);
}

static void take_read(struct conn *conn, const struct job *job)
{
	if (job->read.err == 0) {
		conn_put(conn, buf_bytes(&job->out));
		conn->seat.upto = job->read.upto;
	} else if (job->read.err == ERR_DAMAGED || job->read.err == ERR_IO) {
		end(conn, ERR_STORAGE);
	} else if (job->read.err != ERR_LOCKED) {
		end(conn, job->read.err);
	}
}

void feed_read_done(struct job *job)
{
	struct conn *conn = job->conn;
	struct loop *loop = conn->loop;
	bool again = job->read.err != ERR_LOCKED ||
		     !atomic_load(&loop->daemon->svc.locked); /* else the unlocking wakes us */

	loop->feed.reading = conn->seat.reading = false;
	if (conn->seat.state == FEED_CATCHING_UP && conn->seat.number == job->read.number && may_get(conn) &&
	    !is_of_another_history(conn))
		take_read(conn, job);
	job_free(job);
	if (again)
		loop_post_feed(loop);
	conn_job_back(conn);
}
