/*
 * keypool - RSA key pairs made beforehand, for runs under valgrind only
 *
 * There a 2048-bit key pair takes some ten seconds, and the end-to-end tests make hundreds. Preloaded, this hands out pairs from a
 * PEM file (E2EED_KEYPOOL) instead; everything else the daemon does with them is real. The other flavours run the same tests
 * with key generation as it is.
 */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *pool;

/* Each process begins at another pair, and goes round. */
static EVP_PKEY *next_pair(void)
{
	const char *path = getenv("E2EED_KEYPOOL");
	EVP_PKEY *key = NULL;

	(void)pthread_mutex_lock(&lock);
	if (!pool && path) {
		pool = fopen(path, "re");
		for (int skip = getpid() % 16; pool && skip > 0; skip--)
			EVP_PKEY_free(PEM_read_PrivateKey(pool, NULL, NULL, NULL));
	}
	if (pool) {
		key = PEM_read_PrivateKey(pool, NULL, NULL, NULL);
		if (!key) {
			rewind(pool);
			key = PEM_read_PrivateKey(pool, NULL, NULL, NULL);
		}
	}
	(void)pthread_mutex_unlock(&lock);
	return key;
}

/* What EVP_RSA_gen() is made of. */
EVP_PKEY *EVP_PKEY_Q_keygen(OSSL_LIB_CTX *libctx, const char *propq, const char *type, ...)
{
	EVP_PKEY *(*real)(OSSL_LIB_CTX *, const char *, const char *, ...);
	EVP_PKEY *key;
	va_list ap;
	void *size; /* a number for RSA, a curve's name for EC: one register either way */

	va_start(ap, type);
	size = va_arg(ap, void *);
	va_end(ap);
	key = strcmp(type, "RSA") == 0 && size == (void *)2048 ? next_pair() : NULL;
	if (key)
		return key;
	*(void **)&real = dlsym(RTLD_NEXT, "EVP_PKEY_Q_keygen");
	return real(libctx, propq, type, size);
}
