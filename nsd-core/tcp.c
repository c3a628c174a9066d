#include "nsd-core/worker_state.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/socket.h"

#include <stdlib.h>
#include <unistd.h>

#define TCP_BACKLOG 1024
#define TCP_READ    (64U << 10)
/* Room for answers of one callback; each may need TCP_PREFIX + TCP_MESSAGE_MAX. */
#define TCP_OUT	     (2 * (TCP_PREFIX + TCP_MESSAGE_MAX))
#define TCP_SWEEP_MS 250

struct tcp_conn {
	uv_tcp_t handle;
	struct worker *worker;
	uint32_t slot;
	uint32_t place; /* in the clients' table */
	struct tcp_conn *older;
	struct tcp_conn *newer;
	int64_t active_ms;
	uint8_t *in; /* what was read and not taken yet: part of a message, or what had to wait */
	size_t in_len;
	unsigned in_flight; /* parked questions */
	bool reading;
	bool ended; /* the client sends no more */
	bool closing;
};

/* What could not be written at once. */
struct tcp_write {
	uv_write_t req;
	uint8_t data[];
};

static struct tcp_conn *conn_of(uv_handle_t *handle)
{
	return container_of((uv_tcp_t *)handle, struct tcp_conn, handle);
}

static void order_remove(struct tcp *t, struct tcp_conn *c)
{
	if (c->older != NULL) {
		c->older->newer = c->newer;
	} else {
		t->oldest = c->newer;
	}
	if (c->newer != NULL) {
		c->newer->older = c->older;
	} else {
		t->newest = c->older;
	}
}

static void order_append(struct tcp *t, struct tcp_conn *c)
{
	c->older = t->newest;
	c->newer = NULL;
	if (t->newest != NULL) {
		t->newest->newer = c;
	} else {
		t->oldest = c;
	}
	t->newest = c;
}

/* A whole question came, or an answer is through. */
static void touch(struct tcp_conn *c)
{
	struct tcp *t = &c->worker->tcp;

	c->active_ms = clock_mono_ms();
	if (t->newest != c) {
		order_remove(t, c);
		order_append(t, c);
	}
}

static void on_conn_closed(uv_handle_t *handle)
{
	struct tcp_conn *c = conn_of(handle);

	free(c->in);
	free(c);
}

static void conn_close(struct tcp_conn *c)
{
	struct tcp *t = &c->worker->tcp;

	if (c->closing) {
		return;
	}
	c->closing = true;
	order_remove(t, c);
	struct tcp_slot *slot = &t->slots[c->slot];
	slot->conn = NULL;
	slot->generation++;
	slot->next_free = t->slot_free;
	t->slot_free = c->slot + 1;
	t->open--;
	tcp_clients_give(t->clients, c->place);
	count_set(&c->worker->counts.tcp_now, t->open);
	uv_close((uv_handle_t *)&c->handle, on_conn_closed);
}

static size_t conn_queued(const struct tcp_conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->handle);
}

static void conn_resume(struct tcp_conn *c);

static void on_written(uv_write_t *req, int status)
{
	struct tcp_conn *c = conn_of((uv_handle_t *)req->handle);

	free(container_of(req, struct tcp_write, req));
	if (c->closing) {
		return;
	}
	if (status != 0) {
		conn_close(c);
		return;
	}
	touch(c);
	conn_resume(c);
}

static void conn_write_later(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	struct tcp_write *later = malloc(sizeof(*later) + len);

	if (later == NULL) {
		conn_close(c);
		return;
	}
	memcpy(later->data, data, len);
	uv_buf_t buf = uv_buf_init((char *)later->data, (unsigned)len);
	if (uv_write(&later->req, (uv_stream_t *)&c->handle, &buf, 1, on_written) != 0) {
		free(later);
		conn_close(c);
	}
}

/* True: all of it is with the kernel. */
static bool conn_write(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);

	if (c->closing || len == 0) {
		return false;
	}
	int n = uv_try_write((uv_stream_t *)&c->handle, &buf, 1);
	if (n < 0 && n != UV_EAGAIN) {
		conn_close(c);
		return false;
	}
	size_t done = n > 0 ? (size_t)n : 0;
	if (done < len) {
		conn_write_later(c, data + done, len - done);
	}
	return done == len;
}

