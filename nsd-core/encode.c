#include "nsd-core/encode.h"

#include <endian.h>

#define POINTER	    0xc000 /* RFC 1035 4.1.4 */
#define POINTER_MAX 0x3fff
#define RR_FIXED    8 /* type, class, TTL */

void encode_init(struct encoder *e, uint8_t *out, size_t limit, size_t reserve,
		 const struct query *q)
{
	e->start = out;
	e->end = out + limit - reserve;
	memset(e->counts, 0, sizeof(e->counts));
	memcpy(out, q->wire, 2);
	be16_put(out + 4, q->question_len > 0);
	memcpy(out + DNS_HEADER_LEN, query_name(q), q->question_len);
	e->pos = out + DNS_HEADER_LEN + q->question_len;
}

void encode_names(struct encoder *e, const struct name_ref *qname)
{
	e->qname = qname;
	e->label_count = 0;
}

/* For a few octets: a call of memcpy() costs more than they do. */
static inline void copy_short(uint8_t *dst, const uint8_t *src, size_t len)
{
	if (len > 32) {
		memcpy(dst, src, len);
	} else if (len >= 16) {
		memcpy(dst, src, 16);
		memcpy(dst + len - 16, src + len - 16, 16);
	} else if (len >= 8) {
		memcpy(dst, src, 8);
		memcpy(dst + len - 8, src + len - 8, 8);
	} else if (len >= 4) {
		memcpy(dst, src, 4);
		memcpy(dst + len - 4, src + len - 4, 4);
	} else if (len > 0) {
		dst[0] = src[0];
		dst[len / 2] = src[len / 2];
		dst[len - 1] = src[len - 1];
	}
}

/* Parent, length and last two octets: hosts that are numbered differ there. Letters lose their
 * case, and a few other octets what sets them apart. */
static uint32_t label_tag(uint16_t parent, const uint8_t *label)
{
	unsigned len = *label;
	unsigned last = (label[len] | 0x20U) << 8 | (label[len - 1] | 0x20U);
	return (uint32_t)parent << 16 | (last ^ len);
}

/* Where the label stands with what is at 'parent' behind it; 0: nowhere. The labels of a message
 * are few: a search in a row of words is cheaper than hashing every label of every name. */
static uint16_t find_label(const struct encoder *e, uint16_t parent, const uint8_t *label)
{
	uint32_t tag = label_tag(parent, label);
	for (unsigned i = 0; i < e->label_count; i++) {
		if (e->tags[i] == tag && e->labels[i].parent == parent &&
		    name_label_equal(e->labels[i].label, label)) {
			return e->labels[i].at;
		}
	}
	return 0;
}

static void remember_label(struct encoder *e, uint16_t parent, const uint8_t *label, size_t at)
{
	e->tags[e->label_count] = label_tag(parent, label);
	e->labels[e->label_count++] = (struct encode_label){label, parent, (uint16_t)at};
}

/* Undoes what was written from 'pos' on. */
static void roll_back(struct encoder *e, uint8_t *pos)
{
	size_t len = (size_t)(pos - e->start);
	while (e->label_count > 0 && e->labels[e->label_count - 1].at >= len) {
		e->label_count--;
	}
	e->pos = pos;
}

/* A name's labels (not the root), from the first. Returns how many. */
static unsigned split_name(const uint8_t *name, uint8_t offset[NAME_MAX_LABELS + 1])
{
	unsigned labels = 0;
	unsigned at = 0;
	for (; name[at] != 0; at += name[at] + 1U) {
		offset[labels++] = (uint8_t)at;
	}
	offset[labels] = (uint8_t)at;
	return labels;
}

/* How many of the last labels of a name the question's name has too. */
static unsigned shared_labels(const struct name_ref *q, const uint8_t *name, const uint8_t *offset,
			      unsigned labels)
{
	unsigned last = offset[labels];
	unsigned tail = (unsigned)name_common_tail(name, last + 1U, q->wire, q->len);
	unsigned most = labels < q->labels ? labels : q->labels;
	unsigned shared = 0;
	/* Octets that are equal may be cut into labels otherwise. */
	while (shared < most) {
		unsigned left = last - offset[labels - shared - 1];
		if (left >= tail || left != q->len - 1U - q->offset[q->labels - shared - 1]) {
			break;
		}
		shared++;
	}
	return shared;
}

/* How many labels of a name, from the root, are in the message already: along the question's name
 * as far as that goes, then along what was written behind it. Their place goes to *at; 0: none. */
