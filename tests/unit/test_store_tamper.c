/*
 * A small keystore with every kind of record, in which everything is changed that can be: it is refused, or what opens is a state that
 * was acknowledged once, and that only by what an interrupted append could have left.
 */
#include "keystore/le.h"
#include "tests/unit/store_fixture.h"

/*
 * Each bit is a whole opening, with RSA keys to be parsed, which checkers make slower still; each of a byte's bits has its turn all the
 * same. `make tamper` takes every one (EVERY_BIT).
 */
#if TEST_STEP > 1
#define STEP 397
#elif defined(__SANITIZE_ADDRESS__)
#define STEP 29
#elif !defined(EVERY_BIT)
#define STEP 3
#else
#define STEP 1
#endif

#define MAX_FRAMES 32

static struct bytes file, other_file, other_generation;
static size_t ends[MAX_FRAMES + 1];	  /* of the header and each record */
static size_t n_frames, n_snapshot;	  /* records; those of the snapshot */
static struct buf states[MAX_FRAMES + 1]; /* after so many records; of those from the end of the snapshot on */

static size_t find_frames(struct bytes in, size_t ret[MAX_FRAMES + 1])
{
	size_t n = 0;

	ret[0] = le32_get(in.p + 12);
	while (ret[n] < in.n && n < MAX_FRAMES) {
		ret[n + 1] = ret[n] + LOG_FRAME_HEAD + LOG_FRAME_NONCE + le32_get(in.p + ret[n]);
		n++;
	}
	tmpdir_need(ret[n] == in.n, "frames");
	return n;
}

static void begin(struct store *store)
{
	create(store, "app-1");
	create(store, "app-2");
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK_INT(add_key(store, "app-1", "roomB", "k1", 1, true), 0);
	CHECK_INT(drop(store, "app-1", "roomB", false), 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-2")), 0); /* rewrites */
}

/* Each kind of change; the last two leave secrets to be erased, which here they are kept from. */
static void change(struct store *store, unsigned i)
{
	char key_id[UUID_SIZE];

	switch (i) {
	case 0:
		CHECK_INT(grant(store, "app-1", "roomC", PERM_ALL), 0);
		break;
	case 1:
		CHECK_INT(add_key(store, "app-1", "roomC", "k2", 2, true), 0);
		break;
	case 2:
		CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
		break;
	case 3:
		CHECK_INT(drop(store, "app-1", "roomC", false), 0);
		break;
	case 4:
		CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, key_id), 0);
		break;
	case 5:
		create(store, "app-3");
		break;
	case 6:
		CHECK_INT(drop(store, "app-1", "roomA", true), 0);
		break;
	default:
		CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	}
}

#define N_CHANGES 8u

/* Return: the file of a keystore with all of that; @keep: it is the one of the tests, and its states are noted */
static struct bytes make(bool keep)
{
	struct store *store = fresh();
	char in_the_way[TMPDIR_PATH];

	tmpdir_file(&dir, "keystore.rewrite", in_the_way);
	begin(store);
	tmpdir_need(mkdir(in_the_way, 0700) == 0, in_the_way);
	for (unsigned i = 0; i <= N_CHANGES; i++) {
		size_t n = (size_t)info_of(store).log.records;

		if (keep && i == 0)
			n_snapshot = n;
		if (keep) {
			states[n] = BUF_INIT(1 << 20);
			dump(store, &states[n]);
		}
		if (i < N_CHANGES)
			change(store, i);
	}
	store_free(store);
	tmpdir_need(rmdir(in_the_way) == 0, in_the_way);
	return tmpdir_read(path);
}

/*
 * Open what lies at the path. Return: after how many records it stands, where it is one of the states that were; 0: it was refused, with
 * a sentence; -1: something else
 */
static int standing(void)
{
	CLEANUP(store_freep) struct store *store = NULL;
	CLEANUP(buf_fini) struct buf got = BUF_INIT(1 << 20);
	int r = open_store(&store);

	if (r < 0)
		return (r == ERR_DAMAGED || r == ERR_SEAL) && why_text[0] ? 0 : -1;
	dump(store, &got);
	for (size_t i = n_snapshot; i <= n_frames; i++)
		if (bytes_eq(buf_bytes(&got), buf_bytes(&states[i])))
			return (int)i;
	return -1;
}

static int standing_with(struct bytes content)
{
	tmpdir_write(path, content);
	return standing();
}

/* ---- bits ---- */

