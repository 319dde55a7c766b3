#include "keystore/anchor.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "crypto/rand.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

#define PLACE	   512u /* from one place to the other */
#define PLACE_SIZE 72u

static struct tmpdir dir;
static char path[TMPDIR_PATH];
static char why_text[1024]; /* of the latest open */
static struct secret *key, *other_key;
static const uint8_t id[LOG_FILE_ID] = { 1, 2, 3 }, other_id[LOG_FILE_ID] = { 1, 2, 4 };

static int open_as(const uint8_t *file_id, const struct secret *by, struct anchor_mark *ret_mark, struct anchor **ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r = anchor_open(path, file_id, by, &why, ret_mark, ret);

	memset(why_text, 0, sizeof(why_text));
	if (why.n)
		memcpy(why_text, why.p, why.n);
	return r;
}

/* What does it remember? Return: as anchor_open() */
static int recall(struct anchor_mark *ret)
{
	struct anchor *anchor = NULL;
	int r = open_as(id, key, ret, &anchor);

	anchor_close(anchor);
	return r;
}

static bool same(struct anchor_mark a, struct anchor_mark b)
{
	return a.generation == b.generation && a.seq == b.seq;
}

static const struct anchor_mark marks[] = { { 1, 0 }, { 1, 1 }, { 1, 0x123456789abcull }, { 2, 5 }, { 3, 4 } };

#define N_MARKS (sizeof(marks) / sizeof(*marks))

static void test_remembers(void)
{
	struct anchor *anchor = NULL;
	struct anchor_mark mark = { 9, 9 };
	struct stat st;

	CHECK_INT(open_as(id, key, &mark, &anchor), 0);
	CHECK(same(mark, (struct anchor_mark){ 0, 0 }) && stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	for (size_t i = 0; i < N_MARKS; i++) {
		CHECK_INT(anchor_set(anchor, marks[i]), 0);
		CHECK_INT(recall(&mark), 0);
		CHECK(same(mark, marks[i]));
	}
	anchor_close(anchor);
	for (size_t i = 0; i + 1 < N_MARKS; i++)
		CHECK(anchor_mark_older(marks[i], marks[i + 1]) && !anchor_mark_older(marks[i + 1], marks[i]));
	CHECK(!anchor_mark_older(marks[2], marks[2]));

	/* one that is opened for each mark goes on in turn, too */
	for (uint64_t i = 10; i < 15; i++) {
		CHECK_INT(open_as(id, key, &mark, &anchor), 0);
		CHECK_INT(anchor_set(anchor, (struct anchor_mark){ i, i }), 0);
		anchor_close(anchor);
		CHECK_INT(recall(&mark), 0);
		CHECK(same(mark, (struct anchor_mark){ i, i }));
	}

	/* what was accepted is remembered even if it is older */
	CHECK_INT(open_as(id, key, &mark, &anchor), 0);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 20, 1 }), 0);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 20, 2 }), 0);
	anchor_close(anchor);
}

static void set_two(void)
{
	struct anchor *anchor = NULL;
	struct anchor_mark mark;

	(void)unlink(path);
	CHECK_INT(open_as(id, key, &mark, &anchor), 0);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 1, 7 }), 0);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 1, 8 }), 0);
	anchor_close(anchor);
}

/*
 * A damaged place: what the other one has counts, and is an older mark at worst; the next mark goes to the damaged place. Where both
 * are damaged, nothing can be told.
 */
static void test_damage(void)
{
	struct bytes file;
	uint8_t *copy;
	size_t bad = 0;

	set_two();
	file = tmpdir_read(path);
	CHECK_INT(file.n, 2 * PLACE);
	copy = malloc(file.n);
	memcpy(copy, file.p, file.n);
	for (size_t bit = 0; bit < 8 * (size_t)PLACE_SIZE; bit++) {
		for (size_t place = 0; place < 2; place++) {
			struct anchor *anchor = NULL;
			struct anchor_mark mark = { 0 };
			size_t at = place * PLACE + bit / 8;

			copy[at] = (uint8_t)(copy[at] ^ 1u << (bit % 8));
			tmpdir_write(path, BYTES(copy, file.n));
			bad += recall(&mark) != 0 || !same(mark, (struct anchor_mark){ 1, place ? 7 : 8 });
			bad += open_as(id, key, &mark, &anchor) != 0 ||
			       anchor_set(anchor, (struct anchor_mark){ 1, 9 }) != 0;
			anchor_close(anchor);
			bad += recall(&mark) != 0 || !same(mark, (struct anchor_mark){ 1, 9 });
			copy[at] = file.p[at];
		}
		copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << (bit % 8));
		copy[PLACE + bit / 8] = (uint8_t)(copy[PLACE + bit / 8] ^ 1u << (bit % 8));
		tmpdir_write(path, BYTES(copy, file.n));
		bad += recall(&(struct anchor_mark){ 0 }) != ERR_DAMAGED || !strstr(why_text, path);
		memcpy(copy, file.p, file.n);
	}
	CHECK_INT(bad, 0);
	free(copy);
	tmpdir_free(file);
}

