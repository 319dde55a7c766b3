#include "keystore/log_frame.h"

#include <sodium.h>
#include <string.h>

#include "keystore/le.h"

#define HEAD_MAC   16u
#define PLACE_SIZE (LOG_FILE_ID + 16u) /* file id, generation, number of the record */

_Static_assert(LOG_FRAME_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce of the AEAD");
_Static_assert(LOG_FRAME_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag of the AEAD");
_Static_assert(LOG_CHAIN_SIZE == LOG_FRAME_TAG && LOG_CHAIN_SIZE <= LOG_HEADER_MAC,
	       "a record is chained by the tag before it");

int log_cipher_init(struct log_cipher *c, const struct log_header *header, const struct secret *dek)
{
	int r;

	*c = (struct log_cipher){ .generation = header->generation };
	memcpy(c->file_id, header->file_id, LOG_FILE_ID);
	r = log_key_derive(dek, LOG_KEY_RECORD, &c->record_key);
	if (r == 0)
		r = log_key_derive(dek, LOG_KEY_FRAME, &c->frame_key);
	if (r < 0)
		log_cipher_fini(c);
	return r;
}

void log_cipher_fini(struct log_cipher *c)
{
	secret_freep(&c->record_key);
	secret_freep(&c->frame_key);
}

struct log_cursor log_cursor_start(const struct log_header *header)
{
	struct log_cursor at = { .end = header->size };

	memcpy(at.chain, header->mac, LOG_CHAIN_SIZE);
	return at;
}

static void place(const struct log_cipher *c, const struct log_cursor *at, uint8_t ret[PLACE_SIZE])
{
	memcpy(ret, c->file_id, LOG_FILE_ID);
	le64_put(ret + LOG_FILE_ID, c->generation);
	le64_put(ret + LOG_FILE_ID + 8, at->n + 1);
}

/* Without a MAC of its own a damaged length could make the rest of the file look like a record cut short. */
static void head_mac(const struct log_cipher *c, const struct log_cursor *at, const uint8_t length[4],
		     uint8_t ret[HEAD_MAC])
{
	uint8_t in[PLACE_SIZE + 4];

	place(c, at, in);
	memcpy(in + PLACE_SIZE, length, 4);
	(void)crypto_generichash(ret, HEAD_MAC, in, sizeof(in), secret_read(c->frame_key),
				 LOG_KEY_SIZE); /* fails for wrong sizes only */
	secret_wipe_stack();
}

static void record_aad(const struct log_cipher *c, const struct log_cursor *at,
		       uint8_t ret[PLACE_SIZE + LOG_CHAIN_SIZE])
{
	place(c, at, ret);
	memcpy(ret + PLACE_SIZE, at->chain, LOG_CHAIN_SIZE);
}

static void move(struct log_cursor *at, const uint8_t *p, size_t sealed)
{
	at->n++;
	at->end += LOG_FRAME_HEAD + LOG_FRAME_NONCE + sealed;
	memcpy(at->chain, p + LOG_FRAME_HEAD + LOG_FRAME_NONCE + sealed - LOG_FRAME_TAG, LOG_CHAIN_SIZE);
}

void log_frame_seal(const struct log_cipher *c, struct log_cursor *at, struct bytes plain, uint8_t *ret)
{
	uint8_t aad[PLACE_SIZE + LOG_CHAIN_SIZE];

	le32_put(ret, (uint32_t)(plain.n + LOG_FRAME_TAG));
	head_mac(c, at, ret, ret + 4);
	randombytes_buf(ret + LOG_FRAME_HEAD, LOG_FRAME_NONCE);
	record_aad(c, at, aad);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret + LOG_FRAME_HEAD + LOG_FRAME_NONCE, NULL, plain.p, plain.n,
							 aad, sizeof(aad), NULL, ret + LOG_FRAME_HEAD,
							 secret_read(c->record_key)); /* cannot fail */
	move(at, ret, plain.n + LOG_FRAME_TAG);
}

bool log_frame_head(const struct log_cipher *c, const struct log_cursor *at, const uint8_t *p, size_t *ret_sealed)
{
	uint8_t mac[HEAD_MAC];

	head_mac(c, at, p, mac);
	*ret_sealed = le32_get(p);
	return sodium_memcmp(mac, p + 4, HEAD_MAC) == 0;
}

bool log_frame_open(const struct log_cipher *c, struct log_cursor *at, const uint8_t *p, size_t sealed, uint8_t *ret)
{
	uint8_t aad[PLACE_SIZE + LOG_CHAIN_SIZE];

	record_aad(c, at, aad);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, p + LOG_FRAME_HEAD + LOG_FRAME_NONCE, sealed,
						       aad, sizeof(aad), p + LOG_FRAME_HEAD,
						       secret_read(c->record_key)) < 0)
		return false;
	move(at, p, sealed);
	return true;
}
