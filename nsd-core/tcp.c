#include "nsd-core/tcp_conn.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/socket.h"

#include <stdlib.h>
#include <unistd.h>

#define TCP_BACKLOG  1024
#define TCP_SWEEP_MS 250
/* Handshakes of TLS that a worker begins in a second. */
#define TLS_BEGUN_MAX 50

static void on_connection(uv_stream_t *stream, int status);

static void close_idle(struct tcp *t)
{
	int64_t now_ms = clock_mono_ms();

	while (t->oldest != NULL) {
		struct tcp_conn *c = t->oldest;
		if (now_ms - c->active_ms < c->worker->conf->tcp_idle_ms) {
			return;
		}
		if (c->in_flight > 0 || c->making > 0) {
			/* It waits for us. */
			tcp_conn_touch(c);
		} else {
			tcp_conn_close(c);
		}
	}
}

static void on_sweep(uv_timer_t *timer)
{
	struct tcp *t = container_of(timer, struct tcp, sweep);
	bool pending = false;

	close_idle(t);
	for (size_t i = 0; i < t->count; i++) {
		struct tcp_listener *l = &t->listeners[i];
		if (l->pending && l->listening) {
			on_connection((uv_stream_t *)&l->handle, 0);
			pending = pending || l->pending;
		}
	}
	if (t->open == 0 && !pending) {
		uv_timer_stop(timer);
	}
}

static void sweep_start(struct tcp *t)
{
	if (!uv_is_active((uv_handle_t *)&t->sweep)) {
		uv_timer_start(&t->sweep, on_sweep, TCP_SWEEP_MS, TCP_SWEEP_MS);
	}
}

static struct tcp_slot *slot_take(struct tcp *t)
{
	struct tcp_slot *slot;

	if (t->slot_free != 0) {
		slot = &t->slots[t->slot_free - 1];
		t->slot_free = slot->next_free;
		return slot;
	}
	return t->slot_high < t->slot_max ? &t->slots[t->slot_high++] : NULL;
}

void tcp_leave(struct tcp_conn *c)
{
	struct tcp *t = &c->worker->tcp;
	struct tcp_slot *slot = &t->slots[c->slot];

	slot->conn = NULL;
	slot->generation++;
	slot->next_free = t->slot_free;
	t->slot_free = c->slot + 1;
	t->open--;
	tcp_clients_give(t->clients, c->place);
	count_set(&c->worker->counts.tcp_now, t->open);
}

/* Counted, numbered and read from; closed at once where there are too many. */
static void conn_admit(struct tcp_conn *c)
{
	struct worker *w = c->worker;
	struct tcp *t = &w->tcp;
	struct sockaddr *peer = (struct sockaddr *)&c->peer;
	int peer_len = sizeof(c->peer);

	if (uv_tcp_getpeername(&c->handle, peer, &peer_len) != 0 ||
	    tcp_clients_take(t->clients, peer, &c->place) != ST_OK) {
		count_add(&w->counts.tcp_refused, 1);
		tcp_conn_refuse(c);
		return;
	}
	/* As many slots as connections in all: there is one. */
	struct tcp_slot *slot = slot_take(t);
	slot->conn = c;
	c->slot = (uint32_t)(slot - t->slots);
	t->open++;
	count_add(&w->counts.tcp_accepted, 1);
	count_set(&w->counts.tcp_now, t->open);
	sweep_start(t);
	tcp_conn_start(c);
}

/* A handshake takes the worker's time before anybody has said who they are. */
static bool tls_begin(struct tcp_conn *c, struct tls_context *context)
{
	struct tcp *t = &c->worker->tcp;
	int64_t now_ms = clock_mono_ms();

	if (now_ms - t->tls_since_ms >= 1000) {
		t->tls_since_ms = now_ms;
		t->tls_begun = 0;
	}
	return t->tls_begun++ < TLS_BEGUN_MAX && tls_new(context, &c->tls) == ST_OK;
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct tcp_listener *l = container_of((uv_tcp_t *)stream, struct tcp_listener, handle);
	struct tcp *t = &l->worker->tcp;
	struct tcp_conn *c = calloc(1, sizeof(*c));

	if (status != 0) {
		free(c);
		return;
	}
	if (c == NULL || uv_tcp_init(&l->worker->loop, &c->handle) != 0) {
		/* libuv holds the connection, and listens no more until it is taken. */
		free(c);
		l->pending = true;
		sweep_start(t);
		return;
	}
	c->worker = l->worker;
	l->pending = false;
	if (uv_accept(stream, (uv_stream_t *)&c->handle) != 0) {
		tcp_conn_refuse(c);
		return;
	}
	if (l->tls != NULL && !tls_begin(c, l->tls)) {
		count_add(&l->worker->counts.tcp_refused, 1);
		tcp_conn_refuse(c);
		return;
	}
	conn_admit(c);
}

