/* Zones that are made here: their serial goes forward with their content, and only with it. */
#include "zonemgr_fixture.h"

#include "nsd-core/base/store.h"
#include "nsd-core/zonemgr_build.h"
#include "signer/keys.h"

#define NOW 1700000000

enum { CATALOG, FIRST, SECOND, ZONES };

static void set_members(struct zonemgr_fixture *fx, size_t count)
{
	for (size_t i = FIRST; i < ZONES; i++) {
		fx->zones[i].catalog = i < FIRST + count ? &fx->zones[CATALOG] : NULL;
	}
}

static void add_zones(struct zonemgr_fixture *fx)
{
	assert_int_equal(fixture_add(fx, "cat.example", POLICY_NONE), CATALOG);
	assert_int_equal(fixture_add(fx, "first.test", POLICY_NONE), FIRST);
	assert_int_equal(fixture_add(fx, "second.test", POLICY_NONE), SECOND);
	fx->zones[CATALOG].file = NULL;
	fx->zones[CATALOG].is_catalog = true;
	fixture_zone(fx, FIRST, 1, "");
	fixture_zone(fx, SECOND, 1, "");
	fixture_clock(fx, NOW);
}

/* Starts, and says which serial the catalog has and how many names. */
static uint32_t serve(struct zonemgr_fixture *fx, size_t *names)
{
	fixture_start(fx);
	struct zone_status s = fixture_status(fx, CATALOG);
	assert_true(s.loaded);
	assert_int_equal(s.signing, SIGNING_NONE);
	assert_string_equal(s.last_error, "");
	*names = s.names;
	struct bytes soa = rdata_at(fixture_rrset(fx, CATALOG, NULL, RR_SOA)->data);
	assert_int_equal(be32_get(soa.data + soa.len - 20), s.serial);
	fixture_stop(fx);
	return s.serial;
}

static void test_serial_moves_with_content(void **state)
{
	struct zonemgr_fixture *fx = *state;
	static const struct {
		const char *name;
		int64_t now_s;
		size_t members;
		const char *group; /* of the first */
		uint32_t serial;
		size_t names;
	} cases[] = {
		{"the clock's at first", NOW, 1, NULL, NOW, 3},
		{"a restart", NOW + 10, 1, NULL, NOW, 3},
		{"a member more", NOW + 20, 2, NULL, NOW + 20, 4},
		{"in the same second", NOW + 20, 1, NULL, NOW + 21, 3},
		{"the clock went back", NOW - 500, 2, NULL, NOW + 22, 4},
		{"nothing new", NOW + 900, 2, NULL, NOW + 22, 4},
		{"a group", NOW + 1000, 2, "g", NOW + 1000, 5},
		{"another one", NOW + 1001, 2, "h", NOW + 1001, 5},
		{"and none", NOW + 1002, 2, NULL, NOW + 1002, 4},
		{"no members", NOW + 2000, 0, NULL, NOW + 2000, 2},
		{"still none", NOW + 3000, 0, NULL, NOW + 2000, 2},
	};
	add_zones(fx);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t names;
		fixture_clock(fx, cases[i].now_s);
		set_members(fx, cases[i].members);
		fx->zones[FIRST].catalog_group = (char *)(uintptr_t)cases[i].group;
		uint32_t serial = serve(fx, &names);
		if (serial != cases[i].serial || names != cases[i].names) {
			fail_msg("%s: serial %u, %zu names", cases[i].name, serial, names);
		}
	}
}

/* A reload while it is served finds nothing new: the very same version is served on. */
static void test_reload_is_the_same(void **state)
{
	struct zonemgr_fixture *fx = *state;
	add_zones(fx);
	set_members(fx, 2);
	fixture_start(fx);
	fixture_clock(fx, NOW + 5);
	struct fixture_reload r = fixture_reload(fx, CATALOG, false);
	assert_int_equal(r.status, ST_OK);
	assert_int_equal(r.serial, NOW);
	assert_ptr_equal(r.before, r.after);
	assert_int_equal(r.warnings, 0);
	assert_true(fixture_get(fx, CATALOG)->is_hidden);
	assert_false(fixture_get(fx, FIRST)->is_hidden);
}

static void with_store(struct zonemgr_fixture *fx,
		       void (*change)(struct store *db, const uint8_t *apex))
{
	struct store *db = NULL;
	const struct store_options opt = {.map_bytes = ZONEMGR_STORE_BYTES};
	mkdir(fx->state, 0700);
	assert_int_equal(store_open(fx->state, ZONEMGR_STORE, &opt, &db, NULL), ST_OK);
	change(db, fx->zones[CATALOG].name);
	store_close(db);
}

static void put_record(struct store *db, const uint8_t *apex)
{
	const struct zone_record rec = {.serial = 2026112601, .has_serial = true};
	assert_int_equal(zone_record_put(db, apex, &rec), ST_OK);
}

/* The name was that of a zone with a policy, whose serials are ahead of the clock. */
static void test_after_a_signed_zone(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t names;
	add_zones(fx);
	set_members(fx, 1);
	with_store(fx, put_record);
	assert_int_equal(serve(fx, &names), 2026112602);
	assert_int_equal(serve(fx, &names), 2026112602);
	set_members(fx, 2);
	assert_int_equal(serve(fx, &names), 2026112603);
}

/* Other rules than the clock's, and the operator's word. */
static void test_rules(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t names;
	add_zones(fx);
	fx->zones[CATALOG].serial = SERIAL_INCREMENT;
	set_members(fx, 1);
	assert_int_equal(serve(fx, &names), 1);
	assert_int_equal(serve(fx, &names), 1);
	set_members(fx, 2);
	assert_int_equal(serve(fx, &names), 2);
	fixture_start(fx);
	for (uint32_t serial = 1000000000; serial <= 3000000000U; serial += 1000000000) {
		struct fixture_reload r = {.done = false};
		zonemgr_reload_serial(fx->mgr, fixture_get(fx, CATALOG), false, serial,
				      fixture_on_reload, &r);
		fixture_run(fx, fixture_is_reloaded, &r);
		assert_int_equal(r.status, ST_OK);
		assert_int_equal(r.serial, serial);
	}
	fixture_stop(fx);
	/* Past the half of all serials: what it begins with is not ahead of it. */
	assert_int_equal(serve(fx, &names), 3000000000U);
	set_members(fx, 1);
	assert_int_equal(serve(fx, &names), 3000000001U);
}

/* 'signetd --check' makes it, too. */
static void test_check(void **state)
{
	struct zonemgr_fixture *fx = *state;
	struct diags d;
	add_zones(fx);
	set_members(fx, 2);
	diags_init(&d, 10);
	assert_int_equal(zonemgr_check(&fx->conf, &d), ST_OK);
	assert_int_equal(d.count, 0);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_FIXTURE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
		WITH_FIXTURE(test_serial_moves_with_content),
		WITH_FIXTURE(test_reload_is_the_same),
		WITH_FIXTURE(test_after_a_signed_zone),
		WITH_FIXTURE(test_rules),
		WITH_FIXTURE(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
