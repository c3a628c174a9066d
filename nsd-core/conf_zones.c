#include "nsd-core/conf_zones.h"

#include "nsd-core/conf_catalogs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ZONE_SUFFIX ".zone"

enum status conf_zones_grow(struct conf_zone_list *list)
{
	if (list->count < list->room) {
		return ST_OK;
	}
	size_t room = list->room == 0 ? 16 : list->room * 2;
	struct conf_zone_item *items = reallocarray(list->items, room, sizeof(*items));
	if (items == NULL) {
		return ST_ENOMEM;
	}
	list->items = items;
	list->room = room;
	return ST_OK;
}

/* NULL of none. */
static bool copy_list(const void *from, size_t count, size_t size, void **out)
{
	if (count == 0) {
		*out = NULL;
		return true;
	}
	*out = reallocarray(NULL, count, size);
	if (*out != NULL) {
		memcpy(*out, from, count * size);
	}
	return *out != NULL;
}

/* One zone more: the entry's keys, with this name and file ('file' moves in). */
static void list_append(struct conf_reader *rd, struct conf_zone_list *list,
			const struct conf_zone *like, const uint8_t *name, char *file,
			struct conf_place place)
{
	struct conf_address *parent = NULL;
	size_t *secondaries = NULL;
	bool copied =
		copy_list(like->parent, like->parent_count, sizeof(*parent), (void **)&parent) &&
		copy_list(like->secondaries, like->secondary_count, sizeof(*secondaries),
			  (void **)&secondaries);

	if ((file == NULL && !like->is_catalog) || !copied || conf_zones_grow(list) != ST_OK) {
		rd->err = ST_ENOMEM;
		free(parent);
		free(secondaries);
		free(file);
		return;
	}
	struct conf_zone_item *item = &list->items[list->count++];
	item->zone = *like;
	name_lower(item->zone.name, name);
	item->zone.file = file;
	item->zone.parent = parent;
	item->zone.secondaries = secondaries;
	item->place = place;
	item->catalog = NULL;
}

/* Is it a file? Where the directory does not tell, or the entry is a link, the file itself is
 * asked. */
static bool is_file(const char *path, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK) {
		return e->d_type == DT_REG;
	}
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* A file of the directory: a zone where it is called NAME.zone; others are none of ours. */
static void add_file(struct conf_reader *rd, struct conf_zone_list *list,
		     const struct conf_zone_entry *entry, const struct dirent *e,
		     struct conf_place place)
{
	size_t len = strlen(e->d_name);
	size_t suffix = strlen(ZONE_SUFFIX);
	uint8_t name[NAME_MAX_LEN];
	size_t name_len;
	const char *why;

	if (len <= suffix || e->d_name[0] == '.' ||
	    strcmp(e->d_name + len - suffix, ZONE_SUFFIX) != 0) {
		return;
	}
	char *path = conf_path_join(rd, entry->directory, e->d_name);
	if (path == NULL || !is_file(path, e)) {
		free(path);
		return;
	}
	if (name_from_text(e->d_name, len - suffix, NULL, name, &name_len, &why) != ST_OK) {
		conf_fault(&rd->faults, place, "%s: not a zone's name: %s", path, why);
		free(path);
		return;
	}
	list_append(rd, list, &entry->zone, name, path, place);
}

static void add_directory(struct conf_reader *rd, struct conf_zone_list *list,
			  const struct conf_zone_entry *entry, struct conf_place place)
{
	DIR *dir = opendir(entry->directory);
	const struct dirent *e;

	if (dir == NULL) {
		conf_fault(&rd->faults, place, "'directory': %s: %s", entry->directory,
			   strerror(errno));
		return;
	}
	errno = 0;
	while (rd->err == ST_OK && list->count < CONF_ZONES_MAX && (e = readdir(dir)) != NULL) {
		add_file(rd, list, entry, e, place);
		errno = 0;
	}
	if (errno != 0) {
		conf_fault(&rd->faults, place, "'directory': %s: %s", entry->directory,
			   strerror(errno));
	} else if (list->count == CONF_ZONES_MAX) {
		conf_fault(&rd->faults, place, "more than %d zones", CONF_ZONES_MAX - 1);
	}
	closedir(dir);
}

void conf_zones_add(struct conf_reader *rd, struct conf_zone_list *list,
		    const struct conf_zone_entry *entry, const struct conf_node *map)
{
	size_t first = list->count;

	if (entry->zone.is_catalog) {
		list_append(rd, list, &entry->zone, entry->zone.name, NULL,
			    conf_tree_get(map, "name")->place);
		return;
	}
	if (entry->directory == NULL) {
		const struct conf_node *name = conf_tree_get(map, "name");
		list_append(rd, list, &entry->zone, entry->zone.name,
			    conf_strdup(rd, entry->zone.file), name->place);
	} else if (rd->check_files) {
		add_directory(rd, list, entry, conf_tree_get(map, "directory")->place);
	}
	conf_catalogs_mark(rd, entry, map, list, first);
}

int conf_zones_compare(const void *a, const void *b)
{
	const struct conf_zone_item *x = a;
	const struct conf_zone_item *y = b;
	int order = name_compare(x->zone.name, y->zone.name);

	if (order == 0) {
		order = x->place.line < y->place.line ? -1 : x->place.line > y->place.line;
	}
	if (order == 0) {
		order = x->place.column < y->place.column ? -1 : x->place.column > y->place.column;
	}
	return order;
}

static void tell_duplicates(struct conf_reader *rd, const struct conf_zone_list *list)
{
	char text[NAME_TEXT_MAX];

	for (size_t i = 1; i < list->count; i++) {
		const struct conf_zone_item *item = &list->items[i];
		if (name_equal(item[-1].zone.name, item->zone.name)) {
			conf_fault(&rd->faults, item->place,
				   "zone %.300s is given twice, first in line %u (%s)",
				   name_to_text(item->zone.name, text), item[-1].place.line,
				   item[-1].zone.file != NULL ? item[-1].zone.file : "made");
		}
	}
}

void conf_zones_finish(struct conf_reader *rd, struct conf_zone_list *list)
{
	struct conf *c = rd->conf;

	if (list->count > 0) {
		qsort(list->items, list->count, sizeof(*list->items), conf_zones_compare);
		tell_duplicates(rd, list);
		conf_catalogs_join(rd, list);
		c->zones = calloc(list->count, sizeof(*c->zones));
		if (c->zones == NULL) {
			rd->err = ST_ENOMEM;
		}
	}
	for (size_t i = 0; i < list->count; i++) {
		if (c->zones != NULL) {
			c->zones[c->zone_count++] = list->items[i].zone;
		} else {
			free(list->items[i].zone.file);
			free(list->items[i].zone.parent);
			free(list->items[i].zone.secondaries);
			free(list->items[i].zone.catalog_group);
		}
	}
	if (c->zones != NULL) {
		conf_catalogs_link(c, list);
	}
	free(list->items);
	*list = (struct conf_zone_list){0};
}
