#include <limits.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/secret.h"
#include "keystore/seal.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

static struct tmpdir dir;
static char path[TMPDIR_PATH];
static char fresh[TMPDIR_PATH]; /* what a new key is called until its keystore is on disk */
static char why_text[1024];	/* of the latest attempt */

static void keep(const struct buf *why)
{
	memset(why_text, 0, sizeof(why_text));
	if (why->n)
		memcpy(why_text, why->p, why->n);
}

/* One call on a seal of its own, as another process would make it. */
static int make(bool made, struct secret **ret)
{
	struct seal seal;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1), params = BUF_INIT(SEAL_MAX_PARAMS);
	int r;

	if (seal_keyfile_init(&seal, path) < 0)
		return ERR_NOMEM;
	r = seal.make(&seal, &params, &why, ret);
	if (r == 0 && made)
		r = seal.made(&seal, &why);
	seal_fini(&seal);
	CHECK_INT(params.n, 0);
	keep(&why);
	return r;
}

static int opened(struct secret **ret)
{
	struct seal seal;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r;

	if (seal_keyfile_init(&seal, path) < 0)
		return ERR_NOMEM;
	r = seal.open(&seal, BYTES_NONE, &why, ret);
	seal_fini(&seal);
	keep(&why);
	return r;
}

static bool existed(void)
{
	struct seal seal;
	bool r;

	if (seal_keyfile_init(&seal, path) < 0)
		return false;
	r = seal.existed(&seal);
	seal_fini(&seal);
	return r;
}

static int refused(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	return opened(&key);
}

static bool is_there(const char *name)
{
	return access(name, F_OK) == 0;
}

static void test_made_once(void)
{
	CLEANUP(secret_freep) struct secret *first = NULL, *again = NULL;
	struct stat st;
	struct bytes text;
	size_t digits = 0;

	CHECK_INT(refused(), ERR_SEAL);
	CHECK(strstr(why_text, path) && strstr(why_text, "missing"));
	CHECK(!is_there(path) && !is_there(fresh) && !existed());

	CHECK_INT(make(true, &first), 0);
	CHECK_INT(secret_len(first), SEAL_KEY_SIZE);
	CHECK(!is_there(fresh) && existed());
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	text = tmpdir_read(path);
	for (size_t i = 0; i < text.n; i++)
		digits += strchr("0123456789abcdef", text.p[i]) != NULL && text.p[i];
	CHECK_INT(text.n, 65);
	CHECK_INT(digits, 64);
	CHECK_INT(text.p[64], '\n');

	CHECK_INT(make(true, &again), 0); /* a further slot */
	CHECK(secret_equal(first, again));
	CHECK(!is_there(fresh));
	secret_free(TAKE(again));
	tmpdir_write(path, BYTES(text.p, 64)); /* an editor may have left the line's end out */
	CHECK_INT(opened(&again), 0);
	CHECK(secret_equal(first, again));
	tmpdir_free(text);
}

/* Starts that end between the steps. */
static void test_interrupted(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL;
	struct bytes old, file;

	/* before the keystore was written: the next start goes on with the same key, and nothing says there was a keystore */
	old = tmpdir_read(path);
	CHECK(unlink(path) == 0);
	CHECK_INT(make(false, &key), 0);
	CHECK(is_there(fresh) && !is_there(path) && !existed());
	CHECK_INT(make(false, &again), 0);
	CHECK(secret_equal(key, again));
	secret_free(TAKE(again));

	/* after it: opening finishes what was begun */
	CHECK_INT(opened(&again), 0);
	CHECK(secret_equal(key, again));
	CHECK(!is_there(fresh) && is_there(path) && existed());
	secret_free(TAKE(again));
	CHECK_INT(opened(&again), 0);
	CHECK(secret_equal(key, again));
	secret_free(TAKE(again));

	/* a file that was left over beside a key is no key of anything */
	tmpdir_write(fresh, old);
	CHECK_INT(opened(&again), 0);
	CHECK(secret_equal(key, again));
	secret_free(TAKE(again));
	CHECK_INT(make(true, &again), 0);
	CHECK(secret_equal(key, again));
	CHECK(is_there(fresh));
	tmpdir_free(old);

	/* one that is damaged is not replaced: it may be the only key there is */
	CHECK(unlink(path) == 0);
	tmpdir_write(fresh, BYTES_LIT("half a k"));
	secret_free(TAKE(again));
	CHECK_INT(make(true, &again), ERR_SEAL);
	CHECK(strstr(why_text, fresh) && strstr(why_text, "hex digits"));
	CHECK_INT(refused(), ERR_SEAL);
	CHECK(strstr(why_text, fresh) && !is_there(path));
	file = tmpdir_read(fresh);
	CHECK_BYTES(file, BYTES_LIT("half a k"));
	tmpdir_free(file);
	CHECK(unlink(fresh) == 0);
}

