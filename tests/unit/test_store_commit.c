/*
 * Many changes at once: one sync for all who wait, each prepared on what is staged, none seen before it is durable.
 *
 * A gate holds the thread that is about to sync, so that others stage meanwhile: the store calls `waiting` before it waits for the
 * disk, and before it waits for another thread.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/store_fixture.h"

#define MAX_JOBS 12

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool closed;
	bool closes;	 /* for the next that waits */
	bool lift_limit; /* on the file's size, when the first sync is over */
	unsigned waits;	 /* since it was closed */
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void note_waiting(void *arg, bool waits)
{
	(void)arg;
	(void)pthread_mutex_lock(&gate.lock);
	if (waits) {
		bool first = gate.waits++ == 0 || gate.closes;

		gate.closed |= gate.closes;
		gate.closes = false;
		(void)pthread_cond_broadcast(&gate.changed);
		while (first && gate.closed)
			(void)pthread_cond_wait(&gate.changed, &gate.lock);
	} else if (gate.lift_limit) {
		gate.lift_limit = false;
		limit_file_size(RLIM_INFINITY);
	}
	(void)pthread_mutex_unlock(&gate.lock);
}

static void close_gate(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.closed = true;
	gate.waits = 0;
	(void)pthread_mutex_unlock(&gate.lock);
}

/* until @n threads wait: the first at the gate, the others for it */
static void await(unsigned n)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (gate.waits < n)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.closed = gate.closes = false;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
}

/* Let the first one through, and hold the next that is about to sync. */
static void move_gate(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.closed = false;
	gate.closes = true;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
}

/* ---- jobs: each a call in a thread of its own ---- */

struct job {
	int (*run)(struct job *job);
	const char *app, *room;
	unsigned which;
	char key_id[UUID_SIZE];
	int result;
	atomic_bool done;
	pthread_t thread;
};

static struct store *store;
static struct job jobs[MAX_JOBS];
static unsigned n_jobs;

static int run_grant(struct job *j)
{
	return grant(store, j->app, j->room, PERM_READ);
}

static int run_drop(struct job *j)
{
	return drop(store, j->app, j->room, false);
}

static int run_add_key(struct job *j)
{
	return add_key(store, j->app, j->room, j->which ? "kid-1" : "kid-0", j->which, true);
}

static int run_create(struct job *j)
{
	return create_plain(store, j->app);
}

static int run_token(struct job *j)
{
	return store_reset_token(store, bytes_str(j->app), tokens[j->which]);
}

static int run_identity(struct job *j)
{
	return add_identity(store, bytes_str(j->app), identities[j->which], 1000, j->key_id);
}

static int run_revoke(struct job *j)
{
	return store_revoke_app(store, bytes_str(j->app));
}

static int run_rewrite(struct job *j)
{
	(void)j;
	return rewrite(store);
}

static void *run_job(void *arg)
{
	struct job *job = arg;

	job->result = job->run(job);
	job->done = true;
	return NULL;
}

/* Start it, and go on when it waits: for the disk if it is the first one, otherwise for that one. */
static void start(int (*run)(struct job *job), const char *app, const char *room, unsigned which)
{
	struct job *job = &jobs[n_jobs++];

	*job = (struct job){ .run = run, .app = app, .room = room, .which = which };
	tmpdir_need(pthread_create(&job->thread, NULL, run_job, job) == 0, "pthread_create");
	await(n_jobs);
}

static void begin(void)
{
	n_jobs = 0;
	close_gate();
}

static void finish(void)
{
	for (unsigned i = 0; i < n_jobs; i++)
		CHECK(!jobs[i].done);
	open_gate();
	for (unsigned i = 0; i < n_jobs; i++)
		(void)pthread_join(jobs[i].thread, NULL);
}

/* The first sync fails, and what comes after it would not. */
static void let_first_sync_fail(void)
{
	gate.lift_limit = true;
	limit_file_size((rlim_t)info_of(store).log.bytes + 10);
}

