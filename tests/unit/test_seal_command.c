#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/sealing.h"
#include "tests/unit/tmpdir.h"

#define LONG_MS	   120000 /* for what is to end by itself: never waited for */
#define SHORT_MS   300	  /* for what is to be killed, however far it got */
#define WRITTEN_MS 3000	  /* for what is to be killed after it has written a number down */
#define KEY32	   "0123456789abcdef0123456789abcdef"

static struct tmpdir dir;
static struct sealing said;
static char at[TMPDIR_PATH]; /* the folder, which scripts know as $D */

/* A script of that name with this body. Return: its path, until the next call with the same name. */
static const char *script(const char *name, const char *body)
{
	static char paths[2][TMPDIR_PATH];
	char *path = paths[strcmp(name, "wrap") == 0], text[2048];

	tmpdir_file(&dir, name, path);
	(void)snprintf(text, sizeof(text), "#!/bin/sh\nD=%s\n%s\n", at, body);
	(void)unlink(path);
	tmpdir_write(path, bytes_str(text));
	tmpdir_need(chmod(path, 0700) == 0, path);
	return path;
}

static size_t open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* Nothing may be left of a run: no child, no descriptor. */
static void check_left(size_t files_before)
{
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	CHECK_INT(open_files(), files_before);
}

static int make_with(const char *wrap, const char *unwrap, unsigned timeout_ms, struct secret **ret)
{
	CLEANUP(seal_fini) struct seal seal = { 0 };
	size_t files = open_files();
	int r;

	CHECK_INT(seal_command_init(&seal, wrap, unwrap, timeout_ms), 0);
	CHECK(!seal.made && !seal.existed);
	r = sealing_make(&said, &seal, ret);
	check_left(files);
	return r;
}

static int open_with(const char *unwrap, unsigned timeout_ms, struct bytes params, struct secret **ret)
{
	CLEANUP(seal_fini) struct seal seal = { 0 };
	size_t files = open_files();
	int r;

	CHECK_INT(seal_command_init(&seal, "/bin/false", unwrap, timeout_ms), 0);
	r = sealing_open(&said, &seal, params, ret);
	check_left(files);
	return r;
}

static void refused(const char *command, unsigned timeout_ms, const char *says)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	CHECK_INT(open_with(command, timeout_ms, BYTES_LIT("wrapped"), &key), ERR_SEAL);
	CHECK(!key);
	test_ok(sealing_says(&said, says), __FILE__, __LINE__, says);
}

static void gives(const char *body, struct bytes want)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	CHECK_INT(open_with(script("unwrap", body), LONG_MS, BYTES_LIT("wrapped"), &key), 0);
	if (key)
		CHECK_BYTES(secret_bytes(key), want);
	else
		printf("# said: %s\n", said.why);
}

static void test_round(void)
{
	const char *wrap = script("wrap", "exec openssl enc -aes-256-cbc -pbkdf2 -pass file:$D/kms");
	const char *unwrap = script("unwrap", "exec openssl enc -d -aes-256-cbc -pbkdf2 -pass file:$D/kms");
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL, *other = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(SEAL_MAX_PARAMS);
	char kms[TMPDIR_PATH];

	tmpdir_file(&dir, "kms", kms);
	tmpdir_write(kms, BYTES_LIT("the key management service's own\n"));
	CHECK_INT(make_with(wrap, unwrap, LONG_MS, &key), 0);
	CHECK_INT(secret_len(key), SEAL_KEY_SIZE);
	CHECK_INT(said.params.n, 64); /* magic, salt, and 32 bytes padded to 48 */
	buf_put_bytes(&params, buf_bytes(&said.params));
	CHECK_INT(open_with(unwrap, LONG_MS, buf_bytes(&params), &again), 0);
	CHECK(secret_equal(key, again));
	secret_free(TAKE(again));

	unwrap = script("unwrap", "openssl enc -d -aes-256-cbc -pbkdf2 -pass file:$D/kms | base64");
	CHECK_INT(open_with(unwrap, LONG_MS, buf_bytes(&params), &again), 0);
	CHECK(secret_equal(key, again));
	CHECK_INT(make_with(wrap, unwrap, LONG_MS, &other), 0); /* another key each time */
	CHECK(!secret_equal(key, other));
}

