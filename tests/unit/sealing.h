/*
 * sealing - calls of a seal, with the parameters and the sentence they gave
 */
#ifndef E2EED_TESTS_SEALING_H
#define E2EED_TESTS_SEALING_H

#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/secret.h"
#include "keystore/seal.h"
#include "tests/unit/tap.h"

struct sealing {
	struct buf params; /* of the latest make(); sealing_fini() */
	char why[4096];	   /* of the latest call */
};

static inline void sealing_keep(struct sealing *s, int r, const struct buf *why)
{
	memset(s->why, 0, sizeof(s->why));
	if (why->n)
		memcpy(s->why, why->p, why->n);
	CHECK(r < 0 || why->n == 0);
}

static inline int sealing_make(struct sealing *s, const struct seal *seal, struct secret **ret)
{
	struct buf why = BUF_INIT(sizeof(s->why) - 1);
	int r;

	buf_fini(&s->params);
	s->params = BUF_INIT(SEAL_MAX_PARAMS);
	r = seal->make(seal, &s->params, &why, ret);
	sealing_keep(s, r, &why);
	buf_fini(&why);
	return r;
}

static inline int sealing_open(struct sealing *s, const struct seal *seal, struct bytes params, struct secret **ret)
{
	struct buf why = BUF_INIT(sizeof(s->why) - 1);
	int r = seal->open(seal, params, &why, ret);

	sealing_keep(s, r, &why);
	buf_fini(&why);
	return r;
}

/* The same where no key is expected. */
static inline int sealing_refused(struct sealing *s, const struct seal *seal, struct bytes params)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	return sealing_open(s, seal, params, &key);
}

static inline void sealing_fini(struct sealing *s)
{
	buf_fini(&s->params);
}

/* On failure the sentence is shown, so that one sees what was said instead. */
static inline bool sealing_says(const struct sealing *s, const char *text)
{
	if (strstr(s->why, text))
		return true;
	printf("# said: %s\n", s->why);
	return false;
}

static inline struct secret *sealing_secret(struct bytes text)
{
	struct secret *s = NULL;

	if (secret_dup(text, &s) < 0)
		printf("Bail out! out of memory\n");
	return s;
}

#endif
