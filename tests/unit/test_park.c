/* Parked questions: what waits, for what, and until when. Times are the tests' own. */
#include "tests/unit/park_fixture.h"

static void test_settled_is_ready(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(1);

	assert_int_equal(put(p, 1000, "question", &m, 0), ST_OK);
	assert_int_equal(p->count, 1);
	assert_null(park_next(p));
	park_settled(p, rrset_named(2), true, 10);
	assert_null(park_next(p));
	park_settled(p, rrset_named(1), true, 10);
	struct parked *q = expect_next(p, "question");
	assert_int_equal(q->reply.peer.in4.sin_port, htons(1000));
	assert_int_equal(parked_mode(q, 10), ANSWER_AGAIN);
	assert_null(park_next(p));
	park_release(p, q);
	assert_int_equal(p->count, 0);
}

static void test_waits_for_all(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing(3, (const unsigned[]){1, 2, 3});

	assert_int_equal(put(p, 1000, "question", &m, 0), ST_OK);
	park_settled(p, rrset_named(2), true, 1);
	park_settled(p, rrset_named(2), true, 1);
	park_settled(p, rrset_named(3), true, 1);
	assert_null(park_next(p));
	park_settled(p, rrset_named(1), true, 1);
	park_release(p, expect_next(p, "question"));
}

static void test_one_settling_wakes_all_who_wait(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(7);
	struct answer_missing other = missing_one(8);
	char wire[8];

	for (unsigned i = 0; i < ROOM; i++) {
		snprintf(wire, sizeof(wire), "q%u", i);
		m.zone = zone_named(i);
		other.zone = zone_named(i);
		assert_int_equal(put(p, (uint16_t)i, wire, i % 2 == 0 ? &m : &other, 0), ST_OK);
	}
	park_settled(p, rrset_named(7), true, 1);
	unsigned woken = 0;
	for (struct parked *q = park_next(p); q != NULL; q = park_next(p)) {
		park_release(p, q);
		woken++;
	}
	assert_int_equal(woken, ROOM / 2);
	assert_int_equal(p->count, ROOM / 2);
}

static void test_retransmission(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(1);
	struct park_reply tcp = {.transport = ANSWER_TCP};

	assert_int_equal(put(p, 1000, "question", &m, 0), ST_OK);
	assert_int_equal(put(p, 1000, "question", &m, 500), ST_EEXIST);
	assert_int_equal(p->count, 1);
	assert_int_equal(put(p, 1001, "question", &m, 0), ST_OK);
	assert_int_equal(put(p, 1000, "Question", &m, 0), ST_OK);
	assert_int_equal(put(p, 1000, "questio", &m, 0), ST_OK);
	/* A client may ask the same twice on a connection, and gets two answers. */
	for (int i = 0; i < 2; i++) {
		struct bytes question = {(const uint8_t *)"question", 8};
		assert_int_equal(put_from(p, &tcp, &question, &m, 0), ST_OK);
	}
	assert_int_equal(p->count, 6);
	park_settled(p, rrset_named(1), true, 1);
	park_release(p, expect_next(p, "question"));
	assert_int_equal(p->count, 5);
}

static void test_asked_again_after_its_answer(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(1);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(put(p, 1000, "question", &m, 0), ST_OK);
		park_settled(p, rrset_named(1), true, 1);
		park_release(p, expect_next(p, "question"));
	}
}

static void test_bounds(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(1);
	struct park_reply reply = udp_from(1);
	uint8_t wire[PARK_WIRE_MAX + 1] = {0};
	struct bytes longest = {wire, PARK_WIRE_MAX};

	assert_int_equal(put_from(p, &reply, &(struct bytes){wire, sizeof(wire)}, &m, 0),
			 ST_ESPACE);
	assert_int_equal(p->count, 0);
	for (uint16_t i = 0; i < ROOM; i++) {
		reply = udp_from(i);
		m.zone = zone_named(i);
		assert_int_equal(put_from(p, &reply, &longest, &m, 0), ST_OK);
	}
	reply = udp_from(ROOM);
	m.zone = zone_named(ROOM);
	assert_int_equal(put_from(p, &reply, &longest, &m, 0), ST_ELIMIT);
	assert_int_equal(p->count, ROOM);
	park_settled(p, rrset_named(1), true, 1);
	park_release(p, park_next(p));
	assert_int_equal(put_from(p, &reply, &longest, &m, 0), ST_OK);
}

static void test_time_is_over(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(1);

	assert_int_equal(put(p, 1000, "early", &m, 100), ST_OK);
	assert_int_equal(put(p, 1000, "late", &m, 101), ST_OK);
	park_due(p, 100 + PARK_WAIT_MS - 1);
	assert_null(park_next(p));
	park_due(p, 100 + PARK_WAIT_MS);
	struct parked *q = expect_next(p, "early");
	assert_int_equal(parked_mode(q, 100 + PARK_WAIT_MS), ANSWER_LAST);
	assert_null(park_next(p));
	park_release(p, q);
	/* Its signature comes after all: there is nobody to wake. */
	park_settled(p, rrset_named(1), true, 101 + PARK_WAIT_MS);
	park_release(p, expect_next(p, "late"));
	assert_null(park_next(p));
}

