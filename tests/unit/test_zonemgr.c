/* Loading, reloading, serials, and what happens when something is wrong. */
#include "zonemgr_fixture.h"

#include "nsd-core/zonemgr_state.h"

static void test_load_and_reload(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	fixture_zone(fx, z, 7, "www A 192.0.2.80\n");
	fixture_start(fx);

	struct zone_status s = fixture_status(fx, z);
	assert_true(s.loaded);
	assert_int_equal(s.serial, 7);
	assert_int_equal(s.names, 3);
	assert_int_equal(s.signing, SIGNING_NONE);
	assert_string_equal(s.last_error, "");
	assert_false(fixture_get(fx, z)->cur->is_signed);

	/* Nothing new: the very same version is served on. */
	struct fixture_reload r = fixture_reload(fx, z, false);
	assert_int_equal(r.status, ST_OK);
	assert_ptr_equal(r.before, r.after);

	fixture_zone(fx, z, 8, "www A 192.0.2.81\n");
	r = fixture_reload(fx, z, false);
	assert_int_equal(r.status, ST_OK);
	assert_int_equal(r.serial, 8);
	assert_int_equal(r.warnings, 0);
	const uint8_t *rdata = rdata_at(fixture_rrset(fx, z, "www", RR_A)->data).data;
	assert_memory_equal(rdata, "\xc0\x00\x02\x51", 4);
}

/* A zone without a policy has its file's serial, and the operator is warned. */
static void test_serial_is_the_files(void **state)
{
	struct zonemgr_fixture *fx = *state;
	static const struct {
		const char *name;
		unsigned serial;
		const char *more;
		bool changed;
		const char *warning;
	} cases[] = {
		{"up", 20, "a A 192.0.2.2\n", true, NULL},
		{"the same", 20, "a A 192.0.2.3\n", true, "secondaries will not notice"},
		{"down", 19, "a A 192.0.2.3\n", true, "went back to 19"},
		{"nothing", 19, "a A 192.0.2.3\n", false, NULL},
		{"round the end", 4294967295U, "a A 192.0.2.3\n", true, "went back"},
	};
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	fixture_zone(fx, z, 10, "");
	fixture_start(fx);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture_zone(fx, z, cases[i].serial, cases[i].more);
		struct fixture_reload r = fixture_reload(fx, z, false);
		if (r.status != ST_OK || r.serial != cases[i].serial ||
		    (r.before != r.after) != cases[i].changed ||
		    (r.warnings > 0) != (cases[i].warning != NULL)) {
			fail_msg("%s: %s serial %u, %zu warnings", cases[i].name,
				 status_text(r.status), r.serial, r.warnings);
		}
		if (cases[i].warning != NULL) {
			assert_non_null(strstr(r.first, cases[i].warning));
		}
	}
}

static void test_bad_file_keeps_old(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	size_t never = fixture_add(fx, "never.test", POLICY_NONE);
	fixture_zone(fx, z, 1, "www A 192.0.2.80\n");
	fixture_zone(fx, never, 1, "www A 192.0.2.999\n");
	fixture_start(fx);
	assert_false(fixture_status(fx, never).loaded);
	assert_non_null(strstr(fixture_status(fx, never).last_error, "never.test.zone:5:"));

	fixture_zone(fx, z, 2, "www A 192.0.2.81\nbroken A 192.0.2.999\n");
	struct fixture_reload r = fixture_reload(fx, z, false);
	assert_int_equal(r.status, ST_EPARSE);
	assert_int_equal(r.serial, 1);
	assert_ptr_equal(r.before, r.after);
	assert_non_null(strstr(r.first, "plain.test.zone:6:"));
	assert_non_null(strstr(fixture_status(fx, z).last_error, "192.0.2.999"));

	assert_int_equal(unlink(fx->files[z]), 0);
	r = fixture_reload(fx, z, false);
	assert_int_equal(r.status, ST_ENOENT);
	assert_ptr_equal(r.before, r.after);

	fixture_zone(fx, z, 2, "www A 192.0.2.81\n");
	r = fixture_reload(fx, z, false);
	assert_int_equal(r.status, ST_OK);
	assert_string_equal(fixture_status(fx, z).last_error, "");
}

