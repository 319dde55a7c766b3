/*
 * log_read - walking over the records of a file, and telling a torn tail from damage
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fsio.h"
#include "keystore/le.h"
#include "keystore/log_private.h"

#define SECTOR	    512u /* what a disk writes as one */
#define WINDOW_SIZE ((size_t)1 << 20)
#define MAX_SKIPPED 64u /* records whose heads may be damaged before one that shows them not to be the last */

void log_window_fini(struct log_window *w)
{
	free(w->p);
	*w = (struct log_window){ 0 };
}

int log_window_get(struct log_window *w, int fd, uint64_t at, size_t n, const uint8_t **ret)
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
		if (w->n < n) { /* nobody but us may have shortened it */
			errno = EIO;
			return ERR_IO;
		}
	}
	*ret = w->p + (at - w->at);
	return 0;
}

int log_read_header(int fd, struct buf *ret)
{
	uint8_t *p = buf_room(ret, LOG_HEADER_MAX);
	size_t n;
	int r;

	if (!p)
		return buf_err(ret);
	r = fsio_pread_full(fd, p, LOG_HEADER_MAX, 0, &n);
	if (r < 0)
		return r;
	buf_added(ret, n);
	return 0;
}

static int damaged(const struct log_walk *walk, struct buf *why, const char *what)
{
	buf_printf(why, "keystore %s: record %llu at offset %llu %s; restore the file from a backup", walk->path,
		   (unsigned long long)walk->at.n + 1, (unsigned long long)walk->at.end, what);
	return ERR_DAMAGED;
}

static int unreadable(const struct log_walk *walk, int err, struct buf *why)
{
	if (err != ERR_NOMEM)
		buf_printf(why, "cannot read keystore %s near offset %llu: %m", walk->path,
			   (unsigned long long)walk->at.end);
	return err;
}

