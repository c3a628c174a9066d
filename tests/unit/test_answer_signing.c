/* What is answered while signatures are missing or expired. */
#include "answer_zones.h"
#include "respond.h"

#define WANTED_MAX 64

/* A signer under the test's control. */
struct fake_signer {
	enum answer_want says;
	bool waits; /* what questions should say */
	struct rrset *wanted[WANTED_MAX];
	size_t count;
};

static enum answer_want fake_want(void *ctx, const struct answer_wanted *wanted)
{
	struct fake_signer *s = ctx;
	struct rrset *rs = wanted->rrset;
	assert_true(rcu_inside());
	assert_ptr_equal(node_rrset(wanted->node, rs->type), rs);
	assert_null(rrset_sigs(rs));
	assert_int_equal(wanted->waits, s->waits);
	assert_true(s->count < WANTED_MAX);
	s->wanted[s->count++] = rs;
	if (s->says == WANT_FILLED) {
		fixture_fill(wanted->version, wanted->node, rs, FIXTURE_NOW + 86400);
	}
	return s->says;
}

struct fixture {
	struct version *version;
	struct zone zone;
	struct zonedb *db;
	struct fake_signer signer;
	struct answer_env env;
	struct answer_missing missing;
	uint8_t out[4096];
	size_t len;
	struct ask ask;
	char text[RESPOND_TEXT_MAX];
};

static void start(struct fixture *f, bool keys, enum answer_want says)
{
	static char text[32768];
	struct zone *zones[] = {&f->zone};
	snprintf(text, sizeof(text), "%s%s", ZONE_BASE, ZONE_NSEC);
	f->version = fixture_version("example.", text, true, keys);
	fixture_zone(&f->zone, "example.", f->version);
	assert_int_equal(zonedb_new(zones, 1, &f->db), ST_OK);
	f->signer = (struct fake_signer){.says = says, .waits = true};
	f->env = fixture_env(f->db);
	f->env.want = fake_want;
	f->env.want_ctx = &f->signer;
}

static int setup(void **state)
{
	*state = test_calloc(1, sizeof(struct fixture));
	return *state == NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	zonedb_free(f->db);
	version_unref(f->version);
	test_free(f);
	return 0;
}

static enum answer_result ask(struct fixture *f, const char *question, enum answer_mode mode)
{
	f->len = 4711;
	ask_parse(&f->ask, question);
	enum answer_result result = answer_query(&f->env, ANSWER_UDP, mode, f->ask.wire, f->ask.len,
						 f->out, sizeof(f->out), &f->len, &f->missing);
	if (result != ANSWER_SEND) {
		assert_int_equal(f->len, 4711);
	}
	return result;
}

static const char *sent(struct fixture *f)
{
	return reply_text(f->out, f->len, &f->ask, f->text);
}

static const struct rrset *rrset_at(const struct fixture *f, const char *owner, uint16_t type)
{
	uint8_t name[NAME_MAX_LEN];
	struct name_ref ref;
	size_t len;
	assert_int_equal(name_from_text(owner, strlen(owner), NULL, name, &len, NULL), ST_OK);
	name_ref_init(&ref, name);
	const struct node *n = version_find(f->version, &ref, ref.labels);
	assert_non_null(n);
	return node_rrset(n, type);
}

static void test_all_wanted_at_once_then_parked(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_PENDING);
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_FIRST), ANSWER_PARK);
	/* SOA, and the NSEC records of the name and the wildcard. */
	assert_int_equal(f->signer.count, 3);
	assert_int_equal(f->missing.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_ptr_equal(f->missing.rrsets[i], f->signer.wanted[i]);
	}
	assert_ptr_equal(f->missing.rrsets[0], rrset_at(f, "example.", RR_SOA));
	assert_int_equal(f->env.counters[COUNT_QUERIES], 1);
	assert_int_equal(f->env.counters[COUNT_PARKED], 1);

	/* Asked again while two are there: counted no more. */
	fixture_fill(f->version, f->version->apex, f->version->soa, FIXTURE_NOW + 60);
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_AGAIN), ANSWER_PARK);
	assert_int_equal(f->missing.count, 2);
	fixture_sign(f->version);
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_AGAIN), ANSWER_SEND);
	assert_int_equal(f->missing.count, 0);
	assert_non_null(strstr(sent(f), "NXDOMAIN aa\n"));
	assert_int_equal(f->env.counters[COUNT_QUERIES], 1);
	assert_int_equal(f->env.counters[COUNT_PARKED], 1);
	assert_int_equal(f->env.counters[COUNT_NXDOMAIN], 1);
}

