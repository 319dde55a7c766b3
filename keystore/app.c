#include "keystore/app.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "keystore/ring_build.h"

/* an app_view as it lies in memory */
struct view {
	struct app_view pub; /* first: what others point to */
	atomic_uint refs;
	struct secret *token, *escrow;	       /* owned */
	struct identity_tombstone *tombstones; /* owned */
	struct identity *identities;	       /* owned, with references to keys */
	uint8_t name[];
};

int lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;
	int r;

	if (pthread_rwlockattr_init(&attr) != 0)
		return ERR_NOMEM;
	/* a reader that holds one of our locks never takes the same one again, which this kind asks for */
	(void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	r = pthread_rwlock_init(lock, &attr);
	(void)pthread_rwlockattr_destroy(&attr);
	return r ? ERR_NOMEM : 0;
}

/* Locking fails only for mistakes of ours: a lock that is not set up, or taken twice. */
static void lock_read(struct app *app)
{
	int r = pthread_rwlock_rdlock(&app->lock);

	assert(r == 0);
	(void)r;
}

static void lock_write(struct app *app)
{
	int r = pthread_rwlock_wrlock(&app->lock);

	assert(r == 0);
	(void)r;
}

static void unlock(struct app *app)
{
	(void)pthread_rwlock_unlock(&app->lock);
}

static struct bytes room_id_of(const void *value)
{
	const struct room *room = value;

	return BYTES(room->id, room->id_n);
}

static void room_free(struct room *room)
{
	ring_unref(room->now.ring);
	ring_unref(room->tip.ring);
	if (room->loading)
		ring_list_fini(room->loading);
	free(room->loading);
	free(room);
}

/* ---- the app itself ---- */

int app_new(struct bytes id, struct app **ret)
{
	struct app *app = calloc(1, sizeof(*app) + id.n);

	if (!app)
		return ERR_NOMEM;
	if (lock_init(&app->lock) < 0) {
		free(app);
		return ERR_NOMEM;
	}
	atomic_init(&app->refs, 1);
	atomic_init(&app->token_epoch, 0);
	atomic_init(&app->last_used_ms, 0);
	atomic_init(&app->events_from, 0);
	for (int i = 0; i < APP_USE_NR; i++)
		atomic_init(&app->uses[i], 0);
	app->rooms = IDMAP_INIT(room_id_of);
	app->id_n = id.n;
	memcpy(app->id, id.p, id.n);
	*ret = app;
	return 0;
}

struct app *app_ref(struct app *app)
{
	if (app)
		atomic_fetch_add_explicit(&app->refs, 1, memory_order_relaxed);
	return app;
}

void app_unref(struct app *app)
{
	if (!app || atomic_fetch_sub_explicit(&app->refs, 1, memory_order_acq_rel) != 1)
		return;
	app_view_unref(app->view);
	app_view_unref(app->tip);
	secret_free(app->key);
	for (size_t i = 0; i < app->rooms.n; i++)
		room_free(app->rooms.sorted[i]);
	idmap_fini(&app->rooms);
	(void)pthread_rwlock_destroy(&app->lock);
	free(app);
}

struct bytes app_id(const struct app *app)
{
	return BYTES(app->id, app->id_n);
}

void app_count_use(struct app *app, enum app_use use)
{
	(void)atomic_fetch_add_explicit(&app->uses[use], 1, memory_order_relaxed);
}

bool app_take_uses(struct app *app, unsigned long ret[APP_USE_NR])
{
	unsigned long sum = 0;

	for (int i = 0; i < APP_USE_NR; i++) {
		ret[i] = i == APP_USE_NONE ? 0 : atomic_exchange_explicit(&app->uses[i], 0, memory_order_relaxed);
		sum += ret[i];
	}
	return sum == 0;
}

void app_touch(struct app *app, int64_t now_ms)
{
	atomic_store_explicit(&app->last_used_ms, now_ms, memory_order_relaxed);
}

int64_t app_last_used_ms(const struct app *app)
{
	return atomic_load_explicit(&app->last_used_ms, memory_order_relaxed);
}

/* ---- views ---- */

static int copy_secret(const struct secret *from, struct secret **ret)
{
	return from ? secret_dup(secret_bytes(from), ret) : 0;
}

int view_new(const struct app_view *from, struct app_view **ret)
{
	struct view *view = calloc(1, sizeof(*view) + from->name.n);
	int r;

	if (!view)
		return ERR_NOMEM;
	atomic_init(&view->refs, 1);
	view->pub = *from;
	view->pub.n_identities = 0;
	view->identities = calloc(from->n_identities + 1, sizeof(*view->identities));
	view->tombstones = calloc(from->n_tombstones + 1, sizeof(*view->tombstones));
	r = view->identities && view->tombstones ? copy_secret(from->token, &view->token) : ERR_NOMEM;
	if (r == 0)
		r = copy_secret(from->escrow, &view->escrow);
	if (r < 0) {
		app_view_unref(&view->pub);
		return r;
	}
	if (from->name.n)
		memcpy(view->name, from->name.p, from->name.n);
	for (size_t i = 0; i < from->n_identities; i++) {
		view->identities[i] = from->identities[i];
		(void)rsa_ref(view->identities[i].key);
	}
	if (from->n_tombstones)
		memcpy(view->tombstones, from->tombstones, from->n_tombstones * sizeof(*view->tombstones));
	view->pub.name = BYTES(view->name, from->name.n);
	view->pub.token = view->token;
	view->pub.escrow = view->escrow;
	view->pub.tombstones = view->tombstones;
	view->pub.n_identities = from->n_identities;
	view->pub.identities = view->identities;
	*ret = &view->pub;
	return 0;
}

