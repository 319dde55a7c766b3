/*
 * store_events - events for those who want them: the newest out of memory, the others out of the log
 */
#include "base/cleanup.h"
#include "keystore/store_private.h"

/* of the file, in one reading: a rewrite waits no longer than that takes */
#define READ_MAX_BYTES ((uint64_t)4 << 20)

static void find_oldest(void *arg, struct app *app)
{
	uint64_t *oldest = arg, from = atomic_load(&app->events_from);

	if (from > *oldest)
		*oldest = from;
}

static uint64_t oldest_of(struct store *store, const struct app *app)
{
	uint64_t oldest = 0;

	if (app)
		return atomic_load(&app->events_from);
	store_each_app(store, find_oldest, &oldest);
	return oldest;
}

int store_event_range(struct store *store, const struct app *app, uint64_t *ret_oldest, uint64_t *ret_newest)
{
	*ret_oldest = oldest_of(store, app);
	return event_tail_newest(&store->tail, ret_newest);
}

unsigned store_history(struct store *store)
{
	return atomic_load(&store->history);
}

int store_recent_events(struct store *store, uint64_t since, size_t max, struct event_note **ret, size_t *ret_n,
			uint64_t *ret_upto)
{
	return event_tail_get(&store->tail, since, max, ret, ret_n, ret_upto);
}

/* one reading of a piece of the log */
struct reading {
	const struct app *app; /* NULL: all */
	uint64_t since, upto;
	size_t max, n;
	uint64_t start; /* offset */
	int (*fn)(void *arg, const struct event *event);
	void *arg;
	struct buf *why;
};

static int read_event(struct reading *reading, const struct event *event)
{
	int r;

	if (event->seq <= reading->since)
		return 0;
	if (!reading->app || bytes_eq(event->app_id, app_id(reading->app))) {
		if (reading->n == reading->max)
			return SEALED_LOG_ENOUGH;
		r = reading->fn(reading->arg, event);
		if (r < 0)
			return r;
		reading->n++;
	}
	reading->upto = event->seq;
	return 0;
}

static int read_record(void *arg, const struct log_cursor *at, struct bytes plain)
{
	struct reading *reading = arg;
	CLEANUP(record_fini) struct record record = { 0 };
	int r = record_decode(plain, reading->why, &record);

	for (size_t i = 0; r == 0 && i < event_count(&record); i++) {
		struct event event;

		event_get(&record, i, &event);
		r = read_event(reading, &event);
	}
	if (r != 0)
		return r;
	/* all of the record has been looked at, but a snapshot's number is that of its last change */
	if (record.op < RECORD_CUSTODY && record.seq > reading->upto)
		reading->upto = record.seq;
	return at->end - reading->start >= READ_MAX_BYTES && reading->upto > reading->since ? SEALED_LOG_ENOUGH : 0;
}

/*
 * A rewrite waits for those who read, as it does for what is staged. They do not wait for `maintenance`, which whoever verifies or copies
 * the file has for as long as that takes: many who catch up would have all workers wait.
 */
static int begin_reading(struct store *store, uint64_t since, struct log_cursor *ret_from, struct log_cursor *ret_upto,
			 uint64_t *ret_newest)
{
	const struct log_cursor *place;

	store_wait_disk(store, true); /* for a rewrite, perhaps */
	LOCKED(&store->mutation);
	store_wait_disk(store, false);
	store_wait_turn(store);
	if (!store->log)
		return ERR_LOCKED;
	*ret_newest = store->seq;
	*ret_upto = sealed_log_mark(store->log);
	place = event_index_find(&store->places, since);
	*ret_from = place ? *place : *ret_upto; /* there is one in each file */
	store->reading++;
	return 0;
}

static void end_reading(struct store *store)
{
	LOCKED(&store->mutation);
	if (--store->reading == 0)
		(void)pthread_cond_broadcast(&store->settled);
}

int store_read_events(struct store *store, const struct app *app, uint64_t since, size_t max,
		      int (*fn)(void *arg, const struct event *event), void *arg, struct buf *why, uint64_t *ret_upto)
{
	struct reading reading = {
		.app = app, .since = since, .upto = since, .max = max, .fn = fn, .arg = arg, .why = why
	};
	struct log_cursor from, upto;
	uint64_t newest;
	int r;

	r = begin_reading(store, since, &from, &upto, &newest);
	if (r < 0)
		return r;
	reading.start = from.end;
	r = since < oldest_of(store, app) || since > newest
		    ? ERR_SEQ_TOO_OLD
		    : sealed_log_read(store->log, &from, &upto, read_record, &reading, why);
	end_reading(store);
	if (r < 0)
		return r;
	*ret_upto = r == SEALED_LOG_ENOUGH ? reading.upto : newest;
	return 0;
}
