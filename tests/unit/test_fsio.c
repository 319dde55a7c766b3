/* Whole files in and out: sizes around the ceiling, what is refused, and that a failed creation leaves nothing. */
#include <dirent.h>
#include <errno.h>

#include "base/fsio.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

static struct tmpdir dir;

static void make(const char *name, size_t n, char ret_path[TMPDIR_PATH])
{
	uint8_t *content = malloc(n + 1);

	tmpdir_need(content != NULL, name);
	for (size_t i = 0; i < n; i++)
		content[i] = (uint8_t)(i * 31 + i / 256);
	tmpdir_file(&dir, name, ret_path);
	tmpdir_write(ret_path, BYTES(content, n));
	free(content);
}

static bool is_made(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] != (uint8_t)(i * 31 + i / 256))
			return false;
	return true;
}

static size_t count_files(void)
{
	DIR *d = opendir(dir.path);
	size_t n = 0;

	tmpdir_need(d != NULL, dir.path);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static void test_read(void)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 9000 };
	char path[TMPDIR_PATH];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const size_t n = sizes[i];
		CLEANUP(buf_fini) struct buf roomy = BUF_INIT(20000), exact = BUF_INIT(n), tight = BUF_INIT(n - 1);

		make("read", n, path);
		CHECK_INT(fsio_read(path, &roomy), 0);
		CHECK(roomy.n == n && is_made(buf_bytes(&roomy)));
		CHECK_INT(fsio_read(path, &exact), 0);
		CHECK_INT(exact.n, n);
		if (n == 0)
			continue;
		CHECK_INT(fsio_read(path, &tight), ERR_TOO_LARGE);
		CHECK_INT(tight.n, 0);
		CHECK_INT(buf_err(&tight), 0);
	}
}

static void test_read_appends(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(10);
	char path[TMPDIR_PATH];

	tmpdir_file(&dir, "append", path);
	tmpdir_write(path, BYTES_LIT("file"));
	buf_put_str(&b, "buf ");
	CHECK_INT(fsio_read(path, &b), 0);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("buf file"));
	CHECK_INT(fsio_read(path, &b), ERR_TOO_LARGE);
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("buf file"));
	buf_put_str(&b, "too long for it");
	CHECK_INT(fsio_read(path, &b), ERR_TOO_LARGE); /* an error met before is not forgotten */
}

static void test_read_refuses(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(100000);
	char path[TMPDIR_PATH], link_path[TMPDIR_PATH];

	tmpdir_file(&dir, "absent", path);
	CHECK_INT(fsio_read(path, &b), ERR_NOT_FOUND);
	make("file", 3, path);
	tmpdir_file(&dir, "file/below", link_path);
	CHECK_INT(fsio_read(link_path, &b), ERR_NOT_FOUND);
	CHECK_INT(fsio_read(dir.path, &b), ERR_IO);
	CHECK_INT(errno, EINVAL);
	tmpdir_file(&dir, "fifo", path);
	tmpdir_need(mkfifo(path, 0600) == 0, path);
	CHECK_INT(fsio_read(path, &b), ERR_IO); /* and does not wait for a writer */
	CHECK_INT(fsio_read("/dev/zero", &b), ERR_IO);
	CHECK_INT(b.n, 0);

	make("target", 5, path);
	tmpdir_file(&dir, "symlink", link_path);
	tmpdir_need(symlink("target", link_path) == 0, link_path);
	CHECK_INT(fsio_read(link_path, &b), 0);
	CHECK_INT(b.n, 5);
}

/* Files whose size says nothing are read to their end. */
static void test_read_proc(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(100000), tiny = BUF_INIT(10);

	CHECK_INT(fsio_read("/proc/self/status", &b), 0);
	CHECK(b.n > 100 && memcmp(b.p, "Name:", 5) == 0);
	CHECK_INT(fsio_read("/proc/self/status", &tiny), ERR_TOO_LARGE);
	CHECK_INT(tiny.n, 0);
}

static void secret_mode(const char *path, mode_t mode, int want)
{
	CLEANUP(secret_freep) struct secret *s = NULL;

	tmpdir_need(chmod(path, mode) == 0, path);
	CHECK_INT(fsio_read_secret(path, 100, &s), want);
	CHECK((s != NULL) == (want == 0));
}

static void test_read_secret(void)
{
	CLEANUP(secret_freep) struct secret *s = NULL, *empty = NULL;
	char path[TMPDIR_PATH];

	make("secret", 32, path);
	CHECK_INT(fsio_read_secret(path, 31, &s), ERR_TOO_LARGE);
	CHECK(s == NULL);
	CHECK_INT(fsio_read_secret(path, 32, &s), 0);
	CHECK(secret_len(s) == 32 && is_made(secret_bytes(s)));
	secret_mode(path, 0600, 0);
	secret_mode(path, 0400, 0);
	secret_mode(path, 0700, 0);
	secret_mode(path, 0440, getegid() == 0 ? 0 : ERR_FORBIDDEN);
	secret_mode(path, 0604, ERR_FORBIDDEN);
	secret_mode(path, 0602, ERR_FORBIDDEN);
	secret_mode(path, 0620, ERR_FORBIDDEN);
	secret_mode(path, 0644, ERR_FORBIDDEN);
	if (geteuid() == 0) {
		tmpdir_need(chown(path, 0, 12345) == 0, path);
		secret_mode(path, 0440, ERR_FORBIDDEN);
		tmpdir_need(chown(path, 12345, 0) == 0, path);
		secret_mode(path, 0400, ERR_FORBIDDEN); /* its owner is somebody else */
	}
	make("empty", 0, path);
	CHECK_INT(fsio_read_secret(path, 10, &empty), 0);
	CHECK_INT(secret_len(empty), 0);
	tmpdir_file(&dir, "absent", path);
	CHECK_INT(fsio_read_secret(path, 10, &empty), ERR_NOT_FOUND);
	CHECK_INT(fsio_read_secret(dir.path, 10, &empty), ERR_IO);
}

