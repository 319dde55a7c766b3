/*
 * log_open - making a sealed log, and opening one: lock, header, replay
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fsio.h"
#include "keystore/file_lock.h"
#include "keystore/log_private.h"
#include "keystore/private_file.h"

DEFINE_FREEP(struct sealed_log *, sealed_log_closep, sealed_log_close)

/* ---- the file ---- */

/*
 * Open and lock the file that has the name @path once the lock is held: between open and lock, a compaction of the process that
 * held it may have renamed another file into its place.
 */
static int open_locked(const char *path, struct buf *why, int *ret_fd)
{
	for (unsigned attempt = 0; attempt < 10; attempt++) {
		CLEANUP(fd_closep) int fd = -1;
		struct stat locked, named;
		int r;

		r = private_file_open(path, O_RDWR, "keystore", why, &fd);
		if (r < 0)
			return r;
		r = file_lock(fd, "keystore", path, why);
		if (r < 0)
			return r;
		if (fstat(fd, &locked) < 0) {
			buf_printf(why, "cannot look at keystore %s: %m", path);
			return ERR_IO;
		}
		if (lstat(path, &named) == 0 && named.st_dev == locked.st_dev && named.st_ino == locked.st_ino) {
			/* whoever put the file there may not have got as far as this */
			if (fsio_sync_parent(path) < 0) {
				buf_printf(why, "cannot sync the folder of keystore %s: %m", path);
				return ERR_IO;
			}
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
	}
	buf_printf(why, "keystore %s is being replaced by another process", path);
	return ERR_BUSY;
}

/* The whole of a new file. */
static int make_content(const struct seal *seal, const struct sealed_log_options *options, struct buf *why,
			struct log_writer *ret)
{
	CLEANUP(secret_freep) struct secret *kek = NULL, *dek = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(SEAL_MAX_PARAMS);
	struct log_header header = { .generation = 1, .created_ms = clock_now_ms(), .next_slot = 1, .n_slots = 1 };
	int r;

	r = seal->make(seal, &params, why, &kek);
	if (r == 0)
		r = buf_err(&params);
	if (r == 0)
		r = secret_new(LOG_KEY_SIZE, &dek);
	if (r < 0)
		return r;
	randombytes_buf(secret_write(dek), LOG_KEY_SIZE);
	randombytes_buf(header.file_id, LOG_FILE_ID);
	header.slots[0] = (struct log_slot){
		.type = (uint32_t)seal->type,
		.created_ms = header.created_ms,
		.params = buf_bytes(&params),
		.kek = kek,
	};
	return log_write_file(ret, &header, dek, options->emit, options->arg);
}

static int make_file(const char *path, const struct seal *seal, const struct sealed_log_options *options,
		     struct buf *why)
{
	CLEANUP(log_writer_fini) struct log_writer w = { .fd = -1 };
	int r = make_content(seal, options, why, &w);

	if (r == 0)
		r = fsio_create(path, buf_bytes(&w.buffered));
	if (r == ERR_IO)
		buf_printf(why, "cannot make keystore %s: %m", path);
	if (r == 0 && seal->made)
		r = seal->made(seal, why);
	return r;
}

static int may_make(const char *path, const struct seal *seal, bool create, struct buf *why)
{
	if (!create) {
		buf_printf(why, "there is no keystore at %s, and the configuration does not allow to make one", path);
		return ERR_NOT_FOUND;
	}
	if (seal->existed && seal->existed(seal)) {
		buf_printf(
			why,
			"keystore %s is missing, but the key of its seal \"%s\" is there, so there was one: restore it from a "
			"backup; or, to begin anew with an empty one, move the key out of the way first",
			path, seal->name);
		return ERR_NOT_FOUND;
	}
	return 0;
}

static int open_or_make(struct sealed_log *log, const struct seal *seal, const struct sealed_log_options *options,
			struct buf *why)
{
	int r;

	r = open_locked(log->path, why, &log->fd);
	if (r != ERR_NOT_FOUND)
		return r;
	r = may_make(log->path, seal, options->create, why);
	if (r < 0)
		return r;
	r = make_file(log->path, seal, options, why);
	if (r < 0 && r != ERR_ALREADY_EXISTS) /* then another process was faster: its file is opened, or busy */
		return r;
	log->created = r == 0;
	r = open_locked(log->path, why, &log->fd);
	if (r == ERR_NOT_FOUND)
		buf_printf(why, "keystore %s vanished while it was opened", log->path);
	return r;
}

/* ---- its content ---- */

static int unlock_header(struct sealed_log *log, const struct seal *seal, struct buf *why)
{
	CLEANUP(buf_fini) struct buf raw = BUF_INIT(LOG_HEADER_MAX);
	int r = log_read_header(log->fd, &raw);

	if (r == ERR_IO)
		buf_printf(why, "cannot read keystore %s: %m", log->path);
	if (r == 0)
		r = log_header_parse(buf_bytes(&raw), log->path, why, &log->header);
	if (r == 0)
		r = log_header_open(&log->header, buf_bytes(&raw), seal, log->path, why, &log->dek);
	/* the slots' bytes go with the buffer */
	for (size_t i = 0; i < log->header.n_slots; i++) {
		log->header.slots[i].params = BYTES_NONE;
		log->header.slots[i].wrapped = log->header.slots[i].keyring = NULL;
	}
	if (r == 0)
		r = log_cipher_init(&log->cipher, &log->header, log->dek);
	return r;
}

static int cut_tail(struct sealed_log *log, uint64_t size, bool read_only, struct buf *why)
{
	log->cut_tail = size - log->durable.end;
	if (read_only)
		return 0;
	if (ftruncate(log->fd, (off_t)log->durable.end) < 0 || fsync(log->fd) < 0) {
		buf_printf(why, "cannot cut the torn tail off keystore %s: %m", log->path);
		return ERR_IO;
	}
	return 0;
}

static int replay_all(struct sealed_log *log, const struct sealed_log_options *options, sealed_log_replay_fn replay,
		      void *arg, struct buf *why)
{
	struct log_walk walk = {
		.fd = log->fd,
		.path = log->path,
		.cipher = &log->cipher,
		.at = log_cursor_start(&log->header),
		.replay = replay,
		.arg = arg,
		.accept_damaged_tail = options->accept_damaged_tail,
	};
	struct stat st;
	int r;

	if (fstat(log->fd, &st) < 0) {
		buf_printf(why, "cannot look at keystore %s: %m", log->path);
		return ERR_IO;
	}
	walk.size = (uint64_t)st.st_size;
	r = log_walk(&walk, why);
	log->durable = walk.at;
	if (r >= 0 && options->replayed) {
		int whole = options->replayed(arg, why);

		if (whole < 0) /* a file that is not used is left as it is */
			return whole;
	}
	if (r == 1)
		r = cut_tail(log, walk.size, options->read_only, why);
	/* what is shown from now on must last, and whoever wrote it may have ended before his sync */
	if (r == 0 && !options->read_only && fdatasync(log->fd) < 0) {
		buf_printf(why, "cannot sync keystore %s: %m", log->path);
		r = ERR_IO;
	}
	log->tip = log->durable;
	return r;
}

int sealed_log_open(const char *path, const struct seal *seal, const struct sealed_log_options *options,
		    sealed_log_replay_fn replay, void *arg, struct buf *why, struct sealed_log **ret)
{
	CLEANUP(sealed_log_closep) struct sealed_log *log = calloc(1, sizeof(*log));
	int r;

	if (!log)
		return ERR_NOMEM;
	log->fd = -1;
	log->read_only = options->read_only;
	log->seal = seal->name;
	log->staged = BUF_INIT((size_t)1 << 30);
	log->path = strdup(path);
	if (!log->path)
		return ERR_NOMEM;
	if (options->read_only) {
		r = private_file_open(path, O_RDONLY, "keystore", why, &log->fd);
		if (r == ERR_NOT_FOUND)
			buf_printf(why, "there is no keystore at %s", path);
	} else {
		r = open_or_make(log, seal, options, why);
	}
	if (r == 0)
		r = unlock_header(log, seal, why);
	if (r == 0)
		r = replay_all(log, options, replay, arg, why);
	/* not before: of a file that turns out to be damaged they may be all that is left */
	if (r == 0 && !options->read_only)
		r = log_remove_leftovers(path, why);
	if (r < 0)
		return r;
	*ret = TAKE(log);
	return 0;
}
