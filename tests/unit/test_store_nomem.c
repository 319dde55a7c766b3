/*
 * The n-th allocation fails, n = 1, 2, 3 ... until a call needs no more: whatever it was, memory and disk agree, nothing leaks, and what
 * was promised is kept or made good.
 *
 * The linker puts the functions below between our code and those that it calls. What OpenSSL allocates is left alone here.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store_fixture.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
int __real_secret_new(size_t n, struct secret **ret);
int __real_secret_dup(struct bytes from, struct secret **ret);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_secret_new(size_t n, struct secret **ret);
int __wrap_secret_dup(struct bytes from, struct secret **ret);

static unsigned fail_in; /* how many allocations until one fails; 0: none does */

static bool fails(void)
{
	return fail_in && --fail_in == 0;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

int __wrap_secret_new(size_t n, struct secret **ret)
{
	return fails() ? ERR_NOMEM : __real_secret_new(n, ret);
}

int __wrap_secret_dup(struct bytes from, struct secret **ret)
{
	return fails() ? ERR_NOMEM : __real_secret_dup(from, ret);
}

/* ---- what is done ---- */

static char base_path[TMPDIR_PATH]; /* a keystore to begin with */
static char copy_path[TMPDIR_PATH];

static int do_create(struct store *store)
{
	const struct room_grant rooms[] = { { BYTES_LIT("r1"), PERM_READ }, { BYTES_LIT("r2"), PERM_ALL } };
	char key_id[UUID_SIZE];

	return store_create_app(store, BYTES_LIT("new"), BYTES_LIT("name"), tokens[1], identities[1], rooms, 2, key_id);
}

static int do_token(struct store *store)
{
	return store_reset_token(store, BYTES_LIT("app-1"), tokens[1]);
}

static int do_identity(struct store *store)
{
	char key_id[UUID_SIZE];

	return add_identity(store, BYTES_LIT("app-1"), identities[2], 1000, key_id);
}

static int do_grant(struct store *store)
{
	return grant(store, "app-1", "roomNew", PERM_READ);
}

static int do_add_keys(struct store *store)
{
	struct room_key_in keys[] = { { .kid = BYTES_LIT("k2"), .key = room_keys[2] },
				      { .kid = BYTES_LIT("k3"), .key = room_keys[3] } };

	return add_keys(store, "app-1", "roomA", keys, 2, 1);
}

static int do_purge(struct store *store)
{
	return drop(store, "app-1", "roomA", true);
}

static int do_revoke(struct store *store)
{
	return store_revoke_app(store, BYTES_LIT("app-1"));
}

static int do_revoke_key(struct store *store)
{
	CLEANUP(app_unrefp) struct app *app = store_find_app(store, BYTES_LIT("app-2"));
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(app);

	return store_revoke_key(store, BYTES_LIT("app-2"), bytes_str(view->identities[1].key_id));
}

static int do_expire(struct store *store)
{
	return store_expire_keys(store, INT64_MAX, NULL, NULL);
}

static int do_escrow(struct store *store)
{
	return store_set_escrow(store, BYTES_LIT("app-1"), tokens[1]);
}

static int do_rewrite(struct store *store)
{
	return rewrite(store);
}

static int do_add_slot(struct store *store)
{
	struct own_seal other = OWN_SEAL(0x33, 7);
	const struct seal seal = own_seal(SEAL_RECOVERY, &other);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	uint32_t slot;

	return store_add_slot(store, &seal, &why, &slot);
}

static int do_backup(struct store *store)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	uint64_t bytes, seq;

	(void)unlink(copy_path);
	return store_backup(store, copy_path, &why, &bytes, &seq);
}

static int do_verify(struct store *store)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);

	return store_verify(store, &why);
}

static int take_event(void *arg, const struct event *event)
{
	(void)arg;
	(void)event;
	return 0;
}

static int do_read_events(struct store *store)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	uint64_t upto;

	return store_read_events(store, NULL, 0, 100, take_event, NULL, &why, &upto);
}

static int do_lock_and_unlock(struct store *store)
{
	store_lock(store);
	return unlock(store);
}

/* ---- trying ---- */

static void make_base(void)
{
	CLEANUP(store_freep) struct store *store = fresh();

	create(store, "app-1");
	create(store, "app-2");
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k1", 1, false), 0);
	CHECK_INT(add_key(store, "app-2", "roomB", "k1", 1, false), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-2"), identities[1], 1000, (char[UUID_SIZE]){ 0 }), 0);
	store_free(TAKE(store));
	copy_file(path, base_path);
}

/* @erases: when it succeeds what was destroyed is gone, or it is said to be due */
static void try_each(const char *what, int (*run)(struct store *store), bool erases)
{
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	size_t live = secret_live();
	unsigned n = 0;
	bool failed = true;
	int r = 0;

	while (failed) {
		CLEANUP(store_freep) struct store *store = NULL;

		copy_file(base_path, path);
		CHECK_INT(open_store(&store), 0);
		dump(store, &before);
		fail_in = n += TEST_STEP;
		r = run(store);
		failed = fail_in == 0;
		fail_in = 0;
		if (store_is_locked(store)) {
			CHECK(r < 0);
			CHECK_INT(unlock(store), 0);
		}
		if (r < 0)
			CHECK(r == ERR_NOMEM && state_is(store, &before));
		else if (erases)
			CHECK(!store->erase_due || (info_of(store).erase_due && info_of(store).compaction_due));
		CHECK(!info_of(store).events_lost); /* none are given up for want of memory */
		reopen(&store);			    /* and looks whether the file holds what memory did */
		/* it goes on */
		CHECK_INT(grant(store, "app-2", "after", PERM_READ), 0);
		CHECK_INT(rewrite(store), 0);
		CHECK(!store->erase_due && !info_of(store).erase_due);
		reopen(&store);
		store_free(TAKE(store));
		CHECK_INT(secret_live(), live);
	}
	CHECK_INT(r, 0);
	printf("# %s: %u allocations\n", what, n - 1);
}

int main(void)
{
	test_start();
	store_fixture_make();
	tmpdir_file(&dir, "base", base_path);
	tmpdir_file(&dir, "copy", copy_path);
	make_base();
	try_each("create", do_create, false);
	try_each("token", do_token, false);
	try_each("identity", do_identity, false);
	try_each("grant", do_grant, false);
	try_each("add keys", do_add_keys, false);
	try_each("purge", do_purge, true);
	try_each("revoke", do_revoke, true);
	try_each("revoke a key", do_revoke_key, true);
	try_each("expire", do_expire, true);
	try_each("escrow", do_escrow, true);
	try_each("rewrite", do_rewrite, false);
	try_each("add a slot", do_add_slot, false);
	try_each("backup", do_backup, false);
	try_each("verify", do_verify, false);
	try_each("read events", do_read_events, false);
	try_each("lock and unlock", do_lock_and_unlock, false);
	return store_fixture_end();
}
