/* The commands' words, arguments and options: what signetctl and the server both check. */
#pragma once

#include "nsd-core/control_reply.h"

#define COMMAND_WORDS_MAX   4
#define COMMAND_SECONDS_MAX 60
/* What AWS KMS takes (ScheduleKeyDeletion). */
#define COMMAND_DAYS_MIN 7
#define COMMAND_DAYS_MAX 30

enum command_id {
	COMMAND_STATUS,
	COMMAND_ZONE_LIST,
	COMMAND_ZONE_SHOW,
	COMMAND_ZONE_RELOAD,
	COMMAND_ZONE_DUMP,
	COMMAND_KEY_LIST,
	COMMAND_KEY_IMPORT,
	COMMAND_DS,
	COMMAND_KEYSTORE_LIST,
	COMMAND_KEYSTORE_CHECK,
	COMMAND_KEYSTORE_BENCH,
	COMMAND_KEYSTORE_DELETE,
	COMMAND_STOP,
};

struct command {
	enum command_id id;
	const char *zone; /* NULL: not given */
	const char *keystore;
	const char *key;  /* as the keystore's keys are named */
	const char *file; /* signetctl's to read */
	const char *role;
	bool force;
	bool now;
	const char *form; /* NULL: not given */
	unsigned seconds; /* 0: not given */
	unsigned days;	  /* 0: not given */
	bool has_serial;
	int64_t serial; /* beyond 32 bits: what was given is none */
};

/* words: as given, options apart. All borrowed. False: *r says what was expected. */
bool command_parse(const char *const *words, size_t count, struct command *cmd, struct reply *r);
/* Does the command take the options that are set in it? */
bool command_check_options(const struct command *cmd, struct reply *r);
/* Does signetctl do it by itself, whether a server runs or not? */
bool command_is_local(const struct command *cmd);
void command_print_help(FILE *f);
