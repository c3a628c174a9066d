#include "version_fixture.h"

#include "nsd-core/base/text.h"

static const char zone_text[] =
	"$TTL 3600\n"
	"@ IN SOA ns hostmaster 7 3600 600 86400 300\n"
	"  NS ns\n"
	"ns A 192.0.2.1\n"
	"*.wild A 192.0.2.2\n"
	"host.wild A 192.0.2.3\n"
	"deep.empty.non.terminal A 192.0.2.4\n"
	"cut NS ns.cut\n"
	"cut DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000\n"
	"ns.cut A 192.0.2.5\n"
	"lower.cut NS ns.lower.cut\n"
	"ns.lower.cut A 192.0.2.6\n"
	"moved DNAME elsewhere.test.\n"
	"moved A 192.0.2.7\n"
	"under.moved A 192.0.2.8\n"
	"cut.under.moved NS ns\n"
	"*.*.star A 192.0.2.9\n"
	"x.*.star A 192.0.2.10\n"
	"* TXT \"top\"\n";

static const struct lookup_case {
	const char *name;
	bool ds;
	enum lookup_kind kind;
	const char *node;     /* NULL: none */
	const char *encloser; /* NULL: the node */
} lookup_cases[] = {
	{"z.test", false, LOOKUP_NODE, "z.test", NULL},
	{"Z.TEST", false, LOOKUP_NODE, "z.test", NULL},
	{"ns.z.test", false, LOOKUP_NODE, "ns.z.test", NULL},
	{"NS.z.TeSt", false, LOOKUP_NODE, "ns.z.test", NULL},
	{"a.ns.z.test", false, LOOKUP_NXDOMAIN, NULL, "ns.z.test"},
	{"a.b.c.ns.z.test", false, LOOKUP_NXDOMAIN, NULL, "ns.z.test"},
	{"none.z.test", false, LOOKUP_WILDCARD, "*.z.test", "z.test"},
	{"a.b.none.z.test", false, LOOKUP_WILDCARD, "*.z.test", "z.test"},
	{"*.z.test", false, LOOKUP_NODE, "*.z.test", NULL},
	{"a.*.z.test", false, LOOKUP_NXDOMAIN, NULL, "*.z.test"},
	{"wild.z.test", false, LOOKUP_NODE, "wild.z.test", NULL},
	{"a.wild.z.test", false, LOOKUP_WILDCARD, "*.wild.z.test", "wild.z.test"},
	{"b.a.wild.z.test", false, LOOKUP_WILDCARD, "*.wild.z.test", "wild.z.test"},
	{"host.wild.z.test", false, LOOKUP_NODE, "host.wild.z.test", NULL},
	/* A name that exists stops a wildcard further up (RFC 4592 2.2.1). */
	{"a.host.wild.z.test", false, LOOKUP_NXDOMAIN, NULL, "host.wild.z.test"},
	{"non.terminal.z.test", false, LOOKUP_NODE, "non.terminal.z.test", NULL},
	{"empty.non.terminal.z.test", false, LOOKUP_NODE, "empty.non.terminal.z.test", NULL},
	{"x.non.terminal.z.test", false, LOOKUP_NXDOMAIN, NULL, "non.terminal.z.test"},
	{"a.b.empty.non.terminal.z.test", false, LOOKUP_NXDOMAIN, NULL,
	 "empty.non.terminal.z.test"},
	{"cut.z.test", false, LOOKUP_CUT, "cut.z.test", NULL},
	{"cut.z.test", true, LOOKUP_NODE, "cut.z.test", NULL},
	{"ns.cut.z.test", false, LOOKUP_CUT, "cut.z.test", NULL},
	{"ns.cut.z.test", true, LOOKUP_CUT, "cut.z.test", NULL},
	{"a.b.cut.z.test", false, LOOKUP_CUT, "cut.z.test", NULL},
	/* The topmost cut is the zone's edge. */
	{"lower.cut.z.test", true, LOOKUP_CUT, "cut.z.test", NULL},
	{"ns.lower.cut.z.test", false, LOOKUP_CUT, "cut.z.test", NULL},
	{"x.ns.lower.cut.z.test", false, LOOKUP_CUT, "cut.z.test", NULL},
	{"moved.z.test", false, LOOKUP_NODE, "moved.z.test", NULL},
	{"a.moved.z.test", false, LOOKUP_DNAME, "moved.z.test", NULL},
	{"under.moved.z.test", false, LOOKUP_DNAME, "moved.z.test", NULL},
	{"cut.under.moved.z.test", false, LOOKUP_DNAME, "moved.z.test", NULL},
	{"a.cut.under.moved.z.test", true, LOOKUP_DNAME, "moved.z.test", NULL},
	{"*.star.z.test", false, LOOKUP_NODE, "*.star.z.test", NULL},
	{"q.star.z.test", false, LOOKUP_WILDCARD, "*.star.z.test", "star.z.test"},
	{"q.*.star.z.test", false, LOOKUP_WILDCARD, "*.*.star.z.test", "*.star.z.test"},
};

