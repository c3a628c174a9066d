/* Keystores on SoftHSM and on the token of NSS, where all goes well. */
#include "tests/tools/p11fixture.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NSS_MODULE "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"

static void a_new_key_is_found_again(void **state)
{
	struct p11_fixture *fx = *state;
	struct hsm_key *again = NULL;
	uint8_t point[HSM_PUBLIC_LEN];
	size_t len;
	p11_use(fx, SOFTHSM_MODULE, 2);
	assert_int_equal(p11_state(fx), KEYSTORE_CLOSED);
	assert_false(keystore_in_process(fx->ks));
	p11_make_key(fx);
	assert_non_null(hsm_key_id(fx->key, &len));
	assert_int_equal(len, HSM_KEY_ID_LEN);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
	assert_int_equal(hsm_sign_now(fx->key, point, point), ST_ENOTSUP);

	p11_use(fx, SOFTHSM_MODULE, 2);
	memcpy(point, hsm_key_public(fx->key), sizeof(point));
	assert_int_equal(p11_find_again(fx, NULL, &again), ST_OK);
	assert_memory_equal(hsm_key_public(again), point, sizeof(point));
	assert_int_equal(sign_one(fx->ks, again), ST_OK);
	hsm_key_unref(again);
	assert_int_equal(p11_find_again(fx, point, &again), ST_OK);
	hsm_key_unref(fx->key);
	fx->key = again;
	again = NULL;
	point[17] ^= 1;
	assert_int_equal(p11_find_again(fx, point, &again), ST_ECRYPTO);
	assert_null(again);

	assert_int_equal(keystore_delete(fx->ks, fx->key, NULL), ST_OK);
	assert_int_equal(p11_find_again(fx, NULL, &again), ST_ENOENT);
	assert_int_equal(keystore_delete(fx->ks, fx->key, NULL), ST_ENOENT);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EFATAL);
	assert_null(again);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
}

struct submitter {
	struct p11_fixture *fx;
	struct jobs *jobs;
	size_t from, to;
};

static void *submit_many(void *arg)
{
	struct submitter *s = arg;
	for (size_t i = s->from; i < s->to; i++) {
		enum hsm_priority priority = (enum hsm_priority)(i % 3);
		while (jobs_submit(s->jobs, i, s->fx->ks, priority, s->fx->key) == ST_ELIMIT) {
			pause_ms();
		}
	}
	return NULL;
}

static void thousands_of_jobs_at_once_all_verify(void **state)
{
	enum { THREADS = 3, EACH = 1000 };
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct submitter args[THREADS];
	pthread_t threads[THREADS];
	struct jobs *j = jobs_new(THREADS * EACH);
	p11_use(fx, SOFTHSM_MODULE, 4);
	p11_make_key(fx);
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

/* One signature that takes so long, by a clock that stands still but for that. */
static void sign_slowly(struct p11_fixture *fx, int64_t *now_ms, int64_t took_ms)
{
	struct jobs *j = jobs_new(1);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_BATCH, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	*now_ms += took_ms;
	clock_fake(1, *now_ms);
	wrap_clear();
	jobs_wait(j, 1);
	jobs_free(j);
}

static void batches_take_the_last_lane_where_nobody_misses_it(void **state)
{
	static const struct {
		const char *name;
		int64_t slow_ms; /* a signature before takes that; 0: none */
		unsigned fast;	 /* and so many after it take no time */
		int64_t calm_ms; /* since a question was asked */
		bool both;
	} cases[] = {
		{"a question came just now", 0, 0, 0, false},
		{"a question came lately", 0, 0, 999, false},
		{"none came lately, and the device is fast", 0, 0, 1000, true},
		{"none came lately, and the device is slow", 200, 0, 1000, false},
		{"it is fast again", 0, 40, 1000, true},
		{"it is fast, and a question came lately", 0, 40, 999, false},
	};
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	int64_t now_ms = 5000;
	clock_fake(1, now_ms);
	p11_use(fx, p11_wrapper(), 2);
	p11_make_key(fx);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct jobs *j = jobs_new(3);
		print_message("%s\n", cases[i].name);
		if (cases[i].slow_ms > 0) {
			sign_slowly(fx, &now_ms, cases[i].slow_ms);
		}
		for (unsigned k = 0; k < cases[i].fast; k++) {
			assert_int_equal(sign_one(fx->ks, fx->key), ST_OK);
		}
		assert_int_equal(sign_one(fx->ks, fx->key), ST_OK); /* a question */
		now_ms += cases[i].calm_ms;
		clock_fake(1, now_ms);
		unsigned before = wrap_calls("C_Sign");
		wrap_rule("C_Sign", "hold", 0, -1);
		assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_BATCH, fx->key), ST_OK);
		assert_int_equal(jobs_submit(j, 1, fx->ks, HSM_BATCH, fx->key), ST_OK);
		EVENTUALLY(wrap_calls("C_Sign") == before + 1 + cases[i].both);
		assert_int_equal(jobs_submit(j, 2, fx->ks, HSM_QUERY, fx->key), ST_OK);
		EVENTUALLY(wrap_calls("C_Sign") == before + 2);
		keystore_health(fx->ks, &health);
		assert_int_equal(health.waiting, 1);
		wrap_clear();
		jobs_wait(j, 3);
		for (size_t k = 0; k < 3; k++) {
			assert_int_equal(jobs_at(j, k)->result, ST_OK);
		}
		jobs_free(j);
	}
}

