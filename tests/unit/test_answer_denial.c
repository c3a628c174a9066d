/* Answers of signed zones: signatures and proofs by NSEC (RFC 4035 3.1.3) and NSEC3 (RFC 5155 7.2).
 * Lines of a reply are compared as a set: their order within a section is free. */
#include "answer_zones.h"
#include "respond.h"

#define SOA                                                                                        \
	"ns example. 300 SOA ns1.example. host.example. 7 7200 3600 1209600 300\n"                 \
	"ns example. 300 RRSIG SOA\n"

enum chain {
	PLAIN,
	NSEC,
	NSEC3,
	OPTOUT,
	CHAINS,
};

static struct version *versions[CHAINS];
static struct zone zones[CHAINS];
static struct zonedb *dbs[CHAINS];

static int setup(void **state)
{
	(void)state;
	static const char *const additions[CHAINS] = {"", ZONE_NSEC, ZONE_NSEC3, ZONE_OPTOUT};
	static char text[32768];
	for (unsigned i = 0; i < CHAINS; i++) {
		struct zone *list[] = {&zones[i]};
		snprintf(text, sizeof(text), "%s%s", ZONE_BASE, additions[i]);
		versions[i] = fixture_version("example.", text, i != PLAIN, false);
		if (i != PLAIN) {
			fixture_sign(versions[i]);
		}
		fixture_zone(&zones[i], "example.", versions[i]);
		assert_int_equal(zonedb_new(list, 1, &dbs[i]), ST_OK);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CHAINS; i++) {
		zonedb_free(dbs[i]);
		version_unref(versions[i]);
	}
	return 0;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t split_lines(char *text, char **lines, size_t max)
{
	size_t count = 0;
	char *save = NULL;
	for (char *l = strtok_r(text, "\n", &save); l != NULL; l = strtok_r(NULL, "\n", &save)) {
		assert_true(count < max);
		lines[count++] = l;
	}
	qsort(lines, count, sizeof(*lines), compare_lines);
	return count;
}

static bool same_lines(const char *a, const char *b)
{
	char copy_a[8192];
	char copy_b[8192];
	char *lines_a[64];
	char *lines_b[64];
	snprintf(copy_a, sizeof(copy_a), "%s", a);
	snprintf(copy_b, sizeof(copy_b), "%s", b);
	size_t n = split_lines(copy_a, lines_a, 64);
	if (n != split_lines(copy_b, lines_b, 64)) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(lines_a[i], lines_b[i]) != 0) {
			return false;
		}
	}
	return true;
}

struct denial_case {
	const char *name;
	const char *question;
	const char *reply;
};

