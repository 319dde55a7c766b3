/*
 * keypool - RSA key pairs made and checked beforehand, for runs under valgrind only
 *
 * There a 2048-bit key pair takes some ten seconds, and the end-to-end tests make hundreds. Preloaded, this hands out pairs from a
 * PEM file (E2EED_KEYPOOL) instead; everything else the daemon does with them is real. To see whether a pair is sound takes five
 * seconds there, and tests import the same ones time and again: what was found is noted in a file (E2EED_KEYPOOL_CHECKED), for all
 * processes, and tests/run.sh begins it with the pairs that the tests adopt. The other flavours run the same tests with making and
 * checking as they are.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
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

/* A line of the file: what the pair is, to the byte, and what checking it answered. */
struct checked {
	unsigned char digest[SHA256_DIGEST_LENGTH];
	signed char answer;
};

/* Return: false for what has no such form; then it is always checked */
static int digest_of(EVP_PKEY_CTX *ctx, unsigned char ret[SHA256_DIGEST_LENGTH])
{
	unsigned char *der = NULL;
	int n = i2d_PrivateKey(EVP_PKEY_CTX_get0_pkey(ctx), &der);

	if (n <= 0)
		return 0;
	(void)SHA256(der, (size_t)n, ret);
	OPENSSL_clear_free(der, (size_t)n);
	return 1;
}

static int look_up(const unsigned char digest[SHA256_DIGEST_LENGTH], int *answer)
{
	FILE *f = fopen(getenv("E2EED_KEYPOOL_CHECKED"), "re");
	struct checked c;
	int found = 0;

	while (f && !found && fread(&c, sizeof(c), 1, f) == 1)
		found = memcmp(c.digest, digest, sizeof(c.digest)) == 0;
	if (found)
		*answer = c.answer;
	if (f)
		(void)fclose(f);
	return found;
}

/* One write to the end, so that processes do not disturb each other; where it fails, the next one checks again. */
static void note(const unsigned char digest[SHA256_DIGEST_LENGTH], int answer)
{
	int fd = open(getenv("E2EED_KEYPOOL_CHECKED"), O_WRONLY | O_APPEND | O_CLOEXEC);
	struct checked c = { .answer = (signed char)answer };

	memcpy(c.digest, digest, sizeof(c.digest));
	if (fd < 0)
		return;
	(void)!write(fd, &c, sizeof(c));
	(void)close(fd);
}

int EVP_PKEY_check(EVP_PKEY_CTX *ctx)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	int (*real)(EVP_PKEY_CTX *);
	int known = getenv("E2EED_KEYPOOL_CHECKED") && digest_of(ctx, digest), answer;

	if (known && look_up(digest, &answer))
		return answer;
	*(void **)&real = dlsym(RTLD_NEXT, "EVP_PKEY_check");
	answer = real(ctx);
	if (known && answer >= 0)
		note(digest, answer);
	return answer;
}