static unsigned find_known(const struct encoder *e, const uint8_t *name, const uint8_t *offset,
			   unsigned labels, uint16_t *at)
{
	const struct name_ref *q = e->qname;
	unsigned known = shared_labels(q, name, offset, labels);
	uint16_t place = known > 0 ? (uint16_t)(DNS_HEADER_LEN + q->offset[q->labels - known]) : 0;
	for (; known < labels; known++) {
		uint16_t next = find_label(e, place, name + offset[labels - known - 1]);
		if (next == 0) {
			break;
		}
		place = next;
	}
	*at = place;
	return known;
}

/* Appends a name, compressed; its place, if one can point to it, goes to *at (else 0). */
static bool put_name(struct encoder *e, const uint8_t *name, uint16_t *at)
{
	uint8_t offset[NAME_MAX_LABELS + 1];
	uint16_t known_at;
	unsigned labels = split_name(name, offset);
	unsigned known = find_known(e, name, offset, labels, &known_at);
	size_t own = offset[labels - known];
	if ((size_t)(e->end - e->pos) < own + 2) {
		return false;
	}
	size_t here = (size_t)(e->pos - e->start);
	copy_short(e->pos, name, own);
	e->pos += own;
	if (known > 0) {
		be16_put(e->pos, POINTER | known_at);
		e->pos += 2;
	} else {
		*e->pos++ = 0;
	}
	uint16_t place = known_at;
	for (unsigned i = labels - known; i > 0; i--) {
		size_t label_at = here + offset[i - 1];
		if (label_at > POINTER_MAX || e->label_count == ENCODE_LABELS_MAX) {
			break;
		}
		remember_label(e, place, name + offset[i - 1], label_at);
		place = (uint16_t)label_at;
	}
	*at = own == 0 ? known_at : here <= POINTER_MAX ? (uint16_t)here : 0;
	return true;
}

/* RDATA whose names are compressed: octets, names, octets. */
struct compressible {
	uint8_t before;
	uint8_t names; /* 0: no such type */
};

/* Those of RFC 1035 only (RFC 3597 4). */
static struct compressible compressible(uint16_t type)
{
	switch (type) {
	case RR_NS:
	case 3: /* MD */
	case 4: /* MF */
	case RR_CNAME:
	case 7: /* MB */
	case 8: /* MG */
	case 9: /* MR */
	case RR_PTR:
		return (struct compressible){0, 1};
	case RR_SOA:
	case 14: /* MINFO */
		return (struct compressible){0, 2};
	case RR_MX:
		return (struct compressible){2, 1};
	default:
		return (struct compressible){0, 0};
	}
}

static bool has_room(const struct encoder *e, size_t len)
{
	return (size_t)(e->end - e->pos) >= len;
}

/* RDATA behind its length, which is filled in afterwards. */
static bool put_rdata_compressed(struct encoder *e, struct compressible c, struct bytes rdata)
{
	const uint8_t *p = rdata.data;
	if (!has_room(e, 2U + c.before)) {
		return false;
	}
	uint8_t *start = e->pos + 2;
	copy_short(start, p, c.before);
	e->pos = start + c.before;
	p += c.before;
	for (unsigned i = 0; i < c.names; i++) {
		uint16_t at;
		if (!put_name(e, p, &at)) {
			return false;
		}
		p += name_len(p);
	}
	size_t after = (size_t)(rdata.data + rdata.len - p);
	if (!has_room(e, after)) {
		return false;
	}
	copy_short(e->pos, p, after);
	e->pos += after;
	be16_put(start - 2, (uint16_t)(e->pos - start));
	return true;
}

/* Type, class and TTL, as they go out. */
static uint64_t fixed_part(uint16_t type, uint32_t ttl)
{
	return htobe64((uint64_t)type << 48 | (uint64_t)CLASS_IN << 32 | ttl);
}

/* An owner that cannot be a pointer. */
static bool put_owner(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at)
{
	if (r->owner_at == 0) {
		return put_name(e, r->owner, owner_at);
	}
	if (!has_room(e, r->owner_own + 2U)) {
		return false;
	}
	size_t here = (size_t)(e->pos - e->start);
	copy_short(e->pos, r->owner, r->owner_own);
	e->pos += r->owner_own;
	be16_put(e->pos, POINTER | r->owner_at);
	e->pos += 2;
	*owner_at = here <= POINTER_MAX ? (uint16_t)here : 0;
	return true;
}

/* A record up to its TTL. The owner's place goes to *owner_at, where it was not known. */
static bool put_head(struct encoder *e, const struct encode_rrset *r, uint16_t type,
		     uint16_t *owner_at)
{
	bool pointer = *owner_at != 0;
	if (!pointer && !put_owner(e, r, owner_at)) {
		return false;
	}
	if (!has_room(e, 2 + RR_FIXED)) {
		return false;
	}
	if (pointer) {
		be16_put(e->pos, POINTER | *owner_at);
		e->pos += 2;
	}
	uint64_t fixed = fixed_part(type, r->ttl);
	memcpy(e->pos, &fixed, sizeof(fixed));
	e->pos += RR_FIXED;
	return true;
}

