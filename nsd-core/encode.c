#include "nsd-core/encode.h"

#include "zones/rdata.h"

#define POINTER	    0xc000 /* RFC 1035 4.1.4 */
#define POINTER_MAX 0x3fff
#define RR_FIXED    10 /* type, class, TTL, RDLENGTH */

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

void encode_names(struct encoder *e, const struct name_ref *qname, unsigned zone_labels)
{
	e->qname = qname;
	e->zone_labels = zone_labels;
	e->table_made = false;
	e->name_count = 0;
}

/* Where the ancestor of the question's name that has n labels stands. */
static uint16_t question_place(const struct encoder *e, unsigned n)
{
	return (uint16_t)(DNS_HEADER_LEN + e->qname->offset[e->qname->labels - n]);
}

/* The slot that holds the name with this hash, or the free one where it belongs. */
static unsigned find_slot(const struct encoder *e, uint64_t hash, const uint8_t *name)
{
	unsigned i = (unsigned)(hash >> 32) % ENCODE_SLOTS;
	for (; e->slots[i] != 0; i = (i + 1) % ENCODE_SLOTS) {
		const struct encode_name *n = &e->names[e->slots[i] - 1];
		if (n->tag == (uint32_t)hash && name_equal(n->name, name)) {
			break;
		}
	}
	return i;
}

static void remember(struct encoder *e, uint64_t hash, const uint8_t *name, size_t at)
{
	if (e->name_count == ENCODE_NAMES_MAX || at > POINTER_MAX) {
		return;
	}
	unsigned slot = find_slot(e, hash, name);
	if (e->slots[slot] != 0) {
		return;
	}
	e->names[e->name_count++] = (struct encode_name){
		.name = name,
		.tag = (uint32_t)hash,
		.at = (uint16_t)at,
		.slot = (uint8_t)slot,
	};
	e->slots[slot] = (uint8_t)e->name_count;
}

/* Most answers name nothing but the question and its ancestors, which need no table. The zone's
 * name and what is above it are no entries: see hash_name(). */
static void make_table(struct encoder *e)
{
	const struct name_ref *q = e->qname;
	e->table_made = true;
	memset(e->slots, 0, sizeof(e->slots));
	for (unsigned n = q->labels; n > e->zone_labels; n--) {
		remember(e, q->hash[n], name_ref_at(q, n), question_place(e, n));
	}
}

/* Undoes what was written from 'pos' on. The last name to come is the first to go, so that no probe
 * sequence of an older one is broken. */
static void roll_back(struct encoder *e, uint8_t *pos)
{
	size_t len = (size_t)(pos - e->start);
	while (e->name_count > 0 && e->names[e->name_count - 1].at >= len) {
		e->slots[e->names[--e->name_count].slot] = 0;
	}
	e->pos = pos;
}

/* As name_ref_init(), but where a name ends in the zone's name, as nearly all do, that part is
 * compared and not hashed. Returns its labels; 0: another name. */
static unsigned hash_name(const struct encoder *e, const uint8_t *name, struct name_ref *ref)
{
	unsigned labels = 0;
	unsigned at = 0;
	for (; name[at] != 0; at += name[at] + 1U) {
		ref->offset[labels++] = (uint8_t)at;
	}
	ref->offset[labels] = (uint8_t)at;
	ref->wire = name;
	ref->len = (uint16_t)(at + 1);
	ref->labels = (uint8_t)labels;

	const struct name_ref *q = e->qname;
	unsigned base = 0;
	if (e->zone_labels > 0 && labels >= e->zone_labels &&
	    name_equal(name_ref_at(ref, e->zone_labels), name_ref_at(q, e->zone_labels))) {
		base = e->zone_labels;
	}
	ref->hash[base] = q->hash[base];
	for (unsigned n = base; n < labels; n++) {
		ref->hash[n + 1] = name_hash_label(ref->hash[n], name_ref_at(ref, n + 1));
	}
	return base;
}

/* The longest ancestor of a name (or itself) that is in the message; its place goes to *at. Returns
 * its labels; 0: there is none. */
static unsigned find_known(const struct encoder *e, const struct name_ref *ref, unsigned base,
			   uint16_t *at)
{
	for (unsigned n = ref->labels; n > base; n--) {
		unsigned slot = find_slot(e, ref->hash[n], name_ref_at(ref, n));
		if (e->slots[slot] != 0) {
			*at = e->names[e->slots[slot] - 1].at;
			return n;
		}
	}
	*at = base > 0 ? question_place(e, base) : 0;
	return base;
}

