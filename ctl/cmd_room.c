/* room grant, revoke, list, keys */
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/jw.h"
#include "ctl/ctl.h"

#define MAX_PARAMS (1UL << 20)

int cmd_room_grant(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	CLEANUP(buf_fini) struct buf words = BUF_INIT(4096);
	CLEANUP(table_fini) struct table t = { 0 };
	int r;

	jw_object(&params, NULL);
	jw_str(&params, "appId", x->operands[0]);
	jw_str(&params, "roomId", x->operands[1]);
	r = ctl_permissions(x, x->operands[2], &params);
	if (r != CTL_OK)
		return r;
	jw_object_end(&params);
	r = ctl_ask(x, "authorizeRoom", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	table_init(&t, 2, 0, "");
	table_pair(&t, "App", x->operands[0]);
	table_pair(&t, "Room", ctl_str(result, "roomId"));
	table_pair(&t, "Permissions", ctl_words(json_object_get(result, "permissions"), &words));
	table_print(&t, &x->out);
	return CTL_OK;
}

static int confirm_purge(const struct ctl *x)
{
	CLEANUP(buf_fini) struct buf question = BUF_INIT(MAX_PARAMS);

	buf_put_str(&question, "Destroy all keys that app ");
	buf_put_str(&question, x->operands[0]);
	buf_put_str(&question, " has of room ");
	buf_put_str(&question, x->operands[1]);
	buf_put_str(&question, "? What only they open stays closed. [y/N] ");
	buf_put_byte(&question, '\0');
	if (buf_err(&question))
		return report_failure(buf_err(&question), &BUF_INIT(0));
	return ctl_confirm(x, (const char *)question.p);
}

int cmd_room_revoke(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	bool purge = x->args.given[OPT_PURGE_KEYS];
	int r = purge ? confirm_purge(x) : CTL_OK;

	if (r != CTL_OK)
		return r;
	jw_object(&params, NULL);
	jw_str(&params, "appId", x->operands[0]);
	jw_str(&params, "roomId", x->operands[1]);
	if (purge)
		jw_bool(&params, "purgeKeys", true);
	jw_object_end(&params);
	r = ctl_ask(x, "deauthorizeRoom", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	if (!purge) {
		buf_put_str(&x->out, "Revoked; the room's keys are kept.\n");
		return CTL_OK;
	}
	buf_put_str(&x->out, "Revoked; the room's keys are destroyed. Should the keystore's file still hold\n"
			     "them, 'e2eectl status' says so.\n\n");
	buf_put_str(&x->out, ctl_backups_hold);
	return CTL_OK;
}

int cmd_room_list(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	const json_t *rooms;
	int r;

	jw_object(&params, NULL);
	jw_str(&params, "appId", x->operands[0]);
	jw_object_end(&params);
	r = ctl_ask(x, "listRooms", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	rooms = json_object_get(result, "rooms");
	if (json_array_size(rooms))
		ctl_rooms(rooms, "", &x->out);
	else
		buf_put_str(&x->out, "No rooms yet; grant one with 'e2eectl room grant APPID ROOMID PERMISSIONS'.\n");
	return CTL_OK;
}

/* A key's time as it was given: an ISO string, or an EJSON date. */
static void put_ts(struct table *t, const json_t *ts)
{
	const json_t *date = json_object_get(ts, "$date");
	char text[CLOCK_ISO_SIZE];

	if (json_is_number(date)) {
		double ms = json_number_value(date);

		clock_iso(ms > -8.64e15 && ms < 8.64e15 ? (int64_t)ms : 0, text); /* what a JavaScript date can hold */
		table_text(t, text);
	} else {
		table_text(t, json_is_string(ts) ? json_string_value(ts) : "-");
	}
}

int cmd_room_keys(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	CLEANUP(table_fini) struct table t = { 0 };
	const json_t *keys;
	int r;

	jw_object(&params, NULL);
	jw_str(&params, "appId", x->operands[0]);
	jw_str(&params, "roomId", x->operands[1]);
	jw_object_end(&params);
	r = ctl_ask(x, "listAppRoomKeys", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	keys = json_object_get(result, "keys");
	if (json_array_size(keys) == 0) {
		buf_put_str(&x->out,
			    "No keys yet; the app imports one (importRoomKey) or makes one (createRoomKey).\n");
		return CTL_OK;
	}
	table_init(&t, 4, 0, "");
	table_pair(&t, "KEY", "ALGORITHM");
	table_pair(&t, "STATE", "TIME");
	for (size_t i = 0; i < json_array_size(keys); i++) {
		const json_t *key = json_array_get(keys, i);

		table_pair(&t, ctl_str(key, "kid"), ctl_str(key, "algorithm"));
		table_text(&t, ctl_str(key, "state"));
		put_ts(&t, json_object_get(key, "ts"));
	}
	table_print(&t, &x->out);
	return CTL_OK;
}
