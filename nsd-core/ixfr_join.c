/* Differences as one: what was added and removed again within them, or removed and added again, is
 * left out (RFC 1995 5). */
#include "nsd-core/ixfr.h"

#include <stdlib.h>

struct change {
	struct diff_record record; /* in 'data' */
	int net; /* 1: it is added. -1: it is removed. 0: neither, or counted with another */
};

struct joined {
	struct journal_zone *zone;
	uint8_t *data; /* all pieces */
	size_t borrowed;
	struct change *changes;
	size_t count, room;
	struct change first, last; /* the oldest SOA, and the newest */
	struct change **removed, **added;
	size_t removed_count, added_count;
	uint64_t octets;
};

static int compare_octets(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	if (order != 0) {
		return order;
	}
	return a_len < b_len ? -1 : a_len > b_len;
}

/* Records that are the same in all their octets stand together, and those of one owner too. */
static int compare_changes(const void *a, const void *b)
{
	const struct diff_record *x = &((const struct change *)a)->record;
	const struct diff_record *y = &((const struct change *)b)->record;
	int order = compare_octets(x->owner, name_len(x->owner), y->owner, name_len(y->owner));

	if (order == 0 && x->type != y->type) {
		order = x->type < y->type ? -1 : 1;
	}
	if (order == 0 && x->ttl != y->ttl) {
		order = x->ttl < y->ttl ? -1 : 1;
	}
	return order != 0
		       ? order
		       : compare_octets(x->rdata.data, x->rdata.len, y->rdata.data, y->rdata.len);
}

static enum status add_change(struct joined *j, const struct diff_record *r, int net)
{
	if (j->count == j->room) {
		size_t room = j->room == 0 ? 64 : j->room * 2;
		struct change *grown = realloc(j->changes, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		j->changes = grown;
		j->room = room;
	}
	j->changes[j->count++] = (struct change){.record = *r, .net = net};
	return ST_OK;
}

/* The records of a piece; *soas counts those of its difference. */
static enum status add_piece(struct joined *j, struct bytes piece, unsigned *soas)
{
	struct difference_reader reader;
	struct diff_record r;
	enum status st;

	difference_reader_init(&reader, piece);
	while ((st = difference_next(&reader, &r)) == ST_OK) {
		if (r.type == RR_SOA) {
			++*soas;
			if (j->first.record.owner == NULL) {
				j->first = (struct change){r, -1};
			}
			j->last = (struct change){r, 1};
			continue;
		}
		st = add_change(j, &r, *soas == 1 ? -1 : 1);
		if (st != ST_OK) {
			return st;
		}
	}
	return st == ST_ENOENT ? ST_OK : st;
}

/* All pieces into j->data, which never moves: records point into it. */
static enum status read_all(struct joined *j, const struct journal_span *span, size_t room)
{
	struct journal_piece piece = {.data = NULL};
	size_t used = 0;
	enum status st = ST_OK;

	for (size_t i = 0; i < span->count && st == ST_OK; i++) {
		unsigned soas = 0;
		piece.last = false;
		for (uint32_t index = 0; !piece.last && st == ST_OK; index++) {
			st = journal_read(j->zone, span->first + i, index, &piece);
			if (st == ST_OK && piece.len > room - used) {
				st = ST_EIO;
			}
			if (st != ST_OK) {
				break;
			}
			memcpy(j->data + used, piece.data, piece.len);
			st = add_piece(j, (struct bytes){j->data + used, piece.len}, &soas);
			used += piece.len;
		}
	}
	journal_piece_fini(&piece);
	return st;
}

/* Of each run of the same record one is left with the sum, which is what both ends differ in. */
static void sum_up(struct joined *j)
{
	struct change *run = NULL;

	if (j->count == 0) {
		return;
	}
	qsort(j->changes, j->count, sizeof(j->changes[0]), compare_changes);
	for (size_t i = 0; i < j->count; i++) {
		struct change *c = &j->changes[i];
		if (run != NULL && compare_changes(run, c) == 0) {
			run->net = run->net + c->net;
			c->net = 0;
		} else {
			run = c;
		}
	}
}

static enum status part(struct joined *j)
{
	j->removed = calloc(j->count + 1, sizeof(*j->removed));
	j->added = calloc(j->count + 1, sizeof(*j->added));
	if (j->removed == NULL || j->added == NULL) {
		return ST_ENOMEM;
	}
	j->octets = diff_record_octets(&j->first.record) + diff_record_octets(&j->last.record);
	for (size_t i = 0; i < j->count; i++) {
		struct change *c = &j->changes[i];
		if (c->net < 0) {
			j->removed[j->removed_count++] = c;
		} else if (c->net > 0) {
			j->added[j->added_count++] = c;
		}
		j->octets += c->net != 0 ? diff_record_octets(&c->record) : 0;
	}
	return ST_OK;
}

enum status joined_new(struct journal_zone *z, const struct journal_span *span, struct joined **out)
{
	/* A record takes no more in the journal. */
	size_t room = span->octets;
	struct joined *j = calloc(1, sizeof(*j));
	enum status st = ST_OK;

	if (j == NULL) {
		return ST_ENOMEM;
	}
	j->zone = z;
	if (!journal_borrow(z, room)) {
		st = ST_ELIMIT;
		goto out;
	}
	j->borrowed = room;
	j->data = malloc(room);
	st = j->data != NULL ? read_all(j, span, room) : ST_ENOMEM;
	if (st == ST_OK && j->first.record.owner == NULL) {
		st = ST_EIO;
	}
	if (st == ST_OK) {
		sum_up(j);
		st = part(j);
	}
	if (st == ST_OK) {
		*out = j;
		j = NULL;
	}
out:
	joined_free(j);
	return st;
}

void joined_free(struct joined *j)
{
	if (j == NULL) {
		return;
	}
	journal_give_back(j->zone, j->borrowed);
	free(j->data);
	free(j->changes);
	free(j->removed);
	free(j->added);
	free(j);
}

uint64_t joined_octets(const struct joined *j)
{
	return j->octets;
}

enum status joined_record(const struct joined *j, size_t i, struct diff_record *out, bool *added)
{
	const struct change *c;

	*added = i > j->removed_count;
	if (i == 0) {
		c = &j->first;
	} else if (i <= j->removed_count) {
		c = j->removed[i - 1];
	} else if (i == j->removed_count + 1) {
		c = &j->last;
	} else if (i - j->removed_count - 2 < j->added_count) {
		c = j->added[i - j->removed_count - 2];
	} else {
		return ST_ENOENT;
	}
	*out = c->record;
	return ST_OK;
}
