#include "signer/sigstore_chunk.h"

#include "signer/signer.h"
#include "zones/rdata.h"

#include <stdlib.h>

/* What one transaction writes: LMDB keeps its pages in memory until then. */
#define WRITE_MAX ((size_t)8 << 20)

static enum status writer_txn(struct sigstore_writer *w)
{
	return w->txn != NULL ? ST_OK : store_begin(w->db, true, &w->txn);
}

enum status sigstore_flush(struct sigstore_writer *w)
{
	struct store_txn *txn = w->txn;
	w->txn = NULL;
	w->pending = 0;
	return txn != NULL ? store_commit(txn) : ST_OK;
}

static enum status writer_put(struct sigstore_writer *w, const char *table, struct bytes key,
			      struct bytes value)
{
	enum status st = ST_OK;
	if (w->pending > WRITE_MAX) {
		st = sigstore_flush(w);
	}
	if (st == ST_OK) {
		st = writer_txn(w);
	}
	if (st == ST_OK) {
		st = store_put(w->txn, table, key, value);
	}
	w->pending += key.len + value.len;
	return st;
}

static enum status writer_del(struct sigstore_writer *w, const char *table, struct bytes key)
{
	enum status st = writer_txn(w);
	if (st == ST_OK) {
		st = store_del(w->txn, table, key);
	}
	return st == ST_ENOENT ? ST_OK : st;
}

/* A walk over a version. */
struct saving {
	struct sigstore_writer *writer;
	struct sigstore_zone *zone;
	struct chunk_work work;
	const struct node *nodes[CHUNK_NODES_MAX]; /* of the present chunk */
	size_t node_count;
	size_t cut; /* chunk_begins()'s */
	struct chunk *chunks;
	uint8_t *digests; /* of the chunks in the zone's order */
	size_t count, room;
	size_t empty;
};

/* What stands of one RRset: how many signatures, and these, and the id. Those that are not of our
 * making came with the zone's file, and will again. */
static enum status put_sigs(struct chunk_work *w, const struct rrset *rs, const struct sigset *sigs)
{
	uint8_t buf[SIGSET_BUF];
	struct bytes data = sigset_data(sigs, rs, w->zone->apex, buf);
	size_t len = RRSIG_FIXED_LEN + w->zone->apex_len + HSM_SIGNATURE_LEN;
	uint8_t count = sigs->count <= KEYSET_MAX ? (uint8_t)sigs->count : 0;
	const uint8_t *end = data.data + data.len;
	for (const uint8_t *p = data.data; p < end; p = rdata_next(p)) {
		count = rdata_at(p).len == len ? count : 0;
	}
	enum status st = chunk_buf_room(&w->sigs, count * (size_t)CHUNK_SIG_LEN);
	if (st != ST_OK) {
		return st;
	}
	for (const uint8_t *p = data.data; count > 0 && p < end; p = rdata_next(p)) {
		const uint8_t *rdata = rdata_at(p).data;
		chunk_buf_put(&w->sigs, rdata + RRSIG_AT_EXPIRATION, RRSIG_TIMES_TAG_LEN);
		chunk_buf_put(&w->sigs, rdata + len - HSM_SIGNATURE_LEN, HSM_SIGNATURE_LEN);
	}
	w->counts.data[w->counts.len - 1] = count;
	return ST_OK;
}

static enum status encode_rrset(struct chunk_work *w, const struct node *n, const struct rrset *rs,
				const struct signers *signers)
{
	uint8_t id[32];
	const struct sigset *sigs = rrset_sigs(rs);
	enum status st = chunk_buf_room(&w->counts, 1);
	if (st == ST_OK) {
		chunk_buf_put(&w->counts, &(uint8_t){0}, 1);
	}
	if (st == ST_OK && sigs != NULL) {
		st = put_sigs(w, rs, sigs);
	}
	if (st != ST_OK || w->counts.data[w->counts.len - 1] == 0) {
		return st;
	}
	st = chunk_id(w, n, rs, signers, id);
	if (st == ST_OK) {
		st = chunk_buf_room(&w->ids, SIG_ID_LEN);
	}
	if (st == ST_OK) {
		chunk_buf_put(&w->ids, id, SIG_ID_LEN);
	}
	return st;
}

static enum status encode_node(struct chunk_work *w, const struct node *n)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < n->rrset_count && st == ST_OK; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct signers *signers = chunk_signers(w, n, rs);
		if (signers != NULL && w->counts.len < UINT16_MAX) {
			st = encode_rrset(w, n, rs, signers);
		}
	}
	return st;
}

static enum status put_value(struct chunk_work *w, const uint8_t digest[CHUNK_DIGEST_LEN])
{
	struct chunk_buf *v = &w->value;
	uint8_t head[CHUNK_AT_DIGEST] = {CHUNK_VERSION};
	uint8_t sum[CHUNK_SUM_LEN];
	be16_put(head + 1, (uint16_t)w->counts.len);
	be32_put(head + 3, (uint32_t)(w->sigs.len / CHUNK_SIG_LEN));
	v->len = 0;
	enum status st = chunk_buf_room(v, CHUNK_HEAD_LEN + w->counts.len + w->sigs.len +
						   w->ids.len + CHUNK_SUM_LEN);
	if (st != ST_OK) {
		return st;
	}
	const struct chunk_buf *parts[3] = {&w->counts, &w->sigs, &w->ids};
	chunk_buf_put(v, head, sizeof(head));
	chunk_buf_put(v, digest, CHUNK_DIGEST_LEN);
	for (size_t i = 0; i < 3; i++) {
		if (parts[i]->len > 0) {
			chunk_buf_put(v, parts[i]->data, parts[i]->len);
		}
	}
	chunk_sum((struct bytes){v->data, v->len}, sum);
	chunk_buf_put(v, sum, sizeof(sum));
	return ST_OK;
}

