/* What stands in a chunk's value. */
#include "signer/sigstore_chunk.h"

#include "nsd-core/base/digest.h"

#include <stdlib.h>

static bool sum_is_right(struct bytes v)
{
	uint8_t sum[CHUNK_SUM_LEN];
	size_t before = v.len - sizeof(sum);
	chunk_sum((struct bytes){v.data, before}, sum);
	return memcmp(sum, v.data + before, sizeof(sum)) == 0;
}

static bool open_old(struct bytes v, struct chunk_value *out)
{
	uint8_t sum[DIGEST_MAX];
	if (v.len < CHUNK_HEAD_LEN_OLD + CHUNK_SUM_LEN) {
		return false;
	}
	struct bytes body = {v.data, v.len - CHUNK_SUM_LEN};
	if (digest_of(DIGEST_SHA256, &body, 1, sum) != ST_OK ||
	    memcmp(sum, v.data + body.len, CHUNK_SUM_LEN) != 0) {
		return false;
	}
	*out = (struct chunk_value){.all = v,
				    .version = CHUNK_VERSION_OLD,
				    .entries = be16_get(v.data + 1),
				    .digest = v.data + 3};
	return true;
}

bool chunk_open(struct bytes v, struct chunk_value *out)
{
	size_t with_sigs = 0;
	size_t sigs = 0;
	if (v.len > 0 && v.data[0] == CHUNK_VERSION_OLD) {
		return open_old(v, out);
	}
	if (v.len < CHUNK_HEAD_LEN || v.data[0] != CHUNK_VERSION) {
		return false;
	}
	size_t entries = be16_get(v.data + 1);
	size_t sig_count = be32_get(v.data + 3);
	const uint8_t *counts = v.data + CHUNK_HEAD_LEN;
	size_t left = v.len - CHUNK_HEAD_LEN;
	if (left < entries || (left - entries) / CHUNK_SIG_LEN < sig_count) {
		return false;
	}
	for (size_t i = 0; i < entries; i++) {
		sigs += counts[i];
		with_sigs += counts[i] != 0;
	}
	left -= entries + sig_count * CHUNK_SIG_LEN;
	if (sigs != sig_count || left != with_sigs * SIG_ID_LEN + CHUNK_SUM_LEN ||
	    !sum_is_right(v)) {
		return false;
	}
	*out = (struct chunk_value){.all = v,
				    .version = CHUNK_VERSION,
				    .entries = entries,
				    .digest = v.data + CHUNK_AT_DIGEST,
				    .counts = counts,
				    .sigs = counts + entries,
				    .sig_count = sig_count};
	return true;
}

static enum status reserve(struct chunk_entries *e, size_t more)
{
	if (e->count + more <= e->room) {
		return ST_OK;
	}
	size_t room = 2 * (e->count + more);
	struct chunk_entry *grown = realloc(e->all, room * sizeof(*grown));
	if (grown == NULL) {
		return ST_ENOMEM;
	}
	e->all = grown;
	e->room = room;
	return ST_OK;
}

static enum status add_old(struct chunk_entries *e, const struct chunk_value *v)
{
	const uint8_t *p = v->all.data + CHUNK_HEAD_LEN_OLD;
	const uint8_t *end = v->all.data + v->all.len - CHUNK_SUM_LEN;
	size_t before = e->count;
	for (size_t i = 0; i < v->entries; i++) {
		size_t left = (size_t)(end - p);
		size_t count = left > SIG_ID_LEN ? p[SIG_ID_LEN] : 0;
		size_t len = SIG_ID_LEN + 1 + count * CHUNK_SIG_LEN;
		if (count == 0 || len > left) {
			e->count = before;
			return ST_EPARSE;
		}
		e->all[e->count++] = (struct chunk_entry){p, p + SIG_ID_LEN + 1, count};
		p += len;
	}
	if (p != end) {
		e->count = before;
		return ST_EPARSE;
	}
	return ST_OK;
}

enum status chunk_entries_add(struct chunk_entries *e, const struct chunk_value *v)
{
	enum status st = reserve(e, v->entries);
	if (st != ST_OK) {
		return st;
	}
	if (v->version == CHUNK_VERSION_OLD) {
		return add_old(e, v);
	}
	const uint8_t *sigs = v->sigs;
	const uint8_t *ids = v->sigs + v->sig_count * CHUNK_SIG_LEN;
	for (size_t i = 0; i < v->entries; i++) {
		size_t count = v->counts[i];
		if (count > 0) {
			e->all[e->count++] = (struct chunk_entry){ids, sigs, count};
			ids += SIG_ID_LEN;
			sigs += count * CHUNK_SIG_LEN;
		}
	}
	return ST_OK;
}

const struct chunk_entry *chunk_entries_find(struct chunk_entries *e, const uint8_t *id)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct chunk_entry *entry = &e->all[e->next];
		e->next = e->next + 1 < e->count ? e->next + 1 : 0;
		if (memcmp(entry->id, id, SIG_ID_LEN) == 0) {
			return entry;
		}
	}
	return NULL;
}

static int compare_ids(const void *a, const void *b)
{
	const struct chunk_entry *x = a;
	const struct chunk_entry *y = b;
	return memcmp(x->id, y->id, SIG_ID_LEN);
}

void chunk_entries_sort(struct chunk_entries *e)
{
	if (e->count > 0) {
		qsort(e->all, e->count, sizeof(e->all[0]), compare_ids);
	}
}

const struct chunk_entry *chunk_entries_search(const struct chunk_entries *e, const uint8_t *id)
{
	const struct chunk_entry wanted = {.id = id};
	return e->count == 0 ? NULL
			     : bsearch(&wanted, e->all, e->count, sizeof(wanted), compare_ids);
}

void chunk_entries_fini(struct chunk_entries *e)
{
	free(e->all);
	*e = (struct chunk_entries){.all = NULL};
}
