/* roomkey: E2EKey strings as the clients wrote them, and those that nobody may open */
#include "crypto/roomkey.h"

#include "tests/unit/vectors.h"

static struct rsa_key *private_key(struct bytes jwk)
{
	struct secret *text = secret_of(jwk);
	struct rsa_key *key = NULL;

	must(jwk_parse_private(text, &key) == 0, "private key");
	secret_free(text);
	return key;
}

static void test_vector(const json_t *all, const char *name)
{
	const json_t *v = vector(all, name);
	struct rsa_key *user = private_key(input(v, "private_key_jwk"));
	struct roomkey *key = NULL;
	struct secret *text = NULL;
	uint8_t wrapped[RSA_SIZE];
	struct bytes kid;

	CHECK_INT(roomkey_split(input(v, "e2e_key"), &kid, wrapped), 0);
	CHECK_BYTES(kid, expected(v, "kid"));
	CHECK_INT(roomkey_unwrap(user, wrapped, &key), 0);
	CHECK_INT(roomkey_get_jwk(key, &text), 0);
	CHECK_BYTES(secret_bytes(text), expected(v, "session_key_jwk"));
	secret_free(text);
	rsa_unref(user);
	roomkey_unref(key);
}

/* interop.md 11 */
static void test_other_key_pair(const json_t *all)
{
	const json_t *v = vector(all, "room-key-wrapped-for-another-key-pair");
	struct rsa_key *user = private_key(input(v, "private_key_jwk"));
	struct roomkey *key = NULL;
	uint8_t wrapped[RSA_SIZE];
	struct bytes kid;

	CHECK_INT(roomkey_split(input(v, "e2e_key"), &kid, wrapped), 0);
	CHECK_INT(roomkey_unwrap(user, wrapped, &key), ERR_KEY_UNWRAP_FAILED);
	CHECK(!key);
	rsa_unref(user);
}

static void test_split(const json_t *all)
{
	const json_t *v = vector(all, "web-prefixed-base64");
	struct secret *want = secret_of_b64(expected(v, "data_base64"));
	char text[64 + ROOMKEY_WRAPPED_LEN + 2];
	uint8_t wrapped[RSA_SIZE];
	struct bytes whole = input(v, "encoded"), prefix;

	CHECK_INT(roomkey_split(whole, &prefix, wrapped), 0);
	CHECK_BYTES(prefix, expected(v, "prefix"));
	CHECK_BYTES(BYTES(wrapped, RSA_SIZE), secret_bytes(want));
	secret_free(want);
	CHECK_INT(roomkey_split(input(vector(all, "web-prefixed-base64-too-short"), "encoded"), &prefix, wrapped),
		  ERR_MALFORMED_ENVELOPE);
	/* interop.md 2 and 3: any prefix up to 64 characters, none included */
	for (size_t n = 0; n <= 65; n++) {
		memset(text, '~', sizeof(text));
		memcpy(text + n, whole.p + 12, ROOMKEY_WRAPPED_LEN);
		if (roomkey_split(BYTES(text, n + ROOMKEY_WRAPPED_LEN), &prefix, wrapped) != 0 || prefix.n != n)
			CHECK_INT(n, 65);
	}
	CHECK_INT(roomkey_split(BYTES(whole.p, ROOMKEY_WRAPPED_LEN - 1), &prefix, wrapped), ERR_MALFORMED_ENVELOPE);
	memcpy(text, whole.p, whole.n);
	text[3] = '\n';
	CHECK_INT(roomkey_split(BYTES(text, whole.n), &prefix, wrapped), ERR_MALFORMED_ENVELOPE);
	text[3] = '3';
	text[100] = '-';
	CHECK_INT(roomkey_split(BYTES(text, whole.n), &prefix, wrapped), ERR_MALFORMED_ENVELOPE);
	memset(text, 'A', sizeof(text)); /* base64, but of 258 bytes */
	CHECK_INT(roomkey_split(BYTES(text, whole.n), &prefix, wrapped), ERR_MALFORMED_ENVELOPE);
}

/* What was wrapped may be anything; whatever it is, the answer is the same. */
static void test_wrapped_nonsense(const struct rsa_key *user)
{
	static const char *const texts[] = {
		"",
		"not JSON",
		"\"{}\"",
		"{\"alg\":\"A128GCM\",\"k\":\"qb8In0Rpa9nwSusvxxDcbQ\",\"kty\":\"oct\"}",
		"{\"alg\":\"A128CBC\",\"ext\":false,\"k\":\"qb8In0Rpa9nwSusvxxDcbQ\",\"kty\":\"oct\"}",
	};
	struct roomkey *key = NULL;
	uint8_t wrapped[RSA_SIZE];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct secret *text = secret_of(bytes_str(texts[i]));

		must(rsa_oaep_wrap(user, text, wrapped) == 0, "wrap");
		CHECK_INT(roomkey_unwrap(user, wrapped, &key), ERR_KEY_UNWRAP_FAILED);
		secret_free(text);
	}
	CHECK(!key);
}

