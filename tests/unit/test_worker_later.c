/* Questions that the worker itself signs for: what is warm is answered first, whatever came first,
 * and everything once. The worker is held still, so that what waits for it is known. */
#include "tests/unit/worker_fixture.h"

#include "signer/signer.h"

#include <pthread.h>

#define RRSETS 2000
/* Each client takes the answers that a receive buffer holds, and the worker's holds some clients'
 * questions. */
#define CLIENTS	 8
#define EACH	 175
#define PER_TURN 64

/* A question is its id (four octets), a letter, and for 'c' the RRsets (four digits each) that are
 * to be signed for it:
 * e: answered with itself and the number of signatures made until then; c: waits for its RRsets, is
 * answered with itself and how it was asked; g: as e, once it may pass.
 * RRsets from REMOTE on are signed by others. */
#define REMOTE 1900

static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned asks;	/* questions 'g' that may pass */
	unsigned signs; /* signatures that may be made */
	bool held;	/* the worker waits for one of them */
	unsigned signatures;
	unsigned char made[RRSETS];
} stub = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static struct rrset *rrset_of(unsigned n)
{
	static uint8_t identities[RRSETS];

	return (struct rrset *)(void *)&identities[n];
}

static unsigned rrset_number(const struct rrset *rs)
{
	return (unsigned)((const uint8_t *)rs - (const uint8_t *)rrset_of(0));
}

/* With the lock held. */
static void pass(unsigned *permits)
{
	while (*permits == 0) {
		stub.held = true;
		pthread_cond_broadcast(&stub.moved);
		pthread_cond_wait(&stub.moved, &stub.lock);
	}
	stub.held = false;
	--*permits;
}

static void await_held(void)
{
	pthread_mutex_lock(&stub.lock);
	while (!stub.held) {
		pthread_cond_wait(&stub.moved, &stub.lock);
	}
	pthread_mutex_unlock(&stub.lock);
}

static void permit(unsigned *permits, unsigned count)
{
	pthread_mutex_lock(&stub.lock);
	*permits = count;
	stub.held = stub.held && count == 0;
	pthread_cond_broadcast(&stub.moved);
	pthread_mutex_unlock(&stub.lock);
}

static unsigned signatures_made(void)
{
	pthread_mutex_lock(&stub.lock);
	unsigned n = stub.signatures;
	pthread_mutex_unlock(&stub.lock);
	return n;
}

static bool is_made(unsigned n)
{
	pthread_mutex_lock(&stub.lock);
	bool made = stub.made[n] != 0;
	pthread_mutex_unlock(&stub.lock);
	return made;
}

bool signer_signs_here(const struct version *v, const struct node *n, const struct rrset *rs)
{
	(void)v;
	(void)n;
	return rrset_number(rs) < REMOTE;
}

enum status signer_want(struct signer *s, struct version *v, const struct node *n, struct rrset *rs,
			bool urgent)
{
	unsigned number = rrset_number(rs);

	(void)s;
	(void)v;
	(void)n;
	(void)urgent;
	if (number >= REMOTE) {
		return ST_EBUSY;
	}
	pthread_mutex_lock(&stub.lock);
	pass(&stub.signs);
	stub.signatures++;
	assert_int_equal(stub.made[number], 0);
	stub.made[number] = 1;
	pthread_mutex_unlock(&stub.lock);
	return ST_OK;
}

/* As the server plans: all that is missing is asked for. */
static bool all_made(struct answer_env *env, const uint8_t *in, size_t in_len,
		     struct answer_missing *missing)
{
	bool all = true;

	for (size_t at = 5; at + 4 <= in_len; at += 4) {
		char digits[5] = {0};
		memcpy(digits, in + at, 4);
		unsigned number = (unsigned)strtoul(digits, NULL, 10);
		if (is_made(number)) {
			continue;
		}
		struct answer_wanted one = {.rrset = rrset_of(number), .waits = true};
		switch (env->want(env->want_ctx, &one)) {
		case WANT_FILLED:
			continue;
		case WANT_LATER:
			missing->later = true;
			break;
		case WANT_PENDING:
			missing->rrsets[missing->count++] = rrset_of(number);
			break;
		case WANT_FAILED:
			fail();
		}
		all = false;
	}
	return all;
}

