/* Keystores on SoftHSM, directly, through a module that misbehaves (tests/tools/p11wrap.c) and
 * through a p11-kit server that is killed; and on the token of NSS. Each test has a SoftHSM of its
 * own. */
#include "tests/tools/hsmtest.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PIN	   "4711"
#define NSS_MODULE "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"
#define P11_CLIENT "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"

struct fixture {
	char *dir;
	char pin[300]; /* the PIN file */
	struct keystore *ks;
	struct hsm_key *key;
};

static struct keystore_options options(struct fixture *fx, const char *module, unsigned sessions)
{
	return (struct keystore_options){
		.name = "test",
		.type = KEYSTORE_PKCS11,
		.module = module,
		.token = "signet",
		.slot = -1,
		.pin_file = fx->pin,
		.sessions = sessions,
	};
}

static void use(struct fixture *fx, const char *module, unsigned sessions)
{
	struct keystore_options opt = options(fx, module, sessions);
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
}

static void print_diags(const struct diags *d)
{
	char line[300];
	for (size_t i = 0; i < d->count; i++) {
		print_message("  %s\n", diag_format(&d->items[i], line, sizeof(line)));
	}
}

/* A key on a keystore that works. */
static void make_key(struct fixture *fx)
{
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	enum status st = keystore_generate(fx->ks, "example.com./ZSK/1", &fx->key, &d);
	print_diags(&d);
	assert_int_equal(st, ST_OK);
	diags_fini(&d);
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	fx->dir = temp_make();
	softhsm_use(fx->dir);
	softhsm_token("signet", PIN);
	snprintf(fx->pin, sizeof(fx->pin), "%s/pin", fx->dir);
	file_write(fx->pin, PIN "\n");
	wrap_use(fx->dir, SOFTHSM_MODULE);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;
	keystore_free(fx->ks);
	hsm_key_unref(fx->key);
	temp_remove(fx->dir);
	free(fx);
	return 0;
}

static const char *wrapper(void)
{
	const char *path = getenv("P11WRAP");
	assert_non_null(path);
	return path;
}

static enum keystore_state state_of(struct fixture *fx)
{
	struct keystore_health health;
	keystore_health(fx->ks, &health);
	return health.state;
}

static enum status find(struct fixture *fx, const uint8_t *expect, struct hsm_key **out)
{
	size_t len;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	const uint8_t *id = hsm_key_id(fx->key, &len);
	enum status st = keystore_find(fx->ks, id, len, expect, out, &d);
	assert_int_equal(d.errors, st == ST_OK ? 0 : 1);
	diags_fini(&d);
	return st;
}

static void a_new_key_is_found_again(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *again = NULL;
	uint8_t point[HSM_PUBLIC_LEN];
	size_t len;
	use(fx, SOFTHSM_MODULE, 2);
	assert_int_equal(state_of(fx), KEYSTORE_CLOSED);
	assert_false(keystore_in_process(fx->ks));
	make_key(fx);
	assert_non_null(hsm_key_id(fx->key, &len));
	assert_int_equal(len, HSM_KEY_ID_LEN);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	assert_int_equal(hsm_sign_now(fx->key, point, point), ST_ENOTSUP);

	use(fx, SOFTHSM_MODULE, 2);
	memcpy(point, hsm_key_public(fx->key), sizeof(point));
	assert_int_equal(find(fx, NULL, &again), ST_OK);
	assert_memory_equal(hsm_key_public(again), point, sizeof(point));
	assert_int_equal(sign_one(fx->ks, again), ST_OK);
	hsm_key_unref(again);
	assert_int_equal(find(fx, point, &again), ST_OK);
	hsm_key_unref(fx->key);
	fx->key = again;
	again = NULL;
	point[17] ^= 1;
	assert_int_equal(find(fx, point, &again), ST_ECRYPTO);
	assert_null(again);

	assert_int_equal(keystore_delete(fx->ks, fx->key, NULL), ST_OK);
	assert_int_equal(find(fx, NULL, &again), ST_ENOENT);
	assert_int_equal(keystore_delete(fx->ks, fx->key, NULL), ST_ENOENT);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EFATAL);
	assert_null(again);
	assert_int_equal(state_of(fx), KEYSTORE_UP);
}

