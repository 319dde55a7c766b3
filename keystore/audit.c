#include "keystore/audit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fsio.h"
#include "keystore/audit_index.h"
#include "keystore/audit_line.h"
#include "keystore/audit_walk.h"
#include "keystore/file_lock.h"
#include "keystore/private_file.h"

struct audit {
	int fd;
	char *path;	    /* owned */
	struct secret *key; /* owned */
	bool created;
	uint64_t torn;
	dev_t dev;
	ino_t ino;

	pthread_mutex_t lock; /* over all below; not held while a sync is waited for */
	pthread_cond_t synced_more;
	struct buf line;	  /* the one being written */
	struct audit_place place; /* of the newest entry */
	uint64_t end;		  /* where the next one goes */
	uint64_t synced;	  /* so far it is on the disk */
	uint64_t reserved;	  /* so far there is room; UINT64_MAX: the file system cannot reserve */
	uint64_t min_generation;  /* what entries of this opening have stated */
	uint64_t min_seq;
	bool syncing; /* a thread is in fdatasync() */
	bool failed;
	bool dirty; /* what could not be cut off may stand behind the end */
	uint64_t lost;
	const char *problem;
	int last_errno;

	struct audit_index index;
};

DEFINE_FREEP(struct audit *, audit_closep, audit_close)

static void unlockp(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex);
}

static void lock(pthread_mutex_t *mutex)
{
	int r = pthread_mutex_lock(mutex);

	assert(r == 0); /* fails only for mistakes of ours */
	(void)r;
}

/* Hold the log's lock until the end of the block. */
#define LOCKED(audit_)                                                    \
	CLEANUP(unlockp) pthread_mutex_t *locked_mutex = &(audit_)->lock; \
	lock(locked_mutex)

static void go_on(struct audit *a, const struct audit_place *place, uint64_t end)
{
	a->place = *place;
	a->end = end;
	audit_index_note(&a->index, place, end);
}

static int walk_from(const struct audit *a, const struct audit_mark *mark, struct audit_walk *w)
{
	return audit_walk_begin(w, a->fd, a->key, mark->offset, &mark->place, a->end);
}

/* ---- opening ---- */

static int make_file(const char *path, struct buf *why, bool *ret_created)
{
	int r = fsio_create(path, BYTES_NONE);

	if (r == ERR_ALREADY_EXISTS) /* another process was faster: its file is opened, or busy */
		return 0;
	if (r == ERR_IO)
		buf_printf(
			why,
			"cannot make audit log %s: %m; its folder must exist, and the daemon must be able to write to it",
			path);
	if (r == 0)
		*ret_created = true;
	return r;
}

static int open_locked(struct audit *a, struct buf *why)
{
	struct stat st, named;
	int r;

	errno = 0; /* not every refusal sets it */
	r = private_file_open(a->path, O_RDWR, "audit log", why, &a->fd);
	if (r == ERR_NOT_FOUND) {
		r = make_file(a->path, why, &a->created);
		if (r < 0)
			return r;
		r = private_file_open(a->path, O_RDWR, "audit log", why, &a->fd);
		if (r == ERR_NOT_FOUND) {
			buf_printf(why, "audit log %s vanished while it was opened", a->path);
			return ERR_IO;
		}
	}
	if (r == ERR_IO && errno == EROFS)
		buf_put_str(why, "; the log must lie where the daemon can write");
	if (r < 0)
		return r;
	r = file_lock(a->fd, "audit log", a->path, why);
	if (r < 0)
		return r;
	if (fstat(a->fd, &st) < 0) {
		buf_printf(why, "cannot look at audit log %s: %m", a->path);
		return ERR_IO;
	}
	a->dev = st.st_dev;
	a->ino = st.st_ino;
	if (lstat(a->path, &named) < 0 || named.st_dev != a->dev || named.st_ino != a->ino) {
		buf_printf(why, "audit log %s was moved away while it was opened", a->path);
		return ERR_BUSY;
	}
	a->end = (uint64_t)st.st_size;
	return 0;
}

