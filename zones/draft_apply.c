#include "zones/draft_owner.h"
#include "zones/rdata.h"

#include <stdlib.h>

/* Goes through a base's index as the content's owners come, which are in the same order. */
struct follower {
	struct btree_cursor cursor;
	const struct node *next; /* NULL: at the end */
};

/* One application of a content, and its scratch space. */
struct apply {
	struct draft *d;
	const struct content *c;
	bool signing;
	struct rdata_list rdatas;
	struct rrset *
		*names; /* the RRsets that the owner is to have, and those of its NSEC3 node */
	struct rrset **nsec3s;
	size_t rrset_room;
	bool untouched; /* the draft was as its base is: so it still is where we have not been */
	struct follower followed[2]; /* by enum node_kind */
};

static bool same_records(const struct rrset *rs, const struct content *c,
			 const struct record_set *s)
{
	const struct record *r = set_records(c, s);
	const uint8_t *p = rs->data;
	if (rs->count != s->count || rs->ttl != r->ttl) {
		return false;
	}
	for (size_t i = 0; i < s->count; i++, p = rdata_next(p)) {
		struct bytes rdata = rdata_at(p);
		struct bytes wanted = record_rdata(&r[i]);
		if (rdata.len != wanted.len || memcmp(rdata.data, wanted.data, rdata.len) != 0) {
			return false;
		}
	}
	return true;
}

/* *same: may the RRset stay with the signatures its slot holds? */
static enum status same_signatures(struct apply *a, const struct rrset *rs,
				   const struct record_set *rrsigs, bool *same)
{
	const struct sigset *present = rrset_sigs(rs);
	*same = false;
	if (a->signing) {
		/* Signatures that came with a file are not of our keys. */
		*same = present == NULL || a->d->base == NULL || a->d->base->keys != NULL;
		return ST_OK;
	}
	if (present == NULL || rrsigs->count == 0) {
		*same = present == NULL && rrsigs->count == 0;
		return ST_OK;
	}
	struct sigset *wanted;
	enum status st = rdata_list_fill(&a->rdatas, a->c, rrsigs);
	if (st == ST_OK) {
		st = sigset_new(rs, a->d->apex, a->rdatas.items, rrsigs->count, &wanted);
	}
	if (st == ST_OK) {
		*same = sigset_equal(present, wanted);
		sigset_free(wanted);
	}
	return st;
}

static enum status new_rrset(struct apply *a, const struct record_set *s,
			     const struct record_set *rrsigs, struct rrset **out)
{
	const struct record *r = set_records(a->c, s);
	struct rrset *rs = NULL;
	enum status st = rdata_list_fill(&a->rdatas, a->c, s);
	if (st == ST_OK) {
		st = rrset_new(r->type, r->ttl, a->rdatas.items, s->count, &rs);
	}
	if (st == ST_OK && !a->signing) {
		st = rrset_take_rrsigs(rs, a->c, rrsigs, &a->rdatas);
	}
	if (st != ST_OK) {
		rrset_free(rs);
		return st;
	}
	*out = rs;
	return ST_OK;
}

/* The RRset that a set of records asks for: n's, if it is the same, or a new one. */
static enum status wanted_rrset(struct apply *a, const struct owner *o, const struct record_set *s,
				const struct node *n, struct rrset **out)
{
	uint16_t type = set_records(a->c, s)->type;
	struct record_set rrsigs = owner_rrsigs(a->c, o, type);
	struct rrset *present = n == NULL ? NULL : node_rrset(n, type);
	if (present != NULL && same_records(present, a->c, s)) {
		bool same;
		enum status st = same_signatures(a, present, &rrsigs, &same);
		if (st != ST_OK || same) {
			*out = present;
			return st;
		}
	}
	return new_rrset(a, s, &rrsigs, out);
}

static void insert_sorted(struct rrset **rrsets, size_t *count, struct rrset *rs)
{
	size_t i = *count;
	for (; i > 0 && rrsets[i - 1]->type > rs->type; i--) {
		rrsets[i] = rrsets[i - 1];
	}
	rrsets[i] = rs;
	++*count;
}

