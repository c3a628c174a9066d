/* What a version holds, as one number: whether two have the same content, signatures included, is
 * seen without having both. It is the sum of the digests of all RRsets, so that a change of k
 * RRsets costs k digests. Against accidents, not against who writes the zone. */
#pragma once

#include "zones/draft.h"

/* Is this RRset to carry signatures? As in struct dump_options; NULL: what slots hold counts. */
typedef bool (*zone_covers)(const struct node *n, const struct rrset *rs);

struct zone_sum {
	uint64_t words[4]; /* modulo 2^256, the least first */
	uint64_t octets;   /* all records in wire form, not compressed */
};

/* The signatures that an RRset has in a version; NULL: none. */
const struct sigset *zone_sigs(zone_covers covers, const struct node *n, const struct rrset *rs);

/* ST_ENOMEM, ST_ECRYPTO. */
enum status zone_sum_add(struct zone_sum *sum, zone_covers covers, const struct node *n,
			 const struct rrset *rs) MUST_USE;
enum status zone_sum_remove(struct zone_sum *sum, zone_covers covers, const struct node *n,
			    const struct rrset *rs) MUST_USE;
bool zone_sum_equal(const struct zone_sum *a, const struct zone_sum *b);

/* All of it: O(n), on several CPUs. */
enum status version_sum(const struct version *v, zone_covers covers, struct zone_sum *out) MUST_USE;
enum status draft_sum(const struct draft *d, zone_covers covers, struct zone_sum *out) MUST_USE;
