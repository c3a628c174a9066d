/* What is on disk of a zone, before any of its chunks is read. */
#include "signer/sigstore_chunk.h"

#include <stdlib.h>

/* What stands on disk for the zone: its chunks' keys, of no known state, and the zone's entry. */
struct found {
	struct sigstore_zone *zone;
	size_t room;
};

static enum status found_chunk(void *ctx, struct bytes key, struct bytes value)
{
	struct found *f = ctx;
	struct sigstore_zone *z = f->zone;
	(void)value;
	if (key.len != z->apex_len + 8) {
		return ST_OK;
	}
	if (z->count == f->room) {
		f->room = f->room == 0 ? 16 : f->room * 2;
		struct chunk *grown = realloc(z->chunks, f->room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		z->chunks = grown;
	}
	/* Keys are big-endian, so these come sorted. */
	z->chunks[z->count++] = (struct chunk){.key = be64_get(key.data + z->apex_len)};
	return ST_OK;
}

static bool zone_entry_is_good(struct bytes v)
{
	return (v.len == ZONE_ENTRY_LEN &&
		(v.data[0] == CHUNK_VERSION || v.data[0] == CHUNK_VERSION_OLD)) ||
	       (v.len == ZONE_ENTRY_LEN_OLD && v.data[0] == CHUNK_VERSION_OLD);
}

enum status sigstore_denial(struct store *db, const uint8_t *apex, enum sign_denial *out)
{
	uint8_t lower[NAME_MAX_LEN];
	struct bytes key = {lower, name_lower(lower, apex)};
	struct store_txn *txn = NULL;
	struct bytes value;
	enum status st = store_begin(db, false, &txn);
	if (st == ST_OK) {
		st = store_get(txn, ZONE_TABLE, key, &value);
	}
	if (st == ST_OK) {
		uint8_t denial = value.len == ZONE_ENTRY_LEN ? value.data[ZONE_ENTRY_LEN - 1] : 0;
		if (!zone_entry_is_good(value) || denial > SIGN_NSEC3_OPT_OUT) {
			st = ST_ENOENT;
		} else {
			*out = (enum sign_denial)denial;
		}
	}
	store_abort(txn);
	return st;
}

enum status sigstore_find(struct store *db, struct sigstore_zone *z)
{
	struct found f = {.zone = z};
	struct store_txn *txn = NULL;
	struct bytes apex = {z->apex, z->apex_len};
	struct bytes value;
	free(z->chunks);
	z->chunks = NULL;
	z->count = 0;
	z->has_serial = false;
	z->is_old = false;
	enum status st = store_begin(db, false, &txn);
	if (st != ST_OK) {
		return st;
	}
	st = store_get(txn, ZONE_TABLE, apex, &value);
	if (st == ST_OK && zone_entry_is_good(value)) {
		z->has_serial = true;
		z->is_old = value.data[0] == CHUNK_VERSION_OLD;
		z->serial = be32_get(value.data + 1);
		memcpy(z->digest, value.data + 5, sizeof(z->digest));
	}
	if (st == ST_OK || st == ST_ENOENT) {
		st = store_scan(txn, CHUNK_TABLE, apex, found_chunk, &f);
	}
	store_abort(txn);
	return st == ST_ENOENT ? ST_OK : st;
}
