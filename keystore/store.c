#include "keystore/store.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "keystore/app.h"
#include "keystore/record.h"
#include "keystore/state.h"

struct store {
	pthread_mutex_t
		mutation; /* one mutation at a time: over the log, and over what only a mutator may do to the state */
	struct sealed_log *log; /* owned */
	struct state state;
	struct seal seal; /* owned */

	pthread_mutex_t info_lock; /* over info: a copy, so that looking does not wait for a disk */
	struct sealed_log_info info;
};

static void lock(pthread_mutex_t *mutex)
{
	int r = pthread_mutex_lock(mutex);

	assert(r == 0); /* fails only for mistakes of ours */
	(void)r;
}

static void unlockp(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex);
}

/* Hold @mutex_ until the end of the block. */
#define LOCKED(mutex_)                                             \
	CLEANUP(unlockp) pthread_mutex_t *locked_mutex = (mutex_); \
	lock(locked_mutex)

static void note_info(struct store *store)
{
	LOCKED(&store->info_lock);
	sealed_log_get_info(store->log, &store->info);
}

/* ---- opening ---- */

struct replay {
	struct state *state;
	struct buf *why;
};

static int replay_record(void *arg, uint64_t seq, struct bytes plain)
{
	struct replay *replay = arg;
	CLEANUP(record_fini) struct record record = { 0 };
	CLEANUP(parsed_fini) struct parsed parsed = { 0 };
	struct change change;
	int r;

	(void)seq; /* the log names it */
	r = record_decode(plain, replay->why, &record);
	if (r < 0)
		return r;
	r = parsed_from_record(&record, &parsed);
	if (r == ERR_INVALID_KEY) {
		buf_put_str(replay->why, "a record is sealed well but holds a key that is not usable");
		return ERR_DAMAGED;
	}
	if (r < 0)
		return r;
	r = state_prepare(replay->state, &record, &parsed, &change);
	if (r < 0 && r != ERR_NOMEM) {
		buf_put_str(replay->why, "a record is sealed well but contradicts the ones before it");
		return ERR_DAMAGED;
	}
	if (r < 0)
		return r;
	state_apply(replay->state, &change);
	return 0;
}

int store_open(const char *path, struct seal *seal, bool create, struct buf *why, struct store **ret)
{
	struct store *store = calloc(1, sizeof(*store));
	struct replay replay;
	int r;

	if (!store) {
		seal->fini(seal);
		return ERR_NOMEM;
	}
	store->seal = *seal;
	*seal = (struct seal){ 0 };
	(void)pthread_mutex_init(&store->mutation, NULL); /* the default kind allocates nothing and cannot fail */
	(void)pthread_mutex_init(&store->info_lock, NULL);
	r = state_init(&store->state);
	if (r < 0) {
		store->seal.fini(&store->seal);
		free(store);
		return r;
	}
	replay = (struct replay){ &store->state, why };
	r = sealed_log_open(path, &store->seal, create, replay_record, &replay, why, &store->log);
	if (r < 0) {
		store_close(store);
		return r;
	}
	state_loaded(&store->state);
	note_info(store);
	*ret = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	sealed_log_close(store->log);
	state_fini(&store->state);
	store->seal.fini(&store->seal);
	(void)pthread_mutex_destroy(&store->info_lock);
	(void)pthread_mutex_destroy(&store->mutation);
	free(store);
}

void store_get_info(struct store *store, struct store_info *ret)
{
	struct store_info info;

	(void)pthread_rwlock_rdlock(&store->state.lock);
	info.apps = store->state.apps.n;
	(void)pthread_rwlock_unlock(&store->state.lock);
	info.room_keys = atomic_load_explicit(&store->state.room_keys, memory_order_relaxed);
	{
		LOCKED(&store->info_lock);
		info.log = store->info;
	}
	*ret = info;
}

/* ---- finding ---- */

struct app *store_find_app(struct store *store, struct bytes id)
{
	return state_find(&store->state, id);
}

void store_each_app(struct store *store, void (*fn)(void *arg, struct app *app), void *arg)
{
	(void)pthread_rwlock_rdlock(&store->state.lock);
	for (size_t i = 0; i < store->state.apps.n; i++)
		fn(arg, store->state.apps.sorted[i]);
	(void)pthread_rwlock_unlock(&store->state.lock);
}

/* ---- mutations ---- */

/* With the mutation lock: check, build, make durable, publish. */
static int commit(struct store *store, const struct record *record, const struct parsed *parsed)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	CLEANUP(change_fini) struct change change = { 0 };
	uint64_t seq;
	int r;

	r = state_prepare(&store->state, record, parsed, &change);
	if (r < 0)
		return r;
	r = record_encode(record, &plain);
	if (r < 0)
		return r;
	r = sealed_log_append(store->log, secret_bytes(plain), &seq);
	if (r == 0)
		state_apply(&store->state, &change);
	note_info(store); /* a failure may have ended all appends, which is worth seeing */
	return r;
}

int store_create_app(struct store *store, struct bytes id, struct bytes name, const struct secret *token,
		     struct rsa_key *key, const struct room_grant *rooms, size_t n_rooms, char ret_key_id[UUID_SIZE])
{
	CLEANUP(secret_freep) struct secret *pkcs8 = NULL;
	struct parsed parsed = { .identity = key }; /* borrowed: not released here */
	char key_id[UUID_SIZE];
	int64_t now = clock_now_ms();
	int r;