static void test_losing_half_wants_force(void **state)
{
	struct zonemgr_fixture *fx = *state;
	static const char *const many = "a A 192.0.2.2\nb A 192.0.2.2\nc A 192.0.2.2\nd A "
					"192.0.2.2\n";
	size_t zones[2] = {fixture_add(fx, "plain.test", POLICY_NONE),
			   fixture_add(fx, "signed.test", POLICY_ONLINE)};
	for (size_t i = 0; i < 2; i++) {
		fixture_zone(fx, zones[i], 1, many);
	}
	fixture_start(fx);
	for (size_t i = 0; i < 2; i++) {
		/* 3 of 6 are half, 4 of 6 are more. */
		size_t z = zones[i];
		fixture_zone(fx, z, 2, "");
		struct fixture_reload r = fixture_reload(fx, z, false);
		assert_int_equal(r.status, ST_EREFUSED);
		assert_ptr_equal(r.before, r.after);
		assert_non_null(strstr(r.first, "--force"));
		/* As many names, but others: they are lost all the same. */
		fixture_zone(fx, z, 3,
			     "e A 192.0.2.2\nf A 192.0.2.2\ng A 192.0.2.2\nh A "
			     "192.0.2.2\n");
		assert_int_equal(fixture_reload(fx, z, false).status, ST_EREFUSED);
		fixture_zone(fx, z, 4, "a A 192.0.2.2\n");
		assert_int_equal(fixture_reload(fx, z, false).status, ST_OK);
		fixture_zone(fx, z, 5, "x A 192.0.2.2\n");
		assert_int_equal(fixture_reload(fx, z, false).status, ST_OK);
		fixture_zone(fx, z, 6, many);
		assert_int_equal(fixture_reload(fx, z, false).status, ST_OK);
		fixture_zone(fx, z, 7, "");
		r = fixture_reload(fx, z, true);
		assert_int_equal(r.status, ST_OK);
		assert_null(fixture_rrset(fx, z, "a", RR_A));
	}
}

/* A signed zone's serial: the file's where that is greater than the last published, else one more;
 * never back, over restarts too. */
static void test_serial_never_goes_back(void **state)
{
	struct zonemgr_fixture *fx = *state;
	static const struct {
		const char *name;
		unsigned file;
		const char *more;
		bool restart;
		uint32_t served;
	} cases[] = {
		{"first", 10, "", false, 10},
		{"edited without a new serial", 10, "a A 192.0.2.2\n", false, 11},
		{"edited with one that is behind", 11, "a A 192.0.2.3\n", false, 12},
		{"nothing new", 11, "a A 192.0.2.3\n", false, 12},
		{"ahead, nothing else", 100, "a A 192.0.2.3\n", false, 100},
		{"restart, the same file", 100, "a A 192.0.2.3\n", true, 100},
		{"restart, ahead", 200, "a A 192.0.2.3\n", true, 200},
		{"restart, behind, nothing else", 7, "a A 192.0.2.3\n", true, 200},
		{"restart, behind and edited", 7, "a A 192.0.2.8\n", true, 201},
		{"far ahead", 2147483900U, "a A 192.0.2.4\n", false, 202},
		{"as far as it may be", 202U + 2147483647U, "a A 192.0.2.4\n", false,
		 202U + 2147483647U},
		{"past the end", 5, "a A 192.0.2.5\n", false, 5},
	};
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	fixture_zone(fx, z, 10, "");
	fixture_start(fx);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture_zone(fx, z, cases[i].file, cases[i].more);
		if (cases[i].restart) {
			fixture_stop(fx);
			fixture_start(fx);
		} else if (i > 0) {
			assert_int_equal(fixture_reload(fx, z, false).status, ST_OK);
		}
		struct soa soa;
		const struct version *v = fixture_get(fx, z)->cur;
		struct zone_record rec;
		assert_int_equal(soa_parse(rdata_at(v->soa->data), &soa), ST_OK);
		assert_int_equal(zone_record_get(zonemgr_store(fx->mgr), fx->zones[z].name, &rec),
				 ST_OK);
		if (soa.serial != cases[i].served || v->serial != cases[i].served ||
		    rec.serial != cases[i].served) {
			fail_msg("%s: SOA %u, version %u, record %u, not %u", cases[i].name,
				 soa.serial, v->serial, rec.serial, cases[i].served);
		}
	}
}

