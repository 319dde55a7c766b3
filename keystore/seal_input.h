/*
 * seal_input - what operators hand to a seal: secrets in small files, a key as hex digits
 */
#ifndef E2EED_KEYSTORE_SEAL_INPUT_H
#define E2EED_KEYSTORE_SEAL_INPUT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/secret.h"
#include "keystore/seal.h"

#define SEAL_KEY_DIGITS (2 * (size_t)SEAL_KEY_SIZE)

/**
 * seal_input_read - the file at @path, which must be private (fsio_read_secret), of at most @max bytes
 * @what: what the file is, for the sentence: "passphrase file"
 *
 * Return: 0; ERR_SEAL with a sentence appended to @why; ERR_NOMEM.
 */
int seal_input_read(const char *path, const char *what, size_t max, struct buf *why, struct secret **ret) WARN_UNUSED;

/** seal_input_line - cut off one line feed at the end: editors and echo leave it there, and nobody means it */
void seal_input_line(struct secret *text);

/**
 * seal_input_parse_hex - a key out of exactly 64 hex digits, which a line feed may follow
 *
 * Return: 0; ERR_MALFORMED_ENVELOPE; ERR_NOMEM.
 */
int seal_input_parse_hex(struct bytes text, struct secret **ret) WARN_UNUSED;

#endif