struct submitter {
	struct fixture *fx;
	struct jobs *jobs;
	size_t from, to;
};

static void *submit_many(void *arg)
{
	struct submitter *s = arg;
	for (size_t i = s->from; i < s->to; i++) {
		enum hsm_priority priority = i % 3 == 0 ? HSM_QUERY : HSM_BATCH;
		while (jobs_submit(s->jobs, i, s->fx->ks, priority, s->fx->key) == ST_ELIMIT) {
			pause_ms();
		}
	}
	return NULL;
}

static void thousands_of_jobs_at_once_all_verify(void **state)
{
	enum { THREADS = 3, EACH = 1000 };
	struct fixture *fx = *state;
	struct keystore_health health;
	struct submitter args[THREADS];
	pthread_t threads[THREADS];
	struct jobs *j = jobs_new(THREADS * EACH);
	use(fx, SOFTHSM_MODULE, 4);
	make_key(fx);
	for (size_t i = 0; i < THREADS; i++) {
		args[i] = (struct submitter){fx, j, i * EACH, (i + 1) * EACH};
		assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &args[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	jobs_wait(j, THREADS * EACH);
	for (size_t i = 0; i < THREADS * EACH; i++) {
		struct hsm_job *job = jobs_at(j, i);
		assert_int_equal(job->result, ST_OK);
		if (i % 8 == 0) {
			assert_int_equal(
				hsm_verify(hsm_key_public(fx->key), job->digest, job->signature),
				ST_OK);
		}
	}
	keystore_health(fx->ks, &health);
	assert_int_equal(health.signatures, THREADS * EACH + 1);
	assert_int_equal(health.failures, 0);
	assert_int_equal(health.waiting, 0);
	jobs_free(j);
}

static void batches_leave_a_lane_for_queries(void **state)
{
	struct fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(3);
	use(fx, wrapper(), 2);
	make_key(fx);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_BATCH, fx->key), ST_OK);
	assert_int_equal(jobs_submit(j, 1, fx->ks, HSM_BATCH, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	assert_int_equal(jobs_submit(j, 2, fx->ks, HSM_QUERY, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 2);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.waiting, 1); /* the second batch job, not the query */
	wrap_clear();
	jobs_wait(j, 3);
	jobs_free(j);
}

static void one_lane_serves_both(void **state)
{
	struct fixture *fx = *state;
	struct jobs *j = jobs_new(3);
	use(fx, wrapper(), 1);
	make_key(fx);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_BATCH, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	assert_int_equal(jobs_submit(j, 1, fx->ks, HSM_BATCH, fx->key), ST_OK);
	assert_int_equal(jobs_submit(j, 2, fx->ks, HSM_QUERY, fx->key), ST_OK);
	wrap_clear();
	jobs_wait(j, 3);
	assert_int_equal(jobs_order(j, 2), 2); /* before the batch job that came earlier */
	jobs_free(j);
}

static void *free_keystore(void *arg)
{
	keystore_free(arg);
	return NULL;
}

static void the_queue_is_bounded_and_ends_with_the_keystore(void **state)
{
	struct fixture *fx = *state;
	struct keystore_options opt = options(fx, wrapper(), 1);
	struct jobs *j = jobs_new(64);
	size_t taken = 0;
	pthread_t freer;
	opt.queue_max = 3;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	make_key(fx);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	assert_int_equal(jobs_submit(j, taken++, fx->ks, HSM_QUERY, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	while (taken < 4) {
		assert_int_equal(jobs_submit(j, taken++, fx->ks, HSM_QUERY, fx->key), ST_OK);
	}
	assert_int_equal(jobs_submit(j, 10, fx->ks, HSM_QUERY, fx->key), ST_ELIMIT);
	/* The bound is each priority's own. */
	assert_int_equal(jobs_submit(j, taken++, fx->ks, HSM_BATCH, fx->key), ST_OK);

	struct keystore *ks = fx->ks;
	fx->ks = NULL;
	assert_int_equal(pthread_create(&freer, NULL, free_keystore, ks), 0);
	EVENTUALLY(jobs_submit(j, 10, ks, HSM_QUERY, fx->key) == ST_EAGAIN);
	wrap_clear();
	pthread_join(freer, NULL);
	assert_int_equal(jobs_done(j), taken);
	assert_int_equal(jobs_at(j, 0)->result, ST_OK);
	for (size_t i = 1; i < taken; i++) {
		assert_int_equal(jobs_at(j, i)->result, ST_EAGAIN);
	}
	jobs_free(j);
}

static void faults_are_healed_by_their_class(void **state)
{
	struct fixture *fx = *state;
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
		/* Stops for a second; no try is spent, since other sessions kept us logged in. */
		{"PIN", "C_Sign", "rv", 0xa0, 1, ST_EAGAIN, 0, 0, 2, 2, 0},
		{"in DER", "C_Sign", "der", 0, -1, ST_OK, 0, 0, 0, 0, 0},
		{"short once", "C_Sign", "short", 0, 1, ST_OK, 0, 0, 0, 2, 1},
		{"short always", "C_Sign", "short", 0, -1, ST_ECRYPTO, 0, 0, 0, 2, 2},
		{"wrong once", "C_Sign", "wrong", 0, 1, ST_OK, 0, 0, 0, 2, 1},
		{"wrong always", "C_Sign", "wrong", 0, -1, ST_ECRYPTO, 0, 0, 0, 2, 2},
	};
	use(fx, wrapper(), 1);
	make_key(fx);
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
		EVENTUALLY(state_of(fx) == KEYSTORE_UP);
		keystore_health(fx->ks, &after);
		assert_string_equal(after.detail, "");
		if (cases[i].result == ST_EAGAIN) {
			/* The next job finds its session and its key again. */
			assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
		}
		assert_int_equal(wrap_calls("C_Finalize"), cases[i].finalize);
		assert_int_equal(wrap_calls("C_Login"), cases[i].login);
		assert_int_equal(wrap_calls("C_OpenSession"), cases[i].open);
		assert_int_equal(wrap_calls("C_FindObjectsInit"), cases[i].find);
		/* Key found, session open: as the next case wants it. */
		assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	}
}

static void an_outage_fails_jobs_promptly_and_ends(void **state)
{
	struct fixture *fx = *state;
	struct keystore_health health;
	struct hsm_key *out = NULL;
	use(fx, wrapper(), 2);
	make_key(fx);
	wrap_rule("C_Sign", "rv", CKR_DEVICE_ERROR, -1);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	/* It comes up, since the rest of it works, and goes down with the next signature. */
	wrap_rule("C_GetSlotList", "rv", CKR_DEVICE_ERROR, -1);
	while (sign_one(fx->ks, fx->key) == ST_OK) {
	}
	EVENTUALLY(state_of(fx) == KEYSTORE_DOWN && wrap_calls("C_Finalize") >= 3);
	int64_t start = clock_mono_ms();
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	}
	assert_true(clock_mono_ms() - start < 2000);
	assert_int_equal(find(fx, NULL, &out), ST_EAGAIN);
	assert_null(out);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.state, KEYSTORE_DOWN);
	assert_string_not_equal(health.detail, "");
	wrap_clear();
	EVENTUALLY(state_of(fx) == KEYSTORE_UP);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	assert_int_equal(find(fx, NULL, &out), ST_OK);
	hsm_key_unref(out);
}

