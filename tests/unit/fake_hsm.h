/* A keystore for tests of the signing engine: defines what hsm.h declares, so that the real one is
 * not linked. Jobs wait until the test, or lanes that it starts, run them. */
#pragma once

#include "hsm/hsm.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FAKE_LANES_MAX 4

struct hsm_key {
	_Atomic(uint32_t) refs;
	_Atomic(size_t) signed_count;
	struct keystore *store;
	uint8_t point[HSM_PUBLIC_LEN];
};

struct keystore {
	const char *name;
	bool in_process;
	unsigned sessions;
	_Atomic(int) fault; /* enum status of every signature; ST_OK: none */
	size_t queue_max;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct hsm_job *head[HSM_BATCH + 1];
	struct hsm_job **tail[HSM_BATCH + 1];
	size_t waiting[HSM_BATCH + 1];
	size_t most_waiting[HSM_BATCH + 1];
	bool stopping;
	pthread_t lanes[FAKE_LANES_MAX];
	unsigned lane_count;
};

static inline void fake_init(struct keystore *ks, const char *name, bool in_process)
{
	memset(ks, 0, sizeof(*ks));
	ks->name = name;
	ks->in_process = in_process;
	ks->sessions = 2;
	ks->queue_max = 4096;
	pthread_mutex_init(&ks->lock, NULL);
	pthread_cond_init(&ks->work, NULL);
	for (size_t p = 0; p <= HSM_BATCH; p++) {
		ks->tail[p] = &ks->head[p];
	}
}

/* Takes the job off its queue. */
static inline void fake_unlink(struct keystore *ks, struct hsm_job *job)
{
	struct hsm_job **at = &ks->head[job->priority];
	while (*at != job) {
		at = &(*at)->next;
	}
	*at = job->next;
	if (job->next == NULL) {
		ks->tail[job->priority] = at;
	}
	ks->waiting[job->priority]--;
	job->queued = false;
}

static inline void fake_append(struct keystore *ks, struct hsm_job *job, enum hsm_priority p)
{
	job->priority = p;
	job->queued = true;
	job->next = NULL;
	*ks->tail[p] = job;
	ks->tail[p] = &job->next;
	if (++ks->waiting[p] > ks->most_waiting[p]) {
		ks->most_waiting[p] = ks->waiting[p];
	}
}

/* The first of the highest priority there is. */
static inline struct hsm_job *fake_pop(struct keystore *ks)
{
	struct hsm_job *job = NULL;
	for (size_t p = 0; p <= HSM_BATCH && job == NULL; p++) {
		job = ks->head[p];
	}
	if (job != NULL) {
		fake_unlink(ks, job);
	}
	return job;
}

static inline void fake_do(struct hsm_job *job)
{
	job->result = (enum status)atomic_load(&job->key->store->fault);
	if (job->result == ST_OK) {
		memcpy(job->signature, job->digest, HSM_DIGEST_LEN);
		memcpy(job->signature + HSM_DIGEST_LEN, job->digest, HSM_DIGEST_LEN);
		atomic_fetch_add(&job->key->signed_count, 1);
	}
	job->done(job);
}

/* Runs at most n waiting jobs on this thread; how many there were. */
static inline size_t fake_run(struct keystore *ks, size_t n)
{
	size_t done = 0;
	while (done < n) {
		pthread_mutex_lock(&ks->lock);
		struct hsm_job *job = fake_pop(ks);
		pthread_mutex_unlock(&ks->lock);
		if (job == NULL) {
			break;
		}
		fake_do(job);
		done++;
	}
	return done;
}

static inline void *fake_lane(void *arg)
{
	struct keystore *ks = arg;
	pthread_mutex_lock(&ks->lock);
	for (;;) {
		struct hsm_job *job = fake_pop(ks);
		if (job != NULL) {
			pthread_mutex_unlock(&ks->lock);
			fake_do(job);
			pthread_mutex_lock(&ks->lock);
		} else if (ks->stopping) {
			break;
		} else {
			pthread_cond_wait(&ks->work, &ks->lock);
		}
	}
	pthread_mutex_unlock(&ks->lock);
	return NULL;
}

static inline void fake_start(struct keystore *ks)
{
	for (unsigned i = 0; i < ks->sessions; i++) {
		assert_int_equal(pthread_create(&ks->lanes[i], NULL, fake_lane, ks), 0);
		ks->lane_count++;
	}
}

/* Ends the lanes, or does what waits. */
static inline void fake_fini(struct keystore *ks)
{
	pthread_mutex_lock(&ks->lock);
	ks->stopping = true;
	pthread_cond_broadcast(&ks->work);
	pthread_mutex_unlock(&ks->lock);
	for (unsigned i = 0; i < ks->lane_count; i++) {
		pthread_join(ks->lanes[i], NULL);
	}
	fake_run(ks, SIZE_MAX);
	pthread_cond_destroy(&ks->work);
	pthread_mutex_destroy(&ks->lock);
}

static inline struct hsm_key *fake_key(struct keystore *ks, uint8_t seed)
{
	struct hsm_key *key = calloc(1, sizeof(*key));
	assert_non_null(key);
	atomic_init(&key->refs, 1);
	key->store = ks;
	memset(key->point, seed, sizeof(key->point));
	return key;
}

const char *keystore_name(const struct keystore *ks)
{
	return ks->name;
}

bool keystore_in_process(const struct keystore *ks)
{
	return ks->in_process;
}

void keystore_health(struct keystore *ks, struct keystore_health *out)
{
	*out = (struct keystore_health){
		.state = KEYSTORE_UP, .sessions = ks->sessions, .window = ks->sessions};
}

enum status keystore_submit(struct keystore *ks, enum hsm_priority priority, struct hsm_job *job)
{
	enum status st = ST_OK;
	pthread_mutex_lock(&ks->lock);
	if (ks->waiting[priority] >= ks->queue_max) {
		st = ST_ELIMIT;
	} else {
		fake_append(ks, job, priority);
		pthread_cond_signal(&ks->work);
	}
	pthread_mutex_unlock(&ks->lock);
	return st;
}

void keystore_raise(struct keystore *ks, struct hsm_job *job)
{
	pthread_mutex_lock(&ks->lock);
	if (job->queued && job->priority != HSM_QUERY) {
		fake_unlink(ks, job);
		fake_append(ks, job, HSM_QUERY);
		pthread_cond_signal(&ks->work);
	}
	pthread_mutex_unlock(&ks->lock);
}

enum status hsm_sign_now(struct hsm_key *key, const uint8_t *digest, uint8_t *signature)
{
	enum status st = (enum status)atomic_load(&key->store->fault);
	if (st == ST_OK) {
		memcpy(signature, digest, HSM_DIGEST_LEN);
		memcpy(signature + HSM_DIGEST_LEN, digest, HSM_DIGEST_LEN);
		atomic_fetch_add(&key->signed_count, 1);
	}
	return st;
}

struct hsm_key *hsm_key_ref(struct hsm_key *key)
{
	atomic_fetch_add(&key->refs, 1);
	return key;
}

void hsm_key_unref(struct hsm_key *key)
{
	if (key != NULL && atomic_fetch_sub(&key->refs, 1) == 1) {
		free(key);
	}
}

struct keystore *hsm_key_store(const struct hsm_key *key)
{
	return key->store;
}
