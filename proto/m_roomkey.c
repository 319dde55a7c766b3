/*
 * m_roomkey - room keys in and out (docs/protocol.md, section 3, Room keys; wrapping for others is in m_wrap.c)
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/jw.h"
#include "proto/methods.h"

/* An E2EKey string taken apart, and the kid it goes by. */
struct parsed_key {
	int err; /* ERR_MALFORMED_ENVELOPE: no E2EKey string */
	struct bytes kid;
	uint8_t wrapped[RSA_SIZE];
};

/*
 * The kid that is given (the room's e2eKeyId) wins over the prefix, as in the web client (interop.md 3).
 * Return: ERR_INVALID_PARAMS when there is neither.
 */
static int parse_key(struct bytes key, struct bytes kid, struct parsed_key *ret)
{
	struct bytes prefix = BYTES_NONE;

	if (!kid.n && key.n == ROOMKEY_WRAPPED_LEN)
		return ERR_INVALID_PARAMS;
	ret->err = roomkey_split(key, &prefix, ret->wrapped);
	ret->kid = kid.n ? kid : prefix;
	return 0;
}

/* By the current identity key, then by the retired ones still in grace. */
static int unwrap_key(const struct app_view *view, const uint8_t wrapped[RSA_SIZE], struct roomkey **ret)
{
	int64_t now = clock_now_ms();
	int r = ERR_KEY_UNWRAP_FAILED;

	for (size_t i = 0; i < view->n_identities && r == ERR_KEY_UNWRAP_FAILED; i++) {
		const struct identity *id = &view->identities[i];

		if (i > 0 && id->expires_ms <= now)
			continue;
		r = roomkey_unwrap(id->key, wrapped, ret);
	}
	return r;
}

int m_import_room_key_check(struct call *c)
{
	const struct p_import_room_key *p = c->params;
	struct parsed_key key;

	return parse_key(p->key, p->kid, &key) < 0 ? call_bad_param(c, "kid") : 0;
}

int m_import_room_key(struct call *c)
{
	const struct p_import_room_key *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(c->peer->app);
	CLEANUP(roomkey_unrefp) struct roomkey *room = NULL;
	struct room_key_in in;
	struct parsed_key key;
	int r;

	r = parse_key(p->key, p->kid, &key);
	if (r == 0)
		r = key.err;
	if (r == 0)
		r = unwrap_key(view, key.wrapped, &room);
	if (r < 0)
		return r;
	in = (struct room_key_in){ .kid = key.kid, .ts = p->ts.json, .order_ms = p->ts.ms, .key = room };
	r = store_add_room_keys(c->svc->store, c->peer->app, p->room_id, PERM_READ, false, &in, 1,
				p->make_current ? 0 : -1);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "kid", key.kid);
	jw_str(c->out, "algorithm", room_alg_name(roomkey_alg(room)));
	jw_str(c->out, "state", in.ret_current ? "current" : "old");
	jw_object_end(c->out);
	return 0;
}

int m_import_room_keys_check(struct call *c)
{
	const struct p_import_room_keys *p = c->params;
	const json_t *entry;
	size_t i;
	int r = json_load(p->keys, &c->json);

	if (r < 0)
		return r == ERR_NOMEM ? r : call_bad_param(c, "keys");
	json_array_foreach(c->json, i, entry)
	{
		if (!json_is_object(entry))
			return call_bad_param(c, "keys");
	}
	return 0;
}

/* one entry of oldRoomKeys on its way in */
struct import {
	struct bytes kid;   /* as far as it is known */
	const char *failed; /* reason, or NULL */
	struct param_ts ts;
	struct buf ts_text; /* owned: what ts points into */
};

static int read_ts(const json_t *ts, struct import *ret)
{
	if (!ts || json_is_null(ts))
		return 0;
	ret->ts_text = BUF_INIT(PARAM_MAX_TS);
	if (json_put(ts, &ret->ts_text) < 0)
		return buf_err(&ret->ts_text) == ERR_TOO_LARGE ? ERR_INVALID_PARAMS : ERR_NOMEM;
	return params_parse_ts(buf_bytes(&ret->ts_text), &ret->ts);
}

/* Return: 0 and a key; ERR_NOMEM and the like; any other error is this entry's own and no reason to fail the others. */
static int import_entry(const struct app_view *view, const json_t *entry, struct import *im, struct roomkey **ret)
{
	struct bytes text, kid = BYTES_NONE;
	struct parsed_key key;
	int r;

	if (json_member_str(entry, "e2eKeyId", &kid) && kid.n && !param_kid_is_usable(kid))
		return ERR_INVALID_PARAMS;
	im->kid = kid;
	if (!json_member_str(entry, "E2EKey", &text))
		return ERR_INVALID_PARAMS;
	r = parse_key(text, kid, &key);
	if (r == 0)
		r = key.err;
	if (r < 0)
		return r;
	im->kid = key.kid;
	r = read_ts(json_object_get(entry, "ts"), im);
	return r < 0 ? r : unwrap_key(view, key.wrapped, ret);
}

static void put_imports(struct buf *out, const struct import *imports, size_t n)
{
	jw_object(out, NULL);
	jw_array(out, "imported");
	for (size_t i = 0; i < n; i++) {
		if (!imports[i].failed)
			jw_bytes(out, NULL, imports[i].kid);
	}
	jw_array_end(out);
	jw_array(out, "failed");
	for (size_t i = 0; i < n; i++) {
		if (!imports[i].failed)
			continue;
		jw_object(out, NULL);
		if (imports[i].kid.n)
			jw_bytes(out, "kid", imports[i].kid);
		else
			jw_null(out, "kid");
		jw_str(out, "reason", imports[i].failed);
		jw_object_end(out);
	}
	jw_array_end(out);
	jw_object_end(out);
}

