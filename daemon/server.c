#include "daemon/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/listener.h"

#define BREATHER_MS  200
#define ADMIN_EXTRA  64 /* admins get in although the apps have used up limits.max_connections */
#define ACCEPT_BATCH 64 /* per wake-up, so that those connected already are served */

#define N_LISTENERS (2 * LISTENER_NR)

static const char *const kind_names[LISTENER_NR] = { "app", "admin", "tcp" };

/* ---- opening ---- */

static int take_inherited(struct server *server, struct buf *why)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), r = 0;

	for (int i = 0; i < n && r == 0; i++) {
		struct listener *l = NULL;

		for (int k = 0; k < LISTENER_NR; k++) {
			if (names && strcmp(names[i], kind_names[k]) == 0)
				l = &server->listeners[k];
		}
		if (!l || l->fd >= 0) {
			buf_put_str(
				why,
				"the service manager passed in a socket of a name other than app, admin, tcp, or one twice; "
				"set FileDescriptorName= in the socket units");
			r = ERR_CONFIG;
		} else {
			r = listener_adopt(l, SD_LISTEN_FDS_START + i, why);
		}
	}
	for (int i = 0; names && i < n; i++)
		free(names[i]);
	free(names);
	if (n < 0 && r == 0) {
		buf_put_str(why, "the sockets passed in by the service manager cannot be read");
		r = ERR_CONFIG;
	}
	return r;
}

static int open_unix(struct server *server, enum listener_kind kind, const char *where, unsigned mode, struct buf *why)
{
	int r;

	if (server->listeners[kind].fd >= 0 || !where[0])
		return 0; /* inherited, or switched off */
	r = listener_open_unix(&server->listeners[kind], where, mode, why);
	if (r == 0 && where[0] == '@')
		r = listener_open_padded(&server->listeners[kind + LISTENER_NR], where, why);
	return r;
}

int server_open(struct server *server, struct daemon *daemon, struct buf *why)
{
	const struct conf *conf = &daemon->conf;
	struct listener *tcp = &server->listeners[LISTENER_TCP];
	int r;

	*server = (struct server){ 0 };
	for (int i = 0; i < N_LISTENERS; i++)
		server->listeners[i] =
			(struct listener){ .daemon = daemon, .kind = (enum listener_kind)(i % LISTENER_NR), .fd = -1 };
	r = take_inherited(server, why);
	if (r == 0)
		r = open_unix(server, LISTENER_APP, conf->app_socket, conf->app_socket_mode, why);
	/* anybody may connect; whoever is no admin is closed at once, by his uid */
	if (r == 0)
		r = open_unix(server, LISTENER_ADMIN, conf->admin_socket, 0666, why);
	if (r == 0 && tcp->fd < 0 && conf->tcp[0])
		r = listener_open_tcp(tcp, conf->tcp, why);
	if (r < 0)
		server_close(server);
	return r;
}

/* ---- accepting ---- */

static bool is_admin(const struct conf *conf, uid_t uid)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (size_t i = 0; i < conf->n_admin_uids; i++) {
		if (conf->admin_uids[i] == uid)
			return true;
	}
	return false;
}

static int name_tcp_peer(int fd, char *ret, size_t size)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} a;
	char host[INET6_ADDRSTRLEN];
	socklen_t n = sizeof(a);
	const char *text;

	memset(&a, 0, sizeof(a));
	if (getpeername(fd, &a.any, &n) < 0)
		return ERR_IO;
	text = a.any.sa_family == AF_INET6 ? inet_ntop(AF_INET6, &a.in6.sin6_addr, host, sizeof(host))
					   : inet_ntop(AF_INET, &a.in4.sin_addr, host, sizeof(host));
	(void)snprintf(ret, size, "ip:%s", text ? text : "?"); /* the longest address fits */
	return 0;
}

/* At most one line a second: anybody may try as often as he likes. */
static void complain(struct server *server, uid_t uid, pid_t pid)
{
	int64_t now = clock_mono_ms();

	if (server->complained_ms && now - server->complained_ms < 1000)
		return;
	server->complained_ms = now;
	log_warning("admin socket: uid %u (process %d) is not allowed; add it to security.admin_uids if it should be",
		    (unsigned)uid, (int)pid);
}