/* What is asked for, and whether names that exist go before it. */
static void test_what_is_missing_is_known(void **state)
{
	static const struct {
		const char *question;
		bool nonexistent;
	} cases[] = {
		{"a.example. TXT do", false},
		{"a.example. MX do", false},
		{"example. SOA do", false},
		{"ent.example. A do", false},
		{"x.sub.example. A do", false},
		{"x.sec.example. A do", false},
		{"d.example. TXT do", false},
		{"cn.example. A do", false},
		{"nope.example. A do", true},
		{"cnx.example. A do", true},
		{"x.wild.example. A do", true},
		{"x.wild.example. MX do", true},
		{"nope.d.example. A do", true},
		/* The last of them is there, and its signature alone is missing. */
		{"x.d.example. A do", false},
	};
	struct fixture *f = *state;
	start(f, true, WANT_PENDING);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&f->missing, 0xee, sizeof(f->missing));
		f->signer.says = i % 2 == 0 ? WANT_PENDING : WANT_LATER;
		f->signer.count = 0;
		assert_int_equal(ask(f, cases[i].question, ANSWER_FIRST), ANSWER_PARK);
		assert_ptr_equal(f->missing.zone, &f->zone);
		if (f->missing.nonexistent != cases[i].nonexistent) {
			fail_msg("%s", cases[i].question);
		}
	}
	/* The proof is there. */
	f->signer.says = WANT_PENDING;
	fixture_sign(f->version);
	free(atomic_exchange(&f->version->soa->sigs, NULL));
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_FIRST), ANSWER_PARK);
	assert_int_equal(f->missing.count, 1);
	assert_false(f->missing.nonexistent);
}

static void test_more_missing_than_are_listed(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_PENDING);
	/* SOA and NSEC records, an alias, a wildcard's proof: the list is bounded, the wants are
	 * not. */
	assert_int_equal(ask(f, "x.wc.example. MX do", ANSWER_FIRST), ANSWER_PARK);
	assert_int_equal(f->signer.count, f->missing.count);
	assert_true(f->missing.count <= ANSWER_MISSING_MAX);
	assert_int_equal(f->missing.count, 4);
}

/* What this thread can make is waited for by all, also where the parent has no DS. */
static void test_what_comes_later_is_waited_for(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_LATER);
	for (unsigned i = 0; i < 2; i++) {
		f->zone.ds_never_seen = i == 1;
		f->signer.waits = i == 0;
		assert_int_equal(ask(f, "nope.example. A do", ANSWER_FIRST), ANSWER_PARK);
		assert_true(f->missing.later);
		assert_int_equal(f->missing.count, 0);
	}
	/* One after the other is made, and then all that is missing is a keystore's. */
	fixture_fill(f->version, f->version->apex, f->version->soa, FIXTURE_NOW + 60);
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_AGAIN), ANSWER_PARK);
	assert_true(f->missing.later);
	f->zone.ds_never_seen = false;
	f->signer.waits = true;
	f->signer.says = WANT_PENDING;
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_AGAIN), ANSWER_PARK);
	assert_false(f->missing.later);
	assert_int_equal(f->missing.count, 2);
	/* Its time over, it gets no answer from what would come. */
	f->signer.says = WANT_LATER;
	assert_int_equal(ask(f, "nope.example. A do", ANSWER_LAST), ANSWER_SEND);
	assert_non_null(strstr(sent(f), "SERVFAIL"));
}

static void test_without_do_never_waits(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_PENDING);
	assert_int_equal(ask(f, "nope.example. A edns", ANSWER_FIRST), ANSWER_SEND);
	assert_int_equal(ask(f, "a.example. RRSIG", ANSWER_FIRST), ANSWER_SEND);
	assert_non_null(strstr(sent(f), "NOERROR aa\nns example. 300 SOA"));
	assert_int_equal(f->signer.count, 0);
}

static void test_signed_on_the_spot(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_FILLED);
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "NOERROR aa\n"
				     "an a.example. 3600 TXT \"one\" \"two\"\n"
				     "an a.example. 3600 RRSIG TXT\n"
				     "edns 1232 do\n");
	assert_int_equal(f->signer.count, 1);
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_int_equal(f->signer.count, 1);
}

static void test_rrsig_waits_for_one(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_FILLED);
	assert_int_equal(ask(f, "a.example. RRSIG do", ANSWER_FIRST), ANSWER_SEND);
	assert_non_null(strstr(sent(f), "NOERROR aa\nan a.example. 3600 RRSIG A\n"));
	assert_int_equal(f->signer.count, 1);
}

static void test_time_is_over(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_PENDING);
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_LAST), ANSWER_SEND);
	assert_string_equal(sent(f), "SERVFAIL\nedns 1232 do ede=10\n");
	assert_int_equal(f->missing.count, 0);
	assert_int_equal(f->env.counters[COUNT_SERVFAIL], 1);
}

