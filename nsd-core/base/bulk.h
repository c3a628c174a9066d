/* Buffers that may be large. A small one is malloc's; a large one comes from the system, in huge
 * pages where there are any, and goes back to it when it is freed: what a million records needed is
 * not kept, and costs one page fault for 512. */
#pragma once

#include <stddef.h>

/* Contents undefined. NULL when memory is out. size > 0. Of BULK_PAGE octets or more: at a multiple
 * of BULK_PAGE. */
void *bulk_alloc(size_t size);
/* As realloc(), size >= old; p NULL with old 0, or of that size. On failure p is as it was. */
void *bulk_grow(void *p, size_t old, size_t size);
void bulk_free(void *p, size_t size); /* takes NULL */
/* The octets from 'from' to 'to' of a buffer of 'size' are not needed any more: the whole pages of
 * BULK_PAGE octets among them, counted from its start, go back now. What they hold is undefined. */
#define BULK_PAGE ((size_t)2 << 20)
void bulk_discard(void *p, size_t size, size_t from, size_t to);
