/*
 * log_header - the first bytes of a sealed log: what it is, and the slots that hold its data key
 *
 * Pure functions on bytes. docs/keystore.md has the layout.
 */
#ifndef E2EED_KEYSTORE_LOG_HEADER_H
#define E2EED_KEYSTORE_LOG_HEADER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/seal.h"

#define LOG_HEADER_MAX	65536u
#define LOG_HEADER_MAC	32
#define LOG_FILE_ID	16
#define LOG_MAX_SLOTS	16u
#define LOG_KEY_SIZE	32
#define LOG_KEY_CONTEXT 8

/* contexts of log_key_derive(), one for each purpose */
#define LOG_KEY_RECORD "e2eedREC"
#define LOG_KEY_FRAME  "e2eedFRM"
#define LOG_KEY_HEADER "e2eedHDR"

struct log_header {
	uint8_t file_id[LOG_FILE_ID];
	uint64_t generation;
	int64_t created_ms;
	size_t size; /* of the whole header: records start here */
	uint8_t mac[LOG_HEADER_MAC];
};

/**
 * log_header_make - a header for a new file: fresh id and data key, generation 1, one slot that @kek opens
 *
 * Appended to @ret. Return: 0, ERR_NOMEM.
 */
int log_header_make(const struct seal *seal, const struct secret *kek, int64_t now_ms, struct buf *ret) WARN_UNUSED;

/**
 * log_header_open - parse and authenticate the header at the start of @file
 * @file: the file's first LOG_HEADER_MAX bytes, or all of it if it is shorter
 * @path: for sentences
 *
 * Return: 0, the header and the data key; ERR_DAMAGED or ERR_SEAL with a sentence appended to @why; ERR_NOMEM.
 */
int log_header_open(struct bytes file, const struct seal *seal, const char *path, struct buf *why,
		    struct log_header *ret, struct secret **ret_dek) WARN_UNUSED;

/** log_key_derive - the key for one purpose out of the data key (libsodium's crypto_kdf). Return: 0, ERR_NOMEM. */
int log_key_derive(const struct secret *dek, const char context[LOG_KEY_CONTEXT + 1], struct secret **ret) WARN_UNUSED;

#endif
