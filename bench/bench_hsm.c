/* What a keystore costs beside its module: signatures a second with as many sessions, and the time
 * of one, by a bare loop of C_Sign and verify, by the keystore in the process, and by the keystore
 * with the module in a process of its own.
 *
 * usage: bench_hsm [--sessions N,N,...] [--millis M] [--rounds R] [--json] [--only WAY]
 *
 * On a SoftHSM token of its own. CPU time is that of all threads and of the module's process;
 * medians of R rounds (3), in each of which all ways have their turn. --only: one of 0 bare, 1 in
 * process, 2 isolated, for a profiler. */
#include "hsm/verify.h"
#include "tests/tools/p11fixture.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define must(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #x);             \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define LANES_MAX  64
#define LISTS_MAX  8
#define ROUNDS_MAX 25
#define ONES_MAX   20000
/* In flight for each session: enough that no lane waits for the next. */
#define DEPTH 16

enum way { BARE, INSIDE, OUTSIDE, WAYS };

static const char *const way_names[WAYS] = {"bare", "in process", "isolated"};

struct options {
	unsigned sessions[LISTS_MAX];
	size_t lists;
	unsigned millis;
	unsigned rounds;
	unsigned only; /* a way; WAYS: all */
	bool json;
};

/* Of one way with so many sessions, in one round. */
struct figures {
	double per_s, cpu_us;  /* all sessions at work */
	double p50_us, p99_us; /* one after the other */
};

struct bench {
	struct options opt;
	struct p11_fixture fx; /* the token; its keystore is the one in the process */
	struct keystore *outside;
	struct hsm_key *outside_key;
	CK_FUNCTION_LIST *f;
	CK_SLOT_ID slot;
	struct figures figures[LISTS_MAX][WAYS][ROUNDS_MAX];
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	must(clock_gettime(id, &ts) == 0);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Of this process and of the module's. */
static int64_t cpu_ns(struct keystore *ks)
{
	struct keystore_health health;
	clockid_t other;
	int64_t sum = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (ks != NULL) {
		keystore_health(ks, &health);
		if (health.pid > 0 && clock_getcpuclockid(health.pid, &other) == 0) {
			sum += clock_ns(other);
		}
	}
	return sum;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The bare loop: one thread and one session, the key found before. */
struct bare {
	struct bench *b;
	pthread_t thread;
	int64_t until_ns;
	unsigned count; /* at most, in */
	unsigned signed_count;
	double *times_us; /* or NULL */
};

static CK_OBJECT_HANDLE bare_find(struct bench *b, CK_SESSION_HANDLE session)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_OBJECT_HANDLE object;
	CK_ULONG count = 0;
	size_t len;
	const uint8_t *id = hsm_key_id(b->fx.key, &len);
	CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_ID, (void *)id, len}};
	must(b->f->C_FindObjectsInit(session, wanted, 2) == CKR_OK);
	must(b->f->C_FindObjects(session, &object, 1, &count) == CKR_OK && count == 1);
	must(b->f->C_FindObjectsFinal(session) == CKR_OK);
	return object;
}

