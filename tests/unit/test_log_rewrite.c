/* A new generation of the file: what it keeps, what is left of the old one, and what a crash or a failure at each step leaves. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>

#include "tests/unit/log_fixture.h"

static const char *program; /* to run it again */
static char rewrite_path[TMPDIR_PATH], old_path[TMPDIR_PATH];
static struct own_seal second = { .secret = 0x77, .next = 'a', .out_of_reach = -1 };

static int rewrite_as(struct sealed_log *log, struct log_rewrite how, uint32_t *ret_slot)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r;

	if (!how.emit)
		how.emit = emit_expected;
	r = sealed_log_rewrite(log, &how, &why, ret_slot);
	note_why(&why);
	return r;
}

static int rewrite(struct sealed_log *log, struct expect *e)
{
	return rewrite_as(log, (struct log_rewrite){ .remove = -1, .arg = e }, NULL);
}

/* Does any file of the folder hold these bytes? */
static bool folder_holds(struct bytes bytes)
{
	DIR *d = opendir(dir.path);
	struct dirent *entry;
	bool found = false;

	tmpdir_need(d != NULL, dir.path);
	while ((entry = readdir(d)) != NULL) {
		char name[TMPDIR_PATH];
		struct bytes file;
		struct stat st;

		tmpdir_file(&dir, entry->d_name, name);
		if (lstat(name, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		file = tmpdir_read(name);
		found |= memmem(file.p, file.n, bytes.p, bytes.n) != NULL;
		tmpdir_free(file);
	}
	(void)closedir(d);
	return found;
}

static size_t count_files(void)
{
	DIR *d = opendir(dir.path);
	struct dirent *entry;
	size_t n = 0;

	tmpdir_need(d != NULL, dir.path);
	while ((entry = readdir(d)) != NULL)
		n += entry->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

static bool is_zeros(int fd, size_t n)
{
	uint8_t *p = malloc(n + 1);
	bool zeros = pread(fd, p, n + 1, 0) == (ssize_t)n;

	for (size_t i = 0; i < n && zeros; i++)
		zeros = p[i] == 0;
	free(p);
	return zeros;
}

static void test_new_generation(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], held = 0;
	struct bytes before = write_log(&e, ends);
	struct sealed_log *log = NULL;
	struct sealed_log_info was, info;
	struct stat st;
	int old_fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK_INT(open_log(&e, &log), 0);
	was = info_of(log);
	CHECK_INT(rewrite(log, &e), 0);
	info = info_of(log);
	CHECK(info.generation == 2 && info.records == 3 && info.bytes == ends[3] && !info.residue && !info.failed);
	CHECK(memcmp(info.file_id, was.file_id, LOG_FILE_ID) == 0);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && (size_t)st.st_size == ends[3] &&
	      st.st_nlink == 1);
	CHECK_INT(count_files(), 1);

	/* nothing of the old one is left, under any name or none: neither records nor wrapped keys */
	CHECK(is_zeros(old_fd, before.n));
	for (size_t at = 56 + 20; at + 16 <= before.n; at += 16)
		held += folder_holds(BYTES(before.p + at, 16));
	CHECK_INT(held, 0);
	(void)close(old_fd);

	/* it is locked, and goes on */
	CHECK_INT(try_open(&e, &info), ERR_BUSY);
	CHECK_INT(append(log, BYTES_LIT("fourth")), 0);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .min_generation = 40, .arg = &e }, NULL), 0);
	CHECK_INT(info_of(log).generation, 40);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .min_generation = 7, .arg = &e }, NULL), 0);
	CHECK_INT(info_of(log).generation, 41);
	CHECK_INT(append(log, BYTES_LIT("fourth")), 0);
	sealed_log_close(log);
	e.records[e.n++] = BYTES_LIT("fourth");
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 4 && info.generation == 41);
	tmpdir_free(before);
}

/* More than is buffered, in records that are larger than what is written at once. */
static void test_large(void)
{
	size_t n = (1u << 20) + 12345;
	uint8_t *big = malloc(n);
	struct expect e = { .records = { BYTES(big, n), BYTES_LIT(""), BYTES(big, n - 1), BYTES(big, 17) }, .n = 4 };
	struct sealed_log *log = NULL;
	struct sealed_log_info info;

	for (size_t i = 0; i < n; i++)
		big[i] = (uint8_t)(i * i >> 7);
	(void)unlink(path);
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(rewrite(log, &e), 0);
	sealed_log_close(log);
	CHECK_INT(try_open(&e, &info), 0);
	CHECK(!e.wrong && e.seen == 4);
	free(big);
}

