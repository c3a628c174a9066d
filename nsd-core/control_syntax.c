#include "nsd-core/control_syntax.h"

#include <string.h>

enum takes {
	TAKES_NOTHING,
	MAY_TAKE_ZONE,
	MUST_TAKE_ZONE,
	MUST_TAKE_KEYSTORE,
	MUST_TAKE_ZONE_FILE,
	MUST_TAKE_KEYSTORE_KEY,
};

static const struct syntax {
	const char *words[2];
	enum command_id id;
	enum takes takes;
	bool force, now, form, seconds, days, serial;
	bool import; /* --role and --keystore; signetctl's own */
	const char *args;
	const char *help;
} commands[] = {
	{{"status"}, COMMAND_STATUS, TAKES_NOTHING, .args = "", .help = "one screen of everything"},
	{{"zone", "list"}, COMMAND_ZONE_LIST, TAKES_NOTHING, .args = "", .help = "all zones"},
	{{"zone", "show"},
	 COMMAND_ZONE_SHOW,
	 MUST_TAKE_ZONE,
	 .args = "ZONE",
	 .help = "all that is known of a zone"},
	{{"zone", "reload"},
	 COMMAND_ZONE_RELOAD,
	 MAY_TAKE_ZONE,
	 .force = true,
	 .serial = true,
	 .args = "[ZONE] [--force] [--serial N]",
	 .help = "read zone files again"},
	{{"zone", "dump"},
	 COMMAND_ZONE_DUMP,
	 MUST_TAKE_ZONE,
	 .now = true,
	 .args = "ZONE [--now]",
	 .help = "a zone as served, with its signatures"},
	{{"key", "list"},
	 COMMAND_KEY_LIST,
	 MUST_TAKE_ZONE,
	 .args = "ZONE",
	 .help = "the keys of a zone"},
	{{"key", "import"},
	 COMMAND_KEY_IMPORT,
	 MUST_TAKE_ZONE_FILE,
	 .import = true,
	 .args = "ZONE FILE --keystore NAME [--role ksk|zsk|csk]",
	 .help = "bring a key of BIND's into a keystore"},
	{{"ds"},
	 COMMAND_DS,
	 MUST_TAKE_ZONE,
	 .form = true,
	 .args = "ZONE [--form ds|dnskey|json]",
	 .help = "what to paste at the registrar"},
	{{"keystore", "list"},
	 COMMAND_KEYSTORE_LIST,
	 TAKES_NOTHING,
	 .args = "",
	 .help = "health of every keystore"},
	{{"keystore", "check"},
	 COMMAND_KEYSTORE_CHECK,
	 MUST_TAKE_KEYSTORE,
	 .args = "NAME",
	 .help = "what it lacks, from log-in to a signature"},
	{{"keystore", "bench"},
	 COMMAND_KEYSTORE_BENCH,
	 MUST_TAKE_KEYSTORE,
	 .seconds = true,
	 .args = "NAME [--seconds N]",
	 .help = "latency and signatures/s by sessions"},
	{{"keystore", "delete"},
	 COMMAND_KEYSTORE_DELETE,
	 MUST_TAKE_KEYSTORE_KEY,
	 .days = true,
	 .args = "NAME KEY [--days N]",
	 .help = "delete a key that no zone uses"},
	{{"stop"}, COMMAND_STOP, TAKES_NOTHING, .args = "", .help = "a clean end"},
};

/* Arguments. */
static const struct {
	size_t least, most;
} bounds[] = {
	[TAKES_NOTHING] = {0, 0},	[MAY_TAKE_ZONE] = {0, 1},
	[MUST_TAKE_ZONE] = {1, 1},	[MUST_TAKE_KEYSTORE] = {1, 1},
	[MUST_TAKE_ZONE_FILE] = {2, 2}, [MUST_TAKE_KEYSTORE_KEY] = {2, 2},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static size_t syntax_words(const struct syntax *s)
{
	return s->words[1] != NULL ? 2 : 1;
}

static bool matches(const struct syntax *s, const char *const *words, size_t count)
{
	size_t n = syntax_words(s);

	for (size_t i = 0; i < n; i++) {
		if (i >= count || strcmp(words[i], s->words[i]) != 0) {
			return false;
		}
	}
	return true;
}

static void take_arguments(const struct syntax *s, const char *const *args, size_t count,
			   struct command *cmd)
{
	const char *first = count > 0 ? args[0] : NULL;
	const char *second = count > 1 ? args[1] : NULL;

	switch (s->takes) {
	case MUST_TAKE_KEYSTORE_KEY:
		cmd->key = second;
		cmd->keystore = first;
		break;
	case MUST_TAKE_KEYSTORE:
		cmd->keystore = first;
		break;
	case MUST_TAKE_ZONE_FILE:
		cmd->file = second;
		cmd->zone = first;
		break;
	default:
		cmd->zone = first;
		break;
	}
}

bool command_parse(const char *const *words, size_t count, struct command *cmd, struct reply *r)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const struct syntax *s = &commands[i];
		if (!matches(s, words, count)) {
			continue;
		}
		size_t args = count - syntax_words(s);
		if (args < bounds[s->takes].least || args > bounds[s->takes].most) {
			reply_fail(r, EXIT_USAGE, "usage: signetctl %s%s%s%s%s", s->words[0],
				   s->words[1] != NULL ? " " : "",
				   s->words[1] != NULL ? s->words[1] : "",
				   s->args[0] != '\0' ? " " : "", s->args);
			return false;
		}
		cmd->id = s->id;
		take_arguments(s, words + count - args, args, cmd);
		return true;
	}
	reply_fail(r, EXIT_USAGE, "%s%s%s: no such command; signetctl --help lists them",
		   count > 0 ? words[0] : "(nothing)", count > 1 ? " " : "",
		   count > 1 ? words[1] : "");
	return false;
}

