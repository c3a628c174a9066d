/* Zone transfers: what comes out is the zone, in messages that a client can read. */
#include "answer_zones.h"
#include "transfer_fixture.h"

#include "zones/dump.h"

static const uint8_t zone[] = "\7example";

static enum status dump_line(void *ctx, const char *text, size_t len)
{
	(void)len;
	add_record(ctx, text);
	return ST_OK;
}

/* Compression may give a name another's case, no more. */
static int compare_lines(const void *a, const void *b)
{
	const char *left = *(char *const *)a;
	const char *right = *(char *const *)b;
	bool text = strstr(left, "\tIN\tTXT\t") != NULL && strstr(right, "\tIN\tTXT\t") != NULL;
	int order = strcasecmp(left, right);

	return order == 0 && text ? strcmp(left, right) : order;
}

static bool is_soa(const char *line)
{
	return strstr(line, "\tIN\tSOA\t") != NULL;
}

/* RRSIGs stand behind the RRset that they cover; the SOA's at the apex. */
static void check_rrsigs_follow(const struct received *got)
{
	for (size_t i = 1; i < got->count; i++) {
		const char *sig = strstr(got->records[i], "\tIN\tRRSIG\t");
		if (sig == NULL || strncmp(sig + 10, "SOA ", 4) == 0) {
			continue;
		}
		const char *before = strstr(got->records[i - 1], "\tIN\t") + 4;
		before += strncmp(before, "RRSIG\t", 6) == 0 ? 6 : 0;
		size_t len = strcspn(sig + 10, " ");
		size_t owner = strcspn(got->records[i], "\t") + 1;
		assert_memory_equal(before, sig + 10, len);
		assert_true(before[len] == '\t' || before[len] == ' ');
		assert_memory_equal(got->records[i], got->records[i - 1], owner);
	}
}

/* The SOA first and last and nowhere else, between them every other record once. */
static void check_whole(const struct version *v, struct received *got)
{
	const struct dump_options opt = {.covers = NULL};
	struct received want;

	received_init(&want);
	assert_int_equal(version_dump(v, &opt, dump_line, &want), ST_OK);
	assert_true(got->count >= 2);
	assert_true(is_soa(got->records[0]));
	assert_int_equal(compare_lines(&got->records[0], &got->records[got->count - 1]), 0);
	for (size_t i = 1; i + 1 < got->count; i++) {
		assert_false(is_soa(got->records[i]));
	}
	check_rrsigs_follow(got);
	assert_int_equal(got->count, want.count + 1);
	qsort(want.records, want.count, sizeof(char *), compare_lines);
	qsort(got->records, got->count - 1, sizeof(char *), compare_lines);
	for (size_t i = 0; i < want.count; i++) {
		if (compare_lines(&got->records[i], &want.records[i]) != 0) {
			fail_msg("got %sinstead of %s", got->records[i], want.records[i]);
		}
	}
	received_fini(&want);
}

/* In all ways: plain, with EDNS, with each key. Returns the messages of the plain one. */
static size_t transfer_each_way(struct version *v, const uint8_t *name)
{
	struct tsig_keys *keys = test_keys();
	struct test_question q = {.name = name, .type = RR_AXFR};
	struct received got;

	transfer_all(v, &q, NULL, &got);
	check_whole(v, &got);
	assert_int_equal(got.opts, 0);
	size_t messages = got.messages;
	received_fini(&got);
	for (size_t i = 0; i < keys->count; i++) {
		q.edns = i % 2 == 0;
		transfer_all(v, &q, &keys->list[i], &got);
		check_whole(v, &got);
		assert_int_equal(got.opts, q.edns);
		assert_int_equal(got.first_opt, q.edns);
		assert_true(got.longest <= UINT16_MAX);
		received_fini(&got);
	}
	tsig_keys_free(keys);
	return messages;
}

static struct version *example(const char *records, bool is_signed)
{
	static char text[1U << 20];
	snprintf(text, sizeof(text), "$ORIGIN example.\n$TTL 3600\n%s", records);
	return fixture_version("example.", text, is_signed, false);
}

static void test_whole_zones(void **state)
{
	static const char *const chains[] = {"", ZONE_NSEC, ZONE_NSEC3, ZONE_OPTOUT};
	static char text[65536];

	(void)state;
	for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
		for (unsigned with_rrsigs = 0; with_rrsigs < 2; with_rrsigs++) {
			snprintf(text, sizeof(text), "%s%s", ZONE_BASE, chains[i]);
			struct version *v = fixture_version("example.", text, i > 0, false);
			if (with_rrsigs) {
				fixture_sign(v);
			}
			assert_int_equal(transfer_each_way(v, zone), 1);
			version_unref(v);
		}
	}
}

/* The smallest zone that there is, and one of the root. */
static void test_small_zones(void **state)
{
	struct version *v = example("@ SOA ns.other. h.other. 1 1 1 1 1\n@ NS ns.other.\n", false);
	struct version *root = fixture_version(
		".",
		"$ORIGIN .\n$TTL 60\n@ SOA a. b. 1 1 1 1 1\n@ NS a.\na. A 192.0.2.1\n"
		"test. NS ns.test.\nns.test. A 192.0.2.2\n",
		false, false);

	(void)state;
	assert_int_equal(transfer_each_way(v, zone), 1);
	assert_int_equal(transfer_each_way(root, (const uint8_t *)""), 1);
	version_unref(v);
	version_unref(root);
}

