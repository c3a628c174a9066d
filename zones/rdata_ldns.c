/* The types that are rare and have intricate text forms (LOC, APL, IPSECKEY, HIP, ...): ldns reads
 * and writes them. For the load path only: ldns allocates for every field. */
#include "zones/rdata_types.h"

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
		size += p->tokens[i].len + 3;
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
		if (t->quoted) {
			line[pos++] = '"';
		}
		memcpy(line + pos, t->text, t->len);
		pos += t->len;
		if (t->quoted) {
			line[pos++] = '"';
		}
	}
	line[pos] = '\0';
	return line;
}

static bool tokens_have(const struct rdata_parse *p, const char *octets, size_t count)
{
	for (size_t i = 0; i < p->count; i++) {
		for (size_t j = 0; j < count; j++) {
			if (memchr(p->tokens[i].text, octets[j], p->tokens[i].len) != NULL) {
				return true;
			}
		}
	}
	return false;
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
	/* ldns takes the line as a C string and reads comments, parentheses and lines itself. */
	if (tokens_have(p, "\0\n\r;()", 6)) {
		return rdata_expected(p, "expected plain text");
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

enum status rdata_ldns_check(uint16_t type, struct bytes rdata, const char **why)
{
	const ldns_rr_descriptor *d = descriptor(type);
	ldns_rr *rr;
	if (d == NULL) {
		return ST_OK; /* unknown: opaque (RFC 3597) */
	}
	/* ldns takes a LOC of any size; version 0 has this one (RFC 1876 2). */
	bool sized = type != LDNS_RR_TYPE_LOC || rdata.len == 16;
	enum status st = sized ? rr_from_wire(type, rdata, &rr) : ST_EPARSE;
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

static enum status text_is(const char *text, struct bytes rdata)
{
	ldns_rr *rr = NULL;
	ldns_status lst = ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL);
	if (lst != LDNS_STATUS_OK) {
		return lst == LDNS_STATUS_MEM_ERR ? ST_ENOMEM : ST_ENOTSUP;
	}
	enum status st = rr_is(rr, rdata);
	ldns_rr_free(rr);
	return st == ST_EPARSE ? ST_ENOTSUP : st;
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
	text = ldns_rr2str(rr);
	if (text == NULL) {
		st = ST_ENOMEM;
		goto out;
	}
	text[strcspn(text, "\n")] = '\0';
	const char *part = rdata_part(text);
	st = part == NULL || strpbrk(part, ";()") != NULL ? ST_ENOTSUP : text_is(text, rdata);
	if (st == ST_OK) {
		size_t len = strlen(part);
		text_put(t, part, len - (len > 0 && part[len - 1] == ' '));
	}
out:
	free(text);
	ldns_rr_free(rr);
	return st;
}
