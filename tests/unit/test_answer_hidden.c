/* A zone that only its secondaries know of. */
#include "respond.h"
#include "tsig_fixture.h"

static const char CONF[] =
	"tsig-keys: [ { name: xfr.test, secret-file: s } ]\n"
	"remotes:\n"
	"  - { name: keyed, address: 192.0.2.1, tsig-key: xfr.test }\n"
	"  - { name: plain, address: 192.0.2.2 }\n"
	"zones:\n"
	"  - { name: cat.example, make: catalog, secondaries: [ keyed, plain ] }\n"
	"  - { name: example, file: a, catalog: cat.example }\n"
	"  - { name: kid.cat.example, file: a }\n"
	"  - { name: alone.test, make: catalog, secondaries: [ plain ] }\n";

#define CATALOG                                                                                    \
	"@ 0 SOA invalid. invalid. 9 1 1 1 0\n@ 0 NS invalid.\nversion 0 TXT \"2\"\n"              \
	"m1.zones 0 PTR example.\n"

static const struct {
	const char *name, *text;
} contents[] = {
	{"example.", "@ 5 SOA ns h 7 1 1 1 5\n@ 5 NS ns\nns 5 A 192.0.2.5\n"
		     "into 5 CNAME m1.zones.cat.example.\nat 5 CNAME cat.example.\n"
		     "mx 5 MX 1 m1.zones.cat.example.\n"},
	{"cat.example.", CATALOG},
	{"kid.cat.example.", "@ 5 SOA ns h 8 1 1 1 5\n@ 5 NS ns\nns 5 A 192.0.2.6\n"},
	{"alone.test.", CATALOG},
};
#define ZONES (sizeof(contents) / sizeof(contents[0]))

struct server {
	struct conf *conf;
	struct tsig_keys *keys;
	struct zone zones[ZONES];
	struct zonedb *db;
	struct answer_env env;
};

static int set_up(void **state)
{
	static struct server s;
	struct zone *list[ZONES];
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(conf_read_mem("/t.yaml", CONF, strlen(CONF), false, &s.conf, &d), ST_OK);
	diags_fini(&d);
	for (size_t i = 0; i < ZONES; i++) {
		fixture_zone(&s.zones[i], contents[i].name,
			     fixture_version(contents[i].name, contents[i].text, false, false));
		for (size_t k = 0; k < s.conf->zone_count; k++) {
			if (name_equal(s.conf->zones[k].name, s.zones[i].name)) {
				s.zones[i].conf = &s.conf->zones[k];
			}
		}
		assert_non_null(s.zones[i].conf);
		s.zones[i].is_hidden = s.zones[i].conf->is_catalog;
		list[i] = &s.zones[i];
	}
	assert_int_equal(zonedb_new(list, ZONES, &s.db), ST_OK);
	s.keys = test_keys();
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
	conf_free(s->conf);
	return 0;
}

#define REFUSED	 "REFUSED\n"
#define SECOND	 "192.0.2.2"
#define STRANGER "192.0.2.3"
#define SOA_9	 "invalid. invalid. 9 1 1 1 0\n"

static const struct {
	const char *question, *peer;
	int key;	   /* of test_keys(); -1: none */
	const char *reply; /* its beginning */
} cases[] = {
	/* Strangers, and where nobody knows who asks. */
	{"cat.example. SOA edns", STRANGER, -1, REFUSED},
	{"cat.example. SOA edns", NULL, -1, REFUSED},
	{"cat.example. NS edns", STRANGER, -1, REFUSED},
	{"cat.example. ANY edns tcp", STRANGER, -1, REFUSED},
	{"CAT.example. DNSKEY do", STRANGER, -1, REFUSED},
	{"version.cat.example. TXT edns", STRANGER, -1, REFUSED},
	{"m1.zones.cat.example. PTR edns", STRANGER, -1, REFUSED},
	{"nope.cat.example. A do", STRANGER, -1, REFUSED},
	{"alone.test. DS edns", STRANGER, -1, REFUSED},
	{"x.alone.test. DS edns", STRANGER, -1, REFUSED},
	/* Its secondaries: the SOA alone. */
	{"cat.example. SOA", SECOND, -1, "NOERROR aa\nan cat.example. 0 SOA " SOA_9},
	{"Cat.Example. SOA tcp", SECOND, -1, "NOERROR aa\nan "},
	{"cat.example. SOA do", STRANGER, 0, "NOERROR aa\nan cat.example. 0 SOA " SOA_9},
	{"cat.example. SOA edns", STRANGER, 1, "REFUSED\n"},
	{"cat.example. SOA edns", "192.0.2.1", -1, REFUSED},
	{"cat.example. NS edns", SECOND, -1, REFUSED},
	{"m1.zones.cat.example. PTR edns", SECOND, -1, REFUSED},
	{"m1.zones.cat.example. SOA edns", SECOND, -1, REFUSED},
	{"alone.test. SOA", SECOND, -1, "NOERROR aa\nan alone.test. 0 SOA " SOA_9},
	{"alone.test. SOA edns", STRANGER, 0, "REFUSED\n"},
	/* What lies above and below answers as if there were no catalog. */
	{"cat.example. DS", STRANGER, -1, "NXDOMAIN aa\nns example. 5 SOA "},
	{"ns.kid.cat.example. A", STRANGER, -1,
	 "NOERROR aa\nan ns.kid.cat.example. 5 A 192.0.2.6\n"},
	{"kid.cat.example. DS", STRANGER, -1, "NOERROR aa\nns kid.cat.example. 5 SOA "},
	/* No chain leads into it. */
	{"into.example. PTR", STRANGER, -1,
	 "NOERROR aa\nan into.example. 5 CNAME m1.zones.cat.example.\n"},
	{"at.example. SOA", SECOND, -1, "NOERROR aa\nan at.example. 5 CNAME cat.example.\n"},
	{"mx.example. MX", STRANGER, -1,
	 "NOERROR aa\nan mx.example. 5 MX 1 m1.zones.cat.example.\n"},
};

