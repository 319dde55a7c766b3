/*
 * state_private - what state.c (changes) and state_load.c (what a file holds) share
 */
#ifndef E2EED_KEYSTORE_STATE_PRIVATE_H
#define E2EED_KEYSTORE_STATE_PRIVATE_H

#include "keystore/ring_build.h"
#include "keystore/state.h"

struct identity state_new_identity(struct bytes key_id, int64_t created_ms, struct rsa_key *key); /* @key_id: a UUID */

/** state_find_place - an app, seen or not; a borrowed pointer, or NULL. The mutator alone adds to the map, so it may look without the lock. */
struct app *state_find_place(struct state *state, struct bytes id);

/** state_make_place - an app's place among the others, for one that nobody sees yet. Return: 0 and a borrowed pointer; ERR_NOMEM */
int state_make_place(struct state *state, struct bytes id, struct app **ret) WARN_UNUSED;

/**
 * state_make_ring_keys - the keys of a record, added to @ret
 * @in_order: their numbers have to follow from @first on
 *
 * Return: 0, ERR_INVALID_KEY, ERR_NOMEM.
 */
int state_make_ring_keys(const struct record *record, const struct parsed *parsed, bool in_order, unsigned first,
			 struct ring_list *ret) WARN_UNUSED;

void state_set_tip(struct app *app, const struct app_view *view); /* references it */

/** state_publish_room - what readers see of it from now on, and the count of all room keys */
void state_publish_room(struct state *state, struct app *app, struct room *room, const struct room_state *to);

#endif
