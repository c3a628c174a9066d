#include "zones/btree_page.h"
#include "zones/version.h"

#include <assert.h>
#include <stdlib.h>

/* Pages with fewer entries look for a neighbour to join; together they may fill at most this. */
#define MERGE_BELOW 16
#define MERGE_UP_TO 48

static size_t page_size(unsigned room, unsigned level, unsigned prefix_room)
{
	return sizeof(struct btree_page) + prefix_room + room * (level > 0 ? 24u : 16u);
}

struct btree_page *page_new(const struct cow *cow, unsigned room, unsigned level, size_t prefix_len)
{
	size_t prefix_room =
		prefix_len < PAGE_PREFIX_MAX ? (prefix_len + 7) / 8 * 8 : PAGE_PREFIX_MAX;
	struct btree_page *p = malloc(page_size(room, level, (unsigned)prefix_room));
	if (p != NULL) {
		p->stamp = cow->stamp;
		p->count = 0;
		p->room = (uint8_t)room;
		p->level = (uint8_t)level;
		p->prefix_len = 0;
		p->prefix_room = (uint8_t)prefix_room;
	}
	return p;
}

uint64_t page_key_head(const uint8_t *octets, size_t len)
{
	uint8_t head[8] = {0};
	memcpy(head, octets, len < sizeof(head) ? len : sizeof(head));
	return be64_get(head);
}

size_t page_common_octets(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t i = 0;
	while (i < len && a[i] == b[i]) {
		i++;
	}
	return i;
}

/* Heads of a page whose prefix is now shorter: the octets given up come in from the left. */
static void page_shorten(struct btree_page *p, size_t prefix_len)
{
	uint64_t *heads = page_heads(p);
	const uint8_t *freed = page_prefix(p) + prefix_len;
	size_t shift = p->prefix_len - prefix_len;
	uint64_t left = page_key_head(freed, shift);

	for (unsigned i = 0; i < p->count; i++) {
		heads[i] = shift >= 8 ? left : left | heads[i] >> (8 * shift);
	}
	p->prefix_len = (uint8_t)prefix_len;
}

/* Makes the prefix one that the key has too, for an entry to be set. */
static void page_admit(struct btree_page *p, const struct sort_key *key)
{
	if (p->count == 0) {
		size_t len = key->len < p->prefix_room ? key->len : p->prefix_room;
		memcpy(page_prefix(p), key->octets, len);
		p->prefix_len = (uint8_t)len;
		return;
	}
	size_t len = key->len < p->prefix_len ? key->len : p->prefix_len;
	len = page_common_octets(key->octets, page_prefix(p), len);
	if (len < p->prefix_len) {
		page_shorten(p, len);
	}
}

static void page_set(struct btree_page *p, unsigned at, const struct sort_key *key,
		     const struct node *n)
{
	page_admit(p, key);
	page_heads(p)[at] = page_key_head(key->octets + p->prefix_len, key->len - p->prefix_len);
	page_nodes(p)[at] = n;
}

static void page_insert(struct btree_page *p, unsigned at, const struct sort_key *key,
			const struct node *n, struct btree_page *child)
{
	page_admit(p, key);
	size_t tail = p->count - at;
	uint64_t *head = page_heads(p) + at;
	const struct node **node = page_nodes(p) + at;
	memmove(head + 1, head, tail * sizeof(*head));
	memmove(node + 1, node, tail * sizeof(*node));
	if (p->level > 0) {
		struct btree_page **slot = page_children(p) + at;
		memmove(slot + 1, slot, tail * sizeof(*slot));
		*slot = child;
	}
	p->count++;
	*head = page_key_head(key->octets + p->prefix_len, key->len - p->prefix_len);
	*node = n;
}

static void page_delete(struct btree_page *p, unsigned at)
{
	size_t tail = p->count - at - 1u;
	uint64_t *head = page_heads(p) + at;
	const struct node **node = page_nodes(p) + at;
	memmove(head, head + 1, tail * sizeof(*head));
	memmove(node, node + 1, tail * sizeof(*node));
	if (p->level > 0) {
		struct btree_page **slot = page_children(p) + at;
		memmove(slot, slot + 1, tail * sizeof(*slot));
	}
	p->count--;
}

