#include "nsd-core/base/inbox.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#define SENDERS	 3
#define MESSAGES 5000

struct counter {
	uv_loop_t loop;
	struct inbox in;
	unsigned last[SENDERS];
	unsigned seen;
	unsigned out_of_order;
	unsigned elsewhere;
	uv_thread_t thread;
};

struct message {
	struct inbox_msg msg;
	struct counter *counter;
	unsigned sender;
	unsigned number; /* from 1 */
};

static void on_message(struct inbox_msg *msg)
{
	struct message *m = (struct message *)msg;
	struct counter *c = m->counter;
	uv_thread_t self = uv_thread_self();

	c->out_of_order += m->number != c->last[m->sender] + 1;
	c->elsewhere += !uv_thread_equal(&self, &c->thread);
	c->last[m->sender] = m->number;
	if (++c->seen == SENDERS * MESSAGES) {
		inbox_close(&c->in);
	}
	free(m);
}

struct sender {
	struct counter *counter;
	unsigned number;
};

static void post(struct counter *c, unsigned sender, unsigned number)
{
	struct message *m = malloc(sizeof(*m));

	assert_non_null(m);
	*m = (struct message){.counter = c, .sender = sender, .number = number};
	inbox_post(&c->in, &m->msg, on_message);
}

static void *send_all(void *arg)
{
	const struct sender *s = arg;

	for (unsigned i = 1; i <= MESSAGES; i++) {
		post(s->counter, s->number, i);
	}
	return NULL;
}

static void counter_init(struct counter *c)
{
	*c = (struct counter){.thread = uv_thread_self()};
	assert_int_equal(uv_loop_init(&c->loop), 0);
	assert_int_equal(inbox_init(&c->in, &c->loop), ST_OK);
}

/* The loop ends only when all have come: a lost wake-up is a test that hangs. */
static void all_arrive_on_the_loop_in_order(void **state)
{
	struct counter c;
	pthread_t threads[SENDERS];
	struct sender senders[SENDERS];

	(void)state;
	counter_init(&c);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){&c, i};
		assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
	}
	uv_run(&c.loop, UV_RUN_DEFAULT);
	for (unsigned i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(c.last[i], MESSAGES);
	}
	assert_int_equal(c.seen, SENDERS * MESSAGES);
	assert_int_equal(c.out_of_order, 0);
	assert_int_equal(c.elsewhere, 0);
	assert_int_equal(uv_loop_close(&c.loop), 0);
}

static void drain_runs_what_is_queued(void **state)
{
	struct counter c;

	(void)state;
	counter_init(&c);
	inbox_drain(&c.in);
	assert_int_equal(c.seen, 0);
	post(&c, 0, 1);
	post(&c, 0, 2);
	inbox_drain(&c.in);
	assert_int_equal(c.seen, 2);
	inbox_drain(&c.in);
	assert_int_equal(c.seen, 2);
	inbox_close(&c.in);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&c.loop), 0);
}

struct echo {
	struct inbox_msg msg;
	struct inbox *in;
	unsigned left;
	unsigned runs;
};

static void on_echo(struct inbox_msg *msg)
{
	struct echo *e = (struct echo *)msg;

	e->runs++;
	if (e->left-- > 0) {
		inbox_post(e->in, msg, on_echo);
	} else {
		inbox_close(e->in);
	}
}

/* A message that posts itself again is run once per turn, so that the loop gets to its other work.
 */
static void message_may_post_again(void **state)
{
	uv_loop_t loop;
	struct inbox in;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(inbox_init(&in, &loop), ST_OK);
	struct echo e = {.in = &in, .left = 3};
	inbox_post(&in, &e.msg, on_echo);
	inbox_drain(&in);
	assert_int_equal(e.runs, 1);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(e.runs, 4);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_arrive_on_the_loop_in_order),
		cmocka_unit_test(drain_runs_what_is_queued),
		cmocka_unit_test(message_may_post_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
