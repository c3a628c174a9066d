/* Workers over real sockets on loopback, with answers of the test's own: what is read, parked, sent
 * and refused, not what DNS says. */
#include "tests/unit/worker_fixture.h"

#include <sched.h>

#define BIG    60000
#define RRSETS 4

/* A question is its id, a letter, and a digit that names an RRset:
 * e: answered with itself; b: with BIG octets; d: dropped; p: waits for the RRset to be signed. */
static _Atomic(int) signed_now[RRSETS];
static _Atomic(unsigned) wanted;
static _Atomic(unsigned) urgently; /* of them */

static struct rrset *rrset_of(unsigned n)
{
	static uint8_t identities[RRSETS];

	return (struct rrset *)(void *)&identities[n];
}

enum status signer_want(struct signer *s, struct version *v, const struct node *n, struct rrset *rs,
			bool urgent)
{
	(void)s;
	(void)v;
	(void)n;
	(void)rs;
	urgently += urgent;
	wanted++;
	return ST_EBUSY;
}

static enum answer_result answer_waiting(struct answer_env *env, enum answer_mode mode,
					 unsigned which, uint8_t *out, size_t *out_len,
					 struct answer_missing *missing)
{
	if (signed_now[which]) {
		out[*out_len] = mode == ANSWER_AGAIN ? 'A' : 'F';
	} else if (mode == ANSWER_LAST) {
		out[*out_len] = 'L';
	} else {
		struct answer_wanted one = {.rrset = rrset_of(which), .waits = true};
		assert_int_equal(env->want(env->want_ctx, &one), WANT_PENDING);
		*missing = (struct answer_missing){.rrsets = {rrset_of(which)}, .count = 1};
		return ANSWER_PARK;
	}
	(*out_len)++;
	return ANSWER_SEND;
}

bool signer_signs_here(const struct version *v, const struct node *n, const struct rrset *rs)
{
	(void)v;
	(void)n;
	(void)rs;
	return false;
}

/* In place of the server's own. */
enum answer_result answer_query(struct answer_env *env, enum answer_transport transport,
				enum answer_mode mode, const uint8_t *in, size_t in_len,
				uint8_t *out, size_t room, size_t *out_len,
				struct answer_missing *missing)
{
	assert_true(room >= (transport == ANSWER_TCP ? 65535 : 512));
	env->counters[COUNT_QUERIES] += mode == ANSWER_FIRST;
	if (in_len < 4) {
		return ANSWER_DROP;
	}
	memcpy(out, in, in_len);
	*out_len = in_len;
	switch (in[2]) {
	case 'b':
		memset(out + in_len, 'x', BIG - in_len);
		*out_len = BIG;
		return ANSWER_SEND;
	case 'p':
		return answer_waiting(env, mode, in[3] - '0', out, out_len, missing);
	case 'd':
		return ANSWER_DROP;
	default:
		return ANSWER_SEND;
	}
}

static int set_up(void **state)
{
	for (size_t i = 0; i < RRSETS; i++) {
		signed_now[i] = 0;
	}
	return worker_set_up(state);
}

static void settle(const struct fixture *f, unsigned which, enum status result)
{
	signed_now[which] = result == ST_OK;
	workers_settled(f->workers, rrset_of(which), result);
}

static void test_udp(void **state)
{
	struct fixture *f = *state;
	char text[16];

	/* More than a batch at once, with what is dropped in between. */
	for (unsigned i = 0; i < 200; i++) {
		udp_send(f, "00d0");
		snprintf(text, sizeof(text), "00e%03u", i);
		udp_send(f, text);
	}
	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "00e%03u", i);
		udp_expect(f, text);
	}
	WAIT_FOR(stats(f).udp_queries == 400);
	assert_int_equal(stats(f).counters[COUNT_QUERIES], 400);
	assert_int_equal(stats(f).send_dropped, 0);
	assert_true(stats(f).udp_batches <= 400);
}

