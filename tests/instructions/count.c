/* What tests/instructions/run.py counts: fixed work in named cells, each dumped by callgrind.
 *
 * The zone and the questions are always the same, nothing asks the time, and hashes of names have
 * no seed: a cell executes the same instructions in every run. Each cell is run once before it is
 * counted, so that what is made on first use does not count. A dump's name is "CELL / UNITS", with
 * the answers, records or RRsets that were worked through while counting. */
#include "signer/rrsig.h"
#include "tests/unit/answer_fixture.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define HAS_CALLGRIND 1
#else
#define HAS_CALLGRIND		   0
#define CALLGRIND_ZERO_STATS	   ((void)0)
#define CALLGRIND_TOGGLE_COLLECT   ((void)0)
#define CALLGRIND_DUMP_STATS_AT(x) ((void)(x))
#endif

#define APEX	     "guard.test."
#define HOSTS	     1000
#define QUESTIONS    64
#define QUESTION_MAX 96
#define TEXT_ROOM    (1U << 20)
#define LARGE_RRS    60

/* The zone. */

struct text {
	char *data;
	size_t len;
	char owner[32]; /* the last one that owns an NSEC; "": none, or no chain is wanted */
	const char *types;
	bool nsec;
};

static void text_add(struct text *t, const char *fmt, ...) PRINTF(2, 3);
static void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->data + t->len, TEXT_ROOM - t->len, fmt, ap);
	va_end(ap);
	must(n >= 0 && (size_t)n < TEXT_ROOM - t->len);
	t->len += (size_t)n;
}

/* The next owner in canonical order, with what its NSEC says; its records follow. */
static void text_owner(struct text *t, const char *owner, const char *types)
{
	if (t->nsec && t->owner[0] != '\0') {
		text_add(t, "%s 300 NSEC %s %s RRSIG NSEC\n", t->owner, owner, t->types);
	}
	snprintf(t->owner, sizeof(t->owner), "%s", owner);
	t->types = types;
}

static void text_apex(struct text *t)
{
	text_add(t, "$ORIGIN " APEX "\n$TTL 3600\n");
	text_owner(t, "@", "NS SOA MX DNSKEY");
	text_add(t, "@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\n"
		    "@ MX 10 mail1\n@ MX 20 mail2\n");
	for (unsigned flags = 256; flags <= 257; flags++) {
		text_add(t,
			 "@ DNSKEY %u 3 13 "
			 "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"
			 "IiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/QA==\n",
			 flags);
	}
}

/* Owners in canonical order. Every tenth of the hosts has an AAAA beside its A. */
static char *zone_text(bool nsec)
{
	struct text t = {.data = malloc(TEXT_ROOM), .nsec = nsec};
	char owner[32];
	must(t.data != NULL);
	text_apex(&t);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(owner, sizeof(owner), "alias%u", i);
		text_owner(&t, owner, "CNAME");
		if (i < 2) {
			text_add(&t, "alias%u CNAME alias%u\n", i, i + 1);
		} else {
			text_add(&t, "alias%u CNAME host0000\n", i);
		}
	}
	for (unsigned i = 0; i < HOSTS / 10; i++) {
		snprintf(owner, sizeof(owner), "cut%04u", i);
		text_owner(&t, owner, i % 2 == 0 ? "NS DS" : "NS");
		text_add(&t, "cut%04u NS ns.cut%04u\nns.cut%04u A 192.0.2.9\n", i, i, i);
		if (i % 2 == 0) {
			text_add(&t, "cut%04u DS %u 13 2 %064u\n", i, i, i);
		}
	}
	for (unsigned i = 0; i < HOSTS; i++) {
		snprintf(owner, sizeof(owner), "host%04u", i);
		text_owner(&t, owner, i % 10 == 0 ? "A AAAA" : "A");
		text_add(&t, "host%04u A 10.0.%u.%u\n", i, i >> 8, i & 255);
		if (i % 10 == 0) {
			text_add(&t, "host%04u AAAA 2001:db8::%x\n", i, i);
		}
	}
	text_owner(&t, "large", "A");
	for (unsigned i = 0; i < LARGE_RRS; i++) {
		text_add(&t, "large A 198.51.100.%u\n", i);
	}
	text_owner(&t, "mail1", "A AAAA");
	text_add(&t, "mail1 A 192.0.2.11\nmail1 AAAA 2001:db8::11\n");
	text_owner(&t, "mail2", "A AAAA");
	text_add(&t, "mail2 A 192.0.2.12\nmail2 AAAA 2001:db8::12\n");
	text_owner(&t, "ns1", "A");
	text_add(&t, "ns1 A 192.0.2.1\n");
	text_owner(&t, "ns2", "A");
	text_add(&t, "ns2 A 192.0.2.2\n");
	text_owner(&t, "*.wild", "A");
	text_add(&t, "*.wild A 192.0.2.3\n");
	text_owner(&t, "@", NULL);
	return t.data;
}

