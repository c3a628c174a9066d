/* The server's side: a backend whose device is a process that runs backend_pkcs11 (host.c).
 *
 * A process that does not answer in time is killed, whatever its module hangs in, and so all lanes
 * come back; the keeper then starts another. */
#include "hsm/child.h"

#include "nsd-core/base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A device that takes longer for one signature is as good as gone. */
#define SIGN_MS 10000
/* Logging in and making keys take seconds on real devices. */
#define CALL_MS	 60000
#define PROBE_MS 10000
struct device {
	const struct keystore_options *opt;
	pthread_mutex_t lock;  /* child, restarts, cancelled, lanes_given, guard */
	pthread_mutex_t calls; /* one call at a time over 'calls' */
	struct child *child;   /* NULL: none */
	uint64_t started;
	bool cancelled;
	unsigned lanes_given;
	uint8_t guard[HOST_GUARD_MAX];
	uint32_t guard_len;
	_Atomic(uint32_t) number;
};

/* Requests that a process may owe the answers of: those of a window, those that were taken back in
 * one before it, and what is asked once more in each. */
#define OWED_MAX (2 * (LANE_WINDOW_MAX + 1))

struct session {
	struct device *dev;
	unsigned lane;
	/* What is asked and not answered yet, all of it of one process: a ring, the oldest at
	 * 'first'. */
	struct owed {
		struct iso_key *key;
		bool forgotten;
	} owed[OWED_MAX];
	unsigned first, count;
	uint32_t number;     /* of the oldest */
	int64_t since_ms;    /* it is the oldest, clock_mono_ms() */
	struct child *child; /* referenced while 'count' is not 0; NULL: there is none to ask */
	struct child_inbox inbox;
};

struct iso_key {
	struct hsm_key base;
	_Atomic(uint32_t) place;
	_Atomic(bool) distrust;
};

/* The present process, or NULL. */
static struct child *child_get(struct device *dev)
{
	pthread_mutex_lock(&dev->lock);
	struct child *c = dev->child;
	if (c != NULL) {
		atomic_fetch_add(&c->refs, 1);
	}
	pthread_mutex_unlock(&dev->lock);
	return c;
}

/* Takes 'c' away from the device, if it is still there, and ends it. */
static void child_drop(struct device *dev, struct child *c, int patience_ms)
{
	pthread_mutex_lock(&dev->lock);
	bool mine = c != NULL && dev->child == c;
	if (mine) {
		dev->child = NULL;
	}
	pthread_mutex_unlock(&dev->lock);
	if (mine) {
		child_end(c, patience_ms);
		child_unref(c);
	}
}

static int sign_ms(const struct keystore_options *opt)
{
	return opt->patience_ms != 0 ? (int)opt->patience_ms : SIGN_MS;
}

/* What a process knew of refused PINs is for those after it. */
static void guard_keep(struct device *dev, const struct host_reply *reply)
{
	if (reply->guard_len > 0) {
		pthread_mutex_lock(&dev->lock);
		memcpy(dev->guard, reply->guard, reply->guard_len);
		dev->guard_len = reply->guard_len;
		pthread_mutex_unlock(&dev->lock);
	}
}

/* What came of an exchange, for the keystore; a process that failed is dropped. */
static enum status conclude(struct device *dev, struct child *c, enum status st, int timeout_ms,
			    const struct host_reply *reply, struct fault *f)
{
	if (st == ST_OK) {
		guard_keep(dev, reply);
		if (reply->status != ST_OK) {
			char text[sizeof(reply->text) + 1];
			memcpy(text, reply->text, sizeof(reply->text));
			text[sizeof(reply->text)] = '\0';
			fault_set(f,
				  reply->kind <= FAULT_PIN ? (enum fault_kind)reply->kind
							   : FAULT_DEVICE,
				  "%s", text);
		}
		return (enum status)reply->status;
	}
	child_drop(dev, c, 0);
	if (st == ST_ETIMEDOUT) {
		fault_set(f, FAULT_DEVICE,
			  "the module did not answer within %d ms: its process was killed",
			  timeout_ms);
	} else {
		fault_set(f, FAULT_DEVICE, "the module's process ended");
	}
	return ST_EAGAIN;
}

