/*
 * log_rewrite - a new generation of the file: what compaction, a new data key and a change of slots have in common
 *
 *   PATH.rewrite  the new file, until it is whole and synced
 *   PATH.old      the old one, from just before the new file takes the name PATH until it has been wiped
 *
 * PATH is at each moment one complete file. What a crash leaves under the other two names is wiped and removed at the next open:
 * both hold secrets that may have been destroyed since.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fsio.h"
#include "keystore/file_lock.h"
#include "keystore/log_private.h"

#define CHUNK ((size_t)1 << 20)

/* ---- wiping ---- */

/* Overwrite a file in place. On a disk that writes elsewhere, old blocks may survive: docs/keystore.md says so. */
static int wipe_fd(int fd)
{
	static const uint8_t zeros[65536];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ERR_IO;
	for (uint64_t at = 0; at < (uint64_t)st.st_size;) {
		uint64_t left = (uint64_t)st.st_size - at;
		size_t n = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);

		if (fsio_pwrite_full(fd, BYTES(zeros, n), at) < 0)
			return ERR_IO;
		at += n;
	}
	return fdatasync(fd) < 0 ? ERR_IO : 0;
}

static int beside(const char *path, const char *suffix, char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s%s", path, suffix);

	if (n > 0 && n < PATH_MAX)
		return 0;
	errno = ENAMETOOLONG;
	return ERR_IO;
}

