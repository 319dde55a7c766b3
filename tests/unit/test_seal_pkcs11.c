/* The seal on a real SoftHSM2 token, in a folder of the test's own. */
#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>

#include "tests/unit/sealing.h"
#include "tests/unit/tmpdir.h"

#define MODULE	    "/usr/lib/softhsm/libsofthsm2.so"
#define AT_MODULE   "?module-path=" MODULE
#define URI	    "pkcs11:token=e2eed%20test;object=kek" AT_MODULE
#define PARAMS_SIZE 61

static struct tmpdir dir;
static struct sealing said;
static char pin_file[TMPDIR_PATH];

static void run(const char *command)
{
	char quiet[1024];

	(void)snprintf(quiet, sizeof(quiet), "{ %s; } >%s/log 2>&1", command, dir.path);
	tmpdir_need(system(quiet) == 0, command);
}

static void make_key(const char *token, const char *label, const char *id, const char *type)
{
	char command[512];

	(void)snprintf(command, sizeof(command),
		       "pkcs11-tool --module " MODULE " --token-label '%s' --login --pin 1234 --keygen --key-type %s "
		       "--label %s --id %s",
		       token, type, label, id);
	run(command);
}

static void make_tokens(void)
{
	char path[TMPDIR_PATH], text[2 * TMPDIR_PATH];

	tmpdir_file(&dir, "tokens", path);
	tmpdir_need(mkdir(path, 0700) == 0, path);
	(void)snprintf(text, sizeof(text), "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n",
		       path);
	tmpdir_file(&dir, "softhsm2.conf", path);
	tmpdir_write(path, bytes_str(text));
	tmpdir_need(setenv("SOFTHSM2_CONF", path, 1) == 0, path);
	run("softhsm2-util --init-token --free --label 'e2eed test' --so-pin 5678 --pin 1234");
	run("softhsm2-util --init-token --free --label other --so-pin 5678 --pin 1234");
	make_key("e2eed test", "kek", "01", "AES:32");
	make_key("e2eed test", "twin", "02", "AES:32");
	make_key("e2eed test", "twin", "03", "AES:16");
	make_key("e2eed test", "kek", "04", "GENERIC:32"); /* of no use, and not to be mistaken for the other */
	make_key("other", "kek", "01", "AES:32");
	tmpdir_file(&dir, "pin", pin_file);
	tmpdir_write(pin_file, BYTES_LIT("1234\n"));
}

static struct seal seal_of(const char *uri, const char *pin)
{
	struct seal seal = { 0 };

	CHECK_INT(seal_pkcs11_init(&seal, uri, pin), 0);
	return seal;
}

static void refused(const char *uri, const char *pin, const char *says)
{
	CLEANUP(seal_fini) struct seal seal = seal_of(uri, pin);
	CLEANUP(secret_freep) struct secret *key = NULL;

	CHECK_INT(sealing_make(&said, &seal, &key), ERR_SEAL);
	CHECK(!key && said.params.n == 0);
	test_ok(sealing_says(&said, says), __FILE__, __LINE__, says);
}

/* Parameters of a new slot; what opens them and what does not. */
static void test_round(void)
{
	CLEANUP(seal_fini) struct seal seal = seal_of(URI, pin_file);
	CLEANUP(seal_fini)
	struct seal by_id = seal_of("pkcs11:token=e2eed%20test;id=%01;type=secret-key" AT_MODULE, pin_file);
	CLEANUP(seal_fini) struct seal other = seal_of("pkcs11:token=other;object=kek" AT_MODULE, pin_file);
	CLEANUP(secret_freep) struct secret *key = NULL, *again = NULL, *second = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(SEAL_MAX_PARAMS);
	struct bytes p;

	CHECK(!seal.made && !seal.existed);
	CHECK_INT(sealing_make(&said, &seal, &key), 0);
	if (said.params.n != PARAMS_SIZE) {
		printf("Bail out! %s\n", said.why);
		exit(1);
	}
	CHECK_INT(secret_len(key), SEAL_KEY_SIZE);
	CHECK_INT(said.params.p[0], 1);
	CHECK(!memmem(said.params.p, said.params.n, secret_read(key), SEAL_KEY_SIZE));
	buf_put_bytes(&params, buf_bytes(&said.params));
	p = buf_bytes(&params);
	CHECK_INT(sealing_open(&said, &seal, p, &again), 0);
	CHECK(again && secret_equal(key, again));
	secret_free(TAKE(again));
	CHECK_INT(sealing_open(&said, &by_id, p, &again), 0);
	CHECK(again && secret_equal(key, again));
	CHECK_INT(sealing_refused(&said, &other, p), ERR_SEAL);
	CHECK(sealing_says(&said, "another key, or the slot is damaged"));
	CHECK_INT(sealing_make(&said, &seal, &second), 0); /* another one */
	CHECK(!secret_equal(key, second));

	for (size_t i = 0; i < p.n; i += i == 0 ? 6 : 9) { /* version, and a byte of each part */
		params.p[i] ^= 1;
		CHECK_INT(sealing_refused(&said, &seal, p), ERR_SEAL);
		CHECK(sealing_says(&said, i == 0 ? "does not know" : "another key, or the slot is damaged"));
		params.p[i] ^= 1;
	}
	CHECK_INT(sealing_refused(&said, &seal, bytes_sub(p, 0, p.n - 1)), ERR_SEAL);
	CHECK_INT(sealing_refused(&said, &seal, BYTES_NONE), ERR_SEAL);
	CHECK(sealing_says(&said, "does not know"));
}