static void test_udp_parked(void **state)
{
	struct fixture *f = *state;

	udp_send(f, "00p1");
	udp_send(f, "00p1");
	udp_send(f, "01p2");
	udp_send(f, "02e0");
	udp_expect(f, "02e0");
	WAIT_FOR(stats(f).parked_now == 2);
	settle(f, 3, ST_OK);
	settle(f, 1, ST_OK);
	udp_expect(f, "00p1A");
	settle(f, 2, ST_OK);
	udp_expect(f, "01p2A");
	WAIT_FOR(stats(f).parked_now == 0);
	assert_true(nothing_comes(f->udp));
	assert_int_equal(stats(f).counters[COUNT_QUERIES], 4);
}

/* Settled before the worker has parked it, from another thread: the question is answered all the
 * same. */
static void test_settled_while_asking(void **state)
{
	struct fixture *f = *state;
	char text[16];

	for (unsigned i = 0; i < 300; i++) {
		unsigned before = wanted;
		signed_now[1] = 0;
		snprintf(text, sizeof(text), "00p1%03u", i);
		udp_send(f, text);
		while (wanted == before) {
			sched_yield();
		}
		settle(f, 1, ST_OK);
		strcat(text, "A");
		udp_expect(f, text);
	}
}

static void test_parked_too_long(void **state)
{
	struct fixture *f = *state;

	udp_send(f, "00p1");
	WAIT_FOR(stats(f).parked_now == 1);
	clock_fake(1000, MONO_MS + PARK_WAIT_MS - 1);
	assert_true(nothing_comes(f->udp));
	clock_fake(1000, MONO_MS + PARK_WAIT_MS);
	udp_expect(f, "00p1L");
	WAIT_FOR(stats(f).parked_timeout == 1);
}

/* Asks as from an address of another network. */
static int connected_from(const struct fixture *f, uint32_t address)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	struct timeval wait = {WAIT_MS / 1000, 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&f->address.addr, f->address.len), 0);
	return fd;
}

/* One prefix that asks for a lot is parked up to its share, asks the signing engine to hurry for a
 * few, and for nothing that nobody waits for. */
static void test_a_prefix_floods(void **state)
{
	enum { SHARE = PARK_SHARE(PARK_MAX), OTHERS = 3 };
	struct fixture *f = *state;
	unsigned before = wanted;
	unsigned urgent_before = urgently;
	int others[OTHERS];
	char text[16];

	for (unsigned i = 0; i < SHARE; i++) {
		snprintf(text, sizeof(text), "00p1%05u", i);
		udp_send(f, text);
		WAIT_FOR(stats(f).parked_now == i + 1);
	}
	assert_int_equal(wanted - before, SHARE);
	assert_int_equal(urgently - urgent_before, BUDGET_PREFIX);
	assert_int_equal(stats(f).over_budget, SHARE - BUDGET_PREFIX);
	assert_int_equal(stats(f).over_share, 0);

	udp_send(f, "01p1");
	udp_expect(f, "01p1L");
	f->tcp[0] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[0], "02p1");
	tcp_expect(f->tcp[0], "02p1L");
	WAIT_FOR(stats(f).over_share == 2);
	assert_int_equal(wanted - before, SHARE);
	/* Two prefixes may share a place by chance, though hardly three of them. */
	for (uint32_t i = 0; i < OTHERS; i++) {
		others[i] = connected_from(f, INADDR_LOOPBACK + ((i + 1) << 8));
		assert_int_equal(send(others[i], "00p1", 4, 0), 4);
	}
	WAIT_FOR(stats(f).parked_now + stats(f).over_share == SHARE + 2 + OTHERS);
	assert_true(urgently - urgent_before >= BUDGET_PREFIX + OTHERS - 1);

	settle(f, 1, ST_OK);
	WAIT_FOR(stats(f).parked_now == 0);
	for (uint32_t i = 0; i < OTHERS; i++) {
		char buf[16] = "";
		assert_int_equal(recv(others[i], buf, sizeof(buf), 0), 5);
		close(others[i]);
	}
	assert_int_equal(stats(f).parked_full, 0);
}

