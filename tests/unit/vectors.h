/*
 * vectors - tests/vectors/rocketchat.json for the unit tests of crypto/, and short ways to bytes and secrets
 *
 * Whatever goes wrong here is a mistake of the test, so the helpers end the program.
 */
#ifndef E2EED_TESTS_VECTORS_H
#define E2EED_TESTS_VECTORS_H

#include <stdlib.h>
#include <string.h>

#include "base/b64.h"
#include "base/json.h"
#include "base/secret.h"
#include "tests/unit/tap.h"

#define VECTORS "tests/vectors/rocketchat.json"

static inline void must(bool ok, const char *what)
{
	if (!ok) {
		printf("Bail out! %s\n", what);
		exit(1);
	}
}

static inline json_t *vectors_load(void)
{
	json_t *all = json_load_file(VECTORS, 0, NULL);

	must(all, "cannot read " VECTORS " (the tests run from the repository's root)");
	return all;
}

static inline const json_t *vector(const json_t *all, const char *name)
{
	const json_t *list = json_object_get(all, "vectors");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);

		if (strcmp(json_string_value(json_object_get(v, "name")), name) == 0)
			return v;
	}
	must(false, name);
	return NULL;
}

static inline struct bytes text_of(const json_t *v)
{
	must(json_is_string(v), "a vector's member is missing");
	return BYTES(json_string_value(v), json_string_length(v));
}

static inline struct bytes input(const json_t *v, const char *member)
{
	return text_of(json_object_get(json_object_get(v, "inputs"), member));
}

static inline struct bytes expected(const json_t *v, const char *member)
{
	return text_of(json_object_get(json_object_get(v, "expected"), member));
}

static inline struct secret *secret_of(struct bytes b)
{
	struct secret *s;

	must(secret_dup(b, &s) == 0, "no memory");
	return s;
}

static inline struct secret *secret_of_hex(const char *hex)
{
	size_t n = strlen(hex) / 2;
	struct secret *s;

	must(secret_new(n, &s) == 0 && hex_decode(bytes_str(hex), secret_write(s), n) == 0, "not hex");
	return s;
}

static inline struct secret *secret_of_b64(struct bytes text)
{
	struct secret *s;
	size_t n = 0;

	must(secret_new(B64_MAX_DECODED(text.n), &s) == 0 && b64_decode(text, secret_write(s), &n) == 0, "not base64");
	secret_cut(s, n);
	return s;
}

/* the DER inside a PEM text */
static inline struct secret *secret_of_pem(struct bytes pem)
{
	struct secret *text = secret_of(pem), *der;
	const char *from = (const char *)memchr(pem.p, '\n', pem.n), *end = from ? strstr(from, "-----END") : NULL;
	size_t n = 0;

	must(end, "not PEM");
	for (; from < end; from++)
		if (*from != '\n')
			secret_write(text)[n++] = (uint8_t)*from;
	secret_cut(text, n);
	der = secret_of_b64(secret_bytes(text));
	secret_free(text);
	return der;
}

#endif
