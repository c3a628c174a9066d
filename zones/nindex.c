#include "zones/nindex.h"

#include "zones/nindex_page.h"

#include <stdlib.h>

/* From a node's start to a place in its second cache line, where its name most likely ends. */
#define NODE_LINE 48

uintptr_t nindex_page(const struct nindex *ix, uint64_t hash)
{
	uintptr_t ref = ix->root;

	while ((ref & REF_DIR) != 0) {
		const struct dir *dir = ref_dir(ref);
		ref = dir->child[dir_index(dir, hash)];
	}
	if (ref != 0) {
		__builtin_prefetch(&ref_leaf(ref)->slots[hash & ref_mask(ref)]);
	}
	return ref;
}

void nindex_page_prefetch(uintptr_t page, uint64_t hash)
{
	if (page == 0) {
		return;
	}
	const uint64_t *slots = ref_leaf(page)->slots;
	size_t mask = ref_mask(page);
	/* A page is never full, so there is an empty slot to end at. */
	for (size_t i = hash & mask; slots[i] != 0; i = (i + 1) & mask) {
		if ((slots[i] ^ hash << POINTER_BITS) >> POINTER_BITS == 0) {
			const struct node *n = slot_node(slots[i]);
			__builtin_prefetch(n);
			__builtin_prefetch((const uint8_t *)n + NODE_LINE);
			return;
		}
	}
}

const struct node *nindex_page_find(uintptr_t page, uint64_t hash, const uint8_t *name, size_t len)
{
	if (page == 0) {
		return NULL;
	}
	const uint64_t *slots = ref_leaf(page)->slots;
	size_t mask = ref_mask(page);
	for (size_t i = hash & mask; slots[i] != 0; i = (i + 1) & mask) {
		if ((slots[i] ^ hash << POINTER_BITS) >> POINTER_BITS != 0) {
			continue;
		}
		const struct node *n = slot_node(slots[i]);
		if (n->hash == hash && n->name_len == len &&
		    name_equal_len(node_name(n), name, len)) {
			return n;
		}
	}
	return NULL;
}

const struct node *nindex_find(const struct nindex *ix, uint64_t hash, const uint8_t *name)
{
	return nindex_page_find(nindex_page(ix, hash), hash, name, name_len(name));
}

static struct leaf *leaf_new(const struct cow *cow, unsigned bits, unsigned depth)
{
	struct leaf *leaf = calloc(1, leaf_size(bits));
	if (leaf != NULL) {
		leaf->stamp = cow->stamp;
		leaf->bits = (uint8_t)bits;
		leaf->depth = (uint8_t)depth;
	}
	return leaf;
}

/* Where a page hangs: 'dir' NULL for the root. All of the page's references are dir->child[first ..
 * first + count). */
struct place_in {
	struct dir *dir;
	size_t first;
	size_t count;
};

static struct place_in place_of_leaf(struct dir *dir, uint64_t hash, const struct leaf *leaf)
{
	if (dir == NULL) {
		return (struct place_in){NULL, 0, 1};
	}
	size_t count = (size_t)1 << (dir->depth + dir->bits - leaf->depth);
	return (struct place_in){dir, dir_index(dir, hash) & ~(count - 1), count};
}

static struct place_in place_of_child(struct dir *dir, uint64_t hash)
{
	return (struct place_in){dir, dir == NULL ? 0 : dir_index(dir, hash), 1};
}

static void set_ref(struct nindex *ix, struct place_in place, uintptr_t ref)
{
	if (place.dir == NULL) {
		ix->root = ref;
		return;
	}
	for (size_t i = 0; i < place.count; i++) {
		place.dir->child[place.first + i] = ref;
	}
}

/* A copy of a page of another draft, for this one. */
static void *copy_page(const struct cow *cow, const void *page, size_t size)
{
	if (retired_reserve(cow->retired, 1) != ST_OK) {
		return NULL;
	}
	void *copy = malloc(size);
	if (copy != NULL) {
		memcpy(copy, page, size);
		memcpy(copy, &cow->stamp, sizeof(cow->stamp)); /* both kinds start with it */
		retired_add_page(cow->retired, page);
	}
	return copy;
}

/* Walks to the leaf where the hash belongs, making all pages on the way the draft's. *leaf is NULL
 * where there is none. */
static enum status own_path(struct nindex *ix, const struct cow *cow, uint64_t hash,
			    struct dir **parent, struct leaf **leaf)
{
	struct dir *above = NULL;
	uintptr_t ref = ix->root;

