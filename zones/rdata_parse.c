#include "zones/rdata_types.h"

#include "nsd-core/base/name.h"
#include "nsd-core/base/text.h"

#include <arpa/inet.h>
#include <stdio.h>

const char *rdata_why(const char *what, const char *detail)
{
	static _Thread_local char buf[160];
	if (detail == NULL) {
		snprintf(buf, sizeof(buf), "expected %s", what);
	} else {
		snprintf(buf, sizeof(buf), "expected %s (%s)", what, detail);
	}
	return buf;
}

enum status rdata_expected(struct rdata_parse *p, const char *why)
{
	p->why = why;
	return ST_EPARSE;
}

/* The present token, which may not be quoted. */
static const struct token *bare(struct rdata_parse *p)
{
	if (p->next == p->count || p->tokens[p->next].quoted) {
		return NULL;
	}
	return &p->tokens[p->next];
}

enum status rdata_unescape_octet(const char **pos, const char *end, uint8_t *out)
{
	const char *p = *pos;
	uint8_t c = (uint8_t)*p++;
	if (c == '\\') {
		uint32_t value;
		if (p == end) {
			return ST_EPARSE;
		}
		c = (uint8_t)*p++;
		if (c >= '0' && c <= '9') {
			if (end - p < 2 || text_to_u32(p - 1, 3, 255, &value) != ST_OK) {
				return ST_EPARSE;
			}
			c = (uint8_t)value;
			p += 2;
		}
	}
	*pos = p;
	*out = c;
	return ST_OK;
}

enum status rdata_unescape(const char *text, size_t len, uint8_t *out, size_t room, size_t *out_len)
{
	const char *end = text + len;
	size_t n = 0;
	while (text < end) {
		uint8_t c;
		if (rdata_unescape_octet(&text, end, &c) != ST_OK) {
			return ST_EPARSE;
		}
		if (n == room) {
			return ST_ESPACE;
		}
		out[n++] = c;
	}
	*out_len = n;
	return ST_OK;
}

enum status ipv4_from_text(const char *text, size_t len, uint8_t out[4])
{
	uint8_t addr[4];
	const char *end = text + len;
	for (int i = 0; i < 4; i++) {
		unsigned value = 0;
		const char *start = text;
		for (; text < end && *text >= '0' && *text <= '9' && text - start < 3; text++) {
			value = value * 10 + (unsigned)(*text - '0');
		}
		if (text == start || value > 255 || (text - start > 1 && *start == '0')) {
			return ST_EPARSE;
		}
		addr[i] = (uint8_t)value;
		if (i < 3 && (text == end || *text++ != '.')) {
			return ST_EPARSE;
		}
	}
	if (text != end) {
		return ST_EPARSE;
	}
	memcpy(out, addr, sizeof(addr));
	return ST_OK;
}

enum status ipv6_from_text(const char *text, size_t len, uint8_t out[16])
{
	char buf[INET6_ADDRSTRLEN];
	if (len >= sizeof(buf) || memchr(text, '\0', len) != NULL) {
		return ST_EPARSE;
	}
	memcpy(buf, text, len);
	buf[len] = '\0';
	return inet_pton(AF_INET6, buf, out) == 1 ? ST_OK : ST_EPARSE;
}

static enum status parse_name(struct rdata_parse *p)
{
	const struct token *t = bare(p);
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	const char *why = NULL;
	if (t == NULL) {
		return rdata_expected(p, "expected a domain name");
	}
	if (name_from_text(t->text, t->len, p->origin, name, &len, &why) != ST_OK) {
		return rdata_expected(p, rdata_why("a domain name", why));
	}
	wwriter_put(&p->w, name, len);
	p->next++;
	return ST_OK;
}

