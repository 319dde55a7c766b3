/*
 * faults - a disk that fails, and a machine that goes down, at a chosen call; for the crash test only
 *
 * Preloaded into the daemon, this stands before every call that changes the files of one folder (E2EED_FAULTS, an absolute path
 * without links), counts it, and acts on the n-th as the test has planned: it kills the process before the call, after it or half
 * through a write, or lets the call fail. What is not below the folder passes untouched. The plan is in FOLDER.faults, struct control,
 * mapped: the test writes it while the daemon runs, and reads what was counted. It is a file, so it survives both the daemon's exec of
 * itself and its end. disk.c keeps what a loss of power would leave.
 *
 * One lock is held over each call, so that a kill finds no other call half done. Real calls are made by syscall(2): no library function
 * may lead back here.
 */
#include "tests/crash/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The numbers of kinds, actions and flags, and the layout of struct control, are known to faults.mjs too. */
enum kind {
	KIND_WRITE,
	KIND_FSYNC,
	KIND_FDATASYNC,
	KIND_FOLDER, /* fsync of the folder */
	KIND_RENAME,
	KIND_LINK,
	KIND_UNLINK,
	KIND_TRUNCATE,
	KIND_CREATE,
	KIND_ALLOCATE,
	KIND_NR,
};

enum action {
	ACTION_KILL_BEFORE = 1,
	ACTION_KILL_HALF, /* through a write; before any other call */
	ACTION_KILL_AFTER,
	ACTION_FAIL,
};

#define FLAG_ONWARD   1u /* calls of these kinds keep failing */
#define FLAG_SHORT    2u /* a write is cut short first, and the next one fails */
#define STAGES_MAX    4
#define NAME_SHOWN    64
#define CONTROL_BYTES 4096

struct stage {
	uint32_t kinds; /* bits: the calls that count */
	uint32_t nth;	/* from 1 */
	uint32_t action;
	uint32_t err;
	uint32_t flags;
};

struct control {
	/* written by the test; the generation is 0 while it writes, and another one each time */
	_Atomic uint32_t generation;
	uint32_t n_stages;
	struct stage stages[STAGES_MAX]; /* one after the other */
	/* written here */
	uint32_t followed; /* generation that the progress belongs to */
	uint32_t stage;	   /* stages that are over */
	uint32_t n;	   /* calls of the present stage's kinds */
	uint32_t shortened;
	uint32_t onward_kinds, onward_err;
	uint32_t fired_kind;
	char fired_name[NAME_SHOWN];
	uint32_t seen[KIND_NR]; /* since the file was made */
	_Atomic uint32_t busy;	/* a call is under way, which may still follow a plan that was withdrawn */
};

_Static_assert(sizeof(struct stage) == 20 && offsetof(struct control, stages) == 8 &&
		       offsetof(struct control, followed) == 88 && offsetof(struct control, seen) == 180 &&
		       offsetof(struct control, busy) == 220,
	       "where faults.mjs reads and writes");

enum verdict { GO, DIE_HALF, DIE_AFTER, HALF, REFUSE };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct control *control; /* NULL: nothing is watched */
static char folder[PATH_MAX];
static size_t folder_n;
static dev_t folder_dev;
static ino_t folder_ino;
static int refusal; /* errno of the call that is refused */

static void die(void)
{
	for (;;) {
		(void)syscall(SYS_kill, getpid(), SIGKILL);
		(void)pause();
	}
}

/* ---- the plan ---- */

static bool read_plan(uint32_t generation, uint32_t stage, struct stage *ret)
{
	bool there = generation && stage < control->n_stages && stage < STAGES_MAX;

	if (there)
		*ret = control->stages[stage];
	atomic_thread_fence(memory_order_acquire);
	return there && atomic_load(&control->generation) == generation;
}

static void note_fired(enum kind kind, const char *name)
{
	control->fired_kind = kind;
	(void)snprintf(control->fired_name, NAME_SHOWN, "%s", name);
	control->stage++;
	control->n = 0;
	control->shortened = 0;
}

