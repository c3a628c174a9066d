/* What heals, and what stops: SoftHSM through a module that misbehaves (tests/tools/p11wrap.c) and
 * through a p11-kit server that is killed. */
#include "tests/tools/p11fixture.h"

#include "nsd-core/base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define P11_CLIENT "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"

static void faults_are_healed_by_their_class(void **state)
{
	struct p11_fixture *fx = *state;
	/* What one fault costs: the job's result, and what is called again for it. */
	static const struct {
		const char *name, *function, *action;
		unsigned long value;
		long times;
		enum status result;
		unsigned finalize, login, open, find, verify_failures;
	} cases[] = {
		{"object handle", "C_Sign", "rv", 0x82, 1, ST_OK, 0, 0, 0, 2, 0},
		{"key handle", "C_SignInit", "rv", 0x60, 1, ST_OK, 0, 0, 0, 2, 0},
		{"session handle", "C_SignInit", "rv", 0xb3, 1, ST_OK, 0, 0, 1, 0, 0},
		{"session closed", "C_Sign", "rv", 0xb0, 1, ST_OK, 0, 0, 1, 0, 0},
		{"operation active", "C_SignInit", "rv", 0x90, 1, ST_OK, 0, 0, 1, 0, 0},
		{"not initialised", "C_Sign", "rv", 0x91, 1, ST_OK, 0, 0, 1, 0, 0},
		{"not logged in", "C_SignInit", "rv", 0x101, 1, ST_OK, 0, 0, 0, 0, 0},
		{"session for ever", "C_SignInit", "rv", 0xb3, -1, ST_EAGAIN, 1, 1, 3, 2, 0},
		{"key for ever", "C_SignInit", "rv", 0x82, -1, ST_EAGAIN, 1, 1, 2, 4, 0},
		{"host memory", "C_Sign", "rv", 0x02, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"general error", "C_Sign", "rv", 0x05, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"function failed", "C_Sign", "rv", 0x06, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"device error", "C_SignInit", "rv", 0x30, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"device memory", "C_Sign", "rv", 0x31, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"device removed", "C_Sign", "rv", 0x32, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"token not present", "C_Sign", "rv", 0xe0, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"not initialised", "C_Sign", "rv", 0x190, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"unknown", "C_Sign", "rv", 0x80000abc, 1, ST_EAGAIN, 1, 1, 2, 2, 0},
		{"not permitted", "C_SignInit", "rv", 0x68, 1, ST_EFATAL, 0, 0, 0, 0, 0},
		{"no mechanism", "C_SignInit", "rv", 0x70, 1, ST_EFATAL, 0, 0, 0, 0, 0},
		/* Stops for a second; no try is spent, since other sessions kept us logged in. A
		 * new process would spend one, and waits for the operator. */
		{"PIN", "C_Sign", "rv", 0xa0, 1, ST_EAGAIN, 0, 0, 2, 2, 0},
		{"in DER", "C_Sign", "der", 0, -1, ST_OK, 0, 0, 0, 0, 0},
		{"short once", "C_Sign", "short", 0, 1, ST_OK, 0, 0, 0, 2, 1},
		{"short always", "C_Sign", "short", 0, -1, ST_ECRYPTO, 0, 0, 0, 2, 2},
		{"wrong once", "C_Sign", "wrong", 0, 1, ST_OK, 0, 0, 0, 2, 1},
		{"wrong always", "C_Sign", "wrong", 0, -1, ST_ECRYPTO, 0, 0, 0, 2, 2},
	};
	p11_use(fx, p11_wrapper(), 1);
	p11_make_key(fx);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keystore_health before;
		struct keystore_health after;
		print_message("%s\n", cases[i].name);
		keystore_health(fx->ks, &before);
		wrap_use(fx->dir, SOFTHSM_MODULE);
		wrap_rule(cases[i].function, cases[i].action, cases[i].value, cases[i].times);
		assert_int_equal(sign_one(fx->ks, fx->key), cases[i].result);
		keystore_health(fx->ks, &after);
		assert_int_equal(after.verify_failures - before.verify_failures,
				 cases[i].verify_failures);
		wrap_clear();
		if (p11_isolated() && cases[i].value == 0xa0) {
			assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
			assert_int_equal(wrap_calls("C_Login"), 0);
			file_write(fx->pin, PIN "\n");
		}
		EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
		keystore_health(fx->ks, &after);
		assert_string_equal(after.detail, "");
		if (cases[i].result == ST_EAGAIN) {
			/* The next job finds its session and its key again. */
			assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
		}
		/* Another process begins from nothing. */
		bool anew = p11_isolated() && cases[i].result == ST_EAGAIN;
		assert_int_equal(wrap_calls("C_Finalize"), anew ? 1 : cases[i].finalize);
		assert_int_equal(wrap_calls("C_Login"), anew ? 1 : cases[i].login);
		assert_int_equal(wrap_calls("C_OpenSession"), cases[i].open);
		assert_int_equal(wrap_calls("C_FindObjectsInit"), cases[i].find);
		/* Key found, session open: as the next case wants it. */
		assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	}
}

