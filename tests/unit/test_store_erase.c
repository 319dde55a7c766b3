/* What is destroyed is gone, from memory and from the disk; what a rewritten file begins with is the state as it was. */
#include <fcntl.h>

#include "tests/unit/store_fixture.h"

static char rewrite_path[TMPDIR_PATH];

/* where records start in a keystore under the seal of this test: behind 56 bytes, one slot with a parameter of one byte, and the MAC */
#define RECORDS_AT (56 + 20 + 1 + 144 + 32)

/* Does the file of @fd, which has more than @n bytes, hold nothing but zeros? */
static bool is_wiped(int fd, size_t n)
{
	struct stat st = { 0 };
	uint8_t *p;
	bool wiped;

	if (fstat(fd, &st) < 0 || (size_t)st.st_size <= n)
		return false;
	p = malloc((size_t)st.st_size);
	wiped = pread(fd, p, (size_t)st.st_size, 0) == st.st_size;
	for (size_t i = 0; i < (size_t)st.st_size && wiped; i++)
		wiped = p[i] == 0;
	free(p);
	return wiped;
}

static uint64_t records(struct store *store)
{
	return info_of(store).log.records;
}

/* ---- revoking ---- */

static void check_revoked(struct store *store, struct app *app)
{
	const struct app_view *view = app_get_view(app);
	struct room_key_in key = { .kid = BYTES_LIT("k"), .key = room_keys[0] };
	struct ring *ring = NULL;
	char key_id[UUID_SIZE] = "";
	uint64_t seq = seq_of(store);

	CHECK(view->revoked_ms > 0 && !view->token && view->n_identities == 0 && !app_view_identity(view));
	CHECK(view->created_ms > 0 && bytes_eq(view->name, BYTES_LIT("An app")));
	CHECK(app_token_epoch(app) == UINT64_MAX && view->token_epoch == UINT64_MAX);
	app_view_unref(view);
	CHECK(app_count_rooms(app) == 0 && app_count_keys(app) == 0);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomA"), 0, &ring), ERR_ROOM_NOT_AUTHORIZED);
	CHECK(!ring && !app->key);
	for (size_t i = 0; i < app->rooms.n; i++) {
		const struct room *room = app->rooms.sorted[i];

		CHECK(!room->now.ring && !room->tip.ring && !room->now.perms && !room->tip.perms);
	}

	CHECK_INT(store_revoke_app(store, app_id(app)), ERR_FORBIDDEN);
	CHECK_INT(store_reset_token(store, app_id(app), tokens[1]), ERR_FORBIDDEN);
	CHECK_INT(add_identity(store, app_id(app), identities[0], 0, key_id), ERR_FORBIDDEN);
	CHECK_INT(add_identity(store, app_id(app), identities[2], 0, key_id), ERR_FORBIDDEN);
	CHECK_INT(store_grant(store, app_id(app), BYTES_LIT("roomA"), PERM_READ), ERR_FORBIDDEN);
	CHECK_INT(store_revoke_grant(store, app_id(app), BYTES_LIT("roomA"), true), ERR_FORBIDDEN);
	CHECK_INT(store_create_app(store, app_id(app), BYTES_NONE, tokens[1], identities[2], NULL, 0, key_id),
		  ERR_ALREADY_EXISTS);
	CHECK_INT(store_add_room_keys(store, app, BYTES_LIT("roomA"), PERM_READ, false, &key, 1, 0),
		  ERR_ROOM_NOT_AUTHORIZED);
	CHECK(!key_id[0] && seq_of(store) == seq);
}

static void test_revoke(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(app_unrefp) struct app *app = NULL;
	struct bytes old;
	int fd;

	create(store, "app-1");
	create(store, "app-2");
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomB", "k1", 1, true), 0);
	CHECK_INT(drop(store, "app-1", "roomB", false), 0);
	CHECK_INT(add_key(store, "app-2", "roomA", "k2", 2, true), 0);
	CHECK_INT(info_of(store).room_keys, 3);
	reopen(&store);
	app = store_find_app(store, BYTES_LIT("app-1"));
	old = tmpdir_read(path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("nobody")), ERR_NOT_FOUND);
	CHECK_INT(info_of(store).log.generation, 1);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	CHECK(info_of(store).log.generation == 2 && !info_of(store).erase_due && !info_of(store).log.residue);
	CHECK(info_of(store).room_keys == 1 && info_of(store).apps == 2);
	check_revoked(store, app);
	CHECK(is_wiped(fd, old.n));
	CHECK(!folder_holds(old, RECORDS_AT));
	/* custody, the two apps, a room of the one that is left for each grant, its events, and the end */
	CHECK_INT(records(store), 1 + 2 + 2 + 1 + 1);
	CHECK_INT(keys_seen(store, "app-2", "roomA"), 1);
	(void)close(fd);
	tmpdir_free(old);
	app_unref(TAKE(app));
	reopen(&store);
	app = store_find_app(store, BYTES_LIT("app-1"));
	check_revoked(store, app);
	CHECK_INT(rewrite(store), 0);
	check_revoked(store, app);
	app_unref(TAKE(app));
	reopen(&store);
}

