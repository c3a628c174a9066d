#include "zones/content.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

static const uint8_t apex[] = "\7example\3com";

struct checking {
	const char *what;
	const char *text;     /* after SOA, NS and the address of ns, which are on line 1 */
	const char *findings; /* NULL: none */
};

#define TOP "$TTL 1 ; \n@ SOA ns . 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"

static void check_text(struct content *c, struct diags *d, const char *text, bool signing)
{
	static const struct master_options opt = {0};
	struct check_options check = {.signing = signing};
	content_init(c, apex);
	diags_init(d, DIAGS_LIMIT);
	assert_int_equal(master_read_mem("z", text, strlen(text), &opt, c, d), ST_OK);
	assert_int_equal(content_sort(c), ST_OK);
	enum status st = content_check(c, &check, d);
	assert_int_equal(st, d->errors > 0 ? ST_EPARSE : ST_OK);
}

static void check_all(const struct checking *cases, size_t count, bool top, bool signing)
{
	for (size_t i = 0; i < count; i++) {
		struct content c;
		struct diags d;
		char text[4096];
		char out[4096] = "";
		size_t n = 0;
		snprintf(text, sizeof(text), "%s%s", top ? TOP : "", cases[i].text);
		check_text(&c, &d, text, signing);
		for (size_t j = 0; j < d.count; j++) {
			char buf[512];
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s\n",
					      diag_format(&d.items[j], buf, sizeof(buf)));
		}
		if (strcmp(out, cases[i].findings == NULL ? "" : cases[i].findings) != 0) {
			fail_msg("%s: found\n%s", cases[i].what, out);
		}
		content_fini(&c);
		diags_fini(&d);
	}
}

static void test_apex(void **state)
{
	(void)state;
	static const struct checking cases[] = {
		{"empty", "",
		 "z: error: example.com. has no SOA\nz: error: example.com. has no NS\n"},
		{"no SOA", "@ 1 NS a.\n", "z: error: example.com. has no SOA\n"},
		{"no NS", "@ 1 SOA a. a. 1 1 1 1 1\n", "z: error: example.com. has no NS\n"},
		{"minimal", "@ 1 SOA a. a. 1 1 1 1 1\n@ 1 NS a.\n", NULL},
		{"two SOA", "@ 1 SOA a. a. 2 1 1 1 1\n@ 1 SOA a. a. 1 1 1 1 1\n@ 1 NS a.\n",
		 "z:2:1: error: example.com. more than one SOA\n"},
		{"the same SOA twice",
		 "@ 1 SOA a. a. 1 1 1 1 1\n@ 1 SOA A. a. 1 1 1 1 1\n@ 1 NS a.\n", NULL},
		{"NS without address", "@ 1 SOA a. a. 1 1 1 1 1\n@ 1 NS a\n",
		 "z:2:1: error: example.com. NS: a.example.com. has no address\n"},
		{"NS is itself", "@ 1 SOA a. a. 1 1 1 1 1\n@ 1 NS @\n@ 1 A 1.1.1.1\n", NULL},
		{"NS is an alias", "@ 1 SOA a. a. 1 1 1 1 1\n@ 1 NS a\na 1 CNAME b.\n",
		 "z:2:1: error: example.com. NS: a.example.com. is an alias (CNAME)\n"},
	};
	check_all(cases, sizeof(cases) / sizeof(cases[0]), false, false);
}

