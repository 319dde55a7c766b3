/*
 * record - one record of the keystore <-> bytes
 *
 * A record is one operation, and a transaction: it happens whole or not at all. The sealed log carries its bytes without looking
 * inside; the store gives it meaning. docs/keystore.md has the layout. No I/O here.
 */
#ifndef E2EED_KEYSTORE_RECORD_H
#define E2EED_KEYSTORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/event.h"
#include "keystore/store.h"

enum record_op { /* the number stands in the file */
		 RECORD_APP_CREATED = 1,
		 RECORD_TOKEN_SET = 2,
		 RECORD_IDENTITY_ADDED = 3,
		 RECORD_GRANT_SET = 4,
		 RECORD_GRANT_DROPPED = 5,
		 RECORD_ROOM_KEYS_ADDED = 6,
		 RECORD_APP_REVOKED = 7,
		 RECORD_KEY_REVOKED = 8,
		 RECORD_KEY_EXPIRED = 9,
		 RECORD_ESCROW_SET = 10,
		 RECORD_ROOM_KEY_CREATED = 11, /* as RECORD_ROOM_KEYS_ADDED, but made here rather than imported */
		 /* what a rewritten file begins with: the state as it was, then RECORD_SNAPSHOT_END */
		 RECORD_CUSTODY = 32,
		 RECORD_APP = 33,
		 RECORD_ROOM = 34,
		 RECORD_SNAPSHOT_END = 35,
		 RECORD_EVENTS = 36,
};

#define RECORD_CUSTODY_SIZE 32
#define RECORD_APP_KEY_SIZE 32
#define RECORD_MAX_TS	    4096
#define RECORD_MAX_JWK	    4096
#define RECORD_SAME_CURRENT UINT32_MAX

struct record_key {
	uint32_t number;
	struct bytes kid;
	struct bytes jwk; /* secret */
	struct bytes ts;
	int64_t order_ms;
};

struct record_identity {
	struct bytes key_id; /* a UUID without NUL */
	int64_t created_ms, retired_ms, expires_ms;
	struct bytes pkcs8; /* secret */
};

/* what is left of an identity key that was revoked */
struct record_tombstone {
	struct bytes key_id; /* a UUID without NUL */
	int64_t created_ms, revoked_ms;
};

/*
 * All bytes are borrowed. Which members count depends on the operation. Members that are secret are sealed under the app's own key
 * in the record: record_encode() is given them plain, record_decode() gives them sealed, and record_open_secret() opens one.
 */
struct record {
	enum record_op op;
	uint64_t
		seq; /* of the change's last event, rising (keystore/event.h); of a snapshot's records: of the last change in it */
	int64_t time_ms;
	struct bytes app_id; /* empty in CUSTODY, EVENTS and SNAPSHOT_END */

	struct bytes
		custody;   /* CUSTODY: the root of the keys for what lies outside the keystore (audit trail, anchor) */
	struct bytes name; /* APP_CREATED, APP */
	struct bytes app_key;	     /* APP_CREATED, APP: empty of a revoked app */
	struct bytes token;	     /* APP_CREATED, TOKEN_SET, APP; secret; empty of a revoked app */
	uint64_t token_seq;	     /* APP: of the change that set the token */
	struct bytes escrow;	     /* ESCROW_SET, APP; secret; empty: none is set */
	uint64_t events_from;	     /* APP: its events up to this number are not kept */
	struct bytes key_id;	     /* APP_CREATED, IDENTITY_ADDED, KEY_REVOKED, KEY_EXPIRED: a UUID without NUL */
	struct bytes pkcs8;	     /* APP_CREATED, IDENTITY_ADDED; secret */
	int64_t created_ms;	     /* APP_CREATED, APP */
	int64_t revoked_ms;	     /* APP: 0 while it is active */
	int64_t previous_expires_ms; /* IDENTITY_ADDED */

	struct record_identity *identities; /* APP: the current one first; none of a revoked app */
	size_t n_identities;
	struct record_tombstone *tombstones; /* APP: newest first */
	size_t n_tombstones;

	struct room_grant *grants; /* APP_CREATED */
	size_t n_grants;

	struct bytes room_id; /* GRANT_SET, GRANT_DROPPED, ROOM_KEYS_ADDED, ROOM_KEY_CREATED, ROOM */
	unsigned perms;	      /* GRANT_SET, ROOM (there 0 is possible) */
	bool purge;	      /* GRANT_DROPPED */
	uint32_t
		next_number; /* ROOM: of a key; a room of many keys takes several records, which repeat all but the keys */

	struct record_key *keys; /* ROOM_KEYS_ADDED, ROOM_KEY_CREATED, ROOM */
	size_t n_keys;
	uint32_t current;	  /* with keys: number of the key to make current, or RECORD_SAME_CURRENT */
	struct bytes current_kid; /* ROOM_KEYS_ADDED, ROOM_KEY_CREATED: of that key, for the event; empty without one */

	struct event *events; /* EVENTS: of all apps, by number */
	size_t n_events;
};

/**
 * record_encode - what record_decode() would refuse is refused here, so that no record is written that could not be read again
 * @app_key: seals what is secret; NULL for a record that holds nothing secret
 *
 * Return: 0, ERR_INVALID_PARAMS, ERR_TOO_LARGE, ERR_NOMEM.
 */
int record_encode(const struct record *record, const struct secret *app_key, struct secret **ret) WARN_UNUSED;

/** record_destroys - does the change leave secrets in the file that nobody is to have any more? */
bool record_destroys(const struct record *record);

/** record_open_secret - Return: 0; ERR_DAMAGED where it does not authenticate; ERR_NOMEM */
int record_open_secret(const struct record *record, struct bytes sealed, const struct secret *app_key,
		       struct secret **ret) WARN_UNUSED;

/**
 * record_decode - strict: every field valid, nothing left over
 * @ret: its bytes are views of @plain; release it with record_fini(), whatever the result
 *
 * Return: 0; ERR_DAMAGED with half a sentence appended to @why ("a record ..."); ERR_NOMEM.
 */
int record_decode(struct bytes plain, struct buf *why, struct record *ret) WARN_UNUSED;
void record_fini(struct record *record); /* frees the lists that record_decode() made */

#endif
