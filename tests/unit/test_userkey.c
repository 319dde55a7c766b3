/* userkey: the envelopes that clients wrote, both forms of a passphrase, and what is no envelope */
#include "crypto/userkey.h"

#include "crypto/jwk.h"
#include "crypto/kdf.h"
#include "tests/unit/vectors.h"

static struct aes *aes;

/* Open, and say whether what came out is @want (or nothing, where that is NULL). */
static int open_with(struct bytes envelope, struct bytes user_id, struct bytes passphrase, const struct rsa_key *want)
{
	struct secret *pass = secret_of(passphrase);
	struct rsa_key *key = NULL;
	int r = userkey_open(aes, envelope, user_id, pass, &key);

	CHECK((r == 0) == (key != NULL));
	if (key && want)
		CHECK(rsa_is_private(key) && rsa_same_public(key, want));
	rsa_unref(key);
	secret_free(pass);
	return r;
}

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
	struct rsa_key *want = private_key(expected(v, "private_key_jwk"));

	CHECK_INT(open_with(input(v, "stored_private_key"), input(v, "user_id"), input(v, "passphrase"), want), 0);
	CHECK_INT(open_with(input(v, "stored_private_key"), input(v, "user_id"), BYTES_LIT("other"), NULL),
		  ERR_DECRYPT_FAILED);
	rsa_unref(want);
}

static void test_wrong_passphrase(const json_t *all, const char *name)
{
	const json_t *v = vector(all, name);

	CHECK_INT(open_with(input(v, "stored_private_key"), input(v, "user_id"), input(v, "passphrase"), NULL),
		  ERR_DECRYPT_FAILED);
}

/* How an envelope of our own making differs from a client's ordinary one. */
struct form {
	const char *salt;	/* NULL: left out, the user id serves */
	const char *iterations; /* as JSON text */
	size_t iv_len;
	bool cbc;
	int plain_encoded; /* how often the JWK's text is JSON-encoded again */
};

static json_t *sealed_as(const struct form *form, struct bytes jwk, struct bytes passphrase_bytes)
{
	struct secret *pass = secret_of(passphrase_bytes), *key = NULL;
	const char *salt = form->salt ? form->salt : "user";
	CLEANUP(buf_fini) struct buf plain = BUF_INIT(1 << 16), sealed = BUF_INIT(1 << 16), b64 = BUF_INIT(1 << 16);
	uint8_t iv[16] = "fifteen letters";
	json_t *o = json_object();
	uint8_t *to;

	buf_put_bytes(&plain, jwk);
	for (int i = 0; i < form->plain_encoded; i++) {
		json_t *s = json_stringn((const char *)plain.p, plain.n);
		size_t n = json_dumpb(s, NULL, 0, JSON_ENCODE_ANY);

		buf_reset(&plain);
		to = buf_room(&plain, n);
		must(to && json_dumpb(s, (char *)to, n, JSON_ENCODE_ANY) == n, "no memory");
		buf_added(&plain, n);
		json_decref(s);
	}
	must(kdf_pbkdf2(pass, bytes_str(salt), 1000, &key) == 0, "pbkdf2");
	to = buf_room(&sealed, plain.n + 16);
	must(to, "no memory");
	if (form->cbc) {
		must(aes_cbc_seal(aes, key, BYTES(iv, 16), buf_bytes(&plain), to) == 0, "seal");
		buf_added(&sealed, (plain.n / 16 + 1) * 16);
	} else {
		must(aes_gcm_seal(aes, key, BYTES(iv, form->iv_len), buf_bytes(&plain), to) == 0, "seal");
		buf_added(&sealed, plain.n + 16);
	}
	buf_put_b64(&b64, BYTES(iv, form->iv_len));
	json_object_set_new(o, "iv", json_stringn((const char *)b64.p, b64.n));
	buf_reset(&b64);
	buf_put_b64(&b64, buf_bytes(&sealed));
	json_object_set_new(o, "ciphertext", json_stringn((const char *)b64.p, b64.n));
	if (form->salt)
		json_object_set_new(o, "salt", json_string(form->salt));
	json_object_set_new(o, "iterations", json_loads(form->iterations, JSON_DECODE_ANY, NULL));
	secret_free(pass);
	secret_free(key);
	return o;
}

