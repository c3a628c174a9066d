#include "zones/draft_impl.h"

#include "zones/node.h"
#include "zones/pending.h"

#include <stdlib.h>

#define ARENA_BLOCK (16 * 1024)

enum status draft_new(const uint8_t *apex, struct version *base, struct draft **out)
{
	struct draft *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		return ST_ENOMEM;
	}
	d->apex_len = (uint8_t)name_lower(d->apex, apex);
	d->apex_labels = (uint8_t)name_labels(apex);
	d->cow.retired = &d->replaced;
	d->cow.stamp = 1;
	d->chain_wanted = true;
	arena_init(&d->arena, ARENA_BLOCK);
	if (base != NULL) {
		d->base = version_ref(base);
		d->cow.stamp = base->stamp + 1;
		d->names = base->names;
		d->order = base->order;
		d->chain = base->chain;
		d->nsec3 = base->nsec3;
		d->chain_built = base->denial == DENIAL_NSEC;
		d->chain_wanted = d->chain_built;
		d->name_count = base->name_count;
		d->record_count = base->record_count;
	}
	*out = d;
	return ST_OK;
}

const struct node *draft_node(const struct draft *d, enum node_kind kind, const uint8_t *name)
{
	if (kind == KIND_NAME) {
		return nindex_find(&d->names, name_hash(name), name);
	}
	struct sort_key key;
	sort_key_init(&key, name);
	return btree_find(&d->nsec3, &key);
}

const struct node *draft_base_node(const struct draft *d, enum node_kind kind, const uint8_t *name)
{
	if (d->base == NULL) {
		return NULL;
	}
	if (kind == KIND_NAME) {
		return nindex_find(&d->base->names, name_hash(name), name);
	}
	struct sort_key key;
	sort_key_init(&key, name);
	return btree_find(&d->base->nsec3, &key);
}

bool draft_owns(const struct draft *d, const struct node *n)
{
	return d->base == NULL || (n->flags & NODE_DRAFT) != 0;
}

bool node_holds(const struct node *n, const struct rrset *rs)
{
	for (unsigned i = 0; n != NULL && i < n->rrset_count; i++) {
		if (n->rrsets[i] == rs) {
			return true;
		}
	}
	return false;
}

static void free_node(struct draft *d, enum node_kind kind, const struct node *n)
{
	const struct node *base = draft_base_node(d, kind, node_name(n));
	for (unsigned k = 0; k < n->rrset_count; k++) {
		if (!node_holds(base, n->rrsets[k])) {
			rrset_free(n->rrsets[k]);
		}
	}
	node_free(n);
}

/* Frees what the draft made for the names of a list. Taking each node out of its index first (whose
 * pages there are the draft's, so that cannot fail) makes a name that stands twice harmless. */
static void free_own_nodes(struct draft *d, enum node_kind kind, const struct name_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct node *n = draft_node(d, kind, l->names[i]);
		if (n == NULL || !draft_owns(d, n)) {
			continue;
		}
		if ((kind == KIND_NAME ? nindex_remove(&d->names, &d->cow, n)
				       : btree_remove(&d->nsec3, &d->cow, n)) == ST_OK) {
			free_node(d, kind, n);
		}
	}
}

static void free_name(void *ctx, const struct node *n)
{
	free_node(ctx, KIND_NAME, n);
}

/* Of a draft without a base: a node stands in its first index as long as it lives. */
static void free_all_nodes(struct draft *d)
{
	struct btree_cursor c;
	const struct node *n;
	nindex_each(&d->names, free_name, d);
	btree_cursor_init(&c, &d->nsec3);
	while ((n = btree_cursor_next(&c)) != NULL) {
		free_node(d, KIND_NSEC3, n);
	}
}

void draft_free(struct draft *d)
{
	if (d == NULL) {
		return;
	}
	if (d->base == NULL) {
		free_all_nodes(d);
	} else {
		free_own_nodes(d, KIND_NAME, &d->touched);
		free_own_nodes(d, KIND_NSEC3, &d->touched_nsec3);
	}
	nindex_free(&d->names, d->cow.stamp);
	btree_free(&d->order, d->cow.stamp);
	btree_free(&d->chain, d->cow.stamp);
	btree_free(&d->nsec3, d->cow.stamp);
	retired_fini(&d->replaced);
	name_list_fini(&d->touched);
	name_list_fini(&d->touched_nsec3);
	name_list_fini(&d->dirty);
	arena_fini(&d->arena);
	version_unref(d->base);
	free(d);
}

const struct node *draft_find(const struct draft *d, const uint8_t *name)
{
	return draft_node(d, KIND_NAME, name);
}

const struct node *draft_nsec3_find(const struct draft *d, const uint8_t *name)
{
	return draft_node(d, KIND_NSEC3, name);
}

const struct node *draft_base_find(const struct draft *d, const uint8_t *name)
{
	return draft_base_node(d, KIND_NAME, name);
}

