/* Where questions lead, found for several at a time before any of them is answered.
 *
 * Nothing here decides what an answer holds: that does the plan, from what was found. */
#pragma once

#include "nsd-core/query.h"
#include "nsd-core/zonedb.h"

/* Questions that go side by side. Fewer wait for memory more often than needed, more push each
 * other's lines out of the first cache. */
#define FIND_MAX 16

/* Name servers of a cut whose addresses are looked for with the rest of the group. */
#define FOUND_HOSTS_MAX 4

struct found_host {
	const uint8_t *name;	 /* as it stands in the NS record */
	const struct node *node; /* NULL: not in the zone */
};

/* A question's own name: its zone, at one version, and where it leads in there. Lives in one read
 * section. */
struct found {
	const struct query *query;
	struct name_ref name;
	struct zone *zone;	 /* NULL: none is served; then nothing below is set */
	struct version *version; /* NULL: never loaded; then nothing below is set */
	bool dnssec; /* DO, and the version has signatures: these and proofs are wanted */
	struct lookup_job lookup;
	bool searched; /* 'nsec' is set: the name's place in the NSEC chain */
	struct btree_floor nsec;
	struct sort_key key;
	unsigned host_count;
	struct found_host hosts[FOUND_HOSTS_MAX];
};

/* Parsed: a good question of class IN. 'q' is borrowed. */
void found_init(struct found *f, const struct query *q);
/* Finds for up to FIND_MAX questions. Inside a read section. */
void find_many(const struct zonedb *db, struct found *found, size_t count);
/* The node of a host of this version that an NS record names; NULL: there is none. Faster for a
 * name that stands where it was found. */
const struct node *found_host(const struct found *f, const struct version *v, const uint8_t *name);
/* The zone that answers for a name, it may be hidden; NULL: none is served. A question for DS
 * belongs above the cut (RFC 4035 3.1.4.1), if the zone there is served. */
struct zone *find_zone(const struct zonedb *db, const struct name_ref *name, uint16_t qtype);