#define LOOKUP_CASES (sizeof(lookup_cases) / sizeof(lookup_cases[0]))

static void check_found(const struct lookup_case *c, const struct lookup *found)
{
	print_message("%s%s\n", c->name, c->ds ? " DS" : "");
	assert_int_equal(found->kind, c->kind);
	if (c->node == NULL) {
		assert_null(found->node);
	} else {
		assert_true(name_equal(node_name(found->node), wire(c->node).octets));
	}
	const char *encloser = c->encloser == NULL ? c->node : c->encloser;
	assert_true(name_equal(node_name(found->encloser), wire(encloser).octets));
}

static void test_lookup(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, zone_text);
	for (size_t i = 0; i < LOOKUP_CASES; i++) {
		struct wire_name name = wire(lookup_cases[i].name);
		struct lookup found;
		struct name_ref ref;
		name_ref_init(&ref, name.octets);
		version_lookup(v, &ref, lookup_cases[i].ds, &found);
		check_found(&lookup_cases[i], &found);
	}
	version_unref(v);
}

/* Side by side each finds what it finds alone, however many steps its neighbours take. */
static void test_lookup_many(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, zone_text);
	static struct wire_name names[LOOKUPS_MAX];
	static struct name_ref refs[LOOKUPS_MAX];
	for (size_t from = 0; from < LOOKUP_CASES; from++) {
		struct lookup_job jobs[LOOKUPS_MAX] = {0};
		struct lookup_job *list[LOOKUPS_MAX];
		size_t count = 1 + from % LOOKUPS_MAX;
		for (size_t i = 0; i < count; i++) {
			const struct lookup_case *c = &lookup_cases[(from + 5 * i) % LOOKUP_CASES];
			names[i] = wire(c->name);
			name_ref_init(&refs[i], names[i].octets);
			jobs[i] = (struct lookup_job){.version = v, .name = &refs[i], .ds = c->ds};
			list[i] = &jobs[i];
		}
		version_lookup_many(list, count);
		for (size_t i = 0; i < count; i++) {
			check_found(&lookup_cases[(from + 5 * i) % LOOKUP_CASES], &jobs[i].found);
		}
	}
	version_unref(v);
}

/* The longest names there are, with a closest encloser whose wildcard would not fit. */
static void test_lookup_longest_names(void **state)
{
	(void)state;
	uint8_t longest[NAME_MAX_LEN];
	struct version *v = version_of("z.test", NULL, zone_text);
	struct wire_name apex = wire("z.test");
	size_t at = 0;
	/* Labels of one octet: as many as a name can have. */
	for (; at + 2 + apex.len <= NAME_MAX_LEN; at += 2) {
		longest[at] = 1;
		longest[at + 1] = 'q';
	}
	memcpy(longest + at, apex.octets, apex.len);
	struct name_ref ref;
	struct lookup found;
	name_ref_init(&ref, longest);
	version_lookup(v, &ref, false, &found);
	assert_int_equal(found.kind, LOOKUP_WILDCARD);

	struct draft *d;
	assert_int_equal(draft_new(apex.octets, v, &d), ST_OK);
	assert_int_equal(draft_put(d, longest, rrset_valued(RR_A, 1)), ST_OK);
	struct version *w = freeze(d, DENIAL_NONE);
	draft_free(d);
	version_lookup(w, &ref, false, &found);
	assert_int_equal(found.kind, LOOKUP_NODE);
	/* Another first label; the encloser is two octets shorter than a name may be. */
	longest[1] = 'r';
	name_ref_init(&ref, longest);
	version_lookup(w, &ref, false, &found);
	assert_int_equal(found.kind, LOOKUP_NXDOMAIN);
	assert_int_equal(found.encloser->labels + 1, ref.labels);
	version_unref(w);
	version_unref(v);
}

