/*
 * seal - how one key slot of a keystore is opened
 *
 * Each kind of seal turns something the operator holds into the 32-byte key-encryption key (KEK) that wraps the data key (DEK) in
 * a slot of the keystore's header. One file per kind; this table of functions is all that the keystore knows of them.
 */
#ifndef E2EED_KEYSTORE_SEAL_H
#define E2EED_KEYSTORE_SEAL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

#define SEAL_KEY_SIZE	32
#define SEAL_MAX_PARAMS 16384u /* bytes of a slot's parameters */

enum seal_type { /* the number stands in the file */
		 SEAL_KEYFILE = 1,
		 SEAL_PASSPHRASE = 2,
		 SEAL_CREDENTIAL = 3,
		 SEAL_COMMAND = 4,
		 SEAL_PKCS11 = 5,
		 SEAL_RECOVERY = 6,
};

const char *seal_type_name(enum seal_type type); /* "keyfile"; "unknown" for what this version does not know */

struct seal {
	enum seal_type type;
	const char *name; /* as in the configuration and in getStatus; static */
	void *arg;	  /* the kind's own; owned */

	/**
	 * make - for a new slot: a KEK, and the parameters that stand in the header and lead open() to it
	 * @params: appended, at most SEAL_MAX_PARAMS bytes; not secret
	 * @why:    on failure, a sentence for the operator is appended
	 * Return: 0; ERR_SEAL; ERR_NOMEM.
	 */
	int (*make)(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret);

	/** made - the keystore with the new slot is on disk now. NULL where there is nothing left to do. Return: 0, ERR_SEAL */
	int (*made)(const struct seal *seal, struct buf *why);

	/**
	 * open - the KEK of a slot that has these parameters; they come from the file and may be hostile
	 *
	 * Any 32 bytes will do: whether they are the right ones shows when the slot is opened with them.
	 * Return: 0; ERR_SEAL with a sentence appended to @why; ERR_NOMEM.
	 */
	int (*open)(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret);

	/** existed - does what the seal keeps (a key file) show that there was a keystore already? NULL: nobody can tell */
	bool (*existed)(const struct seal *seal);

	void (*fini)(struct seal *seal);
};

/**
 * seal_keyfile_init - a key file: one line of 64 hex digits, mode 0600 or stricter
 * @path: copied
 *
 * make() uses the file that is there. Without one it makes PATH.new, or uses the one that an interrupted start left; made()
 * renames it to PATH, and so does open() where PATH is missing. existed() speaks of PATH alone. No parameters.
 * Return: 0, ERR_NOMEM.
 */
int seal_keyfile_init(struct seal *seal, const char *path) WARN_UNUSED;

/**
 * seal_passphrase_init - Argon2id (version 1.3, one lane) of a passphrase
 * @passphrase: 1 to 1024 bytes, as they are; copied
 * @memory_kib: for new slots: what a guess costs. Slots keep their own; more than 4 GiB and 64 passes are refused
 *
 * ERR_NOMEM of make() and open() comes with a sentence, since here it is the operator's business. Takes a second or so: not for
 * an event loop. Return: 0, ERR_NOMEM.
 */
int seal_passphrase_init(struct seal *seal, const struct secret *passphrase, unsigned memory_kib,
			 unsigned passes) WARN_UNUSED;

/**
 * seal_passphrase_read - a passphrase from the private file at @path, without the line feed at its end
 *
 * Return: 0; ERR_SEAL with a sentence appended to @why; ERR_NOMEM.
 */
int seal_passphrase_read(const char *path, struct buf *why, struct secret **ret) WARN_UNUSED;

/**
 * seal_credential_init - the systemd credential @name (copied): 64 hex digits, or exactly 32 bytes
 *
 * make() uses what is there. No parameters. Return: 0, ERR_NOMEM.
 */
int seal_credential_init(struct seal *seal, const char *name) WARN_UNUSED;

/**
 * seal_credential_path - where systemd has put the credential @name
 *
 * Return: 0; ERR_SEAL with a sentence appended to @why: no name of a file, or we were not started with credentials.
 */
int seal_credential_path(const char *name, struct buf *why, char ret[PATH_MAX]) WARN_UNUSED;

/**
 * seal_command_init - commands that wrap and unwrap a random KEK, for any KMS
 * @wrap, @unwrap: an absolute path and arguments, split at blanks: no shell, no quotes; copied
 * @timeout_ms:    for each run; then its process group is killed
 *
 * wrap: the KEK's 32 bytes on stdin, 1 to 8192 bytes on stdout, which become the parameters. unwrap: those on stdin, and the 32
 * bytes or their base64 on stdout. The child has our environment without LD_*, LISTEN_* and NOTIFY_SOCKET, our stderr, and no
 * other descriptor. make() unwraps what was wrapped. Blocks: not for an event loop. Return: 0, ERR_NOMEM.
 */
int seal_command_init(struct seal *seal, const char *wrap, const char *unwrap, unsigned timeout_ms) WARN_UNUSED;

/**
 * seal_pkcs11_init - a random KEK, wrapped with AES-GCM by a key that stays in a PKCS#11 token
 * @uri:      RFC 7512: token, object or id, module-path; copied
 * @pin_file: a private file with the user PIN, or "" where the token wants none; copied
 *
 * Module and session are opened for each call and closed again. A PIN is tried once, and not at all where a wrong one would lock
 * the token. make() unwraps what was wrapped. Blocks: not for an event loop, and one thread at a time. Return: 0, ERR_NOMEM.
 */
int seal_pkcs11_init(struct seal *seal, const char *uri, const char *pin_file) WARN_UNUSED;

/**
 * seal_recovery_init - a key that is printed and put away
 * @text: for open(): as printed, in either case, with or without dashes and blanks; copied. NULL for make()
 *
 * make() draws a new one. open() tells a typing error (wrong length, foreign letter, checksum) from a key that is well-formed but
 * may be another's. No parameters. Return: 0, ERR_NOMEM.
 */
int seal_recovery_init(struct seal *seal, const struct secret *text) WARN_UNUSED;

/** seal_recovery_text - what make() drew, to be shown once: 8 groups of 6 letters joined by '-'; borrowed; NULL before */
const struct secret *seal_recovery_text(const struct seal *seal);

static inline void seal_fini(struct seal *seal)
{
	if (seal->fini)
		seal->fini(seal);
	*seal = (struct seal){ 0 };
}

#endif
