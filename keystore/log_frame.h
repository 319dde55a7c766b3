/*
 * log_frame - one record of a sealed log <-> bytes
 *
 *   length u32 | MAC of the length, 16 | nonce, 24 | ciphertext | tag, 16
 *   `-------- head ----------------'
 *
 * Each record is bound to the file, the generation, its number and the tag of the record before (docs/keystore.md, "Records").
 * Pure functions on bytes; the plaintext is never looked at.
 */
#ifndef E2EED_KEYSTORE_LOG_FRAME_H
#define E2EED_KEYSTORE_LOG_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/log_header.h"

#define LOG_FRAME_HEAD	20u
#define LOG_FRAME_NONCE 24u
#define LOG_FRAME_TAG	16u
#define LOG_FRAME_EMPTY (LOG_FRAME_HEAD + LOG_FRAME_NONCE + LOG_FRAME_TAG) /* bytes of a record without content */
#define LOG_CHAIN_SIZE	16u

/* what seals the records of one generation of a file */
struct log_cipher {
	uint8_t file_id[LOG_FILE_ID];
	uint64_t generation;
	struct secret *record_key, *frame_key; /* owned */
};

int log_cipher_init(struct log_cipher *c, const struct log_header *header,
		    const struct secret *dek) WARN_UNUSED; /* 0, ERR_NOMEM */
void log_cipher_fini(struct log_cipher *c);

/* a place between two records */
struct log_cursor {
	uint64_t n;		       /* number of the record before it; 0 at the start */
	uint64_t end;		       /* its offset in the file */
	uint8_t chain[LOG_CHAIN_SIZE]; /* tag of the record before; at the start: the first bytes of the header's MAC */
};

struct log_cursor log_cursor_start(const struct log_header *header);

/** log_frame_seal - the record at @at into @ret (LOG_FRAME_EMPTY + plain.n bytes); @at moves behind it */
void log_frame_seal(const struct log_cipher *c, struct log_cursor *at, struct bytes plain, uint8_t *ret);

/** log_frame_head - is the head at @p (LOG_FRAME_HEAD bytes) authentic there? @ret_sealed: bytes of ciphertext and tag */
bool log_frame_head(const struct log_cipher *c, const struct log_cursor *at, const uint8_t *p, size_t *ret_sealed);

/**
 * log_frame_open - open the record at @p, whose head is authentic
 * @ret: @sealed - LOG_FRAME_TAG bytes
 *
 * Return: is it authentic? Then @at moves behind it.
 */
bool log_frame_open(const struct log_cipher *c, struct log_cursor *at, const uint8_t *p, size_t sealed, uint8_t *ret);

#endif