static struct view *view_of(const struct app_view *view)
{
	return (struct view *)(uintptr_t)view; /* it was allocated as one, and is const only for others */
}

const struct app_view *app_view_ref(const struct app_view *view)
{
	if (view)
		atomic_fetch_add_explicit(&view_of(view)->refs, 1, memory_order_relaxed);
	return view;
}

const struct app_view *app_get_view(struct app *app)
{
	const struct app_view *view;

	lock_read(app);
	view = app_view_ref(app->view);
	unlock(app);
	return view;
}

bool app_is_seen(struct app *app)
{
	bool seen;

	lock_read(app);
	seen = app->view != NULL;
	unlock(app);
	return seen;
}

void app_view_unref(const struct app_view *pub)
{
	struct view *view = view_of(pub);

	if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < view->pub.n_identities; i++)
		rsa_unref(view->identities[i].key);
	free(view->identities);
	free(view->tombstones);
	secret_free(view->token);
	secret_free(view->escrow);
	free(view);
}

void app_publish_view(struct app *app, const struct app_view *view, bool with_epoch)
{
	const struct app_view *old;

	(void)app_view_ref(view);
	lock_write(app);
	old = app->view;
	app->view = view;
	if (view && with_epoch)
		atomic_store(&app->token_epoch, view->token_epoch);
	unlock(app);
	app_view_unref(old);
}

void app_publish_epoch(struct app *app)
{
	lock_write(app);
	if (app->view)
		atomic_store(&app->token_epoch, app->view->token_epoch);
	unlock(app);
}

uint64_t app_token_epoch(const struct app *app)
{
	return atomic_load(&app->token_epoch);
}

/* ---- rooms ---- */

struct room *app_find_room(const struct app *app, struct bytes id)
{
	return idmap_find(&app->rooms, id);
}

int app_add_room(struct app *app, struct bytes id, bool later, struct room **ret)
{
	struct room *room = calloc(1, sizeof(*room) + id.n);
	int r;

	if (!room)
		return ERR_NOMEM;
	room->id_n = id.n;
	memcpy(room->id, id.p, id.n);
	lock_write(app);
	r = idmap_reserve(&app->rooms);
	if (r == 0)
		idmap_add(&app->rooms, room, later);
	unlock(app);
	if (r < 0)
		free(room);
	else
		*ret = room;
	return r;
}

void room_state_set(struct room_state *state, const struct room_state *to)
{
	struct ring *old = state->ring;

	*state = *to;
	(void)ring_ref(to->ring);
	ring_unref(old);
}

void app_publish_room(struct app *app, struct room *room, const struct room_state *to)
{
	struct ring *old;

	(void)ring_ref(to->ring);
	lock_write(app);
	old = room->now.ring;
	room->now = *to;
	unlock(app);
	ring_unref(old);
}

void app_sort_rooms(struct app *app)
{
	lock_write(app);
	idmap_sort(&app->rooms);
	unlock(app);
}

int app_get_ring(struct app *app, struct bytes room_id, unsigned perms, struct ring **ret)
{
	const struct room *room;
	int r = ERR_ROOM_NOT_AUTHORIZED;

	lock_read(app);
	room = idmap_find(&app->rooms, room_id);
	if (room && room->now.perms && (room->now.perms & perms) == perms) {
		*ret = ring_ref(room->now.ring);
		r = 0;
	}
	unlock(app);
	return r;
}

void app_each_room(struct app *app, void (*fn)(void *arg, const struct room_info *room), void *arg)
{
	lock_read(app);
	for (size_t i = 0; i < app->rooms.n; i++) {
		const struct room *room = app->rooms.sorted[i];
		const struct ring_key *current = ring_current(room->now.ring);
		struct room_info info = {
			.room_id = room_id_of(room),
			.perms = room->now.perms,
			.keys = ring_len(room->now.ring),
			.current_kid = current ? current->kid : BYTES_NONE,
		};

		if (room->now.perms)
			fn(arg, &info);
	}
	unlock(app);
}

static void count_room(void *arg, const struct room_info *room)
{
	size_t *n = arg;

	(void)room;
	*n += 1;
}

size_t app_count_rooms(struct app *app)
{
	size_t n = 0;

	app_each_room(app, count_room, &n);
	return n;
}

static void count_keys(void *arg, const struct room_info *room)
{
	size_t *n = arg;

	*n += room->keys;
}

size_t app_count_keys(struct app *app)
{
	size_t n = 0;

	app_each_room(app, count_keys, &n);
	return n;
}
