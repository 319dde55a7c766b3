/*
 * Reading the file. inih splits it into sections, names and values; it is fed one checked line at a time through its reader
 * callback, for three reasons: the handler is then always about the line that was read last, so that every problem can name its
 * line; lines longer than inih's buffer, which it would split silently, are seen; and what it takes beyond our format
 * (continuation lines, comments behind values, text behind a section's bracket) is refused instead of meaning something else.
 */
#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "base/fsio.h"
#include "conf/schema.h"

#define MAX_FILE 65536
#define MAX_KEYS 64

struct loader {
	const char *path; /* borrowed */
	struct bytes rest;
	unsigned line;
	unsigned problems;
	unsigned set_in[MAX_KEYS]; /* the line that set a row, 0: none */
	struct conf conf;
	struct buf *why; /* borrowed */
};

static void put_place(struct loader *l, unsigned line)
{
	buf_put_str(l->why, l->path);
	if (line)
		buf_printf(l->why, ":%u", line);
	buf_put_str(l->why, ": ");
}

/* A problem of the line read last, or of the whole file while there is none. */
static void problem(struct loader *l, const char *text)
{
	l->problems++;
	put_place(l, l->line);
	buf_put_str(l->why, text);
	buf_put_byte(l->why, '\n');
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Well-formed UTF-8 (Unicode 15, table 3-7) without control characters but for tabs. */
static bool is_clean_text(struct bytes s)
{
	for (size_t i = 0; i < s.n;) {
		uint8_t c = s.p[i++], low = 0x80, high = 0xbf;
		unsigned more;

		if (c < 0x80) {
			if ((c < 0x20 && c != '\t') || c == 0x7f)
				return false;
			continue;
		}
		if (c < 0xc2 || c > 0xf4)
			return false;
		more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		if (c == 0xe0)
			low = 0xa0;
		else if (c == 0xed)
			high = 0x9f;
		else if (c == 0xf0)
			low = 0x90;
		else if (c == 0xf4)
			high = 0x8f;
		for (; more; more--, low = 0x80, high = 0xbf) {
			if (i == s.n || s.p[i] < low || s.p[i] > high)
				return false;
			i++;
		}
	}
	return true;
}

static struct bytes trim(struct bytes s)
{
	while (s.n && is_blank(s.p[0]))
		s = bytes_sub(s, 1, s.n);
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

static bool has_trailing_comment(struct bytes s)
{
	for (size_t i = 1; i < s.n; i++) {
		if ((s.p[i] == ';' || s.p[i] == '#') && is_blank(s.p[i - 1]))
			return true;
	}
	return false;
}

/* What inih is to see of a line: itself, trimmed; nothing for comments and for what was reported. */
static struct bytes check_line(struct loader *l, struct bytes line, size_t max)
{
	if (!is_clean_text(line)) {
		problem(l, "invalid UTF-8 or a control character; expected plain text");
		return BYTES_NONE;
	}
	line = trim(line);
	if (line.n == 0 || line.p[0] == ';' || line.p[0] == '#')
		return BYTES_NONE;
	if (line.n > max) {
		l->problems++;
		put_place(l, l->line);
		buf_printf(l->why, "%zu bytes are too long for a line; at most %zu are possible\n", line.n, max);
		return BYTES_NONE;
	}
	if (has_trailing_comment(line)) {
		problem(l, "a comment behind something else; expected comments on lines of their own");
		return BYTES_NONE;
	}
	if (line.p[0] == '[') {
		if (memchr(line.p, ']', line.n) == &line.p[line.n - 1])
			return line;
		problem(l, "not a section; expected [name] alone on its line");
		return BYTES_NONE;
	}
	if (!memchr(line.p, '=', line.n)) {
		problem(l, "neither a section nor a key; expected [name] or key = value");
		return BYTES_NONE;
	}
	return line;
}

/* As fgets: one line with its line feed into @ret of @size bytes; NULL at the end. */
static char *next_line(char *ret, int size, void *user)
{
	struct loader *l = user;
	const uint8_t *end;
	struct bytes line;

	assert(size > 2);
	if (l->rest.n == 0)
		return NULL;
	end = memchr(l->rest.p, '\n', l->rest.n);
	line = BYTES(l->rest.p, end ? (size_t)(end - l->rest.p) : l->rest.n);
	l->rest = bytes_sub(l->rest, line.n + 1, l->rest.n);
	l->line++;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	line = check_line(l, line, (size_t)size - 2);
	if (line.n)
		memcpy(ret, line.p, line.n);
	ret[line.n] = '\n';
	ret[line.n + 1] = '\0';
	return ret;
}

static void unknown(struct loader *l, const char *section, const char *name, bool known_section)
{
	const struct conf_key *keys;
	const char *last = "";
	size_t n;

	l->problems++;
	put_place(l, l->line);
	if (!section[0]) {
		buf_put_str(l->why, "a key before the first section: ");
	} else if (known_section) {
		buf_put_str(l->why, "no such key in [");
		buf_put_str(l->why, section);
		buf_put_str(l->why, "]: ");
	} else {
		buf_put_str(l->why, "no such section: [");
		buf_put_str(l->why, section);
		buf_put_str(l->why, "] of ");
	}
	buf_put_str(l->why, name);
	buf_put_str(l->why, "; expected");
	keys = conf_schema(&n);
	for (size_t i = 0; i < n; i++) {
		if (known_section && strcmp(keys[i].section, section) == 0) {
			buf_put_str(l->why, " ");
			buf_put_str(l->why, keys[i].name);
		} else if (!known_section && strcmp(keys[i].section, last) != 0) {
			last = keys[i].section;
			buf_put_str(l->why, " [");
			buf_put_str(l->why, last);
			buf_put_str(l->why, "]");
		}
	}
	buf_put_byte(l->why, '\n');
}

/* inih's handler: one key. Always content, since problems are kept here. */
static int take_key(void *user, const char *section, const char *name, const char *value)
{
	struct loader *l = user;
	const struct conf_key *keys, *key;
	bool known_section;
	size_t mark, n;

	key = conf_key_find(section, name, &known_section);
	if (!key) {
		unknown(l, section, name, known_section);
		return 1;
	}
	keys = conf_schema(&n);
	assert(n <= MAX_KEYS);
	n = (size_t)(key - keys);
	if (l->set_in[n]) {
		l->problems++;
		put_place(l, l->line);
		buf_put_str(l->why, name);
		buf_printf(l->why, " was given already, in line %u; expected it once\n", l->set_in[n]);
		return 1;
	}
	l->set_in[n] = l->line;

	mark = l->why->n;
	put_place(l, l->line);
	buf_put_str(l->why, name);
	buf_put_str(l->why, ": ");
	if (conf_key_set(key, value, &l->conf, l->why) < 0) {
		buf_put_byte(l->why, '\n');
		l->problems++;
	} else {
		buf_cut(l->why, mark);
	}
	return 1;
}

/* What no row can see alone. Named by the later line of the two. */
static void check_pair(struct loader *l, const char *section, const char *a, const char *section_b, const char *b,
		       const char *text)
{
	const struct conf_key *keys, *key_a, *key_b;
	unsigned line_a, line_b;
	const char *value;
	bool known;
	size_t n;

	keys = conf_schema(&n);
	key_a = conf_key_find(section, a, &known);
	key_b = conf_key_find(section_b, b, &known);
	assert(key_a && key_b);
	value = (const char *)&l->conf + key_a->offset;
	if (!*value || strcmp(value, (const char *)&l->conf + key_b->offset) != 0)
		return;
	line_a = l->set_in[key_a - keys];
	line_b = l->set_in[key_b - keys];
	l->line = line_a > line_b ? line_a : line_b;
	problem(l, text);
}

/* Opening the trail cuts off a last line that is torn, which a secret without a line feed looks like. */
static void check_trail(struct loader *l)
{
	static const char *const others[] = { "path", "key_file", "anchor", "passphrase_file", "pkcs11_pin_file" };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		check_pair(l, "log", "audit", "keystore", others[i],
			   "audit and a file of [keystore] are the same; expected a file for each");
}

/* The line that set @name of [keystore] is the one that the next problem names; 0 where none did. */
static void at_key(struct loader *l, const char *name)
{
	const struct conf_key *keys, *key;
	bool known;
	size_t n;

	keys = conf_schema(&n);
	key = conf_key_find("keystore", name, &known);
	assert(key);
	l->line = l->set_in[key - keys];
}

/* What the chosen seal needs besides. */
static void check_seal(struct loader *l)
{
	const struct conf *c = &l->conf;

	if (c->passphrase_file[0] && c->passphrase_credential[0]) {
		at_key(l, "passphrase_credential");
		problem(l, "passphrase_file and passphrase_credential are both set; expected one of them, or none");
	}
	at_key(l, "seal");
	if (c->seal == CONF_SEAL_COMMAND && !c->command_wrap[0])
		problem(l,
			"seal = command needs command_wrap, which is missing; expected the command that wraps a key");
	if (c->seal == CONF_SEAL_COMMAND && !c->command_unwrap[0])
		problem(l,
			"seal = command needs command_unwrap, which is missing; expected the command that unwraps the key");
	if (c->seal == CONF_SEAL_PKCS11 && !c->pkcs11_uri[0])
		problem(l, "seal = pkcs11 needs pkcs11_uri, which is missing; expected the URI of the wrapping key");
}

void conf_defaults(struct conf *ret)
{
	const struct conf_key *keys;
	struct buf why = BUF_INIT(1024);
	size_t n;

	memset(ret, 0, sizeof(*ret));
	keys = conf_schema(&n);
	for (size_t i = 0; i < n; i++) {
		int r = conf_key_set(&keys[i], keys[i].otherwise, ret, &why);

		assert(r == 0); /* a row's default lies in its own range; tests/unit/test_conf.c */
		(void)r;
	}
	buf_fini(&why);
}

static const char *read_problem(int r)
{
	switch (r) {
	case ERR_NOT_FOUND:
		return "no such file; expected the configuration here (--config names another)";
	case ERR_TOO_LARGE:
		return "larger than 64 KiB; expected a configuration";
	default:
		return errno == EINVAL ? "not a regular file" : strerror(errno);
	}
}

int conf_load(const char *path, struct conf *ret, struct buf *why)
{
	CLEANUP(buf_fini) struct buf text = BUF_INIT(MAX_FILE);
	struct loader l = { .path = path, .why = why };
	int r;

	errno = EIO;
	r = fsio_read(path, &text);
	if (r == ERR_NOMEM)
		return r;
	if (r < 0) {
		problem(&l, read_problem(r));
		return ERR_CONFIG;
	}
	conf_defaults(&l.conf);
	l.rest = buf_bytes(&text);
	if (l.rest.n >= 3 && memcmp(l.rest.p, "\xef\xbb\xbf", 3) == 0)
		l.rest = bytes_sub(l.rest, 3, l.rest.n);

	r = ini_parse_stream(next_line, &l, take_key, &l);
	if (r == -2)
		return ERR_NOMEM;
	if (r != 0 && l.problems == 0) {
		l.line = r > 0 ? (unsigned)r : 0;
		problem(&l, "not understood; expected [name], key = value or a comment");
	}
	if (l.problems == 0) {
		check_pair(&l, "listen", "app_socket", "listen", "admin_socket",
			   "app_socket and admin_socket are the same; expected a socket for each");
		check_pair(&l, "keystore", "path", "keystore", "key_file",
			   "path and key_file are the same; expected a file for each");
		check_pair(&l, "keystore", "path", "keystore", "anchor",
			   "path and anchor are the same; expected a file for each");
		check_pair(&l, "keystore", "key_file", "keystore", "anchor",
			   "key_file and anchor are the same; expected a file for each");
		check_trail(&l);
		check_seal(&l);
	}
	if (l.problems)
		return ERR_CONFIG;
	*ret = l.conf;
	return 0;
}

void conf_merge_reload(struct conf *running, const struct conf *next, struct buf *why)
{
	const struct conf_key *keys;
	size_t n;

	keys = conf_schema(&n);
	for (size_t i = 0; i < n; i++) {
		if (conf_key_equal(&keys[i], running, next))
			continue;
		if (keys[i].reloadable) {
			conf_key_copy(&keys[i], running, next);
			continue;
		}
		buf_put_str(why, keys[i].section);
		buf_put_str(why, ".");
		buf_put_str(why, keys[i].name);
		buf_put_str(why, " has changed, which takes effect at the next start\n");
	}
}
