#include "keystore/store.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
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
		assert(!store->flushing && !store->first);
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

/* With the mutation lock, which is given up meanwhile: until nothing is staged or on its way. */
static void wait_idle(struct store *store)
{
	store_wait_disk(store, true);
	while (store->flushing || store->first)
		(void)pthread_cond_wait(&store->settled, &store->mutation); /* fails only for mistakes of ours */
	store_wait_disk(store, false);
}

/*
 * With the mutation lock, which is given up meanwhile, and before a change is looked at: a rewrite goes first. It needs a moment when
 * nothing is staged, which might never come by itself while many threads commit.
 */
static void wait_turn(struct store *store)
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
static bool wait_settled(struct store *store)
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
		if (r == 0 || r == ERR_NOMEM || wait_settled(store)) /* what stands in the way may not last */
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
static int commit_as(struct store *store, struct record *record, const struct parsed *parsed, struct pending *p)
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

static int commit(struct store *store, struct record *record, const struct parsed *parsed)
{
	return commit_as(store, record, parsed, &(struct pending){ .next = NULL });
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
	CLEANUP(snapshot_fini) struct snapshot snapshot = { .store = store, .why = why };
	struct log_rewrite rewrite = *how;
	struct sealed_log_info info;
	int r = make_keys(store, &snapshot);

	rewrite.emit = snapshot_emit;
	rewrite.arg = &snapshot;
	if (r == 0)
		r = snapshot_plan_events(store, why);
	if (r == 0)
		r = sealed_log_rewrite(store->log, &rewrite, why, ret_slot);
	check_lost(store);
	if (r == 0) {
		adopt_keys(store, &snapshot);
		snapshot_events_carried(store);
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
static void erase(struct store *store)
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

/* ---- mutations ---- */

int store_create_app(struct store *store, struct bytes id, struct bytes name, const struct secret *token,
		     struct rsa_key *key, const struct room_grant *rooms, size_t n_rooms, char ret_key_id[UUID_SIZE])
{
	CLEANUP(secret_freep) struct secret *pkcs8 = NULL, *app_key = NULL, *token_copy = NULL;
	char key_id[UUID_SIZE];
	int64_t now = clock_now_ms();
	int r;

	r = rsa_to_pkcs8(key, &pkcs8);
	if (r == 0)
		r = rand_secret(RECORD_APP_KEY_SIZE, &app_key);
	if (r == 0)
		r = secret_dup(secret_bytes(token), &token_copy);
	if (r < 0)
		return r;
	rand_uuid(key_id);
	struct parsed parsed = { .token = token_copy, .app_key = app_key, .identities = &key, .n_identities = 1 };
	struct record record = {
		.op = RECORD_APP_CREATED,
		.time_ms = now,
		.app_id = id,
		.name = name,
		.app_key = secret_bytes(app_key),
		.token = secret_bytes(token),
		.key_id = bytes_str(key_id),
		.pkcs8 = secret_bytes(pkcs8),
		.created_ms = now,
		.grants = (struct room_grant *)(uintptr_t)rooms, /* a record's list is const only where it is encoded */
		.n_grants = n_rooms,
	};
	LOCKED(&store->mutation);
	wait_turn(store);
	r = commit(store, &record, &parsed);
	if (r < 0)
		return r;
	memcpy(ret_key_id, key_id, sizeof(key_id));
	return 0;
}

int store_revoke_app(struct store *store, struct bytes id)
{
	struct record record = { .op = RECORD_APP_REVOKED, .time_ms = clock_now_ms(), .app_id = id };
	int r;

	{
		LOCKED(&store->mutation);
		wait_turn(store);
		r = commit(store, &record, &(struct parsed){ 0 });
	}
	if (r == 0)
		erase(store);
	return r;
}

int store_reset_token(struct store *store, struct bytes id, const struct secret *token)
{
	CLEANUP(secret_freep) struct secret *copy = NULL;
	struct record record = {
		.op = RECORD_TOKEN_SET, .time_ms = clock_now_ms(), .app_id = id, .token = secret_bytes(token)
	};
	int r = secret_dup(secret_bytes(token), &copy);

	if (r < 0)
		return r;
	LOCKED(&store->mutation);
	wait_turn(store);
	return commit(store, &record, &(struct parsed){ .token = copy });
}

/* Adopting the key that is current already changes nothing; but what is only staged may not last. */
static bool is_current_identity(struct store *store, struct bytes id, const struct rsa_key *key, struct rotation *ret)
{
	for (;;) {
		const struct app *app = state_find_tip(&store->state, id);
		const struct identity *current = app ? app_view_identity(app->tip) : NULL;

		if (!current || !rsa_same_public(current->key, key))
			return false;
		*ret = (struct rotation){ 0 };
		memcpy(ret->key_id, current->key_id, UUID_SIZE);
		if (wait_settled(store))
			return true;
	}
}

int store_add_identity(struct store *store, struct bytes id, struct rsa_key *key, int64_t grace_ms,
		       struct rotation *ret)
{
	CLEANUP(secret_freep) struct secret *pkcs8 = NULL;
	struct pending p = { .next = NULL };
	struct parsed parsed = { .identities = &key, .n_identities = 1 };
	char key_id[UUID_SIZE];
	int64_t now = clock_now_ms();
	int r;

	r = rsa_to_pkcs8(key, &pkcs8);
	if (r < 0)
		return r;
	rand_uuid(key_id);
	if (grace_ms < 0)
		grace_ms = 0;
	struct record record = {
		.op = RECORD_IDENTITY_ADDED,
		.time_ms = now,
		.app_id = id,
		.key_id = bytes_str(key_id),
		.pkcs8 = secret_bytes(pkcs8),
		.previous_expires_ms = grace_ms > INT64_MAX - now ? INT64_MAX : now + grace_ms,
	};
	LOCKED(&store->mutation);
	wait_turn(store);
	if (is_current_identity(store, id, key, ret))
		return 0;
	r = commit_as(store, &record, &parsed, &p);
	if (r < 0)
		return r;
	*ret = (struct rotation){ .previous_expires_ms = record.previous_expires_ms };
	memcpy(ret->key_id, key_id, UUID_SIZE);
	memcpy(ret->previous_key_id, p.former_key_id, UUID_SIZE);
	return 0;
}

static int end_key(struct store *store, enum record_op op, struct bytes id, struct bytes key_id)
{
	struct record record = { .op = op, .time_ms = clock_now_ms(), .app_id = id, .key_id = key_id };

	LOCKED(&store->mutation);
	wait_turn(store);
	return commit(store, &record, &(struct parsed){ 0 });
}

int store_revoke_key(struct store *store, struct bytes id, struct bytes key_id)
{
	int r = end_key(store, RECORD_KEY_REVOKED, id, key_id);

	if (r == 0)
		erase(store);
	return r;
}

/* an identity key whose time is up */
struct due_key {
	struct app *app; /* owned reference */
	char key_id[UUID_SIZE];
};

struct due {
	int64_t now_ms;
	struct due_key *keys; /* owned */
	size_t n, max;
	int err;
};

static void due_fini(struct due *due)
{
	for (size_t i = 0; i < due->n; i++)
		app_unref(due->keys[i].app);
	free(due->keys);
}

static int add_due(struct due *due, struct app *app, const struct identity *id)
{
	if (due->n == due->max) {
		size_t max = due->max ? 2 * due->max : 16;
		struct due_key *keys = reallocarray(due->keys, max, sizeof(*keys));

		if (!keys)
			return ERR_NOMEM;
		due->keys = keys;
		due->max = max;
	}
	due->keys[due->n].app = app_ref(app);
	memcpy(due->keys[due->n].key_id, id->key_id, UUID_SIZE);
	due->n++;
	return 0;
}

static void collect_due(void *arg, struct app *app)
{
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(app);
	struct due *due = arg;

	for (size_t i = 1; view && i < view->n_identities && due->err == 0; i++)
		if (view->identities[i].expires_ms <= due->now_ms)
			due->err = add_due(due, app, &view->identities[i]);
}

int store_expire_keys(struct store *store, int64_t now_ms,
		      void (*expired)(void *arg, struct bytes app_id, const char *key_id), void *arg)
{
	CLEANUP(due_fini) struct due due = { .now_ms = now_ms };
	int r;

	store_each_app(store, collect_due, &due);
	r = due.err;
	for (size_t i = 0; i < due.n && r == 0; i++) {
		struct bytes id = app_id(due.keys[i].app);

		r = end_key(store, RECORD_KEY_EXPIRED, id, bytes_str(due.keys[i].key_id));
		if (r == 0 && expired)
			expired(arg, id, due.keys[i].key_id);
		if (r == ERR_NOT_FOUND || r == ERR_FORBIDDEN)
			r = 0; /* revoked in the meantime */
	}
	if (due.n)
		erase(store);
	return r;
}

int store_set_escrow(struct store *store, struct bytes id, const struct secret *passphrase)
{
	CLEANUP(secret_freep) struct secret *copy = NULL;
	struct record record = { .op = RECORD_ESCROW_SET, .time_ms = clock_now_ms(), .app_id = id };
	int r = 0;

	if (passphrase) {
		record.escrow = secret_bytes(passphrase);
		r = secret_dup(record.escrow, &copy);
	}
	if (r < 0)
		return r;
	{
		LOCKED(&store->mutation);
		wait_turn(store);
		r = commit(store, &record, &(struct parsed){ .escrow = copy });
	}
	if (r == 0)
		erase(store);
	return r;
}

int store_grant(struct store *store, struct bytes id, struct bytes room_id, unsigned perms)
{
	struct record record = {
		.op = RECORD_GRANT_SET, .time_ms = clock_now_ms(), .app_id = id, .room_id = room_id, .perms = perms
	};

	LOCKED(&store->mutation);
	wait_turn(store);
	return commit(store, &record, &(struct parsed){ 0 });
}

int store_revoke_grant(struct store *store, struct bytes id, struct bytes room_id, bool purge)
{
	struct record record = {
		.op = RECORD_GRANT_DROPPED, .time_ms = clock_now_ms(), .app_id = id, .room_id = room_id, .purge = purge
	};
	int r;

	{
		LOCKED(&store->mutation);
		wait_turn(store);
		r = commit(store, &record, &(struct parsed){ 0 });
	}
	if (r == 0 && purge)
		erase(store);
	return r;
}

/* ---- adding room keys ---- */

/* what store_add_room_keys() finds out about its keys */
struct addition {
	struct record record;
	struct parsed parsed;  /* its keys are borrowed from the caller */
	struct secret **texts; /* of the record's keys; as many */
	uint32_t *numbers;     /* of each of the caller's keys */
};

static void addition_fini(struct addition *a)
{
	for (size_t i = 0; a->texts && i < a->record.n_keys; i++)
		secret_free(a->texts[i]);
	free(a->texts);
	free(a->numbers);
	free(a->record.keys);
	free(a->parsed.keys);
}

static const struct record_key *find_added(const struct addition *a, const struct room_key_in *in)
{
	for (size_t i = 0; i < a->record.n_keys; i++)
		if (bytes_eq(a->record.keys[i].kid, in->kid) && roomkey_same(a->parsed.keys[i], in->key))
			return &a->record.keys[i];
	return NULL;
}

/* Number the keys: known ones keep their number, new ones join the record. */
static int sort_out(struct addition *a, const struct room *room, const struct room_key_in *keys, size_t n_keys)
{
	a->numbers = calloc(n_keys + 1, sizeof(*a->numbers));
	a->record.keys = calloc(n_keys + 1, sizeof(*a->record.keys));
	a->parsed.keys = calloc(n_keys + 1, sizeof(struct roomkey *));
	a->texts = calloc(n_keys + 1, sizeof(struct secret *));
	if (!a->numbers || !a->record.keys || !a->parsed.keys || !a->texts)
		return ERR_NOMEM;
	for (size_t i = 0; i < n_keys; i++) {
		const struct ring_key *known = ring_same(room->tip.ring, keys[i].kid, keys[i].key);
		const struct record_key *added = find_added(a, &keys[i]);
		size_t n = a->record.n_keys;
		int r;

		if (known || added) {
			a->numbers[i] = known ? known->number : added->number;
			continue;
		}
		r = roomkey_get_jwk(keys[i].key, &a->texts[n]);
		if (r < 0)
			return r;
		a->numbers[i] = room->tip.next_number + (uint32_t)n;
		a->parsed.keys[n] = keys[i].key;
		a->record.keys[n] = (struct record_key){
			.number = a->numbers[i],
			.kid = keys[i].kid,
			.jwk = secret_bytes(a->texts[n]),
			.ts = keys[i].ts,
			.order_ms = keys[i].ts.n ? keys[i].order_ms : a->record.time_ms,
		};
		a->record.n_keys = a->parsed.n_keys = n + 1;
	}
	return 0;
}

/* What the record is to say, by the room as all that is staged leaves it. */
static int prepare_addition(struct addition *a, struct app *app, struct bytes room_id, unsigned perms,
			    struct room_key_in *keys, size_t n_keys, int make_current)
{
	const struct room *room = app_find_room(app, room_id);
	const struct ring_key *current;
	uint32_t number;
	int r;

	if (!room || !room->tip.perms || (room->tip.perms & perms) != perms)
		return ERR_ROOM_NOT_AUTHORIZED;
	r = sort_out(a, room, keys, n_keys);
	if (r < 0)
		return r;
	current = ring_current(room->tip.ring);
	number = current ? current->number : RECORD_SAME_CURRENT;
	if (make_current >= 0 && number != a->numbers[make_current]) {
		a->record.current = number = a->numbers[make_current];
		a->record.current_kid = keys[make_current].kid;
	}
	for (size_t i = 0; i < n_keys; i++)
		keys[i].ret_current = number == a->numbers[i];
	return 0;
}

/* Return: as store_add_room_keys(); ERR_BUSY where what was found may not last, and all has to be looked at again. */
static int add_room_keys(struct store *store, struct app *app, struct bytes room_id, unsigned perms, bool created,
			 struct room_key_in *keys, size_t n_keys, int make_current)
{
	CLEANUP(addition_fini)
	struct addition a = { .record = { .op = created ? RECORD_ROOM_KEY_CREATED : RECORD_ROOM_KEYS_ADDED,
					  .time_ms = clock_now_ms(),
					  .app_id = app_id(app),
					  .room_id = room_id,
					  .current = RECORD_SAME_CURRENT } };
	int r = prepare_addition(&a, app, room_id, perms, keys, n_keys, make_current);

	if (r == 0 && (a.record.n_keys || a.record.current != RECORD_SAME_CURRENT))
		return commit(store, &a.record, &a.parsed);
	return r == ERR_NOMEM || wait_settled(store) ? r : ERR_BUSY;
}

int store_add_room_keys(struct store *store, struct app *app, struct bytes room_id, unsigned perms, bool created,
			struct room_key_in *keys, size_t n_keys, int make_current)
{
	int r;

	assert(!created || n_keys == 1);
	assert(make_current < 0 || (size_t)make_current < n_keys);
	LOCKED(&store->mutation);
	wait_turn(store);
	do {
		if (!store->log)
			return ERR_LOCKED;
		r = add_room_keys(store, app, room_id, perms, created, keys, n_keys, make_current);
	} while (r == ERR_BUSY);
	return r;
}
