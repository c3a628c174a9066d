/* The index by name, made at once: nodes are parted by their hashes' upper bits until they fit
 * pages. Pages come out as if the names had been inserted one by one, but are never split. */
#include "nsd-core/base/bulk.h"
#include "zones/nindex_page.h"

#include <stdlib.h>

/* A page takes one more name only while it has fewer than this. */
#define LEAF_NAMES_MAX (3u << SLOT_BITS_MAX >> 2)
/* Names to a page that a directory of the right size leads to; what is above the mean must fit. */
#define LEAF_NAMES_MEAN 24

struct entry {
	uint64_t hash;
	const struct node *node;
};

/* Entries with 'depth' upper bits of their hash in common, and as much space to part them. */
struct share {
	struct entry *entries;
	struct entry *space;
	size_t count;
	unsigned depth;
};

static enum status build_leaf(const struct cow *cow, struct share s, uintptr_t *ref)
{
	unsigned bits = SLOT_BITS_MIN;
	while (s.count > (3u << bits >> 2)) {
		bits++;
	}
	struct leaf *leaf = calloc(1, leaf_size(bits));
	if (leaf == NULL) {
		return ST_ENOMEM;
	}
	leaf->stamp = cow->stamp;
	leaf->depth = (uint8_t)s.depth;
	leaf->bits = (uint8_t)bits;
	for (size_t i = 0; i < s.count; i++) {
		leaf_put(leaf, slot_of(s.entries[i].node));
	}
	*ref = leaf_ref(leaf);
	return ST_OK;
}

static struct dir *dir_new(const struct cow *cow, const struct share *s)
{
	unsigned bits = 1;
	while (bits < DIR_BITS_MAX && s->count >> bits > LEAF_NAMES_MEAN) {
		bits++;
	}
	struct dir *dir = calloc(1, dir_size(bits));
	if (dir != NULL) {
		dir->stamp = cow->stamp;
		dir->depth = (uint8_t)s->depth;
		dir->bits = (uint8_t)bits;
	}
	return dir;
}

/* Sorts the entries into s->space by the directory's bits. ends[i]: where those of child i end. */
static void part(const struct share *s, const struct dir *dir, size_t *ends)
{
	size_t children = (size_t)1 << dir->bits;
	size_t at = 0;
	memset(ends, 0, children * sizeof(*ends));
	for (size_t i = 0; i < s->count; i++) {
		ends[dir_index(dir, s->entries[i].hash)]++;
	}
	for (size_t i = 0; i < children; i++) {
		size_t count = ends[i];
		ends[i] = at;
		at += count;
	}
	for (size_t i = 0; i < s->count; i++) {
		s->space[ends[dir_index(dir, s->entries[i].hash)]++] = s->entries[i];
	}
}

static enum status build_ref(const struct cow *cow, struct share s, uintptr_t *ref);

/* The children [first, first + count) of a directory, 'count' a power of two: one page if their
 * names fit one, else by halves. */
static enum status build_children(const struct cow *cow, const struct share *s, struct dir *dir,
				  const size_t *ends, size_t first, size_t count)
{
	size_t start = first == 0 ? 0 : ends[first - 1];
	struct share mine = {
		.entries = s->space + start,
		.space = s->entries + start,
		.count = ends[first + count - 1] - start,
		.depth = s->depth + dir->bits,
	};
	if (mine.count == 0) {
		return ST_OK;
	}
	if (count > 1 && mine.count > LEAF_NAMES_MAX) {
		enum status st = build_children(cow, s, dir, ends, first, count / 2);
		return st != ST_OK
			       ? st
			       : build_children(cow, s, dir, ends, first + count / 2, count / 2);
	}
	for (size_t i = count; i > 1; i /= 2) {
		mine.depth--;
	}
	enum status st = build_ref(cow, mine, &dir->child[first]);
	for (size_t i = 1; i < count; i++) {
		dir->child[first + i] = dir->child[first];
	}
	return st;
}

