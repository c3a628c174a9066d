#include "signer/sign.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"

#include <stdlib.h>

/* A question waits two seconds at most; its retransmissions join what is under way a while longer.
 * A device that takes longer for its queue is as good as away. */
#define QUERY_DEADLINE_MS 10000
#define BATCH_DEADLINE_MS 60000

/* One key's signature. */
struct sign_part {
	struct hsm_job job;
	struct sign *sign;
	uint8_t key; /* index into the keyset */
	uint16_t head_len;
	uint8_t rdata[RRSIG_MAX];
};

struct sign {
	struct signer *signer;
	struct version *version; /* referenced while parts are in flight; holds rs and the keys */
	struct rrset *rs;
	struct sign_batch *batch; /* referenced; NULL: for a question */
	struct sign *next;	  /* in its bucket of the flights */
	bool announce;		  /* a question waits for this very attempt */
	_Atomic(unsigned) pending;
	_Atomic(int) error; /* the first */
	size_t count;
	struct sign_part parts[];
};

bool sign_claim(struct rrset *rs)
{
	uint8_t empty = SIG_EMPTY;
	return atomic_compare_exchange_strong(&rs->sig_state, &empty, SIG_SIGNING);
}

enum status flights_init(struct flights *f)
{
	pthread_mutex_init(&f->lock, NULL);
	return random_bytes(&f->seed, sizeof(f->seed));
}

void flights_fini(struct flights *f)
{
	pthread_mutex_destroy(&f->lock);
}

static struct sign **flights_bucket(struct flights *f, const struct rrset *rs)
{
	uint64_t h = ((uintptr_t)rs ^ f->seed) * UINT64_C(0x9fb21c651e98df25);
	return &f->buckets[(h >> 32) % FLIGHT_BUCKETS];
}

static void flights_add(struct flights *f, struct sign *sign)
{
	struct sign **bucket = flights_bucket(f, sign->rs);
	pthread_mutex_lock(&f->lock);
	sign->next = *bucket;
	*bucket = sign;
	pthread_mutex_unlock(&f->lock);
}

static void flights_remove(struct flights *f, const struct sign *sign)
{
	struct sign **at = flights_bucket(f, sign->rs);
	pthread_mutex_lock(&f->lock);
	while (*at != sign) {
		at = &(*at)->next;
	}
	*at = sign->next;
	pthread_mutex_unlock(&f->lock);
}

void sign_raise(struct signer *s, const struct rrset *rs)
{
	struct flights *f = &s->flights;
	pthread_mutex_lock(&f->lock);
	struct sign *sign = *flights_bucket(f, rs);
	while (sign != NULL && sign->rs != rs) {
		sign = sign->next;
	}
	for (size_t i = 0; sign != NULL && i < sign->count; i++) {
		struct hsm_job *job = &sign->parts[i].job;
		keystore_raise(hsm_key_store(job->key), job);
	}
	pthread_mutex_unlock(&f->lock);
}

static void sign_note_error(struct sign *sign, enum status st)
{
	int none = ST_OK;
	atomic_compare_exchange_strong(&sign->error, &none, (int)st);
}

/* The slot's state, then the flag: whoever sets the flag looks at the state afterwards, so that one
 * of the two sees the other, and no wake is lost. */
static void sign_settle(struct signer *s, struct rrset *rs, struct sigset *sigs, bool announce,
			enum status st)
{
	if (sigs != NULL) {
		atomic_store_explicit(&rs->sigs, sigs, memory_order_release);
		atomic_fetch_add_explicit(&s->made, 1, memory_order_relaxed);
	}
	atomic_store(&rs->sig_state, sigs != NULL ? SIG_FILLED : SIG_EMPTY);
	bool wanted = atomic_exchange(&rs->sig_wanted, 0) != 0;
	if ((announce || wanted) && s->opt.settled != NULL) {
		s->opt.settled(s->opt.ctx, rs, st);
	}
}

void batch_note_key(struct sign_batch *b, uint8_t key, bool made)
{
	uint8_t failures = atomic_load(&b->failures[key]);
	/* Threads share the line: it is written when there is something to write. */
	if (made && failures != 0) {
		atomic_store(&b->failures[key], 0);
	} else if (!made && failures < UINT8_MAX) {
		atomic_store(&b->failures[key], (uint8_t)(failures + 1));
	}
}

