#include "keystore/audit_index.h"

#include <assert.h>
#include <string.h>

_Static_assert(AUDIT_INDEX_MARKS % 2 == 0, "half of them stay");

void audit_index_note(struct audit_index *x, const struct audit_place *place, uint64_t offset)
{
	if (x->n == 0)
		x->stride = AUDIT_INDEX_STRIDE;
	if (place->n % x->stride != 0)
		return;
	if (x->n == AUDIT_INDEX_MARKS) { /* an even number of strides, so this place still gets its mark */
		for (unsigned i = 1; i < AUDIT_INDEX_MARKS / 2; i++)
			x->marks[i] = x->marks[2 * i];
		x->n = AUDIT_INDEX_MARKS / 2;
		x->stride *= 2;
	}
	assert(place->n == x->n * x->stride);
	x->marks[x->n].offset = offset;
	memcpy(x->marks[x->n].mac, place->mac, AUDIT_MAC_SIZE);
	x->n++;
}

static void get(const struct audit_index *x, unsigned i, struct audit_mark *ret)
{
	*ret = (struct audit_mark){ .place.n = i * x->stride, .offset = x->marks[i].offset };
	memcpy(ret->place.mac, x->marks[i].mac, AUDIT_MAC_SIZE);
}

void audit_index_before(const struct audit_index *x, uint64_t n, struct audit_mark *ret)
{
	const uint64_t i = n / x->stride;

	get(x, i < x->n ? (unsigned)i : x->n - 1, ret);
}

void audit_index_at(const struct audit_index *x, uint64_t offset, struct audit_mark *ret)
{
	unsigned i = x->n - 1;

	while (x->marks[i].offset > offset) /* the first one's is 0 */
		i--;
	get(x, i, ret);
}
