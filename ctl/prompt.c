#include "ctl/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"

/*
 * The terminal, with the signals that could end or stop us held back: they show on a descriptor, and take effect when they are let
 * through again, with echo on.
 */
struct terminal {
	int fd, signals;
	sigset_t before;
	struct termios saved;
	bool quiet; /* echo is off */
};

static void terminal_close(struct terminal *t)
{
	if (t->quiet)
		(void)tcsetattr(t->fd, TCSAFLUSH, &t->saved); /* nothing else could be done */
	t->quiet = false;
	if (t->signals >= 0)
		(void)sigprocmask(SIG_SETMASK, &t->before, NULL); /* cannot fail; what was held back happens now */
	fd_closep(&t->signals);
	fd_closep(&t->fd);
}

static int terminal_failed(struct buf *why)
{
	buf_printf(why, "cannot use the terminal: %m");
	return ERR_IO;
}

/* Return: 0; ERR_INVALID_PARAMS without a terminal, with nothing said; ERR_IO. */
static int terminal_open(struct terminal *ret, bool quiet, struct buf *why)
{
	CLEANUP(terminal_close) struct terminal t = { .fd = -1, .signals = -1 };
	struct termios hidden;
	sigset_t held;

	t.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (t.fd < 0)
		return ERR_INVALID_PARAMS;
	(void)sigemptyset(&held); /* these cannot fail for valid numbers */
	(void)sigaddset(&held, SIGINT);
	(void)sigaddset(&held, SIGTERM);
	(void)sigaddset(&held, SIGHUP);
	(void)sigaddset(&held, SIGQUIT);
	(void)sigaddset(&held, SIGTSTP);
	if (tcgetattr(t.fd, &t.saved) < 0)
		return terminal_failed(why);
	t.signals = signalfd(-1, &held, SFD_CLOEXEC);
	if (t.signals < 0)
		return terminal_failed(why);
	(void)sigprocmask(SIG_BLOCK, &held, &t.before);
	hidden = t.saved;
	hidden.c_lflag = (hidden.c_lflag & ~(tcflag_t)(ECHO | ECHOE | ECHOK)) | ECHONL | ICANON | ISIG;
	if (quiet) {
		if (tcsetattr(t.fd, TCSAFLUSH, &hidden) < 0)
			return terminal_failed(why);
		t.quiet = true;
	}
	*ret = t;
	t = (struct terminal){ .fd = -1, .signals = -1 };
	return 0;
}

