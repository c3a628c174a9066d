#include "nsd-core/builder.h"

#include "nsd-core/base/rcu.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#define JOBS 100

struct job {
	struct builder_job job;
	struct trace *trace;
	unsigned id;
};

struct trace {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool open; /* the gate that the first job stands at */
	bool at_gate;
	unsigned ran[JOBS];
	unsigned count;
	bool signals_blocked;
};

static void run(struct builder_job *builder_job)
{
	struct job *j = container_of(builder_job, struct job, job);
	struct trace *t = j->trace;
	sigset_t set;
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	/* Registered, or this would crash. */
	rcu_enter();
	rcu_exit();
	pthread_mutex_lock(&t->lock);
	t->signals_blocked = sigismember(&set, SIGTERM) == 1;
	t->ran[t->count++] = j->id;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}

static void wait_at_gate(struct builder_job *builder_job)
{
	struct trace *t = container_of(builder_job, struct job, job)->trace;
	pthread_mutex_lock(&t->lock);
	t->at_gate = true;
	pthread_cond_broadcast(&t->moved);
	while (!t->open) {
		pthread_cond_wait(&t->moved, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

static void wait_count(struct trace *t, unsigned count)
{
	pthread_mutex_lock(&t->lock);
	while (t->count < count) {
		pthread_cond_wait(&t->moved, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

static void at_gate(struct builder *b, struct job *gate)
{
	struct trace *t = gate->trace;
	builder_submit(b, BUILDER_ASKED, &gate->job, wait_at_gate);
	pthread_mutex_lock(&t->lock);
	while (!t->at_gate) {
		pthread_cond_wait(&t->moved, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

static void open_gate(struct trace *t)
{
	pthread_mutex_lock(&t->lock);
	t->open = true;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}

static void trace_init(struct trace *t, struct job *jobs)
{
	*t = (struct trace){.count = 0};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->moved, NULL);
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct job){.trace = t, .id = i};
	}
}

/* What somebody waits for comes first; otherwise the order is kept. */
static void test_order(void **state)
{
	struct trace t;
	struct job jobs[JOBS];
	struct builder *b = NULL;
	(void)state;
	trace_init(&t, jobs);
	assert_int_equal(builder_start("test", 1, &b), ST_OK);
	at_gate(b, &jobs[0]);
	for (unsigned i = 1; i < JOBS; i++) {
		builder_submit(b, i % 2 == 0 ? BUILDER_LATER : BUILDER_ASKED, &jobs[i].job, run);
	}
	open_gate(&t);
	wait_count(&t, JOBS - 1);
	for (unsigned i = 0; i < JOBS / 2; i++) {
		assert_int_equal(t.ran[i], 2 * i + 1);
	}
	for (unsigned i = JOBS / 2; i < JOBS - 1; i++) {
		assert_int_equal(t.ran[i], 2 * (i - JOBS / 2) + 2);
	}
	assert_true(t.signals_blocked);
	builder_stop(b);
	builder_free(b);
}

static void *open_later(void *arg)
{
	open_gate(arg);
	return NULL;
}

/* What runs is waited for, what waits is dropped, and nothing is taken afterwards. */
static void test_stop(void **state)
{
	struct trace t;
	struct job jobs[JOBS];
	struct builder *b = NULL;
	pthread_t opener;
	(void)state;
	trace_init(&t, jobs);
	assert_int_equal(builder_start("test", 1, &b), ST_OK);
	at_gate(b, &jobs[0]);
	open_gate(&t);
	builder_submit(b, BUILDER_LATER, &jobs[1].job, run);
	wait_count(&t, 1);
	t.open = false;
	t.at_gate = false;
	at_gate(b, &jobs[0]);
	assert_int_equal(pthread_create(&opener, NULL, open_later, &t), 0);
	builder_stop(b);
	pthread_join(opener, NULL);
	builder_submit(b, BUILDER_ASKED, &jobs[2].job, run);
	assert_int_equal(t.count, 1);
	builder_free(b);
	builder_stop(NULL);
	builder_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
