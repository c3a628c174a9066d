#include "signer/bind_key.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <string.h>

#define ALGORITHM     13
#define FLAG_ZONE_KEY 0x0100
#define FLAG_SEP      0x0001
#define FLAG_REVOKE   0x0080
#define PROTOCOL      3

/* A text and where one is in it. */
struct cursor {
	const char *name;
	const char *at, *end;
	uint32_t line;
	struct diags *d;
};

struct token {
	const char *text;
	size_t len;
};

static enum status fault(const struct cursor *c, enum status st, const char *why)
{
	diags_add(c->d, DIAG_ERROR, c->name, c->line, 0, "%s", why);
	return st;
}

static bool token_is(struct token t, const char *text)
{
	return text_equal_nocase(t.text, t.len, text);
}

/* IANA's mnemonics; NULL: a number without one. */
static const char *algorithm_name(uint32_t number)
{
	static const char *const names[] = {
		[1] = "RSAMD5",		  [3] = "DSA",	     [5] = "RSASHA1",
		[6] = "DSA-NSEC3-SHA1",	  [8] = "RSASHA256", [7] = "RSASHA1-NSEC3-SHA1",
		[10] = "RSASHA512",	  [12] = "ECC-GOST", [13] = "ECDSAP256SHA256",
		[14] = "ECDSAP384SHA384", [15] = "ED25519",  [16] = "ED448",
	};
	return number < sizeof(names) / sizeof(names[0]) ? names[number] : NULL;
}

static enum status check_algorithm(const struct cursor *c, struct token t)
{
	uint32_t number;
	if (text_to_u32(t.text, t.len, 255, &number) != ST_OK) {
		return fault(c, ST_EPARSE, "the algorithm is not a number");
	}
	if (number == ALGORITHM) {
		return ST_OK;
	}
	const char *name = algorithm_name(number);
	diags_add(c->d, DIAG_ERROR, c->name, c->line, 0,
		  "the key is of algorithm %u%s%s; only 13 (ECDSAP256SHA256) is supported", number,
		  name != NULL ? ", " : "", name != NULL ? name : "");
	return ST_ENOTSUP;
}

static bool is_blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\r';
}

/* The next line's "Field: value", both trimmed. False: the end. */
static bool next_field(struct cursor *c, struct token *field, struct token *value)
{
	if (c->at == c->end) {
		return false;
	}
	const char *end = memchr(c->at, '\n', (size_t)(c->end - c->at));
	const char *stop = end != NULL ? end : c->end;
	const char *colon = memchr(c->at, ':', (size_t)(stop - c->at));
	const char *from = colon != NULL ? colon + 1 : stop;
	*field = (struct token){c->at, (size_t)((colon != NULL ? colon : stop) - c->at)};
	c->at = end != NULL ? end + 1 : c->end;
	c->line++;
	while (from < stop && is_blank(*from)) {
		from++;
	}
	while (stop > from && is_blank(stop[-1])) {
		stop--;
	}
	*value = (struct token){from, (size_t)(stop - from)};
	return true;
}

/* Big-endian; leading zero octets may be left out. */
static enum status read_number(const struct cursor *c, struct token value,
			       uint8_t number[HSM_PRIVATE_LEN])
{
	uint8_t octets[HSM_PRIVATE_LEN];
	size_t len;
	if (base64_decode(value.text, value.len, octets, sizeof(octets), &len) != ST_OK ||
	    len == 0) {
		wipe(octets, sizeof(octets));
		return fault(c, ST_EPARSE, "the private key is not 32 octets in base64");
	}
	memset(number, 0, HSM_PRIVATE_LEN);
	memcpy(number + HSM_PRIVATE_LEN - len, octets, len);
	wipe(octets, sizeof(octets));
	return ST_OK;
}

/* What was found so far. */
struct private_file {
	bool format, algorithm, number, device;
};

static enum status take_field(const struct cursor *c, struct token field, struct token value,
			      struct private_file *seen, uint8_t number[HSM_PRIVATE_LEN])
{
	if (token_is(field, "Private-key-format")) {
		if (seen->format) {
			return fault(c, ST_EPARSE, "a second Private-key-format");
		}
		seen->format = true;
		return value.len > 3 && memcmp(value.text, "v1.", 3) == 0
			       ? ST_OK
			       : fault(c, ST_ENOTSUP, "the format is not v1.x");
	}
	if (!seen->format) {
		return fault(c, ST_EPARSE, "no private key of BIND: Private-key-format is missing");
	}
	if (token_is(field, "Algorithm")) {
		if (seen->algorithm) {
			return fault(c, ST_EPARSE, "a second Algorithm");
		}
		seen->algorithm = true;
		/* "13 (ECDSAP256SHA256)" */
		const char *blank = memchr(value.text, ' ', value.len);
		value.len = blank != NULL ? (size_t)(blank - value.text) : value.len;
		return check_algorithm(c, value);
	}
	if (token_is(field, "PrivateKey")) {
		if (!seen->algorithm || seen->number) {
			return fault(c, ST_EPARSE,
				     seen->number ? "a second PrivateKey" : "Algorithm is missing");
		}
		seen->number = true;
		return read_number(c, value, number);
	}
	seen->device |= token_is(field, "Label") || token_is(field, "Engine");
	/* Others are times, which say nothing here. */
	return ST_OK;
}

