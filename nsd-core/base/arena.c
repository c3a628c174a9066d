#include "nsd-core/base/arena.h"

#include "nsd-core/base/bulk.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ARENA_ALIGN 16

/* The list's head is the block that requests are cut from. */
struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	_Alignas(ARENA_ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t block_size)
{
	*a = (struct arena){.block_size = block_size};
}

static void block_free(struct arena_block *b)
{
	bulk_free(b, sizeof(*b) + b->size);
}

static void blocks_free(struct arena_block *b)
{
	while (b != NULL) {
		struct arena_block *next = b->next;
		block_free(b);
		b = next;
	}
}

void arena_fini(struct arena *a)
{
	blocks_free(a->blocks);
	arena_init(a, a->block_size);
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = a->blocks;

	a->used_bytes = 0;
	if (keep == NULL) {
		return;
	}
	blocks_free(keep->next);
	keep->next = NULL;
	keep->used = 0;
	/* A block made for one large request is not kept, lest one outlier hold memory for ever. */
	if (keep->size > a->block_size) {
		block_free(keep);
		a->blocks = NULL;
	}
}

static struct arena_block *block_new(size_t size)
{
	if (size > SIZE_MAX - sizeof(struct arena_block)) {
		return NULL;
	}
	struct arena_block *b = bulk_alloc(sizeof(*b) + size);
	if (b != NULL) {
		b->next = NULL;
		b->size = size;
		b->used = 0;
	}
	return b;
}

/* A request that the head block cannot take. */
static void *arena_alloc_slow(struct arena *a, size_t size)
{
	bool large = size > a->block_size;
	struct arena_block *b = block_new(large ? size : a->block_size);

	if (b == NULL) {
		return NULL;
	}
	b->used = size;
	a->used_bytes += size;
	if (large && a->blocks != NULL) {
		/* Behind the head, which still has room for small requests. */
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		b->next = a->blocks;
		a->blocks = b;
	}
	return b->data;
}

void arena_take(struct arena *to, struct arena *from)
{
	struct arena_block **end = &to->blocks;

	/* Behind the head, whose room is still of use. */
	while (*end != NULL) {
		end = &(*end)->next;
	}
	*end = from->blocks;
	to->used_bytes += from->used_bytes;
	arena_init(from, from->block_size);
}

static void *arena_cut(struct arena *a, size_t size, size_t align)
{
	struct arena_block *b = a->blocks;

	if (b != NULL) {
		size_t at = (b->used + align - 1) & ~(align - 1);
		if (at <= b->size && size <= b->size - at) {
			b->used = at + size;
			a->used_bytes += size;
			return b->data + at;
		}
	}
	return arena_alloc_slow(a, size);
}

void *arena_alloc(struct arena *a, size_t size)
{
	return arena_cut(a, size, ARENA_ALIGN);
}

void *arena_alloc_bytes(struct arena *a, size_t size)
{
	return arena_cut(a, size, 1);
}

void *arena_copy(struct arena *a, const void *data, size_t size)
{
	void *p = arena_alloc_bytes(a, size);

	if (p != NULL && size > 0) {
		memcpy(p, data, size);
	}
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *text = len >= 0 ? arena_alloc_bytes(a, (size_t)len + 1) : NULL;
	if (text != NULL) {
		va_start(ap, fmt);
		vsnprintf(text, (size_t)len + 1, fmt, ap);
		va_end(ap);
	}
	return text;
}