/* In place of the server's own. */
enum answer_result answer_query(struct answer_env *env, enum answer_transport transport,
				enum answer_mode mode, const uint8_t *in, size_t in_len,
				uint8_t *out, size_t room, size_t *out_len,
				struct answer_missing *missing)
{
	static const char modes[] = {
		[ANSWER_FIRST] = 'F', [ANSWER_AGAIN] = 'A', [ANSWER_LAST] = 'L'};

	(void)transport;
	*missing = (struct answer_missing){.count = 0};
	assert_true(in_len >= 5 && room > in_len + 16);
	memcpy(out, in, in_len);
	if (in[4] == 'c') {
		if (mode != ANSWER_LAST && !all_made(env, in, in_len, missing)) {
			return ANSWER_PARK;
		}
		out[in_len] = (uint8_t)modes[mode];
		*out_len = in_len + 1;
		return ANSWER_SEND;
	}
	if (in[4] == 'g') {
		pthread_mutex_lock(&stub.lock);
		pass(&stub.asks);
		pthread_mutex_unlock(&stub.lock);
	}
	*out_len = in_len + (size_t)sprintf((char *)out + in_len, "%u", signatures_made());
	return ANSWER_SEND;
}

static int set_up(void **state)
{
	stub.asks = UINT_MAX;
	stub.signs = UINT_MAX;
	stub.held = false;
	stub.signatures = 0;
	memset(stub.made, 0, sizeof(stub.made));
	return worker_set_up(state);
}

/* The worker is held while it answers this one; what is sent now it reads afterwards. */
static void hold_worker(const struct fixture *f)
{
	permit(&stub.asks, 0);
	udp_send(f, "heldg");
	await_held();
}

static void test_warm_before_cold_in_a_batch(void **state)
{
	struct fixture *f = *state;

	hold_worker(f);
	udp_send(f, "0000c0001");
	udp_send(f, "0001e");
	udp_send(f, "0002c0002");
	udp_send(f, "0003c0003");
	udp_send(f, "0004e");
	permit(&stub.asks, UINT_MAX);
	udp_expect(f, "heldg0");
	udp_expect(f, "0001e0");
	udp_expect(f, "0004e0");
	udp_expect(f, "0000c0001A");
	udp_expect(f, "0002c0002A");
	udp_expect(f, "0003c0003A");
	WAIT_FOR(stats(f).parked_now == 0);
	assert_int_equal(stats(f).later, 3);
	assert_int_equal(stats(f).later_full, 0);
	assert_int_equal(signatures_made(), 3);
}

/* A question with three signatures to make lets others go between them. */
static void test_others_go_between_signatures(void **state)
{
	struct fixture *f = *state;

	permit(&stub.signs, 0);
	udp_send(f, "0000c000100020003");
	await_held();
	udp_send(f, "0001e");
	udp_send(f, "0002c0004");
	permit(&stub.signs, UINT_MAX);
	udp_expect(f, "0001e1");
	udp_expect(f, "0000c000100020003A");
	udp_expect(f, "0002c0004A");
	assert_int_equal(signatures_made(), 4);
}

/* What was signed one after the other is sent together, and waits for eight at most. */
static void test_cold_answers_leave_together(void **state)
{
	struct fixture *f = *state;
	char text[64];

	hold_worker(f);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "%04uc%04u", i, i);
		udp_send(f, text);
	}
	permit(&stub.signs, 7);
	permit(&stub.asks, UINT_MAX);
	udp_expect(f, "heldg0");
	await_held();
	assert_true(nothing_comes(f->udp));
	permit(&stub.signs, 2);
	await_held();
	for (unsigned i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "%04uc%04uA", i, i);
		udp_expect(f, text);
	}
	assert_true(nothing_comes(f->udp));
	permit(&stub.signs, UINT_MAX);
	udp_expect(f, "0008c0008A");
	udp_expect(f, "0009c0009A");
}

