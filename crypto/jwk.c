/*
 * jwk - reading is table-like checks over jansson's tree, writing is by hand
 *
 * Reading follows the steps of Web Cryptography's importKey for 'jwk' with extractable true, as Rocket.Chat's web
 * client calls it, so that a key the daemon accepts is one the other members accept. Writing puts the members in the
 * order that the client's JSON.stringify leaves on the server, into memory of exactly known size: no JSON library's
 * idea of a layout can get between.
 */
#include "crypto/jwk.h"

#include <assert.h>

#include "base/b64.h"
#include "base/json.h"
#include "crypto/kdf.h"

#define MAX_TIMES_ENCODED 4 /* how often a JWK's text may have been JSON-encoded as a string */
#define MAX_NUMBER_TEXT	  1024
#define MAX_FILE_JWK	  16384 /* bytes of text: its tree lies in the arena, and 200 suffice */
#define FILE_ALG	  "A256CTR"

static const char *const number_members[RSA_NUMBERS] = {
	[RSA_N] = "n", [RSA_E] = "e",	[RSA_D] = "d",	 [RSA_P] = "p",
	[RSA_Q] = "q", [RSA_DP] = "dp", [RSA_DQ] = "dq", [RSA_QI] = "qi",
};

struct numbers {
	struct secret *of[RSA_NUMBERS]; /* owned */
};

static void numbers_fini(struct numbers *n)
{
	for (size_t i = 0; i < RSA_NUMBERS; i++)
		secret_free(n->of[i]);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* The object in @text, which may be JSON-encoded as a string (interop.md 8). */
static int load_object(struct bytes text, bool is_secret, json_t **ret)
{
	CLEANUP(json_decrefp) json_t *v = NULL;

	for (int i = 0; i <= MAX_TIMES_ENCODED; i++) {
		json_t *inner;
		int r = is_secret ? json_load_secret(text, &inner) : json_load(text, &inner);

		if (r < 0)
			return r == ERR_NOMEM ? r : ERR_INVALID_KEY;
		json_decref(v); /* only now: @text may be a view of it */
		v = inner;
		if (json_is_object(v)) {
			*ret = TAKE(v);
			return 0;
		}
		if (!json_is_string(v))
			break;
		text = BYTES(json_string_value(v), json_string_length(v));
	}
	return ERR_INVALID_KEY;
}

/* Is the member @name the string @want, or absent where @may_lack? */
static bool member_is(const json_t *jwk, const char *name, const char *want, bool may_lack)
{
	struct bytes got;

	if (!json_object_get(jwk, name))
		return may_lack;
	return json_member_str(jwk, name, &got) && bytes_eq(got, bytes_str(want));
}

/* key_ops: absent, or an array of distinct strings with @first in it, and @second too unless NULL */
static bool key_ops_allow(const json_t *jwk, const char *first, const char *second)
{
	const json_t *ops = json_object_get(jwk, "key_ops");
	bool has_first = false, has_second = second == NULL;

	if (!ops)
		return true;
	if (!json_is_array(ops) || json_array_size(ops) > 64) /* Web Cryptography knows eight operations */
		return false;
	for (size_t i = 0; i < json_array_size(ops); i++) {
		const json_t *op = json_array_get(ops, i);
		struct bytes name;

		if (!json_is_string(op))
			return false;
		name = BYTES(json_string_value(op), json_string_length(op));
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(ops, k), op))
				return false;
		has_first = has_first || bytes_eq(name, bytes_str(first));
		has_second = has_second || (second && bytes_eq(name, bytes_str(second)));
	}
	return has_first && has_second;
}

/* `ext` absent, or true once JavaScript has made a boolean of it */
static bool ext_is_truthy(const json_t *jwk)
{
	const json_t *ext = json_object_get(jwk, "ext");

	if (!ext)
		return true;
	switch (json_typeof(ext)) {
	case JSON_STRING:
		return json_string_length(ext) > 0;
	case JSON_INTEGER:
		return json_integer_value(ext) != 0;
	case JSON_REAL:
		return json_real_value(ext) < 0 || json_real_value(ext) > 0;
	case JSON_FALSE:
	case JSON_NULL:
		return false;
	default:
		return true;
	}
}