/* A key that turns up between make() and made() is somebody else's. */
static void test_overtaken(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024), params = BUF_INIT(SEAL_MAX_PARAMS);
	struct seal seal;
	char digits[64];

	memset(digits, 'b', sizeof(digits));
	CHECK_INT(seal_keyfile_init(&seal, path), 0);
	CHECK_INT(seal.make(&seal, &params, &why, &key), 0);
	tmpdir_write(path, BYTES(digits, 64));
	CHECK_INT(seal.made(&seal, &why), ERR_SEAL);
	CHECK(memmem(why.p, why.n, "appeared", 8) && memmem(why.p, why.n, fresh, strlen(fresh)));
	CHECK(is_there(fresh));
	CHECK(unlink(path) == 0); /* what the sentence says */
	CHECK_INT(opened(&again), 0);
	CHECK(secret_equal(key, again));
	seal_fini(&seal);
}

static void test_long_path(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024), params = BUF_INIT(SEAL_MAX_PARAMS);
	static char longer[PATH_MAX];
	struct seal seal;

	memset(longer, '/', sizeof(longer) - 4);
	CHECK_INT(seal_keyfile_init(&seal, longer), 0);
	CHECK_INT(seal.make(&seal, &params, &why, &key), ERR_SEAL);
	CHECK(memmem(why.p, why.n, "more than 4091 bytes", 20) != NULL);
	CHECK_INT(seal.open(&seal, BYTES_NONE, &why, &key), ERR_SEAL);
	CHECK(seal.existed(&seal));
	seal_fini(&seal);
}

static void test_content(void)
{
	char digits[70];

	memset(digits, 'a', sizeof(digits));
	tmpdir_write(path, BYTES_NONE);
	CHECK_INT(refused(), ERR_SEAL);
	tmpdir_write(path, BYTES(digits, 63));
	CHECK_INT(refused(), ERR_SEAL);
	tmpdir_write(path, BYTES(digits, 65));
	CHECK_INT(refused(), ERR_SEAL);
	CHECK(strstr(why_text, "hex digits"));
	digits[64] = digits[65] = '\n';
	tmpdir_write(path, BYTES(digits, 66));
	CHECK_INT(refused(), ERR_SEAL);
	digits[10] = 'g';
	tmpdir_write(path, BYTES(digits, 65));
	CHECK_INT(refused(), ERR_SEAL);
	digits[10] = 'A'; /* either case is a digit */
	tmpdir_write(path, BYTES(digits, 65));
	CHECK_INT(refused(), 0);
}

static void test_access(void)
{
	char target[TMPDIR_PATH];

	for (mode_t bit = 1; bit <= 040; bit <<= 1) {
		CHECK(chmod(path, 0600 | bit) == 0);
		CHECK_INT(refused(), ERR_SEAL);
	}
	CHECK(strstr(why_text, "chmod 600"));
	CHECK(chmod(path, 0400) == 0);
	CHECK_INT(refused(), 0);
	if (geteuid() == 0) {
		CHECK(chown(path, 12345, 12345) == 0);
		CHECK_INT(refused(), ERR_SEAL);
		CHECK(strstr(why_text, "12345"));
		CHECK(chown(path, 0, 0) == 0);
	}

	tmpdir_file(&dir, "target", target);
	CHECK(rename(path, target) == 0 && symlink(target, path) == 0);
	CHECK_INT(refused(), ERR_SEAL);
	CHECK(strstr(why_text, "symbolic link"));
	CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0); /* must not wait for a writer either */
	CHECK_INT(refused(), ERR_SEAL);
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
	CHECK_INT(refused(), ERR_SEAL);
	CHECK(rmdir(path) == 0 && rename(target, path) == 0);
	CHECK_INT(refused(), 0);
}

static void test_params(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	struct seal seal;

	CHECK_INT(seal_keyfile_init(&seal, path), 0);
	CHECK_INT(seal.open(&seal, BYTES_LIT("x"), &why, &key), ERR_SEAL);
	CHECK(why.n > 0 && !key);
	seal_fini(&seal);
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	tmpdir_file(&dir, "key", path);
	tmpdir_file(&dir, "key.new", fresh);
	test_made_once();
	test_interrupted();
	test_overtaken();
	test_long_path();
	test_content();
	test_access();
	test_params();
	tmpdir_remove(&dir);
	return test_end();
}