/* It must not be steered by a name in the question. */
static void put_question(const struct terminal *t, const char *question)
{
	CLEANUP(buf_fini) struct buf text = BUF_INIT(4096);

	for (const char *c = question; *c; c++)
		buf_put_byte(&text, (uint8_t)(((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f ? '?' : *c));
	while (write(t->fd, text.p, text.n) < 0 && errno == EINTR)
		;
}

/*
 * Wait for a line, or for a signal.
 * Return: 1: there is one to read; 0: a signal is pending; ERR_IO
 */
static int wait_for_line(const struct terminal *t, struct buf *why)
{
	struct pollfd fds[] = { { .fd = t->fd, .events = POLLIN }, { .fd = t->signals, .events = POLLIN } };

	while (poll(fds, 2, -1) < 0) {
		if (errno != EINTR)
			return terminal_failed(why);
	}
	return fds[1].revents ? 0 : 1;
}

/*
 * One line, which the terminal holds until it is whole, without its line feed.
 * Return: 0; 1: a signal came first; ERR_FORBIDDEN (too long, nothing said); ERR_IO
 */
static int read_line(const struct terminal *t, uint8_t *line, size_t max, struct buf *why, size_t *ret_n)
{
	size_t n = 0;

	for (;;) {
		ssize_t got;
		int r = wait_for_line(t, why);

		if (r <= 0)
			return r < 0 ? r : 1;
		got = read(t->fd, line + n, max - n);
		if (got < 0 && errno != EINTR && errno != EAGAIN)
			return terminal_failed(why);
		if (got < 0)
			continue;
		n += (size_t)got;
		if (got == 0 || line[n - 1] == '\n') {
			*ret_n = got ? n - 1 : n;
			return 0;
		}
		if (n == max) {
			(void)tcflush(t->fd, TCIFLUSH); /* the rest of it is nobody's answer */
			return ERR_FORBIDDEN;
		}
	}
}

/* Until it is answered: after a stop, the question is put again. */
static int ask(const char *question, bool quiet, uint8_t *line, size_t max, struct buf *why, size_t *ret_n)
{
	for (;;) {
		CLEANUP(terminal_close) struct terminal t = { .fd = -1, .signals = -1 };
		int r = terminal_open(&t, quiet, why);

		if (r < 0)
			return r;
		put_question(&t, question);
		r = read_line(&t, line, max, why, ret_n);
		if (r <= 0)
			return r;
		put_question(&t, "\n");
	}
}

/* ---- secrets ---- */

static int check_length(const char *what, size_t n, struct buf *why)
{
	if (n > 0 && n <= PROMPT_MAX_SECRET)
		return 0;
	buf_printf(why, n ? "%s is longer than %d bytes" : "%s is empty", what, PROMPT_MAX_SECRET);
	return ERR_FORBIDDEN;
}

static int ask_secret(const char *question, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *line = NULL;
	size_t n = 0;
	int r = secret_new(PROMPT_MAX_SECRET + 2, &line); /* a line feed, and one more that shows what is too long */

	if (r < 0)
		return r;
	r = ask(question, true, secret_write(line), secret_len(line), why, &n);
	if (r == ERR_INVALID_PARAMS)
		buf_put_str(why, "there is no terminal to ask for the secret on; give --passphrase-fd");
	if (r == ERR_FORBIDDEN)
		n = secret_len(line);
	if (r == 0 || r == ERR_FORBIDDEN)
		r = check_length("what was typed", n, why);
	if (r < 0)
		return r;
	secret_cut(line, n);
	*ret = TAKE(line);
	return 0;
}

int prompt_secret(const char *question, const char *again, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *first = NULL, *second = NULL;
	int r = ask_secret(question, why, &first);

	if (r == 0 && again)
		r = ask_secret(again, why, &second);
	if (r < 0)
		return r;
	if (second && !secret_equal(first, second)) {
		buf_put_str(why, "the two differ; nothing was changed");
		return ERR_FORBIDDEN;
	}
	*ret = TAKE(first);
	return 0;
}

int prompt_fd(const char *number, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	size_t n = 0;
	char *end;
	long fd;
	int r;

	errno = 0;
	fd = strtol(number, &end, 10);
	if (errno || *end || number[0] < '0' || number[0] > '9' || fd > INT_MAX) {
		buf_printf(why, "--passphrase-fd takes the number of an open file descriptor, not '%.100s'", number);
		return ERR_INVALID_PARAMS;
	}
	r = secret_new(PROMPT_MAX_SECRET + 2, &text);
	if (r < 0)
		return r;
	while (n < secret_len(text)) {
		ssize_t got = read((int)fd, secret_write(text) + n, secret_len(text) - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			buf_printf(why, "cannot read the secret from descriptor %ld: %m", fd);
			return errno == EBADF ? ERR_INVALID_PARAMS : ERR_IO;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n && n < secret_len(text) && secret_read(text)[n - 1] == '\n')
		n--;
	r = check_length("what --passphrase-fd gave", n, why);
	if (r < 0)
		return r;
	secret_cut(text, n);
	*ret = TAKE(text);
	return 0;
}

/* ---- decisions ---- */

int prompt_yes(const char *question, struct buf *why)
{
	char line[16];
	size_t n = 0;
	int r = ask(question, false, (uint8_t *)line, sizeof(line), why, &n);

	if (r < 0)
		return r == ERR_FORBIDDEN ? 0 : r;
	return (n == 1 && strncasecmp(line, "y", 1) == 0) || (n == 3 && strncasecmp(line, "yes", 3) == 0);
}
