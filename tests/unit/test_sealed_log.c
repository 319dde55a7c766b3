#include "keystore/sealed_log.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

#define MAX_RECORDS 8

/* what a replay is held against */
struct expect {
	struct bytes records[MAX_RECORDS];
	size_t n;    /* how many there are */
	size_t seen; /* how many came */
	bool wrong;  /* one of them was not the one written */
};

static struct tmpdir dir;
static char path[TMPDIR_PATH], key_path[TMPDIR_PATH];
static char why_text[2048]; /* of the latest open */

static int replay(void *arg, uint64_t seq, struct bytes plain)
{
	struct expect *e = arg;

	e->seen++;
	if (seq != e->seen || seq > e->n || !bytes_eq(plain, e->records[seq - 1]))
		e->wrong = true;
	return 0;
}

static int open_with(const char *at, const char *key, bool create, struct expect *e, struct sealed_log **ret)
{
	struct seal seal;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r;

	e->seen = 0;
	e->wrong = false;
	if (seal_keyfile_init(&seal, key) < 0)
		return ERR_NOMEM;
	r = sealed_log_open(at, &seal, create, replay, e, &why, ret);
	seal.fini(&seal);
	memset(why_text, 0, sizeof(why_text));
	if (why.n)
		memcpy(why_text, why.p, why.n);
	return r;
}

static int open_log(struct expect *e, struct sealed_log **ret)
{
	return open_with(path, key_path, true, e, ret);
}

static struct sealed_log_info info_of(const struct sealed_log *log)
{
	struct sealed_log_info info;

	sealed_log_get_info(log, &info);
	return info;
}

/* Open and close at once. Return: what the open returned; the info where it was 0. */
static int try_open(struct expect *e, struct sealed_log_info *ret)
{
	struct sealed_log *log = NULL;
	int r = open_log(e, &log);

	if (r == 0) {
		*ret = info_of(log);
		sealed_log_close(log);
	}
	return r;
}

static void start_anew(void)
{
	(void)unlink(path);
	(void)unlink(key_path);
}

/*
 * Write the records of @e to a new log. @ret_ends has where the header and each record end; Return: the file, to be freed with
 * tmpdir_free().
 */
static struct bytes write_log(struct expect *e, size_t ret_ends[MAX_RECORDS + 1])
{
	struct sealed_log *log = NULL;
	uint64_t seq = 0;

	start_anew();
	CHECK_INT(open_log(e, &log), 0);
	ret_ends[0] = (size_t)info_of(log).bytes;
	for (size_t i = 0; i < e->n; i++) {
		CHECK_INT(sealed_log_append(log, e->records[i], &seq), 0);
		CHECK_INT(seq, i + 1);
		ret_ends[i + 1] = (size_t)info_of(log).bytes;
	}
	sealed_log_close(log);
	return tmpdir_read(path);
}

static struct expect small(void)
{
	return (struct expect){ .records = { BYTES_LIT("first"), BYTES_LIT(""), BYTES_LIT("third record") }, .n = 3 };
}

static void test_round_trip(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], big_n = (3u << 20) + 17; /* more than is read at once */
	uint8_t *big = malloc(big_n);
	struct sealed_log *log = NULL;
	struct sealed_log_info info = { 0 };
	struct stat st;
	uint64_t seq;

	for (size_t i = 0; i < big_n; i++)
		big[i] = (uint8_t)(i * i >> 5);
	e.records[3] = BYTES(big, big_n);
	e.records[4] = BYTES_LIT("after it");
	e.n = 5;
	start_anew();
	CHECK_INT(open_with(path, key_path, false, &e, &log), ERR_NOT_FOUND);
	CHECK(strstr(why_text, path) != NULL);
	CHECK(access(path, F_OK) < 0 && access(key_path, F_OK) < 0);

	tmpdir_free(write_log(&e, ends));
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && (size_t)st.st_size == ends[5]);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong);
	CHECK_INT(e.seen, 5);
	CHECK(info.seq == 5 && info.records == 5 && info.bytes == ends[5] && info.generation == 1);
	CHECK(!info.created && !info.failed && info.cut_tail == 0 && strcmp(info.seal, "keyfile") == 0);

	/* an append after a replay continues the chain */
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(sealed_log_append(log, BYTES_LIT("sixth"), &seq), 0);
	CHECK_INT(seq, 6);
	CHECK_INT(sealed_log_append(log, BYTES(big, SEALED_LOG_MAX_RECORD + 1), &seq), ERR_TOO_LARGE);
	sealed_log_close(log);
	e.records[5] = BYTES_LIT("sixth");
	e.n = 6;
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 6);
	free(big);
}