static size_t results(int want)
{
	size_t n = 0;

	for (unsigned i = 0; i < n_jobs; i++)
		n += jobs[i].result == want;
	return n;
}

/* ---- one sync for all ---- */

static void test_one_sync(void)
{
	static const char *const rooms[] = { "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7" };
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	struct store_info was, info;
	size_t seen = 0;

	store = fresh();
	create(store, "app-1");
	was = info_of(store);
	dump(store, &before);
	begin();
	for (size_t i = 0; i < 8; i++)
		start(run_grant, "app-1", rooms[i], 0);
	for (size_t i = 0; i < 8; i++)
		seen += keys_seen(store, "app-1", rooms[i]) >= 0;
	CHECK_INT(seen, 0);
	CHECK(info_of(store).syncs == was.syncs && seq_of(store) == was.seq);
	finish();
	CHECK_INT(results(0), 8);
	info = info_of(store);
	CHECK_INT(info.seq, was.seq + 8);
	CHECK_INT(info.log.records, was.log.records + 8);
	CHECK_INT(info.syncs, was.syncs + 2); /* the first one's, and one for seven */
	for (size_t i = 0; i < 8; i++)
		seen += keys_seen(store, "app-1", rooms[i]) == 0;
	CHECK_INT(seen, 8);
	reopen(&store);
	store_free(TAKE(store));
}

/* Changes of one app and one room, each standing on the one before, which is not on the disk yet. */
static void test_on_the_tip(void)
{
	CLEANUP(app_unrefp) struct app *app = NULL;
	CLEANUP(ring_unrefp) struct ring *ring = NULL;
	uint64_t epoch;

	store = fresh();
	create(store, "app-1");
	app = store_find_app(store, BYTES_LIT("app-1"));
	epoch = app_token_epoch(app);
	begin();
	start(run_grant, "app-1", "roomX", 0);
	start(run_add_key, "app-1", "roomX", 0);
	start(run_add_key, "app-1", "roomX", 1);
	start(run_token, "app-1", NULL, 1);
	start(run_drop, "app-1", "roomX", 0);
	start(run_identity, "app-1", NULL, 1);
	start(run_grant, "app-1", "roomX", 0);
	start(run_create, "new", NULL, 0);
	start(run_grant, "new", "roomN", 0); /* of an app that nobody sees yet */
	CHECK_INT(keys_seen(store, "app-1", "roomX"), -1);
	CHECK_INT(app_token_epoch(app), epoch);
	CHECK(!store_find_app(store, BYTES_LIT("new")));
	CHECK_INT(info_of(store).apps, 1);
	finish();
	CHECK_INT(results(0), 9);
	CHECK_INT(app_get_ring(app, BYTES_LIT("roomX"), PERM_READ, &ring), 0);
	CHECK(ring_len(ring) == 2 && ring_current(ring)->number == 1);
	CHECK(app_token_epoch(app) > epoch);
	CHECK_INT(keys_seen(store, "new", "roomN"), 0);
	CHECK_INT(info_of(store).apps, 2);
	ring_unref(TAKE(ring));
	app_unref(TAKE(app));
	reopen(&store);
	store_free(TAKE(store));
}

/* A sync that fails takes along all that was staged, in its batch and since. */
static void test_failing_sync(void)
{
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	size_t live;

	store = fresh();
	create(store, "app-1");
	dump(store, &before);
	live = secret_live();
	begin();
	let_first_sync_fail();
	start(run_grant, "app-1", "roomX", 0);
	start(run_add_key, "app-1", "roomX", 0);
	start(run_add_key, "app-1", "roomX", 1);
	start(run_token, "app-1", NULL, 1);
	start(run_identity, "app-1", NULL, 1);
	start(run_create, "new", NULL, 0);
	start(run_grant, "new", "roomN", 0);
	start(run_revoke, "app-1", NULL, 0);
	finish();
	CHECK_INT(results(ERR_STORAGE), 8);
	CHECK(state_is(store, &before));
	CHECK(!store_find_app(store, BYTES_LIT("new")));
	CHECK(!info_of(store).log.failed && info_of(store).log.last_errno == EFBIG);
	CHECK_INT(secret_live(), live);

	/* numbers and names that were staged are free again */
	CHECK_INT(create_plain(store, "new"), 0);
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	CHECK_INT(add_key(store, "app-1", "roomX", "kid-1", 1, true), 0);
	{
		CLEANUP(app_unrefp) struct app *app = store_find_app(store, BYTES_LIT("app-1"));
		CLEANUP(ring_unrefp) struct ring *ring = NULL;

		CHECK_INT(app_get_ring(app, BYTES_LIT("roomX"), PERM_READ, &ring), 0);
		CHECK(ring_len(ring) == 1 && ring_at(ring, 0)->number == 0);
	}
	reopen(&store);
	store_free(TAKE(store));
}