static void an_outage_fails_jobs_promptly_and_ends(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct hsm_key *out = NULL;
	p11_use(fx, p11_wrapper(), 2);
	p11_make_key(fx);
	wrap_rule("C_Sign", "rv", CKR_DEVICE_ERROR, -1);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	/* It comes up, since the rest of it works, and goes down with the next signature. */
	wrap_rule("C_GetSlotList", "rv", CKR_DEVICE_ERROR, -1);
	while (sign_one(fx->ks, fx->key) == ST_OK) {
	}
	EVENTUALLY(p11_state(fx) == KEYSTORE_DOWN && wrap_calls("C_Finalize") >= 3);
	int64_t start = clock_mono_ms();
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	}
	assert_true(clock_mono_ms() - start < 2000);
	assert_int_equal(p11_find_again(fx, NULL, &out), ST_EAGAIN);
	assert_null(out);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.state, KEYSTORE_DOWN);
	assert_string_not_equal(health.detail, "");
	wrap_clear();
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	assert_int_equal(p11_find_again(fx, NULL, &out), ST_OK);
	hsm_key_unref(out);
}

static void fewer_sessions_than_lanes_do(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(2);
	p11_use(fx, p11_wrapper(), 2);
	p11_make_key(fx);
	/* Which lane proved the key is chance: the other one gets no session. */
	unsigned before = wrap_calls("C_Sign");
	unsigned opened = wrap_calls("C_OpenSession");
	char both[200];
	snprintf(both, sizeof(both), "C_Sign hold 0 -1 4000\nC_OpenSession rv 0x%lx -1 4001\n",
		 CKR_SESSION_COUNT);
	file_write(getenv("P11WRAP_CONTROL"), both);
	assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_QUERY, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	assert_int_equal(jobs_submit(j, 1, fx->ks, HSM_QUERY, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_OpenSession") > opened);
	EVENTUALLY((keystore_health(fx->ks, &health), health.sessions == 1));
	wrap_clear();
	jobs_wait(j, 2);
	assert_int_equal(jobs_at(j, 0)->result, ST_OK);
	assert_int_equal(jobs_at(j, 1)->result, ST_OK);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
	jobs_free(j);
}

/* The device never went away, so that it is not opened anew: the next look at it is enough. */
static void sessions_that_come_back_are_used(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(4);
	char both[200];
	p11_use(fx, p11_wrapper(), 2);
	p11_make_key(fx);
	unsigned opened = wrap_calls("C_OpenSession");
	snprintf(both, sizeof(both), "C_Sign hold 0 -1 4000\nC_OpenSession limit 2 -1 4001\n");
	file_write(getenv("P11WRAP_CONTROL"), both);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_QUERY, fx->key), ST_OK);
	}
	EVENTUALLY((keystore_health(fx->ks, &health), health.sessions == 1));
	/* Once, or once for each job where one lane took both. */
	assert_in_range(wrap_calls("C_OpenSession"), opened + 1, opened + 2);
	wrap_clear();
	jobs_wait(j, 2);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.sessions, 2);
	/* Both lanes are inside at once. */
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	for (size_t i = 2; i < 4; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_QUERY, fx->key), ST_OK);
	}
	EVENTUALLY(wrap_calls("C_Sign") == before + 2);
	wrap_clear();
	jobs_wait(j, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(jobs_at(j, i)->result, ST_OK);
	}
	jobs_free(j);
}

