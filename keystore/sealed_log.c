#include "keystore/sealed_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fsio.h"
#include "keystore/le.h"
#include "keystore/log_header.h"
#include "keystore/private_file.h"

/*
 * One record in the file (docs/keystore.md, "Records"):
 *
 *   length u32 | MAC of the length, 16 | nonce, 24 | ciphertext, length - 16 | tag, 16
 *   `-------- head ----------------'
 */
#define HEAD_SIZE   20u
#define NONCE_SIZE  crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE    crypto_aead_xchacha20poly1305_ietf_ABYTES
#define FRAME_SIZE  (HEAD_SIZE + NONCE_SIZE + TAG_SIZE) /* of an empty record */
#define HEAD_MAC    16u
#define CHAIN_SIZE  16u
#define PLACE_SIZE  (LOG_FILE_ID + 16u) /* file id, generation, number of the record */
#define SECTOR	    512u		/* what a disk writes as one */
#define WINDOW_SIZE (1u << 20)

_Static_assert(CHAIN_SIZE == TAG_SIZE && CHAIN_SIZE <= LOG_HEADER_MAC, "a record is chained by the tag before it");

struct sealed_log {
	int fd;
	char *path;	  /* owned */
	const char *seal; /* static text */
	struct log_header header;
	struct secret *record_key, *frame_key; /* owned */
	uint8_t chain[CHAIN_SIZE]; /* tag of the newest record; before the first: start of the header's MAC */
	uint64_t seq;		   /* of the newest record */
	uint64_t end;		   /* where the next record goes */
	uint64_t cut_tail;
	bool created;
	bool failed;
	int last_errno; /* of the newest failed append */
};

DEFINE_FREEP(struct sealed_log *, sealed_log_closep, sealed_log_close)

/* a piece of the file in memory; still sealed, so ordinary memory will do */
struct window {
	uint8_t *p; /* owned */
	size_t cap;
	uint64_t at; /* offset in the file of p[0] */
	size_t n;
};

static void window_fini(struct window *w)
{
	free(w->p);
	*w = (struct window){ 0 };
}

/* The @n bytes at @at, valid until the next call. Return: 0; ERR_IO, also where the file ends before them; ERR_NOMEM. */
static int window_get(struct window *w, int fd, uint64_t at, size_t n, const uint8_t **ret)
{
	int r;

	if (at < w->at || at - w->at > w->n || w->n - (size_t)(at - w->at) < n) {
		size_t want = n > WINDOW_SIZE ? n : WINDOW_SIZE;

		w->n = 0;
		if (want > w->cap) {
			uint8_t *p = realloc(w->p, want);

			if (!p)
				return ERR_NOMEM;
			w->p = p;
			w->cap = want;
		}
		r = fsio_pread_full(fd, w->p, want, at, &w->n);
		if (r < 0) {
			w->n = 0;
			return r;
		}
		w->at = at;
		if (w->n < n) { /* we hold the lock, so nobody may have shortened it */
			errno = EIO;
			return ERR_IO;
		}
	}
	*ret = w->p + (at - w->at);
	return 0;
}

/* ---- one frame ---- */

static void place(const struct sealed_log *log, uint64_t seq, uint8_t ret[PLACE_SIZE])
{
	memcpy(ret, log->header.file_id, LOG_FILE_ID);
	le64_put(ret + LOG_FILE_ID, log->header.generation);
	le64_put(ret + LOG_FILE_ID + 8, seq);
}

/* Without a MAC of its own a damaged length could make the rest of the file look like a record cut short. */
static void head_mac(const struct sealed_log *log, uint64_t seq, const uint8_t length[4], uint8_t ret[HEAD_MAC])
{
	uint8_t in[PLACE_SIZE + 4];

	place(log, seq, in);
	memcpy(in + PLACE_SIZE, length, 4);
	(void)crypto_generichash(ret, HEAD_MAC, in, sizeof(in), secret_read(log->frame_key),
				 LOG_KEY_SIZE); /* fails for wrong sizes only */
	secret_wipe_stack();
}

static void record_aad(const struct sealed_log *log, uint64_t seq, uint8_t ret[PLACE_SIZE + CHAIN_SIZE])
{
	place(log, seq, ret);
	memcpy(ret + PLACE_SIZE, log->chain, CHAIN_SIZE);
}

/* ---- opening: lock ---- */

