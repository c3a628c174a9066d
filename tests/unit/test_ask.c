/* Questions to other servers: tries, truncation, signatures, and what answers say. */
#include "tsig_fixture.h"

#include "nsd-core/ask.h"
#include "nsd-core/base/clock.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define MONO_MS 5000000
#define WAIT_MS 20000 /* far beyond what anything here takes */

static const uint8_t apex[] = "\1a\4test";

/* A server on one port, over UDP and TCP, that is looked at by hand. */
struct stage {
	uv_loop_t loop;
	uv_timer_t timer;
	bool passed;
	int64_t mono_ms;
	int udp, tcp;
	int connection; /* -1: none yet */
	struct conf_server conf;
	struct conf_peer peer;
	struct tsig_keys *keys;
	struct asker *asker;
	struct ask ask;
	unsigned done;
	struct ask_reading reading;
	enum status read;
	bool answered;
	char why[64];
	unsigned unsigned_rcode;
	/* What came last. */
	uint8_t message[4096];
	size_t len;
	struct sockaddr_in from;
};

static void stage_start(struct stage *s)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&s->peer.at.addr;
	socklen_t len = sizeof(*in);
	*s = (struct stage){.mono_ms = MONO_MS};
	clock_fake(TSIG_NOW, s->mono_ms);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->peer.at.len = sizeof(*in);
	s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* Another program may have the port over UDP. */
	do {
		in->sin_port = 0;
		close(s->tcp);
		s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(s->tcp, (struct sockaddr *)in, sizeof(*in)), 0);
		assert_int_equal(getsockname(s->tcp, (struct sockaddr *)in, &len), 0);
	} while (bind(s->udp, (struct sockaddr *)in, sizeof(*in)) != 0);
	assert_int_equal(listen(s->tcp, 4), 0);
	s->keys = test_keys();
	assert_int_equal(uv_loop_init(&s->loop), 0);
	assert_int_equal(uv_timer_init(&s->loop, &s->timer), 0);
	s->timer.data = s;
	assert_int_equal(asker_new(&s->loop, &s->conf, &s->asker), ST_OK);
}

static void stage_stop(struct stage *s)
{
	asker_close(s->asker);
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	asker_free(s->asker);
	tsig_keys_free(s->keys);
	close(s->udp);
	close(s->tcp);
	clock_fake(-1, -1);
}

static void on_passed(uv_timer_t *timer)
{
	((struct stage *)timer->data)->passed = true;
}

static void on_done(void *ctx, const struct ask_result *r)
{
	struct stage *s = ctx;
	s->done++;
	s->answered = r->message.data != NULL;
	s->unsigned_rcode = r->unsigned_rcode;
	snprintf(s->why, sizeof(s->why), "%s", r->why != NULL ? r->why : "");
	if (s->answered) {
		s->read = ask_read(r->message, apex, RR_SOA, &s->reading);
	}
}

static void begin(struct stage *s, const struct tsig_key *key)
{
	const struct ask_question q = {.name = apex, .type = RR_SOA, .peer = &s->peer, .key = key};
	s->done = 0;
	ask_start(s->asker, &s->ask, &q, on_done, s);
	assert_true(ask_is_busy(&s->ask));
}

static void run_until(struct stage *s, bool (*is_so)(struct stage *s))
{
	s->passed = false;
	uv_update_time(&s->loop);
	uv_timer_start(&s->timer, on_passed, WAIT_MS, 0);
	while (!is_so(s)) {
		assert_false(s->passed);
		uv_run(&s->loop, UV_RUN_ONCE);
	}
	uv_timer_stop(&s->timer);
}

