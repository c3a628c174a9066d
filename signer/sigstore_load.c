#include "signer/sigstore_chunk.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/base/parallel.h"
#include "signer/signer.h"

#include <stdlib.h>

/* RRsets of a chunk: items[first .. first + count). */
struct extent {
	size_t first, count;
	struct chunk chunk; /* state 0: to be written again */
};

struct load_part {
	struct loading *of;
	size_t first, end; /* extents */
	enum status status;
	struct sigstore_loaded sum;
	struct chunk_work work;
	struct store_txn *txn;
};

struct loading {
	struct store *db;
	struct sigstore_zone *zone;
	const struct keyset *keys;
	const struct sigstore_item *items;
	int64_t now;
	struct extent *extents;
	size_t count;
	struct load_part parts[PARALLEL_MAX];
};

/* The entries of one chunk as they are read; 'next' goes round. */
struct entries {
	const uint8_t *start, *next, *end;
	size_t count;
};

/* Length of the entry at p, 0: it does not fit. */
static size_t entry_len(const uint8_t *p, const uint8_t *end)
{
	size_t left = (size_t)(end - p);
	if (left < SIG_ID_LEN + 1) {
		return 0;
	}
	size_t len = SIG_ID_LEN + 1 + (size_t)p[SIG_ID_LEN] * CHUNK_SIG_LEN;
	return p[SIG_ID_LEN] != 0 && len <= left ? len : 0;
}

static bool chunk_is_whole(struct bytes v)
{
	uint8_t sum[DIGEST_MAX];
	if (v.len < CHUNK_HEAD_LEN + CHUNK_SUM_LEN || v.data[0] != CHUNK_VERSION) {
		return false;
	}
	struct bytes body = {v.data, v.len - CHUNK_SUM_LEN};
	return digest_of(DIGEST_SHA256, &body, 1, sum) == ST_OK &&
	       memcmp(sum, v.data + body.len, CHUNK_SUM_LEN) == 0;
}

static bool entries_open(struct bytes v, struct entries *e)
{
	if (!chunk_is_whole(v)) {
		return false;
	}
	*e = (struct entries){.start = v.data + CHUNK_HEAD_LEN,
			      .next = v.data + CHUNK_HEAD_LEN,
			      .end = v.data + v.len - CHUNK_SUM_LEN,
			      .count = be16_get(v.data + 1)};
	const uint8_t *p = e->start;
	for (size_t i = 0; i < e->count; i++) {
		size_t len = entry_len(p, e->end);
		if (len == 0) {
			return false;
		}
		p += len;
	}
	return p == e->end;
}

/* They are in the zone's order, so that nothing is searched for unless something has changed. */
static const uint8_t *entries_find(struct entries *e, const uint8_t *id)
{
	for (size_t i = 0; i < e->count; i++) {
		const uint8_t *p = e->next;
		e->next += entry_len(p, e->end);
		if (e->next == e->end) {
			e->next = e->start;
		}
		if (memcmp(p, id, SIG_ID_LEN) == 0) {
			return p;
		}
	}
	return NULL;
}

static const struct key *key_of_tag(const struct keyset *keys, const uint8_t *signers, size_t count,
				    uint16_t tag)
{
	for (size_t i = 0; i < count; i++) {
		if (keys->keys[signers[i]].tag == tag) {
			return &keys->keys[signers[i]];
		}
	}
	return NULL;
}

/* Is what this key signed good enough? What has expired is, where nothing better can be made. */
static bool in_time(const struct key *key, const uint8_t *times, int64_t now)
{
	return !serial_gt((uint32_t)now, be32_get(times))
		       ? !serial_gt(be32_get(times + 4), (uint32_t)now)
		       : atomic_load(&key->handle) == NULL;
}