/* What is to happen at this call. */
static enum verdict judge(enum kind kind, const char *name)
{
	const uint32_t generation = atomic_load(&control->generation), bit = 1u << kind;
	struct stage s;

	control->seen[kind]++;
	if (control->followed != generation) {
		control->followed = generation;
		control->stage = control->n = control->shortened = control->onward_kinds = 0;
	}
	if (read_plan(generation, control->stage, &s) && s.kinds & bit && ++control->n >= s.nth) {
		if (s.action == ACTION_FAIL && s.flags & FLAG_SHORT && kind == KIND_WRITE && !control->shortened) {
			control->shortened = 1;
			return HALF;
		}
		note_fired(kind, name);
		switch (s.action) {
		case ACTION_KILL_HALF:
			if (kind == KIND_WRITE)
				return DIE_HALF;
			die();
			break;
		case ACTION_KILL_AFTER:
			return DIE_AFTER;
		case ACTION_FAIL:
			if (s.flags & FLAG_ONWARD) {
				control->onward_kinds = s.kinds;
				control->onward_err = s.err;
			}
			refusal = (int)s.err;
			return REFUSE;
		default:
			die();
		}
	}
	if (control->onward_kinds & bit) {
		refusal = (int)control->onward_err;
		return REFUSE;
	}
	return GO;
}

/* With the lock from here to leave(). */
static enum verdict enter(enum kind kind, const char *name)
{
	(void)pthread_mutex_lock(&lock);
	atomic_store(&control->busy, 1);
	return judge(kind, name);
}

static void leave(enum verdict verdict)
{
	const int why = verdict == REFUSE ? refusal : errno;

	if (verdict == DIE_AFTER || verdict == DIE_HALF)
		die();
	atomic_store(&control->busy, 0);
	(void)pthread_mutex_unlock(&lock);
	errno = why;
}

/* ---- what is watched ---- */

static bool below(const char *path, bool itself)
{
	if (strncmp(path, folder, folder_n) != 0)
		return false;
	return path[folder_n] == '/' || (itself && path[folder_n] == '\0');
}

static bool path_of_fd(int fd, char ret[PATH_MAX])
{
	char self[64];
	ssize_t n;

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, ret, PATH_MAX - 1);
	ret[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* Is it a file of the folder, or the folder? Nothing but an fstat() for the sockets and pipes, which are most. */
static bool watched_fd(int fd, struct stat *st, char ret[PATH_MAX])
{
	const int why = errno;
	bool yes = control && fstat(fd, st) == 0 && st->st_dev == folder_dev &&
		   (S_ISREG(st->st_mode) || st->st_ino == folder_ino) && path_of_fd(fd, ret) && below(ret, true);

	errno = why;
	return yes;
}

static bool watched_path(int at, const char *path, bool itself, char ret[PATH_MAX])
{
	const int why = errno;
	bool yes = false;

	if (!control) {
		yes = false;
	} else if (path[0] == '/') {
		yes = snprintf(ret, PATH_MAX, "%s", path) < PATH_MAX && below(ret, itself);
	} else if (at == AT_FDCWD ? getcwd(ret, PATH_MAX) != NULL : path_of_fd(at, ret)) {
		const size_t n = strlen(ret);

		yes = snprintf(ret + n, PATH_MAX - n, "/%s", path) < (int)(PATH_MAX - n) && below(ret, itself);
	}
	errno = why;
	return yes;
}

static const char *name_of(const char *path)
{
	return path[folder_n] ? path + folder_n + 1 : ".";
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("E2EED_FAULTS");
	char name[PATH_MAX];
	struct stat st;
	void *map;
	int fd;

	if (!path)
		return;
	folder_n = strlen(path);
	if (folder_n > sizeof(folder) - 64 || stat(path, &st) < 0)
		disk_broken("watch", path);
	memcpy(folder, path, folder_n);
	folder_dev = st.st_dev;
	folder_ino = st.st_ino;
	if (snprintf(name, sizeof(name), "%s.faults", folder) >= (int)sizeof(name))
		disk_broken("watch", path);
	fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC);
	map = fd < 0 ? MAP_FAILED : mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		disk_broken("map", name);
	(void)syscall(SYS_close, fd);
	disk_init(folder);
	control = map;
	atomic_store(&control->busy, 0); /* a kill leaves it behind */
}