static void test_failed_signature_is_asked_for_again(void **state)
{
	struct fixture *f = *state;

	udp_send(f, "00p1");
	udp_send(f, "01p2");
	WAIT_FOR(stats(f).parked_now == 2);
	unsigned before = wanted;
	settle(f, 1, ST_EAGAIN);
	/* Heard after the failure, so that the clock does not go on before that is heard. */
	settle(f, 2, ST_OK);
	udp_expect(f, "01p2A");
	assert_true(nothing_comes(f->udp));
	assert_int_equal(wanted, before);
	clock_fake(1000, MONO_MS + PARK_RETRY_MS);
	WAIT_FOR(wanted == before + 1);
	settle(f, 1, ST_OK);
	udp_expect(f, "00p1A");
}

static void test_tcp_answers_out_of_order(void **state)
{
	struct fixture *f = *state;

	f->tcp[0] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[0], "00p1");
	tcp_send(f->tcp[0], "01e0");
	tcp_send(f->tcp[0], "02p2");
	tcp_expect(f->tcp[0], "01e0");
	WAIT_FOR(stats(f).parked_now == 2);
	settle(f, 2, ST_OK);
	tcp_expect(f->tcp[0], "02p2A");
	settle(f, 1, ST_OK);
	tcp_expect(f->tcp[0], "00p1A");
}

static void test_tcp_in_pieces(void **state)
{
	struct fixture *f = *state;
	static const uint8_t messages[] = "\0\00400e0\0\00401e0";

	f->tcp[0] = connected(f, SOCK_STREAM);
	for (size_t i = 0; i < sizeof(messages) - 1; i++) {
		assert_int_equal(send(f->tcp[0], messages + i, 1, MSG_NOSIGNAL), 1);
	}
	tcp_expect(f->tcp[0], "00e0");
	tcp_expect(f->tcp[0], "01e0");
}

static void test_tcp_half_closed(void **state)
{
	struct fixture *f = *state;

	f->tcp[0] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[0], "00p1");
	tcp_send(f->tcp[0], "01e0");
	assert_int_equal(shutdown(f->tcp[0], SHUT_WR), 0);
	tcp_expect(f->tcp[0], "01e0");
	WAIT_FOR(stats(f).parked_now == 1);
	settle(f, 1, ST_OK);
	tcp_expect(f->tcp[0], "00p1A");
	expect_closed(f->tcp[0]);
}

static void test_tcp_idle(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 4; i++) {
		f->tcp[i] = connected(f, SOCK_STREAM);
	}
	assert_int_equal(send(f->tcp[1], "\0\4abc", 5, MSG_NOSIGNAL), 5);
	WAIT_FOR(stats(f).tcp_now == 4);
	clock_fake(1000, MONO_MS + IDLE_MS - 1);
	tcp_send(f->tcp[2], "00e0");
	tcp_expect(f->tcp[2], "00e0");
	tcp_send(f->tcp[3], "00p1");
	WAIT_FOR(stats(f).parked_now == 1);
	clock_fake(1000, MONO_MS + IDLE_MS);
	expect_closed(f->tcp[0]);
	expect_closed(f->tcp[1]);
	assert_int_equal(stats(f).tcp_now, 2);
	tcp_send(f->tcp[2], "01e0");
	tcp_expect(f->tcp[2], "01e0");
}

static void test_tcp_drop_closes(void **state)
{
	struct fixture *f = *state;

	f->tcp[0] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[0], "00e0");
	tcp_send(f->tcp[0], "01d0");
	tcp_expect(f->tcp[0], "00e0");
	expect_closed(f->tcp[0]);
	WAIT_FOR(stats(f).tcp_now == 0);
}

/* What comes in one piece is answered in batches: in order, but for what waits, and up to what is
 * no question. */
