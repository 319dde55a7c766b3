/*
 * event_index - places in the sealed log from which events can be read on, so that nobody has to begin at the start
 *
 * Sparse: one place before each record of a snapshot's events, one behind the snapshot, and then one every EVENT_INDEX_STEP changes.
 * Kept in memory only: loading finds them again. The store's mutation lock is over it.
 */
#ifndef E2EED_KEYSTORE_EVENT_INDEX_H
#define E2EED_KEYSTORE_EVENT_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "keystore/log_frame.h"

#define EVENT_INDEX_STEP 256u

struct event_place {
	uint64_t seq; /* no event behind the place has this number or a lower one, and none before it a higher one */
	struct log_cursor at;
};

struct event_index {
	struct event_place *places; /* owned; rising */
	size_t n, cap;
	unsigned since_last; /* changes */
};

/** event_index_add - Return: 0; ERR_NOMEM, and nothing has changed */
int event_index_add(struct event_index *index, uint64_t seq, const struct log_cursor *at) WARN_UNUSED;

/**
 * event_index_step - a change lies behind @at; @seq is the number of the one before
 *
 * Return: 0; ERR_NOMEM: there is no place for it, and reading begins at the one before
 */
int event_index_step(struct event_index *index, uint64_t seq, const struct log_cursor *at);

/** event_index_find - where to begin for the events behind number @since; NULL: the index is empty */
const struct log_cursor *event_index_find(const struct event_index *index, uint64_t since);

void event_index_fini(struct event_index *index); /* it is empty and usable afterwards */

#endif
