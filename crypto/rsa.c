/*
 * rsa - keys as OpenSSL holds them, and nothing else
 *
 * A struct rsa_key is an EVP_PKEY that passed the checks for size and exponent, with a reference count of its own; each
 * operation makes its own context, so that threads share the key only. Numbers go in and out as BIGNUMs, which live
 * in the arena and are wiped. Whatever is wrong with a wrapped text looks the same from outside: OpenSSL checks OAEP's
 * padding in constant time, and every failure here becomes one error.
 */
#include "crypto/rsa.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "crypto/ossl.h"

#define RSA_BITS   2048
#define RSA_EXP	   65537
#define MAX_FACTOR 255

struct rsa_key {
	atomic_uint refs;
	bool is_private;
	EVP_PKEY *pkey; /* owned */
};

static const char *const number_names[RSA_NUMBERS] = {
	[RSA_N] = OSSL_PKEY_PARAM_RSA_N,	  [RSA_E] = OSSL_PKEY_PARAM_RSA_E,
	[RSA_D] = OSSL_PKEY_PARAM_RSA_D,	  [RSA_P] = OSSL_PKEY_PARAM_RSA_FACTOR1,
	[RSA_Q] = OSSL_PKEY_PARAM_RSA_FACTOR2,	  [RSA_DP] = OSSL_PKEY_PARAM_RSA_EXPONENT1,
	[RSA_DQ] = OSSL_PKEY_PARAM_RSA_EXPONENT2, [RSA_QI] = OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};

DEFINE_FREEP(PKCS8_PRIV_KEY_INFO *, pkcs8_freep, PKCS8_PRIV_KEY_INFO_free)

/* Wraps @pkey, which is taken over on success only. */
static int key_new(EVP_PKEY *pkey, bool is_private, struct rsa_key **ret)
{
	struct rsa_key *key = malloc(sizeof(*key));

	if (!key)
		return ERR_NOMEM;
	atomic_init(&key->refs, 1);
	key->is_private = is_private;
	key->pkey = pkey;
	*ret = key;
	return 0;
}

