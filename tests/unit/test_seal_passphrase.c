#include <sys/resource.h>

#include "base/b64.h"
#include "keystore/le.h"
#include "tests/unit/sealing.h"
#include "tests/unit/tmpdir.h"

#define SMALL_KIB 8192 /* the least that the configuration takes */

static struct tmpdir dir;
static struct sealing said;

static struct seal seal_of(struct bytes text, unsigned memory_kib, unsigned passes)
{
	CLEANUP(secret_freep) struct secret *passphrase = sealing_secret(text);
	struct seal seal = { 0 };

	CHECK_INT(seal_passphrase_init(&seal, passphrase, memory_kib, passes), 0);
	return seal;
}

static void put_params(uint8_t p[33], uint64_t passes, uint64_t memory)
{
	p[0] = 1;
	memcpy(p + 1, "0123456789abcdef", 16);
	le64_put(p + 17, passes);
	le64_put(p + 25, memory);
}

static void check_hex(const struct secret *key, const char *hex)
{
	uint8_t want[SEAL_KEY_SIZE];

	CHECK_INT(hex_decode(bytes_str(hex), want, sizeof(want)), 0);
	CHECK_BYTES(secret_bytes(key), BYTES(want, sizeof(want)));
}

/* The keys were made by the reference implementation: argon2 0123456789abcdef -id -t 2 -k 8192 -p 1 -l 32 -r -v 13 */
static void test_known(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(seal_fini) struct seal seal = seal_of(BYTES_LIT("correct horse"), SMALL_KIB, 1);
	uint8_t params[33];

	put_params(params, 2, 8192 * 1024);
	CHECK_INT(sealing_open(&said, &seal, BYTES(params, sizeof(params)), &key), 0);
	check_hex(key, "3bc382900be1a5086645e5643548dd6c97748cfc94980aa565eaf33e0f3fd0fb");
#ifndef E2EED_VALGRIND /* takes minutes there */
	secret_free(TAKE(key));
	put_params(params, 3, 262144 * 1024);
	CHECK_INT(sealing_open(&said, &seal, BYTES(params, sizeof(params)), &key), 0);
	check_hex(key, "ae55b83ac467836d77c618b27b04cf5d9f36212f70c7ed51754a24746bec2df0");
#endif
}

static void test_round(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL, *other = NULL;
	CLEANUP(seal_fini) struct seal seal = seal_of(BYTES_LIT("one"), SMALL_KIB, 1);
	CLEANUP(seal_fini) struct seal dearer = seal_of(BYTES_LIT("one"), SMALL_KIB * 2, 2);
	CLEANUP(seal_fini) struct seal wrong = seal_of(BYTES_LIT("One"), SMALL_KIB, 1);
	struct bytes params;

	CHECK(!seal.made && !seal.existed);
	CHECK_INT(sealing_make(&said, &seal, &key), 0);
	CHECK_INT(secret_len(key), SEAL_KEY_SIZE);
	params = buf_bytes(&said.params);
	CHECK_INT(params.n, 33);
	CHECK_INT(params.p[0], 1);
	CHECK_INT(le64_get(params.p + 17), 1);
	CHECK_INT(le64_get(params.p + 25), (long long)SMALL_KIB * 1024);

	CHECK_INT(sealing_open(&said, &dearer, params, &again), 0); /* a slot keeps what it was made with */
	CHECK(secret_equal(key, again));
	CHECK_INT(sealing_open(&said, &wrong, params, &other), 0);
	CHECK(!secret_equal(key, other));

	/* the salt is new each time */
	secret_free(TAKE(other));
	CHECK_INT(sealing_make(&said, &seal, &other), 0);
	CHECK(!secret_equal(key, other));
}

static void test_lengths(void)
{
	static uint8_t text[1025];
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(seal_fini) struct seal none = seal_of(BYTES_NONE, SMALL_KIB, 1);
	CLEANUP(seal_fini) struct seal longest = seal_of(BYTES(text, 1024), SMALL_KIB, 1); /* zeros are bytes, too */
	CLEANUP(seal_fini) struct seal longer = seal_of(BYTES(text, 1025), SMALL_KIB, 1);

	CHECK_INT(sealing_make(&said, &none, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "0 bytes; possible are 1 to 1024"));
	CHECK_INT(sealing_make(&said, &longer, &key), ERR_SEAL);
	CHECK(sealing_says(&said, "1025 bytes"));
	CHECK_INT(said.params.n, 0);
	CHECK_INT(sealing_make(&said, &longest, &key), 0);
}