/* ---- slots ---- */

static int open_by(const struct seal *seal, struct expect *e, struct sealed_log **ret)
{
	return open_with(path, seal, (struct sealed_log_options){ .create = false }, e, ret);
}

static void test_slots(void)
{
	const struct seal other = own_seal(SEAL_RECOVERY, &second), mine = own_seal(SEAL_PASSPHRASE, &own);
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log_slot slots[LOG_MAX_SLOTS];
	struct sealed_log *log = NULL;
	uint32_t slot = 0;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_by(&other, &e, &log), ERR_SEAL);
	CHECK_INT(open_log(&e, &log), 0);
	CHECK(sealed_log_list_slots(log, slots) == 1 && slots[0].number == 0 && slots[0].type == SEAL_PASSPHRASE);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = 0, .arg = &e }, NULL), ERR_FORBIDDEN);
	CHECK(strstr(why_text, "last key slot") != NULL);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = 1, .arg = &e }, NULL), ERR_NOT_FOUND);

	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .add = &other, .arg = &e }, &slot), 0);
	CHECK_INT(slot, 1);
	CHECK(sealed_log_list_slots(log, slots) == 2 && slots[1].number == 1 && slots[1].type == SEAL_RECOVERY &&
	      slots[1].created_ms >= slots[0].created_ms);
	/* a new data key for both, though only one of the two is at hand */
	CHECK_INT(rewrite(log, &e), 0);
	sealed_log_close(TAKE(log));
	CHECK_INT(open_by(&other, &e, &log), 0);
	CHECK(!e.wrong && e.seen == 3 && strcmp(info_of(log).seal, "recovery") == 0);
	sealed_log_close(TAKE(log));
	CHECK_INT(open_by(&mine, &e, &log), 0);
	CHECK(!e.wrong && e.seen == 3);

	/* one that is removed opens nothing, and its number is not used again */
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = 1, .arg = &e }, NULL), 0);
	CHECK_INT(sealed_log_list_slots(log, slots), 1);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = 0, .add = &other, .arg = &e }, &slot), ERR_FORBIDDEN);
	sealed_log_close(TAKE(log));
	CHECK_INT(open_by(&other, &e, &log), ERR_SEAL);
	CHECK_INT(open_by(&mine, &e, &log), 0);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .add = &other, .arg = &e }, &slot), 0);
	CHECK_INT(slot, 2);
	for (uint32_t i = 3; i <= LOG_MAX_SLOTS; i++) {
		CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .add = &other, .arg = &e }, &slot), 0);
		CHECK_INT(slot, i);
	}
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .add = &other, .arg = &e }, &slot),
		  ERR_FORBIDDEN);
	CHECK(strstr(why_text, "remove one first") && sealed_log_list_slots(log, slots) == LOG_MAX_SLOTS);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = 0, .arg = &e }, NULL), 0);
	sealed_log_close(TAKE(log));
	CHECK_INT(open_by(&mine, &e, &log), ERR_SEAL);
	CHECK_INT(open_by(&other, &e, &log), 0);
	CHECK(!e.wrong && e.seen == 3);
	sealed_log_close(log);
}

/* ---- crashes ---- */

/* the two files between which a rewrite was cut off */
static struct bytes before, after;
static struct expect before_e, after_e; /* what they hold */

static void make_both(void)
{
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;

	before_e = small();
	after_e = (struct expect){ .records = { BYTES_LIT("other"), BYTES_LIT("content") }, .n = 2 };
	before = write_log(&before_e, ends);
	CHECK_INT(open_log(&before_e, &log), 0);
	CHECK_INT(rewrite(log, &after_e), 0);
	sealed_log_close(log);
	after = tmpdir_read(path);
}

static void put(const char *name, struct bytes content)
{
	(void)unlink(name);
	tmpdir_write(name, content);
}

/* Open what lies there. Return: is it what @e says, have both leftovers gone, and is what they were zeros now? */
static bool recovers(struct expect *e, const char *leftover)
{
	struct sealed_log_info info;
	struct stat st = { 0 };
	int fd = leftover ? open(leftover, O_RDONLY | O_CLOEXEC) : -1;
	bool ok = fd < 0 || fstat(fd, &st) == 0;

	ok = ok && try_open(e, &info) == 0 && !e->wrong && e->seen == e->n && info.cut_tail == 0 && count_files() == 1;
	if (fd >= 0) {
		ok = ok && is_zeros(fd, (size_t)st.st_size);
		(void)close(fd);
	}
	return ok;
}