static void test_create(void)
{
	const mode_t umask_before = umask(0777);
	struct bytes content;
	char path[TMPDIR_PATH], path2[TMPDIR_PATH], target[TMPDIR_PATH];
	size_t files = count_files();
	struct stat st;

	tmpdir_file(&dir, "created", path);
	CHECK_INT(fsio_create(path, BYTES_LIT("first")), 0);
	(void)umask(umask_before);
	CHECK(stat(path, &st) == 0 && st.st_mode == (S_IFREG | 0600) && st.st_nlink == 1);
	content = tmpdir_read(path);
	CHECK_BYTES(content, BYTES_LIT("first"));
	tmpdir_free(content);
	CHECK_INT(count_files(), ++files);

	CHECK_INT(fsio_create(path, BYTES_LIT("second")), ERR_ALREADY_EXISTS);
	content = tmpdir_read(path);
	CHECK_BYTES(content, BYTES_LIT("first"));
	tmpdir_free(content);
	CHECK_INT(count_files(), files);

	tmpdir_file(&dir, "dangling", path);
	tmpdir_file(&dir, "elsewhere", target);
	tmpdir_need(symlink("elsewhere", path) == 0, path);
	CHECK_INT(fsio_create(path, BYTES_LIT("x")), ERR_ALREADY_EXISTS);
	CHECK(access(target, F_OK) < 0); /* not written through the link */
	CHECK_INT(count_files(), ++files);

	tmpdir_file(&dir, "none/there", path2);
	CHECK_INT(fsio_create(path2, BYTES_LIT("x")), ERR_IO);
	CHECK_INT(errno, ENOENT);
	tmpdir_file(&dir, "nothing", path2);
	CHECK_INT(fsio_create(path2, BYTES_NONE), 0);
	CHECK(stat(path2, &st) == 0 && st.st_size == 0);
	CHECK_INT(count_files(), ++files);
}

static void test_create_long_name(void)
{
	static char path[8192];

	memset(path, 'a', sizeof(path) - 1);
	CHECK_INT(fsio_create(path, BYTES_LIT("x")), ERR_IO);
	CHECK_INT(errno, ENAMETOOLONG);
	path[0] = '/';
	path[6000] = '/';
	CHECK_INT(fsio_sync_parent(path), ERR_IO);
	CHECK_INT(errno, ENAMETOOLONG);
}

static void test_positions(void)
{
	CLEANUP(fd_closep) int fd = -1;
	char path[TMPDIR_PATH];
	uint8_t p[16];
	size_t n = 99;

	tmpdir_file(&dir, "positions", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	tmpdir_need(fd >= 0, path);
	CHECK_INT(fsio_pwrite_full(fd, BYTES_LIT("world"), 6), 0);
	CHECK_INT(fsio_pwrite_full(fd, BYTES_LIT("hello "), 0), 0);
	CHECK_INT(fsio_pwrite_full(fd, BYTES_NONE, 3), 0);
	CHECK_INT(fsio_pread_full(fd, p, 16, 0, &n), 0);
	CHECK_BYTES(BYTES(p, n), BYTES_LIT("hello world"));
	CHECK_INT(fsio_pread_full(fd, p, 3, 4, &n), 0);
	CHECK_BYTES(BYTES(p, n), BYTES_LIT("o w"));
	CHECK_INT(fsio_pread_full(fd, p, 3, 11, &n), 0);
	CHECK_INT(n, 0);
	n = 99;
	CHECK_INT(fsio_pread_full(fd, p, 3, SIZE_MAX, &n), ERR_IO);
	CHECK_INT(fsio_pread_full(-1, p, 3, 0, &n), ERR_IO);
	CHECK_INT(errno, EBADF);
	CHECK_INT(n, 99);
	CHECK_INT(fsio_pwrite_full(fd, BYTES_LIT("x"), SIZE_MAX), ERR_IO);
	CHECK_INT(fsio_pwrite_full(-1, BYTES_LIT("x"), 0), ERR_IO);
}

static void test_disk_full(void)
{
	CLEANUP(fd_closep) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	CHECK_INT(fsio_pwrite_full(fd, BYTES_LIT("x"), 0), ERR_IO);
	CHECK_INT(errno, ENOSPC);
}

static void test_sync_parent(void)
{
	char path[TMPDIR_PATH];

	tmpdir_file(&dir, "anything", path);
	CHECK_INT(fsio_sync_parent(path), 0); /* the file itself need not exist */
	CHECK_INT(fsio_sync_parent("/anything"), 0);
	CHECK_INT(fsio_sync_parent("anything"), 0);
	tmpdir_file(&dir, "none/there", path);
	CHECK_INT(fsio_sync_parent(path), ERR_IO);
	CHECK_INT(errno, ENOENT);
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	test_read();
	test_read_appends();
	test_read_refuses();
	test_read_proc();
	test_read_secret();
	test_create();
	test_create_long_name();
	test_positions();
	test_disk_full();
	test_sync_parent();
	tmpdir_remove(&dir);
	return test_end();
}
