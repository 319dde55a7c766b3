/*
 * seal_pkcs11 - the key-encryption key is random, and wrapped by an AES key that does not leave a PKCS#11 token
 *
 * Parameters, 61 bytes: version u8 = 1 | IV, 12 | AES-GCM of the KEK, 32 | tag, 16. The associated data are "e2eed".
 *
 * An RFC 7512 URI names the key, and the module that has the token. Everything is opened for one operation and closed again: the
 * seal is used at start and when slots change, and a token left logged in is one that others can use. C_Encrypt and C_Decrypt
 * are used rather than C_WrapKey, since unwrapping there would have to make a key object that can be read out.
 */
#include <assert.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "crypto/rand.h"
#include "keystore/seal.h"
#include "keystore/seal_input.h"

#define VERSION	     1u
#define IV_SIZE	     12u
#define TAG_SIZE     16u
#define WRAPPED_SIZE (SEAL_KEY_SIZE + TAG_SIZE)
#define PARAMS_SIZE  (1u + IV_SIZE + WRAPPED_SIZE)
#define MAX_PIN	     255u
#define MAX_ATTRS    8u /* of an object, in a URI: it can name id, label and class */

DEFINE_FREEP(P11KitUri *, uri_freep, p11_kit_uri_free)

struct pkcs11 {
	char *uri;	/* owned */
	char *pin_file; /* owned; "" where the token wants no PIN */
};

/* What is open during one operation. */
struct token {
	const struct pkcs11 *seal;  /* borrowed */
	struct buf *why;	    /* borrowed */
	P11KitUri *uri;		    /* owned */
	CK_FUNCTION_LIST **modules; /* all that p11-kit is configured for; owned; or */
	CK_FUNCTION_LIST *single;   /* the one that the URI names; owned */
	CK_FUNCTION_LIST *p11;	    /* the one with the token; one of these */
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_SESSION_HANDLE session; /* 0: none */
	CK_OBJECT_HANDLE key;
};

static int failed(const struct token *t, CK_RV rv, const char *doing)
{
	buf_printf(t->why, "the PKCS#11 token of %s: %s: %s", t->seal->uri, doing, p11_kit_strerror(rv));
	return rv == CKR_HOST_MEMORY ? ERR_NOMEM : ERR_SEAL;
}

static int refused(const struct token *t, const char *what)
{
	buf_printf(t->why, "%s: %s", t->seal->uri, what);
	return ERR_SEAL;
}

/* ---- the URI ---- */

static int parse_uri(struct token *t)
{
	CK_ATTRIBUTE *class;
	int r;

	t->uri = p11_kit_uri_new();
	if (!t->uri)
		return ERR_NOMEM;
	r = p11_kit_uri_parse(t->seal->uri, P11_KIT_URI_FOR_ANY, t->uri);
	if (r == P11_KIT_URI_NO_MEMORY)
		return ERR_NOMEM;
	if (r != P11_KIT_URI_OK) {
		/* not shown: what is not understood may hold anything */
		buf_printf(t->why,
			   "pkcs11_uri is not usable (%s): it must look like pkcs11:token=NAME;object=NAME"
			   "?module-path=/usr/lib/softhsm/libsofthsm2.so",
			   p11_kit_uri_message(r));
		return ERR_SEAL;
	}
	if (p11_kit_uri_get_pin_value(t->uri) || p11_kit_uri_get_pin_source(t->uri)) {
		buf_put_str(t->why,
			    "pkcs11_uri has a pin-value or pin-source: put the PIN into a private file and name that "
			    "in pkcs11_pin_file");
		return ERR_SEAL;
	}
	if (p11_kit_uri_any_unrecognized(t->uri))
		return refused(t, "the URI has a part that is not known here");
	class = p11_kit_uri_get_attribute(t->uri, CKA_CLASS);
	if (class &&
	    (class->ulValueLen != sizeof(CK_OBJECT_CLASS) || *(const CK_OBJECT_CLASS *)class->pValue != CKO_SECRET_KEY))
		return refused(t, "the URI's type must be secret-key, or left out");
	if (!p11_kit_uri_get_attribute(t->uri, CKA_LABEL) && !p11_kit_uri_get_attribute(t->uri, CKA_ID))
		return refused(t, "the URI names no key: it must have an object (the key's label) or an id");
	return 0;
}

/* ---- module and token ---- */

