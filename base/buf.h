/*
 * buf - owned bytes that grow up to a ceiling and are wiped when they go
 *
 * Message text, frames and replies live here. Growing allocates anew, copies and wipes the old place, so nothing is
 * left behind in freed memory. Errors are sticky: writers return nothing, the one who hands the buffer on asks
 * buf_err() once. Not thread-safe; the memory is ordinary heap (locked where mlockall() is in force), so keys belong
 * in a struct secret, not here.
 */
#ifndef E2EED_BASE_BUF_H
#define E2EED_BASE_BUF_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct buf {
	uint8_t *p; /* owned */
	size_t n;   /* bytes in use */
	size_t cap;
	size_t max; /* ceiling of n */
	int err;    /* 0, ERR_NOMEM or ERR_TOO_LARGE; once set, writes do nothing */
};

/** BUF_INIT - an empty buffer of at most @max_ bytes; allocates nothing */
#define BUF_INIT(max_) ((struct buf){ .max = (max_) })

/** buf_fini - wipe and free; the buffer is empty and usable afterwards. Accepts a zeroed struct. */
void buf_fini(struct buf *b);

/** buf_reset - wipe what is in it, clear the error, keep the memory for the next use */
void buf_reset(struct buf *b);

/** buf_put - append; on failure sets the sticky error and appends nothing */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_bytes(struct buf *b, struct bytes v);
void buf_put_str(struct buf *b, const char *s);
void buf_put_byte(struct buf *b, uint8_t c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3))); /* numbers, ids */

/**
 * buf_room - make room for @n bytes behind those in use
 *
 * Return: where to write them, NULL on failure (sticky error set). Account for what was written with buf_added().
 */
uint8_t *buf_room(struct buf *b, size_t n) WARN_UNUSED;
void buf_added(struct buf *b, size_t n);

/** buf_cut - shorten to @n bytes and wipe what stood behind; undoes appends, and clears an error they met */
void buf_cut(struct buf *b, size_t n);

/** buf_drop_front - drop the first @n bytes (wiped), move the rest to the front */
void buf_drop_front(struct buf *b, size_t n);

/** buf_err - 0, ERR_NOMEM or ERR_TOO_LARGE */
static inline int buf_err(const struct buf *b)
{
	return b->err;
}

static inline struct bytes buf_bytes(const struct buf *b)
{
	return BYTES(b->p, b->n);
}

#endif
