/*
 * seal_keyfile - the key-encryption key is 32 random bytes in a file, as 64 hex digits
 *
 * A new key is made under the name PATH.new, and becomes PATH only when the keystore that it opens is on the disk. So PATH without
 * a keystore means that one was lost, and a start that was interrupted is told from that: it left PATH.new.
 *
 *   make()  PATH.new is made (or found)     the keystore is written     made()  PATH.new becomes PATH
 *           crash: the next make() uses it       crash: the next open() does what made() would have
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/b64.h"
#include "base/cleanup.h"
#include "base/fsio.h"
#include "crypto/rand.h"
#include "keystore/private_file.h"
#include "keystore/seal.h"
#include "keystore/seal_input.h"

struct keyfile {
	char path[PATH_MAX];
	char fresh[PATH_MAX]; /* PATH.new; "" where that is too long, and `path` cut short */
	bool made_fresh;      /* make() gave out the key in `fresh` */
};

static int make_file(const char *path, struct buf *why)
{
	CLEANUP(secret_freep) struct secret *key = NULL, *text = NULL;
	int r;

	r = rand_secret(SEAL_KEY_SIZE, &key);
	if (r < 0)
		return r;
	r = secret_new(SEAL_KEY_DIGITS + 1, &text);
	if (r < 0)
		return r;
	hex_encode(secret_bytes(key), (char *)secret_write(text));
	secret_write(text)[SEAL_KEY_DIGITS] = '\n';
	r = fsio_create(path, secret_bytes(text));
	if (r == ERR_ALREADY_EXISTS) /* of an interrupted start, or somebody was faster: used, if it is a good one */
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

/* Return: 0; ERR_NOT_FOUND, with nothing said; ERR_SEAL; ERR_NOMEM. */
static int read_file(const char *path, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	CLEANUP(fd_closep) int fd = -1;
	size_t n;
	int r;

	r = private_file_open(path, O_RDONLY, "key file", why, &fd);
	if (r < 0)
		return r == ERR_NOT_FOUND || r == ERR_NOMEM ? r : ERR_SEAL;
	r = secret_new(SEAL_KEY_DIGITS + 2, &text); /* one more than a good file has */
	if (r < 0)
		return r;
	r = fsio_pread_full(fd, secret_write(text), SEAL_KEY_DIGITS + 2, 0, &n);
	if (r < 0) {
		buf_printf(why, "cannot read key file %s: %m", path);
		return ERR_SEAL;
	}
	r = seal_input_parse_hex(bytes_sub(secret_bytes(text), 0, n), ret);
	if (r == ERR_NOMEM || r == 0)
		return r;
	buf_printf(why, "key file %s is not a key: it must be one line of %zu hex digits", path, SEAL_KEY_DIGITS);
	return ERR_SEAL;
}

static int sync_folder(const char *path, struct buf *why)
{
	if (fsio_sync_parent(path) == 0)
		return 0;
	buf_printf(why, "cannot sync the folder of key file %s: %m", path);
	return ERR_SEAL;
}

static int too_long(struct buf *why)
{
	buf_printf(why, "the path of the key file has more than %zu bytes; set a shorter one",
		   (size_t)PATH_MAX - sizeof(".new"));
	return ERR_SEAL;
}

static int keyfile_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	struct keyfile *k = seal->arg;
	int r;

	(void)params; /* it has none */
	if (!k->fresh[0])
		return too_long(why);
	r = read_file(k->path, why, &key);
	k->made_fresh = r == ERR_NOT_FOUND;
	if (k->made_fresh) {
		r = make_file(k->fresh, why);
		if (r < 0)
			return r;
		r = read_file(k->fresh, why, &key);
	}
	if (r == ERR_NOT_FOUND) {
		buf_printf(why, "key file %s vanished while it was made", k->fresh);
		return ERR_SEAL;
	}
	/* before anything is sealed with it: a key whose name a crash takes away would take the keystore along */
	if (r == 0)
		r = sync_folder(k->path, why);
	if (r < 0)
		return r;
	*ret = TAKE(key);
	return 0;
}

/* PATH.new becomes PATH, which must not exist: a key is never replaced. errno tells. */
static int rename_fresh(const struct keyfile *k)
{
	if (renameat2(AT_FDCWD, k->fresh, AT_FDCWD, k->path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL) /* else: a file system that cannot do it in one step */
		return -1;
	if (link(k->fresh, k->path) < 0)
		return -1;
	return unlink(k->fresh);
}

static int keyfile_made(const struct seal *seal, struct buf *why)
{
	struct keyfile *k = seal->arg;

	if (!k->made_fresh)
		return 0;
	if (rename_fresh(k) < 0) {
		buf_printf(
			why,
			errno == EEXIST
				? "key file %s appeared while the keystore was made, which is sealed with %s: move the former "
				  "away and start again"
				: "cannot give key file %s its name (it is %s until then): %m",
			k->path, k->fresh);
		return ERR_SEAL;
	}
	k->made_fresh = false;
	return sync_folder(k->path, why);
}

static int keyfile_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	struct keyfile *k = seal->arg;
	int r;

	if (params.n) {
		buf_put_str(why, "the key file's slot has parameters, which this version does not know");
		return ERR_SEAL;
	}
	if (!k->fresh[0])
		return too_long(why);
	r = read_file(k->path, why, ret);
	if (r != ERR_NOT_FOUND)
		return r;
	r = read_file(k->fresh, why, &key);
	k->made_fresh = r == 0;
	if (r == 0)
		r = keyfile_made(seal, why);
	if (r == ERR_NOT_FOUND) {
		buf_printf(
			why,
			"the key file %s is missing, and the keystore cannot be opened without it: restore it from a backup "
			"(a new one would not fit)",
			k->path);
		return ERR_SEAL;
	}
	if (r < 0)
		return r;
	*ret = TAKE(key);
	return 0;
}

/* Where it cannot be seen, it counts as there: what follows from that does no harm. */
static bool keyfile_existed(const struct seal *seal)
{
	const struct keyfile *k = seal->arg;
	struct stat st;

	return !k->fresh[0] || lstat(k->path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static void keyfile_fini(struct seal *seal)
{
	free(seal->arg);
	seal->arg = NULL;
}

int seal_keyfile_init(struct seal *seal, const char *path)
{
	struct keyfile *k = calloc(1, sizeof(*k));
	int n;

	if (!k)
		return ERR_NOMEM;
	(void)snprintf(k->path, sizeof(k->path), "%s", path); /* cut short: see `fresh` */
	n = snprintf(k->fresh, sizeof(k->fresh), "%s.new", path);
	if (n < 0 || (size_t)n >= sizeof(k->fresh))
		k->fresh[0] = '\0';
	*seal = (struct seal){ .type = SEAL_KEYFILE,
			       .name = "keyfile",
			       .arg = k,
			       .make = keyfile_make,
			       .made = keyfile_made,
			       .open = keyfile_open,
			       .existed = keyfile_existed,
			       .fini = keyfile_fini };
	return 0;
}
