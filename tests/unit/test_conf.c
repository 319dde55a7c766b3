/* Every key with good and bad values, every way a file can be wrong with the line it names, the shipped example, reloading. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/schema.h"
#include "tests/unit/tap.h"

static char path[] = "/tmp/e2eed-test-conf-XXXXXX";

static void write_file(const char *text, size_t n)
{
	CLEANUP(file_closep) FILE *f = fopen(path, "w");

	if (!f || fwrite(text, 1, n, f) != n || fflush(f) != 0) {
		printf("Bail out! cannot write %s\n", path);
		exit(1);
	}
}

static int load_bytes(const char *text, size_t n, struct conf *ret, struct buf *why)
{
	write_file(text, n);
	buf_reset(why);
	return conf_load(path, ret, why);
}

static void show(const char *text, const struct buf *why)
{
	printf("# file: %s\n# said: %.*s\n", text, (int)why->n, why->p ? (const char *)why->p : "");
}

/* The file is refused, the first problem is at @line and its text has @says. */
static void refuses_bytes(const char *text, size_t n, unsigned line, const char *says)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	char place[128];
	struct conf c;
	bool ok;
	int r;

	memset(&c, 0x5a, sizeof(c));
	r = load_bytes(text, n, &c, &why);
	CHECK_INT(r, ERR_CONFIG);
	buf_put_byte(&why, '\0');
	(void)snprintf(place, sizeof(place), "%s:%u: ", path, line);
	ok = strncmp((const char *)why.p, place, strlen(place)) == 0 && strstr((const char *)why.p, says);
	CHECK(ok && says);
	if (!ok)
		show(text, &why);
	CHECK(c.app_socket[0] == 0x5a); /* untouched */
}

static void refuses(const char *text, unsigned line, const char *says)
{
	refuses_bytes(text, strlen(text), line, says);
}

static void takes(const char *text, struct conf *ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	int r = load_bytes(text, strlen(text), ret, &why);

	CHECK_INT(r, 0);
	CHECK_INT(why.n, 0);
	if (r < 0) {
		show(text, &why);
		conf_defaults(ret);
	}
}

static bool same(const struct conf *a, const struct conf *b)
{
	const struct conf_key *keys;
	bool equal = true;
	size_t n;

	keys = conf_schema(&n);
	for (size_t i = 0; i < n; i++) {
		if (!conf_key_equal(&keys[i], a, b)) {
			printf("# %s.%s differs\n", keys[i].section, keys[i].name);
			equal = false;
		}
	}
	return equal;
}

static void test_defaults(void)
{
	struct conf c, empty;

	conf_defaults(&c);
	CHECK(strcmp(c.app_socket, "/run/e2eed/app.sock") == 0);
	CHECK_INT(c.app_socket_mode, 0660);
	CHECK(strcmp(c.admin_socket, "/run/e2eed/admin.sock") == 0);
	CHECK(c.tcp[0] == '\0');
	CHECK(strcmp(c.keystore_path, "/var/lib/e2eed/keystore") == 0);
	CHECK_INT(c.seal, CONF_SEAL_KEYFILE);
	CHECK(strcmp(c.key_file, "/var/lib/e2eed/keystore.key") == 0);
	CHECK(c.create);
	CHECK(!c.passphrase_file[0] && !c.passphrase_credential[0] && !c.command_wrap[0] && !c.command_unwrap[0]);
	CHECK(!c.pkcs11_uri[0] && !c.pkcs11_pin_file[0] && !c.anchor[0]);
	CHECK_INT(c.passphrase_memory_kib, 262144);
	CHECK_INT(c.passphrase_passes, 3);
	CHECK(strcmp(c.credential, "e2eed.key") == 0);
	CHECK_INT(c.command_timeout_ms, 10000);
	CHECK_INT(c.loops, 1);
	CHECK_INT(c.threads, 0);
	CHECK_INT(c.max_frame_bytes, 1048576);
	CHECK_INT(c.max_connections, 1024);
	CHECK_INT(c.max_in_flight, 1024);
	CHECK_INT(c.auth_timeout_ms, 10000);
	CHECK_INT(c.rate_per_app, 0);
	CHECK_INT(c.n_admin_uids, 0);
	CHECK_INT(c.mlock, CONF_MLOCK_AUTO);
	CHECK(c.sandbox);
	CHECK_INT(c.level, LOG_LEVEL_INFO);
	CHECK(c.audit[0] == '\0');

	takes("", &empty);
	CHECK(same(&c, &empty));
}