static void test_tcp_at_once(void **state)
{
	struct fixture *f = *state;
	static const char *const texts[] = {"00e0", "01p1", "02b0", "03e0", "04e0",
					    "05e0", "06p2", "07e0", "08d0", "09e0"};
	static char buf[65536];
	uint8_t all[128];
	size_t len = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		be16_put(all + len, 4);
		memcpy(all + len + 2, texts[i], 4);
		len += 6;
	}
	f->tcp[0] = connected(f, SOCK_STREAM);
	assert_int_equal(send(f->tcp[0], all, len, MSG_NOSIGNAL), len);
	tcp_expect(f->tcp[0], "00e0");
	assert_int_equal(tcp_receive(f->tcp[0], buf), BIG);
	assert_memory_equal(buf, "02b0", 4);
	tcp_expect(f->tcp[0], "03e0");
	tcp_expect(f->tcp[0], "04e0");
	tcp_expect(f->tcp[0], "05e0");
	tcp_expect(f->tcp[0], "07e0");
	expect_closed(f->tcp[0]);
	WAIT_FOR(stats(f).tcp_now == 0);
	/* What was parked finds nobody. */
	settle(f, 1, ST_OK);
	settle(f, 2, ST_OK);
	WAIT_FOR(stats(f).parked_now == 0);
}

static void test_tcp_in_flight_is_bounded(void **state)
{
	struct fixture *f = *state;
	char text[16];
	bool seen[TCP_IN_FLIGHT_MAX + 10] = {false};

	f->tcp[0] = connected(f, SOCK_STREAM);
	for (unsigned i = 0; i < TCP_IN_FLIGHT_MAX + 10; i++) {
		snprintf(text, sizeof(text), "%02up1", i);
		tcp_send(f->tcp[0], text);
	}
	WAIT_FOR(stats(f).parked_now == TCP_IN_FLIGHT_MAX);
	assert_int_equal(stats(f).tcp_queries, TCP_IN_FLIGHT_MAX);
	settle(f, 1, ST_OK);
	for (unsigned i = 0; i < TCP_IN_FLIGHT_MAX + 10; i++) {
		char buf[65536];
		assert_true(tcp_receive(f->tcp[0], buf) >= 4);
		unsigned id = (unsigned)(buf[0] - '0') * 10 + (unsigned)(buf[1] - '0');
		assert_false(seen[id]);
		seen[id] = true;
	}
}

static void test_tcp_slow_reader(void **state)
{
	struct fixture *f = *state;
	static char buf[65536];
	unsigned asked = 400; /* 24 MB of answers: more than the kernel keeps for one connection */
	uint64_t last = 0;
	unsigned still = 0;

	f->tcp[0] = connected(f, SOCK_STREAM);
	for (unsigned i = 0; i < asked; i++) {
		tcp_send(f->tcp[0], "00b0");
	}
	/* It stops when the queue is full, and others are served. */
	while (still < 20) {
		poll(NULL, 0, 10);
		still = stats(f).tcp_queries == last ? still + 1 : 0;
		last = stats(f).tcp_queries;
	}
	assert_true(last < asked);
	f->tcp[1] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[1], "00e0");
	tcp_expect(f->tcp[1], "00e0");
	for (unsigned i = 0; i < asked; i++) {
		assert_int_equal(tcp_receive(f->tcp[0], buf), BIG);
	}
	tcp_send(f->tcp[0], "00e0");
	tcp_expect(f->tcp[0], "00e0");
	assert_int_equal(stats(f).tcp_queries, asked + 2);
}

static void test_tcp_never_reads(void **state)
{
	struct fixture *f = *state;
	uint64_t last = UINT64_MAX;

	f->tcp[0] = connected(f, SOCK_STREAM);
	for (unsigned i = 0; i < 400; i++) {
		tcp_send(f->tcp[0], "00b0");
	}
	while (stats(f).tcp_queries != last) {
		last = stats(f).tcp_queries;
		poll(NULL, 0, 100);
	}
	clock_fake(1000, MONO_MS + IDLE_MS);
	WAIT_FOR(stats(f).tcp_now == 0);
}