static enum status parse_integer(struct rdata_parse *p, char field)
{
	const struct token *t = bare(p);
	uint32_t max = field == '1' ? 0xff : field == '2' ? 0xffff : UINT32_MAX;
	uint32_t value;
	if (t == NULL || text_to_u32(t->text, t->len, max, &value) != ST_OK) {
		return rdata_expected(p, field == '1'	? "expected a number from 0 to 255"
					 : field == '2' ? "expected a number from 0 to 65535"
							: "expected a number from 0 to 4294967295");
	}
	if (field == '1') {
		wwriter_u8(&p->w, (uint8_t)value);
	} else if (field == '2') {
		wwriter_u16(&p->w, (uint16_t)value);
	} else {
		wwriter_u32(&p->w, value);
	}
	p->next++;
	return ST_OK;
}

/* 't' and 'T'. Plain seconds may use all 32 bits; units are bounded as TTLs are. */
static enum status parse_time(struct rdata_parse *p, char field)
{
	const struct token *t = bare(p);
	uint32_t value;
	if (field == 'T') {
		if (t == NULL || text_to_sigtime(t->text, t->len, &value) != ST_OK) {
			return rdata_expected(p, "expected a time as YYYYMMDDHHmmSS or in seconds");
		}
	} else if (t == NULL || (text_to_u32(t->text, t->len, UINT32_MAX, &value) != ST_OK &&
				 text_to_ttl(t->text, t->len, &value) != ST_OK)) {
		return rdata_expected(p, "expected a time span in seconds or with units");
	}
	wwriter_u32(&p->w, value);
	p->next++;
	return ST_OK;
}

static enum status parse_type(struct rdata_parse *p)
{
	const struct token *t = bare(p);
	uint16_t type;
	if (t == NULL || rrtype_from_text(t->text, t->len, &type) != ST_OK) {
		return rdata_expected(p, "expected an RR type");
	}
	wwriter_u16(&p->w, type);
	p->next++;
	return ST_OK;
}

static enum status parse_mnemonic(struct rdata_parse *p, char field)
{
	const struct token *t = bare(p);
	uint32_t max = field == 'C' ? 0xffff : 0xff;
	uint32_t value;
	if (t == NULL || rdata_mnemonic(field, t->text, t->len, max, &value) != ST_OK) {
		return rdata_expected(p, field == 'g'	? "expected a DNSSEC algorithm"
					 : field == 'h' ? "expected a digest type"
							: "expected a certificate type");
	}
	if (field == 'C') {
		wwriter_u16(&p->w, (uint16_t)value);
	} else {
		wwriter_u8(&p->w, (uint8_t)value);
	}
	p->next++;
	return ST_OK;
}

static enum status parse_address(struct rdata_parse *p, char field)
{
	const struct token *t = bare(p);
	uint8_t addr[16];
	if (field == 'a') {
		if (t == NULL || ipv4_from_text(t->text, t->len, addr) != ST_OK) {
			return rdata_expected(p, "expected an IPv4 address");
		}
		wwriter_put(&p->w, addr, 4);
	} else {
		if (t == NULL || ipv6_from_text(t->text, t->len, addr) != ST_OK) {
			return rdata_expected(p, "expected an IPv6 address");
		}
		wwriter_put(&p->w, addr, 16);
	}
	p->next++;
	return ST_OK;
}

/* 's' and 'c', or one of 'S': a <character-string>. */
static enum status parse_string(struct rdata_parse *p)
{
	uint8_t buf[255];
	size_t len;
	if (p->next == p->count) {
		return rdata_expected(p, "expected a string");
	}
	const struct token *t = &p->tokens[p->next];
	enum status st = rdata_unescape(t->text, t->len, buf, sizeof(buf), &len);
	if (st != ST_OK) {
		return rdata_expected(p, st == ST_ESPACE
						 ? "expected a string of at most 255 octets"
						 : "expected a string with escapes \\X or \\DDD");
	}
	wwriter_str8(&p->w, buf, len);
	p->next++;
	return ST_OK;
}

