/*
 * call - what handlers of several families share
 */
#include <assert.h>

#include "base/jw.h"
#include "proto/methods.h"

static const struct {
	unsigned perm;
	const char *name;
} perm_names[] = {
	{ PERM_READ, "read" },
	{ PERM_WRITE, "write" },
	{ PERM_CREATE, "create" },
	{ PERM_DISTRIBUTE, "distribute" },
};

#define N_PERMS (sizeof(perm_names) / sizeof(perm_names[0]))

int call_bad_param(struct call *c, const char *param)
{
	c->detail = (struct rpc_detail){ .name = "param", .str = bytes_str(param) };
	return ERR_INVALID_PARAMS;
}

int call_failed(struct call *c, int err)
{
	if (c->w->text.n && buf_err(&c->w->text) == 0)
		c->detail = (struct rpc_detail){ .name = "why", .str = buf_bytes(&c->w->text) };
	return err;
}

struct bytes call_room(const struct call *c)
{
	return *(const struct bytes *)(const void *)((const char *)c->params + c->method->room_offset);
}

int call_ask_grant(struct call *c, struct bytes room, unsigned perms, struct ring **ret)
{
	int r = app_get_ring(c->peer->app, room, perms, ret);

	if (r == ERR_ROOM_NOT_AUTHORIZED && peer_is_stale(c->peer))
		return ERR_UNAUTHENTICATED; /* revoked since it was let in: sessions end before the rooms go */
	if (r == ERR_ROOM_NOT_AUTHORIZED)
		c->detail = (struct rpc_detail){ .name = "permission", .str = bytes_str(call_perm_name(perms)) };
	return r;
}

int call_find_app(struct call *c, struct bytes app_id, struct app **ret)
{
	struct app *app = store_find_app(c->svc->store, app_id);

	if (!app)
		return ERR_NOT_FOUND;
	service_works_for(c->w, app);
	*ret = app;
	return 0;
}

int call_may_go_on(struct call *c)
{
	CLEANUP(ring_unrefp) struct ring *ring = NULL;

	if (peer_is_stale(c->peer))
		return ERR_UNAUTHENTICATED;
	return call_ask_grant(c, call_room(c), c->method->perms, &ring);
}

void call_settle(struct call *c, struct bytes app_id)
{
	CLEANUP(app_unrefp) struct app *app = store_find_app(c->svc->store, app_id);

	assert(app); /* it has just been changed, and none ever goes */
	service_settle(c->w, app);
}

const char *call_perm_name(unsigned perm)
{
	for (size_t i = 0; i < N_PERMS; i++) {
		if (perm_names[i].perm == perm)
			return perm_names[i].name;
	}
	return "";
}

void call_put_perms(struct buf *b, const char *key, unsigned perms)
{
	jw_array(b, key);
	for (size_t i = 0; i < N_PERMS; i++) {
		if (perms & perm_names[i].perm)
			jw_str(b, NULL, perm_names[i].name);
	}
	jw_array_end(b);
}

int call_parse_perms(const json_t *names, unsigned *ret)
{
	unsigned perms = 0;
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		const char *text = json_string_value(name);
		unsigned perm = 0;

		for (size_t k = 0; text && k < N_PERMS; k++) {
			if (strcmp(text, perm_names[k].name) == 0)
				perm = perm_names[k].perm;
		}
		if (!perm)
			return ERR_INVALID_PARAMS;
		perms |= perm;
	}
	if (!perms)
		return ERR_INVALID_PARAMS;
	*ret = perms;
	return 0;
}

void call_put_room_key(struct buf *b, const struct ring *ring, const struct ring_key *key)
{
	jw_bytes(b, "kid", key->kid);
	jw_str(b, "algorithm", room_alg_name(roomkey_alg(key->key)));
	jw_str(b, "state", key == ring_current(ring) ? "current" : "old");
	if (key->ts.n)
		jw_raw(b, "ts", key->ts);
}
