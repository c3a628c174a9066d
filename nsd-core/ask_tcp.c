#include "nsd-core/ask_tcp.h"

#include <stdlib.h>

/* Lives until its handle is closed; 'ask' is NULL from when it is over. */
struct ask_tcp {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	struct ask *ask;
	ask_tcp_done done;
	uint8_t out[2 + ASK_MESSAGE_MAX];
	size_t used;
	uint8_t in[2 + UINT16_MAX];
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void ask_tcp_drop(struct ask *ask)
{
	struct ask_tcp *t = ask->tcp;

	if (t != NULL) {
		ask->tcp = NULL;
		t->ask = NULL;
		uv_close((uv_handle_t *)&t->tcp, on_closed);
	}
}

static void finish(struct ask_tcp *t, struct bytes message, const char *why)
{
	struct ask *ask = t->ask;

	if (ask != NULL) {
		ask_tcp_drop(ask);
		t->done(ask, message, why);
	}
}

static void fail(struct ask_tcp *t, const char *why)
{
	finish(t, (struct bytes){NULL, 0}, why);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct ask_tcp *t = handle->data;

	(void)suggested;
	*buf = uv_buf_init((char *)t->in + t->used, (unsigned)(sizeof(t->in) - t->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct ask_tcp *t = stream->data;

	(void)buf;
	if (n < 0) {
		fail(t, "it ended the connection");
		return;
	}
	t->used += (size_t)n;
	if (t->used >= 2 && t->used - 2 >= be16_get(t->in)) {
		finish(t, (struct bytes){t->in + 2, be16_get(t->in)}, NULL);
	}
}

static void on_written(uv_write_t *req, int err)
{
	if (err < 0) {
		fail(req->data, "it ended the connection");
	}
}

static void on_connected(uv_connect_t *req, int err)
{
	struct ask_tcp *t = req->data;

	if (t->ask == NULL) {
		return;
	}
	size_t len = err < 0 ? 0 : ask_write(t->ask, t->out + 2);
	if (len == 0) {
		fail(t, "it takes no connection");
		return;
	}
	be16_put(t->out, (uint16_t)len);
	uv_buf_t buf = uv_buf_init((char *)t->out, (unsigned)(2 + len));
	if (uv_write(&t->write, (uv_stream_t *)&t->tcp, &buf, 1, on_written) != 0 ||
	    uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read) != 0) {
		fail(t, "it takes no connection");
	}
}

bool ask_tcp_start(uv_loop_t *loop, const struct sockaddr_storage *from, struct ask *ask,
		   ask_tcp_done done)
{
	struct ask_tcp *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		return false;
	}
	uv_tcp_init(loop, &t->tcp);
	t->tcp.data = t;
	t->connect.data = t;
	t->write.data = t;
	t->ask = ask;
	t->done = done;
	ask->tcp = t;
	if (uv_tcp_bind(&t->tcp, (const struct sockaddr *)from, 0) != 0 ||
	    uv_tcp_connect(&t->connect, &t->tcp,
			   (const struct sockaddr *)&ask->question.peer->at.addr,
			   on_connected) != 0) {
		ask_tcp_drop(ask);
		return false;
	}
	return true;
}
