/* The keys that a keystore has to have. */
#include "nsd-core/control_probe.h"

#include <stdlib.h>
#include <string.h>

struct key_collection {
	struct probe_key *keys;
	size_t count, room;
};

static enum status collect(struct key_collection *c, const struct conf_zone *zone,
			   const struct key *key)
{
	if (c->count == c->room) {
		size_t room = c->room == 0 ? 16 : c->room * 2;
		struct probe_key *keys = realloc(c->keys, room * sizeof(*keys));
		if (keys == NULL) {
			return ST_ENOMEM;
		}
		c->keys = keys;
		c->room = room;
	}
	struct probe_key *k = &c->keys[c->count++];
	*k = (struct probe_key){
		.zone = zone, .role = key->role, .tag = key->tag, .id_len = key->id_len};
	memcpy(k->id, key->id, key->id_len);
	memcpy(k->public_point, key->public_point, HSM_PUBLIC_LEN);
	return ST_OK;
}

/* By id, those of one id in the order of the list. */
static int compare_ids(const void *a, const void *b)
{
	const struct probe_key *x = *(const struct probe_key *const *)a;
	const struct probe_key *y = *(const struct probe_key *const *)b;
	int order = memcmp(x->id, y->id, sizeof(x->id));

	return order != 0 ? order : x < y ? -1 : x > y;
}

/* One key may be of many zones. */
static enum status mark_same(struct probe_key *keys, size_t count)
{
	struct probe_key **order = malloc((count + 1) * sizeof(struct probe_key *));

	if (order == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		order[i] = &keys[i];
	}
	qsort(order, count, sizeof(struct probe_key *), compare_ids);
	for (size_t i = 1; i < count; i++) {
		order[i]->again = order[i]->id_len == order[i - 1]->id_len &&
				  memcmp(order[i]->id, order[i - 1]->id, order[i]->id_len) == 0;
	}
	free(order);
	return ST_OK;
}

enum status probe_keys(const struct probe *p, struct probe_key **out, size_t *count,
		       const struct conf_zone **at)
{
	const char *name = p->conf->keystores[p->index].name;
	struct key_collection c = {.count = 0};
	enum status st = ST_OK;

	for (size_t i = 0; i < p->conf->zone_count && p->db != NULL && st == ST_OK; i++) {
		const struct conf_zone *zone = &p->conf->zones[i];
		struct keyset *set = NULL;
		*at = zone;
		st = keyset_read(p->db, zone->name, &set);
		for (size_t k = 0; st == ST_OK && k < set->count; k++) {
			const struct key *key = &set->keys[k];
			if ((key->state == KEY_ACTIVE || key->state == KEY_PUBLISHED) &&
			    strcmp(key->keystore, name) == 0) {
				st = collect(&c, zone, key);
			}
		}
		keyset_unref(set);
		st = st == ST_ENOENT ? ST_OK : st;
	}
	if (st == ST_OK) {
		st = mark_same(c.keys, c.count);
	}
	if (st != ST_OK) {
		free(c.keys);
		return st;
	}
	*out = c.keys;
	*count = c.count;
	return ST_OK;
}

bool conf_keystore_by_name(const struct conf *conf, const char *name, size_t *index,
			   struct reply *r)
{
	for (size_t i = 0; i < conf->keystore_count; i++) {
		if (strcmp(conf->keystores[i].name, name) == 0) {
			*index = i;
			return true;
		}
	}
	reply_fail(r, EXIT_FAILED, "%s: no such keystore is configured", name);
	return false;
}