/* Sessions and views of a moment before keep what they hold, and find nothing new. */
static void test_revoke_in_use(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(app_unrefp) struct app *app = NULL;
	CLEANUP(ring_unrefp) struct ring *ring = NULL;
	const struct app_view *view;
	size_t before, with;
	uint64_t epoch;

	create(store, "app-1");
	before = secret_live();
	create(store, "app-2");
	CHECK_INT(add_key(store, "app-2", "roomA", "k0", 0, true), 0);
	reopen(&store); /* which parses keys of its own */
	with = secret_live();
	app = store_find_app(store, BYTES_LIT("app-2"));
	epoch = app_token_epoch(app);
	view = app_get_view(app);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomA"), PERM_READ, &ring), 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-2")), 0);
	CHECK(secret_equal(view->token, tokens[0]) && view->n_identities == 1 && ring_len(ring) == 1);
	CHECK(app_token_epoch(app) != epoch && view->token_epoch == epoch);
	CHECK(secret_live() > before && secret_live() < with);
	app_view_unref(view);
	ring_unref(TAKE(ring));
	CHECK_INT(secret_live(), before); /* nothing is left but the other app's */
}

/* ---- purging ---- */

static void test_purge(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(app_unrefp) struct app *app = NULL;
	CLEANUP(ring_unrefp) struct ring *ring = NULL;
	struct bytes old;
	size_t live;
	int fd;

	create(store, "app-1");
	reopen(&store);
	live = secret_live();
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k1", 1, true), 0);
	old = tmpdir_read(path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_INT(drop(store, "app-1", "roomA", true), 0);
	CHECK(info_of(store).log.generation == 2 && !info_of(store).erase_due && info_of(store).room_keys == 0);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), -1);
	CHECK_INT(secret_live(), live);
	CHECK(!folder_holds(old, RECORDS_AT));
	CHECK(is_wiped(fd, old.n));
	(void)close(fd);
	tmpdir_free(old);

	/* numbers are not used again: not after a rewrite, not after a restart */
	reopen(&store);
	CHECK_INT(grant(store, "app-1", "roomA", PERM_READ), 0);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomA"), PERM_READ, &ring), 0);
	CHECK(ring_len(ring) == 1 && ring_at(ring, 0)->number == 2);
	ring_unref(TAKE(ring));
	app_unref(TAKE(app));
	reopen(&store);
}

/* ---- rewrites that fail ---- */

/* The app is revoked all the same; its records go as soon as they can. */
static void test_erase_due(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	struct bytes old;

	for (int restart = 0; restart < 2; restart++) {
		const char *id = restart ? "app-2" : "app-1";
		CLEANUP(app_unrefp) struct app *app = NULL;

		create(store, id);
		CHECK_INT(add_key(store, id, "roomA", "k0", 0, true), 0);
		old = tmpdir_read(path);
		CHECK(mkdir(rewrite_path, 0700) == 0);
		CHECK_INT(store_revoke_app(store, bytes_str(id)), 0);
		app = store_find_app(store, bytes_str(id));
		check_revoked(store, app);
		CHECK(info_of(store).erase_due && info_of(store).compaction_due);
		CHECK(folder_holds(old, RECORDS_AT));
		CHECK_INT(create_plain(store, restart ? "new-2" : "new-1"), 0); /* other changes are taken */
		CHECK_INT(rewrite(store), ERR_STORAGE);
		CHECK(info_of(store).erase_due);
		app_unref(TAKE(app));
		if (restart) {
			store_free(TAKE(store));
			CHECK_INT(open_store(&store), ERR_IO); /* the folder is in the way of looking for leftovers */
			CHECK(strstr(why_text, rewrite_path) != NULL);
			CHECK(rmdir(rewrite_path) == 0);
			CHECK_INT(open_store(&store), 0);
		} else {
			CHECK(rmdir(rewrite_path) == 0);
			CHECK_INT(rewrite(store), 0);
		}
		CHECK(!info_of(store).erase_due && !info_of(store).compaction_due);
		CHECK(!folder_holds(old, RECORDS_AT));
		tmpdir_free(old);
		reopen(&store);
	}
}

