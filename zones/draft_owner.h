/* The owners of a content, as drafts are made from them: private to the draft modules. */
#pragma once

#include "zones/draft_impl.h"

/* The records of one owner: sets[first .. first + count). */
struct owner {
	const uint8_t *name;
	size_t first;
	size_t count;
};

/* RDATAs put together; scratch that is used again and again. All zero: none. */
struct rdata_list {
	struct bytes *items;
	size_t room;
};

static inline const struct record *set_records(const struct content *c, const struct record_set *s)
{
	return c->records + s->first;
}

/* The owner whose sets start there. */
void owner_at(const struct content *c, size_t first, struct owner *out);
/* The first set of a name (lower case), or where it would be; *found: it is there. */
size_t owner_search(const struct content *c, const uint8_t *name, bool *found);
/* The owner's RRSIGs of a type: they sort by the type they cover. count 0: none. */
struct record_set owner_rrsigs(const struct content *c, const struct owner *o, uint16_t type);
/* The RDATAs of a set's records into l->items. */
enum status rdata_list_fill(struct rdata_list *l, const struct content *c,
			    const struct record_set *s) MUST_USE;
/* Puts these RRSIGs, if there are any, into the slot of an RRset that nobody else knows yet. */
enum status rrset_take_rrsigs(struct rrset *rs, const struct content *c,
			      const struct record_set *rrsigs, struct rdata_list *l) MUST_USE;
