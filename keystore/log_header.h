/*
 * log_header - the first bytes of a sealed log: what it is, and the key slots that hold its data key
 *
 * Pure functions on bytes. A slot wraps the data key (DEK) under the key-encryption key (KEK) that its seal yields; and, so that a new
 * data key can be wrapped for all slots without their secrets at hand, it also holds the KEK itself, wrapped under a key that comes
 * out of the data key. docs/keystore.md has the layout.
 */
#ifndef E2EED_KEYSTORE_LOG_HEADER_H
#define E2EED_KEYSTORE_LOG_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/seal.h"

#define LOG_HEADER_MAX	 (512u << 10)
#define LOG_HEADER_MAC	 32
#define LOG_HEADER_START 32 /* up to the end of the file id */
#define LOG_FILE_ID	 16
#define LOG_MAX_SLOTS	 16u
#define LOG_KEY_SIZE	 32
#define LOG_KEY_CONTEXT	 8

/* contexts of log_key_derive(), one for each purpose */
#define LOG_KEY_RECORD	"e2eedREC"
#define LOG_KEY_FRAME	"e2eedFRM"
#define LOG_KEY_HEADER	"e2eedHDR"
#define LOG_KEY_KEYRING "e2eedKEK"

struct log_slot {
	uint32_t number; /* never used again in this keystore */
	uint32_t type;	 /* of enum seal_type */
	int64_t created_ms;
	struct bytes params;	  /* borrowed */
	const uint8_t *wrapped;	  /* borrowed: nonce and data key under the KEK; NULL in a slot that is being made */
	const uint8_t *keyring;	  /* borrowed: nonce and KEK under the keyring key; likewise */
	const struct secret *kek; /* borrowed; where a header is written */
};

struct log_header {
	uint8_t file_id[LOG_FILE_ID]; /* stays over rewrites */
	uint64_t generation;	      /* rises with each rewrite */
	int64_t created_ms;	      /* of the keystore, not of the generation */
	uint32_t next_slot;	      /* number of the next slot */
	size_t n_slots;
	struct log_slot slots[LOG_MAX_SLOTS];
	size_t size; /* of the whole header: records start here */
	uint8_t mac[LOG_HEADER_MAC];
};

/**
 * log_header_parse - read the header at the start of @file; nothing of it is authenticated yet
 * @file: the file's first LOG_HEADER_MAX bytes, or all of it if it is shorter; the slots point into it
 * @path: for sentences
 *
 * Return: 0; ERR_DAMAGED with a sentence appended to @why.
 */
int log_header_parse(struct bytes file, const char *path, struct buf *why, struct log_header *ret) WARN_UNUSED;

/**
 * log_header_open - the data key, by the first of the slots of @seal's kind that opens, and the header's MAC checked with it
 * @file: as it was parsed
 *
 * Return: 0; ERR_SEAL or ERR_DAMAGED with a sentence appended to @why; ERR_NOMEM.
 */
int log_header_open(const struct log_header *header, struct bytes file, const struct seal *seal, const char *path,
		    struct buf *why, struct secret **ret_dek) WARN_UNUSED;

/** log_header_check - does the header in @file authenticate under @dek? Return: 0, ERR_DAMAGED, ERR_NOMEM. */
int log_header_check(const struct log_header *header, struct bytes file, const struct secret *dek) WARN_UNUSED;

/** log_header_same_file - do both begin as generations of one keystore? Of two files their first bytes; not authenticated. */
bool log_header_same_file(const uint8_t a[LOG_HEADER_START], const uint8_t b[LOG_HEADER_START]);

/** log_slot_kek - the KEK of a parsed slot, by the data key. Return: 0, ERR_DAMAGED, ERR_NOMEM. */
int log_slot_kek(const struct log_header *header, const struct log_slot *slot, const struct secret *dek,
		 struct secret **ret) WARN_UNUSED;

/**
 * log_header_write - the header's bytes, with @dek wrapped for each slot; sets size and mac
 *
 * Each slot has a KEK. Appended to @ret. Return: 0, ERR_TOO_LARGE, ERR_NOMEM.
 */
int log_header_write(struct log_header *header, const struct secret *dek, struct buf *ret) WARN_UNUSED;

/** log_key_derive - the key for one purpose out of a master key (libsodium's crypto_kdf). Return: 0, ERR_NOMEM. */
int log_key_derive(const struct secret *master, const char context[LOG_KEY_CONTEXT + 1],
		   struct secret **ret) WARN_UNUSED;

#endif
