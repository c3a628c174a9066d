#include "signer/sigstore_chunk.h"

#include "nsd-core/base/digest.h"
#include "signer/signer.h"

#include <stdlib.h>

enum status sigstore_zone_new(const uint8_t *apex, struct sigstore_zone **out)
{
	struct sigstore_zone *z = calloc(1, sizeof(*z));
	if (z == NULL) {
		return ST_ENOMEM;
	}
	z->apex_len = name_lower(z->apex, apex);
	*out = z;
	return ST_OK;
}

void sigstore_zone_free(struct sigstore_zone *z)
{
	if (z != NULL) {
		free(z->chunks);
		free(z);
	}
}

void sigstore_doubt(struct sigstore_zone *z)
{
	for (size_t i = 0; i < z->count; i++) {
		z->chunks[i].state = 0;
	}
	z->has_serial = false;
}

bool sigstore_serial(const struct sigstore_zone *z, uint32_t *serial)
{
	if (z->has_serial) {
		*serial = z->serial;
	}
	return z->has_serial;
}

enum status chunk_buf_room(struct chunk_buf *b, size_t more)
{
	size_t size = b->room == 0 ? 4096 : b->room;
	if (b->len + more <= b->room) {
		return ST_OK;
	}
	while (size < b->len + more) {
		size *= 2;
	}
	uint8_t *p = realloc(b->data, size);
	if (p == NULL) {
		return ST_ENOMEM;
	}
	b->data = p;
	b->room = size;
	return ST_OK;
}

/* Key by key, as they stand in the set: its role, which says what it signs, its tag and itself. */
static enum status digest_keys(struct chunk_work *w)
{
	uint8_t heads[KEYSET_MAX][3];
	struct bytes pieces[1 + 2 * KEYSET_MAX];
	uint8_t digest[DIGEST_MAX];
	size_t count = 0;
	pieces[count++] = (struct bytes){w->zone->apex, w->zone->apex_len};
	for (size_t i = 0; i < w->keys->count; i++) {
		const struct key *key = &w->keys->keys[i];
		if (key->state != KEY_ACTIVE) {
			continue;
		}
		heads[i][0] = (uint8_t)key->role;
		be16_put(heads[i] + 1, key->tag);
		pieces[count++] = (struct bytes){heads[i], sizeof(heads[i])};
		pieces[count++] = (struct bytes){key->public_point, HSM_PUBLIC_LEN};
	}
	enum status st = digest_of(DIGEST_SHA256, pieces, count, digest);
	if (st == ST_OK) {
		memcpy(w->whose, digest, sizeof(w->whose));
	}
	return st;
}

enum status chunk_work_init(struct chunk_work *w, const struct sigstore_zone *z,
			    const struct keyset *keys)
{
	*w = (struct chunk_work){.zone = z, .keys = keys};
	w->ksks.count = rrsig_keys(keys, RR_DNSKEY, w->ksks.at);
	w->zsks.count = rrsig_keys(keys, RR_SOA, w->zsks.at);
	return digest_keys(w);
}

void chunk_work_fini(struct chunk_work *w)
{
	free(w->content.data);
	free(w->ids.data);
	free(w->counts.data);
	free(w->sigs.data);
	free(w->value.data);
	*w = (struct chunk_work){.zone = NULL};
}

/* Lengths before all that varies, so that no two contents read the same. */
static enum status put_content(struct chunk_buf *b, const struct node *n)
{
	const uint8_t head[4] = {
		n->name_len,
		n->flags & (NODE_OCCLUDED | NODE_CUT),
		(uint8_t)(n->rrset_count >> 8),
		(uint8_t)n->rrset_count,
	};
	size_t size = sizeof(head) + n->name_len;
	for (size_t i = 0; i < n->rrset_count; i++) {
		size += 10 + n->rrsets[i]->size;
	}
	enum status st = chunk_buf_room(b, size);
	if (st != ST_OK) {
		return st;
	}
	chunk_buf_put(b, head, sizeof(head));
	chunk_buf_put(b, node_name(n), n->name_len);
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		uint8_t *to = b->data + b->len;
		be16_put(to, rs->type);
		be32_put(to + 2, rs->ttl);
		be32_put(to + 6, rs->size);
		b->len += 10;
		chunk_buf_put(b, rs->data, rs->size);
	}
	return ST_OK;
}

enum status chunk_digest(struct chunk_work *w, const struct node *const *nodes, size_t count,
			 uint8_t out[CHUNK_DIGEST_LEN])
{
	uint8_t digest[DIGEST_MAX];
	enum status st = ST_OK;
	w->content.len = 0;
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		/* Empty non-terminals say nothing. */
		st = nodes[i]->rrset_count > 0 ? put_content(&w->content, nodes[i]) : ST_OK;
	}
	const struct bytes pieces[2] = {
		{w->whose, sizeof(w->whose)},
		{w->content.data, w->content.len},
	};
	if (st == ST_OK) {
		st = digest_of(DIGEST_SHA256, pieces, 2, digest);
	}
	if (st == ST_OK) {
		memcpy(out, digest, CHUNK_DIGEST_LEN);
	}
	return st;
}

