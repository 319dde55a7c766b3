/*
 * log_copy - reading the file again, and backups of it
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fsio.h"
#include "keystore/log_private.h"
#include "keystore/private_file.h"

#define CHUNK ((size_t)256 << 10)

/* Is what @fd holds up to @upto the log that we have, to the last record? */
static int check_fd(const struct sealed_log *log, int fd, const char *path, const struct log_cursor *upto,
		    struct buf *why)
{
	CLEANUP(buf_fini) struct buf raw = BUF_INIT(LOG_HEADER_MAX);
	struct log_walk walk = { .fd = fd, .path = path, .cipher = &log->cipher, .size = upto->end };
	struct log_header header;
	struct stat st = { 0 };
	int r = log_read_header(fd, &raw);

	if (r == 0 && fstat(fd, &st) < 0)
		r = ERR_IO;
	if (r == ERR_IO)
		buf_printf(why, "cannot read keystore %s: %m", path);
	if (r == 0)
		r = log_header_parse(buf_bytes(&raw), path, why, &header);
	if (r < 0)
		return r;
	r = log_header_check(&header, buf_bytes(&raw), log->dek);
	if (r == ERR_DAMAGED)
		buf_printf(why, "keystore %s: the header does not authenticate", path);
	if (r < 0)
		return r;
	walk.at = log_cursor_start(&header);
	if ((uint64_t)st.st_size < upto->end) {
		buf_printf(why, "keystore %s has %llu bytes, and %llu have been written", path,
			   (unsigned long long)st.st_size, (unsigned long long)upto->end);
		return ERR_DAMAGED;
	}
	r = log_walk(&walk, why);
	if (r == 1 || (r == 0 && (walk.at.n != upto->n || walk.at.end != upto->end))) {
		buf_printf(why, "keystore %s: record %llu at offset %llu is cut short", path,
			   (unsigned long long)walk.at.n + 1, (unsigned long long)walk.at.end);
		r = ERR_DAMAGED;
	}
	return r;
}

int sealed_log_verify(const struct sealed_log *log, const struct log_cursor *upto, struct buf *why)
{
	CLEANUP(fd_closep) int fd = -1;
	int r = private_file_open(log->path, O_RDONLY, "keystore", why, &fd);

	if (r == ERR_NOT_FOUND) {
		buf_printf(why, "keystore %s has lost its name: somebody moved or removed it", log->path);
		return ERR_DAMAGED;
	}
	return r < 0 ? r : check_fd(log, fd, log->path, upto, why);
}

int sealed_log_read(const struct sealed_log *log, const struct log_cursor *from, const struct log_cursor *upto,
		    sealed_log_replay_fn fn, void *arg, struct buf *why)
{
	struct log_walk walk = { .fd = log->fd,
				 .path = log->path,
				 .cipher = &log->cipher,
				 .at = *from,
				 .size = upto->end,
				 .replay = fn,
				 .arg = arg };
	int r = log_walk(&walk, why);

	if (r != 1)
		return r;
	buf_printf(why, "keystore %s: record %llu at offset %llu is cut short", log->path,
		   (unsigned long long)walk.at.n + 1, (unsigned long long)walk.at.end);
	return ERR_DAMAGED;
}

static int copy_bytes(int from, int to, uint64_t n)
{
	CLEANUP(buf_fini) struct buf chunk = BUF_INIT(CHUNK);
	uint8_t *p = buf_room(&chunk, CHUNK);

	if (!p)
		return ERR_NOMEM;
	for (uint64_t at = 0; at < n;) {
		size_t want = n - at < CHUNK ? (size_t)(n - at) : CHUNK, got = 0;
		int r = fsio_pread_full(from, p, want, at, &got);

		if (r == 0 && got < want) {
			errno = EIO;
			r = ERR_IO;
		}
		if (r == 0)
			r = fsio_pwrite_full(to, BYTES(p, got), at);
		if (r < 0)
			return r;
		at += got;
	}
	return fsync(to) < 0 ? ERR_IO : 0;
}

static int fill(const struct sealed_log *log, int fd, const char *path, const struct log_cursor *upto, struct buf *why)
{
	int r = copy_bytes(log->fd, fd, upto->end);

	if (r == ERR_IO)
		buf_printf(why, "cannot write backup %s: %m", path);
	if (r == 0)
		r = check_fd(log, fd, path, upto, why);
	return r;
}

/* Where files cannot go without a name: a crash leaves PATH.partial behind, which the next backup there takes away. */
static int open_partial(const char *path, char name[PATH_MAX], int *ret_fd)
{
	int n = snprintf(name, PATH_MAX, "%s.partial", path);

	if (n < 0 || n >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return ERR_IO;
	}
	(void)unlink(name); /* open() tells if that did not help */
	*ret_fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return *ret_fd < 0 ? ERR_IO : 0;
}

int sealed_log_copy(const struct sealed_log *log, const struct log_cursor *upto, const char *path, struct buf *why)
{
	CLEANUP(fd_closep) int fd = -1;
	char partial[PATH_MAX] = "";
	int r;

	if (access(path, F_OK) == 0)
		return ERR_ALREADY_EXISTS; /* before the work; linking decides */
	r = fsio_open_unnamed(path, &fd);
	if (r == ERR_NOT_FOUND)
		r = open_partial(path, partial, &fd);
	if (r == ERR_IO)
		buf_printf(why, "cannot make backup %s: %m", path);
	if (r == 0)
		r = fill(log, fd, path, upto, why);
	if (r == 0) {
		if (!partial[0])
			r = fsio_link_unnamed(fd, path);
		else if (link(partial, path) < 0)
			r = errno == EEXIST ? ERR_ALREADY_EXISTS : ERR_IO;
		if (r < 0 && r != ERR_ALREADY_EXISTS)
			buf_printf(why, "cannot make backup %s: %m", path);
	}
	if (partial[0])
		(void)unlink(partial); /* of no use by that name any more, or not at all */
	if (r == 0 && fsio_sync_parent(path) < 0) {
		buf_printf(why, "cannot sync the folder of backup %s: %m", path);
		(void)unlink(path); /* it may not last */
		r = ERR_STORAGE;
	}
	return r == 0 || r == ERR_NOMEM || r == ERR_ALREADY_EXISTS ? r : ERR_STORAGE;
}
