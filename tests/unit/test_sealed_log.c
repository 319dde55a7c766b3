#include "keystore/sealed_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/log_fixture.h"

static char key_path[TMPDIR_PATH];

static int open_by_keyfile(struct expect *e, bool create, struct sealed_log **ret)
{
	struct seal seal;
	int r;

	if (seal_keyfile_init(&seal, key_path) < 0)
		return ERR_NOMEM;
	r = open_with(path, &seal, (struct sealed_log_options){ .create = create }, e, ret);
	seal_fini(&seal);
	return r;
}

static void test_round_trip(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], big_n = (3u << 20) + 17; /* more than is read at once */
	uint8_t *big = malloc(big_n), *too_big = calloc(1, SEALED_LOG_MAX_RECORD + 1);
	struct sealed_log *log = NULL;
	struct sealed_log_info info = { 0 };
	struct stat st;

	for (size_t i = 0; i < big_n; i++)
		big[i] = (uint8_t)(i * i >> 5);
	e.records[3] = BYTES(big, big_n);
	e.records[4] = BYTES_LIT("after it");
	e.n = 5;
	(void)unlink(path);
	CHECK_INT(try_open_as(&e, (struct sealed_log_options){ .create = false }, &info), ERR_NOT_FOUND);
	CHECK(strstr(why_text, path) != NULL);
	CHECK_INT(try_open_as(&e, (struct sealed_log_options){ .create = true, .read_only = true }, &info),
		  ERR_NOT_FOUND);
	CHECK(access(path, F_OK) < 0 && strstr(why_text, path));

	tmpdir_free(write_log(&e, ends));
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && (size_t)st.st_size == ends[5]);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong);
	CHECK_INT(e.seen, 5);
	CHECK(info.records == 5 && info.bytes == ends[5] && info.generation == 1);
	CHECK(!info.created && !info.failed && !info.residue && info.cut_tail == 0 &&
	      strcmp(info.seal, "passphrase") == 0);

	/* an append after a replay continues the chain */
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(append(log, BYTES_LIT("sixth")), 0);
	CHECK_INT(append(log, BYTES(too_big, SEALED_LOG_MAX_RECORD + 1)), ERR_TOO_LARGE);
	CHECK_INT(append(log, BYTES(too_big, SEALED_LOG_MAX_RECORD)), 0);
	CHECK_INT(info_of(log).records, 7);
	sealed_log_close(log);
	e.records[5] = BYTES_LIT("sixth");
	e.records[6] = BYTES(too_big, SEALED_LOG_MAX_RECORD);
	e.n = 7;
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 7);
	free(too_big);
	free(big);
}

/* What is staged is not there until its batch is settled; batches that follow one another make one chain. */
static void test_batches(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	struct log_batch batch;
	struct stat st;

	tmpdir_free(write_log_as(&e, true, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK(!e.wrong && e.seen == 3);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("fourth")), 0);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("fifth")), 0);
	CHECK(info_of(log).records == 3 && info_of(log).bytes == ends[3]);
	CHECK(stat(path, &st) == 0 && (size_t)st.st_size == ends[3]);
	sealed_log_take(log, &batch);
	CHECK_INT(sealed_log_sync(&batch), 0);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("sixth")), 0); /* while the others are on their way */
	CHECK_INT(info_of(log).records, 3);
	sealed_log_settle(log, &batch, 0);
	CHECK_INT(info_of(log).records, 5);
	CHECK_INT(commit_staged(log), 0);
	CHECK_INT(info_of(log).records, 6);
	sealed_log_close(log);
	e.records[3] = BYTES_LIT("fourth");
	e.records[4] = BYTES_LIT("fifth");
	e.records[5] = BYTES_LIT("sixth");
	e.n = 6;
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 6);
}

/* Staged and never taken: gone with the log. */
static void test_unsettled(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	struct sealed_log_info info;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("fourth")), 0);
	sealed_log_close(log);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 3 && info.bytes == ends[3]);
}

static int replay_fails(void *arg, const struct log_cursor *at, struct bytes plain)
{
	(void)arg;
	(void)plain;
	return at->n == 2 ? ERR_NOMEM : 0;
}

static void test_replay_error(void)
{
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	const struct sealed_log_options options = { .emit = emit_nothing };
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(sealed_log_open(path, &seal, &options, replay_fails, NULL, &why, &log), ERR_NOMEM);
	CHECK(!log && memmem(why.p, why.n, "record 2", 8));
}