enum status chunk_id(const struct chunk_work *w, const struct node *n, const struct rrset *rs,
		     const struct signers *signers, uint8_t out[32])
{
	struct bytes pieces[1 + KEYSET_MAX];
	uint8_t digest[DIGEST_MAX];
	size_t count = signers != NULL ? signers->count : 0;
	struct rrsig_input in;
	enum status st = rrsig_input_init(&in, w->zone->apex, node_name(n), rs);
	if (st != ST_OK) {
		return st;
	}
	/* Freshly made, the input has no times and no tag in it. */
	pieces[0] = (struct bytes){in.data, in.len};
	for (size_t i = 0; i < count; i++) {
		pieces[1 + i] =
			(struct bytes){w->keys->keys[signers->at[i]].public_point, HSM_PUBLIC_LEN};
	}
	st = digest_of(DIGEST_SHA256, pieces, 1 + count, digest);
	if (st == ST_OK) {
		memcpy(out, digest, 32);
	}
	rrsig_input_fini(&in);
	return st;
}

struct bytes chunk_key(const struct sigstore_zone *z, uint64_t key, uint8_t buf[CHUNK_KEY_MAX])
{
	memcpy(buf, z->apex, z->apex_len);
	be64_put(buf + z->apex_len, key);
	return (struct bytes){buf, z->apex_len + 8};
}

static int compare_chunks(const void *a, const void *b)
{
	const struct chunk *x = a;
	const struct chunk *y = b;
	return x->key < y->key ? -1 : x->key > y->key;
}

struct chunk *chunk_find(const struct chunk *chunks, size_t count, uint64_t key)
{
	const struct chunk wanted = {.key = key};
	if (count == 0) {
		return NULL;
	}
	return bsearch(&wanted, chunks, count, sizeof(wanted), compare_chunks);
}

void chunks_sort(struct chunk *chunks, size_t *count)
{
	size_t kept = 0;
	if (*count == 0) {
		return;
	}
	qsort(chunks, *count, sizeof(chunks[0]), compare_chunks);
	for (size_t i = 1; i < *count; i++) {
		if (chunks[i].key != chunks[kept].key) {
			chunks[++kept] = chunks[i];
		}
	}
	*count = kept + 1;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

static uint64_t mix_data(uint64_t h, const uint8_t *data, size_t len)
{
	for (; len >= 8; data += 8, len -= 8) {
		h = mix(h, be64_get(data));
	}
	for (; len > 0; data++, len--) {
		h = mix(h, *data);
	}
	return h;
}

void chunk_sum(struct bytes data, uint8_t out[CHUNK_SUM_LEN])
{
	uint64_t lanes[4] = {1, 2, 3, 4};
	const uint8_t *p = data.data;
	size_t left = data.len;
	/* Each waits for its own multiplication only. */
	for (; left >= sizeof(lanes); p += sizeof(lanes), left -= sizeof(lanes)) {
		for (size_t i = 0; i < 4; i++) {
			lanes[i] = mix(lanes[i], be64_get(p + i * 8));
		}
	}
	uint64_t sum = mix_data(data.len, p, left);
	for (size_t i = 0; i < 4; i++) {
		sum = mix(sum, lanes[i]);
	}
	be64_put(out, sum);
}

/* Signatures say of the data whether it has changed: no two begin with the same octets. */
static uint64_t mix_sigs(uint64_t h, const struct sigset *s, const struct rrset *rs)
{
	h = mix(h, (uint64_t)s->expiration << 32 | s->inception);
	if (sigset_is_short(s)) {
		return mix(h, be64_get(sigset_short(s)->signature));
	}
	struct bytes data = sigset_data(s, rs, NULL, NULL);
	return mix_data(h, data.data, data.len);
}

uint64_t chunk_state(uint64_t state, const struct node *n)
{
	uint64_t h = mix(mix(state, n->hash), n->flags & (uint8_t)~NODE_DRAFT);
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct sigset *sigs = signer_covers(n, rs) ? rrset_sigs(rs) : NULL;
		h = mix(mix(h, rs->type), rs->ttl);
		h = sigs != NULL ? mix_sigs(h, sigs, rs) : mix_data(h, rs->data, rs->size);
	}
	return h != 0 ? h : 1;
}

enum status zone_digest(struct bytes digests, uint8_t out[32])
{
	uint8_t digest[DIGEST_MAX];
	enum status st = digest_of(DIGEST_SHA256, &digests, 1, digest);
	if (st == ST_OK) {
		memcpy(out, digest, 32);
	}
	return st;
}
