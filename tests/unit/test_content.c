/* content: real messages, what counts as opened, and envelopes that cannot be one */
#include "crypto/content.h"

#include "tests/unit/vectors.h"

#define CBC_JWK \
	"{\"alg\":\"A128CBC\",\"ext\":true,\"k\":\"qb8In0Rpa9nwSusvxxDcbQ\",\"key_ops\":[\"encrypt\",\"decrypt\"],\"kty\":\"oct\"}"

static struct aes *aes;

static struct roomkey *room_key(struct bytes jwk)
{
	struct secret *text = secret_of(jwk);
	struct roomkey *key = NULL;

	must(roomkey_from_jwk(text, &key) == 0, "room key");
	secret_free(text);
	return key;
}

/* Decode a `content` object, or a legacy string, given as JSON. */
static int decode(const json_t *content, struct content *c)
{
	const char *algorithm;

	if (json_is_string(content))
		return content_decode_v1(text_of(content), c);
	algorithm = json_string_value(json_object_get(content, "algorithm"));
	if (strcmp(algorithm, "rc.v1.aes-sha2") == 0)
		return content_decode_v1(text_of(json_object_get(content, "ciphertext")), c);
	must(strcmp(algorithm, "rc.v2.aes-sha2") == 0, "algorithm");
	return content_decode_v2(text_of(json_object_get(content, "kid")), text_of(json_object_get(content, "iv")),
				 text_of(json_object_get(content, "ciphertext")), c);
}

static void test_vector(const json_t *all, const char *name)
{
	const json_t *v = vector(all, name);
	const json_t *content = json_object_get(json_object_get(v, "inputs"), "content");
	struct roomkey *key = room_key(input(v, "session_key_jwk"));
	CLEANUP(content_fini) struct content c = { 0 };
	CLEANUP(buf_fini) struct buf plain = BUF_INIT(1 << 20);
	struct bytes json;

	CHECK_INT(decode(content, &c), 0);
	if (json_object_get(json_object_get(v, "expected"), "plaintext")) {
		if (json_object_get(json_object_get(v, "expected"), "kid"))
			CHECK_BYTES(c.kid, expected(v, "kid"));
		CHECK_INT(content_open(aes, key, &c, &plain, &json), 0);
		CHECK_BYTES(json, expected(v, "plaintext"));
	} else {
		CHECK_INT(content_open(aes, key, &c, &plain, &json), ERR_DECRYPT_FAILED);
		CHECK_INT(plain.n, 0);
	}
	roomkey_unref(key);
}

static void test_in_the_wild(const json_t *all)
{
	const json_t *v = vector(all, "in-the-wild-legacy-message-parse-only");
	struct secret *iv = secret_of_hex((const char *)expected(v, "iv_hex").p);
	CLEANUP(content_fini) struct content c = { 0 };

	CHECK_INT(content_decode_v1(input(v, "msg"), &c), 0);
	CHECK_BYTES(c.kid, expected(v, "kid"));
	CHECK_BYTES(BYTES(c.iv, c.iv_len), secret_bytes(iv));
	CHECK_INT(c.cipher.n, json_integer_value(json_object_get(json_object_get(v, "expected"), "ciphertext_length")));
	secret_free(iv);
}

static struct roomkey *unwrapped(const struct rsa_key *user, struct bytes e2ekey)
{
	uint8_t wrapped[RSA_SIZE];
	struct roomkey *key = NULL;
	struct bytes kid;

	must(roomkey_split(e2ekey, &kid, wrapped) == 0 && roomkey_unwrap(user, wrapped, &key) == 0, "E2EKey");
	return key;
}

