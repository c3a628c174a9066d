#include "zones/rdata.h"
#include "zones/version.h"

const struct node *version_find(const struct version *v, const struct name_ref *ref,
				unsigned labels)
{
	return nindex_find(&v->names, ref->hash[labels], name_ref_at(ref, labels));
}

/* What a look-up probes for. */
enum lookup_step {
	PROBE_NAME,
	PROBE_ENCLOSER, /* is there an ancestor at this depth? */
	PROBE_COVER,	/* the cut or DNAME above an occluded node */
	PROBE_WILDCARD,
};

static const uint8_t star[] = {1, '*'};

static void probe(struct lookup_job *j, enum lookup_step step, unsigned labels)
{
	j->step = (uint8_t)step;
	j->labels = (uint8_t)labels;
	j->hash = j->name->hash[labels];
}

static bool lookup_done(struct lookup_job *j, enum lookup_kind kind, const struct node *n,
			const struct node *encloser)
{
	j->found = (struct lookup){kind, n, encloser};
	return true;
}

static bool lookup_leads_to(struct lookup_job *j, const struct node *n)
{
	return lookup_done(j, (n->flags & NODE_CUT) != 0 ? LOOKUP_CUT : LOOKUP_DNAME, n, n);
}

static bool name_exists(struct lookup_job *j, const struct node *n)
{
	/* A DNAME redirects what is below its owner, not the owner (RFC 6672 2.3); the DS of a cut
	 * is on this side of it. */
	if ((n->flags & (NODE_CUT | NODE_OCCLUDED)) == 0 || (j->ds && (n->flags & NODE_CUT) != 0)) {
		return lookup_done(j, LOOKUP_NODE, n, n);
	}
	if ((n->flags & NODE_OCCLUDED) != 0) {
		probe(j, PROBE_COVER, n->cover_labels);
		return false;
	}
	return lookup_leads_to(j, n);
}

/* The name does not exist. All ancestors of a node exist, so existence ends at one depth: halve the
 * interval until the closest encloser is known. */
static bool approach_encloser(struct lookup_job *j)
{
	const struct node *n = j->found.encloser;
	if (j->high - j->low > 1) {
		probe(j, PROBE_ENCLOSER, (j->low + j->high) / 2U);
		return false;
	}
	if ((n->flags & NODE_OCCLUDED) != 0) {
		probe(j, PROBE_COVER, n->cover_labels);
		return false;
	}
	if ((n->flags & (NODE_CUT | NODE_DNAME)) != 0) {
		return lookup_leads_to(j, n);
	}
	j->step = PROBE_WILDCARD;
	j->labels = n->labels;
	j->hash = name_hash_label(j->name->hash[n->labels], star);
	return false;
}

/* 'n' is what was looked for, or NULL. True: the look-up is over. */
static bool lookup_step(struct lookup_job *j, const struct node *n)
{
	switch ((enum lookup_step)j->step) {
	case PROBE_NAME:
		if (n != NULL) {
			return name_exists(j, n);
		}
		j->found.encloser = j->version->apex;
		j->low = j->version->apex_labels;
		j->high = j->name->labels;
		return approach_encloser(j);
	case PROBE_ENCLOSER:
		if (n != NULL) {
			j->found.encloser = n;
			j->low = j->labels;
		} else {
			j->high = j->labels;
		}
		return approach_encloser(j);
	case PROBE_COVER:
		return lookup_leads_to(j, n);
	case PROBE_WILDCARD:
		break;
	}
	return lookup_done(j, n != NULL ? LOOKUP_WILDCARD : LOOKUP_NXDOMAIN, n, j->found.encloser);
}

static const struct node *lookup_probe(const struct lookup_job *j)
{
	const struct name_ref *ref = j->name;
	const uint8_t *name = name_ref_at(ref, j->labels);
	size_t len = (size_t)(ref->wire + ref->len - name);
	if (j->step != PROBE_WILDCARD) {
		return nindex_page_find(j->page, j->hash, name, len);
	}
	/* It may be longer than a name can be, and is then not found. */
	uint8_t wildcard[sizeof(star) + NAME_MAX_LEN];
	memcpy(wildcard, star, sizeof(star));
	memcpy(wildcard + sizeof(star), name, len);
	return nindex_page_find(j->page, j->hash, wildcard, sizeof(star) + len);
}

void version_lookup(const struct version *v, const struct name_ref *ref, bool ds,
		    struct lookup *out)
{
	struct lookup_job j = {.version = v, .name = ref, .ds = ds};
	struct lookup_job *jobs[] = {&j};
	version_lookup_many(jobs, 1);
	*out = j.found;
}

void version_lookup_many(struct lookup_job *const *jobs, size_t count)
{
	struct lookup_job *open[LOOKUPS_MAX];
	for (size_t i = 0; i < count; i++) {
		open[i] = jobs[i];
		probe(open[i], PROBE_NAME, open[i]->name->labels);
	}
	while (count > 0) {
		size_t left = 0;
		for (size_t i = 0; i < count; i++) {
			open[i]->page = nindex_page(&open[i]->version->names, open[i]->hash);
		}
		for (size_t i = 0; i < count; i++) {
			nindex_page_prefetch(open[i]->page, open[i]->hash);
		}
		for (size_t i = 0; i < count; i++) {
			struct lookup_job *j = open[i];
			if (!lookup_step(j, lookup_probe(j))) {
				open[left++] = j;
			}
		}
		count = left;
	}
}

/* Does the chain's link from 'owner' to its next name cover 'name', which comes after owner (or,
 * where owner is the chain's last, perhaps before all of it)? */
static bool nsec_covers(const struct node *owner, const uint8_t *name)
{
	const struct rrset *rs = node_rrset(owner, RR_NSEC);
	if (rs == NULL) {
		return false;
	}
	const uint8_t *next = rdata_at(rs->data).data;
	return name_compare(name, next) < 0 || name_compare(next, node_name(owner)) <= 0;
}

bool version_nsec_spans(const struct node *owner, const uint8_t *name)
{
	int order = name_compare(node_name(owner), name);
	return order == 0 || (order < 0 && nsec_covers(owner, name));
}

const struct node *version_nsec_at(const struct version *v, const uint8_t *name,
				   const struct node *floor, bool exact, bool *matches)
{
	const struct node *n = floor != NULL ? floor : btree_last(&v->chain);
	if (n == NULL || (exact ? node_rrset(n, RR_NSEC) == NULL : !nsec_covers(n, name))) {
		return NULL;
	}
	*matches = exact;
	return n;
}

const struct node *version_nsec(const struct version *v, const uint8_t *name, bool *matches)
{
	if (v->denial != DENIAL_NSEC) {
		return NULL;
	}
	bool exact;
	struct sort_key key;
	sort_key_init(&key, name);
	const struct node *n = btree_find_floor(&v->chain, &key, &exact);
	return version_nsec_at(v, name, n, exact, matches);
}
