#include "ctl/offline.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fsio.h"
#include "ctl/progress.h"
#include "ctl/prompt.h"
#include "keystore/log_header.h"
#include "keystore/private_file.h"

static bool goes_with_file(enum opt o)
{
	return o == OPT_KEY_FILE || o == OPT_PASSPHRASE_FD || o == OPT_KEYSTORE;
}

int offline_usage(const struct ctl *x, bool with_file)
{
	if (with_file && x->args.given[OPT_SOCKET])
		return usage_error(x, "--socket does not go with FILE, which is read without e2eed");
	for (enum opt o = 0; o < OPT_NR && !with_file; o++) {
		if (x->args.given[o] && goes_with_file(o))
			return usage_error(x, "%s goes with FILE only: without it e2eed is asked, which has its key",
					   ctl_options[o].name);
	}
	if (x->args.given[OPT_KEY_FILE] && x->args.given[OPT_PASSPHRASE_FD])
		return usage_error(x, "--key-file and --passphrase-fd exclude each other");
	return CTL_OK;
}

int offline_slots(const char *path, struct buf *why, struct sealed_log_slot ret[LOG_MAX_SLOTS], size_t *ret_n)
{
	CLEANUP(buf_fini) struct buf raw = BUF_INIT(LOG_HEADER_MAX);
	CLEANUP(fd_closep) int fd = -1;
	struct log_header header;
	uint8_t *room;
	size_t n;
	int r = private_file_open(path, O_RDONLY, "keystore", why, &fd);

	if (r == ERR_NOT_FOUND)
		buf_printf(why, "there is no keystore at %s", path);
	if (r < 0)
		return r;
	room = buf_room(&raw, LOG_HEADER_MAX);
	if (!room)
		return ERR_NOMEM;
	r = fsio_pread_full(fd, room, LOG_HEADER_MAX, 0, &n);
	if (r < 0) {
		buf_printf(why, "cannot read keystore %s: %m", path);
		return r;
	}
	buf_added(&raw, n);
	r = log_header_parse(buf_bytes(&raw), path, why, &header);
	if (r < 0)
		return r;
	for (size_t i = 0; i < header.n_slots; i++)
		ret[i] = (struct sealed_log_slot){ .number = header.slots[i].number,
						   .type = (enum seal_type)header.slots[i].type,
						   .created_ms = header.slots[i].created_ms };
	*ret_n = header.n_slots;
	return 0;
}

/* ---- opening ---- */

static int open_with(const struct store_options *options, const struct seal *seal, struct buf *why, struct store **ret)
{
	CLEANUP(store_freep) struct store *store = NULL;
	struct progress progress;
	int r = store_new(options, &store);

	if (r < 0)
		return r;
	progress_start(&progress, "reading the keystore");
	r = store_unlock(store, seal, why);
	progress_stop(&progress);
	if (r == 0)
		*ret = TAKE(store);
	return r;
}

static int open_with_text(const struct store_options *options, enum seal_type type, const struct secret *text,
			  struct buf *why, struct store **ret)
{
	CLEANUP(seal_fini) struct seal seal = { 0 };
	/* costs are for slots that are made, and none is */
	int r = type == SEAL_RECOVERY ? seal_recovery_init(&seal, text) : seal_passphrase_init(&seal, text, 0, 0);

	return r < 0 ? r : open_with(options, &seal, why, ret);
}

static int ask_for(const struct ctl *x, const char *what, const char *path, struct buf *why, struct secret **ret)
{
	CLEANUP(buf_fini) struct buf question = BUF_INIT(8192);

	if (x->args.given[OPT_PASSPHRASE_FD])
		return prompt_fd(x->args.value[OPT_PASSPHRASE_FD], why, ret);
	buf_put_str(&question, what);
	buf_put_str(&question, " of ");
	buf_put_str(&question, path);
	buf_put_str(&question, ": ");
	buf_put_byte(&question, '\0');
	if (buf_err(&question))
		return buf_err(&question);
	return prompt_secret((const char *)question.p, NULL, why, ret);
}

/* A text that is typed may be a passphrase or the recovery key: what the file has slots for is tried. */
static int read_with_text(const struct ctl *x, const struct store_options *options, struct buf *why, struct store **ret)
{
	CLEANUP(secret_freep) struct secret *text = NULL;
	struct sealed_log_slot slots[LOG_MAX_SLOTS];
	bool passphrase = false, recovery = false;
	size_t n, said;
	int r = offline_slots(options->path, why, slots, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		passphrase |= slots[i].type == SEAL_PASSPHRASE;
		recovery |= slots[i].type == SEAL_RECOVERY;
	}
	if (!passphrase && !recovery) {
		buf_printf(why, "no slot of %s opens with a passphrase or a recovery key; give --key-file",
			   options->path);
		return ERR_INVALID_PARAMS;
	}
	r = ask_for(x,
		    passphrase && recovery ? "Passphrase or recovery key"
		    : passphrase	   ? "Passphrase"
					   : "Recovery key",
		    options->path, why, &text);
	if (r < 0)
		return r;
	if (!passphrase)
		return open_with_text(options, SEAL_RECOVERY, text, why, ret);
	r = open_with_text(options, SEAL_PASSPHRASE, text, why, ret);
	if (r != ERR_SEAL || !recovery)
		return r;
	said = why->n;
	r = open_with_text(options, SEAL_RECOVERY, text, why, ret);
	if (r == ERR_SEAL)
		buf_cut(why, said); /* what the passphrase's slot had to say is enough */
	else if (r == 0)
		buf_drop_front(why, said);
	return r;
}

int offline_read(const struct ctl *x, const char *path, struct buf *why, struct store **ret)
{
	const struct store_options options = { .path = path, .read_only = true };
	CLEANUP(seal_fini) struct seal seal = { 0 };
	int r;

	if (!x->args.given[OPT_KEY_FILE])
		return read_with_text(x, &options, why, ret);
	r = seal_keyfile_init(&seal, x->args.value[OPT_KEY_FILE]);
	return r < 0 ? r : open_with(&options, &seal, why, ret);
}

int offline_recover(const struct ctl *x, const char *path, struct buf *why, struct store **ret)
{
	const struct store_options options = { .path = path, .anchor = x->args.value[OPT_ANCHOR] };
	CLEANUP(secret_freep) struct secret *text = NULL;
	int r = ask_for(x, "Recovery key", path, why, &text);

	return r < 0 ? r : open_with_text(&options, SEAL_RECOVERY, text, why, ret);
}
