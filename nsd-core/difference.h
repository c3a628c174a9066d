/* A difference between two versions as octets: what the journal keeps, in pieces. Each piece is
 * read by itself. A record: length of the owner (0: that of the record before) and owner, be16
 * type, be32 TTL, be16 length, RDATA. */
#pragma once

#include "zones/diff.h"

/* A piece is no longer than this, unless it is one record. */
#define DIFFERENCE_PIECE ((size_t)64000)
#define DIFFERENCE_PIECE_MAX                                                                       \
	((size_t)(1 + NAME_MAX_LEN + 2 + 4 + 2 + 65535) > DIFFERENCE_PIECE                         \
		 ? (size_t)(1 + NAME_MAX_LEN + 2 + 4 + 2 + 65535)                                  \
		 : DIFFERENCE_PIECE)

struct difference {
	uint8_t *data;
	size_t len, room;
	size_t limit; /* octets at most */
	size_t *ends; /* of pieces, in data */
	size_t pieces, pieces_room;
	uint64_t octets; /* of the records in wire form, not compressed */
	uint8_t owner[NAME_MAX_LEN];
	size_t owner_len; /* 0: there is no record in the last piece */
};

/* All zero but for the limit: empty. Keeps nothing of r. ST_ELIMIT: longer than the limit. */
enum status difference_add(struct difference *d, const struct diff_record *r) MUST_USE;
void difference_fini(struct difference *d);
struct bytes difference_piece(const struct difference *d, size_t i);

/* The octets of a record in wire form. */
size_t diff_record_octets(const struct diff_record *r);

/* Goes through a piece. */
struct difference_reader {
	struct wreader r;
	const uint8_t *owner;
};

void difference_reader_init(struct difference_reader *r, struct bytes piece);
/* Borrowed from the piece. ST_ENOENT: there are no more. ST_EPARSE: it is no piece. */
enum status difference_next(struct difference_reader *r, struct diff_record *out) MUST_USE;
