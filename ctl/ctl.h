/*
 * ctl - what the parts of e2eectl share: the command table's shape, parsed arguments, and the way a command asks the daemon
 *
 * A command is one row: its words, what it takes, its help, its handler. Usage checks and all help come from the rows. Handlers
 * write what goes to standard output into one buffer, which is wiped after it has been written: answers can hold messages and
 * tokens.
 */
#ifndef E2EED_CTL_CTL_H
#define E2EED_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "ctl/client.h"
#include "ctl/table.h"

/* Exit statuses (docs/protocol.md, section 6; 64 is EX_USAGE of sysexits.h). */
enum { CTL_OK = 0, CTL_FAILED = 1, CTL_NO_CONNECTION = 2, CTL_USAGE = 64 };

#define CTL_ADMIN_SOCKET "/run/e2eed/admin.sock"
#define CTL_APP_SOCKET	 "/run/e2eed/app.sock"

enum opt {
	OPT_SOCKET,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
	OPT_APP,
	OPT_TOKEN_FILE,
	OPT_APP_SOCKET,
	OPT_TCP,
	OPT_NAME,
	OPT_ROOM,
	OPT_PURGE_KEYS,
	OPT_YES,
	OPT_KEY_FILE,
	OPT_PASSPHRASE_FD,
	OPT_CREDENTIAL,
	OPT_ANCHOR,
	OPT_KEYSTORE,
	OPT_SINCE,
	OPT_FOLLOW,
	OPT_GRACE,
	OPT_CLEAR,
	OPT_NR,
};
#define OPT_BIT(o_) (1U << (o_))

struct option {
	const char *name;
	const char *value; /* what it takes, NULL: nothing */
	const char *about;
	bool everywhere;
	bool repeatable;
};
extern const struct option ctl_options[OPT_NR];

struct ctl;

struct command {
	const char *group; /* words in front of the name; NULL: none */
	const char *name;
	const char *operands;
	const char *about; /* one line */
	const char *help;  /* paragraphs, lines of at most 78 characters */
	size_t min_operands, max_operands;
	unsigned options, required; /* OPT_BIT()s beside those that go everywhere */
	const char *not_found;	    /* what to say to NOT_FOUND */
	const char *exists;	    /* and to ALREADY_EXISTS */
	const char *forbidden;	    /* and to FORBIDDEN; NULL: what report.c has for all */
	int (*run)(struct ctl *x);  /* exit status */
};
extern const struct command ctl_commands[];
extern const size_t ctl_n_commands;

struct group {
	const char *name; /* one word, or two: a group within another */
	const char *about;
};
extern const struct group ctl_groups[];
extern const size_t ctl_n_groups;

struct args {
	bool given[OPT_NR];
	const char *value[OPT_NR]; /* borrowed: argv */
	const char **rooms;	   /* owned; each borrowed: argv */
	size_t n_rooms;
	const char **words; /* owned; each borrowed: argv */
	size_t n_words;
};

struct ctl {
	const struct command *command;
	struct args args;
	const char **operands; /* borrowed: args.words, behind the command's own */
	size_t n_operands;
	struct client client;
	struct buf out; /* for standard output */
};

/* ---- args.c ---- */

/** args_parse - options and words apart, in any order. Return: CTL_OK; CTL_USAGE after having said why */
int args_parse(int argc, char **argv, struct args *ret) WARN_UNUSED;
void args_fini(struct args *a);

/* ---- help.c ---- */

struct found {
	const struct group *group;     /* NULL: none begins so */
	const struct command *command; /* NULL: no such command */
	size_t used;		       /* words of both */
};

/** ctl_find - what @words begin with; commands' operands may follow */
void ctl_find(const char *const *words, size_t n, struct found *ret);

/** ctl_unknown - say that @word is no command there. Return: CTL_USAGE */
int ctl_unknown(const struct found *found, const char *word);

/** ctl_help - about @words: none, a group, or a command (operands behind it do not matter). Return: an exit status */
int ctl_help(const char *const *words, size_t n, struct buf *out);

/* ---- report.c: sentences on standard error ---- */

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** say_buf - the sentence in @why. Return: @status */
int say_buf(const struct buf *why, int status);

