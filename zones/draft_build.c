/* A zone made at once from a content: its names come in canonical order, each after its ancestors,
 * so that one pass makes the nodes with their flags, and the indexes are built from the whole. */
#include "nsd-core/base/bulk.h"
#include "nsd-core/base/parallel.h"
#include "zones/draft_owner.h"
#include "zones/node.h"

#include <stdlib.h>

/* Below that many RRsets to a thread, starting it costs more than it saves. */
#define SETS_PER_PART 16384
/* From that many RRsets on, some 8 MB, nodes are cut from large blocks. */
#define LARGE_SETS 65536

struct node_array {
	struct node **items;
	size_t count;
	size_t room;
};

/* What matters of a name to those below it. */
struct level {
	uint64_t hash;
	uint8_t flags;
	uint8_t cover_labels;
};

/* The names of one piece of the content: sets[first .. end). */
struct part {
	const struct content *c;
	bool signing;
	unsigned apex_labels;
	size_t first;
	size_t end;
	enum status status;
	struct node_array nodes; /* in canonical order */
	struct node_array nsec3s;
	size_t name_count;
	size_t record_count;
	struct rdata_list rdatas;
	struct cutter cutter;
	bool is_large;
	const uint8_t *last; /* the name added last, perhaps by the part before; NULL: none */
	unsigned last_labels;
	struct level levels[NAME_MAX_LABELS + 1]; /* last and its ancestors, by labels */
};

struct build {
	struct draft *d;
	struct part *parts;
	unsigned part_count;
	enum status ordered; /* how the indexes came out */
	enum status hashed;
};

static enum status array_reserve(struct node_array *a, size_t room)
{
	if (room <= a->room) {
		return ST_OK;
	}
	struct node **items =
		bulk_grow(a->items, a->room * sizeof(struct node *), room * sizeof(struct node *));
	if (items == NULL) {
		return ST_ENOMEM;
	}
	a->items = items;
	a->room = room;
	return ST_OK;
}

static enum status array_add(struct node_array *a, struct node *n)
{
	if (a->count == a->room) {
		enum status st = array_reserve(a, a->room == 0 ? 64 : a->room * 2);
		if (st != ST_OK) {
			return st;
		}
	}
	a->items[a->count++] = n;
	return ST_OK;
}

/* Moves the nodes of 'from' behind those of 'to', which has room for them. */
static void array_take(struct node_array *to, struct node_array *from)
{
	if (from->count > 0) {
		memcpy(to->items + to->count, from->items, from->count * sizeof(*to->items));
	}
	to->count += from->count;
	from->count = 0;
}

static const struct node *const *constant(struct node **nodes)
{
	return (const struct node *const *)nodes;
}

static void array_fini(struct node_array *a)
{
	bulk_free(a->items, a->room * sizeof(struct node *));
	*a = (struct node_array){0};
}

static void free_nodes(const struct node_array *a)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct node *n = a->items[i];
		for (unsigned k = 0; k < n->rrset_count; k++) {
			rrset_free(n->rrsets[k]);
		}
		node_free(n);
	}
}

/* What a node's flags depend on, of what an owner's sets say about it. */
struct traits {
	size_t count; /* its RRsets: no signatures, which are in slots, and no NSEC3 */
	bool has_ns;
	bool has_dname;
	bool has_nsec3;
};

static struct traits traits_of(const struct content *c, const struct owner *o)
{
	struct traits t = {0};
	for (size_t i = o->first; i < o->first + o->count; i++) {
		uint16_t type = set_records(c, &c->sets[i])->type;
		t.count += type != RR_RRSIG && type != RR_NSEC3;
		t.has_ns |= type == RR_NS;
		t.has_dname |= type == RR_DNAME;
		t.has_nsec3 |= type == RR_NSEC3;
	}
	return t;
}

/* As draft_settle() has it: what comes with a content is data, an NSEC too. */
static void set_flags(struct part *p, unsigned labels, struct traits t)
{
	const struct level *parent = labels > p->apex_labels ? &p->levels[labels - 1] : NULL;
	struct level *l = &p->levels[labels];
	uint8_t own = t.count == 0 ? 0 : t.has_dname ? NODE_CHAIN | NODE_DNAME : NODE_CHAIN;
	l->cover_labels = 0;
	if (parent == NULL) {
		l->flags = NODE_APEX | own;
	} else if ((parent->flags & NODE_OCCLUDED) != 0) {
		l->flags = NODE_OCCLUDED;
		l->cover_labels = parent->cover_labels;
	} else if ((parent->flags & (NODE_CUT | NODE_DNAME)) != 0) {
		l->flags = NODE_OCCLUDED;
		l->cover_labels = (uint8_t)(labels - 1);
	} else if (t.has_ns) {
		l->flags = NODE_CUT | NODE_CHAIN;
		l->cover_labels = (uint8_t)labels;
	} else {
		l->flags = own;
	}
}

