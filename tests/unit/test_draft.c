#include "version_fixture.h"

#define SOA_NS "$TTL 3600\n@ SOA ns h 1 3600 600 86400 300\n@ NS ns\n"

static struct draft *draft_on(struct version *base)
{
	struct draft *d = NULL;
	assert_int_equal(draft_new(wire("z.test").octets, base, &d), ST_OK);
	return d;
}

static struct rrset *rrset_at(const struct draft *d, const char *name, uint16_t type)
{
	const struct node *n = draft_find(d, wire(name).octets);
	return n == NULL ? NULL : node_rrset(n, type);
}

static struct rrset *version_rrset(const struct version *v, const char *name, uint16_t type)
{
	struct name_ref ref;
	struct wire_name w = wire(name);
	name_ref_init(&ref, w.octets);
	const struct node *n = version_find(v, &ref, ref.labels);
	return n == NULL ? NULL : node_rrset(n, type);
}

/* Publishes in the place of *cur. */
static void publish(struct version **cur, struct version *next)
{
	version_succeed(*cur, next);
	version_unref(*cur);
	*cur = next;
}

static void test_put_refuses(void **state)
{
	(void)state;
	struct draft *d = draft_on(NULL);
	assert_int_equal(draft_put(d, wire("other.test").octets, rrset_valued(RR_A, 1)), ST_EPARSE);
	assert_int_equal(draft_put(d, wire("test").octets, rrset_valued(RR_A, 1)), ST_EPARSE);
	assert_int_equal(draft_put(d, wire("a.z.test").octets, rrset_valued(RR_RRSIG, 1)),
			 ST_EPARSE);
	assert_null(draft_find(d, wire("a.z.test").octets));
	assert_false(draft_changed(d));
	assert_int_equal(draft_remove(d, wire("a.z.test").octets, RR_A), ST_ENOENT);
	assert_int_equal(draft_renew(d, wire("a.z.test").octets, RR_A), ST_ENOENT);
	draft_free(d);
	draft_free(NULL);
}

static void test_put_equal_keeps_slot(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, SOA_NS "a A 192.0.2.1\nb A 192.0.2.1\n");
	struct rrset *present = version_rrset(v, "a.z.test", RR_A);
	struct draft *d = draft_on(v);
	assert_int_equal(
		draft_put(d, wire("A.z.test").octets, rrset_of(RR_A, 3600, "\300\0\2\1", 4)),
		ST_OK);
	assert_ptr_equal(rrset_at(d, "a.z.test", RR_A), present);
	assert_false(draft_changed(d));
	const uint8_t *const *touched;
	size_t count;
	assert_int_equal(draft_touched(d, &touched, &count), ST_OK);
	assert_int_equal(count, 0);

	/* Changed and changed back is no change of the content, but another RRset. */
	assert_int_equal(draft_put(d, wire("a.z.test").octets, rrset_valued(RR_A, 9)), ST_OK);
	assert_true(draft_changed(d));
	assert_ptr_equal(draft_base_rrset(d, wire("a.z.test").octets, RR_A), present);
	assert_null(draft_base_rrset(d, wire("a.z.test").octets, RR_TXT));
	assert_null(draft_base_rrset(d, wire("none.z.test").octets, RR_A));

	/* Put and removed again is none. */
	assert_int_equal(draft_put(d, wire("b.z.test").octets, rrset_valued(RR_TXT, 9)), ST_OK);
	assert_int_equal(draft_remove(d, wire("b.z.test").octets, RR_TXT), ST_OK);
	assert_ptr_equal(rrset_at(d, "b.z.test", RR_A), version_rrset(v, "b.z.test", RR_A));
	draft_free(d);
	d = draft_on(v);
	assert_int_equal(draft_put(d, wire("x.y.z.test").octets, rrset_valued(RR_A, 1)), ST_OK);
	assert_true(draft_changed(d));
	assert_int_equal(draft_remove(d, wire("x.y.z.test").octets, RR_A), ST_OK);
	assert_false(draft_changed(d));
	assert_null(draft_find(d, wire("y.z.test").octets));
	draft_free(d);
	version_unref(v);
}

