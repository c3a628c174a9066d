/* Addresses of the hosts that an answer names. They are looked up while they are written: none of
 * them is ever waited for, so no plan is needed. */
#include "nsd-core/answer_plan.h"
#include "signer/signer.h"
#include "zones/rdata.h"

/* Hosts whose addresses went in: two records of one RRset may name the same one. More than these
 * are not looked after; a referral's hosts differ from each other anyway. */
#define HOSTS_MAX 32

struct additional {
	const struct plan *plan;
	struct encoder *encoder;
	int64_t now;
	const struct node *hosts[HOSTS_MAX];
	unsigned host_count;
};

/* The host name in an RDATA of one of the types that want addresses. */
static const uint8_t *host_of(uint16_t type, struct bytes rdata)
{
	switch (type) {
	case RR_MX:
	case RR_SVCB:
	case RR_HTTPS:
		return rdata.data + 2;
	case RR_SRV:
		return rdata.data + 6;
	default: /* NS */
		return rdata.data;
	}
}

/* May the node's addresses go out with an RRset of this type? Glue for name servers only. */
static bool host_usable(const struct node *host, uint16_t type)
{
	return type == RR_NS || (host->flags & (NODE_CUT | NODE_OCCLUDED)) == 0;
}

static bool was_added(const struct additional *a, const struct node *host)
{
	for (unsigned i = 0; i < a->host_count; i++) {
		if (a->hosts[i] == host) {
			return true;
		}
	}
	return false;
}

/* Is the RRset in the answer already? */
static bool was_answered(const struct plan *p, const struct rrset *rs)
{
	for (unsigned i = 0; i < p->item_count; i++) {
		if (p->items[i].rs == rs) {
			return true;
		}
	}
	return false;
}

/* False: it did not fit. What lacks a good signature is of no use to a validator, and left out,
 * unless the zone is not known to be signed. */
static bool add_addresses(struct additional *a, const struct plan_zone *z, const struct node *host,
			  uint16_t type)
{
	struct rrset *rs = node_rrset(host, type);
	if (rs == NULL || was_answered(a->plan, rs)) {
		return true;
	}
	struct encode_rrset r = {.owner = node_name(host), .ttl = rs->ttl, .rs = rs};
	if (z->dnssec && signer_covers(host, rs)) {
		r.sigs = signer_valid(rs, a->now);
		r.signer = z->version->apex_name;
		if (r.sigs == NULL && z->version->keys != NULL && !z->zone->ds_never_seen) {
			return true;
		}
	}
	return encode_rrset(a->encoder, SECTION_ADDITIONAL, &r);
}

/* The node whose addresses go with a host's name in an item; NULL: none do, or they did already. */
static const struct node *find_host(struct additional *a, const struct plan_item *item,
				    const uint8_t *name)
{
	const struct version *v = a->plan->zones[item->zone].version;
	const struct node *host = found_host(a->plan->found, v, name);
	if (host == NULL || !host_usable(host, item->rs->type) || was_added(a, host)) {
		return NULL;
	}
	if (a->host_count < HOSTS_MAX) {
		a->hosts[a->host_count++] = host;
	}
	return host;
}

static bool add_host(struct additional *a, const struct plan_item *item, const uint8_t *name)
{
	const struct plan_zone *z = &a->plan->zones[item->zone];
	const struct node *host = find_host(a, item, name);
	if (host == NULL) {
		return true;
	}
	bool v4 = add_addresses(a, z, host, RR_A);
	bool v6 = add_addresses(a, z, host, RR_AAAA);
	return v4 && v6;
}

static void add_hosts(struct additional *a, const struct plan_item *item)
{
	const uint8_t *end = item->rs->data + item->rs->size;
	for (const uint8_t *p = item->rs->data; p < end; p = rdata_next(p)) {
		(void)add_host(a, item, host_of(item->rs->type, rdata_at(p)));
	}
}

/* A referral's glue. Name servers below the cut come first: nobody else can say where they are, so
 * that a referral without them leads nowhere, and must not be sent as if it were whole (RFC 9471
 * 3). */
static bool add_glue(struct additional *a, const struct plan_item *item)
{
	const uint8_t *cut = node_name(item->node);
	const uint8_t *end = item->rs->data + item->rs->size;
	bool complete = true;
	for (int below = 1; below >= 0; below--) {
		for (const uint8_t *p = item->rs->data; p < end; p = rdata_next(p)) {
			const uint8_t *name = rdata_at(p).data;
			if (name_is_below(name, cut) == (below == 1)) {
				complete = (add_host(a, item, name) || below == 0) && complete;
			}
		}
	}
	return complete;
}

bool plan_encode_additional(const struct plan *p, struct encoder *e, int64_t now)
{
	struct additional a;
	a.plan = p;
	a.encoder = e;
	a.now = now;
	a.host_count = 0;
	bool complete = true;
	for (unsigned i = 0; i < p->item_count; i++) {
		const struct plan_item *item = &p->items[i];
		if (!item->additional || item->set.only_sigs) {
			continue;
		}
		if (item->section == SECTION_AUTHORITY) {
			complete = add_glue(&a, item);
		} else {
			add_hosts(&a, item);
		}
	}
	return complete;
}
