/* sha256: piece by piece as at once, whatever the pieces */
#include "crypto/sha256.h"

#include "tests/unit/vectors.h"

#define LENGTH 200 /* three blocks and a piece */

static void test_every_split(void)
{
	uint8_t text[LENGTH], want[SHA256_SIZE], got[SHA256_SIZE];
	const struct bytes all = BYTES(text, LENGTH);
	size_t right = 0;

	for (size_t i = 0; i < LENGTH; i++)
		text[i] = (uint8_t)(13 * i);
	must(kdf_sha256(&all, 1, want) == 0, "kdf_sha256");
	for (size_t cut = 0; cut <= LENGTH; cut++) {
		CLEANUP(sha256_freep) struct sha256 *h = NULL;

		must(sha256_new(&h) == 0, "sha256_new");
		must(sha256_update(h, bytes_sub(all, 0, cut)) == 0, "sha256_update");
		must(sha256_update(h, bytes_sub(all, cut, SIZE_MAX)) == 0, "sha256_update");
		must(sha256_final(h, got) == 0, "sha256_final");
		right += memcmp(got, want, SHA256_SIZE) == 0;
	}
	CHECK_INT(right, LENGTH + 1);
}

static void test_nothing(void)
{
	CLEANUP(sha256_freep) struct sha256 *h = NULL;
	CLEANUP(secret_freep)
	struct secret *want = secret_of_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	uint8_t got[SHA256_SIZE];

	CHECK_INT(sha256_new(&h), 0);
	CHECK_INT(sha256_final(h, got), 0);
	CHECK_BYTES(BYTES(got, SHA256_SIZE), secret_bytes(want));
}

int main(void)
{
	test_start();
	test_every_split();
	test_nothing();
	return test_end();
}