/* ---- who stands on what another has staged waits for what becomes of that ---- */

static void two(int (*run)(struct job *job), const char *app, const char *room, unsigned which, bool fail)
{
	begin();
	if (fail)
		let_first_sync_fail();
	start(run, app, room, which);
	start(run, app, room, which);
	finish();
	CHECK_INT(jobs[0].result, fail ? ERR_STORAGE : 0);
}

static void test_same_twice(void)
{
	uint64_t seq;

	store = fresh();
	create(store, "app-1");
	two(run_create, "x", NULL, 0, false);
	CHECK_INT(jobs[1].result, ERR_ALREADY_EXISTS);
	two(run_create, "y", NULL, 0, true);
	CHECK_INT(jobs[1].result, 0);
	CHECK_INT(info_of(store).apps, 3);

	/* a key that is there already is written once, and answered when it is durable */
	seq = seq_of(store);
	two(run_add_key, "app-1", "roomA", 0, false);
	CHECK(jobs[1].result == 0 && seq_of(store) == seq + 2 && keys_seen(store, "app-1", "roomA") == 1);
	two(run_add_key, "app-1", "roomB", 0, true);
	CHECK(jobs[1].result == 0 && seq_of(store) == seq + 4 && keys_seen(store, "app-1", "roomB") == 1);

	/* the key that is current already keeps its id */
	two(run_identity, "app-1", NULL, 1, false);
	CHECK(jobs[1].result == 0 && seq_of(store) == seq + 5 && strcmp(jobs[0].key_id, jobs[1].key_id) == 0);
	two(run_identity, "app-1", NULL, 2, true);
	CHECK(jobs[1].result == 0 && seq_of(store) == seq + 6 && jobs[1].key_id[0]);

	/* a grant that is dropped is gone for the second who drops it */
	two(run_drop, "app-1", "roomB", 0, false);
	CHECK_INT(jobs[1].result, ERR_NOT_FOUND);
	two(run_drop, "app-1", "roomA", 0, true);
	CHECK(jobs[1].result == 0 && keys_seen(store, "app-1", "roomA") == -1);
	reopen(&store);
	store_free(TAKE(store));
}

static void test_after_revocation(void)
{
	store = fresh();
	create(store, "app-1");
	create(store, "app-2");
	for (int fail = 1; fail >= 0; fail--) {
		begin();
		if (fail)
			let_first_sync_fail();
		start(run_revoke, "app-2", NULL, 0);
		start(run_grant, "app-2", "roomX", 0);
		start(run_add_key, "app-2", "roomA", 0);
		start(run_create, "app-2", NULL, 0);
		start(run_token, "app-1", NULL, 1);
		finish();
		CHECK_INT(jobs[0].result, fail ? ERR_STORAGE : 0);
		CHECK_INT(jobs[1].result, fail ? 0 : ERR_FORBIDDEN);
		CHECK_INT(jobs[2].result, fail ? 0 : ERR_ROOM_NOT_AUTHORIZED);
		CHECK_INT(jobs[3].result, ERR_ALREADY_EXISTS);
	}
	reopen(&store);
	store_free(TAKE(store));
}

