#include "nsd-core/query.h"

/* Steps over a name that may be compressed; where a pointer leads is nobody's concern here. */
static void skip_name(struct wreader *r)
{
	for (;;) {
		uint8_t len = wreader_u8(r);
		if (r->err != ST_OK || len == 0) {
			return;
		}
		if (len >= 0xc0) {
			wreader_u8(r);
			return;
		}
		if (len > 63) {
			wreader_fail(r);
			return;
		}
		wreader_bytes(r, len);
	}
}

/* Options of version 0 (RFC 6891 6.1.2): unknown ones are ignored, their lengths must add up. */
static enum status parse_options(struct query *q, struct bytes options)
{
	struct wreader r;
	wreader_init(&r, options.data, options.len);
	while (wreader_left(&r) > 0) {
		uint16_t code = wreader_u16(&r);
		wreader_bytes(&r, wreader_u16(&r));
		if (r.err == ST_OK && code == EDNS_NSID) {
			q->nsid = true;
		}
	}
	return r.err;
}

static enum status parse_opt(struct query *q, bool root, uint16_t size, uint32_t ttl,
			     struct bytes options)
{
	if (q->edns || !root) {
		return ST_EPARSE;
	}
	uint8_t version = (uint8_t)(ttl >> 16);
	/* What the options of a later version look like is unknown: BADVERS comes first. */
	if (version == 0) {
		enum status st = parse_options(q, options);
		if (st != ST_OK) {
			return st;
		}
	}
	q->edns = true;
	q->edns_version = version;
	q->edns_size = size;
	q->dnssec_ok = (ttl & EDNS_DO) != 0;
	return ST_OK;
}

/* Is this the RDATA of a TSIG (RFC 8945 4.2)? */
static bool tsig_rdata_good(struct bytes rdata)
{
	struct wreader r;
	wreader_init(&r, rdata.data, rdata.len);
	wreader_name(&r);
	wreader_bytes(&r, 6 + 2); /* time signed, fudge */
	wreader_bytes(&r, wreader_u16(&r));
	wreader_bytes(&r, 2 + 2); /* original ID, error */
	wreader_bytes(&r, wreader_u16(&r));
	return r.err == ST_OK && wreader_left(&r) == 0;
}

/* One record behind the question. OPT and TSIG have their places; what else a client sends (an SOA
 * with an IXFR question, say) only has to be well-formed. */
static enum status parse_record(struct query *q, struct wreader *r, bool additional, bool last)
{
	size_t at = (size_t)(r->pos - r->start);
	skip_name(r);
	bool root = (size_t)(r->pos - r->start) == at + 1;
	uint16_t type = wreader_u16(r);
	uint16_t rrclass = wreader_u16(r);
	uint32_t ttl = wreader_u32(r);
	struct bytes rdata = wreader_bytes(r, wreader_u16(r));
	if (r->err != ST_OK) {
		return r->err;
	}
	if (type == RR_OPT) {
		return additional ? parse_opt(q, root, rrclass, ttl, rdata) : ST_EPARSE;
	}
	if (type == RR_TSIG) {
		if (!additional || !last || rrclass != CLASS_ANY || ttl != 0 ||
		    !tsig_rdata_good(rdata)) {
			return ST_EPARSE;
		}
		q->tsig_at = (uint16_t)at;
	}
	return ST_OK;
}

static bool is_bare_opt(const uint8_t *p, size_t len)
{
	return len >= OPT_FIXED_LEN && p[0] == 0 && be16_get(p + 1) == RR_OPT &&
	       be16_get(p + 9) == 0;
}

static enum status parse_records(struct query *q, struct wreader *r)
{
	unsigned others = be16_get(q->wire + 6) + be16_get(q->wire + 8);
	unsigned total = others + be16_get(q->wire + 10);
	/* Most resolvers send an OPT record without options, and nothing else. */
	if (others == 0 && total == 1 && is_bare_opt(r->pos, (size_t)(r->end - r->pos))) {
		const uint8_t *opt = r->pos;
		return parse_opt(q, true, be16_get(opt + 3), be32_get(opt + 5),
				 (struct bytes){opt + OPT_FIXED_LEN, 0});
	}
	for (unsigned i = 0; i < total; i++) {
		enum status st = parse_record(q, r, i >= others, i + 1 == total);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

static enum status parse_question(struct query *q, struct wreader *r)
{
	struct bytes name = wreader_name(r);
	uint16_t qtype = wreader_u16(r);
	uint16_t qclass = wreader_u16(r);
	if (r->err != ST_OK) {
		return r->err;
	}
	q->question_len = (uint16_t)(name.len + 4);
	q->qtype = qtype;
	q->qclass = qclass;
	return ST_OK;
}

enum query_verdict query_parse(const uint8_t *wire, size_t len, struct query *q, enum rcode *rcode)
{
	if (len < DNS_HEADER_LEN || len > UINT16_MAX) {
		return QUERY_DROP;
	}
	uint16_t flags = be16_get(wire + 2);
	if ((flags & HEADER_QR) != 0) {
		return QUERY_DROP;
	}
	*q = (struct query){
		.wire = wire,
		.flags = flags,
		.opcode = (uint8_t)(flags >> 11 & 15),
	};
	/* What other opcodes put behind the header is theirs to say. */
	if (q->opcode != OPCODE_QUERY && q->opcode != OPCODE_NOTIFY) {
		*rcode = RCODE_NOTIMP;
		return QUERY_ERROR;
	}
	*rcode = RCODE_FORMERR;
	uint16_t questions = be16_get(wire + 4);
	if (questions > 1) {
		return QUERY_ERROR;
	}
	struct wreader r;
	wreader_init(&r, wire, len);
	wreader_bytes(&r, DNS_HEADER_LEN);
	if (questions == 1 && parse_question(q, &r) != ST_OK) {
		return QUERY_ERROR;
	}
	/* Octets behind the last record are ignored, as NSD and BIND do. */
	if (parse_records(q, &r) != ST_OK) {
		/* An OPT out of a broken message is not to be believed. */
		q->edns = false;
		q->tsig_at = 0;
		return QUERY_ERROR;
	}
	if (q->edns_version != 0) {
		*rcode = RCODE_BADVERS;
		return QUERY_ERROR;
	}
	return questions == 1 ? QUERY_GOOD : QUERY_ERROR;
}
