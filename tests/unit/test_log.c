/* The log: a line is a line, whatever stands in it. */
#include "nsd-core/log.h"

#include "nsd-core/base/clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* stderr, while a test runs: a file that is read back. */
struct captured {
	int saved;
	FILE *file;
	char text[8192];
};

static int set_up(void **state)
{
	struct captured *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->file = tmpfile();
	assert_non_null(c->file);
	c->saved = dup(STDERR_FILENO);
	assert_true(dup2(fileno(c->file), STDERR_FILENO) >= 0);
	clock_fake(0, 0);
	*state = c;
	return 0;
}

static int tear_down(void **state)
{
	struct captured *c = *state;

	clock_fake(-1, -1);
	unsetenv("JOURNAL_STREAM");
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	fclose(c->file);
	free(c);
	return 0;
}

static const char *logged(struct captured *c)
{
	ssize_t n = pread(fileno(c->file), c->text, sizeof(c->text) - 1, 0);

	assert_true(n >= 0);
	c->text[n] = '\0';
	return c->text;
}

static void test_levels_and_time(void **state)
{
	log_info("one %d", 1);
	log_warn("two");
	log_error("three");
	assert_string_equal(logged(*state), "1970-01-01 00:00:00Z one 1\n"
					    "1970-01-01 00:00:00Z warning: two\n"
					    "1970-01-01 00:00:00Z error: three\n");
}

static void test_journal(void **state)
{
	struct stat st;
	char stream[64];

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_info("one");
	log_warn("two");
	log_error("three");
	/* Inherited, and not about this stderr. */
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_info("four");
	assert_string_equal(logged(*state), "<6>one\n<4>warning: two\n<3>error: three\n"
					    "1970-01-01 00:00:00Z four\n");
}

static void test_control_characters(void **state)
{
	log_info("%s", "a\nb\r\x1b[0m\x7f\tc\xc3\xa9");
	assert_string_equal(logged(*state),
			    "1970-01-01 00:00:00Z a\\x0ab\\x0d\\x1b[0m\\x7f\\x09c\xc3\xa9\n");
}

static void test_long_lines_are_cut(void **state)
{
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	memset(text, '\n', sizeof(text) - 1);
	log_info("%s", text);
	const char *found = logged(*state);
	const char *first_end = strchr(found, '\n');
	assert_non_null(first_end);
	assert_true(first_end - found < 2048);
	assert_memory_equal(first_end - 3, "...", 3);
	size_t len = strlen(first_end + 1);
	assert_true(len <= 2048);
	assert_string_equal(first_end + 1 + len - 4, "...\n");
}

static void test_diags(void **state)
{
	struct diags d;

	diags_init(&d, 2);
	diags_add(&d, DIAG_ERROR, "file", 1, 2, "bad");
	diags_warn(&d, "odd");
	diags_error(&d, "one more than is kept");
	log_diags(&d);
	diags_fini(&d);
	assert_string_equal(logged(*state),
			    "1970-01-01 00:00:00Z file:1:2: error: bad\n"
			    "1970-01-01 00:00:00Z warning: odd\n"
			    "1970-01-01 00:00:00Z error: 1 findings more are not shown\n");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_levels_and_time),    CASE(test_journal), CASE(test_control_characters),
		CASE(test_long_lines_are_cut), CASE(test_diags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