static void test_fields(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, zone_text);
	assert_int_equal(v->serial, 7);
	assert_int_equal(v->negative_ttl, 300);
	assert_true(v->soa_is_short);
	assert_int_equal(v->soa_own[0], 3);
	assert_int_equal(v->soa_own[1], 11);
	assert_int_equal(v->apex_labels, 2);
	assert_true(name_equal(v->apex_name, wire("z.test").octets));
	assert_ptr_equal(node_rrset(v->apex, RR_SOA), v->soa);
	assert_null(node_rrset(v->apex, RR_A));
	assert_int_equal(v->denial, DENIAL_NONE);
	assert_int_equal(v->chain.count, 0);
	assert_int_equal(v->record_count, 18);
	assert_int_equal(v->name_count, 15);
	assert_true(version_has_children(v, v->apex));
	struct name_ref ref;
	struct wire_name ns = wire("ns.z.test");
	name_ref_init(&ref, ns.octets);
	assert_false(version_has_children(v, version_find(v, &ref, 3)));
	bool matches = true;
	assert_null(version_nsec(v, ns.octets, &matches));
	assert_null(version_nsec3(v, ns.octets, &matches));
	assert_true(matches);
	version_unref(v);
	version_unref(NULL);
	v = version_of("z.test", NULL,
		       "$TTL 60\n@ SOA ns.other.test. h 1 1 1 1 1\n@ NS ns.other.test.\n");
	assert_false(v->soa_is_short);
	version_unref(v);
	v = version_of("z.test", NULL, "$TTL 60\n@ SOA a.ns h 1 1 1 1 1\n@ NS ns.other.test.\n");
	assert_false(v->soa_is_short);
	version_unref(v);
}

static const char nsec_text[] = "$TTL 3600\n"
				"@ SOA ns hostmaster 7 3600 600 86400 300\n"
				"@ NS ns\n"
				"@ NSEC b NS SOA RRSIG NSEC\n"
				"b A 192.0.2.1\n"
				"b NSEC d A RRSIG NSEC\n"
				"d NS ns.d\n"
				"d NSEC h NS RRSIG NSEC\n"
				"ns.d A 192.0.2.1\n"
				"f A 192.0.2.1\n" /* no NSEC, and d's goes past it */
				"h A 192.0.2.1\n"
				"h NSEC j A RRSIG NSEC\n"
				"l A 192.0.2.1\n" /* a hole from j to here */
				"l NSEC @ A RRSIG NSEC\n";

static void test_nsec(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *owner; /* NULL: none */
		bool matches;
	} cases[] = {
		{"z.test", "z.test", true},	   {"a.z.test", "z.test", false},
		{"B.z.test", "b.z.test", true},	   {"a.b.z.test", "b.z.test", false},
		{"c.z.test", "b.z.test", false},   {"d.z.test", "d.z.test", true},
		{"x.d.z.test", "d.z.test", false}, {"e.z.test", "d.z.test", false},
		{"f.z.test", NULL, false},	   {"i.z.test", "h.z.test", false},
		{"j.z.test", NULL, false},	   {"k.z.test", NULL, false},
		{"l.z.test", "l.z.test", true},	   {"x.l.z.test", "l.z.test", false},
		{"zzz.z.test", "l.z.test", false},
	};
	struct version *v = version_of("z.test", NULL, nsec_text);
	assert_int_equal(v->denial, DENIAL_NSEC);
	assert_int_equal(v->chain.count, 6);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		bool matches = !cases[c].matches;
		print_message("%s\n", cases[c].name);
		const struct node *n = version_nsec(v, wire(cases[c].name).octets, &matches);
		if (cases[c].owner == NULL) {
			assert_null(n);
			assert_true(matches);
			continue;
		}
		assert_non_null(n);
		assert_true(name_equal(node_name(n), wire(cases[c].owner).octets));
		assert_int_equal(matches, cases[c].matches);
		/* The last one's next is the apex: what comes after it is what it spans. */
		assert_true(version_nsec_spans(n, wire(cases[c].name).octets));
		assert_false(version_nsec_spans(n, v->apex_name) && n != v->apex);
	}
	assert_false(version_nsec_spans(v->apex, wire("c.z.test").octets));
	bool matches = true;
	assert_ptr_equal(v->apex_wildcard, version_nsec(v, wire("*.z.test").octets, &matches));
	assert_ptr_equal(v->apex_wildcard, v->apex);
	assert_false(matches);
	version_unref(v);
}

