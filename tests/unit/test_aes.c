/* aes: known answers, every way a text can be damaged, and padding in all its wrong forms */
#include "crypto/aes.h"

#include <sodium.h>

#include "tests/unit/vectors.h"

static struct aes *aes;

static const uint8_t iv12[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static const uint8_t iv16[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

#define IV12 BYTES(iv12, sizeof(iv12))
#define IV16 BYTES(iv16, sizeof(iv16))

static void check_gcm(struct secret *key, struct bytes iv, struct bytes plain, struct secret *sealed)
{
	uint8_t out[128];

	CHECK_INT(aes_gcm_seal(aes, key, iv, plain, out), 0);
	CHECK_BYTES(BYTES(out, plain.n + AES_GCM_TAG), secret_bytes(sealed));
	CHECK_INT(aes_gcm_open(aes, key, iv, secret_bytes(sealed), out), 0);
	CHECK_BYTES(BYTES(out, plain.n), plain);
	secret_free(key);
	secret_free(sealed);
}

static void test_gcm_known_answers(const json_t *all)
{
	const json_t *v = vector(all, "mobile-aes-gcm-fixed-inputs");
	struct secret *iv = secret_of_hex((const char *)input(v, "iv_hex").p);
	struct secret *wrong = secret_of_hex((const char *)expected(v, "wrong_key_hex_must_fail").p);
	struct secret *sealed = secret_of_b64(expected(v, "ciphertext_and_tag_base64"));
	uint8_t out[64];

	CHECK_INT(aes_gcm_open(aes, wrong, secret_bytes(iv), secret_bytes(sealed), out), ERR_DECRYPT_FAILED);
	check_gcm(secret_of_hex((const char *)input(v, "key_hex").p), secret_bytes(iv), input(v, "plaintext"), sealed);
	/* 256-bit key, IV and text of zeros: the GCM specification's test case 14 */
	check_gcm(secret_of_hex("0000000000000000000000000000000000000000000000000000000000000000"),
		  BYTES((uint8_t[12]){ 0 }, 12), BYTES((uint8_t[16]){ 0 }, 16),
		  secret_of_hex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"));
	/* a 16-byte IV, which GCM hashes; made with Node's crypto */
	check_gcm(secret_of_hex("0707070707070707070707070707070707070707070707070707070707070707"), IV16,
		  BYTES_LIT("sixteen-byte iv"),
		  secret_of_hex("d179b6d7c2c4dfb5d83e80f334c40dded7f2b0308968e733334712db1c9129"));
	/* and back to 12 in the same context: test case 13, no text at all */
	check_gcm(secret_of_hex("0000000000000000000000000000000000000000000000000000000000000000"),
		  BYTES((uint8_t[12]){ 0 }, 12), BYTES_NONE, secret_of_hex("530f8afbc74536b9a963b4f1c4cb738b"));
	secret_free(iv);
	secret_free(wrong);
}

static void test_gcm_refuses_damage(void)
{
	struct secret *key = secret_of_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	struct secret *short_key = secret_of_hex("000102030405060708090a0b0c0d0e0f");
	uint8_t sealed[40], out[40];
	size_t refused = 0, wiped = 0;

	must(aes_gcm_seal(aes, key, IV12, BYTES_LIT("twenty-four bytes, it is"), sealed) == 0, "seal");
	for (size_t i = 0; i < sizeof(sealed); i++) {
		memset(out, 0xee, sizeof(out));
		sealed[i] ^= 0x40;
		refused += aes_gcm_open(aes, key, IV12, BYTES(sealed, 40), out) == ERR_DECRYPT_FAILED;
		wiped += sodium_is_zero(out, 24) && out[24] == 0xee;
		sealed[i] ^= 0x40;
	}
	CHECK_INT(refused, sizeof(sealed));
	CHECK_INT(wiped, sizeof(sealed));
	for (size_t n = 0; n < sizeof(sealed); n++)
		refused += aes_gcm_open(aes, key, IV12, BYTES(sealed, n), out) == ERR_DECRYPT_FAILED;
	CHECK_INT(refused, 2 * sizeof(sealed));
	CHECK_INT(aes_gcm_open(aes, short_key, IV12, BYTES(sealed, 40), out), ERR_DECRYPT_FAILED);
	CHECK_INT(aes_gcm_open(aes, key, BYTES_NONE, BYTES(sealed, 40), out), ERR_DECRYPT_FAILED);
	CHECK_INT(aes_gcm_open(aes, key, IV12, BYTES(sealed, 40), out), 0);
	CHECK_BYTES(BYTES(out, 24), BYTES_LIT("twenty-four bytes, it is"));
	secret_free(key);
	secret_free(short_key);
}

static void test_in_place_at_every_length(void)
{
	struct secret *keys[] = { secret_of_hex("000102030405060708090a0b0c0d0e0f"),
				  secret_of_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f") };
	uint8_t plain[70], apart[96], in_place[96];
	size_t good = 0, n_out;

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	for (size_t n = 0; n <= sizeof(plain); n++) {
		for (int k = 0; k < 2; k++) {
			size_t sealed_n = (n / 16 + 1) * 16;

			memcpy(in_place, plain, n);
			good += aes_cbc_seal(aes, keys[k], IV16, BYTES(plain, n), apart) == 0 &&
				aes_cbc_seal(aes, keys[k], IV16, BYTES(in_place, n), in_place) == 0 &&
				memcmp(apart, in_place, sealed_n) == 0 &&
				aes_cbc_open(aes, keys[k], IV16, BYTES(in_place, sealed_n), in_place, &n_out) == 0 &&
				n_out == n && memcmp(in_place, plain, n) == 0;
		}
		memcpy(in_place, plain, n);
		good += aes_gcm_seal(aes, keys[1], IV12, BYTES(plain, n), apart) == 0 &&
			aes_gcm_seal(aes, keys[1], IV12, BYTES(in_place, n), in_place) == 0 &&
			memcmp(apart, in_place, n + 16) == 0 &&
			aes_gcm_open(aes, keys[1], IV12, BYTES(in_place, n + 16), in_place) == 0 &&
			memcmp(in_place, plain, n) == 0;
		if (n == 35)
			aes_forget(aes); /* the next call finds contexts without a cipher */
	}
	CHECK_INT(good, 3 * (sizeof(plain) + 1));
	secret_free(keys[0]);
	secret_free(keys[1]);
}

static void test_cbc_known_answers(const json_t *all)
{
	const json_t *v = vector(all, "mobile-aes-cbc-fixed-inputs");
	struct secret *key = secret_of_hex((const char *)input(v, "key_hex").p);
	struct secret *iv = secret_of_hex((const char *)input(v, "iv_hex").p);
	struct secret *sealed = secret_of_b64(expected(v, "ciphertext_base64"));
	struct secret *nist_key = secret_of_hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
	struct secret *nist_plain = secret_of_hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
	struct secret *nist_sealed = secret_of_hex("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d");
	uint8_t out[64];
	size_t n;

	CHECK_INT(aes_cbc_seal(aes, key, secret_bytes(iv), input(v, "plaintext"), out), 0);
	CHECK_BYTES(BYTES(out, 16), secret_bytes(sealed));
	CHECK_INT(aes_cbc_open(aes, key, secret_bytes(iv), secret_bytes(sealed), out, &n), 0);
	CHECK_BYTES(BYTES(out, n), input(v, "plaintext"));
	/* NIST SP 800-38A, F.2.5: two blocks, then the padding's own */
	CHECK_INT(aes_cbc_seal(aes, nist_key, IV16, secret_bytes(nist_plain), out), 0);
	CHECK_BYTES(BYTES(out, 32), secret_bytes(nist_sealed));
	CHECK_INT(aes_cbc_open(aes, nist_key, IV16, BYTES(out, 48), out, &n), 0);
	CHECK_BYTES(BYTES(out, n), secret_bytes(nist_plain));
	secret_free(key);
	secret_free(iv);
	secret_free(sealed);
	secret_free(nist_key);
	secret_free(nist_plain);
	secret_free(nist_sealed);
}

/* Opens one block to exactly @want before the padding is looked at, by choosing the IV. */
static int open_forged(const struct secret *key, const uint8_t sealed[16], const uint8_t block[16],
		       const uint8_t want[16], uint8_t out[16], size_t *ret_n)
{
	uint8_t iv[16];

	for (size_t i = 0; i < 16; i++)
		iv[i] = (uint8_t)(iv16[i] ^ block[i] ^ want[i]);
	return aes_cbc_open(aes, key, BYTES(iv, 16), BYTES(sealed, 16), out, ret_n);
}

static void test_cbc_padding(void)
{
	struct secret *key = secret_of_hex("000102030405060708090a0b0c0d0e0f");
	uint8_t block[16] = "fifteen letters", sealed[16], want[16], out[16];
	size_t right = 0, wrong = 0, n;

	must(aes_cbc_seal(aes, key, IV16, BYTES(block, 15), sealed) == 0, "seal");
	block[15] = 1;
	for (unsigned last = 0; last < 256; last++) {
		memset(want, (int)last, sizeof(want)); /* as much padding as any value could ask for */
		memset(out, 0xee, sizeof(out));
		n = 99;
		if (last >= 1 && last <= 16)
			right += open_forged(key, sealed, block, want, out, &n) == 0 && n == 16 - last;
		else
			right += open_forged(key, sealed, block, want, out, &n) == ERR_DECRYPT_FAILED && n == 99 &&
				 sodium_is_zero(out, sizeof(out));
	}
	CHECK_INT(right, 256);
	right = 0;
	for (unsigned pad = 1; pad <= 16; pad++) {
		for (unsigned at = 0; at < 16; at++) { /* one byte that differs: within the padding, or before it */
			memset(want, (int)pad, sizeof(want));
			want[at] ^= 0x80;
			if (open_forged(key, sealed, block, want, out, &n) == 0)
				right += at < 16 - pad;
			else
				wrong += at >= 16 - pad;
		}
	}
	CHECK_INT(right, 120);
	CHECK_INT(wrong, 136);
	secret_free(key);
}

static void test_cbc_refuses_impossible_lengths(void)
{
	struct secret *key = secret_of_hex("000102030405060708090a0b0c0d0e0f");
	struct secret *odd_key = secret_of_hex("000102030405060708090a0b0c0d0e0f1011121314151617");
	uint8_t in[48] = { 0 }, out[48];
	size_t refused = 0, n;

	for (size_t len = 0; len < sizeof(in); len++)
		if (len % 16 || len == 0)
			refused += aes_cbc_open(aes, key, IV16, BYTES(in, len), out, &n) == ERR_DECRYPT_FAILED;
	CHECK_INT(refused, 46);
	CHECK_INT(aes_cbc_open(aes, odd_key, IV16, BYTES(in, 16), out, &n), ERR_DECRYPT_FAILED);
	CHECK_INT(aes_cbc_open(aes, key, IV12, BYTES(in, 16), out, &n), ERR_DECRYPT_FAILED);
	secret_free(key);
	secret_free(odd_key);
}

int main(void)
{
	json_t *all;

	test_start();
	all = vectors_load();
	must(aes_new(&aes) == 0, "aes_new");
	test_gcm_known_answers(all);
	test_gcm_refuses_damage();
	test_cbc_known_answers(all);
	test_cbc_padding();
	test_cbc_refuses_impossible_lengths();
	test_in_place_at_every_length();
	aes_free(aes);
	aes_free(NULL);
	json_decref(all);
	return test_end();
}