static void flip(int fd, size_t bit)
{
	uint8_t byte = (uint8_t)(file.p[bit / 8] ^ 1u << (bit % 8));

	tmpdir_need(pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1, path);
}

static void unflip(int fd, size_t bit)
{
	tmpdir_need(pwrite(fd, file.p + bit / 8, 1, (off_t)(bit / 8)) == 1, path);
}

/* Looked at only, so that the file stays as it is; opened in earnest every now and then. */
static void test_every_bit(void)
{
	size_t bad = 0, n = 0;
	int fd;

	tmpdir_write(path, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	tmpdir_need(fd >= 0, path);
	for (size_t bit = 0; bit < 8 * file.n; bit += STEP) {
		bool wrong;

		flip(fd, bit);
		options.read_only = n++ % 64 != 0;
		wrong = standing() != 0;
		unflip(fd, bit);
		if (wrong)
			printf("# bit %zu of byte %zu\n", bit % 8, bit / 8);
		bad += wrong;
	}
	options.read_only = false;
	(void)close(fd);
	CHECK_INT(bad, 0);
	{
		struct bytes after = tmpdir_read(path); /* being refused has changed nothing */

		CHECK_BYTES(after, file);
		tmpdir_free(after);
	}
	printf("# %zu of %zu bits flipped, %zu records\n", n, 8 * file.n, n_frames);
}

/* A person who has looked may give up the last record, and that alone. */
static void test_accepted_bits(void)
{
	size_t bad = 0;
	int fd;

	tmpdir_write(path, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	tmpdir_need(fd >= 0, path);
	options.read_only = options.accept_damaged_tail = true;
	for (size_t i = 0; i < n_frames; i++) {
		for (size_t at = ends[i]; at < ends[i + 1]; at += at < ends[i] + LOG_FRAME_HEAD ? 1
								  : STEP > 29			? 307
												: 61) {
			flip(fd, 8 * at + at % 8);
			bad += standing() != (i == n_frames - 1 ? (int)i : 0);
			unflip(fd, 8 * at + at % 8);
		}
	}
	options.read_only = options.accept_damaged_tail = false;
	(void)close(fd);
	CHECK_INT(bad, 0);
}

/* ---- lengths ---- */

/* As a crash could leave it; but the snapshot was never appended to, so one that is cut short is damage. */
static void test_every_length(void)
{
	size_t bad = 0, whole = 0;

	for (size_t n = 0; n <= file.n; n += STEP > 1 && n >= ends[0] ? STEP / 3 : 1) {
		int at;

		while (whole < n_frames && ends[whole + 1] <= n)
			whole++;
		/* to look is enough, but for the ends of records, where what is opened goes on to be used */
		options.read_only = n != ends[whole];
		at = standing_with(bytes_sub(file, 0, n));
		bad += at != (n < ends[0] || whole < n_snapshot ? 0 : (int)whole);
	}
	options.read_only = false;
	CHECK_INT(bad, 0);
}

/* ---- records ---- */

static void put_frames(struct buf *b, struct bytes from, const size_t *at, size_t first, size_t n)
{
	buf_put(b, from.p + at[first], at[first + n] - at[first]);
}

static void test_removed(void)
{
	size_t bad = 0;

	for (size_t i = 0; i < n_frames; i++) {
		CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);

		buf_put(&b, file.p, ends[i]);
		put_frames(&b, file, ends, i + 1, n_frames - i - 1);
		/* without the last one it is an older keystore, and no more can be said without an anchor */
		bad += standing_with(buf_bytes(&b)) != (i == n_frames - 1 ? (int)i : 0);
	}
	CHECK_INT(bad, 0);
}

static void test_duplicated(void)
{
	size_t bad = 0;

	for (size_t i = 0; i < n_frames; i++) {
		for (size_t to = 0; to <= n_frames; to++) {
			CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);

			buf_put(&b, file.p, ends[to]);
			put_frames(&b, file, ends, i, 1);
			put_frames(&b, file, ends, to, n_frames - to);
			if (i == to) /* which is the same as behind itself */
				bad += standing_with(buf_bytes(&b)) != 0;
			else if ((i + to) % (STEP == 1 ? 1 : 5) == 0)
				bad += standing_with(buf_bytes(&b)) != 0;
		}
	}
	CHECK_INT(bad, 0);
}

