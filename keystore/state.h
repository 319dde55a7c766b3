/*
 * state - all apps in memory, and how a record changes them
 *
 * A change goes through three states. state_prepare() checks that the record fits what is there and builds all it needs;
 * state_stage() makes it what the next change is prepared against (the tip), while readers see nothing of it; and when its record is
 * durable state_apply() publishes it, or state_drop() takes the tip back. Only preparing can fail. So many changes can wait for one
 * sync, and readers never see what is not on disk.
 *
 * All calls but state_find() are the mutator's: one thread at a time, under the store's mutation lock.
 */
#ifndef E2EED_KEYSTORE_STATE_H
#define E2EED_KEYSTORE_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "crypto/roomkey.h"
#include "crypto/rsa.h"
#include "keystore/app.h"
#include "keystore/idmap.h"
#include "keystore/record.h"

struct state {
	pthread_rwlock_t lock; /* over apps; taken before an app's own */
	struct idmap apps;     /* holds a reference to each; also of those that nobody sees (yet, or while locked) */
	atomic_size_t n_apps;  /* that are seen */
	atomic_size_t room_keys;
	uint64_t epoch_base; /* added to the numbers of changes to give token epochs */
	bool loading;	     /* lists are sorted by state_loaded(), rings built there */
};

int state_init(struct state *state) WARN_UNUSED; /* 0, ERR_NOMEM */
void state_fini(struct state *state);

struct app *state_find(struct state *state, struct bytes id); /* a reference to one that is seen, or NULL */

/** state_find_tip - as the next change finds it; a borrowed pointer to one that is seen or staged, or NULL */
struct app *state_find_tip(struct state *state, struct bytes id);

/* what a record is about, as objects; borrowed by state_prepare() */
struct parsed {
	struct secret *token;
	struct secret *app_key;
	struct secret *escrow;	     /* NULL: none */
	struct rsa_key **identities; /* one, or those of a RECORD_APP */
	size_t n_identities;
	struct roomkey **keys; /* one for each of the record's keys */
	size_t n_keys;
};

struct room_change {
	struct room *room; /* the app's */
	struct room_state to;
};

struct change {
	struct app *app;	   /* reference */
	struct app_view *view;	   /* reference, or NULL: stays */
	struct secret *app_key;	   /* of a new app; owned */
	struct room_change *rooms; /* owned */
	size_t n_rooms;
	bool revoke;		       /* all rooms go */
	char former_key_id[UUID_SIZE]; /* of an identity added: the one that was current */
};

/**
 * state_prepare - Return: 0; ERR_NOT_FOUND (app, room, grant or key); ERR_ALREADY_EXISTS (app or identity); ERR_FORBIDDEN (the app or
 * the identity key is revoked, the key is the current one, or there are too many); ERR_INVALID_KEY (numbers of new keys that do not
 * follow the former ones); ERR_NOMEM
 */
int state_prepare(struct state *state, const struct record *record, const struct parsed *parsed,
		  struct change *ret) WARN_UNUSED;
void state_stage(struct change *change);
void state_apply(struct state *state, struct change *change); /* and release it */
void state_drop(struct change *change);	   /* one that was staged, with all that was staged since; and release it */
void state_release(struct change *change); /* one that was not staged */

/* ---- loading ---- */

void state_begin_loading(struct state *state);

/**
 * state_load - take in a decoded record, of a change or of a snapshot; while loading
 *
 * Return: 0; ERR_DAMAGED with half a sentence appended to @why; ERR_NOMEM.
 */
int state_load(struct state *state, const struct record *record, struct buf *why) WARN_UNUSED;

/** state_loaded - Return: 0; ERR_DAMAGED with half a sentence appended to @why; ERR_NOMEM */
int state_loaded(struct state *state, struct buf *why) WARN_UNUSED;

/** state_forget - drop all that is secret, and all that could be seen; apps stay as empty places for the next loading */
void state_forget(struct state *state);

/** state_end_absent - of apps that what was loaded does not know, the sessions are over */
void state_end_absent(struct state *state);

#endif
