/* What is signed before it is seen, refreshing, CDS, and watching files. */
#include "parent_server.h"
#include "zonemgr_fixture.h"

#define START_S INT64_C(1800000000)

struct covered {
	size_t covered, filled, valid;
};

static enum status count_covered(void *ctx, const struct node *n)
{
	struct covered *c = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		if (signer_covers(n, n->rrsets[i])) {
			c->covered++;
			c->filled += rrset_sigs(n->rrsets[i]) != NULL;
			c->valid += signer_valid(n->rrsets[i], clock_wall_s()) != NULL;
		}
	}
	return ST_OK;
}

static struct covered covered_now(struct zonemgr_fixture *fx, size_t i)
{
	struct covered c = {0};
	assert_int_equal(version_walk(fixture_get(fx, i)->cur, count_covered, &c), ST_OK);
	return c;
}

static bool is_signed(struct rrset *rs)
{
	assert_non_null(rs);
	return rrset_sigs(rs) != NULL;
}

/* Looks at what is published, before the background can have signed more. */
struct first_look {
	struct zonemgr_fixture *fx;
	size_t zone;
	bool done;
	struct covered seen;
	bool soa, www, fresh_nsec, apex_nsec;
};

static void look(void *ctx, enum status st, uint32_t serial, const struct diags *d)
{
	struct first_look *l = ctx;
	(void)serial;
	(void)d;
	assert_int_equal(st, ST_OK);
	l->seen = covered_now(l->fx, l->zone);
	l->soa = is_signed(fixture_rrset(l->fx, l->zone, NULL, RR_SOA));
	l->www = is_signed(fixture_rrset(l->fx, l->zone, "www", RR_A));
	l->fresh_nsec = is_signed(fixture_rrset(l->fx, l->zone, "fresh", RR_NSEC));
	l->apex_nsec = is_signed(fixture_rrset(l->fx, l->zone, NULL, RR_NSEC));
	l->done = true;
}

static bool has_looked(struct zonemgr_fixture *fx, void *ctx)
{
	(void)fx;
	return ((struct first_look *)ctx)->done;
}

static void test_online_stays_signed(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	struct first_look l = {.fx = fx, .zone = z};
	fixture_zone(fx, z, 1, "www A 192.0.2.80\n");
	fixture_start(fx);
	fixture_complete(fx, z);
	struct covered all = covered_now(fx, z);
	assert_int_equal(all.covered, all.filled);
	assert_true(all.covered >= 8);

	fixture_zone(fx, z, 2, "www A 192.0.2.81\nfresh A 192.0.2.82\n");
	zonemgr_reload(fx->mgr, fixture_get(fx, z), false, look, &l);
	fixture_run(fx, has_looked, &l);
	assert_true(l.soa);
	assert_true(l.www);
	assert_true(l.fresh_nsec);
	assert_true(l.apex_nsec);
	/* Only what had no signature before may be cold: fresh's A. */
	assert_true(l.seen.covered - l.seen.filled <= 1);
	fixture_complete(fx, z);
	all = covered_now(fx, z);
	assert_int_equal(all.covered, all.filled);
}

static void test_eager_is_signed_before_it_is_seen(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t z = fixture_add(fx, "signed.test", POLICY_EAGER);
	struct first_look l = {.fx = fx, .zone = z};
	fixture_zone(fx, z, 1, "www A 192.0.2.80\n");
	fixture_start(fx);
	struct covered all = covered_now(fx, z);
	assert_int_equal(all.covered, all.filled);
	fixture_zone(fx, z, 2, "www A 192.0.2.80\nfresh A 192.0.2.82\nmore A 192.0.2.83\n");
	zonemgr_reload(fx->mgr, fixture_get(fx, z), false, look, &l);
	fixture_run(fx, has_looked, &l);
	assert_int_equal(l.seen.covered, l.seen.filled);
}

struct serial_wait {
	size_t zone;
	uint32_t serial;
};