static bool is_all_tried(struct zonemgr_fixture *fx, void *ctx)
{
	return fixture_status(fx, *(const size_t *)ctx).loaded;
}

/* A keystore that is away makes no keys: the zone waits, says so, and is loaded once it is back. */
static void test_keystore_away(void **state)
{
	struct zonemgr_fixture *fx = *state;
	char keys[128];
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	fixture_zone(fx, z, 1, "www A 192.0.2.80\n");
	assert_int_equal(mkdir(fx->state, 0700), 0);
	snprintf(keys, sizeof(keys), "%s/keys", fx->state);
	fixture_write(keys, "no folder");
	fixture_start(fx);
	struct zone_status s = fixture_status(fx, z);
	assert_false(s.loaded);
	assert_int_equal(s.signing, SIGNING_WAITING);
	assert_string_not_equal(s.last_error, "");
	assert_true(s.next_event != INT64_MAX);
	struct fixture_reload r = fixture_reload(fx, z, false);
	assert_int_equal(r.status, ST_EAGAIN);

	assert_int_equal(unlink(keys), 0);
	fixture_run(fx, is_all_tried, &z);
	fixture_complete(fx, z);
	assert_string_equal(fixture_status(fx, z).last_error, "");
}

/* Not by what the status says comes next: where warming is tried again in the same second, it says
 * that. */
static bool build_is_retried(struct zonemgr_fixture *fx, void *ctx)
{
	const struct zone_state *z = fixture_get(fx, *(const size_t *)ctx)->manager;
	return z->retry_want != 0;
}

static void reload_changed(struct zonemgr_fixture *fx)
{
	zonemgr_reload_all(fx->mgr);
}

static void reload_nothing(struct zonemgr_fixture *fx)
{
	(void)fx;
}

static bool has_late(struct zonemgr_fixture *fx, void *ctx)
{
	return fixture_rrset(fx, *(const size_t *)ctx, "late", RR_A) != NULL;
}

/* A change that could not be signed is tried again until it is, however its file was noticed. */
static void change_while_keystore_is_away(struct zonemgr_fixture *fx, bool watch,
					  void (*notice)(struct zonemgr_fixture *fx))
{
	char keys[128];
	char away[160];
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	fx->zones[z].watch = watch;
	fixture_zone(fx, z, 1, "");
	fixture_start(fx);
	fixture_complete(fx, z);
	fixture_stop(fx);
	snprintf(keys, sizeof(keys), "%s/keys", fx->state);
	snprintf(away, sizeof(away), "%s.away", keys);
	assert_int_equal(rename(keys, away), 0);
	fixture_write(keys, "no folder");
	fixture_start(fx);
	uint32_t before = fixture_get(fx, z)->cur->serial;

	fixture_zone(fx, z, 10, "late A 192.0.2.80\n");
	notice(fx);
	fixture_run(fx, build_is_retried, &z);
	assert_int_equal(fixture_get(fx, z)->cur->serial, before);

	assert_int_equal(unlink(keys), 0);
	assert_int_equal(rename(away, keys), 0);
	fixture_run(fx, has_late, &z);
	assert_int_equal(fixture_get(fx, z)->cur->serial, 10);
	fixture_complete(fx, z);
	assert_string_equal(fixture_status(fx, z).last_error, "");
}

static void test_reload_waits_for_keystore(void **state)
{
	change_while_keystore_is_away(*state, false, reload_changed);
}

