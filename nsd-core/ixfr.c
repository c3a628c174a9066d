#include "nsd-core/ixfr.h"

#include <stdlib.h>

/* A piece that is through, and that records of the message at work are in. */
struct old_piece {
	struct old_piece *next;
	uint8_t *data;
};

struct ixfr {
	struct journal_zone *zone;
	/* One after the other ... */
	struct journal_span span; /* what is left, that of 'piece' included */
	uint32_t index;		  /* of the piece that is next */
	struct journal_piece piece;
	struct difference_reader reader;
	struct old_piece *old;
	/* ... or joined. */
	struct joined *joined;
	size_t at;
	/* The record that is next. */
	bool has;
	struct diff_record record;
	enum status status; /* why there is none */
};

/* The next piece gets a place of its own. */
static enum status put_away(struct ixfr *x)
{
	if (x->piece.data == NULL) {
		return ST_OK;
	}
	struct old_piece *old = malloc(sizeof(*old));
	if (old == NULL) {
		return ST_ENOMEM;
	}
	*old = (struct old_piece){x->old, x->piece.data};
	x->old = old;
	x->piece = (struct journal_piece){.last = x->piece.last};
	return ST_OK;
}

/* To the next record of the pieces. */
static enum status find_next(struct ixfr *x)
{
	for (;;) {
		enum status st =
			x->piece.data != NULL ? difference_next(&x->reader, &x->record) : ST_ENOENT;
		if (st != ST_ENOENT) {
			return st;
		}
		if (x->piece.data != NULL && x->piece.last) {
			x->span.first++;
			x->span.count--;
			x->index = 0;
		}
		if (x->span.count == 0) {
			return ST_ENOENT;
		}
		st = put_away(x);
		if (st == ST_OK) {
			st = journal_read(x->zone, x->span.first, x->index, &x->piece);
		}
		if (st != ST_OK) {
			return st == ST_ENOENT ? ST_EAGAIN : st;
		}
		x->index++;
		difference_reader_init(&x->reader, (struct bytes){x->piece.data, x->piece.len});
	}
}

static void look(struct ixfr *x)
{
	bool added;

	x->status = x->joined != NULL ? joined_record(x->joined, x->at, &x->record, &added)
				      : find_next(x);
	x->has = x->status == ST_OK;
}

/* Joined, where that is better; what is then sent is no more than the zone. */
static enum status choose(struct ixfr *x)
{
	const struct journal_span *s = &x->span;

	bool plain = s->count == 1 || (s->count <= IXFR_PLAIN_MAX && s->octets <= s->zone_octets);
	if (!plain && s->octets <= IXFR_JOIN_MAX) {
		enum status st = joined_new(x->zone, s, &x->joined);
		if (st != ST_OK && st != ST_ELIMIT) {
			return st;
		}
	}
	uint64_t octets = x->joined != NULL ? joined_octets(x->joined) : s->octets;
	return octets <= s->zone_octets ? ST_OK : ST_ENOENT;
}

static enum status open_span(struct journal_zone *z, const struct journal_span *span,
			     struct ixfr **out)
{
	struct ixfr *x = calloc(1, sizeof(*x));

	if (x == NULL) {
		return ST_ENOMEM;
	}
	x->zone = z;
	x->span = *span;
	enum status st = choose(x);
	if (st == ST_OK) {
		look(x);
		st = x->status;
	}
	if (st != ST_OK) {
		ixfr_free(x);
		/* Nothing is sent yet: the whole zone is as good. */
		return st == ST_ENOMEM ? st : ST_ENOENT;
	}
	*out = x;
	return ST_OK;
}

enum status ixfr_new(struct journal_zone *z, uint32_t from, uint32_t to, struct ixfr **out)
{
	struct journal_span span;
	enum status st = journal_span(z, from, to, &span);

	return st == ST_OK ? open_span(z, &span, out) : st;
}

enum status ixfr_new_small(struct journal_zone *z, uint32_t from, uint32_t to, size_t octets,
			   struct ixfr **out)
{
	struct journal_span span;
	enum status st = journal_span(z, from, to, &span);

	if (st != ST_OK || span.octets > octets) {
		return ST_ENOENT;
	}
	return open_span(z, &span, out);
}

void ixfr_free(struct ixfr *x)
{
	if (x != NULL) {
		ixfr_settle(x);
		journal_piece_fini(&x->piece);
		joined_free(x->joined);
		free(x);
	}
}

enum status ixfr_record(struct ixfr *x, struct diff_record *out)
{
	if (x->has) {
		*out = x->record;
	}
	return x->status;
}

void ixfr_advance(struct ixfr *x)
{
	if (x->has) {
		x->at++;
		look(x);
	}
}

void ixfr_settle(struct ixfr *x)
{
	while (x->old != NULL) {
		struct old_piece *next = x->old->next;
		free(x->old->data);
		free(x->old);
		x->old = next;
	}
}
