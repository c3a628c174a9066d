#include "tests/unit/engine_fixture.h"

static void a_signature_is_valid_in_its_window(void **state)
{
	static const struct {
		const char *name;
		uint32_t inception;
		uint32_t expiration;
		int64_t now;
		bool want;
	} cases[] = {
		{"before", 100, 200, 99, false},
		{"first second", 100, 200, 100, true},
		{"last second", 100, 200, 200, true},
		{"after", 100, 200, 201, false},
		{"over the end of 32 bits", 0xffffff00, 0x100, INT64_C(0x100000050), true},
		{"before it", 0xffffff00, 0x100, INT64_C(0xfffffeff), false},
		{"after it", 0xffffff00, 0x100, INT64_C(0x100000101), false},
	};
	(void)state;
	struct engine e;
	engine_start(&e, true, true);
	struct rrset *rs = e.v->soa;
	assert_null(signer_valid(rs, NOW));
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	struct sigset *sigs = rrset_sigs(rs);
	assert_ptr_equal(signer_valid(rs, NOW), sigs);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sigs->inception = cases[i].inception;
		sigs->expiration = cases[i].expiration;
		if ((signer_valid(rs, cases[i].now) != NULL) != cases[i].want) {
			fail_msg("%s", cases[i].name);
		}
	}
	engine_end(&e);
}

static void stats_count_what_is_signed(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	struct sign_stats stats;
	engine_start(&e, true, true);
	list_rrsets(e.v, &l);
	signer_stats(e.v, &stats);
	assert_int_equal(stats.rrsets, l.count);
	assert_int_equal(stats.filled, 0);
	assert_true(stats.next_refresh == INT64_MAX);
	assert_true(stats.safe_until == INT64_MAX);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	signer_stats(e.v, &stats);
	assert_int_equal(stats.filled, l.count);
	assert_in_range(stats.safe_until, NOW + 200, NOW + 300);
	assert_true(stats.next_refresh == stats.safe_until - 100);
	int64_t least = INT64_MAX;
	for (size_t i = 0; i < l.count; i++) {
		int64_t expiration = rrset_sigs(l.rrsets[i])->expiration;
		least = expiration < least ? expiration : least;
	}
	assert_true(stats.safe_until == least);
	engine_end(&e);
}

static void what_falls_due_is_renewed(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	struct sign_stats stats;
	struct draft *d = NULL;
	size_t count = 77;
	engine_start(&e, true, true);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	signer_stats(e.v, &stats);
	list_rrsets(e.v, &l);

	assert_int_equal(draft_new(e.v->apex_name, e.v, &d), ST_OK);
	assert_int_equal(signer_renew_due(d, e.v, stats.next_refresh - 1, &count), ST_OK);
	assert_int_equal(count, 0);
	assert_false(draft_changed(d));

	/* The first half, by time. */
	int64_t until = NOW + 150;
	size_t due = 0;
	for (size_t i = 0; i < l.count; i++) {
		due += (int64_t)rrset_sigs(l.rrsets[i])->expiration - 100 <= until;
	}
	assert_in_range(due, 1, l.count - 1);
	assert_int_equal(signer_renew_due(d, e.v, until, &count), ST_OK);
	assert_int_equal(count, due);
	assert_int_equal(signer_prepare_draft(d, e.ks, false), ST_OK);
	struct version *next = freeze_draft(d, e.ks);
	struct list after;
	list_rrsets(next, &after);
	assert_int_equal(after.count, l.count);
	assert_int_equal(after.filled, l.count - due);
	clock_fake(until, 1000);
	assert_int_equal(signer_complete(e.signer, next, NULL), ST_OK);
	signer_stats(next, &stats);
	assert_true(stats.next_refresh > until);
	version_succeed(e.v, next);
	version_unref(e.v);
	e.v = next;
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signature_is_valid_in_its_window),
		cmocka_unit_test(stats_count_what_is_signed),
		cmocka_unit_test(what_falls_due_is_renewed),
	};
	return cmocka_run_group_tests_name("refresh", tests, NULL, NULL);
}
