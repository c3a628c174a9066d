#include "nsd-core/conf_catalogs.h"

#include "zones/catalog.h"

#include <stdlib.h>

/* Absent, wrong (which is told), and the root leave the root's name. */
static bool is_root(const uint8_t *name)
{
	return name[0] == 0;
}

/* May a catalog have this name? */
static bool check_name(struct conf_reader *rd, const uint8_t *name, const struct conf_node *node)
{
	if (node->kind != NODE_SCALAR) {
		return false;
	}
	if (is_root(name)) {
		if (strcmp(node->text, ".") == 0) {
			conf_fault(&rd->faults, node->place, "'%s': the root cannot be a catalog",
				   node->key);
		}
		return false;
	}
	if (name_len(name) > CATALOG_NAME_MAX) {
		conf_fault(&rd->faults, node->place,
			   "'%s': too long for a catalog, which has longer names in it", node->key);
		return false;
	}
	return true;
}

bool conf_check_made(struct conf_reader *rd, const struct conf_zone_entry *entry,
		     const struct conf_node *map)
{
	static const char *const others[] = {"file",   "directory", "policy",	    "watch",
					     "parent", "catalog",   "catalog-group"};
	const struct conf_node *name = conf_tree_get(map, "name");
	bool good = name != NULL && check_name(rd, entry->zone.name, name);

	if (name == NULL) {
		conf_fault(&rd->faults, map->place, "'name' is missing");
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		const struct conf_node *node = conf_tree_get(map, others[i]);
		if (node != NULL) {
			conf_fault(&rd->faults, node->key_place,
				   "'%s' and 'make: catalog' exclude each other", others[i]);
			good = false;
		}
	}
	const struct conf_node *serial = conf_tree_get(map, "serial");
	if (serial != NULL && serial->kind == NODE_SCALAR && strcmp(serial->text, "keep") == 0) {
		conf_fault(&rd->faults, serial->place,
			   "'serial': keep is for zones with a file, which has one");
	}
	if (conf_tree_get(map, "secondaries") == NULL) {
		conf_fault(&rd->faults, map->place,
			   "'secondaries' is missing: nobody would have the catalog");
	}
	return good;
}

void conf_catalogs_mark(struct conf_reader *rd, const struct conf_zone_entry *entry,
			const struct conf_node *map, struct conf_zone_list *list, size_t first)
{
	const struct conf_node *node = conf_tree_get(map, "catalog");
	const struct conf_node *group = conf_tree_get(map, "catalog-group");

	if (node == NULL && group != NULL) {
		conf_fault(&rd->faults, group->key_place, "'catalog-group' without 'catalog'");
	}
	if (node == NULL || !check_name(rd, entry->catalog, node)) {
		return;
	}
	struct conf_catalog_ref *ref = arena_alloc(&rd->arena, sizeof(*ref));
	if (ref == NULL) {
		rd->err = ST_ENOMEM;
		return;
	}
	*ref = (struct conf_catalog_ref){.place = node->place};
	name_lower(ref->name, entry->catalog);
	for (size_t i = first; i < list->count && rd->err == ST_OK; i++) {
		list->items[i].catalog = ref;
		if (entry->catalog_group != NULL) {
			list->items[i].zone.catalog_group = conf_strdup(rd, entry->catalog_group);
		}
	}
}

static int compare_name(const void *key, const void *item)
{
	return name_compare(key, ((const struct conf_zone_item *)item)->zone.name);
}

/* Of the items that are sorted, the first 'count'. */
static struct conf_zone_item *find(const struct conf_zone_list *list, size_t count,
				   const uint8_t *name)
{
	return count == 0 ? NULL
			  : bsearch(name, list->items, count, sizeof(*list->items), compare_name);
}

/* The same among those that were added, which are few. SIZE_MAX: none. */
static size_t find_added(const struct conf_zone_list *list, size_t from, const uint8_t *name)
{
	for (size_t i = from; i < list->count; i++) {
		if (name_equal(list->items[i].zone.name, name)) {
			return i;
		}
	}
	return SIZE_MAX;
}

/* A catalog that no entry makes. */
static size_t add_catalog(struct conf_reader *rd, struct conf_zone_list *list,
			  const struct conf_catalog_ref *ref)
{
	size_t *secondaries = calloc(rd->conf->remote_count + 1, sizeof(*secondaries));

	if (secondaries == NULL || conf_zones_grow(list) != ST_OK) {
		free(secondaries);
		rd->err = ST_ENOMEM;
		return SIZE_MAX;
	}
	struct conf_zone_item *item = &list->items[list->count++];
	*item = (struct conf_zone_item){.zone = {.policy = -1,
						 .is_catalog = true,
						 .secondaries = secondaries,
						 .journal_bytes = CONF_JOURNAL_BYTES},
					.place = ref->place};
	name_lower(item->zone.name, ref->name);
	return list->count - 1;
}

