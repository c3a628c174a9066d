/* Requests that an isolated module has at once: in order, taken back, and lost. */
#include "tests/tools/p11fixture.h"

#include "hsm/child.h"
#include "nsd-core/base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void use(struct p11_fixture *fx, unsigned sessions)
{
	struct keystore_options opt = p11_options(fx, p11_wrapper(), sessions);
	opt.isolate = true;
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
}

/* A session of the backend itself, and what it is asked. */
struct asked {
	struct device *dev;
	struct session *session;
	struct hsm_key *key;
	uint8_t digests[8][HSM_DIGEST_LEN];
	unsigned count;
};

static void asked_start(struct asked *a, struct p11_fixture *fx, struct keystore_options *opt)
{
	struct fault f;
	use(fx, 1);
	p11_make_key(fx);
	memset(a, 0, sizeof(*a));
	a->key = fx->key;
	*opt = p11_options(fx, p11_wrapper(), 1);
	opt->isolate = true;
	assert_int_equal(backend_isolated.device_new(opt, &a->dev, NULL), ST_OK);
	assert_int_equal(backend_isolated.session_new(a->dev, &a->session), ST_OK);
	assert_int_equal(backend_isolated.open(a->dev, &f), ST_OK);
}

static void asked_end(struct asked *a)
{
	backend_isolated.session_free(a->session);
	backend_isolated.device_free(a->dev);
}

static void ask_one(struct asked *a)
{
	uint8_t *digest = a->digests[a->count];
	memset(digest, (int)++a->count, HSM_DIGEST_LEN);
	backend_isolated.ask(a->session, a->key, digest);
}

/* However long that takes. */
static enum status answer_of(struct asked *a, struct raw_signature *raw, struct fault *f)
{
	enum status st;
	while ((st = backend_isolated.answer(a->session, raw, f)) == ST_EBUSY) {
	}
	return st;
}

/* The next answer is that to digest i. */
static void assert_answer(struct asked *a, unsigned i)
{
	struct raw_signature raw;
	struct fault f = {.kind = FAULT_REQUEST};
	assert_int_equal(answer_of(a, &raw, &f), ST_OK);
	assert_int_equal(raw.len, HSM_SIGNATURE_LEN);
	assert_int_equal(hsm_verify(hsm_key_public(a->key), a->digests[i], raw.data), ST_OK);
}

static void requests_are_on_their_way_together(void **state)
{
	struct asked a;
	struct keystore_options opt;
	struct raw_signature raw;
	struct fault f;
	asked_start(&a, *state, &opt);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	for (unsigned i = 0; i < 4; i++) {
		ask_one(&a);
	}
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	assert_int_equal(backend_isolated.answer(a.session, &raw, &f), ST_EBUSY);
	wrap_clear();
	/* All are signed, though nobody takes an answer yet. */
	EVENTUALLY(wrap_calls("C_Sign") == before + 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_answer(&a, i);
	}
	asked_end(&a);
}

static void what_is_taken_back_has_no_answer(void **state)
{
	struct asked a;
	struct keystore_options opt;
	asked_start(&a, *state, &opt);
	wrap_rule("C_Sign", "hold", 0, -1);
	for (unsigned i = 0; i < 3; i++) {
		ask_one(&a);
	}
	backend_isolated.forget(a.session);
	ask_one(&a);
	ask_one(&a);
	backend_isolated.forget(a.session); /* again: what is behind the oldest */
	ask_one(&a);
	wrap_clear();
	assert_answer(&a, 0);
	assert_answer(&a, 5);
	ask_one(&a);
	assert_answer(&a, 6);
	asked_end(&a);
}