static void test_swapped(void)
{
	size_t bad = 0;

	for (size_t i = 0; i < n_frames; i++) {
		for (size_t k = i + 1; k < n_frames; k += STEP == 1 ? 1 : 3) {
			CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);

			buf_put(&b, file.p, ends[i]);
			put_frames(&b, file, ends, k, 1);
			put_frames(&b, file, ends, i + 1, k - i - 1);
			put_frames(&b, file, ends, i, 1);
			put_frames(&b, file, ends, k + 1, n_frames - k - 1);
			bad += standing_with(buf_bytes(&b)) != 0;
		}
	}
	CHECK_INT(bad, 0);
}

/* Records of another keystore with the same content, or of another generation of this one: one in its place, and all from it on. */
static void check_transplanted(struct bytes from, size_t bad)
{
	size_t from_ends[MAX_FRAMES + 1], n = find_frames(from, from_ends);

	for (size_t i = 0; i < n_frames && i < n; i++) {
		CLEANUP(buf_fini) struct buf one = BUF_INIT(1 << 20), rest = BUF_INIT(1 << 20);

		buf_put(&one, file.p, ends[i]);
		put_frames(&one, from, from_ends, i, 1);
		put_frames(&one, file, ends, i + 1, n_frames - i - 1);
		bad += standing_with(buf_bytes(&one)) != 0;
		buf_put(&rest, file.p, ends[i]);
		put_frames(&rest, from, from_ends, i, n - i);
		bad += standing_with(buf_bytes(&rest)) != 0;
	}
	CHECK_INT(bad, 0);
}

static void test_transplanted(void)
{
	check_transplanted(other_file, 0);
	check_transplanted(other_generation, 0);
}

/* The generation that comes next, with nothing in it but what this one begins with. */
static void make_generations(void)
{
	struct store *store = NULL;

	tmpdir_write(path, bytes_sub(file, 0, ends[n_snapshot]));
	CHECK_INT(open_store(&store), 0);
	CHECK_INT(rewrite(store), 0);
	CHECK(info_of(store).log.generation == 3 && info_of(store).log.records == n_snapshot);
	store_free(store);
	other_generation = tmpdir_read(path);
}

/* ---- a file that others lay hands on ---- */

/* Nothing is acknowledged that a restart would not find. */
static void test_not_as_it_was_left(void)
{
	CLEANUP(buf_fini) struct buf before = BUF_INIT(1 << 20);
	CLEANUP(store_freep) struct store *store = fresh();
	char aside[TMPDIR_PATH];
	struct bytes whole, now;

	tmpdir_file(&dir, "aside", aside);
	create(store, "app-1");
	dump(store, &before);
	whole = tmpdir_read(path);

	CHECK(rename(path, aside) == 0);
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), ERR_STORAGE);
	CHECK_INT(info_of(store).log.last_errno, ENOENT);
	copy_file(aside, path); /* the same bytes, but another file */
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), ERR_STORAGE);
	CHECK_INT(info_of(store).log.last_errno, ESTALE);
	CHECK(rename(aside, path) == 0);

	/* another size, in the very file: it is left as it is */
	CHECK(truncate(path, (off_t)whole.n - 1) == 0);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), ERR_STORAGE);
	now = tmpdir_read(path);
	CHECK_BYTES(now, bytes_sub(whole, 0, whole.n - 1));
	tmpdir_free(now);
	tmpdir_write(path, whole);
	CHECK(truncate(path, (off_t)whole.n + 1) == 0);
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), ERR_STORAGE);
	now = tmpdir_read(path);
	CHECK_INT(now.n, whole.n + 1);
	tmpdir_free(now);
	CHECK(state_is(store, &before) && !info_of(store).log.failed);

	CHECK(truncate(path, (off_t)whole.n) == 0);
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	reopen(&store);
	CHECK_INT(keys_seen(store, "app-1", "roomX"), 0);
	tmpdir_free(whole);
}

int main(void)
{
	test_start();
	store_fixture_make();
	other_file = make(false);
	file = make(true);
	n_frames = find_frames(file, ends);
	CHECK_INT(n_frames, n_snapshot + N_CHANGES);
	make_generations();
	CHECK_INT(standing_with(file), n_frames);
	test_every_bit();
	test_accepted_bits();
	test_every_length();
	test_removed();
	test_duplicated();
	test_swapped();
	test_transplanted();
	CHECK_INT(standing_with(file), n_frames);
	for (size_t i = 0; i <= MAX_FRAMES; i++)
		buf_fini(&states[i]);
	tmpdir_free(file);
	tmpdir_free(other_file);
	tmpdir_free(other_generation);
	test_not_as_it_was_left();
	return store_fixture_end();
}