/* The base64url member @name, as bytes. */
static int member_bytes(const json_t *jwk, const char *name, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *raw = NULL;
	struct bytes text;
	size_t n;
	int r;

	if (!json_member_str(jwk, name, &text) || text.n > MAX_NUMBER_TEXT)
		return ERR_INVALID_KEY;
	r = secret_new(B64_MAX_DECODED(text.n), &raw);
	if (r < 0)
		return r;
	if (b64url_decode(text, secret_write(raw), &n) < 0)
		return ERR_INVALID_KEY;
	secret_cut(raw, n);
	*ret = TAKE(raw);
	return 0;
}

static int parse_rsa(struct bytes text, bool is_private, struct rsa_key **ret)
{
	CLEANUP(json_decrefp) json_t *jwk = NULL;
	CLEANUP(numbers_fini) struct numbers numbers = { 0 };
	int r;

	r = load_object(text, is_private, &jwk);
	if (r < 0)
		return r;
	if (!member_is(jwk, "kty", "RSA", false) || !member_is(jwk, "alg", "RSA-OAEP-256", true) ||
	    !member_is(jwk, "use", "enc", true) || !key_ops_allow(jwk, is_private ? "decrypt" : "encrypt", NULL) ||
	    json_object_get(jwk, "oth"))
		return ERR_INVALID_KEY;
	for (size_t i = 0; i < RSA_NUMBERS; i++) {
		if (is_private || i <= RSA_E)
			r = member_bytes(jwk, number_members[i], &numbers.of[i]);
		else if (json_object_get(jwk, number_members[i])) /* somebody handed out a private key */
			r = ERR_INVALID_KEY;
		if (r < 0)
			return r;
	}
	return rsa_from_numbers(numbers.of, ret);
}

int jwk_parse_public(struct bytes text, struct rsa_key **ret)
{
	return parse_rsa(text, false, ret);
}

int jwk_parse_private(const struct secret *text, struct rsa_key **ret)
{
	return parse_rsa(secret_bytes(text), true, ret);
}

static size_t room_key_size(enum room_alg alg)
{
	return alg == ROOM_A256GCM ? 32 : 16;
}

int jwk_parse_room(const struct secret *text, enum room_alg *ret_alg, struct secret **ret_k)
{
	CLEANUP(json_decrefp) json_t *jwk = NULL;
	CLEANUP(secret_freep) struct secret *k = NULL;
	enum room_alg alg;
	int r;

	r = json_load_secret(secret_bytes(text), &jwk);
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_INVALID_KEY;
	if (!json_is_object(jwk))
		return ERR_INVALID_KEY;
	if (member_is(jwk, "alg", room_alg_name(ROOM_A256GCM), false))
		alg = ROOM_A256GCM;
	else if (member_is(jwk, "alg", room_alg_name(ROOM_A128CBC), false))
		alg = ROOM_A128CBC;
	else
		return ERR_INVALID_KEY;
	if (!member_is(jwk, "kty", "oct", false) || !member_is(jwk, "use", "enc", true) || !ext_is_truthy(jwk) ||
	    !key_ops_allow(jwk, "encrypt", "decrypt"))
		return ERR_INVALID_KEY;
	r = member_bytes(jwk, "k", &k);
	if (r < 0)
		return r;
	if (secret_len(k) != room_key_size(alg))
		return ERR_INVALID_KEY;
	*ret_alg = alg;
	*ret_k = TAKE(k);
	return 0;
}

