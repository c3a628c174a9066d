#include "tests/unit/engine_fixture.h"

#include <sched.h>

#define THREADS 4

static void a_pass_fills_every_slot(void **state)
{
	(void)state;
	for (int in_process = 0; in_process < 2; in_process++) {
		struct engine e;
		struct list l;
		engine_start(&e, in_process != 0, in_process != 0);
		fake_start(&e.ksk_store);
		fake_start(&e.zsk_store);
		list_rrsets(e.v, &l);
		assert_int_equal(l.filled, 0);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		list_rrsets(e.v, &l);
		assert_int_equal(l.filled, l.count);
		assert_int_equal(l.count, 16);
		assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
		assert_int_equal(atomic_load(&e.zsk->signed_count), l.count - 1);
		/* Twice the sessions of both keystores, and never the queue of the questions. */
		assert_in_range(e.zsk_store.most_waiting[HSM_BATCH], 0, 8);
		assert_int_equal(e.zsk_store.most_waiting[HSM_QUERY], 0);
		assert_int_equal(atomic_load(&e.settled.count), 0);
		/* Nothing is left to do. */
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		assert_int_equal(atomic_load(&e.zsk->signed_count), l.count - 1);
		engine_end(&e);
	}
}

struct pass {
	struct engine *e;
	_Atomic(bool) stop;
	enum status result;
};

static void *pass_main(void *arg)
{
	struct pass *p = arg;
	p->result = signer_complete(p->e->signer, p->e->v, &p->stop);
	return NULL;
}

/* Until the store holds this many jobs of a pass. */
static void await_batch(struct keystore *ks, size_t count)
{
	for (;;) {
		pthread_mutex_lock(&ks->lock);
		size_t waiting = ks->waiting[HSM_BATCH];
		pthread_mutex_unlock(&ks->lock);
		if (waiting >= count) {
			return;
		}
		sched_yield();
	}
}

static void a_pass_is_bounded_joined_and_stopped(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	pthread_t thread;
	engine_start(&e, false, false);
	struct pass p = {.e = &e};
	assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
	/* Two keystores with two sessions each: eight in flight, one of which the KSK's. */
	await_batch(&e.zsk_store, 7);
	list_rrsets(e.v, &l);
	assert_int_equal(l.signing, 8);

	/* What is in flight is joined by a question, which is told; what is not does not wait. */
	assert_int_equal(want_as(&e, "example.com", RR_SOA, false), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	assert_int_equal(want(&e, "safe.example.com", RR_DS), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);
	assert_int_equal(fake_run(&e.zsk_store, 1), 1);
	assert_non_null(rrset_sigs(rrset_at(e.v, "safe.example.com", RR_DS)));
	assert_int_equal(atomic_load(&e.settled.count), 1);
	/* A question in a hurry takes it out of the background's queue. */
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);

	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(p.result, ST_EREFUSED);
	/* The pass is over; what it left in flight still settles. */
	fake_run(&e.zsk_store, SIZE_MAX);
	fake_run(&e.ksk_store, SIZE_MAX);
	assert_int_equal(atomic_load(&e.settled.count), 2);
	assert_ptr_equal(atomic_load(&e.settled.last), e.v->soa);
	list_rrsets(e.v, &l);
	assert_int_equal(l.signing, 0);
	assert_in_range(l.filled, 9, l.count - 1);
	engine_end(&e);
}

static void a_full_queue_holds_a_pass_up(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	e.zsk_store.queue_max = 1;
	fake_start(&e.ksk_store);
	fake_start(&e.zsk_store);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	assert_int_equal(e.zsk_store.most_waiting[HSM_BATCH], 1);
	engine_end(&e);
}