	while ((ref & REF_DIR) != 0) {
		struct dir *dir = ref_dir(ref);
		if (dir->stamp != cow->stamp) {
			dir = copy_page(cow, dir, dir_size(dir->bits));
			if (dir == NULL) {
				return ST_ENOMEM;
			}
			set_ref(ix, place_of_child(above, hash), dir_ref(dir));
		}
		above = dir;
		ref = dir->child[dir_index(dir, hash)];
	}
	struct leaf *found = ref_leaf(ref);
	if (found != NULL && found->stamp != cow->stamp) {
		struct leaf *copy = copy_page(cow, found, leaf_size(found->bits));
		if (copy == NULL) {
			return ST_ENOMEM;
		}
		set_ref(ix, place_of_leaf(above, hash, copy), leaf_ref(copy));
		found = copy;
	}
	*parent = above;
	*leaf = found;
	return ST_OK;
}

static enum status leaf_grow(struct nindex *ix, const struct cow *cow, struct place_in place,
			     struct leaf *leaf)
{
	struct leaf *bigger = leaf_new(cow, leaf->bits + 1u, leaf->depth);
	if (bigger == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < (size_t)1 << leaf->bits; i++) {
		if (leaf->slots[i] != 0) {
			leaf_put(bigger, leaf->slots[i]);
		}
	}
	set_ref(ix, place, leaf_ref(bigger));
	free(leaf);
	return ST_OK;
}

/* Gives the leaf, which has all of its hash bits used up by 'dir', two references: doubles the
 * directory, or puts a new one below it. */
static enum status dir_deepen(struct nindex *ix, const struct cow *cow, uint64_t hash,
			      struct dir *dir, struct leaf *leaf)
{
	bool below = dir == NULL || dir->bits == DIR_BITS_MAX;
	unsigned bits = below ? 1 : dir->bits + 1u;
	struct dir *made = malloc(dir_size(bits));
	if (made == NULL) {
		return ST_ENOMEM;
	}
	made->stamp = cow->stamp;
	made->bits = (uint8_t)bits;
	if (below) {
		made->depth = leaf->depth;
		made->child[0] = made->child[1] = leaf_ref(leaf);
		set_ref(ix, place_of_child(dir, hash), dir_ref(made));
		return ST_OK;
	}
	made->depth = dir->depth;
	for (size_t i = 0; i < (size_t)1 << bits; i++) {
		made->child[i] = dir->child[i / 2];
	}
	/* Only the root's parent is NULL; any other directory hangs in one place of one other. */
	struct dir *above = NULL;
	for (uintptr_t ref = ix->root; ref_dir(ref) != dir;) {
		above = ref_dir(ref);
		ref = above->child[dir_index(above, hash)];
	}
	set_ref(ix, place_of_child(above, hash), dir_ref(made));
	free(dir);
	return ST_OK;
}

/* Splits a full leaf by one more bit of the hash. */
static enum status leaf_split(struct nindex *ix, const struct cow *cow, struct place_in place,
			      struct leaf *leaf)
{
	struct leaf *half[2];
	half[0] = leaf_new(cow, leaf->bits, leaf->depth + 1u);
	half[1] = leaf_new(cow, leaf->bits, leaf->depth + 1u);
	if (half[0] == NULL || half[1] == NULL) {
		free(half[0]);
		free(half[1]);
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < (size_t)1 << leaf->bits; i++) {
		if (leaf->slots[i] != 0) {
			uint64_t hash = slot_node(leaf->slots[i])->hash;
			leaf_put(half[hash << leaf->depth >> 63], leaf->slots[i]);
		}
	}
	place.count /= 2;
	set_ref(ix, place, leaf_ref(half[0]));
	place.first += place.count;
	set_ref(ix, place, leaf_ref(half[1]));
	free(leaf);
	return ST_OK;
}

static enum status make_room(struct nindex *ix, const struct cow *cow, uint64_t hash,
			     struct dir *dir, struct leaf *leaf)
{
	if (leaf->bits < SLOT_BITS_MAX) {
		return leaf_grow(ix, cow, place_of_leaf(dir, hash, leaf), leaf);
	}
	if (leaf->depth >= DEPTH_MAX) {
		return ST_ELIMIT;
	}
	if (dir == NULL || leaf->depth == dir->depth + dir->bits) {
		return dir_deepen(ix, cow, hash, dir, leaf);
	}
	return leaf_split(ix, cow, place_of_leaf(dir, hash, leaf), leaf);
}

