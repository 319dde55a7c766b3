/* What is told of changes: out of memory and out of the log it is the same, in order, and a rewrite keeps what it has to. */
#include <semaphore.h>
#include <unistd.h>

#include "keystore/event_tail.h"
#include "tests/unit/store_fixture.h"

#define MAX_TEXT ((size_t)16 << 20)

static void put_event(struct buf *b, const struct event *e)
{
	buf_printf(b, "%llu ", (unsigned long long)e->seq);
	buf_put_bytes(b, e->app_id);
	buf_printf(b, " %s ", event_type_name(e->type));
	buf_put_bytes(b, e->room_id);
	buf_put_byte(b, ' ');
	buf_put_bytes(b, e->kid);
	buf_put_byte(b, ' ');
	buf_put_bytes(b, e->key_id);
	buf_printf(b, " %u %lld\n", e->perms, (long long)e->time_ms);
}

static int take_event(void *arg, const struct event *e)
{
	put_event(arg, e);
	return 0;
}

/* All events behind @since, read @max at a time; @app NULL: all apps' */
static void read_all(struct store *store, const char *app, uint64_t since, size_t max, struct buf *b)
{
	CLEANUP(app_unrefp) struct app *a = app ? store_find_app(store, bytes_str(app)) : NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	uint64_t upto = since;
	int r = 0;

	buf_reset(b);
	do {
		since = upto;
		r = store_read_events(store, a, since, max, take_event, b, &why, &upto);
		CHECK_INT(r, 0);
	} while (r == 0 && upto > since);
	CHECK_INT(upto, seq_of(store));
	CHECK_INT(buf_err(b), 0);
}

static void recall(struct store *store, uint64_t since, struct buf *b)
{
	struct event_note *notes[7];
	uint64_t upto = since;
	size_t n = 0;

	buf_reset(b);
	do {
		since = upto;
		CHECK_INT(store_recent_events(store, since, 7, notes, &n, &upto), 0);
		for (size_t i = 0; i < n; i++) {
			put_event(b, &notes[i]->event);
			event_note_unref(notes[i]);
		}
	} while (n == 7);
	CHECK_INT(upto, seq_of(store));
}

static size_t lines(const struct buf *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += b->p[i] == '\n';
	return n;
}

static bool has(const struct buf *b, const char *text)
{
	return memmem(b->p, b->n, text, strlen(text)) != NULL;
}

/* A change of each kind; the events are checked by what they say. */
static void change_all(struct store *store)
{
	struct room_key_in keys[] = { { .kid = BYTES_LIT("k1"), .key = room_keys[1] },
				      { .kid = BYTES_LIT("k2"), .key = room_keys[2] } };
	struct room_key_in made = { .kid = BYTES_LIT("k3"), .key = room_keys[3] };
	CLEANUP(app_unrefp) struct app *app = NULL;
	char first[UUID_SIZE], second[UUID_SIZE];

	create(store, "app-1");
	CHECK_INT(create_plain(store, "app-2"), 0);
	CHECK_INT(grant(store, "app-1", "roomC", PERM_WRITE), 0);
	CHECK_INT(drop(store, "app-1", "roomC", false), 0);
	CHECK_INT(add_keys(store, "app-1", "roomA", keys, 2, 1), 0);
	CHECK_INT(add_key(store, "app-1", "roomA", "k1", 1, true), 0); /* known, and current from now on */
	app = store_find_app(store, BYTES_LIT("app-1"));
	CHECK_INT(store_add_room_keys(store, app, BYTES_LIT("roomA"), PERM_READ, true, &made, 1, 0), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 0, first), 0);
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[2], 1000, second), 0);
	CHECK_INT(store_revoke_key(store, BYTES_LIT("app-1"), bytes_str(first)), 0);
	CHECK_INT(store_expire_keys(store, INT64_MAX, NULL, NULL), 0);
	CHECK_INT(store_set_escrow(store, BYTES_LIT("app-2"), tokens[0]), 0);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-2"), tokens[1]), 0);
}