static void test_keys(void)
{
	struct expect e = { 0 };
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	struct bytes file, key, after;
	uint8_t other[65];

	(void)unlink(path);
	CHECK_INT(open_by_keyfile(&e, false, &log), ERR_NOT_FOUND);
	CHECK(access(path, F_OK) < 0 && access(key_path, F_OK) < 0);
	CHECK_INT(open_by_keyfile(&e, true, &log), 0);
	CHECK(info_of(log).created && strcmp(info_of(log).seal, "keyfile") == 0);
	sealed_log_close(TAKE(log));
	file = tmpdir_read(path);
	key = tmpdir_read(key_path);

	/* a keystore without its key is never given a new one */
	CHECK(unlink(key_path) == 0);
	CHECK_INT(open_by_keyfile(&e, true, &log), ERR_SEAL);
	CHECK(strstr(why_text, key_path) && strstr(why_text, "missing"));
	CHECK(access(key_path, F_OK) < 0);

	memcpy(other, key.p, sizeof(other));
	other[0] = other[0] == '0' ? '1' : '0';
	tmpdir_write(key_path, BYTES(other, sizeof(other)));
	CHECK_INT(open_by_keyfile(&e, true, &log), ERR_SEAL);
	CHECK(strstr(why_text, "does not open") != NULL);

	/* nor is a key without its keystore used for a new one: there was one */
	tmpdir_write(key_path, key);
	CHECK(unlink(path) == 0);
	CHECK_INT(open_by_keyfile(&e, true, &log), ERR_NOT_FOUND);
	CHECK(strstr(why_text, "there was one") && access(path, F_OK) < 0);
	after = tmpdir_read(key_path);
	CHECK_BYTES(after, key);
	tmpdir_free(after);

	/* a slot of another kind is of no use to this seal */
	tmpdir_write(path, file);
	CHECK_INT(try_open(&e, &info), ERR_SEAL);
	CHECK(strstr(why_text, "no key slot of the kind") != NULL);
	CHECK_INT(open_by_keyfile(&e, true, &log), 0);
	sealed_log_close(log);
	tmpdir_free(key);
	tmpdir_free(file);
}

/* Two keystores under one secret differ in everything behind the magic, version and length. */
static void test_two_files(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes first = write_log(&e, ends), second = write_log(&e, ends);

	CHECK(memcmp(first.p + 16, second.p + 16, LOG_FILE_ID) != 0);
	CHECK(!memmem(first.p, first.n, second.p + ends[0] + 4, 16)); /* the first record's head MAC */
	tmpdir_free(first);
	tmpdir_free(second);
}

static void test_access(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log_info info;
	char target[TMPDIR_PATH];

	tmpdir_free(write_log(&e, ends));
	for (mode_t bit = 1; bit <= 040; bit <<= 1) {
		CHECK(chmod(path, 0600 | bit) == 0);
		CHECK_INT(try_open(&e, &info), ERR_IO);
	}
	CHECK(strstr(why_text, "chmod 600") && strstr(why_text, path));
	CHECK(chmod(path, 0600) == 0);
	if (geteuid() == 0) {
		CHECK(chown(path, 12345, 12345) == 0);
		CHECK_INT(try_open(&e, &info), ERR_IO);
		CHECK(chown(path, 0, 0) == 0);
	}
	tmpdir_file(&dir, "target", target);
	CHECK(rename(path, target) == 0 && symlink(target, path) == 0);
	CHECK_INT(try_open(&e, &info), ERR_IO);
	CHECK(strstr(why_text, "symbolic link") != NULL);
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
	CHECK_INT(try_open(&e, &info), ERR_IO);
	CHECK(rmdir(path) == 0 && rename(target, path) == 0);
	CHECK_INT(try_open(&e, &info), 0);
}

static void test_busy(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL, *second = NULL;
	struct sealed_log_info info;
	char pid[32];
	pid_t child;
	int status = -1;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(open_log(&e, &second), ERR_BUSY);
	CHECK(!second && strstr(why_text, path));
	(void)snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
	if (access("/proc/locks", R_OK) == 0 && strstr(why_text, "(pid "))
		CHECK(strstr(why_text, pid) != NULL);
	child = fork();
	if (child == 0) {
		test_in_child();
		_exit(open_log(&e, &second) == ERR_BUSY ? 0 : 1);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

	/* a look needs no lock */
	CHECK_INT(try_open_as(&e, (struct sealed_log_options){ .read_only = true }, &info), 0);
	CHECK(!e.wrong && e.seen == 3);
	sealed_log_close(log);
	CHECK_INT(try_open(&e, &info), 0);
}

static void test_verify(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends);
	struct sealed_log *log = NULL;
	struct log_cursor upto;
	uint8_t *copy = malloc(file.n);
	size_t bad = 0;

	memcpy(copy, file.p, file.n);
	CHECK_INT(open_log(&e, &log), 0);
	upto = sealed_log_mark(log);
	CHECK_INT(upto.end, ends[3]);
	for (size_t i = 0; i < file.n; i++) { /* damage behind our back */
		CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

		copy[i] ^= 0x10;
		tmpdir_write(path, BYTES(copy, file.n));
		bad += sealed_log_verify(log, &upto, &why) != ERR_DAMAGED || !why.n;
		copy[i] ^= 0x10;
	}
	for (size_t n = 0; n < file.n; n++) {
		CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

		tmpdir_write(path, BYTES(copy, n));
		bad += sealed_log_verify(log, &upto, &why) != ERR_DAMAGED || !why.n;
	}
	CHECK_INT(bad, 0);
	{
		CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

		tmpdir_write(path, file);
		CHECK_INT(sealed_log_verify(log, &upto, &why), 0);
		CHECK(unlink(path) == 0);
		CHECK_INT(sealed_log_verify(log, &upto, &why), ERR_DAMAGED);
		CHECK(memmem(why.p, why.n, "lost its name", 13) != NULL);
	}
	sealed_log_close(log);
	free(copy);
	tmpdir_free(file);
}

