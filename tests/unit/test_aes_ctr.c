/* aes_ctr: against counter blocks through plain AES, in every way a text can be cut, before, at and behind the wrap of the counter */
#include "crypto/aes_ctr.h"

#include "crypto/ossl.h"
#include "tests/unit/vectors.h"

DEFINE_FREEP(EVP_CIPHER *, evp_cipher_freep, EVP_CIPHER_free)
DEFINE_FREEP(EVP_CIPHER_CTX *, evp_cipher_ctx_freep, EVP_CIPHER_CTX_free)

#define BLOCK  16
#define LENGTH 100 /* of the texts: six blocks and a piece */

static struct secret *key;
static uint8_t text[LENGTH];

/* A key stream as Web Cryptography has it: AES of each counter block, whose low 64 bits count by themselves. */
static void reference(const uint8_t iv[BLOCK], struct bytes in, uint8_t *ret)
{
	CLEANUP(evp_cipher_freep) EVP_CIPHER *ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	CLEANUP(evp_cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t counter[BLOCK], stream[2 * BLOCK];
	int n;

	must(ctx && EVP_EncryptInit_ex2(ctx, ecb, secret_read(key), NULL, NULL) == 1, "the reference");
	memcpy(counter, iv, BLOCK);
	for (size_t i = 0; i < in.n; i++) {
		if (i % BLOCK == 0) {
			must(EVP_EncryptUpdate(ctx, stream, &n, counter, BLOCK) == 1, "the reference");
			for (int k = BLOCK - 1; k >= BLOCK / 2 && ++counter[k] == 0; k--)
				continue;
		}
		ret[i] = in.p[i] ^ stream[i % BLOCK];
	}
}

/* @text in three pieces, cut at @a and @b; the middle one where it lies. Return: whether it came out as @want. */
static bool fits(const uint8_t iv[BLOCK], size_t a, size_t b, const uint8_t want[LENGTH])
{
	CLEANUP(aes_ctr_freep) struct aes_ctr *c = NULL;
	uint8_t got[LENGTH];

	must(aes_ctr_new(key, BYTES(iv, BLOCK), &c) == 0, "aes_ctr_new");
	memcpy(got + a, text + a, b - a);
	return aes_ctr_update(c, BYTES(text, a), got) == 0 && aes_ctr_update(c, BYTES(got + a, b - a), got + a) == 0 &&
	       aes_ctr_update(c, BYTES(text + b, LENGTH - b), got + b) == 0 && memcmp(got, want, LENGTH) == 0;
}

static void test_every_split(const uint8_t iv[BLOCK])
{
	uint8_t want[LENGTH];
	size_t wrong = 0, tried = 0;

	reference(iv, BYTES(text, LENGTH), want);
	for (size_t a = 0; a <= LENGTH; a++) {
		for (size_t b = a; b <= LENGTH; b++) {
			if (tried++ % TEST_STEP == 0)
				wrong += !fits(iv, a, b, want);
		}
	}
	CHECK_INT(tried, (LENGTH + 1) * (LENGTH + 2) / 2);
	CHECK_INT(wrong, 0);
}

/* The wrap comes behind @blocks blocks, with the high half all ones, where a carry would show at once. */
static void test_wrap_behind(uint8_t blocks)
{
	uint8_t iv[BLOCK];

	memset(iv, 0xff, BLOCK);
	iv[BLOCK - 1] = (uint8_t)(0 - blocks);
	test_every_split(iv);
}

static void test_byte_by_byte(void)
{
	CLEANUP(aes_ctr_freep) struct aes_ctr *c = NULL;
	uint8_t iv[BLOCK], want[LENGTH], got[LENGTH];

	memset(iv, 0xff, BLOCK);
	reference(iv, BYTES(text, LENGTH), want);
	CHECK_INT(aes_ctr_new(key, BYTES(iv, BLOCK), &c), 0);
	for (size_t i = 0; i < LENGTH; i++) {
		must(aes_ctr_update(c, BYTES(text + i, 1), got + i) == 0, "a byte");
		must(aes_ctr_update(c, BYTES_NONE, got + i) == 0, "no byte");
	}
	CHECK_BYTES(BYTES(got, LENGTH), BYTES(want, LENGTH));
}

/* NIST SP 800-38A, F.5.5: its counter does not wrap, so all widths agree */
static void test_known_answer(void)
{
	CLEANUP(secret_freep)
	struct secret *k = secret_of_hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
	CLEANUP(secret_freep) struct secret *iv = secret_of_hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
	CLEANUP(secret_freep)
	struct secret *plain = secret_of_hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
	CLEANUP(secret_freep)
	struct secret *want = secret_of_hex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5");
	CLEANUP(aes_ctr_freep) struct aes_ctr *c = NULL;
	uint8_t got[32];

	CHECK_INT(aes_ctr_new(k, secret_bytes(iv), &c), 0);
	CHECK_INT(aes_ctr_update(c, secret_bytes(plain), got), 0);
	CHECK_BYTES(BYTES(got, sizeof(got)), secret_bytes(want));
}

int main(void)
{
	static const uint8_t plain_iv[BLOCK] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	static const uint8_t carries[BLOCK] = { [BLOCK / 2 + 1] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe };
	static const uint8_t zero[BLOCK] = { 0 };

	test_start();
	key = secret_of_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	for (size_t i = 0; i < LENGTH; i++)
		text[i] = (uint8_t)(7 * i);
	test_known_answer();
	test_every_split(plain_iv);
	test_every_split(carries);
	test_every_split(zero);
	for (uint8_t blocks = 1; blocks <= 7; blocks++)
		test_wrap_behind(blocks);
	test_byte_by_byte();
	secret_free(key);
	return test_end();
}
