#include "zones/btree.h"

#include "zones/btree_page.h"
#include "zones/version.h"

#include <stdlib.h>

#define CACHE_LINE 64

static int compare_octets(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t len = a_len < b_len ? a_len : b_len;
	int order = memcmp(a, b, len);
	if (order != 0) {
		return order;
	}
	return a_len < b_len ? -1 : a_len > b_len;
}

/* A key that is plain, and a node's name; in their first 'from' octets the keys agree. Compared
 * label by label, as the order is defined (RFC 4034 6.1): the node's key is not made. */
static int compare_plain(const struct sort_key *key, size_t from, const struct node *n)
{
	const uint8_t *name = node_name(n);
	size_t end = n->name_len - 1U;
	while (from < end) {
		/* The label where they may differ. Those behind it are equal, and so take as many
		 * octets in the key as in the name. */
		const uint8_t *label = name;
		size_t start = end - *label - 1U;
		while (start > from) {
			label += *label + 1;
			start -= *label + 1U;
		}
		const uint8_t *a = key->octets + from;
		const uint8_t *b = label + 1 + (from - start);
		for (const uint8_t *last = label + *label; b <= last; a++, b++) {
			/* A zero ends the key's label, even where the name has one. */
			if (*a != *b || *a == 0) {
				return *a == 0 ? -1 : *a - *b;
			}
		}
		if (*a != 0) {
			return 1;
		}
		from = start + *label + 1U;
	}
	return key->len > from;
}

static int compare_escaped(const struct sort_key *key, const struct node *n)
{
	struct sort_key other;
	sort_key_init(&other, node_name(n));
	return compare_octets(key->octets, key->len, other.octets, other.len);
}

/* A key that ends within the prefix comes before it: no key has two zeros in a row, so that those
 * behind it are less than what stands there. */
static int compare_prefix(const struct sort_key *key, const struct btree_page *p)
{
	const uint8_t *prefix = page_prefix(p);
	for (size_t at = 0; at < p->prefix_len; at += 8) {
		size_t left = p->prefix_len - at;
		unsigned beyond = left < 8 ? (unsigned)(64 - 8 * left) : 0;
		uint64_t a = be64_get(key->octets + at) >> beyond;
		uint64_t b = be64_get(prefix + at) >> beyond;
		if (a != b) {
			return a < b ? -1 : 1;
		}
	}
	return 0;
}

/* Heads less than 'head'. */
static unsigned lower_bound(const uint64_t *heads, unsigned count, uint64_t head)
{
	unsigned at = 0;
	while (count > 1) {
		unsigned half = count / 2;
		at += heads[at + half - 1] < head ? half : 0;
		count -= half;
	}
	return at + (count == 1 && heads[at] < head);
}

/* Among the entries from 'low' on whose head is the key's. */
static unsigned search_equal(const struct btree_page *p, unsigned low, const struct sort_key *key,
			     bool *exact)
{
	const uint64_t *heads = page_heads(p) + low;
	unsigned count = p->count - low;
	uint64_t head = heads[0];
	unsigned high = low + (head < UINT64_MAX ? lower_bound(heads, count, head + 1) : count);
	/* Equal heads are equal octets: a key that ends there is padded with zeros, and no other
	 * has two of them in a row. */
	size_t from = p->prefix_len + sizeof(head);
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct node *n = page_nodes(p)[middle];
		int order = key->plain ? compare_plain(key, from, n) : compare_escaped(key, n);
		if (order == 0) {
			*exact = true;
			return middle;
		}
		if (order < 0) {
			high = middle;
		} else {
			low = middle + 1;
		}
	}
	return low;
}

unsigned page_search(const struct btree_page *p, const struct sort_key *key, bool *exact)
{
	*exact = false;
	int order = compare_prefix(key, p);
	if (order != 0) {
		return order > 0 ? p->count : 0;
	}
	/* The key is at least as long as the prefix. */
	uint64_t head = be64_get(key->octets + p->prefix_len);
	const uint64_t *heads = page_heads(p);
	unsigned low = lower_bound(heads, p->count, head);
	return low < p->count && heads[low] == head ? search_equal(p, low, key, exact) : low;
}

