/*
 * audit_line - one line of the audit log: written, chained, and checked
 *
 * Pure functions on bytes; docs/audit.md has the format. A line's MAC goes over the MAC of the line before it, so a line
 * can be checked, and be written, only by who knows the place in the chain that it stands at.
 */
#ifndef E2EED_KEYSTORE_AUDIT_LINE_H
#define E2EED_KEYSTORE_AUDIT_LINE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/audit.h"

/* behind which line we are; all zero before the first */
struct audit_place {
	uint64_t n;
	uint64_t generation, seq; /* as the line has them */
	uint8_t mac[AUDIT_MAC_SIZE];
};

/**
 * audit_line_make - the line for @entry behind @at, with its line feed, appended to @ret
 *
 * Return: 0 and the place behind it; ERR_NOMEM; ERR_TOO_LARGE, which a ceiling of AUDIT_MAX_LINE rules out; ERR_CRYPTO.
 */
int audit_line_make(const struct secret *key, const struct audit_place *at, const struct audit_entry *entry,
		    int64_t now_ms, struct buf *ret, struct audit_place *ret_place) WARN_UNUSED;

/**
 * audit_line_check - is @line, without its line feed, the one behind @at?
 * @what: what is wrong with it if it is not: static text that follows "line 7 at offset 1234 "
 *
 * Return: 0 and the place behind it, ERR_DAMAGED, ERR_NOMEM, ERR_CRYPTO.
 */
int audit_line_check(const struct secret *key, const struct audit_place *at, struct bytes line, const char **what,
		     struct audit_place *ret_place) WARN_UNUSED;

#endif
