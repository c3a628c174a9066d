#include "nsd-core/base/status.h"

#include <errno.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void every_status_has_a_text_of_its_own(void **state)
{
	(void)state;
	for (int i = ST_OK; i <= ST_EFATAL; i++) {
		assert_non_null(status_text((enum status)i));
		assert_string_not_equal(status_text((enum status)i), "unknown status");
		for (int j = ST_OK; j < i; j++) {
			assert_string_not_equal(status_text((enum status)i),
						status_text((enum status)j));
		}
	}
	assert_string_equal(status_text((enum status)(ST_EFATAL + 1)), "unknown status");
}

static void errno_values_keep_their_sense(void **state)
{
	static const struct {
		int err;
		enum status st;
	} cases[] = {
		{0, ST_OK},
		{ENOMEM, ST_ENOMEM},
		{ENOENT, ST_ENOENT},
		{ENOTDIR, ST_ENOENT},
		{EEXIST, ST_EEXIST},
		/* Unknown, never absent. */
		{EACCES, ST_EACCES},
		{EPERM, ST_EACCES},
		{EAGAIN, ST_EAGAIN},
		{EINTR, ST_EAGAIN},
		{ETIMEDOUT, ST_ETIMEDOUT},
		{ENOTSUP, ST_ENOTSUP},
		{ENAMETOOLONG, ST_ESPACE},
		{ENOSPC, ST_ELIMIT},
		{EMFILE, ST_ELIMIT},
		{EIO, ST_EIO},
		/* A device that went away may hold the keys: not absent either. */
		{ENODEV, ST_EIO},
		{ENXIO, ST_EIO},
		{EISDIR, ST_EIO},
		{99999, ST_EIO},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(status_from_errno(cases[i].err), cases[i].st);
	}
}

static void past_the_limit_only_the_counters_move(void **state)
{
	struct diags d;

	(void)state;
	diags_init(&d, 3);
	for (int i = 0; i < 20; i++) {
		diags_error(&d, "error %d", i);
		diags_warn(&d, "warning %d", i);
	}
	assert_int_equal(d.count, 3);
	assert_int_equal(d.errors, 20);
	assert_int_equal(d.warnings, 20);
	assert_string_equal(d.items[0].text, "error 0");
	assert_string_equal(d.items[1].text, "warning 0");
	assert_int_equal(d.items[1].level, DIAG_WARNING);
	diags_fini(&d);
	assert_int_equal(d.count, 0);
	assert_int_equal(d.limit, 3);
	diags_fini(&d);
}

static void file_name_is_copied(void **state)
{
	struct diags d;
	char file[] = "a.zone";

	(void)state;
	diags_init(&d, DIAGS_LIMIT);
	for (int i = 0; i < DIAGS_LIMIT; i++) {
		diags_add(&d, DIAG_ERROR, file, 1, 2, "x");
	}
	memset(file, 'z', sizeof(file) - 1);
	assert_int_equal(d.count, DIAGS_LIMIT);
	assert_string_equal(d.items[DIAGS_LIMIT - 1].file, "a.zone");
	diags_fini(&d);
}

static void without_a_list_nothing_happens(void **state)
{
	(void)state;
	diags_add(NULL, DIAG_ERROR, "f", 1, 1, "x");
	diags_error(NULL, "x");
	diags_warn(NULL, "x");
}

static void format_leaves_out_what_is_unknown(void **state)
{
	static char file[] = "a.zone";
	static char text[] = "bad type";
	static const struct {
		struct diag d;
		const char *want;
	} cases[] = {
		{{DIAG_ERROR, file, 3, 7, text}, "a.zone:3:7: error: bad type"},
		{{DIAG_WARNING, file, 3, 0, text}, "a.zone:3: warning: bad type"},
		{{DIAG_ERROR, file, 0, 0, text}, "a.zone: error: bad type"},
		{{DIAG_ERROR, file, 0, 9, text}, "a.zone: error: bad type"},
		{{DIAG_ERROR, NULL, 0, 0, text}, "error: bad type"},
		{{DIAG_ERROR, NULL, 3, 7, text}, "3:7: error: bad type"},
		{{DIAG_ERROR, file, UINT32_MAX, UINT32_MAX, text},
		 "a.zone:4294967295:4294967295: error: bad type"},
	};
	char buf[100];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ptr_equal(diag_format(&cases[i].d, buf, sizeof(buf)), buf);
		assert_string_equal(buf, cases[i].want);
	}
	assert_string_equal(diag_format(&cases[0].d, buf, 9), "a.zone:3");
}

static void take_moves_what_there_is_room_for(void **state)
{
	struct diags to;
	struct diags from;

	(void)state;
	diags_init(&to, 3);
	diags_init(&from, 10);
	diags_error(&to, "first");
	diags_add(&from, DIAG_WARNING, "f", 1, 1, "second");
	diags_error(&from, "third");
	diags_error(&from, "fourth");
	diags_take(&to, &from);
	assert_int_equal(from.count, 0);
	assert_int_equal(from.errors, 0);
	assert_int_equal(to.count, 3);
	assert_int_equal(to.errors, 3);
	assert_int_equal(to.warnings, 1);
	assert_string_equal(to.items[1].text, "second");
	assert_string_equal(to.items[2].text, "third");
	diags_error(&from, "again");
	assert_int_equal(from.count, 1);
	diags_fini(&from);
	diags_fini(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_has_a_text_of_its_own),
		cmocka_unit_test(errno_values_keep_their_sense),
		cmocka_unit_test(past_the_limit_only_the_counters_move),
		cmocka_unit_test(file_name_is_copied),
		cmocka_unit_test(without_a_list_nothing_happens),
		cmocka_unit_test(format_leaves_out_what_is_unknown),
		cmocka_unit_test(take_moves_what_there_is_room_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
