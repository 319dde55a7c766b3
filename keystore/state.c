#include "keystore/state_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static struct bytes app_id_of(const void *value)
{
	return app_id(value);
}

int state_init(struct state *state)
{
	*state = (struct state){ .apps = IDMAP_INIT(app_id_of) };
	atomic_init(&state->n_apps, 0);
	atomic_init(&state->room_keys, 0);
	return lock_init(&state->lock);
}

void state_fini(struct state *state)
{
	for (size_t i = 0; i < state->apps.n; i++)
		app_unref(state->apps.sorted[i]);
	idmap_fini(&state->apps);
	(void)pthread_rwlock_destroy(&state->lock);
}

struct app *state_find(struct state *state, struct bytes id)
{
	struct app *app;

	(void)pthread_rwlock_rdlock(&state->lock);
	app = app_ref(idmap_find(&state->apps, id));
	(void)pthread_rwlock_unlock(&state->lock);
	if (app && !app_is_seen(app)) {
		app_unref(app);
		app = NULL;
	}
	return app;
}

struct app *state_find_place(struct state *state, struct bytes id)
{
	return idmap_find(&state->apps, id);
}

struct app *state_find_tip(struct state *state, struct bytes id)
{
	struct app *app = state_find_place(state, id);

	return app && app->tip ? app : NULL;
}

/* ---- preparing ---- */

void state_release(struct change *change)
{
	for (size_t i = 0; i < change->n_rooms; i++)
		ring_unref(change->rooms[i].to.ring);
	free(change->rooms);
	secret_free(change->app_key);
	app_view_unref(change->view);
	app_unref(change->app);
	*change = (struct change){ 0 };
}

struct identity state_new_identity(struct bytes key_id, int64_t created_ms, struct rsa_key *key)
{
	struct identity id = { .created_ms = created_ms, .key = key };

	assert(key_id.n == sizeof(id.key_id) - 1);
	memcpy(id.key_id, key_id.p, key_id.n);
	return id;
}

/* A new entry of change->rooms, for a room that may be a new one; a room that is listed already is found again. */
static int change_room(struct state *state, struct change *change, struct bytes room_id, bool add,
		       struct room_change **ret)
{
	struct room *room = app_find_room(change->app, room_id);
	struct room_change *entry = change->rooms;
	int r;

	if (!room && !add)
		return ERR_NOT_FOUND;
	if (!room) {
		r = app_add_room(change->app, room_id, state->loading, &room);
		if (r < 0)
			return r;
	}
	while (entry < change->rooms + change->n_rooms && entry->room != room)
		entry++;
	if (entry == change->rooms + change->n_rooms) {
		*entry = (struct room_change){ .room = room };
		room_state_set(&entry->to, &room->tip);
		change->n_rooms++;
	}
	*ret = entry;
	return 0;
}

static int reserve_rooms(struct change *change, size_t n)
{
	change->rooms = calloc(n ? n : 1, sizeof(*change->rooms));
	return change->rooms ? 0 : ERR_NOMEM;
}

int state_make_place(struct state *state, struct bytes id, struct app **ret)
{
	CLEANUP(app_unrefp) struct app *app = NULL;
	int r = app_new(id, &app);

	if (r < 0)
		return r;
	(void)pthread_rwlock_wrlock(&state->lock);
	r = idmap_reserve(&state->apps);
	if (r == 0)
		idmap_add(&state->apps, app_ref(app), state->loading);
	(void)pthread_rwlock_unlock(&state->lock);
	if (r < 0)
		return r;
	*ret = app; /* borrowed from the map */
	return 0;
}

static int prepare_app(struct state *state, const struct record *record, const struct parsed *parsed,
		       struct change *change)
{
	struct identity identity = state_new_identity(record->key_id, record->created_ms, parsed->identities[0]);
	const struct app_view view = {
		.name = record->name,
		.created_ms = record->created_ms,
		.token_epoch = state->epoch_base + record->seq,
		.token_seq = record->seq,
		.token = parsed->token,
		.n_identities = 1,
		.identities = &identity,
	};
	struct app *app = state_find_place(state, record->app_id);
	int r = 0;

