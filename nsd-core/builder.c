#include "nsd-core/builder.h"

#include "nsd-core/base/rcu.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Below the workers, above what is only run by an idle machine: builders always get on. */
#define BUILDER_NICE 10

struct queue {
	struct builder_job *head;
	struct builder_job **tail;
};

struct builder {
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool stopping;
	struct queue queue[BUILDER_RANKS];
	char name[16];
	unsigned count; /* threads that run */
	pthread_t threads[];
};

static struct builder_job *queue_take(struct builder *b)
{
	for (size_t i = 0; i < BUILDER_RANKS; i++) {
		struct queue *q = &b->queue[i];
		struct builder_job *job = q->head;
		if (job != NULL) {
			q->head = job->next;
			if (q->head == NULL) {
				q->tail = &q->head;
			}
			return job;
		}
	}
	return NULL;
}

static void *builder_main(void *arg)
{
	struct builder *b = arg;

	prctl(PR_SET_NAME, b->name);
	/* On Linux this is the thread's own. That it may fail changes nothing but the priority. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), BUILDER_NICE);
	rcu_thread_register();
	pthread_mutex_lock(&b->lock);
	while (!b->stopping) {
		struct builder_job *job = queue_take(b);
		if (job == NULL) {
			pthread_cond_wait(&b->work, &b->lock);
			continue;
		}
		pthread_mutex_unlock(&b->lock);
		job->run(job);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	rcu_thread_unregister();
	return NULL;
}

enum status builder_start(const char *name, unsigned threads, struct builder **out)
{
	struct builder *b = calloc(1, sizeof(*b) + threads * sizeof(b->threads[0]));
	sigset_t all;
	sigset_t old;

	if (b == NULL) {
		return ST_ENOMEM;
	}
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->work, NULL);
	strncpy(b->name, name, sizeof(b->name) - 1);
	for (size_t i = 0; i < BUILDER_RANKS; i++) {
		b->queue[i].tail = &b->queue[i].head;
	}
	int err = 0;
	/* A new thread takes the mask of the one that makes it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (err == 0 && b->count < threads) {
		err = pthread_create(&b->threads[b->count], NULL, builder_main, b);
		b->count += err == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err != 0) {
		builder_stop(b);
		builder_free(b);
		return status_from_errno(err);
	}
	*out = b;
	return ST_OK;
}

void builder_submit(struct builder *b, enum builder_rank rank, struct builder_job *job,
		    void (*run)(struct builder_job *job))
{
	job->run = run;
	job->next = NULL;
	pthread_mutex_lock(&b->lock);
	if (!b->stopping) {
		*b->queue[rank].tail = job;
		b->queue[rank].tail = &job->next;
		pthread_cond_signal(&b->work);
	}
	pthread_mutex_unlock(&b->lock);
}

void builder_stop(struct builder *b)
{
	if (b == NULL) {
		return;
	}
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_cond_broadcast(&b->work);
	pthread_mutex_unlock(&b->lock);
	for (unsigned i = 0; i < b->count; i++) {
		pthread_join(b->threads[i], NULL);
	}
}

void builder_free(struct builder *b)
{
	if (b == NULL) {
		return;
	}
	pthread_cond_destroy(&b->work);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
