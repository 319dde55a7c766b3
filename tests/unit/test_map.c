/* The map agrees with a plain array through thousands of random changes, and frees nothing that is not its own. */
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "tests/unit/tap.h"

#define N 2000

struct item {
	char id[16];
	bool in;
	bool seen;
};

static struct item items[N];

static struct bytes item_key(const void *value)
{
	const struct item *it = value;

	return bytes_str(it->id);
}

static void test_empty(void)
{
	struct map m = MAP_INIT(item_key);
	size_t at = 0;

	CHECK(map_find(&m, BYTES_LIT("x")) == NULL);
	CHECK(map_remove(&m, BYTES_LIT("x")) == NULL);
	CHECK(map_next(&m, &at) == NULL);
	CHECK_INT(map_reserve(&m, 0), 0);
	CHECK(map_find(&m, BYTES_NONE) == NULL);
	map_fini(&m);
	map_fini(&m);
	CHECK(m.slots == NULL && m.n == 0 && m.cap == 0);
	CHECK_INT(map_reserve(&m, SIZE_MAX), ERR_NOMEM);
	CHECK_INT(map_reserve(&m, SIZE_MAX / 64 + 1), ERR_NOMEM);
	CHECK(m.slots == NULL);
}

static bool agrees(const struct map *m, size_t want_n)
{
	size_t at = 0, n = 0;
	struct item *it;
	bool ok = m->n == want_n;

	for (size_t i = 0; i < N; i++) {
		ok = ok && map_find(m, item_key(&items[i])) == (items[i].in ? &items[i] : NULL);
		items[i].seen = false;
	}
	while ((it = map_next(m, &at))) {
		ok = ok && it->in && !it->seen;
		it->seen = true;
		n++;
	}
	return ok && n == want_n;
}

static void test_random(void)
{
	CLEANUP(map_fini) struct map m = MAP_INIT(item_key);
	uint32_t state = 42;
	size_t n = 0;
	bool ok = true;

	for (size_t i = 0; i < N; i++)
		(void)snprintf(items[i].id, sizeof(items[i].id), "id-%zu", i);
	for (int round = 0; round < 60000; round++) {
		struct item *it;

		state = state * 1664525u + 1013904223u;
		it = &items[(state >> 8) % N];
		if (it->in) {
			ok = ok && map_remove(&m, item_key(it)) == it && !map_remove(&m, item_key(it));
			n--;
		} else {
			ok = ok && map_reserve(&m, 1) == 0;
			map_add(&m, it);
			n++;
		}
		it->in = !it->in;
		if (round % 5000 == 0)
			ok = ok && agrees(&m, n);
	}
	CHECK(ok);
	CHECK(agrees(&m, n));
	for (size_t i = 0; i < N; i++)
		items[i].in = items[i].in && map_remove(&m, item_key(&items[i])) != &items[i];
	CHECK(agrees(&m, 0));
}

/* After one reservation that many additions need no more memory. */
static void test_reserved(void)
{
	CLEANUP(map_fini) struct map m = MAP_INIT(item_key);
	void **slots;

	CHECK_INT(map_reserve(&m, N), 0);
	slots = m.slots;
	for (size_t i = 0; i < N; i++) {
		map_add(&m, &items[i]);
		items[i].in = true;
	}
	CHECK(m.slots == slots);
	CHECK(agrees(&m, N));
	CHECK_INT(map_reserve(&m, 0), 0);
	CHECK(m.slots == slots);
}

static struct bytes raw_key(const void *value)
{
	return *(const struct bytes *)value;
}

static void test_keys_are_bytes(void)
{
	CLEANUP(map_fini) struct map m = MAP_INIT(raw_key);
	struct bytes keys[] = { BYTES_NONE, BYTES_LIT("\0"), BYTES_LIT("\0\0"), BYTES_LIT("a\0b"), BYTES_LIT("a\0c") };

	CHECK_INT(map_reserve(&m, 5), 0);
	for (size_t i = 0; i < 5; i++)
		map_add(&m, &keys[i]);
	for (size_t i = 0; i < 5; i++)
		CHECK(map_find(&m, keys[i]) == &keys[i]);
	CHECK(map_find(&m, BYTES_LIT("a")) == NULL);
}

int main(void)
{
	test_start();
	test_empty();
	test_random();
	test_reserved();
	test_keys_are_bytes();
	return test_end();
}
