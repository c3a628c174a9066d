/* The socket and what it answers, with a zone manager behind it. */
#include "control_fixture.h"

#define CLIENTS_MAX 32

/* While set, there is no memory for what is as large as a connection. */
static bool no_connections;
static size_t refused;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (no_connections && n * size >= CONTROL_REQUEST_MAX) {
		refused++;
		return NULL;
	}
	return __real_calloc(n, size);
}

struct exchange {
	const char *name;
	const char *request;
	int exit;
	const char *text;  /* within it; NULL: anything */
	const char *error; /* within it; NULL: none */
};

static void test_requests(void **state)
{
	static const struct exchange cases[] = {
		{"status", "{\"version\":1,\"command\":[\"status\"]}\n", 0, "2 zones", NULL},
		{"status has keystores", "{\"version\":1,\"command\":[\"status\"]}\n", 0,
		 "local     up", NULL},
		{"list", "{\"version\":1,\"command\":[\"zone\",\"list\"]}\n", 0, "plain.test.   1",
		 NULL},
		{"show", "{\"version\":1,\"command\":[\"zone\",\"show\",\"signed.test\"]}\n", 0,
		 "denial          NSEC", NULL},
		{"final dot", "{\"version\":1,\"command\":[\"zone\",\"show\",\"Signed.test.\"]}\n",
		 0, "signed.test.", NULL},
		{"keystores", "{\"version\":1,\"command\":[\"keystore\",\"list\"]}\n", 0,
		 "local     up     file  1         ", NULL},
		{"check", "{\"version\":1,\"command\":[\"keystore\",\"check\",\"local\"]}\n", 0,
		 "of signed.test. is found, signs, and the signature verifies", NULL},
		{"no keystore", "{\"version\":1,\"command\":[\"keystore\",\"check\",\"x\"]}\n", 1,
		 NULL, "x: no such keystore"},
		{"bench",
		 "{\"version\":1,\"command\":[\"keystore\",\"bench\",\"local\"],"
		 "\"options\":{\"seconds\":1}}\n",
		 0, "SESSIONS  SIGNATURES/S  P50 us", NULL},
		{"bench for ever",
		 "{\"version\":1,\"command\":[\"keystore\",\"bench\",\"local\"],"
		 "\"options\":{\"seconds\":-1}}\n",
		 2, NULL, "from 1 to 60"},
		{"reload", "{\"version\":1,\"command\":[\"zone\",\"reload\",\"plain.test\"]}\n", 0,
		 "plain.test. unchanged, serial 1", NULL},
		{"reload all", "{\"version\":1,\"command\":[\"zone\",\"reload\"]}\n", 0,
		 "2 zones: 0 loaded, 2 unchanged, 0 failed", NULL},
		{"keys", "{\"version\":1,\"command\":[\"key\",\"list\",\"signed.test\"]}\n", 0,
		 "lifetime over", NULL},
		{"ds", "{\"version\":1,\"command\":[\"ds\",\"signed.test\"]}\n", 0,
		 "signed.test. 3600 IN DS ", NULL},
		{"dnskey",
		 "{\"version\":1,\"command\":[\"ds\",\"signed.test\"],"
		 "\"options\":{\"form\":\"dnskey\"}}\n",
		 0, "protocol          3", NULL},
		{"keys of none", "{\"version\":1,\"command\":[\"key\",\"list\",\"plain.test\"]}\n",
		 1, NULL, "no policy"},
		{"another zone", "{\"version\":1,\"command\":[\"zone\",\"show\",\"x.test\"]}\n", 1,
		 NULL, "no such zone"},
		{"no name", "{\"version\":1,\"command\":[\"zone\",\"show\",\"a..b\"]}\n", 1, NULL,
		 "a..b"},
		{"no command", "{\"version\":1,\"command\":[\"zone\",\"eat\"]}\n", 2, NULL,
		 "no such command"},
		{"too many words", "{\"version\":1,\"command\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}\n",
		 2, NULL, "too many"},
		{"no list", "{\"version\":1,\"command\":\"status\"}\n", 2, NULL, "no such command"},
		{"no strings", "{\"version\":1,\"command\":[1]}\n", 2, NULL, "strings"},
		{"wrong option",
		 "{\"version\":1,\"command\":[\"status\"],\"options\":{\"force\":true}}\n", 2, NULL,
		 "--force"},
		{"option's type",
		 "{\"version\":1,\"command\":[\"status\"],\"options\":{\"force\":1}}\n", 2, NULL,
		 "not a request"},
		{"other version", "{\"version\":2,\"command\":[\"status\"]}\n", 2, NULL,
		 "version 2"},
		{"no version", "{\"command\":[\"status\"]}\n", 2, NULL, "not a request"},
		{"no JSON", "status\n", 2, NULL, "not JSON"},
		{"empty line", "\n", 2, NULL, "not JSON"},
	};
	struct control_fixture *fx = *state;
	int fd = client(fx);
	/* All on one connection, too. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct exchange *c = &cases[i];
		json_t *reply = ask_on(fx, fd, c->request);
		assert_non_null(reply);
		if (json_integer_value(json_object_get(reply, "exit")) != c->exit ||
		    json_integer_value(json_object_get(reply, "version")) != 1 ||
		    (c->text != NULL && strstr(text_of(reply, "text"), c->text) == NULL) ||
		    (c->error != NULL && strstr(text_of(reply, "error"), c->error) == NULL) ||
		    (c->error == NULL) != (json_object_get(reply, "error") == NULL) ||
		    json_is_true(json_object_get(reply, "ok")) != (c->exit == 0)) {
			fail_msg("%s: %s%s", c->name, text_of(reply, "text"),
				 text_of(reply, "error"));
		}
		json_decref(reply);
	}
	close(fd);
}

/* Until the DS is safe, that it is not is said beside it. */
/* Zones that are still to be read are no problem. */
static void test_status_while_loading(void **state)
{
	struct control_fixture *fx = *state;
	const struct zonemgr_options opt = {.conf = &fx->zones->conf, .loop = &fx->zones->loop};
	control_stop(fx->control);
	fixture_stop(fx->zones);
	assert_int_equal(zonemgr_new(&opt, &fx->zones->mgr, NULL), ST_OK);
	assert_int_equal(start(fx, &fx->control, NULL), ST_OK);
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"status\"]}\n");
	assert_non_null(strstr(text_of(reply, "text"), "loading"));
	assert_null(strstr(text_of(reply, "text"), "problem"));
	json_decref(reply);
}

