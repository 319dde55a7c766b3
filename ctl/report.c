/*
 * What went wrong, in one sentence that ends with what to do; the shared way of asking the daemon; and helpers that read its
 * answers without trusting their shape.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/jw.h"
#include "base/scan.h"
#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "ctl/prompt.h"

/* A terminal must not be steered by what a daemon or a file name says. */
static void put_clean(const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		(void)fputc((c < 0x20 && c != '\n') || c == 0x7f ? '?' : c, stderr); /* nobody to tell if it fails */
	}
}

static void __attribute__((format(printf, 1, 0))) vsay(const char *format, va_list ap)
{
	char text[2048];

	(void)vsnprintf(text, sizeof(text), format, ap); /* a longer one is cut */
	(void)fputs("e2eectl: ", stderr);
	put_clean(text);
	(void)fputc('\n', stderr);
}

void say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsay(format, ap);
	va_end(ap);
}

int say_buf(const struct buf *why, int status)
{
	say("%.*s", (int)(why->n < 2000 ? why->n : 2000), why->n ? (const char *)why->p : "");
	return status;
}

int usage_error(const struct ctl *x, const char *format, ...)
{
	const struct command *c = x->command;
	va_list ap;

	va_start(ap, format);
	vsay(format, ap);
	va_end(ap);
	(void)fprintf(stderr, "Try 'e2eectl help %s%s%s'.\n", c->group ? c->group : "", c->group ? " " : "", c->name);
	return CTL_USAGE;
}

int report_failure(int err, const struct buf *why)
{
	if (err == ERR_INVALID_REQUEST) {
		say("an argument is not valid UTF-8");
		return CTL_USAGE;
	}
	if (why->n)
		return say_buf(why, CTL_NO_CONNECTION);
	say("%s", err_text(err));
	return CTL_FAILED;
}

int report_error_json(struct bytes error)
{
	(void)fwrite(error.p, 1, error.n, stderr); /* nobody to tell if it fails */
	(void)fputc('\n', stderr);
	return CTL_FAILED;
}

static const struct {
	const char *reason, *advice;
} advice_rows[] = {
	{ "METHOD_NOT_FOUND", "this e2eed is older than this e2eectl, compare their --version" },
	{ "INTERNAL", "this is a defect of e2eed, its log (journalctl -u e2eed) says more" },
	{ "STORAGE_ERROR", "look at the disk's free space and at e2eed's log (journalctl -u e2eed)" },
	{ "SHUTTING_DOWN", "try again when e2eed is back" },
	{ "RATE_LIMITED", "wait a little and try again" },
	{ "OVERLOADED", "wait a little and try again" },
	{ "TOO_LARGE", "limits.max_frame_bytes in e2eed.conf bounds what can be sent" },
	{ "LOCKED", "'e2eectl unlock' opens it" },
	{ "DECRYPT_FAILED", "this passphrase does not open the private key, or it belongs to another user" },
	{ "MALFORMED_ENVELOPE", "private_key must be what Rocket.Chat has stored, unchanged" },
	{ "INVALID_KEY", "public_key must be that of the private key: RSA with 2048 bits, as Rocket.Chat makes them" },
	{ "FORBIDDEN", "a revoked app cannot be changed; 'e2eectl app list' shows the states" },
};

int report_error(const struct ctl *x, struct bytes error)
{
	CLEANUP(json_decrefp) json_t *e = NULL;
	const char *reason, *param;
	const json_t *data;

	if (json_load(error, &e) < 0 || !json_is_object(e)) {
		say("e2eed answered with an error that cannot be read");
		return CTL_FAILED;
	}
	data = json_object_get(e, "data");
	reason = ctl_str(data, "reason");
	param = ctl_str(data, "param");
	if (strcmp(reason, "NOT_FOUND") == 0 && x->command->not_found) {
		say("%s", x->command->not_found);
		return CTL_FAILED;
	}
	if (strcmp(reason, "ALREADY_EXISTS") == 0 && x->command->exists) {
		say("%s", x->command->exists);
		return CTL_FAILED;
	}
	/* what the daemon has to say about it is more than we know */
	if (strcmp(ctl_str(data, "why"), "-") != 0) {
		say("%s (%s)", ctl_str(data, "why"), reason);
		return CTL_FAILED;
	}
	if (strcmp(reason, "FORBIDDEN") == 0 && x->command->forbidden) {
		say("%s", x->command->forbidden);
		return CTL_FAILED;
	}
	if (strcmp(reason, "SEQ_TOO_OLD") == 0) {
		say("e2eed has no events from that number on (SEQ_TOO_OLD); --since %" PRId64
		    " is the first that it serves.\n"
		    "What was missed shows in 'e2eectl app show' and 'e2eectl room keys' as it is now",
		    ctl_int(data, "oldest"));
		return CTL_FAILED;
	}
	if (strcmp(reason, "INVALID_PARAMS") == 0) {
		say("e2eed does not accept the %s%s; ids are 1 to 128 bytes of text, see 'e2eectl help'",
		    strcmp(param, "-") == 0 ? "" : "value of ", strcmp(param, "-") == 0 ? "arguments" : param);
		return CTL_FAILED;
	}
	for (size_t i = 0; i < sizeof(advice_rows) / sizeof(advice_rows[0]); i++) {
		if (strcmp(advice_rows[i].reason, reason) == 0) {
			say("%s (%s); %s", ctl_str(e, "message"), reason, advice_rows[i].advice);
			return CTL_FAILED;
		}
	}
	say("%s (%s)", ctl_str(e, "message"), reason);
	return CTL_FAILED;
}

