/* A zone version: immutable once frozen, but for the signature slots of its RRsets.
 *
 * Versions share pages, nodes and RRsets. A version is made from a draft of a base version. While
 * it is not published it holds a reference on its base, and dropping it frees what it added. When
 * it is about to be published, version_succeed() makes it the base's successor: what it replaced is
 * from then on retired with the base, and freed once the base and all older ones are gone. Each
 * version keeps a reference on its successor, so that versions die in order; the last one frees
 * everything. */
#pragma once

#include "nsd-core/base/rcu.h"
#include "zones/btree.h"
#include "zones/nindex.h"
#include "zones/rrset.h"

enum node_flags {
	NODE_APEX = 0x01,
	NODE_CUT = 0x02, /* has NS and is not the apex, and is not itself below a cut or DNAME */
	NODE_OCCLUDED = 0x04, /* below a cut (glue) or below a DNAME: never authoritative */
	NODE_CHAIN = 0x08,    /* owns an NSEC (authoritative names with data, and cuts) */
	NODE_DNAME = 0x10,    /* has a DNAME that counts: not occluded, and not a cut's */
	NODE_DRAFT = 0x80,    /* a draft's own; never seen in a version */
};

/* A name that exists in the zone, with its RRsets sorted by type; none: an empty non-terminal.
 * Immutable. Behind the array stand the RRsets' types (node_types(): a look-up for one type touches
 * no other RRset) and the owner's name (node_name(): lower case, wire). A draft may leave room for
 * RRsets to come. */
struct node {
	uint64_t hash; /* name_hash() */
	uint8_t flags;
	uint8_t labels;
	uint8_t name_len;
	/* Labels of the topmost cut or DNAME owner that covers this node: for a NODE_CUT its own
	 * labels, for NODE_OCCLUDED the owner's; 0: none. The topmost only is authoritative. */
	uint8_t cover_labels;
	uint16_t rrset_count;
	uint16_t rrset_room;
	struct rrset *rrsets[];
};

/* types[i] is rrsets[i]->type. */
static inline const uint16_t *node_types(const struct node *n)
{
	return (const uint16_t *)(n->rrsets + n->rrset_room);
}

static inline const uint8_t *node_name(const struct node *n)
{
	return (const uint8_t *)(node_types(n) + n->rrset_room);
}

/* NULL where the node has no RRset of the type. */
static inline struct rrset *node_rrset(const struct node *n, uint16_t type)
{
	const uint16_t *types = node_types(n);
	for (unsigned i = 0; i < n->rrset_count; i++) {
		if (types[i] >= type) {
			return types[i] == type ? n->rrsets[i] : NULL;
		}
	}
	return NULL;
}

enum denial {
	DENIAL_NONE,
	DENIAL_NSEC,
	DENIAL_NSEC3,
};

/* Validators take what is above for unsigned or bogus (RFC 9276 3.2), and each look-up would cost
 * that many digests: such a chain is kept, and proves nothing. */
#define NSEC3_ITERATIONS_MAX 500

/* What every answer reads comes first, in two cache lines; then what proofs read. */
struct version {
	struct nindex names;	  /* every node, by hash (not those that own only an NSEC3) */
	const uint8_t *apex_name; /* lower case */
	const struct node *apex;
	struct rrset *soa;
	void *keys;	       /* the signer's key set this version was made for; NULL: not signed
				  by us. Shared by versions. */
	uint32_t negative_ttl; /* min(SOA TTL, SOA MINIMUM), RFC 2308, 9077 */
	uint8_t apex_labels;
	/* MNAME and RNAME are at most one short label below the apex: the octets before its name.
	 */
	bool soa_is_short;
	uint8_t soa_own[2];
	bool is_signed; /* answers to DO carry RRSIGs: by policy, or the file holds them */
	/* From the content: NSEC3 where the apex has an NSEC3PARAM of SHA-1 with at most
	 * NSEC3_ITERATIONS_MAX iterations and there are NSEC3s, else NSEC where the apex has one.
	 */
	enum denial denial;
	struct btree chain; /* DENIAL_NSEC: every NODE_CHAIN node; else empty */
	/* DENIAL_NSEC: the node whose NSEC matches or covers the wildcard below the apex, which
	 * most proofs of non-existence want; NULL: the chain has a hole there. */
	const struct node *apex_wildcard;
	struct btree nsec3; /* nodes of NSEC3 owners: these own an NSEC3 only and are in no other
			       index */
	struct btree order; /* every node, canonical order */

