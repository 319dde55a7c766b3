/* app rotate, escrow, import, export; key list, revoke: an app's identity keys, and the passphrases they travel under */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/jw.h"
#include "base/scan.h"
#include "ctl/ctl.h"
#include "proto/params.h"

#define MAX_PARAMS (1UL << 20)
#define MAX_PAIR   (1UL << 20) /* bytes of a file with a key pair; e2eed takes no longer frame, as it is delivered */
#define PAIR_DEPTH 32

static void put_app_id(struct buf *params, const struct ctl *x)
{
	jw_object(params, NULL);
	jw_str(params, "appId", x->operands[0]);
}

/* As ctl_confirm(); @parts are pieces of one question, the last of them NULL. */
static int confirm(const struct ctl *x, const char *const *parts)
{
	CLEANUP(buf_fini) struct buf question = BUF_INIT(MAX_PARAMS);

	for (; *parts; parts++)
		buf_put_str(&question, *parts);
	buf_put_byte(&question, '\0');
	if (buf_err(&question))
		return report_failure(buf_err(&question), &BUF_INIT(0));
	return ctl_confirm(x, (const char *)question.p);
}

/* ---- rotate ---- */

/* "90", "90s", "30m", "12h", "7d" */
static int get_grace(const struct ctl *x, const char *text, uint64_t *ret_s)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t n = strspn(text, "0123456789");
	uint64_t v, factor = text[n] ? 0 : 1;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (text[n] == units[i].unit && !text[n + 1])
			factor = units[i].seconds;
	}
	if (!factor || !ctl_number(text, n, &v) || v > PARAM_MAX_GRACE / factor)
		return usage_error(x, "--grace takes a time such as 7d, 12h, 30m or 90s, at most 3650d, not '%.100s'",
				   text);
	*ret_s = v * factor;
	return CTL_OK;
}

static void put_rotated(const json_t *result, bool grace, struct ctl *x)
{
	CLEANUP(table_fini) struct table t;

	table_init(&t, 2, 0, "");
	table_pair(&t, "App", x->operands[0]);
	table_pair(&t, "New key", ctl_str(result, "keyId"));
	table_pair(&t, "Former key", ctl_str(result, "previousKeyId"));
	table_pair(&t, grace ? "It unwraps until" : "It is",
		   grace ? ctl_str(result, "previousExpiresAt") : "destroyed");
	table_print(&t, &x->out);
	buf_put_str(&x->out, "\nNext, publish the new key: have the app call getKeyPublication, and give the\n"
			     "result to Rocket.Chat (e2e.setUserPublicAndPrivateKeys). Members' clients then\n"
			     "wrap the rooms' keys for it.\n");
	if (grace) {
		buf_put_str(&x->out,
			    "What they have wrapped for the former key can be imported until then; after that\n"
			    "the former key is destroyed. 'e2eectl key revoke' does so earlier.\n");
		return;
	}
	buf_put_str(&x->out, "\nThe former key's secrets are destroyed. Should the keystore's file still hold\n"
			     "them, 'e2eectl status' says so.\n\n");
	buf_put_str(&x->out, ctl_backups_hold);
}

int cmd_app_rotate(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	uint64_t grace_s = PARAM_GRACE_S;
	int r = CTL_OK;

	if (x->args.given[OPT_GRACE])
		r = get_grace(x, x->args.value[OPT_GRACE], &grace_s);
	if (r == CTL_OK && grace_s == 0)
		r = confirm(x,
			    (const char *const[]){ "Rotate the identity key of app ", x->operands[0],
						   " without grace? The former key is\ndestroyed at once: room keys "
						   "that were wrapped only for it can no longer be\nimported. [y/N] ",
						   NULL });
	if (r != CTL_OK)
		return r;
	put_app_id(&params, x);
	if (x->args.given[OPT_GRACE])
		jw_int(&params, "graceSeconds", (int64_t)grace_s);
	jw_object_end(&params);
	r = ctl_ask(x, "rotate", &params, &result);
	if (r == CTL_OK && result)
		put_rotated(result, grace_s > 0, x);
	return r;
}

/* ---- passphrases that Rocket.Chat's clients are to use ---- */

/* Others than printable ASCII are read as different bytes by web and by mobile clients (docs/interop.md, 17). */
static int get_shared_passphrase(const struct ctl *x, const char *question, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r = ctl_get_passphrase(x, question, "The same once more: ", &text);

	if (r != CTL_OK)
		return r;
	for (size_t i = 0; i < secret_len(text); i++) {
		if (secret_read(text)[i] < 0x20 || secret_read(text)[i] > 0x7e) {
			say("this passphrase would not open on all of Rocket.Chat's clients; choose one of printable ASCII "
			    "characters");
			return CTL_FAILED;
		}
	}
	*ret = TAKE(text);
	return CTL_OK;
}

