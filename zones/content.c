#include "zones/content.h"
#include "zones/rdata.h"
#include "zones/version.h"

#include "nsd-core/base/bulk.h"

#include <stdlib.h>

/* A small zone's block, and from when on the blocks are huge pages. */
#define ARENA_BLOCK ((size_t)64 << 10)
#define ARENA_LARGE ((size_t)512 << 10)
/* Records of a known RRset that are looked through: each new one is compared with them. */
#define KNOWN_MAX 4

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
		return ST_ELIMIT; /* sets have 32 bits */
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

/* Where the node holds the RDATA, its length before it; NULL: nowhere. */
static const uint8_t *known_rdata(const struct node *n, uint16_t type, struct bytes rdata)
{
	const struct rrset *rs = n == NULL ? NULL : node_rrset(n, type);
	if (rs == NULL || rs->count > KNOWN_MAX) {
		return NULL;
	}
	for (const uint8_t *p = rs->data; p < rs->data + rs->size; p = rdata_next(p)) {
		struct bytes held = rdata_at(p);
		if (held.len == rdata.len && memcmp(held.data, rdata.data, held.len) == 0) {
			return p;
		}
	}
	return NULL;
}

static const uint8_t *copied_rdata(struct content *c, struct bytes rdata)
{
	uint8_t *data = arena_alloc_bytes(&c->arena, 2 + rdata.len);
	if (data == NULL) {
		return NULL;
	}
	be16_put(data, (uint16_t)rdata.len);
	if (rdata.len > 0) {
		memcpy(data + 2, rdata.data, rdata.len);
	}
	return data;
}

enum status content_add_owned(struct content *c, const struct record_owner *owner, uint16_t type,
			      uint32_t ttl, struct bytes rdata, struct place place)
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
	const uint8_t *data = known_rdata(owner->known, type, rdata);
	if (data == NULL) {
		data = copied_rdata(c, rdata);
	}
	if (data == NULL) {
		return ST_ENOMEM;
	}
	c->records[c->record_count++] = (struct record){
		.owner = owner->name,
		.rdata = data + 2,
		.ttl = ttl,
		.line = place.line,
		.type = type,
		.file = place.file,
		.column = (uint16_t)(place.column < UINT16_MAX ? place.column : UINT16_MAX),
	};
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
	return content_add_owned(c, &(struct record_owner){.name = stored}, type, ttl, rdata,
				 place);
}

enum status content_append(struct content *c, const struct content *from)
{
	enum status st = reserve(c, from->record_count);
	if (st != ST_OK) {
		return st;
	}
	if (from->record_count > 0) {
		memcpy(c->records + c->record_count, from->records,
		       from->record_count * sizeof(*c->records));
		c->record_count += from->record_count;
	}
	return ST_OK;
}
