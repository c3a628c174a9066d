#include "nsd-core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void clocks_run_and_freeze(void **state)
{
	(void)state;
	int64_t before = clock_mono_ms();
	assert_true(clock_mono_ms() >= before);
	assert_true(clock_wall_s() > INT64_C(1700000000));
	clock_fake(1000, 5);
	assert_int_equal(clock_wall_s(), 1000);
	assert_int_equal(clock_mono_ms(), 5);
	clock_fake(0, 0);
	assert_int_equal(clock_wall_s(), 0);
	assert_int_equal(clock_mono_ms(), 0);
	clock_fake(-1, -1);
	assert_true(clock_wall_s() > INT64_C(1700000000));
	assert_true(clock_mono_ms() >= before);
}

/* RFC 1982 5.1 and 5.2, over 32 bits. */
static void serials(void **state)
{
	static const struct {
		uint32_t a, b;
		int gt;
	} cases[] = {
		{1, 0, 1},
		{0, 1, 0},
		{7, 7, 0},
		{0, UINT32_MAX, 1},
		{UINT32_MAX, 0, 0},
		{UINT32_C(0x7fffffff), 0, 1},
		{UINT32_C(0x80000001), 0, 0},
		{100, UINT32_C(0xffffff00), 1},
		/* Half the circle apart: neither is greater. */
		{UINT32_C(0x80000000), 0, 0},
		{0, UINT32_C(0x80000000), 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(serial_gt(cases[i].a, cases[i].b), cases[i].gt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_run_and_freeze),
		cmocka_unit_test(serials),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
