#include "tests/crash/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Bytes of a file whose sync failed: the kernel may have dropped them, and no later sync speaks of them (man 2 fsync). */
struct dropped {
	ino_t ino;
	off_t from, to;
};

static struct dropped dropped[16];
static char folder[PATH_MAX];

void disk_broken(const char *what, const char *path)
{
	(void)dprintf(STDERR_FILENO, "faults: cannot %s %s: %s\n", what, path, strerror(errno));
	for (;;)
		(void)syscall(SYS_kill, getpid(), SIGKILL);
}

static void disk_path(char ret[PATH_MAX], const char *part, const char *name)
{
	if (snprintf(ret, PATH_MAX, "%s.disk/%s%s", folder, part, name) >= PATH_MAX)
		disk_broken("keep", name);
}

static void content_path(char ret[PATH_MAX], ino_t ino)
{
	char number[32];

	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)ino);
	disk_path(ret, "inode/", number);
}

static int open_content(ino_t ino)
{
	char path[PATH_MAX];
	int fd;

	content_path(path, ino);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		disk_broken("open", path);
	return fd;
}

/* A file that was not there before: whatever bore its number is another one's content. */
void disk_born(ino_t ino)
{
	char path[PATH_MAX];

	content_path(path, ino);
	(void)syscall(SYS_unlinkat, AT_FDCWD, path, 0); /* mostly there is none */
	(void)syscall(SYS_close, open_content(ino));
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (dropped[i].ino == ino)
			dropped[i] = (struct dropped){ 0 };
}

static struct dropped *find_dropped(ino_t ino)
{
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		if (dropped[i].ino == ino)
			return &dropped[i];
	return NULL;
}

static size_t read_at(int fd, uint8_t *p, size_t n, off_t at)
{
	const ssize_t r = pread(fd, p, n, at);

	return r > 0 ? (size_t)r : 0;
}

/* What the kernel may have dropped is not what the disk has: it keeps what it had there, and zeros beyond. */
static void leave_out(const struct dropped *d, off_t at, uint8_t *p, const uint8_t *old, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (at + (off_t)i >= d->from && at + (off_t)i < d->to)
			p[i] = old[i];
}

/* In place and from the start, so that a kill from outside leaves what a disk may have in the middle of a sync, too. */
static void content_synced(int live, ino_t ino)
{
	static uint8_t p[65536], old[65536]; /* under the lock */
	const struct dropped *d = find_dropped(ino);
	const int kept = open_content(ino);
	off_t at = 0;
	size_t n, m;

	while ((n = read_at(live, p, sizeof(p), at))) {
		m = read_at(kept, old, n, at);
		memset(old + m, 0, n - m);
		if (d)
			leave_out(d, at, p, old, n);
		if ((m < n || memcmp(p, old, n) != 0) && syscall(SYS_pwrite64, kept, p, n, at) != (long)n)
			disk_broken("keep", "what was synced");
		at += (off_t)n;
	}
	if (syscall(SYS_ftruncate, kept, at) < 0)
		disk_broken("keep", "what was synced");
	(void)syscall(SYS_close, kept);
}

/* The daemon's descriptor may be for writing only. */
static int open_live(int fd)
{
	char self[64];
	int live;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	live = (int)syscall(SYS_openat, AT_FDCWD, self, O_RDONLY | O_CLOEXEC);
	if (live < 0)
		disk_broken("read", self);
	return live;
}

void disk_file_synced(int fd, ino_t ino)
{
	const int live = open_live(fd);

	content_synced(live, ino);
	(void)syscall(SYS_close, live);
}

void disk_sync_failed(int fd, ino_t ino)
{
	static uint8_t a[65536], b[65536]; /* under the lock */
	const int live = open_live(fd), kept = open_content(ino);
	struct dropped *d = find_dropped(ino);
	struct stat st;
	off_t at = 0;
	size_t n, m, same;

	do { /* up to where the two differ */
		n = read_at(live, a, sizeof(a), at);
		m = read_at(kept, b, sizeof(b), at);
		for (same = 0; same < n && same < m && a[same] == b[same]; same++)
			;
		at += (off_t)same;
	} while (same && same == n && same == m);
	if (!d)
		d = find_dropped(0);
	if (d && fstat(live, &st) == 0 && at < st.st_size)
		*d = (struct dropped){ .ino = ino, .from = d->ino && d->from < at ? d->from : at, .to = st.st_size };
	(void)syscall(SYS_close, live);
	(void)syscall(SYS_close, kept);
}

/* Bytes that are written anew, or cut off, are no longer the dropped ones. */
void disk_rewritten(ino_t ino, off_t from, off_t to)
{
	struct dropped *d = find_dropped(ino);

	if (!d)
		return;
	if (from <= d->from && to > d->from)
		d->from = to;
	else if (from < d->to && to >= d->to)
		d->to = from;
	if (d->from >= d->to)
		*d = (struct dropped){ 0 };
}

static bool same_file(const char *a, const char *b)
{
	struct stat one, other;

	return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_ino == other.st_ino;
}

static void each_name(const char *path, void (*fn)(const char *name, const char *path))
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	char full[PATH_MAX];

	if (!dir)
		disk_broken("read", path);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(full, sizeof(full), "%s/%s", path, entry->d_name) < (int)sizeof(full))
			fn(entry->d_name, full);
	}
	(void)closedir(dir);
}

/* Each durable name changes by rename(2), so that it always has one content or the other. */
static void keep_name(const char *name, const char *path)
{
	char content[PATH_MAX], kept[PATH_MAX], next[PATH_MAX];
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	(void)syscall(SYS_close, open_content(st.st_ino)); /* one that was never synced is empty there */
	content_path(content, st.st_ino);
	disk_path(kept, "names/", name);
	disk_path(next, "next", "");
	if (same_file(content, kept))
		return;
	(void)syscall(SYS_unlinkat, AT_FDCWD, next, 0);
	if (syscall(SYS_linkat, AT_FDCWD, content, AT_FDCWD, next, 0) < 0 ||
	    syscall(SYS_renameat2, AT_FDCWD, next, AT_FDCWD, kept, 0) < 0)
		disk_broken("keep", kept);
}

static void drop_name(const char *name, const char *path)
{
	char live[PATH_MAX];
	struct stat st;

	if (snprintf(live, sizeof(live), "%s/%s", folder, name) < (int)sizeof(live) && lstat(live, &st) < 0)
		(void)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

void disk_folder_synced(void)
{
	char names[PATH_MAX];

	disk_path(names, "names", "");
	each_name(folder, keep_name);
	each_name(names, drop_name);
}

static void keep_content(const char *name, const char *path)
{
	const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	(void)name;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		content_synced(fd, st.st_ino);
	if (fd >= 0)
		(void)syscall(SYS_close, fd);
}

void disk_init(const char *path_of_folder)
{
	char path[PATH_MAX];

	(void)snprintf(folder, sizeof(folder), "%s", path_of_folder); /* has room for what is added to it */
	disk_path(path, "", "");
	if (mkdir(path, 0700) < 0) {
		if (errno != EEXIST)
			disk_broken("make", path);
		return;
	}
	disk_path(path, "inode", "");
	if (mkdir(path, 0700) < 0)
		disk_broken("make", path);
	disk_path(path, "names", "");
	if (mkdir(path, 0700) < 0)
		disk_broken("make", path);
	each_name(folder, keep_content);
	disk_folder_synced();
}