static int replay_fails(void *arg, uint64_t seq, struct bytes plain)
{
	(void)arg;
	(void)plain;
	return seq == 2 ? ERR_NOMEM : 0;
}

static void test_replay_error(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	struct seal seal;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(seal_keyfile_init(&seal, key_path), 0);
	CHECK_INT(sealed_log_open(path, &seal, false, replay_fails, NULL, &why, &log), ERR_NOMEM);
	CHECK(!log && memmem(why.p, why.n, "record 2", 8));
	seal.fini(&seal);
}

static void test_keys(void)
{
	struct expect e = small(), none = { 0 };
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log_info info;
	struct bytes file = write_log(&e, ends), key = tmpdir_read(key_path), after;
	uint8_t other[65];

	/* a keystore without its key is never given a new one */
	CHECK(unlink(key_path) == 0);
	CHECK_INT(try_open(&e, &info), ERR_SEAL);
	CHECK(strstr(why_text, key_path) && strstr(why_text, "missing"));
	CHECK(access(key_path, F_OK) < 0);

	memcpy(other, key.p, sizeof(other));
	other[0] = other[0] == '0' ? '1' : '0';
	tmpdir_write(key_path, BYTES(other, sizeof(other)));
	CHECK_INT(try_open(&e, &info), ERR_SEAL);
	CHECK(strstr(why_text, "does not open") != NULL);
	CHECK_INT(e.seen, 0);

	/* a key without its keystore is used for the new one */
	tmpdir_write(key_path, key);
	CHECK(unlink(path) == 0);
	CHECK_INT(try_open(&none, &info), 0);
	CHECK(info.created);
	after = tmpdir_read(key_path);
	CHECK_BYTES(after, key);
	tmpdir_free(after);

	/* two keystores under one key differ in everything behind the magic, version and length */
	after = tmpdir_read(path);
	CHECK(memcmp(after.p + 16, file.p + 16, 16) != 0);
	tmpdir_free(after);
	tmpdir_free(key);
	tmpdir_free(file);
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
	sealed_log_close(log);
	CHECK_INT(try_open(&e, &info), 0);
}

/* ---- damage ---- */

/* Is what an open gave right for a file in which something was changed on purpose: refused, or the last record gone? */
static bool refused_or_tail(struct expect *e)
{
	struct sealed_log_info info;
	int r = try_open(e, &info);

	if (e->wrong)
		return false;
	if (r == 0)
		return e->seen == e->n - 1 && info.cut_tail > 0;
	return (r == ERR_DAMAGED || r == ERR_SEAL) && why_text[0];
}

static void test_every_bit(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log(&e, ends);
	uint8_t *copy = malloc(file.n);

	memcpy(copy, file.p, file.n);
	for (size_t bit = 0; bit < 8 * file.n; bit++) {
		copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << (bit % 8));
		tmpdir_write(path, BYTES(copy, file.n));
		if (!refused_or_tail(&e)) {
			bad++;
			printf("# bit %zu of byte %zu\n", bit % 8, bit / 8);
		}
		copy[bit / 8] = file.p[bit / 8];
	}
	CHECK_INT(bad, 0);
	printf("# %zu bits flipped\n", 8 * file.n);
	free(copy);
	tmpdir_free(file);
}

static void test_every_length(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log(&e, ends);

	for (size_t n = 0; n < file.n; n++) {
		struct sealed_log_info info = { 0 };
		size_t whole = 0;
		int r;

		tmpdir_write(path, BYTES(file.p, n));
		r = try_open(&e, &info);
		if (n < ends[0]) {
			bad += r != ERR_DAMAGED;
			continue;
		}
		while (ends[whole + 1] <= n)
			whole++;
		bad += r != 0 || e.wrong || e.seen != whole || info.cut_tail != n - ends[whole] ||
		       info.bytes != ends[whole];
		r = try_open(&e, &info); /* the tail is gone from the file */
		bad += r != 0 || e.seen != whole || info.cut_tail != 0;
	}
	CHECK_INT(bad, 0);
	tmpdir_free(file);
}

