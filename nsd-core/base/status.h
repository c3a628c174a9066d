/* Status codes, and the diagnostics that say to a person what a status means.
 *
 * Layers below nsd-core never log: they return a status and, where a person must act, add to a
 * struct diags. nsd-core logs once. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE     __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

enum status {
	ST_OK = 0,
	ST_ENOMEM,
	ST_EPARSE, /* malformed input */
	ST_ESPACE, /* does not fit into the room given, or into the format */
	ST_ENOENT,
	ST_EEXIST,
	ST_EBUSY,  /* under way; the result comes later */
	ST_EAGAIN, /* not now, the same call may succeed later */
	ST_EIO,
	ST_EACCES, /* may not be read: "unknown", never "absent" */
	ST_ETIMEDOUT,
	ST_EREFUSED, /* a rule forbids it */
	ST_ENOTSUP,
	ST_ELIMIT,  /* a bound of ours is reached */
	ST_ECRYPTO, /* a key, a signature or a digest is wrong */
	ST_EFATAL,  /* will not heal without the operator (a refused PIN, a missing key) */
};

/* A short lower-case phrase; static. */
const char *status_text(enum status st);
/* The status that stands for an errno value. */
enum status status_from_errno(int err);

enum diag_level {
	DIAG_ERROR,
	DIAG_WARNING,
};

struct diag {
	enum diag_level level;
	char *file;	 /* NULL: no file */
	uint32_t line;	 /* from 1; 0: unknown */
	uint32_t column; /* from 1, in octets; 0: unknown */
	char *text;
};

/* A bounded list of findings. Past 'limit' entries only the counters move. */
struct diags {
	struct diag *items;
	size_t count;
	size_t room;
	size_t limit;
	size_t errors; /* all, kept or not */
	size_t warnings;
};

#define DIAGS_LIMIT 50

void diags_init(struct diags *d, size_t limit);
void diags_fini(struct diags *d);
/* Copies 'file'. Where memory is short the entry is counted but not kept. 'd' may be NULL. */
void diags_add(struct diags *d, enum diag_level level, const char *file, uint32_t line,
	       uint32_t column, const char *fmt, ...) PRINTF(6, 7);
/* Shorthands without a place. */
void diags_error(struct diags *d, const char *fmt, ...) PRINTF(2, 3);
void diags_warn(struct diags *d, const char *fmt, ...) PRINTF(2, 3);
/* "file:line:column: error: text" (what is unknown left out) into buf; returns buf. */
const char *diag_format(const struct diag *d, char *buf, size_t size);
/* Moves all entries of 'from' to the end of 'to'. */
void diags_take(struct diags *to, struct diags *from);
