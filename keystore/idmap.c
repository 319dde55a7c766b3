#include "keystore/idmap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare(struct bytes a, struct bytes b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

void idmap_fini(struct idmap *m)
{
	map_fini(&m->map);
	free(m->sorted);
	m->sorted = NULL;
	m->n = m->cap = 0;
}

int idmap_reserve(struct idmap *m)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 8;
		void **p = reallocarray(m->sorted, cap, sizeof(*p));

		if (!p)
			return ERR_NOMEM;
		m->sorted = p;
		m->cap = cap;
	}
	return map_reserve(&m->map, 1);
}

void idmap_add(struct idmap *m, void *value, bool later)
{
	struct bytes id = m->map.key_of(value);
	size_t from = 0, to = m->n;

	assert(m->n < m->cap);
	map_add(&m->map, value);
	while (!later && from < to) { /* the place lies in [from, to] */
		size_t middle = from + (to - from) / 2;

		if (compare(m->map.key_of(m->sorted[middle]), id) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	memmove(&m->sorted[to + 1], &m->sorted[to], (m->n - to) * sizeof(*m->sorted));
	m->sorted[to] = value;
	m->n++;
}

static int compare_values(const void *a, const void *b, void *arg)
{
	const struct idmap *m = arg;

	return compare(m->map.key_of(*(void *const *)a), m->map.key_of(*(void *const *)b));
}

void idmap_sort(struct idmap *m)
{
	if (m->n)
		qsort_r(m->sorted, m->n, sizeof(*m->sorted), compare_values, m);
}