/* interop.md 1: two keys of one kid; each opens its own message only */
static void test_key_history(const json_t *all)
{
	const json_t *v = vector(all, "key-history-same-kid"), *in = json_object_get(v, "inputs");
	struct secret *jwk = secret_of(input(v, "private_key_jwk"));
	CLEANUP(content_fini) struct content c = { 0 };
	CLEANUP(buf_fini) struct buf plain = BUF_INIT(1 << 20);
	struct roomkey *keys[2]; /* old, current */
	struct rsa_key *user = NULL;
	struct bytes json;

	must(jwk_parse_private(jwk, &user) == 0, "private key");
	keys[0] = unwrapped(
		user, text_of(json_object_get(json_array_get(json_object_get(in, "old_room_keys"), 0), "E2EKey")));
	keys[1] = unwrapped(user, input(v, "e2e_key"));
	CHECK(!roomkey_same(keys[0], keys[1]));
	for (size_t i = 0; i < 2; i++) {
		const json_t *want = json_array_get(json_object_get(json_object_get(v, "expected"), "msgs"), i);
		json_t *got = NULL;

		CHECK_INT(decode(json_array_get(json_object_get(in, "messages"), i), &c), 0);
		CHECK_BYTES(c.kid, input(v, "room_e2e_key_id"));
		CHECK_INT(content_open(aes, keys[1 - i], &c, &plain, &json), ERR_DECRYPT_FAILED);
		CHECK_INT(content_open(aes, keys[i], &c, &plain, &json), 0); /* the cipher text was kept */
		CHECK_INT(json_load(json, &got), 0);
		CHECK(json_equal(json_object_get(got, "msg"), want));
		json_decref(got);
	}
	roomkey_unref(keys[0]);
	roomkey_unref(keys[1]);
	rsa_unref(user);
	secret_free(jwk);
}

/* Encrypt any @plain with @key, and see what opening it says. */
static int opens_as(const struct roomkey *key, struct bytes plain, struct bytes want)
{
	CLEANUP(content_fini) struct content c = { .iv_len = roomkey_alg(key) == ROOM_A256GCM ? 12 : 16 };
	CLEANUP(buf_fini) struct buf out = BUF_INIT(1 << 20);
	struct bytes json = BYTES_NONE;
	uint8_t *to;
	int r;

	c.cipher = BUF_INIT(1 << 20);
	to = buf_room(&c.cipher, plain.n + 16);
	must(to, "no memory");
	if (c.iv_len == 12) {
		must(aes_gcm_seal(aes, roomkey_k(key), BYTES(c.iv, 12), plain, to) == 0, "seal");
		buf_added(&c.cipher, plain.n + 16);
	} else {
		must(aes_cbc_seal(aes, roomkey_k(key), BYTES(c.iv, 16), plain, to) == 0, "seal");
		buf_added(&c.cipher, (plain.n / 16 + 1) * 16);
	}
	r = content_open(aes, key, &c, &out, &json);
	if (r == 0)
		CHECK_BYTES(json, want);
	else
		CHECK_INT(out.n, 0);
	return r;
}

/* interop.md 15 and 25 */
static void test_what_counts_as_opened(const struct roomkey *gcm, const struct roomkey *cbc)
{
	static const struct {
		const char *plain;
		const char *json; /* NULL: refused */
	} cases[] = {
		{ "{}", "{}" },
		{ " \n{\"msg\":\"\"}\r\t", "{\"msg\":\"\"}" },
		{ "\xef\xbb\xbf{\"a\":1}", "{\"a\":1}" },
		{ "\xef\xbb\xbf\xef\xbb\xbf{\"a\":1}", NULL },
		{ "{\"m\":\"\\u0000 \\ud800\",\"n\":1e999,\"n\":2}",
		  "{\"m\":\"\\u0000 \\ud800\",\"n\":1e999,\"n\":2}" },
		{ "[]", NULL },
		{ "\"text\"", NULL },
		{ "null", NULL },
		{ "1", NULL },
		{ "", NULL },
		{ "hello", NULL },
		{ "{}{}", NULL },
		{ "{\"a\":1,}", NULL },
		{ "{\"a\":\"\x80\"}", NULL },
		{ "{\"a\":\"\xed\xa0\x80\"}", NULL },
		{ "{\"a\":\"\x01\"}", NULL },
	};
	const struct roomkey *keys[] = { gcm, cbc };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t k = 0; k < 2; k++)
			CHECK_INT(opens_as(keys[k], bytes_str(cases[i].plain),
					   cases[i].json ? bytes_str(cases[i].json) : BYTES_NONE),
				  cases[i].json ? 0 : ERR_DECRYPT_FAILED);
}

static void test_nesting(const struct roomkey *key)
{
	char deep[2 * CONTENT_MAX_DEPTH + 16];

	for (size_t arrays = CONTENT_MAX_DEPTH - 1; arrays <= CONTENT_MAX_DEPTH; arrays++) {
		struct bytes text;

		memcpy(deep, "{\"a\":", 5);
		memset(deep + 5, '[', arrays);
		memset(deep + 5 + arrays, ']', arrays);
		deep[5 + 2 * arrays] = '}';
		text = BYTES(deep, 6 + 2 * arrays);
		CHECK_INT(opens_as(key, text, text), arrays < CONTENT_MAX_DEPTH ? 0 : ERR_DECRYPT_FAILED);
	}
}

