#include "keystore/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int private_file_open(const char *path, int flags, const char *what, struct buf *why, int *ret_fd)
{
	CLEANUP(fd_closep) int fd = -1;
	struct stat st;

	/* O_NONBLOCK: a FIFO in the file's place must not make us wait; regular files do not know it */
	fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT)
			return ERR_NOT_FOUND;
		if (errno == ELOOP)
			buf_printf(why, "%s %s is a symbolic link: give the path of the file itself", what, path);
		else
			buf_printf(why, "cannot open %s %s: %m", what, path);
		return ERR_IO;
	}
	if (fstat(fd, &st) < 0) {
		buf_printf(why, "cannot look at %s %s: %m", what, path);
		return ERR_IO;
	}
	if (!S_ISREG(st.st_mode)) {
		buf_printf(why, "%s %s is not a regular file", what, path);
		return ERR_IO;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		buf_printf(why,
			   "%s %s belongs to uid %ld: it must belong to the daemon's user (uid %ld) or root; chown it",
			   what, path, (long)st.st_uid, (long)geteuid());
		return ERR_IO;
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		buf_printf(why, "%s %s can be accessed by others (mode %04o): chmod 600 %s", what, path,
			   (unsigned)(st.st_mode & 07777), path);
		return ERR_IO;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