/* *ref is set to what was made also on error, to be freed. */
static enum status build_ref(const struct cow *cow, struct share s, uintptr_t *ref)
{
	size_t ends[1u << DIR_BITS_MAX];
	if (s.count <= LEAF_NAMES_MAX) {
		return build_leaf(cow, s, ref);
	}
	if (s.depth >= DEPTH_MAX) {
		return ST_ELIMIT;
	}
	struct dir *dir = dir_new(cow, &s);
	if (dir == NULL) {
		return ST_ENOMEM;
	}
	*ref = dir_ref(dir);
	part(&s, dir, ends);
	return build_children(cow, &s, dir, ends, 0, (size_t)1 << dir->bits);
}

/* A large table is made in turns, each of the nodes whose hashes begin with the same bits: what is
 * at work then takes an eighth of the memory. */
#define TURN_BITS 3
#define TURNS	  (1u << TURN_BITS)
#define TURNS_MIN ((size_t)LEAF_NAMES_MEAN << DIR_BITS_MAX) /* above, the root has all its bits */

struct turns {
	const struct node *const *nodes;
	uint64_t *hashes; /* theirs: of a node each is in a cache line of its own */
	size_t count;
	struct entry *entries; /* for the largest turn, twice */
	size_t room;
};

static enum status turns_init(struct turns *t, const struct node *const *nodes, size_t count)
{
	size_t sizes[TURNS] = {0};
	*t = (struct turns){.nodes = nodes, .count = count};
	t->hashes = bulk_alloc(count * sizeof(*t->hashes));
	if (t->hashes == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		t->hashes[i] = nodes[i]->hash;
		sizes[t->hashes[i] >> (64 - TURN_BITS)]++;
	}
	for (unsigned i = 0; i < TURNS; i++) {
		t->room = sizes[i] > t->room ? sizes[i] : t->room;
	}
	t->entries = bulk_alloc(t->room * 2 * sizeof(*t->entries));
	return t->entries == NULL ? ST_ENOMEM : ST_OK;
}

static void turns_fini(struct turns *t)
{
	bulk_free(t->hashes, t->count * sizeof(*t->hashes));
	bulk_free(t->entries, t->room * 2 * sizeof(*t->entries));
}

static enum status take_turn(const struct turns *t, unsigned turn, const struct cow *cow,
			     struct dir *root)
{
	size_t ends[1u << DIR_BITS_MAX];
	size_t children = (size_t)1 << root->bits >> TURN_BITS;
	struct share s = {.entries = t->entries, .space = t->entries + t->room};
	for (size_t i = 0; i < t->count; i++) {
		if (t->hashes[i] >> (64 - TURN_BITS) == turn) {
			s.entries[s.count++] = (struct entry){t->hashes[i], t->nodes[i]};
		}
	}
	part(&s, root, ends);
	return build_children(cow, &s, root, ends, turn * children, children);
}

static enum status build_in_turns(struct nindex *ix, const struct cow *cow,
				  const struct node *const *nodes, size_t count)
{
	struct turns t;
	struct dir *root = dir_new(cow, &(struct share){.count = count});
	enum status st = root == NULL ? ST_ENOMEM : ST_OK;
	if (st != ST_OK) {
		return st;
	}
	ix->root = dir_ref(root);
	st = turns_init(&t, nodes, count);
	for (unsigned i = 0; st == ST_OK && i < TURNS; i++) {
		st = take_turn(&t, i, cow, root);
	}
	turns_fini(&t);
	return st;
}

static enum status build_in_one(struct nindex *ix, const struct cow *cow,
				const struct node *const *nodes, size_t count)
{
	struct entry *entries = malloc(count * 2 * sizeof(*entries));
	if (entries == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		entries[i] = (struct entry){nodes[i]->hash, nodes[i]};
	}
	struct share all = {.entries = entries, .space = entries + count, .count = count};
	enum status st = build_ref(cow, all, &ix->root);
	free(entries);
	return st;
}

enum status nindex_build(struct nindex *ix, const struct cow *cow, const struct node *const *nodes,
			 size_t count)
{
	if (count == 0) {
		return ST_OK;
	}
	enum status st = count > TURNS_MIN ? build_in_turns(ix, cow, nodes, count)
					   : build_in_one(ix, cow, nodes, count);
	ix->count = count;
	if (st != ST_OK) {
		nindex_free(ix, cow->stamp);
	}
	return st;
}
