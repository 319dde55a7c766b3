#include "keystore/store.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/store_fixture.h"

struct list {
	struct bytes ids[64];
	size_t n;
};

static void list_room(void *arg, const struct room_info *room)
{
	struct list *l = arg;

	if (l->n < 64)
		l->ids[l->n++] = room->room_id;
}

/* ---- apps, tokens, identities ---- */

static void test_apps(void)
{
	struct store *store = fresh();
	struct store_info info;
	char key_id[UUID_SIZE];
	struct list rooms = { .n = 0 };
	struct app *app;

	store_get_info(store, &info);
	CHECK(info.log.created && info.apps == 0 && info.log.records == 2 && info.seq == 0 &&
	      strcmp(info.log.path, path) == 0);
	CHECK(!store_find_app(store, BYTES_LIT("app-1")));
	create(store, "app-2");
	create(store, "app-1");
	create(store, "app-10");
	CHECK_INT(store_create_app(store, BYTES_LIT("app-1"), BYTES_NONE, tokens[0], identities[1], NULL, 0, key_id),
		  ERR_ALREADY_EXISTS);
	CHECK(store_create_app(store, BYTES_LIT("app\n"), BYTES_NONE, tokens[0], identities[1], NULL, 0, key_id) < 0);
	CHECK_INT(seq_of(store), 9); /* each tells of three rooms */
	reopen(&store);

	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_BYTES(app_id(app), BYTES_LIT("app-1"));
	app_each_room(app, list_room, &rooms);
	CHECK_INT(rooms.n, 2);
	CHECK_BYTES(rooms.ids[0], BYTES_LIT("roomA"));
	CHECK_BYTES(rooms.ids[1], BYTES_LIT("roomB"));
	CHECK_INT(app_last_used_ms(app), 0);
	app_touch(app, 1234);
	CHECK_INT(app_last_used_ms(app), 1234);
	app_unref(app);
	store_free(store);
}

static void test_token(void)
{
	struct store *store = fresh();
	const struct app_view *before, *after;
	struct app *app;
	uint64_t epoch;

	create(store, "app-1");
	app = store_find_app(store, BYTES_LIT("app-1"));
	epoch = app_token_epoch(app);
	before = app_get_view(app);
	CHECK_INT(before->token_epoch, epoch);
	CHECK_INT(store_reset_token(store, BYTES_LIT("nobody"), tokens[1]), ERR_NOT_FOUND);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	CHECK(app_token_epoch(app) > epoch);
	after = app_get_view(app);
	CHECK(secret_equal(before->token, tokens[0])); /* a view never changes */
	CHECK(secret_equal(after->token, tokens[1]));
	CHECK_INT(after->token_epoch, app_token_epoch(app));
	app_view_unref(before);
	app_view_unref(after);
	app_unref(app);
	reopen(&store);
	store_free(store);
}

static void test_identity(void)
{
	struct store *store = fresh();
	const struct app_view *view;
	char ids[3][UUID_SIZE], again[UUID_SIZE] = "";
	struct app *app;
	uint64_t seq;

	create(store, "app-1");
	CHECK_INT(add_identity(store, BYTES_LIT("nobody"), identities[1], 1000, ids[0]), ERR_NOT_FOUND);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, ids[0]), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[2], INT64_MAX, ids[1]), 0);

	/* the current one stays as it is, and nothing is written */
	seq = seq_of(store);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[2], 5, again), 0);
	CHECK(strcmp(again, ids[1]) == 0 && seq_of(store) == seq);
	reopen(&store);
	app = store_find_app(store, BYTES_LIT("app-1"));
	view = app_get_view(app);
	CHECK_INT(view->n_identities, 3);
	CHECK(strcmp(view->identities[0].key_id, ids[1]) == 0 && strcmp(view->identities[1].key_id, ids[0]) == 0);
	CHECK(view->identities[0].retired_ms == 0 && view->identities[0].expires_ms == 0);
	CHECK(rsa_same_public(view->identities[0].key, identities[2]));
	CHECK_INT(view->identities[1].expires_ms, INT64_MAX);
	CHECK_INT(view->identities[2].expires_ms, view->identities[2].retired_ms + 1000);
	CHECK_INT(view->identities[2].retired_ms, view->identities[1].created_ms);
	app_view_unref(view);
	app_unref(app);

	/* a retired one comes back, once and under a new id */
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 2000, ids[2]), 0);
	reopen(&store);
	app = store_find_app(store, BYTES_LIT("app-1"));
	view = app_get_view(app);
	CHECK_INT(view->n_identities, 3);
	CHECK(strcmp(view->identities[0].key_id, ids[2]) == 0 && strcmp(ids[2], ids[0]) != 0);
	CHECK(rsa_same_public(view->identities[0].key, identities[1]) && view->identities[0].retired_ms == 0);
	CHECK(rsa_same_public(view->identities[1].key, identities[2]));
	CHECK_INT(view->identities[1].expires_ms, view->identities[1].retired_ms + 2000);
	CHECK(rsa_same_public(view->identities[2].key, identities[0]));
	app_view_unref(view);
	app_unref(app);
	store_free(store);
}