static int load_modules(struct token *t)
{
	const char *path = p11_kit_uri_get_module_path(t->uri);
	CK_RV rv;

	if (!path) {
		t->modules = p11_kit_modules_load_and_initialize(0);
		return t->modules
			       ? 0
			       : refused(t,
					 "the PKCS#11 modules that p11-kit is configured for cannot be loaded; name the "
					 "token's with ?module-path=");
	}
	if (path[0] != '/')
		return refused(t, "module-path must be an absolute path");
	t->single = p11_kit_module_load(path, 0);
	if (!t->single) {
		const char *message = p11_kit_message();

		buf_printf(t->why, "the PKCS#11 module %s cannot be loaded: %s", path,
			   message ? message : "it is no such module");
		return ERR_SEAL;
	}
	rv = p11_kit_module_initialize(t->single);
	if (rv != CKR_OK) {
		p11_kit_module_release(TAKE(t->single));
		buf_printf(t->why, "the PKCS#11 module %s cannot be started: %s", path, p11_kit_strerror(rv));
		return ERR_SEAL;
	}
	return 0;
}

/* Looks at all slots of @p11. @found: how many tokens fit so far; the first is kept. */
static int look_in(struct token *t, CK_FUNCTION_LIST *p11, size_t *found)
{
	CK_SLOT_ID slots[64];
	CK_ULONG n = sizeof(slots) / sizeof(slots[0]);
	CK_TOKEN_INFO info;
	CK_SLOT_INFO slot_info;
	CK_INFO module_info;
	CK_RV rv;

	rv = p11->C_GetInfo(&module_info);
	if (rv != CKR_OK)
		return failed(t, rv, "asking what the module is");
	if (!p11_kit_uri_match_module_info(t->uri, &module_info))
		return 0;
	rv = p11->C_GetSlotList(CK_TRUE, slots, &n);
	if (rv != CKR_OK)
		return failed(t, rv, "asking for the tokens that are there");
	for (CK_ULONG i = 0; i < n; i++) {
		/* one that goes just now is not there; nor is one that was not set up yet */
		if (p11->C_GetSlotInfo(slots[i], &slot_info) != CKR_OK ||
		    p11->C_GetTokenInfo(slots[i], &info) != CKR_OK || !(info.flags & CKF_TOKEN_INITIALIZED))
			continue;
		if (!p11_kit_uri_match_slot_info(t->uri, &slot_info) || !p11_kit_uri_match_token_info(t->uri, &info) ||
		    (p11_kit_uri_get_slot_id(t->uri) != (CK_SLOT_ID)-1 && p11_kit_uri_get_slot_id(t->uri) != slots[i]))
			continue;
		if ((*found)++ == 0) {
			t->p11 = p11;
			t->slot = slots[i];
			t->info = info;
		}
	}
	return 0;
}

static int find_token(struct token *t)
{
	size_t found = 0;
	int r = 0;

	if (t->single)
		r = look_in(t, t->single, &found);
	for (size_t i = 0; r == 0 && t->modules && t->modules[i]; i++)
		r = look_in(t, t->modules[i], &found);
	if (r < 0)
		return r;
	if (found == 0)
		return refused(
			t, "no such token is there: is it plugged in and set up, and may the daemon's user use it?");
	if (found > 1)
		return refused(t, "several tokens fit: name one by its serial");
	return 0;
}

static int check_mechanism(struct token *t)
{
	CK_MECHANISM_INFO info = { 0 };
	CK_RV rv = t->p11->C_GetMechanismInfo(t->slot, CKM_AES_GCM, &info);

	if (rv == CKR_MECHANISM_INVALID ||
	    (rv == CKR_OK && (info.flags & (CKF_ENCRYPT | CKF_DECRYPT)) != (CKF_ENCRYPT | CKF_DECRYPT)))
		return refused(
			t,
			"the token does not offer AES-GCM (CKM_AES_GCM to encrypt and decrypt), which this seal needs");
	return rv == CKR_OK ? 0 : failed(t, rv, "asking for AES-GCM");
}

/* ---- session and key ---- */

static int login_failed(const struct token *t, CK_RV rv)
{
	switch (rv) {
	case CKR_PIN_INCORRECT:
	case CKR_PIN_INVALID:
	case CKR_PIN_LEN_RANGE:
		buf_printf(
			t->why,
			"the token of %s refuses the PIN in %s; it was tried once. Do not try again before it is corrected: "
			"after a few wrong ones the token locks itself",
			t->seal->uri, t->seal->pin_file);
		return ERR_SEAL;
	case CKR_PIN_LOCKED:
		return refused(t, "the token has locked itself after wrong PINs; unlock it with its own tools");
	case CKR_PIN_EXPIRED:
		return refused(t, "the token's PIN has expired; set a new one with its own tools");
	case CKR_USER_PIN_NOT_INITIALIZED:
		return refused(t, "the token has no user PIN yet; set one with its own tools");
	default:
		return failed(t, rv, "logging in");
	}
}

