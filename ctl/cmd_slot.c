/* keystore slot list, add, remove */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/jw.h"
#include "ctl/offline.h"

#define MAX_PARAMS 16384

/* ---- list ---- */

static int list_online(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(table_fini) struct table t = { 0 };
	const json_t *slots;
	int r = ctl_ask(x, "listSlots", NULL, &result);

	if (r != CTL_OK || !result)
		return r;
	table_init(&t, 3, 1U, "");
	table_pair(&t, "SLOT", "SEAL");
	table_text(&t, "CREATED");
	slots = json_object_get(result, "slots");
	for (size_t i = 0; i < json_array_size(slots); i++) {
		const json_t *slot = json_array_get(slots, i);

		table_int(&t, ctl_int(slot, "slot"));
		table_pair(&t, ctl_str(slot, "seal"), ctl_str(slot, "createdAt"));
	}
	table_print(&t, &x->out);
	return CTL_OK;
}

static int list_file(struct ctl *x, const char *path)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	CLEANUP(table_fini) struct table t = { 0 };
	struct sealed_log_slot slots[LOG_MAX_SLOTS];
	size_t n;
	int r = offline_slots(path, &why, slots, &n);

	if (r < 0)
		return ctl_failed(x, r, &why);
	if (x->args.given[OPT_JSON]) {
		jw_object(&x->out, NULL);
		jw_array(&x->out, "slots");
		for (size_t i = 0; i < n; i++) {
			jw_object(&x->out, NULL);
			jw_int(&x->out, "slot", slots[i].number);
			jw_str(&x->out, "seal", seal_type_name(slots[i].type));
			jw_time(&x->out, "createdAt", slots[i].created_ms);
			jw_object_end(&x->out);
		}
		jw_array_end(&x->out);
		jw_object_end(&x->out);
		buf_put_byte(&x->out, '\n');
		return CTL_OK;
	}
	table_init(&t, 3, 1U, "");
	table_pair(&t, "SLOT", "SEAL");
	table_text(&t, "CREATED");
	for (size_t i = 0; i < n; i++) {
		char created[CLOCK_ISO_SIZE];

		clock_iso(slots[i].created_ms, created);
		table_int(&t, slots[i].number);
		table_pair(&t, seal_type_name(slots[i].type), created);
	}
	table_print(&t, &x->out);
	buf_put_str(&x->out, "\nAs the file says: no key was used, so nothing of this is authenticated.\n");
	return CTL_OK;
}

int cmd_slot_list(struct ctl *x)
{
	int r = offline_usage(x, x->n_operands == 1);

	if (r != CTL_OK)
		return r;
	return x->n_operands ? list_file(x, x->operands[0]) : list_online(x);
}

/* ---- add ---- */

/* the seals, and the option that goes with each */
static const struct {
	const char *name;
	enum opt option; /* OPT_NR: none */
} seals[] = {
	{ "keyfile", OPT_KEY_FILE },
	{ "passphrase", OPT_PASSPHRASE_FD },
	{ "credential", OPT_CREDENTIAL },
	{ "command", OPT_NR },
	{ "pkcs11", OPT_NR },
	{ "recovery", OPT_NR },
};
#define N_SEALS (sizeof(seals) / sizeof(seals[0]))

static int check_seal(const struct ctl *x, const char *name)
{
	static const enum opt options[] = { OPT_KEY_FILE, OPT_PASSPHRASE_FD, OPT_CREDENTIAL };
	size_t i = 0;

	while (i < N_SEALS && strcmp(seals[i].name, name) != 0)
		i++;
	if (i == N_SEALS)
		return usage_error(
			x, "'%s' is no seal; there are keyfile, passphrase, credential, command, pkcs11 and recovery",
			name);
	for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++) {
		if (x->args.given[options[k]] && seals[i].option != options[k])
			return usage_error(x, "%s does not go with the seal %s", ctl_options[options[k]].name, name);
	}
	if (seals[i].option == OPT_KEY_FILE && !x->args.given[OPT_KEY_FILE])
		return usage_error(x, "--key-file is missing; the seal keyfile needs it");
	if (x->args.given[OPT_KEY_FILE] && x->args.value[OPT_KEY_FILE][0] != '/')
		return usage_error(x, "--key-file must be absolute: e2eed opens it, and its folder is another");
	return CTL_OK;
}

/* The end of @params. */
static int put_passphrase(const struct ctl *x, struct buf *params)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r = ctl_get_passphrase(x, "New passphrase of the keystore: ", "The same once more: ", &text);

	return r == CTL_OK ? ctl_put_passphrase(text, params) : r;
}

static void put_recovery(const json_t *result, struct buf *out)
{
	buf_put_str(out, "\nRecovery key  ");
	buf_put_str(out, ctl_str(result, "recoveryKey"));
	buf_put_str(out, "\n\nIt is shown this once. Print it or write it down, and keep it under lock and\n"
			 "key, apart from this machine and from backups of the keystore: whoever has it\n"
			 "and a copy of the keystore has every key in it. If all other secrets are lost,\n"
			 "it alone opens the keystore ('e2eectl help keystore recover').\n");
}

int cmd_slot_add(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	const char *name = x->operands[0];
	int r = check_seal(x, name);

	if (r != CTL_OK)
		return r;
	jw_object(&params, NULL);
	jw_str(&params, "seal", name);
	if (x->args.given[OPT_KEY_FILE])
		jw_str(&params, "keyFile", x->args.value[OPT_KEY_FILE]);
	if (x->args.given[OPT_CREDENTIAL])
		jw_str(&params, "credential", x->args.value[OPT_CREDENTIAL]);
	if (strcmp(name, "passphrase") == 0)
		r = put_passphrase(x, &params);
	else
		jw_object_end(&params);
	if (r == CTL_OK)
		r = ctl_ask(x, "addSlot", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_printf(&x->out, "Slot %" PRId64 " opens the keystore by %s.\n", ctl_int(result, "slot"), name);
	if (json_is_string(json_object_get(result, "recoveryKey")))
		put_recovery(result, &x->out);
	return CTL_OK;
}

/* ---- remove ---- */

int cmd_slot_remove(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	const char *text = x->operands[0];
	char question[128], *end;
	unsigned long slot;
	int r;

	errno = 0;
	slot = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || slot > UINT32_MAX)
		return usage_error(x, "'%s' is not the number of a slot; 'e2eectl keystore slot list' shows them",
				   text);
	(void)snprintf(question, sizeof(question),
		       "Remove slot %lu? Its secret will not open the keystore any more. [y/N] ", slot); /* fits */
	r = ctl_confirm(x, question);
	if (r != CTL_OK)
		return r;
	jw_object(&params, NULL);
	jw_int(&params, "slot", (int64_t)slot);
	jw_object_end(&params);
	r = ctl_ask(x, "removeSlot", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_put_str(&x->out, "Removed: its secret opens neither the keystore nor a backup made from now on.\n"
			     "Backups made before still open with it; destroy them if it may be in other\n"
			     "hands.\n");
	return CTL_OK;
}
