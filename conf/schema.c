/* The rows, and one checking function for each type of value. */
#include "conf/schema.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const seal_names[] = { "keyfile", "passphrase", "credential", "command", "pkcs11", NULL };
static const char *const mlock_names[] = { "auto", "require", "off", NULL };
static const char *const level_names[] = { "error", "warning", "info", "debug", NULL };

/* The tables above are indexed by these. */
_Static_assert(CONF_SEAL_KEYFILE == 0 && CONF_SEAL_PASSPHRASE == 1 && CONF_SEAL_CREDENTIAL == 2 &&
		       CONF_SEAL_COMMAND == 3 && CONF_SEAL_PKCS11 == 4,
	       "order of seal_names");
_Static_assert(CONF_MLOCK_AUTO == 0 && CONF_MLOCK_REQUIRE == 1 && CONF_MLOCK_OFF == 2, "order of mlock_names");
_Static_assert(LOG_LEVEL_ERROR == 0 && LOG_LEVEL_WARNING == 1 && LOG_LEVEL_INFO == 2 && LOG_LEVEL_DEBUG == 3,
	       "order of level_names");
_Static_assert(sizeof(enum conf_seal) == sizeof(unsigned) && sizeof(enum conf_mlock) == sizeof(unsigned) &&
		       sizeof(enum log_level) == sizeof(unsigned),
	       "enums are stored as unsigned");

#define AT(member_) .offset = offsetof(struct conf, member_), .size = sizeof(((struct conf *)NULL)->member_)

static const struct conf_key keys[] = {
	{ "listen", "app_socket", CONF_SOCKET, AT(app_socket), .otherwise = "/run/e2eed/app.sock" },
	{ "listen", "app_socket_mode", CONF_MODE, AT(app_socket_mode), .max = 0777, .otherwise = "0660" },
	{ "listen", "admin_socket", CONF_SOCKET, AT(admin_socket), .otherwise = "/run/e2eed/admin.sock" },
	{ "listen", "tcp", CONF_TCP, AT(tcp), .otherwise = "" },

	{ "keystore", "path", CONF_PATH, AT(keystore_path), .otherwise = "/var/lib/e2eed/keystore" },
	{ "keystore", "seal", CONF_ENUM, AT(seal), .names = seal_names, .otherwise = "keyfile" },
	{ "keystore", "key_file", CONF_PATH, AT(key_file), .otherwise = "/var/lib/e2eed/keystore.key" },
	{ "keystore", "create", CONF_BOOL, AT(create), .otherwise = "yes" },
	{ "keystore", "passphrase_file", CONF_PATH_OFF, AT(passphrase_file), .otherwise = "" },
	{ "keystore", "passphrase_credential", CONF_NAME_OFF, AT(passphrase_credential), .otherwise = "" },
	{ "keystore", "passphrase_memory_kib", CONF_UNSIGNED, AT(passphrase_memory_kib), .min = 8192, .max = 4194304,
	  .otherwise = "262144" },
	{ "keystore", "passphrase_passes", CONF_UNSIGNED, AT(passphrase_passes), .min = 1, .max = 64,
	  .otherwise = "3" },
	{ "keystore", "credential", CONF_NAME, AT(credential), .otherwise = "e2eed.key" },
	{ "keystore", "command_wrap", CONF_COMMAND, AT(command_wrap), .otherwise = "" },
	{ "keystore", "command_unwrap", CONF_COMMAND, AT(command_unwrap), .otherwise = "" },
	{ "keystore", "command_timeout_ms", CONF_UNSIGNED, AT(command_timeout_ms), .min = 100, .max = 600000,
	  .otherwise = "10000" },
	{ "keystore", "pkcs11_uri", CONF_P11_URI, AT(pkcs11_uri), .otherwise = "" },
	{ "keystore", "pkcs11_pin_file", CONF_PATH_OFF, AT(pkcs11_pin_file), .otherwise = "" },
	{ "keystore", "anchor", CONF_PATH_OFF, AT(anchor), .otherwise = "" },

	{ "workers", "loops", CONF_UNSIGNED, AT(loops), .min = 1, .max = 64, .otherwise = "1" },
	{ "workers", "threads", CONF_UNSIGNED, AT(threads), .min = 1, .max = 256, .zero = "auto", .otherwise = "auto" },

	{ "limits", "max_frame_bytes", CONF_SIZE, true, AT(max_frame_bytes), .min = 1024, .max = 64UL << 20,
	  .otherwise = "1048576" },
	{ "limits", "max_connections", CONF_UNSIGNED, true, AT(max_connections), .min = 1, .max = 1000000,
	  .otherwise = "1024" },
	{ "limits", "max_in_flight", CONF_UNSIGNED, true, AT(max_in_flight), .min = 1, .max = 65536,
	  .otherwise = "1024" },
	{ "limits", "auth_timeout_ms", CONF_UNSIGNED, true, AT(auth_timeout_ms), .min = 100, .max = 600000,
	  .otherwise = "10000" },
	{ "limits", "rate_per_app", CONF_UNSIGNED, true, AT(rate_per_app), .max = 1000000, .otherwise = "0" },

	{ "security", "admin_uids", CONF_UIDS, true, AT(admin_uids), .max = UINT32_MAX - 1, .otherwise = "" },
	{ "security", "mlock", CONF_ENUM, AT(mlock), .names = mlock_names, .otherwise = "auto" },
	{ "security", "sandbox", CONF_BOOL, AT(sandbox), .otherwise = "yes" },

	{ "log", "level", CONF_ENUM, true, AT(level), .names = level_names, .otherwise = "info" },
	{ "log", "audit", CONF_PATH_OFF, AT(audit), .otherwise = "" },
};

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