/* A name that only stands between others has no record. */
static void test_empty_non_terminals(void **state)
{
	struct version *v = example("@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n"
				    "a.b.c.d A 192.0.2.2\n*.e.f TXT \"x\"\n",
				    false);

	(void)state;
	assert_int_equal(transfer_each_way(v, zone), 1);
	version_unref(v);
}

/* The name as it was asked for, in any case. */
static void test_question_in_another_case(void **state)
{
	struct version *v = example(ZONE_BASE, false);

	(void)state;
	assert_int_equal(transfer_each_way(v, (const uint8_t *)"\7ExAmPlE"), 1);
	version_unref(v);
}

/* Text of 'count' records, each from a format with its number. */
static char *many(const char *format, unsigned count)
{
	size_t room = 512 + (size_t)count * 400;
	char *text = malloc(room);
	size_t used = 0;
	assert_non_null(text);
	used += (size_t)snprintf(text, room, "@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n");
	for (unsigned i = 0; i < count; i++) {
		used += (size_t)snprintf(text + used, room - used, format, i, i);
		assert_true(used < room);
	}
	return text;
}

#define TXT200                                                                                     \
	"12345678901234567890123456789012345678901234567890123456789012345678901234567890123456"   \
	"78901234567890123456789012345678901234567890123456789012345678901234567890123456789012"   \
	"3456789012345678901234567890"

/* More than one message: names and RDATA whose pointers would lead beyond 16 KB, one RRset that is
 * longer than a message, and its signatures. */
static void test_many_messages(void **state)
{
	static const struct {
		const char *name;
		const char *format;
		unsigned count;
		size_t messages;
	} cases[] = {
		{"short records", "h%u.sub A 192.0.2.1\n", 6000, 3},
		{"names in data", "h%u MX 10 mail%u.deep.deeper\n", 3000, 2},
		{"names that repeat", "h%u NS ns.of.a.cut\n", 5000, 2},
		{"one long RRset", "long TXT \"%u\" \"" TXT200 "\"\n", 1000, 4},
		{"one long RRset with names", "@ NS n%u.servers.elsewhere.\n", 8000, 3},
		{"long and many", "h%u TXT \"%u\" \"" TXT200 "\"\n", 1000, 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = many(cases[i].format, cases[i].count);
		struct version *v = example(text, false);
		print_message("%s\n", cases[i].name);
		assert_true(transfer_each_way(v, zone) >= cases[i].messages);
		fixture_sign(v);
		assert_true(transfer_each_way(v, zone) >= cases[i].messages);
		version_unref(v);
		free(text);
	}
}

/* Octets of TXT RDATA, in hex as RFC 3597 has it: strings of 255 octets and one of the rest. */
static void put_txt(char *out, size_t len)
{
	char *p = out + sprintf(out, "big TYPE65300 \\# %zu ", len);
	memset(p, 'a', len * 2);
	p[len * 2] = '\n';
	p[len * 2 + 1] = '\0';
}

/* A record that fills a message to its last octet, and one that is an octet too long for it. */
static void test_the_longest_record(void **state)
{
	/* Header, question; owner, fixed part and length of the record. */
	const size_t most = UINT16_MAX - DNS_HEADER_LEN - 13 - 6 - 10;
	struct tsig_keys *keys = test_keys();
	const struct test_question q = {.name = zone, .type = RR_AXFR};
	static char text[200000];
	static uint8_t in[512];
	static uint8_t out[TRANSFER_ROOM];
	struct received got;

	(void)state;
	for (unsigned is_signed = 0; is_signed < 2; is_signed++) {
		const struct tsig_key *key = is_signed ? &keys->list[0] : NULL;
		size_t room = is_signed ? most - tsig_len(key, TSIG_NOERROR) : most;
		int n = sprintf(text, "@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n");
		put_txt(text + n, room);
		struct version *v = example(text, false);
		transfer_all(v, &q, key, &got);
		assert_int_equal(got.longest, UINT16_MAX);
		check_whole(v, &got);
		received_fini(&got);
		version_unref(v);

		put_txt(text + n, room + 1);
		v = example(text, false);
		struct tsig_session client;
		struct answer_item item = {.in = in, .tsig = key};
		struct transfer *t = NULL;
		size_t len = 0;
		bool done = false;
		item.in_len = question_make(&q, in, sizeof(in));
		tsig_session_init(&client, key);
		if (key != NULL) {
			assert_int_equal(
				tsig_sign(&client, in, item.in_len, TSIG_NOW, &item.in_len), ST_OK);
		}
		assert_int_equal(transfer_new(v, &item, &t), ST_OK);
		enum status st;
		do {
			st = transfer_next(t, TSIG_NOW, out, &len, &done);
		} while (st == ST_OK && !done);
		assert_int_equal(st, ST_ELIMIT);
		transfer_free(t);
		version_unref(v);
	}
	tsig_keys_free(keys);
}

/* RFC 1995: one SOA to who has this version or a later one, all to others. */
static void test_ixfr(void **state)
{
	static const struct {
		const char *name;
		uint32_t ours;
		bool has_serial;
		uint32_t theirs;
		bool whole;
	} cases[] = {
		{"equal", 7, true, 7, false},
		{"older", 7, true, 6, true},
		{"newer", 7, true, 8, false},
		{"none said", 7, false, 0, true},
		{"older over the end", 2, true, 0xfffffff0, true},
		{"newer over the end", 0xfffffff0, true, 2, false},
		{"older, as far as can be", 0x80000000, true, 1, true},
		{"half of all away", 0x80000000, true, 0, false},
		{"newer, as far as can be", 1, true, 0x80000000, false},
		{"older by one more", 1, true, 0x80000002, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), "@ SOA ns h %u 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n",
			 cases[i].ours);
		struct version *v = example(text, false);
		const struct test_question q = {.name = zone,
						.type = RR_IXFR,
						.has_serial = cases[i].has_serial,
						.serial = cases[i].theirs};
		struct received got;
		transfer_all(v, &q, NULL, &got);
		if ((got.count > 1) != cases[i].whole) {
			fail_msg("%s: %zu records", cases[i].name, got.count);
		}
		assert_true(is_soa(got.records[0]));
		if (cases[i].whole) {
			check_whole(v, &got);
		}
		received_fini(&got);
		version_unref(v);
	}
}

