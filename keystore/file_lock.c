#include "keystore/file_lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"

/* The process that holds the lock, as /proc/locks has it; 0 where that cannot be found out. */
static long lock_holder(int fd)
{
	CLEANUP(file_closep) FILE *f = fopen("/proc/locks", "re");
	char line[256], file[64];
	struct stat st;

	if (!f || fstat(fd, &st) < 0)
		return 0;
	(void)snprintf(file, sizeof(file), " %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev),
		       (unsigned long long)st.st_ino);
	while (fgets(line, sizeof(line), f)) { /* "1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF" */
		char *pid = strstr(line, file);

		if (!pid || !strstr(line, "FLOCK") || strstr(line, "->")) /* ->: one that waits */
			continue;
		while (pid > line && pid[-1] != ' ')
			pid--;
		return strtol(pid, NULL, 10);
	}
	return 0;
}

int file_lock(int fd, const char *what, const char *path, struct buf *why)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		long holder;

		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK) {
			buf_printf(why, "cannot lock %s %s: %m", what, path);
			return ERR_IO;
		}
		holder = lock_holder(fd);
		buf_printf(why, "%s %s is in use by another process", what, path);
		if (holder > 0)
			buf_printf(why, " (pid %ld)", holder);
		return ERR_BUSY;
	}
	return 0;
}