/* The names and hashes of RFC 5155 appendix A: 12 iterations, salt aabbccdd. */
static const struct {
	const char *name;
	const char *hash;
} rfc5155[] = {
	{"example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"},
	{"ns1.example", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"},
	{"x.y.w.example", "2vptu5timamqttgl4luu9kg21e0aor3s"},
	{"a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"},
	{"x.w.example", "b4um86eghhds6nea196smvmlo4ors995"},
	{"ai.example", "gjeqe526plbf1g8mklp59enfd789njgi"},
	{"y.w.example", "ji6neoaepv8b5o6k4ev33abha8ht9fgc"},
	{"w.example", "k8udemvp1j2f7eg6jebps17vp3n8i58h"},
	{"ns2.example", "q04jkcevqvmu85r014c7dkba38o0ji5r"},
	{"*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"},
	{"xx.example", "t644ebqk9bibcna874givr6joj62mlhv"},
};

#define HASHES (sizeof(rfc5155) / sizeof(rfc5155[0]))

/* extra: more lines; skip: the name whose NSEC3 is left out, HASHES for none. */
static struct version *nsec3_version(const char *params, const char *extra, size_t skip)
{
	char text[8192];
	int len = snprintf(text, sizeof(text),
			   "$TTL 3600\n@ SOA ns1 bugs 1 3600 300 3600000 3600\n@ NS ns1\n"
			   "@ NSEC3PARAM %s\n%s",
			   params, extra);
	for (size_t i = 0; i < HASHES; i++) {
		if (i != skip) {
			len += snprintf(text + len, sizeof(text) - (size_t)len,
					"%s NSEC3 1 0 12 aabbccdd %s A\n", rfc5155[i].hash,
					rfc5155[(i + 1) % HASHES].hash);
		}
	}
	return version_of("example", NULL, text);
}

static void test_nsec3(void **state)
{
	(void)state;
	struct version *v = nsec3_version("1 0 12 aabbccdd", "", HASHES);
	assert_int_equal(v->denial, DENIAL_NSEC3);
	assert_int_equal(v->nsec3.count, HASHES);
	assert_int_equal(v->order.count, 1);
	for (size_t i = 0; i < HASHES; i++) {
		bool matches = false;
		char owner[128];
		const struct node *n = version_nsec3(v, wire(rfc5155[i].name).octets, &matches);
		snprintf(owner, sizeof(owner), "%s.example", rfc5155[i].hash);
		assert_non_null(n);
		assert_true(matches);
		assert_true(name_equal(node_name(n), wire(owner).octets));
		/* It is in no other index. */
		struct name_ref ref;
		name_ref_init(&ref, node_name(n));
		assert_null(version_find(v, &ref, ref.labels));
	}
	/* Random names are covered by the link that their hash falls into, and once by the last,
	 * which goes over the end. */
	bool wrapped = false;
	for (unsigned i = 0; i < 200; i++) {
		char name[32];
		bool matches = true;
		snprintf(name, sizeof(name), "name%u.example", i);
		const struct node *n = version_nsec3(v, wire(name).octets, &matches);
		assert_non_null(n);
		assert_false(matches);
		wrapped = wrapped || memcmp(node_name(n) + 1, "t644", 4) == 0;
	}
	assert_true(wrapped);
	version_unref(v);
}

static void test_nsec3_faults(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *params;
		const char *extra;
		size_t skip;
		enum denial denial;
		bool found; /* NSEC3 of the name with hash 4 */
	} cases[] = {
		{"as it should be", "1 0 12 aabbccdd", "", HASHES, DENIAL_NSEC3, true},
		{"a link is missing", "1 0 12 aabbccdd", "", 4, DENIAL_NSEC3, false},
		{"no chain of these parameters", "1 0 11 aabbccdd", "", HASHES, DENIAL_NSEC3,
		 false},
		{"another salt", "1 0 12 -", "", HASHES, DENIAL_NSEC3, false},
		{"an unknown flag", "1 1 12 aabbccdd", "", HASHES, DENIAL_NONE, false},
		{"an unknown algorithm", "2 0 12 aabbccdd", "", HASHES, DENIAL_NONE, false},
		{"too many iterations", "1 0 501 aabbccdd", "", HASHES, DENIAL_NONE, false},
		{"a second chain in between", "1 0 12 aabbccdd",
		 "b4000000000000000000000000000000 NSEC3 1 0 1 - b5000000000000000000000000000000 "
		 "A\n"
		 "b4100000000000000000000000000000 NSEC3 1 0 1 - b5000000000000000000000000000000 "
		 "A\n",
		 HASHES, DENIAL_NSEC3, true},
	};
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		bool matches = false;
		print_message("%s\n", cases[c].name);
		struct version *v = nsec3_version(cases[c].params, cases[c].extra, cases[c].skip);
		assert_int_equal(v->denial, cases[c].denial);
		/* Whatever it proves, nothing of the content is lost. */
		assert_true(v->nsec3.count >= HASHES - 1);
		const struct node *n = version_nsec3(v, wire("x.w.example").octets, &matches);
		assert_int_equal(n != NULL, cases[c].found);
		assert_int_equal(matches, cases[c].found);
		version_unref(v);
	}
}