static void test_append_after_cut(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends);
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	uint64_t seq = 0;

	tmpdir_write(path, BYTES(file.p, ends[3] - 1));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(info_of(log).cut_tail, ends[3] - 1 - ends[2]);
	CHECK_INT(sealed_log_append(log, BYTES_LIT("instead"), &seq), 0);
	CHECK_INT(seq, 3);
	sealed_log_close(log);
	e.records[2] = BYTES_LIT("instead");
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 3);
	tmpdir_free(file);
}

/* Zeros instead of what a crash kept from the disk, in a last record of several sectors. */
static void test_zeros(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0, last_sector;
	struct bytes file;
	uint8_t *copy, long_text[2000];

	memset(long_text, 'z', sizeof(long_text));
	e.records[2] = BYTES(long_text, sizeof(long_text));
	file = write_log(&e, ends);
	copy = malloc(file.n + 4096);
	last_sector = file.n / 512 * 512;
	for (size_t from = ends[2]; from < file.n; from++) {
		struct sealed_log_info info = { 0 };
		bool torn = from <= last_sector || file.n - from >= 16;
		int r;

		memcpy(copy, file.p, file.n);
		memset(copy + from, 0, file.n - from);
		if (memcmp(copy, file.p, file.n) == 0)
			continue; /* a tag that ends in zeros */
		tmpdir_write(path, BYTES(copy, file.n));
		r = try_open(&e, &info);
		if (torn)
			bad += r != 0 || e.wrong || e.seen != 2 || info.cut_tail != file.n - ends[2];
		else
			bad += r != ERR_DAMAGED && e.seen != 2; /* bytes before may be zero by chance */
	}
	CHECK_INT(bad, 0);

	/* zeros behind a good last record */
	for (size_t more = 1; more <= 4096; more += 455) {
		struct sealed_log_info info = { 0 };

		memcpy(copy, file.p, file.n);
		memset(copy + file.n, 0, more);
		tmpdir_write(path, BYTES(copy, file.n + more));
		bad += try_open(&e, &info) != 0 || e.wrong || e.seen != 3 || info.cut_tail != more;
	}
	CHECK_INT(bad, 0);

	/* zeros that stop before the end are not what a crash leaves */
	memcpy(copy, file.p, file.n);
	memset(copy + ends[2] + 100, 0, 600);
	tmpdir_write(path, BYTES(copy, file.n));
	CHECK(!e.wrong && try_open(&e, &(struct sealed_log_info){ 0 }) == ERR_DAMAGED);
	CHECK(strstr(why_text, "record 3") && strstr(why_text, "offset"));

	/* zeros from within a record that others follow: a crash interrupts only the last one */
	memcpy(copy, file.p, file.n);
	memset(copy + ends[1] - 1, 0, file.n - ends[1] + 1);
	memset(copy + ends[0] + 24, 0, ends[1] - ends[0] - 24);
	tmpdir_write(path, BYTES(copy, file.n));
	CHECK(!e.wrong && try_open(&e, &(struct sealed_log_info){ 0 }) == ERR_DAMAGED);
	CHECK(strstr(why_text, "record 1") || strstr(why_text, "record 2"));
	free(copy);
	tmpdir_free(file);
}

/* Write the header and the frames of @order ('0' is the first) from @file, and open that. */
static int open_rearranged(struct expect *e, struct bytes file, const size_t *ends, const char *order)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);

	buf_put(&b, file.p, ends[0]);
	for (const char *c = order; *c; c++)
		buf_put(&b, file.p + ends[*c - '0'], ends[*c - '0' + 1] - ends[*c - '0']);
	tmpdir_write(path, buf_bytes(&b));
	return try_open(e, &(struct sealed_log_info){ 0 });
}

