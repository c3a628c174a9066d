#include "signer/pass.h"

#include "nsd-core/base/clock.h"

#include <stdlib.h>
#include <time.h>

#define BATCH_MIN 4
/* Failures of a key in a row after which a pass leaves what it signs alone. */
#define KEY_FAILURES 3
/* How often a waiting builder looks at its stop flag. */
#define WAIT_MS 50
/* While workers sign for questions, a thread of a pass makes so many signatures at a time, and then
 * waits until none was asked for in QUIET_MS, STAND_BACK_MS at most: a pass always gets on. */
#define BURST	      8
#define QUIET_MS      20
#define STAND_BACK_MS 50
#define STEP_MS	      5

/* Enough to keep every lane of every keystore busy, with as much again on its way to them, and no
 * more: a question finds its RRset either unclaimed, or a few signatures away from being done. */
static size_t feed_limit(const struct signer *s, const struct keyset *ks)
{
	const struct keystore *seen[KEYSET_MAX];
	size_t seen_count = 0;
	size_t limit = 0;
	for (size_t i = 0; i < ks->count; i++) {
		struct hsm_key *handle = ks->keys[i].handle;
		struct keystore *store = handle != NULL ? hsm_key_store(handle) : NULL;
		bool is_new = store != NULL;
		for (size_t k = 0; k < seen_count && is_new; k++) {
			is_new = seen[k] != store;
		}
		if (is_new) {
			struct keystore_health health;
			keystore_health(store, &health);
			limit += 2 * (size_t)health.window;
			seen[seen_count++] = store;
		}
	}
	limit = limit < BATCH_MIN ? BATCH_MIN : limit;
	return limit < s->opt.batch_in_flight ? limit : s->opt.batch_in_flight;
}

static enum status feed_init(struct feed *f, struct signer *s, struct version *v,
			     const _Atomic(bool) *stop)
{
	struct sign_batch *batch = calloc(1, sizeof(*batch));
	if (batch == NULL) {
		return ST_ENOMEM;
	}
	batch->signer = s;
	batch->refs = 1;
	f->signer = s;
	f->version = v;
	f->keys = v->keys;
	f->stop = stop;
	f->batch = batch;
	f->limit = feed_limit(s, v->keys);
	f->stands_back = false;
	f->burst = 0;
	f->incomplete = false;
	f->other_count = 0;
	return ST_OK;
}

void feed_split(const struct feed *of, struct feed *f)
{
	f->signer = of->signer;
	f->version = of->version;
	f->keys = of->keys;
	f->stop = of->stop;
	f->batch = of->batch;
	f->limit = of->limit;
	f->stands_back = of->stands_back;
	f->burst = 0;
	f->incomplete = false;
	f->other_count = 0;
}

void feed_merge(struct feed *into, const struct feed *f)
{
	into->incomplete |= f->incomplete;
}

static void feed_fini(struct feed *f)
{
	struct signer *s = f->signer;
	pthread_mutex_lock(&s->lock);
	bool last = --f->batch->refs == 0;
	pthread_mutex_unlock(&s->lock);
	if (last) {
		free(f->batch);
	}
}

static bool feed_stopped(const struct feed *f)
{
	return f->stop != NULL && atomic_load(f->stop);
}

/* With the lock held: until there is something to look at, WAIT_MS at most. */
static void feed_pause(struct signer *s)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += WAIT_MS * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_nsec -= 1000000000L;
		t.tv_sec++;
	}
	pthread_cond_timedwait(&s->moved, &s->lock, &t);
}

/* With the lock held: until something moved. */
static void feed_pause_any(struct signer *s)
{
	s->waiting++;
	feed_pause(s);
	s->waiting--;
}

/* Until fewer than 'limit' of this pass are in flight; then there is room for some, so that this
 * thread does not wake for each. ST_EREFUSED: to stop. */