static void *bare_main(void *arg)
{
	struct bare *t = arg;
	CK_FUNCTION_LIST *f = t->b->f;
	CK_SESSION_HANDLE session;
	CK_MECHANISM mechanism = {.mechanism = CKM_ECDSA};
	struct ctx_pool *pool = calloc(1, sizeof(*pool));
	EVP_PKEY *pkey = NULL;
	uint8_t digest[HSM_DIGEST_LEN] = {1};
	uint8_t sig[HSM_SIGNATURE_LEN];
	must(pool != NULL);
	must(f->C_OpenSession(t->b->slot, CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK);
	must(public_key_new(hsm_key_public(t->b->fx.key), &pkey) == ST_OK);
	CK_OBJECT_HANDLE key = bare_find(t->b, session);
	while (t->signed_count < t->count && clock_ns(CLOCK_MONOTONIC) < t->until_ns) {
		CK_ULONG len = sizeof(sig);
		int64_t start = clock_ns(CLOCK_MONOTONIC);
		memcpy(digest, &t->signed_count, sizeof(t->signed_count));
		must(f->C_SignInit(session, &mechanism, key) == CKR_OK);
		must(f->C_Sign(session, digest, sizeof(digest), sig, &len) == CKR_OK);
		must(len == sizeof(sig) && pool_verify(pool, pkey, digest, sig) == ST_OK);
		if (t->times_us != NULL) {
			t->times_us[t->signed_count] =
				(double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e3;
		}
		t->signed_count++;
	}
	must(f->C_CloseSession(session) == CKR_OK);
	ctx_pool_fini(pool);
	free(pool);
	EVP_PKEY_free(pkey);
	return NULL;
}

static double bare_run(struct bench *b, unsigned sessions, double *times_us, unsigned *count)
{
	struct bare threads[LANES_MAX];
	int64_t start = clock_ns(CLOCK_MONOTONIC);
	*count = 0;
	for (unsigned i = 0; i < sessions; i++) {
		threads[i] = (struct bare){.b = b,
					   .until_ns = start + (int64_t)b->opt.millis * 1000000,
					   .count = times_us != NULL ? ONES_MAX : UINT32_MAX,
					   .times_us = times_us};
		must(pthread_create(&threads[i].thread, NULL, bare_main, &threads[i]) == 0);
	}
	for (unsigned i = 0; i < sessions; i++) {
		pthread_join(threads[i].thread, NULL);
		*count += threads[i].signed_count;
	}
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
}

/* Jobs that submit themselves again until the time is over. */
struct flight {
	struct keystore *ks;
	int64_t until_ns;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned away;
	_Atomic(unsigned) count;
};

struct flight_job {
	struct hsm_job job; /* first: done() is given this */
	struct flight *flight;
};

static void flight_done(struct hsm_job *job)
{
	struct flight *fl = ((struct flight_job *)job)->flight;
	must(job->result == ST_OK);
	unsigned n = atomic_fetch_add(&fl->count, 1);
	if (clock_ns(CLOCK_MONOTONIC) < fl->until_ns) {
		memcpy(job->digest, &n, sizeof(n));
		must(keystore_submit(fl->ks, HSM_QUERY, job) == ST_OK);
		return;
	}
	pthread_mutex_lock(&fl->lock);
	fl->away--;
	pthread_cond_signal(&fl->cond);
	pthread_mutex_unlock(&fl->lock);
}

static double flight_run(struct keystore *ks, struct hsm_key *key, unsigned depth, int64_t until_ns,
			 unsigned *count)
{
	static struct flight_job jobs[LANES_MAX * DEPTH];
	struct flight fl = {.ks = ks,
			    .until_ns = until_ns,
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .cond = PTHREAD_COND_INITIALIZER,
			    .away = depth};
	int64_t start = clock_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < depth; i++) {
		jobs[i] = (struct flight_job){.job = {.key = key, .done = flight_done},
					      .flight = &fl};
		must(keystore_submit(ks, HSM_QUERY, &jobs[i].job) == ST_OK);
	}
	pthread_mutex_lock(&fl.lock);
	while (fl.away > 0) {
		pthread_cond_wait(&fl.cond, &fl.lock);
	}
	pthread_mutex_unlock(&fl.lock);
	*count = atomic_load(&fl.count);
	return (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
}

static void measure(struct bench *b, enum way way, unsigned sessions, struct figures *out)
{
	static double times_us[ONES_MAX];
	struct keystore *ks = way == OUTSIDE ? b->outside : b->fx.ks;
	struct hsm_key *key = way == OUTSIDE ? b->outside_key : b->fx.key;
	int64_t length_ns = (int64_t)b->opt.millis * 1000000;
	unsigned count;
	unsigned ones = 0;
	int64_t cpu = cpu_ns(ks);
	double wall_s = way == BARE ? bare_run(b, sessions, NULL, &count)
				    : flight_run(ks, key, sessions * DEPTH,
						 clock_ns(CLOCK_MONOTONIC) + length_ns, &count);
	out->cpu_us = (double)(cpu_ns(ks) - cpu) / count / 1e3;
	out->per_s = count / wall_s;

	int64_t until_ns = clock_ns(CLOCK_MONOTONIC) + length_ns;
	if (way == BARE) {
		(void)bare_run(b, 1, times_us, &ones);
	}
	while (way != BARE && ones < ONES_MAX && clock_ns(CLOCK_MONOTONIC) < until_ns) {
		times_us[ones++] = flight_run(ks, key, 1, 0, &count) * 1e6;
	}
	must(ones > 0);
	qsort(times_us, ones, sizeof(times_us[0]), compare);
	out->p50_us = times_us[ones / 2];
	out->p99_us = times_us[(size_t)ones * 99 / 100];
}

/* A keystore with so many sessions, inside and outside. */
static void open_both(struct bench *b, unsigned sessions)
{
	struct keystore_options opt = p11_options(&b->fx, SOFTHSM_MODULE, sessions);
	size_t len;
	bool first = b->fx.key == NULL;
	must(keystore_new(&opt, &b->fx.ks, NULL) == ST_OK);
	if (first) {
		p11_make_key(&b->fx);
	}
	const uint8_t *id = hsm_key_id(b->fx.key, &len);
	if (!first) {
		struct hsm_key *again = NULL;
		must(keystore_find(b->fx.ks, id, len, NULL, &again, NULL) == ST_OK);
		hsm_key_unref(b->fx.key);
		b->fx.key = again;
		id = hsm_key_id(again, &len);
	}
	opt.isolate = true;
	must(keystore_new(&opt, &b->outside, NULL) == ST_OK);
	must(keystore_find(b->outside, id, len, NULL, &b->outside_key, NULL) == ST_OK);
	b->f = p11_softhsm(&b->slot);
}

static void close_both(struct bench *b)
{
	keystore_free(b->fx.ks);
	keystore_free(b->outside);
	hsm_key_unref(b->outside_key);
	b->fx.ks = NULL;
	b->outside = NULL;
	b->outside_key = NULL;
}

static struct figures medians(const struct bench *b, size_t list, enum way way)
{
	struct figures out;
	double values[ROUNDS_MAX];
	for (size_t field = 0; field < sizeof(out); field += sizeof(double)) {
		for (unsigned r = 0; r < b->opt.rounds; r++) {
			memcpy(&values[r], (const char *)&b->figures[list][way][r] + field,
			       sizeof(double));
		}
		qsort(values, b->opt.rounds, sizeof(double), compare);
		memcpy((char *)&out + field, &values[b->opt.rounds / 2], sizeof(double));
	}
	return out;
}

static void print(const struct bench *b)
{
	for (size_t i = 0; i < b->opt.lists; i++) {
		struct figures floor = medians(b, i, BARE);
		for (enum way way = BARE; way < WAYS; way++) {
			struct figures m = medians(b, i, way);
			if (b->opt.json) {
				printf("%s\n  {\"what\": \"%s\", \"sessions\": %u, "
				       "\"per_second\": %.0f, \"of_bare\": %.3f, \"cpu_us\": %.1f, "
				       "\"p50_us\": %.1f, \"p99_us\": %.1f}",
				       i == 0 && way == BARE ? "[" : ",", way_names[way],
				       b->opt.sessions[i], m.per_s, m.per_s / floor.per_s, m.cpu_us,
				       m.p50_us, m.p99_us);
			} else {
				printf("%-10s %2u sessions %7.0f/s %6.3f of bare %6.1f us CPU; "
				       "one: "
				       "p50 %6.1f us, p99 %6.1f us\n",
				       way_names[way], b->opt.sessions[i], m.per_s,
				       m.per_s / floor.per_s, m.cpu_us, m.p50_us, m.p99_us);
			}
		}
	}
	if (b->opt.json) {
		printf("\n]\n");
	}
}

static bool parse_sessions(const char *text, struct options *opt)
{
	char *end = NULL;
	opt->lists = 0;
	do {
		unsigned long n = strtoul(text, &end, 10);
		if (end == text || n < 1 || n > LANES_MAX || opt->lists == LISTS_MAX) {
			return false;
		}
		opt->sessions[opt->lists++] = (unsigned)n;
		text = end + 1;
	} while (*end == ',');
	return *end == '\0';
}

static bool parse(int argc, char **argv, struct options *opt)
{
	static const struct option longs[] = {{"sessions", required_argument, NULL, 's'},
					      {"millis", required_argument, NULL, 'm'},
					      {"rounds", required_argument, NULL, 'r'},
					      {"json", no_argument, NULL, 'j'},
					      {"only", required_argument, NULL, 'o'},
					      {NULL, 0, NULL, 0}};
	int c;
	*opt = (struct options){
		.sessions = {1, 2, 4}, .lists = 3, .millis = 500, .rounds = 3, .only = WAYS};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			if (!parse_sessions(optarg, opt)) {
				return false;
			}
			break;
		case 'm':
			opt->millis = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'r':
			opt->rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'j':
			opt->json = true;
			break;
		case 'o':
			opt->only = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			return false;
		}
	}
	return optind == argc && opt->millis > 0 && opt->rounds > 0 && opt->rounds <= ROUNDS_MAX;
}

int main(int argc, char **argv)
{
	static struct bench b;
	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	if (!parse(argc, argv, &b.opt)) {
		fprintf(stderr, "usage: bench_hsm [--sessions N,N,...] [--millis M] [--rounds R] "
				"[--json] [--only WAY]\n");
		return 2;
	}
	b.fx.dir = temp_make();
	softhsm_use(b.fx.dir);
	softhsm_token("signet", PIN);
	snprintf(b.fx.pin, sizeof(b.fx.pin), "%s/pin", b.fx.dir);
	file_write(b.fx.pin, PIN "\n");
	for (unsigned r = 0; r < b.opt.rounds; r++) {
		for (size_t i = 0; i < b.opt.lists; i++) {
			open_both(&b, b.opt.sessions[i]);
			for (enum way way = BARE; way < WAYS; way++) {
				if (b.opt.only != WAYS && b.opt.only != way) {
					continue;
				}
				measure(&b, way, b.opt.sessions[i], &b.figures[i][way][r]);
			}
			close_both(&b);
		}
	}
	print(&b);
	hsm_key_unref(b.fx.key);
	temp_remove(b.fx.dir);
	return 0;
}