static void test_kinds(void)
{
	static const char *const want[] = {
		"1 app-1 room.authorized roomB",
		"2 app-1 room.authorized roomA",
		"3 app-1 room.authorized roomB",
		"5 app-1 room.authorized roomC",
		"6 app-1 room.deauthorized roomC",
		"7 app-1 roomKey.imported roomA k1",
		"8 app-1 roomKey.imported roomA k2",
		"9 app-1 roomKey.rotated roomA k2",
		"10 app-1 roomKey.rotated roomA k1",
		"11 app-1 roomKey.rotated roomA k3",
		"12 app-1 identity.rotated",
		"13 app-1 identity.rotated",
		"14 app-1 identity.keyRevoked",
		"15 app-1 identity.retiredKeyExpired",
		"17 app-2 token.reset",
	};
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(buf_fini) struct buf told = BUF_INIT(MAX_TEXT), got = BUF_INIT(MAX_TEXT);
	uint64_t oldest, newest;

	change_all(store);
	recall(store, 0, &told);
	CHECK_INT(lines(&told), sizeof(want) / sizeof(*want));
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		CHECK(has(&told, want[i]));
	for (size_t max = 1; max < 20; max += 3) {
		read_all(store, NULL, 0, max, &got);
		CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
	}
	CHECK_INT(store_event_range(store, NULL, &oldest, &newest), 0);
	CHECK(oldest == 0 && newest == seq_of(store));
	reopen(&store);
	read_all(store, NULL, 0, 5, &got);
	CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
	CHECK_INT(rewrite(store), 0);
	read_all(store, NULL, 0, 4, &got);
	CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
	reopen(&store);
	read_all(store, NULL, 0, 100, &got);
	CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
	read_all(store, "app-2", 0, 1, &got);
	CHECK(lines(&got) == 1 && has(&got, "17 app-2 token.reset"));
	read_all(store, NULL, 17, 1, &got);
	CHECK_INT(lines(&got), 0);

	/* what an app was told goes with it, once the file is written anew */
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	read_all(store, NULL, 0, 100, &got);
	CHECK(lines(&got) == 1 && has(&got, "17 app-2 token.reset"));
	reopen(&store);
	read_all(store, NULL, 0, 100, &got);
	CHECK_INT(lines(&got), 1);
}

/* From any number on, in a file with several places to begin at, before and after it is written anew. */
static void test_places(void)
{
	enum { N = 1200 };
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(buf_fini) struct buf all = BUF_INIT(MAX_TEXT), got = BUF_INIT(MAX_TEXT);

	create(store, "app-1");
	for (int i = 0; i < N; i++)
		CHECK_INT(i % 3 ? grant(store, "app-1", "roomA", PERM_READ)
				: store_set_escrow(store, BYTES_LIT("app-1"), NULL),
			  0);
	for (int round = 0; round < 3; round++) {
		const uint8_t *from;
		size_t n = store->places.n;

		CHECK(n >= 2);
		for (size_t i = 1; i < n; i++)
			CHECK(store->places.places[i].seq >= store->places.places[i - 1].seq &&
			      store->places.places[i].at.end >= store->places.places[i - 1].at.end);
		read_all(store, NULL, 0, 1000, &all);
		CHECK_INT(lines(&all), 3 + N - N / 3);
		from = all.p;
		for (uint64_t since = 0; since <= seq_of(store); since += TEST_STEP > 1 ? 97 : 1) {
			while (from < all.p + all.n && strtoull((const char *)from, NULL, 10) <= since)
				from = (const uint8_t *)memchr(from, '\n', (size_t)(all.p + all.n - from)) + 1;
			if (since % 61 == 0) {
				read_all(store, NULL, since, 700, &got);
				CHECK_BYTES(buf_bytes(&got), BYTES(from, (size_t)(all.p + all.n - from)));
			}
		}
		if (round == 0)
			CHECK_INT(rewrite(store), 0);
		else
			reopen(&store);
	}
}

