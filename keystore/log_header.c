#include "keystore/log_header.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "keystore/le.h"

/* Ends in a line feed, so that a transfer that rewrites line ends shows at once. */
static const uint8_t magic[8] = { 'E', '2', 'E', 'E', 'D', 'K', 'S', '\n' };

#define FORMAT_VERSION 1u
#define FIXED_SIZE     52u /* up to the first slot */
#define SLOT_FIXED     20u /* number, type, created, length of the parameters */
#define NONCE_SIZE     crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE       crypto_aead_xchacha20poly1305_ietf_ABYTES
#define WRAPPED_SIZE   (LOG_KEY_SIZE + TAG_SIZE)

_Static_assert(LOG_KEY_SIZE == crypto_kdf_KEYBYTES, "the data key feeds crypto_kdf");
_Static_assert(LOG_KEY_CONTEXT == crypto_kdf_CONTEXTBYTES, "context of crypto_kdf");
_Static_assert(SEAL_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "a KEK is an AEAD key");

struct slot {
	uint32_t type;
	struct bytes params;
	struct bytes identity; /* from the slot's number to the end of its parameters */
	const uint8_t *nonce;
	const uint8_t *wrapped;
};

static void put_le32(struct buf *b, uint32_t v)
{
	uint8_t p[4];

	le32_put(p, v);
	buf_put(b, p, sizeof(p));
}

static void put_le64(struct buf *b, uint64_t v)
{
	uint8_t p[8];

	le64_put(p, v);
	buf_put(b, p, sizeof(p));
}

int log_key_derive(const struct secret *dek, const char context[LOG_KEY_CONTEXT + 1], struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r;

	assert(secret_len(dek) == LOG_KEY_SIZE);
	r = secret_new(LOG_KEY_SIZE, &key);
	if (r < 0)
		return r;
	(void)crypto_kdf_derive_from_key(secret_write(key), LOG_KEY_SIZE, 1, context,
					 secret_read(dek)); /* fails for wrong sizes only */
	secret_wipe_stack();
	*ret = TAKE(key);
	return 0;
}

/*
 * What a slot's wrapped key is bound to: magic and version, file id and generation, and the slot itself. Not the header's length
 * nor the number of slots: another slot can come or go without this one's secret at hand. The header's MAC covers those.
 */
static int slot_aad(const uint8_t *header, struct bytes identity, struct buf *ret)
{
	buf_put(ret, header, 12);
	buf_put(ret, header + 16, LOG_FILE_ID + 8);
	buf_put_bytes(ret, identity);
	return buf_err(ret);
}

static int header_mac(const struct secret *dek, struct bytes header, uint8_t ret[LOG_HEADER_MAC])
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r;

	r = log_key_derive(dek, LOG_KEY_HEADER, &key);
	if (r < 0)
		return r;
	(void)crypto_generichash(ret, LOG_HEADER_MAC, header.p, header.n, secret_read(key),
				 LOG_KEY_SIZE); /* fails for wrong sizes only */
	secret_wipe_stack();
	return 0;
}

int log_header_make(const struct seal *seal, const struct secret *kek, int64_t now_ms, struct buf *ret)
{
	CLEANUP(secret_freep) struct secret *dek = NULL;
	CLEANUP(buf_fini) struct buf header = BUF_INIT(LOG_HEADER_MAX), aad = BUF_INIT(LOG_HEADER_MAX);
	uint8_t id[LOG_FILE_ID], nonce[NONCE_SIZE], mac[LOG_HEADER_MAC];
	uint8_t *wrapped;
	int r;

	r = secret_new(LOG_KEY_SIZE, &dek);
	if (r < 0)
		return r;
	randombytes_buf(secret_write(dek), LOG_KEY_SIZE);
	randombytes_buf(id, sizeof(id));
	randombytes_buf(nonce, sizeof(nonce));

	buf_put(&header, magic, sizeof(magic));
	put_le32(&header, FORMAT_VERSION);
	put_le32(&header, FIXED_SIZE + SLOT_FIXED + NONCE_SIZE + WRAPPED_SIZE + LOG_HEADER_MAC);
	buf_put(&header, id, sizeof(id));
	put_le64(&header, 1);
	put_le64(&header, (uint64_t)now_ms);
	put_le32(&header, 1); /* slots */
	put_le32(&header, 0); /* this slot's number */
	put_le32(&header, (uint32_t)seal->type);
	put_le64(&header, (uint64_t)now_ms);
	put_le32(&header, 0); /* no parameters */
	if (buf_err(&header))
		return buf_err(&header);
	r = slot_aad(header.p, BYTES(header.p + FIXED_SIZE, SLOT_FIXED), &aad);
	if (r < 0)
		return r;
	buf_put(&header, nonce, sizeof(nonce));
	wrapped = buf_room(&header, WRAPPED_SIZE);
	if (!wrapped)
		return buf_err(&header);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(wrapped, NULL, secret_read(dek), LOG_KEY_SIZE, aad.p, aad.n,
							 NULL, nonce, secret_read(kek)); /* cannot fail */
	buf_added(&header, WRAPPED_SIZE);
	r = header_mac(dek, buf_bytes(&header), mac);
	if (r < 0)
		return r;
	buf_put(&header, mac, sizeof(mac));
	if (buf_err(&header))
		return buf_err(&header);
	buf_put_bytes(ret, buf_bytes(&header));
	return buf_err(ret);
}

