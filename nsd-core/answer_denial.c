/* Proofs of what is not there: NSEC (RFC 4035 3.1.3) and NSEC3 (RFC 5155 7.2). */
#include "nsd-core/answer_plan.h"

void plan_soa(struct plan *p)
{
	const struct version *v = plan_here(p)->version;
	struct plan_item *item = plan_add(p, SECTION_AUTHORITY, v->apex, v->soa, v->apex_name);
	item->set.ttl = v->negative_ttl;
	item->set.owner_at = plan_place(p, v->apex_labels);
	item->set.soa_own = v->soa_is_short ? v->soa_own : NULL;
}

/* A name that both the current name and the owner of a proof are at or below. */
struct above {
	uint8_t labels; /* 0: not known */
	uint8_t len;
};

static struct above above_of(const struct node *n)
{
	return (struct above){n->labels, n->name_len};
}

/* The RRset of a chain's node, once. */
static void add_proof(struct plan *p, const struct node *node, uint16_t type, struct above above)
{
	struct rrset *rs = node != NULL ? node_rrset(node, type) : NULL;
	if (rs == NULL) {
		return; /* a hole in a chain that came with the file */
	}
	for (unsigned i = 0; i < p->item_count; i++) {
		if (p->items[i].rs == rs && p->items[i].section == SECTION_AUTHORITY) {
			return;
		}
	}
	struct plan_item *item = plan_add(p, SECTION_AUTHORITY, node, rs, node_name(node));
	item->set.owner_at = plan_place(p, above.labels);
	item->set.owner_own = item->set.owner_at != 0 ? (uint8_t)(node->name_len - above.len) : 0;
}

/* The NSEC that matches or covers a name. */
static void add_nsec(struct plan *p, const uint8_t *name)
{
	bool matches;
	add_proof(p, version_nsec(plan_here(p)->version, name, &matches), RR_NSEC,
		  (struct above){0, 0});
}

/* The one of the current name, which does not exist, so that it shares no more labels with any that
 * does than its closest encloser has. */
static const struct node *add_nsec_current(struct plan *p, struct above above)
{
	const struct found *f = p->found;
	const struct version *v = plan_here(p)->version;
	bool matches;
	const struct node *n =
		p->current == &f->name && f->searched
			? version_nsec_at(v, f->name.wire, f->nsec.node, f->nsec.exact, &matches)
			: version_nsec(v, p->current->wire, &matches);
	add_proof(p, n, RR_NSEC, above);
	return n;
}

/* The NSEC of a node, or the one that covers it where it is an empty non-terminal. */
static void add_nsec_of(struct plan *p, const struct node *node, bool ancestor)
{
	if (node_rrset(node, RR_NSEC) != NULL) {
		add_proof(p, node, RR_NSEC, ancestor ? above_of(node) : (struct above){0, 0});
	} else {
		add_nsec(p, node_name(node));
	}
}

static void add_nsec3(struct plan *p, const uint8_t *name)
{
	bool matches;
	const struct version *v = plan_here(p)->version;
	add_proof(p, version_nsec3(v, name, &matches), RR_NSEC3, above_of(v->apex));
}

/* Closest encloser proof (RFC 5155 7.2.1) for the ancestor of the current name that has 'labels'
 * labels (or the name itself), of which 'exist' lead to what exists. That may lie in an opt-out
 * span and have no NSEC3: then the next one up that has one is the closest provable encloser.
 * Returns that one's labels. */
static unsigned add_nsec3_closest(struct plan *p, unsigned exist, unsigned labels)
{
	const struct version *v = plan_here(p)->version;
	for (;; exist--) {
		bool matches = false;
		const struct node *n3 = version_nsec3(v, name_ref_at(p->current, exist), &matches);
		if (matches) {
			add_proof(p, n3, RR_NSEC3, above_of(v->apex));
			break;
		}
		if (exist <= v->apex_labels) {
			return exist; /* a chain without its apex proves nothing */
		}
	}
	if (exist < labels) {
		add_nsec3(p, name_ref_at(p->current, exist + 1));
	}
	return exist;
}

/* The wildcard below a name; false where it is too long to exist. */
static bool wildcard_at(const uint8_t *parent, uint8_t out[NAME_MAX_LEN])
{
	static const uint8_t star[] = {1, '*'};
	size_t len;
	return name_join(star, sizeof(star), parent, out, &len) == ST_OK;
}

