/*
 * arena.c - pages in chunks, blocks in pages
 *
 * A chunk is 1 MiB, aligned to its size, so that a block's address leads to its chunk by masking. Its first pages
 * describe the others: each run of pages is free, one large block, or a slab of equal small blocks. A block larger
 * than a chunk has a chunk to itself, which goes when the block goes; ordinary chunks stay. Free memory is always
 * zero: blocks are wiped on the way in, and the link between free blocks lies in the header, not in the block.
 */
#include "base/arena.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena_tools.h"
#include "base/pages.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define PAGE_BYTES  ((size_t)4096) /* our unit; the machine's pages may be larger */
#define CHUNK_PAGES (CHUNK_BYTES / PAGE_BYTES)

/*
 * Sizes of small blocks, header included: 16-byte steps up to 512, then four steps to each doubling up to 8 KiB. A
 * slab holds at least four of them.
 */
#define STEP_MAX  ((size_t)512)
#define SMALL_MAX ((size_t)8192)
#define N_STEPS	  (STEP_MAX / 16)
#define N_CLASSES (N_STEPS + 16)

/* In front of every block. Without the key nobody can forge it; an overrun of the block before it breaks it. */
struct head {
	uintptr_t word; /* live: the size asked for; free: the next free block of the slab */
	uintptr_t seal;
};
_Static_assert(sizeof(struct head) == 16, "blocks are 16-byte aligned");

enum span_kind { SPAN_FREE, SPAN_LARGE, SPAN_SLAB };

/* One for each page of a chunk. Only a run's first counts, but for @first, which leads to it. */
struct span {
	struct span *next, *prev; /* slabs of a class that have a free block */
	struct head *free;	  /* in a slab: blocks that were given back */
	uint32_t first;		  /* index of the run's first page; of a free run, only its ends tell */
	uint32_t n_pages;
	uint16_t used;	 /* in a slab: live blocks */
	uint16_t carved; /* in a slab: blocks that ever were in use; the rest is untouched */
	uint8_t kind;
	uint8_t class;
};

struct chunk {
	struct chunk *next, *prev;
	size_t n_bytes;
	uint32_t free_pages;
	bool locked, secretmem;
	struct span pages[];
};

/* what the description of an ordinary chunk takes; a chunk for one block needs a single page */
#define HEAD_PAGES ((sizeof(struct chunk) + CHUNK_PAGES * sizeof(struct span) + PAGE_BYTES - 1) / PAGE_BYTES)
#define RUN_MAX	   (CHUNK_PAGES - HEAD_PAGES)

static struct {
	pthread_mutex_t mutex;
	enum arena_policy policy;
	uintptr_t key_live, key_free; /* never change between init and fini */
	struct chunk *chunks;	      /* newest first */
	struct span *slabs[N_CLASSES];
	size_t mapped_bytes, locked_bytes, used_bytes, live_blocks;
} arena = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* Memory is damaged or freed twice: stop at once, without touching a heap. */
static _Noreturn void die(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		abort(); /* nobody listens; same end */
	abort();
}

static uintptr_t seal_of(const struct head *h, uintptr_t word, uintptr_t key)
{
	return key ^ (uintptr_t)h ^ word * (uintptr_t)0x9e3779b97f4a7c15u;
}

static struct chunk *chunk_of(struct head *h)
{
	return (struct chunk *)((uintptr_t)h & ~(uintptr_t)(CHUNK_BYTES - 1));
}

static uint8_t *page_at(struct chunk *c, size_t index)
{
	return (uint8_t *)c + index * PAGE_BYTES;
}

static struct span *span_of(struct head *h)
{
	struct chunk *c = chunk_of(h);
	size_t index = ((uintptr_t)h - (uintptr_t)c) / PAGE_BYTES;

	return &c->pages[c->pages[index].first];
}

static size_t class_of(size_t block)
{
	unsigned shift;

	if (block <= STEP_MAX)
		return (block + 15) / 16 - 1;
	shift = 63 - (unsigned)__builtin_clzll(block - 1); /* block is in (1 << shift, 2 << shift] */
	return N_STEPS + (shift - 9) * 4 + (((block - 1) >> (shift - 2)) & 3);
}