static void test_watch_waits_for_keystore(void **state)
{
	change_while_keystore_is_away(*state, true, reload_nothing);
}

static void test_no_zones(void **state)
{
	struct zonemgr_fixture *fx = *state;
	fixture_start(fx);
	size_t count = 1;
	zonemgr_zones(fx->mgr, &count);
	assert_int_equal(count, 0);
}

static void count_reloads(void *ctx, enum status st, uint32_t serial, const struct diags *d)
{
	(void)serial;
	(void)d;
	assert_int_equal(st, ST_EREFUSED);
	++*(unsigned *)ctx;
}

/* Whoever waits is told when the server stops. */
static void test_stop_tells_waiters(void **state)
{
	struct zonemgr_fixture *fx = *state;
	unsigned told = 0;
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	fixture_zone(fx, z, 1, "");
	fixture_start(fx);
	zonemgr_reload(fx->mgr, fixture_get(fx, z), false, count_reloads, &told);
	zonemgr_reload(fx->mgr, fixture_get(fx, z), false, count_reloads, &told);
	assert_int_equal(told, 0);
	fixture_stop(fx);
	assert_int_equal(told, 2);
}

struct chain {
	struct zonemgr_fixture *fx;
	size_t zone;
	unsigned done;
};

static void reload_again(void *ctx, enum status st, uint32_t serial, const struct diags *d)
{
	struct chain *c = ctx;
	(void)serial;
	(void)d;
	assert_int_equal(st, ST_OK);
	if (++c->done < 3) {
		zonemgr_reload(c->fx->mgr, fixture_get(c->fx, c->zone), false, reload_again, c);
	}
}

static bool is_chain_done(struct zonemgr_fixture *fx, void *ctx)
{
	(void)fx;
	return ((struct chain *)ctx)->done == 3;
}

/* A reload asked for while one runs reads the file again: it may have changed meanwhile. */
static void test_reload_from_callback(void **state)
{
	struct zonemgr_fixture *fx = *state;
	struct chain c = {.fx = fx, .zone = fixture_add(fx, "plain.test", POLICY_NONE)};
	fixture_zone(fx, c.zone, 1, "");
	fixture_start(fx);
	zonemgr_reload(fx->mgr, fixture_get(fx, c.zone), false, reload_again, &c);
	fixture_run(fx, is_chain_done, &c);
}

static void test_check(void **state)
{
	struct zonemgr_fixture *fx = *state;
	struct diags d;
	struct stat sb;
	size_t good = fixture_add(fx, "plain.test", POLICY_NONE);
	size_t bad = fixture_add(fx, "signed.test", POLICY_ONLINE);
	fixture_zone(fx, good, 1, "");
	fixture_zone(fx, bad, 1, "");
	diags_init(&d, 10);
	assert_int_equal(zonemgr_check(&fx->conf, &d), ST_OK);
	assert_int_equal(d.errors, 0);
	/* Nothing is made. */
	assert_int_not_equal(stat(fx->state, &sb), 0);

	fixture_zone(fx, bad, 1, "a A nonsense\nb A nonsense\n");
	assert_int_equal(unlink(fx->files[good]), 0);
	assert_int_not_equal(zonemgr_check(&fx->conf, &d), ST_OK);
	assert_int_equal(d.errors, 3);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_FIXTURE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
		WITH_FIXTURE(test_load_and_reload),
		WITH_FIXTURE(test_serial_is_the_files),
		WITH_FIXTURE(test_bad_file_keeps_old),
		WITH_FIXTURE(test_losing_half_wants_force),
		WITH_FIXTURE(test_serial_never_goes_back),
		WITH_FIXTURE(test_keystore_away),
		WITH_FIXTURE(test_reload_waits_for_keystore),
		WITH_FIXTURE(test_watch_waits_for_keystore),
		WITH_FIXTURE(test_no_zones),
		WITH_FIXTURE(test_stop_tells_waiters),
		WITH_FIXTURE(test_reload_from_callback),
		WITH_FIXTURE(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
