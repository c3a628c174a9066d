/* A draft: the next version of a zone while it is being made, by one thread. Starts as a copy of a
 * base version in O(1); every change copies the pages it touches, once. */
#pragma once

#include "zones/content.h"
#include "zones/version.h"

struct draft;
struct cutter;

/* After ST_ENOMEM or ST_ELIMIT from a change, every further one fails too: the draft is then only
 * to be freed, and the base is as it was. */

/* base may be NULL (an empty zone); a reference on it is taken. */
enum status draft_new(const uint8_t *apex, struct version *base, struct draft **out) MUST_USE;
void draft_free(struct draft *d); /* takes NULL: everything the draft made is freed */

/* Adds or replaces the RRset of rs->type at name; rs moves in, also on error. Where the present
 * RRset is equal (rrset_equal) it stays, with its slot, and rs is freed. ST_EPARSE: an RRSIG, whose
 * place is a slot, or a name out of the zone. */
enum status draft_put(struct draft *d, const uint8_t *name, struct rrset *rs) MUST_USE;
/* ST_ENOENT where there is none. */
enum status draft_remove(struct draft *d, const uint8_t *name, uint16_t type) MUST_USE;
/* Borrowed until the next change. Not those that own an NSEC3 only. */
const struct node *draft_find(const struct draft *d, const uint8_t *name);
/* Those that own an NSEC3. */
const struct node *draft_nsec3_find(const struct draft *d, const uint8_t *name);
/* The base's node of the name, NULL where it has none. */
const struct node *draft_base_find(const struct draft *d, const uint8_t *name);

/* Replaces the RRset by a copy of itself with an empty slot, so that it is signed anew. ST_ENOENT.
 */
enum status draft_renew(struct draft *d, const uint8_t *name, uint16_t type) MUST_USE;

/* Makes the draft's RRsets those of the content (sorted, checked): puts what differs, removes what
 * is gone; leaves RRSET_GENERATED ones alone, and, where content has RRSIGs, fills slots with them
 * (a changed signature makes its RRset a new one with the same data). NSEC3 RRsets go to the chain
 * and NSEC ones make the chain where !signing. */
enum status draft_apply(struct draft *d, const struct content *c, bool signing) MUST_USE;

/* The same, and the content is given up as soon as nothing of it is needed: that is before the new
 * zone has its indexes, which of a large one saves memory at the worst time. c is then empty, as
 * after content_fini(); on error perhaps not. */
enum status draft_take(struct draft *d, struct content *c, bool signing) MUST_USE;

/* Names whose node is not the base's (it may be gone), sorted canonically, each once. The array is
 * valid until the next change, the names as long as the draft. */
enum status draft_touched(struct draft *d, const uint8_t *const **names, size_t *count) MUST_USE;

/* Settles flags (cuts, occlusion, chain membership) of all that is touched and of what lies below
 * changed cuts. Call before reading flags or making the chain; cheap when nothing changed. An NSEC
 * that is RRSET_GENERATED changes no flags. The chain is kept where the base has one or there is no
 * base, and from then on where draft_apply() was asked to sign or its content has NSECs: O(n) once.
 */
enum status draft_settle(struct draft *d) MUST_USE;
/* The chain's neighbours in the draft, after draft_settle(): the NODE_CHAIN node strictly before
 * (after) 'name', wrapping round; NULL only where the chain is empty. */
const struct node *draft_chain_before(const struct draft *d, const uint8_t *name);
const struct node *draft_chain_after(const struct draft *d, const uint8_t *name);

/* The same among those that own an NSEC3; of a lone one that itself. */
const struct node *draft_nsec3_before(const struct draft *d, const uint8_t *name);
const struct node *draft_nsec3_after(const struct draft *d, const uint8_t *name);

/* Every node in canonical order, empty non-terminals too; every owner of an NSEC3. 'each' must not
 * change the draft; what it returns but ST_OK ends the walk. */
enum status draft_each_name(const struct draft *d,
			    enum status (*each)(void *ctx, const struct node *n),
			    void *ctx) MUST_USE;
enum status draft_each_nsec3(const struct draft *d,
			     enum status (*each)(void *ctx, const struct node *n),
			     void *ctx) MUST_USE;
/* How many draft_each_name() visits. */
size_t draft_node_count(const struct draft *d);
/* Those that draft_each_name() visits, and then those of draft_each_nsec3(), and how many. 'out'
 * has room for draft_list_room(). */
size_t draft_list(const struct draft *d, const struct node **out);
size_t draft_list_room(const struct draft *d);

/* Is the chain of NSEC owners kept from now on, whatever is applied? A draft that is not to have it
 * has no use for what it costs. ST_ENOMEM. */
enum status draft_keep_chain(struct draft *d, bool keep) MUST_USE;

/* Makes an RRset of type NSEC for 'n', whose successor in the chain is 'next'; 'cutter' as for
 * rrset_cut(). Called for several names at once, in parts: 'part' is less than PARALLEL_MAX, and of
 * one part it is one after the other. */
struct chain_maker {
	enum status (*make)(void *ctx, unsigned part, const struct node *n, const struct node *next,
			    struct cutter *cutter, struct rrset **out);
	void *ctx;
};

/* Of a settled draft without a base: every NODE_CHAIN node gets such an RRset, and no other node
 * has one. Unsettles nothing where the RRsets are RRSET_GENERATED. ST_ENOTSUP: it has a base, or no
 * names. */
enum status draft_make_chain(struct draft *d, const struct chain_maker *maker) MUST_USE;

/* Has anything changed against the base? */
bool draft_changed(const struct draft *d);
/* Nodes with data in base and in the draft, for "loses more than half of the names". */
void draft_counts(const struct draft *d, size_t *base_names, size_t *names);
/* The base's RRset that 'name' and 'type' had; NULL if none. For "replaces a signed one". */
struct rrset *draft_base_rrset(const struct draft *d, const uint8_t *name, uint16_t type);

struct freeze {
	enum denial
		denial; /* DENIAL_NSEC where an NSEC chain was made; else found from the content */
	bool is_signed;
	void *keys; /* moves in, but not on error */
	void (*keys_unref)(void *keys);
};

/* The version, with one reference. d is then empty and only to be freed. On error d is unchanged.
 * Between here and publishing nothing can fail. ST_EPARSE: no SOA. */
enum status draft_freeze(struct draft *d, const struct freeze *f, struct version **out) MUST_USE;

/* RRsets whose slots may be empty, for signing before publication: in canonical order, NSEC3s last,
 * those that the draft put new, and all of a name whose flags changed, such as glue whose cut is
 * gone. Call before freeze; n's flags are settled. */
enum status draft_each_new(struct draft *d,
			   enum status (*each)(void *ctx, const struct node *n, struct rrset *rs),
			   void *ctx) MUST_USE;
