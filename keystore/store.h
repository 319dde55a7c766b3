/*
 * store - apps, identities, grants and room keys
 *
 * What is in memory is what a replay of the log gives. Readers find an object under a short read lock and keep a reference; the
 * objects they get never change. A mutation builds everything that can fail and stages its record under the mutation lock; one of
 * those that wait writes and syncs for all of them; then they are published by swapping pointers, which cannot fail. So memory and
 * disk never disagree, and what fails changed nothing. Mutations block on the disk: workers only.
 *
 * A store is made locked: it holds nothing and does nothing until store_unlock() has opened its file. store_lock() drops every
 * secret again; apps, as objects, stay, so that a session can go on after the next unlocking.
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
#include "keystore/anchor.h"
#include "keystore/event.h"
#include "keystore/ring.h"
#include "keystore/seal.h"
#include "keystore/sealed_log.h"

#define STORE_TOKEN_SIZE 32
#define STORE_MAX_ID	 128 /* bytes of an app's, room's or user's id */
#define STORE_MAX_NAME	 256
#define STORE_MAX_ESCROW 1024 /* bytes of a passphrase */

/* of one app; so many fit into a record */
#define STORE_MAX_RETIRED    256
#define STORE_MAX_TOMBSTONES 256 /* the newest are kept */

enum perm { PERM_READ = 1, PERM_WRITE = 2, PERM_CREATE = 4, PERM_DISTRIBUTE = 8 };
#define PERM_ALL 15u

struct store;
struct event_note;
struct app; /* an app's place in the store; reference-counted; its id never changes */

struct identity {
	char key_id[UUID_SIZE];
	int64_t created_ms;
	int64_t retired_ms;  /* 0: current */
	int64_t expires_ms;  /* 0: current */
	struct rsa_key *key; /* owned by the view */
};

/* what is left of an identity key that was revoked */
struct identity_tombstone {
	char key_id[UUID_SIZE];
	int64_t created_ms, revoked_ms;
};

/* an immutable picture of an app, without its rooms */
struct app_view {
	struct bytes name; /* may be empty */
	int64_t created_ms;
	int64_t revoked_ms;	     /* 0: it is active; otherwise there is no token and no identity */
	uint64_t token_seq;	     /* of the change that set the token */
	uint64_t token_epoch;	     /* of the token: sessions of another epoch are over */
	const struct secret *token;  /* 32 bytes */
	const struct secret *escrow; /* passphrase of what getKeyPublication gives; NULL: none is set */
	size_t n_tombstones;
	const struct identity_tombstone *tombstones; /* the one that was revoked last first */
	size_t n_identities;			     /* at least 1, unless it is revoked */
	const struct identity *identities; /* [0] is current, then retired ones, newest first, expired ones included */
};

/* ---- opening, locking ---- */

struct store_options {
	const char *path;
	const char *anchor; /* path; NULL or "": none */
	const char *
		witness; /* path of another file that is not empty once a keystore has been in use (the audit trail); or NULL */
	bool create;
	bool accept_damaged_tail, accept_rollback; /* a person has looked; for the first unlocking only */
	bool read_only;				   /* for a look at a file: no lock, no anchor, no changes */
	/* a mutation begins (true) or ends (false) to wait for the disk: its thread is idle meanwhile; NULL: nobody cares */
	void (*waiting)(void *arg, bool waits);
	/* there are new events, or a change that tells nothing: once for all that were made durable at once; must be quick; NULL: as above */
	void (*news)(void *arg);
	/*
	 * It cannot be told any more whether a change is on the disk, so neither answer to it would be true: end the process, without
	 * one (@why: errno). Opening the file again finds out. NULL: ERR_STORAGE, and nothing can be changed any more.
	 */
	void (*lost)(void *arg, int why);
	/*
	 * The file was written anew without the events up to number @upto, since it was damaged (@why: a sentence): what is to be
	 * destroyed does not wait for them. Must be quick, and not call into the store; NULL: nobody cares.
	 */
	void (*events_lost)(void *arg, uint64_t upto, struct bytes why);
	void *arg;
};

/** store_new - a locked store; texts are copied. Return: 0, ERR_NOMEM. */
int store_new(const struct store_options *options, struct store **ret) WARN_UNUSED;
void store_free(struct store *store); /* no app, view or ring may be referenced any more */

/**
 * store_unlock - open or make the file and take in all that is in it; a store that is open stays so
 * @seal: borrowed for the call
 * @why:  on failure, a sentence for the operator; on success what he should know, one line each (a torn tail, a new anchor)
 *
 * Return: 0, or as sealed_log_open(); ERR_DAMAGED also where the keystore is older than its anchor.
 */