static void one_lane_serves_both(void **state)
{
	struct p11_fixture *fx = *state;
	struct jobs *j = jobs_new(3);
	p11_use(fx, p11_wrapper(), 1);
	p11_make_key(fx);
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

/* One lane, held: what comes after is done in an order that is known. */
static void questions_come_first_and_the_rest_takes_turns(void **state)
{
	static const struct {
		enum hsm_priority priority;
		size_t order;
	} jobs[] = {
		{HSM_BATCH, 1},	 {HSM_BATCH, 6},  {HSM_BATCH, 8},  {HSM_BATCH, 10}, {HSM_EXCESS, 5},
		{HSM_EXCESS, 3}, {HSM_EXCESS, 7}, {HSM_EXCESS, 9}, {HSM_QUERY, 2},  {HSM_BATCH, 4},
	};
	enum { COUNT = sizeof(jobs) / sizeof(jobs[0]) };
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(COUNT);
	p11_use(fx, p11_wrapper(), 1);
	p11_make_key(fx);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, jobs[i].priority, fx->key), ST_OK);
		if (i == 0) {
			EVENTUALLY(wrap_calls("C_Sign") == before + 1);
		}
	}
	/* From the middle of a queue, and the last of one; nothing comes of what is not there. */
	keystore_raise(fx->ks, jobs_at(j, 5));
	keystore_raise(fx->ks, jobs_at(j, 9));
	keystore_raise(fx->ks, jobs_at(j, 5));
	keystore_raise(fx->ks, jobs_at(j, 0));
	keystore_health(fx->ks, &health);
	assert_int_equal(health.waiting, COUNT - 1);
	wrap_clear();
	jobs_wait(j, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(jobs_at(j, i)->result, ST_OK);
		assert_int_equal(jobs_order(j, i), jobs[i].order);
	}
	keystore_raise(fx->ks, jobs_at(j, 1));
	keystore_health(fx->ks, &health);
	assert_int_equal(health.waiting, 0);
	jobs_free(j);
}

static void what_is_raised_takes_the_last_lane(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_health health;
	struct jobs *j = jobs_new(3);
	clock_fake(1, 5000); /* so that the key was proven just now, which counts as a question */
	p11_use(fx, p11_wrapper(), 2);
	p11_make_key(fx);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_BATCH, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	assert_int_equal(jobs_submit(j, 1, fx->ks, HSM_EXCESS, fx->key), ST_OK);
	assert_int_equal(jobs_submit(j, 2, fx->ks, HSM_EXCESS, fx->key), ST_OK);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.waiting, 2);
	keystore_raise(fx->ks, jobs_at(j, 2));
	EVENTUALLY(wrap_calls("C_Sign") == before + 2);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.waiting, 1);
	wrap_clear();
	jobs_wait(j, 3);
	jobs_free(j);
}

static void *free_keystore(void *arg)
{
	keystore_free(arg);
	return NULL;
}