static enum status no_child(struct fault *f)
{
	fault_set(f, FAULT_DEVICE, "the module's process is not there");
	return ST_EAGAIN;
}

static enum status call(struct device *dev, struct host_request *rq, int timeout_ms,
			struct host_reply *reply, struct fault *f)
{
	struct child *c = child_get(dev);
	if (c == NULL) {
		return no_child(f);
	}
	pthread_mutex_lock(&dev->calls);
	struct child_inbox in = {.len = 0};
	rq->number = atomic_fetch_add(&dev->number, 1);
	enum status st = child_set_patience(c->calls, timeout_ms);
	if (st == ST_OK) {
		st = child_send(c->calls, rq, sizeof(*rq))
			     ? child_receive(c->calls, &in, rq->number, reply)
			     : ST_EIO;
	}
	pthread_mutex_unlock(&dev->calls);
	st = conclude(dev, c, st, timeout_ms, reply, f);
	child_unref(c);
	return st;
}

static enum status iso_device_new(const struct keystore_options *opt, struct device **out,
				  struct diags *d)
{
	struct device *checked = NULL;
	uint8_t options[HOST_OPTIONS_MAX];
	size_t len;
	enum status st = host_options_encode(opt, options, sizeof(options), &len);
	if (st != ST_OK) {
		diags_error(d, "keystore %s: its options are too long", opt->name);
		return st;
	}
	/* What is wrong with the options is said here, where somebody listens. */
	st = backend_pkcs11.device_new(opt, &checked, d);
	if (st != ST_OK) {
		return st;
	}
	backend_pkcs11.device_free(checked);
	struct device *dev = calloc(1, sizeof(*dev));
	if (dev == NULL) {
		return ST_ENOMEM;
	}
	dev->opt = opt;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_mutex_init(&dev->calls, NULL);
	*out = dev;
	return ST_OK;
}

