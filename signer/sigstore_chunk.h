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
#define CHUNK_KEY_MAX (NAME_MAX_LEN + 8)

/* A chunk: version, be16 entries, be32 signatures, digest of the content (CHUNK_HEAD_LEN); for each
 * entry, which is an RRset that carries signatures, how many stand here; the signatures, each of
 * CHUNK_SIG_LEN octets: expiration, inception, tag and signature; for each entry with signatures
 * its id; the sum of all that. Where the digest is that of the zone's names, nothing is searched
 * for and no id is made. */
#define CHUNK_VERSION	    2
#define CHUNK_DIGEST_LEN    32
#define CHUNK_AT_DIGEST	    7
#define CHUNK_HEAD_LEN	    (CHUNK_AT_DIGEST + CHUNK_DIGEST_LEN)
#define CHUNK_SUM_LEN	    8
#define RRSIG_AT_EXPIRATION 8  /* in RRSIG RDATA (RFC 4034 3.1) */
#define RRSIG_TIMES_TAG_LEN 10 /* expiration, inception, tag */
#define CHUNK_SIG_LEN	    (RRSIG_TIMES_TAG_LEN + HSM_SIGNATURE_LEN)

/* The form before, which is read: version, be16 entries, digest of all ids; entries of id, count
 * and signatures; the first octets of the SHA-256 of all that is before. */
#define CHUNK_VERSION_OLD  1
#define CHUNK_HEAD_LEN_OLD (3 + SIG_ID_LEN)

/* A zone: version, be32 serial, digest of all chunks, how it denies; of the old version without the
 * last where that was not known yet. */
#define ZONE_ENTRY_LEN	   (1 + 4 + 32 + 1)
#define ZONE_ENTRY_LEN_OLD (1 + 4 + 32)

/* What is known of a chunk on disk. */
struct chunk {
	uint64_t key;	/* the hash of its first name */
	uint64_t state; /* of the RRsets and slots it was written from; 0: not known */
	uint8_t digest[CHUNK_DIGEST_LEN];
};

struct sigstore_zone {
	uint8_t apex[NAME_MAX_LEN];
	size_t apex_len;
	struct chunk *chunks; /* sorted by key, each once */
	size_t count;
	/* The entry in ZONE_TABLE, as far as known. */
	bool has_serial;
	bool is_old; /* of CHUNK_VERSION_OLD: its digest is one of ids */
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

struct chunk_buf {
	uint8_t *data;
	size_t len, room;
};

/* Makes room for 'more' octets. */
enum status chunk_buf_room(struct chunk_buf *b, size_t more) MUST_USE;

static inline void chunk_buf_put(struct chunk_buf *b, const void *data, size_t len)
{
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

/* Indexes of the keys that sign an RRset. */
struct signers {
	size_t count;
	uint8_t at[KEYSET_MAX];
};

/* What one thread works with, for one chunk after the other. */
struct chunk_work {
	const struct sigstore_zone *zone;
	const struct keyset *keys;
	struct signers zsks, ksks; /* for which RRset which: chunk_signers() */
	uint8_t whose[32];	   /* the digest of the zone's name and of all keys that sign */
	struct chunk_buf content, ids, counts, sigs, value;
};

enum status chunk_work_init(struct chunk_work *w, const struct sigstore_zone *z,
			    const struct keyset *keys) MUST_USE;
void chunk_work_fini(struct chunk_work *w);

/* NULL: it carries no signatures. */
static inline const struct signers *chunk_signers(const struct chunk_work *w, const struct node *n,
						  const struct rrset *rs)
{
	const struct signers *s = rrsig_by_ksk(rs->type) ? &w->ksks : &w->zsks;
	return s->count > 0 && signer_covers(n, rs) ? s : NULL;
}

/* The digest of all that the signatures of a chunk depend on and its other records, octet for octet
 * as they are kept. */
enum status chunk_digest(struct chunk_work *w, const struct node *const *nodes, size_t count,
			 uint8_t out[CHUNK_DIGEST_LEN]) MUST_USE;
/* The id of an RRset: what is signed but for the times, and whose signatures they are. signers may
 * be NULL. */
enum status chunk_id(const struct chunk_work *w, const struct node *n, const struct rrset *rs,
		     const struct signers *signers, uint8_t out[32]) MUST_USE;

struct bytes chunk_key(const struct sigstore_zone *z, uint64_t key, uint8_t buf[CHUNK_KEY_MAX]);
struct chunk *chunk_find(const struct chunk *chunks, size_t count, uint64_t key);
/* By key; where two have the same one, the latter goes. */
void chunks_sort(struct chunk *chunks, size_t *count);
/* Of a name, its RRsets and slots, to see whether the chunk is to be written; begins with 0, never
 * gives 0. */
uint64_t chunk_state(uint64_t state, const struct node *n);
/* Against damage, not against people: CHUNK_SUM_LEN octets. */
void chunk_sum(struct bytes data, uint8_t out[CHUNK_SUM_LEN]);
/* The digest of all chunks' digests in the zone's order. */
enum status zone_digest(struct bytes digests, uint8_t out[32]) MUST_USE;

/* sigstore_find.c: fills z with what is on disk: its chunks, of no known state, and its entry. */
enum status sigstore_find(struct store *db, struct sigstore_zone *z) MUST_USE;

/* sigstore_value.c: a chunk's value, borrowed. */
struct chunk_value {
	struct bytes all;
	uint8_t version;
	size_t entries;
	const uint8_t *digest;
	/* CHUNK_VERSION. */
	const uint8_t *counts;
	const uint8_t *sigs;
	size_t sig_count;
};

/* False: it is damaged, or of no known form. */
bool chunk_open(struct bytes v, struct chunk_value *out) MUST_USE;

/* Signatures by the id of what they sign. */
struct chunk_entry {
	const uint8_t *id;
	const uint8_t *sigs;
	size_t count;
};

struct chunk_entries {
	struct chunk_entry *all;
	size_t count, room;
	size_t next; /* where chunk_entries_find() goes on */
};

/* Appends those of a value. ST_EPARSE: damaged, and nothing is appended. */
enum status chunk_entries_add(struct chunk_entries *e, const struct chunk_value *v) MUST_USE;
/* They are in the zone's order, so that little is searched for. NULL: none. */
const struct chunk_entry *chunk_entries_find(struct chunk_entries *e, const uint8_t *id);
void chunk_entries_sort(struct chunk_entries *e);
/* The same after chunk_entries_sort(). */
const struct chunk_entry *chunk_entries_search(const struct chunk_entries *e, const uint8_t *id);
void chunk_entries_fini(struct chunk_entries *e);
