/* Words, options, replies and tables. */
#include "nsd-core/control_syntax.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_commands(void **state)
{
	static const struct {
		const char *words[5];
		bool good;
		enum command_id id;
		const char *zone;
		const char *error;
	} cases[] = {
		{{"status"}, true, COMMAND_STATUS, NULL, NULL},
		{{"zone", "list"}, true, COMMAND_ZONE_LIST, NULL, NULL},
		{{"zone", "reload"}, true, COMMAND_ZONE_RELOAD, NULL, NULL},
		{{"zone", "reload", "a.test"}, true, COMMAND_ZONE_RELOAD, "a.test", NULL},
		{{"zone", "dump", "a.test."}, true, COMMAND_ZONE_DUMP, "a.test.", NULL},
		{{"ds", "zone"}, true, COMMAND_DS, "zone", NULL},
		{{"stop"}, true, COMMAND_STOP, NULL, NULL},
		{{"keystore", "list"}, true, COMMAND_KEYSTORE_LIST, NULL, NULL},
		{{"keystore", "check", "hsm"}, true, COMMAND_KEYSTORE_CHECK, NULL, NULL},
		{{"keystore", "check"}, false, 0, NULL, "usage: signetctl keystore check NAME"},
		{{"keystore", "bench", "a", "b"},
		 false,
		 0,
		 NULL,
		 "usage: signetctl keystore bench"},
		{{NULL}, false, 0, NULL, "no such command"},
		{{"zone"}, false, 0, NULL, "no such command"},
		{{"zone", "destroy"}, false, 0, NULL, "no such command"},
		{{"status", "x"}, false, 0, NULL, "usage: signetctl status"},
		{{"zone", "dump"}, false, 0, NULL, "usage: signetctl zone dump ZONE [--now]"},
		{{"zone", "reload", "a", "b"}, false, 0, NULL, "usage: signetctl zone reload"},
		{{"ds"}, false, 0, NULL, "usage: signetctl ds ZONE"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct command cmd = {.id = COMMAND_STOP};
		struct reply r;
		size_t count = 0;
		reply_init(&r);
		while (cases[i].words[count] != NULL) {
			count++;
		}
		bool good = command_parse(cases[i].words, count, &cmd, &r);
		assert_int_equal(good, cases[i].good);
		if (good) {
			assert_int_equal(cmd.id, cases[i].id);
			assert_int_equal(r.exit, EXIT_DONE);
			assert_int_equal(cmd.zone == NULL, cases[i].zone == NULL);
			if (cmd.zone != NULL) {
				assert_string_equal(cmd.zone, cases[i].zone);
			}
		} else {
			assert_int_equal(r.exit, EXIT_USAGE);
			assert_non_null(strstr(r.error, cases[i].error));
			assert_null(cmd.zone);
		}
		reply_fini(&r);
	}
}

static void test_options(void **state)
{
	static const struct {
		struct command cmd;
		const char *error;
	} cases[] = {
		{{.id = COMMAND_ZONE_RELOAD, .force = true}, NULL},
		{{.id = COMMAND_ZONE_DUMP, .now = true}, NULL},
		{{.id = COMMAND_DS, .form = "dnskey"}, NULL},
		{{.id = COMMAND_ZONE_DUMP, .force = true}, "--force"},
		{{.id = COMMAND_STATUS, .now = true}, "--now"},
		{{.id = COMMAND_KEY_LIST, .form = "ds"}, "--form"},
		{{.id = COMMAND_DS, .form = "DS"}, "'DS'"},
		{{.id = COMMAND_KEYSTORE_BENCH, .seconds = 60}, NULL},
		{{.id = COMMAND_KEYSTORE_BENCH, .seconds = 61}, "from 1 to 60"},
		{{.id = COMMAND_KEYSTORE_CHECK, .seconds = 1}, "--seconds"},
		{{.id = COMMAND_KEYSTORE_DELETE, .keystore = "k", .key = "x"}, NULL},
		{{.id = COMMAND_KEYSTORE_DELETE, .keystore = "k", .days = 7}, NULL},
		{{.id = COMMAND_KEYSTORE_DELETE, .keystore = "k", .days = 6}, "from 7 to 30"},
		{{.id = COMMAND_KEYSTORE_DELETE, .keystore = "k", .days = 31}, "from 7 to 30"},
		{{.id = COMMAND_KEYSTORE_CHECK, .keystore = "k", .days = 7}, "--days"},
		{{.id = COMMAND_KEY_IMPORT, .keystore = "k", .role = "csk"}, NULL},
		{{.id = COMMAND_KEY_IMPORT, .keystore = "k", .role = "KSK"}, "'KSK'"},
		{{.id = COMMAND_KEY_IMPORT}, "--keystore is missing"},
		{{.id = COMMAND_KEY_LIST, .keystore = "k"}, "--keystore"},
		{{.id = COMMAND_KEY_LIST, .role = "ksk"}, "--role"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply r;
		reply_init(&r);
		assert_int_equal(command_check_options(&cases[i].cmd, &r), cases[i].error == NULL);
		if (cases[i].error != NULL) {
			assert_int_equal(r.exit, EXIT_USAGE);
			assert_non_null(strstr(r.error, cases[i].error));
		}
		reply_fini(&r);
	}
}

static void test_reply_lines(void **state)
{
	struct reply r;
	size_t len;
	(void)state;
	reply_init(&r);
	r.text = strdup("two\nlines \"quoted\"\n");
	reply_note(&r, "note %d", 1);
	char *line = reply_to_line(&r, &len);
	assert_non_null(line);
	assert_int_equal(strlen(line), len);
	/* One line, whatever is in it. */
	assert_ptr_equal(strchr(line, '\n'), line + len - 1);
	assert_string_equal(line, "{\"version\":1,\"ok\":true,\"exit\":0,\"text\":\"two\\nlines "
				  "\\\"quoted\\\"\\n\",\"notes\":[\"note 1\"]}\n");
	free(line);

	/* A failure takes away what was said before. What is no UTF-8 gets through. */
	reply_fail(&r, EXIT_FAILED, "file \xff: %s", "gone");
	assert_null(r.text);
	line = reply_to_line(&r, &len);
	assert_string_equal(line, "{\"version\":1,\"ok\":false,\"exit\":1,\"error\":\"file ?: "
				  "gone\"}\n");
	free(line);
	reply_fini(&r);

	line = reply_chunk_line("a\tb\ncut off", 4, &len);
	assert_string_equal(line, "{\"version\":1,\"chunk\":\"a\\tb\\n\"}\n");
	free(line);
}

static void test_tables(void **state)
{
	struct table t;
	struct reply_text text;
	struct reply r;
	(void)state;
	reply_init(&r);
	table_init(&t, 3);
	static const char *const cells[] = {"ZONE", "N", "NEXT", "a.longer.name", "1",
					    "",	    "b", "",	 "soon",	  "c"};
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		table_put(&t, "%s", cells[i]);
	}
	reply_text_open(&text);
	assert_non_null(text.f);
	table_print(&t, text.f);
	reply_text_close(&text, &r);
	assert_string_equal(r.text, "ZONE           N  NEXT\n"
				    "a.longer.name  1\n"
				    "b                 soon\n"
				    "c\n");
	table_fini(&t);
	reply_fini(&r);
}

static void test_durations(void **state)
{
	static const struct {
		int64_t s;
		const char *text;
	} cases[] = {{-1, "0s"},	 {0, "0s"},	    {59, "59s"},
		     {60, "1m 0s"},	 {3599, "59m 59s"}, {3600, "1h 0m"},
		     {86399, "23h 59m"}, {86400, "1d 0h"},  {266400, "3d 2h"}};
	char buf[32];
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(duration_text(cases[i].s, buf), cases[i].text);
	}
}

