/* The module's side. */
#include "hsm/host.h"

#include "nsd-core/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEYS_MAX  1000000
#define LANES_MAX 1024
/* The server is gone: a module that does not end by itself is ended. */
#define END_S 10
/* What is signed waits so long for others that are being signed. */
#define GATHER_US 500

struct host {
	const struct backend *be;
	struct keystore_options opt;
	struct device *dev;
	struct host_lane *lanes;
	unsigned lane_count;
	_Atomic(bool) opened; /* lanes of a server that lost another process may ask before */
	/* Keys are put at the end and never leave, so that a place stays good. */
	pthread_rwlock_t lock;
	struct hsm_key **keys;
	size_t count, room;
};

/* Signatures that the server has not been sent: it is woken once for some. */
struct host_batch {
	struct host_reply replies[HOST_BATCH_MAX];
	unsigned count;
	int64_t first_us; /* the first was made, clock_mono_us() */
};

struct host_lane {
	struct host *host;
	struct session *session;
	pthread_t thread;
	bool started;
	int fd;
};

/* The whole length, also of what did not fit. */
static ssize_t receive(int fd, void *buf, size_t room, bool wait)
{
	ssize_t n;
	do {
		n = recv(fd, buf, room, wait ? MSG_TRUNC : MSG_TRUNC | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n;
}

static bool answer(int fd, const struct host_reply *reply)
{
	ssize_t n;
	do {
		n = send(fd, reply, sizeof(*reply), MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*reply);
}

/* In one message. */
static bool batch_send(struct host_batch *b, int fd)
{
	struct iovec iov[HOST_BATCH_MAX];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = b->count};
	ssize_t n;
	for (unsigned i = 0; i < b->count; i++) {
		iov[i] = (struct iovec){&b->replies[i], HOST_REPLY_SHORT};
	}
	do {
		n = b->count > 0 ? sendmsg(fd, &msg, MSG_NOSIGNAL) : 0;
	} while (n < 0 && errno == EINTR);
	bool sent = n == (ssize_t)(b->count * HOST_REPLY_SHORT);
	b->count = 0;
	return sent;
}

static bool is_key(const struct hsm_key *key, const struct host_key *k)
{
	return key->id_len == k->id_len && memcmp(key->id, k->id, k->id_len) == 0 &&
	       (!k->has_point || memcmp(key->public_point, k->point, HSM_PUBLIC_LEN) == 0);
}

static struct hsm_key *known_key(struct host *h, const struct host_key *k, uint32_t *place)
{
	struct hsm_key *key = NULL;
	pthread_rwlock_rdlock(&h->lock);
	if (k->place < h->count && is_key(h->keys[k->place], k)) {
		*place = k->place;
		key = h->keys[k->place];
	}
	for (size_t i = 0; i < h->count && key == NULL; i++) {
		if (is_key(h->keys[i], k)) {
			*place = (uint32_t)i;
			key = h->keys[i];
		}
	}
	pthread_rwlock_unlock(&h->lock);
	return key;
}

static enum status keep_key(struct host *h, struct hsm_key *key, uint32_t *place)
{
	enum status st = ST_OK;
	pthread_rwlock_wrlock(&h->lock);
	if (h->count == KEYS_MAX) {
		st = ST_ELIMIT;
	} else if (h->count == h->room) {
		size_t room = h->room == 0 ? 16 : h->room * 2;
		struct hsm_key **grown = realloc(h->keys, room * sizeof(struct hsm_key *));
		if (grown == NULL) {
			st = ST_ENOMEM;
		} else {
			h->keys = grown;
			h->room = room;
		}
	}
	if (st == ST_OK) {
		*place = (uint32_t)h->count;
		h->keys[h->count++] = key;
	}
	pthread_rwlock_unlock(&h->lock);
	return st;
}

static struct hsm_key *new_key(const struct host *h, const struct host_key *k)
{
	struct hsm_key *key = calloc(1, h->be->key_size);
	if (key != NULL) {
		atomic_init(&key->refs, 1);
		key->be = h->be;
		memcpy(key->id, k->id, k->id_len);
		key->id_len = k->id_len;
	}
	return key;
}

/* Found again where it is known: what the other side asks for anew it has reason to. */
static enum status find_key(struct host *h, const struct host_key *k, struct hsm_key **out,
			    uint32_t *place, struct fault *f)
{
	struct hsm_key *key = new_key(h, k);
	if (key == NULL) {
		return ST_ENOMEM;
	}
	enum status st = h->be->find(h->dev, key, k->has_point ? k->point : NULL, f);
	if (st == ST_OK) {
		struct host_key same = *k;
		same.has_point = 1;
		memcpy(same.point, key->public_point, HSM_PUBLIC_LEN);
		struct hsm_key *before = known_key(h, &same, place);
		if (before != NULL) {
			hsm_key_unref(key);
			*out = before;
			return ST_OK;
		}
		st = keep_key(h, key, place);
	}
	if (st != ST_OK) {
		hsm_key_unref(key);
		return st;
	}
	*out = key;
	return ST_OK;
}

static enum status generate_key(struct host *h, const struct host_request *rq,
				struct host_reply *reply, struct fault *f)
{
	struct hsm_key *key = new_key(h, &rq->key);
	if (key == NULL) {
		return ST_ENOMEM;
	}
	enum status st = h->be->generate(h->dev, key, rq->more.text, f);
	if (st == ST_OK) {
		memcpy(reply->point, key->public_point, HSM_PUBLIC_LEN);
		st = keep_key(h, key, &reply->place);
	}
	if (st != ST_OK) {
		hsm_key_unref(key);
	}
	return st;
}

/* Also one that could not be used, and so was never found. */
static enum status remove_key(struct host *h, const struct host_request *rq, struct fault *f)
{
	uint32_t place;
	struct hsm_key *known = known_key(h, &rq->key, &place);
	struct hsm_key *key = known != NULL ? hsm_key_ref(known) : new_key(h, &rq->key);
	if (key == NULL) {
		return ST_ENOMEM;
	}
	enum status st = h->be->remove(h->dev, key, f);
	hsm_key_unref(key);
	return st;
}

static enum status identify_key(struct host *h, const struct host_request *rq,
				struct host_reply *reply, struct fault *f)
{
	struct hsm_id id;
	enum status st = h->be->identify(h->dev, rq->more.text, &id, f);
	if (st == ST_OK) {
		reply->len = (uint32_t)id.len;
		memcpy(reply->signature, id.data, id.len);
	}
	return st;
}

/* The process may end with this: what it spent a try on must not be tried by the next one. */
static void put_guard(struct host *h, struct host_reply *reply)
{
	if (h->be->guard_get != NULL) {
		reply->guard_len =
			(uint32_t)h->be->guard_get(h->dev, reply->guard, sizeof(reply->guard));
	}
}

static enum status open_device(struct host *h, const struct host_request *rq,
			       struct host_reply *reply, struct fault *f)
{
	if (h->be->guard_set != NULL) {
		h->be->guard_set(h->dev, rq->more.guard.data, rq->more.guard.len);
	}
	enum status st = h->be->open(h->dev, f);
	put_guard(h, reply);
	if (st == ST_OK) {
		atomic_store(&h->opened, true);
	}
	return st;
}

static enum status check_opened(struct host *h, struct fault *f)
{
	if (!atomic_load(&h->opened)) {
		fault_set(f, FAULT_DEVICE, "the module's process has not opened the device yet");
		return ST_EAGAIN;
	}
	return ST_OK;
}

static enum status sign(struct host_lane *l, const struct host_request *rq,
			struct host_reply *reply, struct fault *f)
{
	struct host *h = l->host;
	struct raw_signature raw;
	struct hsm_key *key = known_key(h, &rq->key, &reply->place);
	enum status st = key != NULL ? ST_OK : find_key(h, &rq->key, &key, &reply->place, f);
	if (st != ST_OK) {
		/* A key that is not there any more cannot sign, and that is no fault of the rest.
		 */
		return st == ST_ENOENT ? ST_EFATAL : st;
	}
	if (rq->key.distrust && h->be->distrust != NULL) {
		h->be->distrust(key);
	}
	st = h->be->sign(l->session, key, rq->digest, &raw, f);
	if (st == ST_OK) {
		reply->len = (uint32_t)raw.len;
		memcpy(reply->signature, raw.data, raw.len);
	}
	return st;
}

static bool is_request(const struct host_request *rq, ssize_t n, bool of_lane)
{
	if (n != (ssize_t)sizeof(*rq) && n != (ssize_t)HOST_REQUEST_SHORT) {
		return false;
	}
	if (rq->op > HOST_SIGN || rq->key.id_len > HSM_ID_MAX || (rq->op == HOST_SIGN) != of_lane) {
		return false;
	}
	if (rq->op == HOST_GENERATE || rq->op == HOST_IDENTIFY) {
		return n == (ssize_t)sizeof(*rq) &&
		       memchr(rq->more.text, '\0', sizeof(rq->more.text)) != NULL;
	}
	return rq->op != HOST_OPEN ||
	       (n == (ssize_t)sizeof(*rq) && rq->more.guard.len <= sizeof(rq->more.guard.data));
}

static bool finish(struct host *h, int fd, struct host_reply *reply, enum status st,
		   const struct fault *f)
{
	reply->status = (int32_t)st;
	if (st != ST_OK) {
		if (f->kind == FAULT_PIN) {
			put_guard(h, reply);
		}
		reply->kind = (uint32_t)f->kind;
		memcpy(reply->text, f->text, sizeof(reply->text));
	}
	return answer(fd, reply);
}

/* Signs one more. False: the server is gone. */
static bool serve_sign(struct host_lane *l, struct host_batch *b, const struct host_request *rq)
{
	struct fault f = {.kind = FAULT_REQUEST};
	struct host_reply *reply = &b->replies[b->count];
	int64_t start_us = clock_mono_us();
	*reply = (struct host_reply){.number = rq->number};
	enum status st = check_opened(l->host, &f);
	if (st == ST_OK) {
		st = sign(l, rq, reply, &f);
	}
	if (st != ST_OK) {
		struct host_reply failed = *reply;
		return batch_send(b, l->fd) && finish(l->host, l->fd, &failed, st, &f);
	}
	int64_t now_us = clock_mono_us();
	if (b->count++ == 0) {
		b->first_us = now_us;
	}
	/* As long again as this one took, and it would be too late. */
	bool due =
		b->count == HOST_BATCH_MAX || now_us - b->first_us + now_us - start_us > GATHER_US;
	return !due || batch_send(b, l->fd);
}

static void *lane_main(void *arg)
{
	struct host_lane *l = arg;
	struct host_batch b = {.count = 0};
	struct host_request rq;
	for (;;) {
		ssize_t n = receive(l->fd, &rq, sizeof(rq), b.count == 0);
		bool none_yet = n < 0 && errno == EAGAIN && b.count > 0;
		if (none_yet ? !batch_send(&b, l->fd)
			     : n <= 0 || !is_request(&rq, n, true) || !serve_sign(l, &b, &rq)) {
			break;
		}
	}
	shutdown(l->fd, SHUT_RDWR);
	return NULL;
}

static enum status serve_call(struct host *h, const struct host_request *rq,
			      struct host_reply *reply, struct fault *f)
{
	struct hsm_key *key = NULL;
	enum status st = rq->op == HOST_OPEN ? ST_OK : check_opened(h, f);
	if (st != ST_OK) {
		return st;
	}
	switch (rq->op) {
	case HOST_OPEN:
		return open_device(h, rq, reply, f);
	case HOST_PROBE:
		return h->be->probe != NULL ? h->be->probe(h->dev, f) : ST_OK;
	case HOST_FIND:
		st = find_key(h, &rq->key, &key, &reply->place, f);
		if (st == ST_OK) {
			memcpy(reply->point, key->public_point, HSM_PUBLIC_LEN);
		}
		return st;
	case HOST_GENERATE:
		return generate_key(h, rq, reply, f);
	case HOST_REMOVE:
		return remove_key(h, rq, f);
	case HOST_IDENTIFY:
		return identify_key(h, rq, reply, f);
	default:
		return ST_ENOTSUP;
	}
}

static void serve_calls(struct host *h)
{
	struct host_request rq;
	ssize_t n;
	while ((n = receive(HOST_FD, &rq, sizeof(rq), true)) > 0 && is_request(&rq, n, false)) {
		struct host_reply reply = {.number = rq.number};
		struct fault f = {.kind = FAULT_REQUEST};
		enum status st = serve_call(h, &rq, &reply, &f);
		if (!finish(h, HOST_FD, &reply, st, &f)) {
			return;
		}
	}
}

static enum status start_lanes(struct host *h)
{
	h->lane_count = h->opt.sessions;
	h->lanes = calloc(h->lane_count, sizeof(*h->lanes));
	if (h->lanes == NULL) {
		return ST_ENOMEM;
	}
	for (unsigned i = 0; i < h->lane_count; i++) {
		struct host_lane *l = &h->lanes[i];
		l->host = h;
		l->fd = HOST_FD + 1 + (int)i;
		enum status st = h->be->session_new(h->dev, &l->session);
		int err = st == ST_OK ? pthread_create(&l->thread, NULL, lane_main, l) : 0;
		if (st != ST_OK || err != 0) {
			return st != ST_OK ? st : status_from_errno(err);
		}
		l->started = true;
	}
	return ST_OK;
}

static void stop_lanes(struct host *h)
{
	for (unsigned i = 0; h->lanes != NULL && i < h->lane_count; i++) {
		struct host_lane *l = &h->lanes[i];
		shutdown(l->fd, SHUT_RDWR);
		if (l->started) {
			pthread_join(l->thread, NULL);
		}
		if (l->session != NULL) {
			h->be->session_free(l->session);
		}
	}
}

/* Main may hang in the module when the server is killed: then nobody else is left who would end it.
 */
static void *watch_server(void *arg)
{
	struct pollfd p = {.fd = HOST_FD};
	(void)arg;
	while (poll(&p, 1, -1) < 0 && errno == EINTR) {
	}
	alarm(END_S);
	return NULL;
}

static enum status host_start(struct host *h, uint8_t *options)
{
	struct diags d;
	pthread_t watch;
	int err = pthread_create(&watch, NULL, watch_server, NULL);
	if (err != 0) {
		return status_from_errno(err);
	}
	pthread_detach(watch);
	ssize_t n = receive(HOST_FD, options, HOST_OPTIONS_MAX, true);
	if (n <= 0 || n > HOST_OPTIONS_MAX) {
		return ST_EPARSE;
	}
	enum status st = host_options_decode(options, (size_t)n, &h->opt);
	if (st != ST_OK || h->opt.sessions < 1 || h->opt.sessions > LANES_MAX) {
		return ST_EPARSE;
	}
	/* Its warnings were said when the other side checked the options. */
	diags_init(&d, 1);
	st = h->be->device_new(&h->opt, &h->dev, &d);
	diags_fini(&d);
	return st == ST_OK ? start_lanes(h) : st;
}

bool hsm_is_host(int argc, char **argv)
{
	return argc == 2 && strcmp(argv[1], HOST_ARGUMENT) == 0;
}

int hsm_host_main(void)
{
	static uint8_t options[HOST_OPTIONS_MAX];
	struct host h = {.be = &backend_pkcs11};

	/* The PIN is in here: no core, no debugger but root's. */
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	pthread_rwlock_init(&h.lock, NULL);
	if (host_start(&h, options) == ST_OK) {
		serve_calls(&h);
	}
	/* Lanes may be inside of the module: it is let go in order if that can be done. */
	alarm(END_S);
	stop_lanes(&h);
	if (h.dev != NULL) {
		h.be->device_free(h.dev);
	}
	_exit(0);
}
