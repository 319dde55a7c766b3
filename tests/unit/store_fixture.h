/*
 * store_fixture - stores to try things on, and their whole state as text
 *
 * The keys are of the test's own, so they may be shown. State is read from the objects themselves, and without locks: nobody else may
 * be at work meanwhile.
 */
#ifndef E2EED_TESTS_STORE_FIXTURE_H
#define E2EED_TESTS_STORE_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "keystore/store_private.h"
#include "tests/unit/own_seal.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

#define N_IDENTITIES 3
#define N_ROOM_KEYS  4
#define N_TOKENS     2

DEFINE_FREEP(struct store *, store_freep, store_free)

static struct tmpdir dir;
static char path[TMPDIR_PATH];
static char why_text[4096]; /* of the latest unlocking */
static struct own_seal own = { .secret = 0x5a, .out_of_reach = -1 };
static struct store_options options = { .path = path, .create = true }; /* of stores that are opened from now on */
static struct rsa_key *identities[N_IDENTITIES];
static struct roomkey *room_keys[N_ROOM_KEYS];
static struct secret *tokens[N_TOKENS];

static inline void store_fixture_make(void)
{
	(void)signal(SIGXFSZ, SIG_IGN); /* a write fails with EFBIG instead */
	tmpdir_make(&dir);
	tmpdir_file(&dir, "keystore", path);
	for (size_t i = 0; i < N_IDENTITIES; i++)
		CHECK_INT(rsa_generate(&identities[i]), 0);
	for (size_t i = 0; i < N_ROOM_KEYS; i++)
		CHECK_INT(roomkey_generate(&room_keys[i]), 0);
	for (size_t i = 0; i < N_TOKENS; i++)
		CHECK_INT(rand_secret(STORE_TOKEN_SIZE, &tokens[i]), 0);
}

static inline int store_fixture_end(void)
{
	for (size_t i = 0; i < N_IDENTITIES; i++)
		rsa_unref(identities[i]);
	for (size_t i = 0; i < N_ROOM_KEYS; i++)
		roomkey_unref(room_keys[i]);
	for (size_t i = 0; i < N_TOKENS; i++)
		secret_free(tokens[i]);
	tmpdir_remove(&dir);
	return test_end();
}

/* ---- opening ---- */

static inline int unlock(struct store *store)
{
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r = store_unlock(store, &seal, &why);

	memset(why_text, 0, sizeof(why_text));
	if (why.n)
		memcpy(why_text, why.p, why.n);
	return r;
}

static inline int open_store(struct store **ret)
{
	CLEANUP(store_freep) struct store *store = NULL;
	int r = store_new(&options, &store);

	if (r == 0)
		r = unlock(store);
	if (r == 0)
		*ret = TAKE(store);
	return r;
}

static inline struct store *fresh(void)
{
	struct store *store = NULL;

	(void)unlink(path);
	CHECK_INT(open_store(&store), 0);
	return store;
}

static inline struct store_info info_of(struct store *store)
{
	struct store_info info;

	store_get_info(store, &info);
	return info;
}

static inline uint64_t seq_of(struct store *store)
{
	return info_of(store).seq;
}

static inline int rewrite(struct store *store)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);

	return store_rewrite(store, &why);
}

/* ---- the whole state as text ---- */

static inline void dump_room(const struct app *app, const struct room *room, struct buf *b)
{
	const struct ring *ring = room->now.ring;

	if (!room->now.perms && !room->now.next_number)
		return; /* as good as none */
	buf_put_str(b, " room ");
	buf_put(b, room->id, room->id_n);
	buf_printf(b, " %u next %u current %d\n", room->now.perms, room->now.next_number,
		   ring_current(ring) ? (int)ring_current(ring)->number : -1);
	if (room->tip.perms != room->now.perms || room->tip.ring != ring || room->loading ||
	    room->tip.next_number != room->now.next_number || (app->view->revoked_ms && (ring || room->now.perms)))
		buf_put_str(b, "  NOT SETTLED\n");
	for (size_t i = 0; i < ring_len(ring); i++) {
		const struct ring_key *k = ring_at(ring, i);
		struct secret *text = NULL;

		buf_printf(b, "  %u %lld ", k->number, (long long)k->order_ms);
		buf_put_bytes(b, k->kid);
		buf_put_byte(b, ' ');
		buf_put_bytes(b, k->ts);
		buf_put_byte(b, ' ');
		CHECK_INT(roomkey_get_jwk(k->key, &text), 0);
		buf_put_bytes(b, secret_bytes(text));
		secret_freep(&text);
		buf_put_byte(b, '\n');
	}
}

static inline int which_token(const struct secret *token)
{
	for (int i = 0; i < N_TOKENS; i++)
		if (token && secret_equal(token, tokens[i]))
			return i;
	return token ? 99 : -1;
}

static inline void dump_app(void *arg, struct app *app)
{
	const struct app_view *view = app->view;
	struct buf *b = arg;

	buf_put_str(b, "app ");
	buf_put_bytes(b, app_id(app));
	buf_put_byte(b, ' ');
	buf_put_bytes(b, view->name);
	buf_printf(b, " %lld %lld token %d %llu rooms %zu keys %zu\n", (long long)view->created_ms,
		   (long long)view->revoked_ms, which_token(view->token), (unsigned long long)view->token_seq,
		   app_count_rooms(app), app_count_keys(app));
	buf_printf(b, " events %llu behind %llu\n", (unsigned long long)app->n_events,
		   (unsigned long long)atomic_load(&app->events_from));
	if (app->tip != view || (app->key == NULL) != (view->revoked_ms != 0))
		buf_put_str(b, " NOT SETTLED\n");
	for (size_t i = 0; i < view->n_identities; i++) {
		const struct identity *id = &view->identities[i];
		int which = 0;

		while (which < N_IDENTITIES && !rsa_same_public(identities[which], id->key))
			which++;
		buf_printf(b, " identity %s %d %d %lld %lld %lld\n", id->key_id, which, rsa_is_private(id->key),
			   (long long)id->created_ms, (long long)id->retired_ms, (long long)id->expires_ms);
	}
	for (size_t i = 0; i < app->rooms.n; i++)
		dump_room(app, app->rooms.sorted[i], b);
}

