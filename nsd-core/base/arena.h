/* A region: allocate many, free all at once. Not shared between threads. */
#pragma once

#include "nsd-core/base/status.h"

struct arena {
	struct arena_block *blocks;
	size_t block_size;
	size_t used_bytes; /* handed out since the last reset */
};

/* A block of so many octets takes a whole number of huge pages. */
#define ARENA_BLOCK_HUGE (((size_t)2 << 20) - 64)

/* block_size: octets asked from malloc at a time (larger requests get a block of their own). */
void arena_init(struct arena *a, size_t block_size);
void arena_fini(struct arena *a);
/* Forgets all allocations; keeps the first block. */
void arena_reset(struct arena *a);
/* Moves all of 'from' into 'to'; 'from' is empty after. */
void arena_take(struct arena *to, struct arena *from);
/* Aligned to 16; NULL when memory is out. */
void *arena_alloc(struct arena *a, size_t size);
/* The same without alignment, for strings and names. */
void *arena_alloc_bytes(struct arena *a, size_t size);
void *arena_copy(struct arena *a, const void *data, size_t size);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
