/*
 * m_wrap - hand a room's keys to other members (docs/protocol.md, section 3, wrapRoomKey)
 *
 * Recipients times keys are a matrix of RSA operations, done row by row in rounds. A round's operations are spread over the workers
 * in blocks, and its results written in order; before each one is looked whether the app may still have them. So the work is spread
 * evenly whether there are many recipients or many keys, what is kept until it is written is bounded, and a revocation does not wait
 * for more than a round.
 */
#include <stdlib.h>

#include "base/jw.h"
#include "crypto/jwk.h"
#include "proto/methods.h"

#define MAX_RECIPIENTS 100
#define BLOCK	       16 /* wraps: some 0.5 ms, for which handing over to another thread is nothing */
#define ROUND	       64 /* blocks */
#define MAX_WRAPS      (ROUND * BLOCK)

static bool recipient_is_usable(const json_t *recipient)
{
	struct bytes id;

	return json_is_object(recipient) && json_member_str(recipient, "_id", &id) && param_id_is_usable(id);
}

int m_wrap_room_key_check(struct call *c)
{
	const struct p_wrap_room_key *p = c->params;
	const json_t *recipient;
	size_t i;
	int r = json_load(p->recipients, &c->json);

	if (r == ERR_NOMEM)
		return r;
	if (r < 0 || json_array_size(c->json) > MAX_RECIPIENTS)
		return call_bad_param(c, "recipients");
	json_array_foreach(c->json, i, recipient)
	{
		if (!recipient_is_usable(recipient))
			return call_bad_param(c, "recipients");
	}
	return 0;
}

/* ---- the recipients ---- */

struct recipient {
	struct bytes id, text; /* borrowed from the call's JSON; an empty text is none */
	struct rsa_key *key;   /* owned; NULL: of no use */
	int err;
};

struct wrap {
	const struct ring *ring; /* borrowed */
	bool history;
	struct recipient all[MAX_RECIPIENTS];
	size_t n_all;
	const struct recipient *usable[MAX_RECIPIENTS];
	size_t n_usable;
	size_t n_keys;	 /* that each of them gets */
	size_t first, n; /* of the round: numbers of wraps, recipient by recipient, the current key first */
	int errs[ROUND]; /* of its blocks */
	uint8_t wrapped[][RSA_SIZE];
};

static void wrap_freep(struct wrap **w)
{
	for (size_t i = 0; *w && i < (*w)->n_all; i++)
		rsa_unref((*w)->all[i].key);
	free(*w);
}

/* A user has one key: which one counts of several would be left to the order in which the server takes them. */
static bool is_first(const struct wrap *w, struct bytes id)
{
	for (size_t i = 0; i < w->n_all; i++)
		if (bytes_eq(w->all[i].id, id))
			return false;
	return true;
}

static void parse_recipient(void *work, size_t i)
{
	struct wrap *w = work;
	struct recipient *to = &w->all[i];

	to->err = to->text.n ? jwk_parse_public(to->text, &to->key) : ERR_INVALID_KEY;
}

/* Return: 0; an error that is no recipient's own */
static int read_recipients(struct call *c, struct wrap *w)
{
	const json_t *recipient;
	size_t i;

	json_array_foreach(c->json, i, recipient)
	{
		struct recipient to = { .key = NULL };

		if (json_member_str(recipient, "_id", &to.id) && is_first(w, to.id))
			(void)json_member_str(recipient, "public_key", &to.text); /* without one it is of no use */
		w->all[w->n_all++] = to;
	}
	service_spread(c->svc, parse_recipient, w, w->n_all);
	for (i = 0; i < w->n_all; i++) {
		if (w->all[i].err < 0 && w->all[i].err != ERR_INVALID_KEY)
			return w->all[i].err;
		if (w->all[i].err == 0)
			w->usable[w->n_usable++] = &w->all[i];
	}
	return 0;
}

/* ---- their keys, in rounds ---- */

