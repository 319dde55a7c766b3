/*
 * server - the listening sockets: made or inherited, accepted from on the first loop
 *
 * Who connects is established here, before a loop sees the connection: the peer's uid (SO_PEERCRED) or address, and with it the
 * role. Accepted sockets are spread over the loops in turn.
 */
#ifndef E2EED_DAEMON_SERVER_H
#define E2EED_DAEMON_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

struct daemon;

enum listener_kind { LISTENER_APP, LISTENER_ADMIN, LISTENER_TCP, LISTENER_NR };

struct listener {
	struct daemon *daemon; /* borrowed */
	enum listener_kind kind;
	int fd;		    /* -1: not there */
	bool unlink_at_end; /* a path that we made */
	dev_t device;	    /* of the file there, so that nobody else's is removed */
	ino_t inode;
	char where[128]; /* path, @name or address, for people */
	uv_poll_t poll;
};

struct server {
	struct listener listeners[2 * LISTENER_NR]; /* by kind, then their padded twins */
	uv_timer_t breather;			    /* accepting pauses when the process is out of file descriptors */
	bool started;
	int64_t complained_ms; /* monotonic: when the last line about a refused admin was logged */
	unsigned next_loop;
};

/**
 * server_open - make the configured listeners, or take those the service manager passed in (LISTEN_FDS; names app, admin, tcp)
 * @why: on failure, a sentence for the operator
 *
 * A socket file that nobody listens on any more is replaced; one that is alive is an error which says who holds it.
 * Return: 0, ERR_CONFIG, ERR_BUSY, ERR_IO.
 */
int server_open(struct server *server, struct daemon *daemon, struct buf *why) WARN_UNUSED;

/** server_start - begin to accept, on the first loop. Return: 0, ERR_IO */
int server_start(struct server *server) WARN_UNUSED;

/** server_close - stop accepting, close, remove our socket files; from the first loop's thread. May be called twice. */
void server_close(struct server *server);

#endif