int ctl_read_stdin(struct buf *ret)
{
	for (;;) {
		uint8_t *room = buf_room(ret, 65536);
		ssize_t n;

		if (!room)
			return buf_err(ret);
		n = read(STDIN_FILENO, room, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			return 0;
		buf_added(ret, (size_t)n);
	}
}

/* Straight from the buffer: stdio would keep a copy. */
static int put_out(const struct buf *out)
{
	struct bytes rest = buf_bytes(out);

	if (buf_err(out)) {
		say("%s", err_text(buf_err(out)));
		return CTL_FAILED;
	}
	while (rest.n) {
		ssize_t n = write(STDOUT_FILENO, rest.p, rest.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EPIPE) /* a reader who has seen enough is no problem of ours */
				say("cannot write to standard output: %s", strerror(errno));
			return CTL_FAILED;
		}
		rest = bytes_sub(rest, (size_t)n, rest.n);
	}
	return CTL_OK;
}

int ctl_flush(struct ctl *x)
{
	int r = put_out(&x->out);

	buf_reset(&x->out);
	return r;
}

int ctl_call(struct ctl *x, const char *method, const struct buf *params, struct answer *ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	const char *path = x->args.given[OPT_SOCKET] ? x->args.value[OPT_SOCKET] : CTL_ADMIN_SOCKET;
	struct progress progress;
	int r = 0;

	if (params && buf_err(params))
		return report_failure(buf_err(params), &why);
	if (x->client.fd < 0)
		r = client_connect_unix(&x->client, path, true, &why);
	if (r == 0) {
		progress_start(&progress, "waiting for e2eed");
		r = client_call(&x->client, method, params ? buf_bytes(params) : BYTES_LIT("{}"), ret, &why);
		progress_stop(&progress);
	}
	return r < 0 ? report_failure(r, &why) : CTL_OK;
}

int ctl_refused(struct ctl *x, const struct answer *answer)
{
	return x->args.given[OPT_JSON] ? report_error_json(answer->json) : report_error(x, answer->json);
}

int ctl_load(const struct answer *answer, json_t **ret)
{
	CLEANUP(json_decrefp) json_t *result = NULL;

	if (json_load(answer->json, &result) < 0 || !json_is_object(result)) {
		say("e2eed's answer cannot be read; compare the --version of e2eed and e2eectl");
		return CTL_FAILED;
	}
	*ret = TAKE(result);
	return CTL_OK;
}

int ctl_ask(struct ctl *x, const char *method, const struct buf *params, json_t **ret)
{
	struct answer answer = { 0 };
	int r = ctl_call(x, method, params, &answer);

	if (r != CTL_OK)
		return r;
	if (answer.failed)
		return ctl_refused(x, &answer);
	if (x->args.given[OPT_JSON]) {
		ctl_put_json(x, answer.json);
		return CTL_OK;
	}
	return ctl_load(&answer, ret);
}

void ctl_put_json(struct ctl *x, struct bytes json)
{
	buf_put_bytes(&x->out, json);
	buf_put_byte(&x->out, '\n');
}

const char ctl_backups_hold[] = "Backups and copies of the keystore that were made before still hold them, and\n"
				"open with the keys they had. Destroy those copies, or keep them where nobody\n"
				"gets at both copy and key. If one may be in other hands, have the rooms' keys\n"
				"changed in Rocket.Chat, by a member of each room.\n";

int ctl_confirm(const struct ctl *x, const char *question)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	int r;

	if (x->args.given[OPT_YES])
		return CTL_OK;
	r = prompt_yes(question, &why);
	if (r == 1)
		return CTL_OK;
	if (r == 0) {
		say("nothing was changed");
		return CTL_FAILED;
	}
	if (r == ERR_INVALID_PARAMS)
		return usage_error(
			x, "this cannot be undone, and there is no terminal to ask on; give --yes to have it done");
	return ctl_failed(x, r, &why);
}