/* The manual has every command, with what it takes. */
static void test_manual(void **state)
{
	const char *source = getenv("SIGNET_SOURCE");
	char path[4096];
	char *manual = NULL;
	char *help = NULL;
	size_t len = 0;
	(void)state;
	assert_non_null(source);
	snprintf(path, sizeof(path), "%s/man/signetctl.8", source);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_true(getdelim(&manual, &len, '\0', f) > 0);
	fclose(f);
	f = open_memstream(&help, &len);
	assert_non_null(f);
	command_print_help(f);
	fclose(f);

	size_t count = 0;
	for (char *line = strtok(help, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		char item[64] = ".It Cm";
		char word[3][32] = {"", "", ""};
		sscanf(line, "%31s %31s %31s", word[0], word[1], word[2]);
		for (size_t i = 0; i < 3 && word[i][0] >= 'a' && word[i][0] <= 'z'; i++) {
			/* The help behind the command starts after more than one space. */
			if (i > 0 && strstr(line, word[i])[-2] == ' ') {
				break;
			}
			snprintf(item + strlen(item), sizeof(item) - strlen(item), " %s", word[i]);
		}
		if (strstr(manual, item) == NULL) {
			fail_msg("'%s' is not in the manual", item);
		}
		count++;
	}
	assert_int_equal(count, 13);
	for (const char *const *o = (const char *const[]){"force", "now", "form", "seconds", "days",
							  "role", "keystore", "json", NULL};
	     *o != NULL; o++) {
		char option[32];
		snprintf(option, sizeof(option), "Fl -%s", *o);
		assert_non_null(strstr(manual, option));
	}
	free(manual);
	free(help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),    cmocka_unit_test(test_options),
		cmocka_unit_test(test_reply_lines), cmocka_unit_test(test_tables),
		cmocka_unit_test(test_durations),   cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