/* An unlocking whose rewrite fails opens the keystore, and says what is still in it. */
static void test_erase_fails_at_start(void)
{
	CLEANUP(store_freep) struct store *store = fresh();

	create(store, "app-1");
	create(store, "app-2");
	CHECK(mkdir(rewrite_path, 0700) == 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	store_free(TAKE(store));
	CHECK(rmdir(rewrite_path) == 0);
	limit_file_size(RECORDS_AT); /* not even a header and one record fit */
	CHECK_INT(open_store(&store), 0);
	limit_file_size(RLIM_INFINITY);
	CHECK(strstr(why_text, "still in the file") != NULL);
	CHECK(info_of(store).erase_due && info_of(store).log.generation == 1);
	CHECK_INT(rewrite(store), 0);
	CHECK(!info_of(store).erase_due && info_of(store).log.generation == 2);
	reopen(&store);
}

static void test_failing_rewrite(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	size_t live, bad = 0;

	create(store, "app-1");
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	dump(store, &before);
	live = secret_live();
	for (size_t room = 0; room < 2000; room += 100) {
		limit_file_size(room);
		bad += rewrite(store) != ERR_STORAGE || secret_live() != live;
	}
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(bad, 0);
	CHECK(state_is(store, &before));
	CHECK(info_of(store).log.generation == 1 && !info_of(store).erase_due);
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	reopen(&store);
	CHECK_INT(rewrite(store), 0);
	reopen(&store);
}

/* ---- snapshots ---- */

/* Rewritten, opened again, and rewritten once more: nothing but generation and file have changed. */
static void check_rewritten(struct store **store)
{
	CLEANUP(buf_fini) struct buf before = BUF_INIT(8 << 20);
	uint64_t generation = info_of(*store).log.generation;

	dump(*store, &before);
	CHECK_INT(rewrite(*store), 0);
	CHECK(state_is(*store, &before));
	store_free(TAKE(*store));
	CHECK_INT(open_store(store), 0);
	CHECK(state_is(*store, &before));
	CHECK_INT(rewrite(*store), 0);
	CHECK(state_is(*store, &before));
	CHECK_INT(info_of(*store).log.generation, generation + 2);
	reopen(store);
}

/* every kind of app and room there is */
static void test_snapshot(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(secret_freep) struct secret *audit = NULL, *again = NULL, *app_key = NULL;
	CLEANUP(app_unrefp) struct app *app = NULL;
	char key_id[UUID_SIZE];

	check_rewritten(&store); /* nothing in it */
	CHECK_INT(store_audit_key(store, &audit), 0);
	create(store, "app-1");
	create(store, "app-2");
	create(store, "revoked");
	CHECK_INT(create_plain(store, "without rooms"), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, key_id), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[2], INT64_MAX, key_id), 0);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-2"), tokens[1]), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k1", 1, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 2, false), 0);
	CHECK_INT(add_key(store, "app-1", "roomB", "k3", 3, false), 0); /* none is current */
	CHECK_INT(add_key(store, "app-2", "roomA", "k0", 0, true), 0);
	CHECK_INT(drop(store, "app-2", "roomA", false), 0); /* keys without a grant */
	CHECK_INT(drop(store, "app-2", "roomB", false), 0); /* nothing at all */
	CHECK_INT(add_key(store, "app-1", "roomB", "k4", 0, false), 0);
	CHECK_INT(drop(store, "app-1", "roomB", true), 0); /* numbers that are used up */
	CHECK_INT(store_revoke_app(store, BYTES_LIT("revoked")), 0);
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(secret_dup(secret_bytes(app->key), &app_key), 0);
	CHECK_INT(rewrite(store), 0);
	CHECK(!secret_equal(app->key, app_key)); /* what is left of a record of before opens no more */
	app_unref(TAKE(app));
	check_rewritten(&store);

	CHECK_INT(grant(store, "app-2", "roomA", PERM_READ), 0);
	CHECK_INT(keys_seen(store, "app-2", "roomA"), 1);
	CHECK_INT(grant(store, "app-1", "roomB", PERM_READ), 0);
	CHECK_INT(add_key(store, "app-1", "roomB", "k5", 0, true), 0);
	CHECK_INT(store_audit_key(store, &again), 0);
	CHECK(secret_equal(audit, again)); /* the custody key stays over all of this */
	reopen(&store);
	store_free(TAKE(store));
	store = fresh();
	secret_free(TAKE(again));
	CHECK_INT(store_audit_key(store, &again), 0);
	CHECK(!secret_equal(audit, again));
}

