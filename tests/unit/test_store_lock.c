/* Locking forgets everything that is secret; unlocking brings it back, and sessions with it if the file is the one that was left. */
#include "tests/unit/store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static char copy[TMPDIR_PATH], anchor[TMPDIR_PATH];

static int make(struct store **ret)
{
	return store_new(&options, ret);
}

/* an app of each kind, with keys granted and not granted */
static struct store *filled(void)
{
	struct store *store = fresh();
	char key_id[UUID_SIZE];

	create(store, "app-1");
	create(store, "app-2");
	CHECK_INT(create_plain(store, "gone"), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k1", 1, false), 0);
	CHECK_INT(add_key(store, "app-1", "roomB", "k2", 2, false), 0);
	CHECK_INT(drop(store, "app-1", "roomB", false), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, key_id), 0);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-2"), tokens[1]), 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("gone")), 0);
	CHECK_INT(add_key(store, "app-2", "roomA", "k3", 3, true), 0);
	return store;
}

static uint64_t epoch_of(struct store *store, const char *id)
{
	CLEANUP(app_unrefp) struct app *app = store_find_app(store, bytes_str(id));

	return app ? app_token_epoch(app) : 0;
}

/* Nothing is found, and nothing can be changed or looked at. */
static void check_locked(struct store *store)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	CLEANUP(secret_freep) struct secret *key = NULL;
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	struct sealed_log_slot slots[LOG_MAX_SLOTS];
	char key_id[UUID_SIZE];
	uint64_t bytes, seq;
	uint32_t slot;
	size_t n;

	CHECK(store_is_locked(store) && info_of(store).locked);
	CHECK(info_of(store).apps == 0 && info_of(store).room_keys == 0 && info_of(store).seq == 0);
	CHECK(strcmp(info_of(store).log.path, path) == 0);
	CHECK(!store_find_app(store, BYTES_LIT("app-1")));
	CHECK_INT(create_plain(store, "app-9"), ERR_LOCKED);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), ERR_LOCKED);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[0]), ERR_LOCKED);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[2], 0, key_id), ERR_LOCKED);
	CHECK_INT(grant(store, "app-1", "roomA", PERM_READ), ERR_LOCKED);
	CHECK_INT(drop(store, "app-1", "roomA", true), ERR_LOCKED);
	CHECK_INT(store_rewrite(store, &why), ERR_LOCKED);
	CHECK_INT(store_add_slot(store, &seal, &why, &slot), ERR_LOCKED);
	CHECK_INT(store_remove_slot(store, 0, &why), ERR_LOCKED);
	CHECK_INT(store_list_slots(store, slots, &n), ERR_LOCKED);
	CHECK_INT(store_verify(store, &why), ERR_LOCKED);
	CHECK_INT(store_backup(store, copy, &why, &bytes, &seq), ERR_LOCKED);
	CHECK_INT(store_audit_key(store, &key), ERR_LOCKED);
	CHECK(access(copy, F_OK) < 0);
}

static void test_locked_at_first(void)
{
	CLEANUP(store_freep) struct store *store = NULL;

	(void)unlink(path);
	CHECK_INT(make(&store), 0);
	check_locked(store);
	CHECK(access(path, F_OK) < 0);
	store_lock(store); /* which it is */
	check_locked(store);
	CHECK_INT(unlock(store), 0);
	CHECK(!store_is_locked(store) && info_of(store).log.created);
	CHECK_INT(create_plain(store, "app-1"), 0);
	CHECK_INT(unlock(store), 0); /* which it is; and stays as it is */
	CHECK(!why_text[0] && info_of(store).apps == 1);
}

static void test_everything_is_back(void)
{
	CLEANUP(store_freep) struct store *store = filled();
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	CLEANUP(app_unrefp) struct app *app = store_find_app(store, BYTES_LIT("app-1"));
	CLEANUP(secret_freep) struct secret *audit = NULL, *again = NULL;
	uint64_t epochs[] = { epoch_of(store, "app-1"), epoch_of(store, "app-2"), epoch_of(store, "gone") };
	struct room_key_in key = { .kid = BYTES_LIT("k0"), .key = room_keys[0] };
	struct ring *ring = NULL;
	size_t unlocked = 0, locked = 0;

	app_touch(app, 4711);
	CHECK_INT(store_audit_key(store, &audit), 0);
	dump(store, &before);
	for (int i = 0; i < 3; i++) {
		struct app *same;

		store_lock(store);
		check_locked(store);
		CHECK(!app_get_view(app) && !app_is_seen(app));
		CHECK_INT(app_get_ring(app, BYTES_LIT("roomA"), PERM_READ, &ring), ERR_ROOM_NOT_AUTHORIZED);
		CHECK_INT(store_add_room_keys(store, app, BYTES_LIT("roomA"), PERM_READ, false, &key, 1, -1),
			  ERR_LOCKED);
		CHECK(app_count_rooms(app) == 0 && app_count_keys(app) == 0);
		CHECK(i == 0 || secret_live() == locked);
		locked = secret_live();
		CHECK_INT(unlock(store), 0);
		CHECK(i == 0 || secret_live() == unlocked); /* the first time it still shared keys with this test */
		unlocked = secret_live();
		CHECK(!why_text[0]);
		CHECK(state_is(store, &before));
		same = store_find_app(store, BYTES_LIT("app-1"));
		CHECK(same == app && app_last_used_ms(app) == 4711); /* the very object */
		app_unref(same);
		CHECK(epoch_of(store, "app-1") == epochs[0] && epoch_of(store, "app-2") == epochs[1] &&
		      epoch_of(store, "gone") == epochs[2]);
	}
	CHECK_INT(store_audit_key(store, &again), 0);
	CHECK(secret_equal(audit, again));
	CHECK_INT(add_key(store, "app-1", "roomA", "k4", 2, true), 0);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), 3);
}

