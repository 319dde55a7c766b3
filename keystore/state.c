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
	*state = (struct state){ .apps = IDMAP_INIT(app_id_of), .loading = true };
	atomic_init(&state->room_keys, 0);
	return lock_init(&state->lock);
}

void state_loaded(struct state *state)
{
	for (size_t i = 0; i < state->apps.n; i++)
		app_sort_rooms(state->apps.sorted[i]);
	(void)pthread_rwlock_wrlock(&state->lock);
	idmap_sort(&state->apps);
	(void)pthread_rwlock_unlock(&state->lock);
	state->loading = false;
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
	return app;
}

/* ---- the keys of a record ---- */

static int parse_identity(struct bytes pkcs8, struct rsa_key **ret)
{
	CLEANUP(secret_freep) struct secret *der = NULL;
	int r;

	r = secret_dup(pkcs8, &der);
	if (r < 0)
		return r;
	return rsa_from_pkcs8(der, ret);
}

static int parse_room_key(struct bytes jwk, struct roomkey **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r;

	r = secret_dup(jwk, &text);
	if (r < 0)
		return r;
	return roomkey_from_jwk(text, ret);
}

int parsed_from_record(const struct record *record, struct parsed *ret)
{
	CLEANUP(parsed_fini) struct parsed parsed = { 0 };
	int r;

	if (record->pkcs8.n) {
		r = parse_identity(record->pkcs8, &parsed.identity);
		if (r < 0)
			return r;
	}
	if (record->n_keys) {
		parsed.keys = calloc(record->n_keys, sizeof(struct roomkey *));
		if (!parsed.keys)
			return ERR_NOMEM;
	}
	for (size_t i = 0; i < record->n_keys; i++) {
		r = parse_room_key(record->keys[i].jwk, &parsed.keys[i]);
		if (r < 0)
			return r;
		parsed.n_keys++;
	}
	*ret = parsed;
	parsed = (struct parsed){ 0 };
	return 0;
}

void parsed_fini(struct parsed *parsed)
{
	rsa_unref(parsed->identity);
	for (size_t i = 0; i < parsed->n_keys; i++)
		roomkey_unref(parsed->keys[i]);
	free(parsed->keys);
	*parsed = (struct parsed){ 0 };
}

/* ---- preparing ---- */

void change_fini(struct change *change)
{
	if (change->add_room)
		room_free(change->room);
	ring_unref(change->room_state.ring);
	app_view_unref(change->view);
	app_unref(change->app);
	*change = (struct change){ 0 };
}

static struct identity new_identity(const struct record *record, int64_t created_ms, struct rsa_key *key)
{
	struct identity id = { .created_ms = created_ms, .key = key };

	assert(record->key_id.n == sizeof(id.key_id) - 1);
	memcpy(id.key_id, record->key_id.p, record->key_id.n);
	return id;
}

/* Set the grant of @room_id in @app, which nobody else sees yet. */
static int add_first_room(struct app *app, const struct room_grant *grant)
{
	struct room_state state = { .perms = grant->perms };
	struct room *room = app_find_room(app, grant->room_id);
	bool add = !room;

	if (add) {
		int r = app_build_room(app, grant->room_id, &room);

		if (r < 0)
			return r;
	}
	app_set_room(app, room, add, false, &state);
	return 0;
}

static int prepare_app(struct state *state, const struct record *record, const struct parsed *parsed,
		       struct change *change)
{
	CLEANUP(app_unrefp) struct app *app = NULL;
	CLEANUP(secret_freep) struct secret *token = NULL;
	struct identity identity = new_identity(record, record->created_ms, parsed->identity);
	struct app_view *view;
	int r;

	r = app_new(record->app_id, &app);
	if (r < 0)
		return r;
	r = secret_dup(record->token, &token);
	if (r < 0)
		return r;
	r = view_new(&(struct app_view){ .name = record->name,
					 .created_ms = record->created_ms,
					 .token_epoch = 1,
					 .token = token,
					 .n_identities = 1,
					 .identities = &identity },
		     &view);
	if (r < 0)
		return r;
	app_set_view(app, view);
	for (size_t i = 0; i < record->n_grants; i++) {
		r = add_first_room(app, &record->grants[i]);
		if (r < 0)
			return r;
	}
	(void)pthread_rwlock_wrlock(&state->lock);
	r = idmap_reserve(&state->apps);
	(void)pthread_rwlock_unlock(&state->lock);
	if (r < 0)
		return r;
	change->app = TAKE(app);
	change->add_app = true;
	return 0;
}

static int prepare_token(const struct record *record, struct change *change)
{
	CLEANUP(secret_freep) struct secret *token = NULL;
	struct app_view view = *change->app->view;
	int r;

	r = secret_dup(record->token, &token);
	if (r < 0)
		return r;
	view.token = token;
	view.token_epoch++;
	return view_new(&view, &change->view);
}