static void test_rearranged(void)
{
	struct expect e = { .records = { BYTES_LIT("same"), BYTES_LIT("size"), BYTES_LIT("each"), BYTES_LIT("here") },
			    .n = 4 };
	static const char *const orders[] = { "123",   "023",	"013", "1023", "0213", "0132", "00123",	 "01123",
					      "01223", "01233", "3",   "0120", "3210", "1",    "0123012" };
	size_t ends[MAX_RECORDS + 1], other_ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends), key = tmpdir_read(key_path), other;
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);
	struct sealed_log *log = NULL;
	uint64_t seq;

	CHECK_INT(open_rearranged(&e, file, ends, "0123"), 0);
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		CHECK_INT(open_rearranged(&e, file, ends, orders[i]), ERR_DAMAGED);
		CHECK(!e.wrong);
	}
	/* something that is not a record, long enough for a head */
	buf_put_bytes(&b, file);
	buf_put_str(&b, "garbage that was appended");
	tmpdir_write(path, buf_bytes(&b));
	CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);

	/* a record of another keystore under the same key file, at the same place */
	CHECK(unlink(path) == 0);
	CHECK_INT(open_log(&e, &log), 0);
	other_ends[0] = (size_t)info_of(log).bytes;
	for (size_t i = 0; i < 4; i++) {
		CHECK_INT(sealed_log_append(log, e.records[i], &seq), 0);
		other_ends[i + 1] = (size_t)info_of(log).bytes;
	}
	sealed_log_close(log);
	other = tmpdir_read(path);
	CHECK(other.n == file.n && other_ends[2] == ends[2]);
	for (size_t i = 0; i < 4; i++) {
		buf_reset(&b);
		buf_put(&b, file.p, ends[i]);
		buf_put(&b, other.p + ends[i], ends[i + 1] - ends[i]);
		buf_put(&b, file.p + ends[i + 1], file.n - ends[i + 1]);
		tmpdir_write(path, buf_bytes(&b));
		CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);
		CHECK(!e.wrong && e.seen == i);
	}
	/* one's header before the other's records */
	buf_reset(&b);
	buf_put(&b, file.p, ends[0]);
	buf_put(&b, other.p + ends[0], other.n - ends[0]);
	tmpdir_write(path, buf_bytes(&b));
	CHECK_INT(try_open(&e, &(struct sealed_log_info){ 0 }), ERR_DAMAGED);
	tmpdir_free(other);
	tmpdir_free(key);
	tmpdir_free(file);
}

/* ---- a disk that refuses ---- */

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	tmpdir_need(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	tmpdir_need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

static void test_full_disk(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log(&e, ends), after;
	struct sealed_log *log = NULL;
	struct sealed_log_info info;
	struct stat st;
	uint64_t seq = 0;

	(void)signal(SIGXFSZ, SIG_IGN); /* the write fails with EFBIG instead */
	CHECK_INT(open_log(&e, &log), 0);
	for (size_t room = 0; room < ends[3] - ends[2]; room++) { /* a short write of each length, then the error */
		limit_file_size(ends[3] + room);
		bad += sealed_log_append(log, e.records[2], &seq) != ERR_STORAGE || stat(path, &st) != 0 ||
		       (size_t)st.st_size != ends[3];
	}
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(bad, 0);
	CHECK_INT(seq, 0);
	after = tmpdir_read(path);
	CHECK_BYTES(after, file);
	tmpdir_free(after);
	CHECK(!info_of(log).failed && info_of(log).seq == 3);
	CHECK_INT(sealed_log_append(log, BYTES_LIT("fourth"), &seq), 0);
	CHECK_INT(seq, 4);
	sealed_log_close(log);
	e.records[e.n++] = BYTES_LIT("fourth");
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 4);
	tmpdir_free(file);
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
	uint64_t seq = 0;
	int fd, saved, read_only;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	fd = find_fd();
	saved = dup(fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && saved >= 0 && read_only >= 0 && dup2(read_only, fd) == fd);
	CHECK_INT(sealed_log_append(log, BYTES_LIT("lost"), &seq), ERR_STORAGE);
	CHECK(info_of(log).failed && info_of(log).seq == 3);
	CHECK(dup2(saved, fd) == fd); /* the disk is back, the doubt is not gone */
	CHECK_INT(sealed_log_append(log, BYTES_LIT("lost"), &seq), ERR_STORAGE);
	(void)close(saved);
	(void)close(read_only);
	sealed_log_close(log);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 3 && !info.failed);
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	tmpdir_file(&dir, "keystore", path);
	tmpdir_file(&dir, "keystore.key", key_path);
	test_round_trip();
	test_replay_error();
	test_keys();
	test_access();
	test_busy();
	test_every_bit();
	test_every_length();
	test_append_after_cut();
	test_zeros();
	test_rearranged();
	test_full_disk();
	test_dead_disk();
	tmpdir_remove(&dir);
	return test_end();
}
