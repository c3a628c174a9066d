/* What makes the chains. Private to signer/denial*.c. */
#pragma once

#include "nsd-core/base/arena.h"
#include "signer/signer.h"

/* Puts an RRset that we made. */
enum status denial_put(struct draft *d, const uint8_t *name, struct rrset *rs) MUST_USE;
/* No fault where there is none. */
enum status denial_remove(struct draft *d, const uint8_t *name, uint16_t type) MUST_USE;

/* Names to be looked at once nothing is walked any more. */
struct denial_names {
	struct arena arena;
	const uint8_t **names;
	size_t count, room;
};

void denial_names_init(struct denial_names *l);
void denial_names_fini(struct denial_names *l);
/* The name is copied. */
enum status denial_names_add(struct denial_names *l, const uint8_t *name) MUST_USE;
/* Takes the RRset of this type from all of them. */
enum status denial_names_remove(const struct denial_names *l, struct draft *d,
				uint16_t type) MUST_USE;

/* Types of a node, sorted; grows as it must. */
struct denial_types {
	uint16_t *types;
	size_t count, room;
};

/* Those an NSEC or NSEC3 of the node names, 'own' (sorted) among them: at a cut what the parent has
 * there (RFC 4035 2.3, RFC 5155 7.1). */
enum status denial_types_of(struct denial_types *t, const struct node *n, const uint16_t *own,
			    size_t own_count) MUST_USE;

#define BITMAP_MAX (256 * 34) /* every window in use */

/* The chain of NSEC3s, and the NSEC3PARAM; the draft is settled. */
enum status nsec3_prepare(struct draft *d, const uint8_t *apex, uint32_t ttl,
			  bool opt_out) MUST_USE;
/* Removes both. */
enum status nsec3_leave(struct draft *d, const uint8_t *apex) MUST_USE;