/* From an entry to the slot. ST_ENOENT: it is of no use. */
static enum status restore(struct load_part *p, const uint8_t *entry, const uint8_t *signers,
			   size_t signer_count, struct rrsig_input *in, struct rrset *rs)
{
	uint8_t rdata[KEYSET_MAX][RRSIG_MAX];
	struct bytes rrsigs[KEYSET_MAX];
	struct sigset *sigs = NULL;
	size_t count = entry[SIG_ID_LEN];
	const uint8_t *sig = entry + SIG_ID_LEN + 1;
	if (count != signer_count) {
		return ST_ENOENT;
	}
	for (size_t i = 0; i < count; i++, sig += CHUNK_SIG_LEN) {
		const struct key *key =
			key_of_tag(p->of->keys, signers, signer_count, be16_get(sig + 8));
		if (key == NULL || !in_time(key, sig, p->of->now)) {
			return ST_ENOENT;
		}
		memcpy(rdata[i], in->data, in->head_len);
		memcpy(rdata[i] + RRSIG_AT_EXPIRATION, sig, RRSIG_TIMES_TAG_LEN);
		memcpy(rdata[i] + in->head_len, sig + RRSIG_TIMES_TAG_LEN, HSM_SIGNATURE_LEN);
		rrsigs[i] = (struct bytes){rdata[i], in->head_len + (size_t)HSM_SIGNATURE_LEN};
	}
	enum status st = sigset_new(rs, p->of->zone->apex, rrsigs, count, &sigs);
	if (st != ST_OK) {
		return st;
	}
	atomic_store_explicit(&rs->sigs, sigs, memory_order_release);
	atomic_store(&rs->sig_state, SIG_FILLED);
	p->sum.filled++;
	p->sum.signatures += count;
	return ST_OK;
}

static enum status load_item(struct load_part *p, const struct sigstore_item *item,
			     struct entries *e, size_t *used)
{
	uint8_t signers[KEYSET_MAX];
	size_t signer_count = 0;
	struct rrsig_input in;
	enum status st = chunk_id(&p->work, item->node, item->rs, &in, signers, &signer_count);
	if (st != ST_OK) {
		return st;
	}
	const uint8_t *id = p->work.ids + (p->work.id_count - 1) * 32;
	const uint8_t *entry =
		signer_count > 0 && rrset_sigs(item->rs) == NULL ? entries_find(e, id) : NULL;
	if (entry != NULL) {
		st = restore(p, entry, signers, signer_count, &in, item->rs);
		*used += st == ST_OK;
	}
	rrsig_input_fini(&in);
	return st == ST_ENOENT ? ST_OK : st;
}

static enum status load_extent(struct load_part *p, struct extent *x)
{
	const struct sigstore_item *items = p->of->items + x->first;
	uint8_t key_buf[CHUNK_KEY_MAX];
	struct bytes value = {NULL, 0};
	struct entries e = {.count = 0};
	size_t used = 0;
	x->chunk.key = items[0].node->hash;
	enum status st = store_get(p->txn, CHUNK_TABLE,
				   chunk_key(p->of->zone, x->chunk.key, key_buf), &value);
	bool found = st == ST_OK;
	if (st != ST_OK && st != ST_ENOENT) {
		return st;
	}
	if (found && !entries_open(value, &e)) {
		e.count = 0;
		found = false;
		p->sum.damaged++;
	}
	st = ST_OK;
	p->work.id_count = 0;
	for (size_t i = 0; i < x->count && st == ST_OK; i++) {
		st = load_item(p, &items[i], &e, &used);
	}
	if (st == ST_OK) {
		st = chunk_digest(&p->work, x->chunk.digest);
	}
	/* What stands there and what stands in the slots are the same. */
	if (st == ST_OK && found && used == e.count &&
	    memcmp(value.data + 3, x->chunk.digest, SIG_ID_LEN) == 0) {
		uint64_t state = 0;
		for (size_t i = 0; i < x->count; i++) {
			if (i == 0 || items[i].node != items[i - 1].node) {
				state = chunk_state(state, items[i].node);
			}
		}
		x->chunk.state = state;
	}
	return st;
}

static void load_run(void *ctx, unsigned i)
{
	struct loading *l = ctx;
	struct load_part *p = &l->parts[i];
	p->work.zone = l->zone;
	p->work.keys = l->keys;
	p->status = store_begin(l->db, false, &p->txn);
	for (size_t x = p->first; x < p->end && p->status == ST_OK; x++) {
		p->status = load_extent(p, &l->extents[x]);
	}
	store_abort(p->txn);
	p->txn = NULL;
	chunk_work_fini(&p->work);
}