static void a_refused_pin_is_tried_once(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct diags d;
	file_write(fx->pin, "0000\n");
	p11_use(fx, p11_wrapper(), 1);
	for (unsigned i = 0; i < 4; i++) {
		diags_init(&d, DIAGS_LIMIT);
		assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
		assert_int_equal(d.errors, 1);
		assert_null(strstr(d.items[0].text, "0000"));
		assert_non_null(strstr(d.items[0].text, fx->pin));
		diags_fini(&d);
		assert_int_equal(p11_state(fx), KEYSTORE_LOCKED);
	}
	assert_int_equal(keystore_generate(fx->ks, "x", &fx->key, NULL), ST_EFATAL);
	assert_null(fx->key);
	/* Written again, and still the same. */
	file_write(fx->pin, "0000");
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(wrap_calls("C_Login"), 1);
	keystore_health(fx->ks, &health);
	assert_null(strstr(health.detail, "0000"));

	/* Noticed without being asked. */
	file_write(fx->pin, PIN);
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
	assert_int_equal(wrap_calls("C_Login"), 2);
	p11_make_key(fx);
}

/* A device that is locked looks at no PIN, so the one in the file may be right: it is taken again
 * once the file was written. */
static void a_pin_that_was_locked_out_may_be_right(void **state)
{
	struct p11_fixture *fx = *state;
	struct diags d;
	p11_use(fx, p11_wrapper(), 1);
	wrap_rule("C_Login", "rv", CKR_PIN_LOCKED, -1);
	for (unsigned i = 0; i < 4; i++) {
		diags_init(&d, DIAGS_LIMIT);
		assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
		assert_non_null(strstr(d.items[0].text, "PIN is locked"));
		diags_fini(&d);
		assert_int_equal(p11_state(fx), KEYSTORE_LOCKED);
	}
	assert_int_equal(wrap_calls("C_Login"), 1);
	/* Still locked when it is written: one more look, and no further. */
	file_write(fx->pin, PIN);
	EVENTUALLY(wrap_calls("C_Login") == 2);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(wrap_calls("C_Login"), 2);
	wrap_clear();
	file_write(fx->pin, PIN "\n");
	EVENTUALLY(p11_state(fx) == KEYSTORE_UP);
	assert_int_equal(wrap_calls("C_Login"), 3);
	p11_make_key(fx);
}

static void a_token_that_counts_wrong_pins_is_spared(void **state)
{
	struct p11_fixture *fx = *state;
	file_write(fx->pin, "0000\n");
	p11_use(fx, p11_wrapper(), 1);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	/* A new process would not know of the refusal: the token's flag says it. */
	file_write(fx->pin, PIN);
	p11_use(fx, p11_wrapper(), 1);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(p11_state(fx), KEYSTORE_LOCKED);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(wrap_calls("C_Login"), 1);
	file_write(fx->pin, PIN "\n");
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	assert_int_equal(wrap_calls("C_Login"), 2);
}

