/* RDATA: shapes of the types we know, checks, canonical form, text. */
#pragma once

#include "zones/rrset.h"

/* The fields of a type's RDATA, for whoever must find names in it (compression, canonical form,
 * additional section). A string of these, ended by 0:
 *   'N' name, may be compressed (types of RFC 1035 only), lower case in canonical form
 *   'n' name, never compressed, lower case in canonical form (RFC 4034 6.2, RFC 6840 5.1)
 *   'p' name, never compressed, case kept (SVCB, HTTPS, NSEC next name)
 *   '1' '2' '4' '6' that many octets (6: IPv6 address is 'A')
 *   's' one <character-string>      '*' the rest, opaque
 * Unknown types: "*". */
const char *rdata_shape(uint16_t type);

/* Is this valid RDATA of the type (its own names uncompressed)? ST_EPARSE; *why a static phrase. */
enum status rdata_check(uint16_t type, struct bytes rdata, const char **why) MUST_USE;
/* Canonical form (RFC 4034 6.2) into out[rdata.len]; same length as the input. */
void rdata_canonical(uint16_t type, struct bytes rdata, uint8_t *out);
/* Canonical order of two RDATAs of a type, <0 0 >0. */
int rdata_compare(uint16_t type, struct bytes a, struct bytes b);

#define RDATA_MAX 65535

/* One field token of a master file. */
struct token {
	const char *text; /* escapes still in; without the quotes */
	size_t len;
	bool quoted;
	uint32_t line;
	uint32_t column;
};

/* RDATA from a record's tokens. RFC 3597 form (\# len hex) is taken for every type. Common types by
 * our own code, the others by ldns. 'out' has RDATA_MAX octets. On ST_EPARSE *bad is the index of
 * the token at fault (count: something is missing at the end) and *why says what was expected
 * (static, or in the thread's buffer until the next call). */
enum status rdata_from_tokens(uint16_t type, const struct token *tokens, size_t count,
			      const uint8_t *origin, uint8_t *out, size_t *out_len, size_t *bad,
			      const char **why) MUST_USE;
/* Master-file text of RDATA, NUL-terminated; names absolute. ST_ESPACE where 'room' is too small.
 */
enum status rdata_to_text(uint16_t type, struct bytes rdata, char *buf, size_t room) MUST_USE;

/* Type bitmaps of NSEC and NSEC3 (RFC 4034 4.1.2). 'types' sorted, without duplicates. 'out' needs
 * at most 34 octets for each window in use. Returns octets. */
size_t bitmap_encode(const uint16_t *types, size_t count, uint8_t *out);
bool bitmap_has(struct bytes bitmap, uint16_t type);

/* Fields of RRSIG RDATA (RFC 4034 3.1). */
struct rrsig {
	uint16_t type_covered;
	uint8_t algorithm;
	uint8_t labels;
	uint32_t original_ttl;
	uint32_t expiration;
	uint32_t inception;
	uint16_t key_tag;
	const uint8_t *signer;	/* borrowed */
	struct bytes signature; /* borrowed */
};

enum status rrsig_parse(struct bytes rdata, struct rrsig *out) MUST_USE;

struct soa {
	const uint8_t *mname;
	const uint8_t *rname;
	uint32_t serial, refresh, retry, expire, minimum;
};

enum status soa_parse(struct bytes rdata, struct soa *out) MUST_USE;
