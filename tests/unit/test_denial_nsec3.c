#include "tests/unit/denial_fixture.h"

#include "zones/nsec3.h"

/* The NSEC3s of a version, in the order of their hashes. */
struct nsec3s {
	size_t count;
	struct nsec3_item {
		char owner[NAME_TEXT_MAX];
		char rdata[1024];
		uint32_t ttl;
	} items[128];
};

static enum status nsec3s_each(void *ctx, const struct node *n)
{
	struct nsec3s *l = ctx;
	const struct rrset *rs = node_rrset(n, RR_NSEC3);
	assert_null(node_rrset(n, RR_NSEC));
	if (rs == NULL) {
		return ST_OK;
	}
	assert_true(l->count < 128);
	assert_int_equal(rs->count, 1);
	assert_int_equal(n->rrset_count, 1);
	assert_int_equal(rs->flags & RRSET_GENERATED, RRSET_GENERATED);
	struct nsec3_item *item = &l->items[l->count++];
	name_to_text(node_name(n), item->owner);
	assert_int_equal(
		rdata_to_text(RR_NSEC3, rdata_at(rs->data), item->rdata, sizeof(item->rdata)),
		ST_OK);
	item->ttl = rs->ttl;
	return ST_OK;
}

static struct nsec3s *nsec3s_of(const struct version *v)
{
	struct nsec3s *l = calloc(1, sizeof(*l));
	assert_non_null(l);
	assert_int_equal(version_walk(v, nsec3s_each, l), ST_OK);
	return l;
}

static void must_be_a_ring(const struct version *v)
{
	struct nsec3s *l = nsec3s_of(v);
	assert_true(l->count > 0);
	for (size_t i = 0; i < l->count; i++) {
		const char *next = l->items[(i + 1) % l->count].owner;
		char *words = strchr(l->items[i].rdata, '-');
		assert_non_null(words); /* no salt */
		assert_int_equal(strncasecmp(words + 2, next, 32), 0);
	}
	free(l);
}

static void chains_must_be_equal(const struct version *a, const struct version *b)
{
	struct nsec3s *x = nsec3s_of(a);
	struct nsec3s *y = nsec3s_of(b);
	assert_int_equal(x->count, y->count);
	for (size_t i = 0; i < x->count; i++) {
		assert_string_equal(x->items[i].owner, y->items[i].owner);
		assert_string_equal(x->items[i].rdata, y->items[i].rdata);
		assert_int_equal(x->items[i].ttl, y->items[i].ttl);
	}
	free(x);
	free(y);
	must_be_a_ring(a);
}

/* What stands at the hash of a name: the types, NULL: nothing. */
static const char *types_at(const struct version *v, const char *name)
{
	static char rdata[1024];
	bool matches = false;
	const struct node *n = version_nsec3(v, wire(name), &matches);
	assert_non_null(n);
	if (!matches) {
		return NULL;
	}
	assert_int_equal(
		rdata_to_text(RR_NSEC3, rdata_at(n->rrsets[0]->data), rdata, sizeof(rdata)), ST_OK);
	/* Algorithm, flags, iterations, salt, next. */
	char *p = rdata;
	for (int i = 0; i < 5 && p != NULL; i++) {
		p = strchr(p, ' ');
		p = p != NULL ? p + 1 : NULL;
	}
	return p != NULL ? p : "";
}