/* 'q' and 'Q': one string whose length is that of the rest of the RDATA. */
static enum status parse_long_string(struct rdata_parse *p, bool empty_allowed)
{
	size_t len;
	if (p->next == p->count) {
		return rdata_expected(p, "expected a string");
	}
	const struct token *t = &p->tokens[p->next];
	enum status st = rdata_unescape(t->text, t->len, p->w.pos, wwriter_left(&p->w), &len);
	if (st == ST_ESPACE) {
		return rdata_expected(p, "expected at most 65535 octets of RDATA");
	}
	if (st != ST_OK) {
		return rdata_expected(p, "expected a string with escapes \\X or \\DDD");
	}
	if (len == 0 && !empty_allowed) {
		return rdata_expected(p, "expected a string that is not empty");
	}
	p->w.pos += len;
	p->next++;
	return ST_OK;
}

static enum status blob_chunk(struct rdata_parse *p, bool base64, const char *text, size_t len,
			      size_t *out_len)
{
	return base64 ? base64_decode(text, len, p->w.pos, wwriter_left(&p->w), out_len)
		      : hex_decode(text, len, p->w.pos, wwriter_left(&p->w), out_len);
}

/* White space may stand anywhere in hex and base64 (RFC 4034 2.2, 5.3), so what the tokens hold is
 * gathered in pieces that end at a multiple of both units, 2 and 4. */
enum status rdata_blob(struct rdata_parse *p, bool base64)
{
	const char *why = base64 ? "expected base64" : "expected hex digits, two for each octet";
	char chunk[1024];
	size_t used = 0;
	size_t len = 0;
	bool padded = false;
	size_t i = p->next;
	size_t pos = 0;
	if (i == p->count) {
		return rdata_expected(p, why);
	}
	while (i < p->count) {
		const struct token *t = &p->tokens[i];
		size_t n =
			t->len - pos < sizeof(chunk) - used ? t->len - pos : sizeof(chunk) - used;
		if (t->quoted || t->len == 0) {
			p->next = i;
			return rdata_expected(p, why);
		}
		memcpy(chunk + used, t->text + pos, n);
		used += n;
		pos += n;
		padded = base64 && t->text[pos - 1] == '=';
		if (pos == t->len) {
			i++;
			pos = 0;
		}
		if (used < sizeof(chunk) && i < p->count) {
			continue;
		}
		enum status st = blob_chunk(p, base64, chunk, used, &len);
		if (st != ST_OK) {
			p->next = i == p->count ? p->next : i;
			return rdata_expected(p, st == ST_ESPACE
							 ? "expected at most 65535 octets of RDATA"
							 : why);
		}
		if (padded && i < p->count) {
			p->next = i;
			return rdata_expected(p, why);
		}
		p->w.pos += len;
		used = 0;
	}
	p->next = p->count;
	return ST_OK;
}

/* 'X' and 'H': a length octet, then what one token says. */
static enum status parse_short_blob(struct rdata_parse *p, char field)
{
	const struct token *t = bare(p);
	const char *why =
		field == 'X' ? "expected hex digits or -" : "expected a hash in base32hex";
	uint8_t buf[255];
	size_t len = 0;
	if (t == NULL) {
		return rdata_expected(p, why);
	}
	if (field == 'H') {
		if (base32hex_decode(t->text, t->len, buf, sizeof(buf), &len) != ST_OK ||
		    len == 0) {
			return rdata_expected(p, why);
		}
	} else if (t->len != 1 || t->text[0] != '-') {
		if (hex_decode(t->text, t->len, buf, sizeof(buf), &len) != ST_OK) {
			return rdata_expected(p, why);
		}
	}
	wwriter_str8(&p->w, buf, len);
	p->next++;
	return ST_OK;
}