/* Fills p->levels for the name that ends the part before: its ancestors' records may be anywhere
 * before it. */
static void enter(struct part *p, const uint8_t *last)
{
	struct name_ref ref;
	name_ref_init(&ref, last);
	p->last = last;
	p->last_labels = ref.labels;
	for (unsigned labels = p->apex_labels; labels <= ref.labels; labels++) {
		struct traits t = {0};
		bool found;
		size_t at = owner_search(p->c, name_ref_at(&ref, labels), &found);
		if (found) {
			struct owner o;
			owner_at(p->c, at, &o);
			t = traits_of(p->c, &o);
		}
		p->levels[labels].hash = ref.hash[labels];
		set_flags(p, labels, t);
	}
}

/* A small zone would leave most of a large block unused. */
static struct cutter *cutter_of(struct part *p)
{
	return p->is_large ? &p->cutter : NULL;
}

static enum status add_empty(struct part *p, const struct name_ref *ref, unsigned labels)
{
	const uint8_t *name = name_ref_at(ref, labels);
	struct node *n = node_new(name, name_len(name), ref->hash[labels], 0, 0, cutter_of(p));
	if (n == NULL) {
		return ST_ENOMEM;
	}
	enum status st = array_add(&p->nodes, n);
	if (st != ST_OK) {
		node_free(n);
		return st;
	}
	p->levels[labels].hash = ref->hash[labels];
	set_flags(p, labels, (struct traits){0});
	n->flags = p->levels[labels].flags;
	n->cover_labels = p->levels[labels].cover_labels;
	return ST_OK;
}

/* Sets *labels and the name's level but for its flags; makes the ancestors that are missing. */
static enum status arrive(struct part *p, const uint8_t *name, unsigned *labels)
{
	/* Mostly the parent is that of the name before. */
	if (p->last != NULL && p->last_labels > p->apex_labels &&
	    name_equal(name_strip(name, 1), name_strip(p->last, 1))) {
		*labels = p->last_labels;
		p->levels[*labels].hash = name_hash_label(p->levels[*labels - 1].hash, name);
		p->last = name;
		return ST_OK;
	}
	struct name_ref ref;
	name_ref_init(&ref, name);
	unsigned have = p->last == NULL ? p->apex_labels : name_common_labels(p->last, name) + 1;
	for (; have < ref.labels; have++) {
		enum status st = add_empty(p, &ref, have);
		if (st != ST_OK) {
			return st;
		}
	}
	*labels = ref.labels;
	p->levels[ref.labels].hash = ref.hash[ref.labels];
	p->last = name;
	p->last_labels = ref.labels;
	return ST_OK;
}

static bool belongs(uint16_t type, enum node_kind kind)
{
	return type != RR_RRSIG && kind_of_type(type) == kind;
}

/* Octets for an RRset in its node's block, rounded so that the next one is aligned. 0: a block of
 * its own. */
static size_t size_inside(const struct content *c, const struct record_set *s, size_t offset)
{
	const struct record *r = set_records(c, s);
	size_t size = sizeof(struct rrset);
	for (size_t i = 0; i < s->count; i++) {
		size += 2u + record_rdata(&r[i]).len;
	}
	size = (size + 7) & ~(size_t)7;
	return offset + size <= NODE_BLOCK_MAX ? size : 0;
}

static enum status make_rrset(struct part *p, const struct owner *o, const struct record_set *s,
			      struct node *n, size_t *offset, struct rrset **out)
{
	const struct record *r = set_records(p->c, s);
	struct rrset *rs;
	enum status st = rdata_list_fill(&p->rdatas, p->c, s);
	if (st != ST_OK) {
		return st;
	}
	size_t inside = size_inside(p->c, s, *offset);
	if (inside > 0) {
		rs = node_embed(n, *offset);
		rrset_init(rs, r->type, r->ttl, p->rdatas.items, s->count);
		*offset += inside;
	} else {
		st = rrset_new(r->type, r->ttl, p->rdatas.items, s->count, &rs);
	}
	if (st == ST_OK && !p->signing) {
		struct record_set rrsigs = owner_rrsigs(p->c, o, r->type);
		st = rrset_take_rrsigs(rs, p->c, &rrsigs, &p->rdatas);
		if (st != ST_OK) {
			rrset_free(rs);
		}
	}
	if (st == ST_OK) {
		*out = rs;
	}
	return st;
}

