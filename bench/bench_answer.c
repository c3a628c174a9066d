/* What one answer costs: ns of CPU time for each call of answer_query(), random names, by kind of
 * answer, for an unsigned and a signed zone (DO set).
 *
 * usage: bench_answer [--names N]... [--millis M] [--kind KIND] [--json]
 *
 * Each cell is warmed up for a tenth of its time, then measured for M milliseconds (20).
 * Allocations made while measuring are counted and must be none. */
#include "nsd-core/answer.h"
#include "signer/signer.h"
#include "tests/unit/answer_fixture.h"

#include <inttypes.h>
#include <time.h>

#define QUESTIONS    (1U << 17)
#define QUESTION_MAX 64
#define NAMES_RUNS   8

/* Sanitizers have an allocator of their own: there nothing is counted. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNT_ALLOCATIONS 0
#endif
#endif
#ifndef COUNT_ALLOCATIONS
#define COUNT_ALLOCATIONS 1
#endif

static uint64_t allocations;

#if COUNT_ALLOCATIONS
/* glibc's own, behind the names that everybody calls. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	allocations++;
	return __libc_realloc(p, size);
}
#endif

enum kind {
	HIT,
	NODATA,
	NXDOMAIN,
	REFERRAL,
	WILDCARD,
	KINDS,
};

static const char *const kind_names[KINDS] = {"hit", "nodata", "nxdomain", "referral", "wildcard"};

static uint64_t random_next(uint64_t *state)
{
	/* xorshift64*: the same questions in every run. */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

struct text {
	char *data;
	size_t len;
	size_t room;
};

static void text_add(struct text *t, const char *fmt, ...) PRINTF(2, 3);
static void text_add(struct text *t, const char *fmt, ...)
{
	if (t->room - t->len < 256) {
		t->room = 2 * t->room + 65536;
		t->data = realloc(t->data, t->room);
		must(t->data != NULL);
	}
	va_list ap;
	va_start(ap, fmt);
	t->len += (size_t)vsnprintf(t->data + t->len, t->room - t->len, fmt, ap);
	va_end(ap);
}

/* 'names' hosts with an A record, every tenth also a cut with glue; a wildcard. The chain follows
 * the canonical order: "*.wild" < ... is kept by the names' fixed width. */
static char *zone_text(unsigned names, bool nsec)
{
	struct text t = {0};
	text_add(&t,
		 "$ORIGIN bench.test.\n$TTL 3600\n@ SOA ns1 h 1 7200 3600 1209600 300\n@ NS ns1\n");
	if (nsec) {
		text_add(&t, "@ 300 NSEC cut0000000 NS SOA RRSIG NSEC\n");
	}
	for (unsigned i = 0; i < names; i += 10) {
		text_add(&t, "cut%07u NS ns.cut%07u\nns.cut%07u A 192.0.2.9\n", i, i, i);
		if (nsec && i + 10 < names) {
			text_add(&t, "cut%07u 300 NSEC cut%07u NS RRSIG NSEC\n", i, i + 10);
		} else if (nsec) {
			text_add(&t, "cut%07u 300 NSEC host0000000 NS RRSIG NSEC\n", i);
		}
	}
	for (unsigned i = 0; i < names; i++) {
		text_add(&t, "host%07u A 10.%u.%u.%u\n", i, i >> 16 & 255, i >> 8 & 255, i & 255);
		if (nsec && i + 1 < names) {
			text_add(&t, "host%07u 300 NSEC host%07u A RRSIG NSEC\n", i, i + 1);
		} else if (nsec) {
			text_add(&t, "host%07u 300 NSEC ns1 A RRSIG NSEC\n", i);
		}
	}
	text_add(&t, "ns1 A 192.0.2.1\n*.wild A 192.0.2.3\n");
	if (nsec) {
		text_add(&t, "ns1 300 NSEC *.wild A RRSIG NSEC\n*.wild 300 NSEC @ A RRSIG NSEC\n");
	}
	return t.data;
}

struct question {
	uint8_t wire[QUESTION_MAX];
	size_t len;
};