struct name_wait {
	size_t zone;
	const char *label;
};

static bool has_name(struct zonemgr_fixture *fx, void *ctx)
{
	const struct name_wait *w = ctx;
	return fixture_rrset(fx, w->zone, w->label, RR_A) != NULL;
}

static bool has_serial(struct zonemgr_fixture *fx, void *ctx)
{
	const struct serial_wait *w = ctx;
	return fixture_get(fx, w->zone)->cur->serial == w->serial;
}

static void set_validity(struct zonemgr_fixture *fx, uint32_t refresh_s, uint32_t validity_s)
{
	for (size_t i = 0; i < POLICIES; i++) {
		fx->policies[i].refresh_s = refresh_s;
		fx->policies[i].validity_s = validity_s;
	}
}

/* Signatures are renewed when they fall due, under a new serial, and never lapse. */
static void test_refresh(void **state)
{
	struct zonemgr_fixture *fx = *state;
	struct serial_wait w = {.zone = fixture_add(fx, "signed.test", POLICY_ONLINE), .serial = 1};
	fixture_clock(fx, START_S);
	set_validity(fx, 1000, 5000);
	for (size_t i = 0; i < POLICIES; i++) {
		fx->policies[i].publish_cds = false;
	}
	fixture_zone(fx, w.zone, 1, "www A 192.0.2.80\nmail A 192.0.2.25\n");
	fixture_start(fx);
	fixture_complete(fx, w.zone);
	int64_t now = START_S;
	for (unsigned round = 0; round < 12; round++) {
		struct zone_status s = fixture_status(fx, w.zone);
		assert_true(s.sign.next_refresh > now);
		assert_true(s.sign.next_refresh <= now + 4000);
		assert_int_equal(s.next_event, s.sign.next_refresh);
		now = s.sign.next_refresh;
		fixture_clock(fx, now);
		w.serial++;
		fixture_run(fx, has_serial, &w);
		fixture_complete(fx, w.zone);
		struct covered all = covered_now(fx, w.zone);
		assert_int_equal(all.valid, all.covered);
		s = fixture_status(fx, w.zone);
		assert_true(s.sign.safe_until >= now + 1000);
	}
	/* A refresh changes no data: the file is as it was. */
	struct fixture_reload r = fixture_reload(fx, w.zone, false);
	assert_ptr_equal(r.before, r.after);
}

static void test_cds_once_a_ds_is_safe(void **state)
{
	struct zonemgr_fixture *fx = *state;
	struct serial_wait w = {.zone = fixture_add(fx, "signed.test", POLICY_ONLINE), .serial = 2};
	fixture_clock(fx, START_S);
	/* The largest TTL counts. */
	fixture_zone(fx, w.zone, 1, "www 5000 A 192.0.2.80\n");
	fixture_start(fx);
	fixture_complete(fx, w.zone);
	struct zone_status s = fixture_status(fx, w.zone);
	assert_int_equal(s.ds_safe_from, START_S + 5000 + 60);
	assert_int_equal(s.next_event, s.ds_safe_from);
	assert_null(fixture_rrset(fx, w.zone, NULL, RR_CDS));

	fixture_clock(fx, s.ds_safe_from);
	fixture_run(fx, has_serial, &w);
	assert_true(is_signed(fixture_rrset(fx, w.zone, NULL, RR_CDS)));
	assert_true(is_signed(fixture_rrset(fx, w.zone, NULL, RR_CDNSKEY)));

	/* What says so is on record: after a restart they are there from the start. */
	fixture_stop(fx);
	fixture_start(fx);
	assert_non_null(fixture_rrset(fx, w.zone, NULL, RR_CDS));
	fixture_complete(fx, w.zone);
	assert_int_equal(fixture_status(fx, w.zone).ds_safe_from, START_S + 5000 + 60);
}

