/*
 * e2eectl - the admin's tool
 *
 * The tables of options and commands, the help made from them, and the order of things: parse, find the command, check what was
 * given against its row, run it, write what it has put out.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "crypto/ossl.h"
#include "ctl/ctl.h"

#define EVERYWHERE .everywhere = true
#define REPEATABLE .repeatable = true

const struct option ctl_options[OPT_NR] = {
	[OPT_SOCKET] = { "--socket", "PATH", "e2eed's admin socket (" CTL_ADMIN_SOCKET "); @NAME: abstract",
			 EVERYWHERE },
	[OPT_JSON] = { "--json", NULL, "put out results and errors as JSON", EVERYWHERE },
	[OPT_HELP] = { "--help", NULL, "show help, also of a command", EVERYWHERE },
	[OPT_VERSION] = { "--version", NULL, "show the version", EVERYWHERE },
	[OPT_APP] = { "--app", "APPID", .about = "the app to act as" },
	[OPT_TOKEN_FILE] = { "--token-file", "FILE", .about = "holds the app's token; only its owner may read it" },
	[OPT_APP_SOCKET] = { "--app-socket", "PATH",
			     .about = "e2eed's app socket (" CTL_APP_SOCKET "); @NAME: abstract" },
	[OPT_TCP] = { "--tcp", "HOST:PORT", .about = "connect over loopback TCP instead" },
	[OPT_NAME] = { "--name", "NAME", .about = "a name for people to read" },
	[OPT_ROOM] = { "--room", "ROOMID=PERM[,PERM...]", "grant a room at once; may come several times", REPEATABLE },
	[OPT_PURGE_KEYS] = { "--purge-keys", NULL, .about = "destroy the app's keys of the room too" },
};

#define NO_APP "there is no such app; 'e2eectl app list' shows those there are"
#define NO_ROOM \
	"there is no such app, or it has no grant on that room; see 'e2eectl app list' and 'e2eectl room list APPID'"

static const struct command commands[] = {
	{ NULL, "status", "", "how the daemon is",
	  "Shows state, problems, keystore, memory locking, workers and counts.", 0, 0, 0, 0, NULL, cmd_status },
	{ "app", "create", "APPID", "make an app, its identity key and its token",
	  "The token is shown this once: it is what the app authenticates with. APPID is\n"
	  "the app's id in Rocket.Chat, 1 to 128 bytes. Permissions as in 'room grant'.",
	  1, 1, OPT_BIT(OPT_NAME) | OPT_BIT(OPT_ROOM), 0, NULL, cmd_app_create },
	{ "app", "list", "", "all apps", "Shows each app's state, number of rooms and current identity key.", 0, 0, 0,
	  0, NULL, cmd_app_list },
	{ "app", "show", "APPID", "one app with its identity keys and rooms",
	  "Shows when it was made and last used, its identity keys and its rooms.", 1, 1, 0, 0, NO_APP, cmd_app_show },
	{ "app", "token", "APPID", "make a new token for an app",
	  "Prints the new token and nothing else. The old one is void at once, and sessions\n"
	  "made with it are closed. To keep it in a file:\n"
	  "  (umask 077 && e2eectl app token APPID > FILE)",
	  1, 1, 0, 0, NO_APP, cmd_app_token },
	{ "room", "grant", "APPID ROOMID PERM[,PERM...]", "let an app use a room",
	  "Replaces an earlier grant on that room. Permissions:\n"
	  "  read        decrypt messages, import and list the room's keys\n"
	  "  write       encrypt messages\n"
	  "  create      make a new room key\n"
	  "  distribute  wrap the room's keys for other users",
	  3, 3, 0, 0, NO_APP, cmd_room_grant },
	{ "room", "revoke", "APPID ROOMID", "take a room from an app",
	  "The app's keys of the room stay in the keystore for a later grant, unless\n"
	  "--purge-keys says otherwise.",
	  2, 2, OPT_BIT(OPT_PURGE_KEYS), 0, NO_ROOM, cmd_room_revoke },
	{ "room", "list", "APPID", "the rooms of an app",
	  "Shows permissions, number of keys and the current key's id for each room.", 1, 1, 0, 0, NO_APP,
	  cmd_room_list },
	{ NULL, "rpc", "METHOD [PARAMS]", "call any admin method",
	  "PARAMS is a JSON object, {} when left out; - reads it from standard input, where\n"
	  "secrets belong. Prints the result as JSON exactly as it came; an error goes to\n"
	  "standard error as JSON. 'e2eectl rpc rpc.discover' describes all methods.",
	  1, 2, 0, 0, NULL, cmd_rpc },
	{ NULL, "call", "METHOD [PARAMS]", "call any app method as an app, for tests",
	  "Authenticates on the app socket with the token in FILE, then does as 'rpc' does.\n"
	  "FILE holds the token on one line, and nobody but its owner may read it.",
	  1, 2, OPT_BIT(OPT_APP) | OPT_BIT(OPT_TOKEN_FILE) | OPT_BIT(OPT_APP_SOCKET) | OPT_BIT(OPT_TCP),
	  OPT_BIT(OPT_APP) | OPT_BIT(OPT_TOKEN_FILE), NULL, cmd_call },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct {
	const char *name, *about;
} groups[] = {
	{ "app", "apps and their tokens" },
	{ "room", "what apps may do in rooms" },
};
#define N_GROUPS (sizeof(groups) / sizeof(groups[0]))

/* ---- finding ---- */

