/*
 * store_load - opening a store: replay, and the question whether it is the newest there was
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "keystore/record.h"
#include "keystore/store_private.h"

#define EPOCH_STEP ((uint64_t)1 << 48) /* more changes than a file ever has */

struct replay {
	struct store *store;
	struct buf *why;
	bool ended;		  /* the snapshot is behind us */
	bool in_events;		  /* its apps and rooms are */
	uint64_t event;		  /* number of the last event in it */
	struct log_cursor before; /* where the record begins */
	bool continues;		  /* the place where it was locked is behind us */
};

static int contradiction(struct replay *replay, const char *what)
{
	buf_put_str(replay->why, what);
	return ERR_DAMAGED;
}

static int take_events(struct replay *replay, const struct record *record)
{
	struct store *store = replay->store;

	if (!store->custody || record->events[0].seq <= replay->event)
		return contradiction(replay, "the events of the snapshot are not in order");
	for (size_t i = 0; i < record->n_events; i++) {
		const struct event *event = &record->events[i];
		struct app *app = state_find_tip(&store->state, event->app_id);

		if (!app || app->tip->revoked_ms || event->seq <= atomic_load(&app->events_from))
			return contradiction(replay, "a snapshot has an event that is none of its apps'");
		app->n_events++;
	}
	replay->in_events = true;
	return event_index_add(&store->places, replay->event, &replay->before);
}

static int take_snapshot_record(struct replay *replay, const struct log_cursor *at, const struct record *record)
{
	struct store *store = replay->store;
	int r;

	switch (record->op) {
	case RECORD_CUSTODY:
		if (at->n != 1)
			return contradiction(replay, "a second custody key");
		return secret_dup(record->custody, &store->custody);
	case RECORD_SNAPSHOT_END:
		replay->ended = true;
		store->seq = record->seq;
		store->base_bytes = at->end;
		if (!store->custody)
			return contradiction(replay, "there is no custody key before it");
		if (replay->event > record->seq)
			return contradiction(replay, "the snapshot ends before its events do");
		return event_index_add(&store->places, record->seq, at);
	case RECORD_EVENTS:
		r = take_events(replay, record);
		replay->event = record->events[record->n_events - 1].seq;
		return r;
	case RECORD_APP:
	case RECORD_ROOM:
		if (replay->in_events)
			return contradiction(replay, "an app or a room stands behind the events of the snapshot");
		return state_load(&store->state, record, replay->why);
	default:
		return contradiction(replay, "a change stands before the end of the snapshot");
	}
}

static int take_change(struct replay *replay, const struct record *record)
{
	struct store *store = replay->store;
	size_t n_events = event_count(record);
	struct app *app;
	int r;

	if (record->op >= RECORD_CUSTODY)
		return contradiction(replay, "a record of a snapshot stands behind its end");
	if (record->seq < store->seq + (n_events ? n_events : 1))
		return contradiction(replay, "the changes are not numbered in order");
	r = state_load(&store->state, record, replay->why);
	if (r == 0)
		r = event_index_step(&store->places, store->seq, &replay->before);
	if (r < 0)
		return r;
	app = state_find_tip(&store->state, record->app_id);
	if (app)
		app->n_events += n_events;
	store->seq = record->seq;
	if (record_destroys(record))
		store->erase_due = true;
	return 0;
}

static int replay_record(void *arg, const struct log_cursor *at, struct bytes plain)
{
	struct replay *replay = arg;
	CLEANUP(record_fini) struct record record = { 0 };
	const struct store *store = replay->store;
	int r = record_decode(plain, replay->why, &record);

	if (r < 0)
		return r;
	if (at->n == store->left_at.n && memcmp(at->chain, store->left_at.chain, LOG_CHAIN_SIZE) == 0)
		replay->continues = true;
	r = replay->ended ? take_change(replay, &record) : take_snapshot_record(replay, at, &record);
	replay->before = *at;
	return r;
}

static int replayed_all(void *arg, struct buf *why)
{
	const struct replay *replay = arg;

	if (replay->ended)
		return state_loaded(&replay->store->state, why);
	buf_printf(
		why,
		"keystore %s is damaged: it ends within the snapshot that it begins with; restore the file from a backup",
		replay->store->path);
	return ERR_DAMAGED;
}

void store_close_files(struct store *store)
{
	anchor_close(TAKE(store->anchor));
	sealed_log_close(TAKE(store->log));
	secret_freep(&store->custody);
	event_index_fini(&store->places);
	if (store->tail.notes) /* of a store that was made to its end */
		event_tail_shut(&store->tail);
	store->seq = store->tip_seq = 0;
	store->events_lost = 0;
	store->erase_due = false;
}

/* ---- was there more? ---- */

static bool has_content(const char *path)
{
	struct stat st;

	return *path && stat(path, &st) == 0 && st.st_size > 0;
}

/* A missing store where there was one must not be made anew: whoever removed it would have every revocation forgotten. */
static int may_create(const struct store *store, struct buf *why, bool *ret)
{
	const char *witness = has_content(store->anchor_path) ? store->anchor_path : store->witness;
	bool was_open = store->left_at.n > 0;
	struct stat st;

	*ret = store->options.create && !was_open;
	if (!store->options.create || stat(store->path, &st) == 0 || errno != ENOENT)
		return 0;
	if (was_open) {
		buf_printf(why, "keystore %s has gone since it was locked: put it back", store->path);
		return ERR_NOT_FOUND;
	}
	if (!has_content(witness))
		return 0;
	buf_printf(
		why,
		"keystore %s is missing, but %s shows that there was one: restore it from a backup; or, to begin anew with an empty "
		"one, move that file away first",
		store->path, witness);
	return ERR_NOT_FOUND;
}

