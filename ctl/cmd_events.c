/*
 * events tail
 *
 * A subscription that outlives its connections: where one ends, the next goes on behind the last event that was shown.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/json.h"
#include "base/jw.h"
#include "base/scan.h"
#include "ctl/ctl.h"

#define MAX_PARAMS 4096
#define RETRY_MS   1000

struct tail {
	struct ctl *x;
	struct table table;
	uint64_t last;	/* the number of the last event seen, or what stands for it in front of the first */
	bool placed;	/* there is such a number: otherwise it starts with what is new */
	bool shown;	/* an event has been seen on this connection */
	bool told_lost; /* that there is no connection, until there is one again */
};

/* What was put out has been written: nothing is lost. Wherever it waits, also for a reader of its output, it ends. */
static void on_signal(int number)
{
	(void)number; /* both mean the same */
	_exit(CTL_OK);
}

/* ---- one event ---- */

static bool member_number(struct bytes object, struct bytes name, uint64_t *ret)
{
	struct bytes value;

	return scan_find(object, name, &value) && ctl_number((const char *)value.p, value.n, ret);
}

/* What it is about, but for app and room: the id of a key, or permissions. */
static void put_subject(struct table *t, const json_t *event)
{
	CLEANUP(buf_fini) struct buf words = BUF_INIT(4096);
	const json_t *permissions = json_object_get(event, "permissions");

	if (permissions)
		table_text(t, ctl_words(permissions, &words));
	else
		table_text(t, ctl_str(event, json_object_get(event, "kid") ? "kid" : "keyId"));
}

static int put_event(struct tail *tail, struct bytes params)
{
	CLEANUP(json_decrefp) json_t *event = NULL;
	const char *app = tail->x->args.value[OPT_APP];
	struct table *t = &tail->table;

	if (!member_number(params, BYTES_LIT("seq"), &tail->last) || json_load(params, &event) < 0) {
		say("an event cannot be read; compare the --version of e2eed and e2eectl");
		return CTL_FAILED;
	}
	tail->placed = tail->shown = true;
	if (app && strcmp(ctl_str(event, "appId"), app) != 0)
		return CTL_OK;
	if (tail->x->args.given[OPT_JSON]) {
		ctl_put_json(tail->x, params);
		return ctl_flush(tail->x);
	}
	table_restart(t);
	table_int(t, ctl_int(event, "seq"));
	table_pair(t, ctl_str(event, "time"), ctl_str(event, "appId"));
	table_pair(t, ctl_str(event, "type"), ctl_str(event, "roomId"));
	put_subject(t, event);
	table_print(t, &tail->x->out);
	return ctl_flush(tail->x);
}

/* The widths are those of usual values: rows are printed as they come. */
static int put_header(struct tail *tail)
{
	static const size_t widths[] = { 6, 24, 16, sizeof("identity.retiredKeyExpired") - 1, 17, 36 };
	struct table *t = &tail->table;

	table_init(t, sizeof(widths) / sizeof(widths[0]), 1U, "");
	memcpy(t->widths, widths, sizeof(widths));
	if (tail->x->args.given[OPT_JSON])
		return CTL_OK;
	table_pair(t, "SEQ", "TIME");
	table_pair(t, "APP", "EVENT");
	table_pair(t, "ROOM", "KEY OR PERMISSIONS");
	table_print(t, &tail->x->out);
	return ctl_flush(tail->x);
}

/* ---- the subscription ---- */

static void disconnect(struct tail *tail)
{
	client_fini(&tail->x->client);
	client_init(&tail->x->client);
	tail->shown = false;
}

/* Will it be otherwise in a moment? */
static bool passes(struct bytes error)
{
	struct bytes data, reason;

	return scan_find(error, BYTES_LIT("data"), &data) && scan_type(data) == SCAN_OBJECT &&
	       scan_find(data, BYTES_LIT("reason"), &reason) && scan_type(reason) == SCAN_STRING &&
	       (scan_str_is(reason, BYTES_LIT("OVERLOADED")) || scan_str_is(reason, BYTES_LIT("SHUTTING_DOWN")) ||
		scan_str_is(reason, BYTES_LIT("LOCKED")));
}

static int subscribe(struct tail *tail, struct answer *ret, struct buf *why)
{
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);

	jw_object(&params, NULL);
	if (tail->placed)
		jw_int(&params, "since", (int64_t)tail->last);
	jw_object_end(&params);
	return client_call(&tail->x->client, "subscribe", buf_bytes(&params), ret, why);
}

