#include "tests/unit/engine_fixture.h"

#include <sched.h>
#include <time.h>

/* Passes whose keys are in the process, on several threads. */

#define NAMES	1500 /* more than the helpers' queue holds */
#define THREADS 4

/* Two RRsets a name, and what stands at the apex. */
static char *big_zone(void)
{
	size_t room = 4096 + NAMES * 32;
	char *text = malloc(room);
	assert_non_null(text);
	size_t len = (size_t)snprintf(text, room, "%s", zone);
	for (unsigned i = 0; i < NAMES; i++) {
		len += (size_t)snprintf(text + len, room - len, "h%u A 192.0.2.1\n", i);
	}
	return text;
}

static void big_start(struct engine *e, bool ksk_in_process, unsigned threads)
{
	struct signer_options opt = {.settled = on_settled, .ctx = &e->settled, .threads = threads};
	char *text = big_zone();
	engine_start(e, ksk_in_process, true);
	signer_free(e->signer);
	assert_int_equal(signer_new(&opt, &e->signer), ST_OK);
	version_unref(e->v);
	e->v = version_from_text("example.com", text, NULL, e->ks, false);
	free(text);
}

struct tally {
	size_t count, filled, signing;
	/* All that carry signatures. */
	const struct node *nodes[3 * NAMES];
	struct rrset *rrsets[3 * NAMES];
};

static enum status tally_each(void *ctx, const struct node *n)
{
	struct tally *t = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		if (signer_covers(n, n->rrsets[i])) {
			t->nodes[t->count] = n;
			t->rrsets[t->count++] = n->rrsets[i];
			t->filled += rrset_sigs(n->rrsets[i]) != NULL;
			t->signing += atomic_load(&n->rrsets[i]->sig_state) == SIG_SIGNING;
		}
	}
	return ST_OK;
}

static struct tally *tally_of(const struct version *v)
{
	static struct tally t;
	memset(&t, 0, sizeof(t));
	assert_int_equal(version_walk(v, tally_each, &t), ST_OK);
	return &t;
}

static void each_is_signed_once(void **state)
{
	(void)state;
	for (unsigned threads = 0; threads <= THREADS; threads++) {
		struct engine e;
		big_start(&e, true, threads);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		struct tally *t = tally_of(e.v);
		assert_int_equal(t->count, 16 + 2 * NAMES);
		assert_int_equal(t->filled, t->count);
		assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
		assert_int_equal(atomic_load(&e.zsk->signed_count), t->count - 1);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		assert_int_equal(atomic_load(&e.zsk->signed_count), t->count - 1);
		engine_end(&e);
	}
}

/* The apex's keys may be elsewhere: they go their way, and the pass waits for them. */
static void keys_elsewhere_go_their_way(void **state)
{
	(void)state;
	struct engine e;
	big_start(&e, false, THREADS);
	fake_start(&e.ksk_store);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	struct tally *t = tally_of(e.v);
	assert_int_equal(t->filled, t->count);
	assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
	engine_end(&e);
}

static void a_long_list_is_signed(void **state)
{
	(void)state;
	struct engine e;
	big_start(&e, true, THREADS);
	struct tally *t = tally_of(e.v);
	size_t count = t->count - 100;
	assert_int_equal(signer_sign_list(e.signer, e.v, t->nodes, t->rrsets, count, NULL), ST_OK);
	t = tally_of(e.v);
	assert_int_equal(t->filled, count);
	for (size_t i = 0; i < t->count; i++) {
		assert_int_equal(rrset_sigs(t->rrsets[i]) != NULL, i < count);
	}
	engine_end(&e);
}

static void a_failing_key_ends_its_part(void **state)
{
	(void)state;
	struct engine e;
	big_start(&e, true, THREADS);
	atomic_store(&e.zsk_store.fault, ST_ECRYPTO);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_EAGAIN);
	struct tally *t = tally_of(e.v);
	assert_int_equal(t->filled, 1);
	assert_int_equal(t->signing, 0);
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	t = tally_of(e.v);
	assert_int_equal(t->filled, t->count);
	engine_end(&e);
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

