/*
 * m_app - apps, their tokens and their rooms, for admins (docs/protocol.md, section 4)
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/jw.h"
#include "crypto/jwk.h"
#include "proto/handshake.h"
#include "proto/methods.h"

static int read_grant(const json_t *entry, struct room_grant *ret)
{
	const json_t *perms = json_object_get(entry, "permissions");

	if (!json_member_str(entry, "roomId", &ret->room_id) || !param_id_is_usable(ret->room_id))
		return ERR_INVALID_PARAMS;
	return json_is_array(perms) ? call_parse_perms(perms, &ret->perms) : ERR_INVALID_PARAMS;
}

int m_create_app_check(struct call *c)
{
	const struct p_create_app *p = c->params;
	struct room_grant grant;
	const json_t *entry;
	size_t i;
	int r = json_load(p->rooms.n ? p->rooms : BYTES_LIT("[]"), &c->json);

	if (r < 0)
		return r == ERR_NOMEM ? r : call_bad_param(c, "rooms");
	json_array_foreach(c->json, i, entry)
	{
		if (read_grant(entry, &grant) < 0)
			return call_bad_param(c, "rooms");
	}
	return 0;
}

/* of what was checked */
static int read_grants(struct call *c, struct room_grant **ret, size_t *ret_n)
{
	size_t n = json_array_size(c->json);
	struct room_grant *grants = calloc(n ? n : 1, sizeof(*grants));
	int r = grants ? 0 : ERR_NOMEM;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = read_grant(json_array_get(c->json, i), &grants[i]);
	if (r < 0) {
		free(grants);
		return r;
	}
	*ret = grants;
	*ret_n = n;
	return 0;
}

static void put_token(struct buf *out, const struct secret *token)
{
	jw_string(out, "token");
	handshake_put_token(out, token);
	jw_string_end(out);
}

int m_create_app(struct call *c)
{
	const struct p_create_app *p = c->params;
	CLEANUP(secret_freep) struct secret *token = NULL;
	CLEANUP(rsa_unrefp) struct rsa_key *key = NULL;
	CLEANUP(app_unrefp) struct app *existing = NULL;
	struct room_grant *grants = NULL;
	char key_id[UUID_SIZE];
	size_t n = 0;
	int r;

	r = read_grants(c, &grants, &n);
	if (r < 0)
		return r;
	existing = store_find_app(c->svc->store, p->app_id);
	if (existing)
		r = ERR_ALREADY_EXISTS; /* without the cost of a key pair; the store decides again */
	if (r == 0)
		r = rand_secret(STORE_TOKEN_SIZE, &token);
	if (r == 0)
		r = rsa_generate(&key);
	buf_reset(&c->w->text);
	if (r == 0)
		r = jwk_write_public(key, &c->w->text);
	if (r == 0)
		r = store_create_app(c->svc->store, p->app_id, p->name, token, key, grants, n, key_id);
	free(grants);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "appId", p->app_id);
	put_token(c->out, token);
	jw_str(c->out, "keyId", key_id);
	jw_bytes(c->out, "publicKey", buf_bytes(&c->w->text));
	jw_object_end(c->out);
	return 0;
}

static void put_listed_app(void *arg, struct app *app)
{
	struct buf *out = arg;
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(app);
	const struct identity *id = app_view_identity(view);

	jw_object(out, NULL);
	jw_bytes(out, "appId", app_id(app));
	jw_bytes(out, "name", view->name);
	jw_str(out, "state", view->revoked_ms ? "revoked" : "active");
	if (id)
		jw_str(out, "keyId", id->key_id);
	else
		jw_null(out, "keyId");
	jw_time(out, "createdAt", view->created_ms);
	jw_int(out, "rooms", (int64_t)app_count_rooms(app));
	jw_object_end(out);
}

int m_list_apps(struct call *c)
{
	jw_object(c->out, NULL);
	jw_array(c->out, "apps");
	store_each_app(c->svc->store, put_listed_app, c->out);
	jw_array_end(c->out);
	jw_object_end(c->out);
	return 0;
}

static void put_listed_room(void *arg, const struct room_info *room)
{
	struct buf *out = arg;

	jw_object(out, NULL);
	jw_bytes(out, "roomId", room->room_id);
	call_put_perms(out, "permissions", room->perms);
	jw_int(out, "keys", (int64_t)room->keys);
	if (room->current_kid.n)
		jw_bytes(out, "currentKid", room->current_kid);
	else
		jw_null(out, "currentKid");
	jw_object_end(out);
}

static void put_rooms(struct buf *out, struct app *app)
{
	jw_array(out, "rooms");
	app_each_room(app, put_listed_room, out);
	jw_array_end(out);
}

