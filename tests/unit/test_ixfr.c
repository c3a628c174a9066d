/* Incremental transfers: what comes, applied to the version that the client has, gives the one that
 * is served. */
#include "journal_fixture.h"
#include "random_zone.h"
#include "transfer_fixture.h"

#include "nsd-core/base/store.h"
#include "nsd-core/ixfr.h"
#include "zones/dump.h"

#define VERSIONS  40
#define LINES_MAX 2000

static const struct test_question ixfr_question = {
	.name = journal_apex, .type = RR_IXFR, .has_serial = true};

struct lines {
	char *list[LINES_MAX];
	size_t count;
};

static enum status dump_line(void *ctx, const char *text, size_t len)
{
	struct lines *l = ctx;
	(void)len;
	assert_true(l->count < LINES_MAX);
	l->list[l->count++] = strdup(text);
	return ST_OK;
}

static void lines_fini(struct lines *l)
{
	while (l->count > 0) {
		free(l->list[--l->count]);
	}
}

/* Compression may give a name another's case. */
static void lines_remove(struct lines *l, const char *text)
{
	for (size_t i = 0; i < l->count; i++) {
		if (strcasecmp(l->list[i], text) == 0) {
			free(l->list[i]);
			l->list[i] = l->list[--l->count];
			return;
		}
	}
	fail_msg("removed, and was not there: %s", text);
}

static int compare_lines(const void *a, const void *b)
{
	return strcasecmp(*(char *const *)a, *(char *const *)b);
}

static bool is_soa(const char *line)
{
	return strstr(line, "\tIN\tSOA\t") != NULL;
}

/* What came, applied to 'l' as RFC 1995 4 has it; returns how many differences it was. */
static unsigned apply(struct lines *l, const struct received *got)
{
	unsigned halves = 0;
	assert_true(got->count >= 4);
	assert_true(is_soa(got->records[0]));
	assert_int_equal(compare_lines(&got->records[0], &got->records[got->count - 1]), 0);
	for (size_t i = 1; i + 1 < got->count; i++) {
		halves += is_soa(got->records[i]);
		assert_true(halves > 0);
		if (halves % 2 == 1) {
			lines_remove(l, got->records[i]);
		} else {
			assert_int_equal(dump_line(l, got->records[i], 0), ST_OK);
		}
	}
	assert_int_equal(halves % 2, 0);
	return halves / 2;
}

static void assert_same(struct lines *a, struct lines *b)
{
	qsort(a->list, a->count, sizeof(char *), compare_lines);
	qsort(b->list, b->count, sizeof(char *), compare_lines);
	for (size_t i = 0; i < a->count && i < b->count; i++) {
		if (strcasecmp(a->list[i], b->list[i]) != 0) {
			fail_msg("%sinstead of %s", a->list[i], b->list[i]);
		}
	}
	assert_int_equal(a->count, b->count);
}

/* A zone with its history, version after version. */
struct history {
	struct journal_fixture *f;
	struct zone zone;
	uint64_t rng;
	struct zone_sum sum;
	struct version *version;
	struct lines lines[VERSIONS]; /* of each serial */
};

static enum status note(void *ctx, const struct diff_record *r)
{
	return difference_add(ctx, r);
}

static void history_add(struct history *h, uint32_t serial)
{
	static char text[65536];
	const struct dump_options dump = {.covers = NULL};
	struct version *base = h->version;
	random_zone(&h->rng, serial, text, sizeof(text));
	struct version *v = version_of("zone.test", base, text);
	struct journal_change c = {.zone = h->f->zone,
				   .step = base != NULL ? JOURNAL_APPEND : JOURNAL_RESTART,
				   .from = base != NULL ? base->serial : 0,
				   .to = serial,
				   .difference = {.limit = 1 << 20}};
	if (base == NULL) {
		assert_int_equal(version_sum(v, NULL, &h->sum), ST_OK);
	} else {
		const struct diff_options opt = {.each = note, .ctx = &c.difference};
		assert_int_equal(version_diff(base, v, &opt, &h->sum), ST_OK);
		version_succeed(base, v);
		version_unref(base);
	}
	c.sum = h->sum;
	/* All that these tests ask for is worth it. */
	c.sum.octets += 1 << 20;
	assert_int_equal(commit_one(h->f, &c), ST_OK);
	assert_int_equal(version_dump(v, &dump, dump_line, &h->lines[serial]), ST_OK);
	h->version = v;
	h->zone.journal = h->f->zone;
}

static struct history *history_new(struct journal_fixture *f, uint32_t last)
{
	struct history *h = calloc(1, sizeof(*h));
	assert_non_null(h);
	h->f = f;
	h->rng = 11;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	for (uint32_t serial = 1; serial <= last; serial++) {
		history_add(h, serial);
	}
	return h;
}