/* A path, and what is said of it, need not be UTF-8; JSON has to be. */
static void test_names_that_are_no_utf8(void **state)
{
	struct control_fixture *fx = *state;
	struct conf_zone *zone = &fx->zones->zones[0];
	char *file = zone->file;
	zone->file = (char *)(uintptr_t) "caf\xe9.zone";
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"zone\",\"show\",\"plain.test\"]}\n");
	zone->file = file;
	assert_string_equal(text_of(json_object_get(reply, "data"), "file"), "caf?.zone");
	json_decref(reply);

	struct reply r;
	reply_init(&r);
	reply_note(&r, "caf%s", "\xe9");
	assert_string_equal(json_string_value(json_array_get(r.notes, 0)), "caf?");
	reply_fini(&r);
}

static void test_ds_is_not_safe_yet(void **state)
{
	struct control_fixture *fx = *state;
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"ds\",\"signed.test\"]}\n");
	const json_t *notes = json_object_get(reply, "notes");
	const json_t *data = json_object_get(reply, "data");
	assert_int_equal(json_array_size(notes), 1);
	assert_non_null(strstr(json_string_value(json_array_get(notes, 0)), "not before 20"));
	assert_true(json_is_false(json_object_get(data, "safe")));
	assert_int_equal(json_array_size(json_object_get(data, "keys")), 1);
	json_decref(reply);
}

static void test_bad_reload(void **state)
{
	struct control_fixture *fx = *state;
	fixture_write(fx->zones->zones[0].file, "@ A 192.0.2.999\n");
	json_t *reply =
		ask(fx, "{\"version\":1,\"command\":[\"zone\",\"reload\",\"plain.test\"]}\n");
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 1);
	assert_non_null(strstr(text_of(reply, "error"), ":1:5: error"));
	json_decref(reply);
	reply = ask(fx, "{\"version\":1,\"command\":[\"zone\",\"reload\"]}\n");
	assert_int_equal(json_integer_value(json_object_get(reply, "exit")), 1);
	assert_non_null(strstr(text_of(reply, "error"), "192.0.2.999"));
	assert_non_null(strstr(text_of(reply, "text"), "1 failed"));
	json_decref(reply);
	reply = ask(fx, "{\"version\":1,\"command\":[\"status\"]}\n");
	assert_non_null(strstr(text_of(reply, "text"), "192.0.2.999"));
	assert_non_null(strstr(text_of(reply, "text"), "1 with problems"));
	json_decref(reply);
}