static void all_that_was_asked_fails_with_the_process(void **state)
{
	struct asked a;
	struct keystore_options opt;
	struct keystore_health health;
	struct raw_signature raw;
	asked_start(&a, *state, &opt);
	backend_isolated.process(a.dev, &health);
	wrap_rule("C_Sign", "hold", 0, -1);
	for (unsigned i = 0; i < 3; i++) {
		ask_one(&a);
	}
	assert_int_equal(kill(health.pid, SIGKILL), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct fault f = {.kind = FAULT_REQUEST};
		assert_int_equal(answer_of(&a, &raw, &f), ST_EAGAIN);
		assert_int_equal(f.kind, FAULT_DEVICE);
		if (i == 2) {
			ask_one(&a); /* there is no process any more */
		}
	}
	wrap_clear();
	struct fault f;
	assert_int_equal(backend_isolated.open(a.dev, &f), ST_OK);
	ask_one(&a);
	assert_answer(&a, 4);
	asked_end(&a);
}

/* Three of one process, of which only the first is waited for, and it ends. */
static void lose_one_of_three(struct asked *a, struct keystore_health *health)
{
	struct raw_signature raw;
	struct fault f = {.kind = FAULT_REQUEST};
	wrap_rule("C_Sign", "hold", 0, -1);
	for (unsigned i = 0; i < 3; i++) {
		ask_one(a);
	}
	backend_isolated.forget(a->session);
	backend_isolated.process(a->dev, health);
	assert_int_equal(kill(health->pid, SIGKILL), 0);
	assert_int_equal(answer_of(a, &raw, &f), ST_EAGAIN);
	wrap_clear();
}

static void the_next_process_owes_nothing_of_the_one_before(void **state)
{
	struct asked a;
	struct keystore_options opt;
	struct keystore_health before;
	struct keystore_health after;
	struct raw_signature raw;
	struct fault f = {.kind = FAULT_REQUEST};
	asked_start(&a, *state, &opt);
	lose_one_of_three(&a, &before);
	assert_int_equal(backend_isolated.open(a.dev, &f), ST_OK);
	ask_one(&a);
	ask_one(&a);
	assert_answer(&a, 3);
	assert_answer(&a, 4);
	/* Nor where there is none. */
	lose_one_of_three(&a, &before);
	a.count = 0;
	ask_one(&a);
	assert_int_equal(answer_of(&a, &raw, &f), ST_EAGAIN);
	assert_non_null(strstr(f.text, "is not there"));
	assert_int_equal(backend_isolated.open(a.dev, &f), ST_OK);
	ask_one(&a);
	assert_answer(&a, 1);
	backend_isolated.process(a.dev, &after);
	assert_int_equal(after.restarts, 2);
	asked_end(&a);
}

static void no_answer_says_that_there_is_none_yet(void **state)
{
	struct child_inbox in = {.len = 0};
	struct host_reply reply = {.number = 7, .status = ST_EBUSY};
	struct host_reply got;
	int ends[2];
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(send(ends[0], &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(child_receive(ends[1], &in, 7, &got), ST_EIO);
	reply.status = ST_EAGAIN;
	assert_int_equal(send(ends[0], &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(child_receive(ends[1], &in, 7, &got), ST_OK);
	close(ends[0]);
	close(ends[1]);
}

static void what_does_not_verify_is_made_again_among_others(void **state)
{
	enum { JOBS = 40 };
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(JOBS);
	use(fx, 2);
	p11_make_key(fx);
	wrap_rule("C_Sign", "wrong", 0, 1);
	for (size_t i = 0; i < JOBS; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_QUERY, fx->key), ST_OK);
	}
	jobs_wait(j, JOBS);
	for (size_t i = 0; i < JOBS; i++) {
		struct hsm_job *job = jobs_at(j, i);
		assert_int_equal(job->result, ST_OK);
		assert_int_equal(hsm_verify(hsm_key_public(fx->key), job->digest, job->signature),
				 ST_OK);
	}
	keystore_health(fx->ks, &health);
	assert_int_equal(health.verify_failures, 1);
	jobs_free(j);
}

/* Two lanes with as many jobs each as they take at once, by a clock that says they are fast. */
static void nothing_waits_behind_a_signature_that_hangs(void **state)
{
	enum { JOBS = 20 };
	struct p11_fixture *fx = *state;
	struct jobs *j = jobs_new(JOBS);
	clock_fake(1, 5000);
	use(fx, 2);
	p11_make_key(fx);
	clock_fake(1, 7000);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	for (size_t i = 0; i < JOBS; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_BATCH, fx->key), ST_OK);
	}
	EVENTUALLY(wrap_calls("C_Sign") == before + 2);
	wrap_rule("C_Sign", "hold", 0, 1);
	jobs_wait(j, JOBS - 1);
	assert_int_equal(jobs_done(j), JOBS - 1);
	wrap_clear();
	jobs_wait(j, JOBS);
	for (size_t i = 0; i < JOBS; i++) {
		assert_int_equal(jobs_at(j, i)->result, ST_OK);
	}
	jobs_free(j);
}

