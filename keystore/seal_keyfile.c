/*
 * seal_keyfile - the key-encryption key is 32 random bytes in a file, as 64 hex digits
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/b64.h"
#include "base/cleanup.h"
#include "base/fsio.h"
#include "keystore/private_file.h"
#include "keystore/seal.h"

#define DIGITS (2 * (size_t)SEAL_KEY_SIZE)

static int make_file(const char *path, struct buf *why)
{
	CLEANUP(secret_freep) struct secret *key = NULL, *text = NULL;
	int r;

	r = secret_new(SEAL_KEY_SIZE, &key);
	if (r < 0)
		return r;
	r = secret_new(DIGITS + 1, &text);
	if (r < 0)
		return r;
	randombytes_buf(secret_write(key), SEAL_KEY_SIZE);
	hex_encode(secret_bytes(key), (char *)secret_write(text));
	secret_write(text)[DIGITS] = '\n';
	r = fsio_create(path, secret_bytes(text));
	if (r == ERR_ALREADY_EXISTS) /* somebody was faster: theirs is used, if it is a good one */
		return 0;
	if (r < 0 && r != ERR_NOMEM) {
		buf_printf(why,
			   errno == ENOENT
				   ? "cannot make key file %s: its folder does not exist; make it (mode 0700, owned by "
				     "the user that e2eed runs as), or set another path"
				   : "cannot make key file %s: %m",
			   path);
		return ERR_SEAL;
	}
	return r;
}

static int read_file(const char *path, int fd, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL, *key = NULL;
	size_t n;
	int r;

	r = secret_new(DIGITS + 2, &text); /* one more than a good file has */
	if (r < 0)
		return r;
	r = secret_new(SEAL_KEY_SIZE, &key);
	if (r < 0)
		return r;
	r = fsio_pread_full(fd, secret_write(text), DIGITS + 2, 0, &n);
	if (r < 0) {
		buf_printf(why, "cannot read key file %s: %m", path);
		return ERR_SEAL;
	}
	if (n == DIGITS + 1 && secret_read(text)[DIGITS] == '\n')
		n--;
	if (n != DIGITS || hex_decode(bytes_sub(secret_bytes(text), 0, n), secret_write(key), SEAL_KEY_SIZE) < 0) {
		buf_printf(why, "key file %s is not a key: it must be one line of %zu hex digits", path, DIGITS);
		return ERR_SEAL;
	}
	*ret = TAKE(key);
	return 0;
}

static int keyfile_kek(const struct seal *seal, struct bytes params, bool create, struct buf *why, struct secret **ret)
{
	const char *path = seal->arg;
	CLEANUP(fd_closep) int fd = -1;
	int r;

	if (params.n) {
		buf_put_str(why, "the key file's slot has parameters, which this version does not know");
		return ERR_SEAL;
	}
	r = private_file_open(path, O_RDONLY, "key file", why, &fd);
	if (r == ERR_NOT_FOUND && create) {
		r = make_file(path, why);
		if (r < 0)
			return r;
		r = private_file_open(path, O_RDONLY, "key file", why, &fd);
	}
	if (r == ERR_NOT_FOUND) {
		buf_printf(
			why,
			"the key file %s is missing, and the keystore cannot be opened without it: restore it from a backup "
			"(a new one would not fit)",
			path);
		return ERR_SEAL;
	}
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_SEAL;
	/* before anything is sealed with it: a key whose name a crash takes away would take the keystore along */
	if (fsio_sync_parent(path) < 0) {
		buf_printf(why, "cannot sync the folder of key file %s: %m", path);
		return ERR_SEAL;
	}
	return read_file(path, fd, why, ret);
}

static void keyfile_fini(struct seal *seal)
{
	free(seal->arg);
	seal->arg = NULL;
}

int seal_keyfile_init(struct seal *seal, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return ERR_NOMEM;
	*seal = (struct seal){
		.type = SEAL_KEYFILE, .name = "keyfile", .arg = copy, .kek = keyfile_kek, .fini = keyfile_fini
	};
	return 0;
}
