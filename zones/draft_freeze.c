#include "zones/draft_impl.h"
#include "zones/pending.h"
#include "zones/rdata.h"

#include <stdlib.h>

/* Collects the nodes and RRsets that the draft made. */
static enum status collect_added(struct draft *d, enum node_kind kind, struct name_list *l,
				 struct retired *added)
{
	enum status st = name_list_sort(l);
	for (size_t i = 0; st == ST_OK && i < l->count; i++) {
		const struct node *n = draft_node(d, kind, l->names[i]);
		if (n == NULL || !draft_owns(d, n)) {
			continue;
		}
		st = retired_reserve(added, 1u + n->rrset_count);
		if (st != ST_OK) {
			break;
		}
		const struct node *base = draft_base_node(d, kind, l->names[i]);
		retired_add_node(added, n);
		for (unsigned k = 0; k < n->rrset_count; k++) {
			if (!node_holds(base, n->rrsets[k])) {
				retired_add_rrset(added, n->rrsets[k]);
			}
		}
	}
	return st;
}

static enum status make_pending(struct draft *d, struct pending **out)
{
	struct pending *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return ST_ENOMEM;
	}
	enum status st = collect_added(d, KIND_NAME, &d->touched, &p->added);
	if (st == ST_OK) {
		st = collect_added(d, KIND_NSEC3, &d->touched_nsec3, &p->added);
	}
	if (st != ST_OK) {
		retired_fini(&p->added);
		free(p);
		return st;
	}
	*out = p;
	return ST_OK;
}

/* The first NSEC3PARAM that we can prove by (RFC 5155 4.1.2: flags other than 0 are to be ignored).
 */
static bool find_nsec3param(const struct node *apex, struct version *v)
{
	const struct rrset *rs = node_rrset(apex, RR_NSEC3PARAM);
	for (const uint8_t *p = rs == NULL ? NULL : rs->data; p != NULL && p < rs->data + rs->size;
	     p = rdata_next(p)) {
		struct wreader r;
		wreader_init(&r, rdata_at(p).data, rdata_at(p).len);
		uint8_t algorithm = wreader_u8(&r);
		uint8_t flags = wreader_u8(&r);
		uint16_t iterations = wreader_u16(&r);
		struct bytes salt = wreader_str8(&r);
		if (r.err == ST_OK && algorithm == 1 && flags == 0 &&
		    iterations <= NSEC3_ITERATIONS_MAX) {
			v->nsec3_iterations = iterations;
			v->nsec3_salt_len = (uint8_t)salt.len;
			if (salt.len > 0) {
				memcpy(v->nsec3_salt, salt.data, salt.len);
			}
			return true;
		}
	}
	return false;
}

static enum denial find_denial(const struct draft *d, const struct node *apex,
			       const struct freeze *f, struct version *v)
{
	if (f->denial == DENIAL_NSEC) {
		return DENIAL_NSEC;
	}
	if (d->nsec3.count > 0 && find_nsec3param(apex, v)) {
		return DENIAL_NSEC3;
	}
	return node_rrset(apex, RR_NSEC) != NULL ? DENIAL_NSEC : DENIAL_NONE;
}

/* Longer ones may be worth more to name compression. */
#define SOA_OWN_MAX 16

/* Octets of a name before the apex's: none, or one label. False: it is another name. */
static bool soa_name_own(const struct node *apex, const uint8_t *name, uint8_t *out)
{
	unsigned own = name_labels(name) > apex->labels ? *name + 1U : 0;
	*out = (uint8_t)own;
	return own <= SOA_OWN_MAX && name_equal(name + own, node_name(apex));
}

static enum status find_soa(const struct node *apex, struct version *v)
{
	struct soa soa;
	struct rrset *rs = apex == NULL ? NULL : node_rrset(apex, RR_SOA);
	if (rs == NULL || soa_parse(rdata_at(rs->data), &soa) != ST_OK) {
		return ST_EPARSE;
	}
	v->soa = rs;
	v->serial = soa.serial;
	v->soa_is_short = soa_name_own(apex, soa.mname, &v->soa_own[0]) &&
			  soa_name_own(apex, soa.rname, &v->soa_own[1]);
	v->negative_ttl = rs->ttl < soa.minimum ? rs->ttl : soa.minimum;
	return ST_OK;
}

static enum status settle_chain(struct draft *d, enum denial denial)
{
	if (denial == DENIAL_NSEC) {
		return draft_build_chain(d);
	}
	enum status st = d->chain_built ? btree_clear(&d->chain, &d->cow) : ST_OK;
	if (st == ST_OK) {
		d->chain_built = false;
	}
	return st;
}

static void clear_draft_flags(const struct draft *d, enum node_kind kind, const struct name_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct node *n = draft_node(d, kind, l->names[i]);
		if (n != NULL && (n->flags & NODE_DRAFT) != 0) {
			((struct node *)(uintptr_t)n)->flags &= (uint8_t)~NODE_DRAFT;
		}
	}
}

static const struct node *find_apex_wildcard(const struct version *v)
{
	static const uint8_t star[] = {1, '*'};
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	bool matches;
	return name_join(star, sizeof(star), v->apex_name, name, &len) == ST_OK
		       ? version_nsec(v, name, &matches)
		       : NULL;
}

/* Everything that can fail is over. */
static void move_out(struct draft *d, const struct freeze *f, struct pending *pending,
		     struct version *v)
{
	atomic_init(&v->refs, 1);
	v->stamp = d->cow.stamp;
	v->names = d->names;
	v->order = d->order;
	v->chain = d->chain;
	v->nsec3 = d->nsec3;
	v->name_count = d->name_count;
	v->record_count = d->record_count;
	v->is_signed = f->is_signed;
	v->keys = f->keys;
	v->keys_unref = f->keys_unref;
	v->pending = pending;
	if (pending != NULL) {
		clear_draft_flags(d, KIND_NAME, &d->touched);
		clear_draft_flags(d, KIND_NSEC3, &d->touched_nsec3);
		pending->base = d->base;
		pending->replaced = d->replaced;
		d->base = NULL;
		retired_init(&d->replaced);
	}
	v->apex_wildcard = find_apex_wildcard(v);
	d->touched.count = 0;
	d->touched_nsec3.count = 0;
	d->names = (struct nindex){0};
	d->order = (struct btree){0};
	d->chain = (struct btree){0};
	d->nsec3 = (struct btree){0};
	d->broken = ST_EFATAL;
}

enum status draft_freeze(struct draft *d, const struct freeze *f, struct version **out)
{
	enum status st = draft_settle_flags(d);
	if (st != ST_OK) {
		return st;
	}
	struct pending *pending = NULL;
	struct version *v = calloc(1, sizeof(*v));
	if (v == NULL) {
		return ST_ENOMEM;
	}
	v->apex = draft_node(d, KIND_NAME, d->apex);
	st = find_soa(v->apex, v);
	if (st != ST_OK) {
		goto out;
	}
	v->apex_name = node_name(v->apex);
	v->apex_labels = d->apex_labels;
	v->denial = find_denial(d, v->apex, f, v);
	st = settle_chain(d, v->denial);
	if (st == ST_OK && d->base != NULL) {
		st = make_pending(d, &pending);
	}
	if (st == ST_OK) {
		move_out(d, f, pending, v);
		*out = v;
		v = NULL;
	}
out:
	free(v);
	return st;
}
