/*
 * m_admin - status, and the description of the methods (docs/protocol.md, section 4)
 */
#include <unistd.h>

#include "base/clock.h"
#include "base/jw.h"
#include "proto/methods.h"

static void put_keystore(struct buf *out, const struct store_info *info)
{
	const struct sealed_log_info *log = &info->log;

	jw_object(out, "keystore");
	jw_str(out, "path", log->path);
	if (log->seal)
		jw_str(out, "seal", log->seal);
	else
		jw_null(out, "seal"); /* locked: none has opened it */
	jw_int(out, "generation", (int64_t)log->generation);
	jw_int(out, "records", (int64_t)log->records);
	jw_int(out, "bytes", (int64_t)log->bytes);
	jw_int(out, "seq", (int64_t)info->seq);
	jw_object_end(out);
}

/* What is wrong, each as a sentence that says what to do; into @b as elements of an array. Return: is anything? */
static bool put_problems(struct service *svc, const struct store_info *info, const struct service_status *status,
			 struct buf *b)
{
	CLEANUP(buf_fini) struct buf trail = BUF_INIT(8192);
	size_t before = b->n;

	if (info->erase_due)
		jw_str(b, NULL,
		       "secrets that were destroyed are still in the keystore's file, since it could not be written anew; make room on "
		       "its disk and run e2eectl keystore compact");
	else if (info->log.residue)
		jw_str(b, NULL,
		       "the keystore's former file could not be wiped and removed; see to its folder and run e2eectl keystore compact");
	if (info->events_lost)
		jw_str(b, NULL,
		       "the keystore's file was damaged, and has been written anew without the events in it; see to its disk, and to the log "
		       "(shown until the keystore is opened again)");
	if (info->anchor_errno)
		jw_str(b, NULL,
		       "the anchor cannot be written, so an older keystore would not be noticed; see to keystore.anchor");
	if (!info->locked) {
		service_put_audit_problem(svc, &trail);
		if (trail.n)
			jw_bytes(b, NULL, buf_bytes(&trail));
	}
	for (size_t i = 0; i < status->n_problems; i++)
		jw_str(b, NULL, status->problems[i]);
	return b->n > before;
}

int m_admin_status(struct call *c)
{
	struct service_status status = { 0 };
	struct buf *out = c->out, *problems = &c->w->text;
	struct store_info info;
	bool any;

	store_get_info(c->svc->store, &info);
	info.locked |= c->locked;
	c->svc->hooks.status(c->svc->hooks.arg, &status);
	buf_reset(problems);
	any = put_problems(c->svc, &info, &status, problems);
	jw_object(out, NULL);
	jw_str(out, "version", E2EED_VERSION);
	jw_int(out, "pid", getpid());
	jw_time(out, "startedAt", c->svc->started_ms);
	jw_str(out, "state", info.locked ? "locked" : any ? "degraded" : "ready");
	jw_array(out, "problems");
	buf_put_bytes(out, buf_bytes(problems));
	jw_array_end(out);
	put_keystore(out, &info);
	jw_object(out, "memory");
	jw_int(out, "lockedBytes", (int64_t)status.locked_bytes);
	if (status.lock_limit_bytes == SIZE_MAX)
		jw_null(out, "lockLimitBytes");
	else
		jw_int(out, "lockLimitBytes", (int64_t)status.lock_limit_bytes);
	jw_str(out, "mlock", status.mlock);
	jw_object_end(out);
	jw_object(out, "workers");
	jw_int(out, "loops", status.loops);
	jw_int(out, "threads", status.threads);
	jw_int(out, "queued", (int64_t)status.queued);
	jw_object_end(out);
	jw_int(out, "connections", (int64_t)status.connections);
	jw_int(out, "apps", (int64_t)info.apps);
	jw_int(out, "roomKeys", (int64_t)info.room_keys);
	jw_object_end(out);
	return 0;
}

static void put_described_params(struct buf *out, const struct method *m)
{
	jw_array(out, "params");
	for (size_t i = 0; i < m->n_params; i++) {
		const struct param *p = &m->params[i];

		jw_object(out, NULL);
		jw_str(out, "name", p->name);
		jw_str(out, "description", p->about);
		jw_bool(out, "required", p->required);
		jw_raw(out, "schema", bytes_str(param_json_type(p->type)));
		jw_object_end(out);
	}
	jw_array_end(out);
}

static void put_described_result(struct buf *out, const struct method *m)
{
	jw_object(out, "result");
	jw_str(out, "name", "result");
	jw_object(out, "schema");
	jw_str(out, "type", "object");
	jw_object(out, "properties");
	for (const char *at = m->result; *at;) {
		size_t n = strcspn(at, " ");

		jw_bytes(out, NULL, BYTES(at, n));
		buf_put_str(out, ":{}");
		at += n + (at[n] == ' ');
	}
	jw_object_end(out);
	jw_object_end(out);
	jw_object_end(out);
}

/* An OpenRPC document (spec.open-rpc.org, 1.2.6) straight from the method table. */
int m_discover(struct call *c)
{
	enum role role = peer_role(c->peer);
	struct buf *out = c->out;

	jw_object(out, NULL);
	jw_str(out, "openrpc", "1.2.6");
	jw_object(out, "info");
	jw_str(out, "title", "e2eed");
	jw_str(out, "version", E2EED_VERSION);
	jw_object_end(out);
	jw_array(out, "methods");
	for (size_t i = 0; i < n_methods; i++) {
		if (!(methods[i].roles & role))
			continue;
		jw_object(out, NULL);
		jw_str(out, "name", methods[i].name);
		jw_str(out, "summary", methods[i].summary);
		jw_str(out, "paramStructure", "by-name");
		put_described_params(out, &methods[i]);
		put_described_result(out, &methods[i]);
		jw_object_end(out);
	}
	jw_array_end(out);
	jw_object_end(out);
	return 0;
}
