/* NOTIFY: who is told what, how often, and which answers count. */
#include "answer_fixture.h"
#include "tsig_fixture.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/notify.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define WALL	TSIG_NOW
#define MONO_MS 5000000
#define WAIT_MS 20000 /* far beyond what anything here takes */
#define PEERS	100
#define ZONES	3

/* Secondaries' sockets, and what they got last. */
struct stage {
	uv_loop_t loop;
	uv_timer_t timer;
	bool passed;
	int fds[PEERS];
	size_t peers;
	struct conf *conf;
	struct tsig_keys *keys;
	struct zone zones[ZONES];
	struct zone *list[ZONES];
	struct notifier *notifier;
	int64_t mono_ms;
	/* The last message. */
	uint8_t message[2048];
	size_t len;
	struct sockaddr_storage from;
	struct tsig_session session;
};

static int open_peer(struct sockaddr_in *in)
{
	socklen_t len = sizeof(*in);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	*in = (struct sockaddr_in){.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)in, sizeof(*in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)in, &len), 0);
	return fd;
}

static struct version *serial_version(const char *apex, uint32_t serial)
{
	char text[256];
	snprintf(text, sizeof(text), "@ 60 SOA ns h %u 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n",
		 serial);
	return fixture_version(apex, text, false, false);
}

static void set_serial(struct stage *s, unsigned zone, uint32_t serial)
{
	static const char *const names[ZONES] = {"a.test.", "b.test.", "c.test."};
	version_unref(s->zones[zone].cur);
	s->zones[zone].cur = serial_version(names[zone], serial);
	notifier_published(s->notifier, &s->zones[zone]);
}

/* The peers are shared out to two remotes; a.test has both, b.test none, c.test the first. */
static char *make_conf(const struct stage *s, const struct sockaddr_in *at, bool with_key)
{
	size_t room = 4096 + PEERS * 32;
	char *text = malloc(room);
	size_t used = 0;
	assert_non_null(text);
	used += (size_t)snprintf(text, room,
				 "tsig-keys: [ { name: xfr.test, secret-file: s } ]\n"
				 "remotes:\n");
	size_t half = s->peers > 1 ? s->peers / 2 : 1;
	for (size_t i = 0; i < s->peers; i++) {
		if (i == 0 || i == half) {
			used += (size_t)snprintf(text + used, room - used,
						 "%s  - name: r%d\n%s    address: [ 192.0.2.0/24",
						 i == 0 ? "" : " ]\n", i != 0,
						 with_key ? "    tsig-key: xfr.test\n" : "");
		}
		used += (size_t)snprintf(text + used, room - used, ", 127.0.0.1@%u",
					 ntohs(at[i].sin_port));
	}
	snprintf(text + used, room - used,
		 " ]\nzones:\n  - { name: a.test, file: a, secondaries: [ r0%s ] }\n"
		 "  - { name: b.test, file: b }\n"
		 "  - { name: c.test, file: c, secondaries: [ r0 ] }\n",
		 s->peers > 1 ? ", r1" : "");
	return text;
}

static void read_conf(struct stage *s, const char *text)
{
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read_mem("/t.yaml", text, strlen(text), false, &s->conf, &d);
	for (size_t i = 0; i < d.count; i++) {
		print_error("%u:%u: %s\n", d.items[i].line, d.items[i].column, d.items[i].text);
	}
	diags_fini(&d);
	assert_int_equal(st, ST_OK);
}

static void stage_start(struct stage *s, size_t peers, bool with_key)
{
	static const char *const names[ZONES] = {"a.test.", "b.test.", "c.test."};
	struct sockaddr_in at[PEERS];
	*s = (struct stage){.peers = peers, .mono_ms = MONO_MS};
	clock_fake(WALL, s->mono_ms);
	for (size_t i = 0; i < peers; i++) {
		s->fds[i] = open_peer(&at[i]);
	}
	char *text = make_conf(s, at, with_key);
	read_conf(s, text);
	free(text);
	s->keys = test_keys();
	for (size_t i = 0; i < ZONES; i++) {
		fixture_zone(&s->zones[i], names[i], serial_version(names[i], 1));
		s->zones[i].conf = &s->conf->zones[i];
		s->list[i] = &s->zones[i];
	}
	assert_int_equal(uv_loop_init(&s->loop), 0);
	assert_int_equal(uv_timer_init(&s->loop, &s->timer), 0);
	s->timer.data = s;
	const struct notifier_options options = {.loop = &s->loop,
						 .conf = s->conf,
						 .keys = s->keys,
						 .zones = s->list,
						 .zone_count = ZONES};
	assert_int_equal(notifier_new(&options, &s->notifier), ST_OK);
}

