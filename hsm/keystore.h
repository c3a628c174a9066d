/* The inside of a keystore, shared by keystore.c (life, keys, healing), queue.c (what waits) and
 * lanes.c (signatures). */
#pragma once

#include "hsm/backend.h"

#include <pthread.h>

/* A window's worth, and one that is signed once more. */
#define LANE_FLIGHTS (LANE_WINDOW_MAX + 1)

/* A job that a lane has given to the device. */
struct flight {
	struct hsm_job *job;
	uint64_t epoch;
	int64_t since_us; /* the device had it, clock_mono_us() */
	unsigned attempt;
};

/* What is its thread's alone is not guarded. */
struct lane {
	struct keystore *ks;
	struct session *session;
	pthread_t thread;
	bool started;
	uint64_t parked; /* the epoch in which the device gave this lane no session; 0: none */
	struct flight flights[LANE_FLIGHTS]; /* a ring, the oldest at 'first'; the thread's */
	unsigned first, count;
	unsigned low;	 /* of them, those of less than HSM_QUERY */
	bool stuck;	 /* the oldest takes long: nothing is put behind it */
	int64_t free_us; /* the device's last answer came, clock_mono_us() */
};

struct job_queue {
	struct hsm_job *head, *tail;
	size_t count;
};

/* 'lock' guards what is not said otherwise; it is never held over a call into the backend, but for
 * forget(), which does not block. */
struct keystore {
	struct keystore_options opt;
	const struct backend *be;
	struct device *dev;
	size_t queue_max;

	pthread_mutex_t lock;
	pthread_cond_t work;	/* for lanes: a job, a change of state, the end */
	pthread_cond_t keep;	/* for the keeper: a fault, a wish, the end */
	pthread_cond_t settled; /* for keystore_open(): the keeper tried */
	bool stopping;

	struct job_queue queue[HSM_BATCH + 1];
	struct lane *lanes;
	unsigned able;	    /* lanes that are not parked */
	unsigned idle;	    /* lanes that wait for work, and may have it */
	unsigned low_busy;  /* lanes with a job of less than HSM_QUERY in flight */
	bool excess_is_due; /* HSM_BATCH had the last turn of the two */
	int64_t asked_ms;   /* when a job last was, or became, HSM_QUERY; clock_mono_ms() */
	int64_t sign_us;    /* running mean of one signature; -1: none was made yet */

	/* The keeper is the one thread that opens the device, so that lanes are free to fail jobs
	 * promptly meanwhile. */
	pthread_t keeper;
	bool keeper_started;
	enum keystore_state state;
	enum status open_status; /* of the last attempt */
	uint64_t epoch;		 /* successful openings */
	uint64_t asked, served;	 /* keystore_open(): tickets */
	int64_t wake_ms;	 /* when the keeper looks again; clock_mono_ms() */
	int64_t backoff_ms;	 /* 0: a signature was made since the last fault */
	char detail[160], refusal[160];

	_Atomic(uint64_t) signatures, failures, verify_failures;
};

/* keystore.c. A backend call begun in 'epoch' failed; takes the lock. */
void keystore_fault(struct keystore *ks, uint64_t epoch, const struct fault *f);

/* queue.c, all with the lock held. */

/* A lane that had it gives it back: to the front. */
void queue_return(struct keystore *ks, struct hsm_job *job);
/* The next job for this lane, or NULL. Where jobs cannot be signed anyway every lane helps to fail
 * them; else a parked lane takes none, and what is not HSM_QUERY leaves one lane free, unless no
 * question came lately and a signature is short. */
struct hsm_job *queue_take(struct lane *lane);
/* How many a lane may have in flight: what a question may have to wait for. */
unsigned queue_window(const struct keystore *ks);

/* lanes.c */
enum status lanes_start(struct keystore *ks) MUST_USE;
/* After ks->stopping was set. Fails what waits with ST_EAGAIN. */
void lanes_stop(struct keystore *ks);
/* With the lock held: every lane may ask the device for a session (again). */
void lanes_unpark(struct keystore *ks);
/* The key signs and the signature verifies; blocks for a lane. */
enum status lanes_prove(struct keystore *ks, struct hsm_key *key) MUST_USE;
/* A thread that takes no signals. */
enum status thread_start(pthread_t *thread, void *(*main)(void *), void *arg) MUST_USE;
