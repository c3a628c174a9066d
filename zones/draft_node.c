#include "zones/draft_impl.h"
#include "zones/node.h"

#include <stdlib.h>

static struct node *new_node(const struct draft *d, const uint8_t *name, uint64_t hash, size_t room)
{
	struct node *n = node_new(name, name_len(name), hash, room, 0, NULL);
	if (n != NULL && d->base != NULL) {
		n->flags = NODE_DRAFT;
	}
	return n;
}

/* For a node that is the draft's own and so not constant yet. */
static struct node *own(const struct node *n)
{
	return (struct node *)(uintptr_t)n;
}

/* Puts a copy of the name into the list of those touched, which a draft without a base does not
 * need: draft_list_touched(). *stable points to the copy. */
static enum status touch(struct draft *d, enum node_kind kind, const uint8_t *name,
			 const uint8_t **stable)
{
	const uint8_t *copy = arena_copy(&d->arena, name, name_len(name));
	if (copy == NULL) {
		return ST_ENOMEM;
	}
	*stable = copy;
	if (d->base == NULL) {
		return ST_OK;
	}
	return name_list_add(kind == KIND_NAME ? &d->touched : &d->touched_nsec3, copy);
}

static enum status discard_node(struct draft *d, const struct node *n)
{
	if (draft_owns(d, n)) {
		node_free(n);
		return ST_OK;
	}
	enum status st = retired_reserve(&d->replaced, 1);
	if (st == ST_OK) {
		retired_add_node(&d->replaced, n);
	}
	return st;
}

static enum status swap_in_order(struct draft *d, const struct node *old, const struct node *with)
{
	enum status st = btree_replace(&d->order, &d->cow, old, with);
	if (st == ST_OK && d->chain_built && (old->flags & NODE_CHAIN) != 0) {
		st = btree_replace(&d->chain, &d->cow, old, with);
	}
	return st;
}

/* Puts 'with' in the place of 'old', which is discarded. Once 'with' stands in its first index it
 * is found by draft_free(); before that it is freed on error. */
static enum status swap_node(struct draft *d, enum node_kind kind, const struct node *old,
			     struct node *with)
{
	const uint8_t *stable;
	enum status st = ST_OK;
	if (!draft_owns(d, old)) {
		st = touch(d, kind, node_name(old), &stable);
	}
	if (st == ST_OK) {
		st = kind == KIND_NAME ? nindex_replace(&d->names, &d->cow, old, with)
				       : btree_replace(&d->nsec3, &d->cow, old, with);
	}
	if (st != ST_OK) {
		node_free(with);
		return st;
	}
	if (kind == KIND_NAME) {
		st = swap_in_order(d, old, with);
	}
	return st == ST_OK ? discard_node(d, old) : st;
}

static enum status add_node(struct draft *d, enum node_kind kind, struct node *n)
{
	const uint8_t *stable;
	enum status st = touch(d, kind, node_name(n), &stable);
	if (st == ST_OK) {
		st = kind == KIND_NAME ? nindex_insert(&d->names, &d->cow, n)
				       : btree_insert(&d->nsec3, &d->cow, n);
	}
	if (st != ST_OK) {
		node_free(n);
		return st;
	}
	if (kind == KIND_NAME) {
		st = btree_insert(&d->order, &d->cow, n);
		if (st == ST_OK) {
			st = name_list_add(&d->dirty, stable);
		}
	}
	return st;
}

static enum status drop_node(struct draft *d, enum node_kind kind, const struct node *n)
{
	const uint8_t *stable;
	enum status st = draft_owns(d, n) ? ST_OK : touch(d, kind, node_name(n), &stable);
	if (st == ST_OK && kind == KIND_NSEC3) {
		st = btree_remove(&d->nsec3, &d->cow, n);
	}
	if (st == ST_OK && kind == KIND_NAME) {
		/* The order first: an own node must be found by its hash until it can be freed. */
		st = btree_remove(&d->order, &d->cow, n);
		if (st == ST_OK && d->chain_built && (n->flags & NODE_CHAIN) != 0) {
			st = btree_remove(&d->chain, &d->cow, n);
		}
		if (st == ST_OK) {
			st = nindex_remove(&d->names, &d->cow, n);
		}
	}
	return st == ST_OK ? discard_node(d, n) : st;
}

