/* ossl: want of memory inside libcrypto comes out as that, once, whatever libcrypto says */
#include "crypto/ossl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "tests/unit/tap.h"

#define TOO_MUCH (SIZE_MAX / 2)

static void test_no_memory(void)
{
	uint8_t *p;

	CHECK_INT(ossl_error(ERR_CRYPTO), ERR_CRYPTO);
	CHECK(OPENSSL_malloc(TOO_MUCH) == NULL);
	CHECK_INT(ossl_error(ERR_DECRYPT_FAILED), ERR_NOMEM);
	CHECK_INT(ossl_error(ERR_DECRYPT_FAILED), ERR_DECRYPT_FAILED);

	p = OPENSSL_malloc(1);
	CHECK(p != NULL);
	CHECK(OPENSSL_realloc(p, TOO_MUCH) == NULL);
	CHECK_INT(ossl_error(ERR_DECRYPT_FAILED), ERR_NOMEM);
	OPENSSL_free(p);
	CHECK_INT(ossl_error(ERR_CRYPTO), ERR_CRYPTO);
}

/* the queue of errors is emptied and never believed to be about memory when it is not */
static void test_queue(void)
{
	ERR_raise(ERR_LIB_USER, ERR_R_PASSED_NULL_PARAMETER);
	CHECK_INT(ossl_error(ERR_INVALID_KEY), ERR_INVALID_KEY);
	ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
	CHECK_INT(ossl_error(ERR_INVALID_KEY), ERR_NOMEM);
	CHECK_INT(ossl_error(ERR_INVALID_KEY), ERR_INVALID_KEY);
}

int main(void)
{
	test_start();
	test_no_memory();
	test_queue();
	return test_end();
}
