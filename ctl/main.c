/*
 * e2eectl - the admin's tool
 *
 * The order of things: parse, find the command, check what was given against its row, run it, write what it has put out.
 */
#include <locale.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/json.h"
#include "crypto/ossl.h"
#include "ctl/ctl.h"

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
	size_t n = x->args.n_words;
	struct found found;
	int r;

	if (x->args.given[OPT_VERSION]) {
		buf_put_str(&x->out, "e2eectl " E2EED_VERSION "\n");
		return CTL_OK;
	}
	if (n && strcmp(words[0], "help") == 0)
		return ctl_help(words + 1, n - 1, &x->out);
	if (x->args.given[OPT_HELP])
		return ctl_help(words, n, &x->out);
	if (n == 0) {
		say("a command is missing.\nTry 'e2eectl --help'.");
		return CTL_USAGE;
	}
	ctl_find(words, n, &found);
	if (!found.command && found.used == n) {
		say("'%s' needs another word.\nTry 'e2eectl help %s'.", found.group->name, found.group->name);
		return CTL_USAGE;
	}
	if (!found.command && found.used && strcmp(words[found.used], "help") == 0) {
		/* "app help create" is "help app create" */
		memmove(words + 1, words, found.used * sizeof(*words));
		return ctl_help(words + 1, n - 1, &x->out);
	}
	if (!found.command)
		return ctl_unknown(&found, words[found.used]);
	x->command = found.command;
	x->operands = words + found.used;
	x->n_operands = n - found.used;
	r = check_usage(x);
	return r == CTL_OK ? x->command->run(x) : r;
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
		int r = ctl_flush(&x);

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
