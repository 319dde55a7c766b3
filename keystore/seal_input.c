#include "keystore/seal_input.h"

#include <errno.h>

#include "base/b64.h"
#include "base/cleanup.h"
#include "base/fsio.h"

int seal_input_read(const char *path, const char *what, size_t max, struct buf *why, struct secret **ret)
{
	int r = fsio_read_secret(path, max, ret);

	switch (r) {
	case 0:
	case ERR_NOMEM:
		return r;
	case ERR_NOT_FOUND:
		buf_printf(why, "the %s %s is missing; put it there, or set another path", what, path);
		break;
	case ERR_FORBIDDEN:
		buf_printf(why,
			   "the %s %s can be accessed by others, or belongs to neither the daemon's user nor root: "
			   "chmod 600 and chown it",
			   what, path);
		break;
	case ERR_TOO_LARGE:
		buf_printf(why, "the %s %s is larger than %zu bytes, so it is not what it should be", what, path, max);
		break;
	default:
		if (errno == EINVAL)
			buf_printf(why, "the %s %s is not a regular file", what, path);
		else
			buf_printf(why, "cannot read the %s %s: %m", what, path);
		break;
	}
	return ERR_SEAL;
}

void seal_input_line(struct secret *text)
{
	size_t n = secret_len(text);

	if (n && secret_read(text)[n - 1] == '\n')
		secret_cut(text, n - 1);
}

int seal_input_parse_hex(struct bytes text, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r;

	if (text.n == SEAL_KEY_DIGITS + 1 && text.p[SEAL_KEY_DIGITS] == '\n')
		text.n--;
	r = secret_new(SEAL_KEY_SIZE, &key);
	if (r < 0)
		return r;
	r = hex_decode(text, secret_write(key), SEAL_KEY_SIZE);
	if (r < 0)
		return r;
	*ret = TAKE(key);
	return 0;
}