/* Counting. */

static void count_start(void)
{
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
}

static void count_stop(void)
{
	CALLGRIND_TOGGLE_COLLECT;
}

static void count_dump(const char *cell, size_t units)
{
	char name[96];
	snprintf(name, sizeof(name), "%s / %zu", cell, units);
	CALLGRIND_DUMP_STATS_AT(name);
	printf("%s\n", name);
}

/* Answers. */

struct kind {
	const char *name;
	const char *owner; /* the question's name; with a number behind it where 'rest' is set */
	const char *rest;  /* and this */
	uint16_t type;
	enum answer_counter expected;
	bool truncated;
};

static const struct kind kinds[] = {
	{"hit", "host", "." APEX, RR_A, COUNT_NOERROR, false},
	{"nodata", "host", "." APEX, RR_TXT, COUNT_NOERROR, false},
	{"nxdomain", "host", "x." APEX, RR_A, COUNT_NXDOMAIN, false},
	{"referral", "www.cut", "." APEX, RR_A, COUNT_REFERRAL, false},
	{"wildcard", "a", ".wild." APEX, RR_A, COUNT_NOERROR, false},
	{"cname", "alias0." APEX, NULL, RR_A, COUNT_NOERROR, false},
	{"mx", APEX, NULL, RR_MX, COUNT_NOERROR, false},
	{"ds", "cut", "." APEX, RR_DS, COUNT_NOERROR, false},
	{"dnskey", APEX, NULL, RR_DNSKEY, COUNT_NOERROR, false},
	{"refused", "host", ".elsewhere.test.", RR_A, COUNT_REFUSED, false},
	{"truncated", "large." APEX, NULL, RR_A, COUNT_NOERROR, true},
};

struct question {
	uint8_t wire[QUESTION_MAX];
	size_t len;
};

/* Numbers go through the zone in steps that hit every residue; half of the cuts have a DS. */
static void question_make(struct question *q, const struct kind *kind, unsigned n, bool dnssec)
{
	static const uint8_t header[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
	unsigned among = strstr(kind->owner, "cut") != NULL ? HOSTS / 10 : HOSTS;
	char text[64];
	struct wwriter w;
	size_t len;
	if (kind->rest != NULL) {
		snprintf(text, sizeof(text), "%s%04u%s", kind->owner, n * 37 % among, kind->rest);
	} else {
		snprintf(text, sizeof(text), "%s", kind->owner);
	}
	wwriter_init(&w, q->wire, sizeof(q->wire));
	wwriter_put(&w, header, sizeof(header));
	must(name_from_text(text, strlen(text), NULL, w.pos, &len, NULL) == ST_OK);
	w.pos += len;
	wwriter_u16(&w, kind->type);
	wwriter_u16(&w, CLASS_IN);
	wwriter_u8(&w, 0);
	wwriter_u16(&w, RR_OPT);
	wwriter_u16(&w, kind->truncated ? 512 : ANSWER_UDP_SIZE);
	wwriter_u32(&w, dnssec ? 0x8000 : 0);
	wwriter_u16(&w, 0);
	must(w.err == ST_OK);
	q->len = wwriter_len(&w);
}

static void ask_each(struct answer_env *env, const struct question *questions)
{
	static uint8_t out[ANSWER_UDP_SIZE];
	struct answer_missing missing;
	size_t len;
	for (unsigned i = 0; i < QUESTIONS; i++) {
		must(answer_query(env, ANSWER_UDP, ANSWER_FIRST, questions[i].wire,
				  questions[i].len, out, sizeof(out), &len,
				  &missing) == ANSWER_SEND);
	}
}

static void ask_at_once(struct answer_env *env, const struct question *questions)
{
	static uint8_t out[QUESTIONS][ANSWER_UDP_SIZE];
	struct answer_item items[QUESTIONS];
	for (unsigned i = 0; i < QUESTIONS; i++) {
		items[i].in = questions[i].wire;
		items[i].in_len = questions[i].len;
		items[i].out = out[i];
		items[i].peer = NULL;
		items[i].tls = false;
	}
	answer_batch(env, ANSWER_UDP, items, QUESTIONS, sizeof(out[0]));
	for (unsigned i = 0; i < QUESTIONS; i++) {
		must(items[i].result == ANSWER_SEND);
	}
}

struct way {
	const char *name;
	void (*ask)(struct answer_env *env, const struct question *questions);
};

static const struct way ways[] = {
	{"one", ask_each},
	{"batch", ask_at_once},
};

static void count_answers(const struct zonedb *db, const struct kind *kind, const struct way *way,
			  bool dnssec)
{
	static struct question questions[QUESTIONS];
	char cell[64];
	for (unsigned i = 0; i < QUESTIONS; i++) {
		question_make(&questions[i], kind, i, dnssec);
	}
	struct answer_env env = fixture_env(db);
	way->ask(&env, questions);
	count_start();
	way->ask(&env, questions);
	count_stop();
	snprintf(cell, sizeof(cell), "answer %s %s %s", kind->name, dnssec ? "signed" : "unsigned",
		 way->name);
	count_dump(cell, QUESTIONS);
	must(env.counters[COUNT_QUERIES] == 2 * QUESTIONS);
	must(env.counters[kind->expected] == 2 * QUESTIONS);
	must(env.counters[COUNT_TRUNCATED] == (kind->truncated ? 2 * QUESTIONS : 0));
}

static void count_zone(bool is_signed)
{
	char *text = zone_text(is_signed);
	struct version *v = fixture_version(APEX, text, is_signed, false);
	struct zone zone;
	struct zone *zones[] = {&zone};
	struct zonedb *db;
	free(text);
	if (is_signed) {
		fixture_sign(v);
	}
	fixture_zone(&zone, APEX, v);
	must(zonedb_new(zones, 1, &db) == ST_OK);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		for (size_t j = 0; j < sizeof(ways) / sizeof(ways[0]); j++) {
			count_answers(db, &kinds[i], &ways[j], is_signed);
		}
	}
	zonedb_free(db);
	version_unref(v);
}

