/* What is answered from zones without signatures: RFC 1034 4.3.2 and its successors. */
#include "answer_zones.h"
#include "respond.h"

#define SOA "ns example. 300 SOA ns1.example. host.example. 7 7200 3600 1209600 300\n"
#define SUB_REFERRAL                                                                               \
	"ns sub.example. 3600 NS ns1.sub.example.\n"                                               \
	"ns sub.example. 3600 NS ns2.sub.example.\n"                                               \
	"ar ns1.sub.example. 3600 A 192.0.2.11\n"                                                  \
	"ar ns2.sub.example. 3600 AAAA 2001:db8::12\n"

struct answer_case {
	const char *name;
	const char *question;
	const char *reply;
};

static void run_cases(struct answer_env *env, const struct answer_case *cases, size_t count)
{
	static char buf[RESPOND_TEXT_MAX];
	unsigned failed = 0;
	for (size_t i = 0; i < count; i++) {
		const char *reply = respond(env, cases[i].question, buf);
		if (strcmp(reply, cases[i].reply) != 0) {
			print_error("%s: %s\nexpected:\n%sgot:\n%s\n", cases[i].name,
				    cases[i].question, cases[i].reply, reply);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

static struct version *example;
static struct zone example_zone;
static struct zonedb *example_db;

static int setup(void **state)
{
	(void)state;
	struct zone *zones[] = {&example_zone};
	example = fixture_version("example.", ZONE_BASE, false, false);
	fixture_zone(&example_zone, "example.", example);
	assert_int_equal(zonedb_new(zones, 1, &example_db), ST_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	zonedb_free(example_db);
	version_unref(example);
	return 0;
}

static void test_positive(void **state)
{
	(void)state;
	static const struct answer_case cases[] = {
		{"exact", "a.example. A",
		 "NOERROR aa\n"
		 "an a.example. 3600 A 192.0.2.3\n"
		 "an a.example. 3600 A 192.0.2.33\n"},
		{"case of the question kept, names compressed to it", "A.eXample. TXT",
		 "NOERROR aa\n"
		 "an A.eXample. 3600 TXT \"one\" \"two\"\n"},
		{"no NS set, no DNSSEC records though DO is set", "a.example. AAAA do",
		 "NOERROR aa\n"
		 "an a.example. 3600 AAAA 2001:db8::3\n"
		 "edns 1232 do\n"},
		{"apex SOA with its own TTL", "example. SOA",
		 "NOERROR aa\n"
		 "an example. 3600 SOA ns1.example. host.example. 7 7200 3600 1209600 300\n"},
		{"addresses of mail hosts: of the zone only, no glue", "example. MX",
		 "NOERROR aa\n"
		 "an example. 3600 MX 10 mail.example.\n"
		 "an example. 3600 MX 20 mail.other.\n"
		 "an example. 3600 MX 30 ns1.sub.example.\n"
		 "ar mail.example. 3600 A 192.0.2.2\n"},
		{"addresses of name servers, glue too", "example. NS",
		 "NOERROR aa\n"
		 "an example. 3600 NS ns1.example.\n"
		 "an example. 3600 NS ns2.sub.example.\n"
		 "ar ns1.example. 3600 A 192.0.2.1\n"
		 "ar ns1.example. 3600 AAAA 2001:db8::1\n"
		 "ar ns2.sub.example. 3600 AAAA 2001:db8::12\n"},
		{"host in another case than its owner", "mixed.example. MX",
		 "NOERROR aa\n"
		 "an mixed.example. 3600 MX 5 MAIL.example.\n"
		 "ar MAIL.example. 3600 A 192.0.2.2\n"},
		{"one host named twice", "twice.example. MX",
		 "NOERROR aa\n"
		 "an twice.example. 3600 MX 1 mail.example.\n"
		 "an twice.example. 3600 MX 2 mail.example.\n"
		 "ar mail.example. 3600 A 192.0.2.2\n"},
		{"SRV: target not compressed, its address added", "srv.example. SRV",
		 "NOERROR aa\n"
		 "an srv.example. 3600 SRV 1 2 3 mail.example.\n"
		 "ar mail.example. 3600 A 192.0.2.2\n"},
		{"SRV at a host below a cut", "srvcut.example. SRV",
		 "NOERROR aa\n"
		 "an srvcut.example. 3600 SRV 1 2 3 ns1.sub.example.\n"},
		{"HTTPS", "https.example. HTTPS",
		 "NOERROR aa\n"
		 "an https.example. 3600 HTTPS 1 mail.example. alpn=\"h2\"\n"
		 "ar mail.example. 3600 A 192.0.2.2\n"},
		{"HTTPS in alias mode", "alias.example. HTTPS",
		 "NOERROR aa\n"
		 "an alias.example. 3600 HTTPS 0 mail.example.\n"
		 "ar mail.example. 3600 A 192.0.2.2\n"},
		{"ANY: one RRset (RFC 8482)", "a.example. ANY",
		 "NOERROR aa\n"
		 "an a.example. 3600 A 192.0.2.3\n"
		 "an a.example. 3600 A 192.0.2.33\n"},
		{"ANY at an alias is not followed", "cn.example. ANY",
		 "NOERROR aa\n"
		 "an cn.example. 3600 CNAME a.example.\n"},
	};
	struct answer_env env = fixture_env(example_db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_negative(void **state)
{
	(void)state;
	static const struct answer_case cases[] = {
		{"no data: the negative TTL", "a.example. MX", "NOERROR aa\n" SOA},
		{"no such name", "nope.example. A", "NXDOMAIN aa\n" SOA},
		{"below a leaf", "x.y.a.example. A", "NXDOMAIN aa\n" SOA},
		{"empty non-terminal", "b.ent.example. A", "NOERROR aa\n" SOA},
		{"below an empty non-terminal", "c.b.ent.example. A", "NXDOMAIN aa\n" SOA},
		{"DS at an apex without a parent here", "example. DS", "NOERROR aa\n" SOA},
		{"RRSIG where there is none", "a.example. RRSIG", "NOERROR aa\n" SOA},
		{"NSEC where there is none", "a.example. NSEC", "NOERROR aa\n" SOA},
		{"an unknown type", "a.example. TYPE65280", "NOERROR aa\n" SOA},
		{"type zero", "a.example. TYPE0", "NOERROR aa\n" SOA},
		{"ANY at an empty non-terminal", "ent.example. ANY", "NOERROR aa\n" SOA},
		{"a zone not served", "www.elsewhere. A edns", "REFUSED\nedns 1232 ede=20\n"},
		{"the root, not served", ". NS", "REFUSED\n"},
	};
	struct answer_env env = fixture_env(example_db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_referrals(void **state)
{
	(void)state;
	static const struct answer_case cases[] = {
		{"at the cut", "sub.example. NS", "NOERROR\n" SUB_REFERRAL},
		{"below the cut", "www.sub.example. A", "NOERROR\n" SUB_REFERRAL},
		{"ANY at the cut", "sub.example. ANY", "NOERROR\n" SUB_REFERRAL},
		{"glue asked for", "ns1.sub.example. A", "NOERROR\n" SUB_REFERRAL},
		{"without glue", "sub2.example. A",
		 "NOERROR\n"
		 "ns sub2.example. 3600 NS ns.other.\n"},
		{"glue of a sibling; what is occluded is not answered", "www.sub3.example. A",
		 "NOERROR\n"
		 "ns sub3.example. 3600 NS ns1.sub.example.\n"
		 "ar ns1.sub.example. 3600 A 192.0.2.11\n"},
		{"a cut below a cut counts for nothing", "x.deep.sub3.example. A",
		 "NOERROR\n"
		 "ns sub3.example. 3600 NS ns1.sub.example.\n"
		 "ar ns1.sub.example. 3600 A 192.0.2.11\n"},
		{"DS at the cut", "sec.example. DS",
		 "NOERROR aa\n"
		 "an sec.example. 3600 DS 12345 13 2 "
		 "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F\n"},
		{"no DS at the cut", "sub.example. DS", "NOERROR aa\n" SOA},
		{"DS below the cut", "x.sub.example. DS", "NOERROR\n" SUB_REFERRAL},
		{"no DS without DO", "sec.example. A",
		 "NOERROR\n"
		 "ns sec.example. 3600 NS ns1.sec.example.\n"
		 "ar ns1.sec.example. 3600 A 192.0.2.21\n"},
	};
	struct answer_env env = fixture_env(example_db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_chains(void **state)
{
	(void)state;
	static const struct answer_case cases[] = {
		{"one step", "cn.example. AAAA",
		 "NOERROR aa\n"
		 "an cn.example. 3600 CNAME a.example.\n"
		 "an a.example. 3600 AAAA 2001:db8::3\n"},
		{"two steps", "cn2.example. TXT",
		 "NOERROR aa\n"
		 "an cn2.example. 3600 CNAME cn.example.\n"
		 "an cn.example. 3600 CNAME a.example.\n"
		 "an a.example. 3600 TXT \"one\" \"two\"\n"},
		{"the alias itself", "cn.example. CNAME",
		 "NOERROR aa\n"
		 "an cn.example. 3600 CNAME a.example.\n"},
		{"to a wildcard", "cn3.example. TXT",
		 "NOERROR aa\n"
		 "an cn3.example. 3600 CNAME x.wild.example.\n"
		 "an x.wild.example. 3600 TXT \"wild\"\n"},
		{"to nothing", "cnx.example. A",
		 "NXDOMAIN aa\n"
		 "an cnx.example. 3600 CNAME nope.example.\n" SOA},
		{"to a name without the type", "cnd.example. TXT",
		 "NOERROR aa\n"
		 "an cnd.example. 3600 CNAME mail.example.\n" SOA},
		{"to a cut", "cncut.example. A",
		 "NOERROR aa\n"
		 "an cncut.example. 3600 CNAME x.sub.example.\n" SUB_REFERRAL},
		{"out of all zones", "cnout.example. A",
		 "NOERROR aa\n"
		 "an cnout.example. 3600 CNAME www.elsewhere.\n"},
		{"a loop of two", "loop1.example. A",
		 "NOERROR aa\n"
		 "an loop1.example. 3600 CNAME loop2.example.\n"
		 "an loop2.example. 3600 CNAME loop1.example.\n"},
		{"a loop of one", "self.example. A",
		 "NOERROR aa\n"
		 "an self.example. 3600 CNAME self.example.\n"},
		{"a loop through a wildcard", "a.wl.example. A",
		 "NOERROR aa\n"
		 "an a.wl.example. 3600 CNAME x.y.wl.example.\n"
		 "an x.y.wl.example. 3600 CNAME x.y.wl.example.\n"},
	};
	struct answer_env env = fixture_env(example_db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_wildcards(void **state)
{
	(void)state;
	static const struct answer_case cases[] = {
		{"one label", "x.wild.example. A",
		 "NOERROR aa\n"
		 "an x.wild.example. 3600 A 192.0.2.9\n"},
		{"several labels", "x.y.Z.wild.example. TXT",
		 "NOERROR aa\n"
		 "an x.y.Z.wild.example. 3600 TXT \"wild\"\n"},
		{"without the type", "x.wild.example. MX", "NOERROR aa\n" SOA},
		{"itself", "*.wild.example. A",
		 "NOERROR aa\n"
		 "an *.wild.example. 3600 A 192.0.2.9\n"},
		{"its parent exists", "wild.example. A", "NOERROR aa\n" SOA},
		{"a name that exists is not covered", "here.wild.example. A", "NOERROR aa\n" SOA},
		{"nor what is below it", "x.here.wild.example. A", "NXDOMAIN aa\n" SOA},
		{"an alias", "x.wc.example. AAAA",
		 "NOERROR aa\n"
		 "an x.wc.example. 3600 CNAME a.example.\n"
		 "an a.example. 3600 AAAA 2001:db8::3\n"},
		{"an empty non-terminal", "x.went.example. A", "NOERROR aa\n" SOA},
		{"below a wildcard that is an empty non-terminal", "www.x.went.example. A",
		 "NOERROR aa\n" SOA},
		{"below the wildcard itself", "www.*.went.example. A",
		 "NOERROR aa\n"
		 "an www.*.went.example. 3600 A 192.0.2.10\n"},
		{"ANY", "x.wild.example. ANY",
		 "NOERROR aa\n"
		 "an x.wild.example. 3600 A 192.0.2.9\n"},
	};
	struct answer_env env = fixture_env(example_db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

#define X7(c)  c c c c c c c
#define X63(c) X7(c) X7(c) X7(c) X7(c) X7(c) X7(c) X7(c) X7(c) X7(c)

static void test_dnames(void **state)
{
	(void)state;
	static const struct answer_case cases[] = {
		{"to a name", "x.d.example. A",
		 "NOERROR aa\n"
		 "an d.example. 3600 DNAME target.example.\n"
		 "an x.d.example. 3600 CNAME x.target.example.\n"
		 "an x.target.example. 3600 A 192.0.2.5\n"},
		{"to nothing", "y.z.d.example. A",
		 "NXDOMAIN aa\n"
		 "an d.example. 3600 DNAME target.example.\n"
		 "an y.z.d.example. 3600 CNAME y.z.target.example.\n" SOA},
		{"its owner is itself", "d.example. TXT",
		 "NOERROR aa\n"
		 "an d.example. 3600 TXT \"beside\"\n"},
		{"its owner has no such type", "d.example. A", "NOERROR aa\n" SOA},
		{"asked for", "d.example. DNAME",
		 "NOERROR aa\n"
		 "an d.example. 3600 DNAME target.example.\n"},
		{"the synthesised CNAME answers a question for it", "x.d.example. CNAME",
		 "NOERROR aa\n"
		 "an d.example. 3600 DNAME target.example.\n"
		 "an x.d.example. 3600 CNAME x.target.example.\n"},
		{"to itself: ends where it began", "x.dloop.example. A",
		 "NOERROR aa\n"
		 "an dloop.example. 3600 DNAME dloop.example.\n"
		 "an x.dloop.example. 3600 CNAME x.dloop.example.\n"},
		{"to a cut", "x.dcut.example. A",
		 "NOERROR aa\n"
		 "an dcut.example. 3600 DNAME sub.example.\n"
		 "an x.dcut.example. 3600 CNAME x.sub.example.\n" SUB_REFERRAL},
		{"too long (RFC 6672 2.2)", X63("x") ".dlong.example. A",
		 "YXDOMAIN aa\n"
		 "an dlong.example. 3600 DNAME " X63("a") "." X63("b") "." X63("c") ".example.\n"},
	};
	struct answer_env env = fixture_env(example_db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

/* Several zones here: both sides of a cut, and chains from one to another. */
static void test_many_zones(void **state)
{
	(void)state;
	static const char sub_text[] = "$ORIGIN sub.example.\n$TTL 600\n"
				       "@ SOA ns1 host 3 1 1 1 60\n@ NS ns1\n"
				       "ns1 A 192.0.2.11\n"
				       "x A 192.0.2.12\n"
				       "back CNAME a.example.\n";
	static const char other_text[] = "$ORIGIN elsewhere.\n$TTL 900\n"
					 "@ SOA ns host 5 1 1 1 30\n@ NS ns\n"
					 "ns A 192.0.2.90\n"
					 "www CNAME cn.example.\n"
					 "far CNAME www.unloaded.\n";
	static const struct answer_case cases[] = {
		{"the child answers below the cut", "x.sub.example. A",
		 "NOERROR aa\n"
		 "an x.sub.example. 600 A 192.0.2.12\n"},
		{"the child's NS at the cut", "sub.example. NS",
		 "NOERROR aa\n"
		 "an sub.example. 600 NS ns1.sub.example.\n"
		 "ar ns1.sub.example. 600 A 192.0.2.11\n"},
		{"DS from the parent", "sub.example. DS", "NOERROR aa\n" SOA},
		{"DS below the child's apex", "x.sub.example. DS",
		 "NOERROR aa\n"
		 "ns sub.example. 60 SOA ns1.sub.example. host.sub.example. 3 1 1 1 60\n"},
		{"an alias into the child", "cncut.example. A",
		 "NOERROR aa\n"
		 "an cncut.example. 3600 CNAME x.sub.example.\n"
		 "an x.sub.example. 600 A 192.0.2.12\n"},
		{"no data in the child", "cncut.example. TXT",
		 "NOERROR aa\n"
		 "an cncut.example. 3600 CNAME x.sub.example.\n"
		 "ns sub.example. 60 SOA ns1.sub.example. host.sub.example. 3 1 1 1 60\n"},
		{"out and back", "cnout.example. TXT",
		 "NOERROR aa\n"
		 "an cnout.example. 3600 CNAME www.elsewhere.\n"
		 "an www.elsewhere. 900 CNAME cn.example.\n"
		 "an cn.example. 3600 CNAME a.example.\n"
		 "an a.example. 3600 TXT \"one\" \"two\"\n"},
		{"a zone that never loaded", "unloaded. SOA edns", "SERVFAIL\nedns 1232 ede=14\n"},
		{"an alias into it", "far.elsewhere. A",
		 "NOERROR aa\n"
		 "an far.elsewhere. 900 CNAME www.unloaded.\n"},
	};
	struct zone sub, other, unloaded;
	struct zone *zones[] = {&unloaded, &other, &example_zone, &sub};
	struct version *sub_version = fixture_version("sub.example.", sub_text, false, false);
	struct version *other_version = fixture_version("elsewhere.", other_text, false, false);
	struct zonedb *db;
	fixture_zone(&sub, "sub.example.", sub_version);
	fixture_zone(&other, "elsewhere.", other_version);
	fixture_zone(&unloaded, "unloaded.", NULL);
	assert_int_equal(zonedb_new(zones, 4, &db), ST_OK);
	struct answer_env env = fixture_env(db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
	zonedb_free(db);
	version_unref(sub_version);
	version_unref(other_version);
}

/* The root: names without labels stand in every section. */
static void test_root_zone(void **state)
{
	(void)state;
	static const char text[] = "$ORIGIN .\n$TTL 100\n"
				   "@ SOA a.ns. host. 1 1 1 1 50\n@ NS a.ns.\n@ MX 0 .\n"
				   "a.ns. A 192.0.2.1\ntop. NS ns.top.\nns.top. A 192.0.2.2\n";
	static const struct answer_case cases[] = {
		{"apex", ". NS", "NOERROR aa\nan . 100 NS a.ns.\nar a.ns. 100 A 192.0.2.1\n"},
		{"name in RDATA", ". MX", "NOERROR aa\nan . 100 MX 0 .\n"},
		{"no such name", "nope. A", "NXDOMAIN aa\nns . 50 SOA a.ns. host. 1 1 1 1 50\n"},
		{"DS of the root", ". DS", "NOERROR aa\nns . 50 SOA a.ns. host. 1 1 1 1 50\n"},
		{"referral", "www.top. A",
		 "NOERROR\nns top. 100 NS ns.top.\nar ns.top. 100 A 192.0.2.2\n"},
	};
	struct zone root;
	struct zone *zones[] = {&root};
	struct version *v = fixture_version(".", text, false, false);
	struct zonedb *db;
	fixture_zone(&root, ".", v);
	assert_int_equal(zonedb_new(zones, 1, &db), ST_OK);
	struct answer_env env = fixture_env(db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
	zonedb_free(db);
	version_unref(v);
}

/* 16 names are looked up for one question, whatever waits behind them. */
static void test_long_chain(void **state)
{
	(void)state;
	static char text[8192];
	static char buf[RESPOND_TEXT_MAX];
	char *p = text + sprintf(text, "$ORIGIN long.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n"
				       "ns A 192.0.2.1\n");
	for (unsigned i = 0; i < 40; i++) {
		p += sprintf(p, "c%u CNAME c%u\nd%u DNAME d%u\n", i, i + 1, i, i + 1);
	}
	sprintf(p, "c40 A 192.0.2.4\n");
	struct zone zone;
	struct zone *zones[] = {&zone};
	struct version *v = fixture_version("long.", text, false, false);
	struct zonedb *db;
	fixture_zone(&zone, "long.", v);
	assert_int_equal(zonedb_new(zones, 1, &db), ST_OK);
	struct answer_env env = fixture_env(db);

	const char *reply = respond(&env, "c0.long. A tcp", buf);
	assert_non_null(strstr(reply, "NOERROR aa\nan c0.long. 60 CNAME c1.long.\n"));
	assert_non_null(strstr(reply, "an c15.long. 60 CNAME c16.long.\n"));
	assert_null(strstr(reply, "an c16.long."));
	assert_null(strstr(reply, "SOA"));
	reply = respond(&env, "c25.long. A tcp", buf);
	assert_non_null(strstr(reply, "an c40.long. 60 A 192.0.2.4\n"));
	reply = respond(&env, "x.d0.long. A tcp", buf);
	assert_non_null(strstr(reply, "an x.d15.long. 60 CNAME x.d16.long.\n"));
	assert_null(strstr(reply, "an d16.long."));
	zonedb_free(db);
	version_unref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_positive),   cmocka_unit_test(test_negative),
		cmocka_unit_test(test_referrals),  cmocka_unit_test(test_chains),
		cmocka_unit_test(test_wildcards),  cmocka_unit_test(test_dnames),
		cmocka_unit_test(test_many_zones), cmocka_unit_test(test_root_zone),
		cmocka_unit_test(test_long_chain),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, setup, teardown);
	rcu_thread_unregister();
	return failed;
}
