/*
 * seal_credential - the key-encryption key is a credential that systemd hands to the service
 *
 * LoadCredential= and LoadCredentialEncrypted= put files into the folder $CREDENTIALS_DIRECTORY, in memory that is not swapped,
 * for as long as the service runs. systemd.exec(5), "CREDENTIALS".
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "keystore/seal.h"
#include "keystore/seal_input.h"

/* The name must not lead out of the folder. */
static bool is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int seal_credential_path(const char *name, struct buf *why, char ret[PATH_MAX])
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_MAX];
	int n;

	if (!is_name(name)) {
		buf_printf(why, "\"%s\" is no name of a credential: it must be that of a file, without a folder", name);
		return ERR_SEAL;
	}
	if (!folder || folder[0] != '/') {
		buf_printf(
			why,
			"credential %s cannot be had: %s; start e2eed as a systemd service whose unit has LoadCredential= or "
			"LoadCredentialEncrypted=%s:...",
			name,
			folder ? "CREDENTIALS_DIRECTORY is not an absolute path" : "CREDENTIALS_DIRECTORY is not set",
			name);
		return ERR_SEAL;
	}
	n = snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		buf_printf(why, "the name of a credential is too long: %zu bytes", strlen(name));
		return ERR_SEAL;
	}
	memcpy(ret, path, (size_t)n + 1);
	return 0;
}

static int read_credential(const char *name, struct buf *why, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	char path[PATH_MAX];
	int r = seal_credential_path(name, why, path);

	if (r < 0)
		return r;
	r = seal_input_read(path, "credential", SEAL_KEY_DIGITS + 1, why, &text);
	if (r < 0)
		return r;
	if (secret_len(text) == SEAL_KEY_SIZE) {
		*ret = TAKE(text);
		return 0;
	}
	r = seal_input_parse_hex(secret_bytes(text), ret);
	if (r == 0 || r == ERR_NOMEM)
		return r;
	buf_printf(why, "the credential %s is not a key: it must be %zu hex digits, or exactly %d bytes", path,
		   SEAL_KEY_DIGITS, SEAL_KEY_SIZE);
	return ERR_SEAL;
}

static int credential_make(const struct seal *seal, struct buf *params, struct buf *why, struct secret **ret)
{
	(void)params; /* it has none */
	return read_credential(seal->arg, why, ret);
}

static int credential_open(const struct seal *seal, struct bytes params, struct buf *why, struct secret **ret)
{
	if (params.n) {
		buf_put_str(why, "the credential's slot has parameters, which this version does not know");
		return ERR_SEAL;
	}
	return read_credential(seal->arg, why, ret);
}

static void credential_fini(struct seal *seal)
{
	free(seal->arg);
	seal->arg = NULL;
}

int seal_credential_init(struct seal *seal, const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		return ERR_NOMEM;
	*seal = (struct seal){ .type = SEAL_CREDENTIAL,
			       .name = "credential",
			       .arg = copy,
			       .make = credential_make,
			       .open = credential_open,
			       .fini = credential_fini };
	return 0;
}
