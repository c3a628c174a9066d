/* Who is parked, and in which order, where some ask for too much. */
#include "tests/unit/park_fixture.h"

/* Another zone than 'zone', which does not share its place either. */
static const struct zone *zone_apart(const struct park *p, const struct zone *zone)
{
	struct park_reply reply = udp_from(1);
	const struct sockaddr *client = (const struct sockaddr *)&reply.peer;
	struct budget_ticket one;
	struct budget_ticket other;

	budget_look(&p->budget, client, zone, false, &one);
	for (unsigned i = 1;; i++) {
		budget_look(&p->budget, client, zone_named(i), false, &other);
		if (other.zone != one.zone) {
			return zone_named(i);
		}
	}
}

/* A question of number n, from a port of one prefix. */
static enum status put_crowd(struct park *p, uint16_t n, const struct answer_missing *m)
{
	struct park_reply reply = udp_from(1);
	struct bytes question = {(const uint8_t *)"q", 1};

	reply.peer.in4.sin_port = htons(n);
	return put_from(p, &reply, &question, m, 0);
}

static void test_a_prefix_has_its_share(void **state)
{
	struct answer_missing m = missing_one(1);
	struct answer_missing nonexistent = missing_one(2);
	struct answer_missing later = {.later = true};
	struct park *p = *state;

	nonexistent.nonexistent = true;
	for (uint16_t i = 0; i < PARK_SHARE_NONEXISTENT(ROOM); i++) {
		assert_int_equal(put_crowd(p, i, &nonexistent), ST_OK);
	}
	assert_int_equal(put_crowd(p, 100, &nonexistent), ST_EREFUSED);
	for (uint16_t i = PARK_SHARE_NONEXISTENT(ROOM); i < PARK_SHARE(ROOM); i++) {
		assert_int_equal(put_crowd(p, i, &m), ST_OK);
	}
	assert_int_equal(put_crowd(p, 100, &m), ST_EREFUSED);
	/* What came again is there all the same; what this thread signs for has its own bound. */
	assert_int_equal(put_crowd(p, 0, &m), ST_EEXIST);
	assert_int_equal(put_crowd(p, 100, &later), ST_OK);
	assert_int_equal(p->count, PARK_SHARE(ROOM) + 1);
	park_release(p, park_next_later(p));
	/* What it gives back it may have again. */
	park_settled(p, rrset_named(2), true, 1);
	park_release(p, expect_next(p, "q"));
	assert_int_equal(put_crowd(p, 100, &m), ST_OK);
	assert_int_equal(put_crowd(p, 101, &m), ST_EREFUSED);
}

/* However many prefixes ask for one zone, there is room for who asks for another one. */
static void test_room_for_those_within_their_budget(void **state)
{
	struct answer_missing m = missing_one(1);
	struct park *p = *state;
	unsigned urgent = 0;

	for (uint16_t i = 0; i < PARK_EXCESS(ROOM); i++) {
		assert_int_equal(put(p, i, "q", &m, 0), ST_OK);
		urgent += p->slots[i].ticket.urgent;
	}
	assert_int_equal(urgent, BUDGET_ZONE);
	assert_int_equal(put(p, 1000, "q", &m, 0), ST_ELIMIT);
	m.zone = zone_apart(p, NULL);
	assert_int_equal(put(p, 1000, "q", &m, 0), ST_OK);
	assert_true(p->slots[PARK_EXCESS(ROOM)].ticket.urgent);
	assert_int_equal(p->count, PARK_EXCESS(ROOM) + 1);
}

/* Of what this thread signs for, one prefix's crowd is behind the others. */
static void test_later_within_the_budget_first(void **state)
{
	struct answer_missing later = {.later = true};
	struct answer_missing other = missing_one(1);
	struct park_reply reply = udp_from(500);
	struct bytes question = {(const uint8_t *)"other", 5};
	struct park *p = *state;
	struct parked *q;

	for (uint16_t i = 0; i < BUDGET_PREFIX + 3; i++) {
		assert_int_equal(put_crowd(p, i, &later), ST_OK);
	}
	assert_int_equal(put_from(p, &reply, &question, &later, 0), ST_OK);
	for (unsigned i = 0; i < BUDGET_PREFIX; i++) {
		expect_next_later(p, "q", &q);
		assert_int_equal(ntohs(q->reply.peer.in4.sin_port), i);
		park_release(p, q);
	}
	expect_next_later(p, "other", &q);
	park_release(p, q);
	/* The crowd's rest in its order; what is not done yet stays the first of it. */
	expect_next_later(p, "q", &q);
	assert_int_equal(ntohs(q->reply.peer.in4.sin_port), BUDGET_PREFIX);
	park_again(p, q, &later, 0);
	for (unsigned i = BUDGET_PREFIX; i < BUDGET_PREFIX + 2; i++) {
		expect_next_later(p, "q", &q);
		assert_int_equal(ntohs(q->reply.peer.in4.sin_port), i);
		park_release(p, q);
	}
	/* The last one waits for others in the end, and all of them are ready at the end. */
	expect_next_later(p, "q", &q);
	park_again(p, q, &other, 0);
	assert_int_equal(put_crowd(p, 100, &later), ST_OK);
	assert_int_equal(p->later_count, 1);
	park_expire(p);
	assert_null(park_next_later(p));
	park_release(p, expect_next(p, "q"));
	park_release(p, expect_next(p, "q"));
	assert_int_equal(p->count, 0);
	assert_int_equal(p->later_count, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, park_set_up, park_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_a_prefix_has_its_share),
		CASE(test_room_for_those_within_their_budget),
		CASE(test_later_within_the_budget_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
