#include "nsd-core/answer_find.h"

#include <assert.h>

#define CACHE_LINE 64

static_assert(FIND_MAX <= LOOKUPS_MAX && FIND_MAX <= BTREE_FLOORS_MAX,
	      "a group's look-ups and searches go side by side");

void found_init(struct found *f, const struct query *q)
{
	f->query = q;
	f->host_count = 0;
	name_ref_init(&f->name, query_name(q));
}

struct zone *find_zone(const struct zonedb *db, const struct name_ref *name, uint16_t qtype)
{
	struct zone *zone = qtype == RR_DS ? zonedb_find(db, name, true) : NULL;
	return zone != NULL && !zone->is_hidden ? zone : zonedb_find(db, name, false);
}

/* Zones, then their versions: of few, all are in the cache anyhow. */
static void find_zones(const struct zonedb *db, struct found *found, size_t count)
{
	if (count > 1 && zonedb_is_large(db)) {
		for (size_t i = 0; i < count; i++) {
			zonedb_prefetch_slots(db, &found[i].name);
		}
		for (size_t i = 0; i < count; i++) {
			zonedb_prefetch_zones(db, &found[i].name);
		}
	}
	for (size_t i = 0; i < count; i++) {
		struct found *f = &found[i];
		f->zone = find_zone(db, &f->name, f->query->qtype);
		f->version = f->zone != NULL ? rcu_load(&f->zone->cur) : NULL;
		if (f->version != NULL) {
			__builtin_prefetch(f->version);
			__builtin_prefetch((const uint8_t *)f->version + CACHE_LINE);
		}
	}
}

/* What the plan will take from the node that was found; it may be more than is used. NULL: none. */
static const struct rrset *first_rrset(const struct found *f)
{
	const struct node *n = f->lookup.found.node;
	const struct rrset *rs;
	switch (f->lookup.found.kind) {
	case LOOKUP_NODE:
	case LOOKUP_WILDCARD:
		rs = node_rrset(n, f->query->qtype);
		return rs != NULL ? rs : node_rrset(n, RR_CNAME);
	case LOOKUP_CUT:
		return node_rrset(n, RR_NS);
	case LOOKUP_DNAME:
		return node_rrset(n, RR_DNAME);
	case LOOKUP_NXDOMAIN:
		break;
	}
	return NULL;
}

/* The proof that goes with it: DS or NSEC of the node, or the NSEC before the name. */
static const struct rrset *second_rrset(const struct found *f)
{
	const struct node *n = f->lookup.found.node;
	if (f->searched) {
		n = f->nsec.node;
	} else if (f->lookup.found.kind == LOOKUP_CUT) {
		const struct rrset *ds = node_rrset(n, RR_DS);
		if (ds != NULL) {
			return ds;
		}
	}
	return n != NULL ? node_rrset(n, RR_NSEC) : NULL;
}

static void prefetch_rrset(const struct rrset *rs)
{
	if (rs != NULL) {
		__builtin_prefetch(rs);
		__builtin_prefetch((const uint8_t *)rs + CACHE_LINE);
	}
}

/* About what one ECDSA signature takes up. */
static void prefetch_sigs(const struct rrset *rs)
{
	const uint8_t *sigs = rs != NULL ? (const uint8_t *)rrset_sigs(rs) : NULL;
	if (sigs != NULL) {
		__builtin_prefetch(sigs);
		__builtin_prefetch(sigs + CACHE_LINE);
		__builtin_prefetch(sigs + 2 * CACHE_LINE);
	}
}

static bool wants_search(const struct found *f)
{
	return f->dnssec && f->version->denial == DENIAL_NSEC &&
	       (f->lookup.found.kind == LOOKUP_NXDOMAIN || f->lookup.found.kind == LOOKUP_WILDCARD);
}