/* ---- writes ---- */

static size_t bytes_in(const struct iovec *iov, int n_iov)
{
	size_t n = 0;

	for (int i = 0; i < n_iov; i++)
		n += iov[i].iov_len;
	return n;
}

/* @at -1: where the file stands */
static ssize_t real_write(int fd, const struct iovec *iov, int n_iov, off_t at)
{
	if (at < 0)
		return syscall(SYS_writev, fd, iov, n_iov);
	return syscall(SYS_pwritev, fd, iov, n_iov, at, 0);
}

static ssize_t write_half(int fd, const struct iovec *iov, int n_iov, off_t at)
{
	static struct iovec cut[IOV_MAX]; /* under the lock */
	size_t left = bytes_in(iov, n_iov) / 2;
	int n = 0;

	for (; n < n_iov && n < IOV_MAX && left; n++) {
		cut[n] = iov[n];
		if (cut[n].iov_len > left)
			cut[n].iov_len = left;
		left -= cut[n].iov_len;
	}
	return real_write(fd, cut, n, at);
}

static ssize_t watched_write(int fd, const struct iovec *iov, int n_iov, off_t at)
{
	char path[PATH_MAX];
	struct stat st;
	enum verdict verdict;
	ssize_t r = -1;
	off_t from;

	if (!watched_fd(fd, &st, path))
		return real_write(fd, iov, n_iov, at);
	verdict = enter(KIND_WRITE, name_of(path));
	from = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
	if (verdict == HALF || verdict == DIE_HALF)
		r = write_half(fd, iov, n_iov, at);
	else if (verdict != REFUSE)
		r = real_write(fd, iov, n_iov, at);
	if (r > 0)
		disk_rewritten(st.st_ino, from, from + r);
	leave(verdict);
	return r;
}

ssize_t write(int fd, const void *p, size_t n)
{
	const struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };

	return watched_write(fd, &iov, 1, -1);
}

ssize_t writev(int fd, const struct iovec *iov, int n_iov)
{
	return watched_write(fd, iov, n_iov, -1);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	const struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };

	return watched_write(fd, &iov, 1, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	return pwrite(fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n_iov, off_t at)
{
	return watched_write(fd, iov, n_iov, at);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n_iov, off64_t at)
{
	return watched_write(fd, iov, n_iov, at);
}

/* ---- syncs and sizes ---- */

static int watched_sync(int fd, long call, enum kind kind)
{
	char path[PATH_MAX];
	struct stat st;
	enum verdict verdict;
	int r = -1;

	if (!watched_fd(fd, &st, path))
		return (int)syscall(call, fd);
	verdict = enter(S_ISDIR(st.st_mode) ? KIND_FOLDER : kind, name_of(path));
	if (verdict != REFUSE)
		r = (int)syscall(call, fd);
	else if (S_ISREG(st.st_mode))
		disk_sync_failed(fd, st.st_ino);
	if (r == 0 && S_ISDIR(st.st_mode))
		disk_folder_synced();
	else if (r == 0)
		disk_file_synced(fd, st.st_ino);
	leave(verdict);
	return r;
}

int fsync(int fd)
{
	return watched_sync(fd, SYS_fsync, KIND_FSYNC);
}

int fdatasync(int fd)
{
	return watched_sync(fd, SYS_fdatasync, KIND_FDATASYNC);
}

int ftruncate(int fd, off_t size)
{
	char path[PATH_MAX];
	struct stat st;
	enum verdict verdict;
	int r = -1;

	if (!watched_fd(fd, &st, path))
		return (int)syscall(SYS_ftruncate, fd, size);
	verdict = enter(KIND_TRUNCATE, name_of(path));
	if (verdict != REFUSE)
		r = (int)syscall(SYS_ftruncate, fd, size);
	if (r == 0)
		disk_rewritten(st.st_ino, size, INT64_MAX);
	leave(verdict);
	return r;
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	char path[PATH_MAX];
	struct stat st;
	enum verdict verdict;
	int r = -1;

	if (!watched_fd(fd, &st, path))
		return (int)syscall(SYS_fallocate, fd, mode, at, n);
	verdict = enter(KIND_ALLOCATE, name_of(path));
	if (verdict != REFUSE)
		r = (int)syscall(SYS_fallocate, fd, mode, at, n);
	leave(verdict);
	return r;
}

int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
	return fallocate(fd, mode, at, n);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
	const int why = errno;
	const int r = fallocate(fd, 0, at, n) < 0 ? errno : 0;

	errno = why;
	return r;
}