static bool is_same_file(const char *path, const char *other)
{
	struct stat a, b;

	return lstat(path, &a) == 0 && lstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Is it a generation of the keystore that @path is? Magic and file id stay over rewrites. */
static bool is_of_keystore(int fd, const char *path)
{
	CLEANUP(fd_closep) int own = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	uint8_t a[LOG_HEADER_START], b[LOG_HEADER_START];
	size_t n = 0, m = 0;

	return own >= 0 && fsio_pread_full(own, a, sizeof(a), 0, &n) == 0 &&
	       fsio_pread_full(fd, b, sizeof(b), 0, &m) == 0 && n == sizeof(a) && m == sizeof(b) &&
	       log_header_same_file(a, b);
}

/* A file that has another name as well may be somebody's, whose name here was planted: then nothing is overwritten. */
static int wipe_named(const char *name, const char *path)
{
	CLEANUP(fd_closep) int fd = open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return ERR_IO;
	return st.st_nlink > 1 && !is_of_keystore(fd, path) ? 0 : wipe_fd(fd);
}

/*
 * What is another name of the very file PATH is never wiped. PATH.old is that where the new file has not taken the place of the old
 * one; PATH.rewrite, where a file system has left both names after a crash in the renaming, or somebody has made a link.
 */
static int remove_leftover(const char *path, const char *suffix, struct buf *why)
{
	char name[PATH_MAX];
	struct stat st;
	int r = beside(path, suffix, name);

	if (r == 0 && lstat(name, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		r = ERR_IO;
	}
	if (r == 0 && !is_same_file(path, name))
		r = wipe_named(name, path);
	if (r == 0 && unlink(name) < 0)
		r = ERR_IO;
	if (r == 0)
		r = fsio_sync_parent(path);
	if (r < 0)
		buf_printf(why, "cannot wipe and remove %s%s, which an interrupted rewrite of the keystore left: %m",
			   path, suffix);
	return r;
}

int log_remove_leftovers(const char *path, struct buf *why)
{
	int r = remove_leftover(path, ".rewrite", why);

	return r < 0 ? r : remove_leftover(path, ".old", why);
}

/* ---- writing ---- */

static int flush(struct log_writer *w)
{
	if (fsio_pwrite_full(w->fd, buf_bytes(&w->buffered), w->written) < 0)
		return ERR_STORAGE;
	w->written += w->buffered.n;
	buf_reset(&w->buffered);
	return 0;
}

int log_writer_put(struct log_writer *w, struct bytes plain)
{
	uint8_t *frame;

	if (plain.n > SEALED_LOG_MAX_RECORD)
		return ERR_TOO_LARGE;
	frame = buf_room(&w->buffered, LOG_FRAME_EMPTY + plain.n);
	if (!frame)
		return buf_err(&w->buffered);
	log_frame_seal(&w->cipher, &w->at, plain, frame);
	buf_added(&w->buffered, LOG_FRAME_EMPTY + plain.n);
	return w->fd >= 0 && w->buffered.n >= CHUNK ? flush(w) : 0;
}

struct log_cursor log_writer_at(const struct log_writer *w)
{
	return w->at;
}

void log_writer_fini(struct log_writer *w)
{
	fd_closep(&w->fd);
	log_cipher_fini(&w->cipher);
	buf_fini(&w->buffered);
}

/* ---- slots ---- */

/* what a new header is made from, beside the old one */
struct slots {
	struct buf raw;	   /* the old header: slots point into it */
	struct buf params; /* of an added slot */
	struct secret *keks[LOG_MAX_SLOTS + 1];
	size_t n_keks;
};

static void slots_fini(struct slots *s)
{
	buf_fini(&s->raw);
	buf_fini(&s->params);
	while (s->n_keks)
		secret_free(s->keks[--s->n_keks]);
}

static int remove_slot(struct log_header *header, int64_t number, struct buf *why)
{
	size_t i = 0;

	while (i < header->n_slots && header->slots[i].number != number)
		i++;
	if (i == header->n_slots)
		return ERR_NOT_FOUND;
	if (header->n_slots == 1) {
		buf_put_str(
			why,
			"it is the keystore's last key slot, without which nothing could open it; add another first");
		return ERR_FORBIDDEN;
	}
	memmove(&header->slots[i], &header->slots[i + 1], (header->n_slots - i - 1) * sizeof(header->slots[0]));
	header->n_slots--;
	return 0;
}

static int add_slot(struct log_header *header, const struct seal *seal, struct slots *s, struct buf *why)
{
	struct log_slot *slot = &header->slots[header->n_slots];
	const struct secret *kek;
	int r;

	if (header->n_slots == LOG_MAX_SLOTS) {
		buf_printf(why, "the keystore has %u key slots, and there is no room for more; remove one first",
			   LOG_MAX_SLOTS);
		return ERR_FORBIDDEN;
	}
	r = seal->make(seal, &s->params, why, &s->keks[s->n_keks]);
	if (r < 0)
		return r;
	kek = s->keks[s->n_keks++]; /* from here on it is released with the others */
	if (buf_err(&s->params))
		return buf_err(&s->params);
	*slot = (struct log_slot){
		.number = header->next_slot++,
		.type = (uint32_t)seal->type,
		.created_ms = clock_now_ms(),
		.params = buf_bytes(&s->params),
		.kek = kek,
	};
	header->n_slots++;
	return 0;
}

/* The header of the next generation; its slots live as long as @s. */
static int next_header(const struct sealed_log *log, const struct log_rewrite *rewrite, struct buf *why,
		       struct slots *s, struct log_header *ret)
{
	struct log_header old = { 0 };
	int r = log_read_header(log->fd, &s->raw);

	if (r == 0)
		r = log_header_parse(buf_bytes(&s->raw), log->path, why, &old);
	if (r == 0)
		r = log_header_check(&old, buf_bytes(&s->raw), log->dek);
	if (r == ERR_IO || r == ERR_DAMAGED) {
		buf_printf(why, "the header of keystore %s cannot be read again", log->path);
		return ERR_STORAGE;
	}
	if (r < 0)
		return r;
	*ret = old;
	for (size_t i = 0; i < old.n_slots; i++) {
		r = log_slot_kek(&old, &old.slots[i], log->dek, &s->keks[s->n_keks]);
		if (r < 0)
			return r == ERR_DAMAGED ? ERR_STORAGE : r;
		ret->slots[i].kek = s->keks[s->n_keks++];
	}
	ret->generation = old.generation + 1;
	if (ret->generation < rewrite->min_generation)
		ret->generation = rewrite->min_generation;
	if (rewrite->remove >= 0) {
		r = remove_slot(ret, rewrite->remove, why);
		if (r < 0)
			return r;
	}
	return rewrite->add ? add_slot(ret, rewrite->add, s, why) : 0;
}

/* ---- the new file ---- */

static int open_new(const char *path, const char *name, struct buf *why, int *ret_fd)
{
	CLEANUP(fd_closep) int fd = -1;
	int r = remove_leftover(path, ".rewrite", why);

	if (r < 0)
		return r;
	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return ERR_IO;
	r = file_lock(fd, "keystore", name, why); /* before it has the keystore's name */
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int log_write_file(struct log_writer *w, struct log_header *header, const struct secret *dek,
		   int (*emit)(void *arg, struct log_writer *w), void *arg)
{
	int r;

	w->buffered = BUF_INIT(CHUNK + SEALED_LOG_MAX_RECORD + LOG_FRAME_EMPTY + LOG_HEADER_MAX);
	r = log_header_write(header, dek, &w->buffered);
	if (r == 0)
		r = log_cipher_init(&w->cipher, header, dek);
	if (r < 0)
		return r;
	w->at = log_cursor_start(header);
	r = emit(arg, w);
	if (r < 0 || w->fd < 0)
		return r;
	r = flush(w);
	return r == 0 && fsync(w->fd) < 0 ? ERR_STORAGE : r;
}

/*
 * Give the new file the keystore's name. Until the rename nothing has happened; after it, a folder that cannot be synced leaves open
 * which of the two a crash would show, and both hold all that was acknowledged: so nothing more may be.
 */
static int take_place(struct sealed_log *log, const char *name, const char *old)
{
	if (unlink(old) < 0 && errno != ENOENT)
		return ERR_STORAGE;
	/* a file system without second names: then a crash before the wiping leaves the old file's blocks as they were */
	if (link(log->path, old) < 0 && errno != EPERM && errno != EOPNOTSUPP)
		return ERR_STORAGE;
	if (rename(name, log->path) < 0) {
		int why = errno;

		(void)unlink(old); /* a second name does no harm, and the next open removes it */
		errno = why;
		return ERR_STORAGE;
	}
	if (fsio_sync_parent(log->path) == 0)
		return 0;
	log->failed = true;
	return ERR_STORAGE;
}

static void wipe_old(struct sealed_log *log, int old_fd, const char *old)
{
	log->residue = wipe_fd(old_fd) < 0 || (unlink(old) < 0 && errno != ENOENT) || fsio_sync_parent(log->path) < 0;
}

static int rewrite_as(struct sealed_log *log, const struct log_rewrite *rewrite, struct log_header *header,
		      const char *name, const char *old, struct buf *why)
{
	CLEANUP(secret_freep) struct secret *dek = NULL;
	CLEANUP(log_writer_fini) struct log_writer w = { .fd = -1 };
	int r = secret_new(LOG_KEY_SIZE, &dek);

	if (r < 0)
		return r;
	randombytes_buf(secret_write(dek), LOG_KEY_SIZE);
	if (log->residue) /* of an earlier time; its name is wanted again */
		r = remove_leftover(log->path, ".old", why);
	if (r == 0)
		r = open_new(log->path, name, why, &w.fd);
	if (r == 0)
		r = log_write_file(&w, header, dek, rewrite->emit, rewrite->arg);
	if (r == 0)
		r = take_place(log, name, old);
	if (r < 0)
		return r;
	wipe_old(log, log->fd, old);
	fd_closep(&log->fd);
	log->fd = TAKE_FD(w.fd);
	log_cipher_fini(&log->cipher);
	log->cipher = w.cipher;
	w.cipher = (struct log_cipher){ 0 };
	secret_free(log->dek);
	log->dek = TAKE(dek);
	log->header = *header;
	for (size_t i = 0; i < header->n_slots; i++)
		log->header.slots[i] = (struct log_slot){ header->slots[i].number,
							  header->slots[i].type,
							  header->slots[i].created_ms,
							  BYTES_NONE,
							  NULL,
							  NULL,
							  NULL };
	log->durable = log->tip = w.at;
	return 0;
}

/* A file that somebody has put in the place of ours must not be lost to a rewrite. */
static int check_name(const struct sealed_log *log, struct buf *why)
{
	struct stat ours, named;

	if (fstat(log->fd, &ours) == 0 && lstat(log->path, &named) == 0 && ours.st_dev == named.st_dev &&
	    ours.st_ino == named.st_ino)
		return 0;
	buf_printf(
		why,
		"%s is not the keystore that is open any more: somebody moved, removed or replaced it while e2eed runs; put it back, or "
		"restart e2eed to use the file that is there",
		log->path);
	return ERR_FORBIDDEN;
}

int sealed_log_rewrite(struct sealed_log *log, const struct log_rewrite *rewrite, struct buf *why, uint32_t *ret_slot)
{
	CLEANUP(slots_fini)
	struct slots s = { .raw = BUF_INIT(LOG_HEADER_MAX), .params = BUF_INIT(SEAL_MAX_PARAMS) };
	char name[PATH_MAX], old[PATH_MAX];
	struct log_header header;
	size_t said = why->n;
	int r;

	if (log->read_only) {
		buf_printf(why, "keystore %s was opened to be looked at only", log->path);
		return ERR_FORBIDDEN;
	}
	if (log->failed) {
		buf_printf(why,
			   "keystore %s takes no more changes since a failure that could not be undone; restart e2eed",
			   log->path);
		return ERR_STORAGE;
	}
	r = check_name(log, why);
	if (r == 0)
		r = next_header(log, rewrite, why, &s, &header);
	if (r == 0)
		r = beside(log->path, ".rewrite", name);
	if (r == 0)
		r = beside(log->path, ".old", old);
	if (r == 0)
		r = rewrite_as(log, rewrite, &header, name, old, why);
	if (r == ERR_IO || r == ERR_BUSY || r == ERR_STORAGE) {
		log->last_errno = errno;
		if (why->n == said)
			buf_printf(why, "keystore %s cannot be written anew: %m", log->path);
		r = ERR_STORAGE;
	}
	if (r < 0) {
		CLEANUP(buf_fini) struct buf unsaid = BUF_INIT(4096);

		(void)remove_leftover(log->path, ".rewrite",
				      &unsaid); /* what cannot be removed now, the next open removes */
		return r;
	}
	if (rewrite->add) {
		*ret_slot = header.slots[header.n_slots - 1].number;
		if (rewrite->add->made)
			(void)rewrite->add->made(rewrite->add,
						 why); /* the slot is there; its open() does what is left */
	}
	return 0;
}
