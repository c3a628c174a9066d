/* A zone made at once is the one that is made name by name: same nodes, flags, RRsets, signatures,
 * indexes, chains, counts; whatever parts it is made in, and whatever becomes of it afterwards. */
#include "version_fixture.h"
#include "zones/draft_impl.h"

static const char signed_zone[] =
	"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n"
	"@ RRSIG SOA 13 2 60 20300101000000 20200101000000 1 z.test. AQID\n"
	"@ RRSIG NS 13 2 60 20300101000000 20200101000000 1 z.test. AQIE\n"
	"@ RRSIG NS 13 2 60 20300102000000 20200101000000 2 z.test. AQIF\n"
	"@ NSEC a SOA NS RRSIG NSEC\n"
	"a A 192.0.2.1\na A 192.0.2.2\na AAAA 2001:db8::1\n"
	"a RRSIG A 13 3 60 20300101000000 20200101000000 1 z.test. AQID\n"
	"a RRSIG NSEC 13 3 60 20300101000000 20200101000000 1 z.test. AQID\n"
	"a NSEC cut A AAAA RRSIG NSEC\ncut NS ns.cut\nns.cut A 192.0.2.1\n"
	"cut NSEC @ NS RRSIG NSEC\nns.cut NSEC @ A\n";

static const char nsec3_zone[] =
	"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n@ NSEC3PARAM 1 0 0 -\n"
	"00000000000000000000000000000000 NSEC3 1 0 0 - 10000000000000000000000000000000 A\n"
	"10000000000000000000000000000000 NSEC3 1 0 0 - 00000000000000000000000000000000 A\n"
	"10000000000000000000000000000000 RRSIG NSEC3 13 3 60 20300101000000 20200101000000 1 "
	"z.test. AQID\n"
	"20000000000000000000000000000000 NSEC3 1 0 0 - 00000000000000000000000000000000 A\n"
	"20000000000000000000000000000000 A 192.0.2.1\n"
	"b.c.d A 192.0.2.1\n";

static const char shapes[] =
	"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n* A 192.0.2.1\n*.w TXT x\nw.a.b.c A 192.0.2.1\n"
	"x.a.b.c A 192.0.2.1\nd DNAME e\nd A 192.0.2.1\nx.y.d A 192.0.2.1\nz.d NS ns\n"
	"cut NS ns.cut\ncut DS 1 13 2 "
	"0000000000000000000000000000000000000000000000000000000000000000\n"
	"ns.cut A 192.0.2.1\na.b.cut NS x\nc.a.b.cut A 192.0.2.1\n"
	"cut2 NS ns.cut2\ncut2 DNAME x\nx.y.z.cut2 A 192.0.2.1\n";

static const char apex_dname[] =
	"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n@ DNAME e.\nns A 192.0.2.1\na.b NS ns\n";

/* No RRset of its own has the apex, which is there all the same. */
static const char no_apex[] = "$TTL 60\n*.a.b TXT x\nc.b TXT y\n";

static struct draft *new_draft(const struct content *c)
{
	struct draft *d;
	assert_int_equal(draft_new(c->apex, NULL, &d), ST_OK);
	return d;
}

/* A draft that was changed before is not made at once. */
static struct draft *by_name(const struct content *c, bool signing)
{
	struct draft *d = new_draft(c);
	static const uint8_t label[] = {1, 'q'};
	uint8_t name[NAME_MAX_LEN];
	memcpy(name, label, sizeof(label));
	name_lower(name + sizeof(label), c->apex);
	assert_int_equal(draft_put(d, name, rrset_valued(RR_A, 1)), ST_OK);
	assert_int_equal(draft_apply(d, c, signing), ST_OK);
	assert_int_equal(draft_settle(d), ST_OK);
	return d;
}

static struct draft *at_once(const struct content *c, bool signing, unsigned parts)
{
	struct draft *d = new_draft(c);
	assert_int_equal(
		draft_build(d, c, &(struct build_options){.signing = signing, .parts = parts}),
		ST_OK);
	assert_int_equal(draft_settle(d), ST_OK);
	return d;
}

static void same_rrset(const struct rrset *a, const struct rrset *b)
{
	assert_true(rrset_equal(a, b));
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->sig_state, b->sig_state);
	assert_int_equal(rrset_sigs(a) == NULL, rrset_sigs(b) == NULL);
	assert_true(rrset_sigs(a) == NULL || sigset_equal(rrset_sigs(a), rrset_sigs(b)));
}

