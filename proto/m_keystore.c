/*
 * m_keystore - the keystore's file, its key slots, locking, and the audit trail, for admins (docs/protocol.md, section 4)
 */
#include "base/jw.h"
#include "proto/methods.h"
#include "proto/vault.h"

static int empty(struct call *c)
{
	jw_object(c->out, NULL);
	jw_object_end(c->out);
	return 0;
}

/* A sentence for the admin goes here; call_failed() puts it into the answer. */
static struct buf *why(struct call *c)
{
	buf_reset(&c->w->text);
	return &c->w->text;
}

int m_verify_keystore(struct call *c)
{
	struct store_info info;
	int r = store_verify(c->svc->store, why(c));

	if (r < 0 && r != ERR_DAMAGED)
		return call_failed(c, r == ERR_IO ? ERR_STORAGE : r);
	store_get_info(c->svc->store, &info);
	jw_object(c->out, NULL);
	jw_bool(c->out, "ok", r == 0);
	jw_int(c->out, "records", (int64_t)info.log.records);
	jw_int(c->out, "generation", (int64_t)info.log.generation);
	if (r < 0)
		jw_bytes(c->out, "why", buf_bytes(&c->w->text));
	jw_object_end(c->out);
	return 0;
}

/* With a NUL behind it, for system calls. */
static int as_path(struct call *c, struct bytes path, char *ret, size_t size)
{
	if (path.n == 0 || path.n >= size || path.p[0] != '/' || memchr(path.p, 0, path.n) || path.p[path.n - 1] == '/')
		return call_bad_param(c, "path");
	memcpy(ret, path.p, path.n);
	ret[path.n] = '\0';
	return 0;
}

int m_backup_keystore_check(struct call *c)
{
	const struct p_path *p = c->params;
	char path[4096];

	return as_path(c, p->path, path, sizeof(path));
}

int m_backup_keystore(struct call *c)
{
	const struct p_path *p = c->params;
	uint64_t bytes = 0, seq = 0;
	char path[4096];
	int r = as_path(c, p->path, path, sizeof(path));

	if (r == 0)
		r = call_failed(c, store_backup(c->svc->store, path, why(c), &bytes, &seq));
	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_bytes(c->out, "path", p->path);
	jw_int(c->out, "bytes", (int64_t)bytes);
	jw_int(c->out, "seq", (int64_t)seq);
	jw_object_end(c->out);
	return 0;
}

int m_compact_keystore(struct call *c)
{
	struct store_info before, after;
	int r;

	store_get_info(c->svc->store, &before);
	r = store_rewrite(c->svc->store, why(c));
	if (r < 0)
		return call_failed(c, r);
	store_get_info(c->svc->store, &after);
	jw_object(c->out, NULL);
	jw_int(c->out, "before", (int64_t)before.log.bytes);
	jw_int(c->out, "after", (int64_t)after.log.bytes);
	jw_object_end(c->out);
	return 0;
}

int m_rekey_keystore(struct call *c)
{
	struct store_info info;
	int r = store_rewrite(c->svc->store, why(c)); /* each rewrite is under a new data key */

	if (r < 0)
		return call_failed(c, r);
	store_get_info(c->svc->store, &info);
	jw_object(c->out, NULL);
	jw_int(c->out, "generation", (int64_t)info.log.generation);
	jw_object_end(c->out);
	return 0;
}

/* ---- slots ---- */

int m_list_slots(struct call *c)
{
	struct sealed_log_slot slots[LOG_MAX_SLOTS];
	size_t n;
	int r = store_list_slots(c->svc->store, slots, &n);

	if (r < 0)
		return r;
	jw_object(c->out, NULL);
	jw_array(c->out, "slots");
	for (size_t i = 0; i < n; i++) {
		jw_object(c->out, NULL);
		jw_int(c->out, "slot", slots[i].number);
		jw_str(c->out, "seal", seal_type_name(slots[i].type));
		jw_time(c->out, "createdAt", slots[i].created_ms);
		jw_object_end(c->out);
	}
	jw_array_end(c->out);
	jw_object_end(c->out);
	return 0;
}

static int make_seal(struct call *c, const struct service_seal *how, struct seal *ret)
{
	const char *param = NULL;
	int r = c->svc->hooks.make_seal(c->svc->hooks.arg, how, &param, why(c), ret);

	return r == ERR_INVALID_PARAMS && param ? call_bad_param(c, param)
	       : r < 0				? call_failed(c, r == ERR_SEAL ? ERR_STORAGE : r)
						: 0;
}

