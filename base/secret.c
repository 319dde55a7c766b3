/*
 * secret.c - a length in front of bytes of the arena
 */
#include "base/secret.h"

#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>

#include "base/arena.h"

struct secret {
	size_t n;
	uint8_t data[];
};

static atomic_size_t live;

int secret_new(size_t n, struct secret **ret)
{
	struct secret *s;

	if (n > SIZE_MAX - sizeof(*s))
		return ERR_NOMEM;
	s = arena_alloc(sizeof(*s) + n);
	if (!s)
		return ERR_NOMEM;
	s->n = n;
	memset(s->data, 0, n);
	atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
	*ret = s;
	return 0;
}

int secret_dup(struct bytes from, struct secret **ret)
{
	struct secret *s;
	int r = secret_new(from.n, &s);

	if (r < 0)
		return r;
	if (from.n)
		memcpy(s->data, from.p, from.n);
	*ret = s;
	return 0;
}

void secret_free(struct secret *s)
{
	if (!s)
		return;
	arena_free(s); /* wipes */
	atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
}

void secret_cut(struct secret *s, size_t n)
{
	assert(n <= s->n);
	sodium_memzero(s->data + n, s->n - n);
	s->n = n;
}

size_t secret_len(const struct secret *s)
{
	return s->n;
}

const uint8_t *secret_read(const struct secret *s)
{
	return s->data;
}

uint8_t *secret_write(struct secret *s)
{
	return s->data;
}

struct bytes secret_bytes(const struct secret *s)
{
	return BYTES(s->data, s->n);
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return a->n == b->n && sodium_memcmp(a->data, b->data, a->n) == 0;
}

void secret_wipe_stack(void)
{
	sodium_stackzero(16384);
	secret_wipe_registers();
}

#if defined(__x86_64__)
/* All of them are the caller's to save (System V ABI), so a function may change them freely. */
__attribute__((noinline, target("avx"))) static void wipe_avx(void)
{
	__asm__ volatile("vzeroall" ::: "memory");
}

/* vzeroall leaves the upper sixteen alone. */
__attribute__((noinline, target("avx512f"))) static void wipe_avx512(void)
{
	__asm__ volatile("vpxorq %%zmm16, %%zmm16, %%zmm16\n\tvpxorq %%zmm17, %%zmm17, %%zmm17\n\t"
			 "vpxorq %%zmm18, %%zmm18, %%zmm18\n\tvpxorq %%zmm19, %%zmm19, %%zmm19\n\t"
			 "vpxorq %%zmm20, %%zmm20, %%zmm20\n\tvpxorq %%zmm21, %%zmm21, %%zmm21\n\t"
			 "vpxorq %%zmm22, %%zmm22, %%zmm22\n\tvpxorq %%zmm23, %%zmm23, %%zmm23\n\t"
			 "vpxorq %%zmm24, %%zmm24, %%zmm24\n\tvpxorq %%zmm25, %%zmm25, %%zmm25\n\t"
			 "vpxorq %%zmm26, %%zmm26, %%zmm26\n\tvpxorq %%zmm27, %%zmm27, %%zmm27\n\t"
			 "vpxorq %%zmm28, %%zmm28, %%zmm28\n\tvpxorq %%zmm29, %%zmm29, %%zmm29\n\t"
			 "vpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31"
			 :
			 :
			 : "memory");
}

__attribute__((noinline)) static void wipe_sse(void)
{
	__asm__ volatile(
		"pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
		"pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\tpxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
		"pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\tpxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
		"pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\tpxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15"
		:
		:
		: "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
		  "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

void secret_wipe_registers(void)
{
	if (__builtin_cpu_supports("avx512f"))
		wipe_avx512();
	if (__builtin_cpu_supports("avx"))
		wipe_avx();
	else
		wipe_sse();
}
#elif defined(__aarch64__)
void secret_wipe_registers(void)
{
	__asm__ volatile("movi v0.2d, #0\n\tmovi v1.2d, #0\n\tmovi v2.2d, #0\n\tmovi v3.2d, #0\n\t"
			 "movi v4.2d, #0\n\tmovi v5.2d, #0\n\tmovi v6.2d, #0\n\tmovi v7.2d, #0\n\t"
			 "movi v16.2d, #0\n\tmovi v17.2d, #0\n\tmovi v18.2d, #0\n\tmovi v19.2d, #0\n\t"
			 "movi v20.2d, #0\n\tmovi v21.2d, #0\n\tmovi v22.2d, #0\n\tmovi v23.2d, #0\n\t"
			 "movi v24.2d, #0\n\tmovi v25.2d, #0\n\tmovi v26.2d, #0\n\tmovi v27.2d, #0\n\t"
			 "movi v28.2d, #0\n\tmovi v29.2d, #0\n\tmovi v30.2d, #0\n\tmovi v31.2d, #0"
			 :
			 :
			 : "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20",
			   "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
			   "v31"); /* v8 to v15 are the callers' to find again */
}
#else
void secret_wipe_registers(void)
{
}
#endif

size_t secret_live(void)
{
	return atomic_load_explicit(&live, memory_order_relaxed);
}