static enum status fill_node(struct part *p, const struct owner *o, enum node_kind kind,
			     struct node *n)
{
	size_t offset = node_size(n->name_len, n->rrset_room);
	for (size_t i = o->first; i < o->first + o->count; i++) {
		const struct record_set *s = &p->c->sets[i];
		struct rrset *rs;
		if (!belongs(set_records(p->c, s)->type, kind)) {
			continue;
		}
		enum status st = make_rrset(p, o, s, n, &offset, &rs);
		if (st != ST_OK) {
			return st;
		}
		node_append(n, rs);
	}
	return ST_OK;
}

/* The owner's node with its RRsets of that kind, 'count' of them. */
static enum status make_node(struct part *p, const struct owner *o, enum node_kind kind,
			     size_t count, uint64_t hash, struct node **out)
{
	/* Where we sign, room for the NSEC to come. */
	size_t room = count + (p->signing ? 1 : 0);
	size_t len = name_len(o->name);
	size_t start = node_size(len, room);
	size_t size = start;
	for (size_t i = o->first; i < o->first + o->count; i++) {
		const struct record_set *s = &p->c->sets[i];
		if (belongs(set_records(p->c, s)->type, kind)) {
			size += size_inside(p->c, s, size);
		}
	}
	struct node *n = node_new(o->name, len, hash, room, size - start, cutter_of(p));
	if (n == NULL) {
		return ST_ENOMEM;
	}
	enum status st = fill_node(p, o, kind, n);
	if (st == ST_OK) {
		st = array_add(kind == KIND_NAME ? &p->nodes : &p->nsec3s, n);
	}
	if (st != ST_OK) {
		free_nodes(&(struct node_array){.items = &n, .count = 1});
		return st;
	}
	*out = n;
	return ST_OK;
}

static enum status add_owner(struct part *p, const struct owner *o)
{
	struct traits t = traits_of(p->c, o);
	struct node *n;
	enum status st = ST_OK;
	if (t.count > 0) {
		unsigned labels = 0;
		st = arrive(p, o->name, &labels);
		if (st == ST_OK) {
			st = make_node(p, o, KIND_NAME, t.count, p->levels[labels].hash, &n);
		}
		if (st != ST_OK) {
			return st;
		}
		set_flags(p, labels, t);
		n->flags = p->levels[labels].flags;
		n->cover_labels = p->levels[labels].cover_labels;
		p->name_count++;
		for (unsigned i = 0; i < n->rrset_count; i++) {
			p->record_count += n->rrsets[i]->count;
		}
	}
	return t.has_nsec3 ? make_node(p, o, KIND_NSEC3, 1, name_hash(o->name), &n) : st;
}

static void run_part(void *ctx, unsigned i)
{
	struct part *p = &((struct build *)ctx)->parts[i];
	struct owner o = {NULL, 0, 0};
	for (size_t at = p->first; p->status == ST_OK && at < p->end; at += o.count) {
		owner_at(p->c, at, &o);
		p->status = add_owner(p, &o);
	}
	free(p->rdatas.items);
	cutter_fini(&p->cutter);
}

/* The first set of an owner at or after that one. */
static size_t owner_start(const struct content *c, size_t at)
{
	while (at > 0 && at < c->set_count &&
	       set_records(c, &c->sets[at])->owner == set_records(c, &c->sets[at - 1])->owner) {
		at++;
	}
	return at;
}

static void start_part(struct part *p, const struct draft *d, const struct content *c, bool signing)
{
	size_t at = p->first;
	p->c = c;
	p->signing = signing;
	p->is_large = c->set_count >= LARGE_SETS;
	p->apex_labels = d->apex_labels;
	/* Back to the last name that is in the order of names. */
	while (at > 0 && !belongs(set_records(c, &c->sets[at - 1])->type, KIND_NAME)) {
		at--;
	}
	if (at > 0) {
		enter(p, set_records(c, &c->sets[at - 1])->owner);
	}
}

static enum status start(struct build *b, const struct content *c, bool signing)
{
	b->parts = calloc(b->part_count, sizeof(*b->parts));
	if (b->parts == NULL) {
		return ST_ENOMEM;
	}
	for (unsigned i = 0; i < b->part_count; i++) {
		struct part *p = &b->parts[i];
		p->first = owner_start(c, c->set_count / b->part_count * i);
		p->end = c->set_count;
		if (i > 0) {
			b->parts[i - 1].end = p->first;
		}
		start_part(p, b->d, c, signing);
	}
	return ST_OK;
}

