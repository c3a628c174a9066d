#include "nsd-core/tcp_conn.h"

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

	free(c->in);
	free(c);
}

void tcp_conn_close(struct tcp_conn *c)
{
	if (c->closing) {
		return;
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

static void conn_resume(struct tcp_conn *c);

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
	conn_resume(c);
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
static bool conn_write(struct tcp_conn *c, const uint8_t *data, size_t len)
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
		tcp_conn_close(c);
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
		tcp_conn_touch(c);
	}
	conn_flush(c);
	return used;
}

static void conn_set_reading(struct tcp_conn *c, bool reading);

void tcp_conn_update(struct tcp_conn *c)
{
	bool over = c->ended || c->worker->stopping;

	if (c->closing) {
		return;
	}
	if (over && c->in_flight == 0 && conn_queued(c) == 0) {
		tcp_conn_close(c);
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
		tcp_conn_update(c);
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
		conn_resume(c);
	}
}