static void test_errors(void **state)
{
	(void)state;
	static const struct checking cases[] = {
		{"SOA elsewhere", "x SOA a. a. 1 1 1 1 1\n",
		 "z:5:1: error: x.example.com. SOA below the top of the zone\n"},
		{"outside", "example.org. A 1.1.1.1\ncom. A 1.1.1.1\nbexample.com. A 1.1.1.1\n",
		 "z:6:1: error: com. is outside the zone\n"
		 "z:7:1: error: bexample.com. is outside the zone\n"
		 "z:5:1: error: example.org. is outside the zone\n"},
		{"CNAME and more", "x CNAME a.\nx A 1.1.1.1\nx TXT a\n",
		 "z:6:1: error: x.example.com. A beside a CNAME\n"
		 "z:7:1: error: x.example.com. TXT beside a CNAME\n"},
		{"CNAME at the top", "@ CNAME a.\n",
		 "z:3:1: error: example.com. NS beside a CNAME\n"
		 "z:2:1: error: example.com. SOA beside a CNAME\n"},
		{"what may stand beside a CNAME",
		 "x CNAME a.\nx NSEC y CNAME\nx RRSIG CNAME 1 1 1 1 1 1 . AA==\n", NULL},
		{"two CNAMEs", "x CNAME b.\nx CNAME a.\n",
		 "z:6:1: error: x.example.com. more than one CNAME\n"},
		{"the same CNAME twice", "x CNAME b.\nx CNAME B.\n", NULL},
		{"two DNAMEs", "x DNAME a.\nx DNAME b.\n",
		 "z:6:1: error: x.example.com. more than one DNAME\n"},
		{"below a DNAME", "x DNAME a.\na.x A 1.1.1.1\nb.a.x A 1.1.1.1\nxx A 1.1.1.1\n",
		 "z:6:1: error: a.x.example.com. lies below the DNAME at x.example.com.\n"
		 "z:7:1: error: b.a.x.example.com. lies below the DNAME at x.example.com.\n"},
		{"DNAME at the top", "@ DNAME a.\n",
		 "z:3:1: error: example.com. NS: ns.example.com. lies below a DNAME\n"
		 "z:4:1: error: ns.example.com. lies below the DNAME at example.com.\n"},
		{"NSEC3s under a DNAME at the top",
		 "@ DNAME a.\n"
		 "00000000000000000000000000000000 NSEC3 1 0 0 - "
		 "00000000000000000000000000000000 A\n"
		 "00000000000000000000000000000000 RRSIG NSEC3 13 3 3600 20300101000000 "
		 "20200101000000 1 @ AQID\n"
		 "10000000000000000000000000000000 NSEC3 1 0 0 - "
		 "00000000000000000000000000000000 A\n"
		 "10000000000000000000000000000000 TXT x\n",
		 "z:3:1: error: example.com. NS: ns.example.com. lies below a DNAME\n"
		 "z:9:1: error: 10000000000000000000000000000000.example.com. lies below the DNAME "
		 "at example.com.\n"
		 "z:4:1: error: ns.example.com. lies below the DNAME at example.com.\n"},
		{"DS at the top", "@ DS 1 1 99 00\n",
		 "z:5:1: error: example.com. DS at the top of the zone: it belongs to the "
		 "parent\n"},
	};
	check_all(cases, sizeof(cases) / sizeof(cases[0]), true, false);
}

static void test_warnings(void **state)
{
	(void)state;
	static const struct checking cases[] = {
		{"TTLs differ", "x 5 A 1.1.1.2\nx 4 A 1.1.1.1\nx 5 A 1.1.1.3\n",
		 "z:6:1: warning: x.example.com. A: TTL 4 differs from 5, that of the RRset's "
		 "first "
		 "record\n"},
		{"RRSIGs' TTLs may",
		 "x 1 A 1.1.1.1\nx 2 TXT a\nx 1 RRSIG A 1 1 1 1 1 1 . AA==\n"
		 "x 2 RRSIG TXT 1 1 1 1 1 1 . AA==\n",
		 NULL},
		{"MX", "@ MX 1 no\n@ MX 2 alias\nalias CNAME a.\n@ MX 3 a.\n@ MX 4 ns\n",
		 "z:5:1: warning: example.com. MX: no.example.com. has no address\n"
		 "z:6:1: warning: example.com. MX: alias.example.com. is an alias (CNAME)\n"},
		{"null MX", "@ MX 0 .\n", NULL},
		{"SRV", "a SRV 0 0 1 no\n SRV 0 0 1 .\n SRV 0 0 2 ns\n",
		 "z:5:1: warning: a.example.com. SRV: no.example.com. has no address\n"},
		{"a wildcard has the address",
		 "@ MX 1 a.b.w\n*.w A 1.1.1.1\n*.v TXT x\n@ MX 2 a.v\n",
		 "z:8:1: warning: example.com. MX: a.v.example.com. has no address\n"},
		{"a name that exists is no wildcard's", "@ MX 1 a.w\n*.w A 1.1.1.1\nx.a.w TXT x\n",
		 "z:5:1: warning: example.com. MX: a.w.example.com. has no address\n"},
		{"target below a DNAME", "@ MX 1 a.d\nd DNAME a.\n",
		 "z:5:1: warning: example.com. MX: a.d.example.com. lies below a DNAME\n"},
		{"target below a cut", "@ MX 1 a.s\ns NS a.\n", NULL},
		{"glue",
		 "s NS a.s\ns NS b.s\na.s AAAA ::1\nt NS a.s\nu NS u\nu A 1.1.1.1\nv NS v\n",
		 "z:6:1: warning: s.example.com. NS: b.s.example.com. has no address here, which "
		 "the "
		 "delegation needs (glue)\n"
		 "z:11:1: warning: v.example.com. NS: v.example.com. has no address here, which "
		 "the "
		 "delegation needs (glue)\n"},
		{"delegation to a name of ours", "s NS no\nt NS ns\n",
		 "z:5:1: warning: s.example.com. NS: no.example.com. has no address\n"},
		{"occluded",
		 "s NS a.\ns TXT x\ns DS 1 1 99 00\nx.s TXT x\nx.s A 1.1.1.1\nt.x.s NS b.\n",
		 "z:6:1: warning: s.example.com. TXT is never answered: s.example.com. is "
		 "delegated\n"
		 "z:8:1: warning: x.s.example.com. TXT is never answered: s.example.com. is "
		 "delegated\n"
		 "z:10:1: warning: t.x.s.example.com. NS is never answered: s.example.com. is "
		 "delegated\n"},
		{"behind a cut is not below it", "s NS a.\ns-x TXT x\nt TXT x\n", NULL},
		{"NS and DNAME", "s NS a.\ns DNAME a.\n",
		 "z:5:1: warning: s.example.com. NS beside a DNAME\n"},
		{"NS at a wildcard", "*.s NS a.\n",
		 "z:5:1: warning: *.s.example.com. NS at a wildcard\n"},
		{"RRSIG of nothing",
		 "x A 1.1.1.1\nx RRSIG A 1 1 1 1 1 1 . AA==\n"
		 "x RRSIG MX 1 1 1 1 1 1 . AA==\nx RRSIG MX 1 1 1 1 1 2 . AA==\n",
		 "z:7:1: warning: x.example.com. RRSIG of MX, which is not there\n"},
	};
	check_all(cases, sizeof(cases) / sizeof(cases[0]), true, false);
}

