/* An answer is the same, octet for octet, whether its question comes alone or in a batch, in any
 * order and any company. */
#include "answer_zones.h"
#include "respond.h"

enum { QUESTIONS_MAX = 2048, WIRE_MAX = 512, OUT_MAX = 1232 };

struct question {
	uint8_t wire[WIRE_MAX];
	size_t len;
};

/* What came of a question alone. */
struct single {
	uint8_t out[OUT_MAX];
	size_t len;
	enum answer_result result;
	struct answer_missing missing;
};

static struct question questions[QUESTIONS_MAX];
static size_t question_count;
static struct single singles[QUESTIONS_MAX];

static const char *const names[] = {
	"example.",
	"EXAMPLE.",
	"ns1.example.",
	"a.example.",
	"A.eXample.",
	"x.a.example.",
	"nope.example.",
	"0.example.",
	"zzz.example.",
	"a.b.c.nope.example.",
	"mixed.example.",
	"cn.example.",
	"cn2.example.",
	"cn3.example.",
	"cnx.example.",
	"cnd.example.",
	"cncut.example.",
	"cnout.example.",
	"cnother.example.",
	"loop1.example.",
	"self.example.",
	"wild.example.",
	"x.wild.example.",
	"x.y.wild.example.",
	"here.wild.example.",
	"x.here.wild.example.",
	"x.wc.example.",
	"x.wl.example.",
	"*.wild.example.",
	"went.example.",
	"x.went.example.",
	"ent.example.",
	"x.ent.example.",
	"b.ent.example.",
	"d.example.",
	"x.d.example.",
	"y.x.d.example.",
	"x.dloop.example.",
	"x.dcut.example.",
	"srv.example.",
	"https.example.",
	"twice.example.",
	"sub.example.",
	"www.sub.example.",
	"ns1.sub.example.",
	"sub2.example.",
	"x.sub2.example.",
	"x.deep.sub3.example.",
	"sec.example.",
	"x.sec.example.",
	"e.e.example.",
	"x.e.e.e.example.",
	"child.example.",
	"www.child.example.",
	"nope.child.example.",
	"never.",
	"x.never.",
	"elsewhere.",
	".",
};

static const char *const kinds[] = {"A",     "A do",  "AAAA do",	 "NS do",     "DS do",
				    "MX do", "CNAME", "ANY do",		 "RRSIG do",  "NSEC do",
				    "SOA",   "AXFR",  "TXT size=512 do", "A class=3", "A nsid"};

static void add_question(const uint8_t *wire, size_t len)
{
	assert_true(question_count < QUESTIONS_MAX && len <= WIRE_MAX);
	memcpy(questions[question_count].wire, wire, len);
	questions[question_count++].len = len;
}

/* All names with all types, and messages that are no good questions. */
static void make_questions(void)
{
	char text[256];
	struct ask ask;
	question_count = 0;
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
			snprintf(text, sizeof(text), "%s %s", names[n], kinds[k]);
			ask_parse(&ask, text);
			add_question(ask.wire, ask.len);
		}
	}
	ask_parse(&ask, "a.example. A do");
	add_question(ask.wire, 0);
	add_question(ask.wire, DNS_HEADER_LEN - 1);
	add_question(ask.wire, DNS_HEADER_LEN);
	add_question(ask.wire, ask.len - 1);
	ask.wire[2] = 0x80; /* a response */
	add_question(ask.wire, ask.len);
	ask.wire[2] = 0x28; /* UPDATE */
	add_question(ask.wire, ask.len);
	ask.wire[2] = 0x20; /* NOTIFY */
	add_question(ask.wire, ask.len);
}

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525U + 1013904223U;
	return *state >> 8;
}

static void answer_alone(struct answer_env *env)
{
	for (size_t i = 0; i < question_count; i++) {
		struct single *s = &singles[i];
		memset(s, 0, sizeof(*s));
		s->result = answer_query(env, ANSWER_UDP, ANSWER_FIRST, questions[i].wire,
					 questions[i].len, s->out, sizeof(s->out), &s->len,
					 &s->missing);
	}
}

static void check_item(const struct answer_item *item, const struct single *s)
{
	assert_int_equal(item->result, s->result);
	if (s->result == ANSWER_SEND) {
		assert_int_equal(item->out_len, s->len);
		assert_memory_equal(item->out, s->out, s->len);
	} else if (s->result == ANSWER_PARK) {
		assert_int_equal(item->missing.count, s->missing.count);
		assert_int_equal(item->missing.later, s->missing.later);
		assert_memory_equal(item->missing.rrsets, s->missing.rrsets,
				    s->missing.count * sizeof(s->missing.rrsets[0]));
	}
}

