/* kdf: the published answers of FIPS 180-4, RFC 4231, RFC 7914 and the clients */
#include "crypto/kdf.h"

#include "tests/unit/vectors.h"

static void check_hash(const uint8_t got[SHA256_SIZE], const char *hex)
{
	struct secret *want = secret_of_hex(hex);

	CHECK_BYTES(BYTES(got, SHA256_SIZE), secret_bytes(want));
	secret_free(want);
}

static void test_sha256(void)
{
	const struct bytes parts[] = { BYTES_LIT("a"), BYTES_NONE, BYTES_LIT("bc") };
	uint8_t hash[SHA256_SIZE];

	CHECK_INT(kdf_sha256(parts, 3, hash), 0);
	check_hash(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CHECK_INT(kdf_sha256(NULL, 0, hash), 0);
	check_hash(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void check_hmac(struct secret *key, const struct bytes *parts, size_t n_parts, const char *hex)
{
	uint8_t mac[SHA256_SIZE];

	CHECK_INT(kdf_hmac_sha256(key, parts, n_parts, mac), 0);
	check_hash(mac, hex);
	secret_free(key);
}

static void test_hmac(void)
{
	const struct bytes hi[] = { BYTES_LIT("Hi "), BYTES_NONE, BYTES_LIT("There") };
	const struct bytes want[] = { BYTES_LIT("what do ya want for nothing?") };
	const struct bytes larger[] = { BYTES_LIT("Test Using Larger Than Block-Size Key - Hash Key First") };
	uint8_t long_key[131];

	memset(long_key, 0xaa, sizeof(long_key));
	check_hmac(secret_of_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"), hi, 3,
		   "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	check_hmac(secret_of(BYTES_LIT("Jefe")), want, 1,
		   "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	check_hmac(secret_of(BYTES(long_key, sizeof(long_key))), larger, 1,
		   "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	check_hmac(secret_of(BYTES_NONE), NULL, 0, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void check_pbkdf2(struct bytes passphrase, struct bytes salt, unsigned iterations, const char *hex)
{
	struct secret *secret = secret_of(passphrase), *key = NULL;

	CHECK_INT(kdf_pbkdf2(secret, salt, iterations, &key), 0);
	CHECK_INT(secret_len(key), SHA256_SIZE);
	check_hash(secret_read(key), hex);
	secret_free(secret);
	secret_free(key);
}

static void test_pbkdf2(const json_t *all)
{
	const json_t *mobile = vector(all, "mobile-pbkdf2-known-answer"), *web;
	struct secret *want = secret_of_b64(expected(mobile, "derived_key_base64"));
	char hex[2 * SHA256_SIZE + 1];

	hex_encode(secret_bytes(want), hex);
	check_pbkdf2(input(mobile, "password"), input(mobile, "salt"), 1000, hex);
	secret_free(want);

	check_pbkdf2(BYTES_LIT("passwd"), BYTES_LIT("salt"), 1,
		     "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
	check_pbkdf2(BYTES_NONE, BYTES_NONE, 1, "f7ce0b653d2d72a4108cf5abe912ffdd777616dbbb27a70e8204f3ae2d0f6fad");

	web = vector(all, "master-key-latin1-known-answer");
	check_pbkdf2(BYTES_LIT("p\xe4ssw\xf6rd"), input(web, "salt"), 1000,
		     (const char *)expected(web, "derived_key_hex").p);
	check_pbkdf2(input(web, "passphrase"), input(web, "salt"), 1000,
		     (const char *)expected(web, "utf8_derivation_hex_which_is_different").p);
}

int main(void)
{
	json_t *all;

	test_start();
	all = vectors_load();
	test_sha256();
	test_hmac();
	test_pbkdf2(all);
	json_decref(all);
	return test_end();
}