/* ---- grants and room keys ---- */

static void test_grants(void)
{
	struct store *store = fresh();
	struct room_key_in key = { .kid = BYTES_LIT("kid"), .key = room_keys[0] };
	struct ring *ring = NULL;
	struct app *app;

	create(store, "app-1");
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(store_grant(store, BYTES_LIT("nobody"), BYTES_LIT("roomC"), PERM_READ), ERR_NOT_FOUND);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), PERM_READ, &ring), ERR_ROOM_NOT_AUTHORIZED);
	CHECK_INT(store_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), PERM_READ | PERM_CREATE), 0);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), PERM_READ, &ring), 0);
	CHECK(!ring);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), PERM_READ | PERM_WRITE, &ring), ERR_ROOM_NOT_AUTHORIZED);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomD"), true), ERR_NOT_FOUND);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("nobody"), BYTES_LIT("roomC"), true), ERR_NOT_FOUND);

	/* keys stay for a later grant */
	CHECK_INT(add_keys(store, "app-1", "roomC", &key, 1, 0), 0);
	CHECK(key.ret_current);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), false), 0);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), false), ERR_NOT_FOUND);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), 0, &ring), ERR_ROOM_NOT_AUTHORIZED);
	CHECK_INT(add_keys(store, "app-1", "roomC", &key, 1, 0), ERR_ROOM_NOT_AUTHORIZED);
	CHECK_INT(app_count_rooms(app), 2);
	CHECK_INT(app_count_keys(app), 0);
	app_unref(TAKE(app));
	reopen(&store);
	CHECK_INT(store_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), PERM_READ), 0);
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), PERM_READ, &ring), 0);
	CHECK_INT(ring_len(ring), 1);
	ring_unref(TAKE(ring));

	/* purged without a grant, and a number is not used again */
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), false), 0);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), true), 0);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), true), ERR_NOT_FOUND);
	app_unref(TAKE(app));
	reopen(&store);
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(store_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), PERM_READ), 0);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), PERM_READ, &ring), 0);
	CHECK(!ring);
	CHECK_INT(add_keys(store, "app-1", "roomC", &key, 1, -1), 0);
	CHECK(!key.ret_current);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomC"), PERM_READ, &ring), 0);
	CHECK(ring_len(ring) == 1 && ring_at(ring, 0)->number == 1 && !ring_current(ring));
	ring_unref(ring);
	app_unref(app);
	reopen(&store);
	store_free(store);
}

