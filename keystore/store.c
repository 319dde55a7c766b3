#include "keystore/store.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "keystore/store_private.h"

void store_hold(pthread_mutex_t *mutex)
{
	int r = pthread_mutex_lock(mutex);

	assert(r == 0); /* fails only for mistakes of ours */
	(void)r;
}

void store_unlockp(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex);
}

void store_note_info(struct store *store)
{
	struct store_info info = {
		.locked = !store->log,
		.seq = store->seq,
		.erase_due = store->erase_due && store->erase_failed,
		.anchor_errno = store->anchor_errno,
		.syncs = store->syncs,
		.events_lost = store->events_lost,
	};

	if (store->log)
		sealed_log_get_info(store->log, &info.log);
	info.log.path = store->path; /* it outlives the log */
	info.compaction_due =
		info.log.bytes > 2 * store->base_bytes + COMPACTION_SLACK || info.log.residue || info.erase_due;
	LOCKED(&store->info_lock);
	store->info = info;
}

int store_new(const struct store_options *options, struct store **ret)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return ERR_NOMEM;
	if (state_init(&store->state) < 0) {
		free(store);
		return ERR_NOMEM;
	}
	if (event_tail_init(&store->tail) < 0) {
		state_fini(&store->state);
		free(store);
		return ERR_NOMEM;
	}
	/* the default kinds allocate nothing and cannot fail */
	(void)pthread_mutex_init(&store->mutation, NULL);
	(void)pthread_mutex_init(&store->maintenance, NULL);
	(void)pthread_mutex_init(&store->info_lock, NULL);
	(void)pthread_cond_init(&store->settled, NULL);
	atomic_init(&store->history, 0);
	store->options = *options;
	store->path = strdup(options->path);
	store->anchor_path = strdup(options->anchor ? options->anchor : "");
	store->witness = strdup(options->witness ? options->witness : "");
	if (!store->path || !store->anchor_path || !store->witness) {
		store_free(store);
		return ERR_NOMEM;
	}
	store_note_info(store);
	*ret = store;
	return 0;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	store_close_files(store);
	event_tail_fini(&store->tail);
	state_fini(&store->state);
	(void)pthread_cond_destroy(&store->settled);
	(void)pthread_mutex_destroy(&store->info_lock);
	(void)pthread_mutex_destroy(&store->maintenance);
	(void)pthread_mutex_destroy(&store->mutation);
	free(store->path);
	free(store->anchor_path);
	free(store->witness);
	free(store);
}

int store_unlock(struct store *store, const struct seal *seal, struct buf *why)
{
	LOCKED(&store->maintenance);
	{
		LOCKED(&store->mutation);
		return store->log ? 0 : store_load(store, seal, why);
	}
}

void store_lock(struct store *store)
{
	LOCKED(&store->maintenance);
	{
		LOCKED(&store->mutation);
		assert(!store->flushing && !store->first && !store->reading);
		if (store->log)
			store->left_at = sealed_log_mark(store->log);
		store_close_files(store);
		state_forget(&store->state);
		store_note_info(store);
	}
}

bool store_is_locked(struct store *store)
{
	LOCKED(&store->info_lock);
	return store->info.locked;
}

void store_get_info(struct store *store, struct store_info *ret)
{
	struct store_info info;

	{
		LOCKED(&store->info_lock);
		info = store->info;
	}
	info.apps = atomic_load_explicit(&store->state.n_apps, memory_order_relaxed);
	info.room_keys = atomic_load_explicit(&store->state.room_keys, memory_order_relaxed);
	*ret = info;
}

int store_audit_key(struct store *store, struct secret **ret)
{
	LOCKED(&store->mutation);
	return store->custody ? log_key_derive(store->custody, STORE_KEY_AUDIT, ret) : ERR_LOCKED;
}

/* ---- finding ---- */

struct app *store_find_app(struct store *store, struct bytes id)
{
	return state_find(&store->state, id);
}

