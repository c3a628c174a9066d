/* A slab for parked questions, and questions for it. */
#pragma once

#include "nsd-core/park.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROOM 64

/* Identities only: nothing looks inside. */
static inline struct rrset *rrset_named(unsigned n)
{
	static uint8_t identities[4096];

	return (struct rrset *)(void *)&identities[n];
}

static inline const struct zone *zone_named(unsigned n)
{
	return (const struct zone *)(const void *)rrset_named(n);
}

static inline struct answer_missing missing(size_t count, const unsigned *which)
{
	struct answer_missing m = {.count = count};

	for (size_t i = 0; i < count; i++) {
		m.rrsets[i] = rrset_named(which[i]);
	}
	return m;
}

static inline struct answer_missing missing_one(unsigned which)
{
	return missing(1, &which);
}

static inline struct park_reply udp_from(uint16_t port)
{
	struct park_reply reply = {.transport = ANSWER_UDP, .peer_len = sizeof(reply.peer.in4)};

	reply.peer.in4.sin_family = AF_INET;
	reply.peer.in4.sin_port = htons(port);
	/* Each in a prefix of its own. */
	reply.peer.in4.sin_addr.s_addr = htonl(0x0a000001U + ((uint32_t)port << 8));
	return reply;
}

/* Asked again, it waits for the same. */
static inline enum status put_from(struct park *p, const struct park_reply *reply,
				   const struct bytes *question, const struct answer_missing *m,
				   int64_t now_ms)
{
	struct parked *none = (struct parked *)(void *)p;
	struct parked *q = none;
	enum status st = park_put(p, reply, question, m, now_ms, &q);

	if (st != ST_OK) {
		assert_ptr_equal(q, none);
	} else if (!m->later) {
		assert_int_equal(q->state, PARKED_ASKED);
		park_again(p, q, m, now_ms);
	}
	return st;
}

static inline enum status put(struct park *p, uint16_t port, const char *wire,
			      const struct answer_missing *m, int64_t now_ms)
{
	struct park_reply reply = udp_from(port);
	struct bytes question = {(const uint8_t *)wire, strlen(wire)};

	return put_from(p, &reply, &question, m, now_ms);
}

/* The next question that is ready must be this one. */
static inline struct parked *expect_next(struct park *p, const char *wire)
{
	struct parked *q = park_next(p);

	assert_non_null(q);
	assert_int_equal(q->len, strlen(wire));
	assert_memory_equal(q->wire, wire, q->len);
	return q;
}

static inline int park_set_up(void **state)
{
	struct park *p = malloc(sizeof(*p));

	assert_non_null(p);
	assert_int_equal(park_init(p, ROOM), ST_OK);
	/* The prefixes of these tests share no place. */
	p->budget.seed = 1;
	*state = p;
	return 0;
}

static inline int park_tear_down(void **state)
{
	park_fini(*state);
	free(*state);
	return 0;
}

static inline void expect_next_later(struct park *p, const char *wire, struct parked **out)
{
	struct parked *q = park_next_later(p);

	assert_non_null(q);
	assert_int_equal(q->len, strlen(wire));
	assert_memory_equal(q->wire, wire, q->len);
	*out = q;
}
