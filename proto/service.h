/*
 * service - a frame in, a reply out
 *
 * service_handle() is a plain function: event loops, workers, tests and fuzzers call the same one. It knows sessions, roles,
 * grants and methods, and nothing of sockets or threads. The method table is in proto/methods.c.
 */
#ifndef E2EED_PROTO_SERVICE_H
#define E2EED_PROTO_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/aes.h"
#include "crypto/content.h"
#include "keystore/audit.h"
#include "keystore/store.h"
#include "proto/file.h"
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

/* a slot's secret, as addSlot and unlock name it; what is left out comes from the configuration */
struct service_seal {
	struct bytes kind;		 /* as in the configuration; empty: the configured one */
	struct bytes key_file;		 /* keyfile */
	struct bytes credential;	 /* credential */
	const struct secret *passphrase; /* passphrase; NULL: as configured */
};

struct service_hooks {
	void *arg;
	/* make @ret of what @how says. Return: 0; ERR_INVALID_PARAMS where something is missing, with data.param; ERR_NOMEM; ERR_SEAL */
	int (*make_seal)(void *arg, const struct service_seal *how, const char **ret_param, struct buf *why,
			 struct seal *ret);
	void (*sessions_changed)(void *arg); /* some sessions have become stale; any thread */
	/* the keystore has been unlocked; @why: what the operator should know, a line each: for the log; any thread */
	void (*unlocked)(void *arg, struct buf *why);
	void (*status)(void *arg, struct service_status *ret); /* any thread */
	/*
	 * @method was answered with STORAGE_ERROR, INTERNAL or for want of memory: for the log; any thread
	 * @why: a sentence about it, which may be empty
	 */
	void (*failed)(void *arg, const char *method, int err, struct bytes why);
	/*
	 * call @item(@work, i) for each i below @n, on the calling thread and on others that have nothing to do; return when all are done,
	 * and wiped off the others. NULL: one after the other
	 */
	void (*spread)(void *arg, void (*item)(void *work, size_t i), void *work, size_t n);
};

struct service {
	struct store *store;
	struct service_hooks hooks;
	const char *audit_path; /* borrowed; "": no audit trail */
	bool accept_rollback;	/* of the first unlocking */

	atomic_bool locked;    /* nobody touches store or audit, but for who changes that */
	pthread_mutex_t vault; /* held by who locks or unlocks; taken by who has left (service_leave) */
	struct audit *audit;   /* owned; NULL: none, or locked, or not usable. Changes only while nobody is in */
	pthread_mutex_t notes; /* over audit_why */
	char audit_why[512];   /* why there is no audit trail, though one is wanted; "" otherwise */

	pthread_rwlock_t workers_lock; /* over workers; who waits for them holds it, so that others may do so as well */
	struct service_worker *workers;

	atomic_size_t max_frame_bytes; /* limits may change while serving */
	atomic_uint max_in_flight;
	atomic_bool draining;
	int64_t started_ms;
	struct throttle throttle;
	struct file_table files; /* that are open, of all peers; none while it is locked */
	atomic_ulong unnoted;	 /* failed authentications that the audit trail has no entry of yet */
	struct secret *no_token; /* stands in for an unknown app's, so that the work is the same */
};

/* what a frame has asked to be told from now on */
struct subscription {
	bool asked; /* otherwise it stays as it is */
	bool on;
	uint64_t since;
	unsigned history; /* whose numbers it goes by: store_history() */
};

/* what one thread needs for its work, kept between calls */
struct service_worker {
	struct service *svc;
	struct service_worker *next;   /* of all, under workers_lock */
	atomic_uint_fast64_t turn;     /* odd: at work, with references to what the store holds */
	const struct app *_Atomic app; /* whose state that is, of one app; only to be compared */
	struct aes *aes;
	struct content content;
	struct buf strings;		  /* strings of params that had escapes */
	struct buf plain;		  /* a plaintext */
	struct buf text;		  /* whatever a handler composes */
	struct subscription subscription; /* out: of the last frame that was SERVED */
};

/** service_init - locked, until vault_unlock(); @store and @audit_path are borrowed. Return: 0, ERR_NOMEM */
int service_init(struct service *svc, struct store *store, const char *audit_path,
		 const struct service_hooks *hooks) WARN_UNUSED;
void service_fini(struct service *svc);

int service_worker_init(struct service *svc, struct service_worker *w) WARN_UNUSED; /* ERR_NOMEM, ERR_CRYPTO */
void service_worker_fini(struct service_worker *w);

/**
 * service_enter, service_leave - between the two the thread of @w may use store and audit trail, unless the service is locked
 *
 * service_handle() does it by itself, for each request. Return: false when it is locked; then leave as well.
 */
bool service_enter(struct service_worker *w);
void service_leave(struct service_worker *w);

/** service_quiesce - wait until everybody but @self, which may be NULL, has left what he was at. Having left, under the vault's mutex. */
void service_quiesce(struct service *svc, const struct service_worker *self);

/**
 * service_works_for - the turn of @w goes on with the state of @app; before any of that is looked at
 *
 * service_handle() does it for the requests of apps; for others, whoever finds an app (call_find_app).
 */
void service_works_for(struct service_worker *w, const struct app *app);

/**
 * service_settle - wait until nobody works with the state that @app had before this call
 *
 * After a change that takes something away, and before its answer: when it returns, no request goes on by what is gone, and nobody
 * holds any of it. @self has given back what he had found of @app, and finds it anew, should he need it again. Waits for turns, so
 * whoever may take long asks now and then whether he still may (call_may_go_on).
 */
void service_settle(struct service_worker *self, const struct app *app);

/**
 * service_spread - call @item for each i below @n, in any order and perhaps on several threads at once
 *
 * The turn of the calling thread stands for all of them: an item looks at what that turn has found, and finds nothing by itself.
 */
void service_spread(struct service *svc, void (*item)(void *work, size_t i), void *work, size_t n);

/** service_note - an entry for the audit trail, if there is one; who has entered only. Failures show in the status. */
void service_note(struct service *svc, struct audit_entry *entry, bool durable);

/** service_note_expired - the entry for an identity key that was destroyed; for store_expire_keys(), @svc being a struct service */
void service_note_expired(void *svc, struct bytes app_id, const char *key_id);

/** service_put_audit_problem - append what is wrong with the audit trail, nothing if all is well; who has entered only */
void service_put_audit_problem(struct service *svc, struct buf *b);

/** service_note_key_use - a summary for each app that has used its keys since the last time; who has entered only */
void service_note_key_use(struct service *svc);

enum serve_mode {
	SERVE_FAST,	  /* a loop: a frame with a slow method, or a large one, is handed back whole */
	SERVE_ALL,	  /* a worker: everything may run */
	SERVE_OVERLOADED, /* nothing runs: each request is answered with OVERLOADED */
};

enum served {
	SERVED,		/* done; the reply, if there is one, is in the buffer */
	SERVED_BY_POOL, /* nothing done: call again with SERVE_ALL where blocking is allowed */
	SERVED_IN_ORDER, /* the same, but only when what the peer sent before and was SERVED_IN_ORDER, too, has been done */
};

/**
 * service_handle - execute one frame
 * @frame: without its line ending; the caller's to wipe, but passphrases in it are overwritten as soon as they are read
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