static void fill(struct rrset *rs, const char *rrsig_octets)
{
	uint8_t rdata[24] = {0};
	struct sigset *set;
	struct bytes b = {rdata, sizeof(rdata)};
	be16_put(rdata, rs->type);
	memcpy(rdata + 19, rrsig_octets, 4);
	assert_int_equal(sigset_new(rs, wire("z.test").octets, &b, 1, &set), ST_OK);
	atomic_store(&rs->sigs, set);
	atomic_store(&rs->sig_state, SIG_FILLED);
}

static void test_renew(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, SOA_NS "a A 192.0.2.1\na TXT x\n");
	struct rrset *old = version_rrset(v, "a.z.test", RR_A);
	fill(old, "sig1");
	fill(version_rrset(v, "a.z.test", RR_TXT), "sig2");
	struct draft *d = draft_on(v);
	assert_int_equal(draft_renew(d, wire("a.z.test").octets, RR_A), ST_OK);
	struct rrset *renewed = rrset_at(d, "a.z.test", RR_A);
	assert_ptr_not_equal(renewed, old);
	assert_true(rrset_equal(renewed, old));
	assert_null(rrset_sigs(renewed));
	assert_non_null(rrset_sigs(old));
	assert_non_null(rrset_sigs(rrset_at(d, "a.z.test", RR_TXT)));
	assert_true(draft_changed(d));
	struct version *w = freeze(d, DENIAL_NONE);
	draft_free(d);
	publish(&v, w);
	assert_ptr_equal(version_rrset(v, "a.z.test", RR_A), renewed);
	version_unref(v);
}

struct found {
	char text[256];
};

static enum status note_new(void *ctx, const struct node *n, struct rrset *rs)
{
	struct found *f = ctx;
	char name[NAME_TEXT_MAX];
	char type[RRTYPE_TEXT_MAX];
	size_t len = strlen(f->text);
	snprintf(f->text + len, sizeof(f->text) - len, "%s/%s ", name_to_text(node_name(n), name),
		 rrtype_to_text(rs->type, type));
	return len > 200 ? ST_ESPACE : ST_OK;
}

static void test_each_new(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL,
				       SOA_NS "b A 192.0.2.1\nb TXT x\nc NS ns.c\n"
					      "ns.c A 192.0.2.1\n");
	struct draft *d = draft_on(v);
	struct found f = {""};
	assert_int_equal(draft_put(d, wire("d.z.test").octets, rrset_valued(RR_NSEC3, 1)), ST_OK);
	assert_int_equal(draft_put(d, wire("b.z.test").octets, rrset_valued(RR_AAAA, 1)), ST_OK);
	assert_int_equal(draft_put(d, wire("a.z.test").octets, rrset_valued(RR_A, 1)), ST_OK);
	assert_int_equal(draft_remove(d, wire("b.z.test").octets, RR_TXT), ST_OK);
	/* What was glue is authoritative now. */
	assert_int_equal(draft_remove(d, wire("c.z.test").octets, RR_NS), ST_OK);
	assert_int_equal(draft_settle(d), ST_OK);
	assert_int_equal(draft_each_new(d, note_new, &f), ST_OK);
	assert_string_equal(f.text, "a.z.test./A b.z.test./AAAA ns.c.z.test./A d.z.test./NSEC3 ");
	const struct node *glue = draft_find(d, wire("ns.c.z.test").octets);
	assert_int_equal(glue->flags & ~NODE_DRAFT, NODE_CHAIN);
	assert_ptr_equal(glue->rrsets[0], version_rrset(v, "ns.c.z.test", RR_A));
	draft_free(d);
	version_unref(v);
}

