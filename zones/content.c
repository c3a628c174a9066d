#include "zones/content.h"
#include "zones/rdata.h"

#include "nsd-core/base/bulk.h"

#include <stdlib.h>

/* A small zone's block, and from when on the blocks are huge pages. */
#define ARENA_BLOCK ((size_t)64 << 10)
#define ARENA_LARGE ((size_t)512 << 10)

void content_init(struct content *c, const uint8_t *apex)
{
	*c = (struct content){0};
	name_lower(c->apex, apex);
	arena_init(&c->arena, ARENA_BLOCK);
}

void content_fini(struct content *c)
{
	bulk_free(c->records, c->record_room * sizeof(*c->records));
	bulk_free(c->sets, c->set_room * sizeof(*c->sets));
	free(c->files);
	arena_fini(&c->arena);
	*c = (struct content){0};
}

enum status content_file(struct content *c, const char *name, uint16_t *out)
{
	for (size_t i = 0; i < c->file_count; i++) {
		if (strcmp(c->files[i], name) == 0) {
			*out = (uint16_t)i;
			return ST_OK;
		}
	}
	if (c->file_count > UINT16_MAX) {
		return ST_ELIMIT;
	}
	/* Grows at each power of two. */
	if ((c->file_count & (c->file_count - 1)) == 0) {
		size_t room = c->file_count == 0 ? 1 : c->file_count * 2;
		const char **files = realloc(c->files, room * sizeof(*files));
		if (files == NULL) {
			return ST_ENOMEM;
		}
		c->files = files;
	}
	const char *copy = arena_copy(&c->arena, name, strlen(name) + 1);
	if (copy == NULL) {
		return ST_ENOMEM;
	}
	*out = (uint16_t)c->file_count;
	c->files[c->file_count++] = copy;
	return ST_OK;
}

/* Room for that many more records. */
static enum status reserve(struct content *c, size_t count)
{
	size_t room = c->record_room == 0 ? 64 : c->record_room;
	while (room < c->record_count + count) {
		room *= 2;
	}
	if (room > UINT32_MAX) {
		return ST_ELIMIT; /* seq has 32 bits */
	}
	if (room == c->record_room) {
		return ST_OK;
	}
	struct record *records =
		bulk_grow(c->records, c->record_room * sizeof(*records), room * sizeof(*records));
	if (records == NULL) {
		return ST_ENOMEM;
	}
	c->records = records;
	c->record_room = room;
	return ST_OK;
}

enum status content_add_owned(struct content *c, const uint8_t *owner, uint16_t type, uint32_t ttl,
			      struct bytes rdata, struct place place)
{
	if (c->arena.used_bytes > ARENA_LARGE) {
		c->arena.block_size = ARENA_BLOCK_HUGE;
	}
	if (c->record_count == c->record_room) {
		enum status st = reserve(c, 1);
		if (st != ST_OK) {
			return st;
		}
	}
	uint8_t *data = arena_alloc_bytes(&c->arena, rdata.len == 0 ? 1 : rdata.len);
	if (data == NULL) {
		return ST_ENOMEM;
	}
	if (rdata.len > 0) {
		memcpy(data, rdata.data, rdata.len);
	}
	c->records[c->record_count] = (struct record){
		.owner = owner,
		.rdata = data,
		.ttl = ttl,
		.rdata_len = (uint16_t)rdata.len,
		.type = type,
		.seq = (uint32_t)c->record_count,
		.place = place,
	};
	c->record_count++;
	return ST_OK;
}

enum status content_add(struct content *c, const uint8_t *owner, uint16_t type, uint32_t ttl,
			struct bytes rdata, struct place place)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len = name_lower(name, owner);
	const uint8_t *stored = c->record_count == 0 ? NULL : c->records[c->record_count - 1].owner;
	if (stored == NULL || name_len(stored) != len || memcmp(stored, name, len) != 0) {
		stored = arena_copy(&c->arena, name, len);
		if (stored == NULL) {
			return ST_ENOMEM;
		}
	}
	return content_add_owned(c, stored, type, ttl, rdata, place);
}

enum status content_append(struct content *c, const struct content *from)
{
	enum status st = reserve(c, from->record_count);
	if (st != ST_OK) {
		return st;
	}
	for (size_t i = 0; i < from->record_count; i++) {
		struct record *r = &c->records[c->record_count];
		*r = from->records[i];
		r->seq = (uint32_t)c->record_count++;
	}
	return ST_OK;
}