/* Say it once, and wait: e2eed may take its time to come back. Return: false when whoever reads our output has gone */
static bool wait_a_while(struct tail *tail, const char *because)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	if (!tail->told_lost)
		say("%s; trying again each second, until interrupted", because);
	tail->told_lost = true;
	return poll(&out, 1, RETRY_MS) <= 0;
}

/* Connected and subscribed, or the end. @again: it was before. Return: CTL_OK, with @ret_over where nobody reads any more */
static int begin(struct tail *tail, bool again, bool *ret_over)
{
	const struct args *a = &tail->x->args;
	const char *path = a->given[OPT_SOCKET] ? a->value[OPT_SOCKET] : CTL_ADMIN_SOCKET;

	for (;;) {
		CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
		struct answer answer = { 0 };
		int r = 0;

		if (tail->x->client.fd < 0)
			r = client_connect_unix(&tail->x->client, path, true, &why);
		if (r == 0)
			r = subscribe(tail, &answer, &why);
		if (r == 0 && !answer.failed) {
			if (!tail->placed && (scan_type(answer.json) != SCAN_OBJECT ||
					      !member_number(answer.json, BYTES_LIT("seq"), &tail->last))) {
				say("e2eed's answer cannot be read; compare the --version of e2eed and e2eectl");
				return CTL_FAILED;
			}
			tail->placed = true;
			if (tail->told_lost)
				say("e2eed is there again");
			tail->told_lost = false;
			return CTL_OK;
		}
		if (!again || (r < 0 && r != ERR_IO) || (r == 0 && !passes(answer.json)))
			return r < 0 ? report_failure(r, &why) : ctl_refused(tail->x, &answer);
		disconnect(tail);
		buf_put_byte(&why, '\0');
		*ret_over =
			!wait_a_while(tail, r < 0 && why.p ? (const char *)why.p : "e2eed takes no subscription now");
		if (*ret_over)
			return CTL_OK;
	}
}

/* Until the connection ends. Return: CTL_OK, with @ret_over where nobody reads any more; an exit status after having said why */
static int listen_on(struct tail *tail, bool *ret_over)
{
	for (;;) {
		CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
		struct answer answer = { 0 };
		int r = client_listen(&tail->x->client, STDOUT_FILENO, &answer, &why);

		*ret_over = r == 0;
		if (r == 0)
			return CTL_OK;
		if (r < 0 && r != ERR_IO)
			return report_failure(r, &why);
		if (r == 1 && !answer.failed) {
			r = put_event(tail, answer.json);
			if (r != CTL_OK)
				return r;
			continue;
		}
		if (r == 1 && !passes(answer.json))
			return ctl_refused(tail->x, &answer);
		/* a connection that brought nothing is not begun anew at once */
		if (!tail->shown)
			*ret_over = !wait_a_while(tail, "e2eed closed the connection");
		return CTL_OK;
	}
}

/* Events of an app that does not exist would be waited for in vain. */
static int check_app(struct ctl *x)
{
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	struct answer answer = { 0 };
	int r;

	jw_object(&params, NULL);
	jw_str(&params, "appId", x->args.value[OPT_APP]);
	jw_object_end(&params);
	r = ctl_call(x, "getApp", &params, &answer);
	return r == CTL_OK && answer.failed ? ctl_refused(x, &answer) : r;
}

static int run(struct tail *tail)
{
	bool over = false;
	int r = begin(tail, false, &over);

	if (r == CTL_OK)
		r = put_header(tail);
	while (r == CTL_OK && !over) {
		r = listen_on(tail, &over);
		if (r != CTL_OK || over)
			break;
		disconnect(tail);
		r = begin(tail, true, &over);
	}
	return r;
}

int cmd_events_tail(struct ctl *x)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct tail tail = { .x = x, .placed = x->args.given[OPT_SINCE] };
	const char *text = x->args.value[OPT_SINCE];
	int r = CTL_OK;

	if (tail.placed && (!ctl_number(text, strlen(text), &tail.last) || tail.last >= (uint64_t)1 << 53))
		return usage_error(x, "--since takes the number of an event, not '%.100s'", text);
	(void)sigaction(SIGINT, &action, NULL); /* cannot fail for these */
	(void)sigaction(SIGTERM, &action, NULL);
	if (x->args.given[OPT_APP])
		r = check_app(x);
	if (r == CTL_OK)
		r = run(&tail);
	table_fini(&tail.table);
	return r;
}