static void question_make(struct question *q, enum kind kind, unsigned names, bool dnssec,
			  uint64_t *seed)
{
	char text[64];
	size_t len;
	unsigned n = (unsigned)(random_next(seed) % names);
	uint16_t type = RR_A;
	switch (kind) {
	case NODATA:
		type = RR_MX;
		/* fall through */
	case HIT:
		snprintf(text, sizeof(text), "host%07u.bench.test.", n);
		break;
	case NXDOMAIN:
		snprintf(text, sizeof(text), "host%07ux.bench.test.", n);
		break;
	case REFERRAL:
		snprintf(text, sizeof(text), "www.cut%07u.bench.test.", n / 10 * 10);
		break;
	case WILDCARD:
	case KINDS:
		snprintf(text, sizeof(text), "a%07u.wild.bench.test.", n);
		break;
	}
	static const uint8_t header[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
	struct wwriter w;
	wwriter_init(&w, q->wire, sizeof(q->wire));
	wwriter_put(&w, header, sizeof(header));
	must(name_from_text(text, strlen(text), NULL, w.pos, &len, NULL) == ST_OK);
	w.pos += len;
	wwriter_u16(&w, type);
	wwriter_u16(&w, CLASS_IN);
	wwriter_u8(&w, 0);
	wwriter_u16(&w, RR_OPT);
	wwriter_u16(&w, ANSWER_UDP_SIZE);
	wwriter_u32(&w, dnssec ? 0x8000 : 0);
	wwriter_u16(&w, 0);
	must(w.err == ST_OK);
	q->len = wwriter_len(&w);
}

static int64_t cpu_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct cell {
	double ns;
	double octets; /* of a reply, on average */
	uint64_t allocations;
};

/* Answers questions in turn for at least 'ns'; returns how many. */
static uint64_t run(struct answer_env *env, const struct question *questions, int64_t ns,
		    int64_t *spent, uint64_t *octets)
{
	uint8_t out[ANSWER_UDP_SIZE];
	struct answer_missing missing;
	uint64_t count = 0;
	int64_t start = cpu_ns();
	do {
		for (unsigned i = 0; i < 1024; i++, count++) {
			const struct question *q = &questions[count % QUESTIONS];
			size_t len = 0;
			must(answer_query(env, ANSWER_UDP, ANSWER_FIRST, q->wire, q->len, out,
					  sizeof(out), &len, &missing) == ANSWER_SEND);
			*octets += len;
		}
		*spent = cpu_ns() - start;
	} while (*spent < ns);
	return count;
}

static struct cell measure(const struct zonedb *db, enum kind kind, unsigned names, bool dnssec,
			   int64_t ns)
{
	static const enum answer_counter expected[KINDS] = {
		COUNT_NOERROR, COUNT_NOERROR, COUNT_NXDOMAIN, COUNT_REFERRAL, COUNT_NOERROR};
	struct question *questions = calloc(QUESTIONS, sizeof(*questions));
	must(questions != NULL);
	uint64_t seed = UINT64_C(0x5149) + (unsigned)kind;
	for (unsigned i = 0; i < QUESTIONS; i++) {
		question_make(&questions[i], kind, names, dnssec, &seed);
	}
	struct answer_env env = fixture_env(db);
	int64_t spent;
	uint64_t octets = 0;
	run(&env, questions, ns / 10, &spent, &octets);
	octets = 0;
	uint64_t before = allocations;
	uint64_t count = run(&env, questions, ns, &spent, &octets);
	uint64_t after = allocations;
	must(env.counters[expected[kind]] == env.counters[COUNT_QUERIES]);
	must(env.counters[COUNT_TRUNCATED] == 0);
	free(questions);
	return (struct cell){
		.ns = (double)spent / (double)count,
		.octets = (double)octets / (double)count,
		.allocations = after - before,
	};
}

struct options {
	unsigned names[NAMES_RUNS];
	unsigned runs;
	int64_t millis;
	const char *kind; /* NULL: all */
	bool json;
};

static void print_cell(const struct cell *c, const char *kind, const char *zone, unsigned names,
		       bool json)
{
	static bool comma;
	if (json) {
		printf("%s\n  {\"answer\": \"%s\", \"zone\": \"%s\", \"names\": %u, "
		       "\"ns\": %.1f, \"octets\": %.0f, \"allocations\": %" PRIu64 "}",
		       comma ? "," : "", kind, zone, names, c->ns, c->octets, c->allocations);
	} else {
		printf("%-9s %-8s %8u names %8.1f ns %5.0f octets %" PRIu64 " allocations\n", kind,
		       zone, names, c->ns, c->octets, c->allocations);
	}
	comma = true;
	fflush(stdout);
}

/* Every kind over one zone; returns allocations seen. */
static uint64_t bench_zone(const struct options *opt, unsigned names, bool is_signed)
{
	char *text = zone_text(names, is_signed);
	struct version *v = fixture_version("bench.test.", text, is_signed, false);
	struct zone zone;
	struct zone *zones[] = {&zone};
	struct zonedb *db;
	uint64_t seen = 0;
	free(text);
	if (is_signed) {
		fixture_sign(v);
	}
	fixture_zone(&zone, "bench.test.", v);
	must(zonedb_new(zones, 1, &db) == ST_OK);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		if (opt->kind != NULL && strcmp(opt->kind, kind_names[kind]) != 0) {
			continue;
		}
		struct cell c =
			measure(db, (enum kind)kind, names, is_signed, opt->millis * 1000000);
		seen += c.allocations;
		print_cell(&c, kind_names[kind], is_signed ? "signed" : "unsigned", names,
			   opt->json);
	}
	zonedb_free(db);
	version_unref(v);
	return seen;
}

static bool parse_options(int argc, char **argv, struct options *opt)
{
	*opt = (struct options){.millis = 20};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			opt->json = true;
		} else if (i + 1 == argc) {
			return false;
		} else if (strcmp(argv[i], "--names") == 0 && opt->runs < NAMES_RUNS) {
			unsigned long names = strtoul(argv[++i], NULL, 10);
			if (names == 0 || names > 9999999) {
				return false;
			}
			opt->names[opt->runs++] = (unsigned)names;
		} else if (strcmp(argv[i], "--millis") == 0) {
			opt->millis = strtol(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--kind") == 0) {
			opt->kind = argv[++i];
		} else {
			return false;
		}
	}
	if (opt->runs == 0) {
		opt->names[opt->runs++] = 1000;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options opt;
	uint64_t seen = 0;
	if (!parse_options(argc, argv, &opt)) {
		fprintf(stderr, "usage: bench_answer [--names N]... [--millis M] [--kind KIND] "
				"[--json]\nnames: 1 to 9999999\n");
		return 2;
	}
	rcu_thread_register();
	if (opt.json) {
		printf("[");
	}
	for (unsigned i = 0; i < opt.runs; i++) {
		seen += bench_zone(&opt, opt.names[i], false);
		seen += bench_zone(&opt, opt.names[i], true);
	}
	if (opt.json) {
		printf("\n]\n");
	}
	rcu_thread_unregister();
	if (seen != 0) {
		fprintf(stderr, "an answer must not allocate: %" PRIu64 " seen\n", seen);
	}
	return seen != 0;
}