static void history_free(struct history *h)
{
	version_unref(h->version);
	for (size_t i = 0; i < VERSIONS; i++) {
		lines_fini(&h->lines[i]);
	}
	free(h);
}

static void ask(struct history *h, uint32_t serial, const struct tsig_key *key,
		struct received *got)
{
	struct test_question q = ixfr_question;
	q.serial = serial;
	q.edns = serial % 2 == 0;
	transfer_of(&h->zone, h->version, &q, key, got);
}

static void test_differences_lead_to_what_is_served(void **state)
{
	struct history *h = history_new(*state, 1);
	struct tsig_keys *keys = test_keys();
	for (uint32_t serial = 2; serial < VERSIONS; serial++) {
		history_add(h, serial);
		for (uint32_t from = serial - 1; from > 0; from -= from > 3 ? 3 : 1) {
			const struct tsig_key *key =
				from % 2 == 0 ? NULL : &keys->list[from % keys->count];
			struct lines have = {.count = 0};
			struct received got;
			for (size_t i = 0; i < h->lines[from].count; i++) {
				(void)dump_line(&have, h->lines[from].list[i], 0);
			}
			ask(h, from, key, &got);
			assert_int_equal(got.kind, TRANSFER_DIFFERENCES);
			unsigned differences = apply(&have, &got);
			assert_int_equal(differences,
					 serial - from <= IXFR_PLAIN_MAX ? serial - from : 1);
			assert_same(&have, &h->lines[serial]);
			lines_fini(&have);
			received_fini(&got);
		}
	}
	tsig_keys_free(keys);
	history_free(h);
}

/* Joined: nothing is both removed and added, or there twice. */
static void test_what_came_and_went_is_left_out(void **state)
{
	struct history *h = history_new(*state, 30);
	struct lines removed = {.count = 0};
	struct received got;
	unsigned halves = 0;
	ask(h, 1, NULL, &got);
	for (size_t i = 1; i + 1 < got.count; i++) {
		halves += is_soa(got.records[i]);
		if (halves == 1) {
			(void)dump_line(&removed, got.records[i], 0);
			continue;
		}
		for (size_t k = 0; k < removed.count; k++) {
			assert_string_not_equal(removed.list[k], got.records[i]);
		}
	}
	assert_int_equal(halves, 2);
	lines_fini(&removed);
	received_fini(&got);
	history_free(h);
}

static void test_all_of_it_where_there_is_no_history(void **state)
{
	static const struct {
		const char *name;
		uint32_t from;
		enum transfer_kind kind;
	} cases[] = {
		{"the version before", 4, TRANSFER_DIFFERENCES},
		{"the same", 5, TRANSFER_NOTHING},
		{"a later one", 6, TRANSFER_NOTHING},
		{"one before the history", 0, TRANSFER_WHOLE},
		{"one that never was", 0xfffffff0, TRANSFER_WHOLE},
	};
	struct history *h = history_new(*state, 5);
	struct received got;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		ask(h, cases[i].from, NULL, &got);
		assert_int_equal(got.kind, cases[i].kind);
		received_fini(&got);
	}
	h->zone.journal = NULL;
	ask(h, 4, NULL, &got);
	assert_int_equal(got.kind, TRANSFER_WHOLE);
	received_fini(&got);
	history_free(h);
}

/* More than the zone: the zone is less. */
static void test_no_more_than_the_zone(void **state)
{
	struct journal_fixture *f = *state;
	struct ixfr *x = NULL;
	struct journal_change c;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	commit_first(f, 1);
	for (uint32_t i = 1; i < 4; i++) {
		make_change(&c, f->zone, i, i + 1, 5000);
		c.sum.octets = 6000;
		assert_int_equal(commit_one(f, &c), ST_OK);
	}
	assert_int_equal(ixfr_new(f->zone, 3, 4, &x), ST_OK);
	ixfr_free(x);
	x = NULL;
	/* Two are more than the zone, and no less where they are joined. */
	assert_int_equal(ixfr_new(f->zone, 2, 4, &x), ST_ENOENT);
	assert_null(x);
	/* Of one address that changed each time the joined ones are two. */
	for (uint32_t i = 4; i < 24; i++) {
		make_change(&c, f->zone, i, i + 1, 0);
		c.sum.octets = 400;
		assert_int_equal(commit_one(f, &c), ST_OK);
	}
	assert_int_equal(ixfr_new(f->zone, 4, 24, &x), ST_OK);
	struct diff_record r;
	unsigned count = 0;
	while (ixfr_record(x, &r) == ST_OK) {
		count++;
		ixfr_advance(x);
	}
	assert_int_equal(count, 4);
	assert_int_equal(ixfr_record(x, &r), ST_ENOENT);
	ixfr_free(x);
	x = NULL;
	assert_int_equal(ixfr_new_small(f->zone, 23, 24, 1000, &x), ST_OK);
	ixfr_free(x);
	x = NULL;
	assert_int_equal(ixfr_new_small(f->zone, 23, 24, 50, &x), ST_ENOENT);
	assert_null(x);
}