/* Where the zeros start that reach to walk->size, but not before walk->at. */
static int find_zeros(const struct log_walk *walk, struct log_window *w, uint64_t *ret)
{
	uint64_t size = walk->size;

	while (size > walk->at.end) {
		size_t n = size - walk->at.end < WINDOW_SIZE ? (size_t)(size - walk->at.end) : WINDOW_SIZE;
		const uint8_t *p;
		int r;

		r = log_window_get(w, walk->fd, size - n, n, &p);
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
 * Is what starts at walk->at and does not authenticate the mark of a crash in mid-append? Such a crash leaves zeros up to the end
 * of the file where data had not reached the disk: from within the head, or from a sector boundary in the rest of the record. Zeros
 * in its last bytes alone are as likely a byte that was changed. @bad_end is the end of the part that was found bad.
 */
static int is_torn(const struct log_walk *walk, struct log_window *w, uint64_t bad_end, bool *ret)
{
	uint64_t zeros;
	int r = find_zeros(walk, w, &zeros);

	if (r < 0)
		return r;
	if (zeros >= walk->at.end + LOG_FRAME_HEAD)
		zeros = (zeros + SECTOR - 1) / SECTOR * SECTOR;
	*ret = zeros < walk->size && zeros < bad_end;
	return 0;
}

/* Return: 1 where a last record may be given up, since a person has said so; otherwise ERR_DAMAGED. */
static int bad_tail(const struct log_walk *walk, struct buf *why, bool last, const char *what)
{
	if (last && walk->accept_damaged_tail)
		return 1;
	(void)damaged(walk, why, what);
	if (last)
		buf_put_str(
			why,
			", or, having looked at what may be lost by it (a revocation, say), start once with --accept-damaged-tail");
	return ERR_DAMAGED;
}

/*
 * Does a record that we wrote stand behind a head that does not authenticate, or in its place? Then it is not the last record that is
 * damaged, and what was acknowledged after it must not be given up with it. Only the heads can tell, since nothing else says where
 * the next record starts.
 */
static int has_followers(const struct log_walk *walk, struct log_window *w, bool *ret)
{
	for (uint64_t at = walk->at.end; walk->size - at >= LOG_FRAME_EMPTY; at++) {
		const uint8_t *p;
		size_t sealed;
		int r = log_window_get(w, walk->fd, at, LOG_FRAME_HEAD, &p);

		if (r < 0)
			return r;
		sealed = le32_get(p);
		if (sealed < LOG_FRAME_TAG || sealed > SEALED_LOG_MAX_RECORD + LOG_FRAME_TAG)
			continue;
		for (unsigned i = 0; i < MAX_SKIPPED && !*ret; i++) {
			const struct log_cursor there = { .n = walk->at.n + i };

			*ret = log_frame_head(walk->cipher, &there, p, &sealed);
		}
		if (*ret)
			return 0;
	}
	return 0;
}

/*
 * A batch of several records is written at once, so a crash in mid-append leaves a whole number of good records, and then one torn
 * one with whatever else of the batch lies behind it. What lies behind a torn record can be told from damage only by zeros.
 */
static int bad_head(const struct log_walk *walk, struct log_window *w, struct buf *why)
{
	bool torn = false, followed = false,
	     near = walk->size - walk->at.end <= LOG_FRAME_EMPTY + SEALED_LOG_MAX_RECORD;
	int r = is_torn(walk, w, walk->at.end + LOG_FRAME_HEAD, &torn);

	if (r == 0 && !torn && near)
		r = has_followers(walk, w, &followed);
	if (r < 0)
		return unreadable(walk, r, why);
	return torn ? 1 : bad_tail(walk, why, near && !followed, "is damaged: its head does not authenticate");
}

static int bad_body(const struct log_walk *walk, struct log_window *w, const uint8_t *p, size_t sealed, struct buf *why)
{
	uint64_t end = walk->at.end + LOG_FRAME_HEAD + LOG_FRAME_NONCE + sealed;
	bool torn = false;
	int r = 0;

	if (end == walk->size)
		torn = sodium_is_zero(p + LOG_FRAME_HEAD + LOG_FRAME_NONCE + sealed - LOG_FRAME_TAG, LOG_FRAME_TAG);
	if (!torn)
		r = is_torn(walk, w, end, &torn);
	if (r < 0)
		return unreadable(walk, r, why);
	return torn ? 1 : bad_tail(walk, why, end == walk->size, "is damaged: it does not authenticate");
}

/* The record at walk->at, which lies before walk->size. Return: as log_walk. */
static int read_record(struct log_walk *walk, struct log_window *w, struct secret **plain, struct buf *why)
{
	const struct log_cursor from = walk->at;
	const uint8_t *p;
	size_t sealed, plain_n;
	int r;

	if (walk->size - walk->at.end < LOG_FRAME_HEAD)
		return 1;
	r = log_window_get(w, walk->fd, walk->at.end, LOG_FRAME_HEAD, &p);
	if (r < 0)
		return unreadable(walk, r, why);
	if (!log_frame_head(walk->cipher, &walk->at, p, &sealed))
		return bad_head(walk, w, why);
	if (sealed < LOG_FRAME_TAG || sealed > SEALED_LOG_MAX_RECORD + LOG_FRAME_TAG)
		return damaged(walk, why, "has an impossible length");
	plain_n = sealed - LOG_FRAME_TAG;
	if (walk->size - walk->at.end < LOG_FRAME_HEAD + LOG_FRAME_NONCE + sealed)
		return 1;

	if (!*plain || secret_len(*plain) < plain_n) { /* kept for the next record, so it grows in few steps */
		secret_free(TAKE(*plain));
		r = secret_new(plain_n > 4096 ? plain_n : 4096, plain);
		if (r < 0)
			return r;
	}
	r = log_window_get(w, walk->fd, walk->at.end, LOG_FRAME_HEAD + LOG_FRAME_NONCE + sealed, &p);
	if (r < 0)
		return unreadable(walk, r, why);
	if (!log_frame_open(walk->cipher, &walk->at, p, sealed, secret_write(*plain)))
		return bad_body(walk, w, p, sealed, why);
	if (walk->replay)
		r = walk->replay(walk->arg, &walk->at, bytes_sub(secret_bytes(*plain), 0, plain_n));
	sodium_memzero(secret_write(*plain), plain_n);
	if (r < 0) {
		walk->at = from;
		buf_printf(why, " (keystore %s, record %llu at offset %llu)", walk->path,
			   (unsigned long long)from.n + 1, (unsigned long long)from.end);
	}
	return r;
}

int log_walk(struct log_walk *walk, struct buf *why)
{
	CLEANUP(log_window_fini) struct log_window w = { 0 };
	CLEANUP(secret_freep) struct secret *plain = NULL;
	int r = 0;

	while (r == 0 && walk->at.end < walk->size)
		r = read_record(walk, &w, &plain, why);
	return r;
}
