/* The chain of NSEC3s (RFC 5155 7.1): one for the hash of every name that is the zone's, empty
 * non-terminals too; with opt-out not for cuts without DS. */
#include "signer/denial.h"

#include "nsd-core/base/bulk.h"
#include "nsd-core/base/parallel.h"
#include "zones/nsec3.h"
#include "zones/rdata.h"

#include <stdlib.h>

/* Below that many names to a thread, starting it costs more than it saves. */
#define NAMES_PER_PART 4096

/* A name and its hash. */
struct hashed {
	uint8_t hash[NSEC3_HASH_LEN];
	bool wanted;
	const struct node *node; /* NULL: gone */
};

struct nsec3_chain {
	struct draft *draft;
	const uint8_t *apex;
	uint32_t ttl;
	bool opt_out;
	struct denial_types types; /* scratch */
};

/* An empty non-terminal leads to a name of the zone, or it would be occluded. */
static bool is_wanted(const struct nsec3_chain *c, const struct node *n)
{
	if ((n->flags & NODE_OCCLUDED) != 0) {
		return false;
	}
	return !c->opt_out || (n->flags & NODE_CUT) == 0 || node_rrset(n, RR_DS) != NULL;
}

static enum status hash_node(const struct node *n, uint8_t out[NSEC3_HASH_LEN])
{
	return nsec3_hash(node_name(n), 0, (struct bytes){NULL, 0}, out);
}

/* The NSEC3 of a name. 'next' may be its own hash. */
static enum status put_nsec3(struct nsec3_chain *c, const struct hashed *h,
			     const uint8_t next[NSEC3_HASH_LEN])
{
	static const uint16_t rrsig[1] = {RR_RRSIG};
	uint8_t rdata[NSEC3_TYPES_AT + BITMAP_MAX] = {
		1, c->opt_out ? NSEC3_OPT_OUT : 0, 0, 0, 0, NSEC3_HASH_LEN};
	uint8_t owner[NAME_MAX_LEN];
	struct rrset *rs = NULL;
	const struct node *n = h->node;
	bool has_signed =
		n->rrset_count > 0 && ((n->flags & NODE_CUT) == 0 || node_rrset(n, RR_DS) != NULL);
	enum status st = denial_types_of(&c->types, n, rrsig, has_signed ? 1 : 0);
	if (st == ST_OK) {
		st = nsec3_owner(h->hash, c->apex, owner);
	}
	if (st != ST_OK) {
		return st;
	}
	memcpy(rdata + NSEC3_NEXT_AT, next, NSEC3_HASH_LEN);
	size_t len = NSEC3_TYPES_AT +
		     bitmap_encode(c->types.types, c->types.count, rdata + NSEC3_TYPES_AT);
	st = rrset_new(RR_NSEC3, c->ttl, &(struct bytes){rdata, len}, 1, &rs);
	return st == ST_OK ? denial_put(c->draft, owner, rs) : st;
}

/* All names, sorted by hash. */
struct whole {
	struct nsec3_chain *chain;
	struct hashed *items;
	size_t count, room;
	unsigned parts;
	enum status status[PARALLEL_MAX];
};

static enum status whole_collect(void *ctx, const struct node *n)
{
	struct whole *w = ctx;
	if (is_wanted(w->chain, n)) {
		w->items[w->count].node = n;
		w->items[w->count++].wanted = true;
	}
	return ST_OK;
}

static void whole_hash(void *ctx, unsigned part)
{
	struct whole *w = ctx;
	size_t end = w->count * (part + 1) / w->parts;
	enum status st = ST_OK;
	for (size_t i = w->count * part / w->parts; i < end && st == ST_OK; i++) {
		st = hash_node(w->items[i].node, w->items[i].hash);
	}
	w->status[part] = st;
}

static int compare_hashed(const void *a, const void *b)
{
	return memcmp(((const struct hashed *)a)->hash, ((const struct hashed *)b)->hash,
		      NSEC3_HASH_LEN);
}

/* Sorts. Names of one hash would have one NSEC3, which would deny types of each (RFC 5155 7.1). */
static enum status sort_hashed(struct hashed *items, size_t count)
{
	if (count > 1) {
		qsort(items, count, sizeof(*items), compare_hashed);
	}
	for (size_t i = 1; i < count; i++) {
		if (items[i].wanted && items[i - 1].wanted &&
		    compare_hashed(&items[i - 1], &items[i]) == 0) {
			return ST_EEXIST;
		}
	}
	return ST_OK;
}

