/* $GENERATE, as BIND has it: a record for each number of a range. */
#include "zones/master.h"

#include "nsd-core/base/text.h"

#include <stdio.h>
#include <stdlib.h>

/* Octets that one record's text may grow to. */
#define LINE_MAX_BYTES 65536
#define WIDTH_MAX      255

struct range {
	uint32_t start;
	uint32_t stop;
	uint32_t step;
};

/* How a number is written: ${offset,width,base}. */
struct format {
	int64_t offset;
	uint32_t width;
	char base;
};

/* START-STOP[/STEP] */
static enum status range_from_text(const char *text, size_t len, struct range *out)
{
	struct range range = {.step = 1};
	const char *end = text + len;
	const char *slash = memchr(text, '/', len);
	const char *stop_end = slash == NULL ? end : slash;
	const char *dash = memchr(text, '-', len);
	if (dash == NULL || dash > stop_end ||
	    text_to_u32(text, (size_t)(dash - text), INT32_MAX, &range.start) != ST_OK ||
	    text_to_u32(dash + 1, (size_t)(stop_end - dash - 1), INT32_MAX, &range.stop) != ST_OK ||
	    range.start > range.stop) {
		return ST_EPARSE;
	}
	if (slash != NULL &&
	    (text_to_u32(slash + 1, (size_t)(end - slash - 1), INT32_MAX, &range.step) != ST_OK ||
	     range.step == 0)) {
		return ST_EPARSE;
	}
	*out = range;
	return ST_OK;
}

/* The next part of what stands in the braces, up to a comma. */
static void next_part(const char **pos, const char *end, const char **part, size_t *len)
{
	const char *comma = memchr(*pos, ',', (size_t)(end - *pos));
	*part = *pos;
	*len = (size_t)((comma == NULL ? end : comma) - *pos);
	*pos = comma == NULL ? end : comma + 1;
}

/* offset[,width[,base]], what the braces hold. */
static enum status format_from_text(const char *text, size_t len, struct format *out)
{
	struct format f = {.base = 'd'};
	const char *end = text + len;
	const char *part;
	size_t part_len;
	uint32_t offset;
	next_part(&text, end, &part, &part_len);
	bool negative = part_len > 0 && part[0] == '-';
	bool is_signed = negative || (part_len > 0 && part[0] == '+');
	if (text_to_u32(part + is_signed, part_len - is_signed, INT32_MAX, &offset) != ST_OK) {
		return ST_EPARSE;
	}
	f.offset = negative ? -(int64_t)offset : (int64_t)offset;
	bool more = part + part_len < end;
	if (more) {
		next_part(&text, end, &part, &part_len);
		if (text_to_u32(part, part_len, WIDTH_MAX, &f.width) != ST_OK) {
			return ST_EPARSE;
		}
		more = part + part_len < end;
	}
	if (more) {
		if (end - text != 1 || strchr("doxXnN", *text) == NULL || *text == '\0') {
			return ST_EPARSE;
		}
		f.base = *text;
	}
	*out = f;
	return ST_OK;
}

/* Hex digits from the least on, a dot between two of them; the width counts the dots too. */
static size_t put_nibbles(uint64_t value, const struct format *f, char *out)
{
	const char *digits = f->base == 'n' ? "0123456789abcdef" : "0123456789ABCDEF";
	size_t n = 0;
	do {
		out[n++] = digits[value & 0xf];
		value >>= 4;
		if (value != 0 || n < f->width) {
			out[n++] = '.';
		}
	} while (value != 0 || n < f->width);
	return n;
}

/* 'out' has room for WIDTH_MAX + 64 octets. */
static enum status put_number(int64_t value, const struct format *f, char *out, size_t *len)
{
	int width = (int)f->width;
	size_t size = WIDTH_MAX + 64;
	int n;
	if (f->base == 'd') {
		n = snprintf(out, size, "%0*lld", width, (long long)value);
	} else if (value < 0) {
		return ST_EPARSE;
	} else if (f->base == 'o') {
		n = snprintf(out, size, "%0*llo", width, (unsigned long long)value);
	} else if (f->base == 'x') {
		n = snprintf(out, size, "%0*llx", width, (unsigned long long)value);
	} else if (f->base == 'X') {
		n = snprintf(out, size, "%0*llX", width, (unsigned long long)value);
	} else {
		n = (int)put_nibbles((uint64_t)value, f, out);
	}
	*len = (size_t)n;
	return ST_OK;
}

/* What a "$" at *pos stands for; *pos moves behind it. */
static enum status expand_dollar(const char **pos, const char *end, int64_t value, char *out,
				 size_t *len, const char **why)
{
	struct format f = {.base = 'd'};
	const char *p = *pos + 1;
	if (p < end && *p == '$') {
		*pos = p + 1;
		out[0] = '$';
		*len = 1;
		return ST_OK;
	}
	if (p < end && *p == '{') {
		const char *close = memchr(p, '}', (size_t)(end - p));
		if (close == NULL ||
		    format_from_text(p + 1, (size_t)(close - p - 1), &f) != ST_OK) {
			*why = "expected ${offset,width,base} with base d, o, x, X, n or N";
			return ST_EPARSE;
		}
		p = close + 1;
	}
	*pos = p;
	if (put_number(value + f.offset, &f, out, len) != ST_OK) {
		*why = "expected numbers that are not negative in this base";
		return ST_EPARSE;
	}
	return ST_OK;
}

