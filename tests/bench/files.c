/*
 * files - a file through the daemon, chunk by chunk, beside the floor
 *
 *   files SOCKET APP ROOM MODE CHUNKS DEPTH     the app's token on standard input; MODE is encrypt or decrypt
 *
 * Sends CHUNKS chunks of 512 KiB over one connection, DEPTH of them under way at a time, and looks at what comes back only as far as it
 * must. Then the floor: what no implementation can leave out, done on one core in one program: base64 off, AES-CTR, SHA-256, base64 on.
 * Prints one JSON object.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/b64.h"
#include "base/json.h"
#include "base/scan.h"
#include "crypto/aes_ctr.h"
#include "crypto/ossl.h"
#include "crypto/rand.h"
#include "crypto/sha256.h"
#include "proto/handshake.h"
#include "tests/bench/bench.h"

#define CHUNK	     ((size_t)512 << 10)
#define MAX_ANSWER   ((size_t)1 << 20)
#define FLOOR_CHUNKS 512
#define FILE_JWK     "{\"k\":\"AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o\",\"kty\":\"oct\"}"
#define FILE_IV	     "ERgfJi00O0JJUFdeZWxzeg=="

static void need(int r, const char *what)
{
	if (r < 0)
		bench_die(what, err_text(r));
}

struct client {
	int fd;
	struct buf in; /* an answer as far as it has come, and perhaps the beginning of the next */
};

static void connect_to(struct client *c, const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	*c = (struct client){ .in = BUF_INIT(4 * MAX_ANSWER) };
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof(to.sun_path))
		bench_die(path, "too long for a socket's path");
	memcpy(to.sun_path, path, strlen(path));
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		bench_die(path, strerror(errno));
}

