/*
 * table - aligned columns for people to read
 *
 * Cells are gathered first, so that widths are known, and printed into a buffer. Widths are those of a terminal (wide and
 * combining characters count as they show), and control characters are replaced: a name must not be able to steer it.
 */
#ifndef E2EED_CTL_TABLE_H
#define E2EED_CTL_TABLE_H

#include <stdint.h>

#include "base/buf.h"

#define TABLE_MAX_COLUMNS 8

struct table {
	size_t n_columns;
	size_t n_cells;
	unsigned right;	    /* bit per column: flush right */
	const char *indent; /* in front of each line */
	size_t widths[TABLE_MAX_COLUMNS];
	struct buf cells; /* owned: NUL-terminated, row by row */
};

/** table_init - @n_columns at most TABLE_MAX_COLUMNS; @indent is borrowed. table_fini() afterwards. */
void table_init(struct table *t, size_t n_columns, unsigned right, const char *indent);
void table_fini(struct table *t);

/** table_restart - forget the cells, which have been printed; the columns stay at least as wide for the rows that follow */
void table_restart(struct table *t);

/* The next cell, row by row; a header is the first row. */
void table_text(struct table *t, const char *text);
void table_int(struct table *t, int64_t v);
void table_pair(struct table *t, const char *text, const char *next); /* two of them */

/** table_print - append all lines to @out (sticky errors of the cells go there too) */
void table_print(const struct table *t, struct buf *out);

#endif
