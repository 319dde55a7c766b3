/*
 * fsio.c - the system calls, completed
 *
 * Reads and writes go on over short counts and EINTR. A new file becomes visible under its name only when its content
 * is on the disk, by link(2), which unlike rename(2) replaces nothing.
 */
#include "base/fsio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(int why)
{
	errno = why;
	return ERR_IO;
}

static int open_regular(const char *path, struct stat *ret_st, int *ret_fd)
{
	CLEANUP(fd_closep)
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a fifo must not block */

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
	if (fstat(fd, ret_st) < 0)
		return ERR_IO;
	if (!S_ISREG(ret_st->st_mode))
		return fail(EINVAL);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int fsio_pread_full(int fd, uint8_t *p, size_t n, size_t offset, size_t *ret_n)
{
	size_t done = 0;

	if (offset > INT64_MAX || n > INT64_MAX - offset)
		return fail(EOVERFLOW);
	while (done < n) {
		const ssize_t r = pread(fd, p + done, n - done, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return ERR_IO;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	*ret_n = done;
	return 0;
}

int fsio_pwrite_full(int fd, struct bytes content, size_t offset)
{
	if (offset > INT64_MAX || content.n > INT64_MAX - offset)
		return fail(EFBIG);
	while (content.n) {
		const ssize_t r = pwrite(fd, content.p, content.n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return ERR_IO;
		if (r == 0)
			return fail(EIO); /* not for a regular file; and it must not become a loop */
		content = bytes_sub(content, (size_t)r, SIZE_MAX);
		offset += (size_t)r;
	}
	return 0;
}

/* Up to the end of the file, whatever its size was said to be: /proc says 0, and files grow. */
static int read_all(int fd, size_t hint, struct buf *ret)
{
	size_t offset = 0, got = 0;
	uint8_t beyond;
	int r;

	do {
		const size_t left = ret->max - ret->n;
		size_t want = offset < hint ? hint - offset : 4096;
		uint8_t *room;

		if (left == 0) {
			r = fsio_pread_full(fd, &beyond, 1, offset, &got);
			return r < 0 ? r : got ? ERR_TOO_LARGE : 0;
		}
		if (want > left)
			want = left;
		room = buf_room(ret, want);
		if (!room)
			return buf_err(ret);
		r = fsio_pread_full(fd, room, want, offset, &got);
		if (r < 0)
			return r;
		buf_added(ret, got);
		offset += got;
	} while (got);
	return 0;
}

int fsio_read(const char *path, struct buf *ret)
{
	CLEANUP(fd_closep) int fd = -1;
	const size_t before = ret->n;
	struct stat st;
	int r;

	if (buf_err(ret))
		return buf_err(ret);
	r = open_regular(path, &st, &fd);
	if (r < 0)
		return r;
	r = (size_t)st.st_size > ret->max - ret->n ? ERR_TOO_LARGE : read_all(fd, (size_t)st.st_size, ret);
	if (r < 0)
		buf_cut(ret, before);
	return r;
}

static bool is_private(const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return false;
	if (st->st_mode & (S_IRWXO | S_IWGRP | S_IXGRP))
		return false;
	return !(st->st_mode & S_IRGRP) || st->st_gid == 0;
}

int fsio_read_secret(const char *path, size_t max, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *s = NULL;
	CLEANUP(fd_closep) int fd = -1;
	struct stat st;
	size_t size, n;
	int r;

	r = open_regular(path, &st, &fd);
	if (r < 0)
		return r;
	if (!is_private(&st))
		return ERR_FORBIDDEN;
	size = (size_t)st.st_size;
	if (size > max)
		return ERR_TOO_LARGE;
	r = secret_new(size + 1, &s); /* one more, to see that it ends there */
	if (r < 0)
		return r;
	r = fsio_pread_full(fd, secret_write(s), size + 1, 0, &n);
	if (r < 0)
		return r;
	if (n > size)
		return fail(EBUSY); /* somebody is writing it */
	secret_cut(s, n);
	*ret = TAKE(s);
	return 0;
}

/* The folder that holds @path, into @ret of PATH_MAX bytes. */
static int parent_of(const char *path, char *ret)
{
	const char *slash = strrchr(path, '/');
	const size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;

	if (n >= PATH_MAX)
		return fail(ENAMETOOLONG);
	memcpy(ret, n ? path : ".", n ? n : 1);
	ret[n ? n : 1] = '\0';
	return 0;
}

int fsio_sync_parent(const char *path)
{
	CLEANUP(fd_closep) int fd = -1;
	char folder[PATH_MAX];
	int r = parent_of(path, folder);

	if (r < 0)
		return r;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_IO;
	if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system that has nothing to sync there */
		return ERR_IO;
	return 0;
}

/* Not for what it would report: the failure before it is what counts. */
static void unlink_quietly(const char *path)
{
	const int why = errno;

	(void)unlink(path);
	errno = why;
}

/* @path ends in XXXXXX, which become a name that nobody else uses; nothing is left on failure. */
static int write_temporary(char *path, struct bytes content)
{
	CLEANUP(fd_closep) int fd = mkostemp(path, O_CLOEXEC); /* exclusively */
	int r;

	if (fd < 0)
		return ERR_IO;
	r = fsio_pwrite_full(fd, content, 0);
	if (r == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0)) /* 0600 whatever the umask */
		r = ERR_IO;
	if (r < 0)
		unlink_quietly(path);
	return r;
}

int fsio_open_unnamed(const char *path, int *ret_fd)
{
	CLEANUP(fd_closep) int fd = -1;
	char folder[PATH_MAX];
	int r = parent_of(path, folder);

	if (r < 0)
		return r;
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EOPNOTSUPP || errno == EISDIR ? ERR_NOT_FOUND : ERR_IO;
	if (fchmod(fd, 0600) < 0) /* whatever the umask */
		return ERR_IO;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int fsio_link_unnamed(int fd, const char *path)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* fits */
	if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno == EEXIST)
		return ERR_ALREADY_EXISTS;
	return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
}

/* Nothing of it has a name until it is complete: it may be a key. Return: as fsio_create(), and ERR_NOT_FOUND as above. */
static int create_nameless(const char *path, struct bytes content)
{
	CLEANUP(fd_closep) int fd = -1;
	int r = fsio_open_unnamed(path, &fd);

	if (r == 0)
		r = fsio_pwrite_full(fd, content, 0);
	if (r == 0 && fsync(fd) < 0)
		r = ERR_IO;
	return r < 0 ? r : fsio_link_unnamed(fd, path);
}

static int create_renamed(const char *path, struct bytes content)
{
	char temporary[PATH_MAX];
	const int n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
	int r;

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return fail(ENAMETOOLONG);
	r = write_temporary(temporary, content);
	if (r < 0)
		return r;
	if (link(temporary, path) < 0)
		r = errno == EEXIST ? ERR_ALREADY_EXISTS : ERR_IO;
	unlink_quietly(temporary);
	return r;
}

int fsio_create(const char *path, struct bytes content)
{
	int r = create_nameless(path, content);

	if (r == ERR_NOT_FOUND)
		r = create_renamed(path, content);
	if (r < 0)
		return r;
	r = fsio_sync_parent(path);
	if (r < 0)
		unlink_quietly(path);
	return r;
}