static void test_printed(void)
{
	gives("cat >$D/got; printf " KEY32, BYTES_LIT(KEY32));
	gives("cat >/dev/null; printf MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", BYTES_LIT(KEY32));
	gives("cat >/dev/null; printf MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", BYTES_LIT(KEY32));
	gives("cat >/dev/null; printf 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\\r\\n'", BYTES_LIT(KEY32));
	gives("cat >/dev/null; head -c 32 /dev/zero",
	      BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32));
	/* piecemeal, and told from its end */
	gives("cat >/dev/null; for i in 0 1 2 3 4 5 6 7; do printf abcd; done",
	      BYTES_LIT("abcdabcdabcdabcdabcdabcdabcdabcd"));

	refused(script("unwrap", "cat >/dev/null; printf " KEY32 "x"), LONG_MS, "printed 33 bytes, which are no key");
	refused(script("unwrap", "cat >/dev/null; echo " KEY32), LONG_MS, "printed 33 bytes");
	refused(script("unwrap", "cat >/dev/null; head -c 31 /dev/zero"), LONG_MS, "printed 31 bytes");
	refused(script("unwrap", "cat >/dev/null; echo MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZW=="), LONG_MS,
		"no key");
	refused(script("unwrap", "cat >/dev/null; printf 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\\n\\n'"),
		LONG_MS, "no key");
	refused(script("unwrap", "cat >/dev/null; head -c 47 /dev/zero"), LONG_MS, "printed more than 46 bytes");
	refused(script("unwrap", "cat >/dev/null; exec yes"), LONG_MS, "printed more than 46 bytes");
	refused(script("unwrap", "cat >/dev/null"), LONG_MS, "without having printed anything");
}

static void test_ends(void)
{
	refused(script("unwrap", "cat >/dev/null; printf " KEY32 "; exit 3"), LONG_MS, "failed with exit status 3");
	refused(script("unwrap", "exit 1"), LONG_MS, "exit status 1");
	refused(script("unwrap", "kill -TERM $$"), LONG_MS, "ended by signal 15");
	refused(script("unwrap", "printf " KEY32), LONG_MS, "without having read all of its input");
	refused(script("unwrap", "exec <&-; printf " KEY32), LONG_MS, "without having read all of its input");
	refused(script("unwrap", "head -c 3 >/dev/null; printf " KEY32), LONG_MS,
		"without having read all of its input");
	refused(script("unwrap", "exec <&-; exec sleep 1000"), SHORT_MS, "did not end within 300 ms and was killed");
	refused(script("unwrap", "exec sleep 1000"), SHORT_MS, "did not end within 300 ms and was killed");
	refused(script("unwrap", "trap '' TERM INT HUP; cat >/dev/null; printf " KEY32 "; while :; do :; done"),
		SHORT_MS, "did not end within 300 ms and was killed");
}

/* Is there a process of that number that has not ended? One that nobody has reaped yet has. */
static bool is_running(pid_t pid)
{
	char path[64], line[512] = "", *state;
	CLEANUP(file_closep) FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f))
		return false;
	state = strrchr(line, ')');
	return state && state[1] && state[2] != 'Z' && state[2] != 'X';
}

/* The process whose number the script has written down: it goes by itself, having been killed, or it is there. */
static void check_written(const char *name, bool killed)
{
	char path[TMPDIR_PATH];
	struct bytes text;
	pid_t pid;

	tmpdir_file(&dir, name, path);
	text = tmpdir_read(path);
	pid = (pid_t)strtol((const char *)text.p, NULL, 10);
	CHECK(pid > 0);
	if (killed) {
		int waited = 0;

		while (is_running(pid) && waited < LONG_MS)
			waited += 10 + poll(NULL, 0, 10);
		CHECK(!is_running(pid));
	} else {
		CHECK(is_running(pid) && kill(pid, SIGKILL) == 0);
	}
	tmpdir_free(text);
}

