#include "zones/master.h"
#include "zones/rdata_types.h"

#include "nsd-core/base/text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define INCLUDE_DEPTH 16
#define GENERATE_MAX  65536
#define TOKEN_SHOWN   40

static void add_fault(struct reader *r, const struct source *src, uint32_t line, uint32_t column,
		      const char *text)
{
	r->failed = true;
	r->stuck = r->ahead;
	if (src->generated) {
		line = src->place.line;
		column = src->place.column;
	}
	diags_add(r->d, DIAG_ERROR, src->name, line, column, "%s", text);
}

void reader_fault(struct reader *r, const struct source *src, uint32_t line, uint32_t column,
		  const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	add_fault(r, src, line, column, text);
}

/* A token as it stands in the file, shortened, without what a terminal could trip over. */
static const char *show_token(const struct token *t, char *buf, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < t->len && i < TOKEN_SHOWN && n + 8 < size; i++) {
		unsigned char c = (unsigned char)t->text[i];
		if (c < 0x20 || c >= 0x7f) {
			n += (size_t)snprintf(buf + n, size - n, "\\%03u", c);
		} else {
			buf[n++] = (char)c;
		}
	}
	snprintf(buf + n, size - n, "%s", t->len > TOKEN_SHOWN ? "..." : "");
	return buf;
}

void reader_expected(struct reader *r, const struct source *src, const struct scan *s, size_t index,
		     const char *why)
{
	char shown[TOKEN_SHOWN * 4 + 8];
	if (index >= s->count) {
		const struct token *last = &s->tokens[s->count - 1];
		uint32_t column = last->column + (uint32_t)last->len + (last->quoted ? 2 : 0);
		reader_fault(r, src, last->line, column, "%s, found the end of the record", why);
		return;
	}
	const struct token *t = &s->tokens[index];
	show_token(t, shown, sizeof(shown));
	reader_fault(r, src, t->line, t->column, t->quoted ? "%s, found \"%s\"" : "%s, found '%s'",
		     why, shown);
}

bool reader_origin(const struct scan *s, struct reader_state *at, const char **why)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	*why = NULL;
	if (s->count < 2 || s->tokens[1].quoted ||
	    name_from_text(s->tokens[1].text, s->tokens[1].len, at->origin, name, &len, why) !=
		    ST_OK ||
	    s->count > 2) {
		return false;
	}
	memcpy(at->origin, name, len);
	return true;
}

static void read_origin(struct reader *r, struct source *src, const struct scan *s)
{
	const char *why;
	if (reader_origin(s, &r->at, &why)) {
		src->owner_len = 0;
	} else if (s->count > 2 && why == NULL && !s->tokens[1].quoted) {
		reader_expected(r, src, s, 2, "expected the end of the line");
	} else {
		reader_expected(r, src, s, 1, rdata_why("a domain name", why));
	}
}

bool reader_ttl(const struct scan *s, struct reader_state *at)
{
	uint32_t ttl;
	if (s->count != 2 || s->tokens[1].quoted ||
	    text_to_ttl(s->tokens[1].text, s->tokens[1].len, &ttl) != ST_OK) {
		return false;
	}
	at->has_default_ttl = true;
	at->default_ttl = ttl;
	return true;
}

static void read_ttl(struct reader *r, const struct source *src, const struct scan *s)
{
	uint32_t ttl;
	if (reader_ttl(s, &r->at)) {
		return;
	}
	if (s->count > 2 && !s->tokens[1].quoted &&
	    text_to_ttl(s->tokens[1].text, s->tokens[1].len, &ttl) == ST_OK) {
		reader_expected(r, src, s, 2, "expected the end of the line");
	} else {
		reader_expected(r, src, s, 1, "expected a TTL from 0 to 2147483647");
	}
}

static bool includes_itself(const struct source *src, const struct file_text *f)
{
	for (; src != NULL; src = src->parent) {
		if (src->has_id && src->device == f->device && src->inode == f->inode) {
			return true;
		}
	}
	return false;
}

/* 'name' as seen from the folder of the including file. Heap; NULL when memory is out. */
static char *include_path(const struct source *src, const struct token *name)
{
	const char *slash = strrchr(src->name, '/');
	size_t dir = name->len > 0 && name->text[0] == '/' ? 0
		     : slash == NULL			   ? 0
							   : (size_t)(slash - src->name) + 1;
	char *path = malloc(dir + name->len + 1);
	if (path != NULL) {
		memcpy(path, src->name, dir);
		memcpy(path + dir, name->text, name->len);
		path[dir + name->len] = '\0';
	}
	return path;
}

/* Reads the file 'path' with the origin that r has; origin and owner are the caller's again after.
 */
static enum status include_file(struct reader *r, const struct source *src, const struct token *at,
				const char *path)
{
	struct file_text f = {0};
	struct source inner = {.parent = src, .depth = src->depth + 1, .has_id = true};
	const char *why = NULL;
	enum status st = file_text_read(path, &f, &why);
	if (st == ST_ENOMEM) {
		return st;
	}
	if (st != ST_OK) {
		reader_fault(r, src, at->line, at->column, "cannot read '%s': %s", path, why);
		return ST_OK;
	}
	if (includes_itself(src, &f)) {
		reader_fault(r, src, at->line, at->column, "'%s' includes itself", path);
		goto out;
	}
	inner.whole = &f;
	inner.device = f.device;
	inner.inode = f.inode;
	st = content_file(r->c, path, &inner.file);
	if (st == ST_OK) {
		inner.name = r->c->files[inner.file];
		r->at.has_owner = false;
		st = reader_text(r, &inner, f.text, f.len);
	}
out:
	file_text_free(&f);
	return st;
}