int ctl_get_passphrase(const struct ctl *x, const char *question, const char *again, struct secret **ret)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	int r = x->args.given[OPT_PASSPHRASE_FD] ? prompt_fd(x->args.value[OPT_PASSPHRASE_FD], &why, ret)
						 : prompt_secret(question, again, &why, ret);

	return r < 0 ? ctl_failed(x, r, &why) : CTL_OK;
}

int ctl_put_passphrase(const struct secret *text, struct buf *params)
{
	CLEANUP(buf_fini) struct buf json = BUF_INIT(16384);
	int r;

	jw_bytes(&json, NULL, secret_bytes(text));
	r = buf_err(&json);
	if (r == 0)
		r = scan_check(buf_bytes(&json), 0, 1);
	if (r == ERR_NOMEM) {
		say("out of memory");
		return CTL_FAILED;
	}
	if (r < 0) {
		say("this passphrase cannot be sent to e2eed: it must be UTF-8 text without NUL");
		return CTL_FAILED;
	}
	jw_raw(params, "passphrase", buf_bytes(&json));
	jw_object_end(params);
	return CTL_OK;
}

int ctl_failed(const struct ctl *x, int err, const struct buf *why)
{
	if (err == ERR_INVALID_PARAMS)
		return usage_error(x, "%.*s", (int)(why->n < 2000 ? why->n : 2000), why->n ? (const char *)why->p : "");
	if (!why->n)
		say("%s", err_text(err));
	return why->n ? say_buf(why, CTL_FAILED) : CTL_FAILED;
}

void ctl_size(int64_t bytes, char ret[CTL_SIZE_TEXT])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		(void)snprintf(ret, CTL_SIZE_TEXT, "%" PRId64 " bytes", bytes); /* fits, as below */
		return;
	}
	v /= 1024;
	while (v >= 1024 && unit < 3) {
		v /= 1024;
		unit++;
	}
	(void)snprintf(ret, CTL_SIZE_TEXT, "%.1f %s", v, units[unit]);
}

bool ctl_number(const char *text, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned digit = (unsigned)(unsigned char)text[i] - '0';

		if (digit > 9 || v > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret = v;
	return n > 0;
}

const char *ctl_str(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && *text ? text : "-";
}

int64_t ctl_int(const json_t *object, const char *name)
{
	return (int64_t)json_integer_value(json_object_get(object, name));
}

const char *ctl_words(const json_t *array, struct buf *ret)
{
	buf_reset(ret);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *word = json_string_value(json_array_get(array, i));

		if (ret->n)
			buf_put_byte(ret, ',');
		buf_put_str(ret, word ? word : "?");
	}
	if (ret->n == 0)
		buf_put_byte(ret, '-');
	buf_put_byte(ret, '\0');
	return buf_err(ret) ? "?" : (const char *)ret->p;
}

void ctl_identities(const json_t *identities, const char *indent, struct buf *out)
{
	CLEANUP(table_fini) struct table t;

	table_init(&t, 4, 0, indent);
	table_pair(&t, "KEY", "STATE");
	table_pair(&t, "CREATED", "EXPIRES/REVOKED");
	for (size_t i = 0; i < json_array_size(identities); i++) {
		const json_t *identity = json_array_get(identities, i);

		table_pair(&t, ctl_str(identity, "keyId"), ctl_str(identity, "state"));
		table_pair(&t, ctl_str(identity, "createdAt"), ctl_str(identity, "expiresAt"));
	}
	table_print(&t, out);
}

void ctl_rooms(const json_t *rooms, const char *indent, struct buf *out)
{
	CLEANUP(buf_fini) struct buf words = BUF_INIT(4096);
	CLEANUP(table_fini) struct table t;

	table_init(&t, 4, 1U << 2, indent);
	table_pair(&t, "ROOM", "PERMISSIONS");
	table_pair(&t, "KEYS", "CURRENT KEY");
	for (size_t i = 0; i < json_array_size(rooms); i++) {
		const json_t *room = json_array_get(rooms, i);

		table_text(&t, ctl_str(room, "roomId"));
		table_text(&t, ctl_words(json_object_get(room, "permissions"), &words));
		table_int(&t, ctl_int(room, "keys"));
		table_text(&t, ctl_str(room, "currentKid"));
	}
	table_print(&t, out);
}

int ctl_permissions(const struct ctl *x, const char *list, struct buf *params)
{
	static const char *const names[] = { "read", "write", "create", "distribute" };

	jw_array(params, "permissions");
	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ","), i;

		for (i = 0; i < 4; i++) {
			if (strlen(names[i]) == n && strncmp(names[i], at, n) == 0)
				break;
		}
		if (i == 4)
			return usage_error(x,
					   "'%.*s' is not a permission; there are read, write, create and distribute",
					   (int)(n < 100 ? n : 100), at);
		jw_str(params, NULL, names[i]);
		at += n;
		if (!*at)
			break;
	}
	jw_array_end(params);
	return CTL_OK;
}