/* Take a slot off the front of @rest. Return: false when it does not fit. */
static bool next_slot(struct bytes *rest, struct slot *ret)
{
	size_t params_n;

	if (rest->n < SLOT_FIXED)
		return false;
	params_n = le32_get(rest->p + 16);
	if (rest->n - SLOT_FIXED < NONCE_SIZE + WRAPPED_SIZE ||
	    params_n > rest->n - SLOT_FIXED - NONCE_SIZE - WRAPPED_SIZE)
		return false;
	ret->type = le32_get(rest->p + 4);
	ret->params = BYTES(rest->p + SLOT_FIXED, params_n);
	ret->identity = BYTES(rest->p, SLOT_FIXED + params_n);
	ret->nonce = rest->p + SLOT_FIXED + params_n;
	ret->wrapped = ret->nonce + NONCE_SIZE;
	*rest = bytes_sub(*rest, SLOT_FIXED + params_n + NONCE_SIZE + WRAPPED_SIZE, rest->n);
	return true;
}

/* Return: 0 and the data key; ERR_NOT_FOUND where this slot is another key's; ERR_SEAL, ERR_NOMEM. */
static int open_slot(const uint8_t *header, const struct slot *slot, const struct seal *seal, struct buf *why,
		     struct secret **ret_dek)
{
	CLEANUP(secret_freep) struct secret *kek = NULL, *dek = NULL;
	CLEANUP(buf_fini) struct buf aad = BUF_INIT(2 * LOG_HEADER_MAX);
	int r;

	r = seal->kek(seal, slot->params, false, why, &kek);
	if (r < 0)
		return r;
	assert(secret_len(kek) == SEAL_KEY_SIZE);
	r = slot_aad(header, slot->identity, &aad);
	if (r < 0)
		return r;
	r = secret_new(LOG_KEY_SIZE, &dek);
	if (r < 0)
		return r;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(secret_write(dek), NULL, NULL, slot->wrapped, WRAPPED_SIZE,
						       aad.p, aad.n, slot->nonce, secret_read(kek)) < 0)
		return ERR_NOT_FOUND;
	*ret_dek = TAKE(dek);
	return 0;
}

static int damaged(const char *path, struct buf *why, const char *what)
{
	buf_printf(why, "keystore %s: the header is damaged (%s); restore the file from a backup", path, what);
	return ERR_DAMAGED;
}

/* Walk all slots, so that the layout is known to be sound whichever of them opens. */
static int open_slots(struct bytes header, const struct seal *seal, const char *path, struct buf *why,
		      struct secret **ret_dek)
{
	CLEANUP(secret_freep) struct secret *dek = NULL;
	struct bytes rest = bytes_sub(header, FIXED_SIZE, header.n - FIXED_SIZE - LOG_HEADER_MAC);
	uint32_t n = le32_get(header.p + 48);
	bool seen = false;

	if (n == 0 || n > LOG_MAX_SLOTS)
		return damaged(path, why, "number of key slots");
	for (uint32_t i = 0; i < n; i++) {
		struct slot slot;

		if (!next_slot(&rest, &slot))
			return damaged(path, why, "a key slot is cut short");
		if (slot.type != (uint32_t)seal->type || dek)
			continue;
		seen = true;
		int r = open_slot(header.p, &slot, seal, why, &dek);
		if (r < 0 && r != ERR_NOT_FOUND)
			return r;
	}
	if (rest.n)
		return damaged(path, why, "bytes behind the last key slot");
	if (!seen) {
		buf_printf(why, "keystore %s has no key slot of the kind \"%s\"", path, seal->name);
		return ERR_SEAL;
	}
	if (!dek) {
		buf_printf(
			why,
			"the key of seal \"%s\" does not open keystore %s: it is another keystore's key, or the header is "
			"damaged",
			seal->name, path);
		return ERR_SEAL;
	}
	*ret_dek = TAKE(dek);
	return 0;
}

int log_header_open(struct bytes file, const struct seal *seal, const char *path, struct buf *why,
		    struct log_header *ret, struct secret **ret_dek)
{
	CLEANUP(secret_freep) struct secret *dek = NULL;
	uint8_t mac[LOG_HEADER_MAC];
	uint32_t version, size;
	int r;

	if (file.n < FIXED_SIZE + LOG_HEADER_MAC || memcmp(file.p, magic, sizeof(magic)) != 0) {
		buf_printf(why, "%s is not a keystore, or the start of its header is damaged", path);
		return ERR_DAMAGED;
	}
	version = le32_get(file.p + 8);
	if (version != FORMAT_VERSION) {
		buf_printf(why, "keystore %s has format %lu: a newer e2eed wrote it, or the header is damaged", path,
			   (unsigned long)version);
		return ERR_DAMAGED;
	}
	size = le32_get(file.p + 12);
	if (size > LOG_HEADER_MAX || size > file.n || size < FIXED_SIZE + LOG_HEADER_MAC)
		return damaged(path, why, "its length");
	r = open_slots(bytes_sub(file, 0, size), seal, path, why, &dek);
	if (r < 0)
		return r;
	r = header_mac(dek, bytes_sub(file, 0, size - LOG_HEADER_MAC), mac);
	if (r < 0)
		return r;
	if (sodium_memcmp(mac, file.p + size - LOG_HEADER_MAC, LOG_HEADER_MAC) != 0)
		return damaged(path, why, "it does not authenticate");

	memcpy(ret->file_id, file.p + 16, LOG_FILE_ID);
	ret->generation = le64_get(file.p + 32);
	ret->created_ms = (int64_t)le64_get(file.p + 40);
	ret->size = size;
	memcpy(ret->mac, mac, sizeof(mac));
	*ret_dek = TAKE(dek);
	return 0;
}
