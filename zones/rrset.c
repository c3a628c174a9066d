#include "zones/rrset.h"

#include "nsd-core/base/clock.h"
#include "zones/node.h"
#include "zones/rdata.h"
#include "zones/slab.h"

#include <stdlib.h>

/* RRsets up to this many records are sorted without malloc. */
#define SORT_ON_STACK 16

static int compare_rdata(const void *a, const void *b, void *type)
{
	return rdata_compare(*(const uint16_t *)type, *(const struct bytes *)a,
			     *(const struct bytes *)b);
}

static bool is_sorted(uint16_t type, const struct bytes *rdatas, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		if (rdata_compare(type, rdatas[i - 1], rdatas[i]) >= 0) {
			return false;
		}
	}
	return true;
}

static size_t drop_duplicates(uint16_t type, struct bytes *rdatas, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || rdata_compare(type, rdatas[kept - 1], rdatas[i]) != 0) {
			rdatas[kept++] = rdatas[i];
		}
	}
	return kept;
}

uint8_t *rdatas_put(uint8_t *to, const struct bytes *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		be16_put(to, (uint16_t)items[i].len);
		if (items[i].len > 0) {
			memcpy(to + 2, items[i].data, items[i].len);
		}
		to += 2 + items[i].len;
	}
	return to;
}

size_t rdatas_size(const struct bytes *items, size_t count)
{
	size_t size = 0;
	if (count > UINT16_MAX) {
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (items[i].len > RDATA_MAX) {
			return 0;
		}
		size += 2 + items[i].len;
	}
	return size;
}

size_t rrset_size(const struct bytes *rdatas, size_t count)
{
	size_t size = rdatas_size(rdatas, count);
	return size == 0 ? 0 : sizeof(struct rrset) + size;
}

void rrset_init(struct rrset *rs, uint16_t type, uint32_t ttl, const struct bytes *sorted,
		size_t count)
{
	rs->type = type;
	rs->count = (uint16_t)count;
	rs->ttl = ttl;
	rs->flags = 0;
	atomic_init(&rs->sig_state, SIG_EMPTY);
	atomic_init(&rs->sig_wanted, 0);
	atomic_init(&rs->sigs, NULL);
	rs->size = (uint32_t)(rdatas_put(rs->data, sorted, count) - rs->data);
}

static enum status build(uint16_t type, uint32_t ttl, const struct bytes *sorted, size_t count,
			 struct rrset **out)
{
	size_t size = rrset_size(sorted, count);
	if (size == 0) {
		return ST_ELIMIT;
	}
	struct rrset *rs = malloc(size);
	if (rs == NULL) {
		return ST_ENOMEM;
	}
	rs->home = 0;
	rrset_init(rs, type, ttl, sorted, count);
	*out = rs;
	return ST_OK;
}

enum status rrset_new(uint16_t type, uint32_t ttl, const struct bytes *rdatas, size_t count,
		      struct rrset **out)
{
	if (is_sorted(type, rdatas, count)) {
		return build(type, ttl, rdatas, count, out);
	}
	struct bytes few[SORT_ON_STACK];
	struct bytes *sorted = few;
	if (count > SORT_ON_STACK) {
		sorted = malloc(count * sizeof(*sorted));
		if (sorted == NULL) {
			return ST_ENOMEM;
		}
	}
	memcpy(sorted, rdatas, count * sizeof(*sorted));
	qsort_r(sorted, count, sizeof(*sorted), compare_rdata, &type);
	enum status st = build(type, ttl, sorted, drop_duplicates(type, sorted, count), out);
	if (sorted != few) {
		free(sorted);
	}
	return st;
}

enum status rrset_cut(struct cutter *cutter, uint16_t type, uint32_t ttl, struct bytes rdata,
		      struct rrset **out)
{
	size_t size = rrset_size(&rdata, 1);
	if (cutter == NULL || size == 0 || size > SLAB_PIECE_MAX) {
		return build(type, ttl, &rdata, 1, out);
	}
	struct rrset *rs = cutter_cut(cutter, size);
	if (rs == NULL) {
		return ST_ENOMEM;
	}
	rs->home = 0;
	rrset_init(rs, type, ttl, &rdata, 1);
	rs->flags = RRSET_CUT;
	*out = rs;
	return ST_OK;
}

enum status rrset_copy(const struct rrset *from, struct rrset **out)
{
	struct rrset *rs = malloc(sizeof(*rs) + from->size);
	if (rs == NULL) {
		return ST_ENOMEM;
	}
	rs->type = from->type;
	rs->count = from->count;
	rs->ttl = from->ttl;
	rs->size = from->size;
	rs->flags = from->flags & (uint8_t)~RRSET_CUT;
	rs->home = 0;
	atomic_init(&rs->sig_state, SIG_EMPTY);
	atomic_init(&rs->sig_wanted, 0);
	atomic_init(&rs->sigs, NULL);
	memcpy(rs->data, from->data, from->size);
	*out = rs;
	return ST_OK;
}

void rrset_free(struct rrset *rs)
{
	if (rs != NULL) {
		sigset_free(atomic_load_explicit(&rs->sigs, memory_order_acquire));
		if (rs->home != 0) {
			node_free_inside(rs);
		} else if ((rs->flags & RRSET_CUT) != 0) {
			slab_free_piece(rs);
		} else {
			free(rs);
		}
	}
}

bool rrset_equal(const struct rrset *a, const struct rrset *b)
{
	return a->type == b->type && a->ttl == b->ttl && a->size == b->size &&
	       memcmp(a->data, b->data, a->size) == 0;
}
