/* rand: random bytes are there, and ids look like crypto.randomUUID()'s */
#include "crypto/rand.h"

#include <string.h>

#include "tests/unit/tap.h"

static void test_bytes_are_written(void)
{
	uint8_t a[64] = { 0 }, seen[64] = { 0 };

	for (int round = 0; round < 16; round++) { /* that a byte stays 0 sixteen times: 2^-128 */
		rand_bytes(a, sizeof(a));
		for (size_t i = 0; i < sizeof(a); i++)
			seen[i] |= a[i];
	}
	CHECK(!memchr(seen, 0, sizeof(seen)));
}

static void test_secrets_differ(void)
{
	struct secret *a = NULL, *b = NULL;

	CHECK_INT(rand_secret(32, &a), 0);
	CHECK_INT(rand_secret(32, &b), 0);
	CHECK_INT(secret_len(a), 32);
	CHECK(!secret_equal(a, b));
	secret_free(a);
	secret_free(b);
}

static void test_uuid_has_its_shape(void)
{
	char a[UUID_SIZE], b[UUID_SIZE];
	bool shape = true;

	for (int round = 0; round < 100; round++) {
		rand_uuid(a);
		shape = shape && strlen(a) == 36 && strspn(a, "0123456789abcdef-") == 36;
		for (size_t i = 0; i < 36; i++)
			shape = shape && (a[i] == '-') == (i == 8 || i == 13 || i == 18 || i == 23);
		shape = shape && a[14] == '4' && strchr("89ab", a[19]);
	}
	CHECK(shape);
	rand_uuid(b);
	CHECK(strcmp(a, b) != 0);
}

int main(void)
{
	test_start();
	test_bytes_are_written();
	test_secrets_differ();
	test_uuid_has_its_shape();
	return test_end();
}
