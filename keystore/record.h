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
#include "keystore/store.h"

enum record_op { /* the number stands in the file */
		 RECORD_APP_CREATED = 1,
		 RECORD_TOKEN_SET = 2,
		 RECORD_IDENTITY_ADDED = 3,
		 RECORD_GRANT_SET = 4,
		 RECORD_GRANT_DROPPED = 5,
		 RECORD_ROOM_KEYS_ADDED = 6,
};

#define RECORD_MAX_TS	    4096
#define RECORD_MAX_JWK	    4096
#define RECORD_SAME_CURRENT UINT32_MAX

struct record_key {
	uint32_t number;
	struct bytes kid;
	struct bytes jwk;
	struct bytes ts;
	int64_t order_ms;
};

/* All bytes are borrowed. Which members count depends on the operation. */
struct record {
	enum record_op op;
	int64_t time_ms;
	struct bytes app_id;

	struct bytes name;	     /* APP_CREATED */
	struct bytes token;	     /* APP_CREATED, TOKEN_SET */
	struct bytes key_id;	     /* APP_CREATED, IDENTITY_ADDED: a UUID without NUL */
	struct bytes pkcs8;	     /* APP_CREATED, IDENTITY_ADDED */
	int64_t created_ms;	     /* APP_CREATED */
	int64_t previous_expires_ms; /* IDENTITY_ADDED */

	struct room_grant *grants; /* APP_CREATED */
	size_t n_grants;

	struct bytes room_id; /* GRANT_SET, GRANT_DROPPED, ROOM_KEYS_ADDED */
	unsigned perms;	      /* GRANT_SET */
	bool purge;	      /* GRANT_DROPPED */

	struct record_key *keys; /* ROOM_KEYS_ADDED */
	size_t n_keys;
	uint32_t current; /* ROOM_KEYS_ADDED: number of the key to make current, or RECORD_SAME_CURRENT */
};

/**
 * record_encode - what record_decode() would refuse is refused here, so that no record is written that could not be read again
 *
 * Return: 0, ERR_INVALID_PARAMS, ERR_TOO_LARGE, ERR_NOMEM.
 */
int record_encode(const struct record *record, struct secret **ret) WARN_UNUSED;

/**
 * record_decode - strict: every field valid, nothing left over
 * @ret: its bytes are views of @plain; release it with record_fini(), whatever the result
 *
 * Return: 0; ERR_DAMAGED with half a sentence appended to @why ("a record ..."); ERR_NOMEM.
 */
int record_decode(struct bytes plain, struct buf *why, struct record *ret) WARN_UNUSED;
void record_fini(struct record *record); /* frees the lists that record_decode() made */

#endif
