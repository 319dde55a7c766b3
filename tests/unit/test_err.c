/* The table is consistent, and what is not in it answers as an internal error. */
#include <string.h>

#include "base/err.h"
#include "tests/unit/tap.h"

static const struct {
	int err, code;
	const char *reason;
} rows[] = {
#define ROW(name, value, code, reason, text) { name, code, reason },
	ERR_TABLE(ROW)
#undef ROW
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

int main(void)
{
	bool negative = true, unique = true, paired = true, known = true;

	test_start();
	for (size_t i = 0; i < N_ROWS; i++) {
		negative = negative && rows[i].err < 0;
		known = known && err_code(rows[i].err) == rows[i].code &&
			strcmp(err_reason(rows[i].err), rows[i].reason) == 0 && err_text(rows[i].err)[0] != '\0';
		for (size_t k = 0; k < i; k++) {
			unique = unique && rows[i].err != rows[k].err;
			/* a code on the wire and its reason say the same thing */
			paired = paired &&
				 (rows[i].code == rows[k].code) == (strcmp(rows[i].reason, rows[k].reason) == 0);
		}
	}
	CHECK(negative);
	CHECK(unique);
	CHECK(paired);
	CHECK(known);

	CHECK_INT(err_code(ERR_DECRYPT_FAILED), -32005);
	CHECK(strcmp(err_reason(ERR_DECRYPT_FAILED), "DECRYPT_FAILED") == 0);
	CHECK_INT(err_code(ERR_NOMEM), -32013); /* an overload, to a client */
	CHECK_INT(err_code(ERR_IO), -32603);
	CHECK_INT(err_code(-9999), -32603);
	CHECK(strcmp(err_reason(1), "INTERNAL") == 0);
	CHECK(strcmp(err_text(0), "success") == 0);
	return test_end();
}