/* Does job 1 end while job 2, which was staged after it looked, waits for the disk? Only where it does not is there a wait of any length. */
static void check_answered(int want)
{
	struct timespec until;
	int r;

	move_gate();
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	r = pthread_timedjoin_np(jobs[1].thread, NULL, &until);
	CHECK_INT(r, 0);
	CHECK(jobs[1].done && jobs[1].result == want && !jobs[2].done);
	open_gate();
	for (unsigned i = 0; i < n_jobs; i++)
		if (i != 1 || r != 0)
			(void)pthread_join(jobs[i].thread, NULL);
	CHECK(jobs[0].result == 0 && jobs[2].result == 0);
}

/* Who finds nothing to write, or a reason not to, is answered with what he found, and does not have to wait for a moment of rest. */
static void test_answered_under_load(void)
{
	store = fresh();
	create(store, "app-1");
	begin();
	start(run_create, "x", NULL, 0);
	start(run_create, "x", NULL, 0);
	start(run_grant, "app-1", "r1", 0);
	check_answered(ERR_ALREADY_EXISTS);
	begin();
	start(run_add_key, "app-1", "roomA", 0);
	start(run_add_key, "app-1", "roomA", 0);
	start(run_grant, "app-1", "r2", 0);
	check_answered(0);
	begin();
	start(run_identity, "app-1", NULL, 1);
	start(run_identity, "app-1", NULL, 1);
	start(run_identity, "app-1", NULL, 2);
	check_answered(0);
	CHECK(strcmp(jobs[0].key_id, jobs[1].key_id) == 0 && strcmp(jobs[1].key_id, jobs[2].key_id) != 0);
	CHECK(keys_seen(store, "app-1", "roomA") == 1 && keys_seen(store, "app-1", "r2") == 0);
	reopen(&store);
	store_free(TAKE(store));
}

/* ---- rewrites among changes ---- */

/* A rewrite waits for what is staged, and what comes after it for the rewrite. */
static void test_rewrite_goes_first(void)
{
	struct store_info info;

	store = fresh();
	create(store, "app-1");
	begin();
	start(run_grant, "app-1", "before", 0);
	start(run_rewrite, NULL, NULL, 0);
	start(run_grant, "app-1", "after", 0);
	start(run_add_key, "app-1", "roomA", 0);
	CHECK_INT(info_of(store).log.generation, 1);
	finish();
	CHECK_INT(results(0), 4);
	info = info_of(store);
	CHECK_INT(info.log.generation, 2);
	CHECK(info.log.bytes > store->base_bytes); /* the two that came after it stand behind the snapshot */
	CHECK(keys_seen(store, "app-1", "before") == 0 && keys_seen(store, "app-1", "after") == 0 &&
	      keys_seen(store, "app-1", "roomA") == 1);
	reopen(&store);
	store_free(TAKE(store));
}

struct load {
	unsigned number;
	atomic_bool *stop;
	unsigned n_done; /* changes */
	unsigned wrong;
};

/* Is what was answered on the disk? Asked of another store, which reads the file. */
static bool is_on_disk(const char *room)
{
	const struct store_options look = { .path = path, .read_only = true };
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &(struct own_seal){ .secret = 0x5a, .out_of_reach = -1 });
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	CLEANUP(store_freep) struct store *other = NULL;

	return store_new(&look, &other) == 0 && store_unlock(other, &seal, &why) == 0 &&
	       keys_seen(other, "app-1", room) >= 0;
}

static void *commit_along(void *arg)
{
	struct load *l = arg;
	char name[32];

	for (unsigned i = 0; i < 48; i++) {
		(void)snprintf(name, sizeof(name), "room-%u-%u", l->number, i);
		l->wrong += grant(store, "app-1", name, PERM_READ) < 0;
		l->wrong += keys_seen(store, "app-1", name) != 0;
		if (i % 16 == l->number)
			l->wrong += !is_on_disk(name);
		l->wrong += add_key(store, "app-1", "roomA", name, i % N_ROOM_KEYS, i % 2) < 0;
		l->wrong += add_key(store, "app-1", name, name, i % N_ROOM_KEYS, true) < 0;
		l->wrong += keys_seen(store, "app-1", name) != 1;
		l->wrong += store_reset_token(store, BYTES_LIT("app-1"), tokens[i % 2]) < 0;
		l->n_done += 4;
	}
	return NULL;
}

