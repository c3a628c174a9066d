/* The ordered index, made at once from the bottom up. */
#include "zones/btree_page.h"
#include "zones/version.h"

#include <stdlib.h>

/* Entries that pages are given: some room is left, so that a name to come does not always split a
 * leaf, and an inner page hardly ever. */
#define LEAF_FILL  60
#define INNER_FILL 48

/* A level of the tree: the pages that hang below no other yet. */
struct level {
	struct btree_page **pages;
	size_t count;
};

static unsigned room_for(size_t count)
{
	unsigned room = PAGE_ENTRIES_MIN;
	while (room < count) {
		room *= 2;
	}
	return room;
}

/* What the heads of a page's entries leave out: what its first and its last key have in common. */
static void set_prefix(struct btree_page *p, const struct sort_key *first, size_t common)
{
	p->prefix_len = (uint8_t)(common < p->prefix_room ? common : p->prefix_room);
	memcpy(page_prefix(p), first->octets, p->prefix_len);
}

/* A page of the names' nodes. */
static struct btree_page *make_page(const struct cow *cow, unsigned level,
				    const struct node *const *nodes, size_t count)
{
	struct sort_key first;
	struct sort_key key;
	sort_key_init(&first, node_name(nodes[0]));
	sort_key_init(&key, node_name(nodes[count - 1]));
	size_t common = page_common_octets(first.octets, key.octets,
					   first.len < key.len ? first.len : key.len);
	struct btree_page *p = page_new(cow, room_for(count), level, common);
	if (p == NULL) {
		return NULL;
	}
	set_prefix(p, &first, common);
	p->count = (uint8_t)count;
	for (size_t i = 0; i < count; i++) {
		sort_key_init(&key, node_name(nodes[i]));
		page_heads(p)[i] =
			page_key_head(key.octets + p->prefix_len, key.len - p->prefix_len);
		page_nodes(p)[i] = nodes[i];
	}
	return p;
}

static void free_level(struct level *l, size_t first, uint64_t stamp)
{
	for (size_t i = first; i < l->count; i++) {
		btree_free(&(struct btree){.root = l->pages[i]}, stamp);
	}
	l->count = first;
}

/* Where part i of 'parts' equal ones starts. */
static size_t part_start(size_t count, size_t parts, size_t i)
{
	return count / parts * i + (count % parts < i ? count % parts : i);
}

static enum status make_leaves(const struct cow *cow, const struct node *const *nodes, size_t count,
			       size_t pages, struct level *l)
{
	for (size_t i = 0; i < pages; i++) {
		size_t start = part_start(count, pages, i);
		size_t end = part_start(count, pages, i + 1);
		l->pages[i] = make_page(cow, 0, nodes + start, end - start);
		if (l->pages[i] == NULL) {
			return ST_ENOMEM;
		}
		l->count++;
	}
	return ST_OK;
}

/* Puts pages above those of the level, in their places in the array. */
static enum status raise_level(const struct cow *cow, struct level *l)
{
	size_t pages = (l->count + INNER_FILL - 1) / INNER_FILL;
	struct level below = *l;
	l->count = 0;
	for (size_t i = 0; i < pages; i++) {
		const struct node *firsts[INNER_FILL];
		size_t start = part_start(below.count, pages, i);
		size_t count = part_start(below.count, pages, i + 1) - start;
		for (size_t k = 0; k < count; k++) {
			firsts[k] = page_nodes(below.pages[start + k])[0];
		}
		struct btree_page *p =
			make_page(cow, below.pages[start]->level + 1u, firsts, count);
		if (p == NULL) {
			free_level(&below, start, cow->stamp);
			return ST_ENOMEM;
		}
		memcpy(page_children(p), below.pages + start, count * sizeof(p));
		l->pages[l->count++] = p;
	}
	return ST_OK;
}

enum status btree_build(struct btree *t, const struct cow *cow, const struct node *const *nodes,
			size_t count)
{
	if (count == 0) {
		return ST_OK;
	}
	size_t pages = (count + LEAF_FILL - 1) / LEAF_FILL;
	struct level l = {.pages = malloc(pages * sizeof(struct btree_page *))};
	if (l.pages == NULL) {
		return ST_ENOMEM;
	}
	enum status st = make_leaves(cow, nodes, count, pages, &l);
	while (st == ST_OK && l.count > 1) {
		st = raise_level(cow, &l);
	}
	if (st == ST_OK) {
		*t = (struct btree){l.pages[0], count};
	} else {
		free_level(&l, 0, cow->stamp);
	}
	free(l.pages);
	return st;
}