static void put_windows(struct wwriter *w, const uint8_t windows[256][32], const bool used[256])
{
	for (unsigned i = 0; i < 256; i++) {
		size_t len = 32;
		if (!used[i]) {
			continue;
		}
		while (windows[i][len - 1] == 0) {
			len--;
		}
		wwriter_u8(w, (uint8_t)i);
		wwriter_str8(w, windows[i], len);
	}
}

/* 'B' and 'o': types in any order, perhaps named twice. */
static enum status parse_bitmap(struct rdata_parse *p, bool empty_allowed)
{
	uint8_t windows[256][32];
	bool used[256] = {false};
	if (p->next == p->count && !empty_allowed) {
		return rdata_expected(p, "expected an RR type");
	}
	for (; p->next < p->count; p->next++) {
		const struct token *t = bare(p);
		uint16_t type;
		if (t == NULL || rrtype_from_text(t->text, t->len, &type) != ST_OK) {
			return rdata_expected(p, "expected an RR type");
		}
		unsigned window = type >> 8;
		if (!used[window]) {
			used[window] = true;
			memset(windows[window], 0, sizeof(windows[window]));
		}
		windows[window][(type & 0xff) / 8] |= (uint8_t)(0x80 >> type % 8);
	}
	put_windows(&p->w, (const uint8_t(*)[32])windows, used);
	return ST_OK;
}

/* 'e' and 'E' (RFC 7043): six or eight octets as xx-xx-... */
static enum status parse_eui(struct rdata_parse *p, char field)
{
	const struct token *t = bare(p);
	size_t groups = field == 'e' ? 6 : 8;
	const char *why =
		field == 'e' ? "expected an EUI-48 address" : "expected an EUI-64 address";
	if (t == NULL || t->len != groups * 3 - 1) {
		return rdata_expected(p, why);
	}
	for (size_t i = 0; i < groups; i++) {
		const char *group = t->text + i * 3;
		uint8_t octet;
		size_t len;
		if ((i > 0 && group[-1] != '-') || hex_decode(group, 2, &octet, 1, &len) != ST_OK) {
			return rdata_expected(p, why);
		}
		wwriter_u8(&p->w, octet);
	}
	p->next++;
	return ST_OK;
}

/* 'l' (RFC 6742 2.1.2): four groups of one to four hex digits, as in IPv6 addresses. */
static enum status parse_locator(struct rdata_parse *p)
{
	const struct token *t = bare(p);
	char text[4 * 5 + 3];
	uint8_t addr[16];
	if (t == NULL || t->len > sizeof(text) - 3) {
		return rdata_expected(p, "expected four groups of four hex digits");
	}
	/* Half of an address: without "::" in it, it takes this one to make the whole. */
	memcpy(text, t->text, t->len);
	memcpy(text + t->len, "::", 2);
	bool whole = memmem(t->text, t->len, "::", 2) == NULL;
	unsigned colons = 0;
	for (size_t i = 0; i < t->len; i++) {
		colons += t->text[i] == ':';
	}
	if (!whole || colons != 3 || ipv6_from_text(text, t->len + 2, addr) != ST_OK) {
		return rdata_expected(p, "expected four groups of four hex digits");
	}
	wwriter_put(&p->w, addr, 8);
	p->next++;
	return ST_OK;
}

static enum status parse_strings(struct rdata_parse *p)
{
	enum status st;
	do {
		st = parse_string(p);
	} while (st == ST_OK && p->next < p->count && p->w.err == ST_OK);
	return st;
}

