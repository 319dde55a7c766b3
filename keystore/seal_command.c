/*
 * seal_command - the key-encryption key is random, and a command of the operator's wraps and unwraps it: any KMS will do
 *
 *                 stdin                     stdout
 *   wrap          the KEK, 32 bytes         what stands in the slot, 1 to 8192 bytes
 *   unwrap        what stands in the slot   the KEK: 32 bytes, or their base64 with or without a line end
 *
 * The slot's parameters are what wrap printed. make() unwraps it at once: a keystore must not be sealed with what cannot be opened.
 *
 * The child is started with posix_spawn(), which shares our memory until it executes and then has none of it; so the arena is
 * neither copied nor inherited. It runs in a process group of its own, which is killed in the end however that comes about: nothing
 * that has seen the key stays behind. The pipes are read into secrets. We keep the read end of its stdin open, too, so that a
 * child that does not read is seen by what is left in there, whenever it ends, and a write to it never raises SIGPIPE.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/b64.h"
#include "base/cleanup.h"
#include "crypto/rand.h"
#include "keystore/seal.h"

#define MAX_WRAPPED   8192u
#define MAX_UNWRAPPED 46u /* base64 of 32 bytes and a line end of two characters */
#define MAX_COMMAND   1024u
#define MAX_ARGS      64u
#define REAP_MS	      5000 /* how long a killed process may take to go */
#define TICK_MS	      2 /* between looks at a process whose output has ended, or that was killed: it goes any moment */

struct command {
	char *wrap, *unwrap; /* owned */
	unsigned timeout_ms;
};

/* One child, from its start until it is reaped. */
struct child {
	const char *what;      /* for sentences: the program's path; borrowed */
	pid_t pid;	       /* 0: not started, or reaped */
	int in, in_read, out;  /* our ends: write, and the read end that is never read; read */
	struct timespec until; /* CLOCK_MONOTONIC */
	unsigned timeout_ms;
};

/* ---- arguments, environment ---- */

/* Split @text in place at blanks. Return: how many; more than MAX_ARGS means too many. */
static size_t split(char *text, char *argv[MAX_ARGS + 1])
{
	size_t n = 0;
	char *rest;

	for (char *arg = strtok_r(text, " \t", &rest); arg; arg = strtok_r(NULL, " \t", &rest)) {
		if (n == MAX_ARGS)
			return n + 1;
		argv[n++] = arg;
	}
	argv[n] = NULL;
	return n;
}

/* What steers our own loader and our own talk with systemd is none of the command's business. */
static bool is_passed_on(const char *variable)
{
	return strncmp(variable, "LD_", 3) != 0 && strncmp(variable, "LISTEN_", 7) != 0 &&
	       strncmp(variable, "NOTIFY_SOCKET=", 14) != 0;
}

/* Return: the array, whose strings are environ's, or NULL. free() it. */
static char **environment(void)
{
	size_t n = 0;
	char **ret;

	while (environ && environ[n])
		n++;
	ret = calloc(n + 1, sizeof(*ret));
	if (!ret)
		return NULL;
	n = 0;
	for (char **v = environ; v && *v; v++) {
		if (is_passed_on(*v))
			ret[n++] = *v;
	}
	return ret;
}

static void free_environment(char ***p)
{
	free(*p);
}

/* ---- start ---- */

static int make_pipe(int ret[2])
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	/* not one of 0, 1, 2, should we have been started without them: the child's ends are moved there one after the other */
	for (unsigned i = 0; i < 2; i++) {
		int moved = p[i] > 2 ? p[i] : fcntl(p[i], F_DUPFD_CLOEXEC, 3);

		if (moved < 0) {
			int e = errno;

			(void)close(p[0]); /* of no use any more */
			(void)close(p[1]);
			errno = e;
			return -1;
		}
		if (moved != p[i])
			(void)close(p[i]); /* a duplicate is left */
		p[i] = moved;
	}
	ret[0] = p[0];
	ret[1] = p[1];
	return 0;
}