static void hear(struct client *c)
{
	uint8_t *to = buf_room(&c->in, MAX_ANSWER);
	ssize_t got;

	if (!to)
		bench_die("an answer", "does not fit");
	got = recv(c->fd, to, MAX_ANSWER, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		bench_die("an answer cannot be read", got < 0 ? strerror(errno) : "the connection was closed");
	buf_added(&c->in, (size_t)got);
}

/* The member @name of the answer's result, a string, appended to @ret. */
static void result_member(struct bytes frame, const char *name, struct buf *ret)
{
	struct bytes result, value;

	if (scan_check(frame, 0, 8) < 0 || !scan_find(frame, BYTES_LIT("result"), &result) ||
	    !scan_find(result, bytes_str(name), &value))
		bench_die(name, "not in an answer");
	need(scan_str_decode(value, ret), name);
}

/* One request and its answer, with nothing else under way; @name of the result in @ret. */
static void call(struct client *c, const struct buf *request, const char *name, struct buf *ret)
{
	const uint8_t *end;

	need(buf_err(request), "a request");
	if (send(c->fd, request->p, request->n, MSG_NOSIGNAL) != (ssize_t)request->n) /* a socket takes more at once */
		bench_die("a request cannot be sent", strerror(errno));
	while (!c->in.n || !(end = memchr(c->in.p, '\n', c->in.n)))
		hear(c);
	result_member(BYTES(c->in.p, (size_t)(end - c->in.p)), name, ret);
	buf_reset(&c->in);
}

static void authenticate(struct client *c, const char *app)
{
	CLEANUP(secret_freep) struct secret *token = NULL;
	CLEANUP(buf_fini) struct buf text = BUF_INIT(256), challenge = BUF_INIT(256), request = BUF_INIT(1024);
	uint8_t random[HANDSHAKE_NONCE_SIZE], proof[HANDSHAKE_PROOF_SIZE];
	char nonce[B64_LEN(HANDSHAKE_NONCE_SIZE)], hex[2 * HANDSHAKE_PROOF_SIZE + 1], line[128];

	if (!fgets(line, sizeof(line), stdin))
		bench_die("the token", "is not on standard input");
	need(handshake_parse_token(bytes_str(line), &token), "the token");
	buf_put_str(&request, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"protocol\":[1]}}\n");
	call(c, &request, "challenge", &challenge);
	rand_bytes(random, sizeof(random));
	b64_encode(BYTES(random, sizeof(random)), nonce);
	need(handshake_proof(HANDSHAKE_CLIENT, token, bytes_str(app), buf_bytes(&challenge),
			     BYTES(nonce, sizeof(nonce)), proof),
	     "the proof");
	hex_encode(BYTES(proof, sizeof(proof)), hex);
	buf_reset(&request);
	buf_printf(
		&request,
		"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"authenticate\",\"params\":{\"appId\":\"%s\",\"nonce\":\"%.*s\","
		"\"proof\":\"%s\"}}\n",
		app, (int)sizeof(nonce), nonce, hex);
	call(c, &request, "serverProof", &text);
}

static void open_file(struct client *c, const char *room, const char *mode, struct buf *ret_id)
{
	CLEANUP(buf_fini) struct buf request = BUF_INIT(1024);

	buf_printf(
		&request,
		"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"fileOpen\",\"params\":{\"roomId\":\"%s\",\"mode\":\"%s\",",
		room, mode);
	buf_put_str(&request,
		    strcmp(mode, "encrypt") == 0 ? "\"name\":\"x\"" : "\"iv\":\"" FILE_IV "\",\"key\":" FILE_JWK);
	buf_put_str(&request, "}}\n");
	call(c, &request, "fileId", ret_id);
}

/* Answers that are complete leave; Return: how many. */
static size_t take_answers(struct client *c)
{
	const uint8_t *end;
	size_t n = 0, from = 0;

	while (from < c->in.n && (end = memchr(c->in.p + from, '\n', c->in.n - from))) {
		if (!memmem(c->in.p + from, 64, "\"result\"", 8))
			bench_die("a chunk", "was refused");
		from = (size_t)(end - c->in.p) + 1;
		n++;
	}
	buf_drop_front(&c->in, from);
	return n;
}

/* Return: nanoseconds */
static uint64_t stream(struct client *c, struct bytes frame, size_t chunks, size_t depth)
{
	size_t asked = 0, answered = 0, sent = 0; /* sent: of the frame under way */
	uint64_t before = bench_now_ns();

	while (answered < chunks) {
		bool may_ask = asked < chunks && asked - answered < depth;
		struct pollfd p = { .fd = c->fd, .events = (short)(POLLIN | (may_ask ? POLLOUT : 0)) };
		ssize_t n;

		if (poll(&p, 1, -1) < 0)
			bench_die("poll", strerror(errno));
		if (p.revents & POLLIN) {
			hear(c);
			answered += take_answers(c);
		}
		if (!(p.revents & POLLOUT))
			continue;
		n = send(c->fd, frame.p + sent, frame.n - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			bench_die("a chunk cannot be sent", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
		if (sent == frame.n) {
			asked++;
			sent = 0;
		}
	}
	return bench_now_ns() - before;
}

/* Return: nanoseconds for FLOOR_CHUNKS chunks */
static uint64_t floor_ns(struct bytes text)
{
	CLEANUP(aes_ctr_freep) struct aes_ctr *cipher = NULL;
	CLEANUP(sha256_freep) struct sha256 *hash = NULL;
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_fini) struct buf chunk = BUF_INIT(MAX_ANSWER), again = BUF_INIT(MAX_ANSWER);
	uint8_t iv[AES_CTR_IV] = { 0 };
	uint64_t before;

	need(rand_secret(AES_CTR_KEY, &key), "a key");
	need(aes_ctr_new(key, BYTES(iv, sizeof(iv)), &cipher), "aes_ctr_new");
	need(sha256_new(&hash), "sha256_new");
	if (!buf_room(&chunk, B64_MAX_DECODED(text.n)) || !buf_room(&again, text.n))
		bench_die("a chunk", "out of memory");
	before = bench_now_ns();
	for (size_t i = 0; i < FLOOR_CHUNKS; i++) {
		size_t n;

		need(b64_decode(text, chunk.p, &n), "b64_decode");
		need(sha256_update(hash, BYTES(chunk.p, n)), "sha256_update");
		need(aes_ctr_update(cipher, BYTES(chunk.p, n), chunk.p), "aes_ctr_update");
		b64_encode(BYTES(chunk.p, n), (char *)again.p);
	}
	return bench_now_ns() - before;
}

static double mib_per_second(size_t chunks, uint64_t ns)
{
	return (double)(chunks * CHUNK) / (1 << 20) * 1e9 / (double)ns;
}

int main(int argc, char **argv)
{
	CLEANUP(buf_fini) struct buf id = BUF_INIT(64), chunk = BUF_INIT(CHUNK), text = BUF_INIT(MAX_ANSWER);
	CLEANUP(buf_fini) struct buf frame = BUF_INIT(MAX_ANSWER), end = BUF_INIT(1024), sha256 = BUF_INIT(128);
	size_t chunks, depth;
	struct client client;
	uint64_t ns;
	uint8_t *p;

	if (argc != 7)
		bench_die("files", "usage: files SOCKET APP ROOM encrypt|decrypt CHUNKS DEPTH");
	chunks = bench_number(argv[5], 1, 1 << 20);
	depth = bench_number(argv[6], 1, 1024);
	need(arena_init(ARENA_LOCK_AUTO), "arena_init");
	need(ossl_init(), "ossl_init");
	json_setup();
	p = buf_room(&chunk, CHUNK);
	if (!p)
		bench_die("a chunk", "out of memory");
	rand_bytes(p, CHUNK);
	buf_added(&chunk, CHUNK);
	buf_put_b64(&text, buf_bytes(&chunk));

	connect_to(&client, argv[1]);
	authenticate(&client, argv[2]);
	open_file(&client, argv[3], argv[4], &id);
	buf_printf(
		&frame,
		"{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"fileUpdate\",\"params\":{\"fileId\":\"%.*s\",\"data\":\"",
		(int)id.n, (const char *)id.p);
	buf_put_bytes(&frame, buf_bytes(&text));
	buf_put_str(&frame, "\"}}\n");
	need(buf_err(&frame), "a request");
	if (fcntl(client.fd, F_SETFL, O_NONBLOCK) < 0)
		bench_die("fcntl", strerror(errno));
	ns = stream(&client, buf_bytes(&frame), chunks, depth);
	if (fcntl(client.fd, F_SETFL, 0) < 0)
		bench_die("fcntl", strerror(errno));
	buf_printf(&end, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"fileClose\",\"params\":{\"fileId\":\"%.*s\"}}\n",
		   (int)id.n, (const char *)id.p);
	call(&client, &end, "sha256", &sha256);
	(void)printf(
		"{\"mode\":\"%s\",\"bytes\":%zu,\"chunkBytes\":%zu,\"depth\":%zu,\"seconds\":%.6f,\"mibPerSecond\":%.1f,"
		"\"floorMibPerSecond\":%.1f}\n",
		argv[4], chunks * CHUNK, CHUNK, depth, (double)ns / 1e9, mib_per_second(chunks, ns),
		mib_per_second(FLOOR_CHUNKS, floor_ns(buf_bytes(&text))));
	(void)close(client.fd);
	buf_fini(&client.in);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
