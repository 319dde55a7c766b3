/*
 * m_identity - what an app may ask about its own identity (docs/protocol.md, section 3, Identity and Status)
 */
#include "base/b64.h"
#include "base/clock.h"
#include "base/jw.h"
#include "crypto/jwk.h"
#include "crypto/userkey.h"
#include "proto/methods.h"

/* The JWK's text as a JSON string, which is how Rocket.Chat stores it. */
static int put_public_key(struct call *c, const char *key, const struct rsa_key *rsa)
{
	int r;

	buf_reset(&c->w->text);
	r = jwk_write_public(rsa, &c->w->text);
	if (r < 0)
		return r;
	jw_bytes(c->out, key, buf_bytes(&c->w->text));
	return 0;
}

int m_get_identity(struct call *c)
{
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(c->peer->app);
	int64_t now = clock_now_ms();
	char thumbprint[65];
	int r;

	if (!app_view_identity(view))
		return ERR_UNAUTHENTICATED; /* revoked a moment ago */
	r = jwk_thumbprint(view->identities[0].key, thumbprint);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "appId", app_id(c->peer->app));
	jw_str(c->out, "keyId", view->identities[0].key_id);
	r = put_public_key(c, "publicKey", view->identities[0].key);
	if (r < 0)
		return r;
	jw_str(c->out, "fingerprint", thumbprint);
	jw_time(c->out, "createdAt", view->identities[0].created_ms);
	jw_array(c->out, "retired");
	for (size_t i = 1; i < view->n_identities; i++) {
		const struct identity *id = &view->identities[i];

		if (id->expires_ms <= now)
			continue;
		jw_object(c->out, NULL);
		jw_str(c->out, "keyId", id->key_id);
		jw_time(c->out, "retiredAt", id->retired_ms);
		jw_time(c->out, "expiresAt", id->expires_ms);
		jw_object_end(c->out);
	}
	jw_array_end(c->out);
	jw_object_end(c->out);
	return 0;
}

/* Without escrow nobody is to open the published envelope, so the passphrase is random and is dropped: 43 printable characters. */
static int throwaway_passphrase(struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *random = NULL, *text = NULL;
	int r;

	r = rand_secret(32, &random);
	if (r == 0)
		r = secret_new(B64URL_LEN(32), &text);
	if (r < 0)
		return r;
	b64url_encode(secret_bytes(random), (char *)secret_write(text));
	*ret = TAKE(text);
	return 0;
}

int m_get_key_publication(struct call *c)
{
	const struct p_user *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = app_get_view(c->peer->app);
	CLEANUP(secret_freep) struct secret *thrown_away = NULL;
	const struct identity *id = app_view_identity(view);
	const struct rsa_key *key;
	int r;

	if (!id)
		return ERR_UNAUTHENTICATED; /* revoked a moment ago */
	key = id->key;
	r = view->escrow ? 0 : throwaway_passphrase(&thrown_away);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	r = put_public_key(c, "public_key", key);
	if (r < 0)
		return r;
	buf_reset(&c->w->text);
	r = userkey_seal(c->w->aes, key, p->user_id, view->escrow ? view->escrow : thrown_away, &c->w->text);
	if (r < 0)
		return r;
	jw_bytes(c->out, "private_key", buf_bytes(&c->w->text));
	jw_object_end(c->out);
	return 0;
}

int m_app_status(struct call *c)
{
	struct store_info info;

	store_get_info(c->svc->store, &info);
	jw_object(c->out, NULL);
	jw_bytes(c->out, "appId", app_id(c->peer->app));
	jw_str(c->out, "server", "e2eed/" E2EED_VERSION);
	jw_int(c->out, "protocol", SERVICE_PROTOCOL);
	jw_int(c->out, "rooms", (int64_t)app_count_rooms(c->peer->app));
	jw_int(c->out, "roomKeys", (int64_t)app_count_keys(c->peer->app));
	jw_int(c->out, "seq", (int64_t)info.seq);
	jw_object_end(c->out);
	return 0;
}
