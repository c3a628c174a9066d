#include "zones/name_list.h"

#include "nsd-core/base/arena.h"

#include <stdlib.h>

enum status name_list_add(struct name_list *l, const uint8_t *name)
{
	if (l->count == l->room) {
		size_t room = l->room < 16 ? 16 : l->room * 2;
		const uint8_t **names = realloc(l->names, room * sizeof(*names));
		if (names == NULL) {
			return ST_ENOMEM;
		}
		l->names = names;
		l->room = room;
	}
	l->names[l->count++] = name;
	return ST_OK;
}

struct keyed {
	const uint8_t *name;
	const uint8_t *key;
	size_t len;
};

static int compare_keys(const void *a, const void *b)
{
	const struct keyed *x = a;
	const struct keyed *y = b;
	int order = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
	if (order != 0) {
		return order;
	}
	return x->len < y->len ? -1 : x->len > y->len;
}

/* Sorts by keys made once. */
static enum status sort_names(const uint8_t **names, size_t count)
{
	struct arena arena;
	arena_init(&arena, 64 * 1024);
	enum status st = ST_ENOMEM;
	struct keyed *items = malloc(count * sizeof(*items));
	if (items == NULL) {
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		uint8_t key[NAME_KEY_MAX];
		items[i].name = names[i];
		items[i].len = name_sort_key(names[i], key);
		items[i].key = arena_alloc_bytes(&arena, items[i].len + 1);
		if (items[i].key == NULL) {
			goto out;
		}
		memcpy((uint8_t *)(uintptr_t)items[i].key, key, items[i].len);
	}
	qsort(items, count, sizeof(*items), compare_keys);
	for (size_t i = 0; i < count; i++) {
		names[i] = items[i].name;
	}
	st = ST_OK;
out:
	free(items);
	arena_fini(&arena);
	return st;
}

enum status name_list_sort(struct name_list *l)
{
	if (l->sorted == l->count) {
		return ST_OK;
	}
	/* Names mostly come in order. */
	bool ordered = true;
	for (size_t i = l->sorted > 0 ? l->sorted : 1; ordered && i < l->count; i++) {
		ordered = name_compare(l->names[i - 1], l->names[i]) <= 0;
	}
	if (!ordered) {
		enum status st = sort_names(l->names, l->count);
		if (st != ST_OK) {
			return st;
		}
	}
	size_t kept = 0;
	for (size_t i = 0; i < l->count; i++) {
		if (kept == 0 || !name_equal(l->names[kept - 1], l->names[i])) {
			l->names[kept++] = l->names[i];
		}
	}
	l->count = kept;
	l->sorted = kept;
	return ST_OK;
}

void name_list_fini(struct name_list *l)
{
	free(l->names);
	*l = (struct name_list){0};
}
