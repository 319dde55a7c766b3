/*
 * peer - who is at the other end of a connection, as far as has been shown
 *
 * Made by the connection, shared by reference with the jobs that work for it. The role only ever goes from ROLE_NEW to ROLE_APP;
 * app and epoch are written before the role is and never again, so whoever has seen ROLE_APP may read them.
 */
#ifndef E2EED_PROTO_PEER_H
#define E2EED_PROTO_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "keystore/store.h"
#include "proto/file.h"

enum role {
	ROLE_NEW = 1, /* on an app listener, not authenticated */
	ROLE_APP = 2,
	ROLE_ADMIN = 4,
};

#define PEER_CHALLENGE_LEN 44 /* base64 of 32 bytes */

struct peer {
	atomic_uint refs;
	_Atomic enum role role;
	struct app *app;      /* owned reference; set with ROLE_APP */
	uint64_t token_epoch; /* of the token that was shown; set with ROLE_APP */
	char origin[64];      /* "uid:1000" or "ip:127.0.0.1": what failed attempts are counted by */
	bool is_process;      /* on a Unix socket: the kernel told who it is; set before anybody else sees the peer */
	uid_t uid;
	pid_t pid;

	pthread_mutex_t lock;			/* hello may run on a worker and on the loop at once */
	bool challenge_open;			/* lock */
	char challenge[PEER_CHALLENGE_LEN + 1]; /* lock */

	struct files files; /* that it has open */

	/* either keeps workers from what it has asked for (job->undone) */
	atomic_bool is_full;	/* so much is unsent to it; its connection's to set */
	atomic_size_t answered; /* bytes that workers have made, and its connection has not taken yet */
};

/** peer_new - Return: 0, ERR_NOMEM */
int peer_new(enum role role, const char *origin, struct peer **ret) WARN_UNUSED;
struct peer *peer_ref(struct peer *peer);
void peer_unref(struct peer *peer);
DEFINE_FREEP(struct peer *, peer_unrefp, peer_unref)

enum role peer_role(const struct peer *peer);

/** peer_become_app - takes over the reference to @app; once, from the one thread that serves this peer until then */
void peer_become_app(struct peer *peer, struct app *app, uint64_t token_epoch);

/** peer_is_stale - was it authenticated by a token that has been replaced since? */
bool peer_is_stale(const struct peer *peer);

/** peer_set_challenge, peer_take_challenge - a challenge serves one attempt. Return: false when there is no unused one */
void peer_set_challenge(struct peer *peer, const char challenge[PEER_CHALLENGE_LEN + 1]);
bool peer_take_challenge(struct peer *peer, char ret[PEER_CHALLENGE_LEN + 1]);

#endif
