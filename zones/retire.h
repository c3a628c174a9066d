/* What a draft replaced, kept until nobody can read it any more. */
#pragma once

#include "zones/rrset.h"

struct node;

/* How a persistent index is changed: pages with this stamp were made by the draft at work, are seen
 * by nobody else and change in place; any other page is copied, once, and the original retired. */
struct cow {
	uint64_t stamp;
	struct retired *retired;
};

/* Pages, nodes and RRsets, in the order they were replaced. */
struct retired {
	uintptr_t *items; /* bit 0 set: an RRset; bit 1 set: a node */
	size_t count;
	size_t room;
};

void retired_init(struct retired *r);
/* Forgets the list without freeing what it names. */
void retired_fini(struct retired *r);
/* Room for n more, so that the next n additions cannot fail. ST_ENOMEM. */
enum status retired_reserve(struct retired *r, size_t n) MUST_USE;
/* Into room reserved before. */
void retired_add_page(struct retired *r, const void *page);
void retired_add_node(struct retired *r, const struct node *n);
void retired_add_rrset(struct retired *r, struct rrset *rs);
/* NULL where it is no node. */
const struct node *retired_node(const struct retired *r, size_t i);
/* Frees all that is named, and forgets it. */
void retired_release(struct retired *r);
