#include "ctl/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/b64.h"
#include "base/cleanup.h"
#include "base/jw.h"
#include "base/scan.h"
#include "crypto/kdf.h"
#include "crypto/rand.h"

#define CHUNK	   65536
#define NONCE_SIZE 32

void client_init(struct client *c)
{
	*c = (struct client){ .fd = -1, .next_id = 1, .chunk = BUF_INIT(CHUNK) };
	frame_reader_init(&c->reader, CLIENT_MAX_ANSWER);
}

void client_fini(struct client *c)
{
	fd_closep(&c->fd);
	frame_reader_fini(&c->reader);
	buf_fini(&c->chunk);
}

/* ---- connecting ---- */

static void say_cannot_connect(struct buf *why, const char *place, int error)
{
	buf_put_str(why, "cannot connect to ");
	buf_put_str(why, place);
	buf_put_str(why, ": ");
	switch (error) {
	case ENOENT:
		buf_put_str(why, "there is no such socket; is e2eed running, and listening there?");
		break;
	case ECONNREFUSED:
		buf_put_str(why, "nobody listens there; is e2eed running?");
		break;
	case EACCES:
	case EPERM:
		buf_put_str(why, "permission denied; try as root, or as a user who may open that socket");
		break;
	default:
		buf_put_str(why, strerror(error));
	}
}

int client_connect_unix(struct client *c, const char *path, bool admin, struct buf *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP(fd_closep) int fd = -1;
	size_t n = strlen(path);
	bool abstract = path[0] == '@';

	if (n <= (abstract ? 1U : 0U) || n >= sizeof(address.sun_path)) {
		say_cannot_connect(why, path, n ? ENAMETOOLONG : EINVAL);
		return ERR_IO;
	}
	memcpy(address.sun_path, path, n);
	if (abstract)
		address.sun_path[0] = '\0';
	else
		n++; /* an abstract name ends with the address, a path with its NUL */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0) {
		say_cannot_connect(why, path, errno);
		return ERR_IO;
	}
	c->fd = TAKE_FD(fd);
	c->admin = admin;
	return 0;
}

static bool is_loopback(const struct sockaddr *address)
{
	struct sockaddr_in6 a6;
	struct sockaddr_in a4;

	if (address->sa_family == AF_INET) {
		memcpy(&a4, address, sizeof(a4));
		return ntohl(a4.sin_addr.s_addr) >> 24 == 127;
	}
	if (address->sa_family == AF_INET6) {
		memcpy(&a6, address, sizeof(a6));
		return IN6_IS_ADDR_LOOPBACK(&a6.sin6_addr);
	}
	return false;
}

int client_connect_tcp(struct client *c, const char *place, struct buf *why)
{
	static const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	CLEANUP(fd_closep) int fd = -1;
	const char *colon = strrchr(place, ':');
	struct addrinfo *list = NULL;
	const char *start = place;
	int error = ECONNREFUSED;
	bool loopback = true;
	char host[256];
	size_t n;
	int r;

	n = colon ? (size_t)(colon - place) : 0;
	if (n >= 2 && place[0] == '[' && place[n - 1] == ']') {
		start++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(host) || !colon[1]) {
		buf_put_str(why, "--tcp takes HOST:PORT, such as 127.0.0.1:7438 or [::1]:7438");
		return ERR_INVALID_PARAMS;
	}
	memcpy(host, start, n);
	host[n] = '\0';
	r = getaddrinfo(host, colon + 1, &hints, &list);
	if (r != 0) {
		buf_put_str(why, "--tcp ");
		buf_put_str(why, place);
		buf_put_str(why, ": ");
		buf_put_str(why, gai_strerror(r));
		return ERR_INVALID_PARAMS;
	}
	for (const struct addrinfo *a = list; a && loopback && fd < 0; a = a->ai_next) {
		loopback = is_loopback(a->ai_addr);
		if (!loopback)
			break;
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			error = errno;
			fd_closep(&fd);
		}
	}
	freeaddrinfo(list);
	if (!loopback) {
		buf_put_str(why, "--tcp takes loopback addresses only: messages would cross the network in the clear");
		return ERR_INVALID_PARAMS;
	}
	if (fd < 0) {
		say_cannot_connect(why, place, error);
		return ERR_IO;
	}
	c->fd = TAKE_FD(fd);
	return 0;
}

/* ---- frames ---- */

