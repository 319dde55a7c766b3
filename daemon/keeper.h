/*
 * keeper - a thread that looks after what no request asks for: identity keys whose grace has ended, compaction when it is due,
 * summaries for the audit trail
 */
#ifndef E2EED_DAEMON_KEEPER_H
#define E2EED_DAEMON_KEEPER_H

#include "base/err.h"
#include "proto/service.h"

struct keeper;

/** keeper_new - start the thread; @svc is borrowed. Return: 0, ERR_NOMEM, ERR_CRYPTO */
int keeper_new(struct service *svc, struct keeper **ret) WARN_UNUSED;
void keeper_free(struct keeper *keeper); /* stop and join; NULL is allowed */

#endif
