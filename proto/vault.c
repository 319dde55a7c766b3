#include "proto/vault.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static void set_audit_why(struct service *svc, struct bytes why)
{
	(void)pthread_mutex_lock(&svc->notes);
	(void)snprintf(svc->audit_why, sizeof(svc->audit_why), "%.*s", (int)why.n, why.n ? (const char *)why.p : "");
	(void)pthread_mutex_unlock(&svc->notes);
}

/* A trail that has seen more than the keystore knows: an older copy was put in its place. */
static int compare(struct service *svc, struct buf *why)
{
	struct store_info store;
	struct audit_info audit;

	store_get_info(svc->store, &store);
	audit_get_info(svc->audit, &audit);
	if (!anchor_mark_older((struct anchor_mark){ store.log.generation, store.seq },
			       (struct anchor_mark){ audit.generation, audit.seq }))
		return 0;
	if (svc->accept_rollback)
		return store_rewrite_past(svc->store, audit.generation, why);
	buf_printf(
		why,
		"keystore %s is older than it was: it ends with change %llu of generation %llu, and the audit trail %s remembers "
		"change %llu of generation %llu; what was revoked since would be valid again. Put the newest copy in place, or "
		"start once with --accept-rollback",
		store.log.path, (unsigned long long)store.seq, (unsigned long long)store.log.generation,
		svc->audit_path, (unsigned long long)audit.seq, (unsigned long long)audit.generation);
	return ERR_DAMAGED;
}

static int open_audit(struct service *svc, struct buf *why)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_fini) struct buf problem = BUF_INIT(4096);
	int r;

	set_audit_why(svc, BYTES_NONE);
	if (!*svc->audit_path)
		return 0;
	r = store_audit_key(svc->store, &key);
	if (r == 0)
		r = audit_open(svc->audit_path, key, &problem, &svc->audit);
	if (r == 0)
		return compare(svc, why);
	if (!problem.n)
		buf_printf(&problem, "audit log %s cannot be opened: %s", svc->audit_path, err_text(r));
	set_audit_why(svc, buf_bytes(&problem));
	buf_put_bytes(why, buf_bytes(&problem));
	buf_put_byte(why, '\n');
	return 0;
}

static void forget(struct service *svc)
{
	audit_close(svc->audit);
	svc->audit = NULL;
	file_table_clear(&svc->files);
	store_lock(svc->store);
}

int vault_unlock(struct service *svc, struct service_worker *self, const struct seal *seal,
		 const struct audit_entry *by, struct buf *why)
{
	struct audit_entry entry = *by;
	int r = 0;

	if (self)
		service_leave(self);
	(void)pthread_mutex_lock(&svc->vault);
	if (atomic_load(&svc->locked)) {
		r = store_unlock(svc->store, seal, why);
		if (r == 0)
			r = open_audit(svc, why);
		if (r < 0) {
			forget(svc);
		} else {
			entry.action = svc->accept_rollback ? "unlock with --accept-rollback" : "unlock";
			service_note(svc, &entry, true);
			svc->accept_rollback = false;
			svc->hooks.unlocked(svc->hooks.arg, why);
			atomic_store(&svc->locked, false);
		}
	}
	(void)pthread_mutex_unlock(&svc->vault);
	return r;
}

void vault_lock(struct service *svc, struct service_worker *self, const struct audit_entry *by)
{
	struct audit_entry entry = *by;

	if (self)
		service_leave(self);
	(void)pthread_mutex_lock(&svc->vault);
	if (!atomic_exchange(&svc->locked, true)) {
		service_quiesce(svc, self);
		service_note_key_use(svc);
		entry.action = "lock";
		service_note(svc, &entry, true);
		forget(svc);
	}
	(void)pthread_mutex_unlock(&svc->vault);
}