	if (!app)
		r = state_make_place(state, record->app_id, &app);
	if (r < 0)
		return r;
	change->app = app_ref(app);
	r = view_new(&view, &change->view);
	if (r == 0)
		r = secret_dup(secret_bytes(parsed->app_key), &change->app_key);
	if (r == 0)
		r = reserve_rooms(change, record->n_grants);
	for (size_t i = 0; i < record->n_grants && r == 0; i++) {
		struct room_change *entry;

		r = change_room(state, change, record->grants[i].room_id, true, &entry);
		if (r == 0)
			entry->to.perms = record->grants[i].perms;
	}
	return r;
}

static int prepare_token(struct state *state, const struct record *record, const struct parsed *parsed,
			 struct change *change)
{
	struct app_view view = *change->app->tip;

	view.token = parsed->token;
	view.token_seq = record->seq;
	view.token_epoch = state->epoch_base + record->seq;
	return view_new(&view, &change->view);
}

static int prepare_identity(const struct record *record, const struct parsed *parsed, struct change *change)
{
	struct app_view view = *change->app->tip;
	struct rsa_key *key = parsed->identities[0];
	struct identity *all;
	size_t n = 0;
	int r;

	if (rsa_same_public(view.identities[0].key, key))
		return ERR_ALREADY_EXISTS;
	if (view.n_identities > STORE_MAX_RETIRED)
		return ERR_FORBIDDEN;
	all = calloc(view.n_identities + 1, sizeof(*all));
	if (!all)
		return ERR_NOMEM;
	for (size_t i = 0; i < view.n_identities; i++) {
		if (!rsa_same_public(view.identities[i].key, key)) /* a retired key comes back */
			all[++n] = view.identities[i];
	}
	all[1].retired_ms = record->time_ms;
	all[1].expires_ms = record->previous_expires_ms;
	all[0] = state_new_identity(record->key_id, record->time_ms, key);
	view.identities = all;
	view.n_identities = n + 1;
	memcpy(change->former_key_id, all[1].key_id, UUID_SIZE);
	r = view_new(&view, &change->view); /* copies */
	free(all);
	return r;
}

static bool is_tombstone(const struct app_view *view, struct bytes key_id)
{
	for (size_t i = 0; i < view->n_tombstones; i++)
		if (bytes_eq(bytes_str(view->tombstones[i].key_id), key_id))
			return true;
	return false;
}

/* An identity key goes: revoked, which is remembered, or at the end of its grace. */
static int prepare_key_gone(const struct record *record, struct change *change)
{
	struct app_view view = *change->app->tip;
	struct identity_tombstone *tombs = NULL;
	struct identity *left = NULL;
	size_t at = 0;
	int r = ERR_NOMEM;

	while (at < view.n_identities && !bytes_eq(bytes_str(view.identities[at].key_id), record->key_id))
		at++;
	if (at == view.n_identities)
		return is_tombstone(&view, record->key_id) ? ERR_FORBIDDEN : ERR_NOT_FOUND;
	if (at == 0)
		return ERR_FORBIDDEN; /* the current one */
	left = calloc(view.n_identities, sizeof(*left));
	tombs = calloc(view.n_tombstones + 1, sizeof(*tombs));
	if (left && tombs) {
		memcpy(left, view.identities, at * sizeof(*left));
		memcpy(left + at, view.identities + at + 1, (view.n_identities - at - 1) * sizeof(*left));
		if (view.n_tombstones)
			memcpy(tombs + 1, view.tombstones, view.n_tombstones * sizeof(*tombs));
		memcpy(tombs[0].key_id, view.identities[at].key_id, UUID_SIZE);
		tombs[0].created_ms = view.identities[at].created_ms;
		tombs[0].revoked_ms = record->time_ms;
		view.identities = left;
		view.n_identities--;
		if (record->op == RECORD_KEY_REVOKED) {
			view.tombstones = tombs;
			view.n_tombstones += view.n_tombstones < STORE_MAX_TOMBSTONES;
		}
		r = view_new(&view, &change->view); /* copies */
	}
	free(tombs);
	free(left);
	return r;
}

