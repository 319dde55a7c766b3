/* rsa: wrap and unwrap, and every key that must be turned away */
#include "crypto/rsa.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "crypto/ossl.h"
#include "crypto/rand.h"
#include "tests/unit/vectors.h"

static struct rsa_key *key, *other;

static void test_known_answer(const json_t *all)
{
	const json_t *v = vector(all, "mobile-rsa-oaep-known-answer");
	struct secret *der = secret_of_pem(input(v, "private_key_pem_pkcs8"));
	struct secret *wrapped = secret_of_b64(input(v, "ciphertext_base64")), *text = NULL, *again = NULL;
	struct rsa_key *mobile = NULL;

	CHECK_INT(rsa_from_pkcs8(der, &mobile), 0);
	CHECK(rsa_is_private(mobile));
	CHECK_INT(rsa_oaep_unwrap(mobile, secret_bytes(wrapped), &text), 0);
	CHECK_BYTES(secret_bytes(text), expected(v, "plaintext"));
	CHECK_INT(rsa_to_pkcs8(mobile, &again), 0);
	CHECK(secret_equal(der, again));
	secret_free(text);
	secret_free(again);
	text = NULL;
	CHECK_INT(rsa_oaep_unwrap(key, secret_bytes(wrapped), &text), ERR_KEY_UNWRAP_FAILED);
	CHECK(!text);
	secret_free(der);
	secret_free(wrapped);
	rsa_unref(mobile);
}

static void test_wrap_and_unwrap(void)
{
	static const size_t lengths[] = { 0, 1, 111, RSA_MAX_WRAP };
	uint8_t wrapped[RSA_SIZE + 1] = { 0 };
	struct secret *text = NULL, *got = NULL;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		must(rand_secret(lengths[i], &text) == 0, "no memory");
		CHECK_INT(rsa_oaep_wrap(key, text, wrapped), 0);
		CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE), &got), 0);
		CHECK(secret_equal(text, got));
		secret_free(text);
		secret_free(got);
		got = NULL;
	}
	must(rand_secret(RSA_MAX_WRAP + 1, &text) == 0, "no memory");
	CHECK_INT(rsa_oaep_wrap(key, text, wrapped), ERR_INVALID_KEY);
	secret_free(text);

	CHECK_INT(rsa_oaep_unwrap(other, BYTES(wrapped, RSA_SIZE), &got), ERR_KEY_UNWRAP_FAILED);
	CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE - 1), &got), ERR_KEY_UNWRAP_FAILED);
	CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE + 1), &got), ERR_KEY_UNWRAP_FAILED);
	for (size_t i = 0; i < RSA_SIZE; i += 51) {
		wrapped[i] ^= 1;
		CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE), &got), ERR_KEY_UNWRAP_FAILED);
		wrapped[i] ^= 1;
	}
	memset(wrapped, 0xff, sizeof(wrapped)); /* above the modulus */
	CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE), &got), ERR_KEY_UNWRAP_FAILED);
	memset(wrapped, 0, sizeof(wrapped));
	CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, RSA_SIZE), &got), ERR_KEY_UNWRAP_FAILED);
	CHECK(!got);
}

static EVP_PKEY *to_openssl(const struct rsa_key *from)
{
	struct secret *der = NULL;
	const uint8_t *at;
	EVP_PKEY *pkey;

	must(rsa_to_pkcs8(from, &der) == 0, "pkcs8");
	at = secret_read(der);
	pkey = d2i_AutoPrivateKey(NULL, &at, (long)secret_len(der));
	must(pkey, "d2i");
	secret_free(der);
	return pkey;
}

