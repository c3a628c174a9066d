/* Pages of the B+tree: private to btree*.c. */
#pragma once

#include "zones/btree.h"

#define PAGE_ENTRIES_MIN 8
#define PAGE_ENTRIES_MAX 64
#define PAGE_PREFIX_MAX	 248

/* After the head: the prefix (padded to 8 octets), heads[room], nodes[room] and, above the leaves,
 * children[room]. An inner page's nodes[i] is the first node under children[i], always. */
struct btree_page {
	uint64_t stamp;
	uint8_t count;
	uint8_t room;
	uint8_t level;	     /* 0: a leaf */
	uint8_t prefix_len;  /* octets that all keys begin with and heads leave out */
	uint8_t prefix_room; /* a multiple of 8 */
	uint64_t words[];
};

static inline uint8_t *page_prefix(const struct btree_page *p)
{
	return (uint8_t *)(uintptr_t)p->words;
}

/* heads[i]: the 8 octets after the prefix as a big-endian number, missing ones zero. */
static inline uint64_t *page_heads(const struct btree_page *p)
{
	return (uint64_t *)(uintptr_t)p->words + p->prefix_room / 8;
}

static inline const struct node **page_nodes(const struct btree_page *p)
{
	return (const struct node **)(uintptr_t)(page_heads(p) + p->room);
}

static inline struct btree_page **page_children(const struct btree_page *p)
{
	return (struct btree_page **)(uintptr_t)(page_heads(p) + 2u * p->room);
}

/* Without entries. 'prefix_len': what its keys will have in common at most. NULL: no memory. */
struct btree_page *page_new(const struct cow *cow, unsigned room, unsigned level,
			    size_t prefix_len);
/* The first 8 octets, missing ones zero, as a big-endian number. */
uint64_t page_key_head(const uint8_t *octets, size_t len);
size_t page_common_octets(const uint8_t *a, const uint8_t *b, size_t len);

/* Entries before the key; *exact: the next one is at the key. */
unsigned page_search(const struct btree_page *p, const struct sort_key *key, bool *exact);

/* The way from the root to a leaf; at[i] is the child taken, in the leaf what page_search() says.
 */
struct btree_path {
	struct btree_page *page[BTREE_DEPTH];
	unsigned at[BTREE_DEPTH];
	unsigned depth;
	bool exact;
};

/* The child of an inner page under which the key is or would be. */
unsigned page_child_for(const struct btree_page *p, const struct sort_key *key);
