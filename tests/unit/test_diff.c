/* The difference between two versions, applied to what the one held, gives what the other holds. */
#include "random_zone.h"

#include "zones/diff.h"
#include "zones/dump.h"

#define LINES_MAX 4000
#define ROUNDS	  400

/* Records as lines, signatures included. */
struct lines {
	char *list[LINES_MAX];
	size_t count;
};

static void lines_add(struct lines *l, const char *text)
{
	assert_true(l->count < LINES_MAX);
	l->list[l->count] = strdup(text);
	assert_non_null(l->list[l->count++]);
}

static bool lines_remove(struct lines *l, const char *text)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->list[i], text) == 0) {
			free(l->list[i]);
			l->list[i] = l->list[--l->count];
			return true;
		}
	}
	return false;
}

static void lines_fini(struct lines *l)
{
	while (l->count > 0) {
		free(l->list[--l->count]);
	}
}

static enum status dump_line(void *ctx, const char *text, size_t len)
{
	(void)len;
	lines_add(ctx, text);
	return ST_OK;
}

static void lines_of(const struct version *v, zone_covers covers, struct lines *l)
{
	const struct dump_options opt = {.covers = covers};
	assert_int_equal(version_dump(v, &opt, dump_line, l), ST_OK);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void assert_same(struct lines *a, struct lines *b)
{
	qsort(a->list, a->count, sizeof(char *), compare_lines);
	qsort(b->list, b->count, sizeof(char *), compare_lines);
	for (size_t i = 0; i < a->count && i < b->count; i++) {
		assert_string_equal(a->list[i], b->list[i]);
	}
	assert_int_equal(a->count, b->count);
}

/* Applies what it is told to the lines of the base. */
struct applying {
	struct lines lines;
	unsigned soas;
	size_t told;
};

static enum status apply(void *ctx, const struct diff_record *r)
{
	static char text[200000];
	static char line[300000];
	struct applying *a = ctx;
	char owner[NAME_TEXT_MAX];
	char type[RRTYPE_TEXT_MAX];
	a->soas += r->type == RR_SOA;
	a->told++;
	assert_true(a->soas > 0);
	assert_int_equal(rdata_to_text(r->type, r->rdata, text, sizeof(text)), ST_OK);
	snprintf(line, sizeof(line), "%s\t%u\tIN\t%s\t%s\n", name_to_text(r->owner, owner), r->ttl,
		 rrtype_to_text(r->type, type), text);
	if (a->soas == 2) {
		lines_add(&a->lines, line);
	} else if (!lines_remove(&a->lines, line)) {
		fail_msg("removed, and was not there: %s", line);
	}
	return ST_OK;
}

/* The base's sum is *sum; then that of next. Returns how many records were told of. */
static size_t check(struct version *base, struct version *next, const zone_covers covers[2],
		    struct zone_sum *sum)
{
	struct applying a = {.soas = 0};
	struct lines want = {.count = 0};
	struct zone_sum whole;
	const struct diff_options opt = {
		.covers = {covers[0], covers[1]}, .each = apply, .ctx = &a};
	lines_of(base, covers[0], &a.lines);
	lines_of(next, covers[1], &want);
	assert_int_equal(version_diff(base, next, &opt, sum), ST_OK);
	assert_int_equal(a.soas, 2);
	assert_same(&a.lines, &want);
	assert_int_equal(version_sum(next, covers[1], &whole), ST_OK);
	assert_true(zone_sum_equal(&whole, sum));
	assert_int_equal(whole.octets, sum->octets);
	lines_fini(&a.lines);
	lines_fini(&want);
	return a.told;
}

static void test_random_changes(void **state)
{
	static char text[65536];
	const zone_covers covers[2] = {NULL, NULL};
	uint64_t rng = 20261126;
	struct zone_sum sum;
	(void)state;
	random_zone(&rng, 1, text, sizeof(text));
	struct version *base = version_of("zone.test", NULL, text);
	assert_int_equal(version_sum(base, NULL, &sum), ST_OK);
	for (unsigned i = 2; i < ROUNDS; i++) {
		random_zone(&rng, i, text, sizeof(text));
		struct version *next = version_of("zone.test", base, text);
		check(base, next, covers, &sum);
		version_succeed(base, next);
		version_unref(base);
		base = next;
	}
	version_unref(base);
}

/* Nothing but the SOA: two records, whatever else the zone holds. */
static void test_little_is_told_of_little(void **state)
{
	static char text[400000];
	struct zone_sum sum;
	struct version *versions[2] = {NULL, NULL};
	(void)state;
	for (unsigned v = 0; v < 2; v++) {
		size_t n = (size_t)snprintf(text, sizeof(text),
					    "$ORIGIN zone.test.\n$TTL 300\n@ SOA ns h %u 1 1 1 60\n"
					    "@ NS ns.other.\n",
					    v);
		for (unsigned i = 0; i < 3000; i++) {
			n += (size_t)snprintf(text + n, sizeof(text) - n, "h%u A 192.0.2.1\n", i);
		}
		versions[v] = version_of("zone.test", versions[0], text);
	}
	assert_int_equal(version_sum(versions[0], NULL, &sum), ST_OK);
	struct applying a = {.soas = 0};
	lines_of(versions[0], NULL, &a.lines);
	const struct diff_options opt = {.each = apply, .ctx = &a};
	assert_int_equal(version_diff(versions[0], versions[1], &opt, &sum), ST_OK);
	assert_int_equal(a.told, 2);
	lines_fini(&a.lines);
	version_unref(versions[1]);
	version_unref(versions[0]);
}

static bool covers_authority(const struct node *n, const struct rrset *rs)
{
	return (n->flags & NODE_OCCLUDED) == 0 && rs->type != RR_NS;
}

static void sign(const struct version *v, const char *owner, uint8_t tag)
{
	/* As it is kept short: by the zone, of P-256, with the RRset's TTL. */
	uint8_t rdata[18 + 11 + 64] = {0, RR_A, 13, 2, 0, 0, 1, 44};
	struct name_ref ref;
	struct wire_name name = wire(owner);
	struct bytes b = {rdata, sizeof(rdata)};
	struct sigset *sigs;
	rdata[17] = tag;
	memcpy(rdata + 18, wire("zone.test").octets, 11);
	name_ref_init(&ref, name.octets);
	const struct node *n = version_find(v, &ref, name_labels(name.octets));
	struct rrset *rs = node_rrset(n, RR_A);
	assert_int_equal(sigset_new(rs, v->apex_name, &b, 1, &sigs), ST_OK);
	assert_true(sigset_is_short(sigs));
	assert_null(rrset_sigs(rs));
	atomic_store(&rs->sigs, sigs);
}

/* An address that was glue and is not any more is the same RRset, and yet it has got signatures;
 * one that has become glue has lost them. */
static void test_what_a_cut_covers(void **state)
{
	static const char cut[] = "$ORIGIN zone.test.\n$TTL 300\n@ SOA ns h 1 1 1 1 60\n"
				  "@ NS ns.other.\na NS x.a\nx.a A 192.0.2.1\n";
	static const char open[] = "$ORIGIN zone.test.\n$TTL 300\n@ SOA ns h 2 1 1 1 60\n"
				   "@ NS ns.other.\na A 192.0.2.2\nx.a A 192.0.2.1\n";
	const zone_covers covers[2] = {covers_authority, covers_authority};
	struct zone_sum sum;
	(void)state;
	struct version *v1 = version_of("zone.test", NULL, cut);
	assert_int_equal(version_sum(v1, covers_authority, &sum), ST_OK);
	struct version *v2 = version_of("zone.test", v1, open);
	sign(v2, "a.zone.test", 1);
	sign(v2, "x.a.zone.test", 2);
	/* Two SOAs, the NS, the address, two signatures. */
	assert_int_equal(check(v1, v2, covers, &sum), 6);
	version_succeed(v1, v2);
	version_unref(v1);
	struct version *v3 = version_of("zone.test", v2, cut);
	assert_int_equal(check(v2, v3, covers, &sum), 6);
	version_succeed(v2, v3);
	version_unref(v2);
	version_unref(v3);
}

static enum status stop_at_third(void *ctx, const struct diff_record *r)
{
	unsigned *count = ctx;
	(void)r;
	return ++*count == 3 ? ST_ELIMIT : ST_OK;
}

static void test_what_stops_leaves_the_sum(void **state)
{
	static char text[65536];
	uint64_t rng = 7;
	unsigned count = 0;
	struct zone_sum sum;
	(void)state;
	random_zone(&rng, 1, text, sizeof(text));
	struct version *base = version_of("zone.test", NULL, text);
	random_zone(&rng, 2, text, sizeof(text));
	struct version *next = version_of("zone.test", base, text);
	assert_int_equal(version_sum(base, NULL, &sum), ST_OK);
	struct zone_sum before = sum;
	const struct diff_options opt = {.each = stop_at_third, .ctx = &count};
	assert_int_equal(version_diff(base, next, &opt, &sum), ST_ELIMIT);
	assert_int_equal(count, 3);
	assert_true(zone_sum_equal(&before, &sum));
	assert_int_equal(before.octets, sum.octets);
	version_unref(next);
	version_unref(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes),
		cmocka_unit_test(test_little_is_told_of_little),
		cmocka_unit_test(test_what_a_cut_covers),
		cmocka_unit_test(test_what_stops_leaves_the_sum),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
