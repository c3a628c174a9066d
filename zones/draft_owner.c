#include "zones/draft_owner.h"

#include <stdlib.h>

void owner_at(const struct content *c, size_t first, struct owner *out)
{
	const uint8_t *name = set_records(c, &c->sets[first])->owner;
	size_t end = first + 1;
	/* content_sort() lets equal owners share their name. */
	while (end < c->set_count && set_records(c, &c->sets[end])->owner == name) {
		end++;
	}
	*out = (struct owner){name, first, end - first};
}

size_t owner_search(const struct content *c, const uint8_t *name, bool *found)
{
	size_t low = 0;
	size_t high = c->set_count;
	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = name_compare(name, set_records(c, &c->sets[middle])->owner);
		*found = *found || order == 0;
		if (order <= 0) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return low;
}

struct record_set owner_rrsigs(const struct content *c, const struct owner *o, uint16_t type)
{
	struct record_set found = {0, 0};
	for (size_t i = o->first; i < o->first + o->count; i++) {
		const struct record *r = set_records(c, &c->sets[i]);
		if (r->type != RR_RRSIG) {
			continue;
		}
		for (size_t k = 0; k < c->sets[i].count; k++) {
			if (record_rdata(&r[k]).len < 2 || be16_get(r[k].rdata) != type) {
				continue;
			}
			if (found.count++ == 0) {
				found.first = c->sets[i].first + (uint32_t)k;
			}
		}
	}
	return found;
}

enum status rdata_list_fill(struct rdata_list *l, const struct content *c,
			    const struct record_set *s)
{
	if (s->count > l->room) {
		struct bytes *more = realloc(l->items, s->count * sizeof(*more));
		if (more == NULL) {
			return ST_ENOMEM;
		}
		l->items = more;
		l->room = s->count;
	}
	const struct record *r = set_records(c, s);
	for (size_t i = 0; i < s->count; i++) {
		l->items[i] = record_rdata(&r[i]);
	}
	return ST_OK;
}

enum status rrset_take_rrsigs(struct rrset *rs, const struct content *c,
			      const struct record_set *rrsigs, struct rdata_list *l)
{
	struct sigset *sigs = NULL;
	if (rrsigs->count == 0) {
		return ST_OK;
	}
	enum status st = rdata_list_fill(l, c, rrsigs);
	if (st == ST_OK) {
		st = sigset_new(rs, c->apex, l->items, rrsigs->count, &sigs);
	}
	if (st == ST_OK) {
		atomic_init(&rs->sigs, sigs);
		atomic_init(&rs->sig_state, SIG_FILLED);
	}
	return st;
}