/* A question joins what is behind one that hangs: background that is taken back would leave the
 * last lane alone, and wait for the one that hangs. */
static void what_a_question_joined_goes_on_elsewhere(void **state)
{
	enum { JOBS = 16 };
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(JOBS);
	clock_fake(1, 5000);
	use(fx, 2);
	p11_make_key(fx);
	clock_fake(1, 7000);
	wrap_rule("C_Sign", "hold", 0, -1);
	for (size_t i = 0; i < JOBS - 1; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_BATCH, fx->key), ST_OK);
	}
	/* Before anything is taken back, if this thread is let: later it is the queues' alone. */
	for (int i = 0; i < 10000; i++) {
		keystore_health(fx->ks, &health);
		if (health.waiting == 0) {
			break;
		}
	}
	for (size_t i = 0; i < JOBS - 1; i++) {
		keystore_raise(fx->ks, jobs_at(j, i));
	}
	/* From here on background steps back. */
	assert_int_equal(jobs_submit(j, JOBS - 1, fx->ks, HSM_QUERY, fx->key), ST_OK);
	wrap_rule("C_Sign", "hold", 0, 1);
	jobs_wait(j, JOBS - 1);
	wrap_clear();
	jobs_wait(j, JOBS);
	for (size_t i = 0; i < JOBS; i++) {
		assert_int_equal(jobs_at(j, i)->result, ST_OK);
	}
	jobs_free(j);
}

/* One lane: the others are behind the one that is held, or wait. */
static void a_deadline_counts_until_the_device_begins(void **state)
{
	enum { JOBS = 6 };
	struct p11_fixture *fx = *state;
	struct jobs *j = jobs_new(JOBS);
	clock_fake(1, 5000);
	use(fx, 1);
	p11_make_key(fx);
	clock_fake(1, 7000);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	for (size_t i = 0; i < JOBS; i++) {
		jobs_at(j, i)->deadline_ms = i % 2 == 0 ? 7100 : 7200;
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_BATCH, fx->key), ST_OK);
	}
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	clock_fake(1, 7100);
	wrap_clear();
	jobs_wait(j, JOBS);
	for (size_t i = 0; i < JOBS; i++) {
		/* The first had begun. */
		assert_int_equal(jobs_at(j, i)->result, i % 2 == 0 && i > 0 ? ST_ETIMEDOUT : ST_OK);
	}
	jobs_free(j);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, p11_setup, p11_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_are_on_their_way_together),
		TEST(what_is_taken_back_has_no_answer),
		TEST(all_that_was_asked_fails_with_the_process),
		TEST(the_next_process_owes_nothing_of_the_one_before),
		cmocka_unit_test(no_answer_says_that_there_is_none_yet),
		TEST(what_does_not_verify_is_made_again_among_others),
		TEST(nothing_waits_behind_a_signature_that_hangs),
		TEST(what_a_question_joined_goes_on_elsewhere),
		TEST(a_deadline_counts_until_the_device_begins),
	};
	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
