/*
 * store_change - the mutations: each builds the record of a change and has it committed
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "keystore/store_private.h"

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
	store_wait_turn(store);
	r = store_commit(store, &record, &parsed);
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
		store_wait_turn(store);
		r = store_commit(store, &record, &(struct parsed){ 0 });
	}
	if (r == 0)
		store_erase(store);
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
	store_wait_turn(store);
	return store_commit(store, &record, &(struct parsed){ .token = copy });
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
		if (store_wait_settled(store))
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
	store_wait_turn(store);
	if (is_current_identity(store, id, key, ret))
		return 0;
	r = store_commit_as(store, &record, &parsed, &p);
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
	store_wait_turn(store);
	return store_commit(store, &record, &(struct parsed){ 0 });
}

int store_revoke_key(struct store *store, struct bytes id, struct bytes key_id)
{
	int r = end_key(store, RECORD_KEY_REVOKED, id, key_id);

	if (r == 0)
		store_erase(store);
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
	bool gone = false;
	int r;

	store_each_app(store, collect_due, &due);
	r = due.err;
	for (size_t i = 0; i < due.n && r == 0; i++) {
		struct bytes id = app_id(due.keys[i].app);

		r = end_key(store, RECORD_KEY_EXPIRED, id, bytes_str(due.keys[i].key_id));
		if (r == 0 && expired)
			expired(arg, id, due.keys[i].key_id);
		if (r == ERR_NOT_FOUND || r == ERR_FORBIDDEN)
			r = 0; /* destroyed by somebody else meanwhile, who may not have come to erasing it yet */
		gone |= r == 0;
	}
	if (gone) /* not for what could not be destroyed: it is tried again soon, and a rewrite that fails is a lot of work */
		store_erase(store);
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
		store_wait_turn(store);
		r = store_commit(store, &record, &(struct parsed){ .escrow = copy });
	}
	if (r == 0)
		store_erase(store);
	return r;
}

int store_grant(struct store *store, struct bytes id, struct bytes room_id, unsigned perms)
{
	struct record record = {
		.op = RECORD_GRANT_SET, .time_ms = clock_now_ms(), .app_id = id, .room_id = room_id, .perms = perms
	};

	LOCKED(&store->mutation);
	store_wait_turn(store);
	return store_commit(store, &record, &(struct parsed){ 0 });
}

int store_revoke_grant(struct store *store, struct bytes id, struct bytes room_id, bool purge)
{
	struct record record = {
		.op = RECORD_GRANT_DROPPED, .time_ms = clock_now_ms(), .app_id = id, .room_id = room_id, .purge = purge
	};
	int r;

	{
		LOCKED(&store->mutation);
		store_wait_turn(store);
		r = store_commit(store, &record, &(struct parsed){ 0 });
	}
	if (r == 0 && purge)
		store_erase(store);
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
		return store_commit(store, &a.record, &a.parsed);
	return r == ERR_NOMEM || store_wait_settled(store) ? r : ERR_BUSY;
}

int store_add_room_keys(struct store *store, struct app *app, struct bytes room_id, unsigned perms, bool created,
			struct room_key_in *keys, size_t n_keys, int make_current)
{
	int r;

	assert(!created || n_keys == 1);
	assert(make_current < 0 || (size_t)make_current < n_keys);
	LOCKED(&store->mutation);
	store_wait_turn(store);
	do {
		if (!store->log)
			return ERR_LOCKED;
		r = add_room_keys(store, app, room_id, perms, created, keys, n_keys, make_current);
	} while (r == ERR_BUSY);
	return r;
}