static void test_hidden(void **state)
{
	struct server *s = *state;
	static uint8_t out[65536];
	static char text[RESPOND_TEXT_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ask ask;
		struct conf_address peer;
		struct tsig_session client;
		ask_parse(&ask, cases[i].question);
		struct answer_item item = {.in = ask.wire, .out = out};
		if (cases[i].key >= 0) {
			tsig_session_init(&client, &s->keys->list[cases[i].key]);
			assert_int_equal(
				tsig_sign(&client, ask.wire, ask.len, FIXTURE_NOW, &ask.len),
				ST_OK);
		}
		if (cases[i].peer != NULL) {
			assert_int_equal(conf_address_parse(cases[i].peer, 4000, &peer), ST_OK);
			item.peer = (const struct sockaddr *)&peer.addr;
		}
		item.in_len = ask.len;
		answer_batch(&s->env, ask.transport, &item, 1, ask.room);
		assert_int_equal(item.result, ANSWER_SEND);
		reply_text(out, item.out_len, &ask, text);
		if (strncmp(text, cases[i].reply, strlen(cases[i].reply)) != 0) {
			fail_msg("%s, %s, key %d:\n%s", cases[i].question,
				 cases[i].peer != NULL ? cases[i].peer : "nobody", cases[i].key,
				 text);
		}
		/* Nothing of it, however the answer goes on. */
		bool soa = strstr(cases[i].reply, "NOERROR aa\nan ") != NULL;
		assert_true(soa || strstr(text, "invalid.") == NULL);
		assert_null(strstr(text, " PTR "));
		/* As where no zone is served at all. */
		bool edns = strncmp(text, REFUSED, strlen(REFUSED)) == 0;
		assert_true(!edns || strstr(text, " ede=20\n") != NULL);
	}
}

/* With a batch of questions each gets its own. */
static void test_hidden_among_others(void **state)
{
	struct server *s = *state;
	static uint8_t out[3][4096];
	static char text[RESPOND_TEXT_MAX];
	static const char *const questions[] = {"ns.example. A", "cat.example. SOA edns",
						"ns.kid.cat.example. A"};
	static const char *const replies[] = {"NOERROR aa\n", REFUSED, "NOERROR aa\n"};
	struct ask asks[3];
	struct answer_item items[3];
	struct conf_address peer;

	assert_int_equal(conf_address_parse(STRANGER, 4000, &peer), ST_OK);
	for (size_t i = 0; i < 3; i++) {
		ask_parse(&asks[i], questions[i]);
		items[i] = (struct answer_item){.in = asks[i].wire,
						.in_len = asks[i].len,
						.out = out[i],
						.peer = (const struct sockaddr *)&peer.addr};
	}
	answer_batch(&s->env, ANSWER_UDP, items, 3, sizeof(out[0]));
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(items[i].result, ANSWER_SEND);
		reply_text(out[i], items[i].out_len, &asks[i], text);
		assert_true(strncmp(text, replies[i], strlen(replies[i])) == 0);
	}
}

/* Those who may transfer it do, others are told why not. */
static void test_transfers(void **state)
{
	struct server *s = *state;
	static uint8_t out[4096];
	static const struct {
		const char *question, *peer;
		enum answer_result result;
	} transfers[] = {
		{"cat.example. AXFR tcp", SECOND, ANSWER_TRANSFER},
		{"cat.example. AXFR tcp", STRANGER, ANSWER_SEND},
		{"alone.test. IXFR tcp", SECOND, ANSWER_TRANSFER},
		{"m1.zones.cat.example. AXFR tcp", SECOND, ANSWER_SEND},
	};
	for (size_t i = 0; i < sizeof(transfers) / sizeof(transfers[0]); i++) {
		struct ask ask;
		struct conf_address peer;
		ask_parse(&ask, transfers[i].question);
		assert_int_equal(conf_address_parse(transfers[i].peer, 4000, &peer), ST_OK);
		struct answer_item item = {.in = ask.wire,
					   .in_len = ask.len,
					   .out = out,
					   .peer = (const struct sockaddr *)&peer.addr};
		answer_batch(&s->env, ask.transport, &item, 1, sizeof(out));
		assert_int_equal(item.result, transfers[i].result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hidden),
		cmocka_unit_test(test_hidden_among_others),
		cmocka_unit_test(test_transfers),
	};

	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, set_up, tear_down);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
