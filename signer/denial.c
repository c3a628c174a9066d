#include "signer/signer.h"

#include "nsd-core/base/arena.h"
#include "zones/rdata.h"

#include <stdlib.h>

#define BITMAP_MAX     (256 * 34) /* every window in use */
#define NSEC_RDATA_MAX (NAME_MAX_LEN + BITMAP_MAX)
#define DS_LEN	       36

static enum status put_generated(struct draft *d, const uint8_t *name, uint16_t type, uint32_t ttl,
				 const struct bytes *rdatas, size_t count)
{
	struct rrset *rs = NULL;
	enum status st = rrset_new(type, ttl, rdatas, count, &rs);
	if (st != ST_OK) {
		return st;
	}
	rs->flags |= RRSET_GENERATED;
	return draft_put(d, name, rs);
}

static enum status remove_if_there(struct draft *d, const uint8_t *name, uint16_t type)
{
	enum status st = draft_remove(d, name, type);
	return st == ST_ENOENT ? ST_OK : st;
}

/* DNSKEY, and CDS and CDNSKEY that name the keys a DS may point to (RFC 7344 4). */
static enum status prepare_apex(struct draft *d, const uint8_t *apex, const struct keyset *keys,
				bool cds)
{
	uint8_t dnskey[KEYSET_MAX][DNSKEY_LEN];
	uint8_t ds[KEYSET_MAX][DS_LEN];
	struct bytes dnskeys[KEYSET_MAX];
	struct bytes secure_entry[KEYSET_MAX];
	struct bytes dss[KEYSET_MAX];
	size_t entries = 0;
	uint32_t ttl = keys->params.dnskey_ttl;
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *key = &keys->keys[i];
		dnskeys[i] = (struct bytes){dnskey[i], dnskey_rdata(key, dnskey[i])};
		if (key->role == KEY_ZSK || key->state != KEY_ACTIVE) {
			continue;
		}
		enum status st = ds_rdata(apex, key, ds[entries]);
		if (st != ST_OK) {
			return st;
		}
		dss[entries] = (struct bytes){ds[entries], DS_LEN};
		secure_entry[entries] = dnskeys[i];
		entries++;
	}
	if (keys->count == 0) {
		return ST_EREFUSED;
	}
	enum status st = put_generated(d, apex, RR_DNSKEY, ttl, dnskeys, keys->count);
	if (cds && entries > 0) {
		if (st == ST_OK) {
			st = put_generated(d, apex, RR_CDS, ttl, dss, entries);
		}
		return st != ST_OK ? st
				   : put_generated(d, apex, RR_CDNSKEY, ttl, secure_entry, entries);
	}
	if (st == ST_OK) {
		st = remove_if_there(d, apex, RR_CDS);
	}
	return st != ST_OK ? st : remove_if_there(d, apex, RR_CDNSKEY);
}

/* NSECs to be put. They are collected first and put afterwards, since a put changes the nodes and
 * pages that the chain is read from. */
struct chain {
	struct draft *draft;
	uint32_t ttl;
	struct arena names;
	struct chain_link {
		const uint8_t *name;
		struct rrset *nsec;
	} * links;
	size_t count;
	size_t room;
	uint16_t *types; /* scratch */
	size_t types_room;
};

static void chain_fini(struct chain *c)
{
	for (size_t i = 0; i < c->count; i++) {
		rrset_free(c->links[i].nsec);
	}
	free(c->links);
	free(c->types);
	arena_fini(&c->names);
}

/* The types that an NSEC names (RFC 4034 4.1.2, RFC 4035 2.3): at a cut what the parent has there.
 */
static enum status chain_types(struct chain *c, const struct node *n, size_t *count)
{
	static const uint16_t always[2] = {RR_RRSIG, RR_NSEC};
	size_t need = (size_t)n->rrset_count + 2;
	size_t added = 0;
	size_t used = 0;
	if (need > c->types_room) {
		uint16_t *types = realloc(c->types, need * sizeof(*types));
		if (types == NULL) {
			return ST_ENOMEM;
		}
		c->types = types;
		c->types_room = need;
	}
	for (size_t i = 0; i < n->rrset_count; i++) {
		uint16_t type = n->rrsets[i]->type;
		if (type == RR_NSEC || type == RR_RRSIG ||
		    ((n->flags & NODE_CUT) != 0 && type != RR_NS && type != RR_DS)) {
			continue;
		}
		while (added < 2 && always[added] < type) {
			c->types[used++] = always[added++];
		}
		c->types[used++] = type;
	}
	while (added < 2) {
		c->types[used++] = always[added++];
	}
	*count = used;
	return ST_OK;
}

