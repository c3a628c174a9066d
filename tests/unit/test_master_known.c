/* Reading a file that says again what a version holds: names and RDATA stay there, and what is made
 * of the file is the same. */
#include "master_same.h"
#include "version_fixture.h"

#define APEX "example.com"

static const char before[] = "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n@ NS ns2\nns A 192.0.2.1\n"
			     "a A 192.0.2.1\na A 192.0.2.2\n TXT \"x\"\nb.c.d A 192.0.2.1\n"
			     "many A 192.0.2.1\nmany A 192.0.2.2\nmany A 192.0.2.3\n"
			     "many A 192.0.2.4\nmany A 192.0.2.5\ngone A 192.0.2.1\n";

static const char after[] = "$TTL 60\n@ SOA ns h 2 1 1 1 1\n@ NS ns\n@ NS NS2\nNS A 192.0.2.1\n"
			    "A A 192.0.2.2\na A 192.0.2.9\n TXT \"x\"\n TXT \"y\"\n AAAA ::1\n"
			    "c.d A 192.0.2.1\nb.c.d A 192.0.2.1\nnew A 192.0.2.1\n"
			    "many A 192.0.2.1\nmany A 192.0.2.2\nmany A 192.0.2.3\n"
			    "many A 192.0.2.4\nmany A 192.0.2.5\n";

static void read_known(struct reading_of *r, const char *text, size_t chunk_bytes,
		       const struct version *known)
{
	struct master_options opt = {
		.chunk_bytes = chunk_bytes, .threads = chunk_bytes > 0 ? 2 : 1, .known = known};
	content_init(&r->c, wire(APEX).octets);
	diags_init(&r->d, DIAGS_LIMIT);
	r->st = master_read_mem("z", text, strlen(text), &opt, &r->c, &r->d);
	assert_int_equal(r->st, ST_OK);
}

static struct version *base_of(const char *text)
{
	struct draft *d;
	assert_int_equal(draft_new(wire(APEX).octets, NULL, &d), ST_OK);
	apply_text(d, APEX, text, false);
	struct version *v = freeze(d, DENIAL_NONE);
	draft_free(d);
	return v;
}

static const struct node *node_of(const struct version *v, const uint8_t *name)
{
	return nindex_find(&v->names, name_hash(name), name);
}

/* Does the record's RDATA stand in the node? */
static bool is_held(const struct node *n, const struct record *r)
{
	const struct rrset *rs = n == NULL ? NULL : node_rrset(n, r->type);
	return rs != NULL && r->rdata > rs->data && r->rdata < rs->data + rs->size;
}

static void test_what_stays(void **state)
{
	(void)state;
	struct reading_of r;
	size_t names = 0;
	size_t rdatas = 0;
	struct version *v = base_of(before);
	read_known(&r, after, 0, v);
	for (size_t i = 0; i < r.c.record_count; i++) {
		const struct record *record = &r.c.records[i];
		const struct node *n = node_of(v, record->owner);
		assert_true(n == NULL || record->owner == node_name(n));
		names += n != NULL;
		rdatas += is_held(n, record);
	}
	/* All but that of new; an empty non-terminal's is there. */
	assert_int_equal(names, r.c.record_count - 1);
	/* Not of the SOA, of the NS in other case, of what is new, and of an RRset of many. */
	assert_int_equal(rdatas, 5);
	reading_fini(&r);
	version_unref(v);
}

static void test_same_content(void **state)
{
	(void)state;
	static const char *const texts[] = {before, after, "@ 1 SOA . . 1 1 1 1 1\n"};
	struct version *v = base_of(before);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct reading_of plain;
		read_known(&plain, texts[i], 0, NULL);
		for (size_t bytes = 0; bytes < 200; bytes += 9) {
			struct reading_of known;
			read_known(&known, texts[i], bytes, v);
			assert_null(reading_difference(&plain, &known));
			assert_int_equal(content_sort(&known.c), ST_OK);
			reading_fini(&known);
		}
		reading_fini(&plain);
	}
	version_unref(v);
}

/* The next version is that of the file, and does not need what was read. */
static void test_apply(void **state)
{
	(void)state;
	struct reading_of r;
	struct draft *d;
	struct version *v = base_of(before);
	struct version *wanted = base_of(after);
	read_known(&r, after, 40, v);
	assert_int_equal(content_sort(&r.c), ST_OK);
	assert_int_equal(draft_new(wire(APEX).octets, v, &d), ST_OK);
	assert_int_equal(draft_take(d, &r.c, false), ST_OK);
	reading_fini(&r);
	struct version *next = freeze(d, DENIAL_NONE);
	draft_free(d);
	version_succeed(v, next);
	version_unref(v);
	assert_int_equal(next->record_count, wanted->record_count);
	assert_int_equal(next->name_count, wanted->name_count);
	assert_null(node_of(next, wire("gone." APEX).octets));
	static const char *const names[] = {APEX, "ns." APEX, "a." APEX, "c.d." APEX, "new." APEX};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct node *x = node_of(next, wire(names[i]).octets);
		const struct node *y = node_of(wanted, wire(names[i]).octets);
		assert_int_equal(x->rrset_count, y->rrset_count);
		for (size_t k = 0; k < x->rrset_count; k++) {
			assert_true(rrset_equal(x->rrsets[k], y->rrsets[k]));
		}
	}
	version_unref(next);
	version_unref(wanted);
}

int main(void)
{
	rcu_thread_register();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_stays),
		cmocka_unit_test(test_same_content),
		cmocka_unit_test(test_apply),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
