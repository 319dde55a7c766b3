/*
 * anchor - a small file outside the keystore's folder that remembers how far the keystore had got
 *
 * An older copy of the keystore is authentic, but it may know an app or a key that was revoked since. The anchor holds generation and
 * number of the newest change, authenticated under a key that only the keystore holds, and is synced before a change is answered;
 * so an older copy is found out as long as the anchor is not put back as well. docs/keystore.md has the layout.
 */
#ifndef E2EED_KEYSTORE_ANCHOR_H
#define E2EED_KEYSTORE_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/log_header.h"

struct anchor_mark {
	uint64_t generation;
	uint64_t seq;
};

/** anchor_mark_older - is @a behind @b? */
static inline bool anchor_mark_older(struct anchor_mark a, struct anchor_mark b)
{
	return a.generation < b.generation || (a.generation == b.generation && a.seq < b.seq);
}

struct anchor;

/**
 * anchor_open - open the file at @path, or make it
 * @key:  32 bytes; copied
 * @why:  on failure a sentence for the operator is appended
 * @ret_mark: what it remembers; zeros where it was made just now (or cut short while it was made)
 *
 * Return: 0; ERR_DAMAGED where it belongs to another keystore or is damaged; ERR_IO; ERR_NOMEM.
 */
int anchor_open(const char *path, const uint8_t file_id[LOG_FILE_ID], const struct secret *key, struct buf *why,
		struct anchor_mark *ret_mark, struct anchor **ret) WARN_UNUSED;

/** anchor_set - remember @mark, durably. One thread at a time. Return: 0, ERR_IO (errno tells). */
int anchor_set(struct anchor *anchor, struct anchor_mark mark) WARN_UNUSED;
void anchor_close(struct anchor *anchor);

#endif
