#include "tests/unit/denial_fixture.h"

static const struct {
	const char *owner;
	const char *rdata;
} nasty_chain[] = {
	{"example.com.", "\\000.example.com. NS SOA MX RRSIG NSEC DNSKEY CAA TYPE65400"},
	{"\\000.example.com.", "*.example.com. A RRSIG NSEC"},
	{"*.example.com.", "_sip._tcp.example.com. TXT RRSIG NSEC"},
	{"_sip._tcp.example.com.", "alias.example.com. SRV RRSIG NSEC"},
	{"alias.example.com.", "b.c.example.com. CNAME RRSIG NSEC"},
	{"b.c.example.com.", "a.b.c.example.com. A RRSIG NSEC"},
	{"a.b.c.example.com.", "upper.case.example.com. TXT RRSIG NSEC"},
	{"upper.case.example.com.", "cut.example.com. A RRSIG NSEC"},
	{"cut.example.com.", "dn.example.com. NS RRSIG NSEC"},
	{"dn.example.com.", "mail.example.com. DNAME RRSIG NSEC"},
	{"mail.example.com.", "ns.example.com. A RRSIG NSEC"},
	{"ns.example.com.", "safe.example.com. A AAAA RRSIG NSEC"},
	{"safe.example.com.", "*.w.example.com. NS DS RRSIG NSEC"},
	{"*.w.example.com.", "x.*.w.example.com. TXT RRSIG NSEC"},
	{"x.*.w.example.com.", "z\\.dot.example.com. TXT RRSIG NSEC"},
	{"z\\.dot.example.com.", "\\255.example.com. A RRSIG NSEC"},
	{"\\255.example.com.", "example.com. A RRSIG NSEC"},
};

#define NASTY_CHAIN (sizeof(nasty_chain) / sizeof(nasty_chain[0]))

/* The NSECs of a version, in canonical order. */
struct nsecs {
	size_t count;
	struct {
		char *owner;
		char *rdata;
		uint32_t ttl;
	} items[512];
};

static enum status nsecs_each(void *ctx, const struct node *n)
{
	struct nsecs *l = ctx;
	const struct rrset *rs = node_rrset(n, RR_NSEC);
	char owner[NAME_TEXT_MAX];
	char rdata[4096];
	assert_int_equal(rs != NULL, (n->flags & NODE_CHAIN) != 0);
	if (rs == NULL) {
		return ST_OK;
	}
	assert_true(l->count < 512);
	assert_int_equal(rs->count, 1);
	assert_int_equal(rs->flags & RRSET_GENERATED, RRSET_GENERATED);
	assert_int_equal(rdata_to_text(RR_NSEC, rdata_at(rs->data), rdata, sizeof(rdata)), ST_OK);
	l->items[l->count].owner = strdup(name_to_text(node_name(n), owner));
	l->items[l->count].rdata = strdup(rdata);
	l->items[l->count++].ttl = rs->ttl;
	return ST_OK;
}

static struct nsecs *nsecs_of(const struct version *v)
{
	struct nsecs *l = calloc(1, sizeof(*l));
	assert_non_null(l);
	assert_int_equal(version_walk(v, nsecs_each, l), ST_OK);
	return l;
}

static void nsecs_free(struct nsecs *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->items[i].owner);
		free(l->items[i].rdata);
	}
	free(l);
}

static void a_zone_has_the_chain_it_should(void **state)
{
	(void)state;
	struct keyset *ks = keys_new();
	struct version *v = version_from_text(APEX, nasty, NULL, ks, false);
	struct nsecs *l = nsecs_of(v);
	for (size_t i = 0; i < l->count && i < NASTY_CHAIN; i++) {
		assert_string_equal(l->items[i].owner, nasty_chain[i].owner);
		assert_string_equal(l->items[i].rdata, nasty_chain[i].rdata);
		assert_int_equal(l->items[i].ttl, 300);
	}
	assert_int_equal(l->count, NASTY_CHAIN);
	nsecs_free(l);
	version_unref(v);
	keyset_unref(ks);
}

