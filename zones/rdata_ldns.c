/* The types that are rare and have intricate text forms (LOC, APL, IPSECKEY, HIP, ...): ldns reads
 * and writes them. For the load path only: ldns allocates for every field. */
#include "zones/rdata_types.h"

#include "zones/scan.h"

#include <ldns/ldns.h>
#include <stdlib.h>

/* NULL where ldns has no description of the type. */
static const ldns_rr_descriptor *descriptor(uint16_t type)
{
	const ldns_rr_descriptor *d = ldns_rr_descript(type);
	/* For WKS ldns asks the C library for services by name, which threads may not do at once.
	 */
	if (type == LDNS_RR_TYPE_WKS) {
		return NULL;
	}
	/* What stands in for unknown types is one of variable shape without a name. */
	if (d == NULL || d->_type != type || d->_name == NULL ||
	    strncmp(d->_name, "TYPE", 4) == 0) {
		return NULL;
	}
	return d;
}

static ldns_rdf *origin_rdf(const uint8_t *origin)
{
	static const uint8_t root[1] = {0};
	const uint8_t *name = origin == NULL ? root : origin;
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name_len(name), name);
}

/* "TYPE text": heap; NULL when memory is out or a NUL stands in the text. */
static char *record_line(const ldns_rr_descriptor *d, const struct rdata_parse *p)
{
	size_t size = strlen(d->_name) + sizeof(". 0 IN  ");
	for (size_t i = 0; i < p->count; i++) {
		size += p->tokens[i].len + 1;
	}
	char *line = malloc(size);
	if (line == NULL) {
		return NULL;
	}
	int head = snprintf(line, size, ". 0 IN %s", d->_name);
	size_t pos = (size_t)head;
	for (size_t i = 0; i < p->count; i++) {
		const struct token *t = &p->tokens[i];
		line[pos++] = ' ';
		memcpy(line + pos, t->text, t->len);
		pos += t->len;
	}
	line[pos] = '\0';
	return line;
}

/* ldns takes the line as a C string, reads comments, parentheses and lines itself, and divides it
 * at every blank: a quote is a letter to it where no string is due, and none of these types has a
 * string. */
static enum status check_plain(struct rdata_parse *p)
{
	for (p->next = 0; p->next < p->count; p->next++) {
		const struct token *t = &p->tokens[p->next];
		bool plain = !t->quoted;
		for (size_t i = 0; i < t->len && plain; i++) {
			plain = memchr("\0\n\r;()", t->text[i], 6) == NULL;
		}
		if (!plain) {
			return rdata_expected(p, "expected plain text");
		}
	}
	p->next = 0;
	return ST_OK;
}

/* Octets before the RDATA of a record whose owner is the root. */
#define HEAD 11

static enum status rr_rdata(const ldns_rr *rr, struct wwriter *w)
{
	uint8_t *wire = NULL;
	size_t len = 0;
	ldns_status st = ldns_rr2wire(&wire, rr, LDNS_SECTION_ANSWER, &len);
	if (st == LDNS_STATUS_MEM_ERR) {
		return ST_ENOMEM;
	}
	if (st != LDNS_STATUS_OK || len < HEAD) {
		LDNS_FREE(wire);
		return ST_EPARSE;
	}
	wwriter_put(w, wire + HEAD, len - HEAD);
	LDNS_FREE(wire);
	return ST_OK;
}

enum status rdata_ldns_parse(uint16_t type, struct rdata_parse *p)
{
	const ldns_rr_descriptor *d = descriptor(type);
	enum status st = ST_ENOMEM;
	char *line = NULL;
	ldns_rdf *origin = NULL;
	ldns_rr *rr = NULL;
	if (d == NULL) {
		return ST_ENOTSUP;
	}
	if (check_plain(p) != ST_OK) {
		return ST_EPARSE;
	}
	line = record_line(d, p);
	origin = origin_rdf(p->origin);
	if (line == NULL || origin == NULL) {
		goto out;
	}
	ldns_status lst = ldns_rr_new_frm_str(&rr, line, 0, origin, NULL);
	if (lst == LDNS_STATUS_MEM_ERR) {
		goto out;
	}
	if (lst != LDNS_STATUS_OK) {
		st = rdata_expected(p, rdata_why("valid RDATA", ldns_get_errorstr_by_id(lst)));
		goto out;
	}
	st = rr_rdata(rr, &p->w);
	if (st == ST_EPARSE) {
		p->why = "expected valid RDATA";
	}
out:
	ldns_rr_free(rr);
	ldns_rdf_deep_free(origin);
	free(line);
	return st;
}