static void a_zone_has_the_chain_it_should(void **state)
{
	static const struct {
		const char *name;
		const char *types;   /* NULL: no NSEC3 */
		const char *opt_out; /* the same with opt-out, where it differs */
	} cases[] = {
		{"example.com", "NS SOA MX RRSIG DNSKEY NSEC3PARAM CAA TYPE65400", NULL},
		{"ns.example.com", "A AAAA RRSIG", NULL},
		{"a.b.c.example.com", "TXT RRSIG", NULL},
		{"c.example.com", "", NULL},
		{"_tcp.example.com", "", NULL},
		{"only.below.safe.example.com", NULL, NULL},
		{"*.example.com", "TXT RRSIG", NULL},
		{"w.example.com", "", NULL},
		{"*.w.example.com", "TXT RRSIG", NULL},
		{"upper.case.example.com", "A RRSIG", NULL},
		{"alias.example.com", "CNAME RRSIG", NULL},
		{"dn.example.com", "DNAME RRSIG", NULL},
		{"cut.example.com", "NS", "none"},
		{"ns.cut.example.com", NULL, NULL},
		{"under.cut.example.com", NULL, NULL},
		{"safe.example.com", "NS DS RRSIG", NULL},
		{"nowhere.example.com", NULL, NULL},
	};
	(void)state;
	for (int opt_out = 0; opt_out < 2; opt_out++) {
		struct keyset *ks = keys_new();
		enum sign_denial denial = opt_out ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3;
		struct version *v = version_denying(APEX, nasty, NULL, ks, denial);
		assert_int_equal(v->denial, DENIAL_NSEC3);
		assert_int_equal(signer_denial(v), denial);
		assert_int_equal(v->chain.count, 0);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			const char *want = cases[i].types;
			const char *got = types_at(v, cases[i].name);
			print_message("%s\n", cases[i].name);
			if (opt_out && cases[i].opt_out != NULL) {
				want = NULL;
			}
			if (want == NULL) {
				assert_null(got);
			} else {
				assert_non_null(got);
				assert_string_equal(got, want);
			}
		}
		struct nsec3s *l = nsec3s_of(v);
		for (size_t i = 0; i < l->count; i++) {
			assert_int_equal(l->items[i].ttl, 300);
			assert_memory_equal(l->items[i].rdata, opt_out ? "1 1 0 - " : "1 0 0 - ",
					    8);
		}
		free(l);
		must_be_a_ring(v);
		const struct rrset *param = rrset_at(v, APEX, RR_NSEC3PARAM);
		assert_int_equal(param->ttl, 0);
		assert_int_equal(rdata_at(param->data).len, 5);
		assert_memory_equal(rdata_at(param->data).data, "\1\0\0\0\0", 5);
		version_unref(v);
		keyset_unref(ks);
	}
}

/* The independent opinion: BIND's signer over the same zone. */
static void dnssec_signzone_makes_the_same_chain(void **state)
{
	struct signer_fixture *fx = *state;
	char path[128];
	struct master_options opt = {0};
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
	snprintf(path, sizeof(path), "%s/signed", fx->dir);
	for (int opt_out = 0; opt_out < 2; opt_out++) {
		struct content c;
		size_t found = 0;
		run_in(fx->dir, opt_out ? "dnssec-signzone -A -3 - -H 0 -P -S -T 7200 -o "
					  "example.com -f signed zone"
					: "dnssec-signzone -3 - -H 0 -P -S -T 7200 -o example.com "
					  "-f signed zone");
		struct keyset *ks = keys_new();
		struct version *v = version_denying(APEX, nasty, NULL, ks,
						    opt_out ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3);
		struct nsec3s *l = nsec3s_of(v);
		content_init(&c, wire(APEX));
		assert_int_equal(master_read(path, &opt, &c, NULL), ST_OK);
		assert_int_equal(content_sort(&c), ST_OK);
		for (size_t i = 0; i < c.record_count; i++) {
			const struct record *r = &c.records[i];
			char owner[NAME_TEXT_MAX];
			char rdata[1024];
			if (r->type != RR_NSEC3) {
				continue;
			}
			assert_true(found < l->count);
			assert_int_equal(
				rdata_to_text(RR_NSEC3, record_rdata(r), rdata, sizeof(rdata)),
				ST_OK);
			assert_int_equal(
				strcasecmp(l->items[found].owner, name_to_text(r->owner, owner)),
				0);
			assert_string_equal(l->items[found].rdata, rdata);
			assert_int_equal(l->items[found].ttl, r->ttl);
			found++;
		}
		assert_int_equal(found, l->count);
		content_fini(&c);
		free(l);
		version_unref(v);
		keyset_unref(ks);
	}
}

struct fresh {
	size_t nsec3s;
	size_t others;
};

