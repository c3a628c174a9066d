/* What each RR type's RDATA is made of: private to the rdata modules. */
#pragma once

#include "zones/rdata.h"

/* 'fields' is a string of these; what takes "the rest" comes last.
 *   'N' 'n' 'p' a name, as in rdata_shape()
 *   '1' '2' '4' an unsigned integer of that many octets
 *   't' a time span, 32 bits: seconds, or with units      'T' an RRSIG time
 *   'y' an RR type                                        'g' a DNSSEC algorithm, 8 bits
 *   'h' a DS digest type, 8 bits                          'C' a CERT type, 16 bits
 *   'a' an IPv4 address    'A' an IPv6 address            'l' a 64-bit locator (RFC 6742)
 *   'e' six octets as EUI-48                              'E' eight octets as EUI-64
 *   's' a <character-string>       'S' one or more of them, the rest
 *   'O' at most one, the rest      'c' a <character-string> that is a CAA tag
 *   'q' one string without a length, the rest             'Q' the same, not empty
 *   'x' hex, the rest, not empty   'b' base64, the rest, not empty
 *   'X' length octet and hex, "-" where empty             'H' length octet and base32hex, not empty
 *   'B' a type bitmap, the rest, not empty                'o' the same, perhaps empty
 *   'V' SvcParams (RFC 9460 2.1), the rest */
struct rdata_type {
	const char *shape;  /* as rdata_shape() gives it; NULL: "*" */
	const char *fields; /* NULL: none of ours, left to ldns or to RFC 3597 */
};

const struct rdata_type *rdata_type_get(uint16_t type);

/* Mnemonics of small registries: DNSSEC algorithms ('g'), digest types ('h'), CERT types ('C').
 * A number up to 'max' is taken too. ST_EPARSE. */
enum status rdata_mnemonic(char field, const char *text, size_t len, uint32_t max,
			   uint32_t *out) MUST_USE;

/* rdata_svcb.c. */
struct rdata_parse;
struct text_out;

/* SvcParams from the tokens that are left; writes them sorted by key. */
enum status svcb_parse(struct rdata_parse *p) MUST_USE;
/* Are these well-formed and consistent SvcParams (RFC 9460 2.2, 8)? */
enum status svcb_check(struct bytes params, const char **why) MUST_USE;
/* Of params that svcb_check() found good. */
void svcb_text(struct bytes params, struct text_out *t);

/* rdata_ldns.c: types that the table above lacks. */
/* ST_ENOTSUP where ldns does not know the type. */
enum status rdata_ldns_parse(uint16_t type, struct rdata_parse *p) MUST_USE;
enum status rdata_ldns_check(uint16_t type, struct bytes rdata, const char **why) MUST_USE;
/* ST_ENOTSUP where ldns has no text form that reads back as the same octets. */
enum status rdata_ldns_text(uint16_t type, struct bytes rdata, struct text_out *t) MUST_USE;

/* rdata_parse.c: a record's tokens being turned into RDATA. */
struct rdata_parse {
	const struct token *tokens;
	size_t count;
	size_t next; /* on error: the token at fault */
	const uint8_t *origin;
	struct wwriter w;
	const char *why; /* on error: what was expected */
};

/* One octet, perhaps escaped, from *pos, which moves on; *pos < end. ST_EPARSE. */
enum status rdata_unescape_octet(const char **pos, const char *end, uint8_t *out) MUST_USE;
/* Takes escapes out: \X and \DDD (RFC 1035 5.1). ST_EPARSE; ST_ESPACE where 'room' is too small. */
enum status rdata_unescape(const char *text, size_t len, uint8_t *out, size_t room,
			   size_t *out_len) MUST_USE;
/* Fails at the present token. */
enum status rdata_expected(struct rdata_parse *p, const char *why) MUST_USE;
/* "expected WHAT (DETAIL)" in the thread's buffer; detail may be NULL. */
const char *rdata_why(const char *what, const char *detail);
enum status ipv4_from_text(const char *text, size_t len, uint8_t out[4]) MUST_USE;
enum status ipv6_from_text(const char *text, size_t len, uint8_t out[16]) MUST_USE;
/* Decoders of a text that goes over many tokens; 'from' writes at the end of p->w. */
enum status rdata_blob(struct rdata_parse *p, bool base64) MUST_USE;

/* rdata_text.c: text being written; past the end only 'full' is set. */
struct text_out {
	char *pos;
	char *end;
	bool full;
};

void text_put(struct text_out *t, const char *s, size_t len);
void text_puts(struct text_out *t, const char *s);
void text_putf(struct text_out *t, const char *fmt, ...) PRINTF(2, 3);
/* A string in quotes, with what must be escaped escaped. */
void text_quoted(struct text_out *t, struct bytes s);
/* Room for n characters (and a NUL behind them) to be filled in by the caller, or NULL. */
char *text_room(struct text_out *t, size_t n);
void text_base64(struct text_out *t, struct bytes data);
