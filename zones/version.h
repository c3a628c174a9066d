/* A zone version: immutable once frozen, but for the signature slots of its RRsets.
 *
 * Versions share pages, nodes and RRsets. A version is made from a draft; what the draft replaced is
 * retired with the version it stood in, and freed once that version and all older ones are gone:
 * each version keeps a reference on its successor, so that versions die in order. */
#pragma once

#include "nsd-core/base/rcu.h"
#include "zones/btree.h"
#include "zones/nindex.h"
#include "zones/rrset.h"

enum node_flags {
	NODE_APEX = 0x01,
	NODE_CUT = 0x02,     /* has NS and is not the apex, and is not itself below a cut or DNAME */
	NODE_OCCLUDED = 0x04, /* below a cut (glue) or below a DNAME: never authoritative */
	NODE_CHAIN = 0x08,   /* owns an NSEC (authoritative names with data, and cuts) */
};

/* A name that exists in the zone, with its RRsets sorted by type; none: an empty non-terminal.
 * Immutable. The owner's name (lower case, wire) follows the array: node_name(). */
struct node {
	uint64_t hash; /* name_hash() */
	uint8_t flags;
	uint8_t labels;
	uint8_t name_len;
	/* Labels of the topmost cut or DNAME owner that covers this node: for a NODE_CUT its own labels,
	 * for NODE_OCCLUDED the owner's; 0: none. The topmost only is authoritative. */
	uint8_t cover_labels;
	uint16_t rrset_count;
	struct rrset *rrsets[];
};

const uint8_t *node_name(const struct node *n);
/* NULL where the node has no RRset of the type. */
struct rrset *node_rrset(const struct node *n, uint16_t type);

enum denial {
	DENIAL_NONE,
	DENIAL_NSEC,
	DENIAL_NSEC3,
};

struct version {
	_Atomic(uint32_t) refs;
	struct rcu_node rcu;
	struct version *newer; /* referenced; set when this one is succeeded */
	struct retired *retired; /* what only this and older versions use */

	const uint8_t *apex_name; /* lower case */
	uint8_t apex_labels;
	const struct node *apex;
	struct rrset *soa;
	uint32_t serial;
	uint32_t negative_ttl; /* min(SOA TTL, SOA MINIMUM), RFC 2308, 9077 */

	struct nindex names;  /* every node, by hash (not those that own only an NSEC3) */
	struct btree order;   /* every node, canonical order */
	struct btree chain;   /* DENIAL_NSEC: NODE_CHAIN nodes; DENIAL_NSEC3: nodes of NSEC3 owners */
	enum denial denial;
	uint8_t nsec3_salt[255];
	uint8_t nsec3_salt_len;
	uint16_t nsec3_iterations;

	bool is_signed; /* answers to DO carry RRSIGs: by policy, or the file holds them */
	size_t name_count;
	size_t record_count;

	/* The signer's key set this version was made for; NULL: not signed by us. Shared by versions. */
	void *keys;
	void (*keys_unref)(void *keys);
};

/* Long references: ref inside a read section or while holding one already; unref anywhere. */
struct version *version_ref(struct version *v);
void version_unref(struct version *v); /* takes NULL */
/* Unref after a grace period: for the reference that a published pointer held. */
void version_unref_deferred(struct version *v);

/* The node of the ancestor of ref that has 'labels' labels; NULL: there is none. */
const struct node *version_find(const struct version *v, const struct name_ref *ref, unsigned labels);

enum lookup_kind {
	LOOKUP_NODE,	 /* 'node' is the name itself, authoritative (perhaps an empty non-terminal) */
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
void version_lookup(const struct version *v, const struct name_ref *ref, bool ds, struct lookup *out);

/* NSEC: the node whose NSEC matches or covers 'name'. NULL: no chain, or the file's chain has a hole. */
const struct node *version_nsec(const struct version *v, const uint8_t *name, bool *matches);
/* NSEC3 (RFC 5155): the same for the hash of 'name'. Computes the hash (SHA-1, iterations). */
const struct node *version_nsec3(const struct version *v, const uint8_t *name, bool *matches);

/* All nodes in canonical order, then (NSEC3) the chain's. Stops at the first status that is not ST_OK,
 * which is then the result. */
enum status version_walk(const struct version *v,
			 enum status (*each)(void *ctx, const struct node *n), void *ctx) MUST_USE;

/* Is there a name below 'n' (other than n)? */
bool version_has_children(const struct version *v, const struct node *n);