/* Cuts the items into chunks. */
static enum status cut(struct loading *l, size_t count)
{
	const struct node *last = NULL;
	size_t nodes = 0;
	size_t room = 0;
	for (size_t i = 0; i < count; i++) {
		const struct node *n = l->items[i].node;
		bool begins = n != last && chunk_begins(n->hash, &nodes);
		last = n;
		if (!begins && l->extents != NULL) {
			l->extents[l->count - 1].count++;
			continue;
		}
		if (l->count == room) {
			room = room == 0 ? 16 : room * 2;
			struct extent *grown = realloc(l->extents, room * sizeof(*grown));
			if (grown == NULL) {
				return ST_ENOMEM;
			}
			l->extents = grown;
		}
		l->extents[l->count++] = (struct extent){.first = i, .count = 1};
	}
	return ST_OK;
}

/* Where names come and go, so do the borders of chunks: the entries of all chunks that are not as
 * the zone would have them now, by id. */
struct strays {
	const uint8_t **entries;
	size_t count, room;
};

static int compare_ids(const void *a, const void *b)
{
	const uint8_t *const *x = a;
	const uint8_t *const *y = b;
	return memcmp(*x, *y, SIG_ID_LEN);
}

static enum status strays_add(struct strays *s, struct bytes value)
{
	struct entries e;
	if (!entries_open(value, &e)) {
		return ST_OK;
	}
	if (s->count + e.count > s->room) {
		size_t room = 2 * (s->count + e.count);
		const uint8_t **grown = realloc(s->entries, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		s->entries = grown;
		s->room = room;
	}
	for (size_t i = 0; i < e.count; i++) {
		s->entries[s->count++] = e.next;
		e.next += entry_len(e.next, e.end);
	}
	return ST_OK;
}

static enum status strays_collect(struct loading *l, struct store_txn *txn, struct strays *s)
{
	const struct sigstore_zone *z = l->zone;
	uint8_t key_buf[CHUNK_KEY_MAX];
	struct bytes value;
	for (size_t i = 0; i < z->count; i++) {
		if (z->chunks[i].state != 0) {
			continue;
		}
		enum status st = store_get(txn, CHUNK_TABLE,
					   chunk_key(z, z->chunks[i].key, key_buf), &value);
		if (st == ST_OK) {
			st = strays_add(s, value);
		}
		if (st != ST_OK && st != ST_ENOENT) {
			return st;
		}
	}
	if (s->count > 0) {
		qsort(s->entries, s->count, sizeof(s->entries[0]), compare_ids);
	}
	return ST_OK;
}

static enum status stray_item(struct load_part *p, const struct sigstore_item *item,
			      const struct strays *s)
{
	uint8_t signers[KEYSET_MAX];
	size_t signer_count = 0;
	struct rrsig_input in;
	p->work.id_count = 0;
	enum status st = chunk_id(&p->work, item->node, item->rs, &in, signers, &signer_count);
	if (st != ST_OK) {
		return st;
	}
	const uint8_t *id = p->work.ids;
	const uint8_t *const *entry =
		bsearch(&id, s->entries, s->count, sizeof(s->entries[0]), compare_ids);
	if (signer_count > 0 && entry != NULL) {
		st = restore(p, *entry, signers, signer_count, &in, item->rs);
	}
	rrsig_input_fini(&in);
	return st == ST_ENOENT ? ST_OK : st;
}

/* After all parts and conclude(). */
static enum status load_strays(struct loading *l, struct sigstore_loaded *sum)
{
	struct load_part p = {.of = l, .work = {.zone = l->zone, .keys = l->keys}};
	struct strays s = {.count = 0};
	enum status st = store_begin(l->db, false, &p.txn);
	if (st == ST_OK) {
		st = strays_collect(l, p.txn, &s);
	}
	for (size_t x = 0; x < l->count && st == ST_OK && s.count > 0; x++) {
		const struct extent *e = &l->extents[x];
		for (size_t i = e->first; i < e->first + e->count && st == ST_OK; i++) {
			if (e->chunk.state == 0 && rrset_sigs(l->items[i].rs) == NULL) {
				st = stray_item(&p, &l->items[i], &s);
			}
		}
	}
	sum->filled += p.sum.filled;
	sum->signatures += p.sum.signatures;
	store_abort(p.txn);
	chunk_work_fini(&p.work);
	free(s.entries);
	return st;
}

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
	return (v.len == ZONE_ENTRY_LEN || v.len == ZONE_ENTRY_LEN_OLD) &&
	       v.data[0] == CHUNK_VERSION;
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

static enum status find_zone(struct store *db, struct sigstore_zone *z)
{
	struct found f = {.zone = z};
	struct store_txn *txn = NULL;
	struct bytes apex = {z->apex, z->apex_len};
	struct bytes value;
	free(z->chunks);
	z->chunks = NULL;
	z->count = 0;
	z->has_serial = false;
	enum status st = store_begin(db, false, &txn);
	if (st != ST_OK) {
		return st;
	}
	st = store_get(txn, ZONE_TABLE, apex, &value);
	if (st == ST_OK && zone_entry_is_good(value)) {
		z->has_serial = true;
		z->serial = be32_get(value.data + 1);
		memcpy(z->digest, value.data + 5, sizeof(z->digest));
	}
	if (st == ST_OK || st == ST_ENOENT) {
		st = store_scan(txn, CHUNK_TABLE, apex, found_chunk, &f);
	}
	store_abort(txn);
	return st == ST_ENOENT ? ST_OK : st;
}

/* After all parts: what is known of the chunks, and whether the zone is as it was. */
static enum status conclude(struct loading *l, uint32_t serial, struct sigstore_loaded *sum)
{
	struct sigstore_zone *z = l->zone;
	uint8_t digest[32];
	uint8_t *digests = malloc(l->count * SIG_ID_LEN + 1);
	if (digests == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < l->count; i++) {
		const struct chunk *c = &l->extents[i].chunk;
		struct chunk *kept = chunk_find(z->chunks, z->count, c->key);
		if (kept != NULL) {
			*kept = *c;
		}
		memcpy(digests + i * SIG_ID_LEN, c->digest, SIG_ID_LEN);
	}
	enum status st = zone_digest(digests, l->count, digest);
	free(digests);
	sum->same = st == ST_OK && z->has_serial && z->serial == serial &&
		    memcmp(z->digest, digest, sizeof(digest)) == 0;
	return st;
}

static enum status load_parts(struct loading *l, struct sigstore_loaded *sum)
{
	enum status st = ST_OK;
	/* A small zone is not worth a thread. */
	unsigned parts = l->count < 64 ? 1 : parallel_cpus();
	for (unsigned i = 0; i < parts; i++) {
		l->parts[i].of = l;
		l->parts[i].first = l->count * i / parts;
		l->parts[i].end = l->count * (i + 1) / parts;
	}
	parallel_run(parts, load_run, l);
	for (unsigned i = 0; i < parts; i++) {
		st = st == ST_OK ? l->parts[i].status : st;
		sum->filled += l->parts[i].sum.filled;
		sum->signatures += l->parts[i].sum.signatures;
		sum->damaged += l->parts[i].sum.damaged;
	}
	return st;
}

enum status sigstore_load(struct store *db, struct sigstore_zone *z,
			  const struct sigstore_item *items, size_t count,
			  const struct keyset *keys, uint32_t serial, int64_t now,
			  struct sigstore_loaded *out)
{
	struct loading l = {.db = db, .zone = z, .keys = keys, .items = items, .now = now};
	struct sigstore_loaded sum = {.filled = 0};
	enum status st = find_zone(db, z);
	if (st == ST_OK && z->count > 0) {
		st = cut(&l, count);
		if (st == ST_OK) {
			st = load_parts(&l, &sum);
		}
		if (st == ST_OK) {
			st = conclude(&l, serial, &sum);
		}
		if (st == ST_OK && !sum.same) {
			st = load_strays(&l, &sum);
		}
	}
	free(l.extents);
	if (st == ST_OK) {
		*out = sum;
	} else {
		sigstore_doubt(z);
	}
	return st;
}
