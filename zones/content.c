#include "zones/content.h"
#include "zones/rdata.h"

#include <stdlib.h>

#define ARENA_BLOCK ((size_t)256 << 10)

void content_init(struct content *c, const uint8_t *apex)
{
	*c = (struct content){0};
	name_lower(c->apex, apex);
	arena_init(&c->arena, ARENA_BLOCK);
}

void content_fini(struct content *c)
{
	free(c->records);
	free(c->sets);
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

static enum status grow(struct content *c)
{
	size_t room = c->record_room == 0 ? 64 : c->record_room * 2;
	if (room > UINT32_MAX) {
		return ST_ELIMIT; /* seq has 32 bits */
	}
	struct record *records = realloc(c->records, room * sizeof(*records));
	if (records == NULL) {
		return ST_ENOMEM;
	}
	c->records = records;
	c->record_room = room;
	return ST_OK;
}

enum status content_add(struct content *c, const uint8_t *owner, uint16_t type, uint32_t ttl,
			struct bytes rdata, struct place place)
{
	uint8_t name[NAME_MAX_LEN];
	if (c->record_count == c->record_room) {
		enum status st = grow(c);
		if (st != ST_OK) {
			return st;
		}
	}
	size_t len = name_lower(name, owner);
	const uint8_t *stored = c->record_count == 0 ? NULL : c->records[c->record_count - 1].owner;
	if (stored == NULL || name_len(stored) != len || memcmp(stored, name, len) != 0) {
		stored = arena_alloc_bytes(&c->arena, len);
		if (stored == NULL) {
			return ST_ENOMEM;
		}
		memcpy((uint8_t *)(uintptr_t)stored, name, len);
	}
	uint8_t *data = arena_alloc_bytes(&c->arena, rdata.len == 0 ? 1 : rdata.len);
	if (data == NULL) {
		return ST_ENOMEM;
	}
	if (rdata.len > 0) {
		memcpy(data, rdata.data, rdata.len);
	}
	c->records[c->record_count] = (struct record){
		.owner = stored,
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

/* A run of records with one owner, as it stands in the file. */
struct run {
	uint64_t prefix; /* first octets of the key, for a quick comparison */
	const uint8_t *key;
	uint32_t first;
	uint32_t count;
	uint16_t key_len;
};

static int run_compare(const void *x, const void *y)
{
	const struct run *a = x;
	const struct run *b = y;
	if (a->prefix != b->prefix) {
		return a->prefix < b->prefix ? -1 : 1;
	}
	size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
	int diff = memcmp(a->key, b->key, len);
	if (diff != 0) {
		return diff;
	}
	if (a->key_len != b->key_len) {
		return a->key_len < b->key_len ? -1 : 1;
	}
	return a->first < b->first ? -1 : a->first > b->first;
}

static bool same_owner(const struct record *a, const struct record *b)
{
	return a->owner == b->owner || name_equal(a->owner, b->owner);
}

/* Do the owners ascend already? Most files are written that way. */
static bool owners_sorted(const struct content *c)
{
	for (size_t i = 1; i < c->record_count; i++) {
		const uint8_t *before = c->records[i - 1].owner;
		const uint8_t *owner = c->records[i].owner;
		if (before != owner && name_compare(before, owner) > 0) {
			return false;
		}
	}
	return true;
}

static enum status run_key(const struct content *c, size_t apex_key_len, struct arena *keys,
			   struct run *run)
{
	uint8_t key[NAME_KEY_MAX];
	const uint8_t *owner = c->records[run->first].owner;
	size_t len = name_sort_key(owner, key);
	run->key = arena_alloc_bytes(keys, len == 0 ? 1 : len);
	if (run->key == NULL) {
		return ST_ENOMEM;
	}
	if (len > 0) {
		memcpy((uint8_t *)(uintptr_t)run->key, key, len);
	}
	run->key_len = (uint16_t)len;
	/* All names of the zone begin with the apex's key: what follows tells them apart. */
	uint8_t head[8] = {0};
	size_t skip = apex_key_len < len ? apex_key_len : len;
	memcpy(head, key + skip, len - skip < 8 ? len - skip : 8);
	run->prefix = be64_get(head);
	return ST_OK;
}

static enum status make_runs(const struct content *c, struct arena *keys, struct run *runs,
			     size_t *count)
{
	uint8_t key[NAME_KEY_MAX];
	size_t apex_key_len = name_sort_key(c->apex, key);
	bool in_zone = true;
	size_t n = 0;
	for (size_t i = 0; i < c->record_count; i++) {
		if (n > 0 && c->records[i].owner == c->records[i - 1].owner) {
			runs[n - 1].count++;
			continue;
		}
		runs[n] = (struct run){.first = (uint32_t)i, .count = 1};
		enum status st = run_key(c, apex_key_len, keys, &runs[n]);
		if (st != ST_OK) {
			return st;
		}
		in_zone = in_zone && name_is_below(c->records[i].owner, c->apex);
		n++;
	}
	/* Beside names out of the zone the prefixes have no order. */
	for (size_t i = 0; i < n && !in_zone; i++) {
		runs[i].prefix = 0;
	}
	*count = n;
	return ST_OK;
}

static size_t count_runs(const struct content *c)
{
	size_t n = c->record_count > 0;
	for (size_t i = 1; i < c->record_count; i++) {
		n += c->records[i].owner != c->records[i - 1].owner;
	}
	return n;
}

/* Brings the owners into canonical order; the records of an owner stay in the order of the file. */
static enum status sort_owners(struct content *c)
{
	enum status st = ST_ENOMEM;
	struct arena keys;
	size_t count = count_runs(c);
	arena_init(&keys, ARENA_BLOCK);
	struct run *runs = calloc(count, sizeof(*runs));
	struct record *records = calloc(c->record_room, sizeof(*records));
	if (runs == NULL || records == NULL) {
		goto out;
	}
	st = make_runs(c, &keys, runs, &count);
	if (st != ST_OK) {
		goto out;
	}
	qsort(runs, count, sizeof(*runs), run_compare);
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(records + n, c->records + runs[i].first, runs[i].count * sizeof(*records));
		n += runs[i].count;
	}
	free(c->records);
	c->records = records;
	records = NULL;
out:
	free(records);
	free(runs);
	arena_fini(&keys);
	return st;
}

static int record_compare(const void *x, const void *y)
{
	const struct record *a = x;
	const struct record *b = y;
	if (a->type != b->type) {
		return a->type < b->type ? -1 : 1;
	}
	int diff = rdata_compare(a->type, (struct bytes){a->rdata, a->rdata_len},
				 (struct bytes){b->rdata, b->rdata_len});
	if (diff != 0) {
		return diff;
	}
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static bool same_data(const struct record *a, const struct record *b)
{
	return a->type == b->type && rdata_compare(a->type, (struct bytes){a->rdata, a->rdata_len},
						   (struct bytes){b->rdata, b->rdata_len}) == 0;
}

/* Sorts the records of one owner; few, and often sorted. */
static void sort_owner(struct record *r, size_t count)
{
	size_t i = 1;
	while (i < count && record_compare(&r[i - 1], &r[i]) < 0) {
		i++;
	}
	if (i < count) {
		qsort(r, count, sizeof(*r), record_compare);
	}
}

enum status content_sort(struct content *c)
{
	if (!owners_sorted(c)) {
		enum status st = sort_owners(c);
		if (st != ST_OK) {
			return st;
		}
	}
	struct record_set *sets = malloc((c->record_count + 1) * sizeof(*sets));
	if (sets == NULL) {
		return ST_ENOMEM;
	}
	size_t set_count = 0;
	size_t kept = 0;
	for (size_t i = 0, n; i < c->record_count; i += n) {
		struct record *r = c->records + i;
		for (n = 1; i + n < c->record_count && same_owner(&r[n - 1], &r[n]); n++) {
		}
		sort_owner(r, n);
		size_t first = kept;
		for (size_t j = 0; j < n; j++) {
			struct record *last = kept > first ? &c->records[kept - 1] : NULL;
			if (last != NULL && same_data(last, &r[j])) {
				continue;
			}
			if (last == NULL || last->type != r[j].type) {
				sets[set_count++] = (struct record_set){.first = kept};
			}
			sets[set_count - 1].count++;
			c->records[kept++] = r[j];
		}
	}
	c->record_count = kept;
	free(c->sets);
	c->sets = sets;
	c->set_count = set_count;
	return ST_OK;
}
