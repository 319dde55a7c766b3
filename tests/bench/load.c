/*
 * load - many connections that each wait for their answer, beside the floor
 *
 *   load SOCKET PROBE BYTES CONNECTIONS SLICES REQUESTS PROBES
 *
 * In each of SLICES turns the connections make REQUESTS requests between them, each with one under way at a time, and then the floor
 * is measured PROBES times: an append and fdatasync of BYTES to the file PROBE. In turn, so that what else the machine does meets
 * both alike. A request is authorizeRoom on a room that is new, of one app after the other (those that `store fill` makes), so that
 * each is a record. Prints one JSON object.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define MAX_CONNECTIONS 1024
#define APPS		16 /* as the stores measured have */

struct conn {
	int fd;
	uint64_t sent_ns;
	char in[4096]; /* an answer as far as it has come */
	size_t n;
};

struct load {
	struct conn conns[MAX_CONNECTIONS];
	struct pollfd polls[MAX_CONNECTIONS];
	size_t n_conns;
	size_t serial;	   /* of the newest request */
	size_t unasked;	   /* requests of this slice that are still to be sent */
	size_t unanswered; /* and answered */
	struct samples took;
};

static int connect_to(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(to.sun_path))
		bench_die(path, "too long for a socket's path");
	memcpy(to.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		bench_die(path, strerror(errno));
	return fd;
}

static void ask(struct load *load, struct conn *c)
{
	char request[256];
	int n;

	load->serial++;
	load->unasked--;
	n = snprintf(request, sizeof(request),
		     "{\"jsonrpc\":\"2.0\",\"id\":%zu,\"method\":\"authorizeRoom\",\"params\":{\"appId\":\"app-%06zu\","
		     "\"roomId\":\"busy-%06zu\",\"permissions\":[\"read\",\"write\"]}}\n",
		     load->serial, load->serial % APPS, load->serial);
	c->sent_ns = bench_now_ns();
	if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n) /* far smaller than what a socket takes at once */
		bench_die("a request cannot be sent", strerror(errno));
}

/* What has come; a whole answer is counted and followed by the next request. */
static void hear(struct load *load, struct conn *c)
{
	ssize_t got = recv(c->fd, c->in + c->n, sizeof(c->in) - 1 - c->n, 0);

	if (got <= 0)
		bench_die("an answer cannot be read",
			  got < 0 ? strerror(errno) : "the connection was closed, or it is too long");
	c->n += (size_t)got;
	c->in[c->n] = '\0';
	if (c->in[c->n - 1] != '\n') /* one request is under way, so nothing follows its answer */
		return;
	if (!strstr(c->in, "\"result\""))
		bench_die("a request was refused", c->in);
	samples_add(&load->took, bench_now_ns() - c->sent_ns);
	c->n = 0;
	load->unanswered--;
	if (load->unasked)
		ask(load, c);
}

/* Return: how long it took, in nanoseconds */
static uint64_t run_slice(struct load *load, size_t requests)
{
	uint64_t before = bench_now_ns();

	load->unasked = load->unanswered = requests;
	for (size_t i = 0; i < load->n_conns && load->unasked; i++)
		ask(load, &load->conns[i]);
	while (load->unanswered) {
		if (poll(load->polls, load->n_conns, -1) < 0)
			bench_die("poll", strerror(errno));
		for (size_t i = 0; i < load->n_conns; i++)
			if (load->polls[i].revents)
				hear(load, &load->conns[i]);
	}
	return bench_now_ns() - before;
}

int main(int argc, char **argv)
{
	static struct load load; /* too large for a stack */
	size_t bytes, slices, requests, probes;
	uint64_t busy_ns = 0;
	struct probe probe;

	if (argc != 8)
		bench_die("load", "usage: load SOCKET PROBE BYTES CONNECTIONS SLICES REQUESTS PROBES");
	bytes = bench_number(argv[3], 1, 1 << 20);
	load.n_conns = bench_number(argv[4], 1, MAX_CONNECTIONS);
	slices = bench_number(argv[5], 1, 1000000);
	requests = bench_number(argv[6], 1, 1000000);
	probes = bench_number(argv[7], 0, 1000000);
	for (size_t i = 0; i < load.n_conns; i++) {
		load.conns[i].fd = connect_to(argv[1]);
		load.polls[i] = (struct pollfd){ .fd = load.conns[i].fd, .events = POLLIN };
	}
	probe_open(&probe, argv[2], bytes);
	for (size_t s = 0; s < slices; s++) {
		busy_ns += run_slice(&load, requests);
		for (size_t i = 0; i < probes; i++)
			probe_once(&probe);
	}
	(void)printf("{\"connections\":%zu,\"seconds\":%.6f,\"perSecond\":%.1f,\"answer\":", load.n_conns,
		     (double)busy_ns / 1e9, (double)(slices * requests) * 1e9 / (double)busy_ns);
	samples_print(&load.took);
	(void)printf(",\"floor\":");
	samples_print(&probe.took);
	(void)printf("}\n");
	probe_fini(&probe, argv[2]);
	samples_fini(&load.took);
	for (size_t i = 0; i < load.n_conns; i++)
		(void)close(load.conns[i].fd);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
