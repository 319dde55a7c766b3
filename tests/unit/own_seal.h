/*
 * own_seal - a kind of seal that needs no files and no waiting: for tests of what lies above the seals
 *
 * A slot's parameters are one byte, its name; the KEK is made of that byte and of the seal's secret. So one seal can open several
 * slots, some of which can be out of its reach.
 */
#ifndef E2EED_TESTS_OWN_SEAL_H
#define E2EED_TESTS_OWN_SEAL_H

#include <string.h>

#include "keystore/seal.h"

struct own_seal {
	uint8_t secret;
	uint8_t next;	   /* name of the slot that is made next */
	int out_of_reach;  /* name of a slot that cannot be opened now; -1: none */
	unsigned n_opened; /* how often open() was called */
};

static inline int own_seal_kek(const struct own_seal *own, uint8_t name, struct secret **ret)
{
	int r = secret_new(SEAL_KEY_SIZE, ret);

	if (r == 0)
		memset(secret_write(*ret), own->secret ^ name, SEAL_KEY_SIZE);
	return r;
}

static inline int own_seal_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	struct own_seal *own = seal->arg;

	(void)why;
	buf_put_byte(params, own->next);
	return own_seal_kek(own, own->next++, ret);
}

static inline int own_seal_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	struct own_seal *own = seal->arg;

	own->n_opened++;
	if (params.n != 1 || params.p[0] == own->out_of_reach) {
		buf_put_str(why, "that slot is out of reach");
		return ERR_SEAL;
	}
	return own_seal_kek(own, params.p[0], ret);
}

/* @own stays the caller's; there is nothing to release */
static inline struct seal own_seal(enum seal_type type, struct own_seal *own)
{
	return (struct seal){
		.type = type, .name = seal_type_name(type), .arg = own, .make = own_seal_make, .open = own_seal_open
	};
}

#define OWN_SEAL(secret_, next_) ((struct own_seal){ .secret = (secret_), .next = (next_), .out_of_reach = -1 })

#endif