/* Names that do not exist need the NSEC before them. */
static void find_proofs(struct found *const *open, size_t count)
{
	struct btree_floor *floors[FIND_MAX];
	size_t searches = 0;
	for (size_t i = 0; i < count; i++) {
		struct found *f = open[i];
		f->searched = wants_search(f);
		if (f->searched) {
			sort_key_init_ref(&f->key, &f->name);
			f->nsec = (struct btree_floor){.tree = &f->version->chain, .key = &f->key};
			floors[searches++] = &f->nsec;
		}
	}
	btree_find_floor_many(floors, searches);
}

static void prefetch_data(struct found *const *open, size_t count)
{
	const struct rrset *first[FIND_MAX];
	const struct rrset *second[FIND_MAX];
	for (size_t i = 0; i < count; i++) {
		first[i] = first_rrset(open[i]);
		prefetch_rrset(first[i]);
		bool proof = open[i]->dnssec && (first[i] == NULL || open[i]->searched ||
						 open[i]->lookup.found.kind == LOOKUP_CUT);
		second[i] = proof ? second_rrset(open[i]) : NULL;
		prefetch_rrset(second[i]);
	}
	for (size_t i = 0; i < count; i++) {
		if (open[i]->dnssec) {
			prefetch_sigs(first[i]);
			prefetch_sigs(second[i]);
		}
	}
}

/* One host of a referral on its way. */
struct host_probe {
	struct found_host *host;
	const struct nindex *names;
	uint64_t hash;
	uintptr_t page;
};

static size_t probe_hosts(struct found *f, struct host_probe *probes)
{
	const struct rrset *ns = first_rrset(f);
	const uint8_t *end = ns->data + ns->size;
	unsigned count = 0;
	for (const uint8_t *p = ns->data; p < end && count < FOUND_HOSTS_MAX; p = rdata_next(p)) {
		struct host_probe *probe = &probes[count];
		probe->host = &f->hosts[count++];
		probe->host->name = rdata_at(p).data;
		probe->hash = name_hash(probe->host->name);
		probe->names = &f->version->names;
		probe->page = nindex_page(probe->names, probe->hash);
	}
	f->host_count = count;
	return count;
}

/* Addresses that go with referrals. */
static void find_hosts(struct found *const *open, size_t count)
{
	struct host_probe probes[FIND_MAX * FOUND_HOSTS_MAX];
	size_t hosts = 0;
	for (size_t i = 0; i < count; i++) {
		if (open[i]->lookup.found.kind == LOOKUP_CUT) {
			hosts += probe_hosts(open[i], probes + hosts);
		}
	}
	for (size_t i = 0; i < hosts; i++) {
		nindex_page_prefetch(probes[i].page, probes[i].hash);
	}
	for (size_t i = 0; i < hosts; i++) {
		struct found_host *h = probes[i].host;
		h->node = nindex_page_find(probes[i].page, probes[i].hash, h->name,
					   name_len(h->name));
		if (h->node != NULL) {
			prefetch_rrset(node_rrset(h->node, RR_A));
			prefetch_rrset(node_rrset(h->node, RR_AAAA));
		}
	}
}

const struct node *found_host(const struct found *f, const struct version *v, const uint8_t *name)
{
	for (unsigned i = 0; i < f->host_count; i++) {
		if (f->hosts[i].name == name) {
			return f->hosts[i].node;
		}
	}
	return nindex_find(&v->names, name_hash(name), name);
}

void find_many(const struct zonedb *db, struct found *found, size_t count)
{
	struct found *open[FIND_MAX];
	struct lookup_job *lookups[FIND_MAX];
	size_t left = 0;
	find_zones(db, found, count);
	for (size_t i = 0; i < count; i++) {
		struct found *f = &found[i];
		if (f->version == NULL) {
			continue;
		}
		f->dnssec = f->query->dnssec_ok && f->version->is_signed;
		f->lookup.version = f->version;
		f->lookup.name = &f->name;
		f->lookup.ds = f->query->qtype == RR_DS;
		lookups[left] = &f->lookup;
		open[left++] = f;
	}
	version_lookup_many(lookups, left);
	find_proofs(open, left);
	if (left > 1) {
		prefetch_data(open, left);
		find_hosts(open, left);
	}
}
