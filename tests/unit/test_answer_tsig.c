/* Signed questions, and what is said to those who want a zone. */
#include "respond.h"
#include "tsig_fixture.h"

#include "answer_zones.h"

#define NOW FIXTURE_NOW

#define LABEL63	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONGNAME LABEL63 "." LABEL63 "." LABEL63 ".wild.example."

static const char CONF[] = "tsig-keys: [ { name: xfr.test, secret-file: s } ]\n"
			   "remotes:\n"
			   "  - { name: keyed, address: 192.0.2.1, tsig-key: xfr.test }\n"
			   "  - { name: plain, address: 192.0.2.2 }\n"
			   "zones:\n"
			   "  - { name: example, file: a, secondaries: [ keyed, plain ] }\n"
			   "  - { name: unloaded, file: a, secondaries: [ plain ] }\n"
			   "  - { name: closed, file: a }\n";

enum { EXAMPLE, UNLOADED, CLOSED, ZONES };

struct server {
	struct conf *conf;
	struct tsig_keys *keys;
	struct tsig_keys *long_keys;
	struct zone zones[ZONES];
	struct zonedb *db;
	struct answer_env env;
};

static const struct conf_zone *zone_conf(const struct server *s, const struct zone *z)
{
	for (size_t i = 0; i < s->conf->zone_count; i++) {
		if (name_equal(s->conf->zones[i].name, z->name)) {
			return &s->conf->zones[i];
		}
	}
	fail();
	return NULL;
}

/* One whose name is as long as names get, of the longest MAC. */
static struct tsig_keys *longest_key(void)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	const char *text = LABEL63 "." LABEL63 "." LABEL63 "."
				   "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk.";
	struct tsig_keys *keys = NULL;
	assert_int_equal(name_from_text(text, strlen(text), NULL, name, &len, NULL), ST_OK);
	assert_int_equal(len, NAME_MAX_LEN);
	const struct tsig_secret secret = {name, HMAC_SHA512, {(const uint8_t *)"secret", 6}};
	assert_int_equal(tsig_keys_new(&secret, 1, &keys), ST_OK);
	return keys;
}

static int set_up(void **state)
{
	static struct server s;
	static const char *const names[ZONES] = {"example.", "unloaded.", "closed."};
	struct zone *list[ZONES];
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(conf_read_mem("/t.yaml", CONF, strlen(CONF), false, &s.conf, &d), ST_OK);
	diags_fini(&d);
	fixture_zone(&s.zones[EXAMPLE], names[EXAMPLE],
		     fixture_version("example.", ZONE_BASE, false, false));
	fixture_zone(&s.zones[UNLOADED], names[UNLOADED], NULL);
	fixture_zone(&s.zones[CLOSED], names[CLOSED],
		     fixture_version("closed.", "@ 1 SOA a b 1 1 1 1 1\n@ 1 NS n.other.\n", false,
				     false));
	for (size_t i = 0; i < ZONES; i++) {
		s.zones[i].conf = zone_conf(&s, &s.zones[i]);
		list[i] = &s.zones[i];
	}
	assert_int_equal(zonedb_new(list, ZONES, &s.db), ST_OK);
	s.keys = test_keys();
	s.long_keys = longest_key();
	s.env = fixture_env(s.db);
	s.env.conf = s.conf;
	s.env.keys = s.keys;
	*state = &s;
	return 0;
}

static int tear_down(void **state)
{
	struct server *s = *state;
	zonedb_free(s->db);
	for (size_t i = 0; i < ZONES; i++) {
		version_unref(s->zones[i].cur);
	}
	tsig_keys_free(s->keys);
	tsig_keys_free(s->long_keys);
	conf_free(s->conf);
	return 0;
}

/* A question that may be signed, and what came of it. */
struct asked {
	struct ask ask;
	struct tsig_session client;
	struct conf_address peer;
	struct answer_item item;
	uint8_t out[65536];
};

static void ask_signed(struct server *s, struct asked *a, const char *question,
		       const struct tsig_key *key, const char *peer)
{
	ask_parse(&a->ask, question);
	tsig_session_init(&a->client, key);
	if (key != NULL) {
		assert_int_equal(tsig_sign(&a->client, a->ask.wire, a->ask.len, NOW, &a->ask.len),
				 ST_OK);
	}
	a->item = (struct answer_item){.in = a->ask.wire, .in_len = a->ask.len, .out = a->out};
	if (peer != NULL) {
		assert_int_equal(conf_address_parse(peer, 4000, &a->peer), ST_OK);
		a->item.peer = (const struct sockaddr *)&a->peer.addr;
	}
	answer_batch(&s->env, a->ask.transport, &a->item, 1, a->ask.room);
}