/* The value of a chunk, and its digest. */
static enum status encode_chunk(struct saving *s, uint8_t digest[CHUNK_DIGEST_LEN])
{
	struct chunk_work *w = &s->work;
	w->counts.len = 0;
	w->sigs.len = 0;
	w->ids.len = 0;
	enum status st = chunk_digest(w, s->nodes, s->node_count, digest);
	for (size_t i = 0; i < s->node_count && st == ST_OK; i++) {
		st = encode_node(w, s->nodes[i]);
	}
	return st == ST_OK ? put_value(w, digest) : st;
}

static enum status grow_table(struct saving *s)
{
	if (s->count < s->room) {
		return ST_OK;
	}
	size_t room = s->room == 0 ? 16 : s->room * 2;
	struct chunk *chunks = realloc(s->chunks, room * sizeof(*chunks));
	if (chunks == NULL) {
		return ST_ENOMEM;
	}
	s->chunks = chunks;
	uint8_t *digests = realloc(s->digests, room * CHUNK_DIGEST_LEN);
	if (digests == NULL) {
		return ST_ENOMEM;
	}
	s->digests = digests;
	s->room = room;
	return ST_OK;
}

static enum status save_chunk(struct saving *s)
{
	uint8_t key_buf[CHUNK_KEY_MAX];
	struct chunk c = {.state = 0};
	if (s->node_count == 0) {
		return ST_OK;
	}
	c.key = s->nodes[0]->hash;
	for (size_t i = 0; i < s->node_count; i++) {
		c.state = chunk_state(c.state, s->nodes[i]);
	}
	const struct chunk *old = chunk_find(s->zone->chunks, s->zone->count, c.key);
	enum status st = grow_table(s);
	if (st == ST_OK && old != NULL && old->state == c.state) {
		memcpy(c.digest, old->digest, sizeof(c.digest));
	} else if (st == ST_OK) {
		st = encode_chunk(s, c.digest);
		if (st == ST_OK) {
			st = writer_put(s->writer, CHUNK_TABLE, chunk_key(s->zone, c.key, key_buf),
					(struct bytes){s->work.value.data, s->work.value.len});
		}
	}
	if (st != ST_OK) {
		return st;
	}
	memcpy(s->digests + s->count * CHUNK_DIGEST_LEN, c.digest, CHUNK_DIGEST_LEN);
	s->chunks[s->count++] = c;
	s->node_count = 0;
	return ST_OK;
}

static enum status save_node(void *ctx, const struct node *n)
{
	struct saving *s = ctx;
	if (n->rrset_count == 0) {
		return ST_OK;
	}
	enum status st = chunk_begins(n->hash, &s->cut) ? save_chunk(s) : ST_OK;
	if (st != ST_OK) {
		return st;
	}
	s->nodes[s->node_count++] = n;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		s->empty += signer_covers(n, rs) && rrset_sigs(rs) == NULL;
	}
	return ST_OK;
}

/* Chunks that are not in the zone any more. */
static enum status remove_gone(struct saving *s)
{
	const struct sigstore_zone *z = s->zone;
	uint8_t key_buf[CHUNK_KEY_MAX];
	enum status st = ST_OK;
	for (size_t i = 0; i < z->count && st == ST_OK; i++) {
		uint64_t key = z->chunks[i].key;
		if (chunk_find(s->chunks, s->count, key) == NULL) {
			st = writer_del(s->writer, CHUNK_TABLE, chunk_key(z, key, key_buf));
		}
	}
	return st;
}

static enum status save_zone(struct saving *s, uint32_t serial, enum sign_denial denial)
{
	struct sigstore_zone *z = s->zone;
	uint8_t digest[32];
	uint8_t value[ZONE_ENTRY_LEN];
	enum status st =
		zone_digest((struct bytes){s->digests, s->count * CHUNK_DIGEST_LEN}, digest);
	if (st != ST_OK || (z->has_serial && !z->is_old && z->serial == serial &&
			    memcmp(z->digest, digest, sizeof(digest)) == 0)) {
		return st;
	}
	value[0] = CHUNK_VERSION;
	be32_put(value + 1, serial);
	memcpy(value + 5, digest, sizeof(digest));
	value[ZONE_ENTRY_LEN - 1] = (uint8_t)denial;
	st = writer_put(s->writer, ZONE_TABLE, (struct bytes){z->apex, z->apex_len},
			(struct bytes){value, sizeof(value)});
	if (st == ST_OK) {
		z->has_serial = true;
		z->is_old = false;
		z->serial = serial;
		memcpy(z->digest, digest, sizeof(digest));
	}
	return st;
}

enum status sigstore_save(struct sigstore_writer *w, struct sigstore_zone *z,
			  const struct version *v, size_t *empty)
{
	struct saving *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	s->writer = w;
	s->zone = z;
	enum status st = chunk_work_init(&s->work, z, v->keys);
	if (st == ST_OK) {
		st = version_walk(v, save_node, s);
	}
	if (st == ST_OK) {
		st = save_chunk(s);
	}
	if (st == ST_OK) {
		st = save_zone(s, v->serial, signer_denial(v));
	}
	if (st == ST_OK) {
		chunks_sort(s->chunks, &s->count);
		st = remove_gone(s);
	}
	if (st == ST_OK) {
		free(z->chunks);
		z->chunks = s->chunks;
		z->count = s->count;
		s->chunks = NULL;
		*empty = s->empty;
	} else {
		store_abort(w->txn);
		w->txn = NULL;
		w->pending = 0;
		sigstore_doubt(z);
	}
	chunk_work_fini(&s->work);
	free(s->chunks);
	free(s->digests);
	free(s);
	return st;
}