/* That neither the current name nor the wildcard below its closest encloser is there. */
static void add_nsec_nxdomain(struct plan *p, const struct node *encloser)
{
	const struct version *v = plan_here(p)->version;
	uint8_t wildcard[NAME_MAX_LEN];
	/* Between a name and one below it only those come that are below it too. */
	bool below = (encloser->flags & NODE_CHAIN) != 0;
	const struct node *n =
		add_nsec_current(p, below ? above_of(encloser) : (struct above){0, 0});
	if (encloser == v->apex) {
		add_proof(p, v->apex_wildcard, RR_NSEC, above_of(v->apex));
	} else if (wildcard_at(node_name(encloser), wildcard) &&
		   (n == NULL || !version_nsec_spans(n, wildcard))) {
		add_nsec(p, wildcard);
	}
}

void plan_proof_nxdomain(struct plan *p, const struct node *encloser)
{
	if (!plan_here(p)->dnssec) {
		return;
	}
	uint8_t wildcard[NAME_MAX_LEN];
	unsigned labels = encloser->labels;
	switch (plan_here(p)->version->denial) {
	case DENIAL_NSEC:
		add_nsec_nxdomain(p, encloser);
		break;
	case DENIAL_NSEC3:
		/* A validator looks for the wildcard below the encloser that was proven (8.4). */
		labels = add_nsec3_closest(p, labels, p->current->labels);
		if (wildcard_at(name_ref_at(p->current, labels), wildcard)) {
			add_nsec3(p, wildcard);
		}
		break;
	case DENIAL_NONE:
		break;
	}
}

void plan_proof_nodata(struct plan *p, const struct node *node)
{
	if (!plan_here(p)->dnssec) {
		return;
	}
	switch (plan_here(p)->version->denial) {
	case DENIAL_NSEC:
		add_nsec_of(p, node, true);
		break;
	case DENIAL_NSEC3:
		add_nsec3_closest(p, node->labels, node->labels);
		break;
	case DENIAL_NONE:
		break;
	}
}

/* What the wildcard that matched is below: the closest encloser. It comes before the wildcard, and
 * what is between that and the current name is below it too. */
static struct above above_wildcard(const struct plan *p, const struct node *wildcard)
{
	bool after = name_ref_at(p->current, wildcard->labels)[1] > '*';
	if (!after || (wildcard->flags & NODE_CHAIN) == 0) {
		return (struct above){0, 0};
	}
	return (struct above){(uint8_t)(wildcard->labels - 1), (uint8_t)(wildcard->name_len - 2)};
}

void plan_proof_wildcard(struct plan *p, const struct node *wildcard)
{
	if (!plan_here(p)->dnssec) {
		return;
	}
	switch (plan_here(p)->version->denial) {
	case DENIAL_NSEC:
		add_nsec_current(p, above_wildcard(p, wildcard));
		break;
	case DENIAL_NSEC3:
		/* The next closer name is one label below the closest encloser, as the wildcard is.
		 */
		add_nsec3(p, name_ref_at(p->current, wildcard->labels));
		break;
	case DENIAL_NONE:
		break;
	}
}

void plan_proof_wildcard_nodata(struct plan *p, const struct node *wildcard)
{
	if (!plan_here(p)->dnssec) {
		return;
	}
	switch (plan_here(p)->version->denial) {
	case DENIAL_NSEC:
		add_nsec_of(p, wildcard, false);
		add_nsec_current(p, above_wildcard(p, wildcard));
		break;
	case DENIAL_NSEC3:
		add_nsec3_closest(p, wildcard->labels - 1U, p->current->labels);
		add_nsec3(p, node_name(wildcard));
		break;
	case DENIAL_NONE:
		break;
	}
}

void plan_proof_cut(struct plan *p, const struct node *cut)
{
	if (!plan_here(p)->dnssec) {
		return;
	}
	struct rrset *ds = node_rrset(cut, RR_DS);
	if (ds != NULL) {
		struct plan_item *item = plan_add(p, SECTION_AUTHORITY, cut, ds, node_name(cut));
		item->set.owner_at = plan_place(p, cut->labels);
		return;
	}
	switch (plan_here(p)->version->denial) {
	case DENIAL_NSEC:
		add_nsec_of(p, cut, true);
		break;
	case DENIAL_NSEC3:
		add_nsec3_closest(p, cut->labels, cut->labels);
		break;
	case DENIAL_NONE:
		break;
	}
}
