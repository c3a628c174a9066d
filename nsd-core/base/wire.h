/* Sticky cursors over wire data: after the first error every further call does nothing and
 * returns zero, so that a caller tests once, at the end. Integers are big-endian. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdbool.h>
#include <string.h>

/* A borrowed run of octets. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

static inline uint16_t be16_get(const uint8_t *p)
{
	return (uint16_t)((uint16_t)p[0] << 8 | p[1]);
}

static inline uint32_t be32_get(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t be64_get(const uint8_t *p)
{
	return (uint64_t)be32_get(p) << 32 | be32_get(p + 4);
}

static inline void be16_put(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void be32_put(uint8_t *p, uint32_t v)
{
	be16_put(p, (uint16_t)(v >> 16));
	be16_put(p + 2, (uint16_t)v);
}

static inline void be64_put(uint8_t *p, uint64_t v)
{
	be32_put(p, (uint32_t)(v >> 32));
	be32_put(p + 4, (uint32_t)v);
}

struct wreader {
	const uint8_t *start;
	const uint8_t *pos;
	const uint8_t *end;
	enum status err; /* ST_OK or ST_EPARSE */
};

void wreader_init(struct wreader *r, const uint8_t *data, size_t len);
size_t wreader_left(const struct wreader *r);
uint8_t wreader_u8(struct wreader *r);
uint16_t wreader_u16(struct wreader *r);
uint32_t wreader_u32(struct wreader *r);
uint64_t wreader_u64(struct wreader *r);
/* 'len' octets, borrowed from the input. */
struct bytes wreader_bytes(struct wreader *r, size_t len);
/* One octet of length, then that many (a <character-string>). */
struct bytes wreader_str8(struct wreader *r);
/* An uncompressed name; a compression pointer is an error. */
struct bytes wreader_name(struct wreader *r);
/* A name that may be compressed (RFC 1035 4.1.4), expanded into out[NAME_MAX_LEN]; returns its
 * length, 0 on error. Pointers must go strictly backwards. */
size_t wreader_name_expand(struct wreader *r, uint8_t *out);
void wreader_fail(struct wreader *r);

struct wwriter {
	uint8_t *start;
	uint8_t *pos;
	uint8_t *end;
	enum status err; /* ST_OK or ST_ESPACE */
};

void wwriter_init(struct wwriter *w, uint8_t *buf, size_t room);
size_t wwriter_len(const struct wwriter *w);
size_t wwriter_left(const struct wwriter *w);
void wwriter_u8(struct wwriter *w, uint8_t v);
void wwriter_u16(struct wwriter *w, uint16_t v);
void wwriter_u32(struct wwriter *w, uint32_t v);
void wwriter_u64(struct wwriter *w, uint64_t v);
void wwriter_put(struct wwriter *w, const void *data, size_t len);
/* One octet of length, then data; ST_ESPACE where len > 255. */
void wwriter_str8(struct wwriter *w, const void *data, size_t len);
