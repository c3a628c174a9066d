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
	assert_in_range(stats.safe_until, NOW + 100, NOW + 300);
	assert_in_range(stats.next_refresh, NOW, NOW + 100);
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
		/* What the KSK signs falls due half of the time earlier. */
		due += (int64_t)rrset_sigs(l.rrsets[i])->expiration -
			       (l.rrsets[i]->type == RR_DNSKEY ? 200 : 100) <=
		       until;
	}
	assert_in_range(due, 1, l.count - 1);
	assert_int_equal(signer_renew_due(d, e.v, until, &count), ST_OK);
	assert_int_equal(count, due);
	assert_int_equal(signer_prepare_draft(d, e.ks, false, SIGN_NSEC), ST_OK);
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

/* The load of refreshing, hour by hour over two months, with the server's own steps. */
static void no_hour_is_much_busier_than_others(void **state)
{
	enum { IDS = 100000, HOURS = 60 * 24 };
	static const struct {
		const char *name;
		uint32_t refresh, validity;
	} cases[] = {
		{"default", 7 * 86400, 21 * 86400},
		{"short", 2 * 86400, 5 * 86400},
		{"refreshed late", 86400, 14 * 86400},
	};
	static uint32_t expiration[IDS];
	static size_t hours[HOURS];
	(void)state;
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		const struct sign_params p = {.refresh = cases[c].refresh,
					      .validity = cases[c].validity};
		uint64_t seed = 7;
		uint8_t id[32] = {0};
		size_t total = 0;
		size_t most = 0;
		static uint32_t ids[IDS];
		for (size_t i = 0; i < IDS; i++) {
			uint32_t inception;
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			ids[i] = (uint32_t)(seed >> 32);
			be32_put(id, ids[i]);
			sign_window(&p, id, NOW, &inception, &expiration[i]);
			assert_int_equal(inception, NOW - 3600);
		}
		memset(hours, 0, sizeof(hours));
		for (int64_t now = NOW;;) {
			uint32_t next = UINT32_MAX;
			for (size_t i = 0; i < IDS; i++) {
				next = expiration[i] < next ? expiration[i] : next;
			}
			now = next - p.refresh;
			if (now >= NOW + HOURS * 3600) {
				break;
			}
			for (size_t i = 0; i < IDS; i++) {
				uint32_t inception;
				uint32_t before = expiration[i];
				if (before - p.refresh > now + sign_ahead_s(&p)) {
					continue;
				}
				be32_put(id, ids[i]);
				sign_window(&p, id, now, &inception, &expiration[i]);
				/* Each signing gains, and none is longer than the policy. */
				assert_true(expiration[i] > before);
				assert_true(expiration[i] <= now + p.validity);
				assert_true(expiration[i] > now + p.refresh);
				hours[(now - NOW) / 3600]++;
			}
		}
		for (size_t h = 0; h < HOURS; h++) {
			total += hours[h];
			most = hours[h] > most ? hours[h] : most;
		}
		if (most * HOURS * 4 > total * 5) {
			fail_msg("%s: %zu in the busiest hour, %zu on average", cases[c].name, most,
				 total / HOURS);
		}
	}
}

/* A KSK's store that is away keeps nobody else's signatures from being made again. */
static void what_cannot_be_signed_is_not_renewed(void **state)
{
	(void)state;
	struct engine e;
	struct draft *d = NULL;
	struct list l;
	size_t count = 0;
	engine_start(&e, true, true);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	list_rrsets(e.v, &l);
	struct hsm_key *away = atomic_exchange(&e.ks->keys[0].handle, NULL);
	assert_int_equal(draft_new(e.v->apex_name, e.v, &d), ST_OK);
	assert_int_equal(signer_renew_due(d, e.v, NOW + 1000, &count), ST_OK);
	assert_int_equal(count, l.count - 1);
	atomic_store(&e.ks->keys[0].handle, away);
	assert_int_equal(signer_renew_due(d, e.v, NOW + 1000, &count), ST_OK);
	assert_int_equal(count, l.count);
	draft_free(d);
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signature_is_valid_in_its_window),
		cmocka_unit_test(stats_count_what_is_signed),
		cmocka_unit_test(what_falls_due_is_renewed),
		cmocka_unit_test(what_cannot_be_signed_is_not_renewed),
		cmocka_unit_test(no_hour_is_much_busier_than_others),
	};
	return cmocka_run_group_tests_name("refresh", tests, NULL, NULL);
}