static void append_in_place(const char *path, const char *text)
{
	FILE *f = fopen(path, "a");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static void test_watch(void **state)
{
	struct zonemgr_fixture *fx = *state;
	char part[128];
	char include[160];
	struct serial_wait w = {.zone = fixture_add(fx, "watched.test", POLICY_NONE)};
	size_t other = fixture_add(fx, "other.test", POLICY_NONE);
	fx->zones[w.zone].watch = true;
	snprintf(part, sizeof(part), "%s/part", fx->dir);
	snprintf(include, sizeof(include), "$INCLUDE %s\n", part);
	fixture_write(part, "a A 192.0.2.2\n");
	fixture_zone(fx, w.zone, 1, include);
	fixture_zone(fx, other, 1, "");
	fixture_start(fx);

	/* By rename. */
	fixture_zone(fx, other, 2, "");
	fixture_zone(fx, w.zone, 2, include);
	w.serial = 2;
	fixture_run(fx, has_serial, &w);
	/* In place. */
	append_in_place(fx->files[w.zone], "b A 192.0.2.3\n");
	append_in_place(fx->files[w.zone], "c A 192.0.2.4\n");
	fixture_run(fx, has_name, &(struct name_wait){w.zone, "c"});
	/* Absent, then there again: what is served stays meanwhile. */
	assert_int_equal(unlink(fx->files[w.zone]), 0);
	fixture_zone(fx, w.zone, 3, include);
	w.serial = 3;
	fixture_run(fx, has_serial, &w);
	/* What it includes, which no folder's watch tells of here. */
	append_in_place(part, "d A 192.0.2.5\n");
	fixture_run(fx, has_name, &(struct name_wait){w.zone, "d"});
	assert_string_equal(fixture_status(fx, w.zone).last_error, "");
	/* Nobody watches the other. */
	assert_int_equal(fixture_get(fx, other)->cur->serial, 1);
}

/* SIGHUP: what changed, and what failed before. */
static void test_reload_all(void **state)
{
	struct zonemgr_fixture *fx = *state;
	size_t same = fixture_add(fx, "same.test", POLICY_NONE);
	struct serial_wait changed = {.zone = fixture_add(fx, "changed.test", POLICY_NONE),
				      .serial = 2};
	struct serial_wait failed = {.zone = fixture_add(fx, "failed.test", POLICY_NONE),
				     .serial = 2};
	fixture_zone(fx, same, 1, "");
	fixture_zone(fx, changed.zone, 1, "");
	fixture_zone(fx, failed.zone, 1, "");
	fixture_start(fx);
	const struct version *before = fixture_get(fx, same)->cur;
	fixture_zone(fx, failed.zone, 2, "a nonsense\n");
	assert_int_equal(fixture_reload(fx, failed.zone, false).status, ST_EPARSE);
	fixture_zone(fx, failed.zone, 2, "");
	fixture_zone(fx, changed.zone, 2, "");
	zonemgr_reload_all(fx->mgr);
	fixture_run(fx, has_serial, &changed);
	fixture_run(fx, has_serial, &failed);
	assert_string_equal(fixture_status(fx, failed.zone).last_error, "");
	assert_ptr_equal(fixture_get(fx, same)->cur, before);
}

/* How often the server was asked; time passes until it is so, ten minutes at each hundredth turn of
 * the loop: more than an exchange takes. */
struct asked {
	struct server *server;
	unsigned count;
	unsigned turns;
};

static bool is_asked(struct zonemgr_fixture *fx, void *ctx)
{
	struct asked *a = ctx;
	if (a->turns++ % 100 == 0) {
		fixture_clock(fx, fx->now_s + 600);
	}
	return atomic_load(&a->server->answered) >= a->count;
}

struct ds_wait {
	size_t zone;
	bool never;
};

static bool has_ds_word(struct zonemgr_fixture *fx, void *ctx)
{
	const struct ds_wait *w = ctx;
	return atomic_load(&fixture_get(fx, w->zone)->ds_never_seen) == w->never;
}

static bool has_ds_record(struct zonemgr_fixture *fx, void *ctx)
{
	struct zone_record rec;
	const size_t *z = ctx;
	return zone_record_get(zonemgr_store(fx->mgr), fx->zones[*z].name, &rec) == ST_OK &&
	       rec.ds_ever_seen;
}

/* Only a parent that was asked, and never had a DS, makes it safe to leave signatures out; one DS
 * is remembered for ever. */
static void test_parent(void **state)
{
	static const uint8_t name[] = "\6signed\4test";
	static const struct reply_case answers[] = {
		{"absent", 0, 0x8400, name, RR_DS, NULL, 0, 0, 0},
		{"refused", 0, 0x8005, name, RR_DS, NULL, 0, 0, 0},
		{"absent", 0, 0x8400, name, RR_DS, NULL, 0, 0, 0},
		{"present", 0, 0x8400, name, RR_DS, name, RR_DS, 0, 0},
		{"absent again", 0, 0x8400, name, RR_DS, NULL, 0, 0, 0},
		{"and again", 0, 0x8400, name, RR_DS, NULL, 0, 0, 0},
		{"absent, after a restart", 0, 0x8400, name, RR_DS, NULL, 0, 0, 0},
		{"and again", 0, 0x8400, name, RR_DS, NULL, 0, 0, 0},
	};
	struct zonemgr_fixture *fx = *state;
	struct server server;
	size_t z = fixture_add(fx, "signed.test", POLICY_ONLINE);
	size_t other = fixture_add(fx, "other.test", POLICY_ONLINE);
	server_start(&server, answers, sizeof(answers) / sizeof(answers[0]));
	fx->zones[z].parent = &server.address;
	fx->zones[z].parent_count = 1;
	fixture_zone(fx, z, 1, "");
	fixture_zone(fx, other, 1, "");
	fixture_clock(fx, START_S);
	fixture_start(fx);
	static const bool never[] = {true, false, true, false};
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		fixture_run(fx, has_ds_word, &(struct ds_wait){z, never[i]});
		fixture_clock(fx, fx->now_s + 600);
	}
	fixture_run(fx, has_ds_record, &z);
	/* Nobody to ask counts as having one. */
	assert_false(atomic_load(&fixture_get(fx, other)->ds_never_seen));
	/* Who is asked again has been listened to the time before. */
	fixture_run(fx, is_asked, &(struct asked){.server = &server, .count = 5});
	fixture_run(fx, is_asked, &(struct asked){.server = &server, .count = 6});
	assert_false(atomic_load(&fixture_get(fx, z)->ds_never_seen));
	fixture_stop(fx);
	fixture_start(fx);
	fixture_run(fx, is_asked, &(struct asked){.server = &server, .count = 7});
	fixture_run(fx, is_asked, &(struct asked){.server = &server, .count = 8});
	server_stop(&server);
	assert_false(atomic_load(&fixture_get(fx, z)->ds_never_seen));
}