static enum status first_leaf(struct nindex *ix, const struct cow *cow, uint64_t hash,
			      struct dir *dir, struct leaf **out)
{
	unsigned depth = dir == NULL ? 0 : dir->depth + dir->bits;
	struct leaf *leaf = leaf_new(cow, SLOT_BITS_MIN, depth);
	if (leaf == NULL) {
		return ST_ENOMEM;
	}
	set_ref(ix, place_of_child(dir, hash), leaf_ref(leaf));
	*out = leaf;
	return ST_OK;
}

enum status nindex_insert(struct nindex *ix, const struct cow *cow, const struct node *n)
{
	for (;;) {
		struct dir *dir;
		struct leaf *leaf;
		enum status st = own_path(ix, cow, n->hash, &dir, &leaf);
		if (st == ST_OK && leaf == NULL) {
			st = first_leaf(ix, cow, n->hash, dir, &leaf);
		}
		if (st != ST_OK) {
			return st;
		}
		if (!leaf_is_full(leaf)) {
			leaf_put(leaf, slot_of(n));
			ix->count++;
			return ST_OK;
		}
		st = make_room(ix, cow, n->hash, dir, leaf);
		if (st != ST_OK) {
			return st;
		}
	}
}

static size_t slot_index(const struct leaf *leaf, const struct node *n)
{
	size_t mask = ((size_t)1 << leaf->bits) - 1;
	uint64_t slot = slot_of(n);
	size_t i = n->hash & mask;
	while (leaf->slots[i] != slot) {
		assert(leaf->slots[i] != 0);
		i = (i + 1) & mask;
	}
	return i;
}

enum status nindex_replace(struct nindex *ix, const struct cow *cow, const struct node *old,
			   const struct node *with)
{
	struct dir *dir;
	struct leaf *leaf;
	enum status st = own_path(ix, cow, old->hash, &dir, &leaf);
	if (st == ST_OK) {
		leaf->slots[slot_index(leaf, old)] = slot_of(with);
	}
	return st;
}

enum status nindex_remove(struct nindex *ix, const struct cow *cow, const struct node *n)
{
	struct dir *dir;
	struct leaf *leaf;
	enum status st = own_path(ix, cow, n->hash, &dir, &leaf);
	if (st != ST_OK) {
		return st;
	}
	ix->count--;
	if (--leaf->count == 0) {
		set_ref(ix, place_of_leaf(dir, n->hash, leaf), 0);
		free(leaf);
		return ST_OK;
	}
	/* Close the gap: a later slot of the run moves up unless it would come before its home. */
	size_t mask = ((size_t)1 << leaf->bits) - 1;
	size_t gap = slot_index(leaf, n);
	for (size_t i = (gap + 1) & mask; leaf->slots[i] != 0; i = (i + 1) & mask) {
		size_t home = (leaf->slots[i] >> POINTER_BITS) & mask;
		if (((i - home) & mask) >= ((i - gap) & mask)) {
			leaf->slots[gap] = leaf->slots[i];
			gap = i;
		}
	}
	leaf->slots[gap] = 0;
	return ST_OK;
}

static void free_ref(uintptr_t ref, uint64_t stamp)
{
	if ((ref & REF_DIR) == 0) {
		struct leaf *leaf = ref_leaf(ref);
		if (leaf != NULL && (stamp == 0 || leaf->stamp == stamp)) {
			free(leaf);
		}
		return;
	}
	struct dir *dir = ref_dir(ref);
	/* A draft's page hangs below the draft's pages only. */
	if (stamp != 0 && dir->stamp != stamp) {
		return;
	}
	uintptr_t last = 0;
	for (size_t i = 0; i < (size_t)1 << dir->bits; i++) {
		if (dir->child[i] != last) {
			last = dir->child[i];
			free_ref(last, stamp);
		}
	}
	free(dir);
}

static void each_in(uintptr_t ref, void (*each)(void *ctx, const struct node *n), void *ctx)
{
	if ((ref & REF_DIR) != 0) {
		const struct dir *dir = ref_dir(ref);
		uintptr_t last = 0;
		for (size_t i = 0; i < (size_t)1 << dir->bits; i++) {
			if (dir->child[i] != last) {
				last = dir->child[i];
				each_in(last, each, ctx);
			}
		}
		return;
	}
	for (size_t i = 0; ref != 0 && i <= ref_mask(ref); i++) {
		uint64_t slot = ref_leaf(ref)->slots[i];
		if (slot != 0) {
			each(ctx, slot_node(slot));
		}
	}
}

void nindex_each(const struct nindex *ix, void (*each)(void *ctx, const struct node *n), void *ctx)
{
	each_in(ix->root, each, ctx);
}

void nindex_free(struct nindex *ix, uint64_t stamp)
{
	free_ref(ix->root, stamp);
	*ix = (struct nindex){0};
}