/* How many secrets there are while it is locked: as many as before it was opened at all. */
static void test_no_secret_is_left(void)
{
	CLEANUP(store_freep) struct store *store = NULL;
	size_t before;

	store_free(filled());
	options.anchor = anchor;
	CHECK_INT(make(&store), 0);
	before = secret_live();
	CHECK_INT(unlock(store), 0);
	CHECK(secret_live() > before + 10);
	store_lock(store);
	CHECK_INT(secret_live(), before);

	/* nor after an unlocking that fails: at the seal, and half way through the file */
	own.secret ^= 1;
	CHECK_INT(unlock(store), ERR_SEAL);
	own.secret ^= 1;
	CHECK_INT(secret_live(), before);
	check_locked(store);
	copy_file(path, copy);
	{
		struct bytes file = tmpdir_read(path);
		uint8_t *p = (uint8_t *)(uintptr_t)file.p;

		p[file.n - 200] ^= 1;
		tmpdir_write(path, file);
		tmpdir_free(file);
	}
	CHECK_INT(unlock(store), ERR_DAMAGED);
	CHECK_INT(secret_live(), before);
	copy_file(copy, path);
	CHECK(unlink(copy) == 0);
	check_locked(store);
	CHECK_INT(unlock(store), 0);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), 2);
	options.anchor = NULL;
	CHECK(unlink(anchor) == 0);
}

/* ---- another file in the place of the one that was left ---- */

/* Lock, put @file in place, unlock. Return: as unlock() */
static int swap(struct store *store, const char *file)
{
	store_lock(store);
	copy_file(file, path);
	return unlock(store);
}

static void test_older_copy(void)
{
	CLEANUP(store_freep) struct store *store = filled();
	char newest[TMPDIR_PATH];
	uint64_t first, old;

	tmpdir_file(&dir, "newest", newest);
	copy_file(path, copy);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	first = epoch_of(store, "app-1");
	copy_file(path, newest);
	CHECK_INT(swap(store, copy), 0);
	old = epoch_of(store, "app-1");
	CHECK(old && old != first);
	CHECK(epoch_of(store, "app-2") > first); /* each app's: whoever has a session starts anew */
	CHECK_INT(swap(store, newest), 0);
	CHECK(epoch_of(store, "app-1") != first && epoch_of(store, "app-1") != old);
	CHECK(unlink(newest) == 0 && unlink(copy) == 0);
}

/* Two files that went on from one and the same: as many changes, other tokens. */
static void test_fork(void)
{
	CLEANUP(store_freep) struct store *store = filled();
	char fork[TMPDIR_PATH];
	uint64_t first;

	tmpdir_file(&dir, "fork", fork);
	copy_file(path, copy);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[0]), 0);
	copy_file(path, fork);
	store_free(TAKE(store));
	copy_file(copy, path);
	CHECK_INT(open_store(&store), 0);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	first = epoch_of(store, "app-1");
	CHECK_INT(swap(store, fork), 0);
	CHECK(epoch_of(store, "app-1") != first);
	CHECK(unlink(fork) == 0 && unlink(copy) == 0);
}

static void test_another_keystore(void)
{
	CLEANUP(store_freep) struct store *store = NULL;
	CLEANUP(app_unrefp) struct app *vanished = NULL;
	uint64_t first;

	store = fresh();
	CHECK_INT(create_plain(store, "app-1"), 0);
	copy_file(path, copy);
	store_free(TAKE(store));
	store = fresh();
	CHECK_INT(create_plain(store, "app-1"), 0); /* as change 1, like the other */
	CHECK_INT(create_plain(store, "app-2"), 0);
	vanished = store_find_app(store, BYTES_LIT("app-2"));
	first = epoch_of(store, "app-1");
	CHECK_INT(swap(store, copy), 0);
	CHECK(epoch_of(store, "app-1") && epoch_of(store, "app-1") != first);
	CHECK(!store_find_app(store, BYTES_LIT("app-2")) && !app_get_view(vanished));
	CHECK_INT(info_of(store).apps, 1);

	/* the place of the one that is not there can be taken again */
	CHECK_INT(create_plain(store, "app-2"), 0);
	CHECK(app_is_seen(vanished) && app_token_epoch(vanished) > first);
	app_unref(TAKE(vanished));
	reopen(&store);
	CHECK(unlink(copy) == 0);
}