/** usage_error - a sentence, and where help is to be found. Return: CTL_USAGE */
int usage_error(const struct ctl *x, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** report_failure - why there is no answer. Return: the exit status */
int report_failure(int err, const struct buf *why);

/** report_error_json - the error object, one line. Return: CTL_FAILED */
int report_error_json(struct bytes error);

/** report_error - what the daemon answered, and what to do about it. Return: CTL_FAILED */
int report_error(const struct ctl *x, struct bytes error);

/** ctl_read_stdin - all of standard input, appended to @ret. Return: 0; ERR_IO, errno tells; as buf_err(@ret) */
int ctl_read_stdin(struct buf *ret) WARN_UNUSED;

/** ctl_flush - write what is gathered in x->out, and wipe it. Return: CTL_OK; CTL_FAILED after having said why */
int ctl_flush(struct ctl *x) WARN_UNUSED;

/**
 * ctl_call - connect to the admin socket if need be, and call @method
 * @params: a JSON object, NULL: {}
 * @ret:    may be an error
 *
 * Return: CTL_OK, or an exit status after having said why there is no answer.
 */
int ctl_call(struct ctl *x, const char *method, const struct buf *params, struct answer *ret) WARN_UNUSED;

/** ctl_refused - say what error the daemon answered with. Return: CTL_FAILED */
int ctl_refused(struct ctl *x, const struct answer *answer);

/** ctl_load - the result, an object. Return: CTL_OK; CTL_FAILED after having said why */
int ctl_load(const struct answer *answer, json_t **ret) WARN_UNUSED;

/**
 * ctl_ask - connect to the admin socket, call @method, deal with errors
 * @params: a JSON object, empty: {}
 * @ret:    the result, an object; with --json it has been put out instead, and is left alone
 *
 * Return: CTL_OK, or an exit status after having said why.
 */
int ctl_ask(struct ctl *x, const char *method, const struct buf *params, json_t **ret) WARN_UNUSED;

/** ctl_put_json - one line of JSON for standard output */
void ctl_put_json(struct ctl *x, struct bytes json);

/** ctl_confirm - with --yes, or a yes on the terminal. Return: CTL_OK, or an exit status after having said why not */
int ctl_confirm(const struct ctl *x, const char *question) WARN_UNUSED;

/* what is to be said when secrets were destroyed: paragraphs for standard output */
extern const char ctl_backups_hold[];

/** ctl_failed - the sentence in @why, or @err's own; ERR_INVALID_PARAMS is bad usage. Return: the exit status */
int ctl_failed(const struct ctl *x, int err, const struct buf *why);

#define CTL_SIZE_TEXT 48
void ctl_size(int64_t bytes, char ret[CTL_SIZE_TEXT]); /* "1.5 MiB" */

/** ctl_number - decimal digits and nothing else, up to INT64_MAX. Return: false where it is something else */
bool ctl_number(const char *text, size_t n, uint64_t *ret) WARN_UNUSED;

/** ctl_str - the string member @name, "-" where there is none */
const char *ctl_str(const json_t *object, const char *name);
int64_t ctl_int(const json_t *object, const char *name);
/** ctl_words - an array of strings as "a,b", "-" when empty; in @ret, NUL-terminated. Return: @ret's text */
const char *ctl_words(const json_t *array, struct buf *ret);
/** ctl_identities - a table of what getApp gives as identities */
void ctl_identities(const json_t *identities, const char *indent, struct buf *out);
/** ctl_rooms - a table of what listRooms gives */
void ctl_rooms(const json_t *rooms, const char *indent, struct buf *out);

/** ctl_permissions - "read,write" into a member `permissions` of @params. Return: CTL_OK, CTL_USAGE after having said why */
int ctl_permissions(const struct ctl *x, const char *list, struct buf *params) WARN_UNUSED;

/** ctl_get_passphrase - from --passphrase-fd, or as prompt_secret() asks. Return: CTL_OK, or an exit status after having said why */
int ctl_get_passphrase(const struct ctl *x, const char *question, const char *again, struct secret **ret) WARN_UNUSED;

/**
 * ctl_put_passphrase - @text as the member `passphrase` of the object @params, which ends with it
 *
 * Return: CTL_OK; CTL_FAILED after having said why it cannot be sent.
 */
int ctl_put_passphrase(const struct secret *text, struct buf *params) WARN_UNUSED;

/* ---- handlers ---- */

int cmd_rpc(struct ctl *x);
int cmd_call(struct ctl *x);
int cmd_status(struct ctl *x);
int cmd_app_create(struct ctl *x);
int cmd_app_list(struct ctl *x);
int cmd_app_show(struct ctl *x);
int cmd_app_token(struct ctl *x);
int cmd_app_revoke(struct ctl *x);
int cmd_app_rotate(struct ctl *x);
int cmd_app_escrow(struct ctl *x);
int cmd_app_import(struct ctl *x);
int cmd_app_export(struct ctl *x);
int cmd_key_list(struct ctl *x);
int cmd_key_revoke(struct ctl *x);
int cmd_room_grant(struct ctl *x);
int cmd_room_revoke(struct ctl *x);
int cmd_room_list(struct ctl *x);
int cmd_room_keys(struct ctl *x);
int cmd_lock(struct ctl *x);
int cmd_unlock(struct ctl *x);
int cmd_keystore_verify(struct ctl *x);
int cmd_keystore_compact(struct ctl *x);
int cmd_keystore_rekey(struct ctl *x);
int cmd_keystore_backup(struct ctl *x);
int cmd_keystore_recover(struct ctl *x);
int cmd_slot_list(struct ctl *x);
int cmd_slot_add(struct ctl *x);
int cmd_slot_remove(struct ctl *x);
int cmd_events_tail(struct ctl *x);
int cmd_audit_tail(struct ctl *x);
int cmd_audit_verify(struct ctl *x);

#endif