/* $INCLUDE file [origin] (RFC 1035 5.1). */
static enum status read_include(struct reader *r, struct source *src, const struct scan *s)
{
	uint8_t origin[NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN];
	bool has_owner = r->at.has_owner;
	size_t len;
	const char *why = NULL;
	if (r->include_depth == UINT_MAX) {
		reader_expected(r, src, s, 0, "expected no $INCLUDE here");
		return ST_OK;
	}
	if (s->count < 2 || memchr(s->tokens[1].text, '\0', s->tokens[1].len) != NULL) {
		reader_expected(r, src, s, 1, "expected a file name");
		return ST_OK;
	}
	if (s->count > 3) {
		reader_expected(r, src, s, 3, "expected the end of the line");
		return ST_OK;
	}
	if (src->depth >= r->include_depth) {
		reader_fault(r, src, s->tokens[0].line, s->tokens[0].column,
			     "expected at most %u files that include each other", r->include_depth);
		return ST_OK;
	}
	memcpy(origin, r->at.origin, sizeof(origin));
	memcpy(owner, r->at.owner, sizeof(owner));
	if (s->count == 3 &&
	    (s->tokens[2].quoted || name_from_text(s->tokens[2].text, s->tokens[2].len, origin,
						   r->at.origin, &len, &why) != ST_OK)) {
		reader_expected(r, src, s, 2, "expected a domain name as the origin");
		return ST_OK;
	}
	/* The tokens' memory is the outer scanner's and stays as it is meanwhile. */
	char *path = include_path(src, &s->tokens[1]);
	enum status st = path == NULL ? ST_ENOMEM : include_file(r, src, &s->tokens[1], path);
	free(path);
	memcpy(r->at.origin, origin, sizeof(origin));
	memcpy(r->at.owner, owner, sizeof(owner));
	r->owner.name = NULL;
	r->at.has_owner = has_owner;
	return st;
}

static enum status read_directive(struct reader *r, struct source *src, const struct scan *s)
{
	const struct token *t = &s->tokens[0];
	if (text_equal_nocase(t->text, t->len, "$ORIGIN")) {
		read_origin(r, src, s);
	} else if (text_equal_nocase(t->text, t->len, "$TTL")) {
		read_ttl(r, src, s);
	} else if (text_equal_nocase(t->text, t->len, "$INCLUDE")) {
		r->stuck = r->ahead;
		return r->ahead ? ST_OK : read_include(r, src, s);
	} else if (text_equal_nocase(t->text, t->len, "$GENERATE")) {
		return reader_generate(r, src, s);
	} else {
		reader_expected(r, src, s, 0, "expected $ORIGIN, $TTL, $INCLUDE or $GENERATE");
	}
	return ST_OK;
}

enum status reader_entries(struct reader *r, struct source *src, struct scan *s, const char *stop)
{
	enum status st = ST_OK;
	while (st == ST_OK && !r->stuck) {
		st = scan_next(s);
		if (st == ST_ENOENT || (st != ST_ENOMEM && s->entry >= stop)) {
			return ST_OK;
		}
		if (st == ST_EPARSE) {
			reader_fault(r, src, s->bad_line, s->bad_column, "%s", s->why);
			st = ST_OK;
		} else if (st == ST_OK) {
			const struct token *t = &s->tokens[0];
			bool directive = !s->blank && !t->quoted && t->text[0] == '$';
			st = directive ? read_directive(r, src, s) : reader_record(r, src, s);
		}
	}
	return st;
}

static enum status read_top(struct source *src, const char *text, size_t len,
			    const struct master_options *opt, struct content *c, struct diags *d)
{
	struct reader *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return ST_ENOMEM;
	}
	r->c = c;
	r->d = d;
	r->opt = opt;
	r->include_depth = opt->include_depth == 0 ? INCLUDE_DEPTH : opt->include_depth;
	r->generate_max = opt->generate_max == 0 ? GENERATE_MAX : opt->generate_max;
	name_lower(r->at.origin, c->apex);
	name_lower(r->at.owner, c->apex);
	enum status st = content_file(c, src->name, &src->file);
	if (st == ST_OK) {
		st = reader_text(r, src, text, len);
	}
	if (st == ST_ELIMIT) {
		reader_fault(r, src, 0, 0, "expected fewer files or records");
	}
	if (st == ST_OK && r->failed) {
		st = ST_EPARSE;
	}
	free(r);
	return st;
}

enum status master_read(const char *path, const struct master_options *opt, struct content *c,
			struct diags *d)
{
	struct file_text f = {0};
	const char *why = NULL;
	enum status st = file_text_read(path, &f, &why);
	if (st != ST_OK) {
		diags_add(d, DIAG_ERROR, path, 0, 0, "cannot read the zone file: %s", why);
		return st;
	}
	struct source src = {
		.name = path, .whole = &f, .has_id = true, .device = f.device, .inode = f.inode};
	st = read_top(&src, f.text, f.len, opt, c, d);
	file_text_free(&f);
	return st;
}

enum status master_read_mem(const char *name, const char *text, size_t len,
			    const struct master_options *opt, struct content *c, struct diags *d)
{
	struct source src = {.name = name};
	return read_top(&src, text, len, opt, c, d);
}