static void conn_flush(struct tcp_conn *c)
{
	struct tcp *t = &c->worker->tcp;

	conn_write(c, t->out, t->out_len);
	t->out_len = 0;
}

/* May another question be answered? */
static bool conn_has_room(const struct tcp_conn *c)
{
	return !c->closing && c->in_flight < TCP_IN_FLIGHT_MAX &&
	       conn_queued(c) + c->worker->tcp.out_len < TCP_QUEUE_MAX;
}

static void conn_ask(struct tcp_conn *c, const struct bytes *question)
{
	struct worker *w = c->worker;
	struct tcp *t = &w->tcp;
	struct answer_missing missing;
	size_t len;

	if (TCP_OUT - t->out_len < TCP_PREFIX + TCP_MESSAGE_MAX) {
		conn_flush(c);
		if (c->closing) {
			return;
		}
	}
	uint8_t *out = t->out + t->out_len + TCP_PREFIX;
	count_add(&w->counts.tcp_queries, 1);
	enum answer_result result =
		answer_query(&w->env, ANSWER_TCP, ANSWER_FIRST, question->data, question->len, out,
			     TCP_MESSAGE_MAX, &len, &missing);
	if (result == ANSWER_PARK) {
		struct park_reply reply = {.transport = ANSWER_TCP,
					   .slot = c->slot,
					   .generation = t->slots[c->slot].generation};
		result = worker_park(w, &reply, question, &missing, out, TCP_MESSAGE_MAX, &len);
		c->in_flight += result == ANSWER_PARK;
	}
	if (result == ANSWER_SEND) {
		be16_put(out - TCP_PREFIX, (uint16_t)len);
		t->out_len += TCP_PREFIX + len;
	} else if (result == ANSWER_DROP) {
		/* Not a question, so not a client. */
		conn_flush(c);
		conn_close(c);
	}
}

/* Takes whole messages off data while there is room; how many octets that were. */
static size_t conn_take(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	size_t used = 0;

	worker_batch_begin(c->worker);
	while (conn_has_room(c) && len - used >= TCP_PREFIX) {
		size_t size = be16_get(data + used);
		if (len - used - TCP_PREFIX < size) {
			break;
		}
		struct bytes question = {data + used + TCP_PREFIX, size};
		used += TCP_PREFIX + size;
		conn_ask(c, &question);
	}
	worker_batch_end(c->worker);
	if (used > 0 && !c->closing) {
		touch(c);
	}
	conn_flush(c);
	return used;
}

static void conn_set_reading(struct tcp_conn *c, bool reading);

/* Reads, does not, or closes, as the connection's state now asks. */
static void conn_update(struct tcp_conn *c)
{
	bool over = c->ended || c->worker->stopping;

	if (c->closing) {
		return;
	}
	if (over && c->in_flight == 0 && conn_queued(c) == 0) {
		conn_close(c);
		return;
	}
	conn_set_reading(c, !over && conn_has_room(c));
}

/* What was kept may be taken now. */
static void conn_resume(struct tcp_conn *c)
{
	if (c->in_len > 0) {
		size_t used = conn_take(c, c->in, c->in_len);
		if (used > 0) {
			c->in_len -= used;
			memmove(c->in, c->in + used, c->in_len);
		}
	}
	if (c->in_len == 0) {
		free(c->in);
		c->in = NULL;
	}
	conn_update(c);
}

/* Appends to what is kept. Bounded: less than a message is kept while reading goes on, and one read
 * more when it stops. */
static enum status conn_keep(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	uint8_t *in = realloc(c->in, c->in_len + len);

	if (in == NULL) {
		return ST_ENOMEM;
	}
	memcpy(in + c->in_len, data, len);
	c->in = in;
	c->in_len += len;
	return ST_OK;
}

