#include "nsd-core/base/bulk.h"
#include "zones/draft_impl.h"

/* The parent of the node looked at last: names that come in order mostly share it. */
struct parent_cache {
	const struct node *node;
};

static const struct node *find_parent(const struct draft *d, const struct node *n,
				      struct parent_cache *cache)
{
	const uint8_t *name = name_strip(node_name(n), 1);
	if (cache->node == NULL || cache->node->labels + 1u != n->labels ||
	    !name_equal(node_name(cache->node), name)) {
		cache->node = draft_node(d, KIND_NAME, name);
	}
	return cache->node;
}

static uint8_t own_flags(const struct node *n)
{
	for (unsigned i = 0; i < n->rrset_count; i++) {
		if (rrset_is_data(n->rrsets[i])) {
			return node_rrset(n, RR_DNAME) != NULL ? NODE_CHAIN | NODE_DNAME
							       : NODE_CHAIN;
		}
	}
	return 0;
}

/* What a node's flags must be, by its own RRsets and its parent, which is settled. */
static uint8_t flags_for(const struct draft *d, const struct node *n, struct parent_cache *cache,
			 uint8_t *cover_labels)
{
	*cover_labels = 0;
	if (n->labels == d->apex_labels) {
		return NODE_APEX | own_flags(n);
	}
	const struct node *parent = find_parent(d, n, cache);
	if ((parent->flags & NODE_OCCLUDED) != 0) {
		*cover_labels = parent->cover_labels;
		return NODE_OCCLUDED;
	}
	if ((parent->flags & (NODE_CUT | NODE_DNAME)) != 0) {
		*cover_labels = parent->labels;
		return NODE_OCCLUDED;
	}
	if (node_rrset(n, RR_NS) != NULL) {
		*cover_labels = n->labels;
		return NODE_CUT | NODE_CHAIN;
	}
	return own_flags(n);
}

static bool covers_below(uint8_t flags)
{
	return (flags & (NODE_CUT | NODE_DNAME | NODE_OCCLUDED)) != 0;
}

/* *spread: what is below must be looked at too. */
static enum status settle_node(struct draft *d, const struct node *n, struct parent_cache *cache,
			       bool *spread)
{
	uint8_t cover;
	uint8_t flags = flags_for(d, n, cache, &cover);
	uint8_t old = n->flags & (uint8_t)~NODE_DRAFT;
	*spread = false;
	if (flags == old && cover == n->cover_labels) {
		return ST_OK;
	}
	*spread = covers_below(flags) || covers_below(old);
	if (cache->node == n) {
		cache->node = NULL;
	}
	return draft_set_flags(d, n, flags, cover);
}

/* Settles everything below a name. Each step searches anew, since settling may copy nodes and
 * pages; it goes in canonical order, so that a parent is settled before its children. */
static enum status settle_below(struct draft *d, const uint8_t *name, struct parent_cache *cache)
{
	struct sort_key key;
	const struct node *n;
	sort_key_init(&key, name);
	while ((n = btree_after(&d->order, &key)) != NULL && name_is_below(node_name(n), name)) {
		bool spread;
		sort_key_init(&key, node_name(n));
		enum status st = settle_node(d, n, cache, &spread);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

/* Settles a zone that is new, in one walk: nothing is copied, so the order's pages stay. */
static enum status settle_all(struct draft *d)
{
	struct btree_cursor c;
	struct parent_cache cache = {NULL};
	const struct node *n;
	enum status st = ST_OK;
	btree_cursor_init(&c, &d->order);
	while (st == ST_OK && (n = btree_cursor_next(&c)) != NULL) {
		bool spread;
		st = settle_node(d, n, &cache, &spread);
	}
	return st;
}

static enum status settle_dirty(struct draft *d)
{
	enum status st = name_list_sort(&d->dirty);
	struct parent_cache cache = {NULL};
	for (size_t i = 0; st == ST_OK && i < d->dirty.count; i++) {
		const uint8_t *name = d->dirty.names[i];
		const struct node *n = draft_node(d, KIND_NAME, name);
		bool spread = false;
		if (n != NULL) {
			st = settle_node(d, n, &cache, &spread);
		}
		if (st == ST_OK && spread) {
			st = settle_below(d, name, &cache);
		}
	}
	return st;
}

enum status draft_settle_flags(struct draft *d)
{
	if (d->broken != ST_OK) {
		return d->broken;
	}
	bool all = d->base == NULL && !d->chain_built && d->dirty.count >= d->order.count;
	enum status st = all ? settle_all(d) : settle_dirty(d);
	if (st == ST_OK) {
		d->dirty.count = 0;
		d->dirty.sorted = 0;
	}
	return st;
}

enum status draft_build_chain(struct draft *d)
{
	struct btree_cursor c;
	const struct node *n;
	size_t count = 0;
	/* One more than there can be, so that an empty zone is no case of its own. */
	size_t size = (d->order.count + 1) * sizeof(n);

	if (d->chain_built) {
		return ST_OK;
	}
	const struct node **nodes = bulk_alloc(size);
	if (nodes == NULL) {
		return ST_ENOMEM;
	}
	btree_cursor_init(&c, &d->order);
	while ((n = btree_cursor_next(&c)) != NULL) {
		if ((n->flags & NODE_CHAIN) != 0) {
			nodes[count++] = n;
		}
	}
	enum status st = btree_build(&d->chain, &d->cow, nodes, count);
	bulk_free(nodes, size);
	if (st == ST_OK) {
		d->chain_built = true;
	}
	return st;
}

enum status draft_settle(struct draft *d)
{
	enum status st = draft_settle_flags(d);
	return st == ST_OK && d->chain_wanted ? draft_build_chain(d) : st;
}

enum status draft_keep_chain(struct draft *d, bool keep)
{
	d->chain_told = true;
	d->chain_wanted = keep;
	if (keep || !d->chain_built) {
		return ST_OK;
	}
	enum status st = btree_clear(&d->chain, &d->cow);
	if (st == ST_OK) {
		d->chain_built = false;
	}
	return st;
}
