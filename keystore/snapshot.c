/*
 * snapshot - the state as records: what a rewritten file begins with
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "keystore/store_private.h"

#define KEYS_PER_RECORD 1024 /* at 8.5 KiB each, at most, well below the largest record */

void snapshot_fini(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_keys; i++)
		secret_free(snapshot->keys[i]);
	free(snapshot->keys);
	event_index_fini(&snapshot->places);
	buf_fini(&snapshot->why_no_events);
}

int snapshot_put(const struct snapshot *snapshot, struct log_writer *w, struct record *record,
		 const struct secret *app_key)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	int r;

	record->seq = snapshot->store->seq;
	record->time_ms = clock_now_ms();
	r = record_encode(record, app_key, &plain);
	return r < 0 ? r : log_writer_put(w, secret_bytes(plain));
}

/* A record's worth of keys, with their texts. */
struct keys {
	struct record_key list[KEYS_PER_RECORD];
	struct secret *texts[KEYS_PER_RECORD];
	size_t n;
};

static void keys_freep(struct keys **keys)
{
	for (size_t i = 0; *keys && i < (*keys)->n; i++)
		secret_free((*keys)->texts[i]);
	free(*keys);
}

/* The keys from @from on, as many as go into a record. */
static int put_keys(const struct snapshot *snapshot, struct log_writer *w, struct record *record,
		    const struct ring *ring, size_t from, const struct secret *app_key)
{
	CLEANUP(keys_freep) struct keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return ERR_NOMEM;
	for (; keys->n < KEYS_PER_RECORD && from < ring_len(ring); from++) {
		const struct ring_key *k = ring_at(ring, from);
		int r = roomkey_get_jwk(k->key, &keys->texts[keys->n]);

		if (r < 0)
			return r;
		keys->list[keys->n] = (struct record_key){
			.number = k->number,
			.kid = k->kid,
			.jwk = secret_bytes(keys->texts[keys->n]),
			.ts = k->ts,
			.order_ms = k->order_ms,
		};
		keys->n++;
	}
	record->keys = keys->list;
	record->n_keys = keys->n;
	return snapshot_put(snapshot, w, record, app_key);
}

static int put_room(const struct snapshot *snapshot, struct log_writer *w, const struct app *app,
		    const struct room *room, const struct secret *app_key)
{
	const struct ring_key *current = ring_current(room->now.ring);
	struct record record = {
		.op = RECORD_ROOM,
		.app_id = app_id(app),
		.room_id = BYTES(room->id, room->id_n),
		.perms = room->now.perms,
		.next_number = room->now.next_number,
		.current = current ? current->number : RECORD_SAME_CURRENT,
	};
	size_t from = 0;
	int r;

	if (!room->now.perms && !room->now.next_number)
		return 0; /* as good as none */
	do {
		r = put_keys(snapshot, w, &record, room->now.ring, from, app_key);
		from += KEYS_PER_RECORD;
	} while (r == 0 && from < ring_len(room->now.ring));
	return r;
}

/* Private keys as text, and what is left of those revoked, for one record. */
struct identities {
	struct record_tombstone *tombstones;
	struct record_identity *list;
	struct secret **pkcs8;
	size_t n;
};

static void identities_fini(struct identities *all)
{
	for (size_t i = 0; i < all->n; i++)
		secret_free(all->pkcs8[i]);
	free(all->pkcs8);
	free(all->list);
	free(all->tombstones);
}

static int collect(const struct app_view *view, struct identities *ret)
{
	ret->list = calloc(view->n_identities + 1, sizeof(*ret->list));
	ret->pkcs8 = calloc(view->n_identities + 1, sizeof(struct secret *));
	ret->tombstones = calloc(view->n_tombstones + 1, sizeof(*ret->tombstones));
	if (!ret->list || !ret->pkcs8 || !ret->tombstones)
		return ERR_NOMEM;
	for (size_t i = 0; i < view->n_tombstones; i++) {
		const struct identity_tombstone *tomb = &view->tombstones[i];

		ret->tombstones[i] = (struct record_tombstone){
			.key_id = bytes_str(tomb->key_id),
			.created_ms = tomb->created_ms,
			.revoked_ms = tomb->revoked_ms,
		};
	}
	for (; ret->n < view->n_identities; ret->n++) {
		const struct identity *id = &view->identities[ret->n];
		int r = rsa_to_pkcs8(id->key, &ret->pkcs8[ret->n]);

		if (r < 0)
			return r;
		ret->list[ret->n] = (struct record_identity){
			.key_id = bytes_str(id->key_id),
			.created_ms = id->created_ms,
			.retired_ms = id->retired_ms,
			.expires_ms = id->expires_ms,
			.pkcs8 = secret_bytes(ret->pkcs8[ret->n]),
		};
	}
	return 0;
}

static int put_app(const struct snapshot *snapshot, struct log_writer *w, const struct app *app,
		   const struct secret *app_key)
{
	CLEANUP(identities_fini) struct identities ids = { 0 };
	const struct app_view *view = app->view;
	int r = collect(view, &ids);

	if (r < 0)
		return r;
	struct record record = {
		.op = RECORD_APP,
		.app_id = app_id(app),
		.name = view->name,
		.created_ms = view->created_ms,
		.revoked_ms = view->revoked_ms,
		.app_key = app_key ? secret_bytes(app_key) : BYTES_NONE,
		.token = view->token ? secret_bytes(view->token) : BYTES_NONE,
		.token_seq = view->token_seq,
		.events_from = app->carried.from,
		.escrow = view->escrow ? secret_bytes(view->escrow) : BYTES_NONE,
		.identities = ids.list,
		.n_identities = ids.n,
		.tombstones = ids.tombstones,
		.n_tombstones = view->n_tombstones,
	};
	r = snapshot_put(snapshot, w, &record, app_key);
	for (size_t i = 0; i < app->rooms.n && r == 0 && app_key; i++)
		r = put_room(snapshot, w, app, app->rooms.sorted[i], app_key);
	return r;
}

int snapshot_emit(void *arg, struct log_writer *w)
{
	struct snapshot *snapshot = arg;
	const struct store *store = snapshot->store;
	struct record custody = { .op = RECORD_CUSTODY, .custody = secret_bytes(store->custody) };
	struct record end = { .op = RECORD_SNAPSHOT_END };
	struct log_cursor at;
	int r = snapshot_put(snapshot, w, &custody, NULL);

	for (size_t i = 0; i < snapshot->n_keys && r == 0; i++) {
		const struct app *app = store->state.apps.sorted[i];

		if (app->view)
			r = put_app(snapshot, w, app, snapshot->keys[i]);
	}
	if (r == 0)
		r = snapshot_put_events(snapshot, w);
	if (r == 0)
		r = snapshot_put(snapshot, w, &end, NULL);
	if (r < 0)
		return r;
	at = log_writer_at(w);
	return event_index_add(&snapshot->places, store->seq, &at);
}
