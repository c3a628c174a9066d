/* Pages of the index by name: private to nindex.c and nindex_build.c. */
#pragma once

#include "zones/nindex.h"
#include "zones/version.h"

#include <assert.h>

#define SLOT_BITS_MIN 3
#define SLOT_BITS_MAX 6
#define DIR_BITS_MAX  8
/* Hash bits that directories may use up; the lowest 16 are the slots' tags. */
#define DEPTH_MAX 48

/* A slot is 0 or the node's address with the hash's low 16 bits above it: user space addresses have
 * 48 bits on every platform of ours. The tag's low bits are the slot's home, so that a page can be
 * rearranged without touching its nodes. */
#define POINTER_BITS 48
#define POINTER_MASK ((UINT64_C(1) << POINTER_BITS) - 1)

struct leaf {
	uint64_t stamp;
	uint16_t count;
	uint8_t depth; /* hash bits that all its names have in common */
	uint8_t bits;  /* log2 of the slots */
	uint64_t slots[];
};

struct dir {
	uint64_t stamp;
	uint8_t depth; /* hash bits used above it */
	uint8_t bits;  /* log2 of the children */
	uintptr_t child[];
};

/* References to pages: NULL, a directory, or a leaf with its size in the low bits, so that a
 * look-up need not read the page's head. malloc() aligns to 16. */
#define REF_DIR	 ((uintptr_t)8)
#define REF_BITS ((uintptr_t)15)

static inline struct dir *ref_dir(uintptr_t ref)
{
	return (struct dir *)(ref & ~REF_BITS);
}

static inline struct leaf *ref_leaf(uintptr_t ref)
{
	return (struct leaf *)(ref & ~REF_BITS);
}

/* Of a leaf's slots. */
static inline size_t ref_mask(uintptr_t ref)
{
	return ((size_t)1 << ((ref & REF_BITS) + SLOT_BITS_MIN)) - 1;
}

static inline uintptr_t leaf_ref(const struct leaf *leaf)
{
	return (uintptr_t)leaf | (uintptr_t)(leaf->bits - SLOT_BITS_MIN);
}

static inline uintptr_t dir_ref(const struct dir *dir)
{
	return (uintptr_t)dir | REF_DIR;
}

static inline uint64_t slot_of(const struct node *n)
{
	assert(((uintptr_t)n >> POINTER_BITS) == 0);
	return n->hash << POINTER_BITS | (uint64_t)(uintptr_t)n;
}

static inline const struct node *slot_node(uint64_t slot)
{
	return (const struct node *)(uintptr_t)(slot & POINTER_MASK);
}

static inline size_t dir_index(const struct dir *dir, uint64_t hash)
{
	return (size_t)(hash << dir->depth >> (64 - dir->bits));
}

static inline size_t leaf_size(unsigned bits)
{
	return sizeof(struct leaf) + (sizeof(uint64_t) << bits);
}

static inline size_t dir_size(unsigned bits)
{
	return sizeof(struct dir) + (sizeof(uintptr_t) << bits);
}

static inline void leaf_put(struct leaf *leaf, uint64_t slot)
{
	size_t mask = ((size_t)1 << leaf->bits) - 1;
	size_t i = (slot >> POINTER_BITS) & mask;
	while (leaf->slots[i] != 0) {
		i = (i + 1) & mask;
	}
	leaf->slots[i] = slot;
	leaf->count++;
}

static inline bool leaf_is_full(const struct leaf *leaf)
{
	/* Three quarters: longer runs of slots would cost more than the memory saved. */
	return leaf->count >= (3u << leaf->bits >> 2);
}