static int login(struct token *t)
{
	CLEANUP(secret_freep) struct secret *pin = NULL;
	CK_RV rv;
	int r;

	if (!(t->info.flags & CKF_LOGIN_REQUIRED))
		return 0;
	if (!t->seal->pin_file[0])
		return refused(t, "the token wants a PIN; name a private file that holds it in pkcs11_pin_file");
	if (t->info.flags & CKF_USER_PIN_FINAL_TRY)
		return refused(
			t,
			"one more wrong PIN would lock the token, so none was tried; log in with its own tools first");
	r = seal_input_read(t->seal->pin_file, "PIN file", MAX_PIN + 1, t->why, &pin);
	if (r < 0)
		return r;
	seal_input_line(pin);
	if (secret_len(pin) == 0 || secret_len(pin) > MAX_PIN) { /* none at all would ask at the token's own keys */
		buf_printf(t->why, "the PIN file %s holds %zu bytes; a PIN has 1 to %u", t->seal->pin_file,
			   secret_len(pin), MAX_PIN);
		return ERR_SEAL;
	}
	rv = t->p11->C_Login(t->session, CKU_USER, secret_write(pin), secret_len(pin));
	return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN ? 0 : login_failed(t, rv);
}

static int open_session(struct token *t)
{
	CK_RV rv = t->p11->C_OpenSession(t->slot, CKF_SERIAL_SESSION, NULL, NULL, &t->session);

	if (rv != CKR_OK) {
		t->session = 0;
		return failed(t, rv, "opening a session");
	}
	return login(t);
}

static int find_key(struct token *t)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE want[2 + MAX_ATTRS] = { { CKA_CLASS, &class, sizeof(class) },
					     { CKA_KEY_TYPE, &type, sizeof(type) } };
	CK_OBJECT_HANDLE keys[2];
	CK_ULONG n_want = 2, n_given, n = 0;
	const CK_ATTRIBUTE *given = p11_kit_uri_get_attributes(t->uri, &n_given);
	CK_RV rv;

	for (CK_ULONG i = 0; i < n_given; i++) {
		if (given[i].type == CKA_CLASS) /* checked with the URI */
			continue;
		if (n_want == sizeof(want) / sizeof(want[0]))
			return refused(t, "the URI says too much about the key");
		want[n_want++] = given[i];
	}
	rv = t->p11->C_FindObjectsInit(t->session, want, n_want);
	if (rv == CKR_OK) {
		rv = t->p11->C_FindObjects(t->session, keys, 2, &n);
		(void)t->p11->C_FindObjectsFinal(t->session); /* the search is over either way */
	}
	if (rv != CKR_OK)
		return failed(t, rv, "looking for the key");
	if (n == 0)
		return refused(t, "the token has no such AES key");
	if (n > 1)
		return refused(t, "several AES keys of the token fit: name one by its id");
	t->key = keys[0];
	return 0;
}

static int open_token(struct token *t)
{
	int r = parse_uri(t);

	if (r == 0)
		r = load_modules(t);
	if (r == 0)
		r = find_token(t);
	if (r == 0)
		r = check_mechanism(t);
	if (r == 0)
		r = open_session(t);
	if (r == 0)
		r = find_key(t);
	assert(r < 0 || t->p11);
	return r;
}

static void token_fini(struct token *t)
{
	/* Whatever these say, there is no more to do about it. The last session's end is a logout, too. */
	if (t->session)
		(void)t->p11->C_CloseSession(t->session);
	if (t->modules)
		p11_kit_modules_finalize_and_release(t->modules);
	if (t->single) {
		(void)p11_kit_module_finalize(t->single);
		p11_kit_module_release(t->single);
	}
	uri_freep(&t->uri);
}

/* ---- wrap and unwrap ---- */

static uint8_t aad[] = { 'e', '2', 'e', 'e', 'd' }; /* PKCS#11 takes no pointers to const */

/* @gcm and @iv must live as long as what is returned. */
static CK_MECHANISM mechanism(CK_GCM_PARAMS *gcm, uint8_t iv[IV_SIZE])
{
	*gcm = (CK_GCM_PARAMS){ .iv_ptr = iv,
				.iv_len = IV_SIZE,
				.iv_bits = IV_SIZE * 8,
				.aad_ptr = aad,
				.aad_len = sizeof(aad),
				.tag_bits = TAG_SIZE * 8 };
	return (CK_MECHANISM){ CKM_AES_GCM, gcm, sizeof(*gcm) };
}