/* interop.md 10: SHA-256 with MGF1-SHA-1 is what OpenJDK makes by default; no Rocket.Chat client reads it */
static void test_other_paddings_are_refused(void)
{
	static const struct {
		int padding;
		const char *md, *mgf1, *label;
	} cases[] = {
		{ RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA1", NULL },
		{ RSA_PKCS1_OAEP_PADDING, "SHA1", "SHA1", NULL },
		{ RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA256", "label" },
		{ RSA_PKCS1_PADDING, NULL, NULL, NULL },
	};
	EVP_PKEY *pkey = to_openssl(key);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
		uint8_t wrapped[RSA_SIZE];
		struct secret *got = NULL;
		size_t n = sizeof(wrapped);

		must(ctx && EVP_PKEY_encrypt_init(ctx) == 1 &&
			     EVP_PKEY_CTX_set_rsa_padding(ctx, cases[i].padding) == 1 &&
			     (!cases[i].md || (EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, cases[i].md, NULL) == 1 &&
					       EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, cases[i].mgf1, NULL) == 1)),
		     "parameters");
		if (cases[i].label)
			must(EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(cases[i].label),
							      (int)strlen(cases[i].label)) == 1,
			     "label");
		must(EVP_PKEY_encrypt(ctx, wrapped, &n, (const uint8_t *)"text", 4) == 1, "encrypt");
		CHECK_INT(rsa_oaep_unwrap(key, BYTES(wrapped, n), &got), ERR_KEY_UNWRAP_FAILED);
		EVP_PKEY_CTX_free(ctx);
	}
	EVP_PKEY_free(pkey);
}

static int from_openssl(EVP_PKEY *pkey)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
	uint8_t *der = NULL;
	struct rsa_key *got = NULL;
	struct secret *s;
	int n, r;

	must(info, "pkcs8");
	n = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	must(n > 0, "der");
	s = secret_of(BYTES(der, (size_t)n));
	r = rsa_from_pkcs8(s, &got);
	secret_free(s);
	rsa_unref(got);
	OPENSSL_free(der);
	PKCS8_PRIV_KEY_INFO_free(info);
	EVP_PKEY_free(pkey);
	return r;
}

/* The key as it is but for its type, the length of its modulus and its exponent; nobody looks whether the numbers fit. */
static EVP_PKEY *altered(const char *type, int bits, unsigned long e)
{
	EVP_PKEY *from = to_openssl(key), *pkey = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *params = NULL, *at_n, *at_e;
	BIGNUM *n = NULL, *exp = BN_new();

	must(ctx && EVP_PKEY_todata(from, EVP_PKEY_KEYPAIR, &params) == 1, "numbers");
	at_n = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_RSA_N);
	at_e = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_RSA_E);
	must(at_n && at_e && OSSL_PARAM_get_BN(at_n, &n) == 1 && BN_rshift(n, n, 8 * RSA_SIZE - bits) == 1 &&
		     BN_set_bit(n, 0) == 1 && OSSL_PARAM_set_BN(at_n, n) == 1 && exp && BN_set_word(exp, e) == 1 &&
		     OSSL_PARAM_set_BN(at_e, exp) == 1 && EVP_PKEY_fromdata_init(ctx) == 1 &&
		     EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) == 1 && EVP_PKEY_get_bits(pkey) == bits,
	     "altered key");
	OSSL_PARAM_free(params);
	BN_free(n);
	BN_free(exp);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(from);
	return pkey;
}

static void test_pkcs8_refuses(void)
{
	struct secret *der = NULL, *longer;
	struct rsa_key *got = NULL;
	size_t n, refused = 0;

	CHECK_INT(from_openssl(to_openssl(key)), 0);
	CHECK_INT(from_openssl(EVP_EC_gen("P-256")), ERR_INVALID_KEY);
	CHECK_INT(from_openssl(altered("RSA", 8 * RSA_SIZE, 65537)), 0);
	CHECK_INT(from_openssl(altered("RSA", 1024, 65537)), ERR_INVALID_KEY);
	CHECK_INT(from_openssl(altered("RSA", 2040, 65537)), ERR_INVALID_KEY);
	CHECK_INT(from_openssl(altered("RSA", 8 * RSA_SIZE, 3)), ERR_INVALID_KEY);
	CHECK_INT(from_openssl(altered("RSA-PSS", 8 * RSA_SIZE, 65537)), ERR_INVALID_KEY);

	must(rsa_to_pkcs8(key, &der) == 0, "pkcs8");
	n = secret_len(der);
	must(secret_new(n + 1, &longer) == 0, "no memory");
	memcpy(secret_write(longer), secret_read(der), n);
	CHECK_INT(rsa_from_pkcs8(longer, &got), ERR_INVALID_KEY);
	for (; n > 0; n -= n < 16 ? 1 : 13) {
		secret_cut(longer, n - 1);
		refused += rsa_from_pkcs8(longer, &got) == ERR_INVALID_KEY;
	}
	CHECK(refused > 90);
	CHECK(!got);
	secret_free(der);
	secret_free(longer);
}

