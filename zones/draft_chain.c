/* The chain's RRsets of a zone that is new, all at once: each goes where its node left room for it,
 * in one pass over the names, on several CPUs. Put one by one, each would be searched for, and its
 * node made anew by the general way. */
#include "nsd-core/base/bulk.h"
#include "nsd-core/base/parallel.h"
#include "zones/draft_impl.h"
#include "zones/node.h"
#include "zones/slab.h"

#include <stdlib.h>

/* Below that many names to a thread, starting it costs more than it saves. */
#define NODES_PER_PART 16384
/* From that many names on, RRsets are cut from large blocks. */
#define LARGE_NODES 32768

/* What is done afterwards in the general way. */
struct rest {
	const struct node *node;
	struct rrset *rs; /* NULL: the node's is to go */
};

struct part {
	size_t first, end;
	enum status status;
	size_t records;
	struct cutter cutter;
	struct rest *rest;
	size_t rest_count, rest_room;
};

struct filling {
	const struct chain_maker *maker;
	const struct node **nodes; /* the zone's, in canonical order */
	size_t count;
	bool is_large;
	struct part parts[PARALLEL_MAX];
};

/* Takes rs. */
static enum status add_rest(struct part *p, const struct node *n, struct rrset *rs)
{
	if (p->rest_count == p->rest_room) {
		size_t room = p->rest_room == 0 ? 16 : p->rest_room * 2;
		struct rest *grown = realloc(p->rest, room * sizeof(*grown));
		if (grown == NULL) {
			rrset_free(rs);
			return ST_ENOMEM;
		}
		p->rest = grown;
		p->rest_room = room;
	}
	p->rest[p->rest_count++] = (struct rest){n, rs};
	return ST_OK;
}

/* The apex is in the chain: this ends. */
static const struct node *next_of(const struct filling *f, size_t at)
{
	do {
		at = at + 1 < f->count ? at + 1 : 0;
	} while ((f->nodes[at]->flags & NODE_CHAIN) == 0);
	return f->nodes[at];
}

static enum status fill_node(struct filling *f, struct part *p, size_t at)
{
	const struct node *n = f->nodes[at];
	struct rrset *rs = NULL;
	bool has = node_rrset(n, RR_NSEC) != NULL;
	if ((n->flags & NODE_CHAIN) == 0) {
		return has ? add_rest(p, n, NULL) : ST_OK;
	}
	enum status st = f->maker->make(f->maker->ctx, (unsigned)(p - f->parts), n, next_of(f, at),
					f->is_large ? &p->cutter : NULL, &rs);
	if (st != ST_OK) {
		return st;
	}
	if (has || n->rrset_count == n->rrset_room) {
		return add_rest(p, n, rs);
	}
	/* The draft's own, and no other's yet. */
	node_insert((struct node *)(uintptr_t)n, rs);
	p->records += rs->count;
	return ST_OK;
}

static void fill_part(void *ctx, unsigned i)
{
	struct filling *f = ctx;
	struct part *p = &f->parts[i];
	for (size_t at = p->first; at < p->end && p->status == ST_OK; at++) {
		p->status = fill_node(f, p, at);
	}
	cutter_fini(&p->cutter);
}

/* The node may go with its RRset. */
static enum status do_rest(struct draft *d, struct rest *r)
{
	uint8_t name[NAME_MAX_LEN];
	struct rrset *rs = r->rs;
	memcpy(name, node_name(r->node), r->node->name_len);
	r->rs = NULL;
	return rs != NULL ? draft_put(d, name, rs) : draft_remove(d, name, RR_NSEC);
}

static enum status finish_part(struct draft *d, struct part *p, enum status before)
{
	enum status st = before == ST_OK ? p->status : before;
	d->record_count += p->records;
	for (size_t i = 0; i < p->rest_count; i++) {
		if (st == ST_OK) {
			st = do_rest(d, &p->rest[i]);
		} else {
			rrset_free(p->rest[i].rs);
		}
	}
	free(p->rest);
	return st;
}

enum status draft_make_chain(struct draft *d, const struct chain_maker *maker)
{
	struct filling f = {.maker = maker, .count = d->order.count};
	size_t size = draft_list_room(d) * sizeof(struct node *);
	if (d->base != NULL || f.count == 0) {
		return ST_ENOTSUP;
	}
	f.nodes = bulk_alloc(size);
	enum status st = f.nodes == NULL ? ST_ENOMEM : ST_OK;
	if (st == ST_OK) {
		(void)draft_list(d, f.nodes);
		size_t wanted = f.count / NODES_PER_PART;
		unsigned cpus = parallel_cpus();
		unsigned parts = wanted < 1 ? 1 : wanted > cpus ? cpus : (unsigned)wanted;
		f.is_large = f.count >= LARGE_NODES;
		for (unsigned i = 0; i < parts; i++) {
			f.parts[i].first = f.count * i / parts;
			f.parts[i].end = f.count * (i + 1) / parts;
		}
		parallel_run(parts, fill_part, &f);
		for (unsigned i = 0; i < parts; i++) {
			st = finish_part(d, &f.parts[i], st);
		}
	}
	bulk_free(f.nodes, size);
	return st;
}
