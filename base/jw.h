/*
 * jw - writes JSON into a struct buf
 *
 * Commas and quoting are its business; errors are the buffer's sticky one. Strings are given as UTF-8 and leave with
 * the escapes that JSON.stringify would write, except that only what must be escaped is.
 */
#ifndef E2EED_BASE_JW_H
#define E2EED_BASE_JW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"

/* @key is the member's name, NULL inside arrays and at the top; a plain ASCII literal that needs no escape */
void jw_object(struct buf *b, const char *key);
void jw_key(struct buf *b, const char *key); /* only the name and colon: the caller writes the value with key NULL */
void jw_object_end(struct buf *b);
void jw_array(struct buf *b, const char *key);
void jw_array_end(struct buf *b);
void jw_str(struct buf *b, const char *key, const char *s);
void jw_bytes(struct buf *b, const char *key, struct bytes s);
void jw_b64(struct buf *b, const char *key, struct bytes in);
void jw_int(struct buf *b, const char *key, int64_t v);
void jw_bool(struct buf *b, const char *key, bool v);
void jw_null(struct buf *b, const char *key);
void jw_time(struct buf *b, const char *key, int64_t unix_ms); /* ISO 8601, UTC, milliseconds */

/**
 * jw_raw - a value that is JSON text already (validated by scan_check)
 *
 * Line ends between its tokens become spaces, since a frame ends at the first one.
 */
void jw_raw(struct buf *b, const char *key, struct bytes json);

/** jw_string - open and close a string whose content the caller appends with buf_put: base64, ids, nothing to escape */
void jw_string(struct buf *b, const char *key);
void jw_string_end(struct buf *b);

#endif
