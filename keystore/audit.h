/*
 * audit - the trail of who did what: an append-only file of JSON lines, chained by a keyed MAC
 *
 * Knows nothing of apps, keys or the store: it is given a key, and entries. docs/audit.md describes the file well enough
 * to verify it without us. One process at a time writes (advisory lock). Of one process any thread may call anything but
 * audit_close(); entries stand in the file in the order in which the appends took their turn.
 *
 * For an action that must not happen without its entry: audit_ready(), then the action, then audit_append().
 */
#ifndef E2EED_KEYSTORE_AUDIT_H
#define E2EED_KEYSTORE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

#define AUDIT_KEY_SIZE 32
#define AUDIT_MAC_SIZE 32
#define AUDIT_MAX_TEXT \
	512u /* bytes of a target or an app's id, before escapes; what is longer is cut, and ends in U+2026 */
#define AUDIT_MAX_LINE 16384u /* bytes of a line; none is longer */
#define AUDIT_RESERVE  65536u /* bytes that audit_ready() makes sure of */

struct audit;

enum audit_actor {
	AUDIT_BY_DAEMON,
	AUDIT_BY_PROCESS,
	AUDIT_BY_APP,
};

/* Borrowed during the call, and UTF-8. Never content: no key, token, passphrase, message or name that a user gave. */
struct audit_entry {
	enum audit_actor by;
	uint32_t uid; /* AUDIT_BY_PROCESS: as the kernel says */
	int32_t pid;
	struct bytes app_id;	  /* AUDIT_BY_APP */
	const char *action;	  /* a literal: a method's name, or an event's */
	struct bytes target;	  /* what it was done to: an id; BYTES_NONE: nothing in particular */
	int result;		  /* 0 or an enum err */
	uint64_t generation, seq; /* how far the keystore had got */
};

struct audit_info {
	const char *path;	  /* borrowed from the log; of audit_verify(): its argument */
	uint64_t n;		  /* of the newest entry; 0: there is none */
	uint64_t generation, seq; /* of the newest entry: a keystore that has not got as far was rolled back */
	uint8_t mac[AUDIT_MAC_SIZE];
	uint64_t bytes;
	uint64_t torn;	     /* bytes of a torn last line: audit_open() cut them off, audit_verify() left them */
	bool created;	     /* the file was made by this open */
	bool failed;	     /* no appends until audit_ready() succeeds */
	uint64_t lost;	     /* entries that could not be written and that no entry speaks of yet */
	const char *problem; /* NULL, or static text that follows "audit log <path> ": what is wrong, and what to do */
	int last_errno;	     /* why, where the system said; 0: it did not */
};

/**
 * audit_open - lock the log at @path, or make a new one, and verify all of it
 * @key: AUDIT_KEY_SIZE bytes; copied
 * @why: on failure a sentence is appended: what is wrong with what, at which line and offset, what to do
 *
 * A torn last line (what a crash in mid-append leaves) is cut off and counted. Everything else that does not verify is damage.
 * Reads all of the file, in constant memory: some 400,000 entries a second.
 *
 * Return: 0; ERR_DAMAGED; ERR_BUSY (another process has it); ERR_IO; ERR_NOMEM, ERR_CRYPTO.
 */
int audit_open(const char *path, const struct secret *key, struct buf *why, struct audit **ret) WARN_UNUSED;

/**
 * audit_append - write one entry; if @durable it and all before it are on the disk when this returns 0
 *
 * One write. Threads that wait for the disk do not hold up the others. The keystore's place never goes back within one opening: where
 * another thread's entry was further, this one states the same. If the write fails, what was written is cut off again. If the
 * sync fails, the entry stays, to be written once more. Either way the log has failed: no appends until audit_ready() succeeds.
 *
 * Return: 0; ERR_STORAGE, and audit_get_info() says why; ERR_NOMEM, ERR_CRYPTO: nothing was written, but the log goes on.
 */
int audit_append(struct audit *audit, const struct audit_entry *entry, bool durable) WARN_UNUSED;

/**
 * audit_ready - is it as certain as can be that the next entries can be written?
 *
 * Looks whether the file is still ours and at its path, and reserves AUDIT_RESERVE bytes behind its end (where the file system can
 * do that), so that a full disk shows before an action is taken rather than after it. A log that has failed is tried again: what
 * had not been synced is written once more, and should entries have been lost, one by the daemon says how many ("auditGap").
 * Cheap as long as there is nothing to do.
 *
 * Return: 0; ERR_STORAGE, and audit_get_info() says why; ERR_NOMEM, ERR_CRYPTO.
 */
int audit_ready(struct audit *audit) WARN_UNUSED;

/* called with each entry's line, without the line feed. A negative return ends the reading and is handed on. */
typedef int (*audit_line_fn)(void *arg, struct bytes line);

/**
 * audit_read - the entries behind number @since, @limit at most, verified as they are read
 * @ret_next: what to give as @since for those that follow; on success only
 *
 * Appends go on meanwhile. Reads from the file, past a few entries at most (of a very long log: some thousand).
 * Return: 0; ERR_DAMAGED or ERR_IO with a sentence appended to @why; ERR_NOMEM, ERR_CRYPTO; what @fn returned.
 */
int audit_read(struct audit *audit, uint64_t since, uint64_t limit, audit_line_fn fn, void *arg, struct buf *why,
	       uint64_t *ret_next) WARN_UNUSED;

/**
 * audit_verify - check a log, an archived one or the daemon's own, without lock and without changing it
 * @fn:  called with each line once it is verified; NULL: none
 *
 * The file's owner and mode do not matter: the MACs speak. While a daemon writes, a torn last line can be one on its way.
 * Return: as audit_open() but for ERR_BUSY; ERR_NOT_FOUND; what @fn returned. All with a sentence, but for what @fn returned.
 */
int audit_verify(const char *path, const struct secret *key, audit_line_fn fn, void *arg, struct buf *why,
		 struct audit_info *ret) WARN_UNUSED;

void audit_get_info(struct audit *audit, struct audit_info *ret);

/** audit_close - give back what was reserved, unlock; NULL is allowed. What was appended without durable is not synced. */
void audit_close(struct audit *audit);

#endif
