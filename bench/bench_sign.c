/* What a signature costs beside the signature: a zone signed whole, on one thread and on all, and
 * answers whose signatures are not there yet, with keys in the process. The bare signature is
 * measured in between, so that figures of one run can be compared.
 *
 * usage: bench_sign [--names N] [--threads T] [--rounds R] [--json]
 *
 * Time is the CPU's, over all threads; medians of R rounds (3). */
#include "nsd-core/answer.h"
#include "nsd-core/base/clock.h"
#include "signer/signer.h"
#include "tests/unit/answer_fixture.h"

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>

#define ROUNDS_MAX  25
#define ZONES	    400 /* of the answers: each is asked one question of each kind */
#define BARE_COUNT  2000
#define THREADS_MAX 256

struct options {
	unsigned names;
	unsigned threads;
	unsigned rounds;
	bool json;
};

/* The figures of one round, in ns of CPU time, and of the clock on the wall. */
struct round {
	double bare, bare_wall;
	double bare_all, bare_all_wall;
	double one, one_wall;
	double all, all_wall;
	double hit, nxdomain;
};

struct bench {
	struct options opt;
	char dir[64];
	struct keystore *store;
	struct hsm_key *key;
	EVP_PKEY *pkey; /* another of the same kind, for the bare loop */
	size_t signatures;
	double hit_signatures, nxdomain_signatures;
	struct round rounds[ROUNDS_MAX];
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void bench_init(struct bench *b)
{
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	strcpy(b->dir, "/tmp/signet-bench-XXXXXX");
	must(mkdtemp(b->dir) != NULL);
	struct keystore_options opt = {.name = "local",
				       .type = KEYSTORE_FILE,
				       .slot = -1,
				       .directory = b->dir,
				       .sessions = 1};
	must(keystore_new(&opt, &b->store, &d) == ST_OK);
	must(keystore_generate(b->store, "bench", &b->key, &d) == ST_OK);
	b->pkey = EVP_EC_gen("P-256");
	must(b->pkey != NULL);
	diags_fini(&d);
}

static void bench_fini(struct bench *b)
{
	EVP_PKEY_free(b->pkey);
	hsm_key_unref(b->key);
	keystore_free(b->store);
	nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* One key for all. */
static struct keyset *keyset_make(const struct bench *b, const uint8_t *apex)
{
	struct keyset *ks = calloc(1, sizeof(*ks));
	uint8_t rdata[DNSKEY_LEN];
	must(ks != NULL);
	atomic_init(&ks->refs, 1);
	name_lower(ks->apex, apex);
	ks->params = (struct sign_params){.algorithm = ALG_ECDSAP256SHA256,
					  .dnskey_ttl = 3600,
					  .refresh = 86400,
					  .validity = 1209600};
	ks->count = 1;
	struct key *key = &ks->keys[0];
	key->role = KEY_CSK;
	key->state = KEY_ACTIVE;
	key->flags = 257;
	memcpy(key->public_point, hsm_key_public(b->key), HSM_PUBLIC_LEN);
	key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
	atomic_store(&key->handle, hsm_key_ref(b->key));
	return ks;
}

/* A version with a key set and a chain, nothing signed. */
static struct version *version_make(const struct bench *b, const char *apex_text, const char *text)
{
	struct content c;
	struct draft *draft = NULL;
	struct version *v = NULL;
	uint8_t apex[NAME_MAX_LEN];
	size_t len;
	must(name_from_text(apex_text, strlen(apex_text), NULL, apex, &len, NULL) == ST_OK);
	fixture_read(&c, apex, text);
	struct keyset *ks = keyset_make(b, apex);
	must(draft_new(apex, NULL, &draft) == ST_OK);
	must(draft_apply(draft, &c, true) == ST_OK);
	content_fini(&c);
	must(signer_prepare_draft(draft, ks, false, SIGN_NSEC) == ST_OK);
	struct freeze f = {
		.denial = DENIAL_NSEC, .is_signed = true, .keys = ks, .keys_unref = keyset_unref};
	must(draft_freeze(draft, &f, &v) == ST_OK);
	draft_free(draft);
	return v;
}

/* The bare signature: one context, one digest, nothing around it. */
static void *bare_main(void *arg)
{
	uint8_t digest[HSM_DIGEST_LEN] = {1};
	uint8_t der[80];
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, arg, NULL);
	must(ctx != NULL && EVP_PKEY_sign_init(ctx) == 1);
	for (unsigned i = 0; i < BARE_COUNT; i++) {
		size_t len = sizeof(der);
		be32_put(digest, i);
		must(EVP_PKEY_sign(ctx, der, &len, digest, sizeof(digest)) == 1);
	}
	EVP_PKEY_CTX_free(ctx);
	return NULL;
}

/* ns of CPU time a signature; *wall: those of the clock. */
static double bare(const struct bench *b, unsigned threads, double *wall)
{
	pthread_t list[THREADS_MAX];
	int64_t wall_ns = clock_ns(CLOCK_MONOTONIC);
	int64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < threads; i++) {
		must(pthread_create(&list[i], NULL, bare_main, b->pkey) == 0);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(list[i], NULL);
	}
	double count = (double)threads * BARE_COUNT;
	*wall = (double)(clock_ns(CLOCK_MONOTONIC) - wall_ns) / count;
	return (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns) / count;
}

