/*
 * file - the files that a peer is encrypting or decrypting
 *
 * A file is a cipher and a hash on their way through it: nothing of its content is kept, and its key schedule, its key stream and the
 * hash's state lie in the arena. Files are a peer's and go with it. The service knows all of them, since locking it destroys them.
 *
 * A peer's requests come one at a time (in_order in the method table). Should two meet all the same, files_lock() makes them wait for
 * each other.
 */
#ifndef E2EED_PROTO_FILE_H
#define E2EED_PROTO_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/secret.h"
#include "crypto/kdf.h"

#define FILES_MAX 16 /* open at once, of one peer */

enum file_mode { FILE_ENCRYPT, FILE_DECRYPT };

struct file;
struct files;

/* of a service: the files of all its peers */
struct file_table {
	pthread_mutex_t lock;
	struct files *first; /* lock; those with files in them, or that have had some */
};

/* of a peer */
struct files {
	struct file_table *table;   /* borrowed; NULL until a file is added; may outlive none of its peers */
	struct files *prev, *next;  /* table->lock */
	pthread_mutex_t lock;	    /* after table->lock */
	struct file *of[FILES_MAX]; /* lock; owned */
};

void file_table_init(struct file_table *t);
void file_table_fini(struct file_table *t);

/** file_table_clear - destroy every file there is */
void file_table_clear(struct file_table *t);

void files_init(struct files *f);
void files_fini(struct files *f); /* destroys them */

void files_lock(struct files *f);
void files_unlock(struct files *f);

/**
 * file_new - a file at its beginning, under a new id
 * @room: whose grant is asked for with each request
 * @key:  32 bytes; not needed any more afterwards
 * @iv:   16 bytes
 * @sha256: what a FILE_DECRYPT one is expected to hold; NULL where that is not known
 *
 * Return: 0, ERR_NOMEM, ERR_CRYPTO.
 */
int file_new(enum file_mode mode, struct bytes room, const struct secret *key, struct bytes iv,
	     const uint8_t sha256[SHA256_SIZE], struct file **ret) WARN_UNUSED;
void file_free(struct file *file);
DEFINE_FREEP(struct file *, file_freep, file_free)

const char *file_id(const struct file *file); /* a UUID */
enum file_mode file_mode(const struct file *file);
struct bytes file_room(const struct file *file);

/** files_add - @file is @f's from now on; not while @f is locked. Return: 0; ERR_OVERLOADED when it has FILES_MAX, @file is the caller's. */
int files_add(struct files *f, struct file_table *t, struct file *file) WARN_UNUSED;

/** files_find - the file @id, or NULL; @f is locked for as long as it is used */
struct file *files_find(const struct files *f, struct bytes id);

/** files_take - out of @f, which is locked: @file is the caller's again */
struct file *files_take(struct files *f, struct file *file) WARN_UNUSED;

/**
 * file_update - the next piece of the file, turned into its other form in place
 *
 * Return: 0; ERR_CRYPTO, and the file is of no use any more.
 */
int file_update(struct file *file, uint8_t *p, size_t n) WARN_UNUSED;

/**
 * file_final - the end
 * @ret_sha256, @ret_size: of the plaintext
 *
 * Return: 0; ERR_HASH_MISMATCH, ERR_CRYPTO.
 */
int file_final(struct file *file, uint8_t ret_sha256[SHA256_SIZE], uint64_t *ret_size) WARN_UNUSED;

#endif
