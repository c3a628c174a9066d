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

static struct flight *lane_push(struct lane *lane, struct hsm_job *job, unsigned attempt)
{
	struct flight *fl = &lane->flights[(lane->first + lane->count++) % LANE_FLIGHTS];
	*fl = (struct flight){.job = job, .epoch = lane->ks->epoch, .attempt = attempt};
	if (job->priority != HSM_QUERY && lane->low++ == 0) {
		lane->ks->low_busy++;
	}
	return fl;
}

/* The newest where 'last', else the oldest. */
static struct flight lane_pop(struct lane *lane, bool last)
{
	struct flight fl =
		lane->flights[(lane->first + (last ? lane->count - 1 : 0)) % LANE_FLIGHTS];
	lane->count--;
	lane->first = (lane->first + !last) % LANE_FLIGHTS;
	if (fl.job->priority != HSM_QUERY && --lane->low == 0) {
		lane->ks->low_busy--;
	}
	return fl;
}

/* Without the lock. */
static void lane_ask(struct lane *lane, struct flight *fl)
{
	const struct backend *be = lane->ks->be;
	fl->since_us = clock_mono_us();
	if (be->ask != NULL) {
		be->ask(lane->session, fl->job->key, fl->job->digest);
	}
}

/* Without the lock. */
static void job_settle(struct keystore *ks, struct hsm_job *job, enum status st)
{
	atomic_fetch_add_explicit(st == ST_OK ? &ks->signatures : &ks->failures, 1,
				  memory_order_relaxed);
	job->result = st;
	job->done(job);
}

static bool is_late(const struct hsm_job *job, int64_t now_ms)
{
	return job->deadline_ms != 0 && now_ms >= job->deadline_ms;
}

/* Gives the device what this lane may take. Called and returns with the lock held. */
static void lane_fill(struct lane *lane)
{
	struct keystore *ks = lane->ks;
	struct hsm_job *job;
	while ((job = queue_take(lane)) != NULL) {
		enum status st = ks->state == KEYSTORE_UP && !ks->stopping ? ST_OK : ST_EAGAIN;
		if (is_late(job, clock_mono_ms())) {
			st = ST_ETIMEDOUT;
		}
		struct flight *fl = st == ST_OK ? lane_push(lane, job, 0) : NULL;
		pthread_mutex_unlock(&ks->lock);
		if (fl != NULL) {
			lane_ask(lane, fl);
		} else {
			job_settle(ks, job, st);
		}
		pthread_mutex_lock(&ks->lock);
	}
}

/* The oldest takes long. What is behind it need not wait for that: other lanes may take it. With
 * the lock held. */
static void lane_recall(struct lane *lane)
{
	struct keystore *ks = lane->ks;
	lane->stuck = true;
	if (lane->count == 1) {
		return;
	}
	ks->be->forget(lane->session);
	while (lane->count > 1) {
		queue_return(ks, lane_pop(lane, true).job);
	}
	pthread_cond_broadcast(&ks->work);
}

/* The device has answered the oldest, which it began with when it had answered the one before. With
 * the lock held. */
static void lane_answered(struct lane *lane, enum status st, int64_t now_us)
{
	struct keystore *ks = lane->ks;
	struct flight *fl = &lane->flights[lane->first];
	if (fl->since_us < lane->free_us) {
		fl->since_us = lane->free_us;
	}
	lane->free_us = now_us;
	lane->stuck = false;
	if (st == ST_OK) {
		int64_t took_us = now_us - fl->since_us;
		ks->sign_us = ks->sign_us < 0 ? took_us : (7 * ks->sign_us + took_us) / 8;
	}
}

/* Is it a signature of the job's digest? Fills the job's. */
static enum status raw_check(struct keystore *ks, struct hsm_job *job,
			     const struct raw_signature *raw)
{
	struct hsm_key *key = job->key;
	uint8_t sig[HSM_SIGNATURE_LEN];
	enum status st = ST_OK;
	if (raw->len == HSM_SIGNATURE_LEN) {
		memcpy(sig, raw->data, sizeof(sig));
	} else {
		st = ecdsa_der_decode(raw->data, raw->len, sig);
	}
	if (st == ST_OK && !ks->be->in_process) {
		st = pool_verify(&key->verifiers, key->pkey, job->digest, sig);
	}
	if (st == ST_OK) {
		memcpy(job->signature, sig, sizeof(sig));
	} else if (st != ST_ENOMEM) {
		atomic_fetch_add_explicit(&ks->verify_failures, 1, memory_order_relaxed);
		if (ks->be->distrust != NULL) {
			ks->be->distrust(key);
		}
		st = ST_ECRYPTO;
	}
	return st;
}