/* What somebody else did to the file meanwhile is there; sessions go on if it only grew. */
static void test_changed_meanwhile(void)
{
	CLEANUP(store_freep) struct store *store = filled(), *other = NULL;
	uint64_t epoch = epoch_of(store, "app-1");

	store_lock(store);
	CHECK_INT(open_store(&other), 0);
	CHECK_INT(grant(other, "app-1", "meanwhile", PERM_READ), 0);
	CHECK_INT(unlock(store), ERR_BUSY);
	check_locked(store);
	store_free(TAKE(other));
	CHECK_INT(unlock(store), 0);
	CHECK_INT(keys_seen(store, "app-1", "meanwhile"), 0);
	CHECK_INT(epoch_of(store, "app-1"), epoch);

	store_lock(store);
	CHECK_INT(open_store(&other), 0);
	CHECK_INT(rewrite(other), 0);
	store_free(TAKE(other));
	CHECK_INT(unlock(store), 0);
	CHECK(epoch_of(store, "app-1") != epoch);
	CHECK_INT(keys_seen(store, "app-1", "meanwhile"), 0);
}

/* Where there was a file, none is made, whatever the configuration says. */
static void test_gone(void)
{
	CLEANUP(store_freep) struct store *store = filled();
	uint64_t epoch = epoch_of(store, "app-1");

	store_lock(store);
	CHECK(rename(path, copy) == 0);
	CHECK_INT(unlock(store), ERR_NOT_FOUND);
	CHECK(strstr(why_text, path) && strstr(why_text, "put it back") && access(path, F_OK) < 0);
	CHECK(store_is_locked(store));
	CHECK(rename(copy, path) == 0);
	CHECK_INT(unlock(store), 0);
	CHECK_INT(epoch_of(store, "app-1"), epoch);
}

/* An older copy that the anchor has refused is no file that was left, even when the anchor is gone then. */
static void test_refused_copy(void)
{
	CLEANUP(store_freep) struct store *store = NULL;
	uint64_t first;

	(void)unlink(path);
	options.anchor = anchor;
	CHECK_INT(open_store(&store), 0);
	create(store, "app-1");
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	first = epoch_of(store, "app-1");
	copy_file(path, copy);
	CHECK_INT(grant(store, "app-1", "later", PERM_READ), 0);
	CHECK_INT(swap(store, copy), ERR_DAMAGED);
	CHECK(strstr(why_text, "older than it was") != NULL);
	CHECK(store_is_locked(store) && !store_find_app(store, BYTES_LIT("app-1")));
	CHECK(unlink(anchor) == 0);
	CHECK_INT(unlock(store), 0);
	CHECK(epoch_of(store, "app-1") != first);
	options.anchor = NULL;
	CHECK(unlink(anchor) == 0 && unlink(copy) == 0);
}

/* Whoever has a session while the keystore is read again: its token is never for a moment one of before. */
struct watch {
	const struct app *app;
	uint64_t epoch;
	atomic_bool over;
	size_t looks, wrong;
};

static void *watch(void *arg)
{
	struct watch *w = arg;

	do {
		w->looks++;
		w->wrong += app_token_epoch(w->app) != w->epoch;
	} while (!atomic_load(&w->over));
	return NULL;
}

static void test_no_session_flickers(void)
{
	CLEANUP(store_freep) struct store *store = filled();
	struct watch w = { 0 };
	pthread_t thread;

	for (int i = 0; i < 50; i++) {
		CLEANUP(app_unrefp) struct app *app = NULL;

		CHECK_INT(store_reset_token(store, BYTES_LIT("app-2"), tokens[i % 2]), 0);
		app = store_find_app(store, BYTES_LIT("app-2"));
		w = (struct watch){ .app = app, .epoch = app_token_epoch(app) };
		store_lock(store);
		if (pthread_create(&thread, NULL, watch, &w) != 0)
			abort();
		CHECK_INT(unlock(store), 0);
		atomic_store(&w.over, true);
		(void)pthread_join(thread, NULL);
		CHECK(w.looks > 0);
		CHECK_INT(w.wrong, 0);
	}
}

int main(void)
{
	test_start();
	store_fixture_make();
	tmpdir_file(&dir, "copy", copy);
	tmpdir_file(&dir, "anchor", anchor);
	test_locked_at_first();
	test_everything_is_back();
	test_no_secret_is_left();
	test_older_copy();
	test_fork();
	test_another_keystore();
	test_changed_meanwhile();
	test_gone();
	test_refused_copy();
	test_no_session_flickers();
	return store_fixture_end();
}
