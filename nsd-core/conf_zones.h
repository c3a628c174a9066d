/* The list of zones: entries that name one, entries that name a directory of them. */
#pragma once

#include "nsd-core/conf_value.h"

#define CONF_ZONES_MAX 1000000

/* What an entry says of a catalog; its zones share it. */
struct conf_catalog_ref {
	uint8_t name[NAME_MAX_LEN]; /* lower case */
	struct conf_place place;
	bool told; /* of a fault in it */
	/* conf_catalogs.c's: looked for, and where it was added. */
	bool is_placed;
	size_t added;
};

struct conf_zone_item {
	struct conf_zone zone; /* first: sorted by name */
	struct conf_place place;
	struct conf_catalog_ref *catalog; /* in the reader's arena; NULL: none */
};

struct conf_zone_list {
	struct conf_zone_item *items;
	size_t count;
	size_t room;
};

/* Room for one item more. */
enum status conf_zones_grow(struct conf_zone_list *list) MUST_USE;
/* For qsort(): by name, then as they stand in the file. */
int conf_zones_compare(const void *a, const void *b);
/* Copies what the entry says; reads its directory where rd->check_files. */
void conf_zones_add(struct conf_reader *rd, struct conf_zone_list *list,
		    const struct conf_zone_entry *entry, const struct conf_node *map);
/* Sorts, tells of zones given twice, and moves the zones into rd->conf. */
void conf_zones_finish(struct conf_reader *rd, struct conf_zone_list *list);
