/* The socket, its connections, lines in and out. */
#include "nsd-core/base/clock.h"
#include "nsd-core/control_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 16

uint64_t control_queries(const struct control *c)
{
	struct worker_stats stats;

	if (c->workers == NULL) {
		return 0;
	}
	workers_stats(c->workers, &stats);
	return stats.udp_queries + stats.tcp_queries;
}

static void control_unref(struct control *c)
{
	if (--c->refs == 0) {
		builder_free(c->dumpers);
		builder_free(c->probers);
		free(c);
	}
}

static void connection_unref(struct connection *c)
{
	if (--c->refs == 0) {
		control_unref(c->control);
		free(c);
	}
}

static void on_closed(uv_handle_t *handle)
{
	connection_unref(handle->data);
}

static void connection_close(struct connection *c)
{
	struct control *control = c->control;

	if (c->closing) {
		return;
	}
	c->closing = true;
	if (c->prev != NULL) {
		c->prev->next = c->next;
	} else {
		control->clients = c->next;
	}
	if (c->next != NULL) {
		c->next->prev = c->prev;
	}
	control->client_count--;
	uv_close((uv_handle_t *)&c->idle, on_closed);
	uv_close((uv_handle_t *)&c->pipe, on_closed);
}

static void on_idle(uv_timer_t *timer)
{
	connection_close(timer->data);
}

static void idle_restart(struct connection *c)
{
	uv_timer_start(&c->idle, on_idle, CONTROL_IDLE_MS, 0);
}

/* Writing. */

struct write {
	uv_write_t req;
	struct connection *conn;
	char *line;
	connection_written done;
	void *ctx;
};

static void connection_next(struct connection *c);

/* Something is over: goes on with what the client sent ahead, or waits for more. */
static void connection_settle(struct connection *c)
{
	if (c->busy || c->closing || c->writes > 0) {
		return;
	}
	connection_next(c);
	if (c->busy || c->closing) {
		return;
	}
	if (c->ended) {
		connection_close(c);
	} else {
		idle_restart(c);
	}
}

static void on_written(uv_write_t *req, int status)
{
	struct write *w = req->data;
	struct connection *c = w->conn;

	c->writes--;
	if (status != 0) {
		connection_close(c);
	} else if (!c->closing) {
		/* While a command is at work nobody waits for the client. */
		uv_timer_stop(&c->idle);
	}
	if (w->done != NULL) {
		w->done(w->ctx, !c->closing);
	}
	connection_settle(c);
	free(w->line);
	free(w);
	connection_unref(c);
}

void connection_write(struct connection *c, char *line, size_t len, connection_written done,
		      void *ctx)
{
	struct write *w = line != NULL && !c->closing ? calloc(1, sizeof(*w)) : NULL;
	uv_buf_t buf = uv_buf_init(line, (unsigned)len);

	if (w != NULL) {
		*w = (struct write){.conn = c, .line = line, .done = done, .ctx = ctx};
		w->req.data = w;
		idle_restart(c);
		if (uv_write(&w->req, (uv_stream_t *)&c->pipe, &buf, 1, on_written) == 0) {
			c->refs++;
			c->writes++;
			return;
		}
	}
	free(w);
	free(line);
	connection_close(c);
	if (done != NULL) {
		done(ctx, false);
	}
}

/* Requests. */

void request_finish(struct request *r)
{
	struct connection *c = r->conn;
	size_t len = 0;
	char *line = reply_to_line(&r->reply, &len);

	c->busy = false;
	connection_write(c, line, len, NULL, NULL);
	reply_fini(&r->reply);
	json_decref(r->root);
	json_decref(r->failures);
	free(r);
	connection_unref(c);
}

/* {"version":1,"command":["zone","reload","example.com"],"options":{"force":true}} */
static void request_parse(struct request *r, const char *line, size_t len)
{
	const char *words[COMMAND_WORDS_MAX];
	json_error_t error;
	int version = 0;
	int force = 0;
	int now = 0;
	int seconds = 0;
	int days = 0;
	const json_t *serial = NULL;

	r->root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (r->root == NULL) {
		reply_fail(&r->reply, EXIT_USAGE, "not JSON: %s", error.text);
		return;
	}
	json_t *command = json_object_get(r->root, "command");
	if (json_unpack_ex(r->root, &error, 0, "{s:i, s:o, s?{s?b, s?b, s?s, s?i, s?i, s?o}}",
			   "version", &version, "command", &command, "options", "force", &force,
			   "now", &now, "form", &r->cmd.form, "seconds", &seconds, "days", &days,
			   "serial", &serial) != 0) {
		reply_fail(&r->reply, EXIT_USAGE, "not a request: %s", error.text);
		return;
	}
	if (version != CONTROL_VERSION) {
		reply_fail(&r->reply, EXIT_USAGE, "version %d of the protocol is not spoken here",
			   version);
		return;
	}
	size_t count = json_array_size(command);
	if (count > COMMAND_WORDS_MAX) {
		reply_fail(&r->reply, EXIT_USAGE, "too many words");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		words[i] = json_string_value(json_array_get(command, i));
		if (words[i] == NULL) {
			reply_fail(&r->reply, EXIT_USAGE, "a command is a list of strings");
			return;
		}
	}
	if (command_parse(words, count, &r->cmd, &r->reply)) {
		r->cmd.force = force != 0;
		r->cmd.now = now != 0;
		r->cmd.seconds = seconds < 0 ? UINT32_MAX : (unsigned)seconds;
		r->cmd.has_serial = serial != NULL;
		r->cmd.serial = json_is_integer(serial) ? json_integer_value(serial) : -1;
		r->cmd.days = days < 0 ? UINT32_MAX : (unsigned)days;
		if (command_check_options(&r->cmd, &r->reply) && command_is_local(&r->cmd)) {
			reply_fail(&r->reply, EXIT_USAGE, "that is for signetctl to do");
		}
	}
}