/* The independent opinion: BIND's signer over the same zone. */
static void dnssec_signzone_makes_the_same_chain(void **state)
{
	struct signer_fixture *fx = *state;
	char path[128];
	struct master_options opt = {0};
	struct content c;
	size_t found = 0;
	if (access("/usr/bin/dnssec-signzone", X_OK) != 0) {
		skip();
	}
	snprintf(path, sizeof(path), "%s/zone", fx->dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(nasty, f);
	assert_int_equal(fclose(f), 0);
	run_in(fx->dir, "dnssec-keygen -q -a ECDSAP256SHA256 -f KSK example.com");
	run_in(fx->dir, "dnssec-keygen -q -a ECDSAP256SHA256 example.com");
	run_in(fx->dir, "dnssec-signzone -P -S -T 7200 -o example.com -f signed zone");

	struct keyset *ks = keys_new();
	struct version *v = version_from_text(APEX, nasty, NULL, ks, false);
	struct nsecs *l = nsecs_of(v);
	snprintf(path, sizeof(path), "%s/signed", fx->dir);
	content_init(&c, wire(APEX));
	assert_int_equal(master_read(path, &opt, &c, NULL), ST_OK);
	assert_int_equal(content_sort(&c), ST_OK);
	for (size_t i = 0; i < c.record_count; i++) {
		const struct record *r = &c.records[i];
		char owner[NAME_TEXT_MAX];
		char rdata[4096];
		if (r->type != RR_NSEC) {
			continue;
		}
		assert_true(found < l->count);
		assert_int_equal(rdata_to_text(RR_NSEC, record_rdata(r), rdata, sizeof(rdata)),
				 ST_OK);
		assert_string_equal(l->items[found].owner, name_to_text(r->owner, owner));
		/* dnssec-signzone keeps the file's case in the next name. */
		assert_int_equal(strcasecmp(l->items[found].rdata, rdata), 0);
		assert_int_equal(l->items[found].ttl, r->ttl);
		found++;
	}
	assert_int_equal(found, l->count);
	content_fini(&c);
	nsecs_free(l);
	version_unref(v);
	keyset_unref(ks);
}

static void the_apex_has_what_the_keys_say(void **state)
{
	(void)state;
	struct keyset *ks = keys_new();
	uint8_t rdata[DNSKEY_LEN];
	uint8_t ds[36];
	struct version *v = version_from_text(APEX, nasty, NULL, ks, true);
	struct rrset *rs = rrset_at(v, APEX, RR_DNSKEY);
	assert_int_equal(rs->count, 2);
	assert_int_equal(rs->ttl, 7200);
	assert_int_equal(rs->flags & RRSET_GENERATED, RRSET_GENERATED);
	rs = rrset_at(v, APEX, RR_CDNSKEY);
	assert_int_equal(rs->count, 1);
	assert_int_equal(rs->ttl, 7200);
	dnskey_rdata(&ks->keys[0], rdata);
	assert_int_equal(rdata_at(rs->data).len, DNSKEY_LEN);
	assert_memory_equal(rdata_at(rs->data).data, rdata, DNSKEY_LEN);
	rs = rrset_at(v, APEX, RR_CDS);
	assert_int_equal(rs->count, 1);
	assert_int_equal(ds_rdata(wire(APEX), &ks->keys[0], ds), ST_OK);
	assert_int_equal(rdata_at(rs->data).len, sizeof(ds));
	assert_memory_equal(rdata_at(rs->data).data, ds, sizeof(ds));

	/* What is published no more goes. */
	struct version *next = version_from_text(APEX, nasty, v, ks, false);
	const struct node *apex = node_at(next, APEX);
	assert_null(node_rrset(apex, RR_CDS));
	assert_null(node_rrset(apex, RR_CDNSKEY));
	assert_ptr_equal(node_rrset(apex, RR_DNSKEY), rrset_at(v, APEX, RR_DNSKEY));
	ks->keys[1].state = KEY_REMOVED;
	ks->count = 1;
	version_succeed(v, next);
	struct version *last = version_from_text(APEX, nasty, next, ks, false);
	assert_int_equal(rrset_at(last, APEX, RR_DNSKEY)->count, 1);
	version_succeed(next, last);
	version_unref(v);
	version_unref(next);
	version_unref(last);
	keyset_unref(ks);
}

static void no_soa_and_no_keys_are_refused(void **state)
{
	(void)state;
	struct keyset *ks = keys_new();
	struct draft *d = NULL;
	assert_int_equal(draft_new(wire(APEX), NULL, &d), ST_OK);
	assert_int_equal(signer_prepare_draft(d, ks, true, SIGN_NSEC), ST_EPARSE);
	draft_free(d);
	d = draft_from_text(APEX, nasty, NULL);
	ks->count = 0;
	assert_int_equal(signer_prepare_draft(d, ks, true, SIGN_NSEC), ST_EREFUSED);
	draft_free(d);
	keyset_unref(ks);
}

struct fresh {
	size_t nsecs;
	size_t others;
};

static enum status fresh_each(void *ctx, const struct node *n, struct rrset *rs)
{
	struct fresh *fresh = ctx;
	(void)n;
	fresh->nsecs += rs->type == RR_NSEC;
	fresh->others += rs->type != RR_NSEC;
	return ST_OK;
}

static void an_edit_remakes_only_what_it_touches(void **state)
{
	static const struct {
		const char *name;
		const char *owner;
		const char *rdata; /* of an A; NULL: the RRset goes */
		uint16_t type;
		size_t nsecs;
		size_t others;
	} cases[] = {
		{"a new name", "new.example.com", "\1\2\3\4", RR_A, 2, 1},
		{"a new type at a name", "mail.example.com", "\1\2\3\4", RR_TXT, 1, 1},
		{"other data of a type", "mail.example.com", "\1\2\3\4", RR_A, 0, 1},
		{"the same data", "mail.example.com", "\300\0\2\2", RR_A, 0, 0},
		{"a name goes", "mail.example.com", NULL, RR_A, 1, 0},
		{"the last name goes", "\\255.example.com", NULL, RR_A, 1, 0},
		{"the first name goes", "\\000.example.com", NULL, RR_A, 1, 0},
		{"glue changes", "ns.cut.example.com", "\1\2\3\4", RR_A, 0, 1},
		{"a name in an empty non-terminal's place", "c.example.com", "\1\2\3\4", RR_A, 2,
		 1},
		{"a cut loses its DS", "safe.example.com", NULL, RR_DS, 1, 0},
		/* What was below comes into the chain: cut, deep.under, ns; and its predecessor.
		 * The glue has to be signed. */
		{"a cut goes", "cut.example.com", NULL, RR_NS, 3, 2},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keyset *ks = keys_new();
		struct version *base = version_from_text(APEX, nasty, NULL, ks, false);
		struct draft *d = NULL;
		struct fresh fresh = {0};
		print_message("%s\n", cases[i].name);
		assert_int_equal(draft_new(wire(APEX), base, &d), ST_OK);
		if (cases[i].rdata != NULL) {
			struct rrset *rs = NULL;
			struct bytes rdata = {(const uint8_t *)cases[i].rdata, 4};
			assert_int_equal(rrset_new(cases[i].type, 3600, &rdata, 1, &rs), ST_OK);
			assert_int_equal(draft_put(d, wire(cases[i].owner), rs), ST_OK);
		} else {
			assert_int_equal(draft_remove(d, wire(cases[i].owner), cases[i].type),
					 ST_OK);
		}
		assert_int_equal(signer_prepare_draft(d, ks, false, SIGN_NSEC), ST_OK);
		assert_int_equal(draft_each_new(d, fresh_each, &fresh), ST_OK);
		assert_int_equal(fresh.nsecs, cases[i].nsecs);
		assert_int_equal(fresh.others, cases[i].others);
		struct version *next = freeze_draft(d, ks);
		nsecs_free(nsecs_of(next));
		version_unref(next);
		version_unref(base);
		keyset_unref(ks);
	}
}

static void another_negative_ttl_remakes_the_chain(void **state)
{
	static const struct {
		const char *soa;
		uint32_t want;
	} cases[] = {
		{"@ 3600 SOA ns host 2 7200 3600 1209600 301\n", 301},
		{"@ 200 SOA ns host 2 7200 3600 1209600 300\n", 200},
		{"@ 0 SOA ns host 2 7200 3600 1209600 300\n", 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keyset *ks = keys_new();
		char text[sizeof(nasty) + 64];
		struct version *base = version_from_text(APEX, nasty, NULL, ks, false);
		const char *rest = strstr(nasty, "@ NS");
		snprintf(text, sizeof(text), "$ORIGIN example.com.\n$TTL 3600\n%s%s", cases[i].soa,
			 rest);
		struct version *next = version_from_text(APEX, text, base, ks, false);
		struct nsecs *l = nsecs_of(next);
		assert_int_equal(l->count, NASTY_CHAIN);
		for (size_t k = 0; k < l->count; k++) {
			assert_int_equal(l->items[k].ttl, cases[i].want);
			assert_string_equal(l->items[k].rdata, nasty_chain[k].rdata);
		}
		nsecs_free(l);
		version_unref(next);
		version_unref(base);
		keyset_unref(ks);
	}
}

static void chains_must_be_equal(const struct version *a, const struct version *b)
{
	struct nsecs *x = nsecs_of(a);
	struct nsecs *y = nsecs_of(b);
	assert_int_equal(x->count, y->count);
	for (size_t i = 0; i < x->count; i++) {
		assert_string_equal(x->items[i].owner, y->items[i].owner);
		assert_string_equal(x->items[i].rdata, y->items[i].rdata);
		assert_int_equal(x->items[i].ttl, y->items[i].ttl);
		/* A ring: each names the next. */
		const char *next = x->items[(i + 1) % x->count].owner;
		assert_memory_equal(x->items[i].rdata, next, strlen(next));
	}
	nsecs_free(x);
	nsecs_free(y);
}

static void an_edited_chain_is_that_of_a_zone_made_anew(void **state)
{
	static const char soa[] = "@ 60 SOA a b 1 2 3 4 30\n@ 60 NS ns.elsewhere.\n";
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct model m = {.random = seed};
		struct keyset *ks = keys_new();
		struct version *v = model_anew(&m, ks, soa, SIGN_NSEC);
		for (int step = 0; step < MODEL_STEPS; step++) {
			struct draft *d = NULL;
			uint32_t edits = 1 + model_random(&m, 4);
			assert_int_equal(draft_new(wire(APEX), v, &d), ST_OK);
			for (uint32_t i = 0; i < edits; i++) {
				model_edit(&m, d);
			}
			assert_int_equal(signer_prepare_draft(d, ks, false, SIGN_NSEC), ST_OK);
			/* Once more changes nothing. */
			assert_int_equal(signer_prepare_draft(d, ks, false, SIGN_NSEC), ST_OK);
			struct version *next = freeze_draft(d, ks);
			struct version *anew = model_anew(&m, ks, soa, SIGN_NSEC);
			chains_must_be_equal(next, anew);
			version_unref(anew);
			version_succeed(v, next);
			version_unref(v);
			v = next;
		}
		version_unref(v);
		keyset_unref(ks);
	}
}

#define MANY 40000 /* names: NSECs are made in parts, and cut from blocks */

struct links {
	const struct node *last;
	size_t records;
};

static enum status links_each(void *ctx, const struct node *n)
{
	struct links *l = ctx;
	const struct rrset *nsec = node_rrset(n, RR_NSEC);
	for (size_t i = 0; i < n->rrset_count; i++) {
		assert_true(i == 0 || n->rrsets[i - 1]->type < n->rrsets[i]->type);
		assert_int_equal(node_types(n)[i], n->rrsets[i]->type);
		l->records += n->rrsets[i]->count;
	}
	assert_int_equal(nsec != NULL, (n->flags & NODE_CHAIN) != 0);
	if (nsec != NULL && l->last != NULL) {
		const struct rrset *before = node_rrset(l->last, RR_NSEC);
		assert_true(name_equal(rdata_at(before->data).data, node_name(n)));
	}
	l->last = nsec != NULL ? n : l->last;
	return ST_OK;
}

static void a_zone_of_many_names_has_its_chain(void **state)
{
	(void)state;
	struct keyset *ks = keys_new();
	struct links l = {.last = NULL};
	size_t size = sizeof(nasty) + (size_t)MANY * 40;
	char *text = malloc(size);
	assert_non_null(text);
	size_t len = (size_t)snprintf(text, size, "%s", nasty);
	for (size_t i = 0; i < MANY; i++) {
		len += (size_t)snprintf(text + len, size - len, "h%05zu.%s AAAA ::1\n", i,
					i % 3 == 0   ? "cut"
					: i % 3 == 1 ? "ent"
						     : "b.c");
	}
	struct version *v = version_from_text(APEX, text, NULL, ks, false);
	assert_int_equal(version_walk(v, links_each, &l), ST_OK);
	assert_int_equal(l.records, v->record_count);
	assert_true(name_equal(rdata_at(node_rrset(l.last, RR_NSEC)->data).data, v->apex_name));
	/* Most of what was cut is given up before the rest. */
	struct version *next = version_from_text(APEX, nasty, v, ks, false);
	version_succeed(v, next);
	version_unref(v);
	version_unref(next);
	free(text);
	keyset_unref(ks);
}

/* Where the file was not checked: at the apex it is replaced, and below a cut it goes. */
static void the_files_own_nsecs_go(void **state)
{
	(void)state;
	struct keyset *ks = keys_new();
	char text[sizeof(nasty) + 256];
	snprintf(text, sizeof(text),
		 "%s@ NSEC wrong A\nmail NSEC wrong A\nns.cut NSEC wrong A\n"
		 "only.cut NSEC wrong A\n",
		 nasty);
	struct version *v = version_from_text(APEX, text, NULL, ks, false);
	struct version *w = version_from_text(APEX, nasty, NULL, ks, false);
	chains_must_be_equal(v, w);
	assert_int_equal(v->record_count, w->record_count);
	version_unref(v);
	version_unref(w);
	keyset_unref(ks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_zone_has_the_chain_it_should),
		cmocka_unit_test_setup_teardown(dnssec_signzone_makes_the_same_chain, signer_setup,
						signer_teardown),
		cmocka_unit_test(the_apex_has_what_the_keys_say),
		cmocka_unit_test(no_soa_and_no_keys_are_refused),
		cmocka_unit_test(an_edit_remakes_only_what_it_touches),
		cmocka_unit_test(another_negative_ttl_remakes_the_chain),
		cmocka_unit_test(an_edited_chain_is_that_of_a_zone_made_anew),
		cmocka_unit_test(a_zone_of_many_names_has_its_chain),
		cmocka_unit_test(the_files_own_nsecs_go),
	};
	return cmocka_run_group_tests_name("denial", tests, NULL, NULL);
}