static void stage_stop(struct stage *s)
{
	notifier_close(s->notifier);
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	notifier_free(s->notifier);
	for (size_t i = 0; i < s->peers; i++) {
		close(s->fds[i]);
	}
	for (size_t i = 0; i < ZONES; i++) {
		version_unref(s->zones[i].cur);
	}
	tsig_keys_free(s->keys);
	conf_free(s->conf);
	clock_fake(-1, -1);
}

static void on_passed(uv_timer_t *timer)
{
	struct stage *s = timer->data;
	s->passed = true;
}

/* Lets the loop run over some ticks of the notifier. */
static void let_ticks_pass(struct stage *s)
{
	s->passed = false;
	uv_update_time(&s->loop);
	uv_timer_start(&s->timer, on_passed, 250, 0);
	while (!s->passed) {
		uv_run(&s->loop, UV_RUN_ONCE);
	}
}

static void advance(struct stage *s, int64_t ms)
{
	s->mono_ms += ms;
	clock_fake(WALL, s->mono_ms);
}

/* One message that waits at a peer. */
static bool take(struct stage *s, size_t peer)
{
	socklen_t from_len = sizeof(s->from);
	ssize_t n = recvfrom(s->fds[peer], s->message, sizeof(s->message), 0,
			     (struct sockaddr *)&s->from, &from_len);
	s->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool nothing_comes(struct stage *s, size_t peer)
{
	let_ticks_pass(s);
	return !take(s, peer);
}

static void await(struct stage *s, size_t peer)
{
	s->passed = false;
	uv_update_time(&s->loop);
	uv_timer_start(&s->timer, on_passed, WAIT_MS, 0);
	while (!take(s, peer)) {
		assert_false(s->passed);
		uv_run(&s->loop, UV_RUN_ONCE);
	}
	uv_timer_stop(&s->timer);
}

static void state_of(struct stage *s, unsigned zone, struct notify_state *out)
{
	assert_true(notifier_states(s->notifier, &s->zones[zone], out, 1) == 1);
}

/* Is the message what RFC 1996 3.7 wants, of this zone and serial? */
static void check_message(struct stage *s, const char *apex, uint32_t serial, bool with_key)
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN];
	struct wreader r;
	wreader_init(&r, s->message, s->len);
	wreader_u16(&r);
	assert_int_equal(wreader_u16(&r), OPCODE_NOTIFY << 11 | HEADER_AA);
	assert_int_equal(wreader_u16(&r), 1);
	assert_int_equal(wreader_u16(&r), 1);
	assert_int_equal(wreader_u16(&r), 0);
	assert_int_equal(wreader_u16(&r), with_key);
	size_t len;
	assert_int_equal(name_from_text(apex, strlen(apex), NULL, name, &len, NULL), ST_OK);
	assert_memory_equal(wreader_bytes(&r, len).data, name, len);
	assert_int_equal(wreader_u16(&r), RR_SOA);
	assert_int_equal(wreader_u16(&r), CLASS_IN);
	wreader_name_expand(&r, owner);
	assert_true(name_equal(owner, name));
	assert_int_equal(wreader_u16(&r), RR_SOA);
	assert_int_equal(wreader_u16(&r), CLASS_IN);
	assert_int_equal(wreader_u32(&r), 60);
	wreader_u16(&r);
	wreader_name_expand(&r, owner);
	wreader_name_expand(&r, owner);
	assert_int_equal(wreader_u32(&r), serial);
	wreader_bytes(&r, 16);
	assert_int_equal(r.err, ST_OK);
	if (!with_key) {
		assert_int_equal(wreader_left(&r), 0);
		return;
	}
	size_t at = tsig_place(s->message, s->len);
	struct bytes message = {s->message, s->len};
	assert_int_equal(at, (size_t)(r.pos - r.start));
	assert_int_equal(tsig_check_request(s->keys, message, at, WALL, &s->session), ST_OK);
	assert_ptr_equal(s->session.key, &s->keys->list[0]);
}

