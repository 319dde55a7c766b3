/*
 * frame - a byte stream into frames: one JSON text each, ended by a line feed
 *
 * Pure and incremental: knows nothing of sockets. A frame that arrived whole is handed out where it lies, without a copy; only
 * the beginning of an unfinished one is kept. A frame over the ceiling is reported once and skipped up to its line end.
 */
#ifndef E2EED_PROTO_FRAME_H
#define E2EED_PROTO_FRAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

struct frame_reader {
	size_t max;	    /* bytes of a frame, line ending not counted */
	struct buf partial; /* owned: the unfinished frame */
	bool taken;	    /* partial was handed out as a frame and goes with frame_done() or the next call */
	bool skipping;	    /* within a frame that is too long */
};

void frame_reader_init(struct frame_reader *f, size_t max);
void frame_reader_fini(struct frame_reader *f);

/** frame_reader_set_max - another ceiling, from the next frame on that has not begun yet */
void frame_reader_set_max(struct frame_reader *f, size_t max);

/**
 * frame_next - the next frame in @in
 * @in:  what was received; advanced past what was consumed
 * @ret: the frame without its line ending, never empty (empty lines are skipped); points into @in or into the reader, and is
 *       valid until the next call
 *
 * Return: 1 and a frame; 0 when @in is used up; ERR_TOO_LARGE once for each frame over the ceiling; ERR_NOMEM (the frame is skipped).
 */
int frame_next(struct frame_reader *f, struct bytes *in, struct bytes *ret) WARN_UNUSED;

/**
 * frame_done - the frame handed out last has been dealt with: what the reader holds of it is wiped
 *
 * The next frame_next() would do that too, but a connection that has had its share may not come to it before its peer speaks again.
 */
void frame_done(struct frame_reader *f);

#endif