static enum status feed_wait(struct feed *f, size_t limit)
{
	struct signer *s = f->signer;
	struct sign_batch *b = f->batch;
	size_t wake = limit / 2 + 1;
	enum status st = ST_OK;
	if (atomic_load(&b->in_flight) < limit) {
		return ST_OK;
	}
	pthread_mutex_lock(&s->lock);
	while (atomic_load(&b->in_flight) >= wake && st == ST_OK) {
		if (feed_stopped(f)) {
			st = ST_EREFUSED;
		} else {
			b->wake = wake > b->wake ? wake : b->wake;
			feed_pause(s);
		}
	}
	b->wake = 0;
	pthread_mutex_unlock(&s->lock);
	return st;
}

enum status feed_wait_others(struct feed *f)
{
	struct signer *s = f->signer;
	enum status st = ST_OK;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < f->other_count && st == ST_OK; i++) {
		struct rrset *rs = f->others[i];
		while (atomic_load(&rs->sig_state) == SIG_SIGNING && st == ST_OK) {
			if (feed_stopped(f)) {
				st = ST_EREFUSED;
			} else {
				feed_pause_any(s);
			}
		}
		f->incomplete |= rrset_sigs(rs) == NULL;
	}
	pthread_mutex_unlock(&s->lock);
	f->other_count = 0;
	return st;
}

static bool questions_sign(const struct signer *s)
{
	int64_t last = atomic_load_explicit(&s->answered_ms, memory_order_relaxed);
	return last != 0 && clock_mono_ms() - last < QUIET_MS;
}

/* Keys in the process: a pass that completes what is served leaves the signing to the workers as
 * long as questions want it, not only for the CPU's sake. OpenSSL 3.0 takes two locks of the whole
 * process for the random number in each signature. Who wants to write and finds such a lock of
 * glibc half taken, or half given back, spins: a worker that has just put a pass of lower priority
 * off its CPU in such a moment keeps it off, and spins for as long as the scheduler lets it,
 * milliseconds or seconds. */
static void feed_stand_back(struct feed *f)
{
	if (!f->stands_back || ++f->burst < BURST || !questions_sign(f->signer)) {
		return;
	}
	f->burst = 0;
	struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
	for (int waited = 0;
	     waited < STAND_BACK_MS && !feed_stopped(f) && questions_sign(f->signer);
	     waited += STEP_MS) {
		nanosleep(&step, NULL);
	}
}

/* Until there is room for one more. How fast a keystore is shows with time. */
static enum status feed_wait_room(struct feed *f)
{
	if (atomic_load(&f->batch->in_flight) < f->limit) {
		return ST_OK;
	}
	f->limit = feed_limit(f->signer, f->keys);
	return feed_wait(f, f->limit);
}

/* Can what signs this type be had, as far as this pass knows? */
static bool feed_keys_work(struct feed *f, uint16_t type)
{
	uint8_t which[KEYSET_MAX];
	size_t count = rrsig_keys(f->keys, type, which);
	bool work = count > 0;
	for (size_t i = 0; i < count && work; i++) {
		work = f->keys->keys[which[i]].handle != NULL &&
		       atomic_load(&f->batch->failures[which[i]]) < KEY_FAILURES;
	}
	return work;
}

/* The queue is full of others' work. */
static enum status feed_queue_full(struct feed *f)
{
	pthread_mutex_lock(&f->signer->lock);
	feed_pause_any(f->signer);
	pthread_mutex_unlock(&f->signer->lock);
	return feed_stopped(f) ? ST_EREFUSED : ST_OK;
}

/* A signature failed before any lane had it. */
static void feed_note_refused(struct feed *f, uint16_t type)
{
	uint8_t which[KEYSET_MAX];
	size_t count = rrsig_keys(f->keys, type, which);
	f->incomplete = true;
	for (size_t i = 0; i < count; i++) {
		batch_note_key(f->batch, which[i], false);
	}
}

