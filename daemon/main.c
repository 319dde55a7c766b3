/*
 * e2eed - the daemon: arguments, order of start-up, signals, order of shutdown, exit status
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "crypto/ossl.h"
#include "daemon/daemon.h"
#include "daemon/harden.h"
#include "daemon/seals.h"
#include "daemon/signals.h"
#include "proto/vault.h"

#define MALLOC_ARENAS	    2
#define MALLOC_KEEP	    (4 << 20) /* bytes of freed memory that are kept, and from which size on a block is the system's */
#define DESCRIPTORS_OF_OURS 64	      /* sockets, event loops, keystore, and some to spare */

static const char usage[] =
	"usage: e2eed [--config FILE] [--check-config] [--version] [--help]\n"
	"             [--accept-damaged-tail] [--accept-rollback]\n"
	"\n"
	"  --config FILE          configuration, " CONF_DEFAULT_PATH " unless given\n"
	"  --check-config         check the configuration and exit: 0, or 78 if it is not usable\n"
	"  --version              print the version and exit\n"
	"\n"
	"For once, when a start was refused and a person has looked into it:\n"
	"  --accept-damaged-tail  cut off a last record of the keystore that is damaged\n"
	"  --accept-rollback      take a keystore that is older than the anchor or the audit trail remembers\n";

struct args {
	const char *conf_path;
	bool check;
	bool accept_damaged_tail, accept_rollback;
};

/* Return: -1 to go on, else the exit status */
static int parse_args(int argc, char **argv, struct args *ret)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ "accept-damaged-tail", no_argument, NULL, 'd' },
		{ "accept-rollback", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*ret = (struct args){ .conf_path = CONF_DEFAULT_PATH };
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ret->conf_path = optarg;
			break;
		case 'k':
			ret->check = true;
			break;
		case 'V':
			(void)printf("e2eed %s\n",
				     E2EED_VERSION); /* as below: a closed stdout is the caller's business */
			return 0;
		case 'd':
			ret->accept_damaged_tail = true;
			break;
		case 'r':
			ret->accept_rollback = true;
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return 0;
		default:
			(void)fputs(usage, stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc) {
		(void)fputs(usage, stderr);
		return EX_USAGE;
	}
	return -1;
}

