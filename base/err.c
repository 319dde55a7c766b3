/*
 * err.c - the table as an array; a few dozen rows, read only when something failed
 */
#include "base/err.h"

#include <stddef.h>

static const struct err_row {
	int err;
	int code;
	const char *reason;
	const char *text;
} err_rows[] = {
#define ERR_ROW(name, value, code, reason, text) { name, code, reason, text },
	ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static const struct err_row *row(int err)
{
	const struct err_row *internal = NULL;

	for (size_t i = 0; i < sizeof(err_rows) / sizeof(err_rows[0]); i++) {
		if (err_rows[i].err == err)
			return &err_rows[i];
		if (err_rows[i].err == ERR_INTERNAL)
			internal = &err_rows[i];
	}
	return internal;
}

const char *err_reason(int err)
{
	return row(err)->reason;
}

const char *err_text(int err)
{
	return err == 0 ? "success" : row(err)->text;
}

int err_code(int err)
{
	return row(err)->code;
}
