#include "keystore/log_header.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "keystore/le.h"

/* Ends in a line feed, so that a transfer that rewrites line ends shows at once. */
static const uint8_t magic[8] = { 'E', '2', 'E', 'E', 'D', 'K', 'S', '\n' };

#define FORMAT_VERSION 2u
#define FIXED_SIZE     56u /* up to the first slot */
#define SLOT_FIXED     20u /* number, type, created, length of the parameters */
#define NONCE_SIZE     crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE       crypto_aead_xchacha20poly1305_ietf_ABYTES
#define WRAPPED_SIZE   (NONCE_SIZE + 32u + TAG_SIZE)
#define SLOT_KEYS      ((size_t)2 * WRAPPED_SIZE)

_Static_assert(LOG_KEY_SIZE == 32 && SEAL_KEY_SIZE == 32, "both are wrapped in the same form");
_Static_assert(LOG_KEY_SIZE == crypto_kdf_KEYBYTES, "the data key feeds crypto_kdf");
_Static_assert(LOG_KEY_CONTEXT == crypto_kdf_CONTEXTBYTES, "context of crypto_kdf");
_Static_assert(SEAL_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "a KEK is an AEAD key");
_Static_assert(FIXED_SIZE + LOG_MAX_SLOTS * (SLOT_FIXED + SEAL_MAX_PARAMS + SLOT_KEYS) + LOG_HEADER_MAC <=
		       LOG_HEADER_MAX,
	       "every header fits");

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

int log_key_derive(const struct secret *master, const char context[LOG_KEY_CONTEXT + 1], struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r;

	assert(secret_len(master) == LOG_KEY_SIZE);
	r = secret_new(LOG_KEY_SIZE, &key);
	if (r < 0)
		return r;
	(void)crypto_kdf_derive_from_key(secret_write(key), LOG_KEY_SIZE, 1, context,
					 secret_read(master)); /* fails for wrong sizes only */
	secret_wipe_stack();
	*ret = TAKE(key);
	return 0;
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

/* ---- one slot ---- */

/*
 * What a slot's wrapped keys are bound to: magic and version, file id and generation, and the slot itself. Not the other slots: the
 * header's MAC covers those.
 */
static void slot_aad(const struct log_header *header, const struct log_slot *slot, struct buf *ret)
{
	buf_put(ret, magic, sizeof(magic));
	put_le32(ret, FORMAT_VERSION);
	buf_put(ret, header->file_id, LOG_FILE_ID);
	put_le64(ret, header->generation);
	put_le32(ret, slot->number);
	put_le32(ret, slot->type);
	put_le64(ret, (uint64_t)slot->created_ms);
	put_le32(ret, (uint32_t)slot->params.n);
	buf_put_bytes(ret, slot->params);
}

/* nonce | ciphertext | tag */
static void wrap_key(const struct secret *key, const struct secret *under, struct bytes aad, struct buf *ret)
{
	uint8_t *p = buf_room(ret, WRAPPED_SIZE);

	if (!p)
		return;
	randombytes_buf(p, NONCE_SIZE);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(p + NONCE_SIZE, NULL, secret_read(key), secret_len(key), aad.p,
							 aad.n, NULL, p, secret_read(under)); /* cannot fail */
	buf_added(ret, WRAPPED_SIZE);
}

/* Return: 0; ERR_NOT_FOUND where it does not open; ERR_NOMEM */
static int unwrap_key(const uint8_t *wrapped, const struct secret *under, const struct log_header *header,
		      const struct log_slot *slot, struct secret **ret)
{
	CLEANUP(buf_fini) struct buf aad = BUF_INIT(LOG_HEADER_MAX);
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r;

	slot_aad(header, slot, &aad);
	r = buf_err(&aad);
	if (r == 0)
		r = secret_new(LOG_KEY_SIZE, &key);
	if (r < 0)
		return r;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(secret_write(key), NULL, NULL, wrapped + NONCE_SIZE,
						       WRAPPED_SIZE - NONCE_SIZE, aad.p, aad.n, wrapped,
						       secret_read(under)) < 0)
		return ERR_NOT_FOUND;
	*ret = TAKE(key);
	return 0;
}

