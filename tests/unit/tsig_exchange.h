/* Questions and answers that are signed, for the tests of TSIG. */
#pragma once

#include "tsig_fixture.h"

#define NOW  TSIG_NOW
#define ROOM 4096

static const uint8_t zone[] = "\7example";

struct message {
	uint8_t octets[ROOM];
	size_t len;
	size_t at; /* of its TSIG */
};

static inline struct bytes bytes_of(const struct message *m)
{
	return (struct bytes){m->octets, m->len};
}

/* A question signed with the key at 'now'; s awaits the answer. */
static inline void ask(const struct tsig_key *key, int64_t now, struct tsig_session *s,
		       struct message *m)
{
	const struct test_question q = {.name = zone, .type = RR_SOA, .edns = true};
	size_t before = question_make(&q, m->octets, ROOM);
	tsig_session_init(s, key);
	assert_int_equal(tsig_sign(s, m->octets, before, now, &m->len), ST_OK);
	assert_int_equal(m->len, before + tsig_len(key, TSIG_NOERROR));
	m->at = tsig_place(m->octets, m->len);
	assert_int_equal(m->at, before);
}

/* An answer, the n-th of its messages, not signed yet. */
static inline size_t answer_make(unsigned n, uint8_t *out)
{
	const struct test_question q = {
		.name = zone, .type = RR_SOA, .has_serial = true, .serial = n};
	size_t len = question_make(&q, out, ROOM);
	out[2] |= 0x80;
	return len;
}

static inline void answer(struct tsig_session *s, unsigned n, int64_t now, struct message *m)
{
	size_t before = answer_make(n, m->octets);
	size_t want = before + tsig_len(s->key, s->error);
	assert_int_equal(tsig_sign(s, m->octets, before, now, &m->len), ST_OK);
	assert_int_equal(m->len, want);
	m->at = tsig_place(m->octets, m->len);
	assert_int_equal(m->at, before);
}

/* Asked and admitted. */
static inline void exchange(const struct tsig_keys *keys, const struct tsig_key *key,
			    struct tsig_session *client, struct tsig_session *server)
{
	struct message m;
	ask(key, NOW, client, &m);
	assert_int_equal(tsig_check_request(keys, bytes_of(&m), m.at, NOW, server), ST_OK);
	assert_ptr_equal(server->key, key);
	assert_int_equal(server->error, TSIG_NOERROR);
}

static inline int set_up(void **state)
{
	*state = test_keys();
	return 0;
}

static inline int tear_down(void **state)
{
	tsig_keys_free(*state);
	return 0;
}
