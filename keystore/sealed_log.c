#include "keystore/sealed_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fsio.h"
#include "keystore/log_private.h"

int sealed_log_stage(struct sealed_log *log, struct bytes plain)
{
	uint8_t *frame;

	if (plain.n > SEALED_LOG_MAX_RECORD)
		return ERR_TOO_LARGE;
	if (log->read_only)
		return ERR_FORBIDDEN;
	if (log->failed)
		return ERR_STORAGE;
	frame = buf_room(&log->staged, LOG_FRAME_EMPTY + plain.n);
	if (!frame) {
		buf_cut(&log->staged, log->staged.n); /* clears the error; what was staged before stays */
		return ERR_NOMEM;
	}
	log_frame_seal(&log->cipher, &log->tip, plain, frame);
	buf_added(&log->staged, LOG_FRAME_EMPTY + plain.n);
	return 0;
}

void sealed_log_take(struct sealed_log *log, struct log_batch *ret)
{
	*ret = (struct log_batch){
		.frames = log->staged, .from = log->durable, .to = log->tip, .fd = log->fd, .path = log->path
	};
	log->staged = BUF_INIT(log->staged.max);
}

/*
 * Is the file where it was, and as long as we left it? What is written to one that was moved away or replaced, or behind what somebody
 * cut off or added, would be acknowledged, and be gone at the next start.
 */
static bool is_as_we_left_it(const struct log_batch *batch)
{
	struct stat ours, named;

	if (fstat(batch->fd, &ours) < 0 || lstat(batch->path, &named) < 0)
		return false;
	errno = ESTALE;
	return ours.st_dev == named.st_dev && ours.st_ino == named.st_ino && (uint64_t)ours.st_size == batch->from.end;
}

int sealed_log_sync(struct log_batch *batch)
{
	batch->untouched = !is_as_we_left_it(batch);
	if (!batch->untouched && fsio_pwrite_full(batch->fd, buf_bytes(&batch->frames), batch->from.end) == 0 &&
	    fdatasync(batch->fd) == 0)
		return 0;
	batch->why = errno;
	return ERR_STORAGE;
}

void sealed_log_settle(struct sealed_log *log, struct log_batch *batch, int r)
{
	if (r == 0) {
		log->durable = batch->to;
	} else {
		log->last_errno = batch->why;
		/* Cutting drops pages the kernel could not write, so this sync speaks of what is left. */
		if (!batch->untouched && (ftruncate(log->fd, (off_t)log->durable.end) < 0 || fdatasync(log->fd) < 0))
			log->failed = true;
		log->tip = log->durable;
		buf_reset(&log->staged);
	}
	buf_fini(&batch->frames);
}

struct log_cursor sealed_log_mark(const struct sealed_log *log)
{
	return log->durable;
}

struct log_cursor sealed_log_tip(const struct sealed_log *log)
{
	return log->tip;
}

size_t sealed_log_list_slots(const struct sealed_log *log, struct sealed_log_slot ret[LOG_MAX_SLOTS])
{
	for (size_t i = 0; i < log->header.n_slots; i++) {
		const struct log_slot *slot = &log->header.slots[i];

		ret[i] = (struct sealed_log_slot){ slot->number, (enum seal_type)slot->type, slot->created_ms };
	}
	return log->header.n_slots;
}

void sealed_log_get_info(const struct sealed_log *log, struct sealed_log_info *ret)
{
	*ret = (struct sealed_log_info){
		.path = log->path,
		.seal = log->seal,
		.generation = log->header.generation,
		.records = log->durable.n,
		.bytes = log->durable.end,
		.cut_tail = log->cut_tail,
		.created = log->created,
		.residue = log->residue,
		.last_errno = log->last_errno,
		.failed = log->failed,
	};
	memcpy(ret->file_id, log->header.file_id, LOG_FILE_ID);
}

void sealed_log_close(struct sealed_log *log)
{
	if (!log)
		return;
	log_cipher_fini(&log->cipher);
	secret_free(log->dek);
	buf_fini(&log->staged);
	fd_closep(&log->fd); /* drops the lock */
	free(log->path);
	free(log);
}