static void a_pass_waits_for_what_others_sign(void **state)
{
	static const enum status faults[] = {ST_EAGAIN, ST_OK};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct engine e;
		struct list l;
		pthread_t thread;
		engine_start(&e, false, false);
		struct pass p = {.e = &e};
		assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
		fake_start(&e.zsk_store);
		assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
		/* When all else is signed the pass has been past the question's RRset. */
		do {
			sched_yield();
			list_rrsets(e.v, &l);
		} while (l.filled < l.count - 1);
		atomic_store(&e.ksk_store.fault, (int)faults[i]);
		assert_int_equal(fake_run(&e.ksk_store, 1), 1);
		pthread_join(thread, NULL);
		assert_int_equal(p.result, faults[i]);
		engine_end(&e);
	}
}

static void one_keystore_away_does_not_stop_the_other(void **state)
{
	static const struct {
		const char *name;
		bool in_process;
		bool no_handle;
		enum status fault;
	} cases[] = {
		{"it fails", false, false, ST_EAGAIN},
		{"it fails here", true, false, ST_ECRYPTO},
		{"the key has no handle", false, true, ST_OK},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct engine e;
		struct list l;
		engine_start(&e, cases[i].in_process, false);
		struct hsm_key *handle = e.ks->keys[0].handle;
		if (cases[i].no_handle) {
			atomic_store(&e.ks->keys[0].handle, NULL);
		}
		atomic_store(&e.ksk_store.fault, (int)cases[i].fault);
		fake_start(&e.ksk_store);
		fake_start(&e.zsk_store);
		print_message("%s\n", cases[i].name);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_EAGAIN);
		list_rrsets(e.v, &l);
		assert_int_equal(l.filled, l.count - 1);
		assert_null(rrset_sigs(rrset_at(e.v, "example.com", RR_DNSKEY)));
		atomic_store(&e.ksk_store.fault, ST_OK);
		atomic_store(&e.ks->keys[0].handle, handle);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		engine_end(&e);
	}
}

static void a_failing_key_ends_its_part_of_a_pass(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	engine_start(&e, true, true);
	atomic_store(&e.zsk_store.fault, ST_ECRYPTO);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_EAGAIN);
	list_rrsets(e.v, &l);
	assert_int_equal(l.filled, 1);
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	engine_end(&e);
}

static void a_list_is_signed(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	engine_start(&e, false, false);
	fake_start(&e.ksk_store);
	fake_start(&e.zsk_store);
	list_rrsets(e.v, &l);
	/* What carries no signature may stand in the list. */
	const struct node *nodes[3] = {l.nodes[3], node_at(e.v, "ns.cut.example.com"), l.nodes[7]};
	struct rrset *rrsets[3] = {l.rrsets[3], rrset_at(e.v, "ns.cut.example.com", RR_A),
				   l.rrsets[7]};
	assert_int_equal(signer_sign_list(e.signer, e.v, nodes, rrsets, 3, NULL), ST_OK);
	assert_non_null(rrset_sigs(l.rrsets[3]));
	assert_non_null(rrset_sigs(l.rrsets[7]));
	assert_null(rrset_sigs(rrsets[1]));
	list_rrsets(e.v, &l);
	assert_int_equal(l.filled, 2);
	_Atomic(bool) stop = true;
	assert_int_equal(signer_sign_list(e.signer, e.v, l.nodes, l.rrsets, l.count, &stop),
			 ST_EREFUSED);
	engine_end(&e);
}

struct asker {
	struct engine *e;
	const struct list *l;
	size_t first;
	size_t busy;
};

static void *asker_main(void *arg)
{
	struct asker *a = arg;
	const struct list *l = a->l;
	for (size_t i = 0; i < l->count; i++) {
		size_t k = (a->first + i) % l->count;
		enum status st = signer_want(a->e->signer, a->e->v, l->nodes[k], l->rrsets[k],
					     a->first % 2 == 0);
		if (st == ST_EBUSY) {
			a->busy++;
		} else if (st != ST_OK) {
			abort();
		}
	}
	return NULL;
}

