/*
 * store - keystores to measure with, and the store measured without a daemon around it
 *
 *   store fill KEYSTORE KEY_FILE APPS ROOMS KEYS     make one; each grant and each key is a record of its own
 *   store open KEYSTORE KEY_FILE                     how long a replay takes, and what it occupies
 *   store append KEYSTORE KEY_FILE PROBE ROUNDS      how long mutations take, beside the floor, in turn
 *
 * Prints one JSON object. The only place of the benchmark that knows keystore/store.h.
 */
#include "keystore/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "crypto/ossl.h"
#include "crypto/roomkey.h"
#include "tests/bench/bench.h"

#define ID_SIZE 64

static void need(int r, const char *what)
{
	if (r < 0)
		bench_die(what, err_text(r));
}

static struct store *open_store(const char *path, const char *key_path, bool create)
{
	const struct store_options options = { .path = path, .create = create };
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	struct store *store;
	struct seal seal;
	int r;

	need(store_new(&options, &store), "store_new");
	need(seal_keyfile_init(&seal, key_path), key_path);
	r = store_unlock(store, &seal, &why);
	seal_fini(&seal);
	if (r == 0)
		return store;
	buf_put_byte(&why, '\0');
	bench_die(path, buf_err(&why) == 0 && why.n > 1 ? (const char *)why.p : err_text(r));
}

static struct sealed_log_info info_of(struct store *store)
{
	struct store_info info;

	store_get_info(store, &info);
	return info.log;
}

static void print_info(struct store *store)
{
	struct store_info info;

	store_get_info(store, &info);
	(void)printf("\"apps\":%zu,\"keys\":%zu,\"records\":%llu,\"bytes\":%llu", info.apps, info.room_keys,
		     (unsigned long long)info.log.records, (unsigned long long)info.log.bytes);
}

/* "room-000017": of one length, so that records are, too */
static struct bytes id_of(const char *kind, size_t number, char buf[ID_SIZE])
{
	(void)snprintf(buf, ID_SIZE, "%s-%06zu", kind, number);
	return bytes_str(buf);
}

/* ---- mutations ---- */

static void add_app(struct store *store, size_t number, struct rsa_key *key)
{
	CLEANUP(secret_freep) struct secret *token = NULL;
	char id[ID_SIZE], key_id[UUID_SIZE];

	need(rand_secret(STORE_TOKEN_SIZE, &token), "a token");
	need(store_create_app(store, id_of("app", number, id), BYTES_NONE, token, key, NULL, 0, key_id),
	     "store_create_app");
}

static void add_grant(struct store *store, size_t app, const char *kind, size_t room)
{
	char app_id[ID_SIZE], room_id[ID_SIZE];

	need(store_grant(store, id_of("app", app, app_id), id_of(kind, room, room_id), PERM_ALL), "store_grant");
}

/* A new key becomes the current one, as with createRoomKey. */
static void add_key(struct store *store, size_t app, const char *kind, size_t room, struct roomkey *key)
{
	char app_name[ID_SIZE], room_id[ID_SIZE], kid[UUID_SIZE];
	CLEANUP(app_unrefp) struct app *a = store_find_app(store, id_of("app", app, app_name));
	struct room_key_in in = { .key = key };

	if (!a)
		bench_die(app_name, "no such app");
	rand_uuid(kid);
	in.kid = bytes_str(kid);
	need(store_add_room_keys(store, a, id_of(kind, room, room_id), PERM_CREATE, true, &in, 1, 0),
	     "store_add_room_keys");
}

/* ---- commands ---- */

static void fill(char **args)
{
	size_t apps = bench_number(args[2], 1, 10000), rooms = bench_number(args[3], 1, 999999),
	       keys = bench_number(args[4], 0, 10000000);
	struct store *store = open_store(args[0], args[1], true);
	CLEANUP(rsa_unrefp) struct rsa_key *identity = NULL;

	need(rsa_generate(&identity), "rsa_generate"); /* one for all apps: making it is slow, opening it is not */
	for (size_t i = 0; i < apps; i++)
		add_app(store, i, identity);
	for (size_t i = 0; i < rooms; i++)
		add_grant(store, i % apps, "room", i);
	for (size_t i = 0; i < keys; i++) {
		CLEANUP(roomkey_unrefp) struct roomkey *key = NULL;
		size_t room = i % rooms;

		need(roomkey_generate(&key), "roomkey_generate");
		add_key(store, room % apps, "room", room, key);
	}
	(void)printf("{");
	print_info(store);
	(void)printf("}\n");
	store_free(store);
}

static void replay(char **args)
{
	uint64_t before = bench_now_ns(), after;
	struct store *store = open_store(args[0], args[1], false);
	struct arena_status arena;

	after = bench_now_ns();
	arena_get_status(&arena);
	(void)printf("{\"seconds\":%.6f,\"arenaUsedBytes\":%zu,\"arenaMappedBytes\":%zu,",
		     (double)(after - before) / 1e9, arena.used_bytes, arena.mapped_bytes);
	print_info(store);
	(void)printf("}\n");
	store_free(store);
}

static void append(char **args)
{
	size_t rounds = bench_number(args[3], 1, 1000000);
	struct store *store = open_store(args[0], args[1], false);
	struct samples grants = { 0 }, keys = { 0 };
	uint64_t start = info_of(store).bytes, granted;
	struct probe probe;

	(void)printf("{\"before\":{");
	print_info(store);
	add_grant(store, 0, "load", 0);
	granted = info_of(store).bytes - start;
	probe_open(&probe, args[2], granted);
	for (size_t i = 1; i <= rounds; i++) {
		CLEANUP(roomkey_unrefp) struct roomkey *key = NULL;
		uint64_t t0, t1, t2;

		need(roomkey_generate(&key), "roomkey_generate");
		probe_once(&probe);
		t0 = bench_now_ns();
		add_grant(store, 0, "load", i);
		t1 = bench_now_ns();
		add_key(store, 0, "load", i, key);
		t2 = bench_now_ns();
		samples_add(&grants, t1 - t0);
		samples_add(&keys, t2 - t1);
	}
	(void)printf("},\"grantBytes\":%llu,\"floor\":", (unsigned long long)granted);
	samples_print(&probe.took);
	(void)printf(",\"grant\":");
	samples_print(&grants);
	(void)printf(",\"key\":");
	samples_print(&keys);
	(void)printf("}\n");
	samples_fini(&grants);
	samples_fini(&keys);
	probe_fini(&probe, args[2]);
	store_free(store);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n_args;
		void (*run)(char **args);
	} commands[] = { { "fill", 5, fill }, { "open", 2, replay }, { "append", 4, append } };

	if (arena_init(ARENA_LOCK_AUTO) < 0 || ossl_init() < 0)
		bench_die("store", "locked memory or OpenSSL cannot be had");
	json_setup();
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (argc - 2 != commands[i].n_args || strcmp(argv[1], commands[i].name) != 0)
			continue;
		commands[i].run(argv + 2);
		ossl_fini();
		arena_fini();
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	bench_die("store", "usage: store fill KEYSTORE KEY_FILE APPS ROOMS KEYS | open KEYSTORE KEY_FILE | "
			   "append KEYSTORE KEY_FILE PROBE ROUNDS");
}
