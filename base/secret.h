/*
 * secret - a sized slot in the arena for keys, tokens and passphrases
 *
 * The type is opaque so that the compiler keeps secrets apart from struct bytes and struct buf: nothing that logs,
 * formats or answers takes one. The raw bytes come out only through the three accessors below; every new caller of
 * them is worth a look. Freed slots are wiped. Slots are counted: secret_live() is 0 at an orderly exit.
 */
#ifndef E2EED_BASE_SECRET_H
#define E2EED_BASE_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"

struct secret;

/** secret_new - a zeroed slot of @n bytes (0 is allowed). Return: 0, ERR_NOMEM. */
int secret_new(size_t n, struct secret **ret) WARN_UNUSED;

/** secret_dup - a slot holding a copy of @from, which stays the caller's to wipe. Return: 0, ERR_NOMEM. */
int secret_dup(struct bytes from, struct secret **ret) WARN_UNUSED;

/** secret_free - wipe and free; NULL is allowed */
void secret_free(struct secret *s);
DEFINE_FREEP(struct secret *, secret_freep, secret_free)

/** secret_cut - shorten to @n bytes, wiping the rest; for results whose size is known only afterwards */
void secret_cut(struct secret *s, size_t n);

size_t secret_len(const struct secret *s);
const uint8_t *secret_read(const struct secret *s);
uint8_t *secret_write(struct secret *s);
struct bytes secret_bytes(const struct secret *s);

/** secret_equal - compare in constant time; lengths are not secret */
bool secret_equal(const struct secret *a, const struct secret *b);

/**
 * secret_wipe_stack - wipe what a library's function has left below our frame on the stack
 *
 * libsodium's BLAKE2b spills its key some 1,300 bytes below the caller; the dynamic linker saves vector registers there.
 */
void secret_wipe_stack(void);

/**
 * secret_wipe_registers - clear the vector registers, through which memcpy() and ciphers move what they work on
 *
 * A thread that waits afterwards keeps them, and a core file shows them. x86-64 and aarch64; nothing elsewhere.
 */
void secret_wipe_registers(void);

/** secret_live - how many slots exist, for leak checks */
size_t secret_live(void);

#endif