/* Verify all there is, and cut off a torn tail. */
static int read_chain(struct audit *a, struct buf *why)
{
	CLEANUP(audit_walk_fini) struct audit_walk w = { 0 };
	const uint64_t size = a->end;
	struct audit_place place = { 0 };
	struct bytes line;
	int r;

	go_on(a, &place, 0);
	r = audit_walk_begin(&w, a->fd, a->key, 0, &place, size);
	while (r >= 0 && (r = audit_walk_next(&w, &line)) == 1)
		go_on(a, &w.place, w.at);
	if (r < 0)
		return audit_walk_explain(&w, a->path, r, why);
	if (a->end == size)
		return 0;
	if (ftruncate(a->fd, (off_t)a->end) < 0) {
		buf_printf(why, "cannot cut the torn last line off audit log %s: %m", a->path);
		return ERR_IO;
	}
	a->torn = size - a->end;
	return 0;
}

/* Both syncs are of what a former process may not have got as far as. */
static int sync_all(struct audit *a, struct buf *why)
{
	if (fsync(a->fd) < 0 || fsio_sync_parent(a->path) < 0) {
		buf_printf(why, "cannot bring audit log %s to the disk: %m", a->path);
		return ERR_IO;
	}
	a->synced = a->end;
	a->reserved = a->end;
	return 0;
}

int audit_open(const char *path, const struct secret *key, struct buf *why, struct audit **ret)
{
	CLEANUP(audit_closep) struct audit *a = NULL;
	int r;

	assert(secret_len(key) == AUDIT_KEY_SIZE);
	a = calloc(1, sizeof(*a));
	if (!a)
		return ERR_NOMEM;
	a->fd = -1;
	a->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	a->synced_more = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	a->line = BUF_INIT(AUDIT_MAX_LINE);
	a->path = strdup(path);
	if (!a->path)
		return ERR_NOMEM;
	r = secret_dup(secret_bytes(key), &a->key);
	if (r < 0)
		return r;
	r = open_locked(a, why);
	if (r < 0)
		return r;
	r = read_chain(a, why);
	if (r < 0)
		return r;
	r = sync_all(a, why);
	if (r < 0)
		return r;
	*ret = TAKE(a);
	return 0;
}

/* ---- appending ---- */

/* @err: errno, or 0 where the system has no say */
static int has_problem(struct audit *a, const char *problem, int err)
{
	a->problem = problem;
	a->last_errno = err;
	return ERR_STORAGE;
}

static int has_failed(struct audit *a, const char *problem, int err)
{
	a->failed = true;
	return has_problem(a, problem, err);
}

/* Is the file as we left it? Writing into one that was cut by others would leave a hole, and into one that grew, destroy evidence. */
static int check_size(struct audit *a)
{
	struct stat st;

	if (fstat(a->fd, &st) < 0)
		return has_failed(a, "cannot be looked at: see to its disk", errno);
	if ((uint64_t)st.st_size == a->end || (a->dirty && (uint64_t)st.st_size > a->end))
		return 0;
	return has_failed(a, "was changed by another program: a restart verifies it and names the damage", 0);
}

/* Drop what stands behind the end. */
static int cut(struct audit *a)
{
	a->dirty = true;
	if (ftruncate(a->fd, (off_t)a->end) < 0)
		return -1;
	a->dirty = false;
	if (a->reserved != UINT64_MAX)
		a->reserved = a->end; /* cutting gave it back */
	return 0;
}

static int write_line(struct audit *a, const struct audit_entry *entry)
{
	struct audit_place place;
	int r;

	buf_reset(&a->line);
	r = audit_line_make(a->key, &a->place, entry, clock_now_ms(), &a->line, &place);
	if (r < 0)
		return r;
	r = fsio_pwrite_full(a->fd, buf_bytes(&a->line), a->end);
	if (r < 0) {
		r = has_failed(a, "cannot be written: make room, or see to its disk", errno);
		(void)cut(a); /* if it does not work now, audit_ready() has to make it work */
		return r;
	}
	go_on(a, &place, a->end + a->line.n);
	return 0;
}

