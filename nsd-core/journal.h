/* The histories of zones that are transferred, in an LMDB environment of their own: of each zone
 * the differences from one published version to the next, in pieces of about 64 KB.
 *
 * Of the last version the journal has the serial and the sum of its content (zones/zonesum.h), so
 * that after a restart it is seen whether what is served is that version. One thread writes; any
 * thread reads, a piece at a time, in a transaction that ends before the piece is used: who reads
 * slowly is in nobody's way, and may find that the history has been cut meanwhile. */
#pragma once

#include "nsd-core/difference.h"

#include <stdatomic.h>

struct journal;
struct journal_zone;

/* The environment in the state directory. */
#define JOURNAL_STORE "journals"
/* Its bound: address space only. */
#define JOURNAL_MAP_BYTES ((size_t)32 << 30)
/* Differences of a zone. */
#define JOURNAL_VERSIONS_MAX 10000

/* A store that is damaged is set aside, with a warning. */
enum status journal_open(const char *state, size_t map_bytes, struct journal **out,
			 struct diags *d) MUST_USE;
void journal_close(struct journal *j); /* takes NULL; after its zones */
/* Removes what there is of zones that 'keep' does not know. *removed: how many zones. */
enum status journal_prune(struct journal *j, bool (*keep)(void *ctx, const uint8_t *apex),
			  void *ctx, size_t *removed) MUST_USE;

/* A zone's history, which may be empty. apex in lower case; limit: octets at most. What is there
 * and cannot be used is forgotten, with a warning. */
enum status journal_zone_new(struct journal *j, const uint8_t *apex, uint64_t limit,
			     struct journal_zone **out, struct diags *d) MUST_USE;
void journal_zone_free(struct journal_zone *z); /* takes NULL */

/* The last version that was written. False: there is none, or it is not known any more. */
bool journal_last(struct journal_zone *z, uint32_t *serial, struct zone_sum *sum);
/* No longer difference than this is kept. */
uint64_t journal_limit(const struct journal_zone *z);

enum journal_step {
	JOURNAL_KEEP,	 /* nothing is to be written: the journal ends with this version */
	JOURNAL_APPEND,	 /* 'difference' leads to it from the version with serial 'from' */
	JOURNAL_RESTART, /* how it came is not known: the history begins with it */
};

/* A version that is about to be published. */
struct journal_change {
	struct journal_zone *zone;
	enum journal_step step;
	uint32_t from, to;
	struct zone_sum sum;
	struct difference difference;
	/* Out. ST_OK: it is durable.   Else the history is lost: it begins anew with the next
	 * version that can be written. */
	enum status status;
};

/* Those of several zones, in one transaction where that can be. Where there is no history to append
 * to, JOURNAL_APPEND is JOURNAL_RESTART. Cannot fail: see 'status'. The journal's writer only. */
void journal_commit(struct journal *j, struct journal_change *const *changes, size_t count);

/* Differences one after the other. */
struct journal_span {
	uint64_t first;	      /* their numbers: from here on ... */
	size_t count;	      /* ... so many */
	uint64_t octets;      /* in wire form, not compressed */
	uint64_t zone_octets; /* of all of the zone, likewise */
};

/* ST_ENOENT: the journal does not lead from the one serial to the other. */
enum status journal_span(struct journal_zone *z, uint32_t from, uint32_t to,
			 struct journal_span *out) MUST_USE;

/* A piece that was read; all zero before the first. */
struct journal_piece {
	uint8_t *data;
	size_t len, room;
	bool last; /* of its difference */
};

/* Piece 'index' of a difference. ST_ENOENT: it has been cut off meanwhile. ST_EIO: it is damaged;
 * the history is then given up, and the log says so. */
enum status journal_read(struct journal_zone *z, uint64_t number, uint32_t index,
			 struct journal_piece *piece) MUST_USE;
void journal_piece_fini(struct journal_piece *p);

enum journal_served {
	JOURNAL_AXFR, /* all of the zone was sent */
	JOURNAL_IXFR, /* differences were */
	JOURNAL_SERVED_MAX,
};

/* Counts. Any thread. */
void journal_serve(struct journal_zone *z, enum journal_served what);

struct journal_status {
	size_t versions; /* differences */
	uint64_t octets; /* that they take */
	uint32_t oldest; /* serial, where there are differences */
	uint64_t served[JOURNAL_SERVED_MAX];
};

void journal_zone_status(struct journal_zone *z, struct journal_status *out);

/* Octets that transfers may hold in memory for differences joined together, all in all. False:
 * there are too many. */
bool journal_borrow(struct journal_zone *z, size_t octets);
void journal_give_back(struct journal_zone *z, size_t octets);