/* Makes the ancestors that are missing, empty non-terminals, from the apex down. */
static enum status add_ancestors(struct draft *d, const struct name_ref *ref)
{
	unsigned have = ref->labels;
	while (have > d->apex_labels &&
	       nindex_find(&d->names, ref->hash[have - 1], name_ref_at(ref, have - 1)) == NULL) {
		have--;
	}
	for (; have < ref->labels; have++) {
		struct node *n = new_node(d, name_ref_at(ref, have), ref->hash[have], 0);
		enum status st = n == NULL ? ST_ENOMEM : add_node(d, KIND_NAME, n);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

static bool has_children(const struct draft *d, const uint8_t *name)
{
	struct sort_key key;
	sort_key_init(&key, name);
	const struct node *next = btree_after(&d->order, &key);
	return next != NULL && name_is_below(node_name(next), name);
}

/* Removes the empty non-terminals above a name that is gone, as far as nothing else is below them.
 */
static enum status prune_ancestors(struct draft *d, const uint8_t *name)
{
	for (unsigned labels = name_labels(name); labels > d->apex_labels; labels--) {
		name = name_strip(name, 1);
		const struct node *n = draft_node(d, KIND_NAME, name);
		if (n == NULL || n->rrset_count > 0 || has_children(d, name)) {
			return ST_OK;
		}
		enum status st = drop_node(d, KIND_NAME, n);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

/* What a node's flags depend on. */
static unsigned traits(struct rrset *const *rrsets, size_t count)
{
	unsigned t = 0;
	for (size_t i = 0; i < count; i++) {
		t |= rrsets[i]->type == RR_NS ? 1 : 0;
		t |= rrsets[i]->type == RR_DNAME ? 2 : 0;
		t |= rrset_is_data(rrsets[i]) ? 4 : 0;
	}
	return t;
}

static size_t records(struct rrset *const *rrsets, size_t count)
{
	size_t sum = 0;
	for (size_t i = 0; i < count; i++) {
		sum += rrsets[i]->count;
	}
	return sum;
}

static enum status add_with(struct draft *d, const struct wanted *w)
{
	struct name_ref ref;
	name_ref_init(&ref, w->name);
	if (w->kind == KIND_NAME) {
		enum status st = add_ancestors(d, &ref);
		if (st != ST_OK) {
			return st;
		}
	}
	struct node *n = new_node(d, w->name, ref.hash[ref.labels], w->count + w->spare);
	if (n == NULL) {
		return ST_ENOMEM;
	}
	node_assign(n, w->rrsets, w->count);
	return add_node(d, w->kind, n);
}

/* Gives the present node n other RRsets: in place, in a new node, or none and no node. */
static enum status change(struct draft *d, const struct node *n, const struct wanted *w)
{
	if (w->count == 0 && (w->kind == KIND_NSEC3 || !has_children(d, w->name))) {
		enum status st = drop_node(d, w->kind, n);
		return st == ST_OK && w->kind == KIND_NAME ? prune_ancestors(d, w->name) : st;
	}
	if (w->kind == KIND_NAME &&
	    traits(n->rrsets, n->rrset_count) != traits(w->rrsets, w->count)) {
		const uint8_t *stable = arena_copy(&d->arena, w->name, name_len(w->name));
		if (stable == NULL || name_list_add(&d->dirty, stable) != ST_OK) {
			return ST_ENOMEM;
		}
	}
	if (draft_owns(d, n) && w->count <= n->rrset_room) {
		node_assign(own(n), w->rrsets, w->count);
		return ST_OK;
	}
	struct node *with = new_node(d, w->name, n->hash, w->count + w->spare);
	if (with == NULL) {
		return ST_ENOMEM;
	}
	with->flags |= n->flags;
	with->cover_labels = n->cover_labels;
	node_assign(with, w->rrsets, w->count);
	return swap_node(d, w->kind, n, with);
}

static bool array_holds(struct rrset *const *rrsets, size_t count, const struct rrset *rs)
{
	for (size_t i = 0; i < count; i++) {
		if (rrsets[i] == rs) {
			return true;
		}
	}
	return false;
}

/* What a change takes in and what it gives up, remembered while the node changes. */
struct exchange {
	struct rrset *few[16];
	struct rrset **items; /* first those that come, then those that go */
	size_t coming;
	size_t going;
};

static enum status exchange_init(struct exchange *x, const struct node *n,
				 struct rrset *const *rrsets, size_t count)
{
	size_t present = n == NULL ? 0 : n->rrset_count;
	x->items = x->few;
	x->coming = 0;
	x->going = 0;
	if (present + count > sizeof(x->few) / sizeof(x->few[0])) {
		x->items = malloc((present + count) * sizeof(*x->items));
	}
	if (x->items == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		if (!node_holds(n, rrsets[i])) {
			x->items[x->coming++] = rrsets[i];
		}
	}
	for (size_t i = 0; i < present; i++) {
		if (!array_holds(rrsets, count, n->rrsets[i])) {
			x->items[x->coming + x->going++] = n->rrsets[i];
		}
	}
	return ST_OK;
}

/* Frees or retires what no node holds now: what went, and, where the change failed, perhaps what
 * was to come. */
static enum status exchange_settle(struct exchange *x, struct draft *d, const struct wanted *w,
				   enum status changed)
{
	enum status st = changed;
	if (x->going > 0 || changed != ST_OK) {
		const struct node *now = draft_node(d, w->kind, w->name);
		const struct node *base = draft_base_node(d, w->kind, w->name);
		enum status reserved = retired_reserve(&d->replaced, x->going);
		for (size_t i = 0; i < x->coming + x->going; i++) {
			if (node_holds(now, x->items[i])) {
				continue;
			}
			if (!node_holds(base, x->items[i])) {
				rrset_free(x->items[i]);
			} else if (reserved == ST_OK) {
				retired_add_rrset(&d->replaced, x->items[i]);
			}
		}
		st = st == ST_OK ? reserved : st;
	}
	if (x->items != x->few) {
		free(x->items);
	}
	return st;
}

static void free_coming(const struct node *n, const struct wanted *w)
{
	for (size_t i = 0; i < w->count; i++) {
		if (!node_holds(n, w->rrsets[i])) {
			rrset_free(w->rrsets[i]);
		}
	}
}

enum status draft_set(struct draft *d, const struct node *n, struct wanted w)
{
	struct exchange x;
	enum status st = d->broken;
	if (st == ST_OK) {
		st = exchange_init(&x, n, w.rrsets, w.count);
	}
	if (st != ST_OK) {
		free_coming(n, &w);
		return st;
	}
	size_t had = n == NULL ? 0 : n->rrset_count;
	size_t had_records = n == NULL ? 0 : records(n->rrsets, had);
	size_t has_records = records(w.rrsets, w.count);
	if (n != NULL) {
		st = change(d, n, &w);
	} else if (w.count > 0) {
		st = add_with(d, &w);
	}
	st = exchange_settle(&x, d, &w, st);
	if (st != ST_OK) {
		d->broken = st;
		return st;
	}
	if (w.kind == KIND_NAME) {
		d->name_count = d->name_count + (w.count > 0) - (had > 0);
		d->record_count = d->record_count + has_records - had_records;
	}
	return ST_OK;
}

/* Membership in the chain follows the flag. */
static enum status follow_chain(struct draft *d, struct node *n, uint8_t flags)
{
	bool was = (n->flags & NODE_CHAIN) != 0;
	bool is = (flags & NODE_CHAIN) != 0;
	if (!d->chain_built || was == is) {
		return ST_OK;
	}
	return is ? btree_insert(&d->chain, &d->cow, n) : btree_remove(&d->chain, &d->cow, n);
}

enum status draft_set_flags(struct draft *d, const struct node *n, uint8_t flags,
			    uint8_t cover_labels)
{
	struct node *with = own(n);
	enum status st = ST_OK;
	if (!draft_owns(d, n)) {
		with = new_node(d, node_name(n), n->hash, n->rrset_count);
		if (with == NULL) {
			return ST_ENOMEM;
		}
		with->flags |= n->flags;
		node_assign(with, n->rrsets, n->rrset_count);
		st = swap_node(d, KIND_NAME, n, with);
	}
	if (st == ST_OK) {
		st = follow_chain(d, with, flags);
	}
	if (st != ST_OK) {
		d->broken = st;
		return st;
	}
	with->flags = flags | (with->flags & NODE_DRAFT);
	with->cover_labels = cover_labels;
	return ST_OK;
}
