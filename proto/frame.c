#include "proto/frame.h"

void frame_reader_init(struct frame_reader *f, size_t max)
{
	*f = (struct frame_reader){ .max = max,
				    .partial = BUF_INIT(max + 1) }; /* 1: a carriage return is no part of it */
}

void frame_reader_fini(struct frame_reader *f)
{
	buf_fini(&f->partial);
}

void frame_reader_set_max(struct frame_reader *f, size_t max)
{
	if (f->max == max || f->partial.n || f->skipping)
		return;
	f->max = max;
	f->partial.max = max + 1;
}

static struct bytes without_cr(struct bytes line)
{
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

#define KEEP_MEMORY 65536

/* An idle connection should not hold on to the memory of one large frame. */
static void forget(struct frame_reader *f)
{
	if (f->partial.cap > KEEP_MEMORY)
		buf_fini(&f->partial);
	else
		buf_reset(&f->partial);
	f->taken = false;
}

static void skip_rest(struct frame_reader *f)
{
	forget(f);
	f->skipping = true;
}

/* Keep the beginning of a frame. What cannot become a frame of at most max bytes is given up now, not at its end. */
static int keep(struct frame_reader *f, struct bytes part)
{
	size_t n = f->partial.n + part.n;
	int r;

	if (n > f->max + 1 || (n == f->max + 1 && part.p[part.n - 1] != '\r')) {
		skip_rest(f);
		return ERR_TOO_LARGE;
	}
	buf_put_bytes(&f->partial, part);
	r = buf_err(&f->partial);
	if (r < 0)
		skip_rest(f);
	return r;
}

void frame_done(struct frame_reader *f)
{
	if (f->taken)
		forget(f);
}

int frame_next(struct frame_reader *f, struct bytes *in, struct bytes *ret)
{
	frame_done(f);
	while (in->n) {
		const uint8_t *end = memchr(in->p, '\n', in->n);
		struct bytes line = BYTES(in->p, end ? (size_t)(end - in->p) : in->n);
		int r;

		*in = bytes_sub(*in, line.n + (end ? 1 : 0), SIZE_MAX);
		if (f->skipping) {
			f->skipping = !end;
			continue;
		}
		if (!end) {
			r = keep(f, line);
			if (r < 0)
				return r;
			continue;
		}
		if (f->partial.n) {
			if (line.n) {
				r = keep(f, line);
				if (r < 0) {
					f->skipping = false; /* its end was just seen */
					return r;
				}
			}
			f->taken = true;
			line = buf_bytes(&f->partial);
		}
		line = without_cr(line);
		if (line.n > f->max)
			return ERR_TOO_LARGE;
		if (line.n) {
			*ret = line;
			return 1;
		}
		frame_done(f);
	}
	return 0;
}
