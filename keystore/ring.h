/*
 * ring - the room keys that one app holds of one room
 *
 * Immutable once published, and reference-counted: a change makes a new ring that shares the keys. So a decrypt works on the ring
 * it found, under no lock. kids are not unique (interop.md 1): a ring is a list, newest first: the current key, then the
 * others by `ts`, or by the time of import where there is none.
 */
#ifndef E2EED_KEYSTORE_RING_H
#define E2EED_KEYSTORE_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "crypto/roomkey.h"

/* one key in a ring; immutable, reference-counted */
struct ring_key {
	unsigned number;     /* of this key in this room, from 0, never reused: tells keys with the same kid apart */
	struct bytes kid;    /* owned by the object */
	struct bytes ts;     /* JSON text as it came (a string or an EJSON date); empty where unknown */
	int64_t order_ms;    /* what it is ordered by: ts, or the time of import */
	struct roomkey *key; /* owned reference */
};

struct ring;

struct ring *ring_ref(struct ring *ring);
void ring_unref(struct ring *ring);
DEFINE_FREEP(struct ring *, ring_unrefp, ring_unref)

size_t ring_len(const struct ring *ring);			   /* NULL counts as empty in all of these */
const struct ring_key *ring_at(const struct ring *ring, size_t i); /* newest first; borrowed from the ring */
const struct ring_key *ring_current(const struct ring *ring);	   /* NULL without one; otherwise ring_at(ring, 0) */
const struct ring_key *ring_newest(const struct ring *ring, struct bytes kid); /* NULL if none has that kid */
const struct ring_key *ring_same(const struct ring *ring, struct bytes kid,
				 const struct roomkey *key); /* same kid and key bytes */

#endif
