/* What an answer will hold: which RRsets in which section, decided before anything is written.
 *
 * A plan borrows from the versions it looked into: it lives and dies in one read section. */
#pragma once

#include "nsd-core/answer_find.h"
#include "nsd-core/encode.h"

/* Names looked up for one question: the question's own and those CNAMEs and DNAMEs lead to. */
#define PLAN_NAMES_MAX 16
/* Two RRsets for each name, a proof for each, and the last name's: SOA and three proofs. */
#define PLAN_ITEMS_MAX (3 * PLAN_NAMES_MAX + 8)

/* A zone that takes part in the answer, at one version. */
struct plan_zone {
	struct zone *zone;
	struct version *version;
	bool dnssec; /* DO, and the version has signatures: these and proofs are wanted */
};

struct plan_item {
	struct encode_rrset set; /* as it is to be written; of a synthesised CNAME owner and TTL */
	const uint8_t *target;	 /* a synthesised CNAME's; else NULL */
	const struct node *node; /* where rs stands */
	struct rrset *rs;	 /* NULL: a synthesised CNAME */
	uint8_t section;	 /* enum section */
	uint8_t zone;		 /* index into plan->zones */
	bool sign;		 /* its signatures are wanted */
	bool additional;	 /* the names in its RDATA want addresses */
};

struct plan {
	const struct query *query;
	const struct zonedb *db;
	const struct found *found;	/* the question's own name */
	const struct name_ref *current; /* found->name, or where a CNAME or DNAME led */
	struct name_ref chained;

	enum rcode rcode;
	enum ede ede;
	bool authoritative;
	bool referral;

	unsigned zone_count;
	unsigned item_count;
	unsigned name_count;
	struct plan_zone zones[PLAN_NAMES_MAX];
	struct plan_item items[PLAN_ITEMS_MAX];
	uint8_t names[PLAN_NAMES_MAX][NAME_MAX_LEN]; /* made by DNAMEs */
};

/* Plans the answer to a good question of class IN and a QTYPE that stands for data or ANY, from
 * what find_many() found for it. db and f are borrowed. Inside a read section. Pure: signatures are
 * not looked at but for QTYPE RRSIG. */
void plan_answer(struct plan *p, const struct zonedb *db, const struct found *f);

/* The rest is between the modules of the plan. */

/* The current name's zone. */
static inline const struct plan_zone *plan_here(const struct plan *p)
{
	return &p->zones[p->zone_count - 1];
}

/* Where the ancestor of the current name that has 'labels' labels stands in the message; 0:
 * unknown. */
uint16_t plan_place(const struct plan *p, unsigned labels);
/* A new item of the current zone; NULL cannot happen (the bounds above add up). */
struct plan_item *plan_add(struct plan *p, enum section section, const struct node *node,
			   struct rrset *rs, const uint8_t *owner);

/* answer_denial.c: proofs, into the authority section. All of them do nothing without DNSSEC. */

/* SOA, with the negative TTL (RFC 2308 3), DNSSEC or not. */
void plan_soa(struct plan *p);
/* That the current name does not exist (RFC 4035 3.1.3.2, RFC 5155 7.2.2). */
void plan_proof_nxdomain(struct plan *p, const struct node *encloser);
/* That 'node', which is the current name, lacks the type (3.1.3.1; 7.2.3, 7.2.4). */
void plan_proof_nodata(struct plan *p, const struct node *node);
/* That a wildcard was rightly used (3.1.3.3; 7.2.6). */
void plan_proof_wildcard(struct plan *p, const struct node *wildcard);
/* That a wildcard was rightly used and lacks the type (3.1.3.4; 7.2.5). */
void plan_proof_wildcard_nodata(struct plan *p, const struct node *wildcard);
/* DS of a cut, or the proof that there is none (3.1.4; 7.2.7). */
void plan_proof_cut(struct plan *p, const struct node *cut);

/* answer_additional.c: appends addresses for the names in the plan's RRsets. False: glue that the
 * referral needs did not fit (RFC 9471). 'now': which signatures are good. */
bool plan_encode_additional(const struct plan *p, struct encoder *e, int64_t now);
