#include "keystore/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "keystore/ring_build.h"

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

/* The mutator alone adds to the map, so it may look without the lock. */
static struct app *find_place(struct state *state, struct bytes id)
{
	return idmap_find(&state->apps, id);
}

struct app *state_find_tip(struct state *state, struct bytes id)
{
	struct app *app = find_place(state, id);

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

static struct identity new_identity(struct bytes key_id, int64_t created_ms, struct rsa_key *key)
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

/* An app's place among the others, for one that nobody sees yet. */
static int make_place(struct state *state, struct bytes id, struct app **ret)
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
	struct identity identity = new_identity(record->key_id, record->created_ms, parsed->identities[0]);
	const struct app_view view = {
		.name = record->name,
		.created_ms = record->created_ms,
		.token_epoch = state->epoch_base + record->seq,
		.token_seq = record->seq,
		.token = parsed->token,
		.n_identities = 1,
		.identities = &identity,
	};
	struct app *app = find_place(state, record->app_id);
	int r = 0;

	if (!app)
		r = make_place(state, record->app_id, &app);
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
	all[0] = new_identity(record->key_id, record->time_ms, key);
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

/* The keys of a record as a list; numbers follow the former ones. */
static int make_ring_keys(const struct record *record, const struct parsed *parsed, bool in_order, unsigned first,
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
	r = make_ring_keys(record, parsed, true, entry->to.next_number, &added);
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

static void set_tip(struct app *app, const struct app_view *view)
{
	const struct app_view *old = app->tip;

	app->tip = app_view_ref(view);
	app_view_unref(old);
}

void state_stage(struct change *change)
{
	struct app *app = change->app;

	if (change->view)
		set_tip(app, change->view);
	if (change->app_key)
		app->key = TAKE(change->app_key);
	for (size_t i = 0; i < change->n_rooms; i++)
		room_state_set(&change->rooms[i].room->tip, &change->rooms[i].to);
	for (size_t i = 0; change->revoke && i < app->rooms.n; i++)
		room_state_set(&((struct room *)app->rooms.sorted[i])->tip, &(struct room_state){ 0 });
}

static void publish_room(struct state *state, struct app *app, struct room *room, const struct room_state *to)
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
		publish_room(state, app, change->rooms[i].room, &change->rooms[i].to);
	if (change->view)
		app_publish_view(app, change->view);
	if (!was_seen && app->view)
		atomic_fetch_add_explicit(&state->n_apps, 1, memory_order_relaxed);
	if (change->revoke) {
		for (size_t i = 0; i < app->rooms.n; i++) {
			struct room *room = app->rooms.sorted[i];

			publish_room(state, app, room, &(struct room_state){ 0 });
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
		set_tip(app, app->view);
		if (!app->view)
			secret_freep(&app->key);
		for (size_t i = 0; i < app->rooms.n; i++) {
			struct room *room = app->rooms.sorted[i];

			room_state_set(&room->tip, &room->now);
		}
	}
	state_release(change);
}

/* ---- loading ---- */

void state_begin_loading(struct state *state)
{
	state->loading = true;
}

static int parse_identity(const struct record *record, struct bytes sealed, const struct secret *app_key,
			  struct rsa_key **ret)
{
	CLEANUP(secret_freep) struct secret *der = NULL;
	int r = record_open_secret(record, sealed, app_key, &der);

	return r < 0 ? r : rsa_from_pkcs8(der, ret);
}

static int parse_room_key(const struct record *record, struct bytes sealed, const struct secret *app_key,
			  struct roomkey **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r = record_open_secret(record, sealed, app_key, &text);

	return r < 0 ? r : roomkey_from_jwk(text, ret);
}

static void parsed_fini(struct parsed *parsed)
{
	secret_free(parsed->token);
	secret_free(parsed->app_key);
	secret_free(parsed->escrow);
	for (size_t i = 0; i < parsed->n_identities; i++)
		rsa_unref(parsed->identities[i]);
	free(parsed->identities);
	for (size_t i = 0; i < parsed->n_keys; i++)
		roomkey_unref(parsed->keys[i]);
	free(parsed->keys);
	*parsed = (struct parsed){ 0 };
}

static int parse_identities(const struct record *record, const struct secret *app_key, struct parsed *parsed)
{
	const struct record_identity one = { .pkcs8 = record->pkcs8 };
	const struct record_identity *all = record->n_identities ? record->identities : &one;
	size_t n = record->n_identities ? record->n_identities : record->pkcs8.n ? 1 : 0;

	parsed->identities = calloc(n + 1, sizeof(struct rsa_key *));
	if (!parsed->identities)
		return ERR_NOMEM;
	for (; parsed->n_identities < n; parsed->n_identities++) {
		int r = parse_identity(record, all[parsed->n_identities].pkcs8, app_key,
				       &parsed->identities[parsed->n_identities]);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The secrets of a decoded record; the app's key comes with the record, or from the records before. */
static int parse_record(struct state *state, const struct record *record, struct parsed *parsed)
{
	struct app *app = state_find_tip(state, record->app_id);
	const struct secret *app_key = app ? app->key : NULL;
	int r = 0;

	if (record->app_key.n) {
		r = secret_dup(record->app_key, &parsed->app_key);
		app_key = parsed->app_key;
	}
	if (r == 0 && record->token.n)
		r = record_open_secret(record, record->token, app_key, &parsed->token);
	if (r == 0 && record->escrow.n)
		r = record_open_secret(record, record->escrow, app_key, &parsed->escrow);
	if (r == 0)
		r = parse_identities(record, app_key, parsed);
	if (r < 0)
		return r;
	parsed->keys = calloc(record->n_keys + 1, sizeof(struct roomkey *));
	if (!parsed->keys)
		return ERR_NOMEM;
	for (; parsed->n_keys < record->n_keys; parsed->n_keys++) {
		r = parse_room_key(record, record->keys[parsed->n_keys].jwk, app_key, &parsed->keys[parsed->n_keys]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_view(const struct app_view *from, const struct record *record, const struct parsed *parsed,
		     struct app_view **ret)
{
	struct app_view view = *from;
	struct identity *all = calloc(record->n_identities + 1, sizeof(*all));
	struct identity_tombstone *tombs = calloc(record->n_tombstones + 1, sizeof(*tombs));
	int r = ERR_NOMEM;

	if (all && tombs) {
		for (size_t i = 0; i < record->n_identities; i++) {
			const struct record_identity *id = &record->identities[i];

			all[i] = new_identity(id->key_id, id->created_ms, parsed->identities[i]);
			all[i].retired_ms = id->retired_ms;
			all[i].expires_ms = id->expires_ms;
		}
		for (size_t i = 0; i < record->n_tombstones; i++) {
			const struct record_tombstone *tomb = &record->tombstones[i];

			memcpy(tombs[i].key_id, tomb->key_id.p, tomb->key_id.n); /* a UUID, as was checked */
			tombs[i].created_ms = tomb->created_ms;
			tombs[i].revoked_ms = tomb->revoked_ms;
		}
		view.identities = all;
		view.n_identities = record->n_identities;
		view.tombstones = tombs;
		view.n_tombstones = record->n_tombstones;
		r = view_new(&view, ret); /* copies */
	}
	free(tombs);
	free(all);
	return r;
}

static int load_app(struct state *state, const struct record *record, const struct parsed *parsed)
{
	CLEANUP(state_release) struct change change = { 0 };
	const struct app_view view = {
		.name = record->name,
		.created_ms = record->created_ms,
		.revoked_ms = record->revoked_ms,
		.token_seq = record->token_seq,
		.token_epoch = record->revoked_ms ? UINT64_MAX : state->epoch_base + record->token_seq,
		.token = parsed->token,
		.escrow = parsed->escrow,
	};
	struct app *app = find_place(state, record->app_id);
	int r = 0;

	if (app && app->tip)
		return ERR_ALREADY_EXISTS;
	if (!app)
		r = make_place(state, record->app_id, &app);
	if (r < 0)
		return r;
	change.app = app_ref(app);
	r = load_view(&view, record, parsed, &change.view);
	if (r == 0 && parsed->app_key)
		r = secret_dup(secret_bytes(parsed->app_key), &change.app_key);
	if (r < 0)
		return r;
	state_stage(&change);
	state_apply(state, &change);
	atomic_store(&app->events_from, record->events_from);
	return 0;
}

/* Keys of a room, from a change or a snapshot: collected, and made into a ring when all is read. */
static int load_keys(struct state *state, const struct record *record, const struct parsed *parsed)
{
	struct app *app = state_find_tip(state, record->app_id);
	bool change = record->op != RECORD_ROOM;
	struct room *room;
	int r = 0;

	if (!app || app->tip->revoked_ms)
		return ERR_NOT_FOUND;
	room = app_find_room(app, record->room_id);
	if (!room && change)
		return ERR_NOT_FOUND;
	if (!room)
		r = app_add_room(app, record->room_id, true, &room);
	if (r == 0 && !room->loading) {
		room->loading = malloc(sizeof(*room->loading));
		if (!room->loading)
			return ERR_NOMEM;
		*room->loading = RING_LIST_INIT;
	}
	if (r < 0)
		return r;
	if (change && record->n_keys >= RECORD_SAME_CURRENT - room->tip.next_number)
		return ERR_INVALID_KEY;
	r = make_ring_keys(record, parsed, change, room->tip.next_number, room->loading);
	if (r < 0)
		return r;
	if (change) {
		room->tip.next_number += (unsigned)record->n_keys;
	} else {
		room->tip.next_number = record->next_number;
		room->tip.perms = record->perms;
	}
	if (record->current != RECORD_SAME_CURRENT)
		room->loading->current = record->current;
	app_publish_room(app, room, &room->tip); /* without keys so far */
	return 0;
}

int state_load(struct state *state, const struct record *record, struct buf *why)
{
	CLEANUP(parsed_fini) struct parsed parsed = { 0 };
	struct change change;
	int r = parse_record(state, record, &parsed);

	assert(state->loading);
	if (r == ERR_NOMEM)
		return r;
	if (r < 0) {
		buf_put_str(why, "a record is sealed well but holds a key that is not usable");
		return ERR_DAMAGED;
	}
	switch (record->op) {
	case RECORD_APP:
		r = load_app(state, record, &parsed);
		break;
	case RECORD_ROOM:
	case RECORD_ROOM_KEYS_ADDED:
	case RECORD_ROOM_KEY_CREATED:
		r = load_keys(state, record, &parsed);
		break;
	default:
		r = state_prepare(state, record, &parsed, &change);
		if (r < 0)
			break;
		state_stage(&change);
		state_apply(state, &change);
	}
	if (r < 0 && r != ERR_NOMEM) {
		buf_put_str(why, "a record is sealed well but contradicts the ones before it");
		r = ERR_DAMAGED;
	}
	return r;
}

static int finish_room(struct state *state, struct app *app, struct room *room, struct buf *why)
{
	struct ring_list *list = TAKE(room->loading);
	struct room_state to = room->tip;
	int r = 0;

	to.ring = NULL;
	if (list && list->n)
		r = ring_new(NULL, list->keys, list->n, list->current, &to.ring);
	if (list)
		ring_list_fini(list);
	free(list);
	if (r < 0) {
		if (r != ERR_NOMEM)
			buf_put_str(why, "a room's current key is not among its keys");
		return r == ERR_NOMEM ? r : ERR_DAMAGED;
	}
	room_state_set(&room->tip, &to);
	publish_room(state, app, room, &to);
	ring_unref(to.ring);
	return 0;
}

int state_loaded(struct state *state, struct buf *why)
{
	for (size_t i = 0; i < state->apps.n; i++) {
		struct app *app = state->apps.sorted[i];

		app_sort_rooms(app);
		for (size_t k = 0; k < app->rooms.n; k++) {
			int r = finish_room(state, app, app->rooms.sorted[k], why);

			if (r < 0)
				return r;
		}
	}
	(void)pthread_rwlock_wrlock(&state->lock);
	idmap_sort(&state->apps);
	(void)pthread_rwlock_unlock(&state->lock);
	state->loading = false;
	return 0;
}

void state_forget(struct state *state)
{
	for (size_t i = 0; i < state->apps.n; i++) {
		struct app *app = state->apps.sorted[i];

		set_tip(app, NULL);
		app_publish_view(app, NULL);
		app->n_events = 0;
		atomic_store(&app->events_from, 0);
		secret_freep(&app->key);
		for (size_t k = 0; k < app->rooms.n; k++) {
			struct room *room = app->rooms.sorted[k];

			room_state_set(&room->tip, &(struct room_state){ 0 });
			app_publish_room(app, room, &(struct room_state){ 0 });
			if (room->loading)
				ring_list_fini(room->loading);
			free(TAKE(room->loading));
		}
	}
	atomic_store(&state->n_apps, 0);
	atomic_store(&state->room_keys, 0);
}

void state_end_absent(struct state *state)
{
	for (size_t i = 0; i < state->apps.n; i++) {
		struct app *app = state->apps.sorted[i];

		if (!app->view)
			atomic_store(&app->token_epoch, UINT64_MAX);
	}
}
