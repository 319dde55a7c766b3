/* Growing, the ceiling, sticky errors and what wiping leaves. */
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tests/unit/tap.h"

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static void test_puts(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(100);

	CHECK(b.p == NULL && b.n == 0);
	CHECK_BYTES(buf_bytes(&b), BYTES_NONE);
	buf_put(&b, NULL, 0);
	buf_put_str(&b, "one ");
	buf_put_bytes(&b, BYTES_LIT("t\0wo"));
	buf_put_byte(&b, ' ');
	buf_printf(&b, "%d %s", -3, "four");
	CHECK_BYTES(buf_bytes(&b), BYTES_LIT("one t\0wo -3 four"));
	CHECK_INT(buf_err(&b), 0);
}

static void test_ceiling(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1000);
	uint8_t byte = 'a';

	for (int i = 0; i < 1000; i++)
		buf_put(&b, &byte, 1);
	CHECK_INT(buf_err(&b), 0);
	CHECK_INT(b.n, 1000);
	buf_put_byte(&b, 'b');
	CHECK_INT(buf_err(&b), ERR_TOO_LARGE);
	CHECK_INT(b.n, 1000);
	buf_cut(&b, 10);
	CHECK_INT(buf_err(&b), 0);
	CHECK(buf_room(&b, 991) == NULL);
	CHECK_INT(buf_err(&b), ERR_TOO_LARGE);
	buf_put_byte(&b, 'b'); /* sticky, though this would fit */
	CHECK_INT(b.n, 10);
	buf_cut(&b, 10);
	CHECK(buf_room(&b, SIZE_MAX) == NULL);
	buf_reset(&b);
	CHECK_INT(buf_err(&b), 0);
	CHECK_INT(b.n, 0);
	CHECK(b.p != NULL); /* kept for the next use */
	CHECK(buf_room(&b, 1000) != NULL);
}

static void test_no_ceiling_at_all(void)
{
	struct buf zeroed = { 0 };

	buf_put_byte(&zeroed, 'x');
	CHECK_INT(buf_err(&zeroed), ERR_TOO_LARGE);
	buf_fini(&zeroed);
	CHECK_INT(buf_err(&zeroed), 0);
}

static void test_growing_keeps(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1 << 20);
	bool same = true;

	for (uint32_t i = 0; i < 50000; i++)
		buf_put(&b, &i, sizeof(i));
	CHECK_INT(buf_err(&b), 0);
	CHECK_INT(b.n, 200000);
	for (uint32_t i = 0; i < 50000; i++)
		same = same && memcmp(b.p + i * sizeof(i), &i, sizeof(i)) == 0;
	CHECK(same);
}

static void test_wiping(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(256);

	buf_put_str(&b, "message text");
	buf_cut(&b, 7);
	CHECK_BYTES(buf_bytes(&b), bytes_str("message"));
	CHECK(all_zero(b.p + 7, 5));
	buf_put_str(&b, "s, two frames");
	buf_drop_front(&b, 10);
	CHECK_BYTES(buf_bytes(&b), bytes_str("two frames"));
	CHECK(all_zero(b.p + 10, 10));
	buf_drop_front(&b, 4);
	CHECK_BYTES(buf_bytes(&b), bytes_str("frames"));
	CHECK(all_zero(b.p + 6, 14));
	buf_drop_front(&b, 0);
	buf_drop_front(&b, 6);
	CHECK_INT(b.n, 0);
	buf_put_str(&b, "again");
	buf_reset(&b);
	CHECK(all_zero(b.p, 20));
}

static void test_room(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(5000);
	uint8_t *room = buf_room(&b, 4000);

	CHECK(room != NULL);
	memset(room, 'r', 4000);
	CHECK_INT(b.n, 0);
	buf_added(&b, 3000);
	CHECK_INT(b.n, 3000);
	buf_put_byte(&b, 's');
	CHECK(b.p[2999] == 'r' && b.p[3000] == 's');
}

/* Longer than any fixed space: names that come from outside must not stop the process. */
static void test_long_printf(void)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1001);
	char name[1000];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	buf_printf(&b, "<%s>", name);
	CHECK_INT(buf_err(&b), 0);
	CHECK_INT(b.n, 1001);
	CHECK(b.p[0] == '<' && b.p[999] == 'n' && b.p[1000] == '>');
	buf_cut(&b, 1);
	buf_printf(&b, "<%s>", name);
	CHECK_INT(buf_err(&b), ERR_TOO_LARGE);
	CHECK_INT(b.n, 1);
}

int main(void)
{
	test_start();
	test_puts();
	test_ceiling();
	test_no_ceiling_at_all();
	test_growing_keeps();
	test_wiping();
	test_room();
	test_long_printf();
	return test_end();
}
