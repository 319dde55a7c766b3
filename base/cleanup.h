/*
 * cleanup - owned locals release themselves
 *
 * `CLEANUP(foo_freep) struct foo *x = NULL;` frees x on every way out; `*ret = TAKE(x);` is the one visible place
 * where ownership leaves. gcc and clang both have the attribute.
 */
#ifndef E2EED_BASE_CLEANUP_H
#define E2EED_BASE_CLEANUP_H

#include <stdio.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define TAKE(p_)                              \
	__extension__({                       \
		__typeof__(p_) taken_ = (p_); \
		(p_) = NULL;                  \
		taken_;                       \
	})

#define TAKE_FD(fd_)                \
	__extension__({             \
		int taken_ = (fd_); \
		(fd_) = -1;         \
		taken_;             \
	})

/* Makes name_freep(T **) out of name(T *). */
#define DEFINE_FREEP(T, freep_, free_)  \
	static inline void freep_(T *p) \
	{                               \
		free_(*p);              \
		*p = NULL;              \
	}

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was promised about what is closed on the way out */
	*fd = -1;
}

static inline void file_closep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
	*f = NULL;
}

#endif