static enum status fresh_each(void *ctx, const struct node *n, struct rrset *rs)
{
	struct fresh *fresh = ctx;
	(void)n;
	fresh->nsec3s += rs->type == RR_NSEC3;
	fresh->others += rs->type != RR_NSEC3;
	return ST_OK;
}

static void an_edit_remakes_only_what_it_touches(void **state)
{
	static const struct {
		const char *name;
		const char *owner;
		const char *rdata; /* of an A; NULL: the RRset goes */
		uint16_t type;
		size_t nsec3s;
		size_t opt_out;
		size_t others;
	} cases[] = {
		{"a new name", "new.example.com", "\1\2\3\4", RR_A, 2, 2, 1},
		{"a new name with two empty ones above", "a.new.one.example.com", "\1\2\3\4", RR_A,
		 6, 6, 1},
		{"a new type at a name", "mail.example.com", "\1\2\3\4", RR_TXT, 1, 1, 1},
		{"other data of a type", "mail.example.com", "\1\2\3\4", RR_A, 0, 0, 1},
		{"the same data", "mail.example.com", "\300\0\2\2", RR_A, 0, 0, 0},
		{"a name goes", "mail.example.com", NULL, RR_A, 1, 1, 0},
		{"a name goes, and the empty one above", "_sip._tcp.example.com", NULL, RR_SRV, 2,
		 2, 0},
		{"glue changes", "ns.cut.example.com", "\1\2\3\4", RR_A, 0, 0, 1},
		{"a name in an empty non-terminal's place", "c.example.com", "\1\2\3\4", RR_A, 1, 1,
		 1},
		{"a cut loses its DS", "safe.example.com", NULL, RR_DS, 1, 1, 0},
		/* What was below comes into the chain: ns, deep.under, and the empty under. The
		 * glue has to be signed. */
		{"a cut goes", "cut.example.com", NULL, RR_NS, 7, 8, 2},
	};
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		size_t k = i / 2;
		enum sign_denial denial = i % 2 == 1 ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3;
		struct keyset *ks = keys_new();
		struct version *base = version_denying(APEX, nasty, NULL, ks, denial);
		struct draft *d = NULL;
		struct fresh fresh = {0};
		print_message("%s%s\n", cases[k].name, i % 2 == 1 ? " (opt-out)" : "");
		assert_int_equal(draft_new(wire(APEX), base, &d), ST_OK);
		if (cases[k].rdata != NULL) {
			struct rrset *rs = NULL;
			struct bytes rdata = {(const uint8_t *)cases[k].rdata, 4};
			assert_int_equal(rrset_new(cases[k].type, 3600, &rdata, 1, &rs), ST_OK);
			assert_int_equal(draft_put(d, wire(cases[k].owner), rs), ST_OK);
		} else {
			assert_int_equal(draft_remove(d, wire(cases[k].owner), cases[k].type),
					 ST_OK);
		}
		assert_int_equal(signer_prepare_draft(d, ks, false, denial), ST_OK);
		assert_int_equal(draft_each_new(d, fresh_each, &fresh), ST_OK);
		assert_in_range(fresh.nsec3s, cases[k].nsec3s == 0 ? 0 : 1,
				i % 2 == 1 ? cases[k].opt_out : cases[k].nsec3s);
		assert_int_equal(fresh.others, cases[k].others);
		struct version *next = freeze_denying(d, ks, denial);
		must_be_a_ring(next);
		version_unref(next);
		version_unref(base);
		keyset_unref(ks);
	}
}

static void another_negative_ttl_remakes_the_chain(void **state)
{
	char text[sizeof(nasty) + 64];
	(void)state;
	struct keyset *ks = keys_new();
	struct version *base = version_denying(APEX, nasty, NULL, ks, SIGN_NSEC3);
	snprintf(text, sizeof(text), "$ORIGIN example.com.\n$TTL 3600\n%s%s",
		 "@ 200 SOA ns host 2 7200 3600 1209600 300\n", strstr(nasty, "@ NS"));
	struct version *next = version_denying(APEX, text, base, ks, SIGN_NSEC3);
	struct version *anew = version_denying(APEX, text, NULL, ks, SIGN_NSEC3);
	struct nsec3s *l = nsec3s_of(next);
	assert_int_equal(l->items[0].ttl, 200);
	free(l);
	chains_must_be_equal(next, anew);
	version_unref(anew);
	version_unref(next);
	version_unref(base);
	keyset_unref(ks);
}

