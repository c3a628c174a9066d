#include "signer/sigstore_chunk.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/base/parallel.h"
#include "signer/signer.h"
#include "zones/slab.h"

#include <stdlib.h>

/* From so many names on, signatures are cut from large blocks. */
#define LARGE_NODES 32768
/* A smaller zone is not worth a thread. */
#define SMALL_NODES 4096

/* Names of a chunk: nodes[first .. first + count). */
struct extent {
	size_t first, count;
	struct chunk chunk;	 /* state 0: to be written again */
	uint8_t old[SIG_ID_LEN]; /* the digest of all ids, where they were made */
	bool has_old;
};

struct load_part {
	struct loading *of;
	size_t first, end; /* nodes */
	struct extent *extents;
	size_t count, room;
	enum status status;
	struct sigstore_loaded sum;
	struct chunk_work work;
	struct chunk_entries entries;
	struct cutter cutter;
	struct store_txn *txn;
};

struct loading {
	struct store *db;
	struct sigstore_zone *zone;
	const struct keyset *keys;
	const struct node *const *nodes;
	size_t count;
	bool is_large;
	int64_t now;
	unsigned part_count;
	struct load_part parts[PARALLEL_MAX];
};

static const struct key *key_of_tag(const struct keyset *keys, const struct signers *signers,
				    uint16_t tag)
{
	for (size_t i = 0; i < signers->count; i++) {
		if (keys->keys[signers->at[i]].tag == tag) {
			return &keys->keys[signers->at[i]];
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

/* An RRset that is to get back what it had. */
struct slot {
	const struct node *node;
	struct rrset *rs;
	const struct signers *signers; /* NULL: none */
};

static struct slot slot_at(const struct load_part *p, const struct node *n, size_t i)
{
	return (struct slot){n, n->rrsets[i], chunk_signers(&p->work, n, n->rrsets[i])};
}

static uint8_t labels_of(const struct node *n)
{
	return (uint8_t)(n->labels - (name_is_wildcard(node_name(n)) ? 1 : 0));
}

/* One signature, as nearly all are. */
static enum status make_short(struct load_part *p, const struct node *n, const uint8_t *sig,
			      struct sigset **out)
{
	const struct sigset_fields f = {
		.expiration = be32_get(sig),
		.inception = be32_get(sig + 4),
		.tag = be16_get(sig + 8),
		.labels = labels_of(n),
		.signer_len = (uint8_t)p->of->zone->apex_len,
		.signature = sig + RRSIG_TIMES_TAG_LEN,
	};
	return sigset_cut(&p->cutter, &f, out);
}

static enum status make_set(struct load_part *p, const struct slot *slot, const uint8_t *sigs,
			    size_t count, struct sigset **out)
{
	uint8_t rdata[KEYSET_MAX][RRSIG_MAX];
	struct bytes rrsigs[KEYSET_MAX];
	size_t head_len = RRSIG_FIXED_LEN + p->of->zone->apex_len;
	if (count == 1 && p->of->is_large) {
		return make_short(p, slot->node, sigs, out);
	}
	for (size_t i = 0; i < count; i++, sigs += CHUNK_SIG_LEN) {
		be16_put(rdata[i], slot->rs->type);
		rdata[i][2] = ALG_ECDSAP256SHA256;
		rdata[i][3] = labels_of(slot->node);
		be32_put(rdata[i] + 4, slot->rs->ttl);
		memcpy(rdata[i] + RRSIG_AT_EXPIRATION, sigs, RRSIG_TIMES_TAG_LEN);
		memcpy(rdata[i] + RRSIG_FIXED_LEN, p->of->zone->apex, p->of->zone->apex_len);
		memcpy(rdata[i] + head_len, sigs + RRSIG_TIMES_TAG_LEN, HSM_SIGNATURE_LEN);
		rrsigs[i] = (struct bytes){rdata[i], head_len + (size_t)HSM_SIGNATURE_LEN};
	}
	return sigset_new(slot->rs, p->of->zone->apex, rrsigs, count, out);
}

/* Into the slot. ST_ENOENT: they are of no use. */
static enum status restore(struct load_part *p, const struct slot *slot, const uint8_t *sigs,
			   size_t count)
{
	struct sigset *set = NULL;
	if (count != slot->signers->count || rrset_sigs(slot->rs) != NULL) {
		return ST_ENOENT;
	}
	for (size_t i = 0; i < count; i++) {
		const uint8_t *sig = sigs + i * CHUNK_SIG_LEN;
		const struct key *key = key_of_tag(p->of->keys, slot->signers, be16_get(sig + 8));
		if (key == NULL || !in_time(key, sig, p->of->now)) {
			return ST_ENOENT;
		}
	}
	enum status st = make_set(p, slot, sigs, count, &set);
	if (st != ST_OK) {
		return st;
	}
	atomic_store_explicit(&slot->rs->sigs, set, memory_order_release);
	atomic_store_explicit(&slot->rs->sig_state, SIG_FILLED, memory_order_release);
	p->sum.filled++;
	p->sum.signatures += count;
	return ST_OK;
}

/* The digest is what it was: entry by entry. *whole: all was of use. */
static enum status take_all(struct load_part *p, const struct extent *x,
			    const struct chunk_value *v, bool *whole)
{
	const uint8_t *sigs = v->sigs;
	size_t at = 0;
	*whole = true;
	for (size_t i = x->first; i < x->first + x->count; i++) {
		const struct node *n = p->of->nodes[i];
		for (size_t k = 0; k < n->rrset_count && at < v->entries; k++) {
			struct slot slot = slot_at(p, n, k);
			if (slot.signers == NULL) {
				continue;
			}
			size_t count = v->counts[at++];
			enum status st = count > 0 ? restore(p, &slot, sigs, count) : ST_OK;
			sigs += count * CHUNK_SIG_LEN;
			*whole = *whole && st == ST_OK;
			if (st != ST_OK && st != ST_ENOENT) {
				return st;
			}
		}
	}
	return ST_OK;
}

static enum status digest_ids(struct load_part *p, struct extent *x)
{
	uint8_t digest[DIGEST_MAX];
	struct bytes ids = {p->work.ids.data, p->work.ids.len};
	enum status st = digest_of(DIGEST_SHA256, &ids, 1, digest);
	if (st == ST_OK) {
		memcpy(x->old, digest, SIG_ID_LEN);
		x->has_old = true;
	}
	return st;
}

/* RRset by RRset. */
static enum status take_some(struct load_part *p, struct extent *x)
{
	struct chunk_buf *ids = &p->work.ids;
	ids->len = 0;
	for (size_t i = x->first; i < x->first + x->count; i++) {
		const struct node *n = p->of->nodes[i];
		for (size_t k = 0; k < n->rrset_count; k++) {
			struct slot slot = slot_at(p, n, k);
			uint8_t id[32];
			enum status st = chunk_id(&p->work, n, slot.rs, slot.signers, id);
			if (st == ST_OK) {
				st = chunk_buf_room(ids, sizeof(id));
			}
			if (st != ST_OK) {
				return st;
			}
			chunk_buf_put(ids, id, sizeof(id));
			const struct chunk_entry *e =
				slot.signers != NULL ? chunk_entries_find(&p->entries, id) : NULL;
			st = e != NULL ? restore(p, &slot, e->sigs, e->count) : ST_OK;
			if (st != ST_OK && st != ST_ENOENT) {
				return st;
			}
		}
	}
	return digest_ids(p, x);
}

static void set_state(const struct load_part *p, struct extent *x)
{
	uint64_t state = 0;
	for (size_t i = x->first; i < x->first + x->count; i++) {
		const struct node *n = p->of->nodes[i];
		state = n->rrset_count > 0 ? chunk_state(state, n) : state;
	}
	x->chunk.state = state;
}

static void count_lacking(struct load_part *p, const struct extent *x)
{
	for (size_t i = x->first; i < x->first + x->count; i++) {
		const struct node *n = p->of->nodes[i];
		for (size_t k = 0; k < n->rrset_count; k++) {
			const struct rrset *rs = n->rrsets[k];
			p->sum.lacking += rrset_sigs(rs) == NULL && signer_covers(n, rs);
		}
	}
}

static enum status load_value(struct load_part *p, struct extent *x, const struct chunk_value *v)
{
	bool whole = false;
	enum status st;
	if (v->version == CHUNK_VERSION &&
	    memcmp(v->digest, x->chunk.digest, CHUNK_DIGEST_LEN) == 0) {
		st = take_all(p, x, v, &whole);
	} else {
		p->entries.count = 0;
		p->entries.next = 0;
		st = chunk_entries_add(&p->entries, v);
		p->sum.damaged += st == ST_EPARSE;
		if (st == ST_OK || st == ST_EPARSE) {
			st = take_some(p, x);
		}
	}
	/* What stands there and what stands in the slots are the same. */
	if (st == ST_OK && whole) {
		set_state(p, x);
	}
	return st;
}

static enum status load_extent(struct load_part *p, struct extent *x)
{
	const struct node *const *nodes = p->of->nodes + x->first;
	uint8_t key_buf[CHUNK_KEY_MAX];
	struct bytes found = {NULL, 0};
	struct chunk_value v;
	x->chunk.key = nodes[0]->hash;
	enum status st = chunk_digest(&p->work, nodes, x->count, x->chunk.digest);
	if (st == ST_OK) {
		st = store_get(p->txn, CHUNK_TABLE, chunk_key(p->of->zone, x->chunk.key, key_buf),
			       &found);
	}
	if (st == ST_OK && chunk_open(found, &v)) {
		st = load_value(p, x, &v);
	} else if (st == ST_OK) {
		p->sum.damaged++;
	}
	if (st != ST_OK && st != ST_ENOENT) {
		return st;
	}
	count_lacking(p, x);
	return ST_OK;
}

static enum status add_extent(struct load_part *p, size_t first)
{
	if (p->count == p->room) {
		size_t room = p->room == 0 ? 16 : p->room * 2;
		struct extent *grown = realloc(p->extents, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		p->extents = grown;
		p->room = room;
	}
	p->extents[p->count++] = (struct extent){.first = first};
	return ST_OK;
}

/* The part's names into chunks. */
static enum status cut(struct load_part *p)
{
	size_t names = 0;
	enum status st = ST_OK;
	for (size_t i = p->first; i < p->end && st == ST_OK; i++) {
		const struct node *n = p->of->nodes[i];
		if (n->rrset_count > 0 && chunk_begins(n->hash, &names)) {
			st = add_extent(p, i);
		}
		if (st == ST_OK && p->count > 0) {
			p->extents[p->count - 1].count++;
		}
	}
	return st;
}

static void load_run(void *ctx, unsigned i)
{
	struct loading *l = ctx;
	struct load_part *p = &l->parts[i];
	p->status = chunk_work_init(&p->work, l->zone, l->keys);
	if (p->status == ST_OK) {
		p->status = store_begin(l->db, false, &p->txn);
	}
	if (p->status == ST_OK) {
		p->status = cut(p);
	}
	for (size_t x = 0; x < p->count && p->status == ST_OK; x++) {
		p->status = load_extent(p, &p->extents[x]);
	}
	store_abort(p->txn);
	p->txn = NULL;
	chunk_work_fini(&p->work);
	chunk_entries_fini(&p->entries);
	cutter_fini(&p->cutter);
}

/* The first name from there on that begins a chunk whatever is before it. */
static size_t part_start(const struct loading *l, size_t at)
{
	while (at < l->count &&
	       (l->nodes[at]->rrset_count == 0 || (l->nodes[at]->hash & CHUNK_MASK) != 0)) {
		at++;
	}
	return at;
}

/* Where names come and go, so do the borders of chunks: the entries of all chunks that are not as
 * the zone would have them now, by id. */
static enum status strays_collect(struct loading *l, struct store_txn *txn, struct chunk_entries *s)
{
	const struct sigstore_zone *z = l->zone;
	uint8_t key_buf[CHUNK_KEY_MAX];
	struct bytes value;
	struct chunk_value v;
	for (size_t i = 0; i < z->count; i++) {
		if (z->chunks[i].state != 0) {
			continue;
		}
		enum status st = store_get(txn, CHUNK_TABLE,
					   chunk_key(z, z->chunks[i].key, key_buf), &value);
		if (st == ST_OK && chunk_open(value, &v)) {
			st = chunk_entries_add(s, &v);
		}
		if (st != ST_OK && st != ST_ENOENT && st != ST_EPARSE) {
			return st;
		}
	}
	chunk_entries_sort(s);
	return ST_OK;
}

static enum status stray_rrset(struct load_part *p, const struct slot *slot)
{
	uint8_t id[32];
	if (slot->signers == NULL || rrset_sigs(slot->rs) != NULL) {
		return ST_OK;
	}
	enum status st = chunk_id(&p->work, slot->node, slot->rs, slot->signers, id);
	if (st != ST_OK) {
		return st;
	}
	const struct chunk_entry *e = chunk_entries_search(&p->entries, id);
	if (e != NULL) {
		st = restore(p, slot, e->sigs, e->count);
	}
	return st == ST_ENOENT ? ST_OK : st;
}

static enum status stray_extent(struct load_part *p, const struct extent *x)
{
	enum status st = ST_OK;
	for (size_t i = x->first; i < x->first + x->count; i++) {
		const struct node *n = p->of->nodes[i];
		for (size_t k = 0; k < n->rrset_count && st == ST_OK; k++) {
			struct slot slot = slot_at(p, n, k);
			st = stray_rrset(p, &slot);
		}
	}
	return st;
}

/* After all parts and conclude(). */
static enum status load_strays(struct loading *l, struct sigstore_loaded *sum)
{
	struct load_part p = {.of = l};
	enum status st = chunk_work_init(&p.work, l->zone, l->keys);
	if (st == ST_OK) {
		st = store_begin(l->db, false, &p.txn);
	}
	if (st == ST_OK) {
		st = strays_collect(l, p.txn, &p.entries);
	}
	for (unsigned i = 0; i < l->part_count && p.entries.count > 0; i++) {
		const struct load_part *part = &l->parts[i];
		for (size_t x = 0; x < part->count && st == ST_OK; x++) {
			st = part->extents[x].chunk.state == 0 ? stray_extent(&p, &part->extents[x])
							       : ST_OK;
		}
	}
	sum->filled += p.sum.filled;
	sum->signatures += p.sum.signatures;
	sum->lacking -= p.sum.filled;
	store_abort(p.txn);
	chunk_work_fini(&p.work);
	chunk_entries_fini(&p.entries);
	cutter_fini(&p.cutter);
	return st;
}

/* After all parts: what is known of the chunks, and whether the zone is as it was. */
static enum status conclude(struct loading *l, uint32_t serial, struct sigstore_loaded *sum)
{
	struct sigstore_zone *z = l->zone;
	uint8_t digest[32];
	bool comparable = z->has_serial;
	size_t each = z->is_old ? SIG_ID_LEN : CHUNK_DIGEST_LEN;
	size_t chunks = 0;
	size_t len = 0;
	for (unsigned i = 0; i < l->part_count; i++) {
		chunks += l->parts[i].count;
	}
	uint8_t *digests = malloc(chunks * each + 1);
	if (digests == NULL) {
		return ST_ENOMEM;
	}
	for (unsigned i = 0; i < l->part_count; i++) {
		const struct load_part *p = &l->parts[i];
		for (size_t x = 0; x < p->count; x++) {
			const struct extent *e = &p->extents[x];
			struct chunk *kept = chunk_find(z->chunks, z->count, e->chunk.key);
			if (kept != NULL) {
				*kept = e->chunk;
			}
			memcpy(digests + len, z->is_old ? e->old : e->chunk.digest, each);
			len += each;
			comparable = comparable && (!z->is_old || e->has_old);
		}
	}
	enum status st = zone_digest((struct bytes){digests, len}, digest);
	free(digests);
	sum->same = st == ST_OK && comparable && z->serial == serial &&
		    memcmp(z->digest, digest, sizeof(digest)) == 0;
	return st;
}

static enum status load_parts(struct loading *l, struct sigstore_loaded *sum)
{
	enum status st = ST_OK;
	unsigned parts = l->count < SMALL_NODES ? 1 : parallel_cpus();
	l->part_count = parts;
	for (unsigned i = 0; i < parts; i++) {
		l->parts[i].of = l;
		l->parts[i].first = i == 0 ? 0 : part_start(l, l->count * i / parts);
		l->parts[i].end = l->count;
		if (i > 0) {
			l->parts[i - 1].end = l->parts[i].first;
		}
	}
	parallel_run(parts, load_run, l);
	for (unsigned i = 0; i < parts; i++) {
		st = st == ST_OK ? l->parts[i].status : st;
		sum->filled += l->parts[i].sum.filled;
		sum->signatures += l->parts[i].sum.signatures;
		sum->damaged += l->parts[i].sum.damaged;
		sum->lacking += l->parts[i].sum.lacking;
	}
	return st;
}

enum status sigstore_load(struct store *db, struct sigstore_zone *z,
			  const struct node *const *nodes, size_t count, const struct keyset *keys,
			  uint32_t serial, int64_t now, struct sigstore_loaded *out)
{
	struct loading l = {.db = db,
			    .zone = z,
			    .keys = keys,
			    .nodes = nodes,
			    .count = count,
			    .is_large = count >= LARGE_NODES,
			    .now = now};
	struct sigstore_loaded sum = {.lacking = SIZE_MAX};
	enum status st = sigstore_find(db, z);
	if (st == ST_OK && z->count > 0) {
		sum.lacking = 0;
		st = load_parts(&l, &sum);
		if (st == ST_OK) {
			st = conclude(&l, serial, &sum);
		}
		if (st == ST_OK && !sum.same) {
			st = load_strays(&l, &sum);
		}
	}
	for (unsigned i = 0; i < l.part_count; i++) {
		free(l.parts[i].extents);
	}
	if (st == ST_OK) {
		*out = sum;
	} else {
		sigstore_doubt(z);
	}
	return st;
}