static void run_cases(enum chain chain, const struct denial_case *cases, size_t count)
{
	static char buf[RESPOND_TEXT_MAX];
	struct answer_env env = fixture_env(dbs[chain]);
	unsigned failed = 0;
	for (size_t i = 0; i < count; i++) {
		char want[8192];
		bool dnssec = strstr(cases[i].question, " do") != NULL;
		snprintf(want, sizeof(want), "%s%s", cases[i].reply,
			 dnssec ? "edns 1232 do\n" : "");
		const char *reply = respond(&env, cases[i].question, buf);
		if (!same_lines(want, reply)) {
			print_error("%s: %s\nexpected:\n%sgot:\n%s\n", cases[i].name,
				    cases[i].question, want, reply);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

#define SIGNED(section, owner, ttl, type, rdata)                                                   \
	section " " owner " " ttl " " type " " rdata "\n" section " " owner " " ttl " RRSIG " type \
		"\n"
#define NSEC_OF(owner, rest) SIGNED("ns", owner, "300", "NSEC", rest)

#define NSEC_APEX  NSEC_OF("example.", "a.example. NS SOA MX RRSIG NSEC DNSKEY")
#define NSEC_MAIL  NSEC_OF("mail.example.", "Mixed.example. A RRSIG NSEC")
#define NSEC_MIXED NSEC_OF("mixed.example.", "ns1.example. MX RRSIG NSEC")
#define NSEC_WILD  NSEC_OF("*.wild.example.", "here.wild.example. A TXT RRSIG NSEC")
#define NSEC_SUB   NSEC_OF("sub.example.", "sub2.example. NS RRSIG NSEC")
#define NSEC_EEE   NSEC_OF("e.e.e.example.", "a.b.ent.example. NS RRSIG NSEC")
#define NSEC_WENT  NSEC_OF("*.wc.example.", "www.*.went.example. CNAME RRSIG NSEC")

static void test_nsec(void **state)
{
	(void)state;
	static const struct denial_case cases[] = {
		{"signed answer", "a.example. A do",
		 "NOERROR aa\n"
		 "an a.example. 3600 A 192.0.2.3\n"
		 "an a.example. 3600 A 192.0.2.33\n"
		 "an a.example. 3600 RRSIG A\n"},
		{"nothing of it without DO", "a.example. TXT edns",
		 "NOERROR aa\n"
		 "an a.example. 3600 TXT \"one\" \"two\"\n"
		 "edns 1232\n"},
		{"no data", "mail.example. TXT do", "NOERROR aa\n" SOA NSEC_MAIL},
		{"no data without DO", "mail.example. TXT",
		 "NOERROR aa\n"
		 "ns example. 300 SOA ns1.example. host.example. 7 7200 3600 1209600 300\n"},
		{"no such name: the name and the wildcard", "nope.example. A do",
		 "NXDOMAIN aa\n" SOA NSEC_APEX NSEC_MIXED},
		{"one NSEC for both", "nope.mail.example. A do", "NXDOMAIN aa\n" SOA NSEC_MAIL},
		{"empty non-terminal", "b.ent.example. A do", "NOERROR aa\n" SOA NSEC_EEE},
		{"below an empty non-terminal", "c.b.ent.example. A do",
		 "NXDOMAIN aa\n" SOA NSEC_EEE NSEC_OF("a.b.ent.example.",
						      "https.example. A RRSIG NSEC")},
		{"wildcard", "x.wild.example. TXT do",
		 "NOERROR aa\n" SIGNED("an", "x.wild.example.", "3600", "TXT", "\"wild\"")
			 NSEC_OF("here.wild.example.", "*.wl.example. MX RRSIG NSEC")},
		{"wildcard asked for by its own name", "*.wild.example. TXT do",
		 "NOERROR aa\n" SIGNED("an", "*.wild.example.", "3600", "TXT", "\"wild\"")},
		{"wildcard without the type", "b.wild.example. MX do",
		 "NOERROR aa\n" SOA NSEC_WILD},
		{"the same, two NSEC", "x.wild.example. MX do",
		 "NOERROR aa\n" SOA NSEC_WILD NSEC_OF("here.wild.example.",
						      "*.wl.example. MX RRSIG NSEC")},
		{"wildcard that is an empty non-terminal", "x.went.example. A do",
		 "NOERROR aa\n" SOA NSEC_WENT NSEC_OF("www.*.went.example.",
						      "*.wild.example. A RRSIG NSEC")},
		{"wildcard alias to no data: both proofs", "x.wc.example. MX do",
		 "NOERROR aa\n" SIGNED("an", "x.wc.example.", "3600", "CNAME", "a.example.")
			 SOA NSEC_WENT NSEC_OF("a.example.",
					       "alias.example. A TXT AAAA RRSIG NSEC")},
		{"alias to nothing", "cnx.example. A do",
		 "NXDOMAIN aa\n" SIGNED("an", "cnx.example.", "3600", "CNAME", "nope.example.")
			 SOA NSEC_APEX NSEC_MIXED},
		{"signed DNAME, unsigned CNAME", "x.d.example. A do",
		 "NOERROR aa\n" SIGNED("an", "d.example.", "3600", "DNAME",
				       "target.example.") "an x.d.example. 3600 CNAME "
							  "x.target.example.\n" SIGNED(
								  "an",
								  "x.target."
								  "example.",
								  "3600", "A", "192.0.2.5")},
		{"insecure referral", "x.sub.example. A do",
		 "NOERROR\n"
		 "ns sub.example. 3600 NS ns1.sub.example.\n"
		 "ns sub.example. 3600 NS ns2.sub.example.\n" NSEC_SUB
		 "ar ns1.sub.example. 3600 A 192.0.2.11\n"
		 "ar ns2.sub.example. 3600 AAAA 2001:db8::12\n"},
		{"secure referral", "x.sec.example. A do",
		 "NOERROR\n"
		 "ns sec.example. 3600 NS ns1.sec.example.\n" SIGNED("ns", "sec.example.", "3600",
								     "DS",
								     "12345 13 2 "
								     "000102030405060708090A0B0C0D0"
								     "E0F101112131415161718191A1B1C"
								     "1D1E1F") "ar "
									       "ns1.sec.example. "
									       "3600 A "
									       "192.0.2.21\n"},
		{"no DS at the cut", "sub.example. DS do", "NOERROR aa\n" SOA NSEC_SUB},
		{"NSEC asked for", "mail.example. NSEC do",
		 "NOERROR aa\n" SIGNED("an", "mail.example.", "300", "NSEC",
				       "Mixed.example. A RRSIG NSEC")},
		{"NSEC asked for without DO", "mail.example. NSEC",
		 "NOERROR aa\n"
		 "an mail.example. 300 NSEC Mixed.example. A RRSIG NSEC\n"},
		{"RRSIG: those of one RRset", "a.example. RRSIG do",
		 "NOERROR aa\n"
		 "an a.example. 3600 RRSIG A\n"},
		{"RRSIG without DO", "a.example. RRSIG",
		 "NOERROR aa\n"
		 "an a.example. 3600 RRSIG A\n"},
		{"RRSIG at an empty non-terminal", "b.ent.example. RRSIG do",
		 "NOERROR aa\n" SOA NSEC_EEE},
		{"ANY: one RRset", "mail.example. ANY do",
		 "NOERROR aa\n" SIGNED("an", "mail.example.", "3600", "A", "192.0.2.2")},
		{"addresses with their signatures, glue without", "example. NS do",
		 "NOERROR aa\n"
		 "an example. 3600 NS ns1.example.\n"
		 "an example. 3600 NS ns2.sub.example.\n"
		 "an example. 3600 RRSIG NS\n" SIGNED("ar", "ns1.example.", "3600", "A",
						      "192.0.2.1")
			 SIGNED("ar", "ns1.example.", "3600", "AAAA",
				"2001:db8::1") "ar ns2.sub.example. 3600 AAAA 2001:db8::12\n"},
	};
	run_cases(NSEC, cases, sizeof(cases) / sizeof(cases[0]));
}

/* A zone without signatures is the same with DO as without. */
static void test_unsigned(void **state)
{
	(void)state;
	static const struct denial_case cases[] = {
		{"no such name", "nope.example. A do",
		 "NXDOMAIN aa\n"
		 "ns example. 300 SOA ns1.example. host.example. 7 7200 3600 1209600 300\n"},
		{"referral with a DS", "x.sec.example. A do",
		 "NOERROR\n"
		 "ns sec.example. 3600 NS ns1.sec.example.\n"
		 "ar ns1.sec.example. 3600 A 192.0.2.21\n"},
	};
	run_cases(PLAIN, cases, sizeof(cases) / sizeof(cases[0]));
}

/* Which NSEC3 records go with an answer, told by what they say of the names they are there for. */
struct nsec3_case {
	const char *name;
	const char *question;
	const char *start;	/* of the reply */
	const char *matched[3]; /* names whose own NSEC3 must be there */
	const char *covered[3]; /* names that an NSEC3 must cover */
	unsigned count;		/* NSEC3 records in all */
};

/* The line that stands for the NSEC3 matching or covering a name. */
static bool has_nsec3(const char *reply, enum chain chain, const char *text, bool match)
{
	uint8_t name[NAME_MAX_LEN];
	char owner[NAME_TEXT_MAX];
	char line[NAME_TEXT_MAX + 32];
	size_t len;
	bool matches;
	assert_int_equal(name_from_text(text, strlen(text), NULL, name, &len, NULL), ST_OK);
	const struct node *n3 = version_nsec3(versions[chain], name, &matches);
	assert_non_null(n3);
	if (matches != match) {
		return false;
	}
	snprintf(line, sizeof(line), "\nns %s 300 NSEC3 ", name_to_text(node_name(n3), owner));
	return strstr(reply, line) != NULL;
}

static unsigned count_of(const char *text, const char *what)
{
	unsigned n = 0;
	for (const char *p = strstr(text, what); p != NULL; p = strstr(p + 1, what)) {
		n++;
	}
	return n;
}

static void run_nsec3_cases(enum chain chain, const struct nsec3_case *cases, size_t count)
{
	static char buf[RESPOND_TEXT_MAX];
	struct answer_env env = fixture_env(dbs[chain]);
	unsigned failed = 0;
	for (size_t i = 0; i < count; i++) {
		const struct nsec3_case *c = &cases[i];
		const char *reply = respond(&env, c->question, buf);
		bool ok = strncmp(reply, c->start, strlen(c->start)) == 0 &&
			  count_of(reply, " NSEC3 ") == c->count &&
			  count_of(reply, " RRSIG NSEC3\n") == c->count;
		for (unsigned k = 0; k < 3; k++) {
			ok = ok && (c->matched[k] == NULL ||
				    has_nsec3(reply, chain, c->matched[k], true));
			ok = ok && (c->covered[k] == NULL ||
				    has_nsec3(reply, chain, c->covered[k], false));
		}
		if (!ok) {
			print_error("%s: %s got:\n%s\n", c->name, c->question, reply);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

static void test_nsec3(void **state)
{
	(void)state;
	static const struct nsec3_case cases[] = {
		{"no such name (7.2.2)", "x.none.example. A do", "NXDOMAIN aa\nns example. 300 SOA",
		 .matched = {"example."}, .covered = {"none.example.", "*.example."}, .count = 3},
		{"no data (7.2.3)", "mail.example. TXT do", "NOERROR aa\nns example. 300 SOA",
		 .matched = {"mail.example."}, .count = 1},
		{"empty non-terminal", "b.ent.example. A do", "NOERROR aa\nns example. 300 SOA",
		 .matched = {"b.ent.example."}, .count = 1},
		{"no DS (7.2.4)", "sub.example. DS do", "NOERROR aa\nns example. 300 SOA",
		 .matched = {"sub.example."}, .count = 1},
		{"wildcard without the type (7.2.5)", "x.z.wild.example. MX do",
		 "NOERROR aa\nns example. 300 SOA", .matched = {"wild.example.", "*.wild.example."},
		 .covered = {"z.wild.example."}, .count = 3},
		{"wildcard (7.2.6)", "x.y.wild.example. TXT do",
		 "NOERROR aa\nan x.y.wild.example. 3600 TXT \"wild\"\n",
		 .covered = {"y.wild.example."}, .count = 1},
		{"referral (7.2.7)", "x.sub.example. A do", "NOERROR\nns sub.example. 3600 NS",
		 .matched = {"sub.example."}, .count = 1},
		{"secure referral", "x.sec.example. A do", "NOERROR\nns sec.example. 3600 NS",
		 .count = 0},
		{"without DO", "x.nope.example. A", "NXDOMAIN aa\nns example. 300 SOA", .count = 0},
	};
	run_nsec3_cases(NSEC3, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_optout(void **state)
{
	(void)state;
	static const struct nsec3_case cases[] = {
		{"insecure referral in a span (7.2.7)", "x.sub.example. A do",
		 "NOERROR\nns sub.example. 3600 NS", .matched = {"example."},
		 .covered = {"sub.example."}, .count = 2},
		{"no DS in a span (7.2.4)", "sub.example. DS do", "NOERROR aa\nns example. 300 SOA",
		 .matched = {"example."}, .covered = {"sub.example."}, .count = 2},
		{"an empty non-terminal that only an insecure cut makes", "e.e.example. A do",
		 "NOERROR aa\nns example. 300 SOA", .matched = {"example."},
		 .covered = {"e.example."}, .count = 2},
		{"no such name below it: the provable encloser's wildcard", "x.e.e.example. A do",
		 "NXDOMAIN aa\nns example. 300 SOA", .matched = {"example."},
		 .covered = {"e.example.", "*.example."}, .count = 3},
		{"secure cuts are in the chain", "sec.example. DS do",
		 "NOERROR aa\nan sec.example. 3600 DS", .count = 0},
	};
	run_nsec3_cases(OPTOUT, cases, sizeof(cases) / sizeof(cases[0]));
}

/* RFC 5155 7.2.8: the owners of NSEC3 records are no names of the zone. */
static void test_nsec3_owner(void **state)
{
	(void)state;
	static char buf[RESPOND_TEXT_MAX];
	char owner[NAME_TEXT_MAX];
	char question[NAME_TEXT_MAX + 32];
	bool matches;
	struct answer_env env = fixture_env(dbs[NSEC3]);
	const struct node *n3 =
		version_nsec3(versions[NSEC3], versions[NSEC3]->apex_name, &matches);
	assert_non_null(n3);
	assert_true(matches);
	snprintf(question, sizeof(question), "%s NSEC3 do", name_to_text(node_name(n3), owner));
	const char *reply = respond(&env, question, buf);
	assert_memory_equal(reply, "NXDOMAIN aa\n", strlen("NXDOMAIN aa\n"));
	assert_true(has_nsec3(reply, NSEC3, "example.", true));
	assert_true(has_nsec3(reply, NSEC3, "*.example.", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nsec),	    cmocka_unit_test(test_unsigned),
		cmocka_unit_test(test_nsec3),	    cmocka_unit_test(test_optout),
		cmocka_unit_test(test_nsec3_owner),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, setup, teardown);
	rcu_thread_unregister();
	return failed;
}