static enum status whole_fill(struct whole *w)
{
	enum status st = draft_each_name(w->chain->draft, whole_collect, w);
	size_t parts = w->count / NAMES_PER_PART;
	w->parts = parts < 1 ? 1 : parts > parallel_cpus() ? parallel_cpus() : (unsigned)parts;
	if (st == ST_OK) {
		parallel_run(w->parts, whole_hash, w);
	}
	for (unsigned i = 0; i < w->parts && st == ST_OK; i++) {
		st = w->status[i];
	}
	return st == ST_OK ? sort_hashed(w->items, w->count) : st;
}

/* NSEC3s of hashes that are not wanted. */
struct stale {
	const struct whole *whole;
	struct denial_names owners;
};

static enum status stale_each(void *ctx, const struct node *n)
{
	struct stale *s = ctx;
	struct hashed key;
	if (nsec3_owner_hash(node_name(n), key.hash) &&
	    bsearch(&key, s->whole->items, s->whole->count, sizeof(key), compare_hashed) != NULL) {
		return ST_OK;
	}
	return denial_names_add(&s->owners, node_name(n));
}

static enum status whole_drop_stale(struct whole *w)
{
	struct stale s = {.whole = w};
	denial_names_init(&s.owners);
	enum status st = draft_each_nsec3(w->chain->draft, stale_each, &s);
	if (st == ST_OK) {
		st = denial_names_remove(&s.owners, w->chain->draft, RR_NSEC3);
	}
	denial_names_fini(&s.owners);
	return st;
}

static enum status chain_whole(struct nsec3_chain *c)
{
	struct whole w = {.chain = c, .room = draft_node_count(c->draft)};
	w.items = bulk_alloc(w.room * sizeof(*w.items));
	if (w.items == NULL) {
		return ST_ENOMEM;
	}
	enum status st = whole_fill(&w);
	if (st == ST_OK) {
		st = whole_drop_stale(&w);
	}
	for (size_t i = 0; i < w.count && st == ST_OK; i++) {
		st = put_nsec3(c, &w.items[i], w.items[(i + 1) % w.count].hash);
	}
	bulk_free(w.items, w.room * sizeof(*w.items));
	return st;
}

/* Do both nodes have the same NSEC3, or none, but for the next hash? */
static bool same_shape(const struct nsec3_chain *c, const struct node *a, const struct node *b)
{
	bool has_a = a != NULL && is_wanted(c, a);
	bool has_b = b != NULL && is_wanted(c, b);
	if (!has_a || !has_b) {
		return has_a == has_b;
	}
	return (a->flags & NODE_CUT) == (b->flags & NODE_CUT) && a->rrset_count == b->rrset_count &&
	       memcmp(node_types(a), node_types(b), a->rrset_count * sizeof(uint16_t)) == 0;
}

/* The names whose NSEC3 comes, goes or names other types. */
static enum status edits_collect(struct nsec3_chain *c, struct hashed **out, size_t *out_count)
{
	const uint8_t *const *names;
	size_t count;
	size_t used = 0;
	enum status st = draft_touched(c->draft, &names, &count);
	struct hashed *items = st == ST_OK ? malloc((count + 1) * sizeof(*items)) : NULL;
	if (items == NULL) {
		return st == ST_OK ? ST_ENOMEM : st;
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		const struct node *n = draft_find(c->draft, names[i]);
		if (same_shape(c, n, draft_base_find(c->draft, names[i]))) {
			continue;
		}
		struct hashed *h = &items[used++];
		h->node = n;
		h->wanted = n != NULL && is_wanted(c, n);
		st = nsec3_hash(names[i], 0, (struct bytes){NULL, 0}, h->hash);
	}
	if (st == ST_OK) {
		st = sort_hashed(items, used);
	}
	if (st != ST_OK) {
		free(items);
		return st;
	}
	*out = items;
	*out_count = used;
	return ST_OK;
}

/* Who is in the chain, before anybody is told who comes next. */
static enum status edit_member(struct nsec3_chain *c, const struct hashed *h)
{
	uint8_t owner[NAME_MAX_LEN];
	enum status st = nsec3_owner(h->hash, c->apex, owner);
	if (st != ST_OK) {
		return st;
	}
	if (!h->wanted) {
		return denial_remove(c->draft, owner, RR_NSEC3);
	}
	return draft_nsec3_find(c->draft, owner) == NULL ? put_nsec3(c, h, h->hash) : ST_OK;
}

