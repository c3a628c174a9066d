#include "nsd-core/base/bulk.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* From here on a mapping of its own: below, malloc is faster, and a page rounded up would count. */
#define LARGE ((size_t)1 << 20)
#define HUGE  BULK_PAGE

static size_t rounded(size_t size)
{
	size_t to = size >= HUGE ? HUGE : (size_t)4096;

	return (size + to - 1) & ~(to - 1);
}

/* Where the kernel has no huge pages they are small ones. */
static void advise(void *p, size_t size)
{
	(void)madvise(p, size, MADV_HUGEPAGE);
}

/* Huge pages must lie at multiples of their size: more is mapped, and the ends given back. */
static void *map(size_t size)
{
	size_t slack = size >= HUGE ? HUGE : 0;
	uint8_t *p = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	if (p == MAP_FAILED) {
		return NULL;
	}
	if (slack > 0) {
		size_t before = (HUGE - (uintptr_t)p % HUGE) % HUGE;
		if (before > 0) {
			munmap(p, before);
		}
		if (slack > before) {
			munmap(p + before + size, slack - before);
		}
		p += before;
		advise(p, size);
	}
	return p;
}

void *bulk_alloc(size_t size)
{
	if (size > SIZE_MAX / 2) {
		return NULL;
	}
	return size < LARGE ? malloc(size) : map(rounded(size));
}

void *bulk_grow(void *p, size_t old, size_t size)
{
	if (size < LARGE && old < LARGE) {
		return realloc(p, size);
	}
	if (old >= LARGE && rounded(old) == rounded(size)) {
		return p;
	}
	void *more = bulk_alloc(size);
	if (more == NULL) {
		return NULL;
	}
	if (old >= LARGE) {
		/* Page tables are moved, not octets; and all of the new place becomes one mapping,
		 * since Linux before 6.17 cannot move what lies in several. */
		void *moved =
			mremap(p, rounded(old), rounded(size), MREMAP_MAYMOVE | MREMAP_FIXED, more);
		if (moved == MAP_FAILED) {
			/* The place may be free again by now, and another thread's. */
			return NULL;
		}
		advise(more, rounded(size));
		return more;
	}
	if (old > 0) {
		memcpy(more, p, old);
	}
	bulk_free(p, old);
	return more;
}

void bulk_free(void *p, size_t size)
{
	if (size < LARGE) {
		free(p);
	} else if (p != NULL) {
		munmap(p, rounded(size));
	}
}

void bulk_discard(void *p, size_t size, size_t from, size_t to)
{
	size_t start = (from + BULK_PAGE - 1) / BULK_PAGE * BULK_PAGE;
	size_t end = to / BULK_PAGE * BULK_PAGE;

	if (size >= HUGE && start < end) {
		/* Should the kernel refuse, they are kept a little longer. */
		(void)madvise((uint8_t *)p + start, end - start, MADV_DONTNEED);
	}
}
