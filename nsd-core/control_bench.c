/* 'keystore bench': as many signatures under way at a time as there are sessions in use, for some
 * seconds; each one done submits the next. */
#include "nsd-core/base/clock.h"
#include "nsd-core/control_probe.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Latencies by their magnitude and the four bits behind: within 6 %. */
#define SUB_BITS 4
#define BUCKETS	 (64 << SUB_BITS)
/* A signature that takes longer has failed: as long as an isolated module may take, and some. */
#define JOB_MS 15000
/* Where it is not said: enough for the 99th percentile of a slow device. */
#define SECONDS 2

struct bench {
	const struct probe *p;
	struct hsm_key *key;
	enum hsm_priority priority;
	unsigned seconds;
	int64_t end_ms;

	pthread_mutex_t lock;
	pthread_cond_t over;
	unsigned under_way;
	enum status status; /* the first that was not good */
	uint64_t signatures;
	uint64_t max_ns;
	uint32_t count[BUCKETS];
};

struct bench_job {
	struct hsm_job job;
	struct bench *bench;
	uint64_t begun_ns;
};

struct bench_result {
	unsigned sessions;
	uint64_t signatures;
	double per_second;
	double p50_us, p99_us, max_us;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	/* Not clock_mono_ms(): latencies are below a millisecond. */
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static size_t bucket_of(uint64_t ns)
{
	unsigned bits = ns == 0 ? 0 : 63U - (unsigned)__builtin_clzll(ns);

	if (bits < SUB_BITS) {
		return (size_t)ns;
	}
	return ((size_t)bits << SUB_BITS) + ((ns >> (bits - SUB_BITS)) & ((1U << SUB_BITS) - 1));
}

/* The middle of the bucket, in microseconds. */
static double bucket_us(size_t i)
{
	size_t bits = i >> SUB_BITS;
	double width;

	if (bits < SUB_BITS) {
		return (double)i / 1000.0;
	}
	width = (double)(UINT64_C(1) << (bits - SUB_BITS));
	return ((double)(UINT64_C(1) << bits) +
		width * ((double)(i & ((1U << SUB_BITS) - 1)) + 0.5)) /
	       1000.0;
}

static double percentile_us(const struct bench *b, double part)
{
	uint64_t before = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		before += b->count[i];
		if ((double)before >= (double)b->signatures * part && b->count[i] > 0) {
			return bucket_us(i);
		}
	}
	return 0;
}

static bool stopped(const struct bench *b)
{
	return b->p->stop != NULL && atomic_load(b->p->stop);
}

static enum status submit(struct bench_job *j)
{
	int64_t now_ms = clock_mono_ms();

	j->job.deadline_ms = now_ms + JOB_MS;
	j->begun_ns = now_ns();
	/* Each signs something else, as it is in life. */
	memcpy(j->job.digest, &j->begun_ns, sizeof(j->begun_ns));
	return keystore_submit(j->bench->p->ks, j->bench->priority, &j->job);
}

static void on_signed(struct hsm_job *job)
{
	struct bench_job *j = (struct bench_job *)job; /* its first member */
	struct bench *b = j->bench;
	uint64_t ns = now_ns() - j->begun_ns;
	enum status st = job->result;

	pthread_mutex_lock(&b->lock);
	if (st == ST_OK) {
		b->signatures++;
		b->count[bucket_of(ns)]++;
		b->max_ns = ns > b->max_ns ? ns : b->max_ns;
	}
	bool more = st == ST_OK && b->status == ST_OK && clock_mono_ms() < b->end_ms && !stopped(b);
	pthread_mutex_unlock(&b->lock);
	st = more ? submit(j) : st;
	if (more && st == ST_OK) {
		return;
	}
	pthread_mutex_lock(&b->lock);
	b->status = b->status == ST_OK ? st : b->status;
	if (--b->under_way == 0) {
		pthread_cond_signal(&b->over);
	}
	pthread_mutex_unlock(&b->lock);
}