static int wrap(const struct token *t, struct secret *kek, uint8_t iv[IV_SIZE], uint8_t ret[WRAPPED_SIZE])
{
	CK_GCM_PARAMS gcm;
	CK_MECHANISM m = mechanism(&gcm, iv);
	CK_ULONG n = WRAPPED_SIZE;
	CK_RV rv = t->p11->C_EncryptInit(t->session, &m, t->key);

	if (rv == CKR_OK)
		rv = t->p11->C_Encrypt(t->session, secret_write(kek), SEAL_KEY_SIZE, ret, &n);
	if (rv != CKR_OK)
		return failed(t, rv, "encrypting with the key (its CKA_ENCRYPT must be true)");
	return n == WRAPPED_SIZE ? 0 : refused(t, "the token encrypts AES-GCM in a form of its own");
}

static int unwrap(const struct token *t, const uint8_t params[PARAMS_SIZE], struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	uint8_t in[PARAMS_SIZE]; /* the interface may write where it should not */
	CK_GCM_PARAMS gcm;
	CK_MECHANISM m = mechanism(&gcm, in + 1);
	CK_ULONG n = WRAPPED_SIZE;
	CK_RV rv;
	int r = secret_new(WRAPPED_SIZE, &key); /* some want room for the tag, too */

	if (r < 0)
		return r;
	memcpy(in, params, sizeof(in));
	rv = t->p11->C_DecryptInit(t->session, &m, t->key);
	if (rv == CKR_OK) {
		rv = t->p11->C_Decrypt(t->session, in + 1 + IV_SIZE, WRAPPED_SIZE, secret_write(key), &n);
		if (rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE || rv == CKR_GENERAL_ERROR)
			return refused(
				t,
				"the token's key does not decrypt the slot: it is another key, or the slot is damaged");
	}
	if (rv != CKR_OK)
		return failed(t, rv, "decrypting with the key (its CKA_DECRYPT must be true)");
	if (n != SEAL_KEY_SIZE)
		return refused(t, "the token decrypts AES-GCM in a form of its own");
	secret_cut(key, n);
	*ret = TAKE(key);
	return 0;
}

/* ---- the seal ---- */

static int pkcs11_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	CLEANUP(token_fini) struct token t = { .seal = seal->arg, .why = why };
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL;
	uint8_t out[PARAMS_SIZE], iv[IV_SIZE];
	int r;

	r = rand_secret(SEAL_KEY_SIZE, &key);
	if (r == 0)
		r = open_token(&t);
	if (r != 0)
		return r;
	rand_bytes(iv, sizeof(iv));
	out[0] = VERSION;
	memcpy(out + 1, iv, sizeof(iv)); /* some tokens put an IV of their own into the place they were given */
	r = wrap(&t, key, iv, out + 1 + IV_SIZE);
	if (r == 0)
		r = unwrap(&t, out, &again); /* nothing must be sealed with what cannot be opened */
	if (r < 0)
		return r;
	if (!secret_equal(key, again))
		return refused(&t, "the token does not give back what it encrypted; nothing was sealed");
	buf_put(params, out, sizeof(out));
	if (buf_err(params))
		return buf_err(params);
	*ret = TAKE(key);
	return 0;
}

static int pkcs11_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	CLEANUP(token_fini) struct token t = { .seal = seal->arg, .why = why };
	int r;

	if (params.n != PARAMS_SIZE || params.p[0] != VERSION) {
		buf_put_str(
			why,
			"the token's slot has parameters that this version does not know: a newer e2eed wrote them, "
			"or they are damaged");
		return ERR_SEAL;
	}
	r = open_token(&t);
	return r != 0 ? r : unwrap(&t, params.p, ret);
}

static void pkcs11_fini(struct seal *seal)
{
	struct pkcs11 *k = seal->arg;

	free(k->uri);
	free(k->pin_file);
	free(k);
	seal->arg = NULL;
}

int seal_pkcs11_init(struct seal *seal, const char *uri, const char *pin_file)
{
	struct pkcs11 *k = calloc(1, sizeof(*k));

	if (!k)
		return ERR_NOMEM;
	*seal = (struct seal){ .type = SEAL_PKCS11,
			       .name = "pkcs11",
			       .arg = k,
			       .make = pkcs11_make,
			       .open = pkcs11_open,
			       .fini = pkcs11_fini };
	k->uri = strdup(uri);
	k->pin_file = strdup(pin_file);
	if (k->uri && k->pin_file)
		return 0;
	seal_fini(seal);
	return ERR_NOMEM;
}
