/*
 * audit_verify - an audit log checked from outside: no lock, no change, any owner
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "keystore/audit.h"
#include "keystore/audit_walk.h"

static int open_log(const char *path, struct buf *why, int *ret_fd, uint64_t *ret_size)
{
	CLEANUP(fd_closep) int fd = -1;
	struct stat st;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not make us wait */
	if (fd < 0) {
		const int err = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;

		buf_printf(why, "cannot open audit log %s: %m", path);
		return err;
	}
	if (fstat(fd, &st) < 0) {
		buf_printf(why, "cannot look at audit log %s: %m", path);
		return ERR_IO;
	}
	if (!S_ISREG(st.st_mode)) {
		buf_printf(why, "audit log %s is not a regular file", path);
		return ERR_IO;
	}
	*ret_size = (uint64_t)st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int audit_verify(const char *path, const struct secret *key, audit_line_fn fn, void *arg, struct buf *why,
		 struct audit_info *ret)
{
	CLEANUP(audit_walk_fini) struct audit_walk w = { 0 };
	CLEANUP(fd_closep) int fd = -1;
	const struct audit_place start = { 0 };
	struct bytes line;
	uint64_t size;
	int r;

	assert(secret_len(key) == AUDIT_KEY_SIZE);
	r = open_log(path, why, &fd, &size);
	if (r < 0)
		return r;
	r = audit_walk_begin(&w, fd, key, 0, &start, size);
	while (r >= 0 && (r = audit_walk_next(&w, &line)) == 1) {
		const int stop = fn ? fn(arg, line) : 0;

		if (stop < 0)
			return stop;
	}
	if (r < 0)
		return audit_walk_explain(&w, path, r, why);
	*ret = (struct audit_info){
		.path = path,
		.n = w.place.n,
		.generation = w.place.generation,
		.seq = w.place.seq,
		.bytes = w.at,
		.torn = size - w.at,
	};
	memcpy(ret->mac, w.place.mac, AUDIT_MAC_SIZE);
	return 0;
}
