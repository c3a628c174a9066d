#include "hsm/keystore.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status thread_start(pthread_t *thread, void *(*main)(void *), void *arg)
{
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(thread, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err == 0 ? ST_OK : status_from_errno(err);
}

/* Behind 'after'; NULL: at the front. */
static void queue_insert(struct keystore *ks, struct hsm_job *job, struct hsm_job *after)
{
	struct job_queue *q = &ks->queue[job->priority];
	job->previous = after;
	job->next = after != NULL ? after->next : q->head;
	*(after != NULL ? &after->next : &q->head) = job;
	*(job->next != NULL ? &job->next->previous : &q->tail) = job;
	job->queued = true;
	q->count++;
}

static void queue_push(struct keystore *ks, struct hsm_job *job, enum hsm_priority priority)
{
	job->priority = priority;
	queue_insert(ks, job, ks->queue[priority].tail);
}

static void queue_remove(struct keystore *ks, struct hsm_job *job)
{
	struct job_queue *q = &ks->queue[job->priority];
	*(job->previous != NULL ? &job->previous->next : &q->head) = job->next;
	*(job->next != NULL ? &job->next->previous : &q->tail) = job->previous;
	job->queued = false;
	q->count--;
}

/* The first job of those that do not take the last lane, or NULL. */
static struct hsm_job *low_first(struct keystore *ks)
{
	struct hsm_job *excess = ks->queue[HSM_EXCESS].head;
	struct hsm_job *batch = ks->queue[HSM_BATCH].head;
	bool take_excess = batch == NULL || (excess != NULL && ks->excess_is_due);
	ks->excess_is_due = !take_excess;
	return take_excess ? excess : batch;
}

/* The next job for this lane, or NULL. Where jobs cannot be signed anyway every lane helps to fail
 * them; else a parked lane takes none, and what is not HSM_QUERY leaves one lane free. */
static struct hsm_job *lane_take(struct lane *lane)
{
	struct keystore *ks = lane->ks;
	bool signs = ks->state == KEYSTORE_UP && !ks->stopping;
	if (signs && lane->parked == ks->epoch) {
		return NULL;
	}
	struct hsm_job *job = ks->queue[HSM_QUERY].head;
	if (job == NULL && signs && ks->able >= 2 && ks->low_busy >= ks->able - 1) {
		return NULL;
	}
	job = job != NULL ? job : low_first(ks);
	if (job != NULL) {
		queue_remove(ks, job);
	}
	return job;
}

/* A lane signs twice at most: where the first signature is of no known form or does not verify.
 * Some modules give one in 128 short, and which octet is missing cannot be known. */
static enum status lane_sign(struct lane *lane, struct hsm_job *job, struct fault *f)
{
	struct keystore *ks = lane->ks;
	struct hsm_key *key = job->key;
	for (int attempt = 0; attempt < 2; attempt++) {
		struct raw_signature raw;
		uint8_t sig[HSM_SIGNATURE_LEN];
		enum status st = ks->be->sign(lane->session, key, job->digest, &raw, f);
		if (st != ST_OK) {
			return st;
		}
		if (raw.len == HSM_SIGNATURE_LEN) {
			memcpy(sig, raw.data, sizeof(sig));
		} else {
			st = ecdsa_der_decode(raw.data, raw.len, sig);
		}
		if (st == ST_OK && !ks->be->in_process) {
			st = pool_verify(&key->verifiers, key->pkey, job->digest, sig);
		}
		if (st == ST_OK) {
			memcpy(job->signature, sig, sizeof(sig));
			return ST_OK;
		}
		if (st == ST_ENOMEM) {
			return st;
		}
		atomic_fetch_add_explicit(&ks->verify_failures, 1, memory_order_relaxed);
		if (ks->be->distrust != NULL) {
			ks->be->distrust(key);
		}
	}
	fault_set(f, FAULT_REQUEST, "two signatures in a row do not verify");
	return ST_ECRYPTO;
}

/* Called and returns with the lock held. ST_EBUSY: the job is back in its queue. */
static enum status lane_run(struct lane *lane, struct hsm_job *job)
{
	struct keystore *ks = lane->ks;
	struct fault f = {.kind = FAULT_REQUEST};
	uint64_t epoch = ks->epoch;
	bool signs = ks->state == KEYSTORE_UP && !ks->stopping;
	if (job->deadline_ms != 0 && clock_mono_ms() >= job->deadline_ms) {
		return ST_ETIMEDOUT;
	}
	if (!signs) {
		return ST_EAGAIN;
	}

	ks->low_busy += job->priority != HSM_QUERY;
	pthread_mutex_unlock(&ks->lock);
	enum status st = lane_sign(lane, job, &f);
	if (st != ST_OK && st != ST_ELIMIT && f.kind != FAULT_REQUEST) {
		keystore_fault(ks, epoch, &f);
		st = ST_EAGAIN; /* it heals without this job's doing, be it by the operator */
	}
	pthread_mutex_lock(&ks->lock);
	ks->low_busy -= job->priority != HSM_QUERY;

	if (st == ST_OK) {
		ks->backoff_ms = 0;
		ks->refusal[0] = '\0';
	} else if (st == ST_EFATAL || st == ST_ECRYPTO) {
		snprintf(ks->refusal, sizeof(ks->refusal), "%s", f.text);
	}
	if (st != ST_ELIMIT) {
		return st;
	}
	/* The device has fewer sessions than are configured: go on with those there are. */
	if (ks->able > 1 && ks->epoch == epoch) {
		lane->parked = epoch;
		ks->able--;
		queue_insert(ks, job, NULL);
		pthread_cond_broadcast(&ks->work);
		return ST_EBUSY;
	}
	f.kind = FAULT_DEVICE;
	pthread_mutex_unlock(&ks->lock);
	keystore_fault(ks, epoch, &f);
	pthread_mutex_lock(&ks->lock);
	return ST_EAGAIN;
}

static void *lane_main(void *arg)
{
	struct lane *lane = arg;
	struct keystore *ks = lane->ks;
	pthread_mutex_lock(&ks->lock);
	for (;;) {
		struct hsm_job *job = lane_take(lane);
		if (job == NULL) {
			if (ks->stopping) {
				break;
			}
			pthread_cond_wait(&ks->work, &ks->lock);
			continue;
		}
		enum status st = lane_run(lane, job);
		if (st == ST_EBUSY) {
			continue;
		}
		pthread_mutex_unlock(&ks->lock);
		atomic_fetch_add_explicit(st == ST_OK ? &ks->signatures : &ks->failures, 1,
					  memory_order_relaxed);
		job->result = st;
		job->done(job);
		pthread_mutex_lock(&ks->lock);
	}
	pthread_mutex_unlock(&ks->lock);
	return NULL;
}

void lanes_unpark(struct keystore *ks)
{
	for (unsigned i = 0; i < ks->opt.sessions; i++) {
		ks->lanes[i].parked = 0;
	}
	ks->able = ks->opt.sessions;
	pthread_cond_broadcast(&ks->work);
}

enum status lanes_start(struct keystore *ks)
{
	ks->able = ks->opt.sessions;
	ks->lanes = calloc(ks->opt.sessions, sizeof(*ks->lanes));
	if (ks->lanes == NULL) {
		return ST_ENOMEM;
	}
	for (unsigned i = 0; i < ks->opt.sessions; i++) {
		struct lane *lane = &ks->lanes[i];
		lane->ks = ks;
		enum status st = ks->be->session_new(ks->dev, &lane->session);
		if (st == ST_OK) {
			st = thread_start(&lane->thread, lane_main, lane);
		}
		if (st != ST_OK) {
			return st;
		}
		lane->started = true;
	}
	return ST_OK;
}

void lanes_stop(struct keystore *ks)
{
	for (unsigned i = 0; ks->lanes != NULL && i < ks->opt.sessions; i++) {
		if (ks->lanes[i].started) {
			pthread_join(ks->lanes[i].thread, NULL);
		}
	}
	for (unsigned i = 0; ks->lanes != NULL && i < ks->opt.sessions; i++) {
		ks->be->session_free(ks->lanes[i].session);
	}
	free(ks->lanes);
	ks->lanes = NULL;
}

/* There is something for a lane. With the lock held. */
static void lanes_wake(struct keystore *ks)
{
	/* A parked lane may be the one that wakes up. */
	if (ks->able < ks->opt.sessions) {
		pthread_cond_broadcast(&ks->work);
	} else {
		pthread_cond_signal(&ks->work);
	}
}

enum status keystore_submit(struct keystore *ks, enum hsm_priority priority, struct hsm_job *job)
{
	enum status st = ST_OK;
	pthread_mutex_lock(&ks->lock);
	if (ks->stopping) {
		st = ST_EAGAIN;
	} else if (ks->queue[priority].count >= ks->queue_max) {
		st = ST_ELIMIT;
	} else {
		queue_push(ks, job, priority);
		lanes_wake(ks);
	}
	pthread_mutex_unlock(&ks->lock);
	return st;
}

void keystore_raise(struct keystore *ks, struct hsm_job *job)
{
	pthread_mutex_lock(&ks->lock);
	if (job->queued && job->priority != HSM_QUERY &&
	    ks->queue[HSM_QUERY].count < ks->queue_max) {
		queue_remove(ks, job);
		queue_push(ks, job, HSM_QUERY);
		lanes_wake(ks);
	}
	pthread_mutex_unlock(&ks->lock);
}

struct proof {
	struct hsm_job job;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void proof_done(struct hsm_job *job)
{
	struct proof *p = (struct proof *)job; /* its first member */
	pthread_mutex_lock(&p->lock);
	p->done = true;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

enum status lanes_prove(struct keystore *ks, struct hsm_key *key)
{
	struct proof p = {
		.job = {.key = key, .done = proof_done},
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};
	enum status st = random_bytes(p.job.digest, sizeof(p.job.digest));
	if (st != ST_OK) {
		return st;
	}
	st = keystore_submit(ks, HSM_QUERY, &p.job);
	if (st != ST_OK) {
		return st == ST_ELIMIT ? ST_EAGAIN : st;
	}
	pthread_mutex_lock(&p.lock);
	while (!p.done) {
		pthread_cond_wait(&p.cond, &p.lock);
	}
	pthread_mutex_unlock(&p.lock);
	st = p.job.result;
	pthread_cond_destroy(&p.cond);
	pthread_mutex_destroy(&p.lock);
	if (st == ST_OK) {
		/* What the backend does not verify by itself is verified here. */
		st = pool_verify(&key->verifiers, key->pkey, p.job.digest, p.job.signature);
	}
	return st;
}
