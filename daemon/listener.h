/*
 * listener - one listening socket: made, or checked when inherited
 */
#ifndef E2EED_DAEMON_LISTENER_H
#define E2EED_DAEMON_LISTENER_H

#include "base/buf.h"
#include "base/err.h"
#include "daemon/server.h"

/** listener_open_unix - @where: path or @name; @mode: of the file. Return: 0, ERR_CONFIG, ERR_BUSY, ERR_IO; @why */
int listener_open_unix(struct listener *l, const char *where, unsigned mode, struct buf *why) WARN_UNUSED;

/**
 * listener_open_padded - the twin of an abstract socket: the same name filled up with zeros to the end of the address
 *
 * libuv before 1.47 (Node.js up to 20) always passes the whole address, so this is the name that its clients look for.
 * Return: as above.
 */
int listener_open_padded(struct listener *l, const char *where, struct buf *why) WARN_UNUSED;

/** listener_open_tcp - @where: "127.0.0.1:7438", "[::1]:0". Return: as above */
int listener_open_tcp(struct listener *l, const char *where, struct buf *why) WARN_UNUSED;

/** listener_adopt - an inherited @fd: must listen, be of the right family and, for TCP, on loopback. Return: 0, ERR_CONFIG; @why */
int listener_adopt(struct listener *l, int fd, struct buf *why) WARN_UNUSED;

#endif
