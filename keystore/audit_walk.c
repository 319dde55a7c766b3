#include "keystore/audit_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsio.h"

#define WINDOW_SIZE (64u << 10)

_Static_assert(WINDOW_SIZE >= 2 * AUDIT_MAX_LINE, "a line fits, whatever the window starts with");

int audit_walk_begin(struct audit_walk *w, int fd, const struct secret *key, uint64_t at,
		     const struct audit_place *place, uint64_t end)
{
	uint8_t *window = malloc(WINDOW_SIZE); /* a log holds no secrets, so ordinary memory will do */

	if (!window)
		return ERR_NOMEM;
	*w = (struct audit_walk){
		.fd = fd,
		.key = key,
		.at = at,
		.end = end,
		.place = *place,
		.window = window,
		.window_at = at,
	};
	return 0;
}

void audit_walk_fini(struct audit_walk *w)
{
	free(w->window);
	*w = (struct audit_walk){ 0 };
}

/* What the window holds from w->at on. */
static struct bytes rest(const struct audit_walk *w)
{
	return bytes_sub(BYTES(w->window, w->window_n), (size_t)(w->at - w->window_at), SIZE_MAX);
}

/* Let the window start at w->at and be as full as the file allows. */
static int fill(struct audit_walk *w)
{
	const struct bytes left = rest(w);
	const uint64_t ahead = w->end - w->at - left.n;
	const size_t want = ahead < WINDOW_SIZE - left.n ? (size_t)ahead : WINDOW_SIZE - left.n;
	size_t got;
	int r;

	memmove(w->window, left.p, left.n);
	w->window_at = w->at;
	w->window_n = left.n;
	r = fsio_pread_full(w->fd, w->window + left.n, want, w->at + left.n, &got);
	if (r < 0)
		return r;
	w->window_n += got;
	if (got < want) { /* somebody made the file shorter */
		errno = EIO;
		return ERR_IO;
	}
	return 0;
}

/* Is the file from @at to w->end nothing but zeros? Return: 1 or 0, ERR_IO. */
static int all_zeros(const struct audit_walk *w, uint64_t at)
{
	uint8_t piece[4096];

	while (at < w->end) {
		const size_t want = w->end - at < sizeof(piece) ? (size_t)(w->end - at) : sizeof(piece);
		size_t got;
		int r = fsio_pread_full(w->fd, piece, want, at, &got);

		if (r < 0)
			return r;
		for (size_t i = 0; i < got; i++)
			if (piece[i])
				return 0;
		if (got < want)
			return 0;
		at += got;
	}
	return 1;
}

/*
 * No line feed follows w->at. A crash in mid-append leaves the start of a line; one that lost entries which had not been synced
 * can leave zeros behind that, or zeros alone, as many as were lost. Anything else is damage.
 */
static int check_tail(struct audit_walk *w)
{
	const struct bytes left = rest(w);
	const uint8_t *zero = left.n ? memchr(left.p, 0, left.n) : NULL;
	const uint64_t text = zero ? (uint64_t)(zero - left.p) : w->end - w->at;
	int r = 0;

	if (text < AUDIT_MAX_LINE)
		r = zero ? all_zeros(w, w->at + text) : 1;
	if (r < 0)
		return r;
	if (r == 0) {
		w->what = "is no line: no line feed ends it, and it is not what a crash leaves";
		return ERR_DAMAGED;
	}
	return 0;
}

int audit_walk_next(struct audit_walk *w, struct bytes *ret)
{
	struct bytes text = rest(w), line;
	const uint8_t *feed = text.n ? memchr(text.p, '\n', text.n) : NULL;
	int r;

	if (!feed && w->window_at + w->window_n < w->end) {
		r = fill(w);
		if (r < 0)
			return r;
		text = rest(w);
		feed = memchr(text.p, '\n', text.n);
	}
	if (!feed)
		return w->at == w->end ? 0 : check_tail(w);
	line = bytes_sub(text, 0, (size_t)(feed - text.p));
	r = audit_line_check(w->key, &w->place, line, &w->what, &w->place);
	if (r < 0)
		return r;
	w->at += line.n + 1;
	*ret = line;
	return 1;
}

int audit_walk_explain(const struct audit_walk *w, const char *path, int err, struct buf *why)
{
	const unsigned long long line = w->place.n + 1, offset = w->at;

	if (err == ERR_DAMAGED)
		buf_printf(
			why,
			"audit log %s: line %llu at offset %llu %s (keep the file as evidence and find out who could write "
			"to it; once it is moved away, a new one can be begun)",
			path, line, offset, w->what);
	else if (err == ERR_IO)
		buf_printf(why, "cannot read audit log %s at line %llu, offset %llu: %m", path, line, offset);
	else
		buf_printf(why, "cannot read audit log %s: %s", path, err_text(err));
	return err;
}
