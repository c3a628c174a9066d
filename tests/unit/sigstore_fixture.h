/* Signatures on disk, and the zones they are of. */
#pragma once

#include "tests/unit/engine_fixture.h"

#include "signer/sigstore_chunk.h"

struct disk {
	char dir[64];
	struct store *db;
	struct sigstore_zone *zone;
};

static inline void disk_open(struct disk *d)
{
	fixture_dir(d->dir);
	d->db = fixture_store(d->dir);
	assert_int_equal(sigstore_zone_new(wire("example.com"), &d->zone), ST_OK);
}

/* What a restart knows of the zone. */
static inline void disk_forget(struct disk *d)
{
	sigstore_zone_free(d->zone);
	assert_int_equal(sigstore_zone_new(wire("example.com"), &d->zone), ST_OK);
}

static inline void disk_close(struct disk *d)
{
	sigstore_zone_free(d->zone);
	store_close(d->db);
	fixture_dir_remove(d->dir);
}

/* A zone's names. */
struct items {
	const struct node **all;
	size_t count, room;
	size_t filled;
	size_t empty; /* that are to carry signatures */
};

static inline enum status items_each(void *ctx, const struct node *n)
{
	struct items *l = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		l->filled += rrset_sigs(rs) != NULL;
		l->empty += rrset_sigs(rs) == NULL && signer_covers(n, rs);
	}
	if (l->count == l->room) {
		l->room = l->room == 0 ? 64 : l->room * 2;
		l->all = realloc(l->all, l->room * sizeof(*l->all));
		assert_non_null(l->all);
	}
	l->all[l->count++] = n;
	return ST_OK;
}

static inline void load(struct disk *d, struct version *v, struct sigstore_loaded *out)
{
	struct items l = {.all = NULL};
	memset(out, 0xee, sizeof(*out));
	assert_int_equal(version_walk(v, items_each, &l), ST_OK);
	assert_int_equal(l.filled, 0);
	assert_int_equal(
		sigstore_load(d->db, d->zone, l.all, l.count, v->keys, v->serial, NOW, out), ST_OK);
	free(l.all);
	l = (struct items){.all = NULL};
	assert_int_equal(version_walk(v, items_each, &l), ST_OK);
	assert_int_equal(l.filled, out->filled);
	assert_int_equal(out->lacking, d->zone->count == 0 ? SIZE_MAX : l.empty);
	free(l.all);
}

/* Saves v; did that write anything? *empty: slots. */
static inline bool save(struct disk *d, const struct version *v, size_t *empty)
{
	struct sigstore_writer w = {.db = d->db};
	assert_int_equal(sigstore_save(&w, d->zone, v, empty), ST_OK);
	bool wrote = w.txn != NULL;
	assert_int_equal(sigstore_flush(&w), ST_OK);
	return wrote;
}

static inline struct version *again(struct engine *e, const char *text)
{
	return version_from_text("example.com", text, NULL, e->ks, false);
}

/* Slot by slot the same; returns how many differ. */
static inline size_t differences(const struct version *a, const struct version *b)
{
	struct items x = {.all = NULL};
	struct items y = {.all = NULL};
	size_t differ = 0;
	assert_int_equal(version_walk(a, items_each, &x), ST_OK);
	assert_int_equal(version_walk(b, items_each, &y), ST_OK);
	assert_int_equal(x.count, y.count);
	for (size_t i = 0; i < x.count; i++) {
		assert_int_equal(x.all[i]->rrset_count, y.all[i]->rrset_count);
		for (size_t k = 0; k < x.all[i]->rrset_count; k++) {
			const struct sigset *s = rrset_sigs(x.all[i]->rrsets[k]);
			const struct sigset *t = rrset_sigs(y.all[i]->rrsets[k]);
			differ += (s == NULL) != (t == NULL) || (s != NULL && !sigset_equal(s, t));
		}
	}
	free(x.all);
	free(y.all);
	return differ;
}

/* The zone, and every step-th of so many names beside. */
static inline char *large_text(size_t names, size_t step)
{
	size_t size = sizeof(zone) + names * 64;
	char *text = malloc(size);
	assert_non_null(text);
	size_t len = (size_t)snprintf(text, size, "%s", zone);
	for (size_t i = 0; i < names; i += step) {
		len += (size_t)snprintf(text + len, size - len, "h%05zu A 192.0.2.%zu\n", i,
					i % 251);
	}
	return text;
}
