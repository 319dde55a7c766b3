/*
 * log_private - what the files of the sealed log share: sealed_log.c (appending), log_open.c (making and replaying), log_read.c
 * (walking over records), log_rewrite.c (a new generation), log_copy.c (copies)
 */
#ifndef E2EED_KEYSTORE_LOG_PRIVATE_H
#define E2EED_KEYSTORE_LOG_PRIVATE_H

#include "base/buf.h"
#include "keystore/sealed_log.h"

struct sealed_log {
	int fd;			  /* holds the lock */
	char *path;		  /* owned */
	const char *seal;	  /* static text */
	struct log_header header; /* its slots' bytes are not kept: params, keys and KEKs of the slots are NULL */
	struct secret *dek;	  /* owned */
	struct log_cipher cipher;
	struct log_cursor durable; /* what is on disk and acknowledged ends here */
	struct log_cursor tip;	   /* what is staged ends here */
	struct buf staged;	   /* frames from durable (or the batch that is out) to tip */
	uint64_t cut_tail;
	bool created, residue, failed;
	bool read_only; /* there is no lock: nothing may be changed */
	int last_errno;
};

/* ---- log_read.c: a piece of the file in memory; still sealed, so ordinary memory will do ---- */

struct log_window {
	uint8_t *p; /* owned */
	size_t cap;
	uint64_t at; /* offset in the file of p[0] */
	size_t n;
};

void log_window_fini(struct log_window *w);

/** log_window_get - the @n bytes at @at, valid until the next call. Return: 0; ERR_IO, also where the file ends before; ERR_NOMEM. */
int log_window_get(struct log_window *w, int fd, uint64_t at, size_t n, const uint8_t **ret) WARN_UNUSED;

/** log_read_header - the raw bytes of the header and whatever else lies in the first LOG_HEADER_MAX. Return: 0, ERR_IO, ERR_NOMEM. */
int log_read_header(int fd, struct buf *ret) WARN_UNUSED;

/* one walk over the records of a file */
struct log_walk {
	int fd;
	const char *path; /* for sentences */
	const struct log_cipher *cipher;
	struct log_cursor at;
	uint64_t size;		     /* where to stop */
	sealed_log_replay_fn replay; /* NULL: authenticate only */
	void *arg;
	bool accept_damaged_tail;
};

/**
 * log_walk - from walk->at, which moves, to walk->size
 *
 * Return: 0; 1 where a torn tail starts at walk->at; ERR_DAMAGED, ERR_IO, with a sentence appended to @why; ERR_NOMEM; or what
 * replay returned, other than 0 (and never 1).
 */
int log_walk(struct log_walk *walk, struct buf *why) WARN_UNUSED;

/* ---- log_rewrite.c ---- */

struct log_writer {
	int fd; /* -1: all stays in the buffer */
	struct log_cipher cipher;
	struct log_cursor at;
	struct buf buffered; /* what is not written yet */
	uint64_t written;    /* where it goes */
};

void log_writer_fini(struct log_writer *w);

/** log_write_file - header and records of a new file; with a descriptor they are written. Return: as sealed_log_rewrite(). */
int log_write_file(struct log_writer *w, struct log_header *header, const struct secret *dek,
		   int (*emit)(void *arg, struct log_writer *w), void *arg) WARN_UNUSED;

/** log_remove_leftovers - wipe and remove what an interrupted rewrite left beside @path. Return: 0, ERR_IO with a sentence. */
int log_remove_leftovers(const char *path, struct buf *why) WARN_UNUSED;

#endif