static void test_cold_is_signed_between_full_batches(void **state)
{
	struct fixture *f = *state;
	char text[64];
	unsigned last = 0;

	hold_worker(f);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "%04uc%04u", i, i);
		udp_send(f, text);
	}
	for (unsigned i = 4; i < 3 * PER_TURN; i++) {
		snprintf(text, sizeof(text), "%04ue", i);
		udp_send(f, text);
	}
	permit(&stub.asks, UINT_MAX);
	udp_expect(f, "heldg0");
	for (unsigned i = 1; i <= 3 * PER_TURN; i++) {
		char buf[64] = "";
		assert_true(recv(f->udp, buf, sizeof(buf) - 1, 0) >= 5);
		last = buf[4] == 'e' ? (unsigned)strtoul(buf + 5, NULL, 10) : last;
	}
	/* The third batch of what is warm came after two signatures. */
	assert_int_equal(last, 2);
	assert_int_equal(signatures_made(), 4);
}

static void test_a_retransmission_is_dropped(void **state)
{
	struct fixture *f = *state;

	hold_worker(f);
	for (unsigned i = 0; i < 3; i++) {
		udp_send(f, "0000c0001");
	}
	/* Another question that the same signature answers. */
	udp_send(f, "0001c0001");
	permit(&stub.asks, UINT_MAX);
	udp_expect(f, "heldg0");
	udp_expect(f, "0000c0001A");
	udp_expect(f, "0001c0001A");
	assert_true(nothing_comes(f->udp));
	assert_int_equal(signatures_made(), 1);
	assert_int_equal(stats(f).later, 2);
}

static void test_tcp_and_udp(void **state)
{
	struct fixture *f = *state;

	f->tcp[0] = connected(f, SOCK_STREAM);
	hold_worker(f);
	tcp_send(f->tcp[0], "0000c00010002");
	tcp_send(f->tcp[0], "0001e");
	tcp_send(f->tcp[0], "0002c0003");
	udp_send(f, "0003c0004");
	udp_send(f, "0004e");
	permit(&stub.asks, UINT_MAX);
	udp_expect(f, "heldg0");
	udp_expect(f, "0004e0");
	udp_expect(f, "0003c0004A");
	/* The datagrams were read first: one signature was made before the loop looked further. */
	tcp_expect(f->tcp[0], "0001e1");
	tcp_expect(f->tcp[0], "0000c00010002A");
	tcp_expect(f->tcp[0], "0002c0003A");
	WAIT_FOR(stats(f).parked_now == 0);
	assert_int_equal(signatures_made(), 4);
}

