#include "nsd-core/difference.h"

#include <stdlib.h>

size_t diff_record_octets(const struct diff_record *r)
{
	return name_len(r->owner) + 2 + 2 + 4 + 2 + r->rdata.len;
}

static enum status make_room(struct difference *d, size_t more)
{
	if (d->len + more > d->limit) {
		return ST_ELIMIT;
	}
	if (d->room - d->len >= more) {
		return ST_OK;
	}
	size_t room = d->room < 4096 ? 4096 : d->room * 2;
	if (room < d->len + more) {
		room = d->len + more;
	}
	uint8_t *data = realloc(d->data, room);
	if (data == NULL) {
		return ST_ENOMEM;
	}
	d->data = data;
	d->room = room;
	return ST_OK;
}

/* One more piece, which is empty yet. */
static enum status begin_piece(struct difference *d)
{
	if (d->pieces == d->pieces_room) {
		size_t room = d->pieces_room == 0 ? 4 : d->pieces_room * 2;
		size_t *ends = realloc(d->ends, room * sizeof(*ends));
		if (ends == NULL) {
			return ST_ENOMEM;
		}
		d->ends = ends;
		d->pieces_room = room;
	}
	d->ends[d->pieces++] = d->len;
	d->owner_len = 0;
	return ST_OK;
}

enum status difference_add(struct difference *d, const struct diff_record *r)
{
	size_t owner_len = name_len(r->owner);
	size_t most = 1 + owner_len + 2 + 4 + 2 + r->rdata.len;
	size_t begin = d->pieces > 1 ? d->ends[d->pieces - 2] : 0;
	struct wwriter w;

	enum status st = make_room(d, most);
	if (st == ST_OK && (d->pieces == 0 || d->len + most - begin > DIFFERENCE_PIECE)) {
		st = begin_piece(d);
	}
	if (st != ST_OK) {
		return st;
	}
	bool same = d->owner_len == owner_len && memcmp(d->owner, r->owner, owner_len) == 0;
	wwriter_init(&w, d->data + d->len, most);
	wwriter_u8(&w, same ? 0 : (uint8_t)owner_len);
	wwriter_put(&w, r->owner, same ? 0 : owner_len);
	wwriter_u16(&w, r->type);
	wwriter_u32(&w, r->ttl);
	wwriter_u16(&w, (uint16_t)r->rdata.len);
	wwriter_put(&w, r->rdata.data, r->rdata.len);
	memcpy(d->owner, r->owner, owner_len);
	d->owner_len = owner_len;
	d->len += wwriter_len(&w);
	d->ends[d->pieces - 1] = d->len;
	d->octets += diff_record_octets(r);
	return ST_OK;
}

void difference_fini(struct difference *d)
{
	free(d->data);
	free(d->ends);
	*d = (struct difference){.limit = 0};
}

struct bytes difference_piece(const struct difference *d, size_t i)
{
	size_t begin = i > 0 ? d->ends[i - 1] : 0;

	return (struct bytes){d->data + begin, d->ends[i] - begin};
}

void difference_reader_init(struct difference_reader *r, struct bytes piece)
{
	wreader_init(&r->r, piece.data, piece.len);
	r->owner = NULL;
}

enum status difference_next(struct difference_reader *r, struct diff_record *out)
{
	struct diff_record rec;

	if (wreader_left(&r->r) == 0) {
		return r->r.err == ST_OK ? ST_ENOENT : r->r.err;
	}
	uint8_t owner_len = wreader_u8(&r->r);
	if (owner_len > 0) {
		struct bytes name = wreader_name(&r->r);
		if (r->r.err != ST_OK || name.len != owner_len) {
			wreader_fail(&r->r);
			return ST_EPARSE;
		}
		r->owner = name.data;
	}
	rec.owner = r->owner;
	rec.type = wreader_u16(&r->r);
	rec.ttl = wreader_u32(&r->r);
	rec.rdata = wreader_bytes(&r->r, wreader_u16(&r->r));
	if (r->r.err != ST_OK || r->owner == NULL) {
		wreader_fail(&r->r);
		return ST_EPARSE;
	}
	*out = rec;
	return ST_OK;
}