static void test_freeze_needs_a_soa(void **state)
{
	(void)state;
	static char keys;
	struct version *untouched = (struct version *)(uintptr_t)&keys;
	struct version *v = untouched;
	struct freeze f = {.denial = DENIAL_NSEC, .keys = &keys};
	struct draft *d = draft_on(NULL);
	assert_int_equal(draft_freeze(d, &f, &v), ST_EPARSE);
	assert_int_equal(draft_put(d, wire("z.test").octets, rrset_valued(RR_NS, 1)), ST_OK);
	assert_int_equal(draft_freeze(d, &f, &v), ST_EPARSE);
	assert_ptr_equal(v, untouched);
	assert_int_equal(draft_put(d, wire("z.test").octets, rrset_valued(RR_SOA, 1)), ST_OK);
	assert_int_equal(draft_freeze(d, &f, &v), ST_OK);
	assert_ptr_equal(v->keys, &keys);
	/* Nothing is left in the draft. */
	assert_null(draft_find(d, wire("z.test").octets));
	assert_int_not_equal(draft_put(d, wire("z.test").octets, rrset_valued(RR_A, 1)), ST_OK);
	draft_free(d);
	version_unref(v);
}

static unsigned keys_dropped;

static void drop_keys(void *keys)
{
	(void)keys;
	keys_dropped++;
}

static void test_two_drafts_of_one_base(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, SOA_NS "a A 192.0.2.1\nb A 192.0.2.1\n");
	struct draft *first = draft_on(v);
	struct draft *second = draft_on(v);
	struct freeze f = {.denial = DENIAL_NSEC, .keys_unref = drop_keys};
	struct version *one;
	struct version *two;
	keys_dropped = 0;
	assert_int_equal(draft_put(first, wire("a.z.test").octets, rrset_valued(RR_A, 1)), ST_OK);
	assert_int_equal(draft_remove(second, wire("a.z.test").octets, RR_A), ST_OK);
	assert_int_equal(draft_put(second, wire("b.z.test").octets, rrset_valued(RR_A, 2)), ST_OK);
	assert_int_equal(draft_freeze(first, &f, &one), ST_OK);
	assert_int_equal(draft_freeze(second, &f, &two), ST_OK);
	draft_free(first);
	draft_free(second);
	/* The second is published; the first, which still stands on the base, dies later. */
	publish(&v, two);
	assert_null(version_rrset(v, "a.z.test", RR_A));
	assert_non_null(version_rrset(one, "a.z.test", RR_A));
	version_unref(one);
	assert_int_equal(keys_dropped, 1);
	assert_non_null(version_rrset(v, "b.z.test", RR_A));
	version_unref(v);
	assert_int_equal(keys_dropped, 2);
}

/* A zone made anew shares nothing, and succeeds nothing. */
static void test_no_base(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, SOA_NS);
	struct version *w = version_of("z.test", NULL, SOA_NS "a A 192.0.2.1\n");
	version_succeed(v, w);
	assert_null(v->newer);
	version_unref(v);
	version_succeed(NULL, w);
	version_unref(w);
}

static void apply_and_publish(struct version **v, const char *text)
{
	publish(v, version_of("z.test", *v, text));
}

static void test_apply_changes_only_what_differs(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL,
				       SOA_NS "a A 192.0.2.1\na TXT x\nb A 192.0.2.2\n"
					      "e.n.t A 192.0.2.3\nc A 192.0.2.1\n");
	const struct rrset *a_txt = version_rrset(v, "a.z.test", RR_TXT);
	const struct rrset *c = version_rrset(v, "c.z.test", RR_A);
	const struct rrset *soa = v->soa;
	struct draft *d = draft_on(v);
	/* Earlier changes that the content lacks go, others stay. */
	assert_int_equal(draft_put(d, wire("early.z.test").octets, rrset_valued(RR_A, 1)), ST_OK);
	assert_int_equal(
		draft_put(d, wire("d.z.test").octets, rrset_of(RR_A, 3600, "\300\0\2\7", 4)),
		ST_OK);
	apply_text(d, "z.test",
		   SOA_NS "a A 192.0.2.9\na TXT x\nc 3600 A 192.0.2.1\nd A 192.0.2.7\n", false);
	const uint8_t *const *touched;
	size_t count;
	assert_int_equal(draft_touched(d, &touched, &count), ST_OK);
	static const char *const expected[] = {"a", "b", "d", "early", "t", "n.t", "e.n.t"};
	assert_int_equal(count, 7);
	for (size_t i = 0; i < count; i++) {
		char name[64];
		snprintf(name, sizeof(name), "%s.z.test", expected[i]);
		assert_true(name_equal(touched[i], wire(name).octets));
	}
	size_t base_names;
	size_t names;
	draft_counts(d, &base_names, &names);
	assert_int_equal(base_names, 5);
	assert_int_equal(names, 4);
	struct version *w = freeze(d, DENIAL_NONE);
	draft_free(d);
	publish(&v, w);
	assert_ptr_equal(v->soa, soa);
	assert_ptr_equal(version_rrset(v, "a.z.test", RR_TXT), a_txt);
	assert_ptr_equal(version_rrset(v, "c.z.test", RR_A), c);
	assert_null(version_rrset(v, "early.z.test", RR_A));
	assert_null(version_rrset(v, "e.n.t.z.test", RR_A));
	assert_int_equal(v->names.count, 4);
	version_unref(v);
}