static void test_tcp_gone_while_it_waits(void **state)
{
	struct fixture *f = *state;
	struct linger hard = {.l_onoff = 1};

	f->tcp[0] = connected(f, SOCK_STREAM);
	permit(&stub.signs, 0);
	tcp_send(f->tcp[0], "0000c00010002");
	await_held();
	setsockopt(f->tcp[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(f->tcp[0]);
	f->tcp[0] = -1;
	permit(&stub.signs, UINT_MAX);
	udp_send(f, "0001e");
	WAIT_FOR(stats(f).parked_now == 0 && stats(f).tcp_now == 0);
	/* The second may have been begun before the loop heard of it. */
	assert_in_range(signatures_made(), 1, 2);
}

/* Some of it is another thread's to sign: then it waits as all such questions do. */
static void test_others_sign_the_rest(void **state)
{
	struct fixture *f = *state;

	udp_send(f, "0000c000119000002");
	WAIT_FOR(signatures_made() == 2);
	udp_send(f, "0001e");
	udp_expect(f, "0001e2");
	WAIT_FOR(stats(f).parked_now == 1);
	pthread_mutex_lock(&stub.lock);
	stub.made[REMOTE] = 1;
	pthread_mutex_unlock(&stub.lock);
	workers_settled(f->workers, rrset_of(REMOTE), ST_OK);
	udp_expect(f, "0000c000119000002A");
}

/* Sends more questions than the queue holds to a worker that is held in a signature: as many from
 * each client as take three turns, with a signature between them. Then it is held again. */
static void send_many(const struct fixture *f, int *clients)
{
	char text[16];

	for (unsigned i = 0; i < CLIENTS; i++) {
		await_held();
		clients[i] = connected(f, SOCK_DGRAM);
		for (unsigned k = 0; k < EACH; k++) {
			snprintf(text, sizeof(text), "%04uc%04u", k, i * EACH + k);
			assert_int_equal(send(clients[i], text, 9, 0), 9);
		}
		permit(&stub.signs, 3);
	}
	await_held();
}

static void expect_each_once(int *clients)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		bool seen[EACH] = {false};
		for (unsigned k = 0; k < EACH; k++) {
			char buf[64] = "";
			assert_int_equal(recv(clients[i], buf, sizeof(buf) - 1, 0), 10);
			assert_int_equal(buf[9], 'A');
			unsigned id = (unsigned)strtoul(buf, NULL, 10);
			assert_true(id < EACH && !seen[id]);
			seen[id] = true;
		}
		assert_true(nothing_comes(clients[i]));
		close(clients[i]);
	}
}

static void test_a_full_queue_signs_at_once(void **state)
{
	struct fixture *f = *state;
	int clients[CLIENTS];

	permit(&stub.signs, 0);
	udp_send(f, "0000c1800");
	send_many(f, clients);
	permit(&stub.signs, UINT_MAX);
	udp_expect(f, "0000c1800A");
	expect_each_once(clients);
	assert_int_equal(signatures_made(), CLIENTS * EACH + 1);
	assert_true(stats(f).later >= PARK_LATER_MAX);
	assert_true(stats(f).later_full > 0);
	WAIT_FOR(stats(f).parked_now == 0);
}

static void *stop_main(void *arg)
{
	struct fixture *f = arg;

	workers_stop(f->workers);
	return NULL;
}

/* What has come is answered, and nothing with an error for want of time. */
static void test_stop_with_a_full_queue(void **state)
{
	struct fixture *f = *state;
	int clients[CLIENTS];
	pthread_t thread;

	permit(&stub.signs, 0);
	udp_send(f, "0000c1800");
	send_many(f, clients);
	assert_int_equal(pthread_create(&thread, NULL, stop_main, f), 0);
	permit(&stub.signs, UINT_MAX);
	pthread_join(thread, NULL);
	udp_expect(f, "0000c1800A");
	expect_each_once(clients);
	assert_int_equal(signatures_made(), CLIENTS * EACH + 1);
}

/* Too long to be copied: signed at once. */
static void test_a_long_question_is_signed_at_once(void **state)
{
	struct fixture *f = *state;
	char text[PARK_WIRE_MAX + 32] = "0000c0001";

	memset(text + 9, '-', sizeof(text) - 9);
	assert_int_equal(send(f->udp, text, sizeof(text), 0), sizeof(text));
	char buf[PARK_WIRE_MAX + 64];
	assert_int_equal(recv(f->udp, buf, sizeof(buf), 0), sizeof(text) + 1);
	assert_int_equal(buf[sizeof(text)], 'A');
	WAIT_FOR(stats(f).later_full == 1);
	assert_int_equal(stats(f).later, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, worker_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_warm_before_cold_in_a_batch),
		CASE(test_others_go_between_signatures),
		CASE(test_cold_answers_leave_together),
		CASE(test_cold_is_signed_between_full_batches),
		CASE(test_a_retransmission_is_dropped),
		CASE(test_tcp_and_udp),
		CASE(test_tcp_gone_while_it_waits),
		CASE(test_others_sign_the_rest),
		CASE(test_a_full_queue_signs_at_once),
		CASE(test_stop_with_a_full_queue),
		CASE(test_a_long_question_is_signed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