static void an_edited_chain_is_that_of_a_zone_made_anew(void **state)
{
	static const char soa[] = "@ 60 SOA a b 1 2 3 4 30\n@ 60 NS ns.elsewhere.\n";
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		enum sign_denial denial = seed % 2 == 0 ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3;
		struct model m = {.random = seed};
		struct keyset *ks = keys_new();
		struct version *v = model_anew(&m, ks, soa, denial);
		for (int step = 0; step < MODEL_STEPS; step++) {
			struct draft *d = NULL;
			uint32_t edits = 1 + model_random(&m, 4);
			assert_int_equal(draft_new(wire(APEX), v, &d), ST_OK);
			for (uint32_t i = 0; i < edits; i++) {
				model_edit(&m, d);
			}
			assert_int_equal(signer_prepare_draft(d, ks, false, denial), ST_OK);
			/* Once more changes nothing. */
			assert_int_equal(signer_prepare_draft(d, ks, false, denial), ST_OK);
			struct version *next = freeze_denying(d, ks, denial);
			struct version *anew = model_anew(&m, ks, soa, denial);
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

static enum status count_nsecs(void *ctx, const struct node *n)
{
	*(size_t *)ctx += node_rrset(n, RR_NSEC) != NULL;
	return ST_OK;
}

/* From any chain to any other, with edits on the way: nothing of the first is left. */
static void a_zone_changes_its_chain(void **state)
{
	static const char soa[] = "@ 60 SOA a b 1 2 3 4 30\n@ 60 NS ns.elsewhere.\n";
	struct model m = {.random = 7};
	(void)state;
	struct keyset *ks = keys_new();
	struct version *v = model_anew(&m, ks, soa, SIGN_NSEC);
	for (int step = 0; step < MODEL_STEPS; step++) {
		enum sign_denial denial = (enum sign_denial)model_random(&m, 3);
		struct draft *d = NULL;
		assert_int_equal(draft_new(wire(APEX), v, &d), ST_OK);
		for (uint32_t edits = model_random(&m, 3); edits > 0; edits--) {
			model_edit(&m, d);
		}
		assert_int_equal(signer_prepare_draft(d, ks, false, denial), ST_OK);
		struct version *next = freeze_denying(d, ks, denial);
		struct version *anew = model_anew(&m, ks, soa, denial);
		size_t nsecs = 0;
		size_t nsecs_anew = 0;
		assert_int_equal(signer_denial(next), denial);
		assert_int_equal(version_walk(next, count_nsecs, &nsecs), ST_OK);
		assert_int_equal(version_walk(anew, count_nsecs, &nsecs_anew), ST_OK);
		assert_int_equal(nsecs, nsecs_anew);
		assert_int_equal(nsecs, next->chain.count);
		assert_int_equal(next->nsec3.count, anew->nsec3.count);
		assert_int_equal(next->record_count, anew->record_count);
		if (denial != SIGN_NSEC) {
			assert_int_equal(nsecs, 0);
			chains_must_be_equal(next, anew);
		} else {
			assert_int_equal(next->nsec3.count, 0);
			assert_null(node_rrset(next->apex, RR_NSEC3PARAM));
		}
		version_unref(anew);
		version_succeed(v, next);
		version_unref(v);
		v = next;
	}
	version_unref(v);
	keyset_unref(ks);
}

/* A name of the zone that looks like a hash stands beside the NSEC3 there (RFC 5155 7.1). */
static void a_name_that_looks_like_a_hash_is_a_name(void **state)
{
	uint8_t hash[NSEC3_HASH_LEN];
	uint8_t owner[NAME_MAX_LEN];
	char name[NAME_TEXT_MAX];
	char text[sizeof(nasty) + 128];
	(void)state;
	struct keyset *ks = keys_new();
	assert_int_equal(nsec3_hash(wire("mail.example.com"), 0, (struct bytes){NULL, 0}, hash),
			 ST_OK);
	assert_int_equal(nsec3_owner(hash, wire(APEX), owner), ST_OK);
	name_to_text(owner, name);
	snprintf(text, sizeof(text), "%s%s A 192.0.2.9\n", nasty, name);

	struct version *base = version_denying(APEX, nasty, NULL, ks, SIGN_NSEC3);
	struct version *next = version_denying(APEX, text, base, ks, SIGN_NSEC3);
	version_succeed(base, next);
	struct version *again = version_denying(APEX, text, next, ks, SIGN_NSEC3);
	struct version *anew = version_denying(APEX, text, NULL, ks, SIGN_NSEC3);
	assert_string_equal(types_at(next, "mail.example.com"), "A RRSIG");
	assert_string_equal(types_at(next, name), "A RRSIG");
	assert_non_null(node_at(next, name));
	chains_must_be_equal(next, anew);
	chains_must_be_equal(again, anew);
	version_succeed(next, again);
	struct version *gone = version_denying(APEX, nasty, again, ks, SIGN_NSEC3);
	chains_must_be_equal(gone, base);
	assert_null(node_at(gone, name));
	version_unref(gone);
	version_unref(anew);
	version_unref(again);
	version_unref(next);
	version_unref(base);
	keyset_unref(ks);
}

/* More names than one thread hashes. */
static void a_large_zone_is_hashed_in_parts(void **state)
{
	enum { NAMES = 20000 };
	const size_t line = 32;
	(void)state;
	struct keyset *ks = keys_new();
	char *text = malloc(200 + NAMES * line);
	assert_non_null(text);
	size_t len = (size_t)snprintf(text, 200, "@ 60 SOA a b 1 2 3 4 30\n@ 60 NS ns.else.\n");
	for (int i = 0; i < NAMES; i++) {
		len += (size_t)snprintf(text + len, line, "n%d 60 A 192.0.2.1\n", i);
	}
	struct version *v = version_denying(APEX, text, NULL, ks, SIGN_NSEC3);
	assert_int_equal(v->nsec3.count, NAMES + 1);
	for (int i = 0; i < NAMES; i += 97) {
		char name[64];
		snprintf(name, sizeof(name), "n%d.%s", i, APEX);
		assert_string_equal(types_at(v, name), "A RRSIG");
	}
	version_unref(v);
	free(text);
	keyset_unref(ks);
}

static void an_apex_too_long_is_refused(void **state)
{
	char apex[NAME_TEXT_MAX] = "";
	(void)state;
	for (size_t i = 0; i < 56; i++) {
		memcpy(apex + 4 * i, "xyz.", 4);
	}
	struct keyset *ks = keys_new();
	name_lower(ks->apex, wire(apex));
	struct draft *d =
		draft_from_text(apex, "@ 60 SOA a b 1 2 3 4 30\n@ 60 NS ns.else.\n", NULL);
	assert_int_equal(signer_prepare_draft(d, ks, false, SIGN_NSEC3), ST_ELIMIT);
	draft_free(d);
	keyset_unref(ks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_zone_has_the_chain_it_should),
		cmocka_unit_test_setup_teardown(dnssec_signzone_makes_the_same_chain, signer_setup,
						signer_teardown),
		cmocka_unit_test(an_edit_remakes_only_what_it_touches),
		cmocka_unit_test(another_negative_ttl_remakes_the_chain),
		cmocka_unit_test(an_edited_chain_is_that_of_a_zone_made_anew),
		cmocka_unit_test(a_zone_changes_its_chain),
		cmocka_unit_test(a_name_that_looks_like_a_hash_is_a_name),
		cmocka_unit_test(a_large_zone_is_hashed_in_parts),
		cmocka_unit_test(an_apex_too_long_is_refused),
	};
	return cmocka_run_group_tests_name("denial_nsec3", tests, NULL, NULL);
}
