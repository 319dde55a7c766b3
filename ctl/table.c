#include "ctl/table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <wchar.h>

#define GAP	  2
#define MAX_CELLS (64UL << 20)

void table_init(struct table *t, size_t n_columns, unsigned right, const char *indent)
{
	assert(n_columns <= TABLE_MAX_COLUMNS);
	*t = (struct table){ .n_columns = n_columns, .right = right, .indent = indent, .cells = BUF_INIT(MAX_CELLS) };
}

void table_fini(struct table *t)
{
	buf_fini(&t->cells);
}

void table_restart(struct table *t)
{
	buf_reset(&t->cells);
	t->n_cells = 0;
}

/* Columns that one character takes; its bytes in @ret_n. Bytes that are no character of the locale take one each. */
static size_t char_width(const char *s, size_t n, size_t *ret_n, bool *ret_control)
{
	mbstate_t state = { 0 };
	wchar_t c;
	size_t used = mbrtowc(&c, s, n, &state);
	int width;

	*ret_control = false;
	*ret_n = 1;
	if (used == 0 || used > n)
		return 1;
	*ret_n = used;
	width = wcwidth(c);
	if (width < 0) { /* not printable: C0, C1, line and paragraph separators */
		*ret_control = true;
		return 1;
	}
	return (size_t)width;
}

void table_text(struct table *t, const char *text)
{
	size_t column = t->n_cells++ % t->n_columns;
	size_t n = strlen(text), width = 0, used;

	for (size_t i = 0; i < n; i += used) {
		bool control;

		width += char_width(text + i, n - i, &used, &control);
		if (control)
			buf_put_byte(&t->cells, '?');
		else
			buf_put(&t->cells, text + i, used);
	}
	buf_put_byte(&t->cells, '\0');
	if (width > t->widths[column])
		t->widths[column] = width;
}

void table_int(struct table *t, int64_t v)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRId64, v); /* fits */
	table_text(t, text);
}

void table_pair(struct table *t, const char *text, const char *next)
{
	table_text(t, text);
	table_text(t, next);
}

static void spaces(struct buf *out, size_t n)
{
	while (n--)
		buf_put_byte(out, ' ');
}

void table_print(const struct table *t, struct buf *out)
{
	const char *cell = (const char *)t->cells.p;

	if (buf_err(&t->cells)) {
		out->err = buf_err(&t->cells);
		return;
	}
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t column = i % t->n_columns, n = strlen(cell), width = 0, used;
		bool control, last = column + 1 == t->n_columns;

		for (size_t k = 0; k < n; k += used)
			width += char_width(cell + k, n - k, &used, &control);
		if (column == 0)
			buf_put_str(out, t->indent);
		if (t->right & 1U << column)
			spaces(out, t->widths[column] - width);
		buf_put(out, cell, n);
		if (last)
			buf_put_byte(out, '\n');
		else
			spaces(out, (t->right & 1U << column ? 0 : t->widths[column] - width) + GAP);
		cell += n + 1;
	}
}
