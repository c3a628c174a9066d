/* Which serial comes next. */
#include "nsd-core/base/serial.h"

#include "nsd-core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOON INT64_C(1795780800) /* 2026-11-27 12:00:00Z */
#define DAY  INT64_C(86400)

static void what_comes_next(void **state)
{
	static const struct {
		const char *name;
		enum serial_kind kind;
		uint32_t last;
		int64_t now_s;
		uint32_t next;
	} cases[] = {
		{"one more", SERIAL_INCREMENT, 7, NOON, 8},
		{"round the end", SERIAL_INCREMENT, UINT32_MAX, NOON, 0},
		{"the clock", SERIAL_UNIXTIME, 7, NOON, (uint32_t)NOON},
		{"twice in a second", SERIAL_UNIXTIME, (uint32_t)NOON, NOON, (uint32_t)NOON + 1},
		{"the clock went back", SERIAL_UNIXTIME, (uint32_t)NOON, NOON - DAY,
		 (uint32_t)NOON + 1},
		{"time past 32 bits", SERIAL_UNIXTIME, UINT32_MAX, INT64_C(4294967296) + 5, 5},
		{"time just there", SERIAL_UNIXTIME, UINT32_MAX, INT64_C(4294967296), 0},
		{"a day's first", SERIAL_DATE, 7, NOON, 2026112700},
		{"a day's second", SERIAL_DATE, 2026112700, NOON, 2026112701},
		{"a day's hundred and first", SERIAL_DATE, 2026112799, NOON, 2026112800},
		{"a day's last second", SERIAL_DATE, 2026112750, NOON + DAY / 2 - 1, 2026112751},
		{"the next day", SERIAL_DATE, 2026112750, NOON + DAY / 2, 2026112800},
		{"the next day, that has begun", SERIAL_DATE, 2026112803, NOON + DAY, 2026112804},
		{"a day's date while the clock is a year behind", SERIAL_DATE, 2026112750,
		 NOON - 365 * DAY, 2026112751},
		{"the new year", SERIAL_DATE, 2026123105, NOON + 35 * DAY, 2027010100},
		{"before 1970", SERIAL_DATE, 4000000000, -DAY, 4000000001},
		{"a year that does not fit", SERIAL_DATE, 7, INT64_C(100000000000), 8},
		{"no year at all", SERIAL_DATE, 7, INT64_MAX, 8},
		{"from seconds to dates", SERIAL_DATE, (uint32_t)NOON, NOON, 2026112700},
		{"from dates to seconds", SERIAL_UNIXTIME, 2026112700, NOON, 2026112701},
		{"as far ahead as may be", SERIAL_DATE, 2026112700U - 0x7fffffffU, NOON,
		 2026112700},
		{"further than that", SERIAL_DATE, 2026112700U - 0x80000000U, NOON,
		 2026112701U - 0x80000000U},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t next = serial_next(cases[i].kind, cases[i].last, cases[i].now_s);
		if (next != cases[i].next || !serial_gt(next, cases[i].last)) {
			fail_msg("%s: %u, not %u", cases[i].name, next, cases[i].next);
		}
	}
}

static void a_day_of_changes_goes_on_and_on(void **state)
{
	uint32_t last = 2026112700;
	(void)state;
	for (unsigned i = 0; i < 250; i++) {
		uint32_t next = serial_next(SERIAL_DATE, last, NOON);
		assert_int_equal(next, last + 1);
		last = next;
	}
	/* Two days on the date is behind, on the third it is ahead. */
	assert_int_equal(serial_next(SERIAL_DATE, last, NOON + 2 * DAY), last + 1);
	assert_int_equal(serial_next(SERIAL_DATE, last, NOON + 3 * DAY), 2026113000);
}

static void the_first_serial(void **state)
{
	(void)state;
	assert_int_equal(serial_first(SERIAL_INCREMENT, 7, NOON), 7);
	assert_int_equal(serial_first(SERIAL_KEEP, 7, NOON), 7);
	assert_int_equal(serial_first(SERIAL_UNIXTIME, 7, NOON), (uint32_t)NOON);
	assert_int_equal(serial_first(SERIAL_UNIXTIME, 2026112701, NOON), 2026112701);
	assert_int_equal(serial_first(SERIAL_DATE, 2026112701, NOON), 2026112701);
	assert_int_equal(serial_first(SERIAL_DATE, 2025010101, NOON), 2026112700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_next),
		cmocka_unit_test(a_day_of_changes_goes_on_and_on),
		cmocka_unit_test(the_first_serial),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