static int prepare_identity(const struct record *record, const struct parsed *parsed, struct change *change)
{
	struct app_view view = *change->app->view;
	struct identity *all;
	size_t n = 0;
	int r;

	if (rsa_same_public(view.identities[0].key, parsed->identity))
		return ERR_ALREADY_EXISTS;
	all = calloc(view.n_identities + 1, sizeof(*all));
	if (!all)
		return ERR_NOMEM;
	for (size_t i = 0; i < view.n_identities; i++) {
		if (!rsa_same_public(view.identities[i].key, parsed->identity)) /* a retired key comes back */
			all[++n] = view.identities[i];
	}
	all[1].retired_ms = record->time_ms;
	all[1].expires_ms = record->previous_expires_ms;
	all[0] = new_identity(record, record->time_ms, parsed->identity);
	view.identities = all;
	view.n_identities = n + 1;
	r = view_new(&view, &change->view); /* copies */
	free(all);
	return r;
}

static int prepare_grant(const struct record *record, struct change *change)
{
	struct room *room = app_find_room(change->app, record->room_id);

	if (room) {
		change->room_state = (struct room_state){ record->perms, room->next_number, ring_ref(room->ring) };
	} else {
		int r = app_build_room(change->app, record->room_id, &room);

		if (r < 0)
			return r;
		change->add_room = true;
		change->room_state.perms = record->perms;
	}
	change->room = room;
	return 0;
}

static int prepare_drop(const struct record *record, struct change *change)
{
	struct room *room = app_find_room(change->app, record->room_id);

	if (!room || (!room->perms && !(record->purge && ring_len(room->ring))))
		return ERR_NOT_FOUND;
	change->room = room;
	change->room_state = (struct room_state){ .perms = 0,
						  .next_number = room->next_number,
						  .ring = record->purge ? NULL : ring_ref(room->ring) };
	return 0;
}

static int build_ring(const struct room *room, const struct record *record, const struct parsed *parsed,
		      struct ring_key **added, struct ring **ret)
{
	for (size_t i = 0; i < record->n_keys; i++) {
		const struct record_key *k = &record->keys[i];
		int r;

		if (k->number != room->next_number + i)
			return ERR_INVALID_KEY;
		r = ring_key_new(k->number, k->kid, k->ts, k->order_ms, parsed->keys[i], &added[i]);
		if (r < 0)
			return r;
	}
	return ring_new(room->ring, added, record->n_keys, record->current, ret);
}

static int prepare_keys(const struct record *record, const struct parsed *parsed, struct change *change)
{
	struct room *room = app_find_room(change->app, record->room_id);
	struct ring_key **added;
	int r;

	if (!room)
		return ERR_NOT_FOUND;
	if (record->n_keys >= RECORD_SAME_CURRENT - room->next_number)
		return ERR_INVALID_KEY;
	added = calloc(record->n_keys + 1, sizeof(*added));
	if (!added)
		return ERR_NOMEM;
	r = build_ring(room, record, parsed, added, &change->room_state.ring);
	for (size_t i = 0; i < record->n_keys; i++)
		ring_key_unref(added[i]); /* the ring has its own references */
	free(added);
	if (r < 0)
		return r;
	change->room = room;
	change->room_state.perms = room->perms;
	change->room_state.next_number = room->next_number + (unsigned)record->n_keys;
	return 0;
}

int state_prepare(struct state *state, const struct record *record, const struct parsed *parsed, struct change *ret)
{
	CLEANUP(change_fini) struct change change = { .app = state_find(state, record->app_id) };
	int r = ERR_INTERNAL;

	if (record->op == RECORD_APP_CREATED) {
		if (change.app)
			return ERR_ALREADY_EXISTS;
	} else if (!change.app) {
		return ERR_NOT_FOUND;
	}
	switch (record->op) {
	case RECORD_APP_CREATED:
		r = prepare_app(state, record, parsed, &change);
		break;
	case RECORD_TOKEN_SET:
		r = prepare_token(record, &change);
		break;
	case RECORD_IDENTITY_ADDED:
		r = prepare_identity(record, parsed, &change);
		break;
	case RECORD_GRANT_SET:
		r = prepare_grant(record, &change);
		break;
	case RECORD_GRANT_DROPPED:
		r = prepare_drop(record, &change);
		break;
	case RECORD_ROOM_KEYS_ADDED:
		r = prepare_keys(record, parsed, &change);
		break;
	}
	if (r < 0)
		return r;
	*ret = change;
	change = (struct change){ 0 };
	return 0;
}

/* ---- publishing ---- */

void state_apply(struct state *state, struct change *change)
{
	if (change->add_app) {
		(void)pthread_rwlock_wrlock(&state->lock);
		idmap_add(&state->apps, app_ref(change->app), state->loading);
		(void)pthread_rwlock_unlock(&state->lock);
	}
	if (change->view)
		app_set_view(change->app, TAKE(change->view));
	if (change->room) {
		size_t before = ring_len(change->room->ring), after = ring_len(change->room_state.ring);

		app_set_room(change->app, change->room, change->add_room, state->loading, &change->room_state);
		change->add_room = false; /* the app owns it now */
		(void)atomic_fetch_add_explicit(&state->room_keys, after - before,
						memory_order_relaxed); /* wraps well */
	}
	change_fini(change);
}