int jwk_parse_file(struct bytes text, struct secret **ret_k)
{
	CLEANUP(json_decrefp) json_t *jwk = NULL;
	CLEANUP(secret_freep) struct secret *k = NULL;
	int r;

	if (text.n > MAX_FILE_JWK)
		return ERR_INVALID_KEY;
	r = json_load_secret(text, &jwk);
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_INVALID_KEY;
	if (!json_is_object(jwk) || !member_is(jwk, "kty", "oct", false) || !member_is(jwk, "alg", FILE_ALG, true) ||
	    !member_is(jwk, "use", "enc", true) || !key_ops_allow(jwk, "decrypt", NULL))
		return ERR_INVALID_KEY;
	r = member_bytes(jwk, "k", &k);
	if (r < 0)
		return r;
	if (secret_len(k) != JWK_FILE_KEY)
		return ERR_INVALID_KEY;
	*ret_k = TAKE(k);
	return 0;
}

const char *room_alg_name(enum room_alg alg)
{
	return alg == ROOM_A256GCM ? "A256GCM" : "A128CBC";
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* A text that grows in a secret made large enough for it; that it is, the caller has worked out. */
struct writer {
	struct secret *text; /* borrowed */
	size_t n;
};

static void put(struct writer *w, const char *s)
{
	size_t n = strlen(s);

	assert(n <= secret_len(w->text) - w->n);
	memcpy(secret_write(w->text) + w->n, s, n);
	w->n += n;
}

static void put_b64url(struct writer *w, struct bytes in)
{
	size_t n = B64URL_LEN(in.n);

	assert(n <= secret_len(w->text) - w->n);
	b64url_encode(in, (char *)secret_write(w->text) + w->n);
	w->n += n;
}

static int put_number(struct writer *w, const struct rsa_key *key, enum rsa_number which)
{
	CLEANUP(secret_freep) struct secret *number = NULL;
	int r = rsa_get_number(key, which, &number);

	if (r < 0)
		return r;
	put_b64url(w, secret_bytes(number));
	return 0;
}

int jwk_write_private(const struct rsa_key *key, struct secret **ret)
{
	/* 112 characters around the numbers, of which no one has over 256 bytes */
	const size_t max = 256 + RSA_NUMBERS * B64URL_LEN(RSA_SIZE);
	static const struct {
		const char *before;
		enum rsa_number number;
	} parts[] = {
		{ "{\"alg\":\"RSA-OAEP-256\",\"d\":\"", RSA_D },
		{ "\",\"dp\":\"", RSA_DP },
		{ "\",\"dq\":\"", RSA_DQ },
		{ "\",\"e\":\"", RSA_E },
		{ "\",\"ext\":true,\"key_ops\":[\"decrypt\"],\"kty\":\"RSA\",\"n\":\"", RSA_N },
		{ "\",\"p\":\"", RSA_P },
		{ "\",\"q\":\"", RSA_Q },
		{ "\",\"qi\":\"", RSA_QI },
	};
	CLEANUP(secret_freep) struct secret *text = NULL;
	struct writer w = { 0 };
	int r;

	if (!rsa_is_private(key))
		return ERR_INVALID_KEY;
	r = secret_new(max, &text);
	if (r < 0)
		return r;
	w.text = text;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		put(&w, parts[i].before);
		r = put_number(&w, key, parts[i].number);
		if (r < 0)
			return r;
	}
	put(&w, "\"}");
	secret_cut(text, w.n);
	*ret = TAKE(text);
	return 0;
}

/* {@before}<e>{@between}<n>"} appended to @b: both forms in which a public key is written have this shape */
static int write_public(const struct rsa_key *key, const char *before, const char *between, struct buf *b)
{
	CLEANUP(secret_freep) struct secret *e = NULL, *n = NULL;
	struct bytes parts[2];
	int r;

	r = rsa_get_number(key, RSA_E, &e);
	if (r == 0)
		r = rsa_get_number(key, RSA_N, &n);
	if (r < 0)
		return r;
	parts[0] = secret_bytes(e);
	parts[1] = secret_bytes(n);
	for (size_t i = 0; i < 2; i++) {
		uint8_t *to;

		buf_put_str(b, i == 0 ? before : between);
		to = buf_room(b, B64URL_LEN(parts[i].n));
		if (!to)
			return buf_err(b);
		b64url_encode(parts[i], (char *)to);
		buf_added(b, B64URL_LEN(parts[i].n));
	}
	buf_put_str(b, "\"}");
	return buf_err(b);
}