static int open_json(const json_t *envelope, const char *passphrase, const struct rsa_key *want)
{
	CLEANUP(buf_fini) struct buf text = BUF_INIT(1 << 20);
	size_t n = json_dumpb(envelope, NULL, 0, JSON_ENCODE_ANY);
	uint8_t *to = buf_room(&text, n);

	must(to && json_dumpb(envelope, (char *)to, n, JSON_ENCODE_ANY) == n, "no memory");
	buf_added(&text, n);
	return open_with(buf_bytes(&text), BYTES_LIT("user"), bytes_str(passphrase), want);
}

/* interop.md 8, 9, 18, 19 and the two meanings of a 16-byte IV */
static void test_forms(struct bytes jwk, const struct rsa_key *want)
{
	static const struct form forms[] = {
		{ "v2:user:mobile", "1000", 12, false, 0 },
		{ NULL, "1000", 12, false, 0 },
		{ "salt", "1000", 16, false, 0 },
		{ "salt", "1000", 16, true, 0 },
		{ "salt", "1000.0", 12, false, 0 },
		{ "salt", "1e3", 12, false, 0 },
		{ "salt", "1000", 12, false, 1 },
		{ "salt", "1000", 12, false, 4 },
		{ "s\xc3\xa4lt \\\"", "1000", 12, false, 0 },
	};
	const struct form too_often = { "salt", "1000", 12, false, 5 };
	json_t *o;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		o = sealed_as(&forms[i], jwk, BYTES_LIT("passphrase"));
		CHECK_INT(open_json(o, "passphrase", want), 0);
		CHECK_INT(open_json(o, "Passphrase", want), ERR_DECRYPT_FAILED);
		json_decref(o);
	}
	o = sealed_as(&too_often, jwk, BYTES_LIT("passphrase"));
	CHECK_INT(open_json(o, "passphrase", want), ERR_DECRYPT_FAILED);
	json_decref(o);
}

/* interop.md 17: web's bytes and mobile's */
static void test_passphrase_forms(const json_t *all, struct bytes jwk, const struct rsa_key *want)
{
	const struct form form = { "salt", "1000", 12, false, 0 };
	const json_t *above =
		json_object_get(json_object_get(vector(all, "passphrase-code-unit-above-255"), "inputs"), "texts");
	const json_t *bytes = vector(all, "passphrase-bytes-latin1");
	struct secret *latin1 = secret_of_hex((const char *)expected(bytes, "bytes_hex").p);
	json_t *o;

	o = sealed_as(&form, jwk, secret_bytes(latin1));
	CHECK_INT(open_json(o, (const char *)input(bytes, "text").p, want), 0);
	json_decref(o);
	o = sealed_as(&form, jwk, input(bytes, "text"));
	CHECK_INT(open_json(o, (const char *)input(bytes, "text").p, want), 0);
	json_decref(o);
	/* the whole range that has a form of one byte each */
	o = sealed_as(&form, jwk, BYTES_LIT("a\x80\xbf\xc0\xff"));
	CHECK_INT(open_json(o, "a\xc2\x80\xc2\xbf\xc3\x80\xc3\xbf", want), 0);
	json_decref(o);
	for (size_t i = 0; i < json_array_size(above); i++) {
		o = sealed_as(&form, jwk, text_of(json_array_get(above, i)));
		CHECK_INT(open_json(o, json_string_value(json_array_get(above, i)), want), 0);
		json_decref(o);
	}
	/* the low bytes of code units above 255 are not tried */
	o = sealed_as(&form, jwk, BYTES_LIT("Hello\x00"));
	CHECK_INT(open_json(o, "Hello\xc4\x80", want), ERR_DECRYPT_FAILED);
	json_decref(o);
	secret_free(latin1);
}