/* More keys in one room than go into a record. */
static void test_many_keys(void)
{
	enum { N = 2500 };
	CLEANUP(store_freep) struct store *store = fresh();
	struct room_key_in *keys = calloc(N, sizeof(*keys));
	char(*kids)[16] = calloc(N, sizeof(*kids));
	uint64_t before;

	create(store, "app-1");
	for (size_t i = 0; i < N; i++) {
		(void)snprintf(kids[i], sizeof(kids[i]), "kid-%zu", i);
		keys[i] = (struct room_key_in){ .kid = bytes_str(kids[i]),
						.ts = BYTES_LIT("0"),
						.order_ms = (int64_t)(i * 7919 % N),
						.key = room_keys[i % 4] };
	}
	for (size_t i = 0; i < N; i += 500)
		CHECK_INT(add_keys(store, "app-1", "roomA", keys + i, 500, i == 1000 ? 17 : -1), 0);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), N);
	CHECK_INT(rewrite(store), 0);
	before = records(store);
	/* custody, app, 1024 + 1024 + 452 keys, the other room, five records of events (3 + 2500 + 1), the end */
	CHECK_INT(before, 1 + 1 + 3 + 1 + 5 + 1);
	check_rewritten(&store);
	CHECK_INT(records(store), before);
	CHECK_INT(add_key(store, "app-1", "roomA", "one more", 0, true), 0);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), N + 1);
	reopen(&store);

	/* and as many as fit exactly */
	CHECK_INT(add_keys(store, "app-1", "roomB", keys, 1024, 1023), 0);
	check_rewritten(&store);
	CHECK_INT(keys_seen(store, "app-1", "roomB"), 1024);
	free(kids);
	free(keys);
}

/* ---- slots, copies ---- */

static void test_slots(void)
{
	struct own_seal second = OWN_SEAL(0x33, 's');
	const struct seal seal = own_seal(SEAL_RECOVERY, &second);
	CLEANUP(store_freep) struct store *store = fresh(), *other = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096), before = BUF_INIT(1 << 20);
	struct sealed_log_slot slots[LOG_MAX_SLOTS];
	uint32_t slot = 0;
	size_t n = 0;

	create(store, "app-1");
	dump(store, &before);
	CHECK_INT(store_add_slot(store, &seal, &why, &slot), 0);
	CHECK_INT(store_list_slots(store, slots, &n), 0);
	CHECK(n == 2 && slot == 1 && slots[1].type == SEAL_RECOVERY);
	CHECK(state_is(store, &before));
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	dump(store, &before);
	store_free(TAKE(store));
	CHECK_INT(store_new(&options, &other), 0);
	CHECK_INT(store_unlock(other, &seal, &why), 0);
	CHECK(state_is(other, &before));
	CHECK_INT(store_remove_slot(other, 0, &why), 0);
	CHECK_INT(store_remove_slot(other, 0, &why), ERR_NOT_FOUND);
	CHECK_INT(store_remove_slot(other, 1, &why), ERR_FORBIDDEN);
	CHECK_INT(store_remove_slot(other, UINT32_MAX, &why), ERR_NOT_FOUND);
	store_free(TAKE(other));
	CHECK_INT(open_store(&store), ERR_SEAL);
}

static void test_backup(void)
{
	CLEANUP(store_freep) struct store *store = fresh(), *other = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096), before = BUF_INIT(1 << 20);
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	uint64_t bytes = 0, seq = 0;
	char copy[TMPDIR_PATH];

	tmpdir_file(&dir, "copy", copy);
	create(store, "app-1");
	CHECK_INT(rewrite(store), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	dump(store, &before);
	CHECK_INT(store_verify(store, &why), 0);
	CHECK_INT(store_backup(store, copy, &why, &bytes, &seq), 0);
	CHECK(bytes == info_of(store).log.bytes && seq == seq_of(store));
	CHECK_INT(store_backup(store, copy, &why, &bytes, &seq), ERR_ALREADY_EXISTS);
	CHECK_INT(grant(store, "app-1", "later", PERM_READ), 0);

	CHECK_INT(store_new(&(struct store_options){ .path = copy, .read_only = true }, &other), 0);
	CHECK_INT(store_unlock(other, &seal, &why), 0);
	CHECK(state_is(other, &before));
	/* it was opened to be looked at */
	CHECK_INT(grant(other, "app-1", "roomX", PERM_READ), ERR_FORBIDDEN);
	CHECK_INT(rewrite(other), ERR_FORBIDDEN);
	CHECK_INT(store_revoke_app(other, BYTES_LIT("app-1")), ERR_FORBIDDEN);
	CHECK(state_is(other, &before));
	CHECK(unlink(copy) == 0);
}

