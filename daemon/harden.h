/*
 * harden - what the process does to itself so that its memory stays its own
 */
#ifndef E2EED_DAEMON_HARDEN_H
#define E2EED_DAEMON_HARDEN_H

#include "base/err.h"
#include "conf/conf.h"
#include "proto/service.h"

/** harden_early - no core dumps, not dumpable, no new privileges (with security.sandbox); before any secret. Return: 0, ERR_IO */
int harden_early(const struct conf *conf) WARN_UNUSED;

/**
 * harden_memory - set up the arena as security.mlock says, and lock the whole process where that is allowed
 *
 * "Allowed" means CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK: under a limit, mlockall would make later allocations fail.
 * Return: 0; ERR_NOMEM with security.mlock = require when memory cannot be locked.
 */
int harden_memory(const struct conf *conf) WARN_UNUSED;

/** harden_status - memory's part of the status, and what is wrong with it */
void harden_status(struct service_status *ret);

#endif
