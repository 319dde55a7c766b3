/* jwk: what WebCrypto's importKey would take and refuse, and the exact bytes of what is written */
#include "crypto/jwk.h"

#include "tests/unit/vectors.h"

static int parse_public(struct bytes text)
{
	struct rsa_key *key = NULL;
	int r = jwk_parse_public(text, &key);

	rsa_unref(key);
	return r;
}

static int parse_private(struct bytes text)
{
	struct secret *s = secret_of(text);
	struct rsa_key *key = NULL;
	int r = jwk_parse_private(s, &key);

	rsa_unref(key);
	secret_free(s);
	return r;
}

static int parse_room(struct bytes text)
{
	struct secret *s = secret_of(text), *k = NULL;
	enum room_alg alg;
	int r = jwk_parse_room(s, &alg, &k);

	if (r == 0)
		CHECK_INT(secret_len(k), alg == ROOM_A256GCM ? 32 : 16);
	secret_free(s);
	secret_free(k);
	return r;
}

static int parse_file(struct bytes text)
{
	struct secret *k = NULL;
	int r = jwk_parse_file(text, &k);

	if (r == 0)
		CHECK_INT(secret_len(k), JWK_FILE_KEY);
	secret_free(k);
	return r;
}

/* @jwk with the member @name replaced by the JSON @value, or without it where @value is NULL; the caller frees it */
static char *changed(struct bytes jwk, const char *name, const char *value)
{
	json_t *o = json_loadb((const char *)jwk.p, jwk.n, 0, NULL);
	char *text;

	if (value)
		json_object_set_new(o, name, json_loads(value, JSON_DECODE_ANY, NULL));
	else
		json_object_del(o, name);
	text = json_dumps(o, JSON_COMPACT);
	must(text, "no memory");
	json_decref(o);
	return text;
}

static void free_text(char *text)
{
	json_malloc_t unused;
	json_free_t release;

	json_get_alloc_funcs(&unused, &release);
	release(text);
}

struct change {
	const char *name, *value; /* as changed() takes them */
	int want;
};

static void check_changes(struct bytes jwk, int (*parse)(struct bytes), const struct change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *text = changed(jwk, changes[i].name, changes[i].value);
		char what[128];

		(void)snprintf(what, sizeof(what), "%s: %.80s", changes[i].name,
			       changes[i].value ? changes[i].value : "(absent)");
		test_ok(parse(bytes_str(text)) == changes[i].want, __FILE__, __LINE__, what);
		free_text(text);
	}
}

/* Reading and writing gives the very text: the order of members of Rocket.Chat's stored keys. */
static void test_private_text_survives(const json_t *all, const char *name)
{
	const json_t *v = vector(all, name);
	struct secret *text = secret_of(expected(v, "private_key_jwk")), *again = NULL;
	CLEANUP(buf_fini) struct buf public = BUF_INIT(4096);
	struct rsa_key *key = NULL, *stored = NULL;

	CHECK_INT(jwk_parse_private(text, &key), 0);
	CHECK_INT(jwk_write_private(key, &again), 0);
	CHECK(secret_equal(text, again));
	CHECK_INT(jwk_write_public(key, &public), 0);
	CHECK_BYTES(buf_bytes(&public), input(v, "public_key"));
	CHECK_INT(jwk_parse_public(input(v, "public_key"), &stored), 0);
	CHECK(rsa_same_public(key, stored) && !rsa_is_private(stored));
	secret_free(text);
	secret_free(again);
	again = NULL;
	CHECK_INT(jwk_write_private(stored, &again), ERR_INVALID_KEY);
	rsa_unref(key);
	rsa_unref(stored);
}

static void test_mobile_export(const json_t *all)
{
	const json_t *v = vector(all, "mobile-rsa-jwk-export-known-answer");
	const json_t *want = json_object_get(json_object_get(v, "expected"), "jwk_public_part");
	struct secret *der = secret_of_pem(input(v, "private_key_pem_pkcs8"));
	CLEANUP(buf_fini) struct buf public = BUF_INIT(4096);
	struct rsa_key *key = NULL;
	json_t *got = NULL;

	CHECK_INT(rsa_from_pkcs8(der, &key), 0);
	CHECK_INT(jwk_write_public(key, &public), 0);
	CHECK_INT(json_load(buf_bytes(&public), &got), 0);
	CHECK(json_equal(json_object_get(got, "n"), json_object_get(want, "n")));
	CHECK(json_equal(json_object_get(got, "e"), json_object_get(want, "e")));
	json_decref(got);
	secret_free(der);
	rsa_unref(key);
}

