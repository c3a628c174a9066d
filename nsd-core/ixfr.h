/* What an incremental transfer sends between its first SOA and its last (RFC 1995): differences one
 * after the other, out of the journal, or joined together. */
#pragma once

#include "nsd-core/journal.h"

struct ixfr;

/* So many differences are sent one after the other; more are joined, so that what came and went in
 * the span is not sent (RFC 1995 5) ... */
#define IXFR_PLAIN_MAX 8
/* ... where they have no more octets than this: they are held in memory while they are sent. */
#define IXFR_JOIN_MAX ((size_t)4 << 20)

/* From a client's serial to that which is served. ST_ENOENT: all of the zone is to be sent, since
 * the journal does not have it, or it is more than the zone. Reads the first piece. */
enum status ixfr_new(struct journal_zone *z, uint32_t from, uint32_t to,
		     struct ixfr **out) MUST_USE;
/* Where no more than that many octets are to be sent: else ST_ENOENT. */
enum status ixfr_new_small(struct journal_zone *z, uint32_t from, uint32_t to, size_t octets,
			   struct ixfr **out) MUST_USE;
void ixfr_free(struct ixfr *x); /* takes NULL */

/* The record that is next, borrowed until ixfr_settle(), since names in a message point to those
 * before them: of each difference the old SOA, what is
 * removed, the new SOA, what is added. ST_ENOENT: there are no more. Else it cannot go on: the
 * history was cut off, or is damaged. */
enum status ixfr_record(struct ixfr *x, struct diff_record *out) MUST_USE;
void ixfr_advance(struct ixfr *x);
/* A message is whole: of the records up to now only the next one is still borrowed. */
void ixfr_settle(struct ixfr *x);

/* ixfr_join.c. Differences as one. */
struct joined;

/* ST_ELIMIT: too much is held already. ST_EIO, ST_ENOENT: as journal_read(). */
enum status joined_new(struct journal_zone *z, const struct journal_span *span,
		       struct joined **out) MUST_USE;
void joined_free(struct joined *j); /* takes NULL */
/* Of its records, not compressed. */
uint64_t joined_octets(const struct joined *j);
/* The i-th one, the SOAs among them. ST_ENOENT. *added: it stands in the latter half. */
enum status joined_record(const struct joined *j, size_t i, struct diff_record *out,
			  bool *added) MUST_USE;
