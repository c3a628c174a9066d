#include "zones/scan.h"

#include <stdlib.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

enum octet {
	OCTET_PLAIN,
	OCTET_BLANK,
	OCTET_NEWLINE,
	OCTET_COMMENT,
	OCTET_OPEN,
	OCTET_CLOSE,
	OCTET_QUOTE,
	OCTET_ESCAPE,
};

/* A carriage return is white space: CRLF and LF end lines alike. */
static const uint8_t octets[256] = {
	[' '] = OCTET_BLANK,	['\t'] = OCTET_BLANK,  ['\r'] = OCTET_BLANK,
	['\n'] = OCTET_NEWLINE, [';'] = OCTET_COMMENT, ['('] = OCTET_OPEN,
	[')'] = OCTET_CLOSE,	['"'] = OCTET_QUOTE,   ['\\'] = OCTET_ESCAPE,
};

void scan_init(struct scan *s, const char *text, size_t len, uint32_t line)
{
	*s = (struct scan){.pos = text, .end = text + len, .line_start = text, .line = line};
}

void scan_fini(struct scan *s)
{
	free(s->tokens);
	s->tokens = NULL;
}

static uint32_t column(const struct scan *s, const char *at)
{
	size_t n = (size_t)(at - s->line_start) + 1;
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* Only the first fault of an entry is kept. */
static void fault(struct scan *s, const char *at, const char *why)
{
	if (s->why == NULL) {
		s->why = why;
		s->bad_line = s->line;
		s->bad_column = column(s, at);
	}
}

static void skip_line(struct scan *s)
{
	const char *newline = memchr(s->pos, '\n', (size_t)(s->end - s->pos));
	s->pos = newline == NULL ? s->end : newline;
}

static enum status token_add(struct scan *s, const char *text, size_t len, bool quoted)
{
	if (s->count == s->room) {
		if (s->room == SCAN_TOKENS_MAX) {
			fault(s, text, "expected at most 65536 fields in a record");
			skip_line(s);
			return ST_OK;
		}
		size_t room = s->room == 0 ? 64 : s->room * 2;
		struct token *tokens = realloc(s->tokens, room * sizeof(*tokens));
		if (tokens == NULL) {
			return ST_ENOMEM;
		}
		s->tokens = tokens;
		s->room = room;
	}
	s->tokens[s->count++] = (struct token){
		.text = text,
		.len = len,
		.quoted = quoted,
		.line = s->line,
		.column = column(s, quoted ? text - 1 : text),
	};
	return ST_OK;
}

/* The first octet from p on that is not plain. */
static const char *plain_end(const char *p, const char *end)
{
#ifdef __SSE2__
	/* Sixteen at a time: what may end it is looked up, since not all control octets do. */
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(' ')), v);
		__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
		__m128i comment = _mm_cmpeq_epi8(v, _mm_set1_epi8(';'));
		__m128i escape = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
		/* ( and ) differ in the last bit. */
		__m128i even = _mm_and_si128(v, _mm_set1_epi8((char)0xfe));
		__m128i paren = _mm_cmpeq_epi8(even, _mm_set1_epi8('('));
		__m128i any = _mm_or_si128(_mm_or_si128(_mm_or_si128(low, quote), paren),
					   _mm_or_si128(comment, escape));
		unsigned mask = (unsigned)_mm_movemask_epi8(any);
		if (mask == 0) {
			p += 16;
			continue;
		}
		p += __builtin_ctz(mask);
		if (octets[(unsigned char)*p] != OCTET_PLAIN) {
			return p;
		}
		p++;
	}
#endif
	while (p < end && octets[(unsigned char)*p] == OCTET_PLAIN) {
		p++;
	}
	return p;
}

static enum status scan_plain(struct scan *s)
{
	const char *start = s->pos;
	const char *p = start;
	while ((p = plain_end(p, s->end)) < s->end) {
		enum octet o = octets[(unsigned char)*p];
		if (o == OCTET_ESCAPE) {
			if (p + 1 == s->end || p[1] == '\n') {
				fault(s, p, "expected a character after \\");
				s->pos = p + 1;
				return ST_OK;
			}
			p += 2;
		} else {
			break;
		}
	}
	s->pos = p;
	return token_add(s, start, (size_t)(p - start), false);
}

/* A quoted string ends on the line where it starts unless the newline is escaped, as in BIND: so a
 * forgotten quote costs one record and not the rest of the file. */
static enum status scan_quoted(struct scan *s)
{
	const char *quote = s->pos;
	const char *p = quote + 1;
	uint32_t newlines = 0;
	const char *last_line = s->line_start;
	while (p < s->end && *p != '"' && *p != '\n') {
		if (*p == '\\' && p + 1 < s->end) {
			p++;
			if (*p == '\n') {
				newlines++;
				last_line = p + 1;
			}
		}
		p++;
	}
	if (p >= s->end || *p == '\n') {
		fault(s, quote, "expected a closing quote on the same line");
		skip_line(s);
		return ST_OK;
	}
	s->pos = p + 1;
	enum status st = token_add(s, quote + 1, (size_t)(p - quote) - 1, true);
	s->line += newlines;
	s->line_start = last_line;
	return st;
}

static void start_line(struct scan *s)
{
	s->line_start = s->pos;
	s->entry = s->pos;
	s->entry_line = s->line;
	s->blank = s->pos < s->end && octets[(unsigned char)*s->pos] == OCTET_BLANK;
}

/* Is there an entry, and was it fit to be read? */
static enum status finish(const struct scan *s, bool at_end)
{
	if (s->why != NULL) {
		return ST_EPARSE;
	}
	return at_end && s->count == 0 ? ST_ENOENT : ST_OK;
}

enum status scan_next(struct scan *s)
{
	unsigned depth = 0;
	enum status st = ST_OK;
	s->count = 0;
	s->why = NULL;
	start_line(s);
	const char *open_line_start = s->line_start;
	const char *open = NULL;
	uint32_t open_line = s->line;
	while (s->pos < s->end && st == ST_OK) {
		switch ((enum octet)octets[(unsigned char)*s->pos]) {
		case OCTET_BLANK:
			s->pos++;
			break;
		case OCTET_NEWLINE:
			s->pos++;
			s->line++;
			if (depth > 0) {
				s->line_start = s->pos;
				break;
			}
			if (s->count > 0 || s->why != NULL) {
				return finish(s, false);
			}
			start_line(s);
			break;
		case OCTET_COMMENT:
			skip_line(s);
			break;
		case OCTET_OPEN:
			if (depth++ == 0) {
				open = s->pos;
				open_line = s->line;
				open_line_start = s->line_start;
			}
			s->pos++;
			break;
		case OCTET_CLOSE:
			if (depth == 0) {
				fault(s, s->pos, "expected no ) without its (");
			} else {
				depth--;
			}
			s->pos++;
			break;
		case OCTET_QUOTE:
			st = scan_quoted(s);
			break;
		case OCTET_PLAIN:
		case OCTET_ESCAPE:
			st = scan_plain(s);
			break;
		}
	}
	if (st != ST_OK) {
		return st;
	}
	if (depth > 0) {
		s->line_start = open_line_start;
		s->line = open_line;
		s->why = NULL;
		fault(s, open, "expected a ) for this (");
	}
	st = finish(s, true);
	if (st == ST_ENOENT) {
		s->entry = s->end;
		s->entry_line = s->line;
	}
	return st;
}
