/*
 * offline - keystore files without the daemon
 *
 * What the commands that take a FILE share: which slots it has, the secret that opens one of them, and the store.
 */
#ifndef E2EED_CTL_OFFLINE_H
#define E2EED_CTL_OFFLINE_H

#include "ctl/ctl.h"
#include "keystore/store.h"

/** offline_usage - do the options go together with FILE being there (@with_file) or not? Return: CTL_OK, CTL_USAGE */
int offline_usage(const struct ctl *x, bool with_file) WARN_UNUSED;

/**
 * offline_slots - the slots in the header of @path; no secret is used, so nothing of it is authenticated
 *
 * Return: 0; as private_file_open() and log_header_parse(), with a sentence appended to @why.
 */
int offline_slots(const char *path, struct buf *why, struct sealed_log_slot ret[LOG_MAX_SLOTS],
		  size_t *ret_n) WARN_UNUSED;

/** offline_read - open for reading: by --key-file, --passphrase-fd or a question. Return: 0; as store_unlock(); ERR_INVALID_PARAMS */
int offline_read(const struct ctl *x, const char *path, struct buf *why, struct store **ret) WARN_UNUSED;

/** offline_recover - open for changes, by the recovery key. Return: as above; ERR_BUSY where the daemon runs */
int offline_recover(const struct ctl *x, const char *path, struct buf *why, struct store **ret) WARN_UNUSED;

DEFINE_FREEP(struct store *, store_freep, store_free)

#endif