static void request_start(struct connection *c, const char *line, size_t len)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		connection_close(c);
		return;
	}
	c->busy = true;
	c->refs++;
	uv_timer_stop(&c->idle);
	r->conn = c;
	reply_init(&r->reply);
	request_parse(r, line, len);
	if (r->reply.exit != EXIT_DONE) {
		request_finish(r);
		return;
	}
	command_run(r);
}

/* Starts the next request where one is complete, and the last answer is taken: who reads nothing
 * is owed one answer, not one for each request. */
static void connection_next(struct connection *c)
{
	char *end = memchr(c->in, '\n', c->used);

	if (c->busy || c->closing || c->writes > 0 || end == NULL) {
		return;
	}
	size_t len = (size_t)(end - c->in);
	char *line = malloc(len + 1);
	if (line == NULL) {
		connection_close(c);
		return;
	}
	memcpy(line, c->in, len);
	c->used -= len + 1;
	memmove(c->in, end + 1, c->used);
	request_start(c, line, len);
	free(line);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct connection *c = handle->data;

	(void)suggested;
	*buf = uv_buf_init(c->in + c->used, (unsigned)(sizeof(c->in) - c->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *c = stream->data;

	(void)buf;
	if (n == UV_EOF) {
		/* It may still read. */
		c->ended = true;
		uv_read_stop(stream);
		connection_settle(c);
		return;
	}
	/* UV_ENOBUFS: a line, or what is sent ahead of answers, is longer than there is room. */
	if (n < 0) {
		connection_close(c);
		return;
	}
	c->used += (size_t)n;
	connection_next(c);
}

static void connection_accept(struct control *control)
{
	struct connection *c = calloc(1, sizeof(*c));

	/* libuv asks for no more connections until this one is taken: on_rate() does so. */
	control->accept_late = c == NULL;
	if (c == NULL) {
		return;
	}
	/* Neither can fail. */
	uv_pipe_init(control->loop, &c->pipe, 0);
	uv_timer_init(control->loop, &c->idle);
	c->pipe.data = c;
	c->idle.data = c;
	c->control = control;
	c->refs = 2;
	control->refs++;
	c->next = control->clients;
	if (c->next != NULL) {
		c->next->prev = c;
	}
	control->clients = c;
	control->client_count++;
	if (uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)&c->pipe) != 0 ||
	    control->client_count > CONTROL_CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0) {
		connection_close(c);
		return;
	}
	idle_restart(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct control *c = listener->data;

	if (status == 0 && !c->stopping) {
		connection_accept(c);
	}
}

/* The socket. */

static bool somebody_answers(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		return false;
	}
	/* EAGAIN: its backlog is full, so there is somebody. */
	bool answers = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
		       errno == EAGAIN || errno == EINPROGRESS;
	close(fd);
	return answers;
}

static enum status make_folder(const char *path, struct diags *d)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path) {
		return ST_OK;
	}
	char *folder = strndup(path, (size_t)(slash - path));
	if (folder == NULL) {
		return ST_ENOMEM;
	}
	enum status st = ST_OK;
	if (mkdir(folder, 0755) != 0 && errno != EEXIST) {
		st = status_from_errno(errno);
		diags_error(d, "%s: the control socket's folder cannot be made: %s", folder,
			    strerror(errno));
	}
	free(folder);
	return st;
}

/* What stands there and answers to nobody was left by a server that died. */
static enum status clear_path(const struct sockaddr_un *addr, struct diags *d)
{
	struct stat sb;

	if (lstat(addr->sun_path, &sb) != 0) {
		return errno == ENOENT ? ST_OK : status_from_errno(errno);
	}
	if (!S_ISSOCK(sb.st_mode)) {
		diags_error(d, "%s: is there and is no socket", addr->sun_path);
		return ST_EEXIST;
	}
	if (somebody_answers(addr)) {
		diags_error(d, "%s: another server answers there", addr->sun_path);
		return ST_EEXIST;
	}
	return unlink(addr->sun_path) == 0 ? ST_OK : status_from_errno(errno);
}