struct rrset *draft_base_rrset(const struct draft *d, const uint8_t *name, uint16_t type)
{
	const struct node *n = draft_base_node(d, kind_of_type(type), name);
	return n == NULL ? NULL : node_rrset(n, type);
}

void draft_counts(const struct draft *d, size_t *base_names, size_t *names)
{
	*base_names = d->base == NULL ? 0 : d->base->name_count;
	*names = d->name_count;
}

/* RRsets put together for draft_set(). */
struct rrset_array {
	struct rrset *few[16];
	struct rrset **items;
	size_t count;
};

static enum status array_init(struct rrset_array *a, size_t room)
{
	a->count = 0;
	a->items = a->few;
	if (room > sizeof(a->few) / sizeof(a->few[0])) {
		a->items = malloc(room * sizeof(*a->items));
	}
	return a->items == NULL ? ST_ENOMEM : ST_OK;
}

static void array_fini(struct rrset_array *a)
{
	if (a->items != a->few) {
		free(a->items);
	}
}

/* Gives n's RRsets in the order of types with 'rs' in the place of what has the type; rs NULL:
 * without that. */
static enum status set_one(struct draft *d, const uint8_t *name, const struct node *n,
			   uint16_t type, struct rrset *rs)
{
	struct rrset_array a;
	unsigned present = n == NULL ? 0 : n->rrset_count;
	enum status st = array_init(&a, present + 1u);
	if (st != ST_OK) {
		rrset_free(rs);
		return st;
	}
	unsigned i = 0;
	for (; i < present && n->rrsets[i]->type < type; i++) {
		a.items[a.count++] = n->rrsets[i];
	}
	if (rs != NULL) {
		a.items[a.count++] = rs;
	}
	for (; i < present; i++) {
		if (n->rrsets[i]->type != type) {
			a.items[a.count++] = n->rrsets[i];
		}
	}
	st = draft_set(d, n,
		       (struct wanted){.kind = kind_of_type(type),
				       .name = name,
				       .rrsets = a.items,
				       .count = a.count});
	array_fini(&a);
	return st;
}

enum status draft_put(struct draft *d, const uint8_t *name, struct rrset *rs)
{
	if (rs->type == RR_RRSIG || !name_is_below(name, d->apex)) {
		rrset_free(rs);
		return ST_EPARSE;
	}
	uint8_t lower[NAME_MAX_LEN];
	name_lower(lower, name);
	const struct node *n = draft_node(d, kind_of_type(rs->type), lower);
	const struct rrset *present = n == NULL ? NULL : node_rrset(n, rs->type);
	if (present != NULL && rrset_equal(present, rs)) {
		rrset_free(rs);
		return ST_OK;
	}
	return set_one(d, lower, n, rs->type, rs);
}

enum status draft_remove(struct draft *d, const uint8_t *name, uint16_t type)
{
	const struct node *n = draft_node(d, kind_of_type(type), name);
	if (n == NULL || node_rrset(n, type) == NULL) {
		return ST_ENOENT;
	}
	uint8_t lower[NAME_MAX_LEN];
	name_lower(lower, name);
	return set_one(d, lower, n, type, NULL);
}

enum status draft_renew(struct draft *d, const uint8_t *name, uint16_t type)
{
	const struct node *n = draft_node(d, kind_of_type(type), name);
	const struct rrset *present = n == NULL ? NULL : node_rrset(n, type);
	struct rrset *copy;
	if (present == NULL) {
		return ST_ENOENT;
	}
	enum status st = rrset_copy(present, &copy);
	if (st != ST_OK) {
		return st;
	}
	uint8_t lower[NAME_MAX_LEN];
	name_lower(lower, name);
	return set_one(d, lower, n, type, copy);
}

static enum status list_tree(struct draft *d, const struct btree *t, struct name_list *l)
{
	struct btree_cursor c;
	const struct node *n;
	enum status st = ST_OK;
	name_list_fini(l);
	btree_cursor_init(&c, t);
	while (st == ST_OK && (n = btree_cursor_next(&c)) != NULL) {
		const uint8_t *name = arena_copy(&d->arena, node_name(n), n->name_len);
		st = name == NULL ? ST_ENOMEM : name_list_add(l, name);
	}
	return st;
}

enum status draft_list_touched(struct draft *d)
{
	if (d->base != NULL) {
		return ST_OK;
	}
	enum status st = list_tree(d, &d->order, &d->touched);
	return st == ST_OK ? list_tree(d, &d->nsec3, &d->touched_nsec3) : st;
}

enum status draft_touched(struct draft *d, const uint8_t *const **names, size_t *count)
{
	enum status st = draft_list_touched(d);
	if (st == ST_OK) {
		st = name_list_sort(&d->touched);
	}
	if (st == ST_OK) {
		*names = d->touched.names;
		*count = d->touched.count;
	}
	return st;
}

