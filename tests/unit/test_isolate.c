/* A module in a process of its own: that it may die, hang and lie. */
#include "tests/tools/p11fixture.h"

#include "hsm/host.h"
#include "nsd-core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Long enough for a module that works, on a machine that others use. */
#define PATIENCE_MS 1500

static struct keystore_health health_of(struct p11_fixture *fx)
{
	struct keystore_health health;
	keystore_health(fx->ks, &health);
	return health;
}

static void use(struct p11_fixture *fx, unsigned sessions, unsigned patience_ms)
{
	struct keystore_options opt = p11_options(fx, p11_wrapper(), sessions);
	opt.isolate = true;
	opt.patience_ms = patience_ms;
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
}

/* No process of ours is left, ended or not. (What has ended may be seen as such a moment before it
 * can be reaped: a process that was not waited for then stayed.) */
static void no_child_is_left(struct p11_fixture *fx)
{
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void it_may_be_killed_at_any_moment(void **state)
{
	enum { JOBS = 400, KILLS = 5 };
	struct p11_fixture *fx = *state;
	struct jobs *j = jobs_new(JOBS);
	size_t failed = 0;
	use(fx, 3, 0);
	p11_make_key(fx);
	assert_int_equal(health_of(fx).restarts, 0);
	for (unsigned k = 0; k < KILLS; k++) {
		const size_t from = k * (JOBS / KILLS);
		EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
		for (size_t i = from; i < from + JOBS / KILLS; i++) {
			assert_int_equal(jobs_submit(j, i, fx->ks, HSM_QUERY, fx->key), ST_OK);
		}
		jobs_wait(j, from + 10);
		pid_t pid = health_of(fx).pid;
		assert_true(pid > 0 && pid != getpid());
		assert_int_equal(kill(pid, SIGKILL), 0);
		jobs_wait(j, from + JOBS / KILLS);
		EVENTUALLY(health_of(fx).restarts == k + 1);
		assert_int_not_equal(health_of(fx).pid, pid);
	}
	for (size_t i = 0; i < JOBS; i++) {
		enum status st = jobs_at(j, i)->result;
		assert_true(st == ST_OK || st == ST_EAGAIN);
		failed += st == ST_EAGAIN;
	}
	assert_true(failed > 0 && failed < JOBS);
	EVENTUALLY(sign_one(fx->ks, fx->key) == ST_OK);
	jobs_free(j);
	no_child_is_left(fx);
}

/* While nobody asks anything of it: the probe notices, or the next signature. */
static void a_death_in_silence_is_noticed(void **state)
{
	struct p11_fixture *fx = *state;
	use(fx, 1, 0);
	p11_make_key(fx);
	assert_int_equal(kill(health_of(fx).pid, SIGKILL), 0);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	assert_string_equal(health_of(fx).detail, "the module's process ended");
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
}

static void a_module_that_hangs_is_killed(void **state)
{
	struct p11_fixture *fx = *state;
	struct jobs *j = jobs_new(3);
	use(fx, 2, PATIENCE_MS);
	p11_make_key(fx);
	pid_t pid = health_of(fx).pid;
	wrap_rule("C_Sign", "hold", 0, 2);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_QUERY, fx->key), ST_OK);
	}
	jobs_wait(j, 3);
	assert_int_equal(jobs_at(j, 0)->result, ST_EAGAIN);
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP && health_of(fx).pid != pid);
	EVENTUALLY(sign_one(fx->ks, fx->key) == ST_OK);
	assert_int_equal(kill(pid, 0), -1);
	jobs_free(j);
	no_child_is_left(fx);
}

static void a_stopped_process_is_killed(void **state)
{
	struct p11_fixture *fx = *state;
	use(fx, 1, PATIENCE_MS);
	p11_make_key(fx);
	pid_t pid = health_of(fx).pid;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	/* Until all its threads have. */
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	EVENTUALLY(sign_one(fx->ks, fx->key) == ST_OK);
	assert_int_not_equal(health_of(fx).pid, pid);
	no_child_is_left(fx);
}

