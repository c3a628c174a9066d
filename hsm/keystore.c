#include "hsm/keystore.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUEUE_MAX      4096
#define SESSIONS_MAX   1024
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 30000
#define PROBE_MS       10000 /* while up: a lost device is noticed before somebody needs it */
#define LOCKED_WAIT_MS 1000  /* how soon a new PIN file is noticed */

void fault_set(struct fault *f, enum fault_kind kind, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	f->kind = kind;
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static const char *state_text(enum keystore_state state)
{
	return state == KEYSTORE_LOCKED ? "waits for the operator" : "is down";
}

/* Half of the wait is chance, so that many servers of one HSM do not come back at the same time. */
static int64_t with_jitter(int64_t ms)
{
	uint32_t r = 0;
	if (random_bytes(&r, sizeof(r)) != ST_OK) {
		return ms;
	}
	return ms / 2 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

/* With the lock held. */
static void schedule_retry(struct keystore *ks)
{
	ks->backoff_ms = ks->backoff_ms == 0 ? BACKOFF_MIN_MS : ks->backoff_ms * 2;
	if (ks->backoff_ms > BACKOFF_MAX_MS) {
		ks->backoff_ms = BACKOFF_MAX_MS;
	}
	ks->wake_ms = clock_mono_ms() + with_jitter(ks->backoff_ms);
}

/* With the lock held. */
static void enter_fault(struct keystore *ks, const struct fault *f)
{
	snprintf(ks->detail, sizeof(ks->detail), "%s", f->text);
	if (f->kind == FAULT_PIN) {
		ks->state = KEYSTORE_LOCKED;
		ks->wake_ms = clock_mono_ms() + LOCKED_WAIT_MS;
	} else {
		ks->state = KEYSTORE_DOWN;
		schedule_retry(ks);
	}
	pthread_cond_signal(&ks->keep);
	pthread_cond_broadcast(&ks->work);
}

void keystore_fault(struct keystore *ks, uint64_t epoch, const struct fault *f)
{
	pthread_mutex_lock(&ks->lock);
	/* Others' calls of the same epoch fail of the same fault, and late. */
	if (ks->epoch == epoch && ks->state == KEYSTORE_UP) {
		enter_fault(ks, f);
	}
	pthread_mutex_unlock(&ks->lock);
}

/* With the lock held, which is let go meanwhile. */
static void keeper_open(struct keystore *ks)
{
	struct fault f = {.kind = FAULT_DEVICE};
	bool up = ks->state == KEYSTORE_UP;
	uint64_t ticket = ks->asked;
	enum status st = ST_EAGAIN;
	pthread_mutex_unlock(&ks->lock);
	if (up && (ks->be->probe == NULL || ks->be->probe(ks->dev, &f) == ST_OK)) {
		st = ST_OK;
	} else {
		up = false;
		st = ks->be->open(ks->dev, &f);
	}
	pthread_mutex_lock(&ks->lock);

	ks->open_status = st;
	if (st != ST_OK) {
		enter_fault(ks, &f);
	} else if (!up) {
		ks->epoch++;
		ks->state = KEYSTORE_UP;
		ks->detail[0] = '\0';
		ks->refusal[0] = '\0';
	}
	if (ks->state == KEYSTORE_UP) {
		/* Who held the device's sessions may have given them back. */
		lanes_unpark(ks);
		ks->wake_ms = clock_mono_ms() + PROBE_MS;
	}
	ks->served = ticket;
	pthread_cond_broadcast(&ks->settled);
}

/* With the lock held. */
static void keeper_wait(struct keystore *ks)
{
	if (ks->state == KEYSTORE_CLOSED) {
		pthread_cond_wait(&ks->keep, &ks->lock);
		return;
	}
	int64_t wait_ms = ks->wake_ms - clock_mono_ms();
	struct timespec until;
	if (wait_ms > PROBE_MS + BACKOFF_MAX_MS) {
		wait_ms = PROBE_MS + BACKOFF_MAX_MS;
	}
	/* The condition counts on the real clock, whatever clock_mono_ms() shows in a test. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&ks->keep, &ks->lock, &until);
}

static void *keeper_main(void *arg)
{
	struct keystore *ks = arg;
	pthread_mutex_lock(&ks->lock);
	while (!ks->stopping) {
		bool due = ks->state != KEYSTORE_CLOSED && clock_mono_ms() >= ks->wake_ms;
		if (due || ks->asked != ks->served) {
			keeper_open(ks);
		} else {
			keeper_wait(ks);
		}
	}
	pthread_mutex_unlock(&ks->lock);
	return NULL;
}

static enum status check_options(const struct keystore_options *opt, struct diags *d)
{
	if (opt->sessions < 1 || opt->sessions > SESSIONS_MAX) {
		diags_error(d, "keystore %s: sessions must be 1 to %d", opt->name, SESSIONS_MAX);
		return ST_EPARSE;
	}
	return ST_OK;
}

static enum status sync_init(struct keystore *ks)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int err = pthread_mutex_init(&ks->lock, NULL);
	err = err != 0 ? err : pthread_cond_init(&ks->work, NULL);
	err = err != 0 ? err : pthread_cond_init(&ks->keep, &attr);
	err = err != 0 ? err : pthread_cond_init(&ks->settled, NULL);
	pthread_condattr_destroy(&attr);
	return err == 0 ? ST_OK : status_from_errno(err);
}

static const struct backend *backend_of(const struct keystore_options *opt)
{
	switch (opt->type) {
	case KEYSTORE_FILE:
		return &backend_file;
	case KEYSTORE_KMS:
		return &backend_kms;
	default:
		return opt->isolate ? &backend_isolated : &backend_pkcs11;
	}
}

enum status keystore_new(const struct keystore_options *opt, struct keystore **out, struct diags *d)
{
	enum status st = check_options(opt, d);
	if (st != ST_OK) {
		return st;
	}
	struct keystore *ks = calloc(1, sizeof(*ks));
	if (ks == NULL) {
		return ST_ENOMEM;
	}
	ks->opt = *opt;
	ks->be = backend_of(opt);
	ks->queue_max = opt->queue_max == 0 ? QUEUE_MAX : opt->queue_max;
	ks->asked_ms = INT64_MIN / 2;
	ks->sign_us = -1;
	st = sync_init(ks);
	if (st != ST_OK) {
		free(ks);
		return st;
	}
	st = ks->be->device_new(&ks->opt, &ks->dev, d);
	if (st == ST_OK) {
		st = lanes_start(ks);
	}
	if (st == ST_OK) {
		st = thread_start(&ks->keeper, keeper_main, ks);
		ks->keeper_started = st == ST_OK;
	}
	if (st != ST_OK) {
		keystore_free(ks);
		return st;
	}
	*out = ks;
	return ST_OK;
}

void keystore_stop(struct keystore *ks)
{
	pthread_mutex_lock(&ks->lock);
	ks->stopping = true;
	pthread_cond_broadcast(&ks->work);
	pthread_cond_broadcast(&ks->keep);
	pthread_cond_broadcast(&ks->settled);
	pthread_mutex_unlock(&ks->lock);
	if (ks->dev != NULL && ks->be->cancel != NULL) {
		ks->be->cancel(ks->dev);
	}
}

void keystore_free(struct keystore *ks)
{
	if (ks == NULL) {
		return;
	}
	keystore_stop(ks);
	if (ks->keeper_started) {
		pthread_join(ks->keeper, NULL);
	}
	lanes_stop(ks);
	ks->be->device_free(ks->dev);
	pthread_cond_destroy(&ks->settled);
	pthread_cond_destroy(&ks->keep);
	pthread_cond_destroy(&ks->work);
	pthread_mutex_destroy(&ks->lock);
	free(ks);
}

const char *keystore_name(const struct keystore *ks)
{
	return ks->opt.name;
}

bool keystore_in_process(const struct keystore *ks)
{
	return ks->be->in_process;
}

void keystore_health(struct keystore *ks, struct keystore_health *out)
{
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&ks->lock);
	out->state = ks->state;
	memcpy(out->detail, ks->detail, sizeof(out->detail));
	memcpy(out->refusal, ks->refusal, sizeof(out->refusal));
	out->sessions = ks->able;
	out->window = ks->able * queue_window(ks);
	for (size_t i = 0; i <= HSM_BATCH; i++) {
		out->waiting += ks->queue[i].count;
	}
	pthread_mutex_unlock(&ks->lock);
	out->signatures = atomic_load(&ks->signatures);
	out->failures = atomic_load(&ks->failures);
	out->verify_failures = atomic_load(&ks->verify_failures);
	if (ks->be->process != NULL) {
		ks->be->process(ks->dev, out);
	}
}

char *keystore_rights(struct keystore *ks)
{
	return ks->be->rights != NULL ? ks->be->rights(ks->dev) : NULL;
}

enum status keystore_open(struct keystore *ks, struct diags *d)
{
	char detail[sizeof(ks->detail)];
	enum status st = ST_EAGAIN;
	pthread_mutex_lock(&ks->lock);
	uint64_t ticket = ++ks->asked;
	pthread_cond_signal(&ks->keep);
	while (ks->served < ticket && !ks->stopping) {
		pthread_cond_wait(&ks->settled, &ks->lock);
	}
	if (ks->served >= ticket) {
		st = ks->open_status;
	}
	memcpy(detail, ks->detail, sizeof(detail));
	pthread_mutex_unlock(&ks->lock);
	if (st != ST_OK) {
		diags_error(d, "keystore %s: %s", ks->opt.name, detail);
	}
	return st;
}

/* The device is open, or the answer is prompt: opening it again is the keeper's. */
static enum status need_device(struct keystore *ks, uint64_t *epoch, struct diags *d)
{
	char detail[sizeof(ks->detail)];
	pthread_mutex_lock(&ks->lock);
	enum keystore_state state = ks->state;
	*epoch = ks->epoch;
	memcpy(detail, ks->detail, sizeof(detail));
	pthread_mutex_unlock(&ks->lock);
	switch (state) {
	case KEYSTORE_UP:
		return ST_OK;
	case KEYSTORE_CLOSED: {
		enum status st = keystore_open(ks, d);
		pthread_mutex_lock(&ks->lock);
		*epoch = ks->epoch;
		pthread_mutex_unlock(&ks->lock);
		return st;
	}
	default:
		diags_error(d, "keystore %s %s: %s", ks->opt.name, state_text(state), detail);
		return state == KEYSTORE_LOCKED ? ST_EFATAL : ST_EAGAIN;
	}
}

static struct hsm_key *key_new(struct keystore *ks, const uint8_t *id, size_t id_len)
{
	struct hsm_key *key = calloc(1, ks->be->key_size);
	if (key != NULL) {
		atomic_init(&key->refs, 1);
		key->be = ks->be;
		key->store = ks;
		memcpy(key->id, id, id_len);
		key->id_len = id_len;
	}
	return key;
}

static enum status settle_fault(struct keystore *ks, uint64_t epoch, const struct fault *f,
				enum status st, struct diags *d)
{
	if (st != ST_OK && st != ST_ENOENT) {
		if (f->kind != FAULT_REQUEST) {
			keystore_fault(ks, epoch, f);
		}
	}
	if (st != ST_OK) {
		diags_error(d, "keystore %s: %s", ks->opt.name,
			    f->text[0] != '\0' ? f->text : status_text(st));
	}
	return st;
}

/* The public half for verifying, and one signature that verifies. */
static enum status key_prove(struct keystore *ks, struct hsm_key *key, struct diags *d)
{
	enum status st = ST_OK;
	if (key->pkey == NULL) {
		st = public_key_new(key->public_point, &key->pkey);
	}
	if (st != ST_OK) {
		diags_error(d, "keystore %s: the key's public point is not on the curve",
			    ks->opt.name);
		return st;
	}
	st = lanes_prove(ks, key);
	if (st == ST_ECRYPTO) {
		diags_error(
			d,
			"keystore %s: the key signs, but what it signs does not verify with its "
			"public point",
			ks->opt.name);
	} else if (st != ST_OK) {
		diags_error(d, "keystore %s: the key could not be tried: %s", ks->opt.name,
			    status_text(st));
	}
	return st;
}

enum status keystore_find(struct keystore *ks, const uint8_t *id, size_t id_len,
			  const uint8_t *expect, struct hsm_key **out, struct diags *d)
{
	uint64_t epoch;
	struct fault f = {.kind = FAULT_REQUEST};
	if (id_len == 0 || id_len > HSM_ID_MAX) {
		diags_error(d, "keystore %s: a key's id has 1 to %d octets", ks->opt.name,
			    HSM_ID_MAX);
		return ST_EPARSE;
	}
	enum status st = need_device(ks, &epoch, d);
	if (st != ST_OK) {
		return st;
	}
	struct hsm_key *key = key_new(ks, id, id_len);
	if (key == NULL) {
		return ST_ENOMEM;
	}
	st = settle_fault(ks, epoch, &f, ks->be->find(ks->dev, key, expect, &f), d);
	if (st == ST_OK && expect != NULL &&
	    memcmp(expect, key->public_point, HSM_PUBLIC_LEN) != 0) {
		diags_error(d, "keystore %s: the key found is not the one on record", ks->opt.name);
		st = ST_ECRYPTO;
	}
	if (st == ST_OK) {
		st = key_prove(ks, key, d);
	}
	if (st != ST_OK) {
		hsm_key_unref(key);
		return st;
	}
	*out = key;
	return ST_OK;
}

/* A new key on the device: generated there, or (number not NULL) brought there. */
static enum status key_make(struct keystore *ks, const char *label, const uint8_t *number,
			    struct hsm_key **out, struct diags *d)
{
	uint64_t epoch;
	uint8_t id[HSM_KEY_ID_LEN];
	struct fault f = {.kind = FAULT_REQUEST};
	enum status st = need_device(ks, &epoch, d);
	if (st == ST_OK) {
		st = random_bytes(id, sizeof(id));
	}
	if (st != ST_OK) {
		return st;
	}
	struct hsm_key *key = key_new(ks, id, sizeof(id));
	if (key == NULL) {
		return ST_ENOMEM;
	}
	st = number != NULL ? ks->be->import(ks->dev, key, number, label, &f)
			    : ks->be->generate(ks->dev, key, label, &f);
	st = settle_fault(ks, epoch, &f, st, d);
	if (st == ST_OK) {
		st = key_prove(ks, key, d);
		if (st != ST_OK && ks->be->remove(ks->dev, key, &f) != ST_OK) {
			diags_warn(d, "keystore %s: a useless key %s was left behind", ks->opt.name,
				   label);
		}
	}
	if (st != ST_OK) {
		hsm_key_unref(key);
		return st;
	}
	*out = key;
	return ST_OK;
}

enum status keystore_generate(struct keystore *ks, const char *label, struct hsm_key **out,
			      struct diags *d)
{
	return key_make(ks, label, NULL, out, d);
}

enum status keystore_import(struct keystore *ks, const char *label, const uint8_t *number,
			    struct hsm_key **out, struct diags *d)
{
	if (ks->be->import == NULL) {
		diags_error(d,
			    "keystore %s: private keys are not brought into a device, only made "
			    "in it",
			    ks->opt.name);
		return ST_ENOTSUP;
	}
	return key_make(ks, label, number, out, d);
}

enum status keystore_delete(struct keystore *ks, struct hsm_key *key, struct diags *d)
{
	uint64_t epoch;
	struct fault f = {.kind = FAULT_REQUEST};
	assert(key->store == ks);
	enum status st = need_device(ks, &epoch, d);
	if (st != ST_OK) {
		return st;
	}
	return settle_fault(ks, epoch, &f, ks->be->remove(ks->dev, key, &f), d);
}

enum status keystore_identify(struct keystore *ks, const char *ref, struct hsm_id *out,
			      struct diags *d)
{
	uint64_t epoch;
	struct hsm_id id;
	struct fault f = {.kind = FAULT_REQUEST};
	if (ref[0] == '\0' || strlen(ref) > HSM_REF_MAX) {
		diags_error(d, "keystore %s: what names a key has 1 to %d octets", ks->opt.name,
			    HSM_REF_MAX);
		return ST_EPARSE;
	}
	enum status st = need_device(ks, &epoch, d);
	if (st == ST_OK) {
		st = settle_fault(ks, epoch, &f, ks->be->identify(ks->dev, ref, &id, &f), d);
	}
	if (st == ST_OK) {
		*out = id;
	}
	return st;
}

enum status keystore_destroy(struct keystore *ks, const struct hsm_id *id, unsigned days,
			     int64_t *until, struct diags *d)
{
	uint64_t epoch;
	int64_t undo_s = 0;
	struct fault f = {.kind = FAULT_REQUEST};
	enum status st = need_device(ks, &epoch, d);
	if (st != ST_OK) {
		return st;
	}
	struct hsm_key *key = key_new(ks, id->data, id->len);
	if (key == NULL) {
		return ST_ENOMEM;
	}
	st = ks->be->schedule != NULL ? ks->be->schedule(ks->dev, key, days, &undo_s, &f)
				      : ks->be->remove(ks->dev, key, &f);
	st = settle_fault(ks, epoch, &f, st, d);
	hsm_key_unref(key);
	if (st == ST_OK) {
		*until = undo_s;
	}
	return st;
}
