/* An older keystore, a missing one, and what remembers that there was more: the anchor, or a witness. */
#include "tests/unit/store_fixture.h"

#define PLACE	   512u /* of the anchor's second place, which has PLACE_SIZE bytes */
#define PLACE_SIZE 72u

static char anchor[TMPDIR_PATH], copy[TMPDIR_PATH], aside[TMPDIR_PATH], witness[TMPDIR_PATH];

/* What the anchor remembers, read by its own rules under the key that the open store has. */
static struct anchor_mark remembered(struct store *store)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	struct sealed_log_info info = info_of(store).log;
	struct anchor_mark mark = { 0 };
	struct anchor *a = NULL;

	CHECK_INT(log_key_derive(store->custody, STORE_KEY_ANCHOR, &key), 0);
	CHECK_INT(anchor_open(anchor, info.file_id, key, &why, &mark, &a), 0);
	anchor_close(a);
	return mark;
}

static bool is_up_to_date(struct store *store)
{
	struct anchor_mark mark = remembered(store);

	return mark.generation == info_of(store).log.generation && mark.seq == seq_of(store) &&
	       info_of(store).anchor_errno == 0;
}

static struct store *anchored(void)
{
	(void)unlink(anchor);
	options.anchor = anchor;
	return fresh();
}

/* Return: as open_store(); the store is closed again */
static int try_open(void)
{
	CLEANUP(store_freep) struct store *store = NULL;

	return open_store(&store);
}

static int try_accepting(void)
{
	int r;

	options.accept_rollback = true;
	r = try_open();
	options.accept_rollback = false;
	return r;
}

static bool same_files(const char *a, const char *b)
{
	struct bytes x = tmpdir_read(a), y = tmpdir_read(b);
	bool same = bytes_eq(x, y);

	tmpdir_free(x);
	tmpdir_free(y);
	return same;
}

static void test_keeps_up(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	char key_id[UUID_SIZE];

	CHECK(!why_text[0] && is_up_to_date(store));
	create(store, "app-1");
	CHECK(is_up_to_date(store));
	CHECK_INT(add_key(store, "app-1", "roomA", "k0", 0, true), 0);
	CHECK(is_up_to_date(store));
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	CHECK(is_up_to_date(store));
	CHECK_INT(add_identity(store, BYTES_LIT("app-1"), identities[1], 1000, key_id), 0);
	CHECK(is_up_to_date(store));
	CHECK_INT(grant(store, "app-1", "roomC", PERM_READ), 0);
	CHECK(is_up_to_date(store));
	CHECK_INT(drop(store, "app-1", "roomA", true), 0);
	CHECK(is_up_to_date(store) && remembered(store).generation == 2);
	CHECK_INT(rewrite(store), 0);
	CHECK(is_up_to_date(store) && remembered(store).generation == 3);
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	CHECK(is_up_to_date(store) && remembered(store).generation == 4);
	reopen(&store);
	CHECK(!why_text[0] && is_up_to_date(store));
	reopen(&store);
	CHECK(!why_text[0] && is_up_to_date(store));
}

/* ---- older keystores ---- */

/* Refused, with a sentence that tells why, and nothing is changed. */
static void check_refused(const char *file)
{
	copy_file(file, path);
	copy_file(anchor, aside);
	CHECK_INT(try_open(), ERR_DAMAGED);
	CHECK(strstr(why_text, "older than it was") && strstr(why_text, path) && strstr(why_text, anchor) &&
	      strstr(why_text, "--accept-rollback"));
	CHECK(same_files(path, file) && same_files(anchor, aside));
	CHECK(unlink(aside) == 0);
}

static void test_older(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	CLEANUP(buf_fini) struct buf old = BUF_INIT(1 << 20);
	char newest[TMPDIR_PATH], accepted[TMPDIR_PATH];
	struct anchor_mark mark;

	tmpdir_file(&dir, "newest", newest);
	tmpdir_file(&dir, "accepted", accepted);
	create(store, "app-1");
	dump(store, &old);
	copy_file(path, copy);
	CHECK_INT(store_reset_token(store, BYTES_LIT("app-1"), tokens[1]), 0);
	mark = remembered(store);
	store_free(TAKE(store));
	copy_file(path, newest);
	check_refused(copy);
	copy_file(newest, path);
	CHECK_INT(try_open(), 0); /* the right one is, still */

	/* accepted, it is newer than what it replaces: that one can never come back unseen */
	copy_file(copy, path);
	options.accept_rollback = true;
	CHECK_INT(open_store(&store), 0);
	options.accept_rollback = false;
	CHECK(strstr(why_text, "an older keystore was accepted") != NULL);
	CHECK(state_is(store, &old));
	CHECK(info_of(store).log.generation > mark.generation && is_up_to_date(store));
	copy_file(path, accepted);
	/* once, that is: not at the next unlocking */
	store_lock(store);
	copy_file(copy, path);
	CHECK_INT(unlock(store), ERR_DAMAGED);
	CHECK(strstr(why_text, "older than it was") && store_is_locked(store));
	store_free(TAKE(store));
	check_refused(newest);
	copy_file(accepted, path);
	CHECK_INT(try_open(), 0);
	CHECK(!why_text[0]);
	CHECK(unlink(newest) == 0 && unlink(accepted) == 0 && unlink(copy) == 0);
}

