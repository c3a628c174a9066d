/* The inside of the journal. Private to journal*.c. */
#pragma once

#include "nsd-core/base/store.h"
#include "nsd-core/journal.h"

#include <pthread.h>

/* One entry for each zone: what is known of its last version. By apex. */
#define TABLE_ZONES "zones"
/* One for each difference, by apex and be64 number. */
#define TABLE_HEADS "differences"
/* By apex, be64 number and be32 index. */
#define TABLE_PIECES "pieces"

#define JOURNAL_VERSION 1
#define ZONE_LEN	(1 + 4 + 4 * 8 + 8)
#define HEAD_LEN	(1 + 4 + 4 + 4 + 8 + 8)
#define PIECE_SUM_LEN	8 /* the first octets of the SHA-256 of what follows */
#define JOURNAL_KEY_MAX (NAME_MAX_LEN + 8 + 4)
/* What an entry takes beside its value. */
#define ENTRY_OCTETS 64

/* A difference, as it is kept in memory too. */
struct journal_head {
	uint32_t from, to;
	uint32_t pieces;
	uint64_t octets; /* in wire form */
	uint64_t stored; /* octets in the store */
};

struct journal {
	struct store *store;
	_Atomic(size_t) borrowed;
	bool given_up; /* the writer's: it is damaged */
	char *state;
};

struct journal_zone {
	struct journal *journal;
	uint8_t apex[NAME_MAX_LEN];
	size_t apex_len;
	uint64_t limit;
	_Atomic(uint64_t) served[JOURNAL_SERVED_MAX];
	/* Held for moments. All below is changed by the writer, who so reads it without; but for
	 * 'damaged', which who reads may set. */
	pthread_mutex_t lock;
	bool damaged; /* there is no history, until the writer begins anew */
	bool known;   /* serial and sum are those of the last version on disk */
	bool clean;   /* nothing is on disk but what stands here */
	uint32_t serial;
	struct zone_sum sum;
	uint64_t first; /* number of heads[begin] */
	struct journal_head *heads;
	size_t begin, count, room;
	uint64_t stored; /* by all of them */
};

struct bytes journal_key(const struct journal_zone *z, uint8_t buf[JOURNAL_KEY_MAX]);
struct bytes journal_head_key(const struct journal_zone *z, uint64_t number,
			      uint8_t buf[JOURNAL_KEY_MAX]);
struct bytes journal_piece_key(const struct journal_zone *z, uint64_t number, uint32_t index,
			       uint8_t buf[JOURNAL_KEY_MAX]);
/* Forgets the history in memory. The writer, under the lock. */
void journal_forget(struct journal_zone *z);
/* Removes all entries of the zone. */
enum status journal_erase(struct store_txn *txn, struct bytes apex) MUST_USE;
/* Moves the environment out of the way, for the next start; once. */
void journal_give_up(struct journal *j);