static void sign_tell(struct signer *s, const struct sign *sign, enum status st)
{
	struct sign_batch *b = sign->batch;
	bool last = false;
	pthread_mutex_lock(&s->lock);
	bool wakes = s->waiting > 0;
	if (b != NULL) {
		for (size_t i = 0; i < sign->count; i++) {
			batch_note_key(b, sign->parts[i].key, sign->parts[i].job.result == ST_OK);
		}
		wakes |= atomic_fetch_sub(&b->in_flight, 1) <= b->wake;
		/* A full queue the feeder knows of, and tries again. */
		if (b->first_error == ST_OK && st != ST_ELIMIT) {
			b->first_error = st;
		}
		last = --b->refs == 0;
	}
	if (wakes) {
		pthread_cond_broadcast(&s->moved);
	}
	pthread_mutex_unlock(&s->lock);
	if (last) {
		free(b);
	}
}

/* All signatures make the set, or there is none. */
static enum status sign_assemble(struct sign *sign, struct sigset **out)
{
	struct bytes rrsigs[KEYSET_MAX];
	for (size_t i = 0; i < sign->count; i++) {
		struct sign_part *part = &sign->parts[i];
		memcpy(part->rdata + part->head_len, part->job.signature, HSM_SIGNATURE_LEN);
		rrsigs[i] = (struct bytes){part->rdata, part->head_len + (size_t)HSM_SIGNATURE_LEN};
	}
	return sigset_new(sign->rs, sign->version->apex_name, rrsigs, sign->count, out);
}

/* Every part is in. */
static void sign_finish(struct sign *sign)
{
	struct version *v = sign->version;
	struct sigset *sigs = NULL;
	/* Before the slot is another's to claim. */
	flights_remove(&sign->signer->flights, sign);
	enum status st = (enum status)atomic_load(&sign->error);
	if (st == ST_OK) {
		st = sign_assemble(sign, &sigs);
	}
	sign_settle(sign->signer, sign->rs, sigs, sign->announce, st);
	sign_tell(sign->signer, sign, st);
	free(sign);
	/* Last: it may be what kept the RRset and the keys. */
	version_unref(v);
}

static void sign_drop(struct sign *sign)
{
	if (atomic_fetch_sub(&sign->pending, 1) == 1) {
		sign_finish(sign);
	}
}

static void part_done(struct hsm_job *job)
{
	struct sign_part *part =
		(struct sign_part *)((char *)job - offsetof(struct sign_part, job));
	if (job->result != ST_OK) {
		sign_note_error(part->sign, job->result);
	}
	sign_drop(part->sign);
}

/* What each key is to sign. */
static enum status sign_new(struct signer *s, const struct version *v, const struct node *n,
			    struct rrset *rs, struct sign **out)
{
	uint8_t which[KEYSET_MAX];
	struct keyset *ks = v->keys;
	struct rrsig_input in;
	int64_t now = clock_wall_s();
	size_t count = rrsig_keys(ks, rs->type, which);
	for (size_t i = 0; i < count; i++) {
		if (ks->keys[which[i]].handle == NULL) {
			return ST_EAGAIN;
		}
	}
	if (count == 0) {
		return ST_EAGAIN;
	}
	enum status st = rrsig_input_init(&in, v->apex_name, node_name(n), rs);
	if (st != ST_OK) {
		return st;
	}
	struct sign *sign = calloc(1, sizeof(*sign) + count * sizeof(sign->parts[0]));
	if (sign == NULL) {
		st = ST_ENOMEM;
		goto out;
	}
	sign->signer = s;
	sign->rs = rs;
	sign->count = count;
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		struct sign_part *part = &sign->parts[i];
		const struct key *key = &ks->keys[which[i]];
		part->sign = sign;
		part->key = which[i];
		part->job.key = key->handle;
		part->job.done = part_done;
		st = rrsig_input_digest(&in, &ks->params, key, now, part->job.digest);
		part->head_len = (uint16_t)in.head_len;
		memcpy(part->rdata, in.data, in.head_len);
	}
out:
	rrsig_input_fini(&in);
	if (st != ST_OK) {
		free(sign);
		return st;
	}
	*out = sign;
	return ST_OK;
}

static bool part_in_process(const struct sign_part *part)
{
	return keystore_in_process(hsm_key_store(part->job.key));
}