static uint64_t signatures_made(struct keystore *ks)
{
	struct keystore_health health;
	keystore_health(ks, &health);
	return health.signatures;
}

static double whole_zone(struct bench *b, const char *text, unsigned threads, double *wall)
{
	struct signer_options opt = {.threads = threads};
	struct signer *s = NULL;
	struct version *v = version_make(b, "bench.test.", text);
	must(signer_new(&opt, &s) == ST_OK);
	uint64_t before = signatures_made(b->store);
	int64_t wall_ns = clock_ns(CLOCK_MONOTONIC);
	int64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	must(signer_complete(s, v, NULL) == ST_OK);
	cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns;
	wall_ns = clock_ns(CLOCK_MONOTONIC) - wall_ns;
	b->signatures = signatures_made(b->store) - before;
	signer_free(s);
	version_unref(v);
	*wall = (double)wall_ns / (double)b->signatures;
	return (double)cpu_ns / (double)b->signatures;
}

static enum answer_want want(void *ctx, const struct answer_wanted *wanted)
{
	enum status st =
		signer_want(ctx, wanted->version, wanted->node, wanted->rrset, wanted->waits);
	return st == ST_OK ? WANT_FILLED : WANT_FAILED;
}

/* Asks 'host' in every zone; ns of CPU time a question, *signatures made for each. */
static double ask_all(struct bench *b, struct answer_env *env, const char *host, double *signatures)
{
	static uint8_t wires[ZONES][128];
	static size_t lens[ZONES];
	static const uint8_t header[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1};
	static const uint8_t opt[] = {
		0, 0, RR_OPT, ANSWER_UDP_SIZE >> 8, ANSWER_UDP_SIZE & 255, 0, 0, 0x80, 0, 0, 0};
	uint8_t out[ANSWER_UDP_SIZE];
	struct answer_missing missing;
	for (unsigned i = 0; i < ZONES; i++) {
		char name[64];
		size_t len;
		struct wwriter w;
		snprintf(name, sizeof(name), "%s.z%05u.test.", host, i);
		wwriter_init(&w, wires[i], sizeof(wires[i]));
		wwriter_put(&w, header, sizeof(header));
		must(name_from_text(name, strlen(name), NULL, w.pos, &len, NULL) == ST_OK);
		w.pos += len;
		wwriter_u16(&w, RR_A);
		wwriter_u16(&w, CLASS_IN);
		wwriter_put(&w, opt, sizeof(opt));
		must(w.err == ST_OK);
		lens[i] = wwriter_len(&w);
	}
	uint64_t before = signatures_made(b->store);
	int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < ZONES; i++) {
		size_t len = 0;
		must(answer_query(env, ANSWER_UDP, ANSWER_FIRST, wires[i], lens[i], out,
				  sizeof(out), &len, &missing) == ANSWER_SEND);
	}
	int64_t spent = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	*signatures = (double)(signatures_made(b->store) - before) / ZONES;
	return (double)spent / ZONES;
}

/* The first question of each kind in many zones. */
static void cold(struct bench *b, struct round *r)
{
	static struct zone zones[ZONES];
	struct zone *list[ZONES];
	struct signer_options opt = {.threads = 1};
	struct signer *s = NULL;
	struct zonedb *db = NULL;
	must(signer_new(&opt, &s) == ST_OK);
	for (unsigned i = 0; i < ZONES; i++) {
		char apex[32];
		char text[256];
		snprintf(apex, sizeof(apex), "z%05u.test.", i);
		snprintf(text, sizeof(text),
			 "$ORIGIN %s\n$TTL 3600\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\n"
			 "ns A 192.0.2.1\n",
			 apex);
		fixture_zone(&zones[i], apex, version_make(b, apex, text));
		list[i] = &zones[i];
	}
	must(zonedb_new(list, ZONES, &db) == ST_OK);
	struct answer_env env = fixture_env(db);
	env.now_s = clock_wall_s();
	env.want = want;
	env.want_ctx = s;
	r->hit = ask_all(b, &env, "ns", &b->hit_signatures);
	r->nxdomain = ask_all(b, &env, "x", &b->nxdomain_signatures);
	must(env.counters[COUNT_NOERROR] == ZONES && env.counters[COUNT_NXDOMAIN] == ZONES);
	zonedb_free(db);
	for (unsigned i = 0; i < ZONES; i++) {
		version_unref(zones[i].cur);
	}
	signer_free(s);
}