/* The example names every key once, and says what the defaults are. */
static void test_example(void)
{
	CLEANUP(file_closep) FILE *f = fopen("conf/e2eed.conf", "r");
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	static char text[65536];
	const struct conf_key *keys;
	struct conf c, defaults;
	size_t n = 0;

	CHECK(f != NULL);
	if (!f)
		return;
	text[0] = '\n'; /* so that each line has one before it */
	n = fread(text + 1, 1, sizeof(text) - 2, f);
	text[n + 1] = '\0';

	CHECK_INT(conf_load("conf/e2eed.conf", &c, &why), 0);
	CHECK_INT(why.n, 0);
	conf_defaults(&defaults);
	CHECK(same(&c, &defaults));

	keys = conf_schema(&n);
	for (size_t i = 0; i < n; i++) {
		bool off = !*keys[i].otherwise;
		const char *section, *found, *next;
		char line[256];

		(void)snprintf(line, sizeof(line), "\n[%s]\n", keys[i].section);
		section = strstr(text, line);
		(void)snprintf(line, sizeof(line), "\n%s%s = %s%s", off ? "; " : "", keys[i].name, keys[i].otherwise,
			       off ? "" : "\n");
		found = section ? strstr(section, line) : NULL;
		next = section ? strstr(section + 2, "\n[") : NULL;
		test_ok(found && (!next || found < next), __FILE__, __LINE__, keys[i].name);
		CHECK(!found || strstr(found + 1, line) == NULL);
	}
}

static void test_values(void)
{
	struct conf c;

	takes("[listen]\napp_socket = @e2eed\napp_socket_mode=600\nadmin_socket = \ntcp = 127.1.2.3:0\n", &c);
	CHECK(strcmp(c.app_socket, "@e2eed") == 0);
	CHECK_INT(c.app_socket_mode, 0600);
	CHECK(c.admin_socket[0] == '\0');
	CHECK(strcmp(c.tcp, "127.1.2.3:0") == 0);
	takes("[listen]\ntcp = [::1]:65535", &c);
	CHECK(strcmp(c.tcp, "[::1]:65535") == 0);

	takes("[keystore]\npath = /a b=c;d#e/\xc3\xa4\nseal = keyfile\nkey_file = /k\ncreate = OFF\n", &c);
	CHECK(strcmp(c.keystore_path, "/a b=c;d#e/\xc3\xa4") == 0);
	CHECK(strcmp(c.key_file, "/k") == 0);
	CHECK(!c.create);

	takes("[keystore]\nseal = passphrase\npassphrase_file = /p\npassphrase_memory_kib = 8192\npassphrase_passes = 64\n",
	      &c);
	CHECK_INT(c.seal, CONF_SEAL_PASSPHRASE);
	CHECK(strcmp(c.passphrase_file, "/p") == 0);
	CHECK_INT(c.passphrase_memory_kib, 8192);
	CHECK_INT(c.passphrase_passes, 64);
	takes("[keystore]\nseal = passphrase\n", &c); /* it is given later */
	takes("[keystore]\nseal = passphrase\npassphrase_credential = p.1\n", &c);
	CHECK(strcmp(c.passphrase_credential, "p.1") == 0);
	takes("[keystore]\nseal = credential\ncredential = ..k\n", &c);
	CHECK_INT(c.seal, CONF_SEAL_CREDENTIAL);
	CHECK(strcmp(c.credential, "..k") == 0);
	takes("[keystore]\nseal = command\ncommand_wrap = /k w\ncommand_unwrap = /k u\ncommand_timeout_ms = 100\n", &c);
	CHECK_INT(c.seal, CONF_SEAL_COMMAND);
	CHECK(strcmp(c.command_wrap, "/k w") == 0 && strcmp(c.command_unwrap, "/k u") == 0);
	CHECK_INT(c.command_timeout_ms, 100);
	takes("[keystore]\nseal = pkcs11\npkcs11_uri = pkcs11:token=a;object=b\npkcs11_pin_file = /pin\nanchor = /a\n",
	      &c);
	CHECK_INT(c.seal, CONF_SEAL_PKCS11);
	CHECK(strcmp(c.pkcs11_uri, "pkcs11:token=a;object=b") == 0);
	CHECK(strcmp(c.pkcs11_pin_file, "/pin") == 0 && strcmp(c.anchor, "/a") == 0);

	takes("[workers]\r\n  loops = 64\r\n\tthreads = 256\r\n", &c);
	CHECK_INT(c.loops, 64);
	CHECK_INT(c.threads, 256);
	takes("[workers]\nthreads = auto\n", &c);
	CHECK_INT(c.threads, 0);

	takes("\xef\xbb\xbf[limits]\nmax_frame_bytes = 67108864\nmax_connections = 1000000\nmax_in_flight = 65536\n"
	      "auth_timeout_ms = 600000\nrate_per_app = 1000000\n",
	      &c);
	CHECK_INT(c.max_frame_bytes, 67108864);
	CHECK_INT(c.max_connections, 1000000);
	CHECK_INT(c.max_in_flight, 65536);
	CHECK_INT(c.auth_timeout_ms, 600000);
	CHECK_INT(c.rate_per_app, 1000000);
	takes("[limits]\nmax_frame_bytes = 1024\nmax_connections = 1\nmax_in_flight = 1\nauth_timeout_ms = 100\n", &c);
	CHECK_INT(c.max_frame_bytes, 1024);
	CHECK_INT(c.auth_timeout_ms, 100);

	takes("[security]\nadmin_uids = 998, 0 ,4294967294\nmlock = require\nsandbox = no\n", &c);
	CHECK_INT(c.n_admin_uids, 3);
	CHECK_INT(c.admin_uids[0], 998);
	CHECK_INT(c.admin_uids[1], 0);
	CHECK_INT(c.admin_uids[2], 4294967294);
	CHECK_INT(c.mlock, CONF_MLOCK_REQUIRE);
	CHECK(!c.sandbox);
	takes("[security]\nadmin_uids =\nmlock = off\nsandbox = On\n", &c);
	CHECK_INT(c.n_admin_uids, 0);
	CHECK_INT(c.mlock, CONF_MLOCK_OFF);
	CHECK(c.sandbox);

	takes("[log]\nlevel = debug\naudit = /var/lib/e2eed/audit.log\n[keystore]\n# a section may come again\n[log]\n",
	      &c);
	CHECK_INT(c.level, LOG_LEVEL_DEBUG);
	CHECK(strcmp(c.audit, "/var/lib/e2eed/audit.log") == 0);
	takes("[log]\nlevel = error\n", &c);
	CHECK_INT(c.level, LOG_LEVEL_ERROR);
	takes("[log]\nlevel = warning\n", &c);
	CHECK_INT(c.level, LOG_LEVEL_WARNING);

	for (int i = 0; i < 6; i++) {
		static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };
		char text[64];

		(void)snprintf(text, sizeof(text), "[keystore]\ncreate = %s\n", words[i]);
		takes(text, &c);
		CHECK_INT(c.create, i % 2);
	}
}