/* One log line per line of @why. */
static void log_lines(void (*log)(const char *format, ...), struct buf *why)
{
	char *line, *rest;

	buf_put_byte(why, '\0');
	if (buf_err(why) < 0)
		return;
	for (line = strtok_r((char *)why->p, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log("%s", line);
}

static int load_conf(const char *path, struct conf *ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	int r = conf_load(path, ret, &why);

	if (r < 0)
		log_lines(log_error, &why);
	return r;
}

/* ---- what the service asks the daemon ---- */

static void on_sessions_changed(void *arg)
{
	struct daemon *d = arg;

	for (unsigned i = 0; i < d->n_loops; i++)
		loop_post_sweep(&d->loops[i]);
}

static void on_news(void *arg)
{
	struct daemon *d = arg;

	for (unsigned i = 0; i < d->n_loops; i++) {
		if (!feed_is_empty(&d->loops[i].feed))
			loop_post_feed(&d->loops[i]);
	}
}

static void on_failed(void *arg, const char *method, int err, struct bytes why)
{
	struct daemon *d = arg;
	struct store_info info;

	store_get_info(d->store, &info);
	if (why.n)
		log_error("%s failed: %.*s", method, (int)why.n, (const char *)why.p);
	else if (err != ERR_STORAGE || !info.log.last_errno)
		log_error("%s failed: %s", method, err_text(err));
	else
		log_error("%s failed: the keystore %s cannot be written: %s", method, info.log.path,
			  strerror(info.log.last_errno));
}

static void on_unlocked(void *arg, struct buf *why)
{
	const struct daemon *d = arg;
	struct store_info info;

	log_lines(log_warning, why);
	store_get_info(d->store, &info);
	if (info.log.created)
		log_info("made a new keystore, %s; keep its key (seal \"%s\") apart from it, and a copy", info.log.path,
			 info.log.seal);
	if (info.log.cut_tail)
		log_warning("keystore %s: %llu bytes at its end were cut off: a change that a crash had cut short",
			    info.log.path, (unsigned long long)info.log.cut_tail);
	log_info("keystore open: apps %zu, room keys %zu, records %llu", info.apps, info.room_keys,
		 (unsigned long long)info.log.records);
}

static void on_status(void *arg, struct service_status *ret)
{
	struct daemon *d = arg;

	ret->loops = d->n_loops;
	ret->threads = d->n_threads;
	ret->queued = pool_queued(d->pool);
	ret->connections = atomic_load(&d->connections);
	harden_status(ret);
}

/* ---- signals ---- */

static void publish_limits(struct daemon *d)
{
	atomic_store(&d->svc.max_frame_bytes, d->conf.max_frame_bytes);
	atomic_store(&d->svc.max_in_flight, d->conf.max_in_flight);
	atomic_store(&d->auth_timeout_ms, d->conf.auth_timeout_ms);
	log_set_level(d->conf.level);
}

static void on_reload(uv_signal_t *handle, int signum)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	struct daemon *d = handle->data;
	struct conf next;

	(void)signum;
	(void)sd_notify(0, "RELOADING=1"); /* nobody listening is fine */
	if (load_conf(d->conf_path, &next) < 0) {
		log_error("the configuration was not reloaded; the former one stays in force");
	} else {
		conf_merge_reload(&d->conf, &next, &why);
		log_lines(log_warning, &why);
		publish_limits(d);
		on_sessions_changed(d);
		log_info("configuration reloaded from %s", d->conf_path);
	}
	(void)sd_notify(0, "READY=1");
}

static void on_terminate(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	if (atomic_exchange(&d->svc.draining, true))
		return;
	log_info("%s: finishing what is under way", signum == SIGINT ? "SIGINT" : "SIGTERM");
	(void)sd_notify(0, "STOPPING=1");
	server_close(&d->server);
	for (unsigned i = 0; i < d->n_loops; i++)
		loop_post_drain(&d->loops[i]);
}

static int watch_signal(struct daemon *d, uv_signal_t *handle, uv_signal_cb cb, int signum)
{
	if (uv_signal_init(&d->loops[0].uv, handle) < 0)
		return ERR_IO;
	handle->data = d;
	uv_unref((uv_handle_t *)handle); /* the loop ends with its connections */
	return uv_signal_start(handle, cb, signum) < 0 ? ERR_IO : 0;
}

static int watch_signals(struct daemon *d)
{
	int r = watch_signal(d, &d->signals.hup, on_reload, SIGHUP);

	if (r == 0)
		r = watch_signal(d, &d->signals.term, on_terminate, SIGTERM);
	if (r == 0)
		r = watch_signal(d, &d->signals.interrupt, on_terminate, SIGINT);
	return r;
}

/* ---- start, run, stop: each step undoes itself when a later one fails ---- */

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void run_loops(struct daemon *d)
{
	unsigned started = 1;

	while (started < d->n_loops &&
	       pthread_create(&d->loops[started].thread, NULL, run_loop, &d->loops[started]) == 0)
		started++;
	if (started < d->n_loops) {
		log_error("cannot start event loop %u; stopping", started);
		d->n_loops = started;
		(void)kill(getpid(), SIGTERM);
	}
	signals_unblock();
	loop_run(&d->loops[0]);
	signals_block(); /* one more while we clean up must not end us half-way */
	for (unsigned i = 1; i < started; i++)
		(void)pthread_join(d->loops[i].thread, NULL);
}

static int serve(struct daemon *d)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(4096);
	struct service_status status = { 0 };
	int r = server_open(&d->server, d, &why);

	if (r < 0) {
		log_lines(log_error, &why);
		return r == ERR_CONFIG ? EX_CONFIG : EXIT_FAILURE;
	}
	harden_status(&status);
	for (size_t i = 0; i < status.n_problems; i++)
		log_warning("%s", status.problems[i]);
	if (watch_signals(d) < 0 || server_start(&d->server) < 0) {
		log_error("cannot watch signals or sockets");
		server_close(&d->server);
		return EXIT_FAILURE;
	}
	log_info("e2eed %s is ready (event loops %u, workers %u)", E2EED_VERSION, d->n_loops, d->n_threads);
	(void)sd_notify(0, "READY=1"); /* nobody listening is fine */
	run_loops(d);
	log_info("stopped");
	return EXIT_SUCCESS;
}