static void test_grandchildren(void)
{
	refused(script("unwrap", "cat >/dev/null; printf " KEY32 "; sleep 1000 & printf '%d ' $! >$D/pid"), WRITTEN_MS,
		"left a process behind that keeps its output open");
	check_written("pid", true);
	refused(script("unwrap", "cat >/dev/null; sleep 1000 & printf '%d ' $! >$D/pid; wait"), WRITTEN_MS,
		"did not end");
	check_written("pid", true);
	/* with a session of its own it is out of reach, but still no reason to wait; it says when it has one */
	refused(script("unwrap", "cat >/dev/null; printf " KEY32 "\nrm -f $D/pid\nexport D\n"
				 "setsid sh -c 'printf \"%d \" $$ >$D/new; mv $D/new $D/pid; exec sleep 1000' &\n"
				 "until test -s $D/pid; do :; done"),
		WRITTEN_MS, "left a process behind that keeps its output open");
	check_written("pid", false);
	/* one that does not hold the pipe is nobody's business, but is not left alone with the key either */
	gives("cat >/dev/null; printf " KEY32 "; sleep 1000 >/dev/null & printf '%d ' $! >$D/pid", BYTES_LIT(KEY32));
	check_written("pid", true);
}

static void test_wrap(void)
{
	static uint8_t longer[8193];
	CLEANUP(secret_freep) struct secret *key = NULL;
	const char *unwrap = script("unwrap", "cat >/dev/null; cat $D/kek");

	CHECK_INT(make_with(script("wrap", "cat >$D/kek; head -c 8192 /dev/zero"), unwrap, LONG_MS, &key), 0);
	CHECK_INT(said.params.n, 8192);
	secret_free(TAKE(key));
	CHECK_INT(make_with(script("wrap", "cat >$D/kek; head -c 8193 /dev/zero"), unwrap, LONG_MS, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "printed more than 8192 bytes"));
	CHECK_INT(make_with(script("wrap", "cat >$D/kek"), unwrap, LONG_MS, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "without having printed anything"));
	CHECK_INT(make_with(script("wrap", "echo x"), unwrap, LONG_MS, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "without having read all"));

	/* what cannot be opened again must not seal anything */
	unwrap = script("unwrap", "cat >/dev/null; printf " KEY32);
	CHECK_INT(make_with(script("wrap", "cat >/dev/null; echo x"), unwrap, LONG_MS, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "does not give back the key"));
	CHECK_INT(said.params.n, 0);
	CHECK_INT(make_with(script("wrap", "cat >/dev/null; echo x"), "/bin/false", LONG_MS, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "/bin/false failed with exit status 1"));

	CHECK_INT(open_with(unwrap, LONG_MS, BYTES_NONE, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "parameters of 0 bytes"));
	CHECK_INT(open_with(unwrap, LONG_MS, BYTES(longer, sizeof(longer)), &key), ERR_SEAL);
	CHECK(sealing_says(&said, "parameters of 8193 bytes"));
	CHECK(!key);
}

static void test_commands(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	char command[4096], args[TMPDIR_PATH], *to;
	struct bytes text;

	refused("", LONG_MS, "is no command for the seal");
	refused(" \t ", LONG_MS, "is no command for the seal");
	refused("cat", LONG_MS, "absolute path");
	refused("./cat x", LONG_MS, "absolute path");
	refused("/nonexistent/kms decrypt", LONG_MS, "/nonexistent/kms");
	refused(at, LONG_MS, at); /* a folder */
	memset(command, ' ', sizeof(command));
	memcpy(command, "/bin/cat", 8);
	for (to = command + 9; to < command + 9 + 2 * 64; to += 2)
		*to = 'x';
	*to = '\0';
	refused(command, LONG_MS, "at most 63 arguments");
	memset(command, 'x', sizeof(command));
	command[0] = '/';
	command[1025] = '\0';
	refused(command, LONG_MS, "1025 bytes; at most 1024");
	command[1024] = '\0';
	refused(command, LONG_MS, "xxx");

	/* no shell: what means something to one is an argument like others */
	(void)snprintf(command, sizeof(command), "%s $HOME \t 'a  b' ;>x",
		       script("unwrap", "cat >/dev/null\nprintf '<%s>' \"$@\" >$D/args\nprintf " KEY32));
	CHECK_INT(open_with(command, LONG_MS, BYTES_LIT("wrapped"), &key), 0);
	tmpdir_file(&dir, "args", args);
	text = tmpdir_read(args);
	CHECK_BYTES(text, BYTES_LIT("<$HOME><'a><b'><;>x>"));
	tmpdir_free(text);
}

