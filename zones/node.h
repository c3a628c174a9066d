/* How nodes are made and freed: private to versions and drafts.
 *
 * A zone that is made at once has the RRsets of a name in the block of its node: one allocation
 * instead of several, and what an answer reads lies together. Versions may drop the one and keep
 * the other, so the octet after the name counts what of the block is in use: the node, and each
 * RRset inside (rrset.home says where its block starts). Only who frees reads or writes it, and
 * versions free one after the other. */
#pragma once

#include "zones/slab.h"
#include "zones/version.h"

/* RRsets that would end beyond this have blocks of their own: what a version replaced is kept as
 * long as anything of its block. Also the most that rrset.home can say. */
#define NODE_BLOCK_MAX 2040

/* Octets of a node with room for that many RRsets, up to where the first one inside may start. */
size_t node_size(size_t name_len, size_t room);
/* Without RRsets, all else zero. 'inside': octets to leave behind node_size(). Cut by 'cutter'
 * where it is not NULL. NULL: no memory. */
struct node *node_new(const uint8_t *name, size_t name_len, uint64_t hash, size_t room,
		      size_t inside, struct cutter *cutter);
/* The RRset that starts 'offset' octets, a multiple of 8, into the block; to be initialised. */
struct rrset *node_embed(struct node *n, size_t offset);
void node_assign(struct node *n, struct rrset *const *rrsets, size_t count);
/* Behind those it has, whose types are less; there is room. */
void node_append(struct node *n, struct rrset *rs);
/* In the order of types, of which it has none like this; there is room. */
void node_insert(struct node *n, struct rrset *rs);
/* The node's part of its block. Its RRsets are the caller's business. Takes NULL. */
void node_free(const struct node *n);
/* That of an RRset inside. */
void node_free_inside(struct rrset *rs);
