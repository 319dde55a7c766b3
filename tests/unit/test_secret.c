/* Slots are zeroed, counted, compared and shortened; a freed one leaves nothing in the arena. */
#include <string.h>

#include "base/arena.h"
#include "base/secret.h"
#include "tests/unit/tap.h"

static void test_new(void)
{
	CLEANUP(secret_freep) struct secret *s = NULL, *none = NULL;
	static const uint8_t zero[32];

	CHECK_INT(secret_new(32, &s), 0);
	CHECK_BYTES(secret_bytes(s), BYTES(zero, 32));
	CHECK_INT(secret_live(), 1);
	memset(secret_write(s), 7, 32);
	CHECK(secret_read(s)[0] == 7 && secret_read(s)[31] == 7);
	CHECK_INT(secret_new(0, &none), 0);
	CHECK_INT(secret_len(none), 0);
	CHECK_INT(secret_live(), 2);
	secret_freep(&s);
	CHECK(s == NULL);
	CHECK_INT(secret_live(), 1);
	secret_free(NULL);
	CHECK_INT(secret_live(), 1);
}

static void test_too_large(void)
{
	struct secret *untouched = (struct secret *)&untouched, *s = untouched;

	CHECK_INT(secret_new(SIZE_MAX, &s), ERR_NOMEM);
	CHECK_INT(secret_new(SIZE_MAX - 7, &s), ERR_NOMEM);
	CHECK_INT(secret_dup(BYTES("", SIZE_MAX / 2), &s), ERR_NOMEM);
	CHECK(s == untouched);
	CHECK_INT(secret_live(), 0);
}

static void test_equal(void)
{
	CLEANUP(secret_freep) struct secret *a = NULL, *b = NULL, *c = NULL, *empty = NULL, *empty2 = NULL;

	CHECK_INT(secret_dup(BYTES_LIT("token-1"), &a), 0);
	CHECK_INT(secret_dup(BYTES_LIT("token-1"), &b), 0);
	CHECK_INT(secret_dup(BYTES_LIT("token-2"), &c), 0);
	CHECK_INT(secret_dup(BYTES_NONE, &empty), 0);
	CHECK_INT(secret_dup(BYTES_NONE, &empty2), 0);
	CHECK(secret_equal(a, b));
	CHECK(!secret_equal(a, c));
	CHECK(!secret_equal(a, empty));
	CHECK(secret_equal(empty, empty2));
	secret_cut(a, 6);
	CHECK(!secret_equal(a, b));
	secret_cut(c, 6);
	CHECK(secret_equal(a, c));
}

static void test_cut_wipes(void)
{
	CLEANUP(secret_freep) struct secret *s = NULL;
	const uint8_t *p;

	CHECK_INT(secret_dup(BYTES_LIT("0123456789"), &s), 0);
	p = secret_read(s);
	secret_cut(s, 10);
	CHECK_BYTES(secret_bytes(s), BYTES_LIT("0123456789"));
	secret_cut(s, 4);
	CHECK_BYTES(secret_bytes(s), BYTES_LIT("0123"));
	CHECK_BYTES(BYTES(p, 10), BYTES_LIT("0123\0\0\0\0\0\0"));
}

static void test_in_arena(void)
{
	CLEANUP(secret_freep) struct secret *s = NULL;
	struct arena_status before, after;

	arena_get_status(&before);
	CHECK_INT(secret_new(32, &s), 0);
	arena_get_status(&after);
	CHECK_INT(after.live_blocks - before.live_blocks, 1);
	secret_freep(&s);
	arena_get_status(&after);
	CHECK_INT(after.live_blocks, before.live_blocks);
}

#if defined(__x86_64__)
static void test_registers(void)
{
	uint64_t low[2] = { 0 }, high[2] = { 0 };

	__asm__ volatile("pcmpeqd %%xmm7, %%xmm7\n\tpcmpeqd %%xmm15, %%xmm15" : : : "xmm7", "xmm15");
	secret_wipe_registers();
	__asm__ volatile("movdqu %%xmm7, %0\n\tmovdqu %%xmm15, %1" : "=m"(low), "=m"(high));
	CHECK(!(low[0] | low[1] | high[0] | high[1]));
}
#endif

int main(void)
{
	test_start();
#if defined(__x86_64__)
	test_registers();
#endif
	test_new();
	test_too_large();
	test_equal();
	test_cut_wipes();
	test_in_arena();
	return test_end();
}