int store_unlock(struct store *store, const struct seal *seal, struct buf *why) WARN_UNUSED;

/** store_lock - forget everything; nothing of the store may be in use by anybody, and no mutation under way */
void store_lock(struct store *store);
bool store_is_locked(struct store *store);

struct store_info {
	bool locked;
	struct sealed_log_info log; /* while it is open */
	uint64_t seq;		    /* of the newest change */
	size_t apps;		    /* revoked ones included */
	size_t room_keys;
	bool erase_due;	     /* secrets that were destroyed are still in the file: a rewrite failed */
	int anchor_errno;    /* why the anchor could not be written last; 0: it was */
	unsigned long syncs; /* of batches of changes, since the start */
	bool compaction_due;
	uint64_t events_lost; /* since it was opened: those up to this number were in a damaged file; 0: none were */
};
void store_get_info(struct store *store, struct store_info *ret);

/* ---- finding: any thread, cheap ---- */

struct app *store_find_app(struct store *store,
			   struct bytes id); /* a reference, or NULL; a revoked one is found, too */
struct app *app_ref(struct app *app);
void app_unref(struct app *app);
DEFINE_FREEP(struct app *, app_unrefp, app_unref)

struct bytes app_id(const struct app *app);

const struct app_view *app_get_view(
	struct app *app); /* a reference; app_view_unref() it; NULL of a locked store's app */

/** app_view_identity - the current one. Return: NULL of a revoked app, whose sessions may be a moment behind. */
static inline const struct identity *app_view_identity(const struct app_view *view)
{
	return view && view->n_identities ? &view->identities[0] : NULL;
}
void app_view_unref(const struct app_view *view);
DEFINE_FREEP(const struct app_view *, app_view_unrefp, app_view_unref)

uint64_t app_token_epoch(const struct app *app); /* without a view: one atomic load, sequentially consistent */

/* what an app does with its keys, summed up for the audit trail */
enum app_use { APP_USE_NONE, APP_USE_DECRYPT, APP_USE_ENCRYPT, APP_USE_UNWRAP, APP_USE_WRAP, APP_USE_NR };

void app_count_use(struct app *app, enum app_use use);

/** app_take_uses - the counts since the last time. Return: are they all 0? */
bool app_take_uses(struct app *app, unsigned long ret[APP_USE_NR]);

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

/** store_settle_walks - wait for those under way: they hold what they have found for as long as they look at it */
void store_settle_walks(struct store *store);

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

/* ---- events: what was made durable, in the order of its numbers ---- */

#define STORE_KEPT_EVENTS 10000 /* of each app, at least */

/**
 * store_event_range - where events can be asked for from: behind any number from @ret_oldest to @ret_newest
 * @app: whose events; NULL: all apps'
 *
 * Any thread. Return: 0, ERR_LOCKED.
 */
int store_event_range(struct store *store, const struct app *app, uint64_t *ret_oldest,
		      uint64_t *ret_newest) WARN_UNUSED;

/**
 * store_history - another number for each history of changes: it changes when what is unlocked does not go on from what was locked
 *
 * Numbers of events from one history say nothing in another. Any thread.
 */
unsigned store_history(struct store *store);

/** store_recent_events - any thread; all apps' events; as event_tail_get() */
int store_recent_events(struct store *store, uint64_t since, size_t max, struct event_note **ret, size_t *ret_n,
			uint64_t *ret_upto) WARN_UNUSED;

/**
 * store_read_events - from the log: some of the events behind number @since, at most @max
 * @app:      whose; NULL: all apps'
 * @fn:       called for each; a negative return ends it
 * @why:      on ERR_DAMAGED and ERR_IO a sentence for the operator is appended
 * @ret_upto: whoever has had these has had all up to this number; not above @since only where there is nothing more
 *
 * Workers only. Return: 0; ERR_SEQ_TOO_OLD (@since is out of range); ERR_LOCKED; ERR_DAMAGED; ERR_IO; ERR_NOMEM; or what @fn returned.
 */
int store_read_events(struct store *store, const struct app *app, uint64_t since, size_t max,
		      int (*fn)(void *arg, const struct event *event), void *arg, struct buf *why,
		      uint64_t *ret_upto) WARN_UNUSED;

/* ---- mutations: workers only; 0 means durable and visible; all may return ERR_LOCKED, and ERR_FORBIDDEN of a revoked app ---- */

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

/**
 * store_revoke_app - the app is never usable again; its secrets are gone from memory, and from the disk by a rewrite of the file
 *
 * Return: 0; ERR_NOT_FOUND; ERR_FORBIDDEN (revoked before); ERR_STORAGE; ERR_NOMEM. A rewrite that fails does not undo it: the file
 * is then rewritten as soon as that works (erase_due).
 */
