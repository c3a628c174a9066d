#include "signer/denial.h"

#include "nsd-core/base/parallel.h"
#include "zones/nsec3.h"
#include "zones/rdata.h"

#include <stdlib.h>

#define NSEC_RDATA_MAX (NAME_MAX_LEN + BITMAP_MAX)
#define DS_LEN	       36

enum status denial_put(struct draft *d, const uint8_t *name, struct rrset *rs)
{
	rs->flags |= RRSET_GENERATED;
	return draft_put(d, name, rs);
}

static enum status put_generated(struct draft *d, const uint8_t *name, uint16_t type, uint32_t ttl,
				 const struct bytes *rdatas, size_t count)
{
	struct rrset *rs = NULL;
	enum status st = rrset_new(type, ttl, rdatas, count, &rs);
	return st == ST_OK ? denial_put(d, name, rs) : st;
}

enum status denial_remove(struct draft *d, const uint8_t *name, uint16_t type)
{
	enum status st = draft_remove(d, name, type);
	return st == ST_ENOENT ? ST_OK : st;
}

void denial_names_init(struct denial_names *l)
{
	*l = (struct denial_names){.names = NULL};
	arena_init(&l->arena, 65536);
}

void denial_names_fini(struct denial_names *l)
{
	free(l->names);
	arena_fini(&l->arena);
}

enum status denial_names_add(struct denial_names *l, const uint8_t *name)
{
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 16 : l->room * 2;
		const uint8_t **names = realloc(l->names, room * sizeof(*names));
		if (names == NULL) {
			return ST_ENOMEM;
		}
		l->names = names;
		l->room = room;
	}
	const uint8_t *copy = arena_copy(&l->arena, name, name_len(name));
	if (copy == NULL) {
		return ST_ENOMEM;
	}
	l->names[l->count++] = copy;
	return ST_OK;
}

enum status denial_names_remove(const struct denial_names *l, struct draft *d, uint16_t type)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < l->count && st == ST_OK; i++) {
		st = draft_remove(d, l->names[i], type);
	}
	return st;
}

enum status denial_types_of(struct denial_types *t, const struct node *n, const uint16_t *own,
			    size_t own_count)
{
	size_t need = (size_t)n->rrset_count + own_count;
	size_t added = 0;
	if (need > t->room) {
		uint16_t *types = realloc(t->types, need * sizeof(*types));
		if (types == NULL) {
			return ST_ENOMEM;
		}
		t->types = types;
		t->room = need;
	}
	t->count = 0;
	for (size_t i = 0; i < n->rrset_count; i++) {
		uint16_t type = n->rrsets[i]->type;
		if (type == RR_NSEC || type == RR_RRSIG ||
		    ((n->flags & NODE_CUT) != 0 && type != RR_NS && type != RR_DS)) {
			continue;
		}
		while (added < own_count && own[added] < type) {
			t->types[t->count++] = own[added++];
		}
		t->types[t->count++] = type;
	}
	while (added < own_count) {
		t->types[t->count++] = own[added++];
	}
	return ST_OK;
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
		st = denial_remove(d, apex, RR_CDS);
	}
	return st != ST_OK ? st : denial_remove(d, apex, RR_CDNSKEY);
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
	struct denial_types types; /* scratch */
};

static void chain_fini(struct chain *c)
{
	for (size_t i = 0; i < c->count; i++) {
		rrset_free(c->links[i].nsec);
	}
	free(c->links);
	free(c->types.types);
	arena_fini(&c->names);
}

static enum status nsec_make(struct denial_types *types, uint32_t ttl, const struct node *n,
			     const struct node *next, struct cutter *cutter, struct rrset **out)
{
	static const uint16_t own[2] = {RR_RRSIG, RR_NSEC};
	uint8_t rdata[NSEC_RDATA_MAX];
	enum status st = denial_types_of(types, n, own, 2);
	if (st != ST_OK) {
		return st;
	}
	size_t len = name_lower(rdata, node_name(next));
	len += bitmap_encode(types->types, types->count, rdata + len);
	return rrset_cut(cutter, RR_NSEC, ttl, (struct bytes){rdata, len}, out);
}

static enum status chain_add(struct chain *c, const struct node *n, const struct node *next)
{
	struct rrset *nsec = NULL;
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
	enum status st = nsec_make(&c->types, c->ttl, n, next, NULL, &nsec);
	if (st != ST_OK) {
		return st;
	}
	c->links[c->count++] = (struct chain_link){name, nsec};
	return ST_OK;
}

