#include "signer/pass.h"

#include "nsd-core/base/rcu.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* RRsets handed over at a time: a millisecond of work, beside which a lock is nothing. */
#define CHUNK 64
/* Chunks that may wait for each helper, so that none runs dry while the lead signs one itself. */
#define QUEUE_EACH 4

struct chunk {
	size_t count;
	const struct node *nodes[CHUNK];
	struct rrset *rrsets[CHUNK];
};

struct helper {
	struct crew *crew;
	pthread_t thread;
	enum status status;
	struct feed feed;
};

struct crew {
	struct feed *lead;
	struct chunk filling; /* the lead's */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t work;
	bool ending;
	unsigned idle; /* helpers that wait for work */
	struct chunk *queue;
	size_t queue_max, queue_first, queue_count;

	unsigned count; /* helpers that run; the lead's, as all below */
	unsigned max;
	struct helper helpers[];
};

enum status crew_new(struct feed *lead, struct crew **out)
{
	unsigned max = lead->signer->opt.threads > 0 ? lead->signer->opt.threads - 1 : 0;
	struct crew *c = calloc(1, sizeof(*c) + max * sizeof(c->helpers[0]));
	if (c == NULL) {
		return ST_ENOMEM;
	}
	c->lead = lead;
	c->max = max;
	/* These cannot fail on Linux. */
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	*out = c;
	return ST_OK;
}

static enum status chunk_sign(struct feed *f, const struct chunk *chunk)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < chunk->count && st == ST_OK; i++) {
		st = feed_rrset(f, chunk->nodes[i], chunk->rrsets[i]);
	}
	return st;
}

/* With the lock held. */
static bool queue_take(struct crew *c, struct chunk *out)
{
	if (c->queue_count == 0) {
		return false;
	}
	*out = c->queue[c->queue_first];
	c->queue_first = (c->queue_first + 1) % c->queue_max;
	c->queue_count--;
	return true;
}

/* The next chunk; waits for one where 'wait'. False: there is none, or none to come. */
static bool crew_take(struct crew *c, bool wait, struct chunk *out)
{
	pthread_mutex_lock(&c->lock);
	bool taken = queue_take(c, out);
	while (!taken && wait && !c->ending) {
		c->idle++;
		pthread_cond_wait(&c->work, &c->lock);
		c->idle--;
		taken = queue_take(c, out);
	}
	pthread_mutex_unlock(&c->lock);
	return taken;
}

static void *helper_main(void *arg)
{
	struct helper *h = arg;
	struct chunk chunk;
	rcu_thread_register();
	/* After a fault it goes on taking, so that the lead need not wait for room. */
	while (crew_take(h->crew, true, &chunk)) {
		if (h->status == ST_OK) {
			h->status = chunk_sign(&h->feed, &chunk);
		}
	}
	if (h->status == ST_OK) {
		h->status = feed_wait_others(&h->feed);
	}
	rcu_thread_unregister();
	return NULL;
}

static bool helper_permit(struct signer *s)
{
	pthread_mutex_lock(&s->lock);
	bool permitted = s->helpers + 1 < s->opt.threads;
	s->helpers += permitted;
	pthread_mutex_unlock(&s->lock);
	return permitted;
}

static void helper_return(struct signer *s, unsigned count)
{
	pthread_mutex_lock(&s->lock);
	s->helpers -= count;
	pthread_mutex_unlock(&s->lock);
}

/* One more thread, if the engine has one to spare. It inherits the lead's priority, which is that
 * of builders: below the workers'. */
static void helper_start(struct crew *c)
{
	struct signer *s = c->lead->signer;
	struct helper *h = &c->helpers[c->count];
	sigset_t all;
	sigset_t before;
	if (c->count == c->max || !helper_permit(s)) {
		return;
	}
	h->crew = c;
	h->status = ST_OK;
	feed_split(c->lead, &h->feed);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&h->thread, NULL, helper_main, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0) {
		/* The lead gets there alone. */
		helper_return(s, 1);
		return;
	}
	c->count++;
}

/* What the lead has gathered goes to the helpers. False: they have enough to do. */
static bool crew_hand_over(struct crew *c)
{
	if (c->queue == NULL) {
		/* Not for a zone of a few names. */
		c->queue_max = (size_t)c->max * QUEUE_EACH;
		c->queue = malloc(c->queue_max * sizeof(c->queue[0]));
	}
	if (c->queue == NULL) {
		return false;
	}
	pthread_mutex_lock(&c->lock);
	bool given = c->queue_count < c->queue_max;
	if (given) {
		c->queue[(c->queue_first + c->queue_count) % c->queue_max] = c->filling;
		c->queue_count++;
		pthread_cond_signal(&c->work);
	}
	bool behind = c->queue_count > c->idle;
	pthread_mutex_unlock(&c->lock);
	if (behind) {
		helper_start(c);
	}
	/* Without helpers nobody would take it before the end. */
	return given;
}

enum status crew_put(struct crew *c, const struct node *n, struct rrset *rs)
{
	struct chunk *f = &c->filling;
	enum status st = ST_OK;
	f->nodes[f->count] = n;
	f->rrsets[f->count++] = rs;
	if (f->count < CHUNK) {
		return ST_OK;
	}
	if (c->max == 0 || !crew_hand_over(c)) {
		st = chunk_sign(c->lead, f);
	}
	f->count = 0;
	return st;
}

/* The lead's part once all is handed out. */
static enum status crew_finish(struct crew *c)
{
	enum status st = chunk_sign(c->lead, &c->filling);
	while (st == ST_OK && crew_take(c, false, &c->filling)) {
		st = chunk_sign(c->lead, &c->filling);
	}
	return st;
}

enum status crew_end(struct crew *c, enum status st)
{
	if (st == ST_OK) {
		st = crew_finish(c);
	}
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	c->queue_count = st == ST_OK ? c->queue_count : 0;
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->count; i++) {
		struct helper *h = &c->helpers[i];
		pthread_join(h->thread, NULL);
		feed_merge(c->lead, &h->feed);
		st = st == ST_OK ? h->status : st;
	}
	helper_return(c->lead->signer, c->count);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	free(c->queue);
	free(c);
	return st;
}