/* The process that holds the lock, as /proc/locks has it; 0 where that cannot be found out. */
static long lock_holder(const struct stat *st)
{
	CLEANUP(file_closep) FILE *f = fopen("/proc/locks", "re");
	char line[256], file[64];

	if (!f)
		return 0;
	(void)snprintf(file, sizeof(file), " %02x:%02x:%llu ", major(st->st_dev), minor(st->st_dev),
		       (unsigned long long)st->st_ino);
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

static int lock(const char *path, int fd, const struct stat *st, struct buf *why)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		long holder;

		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK) {
			buf_printf(why, "cannot lock keystore %s: %m", path);
			return ERR_IO;
		}
		holder = lock_holder(st);
		buf_printf(why, "keystore %s is in use by another process", path);
		if (holder > 0)
			buf_printf(why, " (pid %ld)", holder);
		return ERR_BUSY;
	}
	return 0;
}

/*
 * Open and lock the file that has the name @path once the lock is held: between open and lock, a compaction of the process that
 * held it may have renamed another file into its place.
 */
static int open_locked(const char *path, struct buf *why, int *ret_fd)
{
	for (unsigned attempt = 0; attempt < 10; attempt++) {
		CLEANUP(fd_closep) int fd = -1;
		struct stat locked, named;
		int r;

		r = private_file_open(path, O_RDWR, "keystore", why, &fd);
		if (r < 0)
			return r;
		if (fstat(fd, &locked) < 0) {
			buf_printf(why, "cannot look at keystore %s: %m", path);
			return ERR_IO;
		}
		r = lock(path, fd, &locked, why);
		if (r < 0)
			return r;
		if (lstat(path, &named) == 0 && named.st_dev == locked.st_dev && named.st_ino == locked.st_ino) {
			/* whoever put the file there may not have got as far as this */
			if (fsio_sync_parent(path) < 0) {
				buf_printf(why, "cannot sync the folder of keystore %s: %m", path);
				return ERR_IO;
			}
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
	}
	buf_printf(why, "keystore %s is being replaced by another process", path);
	return ERR_BUSY;
}

static int make_file(const char *path, const struct seal *seal, struct buf *why)
{
	CLEANUP(secret_freep) struct secret *kek = NULL;
	CLEANUP(buf_fini) struct buf header = BUF_INIT(LOG_HEADER_MAX);
	int r;

	r = seal->kek(seal, BYTES_NONE, true, why, &kek);
	if (r < 0)
		return r;
	r = log_header_make(seal, kek, clock_now_ms(), &header);
	if (r < 0)
		return r;
	r = fsio_create(path, buf_bytes(&header));
	if (r < 0 && r != ERR_ALREADY_EXISTS && r != ERR_NOMEM)
		buf_printf(why, "cannot make keystore %s: %m", path);
	return r;
}

static int open_or_make(struct sealed_log *log, const struct seal *seal, bool create, struct buf *why)
{
	int r;

	r = open_locked(log->path, why, &log->fd);
	if (r != ERR_NOT_FOUND)
		return r;
	if (!create) {
		buf_printf(why, "there is no keystore at %s, and the configuration does not allow to make one",
			   log->path);
		return r;
	}
	r = make_file(log->path, seal, why);
	if (r < 0 && r != ERR_ALREADY_EXISTS) /* then another process was faster: its file is opened, or busy */
		return r;
	log->created = r == 0;
	r = open_locked(log->path, why, &log->fd);
	if (r == ERR_NOT_FOUND)
		buf_printf(why, "keystore %s vanished while it was opened", log->path);
	return r;
}

/* ---- opening: replay ---- */

static int damaged(const struct sealed_log *log, struct buf *why, const char *what)
{
	buf_printf(why, "keystore %s: record %llu at offset %llu %s; restore the file from a backup", log->path,
		   (unsigned long long)log->seq + 1, (unsigned long long)log->end, what);
	return ERR_DAMAGED;
}

static int unreadable(const struct sealed_log *log, int err, struct buf *why)
{
	if (err != ERR_NOMEM)
		buf_printf(why, "cannot read keystore %s near offset %llu: %m", log->path,
			   (unsigned long long)log->end);
	return err;
}

/* Where the zeros start that reach to @size, but not before @from. */
static int find_zeros(struct window *w, int fd, uint64_t from, uint64_t size, uint64_t *ret)
{
	while (size > from) {
		size_t n = size - from < WINDOW_SIZE ? (size_t)(size - from) : WINDOW_SIZE;
		const uint8_t *p;
		int r;

		r = window_get(w, fd, size - n, n, &p);
		if (r < 0)
			return r;
		while (n && p[n - 1] == 0) {
			n--;
			size--;
		}
		if (n)
			break;
	}
	*ret = size;
	return 0;
}

/*
 * Is what starts at log->end and does not authenticate the mark of a crash in mid-append? Such a crash leaves zeros up to the end
 * of the file where data had not reached the disk: from within the head, or from a sector boundary in the rest of the record. Zeros
 * in its last bytes alone are as likely a byte that was changed. @bad_end is the end of the part that was found bad.
 */
static int is_torn(const struct sealed_log *log, struct window *w, uint64_t size, uint64_t bad_end, bool *ret)
{
	uint64_t zeros;
	int r;

	r = find_zeros(w, log->fd, log->end, size, &zeros);
	if (r < 0)
		return r;
	if (zeros >= log->end + HEAD_SIZE)
		zeros = (zeros + SECTOR - 1) / SECTOR * SECTOR;
	*ret = zeros < size && zeros < bad_end;
	return 0;
}

/*
 * Read the record at log->end, which lies before @size, hand it to @replay and advance.
 *
 * Return: 0, or 1 where a torn tail starts here; ERR_DAMAGED, ERR_IO, ERR_NOMEM or what @replay returned.
 */
static int read_record(struct sealed_log *log, struct window *w, uint64_t size, struct secret **plain,
		       sealed_log_replay_fn replay, void *arg, struct buf *why)
{
	uint8_t mac[HEAD_MAC], aad[PLACE_SIZE + CHAIN_SIZE];
	const uint8_t *p;
	uint64_t end;
	size_t sealed_n, plain_n;
	bool torn = false;
	int r;

	if (size - log->end < HEAD_SIZE)
		return 1;
	r = window_get(w, log->fd, log->end, HEAD_SIZE, &p);
	if (r < 0)
		return unreadable(log, r, why);
	head_mac(log, log->seq + 1, p, mac);
	if (sodium_memcmp(mac, p + 4, HEAD_MAC) != 0) {
		if (size - log->end <= FRAME_SIZE + SEALED_LOG_MAX_RECORD)
			r = is_torn(log, w, size, log->end + HEAD_SIZE, &torn);
		if (r < 0)
			return unreadable(log, r, why);
		return torn ? 1 : damaged(log, why, "is damaged: its head does not authenticate");
	}
	sealed_n = le32_get(p);
	if (sealed_n < TAG_SIZE || sealed_n > SEALED_LOG_MAX_RECORD + TAG_SIZE)
		return damaged(log, why, "has an impossible length");
	plain_n = sealed_n - TAG_SIZE;
	end = log->end + HEAD_SIZE + NONCE_SIZE + sealed_n;
	if (end > size)
		return 1;

	if (!*plain || secret_len(*plain) < plain_n) { /* kept for the next record, so it grows in few steps */
		secret_free(TAKE(*plain));
		r = secret_new(plain_n > 4096 ? plain_n : 4096, plain);
		if (r < 0)
			return r;
	}
	r = window_get(w, log->fd, log->end, HEAD_SIZE + NONCE_SIZE + sealed_n, &p);
	if (r < 0)
		return unreadable(log, r, why);
	record_aad(log, log->seq + 1, aad);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(secret_write(*plain), NULL, NULL, p + HEAD_SIZE + NONCE_SIZE,
						       sealed_n, aad, sizeof(aad), p + HEAD_SIZE,
						       secret_read(log->record_key)) < 0) {
		/* one append at a time is under way, so nothing a crash leaves lies behind its record */
		if (end == size) {
			torn = sodium_is_zero(p + HEAD_SIZE + NONCE_SIZE + plain_n, TAG_SIZE);
			if (!torn)
				r = is_torn(log, w, size, end, &torn);
		}
		if (r < 0)
			return unreadable(log, r, why);
		return torn ? 1 : damaged(log, why, "is damaged: it does not authenticate");
	}
	r = replay(arg, log->seq + 1, bytes_sub(secret_bytes(*plain), 0, plain_n));
	sodium_memzero(secret_write(*plain), plain_n);
	if (r < 0) {
		buf_printf(why, " (keystore %s, record %llu at offset %llu)", log->path,
			   (unsigned long long)log->seq + 1, (unsigned long long)log->end);
		return r;
	}
	memcpy(log->chain, p + HEAD_SIZE + NONCE_SIZE + plain_n, CHAIN_SIZE);
	log->seq++;
	log->end = end;
	return 0;
}

