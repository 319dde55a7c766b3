/*
 * file_lock - the advisory lock that keeps a second process off a file
 */
#ifndef E2EED_KEYSTORE_FILE_LOCK_H
#define E2EED_KEYSTORE_FILE_LOCK_H

#include "base/buf.h"
#include "base/err.h"

/**
 * file_lock - flock(2) the open file @fd without waiting; closing it unlocks
 * @what: what the file is, for the sentence: "keystore"
 *
 * Return: 0; ERR_BUSY or ERR_IO with a sentence appended to @why, which names the holder where that can be found out.
 */
int file_lock(int fd, const char *what, const char *path, struct buf *why) WARN_UNUSED;

#endif
