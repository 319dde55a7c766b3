/* Arguments: what starts with a dash is an option, wherever it stands; "--" ends them, "-" alone is a word. */
#include <stdlib.h>

#include "ctl/ctl.h"

static int option_error(const char *arg, size_t n, const char *text)
{
	say("%.*s %s\nTry 'e2eectl --help'.", (int)n, arg, text);
	return CTL_USAGE;
}

static enum opt find_option(const char *arg, size_t n)
{
	enum opt o;

	if (n == 2 && strncmp(arg, "-h", n) == 0)
		return OPT_HELP;
	for (o = 0; o < OPT_NR; o++) {
		if (strlen(ctl_options[o].name) == n && strncmp(ctl_options[o].name, arg, n) == 0)
			break;
	}
	return o;
}

/* @arg: from the dash on; @next: the argument behind it, NULL at the end. Return: as args_parse() */
static int take_option(struct args *a, const char *arg, const char *next, bool *ret_took_next)
{
	size_t n = strcspn(arg, "=");
	const char *value = arg[n] ? arg + n + 1 : NULL;
	enum opt o = find_option(arg, n);

	*ret_took_next = false;
	if (o == OPT_NR)
		return option_error(arg, n, "is not an option.");
	if (a->given[o] && ctl_options[o].value && !ctl_options[o].repeatable)
		return option_error(arg, n, "is given twice.");
	if (!ctl_options[o].value && value)
		return option_error(arg, n, "takes no value.");
	if (ctl_options[o].value && !value) {
		if (!next)
			return option_error(arg, n, "takes a value.");
		value = next;
		*ret_took_next = true;
	}
	a->given[o] = true;
	a->value[o] = value;
	if (o == OPT_ROOM)
		a->rooms[a->n_rooms++] = value;
	return CTL_OK;
}

int args_parse(int argc, char **argv, struct args *ret)
{
	size_t n = argc > 0 ? (size_t)argc : 1;
	bool options = true;

	*ret = (struct args){ .rooms = calloc(n, sizeof(*ret->rooms)), .words = calloc(n, sizeof(*ret->words)) };
	if (!ret->rooms || !ret->words) {
		say("out of memory");
		return CTL_FAILED;
	}
	for (int i = 1; i < argc; i++) {
		bool took_next;
		int r;

		if (!options || argv[i][0] != '-' || !argv[i][1]) {
			ret->words[ret->n_words++] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		r = take_option(ret, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took_next);
		if (r != CTL_OK)
			return r;
		i += took_next;
	}
	return CTL_OK;
}

void args_fini(struct args *a)
{
	free(a->rooms);
	free(a->words);
	*a = (struct args){ 0 };
}