static void test_signing(void **state)
{
	(void)state;
	static const struct checking cases[] = {
		{"what the policy makes is left out, with one warning",
		 "x A 1.1.1.1\nx RRSIG A 1 1 1 1 1 1 . AA==\nx RRSIG MX 1 1 1 1 1 1 . AA==\n"
		 "x NSEC y A\n@ NSEC3PARAM 1 0 0 -\n@ ZONEMD 1 1 240 000102030405060708090A0B\n"
		 "aaaaaaaa NSEC3 1 0 0 - aaaaaaaa\n",
		 "z:9:1: warning: example.com. and others: 6 records of types RRSIG, NSEC, NSEC3, "
		 "NSEC3PARAM, ZONEMD left out, since the policy makes them\n"},
		{"keys are refused",
		 "@ DNSKEY 257 3 13 AAEC\n@ CDS 0 0 0 00\n@ CDNSKEY 0 3 0 AA==\n@ CDNSKEY 0 3 0 "
		 "AAAA\n",
		 "z:5:1: error: example.com. DNSKEY in a zone that a policy signs: it comes from "
		 "the "
		 "keys\n"
		 "z:6:1: error: example.com. CDS in a zone that a policy signs: it comes from the "
		 "keys\n"
		 "z:7:1: error: example.com. CDNSKEY in a zone that a policy signs: it comes from "
		 "the "
		 "keys\n"},
		{"nothing of that", "x A 1.1.1.1\ns NS a.\ns DS 1 1 99 00\n", NULL},
	};
	check_all(cases, sizeof(cases) / sizeof(cases[0]), true, true);
}

/* What is left after dropping is whole: no holes in records, sets that point at them. */
static void test_drop_leaves_no_holes(void **state)
{
	(void)state;
	struct content c;
	struct diags d;
	check_text(&c, &d,
		   TOP "@ RRSIG SOA 1 1 1 1 1 1 . AA==\na NSEC b A\na A 1.1.1.1\na A 1.1.1.2\n"
		       "a RRSIG A 1 1 1 1 1 1 . AA==\nb TXT x\n",
		   true);
	static const uint16_t types[] = {RR_NS, RR_SOA, RR_A, RR_A, RR_TXT, RR_A};
	assert_int_equal(c.record_count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(c.records[i].type, types[i]);
	}
	static const struct record_set sets[] = {{0, 1}, {1, 1}, {2, 2}, {4, 1}, {5, 1}};
	assert_int_equal(c.set_count, 5);
	assert_memory_equal(c.sets, sets, sizeof(sets));
	content_fini(&c);
	diags_fini(&d);
}

static void test_first_ttl_is_taken(void **state)
{
	(void)state;
	struct content c;
	struct diags d;
	check_text(&c, &d, TOP "a 7 A 1.1.1.9\na 8 A 1.1.1.1\na 9 A 1.1.1.5\n", false);
	assert_int_equal(d.warnings, 1);
	for (size_t i = 0; i < c.record_count; i++) {
		const struct record *r = &c.records[i];
		assert_int_equal(r->ttl, r->owner[0] == 1 ? 7 : 1);
	}
	content_fini(&c);
	diags_fini(&d);
}

/* From transfers, where no reader has looked. */
static void test_meta_types(void **state)
{
	(void)state;
	struct content c;
	struct diags d;
	struct check_options check = {0};
	content_init(&c, apex);
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(
		content_add(&c, apex, RR_OPT, 0, (struct bytes){apex, 0}, (struct place){0}),
		ST_OK);
	assert_int_equal(content_sort(&c), ST_OK);
	assert_int_equal(content_check(&c, &check, &d), ST_EPARSE);
	assert_int_equal(d.count, 3);
	assert_string_equal(d.items[2].text, "example.com. OPT may not stand in a zone");
	content_fini(&c);
	diags_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apex),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_signing),
		cmocka_unit_test(test_drop_leaves_no_holes),
		cmocka_unit_test(test_first_ttl_is_taken),
		cmocka_unit_test(test_meta_types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