/* Wait until the disk has the file up to @end. One thread syncs for all who wait by then; the lock is free meanwhile. */
static int sync_to(struct audit *a, uint64_t end)
{
	while (a->synced < end && !a->failed) {
		const uint64_t upto = a->end;
		int r, err;

		if (a->syncing) {
			(void)pthread_cond_wait(&a->synced_more, &a->lock); /* fails only for mistakes of ours */
			continue;
		}
		a->syncing = true;
		(void)pthread_mutex_unlock(&a->lock);
		r = fdatasync(a->fd);
		err = errno;
		lock(&a->lock);
		a->syncing = false;
		if (r < 0)
			(void)has_failed(a, "cannot be brought to the disk: see to it", err); /* returned below */
		else
			a->synced = upto;
		(void)pthread_cond_broadcast(&a->synced_more);
	}
	return a->synced < end ? ERR_STORAGE : 0;
}

/* Threads look at the keystore before they take their turn here, so they can come in the wrong order. */
static struct audit_entry in_order(struct audit *a, const struct audit_entry *entry)
{
	struct audit_entry e = *entry;

	if (e.generation < a->min_generation || (e.generation == a->min_generation && e.seq < a->min_seq)) {
		e.generation = a->min_generation;
		e.seq = a->min_seq;
	}
	a->min_generation = e.generation;
	a->min_seq = e.seq;
	return e;
}

int audit_append(struct audit *a, const struct audit_entry *entry, bool durable)
{
	LOCKED(a);
	struct audit_entry e = in_order(a, entry);
	int r;

	r = a->failed ? ERR_STORAGE : check_size(a);
	if (r == 0)
		r = write_line(a, &e);
	if (r < 0) {
		a->lost++;
		return r;
	}
	return durable ? sync_to(a, a->end) : 0;
}

/* ---- readiness ---- */

/*
 * A failed sync may have dropped pages that were still to be written, and the next one would not speak of them. So what had not been
 * synced is read back, verified, and written once more.
 */
static int write_again(struct audit *a)
{
	CLEANUP(audit_walk_fini) struct audit_walk w = { 0 };
	struct audit_mark mark;
	struct bytes line;
	int r;

	audit_index_at(&a->index, a->synced, &mark);
	r = walk_from(a, &mark, &w);
	if (r < 0)
		return r;
	while ((r = audit_walk_next(&w, &line)) == 1) {
		const uint64_t at = w.at - line.n - 1;

		if (at < a->synced)
			continue;
		r = fsio_pwrite_full(a->fd, BYTES(line.p, line.n + 1), at);
		if (r < 0)
			break;
	}
	return r < 0 || w.at == a->end ? r : ERR_DAMAGED;
}

static int note_gap(struct audit *a)
{
	char text[64];
	const struct audit_entry entry = {
		.by = AUDIT_BY_DAEMON,
		.action = "auditGap",
		.target = BYTES(text, (size_t)snprintf(text, sizeof(text), "%" PRIu64 " entries lost", a->lost)),
		.result = ERR_STORAGE,
		.generation = a->place.generation,
		.seq = a->place.seq,
	};
	int r = write_line(a, &entry);

	if (r == 0)
		a->lost = 0;
	return r;
}

