#include "nsd-core/answer_plan.h"

#include "zones/rdata.h"

#include <assert.h>

uint16_t plan_place(const struct plan *p, unsigned labels)
{
	const struct name_ref *name = &p->found->name;
	if (p->current != name || labels == 0) {
		return 0;
	}
	return (uint16_t)(DNS_HEADER_LEN + name->offset[name->labels - labels]);
}

struct plan_item *plan_add(struct plan *p, enum section section, const struct node *node,
			   struct rrset *rs, const uint8_t *owner)
{
	assert(p->item_count < PLAN_ITEMS_MAX);
	struct plan_item *item = &p->items[p->item_count++];
	*item = (struct plan_item){
		.set = {.owner = owner, .ttl = rs != NULL ? rs->ttl : 0, .rs = rs},
		.node = node,
		.rs = rs,
		.section = (uint8_t)section,
		.zone = (uint8_t)(p->zone_count - 1),
		.sign = plan_here(p)->dnssec,
	};
	return item;
}

/* Types whose RDATA names a host (RFC 1035 3.3, RFC 2782, RFC 9460 4.1). */
static bool names_hosts(uint16_t type)
{
	return type == RR_NS || type == RR_MX || type == RR_SRV || type == RR_SVCB ||
	       type == RR_HTTPS;
}

/* An RRset of the current name, perhaps from a wildcard. */
static struct plan_item *add_answer(struct plan *p, const struct node *node, struct rrset *rs)
{
	struct plan_item *item = plan_add(p, SECTION_ANSWER, node, rs, p->current->wire);
	item->set.owner_at = plan_place(p, p->current->labels);
	item->additional = names_hosts(rs->type);
	return item;
}

/* QTYPE ANY gets one RRset of the name (RFC 8482 4.1), the lowest type; denial records only where
 * there is nothing else. */
static struct rrset *pick_any(const struct node *node)
{
	struct rrset *last = NULL;
	for (unsigned i = 0; i < node->rrset_count; i++) {
		last = node->rrsets[i];
		if (last->type != RR_NSEC) {
			break;
		}
	}
	return last;
}

/* QTYPE RRSIG gets the signatures of one RRset (RFC 8482 7). Where none is there yet, one is worth
 * waiting for only if the client wants DNSSEC and the zone's signer can make it. */
static struct rrset *pick_signed(const struct plan_zone *z, const struct node *node)
{
	if (!z->version->is_signed) {
		return NULL;
	}
	for (unsigned i = 0; i < node->rrset_count; i++) {
		if (rrset_sigs(node->rrsets[i]) != NULL) {
			return node->rrsets[i];
		}
	}
	bool wait = z->dnssec && z->version->keys != NULL && !z->zone->ds_never_seen;
	return wait && node->rrset_count > 0 ? node->rrsets[0] : NULL;
}

/* The RRset of the node that answers the question; NULL: none. */
static struct rrset *pick(const struct plan *p, const struct node *node)
{
	switch (p->query->qtype) {
	case RR_ANY:
		return pick_any(node);
	case RR_RRSIG:
		return pick_signed(plan_here(p), node);
	default:
		return node_rrset(node, p->query->qtype);
	}
}

/* What an alias itself owns is not looked for behind it (RFC 4035 2.5). */
static struct rrset *pick_cname(const struct plan *p, const struct node *node)
{
	switch (p->query->qtype) {
	case RR_ANY:
	case RR_RRSIG:
	case RR_NSEC:
		return NULL;
	default:
		return node_rrset(node, RR_CNAME);
	}
}

/* The node stands for the current name. Returns where a CNAME leads, or NULL: the end. */
static const uint8_t *plan_node(struct plan *p, const struct node *node, bool wildcard)
{
	struct rrset *rs = pick(p, node);
	struct rrset *cname = rs == NULL ? pick_cname(p, node) : NULL;
	if (rs == NULL && cname == NULL) {
		plan_soa(p);
		if (wildcard) {
			plan_proof_wildcard_nodata(p, node);
		} else {
			plan_proof_nodata(p, node);
		}
		return NULL;
	}
	struct plan_item *item = add_answer(p, node, rs != NULL ? rs : cname);
	if (p->query->qtype == RR_RRSIG) {
		item->set.only_sigs = true;
		item->sign = true;
	}
	if (wildcard) {
		plan_proof_wildcard(p, node);
	}
	return cname != NULL ? rdata_at(cname->data).data : NULL;
}

static void plan_cut(struct plan *p, const struct node *cut)
{
	struct rrset *ns = node_rrset(cut, RR_NS);
	struct plan_item *item = plan_add(p, SECTION_AUTHORITY, cut, ns, node_name(cut));
	item->set.owner_at = plan_place(p, cut->labels);
	item->sign = false;
	item->additional = true;
	p->referral = true;
	plan_proof_cut(p, cut);
}

static bool has_answer(const struct plan *p, const struct rrset *rs)
{
	for (unsigned i = 0; i < p->item_count; i++) {
		if (p->items[i].rs == rs && p->items[i].section == SECTION_ANSWER) {
			return true;
		}
	}
	return false;
}

