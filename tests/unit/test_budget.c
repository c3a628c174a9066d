/* Who is within the budget. Seeds are fixed, so that the clients of these tests share no place. */
#include "nsd-core/budget.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TAKES 4

union client {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static struct sockaddr *client(union client *c, const char *text)
{
	memset(c, 0, sizeof(*c));
	if (inet_pton(AF_INET, text, &c->in4.sin_addr) == 1) {
		c->any.sa_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &c->in6.sin6_addr), 1);
		c->any.sa_family = AF_INET6;
	}
	return &c->any;
}

/* Identities only. */
static const struct zone *zone_named(unsigned n)
{
	static uint8_t identities[4096];

	return (const struct zone *)(const void *)&identities[n];
}

static int set_up(void **state)
{
	struct budget *b = malloc(sizeof(*b));

	assert_non_null(b);
	assert_int_equal(budget_init(b), ST_OK);
	b->seed = 1;
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static bool take(struct budget *b, const char *from, const struct zone *zone, bool nonexistent,
		 struct budget_ticket *t)
{
	union client c;

	budget_look(b, client(&c, from), zone, nonexistent, t);
	budget_take(b, t);
	return t->urgent;
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{"192.0.2.1", "192.0.2.254", true},
		{"192.0.2.1", "192.0.3.1", false},
		{"0.0.2.1", "::2", false},
		{"2001:db8:0:100::1", "2001:db8:0:1ff:ffff::1", true},
		{"2001:db8:0:100::1", "2001:db8:0:200::1", false},
		{"2001:db8::1", "2001:db9::1", false},
	};
	const struct budget *b = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		union client c;
		struct budget_ticket one;
		struct budget_ticket other;
		budget_look(b, client(&c, cases[i].a), NULL, false, &one);
		budget_look(b, client(&c, cases[i].b), NULL, false, &other);
		if ((one.prefix == other.prefix) != cases[i].same) {
			fail_msg("%s and %s", cases[i].a, cases[i].b);
		}
	}
}

static void test_a_prefix_has_a_budget(void **state)
{
	struct budget *b = *state;
	struct budget_ticket t[BUDGET_PREFIX];
	struct budget_ticket over[3];
	struct budget_ticket other;
	union client c;

	for (unsigned i = 0; i < BUDGET_PREFIX; i++) {
		assert_int_equal(budget_look(b, client(&c, "192.0.2.1"), NULL, false, &other), i);
		assert_true(take(b, "192.0.2.1", NULL, false, &t[i]));
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_false(take(b, "192.0.2.77", NULL, false, &over[i]));
	}
	assert_true(take(b, "192.0.3.1", NULL, false, &other));
	assert_int_equal(budget_look(b, client(&c, "192.0.2.1"), NULL, false, &other),
			 BUDGET_PREFIX + 3);
	/* What is beyond it takes nothing from it, and gives nothing back. */
	budget_give(b, &over[0]);
	assert_false(take(b, "192.0.2.1", NULL, false, &over[0]));
	budget_give(b, &t[0]);
	assert_true(take(b, "192.0.2.1", NULL, false, &t[0]));
	assert_false(take(b, "192.0.2.1", NULL, false, &other));
}

static void test_names_that_exist_come_first(void **state)
{
	struct budget *b = *state;
	struct budget_ticket t;
	unsigned urgent = 0;

	for (unsigned i = 0; i < 100; i++) {
		urgent += take(b, "192.0.2.1", NULL, true, &t);
	}
	assert_int_equal(urgent, BUDGET_PREFIX_NONEXISTENT);
	/* Who floods with names that are not there leaves the rest to those that are. */
	for (unsigned i = BUDGET_PREFIX_NONEXISTENT; i < BUDGET_PREFIX; i++) {
		assert_true(take(b, "192.0.2.1", NULL, false, &t));
	}
	assert_false(take(b, "192.0.2.1", NULL, false, &t));
	/* And who floods with those that are leaves others what they have for those that are not.
	 */
	for (unsigned i = 0; i < BUDGET_PREFIX; i++) {
		assert_true(take(b, "192.0.3.1", NULL, false, &t));
	}
	assert_true(take(b, "192.0.4.1", NULL, true, &t));
	budget_give(b, &t);
	assert_true(take(b, "192.0.4.1", NULL, true, &t));
	assert_true(take(b, "192.0.4.1", NULL, true, &t));
	assert_false(take(b, "192.0.4.1", NULL, true, &t));
}