static void test_crash_at_each_step(void)
{
	size_t bad = 0;

	make_both();
	for (size_t n = 0; n <= after.n; n++) { /* while the new file is written */
		put(path, before);
		put(rewrite_path, bytes_sub(after, 0, n));
		bad += !recovers(&before_e, rewrite_path);
	}
	CHECK_INT(bad, 0);

	/* the old file has its second name; with the new one beside it, and without */
	put(path, before);
	put(rewrite_path, after);
	CHECK(link(path, old_path) == 0);
	CHECK(recovers(&before_e, rewrite_path));
	CHECK(link(path, old_path) == 0);
	CHECK(recovers(&before_e, NULL));

	/* the new file has the name, and the old one is not wiped, half wiped, wiped */
	for (size_t n = 0; n <= before.n; n += before.n / 2) {
		uint8_t *half = calloc(1, before.n);

		memcpy(half, before.p, n);
		put(path, after);
		put(old_path, BYTES(half, before.n));
		CHECK(recovers(&after_e, old_path));
		free(half);
	}

	/* a file system that shows the new file under both its names */
	put(path, after);
	put(old_path, before);
	CHECK(link(path, rewrite_path) == 0);
	CHECK(recovers(&after_e, old_path));
	tmpdir_free(before);
	tmpdir_free(after);
}

/* As long as the file itself cannot be read, what lies beside it may be all there is. */
static void test_leftovers_of_the_unreadable(void)
{
	struct sealed_log_info info;
	struct bytes left;

	make_both();
	put(path, bytes_sub(after, 0, 40));
	put(old_path, before);
	put(rewrite_path, after);
	CHECK_INT(try_open(&after_e, &info), ERR_DAMAGED);
	own.secret ^= 1;
	put(path, after);
	CHECK_INT(try_open(&after_e, &info), ERR_SEAL);
	own.secret ^= 1;
	left = tmpdir_read(old_path);
	CHECK_BYTES(left, before);
	tmpdir_free(left);
	left = tmpdir_read(rewrite_path);
	CHECK_BYTES(left, after);
	tmpdir_free(left);
	CHECK_INT(try_open_as(&after_e, (struct sealed_log_options){ .read_only = true }, &info), 0);
	CHECK_INT(count_files(), 3); /* a look removes nothing */
	CHECK(recovers(&after_e, old_path));
	tmpdir_free(before);
	tmpdir_free(after);
}

/* A link under one of the names must not lead the wiping elsewhere. */
static void test_leftover_links(void)
{
	static const char text[] = "not ours to wipe";
	const char *const names[] = { rewrite_path, old_path };
	char target[TMPDIR_PATH];
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log_info info;
	struct bytes left;

	tmpdir_file(&dir, "target", target);
	tmpdir_write(target, BYTES_LIT("not ours to wipe"));
	for (size_t i = 0; i < 2; i++) {
		tmpdir_free(write_log(&e, ends));
		CHECK(symlink(target, names[i]) == 0);
		CHECK_INT(try_open(&e, &info), ERR_IO);
		CHECK(strstr(why_text, names[i]) != NULL);
		CHECK(unlink(names[i]) == 0);
	}
	for (size_t i = 0; i < 2; i++) { /* a second name of another file goes, and the file stays */
		CHECK(link(target, names[i]) == 0);
		CHECK_INT(try_open(&e, &info), 0);
		CHECK(access(names[i], F_OK) < 0);
	}
	left = tmpdir_read(target);
	CHECK_BYTES(left, bytes_str(text));
	tmpdir_free(left);
	CHECK(unlink(target) == 0);
}

/* An old generation that has been given another name is wiped all the same: what was destroyed since is in it. */
static void test_leftover_with_two_names(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log_info info;
	char other[TMPDIR_PATH];
	struct bytes left;

	tmpdir_file(&dir, "other", other);
	left = write_log(&e, ends);
	put(old_path, left);
	CHECK(link(old_path, other) == 0);
	tmpdir_free(left);
	CHECK_INT(try_open(&e, &info), 0);
	left = tmpdir_read(other);
	CHECK(left.n == ends[e.n] && sodium_is_zero(left.p, left.n));
	tmpdir_free(left);
	CHECK(access(old_path, F_OK) < 0 && unlink(other) == 0);
}