static void *open_it(void *arg)
{
	enum status st = keystore_open(arg, NULL);
	return st == ST_OK ? arg : NULL;
}

/* Whatever it hangs in. */
static void the_end_waits_for_no_module(void **state)
{
	struct p11_fixture *fx = *state;
	static const char *const functions[] = {"C_Initialize", "C_Login", "C_Sign", "C_Finalize"};
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		pthread_t opener;
		void *opened = NULL;
		print_message("%s\n", functions[i]);
		use(fx, 1, 0);
		struct jobs *j = jobs_new(1);
		bool opens = i < 2;
		if (!opens) {
			p11_make_key(fx);
		}
		unsigned before = wrap_calls(functions[i]);
		wrap_rule(functions[i], "hold", 0, -1);
		if (opens) {
			assert_int_equal(pthread_create(&opener, NULL, open_it, fx->ks), 0);
		} else {
			assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_QUERY, fx->key), ST_OK);
		}
		EVENTUALLY(wrap_calls(functions[i]) > before ||
			   strcmp(functions[i], "C_Finalize") == 0);
		int64_t start_ms = clock_mono_ms();
		/* Nobody may be in a call when it is freed. */
		keystore_stop(fx->ks);
		if (opens) {
			pthread_join(opener, &opened);
			assert_null(opened);
		}
		no_child_is_left(fx);
		assert_true(clock_mono_ms() - start_ms < 8000);
		if (!opens) {
			jobs_wait(j, 1);
		}
		jobs_free(j);
		hsm_key_unref(fx->key);
		fx->key = NULL;
		wrap_clear();
	}
}

/* What hangs holds the device, and would keep the next server from it. */
static void none_outlives_a_server_that_is_killed(void **state)
{
	struct p11_fixture *fx = *state;
	static const char *const functions[] = {"C_Initialize", "C_Login"};
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		int status = 0;
		print_message("%s\n", functions[i]);
		unsigned before = wrap_calls(functions[i]);
		wrap_rule(functions[i], "hold", 0, -1);
		pid_t server = fork();
		if (server == 0) {
			use(fx, 1, 0);
			_exit(keystore_open(fx->ks, NULL) == ST_OK ? 0 : 1);
		}
		assert_true(server > 0);
		EVENTUALLY(wrap_calls(functions[i]) > before);
		assert_int_equal(kill(server, SIGKILL), 0);
		assert_int_equal(waitpid(server, &status, 0), server);
		/* It is ours now. */
		pid_t orphan = 0;
		for (unsigned k = 0; k < 6 && orphan == 0; k++) {
			EVENTUALLY((orphan = waitpid(-1, &status, WNOHANG)) != 0 ||
				   wait_ms_ > 9000);
		}
		assert_true(orphan > 0);
		wrap_clear();
	}
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

/* Else each new process would spend a try, and the token is locked after a few. */
static void a_refused_pin_stays_refused_over_restarts(void **state)
{
	struct p11_fixture *fx = *state;
	file_write(fx->pin, "0000\n");
	use(fx, 1, 0);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(wrap_calls("C_Login"), 1);
	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = health_of(fx).pid;
		if (pid > 0) {
			kill(pid, SIGKILL);
		}
		assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
		assert_int_equal(p11_state(fx), KEYSTORE_LOCKED);
	}
	assert_int_equal(wrap_calls("C_Login"), 1);
	file_write(fx->pin, PIN "\n");
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
	assert_int_equal(wrap_calls("C_Login"), 2);
	no_child_is_left(fx);
}