/* What is different in an answer. */
struct reply {
	unsigned rcode;
	bool is_question;
	uint16_t id_off;
	bool other_opcode;
	bool no_question;
	bool other_question;
	bool not_signed;
	bool spoilt; /* the MAC */
	int64_t late_s;
};

static size_t make_answer(struct stage *s, const struct reply *how, uint8_t *out)
{
	const size_t question = 8 + 4; /* "x.test." and its type */
	size_t len = DNS_HEADER_LEN + (how->no_question ? 0 : question);
	memcpy(out, s->message, len);
	be16_put(out, (uint16_t)(be16_get(out) + how->id_off));
	unsigned opcode = how->other_opcode ? OPCODE_QUERY : OPCODE_NOTIFY;
	be16_put(out + 2, (uint16_t)((how->is_question ? 0U : HEADER_QR) | opcode << 11 |
				     HEADER_AA | how->rcode));
	be16_put(out + 4, !how->no_question);
	memset(out + 6, 0, 6);
	if (how->other_question) {
		out[DNS_HEADER_LEN + 1] = 'z';
	}
	if (s->session.key != NULL && !how->not_signed) {
		struct tsig_session session = s->session;
		assert_int_equal(tsig_sign(&session, out, len, WALL + how->late_s, &len), ST_OK);
		out[len - 10] ^= how->spoilt;
	}
	return len;
}

/* 'by': the peer that answers. */
static void reply_to(struct stage *s, size_t by, const struct reply *how)
{
	uint8_t out[2048];
	size_t len = make_answer(s, how, out);
	assert_int_equal(sendto(s->fds[by], out, len, 0, (struct sockaddr *)&s->from,
				sizeof(struct sockaddr_in)),
			 len);
}

static void await_settled(struct stage *s, unsigned zone, uint32_t serial)
{
	struct notify_state st;
	s->passed = false;
	uv_update_time(&s->loop);
	uv_timer_start(&s->timer, on_passed, WAIT_MS, 0);
	for (state_of(s, zone, &st); st.pending; state_of(s, zone, &st)) {
		assert_false(s->passed);
		uv_run(&s->loop, UV_RUN_ONCE);
	}
	uv_timer_stop(&s->timer);
	assert_int_equal(st.acked, serial);
	assert_int_equal(st.acked_s, WALL);
	assert_null(st.answer);
}

/* Told when it starts, once, and no more when that is acknowledged. */
static void told_and_acknowledged(bool with_key)
{
	struct stage s;
	struct notify_state st;

	stage_start(&s, 1, with_key);
	set_serial(&s, 0, 7);
	assert_true(nothing_comes(&s, 0)); /* not started */
	state_of(&s, 0, &st);
	assert_true(st.pending);
	assert_int_equal(st.tries, 0);
	assert_int_equal(st.acked_s, 0);
	notifier_start(s.notifier);
	await(&s, 0);
	check_message(&s, "a.test", 7, with_key);
	state_of(&s, 0, &st);
	assert_true(st.pending);
	assert_int_equal(st.tries, 1);
	assert_int_equal(st.serial, 7);
	reply_to(&s, 0, &(struct reply){0});
	await_settled(&s, 0, 7);
	advance(&s, 1000000);
	assert_true(nothing_comes(&s, 0));
	/* The next one. */
	set_serial(&s, 0, 8);
	await(&s, 0);
	check_message(&s, "a.test", 8, with_key);
	reply_to(&s, 0, &(struct reply){0});
	await_settled(&s, 0, 8);
	/* The other zone of this secondary, and one of nobody's. */
	set_serial(&s, 1, 3);
	assert_true(nothing_comes(&s, 0));
	assert_int_equal(notifier_states(s.notifier, &s.zones[1], &st, 1), 0);
	set_serial(&s, 2, 4);
	await(&s, 0);
	check_message(&s, "c.test", 4, with_key);
	stage_stop(&s);
}

