/* keystore verify, compact, rekey, backup, recover */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/jw.h"
#include "ctl/offline.h"

#define MAX_PARAMS 16384
#define MAX_WHY	   16384

/* ---- verify ---- */

static int verify_online(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	struct answer answer = { 0 };
	bool ok;
	int r = ctl_call(x, "verifyKeystore", NULL, &answer);

	if (r == CTL_OK && answer.failed)
		return ctl_refused(x, &answer);
	if (r == CTL_OK)
		r = ctl_load(&answer, &result);
	if (r != CTL_OK)
		return r;
	ok = json_is_true(json_object_get(result, "ok"));
	if (x->args.given[OPT_JSON])
		ctl_put_json(x, answer.json);
	else if (ok)
		buf_printf(&x->out, "Whole: all %" PRId64 " records of generation %" PRId64 " authenticate.\n",
			   ctl_int(result, "records"), ctl_int(result, "generation"));
	else
		say("%s", ctl_str(result, "why"));
	return ok ? CTL_OK : CTL_FAILED;
}

static void put_verified(struct ctl *x, const char *path, const struct store_info *info)
{
	struct buf *out = &x->out;

	if (x->args.given[OPT_JSON]) {
		jw_object(out, NULL);
		jw_bool(out, "ok", true);
		jw_str(out, "path", path);
		jw_int(out, "records", (int64_t)info->log.records);
		jw_int(out, "generation", (int64_t)info->log.generation);
		jw_int(out, "seq", (int64_t)info->seq);
		jw_int(out, "apps", (int64_t)info->apps);
		jw_int(out, "roomKeys", (int64_t)info->room_keys);
		jw_int(out, "tornBytes", (int64_t)info->log.cut_tail);
		jw_object_end(out);
		buf_put_byte(out, '\n');
		return;
	}
	buf_printf(out,
		   "Whole: all %" PRIu64 " records of generation %" PRIu64 " authenticate, up to change %" PRIu64
		   "; apps: %zu, room keys: %zu.\n",
		   info->log.records, info->log.generation, info->seq, info->apps, info->room_keys);
	if (info->log.cut_tail)
		buf_printf(out,
			   "The last %" PRIu64 " bytes are a change that a crash had cut short; e2eed cuts them\n"
			   "off when it starts.\n",
			   info->log.cut_tail);
}

static int verify_file(struct ctl *x, const char *path)
{
	CLEANUP(store_freep) struct store *store = NULL;
	CLEANUP(buf_fini) struct buf why = BUF_INIT(MAX_WHY);
	struct store_info info;
	int r = offline_read(x, path, &why, &store);

	if (r == ERR_DAMAGED && x->args.given[OPT_JSON]) {
		jw_object(&x->out, NULL);
		jw_bool(&x->out, "ok", false);
		jw_str(&x->out, "path", path);
		jw_bytes(&x->out, "why", buf_bytes(&why));
		jw_object_end(&x->out);
		buf_put_byte(&x->out, '\n');
		return CTL_FAILED;
	}
	if (r < 0)
		return ctl_failed(x, r, &why);
	store_get_info(store, &info);
	put_verified(x, path, &info);
	return CTL_OK;
}

int cmd_keystore_verify(struct ctl *x)
{
	int r = offline_usage(x, x->n_operands == 1);

	if (r != CTL_OK)
		return r;
	return x->n_operands ? verify_file(x, x->operands[0]) : verify_online(x);
}

/* ---- compact, rekey, backup ---- */

int cmd_keystore_compact(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	char before[CTL_SIZE_TEXT], after[CTL_SIZE_TEXT];
	int r = ctl_ask(x, "compactKeystore", NULL, &result);

	if (r != CTL_OK || !result)
		return r;
	ctl_size(ctl_int(result, "before"), before);
	ctl_size(ctl_int(result, "after"), after);
	buf_printf(&x->out, "Compacted: %s before, %s now.\n", before, after);
	return CTL_OK;
}

int cmd_keystore_rekey(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	int r = ctl_ask(x, "rekeyKeystore", NULL, &result);

	if (r != CTL_OK || !result)
		return r;
	buf_printf(&x->out,
		   "All records are sealed with a new data key, in generation %" PRId64 ".\n"
		   "Backups stay as they were: under the former key, which their slots open.\n",
		   ctl_int(result, "generation"));
	return CTL_OK;
}