struct numbers {
	struct secret *of[RSA_NUMBERS];
};

static void numbers_fini(struct numbers *n)
{
	for (size_t i = 0; i < RSA_NUMBERS; i++)
		secret_free(n->of[i]);
}

static int numbers_of(const struct rsa_key *from, struct numbers *n)
{
	for (int i = 0; i < RSA_NUMBERS; i++) {
		int r = rsa_get_number(from, (enum rsa_number)i, &n->of[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void test_numbers_and_back(void)
{
	CLEANUP(numbers_fini) struct numbers n = { 0 };
	struct rsa_key *again = NULL, *public = NULL;
	struct secret *none = NULL, *a = NULL, *b = NULL, *d;

	CHECK_INT(numbers_of(key, &n), 0);
	CHECK_INT(secret_len(n.of[RSA_N]), RSA_SIZE);
	CHECK_BYTES(secret_bytes(n.of[RSA_E]), BYTES_LIT("\x01\x00\x01"));
	CHECK_INT(rsa_from_numbers(n.of, &again), 0);
	CHECK(rsa_is_private(again) && rsa_same_public(again, key) && !rsa_same_public(again, other));
	CHECK_INT(rsa_to_pkcs8(key, &a), 0);
	CHECK_INT(rsa_to_pkcs8(again, &b), 0);
	CHECK(secret_equal(a, b));
	secret_free(a);
	secret_free(b);

	d = n.of[RSA_D];
	n.of[RSA_D] = NULL; /* neither public nor private */
	CHECK_INT(rsa_from_numbers(n.of, &public), ERR_INVALID_KEY);
	n.of[RSA_D] = d;
	CHECK_INT(rsa_from_numbers((struct secret *[RSA_NUMBERS]){ n.of[RSA_N], n.of[RSA_E] }, &public), 0);
	CHECK(!rsa_is_private(public) && rsa_same_public(public, key));
	CHECK_INT(rsa_get_number(public, RSA_P, &none), ERR_INVALID_KEY);
	CHECK_INT(rsa_to_pkcs8(public, &none), ERR_INVALID_KEY);
	CHECK_INT(rsa_oaep_unwrap(public, secret_bytes(n.of[RSA_N]), &none), ERR_KEY_UNWRAP_FAILED);
	CHECK(!none);
	rsa_unref(again);
	rsa_unref(public);
}

/* Each is a search for divisors, which takes five seconds under valgrind: a modulus, a factor and an exponent do there. */
static void test_each_relation_is_checked(void)
{
	struct rsa_key *got = NULL;

	for (int i = 0; i<RSA_NUMBERS; i += TEST_STEP> 1 ? 3 : 1) {
		CLEANUP(numbers_fini) struct numbers n = { 0 };
		struct secret *zero = secret_of(BYTES_NONE), *taken;

		must(numbers_of(key, &n) == 0, "numbers");
		secret_write(n.of[i])[secret_len(n.of[i]) - 1] ^= 2; /* stays odd where it was */
		CHECK_INT(rsa_from_numbers(n.of, &got), ERR_INVALID_KEY);
		secret_write(n.of[i])[secret_len(n.of[i]) - 1] ^= 2;
		taken = n.of[i];
		n.of[i] = zero;
		CHECK_INT(rsa_from_numbers(n.of, &got), ERR_INVALID_KEY);
		n.of[i] = NULL;
		CHECK_INT(rsa_from_numbers(n.of, &got), ERR_INVALID_KEY);
		n.of[i] = taken;
		CHECK_INT(rsa_from_numbers(n.of, &got), 0);
		secret_free(zero);
		rsa_unref(got);
		got = NULL;
	}
}

static int public_of(size_t bytes, uint8_t first, uint8_t last, const char *e)
{
	struct secret *n, *exp = secret_of_hex(e);
	struct rsa_key *got = NULL;
	int r;

	must(secret_new(bytes, &n) == 0, "no memory");
	memset(secret_write(n), 0x5a, bytes);
	secret_write(n)[0] = first;
	secret_write(n)[bytes - 1] = last;
	r = rsa_from_numbers((struct secret *[RSA_NUMBERS]){ n, exp }, &got);
	rsa_unref(got);
	secret_free(n);
	secret_free(exp);
	return r;
}

/* interop.md 4: 2048 bits and nothing else */
static void test_public_sizes(void)
{
	CHECK_INT(public_of(256, 0x80, 0x05, "010001"), 0);
	CHECK_INT(public_of(256, 0x7f, 0x05, "010001"), ERR_INVALID_KEY); /* 2047 bits */
	CHECK_INT(public_of(257, 0x01, 0x05, "010001"), ERR_INVALID_KEY);
	CHECK_INT(public_of(257, 0x00, 0x05, "010001"), ERR_INVALID_KEY); /* 0x5a follows: 2047 bits */
	CHECK_INT(public_of(128, 0x80, 0x05, "010001"), ERR_INVALID_KEY);
	CHECK_INT(public_of(512, 0x80, 0x05, "010001"), ERR_INVALID_KEY);
	CHECK_INT(public_of(600, 0x80, 0x05, "010001"), ERR_INVALID_KEY);
	CHECK_INT(public_of(256, 0x80, 0x02, "010001"), ERR_INVALID_KEY); /* even */
	CHECK_INT(public_of(256, 0x80, 0x01, "010001"), ERR_INVALID_KEY); /* 3 divides it */
	CHECK_INT(public_of(256, 0x80, 0xcb, "010001"), ERR_INVALID_KEY); /* 241 does, and nothing smaller */
	CHECK_INT(public_of(256, 0x80, 0x05, "03"), ERR_INVALID_KEY);
	CHECK_INT(public_of(256, 0x80, 0x05, "010003"), ERR_INVALID_KEY);
	CHECK_INT(public_of(256, 0x80, 0x05, "00010001"), 0); /* leading zeros do not change a number */
}

static void test_references(void)
{
	struct rsa_key *same = rsa_ref(other);

	rsa_unref(same);
	CHECK(rsa_is_private(other)); /* under ASan: still there */
	rsa_unref(NULL);
}

/* ---- the linker puts this between the arena and whoever wants memory of it, OpenSSL included ---- */

void *__real_arena_alloc(size_t n);
void *__wrap_arena_alloc(size_t n);

static unsigned fail_in; /* how many allocations until one fails; 0: none does */

void *__wrap_arena_alloc(size_t n)
{
	return fail_in && --fail_in == 0 ? NULL : __real_arena_alloc(n);
}

/* A good key is not called a bad one for want of memory: a keystore with it would count as damaged. */
static void test_out_of_memory(void)
{
	struct secret *der = NULL;
	unsigned n = 0, wrong = 0;
	bool failed = true;

	CHECK_INT(rsa_to_pkcs8(key, &der), 0);
	while (failed) {
		struct rsa_key *got = NULL;
		int r;

		fail_in = n += TEST_STEP;
		r = rsa_from_pkcs8(der, &got);
		failed = fail_in == 0;
		fail_in = 0;
		wrong += r == 0 ? !rsa_same_public(got, key) : r != ERR_NOMEM || got;
		rsa_unref(got);
	}
	CHECK_INT(wrong, 0);
	CHECK(n > 100);
	secret_free(der);
}

int main(void)
{
	json_t *all;

	test_start();
	all = vectors_load();
	must(rsa_generate(&key) == 0 && rsa_generate(&other) == 0, "key generation");
	test_known_answer(all);
	test_wrap_and_unwrap();
	test_other_paddings_are_refused();
	test_pkcs8_refuses();
	test_numbers_and_back();
	test_each_relation_is_checked();
	test_public_sizes();
	test_references();
	test_out_of_memory();
	rsa_unref(key);
	rsa_unref(other);
	json_decref(all);
	return test_end();
}
