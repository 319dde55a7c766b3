/*
 * aes - AES-256-GCM for v2, AES-CBC for v1
 *
 * struct aes is a reusable set of cipher contexts: one per thread, since a context is re-keyed on each call (about half
 * the cost of a new one). No call keeps a reference to a key; the key schedule is in the arena and is replaced by the
 * next key, and aes_forget() wipes it. Any of the calls below can also fail for want of memory (ERR_NOMEM).
 */
#ifndef E2EED_CRYPTO_AES_H
#define E2EED_CRYPTO_AES_H

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/secret.h"

#define AES_GCM_IV  12
#define AES_GCM_TAG 16
#define AES_CBC_IV  16
#define AES_BLOCK   16

struct aes;

int aes_new(struct aes **ret) WARN_UNUSED; /* ERR_NOMEM, ERR_CRYPTO */
void aes_free(struct aes *a);
DEFINE_FREEP(struct aes *, aes_freep, aes_free)

/** aes_forget - wipe the key schedules of the last calls */
void aes_forget(struct aes *a);

/**
 * aes_gcm_seal - AES-256-GCM, no associated data (NIST SP 800-38D), as WebCrypto's AES-GCM with a 128-bit tag
 * @key:   32 bytes
 * @iv:    12 bytes (any length from 1 to 16 is taken: some private-key envelopes have 16)
 * @plain: up to INT_MAX - 16 bytes
 * @ret:   @plain.n + 16 bytes: ciphertext, then tag; may be @plain.p
 *
 * Return: 0, ERR_CRYPTO.
 */
int aes_gcm_seal(struct aes *a, const struct secret *key, struct bytes iv, struct bytes plain,
		 uint8_t *ret) WARN_UNUSED;

/**
 * aes_gcm_open - the reverse
 * @sealed: ciphertext, then the 16-byte tag
 * @ret:    room for @sealed.n - 16 bytes; may be @sealed.p; wiped when the tag does not fit
 *
 * Return: 0; ERR_DECRYPT_FAILED for a wrong tag, a short @sealed or a key of another size; ERR_CRYPTO.
 */
int aes_gcm_open(struct aes *a, const struct secret *key, struct bytes iv, struct bytes sealed,
		 uint8_t *ret) WARN_UNUSED;

/**
 * aes_cbc_seal - AES-CBC with PKCS#7 padding (RFC 5652, 6.3); the key's length, 16 or 32 bytes, picks the cipher
 * @ret: (@plain.n / 16 + 1) * 16 bytes; may be @plain.p
 *
 * Return: 0, ERR_CRYPTO.
 */
int aes_cbc_seal(struct aes *a, const struct secret *key, struct bytes iv, struct bytes plain,
		 uint8_t *ret) WARN_UNUSED;

/**
 * aes_cbc_open - the reverse; the padding is checked in constant time
 * @ret: room for @sealed.n bytes; may be @sealed.p; wiped on failure
 *
 * There is no authentication: a wrong key passes once in about 256 (interop.md 15), so the caller looks at what came out.
 * Return: 0 and the plaintext's length in @ret_n; ERR_DECRYPT_FAILED for bad padding, no whole blocks, a key of another
 * size; ERR_CRYPTO.
 */
int aes_cbc_open(struct aes *a, const struct secret *key, struct bytes iv, struct bytes sealed, uint8_t *ret,
		 size_t *ret_n) WARN_UNUSED;

#endif
