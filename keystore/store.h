/*
 * store - apps, identities, grants and room keys
 *
 * What is in memory is what a replay of the log gives. Readers find an object under a short read lock and keep a reference; the
 * objects they get never change. A mutation runs under one lock from check to publication: build everything that can fail, append
 * to the log (durable), publish by swapping pointers (cannot fail). So memory and disk never disagree, and what fails changed
 * nothing. Mutations block on the disk: workers only.
 */
#ifndef E2EED_KEYSTORE_STORE_H
#define E2EED_KEYSTORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/secret.h"
#include "crypto/rand.h"
#include "crypto/rsa.h"
#include "keystore/ring.h"
#include "keystore/seal.h"
#include "keystore/sealed_log.h"

#define STORE_TOKEN_SIZE 32
#define STORE_MAX_ID	 128 /* bytes of an app's, room's or user's id */
#define STORE_MAX_NAME	 256

enum perm { PERM_READ = 1, PERM_WRITE = 2, PERM_CREATE = 4, PERM_DISTRIBUTE = 8 };
#define PERM_ALL 15u

struct store;
struct app; /* an app's place in the store; reference-counted; its id never changes */

struct identity {
	char key_id[UUID_SIZE];
	int64_t created_ms;
	int64_t retired_ms;  /* 0: current */
	int64_t expires_ms;  /* 0: current */
	struct rsa_key *key; /* owned by the view */
};

/* an immutable picture of an app, without its rooms */
struct app_view {
	struct bytes name; /* may be empty */
	int64_t created_ms;
	uint64_t token_epoch;		   /* rises with each resetToken: sessions of an older epoch are over */
	const struct secret *token;	   /* 32 bytes */
	size_t n_identities;		   /* at least 1 */
	const struct identity *identities; /* [0] is current, then retired ones, newest first, expired ones included */
};

/* ---- opening ---- */

/**
 * store_open - open or make the keystore at @path; @seal passes to the store, whatever the result
 * @why: on failure, a sentence for the operator
 *
 * Return: 0, or as sealed_log_open.
 */
int store_open(const char *path, struct seal *seal, bool create, struct buf *why, struct store **ret) WARN_UNUSED;
void store_close(struct store *store); /* no app, view or ring may be referenced any more */

struct store_info {
	struct sealed_log_info log;
	size_t apps;
	size_t room_keys;
};
void store_get_info(struct store *store, struct store_info *ret);

/* ---- finding: any thread, cheap ---- */

struct app *store_find_app(struct store *store, struct bytes id); /* a reference, or NULL */
struct app *app_ref(struct app *app);
void app_unref(struct app *app);
DEFINE_FREEP(struct app *, app_unrefp, app_unref)

struct bytes app_id(const struct app *app);

const struct app_view *app_get_view(struct app *app); /* a reference; app_view_unref() it */
void app_view_unref(const struct app_view *view);
DEFINE_FREEP(const struct app_view *, app_view_unrefp, app_view_unref)

uint64_t app_token_epoch(const struct app *app); /* without a view: one atomic load */

void app_touch(struct app *app, int64_t now_ms); /* note a use, for lastUsedAt; kept in memory only */
int64_t app_last_used_ms(const struct app *app); /* 0: not since start */

/**
 * app_get_ring - the app's keys of a room, if it has all of @perms there
 *
 * @ret is a reference, NULL where the room has no key yet. Return: 0, ERR_ROOM_NOT_AUTHORIZED.
 */
int app_get_ring(struct app *app, struct bytes room_id, unsigned perms, struct ring **ret) WARN_UNUSED;

/* walks under the read lock: the callback must be quick and must not call into the store */
void store_each_app(struct store *store, void (*fn)(void *arg, struct app *app), void *arg); /* order of ids */

struct room_info {
	struct bytes room_id;
	unsigned perms;
	size_t keys;
	struct bytes current_kid; /* empty without one */
};
void app_each_room(struct app *app, void (*fn)(void *arg, const struct room_info *room),
		   void *arg); /* granted ones, by id */
size_t app_count_rooms(struct app *app);
size_t app_count_keys(struct app *app); /* of granted rooms */

/* ---- mutations: workers only; 0 means durable and visible ---- */

struct room_grant {
	struct bytes room_id;
	unsigned perms;
};

/**
 * store_create_app - Return: 0, ERR_ALREADY_EXISTS, ERR_STORAGE, ERR_NOMEM
 * @token: 32 bytes, copied; @key: referenced; a room listed twice gets the last permissions
 */
int store_create_app(struct store *store, struct bytes id, struct bytes name, const struct secret *token,
		     struct rsa_key *key, const struct room_grant *rooms, size_t n_rooms,
		     char ret_key_id[UUID_SIZE]) WARN_UNUSED;

/** store_reset_token - Return: 0, ERR_NOT_FOUND, ERR_STORAGE, ERR_NOMEM */
int store_reset_token(struct store *store, struct bytes id, const struct secret *token) WARN_UNUSED;

/**
 * store_add_identity - @key becomes current, the current one retires and expires @grace_ms from now
 *
 * The key that is current already stays so, under its id, and nothing is written; a retired one comes back under a new id.
 * Return: 0 and the key's id; ERR_NOT_FOUND; ERR_STORAGE; ERR_NOMEM.
 */
int store_add_identity(struct store *store, struct bytes app_id, struct rsa_key *key, int64_t grace_ms,
		       char ret_key_id[UUID_SIZE]) WARN_UNUSED;

/** store_grant - @perms (not 0) replace earlier ones. Return: 0, ERR_NOT_FOUND (no such app), ERR_STORAGE, ERR_NOMEM */
int store_grant(struct store *store, struct bytes app_id, struct bytes room_id, unsigned perms) WARN_UNUSED;

/**
 * store_revoke_grant - the app loses the room; its keys stay for a later grant, unless @purge
 *
 * Return: 0; ERR_NOT_FOUND (no such app, or nothing granted there and, with @purge, no keys either); ERR_STORAGE; ERR_NOMEM.
 */
int store_revoke_grant(struct store *store, struct bytes app_id, struct bytes room_id, bool purge) WARN_UNUSED;

struct room_key_in {
	struct bytes kid;
	struct bytes ts;     /* as in struct ring_key */
	int64_t order_ms;    /* ts in milliseconds; without a ts the time of import is taken */
	struct roomkey *key; /* borrowed */
	bool ret_current;    /* out: is it the current key now? */
};

/**
 * store_add_room_keys - add keys to a room in one durable step
 * @make_current: index into @keys of the one that becomes current, or -1
 *
 * A key that is known (same kid and key bytes, in the store or earlier in @keys) is not added again and keeps its JWK text, ts and,
 * unless made current, its state. The grant is checked once more, since it may have gone since the caller looked.
 * Nothing to change: nothing is written. Return: 0, ERR_ROOM_NOT_AUTHORIZED, ERR_STORAGE, ERR_NOMEM.
 */
int store_add_room_keys(struct store *store, struct app *app, struct bytes room_id, unsigned perms,
			struct room_key_in *keys, size_t n_keys, int make_current) WARN_UNUSED;

#endif
