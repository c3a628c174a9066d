/* What one value cannot show: names that must be unique, keys that go together, files that must be
 * there. 'map' is where the section was read from. */
#pragma once

#include "nsd-core/conf_value.h"

void conf_check_server(struct conf_reader *rd, const struct conf_node *map); /* NULL: absent */
void conf_check_keystore(struct conf_reader *rd, size_t index, const struct conf_node *map);
void conf_check_policy(struct conf_reader *rd, size_t index, const struct conf_node *map);
void conf_check_tsig_key(struct conf_reader *rd, size_t index, const struct conf_node *map);
void conf_check_remote(struct conf_reader *rd, size_t index, const struct conf_node *map);
/* May the entry be used? False where its name, file or directory is wrong. */
bool conf_check_zone(struct conf_reader *rd, const struct conf_zone_entry *entry,
		     const struct conf_node *map);
