#include "nsd-core/base/rcu.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define READERS 3
#define ROUNDS	3000

struct object {
	struct rcu_node rcu;
	uint64_t value;
	uint64_t same; /* always the value: a reader that sees them differ saw a reclaimed object */
	_Atomic(unsigned) *freed;
};

static void object_reclaim(struct rcu_node *node)
{
	struct object *o = container_of(node, struct object, rcu);

	atomic_fetch_add(o->freed, 1);
	o->value = 0;
	o->same = 1;
	free(o);
}

static struct object *object_new(uint64_t value, _Atomic(unsigned) *freed)
{
	struct object *o = malloc(sizeof(*o));

	assert_non_null(o);
	*o = (struct object){.value = value, .same = value, .freed = freed};
	return o;
}

struct shared {
	struct object *cur;
	_Atomic(bool) stop;
	_Atomic(unsigned) freed;
	_Atomic(unsigned) torn;
	_Atomic(unsigned) back; /* a reader saw an older object after a newer one */
	_Atomic(unsigned) reads;
};

static void *reader(void *arg)
{
	struct shared *s = arg;
	uint64_t last = 0;

	rcu_thread_register();
	while (!atomic_load(&s->stop)) {
		rcu_enter();
		const struct object *o = rcu_load(&s->cur);
		uint64_t value = o->value;
		atomic_fetch_add(&s->torn, o->same != value);
		atomic_fetch_add(&s->back, value < last);
		last = value;
		rcu_exit();
		atomic_fetch_add(&s->reads, 1);
	}
	rcu_thread_unregister();
	return NULL;
}

static void readers_never_see_what_is_reclaimed(void **state)
{
	struct shared s = {.cur = NULL};
	pthread_t threads[READERS];

	(void)state;
	s.cur = object_new(1, &s.freed);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &s), 0);
	}
	uint64_t round = 2;
	for (; round < ROUNDS || atomic_load(&s.reads) < ROUNDS; round++) {
		struct object *old = s.cur;
		rcu_publish(&s.cur, object_new(round, &s.freed));
		rcu_defer(&old->rcu, object_reclaim);
	}
	atomic_store(&s.stop, true);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
	rcu_drain();
	assert_int_equal(atomic_load(&s.freed), round - 2);
	assert_int_equal(atomic_load(&s.torn), 0);
	assert_int_equal(atomic_load(&s.back), 0);
	free(s.cur);
}

struct plain {
	struct rcu_node rcu;
	unsigned in;
	unsigned *out;
};

static void plain_reclaim(struct rcu_node *node)
{
	struct plain *p = container_of(node, struct plain, rcu);

	*p->out += p->in;
	free(p);
}

/* Deferring and draining order plain memory by themselves, without any lock or atomic of the
 * caller: ThreadSanitizer judges. */
static void defer_and_drain_order_memory(void **state)
{
	unsigned sum = 0;

	(void)state;
	for (unsigned i = 1; i <= 10; i++) {
		struct plain *p = malloc(sizeof(*p));
		assert_non_null(p);
		*p = (struct plain){.in = i, .out = &sum};
		rcu_defer(&p->rcu, plain_reclaim);
	}
	rcu_drain();
	assert_int_equal(sum, 55);
}

struct gate {
	_Atomic(int) inside;
	_Atomic(bool) leave;
};

static void *long_reader(void *arg)
{
	struct gate *g = arg;

	rcu_thread_register();
	rcu_enter();
	atomic_store(&g->inside, 1);
	while (!atomic_load(&g->leave)) {
		sched_yield();
	}
	rcu_exit();
	rcu_thread_unregister();
	return NULL;
}

/* An open read section holds back what is deferred after it began. */
static void reclaim_waits_for_readers(void **state)
{
	struct gate g = {.inside = 0};
	_Atomic(unsigned) freed = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, long_reader, &g), 0);
	while (!atomic_load(&g.inside)) {
		sched_yield();
	}
	struct object *o = object_new(1, &freed);
	rcu_defer(&o->rcu, object_reclaim);
	for (int i = 0; i < 1000; i++) {
		sched_yield();
	}
	assert_int_equal(atomic_load(&freed), 0);
	atomic_store(&g.leave, true);
	rcu_drain();
	assert_int_equal(atomic_load(&freed), 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void sections_nest_and_are_known(void **state)
{
	(void)state;
	rcu_thread_register();
#ifndef NDEBUG
	assert_false(rcu_inside());
#endif
	rcu_enter();
	assert_true(rcu_inside());
	rcu_enter();
	assert_true(rcu_inside());
	rcu_exit();
	assert_true(rcu_inside());
	rcu_exit();
#ifndef NDEBUG
	assert_false(rcu_inside());
#endif
	rcu_thread_unregister();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_never_see_what_is_reclaimed),
		cmocka_unit_test(defer_and_drain_order_memory),
		cmocka_unit_test(reclaim_waits_for_readers),
		cmocka_unit_test(sections_nest_and_are_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