/* Appends a name, compressed; its place, if one can point to it, goes to *at (else 0). */
static bool put_name(struct encoder *e, const uint8_t *name, uint16_t *at)
{
	struct name_ref ref;
	uint16_t pointer;
	unsigned base = hash_name(e, name, &ref);
	if (!e->table_made) {
		make_table(e);
	}
	unsigned known = find_known(e, &ref, base, &pointer);
	size_t own = ref.offset[ref.labels - known];
	if ((size_t)(e->end - e->pos) < own + 2) {
		return false;
	}
	size_t here = (size_t)(e->pos - e->start);
	memcpy(e->pos, name, own);
	e->pos += own;
	if (known > 0) {
		be16_put(e->pos, POINTER | pointer);
		e->pos += 2;
	} else {
		*e->pos++ = 0;
	}
	for (unsigned n = ref.labels; n > known; n--) {
		remember(e, ref.hash[n], name_ref_at(&ref, n), here + ref.offset[ref.labels - n]);
	}
	*at = own == 0 ? pointer : here <= POINTER_MAX ? (uint16_t)here : 0;
	return true;
}

/* Types whose RDATA names may be compressed: those of RFC 1035 (RFC 3597 4). */
static bool type_compresses(uint16_t type)
{
	switch (type) {
	case RR_NS:
	case 3: /* MD */
	case 4: /* MF */
	case RR_CNAME:
	case RR_SOA:
	case 7: /* MB */
	case 8: /* MG */
	case 9: /* MR */
	case RR_PTR:
	case 14: /* MINFO */
	case RR_MX:
		return true;
	default:
		return false;
	}
}

static bool put_bytes(struct encoder *e, const uint8_t *data, size_t len)
{
	if ((size_t)(e->end - e->pos) < len) {
		return false;
	}
	memcpy(e->pos, data, len);
	e->pos += len;
	return true;
}

/* RDATA behind its length, which is filled in afterwards. */
static bool put_rdata_compressed(struct encoder *e, uint16_t type, struct bytes rdata)
{
	uint8_t *start = e->pos;
	const uint8_t *p = rdata.data;
	const uint8_t *end = rdata.data + rdata.len;
	for (const char *field = rdata_shape(type); *field != '\0' && p < end; field++) {
		size_t len;
		uint16_t at;
		switch (*field) {
		case 'N':
			if (!put_name(e, p, &at)) {
				return false;
			}
			p += name_len(p);
			continue;
		case '1':
		case '2':
		case '4':
			len = (size_t)(*field - '0');
			break;
		default: /* no name comes behind any other field of these types */
			len = (size_t)(end - p);
			break;
		}
		if (!put_bytes(e, p, len)) {
			return false;
		}
		p += len;
	}
	be16_put(start - 2, (uint16_t)(e->pos - start));
	return true;
}

/* Owner and what follows it up to the RDATA's length. */
static bool put_head(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at,
		     uint16_t type, size_t rdata_len)
{
	if (*owner_at == 0) {
		if (!put_name(e, r->owner, owner_at)) {
			return false;
		}
	} else {
		if (e->end - e->pos < 2) {
			return false;
		}
		be16_put(e->pos, (uint16_t)(POINTER | *owner_at));
		e->pos += 2;
	}
	if (e->end - e->pos < RR_FIXED) {
		return false;
	}
	be16_put(e->pos, type);
	be16_put(e->pos + 2, CLASS_IN);
	be32_put(e->pos + 4, r->ttl);
	be16_put(e->pos + 8, (uint16_t)rdata_len);
	e->pos += RR_FIXED;
	return true;
}

static bool put_records(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at)
{
	uint16_t type = r->rs->type;
	bool compresses = type_compresses(type);
	const uint8_t *end = r->rs->data + r->rs->size;
	for (const uint8_t *p = r->rs->data; p < end; p = rdata_next(p)) {
		struct bytes rdata = rdata_at(p);
		if (!put_head(e, r, owner_at, type, rdata.len)) {
			return false;
		}
		bool ok = compresses ? put_rdata_compressed(e, type, rdata)
				     : put_bytes(e, rdata.data, rdata.len);
		if (!ok) {
			return false;
		}
	}
	return true;
}

static bool put_signatures(struct encoder *e, const struct encode_rrset *r, uint16_t *owner_at)
{
	const uint8_t *end = r->sigs->data + r->sigs->size;
	for (const uint8_t *p = r->sigs->data; p < end; p = rdata_next(p)) {
		struct bytes rdata = rdata_at(p);
		if (!put_head(e, r, owner_at, RR_RRSIG, rdata.len) ||
		    !put_bytes(e, rdata.data, rdata.len)) {
			return false;
		}
	}
	return true;
}

bool encode_rrset(struct encoder *e, enum section section, const struct encode_rrset *r)
{
	uint8_t *begin = e->pos;
	uint16_t owner_at = r->owner_at;
	unsigned count = 0;
	bool ok = true;
	if (r->rs != NULL) {
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

bool encode_cname(struct encoder *e, const uint8_t *owner, uint16_t owner_at, uint32_t ttl,
		  const uint8_t *target)
{
	uint8_t *begin = e->pos;
	struct encode_rrset r = {.owner = owner, .ttl = ttl};
	uint16_t at = owner_at;
	uint16_t target_at;
	uint8_t *rdata = NULL;
	bool ok = put_head(e, &r, &at, RR_CNAME, 0);
	if (ok) {
		rdata = e->pos;
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