static enum status join(struct build *b)
{
	size_t nodes = 0;
	size_t nsec3s = 0;
	for (unsigned i = 0; i < b->part_count; i++) {
		if (b->parts[i].status != ST_OK) {
			return b->parts[i].status;
		}
		nodes += b->parts[i].nodes.count;
		nsec3s += b->parts[i].nsec3s.count;
	}
	/* The first part's arrays grow to hold all; the others' nodes move there. */
	struct part *first = &b->parts[0];
	if (array_reserve(&first->nodes, nodes) != ST_OK ||
	    array_reserve(&first->nsec3s, nsec3s) != ST_OK) {
		return ST_ENOMEM;
	}
	for (unsigned i = 1; i < b->part_count; i++) {
		struct part *p = &b->parts[i];
		array_take(&first->nodes, &p->nodes);
		array_take(&first->nsec3s, &p->nsec3s);
		array_fini(&p->nodes);
		array_fini(&p->nsec3s);
		first->name_count += p->name_count;
		first->record_count += p->record_count;
	}
	return ST_OK;
}

static void build_ordered(struct build *b)
{
	struct draft *d = b->d;
	const struct part *all = &b->parts[0];
	enum status st =
		btree_build(&d->order, &d->cow, constant(all->nodes.items), all->nodes.count);
	if (st == ST_OK) {
		st = btree_build(&d->nsec3, &d->cow, constant(all->nsec3s.items),
				 all->nsec3s.count);
	}
	if (st == ST_OK && d->chain_wanted) {
		st = draft_build_chain(d);
	}
	b->ordered = st;
}

static void build_index(void *ctx, unsigned i)
{
	struct build *b = ctx;
	if (i == 0) {
		build_ordered(b);
	} else {
		struct draft *d = b->d;
		const struct part *all = &b->parts[0];
		b->hashed = nindex_build(&d->names, &d->cow, constant(all->nodes.items),
					 all->nodes.count);
	}
}

static enum status build_indexes(struct build *b)
{
	if (b->part_count > 1) {
		parallel_run(2, build_index, b);
	} else {
		build_index(b, 0);
		build_index(b, 1);
	}
	return b->ordered != ST_OK ? b->ordered : b->hashed;
}

/* The pages only: the nodes are in the parts. */
static void free_indexes(struct draft *d)
{
	nindex_free(&d->names, d->cow.stamp);
	btree_free(&d->order, d->cow.stamp);
	btree_free(&d->chain, d->cow.stamp);
	btree_free(&d->nsec3, d->cow.stamp);
	d->chain_built = false;
	d->chain_wanted = d->chain_told ? d->chain_wanted : true;
}

static bool content_has_nsecs(const struct draft *d, const struct content *c)
{
	bool found;
	size_t at = owner_search(c, d->apex, &found);
	struct owner o = {NULL, at, 0};
	if (found) {
		owner_at(c, at, &o);
	}
	for (size_t i = o.first; i < o.first + o.count; i++) {
		if (set_records(c, &c->sets[i])->type == RR_NSEC) {
			return true;
		}
	}
	return false;
}

static unsigned choose_parts(const struct content *c)
{
	size_t count = c->set_count / SETS_PER_PART;
	unsigned cpus = parallel_cpus();
	return count < 1 ? 1 : count > cpus ? cpus : (unsigned)count;
}

enum status draft_build(struct draft *d, const struct content *c, const struct build_options *opt)
{
	struct build b = {.d = d, .part_count = opt->parts > 0 ? opt->parts : choose_parts(c)};
	enum status st = start(&b, c, opt->signing);
	if (st != ST_OK) {
		goto out;
	}
	if (!d->chain_told) {
		d->chain_wanted = opt->signing || content_has_nsecs(d, c);
	}
	parallel_run(b.part_count, run_part, &b);
	st = join(&b);
	if (st == ST_OK && opt->spent != NULL) {
		content_fini(opt->spent);
	}
	if (st == ST_OK) {
		st = build_indexes(&b);
	}
	if (st == ST_OK) {
		d->name_count = b.parts[0].name_count;
		d->record_count = b.parts[0].record_count;
	}
out:
	for (unsigned i = 0; b.parts != NULL && i < b.part_count; i++) {
		struct part *p = &b.parts[i];
		if (st != ST_OK) {
			free_nodes(&p->nodes);
			free_nodes(&p->nsec3s);
		}
		array_fini(&p->nodes);
		array_fini(&p->nsec3s);
	}
	free(b.parts);
	if (st != ST_OK) {
		free_indexes(d);
	}
	return st;
}