/* What we made ourselves stays, unless the content has that type. */
static void keep_generated(const struct node *n, struct rrset **rrsets, size_t *count)
{
	size_t from_content = *count;
	for (unsigned i = 0; n != NULL && i < n->rrset_count; i++) {
		struct rrset *rs = n->rrsets[i];
		bool replaced = (rs->flags & RRSET_GENERATED) == 0;
		for (size_t k = 0; !replaced && k < from_content; k++) {
			replaced = rrsets[k]->type == rs->type;
		}
		if (!replaced) {
			insert_sorted(rrsets, count, rs);
			from_content++;
		}
	}
}

static enum status set_if_changed(struct apply *a, enum node_kind kind, const uint8_t *name,
				  const struct node *n, struct rrset **rrsets, size_t count)
{
	size_t present = n == NULL ? 0 : n->rrset_count;
	if (count == present &&
	    (count == 0 || memcmp(rrsets, n->rrsets, count * sizeof(*rrsets)) == 0)) {
		return ST_OK;
	}
	/* Where we sign, room for the NSEC to come. */
	return draft_set(a->d, n,
			 (struct wanted){.kind = kind,
					 .name = name,
					 .rrsets = rrsets,
					 .count = count,
					 .spare = a->signing ? 1 : 0});
}

static enum status reserve_rrsets(struct apply *a, size_t room)
{
	if (room <= a->rrset_room) {
		return ST_OK;
	}
	struct rrset **names = realloc(a->names, room * sizeof(*names));
	if (names == NULL) {
		return ST_ENOMEM;
	}
	a->names = names;
	struct rrset **nsec3s = realloc(a->nsec3s, room * sizeof(*nsec3s));
	if (nsec3s == NULL) {
		return ST_ENOMEM;
	}
	a->nsec3s = nsec3s;
	a->rrset_room = room;
	return ST_OK;
}

static void free_new(struct rrset **rrsets, size_t count, const struct node *n)
{
	for (size_t i = 0; i < count; i++) {
		if (!node_holds(n, rrsets[i])) {
			rrset_free(rrsets[i]);
		}
	}
}

/* Takes from a name, whose node is n, all but what we made ourselves: the content lacks it. */
static enum status drop_name(struct apply *a, enum node_kind kind, const struct node *n)
{
	size_t count = 0;
	enum status st = n == NULL ? ST_OK : reserve_rrsets(a, n->rrset_count);
	if (st == ST_OK && n != NULL) {
		uint8_t name[NAME_MAX_LEN]; /* the node may go */
		memcpy(name, node_name(n), n->name_len);
		keep_generated(n, a->names, &count);
		st = set_if_changed(a, kind, name, n, a->names, count);
	}
	return st;
}

/* Follows to the next owner, NULL: to the end, and drops what lies before it. *n: its node, or
 * NULL. An index's order has ancestors first, so that what a change does to them is behind us. */
static enum status follow(struct apply *a, enum node_kind kind, const uint8_t *name,
			  const struct node **n)
{
	struct follower *f = &a->followed[kind];
	const struct node *found = NULL;
	while (f->next != NULL) {
		const uint8_t *next = node_name(f->next);
		bool equal = name != NULL && name_equal(name, next);
		if (!equal && name != NULL && name_compare(name, next) < 0) {
			break;
		}
		const struct node *now = a->untouched ? f->next : draft_node(a->d, kind, next);
		enum status st = equal ? ST_OK : drop_name(a, kind, now);
		if (st != ST_OK) {
			return st;
		}
		f->next = btree_cursor_next(&f->cursor);
		if (equal) {
			found = now;
			break;
		}
	}
	if (name != NULL && !a->untouched) {
		found = draft_node(a->d, kind, name);
	}
	*n = found;
	return ST_OK;
}