static bool has_come(struct stage *s)
{
	socklen_t len = sizeof(s->from);
	ssize_t n = recvfrom(s->udp, s->message, sizeof(s->message), 0, (struct sockaddr *)&s->from,
			     &len);
	s->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool is_done(struct stage *s)
{
	return s->done > 0;
}

static void advance(struct stage *s, int64_t ms)
{
	s->mono_ms += ms;
	clock_fake(TSIG_NOW, s->mono_ms);
}

/* An answer to what came last: an SOA with this serial and two signatures, or none of it. */
struct answer_of {
	uint16_t flags; /* beside QR */
	bool soa;
	uint32_t serial;
	bool other_id;
};

static size_t make_answer(const struct stage *s, const struct answer_of *a, uint8_t *out)
{
	static const uint32_t ends[] = {2000, 1000};
	struct wwriter w;
	wwriter_init(&w, out, 4096);
	wwriter_u16(&w, (uint16_t)(be16_get(s->message) ^ a->other_id));
	wwriter_u16(&w, (uint16_t)(HEADER_QR | a->flags));
	wwriter_u16(&w, 1);
	wwriter_u16(&w, a->soa ? 3 : 0);
	wwriter_u32(&w, 0);
	wwriter_put(&w, s->message + DNS_HEADER_LEN, sizeof(apex) + 4);
	if (a->soa) {
		wwriter_u16(&w, 0xc00c);
		wwriter_u16(&w, RR_SOA);
		wwriter_u16(&w, CLASS_IN);
		wwriter_u32(&w, 300);
		wwriter_u16(&w, 2 + 4 + 20);
		wwriter_u16(&w, 0xc00c);
		wwriter_put(&w, "\1h\xc0\x0c", 4);
		wwriter_u32(&w, a->serial);
		wwriter_u64(&w, 0);
		wwriter_u64(&w, 0);
	}
	for (unsigned i = 0; a->soa && i < 2; i++) {
		wwriter_u16(&w, 0xc00c);
		wwriter_u16(&w, RR_RRSIG);
		wwriter_u16(&w, CLASS_IN);
		wwriter_u32(&w, 300);
		wwriter_u16(&w, 18 + 1 + 4);
		wwriter_u16(&w, RR_SOA);
		wwriter_u16(&w, 13 << 8 | 2);
		wwriter_u32(&w, 300);
		wwriter_u32(&w, ends[i]);
		wwriter_u32(&w, 0);
		wwriter_u16(&w, 77);
		wwriter_u8(&w, 0);
		wwriter_u32(&w, 0);
	}
	assert_int_equal(w.err, ST_OK);
	return wwriter_len(&w);
}

static void reply(struct stage *s, const uint8_t *out, size_t len)
{
	assert_int_equal(sendto(s->udp, out, len, 0, (struct sockaddr *)&s->from, sizeof(s->from)),
			 len);
}

static void reply_with(struct stage *s, const struct answer_of *a)
{
	uint8_t out[4096];
	reply(s, out, make_answer(s, a, out));
}

static const struct answer_of good = {.flags = HEADER_AA, .soa = true, .serial = 7};

static void check_good(struct stage *s)
{
	assert_int_equal(s->done, 1);
	assert_true(s->answered);
	assert_int_equal(s->read, ST_OK);
	assert_true(s->reading.authoritative && s->reading.found && s->reading.is_signed);
	assert_int_equal(s->reading.rcode, RCODE_NOERROR);
	assert_int_equal(s->reading.serial, 7);
	assert_int_equal(s->reading.expiration, 1000);
	assert_false(ask_is_busy(&s->ask));
}

static void an_answer(void **state)
{
	struct stage s;
	struct query q;
	enum rcode rcode;
	(void)state;
	stage_start(&s);
	begin(&s, NULL);
	run_until(&s, has_come);
	assert_int_equal(query_parse(s.message, s.len, &q, &rcode), QUERY_GOOD);
	assert_true(q.edns && q.dnssec_ok && q.flags == 0 && q.qtype == RR_SOA);
	assert_true(name_equal(query_name(&q), apex));
	/* What does not fit is passed over. */
	reply_with(&s, &(struct answer_of){.flags = HEADER_AA, .soa = true, .other_id = true});
	s.message[DNS_HEADER_LEN + 1] = 'b';
	reply_with(&s, &good);
	s.message[DNS_HEADER_LEN + 1] = 'A';
	reply_with(&s, &good);
	run_until(&s, is_done);
	check_good(&s);
	stage_stop(&s);
}

static void asked_again(void **state)
{
	struct stage s;
	(void)state;
	stage_start(&s);
	begin(&s, NULL);
	run_until(&s, has_come);
	advance(&s, 1000);
	run_until(&s, has_come);
	advance(&s, 2000);
	run_until(&s, has_come);
	reply_with(&s, &good);
	run_until(&s, is_done);
	check_good(&s);
	/* And given up, in the end. */
	begin(&s, NULL);
	for (unsigned i = 0; i < ASK_TRIES; i++) {
		run_until(&s, has_come);
		assert_int_equal(s.done, 0);
		advance(&s, 1000 * (i + 1));
	}
	run_until(&s, is_done);
	assert_false(s.answered);
	assert_string_equal(s.why, "no answer");
	stage_stop(&s);
}

/* A question has come over TCP. */
static bool is_connected(struct stage *s)
{
	if (s->connection < 0) {
		s->connection = accept(s->tcp, NULL, NULL);
		return false;
	}
	ssize_t n = recv(s->connection, s->message, sizeof(s->message), MSG_DONTWAIT);
	return n > 2;
}

static void over_tcp(void **state)
{
	struct stage s;
	uint8_t out[4096];
	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		stage_start(&s);
		begin(&s, NULL);
		run_until(&s, has_come);
		reply_with(&s, &(struct answer_of){.flags = HEADER_AA | HEADER_TC});
		s.connection = -1;
		run_until(&s, is_connected);
		memmove(s.message, s.message + 2, sizeof(s.message) - 2);
		size_t len = make_answer(&s, &good, out + 2);
		be16_put(out, (uint16_t)len);
		if (way == 0) {
			/* In pieces. */
			assert_int_equal(send(s.connection, out, 1, 0), 1);
			uv_run(&s.loop, UV_RUN_NOWAIT);
			assert_int_equal(send(s.connection, out + 1, len + 1, 0), len + 1);
		} else if (way == 1) {
			assert_int_equal(send(s.connection, out, 20, 0), 20);
			close(s.connection);
		} else {
			advance(&s, ASK_TCP_MS + 1);
		}
		run_until(&s, is_done);
		if (way == 0) {
			check_good(&s);
		} else {
			assert_false(s.answered);
			assert_string_equal(s.why,
					    way == 1 ? "it ended the connection" : "no answer");
		}
		if (way != 1) {
			close(s.connection);
		}
		stage_stop(&s);
	}
}