enum status bind_private_parse(const char *name, const char *text, size_t len,
			       uint8_t number[HSM_PRIVATE_LEN], struct diags *d)
{
	struct cursor c = {.name = name, .at = text, .end = text + len, .d = d};
	struct private_file seen = {.format = false};
	uint8_t found[HSM_PRIVATE_LEN] = {0};
	struct token field;
	struct token value;
	enum status st = ST_OK;
	while (st == ST_OK && next_field(&c, &field, &value)) {
		if (field.len > 0 || value.len > 0) {
			st = take_field(&c, field, value, &seen, found);
		}
	}
	c.line = 0;
	if (st == ST_OK && seen.device) {
		st = fault(&c, ST_ENOTSUP,
			   "the key is in a device, not in the file: name it with 'key' in a "
			   "keystore of type pkcs11");
	} else if (st == ST_OK && !seen.number) {
		st = fault(&c, ST_EPARSE,
			   seen.format ? "PrivateKey is missing"
				       : "no private key of BIND: Private-key-format is missing");
	}
	if (st == ST_OK) {
		memcpy(number, found, HSM_PRIVATE_LEN);
	}
	wipe(found, sizeof(found));
	return st;
}

/* Over blanks, ends of line, comments, and the parentheses that join lines. */
static void skip_between(struct cursor *c)
{
	bool comment = false;
	for (; c->at < c->end; c->at++) {
		char ch = *c->at;
		c->line += ch == '\n';
		comment = ch == ';' || (comment && ch != '\n');
		if (!comment && ch != '\n' && ch != '(' && ch != ')' && !is_blank(ch)) {
			return;
		}
	}
}

static bool next_token(struct cursor *c, struct token *out)
{
	skip_between(c);
	const char *from = c->at;
	while (c->at < c->end && !is_blank(*c->at) && memchr("\n();", *c->at, 4) == NULL) {
		/* An escaped one of these is a name's. */
		c->at += *c->at == '\\' && c->end - c->at > 1 ? 2 : 1;
	}
	*out = (struct token){from, (size_t)(c->at - from)};
	return out->len > 0;
}

/* Up to "DNSKEY": the owner, then perhaps a TTL and a class. */
static enum status read_head(struct cursor *c, struct bind_dnskey *out)
{
	struct token t;
	size_t len;
	uint8_t name[NAME_MAX_LEN];
	const char *why = "the owner's name is missing";
	if (!next_token(c, &t) || name_from_text(t.text, t.len, NULL, name, &len, &why) != ST_OK) {
		return fault(c, ST_EPARSE, why);
	}
	name_lower(out->owner, name);
	for (unsigned i = 0; i < 3 && next_token(c, &t); i++) {
		uint32_t ttl;
		if (token_is(t, "DNSKEY")) {
			return ST_OK;
		}
		if (!token_is(t, "IN") && text_to_ttl(t.text, t.len, &ttl) != ST_OK) {
			break;
		}
	}
	return fault(c, ST_EPARSE, "no DNSKEY record");
}

static enum status read_flags(const struct cursor *c, struct token t, uint16_t *out)
{
	uint32_t flags;
	if (text_to_u32(t.text, t.len, UINT16_MAX, &flags) != ST_OK) {
		return fault(c, ST_EPARSE, "the flags are not a number");
	}
	if ((flags & FLAG_REVOKE) != 0) {
		return fault(c, ST_ENOTSUP, "the key is revoked (RFC 5011)");
	}
	if ((flags & ~(uint32_t)FLAG_SEP) != FLAG_ZONE_KEY) {
		return fault(c, ST_EPARSE, "the flags are neither 256 nor 257: no key of a zone");
	}
	*out = (uint16_t)flags;
	return ST_OK;
}

/* In base64, which may stand in pieces. */
static enum status read_public(struct cursor *c, uint8_t point[HSM_PUBLIC_LEN])
{
	char text[TEXT_BASE64_SIZE(HSM_PUBLIC_LEN)];
	size_t have = 0;
	size_t len = 0;
	struct token t;
	while (next_token(c, &t)) {
		if (t.len >= sizeof(text) - have) {
			return fault(c, ST_EPARSE,
				     "the public key is too long, or is not the last");
		}
		memcpy(text + have, t.text, t.len);
		have += t.len;
	}
	if (base64_decode(text, have, point, HSM_PUBLIC_LEN, &len) != ST_OK ||
	    len != HSM_PUBLIC_LEN) {
		return fault(c, ST_EPARSE, "the public key is not 64 octets in base64");
	}
	return ST_OK;
}

enum status bind_dnskey_parse(const char *name, const char *text, size_t len,
			      struct bind_dnskey *out, struct diags *d)
{
	struct cursor c = {.name = name, .at = text, .end = text + len, .line = 1, .d = d};
	struct bind_dnskey key;
	struct token flags;
	struct token protocol;
	struct token algorithm;
	uint32_t number;
	enum status st = read_head(&c, &key);
	if (st != ST_OK) {
		return st;
	}
	if (!next_token(&c, &flags) || !next_token(&c, &protocol) || !next_token(&c, &algorithm)) {
		return fault(&c, ST_EPARSE, "the record is cut short");
	}
	st = read_flags(&c, flags, &key.flags);
	if (st == ST_OK && (text_to_u32(protocol.text, protocol.len, 255, &number) != ST_OK ||
			    number != PROTOCOL)) {
		st = fault(&c, ST_EPARSE, "the protocol is not 3");
	}
	if (st == ST_OK) {
		st = check_algorithm(&c, algorithm);
	}
	if (st == ST_OK) {
		st = read_public(&c, key.public_point);
	}
	if (st == ST_OK) {
		*out = key;
	}
	return st;
}