/* Of another generation, however many changes it has. */
static void test_older_generation(void)
{
	CLEANUP(store_freep) struct store *store = anchored();

	create(store, "app-1");
	create(store, "app-2");
	copy_file(path, copy);
	CHECK_INT(rewrite(store), 0);
	store_free(TAKE(store));
	check_refused(copy);
	CHECK(unlink(copy) == 0);
}

/* Cut at the end of a record, which without an anchor is a good keystore. */
static void test_cut(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	size_t end;

	create(store, "app-1");
	end = (size_t)info_of(store).log.bytes;
	CHECK_INT(store_revoke_app(store, BYTES_LIT("nobody")), ERR_NOT_FOUND);
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	store_free(TAKE(store));
	copy_file(path, copy);
	CHECK(truncate(copy, (off_t)end) == 0);
	check_refused(copy);
	options.anchor = NULL;
	CHECK_INT(try_open(), 0);
	CHECK(unlink(copy) == 0);
}

/* What was never answered may go: a torn tail does not make it older. */
static void test_torn_tail(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	struct bytes whole;
	size_t end;

	create(store, "app-1");
	end = (size_t)info_of(store).log.bytes;
	copy_file(anchor, aside); /* as it was before the change that is torn */
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	store_free(TAKE(store));
	whole = tmpdir_read(path);
	copy_file(aside, anchor);
	tmpdir_write(path, bytes_sub(whole, 0, whole.n - 1));
	CHECK_INT(open_store(&store), 0);
	CHECK(info_of(store).log.cut_tail == whole.n - 1 - end && is_up_to_date(store));
	CHECK_INT(keys_seen(store, "app-1", "roomX"), -1);
	tmpdir_free(whole);
	CHECK(unlink(aside) == 0);
}

/* A damaged last record that was answered: giving it up is going back, too, and wants both to be accepted. */
static void test_damaged_tail(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	struct bytes file;

	create(store, "app-1");
	CHECK_INT(grant(store, "app-1", "roomX", PERM_READ), 0);
	store_free(TAKE(store));
	file = tmpdir_read(path);
	((uint8_t *)(uintptr_t)file.p)[file.n - 20] ^= 1;
	tmpdir_write(path, file);
	tmpdir_free(file);
	CHECK_INT(try_accepting(), ERR_DAMAGED);
	CHECK(strstr(why_text, "--accept-damaged-tail") != NULL);
	options.accept_damaged_tail = true;
	copy_file(path, copy);
	CHECK_INT(try_open(), ERR_DAMAGED);
	CHECK(strstr(why_text, "--accept-rollback") != NULL);
	copy_file(copy, path);
	CHECK_INT(try_accepting(), 0);
	options.accept_damaged_tail = false;
	CHECK_INT(open_store(&store), 0);
	CHECK(is_up_to_date(store) && keys_seen(store, "app-1", "roomX") == -1);
	CHECK(unlink(copy) == 0);
}

/* ---- the anchor itself ---- */

static void test_foreign_anchor(void)
{
	struct store *store = anchored();

	store_free(TAKE(store));
	copy_file(anchor, aside);
	store = anchored();
	create(store, "app-1");
	store_free(TAKE(store));
	copy_file(path, copy);
	copy_file(aside, anchor);
	CHECK_INT(try_open(), ERR_DAMAGED);
	CHECK(strstr(why_text, "another keystore") && strstr(why_text, "cannot be told"));
	CHECK_INT(try_accepting(), ERR_DAMAGED); /* which is about older ones */
	CHECK(same_files(path, copy) && same_files(anchor, aside));
	CHECK(unlink(copy) == 0 && unlink(aside) == 0);
}