const struct conf_key *conf_schema(size_t *ret_n)
{
	*ret_n = N_KEYS;
	return keys;
}

const struct conf_key *conf_key_find(const char *section, const char *name, bool *ret_section)
{
	*ret_section = false;
	for (size_t i = 0; i < N_KEYS; i++) {
		if (strcmp(keys[i].section, section) != 0)
			continue;
		*ret_section = true;
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

static void *member(const struct conf_key *key, struct conf *c)
{
	return (char *)c + key->offset;
}

static const void *member_const(const struct conf_key *key, const struct conf *c)
{
	return (const char *)c + key->offset;
}

/* ---- values ---- */

static int wrong(struct buf *why, const char *text, const char *expected)
{
	if (*text) {
		buf_put_str(why, "\"");
		buf_put_str(why, text);
		buf_put_str(why, "\" is not usable; expected ");
	} else {
		buf_put_str(why, "no value; expected ");
	}
	buf_put_str(why, expected);
	return ERR_CONFIG;
}

static int set_text(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	size_t n = strlen(text);

	if (n >= key->size) {
		buf_printf(why, "%zu bytes are too long; at most %zu are possible here", n, key->size - 1);
		return ERR_CONFIG;
	}
	/* All of it, so that rows can be compared and copied as bytes. */
	memset(member(key, c), 0, key->size);
	memcpy(member(key, c), text, n);
	return 0;
}

static int set_path(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	bool abstract = key->type == CONF_SOCKET && text[0] == '@' && text[1] != '\0';
	bool off = key->type != CONF_PATH && text[0] == '\0';

	if (text[0] != '/' && !abstract && !off)
		return wrong(why, text,
			     key->type == CONF_SOCKET ? "an absolute path, @name for an abstract socket, or nothing"
			     : key->type == CONF_PATH ? "an absolute path"
						      : "an absolute path, or nothing");
	if (text[0] == '/' && text[strlen(text) - 1] == '/')
		return wrong(why, text, "the path of a file, not of a folder");
	return set_text(key, text, c, why);
}

static int set_name(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	bool off = key->type == CONF_NAME_OFF && !*text;

	if (!off && (!*text || strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0))
		return wrong(why, text,
			     key->type == CONF_NAME ? "the name of a credential, without a folder"
						    : "the name of a credential, without a folder, or nothing");
	return set_text(key, text, c, why);
}

static int set_command(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	if (*text && text[0] != '/')
		return wrong(why, text, "the absolute path of a program and its arguments, or nothing");
	return set_text(key, text, c, why);
}

/* The value is not shown: it may hold a PIN, which is the very mistake. */
static int set_p11_uri(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	if (*text && (strncmp(text, "pkcs11:", 7) != 0 || strstr(text, "pin-value=") || strstr(text, "pin-source="))) {
		buf_put_str(why,
			    "not usable; expected pkcs11:token=NAME;object=NAME?module-path=PATH without a PIN, which "
			    "belongs into the file that pkcs11_pin_file names, or nothing");
		return ERR_CONFIG;
	}
	return set_text(key, text, c, why);
}

/* Digits only: strtoul alone would take signs and white space too. */
static bool number(const char *text, int base, unsigned long max, unsigned long *ret)
{
	const char *digits = base == 8 ? "01234567" : "0123456789";
	unsigned long v;

	if (!*text || text[strspn(text, digits)] != '\0')
		return false;
	errno = 0;
	v = strtoul(text, NULL, base);
	if (errno != 0 || v > max)
		return false;
	*ret = v;
	return true;
}

#define TCP_EXPECTED "127.x.x.x:PORT or [::1]:PORT, in numbers, or nothing"

static int set_tcp(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN];
	struct in6_addr a6;
	struct in_addr a4;
	unsigned long port;
	size_t n;

	if (!*text)
		return set_text(key, text, c, why);
	if (!colon || !number(colon + 1, 10, 65535, &port)) {
		buf_put_str(why, "no port from 0 to 65535 at the end (0: any free port): ");
		return wrong(why, text, TCP_EXPECTED);
	}
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']' && n - 2 < sizeof(host)) {
		memcpy(host, text + 1, n - 2);
		host[n - 2] = '\0';
		if (inet_pton(AF_INET6, host, &a6) == 1) {
			if (IN6_IS_ADDR_LOOPBACK(&a6))
				return set_text(key, text, c, why);
			goto elsewhere;
		}
	} else if (n < sizeof(host)) {
		memcpy(host, text, n);
		host[n] = '\0';
		if (inet_pton(AF_INET, host, &a4) == 1) {
			if (ntohl(a4.s_addr) >> 24 == 127)
				return set_text(key, text, c, why);
			goto elsewhere;
		}
	}
	buf_put_str(why, "not a numeric address (a name could come to mean another machine): ");
	return wrong(why, text, TCP_EXPECTED);

elsewhere:
	buf_put_str(why, "not a loopback address (there is no TLS, so nothing may come from other machines): ");
	return wrong(why, text, TCP_EXPECTED);
}