static void test_room_keys(void)
{
	struct store *store = fresh();
	struct room_key_in keys[] = {
		{ .kid = BYTES_LIT("same"),
		  .ts = BYTES_LIT("{\"$date\":2000}"),
		  .order_ms = 2000,
		  .key = room_keys[0] },
		{ .kid = BYTES_LIT("same"),
		  .ts = BYTES_LIT("{\"$date\":3000}"),
		  .order_ms = 3000,
		  .key = room_keys[1] }, /* interop.md 1: kids are not unique */
		{ .kid = BYTES_LIT("same"), .order_ms = 9000, .key = room_keys[0] }, /* known from above */
		{ .kid = BYTES_LIT("other"), .ts = BYTES_LIT("{\"$date\":0}"), .order_ms = 0, .key = room_keys[0] },
	};
	struct room_key_in late = { .kid = BYTES_LIT("late"), .key = room_keys[2] };
	struct ring *ring = NULL, *old;
	struct app *app;
	uint64_t seq;

	create(store, "app-1");
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(add_keys(store, "app-1", "roomA", keys, 4, 2), 0);
	CHECK(keys[0].ret_current && !keys[1].ret_current && keys[2].ret_current && !keys[3].ret_current);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomA"), PERM_ALL, &ring), 0);
	CHECK_INT(ring_len(ring), 3);
	CHECK(ring_at(ring, 0)->number == 0 && ring_at(ring, 1)->number == 1 && ring_at(ring, 2)->number == 2);
	CHECK_BYTES(ring_at(ring, 0)->ts, BYTES_LIT("{\"$date\":2000}"));
	CHECK_INT(ring_at(ring, 0)->order_ms, 2000);

	/* nothing new: nothing is written, and the state is told all the same */
	seq = seq_of(store);
	memset(&keys[0].ret_current, 0, sizeof(bool));
	CHECK_INT(add_keys(store, "app-1", "roomA", keys, 4, -1), 0);
	CHECK_INT(add_keys(store, "app-1", "roomA", keys, 4, 0), 0);
	CHECK(keys[0].ret_current && seq_of(store) == seq);

	/* a known key made current; without ts the time of import counts, so it is the newest of the rest */
	CHECK_INT(add_keys(store, "app-1", "roomA", &late, 1, -1), 0);
	CHECK(!late.ret_current);
	CHECK_INT(add_keys(store, "app-1", "roomA", &keys[1], 1, 0), 0);
	CHECK_INT(seq_of(store), seq + 2);
	old = TAKE(ring);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomA"), PERM_READ, &ring), 0);
	CHECK_INT(ring_len(ring), 4);
	CHECK_INT(ring_current(ring)->number, 1);
	CHECK_INT(ring_at(ring, 1)->number, 3);
	CHECK(ring_at(ring, 1)->order_ms > 1000000);
	CHECK(ring_len(old) == 3 && ring_current(old)->number == 0);
	ring_unref(old);
	ring_unref(ring);
	app_unref(app);
	reopen(&store);
	store_free(store);
}

/* ---- what fails changed nothing ---- */