static void test_missing_anchor(void)
{
	CLEANUP(store_freep) struct store *store = anchored();

	create(store, "app-1");
	CHECK(!why_text[0]); /* a new keystore's anchor is new */
	store_free(TAKE(store));
	CHECK(unlink(anchor) == 0);
	CHECK_INT(open_store(&store), 0);
	CHECK(strstr(why_text, anchor) && strstr(why_text, "made anew") && is_up_to_date(store));
	reopen(&store);
	CHECK(!why_text[0]);
	store_free(TAKE(store));

	tmpdir_file(&dir, "missing/anchor", aside);
	options.anchor = aside;
	CHECK_INT(try_open(), ERR_IO);
	CHECK(strstr(why_text, "folder does not exist") != NULL);
	tmpdir_file(&dir, "aside", aside);
	options.anchor = anchor;
}

/*
 * Each byte of the anchor's newer place changed: it falls back to the older mark, by which the newest keystore passes, and so does one
 * that is a change older, but not two. With both places damaged nothing passes.
 */
static void test_damaged_anchor(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	char one[TMPDIR_PATH], newest[TMPDIR_PATH];
	struct bytes file;
	size_t bad = 0, newer, step = TEST_STEP > 1 ? 7 : 1;
	uint8_t *content;

	tmpdir_file(&dir, "one", one);
	tmpdir_file(&dir, "newest", newest);
	create(store, "app-1");
	copy_file(path, copy); /* two changes older */
	CHECK_INT(grant(store, "app-1", "one", PERM_READ), 0);
	copy_file(path, one);
	file = tmpdir_read(anchor);
	CHECK_INT(grant(store, "app-1", "two", PERM_READ), 0);
	store_free(TAKE(store));
	copy_file(path, newest);
	{
		struct bytes after = tmpdir_read(anchor);

		newer = memcmp(file.p, after.p, PLACE) != 0 ? 0 : PLACE;
		tmpdir_free(file);
		file = after;
	}
	content = (uint8_t *)(uintptr_t)file.p;
	for (size_t i = 0; i < PLACE_SIZE; i += step) {
		content[newer + i] ^= 0x40;
		tmpdir_write(anchor, file);
		copy_file(copy, path);
		bad += try_open() != ERR_DAMAGED || !strstr(why_text, "older than it was");
		tmpdir_write(anchor, file);
		copy_file(one, path);
		bad += try_open() != 0;
		tmpdir_write(anchor, file);
		copy_file(newest, path);
		bad += try_open() != 0 || why_text[0];
		content[PLACE - newer + i] ^= 0x40;
		tmpdir_write(anchor, file);
		bad += try_open() != ERR_DAMAGED || !strstr(why_text, "cannot be told");
		content[newer + i] ^= 0x40;
		content[PLACE - newer + i] ^= 0x40;
	}
	CHECK_INT(bad, 0);
	tmpdir_free(file);
	CHECK(unlink(copy) == 0 && unlink(one) == 0 && unlink(newest) == 0);
}

/* The descriptor that the store has open on @name. */
static int find_fd(const char *name)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = -1;

	tmpdir_need(d != NULL, "/proc/self/fd");
	while ((entry = readdir(d)) != NULL) {
		char target[TMPDIR_PATH] = { 0 };

		if (readlinkat(dirfd(d), entry->d_name, target, sizeof(target) - 1) > 0 && strcmp(target, name) == 0)
			found = (int)strtol(entry->d_name, NULL, 10);
	}
	(void)closedir(d);
	return found;
}

/* An anchor that cannot be written is told, and no change is undone by it: the keystore has it. */
static void test_dead_anchor(void)
{
	CLEANUP(store_freep) struct store *store = anchored();
	int fd, saved, read_only;

	create(store, "app-1");
	fd = find_fd(anchor);
	saved = dup(fd);
	read_only = open(anchor, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && saved >= 0 && read_only >= 0 && dup2(read_only, fd) == fd);
	CHECK_INT(grant(store, "app-1", "one", PERM_READ), 0);
	CHECK_INT(info_of(store).anchor_errno, EBADF);
	CHECK_INT(keys_seen(store, "app-1", "one"), 0);
	CHECK(dup2(saved, fd) == fd);
	CHECK_INT(grant(store, "app-1", "two", PERM_READ), 0);
	CHECK(is_up_to_date(store));
	(void)close(saved);
	(void)close(read_only);
}

/* ---- a missing keystore ---- */