static void add_many(struct store *store, const char *room, size_t n)
{
	struct room_key_in *keys = calloc(n, sizeof(*keys));
	char(*kids)[16] = calloc(n, sizeof(*kids));

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(kids[i], sizeof(kids[i]), "kid-%zu", i);
		keys[i] = (struct room_key_in){ .kid = bytes_str(kids[i]), .key = room_keys[0] };
	}
	CHECK_INT(add_keys(store, "app-1", room, keys, n, -1), 0);
	free(kids);
	free(keys);
}

static uint64_t oldest_of(struct store *store, const char *app)
{
	CLEANUP(app_unrefp) struct app *a = app ? store_find_app(store, bytes_str(app)) : NULL;
	uint64_t oldest = 0, newest;

	CHECK_INT(store_event_range(store, a, &oldest, &newest), 0);
	CHECK_INT(newest, seq_of(store));
	return oldest;
}

static int read_some(struct store *store, const char *app, uint64_t since)
{
	CLEANUP(app_unrefp) struct app *a = app ? store_find_app(store, bytes_str(app)) : NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096), got = BUF_INIT(MAX_TEXT);
	uint64_t upto;

	return store_read_events(store, a, since, 10, take_event, &got, &why, &upto);
}

/* Of each app the newest ten thousand stay, and those of others do not count. */
static void test_kept(void)
{
	CLEANUP(store_freep) struct store *store = fresh();
	CLEANUP(buf_fini) struct buf before = BUF_INIT(MAX_TEXT), after = BUF_INIT(MAX_TEXT);
	struct event_note *notes[1];
	uint64_t upto, dropped;
	size_t n;

	CHECK_INT(create_plain(store, "app-1"), 0);
	CHECK_INT(create_plain(store, "app-2"), 0);
	CHECK_INT(grant(store, "app-2", "roomA", PERM_READ), 0);
	for (int i = 0; i < 3; i++) {
		char room[8];

		(void)snprintf(room, sizeof(room), "room%d", i);
		CHECK_INT(grant(store, "app-1", room, PERM_READ), 0);
		add_many(store, room, 3500);
	}
	CHECK_INT(grant(store, "app-2", "roomB", PERM_READ), 0);
	CHECK_INT(store_recent_events(store, 0, 1, notes, &n, &upto), ERR_NOT_FOUND); /* not in memory any more */
	CHECK_INT(store_recent_events(store, seq_of(store) + 1, 1, notes, &n, &upto), ERR_SEQ_TOO_OLD);
	CHECK_INT(read_some(store, NULL, seq_of(store) + 1), ERR_SEQ_TOO_OLD);
	CHECK(oldest_of(store, NULL) == 0 && oldest_of(store, "app-1") == 0);
	/* two creations and app-2's grant come first, then app-1's, of which there are 3 * 3501 */
	dropped = 3 + 3 * 3501 - STORE_KEPT_EVENTS;
	read_all(store, "app-1", dropped, 1000, &before);
	CHECK_INT(lines(&before), STORE_KEPT_EVENTS);
	for (int round = 0; round < 4; round++) {
		CHECK_INT(oldest_of(store, "app-2"), 0);
		CHECK_INT(oldest_of(store, "app-1"), round ? dropped : 0);
		CHECK_INT(oldest_of(store, NULL), round ? dropped : 0);
		CHECK_INT(read_some(store, "app-1", dropped - 1), round ? ERR_SEQ_TOO_OLD : 0);
		CHECK_INT(read_some(store, NULL, dropped - 1), round ? ERR_SEQ_TOO_OLD : 0);
		read_all(store, "app-1", dropped, 1000, &after);
		CHECK_BYTES(buf_bytes(&after), buf_bytes(&before));
		read_all(store, "app-2", 0, 1000, &after);
		CHECK_INT(lines(&after), 2);
		if (round != 1)
			CHECK_INT(rewrite(store), 0); /* nothing more is left behind the second time */
		else
			reopen(&store);
	}
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	CHECK_INT(oldest_of(store, NULL), 0);
	read_all(store, NULL, 0, 1000, &after);
	CHECK_INT(lines(&after), 2);
}

