/* Workers over real sockets on loopback, for tests that answer with something of their own. */
#pragma once

#include "nsd-core/base/clock.h"
#include "nsd-core/park.h"
#include "nsd-core/tcp.h"
#include "nsd-core/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS	 20000 /* far beyond what anything here takes */
#define IDLE_MS	 5000
#define MONO_MS	 1000000
#define PER_ADDR 8

/* In place of the server's own: by answer_query(), which is each test's. */
void answer_batch(struct answer_env *env, enum answer_transport transport,
		  struct answer_item *items, size_t count, size_t room)
{
	assert_true(count > 0 && count <= ANSWER_BATCH_MAX);
	for (size_t i = 0; i < count; i++) {
		struct answer_item *item = &items[i];
		item->refused = NULL;
		item->result = answer_query(env, transport, ANSWER_FIRST, item->in, item->in_len,
					    item->out, room, &item->out_len, &item->missing);
	}
}

/* Nothing in these tests is a transfer. */
size_t answer_fault(struct answer_env *env, struct answer_item *item, const char *why)
{
	(void)env;
	(void)item;
	fail_msg("%s", why);
	return 0;
}

struct fixture {
	struct conf_server conf;
	struct conf_address address;
	struct workers *workers;
	int udp;
	int tcp[PER_ADDR + 2];
};

static inline void free_port(struct conf_address *a)
{
	socklen_t len = sizeof(a->addr);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(conf_address_parse("127.0.0.1", 1, a), ST_OK);
	((struct sockaddr_in *)&a->addr)->sin_port = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&a->addr, a->len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a->addr, &len), 0);
	close(fd);
}

static inline int connected(const struct fixture *f, int type)
{
	struct timeval wait = {WAIT_MS / 1000, 0};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(connect(fd, (const struct sockaddr *)&f->address.addr, f->address.len), 0);
	return fd;
}

static inline int worker_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct diags d;

	assert_non_null(f);
	clock_fake(1000, MONO_MS);
	f->conf = (struct conf_server){.listen = &f->address,
				       .listen_count = 1,
				       .workers = 1,
				       .tcp_idle_ms = IDLE_MS,
				       .tcp_clients = 100,
				       .tcp_clients_per_address = PER_ADDR,
				       .udp_size = 1232,
				       .udp_buffer_bytes = 1 << 20};
	/* A port that was free a moment ago, or for UDP only, may be somebody's now. */
	enum status st = ST_EBUSY;
	for (unsigned tries = 0; st == ST_EBUSY && tries < 20; tries++) {
		free_port(&f->address);
		diags_init(&d, DIAGS_LIMIT);
		st = workers_bind(&f->conf, &f->workers, &d);
		diags_fini(&d);
	}
	assert_int_equal(st, ST_OK);
	/* Any signer but none: it is only handed on to signer_want(). */
	assert_int_equal(workers_start(f->workers, NULL, (struct signer *)f), ST_OK);
	f->udp = connected(f, SOCK_DGRAM);
	for (size_t i = 0; i < sizeof(f->tcp) / sizeof(f->tcp[0]); i++) {
		f->tcp[i] = -1;
	}
	*state = f;
	return 0;
}

static inline int worker_tear_down(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(f->tcp) / sizeof(f->tcp[0]); i++) {
		if (f->tcp[i] >= 0) {
			close(f->tcp[i]);
		}
	}
	close(f->udp);
	clock_fake(-1, -1);
	workers_free(f->workers);
	free(f);
	return 0;
}

static inline struct worker_stats stats(const struct fixture *f)
{
	struct worker_stats s;

	workers_stats(f->workers, &s);
	return s;
}

/* Until what is counted is there; the counters are the only way to see into another thread. */
#define WAIT_FOR(condition)                                                                        \
	do {                                                                                       \
		for (unsigned tries_ = 0; !(condition); tries_++) {                                \
			assert_true(tries_ < WAIT_MS);                                             \
			poll(NULL, 0, 1);                                                          \
		}                                                                                  \
	} while (0)

static inline void udp_send(const struct fixture *f, const char *text)
{
	assert_int_equal(send(f->udp, text, strlen(text), 0), strlen(text));
}

static inline void udp_expect(const struct fixture *f, const char *text)
{
	char buf[2048] = "";

	ssize_t n = recv(f->udp, buf, sizeof(buf) - 1, 0);
	assert_true(n >= 0);
	assert_string_equal(buf, text);
}

static inline bool nothing_comes(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 50) == 0;
}

static inline void tcp_send(int fd, const char *text)
{
	uint8_t message[64];
	size_t len = strlen(text);

	be16_put(message, (uint16_t)len);
	memcpy(message + 2, text, len);
	assert_int_equal(send(fd, message, len + 2, MSG_NOSIGNAL), len + 2);
}

/* One message; its length. */
static inline size_t tcp_receive(int fd, char *buf)
{
	uint8_t prefix[2];

	assert_int_equal(recv(fd, prefix, 2, MSG_WAITALL), 2);
	size_t len = be16_get(prefix);
	assert_int_equal(recv(fd, buf, len, MSG_WAITALL), len);
	buf[len] = '\0';
	return len;
}

static inline void tcp_expect(int fd, const char *text)
{
	static char buf[65536];

	tcp_receive(fd, buf);
	assert_string_equal(buf, text);
}

/* The other side has closed. */
static inline void expect_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}