/* Whenever it is told: what was claimed is done, nothing is left claimed, all threads are gone. */
static void a_pass_is_stopped(void **state)
{
	(void)state;
	for (size_t after = 0; after <= 2 * NAMES; after += 300) {
		struct engine e;
		pthread_t thread;
		big_start(&e, true, THREADS);
		struct pass p = {.e = &e};
		assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
		while (atomic_load(&e.zsk->signed_count) < after) {
			sched_yield();
		}
		atomic_store(&p.stop, true);
		pthread_join(thread, NULL);
		assert_true(p.result == ST_EREFUSED || p.result == ST_OK);
		struct tally *t = tally_of(e.v);
		assert_int_equal(t->signing, 0);
		assert_true(p.result != ST_OK || t->filled == t->count);
		assert_int_equal(atomic_load(&e.zsk->signed_count) +
					 atomic_load(&e.ksk->signed_count),
				 t->filled);
		engine_end(&e);
	}
}

static void a_pass_told_before_it_begins_signs_nothing(void **state)
{
	(void)state;
	struct engine e;
	_Atomic(bool) stop = true;
	big_start(&e, true, THREADS);
	assert_int_equal(signer_complete(e.signer, e.v, &stop), ST_EREFUSED);
	assert_int_equal(tally_of(e.v)->filled, 0);
	engine_end(&e);
}

static void *ask_main(void *arg)
{
	struct engine *e = arg;
	/* tally_of() has one place for all: this one is this thread's. */
	struct tally *t = calloc(1, sizeof(*t));
	if (t == NULL || version_walk(e->v, tally_each, t) != ST_OK) {
		abort();
	}
	for (size_t i = 0; i < t->count; i++) {
		size_t k = i * 7 % t->count;
		enum status st = signer_want(e->signer, e->v, t->nodes[k], t->rrsets[k], true);
		if (st != ST_OK && st != ST_EBUSY) {
			abort();
		}
	}
	free(t);
	return NULL;
}

/* Several passes share the engine's threads, and questions come meanwhile. */
static void passes_and_questions_at_once(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		struct engine e;
		pthread_t threads[5];
		big_start(&e, true, THREADS);
		struct pass passes[3] = {{.e = &e}, {.e = &e}, {.e = &e}};
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(pthread_create(&threads[i], NULL, pass_main, &passes[i]),
					 0);
		}
		for (size_t i = 3; i < 5; i++) {
			assert_int_equal(pthread_create(&threads[i], NULL, ask_main, &e), 0);
		}
		for (size_t i = 0; i < 5; i++) {
			pthread_join(threads[i], NULL);
		}
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(passes[i].result, ST_OK);
		}
		struct tally *t = tally_of(e.v);
		assert_int_equal(t->filled, t->count);
		assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
		assert_int_equal(atomic_load(&e.zsk->signed_count), t->count - 1);
		engine_end(&e);
	}
}

static int64_t real_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A pass over what is served leaves the CPUs, and the locks of whoever signs, to questions; and
 * gets on all the same: eight signatures of each thread in 50 ms. */
static void a_pass_stands_back_for_questions(void **state)
{
	(void)state;
	struct engine e;
	pthread_t thread;
	big_start(&e, true, THREADS);
	struct tally *t = tally_of(e.v);
	struct pass p = {.e = &e};
	size_t last = t->count - 1;
	size_t count = 5 * 8 * THREADS;
	/* The fixture's clock stands: it stays the last moment's question. */
	assert_int_equal(signer_want(e.signer, e.v, t->nodes[last], t->rrsets[last], true), ST_OK);
	int64_t began = real_ms();
	assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
	while (atomic_load(&e.zsk->signed_count) < count) {
		sched_yield();
	}
	assert_true(real_ms() - began >= 3 * 50);
	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	/* A version that is yet to be published waits for nobody. */
	assert_int_equal(signer_sign_list(e.signer, e.v, t->nodes, t->rrsets, t->count, NULL),
			 ST_OK);
	t = tally_of(e.v);
	assert_int_equal(t->filled, t->count);
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_signed_once),
		cmocka_unit_test(keys_elsewhere_go_their_way),
		cmocka_unit_test(a_long_list_is_signed),
		cmocka_unit_test(a_failing_key_ends_its_part),
		cmocka_unit_test(a_pass_is_stopped),
		cmocka_unit_test(a_pass_told_before_it_begins_signs_nothing),
		cmocka_unit_test(passes_and_questions_at_once),
		cmocka_unit_test(a_pass_stands_back_for_questions),
	};
	return cmocka_run_group_tests_name("signer_crew", tests, NULL, NULL);
}