static void iso_device_free(struct device *dev)
{
	if (dev == NULL) {
		return;
	}
	child_drop(dev, dev->child, CHILD_REAP_MS);
	pthread_mutex_destroy(&dev->calls);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

/* Puts a new process in the place of what there was. */
static enum status child_renew(struct device *dev, struct fault *f)
{
	uint8_t options[HOST_OPTIONS_MAX];
	struct child *c = NULL;
	size_t len = 0;

	struct child *old = child_get(dev);
	child_drop(dev, old, CHILD_REAP_MS);
	child_unref(old);
	enum status st = host_options_encode(dev->opt, options, sizeof(options), &len);
	if (st == ST_OK) {
		st = child_new(dev->opt, sign_ms(dev->opt), &c);
	}
	if (st == ST_OK && send(c->calls, options, len, MSG_NOSIGNAL) != (ssize_t)len) {
		st = ST_EIO;
	}
	pthread_mutex_lock(&dev->lock);
	if (st == ST_OK && !dev->cancelled) {
		dev->child = c;
		dev->started++;
		c = NULL;
	}
	bool cancelled = dev->cancelled;
	pthread_mutex_unlock(&dev->lock);
	if (c != NULL) {
		child_end(c, 0);
		child_unref(c);
	}
	if (st != ST_OK || cancelled) {
		fault_set(f, FAULT_DEVICE, "no process can be started for the module: %s",
			  status_text(cancelled ? ST_EREFUSED : st));
		return ST_EAGAIN;
	}
	return ST_OK;
}

static enum status iso_open(struct device *dev, struct fault *f)
{
	struct host_request rq = {.op = HOST_OPEN};
	struct host_reply reply;

	enum status st = child_renew(dev, f);
	if (st != ST_OK) {
		return st;
	}
	pthread_mutex_lock(&dev->lock);
	rq.more.guard.len = dev->guard_len;
	memcpy(rq.more.guard.data, dev->guard, dev->guard_len);
	pthread_mutex_unlock(&dev->lock);
	return call(dev, &rq, CALL_MS, &reply, f);
}

static enum status iso_probe(struct device *dev, struct fault *f)
{
	struct host_request rq = {.op = HOST_PROBE};
	struct host_reply reply;
	return call(dev, &rq, PROBE_MS, &reply, f);
}

static void fill_key(const struct hsm_key *key, const uint8_t *point, struct host_key *out)
{
	out->id_len = (uint8_t)key->id_len;
	memcpy(out->id, key->id, key->id_len);
	out->has_point = point != NULL;
	if (point != NULL) {
		memcpy(out->point, point, HSM_PUBLIC_LEN);
	}
	out->place = atomic_load(&((const struct iso_key *)key)->place);
}

static enum status key_call(struct device *dev, struct hsm_key *key, struct host_request *rq,
			    struct fault *f)
{
	struct host_reply reply;
	enum status st = call(dev, rq, CALL_MS, &reply, f);
	if (st == ST_OK) {
		memcpy(key->public_point, reply.point, HSM_PUBLIC_LEN);
		atomic_store(&((struct iso_key *)key)->place, reply.place);
	}
	return st;
}

static enum status iso_find(struct device *dev, struct hsm_key *key, const uint8_t *expect,
			    struct fault *f)
{
	struct host_request rq = {.op = HOST_FIND};
	fill_key(key, expect, &rq.key);
	return key_call(dev, key, &rq, f);
}

static enum status iso_generate(struct device *dev, struct hsm_key *key, const char *label,
				struct fault *f)
{
	struct host_request rq = {.op = HOST_GENERATE};
	fill_key(key, NULL, &rq.key);
	snprintf(rq.more.text, sizeof(rq.more.text), "%s", label);
	return key_call(dev, key, &rq, f);
}

static enum status iso_remove(struct device *dev, struct hsm_key *key, struct fault *f)
{
	struct host_request rq = {.op = HOST_REMOVE};
	struct host_reply reply;
	/* By its id alone: one that is to go need not have been found. */
	fill_key(key, NULL, &rq.key);
	return call(dev, &rq, CALL_MS, &reply, f);
}

static enum status iso_identify(struct device *dev, const char *ref, struct hsm_id *out,
				struct fault *f)
{
	struct host_request rq = {.op = HOST_IDENTIFY};
	struct host_reply reply;
	snprintf(rq.more.text, sizeof(rq.more.text), "%s", ref);
	enum status st = call(dev, &rq, CALL_MS, &reply, f);
	if (st == ST_OK && (reply.len == 0 || reply.len > sizeof(out->data))) {
		fault_set(f, FAULT_DEVICE, "the module's process gave no id");
		st = ST_EAGAIN;
	}
	if (st == ST_OK) {
		memcpy(out->data, reply.signature, reply.len);
		out->len = reply.len;
	}
	return st;
}

static enum status iso_session_new(struct device *dev, struct session **out)
{
	struct session *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	s->dev = dev;
	pthread_mutex_lock(&dev->lock);
	s->lane = dev->lanes_given++;
	pthread_mutex_unlock(&dev->lock);
	*out = s;
	return ST_OK;
}

static void iso_session_free(struct session *s)
{
	if (s != NULL) {
		child_unref(s->child);
		free(s);
	}
}

/* The next answer that comes. ST_EBUSY: none yet. */
static enum status session_receive(struct session *s, struct host_reply *reply)
{
	struct child *c = s->child;
	if (s->lane >= c->lane_count) {
		return ST_EIO;
	}
	enum status st = child_receive(c->lanes[s->lane], &s->inbox, s->number, reply);
	if (st == ST_ETIMEDOUT && clock_mono_ms() - s->since_ms < sign_ms(s->dev->opt)) {
		st = ST_EBUSY;
	}
	return st;
}

/* The oldest is settled. */
static struct owed session_pop(struct session *s)
{
	struct owed owed = s->owed[s->first];
	s->first = (s->first + 1) % OWED_MAX;
	s->count--;
	s->number++;
	s->since_ms = clock_mono_ms();
	return owed;
}

/* Nothing is owed. */
static void session_settled(struct session *s)
{
	child_unref(s->child);
	s->child = NULL;
	s->inbox.len = s->inbox.at = 0;
}

static bool session_is_gone(const struct session *s)
{
	pthread_mutex_lock(&s->dev->lock);
	bool gone = s->dev->child != s->child;
	pthread_mutex_unlock(&s->dev->lock);
	return gone;
}

/* What a process that is gone owes, and nobody waits for, is owed no more: else what is asked next
 * would be told of the end of that process, and the present one be taken for lost. */
static void session_forgive(struct session *s)
{
	struct host_reply reply;
	enum status st = s->child != NULL ? ST_OK : ST_EIO;
	for (unsigned i = 0; i < s->count; i++) {
		if (!s->owed[(s->first + i) % OWED_MAX].forgotten) {
			return;
		}
	}
	if (s->count == 0 || !session_is_gone(s)) {
		return;
	}
	while (s->count > 0) {
		/* It may have spent a try of the PIN. */
		st = st == ST_OK ? session_receive(s, &reply) : st;
		if (st == ST_OK) {
			guard_keep(s->dev, &reply);
		}
		session_pop(s);
	}
	session_settled(s);
}

/* Of whatever is lost the answer tells. */
static void iso_ask(struct session *s, struct hsm_key *key, const uint8_t *digest)
{
	struct iso_key *k = (struct iso_key *)key;
	struct host_request rq;
	session_forgive(s);
	assert(s->count < OWED_MAX);
	if (s->count == 0) {
		s->child = child_get(s->dev);
		s->since_ms = clock_mono_ms();
	}
	memset(&rq, 0, HOST_REQUEST_SHORT);
	rq.op = HOST_SIGN;
	rq.number = s->number + s->count;
	fill_key(key, key->public_point, &rq.key);
	rq.key.distrust = atomic_exchange(&k->distrust, false);
	memcpy(rq.digest, digest, HSM_DIGEST_LEN);
	s->owed[(s->first + s->count++) % OWED_MAX] = (struct owed){.key = k};
	if (s->child != NULL && s->lane < s->child->lane_count) {
		child_send(s->child->lanes[s->lane], &rq, HOST_REQUEST_SHORT);
	}
}

static enum status iso_answer(struct session *s, struct raw_signature *out, struct fault *f)
{
	struct host_reply reply;
	struct owed owed = {.forgotten = true};
	enum status st = ST_OK;
	while (owed.forgotten) {
		st = s->child != NULL ? session_receive(s, &reply) : ST_EIO;
		if (st == ST_EBUSY) {
			return st;
		}
		owed = session_pop(s);
		if (owed.forgotten && st == ST_OK) {
			guard_keep(s->dev, &reply);
		}
	}
	st = s->child != NULL ? conclude(s->dev, s->child, st, sign_ms(s->dev->opt), &reply, f)
			      : no_child(f);
	if (s->count == 0) {
		session_settled(s);
	}
	if (st == ST_OK) {
		atomic_store_explicit(&owed.key->place, reply.place, memory_order_relaxed);
		memcpy(out->data, reply.signature, reply.len);
		out->len = reply.len;
	}
	return st;
}

static void iso_forget(struct session *s)
{
	unsigned i = 0;
	while (s->owed[(s->first + i) % OWED_MAX].forgotten) {
		i++;
	}
	for (i++; i < s->count; i++) {
		s->owed[(s->first + i) % OWED_MAX].forgotten = true;
	}
}

static void iso_distrust(struct hsm_key *key)
{
	atomic_store(&((struct iso_key *)key)->distrust, true);
}

static void iso_cancel(struct device *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->cancelled = true;
	struct child *c = dev->child;
	/* Lanes that wait come back. The process sees the ends too, and goes in order if it can. */
	if (c != NULL) {
		child_shut(c);
	}
	pthread_mutex_unlock(&dev->lock);
}

static void iso_process(struct device *dev, struct keystore_health *out)
{
	pthread_mutex_lock(&dev->lock);
	out->pid = dev->child != NULL ? (int)dev->child->pid : 0;
	out->restarts = dev->started > 0 ? dev->started - 1 : 0;
	pthread_mutex_unlock(&dev->lock);
}

const struct backend backend_isolated = {
	.in_process = false,
	.key_size = sizeof(struct iso_key),
	.device_new = iso_device_new,
	.device_free = iso_device_free,
	.open = iso_open,
	.probe = iso_probe,
	.find = iso_find,
	.generate = iso_generate,
	.remove = iso_remove,
	.identify = iso_identify,
	.session_new = iso_session_new,
	.session_free = iso_session_free,
	.window = LANE_WINDOW_MAX,
	.ask = iso_ask,
	.answer = iso_answer,
	.forget = iso_forget,
	.distrust = iso_distrust,
	.cancel = iso_cancel,
	.process = iso_process,
};