/* v1 comes as an object, encoded again, or bare */
static void test_ways_to_write_v1(const json_t *all)
{
	const json_t *v = vector(all, "web-private-key-v1");
	struct rsa_key *want = private_key(expected(v, "private_key_jwk"));
	struct bytes user = input(v, "user_id"), pass = input(v, "passphrase"), text = input(v, "stored_private_key");
	CLEANUP(buf_fini) struct buf encoded = BUF_INIT(1 << 20);
	json_t *o = NULL;

	must(json_load(text, &o) == 0, "vector");
	CHECK_INT(open_with(text_of(json_object_get(o, "$binary")), user, pass, want), 0); /* bare */
	CHECK_INT(open_with(text, BYTES_LIT("someone-else"), pass, want), ERR_DECRYPT_FAILED);

	/* interop.md 20: $binary wins, whatever else is there */
	json_object_set_new(o, "iv", json_integer(1));
	json_object_set_new(o, "ciphertext", json_string("AAAA"));
	json_object_set_new(o, "iterations", json_integer(5));
	for (int times = 0; times <= 5; times++) {
		json_t *s;
		size_t n;
		uint8_t *to;

		n = json_dumpb(o, NULL, 0, JSON_ENCODE_ANY);
		buf_reset(&encoded);
		to = buf_room(&encoded, n);
		must(to && json_dumpb(o, (char *)to, n, JSON_ENCODE_ANY) == n, "no memory");
		buf_added(&encoded, n);
		CHECK_INT(open_with(buf_bytes(&encoded), user, pass, want), times <= 4 ? 0 : ERR_MALFORMED_ENVELOPE);
		s = json_stringn((const char *)encoded.p, encoded.n);
		json_decref(o);
		o = s;
	}
	json_decref(o);
	rsa_unref(want);
}

static void test_malformed(void)
{
#define GOOD "\"iv\":\"AAAAAAAAAAAAAAAA\",\"ciphertext\":\"AAAAAAAAAAAAAAAAAAAAAAAA\""
	static const char *const texts[] = {
		"",
		"null",
		"[]",
		"12",
		"{}",
		"no base64",
		"AAAA",
		"AAAAAAAAAAAAAAAAAAAAAA==",			/* an IV alone */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* 33 bytes */
		"{\"$binary\":\"\"}",
		"{\"$binary\":null}",
		"{\"$binary\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}",
		"{\"$binary\":\"*\"," GOOD ",\"salt\":\"s\",\"iterations\":1000}",
		"{" GOOD ",\"salt\":\"s\"}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":null}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":\"1000\"}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":999}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":2000001}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":-1000}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":4294968296}", /* 2^32 + 1000 */
		"{" GOOD ",\"salt\":\"s\",\"iterations\":1000.5}",
		"{" GOOD ",\"salt\":\"s\",\"iterations\":1e300}",
		"{" GOOD ",\"salt\":null,\"iterations\":1000}",
		"{" GOOD ",\"salt\":7,\"iterations\":1000}",
		"{\"iv\":\"AAAAAAAAAAAAAAAA\",\"salt\":\"s\",\"iterations\":1000}",
		"{\"iv\":\"AAAAAAAAAAAAAAAA\",\"ciphertext\":\"AAAA\",\"salt\":\"s\",\"iterations\":1000}",
		"{\"iv\":\"AAAAAAAAAAAAAAAAAA==\",\"ciphertext\":\"AAAAAAAAAAAAAAAAAAAAAAAA\",\"salt\":\"s\",\"iterations\":1000}",
		"{\"iv\":\"AAAAAAAAAAAAAAAA\",\"ciphertext\":\"AAAAAAAAAAAAAAAAAAAAAAA*\",\"salt\":\"s\",\"iterations\":1000}",
		"{\"iv\":7,\"ciphertext\":\"AAAAAAAAAAAAAAAAAAAAAAAA\",\"salt\":\"s\",\"iterations\":1000}",
	};
	CLEANUP(buf_fini) struct buf huge = BUF_INIT(1 << 20);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK_INT(open_with(bytes_str(texts[i]), BYTES_LIT("user"), BYTES_LIT("pass"), NULL),
			  ERR_MALFORMED_ENVELOPE);
	/* well formed, only not to be opened */
	CHECK_INT(open_with(BYTES_LIT("{" GOOD ",\"salt\":\"s\",\"iterations\":1000}"), BYTES_LIT("user"),
			    BYTES_LIT("pass"), NULL),
		  ERR_DECRYPT_FAILED);
	while (huge.n < 131072)
		buf_put_str(&huge, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
	CHECK_INT(open_with(buf_bytes(&huge), BYTES_LIT("user"), BYTES_LIT("pass"), NULL), ERR_MALFORMED_ENVELOPE);
}