static void without_a_pin_nothing_is_tried(void **state)
{
	struct p11_fixture *fx = *state;
	static const struct {
		const char *name, *text;
	} cases[] = {
		{"no file", NULL},
		{"empty", ""},
		{"empty line", "\n4711\n"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		unlink(fx->pin);
		if (cases[i].text != NULL) {
			file_write(fx->pin, cases[i].text);
		}
		p11_use(fx, p11_wrapper(), 1);
		assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
		assert_int_equal(p11_state(fx), KEYSTORE_LOCKED);
	}
	assert_int_equal(wrap_calls("C_Login"), 0);
	struct keystore_options opt = p11_options(fx, p11_wrapper(), 1);
	opt.pin_file = NULL;
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
}

static void a_pin_that_changed_meanwhile_locks(void **state)
{
	struct p11_fixture *fx = *state;
	p11_use(fx, p11_wrapper(), 2);
	p11_make_key(fx);
	unsigned before = wrap_calls("C_Login");
	file_write(fx->pin, "0000");
	/* Both lanes lose the log-in; one try is spent. */
	wrap_rule("C_SignInit", "rv", CKR_DEVICE_ERROR, 1);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	EVENTUALLY(p11_state(fx) == KEYSTORE_LOCKED);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	assert_int_equal(wrap_calls("C_Login"), before + 1);
	file_write(fx->pin, PIN);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
}

static void others_in_the_process_may_log_us_out(void **state)
{
	struct p11_fixture *fx = *state;
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE session;
	struct hsm_key *out = NULL;
	p11_use(fx, SOFTHSM_MODULE, 2);
	p11_make_key(fx);
	CK_FUNCTION_LIST *f = p11_softhsm(&slot);

	assert_int_equal(f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
	assert_int_equal(f->C_Logout(session), CKR_OK);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	/* Logged out a token shows no private objects: that is not absent. */
	assert_int_equal(f->C_Logout(session), CKR_OK);
	assert_int_equal(p11_find_again(fx, NULL, &out), ST_OK);
	hsm_key_unref(out);

	assert_int_equal(f->C_CloseAllSessions(slot), CKR_OK);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	assert_int_equal(f->C_CloseAllSessions(slot), CKR_OK);
	assert_int_equal(p11_find_again(fx, NULL, &out), ST_OK);
	hsm_key_unref(out);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
}

static void a_token_made_anew_signs_nothing_with_its_new_keys(void **state)
{
	struct p11_fixture *fx = *state;
	struct hsm_key *out = NULL;
	struct keystore_health health;
	enum status st;
	const char *argv[] = {
		"softhsm2-util", "--init-token", "--token", "signet", "--label", "signet",
		"--so-pin",	 "12345678",	 "--pin",   PIN,      NULL};
	p11_use(fx, SOFTHSM_MODULE, 2);
	p11_make_key(fx);
	assert_int_equal(run(argv), 0);
	for (unsigned i = 0; i < 20; i++) {
		st = sign_one(fx->ks, fx->key);
		assert_true(st == ST_EFATAL || st == ST_EAGAIN);
	}
	/* It is up, and says what is wrong all the same. */
	EVENTUALLY(sign_one(fx->ks, fx->key) == ST_EFATAL);
	keystore_health(fx->ks, &health);
	assert_string_equal(health.detail, "");
	assert_non_null(strstr(health.refusal, "token signet"));
	/* In the end it is known to be absent, and a new one can be made. */
	EVENTUALLY((st = p11_find_again(fx, NULL, &out)) != ST_EAGAIN);
	assert_int_equal(st, ST_ENOENT);
	struct hsm_key *other = NULL;
	EVENTUALLY((st = keystore_generate(fx->ks, "new", &other, NULL)) != ST_EAGAIN);
	assert_int_equal(st, ST_OK);
	assert_int_equal(sign_one(fx->ks, other), ST_OK);
	assert_int_not_equal(sign_one(fx->ks, fx->key), ST_OK);
	hsm_key_unref(other);
}

static void two_keystores_of_one_module_heal_apart(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore *second = NULL;
	struct hsm_key *key = NULL;
	softhsm_token("other", PIN);
	p11_use(fx, p11_wrapper(), 1);
	p11_make_key(fx);
	struct keystore_options opt = p11_options(fx, p11_wrapper(), 1);
	opt.token = "other";
	assert_int_equal(keystore_new(&opt, &second, NULL), ST_OK);
	assert_int_equal(keystore_generate(second, "x", &key, NULL), ST_OK);
	unsigned before = wrap_calls("C_Finalize");
	for (unsigned i = 0; i < 5; i++) {
		wrap_rule("C_Sign", "rv", CKR_DEVICE_ERROR, 1);
		assert_int_equal(sign_one(second, key), ST_EAGAIN);
		assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
		enum status st;
		EVENTUALLY((st = sign_one(second, key)) != ST_EAGAIN);
		assert_int_equal(st, ST_OK);
	}
	/* The healthy one was not thrown out for it. */
	assert_int_equal(wrap_calls("C_Finalize"), before);
	/* Both in trouble: then the module is initialised anew, and both come back. */
	wrap_rule("C_Sign", "rv", CKR_DEVICE_ERROR, 2);
	assert_int_equal(sign_one(second, key), ST_EAGAIN);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	enum status st;
	EVENTUALLY((st = sign_one(second, key)) != ST_EAGAIN);
	assert_int_equal(st, ST_OK);
	EVENTUALLY((st = sign_one(fx->ks, fx->key)) != ST_EAGAIN);
	assert_int_equal(st, ST_OK);
	hsm_key_unref(key);
	keystore_free(second);
}

static pid_t server_start(const char *socket)
{
	struct stat sb;
	const char *argv[] = {"p11-kit",
			      "server",
			      "-f",
			      "--provider",
			      SOFTHSM_MODULE,
			      "-n",
			      socket,
			      "pkcs11:token=signet",
			      NULL};
	unlink(socket);
	pid_t pid = start(argv);
	EVENTUALLY(stat(socket, &sb) == 0);
	return pid;
}

/* The server has a child process for each connection. */
static void server_kill(pid_t pid)
{
	assert_int_equal(kill(-pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_killed_hsm_is_found_again(void **state)
{
	struct p11_fixture *fx = *state;
	char address[400];
	struct jobs *j = jobs_new(500);
	size_t failed = 0;
	const char *socket = temp_path(fx->dir, "p11.sock");
	if (access(P11_CLIENT, R_OK) != 0) {
		skip();
	}
	snprintf(address, sizeof(address), "unix:path=%s", socket);
	setenv("P11_KIT_SERVER_ADDRESS", address, 1);
	pid_t pid = server_start(socket);
	p11_use(fx, P11_CLIENT, 2);
	p11_make_key(fx);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);

	for (size_t i = 0; i < 500; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, HSM_BATCH, fx->key), ST_OK);
	}
	jobs_wait(j, 20);
	server_kill(pid);
	jobs_wait(j, 500);
	for (size_t i = 0; i < 500; i++) {
		enum status st = jobs_at(j, i)->result;
		assert_true(st == ST_OK || st == ST_EAGAIN);
		failed += st == ST_EAGAIN;
	}
	assert_true(failed > 0);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	EVENTUALLY(p11_state(fx) == KEYSTORE_DOWN);

	pid = server_start(socket);
	EVENTUALLY(sign_one(fx->ks, fx->key) == ST_OK);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
	jobs_free(j);
	keystore_free(fx->ks);
	fx->ks = NULL;
	server_kill(pid);
}

/* Else each further attempt would leave another one, until the token is full. */
static void a_pair_that_cannot_be_found_is_not_left_behind(void **state)
{
	struct p11_fixture *fx = *state;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE object;
	CK_ULONG count = 0;
	p11_use(fx, p11_wrapper(), 1);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	wrap_rule("C_FindObjectsInit", "rv", CKR_ATTRIBUTE_TYPE_INVALID, 1);
	assert_int_equal(keystore_generate(fx->ks, "x", &fx->key, NULL), ST_EFATAL);
	assert_null(fx->key);
	assert_int_equal(wrap_calls("C_GenerateKeyPair"), 1);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	assert_int_equal(f->C_FindObjectsInit(session, NULL, 0), CKR_OK);
	assert_int_equal(f->C_FindObjects(session, &object, 1, &count), CKR_OK);
	assert_int_equal(f->C_FindObjectsFinal(session), CKR_OK);
	assert_int_equal(f->C_CloseSession(session), CKR_OK);
	assert_int_equal(count, 0);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, p11_setup, p11_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(faults_are_healed_by_their_class),
		TEST(an_outage_fails_jobs_promptly_and_ends),
		TEST(fewer_sessions_than_lanes_do),
		TEST(sessions_that_come_back_are_used),
		TEST(a_refused_pin_is_tried_once),
		TEST(a_pin_that_was_locked_out_may_be_right),
		TEST(a_token_that_counts_wrong_pins_is_spared),
		TEST(without_a_pin_nothing_is_tried),
		TEST(a_pin_that_changed_meanwhile_locks),
		TEST(a_token_made_anew_signs_nothing_with_its_new_keys),
		TEST(a_pair_that_cannot_be_found_is_not_left_behind),
		TEST(a_killed_hsm_is_found_again),
	};
	const struct CMUnitTest inside[] = {
		TEST(others_in_the_process_may_log_us_out),
		TEST(two_keystores_of_one_module_heal_apart),
	};
	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	/* As the server does: a dead HSM must not take the process with it. */
	signal(SIGPIPE, SIG_IGN);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	return p11_isolated() ? failed : failed + cmocka_run_group_tests(inside, NULL, NULL);
}
