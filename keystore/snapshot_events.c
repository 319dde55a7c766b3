/*
 * snapshot_events - the events that a rewrite carries over: of each app that is not revoked, the newest STORE_KEPT_EVENTS
 *
 * The old file is read twice, record by record: the first time to find the number up to which an app's events are left behind, which
 * stands in its RECORD_APP, and whether they can be read at all. Where they cannot, none are carried over: a file that is damaged must
 * not keep what is to be destroyed, and everything else comes from memory.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "keystore/store_private.h"

#define EVENTS_PER_RECORD 512
#define EVENT_MAX_BYTES	  ((size_t)2 * STORE_MAX_ID + ROOMKEY_MAX_KID + UUID_SIZE)

/* With both locks, and idle: @fn for each record that may hold events. */
static int read_file(const struct store *store, sealed_log_replay_fn fn, void *arg, struct buf *why)
{
	const struct log_cursor *from = event_index_find(&store->places, 0);
	struct log_cursor upto;
	int r;

	if (!from) /* there is no file yet */
		return 0;
	upto = sealed_log_mark(store->log);
	r = sealed_log_read(store->log, from, &upto, fn, arg, why);
	return r == ERR_DAMAGED || r == ERR_IO ? ERR_STORAGE : r; /* why has the rest */
}

/* The app of an event, unless it is revoked: then its events go. */
static struct app *app_of(struct state *state, const struct event *event)
{
	struct app *app = state_find_tip(state, event->app_id);

	return app && !app->tip->revoked_ms ? app : NULL;
}

/* ---- what is left behind ---- */

struct planning {
	struct store *store;
	struct buf *why;
};

/* @all: whatever there is; otherwise as many as there are too many of */
static void plan_app(struct app *app, bool all, uint64_t newest)
{
	bool revoked = app->tip && app->tip->revoked_ms;
	uint64_t n = revoked || all ? 0 : app->n_events;

	app->carried.skip = n > STORE_KEPT_EVENTS ? n - STORE_KEPT_EVENTS : 0;
	app->carried.n = n - app->carried.skip;
	app->carried.from = revoked ? 0 : all ? newest : atomic_load(&app->events_from);
}

static void plan_apps(struct store *store, bool all)
{
	for (size_t i = 0; i < store->state.apps.n; i++)
		plan_app(store->state.apps.sorted[i], all, store->seq);
}

static int plan_record(void *arg, const struct log_cursor *at, struct bytes plain)
{
	const struct planning *planning = arg;
	CLEANUP(record_fini) struct record record = { 0 };
	int r = record_decode(plain, planning->why, &record);

	(void)at;
	for (size_t i = 0; r == 0 && i < event_count(&record); i++) {
		struct app *app;
		struct event event;

		event_get(&record, i, &event);
		app = app_of(&planning->store->state, &event);
		if (app && app->carried.skip) {
			app->carried.skip--;
			app->carried.from = event.seq;
		}
	}
	return r;
}

int snapshot_plan_events(struct snapshot *snapshot)
{
	struct store *store = snapshot->store;
	struct buf *why = &snapshot->why_no_events;
	int r;

	plan_apps(store, false);
	r = read_file(store, plan_record, &(struct planning){ store, why }, why);
	if (r != ERR_STORAGE)
		return r;
	plan_apps(store, true);
	snapshot->without_events = true;
	return 0;
}

void snapshot_events_carried(const struct snapshot *snapshot)
{
	struct store *store = snapshot->store;

	for (size_t i = 0; i < store->state.apps.n; i++) {
		struct app *app = store->state.apps.sorted[i];

		atomic_store(&app->events_from, app->carried.from);
		app->n_events = app->carried.n;
	}
	if (!snapshot->without_events)
		return;
	store->events_lost = store->seq;
	if (store->options.events_lost)
		store->options.events_lost(store->options.arg, store->seq, buf_bytes(&snapshot->why_no_events));
}

/* ---- what is carried over ---- */

/* a record's worth of events, with their bytes */
struct gathered {
	struct snapshot *snapshot;
	struct log_writer *w;
	uint64_t before; /* number of the last event that has been put */
	size_t n, used;
	struct event events[EVENTS_PER_RECORD];
	uint8_t bytes[EVENTS_PER_RECORD * EVENT_MAX_BYTES];
};

static int put_gathered(struct gathered *g)
{
	const struct log_cursor at = log_writer_at(g->w);
	struct record record = { .op = RECORD_EVENTS, .events = g->events, .n_events = g->n };
	int r;

	if (!g->n)
		return 0;
	r = event_index_add(&g->snapshot->places, g->before, &at);
	if (r == 0)
		r = snapshot_put(g->snapshot, g->w, &record, NULL);
	g->before = g->events[g->n - 1].seq;
	g->n = g->used = 0;
	return r;
}

static struct bytes keep(struct gathered *g, struct bytes from)
{
	struct bytes to = BYTES(g->bytes + g->used, from.n);

	if (from.n)
		memcpy(g->bytes + g->used, from.p, from.n); /* records hold no longer ids than there is room for */
	g->used += from.n;
	return to;
}

static int gather_record(void *arg, const struct log_cursor *at, struct bytes plain)
{
	struct gathered *g = arg;
	CLEANUP(record_fini) struct record record = { 0 };
	int r = record_decode(plain, g->snapshot->why, &record);

	(void)at;
	for (size_t i = 0; r == 0 && i < event_count(&record); i++) {
		const struct app *app;
		struct event event;

		event_get(&record, i, &event);
		app = app_of(&g->snapshot->store->state, &event);
		if (!app || event.seq <= app->carried.from)
			continue;
		event.app_id = keep(g, event.app_id);
		event.room_id = keep(g, event.room_id);
		event.kid = keep(g, event.kid);
		event.key_id = keep(g, event.key_id);
		g->events[g->n++] = event;
		if (g->n == EVENTS_PER_RECORD)
			r = put_gathered(g);
	}
	return r;
}

int snapshot_put_events(struct snapshot *snapshot, struct log_writer *w)
{
	struct gathered *g;
	int r;

	if (snapshot->without_events)
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return ERR_NOMEM;
	g->snapshot = snapshot;
	g->w = w;
	r = read_file(snapshot->store, gather_record, g, snapshot->why);
	if (r == 0)
		r = put_gathered(g);
	free(g);
	return r;
}
