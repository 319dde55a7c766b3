#include "base/buf.h"
#include "base/cleanup.h"
#include "base/secret.h"
#include "keystore/seal.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

static struct tmpdir dir;
static char path[TMPDIR_PATH];
static char why_text[1024]; /* of the latest attempt */

static int kek(bool create, struct secret **ret)
{
	struct seal seal;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r;

	if (seal_keyfile_init(&seal, path) < 0)
		return ERR_NOMEM;
	r = seal.kek(&seal, BYTES_NONE, create, &why, ret);
	seal.fini(&seal);
	memset(why_text, 0, sizeof(why_text));
	if (why.n)
		memcpy(why_text, why.p, why.n);
	return r;
}

static int refused(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	return kek(false, &key);
}

static void test_made_once(void)
{
	CLEANUP(secret_freep) struct secret *first = NULL, *again = NULL;
	struct stat st;
	struct bytes text;
	size_t digits = 0;

	CHECK_INT(refused(), ERR_SEAL);
	CHECK(strstr(why_text, path) && strstr(why_text, "missing"));
	CHECK(access(path, F_OK) < 0);

	CHECK_INT(kek(true, &first), 0);
	CHECK_INT(secret_len(first), SEAL_KEY_SIZE);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	text = tmpdir_read(path);
	for (size_t i = 0; i < text.n; i++)
		digits += strchr("0123456789abcdef", text.p[i]) != NULL && text.p[i];
	CHECK_INT(text.n, 65);
	CHECK_INT(digits, 64);
	CHECK_INT(text.p[64], '\n');

	CHECK_INT(kek(true, &again), 0);
	CHECK(secret_equal(first, again));
	secret_free(TAKE(again));
	tmpdir_write(path, BYTES(text.p, 64)); /* an editor may have left the line's end out */
	CHECK_INT(kek(false, &again), 0);
	CHECK(secret_equal(first, again));
	tmpdir_free(text);
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
	CHECK_INT(seal.kek(&seal, BYTES_LIT("x"), false, &why, &key), ERR_SEAL);
	CHECK(why.n > 0 && !key);
	seal.fini(&seal);
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	tmpdir_file(&dir, "key", path);
	test_made_once();
	test_content();
	test_access();
	test_params();
	tmpdir_remove(&dir);
	return test_end();
}
