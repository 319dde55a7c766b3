/* lock, unlock */
#include "base/json.h"
#include "base/jw.h"
#include "base/scan.h"
#include "ctl/ctl.h"

#define MAX_PARAMS 16384

int cmd_lock(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	int r = ctl_ask(x, "lock", NULL, &result);

	if (r == CTL_OK && result)
		buf_put_str(&x->out, "Locked: no secret is in memory, and apps are refused until 'e2eectl unlock'.\n");
	return r;
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
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r;

	if (!x->args.given[OPT_PASSPHRASE_FD]) {
		r = ctl_call(x, "unlock", NULL, ret);
		if (r != CTL_OK || !wants_passphrase(ret))
			return r;
	}
	r = ctl_get_passphrase(x, "Passphrase of the keystore: ", NULL, &text);
	if (r != CTL_OK)
		return r;
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