static int prepare_escrow(const struct parsed *parsed, struct change *change)
{
	struct app_view view = *change->app->tip;

	view.escrow = parsed->escrow;
	return view_new(&view, &change->view);
}

static int prepare_grant(struct state *state, const struct record *record, struct change *change)
{
	struct room_change *entry;
	int r = change_room(state, change, record->room_id, true, &entry);

	if (r == 0)
		entry->to.perms = record->perms;
	return r;
}

static bool has_keys(const struct room *room)
{
	return ring_len(room->tip.ring) || (room->loading && room->loading->n);
}

static int prepare_drop(struct state *state, const struct record *record, struct change *change)
{
	struct room_change *entry;
	int r = change_room(state, change, record->room_id, false, &entry);

	if (r < 0)
		return r;
	if (!entry->to.perms && !(record->purge && has_keys(entry->room)))
		return ERR_NOT_FOUND;
	entry->to.perms = 0;
	if (record->purge) {
		ring_unref(TAKE(entry->to.ring));
		if (entry->room->loading)
			ring_list_fini(entry->room->loading);
	}
	return 0;
}

int state_make_ring_keys(const struct record *record, const struct parsed *parsed, bool in_order, unsigned first,
			 struct ring_list *ret)
{
	for (size_t i = 0; i < record->n_keys; i++) {
		const struct record_key *k = &record->keys[i];
		struct ring_key *key;
		int r;

		if (in_order && k->number != first + i)
			return ERR_INVALID_KEY;
		r = ring_key_new(k->number, k->kid, k->ts, k->order_ms, parsed->keys[i], &key);
		if (r == 0)
			r = ring_list_add(ret, key);
		if (r < 0)
			return r;
	}
	return 0;
}

static int prepare_keys(struct state *state, const struct record *record, const struct parsed *parsed,
			struct change *change)
{
	CLEANUP(ring_list_fini) struct ring_list added = RING_LIST_INIT;
	struct ring *ring = NULL;
	struct room_change *entry;
	int r = change_room(state, change, record->room_id, false, &entry);

	if (r < 0)
		return r;
	if (record->n_keys >= RECORD_SAME_CURRENT - entry->to.next_number)
		return ERR_INVALID_KEY;
	r = state_make_ring_keys(record, parsed, true, entry->to.next_number, &added);
	if (r == 0)
		r = ring_new(entry->to.ring, added.keys, added.n, record->current, &ring);
	if (r < 0)
		return r;
	ring_unref(entry->to.ring);
	entry->to.ring = ring;
	entry->to.next_number += (unsigned)record->n_keys;
	return 0;
}

static int prepare_revoked(const struct record *record, struct change *change)
{
	struct app_view view = *change->app->tip;

	view.revoked_ms = record->time_ms;
	view.token = NULL;
	view.token_epoch = UINT64_MAX;
	view.escrow = NULL;
	view.identities = NULL;
	view.n_identities = 0;
	view.tombstones = NULL;
	view.n_tombstones = 0;
	change->revoke = true;
	return view_new(&view, &change->view);
}