void store_each_app(struct store *store, void (*fn)(void *arg, struct app *app), void *arg)
{
	(void)pthread_rwlock_rdlock(&store->state.lock);
	for (size_t i = 0; i < store->state.apps.n; i++) {
		if (app_is_seen(store->state.apps.sorted[i]))
			fn(arg, store->state.apps.sorted[i]);
	}
	(void)pthread_rwlock_unlock(&store->state.lock);
}

void store_settle_walks(struct store *store)
{
	(void)pthread_rwlock_wrlock(&store->state.lock);
	(void)pthread_rwlock_unlock(&store->state.lock);
}

/* ---- committing ---- */

void store_wait_disk(struct store *store, bool waits)
{
	if (store->options.waiting)
		store->options.waiting(store->options.arg, waits);
}

/* With the mutation lock, which is given up meanwhile: until nothing is staged or on its way, and nobody reads the file for events. */
static void wait_idle(struct store *store)
{
	store_wait_disk(store, true);
	while (store->flushing || store->first || store->reading)
		(void)pthread_cond_wait(&store->settled, &store->mutation); /* fails only for mistakes of ours */
	store_wait_disk(store, false);
}

/*
 * With the mutation lock, which is given up meanwhile, and before a change is looked at: a rewrite goes first. It needs a moment when
 * nothing is staged, which might never come by itself while many threads commit.
 */
void store_wait_turn(struct store *store)
{
	if (!store->rewrites_waiting)
		return;
	store_wait_disk(store, true);
	while (store->rewrites_waiting)
		(void)pthread_cond_wait(&store->settled, &store->mutation); /* as above */
	store_wait_disk(store, false);
}

/*
 * With the mutation lock, which is given up meanwhile: until what is staged by now is settled. Not until nothing is: that moment might
 * never come while many threads commit. Return: did all of it last? Then so does what was found by it.
 */
bool store_wait_settled(struct store *store)
{
	const uint64_t upto = store->tip_seq;
	const unsigned long failures = store->failures;

	if (store->seq == upto)
		return true;
	store_wait_disk(store, true);
	while (store->seq < upto && store->failures == failures)
		(void)pthread_cond_wait(&store->settled, &store->mutation); /* as above */
	store_wait_disk(store, false);
	return store->failures == failures;
}

static void note_anchor(struct store *store)
{
	struct sealed_log_info log;

	if (!store->anchor)
		return;
	sealed_log_get_info(store->log, &log);
	store->anchor_errno =
		anchor_set(store->anchor, (struct anchor_mark){ log.generation, store->seq }) < 0 ? errno : 0;
}

static void check_lost(struct store *store)
{
	struct sealed_log_info log;

	sealed_log_get_info(store->log, &log);
	if (log.failed && store->options.lost)
		store->options.lost(store->options.arg, log.last_errno);
}

/* A change is durable: it can be seen from now on, and told. */
static void publish(struct store *store, struct pending *p)
{
	/* should there be no memory for the place, reading begins at the one before */
	(void)event_index_step(&store->places, store->seq, &p->at);
	store->seq = p->seq;
	store->erase_due |= p->erases;
	p->change.app->n_events += p->n_events;
	state_apply(&store->state, &p->change);
	event_tail_put(&store->tail, TAKE(p->notes), p->seq);
}

static void take_back(struct pending *p)
{
	event_notes_free(TAKE(p->notes));
	state_drop(&p->change);
}

static void settle(struct store *store, struct log_batch *batch, struct pending *list, int r)
{
	struct pending *next;

	sealed_log_settle(store->log, batch, r);
	check_lost(store);
	if (r < 0) { /* what has been staged since is gone with it */
		struct pending **tail = &list;

		while (*tail)
			tail = &(*tail)->next;
		*tail = store->first;
		store->first = store->last = NULL;
	}
	for (struct pending *p = list; p; p = next) {
		next = p->next;
		if (r == 0)
			publish(store, p);
		else
			take_back(p);
		p->result = r;
		p->done = true;
	}
	if (r < 0) {
		store->tip_seq = store->seq;
		store->failures++;
	} else {
		note_anchor(store);
	}
	store_note_info(store);
	if (r == 0 && store->options.news)
		store->options.news(store->options.arg);
}