static unsigned news;

static void count_news(void *arg)
{
	(void)arg;
	news++;
}

/* What has failed is never told, and what is locked tells nothing. */
static void test_failures(void)
{
	CLEANUP(buf_fini) struct buf told = BUF_INIT(MAX_TEXT), got = BUF_INIT(MAX_TEXT);
	CLEANUP(store_freep) struct store *store = NULL;
	struct event_note *notes[1];
	uint64_t upto, oldest, newest, seq;
	size_t n;

	options.news = count_news;
	store = fresh();
	options.news = NULL;
	create(store, "app-1");
	CHECK_INT(news, 1);
	recall(store, 0, &told);
	seq = seq_of(store);
	limit_file_size(info_of(store).log.bytes + 1);
	CHECK_INT(grant(store, "app-1", "roomC", PERM_READ), ERR_STORAGE);
	limit_file_size(RLIM_INFINITY);
	CHECK(news == 1 && seq_of(store) == seq);
	recall(store, 0, &got);
	CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
	CHECK_INT(grant(store, "app-1", "roomC", PERM_READ), 0);
	CHECK_INT(news, 2);
	recall(store, 0, &told);
	read_all(store, NULL, 0, 2, &got);
	CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
	CHECK(has(&told, "4 app-1 room.authorized roomC"));

	seq = seq_of(store);
	store_lock(store);
	CHECK_INT(store_recent_events(store, 0, 1, notes, &n, &upto), ERR_LOCKED);
	CHECK_INT(store_event_range(store, NULL, &oldest, &newest), ERR_LOCKED);
	CHECK_INT(read_some(store, NULL, 0), ERR_LOCKED);
	CHECK_INT(unlock(store), 0);
	CHECK_INT(store_recent_events(store, seq - 1, 1, notes, &n, &upto), ERR_NOT_FOUND);
	CHECK_INT(store_recent_events(store, seq, 1, notes, &n, &upto), 0);
	CHECK(n == 0 && upto == seq);
	read_all(store, NULL, 0, 2, &got);
	CHECK_BYTES(buf_bytes(&got), buf_bytes(&told));
}

/* ---- reading while the file is in other hands ---- */

static sem_t waits;

static void note_waiting(void *arg, bool begins)
{
	(void)arg;
	if (begins)
		tmpdir_need(sem_post(&waits) == 0, "sem_post");
}

struct rewriting {
	struct store *store;
	pthread_t thread;
	bool started;
	int result;	  /* of the thread */
	uint64_t records; /* in the file before */
	struct buf got;
};

static void *rewrite_it(void *arg)
{
	struct rewriting *w = arg;

	w->result = rewrite(w->store);
	return NULL;
}

/* With the first event somebody else begins to rewrite the file, and waits. */
static int take_while_rewriting(void *arg, const struct event *e)
{
	struct rewriting *w = arg;

	put_event(&w->got, e);
	if (w->started)
		return 0;
	w->started = true;
	while (sem_trywait(&waits) == 0) { /* of all that came before */
	}
	tmpdir_need(pthread_create(&w->thread, NULL, rewrite_it, w) == 0, "pthread_create");
	while (sem_wait(&waits) < 0)
		tmpdir_need(errno == EINTR, "sem_wait");
	store_hold(&w->store->mutation); /* it lets go of it only to wait, or when it is done */
	CHECK_INT(sealed_log_mark(w->store->log).n, w->records);
	(void)pthread_mutex_unlock(&w->store->mutation);
	return 0;
}

