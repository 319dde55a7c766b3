/* room grant, revoke, list */
#include <stdio.h>

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

int cmd_room_revoke(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	int r;

	jw_object(&params, NULL);
	jw_str(&params, "appId", x->operands[0]);
	jw_str(&params, "roomId", x->operands[1]);
	if (x->args.given[OPT_PURGE_KEYS])
		jw_bool(&params, "purgeKeys", true);
	jw_object_end(&params);
	r = ctl_ask(x, "deauthorizeRoom", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_put_str(&x->out, x->args.given[OPT_PURGE_KEYS] ? "Revoked; the room's keys are destroyed.\n"
							   : "Revoked; the room's keys are kept.\n");
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