int m_add_slot_check(struct call *c)
{
	const struct p_add_slot *p = c->params;
	int type = SEAL_KEYFILE;

	while (type <= SEAL_RECOVERY && !bytes_eq(p->seal, bytes_str(seal_type_name((enum seal_type)type))))
		type++;
	return type <= SEAL_RECOVERY ? 0 : call_bad_param(c, "seal");
}

int m_add_slot(struct call *c)
{
	const struct p_add_slot *p = c->params;
	CLEANUP(seal_fini) struct seal seal = { 0 };
	const struct secret *text;
	uint32_t slot;
	int r = make_seal(c, &(struct service_seal){ p->seal, p->key_file, p->credential, p->passphrase }, &seal);

	if (r < 0)
		return r;
	r = store_add_slot(c->svc->store, &seal, why(c), &slot);
	if (r < 0)
		return call_failed(c, r == ERR_SEAL ? ERR_STORAGE : r);
	jw_object(c->out, NULL);
	jw_int(c->out, "slot", slot);
	text = seal.type == SEAL_RECOVERY ? seal_recovery_text(&seal) : NULL;
	if (text)
		jw_bytes(c->out, "recoveryKey", secret_bytes(text));
	jw_object_end(c->out);
	return 0;
}

int m_remove_slot(struct call *c)
{
	const struct p_remove_slot *p = c->params;
	int r = p->slot <= UINT32_MAX ? store_remove_slot(c->svc->store, (uint32_t)p->slot, why(c)) : ERR_NOT_FOUND;

	return r < 0 ? call_failed(c, r) : empty(c);
}

/* ---- locking ---- */

static struct audit_entry by_caller(const struct call *c)
{
	return (struct audit_entry){
		.by = c->peer->is_process ? AUDIT_BY_PROCESS : AUDIT_BY_DAEMON,
		.uid = c->peer->uid,
		.pid = c->peer->pid,
	};
}

int m_lock(struct call *c)
{
	const struct audit_entry by = by_caller(c);

	vault_lock(c->svc, c->w, &by);
	return empty(c);
}

int m_unlock(struct call *c)
{
	const struct p_unlock *p = c->params;
	const struct audit_entry by = by_caller(c);
	const struct service_seal how = { .kind = p->passphrase ? BYTES_LIT("passphrase") : BYTES_NONE,
					  .passphrase = p->passphrase };
	CLEANUP(seal_fini) struct seal seal = { 0 };
	int r;

	if (!atomic_load(&c->svc->locked))
		return empty(c);
	r = make_seal(c, &how, &seal);
	if (r < 0)
		return r;
	r = vault_unlock(c->svc, c->w, &seal, &by, why(c));
	if (r == ERR_SEAL) {
		r = ERR_AUTHENTICATION_FAILED;
		c->svc->hooks.failed(c->svc->hooks.arg, "unlock", r, buf_bytes(&c->w->text));
	} else if (r == ERR_DAMAGED || r == ERR_IO || r == ERR_BUSY || r == ERR_NOT_FOUND)
		r = ERR_STORAGE;
	if (r < 0)
		return call_failed(c, r);
	c->svc->hooks.sessions_changed(c->svc->hooks.arg);
	return empty(c);
}

/* ---- the audit trail ---- */

static int put_line(void *arg, struct bytes line)
{
	struct buf *out = arg;

	jw_raw(out, NULL, line);
	return buf_err(out);
}

int m_read_audit(struct call *c)
{
	const struct p_read_audit *p = c->params;
	uint64_t next = p->since;
	int r = 0;

	if (!c->svc->audit && *c->svc->audit_path) { /* the status says why, too */
		service_put_audit_problem(c->svc, why(c));
		return call_failed(c, ERR_STORAGE);
	}
	jw_object(c->out, NULL);
	jw_array(c->out, "entries");
	if (c->svc->audit)
		r = audit_read(c->svc->audit, p->since, p->limit, put_line, c->out, why(c), &next);
	if (r < 0)
		return call_failed(c, r == ERR_DAMAGED || r == ERR_IO ? ERR_STORAGE : r);
	jw_array_end(c->out);
	jw_int(c->out, "next", (int64_t)next);
	jw_object_end(c->out);
	return 0;
}
