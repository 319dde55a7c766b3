/*
 * m_custody - an app's identity keys in the hands of admins: rotate, revoke, import, export, escrow (docs/protocol.md, section 4)
 */
#include "base/clock.h"
#include "base/jw.h"
#include "crypto/jwk.h"
#include "crypto/userkey.h"
#include "proto/methods.h"

/* Its current view, if it has not been revoked. */
static int find_active(struct call *c, struct bytes app_id, const struct app_view **ret)
{
	CLEANUP(app_view_unrefp) const struct app_view *view = NULL;
	CLEANUP(app_unrefp) struct app *app = NULL;
	int r = call_find_app(c, app_id, &app);

	if (r < 0)
		return r;
	view = app_get_view(app);
	if (!app_view_identity(view))
		return ERR_FORBIDDEN;
	*ret = TAKE(view);
	return 0;
}

int m_rotate(struct call *c)
{
	const struct p_rotate *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = NULL;
	CLEANUP(rsa_unrefp) struct rsa_key *key = NULL;
	struct rotation rotation = { .previous_expires_ms = 0 };
	int r = find_active(c, p->app_id, &view); /* before the cost of a key pair; the store decides again */

	buf_reset(&c->w->text);
	app_view_unref(TAKE(view));
	service_works_for(c->w, NULL); /* a revocation need not wait for the new key */
	if (r == 0)
		r = rsa_generate(&key);
	if (r == 0)
		r = jwk_write_public(key, &c->w->text);
	if (r == 0)
		r = store_add_identity(c->svc->store, p->app_id, key, (int64_t)p->grace_s * 1000, &rotation);
	if (r < 0)
		return r;
	if (!p->grace_s) /* nobody unwraps with the former key any more; if it cannot be destroyed now, the keeper will */
		r = store_expire_keys(c->svc->store, clock_now_ms(), service_note_expired, c->svc);
	if (r < 0)
		c->svc->hooks.failed(c->svc->hooks.arg, "rotate", r, BYTES_LIT("the former key is destroyed later"));
	if (!p->grace_s)
		call_settle(c, p->app_id);
	jw_object(c->out, NULL);
	jw_str(c->out, "keyId", rotation.key_id);
	jw_bytes(c->out, "publicKey", buf_bytes(&c->w->text));
	jw_str(c->out, "previousKeyId", rotation.previous_key_id);
	jw_time(c->out, "previousExpiresAt", rotation.previous_expires_ms);
	jw_object_end(c->out);
	return 0;
}

/* What @r says was taken away from the app is gone. */
static int put_gone(struct call *c, struct bytes app_id, int r)
{
	if (r < 0)
		return r;
	call_settle(c, app_id);
	jw_object(c->out, NULL);
	jw_object_end(c->out);
	return 0;
}

int m_revoke_key(struct call *c)
{
	const struct p_revoke_key *p = c->params;

	return put_gone(c, p->app_id, store_revoke_key(c->svc->store, p->app_id, p->key_id));
}

int m_import_identity(struct call *c)
{
	const struct p_import_identity *p = c->params;
	CLEANUP(app_unrefp) struct app *app = NULL;
	CLEANUP(rsa_unrefp) struct rsa_key *public_key = NULL, *key = NULL;
	struct rotation rotation;
	int r;

	r = call_find_app(c, p->app_id, &app);
	service_works_for(c->w, NULL); /* a revocation need not wait for the passphrase to be tried */
	if (r == 0)
		r = jwk_parse_public(p->public_key, &public_key);
	if (r == 0)
		r = userkey_open(c->w->aes, p->private_key, p->user_id, p->passphrase, &key);
	if (r == 0 && !rsa_same_public(public_key, key))
		r = ERR_INVALID_KEY;
	if (r == 0)
		r = store_add_identity(c->svc->store, p->app_id, key, (int64_t)PARAM_GRACE_S * 1000, &rotation);
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_str(c->out, "keyId", rotation.key_id);
	jw_object_end(c->out);
	return 0;
}

/* Other than printable ASCII is read as different bytes by web and by mobile clients (interop.md 17). */
static bool is_for_every_client(const struct secret *passphrase, size_t max)
{
	struct bytes text = secret_bytes(passphrase);
	bool fits = text.n > 0 && text.n <= max;

	for (size_t i = 0; i < text.n; i++)
		fits &= text.p[i] >= 0x20 && text.p[i] <= 0x7e;
	return fits;
}

int m_export_identity_check(struct call *c)
{
	const struct p_export_identity *p = c->params;

	return is_for_every_client(p->passphrase, SIZE_MAX) ? 0 : call_bad_param(c, "passphrase");
}

int m_export_identity(struct call *c)
{
	const struct p_export_identity *p = c->params;
	CLEANUP(app_view_unrefp) const struct app_view *view = NULL;
	const struct rsa_key *key;
	struct buf *text = &c->w->text;
	int r = find_active(c, p->app_id, &view);

	if (r < 0)
		return r;
	key = view->identities[0].key;
	jw_object(c->out, NULL);
	buf_reset(text);
	r = jwk_write_public(key, text);
	if (r < 0)
		return r;
	jw_bytes(c->out, "public_key", buf_bytes(text));
	buf_reset(text);
	r = userkey_seal(c->w->aes, key, p->user_id, p->passphrase, text);
	if (r < 0)
		return r;
	jw_bytes(c->out, "private_key", buf_bytes(text));
	jw_object_end(c->out);
	return 0;
}

int m_set_escrow_check(struct call *c)
{
	const struct p_set_escrow *p = c->params;

	return !p->passphrase || is_for_every_client(p->passphrase, STORE_MAX_ESCROW) ? 0
										      : call_bad_param(c, "passphrase");
}

int m_set_escrow(struct call *c)
{
	const struct p_set_escrow *p = c->params;

	return put_gone(c, p->app_id, store_set_escrow(c->svc->store, p->app_id, p->passphrase));
}