static bool has_line(struct bytes text, const char *line)
{
	return memmem(text.p, text.n, line, strlen(line)) != NULL;
}

static void test_surroundings(void)
{
	char path[TMPDIR_PATH];
	struct bytes text;
	sigset_t some, before;
	int extra = dup(1); /* without close-on-exec */

	CHECK(extra > 2);
	(void)setenv("LD_E2EED", "x", 1);
	(void)setenv("LISTEN_FDS", "1", 1);
	(void)setenv("NOTIFY_SOCKET", "@x", 1);
	(void)setenv("CREDENTIALS_DIRECTORY", "/run/x", 1);
	(void)setenv("AWS_REGION", "x", 1);
	(void)sigemptyset(&some);
	(void)sigaddset(&some, SIGTERM);
	(void)sigaddset(&some, SIGCHLD);
	CHECK(sigprocmask(SIG_BLOCK, &some, &before) == 0);
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	gives("cat >$D/got\n/usr/bin/env -0 >$D/env\ncat /proc/self/status >$D/status\nls /proc/self/fd >$D/fds\n"
	      "printf " KEY32,
	      BYTES_LIT(KEY32));
	CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
	(void)close(extra);

	tmpdir_file(&dir, "got", path);
	text = tmpdir_read(path);
	CHECK_BYTES(text, BYTES_LIT("wrapped"));
	tmpdir_free(text);
	tmpdir_file(&dir, "fds", path);
	text = tmpdir_read(path);
	CHECK_BYTES(text, BYTES_LIT("0\n1\n2\n3\n")); /* 3: the folder that ls reads */
	tmpdir_free(text);
	tmpdir_file(&dir, "status", path);
	text = tmpdir_read(path);
	CHECK(has_line(text, "\nSigBlk:\t0000000000000000\n"));
	CHECK(has_line(text, "\nSigIgn:\t0000000000000000\n") ||
	      has_line(text, "\nSigIgn:\t0000000180000000\n")); /* 32 and 33: glibc's own */
	tmpdir_free(text);
	tmpdir_file(&dir, "env", path);
	text = tmpdir_read(path);
	CHECK(has_line(text, "PATH=") && has_line(text, "AWS_REGION=x"));
	CHECK(has_line(text, "CREDENTIALS_DIRECTORY=/run/x"));
	CHECK(!has_line(text, "LD_") && !has_line(text, "LISTEN_") && !has_line(text, "NOTIFY_SOCKET"));
	tmpdir_free(text);
}

/* Started with no stdin and no stdout at all, our pipes would land there. */
static void test_no_stdio(void)
{
	int in = dup(0), out = dup(1);
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(seal_fini) struct seal seal = { 0 };
	const char *unwrap = script("unwrap", "cat >$D/got; printf " KEY32);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	int r;

	CHECK_INT(seal_command_init(&seal, "/bin/false", unwrap, LONG_MS), 0);
	CHECK(in > 2 && out > 2);
	(void)fflush(stdout);
	(void)close(0);
	(void)close(1);
	r = seal.open(&seal, BYTES_LIT("wrapped"), &why, &key);
	tmpdir_need(dup2(in, 0) == 0 && dup2(out, 1) == 1, "dup2");
	(void)close(in);
	(void)close(out);
	CHECK_INT(r, 0);
	CHECK(key && bytes_eq(secret_bytes(key), BYTES_LIT(KEY32)));
}

/* With SIGCHLD ignored the kernel throws the exit status away; it must not count as a success. */
static void test_no_status(void)
{
	CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	refused(script("unwrap", "cat >/dev/null; printf " KEY32 "; exit 1"), LONG_MS, "SIGCHLD ignored");
	CHECK(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	tmpdir_file(&dir, "", at);
	at[strlen(at) - 1] = '\0';
	test_round();
	test_printed();
	test_ends();
	test_grandchildren();
	test_wrap();
	test_commands();
	test_surroundings();
	test_no_stdio();
	test_no_status();
	sealing_fini(&said);
	tmpdir_remove(&dir);
	return test_end();
}
