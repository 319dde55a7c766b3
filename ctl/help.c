/*
 * help - finding what words mean in the tables, and the help that is made from them
 *
 * A group is one word or two ("keystore", "keystore slot"); its commands' names follow.
 */
#include <stdio.h>

#include "ctl/ctl.h"

#define LINE_WIDTH 78

/* ---- finding ---- */

/* How many of @words the group @name takes. Return: 0 where they begin otherwise */
static size_t group_words(const char *name, const char *const *words, size_t n)
{
	for (size_t used = 0; used < n; used++) {
		size_t length = strcspn(name, " ");

		if (strlen(words[used]) != length || strncmp(words[used], name, length) != 0)
			return 0;
		if (!name[length])
			return used + 1;
		name += length + 1;
	}
	return 0;
}

/* NULL is the group of commands that stand alone */
static bool same_group(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

void ctl_find(const char *const *words, size_t n, struct found *ret)
{
	*ret = (struct found){ 0 };
	for (size_t i = 0; i < ctl_n_groups; i++) {
		size_t used = group_words(ctl_groups[i].name, words, n);

		if (used > ret->used)
			*ret = (struct found){ .group = &ctl_groups[i], .used = used };
	}
	if (ret->used == n)
		return;
	for (size_t i = 0; i < ctl_n_commands; i++) {
		if (same_group(ctl_commands[i].group, ret->group ? ret->group->name : NULL) &&
		    strcmp(ctl_commands[i].name, words[ret->used]) == 0) {
			ret->command = &ctl_commands[i];
			ret->used++;
			return;
		}
	}
}

int ctl_unknown(const struct found *found, const char *word)
{
	say("there is no command '%s%s%s'.\nTry 'e2eectl --help'.", found->group ? found->group->name : "",
	    found->group ? " " : "", word);
	return CTL_USAGE;
}

/* ---- the texts ---- */

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

/* Is @group @outer, or a group within it? */
static bool is_within(const char *group, const char *outer)
{
	size_t n = strlen(outer);

	return group && strncmp(group, outer, n) == 0 && (group[n] == '\0' || group[n] == ' ');
}

static void put_commands(const char *group, struct buf *out)
{
	CLEANUP(table_fini) struct table t;

	table_init(&t, 2, 0, "  ");
	for (size_t i = 0; i < ctl_n_commands; i++) {
		CLEANUP(buf_fini) struct buf words = BUF_INIT(256);

		if (group && !is_within(ctl_commands[i].group, group))
			continue;
		command_words(&ctl_commands[i], &words);
		buf_put_byte(&words, ' ');
		buf_put_str(&words, ctl_commands[i].operands);
		buf_put_byte(&words, '\0');
		table_pair(&t, words.p ? (const char *)words.p : "", ctl_commands[i].about);
	}
	table_print(&t, out);
}

static void help_program(struct buf *out)
{
	buf_put_str(out, "Usage: e2eectl [--socket PATH] [--json] COMMAND...\n"
			 "Administers e2eed.\n\nCommands:\n");
	put_commands(NULL, out);
	buf_put_str(out, "  help [COMMAND...]\n\nOptions, before or behind the command:\n");
	put_options(NULL, true, out);
	buf_put_str(out, "\nExit status: 0 done; 1 e2eed answered with an error, or what was verified is\n"
			 "damaged; 2 no connection to it or no answer; 64 bad usage.\n");
}

static void help_group(const struct group *group, struct buf *out)
{
	buf_put_str(out, "Usage: e2eectl ");
	buf_put_str(out, group->name);
	buf_put_str(out, " COMMAND...\nCommands for ");
	buf_put_str(out, group->about);
	buf_put_str(out, ":\n");
	put_commands(group->name, out);
}

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

int ctl_help(const char *const *words, size_t n, struct buf *out)
{
	struct found found;

	ctl_find(words, n, &found);
	if (found.command)
		help_command(found.command, out);
	else if (found.used < n)
		return ctl_unknown(&found, words[found.used]);
	else if (found.group)
		help_group(found.group, out);
	else
		help_program(out);
	return CTL_OK;
}
