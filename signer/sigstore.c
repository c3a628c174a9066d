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

void chunk_work_fini(struct chunk_work *w)
{
	free(w->ids);
	free(w->value);
	*w = (struct chunk_work){.zone = NULL};
}

static enum status grow(uint8_t **data, size_t *room, size_t wanted)
{
	size_t size = *room == 0 ? 4096 : *room;
	if (wanted <= *room) {
		return ST_OK;
	}
	while (size < wanted) {
		size *= 2;
	}
	uint8_t *p = realloc(*data, size);
	if (p == NULL) {
		return ST_ENOMEM;
	}
	*data = p;
	*room = size;
	return ST_OK;
}

enum status chunk_value_room(struct chunk_work *w, size_t more)
{
	return grow(&w->value, &w->value_room, w->value_len + more);
}

enum status chunk_id(struct chunk_work *w, const struct node *n, const struct rrset *rs,
		     struct rrsig_input *in, uint8_t signers[KEYSET_MAX], size_t *signer_count)
{
	struct bytes pieces[1 + KEYSET_MAX];
	size_t count = signer_covers(n, rs) ? rrsig_keys(w->keys, rs->type, signers) : 0;
	enum status st = grow(&w->ids, &w->id_room, (w->id_count + 1) * DIGEST_MAX);
	if (st == ST_OK) {
		st = rrsig_input_init(in, w->zone->apex, node_name(n), rs);
	}
	if (st != ST_OK) {
		return st;
	}
	pieces[0] = (struct bytes){in->data, in->len};
	for (size_t i = 0; i < count; i++) {
		pieces[1 + i] =
			(struct bytes){w->keys->keys[signers[i]].public_point, HSM_PUBLIC_LEN};
	}
	/* Freshly made, the input has no times and no tag in it. */
	st = digest_of(DIGEST_SHA256, pieces, 1 + count, w->ids + w->id_count * 32);
	if (st != ST_OK) {
		rrsig_input_fini(in);
		return st;
	}
	w->id_count++;
	*signer_count = count;
	return ST_OK;
}

enum status chunk_digest(struct chunk_work *w, uint8_t out[SIG_ID_LEN])
{
	uint8_t digest[DIGEST_MAX];
	struct bytes ids = {w->ids, w->id_count * 32};
	enum status st = digest_of(DIGEST_SHA256, &ids, 1, digest);
	if (st == ST_OK) {
		memcpy(out, digest, SIG_ID_LEN);
	}
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

enum status zone_digest(const uint8_t *digests, size_t count, uint8_t out[32])
{
	uint8_t digest[DIGEST_MAX];
	struct bytes all = {digests, count * SIG_ID_LEN};
	enum status st = digest_of(DIGEST_SHA256, &all, 1, digest);
	if (st == ST_OK) {
		memcpy(out, digest, 32);
	}
	return st;
}
