#include "keystore/ring.h"

#include "keystore/ring_build.h"
#include "tests/unit/tap.h"

static struct roomkey *room_keys[6];

static struct ring_key *make(unsigned number, const char *kid, int64_t order_ms)
{
	struct ring_key *key = NULL;

	CHECK_INT(ring_key_new(number, bytes_str(kid), BYTES_LIT("\"ts\""), order_ms, room_keys[number], &key), 0);
	return key;
}

static struct ring *with(const struct ring *old, struct ring_key *const *added, size_t n, uint32_t current)
{
	struct ring *ring = NULL;

	CHECK_INT(ring_new(old, added, n, current, &ring), 0);
	return ring;
}

/* are the numbers those of @want, in that order? */
static bool has(const struct ring *ring, const char *want)
{
	size_t n = strlen(want);

	if (ring_len(ring) != n || ring_at(ring, n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (ring_at(ring, i)->number != (unsigned)(want[i] - '0'))
			return false;
	return true;
}

static void test_empty(void)
{
	CHECK_INT(ring_len(NULL), 0);
	CHECK(!ring_at(NULL, 0) && !ring_current(NULL) && !ring_newest(NULL, BYTES_LIT("a")));
	CHECK(!ring_same(NULL, BYTES_LIT("a"), room_keys[0]) && !ring_ref(NULL));
	ring_unref(NULL);
}

static void test_order(void)
{
	struct ring_key *k[6] = { make(0, "a", 100), make(1, "a", 300), make(2, "b", 200),
				  make(3, "b", 300), make(4, "a", 50),	make(5, "c", 400) };
	struct ring *ring, *next;

	ring = with(NULL, (struct ring_key *[]){ k[0], k[1], k[2] }, 3, RING_SAME_CURRENT);
	CHECK(has(ring, "120"));
	CHECK(!ring_current(ring));

	/* made current: first, whatever its time; equal times: the higher number is newer */
	next = with(ring, (struct ring_key *[]){ k[3], k[4] }, 2, 4);
	CHECK(has(next, "43120"));
	CHECK(ring_current(next) == ring_at(next, 0));
	CHECK(has(ring, "120")); /* a ring never changes */
	ring_unref(ring);
	ring = next;

	/* the former current key goes to its place; a known key becomes current without an addition */
	next = with(ring, NULL, 0, 0);
	CHECK(has(next, "03124"));
	ring_unref(ring);
	ring = next;

	/* a newer key does not push the current one out of its place */
	next = with(ring, &k[5], 1, RING_SAME_CURRENT);
	CHECK(has(next, "053124"));
	CHECK_INT(ring_current(next)->number, 0);
	ring_unref(ring);
	ring = next;

	CHECK_INT(ring_newest(ring, BYTES_LIT("a"))->number, 0);
	CHECK_INT(ring_newest(ring, BYTES_LIT("b"))->number, 3);
	CHECK(!ring_newest(ring, BYTES_LIT("ab")));
	CHECK_INT(ring_same(ring, BYTES_LIT("a"), room_keys[4])->number, 4);
	CHECK(!ring_same(ring, BYTES_LIT("b"), room_keys[4]));
	CHECK_BYTES(ring_at(ring, 1)->ts, BYTES_LIT("\"ts\""));

	next = NULL;
	CHECK_INT(ring_new(ring, NULL, 0, 6, &next), ERR_NOT_FOUND);
	CHECK(!next);

	for (size_t i = 0; i < 6; i++)
		ring_key_unref(k[i]);
	next = ring_ref(ring);
	ring_unref(ring);
	CHECK_BYTES(ring_at(next, 5)->kid, BYTES_LIT("a")); /* the ring's own references hold its keys */
	ring_unref(next);
}

int main(void)
{
	test_start();
	for (size_t i = 0; i < 6; i++)
		CHECK_INT(roomkey_generate(&room_keys[i]), 0);
	test_empty();
	test_order();
	for (size_t i = 0; i < 6; i++)
		roomkey_unref(room_keys[i]);
	return test_end();
}
