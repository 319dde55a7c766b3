/*
 * sealed_log - an append-only file of records, each sealed and chained to the one before
 *
 * Knows nothing of what records mean. docs/keystore.md describes the bytes well enough to write an independent reader.
 * This is the storage interface: open (which replays), append (durable when it returns), close. One process at a time
 * (advisory lock); one thread at a time (the store's mutation lock).
 */
#ifndef E2EED_KEYSTORE_SEALED_LOG_H
#define E2EED_KEYSTORE_SEALED_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/seal.h"

#define SEALED_LOG_MAX_RECORD (16u << 20) /* bytes of one record's plaintext */

struct sealed_log;

struct sealed_log_info {
	const char *path; /* borrowed from the log */
	const char *seal; /* name of the seal that opened it */
	uint64_t generation;
	uint64_t records;
	uint64_t bytes;
	uint64_t seq;	   /* of the newest record; the first is 1 */
	uint64_t cut_tail; /* bytes of a torn tail that were cut off at open */
	bool created;	   /* the file was made by this open */
	int last_errno;	   /* why the newest failed append failed; 0: none did */
	bool failed;	   /* an append could not be undone: no more appends until a restart */
};

/* called for each record in order; @plain is wiped after the call. A negative return ends the replay and is handed on. */
typedef int (*sealed_log_replay_fn)(void *arg, uint64_t seq, struct bytes plain);

/**
 * sealed_log_open - lock, authenticate and replay the file at @path, or make a new one
 * @seal:   opens the data key
 * @create: make the file (and what @seal keeps) if there is none
 * @why:    on failure a sentence for the operator: what is wrong with what, at which offset and record, what to do; never NULL
 *
 * A torn tail (the last record cut short, or zeros from a sector boundary on: what a crash in mid-append leaves) is cut off and
 * counted in cut_tail. Anything else that does not authenticate is ERR_DAMAGED.
 * Return: 0; ERR_NOT_FOUND (and not @create); ERR_DAMAGED; ERR_SEAL; ERR_BUSY (locked by another process); ERR_IO; ERR_NOMEM;
 * or what @replay returned.
 */
int sealed_log_open(const char *path, const struct seal *seal, bool create, sealed_log_replay_fn replay, void *arg,
		    struct buf *why, struct sealed_log **ret) WARN_UNUSED;

/**
 * sealed_log_append - seal @plain, write it, fdatasync; 0 means it is on disk
 *
 * On failure nothing has changed: what was written is cut off again. Should even that fail, the log refuses all further appends.
 * Return: 0 and the record's number, ERR_STORAGE, ERR_TOO_LARGE, ERR_NOMEM.
 */
int sealed_log_append(struct sealed_log *log, struct bytes plain, uint64_t *ret_seq) WARN_UNUSED;

void sealed_log_get_info(const struct sealed_log *log, struct sealed_log_info *ret);
void sealed_log_close(struct sealed_log *log);

#endif