static inline void dump(struct store *store, struct buf *b)
{
	struct store_info info = info_of(store);

	buf_reset(b);
	buf_printf(b, "apps %zu keys %zu seq %llu\n", info.apps, info.room_keys, (unsigned long long)info.seq);
	store_each_app(store, dump_app, b);
	CHECK_INT(buf_err(b), 0);
	CHECK(!memmem(b->p, b->n, "NOT SETTLED", 11));
}

/* Is the state what @want says? If not, both are shown. */
static inline bool state_is(struct store *store, const struct buf *want)
{
	CLEANUP(buf_fini) struct buf got = BUF_INIT(8 << 20);

	dump(store, &got);
	if (bytes_eq(buf_bytes(&got), buf_bytes(want)))
		return true;
	printf("# want:\n%.*s# got:\n%.*s", (int)want->n, (const char *)want->p, (int)got.n, (const char *)got.p);
	return false;
}

/* Free, open again: everything must be as it was. */
static inline void reopen(struct store **store)
{
	CLEANUP(buf_fini) struct buf before = BUF_INIT(8 << 20);

	dump(*store, &before);
	store_free(TAKE(*store));
	CHECK_INT(open_store(store), 0);
	CHECK(state_is(*store, &before));
}

/* ---- changing ---- */

static inline void create(struct store *store, const char *id)
{
	const struct room_grant rooms[] = { { BYTES_LIT("roomB"), PERM_READ },
					    { BYTES_LIT("roomA"), PERM_ALL },
					    { BYTES_LIT("roomB"), PERM_READ | PERM_WRITE } };
	char key_id[UUID_SIZE] = "";

	CHECK_INT(
		store_create_app(store, bytes_str(id), BYTES_LIT("An app"), tokens[0], identities[0], rooms, 3, key_id),
		0);
	CHECK_INT(strlen(key_id), UUID_SIZE - 1);
}

static inline int create_plain(struct store *store, const char *id)
{
	char key_id[UUID_SIZE];

	return store_create_app(store, bytes_str(id), BYTES_NONE, tokens[0], identities[0], NULL, 0, key_id);
}

static inline int add_identity(struct store *store, struct bytes app, struct rsa_key *key, int64_t grace_ms,
			       char ret_key_id[UUID_SIZE])
{
	struct rotation rotation;
	int r = store_add_identity(store, app, key, grace_ms, &rotation);

	if (r == 0)
		memcpy(ret_key_id, rotation.key_id, UUID_SIZE);
	return r;
}

static inline int add_keys(struct store *store, const char *app, const char *room, struct room_key_in *keys, size_t n,
			   int current)
{
	CLEANUP(app_unrefp) struct app *a = store_find_app(store, bytes_str(app));

	return store_add_room_keys(store, a, bytes_str(room), PERM_READ, false, keys, n, current);
}

static inline int add_key(struct store *store, const char *app, const char *room, const char *kid, unsigned which,
			  bool current)
{
	struct room_key_in key = { .kid = bytes_str(kid), .key = room_keys[which] };

	return add_keys(store, app, room, &key, 1, current ? 0 : -1);
}

static inline int grant(struct store *store, const char *app, const char *room, unsigned perms)
{
	return store_grant(store, bytes_str(app), bytes_str(room), perms);
}

static inline int drop(struct store *store, const char *app, const char *room, bool purge)
{
	return store_revoke_grant(store, bytes_str(app), bytes_str(room), purge);
}

/* Return: how many keys the app sees in the room; -1: it has no grant there */
static inline int keys_seen(struct store *store, const char *app, const char *room)
{
	CLEANUP(app_unrefp) struct app *a = store_find_app(store, bytes_str(app));
	CLEANUP(ring_unrefp) struct ring *ring = NULL;

	if (!a || app_get_ring(a, bytes_str(room), 0, &ring) < 0)
		return -1;
	return (int)ring_len(ring);
}

/* ---- files ---- */

/* Writing past it fails with EFBIG. */
static inline void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	tmpdir_need(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	tmpdir_need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

static inline void copy_file(const char *from, const char *to)
{
	struct bytes content = tmpdir_read(from);

	tmpdir_write(to, content);
	tmpdir_free(content);
}

/* Does any file of the folder hold any 16 bytes of @old from @from on? */
static inline bool folder_holds(struct bytes old, size_t from)
{
	DIR *d = opendir(dir.path);
	struct dirent *entry;
	bool found = false;

	tmpdir_need(d != NULL, dir.path);
	while ((entry = readdir(d)) != NULL) {
		char name[TMPDIR_PATH];
		struct bytes file;
		struct stat st;

		tmpdir_file(&dir, entry->d_name, name);
		if (lstat(name, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		file = tmpdir_read(name);
		for (size_t at = from; at + 16 <= old.n && !found; at += 16)
			found = memmem(file.p, file.n, old.p + at, 16) != NULL;
		tmpdir_free(file);
	}
	(void)closedir(d);
	return found;
}

#endif
