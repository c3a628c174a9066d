/* What waits for a lane, in which order, and which lane may take it. */
#include "hsm/keystore.h"

#include "nsd-core/base/clock.h"

/* Background work keeps a lane free for questions this long after one has asked... */
#define CALM_MS 1000
/* ...and at any time where one signature takes this long. */
#define SHORT_US 5000
/* What a lane has in flight takes the device about so long. */
#define WINDOW_US 2000

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

void queue_return(struct keystore *ks, struct hsm_job *job)
{
	if (job->raised) {
		job->priority = HSM_QUERY;
	}
	queue_insert(ks, job, NULL);
}

static void queue_remove(struct keystore *ks, struct hsm_job *job)
{
	struct job_queue *q = &ks->queue[job->priority];
	*(job->previous != NULL ? &job->previous->next : &q->head) = job->next;
	*(job->next != NULL ? &job->next->previous : &q->tail) = job->previous;
	job->queued = false;
	q->count--;
}

static size_t queue_waiting(const struct keystore *ks)
{
	size_t n = 0;
	for (size_t i = 0; i <= HSM_BATCH; i++) {
		n += ks->queue[i].count;
	}
	return n;
}

/* The first job of those that are not HSM_QUERY, or NULL. */
static struct hsm_job *low_first(struct keystore *ks)
{
	struct hsm_job *excess = ks->queue[HSM_EXCESS].head;
	struct hsm_job *batch = ks->queue[HSM_BATCH].head;
	bool take_excess = batch == NULL || (excess != NULL && ks->excess_is_due);
	ks->excess_is_due = !take_excess;
	return take_excess ? excess : batch;
}

unsigned queue_window(const struct keystore *ks)
{
	unsigned max = ks->be->window;
	if (max <= 1 || ks->sign_us < 0) {
		return 1;
	}
	int64_t fit = ks->sign_us > 0 ? WINDOW_US / ks->sign_us : max;
	return fit < 1 ? 1 : fit < max ? (unsigned)fit : max;
}

/* May this lane, which signs, take one that is not HSM_QUERY? */
static bool low_may(const struct lane *lane)
{
	const struct keystore *ks = lane->ks;
	bool calm = clock_mono_ms() - ks->asked_ms >= CALM_MS;
	if (lane->count > 0 && !calm) {
		return false;
	}
	bool leaves_one = ks->able < 2 || ks->low_busy + 1 < ks->able || lane->low > 0;
	bool is_short = ks->sign_us >= 0 && ks->sign_us < SHORT_US;
	return leaves_one || (calm && is_short);
}

/* May it take one more to those that it has in flight? What an idle lane would take is left to it.
 */
static bool lane_has_room(const struct lane *lane)
{
	const struct keystore *ks = lane->ks;
	return lane->count == 0 || (!lane->stuck && lane->flights[lane->first].epoch == ks->epoch &&
				    lane->count < queue_window(ks) && queue_waiting(ks) > ks->idle);
}

struct hsm_job *queue_take(struct lane *lane)
{
	struct keystore *ks = lane->ks;
	bool signs = ks->state == KEYSTORE_UP && !ks->stopping;
	if (signs && (lane->parked == ks->epoch || !lane_has_room(lane))) {
		return NULL;
	}
	struct hsm_job *job = ks->queue[HSM_QUERY].head;
	if (job == NULL && signs && !low_may(lane)) {
		return NULL;
	}
	job = job != NULL ? job : low_first(ks);
	if (job != NULL) {
		queue_remove(ks, job);
	}
	return job;
}

/* There is something for a lane. With the lock held. */
static void queue_wake(struct keystore *ks)
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
		if (priority == HSM_QUERY) {
			ks->asked_ms = clock_mono_ms();
		}
		queue_wake(ks);
	}
	pthread_mutex_unlock(&ks->lock);
	return st;
}

void keystore_raise(struct keystore *ks, struct hsm_job *job)
{
	pthread_mutex_lock(&ks->lock);
	if (!job->queued) {
		/* It may be taken back from behind one that hangs. */
		job->raised = true;
	} else if (job->priority != HSM_QUERY && ks->queue[HSM_QUERY].count < ks->queue_max) {
		queue_remove(ks, job);
		queue_push(ks, job, HSM_QUERY);
		ks->asked_ms = clock_mono_ms();
		queue_wake(ks);
	}
	pthread_mutex_unlock(&ks->lock);
}