static void same_node(const struct node *a, const struct node *b)
{
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(a->hash, b->hash);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->labels, b->labels);
	assert_int_equal(a->cover_labels, b->cover_labels);
	assert_int_equal(a->name_len, b->name_len);
	assert_memory_equal(node_name(a), node_name(b), a->name_len);
	assert_int_equal(a->rrset_count, b->rrset_count);
	for (unsigned i = 0; i < a->rrset_count; i++) {
		assert_int_equal(node_types(a)[i], a->rrsets[i]->type);
		same_rrset(a->rrsets[i], b->rrsets[i]);
	}
}

static void same_tree(const struct btree *a, const struct btree *b)
{
	struct btree_cursor at;
	struct btree_cursor bt;
	const struct node *n;
	assert_int_equal(a->count, b->count);
	btree_cursor_init(&at, a);
	btree_cursor_init(&bt, b);
	for (size_t i = 0; (n = btree_cursor_next(&at)) != NULL; i++) {
		struct sort_key key;
		same_node(n, btree_cursor_next(&bt));
		sort_key_init(&key, node_name(n));
		assert_ptr_equal(btree_find(a, &key), n);
	}
	assert_null(btree_cursor_next(&bt));
}

static enum status check_found(void *ctx, const struct node *n)
{
	const struct version *v = ctx;
	struct name_ref ref;
	name_ref_init(&ref, node_name(n));
	assert_int_equal(ref.hash[ref.labels], n->hash);
	if (node_rrset(n, RR_NSEC3) == NULL) {
		assert_ptr_equal(version_find(v, &ref, ref.labels), n);
	}
	return ST_OK;
}

static void same_version(struct version *a, struct version *b)
{
	same_tree(&a->order, &b->order);
	same_tree(&a->chain, &b->chain);
	same_tree(&a->nsec3, &b->nsec3);
	assert_int_equal(version_walk(a, check_found, a), ST_OK);
	assert_int_equal(a->names.count, b->names.count);
	assert_int_equal(a->names.count, a->order.count);
	assert_int_equal(a->denial, b->denial);
	assert_int_equal(a->name_count, b->name_count);
	assert_int_equal(a->record_count, b->record_count);
	assert_int_equal(a->serial, b->serial);
}

/* Drafts compare by the versions made of them; one without a SOA, by its trees. */
static void same_drafts(struct draft *a, struct draft *b, bool signing)
{
	const uint8_t *const *names[2];
	size_t counts[2];
	enum denial denial = signing ? DENIAL_NSEC : DENIAL_NONE;
	assert_int_equal(draft_touched(a, &names[0], &counts[0]), ST_OK);
	assert_int_equal(draft_touched(b, &names[1], &counts[1]), ST_OK);
	assert_int_equal(counts[0], counts[1]);
	for (size_t i = 0; i < counts[0]; i++) {
		assert_true(name_equal(names[0][i], names[1][i]));
	}
	assert_int_equal(draft_changed(a), draft_changed(b));
	assert_int_equal(a->chain_built, b->chain_built);
	const struct node *apex = draft_find(a, a->apex);
	if (apex == NULL || node_rrset(apex, RR_SOA) == NULL) {
		same_tree(&a->order, &b->order);
		same_tree(&a->chain, &b->chain);
		return;
	}
	struct version *va = freeze(a, denial);
	struct version *vb = freeze(b, denial);
	same_version(va, vb);
	version_unref(va);
	version_unref(vb);
}

static void check_content(const struct content *c, unsigned parts_max)
{
	for (unsigned parts = 0; parts <= parts_max; parts++) {
		for (unsigned signing = 0; signing < 2; signing++) {
			struct draft *a = at_once(c, signing == 1, parts);
			struct draft *b = by_name(c, signing == 1);
			same_drafts(a, b, signing == 1);
			draft_free(a);
			draft_free(b);
		}
	}
}

static void test_texts(void **state)
{
	(void)state;
	static const char *const texts[] = {signed_zone, nsec3_zone, shapes,
					    apex_dname,	 no_apex,    ""};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct content c;
		read_content(&c, "z.test", texts[i]);
		check_content(&c, 5);
		content_fini(&c);
	}
}

