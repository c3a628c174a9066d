/* What one answer costs: ns of CPU time, random names, by kind of answer, for unsigned and signed
 * zones (DO set), one question after the other and in batches.
 *
 * usage: bench_answer [--names N]... [--zones Z]... [--batch B]... [--millis M] [--kind KIND]
 *                     [--json]
 *
 * The names are spread over Z zones. A batch of 1 is answer_query(), larger ones are
 * answer_batch(). Each cell is warmed up for a tenth of its time, then measured for M milliseconds
 * (20). Nothing may be allocated or locked meanwhile; and the same questions are answered once more
 * where a system call is death. */
#include "bench/guard.h"
#include "nsd-core/answer.h"
#include "signer/signer.h"
#include "tests/unit/answer_fixture.h"

#include <inttypes.h>
#include <time.h>

#define QUESTIONS    (1U << 17)
#define QUESTION_MAX 64
#define RUNS_MAX     8

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
static char *zone_text(const char *apex, unsigned names, bool nsec)
{
	struct text t = {0};
	text_add(&t, "$ORIGIN %s\n$TTL 3600\n@ SOA ns1 h 1 7200 3600 1209600 300\n@ NS ns1\n",
		 apex);
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

/* All that is asked: 'count' zones with 'names' names each. */
struct served {
	struct zone *zones;
	struct zone **list;
	struct zonedb *db;
	unsigned count;
	unsigned names;
	bool is_signed;
};

static void apex_text(char *out, size_t size, unsigned zones, unsigned i)
{
	if (zones == 1) {
		snprintf(out, size, "bench.test.");
	} else {
		snprintf(out, size, "bench%05u.test.", i);
	}
}

static void served_init(struct served *s, unsigned zones, unsigned names, bool is_signed)
{
	char apex[32];
	*s = (struct served){.count = zones, .is_signed = is_signed};
	s->names = names / zones > 10 ? names / zones : 10;
	s->zones = calloc(zones, sizeof(*s->zones));
	s->list = calloc(zones, sizeof(*s->list));
	must(s->zones != NULL && s->list != NULL);
	for (unsigned i = 0; i < zones; i++) {
		apex_text(apex, sizeof(apex), zones, i);
		char *text = zone_text(apex, s->names, is_signed);
		struct version *v = fixture_version(apex, text, is_signed, false);
		free(text);
		if (is_signed) {
			fixture_sign(v);
		}
		fixture_zone(&s->zones[i], apex, v);
		s->list[i] = &s->zones[i];
	}
	must(zonedb_new(s->list, zones, &s->db) == ST_OK);
}

static void served_fini(struct served *s)
{
	zonedb_free(s->db);
	for (unsigned i = 0; i < s->count; i++) {
		version_unref(s->zones[i].cur);
	}
	free(s->list);
	free(s->zones);
}

struct question {
	uint8_t wire[QUESTION_MAX];
	size_t len;
};

static void question_make(struct question *q, enum kind kind, const struct served *s,
			  uint64_t *seed)
{
	char apex[32];
	char text[64];
	size_t len;
	unsigned n = (unsigned)(random_next(seed) % s->names);
	apex_text(apex, sizeof(apex), s->count, (unsigned)(random_next(seed) % s->count));
	uint16_t type = RR_A;
	switch (kind) {
	case NODATA:
		type = RR_MX;
		/* fall through */
	case HIT:
		snprintf(text, sizeof(text), "host%07u.%s", n, apex);
		break;
	case NXDOMAIN:
		snprintf(text, sizeof(text), "host%07ux.%s", n, apex);
		break;
	case REFERRAL:
		snprintf(text, sizeof(text), "www.cut%07u.%s", n / 10 * 10, apex);
		break;
	case WILDCARD:
	case KINDS:
		snprintf(text, sizeof(text), "a%07u.wild.%s", n, apex);
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
	wwriter_u32(&w, s->is_signed ? 0x8000 : 0);
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
	struct guard_counts seen;
	int no_syscalls; /* as guard_no_syscalls() */
};

struct bench {
	struct answer_env env;
	const struct question *questions;
	unsigned batch;
	uint64_t octets;
};

static void answer_singly(struct bench *b, const struct question *questions, unsigned count)
{
	uint8_t out[ANSWER_UDP_SIZE];
	struct answer_missing missing;
	for (unsigned i = 0; i < count; i++) {
		const struct question *q = &questions[i];
		size_t len = 0;
		must(answer_query(&b->env, ANSWER_UDP, ANSWER_FIRST, q->wire, q->len, out,
				  sizeof(out), &len, &missing) == ANSWER_SEND);
		b->octets += len;
	}
}

static void answer_batched(struct bench *b, const struct question *questions, unsigned count)
{
	static uint8_t out[ANSWER_BATCH_MAX][ANSWER_UDP_SIZE];
	struct answer_item items[ANSWER_BATCH_MAX];
	for (unsigned done = 0; done < count; done += b->batch) {
		unsigned n = count - done < b->batch ? count - done : b->batch;
		for (unsigned i = 0; i < n; i++) {
			items[i].in = questions[done + i].wire;
			items[i].in_len = questions[done + i].len;
			items[i].out = out[i];
			items[i].peer = NULL;
			items[i].tls = false;
		}
		answer_batch(&b->env, ANSWER_UDP, items, n, sizeof(out[0]));
		for (unsigned i = 0; i < n; i++) {
			must(items[i].result == ANSWER_SEND);
			b->octets += items[i].out_len;
		}
	}
}

#define RUN 1024

static void answer_some(struct bench *b, unsigned at)
{
	if (b->batch == 1) {
		answer_singly(b, b->questions + at, RUN);
	} else {
		answer_batched(b, b->questions + at, RUN);
	}
}

static void answer_all(void *ctx)
{
	for (unsigned at = 0; at < QUESTIONS; at += RUN) {
		answer_some(ctx, at);
	}
}

/* Answers questions in turn for at least 'ns'; returns how many. */
static uint64_t run(struct bench *b, int64_t ns, int64_t *spent)
{
	uint64_t count = 0;
	int64_t start = cpu_ns();
	b->octets = 0;
	do {
		answer_some(b, (unsigned)(count % QUESTIONS));
		count += RUN;
		*spent = cpu_ns() - start;
	} while (*spent < ns);
	return count;
}

static struct cell measure(const struct served *s, enum kind kind, unsigned batch, int64_t ns)
{
	static const enum answer_counter expected[KINDS] = {
		COUNT_NOERROR, COUNT_NOERROR, COUNT_NXDOMAIN, COUNT_REFERRAL, COUNT_NOERROR};
	struct question *questions = calloc(QUESTIONS, sizeof(*questions));
	must(questions != NULL);
	uint64_t seed = UINT64_C(0x5149) + (unsigned)kind;
	for (unsigned i = 0; i < QUESTIONS; i++) {
		question_make(&questions[i], kind, s, &seed);
	}
	struct bench b = {.env = fixture_env(s->db), .questions = questions, .batch = batch};
	int64_t spent;
	run(&b, ns / 10, &spent);
	struct guard_counts before = guard_counts();
	uint64_t count = run(&b, ns, &spent);
	struct guard_counts after = guard_counts();
	must(b.env.counters[expected[kind]] == b.env.counters[COUNT_QUERIES]);
	must(b.env.counters[COUNT_TRUNCATED] == 0);
	struct cell cell = {
		.ns = (double)spent / (double)count,
		.octets = (double)b.octets / (double)count,
		.seen = {after.allocations - before.allocations, after.locks - before.locks},
		.no_syscalls = guard_no_syscalls(answer_all, &b),
	};
	free(questions);
	return cell;
}

/* Values of an option that may be given more than once. */
struct list {
	unsigned values[RUNS_MAX];
	unsigned count;
};

struct options {
	struct list names;
	struct list zones;
	struct list batches;
	int64_t millis;
	const char *kind; /* NULL: all */
	bool json;
};

static void print_cell(const struct cell *c, enum kind kind, const struct served *s, unsigned names,
		       unsigned batch, bool json)
{
	static const char *const syscalls[] = {"unknown", "some", "none"};
	static bool comma;
	const char *zone = s->is_signed ? "signed" : "unsigned";
	if (json) {
		printf("%s\n  {\"answer\": \"%s\", \"zone\": \"%s\", \"names\": %u, "
		       "\"zones\": %u, \"batch\": %u, \"ns\": %.1f, \"octets\": %.0f, "
		       "\"allocations\": %" PRIu64 ", \"locks\": %" PRIu64
		       ", \"syscalls\": \"%s\"}",
		       comma ? "," : "", kind_names[kind], zone, names, s->count, batch, c->ns,
		       c->octets, c->seen.allocations, c->seen.locks, syscalls[c->no_syscalls + 1]);
	} else {
		printf("%-9s %-8s %8u names %5u zones, batch %2u %8.1f ns %5.0f octets, "
		       "%" PRIu64 " allocations, %" PRIu64 " locks, %s syscalls\n",
		       kind_names[kind], zone, names, s->count, batch, c->ns, c->octets,
		       c->seen.allocations, c->seen.locks, syscalls[c->no_syscalls + 1]);
	}
	comma = true;
	fflush(stdout);
}

/* Every kind over these zones. False: an answer did what none may. */
static bool bench_zones(const struct options *opt, unsigned zones, unsigned names, bool is_signed)
{
	struct served s;
	bool good = true;
	served_init(&s, zones, names, is_signed);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		if (opt->kind != NULL && strcmp(opt->kind, kind_names[kind]) != 0) {
			continue;
		}
		for (unsigned i = 0; i < opt->batches.count; i++) {
			struct cell c = measure(&s, (enum kind)kind, opt->batches.values[i],
						opt->millis * 1000000);
			good = good && c.seen.allocations == 0 && c.seen.locks == 0 &&
			       c.no_syscalls != 0;
			print_cell(&c, (enum kind)kind, &s, names, opt->batches.values[i],
				   opt->json);
		}
	}
	served_fini(&s);
	return good;
}

static bool list_add(struct list *l, const char *text, unsigned max)
{
	unsigned long value = strtoul(text, NULL, 10);
	if (value == 0 || value > max || l->count == RUNS_MAX) {
		return false;
	}
	l->values[l->count++] = (unsigned)value;
	return true;
}

static bool parse_option(struct options *opt, const char *name, const char *value)
{
	if (strcmp(name, "--names") == 0) {
		return list_add(&opt->names, value, 9999999);
	}
	if (strcmp(name, "--zones") == 0) {
		return list_add(&opt->zones, value, 99999);
	}
	if (strcmp(name, "--batch") == 0) {
		return list_add(&opt->batches, value, ANSWER_BATCH_MAX);
	}
	if (strcmp(name, "--kind") == 0) {
		opt->kind = value;
		return true;
	}
	opt->millis = strtol(value, NULL, 10);
	return strcmp(name, "--millis") == 0;
}

static bool parse_options(int argc, char **argv, struct options *opt)
{
	*opt = (struct options){.millis = 20};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			opt->json = true;
		} else if (i + 1 == argc || !parse_option(opt, argv[i], argv[i + 1])) {
			return false;
		} else {
			i++;
		}
	}
	if (opt->names.count == 0) {
		list_add(&opt->names, "1000", 1000);
	}
	if (opt->zones.count == 0) {
		list_add(&opt->zones, "1", 1);
	}
	if (opt->batches.count == 0) {
		list_add(&opt->batches, "1", ANSWER_BATCH_MAX);
		list_add(&opt->batches, "64", ANSWER_BATCH_MAX);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options opt;
	bool good = true;
	if (!parse_options(argc, argv, &opt)) {
		fprintf(stderr, "usage: bench_answer [--names N]... [--zones Z]... [--batch B]... "
				"[--millis M] [--kind KIND] [--json]\n"
				"names: 1 to 9999999; zones: 1 to 99999; batch: 1 to 64\n");
		return 2;
	}
	rcu_thread_register();
	if (opt.json) {
		printf("[");
	}
	for (unsigned z = 0; z < opt.zones.count; z++) {
		for (unsigned i = 0; i < opt.names.count; i++) {
			unsigned zones = opt.zones.values[z];
			good = bench_zones(&opt, zones, opt.names.values[i], false) && good;
			good = bench_zones(&opt, zones, opt.names.values[i], true) && good;
		}
	}
	if (opt.json) {
		printf("\n]\n");
	}
	rcu_thread_unregister();
	if (!good) {
		fprintf(stderr, "an answer must not allocate, lock or call the system\n");
	}
	return good ? 0 : 1;
}
