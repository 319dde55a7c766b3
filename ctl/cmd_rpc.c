/* rpc and call: any method, its result exactly as it was received. */
#include <errno.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/b64.h"
#include "base/fsio.h"
#include "base/scan.h"
#include "crypto/ossl.h"
#include "ctl/ctl.h"

#define TOKEN_PREFIX	 "e2eed1_"
#define TOKEN_PREFIX_LEN (sizeof(TOKEN_PREFIX) - 1)
#define TOKEN_KEY_SIZE	 32
#define TOKEN_LEN	 (TOKEN_PREFIX_LEN + B64URL_LEN(TOKEN_KEY_SIZE))
#define MAX_TOKEN_FILE	 (TOKEN_LEN + 2) /* one line */

/* METHOD [PARAMS]: the params, checked. */
static int get_params(const struct ctl *x, struct buf *text, struct bytes *ret)
{
	int r;

	if (!x->operands[0][0])
		return usage_error(x, "METHOD is empty");
	if (x->n_operands < 2) {
		*ret = BYTES_LIT("{}");
		return CTL_OK;
	}
	if (strcmp(x->operands[1], "-") == 0) {
		r = ctl_read_stdin(text);
		if (r < 0) {
			say("cannot read PARAMS from standard input: %s", r == ERR_IO ? strerror(errno) : err_text(r));
			return CTL_FAILED;
		}
	} else {
		buf_put_str(text, x->operands[1]);
	}
	/* As lenient as a payload may need; the daemon judges the rest. One level is the request's own. */
	r = scan_check(buf_bytes(text), SCAN_JS, SCAN_MAX_DEPTH - 1);
	if (r < 0 && r != ERR_PARSE)
		return report_failure(r, &BUF_INIT(0));
	if (r < 0)
		return usage_error(x, "PARAMS is not valid JSON");
	*ret = scan_trim(buf_bytes(text));
	if (scan_type(*ret) != SCAN_OBJECT)
		return usage_error(x, "PARAMS is not a JSON object");
	return CTL_OK;
}

static int call_and_print(struct ctl *x, struct bytes params)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	struct answer answer = { 0 };
	int r = client_call(&x->client, x->operands[0], params, &answer, &why);

	if (r < 0)
		return report_failure(r, &why);
	if (answer.failed)
		return report_error_json(answer.json);
	buf_put_bytes(&x->out, answer.json);
	buf_put_byte(&x->out, '\n');
	return CTL_OK;
}

int cmd_rpc(struct ctl *x)
{
	CLEANUP(buf_fini) struct buf text = BUF_INIT(CLIENT_MAX_ANSWER);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	const char *path = x->args.given[OPT_SOCKET] ? x->args.value[OPT_SOCKET] : CTL_ADMIN_SOCKET;
	struct bytes params = BYTES_NONE;
	int r = get_params(x, &text, &params);

	if (r != CTL_OK)
		return r;
	r = client_connect_unix(&x->client, path, true, &why);
	if (r < 0)
		return report_failure(r, &why);
	return call_and_print(x, params);
}

static int read_token(const char *path, struct secret **ret)
{
	CLEANUP(secret_freep) struct secret *line = NULL, *key = NULL;
	struct bytes text;
	size_t n;
	int r;

	errno = EIO;
	r = fsio_read_secret(path, MAX_TOKEN_FILE, &line);
	switch (r) {
	case 0:
		break;
	case ERR_FORBIDDEN:
		say("%s: others than its owner may read this file; chmod 600 it, or make a new token if they should not have",
		    path);
		return CTL_FAILED;
	case ERR_NOT_FOUND:
		say("%s: no such file; it should hold the app's token", path);
		return CTL_FAILED;
	case ERR_IO:
		say("%s: %s", path, errno == EINVAL ? "not a regular file" : strerror(errno));
		return CTL_FAILED;
	case ERR_TOO_LARGE:
		goto no_token;
	default:
		say("%s: %s", path, err_text(r));
		return CTL_FAILED;
	}
	text = secret_bytes(line);
	if (text.n && text.p[text.n - 1] == '\n')
		text.n--;
	if (text.n && text.p[text.n - 1] == '\r')
		text.n--;
	if (text.n != TOKEN_LEN || memcmp(text.p, TOKEN_PREFIX, TOKEN_PREFIX_LEN) != 0)
		goto no_token;
	text = bytes_sub(text, TOKEN_PREFIX_LEN, text.n);
	if (secret_new(B64_MAX_DECODED(text.n), &key) < 0) {
		say("out of memory");
		return CTL_FAILED;
	}
	if (b64url_decode(text, secret_write(key), &n) < 0 || n != TOKEN_KEY_SIZE)
		goto no_token;
	secret_cut(key, n);
	*ret = TAKE(key);
	return CTL_OK;

no_token:
	say("%s: this is no token; expected one line, " TOKEN_PREFIX " and 43 characters", path);
	return CTL_FAILED;
}

int cmd_call(struct ctl *x)
{
	CLEANUP(secret_freep) struct secret *token = NULL;
	CLEANUP(buf_fini) struct buf text = BUF_INIT(CLIENT_MAX_ANSWER);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	const struct args *a = &x->args;
	struct answer answer = { 0 };
	struct bytes params = BYTES_NONE;
	int r;

	if (a->given[OPT_SOCKET])
		return usage_error(x, "--socket names the admin socket; app methods take --app-socket or --tcp");
	if (a->given[OPT_APP_SOCKET] && a->given[OPT_TCP])
		return usage_error(x, "--app-socket and --tcp exclude each other");
	r = get_params(x, &text, &params);
	if (r == CTL_OK)
		r = read_token(a->value[OPT_TOKEN_FILE], &token);
	if (r != CTL_OK)
		return r;

	if (a->given[OPT_TCP])
		r = client_connect_tcp(&x->client, a->value[OPT_TCP], &why);
	else
		r = client_connect_unix(
			&x->client, a->given[OPT_APP_SOCKET] ? a->value[OPT_APP_SOCKET] : CTL_APP_SOCKET, false, &why);
	if (r == ERR_INVALID_PARAMS)
		return say_buf(&why, CTL_USAGE);
	if (r == 0)
		r = client_authenticate(&x->client, a->value[OPT_APP], token, &answer, &why);
	if (r == ERR_AUTHENTICATION_FAILED && answer.json.n)
		return report_error_json(answer.json);
	if (r < 0)
		return report_failure(r, &why);
	return call_and_print(x, params);
}
