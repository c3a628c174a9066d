#include "nsd-core/base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

struct part {
	pthread_t thread;
	void (*run)(void *ctx, unsigned i);
	void *ctx;
	unsigned i;
	bool started;
};

unsigned parallel_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0) {
		return 1; /* more CPUs than the set has room for, which tells nothing */
	}
	unsigned count = (unsigned)CPU_COUNT(&set);
	return count < 1 ? 1 : count > PARALLEL_MAX ? PARALLEL_MAX : count;
}

static void *part_main(void *arg)
{
	const struct part *p = arg;

	p->run(p->ctx, p->i);
	return NULL;
}

void parallel_run(unsigned count, void (*run)(void *ctx, unsigned i), void *ctx)
{
	struct part parts[PARALLEL_MAX];
	sigset_t all;
	sigset_t before;

	/* A new thread takes the mask of the one that makes it: signals are not for these. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 1; i < count; i++) {
		struct part *p = &parts[i];
		*p = (struct part){.run = run, .ctx = ctx, .i = i};
		p->started = pthread_create(&p->thread, NULL, part_main, p) == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (count > 0) {
		run(ctx, 0);
	}
	for (unsigned i = 1; i < count; i++) {
		if (parts[i].started) {
			pthread_join(parts[i].thread, NULL);
		} else {
			run(ctx, i);
		}
	}
}