static void test_missing_store(void)
{
	struct store *store = anchored();

	create(store, "app-1");
	store_free(TAKE(store));
	CHECK(rename(path, copy) == 0);
	CHECK_INT(try_open(), ERR_NOT_FOUND);
	CHECK(strstr(why_text, "is missing") && strstr(why_text, anchor) && access(path, F_OK) < 0);
	CHECK_INT(try_accepting(), ERR_NOT_FOUND); /* that is not an older one, but none */
	CHECK(access(path, F_OK) < 0);
	CHECK(rename(copy, path) == 0);
	CHECK_INT(try_open(), 0);

	/* by a witness, if that is not empty */
	CHECK(unlink(path) == 0 && unlink(anchor) == 0);
	options.anchor = NULL;
	options.witness = witness;
	tmpdir_write(witness, BYTES_LIT("{\"action\":\"createApp\"}\n"));
	CHECK_INT(try_open(), ERR_NOT_FOUND);
	CHECK(strstr(why_text, witness) && access(path, F_OK) < 0);
	options.anchor = anchor; /* which is not there */
	CHECK_INT(try_open(), ERR_NOT_FOUND);
	CHECK(access(path, F_OK) < 0 && access(anchor, F_OK) < 0);
	tmpdir_write(witness, BYTES_NONE);
	options.create = false;
	CHECK_INT(try_open(), ERR_NOT_FOUND);
	CHECK(strstr(why_text, "does not allow") && access(path, F_OK) < 0);
	options.create = true;
	CHECK_INT(try_open(), 0);
	tmpdir_write(witness, BYTES_LIT("{}\n")); /* of a keystore that is there it says nothing */
	CHECK_INT(try_open(), 0);
	CHECK(unlink(witness) == 0);
	options.witness = NULL;
}

/* ---- a look ---- */

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

/* It takes no lock, makes nothing, and changes nothing, whatever there would be to do. */
static void test_read_only(void)
{
	CLEANUP(store_freep) struct store *store = anchored(), *look = NULL;
	char leftover[TMPDIR_PATH];
	struct bytes file;
	size_t end;

	tmpdir_file(&dir, "keystore.rewrite", leftover);
	create(store, "app-1");
	end = (size_t)info_of(store).log.bytes;
	CHECK(mkdir(leftover, 0700) == 0); /* keeps the revoked app in the file */
	CHECK_INT(store_revoke_app(store, BYTES_LIT("app-1")), 0);
	CHECK(info_of(store).erase_due && rmdir(leftover) == 0);

	/* while it is open elsewhere, and older than the anchor by a record that is torn off */
	file = tmpdir_read(path);
	tmpdir_write(copy, bytes_sub(file, 0, file.n - 1));
	tmpdir_write(leftover, BYTES_LIT("what a crash left"));
	copy_file(anchor, aside);
	options.read_only = true;
	CHECK_INT(open_store(&look), 0);
	CHECK(!why_text[0] && info_of(look).seq == 4 && info_of(look).log.generation == 1);
	CHECK(!info_of(look).erase_due);
	store_free(TAKE(look));
	options.path = copy;
	CHECK_INT(open_store(&look), 0);
	CHECK(info_of(look).seq == 3 && info_of(look).log.cut_tail == file.n - 1 - end);
	CHECK_INT(grant(look, "app-1", "roomX", PERM_READ), ERR_FORBIDDEN);
	options.path = path;
	options.read_only = false;
	{
		struct bytes after = tmpdir_read(path), torn = tmpdir_read(copy), left = tmpdir_read(leftover);

		CHECK_BYTES(after, file);
		CHECK_BYTES(torn, bytes_sub(file, 0, file.n - 1));
		CHECK_BYTES(left, BYTES_LIT("what a crash left"));
		tmpdir_free(after);
		tmpdir_free(torn);
		tmpdir_free(left);
	}
	CHECK(same_files(anchor, aside));
	CHECK_INT(count_files(), 5); /* keystore, anchor, and the copies and the leftover made here */
	CHECK(unlink(copy) == 0 && unlink(aside) == 0 && unlink(leftover) == 0);
	tmpdir_free(file);
}

int main(void)
{
	test_start();
	store_fixture_make();
	tmpdir_file(&dir, "anchor", anchor);
	tmpdir_file(&dir, "copy", copy);
	tmpdir_file(&dir, "aside", aside);
	tmpdir_file(&dir, "witness", witness);
	test_keeps_up();
	test_older();
	test_older_generation();
	test_cut();
	test_torn_tail();
	test_damaged_tail();
	test_foreign_anchor();
	test_missing_anchor();
	test_damaged_anchor();
	test_dead_anchor();
	test_missing_store();
	test_read_only();
	return store_fixture_end();
}
