/* What replies of a parent's servers mean. */
#include "nsd-core/parent.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ID 0x1234

static const uint8_t zone[] = "\7example\4test";
static const uint8_t upper[] = "\7EXAMPLE\4test";
static const uint8_t other[] = "\5other\4test";

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

static const struct reply_case cases[] = {
	{"NODATA", ID, 0x8400, zone, 43, NULL, 0, 0, PARENT_ABSENT},
	{"NXDOMAIN", ID, 0x8403, zone, 43, NULL, 0, 0, PARENT_ABSENT},
	{"DS", ID, 0x8400, zone, 43, zone, 43, 0, PARENT_PRESENT},
	{"DS, other case", ID, 0x8400, upper, 43, upper, 43, 0, PARENT_PRESENT},
	{"DS of another name", ID, 0x8400, zone, 43, other, 43, 0, PARENT_ABSENT},
	{"another type", ID, 0x8400, zone, 43, zone, 46, 0, PARENT_ABSENT},
	{"referral", ID, 0x8000, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"DS from a cache", ID, 0x8000, zone, 43, zone, 43, 0, PARENT_UNKNOWN},
	{"REFUSED", ID, 0x8405, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"SERVFAIL", ID, 0x8402, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"truncated", ID, 0x8600, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"a query", ID, 0x0400, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"another id", ID + 1, 0x8400, zone, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"another question", ID, 0x8400, other, 43, NULL, 0, 0, PARENT_UNKNOWN},
	{"another question's type", ID, 0x8400, zone, 1, NULL, 0, 0, PARENT_UNKNOWN},
	{"cut short", ID, 0x8400, zone, 43, zone, 46, 3, PARENT_UNKNOWN},
	{"cut short in the DS", ID, 0x8400, zone, 43, zone, 43, 3, PARENT_UNKNOWN},
};

static size_t make_reply(const struct reply_case *c, uint8_t *out, size_t room)
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

static void test_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t buf[512];
		size_t len = make_reply(&cases[i], buf, sizeof(buf));
		/* Exactly as long as it is, for the sanitizer. */
		uint8_t *exact = malloc(len);
		assert_non_null(exact);
		memcpy(exact, buf, len);
		if (parent_read_reply(zone, ID, exact, len) != cases[i].expect) {
			fail_msg("%s", cases[i].name);
		}
		free(exact);
	}
	for (size_t len = 0; len < 12; len++) {
		uint8_t buf[12] = {ID >> 8, ID & 0xff, 0x84, 0, 0, 1};
		assert_int_equal(parent_read_reply(zone, ID, buf, len), PARENT_UNKNOWN);
	}
}

/* A server of one connection after the other, each answered by the next case. */
struct server {
	int fd;
	struct conf_address address;
	const struct reply_case *answers;
	size_t count;
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	for (size_t i = 0; i < s->count; i++) {
		uint8_t query[512];
		uint8_t reply[512];
		size_t have = 0;
		int fd = accept(s->fd, NULL, NULL);
		while (fd >= 0 && have < 2 + 12 + sizeof(zone) + 4) {
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
		if (write(fd, reply, 1) == 1) {
			ssize_t ignored = write(fd, reply + 1, len + 1);
			(void)ignored;
		}
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const struct reply_case *answers, size_t count)
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

static void server_stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
}

/* One without a DS proves nothing of the others; one with a DS is enough. */
static void test_all_servers_are_asked(void **state)
{
	static const struct reply_case absent[] = {{"", 0, 0x8400, zone, 43, NULL, 0, 0, 0},
						   {"", 0, 0x8400, zone, 43, NULL, 0, 0, 0},
						   {"", 0, 0x8400, zone, 43, NULL, 0, 0, 0}};
	static const struct reply_case mixed[] = {{"", 0, 0x8400, zone, 43, NULL, 0, 0, 0},
						  {"", 0, 0x8400, zone, 43, zone, 43, 0, 0},
						  {"", 0, 0x8405, zone, 43, NULL, 0, 0, 0}};
	struct server a;
	struct server b;
	(void)state;
	server_start(&a, absent, 3);
	server_start(&b, mixed, 3);
	const struct conf_address both[2] = {a.address, b.address};
	assert_int_equal(parent_ask(zone, both, 2, NULL), PARENT_ABSENT);
	assert_int_equal(parent_ask(zone, both, 2, NULL), PARENT_PRESENT);
	assert_int_equal(parent_ask(zone, both, 2, NULL), PARENT_UNKNOWN);
	server_stop(&a);
	server_stop(&b);
	/* Nobody listens there now. */
	assert_int_equal(parent_ask(zone, both, 1, NULL), PARENT_UNKNOWN);
	assert_int_equal(parent_ask(zone, both, 0, NULL), PARENT_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_all_servers_are_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