static void test_files(void **state)
{
	(void)state;
	static const char *const files[] = {"nasty", "other", "sub"};
	const char *source = getenv("SIGNET_SOURCE");
	assert_non_null(source);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[512];
		struct content c;
		struct diags d;
		diags_init(&d, 8);
		content_init(&c, wire("nasty.test").octets);
		snprintf(path, sizeof(path), "%s/tests/functional/zones/%s.zone", source, files[i]);
		assert_int_equal(master_read(path, &(struct master_options){0}, &c, &d), ST_OK);
		assert_int_equal(content_sort(&c), ST_OK);
		assert_true(c.record_count > 5);
		check_content(&c, 5);
		content_fini(&c);
		diags_fini(&d);
	}
}

static void add_random(struct content *c, uint64_t *random, unsigned names)
{
	static const uint16_t types[] = {RR_A,	   RR_A,    RR_AAAA, RR_TXT,   RR_NS,
					 RR_DNAME, RR_NSEC, RR_MX,   RR_NSEC3, RR_RRSIG};
	char text[80];
	unsigned r = next_random(random);
	unsigned a = r % names;
	unsigned b = r / names % 6;
	const char *star = r % 13 == 0 ? "*." : "";
	switch (r % 4) {
	case 0:
		snprintf(text, sizeof(text), "%sh%u.z.test", star, a);
		break;
	case 1:
		snprintf(text, sizeof(text), "%sx%u.h%u.z.test", star, b, a);
		break;
	case 2:
		snprintf(text, sizeof(text), "%sy%u.x.e.h%u.z.test", star, b, a);
		break;
	default:
		snprintf(text, sizeof(text), "%se.h%u.z.test", star, a);
		break;
	}
	uint16_t type = types[next_random(random) % (sizeof(types) / sizeof(types[0]))];
	/* Few cuts and DNAMEs, or they would cover everything. */
	if ((type == RR_NS || type == RR_DNAME) && next_random(random) % 4 != 0) {
		type = RR_A;
	}
	static const uint8_t rrsig[] = "\0\1\15\3\0\0\0\74\170\0\0\0\160\0\0\0\0\1\1z\4test\0ABC";
	struct bytes rdata = {rrsig, sizeof(rrsig) - 1};
	struct rrset *rs = NULL;
	if (type != RR_RRSIG) {
		rs = rrset_valued(type, next_random(random) % 5);
		rdata = rdata_at(rs->data);
	}
	struct place place = {0};
	assert_int_equal(content_add(c, wire(text).octets, type, 60, rdata, place), ST_OK);
	rrset_free(rs);
}

static void random_content(struct content *c, uint64_t *random, unsigned names, unsigned records)
{
	struct place place = {0};
	struct rrset *soa = rrset_valued(RR_SOA, 1 + next_random(random) % 1000);
	content_init(c, wire("z.test").octets);
	assert_int_equal(content_add(c, c->apex, RR_SOA, 60, rdata_at(soa->data), place), ST_OK);
	rrset_free(soa);
	for (unsigned i = 0; i < records; i++) {
		add_random(c, random, names);
	}
	assert_int_equal(content_sort(c), ST_OK);
}

static void test_random(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint64_t random = seed;
		struct content c;
		random_content(&c, &random, 3 + (unsigned)seed * 3, (unsigned)seed * 8);
		check_content(&c, 5);
		content_fini(&c);
	}
}

/* Many pages in every index, parts that begin anywhere, nodes cut from large blocks. */
static void test_large(void **state)
{
	(void)state;
	uint64_t random = 7;
	struct content c;
	random_content(&c, &random, 20000, 120000);
	assert_true(c.set_count > 70000);
	check_content(&c, 2);
	content_fini(&c);
}

static void put_valued(struct draft *d, const char *name, uint16_t type)
{
	assert_int_equal(draft_put(d, wire(name).octets, rrset_valued(type, 9)), ST_OK);
}

/* What a zone made at once is made of outlives it as long as later versions use it, no longer:
 * versions of other contents follow, some are never published, and they go in any order. */
