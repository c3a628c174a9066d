/* A parent's name server that says what a test wants. */
#pragma once

#include "nsd-core/parent.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct reply_case {
	const char *name;
	uint16_t id;
	uint16_t flags; /* QR 8000, AA 0400, TC 0200; rcode */
	const uint8_t *qname;
	uint16_t qtype;
	const uint8_t *owner; /* of an answer; NULL: none */
	uint16_t type;
	size_t cut; /* octets cut off at the end */
	enum parent_ds expect;
};

static inline size_t make_reply(const struct reply_case *c, uint8_t *out, size_t room)
{
	struct wwriter w;
	wwriter_init(&w, out, room);
	wwriter_u16(&w, c->id);
	wwriter_u16(&w, c->flags);
	wwriter_u16(&w, 1);
	wwriter_u16(&w, c->owner != NULL);
	wwriter_u32(&w, 0);
	wwriter_put(&w, c->qname, name_len(c->qname));
	wwriter_u16(&w, c->qtype);
	wwriter_u16(&w, 1);
	if (c->owner != NULL) {
		wwriter_put(&w, c->owner, name_len(c->owner));
		wwriter_u16(&w, c->type);
		wwriter_u16(&w, 1);
		wwriter_u32(&w, 300);
		wwriter_u16(&w, 4);
		wwriter_u32(&w, 0);
	}
	assert_int_equal(w.err, ST_OK);
	return wwriter_len(&w) - c->cut;
}

/* A server of one connection after the other, each answered by the next case. */
struct server {
	int fd;
	struct conf_address address;
	const struct reply_case *answers;
	size_t count;
	_Atomic(unsigned) answered;
	pthread_t thread;
};

static inline void *serve(void *arg)
{
	struct server *s = arg;
	for (size_t i = 0; i < s->count; i++) {
		uint8_t query[512];
		uint8_t reply[512];
		size_t have = 0;
		int fd = accept(s->fd, NULL, NULL);
		while (fd >= 0 && have < 2 + 12 + name_len(s->answers[i].qname) + 4) {
			ssize_t n = read(fd, query + have, sizeof(query) - have);
			if (n <= 0) {
				break;
			}
			have += (size_t)n;
		}
		struct reply_case c = s->answers[i];
		c.id = be16_get(query + 2);
		size_t len = make_reply(&c, reply + 2, sizeof(reply) - 2);
		be16_put(reply, (uint16_t)len);
		/* In two pieces, as a network may. */
		if (send(fd, reply, 1, MSG_NOSIGNAL) == 1) {
			send(fd, reply + 1, len + 1, MSG_NOSIGNAL);
		}
		close(fd);
		atomic_fetch_add(&s->answered, 1);
	}
	return NULL;
}

static inline void server_start(struct server *s, const struct reply_case *answers, size_t count)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&s->address.addr;
	*s = (struct server){.answers = answers, .count = count};
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->address.len = sizeof(*in);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)in, sizeof(*in)), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)in, &s->address.len), 0);
	assert_int_equal(listen(s->fd, 4), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void server_stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
}