static enum status listener_bind(struct worker *w, const struct conf_address *at,
				 struct tls_context *tls, struct diags *d)
{
	struct tcp_listener *l = &w->tcp.listeners[w->tcp.count++];

	*l = (struct tcp_listener){.worker = w, .fd = -1, .tls = tls};
	return socket_tcp(at, &l->fd, d);
}

enum status tcp_bind(struct worker *w, struct tcp_clients *clients, struct tls_context *tls,
		     struct diags *d)
{
	const struct conf_server *conf = w->conf;
	struct tcp *t = &w->tcp;
	enum status st = ST_OK;

	t->clients = clients;
	t->slot_max = w->conf->tcp_clients;
	t->slots = calloc(t->slot_max, sizeof(*t->slots));
	t->in = malloc(TCP_READ);
	t->rooms = malloc((size_t)TCP_BATCH * TCP_ROOM);
	t->out = malloc(TCP_OUT);
	t->listeners = calloc(conf->listen_count + conf->tls_listen_count, sizeof(*t->listeners));
	t->plain = tls != NULL ? malloc(TCP_READ) : NULL;
	if (t->slots == NULL || t->in == NULL || t->rooms == NULL || t->out == NULL ||
	    t->listeners == NULL || (tls != NULL && t->plain == NULL)) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < conf->listen_count && st == ST_OK; i++) {
		st = listener_bind(w, &conf->listen[i], NULL, d);
	}
	for (size_t i = 0; i < conf->tls_listen_count && st == ST_OK; i++) {
		st = listener_bind(w, &conf->tls_listen[i], tls, d);
	}
	return st;
}

static int listener_start(struct tcp_listener *l)
{
	int err = uv_tcp_init(&l->worker->loop, &l->handle);

	if (err != 0) {
		return err;
	}
	l->listening = true;
	err = uv_tcp_open(&l->handle, l->fd);
	if (err != 0) {
		return err;
	}
	l->fd = -1;
	return uv_listen((uv_stream_t *)&l->handle, TCP_BACKLOG, on_connection);
}

enum status tcp_start(struct worker *w)
{
	struct tcp *t = &w->tcp;

	uv_timer_init(&w->loop, &t->sweep);
	for (size_t i = 0; i < t->count; i++) {
		int err = listener_start(&t->listeners[i]);
		if (err != 0) {
			return status_from_errno(-err);
		}
	}
	return ST_OK;
}

static struct tcp_conn *conn_find(const struct worker *w, const struct park_reply *reply)
{
	const struct tcp_slot *slot = &w->tcp.slots[reply->slot];

	return slot->generation == reply->generation ? slot->conn : NULL;
}

bool tcp_is_open(const struct worker *w, const struct park_reply *reply)
{
	return conn_find(w, reply) != NULL;
}

void tcp_reply(struct worker *w, const struct park_reply *reply, uint8_t *message, size_t len)
{
	struct tcp_conn *c = conn_find(w, reply);

	if (c == NULL) {
		return;
	}
	if (len > 0) {
		be16_put(message, (uint16_t)len);
		len += TCP_PREFIX;
	}
	tcp_conn_reply(c, message, len);
}

void tcp_stop(struct worker *w)
{
	struct tcp *t = &w->tcp;

	for (size_t i = 0; i < t->count; i++) {
		struct tcp_listener *l = &t->listeners[i];
		if (l->listening) {
			l->listening = false;
			l->pending = false;
			uv_close((uv_handle_t *)&l->handle, NULL);
		}
	}
	for (struct tcp_conn *c = t->oldest; c != NULL;) {
		struct tcp_conn *newer = c->newer;
		tcp_conn_update(c);
		c = newer;
	}
}

void tcp_abort(struct worker *w)
{
	while (w->tcp.oldest != NULL) {
		tcp_conn_close(w->tcp.oldest);
	}
}

void tcp_fini(struct tcp *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->listeners[i].fd >= 0) {
			close(t->listeners[i].fd);
		}
	}
	free(t->listeners);
	free(t->slots);
	free(t->in);
	free(t->plain);
	free(t->rooms);
	free(t->out);
	*t = (struct tcp){0};
}