static int emit_and_die(void *arg, struct log_writer *w)
{
	int r = emit_expected(arg, w);

	_exit(r == 0 ? 0 : 1);
}

/*
 * What another process does, in a run of this program of its own: a forked child has no arena, so it could not hold a key. @what and
 * the folder are its arguments. Return: its exit status; -1 where it ended otherwise.
 */
static int run_as(const char *what)
{
	char *const args[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)what, dir.path, NULL };
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		(void)execv(program, args);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static bool be_killed(void)
{
	struct expect e = small();
	struct sealed_log *log = NULL;

	if (open_log(&e, &log) == 0)
		(void)rewrite_as(log, (struct log_rewrite){ .remove = -1, .emit = emit_and_die, .arg = &e }, NULL);
	return false;
}

/* A real end in mid-rewrite, of a process that held the locks. */
static void test_killed(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(run_as("killed"), 0);
	CHECK(access(rewrite_path, F_OK) == 0);
	CHECK(recovers(&e, rewrite_path));
}

/* ---- failures ---- */

/* After a rewrite that failed: does the old log serve, append, and rewrite once the cause is gone? Closes it. */
static bool serves_on(struct sealed_log *log, struct expect *e, uint64_t generation)
{
	struct sealed_log_info info = info_of(log);
	bool ok = info.generation == generation && !info.failed && append(log, BYTES_LIT("more")) == 0;

	e->records[e->n++] = BYTES_LIT("more");
	ok = ok && rewrite(log, e) == 0 && append(log, BYTES_LIT("and more")) == 0;
	e->records[e->n++] = BYTES_LIT("and more");
	sealed_log_close(log);
	return ok && try_open(e, &info) == 0 && !e->wrong && e->seen == e->n && info.generation == generation + 1;
}

static void test_full_disk(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1], bad = 0;
	struct bytes file = write_log(&e, ends), same;
	struct sealed_log *log = NULL;

	CHECK_INT(open_log(&e, &log), 0);
	for (size_t room = 0; room < file.n; room += 7) {
		limit_file_size(room);
		bad += rewrite(log, &e) != ERR_STORAGE || !why_text[0] || count_files() != 1;
	}
	limit_file_size(RLIM_INFINITY);
	CHECK_INT(bad, 0);
	CHECK(strstr(why_text, path) && strstr(why_text, "File too large"));
	CHECK_INT(info_of(log).last_errno, EFBIG);
	same = tmpdir_read(path);
	CHECK_BYTES(same, file);
	CHECK(serves_on(log, &e, 1));
	tmpdir_free(same);
	tmpdir_free(file);
}

static int emit_error(void *arg, struct log_writer *w)
{
	(void)w;
	return *(const int *)arg;
}

static int emit_too_large(void *arg, struct log_writer *w)
{
	uint8_t *p = calloc(1, SEALED_LOG_MAX_RECORD + 1);
	int r = log_writer_put(w, BYTES(p, SEALED_LOG_MAX_RECORD + 1));

	(void)arg;
	free(p);
	return r;
}

static void test_emit_fails(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	int error = ERR_NOMEM;

	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .emit = emit_error, .arg = &error }, NULL),
		  ERR_NOMEM);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .emit = emit_too_large }, NULL), ERR_TOO_LARGE);
	CHECK_INT(count_files(), 1);
	CHECK(serves_on(log, &e, 1));
}

static int make_fails(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	(void)seal;
	(void)params;
	(void)ret;
	buf_put_str(why, "the token is not plugged in");
	return ERR_SEAL;
}

static void test_seal_fails(void)
{
	struct seal seal = own_seal(SEAL_PKCS11, &second);
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	uint32_t slot = 99;

	seal.make = make_fails;
	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK_INT(rewrite_as(log, (struct log_rewrite){ .remove = -1, .add = &seal, .arg = &e }, &slot), ERR_SEAL);
	CHECK(strcmp(why_text, "the token is not plugged in") == 0 && slot == 99);
	CHECK(serves_on(log, &e, 1));
}

