/* What replies of a parent's servers mean. */
#include "parent_server.h"

#define ID 0x1234

static const uint8_t zone[] = "\7example\4test";
static const uint8_t upper[] = "\7EXAMPLE\4test";
static const uint8_t other[] = "\5other\4test";

static const struct reply_case cases[] = {
	{"NODATA", ID, 0x8400, zone, 43, NULL, 0, 0, PARENT_ABSENT},
	{"NXDOMAIN", ID, 0x8403, zone, 43, NULL, 0, 0, PARENT_ABSENT},
	{"DS", ID, 0x8400, zone, 43, zone, 43, 0, PARENT_PRESENT},
	{"DS, other case", ID, 0x8400, upper, 43, upper, 43, 0, PARENT_PRESENT},
	{"DS of another name", ID, 0x8400, zone, 43, other, 43, 0, PARENT_ABSENT},
	{"another type", ID, 0x8400, zone, 43, zone, 46, 0, PARENT_ABSENT},
	{"referral", ID, 0x8000, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"DS from a cache", ID, 0x8000, zone, 43, zone, 43, 0, PARENT_UNKNOWN},
	{"REFUSED", ID, 0x8405, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"SERVFAIL", ID, 0x8402, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"truncated", ID, 0x8600, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"a query", ID, 0x0400, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"another id", ID + 1, 0x8400, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"another question", ID, 0x8400, other, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"another question's type", ID, 0x8400, zone, 1, NULL, 0, 0, PARENT_UNKNOWN},
	{"cut short", ID, 0x8400, zone, 43, zone, 46, 3, PARENT_UNKNOWN},
	{"cut short in the DS", ID, 0x8400, zone, 43, zone, 43, 3, PARENT_UNKNOWN},
};

static void test_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t buf[512];
		size_t len = make_reply(&cases[i], buf, sizeof(buf));
		/* Exactly as long as it is, for the sanitizer. */
		uint8_t *exact = malloc(len);
		assert_non_null(exact);
		memcpy(exact, buf, len);
		if (parent_read_reply(zone, ID, exact, len) != cases[i].expect) {
			fail_msg("%s", cases[i].name);
		}
		free(exact);
	}
	for (size_t len = 0; len < 12; len++) {
		uint8_t buf[12] = {ID >> 8, ID & 0xff, 0x84, 0, 0, 1};
		assert_int_equal(parent_read_reply(zone, ID, buf, len), PARENT_UNKNOWN);
	}
}

/* One without a DS proves nothing of the others; one with a DS is enough. */
static void test_all_servers_are_asked(void **state)
{
	static const struct reply_case absent[] = {{"", 0, 0x8400, zone, 43, NULL, 0, 0, 0},
						   {"", 0, 0x8400, zone, 43, NULL, 0, 0, 0},
						   {"", 0, 0x8400, zone, 43, NULL, 0, 0, 0}};
	static const struct reply_case mixed[] = {{"", 0, 0x8400, zone, 43, NULL, 0, 0, 0},
						  {"", 0, 0x8400, zone, 43, zone, 43, 0, 0},
						  {"", 0, 0x8405, zone, 43, NULL, 0, 0, 0}};
	struct server a;
	struct server b;
	(void)state;
	server_start(&a, absent, 3);
	server_start(&b, mixed, 3);
	const struct conf_address both[2] = {a.address, b.address};
	assert_int_equal(parent_ask(zone, both, 2, NULL), PARENT_ABSENT);
	assert_int_equal(parent_ask(zone, both, 2, NULL), PARENT_PRESENT);
	assert_int_equal(parent_ask(zone, both, 2, NULL), PARENT_UNKNOWN);
	server_stop(&a);
	server_stop(&b);
	/* Nobody listens there now. */
	assert_int_equal(parent_ask(zone, both, 1, NULL), PARENT_UNKNOWN);
	assert_int_equal(parent_ask(zone, both, 0, NULL), PARENT_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_all_servers_are_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