static size_t class_bytes(size_t class)
{
	size_t step;

	if (class < N_STEPS)
		return (class + 1) * 16;
	step = (class - N_STEPS) / 4;
	return ((size_t)128 << step) * (5 + (class - N_STEPS) % 4);
}

static size_t slab_pages(size_t block)
{
	size_t pages = 1;

	while (pages * PAGE_BYTES < 4 * block)
		pages *= 2;
	return pages;
}

/* ---- chunks ---- */

/* A chunk of at least @n bytes, linked, with nothing described in it. */
static struct chunk *chunk_map(size_t n)
{
	bool locked, secretmem;
	struct chunk *c;

	n = pages_round(n);
	c = pages_map(n, CHUNK_BYTES, arena.policy, &locked, &secretmem);
	if (!c)
		return NULL;
	c->n_bytes = n;
	c->locked = locked;
	c->secretmem = secretmem;
	c->next = arena.chunks;
	if (c->next)
		c->next->prev = c;
	arena.chunks = c;
	arena.mapped_bytes += n;
	arena.locked_bytes += locked ? n : 0;
	return c;
}

/* What is in the chunk was wiped. */
static void chunk_unmap(struct chunk *c)
{
	const size_t n = c->n_bytes;

	if (c->prev)
		c->prev->next = c->next;
	else
		arena.chunks = c->next;
	if (c->next)
		c->next->prev = c->prev;
	arena.mapped_bytes -= n;
	arena.locked_bytes -= c->locked ? n : 0;
	TOOL_UNPOISON(c, n);
	pages_unmap(c, n);
}

static struct chunk *chunk_new(void)
{
	struct chunk *c = chunk_map(CHUNK_BYTES);
	struct span *run;

	if (!c)
		return NULL;
	run = &c->pages[HEAD_PAGES];
	run->first = (uint32_t)HEAD_PAGES;
	run->n_pages = (uint32_t)RUN_MAX;
	c->pages[CHUNK_PAGES - 1].first = run->first;
	c->free_pages = run->n_pages;
	TOOL_POISON(page_at(c, HEAD_PAGES), RUN_MAX * PAGE_BYTES);
	return c;
}

/* ---- runs of pages in an ordinary chunk ---- */

static void run_mark_free(struct chunk *c, size_t first, size_t n)
{
	struct span *run = &c->pages[first];

	memset(run, 0, sizeof(*run)); /* SPAN_FREE */
	run->n_pages = (uint32_t)n;
	run->first = (uint32_t)first;
	c->pages[first + n - 1].first = (uint32_t)first;
}

static struct span *run_take_from(struct chunk *c, size_t n)
{
	size_t i;

	for (i = HEAD_PAGES; i < CHUNK_PAGES; i += c->pages[i].n_pages)
		if (c->pages[i].kind == SPAN_FREE && c->pages[i].n_pages >= n)
			break;
	if (i >= CHUNK_PAGES)
		return NULL;
	if (c->pages[i].n_pages > n)
		run_mark_free(c, i + n, c->pages[i].n_pages - n);
	c->pages[i].n_pages = (uint32_t)n;
	for (size_t k = i; k < i + n; k++)
		c->pages[k].first = (uint32_t)i;
	c->free_pages -= (uint32_t)n;
	TOOL_RUN(page_at(c, i), n * PAGE_BYTES);
	return &c->pages[i];
}

/* The first run that is long enough; else a new chunk. The caller sets its kind. */
static struct span *run_take(size_t n)
{
	struct chunk *c;

	for (c = arena.chunks; c; c = c->next) {
		struct span *run = c->free_pages >= n ? run_take_from(c, n) : NULL;

		if (run)
			return run;
	}
	c = chunk_new();
	return c ? run_take_from(c, n) : NULL;
}

static void run_give(struct chunk *c, struct span *run)
{
	size_t first = run->first, n = run->n_pages;

	c->free_pages += (uint32_t)n;
	if (first + n < CHUNK_PAGES && c->pages[first + n].kind == SPAN_FREE)
		n += c->pages[first + n].n_pages;
	if (first > HEAD_PAGES && c->pages[c->pages[first - 1].first].kind == SPAN_FREE) {
		size_t before = c->pages[first - 1].first;

		n += first - before;
		run->kind = SPAN_FREE;
		first = before;
	}
	run_mark_free(c, first, n);
}