static int older(const struct store *store, const struct sealed_log_info *log, struct anchor_mark mark, struct buf *why)
{
	buf_printf(
		why,
		"keystore %s is older than it was: it ends with change %llu of generation %llu, and the anchor %s remembers change "
		"%llu of generation %llu; what was revoked since would be valid again. Put the newest copy in place, or start once "
		"with --accept-rollback",
		store->path, (unsigned long long)store->seq, (unsigned long long)log->generation, store->anchor_path,
		(unsigned long long)mark.seq, (unsigned long long)mark.generation);
	return ERR_DAMAGED;
}

/* Return: 0; 1 where an older keystore was accepted: then a rewrite has to pass @ret_mark's generation */
static int check_anchor(struct store *store, struct buf *why, struct anchor_mark *ret_mark)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	struct sealed_log_info log;
	struct anchor_mark mine, mark = { 0 };
	size_t n = why->n;
	int r = log_key_derive(store->custody, STORE_KEY_ANCHOR, &key);

	if (r < 0)
		return r;
	sealed_log_get_info(store->log, &log);
	mine = (struct anchor_mark){ log.generation, store->seq };
	r = anchor_open(store->anchor_path, log.file_id, key, why, &mark, &store->anchor);
	if (r == ERR_DAMAGED) {
		buf_put_str(
			why,
			": whether the keystore is the newest one cannot be told; put the right files in place, or move the "
			"anchor away to have it made anew");
		return r;
	}
	if (r < 0)
		return r;
	if (anchor_mark_older(mine, mark)) {
		if (!store->options.accept_rollback)
			return older(store, &log, mark, why);
		buf_printf(
			why,
			"an older keystore was accepted: change %llu of generation %llu, where %llu of %llu had been reached\n",
			(unsigned long long)mine.seq, (unsigned long long)mine.generation, (unsigned long long)mark.seq,
			(unsigned long long)mark.generation);
		*ret_mark = mark;
		return 1;
	}
	if (!mark.generation && !log.created)
		buf_printf(
			why,
			"anchor %s was empty or missing and has been made anew: whether the keystore is the newest one cannot be "
			"told this time\n",
			store->anchor_path);
	if (anchor_set(store->anchor, mine) < 0) {
		buf_cut(why, n);
		buf_printf(why, "cannot write anchor %s: %m", store->anchor_path);
		return ERR_IO;
	}
	return 0;
}

/* ---- all of it ---- */

static int load_once(struct store *store, const struct seal *seal, struct buf *why, bool *ret_continues)
{
	struct replay replay = { .store = store, .why = why };
	CLEANUP(snapshot_fini) struct snapshot empty = { .why = why };
	struct sealed_log_options options = {
		.emit = snapshot_emit,
		.arg = &empty,
		.replayed = replayed_all,
		.accept_damaged_tail = store->options.accept_damaged_tail,
		.read_only = store->options.read_only,
	};
	CLEANUP(secret_freep) struct secret *fresh = NULL;
	int r = may_create(store, why, &options.create);

	if (r == 0)
		r = rand_secret(RECORD_CUSTODY_SIZE, &fresh); /* of a new file, which is read back like any other */
	if (r < 0)
		return r;
	struct store making = { .custody = fresh };
	empty.store = &making;
	state_begin_loading(&store->state);
	r = sealed_log_open(store->path, seal, &options, replay_record, &replay, why, &store->log);
	store->tip_seq = store->seq;
	*ret_continues = replay.continues;
	return r;
}

static int load_and_check(struct store *store, const struct seal *seal, struct buf *why, bool *ret_continues)
{
	struct log_rewrite rewrite = { .remove = -1 };
	struct anchor_mark mark = { 0 };
	size_t said;
	int r;

	r = load_once(store, seal, why, ret_continues);
	if (r < 0 || store->options.read_only)
		return r;
	if (*store->anchor_path)
		r = check_anchor(store, why, &mark);
	if (r == 1) {
		rewrite.min_generation =
			mark.generation + 1; /* what was written meanwhile can never pass for newer again */
		return store_rewrite_now(store, &rewrite, why, NULL);
	}
	said = why->n;
	if (r == 0 && store->erase_due) {
		buf_put_str(why, "secrets that were destroyed are still in the file: ");
		r = store_rewrite_now(store, &rewrite, why, NULL);
		if (r == 0)
			buf_cut(why, said);
		else
			buf_put_byte(why, '\n'); /* erase_due stays, and the next rewrite makes it good */
		r = 0;
	}
	return r;
}

/*
 * Sessions of before go on only with a file that has been where this one was locked: in another, an older one or one that went on from
 * an older one, their tokens may be others. A file that was written anew meanwhile counts as another.
 */
int store_load(struct store *store, const struct seal *seal, struct buf *why)
{
	bool continues = false;
	int r = load_and_check(store, seal, why, &continues);

	if (r == 0 && store->left_at.n && !continues) {
		store_close_files(store);
		state_forget(&store->state);
		store->state.epoch_base += EPOCH_STEP;
		(void)atomic_fetch_add(&store->history, 1);
		r = load_and_check(store, seal, why, &continues);
		if (r == 0)
			state_end_absent(&store->state);
	}
	if (r < 0) {
		store_close_files(store);
		state_forget(&store->state);
	} else {
		store->options.accept_damaged_tail = store->options.accept_rollback = false;
		event_tail_open(&store->tail, store->seq);
	}
	store_note_info(store);
	return r;
}
