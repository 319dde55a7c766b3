/*
 * app - an app in memory: its view, its rooms and the lock over both
 *
 * Only the store includes this; everybody else uses the functions of store.h, some of which live in app.c. Builders allocate and
 * can fail; app_set_...() publish what was built and cannot. There is one mutator at a time (the store's mutation lock): it alone
 * may read view, rooms and their members without the app's lock; it takes that lock to write.
 */
#ifndef E2EED_KEYSTORE_APP_H
#define E2EED_KEYSTORE_APP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "keystore/idmap.h"
#include "keystore/store.h"

/* Once known, a room stays, even with nothing granted and its keys purged: the numbers of its keys are not used again. */
struct room {
	unsigned perms;	      /* 0: nothing granted */
	unsigned next_number; /* of a key */
	struct ring *ring;    /* reference, or NULL */
	size_t id_n;
	uint8_t id[];
};

struct app {
	atomic_uint refs;
	atomic_uint_fast64_t token_epoch;
	atomic_int_fast64_t last_used_ms;
	pthread_rwlock_t lock;	     /* over view and rooms */
	const struct app_view *view; /* reference */
	struct idmap rooms;	     /* owns struct room */
	size_t id_n;
	uint8_t id[];
};

/** lock_init - a lock that does not let readers starve a writer. Return: 0, ERR_NOMEM. */
int lock_init(pthread_rwlock_t *lock) WARN_UNUSED;

/** app_new - without view and rooms; give it a view before anybody sees it. Return: 0, ERR_NOMEM. */
int app_new(struct bytes id, struct app **ret) WARN_UNUSED;

/** view_new - everything is copied, keys are referenced. Return: 0, ERR_NOMEM. */
int view_new(const struct app_view *from, struct app_view **ret) WARN_UNUSED;

/** app_set_view - publish @view; takes it over */
void app_set_view(struct app *app, struct app_view *view);

struct room *app_find_room(const struct app *app, struct bytes id); /* for the mutator */

/** app_build_room - a room without grant and keys, for app_set_room(), and a place for it. Return: 0, ERR_NOMEM. */
int app_build_room(struct app *app, struct bytes id, struct room **ret) WARN_UNUSED;
void room_free(struct room *room);
DEFINE_FREEP(struct room *, room_freep, room_free)

struct room_state {
	unsigned perms;
	unsigned next_number;
	struct ring *ring; /* owned */
};

/**
 * app_set_room - publish a room's new state; takes over its ring and, with @add, the room
 * @later: as in idmap_add(); then app_sort_rooms() must follow
 */
void app_set_room(struct app *app, struct room *room, bool add, bool later, struct room_state *state);
void app_sort_rooms(struct app *app);

#endif
