#include "daemon/seals.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_PASSPHRASE 1024 /* bytes */

static int missing(const char *param, const char **ret_param)
{
	*ret_param = param;
	return ERR_INVALID_PARAMS;
}

/* @text with a NUL, or @otherwise where it is empty. Return: NULL for want of memory, or where it holds a NUL already */
static char *text_or(struct bytes text, const char *otherwise)
{
	if (!text.n)
		return strdup(otherwise);
	return memchr(text.p, 0, text.n) ? NULL : strndup((const char *)text.p, text.n);
}

static int make_keyfile(const struct conf *conf, const struct service_seal *how, const char **ret_param,
			struct seal *ret)
{
	char *path = text_or(how->key_file, conf->key_file);
	int r;

	if (!path || path[0] != '/' || strlen(path) >= PATH_MAX || path[strlen(path) - 1] == '/') {
		free(path);
		return missing("keyFile", ret_param);
	}
	r = seal_keyfile_init(ret, path);
	free(path);
	return r;
}

/* The passphrase that was given, or the configured one. */
static int find_passphrase(const struct conf *conf, const struct service_seal *how, const char **ret_param,
			   struct buf *why, struct secret **ret)
{
	char path[PATH_MAX];
	int r;

	if (how->passphrase)
		return secret_dup(secret_bytes(how->passphrase), ret);
	if (conf->passphrase_file[0])
		return seal_passphrase_read(conf->passphrase_file, why, ret);
	if (!conf->passphrase_credential[0])
		return missing("passphrase", ret_param);
	r = seal_credential_path(conf->passphrase_credential, why, path);
	return r < 0 ? r : seal_passphrase_read(path, why, ret);
}

static int make_passphrase(const struct conf *conf, const struct service_seal *how, const char **ret_param,
			   struct buf *why, struct seal *ret)
{
	CLEANUP(secret_freep) struct secret *passphrase = NULL;
	int r = find_passphrase(conf, how, ret_param, why, &passphrase);

	if (r < 0)
		return r;
	if (secret_len(passphrase) == 0 || secret_len(passphrase) > MAX_PASSPHRASE)
		return missing("passphrase", ret_param);
	return seal_passphrase_init(ret, passphrase, conf->passphrase_memory_kib, conf->passphrase_passes);
}

static int make_credential(const struct conf *conf, const struct service_seal *how, const char **ret_param,
			   struct seal *ret)
{
	char *name = text_or(how->credential, conf->credential);
	int r = name ? seal_credential_init(ret, name) : missing("credential", ret_param);

	free(name);
	return r;
}

static const char *const conf_kinds[] = {
	[CONF_SEAL_KEYFILE] = "keyfile", [CONF_SEAL_PASSPHRASE] = "passphrase", [CONF_SEAL_CREDENTIAL] = "credential",
	[CONF_SEAL_COMMAND] = "command", [CONF_SEAL_PKCS11] = "pkcs11",
};

int seals_make(const struct conf *conf, const struct service_seal *how, const char **ret_param, struct buf *why,
	       struct seal *ret)
{
	const struct bytes kind = how->kind.n ? how->kind : bytes_str(conf_kinds[conf->seal]);

	if (bytes_eq(kind, BYTES_LIT("keyfile")))
		return make_keyfile(conf, how, ret_param, ret);
	if (bytes_eq(kind, BYTES_LIT("passphrase")))
		return make_passphrase(conf, how, ret_param, why, ret);
	if (bytes_eq(kind, BYTES_LIT("credential")))
		return make_credential(conf, how, ret_param, ret);
	if (bytes_eq(kind, BYTES_LIT("recovery")))
		return seal_recovery_init(ret, NULL);
	if (bytes_eq(kind, BYTES_LIT("command"))) {
		if (conf->command_wrap[0] && conf->command_unwrap[0])
			return seal_command_init(ret, conf->command_wrap, conf->command_unwrap,
						 conf->command_timeout_ms);
		buf_put_str(
			why,
			"the commands are not configured: set keystore.command_wrap and keystore.command_unwrap, and restart e2eed");
		return ERR_SEAL;
	}
	if (bytes_eq(kind, BYTES_LIT("pkcs11"))) {
		if (conf->pkcs11_uri[0])
			return seal_pkcs11_init(ret, conf->pkcs11_uri, conf->pkcs11_pin_file);
		buf_put_str(
			why,
			"the token is not configured: set keystore.pkcs11_uri and keystore.pkcs11_pin_file, and restart e2eed");
		return ERR_SEAL;
	}
	return missing("seal", ret_param);
}
