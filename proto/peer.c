#include "proto/peer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int peer_new(enum role role, const char *origin, struct peer **ret)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p)
		return ERR_NOMEM;
	if (pthread_mutex_init(&p->lock, NULL) != 0) {
		free(p);
		return ERR_NOMEM;
	}
	files_init(&p->files);
	atomic_init(&p->refs, 1);
	atomic_init(&p->role, role);
	atomic_init(&p->is_full, false);
	atomic_init(&p->answered, 0);
	(void)snprintf(p->origin, sizeof(p->origin), "%s", origin); /* ours, and short */
	*ret = p;
	return 0;
}

struct peer *peer_ref(struct peer *peer)
{
	atomic_fetch_add_explicit(&peer->refs, 1, memory_order_relaxed);
	return peer;
}

void peer_unref(struct peer *peer)
{
	if (!peer || atomic_fetch_sub_explicit(&peer->refs, 1, memory_order_acq_rel) != 1)
		return;
	files_fini(&peer->files);
	app_unref(peer->app);
	(void)pthread_mutex_destroy(&peer->lock); /* nobody can hold it: this was the last reference */
	free(peer);
}

enum role peer_role(const struct peer *peer)
{
	return atomic_load_explicit(&peer->role, memory_order_acquire);
}

void peer_become_app(struct peer *peer, struct app *app, uint64_t token_epoch)
{
	assert(peer_role(peer) == ROLE_NEW);
	peer->app = app;
	peer->token_epoch = token_epoch;
	atomic_store_explicit(&peer->role, ROLE_APP, memory_order_release);
}

bool peer_is_stale(const struct peer *peer)
{
	return peer_role(peer) == ROLE_APP && app_token_epoch(peer->app) != peer->token_epoch;
}

void peer_set_challenge(struct peer *peer, const char challenge[PEER_CHALLENGE_LEN + 1])
{
	(void)pthread_mutex_lock(&peer->lock); /* a default mutex used rightly does not fail */
	memcpy(peer->challenge, challenge, sizeof(peer->challenge));
	peer->challenge_open = true;
	(void)pthread_mutex_unlock(&peer->lock);
}

bool peer_take_challenge(struct peer *peer, char ret[PEER_CHALLENGE_LEN + 1])
{
	bool open;

	(void)pthread_mutex_lock(&peer->lock);
	open = peer->challenge_open;
	if (open)
		memcpy(ret, peer->challenge, sizeof(peer->challenge));
	peer->challenge_open = false;
	(void)pthread_mutex_unlock(&peer->lock);
	return open;
}