static void test_tcp_clients_are_bounded(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < PER_ADDR; i++) {
		f->tcp[i] = connected(f, SOCK_STREAM);
		tcp_send(f->tcp[i], "00e0");
		tcp_expect(f->tcp[i], "00e0");
	}
	f->tcp[PER_ADDR] = connected(f, SOCK_STREAM);
	expect_closed(f->tcp[PER_ADDR]);
	assert_int_equal(stats(f).tcp_refused, 1);
	close(f->tcp[0]);
	f->tcp[0] = -1;
	WAIT_FOR(stats(f).tcp_now == PER_ADDR - 1);
	f->tcp[PER_ADDR + 1] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[PER_ADDR + 1], "00e0");
	tcp_expect(f->tcp[PER_ADDR + 1], "00e0");
}

/* The next tenant of a connection's number does not get its answers. */
static void test_tcp_gone_while_parked(void **state)
{
	struct fixture *f = *state;

	f->tcp[0] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[0], "00p1");
	WAIT_FOR(stats(f).parked_now == 1);
	struct linger hard = {.l_onoff = 1};
	setsockopt(f->tcp[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(f->tcp[0]);
	f->tcp[0] = -1;
	WAIT_FOR(stats(f).tcp_now == 0);
	f->tcp[1] = connected(f, SOCK_STREAM);
	WAIT_FOR(stats(f).tcp_now == 1);
	settle(f, 1, ST_OK);
	WAIT_FOR(stats(f).parked_now == 0);
	assert_true(nothing_comes(f->tcp[1]));
	tcp_send(f->tcp[1], "00e0");
	tcp_expect(f->tcp[1], "00e0");
}

static void test_stop_answers_what_was_begun(void **state)
{
	struct fixture *f = *state;

	f->tcp[0] = connected(f, SOCK_STREAM);
	f->tcp[1] = connected(f, SOCK_STREAM);
	tcp_send(f->tcp[0], "00p1");
	udp_send(f, "01p1");
	WAIT_FOR(stats(f).parked_now == 2 && stats(f).tcp_now == 2);
	clock_fake(-1, -1);
	/* As if it had begun long ago: the real clock is behind the faked one, or far ahead of it.
	 */
	int64_t start_ms = clock_mono_ms();
	workers_stop(f->workers);
	assert_true(clock_mono_ms() - start_ms < 4000);
	tcp_expect(f->tcp[0], "00p1L");
	udp_expect(f, "01p1L");
	expect_closed(f->tcp[0]);
	expect_closed(f->tcp[1]);
	/* Too late, and harmless. */
	settle(f, 1, ST_OK);
}

static void test_address_in_use(void **state)
{
	struct fixture *f = *state;
	struct workers *untouched = (struct workers *)(uintptr_t)1;
	struct workers *w = untouched;
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(workers_bind(&f->conf, &w, &d), ST_EBUSY);
	assert_ptr_equal(w, untouched);
	assert_int_equal(d.errors, 1);
	assert_non_null(strstr(d.items[0].text, "Address already in use"));
	diags_fini(&d);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, worker_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_udp),
		CASE(test_udp_parked),
		CASE(test_settled_while_asking),
		CASE(test_parked_too_long),
		CASE(test_a_prefix_floods),
		CASE(test_failed_signature_is_asked_for_again),
		CASE(test_tcp_answers_out_of_order),
		CASE(test_tcp_in_pieces),
		CASE(test_tcp_half_closed),
		CASE(test_tcp_idle),
		CASE(test_tcp_drop_closes),
		CASE(test_tcp_at_once),
		CASE(test_tcp_in_flight_is_bounded),
		CASE(test_tcp_slow_reader),
		CASE(test_tcp_never_reads),
		CASE(test_tcp_clients_are_bounded),
		CASE(test_tcp_gone_while_parked),
		CASE(test_stop_answers_what_was_begun),
		CASE(test_address_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