static void test_client_serial(void **state)
{
	const struct test_question q = {
		.name = zone, .type = RR_IXFR, .edns = true, .has_serial = true, .serial = 4711};
	uint8_t in[512];
	uint32_t serial = 1;
	size_t len = question_make(&q, in, sizeof(in));

	(void)state;
	assert_int_equal(transfer_client_serial((struct bytes){in, len}, &serial), ST_OK);
	assert_int_equal(serial, 4711);
	serial = 1;
	/* Cut anywhere up to the serial. */
	for (size_t cut = 0; cut < len - 11 - 16; cut++) {
		uint8_t *exact = malloc(cut + 1);
		assert_non_null(exact);
		memcpy(exact, in, cut);
		assert_int_equal(transfer_client_serial((struct bytes){exact, cut}, &serial),
				 ST_ENOENT);
		free(exact);
	}
	/* The SOA in the answer section, another type, no question. */
	static const struct {
		size_t at;
		uint8_t value;
	} spoilt[] = {{7, 1}, {9, 0}, {5, 0}, {5, 2}, {DNS_HEADER_LEN + 13 + 3, 7}};
	for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		uint8_t before = in[spoilt[i].at];
		in[spoilt[i].at] = spoilt[i].value;
		assert_int_equal(transfer_client_serial((struct bytes){in, len}, &serial),
				 ST_ENOENT);
		in[spoilt[i].at] = before;
	}
	assert_int_equal(serial, 1);
}

/* One that is not read to its end, one of a version that is gone elsewhere. */
static void test_given_up(void **state)
{
	char *text = many("h%u A 192.0.2.1\n", 10000);
	struct version *v = example(text, false);
	const struct test_question q = {.name = zone, .type = RR_AXFR};
	static uint8_t out[TRANSFER_ROOM];
	uint8_t in[512];
	struct answer_item item = {.in = in};
	struct transfer *t = NULL;
	size_t len = 0;
	bool done = true;

	(void)state;
	item.in_len = question_make(&q, in, sizeof(in));
	assert_int_equal(transfer_new(v, &item, &t), ST_OK);
	version_unref(v);
	assert_int_equal(transfer_next(t, TSIG_NOW, out, &len, &done), ST_OK);
	assert_false(done);
	transfer_free(t);
	transfer_free(NULL);
	free(text);
}

/* Signed, it says, and there is no record. */
static void test_not_what_was_admitted(void **state)
{
	struct tsig_keys *keys = test_keys();
	struct version *v = example(ZONE_BASE, false);
	const struct test_question q = {.name = zone, .type = RR_AXFR};
	struct transfer *const untouched = (struct transfer *)(uintptr_t)1;
	struct transfer *t = untouched;
	uint8_t in[512];
	struct answer_item item = {.in = in, .tsig = &keys->list[0]};

	(void)state;
	item.in_len = question_make(&q, in, sizeof(in));
	assert_int_equal(transfer_new(v, &item, &t), ST_EPARSE);
	item.tsig = NULL;
	item.in_len = 3;
	assert_int_equal(transfer_new(v, &item, &t), ST_EPARSE);
	assert_ptr_equal(t, untouched);
	version_unref(v);
	tsig_keys_free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_zones),
		cmocka_unit_test(test_small_zones),
		cmocka_unit_test(test_empty_non_terminals),
		cmocka_unit_test(test_question_in_another_case),
		cmocka_unit_test(test_many_messages),
		cmocka_unit_test(test_the_longest_record),
		cmocka_unit_test(test_ixfr),
		cmocka_unit_test(test_client_serial),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_not_what_was_admitted),
	};

	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