/* The text comes ahead, in pieces. */
static void test_dump(void **state)
{
	struct control_fixture *fx = *state;
	char more[128];
	json_t *reply;
	FILE *f = fopen(fx->zones->zones[0].file, "a");
	assert_non_null(f);
	snprintf(more, sizeof(more), "$GENERATE 1-5000 h$ A 192.0.2.1\n");
	assert_true(fputs(more, f) >= 0);
	fclose(f);
	assert_int_equal(fixture_reload(fx->zones, 0, false).status, ST_OK);

	struct reading r = {.fd = client(fx)};
	static const char request[] =
		"{\"version\":1,\"command\":[\"zone\",\"dump\",\"plain.test\"]}\n";
	assert_int_equal(send(r.fd, request, strlen(request), 0), strlen(request));
	read_reply(fx, &r);
	size_t lines = 0;
	size_t chunks = 0;
	const char *pos = r.text;
	for (;;) {
		reply = json_loads(pos, JSON_DISABLE_EOF_CHECK, NULL);
		assert_non_null(reply);
		const char *chunk = json_string_value(json_object_get(reply, "chunk"));
		if (chunk == NULL) {
			break;
		}
		chunks++;
		for (const char *p = chunk; *p != '\0'; p++) {
			lines += *p == '\n';
		}
		json_decref(reply);
		pos = strchr(pos, '\n') + 1;
	}
	assert_true(json_is_true(json_object_get(reply, "ok")));
	assert_int_equal(lines, 5004);
	assert_true(chunks > 1);
	json_decref(reply);
	free(r.text);
	close(r.fd);
}

/* Who goes away while a zone is dumped costs nothing more, nor who never reads when the server
 * ends. */
static void test_dump_without_a_reader(void **state)
{
	struct control_fixture *fx = *state;
	static const char request[] =
		"{\"version\":1,\"command\":[\"zone\",\"dump\",\"plain.test\"]}\n";
	FILE *f = fopen(fx->zones->zones[0].file, "a");
	assert_non_null(f);
	assert_true(fputs("$GENERATE 1-30000 h$ A 192.0.2.1\n", f) >= 0);
	fclose(f);
	assert_int_equal(fixture_reload(fx->zones, 0, false).status, ST_OK);
	for (int i = 0; i < 5; i++) {
		struct reading r = {.fd = client(fx)};
		assert_int_equal(send(r.fd, request, strlen(request), 0), strlen(request));
		while (r.len == 0) {
			read_some(&r);
			uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
		}
		close(r.fd);
		free(r.text);
	}
	/* These three do not read; the third is one too many. */
	int fds[3];
	for (int i = 0; i < 2; i++) {
		fds[i] = client(fx);
		assert_int_equal(send(fds[i], request, strlen(request), 0), strlen(request));
	}
	json_t *reply = NULL;
	uint64_t end = uv_hrtime() + FIXTURE_WAITS * UINT64_C(1000000);
	do {
		/* The dumps of those who went must have been given up by then. */
		json_decref(reply);
		assert_true(uv_hrtime() < end);
		reply = ask(fx,
			    "{\"version\":1,\"command\":[\"zone\",\"dump\",\"signed.test\"]}\n");
	} while (json_is_false(json_object_get(reply, "ok")) &&
		 strstr(text_of(reply, "error"), "other dumps") == NULL);
	json_decref(reply);
	control_stop(fx->control);
	fx->control = NULL;
	uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
	}
}

static void test_limits(void **state)
{
	struct control_fixture *fx = *state;
	int fds[CLIENTS_MAX];
	/* A request that never ends. */
	int fd = client(fx);
	struct reading r = {.fd = fd};
	static char junk[70000];
	memset(junk, 'x', sizeof(junk));
	size_t sent = 0;
	while (!r.ended) {
		ssize_t n = send(fd, junk, sizeof(junk) - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		sent = sent < sizeof(junk) ? sent : 0;
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
		read_some(&r);
	}
	close(fd);
	free(r.text);
	/* One client too many is turned away; those before are not. */
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		fds[i] = client(fx);
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	}
	r = (struct reading){.fd = client(fx)};
	while (!r.ended) {
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
		read_some(&r);
	}
	assert_int_equal(r.len, 0);
	close(r.fd);
	free(r.text);
	json_t *reply = ask_on(fx, fds[0], "{\"version\":1,\"command\":[\"zone\",\"list\"]}\n");
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		close(fds[i]);
	}
}

/* Who connects while there is no memory is served once there is some, and so are all others. */
static void test_no_memory_for_a_client(void **state)
{
	struct control_fixture *fx = *state;
	static const char request[] = "{\"version\":1,\"command\":[\"zone\",\"list\"]}\n";
	no_connections = true;
	refused = 0;
	int first = client(fx);
	int second = client(fx);
	while (refused == 0) {
		uv_run(&fx->zones->loop, UV_RUN_ONCE);
	}
	no_connections = false;
	json_t *reply = ask_on(fx, first, request);
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	reply = ask_on(fx, second, request);
	assert_true(json_is_true(json_object_get(reply, "ok")));
	json_decref(reply);
	close(first);
	close(second);
}

