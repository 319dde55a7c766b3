#include "keystore/event_tail.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* ---- notes ---- */

static struct bytes copy(uint8_t **at, struct bytes from)
{
	struct bytes to = BYTES(*at, from.n);

	if (from.n)
		memcpy(*at, from.p, from.n);
	*at += from.n;
	return to;
}

static struct event_note *note_new(const struct event *e)
{
	struct event_note *note = malloc(sizeof(*note) + e->app_id.n + e->room_id.n + e->kid.n + e->key_id.n);
	uint8_t *at;

	if (!note)
		return NULL;
	atomic_init(&note->refs, 1);
	note->next = NULL;
	note->event = *e;
	at = note->bytes;
	note->event.app_id = copy(&at, e->app_id);
	note->event.room_id = copy(&at, e->room_id);
	note->event.kid = copy(&at, e->kid);
	note->event.key_id = copy(&at, e->key_id);
	return note;
}

void event_note_unref(struct event_note *note)
{
	if (note && atomic_fetch_sub_explicit(&note->refs, 1, memory_order_acq_rel) == 1)
		free(note);
}

void event_notes_free(struct event_note *list)
{
	while (list) {
		struct event_note *next = list->next;

		event_note_unref(list);
		list = next;
	}
}

int event_notes_new(const struct record *record, struct event_note **ret)
{
	struct event_note *list = NULL, **tail = &list;
	size_t n = event_count(record);

	for (size_t i = 0; i < n; i++) {
		struct event event;

		event_get(record, i, &event);
		*tail = note_new(&event);
		if (!*tail) {
			event_notes_free(list);
			return ERR_NOMEM;
		}
		tail = &(*tail)->next;
	}
	*ret = list;
	return 0;
}

/* ---- the tail ---- */

int event_tail_init(struct event_tail *tail)
{
	*tail = (struct event_tail){ .notes = calloc(EVENT_TAIL_MAX, sizeof(struct event_note *)) };
	if (!tail->notes)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&tail->lock, NULL); /* the default kind cannot fail */
	return 0;
}

static void drop_first(struct event_tail *tail)
{
	struct event_note *note = tail->notes[tail->first];

	tail->base = note->event.seq;
	tail->first = (tail->first + 1) % EVENT_TAIL_MAX;
	tail->n--;
	event_note_unref(note);
}

void event_tail_fini(struct event_tail *tail)
{
	if (!tail->notes)
		return;
	while (tail->n)
		drop_first(tail);
	free(tail->notes);
	tail->notes = NULL;
	(void)pthread_mutex_destroy(&tail->lock);
}

void event_tail_open(struct event_tail *tail, uint64_t newest)
{
	(void)pthread_mutex_lock(&tail->lock); /* a default mutex used rightly does not fail */
	assert(!tail->n);
	tail->base = tail->newest = newest;
	tail->open = true;
	(void)pthread_mutex_unlock(&tail->lock);
}

void event_tail_shut(struct event_tail *tail)
{
	(void)pthread_mutex_lock(&tail->lock);
	while (tail->n)
		drop_first(tail);
	tail->open = false;
	(void)pthread_mutex_unlock(&tail->lock);
}

void event_tail_put(struct event_tail *tail, struct event_note *list, uint64_t seq)
{
	(void)pthread_mutex_lock(&tail->lock);
	while (list) {
		struct event_note *note = list;

		list = TAKE(note->next);
		if (tail->n == EVENT_TAIL_MAX)
			drop_first(tail);
		tail->notes[(tail->first + tail->n) % EVENT_TAIL_MAX] = note;
		tail->n++;
	}
	tail->newest = seq;
	(void)pthread_mutex_unlock(&tail->lock);
}

/* With the lock: the place of the first event behind number @since; n if there is none. */
static size_t find(const struct event_tail *tail, uint64_t since)
{
	size_t low = 0, high = tail->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tail->notes[(tail->first + middle) % EVENT_TAIL_MAX]->event.seq <= since)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int get(const struct event_tail *tail, uint64_t since, size_t max, struct event_note **ret, size_t *ret_n,
	       uint64_t *ret_upto)
{
	size_t from, n;

	if (!tail->open)
		return ERR_LOCKED;
	if (since > tail->newest)
		return ERR_SEQ_TOO_OLD;
	if (since < tail->base)
		return ERR_NOT_FOUND;
	from = find(tail, since);
	n = tail->n - from < max ? tail->n - from : max;
	for (size_t i = 0; i < n; i++) {
		ret[i] = tail->notes[(tail->first + from + i) % EVENT_TAIL_MAX];
		atomic_fetch_add_explicit(&ret[i]->refs, 1, memory_order_relaxed);
	}
	*ret_n = n;
	*ret_upto = from + n == tail->n ? tail->newest : ret[n - 1]->event.seq;
	return 0;
}

int event_tail_get(struct event_tail *tail, uint64_t since, size_t max, struct event_note **ret, size_t *ret_n,
		   uint64_t *ret_upto)
{
	int r;

	assert(max > 0);
	(void)pthread_mutex_lock(&tail->lock);
	r = get(tail, since, max, ret, ret_n, ret_upto);
	(void)pthread_mutex_unlock(&tail->lock);
	return r;
}

int event_tail_newest(struct event_tail *tail, uint64_t *ret)
{
	int r = ERR_LOCKED;

	(void)pthread_mutex_lock(&tail->lock);
	if (tail->open) {
		*ret = tail->newest;
		r = 0;
	}
	(void)pthread_mutex_unlock(&tail->lock);
	return r;
}