static enum status apply_owner(struct apply *a, const struct owner *o)
{
	const struct node *n = NULL;
	const struct node *n3 = NULL;
	size_t count = 0;
	size_t count3 = 0;
	enum status st = follow(a, KIND_NAME, o->name, &n);
	if (st == ST_OK) {
		st = follow(a, KIND_NSEC3, o->name, &n3);
	}
	if (st == ST_OK) {
		st = reserve_rrsets(a, o->count + (n == NULL ? 0u : n->rrset_count) +
					       (n3 == NULL ? 0u : n3->rrset_count));
	}
	for (size_t i = o->first; st == ST_OK && i < o->first + o->count; i++) {
		const struct record_set *s = &a->c->sets[i];
		uint16_t type = set_records(a->c, s)->type;
		struct rrset *rs;
		if (type == RR_RRSIG) {
			continue;
		}
		st = wanted_rrset(a, o, s, type == RR_NSEC3 ? n3 : n, &rs);
		if (st == ST_OK && type == RR_NSEC3) {
			a->nsec3s[count3++] = rs;
		} else if (st == ST_OK) {
			a->names[count++] = rs;
		}
	}
	if (st != ST_OK) {
		free_new(a->names, count, n);
		free_new(a->nsec3s, count3, n3);
		return st;
	}
	keep_generated(n, a->names, &count);
	keep_generated(n3, a->nsec3s, &count3);
	st = set_if_changed(a, KIND_NAME, o->name, n, a->names, count);
	if (st != ST_OK) {
		free_new(a->nsec3s, count3, n3);
		return st;
	}
	return set_if_changed(a, KIND_NSEC3, o->name, n3, a->nsec3s, count3);
}

/* The same for what the draft held before without the base having it. */
static enum status drop_earlier(struct apply *a, enum node_kind kind, const struct name_list *l)
{
	enum status st = ST_OK;
	size_t count = l->count; /* the list may grow */
	for (size_t i = 0; st == ST_OK && i < count; i++) {
		bool found;
		(void)owner_search(a->c, l->names[i], &found);
		if (!found) {
			st = drop_name(a, kind, draft_node(a->d, kind, l->names[i]));
		}
	}
	return st;
}

static void follow_base(struct apply *a, enum node_kind kind, const struct btree *base)
{
	btree_cursor_init(&a->followed[kind].cursor, base);
	a->followed[kind].next = btree_cursor_next(&a->followed[kind].cursor);
}

static enum status drop_all_earlier(struct apply *a)
{
	enum status st = draft_list_touched(a->d);
	if (st == ST_OK) {
		st = drop_earlier(a, KIND_NAME, &a->d->touched);
	}
	return st == ST_OK ? drop_earlier(a, KIND_NSEC3, &a->d->touched_nsec3) : st;
}

static enum status apply_all(struct apply *a)
{
	struct draft *d = a->d;
	struct owner o = {NULL, 0, 0};
	const struct node *n;
	enum status st = ST_OK;
	if (d->base != NULL) {
		follow_base(a, KIND_NAME, &d->base->order);
		follow_base(a, KIND_NSEC3, &d->base->nsec3);
	}
	a->untouched = d->base != NULL && d->touched.count == 0 && d->touched_nsec3.count == 0;
	if (!a->untouched) {
		st = drop_all_earlier(a);
	}
	for (size_t i = 0; st == ST_OK && i < a->c->set_count; i += o.count) {
		owner_at(a->c, i, &o);
		st = apply_owner(a, &o);
	}
	if (st == ST_OK) {
		st = follow(a, KIND_NAME, NULL, &n);
	}
	return st == ST_OK ? follow(a, KIND_NSEC3, NULL, &n) : st;
}

/* What is below one name is together in the canonical order. */
static bool is_in_zone(const struct draft *d, const struct content *c)
{
	return c->set_count == 0 ||
	       (name_is_below(set_records(c, &c->sets[0])->owner, d->apex) &&
		name_is_below(set_records(c, &c->sets[c->set_count - 1])->owner, d->apex));
}

static enum status apply(struct draft *d, const struct content *c, bool signing,
			 struct content *spent)
{
	struct apply a = {.d = d, .c = c, .signing = signing};
	if (!is_in_zone(d, c)) {
		return ST_EPARSE;
	}
	if (draft_is_new(d)) {
		return draft_build(d, c,
				   &(struct build_options){.signing = signing, .spent = spent});
	}
	enum status st = apply_all(&a);
	free(a.rdatas.items);
	free(a.names);
	free(a.nsec3s);
	if (st != ST_OK) {
		return st;
	}
	const struct node *apex = draft_node(d, KIND_NAME, d->apex);
	if (!d->chain_told) {
		d->chain_wanted = signing || (apex != NULL && node_rrset(apex, RR_NSEC) != NULL);
	}
	if (spent != NULL) {
		content_fini(spent);
	}
	return ST_OK;
}

enum status draft_apply(struct draft *d, const struct content *c, bool signing)
{
	return apply(d, c, signing, NULL);
}

enum status draft_take(struct draft *d, struct content *c, bool signing)
{
	return apply(d, c, signing, c);
}
