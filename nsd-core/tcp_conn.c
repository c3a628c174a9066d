#include "nsd-core/tcp_transfer.h"

#include "nsd-core/base/clock.h"

#include <stdlib.h>

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

void tcp_conn_touch(struct tcp_conn *c)
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

	tls_free(c->tls);
	free(c->in);
	free(c);
}

/* So that the client knows the end from a connection that was cut. Where others wait to be written
 * it is cut. */
static void conn_say_end(struct tcp_conn *c)
{
	size_t len;

	tls_end(c->tls);
	const uint8_t *data = tls_pending(c->tls, &len);
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
	if (len > 0) {
		(void)uv_try_write((uv_stream_t *)&c->handle, &buf, 1);
	}
}

void tcp_conn_close(struct tcp_conn *c)
{
	if (c->closing) {
		return;
	}
	if (c->tls != NULL) {
		conn_say_end(c);
	}
	order_remove(&c->worker->tcp, c);
	tcp_leave(c);
	tcp_conn_refuse(c);
}

void tcp_conn_refuse(struct tcp_conn *c)
{
	c->closing = true;
	uv_close((uv_handle_t *)&c->handle, on_conn_closed);
}

static size_t conn_queued(const struct tcp_conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->handle);
}

static void on_written(uv_write_t *req, int status)
{
	struct tcp_conn *c = conn_of((uv_handle_t *)req->handle);

	free(container_of(req, struct tcp_write, req));
	if (c->closing) {
		return;
	}
	if (status != 0) {
		tcp_conn_close(c);
		return;
	}
	tcp_conn_touch(c);
	tcp_conn_resume(c);
}

static void conn_write_later(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	struct tcp_write *later = malloc(sizeof(*later) + len);

	if (later == NULL) {
		tcp_conn_close(c);
		return;
	}
	memcpy(later->data, data, len);
	uv_buf_t buf = uv_buf_init((char *)later->data, (unsigned)len);
	if (uv_write(&later->req, (uv_stream_t *)&c->handle, &buf, 1, on_written) != 0) {
		free(later);
		tcp_conn_close(c);
	}
}

/* True: all of it is with the kernel. */
static bool conn_write_raw(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);

	if (c->closing || len == 0) {
		return false;
	}
	int n = uv_try_write((uv_stream_t *)&c->handle, &buf, 1);
	if (n < 0 && n != UV_EAGAIN) {
		tcp_conn_close(c);
		return false;
	}
	size_t done = n > 0 ? (size_t)n : 0;
	if (done < len) {
		conn_write_later(c, data + done, len - done);
	}
	return done == len;
}

/* What TLS has to send: answers, and what is its own. */
static bool conn_flush_tls(struct tcp_conn *c)
{
	size_t len;
	const uint8_t *data = tls_pending(c->tls, &len);
	bool written = conn_write_raw(c, data, len);

	tls_taken(c->tls);
	return written;
}

/* True: all of it is with the kernel. */
static bool conn_write(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	if (c->tls == NULL || c->closing || len == 0) {
		return conn_write_raw(c, data, len);
	}
	if (tls_write(c->tls, data, len) != ST_OK) {
		tcp_conn_close(c);
		return false;
	}
	return conn_flush_tls(c);
}

enum status tcp_conn_seal(struct tcp_conn *c, const uint8_t *data, size_t len, uint8_t **out,
			  size_t *out_len)
{
	enum status st = tls_write(c->tls, data, len);
	const uint8_t *sealed = st == ST_OK ? tls_pending(c->tls, out_len) : NULL;
	uint8_t *copy = sealed != NULL ? malloc(*out_len) : NULL;

	if (copy == NULL) {
		return st == ST_OK ? ST_ENOMEM : st;
	}
	memcpy(copy, sealed, *out_len);
	tls_taken(c->tls);
	*out = copy;
	return ST_OK;
}

static void conn_flush(struct tcp_conn *c)
{
	struct tcp *t = &c->worker->tcp;

	conn_write(c, t->out, t->out_len);
	t->out_len = 0;
}

/* How many questions may be answered now: with all of their answers the longest there are, the
 * queue's bound is passed by the last one only. */
static size_t conn_room(const struct tcp_conn *c)
{
	size_t queued = conn_queued(c) + c->worker->tcp.out_len;

	if (c->closing || queued >= TCP_QUEUE_MAX) {
		return 0;
	}
	size_t answers = (TCP_QUEUE_MAX - queued + TCP_ANSWER_MAX - 1) / TCP_ANSWER_MAX;
	size_t parked = TCP_IN_FLIGHT_MAX - c->in_flight;
	size_t most = answers < parked ? answers : parked;
	return most < TCP_BATCH ? most : TCP_BATCH;
}

/* Behind the answers that are written together. */
static void conn_append(struct tcp_conn *c, const uint8_t *message, size_t len)
{
	struct tcp *t = &c->worker->tcp;

	if (TCP_OUT - t->out_len < TCP_PREFIX + len) {
		conn_flush(c);
	}
	be16_put(t->out + t->out_len, (uint16_t)len);
	memcpy(t->out + t->out_len + TCP_PREFIX, message, len);
	t->out_len += TCP_PREFIX + len;
}

/* Where it cannot be begun the client is told: ANSWER_SEND. */
static void conn_transfer(struct tcp_conn *c, struct answer_item *item)
{
	enum status st = c->worker->stopping ? ST_EAGAIN : tcp_transfer_start(c, item);

	if (st != ST_OK) {
		item->out_len = answer_fault(&c->worker->env, item,
					     st == ST_ELIMIT ? "too many transfers" : "not now");
		item->result = ANSWER_SEND;
	}
}

