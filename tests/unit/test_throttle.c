/* proto/throttle: more than ten failures in a minute, per origin */
#include "proto/throttle.h"
#include "tests/unit/tap.h"

static struct throttle t;

static void check_one_origin(void)
{
	throttle_init(&t);
	for (int i = 0; i < THROTTLE_FAILURES; i++)
		throttle_note_failure(&t, "uid:1", 1000 + i);
	CHECK_INT(throttle_wait_ms(&t, "uid:1", 2000), 0);
	throttle_note_failure(&t, "uid:1", 2000);
	CHECK_INT(throttle_wait_ms(&t, "uid:1", 2000), 59000);
	CHECK_INT(throttle_wait_ms(&t, "uid:2", 2000), 0);
	CHECK_INT(throttle_wait_ms(&t, "uid:1", 60999), 1);
	CHECK_INT(throttle_wait_ms(&t, "uid:1", 61000), 0);
	throttle_note_failure(&t, "uid:1", 61000); /* a new minute, a new count */
	CHECK_INT(throttle_wait_ms(&t, "uid:1", 61001), 0);
	throttle_fini(&t);
}

static void check_full_table(void)
{
	char origin[64];

	throttle_init(&t);
	for (int i = 0; i < THROTTLE_ENTRIES; i++) {
		(void)snprintf(origin, sizeof(origin), "ip:%d", i);
		for (int k = 0; k <= THROTTLE_FAILURES; k++)
			throttle_note_failure(&t, origin, 1000 + i);
	}
	CHECK(throttle_wait_ms(&t, "ip:0", 3000) > 0);
	throttle_note_failure(&t, "ip:new", 3000); /* the oldest gives way */
	CHECK_INT(throttle_wait_ms(&t, "ip:0", 3000), 0);
	CHECK(throttle_wait_ms(&t, "ip:1", 3000) > 0);
	throttle_fini(&t);
}

int main(void)
{
	test_start();
	check_one_origin();
	check_full_table();
	return test_end();
}