/* Records whose RDATA goes out as it is stored, its length included. */
static bool put_plain(struct encoder *e, const struct encode_rrset *r, uint16_t type,
		      struct bytes data, unsigned count, uint16_t *owner_at)
{
	const uint8_t *p = data.data;
	const uint8_t *end = p + data.len;
	while (p < end && *owner_at == 0) {
		size_t len = 2 + be16_get(p);
		if (!put_head(e, r, type, owner_at) || !has_room(e, len)) {
			return false;
		}
		copy_short(e->pos, p, len);
		e->pos += len;
		p += len;
		count--;
	}
	if (!has_room(e, (size_t)(end - p) + count * (2U + RR_FIXED))) {
		return false;
	}
	uint16_t owner = htobe16(POINTER | *owner_at);
	uint64_t fixed = fixed_part(type, r->ttl);
	uint8_t *pos = e->pos;
	while (p < end) {
		size_t len = 2U + be16_get(p);
		memcpy(pos, &owner, sizeof(owner));
		memcpy(pos + 2, &fixed, sizeof(fixed));
		pos += 2 + RR_FIXED;
		copy_short(pos, p, len);
		pos += len;
		p += len;
	}
	e->pos = pos;
	return true;
}

static bool put_compressed(struct encoder *e, const struct encode_rrset *r, struct compressible c,
			   uint16_t *owner_at)
{
	const uint8_t *end = r->rs->data + r->rs->size;
	for (const uint8_t *p = r->rs->data; p < end; p = rdata_next(p)) {
		if (!put_head(e, r, r->rs->type, owner_at) ||
		    !put_rdata_compressed(e, c, rdata_at(p))) {
			return false;
		}
	}
	return true;
}

#define SOA_FIXED 20 /* serial and times */

/* Every negative answer has one. */
static bool put_soa(struct encoder *e, const struct encode_rrset *r)
{
	struct bytes rdata = rdata_at(r->rs->data);
	size_t mname_own = r->soa_own[0];
	size_t rname_own = r->soa_own[1];
	size_t owner_len = (rdata.len - SOA_FIXED - mname_own - rname_own) / 2;
	size_t len = mname_own + 2 + rname_own + 2 + SOA_FIXED;
	if (!has_room(e, 2 + RR_FIXED + 2 + len)) {
		return false;
	}
	uint16_t owner = htobe16(POINTER | r->owner_at);
	uint64_t fixed = fixed_part(RR_SOA, r->ttl);
	uint8_t *pos = e->pos;
	memcpy(pos, &owner, sizeof(owner));
	memcpy(pos + 2, &fixed, sizeof(fixed));
	pos += 2 + RR_FIXED;
	be16_put(pos, (uint16_t)len);
	pos += 2;
	copy_short(pos, rdata.data, mname_own);
	pos += mname_own;
	memcpy(pos, &owner, sizeof(owner));
	pos += 2;
	copy_short(pos, rdata.data + mname_own + owner_len, rname_own);
	pos += rname_own;
	memcpy(pos, &owner, sizeof(owner));
	memcpy(pos + 2, rdata.data + rdata.len - SOA_FIXED, SOA_FIXED);
	e->pos = pos + 2 + SOA_FIXED;
	return true;
}

static bool put_records(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at)
{
	const struct rrset *rs = r->rs;
	if (r->soa_own != NULL && *owner_at != 0) {
		return put_soa(e, r);
	}
	struct compressible c = compressible(rs->type);
	if (c.names > 0) {
		return put_compressed(e, r, c, owner_at);
	}
	return put_plain(e, r, rs->type, (struct bytes){rs->data, rs->size}, rs->count, owner_at);
}

/* A signature that is kept without what the RRset and the zone say. */
static bool put_short(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at)
{
	const struct sigset_short *sig = sigset_short(r->sigs);
	size_t len = RRSIG_FIXED_LEN + sig->signer_len + (size_t)SIG_SHORT_LEN;
	if (!put_head(e, r, RR_RRSIG, owner_at) || !has_room(e, 2 + len)) {
		return false;
	}
	uint8_t *pos = e->pos;
	be16_put(pos, (uint16_t)len);
	sigset_put_fixed(r->sigs, r->rs, pos + 2);
	pos += 2 + RRSIG_FIXED_LEN;
	copy_short(pos, r->signer, sig->signer_len);
	pos += sig->signer_len;
	memcpy(pos, sig->signature, SIG_SHORT_LEN);
	e->pos = pos + SIG_SHORT_LEN;
	return true;
}

static bool put_signatures(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at)
{
	if (sigset_is_short(r->sigs)) {
		return put_short(e, r, owner_at);
	}
	struct bytes data = sigset_data(r->sigs, r->rs, r->signer, NULL);
	return put_plain(e, r, RR_RRSIG, data, r->sigs->count, owner_at);
}