/* A newer place that a crash has cut short: zeros from each byte on, in a file that ends there or goes on. */
static void test_torn(void)
{
	struct bytes file;
	uint8_t *copy;
	size_t bad = 0;

	set_two();
	file = tmpdir_read(path);
	copy = malloc(file.n);
	for (size_t n = 0; n < PLACE_SIZE; n++) {
		struct anchor_mark mark = { 0 };

		memcpy(copy, file.p, file.n);
		memset(copy + PLACE + n, 0, PLACE_SIZE - n);
		tmpdir_write(path, BYTES(copy, file.n));
		bad += recall(&mark) != 0 || mark.generation != 1 || mark.seq < 7;
		tmpdir_write(path, BYTES(copy, PLACE + n));
		bad += recall(&mark) != 0 || mark.generation != 1 || mark.seq < 7;

		/* the first writing there ever was */
		memcpy(copy, file.p, n);
		memset(copy + n, 0, file.n - n);
		tmpdir_write(path, BYTES(copy, file.n));
		bad += recall(&mark) != 0 ||
		       (!same(mark, (struct anchor_mark){ 0, 0 }) && !same(mark, (struct anchor_mark){ 1, 7 }));
		tmpdir_write(path, BYTES(copy, n));
		bad += recall(&mark) != 0;
	}
	CHECK_INT(bad, 0);
	free(copy);
	tmpdir_free(file);
}

/* Another keystore's is refused, and stays as it is: with one place written, and with both. */
static void test_foreign(void)
{
	struct anchor_mark mark = { 4, 4 };
	struct anchor *anchor = NULL;
	char text[700];

	(void)unlink(path);
	for (uint64_t i = 1; i <= 3; i++) {
		CHECK_INT(open_as(id, key, &mark, &anchor), 0);
		CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 1, i }), 0);
		anchor_close(TAKE(anchor));
		CHECK_INT(open_as(other_id, other_key, &mark, &anchor), ERR_DAMAGED);
		CHECK(!anchor && strstr(why_text, "another keystore") && strstr(why_text, path));
		CHECK_INT(recall(&mark), 0);
		CHECK_INT(mark.seq, i);
	}
	CHECK_INT(open_as(id, other_key, &mark, &anchor), ERR_DAMAGED);
	CHECK_INT(open_as(other_id, key, &mark, &anchor), ERR_DAMAGED);

	/* nor is a file that is none at all written over: a short one, a long one */
	for (size_t n = 1; n <= sizeof(text); n += sizeof(text) - 1) {
		struct bytes after;

		memset(text, 'x', sizeof(text));
		tmpdir_write(path, BYTES(text, n));
		CHECK_INT(open_as(id, key, &mark, &anchor), ERR_DAMAGED);
		CHECK(!anchor);
		after = tmpdir_read(path);
		CHECK_BYTES(after, BYTES(text, n));
		tmpdir_free(after);
	}
}

static void test_access(void)
{
	struct anchor_mark mark;
	struct anchor *anchor = NULL;
	char missing[TMPDIR_PATH], target[TMPDIR_PATH];

	set_two();
	CHECK(chmod(path, 0640) == 0);
	CHECK_INT(recall(&mark), ERR_IO);
	CHECK(strstr(why_text, "chmod 600") != NULL);
	CHECK(chmod(path, 0600) == 0);
	tmpdir_file(&dir, "target", target);
	CHECK(rename(path, target) == 0 && symlink(target, path) == 0);
	CHECK_INT(recall(&mark), ERR_IO);
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
	CHECK_INT(recall(&mark), ERR_IO);
	CHECK(rmdir(path) == 0 && rename(target, path) == 0);
	CHECK_INT(recall(&mark), 0);

	tmpdir_file(&dir, "missing/anchor", missing);
	{
		CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

		CHECK_INT(anchor_open(missing, id, key, &why, &mark, &anchor), ERR_IO);
		CHECK(!anchor && memmem(why.p, why.n, "folder does not exist", 21));
	}
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	tmpdir_need(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	tmpdir_need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

/* A place that cannot be written is written when it can be again; meanwhile the other one counts. */
static void test_full_disk(void)
{
	struct anchor_mark mark = { 0 };
	struct anchor *anchor = NULL;

	(void)unlink(path);
	CHECK_INT(open_as(id, key, &mark, &anchor), 0);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 1, 1 }), 0);
	limit_file_size(PLACE + 10);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 1, 2 }), ERR_IO);
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(recall(&mark), 0);
	CHECK_INT(mark.seq, 1);
	CHECK_INT(anchor_set(anchor, (struct anchor_mark){ 1, 3 }), 0);
	anchor_close(anchor);
	CHECK_INT(recall(&mark), 0);
	CHECK_INT(mark.seq, 3);
}

int main(void)
{
	test_start();
	(void)signal(SIGXFSZ, SIG_IGN);
	tmpdir_make(&dir);
	tmpdir_file(&dir, "anchor", path);
	CHECK_INT(rand_secret(32, &key), 0);
	CHECK_INT(rand_secret(32, &other_key), 0);
	test_remembers();
	test_damage();
	test_torn();
	test_foreign();
	test_access();
	test_full_disk();
	secret_free(key);
	secret_free(other_key);
	tmpdir_remove(&dir);
	return test_end();
}
