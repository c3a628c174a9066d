/* The inside of a draft: private to the draft modules. */
#pragma once

#include "nsd-core/base/arena.h"
#include "zones/draft.h"
#include "zones/name_list.h"

struct draft {
	struct version *base; /* referenced, or NULL */
	uint8_t apex[NAME_MAX_LEN];
	uint8_t apex_len;
	uint8_t apex_labels;
	/* After a lack of memory in the middle of a change: indexes may disagree, so that the draft
	 * is good for draft_free() only. */
	enum status broken;

	struct cow cow; /* points to 'replaced' */
	struct retired replaced;
	struct arena arena;

	struct nindex names;
	struct btree order;
	struct btree chain; /* every NODE_CHAIN node, if chain_built */
	struct btree nsec3;
	size_t name_count;
	size_t record_count;

	bool chain_built;
	bool chain_wanted;
	bool chain_told; /* draft_keep_chain() has said so */

	/* Whose node is or was this draft's, in the arena; without a base that is every name, and
	 * the list is made when it is asked for: draft_list_touched(). */
	struct name_list touched;
	struct name_list touched_nsec3; /* the same of the nodes in 'nsec3' */
	struct name_list dirty;		/* whose flags are to be settled */
};

/* Which of a name's nodes: NSEC3s have nodes of their own. */
enum node_kind {
	KIND_NAME,
	KIND_NSEC3,
};

/* Does an RRset make its name one with data? The NSEC we made ourselves does not. */
static inline bool rrset_is_data(const struct rrset *rs)
{
	return rs->type != RR_NSEC || (rs->flags & RRSET_GENERATED) == 0;
}

static inline enum node_kind kind_of_type(uint16_t type)
{
	return type == RR_NSEC3 ? KIND_NSEC3 : KIND_NAME;
}

/* draft.c */
const struct node *draft_node(const struct draft *d, enum node_kind kind, const uint8_t *name);
const struct node *draft_base_node(const struct draft *d, enum node_kind kind, const uint8_t *name);
/* Completes the lists of what is touched. */
enum status draft_list_touched(struct draft *d) MUST_USE;
/* Is the node this draft's own, to be changed in place? */
bool draft_owns(const struct draft *d, const struct node *n);
/* Is this very RRset one of n's? n may be NULL. */
bool node_holds(const struct node *n, const struct rrset *rs);

/* draft_node.c */
/* What a name is to have. */
struct wanted {
	enum node_kind kind;
	const uint8_t *name; /* lower case, at or below the apex; not in the node that may go */
	struct rrset *const *rrsets; /* by type */
	size_t count;		     /* 0: none, so that the node may go */
	size_t spare;		     /* room to leave for more */
};

/* Gives the name, whose node is n (or NULL), these RRsets. Those that n has are kept, all others of
 * it are given up. New ones move in, also on error. */
enum status draft_set(struct draft *d, const struct node *n, struct wanted w) MUST_USE;
/* Sets flags and cover_labels of a node of the order index, keeping the chain in step. */
enum status draft_set_flags(struct draft *d, const struct node *n, uint8_t flags,
			    uint8_t cover_labels) MUST_USE;

/* draft_build.c */
/* Nothing was ever put into it, and it has no base. */
static inline bool draft_is_new(const struct draft *d)
{
	return d->base == NULL && d->broken == ST_OK && d->names.root == 0 && d->nsec3.root == NULL;
}
/* draft_apply() to a draft that is new, of a content whose names are all in the zone. Flags, and
 * the chain where it is wanted, are settled. In so many parts at once, at most PARALLEL_MAX; 0:
 * chosen by size. On error the draft is as it was. */
struct build_options {
	bool signing;
	unsigned parts;
	struct content *spent; /* c itself: emptied once its nodes are made; NULL: it is kept */
};
enum status draft_build(struct draft *d, const struct content *c,
			const struct build_options *opt) MUST_USE;

/* draft_settle.c */
enum status draft_settle_flags(struct draft *d) MUST_USE;
enum status draft_build_chain(struct draft *d) MUST_USE;