static char *zone_text(unsigned names)
{
	size_t room = 256 + (size_t)names * 64;
	char *text = malloc(room);
	must(text != NULL);
	size_t len = (size_t)snprintf(text, room,
				      "$ORIGIN bench.test.\n$TTL 3600\n"
				      "@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\n"
				      "ns A 192.0.2.1\n");
	for (unsigned i = 0; i < names; i++) {
		len += (size_t)snprintf(text + len, room - len, "host%07u A 10.%u.%u.%u\n", i,
					i >> 16 & 255, i >> 8 & 255, i & 255);
	}
	return text;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;
	return (x > y) - (x < y);
}

/* 'at': the offset of a double in struct round. */
static double median(const struct bench *b, size_t at)
{
	double list[ROUNDS_MAX];
	for (unsigned i = 0; i < b->opt.rounds; i++) {
		memcpy(&list[i], (const char *)&b->rounds[i] + at, sizeof(list[i]));
	}
	qsort(list, b->opt.rounds, sizeof(list[0]), compare);
	return list[b->opt.rounds / 2];
}

#define MEDIAN(b, field) median((b), offsetof(struct round, field))

static void print_rate(const struct bench *b, const char *what, unsigned threads, double cpu,
		       double wall, double floor)
{
	static bool comma;
	if (b->opt.json) {
		printf("%s\n  {\"what\": \"%s\", \"threads\": %u, \"cpu_ns\": %.0f, "
		       "\"per_cpu_second\": %.0f, \"per_second\": %.0f, \"of_bare\": %.3f}",
		       comma ? "," : "[", what, threads, cpu, 1e9 / cpu, 1e9 / wall, floor / cpu);
		comma = true;
	} else {
		printf("%-5s %3u threads %8.0f ns %8.0f a CPU-second %8.0f a second %6.3f of "
		       "bare\n",
		       what, threads, cpu, 1e9 / cpu, 1e9 / wall, floor / cpu);
	}
}

static void print_cold(const struct bench *b, const char *what, double ns, double signatures,
		       double floor)
{
	double above = ns - signatures * floor;
	if (b->opt.json) {
		printf(",\n  {\"what\": \"cold %s\", \"signatures\": %.2f, \"cpu_ns\": %.0f, "
		       "\"beside_signatures_ns\": %.0f}",
		       what, signatures, ns, above);
	} else {
		printf("cold %-9s %8.0f ns %4.2f signatures, %.0f ns beside them\n", what, ns,
		       signatures, above);
	}
}

static void print(const struct bench *b)
{
	double floor = MEDIAN(b, bare);
	double floor_all = MEDIAN(b, bare_all);
	print_rate(b, "bare", 1, floor, MEDIAN(b, bare_wall), floor);
	print_rate(b, "zone", 1, MEDIAN(b, one), MEDIAN(b, one_wall), floor);
	if (b->opt.threads > 1) {
		print_rate(b, "bare", b->opt.threads, floor_all, MEDIAN(b, bare_all_wall),
			   floor_all);
		print_rate(b, "zone", b->opt.threads, MEDIAN(b, all), MEDIAN(b, all_wall),
			   floor_all);
	}
	print_cold(b, "hit", MEDIAN(b, hit), b->hit_signatures, floor);
	print_cold(b, "nxdomain", MEDIAN(b, nxdomain), b->nxdomain_signatures, floor);
	if (b->opt.json) {
		printf("\n]\n");
	}
}

static bool parse_options(int argc, char **argv, struct options *opt)
{
	cpu_set_t cpus;
	*opt = (struct options){.names = 20000, .rounds = 3, .threads = 1};
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
		opt->threads = (unsigned)CPU_COUNT(&cpus);
	}
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			opt->json = true;
		} else if (i + 1 == argc) {
			return false;
		} else if (strcmp(argv[i], "--names") == 0) {
			opt->names = (unsigned)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--threads") == 0) {
			opt->threads = (unsigned)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--rounds") == 0) {
			opt->rounds = (unsigned)strtoul(argv[++i], NULL, 10);
		} else {
			return false;
		}
	}
	return opt->names > 0 && opt->names <= 9999999 && opt->threads > 0 &&
	       opt->threads <= THREADS_MAX && opt->rounds > 0 && opt->rounds <= ROUNDS_MAX;
}

int main(int argc, char **argv)
{
	struct bench b = {.signatures = 0};
	if (!parse_options(argc, argv, &b.opt)) {
		fprintf(stderr, "usage: bench_sign [--names N] [--threads T] [--rounds R] "
				"[--json]\n");
		return 2;
	}
	rcu_thread_register();
	bench_init(&b);
	char *text = zone_text(b.opt.names);
	for (unsigned i = 0; i < b.opt.rounds; i++) {
		struct round *r = &b.rounds[i];
		r->bare = bare(&b, 1, &r->bare_wall);
		r->one = whole_zone(&b, text, 1, &r->one_wall);
		if (b.opt.threads > 1) {
			r->bare_all = bare(&b, b.opt.threads, &r->bare_all_wall);
			r->all = whole_zone(&b, text, b.opt.threads, &r->all_wall);
		}
		cold(&b, r);
	}
	print(&b);
	free(text);
	bench_fini(&b);
	rcu_drain();
	rcu_thread_unregister();
	return 0;
}