/* One batch of 'count' questions, picked at random or (from < question_count) in order. */
static void check_batch(struct answer_env *env, size_t from, size_t count, uint32_t *seed)
{
	static uint8_t outs[ANSWER_BATCH_MAX][OUT_MAX];
	struct answer_item items[ANSWER_BATCH_MAX];
	size_t picked[ANSWER_BATCH_MAX];
	for (size_t i = 0; i < count; i++) {
		picked[i] = from < question_count ? (from + i) % question_count
						  : random_next(seed) % question_count;
		items[i] = (struct answer_item){
			.in = questions[picked[i]].wire,
			.in_len = questions[picked[i]].len,
			.out = outs[i],
		};
	}
	answer_batch(env, ANSWER_UDP, items, count, OUT_MAX);
	for (size_t i = 0; i < count; i++) {
		check_item(&items[i], &singles[picked[i]]);
	}
}

static void check_all(struct answer_env *env)
{
	struct answer_env alone = *env;
	uint32_t seed = 5;
	answer_alone(&alone);
	for (size_t from = 0; from < question_count; from += ANSWER_BATCH_MAX) {
		size_t left = question_count - from;
		check_batch(env, from, left < ANSWER_BATCH_MAX ? left : ANSWER_BATCH_MAX, &seed);
	}
	/* Each question was asked once in both ways. */
	assert_memory_equal(env->counters, alone.counters, sizeof(alone.counters));
	for (unsigned round = 0; round < 400; round++) {
		check_batch(env, question_count, 1 + round % ANSWER_BATCH_MAX, &seed);
	}
	answer_batch(env, ANSWER_UDP, NULL, 0, OUT_MAX);
}

#define ZONES 3

/* example. with a chain, child.example. below it, and never., which was never loaded. */
struct world {
	struct zone zones[ZONES];
	struct version *versions[ZONES];
	struct zonedb *db;
	struct answer_env env;
};

static void world_init(struct world *w, const char *chain, bool is_signed, bool keys)
{
	static const char *const apexes[ZONES] = {"example.", "child.example.", "never."};
	static const char child[] = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.77\n"
				    "www CNAME a.example.\n";
	static char text[32768];
	struct zone *list[ZONES];
	snprintf(text, sizeof(text), "%schild NS ns.child\nns.child A 192.0.2.77\n%s", ZONE_BASE,
		 chain);
	w->versions[0] = fixture_version("example.", text, is_signed, keys);
	w->versions[1] = fixture_version("child.example.", child, false, false);
	w->versions[2] = NULL;
	if (is_signed && !keys) {
		fixture_sign(w->versions[0]);
	}
	for (unsigned i = 0; i < ZONES; i++) {
		fixture_zone(&w->zones[i], apexes[i], w->versions[i]);
		list[i] = &w->zones[i];
	}
	assert_int_equal(zonedb_new(list, ZONES, &w->db), ST_OK);
	w->env = fixture_env(w->db);
	w->env.nsid = "server";
}

static void world_fini(struct world *w)
{
	zonedb_free(w->db);
	for (unsigned i = 0; i < ZONES; i++) {
		version_unref(w->versions[i]);
	}
}

static void test_unsigned(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, "", false, false);
	check_all(&w.env);
	world_fini(&w);
}

static void test_chains(void **state)
{
	(void)state;
	static const char *const chains[] = {ZONE_NSEC, ZONE_NSEC3, ZONE_OPTOUT};
	for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
		struct world w;
		world_init(&w, chains[i], true, false);
		check_all(&w.env);
		world_fini(&w);
	}
}

/* Some signatures are waited for, some are made later on this thread, some cannot be had. */
static enum answer_want fake_want(void *ctx, const struct answer_wanted *wanted)
{
	(void)ctx;
	static const enum answer_want says[] = {WANT_FAILED, WANT_PENDING, WANT_LATER};
	return says[wanted->rrset->type % 3];
}

static void test_missing_signatures(void **state)
{
	(void)state;
	struct world w;
	world_init(&w, ZONE_NSEC, true, true);
	w.env.want = fake_want;
	check_all(&w.env);
	assert_true(w.env.counters[COUNT_PARKED] > 0);
	assert_true(w.env.counters[COUNT_SERVFAIL] > 0);
	world_fini(&w);
}

/* So many zones that a batch asks for the memory of their table first. */
static void test_many_zones(void **state)
{
	(void)state;
	enum { COUNT = 1000 };
	static struct zone zones[COUNT];
	static struct zone *list[COUNT];
	struct zonedb *db;
	struct world w;
	world_init(&w, ZONE_NSEC, true, false);
	for (unsigned i = 0; i < COUNT; i++) {
		char apex[64];
		snprintf(apex, sizeof(apex), i % 2 == 0 ? "zone%u." : "zone%u.example.", i);
		fixture_zone(&zones[i], apex, NULL);
		list[i] = i < ZONES ? &w.zones[i] : &zones[i];
	}
	assert_int_equal(zonedb_new(list, COUNT, &db), ST_OK);
	assert_true(zonedb_is_large(db));
	w.env.db = db;
	check_all(&w.env);
	zonedb_free(db);
	world_fini(&w);
}

static int setup(void **state)
{
	(void)state;
	make_questions();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unsigned),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_missing_signatures),
		cmocka_unit_test(test_many_zones),
	};
	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, setup, NULL);
	rcu_thread_unregister();
	return failed;
}
