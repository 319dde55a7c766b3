#include "keystore/event_index.h"

#include <stdlib.h>

int event_index_add(struct event_index *index, uint64_t seq, const struct log_cursor *at)
{
	if (index->n == index->cap) {
		size_t cap = index->cap ? 2 * index->cap : 16;
		struct event_place *places = reallocarray(index->places, cap, sizeof(*places));

		if (!places)
			return ERR_NOMEM;
		index->places = places;
		index->cap = cap;
	}
	index->places[index->n++] = (struct event_place){ .seq = seq, .at = *at };
	index->since_last = 0;
	return 0;
}

int event_index_step(struct event_index *index, uint64_t seq, const struct log_cursor *at)
{
	return ++index->since_last < EVENT_INDEX_STEP ? 0 : event_index_add(index, seq, at);
}

const struct log_cursor *event_index_find(const struct event_index *index, uint64_t since)
{
	size_t low = 0, high = index->n; /* the places below low may serve, those from high on begin too late */

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (index->places[middle].seq <= since)
			low = middle + 1;
		else
			high = middle;
	}
	if (!index->n)
		return NULL;
	return &index->places[low ? low - 1 : 0].at;
}

void event_index_fini(struct event_index *index)
{
	free(index->places);
	*index = (struct event_index){ 0 };
}