/* The history is cut off while somebody reads slowly. */
static void test_cut_off_while_it_is_sent(void **state)
{
	struct journal_fixture *f = *state;
	struct ixfr *x = NULL;
	struct diff_record r;
	enum status st;
	unsigned count = 0;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	commit_first(f, 1);
	assert_int_equal(commit_step(f, 1, 2, 300000), ST_OK);
	assert_int_equal(ixfr_new(f->zone, 1, 2, &x), ST_OK);
	for (uint32_t i = 2; versions_of(f) == i - 1; i++) {
		assert_int_equal(commit_step(f, i, i + 1, 300000), ST_OK);
	}
	/* What was read before is good. */
	while ((st = ixfr_record(x, &r)) == ST_OK) {
		ixfr_advance(x);
		count++;
	}
	assert_int_equal(st, ST_EAGAIN);
	assert_true(count >= 4);
	ixfr_free(x);
}

/* Found before anything is sent: all of the zone is. */
static void test_damaged(void **state)
{
	struct history *h = history_new(*state, 5);
	const struct store_options opt = {.map_bytes = TEST_MAP};
	struct journal_fixture *f = h->f;
	uint8_t key[sizeof(journal_apex) + 12];
	struct journal_span span;
	struct received got;
	struct store *store;
	struct store_txn *txn;
	assert_int_equal(journal_span(f->zone, 4, 5, &span), ST_OK);
	fixture_close(f);
	memcpy(key, journal_apex, sizeof(journal_apex));
	be64_put(key + sizeof(journal_apex), span.first);
	be32_put(key + sizeof(journal_apex) + 8, 0);
	assert_int_equal(store_open(f->folder, JOURNAL_STORE, &opt, &store, &f->diags), ST_OK);
	assert_int_equal(store_begin(store, true, &txn), ST_OK);
	assert_int_equal(store_put(txn, "pieces", (struct bytes){key, sizeof(key)},
				   (struct bytes){(const uint8_t *)"0123456789", 10}),
			 ST_OK);
	assert_int_equal(store_commit(txn), ST_OK);
	store_close(store);
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	h->zone.journal = f->zone;
	ask(h, 4, NULL, &got);
	assert_int_equal(got.kind, TRANSFER_WHOLE);
	received_fini(&got);
	history_free(h);
}

/* Over UDP: all where it fits, else the SOA. */
static void test_udp(void **state)
{
	struct history *h = history_new(*state, 6);
	uint8_t in[512];
	static uint8_t out[4096];
	struct test_question q = ixfr_question;
	q.serial = 5;
	size_t in_len = question_make(&q, in, sizeof(in));
	struct bytes message = {in, in_len};
	size_t full = 0;
	for (size_t limit = sizeof(out); limit >= 64; limit--) {
		struct query query;
		enum rcode rcode;
		struct encoder e;
		struct name_ref apex;
		assert_int_equal(query_parse(in, in_len, &query, &rcode), QUERY_GOOD);
		encode_init(&e, out, limit, 0, &query);
		name_ref_init(&apex, query_name(&query));
		encode_names(&e, &apex);
		if (!transfer_encode_udp(&e, &h->zone, h->version, message)) {
			assert_int_equal(e.counts[SECTION_ANSWER], 0);
			break;
		}
		size_t len = encode_finish(&e, HEADER_QR | HEADER_AA, RCODE_NOERROR);
		assert_true(len <= limit);
		struct received got;
		received_init(&got);
		read_message(&got, out, len);
		if (got.count == 1) {
			assert_true(is_soa(got.records[0]));
			assert_true(full > limit);
		} else {
			struct lines have = {.count = 0};
			for (size_t i = 0; i < h->lines[5].count; i++) {
				(void)dump_line(&have, h->lines[5].list[i], 0);
			}
			assert_int_equal(apply(&have, &got), 1);
			assert_same(&have, &h->lines[6]);
			lines_fini(&have);
			assert_true(full == 0 || full == len);
			full = len;
		}
		received_fini(&got);
	}
	assert_true(full > 200);
	history_free(h);
}

int main(void)
{
#define WITH_FOLDER(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		WITH_FOLDER(test_differences_lead_to_what_is_served),
		WITH_FOLDER(test_what_came_and_went_is_left_out),
		WITH_FOLDER(test_all_of_it_where_there_is_no_history),
		WITH_FOLDER(test_no_more_than_the_zone),
		WITH_FOLDER(test_cut_off_while_it_is_sent),
		WITH_FOLDER(test_damaged),
		WITH_FOLDER(test_udp),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
