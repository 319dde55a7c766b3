/*
 * tmpdir - a folder of the test's own, and whole files in it
 *
 * Anything that goes wrong here ends the program: a test that cannot set up its files has nothing to say.
 */
#ifndef E2EED_TESTS_TMPDIR_H
#define E2EED_TESTS_TMPDIR_H

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define TMPDIR_PATH 256

struct tmpdir {
	char path[TMPDIR_PATH / 2];
};

static inline void tmpdir_need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("Bail out! %s: %m\n", what);
	exit(1);
}

static inline void tmpdir_make(struct tmpdir *d)
{
	const char *base = getenv("TMPDIR");

	tmpdir_need(snprintf(d->path, sizeof(d->path), "%s/e2eed-test.XXXXXX", base ? base : "/tmp") <
			    (int)sizeof(d->path),
		    "TMPDIR is too long");
	tmpdir_need(mkdtemp(d->path) != NULL, d->path);
}

static inline void tmpdir_file(const struct tmpdir *d, const char *name, char ret[TMPDIR_PATH])
{
	tmpdir_need(snprintf(ret, TMPDIR_PATH, "%s/%s", d->path, name) < TMPDIR_PATH, "name is too long");
}

static inline int tmpdir_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void tmpdir_remove(const struct tmpdir *d)
{
	tmpdir_need(nftw(d->path, tmpdir_remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0, d->path);
}

/* the whole file; free() its p */
static inline struct bytes tmpdir_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;

	tmpdir_need(fd >= 0 && fstat(fd, &st) == 0, path);
	p = malloc((size_t)st.st_size + 1);
	tmpdir_need(p && read(fd, p, (size_t)st.st_size) == st.st_size, path);
	(void)close(fd);
	return BYTES(p, (size_t)st.st_size);
}

/* exactly this content, mode 0600 if it is new */
static inline void tmpdir_write(const char *path, struct bytes content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	tmpdir_need(fd >= 0 && write(fd, content.p, content.n) == (ssize_t)content.n && close(fd) == 0, path);
}

static inline void tmpdir_free(struct bytes content)
{
	free((void *)(uintptr_t)content.p);
}

#endif
