#include "nsd-core/zonedb.h"

#include <stdlib.h>

/* An open hash table over the zones' names. The hash stands beside the pointer, so that only a zone
 * that is most likely the right one is touched. */
struct zonedb_slot {
	uint64_t hash;
	struct zone *zone; /* NULL: free */
};

struct zonedb {
	size_t mask;
	/* Which numbers of labels occur at all: bit n of the 128. */
	uint64_t labels[2];
	struct zonedb_slot slots[];
};

static size_t slot_of(const struct zonedb *db, uint64_t hash)
{
	/* name_hash() mixes into all bits; labels of one parent differ in the upper ones too. */
	return (size_t)(hash ^ hash >> 32) & db->mask;
}

static bool insert(struct zonedb *db, struct zone *zone)
{
	size_t i = slot_of(db, zone->hash);
	for (; db->slots[i].zone != NULL; i = (i + 1) & db->mask) {
		if (db->slots[i].hash == zone->hash &&
		    name_equal(db->slots[i].zone->name, zone->name)) {
			return false;
		}
	}
	db->slots[i] = (struct zonedb_slot){.hash = zone->hash, .zone = zone};
	db->labels[zone->labels / 64] |= UINT64_C(1) << zone->labels % 64;
	return true;
}

enum status zonedb_new(struct zone *const *zones, size_t count, struct zonedb **out)
{
	size_t size = 8;
	while (size < 2 * count) {
		size *= 2;
	}
	struct zonedb *db = calloc(1, sizeof(*db) + size * sizeof(db->slots[0]));
	if (db == NULL) {
		return ST_ENOMEM;
	}
	db->mask = size - 1;
	for (size_t i = 0; i < count; i++) {
		if (!insert(db, zones[i])) {
			free(db);
			return ST_EEXIST;
		}
	}
	*out = db;
	return ST_OK;
}

void zonedb_free(struct zonedb *db)
{
	free(db);
}

static struct zone *find(const struct zonedb *db, uint64_t hash, const uint8_t *name, size_t len)
{
	for (size_t i = slot_of(db, hash); db->slots[i].zone != NULL; i = (i + 1) & db->mask) {
		struct zone *zone = db->slots[i].zone;
		if (db->slots[i].hash == hash && zone->name_len == len &&
		    name_equal_len(zone->name, name, len)) {
			return zone;
		}
	}
	return NULL;
}

static bool has_depth(const struct zonedb *db, unsigned labels)
{
	return (db->labels[labels / 64] >> labels % 64 & 1) != 0;
}

struct zone *zonedb_find(const struct zonedb *db, const struct name_ref *ref, bool above)
{
	for (unsigned n = ref->labels + 1U - above; n-- > 0;) {
		if (!has_depth(db, n)) {
			continue;
		}
		const uint8_t *name = name_ref_at(ref, n);
		size_t len = (size_t)(ref->wire + ref->len - name);
		struct zone *zone = find(db, ref->hash[n], name, len);
		if (zone != NULL) {
			return zone;
		}
	}
	return NULL;
}

/* 256 slots are 4 KB; a zone of each is 20 KB more. */
#define LARGE_SLOTS 256

bool zonedb_is_large(const struct zonedb *db)
{
	return db->mask >= LARGE_SLOTS;
}

void zonedb_prefetch_slots(const struct zonedb *db, const struct name_ref *ref)
{
	for (unsigned n = ref->labels + 1U; n-- > 0;) {
		if (has_depth(db, n)) {
			__builtin_prefetch(&db->slots[slot_of(db, ref->hash[n])]);
		}
	}
}

void zonedb_prefetch_zones(const struct zonedb *db, const struct name_ref *ref)
{
	for (unsigned n = ref->labels + 1U; n-- > 0;) {
		if (!has_depth(db, n)) {
			continue;
		}
		const struct zonedb_slot *slot = &db->slots[slot_of(db, ref->hash[n])];
		if (slot->zone != NULL && slot->hash == ref->hash[n]) {
			__builtin_prefetch(slot->zone);
		}
	}
}

struct zone *zonedb_exact(const struct zonedb *db, const uint8_t *name)
{
	return find(db, name_hash(name), name, name_len(name));
}
