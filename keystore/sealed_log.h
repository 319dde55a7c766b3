/*
 * sealed_log - an append-only file of records, each sealed and chained to the one before
 *
 * Knows nothing of what records mean. docs/keystore.md describes the bytes well enough to write an independent reader.
 *
 * This is the storage interface: open (which replays), stage and sync (append; many may share one sync), rewrite (a new file with a
 * new data key takes the place of the old one, which is wiped), copy, verify, close. Another backend would offer the same.
 *
 * One process at a time (advisory lock). Threads: the caller serialises all calls (the store's mutation lock) but for
 * sealed_log_sync(), which works on a batch that was taken out, and for sealed_log_read(), sealed_log_copy() and
 * sealed_log_verify(), which need only that no rewrite runs.
 */
#ifndef E2EED_KEYSTORE_SEALED_LOG_H
#define E2EED_KEYSTORE_SEALED_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/log_frame.h"
#include "keystore/seal.h"

#define SEALED_LOG_MAX_RECORD (16u << 20) /* bytes of one record's plaintext */

struct sealed_log;

struct sealed_log_slot {
	uint32_t number;
	enum seal_type type;
	int64_t created_ms;
};

struct sealed_log_info {
	const char *path; /* borrowed from the log */
	const char *seal; /* name of the seal that opened it */
	uint8_t file_id[LOG_FILE_ID];
	uint64_t generation;
	uint64_t records;  /* in the file */
	uint64_t bytes;	   /* of it */
	uint64_t cut_tail; /* bytes of a torn tail that were cut off at open */
	bool created;	   /* the file was made by this open */
	bool residue;	   /* an old file could not be wiped after a rewrite; the next rewrite or open tries again */
	int last_errno;	   /* why the newest failed sync or rewrite failed; 0: none did */
	bool failed;	   /* a failure could not be undone: no more appends until a restart */
};

/* called for each record in order, @at lying behind it; @plain is wiped after the call. A negative return ends the replay. */
typedef int (*sealed_log_replay_fn)(void *arg, const struct log_cursor *at, struct bytes plain);

struct log_writer;

/** log_writer_put - the next record of a file that is being written. Return: 0, ERR_TOO_LARGE, ERR_STORAGE, ERR_NOMEM. */
int log_writer_put(struct log_writer *w, struct bytes plain) WARN_UNUSED;
struct log_cursor log_writer_at(const struct log_writer *w); /* where the next one goes */

struct sealed_log_options {
	bool create; /* make the file (and what the seal keeps) if there is none, and nothing shows that there was one */
	int (*emit)(void *arg, struct log_writer *w); /* put the records that a new file begins with */
	void *arg;
	int (*replayed)(void *arg,
			struct buf *why); /* judge the whole, with the replay's @arg, before a tail is cut; or NULL */
	bool accept_damaged_tail;	  /* cut off a last record that is damaged, too: a person has looked */
	bool read_only;			  /* no lock, nothing is changed; a torn tail is counted only */
};

/**
 * sealed_log_open - lock, authenticate and replay the file at @path, or make a new one
 * @seal: opens the data key
 * @why:  on failure a sentence for the operator: what is wrong with what, at which offset and record, what to do; never NULL
 *
 * A torn tail (the last record cut short, or zeros from a sector boundary on: what a crash in mid-append leaves) is cut off and
 * counted in cut_tail. Anything else that does not authenticate is ERR_DAMAGED. What an interrupted rewrite left is wiped and removed
 * once the file itself has been read.
 * Return: 0; ERR_NOT_FOUND (and not to be made); ERR_DAMAGED; ERR_SEAL; ERR_BUSY (locked by another process); ERR_IO; ERR_NOMEM;
 * or what @replay returned.
 */
int sealed_log_open(const char *path, const struct seal *seal, const struct sealed_log_options *options,
		    sealed_log_replay_fn replay, void *arg, struct buf *why, struct sealed_log **ret) WARN_UNUSED;

/**
 * sealed_log_stage - seal @plain into the next batch; it is not on disk yet
 *
 * Return: 0, ERR_STORAGE (the log has failed), ERR_FORBIDDEN (it is read-only), ERR_TOO_LARGE, ERR_NOMEM; on failure nothing has
 * changed.
 */
int sealed_log_stage(struct sealed_log *log, struct bytes plain) WARN_UNUSED;

