/*
 * content - the envelopes of messages, decoded and written
 *
 * Decoding knows no key and opening knows no envelope: one decoded content is tried with key after key, since kids do
 * not identify keys (interop.md 1). What comes out of a cipher counts as a message only once it is a JSON object, for
 * CBC passes the wrong key once in about 256 times (interop.md 15).
 */
#include "crypto/content.h"

#include "base/b64.h"
#include "base/jw.h"
#include "base/scan.h"
#include "crypto/rand.h"

#define IV_TEXT_MAX 24 /* base64 of 16 bytes */

void content_fini(struct content *c)
{
	buf_fini(&c->cipher);
}

/* @text decoded into the cipher buffer */
static int decode_cipher(struct bytes text, struct content *c)
{
	uint8_t *to;
	size_t n;

	c->cipher.max = CONTENT_MAX_CIPHER;
	buf_reset(&c->cipher);
	to = buf_room(&c->cipher, B64_MAX_DECODED(text.n));
	if (!to)
		return buf_err(&c->cipher);
	if (b64_decode(text, to, &n) < 0)
		return ERR_MALFORMED_ENVELOPE;
	buf_added(&c->cipher, n);
	return 0;
}

static bool cipher_length_is_possible(const struct content *c)
{
	if (c->iv_len == AES_GCM_IV)
		return c->cipher.n >= AES_GCM_TAG;
	return c->iv_len == AES_CBC_IV && c->cipher.n > 0 && c->cipher.n % AES_BLOCK == 0;
}

int content_decode_v1(struct bytes text, struct content *c)
{
	struct bytes kid = bytes_sub(text, 0, CONTENT_V1_KID);
	int r;

	if (kid.n < CONTENT_V1_KID || !roomkey_kid_chars(kid))
		return ERR_MALFORMED_ENVELOPE;
	r = decode_cipher(bytes_sub(text, CONTENT_V1_KID, SIZE_MAX), c);
	if (r < 0)
		return r;
	if (c->cipher.n < AES_CBC_IV)
		return ERR_MALFORMED_ENVELOPE;
	memcpy(c->iv, c->cipher.p, AES_CBC_IV);
	c->iv_len = AES_CBC_IV;
	buf_drop_front(&c->cipher, AES_CBC_IV);
	c->kid = kid;
	return cipher_length_is_possible(c) ? 0 : ERR_MALFORMED_ENVELOPE;
}

int content_decode_v2(struct bytes kid, struct bytes iv, struct bytes ciphertext, struct content *c)
{
	uint8_t raw[B64_MAX_DECODED(IV_TEXT_MAX)];
	size_t n;
	int r;

	if (kid.n == 0 || !roomkey_kid_chars(kid) || iv.n > IV_TEXT_MAX || b64_decode(iv, raw, &n) < 0 ||
	    (n != AES_GCM_IV && n != AES_CBC_IV))
		return ERR_MALFORMED_ENVELOPE;
	r = decode_cipher(ciphertext, c);
	if (r < 0)
		return r;
	memcpy(c->iv, raw, n);
	c->iv_len = n;
	c->kid = kid;
	return cipher_length_is_possible(c) ? 0 : ERR_MALFORMED_ENVELOPE;
}

/* The JSON object in @plain, as JSON.parse(new TextDecoder().decode(plain)) takes it. */
static int find_object(struct bytes plain, struct bytes *ret)
{
	static const uint8_t bom[] = { 0xef, 0xbb, 0xbf };
	int r;

	if (plain.n >= sizeof(bom) && memcmp(plain.p, bom, sizeof(bom)) == 0)
		plain = bytes_sub(plain, sizeof(bom), SIZE_MAX);
	r = scan_check(plain, SCAN_JS | SCAN_DUPS, CONTENT_MAX_DEPTH);
	if (r < 0)
		return r;
	plain = scan_trim(plain);
	if (scan_type(plain) != SCAN_OBJECT)
		return ERR_DECRYPT_FAILED;
	*ret = plain;
	return 0;
}

int content_open(struct aes *aes, const struct roomkey *key, const struct content *c, struct buf *plain,
		 struct bytes *ret_json)
{
	bool gcm = roomkey_alg(key) == ROOM_A256GCM;
	struct bytes iv = BYTES(c->iv, c->iv_len), sealed = buf_bytes(&c->cipher);
	uint8_t *to;
	size_t n;
	int r;

	buf_reset(plain);
	if (c->iv_len != (gcm ? AES_GCM_IV : AES_CBC_IV))
		return ERR_DECRYPT_FAILED;
	to = buf_room(plain, sealed.n);
	if (!to) {
		r = buf_err(plain);
		buf_reset(plain);
		return r;
	}
	if (gcm) {
		r = aes_gcm_open(aes, roomkey_k(key), iv, sealed, to);
		n = sealed.n - AES_GCM_TAG; /* of use after success only, when there was a tag */
	} else {
		r = aes_cbc_open(aes, roomkey_k(key), iv, sealed, to, &n);
	}
	if (r == 0) {
		buf_added(plain, n);
		r = find_object(buf_bytes(plain), ret_json);
		if (r < 0)
			buf_reset(plain);
	}
	return r == 0 || r == ERR_NOMEM ? r : ERR_DECRYPT_FAILED;
}

/* Printable ASCII inside a JSON string: no other two characters of it need an escape. */
static void put_kid(struct buf *b, struct bytes kid)
{
	for (size_t i = 0; i < kid.n; i++) {
		if (kid.p[i] == '"' || kid.p[i] == '\\')
			buf_put_byte(b, '\\');
		buf_put_byte(b, kid.p[i]);
	}
}

int content_seal(struct aes *aes, const struct roomkey *key, struct bytes kid, struct bytes plain, struct buf *scratch,
		 struct buf *b)
{
	bool gcm = roomkey_alg(key) == ROOM_A256GCM, v1 = !gcm && kid.n == CONTENT_V1_KID;
	size_t iv_len = gcm ? AES_GCM_IV : AES_CBC_IV;
	size_t sealed_len = gcm ? plain.n + AES_GCM_TAG : (plain.n / AES_BLOCK + 1) * AES_BLOCK;
	struct bytes iv, sealed;
	uint8_t *to;
	int r;

	if (plain.n > CONTENT_MAX_CIPHER)
		return ERR_TOO_LARGE;
	buf_reset(scratch);
	to = buf_room(scratch, iv_len + sealed_len); /* IV and ciphertext side by side, as v1 wants them */
	if (!to)
		return buf_err(scratch);
	rand_bytes(to, iv_len);
	iv = BYTES(to, iv_len);
	sealed = BYTES(to + iv_len, sealed_len);
	r = gcm ? aes_gcm_seal(aes, roomkey_k(key), iv, plain, to + iv_len)
		: aes_cbc_seal(aes, roomkey_k(key), iv, plain, to + iv_len);
	if (r < 0)
		return r;
	buf_added(scratch, iv_len + sealed_len);

	jw_object(b, NULL);
	jw_str(b, "algorithm", v1 ? "rc.v1.aes-sha2" : "rc.v2.aes-sha2");
	if (v1) {
		jw_string(b, "ciphertext");
		put_kid(b, kid);
		buf_put_b64(b, buf_bytes(scratch));
		jw_string_end(b);
	} else {
		jw_bytes(b, "kid", kid);
		jw_b64(b, "iv", iv);
		jw_b64(b, "ciphertext", sealed);
	}
	jw_object_end(b);
	return buf_err(b);
}