static enum status rr_from_wire(uint16_t type, struct bytes rdata, ldns_rr **out)
{
	size_t len = HEAD + rdata.len;
	size_t pos = 0;
	uint8_t *wire = malloc(len);
	if (wire == NULL) {
		return ST_ENOMEM;
	}
	memset(wire, 0, HEAD);
	be16_put(wire + 1, type);
	be16_put(wire + 3, CLASS_IN);
	be16_put(wire + 9, (uint16_t)rdata.len);
	if (rdata.len > 0) {
		memcpy(wire + HEAD, rdata.data, rdata.len);
	}
	ldns_rr *rr = NULL;
	ldns_status lst = ldns_wire2rr(&rr, wire, len, &pos, LDNS_SECTION_ANSWER);
	free(wire);
	if (lst != LDNS_STATUS_OK || pos != len) {
		if (lst == LDNS_STATUS_OK) {
			ldns_rr_free(rr);
		}
		return lst == LDNS_STATUS_MEM_ERR ? ST_ENOMEM : ST_EPARSE;
	}
	*out = rr;
	return ST_OK;
}

/* Does the record say again just what was read? If not, ldns overlooked something. */
static enum status rr_is(const ldns_rr *rr, struct bytes rdata)
{
	uint8_t *wire = NULL;
	size_t len = 0;
	ldns_status lst = ldns_rr2wire(&wire, rr, LDNS_SECTION_ANSWER, &len);
	bool same = lst == LDNS_STATUS_OK && len == HEAD + rdata.len &&
		    (rdata.len == 0 || memcmp(wire + HEAD, rdata.data, rdata.len) == 0);
	LDNS_FREE(wire);
	return lst == LDNS_STATUS_MEM_ERR ? ST_ENOMEM : same ? ST_OK : ST_EPARSE;
}

/* RFC 1876 2: centimetres as a digit and a power of ten, neither above 9. */
static bool loc_size_valid(uint8_t size)
{
	return size >> 4 <= 9 && (size & 0xf) <= 9;
}

/* RFC 1876 2: thousandths of a second of arc, 2^31 at the equator and the prime meridian. */
static bool loc_angle_valid(uint32_t angle, uint32_t degrees)
{
	uint32_t zero = (uint32_t)1 << 31;
	uint32_t distance = angle > zero ? angle - zero : zero - angle;
	return distance <= degrees * 3600000;
}

static enum status loc_check(struct bytes rdata, const char **why)
{
	const uint8_t *p = rdata.data;
	if (rdata.len != 16 || p[0] != 0) {
		*why = "expected 16 octets of LOC version 0";
	} else if (!loc_size_valid(p[1]) || !loc_size_valid(p[2]) || !loc_size_valid(p[3])) {
		*why = "expected a LOC size and precisions of at most 90000000.00 m";
	} else if (!loc_angle_valid(be32_get(p + 4), 90)) {
		*why = "expected a latitude of at most 90 degrees";
	} else if (!loc_angle_valid(be32_get(p + 8), 180)) {
		*why = "expected a longitude of at most 180 degrees";
	} else {
		return ST_OK;
	}
	return ST_EPARSE;
}

/* RFC 3123 4: items of family, prefix and, behind the negation bit, the length of the address part;
 * ldns takes them as they come. */
static enum status apl_check(struct bytes rdata, const char **why)
{
	struct wreader r;
	wreader_init(&r, rdata.data, rdata.len);
	while (r.err == ST_OK && wreader_left(&r) > 0) {
		uint16_t family = wreader_u16(&r);
		uint8_t prefix = wreader_u8(&r);
		size_t len = wreader_u8(&r) & 0x7f;
		/* IPv4, IPv6; the others' addresses are not known. */
		size_t most = family == 1 ? 4 : family == 2 ? 16 : 0x7f;
		wreader_bytes(&r, len);
		if (len > most || (family <= 2 && prefix > most * 8)) {
			*why = "expected address prefixes that fit their families";
			return ST_EPARSE;
		}
	}
	if (r.err != ST_OK) {
		*why = "expected whole address prefixes";
		return ST_EPARSE;
	}
	return ST_OK;
}