/* ---- escrow ---- */

static int clear_escrow(struct ctl *x, struct buf *params)
{
	int r = confirm(x,
			(const char *const[]){
				"Clear the escrow passphrase of app ", x->operands[0],
				"? It is destroyed, and what the app\npublishes from then on opens with no passphrase "
				"that anybody knows. [y/N] ",
				NULL });

	jw_null(params, "passphrase");
	jw_object_end(params);
	return r;
}

int cmd_app_escrow(struct ctl *x)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	bool clear = x->args.given[OPT_CLEAR];
	int r;

	if (clear && x->args.given[OPT_PASSPHRASE_FD])
		return usage_error(x, "--clear and --passphrase-fd exclude each other");
	put_app_id(&params, x);
	if (clear) {
		r = clear_escrow(x, &params);
	} else {
		r = get_shared_passphrase(x, "New escrow passphrase: ", &text);
		if (r == CTL_OK)
			r = ctl_put_passphrase(text, &params);
	}
	if (r == CTL_OK)
		r = ctl_ask(x, "setEscrow", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_put_str(&x->out, clear ? "Cleared: what getKeyPublication gives from now on is sealed with a passphrase\n"
				     "that is thrown away.\n"
				   : "Set: what getKeyPublication gives from now on opens with this passphrase, and\n"
				     "whoever knows it has the app's key.\n");
	buf_put_str(&x->out, "What was published before opens with what it was sealed with; to replace it,\n"
			     "publish anew.\n");
	return CTL_OK;
}

/* ---- import ---- */

/* @place: what to call it */
static int read_pair(const char *path, const char *place, struct buf *ret)
{
	int r = strcmp(path, "-") == 0 ? ctl_read_stdin(ret) : fsio_read(path, ret);

	if (r == 0)
		return CTL_OK;
	if (r == ERR_NOT_FOUND)
		say("%s: no such file; it should hold what e2e.fetchMyKeys gave", place);
	else if (r == ERR_IO && errno == EINVAL)
		say("%s: not a regular file; - reads standard input", place);
	else if (r == ERR_IO)
		say("cannot read %s: %s", place, strerror(errno));
	else if (r == ERR_TOO_LARGE)
		say("%s: larger than 1 MiB, so it is no key pair", place);
	else
		say("%s: %s", place, err_text(r));
	return CTL_FAILED;
}

/* What Rocket.Chat gave as @name, text or object, goes on as it is: which forms there are is e2eed's to know. */
static bool put_member(struct bytes pair, const char *name, struct buf *params)
{
	struct bytes value;

	if (!scan_find(pair, bytes_str(name), &value) ||
	    (scan_type(value) != SCAN_STRING && scan_type(value) != SCAN_OBJECT))
		return false;
	jw_raw(params, name, value);
	return true;
}

/* The members of a key pair into @params; others, such as the REST API's "success", stay behind. */
static int put_pair(const char *path, struct buf *params)
{
	CLEANUP(buf_fini) struct buf text = BUF_INIT(MAX_PAIR);
	const char *place = strcmp(path, "-") == 0 ? "standard input" : path;
	struct bytes pair;
	int r = read_pair(path, place, &text);

	if (r != CTL_OK)
		return r;
	r = scan_check(buf_bytes(&text), 0, PAIR_DEPTH);
	if (r == ERR_NOMEM)
		return report_failure(r, &BUF_INIT(0));
	pair = scan_trim(buf_bytes(&text));
	if (r < 0 || scan_type(pair) != SCAN_OBJECT || !put_member(pair, "public_key", params) ||
	    !put_member(pair, "private_key", params)) {
		say("%s: this is no key pair; expected the JSON object that e2e.fetchMyKeys gives, with public_key and "
		    "private_key",
		    place);
		return CTL_FAILED;
	}
	return CTL_OK;
}

static int get_user_passphrase(const struct ctl *x, struct secret **ret)
{
	CLEANUP(buf_fini) struct buf question = BUF_INIT(MAX_PARAMS);

	buf_put_str(&question, "E2E passphrase of user ");
	buf_put_str(&question, x->operands[1]);
	buf_put_str(&question, " in Rocket.Chat: ");
	buf_put_byte(&question, '\0');
	if (buf_err(&question))
		return report_failure(buf_err(&question), &BUF_INIT(0));
	return ctl_get_passphrase(x, (const char *)question.p, NULL, ret);
}

