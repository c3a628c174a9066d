/* The index by name: a persistent hash table from name_hash() to node.
 *
 * Directories of up to 256 children, by the hash's upper bits, over leaf pages of 8 to 64 slots. A
 * leaf that is full is split by one more bit, and only it: no insertion touches more than the pages
 * on its way. A directory doubles until it has 256 children, then grows new ones below it. Names
 * that agree in the upper 48 bits of their hash cannot be told apart by pages: 48 of them fit. */
#pragma once

#include "zones/retire.h"

struct node;

/* All zero: empty. A copy shares all pages with the original. */
struct nindex {
	uintptr_t root; /* a page; its kind stands in the low bits */
	size_t count;
};

/* The node of this name (any case); NULL: none. */
const struct node *nindex_find(const struct nindex *ix, uint64_t hash, const uint8_t *name);
/* The same in three steps, for look-ups side by side: each of the first two asks for the memory
 * that the next one reads. The page of a hash is 0 where there is none, and good while the table
 * does not change. 'len': the name's octets. */
uintptr_t nindex_page(const struct nindex *ix, uint64_t hash);
void nindex_page_prefetch(uintptr_t page, uint64_t hash);
const struct node *nindex_page_find(uintptr_t page, uint64_t hash, const uint8_t *name, size_t len);

/* n's name must not be in the table. ST_ENOMEM; ST_ELIMIT: too many names with like hashes. */
enum status nindex_insert(struct nindex *ix, const struct cow *cow, const struct node *n) MUST_USE;
/* 'with' has the name of 'old', which is in the table. Cannot fail where old's page is the draft's.
 */
enum status nindex_replace(struct nindex *ix, const struct cow *cow, const struct node *old,
			   const struct node *with) MUST_USE;
/* n is in the table. Cannot fail where its page is the draft's. */
enum status nindex_remove(struct nindex *ix, const struct cow *cow, const struct node *n) MUST_USE;

/* Every node once, in no order. The table must not change meanwhile; the nodes may go. */
void nindex_each(const struct nindex *ix, void (*each)(void *ctx, const struct node *n), void *ctx);

/* A table of these nodes, made at once; 'ix' is empty before, and on error. ST_ENOMEM; ST_ELIMIT:
 * too many names with like hashes. */
enum status nindex_build(struct nindex *ix, const struct cow *cow, const struct node *const *nodes,
			 size_t count) MUST_USE;

/* Frees the pages that have this stamp; 0: all. */
void nindex_free(struct nindex *ix, uint64_t stamp);