static bool list_changed(const struct draft *d, enum node_kind kind, const struct name_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct node *now = draft_node(d, kind, l->names[i]);
		const struct node *was = draft_base_node(d, kind, l->names[i]);
		unsigned count = now == NULL ? 0 : now->rrset_count;
		if (count != (was == NULL ? 0 : was->rrset_count) ||
		    (count > 0 &&
		     memcmp(now->rrsets, was->rrsets, count * sizeof(struct rrset *)) != 0)) {
			return true;
		}
	}
	return false;
}

bool draft_changed(const struct draft *d)
{
	if (d->base == NULL) {
		return d->order.count > 0 || d->nsec3.count > 0;
	}
	return list_changed(d, KIND_NAME, &d->touched) ||
	       list_changed(d, KIND_NSEC3, &d->touched_nsec3);
}

/* What a visit of the new RRsets calls. */
struct visit {
	enum status (*each)(void *ctx, const struct node *n, struct rrset *rs);
	void *ctx;
};

static enum status visit_rrsets(const struct node *n, const struct node *base, struct visit v)
{
	enum status st = ST_OK;
	bool moved = base != NULL && base->flags != (n->flags & ~NODE_DRAFT);
	for (unsigned k = 0; st == ST_OK && k < n->rrset_count; k++) {
		if (moved || !node_holds(base, n->rrsets[k])) {
			st = v.each(v.ctx, n, n->rrsets[k]);
		}
	}
	return st;
}

static enum status visit_touched(struct draft *d, enum node_kind kind, struct name_list *l,
				 struct visit v)
{
	enum status st = name_list_sort(l);
	for (size_t i = 0; st == ST_OK && i < l->count; i++) {
		const struct node *n = draft_node(d, kind, l->names[i]);
		if (n != NULL && draft_owns(d, n)) {
			st = visit_rrsets(n, draft_base_node(d, kind, l->names[i]), v);
		}
	}
	return st;
}

static enum status visit_all(const struct btree *t, struct visit v)
{
	struct btree_cursor c;
	const struct node *n;
	enum status st = ST_OK;
	btree_cursor_init(&c, t);
	while (st == ST_OK && (n = btree_cursor_next(&c)) != NULL) {
		st = visit_rrsets(n, NULL, v);
	}
	return st;
}

enum status draft_each_new(struct draft *d,
			   enum status (*each)(void *ctx, const struct node *n, struct rrset *rs),
			   void *ctx)
{
	struct visit v = {each, ctx};
	if (d->base == NULL) {
		enum status st = visit_all(&d->order, v);
		return st == ST_OK ? visit_all(&d->nsec3, v) : st;
	}
	enum status st = visit_touched(d, KIND_NAME, &d->touched, v);
	return st == ST_OK ? visit_touched(d, KIND_NSEC3, &d->touched_nsec3, v) : st;
}

static const struct node *before(const struct btree *t, const uint8_t *name)
{
	struct sort_key key;
	sort_key_init(&key, name);
	const struct node *n = btree_before(t, &key);
	return n != NULL ? n : btree_last(t);
}

static const struct node *after(const struct btree *t, const uint8_t *name)
{
	struct sort_key key;
	sort_key_init(&key, name);
	const struct node *n = btree_after(t, &key);
	return n != NULL ? n : btree_first(t);
}

const struct node *draft_chain_before(const struct draft *d, const uint8_t *name)
{
	return before(&d->chain, name);
}

const struct node *draft_chain_after(const struct draft *d, const uint8_t *name)
{
	return after(&d->chain, name);
}

const struct node *draft_nsec3_before(const struct draft *d, const uint8_t *name)
{
	return before(&d->nsec3, name);
}

const struct node *draft_nsec3_after(const struct draft *d, const uint8_t *name)
{
	return after(&d->nsec3, name);
}

static enum status each_of(const struct btree *t,
			   enum status (*each)(void *ctx, const struct node *n), void *ctx)
{
	struct btree_cursor c;
	const struct node *n;
	enum status st = ST_OK;
	btree_cursor_init(&c, t);
	while (st == ST_OK && (n = btree_cursor_next(&c)) != NULL) {
		st = each(ctx, n);
	}
	return st;
}

enum status draft_each_name(const struct draft *d,
			    enum status (*each)(void *ctx, const struct node *n), void *ctx)
{
	return each_of(&d->order, each, ctx);
}

enum status draft_each_nsec3(const struct draft *d,
			     enum status (*each)(void *ctx, const struct node *n), void *ctx)
{
	return each_of(&d->nsec3, each, ctx);
}

size_t draft_node_count(const struct draft *d)
{
	return d->order.count;
}

size_t draft_list_room(const struct draft *d)
{
	return d->order.count + d->nsec3.count;
}

size_t draft_list(const struct draft *d, const struct node **out)
{
	btree_list(&d->order, out);
	btree_list(&d->nsec3, out + d->order.count);
	return draft_list_room(d);
}
