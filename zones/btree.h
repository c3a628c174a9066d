/* The ordered index: a persistent B+tree of nodes in canonical order (RFC 4034 6.1).
 *
 * A page holds up to 64 entries and keeps apart what all their sort keys have in common, and the 8
 * octets after that of each: a search reads these only, and a node's name just where they are
 * equal. Keys are those of name_sort_key(). */
#pragma once

#include "zones/retire.h"

struct node;
struct btree_page;

/* All zero: empty. A copy shares all pages with the original. */
struct btree {
	struct btree_page *root;
	size_t count;
};

/* A name's sort key, made once for many searches. */
struct sort_key {
	size_t len; /* at most 504: there is always room for a word behind the key */
	bool plain; /* no octet is escaped: the key has the name's octets, label by label */
	uint8_t octets[NAME_KEY_MAX]; /* a word of zeros behind the key */
};

static inline void sort_key_end(struct sort_key *key, size_t name_octets)
{
	key->plain = key->len + 1 == name_octets;
	memset(key->octets + key->len, 0, sizeof(uint64_t));
}

static inline void sort_key_init(struct sort_key *key, const uint8_t *name)
{
	key->len = name_sort_key(name, key->octets);
	sort_key_end(key, name_len(name));
}

static inline void sort_key_init_ref(struct sort_key *key, const struct name_ref *ref)
{
	key->len = name_ref_sort_key(ref, key->octets);
	sort_key_end(key, ref->len);
}

/* NULL where there is none. */
const struct node *btree_find(const struct btree *t, const struct sort_key *key);
/* The last node at or before the key; *exact: it is at the key. */
const struct node *btree_find_floor(const struct btree *t, const struct sort_key *key, bool *exact);
#define BTREE_FLOORS_MAX 16

/* One of up to BTREE_FLOORS_MAX searches made side by side. 'tree' and 'key' are the caller's, as
 * for btree_find_floor(); 'node' and 'exact' the result. */
struct btree_floor {
	const struct btree *tree;
	const struct sort_key *key;
	const struct node *node;
	bool exact;
	/* Where the search is. */
	const struct btree_page *page;
	unsigned at;
	bool none; /* all entries come after the key */
};

/* Each as btree_find_floor(); the nodes found are on their way into the cache. */
void btree_find_floor_many(struct btree_floor *const *floors, size_t count);
/* Strictly before, strictly after. */
const struct node *btree_before(const struct btree *t, const struct sort_key *key);
const struct node *btree_after(const struct btree *t, const struct sort_key *key);
const struct node *btree_first(const struct btree *t);
const struct node *btree_last(const struct btree *t);

/* n's name must not be in the tree. Names inserted in order fill the pages. */
enum status btree_insert(struct btree *t, const struct cow *cow, const struct node *n) MUST_USE;
/* A tree of these nodes, which are in order, made at once; 't' is empty before, and on error. */
enum status btree_build(struct btree *t, const struct cow *cow, const struct node *const *nodes,
			size_t count) MUST_USE;
/* 'with' has the name of 'old', which is in the tree. Cannot fail where old's page is the draft's.
 */
enum status btree_replace(struct btree *t, const struct cow *cow, const struct node *old,
			  const struct node *with) MUST_USE;
/* n is in the tree. */
enum status btree_remove(struct btree *t, const struct cow *cow, const struct node *n) MUST_USE;
/* Empties the tree; pages that are not the draft's are retired. */
enum status btree_clear(struct btree *t, const struct cow *cow) MUST_USE;
/* Frees the pages that have this stamp; 0: all. */
void btree_free(struct btree *t, uint64_t stamp);

/* All nodes in order, t->count of them. Their own memory is not touched. */
void btree_list(const struct btree *t, const struct node **out);

#define BTREE_DEPTH 12

/* A place in a tree that does not change meanwhile. */
struct btree_cursor {
	const struct btree_page *page[BTREE_DEPTH]; /* from the root */
	uint8_t at[BTREE_DEPTH];
	uint8_t depth; /* pages in use; 0: at the end */
};

/* To the first node; to the first at or after the key. Then btree_cursor_next() gives it, and those
 * after it, and NULL at the end. */
void btree_cursor_init(struct btree_cursor *c, const struct btree *t);
void btree_cursor_seek(struct btree_cursor *c, const struct btree *t, const struct sort_key *key);
const struct node *btree_cursor_next(struct btree_cursor *c);