int cmd_app_import(struct ctl *x)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(2 * MAX_PARAMS);
	CLEANUP(table_fini) struct table t = { 0 };
	const char *path = x->n_operands > 2 ? x->operands[2] : "-";
	int r;

	if (strcmp(path, "-") == 0 && x->args.given[OPT_PASSPHRASE_FD] &&
	    strcmp(x->args.value[OPT_PASSPHRASE_FD], "0") == 0)
		return usage_error(x, "standard input gives the key pair; --passphrase-fd needs another descriptor");
	if (x->n_operands < 3 && isatty(STDIN_FILENO))
		return usage_error(x, "FILE is missing, and standard input is the terminal; - reads it nevertheless");
	put_app_id(&params, x);
	jw_str(&params, "userId", x->operands[1]);
	r = put_pair(path, &params);
	if (r == CTL_OK)
		r = get_user_passphrase(x, &text);
	if (r == CTL_OK)
		r = ctl_put_passphrase(text, &params);
	if (r == CTL_OK)
		r = ctl_ask(x, "importIdentity", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	table_init(&t, 2, 0, "");
	table_pair(&t, "App", x->operands[0]);
	table_pair(&t, "Identity key", ctl_str(result, "keyId"));
	table_print(&t, &x->out);
	buf_put_str(&x->out, "\nIt is the app's current key. The one before, if it was another, unwraps for 7\n"
			     "more days and is destroyed then; 'e2eectl key list' shows both.\n");
	return CTL_OK;
}

/* ---- export ---- */

/* Standard output is for the key pair alone, with and without --json. */
int cmd_app_export(struct ctl *x)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	struct answer answer = { 0 };
	int r;

	put_app_id(&params, x);
	jw_str(&params, "userId", x->operands[1]);
	r = get_shared_passphrase(x, "New passphrase for the exported key: ", &text);
	if (r == CTL_OK)
		r = ctl_put_passphrase(text, &params);
	if (r == CTL_OK)
		r = ctl_call(x, "exportIdentity", &params, &answer);
	if (r != CTL_OK)
		return r;
	if (answer.failed)
		return ctl_refused(x, &answer);
	ctl_put_json(x, answer.json);
	r = ctl_flush(x);
	if (r == CTL_OK && !x->args.given[OPT_JSON])
		say("exported, sealed with that passphrase: whoever has both has the app's key.\n"
		    "'e2eectl app import APPID USERID FILE' takes it, and so does Rocket.Chat for that\n"
		    "user (e2e.setUserPublicAndPrivateKeys).");
	return r;
}

/* ---- keys ---- */

int cmd_key_list(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	struct answer answer = { 0 };
	struct bytes identities;
	int r;

	put_app_id(&params, x);
	jw_object_end(&params);
	r = ctl_call(x, "getApp", &params, &answer);
	if (r != CTL_OK)
		return r;
	if (answer.failed)
		return ctl_refused(x, &answer);
	r = ctl_load(&answer, &result);
	if (r != CTL_OK)
		return r;
	if (!x->args.given[OPT_JSON]) {
		if (json_array_size(json_object_get(result, "identities")))
			ctl_identities(json_object_get(result, "identities"), "", &x->out);
		else
			buf_put_str(&x->out, "No keys: the app is revoked, and those it had are destroyed.\n");
		return CTL_OK;
	}
	jw_object(&x->out, NULL);
	if (scan_find(answer.json, BYTES_LIT("identities"), &identities))
		jw_raw(&x->out, "identities", identities);
	jw_object_end(&x->out);
	buf_put_byte(&x->out, '\n');
	return CTL_OK;
}

int cmd_key_revoke(struct ctl *x)
{
	static const char meaning[] = "?\nIt is destroyed at once: room keys wrapped only for it can no longer be\n"
				      "imported. [y/N] ";
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	int r = confirm(
		x, (const char *const[]){ "Revoke key ", x->operands[1], " of app ", x->operands[0], meaning, NULL });

	if (r != CTL_OK)
		return r;
	put_app_id(&params, x);
	jw_str(&params, "keyId", x->operands[1]);
	jw_object_end(&params);
	r = ctl_ask(x, "revokeKey", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	buf_put_str(&x->out, "Revoked: the key's secrets are destroyed. Room keys that were imported stay,\n"
			     "those that were wrapped only for it can no longer be imported. Should the\n"
			     "keystore's file still hold the secrets, 'e2eectl status' says so.\n\n");
	buf_put_str(&x->out, ctl_backups_hold);
	return CTL_OK;
}
