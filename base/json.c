/*
 * json.c - jansson with an allocator that wipes
 *
 * jansson frees through us, strings and its parsing buffers alike, so a size kept in front of each block is all that
 * wiping needs. What json_load_secret() allocates comes from the arena instead, lexer included; each block says where
 * it is from.
 */
#include "base/json.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/arena.h"

struct head {
	size_t n; /* of the block, without this */
	bool in_arena;
};
_Static_assert(sizeof(struct head) == 16, "what follows is aligned");

/* jansson's error struct would tell, but it also quotes the text it stumbled over, which may be a key. */
static _Thread_local bool out_of_memory;
static _Thread_local bool in_arena; /* what is allocated now */

static void *wiping_malloc(size_t n)
{
	struct head *h = NULL;

	if (n <= SIZE_MAX - sizeof(*h))
		h = in_arena ? arena_alloc(sizeof(*h) + n) : malloc(sizeof(*h) + n);
	if (!h) {
		out_of_memory = true;
		return NULL;
	}
	*h = (struct head){ .n = n, .in_arena = in_arena };
	return h + 1;
}

static void wiping_free(void *p)
{
	struct head *h = p;

	if (!h)
		return;
	h--;
	if (h->in_arena) {
		arena_free(h); /* wipes */
	} else {
		sodium_memzero(h, sizeof(*h) + h->n);
		free(h);
	}
}

void json_setup(void)
{
	json_set_alloc_funcs(wiping_malloc, wiping_free);
	json_object_seed(0); /* now rather than in the first of several threads */
}

int json_load(struct bytes text, json_t **ret)
{
	json_t *json;

	if (text.n == 0) /* which jansson takes no null pointer for */
		return ERR_PARSE;
	out_of_memory = false;
	json = json_loadb((const char *)text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (!json && !out_of_memory) /* an integer beyond 64 bits? Then all of them become reals */
		json = json_loadb((const char *)text.p, text.n,
				  JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	if (!json)
		return out_of_memory ? ERR_NOMEM : ERR_PARSE;
	*ret = json;
	return 0;
}

int json_load_secret(struct bytes text, json_t **ret)
{
	int r;

	in_arena = true;
	r = json_load(text, ret);
	in_arena = false;
	return r;
}

bool json_member_str(const json_t *object, const char *name, struct bytes *ret)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_string(value))
		return false;
	*ret = BYTES(json_string_value(value), json_string_length(value));
	return true;
}

static int put_part(const char *text, size_t n, void *arg)
{
	struct buf *b = arg;

	buf_put(b, text, n);
	return buf_err(b) < 0 ? -1 : 0;
}

int json_put(const json_t *json, struct buf *b)
{
	if (json_dump_callback(json, put_part, b, JSON_ENCODE_ANY | JSON_COMPACT) < 0)
		return buf_err(b) < 0 ? buf_err(b) : ERR_NOMEM;
	return 0;
}