/* Appends entries of 'from', whose heads are for the same prefix. */
static void page_append(struct btree_page *to, const struct btree_page *from, unsigned first,
			unsigned count)
{
	memcpy(page_heads(to) + to->count, page_heads(from) + first, count * sizeof(uint64_t));
	memcpy(page_nodes(to) + to->count, page_nodes(from) + first, count * sizeof(struct node *));
	if (to->level > 0) {
		memcpy(page_children(to) + to->count, page_children(from) + first,
		       count * sizeof(struct btree_page *));
	}
	to->count = (uint8_t)(to->count + count);
}

static void page_take_prefix(struct btree_page *to, const struct btree_page *from)
{
	memcpy(page_prefix(to), page_prefix(from), from->prefix_len);
	to->prefix_len = from->prefix_len;
}

static struct btree_page *page_own(const struct cow *cow, struct btree_page *p)
{
	if (p->stamp == cow->stamp) {
		return p;
	}
	if (retired_reserve(cow->retired, 1) != ST_OK) {
		return NULL;
	}
	size_t size = page_size(p->room, p->level, p->prefix_room);
	struct btree_page *copy = malloc(size);
	if (copy != NULL) {
		memcpy(copy, p, size);
		copy->stamp = cow->stamp;
		retired_add_page(cow->retired, p);
	}
	return copy;
}

static void link_page(struct btree *t, const struct btree_path *path, unsigned level_index,
		      struct btree_page *p)
{
	if (level_index == 0) {
		t->root = p;
	} else {
		unsigned above = level_index - 1;
		page_children(path->page[above])[path->at[above]] = p;
	}
}

/* A page with more room in its place. */
static struct btree_page *page_grow(const struct cow *cow, struct btree_page *p)
{
	struct btree_page *bigger = page_new(cow, p->room * 2u, p->level, p->prefix_len);
	if (bigger != NULL) {
		page_take_prefix(bigger, p);
		page_append(bigger, p, 0, p->count);
		free(p);
	}
	return bigger;
}

/* Recomputes the heads of a page's half of a split for the longer prefix it may have. */
static void page_lengthen(struct btree_page *p)
{
	struct sort_key first;
	struct sort_key last;
	sort_key_init(&first, node_name(page_nodes(p)[0]));
	sort_key_init(&last, node_name(page_nodes(p)[p->count - 1]));
	size_t len = first.len < last.len ? first.len : last.len;
	len = page_common_octets(first.octets, last.octets,
				 len < p->prefix_room ? len : p->prefix_room);
	if (len <= p->prefix_len) {
		return;
	}
	memcpy(page_prefix(p), first.octets, len);
	p->prefix_len = (uint8_t)len;
	for (unsigned i = 0; i < p->count; i++) {
		struct sort_key key;
		sort_key_init(&key, node_name(page_nodes(p)[i]));
		page_heads(p)[i] = page_key_head(key.octets + len, key.len - len);
	}
}

/* Octets that the keys of entries first and last have in common. */
static size_t page_common(const struct btree_page *p, unsigned first, unsigned last)
{
	struct sort_key a;
	struct sort_key b;
	sort_key_init(&a, node_name(page_nodes(p)[first]));
	sort_key_init(&b, node_name(page_nodes(p)[last]));
	return page_common_octets(a.octets, b.octets, a.len < b.len ? a.len : b.len);
}

/* Splits parent's full child 'at'. 'append': all that comes will come at the end, so the left page
 * stays as full as it is. Both are the draft's, and the parent has room. */
static enum status split_child(const struct cow *cow, struct btree_page *parent, unsigned at,
			       bool append)
{
	struct btree_page *full = page_children(parent)[at];
	unsigned keep = append ? full->count - 1u : full->count / 2u;
	unsigned move = full->count - keep;
	struct btree_page *right = page_new(cow, PAGE_ENTRIES_MAX, full->level,
					    page_common(full, keep, full->count - 1u));
	struct btree_page *left = full;
	if (!append) {
		left = page_new(cow, PAGE_ENTRIES_MAX, full->level, page_common(full, 0, keep - 1));
	}
	if (right == NULL || left == NULL) {
		free(right);
		free(append ? NULL : left);
		return ST_ENOMEM;
	}
	page_take_prefix(right, full);
	page_append(right, full, keep, move);
	page_lengthen(right);
	if (append) {
		full->count = (uint8_t)keep;
	} else {
		page_take_prefix(left, full);
		page_append(left, full, 0, keep);
		page_lengthen(left);
		page_children(parent)[at] = left;
		free(full);
	}
	struct sort_key key;
	sort_key_init(&key, node_name(page_nodes(right)[0]));
	page_insert(parent, at + 1, &key, page_nodes(right)[0], right);
	return ST_OK;
}