/* Return: 0 or an errno value. */
static int spawn_with(posix_spawn_file_actions_t *files, posix_spawnattr_t *attr, int in, int out, char *const argv[],
		      char *const envp[], pid_t *ret)
{
	sigset_t none, all;
	int e;

	(void)sigemptyset(&none); /* these two cannot fail */
	(void)sigfillset(&all);
	e = posix_spawn_file_actions_adddup2(files, in, 0);
	if (!e)
		e = posix_spawn_file_actions_adddup2(files, out, 1);
	if (!e)
		e = posix_spawn_file_actions_addclosefrom_np(files, 3);
	if (!e)
		e = posix_spawnattr_setsigmask(attr, &none);
	if (!e)
		e = posix_spawnattr_setsigdefault(attr, &all);
	if (!e)
		e = posix_spawnattr_setpgroup(attr, 0);
	if (!e)
		e = posix_spawnattr_setflags(attr,
					     POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return e ? e : posix_spawn(ret, argv[0], files, attr, argv, envp);
}

static int spawn(int in, int out, char *const argv[], char *const envp[], pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int e = posix_spawn_file_actions_init(&files);

	if (e)
		return e;
	e = posix_spawnattr_init(&attr);
	if (!e) {
		e = spawn_with(&files, &attr, in, out, argv, envp, ret);
		(void)posix_spawnattr_destroy(&attr); /* cannot fail */
	}
	(void)posix_spawn_file_actions_destroy(&files); /* cannot fail */
	return e;
}

static int start_failed(const struct child *c, const char *doing, int e, struct buf *why)
{
	errno = e;
	buf_printf(why, "cannot start the seal's command %s (%s): %m; is the path right, and may e2eed's user run it?",
		   c->what, doing);
	return e == ENOMEM ? ERR_NOMEM : ERR_SEAL;
}

static int start(struct child *c, char *const argv[], struct buf *why)
{
	CLEANUP(free_environment) char **envp = environment();
	CLEANUP(fd_closep) int in_read = -1, in = -1, out = -1, out_write = -1;
	int p[2], e;

	if (!envp)
		return ERR_NOMEM;
	if (make_pipe(p) < 0)
		return start_failed(c, "pipe", errno, why);
	in_read = p[0];
	in = p[1];
	if (make_pipe(p) < 0)
		return start_failed(c, "pipe", errno, why);
	out = p[0];
	out_write = p[1];
	/* of the pipe's ends, only ours: the child's are other descriptions */
	if (fcntl(in, F_SETFL, O_NONBLOCK) < 0 || fcntl(out, F_SETFL, O_NONBLOCK) < 0)
		return start_failed(c, "fcntl", errno, why);
	e = spawn(in_read, out_write, argv, envp, &c->pid);
	if (e) {
		c->pid = 0;
		return start_failed(c, "spawn", e, why);
	}
	c->in = TAKE_FD(in);
	c->in_read = TAKE_FD(in_read);
	c->out = TAKE_FD(out);
	return 0;
}

/* ---- end ---- */

static int left_ms(const struct child *c)
{
	struct timespec now;
	int64_t ms;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	ms = (int64_t)(c->until.tv_sec - now.tv_sec) * 1000 + (c->until.tv_nsec - now.tv_nsec) / 1000000;
	return ms <= 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

/*
 * Kill what is left of the group and reap the child. Until then its number cannot be another's. A child that changed its user may
 * not be ours to kill: it is left alone then, rather than waited for without end.
 *
 * Return: was it reaped, so that there is a status?
 */
static bool finish(struct child *c, int *ret_status)
{
	pid_t reaped = -1;

	fd_closep(&c->in);
	fd_closep(&c->in_read);
	fd_closep(&c->out);
	if (c->pid <= 0)
		return false;
	(void)kill(-c->pid, SIGKILL); /* nobody there is fine */
	(void)kill(c->pid, SIGKILL);  /* it may have left the group */
	for (int waited = 0; waited < REAP_MS; waited += TICK_MS) {
		reaped = waitpid(c->pid, ret_status, WNOHANG);
		if (reaped > 0 || (reaped < 0 && errno != EINTR))
			break;
		(void)poll(NULL, 0, TICK_MS);
	}
	c->pid = 0;
	return reaped > 0;
}

static void child_fini(struct child *c)
{
	int status;

	(void)finish(c, &status); /* on the way out because of another failure, which is told */
}

/* ---- talk ---- */

static int broken(const struct child *c, struct buf *why, const char *what)
{
	buf_printf(why, "the seal's command %s %s", c->what, what);
	return ERR_SEAL;
}

/* Write what the pipe takes. @input shrinks; the end is closed with the last byte. */
static int feed(struct child *c, struct bytes *input, struct buf *why)
{
	ssize_t n = input->n ? write(c->in, input->p, input->n) : 0;

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		buf_printf(why, "cannot write to the seal's command %s: %m", c->what);
		return ERR_SEAL;
	}
	*input = bytes_sub(*input, (size_t)n, input->n);
	if (input->n == 0)
		fd_closep(&c->in);
	return 0;
}

/* Read what the pipe has into @out, from @n on. The end is closed when the other one is. */
static int drain(struct child *c, struct secret *out, size_t *n, struct buf *why)
{
	for (;;) {
		ssize_t r = read(c->out, secret_write(out) + *n, secret_len(out) - *n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			return 0;
		if (r < 0) {
			buf_printf(why, "cannot read from the seal's command %s: %m", c->what);
			return ERR_SEAL;
		}
		if (r == 0) {
			fd_closep(&c->out);
			return 0;
		}
		*n += (size_t)r;
		if (*n == secret_len(out)) { /* it has room for one byte more than there may be */
			buf_printf(why, "the seal's command %s printed more than %zu bytes", c->what, *n - 1);
			return ERR_SEAL;
		}
	}
}

/* It stays unreaped, so that its number is still held. */
static bool has_ended(const struct child *c)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

/* Whatever is to be read, too: one that never stops printing must stop. */
static int timed_out(const struct child *c, struct buf *why)
{
	if (has_ended(c))
		return broken(
			c, why,
			"ended, but left a process behind that keeps its output open, so that nobody knows whether "
			"that is whole: it must wait for what it starts");
	buf_printf(why,
		   "the seal's command %s did not end within %u ms and was killed: see why it hangs, or raise "
		   "command_timeout_ms",
		   c->what, c->timeout_ms);
	return ERR_SEAL;
}

/*
 * Until nobody holds the child's output any more, and it has ended. What it started may close that a moment after its end: a shell
 * redirects a background process only in the process itself.
 */
static int converse(struct child *c, struct bytes input, struct secret *out, size_t *n, struct buf *why)
{
	while (c->out >= 0 || !has_ended(c)) {
		struct pollfd fds[2] = { { .fd = c->in, .events = POLLOUT }, /* poll() skips a negative descriptor */
					 { .fd = c->out, .events = POLLIN } };
		int ms = left_ms(c), r = poll(fds, 2, c->out < 0 && ms > TICK_MS ? TICK_MS : ms);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			buf_printf(why, "cannot wait for the seal's command %s: %m", c->what);
			return ERR_SEAL;
		}
		if (ms == 0)
			return timed_out(c, why);
		r = 0;
		if (fds[0].revents)
			r = feed(c, &input, why);
		if (r == 0 && fds[1].revents)
			r = drain(c, out, n, why);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_status(const struct child *c, int status, struct buf *why)
{
	if (WIFSIGNALED(status)) {
		buf_printf(why, "the seal's command %s was ended by signal %d (%s)", c->what, WTERMSIG(status),
			   strsignal(WTERMSIG(status)));
		return ERR_SEAL;
	}
	if (WEXITSTATUS(status) != 0) {
		buf_printf(why,
			   "the seal's command %s failed with exit status %d; what it said on stderr is in the "
			   "daemon's log",
			   c->what, WEXITSTATUS(status));
		return ERR_SEAL;
	}
	return 0;
}

/* The child has ended; its number is still held. @n: how much it printed */
static int conclude(struct child *c, size_t n, struct buf *why)
{
	int unread = 0, status = 0, r;
	bool fed = c->in < 0;

	if (ioctl(c->in_read, FIONREAD, &unread) < 0)
		fed = false; /* it must be known */
	if (!finish(c, &status))
		return broken(c, why, "ended, but how is not known: e2eed must not be started with SIGCHLD ignored");
	r = check_status(c, status, why); /* first: it explains the others */
	if (r < 0)
		return r;
	if (!fed || unread > 0)
		return broken(c, why, "ended without having read all of its input");
	if (n == 0)
		return broken(c, why, "ended without having printed anything");
	return 0;
}

/* Return: 0 and what it printed, 1 to @max bytes; ERR_SEAL, ERR_NOMEM. */
static int run(const char *command, unsigned timeout_ms, struct bytes input, size_t max, struct buf *why,
	       struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *out = NULL;
	CLEANUP(child_fini) struct child c = { .in = -1, .in_read = -1, .out = -1 };
	char text[MAX_COMMAND + 1], *argv[MAX_ARGS + 1];
	size_t n_args, n = 0;
	int r;

	if (strlen(command) >= sizeof(text)) {
		buf_printf(why, "the seal's command has %zu bytes; at most %u are possible: put it into a script",
			   strlen(command), MAX_COMMAND);
		return ERR_SEAL;
	}
	memcpy(text, command, strlen(command) + 1);
	n_args = split(text, argv);
	if (n_args == 0 || n_args > MAX_ARGS || argv[0][0] != '/') {
		buf_printf(
			why,
			"\"%s\" is no command for the seal: it must be the absolute path of a program and at most %u "
			"arguments, separated by blanks",
			command, MAX_ARGS - 1);
		return ERR_SEAL;
	}
	r = secret_new(max + 1, &out);
	if (r < 0)
		return r;
	c.what = argv[0];
	c.timeout_ms = timeout_ms;
	(void)clock_gettime(CLOCK_MONOTONIC, &c.until); /* cannot fail */
	c.until.tv_sec += timeout_ms / 1000;
	c.until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	r = start(&c, argv, why);
	if (r == 0)
		r = converse(&c, input, out, &n, why);
	if (r == 0)
		r = conclude(&c, n, why);
	if (r < 0)
		return r;
	secret_cut(out, n);
	*ret = TAKE(out);
	return 0;
}

/* ---- the seal ---- */

static int unwrap(const struct command *m, struct bytes wrapped, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *out = NULL, *key = NULL;
	struct bytes text;
	size_t n;
	int r = run(m->unwrap, m->timeout_ms, wrapped, MAX_UNWRAPPED, why, &out);

	if (r < 0)
		return r;
	if (secret_len(out) == SEAL_KEY_SIZE) {
		*ret = TAKE(out);
		return 0;
	}
	text = secret_bytes(out);
	if (text.n && text.p[text.n - 1] == '\n')
		text.n--;
	if (text.n && text.p[text.n - 1] == '\r')
		text.n--;
	r = secret_new(B64_MAX_DECODED(MAX_UNWRAPPED), &key);
	if (r < 0)
		return r;
	if (b64_decode(text, secret_write(key), &n) < 0 || n != SEAL_KEY_SIZE) {
		buf_printf(
			why,
			"the seal's unwrap command printed %zu bytes, which are no key: it must print exactly %d bytes, or "
			"their base64",
			secret_len(out), SEAL_KEY_SIZE);
		return ERR_SEAL;
	}
	secret_cut(key, n);
	*ret = TAKE(key);
	return 0;
}

static int command_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	const struct command *m = seal->arg;
	CLEANUP(secret_freep) struct secret *key = NULL, *wrapped = NULL, *again = NULL;
	int r;

	r = rand_secret(SEAL_KEY_SIZE, &key);
	if (r == 0)
		r = run(m->wrap, m->timeout_ms, secret_bytes(key), MAX_WRAPPED, why, &wrapped);
	if (r == 0)
		r = unwrap(m, secret_bytes(wrapped), why, &again);
	if (r < 0)
		return r;
	if (!secret_equal(key, again)) {
		buf_put_str(why,
			    "the seal's unwrap command does not give back the key that its wrap command was given: "
			    "they do not belong together, and nothing was sealed");
		return ERR_SEAL;
	}
	buf_put_bytes(params, secret_bytes(wrapped)); /* encrypted: from here on it is no secret */
	if (buf_err(params))
		return buf_err(params);
	*ret = TAKE(key);
	return 0;
}

static int command_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	if (params.n == 0 || params.n > MAX_WRAPPED) {
		buf_printf(why,
			   "the command's slot has parameters of %zu bytes; possible are 1 to %u, so it is damaged",
			   params.n, MAX_WRAPPED);
		return ERR_SEAL;
	}
	return unwrap(seal->arg, params, why, ret);
}

static void command_fini(struct seal *seal)
{
	struct command *m = seal->arg;

	free(m->wrap);
	free(m->unwrap);
	free(m);
	seal->arg = NULL;
}

int seal_command_init(struct seal *seal, const char *wrap, const char *unwrap_command, unsigned timeout_ms)
{
	struct command *m = calloc(1, sizeof(*m));

	if (!m)
		return ERR_NOMEM;
	*seal = (struct seal){ .type = SEAL_COMMAND,
			       .name = "command",
			       .arg = m,
			       .make = command_make,
			       .open = command_open,
			       .fini = command_fini };
	m->wrap = strdup(wrap);
	m->unwrap = strdup(unwrap_command);
	m->timeout_ms = timeout_ms;
	if (m->wrap && m->unwrap)
		return 0;
	seal_fini(seal);
	return ERR_NOMEM;
}