/* With the mutation lock, which is given up while the disk works: write and sync what is staged, for all who wait. */
static void flush(struct store *store)
{
	struct pending *list = store->first;
	struct log_batch batch;
	int r;

	sealed_log_take(store->log, &batch);
	store->first = store->last = NULL;
	store->flushing = true;
	(void)pthread_mutex_unlock(&store->mutation);
	store_wait_disk(store, true);
	r = sealed_log_sync(&batch);
	store_wait_disk(store, false);
	store_hold(&store->mutation);
	store->syncs++;
	settle(store, &batch, list, r);
	store->flushing = false;
	(void)pthread_cond_broadcast(&store->settled);
}

static int stage(struct store *store, struct record *record, const struct parsed *parsed, struct pending *p)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	int r;

	p->n_events = event_count(record);
	for (;;) { /* a number for each event, and one for a change that has none */
		record->seq = store->tip_seq + (p->n_events ? p->n_events : 1);
		r = state_prepare(&store->state, record, parsed, &p->change);
		if (r == 0 || r == ERR_NOMEM || store_wait_settled(store)) /* what stands in the way may not last */
			break;
		if (!store->log)
			return ERR_LOCKED;
	}
	if (r < 0)
		return r;
	r = record_encode(record, p->change.app_key ? p->change.app_key : p->change.app->key, &plain);
	if (r == 0)
		r = event_notes_new(record, &p->notes);
	p->at = sealed_log_tip(store->log);
	if (r == 0)
		r = sealed_log_stage(store->log, secret_bytes(plain));
	if (r < 0) {
		event_notes_free(TAKE(p->notes));
		state_release(&p->change);
		return r;
	}
	state_stage(&p->change);
	p->seq = store->tip_seq = record->seq;
	memcpy(p->former_key_id, p->change.former_key_id, UUID_SIZE);
	p->erases = record_destroys(record);
	if (store->last)
		store->last->next = p;
	else
		store->first = p;
	store->last = p;
	return 0;
}

/* With the mutation lock: check, build, make durable together with whoever else is there, publish. */
int store_commit_as(struct store *store, struct record *record, const struct parsed *parsed, struct pending *p)
{
	int r;

	if (!store->log)
		return ERR_LOCKED;
	r = stage(store, record, parsed, p);
	if (r < 0)
		return r;
	while (!p->done) {
		if (!store->flushing) {
			flush(store);
			continue;
		}
		store_wait_disk(store, true);
		(void)pthread_cond_wait(&store->settled, &store->mutation); /* as above */
		store_wait_disk(store, false);
	}
	return p->result;
}

int store_commit(struct store *store, struct record *record, const struct parsed *parsed)
{
	return store_commit_as(store, record, parsed, &(struct pending){ .next = NULL });
}

/* ---- rewriting ---- */