/* A configuration with these lines in the policies. */
static void write_conf(const struct zonemgr_fixture *fx, const char *online, const char *eager)
{
	char text[1024];
	snprintf(text, sizeof(text),
		 "server: { state: state, control: c }\n"
		 "keystores: [ { name: local, type: file } ]\n"
		 "policies:\n"
		 "  - { name: online, csk: { keystore: local }%s }\n"
		 "  - { name: eager, csk: { keystore: local }%s }\n"
		 "  - { name: another, csk: { keystore: local }, denial: nsec3 }\n"
		 "zones: []\n",
		 online, eager);
	fixture_write(fx->path, text);
}

struct denial_wait {
	size_t zone;
	enum sign_denial denial;
};

static enum status chain_is_signed(void *ctx, const struct node *n)
{
	const struct rrset *rs = node_rrset(n, RR_NSEC);
	rs = rs != NULL ? rs : node_rrset(n, RR_NSEC3);
	*(bool *)ctx &= rs == NULL || rrset_sigs(rs) != NULL;
	return ST_OK;
}

static bool denies(struct zonemgr_fixture *fx, void *ctx)
{
	struct denial_wait *w = ctx;
	const struct version *v = fixture_get(fx, w->zone)->cur;
	bool whole = true;
	if (signer_denial(v) != w->denial) {
		return false;
	}
	/* At first sight, before the background can have signed any. */
	assert_int_equal(version_walk(v, chain_is_signed, &whole), ST_OK);
	assert_true(whole);
	return true;
}