static void test_failure_is_tried_again_soon(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing(2, (const unsigned[]){1, 2});

	assert_int_equal(put(p, 1000, "question", &m, 0), ST_OK);
	park_settled(p, rrset_named(1), false, 100);
	park_settled(p, rrset_named(2), true, 110);
	assert_null(park_next(p));
	park_due(p, 100 + PARK_RETRY_MS - 1);
	assert_null(park_next(p));
	park_due(p, 100 + PARK_RETRY_MS);
	struct parked *q = expect_next(p, "question");
	assert_int_equal(parked_mode(q, 100 + PARK_RETRY_MS), ANSWER_AGAIN);
	park_again(p, q, &m, 100 + PARK_RETRY_MS);
	/* So late that the last asking comes first. */
	park_settled(p, rrset_named(1), false, PARK_WAIT_MS - 10);
	park_due(p, PARK_WAIT_MS - 1);
	assert_null(park_next(p));
	park_due(p, PARK_WAIT_MS);
	q = expect_next(p, "question");
	assert_int_equal(parked_mode(q, PARK_WAIT_MS), ANSWER_LAST);
	park_release(p, q);
}

/* Parked without a word of what for: it is asked again by and by. */
static void test_nothing_named(void **state)
{
	struct park *p = *state;
	struct answer_missing m = {.count = 0};

	assert_int_equal(put(p, 1000, "question", &m, 0), ST_OK);
	park_due(p, PARK_RETRY_MS - 1);
	assert_null(park_next(p));
	park_due(p, PARK_RETRY_MS);
	struct parked *q = expect_next(p, "question");
	park_again(p, q, &m, PARK_RETRY_MS);
	park_due(p, 2 * PARK_RETRY_MS);
	q = expect_next(p, "question");
	assert_int_equal(parked_mode(q, 2 * PARK_RETRY_MS), ANSWER_AGAIN);
	park_release(p, q);
}

static void test_again_keeps_its_arrival(void **state)
{
	struct park *p = *state;
	struct answer_missing first = missing_one(1);
	struct answer_missing second = missing_one(2);

	assert_int_equal(put(p, 1000, "question", &first, 0), ST_OK);
	park_settled(p, rrset_named(1), true, 1500);
	park_again(p, expect_next(p, "question"), &second, 1500);
	assert_int_equal(p->count, 1);
	park_settled(p, rrset_named(1), true, 1600);
	assert_null(park_next(p));
	/* Asked while it is parked again: still the same question. */
	assert_int_equal(put(p, 1000, "question", &second, 1600), ST_EEXIST);
	park_due(p, PARK_WAIT_MS);
	struct parked *q = expect_next(p, "question");
	assert_int_equal(parked_mode(q, PARK_WAIT_MS), ANSWER_LAST);
	park_release(p, q);
}

static void test_expire(void **state)
{
	struct park *p = *state;
	struct answer_missing m = missing_one(1);

	assert_int_equal(put(p, 1, "waiting", &m, 0), ST_OK);
	m = missing_one(2);
	assert_int_equal(put(p, 2, "ready", &m, 0), ST_OK);
	park_settled(p, rrset_named(2), true, 1);
	park_expire(p);
	for (int i = 0; i < 2; i++) {
		struct parked *q = expect_next(p, i == 0 ? "ready" : "waiting");
		assert_int_equal(parked_mode(q, 1), ANSWER_LAST);
		park_release(p, q);
	}
	assert_null(park_next(p));
	assert_int_equal(p->count, 0);
}

/* What the slab should hold, as a plain list. */
struct model {
	struct {
		bool used;
		uint16_t port;
		uint32_t waits; /* bit per RRset */
	} q[ROOM];
};

static void model_put(struct park *p, struct model *model, uint16_t port, uint32_t waits)
{
	struct answer_missing m = {.zone = zone_named(port)};
	size_t free_at = ROOM;
	enum status expected = ST_OK;

	for (unsigned i = 0; i < 16; i++) {
		if ((waits >> i & 1) != 0) {
			m.rrsets[m.count++] = rrset_named(i);
		}
	}
	for (size_t i = 0; i < ROOM; i++) {
		if (!model->q[i].used) {
			free_at = i;
		} else if (model->q[i].port == port) {
			expected = ST_EEXIST;
		}
	}
	if (expected == ST_OK && free_at == ROOM) {
		expected = ST_ELIMIT;
	}
	assert_int_equal(put(p, port, "question", &m, 0), expected);
	if (expected == ST_OK) {
		model->q[free_at].used = true;
		model->q[free_at].port = port;
		model->q[free_at].waits = waits;
	}
}

