/* Which serial a version has: by the clock, by hand, over restarts, without a policy; and how long
 * signatures are for those who transfer them. */
#include "zonemgr_fixture.h"

#include "nsd-core/zonemgr_state.h"

#define NOON INT64_C(1795780800) /* 2026-11-27 12:00:00Z */
/* So near to the next day that nothing is renewed on the way there. */
#define LATE (NOON + 43200 - 600)

static uint32_t serial_of(struct zonemgr_fixture *fx, size_t z)
{
	struct soa soa;
	struct zone_record rec;
	const struct version *v = fixture_get(fx, z)->cur;
	assert_int_equal(soa_parse(rdata_at(v->soa->data), &soa), ST_OK);
	assert_int_equal(zone_record_get(zonemgr_store(fx->mgr), fx->zones[z].name, &rec), ST_OK);
	assert_int_equal(soa.serial, v->serial);
	assert_int_equal(rec.serial, v->serial);
	return v->serial;
}

static void restart(struct zonemgr_fixture *fx)
{
	fixture_stop(fx);
	fixture_start(fx);
}

static void edit(struct zonemgr_fixture *fx, size_t z, unsigned serial, unsigned n)
{
	char more[64];
	snprintf(more, sizeof(more), "a A 192.0.2.%u\n", n);
	fixture_zone(fx, z, serial, more);
}

/* The same for zones that we sign, and for others. */
static void by_the_clock(void **state)
{
	struct zonemgr_fixture *fx = *state;
	static const struct {
		const char *name;
		unsigned file;
		int64_t after_s;
		unsigned n; /* what stands in the zone */
		bool restart;
		uint32_t date, unixtime;
	} cases[] = {
		{"first", 10, 0, 1, false, 2026112700, LATE},
		{"nothing new", 10, 1, 1, false, 2026112700, LATE},
		{"a change", 10, 2, 2, false, 2026112701, LATE + 2},
		{"another in the same second", 10, 2, 3, false, 2026112702, LATE + 3},
		{"the clock went back", 10, -86400, 4, false, 2026112703, LATE + 4},
		{"restart, the same file", 10, 10, 4, true, 2026112703, LATE + 4},
		{"restart, edited", 10, 10, 5, true, 2026112704, LATE + 10},
		{"restart, edited with a lower serial", 9, 20, 6, true, 2026112705, LATE + 20},
		{"the next day", 9, 1200, 7, false, 2026112800, LATE + 1200},
		{"restart a day before", 9, 0, 8, true, 2026112801, LATE + 1201},
		{"the file is ahead of all", 2026112900, 1200, 8, false, 2026112900, 2026112900},
	};
	size_t dated[2] = {fixture_add(fx, "dated.test", POLICY_ONLINE),
			   fixture_add(fx, "plain-dated.test", POLICY_NONE)};
	size_t timed[2] = {fixture_add(fx, "plain-timed.test", POLICY_NONE),
			   fixture_add(fx, "timed.test", POLICY_ONLINE)};
	for (size_t k = 0; k < 2; k++) {
		/* They would be changes of their own. */
		fx->policies[k].publish_cds = false;
		fx->zones[dated[k]].serial = SERIAL_DATE;
		fx->zones[timed[k]].serial = SERIAL_UNIXTIME;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture_clock(fx, LATE + cases[i].after_s);
		for (size_t k = 0; k < 2; k++) {
			edit(fx, dated[k], cases[i].file, cases[i].n);
			edit(fx, timed[k], cases[i].file, cases[i].n);
		}
		if (cases[i].restart) {
			restart(fx);
		} else if (i == 0) {
			fixture_start(fx);
		}
		for (size_t k = 0; k < 2; k++) {
			if (i > 0 && !cases[i].restart) {
				assert_int_equal(fixture_reload(fx, dated[k], false).status, ST_OK);
				assert_int_equal(fixture_reload(fx, timed[k], false).status, ST_OK);
			}
			if (serial_of(fx, dated[k]) != cases[i].date ||
			    serial_of(fx, timed[k]) != cases[i].unixtime) {
				fail_msg("%s: %u, %u", cases[i].name, serial_of(fx, dated[k]),
					 serial_of(fx, timed[k]));
			}
		}
	}
}