static void put_identity(struct buf *out, const char *key_id, const char *state, int64_t created_ms, int64_t expires_ms)
{
	jw_object(out, NULL);
	jw_str(out, "keyId", key_id);
	jw_str(out, "state", state);
	jw_time(out, "createdAt", created_ms);
	if (expires_ms)
		jw_time(out, "expiresAt", expires_ms);
	else
		jw_null(out, "expiresAt");
	jw_object_end(out);
}

static void put_identities(struct buf *out, const struct app_view *view)
{
	int64_t now = clock_now_ms();

	jw_array(out, "identities");
	for (size_t i = 0; i < view->n_identities; i++) {
		const struct identity *id = &view->identities[i];

		if (i == 0)
			put_identity(out, id->key_id, "current", id->created_ms, 0);
		else if (id->expires_ms > now)
			put_identity(out, id->key_id, "retired", id->created_ms, id->expires_ms);
	}
	for (size_t i = 0; i < view->n_tombstones; i++) {
		const struct identity_tombstone *tomb = &view->tombstones[i];

		put_identity(out, tomb->key_id, "revoked", tomb->created_ms, tomb->revoked_ms);
	}
	jw_array_end(out);
}

int m_get_app(struct call *c)
{
	const struct p_app *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = NULL;
	CLEANUP(app_unrefp) struct app *app = NULL;
	int64_t used;
	int r = call_find_app(c, p->app_id, &app);

	if (r < 0)
		return r;
	view = app_get_view(app);
	used = app_last_used_ms(app);
	jw_object(c->out, NULL);
	jw_bytes(c->out, "appId", p->app_id);
	jw_bytes(c->out, "name", view->name);
	jw_str(c->out, "state", view->revoked_ms ? "revoked" : "active");
	jw_time(c->out, "createdAt", view->created_ms);
	if (used)
		jw_time(c->out, "lastUsedAt", used);
	else
		jw_null(c->out, "lastUsedAt");
	put_identities(c->out, view);
	put_rooms(c->out, app);
	jw_object_end(c->out);
	return 0;
}

int m_reset_token(struct call *c)
{
	const struct p_app *p = c->params;
	CLEANUP(secret_freep) struct secret *token = NULL;
	int r = rand_secret(STORE_TOKEN_SIZE, &token);

	if (r == 0)
		r = store_reset_token(c->svc->store, p->app_id, token);
	if (r < 0)
		return r;
	c->svc->hooks.sessions_changed(c->svc->hooks.arg);
	call_settle(c, p->app_id);
	jw_object(c->out, NULL);
	put_token(c->out, token);
	jw_object_end(c->out);
	return 0;
}

int m_revoke_app(struct call *c)
{
	const struct p_app *p = c->params;
	int r = store_revoke_app(c->svc->store, p->app_id);

	if (r < 0)
		return r;
	c->svc->hooks.sessions_changed(c->svc->hooks.arg);
	call_settle(c, p->app_id);
	jw_object(c->out, NULL);
	jw_object_end(c->out);
	return 0;
}

int m_authorize_room_check(struct call *c)
{
	const struct p_authorize *p = c->params;
	unsigned perms;
	int r = json_load(p->permissions, &c->json);

	if (r == ERR_NOMEM)
		return r;
	return r < 0 || call_parse_perms(c->json, &perms) < 0 ? call_bad_param(c, "permissions") : 0;
}

int m_authorize_room(struct call *c)
{
	const struct p_authorize *p = c->params;
	unsigned perms = 0;
	int r = call_parse_perms(c->json, &perms);

	if (r == 0)
		r = store_grant(c->svc->store, p->app_id, p->room_id, perms);
	if (r < 0)
		return r;
	call_settle(c, p->app_id); /* it may have had more before */
	jw_object(c->out, NULL);
	jw_bytes(c->out, "roomId", p->room_id);
	call_put_perms(c->out, "permissions", perms);
	jw_object_end(c->out);
	return 0;
}

int m_deauthorize_room(struct call *c)
{
	const struct p_deauthorize *p = c->params;
	int r = store_revoke_grant(c->svc->store, p->app_id, p->room_id, p->purge_keys);

	if (r < 0)
		return r;
	call_settle(c, p->app_id);
	jw_object(c->out, NULL);
	jw_object_end(c->out);
	return 0;
}

int m_list_rooms(struct call *c)
{
	const struct p_app *p = c->params;
	CLEANUP(app_unrefp) struct app *app = NULL;
	int r = call_find_app(c, p->app_id, &app);

	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	put_rooms(c->out, app);
	jw_object_end(c->out);
	return 0;
}
