/* status: how the daemon is, problems first */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "ctl/ctl.h"

#define TEXT_SIZE 256

static void int_row(struct table *t, const char *name, int64_t v)
{
	table_text(t, name);
	table_int(t, v);
}

static void keystore_rows(struct table *t, const json_t *keystore)
{
	char text[TEXT_SIZE], size[CTL_SIZE_TEXT];

	table_pair(t, "Keystore", ctl_str(keystore, "path"));
	if (!json_is_string(json_object_get(keystore, "seal")))
		return; /* locked: the rest is not known */
	ctl_size(ctl_int(keystore, "bytes"), size);
	(void)snprintf(text, sizeof(text), "seal %.40s, generation %" PRId64 ", %" PRId64 " records in %.40s",
		       ctl_str(keystore, "seal"), ctl_int(keystore, "generation"), ctl_int(keystore, "records"), size);
	table_pair(t, "", text);
}

static void memory_row(struct table *t, const json_t *memory)
{
	const char *mlock = ctl_str(memory, "mlock");
	char text[TEXT_SIZE], locked[CTL_SIZE_TEXT], limit[CTL_SIZE_TEXT] = "unlimited";

	if (json_is_integer(json_object_get(memory, "lockLimitBytes")))
		ctl_size(ctl_int(memory, "lockLimitBytes"), limit);
	ctl_size(ctl_int(memory, "lockedBytes"), locked);
	(void)snprintf(text, sizeof(text), "%s; %.40s locked, limit %.40s",
		       strcmp(mlock, "all") == 0     ? "all of it kept out of swap"
		       : strcmp(mlock, "arena") == 0 ? "secrets kept out of swap"
						     : "not kept out of swap",
		       locked, limit);
	table_pair(t, "Memory", text);
}

int cmd_status(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(table_fini) struct table t = { 0 };
	const json_t *problems, *workers;
	char text[TEXT_SIZE];
	bool locked;
	int r = ctl_ask(x, "getStatus", NULL, &result);

	if (r != CTL_OK || !result)
		return r;
	table_init(&t, 2, 0, "");
	table_pair(&t, "State", ctl_str(result, "state"));
	locked = strcmp(ctl_str(result, "state"), "locked") == 0;
	if (locked)
		table_pair(&t, "", "no secret is in memory, no app is served; 'e2eectl unlock' opens it");
	problems = json_object_get(result, "problems");
	for (size_t i = 0; i < json_array_size(problems); i++) {
		const char *problem = json_string_value(json_array_get(problems, i));

		table_pair(&t, "Problem", problem ? problem : "?");
	}
	(void)snprintf(text, sizeof(text), "e2eed %.40s, pid %" PRId64 ", since %.40s", ctl_str(result, "version"),
		       ctl_int(result, "pid"), ctl_str(result, "startedAt"));
	table_pair(&t, "Daemon", text);
	keystore_rows(&t, json_object_get(result, "keystore"));
	memory_row(&t, json_object_get(result, "memory"));
	workers = json_object_get(result, "workers");
	(void)snprintf(text, sizeof(text), "loops %" PRId64 ", threads %" PRId64 ", requests queued %" PRId64,
		       ctl_int(workers, "loops"), ctl_int(workers, "threads"), ctl_int(workers, "queued"));
	table_pair(&t, "Workers", text);
	int_row(&t, "Connections", ctl_int(result, "connections"));
	if (!locked) { /* else nobody knows */
		int_row(&t, "Apps", ctl_int(result, "apps"));
		int_row(&t, "Room keys", ctl_int(result, "roomKeys"));
	}
	table_print(&t, &x->out);
	return CTL_OK;
}