/* It is not only opening that finds out. */
static void a_pin_refused_in_a_lane_stays_refused(void **state)
{
	struct p11_fixture *fx = *state;
	static const struct {
		const char *name, *function, *action;
		unsigned long value;
		unsigned logins;
	} cases[] = {
		{"the token has forgotten us, and its PIN is another", "C_SignInit", "forget", 0xa0,
		 1},
		{"a signature finds the PIN locked", "C_Sign", "rv", 0xa4, 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		file_write(fx->pin, PIN "\n");
		use(fx, 1, 0);
		p11_make_key(fx);
		unsigned before = wrap_calls("C_Login");
		file_write(fx->pin, "0000\n");
		wrap_rule(cases[i].function, cases[i].action, cases[i].value, 1);
		assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
		assert_int_equal(p11_state(fx), KEYSTORE_LOCKED);
		for (unsigned k = 0; k < 3; k++) {
			assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
		}
		assert_int_equal(wrap_calls("C_Login"), before + cases[i].logins);
		wrap_clear();
		file_write(fx->pin, PIN "\n");
		EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
		hsm_key_unref(fx->key);
		fx->key = NULL;
	}
	no_child_is_left(fx);
}

struct raw_host {
	pid_t pid;
	int calls, lane;
};

/* A process that is asked by hand. */
static struct raw_host raw_host_start(const struct keystore_options *opt)
{
	uint8_t options[HOST_OPTIONS_MAX];
	size_t len;
	int calls[2];
	int lane[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, calls), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lane), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int lifted = fcntl(lane[1], F_DUPFD, HOST_FD + 2);
		dup2(calls[1], HOST_FD);
		dup2(lifted, HOST_FD + 1);
		execl("/proc/self/exe", "test", HOST_ARGUMENT, (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	close(calls[1]);
	close(lane[1]);
	assert_int_equal(host_options_encode(opt, options, sizeof(options), &len), ST_OK);
	assert_int_equal(send(calls[0], options, len, 0), len);
	return (struct raw_host){.pid = pid, .calls = calls[0], .lane = lane[0]};
}

static enum status raw_host_ask(int fd, enum host_op op)
{
	struct host_reply reply;
	struct host_request rq = {.op = op, .number = 7, .key = {.id_len = 1}};
	size_t len = op == HOST_SIGN ? HOST_REQUEST_SHORT : sizeof(rq);
	assert_int_equal(send(fd, &rq, len, 0), len);
	assert_int_equal(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
	assert_int_equal(reply.number, 7);
	return (enum status)reply.status;
}

/* A lane that was late with its request to the process before asks the next one too early. */
static void what_is_asked_before_the_device_is_open_does_no_harm(void **state)
{
	struct p11_fixture *fx = *state;
	static const enum host_op early[] = {HOST_PROBE, HOST_FIND, HOST_GENERATE, HOST_REMOVE};
	struct keystore_options opt = p11_options(fx, p11_wrapper(), 1);
	int status;
	struct raw_host h = raw_host_start(&opt);
	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
		assert_int_equal(raw_host_ask(h.calls, early[i]), ST_EAGAIN);
	}
	assert_int_equal(raw_host_ask(h.lane, HOST_SIGN), ST_EAGAIN);
	assert_int_equal(wrap_calls("C_Initialize"), 0);
	assert_int_equal(raw_host_ask(h.calls, HOST_OPEN), ST_OK);
	assert_int_equal(raw_host_ask(h.calls, HOST_FIND), ST_ENOENT);
	assert_int_equal(raw_host_ask(h.lane, HOST_SIGN), ST_EFATAL);
	close(h.calls);
	close(h.lane);
	assert_int_equal(waitpid(h.pid, &status, 0), h.pid);
	assert_int_equal(status, 0);
}

/* Without one it cannot be started; with one again it is. */
static void descriptors_may_run_out(void **state)
{
	struct p11_fixture *fx = *state;
	struct rlimit before;
	struct diags d;
	use(fx, 2, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	struct rlimit few = {.rlim_cur = 5, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	diags_init(&d, DIAGS_LIMIT);
	enum status st = keystore_open(fx->ks, &d);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(st, ST_EAGAIN);
	assert_non_null(strstr(d.items[0].text, "no process can be started for the module"));
	diags_fini(&d);
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
	p11_make_key(fx);
	no_child_is_left(fx);
}

/* What the process of a lying module says is not believed. */
enum lie { LIE_NUMBER, LIE_SHORT, LIE_LONG, LIE_LENGTH, LIE_GUARD, LIE_STATUS, LIE_END, LIES };

static int lie_main(int lie)
{
	struct host_request rq;
	char options[HOST_OPTIONS_MAX];
	struct {
		struct host_reply reply;
		char more[64];
	} out;
	if (lie == LIE_END || recv(HOST_FD, options, sizeof(options), 0) <= 0 ||
	    recv(HOST_FD, &rq, sizeof(rq), 0) <= 0) {
		return 1;
	}
	memset(&out, 0xff, sizeof(out));
	out.reply.number = lie == LIE_NUMBER ? rq.number + 1 : rq.number;
	out.reply.len = lie == LIE_LENGTH ? sizeof(out.reply.signature) + 1 : 0;
	out.reply.guard_len = lie == LIE_GUARD ? sizeof(out.reply.guard) + 1 : 0;
	out.reply.status = lie == LIE_STATUS ? 12345 : ST_OK;
	size_t len = lie == LIE_SHORT  ? sizeof(out.reply) - 1
		     : lie == LIE_LONG ? sizeof(out)
				       : sizeof(out.reply);
	send(HOST_FD, &out, len, MSG_NOSIGNAL);
	recv(HOST_FD, &rq, sizeof(rq), 0);
	return 0;
}

static void its_lies_are_not_believed(void **state)
{
	struct p11_fixture *fx = *state;
	for (int lie = 0; lie < LIES; lie++) {
		char text[16];
		print_message("lie %d\n", lie);
		snprintf(text, sizeof(text), "%d", lie);
		setenv("TEST_LIE", text, 1);
		use(fx, 1, 0);
		assert_int_equal(keystore_open(fx->ks, NULL), ST_EAGAIN);
		assert_int_equal(p11_state(fx), KEYSTORE_DOWN);
		unsetenv("TEST_LIE");
		EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
		no_child_is_left(fx);
	}
}

static void each_keystore_has_its_own(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore *second = NULL;
	struct keystore_health other;
	struct hsm_key *key = NULL;
	softhsm_token("other", PIN);
	use(fx, 1, 0);
	p11_make_key(fx);
	struct keystore_options opt = p11_options(fx, p11_wrapper(), 1);
	opt.isolate = true;
	opt.token = "other";
	assert_int_equal(keystore_new(&opt, &second, NULL), ST_OK);
	assert_int_equal(keystore_generate(second, "x", &key, NULL), ST_OK);
	keystore_health(second, &other);
	assert_int_not_equal(other.pid, health_of(fx).pid);
	assert_int_equal(kill(other.pid, SIGKILL), 0);
	assert_int_equal(sign_one(second, key), ST_EAGAIN);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	EVENTUALLY(sign_one(second, key) == ST_OK);
	assert_int_equal(health_of(fx).restarts, 0);
	hsm_key_unref(key);
	keystore_free(second);
	no_child_is_left(fx);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, p11_setup, p11_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(it_may_be_killed_at_any_moment),
		TEST(a_death_in_silence_is_noticed),
		TEST(a_module_that_hangs_is_killed),
		TEST(a_stopped_process_is_killed),
		TEST(the_end_waits_for_no_module),
		TEST(none_outlives_a_server_that_is_killed),
		TEST(a_refused_pin_stays_refused_over_restarts),
		TEST(a_pin_refused_in_a_lane_stays_refused),
		TEST(what_is_asked_before_the_device_is_open_does_no_harm),
		TEST(descriptors_may_run_out),
		TEST(its_lies_are_not_believed),
		TEST(each_keystore_has_its_own),
	};
	if (hsm_is_host(argc, argv)) {
		const char *lie = getenv("TEST_LIE");
		/* As a real one ends: a search for leaks would keep it from being reaped meanwhile.
		 */
		_exit(lie != NULL ? lie_main((int)strtol(lie, NULL, 10)) : hsm_host_main());
	}
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