/* A covering search steps back over NSEC3s of another chain. */
static void test_nsec3_steps_over_other_chain(void **state)
{
	(void)state;
	/* Without its own NSEC3, x.w.example (b4um...) is covered by a.example's if that says so.
	 */
	static const char text[] = "$TTL 3600\n@ SOA ns1 bugs 1 3600 300 3600000 3600\n@ NS ns1\n"
				   "@ NSEC3PARAM 1 0 12 aabbccdd\n"
				   "35mthgpgcu1qg68fab165klnsnk3dpvl NSEC3 1 0 12 aabbccdd "
				   "35mthgpgcu1qg68fab165klnsnk3dpvl A\n"
				   "b4000000000000000000000000000000 NSEC3 1 0 1 - "
				   "b5000000000000000000000000000000 A\n"
				   "a4000000000000000000000000000000 NSEC3 1 0 1 - "
				   "b5000000000000000000000000000000 A\n";
	struct version *v = version_of("example", NULL, text);
	bool matches = true;
	const struct node *n = version_nsec3(v, wire("x.w.example").octets, &matches);
	assert_non_null(n);
	assert_false(matches);
	assert_memory_equal(node_name(n) + 1, "35mt", 4);
	/* And over the beginning of the order. */
	matches = true;
	n = version_nsec3(v, wire("ns1.example").octets, &matches);
	assert_non_null(n);
	assert_false(matches);
	assert_memory_equal(node_name(n) + 1, "35mt", 4);
	version_unref(v);
}

/* References: a reader of an old version keeps all newer ones, and nothing dies early. */
static void test_succession(void **state)
{
	(void)state;
	char text[256];
	struct version *kept = NULL;
	struct version *cur = NULL;
	for (unsigned serial = 1; serial <= 50; serial++) {
		snprintf(text, sizeof(text),
			 "$TTL 1h\n@ SOA ns h %u 1 1 1 1\n@ NS ns\nn%u A 192.0.2.1\n", serial,
			 serial % 7);
		struct version *next = version_of("z.test", cur, text);
		version_succeed(cur, next);
		if (serial == 3) {
			kept = version_ref(cur);
		}
		version_unref(cur);
		cur = next;
	}
	struct name_ref ref;
	struct wire_name name = wire("n2.z.test");
	name_ref_init(&ref, name.octets);
	assert_int_equal(kept->serial, 2);
	assert_non_null(version_find(kept, &ref, 3));
	assert_null(version_find(cur, &ref, 3));
	version_unref(cur);
	assert_non_null(version_find(kept, &ref, 3));
	version_unref(kept);
}

static void test_unref_deferred(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, zone_text);
	version_unref_deferred(v);
	rcu_drain();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_lookup_many),
		cmocka_unit_test(test_lookup_longest_names),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_nsec),
		cmocka_unit_test(test_nsec3),
		cmocka_unit_test(test_nsec3_faults),
		cmocka_unit_test(test_nsec3_steps_over_other_chain),
		cmocka_unit_test(test_succession),
		cmocka_unit_test(test_unref_deferred),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
