#include "version_fixture.h"

#include "zones/dump.h"

static const char text[] =
	"$TTL 3600\n"
	"@ A 192.0.2.9\n"
	"@ SOA ns h 1 3600 600 86400 300\n"
	"@ NS ns\n"
	"@ NSEC3PARAM 1 0 0 -\n"
	"b A 192.0.2.2\n"
	"b A 192.0.2.1\n"
	"b RRSIG A 13 3 3600 20300101000000 20200101000000 1 z.test. AQID\n"
	"x.ent 60 TXT \"a\\\"b\" c\n"
	"00000000000000000000000000000000 NSEC3 1 0 0 - 10000000000000000000000000000000 A\n"
	"00000000000000000000000000000000 RRSIG NSEC3 13 3 3600 20300101000000 20200101000000 1 "
	"z.test. AQID\n";

static const char dumped[] =
	"z.test.\t3600\tIN\tSOA\tns.z.test. h.z.test. 1 3600 600 86400 300\n"
	"z.test.\t3600\tIN\tA\t192.0.2.9\n"
	"z.test.\t3600\tIN\tNS\tns.z.test.\n"
	"z.test.\t3600\tIN\tNSEC3PARAM\t1 0 0 -\n"
	"b.z.test.\t3600\tIN\tA\t192.0.2.1\n"
	"b.z.test.\t3600\tIN\tA\t192.0.2.2\n"
	"b.z.test.\t3600\tIN\tRRSIG\tA 13 3 3600 20300101000000 20200101000000 1 z.test. AQID\n"
	"x.ent.z.test.\t60\tIN\tTXT\t\"a\\\"b\" \"c\"\n"
	"00000000000000000000000000000000.z.test.\t3600\tIN\tNSEC3\t1 0 0 - "
	"10000000000000000000000000000000 A\n"
	"00000000000000000000000000000000.z.test.\t3600\tIN\tRRSIG\tNSEC3 13 3 3600 "
	"20300101000000 20200101000000 1 z.test. AQID\n";

struct lines {
	char *text;
	size_t len;
	size_t count;
	size_t stop_after;
};

static enum status add_line(void *ctx, const char *line, size_t len)
{
	struct lines *l = ctx;
	assert_int_equal(line[len - 1], '\n');
	l->text = realloc(l->text, l->len + len + 1);
	assert_non_null(l->text);
	memcpy(l->text + l->len, line, len);
	l->len += len;
	l->text[l->len] = '\0';
	return ++l->count == l->stop_after ? ST_ESPACE : ST_OK;
}

static bool covers_signed(const struct node *n, const struct rrset *rs)
{
	return node_name(n)[1] == 'b' || rs->type == RR_NSEC3;
}

static bool covers_all(const struct node *n, const struct rrset *rs)
{
	(void)n;
	(void)rs;
	return true;
}

static void test_dump(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		struct dump_options opt;
		size_t stop_after;
		enum status st;
		size_t count;
	} cases[] = {
		{"as it is", {false, NULL}, 0, ST_OK, 10},
		{"as it is, slots empty", {false, covers_all}, 0, ST_OK, 10},
		{"complete", {true, covers_signed}, 0, ST_OK, 10},
		{"nothing to be signed", {true, NULL}, 0, ST_OK, 10},
		{"not complete", {true, covers_all}, 0, ST_EAGAIN, 0},
		{"stopped", {false, NULL}, 3, ST_ESPACE, 3},
		{"stopped in an RRset", {false, NULL}, 5, ST_ESPACE, 5},
	};
	struct version *v = version_of("z.test", NULL, text);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct lines l = {.stop_after = cases[c].stop_after};
		print_message("%s\n", cases[c].name);
		assert_int_equal(version_dump(v, &cases[c].opt, add_line, &l), cases[c].st);
		assert_int_equal(l.count, cases[c].count);
		if (l.count > 0) {
			assert_memory_equal(l.text, dumped, l.len);
		}
		if (cases[c].st == ST_OK) {
			assert_string_equal(l.text, dumped);
		}
		free(l.text);
	}
	version_unref(v);
}

static bool covers_a(const struct node *n, const struct rrset *rs)
{
	(void)n;
	return rs->type == RR_A;
}

/* What became glue keeps its slot, and no signature is to be seen at glue. */
static void test_slots_of_what_carries_none(void **state)
{
	(void)state;
	struct dump_options opt = {.covers = covers_a};
	struct lines l = {0};
	struct version *v = version_of("z.test", NULL, text);
	assert_int_equal(version_dump(v, &opt, add_line, &l), ST_OK);
	assert_non_null(strstr(l.text, "RRSIG\tA "));
	assert_null(strstr(l.text, "RRSIG\tNSEC3 "));
	assert_int_equal(l.count, 9);
	free(l.text);
	version_unref(v);
}

/* What is dumped reads back as the same version. */
static void test_reads_back(void **state)
{
	(void)state;
	struct dump_options opt = {0};
	struct lines once = {0};
	struct lines twice = {0};
	struct version *v = version_of("z.test", NULL, text);
	assert_int_equal(version_dump(v, &opt, add_line, &once), ST_OK);
	struct version *w = version_of("z.test", NULL, once.text);
	assert_int_equal(version_dump(w, &opt, add_line, &twice), ST_OK);
	assert_string_equal(once.text, twice.text);
	free(once.text);
	free(twice.text);
	version_unref(v);
	version_unref(w);
}

/* A record whose text is far longer than a first buffer. */
static void test_long_record(void **state)
{
	(void)state;
	struct dump_options opt = {0};
	struct draft *d;
	uint8_t *rdata = calloc(1, RDATA_MAX);
	assert_int_equal(draft_new(wire("z.test").octets, NULL, &d), ST_OK);
	assert_int_equal(draft_put(d, wire("z.test").octets, rrset_valued(RR_SOA, 1)), ST_OK);
	/* Strings of 255 octets, each of which is \000 in text. */
	for (size_t at = 0; at < RDATA_MAX; at += 256) {
		rdata[at] = (uint8_t)(RDATA_MAX - at - 1 < 255 ? RDATA_MAX - at - 1 : 255);
	}
	assert_int_equal(
		draft_put(d, wire("t.z.test").octets, rrset_of(RR_TXT, 1, rdata, RDATA_MAX)),
		ST_OK);
	free(rdata);
	struct version *v = freeze(d, DENIAL_NONE);
	draft_free(d);
	struct lines l = {0};
	assert_int_equal(version_dump(v, &opt, add_line, &l), ST_OK);
	assert_int_equal(l.count, 2);
	assert_true(l.len > (size_t)4 * (RDATA_MAX - 256));
	free(l.text);
	version_unref(v);
}

static void test_file(void **state)
{
	(void)state;
	struct dump_options opt = {0};
	struct version *v = version_of("z.test", NULL, text);
	char read[sizeof(dumped) + 1];
	FILE *f = tmpfile();
	assert_non_null(f);
	assert_int_equal(version_dump_file(v, &opt, f), ST_OK);
	rewind(f);
	assert_int_equal(fread(read, 1, sizeof(read), f), sizeof(dumped) - 1);
	assert_memory_equal(read, dumped, sizeof(dumped) - 1);
	fclose(f);
	f = fopen("/dev/full", "w");
	if (f != NULL) {
		setvbuf(f, NULL, _IONBF, 0);
		assert_int_equal(version_dump_file(v, &opt, f), ST_EIO);
		fclose(f);
	}
	version_unref(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_slots_of_what_carries_none),
		cmocka_unit_test(test_reads_back),
		cmocka_unit_test(test_long_record),
		cmocka_unit_test(test_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
