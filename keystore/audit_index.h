/*
 * audit_index - where in an audit log reading can start: marks at regular distances, in a fixed amount of memory
 *
 * When all marks are used, every second one goes and the next ones are twice as far apart: up to 8,192 entries there is one for
 * each 16, for a million one for each 2,048. Not thread-safe.
 */
#ifndef E2EED_KEYSTORE_AUDIT_INDEX_H
#define E2EED_KEYSTORE_AUDIT_INDEX_H

#include <stdint.h>

#include "keystore/audit_line.h"

#define AUDIT_INDEX_MARKS  512u
#define AUDIT_INDEX_STRIDE 16u /* of a small log */

/* the line at @offset stands behind @place, of which only n and mac are known */
struct audit_mark {
	struct audit_place place;
	uint64_t offset;
};

/* zeroed: empty */
struct audit_index {
	struct {
		uint64_t offset;
		uint8_t mac[AUDIT_MAC_SIZE];
	} marks[AUDIT_INDEX_MARKS]; /* marks[i]: behind entry i * stride */
	unsigned n;
	uint64_t stride;
};

/** audit_index_note - the line behind @place starts, or will start, at @offset; to be told of each place in order, n = 0 first */
void audit_index_note(struct audit_index *x, const struct audit_place *place, uint64_t offset);

/** audit_index_before - the last mark behind entry @n or one before it; at least one place must have been noted */
void audit_index_before(const struct audit_index *x, uint64_t n, struct audit_mark *ret);

/** audit_index_at - the last mark at or before @offset; at least one place must have been noted */
void audit_index_at(const struct audit_index *x, uint64_t offset, struct audit_mark *ret);

#endif