static void test_seal(const struct rsa_key *key)
{
	CLEANUP(buf_fini) struct buf a = BUF_INIT(1 << 16), b = BUF_INIT(1 << 16);
	struct secret *pass = secret_of(BYTES_LIT("correct horse"));
	struct bytes iv, salt;
	json_t *o = NULL;
	const char *at;

	CHECK_INT(userkey_seal(aes, key, BYTES_LIT("us\"er"), pass, &a), 0);
	CHECK_INT(open_with(buf_bytes(&a), BYTES_LIT("ignored"), BYTES_LIT("correct horse"), key), 0);
	CHECK_INT(open_with(buf_bytes(&a), BYTES_LIT("ignored"), BYTES_LIT("wrong horse"), key), ERR_DECRYPT_FAILED);
	CHECK_INT(json_load(buf_bytes(&a), &o), 0);
	CHECK_INT(json_object_size(o), 4);
	CHECK(json_member_str(o, "iv", &iv) && iv.n == 16);
	CHECK(json_member_str(o, "salt", &salt) && salt.n == 3 + 5 + 1 + 36);
	CHECK_BYTES(bytes_sub(salt, 0, 9), BYTES_LIT("v2:us\"er:"));
	CHECK_INT(json_integer_value(json_object_get(o, "iterations")), 100000);
	json_decref(o);

	buf_put_byte(&a, 0);
	at = (const char *)a.p; /* the members stand in the web client's order */
	CHECK(strncmp(at, "{\"iv\":\"", 7) == 0 && strstr(at, "\",\"ciphertext\":\"") < strstr(at, "\",\"salt\":\"") &&
	      strstr(at, "\",\"iterations\":100000}"));

	CHECK_INT(userkey_seal(aes, key, BYTES_LIT("us\"er"), pass, &b), 0);
	CHECK(memcmp(a.p, b.p, 23) != 0); /* a fresh IV each time */
	secret_free(pass);
}

int main(void)
{
	struct rsa_key *key;
	struct bytes jwk;
	json_t *all;

	test_start();
	all = vectors_load();
	must(aes_new(&aes) == 0, "aes_new");
	jwk = expected(vector(all, "web-private-key-v2"), "private_key_jwk");
	key = private_key(jwk);
	test_vector(all, "web-private-key-v1");
	test_vector(all, "web-private-key-v2");
	test_vector(all, "private-key-v1-non-ascii-latin1");
	test_vector(all, "private-key-v2-non-ascii-latin1");
	test_wrong_passphrase(all, "web-private-key-wrong-passphrase");
	test_wrong_passphrase(all, "web-private-key-v2-wrong-passphrase");
	test_forms(jwk, key);
	test_passphrase_forms(all, jwk, key);
	test_ways_to_write_v1(all);
	test_malformed();
	test_seal(key);
	rsa_unref(key);
	aes_free(aes);
	json_decref(all);
	return test_end();
}
