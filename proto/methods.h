/*
 * methods - the method table, and what a handler gets
 *
 * One row per method: name, who may call it, where it runs, which permission on which room it needs, its parameters, its handler.
 * The dispatcher (service.c) does everything the row says before it calls the handler.
 */
#ifndef E2EED_PROTO_METHODS_H
#define E2EED_PROTO_METHODS_H

#include "base/json.h"
#include "proto/params.h"
#include "proto/rpc.h"
#include "proto/service.h"

enum lane {
	LANE_INLINE, /* microseconds: where it was read */
	LANE_POOL,   /* RSA, PBKDF2, key generation, disk syncs, long lists */
};

/* one request being executed */
struct call {
	struct service *svc;
	struct service_worker *w;
	struct peer *peer;
	bool locked;	/* there is no store to work with */
	bool may_block; /* on a worker; otherwise long work ends with ERR_NEEDS_WORKER, and all is done again there */
	const struct method *method;
	const void *params; /* the method's own struct */
	struct ring *ring;  /* owned by the dispatcher: the room's keys, where the row names a room; may be NULL */
	json_t *json;	    /* owned by the dispatcher: for a check() that loads a nested parameter */
	struct buf *out;    /* the handler writes one JSON value here, with key NULL */
	struct rpc_detail detail; /* for the error's data */
};

enum audited {
	AUDIT_NOT,    /* looks at the daemon itself, or is an app's: those are summed up by enum app_use */
	AUDIT_LOOK,   /* an entry is written */
	AUDIT_CHANGE, /* an entry is synced; without one the method is not run */
};

struct method {
	const char *name;
	unsigned roles; /* of enum role */
	enum lane lane;
	bool in_order;	      /* a peer's requests are executed in the order sent; with LANE_POOL */
	bool when_locked;     /* works without the keystore, too */
	enum audited audited; /* of an admin's call */
	const char *target;   /* names of the parameters that say what it is done to, separated by spaces */
	enum app_use use;     /* what an app's call is counted as */
	unsigned perms;	      /* of enum perm, on the room at room_offset in the params; 0: no room is named */
	size_t room_offset;   /* of a struct bytes */
	const struct param *params;
	size_t n_params;
	size_t params_size;
	int (*check)(struct call *c); /* further looks at the params, before the grant is asked for; may be NULL */
	int (*handle)(struct call *c);
	const char *summary;
	const char *result; /* names of the result's members, separated by spaces, for the OpenRPC document */
};

#define CALL_MAX_PARAMS_SIZE 256 /* a params struct is built on the stack */

extern const struct method methods[];
extern const size_t n_methods;

/** methods_find - the method @name (a JSON string, with quotes) as @role sees it, or NULL */
const struct method *methods_find(struct bytes name, enum role role);

/* what handlers of several families share */

/** call_bad_param - ERR_INVALID_PARAMS with data.param */
int call_bad_param(struct call *c, const char *param);

/** call_failed - @err, with the sentence in c->w->text as data.why */
int call_failed(struct call *c, int err);

/** call_room - the room that the method's row names in its params */
struct bytes call_room(const struct call *c);

/**
 * call_ask_grant - may the app do all of @perms in the room? Then @ret is its ring of keys there.
 *
 * The dispatcher asks for what a method's row names; a handler asks where that depends on more, before it gives any error but
 * ERR_INVALID_PARAMS. Return: 0; ERR_ROOM_NOT_AUTHORIZED with data.permission; ERR_UNAUTHENTICATED.
 */
int call_ask_grant(struct call *c, struct bytes room, unsigned perms, struct ring **ret) WARN_UNUSED;

/** call_find_app - from here on the turn works for that app. Return: 0 and a reference, ERR_NOT_FOUND */
int call_find_app(struct call *c, struct bytes app_id, struct app **ret) WARN_UNUSED;

/**
 * call_may_go_on - for an app's request that takes long, now and then: would it be let in now?
 *
 * Who takes something away waits for it to end (call_settle). Return: 0; the error that it would be answered with if it came now.
 */
int call_may_go_on(struct call *c) WARN_UNUSED;

/**
 * call_settle - what has been taken away from the app is in force on every connection, and held by nobody, when this returns
 *
 * Between a revocation and its answer. The caller holds nothing of the app's: no view, no ring.
 */
void call_settle(struct call *c, struct bytes app_id);

/** call_put_perms - ["read","write",..] */
void call_put_perms(struct buf *b, const char *key, unsigned perms);
const char *call_perm_name(unsigned perm); /* of one permission */

/** call_parse_perms - the reverse, from a JSON array that is not empty. Return: 0, ERR_INVALID_PARAMS */
int call_parse_perms(const json_t *names, unsigned *ret) WARN_UNUSED;

/** call_put_room_key - the members kid, algorithm, state and, where known, ts */
void call_put_room_key(struct buf *b, const struct ring *ring, const struct ring_key *key);

