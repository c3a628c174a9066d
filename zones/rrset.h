/* RRsets as zones hold them, and the slot each has for its signatures. */
#pragma once

#include "nsd-core/base/name.h"
#include "nsd-core/base/rrtype.h"

#include <stdatomic.h>

struct cutter;

/* The RRSIGs of one RRset: immutable once it stands in a slot. 'data' is 'count' times be16 length
 * and RRSIG RDATA (RFC 4034 3.1). */
struct sigset {
	uint32_t inception;  /* the latest of them */
	uint32_t expiration; /* the earliest of them */
	uint16_t count;
	uint32_t size; /* octets in data */
	uint8_t data[];
};

enum rrset_sig_state {
	SIG_EMPTY,   /* nobody signs it now */
	SIG_SIGNING, /* claimed: exactly one signs it */
	SIG_FILLED,  /* 'sigs' is set and never changes again */
};

#define SIG_WANTED_TOLD	  0x01 /* a parked question waits for it */
#define SIG_WANTED_URGENT 0x02 /* and it goes before what is not urgent */

/* Immutable but for its slot: 'sigs' goes from NULL to filled once (store release, load acquire)
 * and then never changes. 'data' is 'count' times be16 length and RDATA, uncompressed, in
 * canonical order (RFC 4034 6.3) without duplicates, names in the case of the file. */
struct rrset {
	uint16_t type;
	uint16_t count;
	uint32_t ttl;
	uint32_t size;		     /* octets in data */
	uint8_t flags;		     /* RRSET_* */
	_Atomic(uint8_t) sig_state;  /* enum rrset_sig_state */
	_Atomic(uint8_t) sig_wanted; /* SIG_WANTED_* while it is claimed */
	/* Units of 8 octets from the start of a node's block that it stands in (zones/node.h); 0:
	 * it has a block of its own. */
	uint8_t home;
	_Atomic(struct sigset *) sigs;
	uint8_t data[];
};

#define RRSET_GENERATED 0x01 /* made by signet, not in the file: DNSKEY, CDS, NSEC */
#define RRSET_CUT	0x02 /* stands in a slab by itself (zones/slab.h) */

/* An RRset from 'count' RDATAs (at least one) in any order: sorted, duplicates dropped. Heap;
 * rrset_free(). ST_ELIMIT: more than 65535 of them, or one longer than that. */
enum status rrset_new(uint16_t type, uint32_t ttl, const struct bytes *rdatas, size_t count,
		      struct rrset **out) MUST_USE;
/* The same in a place that has rrset_size() octets, from RDATAs in order and without duplicates.
 * 'home' is the caller's to set. */
void rrset_init(struct rrset *rs, uint16_t type, uint32_t ttl, const struct bytes *sorted,
		size_t count);
/* Of one RDATA, in a slab; cutter NULL, or it is too long for that: on the heap. */
enum status rrset_cut(struct cutter *cutter, uint16_t type, uint32_t ttl, struct bytes rdata,
		      struct rrset **out) MUST_USE;
/* 0: there are more than 65535. */
size_t rrset_size(const struct bytes *rdatas, size_t count);
/* The same records with an empty slot. */
enum status rrset_copy(const struct rrset *from, struct rrset **out) MUST_USE;
void rrset_free(struct rrset *rs); /* its slot's signatures too; takes NULL */
/* Same type, TTL and data octet for octet. */
bool rrset_equal(const struct rrset *a, const struct rrset *b);

/* From RRSIG RDATAs (at least one, in any order). Heap: free(). ST_EPARSE where one is malformed.
 */
enum status sigset_new(const struct bytes *rrsigs, size_t count, struct sigset **out) MUST_USE;
bool sigset_equal(const struct sigset *a, const struct sigset *b);

static inline struct sigset *rrset_sigs(const struct rrset *rs)
{
	return atomic_load_explicit(&((struct rrset *)(uintptr_t)rs)->sigs, memory_order_acquire);
}

/* Walks data: for (p = rs->data; p < rs->data + rs->size; p = rdata_next(p)). */
static inline struct bytes rdata_at(const uint8_t *p)
{
	return (struct bytes){p + 2, be16_get(p)};
}

static inline const uint8_t *rdata_next(const uint8_t *p)
{
	return p + 2 + be16_get(p);
}