static enum status run_sessions(struct bench *b, struct bench_job *jobs, unsigned sessions,
				struct bench_result *out)
{
	b->signatures = 0;
	b->max_ns = 0;
	memset(b->count, 0, sizeof(b->count));
	b->under_way = sessions;
	b->end_ms = clock_mono_ms() + (int64_t)b->seconds * 1000;
	uint64_t begun_ns = now_ns();
	for (unsigned i = 0; i < sessions; i++) {
		jobs[i] = (struct bench_job){.job = {.key = b->key, .done = on_signed}, .bench = b};
		memset(jobs[i].job.digest, (int)i, sizeof(jobs[i].job.digest));
		enum status st = submit(&jobs[i]);
		if (st != ST_OK) {
			jobs[i].job.result = st;
			on_signed(&jobs[i].job);
		}
	}
	pthread_mutex_lock(&b->lock);
	while (b->under_way > 0) {
		pthread_cond_wait(&b->over, &b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	*out = (struct bench_result){
		.sessions = sessions,
		.signatures = b->signatures,
		.per_second = (double)b->signatures * 1e9 / (double)(now_ns() - begun_ns),
		.p50_us = percentile_us(b, 0.5),
		.p99_us = percentile_us(b, 0.99),
		.max_us = (double)b->max_ns / 1000.0,
	};
	return b->status;
}

static void put_result(struct table *t, json_t *list, const struct bench_result *res)
{
	table_put(t, "%u", res->sessions);
	table_put(t, "%.0f", res->per_second);
	table_put(t, "%.0f", res->p50_us);
	table_put(t, "%.0f", res->p99_us);
	table_put(t, "%.0f", res->max_us);
	json_array_append_new(list, json_pack("{s:i, s:I, s:f, s:f, s:f, s:f}", "sessions",
					      (int)res->sessions, "signatures",
					      (json_int_t)res->signatures, "per_second",
					      res->per_second, "p50_us", res->p50_us, "p99_us",
					      res->p99_us, "max_us", res->max_us));
}

/* 1, 2, 4, ... and the most. */
static enum status run_all(struct bench *b, unsigned most, struct table *t, json_t *list)
{
	struct bench_job *jobs = calloc(most, sizeof(*jobs));
	enum status st = jobs == NULL ? ST_ENOMEM : ST_OK;
	unsigned sessions = 1;

	while (st == ST_OK && !stopped(b)) {
		struct bench_result res;
		st = run_sessions(b, jobs, sessions, &res);
		if (st == ST_OK) {
			put_result(t, list, &res);
		}
		if (sessions == most) {
			break;
		}
		sessions = sessions * 2 < most ? sessions * 2 : most;
	}
	free(jobs);
	return st;
}

/* The first key on record that the keystore has. */
static bool find_key(const struct probe *p, struct hsm_key **out, struct reply *r)
{
	const char *name = p->conf->keystores[p->index].name;
	const struct conf_zone *at = NULL;
	struct probe_key *keys = NULL;
	size_t count = 0;
	struct diags d;

	diags_init(&d, 1);
	enum status st = probe_keys(p, &keys, &count, &at);
	if (st != ST_OK) {
		reply_fail(r, EXIT_FAILED, "keystore %s: its keys on record cannot be read: %s",
			   name, status_text(st));
	} else if (count == 0) {
		reply_fail(
			r, EXIT_FAILED,
			"keystore %s: no zone has a key here yet, so there is nothing to sign with",
			name);
	} else {
		st = keystore_find(p->ks, keys[0].id, keys[0].id_len, keys[0].public_point, out,
				   &d);
		if (st != ST_OK) {
			reply_fail(r, EXIT_FAILED,
				   "%s\n'keystore check %s' says what to do about it",
				   d.count > 0 ? d.items[0].text : status_text(st), name);
		}
	}
	free(keys);
	diags_fini(&d);
	return r->exit == EXIT_DONE;
}

static void answer(struct bench *b, unsigned most, struct reply *r)
{
	const char *name = b->p->conf->keystores[b->p->index].name;
	static const char *const head[] = {"SESSIONS", "SIGNATURES/S", "P50 us", "P99 us",
					   "MAX us"};
	json_t *list = json_array();
	struct reply_text text;
	struct table t;

	table_init(&t, sizeof(head) / sizeof(head[0]));
	for (size_t i = 0; i < t.columns; i++) {
		table_put(&t, "%s", head[i]);
	}
	enum status st = run_all(b, most, &t, list);
	reply_text_open(&text);
	if (text.f != NULL) {
		table_print(&t, text.f);
	}
	reply_text_close(&text, r);
	table_fini(&t);
	if (st != ST_OK) {
		json_decref(list);
		reply_fail(
			r, EXIT_FAILED,
			"keystore %s: a signature failed: %s\n'keystore check %s' says what to do "
			"about it",
			name, status_text(st), name);
		return;
	}
	r->data = json_pack("{s:i, s:o, s:i, s:b, s:o}", "version", CONTROL_VERSION, "keystore",
			    reply_string(name), "seconds", (int)b->seconds, "serving",
			    b->p->serving, "results", list);
	if (b->p->serving) {
		reply_note(r, "measured beside the server's own work%s",
			   b->priority == HSM_BATCH &&
					   most < b->p->conf->keystores[b->p->index].sessions
				   ? ", which keeps one session for questions"
				   : "");
	}
}

void probe_bench(const struct probe *p, struct reply *r)
{
	struct keystore_health h;
	struct bench b = {.p = p,
			  .seconds = p->seconds != 0 ? p->seconds : SECONDS,
			  .priority = p->serving ? HSM_BATCH : HSM_QUERY,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .over = PTHREAD_COND_INITIALIZER};

	if (!find_key(p, &b.key, r)) {
		return;
	}
	keystore_health(p->ks, &h);
	unsigned most = h.sessions;
	/* Of the last lane background work cannot be sure. */
	if (p->serving && most > 1) {
		most--;
	}
	answer(&b, most > 0 ? most : 1, r);
	hsm_key_unref(b.key);
	pthread_cond_destroy(&b.over);
	pthread_mutex_destroy(&b.lock);
}