static const struct syntax *syntax_of(const struct command *cmd)
{
	const struct syntax *s = &commands[0];

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (commands[i].id == cmd->id) {
			s = &commands[i];
		}
	}
	return s;
}

bool command_is_local(const struct command *cmd)
{
	return syntax_of(cmd)->import;
}

static bool check_import(const struct command *cmd, struct reply *r)
{
	if (cmd->keystore == NULL) {
		reply_fail(r, EXIT_USAGE, "--keystore is missing: the one that the key goes to");
		return false;
	}
	if (cmd->role != NULL && strcmp(cmd->role, "ksk") != 0 && strcmp(cmd->role, "zsk") != 0 &&
	    strcmp(cmd->role, "csk") != 0) {
		reply_fail(r, EXIT_USAGE, "--role is one of ksk, zsk and csk, not '%s'", cmd->role);
		return false;
	}
	return true;
}

/* The option that is set and not the command's; NULL: none. */
static const char *wrong_option(const struct syntax *s, const struct command *cmd)
{
	bool names_keystore = s->takes == MUST_TAKE_KEYSTORE || s->takes == MUST_TAKE_KEYSTORE_KEY;
	const struct {
		const char *name;
		bool wrong;
	} options[] = {
		{"--force", cmd->force && !s->force},
		{"--now", cmd->now && !s->now},
		{"--form", cmd->form != NULL && !s->form},
		{"--seconds", cmd->seconds != 0 && !s->seconds},
		{"--days", cmd->days != 0 && !s->days},
		{"--serial", cmd->has_serial && !s->serial},
		{"--role", cmd->role != NULL && !s->import},
		{"--keystore", cmd->keystore != NULL && !s->import && !names_keystore},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].wrong) {
			return options[i].name;
		}
	}
	return NULL;
}

bool command_check_options(const struct command *cmd, struct reply *r)
{
	const struct syntax *s = syntax_of(cmd);
	const char *wrong = wrong_option(s, cmd);
	if (wrong != NULL) {
		reply_fail(r, EXIT_USAGE, "this command does not take %s", wrong);
		return false;
	}
	if (cmd->form != NULL && strcmp(cmd->form, "ds") != 0 && strcmp(cmd->form, "dnskey") != 0 &&
	    strcmp(cmd->form, "json") != 0) {
		reply_fail(r, EXIT_USAGE, "--form is one of ds, dnskey and json, not '%s'",
			   cmd->form);
		return false;
	}
	if (cmd->seconds > COMMAND_SECONDS_MAX) {
		reply_fail(r, EXIT_USAGE, "--seconds is a number from 1 to %d",
			   COMMAND_SECONDS_MAX);
		return false;
	}
	if (cmd->days != 0 && (cmd->days < COMMAND_DAYS_MIN || cmd->days > COMMAND_DAYS_MAX)) {
		reply_fail(r, EXIT_USAGE, "--days is a number from %d to %d", COMMAND_DAYS_MIN,
			   COMMAND_DAYS_MAX);
		return false;
	}
	if (cmd->has_serial && (cmd->serial < 0 || cmd->serial > UINT32_MAX)) {
		reply_fail(r, EXIT_USAGE, "--serial is a number from 0 to %u", UINT32_MAX);
		return false;
	}
	if (cmd->has_serial && cmd->zone == NULL) {
		reply_fail(r, EXIT_USAGE, "--serial is for one zone");
		return false;
	}
	return !s->import || check_import(cmd, r);
}

void command_print_help(FILE *f)
{
	struct table t;

	table_init(&t, 2);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const struct syntax *s = &commands[i];
		table_put(&t, "  %s%s%s%s%s", s->words[0], s->words[1] != NULL ? " " : "",
			  s->words[1] != NULL ? s->words[1] : "", s->args[0] != '\0' ? " " : "",
			  s->args);
		table_put(&t, "%s", s->help);
	}
	table_print(&t, f);
	table_fini(&t);
}
