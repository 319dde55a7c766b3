/* What takes something away from an app is answered when nobody works with what is gone, and waits for nobody else. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/jw.h"
#include "crypto/jwk.h"
#include "proto/vault.h"
#include "tests/unit/store_fixture.h"

#define HANG_S	 60		     /* a test that waits for ever ends as a failure */
#define LATE_NS	 (20 * 1000 * 1000L) /* how much too early an answer would be that does not wait */
#define TOGETHER 200

static struct store *store;
static struct service svc;
static struct service_worker admin_worker;
static struct peer *admin;

static void on_sessions_changed(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void on_unlocked(void *arg, struct buf *why)
{
	(void)arg;
	CHECK(why->n == 0);
}

/* Return: is the answer a result? */
static bool ask(struct service_worker *w, const char *method, const char *params)
{
	CLEANUP(buf_fini) struct buf frame = BUF_INIT(4096), out = BUF_INIT(65536);
	unsigned n;

	buf_printf(&frame, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	(void)service_handle(&svc, w, admin, buf_bytes(&frame), SERVE_ALL, &out, &n); /* SERVED: nothing else there */
	buf_put_byte(&out, '\0');
	return buf_err(&out) == 0 && strstr((const char *)out.p, "\"result\"");
}

/* one that is in a turn for an app, with what it found there */
struct holder {
	const char *app_id;
	struct service_worker worker;
	struct app *app;
	pthread_t thread;
	atomic_bool entered, in, go, left;
};

/* Has what the app may do, or what it has, changed since? */
static bool is_changed(struct holder *h, const struct app_view *view)
{
	CLEANUP(app_view_unrefp) const struct app_view *now = app_get_view(h->app);
	CLEANUP(ring_unrefp) struct ring *ring = NULL;

	return now != view || app_get_ring(h->app, BYTES_LIT("roomA"), PERM_ALL, &ring) < 0;
}

static void *hold(void *arg)
{
	const struct timespec late = { .tv_nsec = LATE_NS };
	struct holder *h = arg;
	const struct app_view *view;

	atomic_store(&h->entered, service_enter(&h->worker));
	service_works_for(&h->worker, h->app);
	view = app_get_view(h->app);
	atomic_store(&h->in, true);
	while (!atomic_load(&h->go) && !is_changed(h, view))
		(void)sched_yield();
	if (!atomic_load(&h->go))
		(void)nanosleep(&late, NULL); /* an answer that does not wait is out by now */
	atomic_store(&h->left, true);
	app_view_unref(view);
	service_leave(&h->worker);
	return NULL;
}

static void start_holding(struct holder *h, const char *app_id)
{
	*h = (struct holder){ .app_id = app_id };
	h->app = store_find_app(store, bytes_str(app_id));
	CHECK_INT(service_worker_init(&svc, &h->worker), 0);
	CHECK_INT(pthread_create(&h->thread, NULL, hold, h), 0);
	while (!atomic_load(&h->in))
		(void)sched_yield();
	CHECK(atomic_load(&h->entered));
}

static void end_holding(struct holder *h)
{
	CHECK_INT(pthread_join(h->thread, NULL), 0);
	service_worker_fini(&h->worker);
	app_unref(h->app);
}

static void check_waits(const char *method, const char *params)
{
	struct holder concerned, other;

	start_holding(&other, "other");
	start_holding(&concerned, "app");
	CHECK(ask(&admin_worker, method, params));
	CHECK(atomic_load(&concerned.left));
	CHECK(!atomic_load(&other.left)); /* it holds until it is told to go: waiting for it would be for ever */
	atomic_store(&other.go, true);
	end_holding(&concerned);
	end_holding(&other);
}

static void test_each_revocation(void)
{
	char key_id[UUID_SIZE], params[256];

	CHECK_INT(add_identity(store, BYTES_LIT("app"), identities[1], 3600000, key_id), 0);
	{
		CLEANUP(app_unrefp) struct app *app = store_find_app(store, BYTES_LIT("app"));
		CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(app);

		(void)snprintf(params, sizeof(params), "{\"appId\":\"app\",\"keyId\":\"%s\"}",
			       view->identities[1].key_id);
	}
	check_waits("revokeKey", params);
	check_waits("rotate", "{\"appId\":\"app\",\"graceSeconds\":0}");
	check_waits("setEscrow", "{\"appId\":\"app\",\"passphrase\":\"of an admin\"}");
	check_waits("setEscrow", "{\"appId\":\"app\",\"passphrase\":null}");
	check_waits("resetToken", "{\"appId\":\"app\"}");
	check_waits("authorizeRoom", "{\"appId\":\"app\",\"roomId\":\"roomA\",\"permissions\":[\"read\"]}");
	CHECK_INT(grant(store, "app", "roomA", PERM_ALL), 0);
	check_waits("deauthorizeRoom", "{\"appId\":\"app\",\"roomId\":\"roomA\"}");
	CHECK_INT(grant(store, "app", "roomA", PERM_ALL), 0);
	check_waits("deauthorizeRoom", "{\"appId\":\"app\",\"roomId\":\"roomA\",\"purgeKeys\":true}");
	CHECK_INT(grant(store, "app", "roomA", PERM_ALL), 0);
	check_waits("revokeApp", "{\"appId\":\"app\"}");
}

/* Nothing that the app had is left when the answer is there, whoever was looking at it. */
static void test_secrets_are_gone(void)
{
	size_t before = secret_live();
	struct holder h;

	create(store, "short");
	CHECK_INT(add_key(store, "short", "roomA", "kid", 0, true), 0);
	CHECK(secret_live() > before);
	start_holding(&h, "short");
	CHECK(ask(&admin_worker, "revokeApp", "{\"appId\":\"short\"}"));
	CHECK_INT(secret_live(), before);
	end_holding(&h);
}

/* ---- a request that takes long ends when it is not wanted any more ---- */

static atomic_uint spreads; /* since they were last set to 0 */
static struct app *long_app;
static pthread_t revoker;

static void *take_room_away(void *arg)
{
	struct service_worker *w = arg;

	return ask(w, "deauthorizeRoom", "{\"appId\":\"long\",\"roomId\":\"roomA\"}") ? w : NULL;
}

/* The recipients are read in the first; with the second, the first of many wraps, comes a revocation. */
static void on_spread(void *arg, void (*item)(void *work, size_t i), void *work, size_t n)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		item(work, i);
	if (atomic_fetch_add(&spreads, 1) == 1) {
		struct ring *ring = NULL;

		CHECK_INT(pthread_create(&revoker, NULL, take_room_away, &admin_worker), 0);
		while (app_get_ring(long_app, BYTES_LIT("roomA"), PERM_ALL, &ring) == 0) {
			ring_unref(ring);
			(void)sched_yield();
		}
	}
}

static void test_a_long_request_ends(void)
{
	CLEANUP(buf_fini) struct buf key = BUF_INIT(4096), frame = BUF_INIT(1 << 20), out = BUF_INIT(64 << 20);
	struct service_worker w;
	struct peer *peer;
	void *revoked;
	unsigned n;
	char kid[16];

	create(store, "long");
	for (unsigned i = 0; i < 60; i++) { /* 100 recipients make 6,000 wraps of them, which is some rounds */
		(void)snprintf(kid, sizeof(kid), "kid-%u", i);
		CHECK_INT(add_key(store, "long", "roomA", kid, i % N_ROOM_KEYS, true), 0);
	}
	CHECK_INT(jwk_write_public(identities[1], &key), 0);
	buf_put_str(&frame, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"wrapRoomKey\",\"params\":{\"roomId\":\"roomA\","
			    "\"recipients\":[");
	for (unsigned i = 0; i < 100; i++) {
		buf_printf(&frame, "%s{\"_id\":\"u%u\",", i ? "," : "", i);
		jw_bytes(&frame, "public_key", buf_bytes(&key));
		buf_put_byte(&frame, '}');
	}
	buf_put_str(&frame, "]}}");
	CHECK_INT(buf_err(&frame), 0);
	long_app = store_find_app(store, BYTES_LIT("long"));
	CHECK_INT(peer_new(ROLE_NEW, "uid:0", &peer), 0);
	peer_become_app(peer, app_ref(long_app), app_token_epoch(long_app));
	CHECK_INT(service_worker_init(&svc, &w), 0);

	atomic_store(&spreads, 0);
	(void)service_handle(&svc, &w, peer, buf_bytes(&frame), SERVE_ALL, &out, &n);
	CHECK_INT(atomic_load(&spreads), 2);
	buf_put_byte(&out, '\0');
	CHECK(strstr((const char *)out.p, "\"ROOM_NOT_AUTHORIZED\"") && !strstr((const char *)out.p, "\"users\""));
	CHECK_INT(pthread_join(revoker, &revoked), 0);
	CHECK(revoked);

	CHECK_INT(grant(store, "long", "roomA", PERM_ALL), 0);
	svc.hooks.spread = NULL; /* one after the other */
	buf_reset(&out);
	(void)service_handle(&svc, &w, peer, buf_bytes(&frame), SERVE_ALL, &out, &n);
	CHECK(out.n > (size_t)6000 * ROOMKEY_WRAPPED_LEN);
	service_worker_fini(&w);
	peer_unref(peer);
	app_unref(long_app);
}

static void *narrow(void *arg)
{
	struct service_worker *w = arg;

	for (int i = 0; i < TOGETHER; i++)
		if (!ask(w, "authorizeRoom", "{\"appId\":\"busy\",\"roomId\":\"roomB\",\"permissions\":[\"read\"]}"))
			return w;
	return NULL;
}

/* Those that settle are in turns for the app, too. */
static void test_two_at_once(void)
{
	struct service_worker workers[2];
	pthread_t threads[2];
	void *refused;

	create(store, "busy");
	for (size_t i = 0; i < 2; i++) {
		CHECK_INT(service_worker_init(&svc, &workers[i]), 0);
		CHECK_INT(pthread_create(&threads[i], NULL, narrow, &workers[i]), 0);
	}
	for (size_t i = 0; i < 2; i++) {
		CHECK_INT(pthread_join(threads[i], &refused), 0);
		CHECK(!refused);
		service_worker_fini(&workers[i]);
	}
}

int main(void)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	atomic_int sweeps = 0;
	const struct service_hooks hooks = {
		.arg = &sweeps, .sessions_changed = on_sessions_changed, .unlocked = on_unlocked, .spread = on_spread
	};

	test_start();
	store_fixture_make();
	(void)alarm(HANG_S);
	store = fresh();
	CHECK_INT(service_init(&svc, store, "", &hooks), 0);
	CHECK_INT(vault_unlock(&svc, NULL, &seal, &(struct audit_entry){ .by = AUDIT_BY_DAEMON }, &why), 0);
	CHECK_INT(service_worker_init(&svc, &admin_worker), 0);
	CHECK_INT(peer_new(ROLE_ADMIN, "uid:0", &admin), 0);
	create(store, "other");
	create(store, "app");
	CHECK_INT(add_key(store, "app", "roomA", "kid", 0, true), 0);

	test_each_revocation();
	CHECK_INT(atomic_load(&sweeps), 2);
	test_secrets_are_gone();
	test_two_at_once();
	test_a_long_request_ends();

	peer_unref(admin);
	service_worker_fini(&admin_worker);
	service_fini(&svc);
	store_free(store);
	return store_fixture_end();
}
