#include "tests/unit/engine_fixture.h"

static void what_is_authoritative_is_covered(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		bool want;
	} cases[] = {
		{"example.com", RR_SOA, true},	     {"example.com", RR_NS, true},
		{"example.com", RR_DNSKEY, true},    {"example.com", RR_NSEC, true},
		{"ns.example.com", RR_A, true},	     {"a.b.c.example.com", RR_TXT, true},
		{"*.w.example.com", RR_TXT, true},   {"dn.example.com", RR_DNAME, true},
		{"dn.example.com", RR_NSEC, true},   {"below.dn.example.com", RR_A, false},
		{"cut.example.com", RR_NS, false},   {"cut.example.com", RR_A, false},
		{"cut.example.com", RR_NSEC, true},  {"ns.cut.example.com", RR_A, false},
		{"safe.example.com", RR_DS, true},   {"safe.example.com", RR_NS, false},
		{"safe.example.com", RR_NSEC, true},
	};
	(void)state;
	struct engine e;
	engine_start(&e, true, true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct node *n = node_at(e.v, cases[i].name);
		struct rrset *rs = rrset_at(e.v, cases[i].name, cases[i].type);
		if (signer_covers(n, rs) != cases[i].want) {
			fail_msg("%s %u", cases[i].name, cases[i].type);
		}
		if (!cases[i].want) {
			assert_int_equal(signer_want(e.signer, e.v, n, rs, true), ST_ENOTSUP);
		}
	}
	const struct node *apex = node_at(e.v, "example.com");
	struct rrset *rrsig = NULL;
	uint8_t octets[20] = {0};
	assert_int_equal(rrset_new(RR_RRSIG, 1, &(struct bytes){octets, 20}, 1, &rrsig), ST_OK);
	assert_false(signer_covers(apex, rrsig));
	rrset_free(rrsig);
	engine_end(&e);
}

/* The tags of the keys that signed, as text. */
static void signed_by(const struct rrset *rs, const struct keyset *ks, char *out)
{
	const struct sigset *sigs = rrset_sigs(rs);
	assert_non_null(sigs);
	uint8_t buf[SIGSET_BUF];
	struct bytes data = sigset_data(sigs, rs, ks->apex, buf);
	for (const uint8_t *p = data.data; p < data.data + data.len; p = rdata_next(p)) {
		struct rrsig sig;
		assert_int_equal(rrsig_parse(rdata_at(p), &sig), ST_OK);
		for (size_t i = 0; i < ks->count; i++) {
			if (ks->keys[i].tag == sig.key_tag) {
				*out++ = (char)('0' + i);
			}
		}
	}
	*out = '\0';
}

static void keys_in_the_process_sign_at_once(void **state)
{
	(void)state;
	struct engine e;
	char by[8];
	engine_start(&e, true, true);
	struct rrset *txt = rrset_at(e.v, "a.b.c.example.com", RR_TXT);
	assert_int_equal(want(&e, "a.b.c.example.com", RR_TXT), ST_OK);
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_OK);
	assert_int_equal(atomic_load(&txt->sig_state), SIG_FILLED);
	signed_by(txt, e.ks, by);
	assert_string_equal(by, "1");
	signed_by(rrset_at(e.v, "example.com", RR_DNSKEY), e.ks, by);
	assert_string_equal(by, "0");
	assert_int_equal(want(&e, "a.b.c.example.com", RR_TXT), ST_OK);
	assert_int_equal(atomic_load(&e.zsk->signed_count), 1);
	assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
	assert_int_equal(atomic_load(&e.settled.count), 0);
	/* A fault leaves the slot to the next who asks. */
	atomic_store(&e.zsk_store.fault, ST_ECRYPTO);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_ECRYPTO);
	assert_null(rrset_sigs(e.v->soa));
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	engine_end(&e);
}

static void a_question_is_single_flight_and_told_once(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	struct rrset *soa = e.v->soa;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	}
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);
	assert_int_equal(e.zsk_store.waiting[HSM_BATCH], 0);
	assert_null(rrset_sigs(soa));
	assert_int_equal(atomic_load(&e.settled.count), 0);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 1);
	assert_int_equal(atomic_load(&e.settled.failed), 0);
	assert_ptr_equal(atomic_load(&e.settled.last), soa);
	assert_non_null(rrset_sigs(soa));
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	engine_end(&e);
}

static void what_is_not_urgent_waits_until_it_is(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	struct rrset *txt = rrset_at(e.v, "a.b.c.example.com", RR_TXT);
	assert_int_equal(want_as(&e, "example.com", RR_SOA, false), ST_EBUSY);
	assert_int_equal(want_as(&e, "example.com", RR_NS, false), ST_EBUSY);
	assert_int_equal(want_as(&e, "a.b.c.example.com", RR_TXT, false), ST_EBUSY);
	assert_int_equal(want_as(&e, "a.b.c.example.com", RR_TXT, false), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_EXCESS], 3);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	/* The last is wanted by one who is in a hurry, and then once more. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(want_as(&e, "a.b.c.example.com", RR_TXT, true), ST_EBUSY);
		assert_int_equal(e.zsk_store.waiting[HSM_EXCESS], 2);
		assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);
	}
	assert_int_equal(want_as(&e, "a.b.c.example.com", RR_TXT, false), ST_EBUSY);
	assert_int_equal(fake_run(&e.zsk_store, 1), 1);
	assert_non_null(rrset_sigs(txt));
	assert_null(rrset_sigs(e.v->soa));
	/* Each is told once, and signed once. */
	assert_int_equal(fake_run(&e.zsk_store, 10), 2);
	assert_int_equal(atomic_load(&e.settled.count), 3);
	assert_int_equal(atomic_load(&e.zsk->signed_count), 3);
	assert_int_equal(atomic_load(&txt->sig_wanted), 0);
	engine_end(&e);
}