static int set_number(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	unsigned long v;

	if (key->zero && strcmp(text, key->zero) == 0) {
		v = 0;
	} else if (!number(text, key->type == CONF_MODE ? 8 : 10, key->max, &v) || v < key->min) {
		(void)wrong(why, text, key->zero ? key->zero : "");
		if (key->type == CONF_MODE)
			buf_put_str(why, "permission bits in octal, such as 0660");
		else
			buf_printf(why, "%sa number from %lu to %lu", key->zero ? " or " : "", key->min, key->max);
		return ERR_CONFIG;
	}
	if (key->type == CONF_SIZE) {
		size_t size = v;

		assert(key->size == sizeof(size));
		memcpy(member(key, c), &size, sizeof(size));
	} else {
		unsigned small = (unsigned)v;

		assert(key->size == sizeof(small) && key->max <= UINT32_MAX);
		memcpy(member(key, c), &small, sizeof(small));
	}
	return 0;
}

static bool listed(const char *const *names, const char *text, unsigned *ret)
{
	for (unsigned i = 0; names[i]; i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static int set_enum(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	unsigned v;

	assert(key->size == sizeof(v));
	if (listed(key->names, text, &v)) {
		memcpy(member(key, c), &v, sizeof(v));
		return 0;
	}
	(void)wrong(why, text, "");
	for (size_t i = 0; key->names[i]; i++) {
		buf_put_str(why, i == 0 ? "" : key->names[i + 1] ? ", " : " or ");
		buf_put_str(why, key->names[i]);
	}
	return ERR_CONFIG;
}

static int set_bool(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on" }; /* odd ones are true */

	assert(key->size == sizeof(bool));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		bool v = i % 2 == 1;

		if (strcasecmp(words[i], text) == 0) {
			memcpy(member(key, c), &v, sizeof(v));
			return 0;
		}
	}
	return wrong(why, text, "yes or no");
}

static int set_uids(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	static const char separators[] = " \t,";
	uid_t uids[CONF_MAX_ADMIN_UIDS] = { 0 };
	size_t n = 0;

	for (const char *p = text + strspn(text, separators); *p; p += strspn(p, separators)) {
		size_t len = strcspn(p, separators);
		char digits[16];
		unsigned long v;

		if (n == CONF_MAX_ADMIN_UIDS) {
			buf_printf(why, "more than %d user ids", CONF_MAX_ADMIN_UIDS);
			return ERR_CONFIG;
		}
		if (len >= sizeof(digits))
			return wrong(why, text, "numeric user ids, separated by spaces");
		memcpy(digits, p, len);
		digits[len] = '\0';
		if (!number(digits, 10, key->max, &v))
			return wrong(why, text, "numeric user ids, separated by spaces");
		uids[n++] = (uid_t)v;
		p += len;
	}
	memcpy(c->admin_uids, uids, sizeof(uids));
	c->n_admin_uids = n;
	return 0;
}

int conf_key_set(const struct conf_key *key, const char *text, struct conf *c, struct buf *why)
{
	switch (key->type) {
	case CONF_SOCKET:
	case CONF_PATH:
	case CONF_PATH_OFF:
		return set_path(key, text, c, why);
	case CONF_NAME:
	case CONF_NAME_OFF:
		return set_name(key, text, c, why);
	case CONF_COMMAND:
		return set_command(key, text, c, why);
	case CONF_P11_URI:
		return set_p11_uri(key, text, c, why);
	case CONF_TCP:
		return set_tcp(key, text, c, why);
	case CONF_MODE:
	case CONF_UNSIGNED:
	case CONF_SIZE:
		return set_number(key, text, c, why);
	case CONF_ENUM:
		return set_enum(key, text, c, why);
	case CONF_BOOL:
		return set_bool(key, text, c, why);
	case CONF_UIDS:
		return set_uids(key, text, c, why);
	}
	return ERR_INTERNAL;
}

bool conf_key_equal(const struct conf_key *key, const struct conf *a, const struct conf *b)
{
	if (key->type == CONF_UIDS && a->n_admin_uids != b->n_admin_uids)
		return false;
	return memcmp(member_const(key, a), member_const(key, b), key->size) == 0;
}

void conf_key_copy(const struct conf_key *key, struct conf *to, const struct conf *from)
{
	if (key->type == CONF_UIDS)
		to->n_admin_uids = from->n_admin_uids;
	memcpy(member(key, to), member_const(key, from), key->size);
}
