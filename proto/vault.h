/*
 * vault - lock and unlock: the keystore and its audit trail come into use and go out of it together
 *
 * Whoever works with them has entered (service_enter). Locking shuts the door, waits until everybody is out, and only then forgets:
 * so no request ever meets half of it, and none holds a secret longer than it takes to answer it.
 */
#ifndef E2EED_PROTO_VAULT_H
#define E2EED_PROTO_VAULT_H

#include "base/buf.h"
#include "base/err.h"
#include "keystore/seal.h"
#include "proto/service.h"

/**
 * vault_unlock - open the keystore by @seal, then the audit trail
 * @self: the calling thread's worker, which leaves; NULL for a thread that has none
 * @by:   who does it, for the trail
 * @why:  on failure a sentence for the operator; on success what he should know, a line each
 *
 * An audit trail that cannot be opened does not keep the keystore shut, but changes by admins are refused and the status says why.
 * Return: 0, also where it was open already; as store_unlock(), ERR_DAMAGED also where the trail shows that the keystore was
 * further.
 */
int vault_unlock(struct service *svc, struct service_worker *self, const struct seal *seal,
		 const struct audit_entry *by, struct buf *why) WARN_UNUSED;

/** vault_lock - forget all secrets; @by as above */
void vault_lock(struct service *svc, struct service_worker *self, const struct audit_entry *by);

#endif