/* Puts a page above a full root. */
static enum status raise_root(struct btree *t, const struct cow *cow)
{
	struct sort_key key;
	assert(t->root->level + 1 < BTREE_DEPTH);
	sort_key_init(&key, node_name(page_nodes(t->root)[0]));
	struct btree_page *root = page_new(cow, PAGE_ENTRIES_MIN, t->root->level + 1u, key.len);
	if (root == NULL) {
		return ST_ENOMEM;
	}
	page_insert(root, 0, &key, page_nodes(t->root)[0], t->root);
	t->root = root;
	return ST_OK;
}

/* Makes path->page[i] the draft's and, where 'room' is asked for, able to take one more entry
 * unless it is full for good. */
static enum status own_step(struct btree *t, const struct cow *cow, struct btree_path *path,
			    unsigned i, bool room)
{
	struct btree_page *p = page_own(cow, path->page[i]);
	if (p == NULL) {
		return ST_ENOMEM;
	}
	path->page[i] = p;
	link_page(t, path, i, p);
	if (room && p->count == p->room && p->room < PAGE_ENTRIES_MAX) {
		p = page_grow(cow, p);
		if (p == NULL) {
			return ST_ENOMEM;
		}
		path->page[i] = p;
		link_page(t, path, i, p);
	}
	return ST_OK;
}

/* Walks to the key's leaf, making all pages on the way the draft's. With 'room' every full one is
 * split first, so that an insertion never has to go back up. */
static enum status own_path(struct btree *t, const struct cow *cow, const struct sort_key *key,
			    bool room, struct btree_path *path)
{
	bool rightmost = true;
	struct btree_page *p = t->root;

	path->depth = 0;
	path->exact = false;
	while (p != NULL) {
		unsigned i = path->depth;
		path->page[i] = p;
		enum status st = own_step(t, cow, path, i, room);
		if (st != ST_OK) {
			return st;
		}
		p = path->page[i];
		if (room && p->count == PAGE_ENTRIES_MAX) {
			bool exact;
			if (i == 0) {
				st = raise_root(t, cow);
			} else {
				bool append = rightmost && page_search(p, key, &exact) == p->count;
				st = split_child(cow, path->page[i - 1], path->at[i - 1], append);
			}
			if (st != ST_OK) {
				return st;
			}
			/* Once more from the root, which is cheap and rare. */
			path->depth = 0;
			rightmost = true;
			p = t->root;
			continue;
		}
		path->depth++;
		if (p->level == 0) {
			path->at[i] = page_search(p, key, &path->exact);
			return ST_OK;
		}
		path->at[i] = page_child_for(p, key);
		rightmost = rightmost && path->at[i] + 1u == p->count;
		p = page_children(p)[path->at[i]];
	}
	return ST_OK;
}

/* Entry 'at' says what its child begins with. */
static void refresh_first(struct btree_page *parent, unsigned at, const struct btree_page *child)
{
	const struct node *first = page_nodes(child)[0];
	if (page_nodes(parent)[at] != first) {
		struct sort_key key;
		sort_key_init(&key, node_name(first));
		page_set(parent, at, &key, first);
	}
}

static void refresh_firsts(const struct btree_path *path)
{
	for (unsigned i = path->depth; i-- > 1;) {
		refresh_first(path->page[i - 1], path->at[i - 1], path->page[i]);
	}
}

enum status btree_insert(struct btree *t, const struct cow *cow, const struct node *n)
{
	struct sort_key key;
	sort_key_init(&key, node_name(n));
	if (t->root == NULL) {
		t->root = page_new(cow, PAGE_ENTRIES_MIN, 0, key.len);
		if (t->root == NULL) {
			return ST_ENOMEM;
		}
	}
	struct btree_path path;
	enum status st = own_path(t, cow, &key, true, &path);
	if (st != ST_OK) {
		return st;
	}
	assert(!path.exact);
	unsigned leaf = path.depth - 1;
	page_insert(path.page[leaf], path.at[leaf], &key, n, NULL);
	if (path.at[leaf] == 0) {
		refresh_firsts(&path);
	}
	t->count++;
	return ST_OK;
}

