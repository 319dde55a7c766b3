/*
 * arena_tools - what AddressSanitizer and valgrind are told about the arena's blocks
 *
 * They know malloc(3), not us: so each block is announced when it is given out, resized and taken back. For the
 * sanitizer the headers between the blocks stay forbidden; NO_ASAN marks the functions of ours that may touch them.
 */
#ifndef E2EED_BASE_ARENA_TOOLS_H
#define E2EED_BASE_ARENA_TOOLS_H

#if defined(__has_feature) /* clang; gcc defines the macro itself */
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define NO_ASAN			  __attribute__((no_sanitize_address, noinline))
#define TOOL_POISON(p_, n_)	  ASAN_POISON_MEMORY_REGION((p_), (n_))
#define TOOL_RUN(p_, n_)	  ((void)0)
#define TOOL_UNPOISON(p_, n_)	  ASAN_UNPOISON_MEMORY_REGION((p_), (n_))
#define TOOL_ALLOC(p_, n_)	  ASAN_UNPOISON_MEMORY_REGION((p_), (n_))
#define TOOL_RESIZE(p_, old_, n_) (ASAN_POISON_MEMORY_REGION((p_), (old_)), ASAN_UNPOISON_MEMORY_REGION((p_), (n_)))
#define TOOL_FREE(p_, n_)	  ASAN_POISON_MEMORY_REGION((p_), (n_))
#elif defined(E2EED_VALGRIND)
#include <valgrind/memcheck.h>
#define NO_ASAN
#define TOOL_RUN(p_, n_)	  VALGRIND_MAKE_MEM_DEFINED((p_), (n_)) /* headers go where blocks were */
#define TOOL_POISON(p_, n_)	  ((void)0)
#define TOOL_UNPOISON(p_, n_)	  ((void)0)
#define TOOL_ALLOC(p_, n_)	  VALGRIND_MALLOCLIKE_BLOCK((p_), (n_), 0, 0)
#define TOOL_RESIZE(p_, old_, n_) VALGRIND_RESIZEINPLACE_BLOCK((p_), (old_), (n_), 0)
#define TOOL_FREE(p_, n_)	  VALGRIND_FREELIKE_BLOCK((p_), 0)
#else
#define NO_ASAN
#define TOOL_RUN(p_, n_)	  ((void)0)
#define TOOL_POISON(p_, n_)	  ((void)0)
#define TOOL_UNPOISON(p_, n_)	  ((void)0)
#define TOOL_ALLOC(p_, n_)	  ((void)0)
#define TOOL_RESIZE(p_, old_, n_) ((void)0)
#define TOOL_FREE(p_, n_)	  ((void)0)
#endif

#endif