static int send_frame(struct client *c, struct bytes frame, struct buf *why)
{
	while (frame.n) {
		ssize_t n = send(c->fd, frame.p, frame.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0; /* it has hung up; it may have said why before, so read on */
		if (n < 0) {
			buf_put_str(why, "cannot send the request: ");
			buf_put_str(why, strerror(errno));
			return ERR_IO;
		}
		frame = bytes_sub(frame, (size_t)n, frame.n);
	}
	return 0;
}

static int say_closed(const struct client *c, struct buf *why)
{
	buf_put_str(why, "e2eed closed the connection without an answer; ");
	buf_put_str(why, c->admin ? "only root, its own user and security.admin_uids may use the admin socket"
				  : "it may be shutting down, see its log");
	return ERR_IO;
}

static void say_foreign(struct buf *why)
{
	buf_put_str(why, "what answers there does not speak e2eed's protocol; is it the right socket?");
}

/* Return: 0: more is unread; ERR_IO, ERR_NOMEM */
static int receive_some(struct client *c, struct buf *why)
{
	uint8_t *room;
	ssize_t n;

	buf_reset(&c->chunk);
	room = buf_room(&c->chunk, CHUNK);
	if (!room)
		return ERR_NOMEM;
	do
		n = recv(c->fd, room, CHUNK, 0);
	while (n < 0 && errno == EINTR);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return say_closed(c, why);
	if (n < 0) {
		buf_put_str(why, "cannot receive the answer: ");
		buf_put_str(why, strerror(errno));
		return ERR_IO;
	}
	buf_added(&c->chunk, (size_t)n);
	c->unread = buf_bytes(&c->chunk);
	return 0;
}

static int receive_frame(struct client *c, struct bytes *ret, struct buf *why)
{
	for (;;) {
		int r = frame_next(&c->reader, &c->unread, ret);

		if (r == 1)
			return 0;
		if (r == ERR_TOO_LARGE)
			buf_put_str(why, "the answer is larger than 256 MiB");
		if (r < 0)
			return r == ERR_NOMEM ? r : ERR_IO;
		r = receive_some(c, why);
		if (r < 0)
			return r;
	}
}

/* Is what an event or an answer must be there? Lenient, since payloads are JavaScript's: they are passed on, not judged. */
static int check_frame(struct bytes *frame)
{
	int r = scan_check(*frame, SCAN_JS | SCAN_DUPS, SCAN_MAX_DEPTH);

	if (r < 0)
		return r;
	*frame = scan_trim(*frame);
	return scan_type(*frame) == SCAN_OBJECT ? 0 : ERR_PARSE;
}

/* Is @frame the answer to request @id? Return: 1, 0 (something else), ERR_PARSE, ERR_NOMEM. */
static int read_answer(struct bytes frame, const char *id, struct answer *ret)
{
	struct bytes value;
	int r;

	r = check_frame(&frame);
	if (r < 0)
		return r;
	if (scan_find(frame, BYTES_LIT("method"), &value))
		return 0;
	/* With one request in flight an error without an id can only be about that one. */
	if (!scan_find(frame, BYTES_LIT("id"), &value) ||
	    (!bytes_eq(value, bytes_str(id)) && scan_type(value) != SCAN_NULL))
		return 0;
	ret->failed = scan_find(frame, BYTES_LIT("error"), &ret->json);
	if (ret->failed)
		return scan_type(ret->json) == SCAN_OBJECT ? 1 : ERR_PARSE;
	return scan_find(frame, BYTES_LIT("result"), &ret->json) ? 1 : ERR_PARSE;
}

int client_call(struct client *c, const char *method, struct bytes params, struct answer *ret, struct buf *why)
{
	CLEANUP(buf_fini) struct buf out = BUF_INIT(CLIENT_MAX_ANSWER);
	struct bytes frame;
	char id[16];
	int r;

	(void)snprintf(id, sizeof(id), "%u", c->next_id); /* fits */
	jw_object(&out, NULL);
	jw_str(&out, "jsonrpc", "2.0");
	jw_int(&out, "id", c->next_id++);
	jw_str(&out, "method", method);
	jw_raw(&out, "params", params);
	jw_object_end(&out);
	r = buf_err(&out);
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_INVALID_REQUEST;
	r = scan_check(buf_bytes(&out), SCAN_JS | SCAN_DUPS, SCAN_MAX_DEPTH);
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_INVALID_REQUEST;
	buf_put_byte(&out, '\n');
	r = buf_err(&out);
	if (r < 0)
		return r;

	r = send_frame(c, buf_bytes(&out), why);
	if (r < 0)
		return r;
	do {
		r = receive_frame(c, &frame, why);
		if (r < 0)
			return r;
		r = read_answer(frame, id, ret);
	} while (r == 0);
	if (r == ERR_PARSE) {
		say_foreign(why);
		return ERR_IO;
	}
	return r < 0 ? r : 0;
}

/* ---- what comes unasked ---- */

/* Return: 1: there is something to receive; 0: nobody reads at @reader_fd any more; ERR_IO */
static int wait_for_more(const struct client *c, int reader_fd, struct buf *why)
{
	struct pollfd fds[] = { { .fd = c->fd, .events = POLLIN }, { .fd = reader_fd } };

	while (poll(fds, 2, -1) < 0) {
		if (errno != EINTR) {
			buf_printf(why, "cannot wait for e2eed: %m");
			return ERR_IO;
		}
	}
	return fds[1].revents ? 0 : 1;
}

/* Return: 1; 0: neither of what is listened for; ERR_PARSE, ERR_NOMEM */
static int read_unasked(struct bytes frame, struct answer *ret)
{
	struct bytes value;
	int r = check_frame(&frame);

	if (r < 0)
		return r;
	ret->failed = scan_find(frame, BYTES_LIT("error"), &ret->json);
	if (!ret->failed && !(scan_find(frame, BYTES_LIT("method"), &value) && scan_type(value) == SCAN_STRING &&
			      scan_str_is(value, BYTES_LIT("event"))))
		return 0;
	if (!ret->failed && !scan_find(frame, BYTES_LIT("params"), &ret->json))
		return ERR_PARSE;
	return scan_type(ret->json) == SCAN_OBJECT ? 1 : ERR_PARSE;
}

int client_listen(struct client *c, int reader_fd, struct answer *ret, struct buf *why)
{
	struct bytes frame;
	int r;

	do {
		r = frame_next(&c->reader, &c->unread, &frame);
		if (r == 1) {
			r = read_unasked(frame, ret);
			if (r == ERR_PARSE)
				say_foreign(why);
			if (r != 0)
				return r;
			continue;
		}
		if (r == 0)
			r = wait_for_more(c, reader_fd, why);
		if (r == 1)
			r = receive_some(c, why);
		else if (r == 0)
			return 0;
	} while (r >= 0);
	return r;
}

/* ---- authentication (protocol, section 2) ---- */

static int proof(const struct secret *token, const char *label, const char *app_id, struct bytes challenge,
		 struct bytes nonce, uint8_t ret[SHA256_SIZE])
{
	const struct bytes lf = BYTES_LIT("\n");
	const struct bytes parts[] = { bytes_str(label), lf, bytes_str(app_id), lf, challenge, lf, nonce };

	return kdf_hmac_sha256(token, parts, sizeof(parts) / sizeof(parts[0]), ret);
}

static int say_impostor(struct buf *why)
{
	buf_put_str(why,
		    "what answers there has not shown that it knows the app's token; it is not the e2eed that made it");
	return ERR_AUTHENTICATION_FAILED;
}

/* The member @name of a result, a string of at most @max bytes, appended to @ret. */
static bool result_str(const struct answer *a, struct bytes name, size_t max, struct buf *ret)
{
	struct bytes value;

	return scan_type(a->json) == SCAN_OBJECT && scan_find(a->json, name, &value) &&
	       scan_type(value) == SCAN_STRING && value.n <= max + 2 && scan_str_decode(value, ret) == 0;
}

int client_authenticate(struct client *c, const char *app_id, const struct secret *token, struct answer *ret,
			struct buf *why)
{
	CLEANUP(buf_fini) struct buf params = BUF_INIT(4096);
	CLEANUP(buf_fini) struct buf challenge = BUF_INIT(256);
	CLEANUP(buf_fini) struct buf theirs = BUF_INIT(256);
	uint8_t random[NONCE_SIZE], mine[SHA256_SIZE], expected[SHA256_SIZE], shown[SHA256_SIZE];
	char nonce[B64_LEN(NONCE_SIZE)], hex[2 * SHA256_SIZE + 1];
	int r;

	ret->json = BYTES_NONE;
	jw_object(&params, NULL);
	jw_array(&params, "protocol");
	jw_int(&params, NULL, 1);
	jw_array_end(&params);
	jw_str(&params, "client", "e2eectl/" E2EED_VERSION);
	jw_object_end(&params);
	r = client_call(c, "hello", buf_bytes(&params), ret, why);
	if (r < 0)
		return r;
	if (ret->failed)
		return ERR_AUTHENTICATION_FAILED;
	if (!result_str(ret, BYTES_LIT("challenge"), 128, &challenge)) {
		ret->json = BYTES_NONE;
		return say_impostor(why);
	}

	rand_bytes(random, sizeof(random));
	b64_encode(BYTES(random, sizeof(random)), nonce);
	r = proof(token, "e2eed-v1 client", app_id, buf_bytes(&challenge), BYTES(nonce, sizeof(nonce)), mine);
	if (r == 0)
		r = proof(token, "e2eed-v1 server", app_id, buf_bytes(&challenge), BYTES(nonce, sizeof(nonce)),
			  expected);
	if (r < 0)
		return r;
	hex_encode(BYTES(mine, sizeof(mine)), hex);
	buf_reset(&params);
	jw_object(&params, NULL);
	jw_str(&params, "appId", app_id);
	jw_bytes(&params, "nonce", BYTES(nonce, sizeof(nonce)));
	jw_str(&params, "proof", hex);
	jw_object_end(&params);
	r = buf_err(&params);
	if (r == 0)
		r = client_call(c, "authenticate", buf_bytes(&params), ret, why);
	if (r < 0)
		return r;
	if (ret->failed)
		return ERR_AUTHENTICATION_FAILED;
	if (!result_str(ret, BYTES_LIT("serverProof"), sizeof(hex) - 1, &theirs) ||
	    hex_decode(buf_bytes(&theirs), shown, sizeof(shown)) < 0 ||
	    sodium_memcmp(shown, expected, sizeof(expected)) != 0) {
		ret->json = BYTES_NONE;
		return say_impostor(why);
	}
	return 0;
}
