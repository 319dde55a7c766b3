/*
 * schema - the option table
 *
 * One row per key: where it stands in the file, its type and range, its default as one would write it, where it goes in struct
 * conf, and whether a reload may change it. Loading, defaults, reloading and the tests all walk the same rows.
 */
#ifndef E2EED_CONF_SCHEMA_H
#define E2EED_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"

enum conf_type {
	CONF_SOCKET,   /* char[]: an absolute path, "@name", or nothing */
	CONF_PATH,     /* char[]: an absolute path */
	CONF_PATH_OFF, /* the same, or nothing */
	CONF_NAME,     /* char[]: the name of a file, without a folder */
	CONF_NAME_OFF, /* the same, or nothing */
	CONF_COMMAND,  /* char[]: the absolute path of a program and arguments, or nothing */
	CONF_P11_URI,  /* char[]: pkcs11:..., without a PIN, or nothing */
	CONF_TCP,      /* char[]: a numeric loopback address with a port, or nothing */
	CONF_MODE,     /* unsigned: permission bits, octal */
	CONF_UNSIGNED, /* unsigned */
	CONF_SIZE,     /* size_t */
	CONF_ENUM,     /* an enum counted from 0, in the order of `names` */
	CONF_BOOL,     /* bool */
	CONF_UIDS,     /* admin_uids and n_admin_uids */
};

struct conf_key {
	const char *section;
	const char *name;
	enum conf_type type;
	bool reloadable;
	size_t offset;
	size_t size;		  /* of the member */
	unsigned long min, max;	  /* numbers */
	const char *zero;	  /* numbers: a word that stands for 0, which need not lie in the range */
	const char *const *names; /* enums: NULL-terminated */
	const char *otherwise;	  /* the default, as in a file */
};

/** conf_schema - all rows, in the order of the file. Static. */
const struct conf_key *conf_schema(size_t *ret_n);

/** conf_key_find - Return: NULL if there is no such key. @ret_section: is there such a section at all? */
const struct conf_key *conf_key_find(const char *section, const char *name, bool *ret_section);

/**
 * conf_key_set - check @text and store what it says
 * @why: on failure, appended: what is wrong and what is expected, no line end
 *
 * Return: 0; ERR_CONFIG, @c is then unchanged.
 */
int conf_key_set(const struct conf_key *key, const char *text, struct conf *c, struct buf *why) WARN_UNUSED;

bool conf_key_equal(const struct conf_key *key, const struct conf *a, const struct conf *b);
void conf_key_copy(const struct conf_key *key, struct conf *to, const struct conf *from);

#endif