static void test_storage_error(void)
{
	struct store *store = fresh();
	struct room_key_in key = { .kid = BYTES_LIT("kid"), .key = room_keys[0] };
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	char key_id[UUID_SIZE];

	create(store, "app-1");
	dump(store, &before);
	limit_file_size((rlim_t)info_of(store).log.bytes + 30);
	CHECK_INT(store_create_app(store, BYTES_LIT("app-2"), BYTES_NONE, tokens[0], identities[1], NULL, 0, key_id),
		  ERR_STORAGE);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), ERR_STORAGE);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 0, key_id), ERR_STORAGE);
	CHECK_INT(store_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), PERM_READ), ERR_STORAGE);
	CHECK_INT(store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomA"), true), ERR_STORAGE);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), ERR_STORAGE);
	CHECK_INT(add_keys(store, "app-1", "roomA", &key, 1, 0), ERR_STORAGE);
	limit_file_size(RLIM_INFINITY);
	CHECK(state_is(store, &before));
	CHECK_INT(add_keys(store, "app-1", "roomA", &key, 1, 0), 0);
	CHECK_INT(store_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomC"), PERM_READ), 0);
	reopen(&store);
	store_free(store);
}

/* ---- readers while another thread mutates ---- */

struct readers {
	struct store *store;
	atomic_bool stop;
	atomic_size_t rounds, wrong;
};

static void note_app(void *arg, struct app *app)
{
	atomic_size_t *wrong = arg;
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(app);

	*wrong += view->n_identities == 0 || view->identities[0].retired_ms != 0;
}

static void *read_along(void *arg)
{
	struct readers *s = arg;

	do {
		CLEANUP(app_unrefp) struct app *app = store_find_app(s->store, BYTES_LIT("app-1"));
		CLEANUP(ring_unrefp) struct ring *ring = NULL;
		struct store_info info;

		store_each_app(s->store, note_app, &s->wrong);
		store_get_info(s->store, &info);
		if (app_get_ring(app, BYTES_LIT("roomX"), PERM_READ, &ring) == 0) {
			for (size_t i = 0; i < ring_len(ring); i++)
				s->wrong += ring_at(ring, i)->kid.n == 0 ||
					    secret_len(roomkey_k(ring_at(ring, i)->key)) != 32;
			s->wrong += ring_len(ring) && ring_current(ring) != ring_at(ring, 0);
		}
		s->wrong += app_token_epoch(app) == 0 || app_count_rooms(app) < 2;
		app_touch(app, 1);
		s->rounds++;
	} while (!s->stop);
	return NULL;
}

static void test_threads(void)
{
	struct store *store = fresh();
	struct readers s = { .store = store };
	pthread_t threads[3];
	char id[32];

	create(store, "app-1");
	for (size_t i = 0; i < 3; i++)
		tmpdir_need(pthread_create(&threads[i], NULL, read_along, &s) == 0, "pthread_create");
	for (unsigned i = 0; i < 60 || s.rounds < 100; i++) {
		struct room_key_in key = { .key = room_keys[i % 4] };

		(void)snprintf(id, sizeof(id), "room-or-app-%u", i);
		key.kid = bytes_str(id);
		s.wrong += store_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomX"), PERM_READ) < 0;
		s.wrong += add_keys(store, "app-1", "roomX", &key, 1, 0) < 0;
		s.wrong += store_grant(store, BYTES_LIT("app-1"), bytes_str(id), PERM_READ) < 0;
		s.wrong += store_reset_token(store, BYTES_LIT("app-1"), tokens[i % 2]) < 0;
		if (i < 12) {
			char key_id[UUID_SIZE];

			s.wrong += store_create_app(store, bytes_str(id), BYTES_NONE, tokens[0], identities[0], NULL, 0,
						    key_id) < 0;
		}
		if (i % 8 == 7)
			s.wrong += store_revoke_grant(store, BYTES_LIT("app-1"), BYTES_LIT("roomX"), i % 16 == 15) < 0;
	}
	s.stop = true;
	for (size_t i = 0; i < 3; i++)
		(void)pthread_join(threads[i], NULL);
	CHECK_INT(s.wrong, 0);
	CHECK(s.rounds >= 100);
	reopen(&store);
	store_free(store);
}

/* With E2EED_KEEP=FOLDER: a keystore with a snapshot and each kind of change behind it, under a key file, to try other readers on. */
static void keep_sample(const char *folder)
{
	struct room_key_in keys[] = {
		{ .kid = BYTES_LIT("eyJhbGciOiJB"), .order_ms = 1000, .key = room_keys[0] },
		{ .kid = BYTES_LIT("k2"), .ts = BYTES_LIT("\"2026-11-23T06:00:00.000Z\""), .key = room_keys[1] }
	};
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	CLEANUP(store_freep) struct store *store = NULL;
	char key_path[TMPDIR_PATH], key_id[UUID_SIZE];
	struct seal seal;

	tmpdir_need(snprintf(path, sizeof(path), "%s/sample.keystore", folder) < (int)sizeof(path) &&
			    snprintf(key_path, sizeof(key_path), "%s/sample.key", folder) < (int)sizeof(key_path),
		    "name is too long");
	CHECK_INT(seal_keyfile_init(&seal, key_path), 0);
	CHECK_INT(store_new(&options, &store), 0);
	CHECK_INT(store_unlock(store, &seal, &why), 0);
	seal_fini(&seal);
	create(store, "app-1");
	create(store, "app-2");
	CHECK_INT(add_keys(store, "app-1", "roomA", keys, 2, 1), 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-2")), 0); /* which makes the snapshot */
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, key_id), 0);
	CHECK_INT(grant(store, "app-1", "roomC", PERM_READ), 0);
	CHECK_INT(add_keys(store, "app-1", "roomC", keys, 2, 1), 0);
	CHECK_INT(drop(store, "app-1", "roomC", false), 0);
	create(store, "app-3");
}

int main(void)
{
	const char *keep = getenv("E2EED_KEEP");

	test_start();
	store_fixture_make();
	test_apps();
	test_token();
	test_identity();
	test_grants();
	test_room_keys();
	test_storage_error();
	test_threads();
	if (keep)
		keep_sample(keep);
	return store_fixture_end();
}