static void more_than_a_hundred_changes_a_day(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	fx->zones[z].serial = SERIAL_DATE;
	fixture_clock(fx, NOON);
	edit(fx, z, 1, 0);
	fixture_start(fx);
	for (unsigned n = 1; n <= 120; n++) {
		edit(fx, z, 1, n);
		assert_int_equal(fixture_reload(fx, z, false).serial, 2026112700 + n);
	}
	fixture_clock(fx, NOON + 86400);
	edit(fx, z, 1, 121);
	assert_int_equal(fixture_reload(fx, z, false).serial, 2026112821);
	restart(fx);
	assert_int_equal(serial_of(fx, z), 2026112821);
	fixture_clock(fx, NOON + 2 * 86400);
	edit(fx, z, 1, 122);
	assert_int_equal(fixture_reload(fx, z, false).serial, 2026112900);
}

/* A zone that is not signed has nothing but its content to be known by. */
static void a_plain_zone_that_counts(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	fx->zones[z].serial = SERIAL_INCREMENT;
	edit(fx, z, 4294967294U, 1);
	fixture_start(fx);
	assert_int_equal(serial_of(fx, z), 4294967294U);
	edit(fx, z, 4294967294U, 2);
	assert_int_equal(fixture_reload(fx, z, false).serial, 4294967295U);
	edit(fx, z, 4294967294U, 3);
	assert_int_equal(fixture_reload(fx, z, false).serial, 0);
	restart(fx);
	assert_int_equal(serial_of(fx, z), 0);
	/* Another case is another content. */
	fixture_zone(fx, z, 4294967294U, "a TXT x\n");
	restart(fx);
	assert_int_equal(serial_of(fx, z), 1);
	fixture_zone(fx, z, 4294967294U, "a TXT X\n");
	restart(fx);
	assert_int_equal(serial_of(fx, z), 2);
	fixture_zone(fx, z, 4294967294U, "a 60 TXT X\n");
	restart(fx);
	assert_int_equal(serial_of(fx, z), 3);
	restart(fx);
	assert_int_equal(serial_of(fx, z), 3);
}

static void a_soa_that_is_signed_in_the_file_keeps_its_serial(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "plain.test", POLICY_NONE);
	fx->zones[z].serial = SERIAL_INCREMENT;
	fixture_zone(
		fx, z, 7,
		"@ RRSIG SOA 13 2 300 20300101000000 20200101000000 1 @ "
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		"AAAAAAAA==\n");
	fixture_start(fx);
	assert_false(fixture_status(fx, z).loaded);
	assert_non_null(strstr(fixture_status(fx, z).last_error, "'serial: keep'"));
	fixture_stop(fx);
	fx->zones[z].serial = SERIAL_KEEP;
	fixture_start(fx);
	assert_int_equal(fixture_status(fx, z).serial, 7);
}

/* It is taken as a change, and said, with the numbers; over a restart too. */
static void the_files_serial_goes_back(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	edit(fx, z, 50, 1);
	fixture_start(fx);
	edit(fx, z, 40, 2);
	struct fixture_reload r = fixture_reload(fx, z, false);
	assert_int_equal(r.serial, 51);
	assert_int_equal(r.warnings, 1);
	assert_non_null(strstr(r.first, "went back from 50 to 40: taken as a change, which is "
					"served with serial 51"));
	/* Once. */
	edit(fx, z, 40, 3);
	r = fixture_reload(fx, z, false);
	assert_int_equal(r.serial, 52);
	assert_int_equal(r.warnings, 0);
	edit(fx, z, 30, 3);
	r = fixture_reload(fx, z, false);
	assert_int_equal(r.serial, 52);
	assert_non_null(strstr(r.first, "went back from 40 to 30, and nothing else has changed: "
					"serial 52 is served on"));
	edit(fx, z, 45, 4);
	assert_int_equal(fixture_reload(fx, z, false).serial, 53);
	fixture_complete(fx, z);
	fixture_stop(fx);
	edit(fx, z, 20, 5);
	fixture_start(fx);
	assert_int_equal(serial_of(fx, z), 54);
	struct zone_record rec;
	assert_int_equal(zone_record_get(zonemgr_store(fx->mgr), fx->zones[z].name, &rec), ST_OK);
	assert_true(rec.has_file_serial);
	assert_int_equal(rec.file_serial, 20);
}