static void conn_received(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	size_t used = 0;

	if (c->in_len == 0) {
		used = conn_take(c, data, len);
		if (used == len || c->closing) {
			conn_update(c);
			return;
		}
	}
	if (conn_keep(c, data + used, len - used) != ST_OK) {
		conn_close(c);
	} else if (used > 0) {
		conn_update(c);
	} else {
		conn_resume(c);
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)suggested;
	*buf = uv_buf_init((char *)conn_of(handle)->worker->tcp.in, TCP_READ);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tcp_conn *c = conn_of((uv_handle_t *)stream);

	if (n > 0) {
		conn_received(c, (const uint8_t *)buf->base, (size_t)n);
	} else if (n == UV_EOF) {
		c->ended = true;
		c->reading = false;
		uv_read_stop(stream);
		conn_update(c);
	} else if (n < 0) {
		conn_close(c);
	}
}

static void conn_set_reading(struct tcp_conn *c, bool reading)
{
	uv_stream_t *stream = (uv_stream_t *)&c->handle;

	if (c->reading == reading) {
		return;
	}
	c->reading = reading;
	if (!reading) {
		uv_read_stop(stream);
	} else if (uv_read_start(stream, on_alloc, on_read) != 0) {
		conn_close(c);
	}
}

static void on_connection(uv_stream_t *stream, int status);

static void close_idle(struct tcp *t)
{
	int64_t now_ms = clock_mono_ms();

	while (t->oldest != NULL) {
		struct tcp_conn *c = t->oldest;
		if (now_ms - c->active_ms < c->worker->conf->tcp_idle_ms) {
			return;
		}
		if (c->in_flight > 0) {
			/* It waits for us. */
			touch(c);
		} else {
			conn_close(c);
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

/* Counted, numbered and read from; closed at once where there are too many. */
static void conn_admit(struct tcp_conn *c)
{
	struct worker *w = c->worker;
	struct tcp *t = &w->tcp;
	struct sockaddr_storage peer;
	int peer_len = sizeof(peer);

	if (uv_tcp_getpeername(&c->handle, (struct sockaddr *)&peer, &peer_len) != 0 ||
	    tcp_clients_take(t->clients, (struct sockaddr *)&peer, &c->place) != ST_OK) {
		count_add(&w->counts.tcp_refused, 1);
		c->closing = true;
		uv_close((uv_handle_t *)&c->handle, on_conn_closed);
		return;
	}
	/* As many slots as connections in all: there is one. */
	struct tcp_slot *slot = slot_take(t);
	slot->conn = c;
	c->slot = (uint32_t)(slot - t->slots);
	c->active_ms = clock_mono_ms();
	order_append(t, c);
	t->open++;
	count_add(&w->counts.tcp_accepted, 1);
	count_set(&w->counts.tcp_now, t->open);
	sweep_start(t);
	conn_update(c);
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
		c->closing = true;
		uv_close((uv_handle_t *)&c->handle, on_conn_closed);
		return;
	}
	conn_admit(c);
}

enum status tcp_bind(struct worker *w, struct tcp_clients *clients, struct diags *d)
{
	struct tcp *t = &w->tcp;

	t->clients = clients;
	t->slot_max = w->conf->tcp_clients;
	t->slots = calloc(t->slot_max, sizeof(*t->slots));
	t->in = malloc(TCP_READ);
	t->out = malloc(TCP_OUT);
	t->listeners = calloc(w->conf->listen_count, sizeof(*t->listeners));
	if (t->slots == NULL || t->in == NULL || t->out == NULL || t->listeners == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < w->conf->listen_count; i++) {
		struct tcp_listener *l = &t->listeners[i];
		*l = (struct tcp_listener){.worker = w, .fd = -1};
		t->count++;
		enum status st = socket_tcp(&w->conf->listen[i], &l->fd, d);
		if (st != ST_OK) {
			return st;
		}
	}
	return ST_OK;
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
	c->in_flight--;
	if (len > 0) {
		be16_put(message, (uint16_t)len);
		if (conn_write(c, message, TCP_PREFIX + len)) {
			touch(c);
		}
	}
	if (!c->closing) {
		conn_resume(c);
	}
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
		conn_update(c);
		c = newer;
	}
}

void tcp_abort(struct worker *w)
{
	while (w->tcp.oldest != NULL) {
		conn_close(w->tcp.oldest);
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
	free(t->out);
	*t = (struct tcp){0};
}