	_Atomic(uint32_t) refs;
	struct rcu_node rcu;
	uint64_t stamp;		 /* that of the pages its draft made; one more than the base's */
	struct version *newer;	 /* referenced; set when this one is succeeded */
	struct retired retired;	 /* what only this and older versions use */
	struct pending *pending; /* made from a base it does not succeed yet */
	void (*keys_unref)(void *keys);
	uint32_t serial;
	size_t name_count;   /* names that own records */
	size_t record_count; /* without RRSIGs and NSEC3s */
	uint16_t nsec3_iterations;
	uint8_t nsec3_salt_len;
	uint8_t nsec3_salt[255];
};

/* Long references: ref inside a read section or while holding one already; unref anywhere. */
struct version *version_ref(struct version *v);
void version_unref(struct version *v); /* takes NULL */
/* Unref after a grace period: for the reference that a published pointer held. */
void version_unref_deferred(struct version *v);

/* 'next' is about to be published in the place of 'base': called once, by the publisher, just
 * before. Cannot fail. base may be NULL, and must not have a successor unless next was made from no
 * base at all, when nothing is shared and nothing happens. */
void version_succeed(struct version *base, struct version *next);

/* The node of the ancestor of ref that has 'labels' labels; NULL: there is none. */
const struct node *version_find(const struct version *v, const struct name_ref *ref,
				unsigned labels);

enum lookup_kind {
	LOOKUP_NODE, /* 'node' is the name itself, authoritative (perhaps an empty non-terminal) */
	LOOKUP_WILDCARD, /* 'node' is the wildcard that matches, 'encloser' the closest encloser */
	LOOKUP_CUT,	 /* 'node' is the zone cut at or above the name (RFC 1034 4.3.2 3b) */
	LOOKUP_DNAME,	 /* 'node' owns a DNAME above the name (RFC 6672) */
	LOOKUP_NXDOMAIN, /* 'encloser' is the closest encloser */
};

struct lookup {
	enum lookup_kind kind;
	const struct node *node;
	const struct node *encloser; /* closest encloser where the name does not exist, else node */
};

/* Where does the name lead? ref must be at or below the apex. For a question of type DS at a cut
 * pass ds = true: the cut's own node is then LOOKUP_NODE (RFC 4035 3.1.4.1). Pure. */
void version_lookup(const struct version *v, const struct name_ref *ref, bool ds,
		    struct lookup *out);

#define LOOKUPS_MAX 16

/* One of up to LOOKUPS_MAX look-ups that are made side by side, so that they wait for memory
 * together and not one after the other. 'version', 'name' and 'ds' are the caller's, as for
 * version_lookup(); 'found' is the result; the rest is version_lookup_many()'s own. */
struct lookup_job {
	const struct version *version;
	const struct name_ref *name;
	bool ds;
	struct lookup found;

	uint8_t step;	/* what is looked for next ... */
	uint8_t labels; /* ... the ancestor with that many labels ... */
	uint64_t hash;	/* ... which has this hash ... */
	uintptr_t page; /* ... in this page of the index */
	uint8_t low;	/* the closest encloser has that many labels or more ... */
	uint8_t high;	/* ... and fewer than these */
};

/* Each as version_lookup(); the nodes found are on their way into the cache. */
void version_lookup_many(struct lookup_job *const *jobs, size_t count);

/* NSEC: the node whose NSEC matches or covers 'name'. NULL: no chain, or it has a hole there. */
const struct node *version_nsec(const struct version *v, const uint8_t *name, bool *matches);
/* The same where the search in the chain is made already: 'floor' is what btree_find_floor() gave.
 */
const struct node *version_nsec_at(const struct version *v, const uint8_t *name,
				   const struct node *floor, bool exact, bool *matches);
/* Does the NSEC of 'owner' match or cover this name as well? */
bool version_nsec_spans(const struct node *owner, const uint8_t *name);
/* NSEC3 (RFC 5155): the same for the hash of 'name'. Computes the hash (SHA-1, iterations). */
const struct node *version_nsec3(const struct version *v, const uint8_t *name, bool *matches);

/* All nodes in canonical order, then (NSEC3) the chain's. Stops at the first status that is not
 * ST_OK, which is then the result. */
enum status version_walk(const struct version *v,
			 enum status (*each)(void *ctx, const struct node *n), void *ctx) MUST_USE;

/* Is there a name below 'n' (other than n)? */
bool version_has_children(const struct version *v, const struct node *n);
