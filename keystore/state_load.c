/*
 * state_load - taking in what a keystore holds, and forgetting it again
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "keystore/state_private.h"

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

			all[i] = state_new_identity(id->key_id, id->created_ms, parsed->identities[i]);
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
	struct app *app = state_find_place(state, record->app_id);
	int r = 0;

	if (app && app->tip)
		return ERR_ALREADY_EXISTS;
	if (!app)
		r = state_make_place(state, record->app_id, &app);
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
	r = state_make_ring_keys(record, parsed, change, room->tip.next_number, room->loading);
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
	state_publish_room(state, app, room, &to);
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
	/* only now: a token's reset comes behind the app's making, and a session must not look over for as long as that is being read */
	for (size_t i = 0; i < state->apps.n; i++)
		app_publish_epoch(state->apps.sorted[i]);
	return 0;
}

void state_forget(struct state *state)
{
	for (size_t i = 0; i < state->apps.n; i++) {
		struct app *app = state->apps.sorted[i];

		state_set_tip(app, NULL);
		app_publish_view(app, NULL, false);
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