static void test_bad_values(void)
{
	static const struct {
		const char *section, *key, *value, *says;
	} rows[] = {
		{ "listen", "app_socket", "run/app.sock", "an absolute path" },
		{ "listen", "app_socket", "@", "@name" },
		{ "listen", "app_socket", "/run/", "not of a folder" },
		{ "listen", "admin_socket",
		  "/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
		  "6",
		  "108 bytes are too long; at most 107" },
		{ "listen", "app_socket_mode", "rw", "octal" },
		{ "listen", "app_socket_mode", "0680", "octal" },
		{ "listen", "app_socket_mode", "1000", "octal" },
		{ "listen", "app_socket_mode", "", "octal" },
		{ "listen", "tcp", "127.0.0.1", "no port" },
		{ "listen", "tcp", "127.0.0.1:", "no port" },
		{ "listen", "tcp", "127.0.0.1:65536", "no port" },
		{ "listen", "tcp", "127.0.0.1:-1", "no port" },
		{ "listen", "tcp", "[::1]", "no port" },
		{ "listen", "tcp", "localhost:7438", "not a numeric address" },
		{ "listen", "tcp", ":7438", "not a numeric address" },
		{ "listen", "tcp", "::1:7438", "not a numeric address" },
		{ "listen", "tcp", "[127.0.0.1]:7438", "not a numeric address" },
		{ "listen", "tcp", "0.0.0.0:7438", "not a loopback address" },
		{ "listen", "tcp", "192.168.1.1:7438", "not a loopback address" },
		{ "listen", "tcp", "128.0.0.1:7438", "not a loopback address" },
		{ "listen", "tcp", "[::]:7438", "not a loopback address" },
		{ "listen", "tcp", "[::2]:7438", "not a loopback address" },
		{ "listen", "tcp", "[::ffff:127.0.0.1]:7438", "not a loopback address" },
		{ "keystore", "path", "", "no value; expected an absolute path" },
		{ "keystore", "path", "keystore", "an absolute path" },
		{ "keystore", "path", "@keystore", "an absolute path" },
		{ "keystore", "key_file", "~/key", "an absolute path" },
		{ "keystore", "seal", "wax",
		  "\"wax\" is not usable; expected keyfile, passphrase, credential, command or pkcs11" },
		{ "keystore", "seal", "command", "needs command_wrap, which is missing" },
		{ "keystore", "seal", "pkcs11", "needs pkcs11_uri, which is missing" },
		{ "keystore", "passphrase_file", "pass", "an absolute path, or nothing" },
		{ "keystore", "passphrase_credential", "a/b", "without a folder, or nothing" },
		{ "keystore", "passphrase_memory_kib", "8191", "from 8192 to 4194304" },
		{ "keystore", "passphrase_memory_kib", "4194305", "from 8192 to 4194304" },
		{ "keystore", "passphrase_passes", "0", "from 1 to 64" },
		{ "keystore", "passphrase_passes", "65", "from 1 to 64" },
		{ "keystore", "credential", "", "the name of a credential" },
		{ "keystore", "credential", "..", "the name of a credential" },
		{ "keystore", "credential", ".", "the name of a credential" },
		{ "keystore", "credential", "/etc/key", "the name of a credential" },
		{ "keystore", "command_wrap", "kms encrypt", "the absolute path of a program" },
		{ "keystore", "command_unwrap", "~/kms", "the absolute path of a program" },
		{ "keystore", "command_timeout_ms", "99", "from 100 to 600000" },
		{ "keystore", "command_timeout_ms", "600001", "from 100 to 600000" },
		{ "keystore", "pkcs11_uri", "token=a", "expected pkcs11:" },
		{ "keystore", "pkcs11_uri", "pkcs11:token=a?pin-value=1234", "pkcs11_pin_file" },
		{ "keystore", "pkcs11_uri", "pkcs11:token=a?pin-source=/x", "pkcs11_pin_file" },
		{ "keystore", "pkcs11_pin_file", "pin", "an absolute path, or nothing" },
		{ "keystore", "anchor", "anchor", "an absolute path, or nothing" },
		{ "keystore", "create", "maybe", "yes or no" },
		{ "keystore", "create", "", "yes or no" },
		{ "workers", "loops", "0", "from 1 to 64" },
		{ "workers", "loops", "65", "from 1 to 64" },
		{ "workers", "loops", "auto", "from 1 to 64" },
		{ "workers", "threads", "0", "auto or a number from 1 to 256" },
		{ "workers", "threads", "257", "auto or a number from 1 to 256" },
		{ "limits", "max_frame_bytes", "1023", "from 1024 to 67108864" },
		{ "limits", "max_frame_bytes", "67108865", "from 1024 to 67108864" },
		{ "limits", "max_frame_bytes", "1M", "from 1024 to 67108864" },
		{ "limits", "max_frame_bytes", "99999999999999999999999", "from 1024 to 67108864" },
		{ "limits", "max_frame_bytes", "-1", "from 1024 to 67108864" },
		{ "limits", "max_frame_bytes", "+2048", "from 1024 to 67108864" },
		{ "limits", "max_connections", "0", "from 1 to 1000000" },
		{ "limits", "max_connections", "1000001", "from 1 to 1000000" },
		{ "limits", "max_in_flight", "0", "from 1 to 65536" },
		{ "limits", "max_in_flight", "65537", "from 1 to 65536" },
		{ "limits", "auth_timeout_ms", "99", "from 100 to 600000" },
		{ "limits", "auth_timeout_ms", "600001", "from 100 to 600000" },
		{ "limits", "rate_per_app", "1000001", "from 0 to 1000000" },
		{ "limits", "rate_per_app", "1.5", "from 0 to 1000000" },
		{ "security", "admin_uids", "root", "numeric user ids" },
		{ "security", "admin_uids", "1 -1", "numeric user ids" },
		{ "security", "admin_uids", "4294967295", "numeric user ids" },
		{ "security", "admin_uids", "00000000000000000000001", "numeric user ids" },
		{ "security", "admin_uids",
		  "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 "
		  "1 1 1 1 1 1 1 1 1 1 1",
		  "more than 64" },
		{ "security", "mlock", "yes", "expected auto, require or off" },
		{ "security", "sandbox", "2", "yes or no" },
		{ "log", "level", "loud", "\"loud\" is not usable; expected error, warning, info or debug" },
		{ "log", "audit", "audit.log", "an absolute path, or nothing" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[512];

		(void)snprintf(text, sizeof(text), "# a comment\n[%s]\n\n%s = %s\n", rows[i].section, rows[i].key,
			       rows[i].value);
		refuses(text, 4, rows[i].says);
	}
}

/* What is refused for the PIN in it must not be repeated in the log. */
static void test_pin_not_shown(void)
{
	static const char text[] = "[keystore]\npkcs11_uri = pkcs11:token=a?pin-value=31337\n";
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	struct conf c;

	CHECK_INT(load_bytes(text, strlen(text), &c, &why), ERR_CONFIG);
	CHECK(why.n && !memmem(why.p, why.n, "31337", 5));
}

static void test_bad_files(void)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	static char large[65537];
	char text[512];
	struct conf c;

	refuses("[nowhere]\nx = 1\n", 2, "no such section: [nowhere] of x; expected [listen] [keystore] [workers]");
	refuses("[log]\n\ncolour = yes\n", 3, "no such key in [log]: colour; expected level audit");
	refuses("level = info\n", 1, "before the first section");
	refuses("[log]\nlevel = info\nlevel = info\n", 3, "level was given already, in line 2");
	refuses("[log]\nlevel = info\n[listen]\n[log]\nlevel = debug\n", 5, "in line 2");
	refuses("[log]\nlevel\n", 2, "neither a section nor a key");
	refuses("[log]\nlevel = info ; quiet\n", 2, "comments on lines of their own");
	refuses("[keystore]\npath = /a # here\n", 2, "comments on lines of their own");
	refuses("[log\nlevel = info\n", 1, "[name] alone on its line");
	refuses("[log] level = info\n", 1, "[name] alone on its line");
	refuses("[log] x]\n", 1, "[name] alone on its line");
	refuses("[security]\nadmin_uids = 1\n  2\n", 3, "neither a section nor a key"); /* a continuation line */
	refuses("[log]\n = info\n", 2, "no such key");
	refuses("[log]\nlevel: info\n", 2, "neither a section nor a key");

	/* Bytes that are no text: also in comments, where they could hide something from a reader. */
	refuses_bytes("[log]\nlevel = in\0fo\n", 20, 2, "control character");
	refuses("[log]\nlevel = in\x1b[31mfo\n", 2, "control character");
	refuses("# \xff\n", 1, "invalid UTF-8");
	refuses("# \xc0\xaf\n", 1, "invalid UTF-8");
	refuses("# \xe0\x80\xaf\n", 1, "invalid UTF-8");
	refuses("# \xed\xa0\x80\n", 1, "invalid UTF-8");
	refuses("# \xf4\x90\x80\x80\n", 1, "invalid UTF-8");
	refuses("# \xe2\x82\n", 1, "invalid UTF-8");
	refuses("# \r \n", 1, "control character");
	takes("# \xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x92\n", &c);

	/* Longer than inih's buffer: it would read the rest as a line of its own. Comments may be long. */
	(void)snprintf(text, sizeof(text), "[keystore]\npath = /%0300d\n", 0);
	refuses(text, 2, "too long for a line");
	(void)snprintf(text, sizeof(text), "# %0300d\n", 0);
	takes(text, &c);
	(void)snprintf(text, sizeof(text), "[keystore]\npath = /%0190d\n", 1);
	takes(text, &c);
	CHECK_INT(strlen(c.keystore_path), 191);

	refuses("[listen]\napp_socket = @x\nadmin_socket = @x\n", 3, "the same");
	refuses("[listen]\nadmin_socket = /run/e2eed/app.sock\n", 2, "the same");
	refuses("[keystore]\nkey_file = /k\npath = /k\n", 3, "the same");
	refuses("[keystore]\nanchor = /k\npath = /k\n", 3, "the same");
	refuses("[keystore]\nanchor = /k\nkey_file = /k\n", 3, "the same");
	for (const char *const *other =
		     (const char *const[]){ "path", "key_file", "anchor", "passphrase_file", "pkcs11_pin_file", NULL };
	     *other; other++) {
		(void)snprintf(text, sizeof(text), "[keystore]\n%s = /k\n[log]\naudit = /k\n", *other);
		refuses(text, 4, "the same");
	}
	refuses("[keystore]\ncommand_wrap = /k\n\nseal = command\n", 4, "needs command_unwrap");
	refuses("[keystore]\npassphrase_file = /k\npassphrase_credential = k\n", 3, "expected one of them");
	takes("[listen]\napp_socket =\nadmin_socket =\n", &c);

	/* All problems, one line each. */
	CHECK_INT(load_bytes("[log]\nlevel = x\nlevle = y\n[lgo]\n[workers]\nloops = 0\n", 52, &c, &why), ERR_CONFIG);
	buf_put_byte(&why, '\0');
	CHECK(strstr((const char *)why.p, ":2: level: "));
	CHECK(strstr((const char *)why.p, ":3: no such key"));
	CHECK(strstr((const char *)why.p, ":6: loops: "));

	memset(large, '\n', sizeof(large));
	write_file(large, sizeof(large));
	buf_reset(&why);
	CHECK_INT(conf_load(path, &c, &why), ERR_CONFIG);
	buf_put_byte(&why, '\0');
	CHECK(strstr((const char *)why.p, ": larger than 64 KiB"));
	buf_reset(&why);
	CHECK_INT(conf_load("/nonexistent/e2eed.conf", &c, &why), ERR_CONFIG);
	buf_put_byte(&why, '\0');
	CHECK(strstr((const char *)why.p, "/nonexistent/e2eed.conf: no such file"));
	buf_reset(&why);
	CHECK_INT(conf_load("/tmp", &c, &why), ERR_CONFIG);
	buf_put_byte(&why, '\0');
	CHECK(strstr((const char *)why.p, "/tmp: not a regular file"));
}

