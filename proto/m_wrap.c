/*
 * m_wrap - hand a room's keys to other members (docs/protocol.md, section 3, wrapRoomKey)
 */
#include "base/jw.h"
#include "proto/methods.h"

#define MAX_RECIPIENTS 100

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

static int put_wrapped(struct call *c, const char *name, const struct ring_key *key, const struct rsa_key *recipient)
{
	int r;

	buf_reset(&c->w->text);
	r = roomkey_wrap(key->key, recipient, key->kid, &c->w->text);
	if (r == 0)
		jw_bytes(c->out, name, buf_bytes(&c->w->text));
	return r;
}

static int put_old_keys(struct call *c, const struct rsa_key *recipient)
{
	const struct ring_key *current = ring_current(c->ring);
	int r;

	jw_array(c->out, "oldKeys");
	for (size_t i = 0; i < ring_len(c->ring); i++) {
		const struct ring_key *key = ring_at(c->ring, i);

		if (key == current)
			continue;
		jw_object(c->out, NULL);
		jw_bytes(c->out, "e2eKeyId", key->kid);
		if (key->ts.n)
			jw_raw(c->out, "ts", key->ts);
		r = put_wrapped(c, "E2EKey", key, recipient);
		if (r < 0)
			return r;
		jw_object_end(c->out);
	}
	jw_array_end(c->out);
	return 0;
}

/* Return: ERR_INVALID_KEY when this recipient's public key is of no use; nothing has been written then. */
static int put_user(struct call *c, const json_t *recipient, bool history)
{
	CLEANUP(rsa_unrefp) struct rsa_key *key = NULL;
	struct bytes id, text;
	int r;

	if (!json_member_str(recipient, "_id", &id) || !json_member_str(recipient, "public_key", &text))
		return ERR_INVALID_KEY;
	r = jwk_parse_public(text, &key);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "_id", id);
	r = put_wrapped(c, "key", ring_current(c->ring), key);
	if (r == 0 && history)
		r = put_old_keys(c, key);
	if (r < 0)
		return r == ERR_INVALID_KEY ? ERR_CRYPTO : r; /* the key was fine: the fault is ours */
	jw_object_end(c->out);
	return 0;
}

int m_wrap_room_key(struct call *c)
{
	const struct p_wrap_room_key *p = c->params;
	bool failed[MAX_RECIPIENTS] = { false };
	const json_t *recipient;
	struct bytes id;
	size_t i;

	if (!ring_current(c->ring))
		return ERR_NO_ROOM_KEY;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "roomId", p->room_id);
	jw_array(c->out, "users");
	json_array_foreach(c->json, i, recipient)
	{
		int r = put_user(c, recipient, p->history);

		failed[i] = r == ERR_INVALID_KEY;
		if (r < 0 && !failed[i])
			return r;
	}
	jw_array_end(c->out);
	jw_array(c->out, "failed");
	json_array_foreach(c->json, i, recipient)
	{
		if (!failed[i] || !json_member_str(recipient, "_id", &id))
			continue;
		jw_object(c->out, NULL);
		jw_bytes(c->out, "_id", id);
		jw_str(c->out, "reason", err_reason(ERR_INVALID_KEY));
		jw_object_end(c->out);
	}
	jw_array_end(c->out);
	jw_object_end(c->out);
	return 0;
}
