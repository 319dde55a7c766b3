/*
 * event - what apps are told about changes: an event is part of the record of the change, and is read out of it
 *
 * Each event has a number of its own. A record's `seq` is the number of its last event, those before it have the numbers before, and
 * a change that tells nothing takes one number, too. So whoever has had event N has had all before it, and goes on behind N.
 */
#ifndef E2EED_KEYSTORE_EVENT_H
#define E2EED_KEYSTORE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct record;

enum event_type { /* the number stands in the file */
		  EVENT_IDENTITY_ROTATED = 1,
		  EVENT_IDENTITY_KEY_REVOKED = 2,
		  EVENT_IDENTITY_RETIRED_KEY_EXPIRED = 3,
		  EVENT_ROOM_AUTHORIZED = 4,
		  EVENT_ROOM_DEAUTHORIZED = 5,
		  EVENT_ROOM_KEY_IMPORTED = 6,
		  EVENT_ROOM_KEY_ROTATED = 7,
		  EVENT_TOKEN_RESET = 8,
};

struct event {
	uint64_t seq;
	int64_t time_ms;
	enum event_type type;
	struct bytes app_id;
	struct bytes room_id; /* room.*, roomKey.*; empty otherwise */
	struct bytes kid;     /* roomKey.*; empty otherwise */
	struct bytes key_id;  /* identity.*; empty otherwise */
	unsigned perms;	      /* room.authorized; 0 otherwise */
};

/** event_count - how many events a record holds; those of a snapshot's RECORD_EVENTS are counted, too */
size_t event_count(const struct record *record);

/** event_get - the @i-th of them, in the order of their numbers; its bytes are the record's */
void event_get(const struct record *record, size_t i, struct event *ret);

/** event_type_name - as docs/protocol.md has it: "identity.rotated" ... */
const char *event_type_name(enum event_type type);

#endif