static void run_at_once(bool in_process, bool with_pass)
{
	struct engine e;
	struct list l;
	pthread_t threads[THREADS + 2];
	struct asker askers[THREADS];
	engine_start(&e, in_process, in_process);
	struct pass passes[2] = {{.e = &e}, {.e = &e}};
	fake_start(&e.ksk_store);
	fake_start(&e.zsk_store);
	list_rrsets(e.v, &l);
	for (size_t i = 0; i < THREADS; i++) {
		askers[i] = (struct asker){.e = &e, .l = &l, .first = i * 3};
		assert_int_equal(pthread_create(&threads[i], NULL, asker_main, &askers[i]), 0);
	}
	for (size_t i = 0; with_pass && i < 2; i++) {
		assert_int_equal(pthread_create(&threads[THREADS + i], NULL, pass_main, &passes[i]),
				 0);
	}
	size_t busy = 0;
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		busy += askers[i].busy;
	}
	for (size_t i = 0; with_pass && i < 2; i++) {
		pthread_join(threads[THREADS + i], NULL);
		assert_int_equal(passes[i].result, ST_OK);
	}
	/* Ends the lanes, so that all is settled. */
	fake_fini(&e.ksk_store);
	fake_fini(&e.zsk_store);
	list_rrsets(e.v, &l);
	assert_int_equal(l.filled, l.count);
	assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
	assert_int_equal(atomic_load(&e.zsk->signed_count), l.count - 1);
	/* Who had to wait was told, at the latest when the RRset was done. */
	assert_true(busy == 0 || atomic_load(&e.settled.count) > 0);
	assert_int_equal(atomic_load(&e.settled.failed), 0);
	assert_true(atomic_load(&e.settled.count) <= l.count);
	fake_init(&e.ksk_store, "cloud", false);
	fake_init(&e.zsk_store, "local", false);
	engine_end(&e);
}

static void each_is_signed_once_however_many_ask(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		run_at_once(i % 2 == 0, i % 3 == 0);
	}
}

/* One waits for each RRset, and must be told of each. */
struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	const struct rrset *told;
};

static void waiter_settled(void *ctx, const struct rrset *rs, enum status result)
{
	struct waiter *w = ctx;
	(void)result;
	pthread_mutex_lock(&w->lock);
	w->told = rs;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void no_wake_is_lost(void **state)
{
	(void)state;
	for (int round = 0; round < 100; round++) {
		struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};
		struct signer_options opt = {.settled = waiter_settled, .ctx = &w};
		struct engine e;
		struct list l;
		pthread_t thread;
		engine_start(&e, false, false);
		signer_free(e.signer);
		assert_int_equal(signer_new(&opt, &e.signer), ST_OK);
		struct pass p = {.e = &e};
		fake_start(&e.ksk_store);
		fake_start(&e.zsk_store);
		list_rrsets(e.v, &l);
		assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
		for (size_t i = 0; i < l.count; i++) {
			enum status st = signer_want(e.signer, e.v, l.nodes[i], l.rrsets[i], true);
			/* Without the wake this waits for ever, and the test runs out of time. */
			pthread_mutex_lock(&w.lock);
			while (st == ST_EBUSY && w.told != l.rrsets[i]) {
				pthread_cond_wait(&w.cond, &w.lock);
			}
			pthread_mutex_unlock(&w.lock);
			assert_non_null(rrset_sigs(l.rrsets[i]));
		}
		pthread_join(thread, NULL);
		assert_int_equal(p.result, ST_OK);
		engine_end(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pass_fills_every_slot),
		cmocka_unit_test(a_pass_is_bounded_joined_and_stopped),
		cmocka_unit_test(a_full_queue_holds_a_pass_up),
		cmocka_unit_test(a_pass_waits_for_what_others_sign),
		cmocka_unit_test(one_keystore_away_does_not_stop_the_other),
		cmocka_unit_test(a_failing_key_ends_its_part_of_a_pass),
		cmocka_unit_test(a_list_is_signed),
		cmocka_unit_test(each_is_signed_once_however_many_ask),
		cmocka_unit_test(no_wake_is_lost),
	};
	return cmocka_run_group_tests_name("signer_pass", tests, NULL, NULL);
}
