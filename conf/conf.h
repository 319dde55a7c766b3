/*
 * conf - the configuration: INI text in, one struct out
 *
 * Every key has a default, and is one row of the table in conf/schema.c: section, name, type, range, where it goes, whether a
 * reload may change it. An unknown section or key, a bad value or a key given twice is an error that names the line.
 */
#ifndef E2EED_CONF_CONF_H
#define E2EED_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/log.h"

#define CONF_DEFAULT_PATH   "/etc/e2eed/e2eed.conf"
#define CONF_MAX_PATH	    4096
#define CONF_MAX_ADMIN_UIDS 64

enum conf_mlock { CONF_MLOCK_AUTO, CONF_MLOCK_REQUIRE, CONF_MLOCK_OFF };
enum conf_seal { CONF_SEAL_KEYFILE, CONF_SEAL_PASSPHRASE, CONF_SEAL_CREDENTIAL, CONF_SEAL_COMMAND, CONF_SEAL_PKCS11 };

struct conf {
	/* [listen]: a path, or "@name" for the abstract namespace; "" switches a listener off */
	char app_socket[108];
	unsigned app_socket_mode;
	char admin_socket[108];
	char tcp[64]; /* "127.0.0.1:7438" or "[::1]:7438"; "" is off. Checked: numeric, loopback, port 0 to 65535 */

	/* [keystore] */
	char keystore_path[CONF_MAX_PATH];
	enum conf_seal seal;
	char key_file[CONF_MAX_PATH];
	bool create;
	char passphrase_file[CONF_MAX_PATH]; /* this and what follows: "" is none */
	char passphrase_credential[256];
	unsigned passphrase_memory_kib;		       /* 8192 to 4194304 */
	unsigned passphrase_passes;		       /* 1 to 64 */
	char credential[256];			       /* never "" */
	char command_wrap[1024], command_unwrap[1024]; /* set where seal is command */
	unsigned command_timeout_ms;		       /* 100 to 600,000 */
	char pkcs11_uri[1024];			       /* set where seal is pkcs11 */
	char pkcs11_pin_file[CONF_MAX_PATH];
	char anchor[CONF_MAX_PATH];

	/* [workers] */
	unsigned loops;	  /* 1 to 64 */
	unsigned threads; /* 1 to 256; 0 stands for auto: one per core */

	/* [limits] */
	size_t max_frame_bytes;	  /* 1 KiB to 64 MiB */
	unsigned max_connections; /* 1 to 1,000,000 */
	unsigned max_in_flight;	  /* 1 to 65536 */
	unsigned auth_timeout_ms; /* 100 to 600,000 */
	unsigned rate_per_app;	  /* requests per second; 0 = no limit */

	/* [security] */
	uid_t admin_uids[CONF_MAX_ADMIN_UIDS];
	size_t n_admin_uids;
	enum conf_mlock mlock;
	bool sandbox;

	/* [log] */
	enum log_level level;
	char audit[CONF_MAX_PATH]; /* "" is off */
};

/** conf_defaults - what an empty file gives */
void conf_defaults(struct conf *ret);

/**
 * conf_load - read and check the file at @path
 * @ret: written on success only
 * @why: on failure, appended: one or more lines "FILE:LINE: what is wrong; what is expected", for the operator
 *
 * Return: 0, ERR_CONFIG (also for a file that cannot be read), ERR_NOMEM.
 */
int conf_load(const char *path, struct conf *ret, struct buf *why) WARN_UNUSED;

/**
 * conf_merge_reload - take from @next what may change while the daemon runs
 * @why: appended: one line for each key that differs but needs a restart
 */
void conf_merge_reload(struct conf *running, const struct conf *next, struct buf *why);

#endif