/* All at once on the same app and room: what is seen in the end is what a replay of the log gives. */
static void test_many_threads(void)
{
	struct load loads[8];
	pthread_t threads[8];
	struct store_info was, info;
	unsigned done = 0, wrong = 0;

	store = fresh();
	create(store, "app-1");
	was = info_of(store);
	for (unsigned i = 0; i < 8; i++) {
		loads[i] = (struct load){ .number = i };
		tmpdir_need(pthread_create(&threads[i], NULL, commit_along, &loads[i]) == 0, "pthread_create");
	}
	for (unsigned i = 0; i < 8; i++) {
		(void)pthread_join(threads[i], NULL);
		done += loads[i].n_done;
		wrong += loads[i].wrong;
	}
	CHECK_INT(wrong, 0);
	info = info_of(store);
	/* of four, one tells that it came and is current, and every other time one more does */
	CHECK_INT(info.seq, was.seq + done + done / 4 + done / 8);
	CHECK_INT(info.log.records, was.log.records + done);
	CHECK(info.syncs - was.syncs <= done);
	CHECK_INT(keys_seen(store, "app-1", "roomA"), 8 * 48);
	printf("# %u changes, %lu syncs\n", done, info.syncs - was.syncs);
	reopen(&store);
	CHECK_INT(rewrite(store), 0);
	reopen(&store);
	store_free(TAKE(store));
}

#define MANY_COMMITS 100000 /* minutes; far more than a rewrite should have to wait for */

static void *commit_until(void *arg)
{
	struct load *l = arg;

	for (unsigned i = 0; i < MANY_COMMITS && !*l->stop; i++) {
		l->wrong += store_reset_token(store, BYTES_LIT("app-1"), tokens[i % 2]) < 0;
		l->n_done++;
	}
	return NULL;
}

/* Threads that never pause do not keep a rewrite, a check or a copy from its turn. */
static void test_maintenance_under_load(void)
{
	atomic_bool stop = false;
	struct load loads[4];
	pthread_t threads[4];
	unsigned wrong = 0;
	char copy[TMPDIR_PATH];
	uint64_t bytes = 0, seq = 0;

	tmpdir_file(&dir, "copy", copy);
	store = fresh();
	create(store, "app-1");
	create(store, "app-2");
	for (unsigned i = 0; i < 4; i++) {
		loads[i] = (struct load){ .number = i, .stop = &stop };
		tmpdir_need(pthread_create(&threads[i], NULL, commit_until, &loads[i]) == 0, "pthread_create");
	}
	for (unsigned i = 0; i < 5; i++) {
		CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);

		CHECK_INT(rewrite(store), 0);
		CHECK_INT(add_key(store, "app-2", "roomA", i % 2 ? "a" : "b", i % 2, true), 0);
		CHECK_INT(store_verify(store, &why), 0);
		CHECK_INT(store_backup(store, copy, &why, &bytes, &seq), 0);
		CHECK(unlink(copy) == 0);
	}
	CHECK_INT(drop(store, "app-2", "roomA", true), 0); /* rewrites */
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-2")), 0);
	stop = true;
	for (unsigned i = 0; i < 4; i++) {
		(void)pthread_join(threads[i], NULL);
		wrong += loads[i].wrong;
		CHECK(loads[i].n_done < MANY_COMMITS);
	}
	CHECK_INT(wrong, 0);
	CHECK(!info_of(store).erase_due);
	reopen(&store);
	store_free(TAKE(store));
}

int main(void)
{
	test_start();
	store_fixture_make();
	options.waiting = note_waiting;
	test_one_sync();
	test_on_the_tip();
	test_failing_sync();
	test_same_twice();
	test_after_revocation();
	test_answered_under_load();
	test_rewrite_goes_first();
	test_many_threads();
	test_maintenance_under_load();
	return store_fixture_end();
}