enum status generate_expand(const char *text, size_t text_len, int64_t value, char *out,
			    size_t room, size_t *len, const char **why)
{
	const char *end = text + text_len;
	size_t n = 0;
	while (text < end) {
		char piece[WIDTH_MAX + 64];
		size_t size = 1;
		piece[0] = *text;
		if (*text == '$') {
			enum status st = expand_dollar(&text, end, value, piece, &size, why);
			if (st != ST_OK) {
				return st;
			}
		} else if (*text == '\\' && end - text > 1) {
			piece[1] = text[1];
			size = 2;
			text += 2;
		} else {
			text++;
		}
		if (size > room - n) {
			return ST_ESPACE;
		}
		memcpy(out + n, piece, size);
		n += size;
	}
	*len = n;
	return ST_OK;
}

/* The record's text with the numbers still to be put in: tokens joined by blanks. A quoted string
 * that is all the RDATA there is stands for the text in it, as in BIND. */
static size_t make_template(const struct scan *s, char *out, size_t room)
{
	size_t n = 0;
	for (size_t i = 2; i < s->count; i++) {
		const struct token *t = &s->tokens[i];
		bool unwrap = t->quoted && i == s->count - 1 && !s->tokens[i - 1].quoted;
		if (room - n < t->len + 3) {
			return 0;
		}
		if (t->quoted && !unwrap) {
			out[n++] = '"';
		}
		for (size_t j = 0; j < t->len; j++) {
			/* In the unwrapped string \" is a quote that counts. */
			if (unwrap && t->text[j] == '\\' && j + 1 < t->len) {
				if (t->text[j + 1] != '"') {
					out[n++] = '\\';
				}
				j++;
			}
			out[n++] = t->text[j];
		}
		if (t->quoted && !unwrap) {
			out[n++] = '"';
		}
		out[n++] = ' ';
	}
	return n;
}

static enum status read_line(struct reader *r, struct source *src, const char *text, size_t len)
{
	struct scan s;
	scan_init(&s, text, len, 1);
	enum status st = scan_next(&s);
	if (st == ST_OK) {
		st = reader_record(r, src, &s);
	} else if (st == ST_EPARSE) {
		reader_fault(r, src, s.bad_line, s.bad_column, "%s", s.why);
		st = ST_OK;
	} else if (st == ST_ENOENT) {
		reader_fault(r, src, 1, 1, "expected a record");
		st = ST_OK;
	}
	scan_fini(&s);
	return st;
}

static enum status generate_all(struct reader *r, const struct source *src, const struct scan *s,
				const struct range *range)
{
	enum status st = ST_ENOMEM;
	struct source made = *src;
	char *form = malloc(LINE_MAX_BYTES);
	char *line = malloc(LINE_MAX_BYTES);
	made.generated = true;
	made.place = (struct place){src->file, s->tokens[0].line, s->tokens[0].column};
	made.owner_len = 0;
	if (form == NULL || line == NULL) {
		goto out;
	}
	size_t form_len = make_template(s, form, LINE_MAX_BYTES);
	if (form_len == 0) {
		reader_expected(r, src, s, 0, "expected at most 65536 octets in a record");
		st = ST_OK;
		goto out;
	}
	bool failed = r->failed;
	r->failed = false;
	for (int64_t value = range->start; value <= range->stop; value += range->step) {
		size_t len = 0;
		const char *why = "expected at most 65536 octets in a record";
		st = generate_expand(form, form_len, value, line, LINE_MAX_BYTES, &len, &why);
		if (st != ST_OK) {
			reader_expected(r, src, s, 2, why);
			st = ST_OK;
			break;
		}
		st = read_line(r, &made, line, len);
		/* What is wrong with one is most likely wrong with all. */
		if (st != ST_OK || r->failed) {
			break;
		}
	}
	r->failed = r->failed || failed;
out:
	free(line);
	free(form);
	return st;
}

enum status reader_generate(struct reader *r, struct source *src, const struct scan *s)
{
	struct range range;
	if (s->count < 2 || s->tokens[1].quoted ||
	    range_from_text(s->tokens[1].text, s->tokens[1].len, &range) != ST_OK) {
		reader_expected(r, src, s, 1, "expected a range START-STOP or START-STOP/STEP");
		return ST_OK;
	}
	if (s->count < 5) {
		reader_expected(r, src, s, s->count, "expected an owner, a type and RDATA");
		return ST_OK;
	}
	if ((range.stop - range.start) / range.step >= r->generate_max) {
		reader_fault(r, src, s->tokens[1].line, s->tokens[1].column,
			     "expected a range of at most %zu records", r->generate_max);
		return ST_OK;
	}
	/* The cached owner's text would not be that of the owner any more. */
	src->owner_len = 0;
	return generate_all(r, src, s, &range);
}
