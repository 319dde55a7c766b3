/*
 * rand - random bytes and ids from the kernel's generator (libsodium's randombytes_buf)
 */
#ifndef E2EED_CRYPTO_RAND_H
#define E2EED_CRYPTO_RAND_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

#define UUID_SIZE 37 /* with NUL */

void rand_bytes(uint8_t *ret, size_t n);

/** rand_secret - @n random bytes in a secret. Return: 0, ERR_NOMEM. */
int rand_secret(size_t n, struct secret **ret) WARN_UNUSED;

/** rand_uuid - a random UUID (RFC 9562, version 4), lower case, as crypto.randomUUID() gives */
void rand_uuid(char ret[UUID_SIZE]);

#endif
