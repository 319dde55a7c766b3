/*
 * service - a frame in, a reply out
 *
 * service_handle() is a plain function: event loops, workers, tests and fuzzers call the same one. It knows sessions, roles,
 * grants and methods, and nothing of sockets or threads. The method table is in proto/methods.c.
 */
#ifndef E2EED_PROTO_SERVICE_H
#define E2EED_PROTO_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/aes.h"
#include "crypto/content.h"
#include "keystore/store.h"
#include "proto/peer.h"
#include "proto/throttle.h"

#define SERVICE_PROTOCOL   1
#define SERVICE_INLINE_MAX (256u << 10) /* bytes of a frame that a loop serves itself */

/* what only the daemon knows, for getStatus */
struct service_status {
	const char *mlock; /* "all", "arena", "none" */
	size_t locked_bytes;
	size_t lock_limit_bytes; /* SIZE_MAX: none */
	unsigned loops, threads;
	size_t queued;
	size_t connections;
	const char *problems[8]; /* static texts */
	size_t n_problems;
};

struct service_hooks {
	void *arg;
	void (*sessions_changed)(void *arg);		       /* some sessions have become stale; any thread */
	void (*status)(void *arg, struct service_status *ret); /* any thread */
	/* @method was answered with STORAGE_ERROR, INTERNAL or for want of memory: for the log; any thread */
	void (*failed)(void *arg, const char *method, int err);
};

struct service {
	struct store *store;
	struct service_hooks hooks;
	atomic_size_t max_frame_bytes; /* limits may change while serving */
	atomic_uint max_in_flight;
	atomic_bool draining;
	int64_t started_ms;
	struct throttle throttle;
	struct secret *no_token; /* stands in for an unknown app's, so that the work is the same */
};

/* what one thread needs for its work, kept between calls */
struct service_worker {
	struct aes *aes;
	struct content content;
	struct buf strings; /* strings of params that had escapes */
	struct buf plain;   /* a plaintext */
	struct buf text;    /* whatever a handler composes */
};

/** service_init - @store is borrowed. Return: 0, ERR_NOMEM */
int service_init(struct service *svc, struct store *store, const struct service_hooks *hooks) WARN_UNUSED;
void service_fini(struct service *svc);

int service_worker_init(struct service_worker *w) WARN_UNUSED; /* ERR_NOMEM, ERR_CRYPTO */
void service_worker_fini(struct service_worker *w);

enum serve_mode {
	SERVE_FAST,	  /* a loop: a frame with a slow method, or a large one, is handed back whole */
	SERVE_ALL,	  /* a worker: everything may run */
	SERVE_OVERLOADED, /* nothing runs: each request is answered with OVERLOADED */
};

enum served {
	SERVED,		/* done; the reply, if there is one, is in the buffer */
	SERVED_BY_POOL, /* nothing done: call again with SERVE_ALL where blocking is allowed */
};

/**
 * service_handle - execute one frame
 * @frame: without its line ending
 * @out:   the reply is appended, with its line feed; nothing for notifications
 * @ret_requests: how many requests the frame holds (at least 1)
 *
 * While the service drains, SERVE_FAST answers SHUTTING_DOWN; what a worker was given before is finished.
 * Never fails: what goes wrong is in the reply. Should even the reply not fit into memory, @out carries the sticky error.
 */
enum served service_handle(struct service *svc, struct service_worker *w, struct peer *peer, struct bytes frame,
			   enum serve_mode mode, struct buf *out, unsigned *ret_requests);

/** service_refuse - append the reply to a frame that was not even looked at: @err, id null; @limit for ERR_TOO_LARGE */
void service_refuse(struct buf *out, int err, size_t limit);

#endif