bool encode_rrset(struct encoder *e, enum section section, const struct encode_rrset *r)
{
	uint8_t *begin = e->pos;
	uint16_t owner_at = r->owner_own > 0 ? 0 : r->owner_at;
	unsigned count = 0;
	bool ok = true;
	if (!r->only_sigs) {
		ok = put_records(e, r, &owner_at);
		count += r->rs->count;
	}
	if (ok && r->sigs != NULL) {
		ok = put_signatures(e, r, &owner_at);
		count += r->sigs->count;
	}
	if (!ok) {
		roll_back(e, begin);
		return false;
	}
	e->counts[section] = (uint16_t)(e->counts[section] + count);
	return true;
}

bool encode_record(struct encoder *e, enum section section, struct encode_record *r)
{
	const struct encode_rrset head = {.owner = r->owner,
					  .owner_at = r->owner_at,
					  .owner_own = r->owner_own,
					  .ttl = r->ttl};
	struct compressible c = compressible(r->type);
	uint8_t *begin = e->pos;
	uint16_t place = r->place;
	bool ok = put_head(e, &head, r->type, &place);
	if (ok && c.names > 0) {
		ok = put_rdata_compressed(e, c, r->rdata);
	} else if (ok && has_room(e, 2 + r->rdata.len)) {
		be16_put(e->pos, (uint16_t)r->rdata.len);
		memcpy(e->pos + 2, r->rdata.data, r->rdata.len);
		e->pos += 2 + r->rdata.len;
	} else {
		ok = false;
	}
	if (!ok) {
		roll_back(e, begin);
		return false;
	}
	r->place = place;
	e->counts[section]++;
	return true;
}

bool encode_cname(struct encoder *e, const uint8_t *owner, uint16_t owner_at, uint32_t ttl,
		  const uint8_t *target)
{
	uint8_t *begin = e->pos;
	struct encode_rrset r = {.owner = owner, .ttl = ttl};
	uint16_t at = owner_at;
	uint16_t target_at;
	uint8_t *rdata = NULL;
	bool ok = put_head(e, &r, RR_CNAME, &at) && has_room(e, 2);
	if (ok) {
		rdata = e->pos + 2;
		e->pos = rdata;
		ok = put_name(e, target, &target_at);
	}
	if (!ok) {
		roll_back(e, begin);
		return false;
	}
	be16_put(rdata - 2, (uint16_t)(e->pos - rdata));
	e->counts[SECTION_ANSWER]++;
	return true;
}

size_t encode_opt_len(const struct encode_opt *opt)
{
	size_t len = OPT_FIXED_LEN;
	if (opt->nsid != NULL) {
		len += 4 + strlen(opt->nsid);
	}
	if (opt->ede != EDE_NONE) {
		len += 4 + 2 + strlen(opt->ede_text);
	}
	return len;
}

static void put_option_head(struct encoder *e, enum edns_option code, size_t len)
{
	be16_put(e->pos, (uint16_t)code);
	be16_put(e->pos + 2, (uint16_t)len);
	e->pos += 4;
}

static void put_text(struct encoder *e, const char *text, size_t len)
{
	memcpy(e->pos, text, len);
	e->pos += len;
}

void encode_opt(struct encoder *e, const struct encode_opt *opt)
{
	uint8_t *head = e->pos;
	head[0] = 0;
	be16_put(head + 1, RR_OPT);
	be16_put(head + 3, opt->size);
	be32_put(head + 5, (uint32_t)opt->rcode_high << 24 | (opt->dnssec_ok ? EDNS_DO : 0));
	e->pos += OPT_FIXED_LEN;
	if (opt->nsid != NULL) {
		size_t len = strlen(opt->nsid);
		put_option_head(e, EDNS_NSID, len);
		put_text(e, opt->nsid, len);
	}
	if (opt->ede != EDE_NONE) {
		size_t len = strlen(opt->ede_text);
		put_option_head(e, EDNS_EDE, 2 + len);
		be16_put(e->pos, (uint16_t)opt->ede);
		e->pos += 2;
		put_text(e, opt->ede_text, len);
	}
	be16_put(head + 9, (uint16_t)(e->pos - head - OPT_FIXED_LEN));
	e->counts[SECTION_ADDITIONAL]++;
}

size_t encode_finish(struct encoder *e, uint16_t flags, enum rcode rcode)
{
	be16_put(e->start + 2, (uint16_t)(flags | (rcode & 15)));
	for (unsigned i = 0; i < SECTION_COUNT; i++) {
		be16_put(e->start + 6 + 2 * i, e->counts[i]);
	}
	return (size_t)(e->pos - e->start);
}
