/* The list of zones: entries that name one, entries that name a directory of them. */
#pragma once

#include "nsd-core/conf_value.h"

#define CONF_ZONES_MAX 1000000

struct conf_zone_item {
	struct conf_zone zone; /* first: sorted by name */
	struct conf_place place;
};

struct conf_zone_list {
	struct conf_zone_item *items;
	size_t count;
	size_t room;
};

/* Copies what the entry says; reads its directory where rd->check_files. */
void conf_zones_add(struct conf_reader *rd, struct conf_zone_list *list,
		    const struct conf_zone_entry *entry, const struct conf_node *map);
/* Sorts, tells of zones given twice, and moves the zones into rd->conf. */
void conf_zones_finish(struct conf_reader *rd, struct conf_zone_list *list);