int cmd_keystore_backup(struct ctl *x)
{
	CLEANUP(json_decrefp) json_t *result = NULL;
	CLEANUP(buf_fini) struct buf params = BUF_INIT(MAX_PARAMS);
	char size[CTL_SIZE_TEXT];
	int r;

	if (x->operands[0][0] != '/')
		return usage_error(x, "PATH must be absolute: e2eed writes the file, and its folder is another");
	jw_object(&params, NULL);
	jw_str(&params, "path", x->operands[0]);
	jw_object_end(&params);
	r = ctl_ask(x, "backupKeystore", &params, &result);
	if (r != CTL_OK || !result)
		return r;
	ctl_size(ctl_int(result, "bytes"), size);
	buf_printf(&x->out,
		   "Copied up to change %" PRId64 ", %s, read back and whole.\n"
		   "The copy is sealed as the keystore is, and of no use without what opens a slot\n"
		   "of it: keep that, too, but apart from it.\n",
		   ctl_int(result, "seq"), size);
	return CTL_OK;
}

/* ---- recover ---- */

/*
 * Root's files would be out of the daemon's reach: what is written belongs to the user whose keystore it is.
 */
static int become_owner(const char *path, struct buf *why)
{
	struct stat st;

	if (geteuid() != 0 || lstat(path, &st) < 0 || st.st_uid == 0)
		return 0; /* a file that is not there is told by who opens it */
	if (setegid(st.st_gid) == 0 && seteuid(st.st_uid) == 0)
		return 0;
	buf_printf(why, "cannot act as uid %ld, to whom keystore %s belongs: %m", (long)st.st_uid, path);
	return ERR_IO;
}

/* What is to be known about an opening that went well, one line each. */
static void say_notes(struct buf *why)
{
	char *line, *rest;

	buf_put_byte(why, '\0');
	if (buf_err(why))
		return;
	for (line = strtok_r((char *)why->p, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		say("%s", line);
}

static int recover_as_owner(const struct ctl *x, const char *path, const char *key_file, struct buf *why,
			    uint32_t *ret_slot)
{
	CLEANUP(store_freep) struct store *store = NULL;
	CLEANUP(seal_fini) struct seal seal = { 0 };
	int r = offline_recover(x, path, why, &store);

	if (r == ERR_BUSY)
		buf_put_str(why, "; stop e2eed first");
	if (r == 0)
		r = seal_keyfile_init(&seal, key_file);
	if (r < 0)
		return r;
	say_notes(why);
	buf_reset(why);
	return store_add_slot(store, &seal, why, ret_slot);
}

static int recover(const struct ctl *x, const char *path, const char *key_file, struct buf *why, uint32_t *ret_slot)
{
	int r = become_owner(path, why);

	if (r == 0)
		r = recover_as_owner(x, path, key_file, why, ret_slot);
	(void)!seteuid(getuid()); /* nothing but the answer is left to do, and either user may give it */
	(void)!setegid(getgid());
	return r;
}

int cmd_keystore_recover(struct ctl *x)
{
	CLEANUP(buf_fini) struct buf why = BUF_INIT(MAX_WHY);
	const char *path = x->operands[0], *key_file = x->args.value[OPT_KEY_FILE];
	uint32_t slot;
	int r;

	if (x->args.given[OPT_SOCKET])
		return usage_error(x, "--socket does not go with this command, which works without e2eed");
	if (key_file[0] != '/')
		return usage_error(x, "--key-file must be absolute, since it is to stand in e2eed.conf");
	r = recover(x, path, key_file, &why, &slot);
	if (r < 0)
		return ctl_failed(x, r, &why);
	if (x->args.given[OPT_JSON]) {
		jw_object(&x->out, NULL);
		jw_int(&x->out, "slot", slot);
		jw_str(&x->out, "keyFile", key_file);
		jw_object_end(&x->out);
		buf_put_byte(&x->out, '\n');
		return CTL_OK;
	}
	buf_printf(&x->out, "Slot %" PRIu32 " of %s opens with the key file %s.\n\n", slot, path, key_file);
	buf_put_str(&x->out, "Put into e2eed.conf, and start e2eed:\n\n  [keystore]\n  seal = keyfile\n  key_file = ");
	buf_put_str(&x->out, key_file);
	buf_put_str(
		&x->out,
		"\n\nThen remove the slots whose secret is lost; and replace the recovery key, since\n"
		"it has been typed in:\n"
		"  e2eectl keystore slot list\n  e2eectl keystore slot add recovery\n  e2eectl keystore slot remove N\n");
	return CTL_OK;
}