static void test_malformed_v1(const json_t *all)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{ "", ERR_MALFORMED_ENVELOPE },
		{ "32c9e7917b78", ERR_MALFORMED_ENVELOPE },
		{ "32c9e7917b78AAAA", ERR_MALFORMED_ENVELOPE },
		{ "32c9e7917b78AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE }, /* IV alone */
		{ "32c9e7917b78AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0 },  /* one block */
		{ "32c9e7917b78AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0 },   /* interop.md 26 */
		{ "32c9e7917b78AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ERR_MALFORMED_ENVELOPE }, /* 33 bytes */
		{ "32c9e7917b78AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-A=", ERR_MALFORMED_ENVELOPE },
		{ "32c9e7917b78AAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAA=", ERR_MALFORMED_ENVELOPE },
		{ "32c9e\n917b78AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ERR_MALFORMED_ENVELOPE },
	};
	const json_t *v = vector(all, "content-v1-shorter-than-kid");
	CLEANUP(content_fini) struct content c = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(content_decode_v1(bytes_str(cases[i].text), &c), cases[i].want);
	CHECK_INT(decode(json_object_get(json_object_get(v, "inputs"), "content"), &c), ERR_MALFORMED_ENVELOPE);
}

static void test_malformed_v2(void)
{
#define IV_12 "AAAAAAAAAAAAAAAA"
#define IV_16 "AAAAAAAAAAAAAAAAAAAAAA=="
	static const struct {
		const char *kid, *iv, *ciphertext;
		int want;
	} cases[] = {
		{ "kid", IV_12, "AAAAAAAAAAAAAAAAAAAAAA==", 0 }, /* a tag alone */
		{ "kid", IV_12, "AAAAAAAAAAAAAAAAAAAAAA", 0 },
		{ "kid", IV_12, "AAAAAAAAAAAAAAAAAAAAAAA=", 0 },
		{ "kid", IV_12, "AAAAAAAAAAAAAAAAAAAA", ERR_MALFORMED_ENVELOPE }, /* 15 bytes */
		{ "kid", IV_12, "", ERR_MALFORMED_ENVELOPE },
		{ "kid", IV_12, "AAAAAAAAAAAAAAAAAAAAA===", ERR_MALFORMED_ENVELOPE },
		{ "kid", IV_16, "AAAAAAAAAAAAAAAAAAAAAA==", 0 },
		{ "kid", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==", 0 },
		{ "kid", IV_16, "AAAAAAAAAAAAAAAAAAAAAAA=", ERR_MALFORMED_ENVELOPE },
		{ "kid", IV_16, "", ERR_MALFORMED_ENVELOPE },
		{ "kid", "", "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },
		{ "kid", "AAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },	   /* 11 */
		{ "kid", "AAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },	   /* 13 */
		{ "kid", "AAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE }, /* 17 */
		{ "kid", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		  "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },
		{ "kid", "AAAAAAAAAAAAAAA_", "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },
		{ "", IV_12, "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },
		{ "k\xc3\xa9", IV_12, "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },
		{ "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", IV_12,
		  "AAAAAAAAAAAAAAAAAAAAAA==", 0 },
		{ "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0", IV_12,
		  "AAAAAAAAAAAAAAAAAAAAAA==", ERR_MALFORMED_ENVELOPE },
	};
	CLEANUP(content_fini) struct content c = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(content_decode_v2(bytes_str(cases[i].kid), bytes_str(cases[i].iv),
					    bytes_str(cases[i].ciphertext), &c),
			  cases[i].want);
}

/* interop.md 13: the key's algorithm and the IV's length decide; a key that does not fit does not open */
static void test_key_that_does_not_fit(const struct roomkey *gcm, const struct roomkey *cbc)
{
	CLEANUP(content_fini) struct content c = { 0 };
	CLEANUP(buf_fini) struct buf plain = BUF_INIT(1024);
	struct bytes json;

	CHECK_INT(content_decode_v2(BYTES_LIT("kid"), BYTES_LIT(IV_12), BYTES_LIT("AAAAAAAAAAAAAAAAAAAAAA=="), &c), 0);
	CHECK_INT(content_open(aes, cbc, &c, &plain, &json), ERR_DECRYPT_FAILED);
	CHECK_INT(content_decode_v2(BYTES_LIT("kid"), BYTES_LIT(IV_16), BYTES_LIT("AAAAAAAAAAAAAAAAAAAAAA=="), &c), 0);
	CHECK_INT(content_open(aes, gcm, &c, &plain, &json), ERR_DECRYPT_FAILED);
}

/* Seal, look at the form, and open again. */
static void round_trip(const struct roomkey *key, struct bytes kid, struct bytes plain, const char *algorithm)
{
	CLEANUP(content_fini) struct content c = { 0 };
	CLEANUP(buf_fini) struct buf scratch = BUF_INIT(1 << 20), b = BUF_INIT(1 << 21), out = BUF_INIT(1 << 20);
	struct bytes json, got;
	json_t *content = NULL;

	CHECK_INT(content_seal(aes, key, kid, plain, &scratch, &b), 0);
	CHECK_INT(json_load(buf_bytes(&b), &content), 0);
	CHECK(json_member_str(content, "algorithm", &got) && bytes_eq(got, bytes_str(algorithm)));
	CHECK_INT(json_object_size(content), strcmp(algorithm, "rc.v1.aes-sha2") == 0 ? 2 : 4);
	CHECK_INT(decode(content, &c), 0);
	CHECK_BYTES(c.kid, kid);
	CHECK_INT(content_open(aes, key, &c, &out, &json), 0);
	CHECK_BYTES(json, plain);
	json_decref(content);
}

static void test_seal(const struct roomkey *gcm, const struct roomkey *cbc)
{
	const struct bytes plain = BYTES_LIT("{\"msg\":\"\\u0000 \\ud800 \xc3\xa9\",\"n\":1.00}");
	CLEANUP(buf_fini)
	struct buf scratch = BUF_INIT(64), a = BUF_INIT(1024), b = BUF_INIT(1024), big = BUF_INIT(70000);

	round_trip(gcm, BYTES_LIT("f46d2864-0384-4a87-8815-51fba2cad216"), plain, "rc.v2.aes-sha2");
	round_trip(gcm, BYTES_LIT("32c9e7917b78"), plain, "rc.v2.aes-sha2");
	round_trip(cbc, BYTES_LIT("32c9e7917b78"), plain, "rc.v1.aes-sha2");
	round_trip(cbc, BYTES_LIT("\"quoted\\kid\""), plain, "rc.v1.aes-sha2");
	round_trip(cbc, BYTES_LIT("mobile"), plain, "rc.v2.aes-sha2");
	round_trip(gcm, BYTES_LIT("\\\""), plain, "rc.v2.aes-sha2");

	buf_put_str(&big, "{\"msg\":\"");
	while (big.n < 65536)
		buf_put_str(&big, "\xf0\x9f\x94\x92");
	buf_put_str(&big, "\"}");
	round_trip(gcm, BYTES_LIT("kid"), buf_bytes(&big), "rc.v2.aes-sha2");
	round_trip(cbc, BYTES_LIT("kid"), buf_bytes(&big), "rc.v2.aes-sha2");

	CHECK_INT(content_seal(aes, gcm, BYTES_LIT("kid"), BYTES_LIT("{}"), &scratch, &a), 0);
	CHECK_INT(content_seal(aes, gcm, BYTES_LIT("kid"), BYTES_LIT("{}"), &scratch, &b), 0);
	CHECK(!bytes_eq(buf_bytes(&a), buf_bytes(&b))); /* a fresh IV each time */
	CHECK_INT(content_seal(aes, gcm, BYTES_LIT("kid"), buf_bytes(&big), &scratch, &a), ERR_TOO_LARGE);
}

int main(void)
{
	struct roomkey *gcm = NULL, *cbc;
	json_t *all;

	test_start();
	all = vectors_load();
	must(aes_new(&aes) == 0 && roomkey_generate(&gcm) == 0, "set-up");
	cbc = room_key(BYTES_LIT(CBC_JWK));
	test_vector(all, "web-v1-message-content");
	test_vector(all, "mobile-v1-message-content");
	test_vector(all, "web-v2-message-content");
	test_vector(all, "v2-envelope-with-A128CBC-key");
	test_vector(all, "v2-empty-msg");
	test_vector(all, "v2-tampered");
	test_in_the_wild(all);
	test_key_history(all);
	test_what_counts_as_opened(gcm, cbc);
	test_nesting(gcm);
	test_malformed_v1(all);
	test_malformed_v2();
	test_key_that_does_not_fit(gcm, cbc);
	test_seal(gcm, cbc);
	roomkey_unref(gcm);
	roomkey_unref(cbc);
	aes_free(aes);
	json_decref(all);
	return test_end();
}