static struct fixture_reload reload_serial(struct zonemgr_fixture *fx, size_t z, uint32_t serial)
{
	struct fixture_reload r = {.before = fixture_get(fx, z)->cur};
	zonemgr_reload_serial(fx->mgr, fixture_get(fx, z), false, serial, fixture_on_reload, &r);
	fixture_run(fx, fixture_is_reloaded, &r);
	r.after = fixture_get(fx, z)->cur;
	return r;
}

static void by_hand(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t zones[2] = {fixture_add(fx, "counted.test", POLICY_NONE),
			   fixture_add(fx, "signed.test", POLICY_ONLINE)};
	size_t kept = fixture_add(fx, "z-kept.test", POLICY_NONE);
	fx->zones[zones[0]].serial = SERIAL_INCREMENT;
	for (size_t i = 0; i < 2; i++) {
		edit(fx, zones[i], 10, 1);
	}
	edit(fx, kept, 10, 1);
	fixture_start(fx);
	for (size_t i = 0; i < 2; i++) {
		static const struct {
			uint32_t serial;
			enum status want;
			uint32_t served;
		} cases[] = {
			{10, ST_EREFUSED, 10},
			{9, ST_EREFUSED, 10},
			{10 + 0x80000000U, ST_EREFUSED, 10},
			{11, ST_OK, 11},
			{100, ST_OK, 100},
			{99, ST_EREFUSED, 100},
			/* Two steps come round (RFC 1982 7). */
			{100 + 0x7fffffffU, ST_OK, 100 + 0x7fffffffU},
			{5, ST_OK, 5},
		};
		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
			struct fixture_reload r = reload_serial(fx, zones[i], cases[k].serial);
			assert_int_equal(r.status, cases[k].want);
			assert_int_equal(serial_of(fx, zones[i]), cases[k].served);
			assert_int_equal(r.before != r.after, cases[k].want == ST_OK);
			assert_true(cases[k].want == ST_OK ||
				    strstr(r.first, "is not ahead of") != NULL);
		}
	}
	assert_int_equal(reload_serial(fx, kept, 11).status, ST_EREFUSED);
	assert_int_equal(fixture_status(fx, kept).serial, 10);
	/* And on from there: the file's 10 is ahead of 5. */
	edit(fx, zones[1], 4, 2);
	assert_int_equal(fixture_reload(fx, zones[1], false).serial, 6);
	restart(fx);
	assert_int_equal(serial_of(fx, zones[1]), 6);
}

/* A secondary that is ahead: beyond it, once; one that is not changes nothing. */
static void past_a_secondary(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	edit(fx, z, 10, 1);
	fixture_start(fx);
	zonemgr_pass_serial(fx->mgr, fixture_get(fx, z), 9);
	assert_int_equal(fixture_reload(fx, z, false).serial, 10);
	zonemgr_pass_serial(fx->mgr, fixture_get(fx, z), 60);
	/* The next one has the same, or less. */
	zonemgr_pass_serial(fx->mgr, fixture_get(fx, z), 60);
	zonemgr_pass_serial(fx->mgr, fixture_get(fx, z), 55);
	assert_int_equal(fixture_reload(fx, z, false).serial, 61);
	assert_int_equal(serial_of(fx, z), 61);
	assert_string_equal(fixture_status(fx, z).last_error, "");
	zonemgr_pass_serial(fx->mgr, fixture_get(fx, z), 70);
	zonemgr_pass_serial(fx->mgr, fixture_get(fx, z), 80);
	assert_int_equal(fixture_reload(fx, z, false).serial, 81);
	assert_string_equal(fixture_status(fx, z).last_error, "");
}

static void add_remote(struct zonemgr_fixture *fx)
{
	fx->remote = (struct conf_remote){.name = (char *)(uintptr_t) "away", .tsig_key = -1};
	fx->conf.remotes = &fx->remote;
	fx->conf.remote_count = 1;
}

static const struct sign_params *params_of(struct zonemgr_fixture *fx, size_t z)
{
	const struct keyset *keys = fixture_get(fx, z)->cur->keys;
	return &keys->params;
}