static void the_queue_is_bounded_and_ends_with_the_keystore(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_options opt = p11_options(fx, p11_wrapper(), 1);
	struct jobs *j = jobs_new(64);
	size_t taken = 0;
	pthread_t freer;
	opt.queue_max = 3;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	p11_make_key(fx);
	unsigned before = wrap_calls("C_Sign");
	wrap_rule("C_Sign", "hold", 0, -1);
	assert_int_equal(jobs_submit(j, taken++, fx->ks, HSM_QUERY, fx->key), ST_OK);
	EVENTUALLY(wrap_calls("C_Sign") == before + 1);
	while (taken < 4) {
		assert_int_equal(jobs_submit(j, taken++, fx->ks, HSM_QUERY, fx->key), ST_OK);
	}
	assert_int_equal(jobs_submit(j, 10, fx->ks, HSM_QUERY, fx->key), ST_ELIMIT);
	/* The bound is each priority's own, and nothing is raised into a full queue. */
	assert_int_equal(jobs_submit(j, taken++, fx->ks, HSM_BATCH, fx->key), ST_OK);
	keystore_raise(fx->ks, jobs_at(j, taken - 1));
	assert_int_equal(jobs_at(j, taken - 1)->priority, HSM_BATCH);

	struct keystore *ks = fx->ks;
	fx->ks = NULL;
	/* Asked before it is freed, which a module outside does not hold up. */
	keystore_stop(ks);
	assert_int_equal(jobs_submit(j, 10, ks, HSM_QUERY, fx->key), ST_EAGAIN);
	assert_int_equal(pthread_create(&freer, NULL, free_keystore, ks), 0);
	wrap_clear();
	pthread_join(freer, NULL);
	assert_int_equal(jobs_done(j), taken);
	/* A module in the server is waited for; one outside is left to itself. */
	assert_int_equal(jobs_at(j, 0)->result, p11_isolated() ? ST_EAGAIN : ST_OK);
	for (size_t i = 1; i < taken; i++) {
		assert_int_equal(jobs_at(j, i)->result, ST_EAGAIN);
	}
	jobs_free(j);
}

static void keys_never_leave_the_token(void **state)
{
	struct p11_fixture *fx = *state;
	static const struct {
		CK_ATTRIBUTE_TYPE type;
		CK_BBOOL expected;
	} cases[] = {
		{CKA_TOKEN, CK_TRUE},	     {CKA_PRIVATE, CK_TRUE},
		{CKA_SENSITIVE, CK_TRUE},    {CKA_ALWAYS_SENSITIVE, CK_TRUE},
		{CKA_EXTRACTABLE, CK_FALSE}, {CKA_NEVER_EXTRACTABLE, CK_TRUE},
	};
	CK_SESSION_HANDLE session;
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	CK_OBJECT_HANDLE key = p11_object_of(f, session, CKO_PRIVATE_KEY, fx->key);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CK_BBOOL value = 2;
		CK_ATTRIBUTE a = {cases[i].type, &value, sizeof(value)};
		assert_int_equal(f->C_GetAttributeValue(session, key, &a, 1), CKR_OK);
		assert_int_equal(value, cases[i].expected);
	}
	char label[64] = {0};
	CK_ATTRIBUTE a = {CKA_LABEL, label, sizeof(label) - 1};
	assert_int_equal(f->C_GetAttributeValue(session, key, &a, 1), CKR_OK);
	assert_string_equal(label, "example.com./ZSK/1");
}

static void without_a_public_key_the_record_serves(void **state)
{
	struct p11_fixture *fx = *state;
	CK_SESSION_HANDLE session;
	struct hsm_key *out = NULL;
	uint8_t point[HSM_PUBLIC_LEN];
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	CK_OBJECT_HANDLE pub = p11_object_of(f, session, CKO_PUBLIC_KEY, fx->key);
	assert_int_equal(f->C_DestroyObject(session, pub), CKR_OK);
	memcpy(point, hsm_key_public(fx->key), sizeof(point));
	assert_int_equal(p11_find_again(fx, NULL, &out), ST_EFATAL);
	/* Another key's point is on the curve, too: the proof finds out. */
	struct hsm_key *other = NULL;
	assert_int_equal(keystore_generate(fx->ks, "other", &other, NULL), ST_OK);
	assert_int_equal(p11_find_again(fx, hsm_key_public(other), &out), ST_ECRYPTO);
	assert_null(out);
	assert_int_equal(p11_find_again(fx, point, &out), ST_OK);
	assert_int_equal(sign_one(fx->ks, out), ST_OK);
	hsm_key_unref(other);
	hsm_key_unref(out);
}