static void test_cannot_sign(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_FAILED);
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "SERVFAIL\nedns 1232 do ede=10\n");
	f->env.want = NULL;
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "SERVFAIL\nedns 1232 do ede=10\n");
}

static void test_no_ds_no_waiting(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_PENDING);
	f->zone.ds_never_seen = true;
	f->signer.waits = false;
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "NOERROR aa\n"
				     "an a.example. 3600 TXT \"one\" \"two\"\n"
				     "edns 1232 do\n");
	/* It is asked for all the same. */
	assert_int_equal(f->signer.count, 1);
	f->signer.says = WANT_FAILED;
	assert_int_equal(ask(f, "a.example. AAAA do", ANSWER_LAST), ANSWER_SEND);
	assert_non_null(strstr(sent(f), "NOERROR aa\nan a.example. 3600 AAAA 2001:db8::3\nedns"));
}

static void test_expired(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_FAILED);
	fixture_sign(f->version);
	f->env.now_s = FIXTURE_NOW + 86400;
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_null(strstr(sent(f), "ede="));
	f->env.now_s++;
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "NOERROR aa\n"
				     "an a.example. 3600 TXT \"one\" \"two\"\n"
				     "an a.example. 3600 RRSIG TXT\n"
				     "edns 1232 do ede=7\n");
	assert_int_equal(f->env.counters[COUNT_EXPIRED], 1);
	/* Nobody relies on it: better none than a bad one. */
	f->zone.ds_never_seen = true;
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "NOERROR aa\n"
				     "an a.example. 3600 TXT \"one\" \"two\"\n"
				     "edns 1232 do\n");
	assert_int_equal(f->signer.count, 0);
}

static void test_served_as_it_is(void **state)
{
	struct fixture *f = *state;
	start(f, false, WANT_FAILED);
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "NOERROR aa\n"
				     "an a.example. 3600 TXT \"one\" \"two\"\n"
				     "edns 1232 do\n");
	fixture_sign(f->version);
	f->env.now_s = FIXTURE_NOW + 100000;
	assert_int_equal(ask(f, "a.example. TXT do", ANSWER_FIRST), ANSWER_SEND);
	assert_non_null(strstr(sent(f), "an a.example. 3600 RRSIG TXT\n"));
	assert_int_equal(f->signer.count, 0);
}

/* The additional section is worth no waiting, and no address without its signature. */
static void test_additional_never_waits(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_FILLED);
	assert_int_equal(ask(f, "srv.example. SRV do", ANSWER_FIRST), ANSWER_SEND);
	assert_string_equal(sent(f), "NOERROR aa\n"
				     "an srv.example. 3600 SRV 1 2 3 mail.example.\n"
				     "an srv.example. 3600 RRSIG SRV\n"
				     "edns 1232 do\n");
	assert_int_equal(f->signer.count, 1);
	fixture_sign(f->version);
	assert_int_equal(ask(f, "srv.example. SRV do", ANSWER_FIRST), ANSWER_SEND);
	assert_non_null(strstr(sent(f), "ar mail.example. 3600 A 192.0.2.2\n"
					"ar mail.example. 3600 RRSIG A\n"));
}

/* Two signatures, as in a change of keys. */
static void test_two_signatures(void **state)
{
	struct fixture *f = *state;
	start(f, true, WANT_FAILED);
	struct rrset *rs = node_rrset(f->version->apex, RR_DNSKEY);
	assert_non_null(rs);
	atomic_store(&rs->sigs,
		     fixture_sigset(f->version, f->version->apex, rs, 2, FIXTURE_NOW + 10));
	assert_int_equal(ask(f, "example. DNSKEY do", ANSWER_FIRST), ANSWER_SEND);
	const char *first = strstr(sent(f), "\nan example. 3600 RRSIG DNSKEY\n");
	assert_non_null(first);
	assert_non_null(strstr(first + 1, "\nan example. 3600 RRSIG DNSKEY\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_wanted_at_once_then_parked),
		TEST(test_what_comes_later_is_waited_for),
		TEST(test_what_is_missing_is_known),
		TEST(test_more_missing_than_are_listed),
		TEST(test_without_do_never_waits),
		TEST(test_signed_on_the_spot),
		TEST(test_rrsig_waits_for_one),
		TEST(test_time_is_over),
		TEST(test_cannot_sign),
		TEST(test_no_ds_no_waiting),
		TEST(test_expired),
		TEST(test_served_as_it_is),
		TEST(test_additional_never_waits),
		TEST(test_two_signatures),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_thread_unregister();
	return failed;
}
