#include "zones/diff.h"

#include "zones/name_list.h"
#include "zones/pending.h"
#include "zones/rdata.h"

#include <assert.h>

enum side {
	REMOVED,
	ADDED,
};

struct diffing {
	const struct diff_options *opt;
	struct zone_sum *sum;
	const uint8_t *apex; /* of both versions */
	enum side side;	     /* told of now */
};

/* An RRset as it was, as it is, or neither. */
struct one {
	const struct node *node;
	const struct rrset *rs; /* NULL: there is none */
	const struct sigset *sigs;
};

/* RDATAs with their lengths in front. */
struct run {
	const uint8_t *pos, *end;
};

static int compare_octets(struct bytes a, struct bytes b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
	if (order != 0) {
		return order;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

/* Those of 'mine' that 'other' does not have, octet for octet. Both are sorted: RRSIGs by their
 * octets, others canonically, where names may differ in case alone. */
static enum status tell_missing(const struct diffing *d, struct diff_record r, struct run mine,
				struct run other)
{
	enum status st = ST_OK;
	while (mine.pos < mine.end && st == ST_OK) {
		r.rdata = rdata_at(mine.pos);
		int order = -1;
		if (other.pos < other.end) {
			struct bytes theirs = rdata_at(other.pos);
			order = r.type == RR_RRSIG ? compare_octets(r.rdata, theirs)
						   : rdata_compare(r.type, r.rdata, theirs);
			if (order >= 0) {
				other.pos = rdata_next(other.pos);
			}
			if (order == 0 && compare_octets(r.rdata, theirs) != 0) {
				order = -1;
			}
		}
		if (order > 0) {
			continue;
		}
		if (order < 0) {
			st = d->opt->each(d->opt->ctx, &r);
		}
		mine.pos = rdata_next(mine.pos);
	}
	return st;
}

static struct run data_run(const struct rrset *rs)
{
	return rs != NULL ? (struct run){rs->data, rs->data + rs->size} : (struct run){NULL, NULL};
}

/* 'buf' has SIGSET_BUF octets. */
static struct run sigs_run(const struct diffing *d, const struct one *o, uint8_t *buf)
{
	if (o->sigs == NULL) {
		return (struct run){NULL, NULL};
	}
	struct bytes data = sigset_data(o->sigs, o->rs, d->apex, buf);
	return (struct run){data.data, data.data + data.len};
}

static enum status tell_rrset(const struct diffing *d, const struct one *mine,
			      const struct one *other)
{
	struct run none = {NULL, NULL};
	uint8_t buf[2][SIGSET_BUF];
	if (mine->rs == NULL) {
		return ST_OK;
	}
	/* A record with another TTL is another record. */
	bool same_ttl = other->rs != NULL && mine->rs->ttl == other->rs->ttl;
	struct diff_record r = {
		.owner = node_name(mine->node), .type = mine->rs->type, .ttl = mine->rs->ttl};
	enum status st = ST_OK;
	/* The SOA leads each half. */
	if (r.type != RR_SOA) {
		st = tell_missing(d, r, data_run(mine->rs), same_ttl ? data_run(other->rs) : none);
	}
	if (st == ST_OK) {
		r.type = RR_RRSIG;
		st = tell_missing(d, r, sigs_run(d, mine, buf[0]),
				  same_ttl ? sigs_run(d, other, buf[1]) : none);
	}
	return st;
}

static enum status diff_rrset(const struct diffing *d, struct one *was, struct one *is)
{
	const struct diff_options *opt = d->opt;
	was->sigs = was->rs != NULL ? zone_sigs(opt->covers[REMOVED], was->node, was->rs) : NULL;
	is->sigs = is->rs != NULL ? zone_sigs(opt->covers[ADDED], is->node, is->rs) : NULL;
	if (was->rs == is->rs && was->sigs == is->sigs) {
		return ST_OK;
	}
	if (d->side == ADDED) {
		return tell_rrset(d, is, was);
	}
	enum status st = ST_OK;
	if (was->rs != NULL) {
		st = zone_sum_remove(d->sum, opt->covers[REMOVED], was->node, was->rs);
	}
	if (st == ST_OK && is->rs != NULL) {
		st = zone_sum_add(d->sum, opt->covers[ADDED], is->node, is->rs);
	}
	return st == ST_OK ? tell_rrset(d, was, is) : st;
}

/* RRsets are sorted by type. Either may be NULL. */
static enum status diff_nodes(const struct diffing *d, const struct node *was,
			      const struct node *is)
{
	unsigned i = 0;
	unsigned k = 0;
	unsigned was_count = was != NULL ? was->rrset_count : 0;
	unsigned is_count = is != NULL ? is->rrset_count : 0;
	enum status st = ST_OK;
	while (was != is && st == ST_OK && (i < was_count || k < is_count)) {
		struct one a = {.node = was, .rs = i < was_count ? was->rrsets[i] : NULL};
		struct one b = {.node = is, .rs = k < is_count ? is->rrsets[k] : NULL};
		if (a.rs != NULL && b.rs != NULL && a.rs->type != b.rs->type) {
			if (a.rs->type < b.rs->type) {
				b.rs = NULL;
			} else {
				a.rs = NULL;
			}
		}
		i += a.rs != NULL;
		k += b.rs != NULL;
		st = diff_rrset(d, &a, &b);
	}
	return st;
}

static enum status diff_names(const struct diffing *d, const struct name_list *names,
			      const struct btree *was, const struct btree *is)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < names->count && st == ST_OK; i++) {
		struct sort_key key;
		sort_key_init(&key, names->names[i]);
		st = diff_nodes(d, btree_find(was, &key), btree_find(is, &key));
	}
	return st;
}

static enum status tell_soa(const struct diffing *d, const struct version *v)
{
	struct diff_record r = {.owner = v->apex_name,
				.type = RR_SOA,
				.ttl = v->soa->ttl,
				.rdata = rdata_at(v->soa->data)};
	return d->opt->each(d->opt->ctx, &r);
}

static enum status add_nodes(struct name_list *l, const struct retired *r)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < r->count && st == ST_OK; i++) {
		const struct node *n = retired_node(r, i);
		if (n != NULL) {
			st = name_list_add(l, node_name(n));
		}
	}
	return st;
}

enum status version_diff(const struct version *base, const struct version *next,
			 const struct diff_options *opt, struct zone_sum *sum)
{
	struct name_list names = {.count = 0};
	struct zone_sum found = *sum;
	struct diffing d = {.opt = opt, .sum = &found, .apex = base->apex_name};
	assert(next->pending != NULL && next->pending->base == base);
	enum status st = add_nodes(&names, &next->pending->replaced);
	if (st == ST_OK) {
		st = add_nodes(&names, &next->pending->added);
	}
	if (st == ST_OK) {
		st = name_list_sort(&names);
	}
	for (d.side = REMOVED; d.side <= ADDED && st == ST_OK; d.side++) {
		st = tell_soa(&d, d.side == REMOVED ? base : next);
		if (st == ST_OK) {
			st = diff_names(&d, &names, &base->order, &next->order);
		}
		if (st == ST_OK) {
			st = diff_names(&d, &names, &base->nsec3, &next->nsec3);
		}
	}
	name_list_fini(&names);
	if (st == ST_OK) {
		*sum = found;
	}
	return st;
}