int state_prepare(struct state *state, const struct record *record, const struct parsed *parsed, struct change *ret)
{
	CLEANUP(state_release) struct change change = { .app = app_ref(state_find_tip(state, record->app_id)) };
	int r = ERR_INTERNAL;

	if (record->op == RECORD_APP_CREATED) {
		if (change.app)
			return ERR_ALREADY_EXISTS;
		r = prepare_app(state, record, parsed, &change);
		if (r < 0)
			return r;
		*ret = change;
		change = (struct change){ 0 };
		return 0;
	}
	if (!change.app)
		return ERR_NOT_FOUND;
	if (change.app->tip->revoked_ms)
		return ERR_FORBIDDEN;
	r = reserve_rooms(&change, 1);
	if (r < 0)
		return r;
	switch (record->op) {
	case RECORD_TOKEN_SET:
		r = prepare_token(state, record, parsed, &change);
		break;
	case RECORD_IDENTITY_ADDED:
		r = prepare_identity(record, parsed, &change);
		break;
	case RECORD_GRANT_SET:
		r = prepare_grant(state, record, &change);
		break;
	case RECORD_GRANT_DROPPED:
		r = prepare_drop(state, record, &change);
		break;
	case RECORD_ROOM_KEYS_ADDED:
	case RECORD_ROOM_KEY_CREATED:
		r = prepare_keys(state, record, parsed, &change);
		break;
	case RECORD_KEY_REVOKED:
	case RECORD_KEY_EXPIRED:
		r = prepare_key_gone(record, &change);
		break;
	case RECORD_ESCROW_SET:
		r = prepare_escrow(parsed, &change);
		break;
	case RECORD_APP_REVOKED:
		r = prepare_revoked(record, &change);
		break;
	case RECORD_APP_CREATED: /* above */
	case RECORD_CUSTODY:	 /* no changes: state_load() */
	case RECORD_APP:
	case RECORD_ROOM:
	case RECORD_SNAPSHOT_END:
	case RECORD_EVENTS:
		break;
	}
	if (r < 0)
		return r;
	*ret = change;
	change = (struct change){ 0 };
	return 0;
}

/* ---- staging, publishing, taking back ---- */

void state_set_tip(struct app *app, const struct app_view *view)
{
	const struct app_view *old = app->tip;

	app->tip = app_view_ref(view);
	app_view_unref(old);
}

void state_stage(struct change *change)
{
	struct app *app = change->app;

	if (change->view)
		state_set_tip(app, change->view);
	if (change->app_key)
		app->key = TAKE(change->app_key);
	for (size_t i = 0; i < change->n_rooms; i++)
		room_state_set(&change->rooms[i].room->tip, &change->rooms[i].to);
	for (size_t i = 0; change->revoke && i < app->rooms.n; i++)
		room_state_set(&((struct room *)app->rooms.sorted[i])->tip, &(struct room_state){ 0 });
}

void state_publish_room(struct state *state, struct app *app, struct room *room, const struct room_state *to)
{
	size_t before = ring_len(room->now.ring), after = ring_len(to->ring);

	app_publish_room(app, room, to);
	(void)atomic_fetch_add_explicit(&state->room_keys, after - before, memory_order_relaxed); /* wraps well */
}

void state_apply(struct state *state, struct change *change)
{
	struct app *app = change->app;
	bool was_seen = app->view != NULL;

	/* rooms first: whoever sees a new app sees its rooms */
	for (size_t i = 0; i < change->n_rooms; i++)
		state_publish_room(state, app, change->rooms[i].room, &change->rooms[i].to);
	if (change->view)
		app_publish_view(app, change->view, !state->loading);
	if (!was_seen && app->view)
		atomic_fetch_add_explicit(&state->n_apps, 1, memory_order_relaxed);
	if (change->revoke) {
		for (size_t i = 0; i < app->rooms.n; i++) {
			struct room *room = app->rooms.sorted[i];

			state_publish_room(state, app, room, &(struct room_state){ 0 });
			if (room->loading)
				ring_list_fini(room->loading);
		}
		app->n_events = 0; /* that anybody wants */
		atomic_store(&app->events_from, 0);
		secret_freep(&app->key); /* with it whatever is left of the app's records on the disk cannot be read */
	}
	state_release(change);
}

void state_drop(struct change *change)
{
	struct app *app = change->app;

	if (app) {
		state_set_tip(app, app->view);
		if (!app->view)
			secret_freep(&app->key);
		for (size_t i = 0; i < app->rooms.n; i++) {
			struct room *room = app->rooms.sorted[i];

			room_state_set(&room->tip, &room->now);
		}
	}
	state_release(change);
}
