#include "keystore/anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fsio.h"
#include "keystore/le.h"
#include "keystore/private_file.h"

/* Two places, written in turn and each within a sector of its own, so that a crash spoils at most the newer one. */
#define PLACES	   2u
#define PLACE_STEP 512u
#define MAC_SIZE   32u
#define BODY_SIZE  (8u + LOG_FILE_ID + 16u)
#define PLACE_SIZE (BODY_SIZE + MAC_SIZE)

static const uint8_t magic[8] = { 'E', '2', 'E', 'E', 'D', 'A', 'N', '\n' };

struct anchor {
	int fd;
	unsigned next; /* place to write */
	uint8_t file_id[LOG_FILE_ID];
	struct secret *key; /* owned */
};

DEFINE_FREEP(struct anchor *, anchor_closep, anchor_close)

static void seal_place(const struct anchor *a, struct anchor_mark mark, uint8_t ret[PLACE_SIZE])
{
	memcpy(ret, magic, sizeof(magic));
	memcpy(ret + 8, a->file_id, LOG_FILE_ID);
	le64_put(ret + 8 + LOG_FILE_ID, mark.generation);
	le64_put(ret + 16 + LOG_FILE_ID, mark.seq);
	(void)crypto_generichash(ret + BODY_SIZE, MAC_SIZE, ret, BODY_SIZE, secret_read(a->key),
				 secret_len(a->key)); /* fails for wrong sizes only */
	secret_wipe_stack();
}

static bool open_place(const struct anchor *a, const uint8_t *p, struct anchor_mark *ret)
{
	const struct anchor_mark mark = { le64_get(p + 8 + LOG_FILE_ID), le64_get(p + 16 + LOG_FILE_ID) };
	uint8_t want[PLACE_SIZE];

	seal_place(a, mark, want);
	if (sodium_memcmp(want, p, PLACE_SIZE) != 0)
		return false;
	*ret = mark;
	return true;
}

/* Can it be the first writing of this keystore's anchor, or nothing yet? Another's, or another file, must not be written over. */
static bool is_cut_short(const struct anchor *a, const uint8_t file[PLACES * PLACE_STEP])
{
	uint8_t start[8 + LOG_FILE_ID];
	size_t n = 0;

	memcpy(start, magic, sizeof(magic));
	memcpy(start + 8, a->file_id, LOG_FILE_ID);
	while (n < sizeof(start) && file[n] == start[n])
		n++;
	if (n == sizeof(start))
		n = PLACE_SIZE;
	return sodium_is_zero(file + n, (size_t)PLACES * PLACE_STEP - n);
}

static int read_places(struct anchor *a, const char *path, struct buf *why, struct anchor_mark *ret)
{
	uint8_t file[PLACES * PLACE_STEP] = { 0 };
	struct anchor_mark mark;
	bool found = false;
	size_t n;

	if (fsio_pread_full(a->fd, file, sizeof(file), 0, &n) < 0) {
		buf_printf(why, "cannot read anchor %s: %m", path);
		return ERR_IO;
	}
	for (unsigned i = 0; i < PLACES; i++) {
		if (!open_place(a, file + (size_t)i * PLACE_STEP, &mark))
			continue;
		if (!found || anchor_mark_older(*ret, mark)) {
			*ret = mark;
			a->next = (i + 1) % PLACES;
		}
		found = true;
	}
	if (found)
		return 0;
	if (is_cut_short(a, file)) {
		*ret = (struct anchor_mark){ 0 };
		return 0;
	}
	buf_printf(why, "anchor %s is of another keystore, or damaged", path);
	return ERR_DAMAGED;
}

static int open_file(const char *path, struct buf *why, int *ret_fd)
{
	static const uint8_t zeros[PLACES * PLACE_STEP];
	int r = private_file_open(path, O_RDWR, "anchor", why, ret_fd);

	if (r != ERR_NOT_FOUND)
		return r;
	r = fsio_create(path, BYTES(zeros, sizeof(zeros)));
	if (r < 0 && r != ERR_ALREADY_EXISTS) {
		buf_printf(why,
			   errno == ENOENT ? "cannot make anchor %s: its folder does not exist"
					   : "cannot make anchor %s: %m",
			   path);
		return ERR_IO;
	}
	return private_file_open(path, O_RDWR, "anchor", why, ret_fd);
}

int anchor_open(const char *path, const uint8_t file_id[LOG_FILE_ID], const struct secret *key, struct buf *why,
		struct anchor_mark *ret_mark, struct anchor **ret)
{
	CLEANUP(anchor_closep) struct anchor *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return ERR_NOMEM;
	a->fd = -1;
	memcpy(a->file_id, file_id, LOG_FILE_ID);
	r = secret_dup(secret_bytes(key), &a->key);
	if (r == 0)
		r = open_file(path, why, &a->fd);
	if (r == 0)
		r = read_places(a, path, why, ret_mark);
	if (r == 0)
		*ret = TAKE(a);
	else if (r == ERR_NOT_FOUND)
		r = ERR_IO;
	return r;
}

int anchor_set(struct anchor *a, struct anchor_mark mark)
{
	uint8_t place[PLACE_SIZE];

	seal_place(a, mark, place);
	if (fsio_pwrite_full(a->fd, BYTES(place, sizeof(place)), (size_t)a->next * PLACE_STEP) < 0 ||
	    fdatasync(a->fd) < 0)
		return ERR_IO;
	a->next = (a->next + 1) % PLACES;
	return 0;
}

void anchor_close(struct anchor *a)
{
	if (!a)
		return;
	fd_closep(&a->fd);
	secret_free(a->key);
	free(a);
}