/* What ldns does not ask, in text or in wire. */
static enum status strict_check(uint16_t type, struct bytes rdata, const char **why)
{
	switch (type) {
	case LDNS_RR_TYPE_LOC:
		return loc_check(rdata, why);
	case LDNS_RR_TYPE_APL:
		return apl_check(rdata, why);
	default:
		return ST_OK;
	}
}

enum status rdata_ldns_check(uint16_t type, struct bytes rdata, const char **why)
{
	const ldns_rr_descriptor *d = descriptor(type);
	ldns_rr *rr;
	if (d == NULL) {
		return ST_OK; /* unknown: opaque (RFC 3597) */
	}
	if (strict_check(type, rdata, why) != ST_OK) {
		return ST_EPARSE;
	}
	enum status st = rr_from_wire(type, rdata, &rr);
	if (st == ST_OK) {
		st = ldns_rr_rd_count(rr) < ldns_rr_descriptor_minimum(d) ? ST_EPARSE
									  : rr_is(rr, rdata);
		ldns_rr_free(rr);
	}
	if (st == ST_EPARSE) {
		*why = "expected valid RDATA of the type";
	}
	return st;
}

/* The RDATA's part of a record's text: what follows owner, TTL, class and type. */
static const char *rdata_part(const char *text)
{
	for (int i = 0; i < 4 && text != NULL; i++) {
		text = strchr(text, '\t');
		text = text == NULL ? NULL : text + 1;
	}
	return text;
}

/* Do we, who divide a line in another way than ldns, read these octets in the text? Names that are
 * not absolute end in an origin that no record has here, and differ. ST_ENOTSUP: no. */
static enum status text_is(uint16_t type, const char *text, struct bytes rdata)
{
	static const uint8_t origin[] = "\1-";
	struct scan s;
	size_t len;
	size_t bad;
	const char *why;
	uint8_t *again = malloc(RDATA_MAX);
	if (again == NULL) {
		return ST_ENOMEM;
	}
	scan_init(&s, text, strlen(text), 1);
	enum status st = scan_next(&s);
	if (st == ST_OK || st == ST_ENOENT) {
		st = rdata_from_tokens(type, s.tokens, s.count, origin, again, &len, &bad, &why);
	}
	if (st == ST_OK && (len != rdata.len || memcmp(again, rdata.data, len) != 0)) {
		st = ST_ENOTSUP;
	}
	scan_fini(&s);
	free(again);
	return st == ST_EPARSE ? ST_ENOTSUP : st;
}

/* The record as ldns writes it, heap. ST_ENOTSUP where ldns finds no text for what it read. */
static enum status rr_text(const ldns_rr *rr, char **out)
{
	ldns_buffer *b = ldns_buffer_new(LDNS_MIN_BUFLEN);
	if (b == NULL) {
		return ST_ENOMEM;
	}
	ldns_status lst = ldns_rr2buffer_str(b, rr);
	char *text = lst == LDNS_STATUS_OK ? ldns_buffer_export2str(b) : NULL;
	ldns_buffer_free(b);
	if (text == NULL) {
		return lst == LDNS_STATUS_OK || lst == LDNS_STATUS_MEM_ERR ? ST_ENOMEM : ST_ENOTSUP;
	}
	*out = text;
	return ST_OK;
}

enum status rdata_ldns_text(uint16_t type, struct bytes rdata, struct text_out *t)
{
	ldns_rr *rr = NULL;
	char *text = NULL;
	if (descriptor(type) == NULL) {
		return ST_ENOTSUP;
	}
	enum status st = rr_from_wire(type, rdata, &rr);
	if (st != ST_OK) {
		return st == ST_EPARSE ? ST_ENOTSUP : st;
	}
	st = rr_text(rr, &text);
	if (st != ST_OK) {
		goto out;
	}
	text[strcspn(text, "\n")] = '\0';
	const char *part = rdata_part(text);
	st = part == NULL ? ST_ENOTSUP : text_is(type, part, rdata);
	if (st == ST_OK) {
		size_t len = strlen(part);
		text_put(t, part, len - (len > 0 && part[len - 1] == ' '));
	}
out:
	free(text);
	ldns_rr_free(rr);
	return st;
}