static enum status parse_field(struct rdata_parse *p, char field)
{
	switch (field) {
	case 'N':
	case 'n':
	case 'p':
		return parse_name(p);
	case '1':
	case '2':
	case '4':
		return parse_integer(p, field);
	case 't':
	case 'T':
		return parse_time(p, field);
	case 'y':
		return parse_type(p);
	case 'g':
	case 'h':
	case 'C':
		return parse_mnemonic(p, field);
	case 'a':
	case 'A':
		return parse_address(p, field);
	case 's':
	case 'c':
		return parse_string(p);
	case 'O':
		return p->next == p->count ? ST_OK : parse_string(p);
	case 'S':
		return parse_strings(p);
	case 'q':
	case 'Q':
		return parse_long_string(p, field == 'q');
	case 'x':
	case 'b':
		return rdata_blob(p, field == 'b');
	case 'X':
	case 'H':
		return parse_short_blob(p, field);
	case 'B':
	case 'o':
		return parse_bitmap(p, field == 'o');
	case 'V':
		return svcb_parse(p);
	case 'l':
		return parse_locator(p);
	default: /* 'e' 'E' */
		return parse_eui(p, field);
	}
}

/* RFC 3597 5: \# LENGTH HEX... */
static enum status parse_generic(struct rdata_parse *p)
{
	uint32_t want;
	p->next = 1;
	const struct token *t = bare(p);
	if (t == NULL || text_to_u32(t->text, t->len, RDATA_MAX, &want) != ST_OK) {
		return rdata_expected(p, "expected the length of the RDATA");
	}
	p->next = 2;
	if (want > 0 || p->next < p->count) {
		enum status st = rdata_blob(p, false);
		if (st != ST_OK) {
			return st;
		}
	}
	if (wwriter_len(&p->w) != want) {
		p->next = 1;
		return rdata_expected(p, "expected as many octets as the length says");
	}
	return ST_OK;
}

static enum status parse_known(struct rdata_parse *p, const char *fields)
{
	for (; *fields != '\0'; fields++) {
		enum status st = parse_field(p, *fields);
		if (st != ST_OK) {
			return st;
		}
	}
	if (p->next < p->count && p->w.err == ST_OK) {
		return rdata_expected(p, "expected the end of the record");
	}
	return ST_OK;
}

static bool is_generic(const struct token *tokens, size_t count)
{
	return count > 0 && !tokens[0].quoted && tokens[0].len == 2 &&
	       memcmp(tokens[0].text, "\\#", 2) == 0;
}

/* Where the token stands that rdata_check() may still find wrong when each field's text was right;
 * 0: there is none. */
static size_t checked_token(uint16_t type)
{
	switch (type) {
	case RR_DS:
	case RR_CDS:
	case RR_ZONEMD:
		return 3;
	case RR_SSHFP:
	case RR_SVCB:
	case RR_HTTPS:
		return 2;
	case RR_CAA:
		return 1;
	default:
		return 0;
	}
}

enum status rdata_from_tokens(uint16_t type, const struct token *tokens, size_t count,
			      const uint8_t *origin, uint8_t *out, size_t *out_len, size_t *bad,
			      const char **why)
{
	const char *fields = rdata_type_get(type)->fields;
	struct rdata_parse p = {.tokens = tokens, .count = count, .origin = origin};
	enum status st;
	wwriter_init(&p.w, out, RDATA_MAX);
	bool generic = is_generic(tokens, count);
	if (generic) {
		st = parse_generic(&p);
	} else if (fields != NULL) {
		st = parse_known(&p, fields);
	} else {
		st = rdata_ldns_parse(type, &p);
		if (st == ST_ENOTSUP) {
			st = rdata_expected(&p, "expected \\# and the RDATA in hex");
		}
	}
	if (st == ST_OK && p.w.err != ST_OK) {
		p.next = 0;
		st = rdata_expected(&p, "expected at most 65535 octets of RDATA");
	}
	if (st == ST_OK && (generic || fields == NULL || checked_token(type) > 0)) {
		struct bytes rdata = {out, wwriter_len(&p.w)};
		p.next = generic ? 2 : checked_token(type);
		p.next = p.next < count ? p.next : count;
		st = rdata_check(type, rdata, &p.why);
	}
	if (st == ST_OK) {
		*out_len = wwriter_len(&p.w);
	} else if (st == ST_EPARSE) {
		*bad = p.next;
		*why = p.why;
	}
	return st;
}