/* Loading: text to sorted and checked content, content to a version. */

static void load(const char *text, bool counted)
{
	struct master_options opt = {0};
	struct check_options check = {.signing = false};
	struct freeze f = {.denial = DENIAL_NONE};
	uint8_t apex[NAME_MAX_LEN];
	struct content c;
	struct diags d;
	struct draft *draft;
	struct version *v;
	size_t len;
	must(name_from_text(APEX, strlen(APEX), NULL, apex, &len, NULL) == ST_OK);
	diags_init(&d, 8);
	content_init(&c, apex);
	if (counted) {
		count_start();
	}
	must(master_read_mem("zone", text, strlen(text), &opt, &c, &d) == ST_OK);
	must(content_sort(&c) == ST_OK);
	must(content_check(&c, &check, &d) == ST_OK);
	if (counted) {
		count_stop();
		count_dump("load read", c.record_count);
		count_start();
	}
	must(draft_new(apex, NULL, &draft) == ST_OK);
	must(draft_apply(draft, &c, false) == ST_OK);
	must(draft_freeze(draft, &f, &v) == ST_OK);
	if (counted) {
		count_stop();
		count_dump("load build", c.record_count);
	}
	draft_free(draft);
	version_unref(v);
	content_fini(&c);
	diags_fini(&d);
}

static void count_load(void)
{
	char *text = zone_text(false);
	load(text, false);
	load(text, true);
	free(text);
}

/* Signing, without the signature itself: the canonical form, and its digest. */

struct signing {
	const struct version *v;
	const struct key *key;
	size_t count;
};

static enum status input_node(void *ctx, const struct node *n)
{
	static const struct sign_params params = {
		.algorithm = ALG_ECDSAP256SHA256, .refresh = 7 * 86400, .validity = 21 * 86400};
	struct signing *s = ctx;
	uint8_t digest[HSM_DIGEST_LEN];
	for (unsigned i = 0; i < n->rrset_count; i++) {
		struct rrsig_input in;
		if (!signer_covers(n, n->rrsets[i])) {
			continue;
		}
		must(rrsig_input_init(&in, s->v->apex_name, node_name(n), n->rrsets[i]) == ST_OK);
		must(rrsig_input_digest(&in, &params, s->key, FIXTURE_NOW, digest) == ST_OK);
		rrsig_input_fini(&in);
		s->count++;
	}
	return ST_OK;
}

static void count_signing(void)
{
	static const struct key key = {.role = KEY_ZSK, .state = KEY_ACTIVE, .tag = 1};
	char *text = zone_text(true);
	struct version *v = fixture_version(APEX, text, true, false);
	struct signing s = {.v = v, .key = &key};
	free(text);
	must(version_walk(v, input_node, &s) == ST_OK);
	s.count = 0;
	count_start();
	must(version_walk(v, input_node, &s) == ST_OK);
	count_stop();
	count_dump("sign input", s.count);
	version_unref(v);
}

int main(void)
{
	if (!HAS_CALLGRIND) {
		fprintf(stderr, "built without valgrind/callgrind.h: nothing can be counted\n");
		return 1;
	}
	printf("compiler %s\n", __VERSION__);
	rcu_thread_register();
	count_zone(false);
	count_zone(true);
	count_load();
	count_signing();
	rcu_thread_unregister();
	return 0;
}
