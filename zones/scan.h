/* The scanner of master files: logical lines made of tokens (RFC 1035 5.1). Private to the reader
 * and to what must know how it reads. */
#pragma once

#include "zones/rdata.h"

/* Tokens that one record may have; the RDATA bounds it in practice. */
#define SCAN_TOKENS_MAX 65536

struct scan {
	const char *pos;
	const char *end;
	const char *line_start;
	uint32_t line;

	/* The present entry. Its tokens borrow the text. 'entry' is where its first line starts;
	 * at the end of the text, that. */
	const char *entry;
	uint32_t entry_line;
	struct token *tokens;
	size_t count;
	size_t room;
	bool blank; /* its line starts with white space: the owner is inherited */

	/* What is wrong, after ST_EPARSE. */
	const char *why;
	uint32_t bad_line;
	uint32_t bad_column;
};

/* 'text' is borrowed; its places count from 'line', column 1. */
void scan_init(struct scan *s, const char *text, size_t len, uint32_t line);
void scan_fini(struct scan *s);
/* The next entry that has a token. ST_ENOENT: the text is at its end. ST_EPARSE: this entry cannot
 * be read, the next call goes on behind it. ST_ENOMEM. */
enum status scan_next(struct scan *s) MUST_USE;
