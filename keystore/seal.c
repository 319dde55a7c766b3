#include "keystore/seal.h"

#include <stddef.h>

static const char *const names[] = {
	[SEAL_KEYFILE] = "keyfile", [SEAL_PASSPHRASE] = "passphrase", [SEAL_CREDENTIAL] = "credential",
	[SEAL_COMMAND] = "command", [SEAL_PKCS11] = "pkcs11",	      [SEAL_RECOVERY] = "recovery",
};

const char *seal_type_name(enum seal_type type)
{
	size_t i = (size_t)type;

	return i < sizeof(names) / sizeof(names[0]) && names[i] ? names[i] : "unknown";
}