static int read_header(struct sealed_log *log, const struct seal *seal, struct window *w, uint64_t size,
		       struct buf *why)
{
	CLEANUP(secret_freep) struct secret *dek = NULL;
	size_t n = size < LOG_HEADER_MAX ? (size_t)size : LOG_HEADER_MAX;
	const uint8_t *p;
	int r;

	r = window_get(w, log->fd, 0, n, &p);
	if (r < 0)
		return unreadable(log, r, why);
	r = log_header_open(BYTES(p, n), seal, log->path, why, &log->header, &dek);
	if (r < 0)
		return r;
	r = log_key_derive(dek, LOG_KEY_RECORD, &log->record_key);
	if (r < 0)
		return r;
	r = log_key_derive(dek, LOG_KEY_FRAME, &log->frame_key);
	if (r < 0)
		return r;
	memcpy(log->chain, log->header.mac, CHAIN_SIZE);
	log->end = log->header.size;
	return 0;
}

static int cut_tail(struct sealed_log *log, uint64_t size, struct buf *why)
{
	if (ftruncate(log->fd, (off_t)log->end) < 0 || fsync(log->fd) < 0) {
		buf_printf(why, "cannot cut the torn tail off keystore %s: %m", log->path);
		return ERR_IO;
	}
	log->cut_tail = size - log->end;
	return 0;
}