struct rsa_key *rsa_ref(struct rsa_key *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void rsa_unref(struct rsa_key *key)
{
	if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

bool rsa_is_private(const struct rsa_key *key)
{
	return key->is_private;
}

bool rsa_same_public(const struct rsa_key *a, const struct rsa_key *b)
{
	return EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

/*
 * One number of @pkey. EVP_PKEY_get_bn_param() goes through a buffer on the stack that OpenSSL 3.0 does not wipe, so
 * the number is fetched into a secret instead; parameters are in the machine's byte order, hence the BIGNUM.
 */
static int get_bn(const EVP_PKEY *pkey, const char *name, BIGNUM **ret)
{
	CLEANUP(secret_freep) struct secret *raw = NULL;
	OSSL_PARAM params[2];
	int r;

	r = secret_new(RSA_SIZE, &raw);
	if (r < 0)
		return r;
	params[0] = OSSL_PARAM_construct_BN(name, secret_write(raw), secret_len(raw));
	params[1] = OSSL_PARAM_construct_end();
	if (EVP_PKEY_get_params(pkey, params) != 1 || !OSSL_PARAM_modified(&params[0]))
		return ossl_error(ERR_INVALID_KEY);
	*ret = BN_native2bn(secret_read(raw), (int)params[0].return_size, NULL);
	return *ret ? 0 : ossl_error(ERR_NOMEM);
}

/*
 * Four of five moduli that are damaged or made up have a factor this small, as no real one has; what was wrapped for one of those,
 * more people could open than its owner. Whoever means to give a bad key away can still do so: all that helps against that is time.
 */
static bool has_small_factor(const BIGNUM *n)
{
	for (BN_ULONG d = 3; d <= MAX_FACTOR;
	     d += 2) /* some 10 us; that not all of them are prime costs less than a table */
		if (BN_mod_word(n, d) == 0)
			return true;
	return false;
}

/* Is it of the one size and exponent that occur here? */
static int check_public(const EVP_PKEY *pkey)
{
	CLEANUP(bn_freep) BIGNUM *n = NULL, *e = NULL;
	int r;

	if (EVP_PKEY_is_a(pkey, "RSA") != 1 || EVP_PKEY_get_bits(pkey) != RSA_BITS)
		return ossl_error(ERR_INVALID_KEY);
	r = get_bn(pkey, number_names[RSA_N], &n);
	if (r == 0)
		r = get_bn(pkey, number_names[RSA_E], &e);
	if (r < 0)
		return r;
	return BN_is_odd(n) && !has_small_factor(n) && BN_is_word(e, RSA_EXP) ? 0 : ERR_INVALID_KEY;
}

int rsa_generate(struct rsa_key **ret)
{
	CLEANUP(evp_pkey_freep) EVP_PKEY *pkey = EVP_RSA_gen(RSA_BITS);
	int r;

	if (!pkey)
		return ossl_error(ERR_CRYPTO);
	r = key_new(pkey, true, ret);
	if (r == 0)
		(void)TAKE(pkey); /* it is in *ret now */
	return r;
}

static int oaep_ctx(const struct rsa_key *key, bool encrypt, EVP_PKEY_CTX **ret)
{
	CLEANUP(evp_pkey_ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);

	if (!ctx || (encrypt ? EVP_PKEY_encrypt_init(ctx) : EVP_PKEY_decrypt_init(ctx)) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, ossl_sha256()) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, ossl_sha256()) != 1)
		return ossl_error(ERR_CRYPTO);
	*ret = TAKE(ctx);
	return 0;
}

int rsa_oaep_wrap(const struct rsa_key *key, const struct secret *text, uint8_t ret[RSA_SIZE])
{
	CLEANUP(evp_pkey_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
	size_t n = RSA_SIZE;
	int r;

	if (secret_len(text) > RSA_MAX_WRAP)
		return ERR_INVALID_KEY;
	r = oaep_ctx(key, true, &ctx);
	if (r < 0)
		return r;
	if (EVP_PKEY_encrypt(ctx, ret, &n, secret_read(text), secret_len(text)) != 1 || n != RSA_SIZE)
		return ossl_error(ERR_CRYPTO);
	return 0;
}

int rsa_oaep_unwrap(const struct rsa_key *key, struct bytes wrapped, struct secret **ret)
{
	CLEANUP(evp_pkey_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
	CLEANUP(secret_freep) struct secret *text = NULL;
	size_t n = RSA_SIZE;
	int r;

	if (!key->is_private || wrapped.n != RSA_SIZE)
		return ERR_KEY_UNWRAP_FAILED;
	r = secret_new(RSA_SIZE, &text); /* OpenSSL asks for room for the whole modulus */
	if (r < 0)
		return r;
	r = oaep_ctx(key, false, &ctx);
	if (r < 0)
		return r == ERR_NOMEM ? r : ERR_KEY_UNWRAP_FAILED;
	if (EVP_PKEY_decrypt(ctx, secret_write(text), &n, wrapped.p, wrapped.n) != 1)
		return ossl_error(ERR_KEY_UNWRAP_FAILED);
	secret_cut(text, n);
	*ret = TAKE(text);
	return 0;
}

int rsa_to_pkcs8(const struct rsa_key *key, struct secret **ret)
{
	CLEANUP(pkcs8_freep) PKCS8_PRIV_KEY_INFO *info = NULL;
	CLEANUP(secret_freep) struct secret *der = NULL;
	uint8_t *to;
	int r, n;

	if (!key->is_private)
		return ERR_INVALID_KEY;
	info = EVP_PKEY2PKCS8(key->pkey);
	n = info ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;
	if (n <= 0)
		return ossl_error(ERR_CRYPTO);
	r = secret_new((size_t)n, &der);
	if (r < 0)
		return r;
	to = secret_write(der);
	if (i2d_PKCS8_PRIV_KEY_INFO(info, &to) != n)
		return ossl_error(ERR_CRYPTO);
	*ret = TAKE(der);
	return 0;
}

int rsa_from_pkcs8(const struct secret *der, struct rsa_key **ret)
{
	CLEANUP(pkcs8_freep) PKCS8_PRIV_KEY_INFO *info = NULL;
	CLEANUP(evp_pkey_freep) EVP_PKEY *pkey = NULL;
	const uint8_t *at = secret_read(der), *end = at + secret_len(der);
	int r;

	if (secret_len(der) > 16 * RSA_SIZE)
		return ERR_INVALID_KEY;
	info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)secret_len(der));
	if (!info || at != end)
		return ossl_error(ERR_INVALID_KEY);
	pkey = EVP_PKCS82PKEY(info);
	if (!pkey)
		return ossl_error(ERR_INVALID_KEY);
	r = check_public(pkey);
	for (int i = RSA_D; i <= RSA_QI && r == 0; i++) { /* a key without its factors could not be written as a JWK */
		CLEANUP(bn_freep) BIGNUM *bn = NULL;

		r = get_bn(pkey, number_names[i], &bn);
		if (r == 0 && BN_is_zero(bn))
			r = ERR_INVALID_KEY;
	}
	if (r == 0)
		r = key_new(pkey, true, ret);
	if (r == 0)
		(void)TAKE(pkey); /* it is in *ret now */
	return r;
}

int rsa_get_number(const struct rsa_key *key, enum rsa_number which, struct secret **ret)
{
	CLEANUP(bn_freep) BIGNUM *bn = NULL;
	CLEANUP(secret_freep) struct secret *number = NULL;
	int r;

	if (!key->is_private && which != RSA_N && which != RSA_E)
		return ERR_INVALID_KEY;
	r = get_bn(key->pkey, number_names[which], &bn);
	if (r < 0)
		return r;
	r = secret_new((size_t)BN_num_bytes(bn), &number);
	if (r < 0)
		return r;
	(void)BN_bn2bin(bn, secret_write(number)); /* writes BN_num_bytes() bytes, cannot fail */
	*ret = TAKE(number);
	return 0;
}

/* All of @numbers that are there, as OpenSSL takes them. */
static int to_params(struct secret *const numbers[RSA_NUMBERS], OSSL_PARAM **ret)
{
	CLEANUP(ossl_param_bld_freep) OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *bn[RSA_NUMBERS] = { NULL };
	int r = bld ? 0 : ERR_NOMEM;

	for (int i = 0; i < RSA_NUMBERS && r == 0; i++) {
		if (!numbers[i])
			continue;
		bn[i] = BN_bin2bn(secret_read(numbers[i]), (int)secret_len(numbers[i]), NULL);
		if (bn[i] && (BN_is_zero(bn[i]) || BN_num_bits(bn[i]) > RSA_BITS))
			r = ERR_INVALID_KEY;
		else if (!bn[i] || OSSL_PARAM_BLD_push_BN(bld, number_names[i], bn[i]) != 1)
			r = ossl_error(ERR_NOMEM);
	}
	if (r == 0) {
		*ret = OSSL_PARAM_BLD_to_param(bld);
		if (!*ret)
			r = ossl_error(ERR_NOMEM);
	}
	for (int i = 0; i < RSA_NUMBERS; i++) /* the builder borrows them until it has built */
		BN_clear_free(bn[i]);
	return r;
}

int rsa_from_numbers(struct secret *const numbers[RSA_NUMBERS], struct rsa_key **ret)
{
	CLEANUP(ossl_param_freep) OSSL_PARAM *params = NULL;
	CLEANUP(evp_pkey_ctx_freep) EVP_PKEY_CTX *make = NULL, *check = NULL;
	CLEANUP(evp_pkey_freep) EVP_PKEY *pkey = NULL;
	bool is_private = numbers[RSA_D] != NULL;
	int r;

	for (int i = 0; i < RSA_NUMBERS; i++) {
		if (!numbers[i] && (is_private || i <= RSA_E))
			return ERR_INVALID_KEY;
		if (numbers[i] && (secret_len(numbers[i]) > 2 * RSA_SIZE || (!is_private && i > RSA_E)))
			return ERR_INVALID_KEY;
	}
	r = to_params(numbers, &params);
	if (r < 0)
		return r;
	make = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (!make || EVP_PKEY_fromdata_init(make) != 1)
		return ossl_error(ERR_NOMEM);
	if (EVP_PKEY_fromdata(make, &pkey, is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
		return ossl_error(ERR_INVALID_KEY);
	r = check_public(pkey);
	if (r < 0)
		return r;
	if (is_private) {
		check = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
		if (!check || EVP_PKEY_check(check) != 1)
			return ossl_error(ERR_INVALID_KEY);
	}
	r = key_new(pkey, is_private, ret);
	if (r == 0)
		(void)TAKE(pkey); /* it is in *ret now */
	return r;
}