static void sign_answer(struct stage *s, uint8_t *out, size_t *len)
{
	struct tsig_session session;
	struct bytes request = {s->message, s->len};
	size_t at = tsig_place(s->message, s->len);
	assert_int_not_equal(at, 0);
	assert_int_equal(tsig_check_request(s->keys, request, at, TSIG_NOW, &session), ST_OK);
	assert_int_equal(tsig_sign(&session, out, *len, TSIG_NOW, len), ST_OK);
}

static void signed_answers(void **state)
{
	struct stage s;
	uint8_t out[4096];
	(void)state;
	stage_start(&s);
	begin(&s, &s.keys->list[0]);
	run_until(&s, has_come);
	/* Anybody may send that: it is not believed, and does not keep the right one away. */
	reply_with(&s, &(struct answer_of){.flags = HEADER_AA, .soa = true, .serial = 666});
	size_t len = make_answer(&s, &good, out);
	sign_answer(&s, out, &len);
	reply(&s, out, len);
	run_until(&s, is_done);
	check_good(&s);
	/* Changed behind the signature, then nothing. */
	begin(&s, &s.keys->list[0]);
	for (unsigned i = 0; i < ASK_TRIES; i++) {
		run_until(&s, has_come);
		len = make_answer(&s, &good, out);
		sign_answer(&s, out, &len);
		out[3] ^= RCODE_REFUSED;
		reply(&s, out, len);
		uv_run(&s.loop, UV_RUN_NOWAIT);
		advance(&s, 1000 * (i + 1));
	}
	run_until(&s, is_done);
	assert_false(s.answered);
	assert_string_equal(s.why, "BADSIG");
	assert_int_equal(s.unsigned_rcode, 0);
	/* An error that should have been signed. */
	begin(&s, &s.keys->list[0]);
	for (unsigned i = 0; i < ASK_TRIES; i++) {
		run_until(&s, has_come);
		reply_with(&s, &(struct answer_of){.flags = RCODE_REFUSED});
		uv_run(&s.loop, UV_RUN_NOWAIT);
		advance(&s, 1000 * (i + 1));
	}
	run_until(&s, is_done);
	assert_false(s.answered);
	assert_string_equal(s.why, "its answer is an error, and not signed");
	assert_int_equal(s.unsigned_rcode, RCODE_REFUSED);
	stage_stop(&s);
}

static void cancelled(void **state)
{
	struct stage s;
	(void)state;
	stage_start(&s);
	begin(&s, NULL);
	run_until(&s, has_come);
	ask_cancel(s.asker, &s.ask);
	assert_false(ask_is_busy(&s.ask));
	ask_cancel(s.asker, &s.ask);
	reply_with(&s, &good);
	begin(&s, NULL);
	run_until(&s, has_come);
	assert_int_equal(s.done, 0);
	reply_with(&s, &(struct answer_of){.flags = HEADER_TC});
	s.connection = -1;
	run_until(&s, is_connected);
	/* With its connection open. */
	asker_close(s.asker);
	assert_false(ask_is_busy(&s.ask));
	assert_int_equal(s.done, 0);
	close(s.connection);
	stage_stop(&s);
}

/* Cut anywhere, or changed in any octet, an answer is read or not, and nothing else happens. */
static void broken_answers(void **state)
{
	struct stage s = {.len = 0};
	uint8_t out[4096];
	const struct test_question q = {.name = apex, .type = RR_SOA};
	struct ask_reading r;
	(void)state;
	question_make(&q, s.message, sizeof(s.message));
	size_t len = make_answer(&s, &good, out);
	assert_int_equal(ask_read((struct bytes){out, len}, apex, RR_SOA, &r), ST_OK);
	assert_int_equal(r.serial, 7);
	assert_int_equal(ask_read((struct bytes){out, len}, apex, RR_NS, &r), ST_OK);
	assert_false(r.found || r.is_signed);
	for (size_t i = 0; i < len; i++) {
		uint8_t *cut = malloc(i + 1);
		assert_non_null(cut);
		memcpy(cut, out, i);
		r.serial = 99;
		assert_int_equal(ask_read((struct bytes){cut, i}, apex, RR_SOA, &r), ST_EPARSE);
		assert_int_equal(r.serial, 99);
		free(cut);
		for (unsigned bit = 0; bit < 8; bit++) {
			out[i] ^= (uint8_t)(1U << bit);
			enum status st = ask_read((struct bytes){out, len}, apex, RR_SOA, &r);
			assert_true(st == ST_OK || st == ST_EPARSE);
			out[i] ^= (uint8_t)(1U << bit);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer), cmocka_unit_test(asked_again),
		cmocka_unit_test(over_tcp),  cmocka_unit_test(signed_answers),
		cmocka_unit_test(cancelled), cmocka_unit_test(broken_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
