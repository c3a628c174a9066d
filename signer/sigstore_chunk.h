/* Chunks of the signature store. Private to signer/. */
#pragma once

#include "signer/rrsig.h"
#include "signer/sigstore.h"

#define SIG_ID_LEN 16 /* of SHA-256: nobody who writes a zone can make two contents alike */

/* A chunk begins with a name whose hash ends in this many zero bits, wherever names come and go
 * around it ... */
#define CHUNK_MASK UINT64_C(0x3f)
/* ... or after so many names. */
#define CHUNK_NODES_MAX 256

#define CHUNK_TABLE   "chunks"
#define ZONE_TABLE    "zones"
#define CHUNK_VERSION 1
#define CHUNK_KEY_MAX (NAME_MAX_LEN + 8)

/* A chunk: version, be16 entries, digest; the entries; the first octets of the SHA-256 of all that
 * is before. An entry: id, count, and for each RRSIG expiration, inception, tag and signature. */
#define CHUNK_HEAD_LEN	    (3 + SIG_ID_LEN)
#define CHUNK_SUM_LEN	    8
#define RRSIG_AT_EXPIRATION 8  /* in RRSIG RDATA (RFC 4034 3.1) */
#define RRSIG_TIMES_TAG_LEN 10 /* expiration, inception, tag */
#define CHUNK_SIG_LEN	    (RRSIG_TIMES_TAG_LEN + HSM_SIGNATURE_LEN)
/* A zone: version, be32 serial, digest of all chunks, how it denies; without the last where that
 * was not known yet. */
#define ZONE_ENTRY_LEN	   (1 + 4 + 32 + 1)
#define ZONE_ENTRY_LEN_OLD (1 + 4 + 32)

/* What is known of a chunk on disk. */
struct chunk {
	uint64_t key;		    /* the hash of its first name */
	uint64_t state;		    /* of the RRsets and slots it was written from; 0: not known */
	uint8_t digest[SIG_ID_LEN]; /* of the ids of all its RRsets */
};

struct sigstore_zone {
	uint8_t apex[NAME_MAX_LEN];
	size_t apex_len;
	struct chunk *chunks; /* sorted by key, each once */
	size_t count;
	/* The entry in ZONE_TABLE, as far as known. */
	bool has_serial;
	uint32_t serial;
	uint8_t digest[32];
};

/* Names one after the other: does one with this hash begin a chunk? 'nodes' counts those in the
 * present one, and is kept here. */
static inline bool chunk_begins(uint64_t hash, size_t *nodes)
{
	if (*nodes == 0 || ((hash & CHUNK_MASK) != 0 && *nodes < CHUNK_NODES_MAX)) {
		bool first = *nodes == 0;
		++*nodes;
		return first;
	}
	*nodes = 1;
	return true;
}

/* Scratch of one thread, for one chunk after the other. */
struct chunk_work {
	const struct sigstore_zone *zone;
	const struct keyset *keys;
	uint8_t *ids; /* 32 octets each, of the chunk's RRsets */
	size_t id_count, id_room;
	uint8_t *value;
	size_t value_len, value_room;
};

void chunk_work_fini(struct chunk_work *w);
/* Makes room for 'more' octets of value. */
enum status chunk_value_room(struct chunk_work *w, size_t more) MUST_USE;
/* The id of an RRset, put behind the others: what is signed but for the times, and whose signature
 * it is. *signers: the indexes of the keys that sign it, none where it carries no signatures; 'in'
 * is initialised and the caller's. */
enum status chunk_id(struct chunk_work *w, const struct node *n, const struct rrset *rs,
		     struct rrsig_input *in, uint8_t signers[KEYSET_MAX],
		     size_t *signer_count) MUST_USE;
/* The digest of all ids since id_count was 0. */
enum status chunk_digest(struct chunk_work *w, uint8_t out[SIG_ID_LEN]) MUST_USE;

struct bytes chunk_key(const struct sigstore_zone *z, uint64_t key, uint8_t buf[CHUNK_KEY_MAX]);
struct chunk *chunk_find(const struct chunk *chunks, size_t count, uint64_t key);
/* By key; where two have the same one, the latter goes. */
void chunks_sort(struct chunk *chunks, size_t *count);
/* Of a name, its RRsets and slots, to see whether the chunk is to be written; begins with 0, never
 * gives 0. */
uint64_t chunk_state(uint64_t state, const struct node *n);
/* The digest of all chunks in the zone's order. */
enum status zone_digest(const uint8_t *digests, size_t count, uint8_t out[32]) MUST_USE;