static const char signed_text[] =
	SOA_NS "a A 192.0.2.1\n"
	       "a RRSIG A 13 3 3600 20300101000000 20200101000000 1 z.test. AQID\n"
	       "a RRSIG A 13 3 3600 20290101000000 20210101000000 2 z.test. AQID\n"
	       "a RRSIG TXT 13 3 3600 20290101000000 20210101000000 2 z.test. AQID\n"
	       "a RRSIG NSEC 13 3 3600 20290101000000 20210101000000 2 z.test. BQID\n"
	       "a NSEC @ A RRSIG NSEC\n"
	       "@ NSEC a NS SOA NSEC\n"
	       "b TXT x\n";

static void test_apply_signatures(void **state)
{
	(void)state;
	struct version *v = version_of("z.test", NULL, signed_text);
	struct rrset *a = version_rrset(v, "a.z.test", RR_A);
	struct sigset *sigs = rrset_sigs(a);
	assert_int_equal(v->denial, DENIAL_NSEC);
	assert_non_null(sigs);
	assert_int_equal(sigs->count, 2);
	assert_int_equal(sigs->inception, 1609459200);
	assert_int_equal(sigs->expiration, 1861920000);
	assert_int_equal(atomic_load(&a->sig_state), SIG_FILLED);
	assert_int_equal(rrset_sigs(version_rrset(v, "a.z.test", RR_NSEC))->count, 1);
	assert_null(rrset_sigs(version_rrset(v, "b.z.test", RR_TXT)));
	/* An RRSIG never is an RRset, nor kept without what it covers. */
	assert_null(version_rrset(v, "a.z.test", RR_RRSIG));
	assert_null(version_rrset(v, "a.z.test", RR_TXT));

	/* The same again: all stays. */
	struct draft *d = draft_on(v);
	apply_text(d, "z.test", signed_text, false);
	assert_false(draft_changed(d));
	draft_free(d);

	/* One signature gone: a new RRset with the same data. */
	static const char fewer[] =
		SOA_NS "a A 192.0.2.1\n"
		       "a RRSIG A 13 3 3600 20300101000000 20200101000000 1 z.test. AQID\n"
		       "b TXT x\n";
	apply_and_publish(&v, fewer);
	struct rrset *now = version_rrset(v, "a.z.test", RR_A);
	assert_int_equal(rrset_sigs(now)->count, 1);
	assert_int_equal(v->denial, DENIAL_NONE);
	assert_int_equal(v->chain.count, 0);

	/* All gone: the slot is empty. */
	apply_and_publish(&v, SOA_NS "a A 192.0.2.1\nb TXT x\n");
	assert_null(rrset_sigs(version_rrset(v, "a.z.test", RR_A)));

	/* And back. */
	apply_and_publish(&v, signed_text);
	assert_int_equal(rrset_sigs(version_rrset(v, "a.z.test", RR_A))->count, 2);
	assert_int_equal(v->denial, DENIAL_NSEC);
	version_unref(v);
}