static void test_pin(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(seal_fini) struct seal seal = seal_of(URI, pin_file);
	char missing[TMPDIR_PATH];
	uint8_t longer[257];

	refused(URI, "", "pkcs11_pin_file");
	tmpdir_file(&dir, "no-pin", missing);
	refused(URI, missing, "is missing");
	tmpdir_write(pin_file, BYTES_LIT("4321\n"));
	refused(URI, pin_file, "locks itself");
	CHECK(strstr(said.why, "4321") == NULL);
	tmpdir_write(pin_file, BYTES_LIT("\n"));
	refused(URI, pin_file, "0 bytes");
	memset(longer, '1', sizeof(longer));
	tmpdir_write(pin_file, BYTES(longer, 256));
	refused(URI, pin_file, "256 bytes");
	tmpdir_write(pin_file, BYTES(longer, 257));
	refused(URI, pin_file, "larger than");
	tmpdir_write(pin_file, BYTES_LIT("1234"));
	CHECK(chmod(pin_file, 0644) == 0);
	refused(URI, pin_file, "chmod 600");
	CHECK(chmod(pin_file, 0600) == 0);
	CHECK_INT(sealing_make(&said, &seal, &key), 0); /* a line's end is not needed */
}

static void test_uris(void)
{
	refused("pkcs11:token=e2eed%20test;object=nobody" AT_MODULE, pin_file, "no such AES key");
	refused("pkcs11:token=e2eed%20test;object=twin" AT_MODULE, pin_file, "several AES keys");
	refused("pkcs11:token=nobody;object=kek" AT_MODULE, pin_file, "no such token");
	refused("pkcs11:manufacturer=nobody;object=kek" AT_MODULE, pin_file, "no such token");
	refused("pkcs11:object=kek" AT_MODULE, pin_file, "several tokens fit");
	refused("pkcs11:token=e2eed%20test" AT_MODULE, pin_file, "names no key");
	refused("pkcs11:token=e2eed%20test;object=kek;type=private" AT_MODULE, pin_file, "must be secret-key");
	refused("pkcs11:token=e2eed%20test;object=kek;colour=red" AT_MODULE, pin_file, "not known here");
	refused("pkcs11:token=e2eed%20test;object=kek?module-path=softhsm/libsofthsm2.so", pin_file, "absolute path");
	refused("pkcs11:token=e2eed%20test;object=kek?module-path=/nonexistent.so", pin_file,
		"/nonexistent.so cannot be loaded");
	refused("pkcs11:token=e2eed%20test;object=kek?module-path=/etc/passwd", pin_file,
		"/etc/passwd cannot be loaded");
	refused("e2eed", pin_file, "must look like");
	refused("", pin_file, "must look like");
	refused("pkcs11:token=%zz", pin_file, "must look like");
	refused(URI "&pin-value=1234", pin_file, "pkcs11_pin_file");
	CHECK(strstr(said.why, "1234") == NULL);
	refused(URI "&pin-source=file:/x", pin_file, "pkcs11_pin_file");
	refused("pkcs11:token=e2eed%20test;object=kek;slot-id=77777" AT_MODULE, pin_file, "no such token");
}

/* A key that its token does not let encrypt, which pkcs11-tool cannot make. Return: the first thing that went wrong. */
static CK_RV make_unusable(CK_FUNCTION_LIST *p11)
{
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ULONG size = 32, n = 8;
	CK_ATTRIBUTE attrs[] = { { CKA_TOKEN, &yes, sizeof(yes) },
				 { CKA_ENCRYPT, &no, sizeof(no) },
				 { CKA_DECRYPT, &no, sizeof(no) },
				 { CKA_VALUE_LEN, &size, sizeof(size) },
				 { CKA_LABEL, (void *)(uintptr_t) "unusable", 8 } };
	CK_MECHANISM m = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_SLOT_ID slots[8], slot = 0;
	CK_SESSION_HANDLE session;
	CK_TOKEN_INFO info;
	CK_OBJECT_HANDLE key;
	CK_RV rv = p11->C_GetSlotList(CK_TRUE, slots, &n);

	for (CK_ULONG i = 0; rv == CKR_OK && i < n; i++) {
		rv = p11->C_GetTokenInfo(slots[i], &info);
		if (rv == CKR_OK && memcmp(info.label, "other ", 6) == 0)
			slot = slots[i];
	}
	if (rv == CKR_OK)
		rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
	if (rv == CKR_OK)
		rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4);
	if (rv == CKR_OK)
		rv = p11->C_GenerateKey(session, &m, attrs, sizeof(attrs) / sizeof(attrs[0]), &key);
	return rv;
}

static void test_unusable_key(void)
{
	CK_FUNCTION_LIST *p11 = p11_kit_module_load(MODULE, 0);

	CHECK(p11 && p11_kit_module_initialize(p11) == CKR_OK);
	CHECK_INT(make_unusable(p11), CKR_OK);
	CHECK_INT(p11_kit_module_finalize(p11), CKR_OK);
	p11_kit_module_release(p11);
	refused("pkcs11:token=other;object=unusable" AT_MODULE, pin_file, "its CKA_ENCRYPT must be true");
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	make_tokens();
	test_round();
	test_pin();
	test_uris();
	test_unusable_key();
	sealing_fini(&said);
	tmpdir_remove(&dir);
	return test_end();
}
