/* The zones served, found by name. */
#pragma once

#include "zones/version.h"

struct conf_zone;
struct journal_zone;

/* What a question reads comes first, in one cache line with most names. */
struct zone {
	struct version *cur; /* rcu_load(); NULL: never loaded: SERVFAIL */
	uint64_t hash;
	/* The parent's servers were all asked, and none ever showed a DS: what is not signed yet
	 * goes out without signatures. Not askable counts as having one. */
	_Atomic(bool) ds_never_seen;
	/* Nobody is answered but who may transfer it, and he for its SOA only. */
	bool is_hidden;
	uint8_t labels;
	uint8_t name_len;
	uint8_t name[NAME_MAX_LEN];   /* lower case */
	const struct conf_zone *conf; /* who may transfer it; NULL: nobody */
	struct journal_zone *journal; /* NULL: it has no history */
	void *manager;		      /* main thread's state of this zone (nsd-core/zonemgr) */
};

/* Immutable once made. */
struct zonedb;

/* zones (name, name_len, labels and hash set) are borrowed for the life of the database. ST_EEXIST:
 * two have one name. */
enum status zonedb_new(struct zone *const *zones, size_t count, struct zonedb **out) MUST_USE;
void zonedb_free(struct zonedb *db); /* takes NULL */
/* The zone with the longest name at or above ref's; above: strictly above (for DS questions).
 * NULL: none is served. */
struct zone *zonedb_find(const struct zonedb *db, const struct name_ref *ref, bool above);
/* More zones than stay in the cache between two questions? Then a batch asks for the memory first:
 * of the slots where the name and its ancestors may be, then of the zones in them. */
bool zonedb_is_large(const struct zonedb *db);
void zonedb_prefetch_slots(const struct zonedb *db, const struct name_ref *ref);
void zonedb_prefetch_zones(const struct zonedb *db, const struct name_ref *ref);
struct zone *zonedb_exact(const struct zonedb *db, const uint8_t *name);