int posix_fallocate64(int fd, off64_t at, off64_t n)
{
	return posix_fallocate(fd, at, n);
}

/* ---- names ---- */

static int watched_open(int at, const char *path, int flags, mode_t mode)
{
	const bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
	char full[PATH_MAX];
	enum verdict verdict;
	struct stat st;
	bool is_new;
	int fd = -1;

	if (!(flags & O_CREAT || nameless) || !watched_path(at, path, nameless, full))
		return (int)syscall(SYS_openat, at, path, flags, mode);
	verdict = enter(KIND_CREATE, name_of(full));
	is_new = nameless || lstat(full, &st) < 0;
	if (verdict != REFUSE)
		fd = (int)syscall(SYS_openat, at, path, flags, mode);
	if (fd >= 0 && is_new && fstat(fd, &st) == 0)
		disk_born(st.st_ino);
	leave(verdict);
	return fd;
}

static bool makes_file(int flags)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

/* The mode is there for those that make a file. */
#define MODE_OF(flags, ret)                                          \
	do {                                                         \
		va_list ap;                                          \
                                                                     \
		va_start(ap, flags);                                 \
		*(ret) = makes_file(flags) ? va_arg(ap, mode_t) : 0; \
		va_end(ap);                                          \
	} while (0)

int open(const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, &mode);
	return watched_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, &mode);
	return watched_open(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, &mode);
	return watched_open(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
	mode_t mode;

	MODE_OF(flags, &mode);
	return watched_open(at, path, flags, mode);
}

/* The library's own would open without coming by here. */
int mkostemp(char *path, int flags)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz012345";
	const size_t n = strlen(path);
	uint8_t random[6];
	int fd = -1;

	if (n < sizeof(random)) {
		errno = EINVAL;
		return -1;
	}
	do {
		if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
			return -1;
		for (size_t i = 0; i < sizeof(random); i++)
			path[n - sizeof(random) + i] = digits[random[i] % 32];
		fd = watched_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
	} while (fd < 0 && errno == EEXIST);
	return fd;
}

int mkostemp64(char *path, int flags)
{
	return mkostemp(path, flags);
}

int mkstemp(char *path)
{
	return mkostemp(path, 0);
}

int mkstemp64(char *path)
{
	return mkostemp(path, 0);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
	char full[PATH_MAX];
	enum verdict verdict;
	int r = -1;

	if (!watched_path(to_at, to, false, full) && !watched_path(from_at, from, false, full))
		return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
	verdict = enter(KIND_RENAME, name_of(full));
	if (verdict != REFUSE)
		r = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
	leave(verdict);
	return r;
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
	return renameat2(from_at, from, to_at, to, 0);
}

int rename(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
	char full[PATH_MAX];
	enum verdict verdict;
	int r = -1;

	if (!watched_path(to_at, to, false, full))
		return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
	verdict = enter(KIND_LINK, name_of(full));
	if (verdict != REFUSE)
		r = (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
	leave(verdict);
	return r;
}

int link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int at, const char *path, int flags)
{
	char full[PATH_MAX];
	enum verdict verdict;
	int r = -1;

	if (!watched_path(at, path, false, full))
		return (int)syscall(SYS_unlinkat, at, path, flags);
	verdict = enter(KIND_UNLINK, name_of(full));
	if (verdict != REFUSE)
		r = (int)syscall(SYS_unlinkat, at, path, flags);
	leave(verdict);
	return r;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}