/* interop.md 6: the text travels byte for byte, whoever's order of members it has */
static void test_wrap_keeps_the_text(const struct rsa_key *user)
{
	const struct bytes mobile = BYTES_LIT(
		"{ \"kty\":\"oct\",\"alg\":\"A128CBC\",\"k\":\"qb8In0Rpa9nwSusvxxDcbQ\",\"ext\":true,\"key_ops\":[\"decrypt\",\"encrypt\"] }");
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1024);
	struct secret *text = secret_of(mobile);
	struct roomkey *key = NULL, *again = NULL;
	uint8_t wrapped[RSA_SIZE];
	struct bytes kid;

	CHECK_INT(roomkey_from_jwk(text, &key), 0);
	CHECK_INT(roomkey_wrap(key, user, BYTES_LIT("a-kid"), &b), 0);
	CHECK_INT(b.n, 5 + ROOMKEY_WRAPPED_LEN);
	CHECK_INT(roomkey_split(buf_bytes(&b), &kid, wrapped), 0);
	CHECK_BYTES(kid, BYTES_LIT("a-kid"));
	CHECK_INT(roomkey_unwrap(user, wrapped, &again), 0);
	secret_free(text);
	CHECK_INT(roomkey_get_jwk(again, &text), 0);
	CHECK_BYTES(secret_bytes(text), mobile);
	CHECK_INT(roomkey_alg(again), ROOM_A128CBC);
	CHECK(roomkey_same(key, again));
	secret_free(text);
	roomkey_unref(key);
	roomkey_unref(again);
}

/* Texts that are nearly, but not quite, as we write them are kept as they are. */
static void test_text_is_kept(void)
{
	static const char *const texts[] = {
		"{\"alg\":\"A256GCM\",\"ext\":true,\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}",
		"{\"alg\":\"A128CBC\",\"ext\":true,\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}",
		"{\"alg\":\"A128CBC\",\"ext\":true,\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"key_ops\":[\"decrypt\",\"encrypt\"],\"kty\":\"oct\"}",
		"{\"alg\":\"A128CBC\",\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"ext\":true,\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}",
		"{\"alg\":\"A128CBC\",\"ext\":1234,\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}",
		"{\"alg\":\"A128CBC\",\"ext\":true,\"k\":\"AAECAwQFBgcICQoLDA0ODw\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"} ",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct secret *text = secret_of(bytes_str(texts[i])), *again = NULL;
		struct roomkey *key = NULL;

		CHECK_INT(roomkey_from_jwk(text, &key), 0);
		CHECK_INT(key ? roomkey_get_jwk(key, &again) : ERR_INTERNAL, 0);
		CHECK(again && secret_equal(text, again));
		secret_free(text);
		secret_free(again);
		roomkey_unref(key);
	}
}

static void test_generate(void)
{
	const struct bytes head = BYTES_LIT("{\"alg\":\"A256GCM\",\"ext\":true,\"k\":\"");
	struct roomkey *a = NULL, *b = NULL, *again = NULL;
	struct secret *jwk = NULL;
	struct bytes text;

	CHECK_INT(roomkey_generate(&a), 0);
	CHECK_INT(roomkey_generate(&b), 0);
	CHECK(!roomkey_same(a, b) && roomkey_same(a, a));
	CHECK_INT(roomkey_alg(a), ROOM_A256GCM);
	CHECK_INT(secret_len(roomkey_k(a)), 32);
	CHECK_INT(roomkey_get_jwk(a, &jwk), 0);
	text = secret_bytes(jwk);
	CHECK_BYTES(bytes_sub(text, 0, head.n), head);
	CHECK_BYTES(bytes_sub(text, head.n + 43, 200),
		    BYTES_LIT("\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}"));
	CHECK(text.n <= RSA_MAX_WRAP);
	CHECK_INT(roomkey_from_jwk(jwk, &again), 0);
	secret_free(jwk);
	CHECK(roomkey_same(a, again));
	roomkey_unref(roomkey_ref(a));
	roomkey_unref(a);
	roomkey_unref(b);
	roomkey_unref(again);
	roomkey_unref(NULL);
}

/* A text may parse and yet be too long for anyone to have wrapped it; wrapping it says so. */
static void test_text_too_long(const struct rsa_key *user)
{
	CLEANUP(buf_fini) struct buf b = BUF_INIT(1024);
	char text[300];
	struct roomkey *key = NULL;
	struct secret *s;

	(void)snprintf(text, sizeof(text), "{\"alg\":\"A128CBC\",\"k\":\"qb8In0Rpa9nwSusvxxDcbQ\",\"kty\":\"oct\"%*s}",
		       150, "");
	s = secret_of(bytes_str(text));
	CHECK_INT(roomkey_from_jwk(s, &key), 0);
	CHECK_INT(roomkey_wrap(key, user, BYTES_LIT("kid"), &b), ERR_INVALID_KEY);
	CHECK_INT(b.n, 0);
	secret_free(s);
	roomkey_unref(key);
}

int main(void)
{
	struct rsa_key *user;
	json_t *all;

	test_start();
	all = vectors_load();
	user = private_key(input(vector(all, "web-room-key-wrapped-v1"), "private_key_jwk"));
	test_vector(all, "web-room-key-wrapped-v1");
	test_vector(all, "room-key-wrapped-v2-uuid-kid");
	test_other_key_pair(all);
	test_split(all);
	test_wrapped_nonsense(user);
	test_wrap_keeps_the_text(user);
	test_text_is_kept();
	test_generate();
	test_text_too_long(user);
	rsa_unref(user);
	json_decref(all);
	return test_end();
}