/* A check or a copy of the file may take minutes: it holds up nobody who reads events. A rewrite waits until they are read. */
static void test_reading_beside(void)
{
	CLEANUP(buf_fini) struct buf want = BUF_INIT(MAX_TEXT), why = BUF_INIT(4096);
	CLEANUP(store_freep) struct store *store = NULL;
	struct rewriting w = { .got = BUF_INIT(MAX_TEXT) };
	uint64_t upto;

	tmpdir_need(sem_init(&waits, 0, 0) == 0, "sem_init");
	options.waiting = note_waiting;
	store = fresh();
	options.waiting = NULL;
	change_all(store);
	(void)pthread_mutex_lock(&store->maintenance); /* as store_verify() and store_backup() do */
	(void)alarm(60);			       /* whoever waited for it would do so for ever */
	read_all(store, NULL, 0, 5, &want);
	(void)alarm(0);
	(void)pthread_mutex_unlock(&store->maintenance);

	CHECK_INT(grant(store, "app-1", "roomD", PERM_READ), 0); /* which a rewrite puts together with others */
	read_all(store, NULL, 0, 5, &want);
	w.store = store;
	w.records = info_of(store).log.records;
	CHECK_INT(store_read_events(store, NULL, 0, 1000, take_while_rewriting, &w, &why, &upto), 0);
	CHECK_BYTES(buf_bytes(&w.got), buf_bytes(&want));
	CHECK_INT(pthread_join(w.thread, NULL), 0);
	CHECK(w.result == 0 && info_of(store).log.records < w.records);
	read_all(store, NULL, 0, 5, &w.got);
	CHECK_BYTES(buf_bytes(&w.got), buf_bytes(&want));
	buf_fini(&w.got);
	(void)sem_destroy(&waits);
}

/* The circle, at its seams: what is behind number N is found for every N, and no more than fits is kept. */
static void test_tail(void)
{
	struct event_tail tail;
	struct event_note *notes[3];
	uint64_t upto;
	size_t n;

	CHECK_INT(event_tail_init(&tail), 0);
	CHECK_INT(event_tail_newest(&tail, &upto), ERR_LOCKED);
	event_tail_open(&tail, 10);
	for (unsigned i = 0; i < EVENT_TAIL_MAX + 5; i++) { /* numbers 12, 14, 16 ... */
		struct event_note *list = NULL;
		const struct record record = { .op = RECORD_TOKEN_SET,
					       .seq = 12 + (uint64_t)2 * i,
					       .app_id = BYTES_LIT("a") };

		CHECK_INT(event_notes_new(&record, &list), 0);
		event_tail_put(&tail, list, record.seq);
	}
	event_tail_put(&tail, NULL, 12 + 2 * (EVENT_TAIL_MAX + 5)); /* a change that tells nothing */
	CHECK(tail.n == EVENT_TAIL_MAX && tail.base == 10 + 2 * 5);
	CHECK_INT(event_tail_get(&tail, tail.base - 1, 3, notes, &n, &upto), ERR_NOT_FOUND);
	for (uint64_t since = tail.base; since <= tail.newest; since++) {
		uint64_t first = (since / 2 + 1) * 2, last = tail.newest - 2;
		size_t want = first > last ? 0 : first + 4 <= last ? 3 : (size_t)(last - first) / 2 + 1;
		bool right;

		CHECK_INT(event_tail_get(&tail, since, 3, notes, &n, &upto), 0);
		right = n == want && upto == (first + 4 < last ? first + 4 : tail.newest);
		for (size_t i = 0; i < n; i++) {
			right &= notes[i]->event.seq == first + 2 * i;
			event_note_unref(notes[i]);
		}
		CHECK(right);
	}
	CHECK_INT(event_tail_get(&tail, tail.newest + 1, 3, notes, &n, &upto), ERR_SEQ_TOO_OLD);
	CHECK_INT(event_tail_get(&tail, tail.newest, 1, notes, &n, &upto), 0);
	event_tail_shut(&tail);
	CHECK_INT(event_tail_get(&tail, 12, 3, notes, &n, &upto), ERR_LOCKED);
	event_tail_open(&tail, 5); /* an older file */
	CHECK_INT(event_tail_get(&tail, 12, 3, notes, &n, &upto), ERR_SEQ_TOO_OLD);
	event_tail_fini(&tail);
}

int main(void)
{
	test_start();
	store_fixture_make();
	test_tail();
	test_kinds();
	test_places();
	test_kept();
	test_failures();
	test_reading_beside();
	return store_fixture_end();
}