/* An expiry that the disk does not take, tried every second, does not try to rewrite the file each time. */
static void test_expiry_fails(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	char key_id[UUID_SIZE];

	create(store, "app-1");
	create(store, "app-2");
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, key_id), 0);
	CHECK(mkdir(rewrite_path, 0700) == 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-2")), 0);
	CHECK(rmdir(rewrite_path) == 0 && info_of(store).erase_due);
	limit_file_size(info_of(store).log.bytes + 1); /* a rewrite would do with less */
	CHECK_INT(store_expire_keys(store, INT64_MAX, NULL, NULL), ERR_STORAGE);
	CHECK(info_of(store).log.generation == 1 && info_of(store).erase_due && info_of(store).compaction_due);
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(store_expire_keys(store, INT64_MAX, NULL, NULL), 0);
	CHECK(info_of(store).log.generation == 2 && !info_of(store).erase_due);
	reopen(&store);
}

static uint64_t lost_upto;
static char lost_why[256];

static void note_lost(void *arg, uint64_t upto, struct bytes why)
{
	(void)arg;
	lost_upto = upto;
	(void)snprintf(lost_why, sizeof(lost_why), "%.*s", (int)why.n, (const char *)why.p);
}

static uint64_t oldest_event(struct store *store)
{
	uint64_t oldest = 0, newest;

	CHECK_INT(store_event_range(store, NULL, &oldest, &newest), 0);
	CHECK_INT(newest, seq_of(store));
	return oldest;
}

static void damage(uint64_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	CHECK(pread(fd, &byte, 1, (off_t)at) == 1);
	byte ^= 1;
	CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
	(void)close(fd);
}

/* A file that cannot be read keeps nothing that is to go; only the events in it are lost, and that is said. */
static void test_erase_in_damaged(void)
{
	CLEANUP(store_freep) struct store *store = NULL;
	char key_id[UUID_SIZE], newer[UUID_SIZE];

	options.events_lost = note_lost;
	store = fresh();
	options.events_lost = NULL;
	create(store, "app-1");
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000000, key_id), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[2], 1000000, newer), 0);
	for (int kind = 0; kind < 4; kind++) {
		struct bytes old = tmpdir_read(path);
		uint64_t events = oldest_event(store);

		lost_upto = 0;
		damage(old.n - 20); /* in the newest change, or the end of the snapshot */
		CHECK_INT(kind == 0   ? store_revoke_key(store, BYTES_LIT("app-1"), bytes_str(key_id))
			  : kind == 1 ? store_expire_keys(store, INT64_MAX, NULL, NULL)
			  : kind == 2 ? drop(store, "app-1", "roomA", true)
				      : store_set_escrow(store, BYTES_LIT("app-1"), tokens[0]),
			  0);
		CHECK(!info_of(store).erase_due && !info_of(store).compaction_due);
		CHECK(!folder_holds(old, RECORDS_AT));
		CHECK(oldest_event(store) == seq_of(store) && seq_of(store) > events);
		CHECK(lost_upto == seq_of(store) && info_of(store).events_lost == lost_upto);
		CHECK(strstr(lost_why, "does not authenticate") && strstr(lost_why, path));
		tmpdir_free(old);
		/* the new one is whole, and what is told from now on is kept */
		CHECK_INT(grant(store, "app-1", "roomC", PERM_READ), 0);
		lost_upto = 0;
		CHECK_INT(rewrite(store), 0);
		CHECK(lost_upto == 0 && oldest_event(store) == seq_of(store) - 1);
	}
	reopen(&store);
	CHECK(info_of(store).events_lost == 0 && oldest_event(store) == seq_of(store) - 1);
}

int main(void)
{
	test_start();
	store_fixture_make();
	tmpdir_file(&dir, "keystore.rewrite", rewrite_path);
	test_revoke();
	test_revoke_in_use();
	test_purge();
	test_erase_due();
	test_expiry_fails();
	test_erase_in_damaged();
	test_erase_fails_at_start();
	test_failing_rewrite();
	test_snapshot();
	test_many_keys();
	test_slots();
	test_backup();
	return store_fixture_end();
}
