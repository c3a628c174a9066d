/* Memory for what a large zone is made of at once: pieces cut from large blocks. The blocks come
 * from the system in huge pages, where malloc() would take a page fault for each 4 KB and, on a
 * thread, a call of mprotect() too; together these were half of what building took. A block goes
 * back when the last of its pieces is freed: what later versions replace name by name is kept as
 * long as neighbours live, at most what the zone took when it was made. */
#pragma once

#include <stddef.h>

#define SLAB_PIECE_MAX ((size_t)32 << 10)

struct slab;

/* All zero: no block yet. One thread cuts. */
struct cutter {
	struct slab *slab;
	size_t used;
};

/* Aligned to 8. size <= SLAB_PIECE_MAX. NULL: no memory. */
void *cutter_cut(struct cutter *c, size_t size);
/* Gives up the block at work; the pieces live on. */
void cutter_fini(struct cutter *c);
/* Those of one block are freed one after the other, by whichever threads. */
void slab_free_piece(void *piece);
