#include "daemon/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define BACKLOG 512

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static int fail(struct buf *why, int err, const char *what, const char *where, const char *hint)
{
	buf_put_str(why, what);
	buf_put_str(why, " ");
	buf_put_str(why, where);
	buf_put_str(why, ": ");
	buf_put_str(why, hint);
	return err;
}

static socklen_t unix_address(const char *where, struct sockaddr_un *ret)
{
	size_t n = strlen(where); /* conf checked that it fits */

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, where, n);
	if (where[0] == '@')
		ret->sun_path[0] = '\0'; /* abstract: no NUL at the end */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (where[0] == '@' ? 0 : 1));
}

/* Who listens there? SO_PEERCRED of a connected client names whoever called listen(2). */
static bool is_alive(const struct sockaddr_un *address, socklen_t n, struct buf *ret_holder)
{
	CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred cred = { 0 };
	socklen_t cred_n = sizeof(cred);

	if (fd < 0)
		return true; /* cannot tell, so leave it alone */
	if (connect(fd, (const struct sockaddr *)address, n) < 0) {
		if (errno == ECONNREFUSED || errno == ENOENT)
			return false;
		if (errno != EAGAIN) { /* somebody's, though not one that we may talk to */
			buf_printf(ret_holder, "it is in use by another program (%m)");
			return true;
		}
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_n) == 0 && cred.pid > 0)
		buf_printf(ret_holder, "process %d (uid %u) listens there; stop it, or choose another path",
			   (int)cred.pid, (unsigned)cred.uid);
	else
		buf_put_str(ret_holder, "another process listens there; stop it, or choose another path");
	return true;
}

/* Only a socket file that nobody listens on is removed. */
static int clear_stale(const char *where, const struct sockaddr_un *address, socklen_t n, struct buf *why)
{
	CLEANUP(buf_fini) struct buf holder = BUF_INIT(256);
	struct stat st;

	if (is_alive(address, n, &holder)) {
		buf_put_byte(&holder, '\0');
		return fail(why, ERR_BUSY, "cannot listen on", where,
			    holder.n > 1 ? (const char *)holder.p : "it is in use");
	}
	if (where[0] == '@')
		return 0;
	if (lstat(where, &st) < 0)
		return errno == ENOENT ? 0 : fail(why, ERR_IO, "cannot look at", where, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(why, ERR_BUSY, "cannot listen on", where,
			    "something that is no socket stands there; move it away");
	if (unlink(where) < 0)
		return fail(why, ERR_IO, "cannot replace the stale socket", where, strerror(errno));
	return 0;
}

/* The mode is right from the first moment: the umask applies to the file that bind() makes. */
static int bind_with_mode(int fd, const struct sockaddr_un *address, socklen_t n, unsigned mode)
{
	mode_t before = umask(0777 & ~mode);
	int r = bind(fd, (const struct sockaddr *)address, n);

	(void)umask(before);
	return r;
}

static int open_unix(struct listener *l, const char *where, const struct sockaddr_un *address, socklen_t n,
		     unsigned mode, struct buf *why)
{
	CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	int r;

	if (fd < 0)
		return fail(why, ERR_IO, "cannot make a socket for", where, strerror(errno));
	r = bind_with_mode(fd, address, n, mode);
	if (r < 0 && errno == EADDRINUSE) {
		r = clear_stale(where, address, n, why);
		if (r < 0)
			return r;
		r = bind_with_mode(fd, address, n, mode);
	}
	if (r < 0)
		return fail(why, ERR_IO, "cannot listen on", where,
			    errno == ENOENT ? "its folder does not exist; make it, or set another path"
					    : strerror(errno));
	l->unlink_at_end = where[0] != '@' && lstat(where, &st) == 0;
	if (l->unlink_at_end) {
		l->device = st.st_dev;
		l->inode = st.st_ino;
	}
	(void)snprintf(l->where, sizeof(l->where), "%s", where); /* conf: at most 107 bytes */
	if (listen(fd, BACKLOG) < 0)
		return fail(why, ERR_IO, "cannot listen on", where, strerror(errno));
	l->fd = TAKE_FD(fd);
	return 0;
}

int listener_open_unix(struct listener *l, const char *where, unsigned mode, struct buf *why)
{
	struct sockaddr_un address;
	socklen_t n = unix_address(where, &address);

	return open_unix(l, where, &address, n, mode, why);
}

int listener_open_padded(struct listener *l, const char *where, struct buf *why)
{
	struct sockaddr_un address;

	(void)unix_address(where, &address); /* its length is what is left out */
	return open_unix(l, where, &address, sizeof(address), 0, why);
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return (ntohl(a->in4.sin_addr.s_addr) >> 24) == 127;
	return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* conf checked the form: digits and dots, or [::1], then a port */
static int tcp_address(const char *where, union address *ret, socklen_t *ret_n)
{
	const char *colon = strrchr(where, ':');
	char host[64];
	size_t n = colon ? (size_t)(colon - where) : sizeof(host);
	uint16_t port;

	if (n >= sizeof(host))
		return ERR_CONFIG;
	port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	memcpy(host, where, n);
	host[n] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (strcmp(host, "[::1]") == 0) {
		ret->in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
						  .sin6_port = port,
						  .sin6_addr = in6addr_loopback };
		*ret_n = sizeof(ret->in6);
		return 0;
	}
	ret->in4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port };
	*ret_n = sizeof(ret->in4);
	return inet_pton(AF_INET, host, &ret->in4.sin_addr) == 1 && is_loopback(ret) ? 0 : ERR_CONFIG;
}

