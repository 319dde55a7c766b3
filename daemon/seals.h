/*
 * seals - the seal that a key slot or the configuration asks for
 */
#ifndef E2EED_DAEMON_SEALS_H
#define E2EED_DAEMON_SEALS_H

#include "conf/conf.h"
#include "keystore/seal.h"
#include "proto/service.h"

/**
 * seals_make - @how names the kind; what it leaves out comes from @conf
 * @ret_param: on ERR_INVALID_PARAMS, which parameter is missing or wrong ("passphrase": there is none to be had)
 *
 * Return: 0; ERR_INVALID_PARAMS; ERR_SEAL with a sentence appended to @why; ERR_NOMEM.
 */
int seals_make(const struct conf *conf, const struct service_seal *how, const char **ret_param, struct buf *why,
	       struct seal *ret) WARN_UNUSED;

#endif