/* Whoever is in a hurry found it claimed, and not yet in any queue. */
static void urgent_before_it_is_queued(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	atomic_store(&e.v->soa->sig_wanted, SIG_WANTED_TOLD | SIG_WANTED_URGENT);
	assert_int_equal(want_as(&e, "example.com", RR_SOA, false), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_EXCESS], 0);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 1);
	/* A failure ends the hurry. */
	atomic_store(&e.zsk_store.fault, ST_EAGAIN);
	assert_int_equal(want_as(&e, "example.com", RR_NS, false), ST_EBUSY);
	assert_int_equal(want_as(&e, "example.com", RR_NS, true), ST_EBUSY);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(want_as(&e, "example.com", RR_NS, false), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_EXCESS], 1);
	engine_end(&e);
}

static void a_failure_empties_the_slot_and_is_told(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	atomic_store(&e.zsk_store.fault, ST_EAGAIN);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 1);
	assert_int_equal(atomic_load(&e.settled.failed), 1);
	assert_null(rrset_sigs(e.v->soa));
	assert_int_equal(atomic_load(&e.v->soa->sig_state), SIG_EMPTY);
	assert_int_equal(atomic_load(&e.v->soa->sig_wanted), 0);
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 2);
	assert_int_equal(atomic_load(&e.settled.failed), 1);
	assert_non_null(rrset_sigs(e.v->soa));
	engine_end(&e);
}

static void a_full_queue_and_a_key_away_are_said_at_once(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	e.zsk_store.queue_max = 0;
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_ELIMIT);
	assert_int_equal(atomic_load(&e.v->soa->sig_state), SIG_EMPTY);
	e.zsk_store.queue_max = 1;

	struct hsm_key *handle = e.ks->keys[1].handle;
	atomic_store(&e.ks->keys[1].handle, NULL);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EAGAIN);
	assert_int_equal(atomic_load(&e.v->soa->sig_state), SIG_EMPTY);
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	atomic_store(&e.ks->keys[1].handle, handle);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(fake_run(&e.zsk_store, 2), 1);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	engine_end(&e);
}

static void all_keys_sign_or_none(void **state)
{
	(void)state;
	struct engine e;
	char by[8];
	engine_start(&e, false, false);
	struct rrset *dnskey = rrset_at(e.v, "example.com", RR_DNSKEY);
	struct hsm_key *second = fake_key(&e.zsk_store, 3);
	key_set(&e.ks->keys[2], KEY_KSK, second);
	e.ks->count = 3;

	/* The second queue is full: what the first makes is thrown away. */
	e.zsk_store.queue_max = 0;
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_ELIMIT);
	assert_int_equal(atomic_load(&dnskey->sig_state), SIG_SIGNING);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_int_equal(atomic_load(&dnskey->sig_state), SIG_EMPTY);
	assert_null(rrset_sigs(dnskey));
	e.zsk_store.queue_max = 10;

	/* The second fails. */
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_null(rrset_sigs(dnskey));
	assert_int_equal(atomic_load(&e.settled.count), 0);
	atomic_store(&e.zsk_store.fault, ST_ETIMEDOUT);
	assert_int_equal(fake_run(&e.zsk_store, 2), 1);
	assert_null(rrset_sigs(dnskey));
	assert_int_equal(atomic_load(&e.settled.failed), 1);
	atomic_store(&e.zsk_store.fault, ST_OK);

	/* One in the process, one not. */
	e.zsk_store.in_process = true;
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_non_null(rrset_sigs(dnskey));
	assert_int_equal(rrset_sigs(dnskey)->count, 2);
	signed_by(dnskey, e.ks, by);
	assert_int_equal(strlen(by), 2);
	assert_null(strchr(by, '1'));
	hsm_key_unref(second);
	engine_end(&e);
}

static void a_version_lives_as_long_as_its_jobs(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	version_unref(e.v);
	e.v = NULL;
	keyset_unref(e.ks);
	e.ks = NULL;
	assert_int_equal(fake_run(&e.zsk_store, 2), 1);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_int_equal(atomic_load(&e.settled.count), 2);
	assert_int_equal(atomic_load(&e.zsk->refs), 1);
	assert_int_equal(atomic_load(&e.ksk->refs), 1);
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_authoritative_is_covered),
		cmocka_unit_test(keys_in_the_process_sign_at_once),
		cmocka_unit_test(a_question_is_single_flight_and_told_once),
		cmocka_unit_test(what_is_not_urgent_waits_until_it_is),
		cmocka_unit_test(urgent_before_it_is_queued),
		cmocka_unit_test(a_failure_empties_the_slot_and_is_told),
		cmocka_unit_test(a_full_queue_and_a_key_away_are_said_at_once),
		cmocka_unit_test(all_keys_sign_or_none),
		cmocka_unit_test(a_version_lives_as_long_as_its_jobs),
	};
	return cmocka_run_group_tests_name("signer", tests, NULL, NULL);
}