static void test_denial_changes(void **state)
{
	static const struct {
		const char *online, *eager;
		enum sign_denial want[2];
	} steps[] = {
		{", denial: nsec3", "", {SIGN_NSEC3, SIGN_NSEC}},
		{", denial: nsec3, nsec3-opt-out: true",
		 ", denial: nsec3",
		 {SIGN_NSEC3_OPT_OUT, SIGN_NSEC3}},
		{", denial: nsec, signing: lazy",
		 "",
		 {SIGN_NSEC3_OPT_OUT, SIGN_NSEC3}}, /* a fault */
		{", denial: nsec", ", denial: nsec3", {SIGN_NSEC, SIGN_NSEC3}},
		{"", "", {SIGN_NSEC, SIGN_NSEC}},
	};
	struct zonemgr_fixture *fx = *state;
	size_t zones[2] = {fixture_add(fx, "online.test", POLICY_ONLINE),
			   fixture_add(fx, "eager.test", POLICY_EAGER)};
	for (size_t k = 0; k < 2; k++) {
		fixture_zone(fx, zones[k], 1, "www A 192.0.2.80\na.b.c TXT x\ncut NS ns.else.\n");
	}
	fixture_start(fx);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		write_conf(fx, steps[i].online, steps[i].eager);
		zonemgr_read_policies(fx->mgr);
		for (size_t k = 0; k < 2; k++) {
			struct denial_wait w = {.zone = zones[k], .denial = steps[i].want[k]};
			fixture_run(fx, denies, &w);
			struct zone_status s = fixture_status(fx, zones[k]);
			assert_int_equal(s.opt_out, w.denial == SIGN_NSEC3_OPT_OUT);
			assert_int_equal(s.denial,
					 w.denial == SIGN_NSEC ? DENIAL_NSEC : DENIAL_NSEC3);
		}
		/* An edit keeps the chain. */
		char more[128];
		snprintf(more, sizeof(more), "www A 192.0.2.80\nedit%zu A 192.0.2.81\n", i);
		for (size_t k = 0; k < 2; k++) {
			struct denial_wait w = {.zone = zones[k], .denial = steps[i].want[k]};
			uint32_t before = fixture_get(fx, zones[k])->cur->serial;
			fixture_zone(fx, zones[k], 1, more);
			struct fixture_reload r = fixture_reload(fx, zones[k], true);
			assert_int_equal(r.status, ST_OK);
			assert_int_equal(r.serial, before + 1);
			assert_true(denies(fx, &w));
		}
	}
	/* Without the file all stays as well. */
	assert_int_equal(unlink(fx->path), 0);
	zonemgr_reload_all(fx->mgr);
	struct denial_wait w = {.zone = zones[0], .denial = SIGN_NSEC};
	assert_true(denies(fx, &w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define WITH_FIXTURE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
		WITH_FIXTURE(test_online_stays_signed),
		WITH_FIXTURE(test_eager_is_signed_before_it_is_seen),
		WITH_FIXTURE(test_denial_changes),
		WITH_FIXTURE(test_refresh),
		WITH_FIXTURE(test_cds_once_a_ds_is_safe),
		WITH_FIXTURE(test_watch),
		WITH_FIXTURE(test_reload_all),
		WITH_FIXTURE(test_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
