#include "zones/slab.h"

#include "nsd-core/base/bulk.h"

#include <assert.h>
#include <stdint.h>

/* bulk_alloc() aligns it, so that a piece's address tells its block's. */
#define SLAB_SIZE BULK_PAGE

struct slab {
	size_t live; /* pieces in use, and one while pieces are cut */
	_Alignas(8) uint8_t octets[];
};

static void release(struct slab *s)
{
	if (--s->live == 0) {
		bulk_free(s, SLAB_SIZE);
	}
}

void *cutter_cut(struct cutter *c, size_t size)
{
	size = (size + 7) & ~(size_t)7;
	if (c->slab == NULL || c->used + size > SLAB_SIZE) {
		struct slab *s = bulk_alloc(SLAB_SIZE);
		if (s == NULL) {
			return NULL;
		}
		assert((uintptr_t)s % SLAB_SIZE == 0);
		cutter_fini(c);
		s->live = 1;
		c->slab = s;
		c->used = sizeof(*s);
	}
	void *piece = (uint8_t *)c->slab + c->used;
	c->used += size;
	c->slab->live++;
	return piece;
}

void cutter_fini(struct cutter *c)
{
	if (c->slab != NULL) {
		release(c->slab);
	}
	*c = (struct cutter){0};
}

void slab_free_piece(void *piece)
{
	release((struct slab *)((uintptr_t)piece & ~(SLAB_SIZE - 1)));
}