static void test_reload(void)
{
	static const char other[] =
		"[listen]\napp_socket=@o\napp_socket_mode=0600\nadmin_socket=@p\ntcp=127.0.0.1:1\n"
		"[keystore]\npath=/o\nkey_file=/p\ncreate=no\nseal=command\npassphrase_file=/r\n"
		"passphrase_memory_kib=8192\npassphrase_passes=1\ncredential=s\ncommand_wrap=/t\ncommand_unwrap=/u\n"
		"command_timeout_ms=100\npkcs11_uri=pkcs11:v\npkcs11_pin_file=/w\nanchor=/x\n[workers]\nloops=2\nthreads=2\n"
		"[limits]\nmax_frame_bytes=2048\nmax_connections=2\nmax_in_flight=2\nauth_timeout_ms=200\nrate_per_app=2\n"
		"[security]\nadmin_uids=2\nmlock=off\nsandbox=no\n[log]\nlevel=debug\naudit=/q\n";
	CLEANUP(buf_fini) struct buf why = BUF_INIT(65536);
	const struct conf_key *keys;
	struct conf running, was, next;
	size_t n;

	conf_defaults(&running);
	conf_defaults(&was);
	takes(other, &next);
	conf_merge_reload(&running, &next, &why);
	buf_put_byte(&why, '\0');
	keys = conf_schema(&n);
	for (size_t i = 0; i < n; i++) {
		bool reloadable = strcmp(keys[i].section, "limits") == 0 || strcmp(keys[i].name, "admin_uids") == 0 ||
				  strcmp(keys[i].name, "level") == 0;
		char line[128];

		if (strcmp(keys[i].name, "passphrase_credential") == 0)
			continue; /* goes without passphrase_file only */
		CHECK(!conf_key_equal(&keys[i], &was, &next));
		(void)snprintf(line, sizeof(line), "%s.%s has changed", keys[i].section, keys[i].name);
		test_ok((strstr((const char *)why.p, line) == NULL) == reloadable, __FILE__, __LINE__, line);
		test_ok(conf_key_equal(&keys[i], &running, reloadable ? &next : &was), __FILE__, __LINE__,
			keys[i].name);
	}
	CHECK_INT(running.n_admin_uids, 1);
	CHECK_INT(running.admin_uids[0], 2);

	/* Nothing differs: nothing to say. */
	buf_reset(&why);
	was = running;
	conf_merge_reload(&running, &was, &why);
	CHECK_INT(why.n, 0);
}

int main(void)
{
	int fd;

	test_start();
	fd = mkstemp(path);
	if (fd < 0) {
		printf("Bail out! cannot make a temporary file\n");
		return 1;
	}
	(void)close(fd);
	test_defaults();
	test_example();
	test_values();
	test_bad_values();
	test_pin_not_shown();
	test_bad_files();
	test_reload();
	(void)unlink(path);
	return test_end();
}
