/* Signatures on disk: what a restart finds need not be signed again (docs/keys.md has the format).
 *
 * A zone's RRsets are cut into chunks of neighbours in canonical order. A chunk is one entry of the
 * store, rewritten when a signature in it changes. Where the digest of all that is signed in a
 * chunk, and of whose keys, is what it was, the signatures are taken as they stand; else each is
 * found by the digest of what it signs and by whose key. None is found by its place alone: an entry
 * that is out of date is of no use, and does no harm.
 */
#pragma once

#include "nsd-core/base/store.h"
#include "signer/signer.h"
#include "zones/version.h"

struct sigstore_zone;

/* What is known of a zone's entries; used by one thread at a time. */
enum status sigstore_zone_new(const uint8_t *apex, struct sigstore_zone **out) MUST_USE;
void sigstore_zone_free(struct sigstore_zone *z); /* takes NULL */

struct sigstore_loaded {
	size_t filled;	   /* RRsets whose signatures were found */
	size_t signatures; /* in them */
	size_t damaged;	   /* chunks that could not be read */
	/* RRsets that are to carry signatures and whose slots are empty now; SIZE_MAX: not counted,
	 * since nothing is on disk. */
	size_t lacking;
	/* The zone's RRsets, with these keys, are octet for octet those of 'serial' when that was
	 * the one saved last. */
	bool same;
};

/* Fills the slots of RRsets that nobody else sees yet. 'nodes' are all of the zone, settled, in the
 * order of draft_list(). now: seconds since 1970; what is not valid then is
 * left out, but for what has expired and whose key has no handle: there is nothing better. Blocks;
 * several CPUs.
 * ST_OK also where nothing is there. ST_EIO: the store cannot be read. */
enum status sigstore_load(struct store *db, struct sigstore_zone *z,
			  const struct node *const *nodes, size_t count, const struct keyset *keys,
			  uint32_t serial, int64_t now, struct sigstore_loaded *out) MUST_USE;

/* How the zone denied that was saved last: the chain whose signatures are there. ST_ENOENT: none
 * was. ST_EIO. */
enum status sigstore_denial(struct store *db, const uint8_t *apex, enum sign_denial *out) MUST_USE;

/* After sigstore_load(), until the first save: the serial of the version that was saved last,
 * whole. False: it is not known. */
bool sigstore_serial(const struct sigstore_zone *z, uint32_t *serial);

/* Transactions of a bounded size over several calls of sigstore_save(). */
struct sigstore_writer {
	struct store *db;
	struct store_txn *txn; /* NULL: none begun */
	size_t pending;	       /* octets in it */
};

/* Writes what differs from what is there, and removes what is there no more. On error the zone is
 * written whole next time. The last piece is on disk after sigstore_flush(). Blocks, O(n).
 * *empty: RRsets whose slots were empty. */
enum status sigstore_save(struct sigstore_writer *w, struct sigstore_zone *z,
			  const struct version *v, size_t *empty) MUST_USE;
/* On error all zones saved since the last flush are to be sigstore_doubt()ed. */
enum status sigstore_flush(struct sigstore_writer *w) MUST_USE;
void sigstore_doubt(struct sigstore_zone *z);
