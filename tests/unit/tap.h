/*
 * tap - what the unit tests share: TAP output and start-up of the lower layers
 *
 * A test program calls test_start(), then CHECK() and friends, and returns test_end() from main(). test_end() also checks that
 * no secret is left (secret_live() == 0), since leak checkers do not see the arena.
 */
#ifndef E2EED_TESTS_TAP_H
#define E2EED_TESTS_TAP_H

#include <stdbool.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"

/*
 * Exhaustive loops take every step, but every 29th, each of a byte's bits in turn, under valgrind, which is fifty times slower, and
 * under ThreadSanitizer, which is ten times slower and looks for what one thread alone cannot do wrong.
 */
#if defined(E2EED_VALGRIND) || defined(__SANITIZE_THREAD__)
#define TEST_STEP 29
#else
#define TEST_STEP 1
#endif

void test_start(void);		/* arena, libsodium, OpenSSL, jansson */
int test_end(void) WARN_UNUSED; /* prints the plan; exit status for main */

/* In a forked child that ends by _exit(): what it inherits and leaves behind is no leak to valgrind. */
void test_in_child(void);

void test_ok(bool ok, const char *file, int line, const char *what);
void test_int(long long got, long long want, const char *file, int line, const char *what);
void test_bytes(struct bytes got, struct bytes want, const char *file, int line, const char *what);

#define CHECK(cond_)		 test_ok((cond_), __FILE__, __LINE__, #cond_)
#define CHECK_INT(got_, want_)	 test_int((long long)(got_), (long long)(want_), __FILE__, __LINE__, #got_ " == " #want_)
#define CHECK_BYTES(got_, want_) test_bytes((got_), (want_), __FILE__, __LINE__, #got_ " == " #want_)

#endif