static bool is_group(const char *word)
{
	for (size_t i = 0; i < N_GROUPS; i++) {
		if (strcmp(groups[i].name, word) == 0)
			return true;
	}
	return false;
}

/* NULL is the group of commands that stand alone */
static bool same_group(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static const struct command *find_command(const char *group, const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (same_group(commands[i].group, group) && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* ---- help ---- */

static void command_words(const struct command *c, struct buf *out)
{
	if (c->group) {
		buf_put_str(out, c->group);
		buf_put_byte(out, ' ');
	}
	buf_put_str(out, c->name);
}

static void put_options(const struct command *c, bool everywhere, struct buf *out)
{
	CLEANUP(table_fini) struct table t;

	table_init(&t, 2, 0, "  ");
	for (enum opt o = 0; o < OPT_NR; o++) {
		const struct option *option = &ctl_options[o];
		char text[64];

		if (everywhere ? !option->everywhere : !(c->options & OPT_BIT(o)))
			continue;
		(void)snprintf(text, sizeof(text), "%s%s%s", option->name, option->value ? " " : "",
			       option->value ? option->value : "");
		table_pair(&t, text, option->about);
	}
	table_print(&t, out);
}

static void put_commands(const char *group, struct buf *out)
{
	CLEANUP(table_fini) struct table t;

	table_init(&t, 2, 0, "  ");
	for (size_t i = 0; i < N_COMMANDS; i++) {
		CLEANUP(buf_fini) struct buf words = BUF_INIT(256);

		if (group && (!commands[i].group || strcmp(commands[i].group, group) != 0))
			continue;
		command_words(&commands[i], &words);
		buf_put_byte(&words, ' ');
		buf_put_str(&words, commands[i].operands);
		buf_put_byte(&words, '\0');
		table_pair(&t, words.p ? (const char *)words.p : "", commands[i].about);
	}
	table_print(&t, out);
}

static void help_program(struct buf *out)
{
	buf_put_str(out, "Usage: e2eectl [--socket PATH] [--json] COMMAND...\n"
			 "Administers a running e2eed.\n\nCommands:\n");
	put_commands(NULL, out);
	buf_put_str(out, "  help [COMMAND...]\n\nOptions, before or behind the command:\n");
	put_options(NULL, true, out);
	buf_put_str(out, "\nExit status: 0 done; 1 e2eed answered with an error; 2 no connection to it or no\n"
			 "answer; 64 bad usage.\n");
}

static void help_group(const char *group, struct buf *out)
{
	for (size_t i = 0; i < N_GROUPS; i++) {
		if (strcmp(groups[i].name, group) != 0)
			continue;
		buf_put_str(out, "Usage: e2eectl ");
		buf_put_str(out, group);
		buf_put_str(out, " COMMAND...\nCommands for ");
		buf_put_str(out, groups[i].about);
		buf_put_str(out, ":\n");
		put_commands(group, out);
	}
}

#define LINE_WIDTH 78

/* One more word of a usage line that begins at @start, which is broken where it would get too long. */
static void put_usage(struct buf *out, size_t *start, const char *before, const char *word, const char *value,
		      const char *behind)
{
	size_t n = strlen(before) + strlen(word) + strlen(behind) + (value ? strlen(value) + 1 : 0);

	if (out->n - *start + 1 + n > LINE_WIDTH) {
		buf_put_byte(out, '\n');
		*start = out->n;
		buf_put_str(out, "              ");
	}
	buf_put_byte(out, ' ');
	buf_put_str(out, before);
	buf_put_str(out, word);
	if (value) {
		buf_put_byte(out, ' ');
		buf_put_str(out, value);
	}
	buf_put_str(out, behind);
}

static void help_command(const struct command *c, struct buf *out)
{
	size_t start = out->n;

	buf_put_str(out, "Usage: e2eectl ");
	command_words(c, out);
	for (enum opt o = 0; o < OPT_NR; o++) {
		const struct option *option = &ctl_options[o];

		if (!(c->options & OPT_BIT(o)))
			continue;
		if (c->required & OPT_BIT(o))
			put_usage(out, &start, "", option->name, option->value, "");
		else
			put_usage(out, &start, "[", option->name, option->value, option->repeatable ? "]..." : "]");
	}
	if (*c->operands)
		put_usage(out, &start, "", c->operands, NULL, "");
	buf_put_str(out, "\nPurpose: ");
	buf_put_str(out, c->about);
	buf_put_str(out, ".\n\n");
	buf_put_str(out, c->help);
	buf_put_str(out, "\n");
	if (c->options) {
		buf_put_str(out, "\nOptions:\n");
		put_options(c, false, out);
	}
	buf_put_str(out, "\nOptions of every command:\n");
	put_options(c, true, out);
}

/* Help about @words: nothing, a group, or a command (operands behind it do not matter). */
static int help(const char *const *words, size_t n, struct buf *out)
{
	const struct command *c;

	if (n == 0) {
		help_program(out);
		return CTL_OK;
	}
	if (is_group(words[0])) {
		if (n == 1) {
			help_group(words[0], out);
			return CTL_OK;
		}
		c = find_command(words[0], words[1]);
	} else {
		c = find_command(NULL, words[0]);
	}
	if (!c) {
		say("there is no command '%s%s%s'.\nTry 'e2eectl --help'.", words[0], is_group(words[0]) ? " " : "",
		    is_group(words[0]) ? words[1] : "");
		return CTL_USAGE;
	}
	help_command(c, out);
	return CTL_OK;
}

/* ---- running ---- */

static int check_usage(struct ctl *x)
{
	const struct command *c = x->command;

	for (enum opt o = 0; o < OPT_NR; o++) {
		bool allowed = ctl_options[o].everywhere || (c->options & OPT_BIT(o));

		if (x->args.given[o] && !allowed)
			return usage_error(x, "%s does not go with this command", ctl_options[o].name);
		if (!x->args.given[o] && (c->required & OPT_BIT(o)))
			return usage_error(x, "%s is missing", ctl_options[o].name);
	}
	if (x->n_operands < c->min_operands)
		return usage_error(x, "something is missing; expected: %s", c->operands);
	if (x->n_operands > c->max_operands)
		return usage_error(x, "'%s' is too much; expected%s%s", x->operands[c->max_operands],
				   *c->operands ? ": " : "", *c->operands ? c->operands : " nothing more");
	return CTL_OK;
}

static int run(struct ctl *x)
{
	const char **words = x->args.words;
	size_t n = x->args.n_words, used = 1;
	int r;

	if (x->args.given[OPT_VERSION]) {
		buf_put_str(&x->out, "e2eectl " E2EED_VERSION "\n");
		return CTL_OK;
	}
	if (n && strcmp(words[0], "help") == 0)
		return help(words + 1, n - 1, &x->out);
	if (x->args.given[OPT_HELP])
		return help(words, n, &x->out);
	if (n == 0) {
		say("a command is missing.\nTry 'e2eectl --help'.");
		return CTL_USAGE;
	}
	if (is_group(words[0])) {
		if (n == 1) {
			say("'%s' needs another word.\nTry 'e2eectl help %s'.", words[0], words[0]);
			return CTL_USAGE;
		}
		if (strcmp(words[1], "help") == 0) { /* "app help create" is "help app create" */
			words[1] = words[0];
			return help(words + 1, n - 1, &x->out);
		}
		x->command = find_command(words[0], words[1]);
		used = 2;
	} else {
		x->command = find_command(NULL, words[0]);
	}
	if (!x->command) {
		say("there is no command '%s%s%s'.\nTry 'e2eectl --help'.", words[0], used == 2 ? " " : "",
		    used == 2 ? words[1] : "");
		return CTL_USAGE;
	}
	x->operands = words + used;
	x->n_operands = n - used;
	r = check_usage(x);
	return r == CTL_OK ? x->command->run(x) : r;
}

/* Straight from the buffer, which is wiped: stdio would keep a copy. */
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

int main(int argc, char **argv)
{
	static const struct rlimit no_core = { 0, 0 };
	struct ctl x = { .out = BUF_INIT(2 * CLIENT_MAX_ANSWER) };
	int status;

	(void)signal(SIGPIPE, SIG_IGN);		/* cannot fail for this signal */
	(void)setrlimit(RLIMIT_CORE, &no_core); /* lowering is always allowed; tokens pass through here */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		(void)setlocale(LC_CTYPE, ""); /* for column widths; without it bytes are counted */
	if (arena_init(ARENA_LOCK_AUTO) < 0 || ossl_init() < 0) {
		say("cannot start the cryptographic library");
		return CTL_FAILED;
	}
	json_setup();
	client_init(&x.client);

	status = args_parse(argc, argv, &x.args);
	if (status == CTL_OK)
		status = run(&x);
	if (x.out.n || x.out.err) {
		int r = put_out(&x.out);

		if (status == CTL_OK)
			status = r;
	}
	client_fini(&x.client);
	args_fini(&x.args);
	buf_fini(&x.out);
	ossl_fini();
	arena_fini();
	return status;
}