static void wrap_block(void *work, size_t block)
{
	struct wrap *w = work;
	size_t end = (block + 1) * BLOCK < w->n ? (block + 1) * BLOCK : w->n;
	int r = 0;

	for (size_t i = block * BLOCK; r == 0 && i < end; i++) {
		const struct recipient *to = w->usable[(w->first + i) / w->n_keys];
		const struct ring_key *key = ring_at(w->ring, (w->first + i) % w->n_keys);

		r = roomkey_wrap_bytes(key->key, to->key, w->wrapped[i]);
	}
	w->errs[block] = r == ERR_INVALID_KEY ? ERR_CRYPTO : r; /* both keys were fine: the fault is ours */
}

static void put_wrapped(struct call *c, const char *name, struct bytes kid, const uint8_t wrapped[RSA_SIZE])
{
	buf_reset(&c->w->text);
	roomkey_join(kid, wrapped, &c->w->text);
	jw_bytes(c->out, name, buf_bytes(&c->w->text));
}

/* The @i-th of the round; a recipient's first one opens what belongs to him, his last one closes it. */
static void put_wrap(struct call *c, const struct wrap *w, size_t i)
{
	size_t k = (w->first + i) % w->n_keys;
	const struct ring_key *key = ring_at(w->ring, k);

	if (k == 0) {
		jw_object(c->out, NULL);
		jw_bytes(c->out, "_id", w->usable[(w->first + i) / w->n_keys]->id);
		put_wrapped(c, "key", key->kid, w->wrapped[i]);
		if (w->history)
			jw_array(c->out, "oldKeys");
	} else {
		jw_object(c->out, NULL);
		jw_bytes(c->out, "e2eKeyId", key->kid);
		if (key->ts.n)
			jw_raw(c->out, "ts", key->ts);
		put_wrapped(c, "E2EKey", key->kid, w->wrapped[i]);
		jw_object_end(c->out);
	}
	if (k == w->n_keys - 1) {
		if (w->history)
			jw_array_end(c->out);
		jw_object_end(c->out);
	}
}

static int do_round(struct call *c, struct wrap *w)
{
	size_t n_blocks = (w->n + BLOCK - 1) / BLOCK;
	int r = call_may_go_on(c);

	if (r < 0)
		return r;
	service_spread(c->svc, wrap_block, w, n_blocks);
	for (size_t i = 0; r == 0 && i < n_blocks; i++)
		r = w->errs[i];
	for (size_t i = 0; r == 0 && i < w->n; i++)
		put_wrap(c, w, i);
	return r < 0 ? r : buf_err(&c->w->text);
}

static int put_users(struct call *c, struct wrap *w)
{
	size_t total = w->n_usable * w->n_keys;
	int r = 0;

	jw_array(c->out, "users");
	for (w->first = 0; r == 0 && w->first < total; w->first += w->n) {
		w->n = total - w->first < MAX_WRAPS ? total - w->first : MAX_WRAPS;
		r = do_round(c, w);
	}
	jw_array_end(c->out);
	return r;
}

static void put_failed(struct buf *out, const struct wrap *w)
{
	jw_array(out, "failed");
	for (size_t i = 0; i < w->n_all; i++) {
		if (w->all[i].err == 0)
			continue;
		jw_object(out, NULL);
		jw_bytes(out, "_id", w->all[i].id);
		jw_str(out, "reason", err_reason(w->all[i].err));
		jw_object_end(out);
	}
	jw_array_end(out);
}

int m_wrap_room_key(struct call *c)
{
	const struct p_wrap_room_key *p = c->params;
	CLEANUP(wrap_freep) struct wrap *w = NULL;
	int r;

	if (!ring_current(c->ring))
		return ERR_NO_ROOM_KEY;
	w = calloc(1, sizeof(*w) + (size_t)MAX_WRAPS * RSA_SIZE);
	if (!w)
		return ERR_NOMEM;
	w->ring = c->ring;
	w->history = p->history;
	w->n_keys = p->history ? ring_len(c->ring) : 1;
	r = read_recipients(c, w);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "roomId", p->room_id);
	r = put_users(c, w);
	if (r < 0)
		return r;
	put_failed(c->out, w);
	jw_object_end(c->out);
	return 0;
}
