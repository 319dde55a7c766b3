/*
 * client - the other end of the daemon's sockets
 *
 * Blocking, one request at a time (and then what comes unasked), no time limit: a key generation may take seconds, and whoever waits can interrupt. Reasons for
 * failures are whole sentences for the operator, appended to a buffer. What was received is wiped.
 */
#ifndef E2EED_CTL_CLIENT_H
#define E2EED_CTL_CLIENT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/secret.h"
#include "proto/frame.h"

#define CLIENT_MAX_ANSWER (256UL << 20)

struct client {
	int fd;
	bool admin; /* on the admin socket, which explains more */
	unsigned next_id;
	struct buf chunk;    /* owned: bytes received */
	struct bytes unread; /* of them */
	struct frame_reader reader;
};

struct answer {
	bool failed;
	struct bytes json; /* `result` as it was received, or the `error` object; valid until the next call */
};

void client_init(struct client *c);
void client_fini(struct client *c);

/** client_connect_unix - @path: a path, or "@name" for the abstract namespace. Return: 0, ERR_IO (@why says more) */
int client_connect_unix(struct client *c, const char *path, bool admin, struct buf *why) WARN_UNUSED;

/** client_connect_tcp - @place: "HOST:PORT". Return: 0, ERR_IO, ERR_INVALID_PARAMS (no place, or not on this machine) */
int client_connect_tcp(struct client *c, const char *place, struct buf *why) WARN_UNUSED;

/**
 * client_call - send one request and wait for its answer; notifications in between are dropped
 * @params: JSON text of an object that scan_check() accepted
 *
 * Return: 0; ERR_INVALID_REQUEST when @method is not UTF-8; ERR_IO when there is no answer (@why says more), ERR_NOMEM.
 */
int client_call(struct client *c, const char *method, struct bytes params, struct answer *ret,
		struct buf *why) WARN_UNUSED;

/**
 * client_listen - wait for the next event, or for the error that ends the subscription
 * @reader_fd: who reads there is whom we wait for
 * @ret:       the event's params, an object; or the error object of a frame without an id
 *
 * Return: 1; 0 when @reader_fd has lost its reader; ERR_IO where the connection has ended; ERR_PARSE for what is not e2eed's
 * protocol (@why says more for both); ERR_TOO_LARGE, ERR_NOMEM.
 */
int client_listen(struct client *c, int reader_fd, struct answer *ret, struct buf *why) WARN_UNUSED;

/**
 * client_authenticate - hello and authenticate, and see that the daemon knows the token too
 * @token: the 32 bytes
 *
 * Return: 0; ERR_AUTHENTICATION_FAILED, with the daemon's error in @ret or, where the daemon failed to prove itself, nothing in
 * it and a sentence in @why; otherwise as client_call().
 */
int client_authenticate(struct client *c, const char *app_id, const struct secret *token, struct answer *ret,
			struct buf *why) WARN_UNUSED;

#endif
