/*
 * store_private - what the files of the store share: store.c (finding, changing), store_load.c (opening), snapshot.c (what a
 * rewritten file begins with)
 */
#ifndef E2EED_KEYSTORE_STORE_PRIVATE_H
#define E2EED_KEYSTORE_STORE_PRIVATE_H

#include <pthread.h>

#include "keystore/state.h"
#include "keystore/store.h"

#define COMPACTION_SLACK \
	((uint64_t)4 << 20) /* bytes that a file may grow beyond twice its size when it was rewritten last */

/* contexts of log_key_derive() for keys that come out of the custody key */
#define STORE_KEY_AUDIT	 "e2eedAUD"
#define STORE_KEY_ANCHOR "e2eedANC"

/* a change that waits for its sync; on the stack of who waits */
struct pending {
	struct pending *next;
	struct change change;
	uint64_t seq;
	char former_key_id[UUID_SIZE]; /* as in struct change */
	bool erases;
	bool done;
	int result;
};

struct store {
	struct store_options options;	    /* its texts are not used */
	char *path, *anchor_path, *witness; /* owned */

	pthread_mutex_t maintenance; /* one rewrite, copy or check of the file at a time; taken before mutation */
	pthread_mutex_t mutation;    /* over what follows, and over what only a mutator may do to the state */
	pthread_cond_t settled;
	struct sealed_log *log; /* owned; NULL: locked */
	struct anchor *anchor;	/* owned; NULL: none */
	struct secret *custody; /* owned: root of the keys for what lies outside the file */
	struct state state;
	struct pending *first, *last; /* staged, not on their way yet */
	bool flushing;		      /* some are on their way */
	uint64_t seq, tip_seq;	      /* of the newest durable change; of the newest staged one */
	unsigned long failures;	      /* of batches: what was staged is gone with each */
	uint64_t base_bytes;	      /* of the file's snapshot */
	bool erase_due;		      /* secrets that were destroyed are still in the file */
	bool erase_failed;	      /* and a rewrite has failed */
	int anchor_errno;
	unsigned long syncs;
	unsigned rewrites_waiting; /* for what is staged to be settled; nothing more is staged meanwhile */
	struct log_cursor left_at; /* where the file ended when it was locked; n is 0 before the first time */

	pthread_mutex_t info_lock; /* over info: a copy, so that looking does not wait for a disk */
	struct store_info info;
};

void store_note_info(struct store *store);

/* ---- store_load.c: with both locks ---- */

int store_load(struct store *store, const struct seal *seal, struct buf *why) WARN_UNUSED;
void store_close_files(struct store *store);

/* ---- store.c ---- */

int store_rewrite_now(struct store *store, const struct log_rewrite *how, struct buf *why,
		      uint32_t *ret_slot) WARN_UNUSED;

/* ---- snapshot.c ---- */

struct snapshot {
	const struct store *store;
	struct secret **keys; /* a new one for each app of state.apps.sorted; NULL of those that have none */
	size_t n_keys;
};

/** snapshot_emit - the whole state as records; for sealed_log_rewrite() and for a new file */
int snapshot_emit(void *arg, struct log_writer *w) WARN_UNUSED;

#endif