static void test_hostile_params(void)
{
	static const struct {
		uint64_t passes, memory;
	} rows[] = {
		{ 0, 8192 * 1024 }, { 65, 8192 * 1024 }, { UINT64_MAX, 8192 * 1024 }, { (1ULL << 32) + 1, 8192 * 1024 },
		{ 1, 0 },	    { 1, 8191 },	 { 1, (4ULL << 30) + 1 },     { 1, UINT64_MAX },
		{ 64, 1ULL << 63 },
	};
	CLEANUP(seal_fini) struct seal seal = seal_of(BYTES_LIT("x"), SMALL_KIB, 1);
	uint8_t params[34];

	put_params(params, 1, 8192);
	params[33] = 0;
	for (size_t n = 0; n <= 34; n++)
		CHECK_INT(sealing_refused(&said, &seal, BYTES(params, n)), n == 33 ? 0 : ERR_SEAL);
	CHECK(sealing_says(&said, "does not know"));
	params[0] = 2;
	CHECK_INT(sealing_refused(&said, &seal, BYTES(params, 33)), ERR_SEAL);
	CHECK(sealing_says(&said, "does not know"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_params(params, rows[i].passes, rows[i].memory);
		CHECK_INT(sealing_refused(&said, &seal, BYTES(params, 33)), ERR_SEAL);
		CHECK(sealing_says(&said, "possible are 8 to 4194304 KiB and 1 to 64 passes"));
	}
}

/* As many bytes as are mapped now and a little more: what Argon2 asks for is not to be had. */
static void test_no_memory(void)
{
	CLEANUP(seal_fini) struct seal seal = seal_of(BYTES_LIT("x"), SMALL_KIB, 1);
	CLEANUP(file_closep) FILE *f = fopen("/proc/self/statm", "re");
	struct rlimit was, less;
	uint8_t params[33];
	unsigned long pages = 0;
	char line[64] = "";

	tmpdir_need(f && fgets(line, sizeof(line), f), "/proc/self/statm");
	tmpdir_need(getrlimit(RLIMIT_AS, &was) == 0, "getrlimit");
	pages = strtoul(line, NULL, 10);
	less = was;
	less.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + (64UL << 20);
	put_params(params, 1, 4ULL << 30);
	CHECK(setrlimit(RLIMIT_AS, &less) == 0);
	CHECK_INT(sealing_refused(&said, &seal, BYTES(params, 33)), ERR_NOMEM);
	CHECK(setrlimit(RLIMIT_AS, &was) == 0);
	CHECK(sealing_says(&said, "4194304 KiB"));
}

static int read_file(const char *path, struct secret **ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);
	int r = seal_passphrase_read(path, &why, ret);

	sealing_keep(&said, r, &why);
	return r;
}

static void check_file(const char *path, struct bytes content, struct bytes want)
{
	CLEANUP(secret_freep) struct secret *text = NULL;

	tmpdir_write(path, content);
	CHECK_INT(read_file(path, &text), 0);
	if (text)
		CHECK_BYTES(secret_bytes(text), want);
}

static void test_read(void)
{
	static uint8_t longer[1026];
	struct secret *text = NULL;
	char path[TMPDIR_PATH];

	tmpdir_file(&dir, "passphrase", path);
	CHECK_INT(read_file(path, &text), ERR_SEAL);
	CHECK(sealing_says(&said, "missing") && sealing_says(&said, path));
	check_file(path, BYTES_LIT("a b\n"), BYTES_LIT("a b"));
	check_file(path, BYTES_LIT(" a\n\n"), BYTES_LIT(" a\n"));
	check_file(path, BYTES_LIT("a\r\n"), BYTES_LIT("a\r"));
	check_file(path, BYTES_LIT("\xff\0"), BYTES_LIT("\xff\0"));
	memset(longer, 'x', sizeof(longer));
	longer[1024] = '\n';
	check_file(path, BYTES(longer, 1025), BYTES(longer, 1024));
	longer[1024] = 'x';
	tmpdir_write(path, BYTES(longer, 1025));
	CHECK_INT(read_file(path, &text), ERR_SEAL);
	CHECK(sealing_says(&said, "1025 bytes"));
	tmpdir_write(path, BYTES(longer, 1026));
	CHECK_INT(read_file(path, &text), ERR_SEAL);
	CHECK(sealing_says(&said, "larger than"));
	tmpdir_write(path, BYTES_LIT("\n"));
	CHECK_INT(read_file(path, &text), ERR_SEAL);
	CHECK(sealing_says(&said, "0 bytes"));
	tmpdir_write(path, BYTES_LIT("x\n"));
	CHECK(chmod(path, 0644) == 0);
	CHECK_INT(read_file(path, &text), ERR_SEAL);
	CHECK(sealing_says(&said, "chmod 600"));
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
	CHECK_INT(read_file(path, &text), ERR_SEAL);
	CHECK(sealing_says(&said, "not a regular file"));
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	test_known();
	test_round();
	test_lengths();
	test_hostile_params();
	test_no_memory();
	test_read();
	sealing_fini(&said);
	tmpdir_remove(&dir);
	return test_end();
}
