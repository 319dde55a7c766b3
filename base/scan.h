/*
 * scan - a strict JSON scanner that builds nothing
 *
 * scan_check() validates a text once (RFC 8259 grammar, UTF-8, nesting, duplicate members); the iterators then walk
 * validated text and yield spans of it, so that a sender's bytes can be carried on unchanged: numbers, escapes,
 * \u0000 and lone surrogates included. It allocates only for an object of more than 32 members, or for more than 64
 * in all objects that are open at one time.
 */
#ifndef E2EED_BASE_SCAN_H
#define E2EED_BASE_SCAN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

/* what scan_check() lets pass, beyond strict JSON */
enum scan_flags {
	SCAN_JS = 1,	/* what JSON.parse takes: \u0000, lone surrogates, numbers no double can hold */
	SCAN_DUPS = 2,	/* duplicate members */
	SCAN_FRAME = 4, /* SCAN_JS within params.payload and params.message of a request or of a batch's requests */
};

/**
 * scan_check - is @text exactly one JSON value, but for white space around it?
 * @flags:     any of enum scan_flags
 * @max_depth: how deep containers may nest; 1 allows one container of scalars; at most SCAN_MAX_DEPTH
 *
 * Linear in the text's length, whoever wrote it. A byte order mark is an error, and so are 4 GiB and more. Names are
 * compared as decoded. Any thread. Return: 0, ERR_PARSE, ERR_NOMEM.
 */
int scan_check(struct bytes text, unsigned flags, unsigned max_depth) WARN_UNUSED;
#define SCAN_MAX_DEPTH 520 /* a payload of 512 within a reply */

enum scan_type { SCAN_OBJECT, SCAN_ARRAY, SCAN_STRING, SCAN_NUMBER, SCAN_TRUE, SCAN_FALSE, SCAN_NULL };

/*
 * Everything below takes text that scan_check() accepted, or a span that an iterator yielded from such text; of other
 * text it makes nothing of use, but stays within it.
 */

/** scan_trim - @text without the white space around its value */
struct bytes scan_trim(struct bytes text);

/** scan_type - what @value is; @value has no white space in front */
enum scan_type scan_type(struct bytes value);

struct scan_iter {
	struct bytes rest;
};

struct scan_member {
	struct bytes key;   /* with its quotes, as written */
	struct bytes value; /* trimmed */
};

/** scan_iter - start walking the members of an object or the elements of an array */
struct scan_iter scan_iter(struct bytes container);

/** scan_next_member, scan_next_element - Return: false at the end */
bool scan_next_member(struct scan_iter *it, struct scan_member *ret);
bool scan_next_element(struct scan_iter *it, struct bytes *ret);

/** scan_str_is - does the string @str (with quotes, escapes resolved) equal @name? */
bool scan_str_is(struct bytes str, struct bytes name);

/** scan_find - the last member called @name, as JSON.parse resolves duplicates. Return: false if there is none */
bool scan_find(struct bytes object, struct bytes name, struct bytes *ret);

/**
 * scan_str_decode - resolve the escapes of the string @str (with quotes) into @ret, appended as UTF-8
 *
 * Return: 0; ERR_PARSE when it holds a lone surrogate, which UTF-8 cannot; else as buf_err(@ret).
 */
int scan_str_decode(struct bytes str, struct buf *ret) WARN_UNUSED;

/**
 * scan_str_raw - the string's bytes without a copy, where it holds no escape
 *
 * Return: true and the view in @ret (no quotes); false when it holds escapes.
 */
bool scan_str_raw(struct bytes str, struct bytes *ret);

#endif