unsigned page_child_for(const struct btree_page *p, const struct sort_key *key)
{
	bool exact;
	unsigned at = page_search(p, key, &exact);
	return exact || at == 0 ? at : at - 1;
}

static void find_path(const struct btree *t, const struct sort_key *key, struct btree_path *path)
{
	path->depth = 0;
	path->exact = false;
	for (struct btree_page *p = t->root; p != NULL;) {
		unsigned i = path->depth++;
		path->page[i] = p;
		if (p->level == 0) {
			path->at[i] = page_search(p, key, &path->exact);
			return;
		}
		path->at[i] = page_child_for(p, key);
		p = page_children(p)[path->at[i]];
	}
}

const struct node *btree_find(const struct btree *t, const struct sort_key *key)
{
	bool exact;
	const struct node *n = btree_find_floor(t, key, &exact);
	return n != NULL && exact ? n : NULL;
}

const struct node *btree_find_floor(const struct btree *t, const struct sort_key *key, bool *exact)
{
	struct btree_floor f = {.tree = t, .key = key};
	struct btree_floor *floors[] = {&f};
	btree_find_floor_many(floors, 1);
	*exact = f.exact;
	return f.node;
}

static void prefetch_lines(const void *p, size_t size)
{
	for (size_t at = 0; at < size; at += CACHE_LINE) {
		__builtin_prefetch((const uint8_t *)p + at);
	}
}

/* Where the search goes on from its page; asks for the memory of what stands there. */
static void floor_choose(struct btree_floor *f)
{
	const struct btree_page *p = f->page;
	if (p->level > 0) {
		f->at = page_child_for(p, f->key);
		__builtin_prefetch(&page_children(p)[f->at]);
		return;
	}
	unsigned at = page_search(p, f->key, &f->exact);
	/* Every page on the way but the leftmost starts at or before the key. */
	f->none = !f->exact && at == 0;
	f->at = f->exact || f->none ? at : at - 1;
	__builtin_prefetch(&page_nodes(p)[f->at]);
}

/* One level down. False: that was a leaf, and the search is over. */
static bool floor_descend(struct btree_floor *f)
{
	const struct btree_page *p = f->page;
	if (p->level > 0) {
		f->page = page_children(p)[f->at];
		__builtin_prefetch(f->page);
		return true;
	}
	if (!f->none) {
		f->node = page_nodes(p)[f->at];
		prefetch_lines(f->node, 2 * CACHE_LINE);
	}
	return false;
}

void btree_find_floor_many(struct btree_floor *const *floors, size_t count)
{
	struct btree_floor *open[BTREE_FLOORS_MAX];
	size_t left = 0;
	for (size_t i = 0; i < count; i++) {
		struct btree_floor *f = floors[i];
		f->page = f->tree->root;
		f->node = NULL;
		f->exact = false;
		if (f->page != NULL) {
			open[left++] = f;
		}
	}
	while (left > 0) {
		for (size_t i = 0; i < left; i++) {
			const struct btree_page *p = open[i]->page;
			prefetch_lines(page_heads(p), p->count * sizeof(uint64_t));
		}
		for (size_t i = 0; i < left; i++) {
			floor_choose(open[i]);
		}
		size_t going = 0;
		for (size_t i = 0; i < left; i++) {
			if (floor_descend(open[i])) {
				open[going++] = open[i];
			}
		}
		left = going;
	}
}

const struct node *btree_before(const struct btree *t, const struct sort_key *key)
{
	struct btree_path path;
	find_path(t, key, &path);
	for (unsigned i = path.depth; i-- > 0;) {
		if (path.at[i] > 0) {
			const struct btree_page *p = path.page[i];
			unsigned at = path.at[i] - 1;
			while (p->level > 0) {
				p = page_children(p)[at];
				at = p->count - 1u;
			}
			return page_nodes(p)[at];
		}
	}
	return NULL;
}