static void keys_of_another_kind_are_refused(void **state)
{
	struct p11_fixture *fx = *state;
	static const char p256[] = "06082A8648CE3D030107";
	static const char p384[] = "06052B81040022";
	static const struct {
		const char *name, *oid;
		CK_BBOOL always;
		unsigned count;
		enum status expected;
		const char *text;
	} cases[] = {
		{"P-384", p384, CK_FALSE, 1, ST_ECRYPTO, "P-256"},
		{"a PIN each time", p256, CK_TRUE, 1, ST_ENOTSUP, "CKA_ALWAYS_AUTHENTICATE"},
		{"two with one id", p256, CK_FALSE, 2, ST_EFATAL, "two keys"},
		{"somebody else's", p256, CK_FALSE, 1, ST_OK, ""},
	};
	CK_SESSION_HANDLE session;
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	for (uint8_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint8_t id[] = {0xee, i};
		struct hsm_key *out = NULL;
		struct diags d;
		diags_init(&d, DIAGS_LIMIT);
		print_message("%s\n", cases[i].name);
		for (unsigned n = 0; n < cases[i].count; n++) {
			p11_pair_make(f, session, cases[i].oid, id, sizeof(id), cases[i].always);
		}
		assert_int_equal(keystore_find(fx->ks, id, sizeof(id), NULL, &out, &d),
				 cases[i].expected);
		if (cases[i].expected != ST_OK) {
			assert_null(out);
			assert_int_equal(d.errors, 1);
			assert_non_null(strstr(d.items[0].text, cases[i].text));
		}
		hsm_key_unref(out);
		diags_fini(&d);
	}
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
}

static void tokens_are_told_apart(void **state)
{
	struct p11_fixture *fx = *state;
	struct diags d;
	softhsm_token("signet", PIN);
	softhsm_token("other", PIN);
	p11_use(fx, SOFTHSM_MODULE, 1);
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
	assert_int_equal(d.errors, 1);
	assert_non_null(strstr(d.items[0].text, "serials"));
	p11_print(&d);
	diags_fini(&d);

	struct keystore_options opt = p11_options(fx, SOFTHSM_MODULE, 1);
	opt.token = "nosuch";
	keystore_free(fx->ks);
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_EAGAIN);
	assert_int_equal(p11_state(fx), KEYSTORE_DOWN);

	keystore_free(fx->ks);
	opt.token = NULL;
	opt.uri = "pkcs11:token=other";
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);

	/* A second keystore in the same module, and it outlives the first. */
	struct keystore *second = NULL;
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_FUNCTION_LIST *f = p11_softhsm(&slot);
	assert_int_equal(f->C_GetTokenInfo(slot, &info), CKR_OK);
	opt.uri = NULL;
	opt.slot = (int64_t)slot;
	assert_int_equal(keystore_new(&opt, &second, NULL), ST_OK);
	assert_int_equal(keystore_generate(second, "x", &fx->key, NULL), ST_OK);
	keystore_free(fx->ks);
	fx->ks = second;
	assert_int_equal(sign_one(second, fx->key), ST_OK);
}

static void bad_options_are_refused(void **state)
{
	struct p11_fixture *fx = *state;
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
		struct keystore_options opt = p11_options(fx, SOFTHSM_MODULE, 1);
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
	struct p11_fixture *fx = *state;
	const char *modules[] = {"/nonexistent.so", "/etc/passwd", "libm.so.6"};
	for (size_t i = 0; i < 3; i++) {
		struct diags d;
		diags_init(&d, DIAGS_LIMIT);
		p11_use(fx, modules[i], 1);
		assert_int_equal(keystore_open(fx->ks, &d), ST_EFATAL);
		assert_int_equal(d.errors, 1);
		p11_print(&d);
		diags_fini(&d);
		assert_int_equal(p11_state(fx), KEYSTORE_DOWN);
	}
}

static void the_pin_source_of_a_uri_serves(void **state)
{
	struct p11_fixture *fx = *state;
	struct keystore_options opt = p11_options(fx, SOFTHSM_MODULE, 1);
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

static void the_token_of_nss_serves(void **state)
{
	struct p11_fixture *fx = *state;
	char db[400];
	char args[800];
	struct keystore_options opt = p11_options(fx, NSS_MODULE, 2);
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
	p11_make_key(fx);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, p11_setup, p11_teardown)

int main(int argc, char **argv)
{
	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	const struct CMUnitTest tests[] = {
		TEST(a_new_key_is_found_again),
		TEST(thousands_of_jobs_at_once_all_verify),
		TEST(batches_take_the_last_lane_where_nobody_misses_it),
		TEST(one_lane_serves_both),
		TEST(questions_come_first_and_the_rest_takes_turns),
		TEST(what_is_raised_takes_the_last_lane),
		TEST(the_queue_is_bounded_and_ends_with_the_keystore),
		TEST(keys_never_leave_the_token),
		TEST(without_a_public_key_the_record_serves),
		TEST(keys_of_another_kind_are_refused),
		TEST(tokens_are_told_apart),
		TEST(bad_options_are_refused),
		TEST(what_is_no_module_is_said),
		TEST(the_pin_source_of_a_uri_serves),
		TEST(the_token_of_nss_serves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