enum status feed_rrset(struct feed *f, const struct node *n, struct rrset *rs)
{
	enum status st = ST_OK;
	while (rrset_sigs(rs) == NULL) {
		if (feed_stopped(f)) {
			return ST_EREFUSED;
		}
		if (!feed_keys_work(f, rs->type)) {
			f->incomplete = true;
			return ST_OK;
		}
		/* The claim comes last: what is claimed is with a keystore at once. */
		st = feed_wait_room(f);
		if (st != ST_OK) {
			return st;
		}
		if (rrsig_keys_in_process(f->keys, rs->type)) {
			feed_stand_back(f);
		}
		if (!sign_claim(rs)) {
			if (f->other_count == OTHERS_MAX) {
				st = feed_wait_others(f);
			}
			f->others[f->other_count++] = rs;
			return st;
		}
		struct sign_task task = {
			.version = f->version, .node = n, .rrset = rs, .batch = f->batch};
		st = sign_start(f->signer, &task);
		if (st != ST_ELIMIT) {
			break;
		}
		st = feed_queue_full(f);
		if (st != ST_OK) {
			return st;
		}
	}
	if (st == ST_OK || st == ST_EBUSY || st == ST_ENOMEM) {
		return st == ST_ENOMEM ? st : ST_OK;
	}
	feed_note_refused(f, rs->type);
	return ST_OK;
}

/* The walk: what it finds, and who shares the work. */
struct pass {
	struct feed feed;
	struct crew *crew; /* NULL: a keystore's lanes sign */
};

static enum status pass_begin(struct pass *p, struct signer *s, struct version *v,
			      const _Atomic(bool) *stop)
{
	if (v->keys == NULL) {
		return ST_ENOTSUP;
	}
	enum status st = feed_init(&p->feed, s, v, stop);
	p->crew = NULL;
	/* What signs the SOA signs all but what stands at the apex. */
	if (st == ST_OK && s->opt.threads > 1 && rrsig_keys_in_process(v->keys, RR_SOA)) {
		st = crew_new(&p->feed, &p->crew);
		if (st != ST_OK) {
			feed_fini(&p->feed);
		}
	}
	return st;
}

static enum status pass_rrset(struct pass *p, const struct node *n, struct rrset *rs)
{
	if (!signer_covers(n, rs) || rrset_sigs(rs) != NULL) {
		return ST_OK;
	}
	/* What other keys than the zone's bulk may sign is few, and at the apex. */
	if (p->crew == NULL || (n->flags & NODE_APEX) != 0) {
		return feed_rrset(&p->feed, n, rs);
	}
	return crew_put(p->crew, n, rs);
}

static enum status pass_node(void *ctx, const struct node *n)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < n->rrset_count && st == ST_OK; i++) {
		st = pass_rrset(ctx, n, n->rrsets[i]);
	}
	return st;
}

/* Waits for what is in flight, and says how the pass went. */
static enum status pass_end(struct pass *p, enum status st)
{
	struct feed *f = &p->feed;
	if (p->crew != NULL) {
		st = crew_end(p->crew, st);
	}
	if (st != ST_EREFUSED) {
		enum status waited = feed_wait(f, 1);
		if (waited == ST_OK) {
			waited = feed_wait_others(f);
		}
		st = waited != ST_OK ? waited : st;
	}
	pthread_mutex_lock(&f->signer->lock);
	bool failed = f->batch->first_error != ST_OK;
	pthread_mutex_unlock(&f->signer->lock);
	feed_fini(f);
	return st == ST_OK && (f->incomplete || failed) ? ST_EAGAIN : st;
}

enum status signer_complete(struct signer *s, struct version *v, const _Atomic(bool) *stop)
{
	struct pass p;
	enum status st = pass_begin(&p, s, v, stop);
	if (st != ST_OK) {
		return st;
	}
	p.feed.stands_back = true;
	/* Canonical order begins at the apex. */
	return pass_end(&p, version_walk(v, pass_node, &p));
}

enum status signer_sign_list(struct signer *s, struct version *v, const struct node *const *nodes,
			     struct rrset *const *rrsets, size_t count, const _Atomic(bool) *stop)
{
	struct pass p;
	enum status st = pass_begin(&p, s, v, stop);
	if (st != ST_OK) {
		return st;
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		st = pass_rrset(&p, nodes[i], rrsets[i]);
	}
	return pass_end(&p, st);
}