enum status btree_replace(struct btree *t, const struct cow *cow, const struct node *old,
			  const struct node *with)
{
	struct sort_key key;
	struct btree_path path;
	sort_key_init(&key, node_name(old));
	enum status st = own_path(t, cow, &key, false, &path);
	if (st != ST_OK) {
		return st;
	}
	unsigned leaf = path.depth - 1;
	assert(path.exact && page_nodes(path.page[leaf])[path.at[leaf]] == old);
	page_nodes(path.page[leaf])[path.at[leaf]] = with;
	if (path.at[leaf] == 0) {
		refresh_firsts(&path);
	}
	return ST_OK;
}

/* Joins parent's children at and at + 1 if both are small. That is for space only, so a lack of
 * memory is no error. */
static bool merge_children(const struct cow *cow, struct btree_page *parent, unsigned at)
{
	struct btree_page *left = page_children(parent)[at];
	struct btree_page *right = page_children(parent)[at + 1];
	unsigned count = left->count + (unsigned)right->count;
	if (count > MERGE_UP_TO) {
		return false;
	}
	size_t len = left->prefix_len < right->prefix_len ? left->prefix_len : right->prefix_len;
	len = page_common_octets(page_prefix(left), page_prefix(right), len);
	struct btree_page *own_left = page_own(cow, left);
	if (own_left == NULL) {
		return false;
	}
	page_children(parent)[at] = own_left;
	struct btree_page *own_right = page_own(cow, right);
	if (own_right == NULL) {
		return false;
	}
	page_children(parent)[at + 1] = own_right;
	struct btree_page *both = page_new(cow, PAGE_ENTRIES_MAX, own_left->level, len);
	if (both == NULL) {
		return false;
	}
	page_shorten(own_left, len);
	page_shorten(own_right, len);
	page_take_prefix(both, own_left);
	page_append(both, own_left, 0, own_left->count);
	page_append(both, own_right, 0, own_right->count);
	page_children(parent)[at] = both;
	page_delete(parent, at + 1);
	free(own_left);
	free(own_right);
	return true;
}

/* From the leaf up, after an entry was taken out: removes pages that became empty, joins small
 * ones, keeps the firsts right; then lowers the root. */
static void tidy_path(struct btree *t, const struct cow *cow, const struct btree_path *path)
{
	for (unsigned i = path->depth - 1; i > 0; i--) {
		struct btree_page *p = path->page[i];
		struct btree_page *parent = path->page[i - 1];
		unsigned at = path->at[i - 1];
		if (p->count == 0) {
			page_delete(parent, at);
			free(p);
			continue;
		}
		refresh_first(parent, at, p);
		if (p->count < MERGE_BELOW) {
			bool merged = at + 1u < parent->count && merge_children(cow, parent, at);
			if (!merged && at > 0) {
				(void)merge_children(cow, parent, at - 1);
			}
		}
	}
	struct btree_page *root = t->root;
	while (root->level > 0 && root->count == 1 && root->stamp == cow->stamp) {
		t->root = page_children(root)[0];
		free(root);
		root = t->root;
	}
	if (root->count == 0) {
		free(root);
		t->root = NULL;
	}
}

enum status btree_remove(struct btree *t, const struct cow *cow, const struct node *n)
{
	struct sort_key key;
	struct btree_path path;
	sort_key_init(&key, node_name(n));
	enum status st = own_path(t, cow, &key, false, &path);
	if (st != ST_OK) {
		return st;
	}
	unsigned leaf = path.depth - 1;
	assert(path.exact);
	page_delete(path.page[leaf], path.at[leaf]);
	t->count--;
	tidy_path(t, cow, &path);
	return ST_OK;
}

static size_t count_pages(const struct btree_page *p)
{
	size_t count = 1;
	for (unsigned i = 0; p->level > 0 && i < p->count; i++) {
		count += count_pages(page_children(p)[i]);
	}
	return count;
}

static void retire_pages(const struct btree_page *p, const struct cow *cow)
{
	for (unsigned i = 0; p->level > 0 && i < p->count; i++) {
		retire_pages(page_children(p)[i], cow);
	}
	if (p->stamp != cow->stamp) {
		retired_add_page(cow->retired, p);
	}
}

enum status btree_clear(struct btree *t, const struct cow *cow)
{
	if (t->root == NULL) {
		return ST_OK;
	}
	if (retired_reserve(cow->retired, count_pages(t->root)) != ST_OK) {
		return ST_ENOMEM;
	}
	retire_pages(t->root, cow);
	btree_free(t, cow->stamp);
	return ST_OK;
}
