/* The commands about keystores, with keys in files. */
#include "control_fixture.h"

#include <dirent.h>

static void test_keystore_list(void **state)
{
	struct control_fixture *fx = *state;
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"keystore\",\"list\"]}\n");
	const json_t *data = json_object_get(reply, "data");
	const json_t *list = json_object_get(data, "keystores");
	const json_t *ks = json_array_get(list, 0);
	assert_int_equal(json_integer_value(json_object_get(data, "version")), 1);
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(text_of(ks, "name"), "local");
	assert_string_equal(text_of(ks, "type"), "file");
	assert_string_equal(text_of(ks, "state"), "up");
	assert_string_equal(text_of(ks, "detail"), "");
	assert_int_equal(json_integer_value(json_object_get(ks, "sessions")), 1);
	assert_true(json_integer_value(json_object_get(ks, "signatures")) > 0);
	assert_int_equal(json_integer_value(json_object_get(ks, "failures")), 0);
	/* Keys in the process have no process of their own. */
	assert_true(json_is_null(json_object_get(ks, "pid")));
	assert_int_equal(json_integer_value(json_object_get(ks, "restarts")), 0);
	json_decref(reply);
}

/* All key files get another name, or theirs back. */
static void move_keys(const struct control_fixture *fx, bool away)
{
	char folder[128];
	size_t moved = 0;
	snprintf(folder, sizeof(folder), "%s/keys", fx->zones->state);
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		char to[300];
		if (e->d_name[0] != '.' && (strncmp(e->d_name, "away-", 5) == 0) != away) {
			snprintf(to, sizeof(to), "%s%s", away ? "away-" : "",
				 e->d_name + (away ? 0 : 5));
			assert_int_equal(renameat(dirfd(dir), e->d_name, dirfd(dir), to), 0);
			moved++;
		}
	}
	closedir(dir);
	assert_int_equal(moved, 2);
}

static void test_check_names_what_is_missing(void **state)
{
	struct control_fixture *fx = *state;
	static const char request[] =
		"{\"version\":1,\"command\":[\"keystore\",\"check\",\"local\"]}\n";
	json_t *reply = ask(fx, request);
	const json_t *data = json_object_get(reply, "data");
	assert_true(json_is_true(json_object_get(data, "good")));
	/* That it opens, and each of the two keys. */
	assert_int_equal(json_array_size(json_object_get(data, "steps")), 3);
	assert_int_equal(json_integer_value(json_object_get(data, "keys")), 2);
	assert_null(json_object_get(data, "missing"));
	json_decref(reply);

	move_keys(fx, true);
	reply = ask(fx, request);
	data = json_object_get(reply, "data");
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 1);
	assert_string_equal(text_of(json_object_get(data, "missing"), "step"), "key");
	assert_non_null(strstr(text_of(reply, "error"), "no key file"));
	assert_non_null(strstr(text_of(reply, "error"), "what to do: bring it back"));
	assert_non_null(strstr(text_of(reply, "text"), "ok      open"));
	assert_non_null(strstr(text_of(reply, "text"), "missing key"));
	assert_int_equal(json_array_size(json_object_get(data, "steps")), 3);
	json_decref(reply);
	reply = ask(fx, "{\"version\":1,\"command\":[\"keystore\",\"bench\",\"local\"]}\n");
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 1);
	assert_non_null(strstr(text_of(reply, "error"), "no key file"));
	json_decref(reply);
	move_keys(fx, false);

	/* Others may write there. */
	char keys[128];
	snprintf(keys, sizeof(keys), "%s/keys", fx->zones->state);
	assert_int_equal(chmod(keys, 0777), 0);
	reply = ask(fx, request);
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 1);
	assert_non_null(strstr(text_of(reply, "error"), "chmod 700"));
	json_decref(reply);
	assert_int_equal(chmod(keys, 0700), 0);
	reply = ask(fx, request);
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 0);
	json_decref(reply);
}

static void test_bench(void **state)
{
	struct control_fixture *fx = *state;
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"keystore\",\"bench\",\"local\"],"
				"\"options\":{\"seconds\":1}}\n");
	const json_t *data = json_object_get(reply, "data");
	const json_t *results = json_object_get(data, "results");
	const json_t *one = json_array_get(results, 0);
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 0);
	assert_int_equal(json_array_size(results), 1);
	assert_int_equal(json_integer_value(json_object_get(one, "sessions")), 1);
	assert_true(json_integer_value(json_object_get(one, "signatures")) > 0);
	double p50 = json_real_value(json_object_get(one, "p50_us"));
	double p99 = json_real_value(json_object_get(one, "p99_us"));
	double max = json_real_value(json_object_get(one, "max_us"));
	assert_true(0 < p50 && p50 <= p99 && p99 <= max * 1.1);
	json_decref(reply);
}

/* A bench under way, one that waits its turn, and who asked gone: the server ends all the same. */
static void test_stop_while_benching(void **state)
{
	struct control_fixture *fx = *state;
	static const char request[] =
		"{\"version\":1,\"command\":[\"keystore\",\"bench\",\"local\"],"
		"\"options\":{\"seconds\":60}}\n";
	int fds[4];
	for (size_t i = 0; i < 4; i++) {
		fds[i] = client(fx);
		assert_int_equal(send(fds[i], request, strlen(request), 0), strlen(request));
	}
	struct keystore_health before;
	struct keystore_health h;
	keystore_health(zonemgr_keystore(fx->zones->mgr, 0), &before);
	close(fds[0]);
	do {
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
		keystore_health(zonemgr_keystore(fx->zones->mgr, 0), &h);
	} while (h.signatures < before.signatures + 10);
	control_stop(fx->control);
	fx->control = NULL;
	uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	for (size_t i = 1; i < 4; i++) {
		close(fds[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_FIXTURE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		WITH_FIXTURE(test_keystore_list),
		WITH_FIXTURE(test_check_names_what_is_missing),
		WITH_FIXTURE(test_bench),
		WITH_FIXTURE(test_stop_while_benching),
	};

	/* As signetd does: clients go while they are written to. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
