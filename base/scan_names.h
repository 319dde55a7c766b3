/*
 * scan_names - finds two members of one object that have the same name
 *
 * A stack of the names of all objects that are open, as places in the text; an object's names lie on top when it
 * closes. A few fit the struct itself, so that ordinary texts need no allocation. Names count as equal when they are
 * so after decoding. Not thread-safe.
 */
#ifndef E2EED_BASE_SCAN_NAMES_H
#define E2EED_BASE_SCAN_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct scan_name {
	uint32_t at, n; /* offset and length in the text, no quotes */
	bool escaped;	/* written with an escape */
};

#define SCAN_NAMES_FEW 64

struct scan_names {
	const uint8_t *text;  /* borrowed */
	struct scan_name *at; /* few, or owned heap */
	size_t n, cap;
	struct scan_name few[SCAN_NAMES_FEW];
};

/** scan_names_init - @text of under 4 GiB; the struct must not be moved afterwards */
void scan_names_init(struct scan_names *s, const uint8_t *text);
void scan_names_fini(struct scan_names *s);

/** scan_names_push - Return: 0, ERR_NOMEM */
int scan_names_push(struct scan_names *s, const uint8_t *name, size_t n, bool escaped) WARN_UNUSED;

/**
 * scan_names_close - take off all names from index @from on
 *
 * Linear time for any number of names, whoever chose them. Return: 0; ERR_PARSE when two are equal; ERR_NOMEM.
 */
int scan_names_close(struct scan_names *s, size_t from) WARN_UNUSED;

#endif
