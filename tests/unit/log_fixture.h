/*
 * log_fixture - sealed logs to try things on: how they are written and opened, and what a replay must give
 */
#ifndef E2EED_TESTS_LOG_FIXTURE_H
#define E2EED_TESTS_LOG_FIXTURE_H

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "keystore/sealed_log.h"
#include "tests/unit/own_seal.h"
#include "tests/unit/tap.h"
#include "tests/unit/tmpdir.h"

#define MAX_RECORDS 16

/* what a replay is held against */
struct expect {
	struct bytes records[MAX_RECORDS];
	size_t n;    /* how many there are */
	size_t seen; /* how many came */
	bool wrong;  /* one of them was not the one written */
};

static struct tmpdir dir;
static char path[TMPDIR_PATH];
static char why_text[4096]; /* of the latest open */
static struct own_seal own = { .secret = 0x5a, .out_of_reach = -1 };

static inline void log_fixture_make(void)
{
	tmpdir_make(&dir);
	tmpdir_file(&dir, "keystore", path);
}

static inline void note_why(struct buf *why)
{
	memset(why_text, 0, sizeof(why_text));
	if (why->n)
		memcpy(why_text, why->p, why->n);
}

static inline int replay(void *arg, const struct log_cursor *at, struct bytes plain)
{
	struct expect *e = arg;

	e->seen++;
	if (at->n != e->seen || at->n > e->n || !bytes_eq(plain, e->records[at->n - 1]))
		e->wrong = true;
	return 0;
}

static inline int emit_nothing(void *arg, struct log_writer *w)
{
	(void)arg;
	(void)w;
	return 0;
}

static inline int emit_expected(void *arg, struct log_writer *w)
{
	const struct expect *e = arg;
	int r = 0;

	for (size_t i = 0; i < e->n && r == 0; i++)
		r = log_writer_put(w, e->records[i]);
	return r;
}

static inline int open_with(const char *at, const struct seal *seal, struct sealed_log_options options,
			    struct expect *e, struct sealed_log **ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(sizeof(why_text) - 1);
	int r;

	e->seen = 0;
	e->wrong = false;
	if (!options.emit)
		options.emit = emit_nothing;
	r = sealed_log_open(at, seal, &options, replay, e, &why, ret);
	note_why(&why);
	return r;
}

static inline int open_log(struct expect *e, struct sealed_log **ret)
{
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);

	return open_with(path, &seal, (struct sealed_log_options){ .create = true }, e, ret);
}

static inline struct sealed_log_info info_of(const struct sealed_log *log)
{
	struct sealed_log_info info;

	sealed_log_get_info(log, &info);
	return info;
}

/* Open and close at once. Return: what the open returned; the info where it was 0. */
static inline int try_open_as(struct expect *e, struct sealed_log_options options, struct sealed_log_info *ret)
{
	const struct seal seal = own_seal(SEAL_PASSPHRASE, &own);
	struct sealed_log *log = NULL;
	int r = open_with(path, &seal, options, e, &log);

	if (r == 0) {
		*ret = info_of(log);
		sealed_log_close(log);
	}
	return r;
}

static inline int try_open(struct expect *e, struct sealed_log_info *ret)
{
	return try_open_as(e, (struct sealed_log_options){ .create = true }, ret);
}

/* Write and sync what is staged. */
static inline int commit_staged(struct sealed_log *log)
{
	struct log_batch batch;
	int r;

	sealed_log_take(log, &batch);
	r = sealed_log_sync(&batch);
	sealed_log_settle(log, &batch, r);
	return r;
}

static inline int append(struct sealed_log *log, struct bytes plain)
{
	int r = sealed_log_stage(log, plain);

	return r < 0 ? r : commit_staged(log);
}

/*
 * Write the records of @e to a new log, one by one or as one batch. @ret_ends has where the header and each record end; Return: the
 * file, to be freed with tmpdir_free().
 */
static inline struct bytes write_log_as(struct expect *e, bool batch, size_t ret_ends[MAX_RECORDS + 1])
{
	struct sealed_log *log = NULL;

	(void)unlink(path);
	CHECK_INT(open_log(e, &log), 0);
	ret_ends[0] = (size_t)info_of(log).bytes;
	for (size_t i = 0; i < e->n; i++) {
		CHECK_INT(batch ? sealed_log_stage(log, e->records[i]) : append(log, e->records[i]), 0);
		ret_ends[i + 1] = ret_ends[i] + LOG_FRAME_EMPTY + e->records[i].n;
	}
	if (batch)
		CHECK_INT(commit_staged(log), 0);
	CHECK_INT(info_of(log).bytes, ret_ends[e->n]);
	CHECK_INT(info_of(log).records, e->n);
	sealed_log_close(log);
	return tmpdir_read(path);
}

static inline struct bytes write_log(struct expect *e, size_t ret_ends[MAX_RECORDS + 1])
{
	return write_log_as(e, false, ret_ends);
}

static inline struct expect small(void)
{
	return (struct expect){ .records = { BYTES_LIT("first"), BYTES_LIT(""), BYTES_LIT("third record") }, .n = 3 };
}

/* Writing past it fails with EFBIG; SIGXFSZ must be ignored. */
static inline void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	tmpdir_need(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit");
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	tmpdir_need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
}

#endif