/* ---- slabs ---- */

static void slab_link(struct span *s)
{
	s->prev = NULL;
	s->next = arena.slabs[s->class];
	if (s->next)
		s->next->prev = s;
	arena.slabs[s->class] = s;
}

static void slab_unlink(struct span *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		arena.slabs[s->class] = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

static size_t slab_blocks(const struct span *s)
{
	return s->n_pages * PAGE_BYTES / class_bytes(s->class);
}

NO_ASAN static struct head *slab_take(size_t class)
{
	struct span *s = arena.slabs[class];
	struct head *h;

	if (!s) {
		s = run_take(slab_pages(class_bytes(class)));
		if (!s)
			return NULL;
		s->kind = SPAN_SLAB;
		s->class = (uint8_t) class;
		s->free = NULL;
		s->used = s->carved = 0;
		slab_link(s);
	}
	if (s->free) {
		h = s->free;
		if (h->seal != seal_of(h, h->word, arena.key_free))
			die("arena: a free block's header is damaged\n");
		s->free = (struct head *)h->word;
	} else {
		struct chunk *c = (struct chunk *)((uintptr_t)s & ~(uintptr_t)(CHUNK_BYTES - 1));

		h = (struct head *)(void *)(page_at(c, s->first) + s->carved * class_bytes(class));
		s->carved++;
	}
	s->used++;
	if (s->used == slab_blocks(s))
		slab_unlink(s);
	return h;
}

/* The slab's pages go back when its last block does, unless it is the only one of its class with room. */
NO_ASAN static void slab_give(struct span *s, struct head *h)
{
	if (s->used == slab_blocks(s))
		slab_link(s);
	h->word = (uintptr_t)s->free;
	h->seal = seal_of(h, h->word, arena.key_free);
	s->free = h;
	s->used--;
	if (s->used == 0 && (s->next || s->prev)) {
		slab_unlink(s);
		for (struct head *at = s->free; at;) {
			struct head *next = (struct head *)at->word;

			at->word = at->seal = 0;
			at = next;
		}
		run_give(chunk_of(h), s);
	}
}

/* ---- blocks ---- */

/* A chunk for one block: a page of description, then the block. */
static struct head *huge_take(size_t block)
{
	struct chunk *c = chunk_map(PAGE_BYTES + block);
	struct span *run;

	if (!c)
		return NULL;
	run = &c->pages[1];
	run->first = 1;
	run->n_pages = (uint32_t)((c->n_bytes - PAGE_BYTES) / PAGE_BYTES);
	run->kind = SPAN_LARGE;
	TOOL_POISON(page_at(c, 1), c->n_bytes - PAGE_BYTES);
	return (struct head *)(void *)page_at(c, 1);
}

static size_t block_bytes(const struct span *s)
{
	return s->kind == SPAN_SLAB ? class_bytes(s->class) : s->n_pages * PAGE_BYTES;
}

static struct head *block_take(size_t block)
{
	struct span *run;

	if (block <= SMALL_MAX)
		return slab_take(class_of(block));
	if (block > RUN_MAX * PAGE_BYTES)
		return huge_take(block);
	run = run_take((block + PAGE_BYTES - 1) / PAGE_BYTES);
	if (!run)
		return NULL;
	run->kind = SPAN_LARGE;
	return (struct head *)(void *)page_at((struct chunk *)((uintptr_t)run & ~(uintptr_t)(CHUNK_BYTES - 1)),
					      run->first);
}

NO_ASAN void *arena_alloc(size_t n)
{
	struct head *h;

	assert(arena.key_live); /* arena_init() comes first */
	if (n > SIZE_MAX / 4)
		return NULL;

	(void)pthread_mutex_lock(&arena.mutex); /* a plain mutex, never held twice: neither call can fail */
	h = block_take(sizeof(*h) + n);
	if (h) {
		arena.live_blocks++;
		arena.used_bytes += block_bytes(span_of(h));
	}
	(void)pthread_mutex_unlock(&arena.mutex);
	if (!h)
		return NULL;

	h->word = n;
	__atomic_store_n(&h->seal, seal_of(h, n, arena.key_live), __ATOMIC_RELAXED);
	TOOL_ALLOC(h + 1, n);
	return h + 1;
}

NO_ASAN static struct head *head_of(void *p)
{
	return (struct head *)p - 1;
}

/* Live and undamaged, or the end. */
NO_ASAN static void check_live(struct head *h, uintptr_t seal)
{
	if (seal == seal_of(h, h->word, arena.key_live))
		return;
	if (seal == seal_of(h, h->word, arena.key_free))
		die("arena: a block was freed twice\n");
	die("arena: a block's header is damaged, or this is no block\n");
}

NO_ASAN void arena_free(void *p)
{
	struct head *h;
	struct span *s;
	size_t n;

	if (!p)
		return;
	h = head_of(p);
	/* of two threads that free the same block, one sees the seal that the other left */
	check_live(h, __atomic_exchange_n(&h->seal, 0, __ATOMIC_RELAXED));
	n = h->word;
	sodium_memzero(p, n);
	TOOL_FREE(p, n);

	(void)pthread_mutex_lock(&arena.mutex);
	s = span_of(h);
	arena.live_blocks--;
	arena.used_bytes -= block_bytes(s);
	if (s->kind == SPAN_SLAB) {
		slab_give(s, h);
	} else {
		struct chunk *c = chunk_of(h);

		h->word = 0;
		if (s->first < HEAD_PAGES) /* the only block of its chunk */
			chunk_unmap(c);
		else
			run_give(c, s);
	}
	(void)pthread_mutex_unlock(&arena.mutex);
}

/* Stays where it is unless it outgrows its block or leaves more than half of it idle. */
NO_ASAN void *arena_realloc(void *p, size_t n)
{
	struct head *h;
	size_t old, room;
	void *to;

	if (!p)
		return arena_alloc(n);
	if (n == 0) {
		arena_free(p);
		return NULL;
	}
	h = head_of(p);
	check_live(h, __atomic_load_n(&h->seal, __ATOMIC_RELAXED));
	old = h->word;
	room = block_bytes(span_of(h)) - sizeof(*h); /* a live block's span does not change: no lock */
	if (n <= room && (n > room / 2 || n >= old)) {
		if (n < old)
			sodium_memzero((uint8_t *)p + n, old - n);
		h->word = n;
		__atomic_store_n(&h->seal, seal_of(h, n, arena.key_live), __ATOMIC_RELAXED);
		TOOL_RESIZE(p, old, n);
		return p;
	}
	to = arena_alloc(n);
	if (!to)
		return NULL;
	memcpy(to, p, n < old ? n : old);
	arena_free(p);
	return to;
}

int arena_init(enum arena_policy policy)
{
	uintptr_t keys[2];
	struct chunk *c;

	assert(!arena.key_live);
	randombytes_buf(keys, sizeof(keys));
	(void)pthread_mutex_lock(&arena.mutex);
	arena.policy = policy;
	arena.key_live = keys[0] | 1; /* never 0, never the other */
	arena.key_free = keys[1] & ~(uintptr_t)1;
	c = chunk_new();
	if (!c)
		arena.key_live = arena.key_free = 0;
	(void)pthread_mutex_unlock(&arena.mutex);
	return c ? 0 : ERR_NOMEM;
}

void arena_fini(void)
{
	(void)pthread_mutex_lock(&arena.mutex);
	while (arena.chunks) {
		struct chunk *c = arena.chunks;

		if (arena.live_blocks) { /* leaked, but not to whoever gets the pages next */
			TOOL_UNPOISON(c, c->n_bytes);
			sodium_memzero(page_at(c, 1), c->n_bytes - PAGE_BYTES);
		}
		chunk_unmap(c);
	}
	memset(arena.slabs, 0, sizeof(arena.slabs));
	arena.key_live = arena.key_free = 0;
	arena.used_bytes = arena.live_blocks = 0;
	(void)pthread_mutex_unlock(&arena.mutex);
}

void arena_get_status(struct arena_status *ret)
{
	(void)pthread_mutex_lock(&arena.mutex);
	*ret = (struct arena_status){
		.mapped_bytes = arena.mapped_bytes,
		.locked_bytes = arena.locked_bytes,
		.used_bytes = arena.used_bytes,
		.live_blocks = arena.live_blocks,
		.secretmem = arena.chunks && arena.chunks->secretmem,
	};
	(void)pthread_mutex_unlock(&arena.mutex);
}