const struct node *btree_after(const struct btree *t, const struct sort_key *key)
{
	struct btree_path path;
	find_path(t, key, &path);
	for (unsigned i = path.depth; i-- > 0;) {
		const struct btree_page *p = path.page[i];
		unsigned at = path.at[i] + (p->level > 0 || path.exact ? 1 : 0);
		if (at < p->count) {
			return page_nodes(p)[at]; /* of an inner page: the first under it */
		}
	}
	return NULL;
}

const struct node *btree_first(const struct btree *t)
{
	return t->root == NULL ? NULL : page_nodes(t->root)[0];
}

const struct node *btree_last(const struct btree *t)
{
	const struct btree_page *p = t->root;
	if (p == NULL) {
		return NULL;
	}
	while (p->level > 0) {
		p = page_children(p)[p->count - 1];
	}
	return page_nodes(p)[p->count - 1];
}

void btree_cursor_init(struct btree_cursor *c, const struct btree *t)
{
	c->depth = 0;
	for (const struct btree_page *p = t->root; p != NULL;) {
		c->page[c->depth] = p;
		c->at[c->depth++] = 0;
		p = p->level > 0 ? page_children(p)[0] : NULL;
	}
}

void btree_cursor_seek(struct btree_cursor *c, const struct btree *t, const struct sort_key *key)
{
	struct btree_path path;
	find_path(t, key, &path);
	c->depth = (uint8_t)path.depth;
	for (unsigned i = 0; i < path.depth; i++) {
		c->page[i] = path.page[i];
		c->at[i] = (uint8_t)path.at[i];
	}
}

const struct node *btree_cursor_next(struct btree_cursor *c)
{
	if (c->depth == 0) {
		return NULL;
	}
	unsigned i = c->depth - 1u;
	while (c->at[i] >= c->page[i]->count) {
		if (i == 0) {
			c->depth = 0;
			return NULL;
		}
		c->at[--i]++;
	}
	for (; i + 1u < c->depth; i++) {
		c->page[i + 1] = page_children(c->page[i])[c->at[i]];
		c->at[i + 1] = 0;
	}
	return page_nodes(c->page[i])[c->at[i]++];
}

static void free_page(struct btree_page *p, uint64_t stamp)
{
	/* A draft's page hangs below the draft's pages only. */
	if (p == NULL || (stamp != 0 && p->stamp != stamp)) {
		return;
	}
	if (p->level > 0) {
		for (unsigned i = 0; i < p->count; i++) {
			free_page(page_children(p)[i], stamp);
		}
	}
	free(p);
}

void btree_free(struct btree *t, uint64_t stamp)
{
	free_page(t->root, stamp);
	*t = (struct btree){0};
}

static const struct node **list_page(const struct btree_page *p, const struct node **out)
{
	if (p->level == 0) {
		memcpy(out, page_nodes(p), p->count * sizeof(*out));
		return out + p->count;
	}
	struct btree_page **children = page_children(p);
	for (unsigned i = 0; i < p->count; i++) {
		/* The pages were made one after the other, and lie where they may. */
		if (i + 2U < p->count) {
			__builtin_prefetch(children[i + 2]);
		}
		if (i + 1U < p->count && children[i + 1]->level == 0) {
			const uint8_t *next = (const uint8_t *)page_nodes(children[i + 1]);
			for (size_t at = 0; at < PAGE_ENTRIES_MAX * sizeof(*out);
			     at += CACHE_LINE) {
				__builtin_prefetch(next + at);
			}
		}
		out = list_page(children[i], out);
	}
	return out;
}

void btree_list(const struct btree *t, const struct node **out)
{
	if (t->root != NULL) {
		(void)list_page(t->root, out);
	}
}