static void test_pipelined_and_half_closed(void **state)
{
	struct control_fixture *fx = *state;
	static const char two[] = "{\"version\":1,\"command\":[\"zone\",\"reload\"]}\n"
				  "{\"version\":1,\"command\":[\"zone\",\"list\"]}\n";
	struct reading r = {.fd = client(fx)};
	assert_int_equal(send(r.fd, two, strlen(two), 0), strlen(two));
	assert_int_equal(shutdown(r.fd, SHUT_WR), 0);
	while (!r.ended) {
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
		read_some(&r);
	}
	/* Both are answered, in order, and then the server closes. */
	const char *second = strchr(r.text, '\n');
	assert_non_null(second);
	assert_non_null(strstr(r.text, "2 unchanged"));
	assert_non_null(strstr(second, "SERIAL"));
	assert_ptr_equal(strchr(second + 1, '\n'), r.text + r.len - 1);
	free(r.text);
	close(r.fd);
}

/* A client that asks on and reads nothing is cut off: no more than one answer waits for it. */
static void test_requests_without_a_reader(void **state)
{
	struct control_fixture *fx = *state;
	static const char request[] = "{\"version\":1,\"command\":[\"status\"]}\n";
	int fd = client(fx);
	size_t sent = 0;
	while (sent < 1 << 20) {
		ssize_t n = send(fd, request, strlen(request), MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			break;
		}
		sent += n > 0 ? (size_t)n : 0;
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	}
	assert_true(sent < 1 << 20);
	close(fd);
}

static void test_socket(void **state)
{
	struct control_fixture *fx = *state;
	struct control *second = NULL;
	struct diags d;
	struct stat sb;
	diags_init(&d, 4);
	assert_int_equal(stat(fx->zones->control, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0660);
	/* A server answers there. */
	assert_int_equal(start(fx, &second, &d), ST_EEXIST);
	assert_null(second);
	assert_int_equal(d.errors, 1);
	control_stop(fx->control);
	fx->control = NULL;
	assert_int_not_equal(stat(fx->zones->control, &sb), 0);
	uv_run(&fx->zones->loop, UV_RUN_NOWAIT);

	/* A dead server's is replaced. */
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", fx->zones->control);
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(dead, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(dead);
	assert_int_equal(start(fx, &fx->control, NULL), ST_OK);
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"zone\",\"list\"]}\n");
	json_decref(reply);
	control_stop(fx->control);
	fx->control = NULL;

	/* What is no socket stays. */
	fixture_write(fx->zones->control, "a file");
	assert_int_equal(start(fx, &second, &d), ST_EEXIST);
	assert_int_equal(stat(fx->zones->control, &sb), 0);
	diags_fini(&d);
}

static void test_stop(void **state)
{
	struct control_fixture *fx = *state;
	json_t *reply = ask(fx, "{\"version\":1,\"command\":[\"stop\"]}\n");
	assert_string_equal(text_of(reply, "text"), "stopping\n");
	assert_true(fx->stopped);
	json_decref(reply);
}

/* The server ends while a reload is under way: whoever asked is let go. */
static void test_stop_while_reloading(void **state)
{
	struct control_fixture *fx = *state;
	static const char request[] = "{\"version\":1,\"command\":[\"zone\",\"reload\"]}\n";
	int fd = client(fx);
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	control_stop(fx->control);
	fx->control = NULL;
	fixture_stop(fx->zones);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_FIXTURE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		WITH_FIXTURE(test_requests),
		WITH_FIXTURE(test_status_while_loading),
		WITH_FIXTURE(test_names_that_are_no_utf8),
		WITH_FIXTURE(test_ds_is_not_safe_yet),
		WITH_FIXTURE(test_bad_reload),
		WITH_FIXTURE(test_dump),
		WITH_FIXTURE(test_dump_without_a_reader),
		WITH_FIXTURE(test_limits),
		WITH_FIXTURE(test_no_memory_for_a_client),
		WITH_FIXTURE(test_pipelined_and_half_closed),
		WITH_FIXTURE(test_requests_without_a_reader),
		WITH_FIXTURE(test_socket),
		WITH_FIXTURE(test_stop),
		WITH_FIXTURE(test_stop_while_reloading),
	};

	/* As signetd does: clients go while they are written to. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