static enum status chain_add(struct chain *c, const struct node *n, const struct node *next)
{
	uint8_t rdata[NSEC_RDATA_MAX];
	size_t type_count = 0;
	struct rrset *nsec = NULL;
	enum status st = chain_types(c, n, &type_count);
	if (st != ST_OK) {
		return st;
	}
	if (c->count == c->room) {
		size_t room = c->room == 0 ? 16 : c->room * 2;
		struct chain_link *links = realloc(c->links, room * sizeof(*links));
		if (links == NULL) {
			return ST_ENOMEM;
		}
		c->links = links;
		c->room = room;
	}
	const uint8_t *name = node_name(n);
	name = arena_copy(&c->names, name, name_len(name));
	if (name == NULL) {
		return ST_ENOMEM;
	}
	size_t len = name_lower(rdata, node_name(next));
	len += bitmap_encode(c->types, type_count, rdata + len);
	st = rrset_new(RR_NSEC, c->ttl, &(struct bytes){rdata, len}, 1, &nsec);
	if (st != ST_OK) {
		return st;
	}
	nsec->flags |= RRSET_GENERATED;
	c->links[c->count++] = (struct chain_link){name, nsec};
	return ST_OK;
}

static enum status chain_put(struct chain *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct rrset *nsec = c->links[i].nsec;
		c->links[i].nsec = NULL;
		enum status st = draft_put(c->draft, c->links[i].name, nsec);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

/* Every name once, in a walk of the chain. */
static enum status chain_whole(struct chain *c, const struct node *apex)
{
	const struct node *n = apex;
	do {
		const struct node *next = draft_chain_after(c->draft, node_name(n));
		enum status st = chain_add(c, n, next);
		if (st != ST_OK) {
			return st;
		}
		n = next;
	} while ((n->flags & NODE_APEX) == 0);
	return ST_OK;
}

/* The NSEC of a name says what is at the name and which name comes next: it changes with its own
 * node, and with a name after it that comes or goes. */
static enum status chain_touched(struct chain *c)
{
	const uint8_t *const *names;
	size_t count;
	const struct node *last = NULL;
	enum status st = draft_touched(c->draft, &names, &count);
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		const struct node *n = draft_find(c->draft, names[i]);
		const struct node *before = draft_chain_before(c->draft, names[i]);
		bool in_chain = n != NULL && (n->flags & NODE_CHAIN) != 0;
		const struct node *both[2] = {before, in_chain ? n : NULL};
		for (size_t k = 0; k < 2 && st == ST_OK; k++) {
			if (both[k] != NULL && both[k] != last) {
				last = both[k];
				st = chain_add(c, last,
					       draft_chain_after(c->draft, node_name(last)));
			}
		}
	}
	return st;
}

/* An NSEC goes with the name it stood at: with the last other data, under a new cut, below a new
 * DNAME. */
static enum status prune(struct draft *d)
{
	struct arena arena;
	const uint8_t *const *names;
	size_t count;
	size_t stale_count = 0;
	const uint8_t **stale = NULL;
	arena_init(&arena, 4096);
	enum status st = draft_touched(d, &names, &count);
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		const struct node *n = draft_find(d, names[i]);
		if (n == NULL || node_rrset(n, RR_NSEC) == NULL || (n->flags & NODE_CHAIN) != 0) {
			continue;
		}
		/* Removing changes the list that is being read. */
		if (stale == NULL) {
			stale = malloc((count - i) * sizeof(*stale));
		}
		const uint8_t *name = arena_copy(&arena, names[i], name_len(names[i]));
		if (stale == NULL || name == NULL) {
			st = ST_ENOMEM;
			break;
		}
		stale[stale_count++] = name;
	}
	for (size_t i = 0; i < stale_count && st == ST_OK; i++) {
		st = draft_remove(d, stale[i], RR_NSEC);
	}
	free(stale);
	arena_fini(&arena);
	return st != ST_OK || stale_count == 0 ? st : draft_settle(d);
}

/* The chain over what is touched where the base has one of ours with this TTL, else over all. */
static enum status prepare_chain(struct draft *d, const uint8_t *apex, uint32_t ttl)
{
	struct chain c = {.draft = d, .ttl = ttl};
	const struct rrset *base = draft_base_rrset(d, apex, RR_NSEC);
	bool whole = base == NULL || (base->flags & RRSET_GENERATED) == 0 || base->ttl != ttl;
	arena_init(&c.names, 65536);
	enum status st = whole ? chain_whole(&c, draft_find(d, apex)) : chain_touched(&c);
	if (st == ST_OK) {
		st = chain_put(&c);
	}
	chain_fini(&c);
	return st;
}

enum status signer_prepare_draft(struct draft *d, const struct keyset *keys, bool cds)
{
	const uint8_t *apex = keys->apex;
	struct soa soa;
	const struct node *n = draft_find(d, apex);
	const struct rrset *rs = n != NULL ? node_rrset(n, RR_SOA) : NULL;
	if (rs == NULL) {
		return ST_EPARSE;
	}
	enum status st = soa_parse(rdata_at(rs->data), &soa);
	uint32_t ttl = rs->ttl;
	if (st == ST_OK) {
		/* RFC 9077 2 */
		ttl = soa.minimum < ttl ? soa.minimum : ttl;
		st = prepare_apex(d, apex, keys, cds);
	}
	if (st == ST_OK) {
		st = draft_settle(d);
	}
	if (st == ST_OK) {
		st = prune(d);
	}
	if (st == ST_OK) {
		st = prepare_chain(d, apex, ttl);
	}
	return st != ST_OK ? st : draft_settle(d);
}
