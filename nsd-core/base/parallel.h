/* The same work on parts of something, on as many threads as there are CPUs to run them. */
#pragma once

/* More than this many threads do not pay where memory is what is waited for. */
#define PARALLEL_MAX 8

/* CPUs this process may run on, from 1 to PARALLEL_MAX. */
unsigned parallel_cpus(void);
/* Calls run(ctx, i) once for each i in [0, count), each on a thread of its own, and returns when
 * all have returned; the caller's thread is one of them, and does what no thread could be made for.
 * count <= PARALLEL_MAX. The calls must not wait for each other. */
void parallel_run(unsigned count, void (*run)(void *ctx, unsigned i), void *ctx);