/* Folders, empty and not, in the place of the files. */
static void test_folder_in_the_way(void)
{
	const char *const names[] = { rewrite_path, old_path };
	struct expect e;
	size_t ends[MAX_RECORDS + 1];
	char inside[TMPDIR_PATH + 8];

	for (size_t i = 0; i < 4; i++) {
		struct sealed_log *log = NULL;

		e = small();
		tmpdir_free(write_log(&e, ends));
		CHECK_INT(open_log(&e, &log), 0);
		CHECK(mkdir(names[i / 2], 0700) == 0);
		(void)snprintf(inside, sizeof(inside), "%s/f", names[i / 2]);
		if (i % 2)
			tmpdir_write(inside, BYTES_LIT("x"));
		CHECK_INT(rewrite(log, &e), ERR_STORAGE);
		CHECK(strstr(why_text, path) != NULL);
		if (i % 2)
			CHECK(unlink(inside) == 0);
		CHECK(rmdir(names[i / 2]) == 0);
		CHECK_INT(count_files(), 1);
		CHECK(serves_on(log, &e, 1));
	}
}

/* Another file has the keystore's name: it must not be lost. */
static void test_replaced(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct sealed_log *log = NULL;
	char away[TMPDIR_PATH];
	struct bytes left;

	tmpdir_file(&dir, "away", away);
	tmpdir_free(write_log(&e, ends));
	CHECK_INT(open_log(&e, &log), 0);
	CHECK(rename(path, away) == 0);
	CHECK_INT(rewrite(log, &e), ERR_FORBIDDEN);
	tmpdir_write(path, BYTES_LIT("somebody's backup"));
	CHECK_INT(rewrite(log, &e), ERR_FORBIDDEN);
	CHECK(strstr(why_text, "put it back") && strstr(why_text, path));
	left = tmpdir_read(path);
	CHECK_BYTES(left, BYTES_LIT("somebody's backup"));
	tmpdir_free(left);
	CHECK(rename(away, path) == 0);
	CHECK(serves_on(log, &e, 1));
}

static bool be_nobody(void)
{
	struct expect e = small();
	struct sealed_log *log = NULL;

	return setgid(65534) == 0 && setuid(65534) == 0 && open_log(&e, &log) == 0 && rewrite(log, &e) == ERR_STORAGE &&
	       strstr(why_text, "Permission denied") && chmod(dir.path, 0700) == 0 && serves_on(log, &e, 1);
}

/* A folder that its own user may not write to. Root may always, so this needs to be root first and then nobody. */
static void test_folder_without_permission(void)
{
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];

	if (geteuid() != 0) {
		printf("# not root: a folder without permission is not tried\n");
		return;
	}
	tmpdir_free(write_log(&e, ends));
	CHECK(chown(path, 65534, 65534) == 0 && chown(dir.path, 65534, 65534) == 0 && chmod(dir.path, 0500) == 0);
	CHECK_INT(run_as("nobody"), 0);
	CHECK(chown(dir.path, 0, 0) == 0 && chmod(dir.path, 0700) == 0 && unlink(path) == 0);
}

/* Who only looks has no lock, and must change nothing. */
static void test_read_only(void)
{
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	struct expect e = small();
	size_t ends[MAX_RECORDS + 1];
	struct bytes file = write_log(&e, ends), same;
	struct sealed_log *log = NULL;

	CHECK_INT(open_with(path, &seal, (struct sealed_log_options){ .read_only = true }, &e, &log), 0);
	CHECK_INT(sealed_log_stage(log, BYTES_LIT("fourth")), ERR_FORBIDDEN);
	CHECK_INT(rewrite(log, &e), ERR_FORBIDDEN);
	CHECK(strstr(why_text, "looked at only") != NULL);
	sealed_log_close(log);
	same = tmpdir_read(path);
	CHECK_BYTES(same, file);
	CHECK_INT(count_files(), 1);
	tmpdir_free(same);
	tmpdir_free(file);
}

int main(int argc, char **argv)
{
	test_start();
	(void)signal(SIGXFSZ, SIG_IGN);
	program = argv[0];
	if (argc == 3) {
		(void)snprintf(dir.path, sizeof(dir.path), "%s", argv[2]);
		tmpdir_file(&dir, "keystore", path);
		return (strcmp(argv[1], "nobody") == 0 ? be_nobody() : be_killed()) ? 0 : 1;
	}
	log_fixture_make();
	tmpdir_file(&dir, "keystore.rewrite", rewrite_path);
	tmpdir_file(&dir, "keystore.old", old_path);
	test_new_generation();
	test_large();
	test_slots();
	test_crash_at_each_step();
	test_leftovers_of_the_unreadable();
	test_leftover_links();
	test_leftover_with_two_names();
	test_killed();
	test_full_disk();
	test_emit_fails();
	test_seal_fails();
	test_folder_in_the_way();
	test_replaced();
	test_folder_without_permission();
	test_read_only();
	tmpdir_remove(&dir);
	return test_end();
}
