#include "tests/unit/tap.h"

#include <sodium.h>
#include <stdlib.h>
#ifdef E2EED_VALGRIND
#include <valgrind/valgrind.h>
#endif

#include "base/arena.h"
#include "base/json.h"
#include "base/secret.h"
#include "crypto/ossl.h"

static int n_run, n_failed;

void test_start(void)
{
	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* order matters more than speed */
	if (arena_init(ARENA_LOCK_AUTO) < 0 || ossl_init() < 0) {
		printf("Bail out! cannot start the lower layers\n");
		exit(1);
	}
	json_setup();
}

void test_in_child(void)
{
#ifdef E2EED_VALGRIND
	VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
}

void test_ok(bool ok, const char *file, int line, const char *what)
{
	n_run++;
	printf("%sok %d - %s:%d %s\n", ok ? "" : "not ", n_run, file, line, what);
	if (!ok)
		n_failed++;
}

void test_int(long long got, long long want, const char *file, int line, const char *what)
{
	test_ok(got == want, file, line, what);
	if (got != want)
		printf("# got %lld, want %lld\n", got, want);
}

static void show(const char *label, struct bytes b)
{
	printf("# %s (%zu):", label, b.n);
	for (size_t i = 0; i < b.n && i < 64; i++)
		printf(" %02x", b.p[i]);
	printf("%s\n", b.n > 64 ? " ..." : "");
}

void test_bytes(struct bytes got, struct bytes want, const char *file, int line, const char *what)
{
	bool same = bytes_eq(got, want);

	test_ok(same, file, line, what);
	if (!same) {
		show("got ", got);
		show("want", want);
	}
}

int test_end(void)
{
	CHECK_INT(secret_live(), 0);
	ossl_fini();
	arena_fini();
	printf("1..%d\n", n_run);
	return n_failed ? 1 : 0;
}