/* A zone that a file signed is from now on signed by us: no signature of the file may stay. */
static void test_apply_drops_foreign_signatures(void **state)
{
	(void)state;
	static char keys;
	static const char text[] = SOA_NS "a A 192.0.2.1\nb TXT x\n";
	struct version *v = version_of("z.test", NULL, signed_text);
	const struct rrset *b = version_rrset(v, "b.z.test", RR_TXT);
	struct draft *d = draft_on(v);
	apply_text(d, "z.test", text, true);
	assert_null(rrset_sigs(rrset_at(d, "a.z.test", RR_A)));
	assert_null(rrset_at(d, "a.z.test", RR_NSEC));
	assert_ptr_equal(rrset_at(d, "b.z.test", RR_TXT), b);
	struct freeze f = {.denial = DENIAL_NSEC, .is_signed = true, .keys = &keys};
	struct version *w;
	assert_int_equal(draft_freeze(d, &f, &w), ST_OK);
	draft_free(d);
	publish(&v, w);

	/* Signatures of our own stay where nothing changed. */
	struct rrset *a = version_rrset(v, "a.z.test", RR_A);
	fill(a, "ours");
	d = draft_on(v);
	apply_text(d, "z.test", text, true);
	assert_ptr_equal(rrset_at(d, "a.z.test", RR_A), a);
	assert_false(draft_changed(d));
	draft_free(d);
	version_unref(v);
}

static struct rrset *generated(uint16_t type, unsigned value)
{
	struct rrset *rs = rrset_valued(type, value);
	rs->flags |= RRSET_GENERATED;
	return rs;
}

static void test_apply_leaves_generated(void **state)
{
	(void)state;
	struct draft *d = draft_on(NULL);
	apply_text(d, "z.test", SOA_NS "a A 192.0.2.1\nb A 192.0.2.1\nc TXT x\n", true);
	assert_int_equal(draft_settle(d), ST_OK);
	assert_int_equal(draft_put(d, wire("z.test").octets, generated(RR_DNSKEY, 1)), ST_OK);
	assert_int_equal(draft_put(d, wire("a.z.test").octets, generated(RR_NSEC, 1)), ST_OK);
	assert_int_equal(draft_put(d, wire("b.z.test").octets, generated(RR_NSEC, 1)), ST_OK);
	struct version *v = freeze(d, DENIAL_NSEC);
	draft_free(d);
	assert_int_equal(v->chain.count, 4);

	d = draft_on(v);
	apply_text(d, "z.test", SOA_NS "a A 192.0.2.2\nc CDS 0 0 0 00\n", true);
	assert_int_equal(draft_settle(d), ST_OK);
	assert_non_null(rrset_at(d, "z.test", RR_DNSKEY));
	assert_non_null(rrset_at(d, "a.z.test", RR_NSEC));
	/* b has nothing but its NSEC, which is for the chain's maker to remove: */
	const struct node *b = draft_find(d, wire("b.z.test").octets);
	assert_int_equal(b->rrset_count, 1);
	assert_int_equal(b->flags & NODE_CHAIN, 0);
	const struct node *after = draft_chain_after(d, wire("a.z.test").octets);
	assert_true(name_equal(node_name(after), wire("c.z.test").octets));
	assert_int_equal(draft_remove(d, wire("b.z.test").octets, RR_NSEC), ST_OK);
	assert_null(draft_find(d, wire("b.z.test").octets));
	struct version *w = freeze(d, DENIAL_NSEC);
	draft_free(d);
	assert_int_equal(w->chain.count, 3);
	publish(&v, w);
	version_unref(v);
}