/* The same NSEC3 with the hash that comes next now. */
static enum status relink(struct nsec3_chain *c, const struct node *n)
{
	uint8_t rdata[NSEC3_TYPES_AT + BITMAP_MAX];
	uint8_t owner[NAME_MAX_LEN];
	struct bytes old = rdata_at(n->rrsets[0]->data);
	struct rrset *rs = NULL;
	const struct node *next = draft_nsec3_after(c->draft, node_name(n));
	if (old.len < NSEC3_TYPES_AT || old.len > sizeof(rdata)) {
		return ST_EPARSE;
	}
	memcpy(owner, node_name(n), n->name_len);
	memcpy(rdata, old.data, old.len);
	if (!nsec3_owner_hash(node_name(next), rdata + NSEC3_NEXT_AT)) {
		return ST_EPARSE;
	}
	enum status st = rrset_new(RR_NSEC3, c->ttl, &(struct bytes){rdata, old.len}, 1, &rs);
	return st == ST_OK ? denial_put(c->draft, owner, rs) : st;
}

/* Its own NSEC3, and that of the one before. */
static enum status edit_links(struct nsec3_chain *c, const struct hashed *h)
{
	uint8_t owner[NAME_MAX_LEN];
	uint8_t next[NSEC3_HASH_LEN];
	enum status st = nsec3_owner(h->hash, c->apex, owner);
	if (st == ST_OK && h->wanted) {
		const struct node *after = draft_nsec3_after(c->draft, owner);
		st = nsec3_owner_hash(node_name(after), next) ? put_nsec3(c, h, next) : ST_EPARSE;
	}
	return st == ST_OK ? relink(c, draft_nsec3_before(c->draft, owner)) : st;
}

static enum status chain_touched(struct nsec3_chain *c)
{
	struct hashed *edits = NULL;
	size_t count = 0;
	enum status st = edits_collect(c, &edits, &count);
	if (st != ST_OK) {
		return st;
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		st = edit_member(c, &edits[i]);
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		st = edit_links(c, &edits[i]);
	}
	free(edits);
	return st;
}

/* Is the base's chain ours and such a one? Then the apex's NSEC3 says so. */
static bool base_is_alike(const struct nsec3_chain *c, const uint8_t *owner)
{
	const struct rrset *rs = draft_base_rrset(c->draft, owner, RR_NSEC3);
	return rs != NULL && (rs->flags & RRSET_GENERATED) != 0 && rs->ttl == c->ttl &&
	       ((rdata_at(rs->data).data[1] & NSEC3_OPT_OUT) != 0) == c->opt_out;
}

/* Of use to servers only, who have the zone: no cache is to keep it. */
#define NSEC3PARAM_TTL 0

enum status nsec3_prepare(struct draft *d, const uint8_t *apex, uint32_t ttl, bool opt_out)
{
	static const uint8_t param[5] = {1};
	struct nsec3_chain c = {.draft = d, .apex = apex, .ttl = ttl, .opt_out = opt_out};
	uint8_t hash[NSEC3_HASH_LEN];
	uint8_t owner[NAME_MAX_LEN];
	struct rrset *rs = NULL;
	enum status st = nsec3_hash(apex, 0, (struct bytes){NULL, 0}, hash);
	if (st == ST_OK) {
		st = nsec3_owner(hash, apex, owner);
	}
	if (st == ST_OK) {
		st = rrset_new(RR_NSEC3PARAM, NSEC3PARAM_TTL, &(struct bytes){param, sizeof(param)},
			       1, &rs);
	}
	if (st == ST_OK) {
		st = denial_put(d, apex, rs);
	}
	if (st == ST_OK) {
		st = base_is_alike(&c, owner) ? chain_touched(&c) : chain_whole(&c);
	}
	free(c.types.types);
	return st;
}

static enum status owner_each(void *ctx, const struct node *n)
{
	return denial_names_add(ctx, node_name(n));
}

enum status nsec3_leave(struct draft *d, const uint8_t *apex)
{
	struct denial_names owners;
	if (draft_base_rrset(d, apex, RR_NSEC3PARAM) == NULL) {
		return ST_OK;
	}
	denial_names_init(&owners);
	enum status st = denial_remove(d, apex, RR_NSEC3PARAM);
	if (st == ST_OK) {
		st = draft_each_nsec3(d, owner_each, &owners);
	}
	if (st == ST_OK) {
		st = denial_names_remove(&owners, d, RR_NSEC3);
	}
	denial_names_fini(&owners);
	return st;
}
