#include "nsd-core/watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FILES 4

struct fixture {
	char dir[64];
	char sub[80];
	char path[FILES][96];
	const char *paths[FILES];
	uv_loop_t loop;
	unsigned touched[FILES];
};

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	strcpy(fx->dir, "/tmp/signet-test-XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	snprintf(fx->sub, sizeof(fx->sub), "%s/sub", fx->dir);
	assert_int_equal(mkdir(fx->sub, 0700), 0);
	/* Two of one name in two folders, and not in their order. */
	snprintf(fx->path[0], sizeof(fx->path[0]), "%s/b.zone", fx->dir);
	snprintf(fx->path[1], sizeof(fx->path[1]), "%s/a.zone", fx->sub);
	snprintf(fx->path[2], sizeof(fx->path[2]), "%s/a.zone", fx->dir);
	snprintf(fx->path[3], sizeof(fx->path[3]), "%s/c.zone", fx->dir);
	for (size_t i = 0; i < FILES; i++) {
		fx->paths[i] = fx->path[i];
		put(fx->path[i], "x");
	}
	assert_int_equal(uv_loop_init(&fx->loop), 0);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;
	uv_run(&fx->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&fx->loop), 0);
	for (size_t i = 0; i < FILES; i++) {
		unlink(fx->path[i]);
	}
	rmdir(fx->sub);
	rmdir(fx->dir);
	free(fx);
	return 0;
}

static void touched(void *ctx, size_t index)
{
	struct fixture *fx = ctx;
	fx->touched[index]++;
}

static void test_folders(void **state)
{
	struct fixture *fx = *state;
	struct watch *w = NULL;
	char temp[128];
	assert_int_equal(watch_start(&fx->loop, fx->paths, FILES, touched, fx, &w, NULL), ST_OK);

	put(fx->path[2], "in place");
	while (fx->touched[2] == 0) {
		uv_run(&fx->loop, UV_RUN_ONCE);
	}
	snprintf(temp, sizeof(temp), "%s.new", fx->path[1]);
	put(temp, "by rename");
	assert_int_equal(rename(temp, fx->path[1]), 0);
	while (fx->touched[1] == 0) {
		uv_run(&fx->loop, UV_RUN_ONCE);
	}
	assert_int_equal(fx->touched[0], 0);
	assert_int_equal(fx->touched[3], 0);
	watch_stop(w);
}

static void test_folder_is_missing(void **state)
{
	struct fixture *fx = *state;
	const char *paths[2] = {"/nonexistent/folder/a.zone", fx->path[0]};
	struct watch *w = NULL;
	struct diags d;
	diags_init(&d, 4);
	assert_int_equal(watch_start(&fx->loop, paths, 2, touched, fx, &w, &d), ST_OK);
	assert_int_equal(d.warnings, 1);
	put(fx->path[0], "seen all the same");
	while (fx->touched[1] == 0) {
		uv_run(&fx->loop, UV_RUN_ONCE);
	}
	watch_stop(w);
	diags_fini(&d);
}

static void test_nothing_to_watch(void **state)
{
	struct fixture *fx = *state;
	struct watch *w = NULL;
	assert_int_equal(watch_start(&fx->loop, NULL, 0, touched, fx, &w, NULL), ST_OK);
	watch_stop(w);
	watch_stop(NULL);
}

static void backdate(const char *path)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

/* What changed of a file shows in its stamp. */
static void test_stamps(void **state)
{
	struct fixture *fx = *state;
	char temp[128];
	struct file_stamps first;
	struct file_stamps now;
	for (size_t i = 0; i < FILES; i++) {
		backdate(fx->path[i]);
	}
	assert_int_equal(file_stamps_take(fx->paths, FILES, file_stamps_now_ns(), &first), ST_OK);
	assert_true(file_stamps_present(&first));
	assert_int_equal(file_stamps_again(&first, &now), ST_OK);
	assert_true(file_stamps_equal(&first, &now));
	file_stamps_fini(&now);

	/* Another file of the same size and time. */
	snprintf(temp, sizeof(temp), "%s.new", fx->path[1]);
	put(temp, "y");
	backdate(temp);
	assert_int_equal(rename(temp, fx->path[1]), 0);
	assert_int_equal(file_stamps_again(&first, &now), ST_OK);
	assert_false(file_stamps_equal(&first, &now));
	file_stamps_fini(&first);
	first = now;

	put(fx->path[2], "longer");
	backdate(fx->path[2]);
	assert_int_equal(file_stamps_again(&first, &now), ST_OK);
	assert_false(file_stamps_equal(&first, &now));
	file_stamps_fini(&first);
	first = now;

	assert_int_equal(unlink(fx->path[3]), 0);
	assert_int_equal(file_stamps_again(&first, &now), ST_OK);
	assert_false(file_stamps_equal(&first, &now));
	assert_false(file_stamps_present(&now));
	file_stamps_fini(&first);
	file_stamps_fini(&now);
}

/* Written while it was read: its stamp equals none, so that it is read once more. */
static void test_stamp_of_what_is_being_written(void **state)
{
	struct fixture *fx = *state;
	struct file_stamps read;
	struct file_stamps now;
	int64_t since = file_stamps_now_ns();
	put(fx->path[0], "y");
	assert_int_equal(file_stamps_take(fx->paths, 1, since, &read), ST_OK);
	assert_int_equal(file_stamps_again(&read, &now), ST_OK);
	assert_false(file_stamps_equal(&read, &now));
	file_stamps_fini(&read);
	file_stamps_fini(&now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_FIXTURE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		WITH_FIXTURE(test_folders),
		WITH_FIXTURE(test_folder_is_missing),
		WITH_FIXTURE(test_nothing_to_watch),
		WITH_FIXTURE(test_stamps),
		WITH_FIXTURE(test_stamp_of_what_is_being_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
