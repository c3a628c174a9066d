/* What must not happen while a query is answered, counted or forbidden. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct guard_counts {
	uint64_t allocations; /* malloc, calloc, realloc */
	uint64_t locks;	      /* mutexes and read-write locks of pthread */
};

/* So far, in all threads. Under a sanitizer, which has an allocator of its own, always 0. */
struct guard_counts guard_counts(void);

/* Runs work(ctx) in a child that is killed at its first system call. 1: it made none; 0: it did;
 * -1: cannot be known here (no seccomp, a sanitizer). */
int guard_no_syscalls(void (*work)(void *ctx), void *ctx);