static void test_told(void **state)
{
	(void)state;
	told_and_acknowledged(false);
}

static void test_told_with_a_key(void **state)
{
	(void)state;
	told_and_acknowledged(true);
}

/* Twice the wait each time, until it is a quarter of an hour. */
static void test_again_and_again(void **state)
{
	struct stage s;
	struct notify_state st;
	int64_t wait_ms = 1000;
	unsigned tries = 1;
	uint16_t id = 0;
	unsigned same = 0;

	(void)state;
	stage_start(&s, 1, true);
	notifier_start(s.notifier);
	set_serial(&s, 0, 7);
	await(&s, 0);
	for (; tries < 13; tries++) {
		state_of(&s, 0, &st);
		assert_true(st.pending);
		assert_int_equal(st.tries, tries);
		advance(&s, wait_ms - 1);
		assert_true(nothing_comes(&s, 0));
		advance(&s, 1);
		await(&s, 0);
		check_message(&s, "a.test", 7, true);
		same += be16_get(s.message) == id;
		id = be16_get(s.message);
		wait_ms = wait_ms * 2 < 900000 ? wait_ms * 2 : 900000;
	}
	/* Each with another ID. */
	assert_true(same < 6);
	reply_to(&s, 0, &(struct reply){0});
	await_settled(&s, 0, 7);
	stage_stop(&s);
}

/* Versions that come faster than they are told are one message; an answer to an older one settles
 * nothing. */
static void test_versions_come_together(void **state)
{
	struct stage s;
	struct notify_state st;
	struct reply good = {0};
	uint8_t old[2048];

	(void)state;
	stage_start(&s, 1, false);
	notifier_start(s.notifier);
	for (uint32_t serial = 10; serial < 20; serial++) {
		set_serial(&s, 0, serial);
	}
	await(&s, 0);
	check_message(&s, "a.test", 19, false);
	assert_true(nothing_comes(&s, 0));
	size_t old_len = make_answer(&s, &good, old);
	set_serial(&s, 0, 20);
	await(&s, 0);
	check_message(&s, "a.test", 20, false);
	if (be16_get(old) == be16_get(s.message)) {
		be16_put(old, (uint16_t)(be16_get(old) + 1));
	}
	assert_int_equal(sendto(s.fds[0], old, old_len, 0, (struct sockaddr *)&s.from,
				sizeof(struct sockaddr_in)),
			 old_len);
	let_ticks_pass(&s);
	state_of(&s, 0, &st);
	assert_true(st.pending);
	assert_int_equal(st.acked_s, 0);
	reply_to(&s, 0, &good);
	await_settled(&s, 0, 20);
	stage_stop(&s);
}