/* From so many prefixes that no one of them has spent its own. */
static unsigned take_crowd(struct budget *b, const struct zone *zone, bool nonexistent)
{
	unsigned urgent = 0;

	for (unsigned i = 0; i < 200; i++) {
		struct budget_ticket t;
		char from[32];
		snprintf(from, sizeof(from), "2001:db8:%x::1", i);
		urgent += take(b, from, zone, nonexistent, &t);
	}
	return urgent;
}

static void test_a_zone_has_a_budget(void **state)
{
	struct budget *b = *state;
	struct budget_ticket t;
	struct budget_ticket one;
	union client c;
	unsigned other = 1;

	budget_look(b, client(&c, "192.0.2.1"), zone_named(0), false, &one);
	do {
		budget_look(b, client(&c, "192.0.2.1"), zone_named(other++), false, &t);
	} while (t.zone == one.zone);

	assert_int_equal(take_crowd(b, zone_named(0), true), BUDGET_ZONE_NONEXISTENT);
	assert_int_equal(take_crowd(b, zone_named(0), false),
			 BUDGET_ZONE - BUDGET_ZONE_NONEXISTENT);
	assert_false(take(b, "192.0.2.1", zone_named(0), false, &t));
	assert_true(take(b, "192.0.2.1", zone_named(other - 1), false, &t));
}

/* Whatever came and went, nothing is left of it. */
static void test_all_is_given_back(void **state)
{
	struct budget *b = *state;
	struct budget_ticket tickets[TAKES * 100];
	static const struct budget empty;

	for (unsigned i = 0; i < TAKES * 100; i++) {
		char from[32];
		snprintf(from, sizeof(from), "198.51.%u.1", i % 100);
		take(b, from, zone_named(i % 7), i % 3 == 0, &tickets[i]);
	}
	assert_memory_not_equal(b->prefixes, empty.prefixes, sizeof(b->prefixes));
	for (unsigned i = 0; i < TAKES * 100; i++) {
		budget_give(b, &tickets[i]);
	}
	assert_memory_equal(b->prefixes, empty.prefixes, sizeof(b->prefixes));
	assert_memory_equal(b->zones, empty.zones, sizeof(b->zones));
}

/* Places differ from one start to the next, so that nobody can aim at another's. */
static void test_places_are_drawn(void **state)
{
	struct budget *b = *state;
	struct budget_ticket t;
	union client c;
	unsigned moved = 0;
	uint16_t before[64];

	for (unsigned i = 0; i < 64; i++) {
		char from[32];
		snprintf(from, sizeof(from), "198.51.%u.1", i);
		budget_look(b, client(&c, from), NULL, false, &t);
		before[i] = t.prefix;
		assert_true(t.prefix < BUDGET_PREFIXES && t.zone < BUDGET_ZONES);
	}
	assert_int_equal(budget_init(b), ST_OK);
	for (unsigned i = 0; i < 64; i++) {
		char from[32];
		snprintf(from, sizeof(from), "198.51.%u.1", i);
		budget_look(b, client(&c, from), NULL, false, &t);
		moved += t.prefix != before[i];
	}
	assert_true(moved > 32);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_prefixes),
		CASE(test_a_prefix_has_a_budget),
		CASE(test_names_that_exist_come_first),
		CASE(test_a_zone_has_a_budget),
		CASE(test_all_is_given_back),
		CASE(test_places_are_drawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
