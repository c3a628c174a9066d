#include "nsd-core/base/wire.h"

#include "nsd-core/base/name.h"

void wreader_init(struct wreader *r, const uint8_t *data, size_t len)
{
	*r = (struct wreader){.start = data, .pos = data, .end = data + len, .err = ST_OK};
}

size_t wreader_left(const struct wreader *r)
{
	return r->err == ST_OK ? (size_t)(r->end - r->pos) : 0;
}

void wreader_fail(struct wreader *r)
{
	r->err = ST_EPARSE;
}

/* The next 'len' octets, or NULL and the error set. */
static const uint8_t *wreader_advance(struct wreader *r, size_t len)
{
	if (r->err != ST_OK) {
		return NULL;
	}
	if (len > (size_t)(r->end - r->pos)) {
		wreader_fail(r);
		return NULL;
	}
	const uint8_t *p = r->pos;
	r->pos += len;
	return p;
}

uint8_t wreader_u8(struct wreader *r)
{
	const uint8_t *p = wreader_advance(r, 1);

	return p != NULL ? *p : 0;
}

uint16_t wreader_u16(struct wreader *r)
{
	const uint8_t *p = wreader_advance(r, 2);

	return p != NULL ? be16_get(p) : 0;
}

uint32_t wreader_u32(struct wreader *r)
{
	const uint8_t *p = wreader_advance(r, 4);

	return p != NULL ? be32_get(p) : 0;
}

uint64_t wreader_u64(struct wreader *r)
{
	const uint8_t *p = wreader_advance(r, 8);

	return p != NULL ? be64_get(p) : 0;
}

struct bytes wreader_bytes(struct wreader *r, size_t len)
{
	const uint8_t *p = wreader_advance(r, len);

	return p != NULL ? (struct bytes){p, len} : (struct bytes){NULL, 0};
}

struct bytes wreader_str8(struct wreader *r)
{
	return wreader_bytes(r, wreader_u8(r));
}

struct bytes wreader_name(struct wreader *r)
{
	size_t len;

	if (r->err != ST_OK) {
		return (struct bytes){NULL, 0};
	}
	if (name_check(r->pos, (size_t)(r->end - r->pos), &len) != ST_OK) {
		wreader_fail(r);
		return (struct bytes){NULL, 0};
	}
	return wreader_bytes(r, len);
}

/* Follows the name at r->pos and checks all of it. Its length expanded, 0 where it is malformed;
 * *used: octets it takes where it stands. Each pointer must lead to before the run of labels that
 * it ends, so that a name has an end whatever the input. */
static size_t wire_name_walk(const struct wreader *r, size_t *used)
{
	const uint8_t *segment = r->pos;
	const uint8_t *p = r->pos;
	size_t total = 1;
	bool jumped = false;

	for (;;) {
		if (p >= r->end) {
			return 0;
		}
		if (*p == 0) {
			break;
		}
		if (*p < 64) {
			size_t step = (size_t)*p + 1;
			total += step;
			if (total > NAME_MAX_LEN || step > (size_t)(r->end - p)) {
				return 0;
			}
			p += step;
			continue;
		}
		if (*p < 0xc0 || r->end - p < 2) {
			return 0;
		}
		const uint8_t *target = r->start + (be16_get(p) & 0x3fff);
		if (target >= segment) {
			return 0;
		}
		if (!jumped) {
			*used = (size_t)(p + 2 - r->pos);
			jumped = true;
		}
		segment = target;
		p = target;
	}
	if (!jumped) {
		*used = (size_t)(p + 1 - r->pos);
	}
	return total;
}

size_t wreader_name_expand(struct wreader *r, uint8_t *out)
{
	size_t used = 0;

	if (r->err != ST_OK) {
		return 0;
	}
	size_t len = wire_name_walk(r, &used);
	if (len == 0) {
		wreader_fail(r);
		return 0;
	}
	const uint8_t *p = r->pos;
	r->pos += used;
	/* Uncompressed: what a pointer of two octets stands for is one octet or at least three. */
	if (used == len) {
		memcpy(out, p, len);
		return len;
	}
	while (*p != 0) {
		if (*p >= 0xc0) {
			p = r->start + (be16_get(p) & 0x3fff);
			continue;
		}
		memcpy(out, p, (size_t)*p + 1);
		out += *p + 1;
		p += *p + 1;
	}
	*out = 0;
	return len;
}

void wwriter_init(struct wwriter *w, uint8_t *buf, size_t room)
{
	*w = (struct wwriter){.start = buf, .pos = buf, .end = buf + room, .err = ST_OK};
}

size_t wwriter_len(const struct wwriter *w)
{
	return (size_t)(w->pos - w->start);
}

size_t wwriter_left(const struct wwriter *w)
{
	return w->err == ST_OK ? (size_t)(w->end - w->pos) : 0;
}

/* Room for 'len' octets, or NULL and the error set. */
static uint8_t *wwriter_advance(struct wwriter *w, size_t len)
{
	if (w->err != ST_OK) {
		return NULL;
	}
	if (len > (size_t)(w->end - w->pos)) {
		w->err = ST_ESPACE;
		return NULL;
	}
	uint8_t *p = w->pos;
	w->pos += len;
	return p;
}

void wwriter_u8(struct wwriter *w, uint8_t v)
{
	uint8_t *p = wwriter_advance(w, 1);

	if (p != NULL) {
		*p = v;
	}
}

void wwriter_u16(struct wwriter *w, uint16_t v)
{
	uint8_t *p = wwriter_advance(w, 2);

	if (p != NULL) {
		be16_put(p, v);
	}
}

void wwriter_u32(struct wwriter *w, uint32_t v)
{
	uint8_t *p = wwriter_advance(w, 4);

	if (p != NULL) {
		be32_put(p, v);
	}
}

void wwriter_u64(struct wwriter *w, uint64_t v)
{
	uint8_t *p = wwriter_advance(w, 8);

	if (p != NULL) {
		be64_put(p, v);
	}
}

void wwriter_put(struct wwriter *w, const void *data, size_t len)
{
	uint8_t *p = wwriter_advance(w, len);

	if (p != NULL && len > 0) {
		memcpy(p, data, len);
	}
}

void wwriter_str8(struct wwriter *w, const void *data, size_t len)
{
	uint8_t *p = len <= UINT8_MAX ? wwriter_advance(w, 1 + len) : NULL;

	if (p == NULL) {
		w->err = ST_ESPACE;
		return;
	}
	*p = (uint8_t)len;
	if (len > 0) {
		memcpy(p + 1, data, len);
	}
}
