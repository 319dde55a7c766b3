/*
 * state - all apps in memory, and how a record changes them
 *
 * The same two steps serve the replay and a mutation: state_prepare() checks that the record fits what is there and builds all it
 * needs; state_apply() publishes that and cannot fail. Between the two a mutation makes the record durable.
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
	struct idmap apps;     /* holds a reference to each */
	atomic_size_t room_keys;
	bool loading; /* lists are sorted by state_loaded(), not at each addition */
};

int state_init(struct state *state) WARN_UNUSED; /* 0, ERR_NOMEM; starts loading */
void state_loaded(struct state *state);
void state_fini(struct state *state);

struct app *state_find(struct state *state, struct bytes id); /* a reference, or NULL */

/* the keys of a record as objects */
struct parsed {
	struct rsa_key *identity; /* reference, or NULL */
	struct roomkey **keys;	  /* owned list of references, one for each of the record's keys */
	size_t n_keys;
};

/** parsed_from_record - Return: 0; ERR_INVALID_KEY; ERR_NOMEM */
int parsed_from_record(const struct record *record, struct parsed *ret) WARN_UNUSED;
void parsed_fini(struct parsed *parsed);

struct change {
	struct app *app; /* reference */
	bool add_app;
	struct app_view *view; /* reference, or NULL: stays */
	struct room *room;     /* NULL: stays. Owned where add_room, else the app's */
	bool add_room;
	struct room_state room_state;
};

void change_fini(struct change *change); /* drops what was not applied */

/**
 * state_prepare - Return: 0; ERR_NOT_FOUND (app, room, grant or key); ERR_ALREADY_EXISTS (app or identity); ERR_INVALID_KEY
 * (numbers of new keys that do not follow the former ones); ERR_NOMEM
 */
int state_prepare(struct state *state, const struct record *record, const struct parsed *parsed,
		  struct change *ret) WARN_UNUSED;
void state_apply(struct state *state, struct change *change);

#endif
