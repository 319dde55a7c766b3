/*
 * store_private - what the files of the store share: store.c (finding, committing, rewriting), store_change.c (what is
 * committed), store_load.c (opening), snapshot.c (what a rewritten file begins with)
 */
#ifndef E2EED_KEYSTORE_STORE_PRIVATE_H
#define E2EED_KEYSTORE_STORE_PRIVATE_H

#include <pthread.h>

#include "base/cleanup.h"
#include "keystore/event_index.h"
#include "keystore/event_tail.h"
#include "keystore/state.h"
#include "keystore/store.h"

#define JOIN_(a_, b_) a_##b_
#define JOIN(a_, b_)  JOIN_(a_, b_)

/* Hold @mutex_ until the end of the block. */
#define LOCKED(mutex_)                                                                    \
	CLEANUP(store_unlockp) pthread_mutex_t *JOIN(locked_mutex_, __LINE__) = (mutex_); \
	store_hold(JOIN(locked_mutex_, __LINE__))

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
	struct log_cursor at;	  /* where its record begins */
	struct event_note *notes; /* owned, until they are told; as many as n_events */
	size_t n_events;
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
	struct event_index places;    /* of events in the file */
	struct pending *first, *last; /* staged, not on their way yet */
	bool flushing;		      /* some are on their way */
	unsigned reading;	      /* how many read events out of the file: no rewrite meanwhile */
	uint64_t seq, tip_seq;	      /* of the newest durable change; of the newest staged one */
	unsigned long failures;	      /* of batches: what was staged is gone with each */
	uint64_t base_bytes;	      /* of the file's snapshot */
	bool erase_due;		      /* secrets that were destroyed are still in the file */
	bool erase_failed;	      /* and a rewrite has failed */
	uint64_t events_lost;	      /* up to this number, in a file that was damaged; 0: none */
	int anchor_errno;
	unsigned long syncs;
	unsigned rewrites_waiting; /* for what is staged to be settled; nothing more is staged meanwhile */
	struct log_cursor left_at; /* where the file ended when it was locked; n is 0 before the first time */

	struct event_tail tail; /* with a lock of its own */
	atomic_uint history;	/* as store_history() */

	pthread_mutex_t info_lock; /* over info: a copy, so that looking does not wait for a disk */
	struct store_info info;
};

void store_note_info(struct store *store);

/* ---- store_load.c: with both locks ---- */

int store_load(struct store *store, const struct seal *seal, struct buf *why) WARN_UNUSED;
void store_close_files(struct store *store);

/* ---- store.c ---- */

void store_hold(pthread_mutex_t *mutex);
void store_unlockp(pthread_mutex_t **mutex);
void store_wait_disk(struct store *store, bool waits); /* the thread is idle meanwhile */

int store_rewrite_now(struct store *store, const struct log_rewrite *how, struct buf *why,
		      uint32_t *ret_slot) WARN_UNUSED;

/** store_wait_turn - with the mutation lock, which is given up meanwhile, before a change is looked at: a rewrite goes first */
void store_wait_turn(struct store *store);

/**
 * store_wait_settled - with the mutation lock, which is given up meanwhile: until what is staged by now is settled
 *
 * Return: did all of it last? Then so does what was found by it.
 */
bool store_wait_settled(struct store *store);

/**
 * store_commit - with the mutation lock: check, build, make durable together with whoever else is there, publish
 *
 * Return: 0; as state_prepare(); ERR_LOCKED; ERR_STORAGE; ERR_NOMEM.
 */
int store_commit(struct store *store, struct record *record, const struct parsed *parsed) WARN_UNUSED;
int store_commit_as(struct store *store, struct record *record, const struct parsed *parsed,
		    struct pending *p) WARN_UNUSED; /* @p: zeroed; tells more about what was done */

/** store_erase - after a change that destroys secrets; a failure shows in erase_due, and the next rewrite makes it good */
void store_erase(struct store *store);

/* ---- snapshot.c ---- */

struct snapshot {
	struct store *store;
	struct buf *why;
	struct secret **keys; /* owned: a new one for each app of state.apps.sorted; NULL of those that have none */
	size_t n_keys;
	struct event_index places; /* in the new file */
	bool without_events;	   /* the old one's cannot be read */
	struct buf why_no_events;
};

void snapshot_fini(struct snapshot *snapshot);

/** snapshot_emit - the whole state as records; for sealed_log_rewrite() and for a new file */
int snapshot_emit(void *arg, struct log_writer *w) WARN_UNUSED;

/** snapshot_put - a record of a snapshot. Return: 0; as record_encode(), log_writer_put() */
int snapshot_put(const struct snapshot *snapshot, struct log_writer *w, struct record *record,
		 const struct secret *app_key) WARN_UNUSED;

/* ---- snapshot_events.c: with both locks, and idle ---- */

/** snapshot_plan_events - find out what is left behind of each app's events: all, where the file is damaged. Return: 0, ERR_NOMEM. */
int snapshot_plan_events(struct snapshot *snapshot) WARN_UNUSED;

/** snapshot_put_events - Return: 0; ERR_STORAGE with a sentence, where the file could be read a moment ago; ERR_NOMEM */
int snapshot_put_events(struct snapshot *snapshot, struct log_writer *w) WARN_UNUSED;

/** snapshot_events_carried - the new file is there */
void snapshot_events_carried(const struct snapshot *snapshot);

#endif