static void soa_zone(struct zonemgr_fixture *fx, size_t z, unsigned expire, unsigned ttl)
{
	char text[256];
	snprintf(text, sizeof(text),
		 "$TTL 300\n@ SOA ns host 1 3600 600 %u 300\n@ NS ns\nns A 192.0.2.1\n"
		 "a %u A 192.0.2.1\n",
		 expire, ttl);
	fixture_write(fx->files[z], text);
}

/* What a policy leaves open is the zone's own where it has secondaries. */
static void signatures_outlive_secondaries(void **state)
{
	struct zonemgr_fixture *fx = *state;
	static const struct {
		const char *name;
		bool secondaries, refresh_given;
		uint32_t validity; /* given; 0: not */
		unsigned expire, ttl;
		uint32_t refresh_days, validity_days;
	} cases[] = {
		{"no secondaries", false, false, 0, 20 * 86400, 86400, 7, 21},
		{"secondaries", true, false, 0, 20 * 86400, 86400, 22, 36},
		{"a long TTL", true, false, 0, 20 * 86400, 10 * 86400, 31, 45},
		{"a short expire", true, false, 0, 86400, 3600, 7, 21},
		{"an expire beyond all", true, false, 0, 2000000000, 3600, 365, 379},
		{"given", true, true, 0, 20 * 86400, 86400, 7, 21},
		{"room in the validity", true, false, 40 * 86400, 20 * 86400, 86400, 22, 40},
		{"no room in the validity", true, false, 16 * 86400, 20 * 86400, 86400, 12, 16},
	};
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	add_remote(fx);
	fx->zones[z].secondaries = fx->secondaries;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conf_policy *p = &fx->policies[POLICY_ONLINE];
		fx->zones[z].secondary_count = cases[i].secondaries;
		p->refresh_given = cases[i].refresh_given;
		p->validity_given = cases[i].validity != 0;
		p->validity_s = p->validity_given ? cases[i].validity : 21 * 86400;
		soa_zone(fx, z, cases[i].expire, cases[i].ttl);
		fixture_start(fx);
		fixture_complete(fx, z);
		if (params_of(fx, z)->refresh != cases[i].refresh_days * 86400 ||
		    params_of(fx, z)->validity != cases[i].validity_days * 86400) {
			fail_msg("%s: %u, %u", cases[i].name, params_of(fx, z)->refresh,
				 params_of(fx, z)->validity);
		}
		fixture_stop(fx);
	}
}

/* While it is served: what has too little left for the new SOA is made anew. */
static void an_expire_that_grows(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	add_remote(fx);
	fx->zones[z].secondaries = fx->secondaries;
	fx->zones[z].secondary_count = 1;
	soa_zone(fx, z, 86400, 300);
	fixture_start(fx);
	fixture_complete(fx, z);
	assert_int_equal(params_of(fx, z)->refresh, 7 * 86400);
	const struct rrset *before = fixture_rrset(fx, z, "a", RR_A);
	soa_zone(fx, z, 60 * 86400, 300);
	uint32_t serial = fixture_reload(fx, z, false).serial;
	assert_int_equal(params_of(fx, z)->refresh, 61 * 86400 + 300);
	assert_int_equal(params_of(fx, z)->validity, 75 * 86400 + 300);
	fixture_complete(fx, z);
	/* The clock finds what falls due. */
	while (fixture_rrset(fx, z, "a", RR_A) == before) {
		uv_run(&fx->loop, UV_RUN_ONCE);
	}
	assert_true(serial_gt(serial_of(fx, z), serial));
	const struct sigset *sigs = rrset_sigs(fixture_rrset(fx, z, "a", RR_A));
	assert_non_null(sigs);
	assert_true(sigs->expiration - (uint32_t)clock_wall_s() > 61 * 86400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(by_the_clock, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(more_than_a_hundred_changes_a_day, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_plain_zone_that_counts, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(a_soa_that_is_signed_in_the_file_keeps_its_serial,
						fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(the_files_serial_goes_back, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(by_hand, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(past_a_secondary, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(signatures_outlive_secondaries, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(an_expire_that_grows, fixture_setup,
						fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
