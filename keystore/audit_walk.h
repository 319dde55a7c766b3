/*
 * audit_walk - line by line through an audit log, checking the chain, in constant memory
 *
 * Takes no lock: lines before @end never change, and what is appended behind it in the meantime is not looked at.
 */
#ifndef E2EED_KEYSTORE_AUDIT_WALK_H
#define E2EED_KEYSTORE_AUDIT_WALK_H

#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/audit_line.h"

struct audit_walk {
	int fd;			  /* borrowed */
	const struct secret *key; /* borrowed */
	uint64_t at;		  /* where the next line starts */
	uint64_t end;		  /* where the walk ends */
	struct audit_place place; /* behind the line before @at */
	const char *what;	  /* static text, with ERR_DAMAGED: what is wrong with the line at @at */

	uint8_t *window;    /* owned: a piece of the file */
	uint64_t window_at; /* its offset in the file */
	size_t window_n;
};

/** audit_walk_begin - from the line at offset @at, which stands behind @place, up to @end. Return: 0, ERR_NOMEM. */
int audit_walk_begin(struct audit_walk *w, int fd, const struct secret *key, uint64_t at,
		     const struct audit_place *place, uint64_t end) WARN_UNUSED;

/**
 * audit_walk_next - the next line, without its line feed, which however stands behind it; valid until the next call
 *
 * Return: 1 and the line; 0 at the end, where w->at < w->end says that a torn tail is left; ERR_DAMAGED and w->what;
 * ERR_IO (errno), ERR_NOMEM, ERR_CRYPTO.
 */
int audit_walk_next(struct audit_walk *w, struct bytes *ret) WARN_UNUSED;

/**
 * audit_walk_explain - why the walk through @path ended with @err, as a sentence appended to @why; errno is still the failure's
 *
 * Return: @err.
 */
int audit_walk_explain(const struct audit_walk *w, const char *path, int err, struct buf *why);

/** audit_walk_fini - accepts a zeroed struct */
void audit_walk_fini(struct audit_walk *w);

#endif