static void fewer_sessions_than_lanes_do(void **state)
{
	struct fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(2);
	use(fx, wrapper(), 2);
	make_key(fx);
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
	assert_int_equal(state_of(fx), KEYSTORE_UP);
	jobs_free(j);
}

static void a_refused_pin_is_tried_once(void **state)
{
	struct fixture *fx = *state;
	struct keystore_health health;
	struct diags d;
	file_write(fx->pin, "0000\n");
	use(fx, wrapper(), 1);
	for (unsigned i = 0; i < 4; i++) {
		diags_init(&d, DIAGS_LIMIT);
		assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
		assert_int_equal(d.errors, 1);
		assert_null(strstr(d.items[0].text, "0000"));
		assert_non_null(strstr(d.items[0].text, fx->pin));
		diags_fini(&d);
		assert_int_equal(state_of(fx), KEYSTORE_LOCKED);
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
	EVENTUALLY(state_of(fx) == KEYSTORE_UP);
	assert_int_equal(wrap_calls("C_Login"), 2);
	make_key(fx);
}

static void a_token_that_counts_wrong_pins_is_spared(void **state)
{
	struct fixture *fx = *state;
	file_write(fx->pin, "0000\n");
	use(fx, wrapper(), 1);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	/* A new process would not know of the refusal: the token's flag says it. */
	file_write(fx->pin, PIN);
	use(fx, wrapper(), 1);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(state_of(fx), KEYSTORE_LOCKED);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
	assert_int_equal(wrap_calls("C_Login"), 1);
	file_write(fx->pin, PIN "\n");
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	assert_int_equal(wrap_calls("C_Login"), 2);
}

static void without_a_pin_nothing_is_tried(void **state)
{
	struct fixture *fx = *state;
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
		use(fx, wrapper(), 1);
		assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
		assert_int_equal(state_of(fx), KEYSTORE_LOCKED);
	}
	assert_int_equal(wrap_calls("C_Login"), 0);
	struct keystore_options opt = options(fx, wrapper(), 1);
	opt.pin_file = NULL;
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EFATAL);
}

