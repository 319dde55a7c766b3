/*
 * roomkey - the key, the text it came in, and the way both travel
 *
 * The text is what is kept and wrapped again, to the byte. One that is as we would write it ourselves, as nearly all are, need not
 * take room in locked memory: it is written again when it is wanted.
 */
#include "crypto/roomkey.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/b64.h"
#include "crypto/rand.h"

struct roomkey {
	atomic_uint refs;
	enum room_alg alg;
	struct secret *k;   /* owned */
	struct secret *jwk; /* owned; NULL: what jwk_write_room() gives */
};

int roomkey_from_jwk(const struct secret *text, struct roomkey **ret)
{
	CLEANUP(roomkey_unrefp) struct roomkey *key = calloc(1, sizeof(*key));
	int r;

	if (!key)
		return ERR_NOMEM;
	atomic_init(&key->refs, 1);
	r = jwk_read_written_room(text, &key->alg, &key->k);
	if (r == ERR_NOT_FOUND) {
		r = jwk_parse_room(text, &key->alg, &key->k);
		if (r == 0)
			r = secret_dup(secret_bytes(text), &key->jwk);
	}
	if (r < 0)
		return r;
	*ret = TAKE(key);
	return 0;
}

int roomkey_generate(struct roomkey **ret)
{
	CLEANUP(secret_freep) struct secret *k = NULL, *text = NULL;
	int r;

	r = rand_secret(32, &k);
	if (r == 0)
		r = jwk_write_room(ROOM_A256GCM, k, &text);
	return r < 0 ? r : roomkey_from_jwk(text, ret);
}

struct roomkey *roomkey_ref(struct roomkey *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void roomkey_unref(struct roomkey *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	secret_free(key->k);
	secret_free(key->jwk);
	free(key);
}

enum room_alg roomkey_alg(const struct roomkey *key)
{
	return key->alg;
}

const struct secret *roomkey_k(const struct roomkey *key)
{
	return key->k;
}

int roomkey_get_jwk(const struct roomkey *key, struct secret **ret)
{
	return key->jwk ? secret_dup(secret_bytes(key->jwk), ret) : jwk_write_room(key->alg, key->k, ret);
}

bool roomkey_same(const struct roomkey *a, const struct roomkey *b)
{
	return a->alg == b->alg && secret_equal(a->k, b->k);
}

bool roomkey_kid_chars(struct bytes kid)
{
	if (kid.n > ROOMKEY_MAX_KID)
		return false;
	for (size_t i = 0; i < kid.n; i++)
		if (kid.p[i] < 0x20 || kid.p[i] > 0x7e)
			return false;
	return true;
}

int roomkey_split(struct bytes e2ekey, struct bytes *ret_prefix, uint8_t ret_wrapped[RSA_SIZE])
{
	uint8_t wrapped[B64_MAX_DECODED(ROOMKEY_WRAPPED_LEN)];
	struct bytes prefix;
	size_t n;

	if (e2ekey.n < ROOMKEY_WRAPPED_LEN)
		return ERR_MALFORMED_ENVELOPE;
	prefix = bytes_sub(e2ekey, 0, e2ekey.n - ROOMKEY_WRAPPED_LEN);
	if (!roomkey_kid_chars(prefix) ||
	    b64_decode(bytes_sub(e2ekey, prefix.n, ROOMKEY_WRAPPED_LEN), wrapped, &n) < 0 || n != RSA_SIZE)
		return ERR_MALFORMED_ENVELOPE;
	*ret_prefix = prefix;
	memcpy(ret_wrapped, wrapped, RSA_SIZE);
	return 0;
}

int roomkey_unwrap(const struct rsa_key *key, const uint8_t wrapped[RSA_SIZE], struct roomkey **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r;

	r = rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE), &text);
	if (r == 0)
		r = roomkey_from_jwk(text, ret);
	return r == 0 || r == ERR_NOMEM ? r : ERR_KEY_UNWRAP_FAILED;
}

int roomkey_wrap_bytes(const struct roomkey *key, const struct rsa_key *recipient, uint8_t ret[RSA_SIZE])
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r = roomkey_get_jwk(key, &text);

	return r < 0 ? r : rsa_oaep_wrap(recipient, text, ret);
}

void roomkey_join(struct bytes kid, const uint8_t wrapped[RSA_SIZE], struct buf *b)
{
	buf_put_bytes(b, kid);
	buf_put_b64(b, BYTES(wrapped, RSA_SIZE));
}

int roomkey_wrap(const struct roomkey *key, const struct rsa_key *recipient, struct bytes kid, struct buf *b)
{
	uint8_t wrapped[RSA_SIZE];
	int r = roomkey_wrap_bytes(key, recipient, wrapped);

	if (r < 0)
		return r;
	roomkey_join(kid, wrapped, b);
	return buf_err(b);
}
