/*
 * fsio - whole-file reads and durable writes
 *
 * Paths come from the configuration or the administrator, so symbolic links on the way to a file that is read are
 * followed; what is opened must be a regular file (ERR_IO, EINVAL otherwise). With ERR_IO errno tells. Any thread.
 */
#ifndef E2EED_BASE_FSIO_H
#define E2EED_BASE_FSIO_H

#include <stddef.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"

/**
 * fsio_read - read a whole regular file into @ret (appended)
 *
 * On failure @ret is as it was. Return: 0; ERR_NOT_FOUND; ERR_TOO_LARGE past the buffer's ceiling; ERR_IO, ERR_NOMEM.
 */
int fsio_read(const char *path, struct buf *ret) WARN_UNUSED;

/**
 * fsio_read_secret - the same into a secret of at most @max bytes, straight from the kernel
 *
 * Refuses, with ERR_FORBIDDEN, a file that others could have read or written: its owner must be root or the caller,
 * everyone's permission bits empty, and the group's too; but for reading by root's own group, which is how stat shows
 * the access list of a systemd credential.
 */
int fsio_read_secret(const char *path, size_t max, struct secret **ret) WARN_UNUSED;

/**
 * fsio_create - a new file with exactly this content, mode 0600, or no file at all
 *
 * A temporary file beside it (its name and .XXXXXX) is written, synced, linked into place (never over an existing one,
 * nor through a symbolic link) and the folder is synced. A crash can leave the temporary file behind.
 *
 * Return: 0, ERR_ALREADY_EXISTS, ERR_IO.
 */
int fsio_create(const char *path, struct bytes content) WARN_UNUSED;

/**
 * fsio_open_unnamed - a new file in the folder of @path that has no name until fsio_link_unnamed() gives it @path
 *
 * So a crash leaves nothing behind. Return: 0 and a descriptor for reading and writing, mode 0600; ERR_NOT_FOUND where the file
 * system has no such files; ERR_IO.
 */
int fsio_open_unnamed(const char *path, int *ret_fd) WARN_UNUSED;

/** fsio_link_unnamed - Return: 0; ERR_ALREADY_EXISTS; ERR_NOT_FOUND where there is no /proc; ERR_IO. The folder is not synced. */
int fsio_link_unnamed(int fd, const char *path) WARN_UNUSED;

/** fsio_pwrite_full - write all of it at @offset, over short writes and EINTR. Return: 0, ERR_IO. */
int fsio_pwrite_full(int fd, struct bytes content, size_t offset) WARN_UNUSED;

/** fsio_pread_full - read up to @n bytes at @offset. Return: 0 and how many came (fewer at the end), ERR_IO. */
int fsio_pread_full(int fd, uint8_t *p, size_t n, size_t offset, size_t *ret_n) WARN_UNUSED;

/** fsio_sync_parent - fsync the folder that holds @path, so that a new name in it survives. Return: 0, ERR_IO. */
int fsio_sync_parent(const char *path) WARN_UNUSED;

#endif
