/* app create, list, show, token, revoke */
#include <stdio.h>

#include "base/json.h"
#include "base/jw.h"
#include "ctl/ctl.h"

#define MAX_PARAMS (1UL << 20)

static void put_app_id(struct buf *params, const struct ctl *x)
{
	jw_object(params, NULL);
	jw_str(params, "appId", x->operands[0]);
}

/* ROOMID=PERM[,PERM...]; the last "=" counts, since an id may hold one. */
static int put_room(const struct ctl *x, const char *room, struct buf *params)
{
	const char *equals = strrchr(room, '=');
	int r;

	if (!equals || equals == room)
		return usage_error(x, "--room takes ROOMID=PERMISSION[,PERMISSION...], not '%s'", room);
	jw_object(params, NULL);
	jw_bytes(params, "roomId", BYTES(room, (size_t)(equals - room)));
	r = ctl_permissions(x, equals + 1, params);
	if (r != CTL_OK)
		return r;
	jw_object_end(params);
	return CTL_OK;
}

int cmd_app_create(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	CLEANUP(table_fini) struct table t = { 0 };
	int r;

	put_app_id(&params, x);
	if (x->args.given[OPT_NAME])
		jw_str(&params, "name", x->args.value[OPT_NAME]);
	if (x->args.n_rooms) {
		jw_array(&params, "rooms");
		for (size_t i = 0; i < x->args.n_rooms; i++) {
			r = put_room(x, x->args.rooms[i], &params);
			if (r != CTL_OK)
				return r;
		}
		jw_array_end(&params);
	}
	jw_object_end(&params);
	r = ctl_ask(x, "createApp", &params, &result);
	if (r != CTL_OK || !result)
		return r;

	table_init(&t, 2, 0, "");
	table_pair(&t, "App", ctl_str(result, "appId"));
	table_pair(&t, "Identity key", ctl_str(result, "keyId"));
	table_pair(&t, "Token", ctl_str(result, "token"));
	table_print(&t, &x->out);
	buf_put_str(&x->out, "\nThe token is shown this once. Keep it in a file that only the app can read.\n");
	return CTL_OK;
}

int cmd_app_list(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(table_fini) struct table t = { 0 };
	const json_t *apps;
	int r = ctl_ask(x, "listApps", NULL, &result);

	if (r != CTL_OK || !result)
		return r;
	apps = json_object_get(result, "apps");
	if (json_array_size(apps) == 0) {
		buf_put_str(&x->out, "No apps yet; create one with 'e2eectl app create APPID'.\n");
		return CTL_OK;
	}
	table_init(&t, 6, 1U << 3, "");
	table_pair(&t, "APP", "NAME");
	table_pair(&t, "STATE", "ROOMS");
	table_pair(&t, "CREATED", "IDENTITY KEY");
	for (size_t i = 0; i < json_array_size(apps); i++) {
		const json_t *app = json_array_get(apps, i);

		table_pair(&t, ctl_str(app, "appId"), ctl_str(app, "name"));
		table_text(&t, ctl_str(app, "state"));
		table_int(&t, ctl_int(app, "rooms"));
		table_pair(&t, ctl_str(app, "createdAt"), ctl_str(app, "keyId"));
	}
	table_print(&t, &x->out);
	return CTL_OK;
}

int cmd_app_show(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	CLEANUP(table_fini) struct table t = { 0 };
	const json_t *rooms;
	int r;

	put_app_id(&params, x);
	jw_object_end(&params);
	r = ctl_ask(x, "getApp", &params, &result);
	if (r != CTL_OK || !result)
		return r;

	table_init(&t, 2, 0, "");
	table_pair(&t, "App", ctl_str(result, "appId"));
	table_pair(&t, "Name", ctl_str(result, "name"));
	table_pair(&t, "State", ctl_str(result, "state"));
	table_pair(&t, "Created", ctl_str(result, "createdAt"));
	table_pair(&t, "Last used", ctl_str(result, "lastUsedAt"));
	table_print(&t, &x->out);

	buf_put_str(&x->out, "\nIdentity keys\n");
	ctl_identities(json_object_get(result, "identities"), "  ", &x->out);
	rooms = json_object_get(result, "rooms");
	buf_put_str(&x->out, "\nRooms\n");
	if (json_array_size(rooms))
		ctl_rooms(rooms, "  ", &x->out);
	else
		buf_put_str(&x->out, "  none; grant one with 'e2eectl room grant'\n");
	return CTL_OK;
}

/* The token alone on standard output, so that it can go straight into a file. */
int cmd_app_token(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	int r;

	put_app_id(&params, x);
	jw_object_end(&params);
	r = ctl_ask(x, "resetToken", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_put_str(&x->out, ctl_str(result, "token"));
	buf_put_byte(&x->out, '\n');
	return CTL_OK;
}

int cmd_app_revoke(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	CLEANUP(buf_fini) struct buf question = BUF_INIT(MAX_PARAMS);
	int r;

	buf_put_str(&question, "Revoke app ");
	buf_put_str(&question, x->operands[0]);
	buf_put_str(&question, " for good? Its token, identity keys and room keys are\n"
			       "destroyed, and the id cannot be used again. [y/N] ");
	buf_put_byte(&question, '\0');
	if (buf_err(&question))
		return report_failure(buf_err(&question), &BUF_INIT(0));
	r = ctl_confirm(x, (const char *)question.p);
	if (r != CTL_OK)
		return r;
	put_app_id(&params, x);
	jw_object_end(&params);
	r = ctl_ask(x, "revokeApp", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_put_str(&x->out, "Revoked: its sessions are closed, and its secrets are destroyed. Should the\n"
			     "keystore's file still hold them, 'e2eectl status' says so.\n\n");
	buf_put_str(&x->out, ctl_backups_hold);
	return CTL_OK;
}