static int import_all(struct call *c, struct import *imports, struct room_key_in *keys, size_t n, size_t *n_keys)
{
	const struct p_import_room_keys *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(c->peer->app);
	int r;

	for (size_t i = 0; i < n; i++) {
		struct import *im = &imports[i];
		struct roomkey *key = NULL;

		r = call_may_go_on(c); /* each entry takes a millisecond */
		if (r < 0)
			return r;
		r = import_entry(view, json_array_get(c->json, i), im, &key);
		if (r == ERR_NOMEM || r == ERR_CRYPTO)
			return r;
		if (r < 0)
			im->failed = err_reason(r);
		else
			keys[(*n_keys)++] = (struct room_key_in){
				.kid = im->kid, .ts = im->ts.json, .order_ms = im->ts.ms, .key = key
			};
	}
	if (*n_keys == 0)
		return 0;
	return store_add_room_keys(c->svc->store, c->peer->app, p->room_id, PERM_READ, false, keys, *n_keys, -1);
}

int m_import_room_keys(struct call *c)
{
	size_t n = json_array_size(c->json), n_keys = 0;
	struct import *imports = calloc(n ? n : 1, sizeof(*imports));
	struct room_key_in *keys = calloc(n ? n : 1, sizeof(*keys));
	int r = imports && keys ? import_all(c, imports, keys, n, &n_keys) : ERR_NOMEM;

	if (r == 0)
		put_imports(c->out, imports, n);
	for (size_t i = 0; i < n_keys; i++)
		roomkey_unref(keys[i].key);
	for (size_t i = 0; imports && i < n; i++)
		buf_fini(&imports[i].ts_text);
	free(keys);
	free(imports);
	return r;
}

/* The app's own E2EKey string of a room key, as a JSON string. */
static int put_wrapped(struct call *c, const struct roomkey *key, struct bytes kid)
{
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(c->peer->app);
	const struct identity *id = app_view_identity(view);
	int r;

	if (!id)
		return ERR_UNAUTHENTICATED; /* revoked a moment ago */
	buf_reset(&c->w->text);
	r = roomkey_wrap(key, id->key, kid, &c->w->text);
	if (r < 0)
		return r;
	jw_bytes(c->out, "key", buf_bytes(&c->w->text));
	return 0;
}

int m_create_room_key(struct call *c)
{
	const struct p_room *p = c->params;
	CLEANUP(roomkey_unrefp) struct roomkey *key = NULL;
	char kid[UUID_SIZE], now[CLOCK_ISO_SIZE], ts[CLOCK_ISO_SIZE + 2];
	struct room_key_in in;
	int r;

	r = roomkey_generate(&key);
	if (r < 0)
		return r;
	rand_uuid(kid);
	jw_object(c->out, NULL);
	jw_str(c->out, "kid", kid);
	r = put_wrapped(c, key, bytes_str(kid)); /* before the store: what cannot be handed out is not kept */
	if (r < 0)
		return r;
	jw_object_end(c->out);

	in = (struct room_key_in){ .kid = bytes_str(kid), .order_ms = clock_now_ms(), .key = key };
	clock_iso(in.order_ms, now);
	(void)snprintf(ts, sizeof(ts), "\"%s\"", now); /* fits */
	in.ts = bytes_str(ts);
	return store_add_room_keys(c->svc->store, c->peer->app, p->room_id, PERM_CREATE, true, &in, 1, 0);
}

int m_get_room_key(struct call *c)
{
	const struct p_get_room_key *p = c->params;
	const struct ring_key *key = p->kid.n ? ring_newest(c->ring, p->kid) : ring_current(c->ring);
	int r;

	if (!key) {
		if (p->kid.n)
			c->detail = (struct rpc_detail){ .name = "kid", .str = p->kid };
		return ERR_NO_ROOM_KEY;
	}
	jw_object(c->out, NULL);
	jw_bytes(c->out, "roomId", p->room_id);
	r = put_wrapped(c, key->key, key->kid);
	if (r < 0)
		return r;
	call_put_room_key(c->out, c->ring, key);
	jw_object_end(c->out);
	return 0;
}

static void put_listed_keys(struct buf *out, const struct ring *ring)
{
	jw_object(out, NULL);
	jw_array(out, "keys");
	for (size_t i = 0; i < ring_len(ring); i++) {
		jw_object(out, NULL);
		call_put_room_key(out, ring, ring_at(ring, i));
		jw_object_end(out);
	}
	jw_array_end(out);
	jw_object_end(out);
}

int m_list_room_keys(struct call *c)
{
	put_listed_keys(c->out, c->ring);
	return 0;
}

int m_list_app_room_keys(struct call *c)
{
	const struct p_app_room *p = c->params;
	CLEANUP(ring_unrefp) struct ring *ring = NULL;
	CLEANUP(app_unrefp) struct app *app = NULL;
	int r = call_find_app(c, p->app_id, &app);

	if (r == 0 && app_get_ring(app, p->room_id, 0, &ring) < 0)
		r = ERR_NOT_FOUND; /* no such grant */
	if (r == 0)
		put_listed_keys(c->out, ring);
	return r;
}
