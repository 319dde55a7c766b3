/* proto/frame: the same frames come out however the stream is cut */
#include "proto/frame.h"
#include "tests/unit/tap.h"

#include "base/cleanup.h"

static void collect(struct frame_reader *f, struct bytes in, struct buf *ret)
{
	struct bytes frame;
	int r;

	while ((r = frame_next(f, &in, &frame)) != 0) {
		if (r < 0)
			buf_put_str(ret, r == ERR_TOO_LARGE ? "!" : "?");
		else
			buf_put_bytes(ret, frame);
		buf_put_byte(ret, '|');
	}
}

static void check_stream(size_t max, const char *stream, const char *want)
{
	size_t n = strlen(stream);

	for (size_t cut = 0; cut <= n; cut++) {
		CLEANUP(frame_reader_fini) struct frame_reader f;
		CLEANUP(buf_fini) struct buf got = BUF_INIT(4096);

		frame_reader_init(&f, max);
		collect(&f, BYTES(stream, cut), &got);
		collect(&f, BYTES(stream + cut, n - cut), &got);
		if (!bytes_eq(buf_bytes(&got), bytes_str(want)))
			printf("# cut at %zu of a stream with max %zu\n", cut, max);
		CHECK_BYTES(buf_bytes(&got), bytes_str(want));
	}
}

static void check_byte_by_byte(size_t max, const char *stream, const char *want)
{
	CLEANUP(frame_reader_fini) struct frame_reader f;
	CLEANUP(buf_fini) struct buf got = BUF_INIT(4096);

	frame_reader_init(&f, max);
	for (size_t i = 0; stream[i]; i++)
		collect(&f, BYTES(stream + i, 1), &got);
	CHECK_BYTES(buf_bytes(&got), bytes_str(want));
}

static void check(size_t max, const char *stream, const char *want)
{
	check_stream(max, stream, want);
	check_byte_by_byte(max, stream, want);
}

static void test_done(void)
{
	CLEANUP(frame_reader_fini) struct frame_reader f;
	struct bytes in = BYTES_LIT("half"), frame;
	const uint8_t *kept;

	frame_reader_init(&f, 100);
	CHECK_INT(frame_next(&f, &in, &frame), 0);
	frame_done(&f); /* no frame was handed out: what has begun stays */
	in = BYTES_LIT(" and half\nnext\n");
	CHECK_INT(frame_next(&f, &in, &frame), 1);
	CHECK_BYTES(frame, BYTES_LIT("half and half"));
	kept = frame.p;
	frame_done(&f);
	CHECK_BYTES(BYTES(kept, 13), BYTES_LIT("\0\0\0\0\0\0\0\0\0\0\0\0\0"));
	CHECK_INT(frame_next(&f, &in, &frame), 1);
	CHECK_BYTES(frame, BYTES_LIT("next"));
}

int main(void)
{
	test_start();
	test_done();
	check(100, "", "");
	check(100, "no end", "");
	check(100, "a\n", "a|");
	check(100, "a\nb\n", "a|b|");
	check(100, "a\r\nb\r\n", "a|b|");
	check(100, "\n\r\n\na\n\n", "a|");
	check(100, "a\rb\n", "a\rb|");
	check(100, "a\r\r\n", "a\r|");
	/* the ceiling, with and without a carriage return; what follows is not lost */
	check(4, "1234\n", "1234|");
	check(4, "1234\r\nx\n", "1234|x|");
	check(4, "12345\nx\n", "!|x|");
	check(4, "12345\r\nx\n", "!|x|");
	check(4, "1234\r5\nx\n", "!|x|");
	check(4, "1234\r\r\nx\n", "!|x|");
	check(4, "123456789012345678901234567890\nx\n12345\ny\n", "!|x|!|y|");
	check(1, "\n\n1\n22\n", "1|!|");
	return test_end();
}