static void test_successors(void **state)
{
	(void)state;
	enum {
		VERSIONS = 12,
	};
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint64_t random = seed;
		struct version *versions[VERSIONS] = {NULL};
		struct version *last = NULL;
		for (unsigned i = 0; i < VERSIONS; i++) {
			struct content c;
			struct draft *d;
			random_content(&c, &random, 12, 100);
			assert_int_equal(draft_new(c.apex, last, &d), ST_OK);
			/* What was changed before the content came is changed back. */
			if (i > 0 && i % 3 == 1) {
				assert_int_equal(draft_renew(d, c.apex, RR_SOA), ST_OK);
				put_valued(d, "q.w.h3.z.test", RR_A);
				put_valued(d, "h5.z.test", RR_NS);
				enum status st = draft_remove(d, wire("h4.z.test").octets, RR_A);
				assert_true(st == ST_OK || st == ST_ENOENT);
			}
			assert_int_equal(draft_apply(d, &c, false), ST_OK);
			if (i > 0 && i % 3 == 0) {
				assert_int_equal(draft_renew(d, c.apex, RR_SOA), ST_OK);
			}
			struct version *v = freeze(d, DENIAL_NONE);
			struct draft *fresh = at_once(&c, false, 1);
			struct version *same = freeze(fresh, DENIAL_NONE);
			same_version(v, same);
			version_unref(same);
			draft_free(fresh);
			draft_free(d);
			content_fini(&c);
			if (i > 0 && next_random(&random) % 4 == 0) {
				version_unref(v);
				continue;
			}
			if (last != NULL) {
				version_succeed(last, v);
			}
			versions[i] = v;
			last = v;
		}
		for (unsigned left = VERSIONS; left > 0; left--) {
			unsigned pick = next_random(&random) % VERSIONS;
			version_unref(versions[pick]);
			versions[pick] = NULL;
		}
		for (unsigned i = 0; i < VERSIONS; i++) {
			version_unref(versions[i]);
		}
	}
}

/* A content that is taken is given up, whether the draft is new or not. */
static void test_take(void **state)
{
	(void)state;
	struct version *v[2] = {NULL, NULL};
	for (unsigned i = 0; i < 2; i++) {
		struct content c;
		struct draft *d;
		read_content(&c, "z.test", shapes);
		assert_int_equal(draft_new(c.apex, v[0], &d), ST_OK);
		assert_int_equal(draft_take(d, &c, false), ST_OK);
		assert_int_equal(c.record_count, 0);
		assert_null(c.records);
		content_fini(&c);
		v[i] = freeze(d, DENIAL_NONE);
		draft_free(d);
	}
	same_version(v[0], v[1]);
	version_unref(v[1]);
	version_unref(v[0]);
}

/* Changes to a draft whose nodes and RRsets share blocks. */
static void test_changes(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint64_t random = seed;
		struct content c;
		random_content(&c, &random, 10, 80);
		struct draft *d[2] = {at_once(&c, false, 2), by_name(&c, false)};
		for (unsigned i = 0; i < 60; i++) {
			char text[64];
			unsigned r = next_random(&random);
			snprintf(text, sizeof(text), r % 2 == 0 ? "h%u.z.test" : "x1.h%u.z.test",
				 r / 2 % 10);
			struct wire_name name = wire(text);
			uint16_t type = r % 3 == 0 ? RR_A : r % 3 == 1 ? RR_NS : RR_TXT;
			for (unsigned k = 0; k < 2; k++) {
				enum status st =
					r / 64 % 2 == 0 ? draft_put(d[k], name.octets,
								    rrset_valued(type, r / 128 % 3))
							: draft_remove(d[k], name.octets, type);
				assert_true(st == ST_OK || st == ST_ENOENT);
			}
		}
		assert_int_equal(draft_settle(d[0]), ST_OK);
		assert_int_equal(draft_settle(d[1]), ST_OK);
		same_drafts(d[0], d[1], false);
		draft_free(d[0]);
		draft_free(d[1]);
		content_fini(&c);
	}
}

static void test_out_of_zone(void **state)
{
	(void)state;
	for (unsigned turn = 0; turn < 4; turn++) {
		struct content c;
		struct place place = {0};
		uint64_t random = turn;
		random_content(&c, &random, 5, 30);
		struct bytes rdata = {(const uint8_t *)"\300\0\2\1", 4};
		const char *out = turn % 2 == 0 ? "a.example" : "z.zzz";
		assert_int_equal(content_add(&c, wire(out).octets, RR_A, 60, rdata, place), ST_OK);
		assert_int_equal(content_sort(&c), ST_OK);
		struct draft *d = new_draft(&c);
		assert_int_equal(draft_apply(d, &c, false), ST_EPARSE);
		/* It is still good for something. */
		assert_false(draft_changed(d));
		assert_int_equal(draft_put(d, c.apex, rrset_valued(RR_SOA, 1)), ST_OK);
		version_unref(freeze(d, DENIAL_NONE));
		draft_free(d);
		content_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),	   cmocka_unit_test(test_files),
		cmocka_unit_test(test_random),	   cmocka_unit_test(test_large),
		cmocka_unit_test(test_successors), cmocka_unit_test(test_changes),
		cmocka_unit_test(test_take),	   cmocka_unit_test(test_out_of_zone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