	r = rsa_to_pkcs8(key, &pkcs8);
	if (r < 0)
		return r;
	rand_uuid(key_id);
	struct record record = {
		.op = RECORD_APP_CREATED,
		.time_ms = now,
		.app_id = id,
		.name = name,
		.token = secret_bytes(token),
		.key_id = bytes_str(key_id),
		.pkcs8 = secret_bytes(pkcs8),
		.created_ms = now,
		.grants = (struct room_grant *)(uintptr_t)rooms, /* a record's list is const only where it is encoded */
		.n_grants = n_rooms,
	};
	LOCKED(&store->mutation);
	r = commit(store, &record, &parsed);
	if (r < 0)
		return r;
	memcpy(ret_key_id, key_id, sizeof(key_id));
	return 0;
}

int store_reset_token(struct store *store, struct bytes id, const struct secret *token)
{
	struct record record = {
		.op = RECORD_TOKEN_SET, .time_ms = clock_now_ms(), .app_id = id, .token = secret_bytes(token)
	};

	LOCKED(&store->mutation);
	return commit(store, &record, &(struct parsed){ 0 });
}

/* Adopting the key that is current already changes nothing. */
static bool is_current_identity(struct store *store, struct bytes id, const struct rsa_key *key,
				char ret_key_id[UUID_SIZE])
{
	CLEANUP(app_unrefp) struct app *app = store_find_app(store, id);
	CLEANUP(app_view_unrefp) const struct app_view *view = app ? app_get_view(app) : NULL;

	if (!view || !rsa_same_public(view->identities[0].key, key))
		return false;
	memcpy(ret_key_id, view->identities[0].key_id, UUID_SIZE);
	return true;
}

int store_add_identity(struct store *store, struct bytes id, struct rsa_key *key, int64_t grace_ms,
		       char ret_key_id[UUID_SIZE])
{
	CLEANUP(secret_freep) struct secret *pkcs8 = NULL;
	struct parsed parsed = { .identity = key }; /* borrowed: not released here */
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
	if (is_current_identity(store, id, key, ret_key_id))
		return 0;
	r = commit(store, &record, &parsed);
	if (r < 0)
		return r;
	memcpy(ret_key_id, key_id, sizeof(key_id));
	return 0;
}

int store_grant(struct store *store, struct bytes id, struct bytes room_id, unsigned perms)
{
	struct record record = {
		.op = RECORD_GRANT_SET, .time_ms = clock_now_ms(), .app_id = id, .room_id = room_id, .perms = perms
	};

	LOCKED(&store->mutation);
	return commit(store, &record, &(struct parsed){ 0 });
}

int store_revoke_grant(struct store *store, struct bytes id, struct bytes room_id, bool purge)
{
	struct record record = {
		.op = RECORD_GRANT_DROPPED, .time_ms = clock_now_ms(), .app_id = id, .room_id = room_id, .purge = purge
	};

	LOCKED(&store->mutation);
	return commit(store, &record, &(struct parsed){ 0 });
}

/* ---- adding room keys ---- */

/* what store_add_room_keys() finds out about its keys */
struct addition {
	struct record record;
	struct parsed parsed; /* its keys are borrowed from the caller */
	uint32_t *numbers;    /* of each of the caller's keys */
};

static void addition_fini(struct addition *a)
{
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
	if (!a->numbers || !a->record.keys || !a->parsed.keys)
		return ERR_NOMEM;
	for (size_t i = 0; i < n_keys; i++) {
		const struct ring_key *known = ring_same(room->ring, keys[i].kid, keys[i].key);
		const struct record_key *added = find_added(a, &keys[i]);
		size_t n = a->record.n_keys;

		if (known || added) {
			a->numbers[i] = known ? known->number : added->number;
			continue;
		}
		a->numbers[i] = room->next_number + (uint32_t)n;
		a->parsed.keys[n] = keys[i].key;
		a->record.keys[n] = (struct record_key){
			.number = a->numbers[i],
			.kid = keys[i].kid,
			.jwk = secret_bytes(roomkey_jwk(keys[i].key)),
			.ts = keys[i].ts,
			.order_ms = keys[i].ts.n ? keys[i].order_ms : a->record.time_ms,
		};
		a->record.n_keys = a->parsed.n_keys = n + 1;
	}
	return 0;
}

int store_add_room_keys(struct store *store, struct app *app, struct bytes room_id, unsigned perms,
			struct room_key_in *keys, size_t n_keys, int make_current)
{
	CLEANUP(addition_fini)
	struct addition a = { .record = { .op = RECORD_ROOM_KEYS_ADDED,
					  .time_ms = clock_now_ms(),
					  .app_id = app_id(app),
					  .room_id = room_id,
					  .current = RECORD_SAME_CURRENT } };
	const struct ring_key *current;
	const struct room *room;
	int r;

	assert(make_current < 0 || (size_t)make_current < n_keys);
	LOCKED(&store->mutation);
	room = app_find_room(app, room_id);
	if (!room || !room->perms || (room->perms & perms) != perms)
		return ERR_ROOM_NOT_AUTHORIZED;
	r = sort_out(&a, room, keys, n_keys);
	if (r < 0)
		return r;
	current = ring_current(room->ring);
	if (make_current >= 0 && (!current || current->number != a.numbers[make_current]))
		a.record.current = a.numbers[make_current];
	if (a.record.n_keys || a.record.current != RECORD_SAME_CURRENT) {
		r = commit(store, &a.record, &a.parsed);
		if (r < 0)
			return r;
		current = ring_current(room->ring);
	}
	for (size_t i = 0; i < n_keys; i++)
		keys[i].ret_current = current && current->number == a.numbers[i];
	return 0;
}