static void a_pin_that_changed_meanwhile_locks(void **state)
{
	struct fixture *fx = *state;
	use(fx, wrapper(), 2);
	make_key(fx);
	unsigned before = wrap_calls("C_Login");
	file_write(fx->pin, "0000");
	/* Both lanes lose the log-in; one try is spent. */
	wrap_rule("C_SignInit", "rv", CKR_DEVICE_ERROR, 1);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	EVENTUALLY(state_of(fx) == KEYSTORE_LOCKED);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EAGAIN);
	assert_int_equal(wrap_calls("C_Login"), before + 1);
	file_write(fx->pin, PIN);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
}

/* SoftHSM's own functions, as another user in this process would call them. */
static CK_FUNCTION_LIST *softhsm(CK_SLOT_ID *slot)
{
	CK_FUNCTION_LIST *f;
	CK_C_GetFunctionList get;
	CK_ULONG count = 1;
	void *library = dlopen(SOFTHSM_MODULE, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(library);
	void *symbol = dlsym(library, "C_GetFunctionList");
	memcpy(&get, &symbol, sizeof(get));
	assert_int_equal(get(&f), CKR_OK);
	CK_SLOT_ID slots[8];
	count = 8;
	assert_int_equal(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	*slot = slots[0];
	dlclose(library);
	return f;
}

static void others_in_the_process_may_log_us_out(void **state)
{
	struct fixture *fx = *state;
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE session;
	struct hsm_key *out = NULL;
	use(fx, SOFTHSM_MODULE, 2);
	make_key(fx);
	CK_FUNCTION_LIST *f = softhsm(&slot);

	assert_int_equal(f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_OK);
	assert_int_equal(f->C_Logout(session), CKR_OK);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	/* Logged out a token shows no private objects: that is not absent. */
	assert_int_equal(f->C_Logout(session), CKR_OK);
	assert_int_equal(find(fx, NULL, &out), ST_OK);
	hsm_key_unref(out);

	assert_int_equal(f->C_CloseAllSessions(slot), CKR_OK);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	assert_int_equal(f->C_CloseAllSessions(slot), CKR_OK);
	assert_int_equal(find(fx, NULL, &out), ST_OK);
	hsm_key_unref(out);
	assert_int_equal(state_of(fx), KEYSTORE_UP);
}

static void a_token_made_anew_signs_nothing_with_its_new_keys(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *out = NULL;
	enum status st;
	const char *argv[] = {
		"softhsm2-util", "--init-token", "--token", "signet", "--label", "signet",
		"--so-pin",	 "12345678",	 "--pin",   PIN,      NULL};
	use(fx, SOFTHSM_MODULE, 2);
	make_key(fx);
	assert_int_equal(run(argv), 0);
	for (unsigned i = 0; i < 20; i++) {
		st = sign_one(fx->ks, fx->key);
		assert_true(st == ST_EFATAL || st == ST_EAGAIN);
	}
	/* In the end it is known to be absent, and a new one can be made. */
	EVENTUALLY((st = find(fx, NULL, &out)) != ST_EAGAIN);
	assert_int_equal(st, ST_ENOENT);
	struct hsm_key *other = NULL;
	EVENTUALLY((st = keystore_generate(fx->ks, "new", &other, NULL)) != ST_EAGAIN);
	assert_int_equal(st, ST_OK);
	assert_int_equal(sign_one(fx->ks, other), ST_OK);
	assert_int_not_equal(sign_one(fx->ks, fx->key), ST_OK);
	hsm_key_unref(other);
}

static void tokens_are_told_apart(void **state)
{
	struct fixture *fx = *state;
	struct diags d;
	softhsm_token("signet", PIN);
	softhsm_token("other", PIN);
	use(fx, SOFTHSM_MODULE, 1);
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
	assert_int_equal(d.errors, 1);
	assert_non_null(strstr(d.items[0].text, "serials"));
	print_diags(&d);
	diags_fini(&d);

	struct keystore_options opt = options(fx, SOFTHSM_MODULE, 1);
	opt.token = "nosuch";
	keystore_free(fx->ks);
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EAGAIN);
	assert_int_equal(state_of(fx), KEYSTORE_DOWN);

	keystore_free(fx->ks);
	opt.token = NULL;
	opt.uri = "pkcs11:token=other";
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);

	/* A second keystore in the same module, and it outlives the first. */
	struct keystore *second = NULL;
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_FUNCTION_LIST *f = softhsm(&slot);
	assert_int_equal(f->C_GetTokenInfo(slot, &info), CKR_OK);
	opt.uri = NULL;
	opt.slot = (int64_t)slot;
	assert_int_equal(keystore_new(&opt, &second, NULL), ST_OK);
	assert_int_equal(keystore_generate(second, "x", &fx->key, NULL), ST_OK);
	keystore_free(fx->ks);
	fx->ks = second;
	assert_int_equal(sign_one(second, fx->key), ST_OK);
}