/* Open the keystore, or start locked where its secret is to come later. Return: an exit status */
static int unlock(struct daemon *d)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(16384);
	CLEANUP(seal_fini) struct seal seal = { 0 };
	const char *param = NULL;
	bool told;
	int r;

	r = seals_make(&d->conf, &(struct service_seal){ 0 }, &param, &why, &seal);
	if (r == ERR_INVALID_PARAMS) {
		log_warning("the keystore %s stays locked until its passphrase is given: e2eectl unlock",
			    d->conf.keystore_path);
		return EXIT_SUCCESS;
	}
	if (r == 0)
		r = vault_unlock(&d->svc, NULL, &seal, &(struct audit_entry){ .by = AUDIT_BY_DAEMON }, &why);
	if (r < 0) {
		told = why.n && !buf_err(&why) && r != ERR_NOMEM; /* then the cause is there, and more exact */
		log_lines(log_error, &why);
		log_error("the keystore %s cannot be used%s%s", d->conf.keystore_path, told ? "" : ": ",
			  told ? "" : err_text(r));
		return r == ERR_DAMAGED || r == ERR_SEAL ? EX_IOERR : EXIT_FAILURE;
	}
	secret_wipe_stack(); /* the replay has been deep, and this frame stays */
	return EXIT_SUCCESS;
}

static int on_make_seal(void *arg, const struct service_seal *how, const char **ret_param, struct buf *why,
			struct seal *ret)
{
	const struct daemon *d = arg;

	return seals_make(&d->conf, how, ret_param, why, ret);
}

static void on_spread(void *arg, void (*item)(void *work, size_t i), void *work, size_t n)
{
	const struct daemon *d = arg;

	pool_spread(d->pool, item, work, n);
}

static int with_loops(struct daemon *d)
{
	unsigned made = 0, wanted = d->conf.loops;
	int status = EXIT_FAILURE;

	d->loops = calloc(wanted, sizeof(*d->loops));
	while (d->loops && made < wanted && loop_init(&d->loops[made], d, made) == 0)
		made++;
	d->n_loops = made;
	if (made < wanted)
		log_error("cannot make %u event loops", wanted);
	else if (pool_new(&d->svc, d->n_threads, &d->pool) < 0)
		log_error("cannot start %u worker threads", d->n_threads);
	else if (keeper_new(&d->svc, &d->keeper) < 0)
		log_error("cannot start the keeper thread");
	else
		status = serve(d);
	keeper_free(d->keeper);
	for (unsigned i = 0; i < made; i++)
		loop_fini(&d->loops[i]);
	pool_free(d->pool);
	free(d->loops);
	return status;
}

static int with_service(struct daemon *d)
{
	const struct service_hooks hooks = { .arg = d,
					     .make_seal = on_make_seal,
					     .sessions_changed = on_sessions_changed,
					     .unlocked = on_unlocked,
					     .status = on_status,
					     .failed = on_failed,
					     .spread = on_spread };
	int status = EXIT_FAILURE;

	if (service_init(&d->svc, d->store, d->conf.audit, &hooks) == 0) {
		d->svc.accept_rollback = d->accept_rollback;
		publish_limits(d);
		status = unlock(d);
		if (status == EXIT_SUCCESS)
			status = with_loops(d);
		vault_lock(&d->svc, NULL, &(struct audit_entry){ .by = AUDIT_BY_DAEMON });
	} else {
		log_error("out of memory");
	}
	service_fini(&d->svc);
	return status;
}

static void on_disk_wait(void *arg, bool waits)
{
	(void)arg;
	pool_waits(waits);
}

/* Without an answer and without cleaning up: whoever starts it again learns from the file what has happened. */
static void on_disk_lost(void *arg, int why)
{
	const struct daemon *d = arg;

	log_error(
		"the disk of keystore %s fails in a way that leaves open whether a change was kept: %s; e2eed ends, and the next start "
		"will tell",
		d->conf.keystore_path, strerror(why));
	_exit(EX_IOERR);
}

static void on_events_lost(void *arg, uint64_t upto, struct bytes why)
{
	(void)arg;
	log_warning("the keystore has been written anew without its events up to %llu, which could not be read: %.*s",
		    (unsigned long long)upto, (int)why.n, why.n ? (const char *)why.p : "");
}

