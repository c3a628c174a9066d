/* Headers, EDNS, truncation, and what is not well-formed. */
#include "answer_zones.h"
#include "respond.h"

static struct version *example;
static struct zone example_zone;
static struct zonedb *db;

static int setup(void **state)
{
	(void)state;
	static char text[32768];
	struct zone *zones[] = {&example_zone};
	snprintf(text, sizeof(text), "%s%s", ZONE_BASE, ZONE_NSEC);
	example = fixture_version("example.", text, true, false);
	fixture_sign(example);
	fixture_zone(&example_zone, "example.", example);
	assert_int_equal(zonedb_new(zones, 1, &db), ST_OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	zonedb_free(db);
	version_unref(example);
	return 0;
}

/* A message in pieces of octets. "Q" is the question "a.example. A IN". */
#define Q      "\1a\7example\0\0\1\0\1"
#define RR_A_  "\1b\0\0\1\0\1\0\0\0\0\0\4\300\0\2\1"
#define OPT    "\0\0\51\4\320\0\0\0\0\0\0"
#define OPT_V1 "\0\0\51\4\320\0\1\0\0\0\0"
#define TSIG   "\1k\0\0\372\0\377\0\0\0\0\0\24\2hm\0\0\0\1\2\3\4\1\54\0\0\22\64\0\0\0\0"

struct message_case {
	const char *name;
	const char *wire;
	size_t len;
	uint16_t flags;
	uint16_t counts[4];
	const char *reply; /* NULL: dropped */
};

#define BODY(text) text, sizeof(text) - 1

static void test_malformed(void **state)
{
	(void)state;
	static char buf[RESPOND_TEXT_MAX];
	static const struct message_case cases[] = {
		{"good",
		 BODY(Q),
		 0,
		 {1},
		 "NOERROR aa\nan a.example. 3600 A 192.0.2.3\nan a.example. 3600 A 192.0.2.33\n"},
		{"a response", BODY(Q), 0x8000, {1}, NULL},
		{"no question", BODY(""), 0, {0}, "FORMERR\nno question\n"},
		{"no question, but EDNS",
		 BODY(OPT),
		 0,
		 {0, 0, 0, 1},
		 "FORMERR\nno question\nedns 1232\n"},
		{"two questions", BODY(Q Q), 0, {2}, "FORMERR\nno question\n"},
		{"a question announced and not there", BODY(""), 0, {1}, "FORMERR\nno question\n"},
		{"name without an end", BODY("\1a\7exam"), 0, {1}, "FORMERR\nno question\n"},
		{"no type", BODY("\1a\7example\0"), 0, {1}, "FORMERR\nno question\n"},
		{"half a class", BODY("\1a\7example\0\0\1\0"), 0, {1}, "FORMERR\nno question\n"},
		{"compressed question",
		 BODY("\1a\300\14\0\1\0\1"),
		 0,
		 {1},
		 "FORMERR\nno question\n"},
		{"label type 01", BODY("\101a\0\0\1\0\1"), 0, {1}, "FORMERR\nno question\n"},
		{"name too long",
		 BODY("\77"
		      "123456789012345678901234567890123456789012345678901234567890123"
		      "\77"
		      "123456789012345678901234567890123456789012345678901234567890123"
		      "\77"
		      "123456789012345678901234567890123456789012345678901234567890123"
		      "\77"
		      "123456789012345678901234567890123456789012345678901234567890123"
		      "\0\0\1\0\1"),
		 0,
		 {1},
		 "FORMERR\nno question\n"},
		{"octets behind the message",
		 BODY(Q "xyz"),
		 0,
		 {1},
		 "NOERROR aa\nan a.example. 3600 A 192.0.2.3\nan a.example. 3600 A 192.0.2.33\n"},
		{"a record announced and not there", BODY(Q), 0, {1, 0, 0, 1}, "FORMERR\n"},
		{"records nobody asked for",
		 BODY(Q RR_A_ RR_A_ RR_A_ OPT),
		 0,
		 {1, 1, 1, 2},
		 "NOERROR aa\nan a.example. 3600 A 192.0.2.3\nan a.example. 3600 A 192.0.2.33\n"
		 "edns 1232\n"},
		{"two OPT", BODY(Q OPT OPT), 0, {1, 0, 0, 2}, "FORMERR\n"},
		{"OPT in the answer section", BODY(Q OPT), 0, {1, 1}, "FORMERR\n"},
		{"OPT not at the root", BODY(Q "\1x" OPT), 0, {1, 0, 0, 1}, "FORMERR\n"},
		{"OPT cut off", BODY(Q "\0\0\51\4\320\0\0\0\0\0\5"), 0, {1, 0, 0, 1}, "FORMERR\n"},
		{"option longer than its OPT",
		 BODY(Q "\0\0\51\4\320\0\0\0\0\0\4\0\3\0\1"),
		 0,
		 {1, 0, 0, 1},
		 "FORMERR\n"},
		{"half an option",
		 BODY(Q "\0\0\51\4\320\0\0\0\0\0\3\0\3\0"),
		 0,
		 {1, 0, 0, 1},
		 "FORMERR\n"},
		{"unknown option and flags",
		 BODY(Q "\0\0\51\4\320\0\0\177\377\0\6\375\351\0\2ab"),
		 0,
		 {1, 0, 0, 1},
		 "NOERROR aa\nan a.example. 3600 A 192.0.2.3\nan a.example. 3600 A 192.0.2.33\n"
		 "edns 1232\n"},
		{"pointer as a record's owner",
		 BODY(Q "\300\14\0\1\0\1\0\0\0\0\0\0"),
		 0,
		 {1, 0, 0, 1},
		 "NOERROR aa\nan a.example. 3600 A 192.0.2.3\nan a.example. 3600 A 192.0.2.33\n"},
		{"flags that are not the client's",
		 BODY(Q),
		 0x06ff,
		 {1},
		 "NOERROR aa\nan a.example. 3600 A 192.0.2.3\nan a.example. 3600 A 192.0.2.33\n"},
		{"inverse query", BODY(Q), 1 << 11, {1}, "NOTIMP\nno question\n"},
		{"status", BODY(Q), 2 << 11, {1}, "NOTIMP\nno question\n"},
		{"update", BODY(Q), 5 << 11, {1}, "NOTIMP\nno question\n"},
		{"an opcode nobody knows",
		 BODY("garbage"),
		 15 << 11,
		 {9, 9, 9, 9},
		 "NOTIMP\nno question\n"},
		{"notify", BODY(Q), 4 << 11, {1}, "NOTAUTH\n"},
		{"TSIG with a key we lack",
		 BODY(Q TSIG),
		 0,
		 {1, 0, 0, 1},
		 "NOTAUTH\nar k. TSIG 17\n"},
		{"TSIG behind OPT",
		 BODY(Q OPT TSIG),
		 0,
		 {1, 0, 0, 2},
		 "NOTAUTH\nedns 1232\nar k. TSIG 17\n"},
		{"TSIG that is not the last", BODY(Q TSIG OPT), 0, {1, 0, 0, 2}, "FORMERR\n"},
		{"TSIG without RDATA",
		 BODY(Q "\1k\0\0\372\0\377\0\0\0\0\0\0"),
		 0,
		 {1, 0, 0, 1},
		 "FORMERR\n"},
	};
	unsigned failed = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct message_case *c = &cases[i];
		struct answer_env env = fixture_env(db);
		struct answer_missing missing;
		struct ask a;
		uint8_t out[1232];
		size_t len = 12345;
		be16_put(a.wire, 0x4711);
		be16_put(a.wire + 2, c->flags);
		for (unsigned k = 0; k < 4; k++) {
			be16_put(a.wire + 4 + 2 * k, c->counts[k]);
		}
		memcpy(a.wire + DNS_HEADER_LEN, c->wire, c->len);
		enum answer_result result =
			answer_query(&env, ANSWER_UDP, ANSWER_FIRST, a.wire,
				     DNS_HEADER_LEN + c->len, out, sizeof(out), &len, &missing);
		if (c->reply == NULL) {
			assert_int_equal(result, ANSWER_DROP);
			assert_int_equal(len, 12345);
			assert_int_equal(env.counters[COUNT_DROPPED], 1);
			continue;
		}
		assert_int_equal(result, ANSWER_SEND);
		const char *reply = reply_text(out, len, &a, buf);
		if (strcmp(reply, c->reply) != 0) {
			print_error("%s\nexpected:\n%sgot:\n%s\n", c->name, c->reply, reply);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

static void test_too_short(void **state)
{
	(void)state;
	static const uint8_t wire[DNS_HEADER_LEN] = {0};
	struct answer_env env = fixture_env(db);
	struct answer_missing missing;
	uint8_t out[512];
	for (size_t len = 0; len < DNS_HEADER_LEN; len++) {
		size_t out_len = 77;
		assert_int_equal(answer_query(&env, ANSWER_TCP, ANSWER_FIRST, wire, len, out,
					      sizeof(out), &out_len, &missing),
				 ANSWER_DROP);
		assert_int_equal(out_len, 77);
	}
	assert_int_equal(env.counters[COUNT_DROPPED], DNS_HEADER_LEN);
}

struct question_case {
	const char *question;
	const char *reply;
};

static void run_cases(struct answer_env *env, const struct question_case *cases, size_t count)
{
	static char buf[RESPOND_TEXT_MAX];
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(respond(env, cases[i].question, buf), cases[i].reply);
	}
}

static void test_types_and_classes(void **state)
{
	(void)state;
	static const struct question_case cases[] = {
		{"a.example. TYPE41", "FORMERR\n"},
		{"a.example. TYPE128", "FORMERR\n"},
		{"a.example. TYPE249", "FORMERR\n"},
		{"a.example. TYPE250", "FORMERR\n"},
		{"a.example. TYPE253", "NOTIMP\n"},
		{"a.example. TYPE254", "NOTIMP\n"},
		{"example. TYPE252 edns tcp", "REFUSED\nedns 1232 ede=18\n"},
		{"example. TYPE251 edns", "REFUSED\nedns 1232 ede=18\n"},
		{"a.example. TYPE252 edns tcp", "NOTAUTH\nedns 1232\n"},
		{"a.example. A class=255", "REFUSED\n"},
		{"a.example. A class=254", "REFUSED\n"},
		{"a.example. A class=4", "REFUSED\n"},
		{"a.example. A class=0", "REFUSED\n"},
		{"a.example. A class=3", "REFUSED\n"},
		{"version.bind. TXT class=3", "REFUSED\n"},
		{"id.server. TXT class=3", "REFUSED\n"},
	};
	struct answer_env env = fixture_env(db);
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_chaos(void **state)
{
	(void)state;
	static const struct question_case cases[] = {
		{"version.bind. TXT class=3", "NOERROR\nan version.bind. 0 TXT CH \"signet\"\n"},
		{"VERSION.SERVER. ANY class=3",
		 "NOERROR\nan VERSION.SERVER. 0 TXT CH \"signet\"\n"},
		{"id.server. TXT class=3", "NOERROR\nan id.server. 0 TXT CH \"ns1\"\n"},
		{"hostname.bind. TXT class=3 edns",
		 "NOERROR\nan hostname.bind. 0 TXT CH \"ns1\"\nedns 1232\n"},
		{"version.bind. A class=3", "REFUSED\n"},
		{"other.bind. TXT class=3", "REFUSED\n"},
	};
	struct answer_env env = fixture_env(db);
	env.version = "signet";
	env.identity = "ns1";
	run_cases(&env, cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_edns(void **state)
{
	(void)state;
	static char buf[RESPOND_TEXT_MAX];
	static const uint8_t version_1[] = "\0\1\0\0\0\1\0\0\0\0\0\1" Q OPT_V1;
	struct answer_env env = fixture_env(db);
	env.nsid = "ns1.example.net";
	env.udp_size = 1400;
	assert_string_equal(respond(&env, "nope. A nsid", buf),
			    "REFUSED\nedns 1400 nsid=ns1.example.net ede=20\n");
	assert_string_equal(respond(&env, "nope. A edns", buf), "REFUSED\nedns 1400 ede=20\n");
	assert_string_equal(respond(&env, "nope. A do rd cd", buf),
			    "REFUSED\nedns 1400 do ede=20\n");
	env.nsid = NULL;
	assert_string_equal(respond(&env, "nope. A nsid", buf), "REFUSED\nedns 1400 ede=20\n");

	/* BADVERS: 16, of which the upper bits stand in the OPT record; wins over all else. */
	uint8_t out[512];
	size_t len;
	struct answer_missing missing;
	assert_int_equal(answer_query(&env, ANSWER_UDP, ANSWER_FIRST, version_1,
				      sizeof(version_1) - 1, out, sizeof(out), &len, &missing),
			 ANSWER_SEND);
	assert_int_equal(be16_get(out + 2), 0x8000);
	assert_int_equal(be16_get(out + 10), 1);
	assert_int_equal(len, sizeof(version_1) - 1);
	const uint8_t *opt = out + len - OPT_FIXED_LEN;
	assert_int_equal(be16_get(opt + 1), RR_OPT);
	assert_int_equal(be16_get(opt + 3), 1400);
	assert_int_equal(be32_get(opt + 5), 0x01000000);
	assert_int_equal(env.counters[COUNT_BADVERS], 1);
}

/* Octets of a reply's text that must all be there, or TC is set: answer and authority, and a
 * referral's glue. The first line is left out. */
static struct bytes needed_lines(const char *text, bool referral)
{
	const char *start = strchr(text, '\n') + 1;
	const char *end = strstr(start - 1, referral ? "\nedns" : "\nar ");
	if (end == NULL) {
		end = strstr(start - 1, "\nedns");
	}
	assert_non_null(end);
	return (struct bytes){(const uint8_t *)start, (size_t)(end + 1 - start)};
}

/* Is this where an RRset begins? */
static bool at_boundary(struct bytes lines, size_t at)
{
	const char *text = (const char *)lines.data;
	const char *next = text + at;
	if (at == 0 || at == lines.len) {
		return true;
	}
	if (strncmp(strchr(strchr(strchr(next, ' ') + 1, ' ') + 1, ' '), " RRSIG ", 7) == 0) {
		return false;
	}
	const char *last = next - 1;
	while (last > text && last[-1] != '\n') {
		last--;
	}
	/* Section, owner, TTL, type. */
	const char *end = next;
	for (unsigned i = 0; i < 4; i++) {
		end = strchr(end, ' ') + 1;
	}
	return strncmp(last, next, (size_t)(end - next)) != 0;
}

/* Whatever the room: never longer, RRsets whole and with their signatures, TC exactly where
 * something needed is not there. */
static void test_truncation(void **state)
{
	(void)state;
	static char full[RESPOND_TEXT_MAX];
	static char buf[RESPOND_TEXT_MAX];
	static const struct {
		const char *question;
		bool referral;
	} cases[] = {
		{"example. NS do", false},     {"nope.example. A do", false},
		{"x.sub.example. A do", true}, {"x.d.example. A do", false},
		{"cn2.example. A do", false},  {"x.sec.example. A do", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static uint8_t out[4096];
		struct answer_env env = fixture_env(db);
		struct answer_missing missing;
		struct ask a;
		size_t whole;
		size_t len;
		ask_parse(&a, cases[i].question);
		assert_int_equal(answer_query(&env, ANSWER_TCP, ANSWER_FIRST, a.wire, a.len, out,
					      sizeof(out), &whole, &missing),
				 ANSWER_SEND);
		snprintf(full, sizeof(full), "%s", reply_text(out, whole, &a, buf));
		struct bytes all = needed_lines(full, cases[i].referral);
		for (size_t room = whole; room >= a.len; room--) {
			memset(out, 0xee, sizeof(out));
			assert_int_equal(answer_query(&env, ANSWER_TCP, ANSWER_FIRST, a.wire, a.len,
						      out, room, &len, &missing),
					 ANSWER_SEND);
			assert_true(len <= room);
			assert_int_equal(out[room], 0xee);
			const char *reply = reply_text(out, len, &a, buf);
			struct bytes got = needed_lines(reply, cases[i].referral);
			assert_true(got.len <= all.len);
			assert_memory_equal(got.data, all.data, got.len);
			assert_true(at_boundary(all, got.len));
			assert_int_equal((be16_get(out + 2) & HEADER_TC) != 0, got.len < all.len);
		}
	}
}

/* Sizes: 512 without EDNS, the client's, ours; what is below 512 counts as 512. */
static void test_sizes(void **state)
{
	(void)state;
	static char text[65536];
	static const struct {
		const char *words;
		uint16_t server;
		size_t limit;
	} cases[] = {
		{"", 1232, 512},
		{" edns", 1232, 1232},
		{" size=4096", 1232, 1232},
		{" size=4096", 4096, 4096},
		{" size=800", 1232, 800},
		{" size=0", 1232, 512},
		{" size=511", 1232, 512},
		{" tcp", 1232, 65535},
	};
	char *p = text + sprintf(text, "$ORIGIN big.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n"
				       "ns A 192.0.2.1\n");
	/* n.big. has n A records of 16 octets each. */
	for (unsigned n = 20; n <= 300; n++) {
		if (n != 29 && n != 30 && n != 47 && n != 48 && n != 74 && n != 75 && n != 253 &&
		    n != 254 && n != 300) {
			continue;
		}
		for (unsigned i = 0; i < n; i++) {
			p += sprintf(p, "h%u A 10.0.%u.%u\n", n, i / 256, i % 256);
		}
	}
	struct version *v = fixture_version("big.", text, false, false);
	struct zone zone;
	struct zone *zones[] = {&zone};
	struct zonedb *big;
	fixture_zone(&zone, "big.", v);
	assert_int_equal(zonedb_new(zones, 1, &big), ST_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static const unsigned counts[] = {29, 30, 47, 48, 74, 75, 253, 254, 300};
		for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
			static uint8_t out[65535];
			char question[64];
			struct ask a;
			struct answer_missing missing;
			struct answer_env env = fixture_env(big);
			size_t len;
			env.udp_size = cases[i].server;
			snprintf(question, sizeof(question), "h%u.big. A%s", counts[k],
				 cases[i].words);
			ask_parse(&a, question);
			size_t want = a.len + counts[k] * 16;
			assert_int_equal(answer_query(&env, a.transport, ANSWER_FIRST, a.wire,
						      a.len, out, sizeof(out), &len, &missing),
					 ANSWER_SEND);
			bool fits = want <= cases[i].limit;
			assert_int_equal(len, fits ? want : a.len);
			assert_int_equal((be16_get(out + 2) & HEADER_TC) == 0, fits);
			assert_int_equal(env.counters[COUNT_TRUNCATED], !fits);
		}
	}
	zonedb_free(big);
	version_unref(v);
}

/* RFC 9471: glue below the cut is needed, and comes first; a sibling's is not. */
static void test_glue_truncation(void **state)
{
	(void)state;
	static char text[16384];
	static char buf[RESPOND_TEXT_MAX];
	char *p = text + sprintf(text, "$ORIGIN glue.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n"
				       "ns A 192.0.2.1\nmixed NS z.mixed\nz.mixed A 10.1.0.1\n");
	for (unsigned i = 0; i < 20; i++) {
		p += sprintf(p, "mixed NS a%u.sib\na%u.sib A 10.0.0.%u\n", i, i, i + 1);
		p += sprintf(p, "own NS a%u.own\na%u.own A 10.0.0.%u\n", i, i, i + 1);
	}
	sprintf(p, "sib NS a0.sib\n");
	struct version *v = fixture_version("glue.", text, false, false);
	struct zone zone;
	struct zone *zones[] = {&zone};
	struct zonedb *glue;
	fixture_zone(&zone, "glue.", v);
	assert_int_equal(zonedb_new(zones, 1, &glue), ST_OK);
	struct answer_env env = fixture_env(glue);
	const char *reply = respond(&env, "x.mixed.glue. A", buf);
	assert_memory_equal(reply, "NOERROR\n", strlen("NOERROR\n"));
	assert_non_null(strstr(reply, "ar z.mixed.glue. 60 A 10.1.0.1\n"));
	reply = respond(&env, "x.mixed.glue. A tcp", buf);
	assert_non_null(strstr(reply, "ar a19.sib.glue. 60 A 10.0.0.20\n"));
	reply = respond(&env, "x.own.glue. A", buf);
	assert_memory_equal(reply, "NOERROR tc\n", strlen("NOERROR tc\n"));
	reply = respond(&env, "x.own.glue. A edns", buf);
	assert_memory_equal(reply, "NOERROR\n", strlen("NOERROR\n"));
	assert_non_null(strstr(reply, "ar a19.own.glue. 60 A 10.0.0.20\n"));
	zonedb_free(glue);
	version_unref(v);
}

static void test_counters(void **state)
{
	(void)state;
	static char buf[RESPOND_TEXT_MAX];
	static const struct {
		const char *question;
		enum answer_counter counter;
	} cases[] = {
		{"a.example. A", COUNT_NOERROR},       {"nope.example. A", COUNT_NXDOMAIN},
		{"x.sub.example. A", COUNT_REFERRAL},  {"nope. A", COUNT_REFUSED},
		{"a.example. TYPE128", COUNT_FORMERR}, {"a.example. TYPE253", COUNT_NOTIMP},
		{"a.example. TYPE252", COUNT_NOTAUTH},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct answer_env env = fixture_env(db);
		respond(&env, cases[i].question, buf);
		for (unsigned c = 0; c < COUNT_MAX; c++) {
			assert_int_equal(env.counters[c],
					 c == COUNT_QUERIES || c == cases[i].counter);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_too_short),
		cmocka_unit_test(test_types_and_classes),
		cmocka_unit_test(test_chaos),
		cmocka_unit_test(test_edns),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_glue_truncation),
		cmocka_unit_test(test_counters),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, setup, teardown);
	rcu_thread_unregister();
	return failed;
}
