/*
 * daemon - what the parts of the process share
 */
#ifndef E2EED_DAEMON_DAEMON_H
#define E2EED_DAEMON_DAEMON_H

#include <stdatomic.h>

#include "conf/conf.h"
#include "daemon/keeper.h"
#include "daemon/loop.h"
#include "daemon/pool.h"
#include "daemon/server.h"
#include "proto/service.h"

struct daemon {
	const char *conf_path;
	bool accept_damaged_tail, accept_rollback; /* asked for on the command line */
	struct conf conf;			   /* main thread only; what others need is copied into atomics */
	struct store *store;
	struct service svc;
	struct pool *pool;
	struct keeper *keeper;
	struct server server;
	struct loop *loops; /* owned; loops[0] runs on the main thread */
	unsigned n_loops;
	struct {
		uv_signal_t hup, term, interrupt;
	} signals;	    /* on the first loop */
	unsigned n_threads; /* workers */
	atomic_size_t connections;
	atomic_uint auth_timeout_ms;
};

#endif
