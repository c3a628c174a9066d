/* What tests of the control socket share: a server's zones behind it, and clients. */
#pragma once

#include "nsd-core/control.h"
#include "nsd-core/control_reply.h"
#include "zonemgr_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

struct control_fixture {
	struct zonemgr_fixture *zones;
	struct control *control;
	bool stopped;
};

static inline void on_stop(void *ctx)
{
	((struct control_fixture *)ctx)->stopped = true;
}

static inline enum status start(struct control_fixture *fx, struct control **out, struct diags *d)
{
	return control_start(&fx->zones->loop, &fx->zones->conf, fx->zones->mgr, NULL, on_stop, fx,
			     out, d);
}

static inline int setup(void **state)
{
	struct control_fixture *fx = calloc(1, sizeof(*fx));
	void *zones = NULL;
	assert_non_null(fx);
	fixture_setup(&zones);
	fx->zones = zones;
	size_t z = fixture_add(fx->zones, "signed.test", POLICY_ONLINE);
	size_t plain = fixture_add(fx->zones, "plain.test", POLICY_NONE);
	/* conf.h: sorted by name. */
	struct conf_zone first = fx->zones->zones[plain];
	fx->zones->zones[plain] = fx->zones->zones[z];
	fx->zones->zones[z] = first;
	fixture_write(first.file, "$TTL 300\n@ SOA ns host 1 3600 600 86400 300\n@ NS ns\nns A "
				  "192.0.2.1\nwww A 192.0.2.80\n");
	fixture_write(fx->zones->zones[1].file,
		      "$TTL 300\n@ SOA ns host 1 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\n");
	fixture_start(fx->zones);
	fixture_complete(fx->zones, 1);
	assert_int_equal(start(fx, &fx->control, NULL), ST_OK);
	*state = fx;
	return 0;
}

static inline int teardown(void **state)
{
	struct control_fixture *fx = *state;
	void *zones = fx->zones;
	control_stop(fx->control);
	fixture_teardown(&zones);
	free(fx);
	return 0;
}

static inline int client(const struct control_fixture *fx)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", fx->zones->control);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* What a client has read. */
struct reading {
	int fd;
	char *text;
	size_t len, room;
	bool ended;
};

static inline void read_some(struct reading *r)
{
	if (r->room - r->len < 65536) {
		r->room += 1 << 20;
		r->text = realloc(r->text, r->room);
		assert_non_null(r->text);
	}
	ssize_t n = recv(r->fd, r->text + r->len, r->room - r->len - 1, 0);
	if (n > 0) {
		r->len += (size_t)n;
	} else if (n == 0 || errno != EAGAIN) {
		r->ended = true;
	}
	r->text[r->len] = '\0';
}

/* Up to the end of a reply (a line that is no chunk), or the end of the connection. */
static inline void read_reply(struct control_fixture *fx, struct reading *r)
{
	uint64_t end = uv_hrtime() + FIXTURE_WAITS * UINT64_C(1000000);
	for (;;) {
		const char *line;
		read_some(r);
		for (line = r->text; line != NULL && strchr(line, '\n') != NULL;
		     line = strchr(line, '\n') + 1) {
			if (strncmp(line, "{\"version\":1,\"chunk\"", 20) != 0) {
				return;
			}
		}
		if (r->ended) {
			return;
		}
		assert_true(uv_hrtime() < end);
		uv_run(&fx->zones->loop, UV_RUN_NOWAIT);
	}
}

static inline json_t *ask_on(struct control_fixture *fx, int fd, const char *request)
{
	struct reading r = {.fd = fd};
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	read_reply(fx, &r);
	json_t *reply = json_loads(r.text, JSON_DISABLE_EOF_CHECK, NULL);
	free(r.text);
	return reply;
}

static inline json_t *ask(struct control_fixture *fx, const char *request)
{
	int fd = client(fx);
	json_t *reply = ask_on(fx, fd, request);
	assert_non_null(reply);
	close(fd);
	return reply;
}

static inline const char *text_of(const json_t *reply, const char *key)
{
	const char *text = json_string_value(json_object_get(reply, key));
	return text != NULL ? text : "";
}