/* What does not fit is as if it had not come; the right answer still counts. */
static void test_answers_that_do_not_fit(void **state)
{
	static const struct {
		const char *name;
		bool with_key;
		size_t by;
		struct reply how;
		const char *answer; /* what is kept of it */
	} cases[] = {
		{"another ID", false, 0, {.id_off = 1}, NULL},
		{"another address", false, 1, {0}, NULL},
		{"a question", false, 0, {.is_question = true}, NULL},
		{"another opcode", false, 0, {.other_opcode = true}, NULL},
		{"no question", false, 0, {.no_question = true}, NULL},
		{"another zone's", false, 0, {.other_question = true}, NULL},
		{"not signed", true, 0, {.not_signed = true}, "its answer is not signed"},
		{"a wrong MAC", true, 0, {.spoilt = true}, "BADSIG"},
		{"too late", true, 0, {.late_s = -TSIG_FUDGE - 1}, "BADTIME"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stage s;
		struct notify_state st;
		print_message("%s\n", cases[i].name);
		stage_start(&s, 2, cases[i].with_key);
		notifier_start(s.notifier);
		/* The zone that only the first of them has. */
		set_serial(&s, 2, 7);
		await(&s, 0);
		check_message(&s, "c.test", 7, cases[i].with_key);
		reply_to(&s, cases[i].by, &cases[i].how);
		let_ticks_pass(&s);
		state_of(&s, 2, &st);
		assert_true(st.pending);
		assert_int_equal(st.acked_s, 0);
		if (cases[i].answer == NULL) {
			assert_null(st.answer);
		} else {
			assert_string_equal(st.answer, cases[i].answer);
		}
		reply_to(&s, 0, &(struct reply){0});
		await_settled(&s, 2, 7);
		stage_stop(&s);
	}
}

/* A refusal is kept, and it is told again all the same. */
static void test_refusals(void **state)
{
	static const struct {
		unsigned rcode;
		const char *answer;
	} cases[] = {
		{RCODE_FORMERR, "it answers FORMERR"},
		{RCODE_SERVFAIL, "it answers SERVFAIL"},
		{RCODE_NOTIMP, "it answers NOTIMP: it knows no NOTIFY"},
		{RCODE_REFUSED, "it answers REFUSED: it does not take us for the zone's primary"},
		{RCODE_NOTAUTH,
		 "it answers NOTAUTH: it does not have the zone, or not the TSIG key"},
		{RCODE_NXDOMAIN, "it answers with another error"},
	};
	struct stage s;
	struct notify_state st;
	int64_t wait_ms = 1000;

	(void)state;
	stage_start(&s, 1, false);
	notifier_start(s.notifier);
	set_serial(&s, 0, 7);
	await(&s, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reply_to(&s, 0, &(struct reply){.rcode = cases[i].rcode});
		let_ticks_pass(&s);
		state_of(&s, 0, &st);
		assert_true(st.pending);
		assert_string_equal(st.answer, cases[i].answer);
		advance(&s, wait_ms);
		wait_ms *= 2;
		await(&s, 0);
	}
	reply_to(&s, 0, &(struct reply){0});
	await_settled(&s, 0, 7);
	stage_stop(&s);
}

/* All of many are told, and each for itself. */
static void test_a_hundred(void **state)
{
	static struct notify_state states[PEERS + 1];
	static struct stage s;
	size_t acked = 0;

	(void)state;
	stage_start(&s, PEERS, true);
	notifier_start(s.notifier);
	set_serial(&s, 0, 7);
	for (size_t i = 0; i < PEERS; i++) {
		await(&s, i);
		check_message(&s, "a.test", 7, true);
		if (i % 3 != 0) {
			reply_to(&s, i, &(struct reply){0});
			acked++;
		}
	}
	for (size_t done = 0; done < acked;) {
		let_ticks_pass(&s);
		assert_int_equal(notifier_states(s.notifier, &s.zones[0], states, PEERS + 1),
				 PEERS);
		done = 0;
		for (size_t i = 0; i < PEERS; i++) {
			done += !states[i].pending;
			assert_true(states[i].pending || i % 3 != 0);
		}
	}
	advance(&s, 1000);
	for (size_t i = 0; i < PEERS; i += 3) {
		await(&s, i);
		check_message(&s, "a.test", 7, true);
	}
	assert_int_equal(notifier_states(s.notifier, &s.zones[0], states, 5), 5);
	stage_stop(&s);
}

static void test_nobody_to_tell(void **state)
{
	struct stage s;

	(void)state;
	stage_start(&s, 1, false);
	struct notifier *none = NULL;
	const struct notifier_options options = {.loop = &s.loop,
						 .conf = s.conf,
						 .keys = s.keys,
						 .zones = &s.list[1],
						 .zone_count = 1};
	assert_int_equal(notifier_new(&options, &none), ST_OK);
	notifier_start(none);
	notifier_published(none, &s.zones[1]);
	notifier_close(none);
	notifier_free(none);
	notifier_close(NULL);
	notifier_free(NULL);
	stage_stop(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told),
		cmocka_unit_test(test_told_with_a_key),
		cmocka_unit_test(test_again_and_again),
		cmocka_unit_test(test_versions_come_together),
		cmocka_unit_test(test_answers_that_do_not_fit),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_a_hundred),
		cmocka_unit_test(test_nobody_to_tell),
	};

	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_drain();
	rcu_thread_unregister();
	return failed;
}
