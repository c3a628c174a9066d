/* RRsets as zones hold them, and the slot each has for its signatures. */
#pragma once

#include "nsd-core/base/name.h"
#include "nsd-core/base/rrtype.h"

#include <stdatomic.h>

struct cutter;

#define ALG_ECDSAP256SHA256 13 /* RFC 6605 */
#define RRSIG_FIXED_LEN	    18 /* of RRSIG RDATA, before the signer's name */

#define SIGSET_SHORT 0x01
#define SIGSET_CUT   0x02 /* stands in a slab (zones/slab.h), not on the heap */

/* The RRSIGs of one RRset: immutable once it stands in a slot. Where it is one of ECDSA P-256 by
 * the zone, as a signed zone has millions, it is kept short: without what the RRset and the zone
 * say as well. Read with sigset_data(). */
struct sigset {
	uint32_t inception;  /* the latest of them */
	uint32_t expiration; /* the earliest of them */
	uint16_t count;
	uint8_t flags;	/* SIGSET_* */
	uint8_t labels; /* short: the RRSIG's labels */
	/* A struct sigset_short; else the octets of what follows, and 'count' times be16 length and
	 * RRSIG RDATA (RFC 4034 3.1). */
	uint32_t data[];
};

#define SIG_SHORT_LEN	    64 /* of a signature of P-256 */
#define SIG_SHORT_RDATA_MAX (RRSIG_FIXED_LEN + NAME_MAX_LEN + SIG_SHORT_LEN)

struct sigset_short {
	uint16_t tag;
	uint8_t signer_len; /* octets of the zone's name */
	uint8_t signature[SIG_SHORT_LEN];
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
/* Each with its be16 length: the octets they take, 0 where one is too long or they are too many;
 * and the place behind them. */
size_t rdatas_size(const struct bytes *items, size_t count);
uint8_t *rdatas_put(uint8_t *to, const struct bytes *items, size_t count);
/* The same records with an empty slot. */
enum status rrset_copy(const struct rrset *from, struct rrset **out) MUST_USE;
void rrset_free(struct rrset *rs); /* its slot's signatures too; takes NULL */
/* Same type, TTL and data octet for octet. */
bool rrset_equal(const struct rrset *a, const struct rrset *b);

/* From the RDATAs of rs's RRSIGs (at least one, in any order); apex: the name of its zone, lower
 * case. Heap; sigset_free(). ST_EPARSE where one is malformed. */
enum status sigset_new(const struct rrset *rs, const uint8_t *apex, const struct bytes *rrsigs,
		       size_t count, struct sigset **out) MUST_USE;
/* What a short one says that its RRset does not. */
struct sigset_fields {
	uint32_t inception, expiration;
	uint16_t tag;
	uint8_t labels;
	uint8_t signer_len;
	const uint8_t *signature; /* SIG_SHORT_LEN octets */
};

/* A short one, in a slab. */
enum status sigset_cut(struct cutter *c, const struct sigset_fields *f,
		       struct sigset **out) MUST_USE;
/* The same signatures. Heap. */
enum status sigset_copy(const struct sigset *from, struct sigset **out) MUST_USE;
void sigset_free(struct sigset *s); /* takes NULL */
/* Both of equal RRsets of one zone. */
bool sigset_equal(const struct sigset *a, const struct sigset *b);
/* What rs's slot holds, as 'count' times be16 length and RDATA: borrowed, or written to 'buf',
 * which has SIGSET_BUF octets. */
#define SIGSET_BUF (2 + SIG_SHORT_RDATA_MAX)
struct bytes sigset_data(const struct sigset *s, const struct rrset *rs, const uint8_t *apex,
			 uint8_t *buf);

static inline bool sigset_is_short(const struct sigset *s)
{
	return (s->flags & SIGSET_SHORT) != 0;
}

static inline const struct sigset_short *sigset_short(const struct sigset *s)
{
	return (const struct sigset_short *)s->data;
}

/* The RDATA of a short one up to the signer's name: RRSIG_FIXED_LEN octets. */
static inline void sigset_put_fixed(const struct sigset *s, const struct rrset *rs, uint8_t *to)
{
	be16_put(to, rs->type);
	to[2] = ALG_ECDSAP256SHA256;
	to[3] = s->labels;
	be32_put(to + 4, rs->ttl);
	be32_put(to + 8, s->expiration);
	be32_put(to + 12, s->inception);
	be16_put(to + 16, sigset_short(s)->tag);
}

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
