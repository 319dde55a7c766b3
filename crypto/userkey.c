/*
 * userkey - opening tries what the clients disagree about, sealing writes what they agree on
 *
 * An envelope is first reduced to the few values that matter (salt, iterations, IV, ciphertext, which ciphers are
 * possible), whatever its version and however often it was encoded. Then each form of the passphrase is derived and
 * each possible cipher tried, until a plaintext is a private key. v1 has no authentication, so only the key itself,
 * whose numbers must fit together, proves that the passphrase was right.
 */
#include "crypto/userkey.h"

#include "base/b64.h"
#include "base/json.h"
#include "base/jw.h"
#include "crypto/jwk.h"
#include "crypto/kdf.h"
#include "crypto/rand.h"

#define V1_ITERATIONS	  1000
#define SEAL_ITERATIONS	  100000
#define MAX_ENVELOPE	  65536 /* characters; an unescaped one has some 2,500 */
#define MAX_TIMES_ENCODED 4
#define IV_TEXT_MAX	  24 /* base64 of 16 bytes */
#define IV_SIZE_MAX	  16

struct envelope {
	json_t *json; /* owned: @salt may be a view into it */
	struct bytes salt;
	unsigned iterations;
	uint8_t iv[IV_SIZE_MAX];
	size_t iv_len;
	struct buf cipher; /* owned */
	bool try_cbc, try_gcm;
};

static void envelope_fini(struct envelope *e)
{
	json_decref(e->json);
	buf_fini(&e->cipher);
}

static int decode_cipher(struct bytes text, struct envelope *e)
{
	uint8_t *to;
	size_t n;

	e->cipher = BUF_INIT(MAX_ENVELOPE);
	to = buf_room(&e->cipher, B64_MAX_DECODED(text.n));
	if (!to)
		return buf_err(&e->cipher) == ERR_NOMEM ? ERR_NOMEM : ERR_MALFORMED_ENVELOPE;
	if (b64_decode(text, to, &n) < 0)
		return ERR_MALFORMED_ENVELOPE;
	buf_added(&e->cipher, n);
	return 0;
}

/* v1: IV and ciphertext in one */
static int read_v1(struct bytes text, struct bytes user_id, struct envelope *e)
{
	int r = decode_cipher(text, e);

	if (r < 0)
		return r;
	if (e->cipher.n < AES_CBC_IV + AES_BLOCK || e->cipher.n % AES_BLOCK)
		return ERR_MALFORMED_ENVELOPE;
	memcpy(e->iv, e->cipher.p, AES_CBC_IV);
	e->iv_len = AES_CBC_IV;
	buf_drop_front(&e->cipher, AES_CBC_IV);
	e->salt = user_id;
	e->iterations = V1_ITERATIONS;
	e->try_cbc = true;
	return 0;
}

/* A whole number within bounds; JavaScript has but one type of number, so 1000.0 is one. */
static int read_iterations(const json_t *v, unsigned *ret)
{
	double d;

	if (json_is_integer(v)) {
		if (json_integer_value(v) < USERKEY_MIN_ITERATIONS || json_integer_value(v) > USERKEY_MAX_ITERATIONS)
			return ERR_MALFORMED_ENVELOPE;
		*ret = (unsigned)json_integer_value(v);
		return 0;
	}
	if (!json_is_real(v))
		return ERR_MALFORMED_ENVELOPE;
	d = json_real_value(v);
	if (!(d >= USERKEY_MIN_ITERATIONS && d <= USERKEY_MAX_ITERATIONS))
		return ERR_MALFORMED_ENVELOPE;
	if ((double)(unsigned)d < d)
		return ERR_MALFORMED_ENVELOPE;
	*ret = (unsigned)d;
	return 0;
}

static int read_v2(struct bytes user_id, struct envelope *e)
{
	uint8_t iv[B64_MAX_DECODED(IV_TEXT_MAX)];
	struct bytes iv_text, text;
	int r;

	if (!json_member_str(e->json, "iv", &iv_text) || !json_member_str(e->json, "ciphertext", &text) ||
	    iv_text.n > IV_TEXT_MAX || b64_decode(iv_text, iv, &e->iv_len) < 0 ||
	    (e->iv_len != AES_GCM_IV && e->iv_len != AES_CBC_IV))
		return ERR_MALFORMED_ENVELOPE;
	memcpy(e->iv, iv, e->iv_len);
	e->salt = user_id;
	if (json_object_get(e->json, "salt") && !json_member_str(e->json, "salt", &e->salt))
		return ERR_MALFORMED_ENVELOPE;
	r = read_iterations(json_object_get(e->json, "iterations"), &e->iterations);
	if (r < 0)
		return r;
	r = decode_cipher(text, e);
	if (r < 0)
		return r;
	e->try_gcm = e->cipher.n >= AES_GCM_TAG;
	e->try_cbc = e->iv_len == AES_CBC_IV && e->cipher.n > 0 && e->cipher.n % AES_BLOCK == 0;
	return e->try_gcm || e->try_cbc ? 0 : ERR_MALFORMED_ENVELOPE;
}

static int read_envelope(struct bytes text, struct bytes user_id, struct envelope *e)
{
	if (text.n > MAX_ENVELOPE)
		return ERR_MALFORMED_ENVELOPE;
	for (int i = 0; i <= MAX_TIMES_ENCODED; i++) {
		struct bytes binary;
		json_t *json;
		int r = json_load(text, &json);

		if (r == ERR_NOMEM)
			return r;
		if (r < 0)
			return read_v1(text, user_id, e);
		json_decref(e->json); /* only now: @text may be a view of it */
		e->json = json;
		if (json_is_object(json)) {
			if (!json_object_get(json, "$binary"))
				return read_v2(user_id, e);
			return json_member_str(json, "$binary", &binary) ? read_v1(binary, user_id, e)
									 : ERR_MALFORMED_ENVELOPE;
		}
		if (!json_is_string(json))
			break;
		text = BYTES(json_string_value(json), json_string_length(json));
	}
	return ERR_MALFORMED_ENVELOPE;
}