/* Each rewrite gives each app a new key: the old ones seal what may have been destroyed since. */
static int make_keys(struct store *store, struct snapshot *snapshot)
{
	snapshot->keys = calloc(store->state.apps.n + 1, sizeof(struct secret *));
	if (!snapshot->keys)
		return ERR_NOMEM;
	for (; snapshot->n_keys < store->state.apps.n; snapshot->n_keys++) {
		const struct app *app = store->state.apps.sorted[snapshot->n_keys];
		int r = app->key ? rand_secret(RECORD_APP_KEY_SIZE, &snapshot->keys[snapshot->n_keys]) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static void adopt_keys(struct store *store, struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_keys; i++) {
		struct app *app = store->state.apps.sorted[i];

		secret_free(app->key);
		app->key = TAKE(snapshot->keys[i]);
	}
}

/* With both locks, and idle. */
int store_rewrite_now(struct store *store, const struct log_rewrite *how, struct buf *why, uint32_t *ret_slot)
{
	CLEANUP(snapshot_fini)
	struct snapshot snapshot = { .store = store, .why = why, .why_no_events = BUF_INIT(4096) };
	struct log_rewrite rewrite = *how;
	struct sealed_log_info info;
	int r = make_keys(store, &snapshot);

	rewrite.emit = snapshot_emit;
	rewrite.arg = &snapshot;
	if (r == 0)
		r = snapshot_plan_events(&snapshot);
	if (r == 0)
		r = sealed_log_rewrite(store->log, &rewrite, why, ret_slot);
	check_lost(store);
	if (r == 0) {
		adopt_keys(store, &snapshot);
		snapshot_events_carried(&snapshot);
		event_index_fini(&store->places);
		store->places = snapshot.places;
		snapshot.places = (struct event_index){ 0 };
		sealed_log_get_info(store->log, &info);
		store->base_bytes = info.bytes;
		store->erase_due = false;
		note_anchor(store);
	}
	store->erase_failed = r < 0;
	store_note_info(store);
	return r;
}

static int rewrite(struct store *store, const struct log_rewrite *how, bool erase_only, struct buf *why,
		   uint32_t *ret_slot)
{
	LOCKED(&store->maintenance);
	{
		LOCKED(&store->mutation);
		store->rewrites_waiting++;
		wait_idle(store);
		store->rewrites_waiting--;
		(void)pthread_cond_broadcast(&store->settled); /* who waits goes on when this is done */
		if (!store->log)
			return ERR_LOCKED;
		if (erase_only && !store->erase_due)
			return 0; /* somebody's rewrite has done it */
		return store_rewrite_now(store, how, why, ret_slot);
	}
}

int store_rewrite(struct store *store, struct buf *why)
{
	return rewrite(store, &(struct log_rewrite){ .remove = -1 }, false, why, NULL);
}

int store_rewrite_past(struct store *store, uint64_t generation, struct buf *why)
{
	return rewrite(store, &(struct log_rewrite){ .remove = -1, .min_generation = generation + 1 }, false, why,
		       NULL);
}

int store_add_slot(struct store *store, const struct seal *seal, struct buf *why, uint32_t *ret_slot)
{
	return rewrite(store, &(struct log_rewrite){ .remove = -1, .add = seal }, false, why, ret_slot);
}

int store_remove_slot(struct store *store, uint32_t slot, struct buf *why)
{
	return rewrite(store, &(struct log_rewrite){ .remove = slot }, false, why, NULL);
}

/* After a change that destroys secrets; a failure is shown by erase_due, and made good by the next rewrite. */
void store_erase(struct store *store)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);

	(void)rewrite(store, &(struct log_rewrite){ .remove = -1 }, true, &why, NULL);
}

int store_list_slots(struct store *store, struct sealed_log_slot ret[LOG_MAX_SLOTS], size_t *ret_n)
{
	LOCKED(&store->mutation);
	if (!store->log)
		return ERR_LOCKED;
	*ret_n = sealed_log_list_slots(store->log, ret);
	return 0;
}

/* ---- looking at the file, and copies of it: mutations go on, rewrites wait ---- */

static int mark(struct store *store, struct log_cursor *ret, uint64_t *ret_seq)
{
	LOCKED(&store->mutation);
	if (!store->log)
		return ERR_LOCKED;
	*ret = sealed_log_mark(store->log);
	*ret_seq = store->seq;
	return 0;
}

int store_verify(struct store *store, struct buf *why)
{
	struct log_cursor upto;
	uint64_t seq;

	LOCKED(&store->maintenance);
	int r = mark(store, &upto, &seq);

	return r < 0 ? r : sealed_log_verify(store->log, &upto, why);
}

int store_backup(struct store *store, const char *path, struct buf *why, uint64_t *ret_bytes, uint64_t *ret_seq)
{
	struct log_cursor upto;
	uint64_t seq;

	LOCKED(&store->maintenance);
	int r = mark(store, &upto, &seq);

	if (r == 0)
		r = sealed_log_copy(store->log, &upto, path, why);
	if (r == 0) {
		*ret_bytes = upto.end;
		*ret_seq = seq;
	}
	return r;
}
