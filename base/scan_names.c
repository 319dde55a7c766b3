/*
 * A few plain names are compared each with each, which is quickest and costs a bounded number of comparisons. More of
 * them, or names with escapes (slow to compare), go through a hash table under a key of this process's own, so that
 * nobody can choose names that collide.
 */
#include "base/scan_names.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/scan_text.h"

#define FEW   32u		/* names that are compared each with each */
#define PIECE 120u		/* bytes of a name that are decoded at a time */
#define SLOTS ((size_t)2 * FEW) /* of the table that needs no allocation */

struct slot {
	uint32_t name; /* index + 1; 0: free */
	uint32_t tag;  /* the half of the hash that does not choose the slot */
};

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static uint8_t hash_key[crypto_shorthash_KEYBYTES];

static void make_key(void)
{
	if (sodium_init() < 0)
		abort(); /* no source of randomness: nothing in this process could go on */
	crypto_shorthash_keygen(hash_key);
}

void scan_names_init(struct scan_names *s, const uint8_t *text)
{
	s->text = text;
	s->at = s->few;
	s->n = 0;
	s->cap = SCAN_NAMES_FEW;
}

void scan_names_fini(struct scan_names *s)
{
	if (s->at != s->few)
		free(s->at);
	s->at = s->few;
}

static int grow(struct scan_names *s)
{
	size_t cap = s->cap * 2;
	struct scan_name *at;

	at = reallocarray(s->at == s->few ? NULL : s->at, cap, sizeof(*at));
	if (!at)
		return ERR_NOMEM;
	if (s->at == s->few)
		memcpy(at, s->few, sizeof(s->few));
	s->at = at;
	s->cap = cap;
	return 0;
}

int scan_names_push(struct scan_names *s, const uint8_t *name, size_t n, bool escaped)
{
	if (s->n == s->cap) {
		int r = grow(s);

		if (r < 0)
			return r;
	}
	s->at[s->n++] = (struct scan_name){ .at = (uint32_t)(name - s->text), .n = (uint32_t)n, .escaped = escaped };
	return 0;
}

static struct bytes content_of(const struct scan_names *s, const struct scan_name *name)
{
	return BYTES(s->text + name->at, name->n);
}

/* One piece after the other, each with the hash of those before it in front. */
static uint64_t hash_of(const struct scan_names *s, const struct scan_name *name)
{
	struct scan_decoder d = SCAN_DECODER(content_of(s, name));
	uint8_t block[sizeof(uint64_t) + PIECE];
	uint64_t hash = 0;
	size_t n;

	do {
		memcpy(block, &hash, sizeof(hash));
		n = scan_decode(&d, block + sizeof(hash), PIECE);
		(void)crypto_shorthash((uint8_t *)&hash, block, sizeof(hash) + n, hash_key); /* cannot fail */
	} while (n == PIECE);
	sodium_memzero(block, sizeof(block));
	return hash;
}

static bool are_equal(const struct scan_names *s, const struct scan_name *a, const struct scan_name *b)
{
	struct scan_decoder da = SCAN_DECODER(content_of(s, a)), db = SCAN_DECODER(content_of(s, b));
	uint8_t piece_a[PIECE], piece_b[PIECE];
	size_t na, nb;
	bool same;

	if (!a->escaped && !b->escaped)
		return bytes_eq(content_of(s, a), content_of(s, b));
	do {
		na = scan_decode(&da, piece_a, sizeof(piece_a));
		nb = scan_decode(&db, piece_b, sizeof(piece_b));
		same = bytes_eq(BYTES(piece_a, na), BYTES(piece_b, nb));
	} while (same && na == PIECE);
	sodium_memzero(piece_a, sizeof(piece_a));
	sodium_memzero(piece_b, sizeof(piece_b));
	return same;
}

static bool are_few_and_plain(const struct scan_names *s, size_t from)
{
	if (s->n - from > FEW)
		return false;
	for (size_t i = from; i < s->n; i++) {
		if (s->at[i].escaped)
			return false;
	}
	return true;
}

static int compare_each(const struct scan_names *s, size_t from)
{
	for (size_t i = from + 1; i < s->n; i++) {
		struct bytes name = content_of(s, &s->at[i]);

		for (size_t k = from; k < i; k++) {
			if (s->at[k].n == name.n && bytes_eq(content_of(s, &s->at[k]), name))
				return ERR_PARSE;
		}
	}
	return 0;
}

static int fill_table(const struct scan_names *s, size_t from, struct slot *slots, size_t n_slots)
{
	for (size_t i = from; i < s->n; i++) {
		uint64_t hash = hash_of(s, &s->at[i]);
		uint32_t tag = (uint32_t)(hash >> 32);
		size_t k = (size_t)(uint32_t)hash & (n_slots - 1);

		for (; slots[k].name; k = (k + 1) & (n_slots - 1)) {
			if (slots[k].tag == tag && are_equal(s, &s->at[slots[k].name - 1], &s->at[i]))
				return ERR_PARSE;
		}
		slots[k] = (struct slot){ .name = (uint32_t)(i + 1), .tag = tag };
	}
	return 0;
}

static int compare_hashed(const struct scan_names *s, size_t from)
{
	struct slot few[SLOTS], *slots = few;
	size_t n = s->n - from, n_slots = SLOTS;
	int r;

	(void)pthread_once(&key_once, make_key); /* fails for no valid arguments */
	while (n_slots < 2 * n)
		n_slots *= 2;
	if (n_slots == SLOTS)
		memset(few, 0, sizeof(few));
	else
		slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return ERR_NOMEM;
	r = fill_table(s, from, slots, n_slots);
	if (slots != few)
		free(slots);
	return r;
}

int scan_names_close(struct scan_names *s, size_t from)
{
	int r = 0;

	if (s->n - from >= 2)
		r = are_few_and_plain(s, from) ? compare_each(s, from) : compare_hashed(s, from);
	s->n = from;
	return r;
}
