/* Catalog zones in the configuration: which zones are members of which, and who has the catalogs.
 */
#pragma once

#include "nsd-core/conf_zones.h"

/* An entry with 'make'. May it be used? */
bool conf_check_made(struct conf_reader *rd, const struct conf_zone_entry *entry,
		     const struct conf_node *map);
/* An entry without: what it says of catalogs goes to the zones that came of it, list->items[first]
 * and those behind it. */
void conf_catalogs_mark(struct conf_reader *rd, const struct conf_zone_entry *entry,
			const struct conf_node *map, struct conf_zone_list *list, size_t first);
/* The list is sorted, and stays so: adds the catalogs that have no entry of their own, and tells of
 * what cannot be. */
void conf_catalogs_join(struct conf_reader *rd, struct conf_zone_list *list);
/* c->zones are list->items. */
void conf_catalogs_link(struct conf *c, const struct conf_zone_list *list);