/* ---- params of each method, filled by the tables in methods.c ---- */

struct p_none {
	char unused;
};

struct p_hello {
	struct bytes protocol; /* array */
	struct bytes client;
};

struct p_authenticate {
	struct bytes app_id, nonce, proof;
};

struct p_user {
	struct bytes user_id;
};

struct p_room {
	struct bytes room_id;
};

struct p_import_room_key {
	struct bytes room_id, key, kid;
	bool make_current;
	struct param_ts ts;
};

struct p_import_room_keys {
	struct bytes room_id, keys;
};

struct p_get_room_key {
	struct bytes room_id, kid;
};

struct p_wrap_room_key {
	struct bytes room_id, recipients;
	bool history;
};

struct p_decrypt {
	struct bytes room_id, content;
};

struct p_encrypt {
	struct bytes room_id, payload;
};

struct p_message {
	struct param_message message;
};

struct p_file_open {
	struct bytes room_id, mode, name, key, iv, sha256;
};

struct p_file_update {
	struct bytes file_id, data;
};

struct p_file_close {
	struct bytes file_id;
};

struct p_create_app {
	struct bytes app_id, name, rooms;
};

struct p_app {
	struct bytes app_id;
};

struct p_authorize {
	struct bytes app_id, room_id, permissions;
};

struct p_deauthorize {
	struct bytes app_id, room_id;
	bool purge_keys;
};

struct p_rotate {
	struct bytes app_id;
	uint64_t grace_s;
};

struct p_revoke_key {
	struct bytes app_id, key_id;
};

struct p_set_escrow {
	struct bytes app_id;
	struct secret *passphrase;
};

struct p_app_room {
	struct bytes app_id, room_id;
};

struct p_import_identity {
	struct bytes app_id, user_id, public_key, private_key;
	struct secret *passphrase;
};

struct p_export_identity {
	struct bytes app_id, user_id;
	struct secret *passphrase;
};

struct p_path {
	struct bytes path;
};

struct p_add_slot {
	struct bytes seal, key_file, credential;
	struct secret *passphrase;
};

struct p_remove_slot {
	uint64_t slot;
};

struct p_unlock {
	struct secret *passphrase;
};

struct p_subscribe {
	uint64_t since;
};

struct p_read_audit {
	uint64_t since, limit;
};

/* ---- handlers, one family a file ---- */

int m_hello(struct call *c); /* m_session.c */
int m_authenticate_check(struct call *c);
int m_authenticate(struct call *c);
int m_ping(struct call *c);

int m_get_identity(struct call *c); /* m_identity.c */
int m_get_key_publication(struct call *c);
int m_app_status(struct call *c);

int m_import_room_key_check(struct call *c); /* m_roomkey.c */
int m_import_room_key(struct call *c);
int m_import_room_keys_check(struct call *c);
int m_import_room_keys(struct call *c);
int m_create_room_key(struct call *c);
int m_get_room_key(struct call *c);
int m_list_room_keys(struct call *c);
int m_list_app_room_keys(struct call *c);
int m_wrap_room_key_check(struct call *c); /* m_wrap.c */
int m_wrap_room_key(struct call *c);

int m_decrypt(struct call *c); /* m_message.c */
int m_encrypt(struct call *c);
int m_decrypt_message(struct call *c);
int m_encrypt_message(struct call *c);

int m_file_open_check(struct call *c); /* m_file.c */
int m_file_open(struct call *c);
int m_file_update(struct call *c);
int m_file_close(struct call *c);

int m_subscribe(struct call *c); /* m_event.c */
int m_unsubscribe(struct call *c);

int m_create_app_check(struct call *c); /* m_app.c */
int m_create_app(struct call *c);
int m_list_apps(struct call *c);
int m_get_app(struct call *c);
int m_reset_token(struct call *c);
int m_revoke_app(struct call *c);
int m_authorize_room_check(struct call *c);
int m_authorize_room(struct call *c);
int m_deauthorize_room(struct call *c);
int m_list_rooms(struct call *c);

int m_rotate(struct call *c); /* m_custody.c */
int m_revoke_key(struct call *c);
int m_import_identity(struct call *c);
int m_export_identity_check(struct call *c);
int m_export_identity(struct call *c);
int m_set_escrow_check(struct call *c);
int m_set_escrow(struct call *c);

int m_admin_status(struct call *c); /* m_admin.c */
int m_discover(struct call *c);

int m_verify_keystore(struct call *c); /* m_keystore.c */
int m_backup_keystore_check(struct call *c);
int m_backup_keystore(struct call *c);
int m_compact_keystore(struct call *c);
int m_rekey_keystore(struct call *c);
int m_list_slots(struct call *c);
int m_add_slot_check(struct call *c);
int m_add_slot(struct call *c);
int m_remove_slot(struct call *c);
int m_lock(struct call *c);
int m_unlock(struct call *c);
int m_read_audit(struct call *c);

#endif
