/* The commands' words, arguments and options: what signetctl and the server both check. */
#pragma once

#include "nsd-core/control_reply.h"

#define COMMAND_WORDS_MAX   4
#define COMMAND_SECONDS_MAX 60

enum command_id {
	COMMAND_STATUS,
	COMMAND_ZONE_LIST,
	COMMAND_ZONE_SHOW,
	COMMAND_ZONE_RELOAD,
	COMMAND_ZONE_DUMP,
	COMMAND_KEY_LIST,
	COMMAND_DS,
	COMMAND_KEYSTORE_LIST,
	COMMAND_KEYSTORE_CHECK,
	COMMAND_KEYSTORE_BENCH,
	COMMAND_STOP,
};

struct command {
	enum command_id id;
	const char *zone; /* NULL: not given */
	const char *keystore;
	bool force;
	bool now;
	const char *form; /* NULL: not given */
	unsigned seconds; /* 0: not given */
};

/* words: as given, options apart. All borrowed. False: *r says what was expected. */
bool command_parse(const char *const *words, size_t count, struct command *cmd, struct reply *r);
/* Does the command take the options that are set in it? */
bool command_check_options(const struct command *cmd, struct reply *r);
void command_print_help(FILE *f);
