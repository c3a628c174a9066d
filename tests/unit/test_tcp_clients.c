/* Counting TCP connections by client. */
#include "nsd-core/tcp_clients.h"

#include "nsd-core/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct sockaddr *address(const char *text)
{
	static struct conf_address a;

	assert_int_equal(conf_address_parse(text, 53, &a), ST_OK);
	return (const struct sockaddr *)&a.addr;
}

static enum status take(struct tcp_clients *c, const char *text)
{
	uint32_t place = UINT32_MAX;
	enum status st = tcp_clients_take(c, address(text), &place);

	assert_true((st == ST_OK) == (place != UINT32_MAX));
	return st;
}

static int set_up(void **state)
{
	struct tcp_clients *c = malloc(sizeof(*c));

	assert_non_null(c);
	assert_int_equal(tcp_clients_init(c, 5, 2), ST_OK);
	/* So that no two of the addresses below share a place by chance. */
	c->seed = 1;
	*state = c;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void test_per_address(void **state)
{
	struct tcp_clients *c = *state;
	uint32_t place;

	assert_int_equal(tcp_clients_take(c, address("192.0.2.1@1000"), &place), ST_OK);
	assert_int_equal(take(c, "192.0.2.1@1001"), ST_OK);
	assert_int_equal(take(c, "192.0.2.1@1002"), ST_ELIMIT);
	assert_int_equal(take(c, "192.0.2.2@1000"), ST_OK);
	tcp_clients_give(c, place);
	assert_int_equal(take(c, "192.0.2.1@1003"), ST_OK);
	assert_int_equal(take(c, "192.0.2.1@1004"), ST_ELIMIT);
}

static void test_ipv6_by_64(void **state)
{
	struct tcp_clients *c = *state;

	assert_int_equal(take(c, "2001:db8::1"), ST_OK);
	assert_int_equal(take(c, "2001:db8::ffff:ffff:ffff:2"), ST_OK);
	assert_int_equal(take(c, "2001:db8::3"), ST_ELIMIT);
	assert_int_equal(take(c, "2001:db8:0:1::1"), ST_OK);
}

static void test_in_all(void **state)
{
	struct tcp_clients *c = *state;
	uint32_t place;

	assert_int_equal(tcp_clients_take(c, address("192.0.2.1"), &place), ST_OK);
	assert_int_equal(take(c, "192.0.2.2"), ST_OK);
	assert_int_equal(take(c, "192.0.2.3"), ST_OK);
	assert_int_equal(take(c, "192.0.2.4"), ST_OK);
	assert_int_equal(take(c, "192.0.2.5"), ST_OK);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(take(c, "192.0.2.6"), ST_ELIMIT);
	}
	/* What was refused does not count. */
	tcp_clients_give(c, place);
	assert_int_equal(take(c, "192.0.2.6"), ST_OK);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_per_address),
		CASE(test_ipv6_by_64),
		CASE(test_in_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