static void model_settle(struct park *p, struct model *model, unsigned which)
{
	size_t ready = 0;

	park_settled(p, rrset_named(which), true, 0);
	for (size_t i = 0; i < ROOM; i++) {
		if (model->q[i].used && (model->q[i].waits >> which & 1) != 0) {
			model->q[i].waits &= ~(UINT32_C(1) << which);
			ready += model->q[i].waits == 0;
		}
	}
	for (struct parked *q = park_next(p); q != NULL; q = park_next(p), ready--) {
		uint16_t port = ntohs(q->reply.peer.in4.sin_port);
		bool found = false;
		for (size_t i = 0; i < ROOM; i++) {
			if (model->q[i].used && model->q[i].port == port) {
				assert_int_equal(model->q[i].waits, 0);
				model->q[i].used = false;
				found = true;
			}
		}
		assert_true(found);
		park_release(p, q);
	}
	assert_int_equal(ready, 0);
}

static void test_against_a_model(void **state)
{
	struct park *p = *state;
	struct model model = {0};
	uint32_t random = 12345;

	for (unsigned i = 0; i < 20000; i++) {
		random = random * 1664525 + 1013904223;
		uint32_t bits = random >> 8;
		if (bits % 3 != 0) {
			uint32_t waits = (1U << (bits >> 4 & 15)) | (1U << (bits >> 8 & 15)) |
					 (1U << (bits >> 12 & 15));
			model_put(p, &model, (uint16_t)(bits >> 16 & 127), waits);
		} else {
			model_settle(p, &model, bits >> 4 & 15);
		}
	}
	for (unsigned i = 0; i < 16; i++) {
		model_settle(p, &model, i);
	}
	assert_int_equal(p->count, 0);
}

/* Those that this thread signs for come in their order, and the first stays first. */
static void test_later(void **state)
{
	struct park *p = *state;
	struct answer_missing later = {.later = true};
	struct answer_missing other = missing_one(1);
	struct parked *q;

	assert_int_equal(put(p, 1, "one", &later, 0), ST_OK);
	assert_int_equal(put(p, 2, "two", &later, 0), ST_OK);
	assert_int_equal(put(p, 2, "two", &later, 0), ST_EEXIST);
	assert_int_equal(put(p, 3, "three", &other, 0), ST_OK);
	assert_int_equal(p->later_count, 2);
	/* No time is over for them, and nothing settles them. */
	park_due(p, 10 * PARK_WAIT_MS);
	park_release(p, expect_next(p, "three"));
	park_settled(p, rrset_named(1), true, 0);
	assert_null(park_next(p));

	expect_next_later(p, "one", &q);
	assert_int_equal(put(p, 4, "four", &later, 0), ST_OK);
	park_again(p, q, &later, 0);
	expect_next_later(p, "one", &q);
	/* The rest of it is another's to sign. */
	park_again(p, q, &other, 0);
	expect_next_later(p, "two", &q);
	park_release(p, q);
	expect_next_later(p, "four", &q);
	assert_null(park_next_later(p));
	park_again(p, q, &later, 0);
	park_settled(p, rrset_named(1), true, 0);
	park_release(p, expect_next(p, "one"));
	expect_next_later(p, "four", &q);
	park_release(p, q);
	assert_int_equal(p->later_count, 0);
	assert_int_equal(p->count, 0);
}

static void test_later_is_bounded(void **state)
{
	struct answer_missing later = {.later = true};
	struct answer_missing other = missing_one(1);
	struct park p;
	struct parked *q;

	(void)state;
	assert_int_equal(park_init(&p, 2 * PARK_LATER_MAX), ST_OK);
	for (unsigned i = 0; i < PARK_LATER_MAX; i++) {
		assert_false(park_later_full(&p));
		assert_int_equal(put(&p, (uint16_t)i, "q", &later, 0), ST_OK);
	}
	assert_true(park_later_full(&p));
	assert_int_equal(put(&p, 9999, "q", &later, 0), ST_ELIMIT);
	assert_int_equal(put(&p, 9999, "q", &other, 0), ST_OK);
	expect_next_later(&p, "q", &q);
	assert_false(park_later_full(&p));
	park_release(&p, q);
	/* All are ready once their time is taken to be over. */
	park_expire(&p);
	assert_null(park_next_later(&p));
	for (unsigned i = 0; i < PARK_LATER_MAX; i++) {
		q = expect_next(&p, "q");
		assert_int_equal(parked_mode(q, 0), ANSWER_LAST);
		park_release(&p, q);
	}
	assert_null(park_next(&p));
	assert_int_equal(p.count, 0);
	assert_int_equal(put(&p, 1, "q", &later, 0), ST_OK);
	expect_next_later(&p, "q", &q);
	park_fini(&p);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, park_set_up, park_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_settled_is_ready),
		CASE(test_waits_for_all),
		CASE(test_one_settling_wakes_all_who_wait),
		CASE(test_retransmission),
		CASE(test_asked_again_after_its_answer),
		CASE(test_bounds),
		CASE(test_time_is_over),
		CASE(test_failure_is_tried_again_soon),
		CASE(test_nothing_named),
		CASE(test_again_keeps_its_arrival),
		CASE(test_expire),
		CASE(test_later),
		CASE(test_later_is_bounded),
		CASE(test_against_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
