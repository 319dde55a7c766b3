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

struct room_state {
	unsigned perms;	      /* 0: nothing granted */
	unsigned next_number; /* of a key */
	struct ring *ring;    /* reference, or NULL */
};

/*
 * Once known, a room stays, even with nothing granted and its keys purged: the numbers of its keys are not used again. One without
 * anything is as good as none.
 */
struct room {
	struct room_state now;	   /* what readers see */
	struct room_state tip;	   /* mutator's: with all that is staged; the same as now otherwise */
	struct ring_list *loading; /* mutator's: keys on their way into a ring, while the keystore is read; owned */
	size_t id_n;
	uint8_t id[];
};

struct app {
	atomic_uint refs;
	atomic_uint_fast64_t token_epoch;
	atomic_int_fast64_t last_used_ms;
	atomic_ulong uses[APP_USE_NR];
	pthread_rwlock_t lock;	     /* over view, rooms and their now */
	const struct app_view *view; /* reference; NULL: nobody sees the app */
	struct idmap rooms;	     /* owns struct room */
	const struct app_view *tip;  /* mutator's: reference; the same as view but for what is staged */
	struct secret *key; /* mutator's: owned; seals the app's secrets in records; NULL of one that is revoked */
	atomic_uint_fast64_t events_from; /* its events up to this number are not kept; 0: all are */
	uint64_t n_events;		  /* mutator's: of its events in the file; 0 once it is revoked */
	struct {
		uint64_t skip;	  /* events that are still to be left behind */
		uint64_t from, n; /* as above */
	} carried;		  /* mutator's: of the file that is being written */
	size_t id_n;
	uint8_t id[];
};

/** lock_init - a lock that does not let readers starve a writer. Return: 0, ERR_NOMEM. */
int lock_init(pthread_rwlock_t *lock) WARN_UNUSED;

/** app_new - without view and rooms; give it a view before anybody sees it. Return: 0, ERR_NOMEM. */
int app_new(struct bytes id, struct app **ret) WARN_UNUSED;

/** view_new - everything is copied, keys are referenced. Return: 0, ERR_NOMEM. */
int view_new(const struct app_view *from, struct app_view **ret) WARN_UNUSED;

/** app_publish_view - what readers see from now on; a reference is taken; NULL: nothing. @with_epoch: false while it may be one of the past */
void app_publish_view(struct app *app, const struct app_view *view, bool with_epoch);

/** app_publish_epoch - that of the view, which was published without it; nothing without a view */
void app_publish_epoch(struct app *app);
const struct app_view *app_view_ref(const struct app_view *view);

bool app_is_seen(struct app *app);

struct room *app_find_room(const struct app *app, struct bytes id); /* for the mutator */

/** app_add_room - a room without grant and keys, which is as good as none. Return: 0, ERR_NOMEM. */
int app_add_room(struct app *app, struct bytes id, bool later, struct room **ret) WARN_UNUSED;
void app_sort_rooms(struct app *app); /* after additions for later */

/** app_publish_room - what readers see of it from now on; the ring is referenced */
void app_publish_room(struct app *app, struct room *room, const struct room_state *to);

void room_state_set(struct room_state *state, const struct room_state *to); /* with references */

#endif