int log_slot_kek(const struct log_header *header, const struct log_slot *slot, const struct secret *dek,
		 struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *keyring = NULL;
	int r = log_key_derive(dek, LOG_KEY_KEYRING, &keyring);

	if (r == 0)
		r = unwrap_key(slot->keyring, keyring, header, slot, ret);
	return r == ERR_NOT_FOUND ? ERR_DAMAGED : r;
}

/* Take a slot off the front of @rest. Return: false when it does not fit. */
static bool next_slot(struct bytes *rest, struct log_slot *ret)
{
	size_t params_n;

	if (rest->n < SLOT_FIXED + SLOT_KEYS)
		return false;
	params_n = le32_get(rest->p + 16);
	if (params_n > SEAL_MAX_PARAMS || params_n > rest->n - SLOT_FIXED - SLOT_KEYS)
		return false;
	*ret = (struct log_slot){
		.number = le32_get(rest->p),
		.type = le32_get(rest->p + 4),
		.created_ms = (int64_t)le64_get(rest->p + 8),
		.params = BYTES(rest->p + SLOT_FIXED, params_n),
		.wrapped = rest->p + SLOT_FIXED + params_n,
		.keyring = rest->p + SLOT_FIXED + params_n + WRAPPED_SIZE,
	};
	*rest = bytes_sub(*rest, SLOT_FIXED + params_n + SLOT_KEYS, rest->n);
	return true;
}

/* ---- reading ---- */

static int damaged(const char *path, struct buf *why, const char *what)
{
	buf_printf(why, "keystore %s: the header is damaged (%s); restore the file from a backup", path, what);
	return ERR_DAMAGED;
}

static int parse_slots(struct bytes rest, uint32_t n, const char *path, struct buf *why, struct log_header *ret)
{
	if (n == 0 || n > LOG_MAX_SLOTS)
		return damaged(path, why, "number of key slots");
	for (uint32_t i = 0; i < n; i++) {
		if (!next_slot(&rest, &ret->slots[i]))
			return damaged(path, why, "a key slot is cut short");
	}
	ret->n_slots = n;
	return rest.n ? damaged(path, why, "bytes behind the last key slot") : 0;
}

int log_header_parse(struct bytes file, const char *path, struct buf *why, struct log_header *ret)
{
	struct log_header h = { 0 };
	uint32_t version, size;
	int r;

	if (file.n < FIXED_SIZE + LOG_HEADER_MAC || memcmp(file.p, magic, sizeof(magic)) != 0) {
		buf_printf(why, "%s is not a keystore, or the start of its header is damaged", path);
		return ERR_DAMAGED;
	}
	version = le32_get(file.p + 8);
	if (version != FORMAT_VERSION) {
		buf_printf(
			why,
			"keystore %s has format %lu, and this e2eed reads format %u: another version wrote it, or the header is damaged",
			path, (unsigned long)version, FORMAT_VERSION);
		return ERR_DAMAGED;
	}
	size = le32_get(file.p + 12);
	if (size > LOG_HEADER_MAX || size > file.n || size < FIXED_SIZE + LOG_HEADER_MAC)
		return damaged(path, why, "its length");
	memcpy(h.file_id, file.p + 16, LOG_FILE_ID);
	h.generation = le64_get(file.p + 32);
	h.created_ms = (int64_t)le64_get(file.p + 40);
	h.next_slot = le32_get(file.p + 48);
	h.size = size;
	r = parse_slots(bytes_sub(file, FIXED_SIZE, size - FIXED_SIZE - LOG_HEADER_MAC), le32_get(file.p + 52), path,
			why, &h);
	if (r < 0)
		return r;
	memcpy(h.mac, file.p + size - LOG_HEADER_MAC, LOG_HEADER_MAC);
	*ret = h;
	return 0;
}

bool log_header_same_file(const uint8_t a[LOG_HEADER_START], const uint8_t b[LOG_HEADER_START])
{
	return memcmp(a, magic, sizeof(magic)) == 0 && memcmp(b, magic, sizeof(magic)) == 0 &&
	       memcmp(a + 16, b + 16, LOG_FILE_ID) == 0;
}

int log_header_check(const struct log_header *header, struct bytes file, const struct secret *dek)
{
	uint8_t mac[LOG_HEADER_MAC];
	int r = header_mac(dek, bytes_sub(file, 0, header->size - LOG_HEADER_MAC), mac);

	if (r < 0)
		return r;
	return sodium_memcmp(mac, header->mac, LOG_HEADER_MAC) == 0 ? 0 : ERR_DAMAGED;
}