/* Where the catalog of 'ref' was added, or is now. SIZE_MAX: it has an entry, or there is none. */
static size_t place_catalog(struct conf_reader *rd, struct conf_zone_list *list, size_t count,
			    struct conf_catalog_ref *ref)
{
	if (ref->is_placed) {
		return ref->added;
	}
	ref->is_placed = true;
	ref->added = SIZE_MAX;
	if (find(list, count, ref->name) == NULL) {
		ref->added = find_added(list, count, ref->name);
		if (ref->added == SIZE_MAX) {
			ref->added = add_catalog(rd, list, ref);
		}
	}
	return ref->added;
}

static bool has_secondary(const struct conf_zone *z, size_t remote)
{
	for (size_t i = 0; i < z->secondary_count; i++) {
		if (z->secondaries[i] == remote) {
			return true;
		}
	}
	return false;
}

static void take_secondaries(struct conf_zone *catalog, const struct conf_zone *member)
{
	for (size_t i = 0; i < member->secondary_count; i++) {
		if (!has_secondary(catalog, member->secondaries[i])) {
			catalog->secondaries[catalog->secondary_count++] = member->secondaries[i];
		}
	}
}

/* Each has the secondaries of all its members. */
static void add_catalogs(struct conf_reader *rd, struct conf_zone_list *list)
{
	size_t count = list->count;

	for (size_t i = 0; i < count && rd->err == ST_OK; i++) {
		struct conf_catalog_ref *ref = list->items[i].catalog;
		size_t at = ref != NULL ? place_catalog(rd, list, count, ref) : SIZE_MAX;
		if (at != SIZE_MAX) {
			take_secondaries(&list->items[at].zone, &list->items[i].zone);
		}
	}
	for (size_t i = count; i < list->count; i++) {
		if (list->items[i].zone.secondary_count == 0) {
			conf_fault(&rd->faults, list->items[i].place,
				   "'catalog': none of its zones has secondaries: nobody would "
				   "have the catalog");
		}
	}
	if (list->count > count) {
		qsort(list->items, list->count, sizeof(*list->items), conf_zones_compare);
	}
}

/* Where there is an entry for one, those of others were forgotten, or are slips. */
static bool makes_some(const struct conf_zone_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].zone.is_catalog) {
			return true;
		}
	}
	return false;
}

/* A secondary that reads the catalog asks for all of its zones. */
static void check_secondaries(struct conf_reader *rd, const struct conf_zone_item *item,
			      const struct conf_zone *catalog)
{
	char text[NAME_TEXT_MAX];

	for (size_t i = 0; i < catalog->secondary_count && !item->catalog->told; i++) {
		if (has_secondary(&item->zone, catalog->secondaries[i])) {
			continue;
		}
		item->catalog->told = true;
		conf_warning(&rd->faults, item->catalog->place,
			     "'catalog': %s has it, and is none of the secondaries of zone %.300s",
			     rd->conf->remotes[catalog->secondaries[i]].name,
			     name_to_text(item->zone.name, text));
	}
}

static void check_member(struct conf_reader *rd, const struct conf_zone_list *list,
			 const struct conf_zone_item *item)
{
	struct conf_catalog_ref *ref = item->catalog;
	const struct conf_zone_item *catalog = find(list, list->count, ref->name);
	char text[NAME_TEXT_MAX];

	name_to_text(ref->name, text);
	if (catalog != NULL && catalog->zone.is_catalog) {
		check_secondaries(rd, item, &catalog->zone);
		return;
	}
	/* Once for each entry. */
	if (ref->told) {
		return;
	}
	ref->told = true;
	if (catalog == NULL) {
		conf_fault(&rd->faults, ref->place, "there is no catalog '%.300s'", text);
	} else if (name_equal(item->zone.name, ref->name)) {
		conf_fault(&rd->faults, ref->place, "'catalog': zone %.300s in itself", text);
	} else {
		conf_fault(&rd->faults, ref->place,
			   "'catalog': zone %.300s has a file (line %u), and is no catalog", text,
			   catalog->place.line);
	}
}

void conf_catalogs_join(struct conf_reader *rd, struct conf_zone_list *list)
{
	if (!makes_some(list)) {
		add_catalogs(rd, list);
	}
	for (size_t i = 0; i < list->count && rd->err == ST_OK; i++) {
		if (list->items[i].catalog != NULL) {
			check_member(rd, list, &list->items[i]);
		}
	}
}

void conf_catalogs_link(struct conf *c, const struct conf_zone_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct conf_catalog_ref *ref = list->items[i].catalog;
		const struct conf_zone_item *catalog =
			ref != NULL ? find(list, list->count, ref->name) : NULL;
		if (catalog != NULL) {
			c->zones[i].catalog = &c->zones[catalog - list->items];
		}
	}
}