int sealed_log_open(const char *path, const struct seal *seal, bool create, sealed_log_replay_fn replay, void *arg,
		    struct buf *why, struct sealed_log **ret)
{
	CLEANUP(sealed_log_closep) struct sealed_log *log = NULL;
	CLEANUP(secret_freep) struct secret *plain = NULL;
	CLEANUP(window_fini) struct window w = { 0 };
	struct stat st;
	uint64_t size;
	int r = 0;

	log = calloc(1, sizeof(*log));
	if (!log)
		return ERR_NOMEM;
	log->fd = -1;
	log->seal = seal->name;
	log->path = strdup(path);
	if (!log->path)
		return ERR_NOMEM;
	r = open_or_make(log, seal, create, why);
	if (r < 0)
		return r;
	if (fstat(log->fd, &st) < 0)
		return unreadable(log, ERR_IO, why);
	size = (uint64_t)st.st_size;
	r = read_header(log, seal, &w, size, why);
	while (r == 0 && log->end < size)
		r = read_record(log, &w, size, &plain, replay, arg, why);
	if (r == 1)
		r = cut_tail(log, size, why);
	if (r < 0)
		return r;
	*ret = TAKE(log);
	return 0;
}

/* ---- appending ---- */

static void seal_record(const struct sealed_log *log, struct bytes plain, uint8_t *ret)
{
	uint8_t aad[PLACE_SIZE + CHAIN_SIZE];

	le32_put(ret, (uint32_t)(plain.n + TAG_SIZE));
	head_mac(log, log->seq + 1, ret, ret + 4);
	randombytes_buf(ret + HEAD_SIZE, NONCE_SIZE);
	record_aad(log, log->seq + 1, aad);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret + HEAD_SIZE + NONCE_SIZE, NULL, plain.p, plain.n, aad,
							 sizeof(aad), NULL, ret + HEAD_SIZE,
							 secret_read(log->record_key)); /* cannot fail */
}

int sealed_log_append(struct sealed_log *log, struct bytes plain, uint64_t *ret_seq)
{
	uint8_t *frame;
	size_t n;
	int r;

	if (plain.n > SEALED_LOG_MAX_RECORD)
		return ERR_TOO_LARGE;
	if (log->failed)
		return ERR_STORAGE;
	n = FRAME_SIZE + plain.n;
	frame = malloc(n);
	if (!frame)
		return ERR_NOMEM;
	seal_record(log, plain, frame);
	r = fsio_pwrite_full(log->fd, BYTES(frame, n), log->end);
	if (r == 0 && fdatasync(log->fd) < 0)
		r = ERR_IO;
	if (r < 0) {
		log->last_errno = errno;
		/* Cutting drops pages the kernel could not write, so this sync speaks of what is left. */
		if (ftruncate(log->fd, (off_t)log->end) < 0 || fdatasync(log->fd) < 0)
			log->failed = true;
		r = ERR_STORAGE;
	} else {
		memcpy(log->chain, frame + n - CHAIN_SIZE, CHAIN_SIZE);
		log->end += n;
		*ret_seq = ++log->seq;
	}
	free(frame); /* sealed, nothing to wipe */
	return r;
}

/* ---- the rest ---- */

void sealed_log_get_info(const struct sealed_log *log, struct sealed_log_info *ret)
{
	*ret = (struct sealed_log_info){
		.path = log->path,
		.seal = log->seal,
		.generation = log->header.generation,
		.records = log->seq,
		.bytes = log->end,
		.seq = log->seq,
		.cut_tail = log->cut_tail,
		.created = log->created,
		.failed = log->failed,
		.last_errno = log->last_errno,
	};
}

void sealed_log_close(struct sealed_log *log)
{
	if (!log)
		return;
	secret_free(log->record_key);
	secret_free(log->frame_key);
	fd_closep(&log->fd); /* drops the lock */
	free(log->path);
	free(log);
}