static void conn_answered(struct tcp_conn *c, struct answer_item *item)
{
	struct worker *w = c->worker;

	if (item->result == ANSWER_PARK) {
		struct bytes question = {item->in, item->in_len};
		struct park_reply reply = {.transport = ANSWER_TCP,
					   .slot = c->slot,
					   .peer.in6 = c->peer,
					   .generation = w->tcp.slots[c->slot].generation};
		item->result = worker_park(w, &reply, &question, &item->missing, item->out,
					   TCP_MESSAGE_MAX, &item->out_len);
		c->in_flight += item->result == ANSWER_PARK;
	}
	if (item->result == ANSWER_TRANSFER) {
		conn_transfer(c, item);
	}
	if (item->result == ANSWER_SEND) {
		if (item->refused != NULL) {
			tcp_transfer_refused(c, item);
		}
		conn_append(c, item->out, item->out_len);
	} else if (item->result == ANSWER_DROP) {
		/* Not a question, so not a client. */
		conn_flush(c);
		tcp_conn_close(c);
	}
}

/* The whole messages at the front of data, at most max; *used: their octets. */
static size_t messages_split(const struct tcp_conn *c, struct bytes data, size_t max,
			     struct answer_item *items, size_t *used)
{
	const struct tcp *t = &c->worker->tcp;
	const struct sockaddr *peer = (const struct sockaddr *)&c->peer;
	size_t count = 0;
	size_t at = 0;

	while (count < max && data.len - at >= TCP_PREFIX) {
		size_t size = be16_get(data.data + at);
		if (data.len - at - TCP_PREFIX < size) {
			break;
		}
		items[count].in = data.data + at + TCP_PREFIX;
		items[count].in_len = size;
		items[count].out = t->rooms + count * TCP_ROOM;
		items[count].peer = peer;
		items[count].tls = c->tls != NULL;
		at += TCP_PREFIX + size;
		count++;
	}
	*used = at;
	return count;
}

/* Takes whole messages off data while there is room; how many octets that were. */
static size_t conn_take(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	struct worker *w = c->worker;
	struct answer_item items[TCP_BATCH];
	size_t taken = 0;
	size_t used;
	size_t count;

	worker_batch_begin(w);
	while ((count = messages_split(c, (struct bytes){data + taken, len - taken}, conn_room(c),
				       items, &used)) > 0) {
		taken += used;
		count_add(&w->counts.tcp_queries, count);
		answer_batch(&w->env, ANSWER_TCP, items, count, TCP_MESSAGE_MAX);
		for (size_t i = 0; i < count && !c->closing; i++) {
			conn_answered(c, &items[i]);
		}
	}
	worker_batch_end(w);
	if (taken > 0 && !c->closing) {
		tcp_conn_touch(c);
	}
	conn_flush(c);
	return taken;
}

static void conn_set_reading(struct tcp_conn *c, bool reading);

void tcp_conn_update(struct tcp_conn *c)
{
	bool over = c->ended || c->worker->stopping;

	if (c->closing) {
		return;
	}
	if (over && c->in_flight == 0 && c->transfers == 0 && conn_queued(c) == 0) {
		tcp_conn_close(c);
		return;
	}
	conn_set_reading(c, !over && conn_room(c) > 0);
}

/* What was kept may be taken now. */
void tcp_conn_resume(struct tcp_conn *c)
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
	tcp_conn_update(c);
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
			tcp_conn_update(c);
			return;
		}
	}
	if (conn_keep(c, data + used, len - used) != ST_OK) {
		tcp_conn_close(c);
	} else if (used > 0) {
		tcp_conn_update(c);
	} else {
		tcp_conn_resume(c);
	}
}

/* The client says no more: what is owed to it still goes. */
static void conn_end(struct tcp_conn *c)
{
	c->ended = true;
	if (c->reading) {
		c->reading = false;
		uv_read_stop((uv_stream_t *)&c->handle);
	}
	tcp_conn_update(c);
}

static void conn_received_tls(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	uint8_t *plain = c->worker->tcp.plain;
	enum status st = tls_feed(c->tls, data, len);
	size_t said = 1;

	while (st == ST_OK && said > 0 && !c->closing) {
		st = tls_read(c->tls, plain, TCP_READ, &said);
		if (st == ST_OK && said > 0) {
			conn_received(c, plain, said);
		}
	}
	if (c->closing) {
		return;
	}
	/* An alert says why it ends. */
	conn_flush_tls(c);
	if (c->closing) {
		return;
	}
	if (st == ST_EREFUSED) {
		conn_end(c);
	} else if (st != ST_OK) {
		tcp_conn_close(c);
	} else {
		tcp_conn_update(c);
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

	if (n > 0 && c->tls != NULL) {
		conn_received_tls(c, (const uint8_t *)buf->base, (size_t)n);
	} else if (n > 0) {
		conn_received(c, (const uint8_t *)buf->base, (size_t)n);
	} else if (n == UV_EOF) {
		conn_end(c);
	} else if (n < 0) {
		tcp_conn_close(c);
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
		tcp_conn_close(c);
	}
}

void tcp_conn_start(struct tcp_conn *c)
{
	c->active_ms = clock_mono_ms();
	order_append(&c->worker->tcp, c);
	tcp_conn_update(c);
}

void tcp_conn_reply(struct tcp_conn *c, const uint8_t *data, size_t len)
{
	c->in_flight--;
	if (conn_write(c, data, len)) {
		tcp_conn_touch(c);
	}
	if (!c->closing) {
		tcp_conn_resume(c);
	}
}