/* A copy ends where it was asked to, opens like the log itself, and never takes another file's place. */
static void test_copy(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	struct sealed_log *log = NULL, *copied = NULL;
	struct log_cursor upto;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	char copy[TMPDIR_PATH];
	struct stat st;

	tmpdir_file(&dir, "copy", copy);
	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	upto = sealed_log_mark(log);
	CHECK_INT(append(log, BYTES_LIT("later")), 0);
	CHECK_INT(sealed_log_copy(log, &upto, copy, &why), 0);
	CHECK(stat(copy, &st) == 0 && (size_t)st.st_size == ends[3] && (st.st_mode & 07777) == 0600 &&
	      st.st_nlink == 1);
	CHECK_INT(sealed_log_copy(log, &upto, copy, &why), ERR_ALREADY_EXISTS);
	CHECK_INT(open_with(copy, &seal, (struct sealed_log_options){ .create = false }, &e, &copied), 0);
	CHECK(!e.wrong && e.seen == 3);
	sealed_log_close(copied);
	sealed_log_close(log);
	CHECK(unlink(copy) == 0);
}

/* ---- a disk that refuses ---- */

static void test_full_disk(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log(&e, ends), after;
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	struct stat st;

	CHECK_INT(open_log(&e, &log), 0);
	for (size_t room = 0; room < 2 * (ends[3] - ends[2]);
	     room++) { /* a short write of each length, then the error */
		limit_file_size(ends[3] + room);
		bad += sealed_log_stage(log, e.records[2]) < 0 || sealed_log_stage(log, e.records[2]) < 0;
		bad += commit_staged(log) != ERR_STORAGE || stat(path, &st) != 0 || (size_t)st.st_size != ends[3];
	}
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(bad, 0);
	after = tmpdir_read(path);
	CHECK_BYTES(after, file);
	tmpdir_free(after);
	CHECK(!info_of(log).failed && info_of(log).records == 3 && info_of(log).last_errno == EFBIG);
	CHECK_INT(append(log, BYTES_LIT("fourth")), 0);
	sealed_log_close(log);
	e.records[e.n++] = BYTES_LIT("fourth");
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 4);
	tmpdir_free(file);
}

/* What was staged while a batch was out is chained to it, and goes with it when it fails. */
static void test_failure_takes_followers(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	struct log_batch batch;
	int r;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("lost")), 0);
	sealed_log_take(log, &batch);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("lost with it")), 0);
	limit_file_size(ends[3] + 10);
	r = sealed_log_sync(&batch);
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(r, ERR_STORAGE);
	sealed_log_settle(log, &batch, r);
	CHECK_INT(append(log, BYTES_LIT("fourth")), 0);
	CHECK_INT(info_of(log).records, 4);
	sealed_log_close(log);
	e.records[e.n++] = BYTES_LIT("fourth");
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 4);
}

/* The descriptor the log has open on @path. */
static int find_fd(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	tmpdir_need(d != NULL, "/proc/self/fd");
	while ((entry = readdir(d)) != NULL) {
		char target[TMPDIR_PATH] = { 0 };

		if (readlinkat(dirfd(d), entry->d_name, target, sizeof(target) - 1) > 0 && strcmp(target, path) == 0)
			found = (int)strtol(entry->d_name, NULL, 10);
	}
	(void)closedir(d);
	return found;
}

/* Not even undoing works: then nothing is written until a restart, since the file's end is not known. */
static void test_dead_disk(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	int fd, saved, read_only;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	fd = find_fd();
	saved = dup(fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && saved >= 0 && read_only >= 0 && dup2(read_only, fd) == fd);
	CHECK_INT(append(log, BYTES_LIT("lost")), ERR_STORAGE);
	CHECK(info_of(log).failed && info_of(log).records == 3);
	CHECK(dup2(saved, fd) == fd); /* the disk is back, the doubt is not gone */
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("lost")), ERR_STORAGE);
	CHECK_INT(sealed_log_rewrite(log, &(struct log_rewrite){ .remove = -1, .emit = emit_nothing }, &why, NULL),
		  ERR_STORAGE);
	(void)close(saved);
	(void)close(read_only);
	sealed_log_close(log);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 3 && !info.failed);
}

int main(void)
{
	test_start();
	(void)signal(SIGXFSZ, SIG_IGN); /* the write fails with EFBIG instead */
	log_fixture_make();
	tmpdir_file(&dir, "keystore.key", key_path);
	test_round_trip();
	test_batches();
	test_unsettled();
	test_replay_error();
	test_keys();
	test_two_files();
	test_access();
	test_busy();
	test_verify();
	test_copy();
	test_full_disk();
	test_failure_takes_followers();
	test_dead_disk();
	tmpdir_remove(&dir);
	return test_end();
}