static int with_store(struct daemon *d)
{
	const struct store_options options = {
		.path = d->conf.keystore_path,
		.anchor = d->conf.anchor,
		.witness = d->conf.audit,
		.create = d->conf.create,
		.accept_damaged_tail = d->accept_damaged_tail,
		.accept_rollback = d->accept_rollback,
		.waiting = on_disk_wait,
		.news = on_news,
		.lost = on_disk_lost,
		.events_lost = on_events_lost,
		.arg = d,
	};
	int status;

	if (store_new(&options, &d->store) < 0) {
		log_error("out of memory");
		return EXIT_FAILURE;
	}
	status = with_service(d);
	store_free(d->store);
	return status;
}

/* A setting that does nothing yet must not be mistaken for one that does. */
static void warn_without_effect(const struct conf *conf)
{
	if (conf->rate_per_app)
		log_warning("limits.rate_per_app is set, but this version does not limit requests per app");
}

/* As many descriptors as the hard limit allows, since the soft one is often 1024 for select(2)'s sake. */
static void raise_descriptor_limit(const struct conf *conf)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < conf->max_connections + DESCRIPTORS_OF_OURS)
		log_warning(
			"limits.max_connections is %u, but only %llu files may be open; raise LimitNOFILE (ulimit -n)",
			conf->max_connections, (unsigned long long)limit.rlim_cur);
}

static int with_memory(struct daemon *d)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int status;

	if (harden_early(&d->conf) < 0 || harden_memory(&d->conf) < 0) {
		log_error(
			"memory cannot be protected as security.mlock = require asks; raise LimitMEMLOCK (ulimit -l), or set auto");
		return EX_CONFIG;
	}
	if (ossl_init() < 0) {
		log_error("OpenSSL or libsodium cannot be started");
		return EXIT_FAILURE;
	}
	json_setup();
	/* glibc would give each thread 64 MiB of address space, which counts as locked where all memory is */
	(void)mallopt(M_ARENA_MAX, MALLOC_ARENAS);
	/* a chunk of a file passes through several buffers of up to 1 MiB: fresh pages for each would cost more than its cipher */
	(void)mallopt(M_MMAP_THRESHOLD, MALLOC_KEEP);
	(void)mallopt(M_TRIM_THRESHOLD, MALLOC_KEEP);
	d->n_threads = d->conf.threads ? d->conf.threads : (unsigned)(cores > 0 ? cores : 1);
	status = with_store(d);
	ossl_fini();
	if (secret_live() > 0) {
		log_error("%zu secrets were still held at the end: a defect of e2eed", secret_live());
		status = status ? status : EX_SOFTWARE;
	}
	arena_fini();
	return status;
}

/*
 * The dynamic linker, binding a library's function at its first call, saves vector registers on the stack, and they may hold what
 * memcpy() last moved: a key. So everything is bound before main(), for which the process has to be started once more.
 */
static void bind_now(char **argv)
{
	const char *set = getenv("LD_BIND_NOW");

	if (set && *set) {						 /* empty is as good as not set */
		(void)prctl(PR_SET_NAME, program_invocation_short_name); /* not "exe", by which nobody would find us */
		return;
	}
	if (setenv("LD_BIND_NOW", "1", 1) == 0)
		(void)execv("/proc/self/exe", argv); /* returns only where that fails, for want of /proc */
	log_warning(
		"cannot start again with LD_BIND_NOW=1; set it in the environment, so that no key is left on the stack");
}

int main(int argc, char **argv)
{
	struct daemon d = { 0 };
	struct args args;
	int status = parse_args(argc, argv, &args);

	if (status >= 0)
		return status;
	bind_now(argv);
	d.conf_path = args.conf_path;
	d.accept_damaged_tail = args.accept_damaged_tail;
	d.accept_rollback = args.accept_rollback;
	if (load_conf(args.conf_path, &d.conf) < 0)
		return EX_CONFIG;
	if (args.check) {
		(void)printf("%s: the configuration is usable\n", args.conf_path);
		return EXIT_SUCCESS;
	}
	log_set_level(d.conf.level);
	warn_without_effect(&d.conf);
	raise_descriptor_limit(&d.conf);
	/* a peer that is gone and a file-size limit are errors of one call, not of the process */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return EXIT_FAILURE;
	(void)umask(077);
	signals_block(); /* threads inherit that; the main one listens while its loop runs */
	status = with_memory(&d);
#if defined(__SANITIZE_ADDRESS__)
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0,
		    0); /* the leak checker attaches to the process; nothing secret is left in it */
#endif
	return status;
}