static int recover(struct audit *a)
{
	int r;

	while (a->syncing)
		(void)pthread_cond_wait(&a->synced_more, &a->lock); /* fails only for mistakes of ours */
	r = check_size(a);
	if (r < 0)
		return r;
	if (cut(a) < 0)
		return has_failed(a, "cannot be cut back to its last whole entry: see to its disk", errno);
	r = write_again(a);
	if (r == ERR_DAMAGED)
		return has_failed(a, "has lost entries on the disk: a restart names the damage", 0);
	if (r == ERR_IO)
		return has_failed(a, "cannot be written: make room, or see to its disk", errno);
	if (r == 0 && a->lost)
		r = note_gap(a);
	if (r < 0)
		return r;
	if (fdatasync(a->fd) < 0)
		return has_failed(a, "cannot be brought to the disk: see to it", errno);
	a->synced = a->end;
	a->failed = false;
	return 0;
}

/* A file that has been moved or removed would take the entries along. */
static int check_name(struct audit *a)
{
	struct stat st;

	if (lstat(a->path, &st) == 0 && st.st_dev == a->dev && st.st_ino == a->ino)
		return 0;
	return has_problem(a, "was moved away or replaced: put it back, or restart to begin a new one", 0);
}

static int reserve(struct audit *a)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < a->end + AUDIT_RESERVE)
		return has_problem(
			a, "has reached the limit on the size of files: raise it (LimitFSIZE=), or archive the log",
			EFBIG);
	if (a->reserved != UINT64_MAX && a->reserved < a->end + AUDIT_RESERVE) {
		/* twice as much, so that it need not be done for each entry */
		while (fallocate(a->fd, FALLOC_FL_KEEP_SIZE, (off_t)a->end, (off_t)2 * AUDIT_RESERVE) < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EOPNOTSUPP)
				return has_problem(a, "has no room for more entries: make room on its file system",
						   errno);
			a->reserved = UINT64_MAX;
			return 0;
		}
		a->reserved = a->end + (uint64_t)2 * AUDIT_RESERVE;
	}
	return 0;
}

int audit_ready(struct audit *a)
{
	LOCKED(a);
	int r;

	r = check_name(a);
	if (r == 0 && (a->failed || a->lost))
		r = recover(a);
	if (r == 0)
		r = check_size(a);
	if (r == 0)
		r = reserve(a);
	if (r == 0)
		(void)has_problem(a, NULL, 0); /* none any more */
	return r;
}

/* ---- reading ---- */

int audit_read(struct audit *a, uint64_t since, uint64_t limit, audit_line_fn fn, void *arg, struct buf *why,
	       uint64_t *ret_next)
{
	CLEANUP(audit_walk_fini) struct audit_walk w = { 0 };
	struct bytes line;
	uint64_t next = since;
	int r = 0;

	{
		LOCKED(a);
		struct audit_mark mark;

		audit_index_before(&a->index, since, &mark);
		r = walk_from(a, &mark, &w);
	}
	while (r >= 0 && limit && (r = audit_walk_next(&w, &line)) == 1) {
		if (w.place.n <= since)
			continue;
		r = fn(arg, line);
		if (r < 0)
			return r;
		next = w.place.n;
		limit--;
	}
	if (r < 0)
		return audit_walk_explain(&w, a->path, r, why);
	*ret_next = next;
	return 0;
}

/* ---- the rest ---- */

void audit_get_info(struct audit *a, struct audit_info *ret)
{
	LOCKED(a);

	*ret = (struct audit_info){
		.path = a->path,
		.n = a->place.n,
		.generation = a->place.generation,
		.seq = a->place.seq,
		.bytes = a->end,
		.torn = a->torn,
		.created = a->created,
		.failed = a->failed,
		.lost = a->lost,
		.problem = a->problem,
		.last_errno = a->last_errno,
	};
	memcpy(ret->mac, a->place.mac, AUDIT_MAC_SIZE);
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	if (a->reserved != UINT64_MAX && a->reserved > a->end && check_size(a) == 0)
		(void)cut(a); /* if it does not work, some blocks stay taken */
	fd_closep(&a->fd);    /* drops the lock */
	(void)pthread_mutex_destroy(&a->lock);
	(void)pthread_cond_destroy(&a->synced_more);
	secret_free(a->key);
	buf_fini(&a->line);
	free(a->path);
	free(a);
}
