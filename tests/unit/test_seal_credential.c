#include "base/b64.h"
#include "tests/unit/sealing.h"
#include "tests/unit/tmpdir.h"

#define NAME "e2eed.key"

static struct tmpdir dir;
static struct sealing said;
static char path[TMPDIR_PATH];
static char digits[65]; /* with a line feed at the end */
static uint8_t raw[SEAL_KEY_SIZE];

static int read_named(const char *name, struct secret **ret)
{
	CLEANUP(seal_fini) struct seal seal = { 0 };

	CHECK_INT(seal_credential_init(&seal, name), 0);
	CHECK(!seal.made && !seal.existed);
	return sealing_open(&said, &seal, BYTES_NONE, ret);
}

static int refused(const char *name)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	return read_named(name, &key);
}

static void gives_raw(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;

	CHECK_INT(read_named(NAME, &key), 0);
	if (key)
		CHECK_BYTES(secret_bytes(key), BYTES(raw, sizeof(raw)));
}

static void test_no_systemd(void)
{
	(void)unsetenv("CREDENTIALS_DIRECTORY");
	CHECK_INT(refused(NAME), ERR_SEAL);
	CHECK(sealing_says(&said, "CREDENTIALS_DIRECTORY is not set") && sealing_says(&said, "LoadCredential"));
	(void)setenv("CREDENTIALS_DIRECTORY", "", 1);
	CHECK_INT(refused(NAME), ERR_SEAL);
	(void)setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
	CHECK_INT(refused(NAME), ERR_SEAL);
	CHECK(sealing_says(&said, "not an absolute path"));
}

static void test_names(void)
{
	static const char *const bad[] = { "", ".", "..", "/etc/passwd", "../key", "a/b", "a/" };
	static char longest[PATH_MAX];
	char target[PATH_MAX];
	CLEANUP(buf_fini) struct buf why = BUF_INIT(1024);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_INT(refused(bad[i]), ERR_SEAL);
		CHECK(sealing_says(&said, "no name of a credential"));
	}
	memset(longest, 'x', sizeof(longest) - 1);
	CHECK_INT(refused(longest), ERR_SEAL);
	CHECK(sealing_says(&said, "too long"));
	CHECK_INT(seal_credential_path(NAME, &why, target), 0);
	CHECK(strcmp(target, path) == 0);
}

static void test_content(void)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(seal_fini) struct seal seal = { 0 };
	char was;

	CHECK_INT(refused(NAME), ERR_SEAL);
	CHECK(sealing_says(&said, "missing") && sealing_says(&said, path));
	tmpdir_write(path, BYTES(digits, 65));
	gives_raw();
	tmpdir_write(path, BYTES(digits, 64));
	gives_raw();
	tmpdir_write(path, BYTES(raw, sizeof(raw)));
	gives_raw();
	CHECK_INT(seal_credential_init(&seal, NAME), 0);
	CHECK_INT(sealing_make(&said, &seal, &key), 0); /* a new slot takes what is there */
	CHECK_BYTES(secret_bytes(key), BYTES(raw, sizeof(raw)));
	CHECK_INT(said.params.n, 0);
	CHECK_INT(sealing_refused(&said, &seal, BYTES_LIT("x")), ERR_SEAL);
	CHECK(sealing_says(&said, "does not know"));

	for (size_t n = 0; n <= 67; n++) { /* all other lengths */
		uint8_t text[67];

		memset(text, 'a', sizeof(text));
		tmpdir_write(path, BYTES(text, n));
		CHECK_INT(refused(NAME), n == 32 || n == 64 ? 0 : ERR_SEAL);
	}
	CHECK(sealing_says(&said, "larger than 65 bytes"));
	was = digits[3];
	digits[3] = 'g';
	tmpdir_write(path, BYTES(digits, 64));
	CHECK_INT(refused(NAME), ERR_SEAL);
	CHECK(sealing_says(&said, "64 hex digits, or exactly 32 bytes"));
	digits[3] = was;
}

/* What systemd makes: mode 0400, or 0440 of group root where an access list names the service's user. */
static void test_access(void)
{
	tmpdir_write(path, BYTES(raw, sizeof(raw)));
	CHECK(chmod(path, 0400) == 0);
	gives_raw();
	CHECK(chmod(path, 0444) == 0);
	CHECK_INT(refused(NAME), ERR_SEAL);
	CHECK(sealing_says(&said, "by others"));
	CHECK(chmod(path, 0460) == 0);
	CHECK_INT(refused(NAME), ERR_SEAL);
	if (geteuid() == 0) {
		CHECK(chmod(path, 0440) == 0);
		gives_raw();
		CHECK(chown(path, 0, 12345) == 0);
		CHECK_INT(refused(NAME), ERR_SEAL);
		CHECK(chown(path, 12345, 0) == 0);
		CHECK_INT(refused(NAME), ERR_SEAL);
	}
	CHECK(unlink(path) == 0);
}

/* An encrypted credential made and opened by systemd itself, under a host key of ours. */
static void test_encrypted(void)
{
	char secret[TMPDIR_PATH], sealed[TMPDIR_PATH], command[4 * TMPDIR_PATH];
	FILE *f;
	int status;

	tmpdir_file(&dir, "host-key", secret);
	tmpdir_file(&dir, "sealed", sealed);
	tmpdir_need(mkdir(secret, 0700) == 0, secret);
	tmpdir_file(&dir, "host-key/credential.secret", secret);
	(void)setenv("SYSTEMD_CREDENTIAL_SECRET", secret, 1);
	(void)snprintf(command, sizeof(command), "systemd-creds encrypt -q --with-key=host --name=" NAME " - %s",
		       sealed);
	f = popen(command, "we");
	tmpdir_need(f != NULL, "popen");
	CHECK(fwrite(digits, 1, 65, f) == 65);
	status = pclose(f);
	if (status != 0 && access("/etc/machine-id", R_OK) < 0) {
		printf("# skipped: systemd-creds needs /etc/machine-id, which this machine does not have\n");
		return;
	}
	CHECK_INT(status, 0);
	(void)snprintf(command, sizeof(command), "umask 277 && systemd-creds decrypt -q --name=" NAME " %s %s", sealed,
		       path);
	CHECK_INT(system(command), 0);
	gives_raw();
}

int main(void)
{
	test_start();
	tmpdir_make(&dir);
	tmpdir_file(&dir, NAME, path);
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(i * 7 + 1);
	hex_encode(BYTES(raw, sizeof(raw)), digits);
	digits[64] = '\n';
	test_no_systemd();
	(void)setenv("CREDENTIALS_DIRECTORY", dir.path, 1);
	test_names();
	test_content();
	test_access();
	test_encrypted();
	sealing_fini(&said);
	tmpdir_remove(&dir);
	return test_end();
}