static enum status bind_socket(struct control *c, const struct sockaddr_un *addr, int *out,
			       struct diags *d)
{
	struct stat sb;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	enum status st = ST_OK;

	/* On Linux the file gets the socket's mode: at no time may others connect. */
	if (fd < 0 || fchmod(fd, 0600) != 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) != 0 ||
	    chmod(addr->sun_path, 0660) != 0 || stat(addr->sun_path, &sb) != 0) {
		st = status_from_errno(errno);
		diags_error(d, "%s: the control socket cannot be made: %s", addr->sun_path,
			    strerror(errno));
		if (fd >= 0) {
			close(fd);
		}
		return st;
	}
	c->socket_device = sb.st_dev;
	c->socket_inode = sb.st_ino;
	*out = fd;
	return ST_OK;
}

static enum status open_socket(struct control *c, int *out, struct diags *d)
{
	const char *path = c->conf->server.control;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path)) {
		diags_error(d, "%s: longer than a socket's path may be", path);
		return ST_ESPACE;
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	enum status st = make_folder(path, d);
	if (st == ST_OK) {
		st = clear_path(&addr, d);
	}
	return st == ST_OK ? bind_socket(c, &addr, out, d) : st;
}

static void remove_socket(const struct control *c)
{
	const char *path = c->conf->server.control;
	struct stat sb;

	/* Another server may have taken the path meanwhile. */
	if (lstat(path, &sb) == 0 && sb.st_dev == c->socket_device &&
	    sb.st_ino == c->socket_inode) {
		unlink(path);
	}
}

static void on_rate(uv_timer_t *timer)
{
	struct control *c = timer->data;

	c->rates[0] = c->rates[1];
	c->rates[1].at_ms = clock_mono_ms();
	c->rates[1].queries = control_queries(c);
	if (c->accept_late) {
		connection_accept(c);
	}
}

static void on_rate_closed(uv_handle_t *handle)
{
	control_unref(handle->data);
}

/* The inbox tells nobody when it is closed, in this turn of the loop. The timer closes a turn of
 * the loop later, and with it goes the memory of all three. */
static void on_listener_closed(uv_handle_t *handle)
{
	struct control *c = handle->data;

	uv_close((uv_handle_t *)&c->rate, on_rate_closed);
}

enum status control_start(uv_loop_t *loop, const struct conf *conf, struct zonemgr *mgr,
			  struct workers *workers, void (*stop)(void *ctx), void *ctx,
			  struct control **out, struct diags *d)
{
	struct control *c = calloc(1, sizeof(*c));
	int fd = -1;

	if (c == NULL) {
		return ST_ENOMEM;
	}
	c->loop = loop;
	c->conf = conf;
	c->mgr = mgr;
	c->workers = workers;
	c->stop = stop;
	c->stop_ctx = ctx;
	c->started_ms = clock_mono_ms();
	c->started_s = clock_wall_s();
	c->rates[0].at_ms = c->started_ms;
	c->rates[1].at_ms = c->started_ms;
	enum status st = builder_start("dumper", CONTROL_DUMPS_MAX, &c->dumpers);
	if (st == ST_OK) {
		st = probers_start(c);
	}
	if (st == ST_OK) {
		st = open_socket(c, &fd, d);
	}
	if (st == ST_OK) {
		st = inbox_init(&c->inbox, loop);
	}
	if (st != ST_OK) {
		if (fd >= 0) {
			remove_socket(c);
			close(fd);
		}
		builder_stop(c->dumpers);
		builder_stop(c->probers);
		builder_free(c->dumpers);
		builder_free(c->probers);
		free(c);
		return st;
	}
	uv_pipe_init(loop, &c->listener, 0);
	uv_timer_init(loop, &c->rate);
	c->listener.data = c;
	c->rate.data = c;
	c->refs = 1;
	int err = uv_pipe_open(&c->listener, fd);
	if (err == 0) {
		err = uv_listen((uv_stream_t *)&c->listener, LISTEN_BACKLOG, on_connection);
	} else {
		close(fd);
	}
	if (err != 0) {
		diags_error(d, "%s: %s", conf->server.control, uv_strerror(err));
		control_stop(c);
		return status_from_errno(-err);
	}
	uv_timer_start(&c->rate, on_rate, CONTROL_RATE_MS, CONTROL_RATE_MS);
	*out = c;
	return ST_OK;
}

void control_stop(struct control *c)
{
	if (c == NULL || c->stopping) {
		return;
	}
	c->stopping = true;
	remove_socket(c);
	dumps_stop(c);
	probers_stop(c);
	for (struct connection *conn = c->clients; conn != NULL;) {
		struct connection *next = conn->next;
		connection_close(conn);
		conn = next;
	}
	inbox_close(&c->inbox);
	uv_timer_stop(&c->rate);
	uv_close((uv_handle_t *)&c->listener, on_listener_closed);
}