/* Is the answer signed, well? */
static void check_signed(struct asked *a, int64_t now)
{
	size_t len = a->item.out_len;
	struct wreader r;
	uint8_t owner[NAME_MAX_LEN];
	size_t at = 0;
	wreader_init(&r, a->out, len);
	wreader_bytes(&r, 4);
	unsigned questions = wreader_u16(&r);
	unsigned records = wreader_u16(&r);
	records += wreader_u16(&r);
	records += wreader_u16(&r);
	if (questions == 1) {
		wreader_name(&r);
		wreader_bytes(&r, 4);
	}
	for (unsigned i = 0; i < records; i++) {
		at = (size_t)(r.pos - r.start);
		wreader_name_expand(&r, owner);
		wreader_bytes(&r, 8);
		wreader_bytes(&r, wreader_u16(&r));
	}
	assert_int_equal(r.err, ST_OK);
	assert_int_equal(tsig_check_answer(&a->client, (struct bytes){a->out, len}, at, now),
			 ST_OK);
}

static void test_signed_answers(void **state)
{
	static const char *const questions[] = {
		"a.example. A", "a.example. A edns", "nope.example. A", "a.example. A do nsid",
		"nowhere. A",	"sub.example. A",    "example. MX tcp", "example. ANY do",
	};
	struct server *s = *state;
	static struct asked a;
	static char text[RESPOND_TEXT_MAX];

	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		for (size_t k = 0; k < s->keys->count; k++) {
			ask_signed(s, &a, questions[i], &s->keys->list[k], NULL);
			assert_int_equal(a.item.result, ANSWER_SEND);
			reply_text(a.out, a.item.out_len, &a.ask, text);
			assert_null(strstr(text, "NOTAUTH"));
			check_signed(&a, NOW);
		}
	}
}

/* Over UDP a signature takes its room from the records; with the longest names not even the
 * question stays, and no record may point to it. */
static void test_room_for_signatures(void **state)
{
	static const char *const questions[] = {LONGNAME " A", LONGNAME " TXT", LONGNAME " A do",
						LONGNAME " AAAA", "x." LABEL63 ".example. A"};
	struct server *s = *state;
	const struct tsig_key *key = &s->long_keys->list[0];
	static struct asked a;
	static char text[RESPOND_TEXT_MAX];

	s->env.keys = s->long_keys;
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		char question[512];
		ask_signed(s, &a, questions[i], key, NULL);
		assert_int_equal(a.item.result, ANSWER_SEND);
		assert_true(a.item.out_len <= ANSWER_UDP_SIZE);
		reply_text(a.out, a.item.out_len, &a.ask, text);
		bool no_question = strstr(text, "no question") != NULL;
		assert_true(!no_question || strncmp(text, "NOERROR tc\nno question\n", 23) == 0);
		assert_true(!no_question || strstr(text, "\nan ") == NULL);
		check_signed(&a, NOW);
		/* Over TCP there is room for all. */
		snprintf(question, sizeof(question), "%s tcp", questions[i]);
		ask_signed(s, &a, question, key, NULL);
		reply_text(a.out, a.item.out_len, &a.ask, text);
		assert_null(strstr(text, " tc\n"));
		assert_null(strstr(text, "no question"));
		check_signed(&a, NOW);
	}
	ask_signed(s, &a, LONGNAME " A", key, NULL);
	reply_text(a.out, a.item.out_len, &a.ask, text);
	assert_int_equal(strncmp(text, "NOERROR tc\nno question\nar ", 26), 0);
	s->env.keys = s->keys;
}

/* A question that waited for signatures came in time when it came. */
static void test_time_while_parked(void **state)
{
	struct server *s = *state;
	static struct asked a;
	static char text[RESPOND_TEXT_MAX];
	struct answer_missing missing;

	ask_signed(s, &a, "a.example. A", &s->keys->list[0], NULL);
	s->env.now_s = NOW + TSIG_FUDGE + 1;
	for (unsigned again = 0; again < 2; again++) {
		struct tsig_session client = a.client;
		enum answer_result result = answer_query(
			&s->env, ANSWER_UDP, again ? ANSWER_AGAIN : ANSWER_FIRST, a.ask.wire,
			a.ask.len, a.out, 65535, &a.item.out_len, &missing);
		assert_int_equal(result, ANSWER_SEND);
		reply_text(a.out, a.item.out_len, &a.ask, text);
		if (again) {
			assert_int_equal(strncmp(text, "NOERROR aa\n", 11), 0);
			check_signed(&a, s->env.now_s);
		} else {
			assert_int_equal(strncmp(text, "NOTAUTH\n", 8), 0);
			assert_non_null(strstr(text, "ar xfr.test. TSIG "));
		}
		a.client = client;
	}
	s->env.now_s = NOW;
}

