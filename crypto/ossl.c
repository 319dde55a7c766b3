/*
 * ossl - libcrypto's start and end, its memory, and the algorithms fetched from it
 *
 * Everything libcrypto allocates comes from the arena: key schedules, big numbers and their copies included, so none of
 * it can be swapped out or dumped, and all of it is wiped when libcrypto frees it, whether or not libcrypto cleanses it
 * itself. The fetched objects are written once, before any thread starts, and only read afterwards.
 */
#include "crypto/ossl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

static struct {
	EVP_CIPHER *aes_256_gcm, *aes_128_cbc, *aes_256_cbc, *aes_256_ctr;
	EVP_MD *sha256;
	EVP_KDF *pbkdf2;
	EVP_MAC *hmac;
	EVP_MAC_CTX *hmac_sha256; /* never keyed: what new contexts are copied from */
} ossl;

/*
 * libcrypto does not always say that memory was what it lacked, least of all when it has none to say it with. A decrypt that
 * failed for want of memory must not look like a wrong key.
 */
static _Thread_local bool out_of_memory;

static void *noting(void *p)
{
	if (!p)
		out_of_memory = true;
	return p;
}

/* libcrypto expects NULL for 0 bytes: it hands such requests on to the functions set here. */
static void *ossl_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return n ? noting(arena_alloc(n)) : NULL;
}

static void ossl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p)
		arena_free(p);
}

static void *ossl_realloc(void *p, size_t n, const char *file, int line)
{
	if (!p)
		return ossl_malloc(n, file, line);
	if (n)
		return noting(arena_realloc(p, n));
	ossl_free(p, file, line);
	return NULL;
}

static int fetch(void)
{
	OSSL_PARAM digest[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
		OSSL_PARAM_construct_end(),
	};

	ossl.aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	ossl.aes_128_cbc = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
	ossl.aes_256_cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	ossl.aes_256_ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	ossl.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ossl.pbkdf2 = EVP_KDF_fetch(NULL, "PBKDF2", NULL);
	ossl.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (!ossl.aes_256_gcm || !ossl.aes_128_cbc || !ossl.aes_256_cbc || !ossl.aes_256_ctr || !ossl.sha256 ||
	    !ossl.pbkdf2 || !ossl.hmac)
		return ossl_error(ERR_CRYPTO);
	ossl.hmac_sha256 = EVP_MAC_CTX_new(ossl.hmac);
	if (!ossl.hmac_sha256 || EVP_MAC_CTX_set_params(ossl.hmac_sha256, digest) != 1)
		return ossl_error(ERR_CRYPTO);
	return 0;
}

int ossl_init(void)
{
	if (CRYPTO_set_mem_functions(ossl_malloc, ossl_realloc, ossl_free) != 1)
		return ERR_CRYPTO; /* libcrypto has memory from elsewhere already */
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) != 1)
		return ERR_CRYPTO;
	if (sodium_init() < 0)
		return ERR_CRYPTO;
	return fetch() < 0 ? ERR_CRYPTO : 0;
}

void ossl_fini(void)
{
	EVP_MAC_CTX_free(ossl.hmac_sha256);
	EVP_MAC_free(ossl.hmac);
	EVP_KDF_free(ossl.pbkdf2);
	EVP_MD_free(ossl.sha256);
	EVP_CIPHER_free(ossl.aes_256_ctr);
	EVP_CIPHER_free(ossl.aes_256_cbc);
	EVP_CIPHER_free(ossl.aes_128_cbc);
	EVP_CIPHER_free(ossl.aes_256_gcm);
	memset(&ossl, 0, sizeof(ossl));
	OPENSSL_cleanup();
}

const EVP_CIPHER *ossl_aes_256_gcm(void)
{
	return ossl.aes_256_gcm;
}

const EVP_CIPHER *ossl_aes_128_cbc(void)
{
	return ossl.aes_128_cbc;
}

const EVP_CIPHER *ossl_aes_256_cbc(void)
{
	return ossl.aes_256_cbc;
}

const EVP_CIPHER *ossl_aes_256_ctr(void)
{
	return ossl.aes_256_ctr;
}

const EVP_MD *ossl_sha256(void)
{
	return ossl.sha256;
}

EVP_KDF *ossl_pbkdf2(void)
{
	return ossl.pbkdf2;
}

EVP_MAC_CTX *ossl_hmac_sha256(void)
{
	return EVP_MAC_CTX_dup(ossl.hmac_sha256);
}

int ossl_error(int otherwise)
{
	unsigned long e;
	int r = out_of_memory ? ERR_NOMEM : otherwise;

	out_of_memory = false;
	while ((e = ERR_get_error()) != 0)
		if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
			r = ERR_NOMEM;
	return r;
}