/* The keys in the process sign here. */
static enum status sign_inline(struct sign *sign)
{
	for (size_t i = 0; i < sign->count; i++) {
		struct hsm_job *job = &sign->parts[i].job;
		if (!part_in_process(&sign->parts[i])) {
			continue;
		}
		enum status st = hsm_sign_now(job->key, job->digest, job->signature);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
}

/* The others are given to their keystores. Called with one hold on 'pending', which it ends. */
static enum status sign_submit(struct sign *sign, enum hsm_priority priority)
{
	bool query = priority != HSM_BATCH;
	int64_t deadline = clock_mono_ms() + (query ? QUERY_DEADLINE_MS : BATCH_DEADLINE_MS);
	enum status st = ST_OK;
	for (size_t i = 0; i < sign->count && st == ST_OK; i++) {
		struct sign_part *part = &sign->parts[i];
		if (part_in_process(part)) {
			continue;
		}
		part->job.deadline_ms = deadline;
		atomic_fetch_add(&sign->pending, 1);
		st = keystore_submit(hsm_key_store(part->job.key), priority, &part->job);
		if (st != ST_OK) {
			atomic_fetch_sub(&sign->pending, 1);
			sign_note_error(sign, st);
		}
	}
	/* Where it could not be queued whole the caller is told now. */
	sign->announce = query && st == ST_OK;
	sign_drop(sign);
	return st == ST_OK ? ST_EBUSY : st;
}

/* All keys are in the process: signed on this thread. A question waits, and of a whole zone this is
 * all there is to do, so nothing is on the heap but what stays. */
static enum status sign_here(const struct sign_task *t, struct sigset **out)
{
	const struct rrset *rs = t->rrset;
	uint8_t which[KEYSET_MAX];
	uint8_t rdata[KEYSET_MAX][RRSIG_MAX];
	uint8_t digest[HSM_DIGEST_LEN];
	struct bytes rrsigs[KEYSET_MAX];
	struct keyset *ks = t->version->keys;
	struct rrsig_input in;
	int64_t now = clock_wall_s();
	size_t count = rrsig_keys(ks, rs->type, which);
	enum status st = rrsig_input_init(&in, t->version->apex_name, node_name(t->node), rs);
	if (st != ST_OK) {
		return st;
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		const struct key *key = &ks->keys[which[i]];
		st = rrsig_input_digest(&in, &ks->params, key, now, digest);
		if (st == ST_OK) {
			memcpy(rdata[i], in.data, in.head_len);
			st = hsm_sign_now(key->handle, digest, rdata[i] + in.head_len);
		}
		rrsigs[i] = (struct bytes){rdata[i], in.head_len + (size_t)HSM_SIGNATURE_LEN};
	}
	rrsig_input_fini(&in);
	if (st == ST_OK) {
		st = sigset_new(rs, t->version->apex_name, rrsigs, count, out);
	}
	for (size_t i = 0; st == ST_OK && t->batch != NULL && i < count; i++) {
		batch_note_key(t->batch, which[i], true);
	}
	return st;
}

enum status sign_start(struct signer *s, const struct sign_task *t)
{
	struct rrset *rs = t->rrset;
	struct sign *sign = NULL;
	struct sigset *sigs = NULL;
	if (rrsig_keys_in_process(t->version->keys, rs->type)) {
		if (t->batch == NULL) {
			atomic_store_explicit(&s->answered_ms, clock_mono_ms(),
					      memory_order_relaxed);
		}
		enum status st = sign_here(t, &sigs);
		sign_settle(s, rs, sigs, false, st);
		return st;
	}
	enum status st = sign_new(s, t->version, t->node, rs, &sign);
	if (st == ST_OK) {
		st = sign_inline(sign);
	}
	if (st != ST_OK) {
		sign_settle(s, rs, NULL, false, st);
		free(sign);
		return st;
	}
	sign->version = version_ref(t->version);
	sign->batch = t->batch;
	atomic_init(&sign->pending, 1);
	if (t->batch != NULL) {
		pthread_mutex_lock(&s->lock);
		t->batch->refs++;
		atomic_fetch_add(&t->batch->in_flight, 1);
		pthread_mutex_unlock(&s->lock);
	}
	flights_add(&s->flights, sign);
	enum hsm_priority low = t->batch != NULL ? HSM_BATCH : HSM_EXCESS;
	st = sign_submit(sign, t->urgent ? HSM_QUERY : low);
	/* Somebody may have found it before it was in the queue. */
	if (!t->urgent && (atomic_load(&rs->sig_wanted) & SIG_WANTED_URGENT) != 0) {
		sign_raise(s, rs);
	}
	return st;
}