/* Return: 0 and the data key; ERR_NOT_FOUND where this slot is another secret's; ERR_SEAL, ERR_NOMEM. */
static int try_slot(const struct log_header *header, const struct log_slot *slot, const struct seal *seal,
		    struct buf *why, struct secret **ret_dek)
{
	CLEANUP(secret_freep) struct secret *kek = NULL;
	int r = seal->open(seal, slot->params, why, &kek);

	if (r < 0)
		return r;
	assert(secret_len(kek) == SEAL_KEY_SIZE);
	return unwrap_key(slot->wrapped, kek, header, slot, ret_dek);
}

int log_header_open(const struct log_header *header, struct bytes file, const struct seal *seal, const char *path,
		    struct buf *why, struct secret **ret_dek)
{
	CLEANUP(secret_freep) struct secret *dek = NULL;
	size_t mark = why->n, tried = 0;
	int r, failed = 0;

	for (size_t i = 0; i < header->n_slots && !dek; i++) {
		if (header->slots[i].type != (uint32_t)seal->type)
			continue;
		/* one slot whose secret is out of reach (a token that is not plugged in) must not hide the next */
		r = try_slot(header, &header->slots[i], seal, why, &dek);
		if (r == ERR_NOMEM)
			return r;
		if (r < 0 && r != ERR_NOT_FOUND)
			failed = r;
		tried++;
	}
	if (!dek && failed < 0)
		return failed;
	if (!dek && !tried)
		buf_printf(
			why,
			"keystore %s has no key slot of the kind \"%s\"; see which it has (e2eectl keystore slot list FILE), or open it with another seal",
			path, seal->name);
	else if (!dek)
		buf_printf(
			why,
			"the secret of seal \"%s\" does not open keystore %s: it is the wrong one, or the header is damaged; give the right one, or open it by another slot (e2eectl keystore slot list FILE)",
			seal->name, path);
	if (!dek)
		return ERR_SEAL;
	buf_cut(why, mark); /* what the slots before it had to say */
	r = log_header_check(header, file, dek);
	if (r == ERR_DAMAGED)
		return damaged(path, why, "it does not authenticate");
	if (r < 0)
		return r;
	*ret_dek = TAKE(dek);
	return 0;
}

/* ---- writing ---- */

int log_header_write(struct log_header *header, const struct secret *dek, struct buf *ret)
{
	CLEANUP(buf_fini) struct buf out = BUF_INIT(LOG_HEADER_MAX);
	CLEANUP(secret_freep) struct secret *keyring = NULL;
	size_t size = FIXED_SIZE + LOG_HEADER_MAC;
	int r = log_key_derive(dek, LOG_KEY_KEYRING, &keyring);

	if (r < 0)
		return r;
	for (size_t i = 0; i < header->n_slots; i++)
		size += SLOT_FIXED + header->slots[i].params.n + SLOT_KEYS;
	buf_put(&out, magic, sizeof(magic));
	put_le32(&out, FORMAT_VERSION);
	put_le32(&out, (uint32_t)size);
	buf_put(&out, header->file_id, LOG_FILE_ID);
	put_le64(&out, header->generation);
	put_le64(&out, (uint64_t)header->created_ms);
	put_le32(&out, header->next_slot);
	put_le32(&out, (uint32_t)header->n_slots);
	for (size_t i = 0; i < header->n_slots; i++) {
		const struct log_slot *slot = &header->slots[i];
		CLEANUP(buf_fini) struct buf aad = BUF_INIT(LOG_HEADER_MAX);

		slot_aad(header, slot, &aad);
		if (buf_err(&aad))
			return buf_err(&aad);
		buf_put_bytes(&out, bytes_sub(buf_bytes(&aad), sizeof(magic) + 4 + LOG_FILE_ID + 8, aad.n));
		wrap_key(dek, slot->kek, buf_bytes(&aad), &out);
		wrap_key(slot->kek, keyring, buf_bytes(&aad), &out);
	}
	if (buf_err(&out))
		return buf_err(&out);
	r = header_mac(dek, buf_bytes(&out), header->mac);
	if (r < 0)
		return r;
	buf_put(&out, header->mac, LOG_HEADER_MAC);
	header->size = size;
	buf_put_bytes(ret, buf_bytes(&out));
	return buf_err(&out) ? buf_err(&out) : buf_err(ret);
}