static const struct {
	const char *question;
	const char *peer; /* NULL: unknown */
	bool with_key;
	enum answer_result result;
	const char *reply;   /* how the text begins */
	const char *refused; /* for the log */
} transfer_cases[] = {
	{"example. AXFR tcp", "192.0.2.9", true, ANSWER_TRANSFER, NULL, NULL},
	{"example. IXFR tcp", "192.0.2.9", true, ANSWER_TRANSFER, NULL, NULL},
	{"eXample. AXFR tcp", "192.0.2.2", false, ANSWER_TRANSFER, NULL, NULL},
	{"example. AXFR tcp do", "192.0.2.2", false, ANSWER_TRANSFER, NULL, NULL},
	{"example. AXFR tcp", "192.0.2.1", false, ANSWER_SEND, "REFUSED\n",
	 "it did not sign with the secondary's key"},
	{"example. AXFR tcp edns", "192.0.2.9", false, ANSWER_SEND, "REFUSED\nedns 1232 ede=18\n",
	 NULL},
	{"example. AXFR tcp", "192.0.2.9", false, ANSWER_SEND, "REFUSED\n",
	 "its address is none of the secondaries'"},
	{"closed. AXFR tcp", "192.0.2.9", true, ANSWER_SEND, "REFUSED\n",
	 "the zone has no secondaries"},
	{"closed. IXFR", "192.0.2.2", false, ANSWER_SEND, "REFUSED\n",
	 "the zone has no secondaries"},
	{"a.example. AXFR tcp", "192.0.2.2", false, ANSWER_SEND, "NOTAUTH\n", NULL},
	{"nowhere. AXFR tcp", "192.0.2.2", false, ANSWER_SEND, "NOTAUTH\n", NULL},
	{"example. AXFR tcp", NULL, true, ANSWER_SEND, "REFUSED\n", "there are no transfers"},
	/* RFC 5936 4.2: not over UDP. RFC 1995 2: the SOA is enough to know whether to come. */
	{"example. AXFR", "192.0.2.2", false, ANSWER_SEND, "FORMERR\n", NULL},
	{"example. IXFR", "192.0.2.2", false, ANSWER_SEND,
	 "NOERROR aa\nan example. 3600 SOA ns1.example.", NULL},
	{"example. IXFR", "192.0.2.9", true, ANSWER_SEND,
	 "NOERROR aa\nan example. 3600 SOA ns1.example.", NULL},
	{"unloaded. IXFR", "192.0.2.2", false, ANSWER_SEND, "SERVFAIL\n", NULL},
	{"unloaded. AXFR tcp", "192.0.2.2", false, ANSWER_TRANSFER, NULL, NULL},
	{"example. AXFR tcp class=3", "192.0.2.2", false, ANSWER_SEND, "REFUSED\n", NULL},
};

static void test_who_asks_for_a_zone(void **state)
{
	struct server *s = *state;
	static struct asked a;
	static char text[RESPOND_TEXT_MAX];

	for (size_t i = 0; i < sizeof(transfer_cases) / sizeof(transfer_cases[0]); i++) {
		const struct tsig_key *key = transfer_cases[i].with_key ? &s->keys->list[0] : NULL;
		print_message("%s from %s\n", transfer_cases[i].question,
			      transfer_cases[i].peer != NULL ? transfer_cases[i].peer : "?");
		ask_signed(s, &a, transfer_cases[i].question, key, transfer_cases[i].peer);
		assert_int_equal(a.item.result, transfer_cases[i].result);
		if (a.item.result == ANSWER_TRANSFER) {
			assert_ptr_equal(a.item.tsig, key);
			assert_non_null(a.item.zone);
			assert_null(a.item.refused);
			continue;
		}
		reply_text(a.out, a.item.out_len, &a.ask, text);
		if (strncmp(text, transfer_cases[i].reply, strlen(transfer_cases[i].reply)) != 0) {
			fail_msg("%s", text);
		}
		if (transfer_cases[i].refused != NULL) {
			assert_string_equal(a.item.refused, transfer_cases[i].refused);
		}
		if (key != NULL) {
			check_signed(&a, NOW);
		}
	}
}

/* In the place of a transfer that cannot be. */
static void test_not_now(void **state)
{
	struct server *s = *state;
	static struct asked a;
	static char text[RESPOND_TEXT_MAX];

	for (unsigned with_key = 0; with_key < 2; with_key++) {
		ask_signed(s, &a, "example. AXFR tcp edns", with_key ? &s->keys->list[0] : NULL,
			   "192.0.2.2");
		assert_int_equal(a.item.result, ANSWER_TRANSFER);
		a.item.out_len = answer_fault(&s->env, &a.item, "too many transfers");
		reply_text(a.out, a.item.out_len, &a.ask, text);
		assert_int_equal(strncmp(text, "SERVFAIL\nedns 1232 ede=14\n", 26), 0);
		if (with_key) {
			check_signed(&a, NOW);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signed_answers),
		cmocka_unit_test(test_room_for_signatures),
		cmocka_unit_test(test_time_while_parked),
		cmocka_unit_test(test_who_asks_for_a_zone),
		cmocka_unit_test(test_not_now),
	};

	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, set_up, tear_down);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