/* Return: ERR_FORBIDDEN for who may not be here */
static int identify(const struct listener *l, int fd, struct peer **ret)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	char origin[64];
	int r;

	if (l->kind == LISTENER_TCP) {
		r = name_tcp_peer(fd, origin, sizeof(origin));
		return r < 0 ? r : peer_new(ROLE_NEW, origin, ret);
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return ERR_IO;
	(void)snprintf(origin, sizeof(origin), "uid:%u", (unsigned)cred.uid); /* fits */
	if (l->kind == LISTENER_ADMIN && !is_admin(&l->daemon->conf, cred.uid)) {
		complain(&l->daemon->server, cred.uid, cred.pid);
		return ERR_FORBIDDEN;
	}
	r = peer_new(l->kind == LISTENER_ADMIN ? ROLE_ADMIN : ROLE_NEW, origin, ret);
	if (r == 0) {
		(*ret)->is_process = true;
		(*ret)->uid = cred.uid;
		(*ret)->pid = cred.pid;
	}
	return r;
}

/* A last word to a client that there is no room for; if it does not fit into his empty socket, so be it. */
static void turn_away(int fd)
{
	CLEANUP(buf_fini) struct buf refusal = BUF_INIT(1024);

	service_refuse(&refusal, ERR_OVERLOADED, 0);
	if (buf_err(&refusal) == 0)
		(void)send(fd, refusal.p, refusal.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd); /* nothing was promised on it */
}

static void hand_on(struct server *server, struct listener *l, int fd)
{
	struct daemon *d = l->daemon;
	size_t limit = d->conf.max_connections + (l->kind == LISTENER_ADMIN ? ADMIN_EXTRA : 0);
	struct newcomer *n;
	struct peer *peer;

	if (identify(l, fd, &peer) < 0) {
		(void)close(fd); /* nothing was promised on it */
		return;
	}
	n = atomic_load(&d->connections) < limit ? calloc(1, sizeof(*n)) : NULL;
	if (!n) {
		peer_unref(peer);
		turn_away(fd);
		return;
	}
	*n = (struct newcomer){ .fd = fd, .tcp = l->kind == LISTENER_TCP, .peer = peer };
	atomic_fetch_add(&d->connections, 1);
	loop_post_newcomer(&d->loops[server->next_loop++ % d->n_loops], n);
}

static void on_ready(uv_poll_t *handle, int status, int events);

static void watch(struct server *server)
{
	for (int i = 0; i < N_LISTENERS; i++) {
		if (server->listeners[i].fd >= 0)
			(void)uv_poll_start(&server->listeners[i].poll, UV_READABLE,
					    on_ready); /* fails for no open handle */
	}
}

static void on_breathed(uv_timer_t *timer)
{
	watch(timer->data);
}

static void pause_accepting(struct server *server, int why)
{
	log_warning(
		"cannot accept connections: %s; trying again in %d ms (raise LimitNOFILE, or lower limits.max_connections)",
		strerror(why), BREATHER_MS);
	for (int i = 0; i < N_LISTENERS; i++) {
		if (server->listeners[i].fd >= 0)
			(void)uv_poll_stop(&server->listeners[i].poll); /* always succeeds */
	}
	(void)uv_timer_start(&server->breather, on_breathed, BREATHER_MS, 0);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	struct listener *l = handle->data;
	struct server *server = &l->daemon->server;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			hand_on(server, l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(server, errno);
		else if (errno == EINTR || errno == ECONNABORTED)
			continue;
		return;
	}
}

int server_start(struct server *server)
{
	struct daemon *d = server->listeners[0].daemon;
	uv_loop_t *uv = &d->loops[0].uv;

	for (int i = 0; i < N_LISTENERS; i++) {
		struct listener *l = &server->listeners[i];

		if (l->fd < 0)
			continue;
		if (uv_poll_init(uv, &l->poll, l->fd) < 0)
			return ERR_IO;
		l->poll.data = l;
		if (i < LISTENER_NR)
			log_info("listening on %s %s", kind_names[l->kind], l->where);
	}
	(void)uv_timer_init(uv, &server->breather); /* only links into the loop */
	server->breather.data = server;
	server->started = true;
	watch(server);
	return 0;
}

void server_close(struct server *server)
{
	struct stat st;

	for (int i = 0; i < N_LISTENERS; i++) {
		struct listener *l = &server->listeners[i];

		if (l->fd < 0)
			continue;
		if (server->started)
			uv_close((uv_handle_t *)&l->poll, NULL);
		(void)close(l->fd); /* a listening socket has nothing to lose */
		l->fd = -1;
		if (l->unlink_at_end && lstat(l->where, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
			(void)unlink(l->where); /* a leftover is replaced at the next start */
	}
	if (server->started)
		uv_close((uv_handle_t *)&server->breather, NULL);
	server->started = false;
}