/*
 * latin1 - @utf8 with one byte per UTF-16 code unit, as the web client makes bytes of text
 *
 * Return: 0; ERR_NOMEM; ERR_INVALID_PARAMS where the two forms are equal or there is no such form.
 */
static int latin1(const struct secret *utf8, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *out = NULL;
	const uint8_t *from = secret_read(utf8);
	size_t len = secret_len(utf8), n = 0;
	int r;

	r = secret_new(len, &out);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = from[i];

		/* U+0080 to U+00FF are two bytes, of which the first is C2 or C3 */
		if (c >= 0x80) {
			if ((c != 0xc2 && c != 0xc3) || i + 1 == len || (from[i + 1] & 0xc0) != 0x80)
				return ERR_INVALID_PARAMS;
			c = (uint8_t)((unsigned)c << 6 | (from[++i] & 0x3f));
		}
		secret_write(out)[n++] = c;
	}
	if (n == len)
		return ERR_INVALID_PARAMS;
	secret_cut(out, n);
	*ret = TAKE(out);
	return 0;
}

static int try_cipher(struct aes *aes, const struct envelope *e, bool gcm, const struct secret *key,
		      struct rsa_key **ret)
{
	CLEANUP(secret_freep) struct secret *plain = NULL;
	struct bytes iv = BYTES(e->iv, e->iv_len), sealed = buf_bytes(&e->cipher);
	size_t n;
	int r;

	r = secret_new(sealed.n, &plain);
	if (r < 0)
		return r;
	if (gcm) {
		r = aes_gcm_open(aes, key, iv, sealed, secret_write(plain));
		n = sealed.n - AES_GCM_TAG; /* read_v2() saw a tag */
	} else {
		r = aes_cbc_open(aes, key, iv, sealed, secret_write(plain), &n);
	}
	if (r < 0)
		return r;
	secret_cut(plain, n);
	r = jwk_parse_private(plain, ret);
	return r == ERR_INVALID_KEY ? ERR_DECRYPT_FAILED : r;
}

static int try_passphrase(struct aes *aes, const struct envelope *e, const struct secret *passphrase,
			  struct rsa_key **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	int r;

	r = kdf_pbkdf2(passphrase, e->salt, e->iterations, &key);
	if (r < 0)
		return r;
	r = e->try_cbc ? try_cipher(aes, e, false, key, ret) : ERR_DECRYPT_FAILED;
	if (r == ERR_DECRYPT_FAILED && e->try_gcm)
		r = try_cipher(aes, e, true, key, ret);
	return r;
}

int userkey_open(struct aes *aes, struct bytes envelope, struct bytes user_id, const struct secret *passphrase,
		 struct rsa_key **ret)
{
	CLEANUP(envelope_fini) struct envelope e = { 0 };
	CLEANUP(secret_freep) struct secret *web_form = NULL;
	int r;

	r = read_envelope(envelope, user_id, &e);
	if (r < 0)
		return r;
	r = latin1(passphrase, &web_form);
	if (r == ERR_NOMEM)
		return r;
	r = web_form ? try_passphrase(aes, &e, web_form, ret) : ERR_DECRYPT_FAILED;
	if (r == ERR_DECRYPT_FAILED)
		r = try_passphrase(aes, &e, passphrase, ret);
	aes_forget(aes); /* the key that opened a private key need not stay in a context */
	return r;
}

/* v2:<user_id>:<uuid>, as the web client makes it */
static void put_salt(struct buf *b, struct bytes user_id)
{
	char uuid[UUID_SIZE];

	rand_uuid(uuid);
	buf_put_str(b, "v2:");
	buf_put_bytes(b, user_id);
	buf_put_byte(b, ':');
	buf_put_str(b, uuid);
}

int userkey_seal(struct aes *aes, const struct rsa_key *key, struct bytes user_id, const struct secret *passphrase,
		 struct buf *b)
{
	CLEANUP(secret_freep) struct secret *jwk = NULL, *wrap = NULL;
	CLEANUP(buf_fini) struct buf salt = BUF_INIT(MAX_ENVELOPE), sealed = BUF_INIT(MAX_ENVELOPE);
	uint8_t iv[AES_GCM_IV];
	uint8_t *to;
	int r;

	put_salt(&salt, user_id);
	r = buf_err(&salt);
	if (r == 0)
		r = jwk_write_private(key, &jwk);
	if (r == 0)
		r = kdf_pbkdf2(passphrase, buf_bytes(&salt), SEAL_ITERATIONS, &wrap);
	if (r < 0)
		return r;
	to = buf_room(&sealed, secret_len(jwk) + AES_GCM_TAG);
	if (!to)
		return buf_err(&sealed);
	rand_bytes(iv, sizeof(iv));
	r = aes_gcm_seal(aes, wrap, BYTES(iv, sizeof(iv)), secret_bytes(jwk), to);
	aes_forget(aes);
	if (r < 0)
		return r;
	buf_added(&sealed, secret_len(jwk) + AES_GCM_TAG);

	jw_object(b, NULL);
	jw_b64(b, "iv", BYTES(iv, sizeof(iv)));
	jw_b64(b, "ciphertext", buf_bytes(&sealed));
	jw_bytes(b, "salt", buf_bytes(&salt));
	jw_int(b, "iterations", SEAL_ITERATIONS);
	jw_object_end(b);
	return buf_err(b);
}