static enum status chain_put(struct chain *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct rrset *nsec = c->links[i].nsec;
		c->links[i].nsec = NULL;
		enum status st = denial_put(c->draft, c->links[i].name, nsec);
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

/* The same of a zone that is new. */
struct new_chain {
	uint32_t ttl;
	struct denial_types types[PARALLEL_MAX];
};

static enum status new_chain_make(void *ctx, unsigned part, const struct node *n,
				  const struct node *next, struct cutter *cutter,
				  struct rrset **out)
{
	struct new_chain *c = ctx;
	struct rrset *nsec = NULL;
	enum status st = nsec_make(&c->types[part], c->ttl, n, next, cutter, &nsec);
	if (st == ST_OK) {
		nsec->flags |= RRSET_GENERATED;
		*out = nsec;
	}
	return st;
}

static enum status prepare_new_chain(struct draft *d, uint32_t ttl)
{
	struct new_chain c = {.ttl = ttl};
	enum status st =
		draft_make_chain(d, &(struct chain_maker){.make = new_chain_make, .ctx = &c});
	for (size_t i = 0; i < PARALLEL_MAX; i++) {
		free(c.types[i].types);
	}
	return st;
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
	struct denial_names stale;
	const uint8_t *const *names;
	size_t count;
	denial_names_init(&stale);
	enum status st = draft_touched(d, &names, &count);
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		const struct node *n = draft_find(d, names[i]);
		if (n != NULL && node_rrset(n, RR_NSEC) != NULL && (n->flags & NODE_CHAIN) == 0) {
			/* Removing changes the list that is being read. */
			st = denial_names_add(&stale, names[i]);
		}
	}
	if (st == ST_OK) {
		st = denial_names_remove(&stale, d, RR_NSEC);
	}
	bool any = stale.count > 0;
	denial_names_fini(&stale);
	return st == ST_OK && any ? draft_settle(d) : st;
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

static enum status nsec_each(void *ctx, const struct node *n)
{
	return node_rrset(n, RR_NSEC) != NULL ? denial_names_add(ctx, node_name(n)) : ST_OK;
}

/* Takes away the NSECs that the base has. */
static enum status nsec_leave(struct draft *d, const uint8_t *apex)
{
	struct denial_names owners;
	if (draft_base_rrset(d, apex, RR_NSEC) == NULL) {
		return ST_OK;
	}
	denial_names_init(&owners);
	enum status st = draft_each_name(d, nsec_each, &owners);
	if (st == ST_OK) {
		st = denial_names_remove(&owners, d, RR_NSEC);
	}
	denial_names_fini(&owners);
	return st;
}

static enum status make_chain(struct draft *d, const uint8_t *apex, uint32_t ttl,
			      enum sign_denial denial)
{
	enum status st = denial == SIGN_NSEC ? nsec3_leave(d, apex) : nsec_leave(d, apex);
	if (st == ST_OK) {
		st = draft_settle(d);
	}
	if (st == ST_OK && denial != SIGN_NSEC) {
		return nsec3_prepare(d, apex, ttl, denial == SIGN_NSEC3_OPT_OUT);
	}
	if (st == ST_OK && draft_base_find(d, apex) == NULL) {
		return prepare_new_chain(d, ttl);
	}
	if (st == ST_OK) {
		st = prune(d);
	}
	return st == ST_OK ? prepare_chain(d, apex, ttl) : st;
}

enum sign_denial signer_denial(const struct version *v)
{
	const struct node *n = v->denial == DENIAL_NSEC3 ? btree_first(&v->nsec3) : NULL;
	if (n == NULL) {
		return SIGN_NSEC;
	}
	bool opt_out = (rdata_at(n->rrsets[0]->data).data[1] & NSEC3_OPT_OUT) != 0;
	return opt_out ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3;
}

enum status signer_prepare_draft(struct draft *d, const struct keyset *keys, bool cds,
				 enum sign_denial denial)
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
		st = draft_keep_chain(d, denial == SIGN_NSEC);
	}
	if (st == ST_OK) {
		st = make_chain(d, apex, ttl, denial);
	}
	return st != ST_OK ? st : draft_settle(d);
}