static void test_thumbprint(void)
{
	/* the key and the answer of RFC 7638, 3.1 */
	const struct bytes text = BYTES_LIT(
		"{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":\"AQAB\"}");
	struct rsa_key *key = NULL;
	char got[65] = "";

	CHECK_INT(jwk_parse_public(text, &key), 0);
	CHECK_INT(jwk_thumbprint(key, got), 0);
	CHECK_BYTES(bytes_str(got), BYTES_LIT("3736cbb1787cb8309c77ee8c3705c5e16ffb9e859715901f1e4c59b11182f57b"));
	rsa_unref(key);
}

/* interop.md 7 */
static void test_public_rules(struct bytes jwk)
{
	static const struct change changes[] = {
		{ "kty", "\"oct\"", ERR_INVALID_KEY },
		{ "kty", NULL, ERR_INVALID_KEY },
		{ "alg", NULL, 0 },
		{ "alg", "\"RSA-OAEP\"", ERR_INVALID_KEY },
		{ "alg", "null", ERR_INVALID_KEY },
		{ "key_ops", NULL, 0 },
		{ "key_ops", "[\"wrapKey\",\"encrypt\"]", 0 },
		{ "key_ops", "[]", ERR_INVALID_KEY },
		{ "key_ops", "[\"decrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "[\"encrypt\",\"encrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "[\"encrypt\",1]", ERR_INVALID_KEY },
		{ "key_ops", "\"encrypt\"", ERR_INVALID_KEY },
		{ "key_ops", "null", ERR_INVALID_KEY },
		{ "use", "\"enc\"", 0 },
		{ "use", "\"sig\"", ERR_INVALID_KEY },
		{ "d", "\"AQAB\"", ERR_INVALID_KEY },
		{ "qi", "null", ERR_INVALID_KEY },
		{ "oth", "[]", ERR_INVALID_KEY },
		{ "e", "\"Aw\"", ERR_INVALID_KEY },
		{ "e", "\"AAEAAQ\"", 0 },
		{ "e", "\"AQAB=\"", ERR_INVALID_KEY },
		{ "e", NULL, ERR_INVALID_KEY },
		{ "n", NULL, ERR_INVALID_KEY },
		{ "n", "\"\"", ERR_INVALID_KEY },
		{ "n", "12345", ERR_INVALID_KEY },
		{ "n", "\"0vx7agoebGcQ\"", ERR_INVALID_KEY },
		{ "anything", "{}", 0 },
	};

	check_changes(jwk, parse_public, changes, sizeof(changes) / sizeof(changes[0]));
	CHECK_INT(parse_public(BYTES_LIT("")), ERR_INVALID_KEY);
	CHECK_INT(parse_public(BYTES_LIT("[]")), ERR_INVALID_KEY);
	CHECK_INT(parse_public(BYTES_LIT("1")), ERR_INVALID_KEY);
	CHECK_INT(parse_public(BYTES_LIT("-----BEGIN PUBLIC KEY-----")), ERR_INVALID_KEY);
}

/* interop.md 8 */
static void test_text_encoded_again(struct bytes jwk)
{
	char *text = changed(jwk, "ext", "true");

	for (int times = 0; times <= 5; times++) {
		json_t *s = json_string(text);
		char *next;

		CHECK_INT(parse_public(bytes_str(text)), times <= 4 ? 0 : ERR_INVALID_KEY);
		next = json_dumps(s, JSON_ENCODE_ANY);
		must(next, "no memory");
		free_text(text);
		text = next;
		json_decref(s);
	}
	free_text(text);
}

static void test_private_rules(struct bytes jwk)
{
	static const struct change changes[] = {
		{ "alg", NULL, 0 },
		{ "key_ops", NULL, 0 },
		{ "key_ops", "[\"encrypt\"]", ERR_INVALID_KEY },
		{ "use", "\"sig\"", ERR_INVALID_KEY },
		{ "d", NULL, ERR_INVALID_KEY },
		{ "p", NULL, ERR_INVALID_KEY },
		{ "q", NULL, ERR_INVALID_KEY },
		{ "dp", NULL, ERR_INVALID_KEY },
		{ "dq", NULL, ERR_INVALID_KEY },
		{ "qi", NULL, ERR_INVALID_KEY },
		{ "dq", "\"AQAB\"", ERR_INVALID_KEY },
		{ "oth", "[]", ERR_INVALID_KEY },
	};

	check_changes(jwk, parse_private, changes, sizeof(changes) / sizeof(changes[0]));
}

/* interop.md 7 */
static void test_room_rules(const json_t *all, struct bytes jwk)
{
	static const struct change changes[] = {
		{ "kty", "\"RSA\"", ERR_INVALID_KEY },
		{ "kty", NULL, ERR_INVALID_KEY },
		{ "alg", NULL, ERR_INVALID_KEY },
		{ "alg", "\"A256GCM\"", ERR_INVALID_KEY }, /* with 16 bytes */
		{ "alg", "\"a128cbc\"", ERR_INVALID_KEY },
		{ "ext", NULL, 0 },
		{ "ext", "1", 0 },
		{ "ext", "\"no\"", 0 },
		{ "ext", "{}", 0 },
		{ "ext", "0.5", 0 },
		{ "ext", "false", ERR_INVALID_KEY },
		{ "ext", "0", ERR_INVALID_KEY },
		{ "ext", "-0.0", ERR_INVALID_KEY },
		{ "ext", "\"\"", ERR_INVALID_KEY },
		{ "ext", "null", ERR_INVALID_KEY },
		{ "key_ops", NULL, 0 },
		{ "key_ops", "[\"decrypt\",\"other\",\"encrypt\"]", 0 },
		{ "key_ops", "[\"encrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "[\"decrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "[\"encrypt\",\"decrypt\",\"decrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "[\"encrypt\",\"decrypt\",null]", ERR_INVALID_KEY },
		{ "key_ops", "null", ERR_INVALID_KEY },
		{ "use", "\"enc\"", 0 },
		{ "use", "\"sig\"", ERR_INVALID_KEY },
		{ "k", NULL, ERR_INVALID_KEY },
		{ "k", "\"qb8In0Rpa9nwSusvxxDcbQ==\"", ERR_INVALID_KEY },
		{ "k", "\"qb8In0Rpa9nwSusvxxDcb+\"", ERR_INVALID_KEY },
		{ "k", "\"qb8In0Rpa9nwSusvxxDc\"", ERR_INVALID_KEY },
		{ "k", "\"qb8In0Rpa9nwSusvxxDcbR\"", ERR_INVALID_KEY }, /* stray bits */
	};
	const json_t *jwks =
		json_object_get(json_object_get(vector(all, "unsupported-session-key-algs"), "inputs"), "jwks");

	CHECK_INT(parse_room(jwk), 0);
	check_changes(jwk, parse_room, changes, sizeof(changes) / sizeof(changes[0]));
	CHECK_INT(json_array_size(jwks), 2);
	for (size_t i = 0; i < json_array_size(jwks); i++)
		CHECK_INT(parse_room(text_of(json_array_get(jwks, i))), ERR_INVALID_KEY);
	CHECK_INT(parse_room(BYTES_LIT("\"{}\"")), ERR_INVALID_KEY);
	CHECK_INT(parse_room(BYTES_LIT("{")), ERR_INVALID_KEY);
	/* of duplicate members the last wins, as with JSON.parse */
	CHECK_INT(parse_room(BYTES_LIT(
			  "{\"alg\":\"x\",\"kty\":\"oct\",\"k\":\"qb8In0Rpa9nwSusvxxDcbQ\",\"alg\":\"A128CBC\"}")),
		  0);
}

static void test_room_text_survives(struct bytes jwk)
{
	struct secret *text = secret_of(jwk), *k = NULL, *again = NULL;
	enum room_alg alg;

	CHECK_INT(jwk_parse_room(text, &alg, &k), 0);
	CHECK_INT(jwk_write_room(alg, k, &again), 0);
	CHECK(secret_equal(text, again));
	secret_free(text);
	secret_free(k);
	secret_free(again);
}

/* what importKey('jwk', key, 'AES-CTR', extractable, ['decrypt']) takes; tests/e2e/files.test.mjs holds WebCrypto itself against it */
static void test_file_rules(struct bytes jwk)
{
	static const struct change changes[] = {
		{ "kty", "\"RSA\"", ERR_INVALID_KEY },
		{ "kty", NULL, ERR_INVALID_KEY },
		{ "alg", NULL, 0 },
		{ "alg", "\"A128CTR\"", ERR_INVALID_KEY },
		{ "alg", "\"A256GCM\"", ERR_INVALID_KEY },
		{ "alg", "\"a256ctr\"", ERR_INVALID_KEY },
		{ "alg", "null", ERR_INVALID_KEY },
		{ "ext", NULL, 0 },
		{ "ext", "false", 0 },
		{ "key_ops", NULL, 0 },
		{ "key_ops", "[\"decrypt\"]", 0 },
		{ "key_ops", "[\"decrypt\",\"wrapKey\",\"encrypt\"]", 0 },
		{ "key_ops", "[\"encrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "[]", ERR_INVALID_KEY },
		{ "key_ops", "[\"decrypt\",\"decrypt\"]", ERR_INVALID_KEY },
		{ "key_ops", "\"decrypt\"", ERR_INVALID_KEY },
		{ "use", "\"enc\"", 0 },
		{ "use", "\"sig\"", ERR_INVALID_KEY },
		{ "kid", "\"x\"", 0 },
		{ "k", NULL, ERR_INVALID_KEY },
		{ "k", "7", ERR_INVALID_KEY },
		{ "k", "\"\"", ERR_INVALID_KEY },
		{ "k", "\"AQgPFh0kKzI5QEdOVVxjag\"", ERR_INVALID_KEY },			      /* 128 bits */
		{ "k", "\"AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o=\"", ERR_INVALID_KEY }, /* padded */
		{ "k", "\"AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09r\"", ERR_INVALID_KEY },  /* stray bits */
		{ "k", "\"AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09oA\"", ERR_INVALID_KEY }, /* 33 bytes */
	};

	CHECK_INT(parse_file(jwk), 0);
	check_changes(jwk, parse_file, changes, sizeof(changes) / sizeof(changes[0]));
	CHECK_INT(parse_file(BYTES_NONE), ERR_INVALID_KEY);
	CHECK_INT(parse_file(BYTES_LIT("{")), ERR_INVALID_KEY);
	CHECK_INT(parse_file(BYTES_LIT("[]")), ERR_INVALID_KEY);
}

/* However long the text of a caller's key is, it does not fill the arena. */
static void test_file_text_is_bounded(struct bytes jwk)
{
	for (size_t filler = 16000; filler <= 17000; filler += 1000) {
		CLEANUP(buf_fini) struct buf text = BUF_INIT(20000);

		buf_put_bytes(&text, bytes_sub(jwk, 0, jwk.n - 1));
		buf_printf(&text, ",\"x\":\"%0*d\"}", (int)filler, 0);
		CHECK_INT(parse_file(buf_bytes(&text)), filler == 16000 ? 0 : ERR_INVALID_KEY);
	}
}

static void test_file_text_survives(struct bytes jwk)
{
	CLEANUP(secret_freep) struct secret *k = NULL, *again = NULL;

	CHECK_INT(jwk_parse_file(jwk, &k), 0);
	CHECK_INT(jwk_write_file(k, &again), 0);
	CHECK_BYTES(secret_bytes(again), jwk);
}

int main(void)
{
	const json_t *gcm, *cbc, *user;
	json_t *all;

	test_start();
	all = vectors_load();
	user = vector(all, "web-private-key-v2");
	cbc = vector(all, "web-v1-message-content");
	gcm = vector(all, "web-v2-message-content");
	test_private_text_survives(all, "web-private-key-v1");
	test_private_text_survives(all, "web-private-key-v2");
	test_mobile_export(all);
	test_thumbprint();
	test_public_rules(input(user, "public_key"));
	test_text_encoded_again(input(user, "public_key"));
	test_private_rules(expected(user, "private_key_jwk"));
	test_room_rules(all, input(cbc, "session_key_jwk"));
	test_room_text_survives(input(cbc, "session_key_jwk"));
	test_room_text_survives(input(gcm, "session_key_jwk"));
	test_file_rules(input(vector(all, "file-empty"), "key_jwk"));
	test_file_text_is_bounded(input(vector(all, "file-empty"), "key_jwk"));
	test_file_text_survives(input(vector(all, "file-empty"), "key_jwk"));
	json_decref(all);
	return test_end();
}