/* Called and returns with the lock held. ST_EBUSY: the job is back in its queue. */
static enum status flight_end(struct lane *lane, const struct flight *fl, enum status st,
			      struct fault *f)
{
	struct keystore *ks = lane->ks;
	if (st == ST_OK) {
		ks->backoff_ms = 0;
		ks->refusal[0] = '\0';
	} else if (st == ST_EFATAL || st == ST_ECRYPTO) {
		snprintf(ks->refusal, sizeof(ks->refusal), "%s", f->text);
	}
	if (st != ST_ELIMIT) {
		return st;
	}
	/* The device has fewer sessions than are configured: go on with those there are. */
	bool parks = ks->able > 1 && ks->epoch == fl->epoch && lane->parked != fl->epoch;
	if (parks) {
		lane->parked = fl->epoch;
		ks->able--;
	}
	if (parks || lane->parked == fl->epoch) {
		queue_return(ks, fl->job);
		pthread_cond_broadcast(&ks->work);
		return ST_EBUSY;
	}
	f->kind = FAULT_DEVICE;
	pthread_mutex_unlock(&ks->lock);
	keystore_fault(ks, fl->epoch, f);
	pthread_mutex_lock(&ks->lock);
	return ST_EAGAIN;
}

/* What the device's answer comes to. ST_EBUSY: it is to sign once more. Without the lock. */
static enum status flight_judge(struct keystore *ks, const struct flight *fl, enum status st,
				const struct raw_signature *raw, struct fault *f)
{
	if (st != ST_OK) {
		if (st != ST_ELIMIT && f->kind != FAULT_REQUEST) {
			keystore_fault(ks, fl->epoch, f);
			st = ST_EAGAIN; /* it heals without this job's doing, be it by the operator
					 */
		}
		return st;
	}
	if (is_late(fl->job, fl->since_us / 1000)) {
		return ST_ETIMEDOUT;
	}
	st = raw_check(ks, fl->job, raw);
	if (st == ST_ECRYPTO && fl->attempt == 0) {
		return ST_EBUSY;
	}
	if (st == ST_ECRYPTO) {
		fault_set(f, FAULT_REQUEST, "two signatures in a row do not verify");
	}
	return st;
}

/* A lane signs twice at most: where the first signature is of no known form or does not verify.
 * Some modules give one in 128 short, and which octet is missing cannot be known. Called and
 * returns with the lock held. */
static void lane_again(struct lane *lane, const struct flight *fl)
{
	struct flight *again = lane_push(lane, fl->job, fl->attempt + 1);
	again->epoch = fl->epoch;
	pthread_mutex_unlock(&lane->ks->lock);
	lane_ask(lane, again);
	pthread_mutex_lock(&lane->ks->lock);
}

/* The device's answer to the oldest. Called and returns with the lock held. */
static enum status lane_wait(struct lane *lane, struct raw_signature *raw, struct fault *f)
{
	const struct backend *be = lane->ks->be;
	const struct hsm_job *job = lane->flights[lane->first].job;
	pthread_mutex_unlock(&lane->ks->lock);
	enum status st = be->answer != NULL
				 ? be->answer(lane->session, raw, f)
				 : be->sign(lane->session, job->key, job->digest, raw, f);
	int64_t now_us = clock_mono_us();
	pthread_mutex_lock(&lane->ks->lock);
	if (st != ST_EBUSY) {
		lane_answered(lane, st, now_us);
	}
	return st;
}

/* The oldest, to its end. Called and returns with the lock held. */
static void lane_collect(struct lane *lane)
{
	struct keystore *ks = lane->ks;
	struct fault f = {.kind = FAULT_REQUEST};
	struct raw_signature raw;
	enum status st = lane_wait(lane, &raw, &f);
	if (st == ST_EBUSY) {
		lane_recall(lane);
		return;
	}
	struct flight fl = lane_pop(lane, false);
	if (ks->be->ask != NULL && st == ST_OK) {
		/* The device goes on while this one is verified. */
		lane_fill(lane);
	}
	pthread_mutex_unlock(&ks->lock);
	st = flight_judge(ks, &fl, st, &raw, &f);
	pthread_mutex_lock(&ks->lock);
	if (st == ST_EBUSY) {
		lane_again(lane, &fl);
		return;
	}
	st = flight_end(lane, &fl, st, &f);
	if (st != ST_EBUSY) {
		pthread_mutex_unlock(&ks->lock);
		job_settle(ks, fl.job, st);
		pthread_mutex_lock(&ks->lock);
	}
}

static void *lane_main(void *arg)
{
	struct lane *lane = arg;
	struct keystore *ks = lane->ks;
	pthread_mutex_lock(&ks->lock);
	for (;;) {
		lane_fill(lane);
		if (lane->count > 0) {
			lane_collect(lane);
		} else if (ks->stopping) {
			break;
		} else {
			bool able = lane->parked != ks->epoch;
			ks->idle += able;
			pthread_cond_wait(&ks->work, &ks->lock);
			ks->idle -= able;
		}
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