static void two_keystores_of_one_module_heal_apart(void **state)
{
	struct fixture *fx = *state;
	struct keystore *second = NULL;
	struct hsm_key *key = NULL;
	softhsm_token("other", PIN);
	use(fx, wrapper(), 1);
	make_key(fx);
	struct keystore_options opt = options(fx, wrapper(), 1);
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

static void bad_options_are_refused(void **state)
{
	struct fixture *fx = *state;
	static const struct {
		const char *name, *token, *uri;
		int64_t slot;
	} cases[] = {
		{"nothing named", NULL, NULL, -1},
		{"label and slot", "signet", NULL, 0},
		{"label and uri", "signet", "pkcs11:token=signet", -1},
		{"not a uri", NULL, "http://example.com", -1},
		{"a uri of nothing", NULL, "pkcs11:", -1},
		{"a uri of a maker", NULL, "pkcs11:manufacturer=SoftHSM%20project", -1},
		{"an unknown attribute", NULL, "pkcs11:token=signet;colour=blue", -1},
		{"a key", NULL, "pkcs11:token=signet;object=x", -1},
		{"a PIN", NULL, "pkcs11:token=signet?pin-value=4711", -1},
		{"a module", NULL, "pkcs11:token=signet?module-name=softhsm2", -1},
		{"two PIN files", NULL, "pkcs11:token=signet?pin-source=file:/pin", -1},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keystore_options opt = options(fx, SOFTHSM_MODULE, 1);
		struct diags d;
		diags_init(&d, DIAGS_LIMIT);
		opt.token = cases[i].token;
		opt.uri = cases[i].uri;
		opt.slot = cases[i].slot;
		print_message("%s\n", cases[i].name);
		assert_int_equal(keystore_new(&opt, &fx->ks, &d), ST_EPARSE);
		assert_null(fx->ks);
		assert_int_equal(d.errors, 1);
		assert_null(strstr(d.items[0].text, "4711"));
		diags_fini(&d);
	}
}

static void what_is_no_module_is_said(void **state)
{
	struct fixture *fx = *state;
	const char *modules[] = {"/nonexistent.so", "/etc/passwd", "libm.so.6"};
	for (size_t i = 0; i < 3; i++) {
		struct diags d;
		diags_init(&d, DIAGS_LIMIT);
		use(fx, modules[i], 1);
		assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
		assert_int_equal(d.errors, 1);
		print_diags(&d);
		diags_fini(&d);
		assert_int_equal(state_of(fx), KEYSTORE_DOWN);
	}
}

static void the_pin_source_of_a_uri_serves(void **state)
{
	struct fixture *fx = *state;
	struct keystore_options opt = options(fx, SOFTHSM_MODULE, 1);
	struct diags d;
	char uri[400];
	diags_init(&d, DIAGS_LIMIT);
	snprintf(uri, sizeof(uri), "pkcs11:token=signet?pin-source=file:%s", fx->pin);
	opt.token = NULL;
	opt.uri = uri;
	opt.pin_file = NULL;
	assert_int_equal(chmod(fx->pin, 0644), 0);
	assert_int_equal(keystore_new(&opt, &fx->ks, &d), ST_OK);
	assert_int_equal(d.warnings, 1); /* the mode */
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	keystore_free(fx->ks); /* while 'uri' lives */
	fx->ks = NULL;
	diags_fini(&d);
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
	struct fixture *fx = *state;
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
	use(fx, P11_CLIENT, 2);
	make_key(fx);
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
	EVENTUALLY(state_of(fx) == KEYSTORE_DOWN);

	pid = server_start(socket);
	EVENTUALLY(sign_one(fx->ks, fx->key) == ST_OK);
	assert_int_equal(state_of(fx), KEYSTORE_UP);
	jobs_free(j);
	keystore_free(fx->ks);
	fx->ks = NULL;
	server_kill(pid);
}

static void the_token_of_nss_serves(void **state)
{
	struct fixture *fx = *state;
	char db[400];
	char args[800];
	struct keystore_options opt = options(fx, NSS_MODULE, 2);
	struct hsm_key *again = NULL;
	size_t len;
	snprintf(db, sizeof(db), "sql:%s", fx->dir);
	const char *argv[] = {"certutil", "-N", "-d", db, "-f", fx->pin, NULL};
	if (access(NSS_MODULE, R_OK) != 0 || run(argv) != 0) {
		skip();
	}
	snprintf(args, sizeof(args),
		 "configdir='%s' certPrefix='' keyPrefix='' secmod='secmod.db' flags=", db);
	opt.init_args = args;
	opt.token = "NSS Certificate DB";
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	make_key(fx);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	}
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	const uint8_t *id = hsm_key_id(fx->key, &len);
	assert_int_equal(keystore_find(fx->ks, id, len, hsm_key_public(fx->key), &again, NULL),
			 ST_OK);
	hsm_key_unref(again);
	keystore_free(fx->ks); /* while 'args' lives */
	fx->ks = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_key_is_found_again),
		TEST(thousands_of_jobs_at_once_all_verify),
		TEST(batches_leave_a_lane_for_queries),
		TEST(one_lane_serves_both),
		TEST(the_queue_is_bounded_and_ends_with_the_keystore),
		TEST(faults_are_healed_by_their_class),
		TEST(an_outage_fails_jobs_promptly_and_ends),
		TEST(fewer_sessions_than_lanes_do),
		TEST(a_refused_pin_is_tried_once),
		TEST(a_token_that_counts_wrong_pins_is_spared),
		TEST(without_a_pin_nothing_is_tried),
		TEST(a_pin_that_changed_meanwhile_locks),
		TEST(others_in_the_process_may_log_us_out),
		TEST(a_token_made_anew_signs_nothing_with_its_new_keys),
		TEST(tokens_are_told_apart),
		TEST(two_keystores_of_one_module_heal_apart),
		TEST(bad_options_are_refused),
		TEST(what_is_no_module_is_said),
		TEST(the_pin_source_of_a_uri_serves),
		TEST(a_killed_hsm_is_found_again),
		TEST(the_token_of_nss_serves),
	};
	/* As the server does: a dead HSM must not take the process with it. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
