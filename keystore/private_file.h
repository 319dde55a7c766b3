/*
 * private_file - open a file that only we and root may own, read or write
 *
 * The keystore and its key file are opened through here, so that a slip of chmod, a symbolic link or a planted file is
 * refused with a sentence that says what to do, before one byte is believed.
 */
#ifndef E2EED_KEYSTORE_PRIVATE_FILE_H
#define E2EED_KEYSTORE_PRIVATE_FILE_H

#include "base/buf.h"
#include "base/err.h"

/**
 * private_file_open - open the regular file at @path; the last part of the path is not followed if it is a link
 * @flags: O_RDONLY or O_RDWR
 * @what:  what the file is, for the sentence: "keystore"
 *
 * Return: 0 and a descriptor with close-on-exec; ERR_NOT_FOUND, with nothing said; ERR_IO, with a sentence appended to @why.
 */
int private_file_open(const char *path, int flags, const char *what, struct buf *why, int *ret_fd) WARN_UNUSED;

#endif
