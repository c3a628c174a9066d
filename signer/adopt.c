#include "signer/signer.h"

struct adopting {
	const struct version *from;
	size_t count;
};

static const struct rrset *find_like(const struct version *v, const struct node *n,
				     const struct rrset *rs)
{
	const struct node *other;
	if (rs->type == RR_NSEC3) {
		struct sort_key key;
		sort_key_init(&key, node_name(n));
		other = btree_find(&v->nsec3, &key);
	} else {
		struct name_ref ref;
		name_ref_init(&ref, node_name(n));
		other = version_find(v, &ref, ref.labels);
	}
	/* Where it carries signatures here, it does there, or its slot is empty. */
	const struct rrset *like = other != NULL ? node_rrset(other, rs->type) : NULL;
	return like != NULL && rrset_equal(like, rs) ? like : NULL;
}

static enum status adopt_each(void *ctx, const struct node *n, struct rrset *rs)
{
	struct adopting *a = ctx;
	if (rrset_sigs(rs) != NULL || !signer_covers(n, rs)) {
		return ST_OK;
	}
	const struct rrset *like = find_like(a->from, n, rs);
	const struct sigset *sigs = like != NULL ? rrset_sigs(like) : NULL;
	if (sigs == NULL) {
		return ST_OK;
	}
	struct sigset *copy;
	enum status st = sigset_copy(sigs, &copy);
	if (st != ST_OK) {
		return st;
	}
	atomic_store_explicit(&rs->sigs, copy, memory_order_release);
	atomic_store(&rs->sig_state, SIG_FILLED);
	a->count++;
	return ST_OK;
}

enum status signer_adopt(struct draft *d, const struct version *from, size_t *count)
{
	struct adopting a = {.from = from};
	enum status st = draft_each_new(d, adopt_each, &a);
	if (st == ST_OK) {
		*count = a.count;
	}
	return st;
}
