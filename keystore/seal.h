/*
 * seal - how the data key (DEK) of a keystore is opened
 *
 * Each kind of seal turns something the operator holds into the 32-byte key-encryption key (KEK) that wraps the DEK in a slot of
 * the keystore's header. One file per kind; this table of functions is all that sealed_log knows of them.
 */
#ifndef E2EED_KEYSTORE_SEAL_H
#define E2EED_KEYSTORE_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

#define SEAL_KEY_SIZE 32

enum seal_type { SEAL_KEYFILE = 1 }; /* the number stands in the file */

struct seal {
	enum seal_type type;
	const char *name; /* as in the configuration and in getStatus */
	void *arg;	  /* the kind's own; owned */

	/**
	 * kek - the key-encryption key
	 * @create: may make what it needs (a key file) if that does not exist
	 * @params: the slot's parameters from the header; empty where the kind has none
	 * Return: 0; ERR_SEAL with a sentence appended to @why; ERR_NOMEM.
	 */
	int (*kek)(const struct seal *seal, struct bytes params, bool create, struct buf *why, struct secret **ret);
	void (*fini)(struct seal *seal);
};

/**
 * seal_keyfile_init - a key file: one line of 64 hex digits, mode 0600 or stricter, made with O_EXCL and synced
 * @path: copied
 *
 * Return: 0, ERR_NOMEM.
 */
int seal_keyfile_init(struct seal *seal, const char *path) WARN_UNUSED;

#endif