/* RFC 6672 2.2, 3.1: the DNAME, and a CNAME made for the current name. Returns where that leads. */
static const uint8_t *plan_dname(struct plan *p, const struct node *node)
{
	struct rrset *dname = node_rrset(node, RR_DNAME);
	assert(dname != NULL);
	if (!has_answer(p, dname)) {
		struct plan_item *item = plan_add(p, SECTION_ANSWER, node, dname, node_name(node));
		item->set.owner_at = plan_place(p, node->labels);
	}
	uint8_t *target = p->names[p->name_count];
	size_t prefix_len = p->current->offset[p->current->labels - node->labels];
	size_t len;
	if (name_join(p->current->wire, prefix_len, rdata_at(dname->data).data, target, &len) !=
	    ST_OK) {
		p->rcode = RCODE_YXDOMAIN;
		return NULL;
	}
	p->name_count++;
	struct plan_item *cname = plan_add(p, SECTION_ANSWER, node, NULL, p->current->wire);
	cname->set.owner_at = plan_place(p, p->current->labels);
	cname->target = target;
	cname->set.ttl = dname->ttl;
	cname->sign = false;
	/* A question for the CNAME has its answer. */
	return p->query->qtype == RR_CNAME ? NULL : target;
}

/* The current name's zone takes part, at version v; NULL: there is none, or it was never loaded. */
static bool add_zone(struct plan *p, struct zone *zone, struct version *v)
{
	/* What was found before the chain led here stands by itself. */
	bool first = p->zone_count == 0;
	if (v == NULL && first) {
		p->rcode = zone == NULL ? RCODE_REFUSED : RCODE_SERVFAIL;
		p->ede = zone == NULL ? EDE_NOT_AUTHORITATIVE : EDE_NOT_READY;
	}
	if (v == NULL) {
		return false;
	}
	p->zones[p->zone_count++] = (struct plan_zone){
		.zone = zone,
		.version = v,
		.dnssec = p->query->dnssec_ok && v->is_signed,
	};
	return true;
}

/* The zone that answers for where the chain led, at its present version. */
static bool enter_zone(struct plan *p)
{
	struct zone *zone = find_zone(p->db, p->current, p->query->qtype);
	struct version *v = NULL;
	/* One answer sees one version of a zone. */
	for (unsigned i = 0; i < p->zone_count; i++) {
		if (p->zones[i].zone == zone) {
			v = p->zones[i].version;
		}
	}
	if (v == NULL && zone != NULL && !zone->is_hidden) {
		v = rcu_load(&zone->cur);
	}
	return add_zone(p, zone, v);
}

/* Plans for the current name, which leads there. Returns the next one, or NULL. */
static const uint8_t *plan_name(struct plan *p, const struct lookup *lk)
{
	switch (lk->kind) {
	case LOOKUP_NODE:
		return plan_node(p, lk->node, false);
	case LOOKUP_WILDCARD:
		return plan_node(p, lk->node, true);
	case LOOKUP_CUT:
		plan_cut(p, lk->node);
		return NULL;
	case LOOKUP_DNAME:
		return plan_dname(p, lk->node);
	case LOOKUP_NXDOMAIN:
		break;
	}
	p->rcode = RCODE_NXDOMAIN;
	plan_soa(p);
	plan_proof_nxdomain(p, lk->encloser);
	return NULL;
}

/* Did the chain pass this name already? Then it is a loop, and ends. */
static bool passed(const struct plan *p, const uint8_t *name)
{
	for (unsigned i = 0; i < p->item_count; i++) {
		const struct plan_item *item = &p->items[i];
		bool cname = item->rs == NULL || item->rs->type == RR_CNAME;
		if (cname && name_equal(item->set.owner, name)) {
			return true;
		}
	}
	return false;
}

/* Follows a CNAME or DNAME to its target. Returns the next one, or NULL. */
static const uint8_t *plan_target(struct plan *p, const uint8_t *target)
{
	struct lookup lk;
	name_ref_init(&p->chained, target);
	p->current = &p->chained;
	if (!enter_zone(p)) {
		return NULL;
	}
	version_lookup(plan_here(p)->version, p->current, p->query->qtype == RR_DS, &lk);
	return plan_name(p, &lk);
}

void plan_answer(struct plan *p, const struct zonedb *db, const struct found *f)
{
	p->query = f->query;
	p->db = db;
	p->found = f;
	p->current = &f->name;
	p->rcode = RCODE_NOERROR;
	p->ede = EDE_NONE;
	p->referral = false;
	p->zone_count = 0;
	p->item_count = 0;
	p->name_count = 0;
	if (!add_zone(p, f->zone, f->version)) {
		return;
	}
	p->authoritative = f->lookup.found.kind != LOOKUP_CUT;
	const uint8_t *next = plan_name(p, &f->lookup.found);
	while (next != NULL && p->zone_count < PLAN_NAMES_MAX && !passed(p, next)) {
		next = plan_target(p, next);
	}
}
