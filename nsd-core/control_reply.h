/* What a command answers, and tables as people read them. Shared by the server and signetctl, which
 * answers some commands from the state directory itself. */
#pragma once

#include "nsd-core/base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define CONTROL_VERSION	    1
#define CONTROL_REQUEST_MAX 65536 /* octets of a request's line */

/* Exit statuses of signetctl. */
enum control_exit {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

struct reply {
	enum control_exit exit;
	char *text;    /* for standard output; NULL: none */
	char *error;   /* for standard error; NULL: none */
	json_t *notes; /* strings for standard error, of what was done all the same */
	json_t *data;  /* --json; NULL: none */
};

void reply_init(struct reply *r);
void reply_fini(struct reply *r);
/* Replaces what was there. */
void reply_fail(struct reply *r, enum control_exit code, const char *fmt, ...) PRINTF(3, 4);
void reply_note(struct reply *r, const char *fmt, ...) PRINTF(2, 3);
/* Text that may hold what a file's name or a foreign library put into it, or that was cut short:
 * JSON wants UTF-8, so what is not has '?' for all that is not ASCII. NULL: no memory. */
json_t *reply_string(const char *text);
/* One line of JSON with its end; heap. NULL: no memory. */
char *reply_to_line(const struct reply *r, size_t *len);
/* A piece of a long text, sent ahead of the reply. */
char *reply_chunk_line(const char *text, size_t text_len, size_t *len);

/* Text being made: what is printed to 'f' becomes *text. f NULL: no memory. */
struct reply_text {
	FILE *f;
	char *text;
	size_t len;
};

void reply_text_open(struct reply_text *t);
/* Moves the text into the reply. */
void reply_text_close(struct reply_text *t, struct reply *r);

/* Columns as wide as what stands in them. */
#define TABLE_COLUMNS 12

struct table {
	size_t columns;
	size_t count; /* cells */
	size_t room;
	char **cells; /* row by row; NULL: no memory was left for it */
	bool failed;
};

void table_init(struct table *t, size_t columns);
void table_fini(struct table *t);
/* The next cell. */
void table_put(struct table *t, const char *fmt, ...) PRINTF(2, 3);
void table_print(const struct table *t, FILE *f);

/* "3d 4h", "2m 5s". */
const char *duration_text(int64_t s, char buf[32]);