static void name_tcp(struct listener *l, int fd)
{
	union address a;
	socklen_t n = sizeof(a);
	char host[INET6_ADDRSTRLEN] = "?";

	memset(&a, 0, sizeof(a));
	if (getsockname(fd, &a.any, &n) < 0)
		return;
	if (a.any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &a.in6.sin6_addr, host, sizeof(host)); /* the buffer is large enough */
		(void)snprintf(l->where, sizeof(l->where), "[%s]:%u", host, ntohs(a.in6.sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &a.in4.sin_addr, host, sizeof(host));
		(void)snprintf(l->where, sizeof(l->where), "%s:%u", host, ntohs(a.in4.sin_port));
	}
}

int listener_open_tcp(struct listener *l, const char *where, struct buf *why)
{
	CLEANUP(fd_closep) int fd = -1;
	union address address;
	socklen_t n;
	int on = 1;

	if (tcp_address(where, &address, &n) < 0)
		return fail(why, ERR_CONFIG, "cannot listen on", where, "only loopback addresses are allowed");
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(why, ERR_IO, "cannot make a socket for", where, strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* without it a restart may have to wait */
	if (bind(fd, &address.any, n) < 0 || listen(fd, BACKLOG) < 0)
		return fail(why, errno == EADDRINUSE ? ERR_BUSY : ERR_IO, "cannot listen on", where, strerror(errno));
	name_tcp(l, fd);
	l->fd = TAKE_FD(fd);
	return 0;
}

int listener_adopt(struct listener *l, int fd, struct buf *why)
{
	int family = l->kind == LISTENER_TCP ? AF_UNSPEC : AF_UNIX;
	union address a;
	socklen_t n = sizeof(a);

	memset(&a, 0, sizeof(a));
	if (sd_is_socket(fd, family, SOCK_STREAM, 1) <= 0 || getsockname(fd, &a.any, &n) < 0 ||
	    (l->kind == LISTENER_TCP && !is_loopback(&a)))
		return fail(why, ERR_CONFIG, "the socket passed in as",
			    l->kind == LISTENER_TCP ? "tcp" : "app or admin",
			    l->kind == LISTENER_TCP ? "is no listening stream socket on a loopback address"
						    : "is no listening Unix stream socket");
	if (l->kind == LISTENER_TCP)
		name_tcp(l, fd);
	else if (n > offsetof(struct sockaddr_un, sun_path))
		(void)snprintf(l->where, sizeof(l->where), "%s%.107s", a.un.sun_path[0] ? "" : "@",
			       a.un.sun_path + (a.un.sun_path[0] ? 0 : 1));
	l->fd = fd;
	return 0;
}