static void test_nsec3_split(void **state)
{
	(void)state;
	static const char text[] = SOA_NS "@ NSEC3PARAM 1 0 0 -\n"
					  "00000000000000000000000000000000 NSEC3 1 0 0 - "
					  "10000000000000000000000000000000 A\n"
					  "00000000000000000000000000000000 RRSIG NSEC3 13 3 3600 "
					  "20300101000000 20200101000000 "
					  "1 z.test. AQID\n"
					  "10000000000000000000000000000000 NSEC3 1 0 0 - "
					  "00000000000000000000000000000000 A\n"
					  "10000000000000000000000000000000 A 192.0.2.1\n";
	static const char both[] = "10000000000000000000000000000000.z.test";
	struct version *v = version_of("z.test", NULL, text);
	assert_int_equal(v->denial, DENIAL_NSEC3);
	assert_int_equal(v->nsec3.count, 2);
	assert_int_equal(v->names.count, 2);
	assert_int_equal(v->record_count, 4);
	assert_non_null(version_rrset(v, both, RR_A));
	assert_null(version_rrset(v, both, RR_NSEC3));
	const struct node *first = btree_first(&v->nsec3);
	assert_int_equal(rrset_sigs(first->rrsets[0])->count, 1);
	struct draft *d = draft_on(v);
	apply_text(d, "z.test", text, false);
	assert_false(draft_changed(d));
	assert_ptr_equal(draft_base_rrset(d, node_name(first), RR_NSEC3), first->rrsets[0]);
	/* Each half goes by itself. */
	assert_int_equal(draft_remove(d, wire(both).octets, RR_A), ST_OK);
	assert_null(draft_find(d, wire(both).octets));
	assert_int_equal(draft_remove(d, wire(both).octets, RR_A), ST_ENOENT);
	assert_int_equal(draft_remove(d, wire(both).octets, RR_NSEC3), ST_OK);
	assert_int_equal(draft_remove(d, wire(both).octets, RR_NSEC3), ST_ENOENT);
	assert_true(draft_changed(d));
	struct version *w = freeze(d, DENIAL_NONE);
	draft_free(d);
	assert_int_equal(w->nsec3.count, 1);
	publish(&v, w);
	/* The content has them no more. */
	apply_and_publish(&v, SOA_NS);
	assert_int_equal(v->nsec3.count, 0);
	assert_int_equal(v->denial, DENIAL_NONE);
	version_unref(v);
}

static void test_apply_out_of_zone(void **state)
{
	(void)state;
	struct content c;
	struct draft *d = draft_on(NULL);
	read_content(&c, "z.test", SOA_NS "other.example. A 192.0.2.1\n");
	assert_int_equal(draft_apply(d, &c, false), ST_EPARSE);
	content_fini(&c);
	draft_free(d);
}

/* A name with more RRsets than are handled without malloc. */
static void test_many_types(void **state)
{
	(void)state;
	struct wire_name name = wire("many.z.test");
	struct draft *d = draft_on(NULL);
	assert_int_equal(draft_put(d, wire("z.test").octets, rrset_valued(RR_SOA, 1)), ST_OK);
	for (uint16_t i = 0; i < 200; i++) {
		uint16_t type = (uint16_t)(1000 + (i * 37 % 200));
		assert_int_equal(draft_put(d, name.octets, rrset_valued(type, i)), ST_OK);
	}
	struct version *v = freeze(d, DENIAL_NONE);
	draft_free(d);
	for (uint16_t type = 1000; type < 1200; type++) {
		assert_non_null(version_rrset(v, "many.z.test", type));
	}
	d = draft_on(v);
	for (uint16_t type = 1000; type < 1199; type++) {
		assert_int_equal(draft_remove(d, name.octets, type), ST_OK);
	}
	assert_int_equal(draft_find(d, name.octets)->rrset_count, 1);
	draft_free(d);
	version_unref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_refuses),
		cmocka_unit_test(test_put_equal_keeps_slot),
		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_each_new),
		cmocka_unit_test(test_freeze_needs_a_soa),
		cmocka_unit_test(test_two_drafts_of_one_base),
		cmocka_unit_test(test_no_base),
		cmocka_unit_test(test_apply_changes_only_what_differs),
		cmocka_unit_test(test_apply_signatures),
		cmocka_unit_test(test_apply_drops_foreign_signatures),
		cmocka_unit_test(test_apply_leaves_generated),
		cmocka_unit_test(test_nsec3_split),
		cmocka_unit_test(test_apply_out_of_zone),
		cmocka_unit_test(test_many_types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
