/* lock, unlock */
#include "base/json.h"
#include "base/jw.h"
#include "base/scan.h"
#include "ctl/ctl.h"
#include "ctl/prompt.h"

#define MAX_PARAMS 16384

int cmd_lock(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	int r = ctl_ask(x, "lock", NULL, &result);

	if (r == CTL_OK && result)
		buf_put_str(&x->out, "Locked: no secret is in memory, and apps are refused until 'e2eectl unlock'.\n");
	return r;
}

int ctl_put_passphrase(const struct secret *text, struct buf *params)
{
	int r;

	jw_bytes(params, "passphrase", secret_bytes(text));
	jw_object_end(params);
	r = buf_err(params);
	if (r == 0)
		r = scan_check(buf_bytes(params), 0, 2);
	if (r == ERR_NOMEM) {
		say("out of memory");
		return CTL_FAILED;
	}
	if (r < 0) {
		say("this passphrase cannot be sent to e2eed: it must be UTF-8 text without NUL");
		return CTL_FAILED;
	}
	return CTL_OK;
}

/* Did the daemon answer that it lacks a passphrase? */
static bool wants_passphrase(const struct answer *answer)
{
	struct bytes data, text;

	return answer->failed && scan_find(answer->json, BYTES_LIT("data"), &data) && scan_type(data) == SCAN_OBJECT &&
	       scan_find(data, BYTES_LIT("param"), &text) && scan_type(text) == SCAN_STRING &&
	       scan_str_is(text, BYTES_LIT("passphrase"));
}

/* By itself first: whether a passphrase is needed is the daemon's to say. */
static int unlock(struct ctl *x, struct answer *ret)
{
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	CLEANUP(buf_fini) struct buf why = BUF_INIT(8192);
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r;

	if (!x->args.given[OPT_PASSPHRASE_FD]) {
		r = ctl_call(x, "unlock", NULL, ret);
		if (r != CTL_OK || !wants_passphrase(ret))
			return r;
		r = prompt_secret("Passphrase of the keystore: ", NULL, &why, &text);
	} else {
		r = prompt_fd(x->args.value[OPT_PASSPHRASE_FD], &why, &text);
	}
	if (r < 0)
		return ctl_failed(x, r, &why);
	jw_object(&params, NULL);
	r = ctl_put_passphrase(text, &params);
	return r == CTL_OK ? ctl_call(x, "unlock", &params, ret) : r;
}

int cmd_unlock(struct ctl *x)
{
	struct answer answer = { 0 };
	int r = unlock(x, &answer);

	if (r != CTL_OK)
		return r;
	if (answer.failed)
		return ctl_refused(x, &answer);
	if (x->args.given[OPT_JSON])
		ctl_put_json(x, answer.json);
	else
		buf_put_str(&x->out, "Unlocked: e2eed serves its apps.\n");
	return CTL_OK;
}