/* staged records on their way to the disk */
struct log_batch {
	struct buf frames; /* sealed */
	struct log_cursor from, to;
	int fd;		  /* borrowed */
	const char *path; /* borrowed */
	bool untouched;	  /* it failed before anything was written */
	int why;	  /* errno where it failed */
};

/** sealed_log_take - all that is staged; one batch at a time may be out */
void sealed_log_take(struct sealed_log *log, struct log_batch *ret);

/**
 * sealed_log_sync - write and fdatasync; needs no lock
 *
 * Nothing is written where the file has lost its name, or others have changed its size. Return: 0, ERR_STORAGE.
 */
int sealed_log_sync(struct log_batch *batch) WARN_UNUSED;

/**
 * sealed_log_settle - say how the sync went (@r), after which the batch is gone
 *
 * After a failure the file is cut back to where it was, and whatever has been staged since is dropped, too, since it is chained to
 * what failed. Should even the cutting fail, the log takes no more.
 */
void sealed_log_settle(struct sealed_log *log, struct log_batch *batch, int r);

/* ---- rewriting ---- */

struct log_rewrite {
	uint64_t min_generation;		      /* the new one is at least this, and one more than the old */
	const struct seal *add;			      /* a slot to add, or NULL */
	int64_t remove;				      /* number of a slot to remove, or -1 */
	int (*emit)(void *arg, struct log_writer *w); /* put all records */
	void *arg;
};

/**
 * sealed_log_rewrite - a new file under a new data key takes the old one's place, and the old one is wiped
 * @why:      on ERR_SEAL, ERR_FORBIDDEN and ERR_STORAGE a sentence for the operator is appended
 * @ret_slot: number of the added slot; may be NULL without @add
 *
 * Nothing may be staged. Crash-safe: at each moment one complete file has the name. On failure the old one serves on.
 * Return: 0; ERR_NOT_FOUND (no such slot); ERR_FORBIDDEN (the last slot, or too many; the file's name is another's now; or the log is
 * read-only); ERR_SEAL; ERR_STORAGE; ERR_NOMEM; or what emit returned.
 */
int sealed_log_rewrite(struct sealed_log *log, const struct log_rewrite *rewrite, struct buf *why,
		       uint32_t *ret_slot) WARN_UNUSED;

/** sealed_log_list_slots - Return: how many there are, at most LOG_MAX_SLOTS */
size_t sealed_log_list_slots(const struct sealed_log *log, struct sealed_log_slot ret[LOG_MAX_SLOTS]);

/* ---- looking ---- */

/** sealed_log_mark - where the durable end is, for the three below */
struct log_cursor sealed_log_mark(const struct sealed_log *log);

/** sealed_log_tip - where the next record goes that is staged */
struct log_cursor sealed_log_tip(const struct sealed_log *log);

#define SEALED_LOG_ENOUGH 2

/**
 * sealed_log_read - the records from @from, a place between two records of this very file, up to @upto
 * @fn: called for each, as at a replay; SEALED_LOG_ENOUGH ends the reading behind the record
 *
 * Return: 0; SEALED_LOG_ENOUGH; ERR_DAMAGED, ERR_IO with a sentence appended to @why; ERR_NOMEM; or what @fn returned.
 */
int sealed_log_read(const struct sealed_log *log, const struct log_cursor *from, const struct log_cursor *upto,
		    sealed_log_replay_fn fn, void *arg, struct buf *why) WARN_UNUSED;

/**
 * sealed_log_verify - read the file again from its name, up to @upto, as it lies on the disk
 *
 * Return: 0; ERR_DAMAGED with a sentence appended to @why; ERR_IO, ERR_NOMEM.
 */
int sealed_log_verify(const struct sealed_log *log, const struct log_cursor *upto, struct buf *why) WARN_UNUSED;

/**
 * sealed_log_copy - a copy of the file up to @upto at @path, read back and authenticated before it gets its name
 *
 * Return: 0; ERR_ALREADY_EXISTS; ERR_STORAGE with a sentence appended to @why; ERR_NOMEM.
 */
int sealed_log_copy(const struct sealed_log *log, const struct log_cursor *upto, const char *path,
		    struct buf *why) WARN_UNUSED;

void sealed_log_get_info(const struct sealed_log *log, struct sealed_log_info *ret);
void sealed_log_close(struct sealed_log *log);

#endif