int store_revoke_app(struct store *store, struct bytes id) WARN_UNUSED;

/** store_reset_token - Return: 0, ERR_NOT_FOUND, ERR_STORAGE, ERR_NOMEM */
int store_reset_token(struct store *store, struct bytes id, const struct secret *token) WARN_UNUSED;

struct rotation {
	char key_id[UUID_SIZE];		 /* of the current key now */
	char previous_key_id[UUID_SIZE]; /* "" where it was current before */
	int64_t previous_expires_ms;
};

/**
 * store_add_identity - @key becomes current, the current one retires and expires @grace_ms from now
 *
 * The key that is current already stays so, under its id, and nothing is written; a retired one comes back under a new id.
 * Return: 0; ERR_NOT_FOUND; ERR_FORBIDDEN (also with STORE_MAX_RETIRED retired keys); ERR_STORAGE; ERR_NOMEM.
 */
int store_add_identity(struct store *store, struct bytes app_id, struct rsa_key *key, int64_t grace_ms,
		       struct rotation *ret) WARN_UNUSED;

/**
 * store_revoke_key - destroy a retired identity key at once, in memory and (as store_revoke_app()) on the disk
 *
 * Return: 0; ERR_NOT_FOUND (app or key); ERR_FORBIDDEN (it is the current one, or was revoked before); ERR_STORAGE; ERR_NOMEM.
 */
int store_revoke_key(struct store *store, struct bytes app_id, struct bytes key_id) WARN_UNUSED;

/**
 * store_expire_keys - destroy the retired identity keys whose time is up by @now_ms, likewise
 * @expired: called for each that was, without locks; may be NULL
 *
 * An expired key is refused by whoever meets it before. Return: 0; ERR_STORAGE, ERR_NOMEM: those not called for are left.
 */
int store_expire_keys(struct store *store, int64_t now_ms,
		      void (*expired)(void *arg, struct bytes app_id, const char *key_id), void *arg) WARN_UNUSED;

/** store_set_escrow - @passphrase NULL: none; the one before is destroyed. Return: 0, ERR_NOT_FOUND, ERR_STORAGE, ERR_NOMEM */
int store_set_escrow(struct store *store, struct bytes app_id, const struct secret *passphrase) WARN_UNUSED;

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
 * @created:      one key, which was made here; otherwise they are imported
 * @make_current: index into @keys of the one that becomes current, or -1
 *
 * A key that is known (same kid and key bytes, in the store or earlier in @keys) is not added again and keeps its JWK text, ts and,
 * unless made current, its state. The grant is checked once more, since it may have gone since the caller looked.
 * Nothing to change: nothing is written. Return: 0, ERR_ROOM_NOT_AUTHORIZED, ERR_STORAGE, ERR_NOMEM.
 */
int store_add_room_keys(struct store *store, struct app *app, struct bytes room_id, unsigned perms, bool created,
			struct room_key_in *keys, size_t n_keys, int make_current) WARN_UNUSED;

/* ---- the file: workers only; @why gets a sentence for the operator on failure ---- */

/** store_rewrite - compaction and a new data key in one; a damaged file is healed by it. Return: as sealed_log_rewrite(); ERR_LOCKED. */
int store_rewrite(struct store *store, struct buf *why) WARN_UNUSED;

/**
 * store_rewrite_past - the same, with a generation above @generation: an older keystore was accepted, and what had been written
 * since must never pass for newer again
 */
int store_rewrite_past(struct store *store, uint64_t generation, struct buf *why) WARN_UNUSED;
int store_add_slot(struct store *store, const struct seal *seal, struct buf *why, uint32_t *ret_slot) WARN_UNUSED;
int store_remove_slot(struct store *store, uint32_t slot, struct buf *why) WARN_UNUSED;
int store_list_slots(struct store *store, struct sealed_log_slot ret[LOG_MAX_SLOTS],
		     size_t *ret_n) WARN_UNUSED; /* 0, ERR_LOCKED */

/** store_verify - read the file again. Return: 0; ERR_DAMAGED, ERR_IO; ERR_LOCKED; ERR_NOMEM. */
int store_verify(struct store *store, struct buf *why) WARN_UNUSED;

/** store_backup - Return: 0, the copy's size and the newest change in it; as sealed_log_copy(); ERR_LOCKED */
int store_backup(struct store *store, const char *path, struct buf *why, uint64_t *ret_bytes,
		 uint64_t *ret_seq) WARN_UNUSED;

/** store_audit_key - the key of the audit trail's chain, which stays over rewrites. Return: 0, ERR_LOCKED, ERR_NOMEM. */
int store_audit_key(struct store *store, struct secret **ret) WARN_UNUSED;

#endif
