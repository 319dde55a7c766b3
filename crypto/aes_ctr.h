/*
 * aes_ctr - AES-256-CTR over a stream, with WebCrypto's 64-bit counter
 *
 * NIST SP 800-38A, 6.5, with the low 64 bits of the counter block as the counter: when they wrap, they begin again at 0, and the high
 * 64 bits stay as they are (Web Cryptography, AES-CTR with length 64). Encrypting and decrypting are the same. A stream is one
 * thread's at a time; its key schedule and its key stream lie in the arena.
 */
#ifndef E2EED_CRYPTO_AES_CTR_H
#define E2EED_CRYPTO_AES_CTR_H

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/secret.h"

#define AES_CTR_KEY 32
#define AES_CTR_IV  16

struct aes_ctr;

/**
 * aes_ctr_new - begin a stream
 * @key: 32 bytes; not needed any more afterwards
 * @iv:  16 bytes, the first counter block
 *
 * Return: 0, ERR_NOMEM, ERR_CRYPTO.
 */
int aes_ctr_new(const struct secret *key, struct bytes iv, struct aes_ctr **ret) WARN_UNUSED;
void aes_ctr_free(struct aes_ctr *c);
DEFINE_FREEP(struct aes_ctr *, aes_ctr_freep, aes_ctr_free)

/**
 * aes_ctr_update - the next bytes of the stream, as many as there are
 * @ret: @in.n bytes; may be @in.p
 *
 * Return: 0; ERR_CRYPTO, and the stream is of no use any more.
 */
int aes_ctr_update(struct aes_ctr *c, struct bytes in, uint8_t *ret) WARN_UNUSED;

#endif