int jwk_write_public(const struct rsa_key *key, struct buf *b)
{
	return write_public(key, "{\"alg\":\"RSA-OAEP-256\",\"e\":\"",
			    "\",\"ext\":true,\"key_ops\":[\"encrypt\"],\"kty\":\"RSA\",\"n\":\"", b);
}

int jwk_thumbprint(const struct rsa_key *key, char ret[65])
{
	CLEANUP(buf_fini) struct buf input = BUF_INIT(1024);
	uint8_t hash[SHA256_SIZE];
	struct bytes all;
	int r;

	r = write_public(key, "{\"e\":\"", "\",\"kty\":\"RSA\",\"n\":\"", &input);
	if (r < 0)
		return r;
	all = buf_bytes(&input);
	r = kdf_sha256(&all, 1, hash);
	if (r < 0)
		return r;
	hex_encode(BYTES(hash, sizeof(hash)), ret);
	return 0;
}

#define OCT_BEFORE_ALG "{\"alg\":\""
#define OCT_BEFORE_K   "\",\"ext\":true,\"k\":\""
#define OCT_BEHIND_K   "\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}"

/* Where k stands in what write_oct() writes, and how long that is. */
static size_t oct_k_at(const char *alg)
{
	return strlen(OCT_BEFORE_ALG) + strlen(alg) + strlen(OCT_BEFORE_K);
}

static size_t oct_text_len(const char *alg, size_t key_size)
{
	return oct_k_at(alg) + B64URL_LEN(key_size) + strlen(OCT_BEHIND_K);
}

static int write_oct(const char *alg, const struct secret *k, struct secret **ret_text)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	struct writer w = { 0 };
	int r;

	r = secret_new(oct_text_len(alg, secret_len(k)), &text);
	if (r < 0)
		return r;
	w.text = text;
	put(&w, OCT_BEFORE_ALG);
	put(&w, alg);
	put(&w, OCT_BEFORE_K);
	put_b64url(&w, secret_bytes(k));
	put(&w, OCT_BEHIND_K);
	assert(w.n == secret_len(text));
	*ret_text = TAKE(text);
	return 0;
}

int jwk_write_room(enum room_alg alg, const struct secret *k, struct secret **ret_text)
{
	assert(secret_len(k) == room_key_size(alg));
	return write_oct(room_alg_name(alg), k, ret_text);
}

int jwk_write_file(const struct secret *k, struct secret **ret_text)
{
	assert(secret_len(k) == JWK_FILE_KEY);
	return write_oct(FILE_ALG, k, ret_text);
}

static int read_written(const struct secret *text, enum room_alg alg, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *k = NULL, *again = NULL;
	struct bytes coded =
		bytes_sub(secret_bytes(text), oct_k_at(room_alg_name(alg)), B64URL_LEN(room_key_size(alg)));
	size_t n;
	int r;

	if (secret_len(text) != oct_text_len(room_alg_name(alg), room_key_size(alg)))
		return ERR_NOT_FOUND;
	r = secret_new(room_key_size(alg), &k);
	if (r < 0)
		return r;
	if (b64url_decode(coded, secret_write(k), &n) < 0 || n != room_key_size(alg))
		return ERR_NOT_FOUND;
	r = jwk_write_room(alg, k, &again); /* the proof that nothing else stands in it */
	if (r < 0)
		return r;
	if (!secret_equal(text, again))
		return ERR_NOT_FOUND;
	*ret = TAKE(k);
	return 0;
}

int jwk_read_written_room(const struct secret *text, enum room_alg *ret_alg, struct secret **ret_k)
{
	static const enum room_alg algs[] = { ROOM_A256GCM, ROOM_A128CBC };
	int r = ERR_NOT_FOUND;

	for (size_t i = 0; i < 2 && r == ERR_NOT_FOUND; i++) {
		r = read_written(text, algs[i], ret_k);
		if (r == 0)
			*ret_alg = algs[i];
	}
	return r;
}
