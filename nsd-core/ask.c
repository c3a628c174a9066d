#include "nsd-core/ask.h"

#include "nsd-core/ask_tcp.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/query.h"
#include "nsd-core/socket.h"

#include <stdlib.h>

#define TICK_MS 50
/* In one tick: what thousands of zones ask goes out over seconds, not in one burst. */
#define SENDS_PER_TICK 100
#define WAIT_FIRST_MS  1000 /* twice, then thrice as much for the next tries */
#define IDS	       65536
#define UDP_MAX	       4096

enum ask_state {
	ASK_IDLE,
	ASK_WAITING, /* to be sent */
	ASK_UDP,
	ASK_TCP_WAITING, /* for a connection to be free */
	ASK_TCP,
};

struct asker {
	uv_loop_t *loop;
	const struct conf_server *conf;
	uv_timer_t tick;
	uv_udp_t sockets[2]; /* IPv4, IPv6 */
	bool ready[2];
	bool attached;
	bool closed;
	struct ask *first, *last; /* under way, in the order in which they came */
	size_t flights, connections;
	struct ask **by_id;
	char in[UDP_MAX];
};

enum status asker_new(uv_loop_t *loop, const struct conf_server *conf, struct asker **out)
{
	struct asker *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		return ST_ENOMEM;
	}
	a->by_id = calloc(IDS, sizeof(struct ask *));
	if (a->by_id == NULL) {
		free(a);
		return ST_ENOMEM;
	}
	a->loop = loop;
	a->conf = conf;
	*out = a;
	return ST_OK;
}

void asker_free(struct asker *a)
{
	if (a != NULL) {
		free(a->by_id);
		free(a);
	}
}

bool ask_is_busy(const struct ask *ask)
{
	return ask->state != ASK_IDLE;
}

static void forget_id(struct asker *a, struct ask *ask)
{
	if (ask->in_flight) {
		a->by_id[ask->id] = NULL;
		ask->in_flight = false;
	}
}

/* An ID that nobody could guess, and that nothing else in flight has. */
static bool take_id(struct asker *a, struct ask *ask)
{
	uint16_t id;

	for (unsigned i = 0; i < 64; i++) {
		if (random_bytes(&id, sizeof(id)) == ST_OK && a->by_id[id] == NULL) {
			a->by_id[id] = ask;
			ask->id = id;
			ask->in_flight = true;
			return true;
		}
	}
	return false;
}

static void leave_state(struct asker *a, struct ask *ask)
{
	a->flights -= ask->state == ASK_UDP;
	a->connections -= ask->state == ASK_TCP;
	forget_id(a, ask);
	ask_tcp_drop(ask);
}

void ask_cancel(struct asker *a, struct ask *ask)
{
	if (ask->state == ASK_IDLE) {
		return;
	}
	leave_state(a, ask);
	ask->state = ASK_IDLE;
	if (ask->prev != NULL) {
		ask->prev->next = ask->next;
	} else {
		a->first = ask->next;
	}
	if (ask->next != NULL) {
		ask->next->prev = ask->prev;
	} else {
		a->last = ask->prev;
	}
	ask->prev = NULL;
	ask->next = NULL;
}

static void finish(struct asker *a, struct ask *ask, struct bytes message)
{
	struct ask_result result = {.message = message, .unsigned_rcode = ask->unsigned_rcode};

	if (message.data == NULL) {
		result.why = ask->why != NULL ? ask->why : "no answer";
	}
	ask_cancel(a, ask);
	ask->done(ask->ctx, &result);
}

static void give_up(struct asker *a, struct ask *ask)
{
	finish(a, ask, (struct bytes){NULL, 0});
}

static void go_to(struct asker *a, struct ask *ask, enum ask_state state, int64_t wait_ms)
{
	leave_state(a, ask);
	ask->state = (uint8_t)state;
	ask->deadline_ms = clock_mono_ms() + wait_ms;
	a->flights += state == ASK_UDP;
	a->connections += state == ASK_TCP;
}

static bool peer_is_six(const struct ask *ask)
{
	return ask->question.peer->at.addr.ss_family == AF_INET6;
}

static void send_udp(struct asker *a, struct ask *ask)
{
	uint8_t message[ASK_MESSAGE_MAX];
	bool six = peer_is_six(ask);

	ask->tries++;
	go_to(a, ask, ASK_UDP, (int64_t)WAIT_FIRST_MS * ask->tries);
	if (!a->ready[six] || !take_id(a, ask)) {
		return;
	}
	size_t len = ask_write(ask, message);
	uv_buf_t buf = uv_buf_init((char *)message, (unsigned)len);
	if (len > 0) {
		/* What the system does not take is as good as lost: it is sent again. */
		(void)uv_udp_try_send(&a->sockets[six], &buf, 1,
				      (const struct sockaddr *)&ask->question.peer->at.addr);
	}
}

static void on_tcp_done(struct ask *ask, struct bytes message, const char *why);

static void start_tcp(struct asker *a, struct ask *ask)
{
	struct sockaddr_storage from = socket_source(a->conf, peer_is_six(ask));

	go_to(a, ask, ASK_TCP, ASK_TCP_MS);
	ask->why = NULL;
	if (!take_id(a, ask) || !ask_tcp_start(a->loop, &from, ask, on_tcp_done)) {
		ask->why = "it cannot be asked over TCP";
		ask->deadline_ms = 0;
	}
}

/* False: a question may have ended, and the list is another. */
static bool tick_one(struct asker *a, struct ask *ask, int64_t now_ms, size_t *sent)
{
	switch (ask->state) {
	case ASK_WAITING:
		if (a->flights < ASK_FLIGHT_MAX && *sent < SENDS_PER_TICK) {
			send_udp(a, ask);
			(*sent)++;
		}
		return true;
	case ASK_UDP:
		if (now_ms < ask->deadline_ms) {
			return true;
		}
		if (ask->tries < ASK_TRIES) {
			go_to(a, ask, ASK_WAITING, 0);
			return true;
		}
		break;
	case ASK_TCP_WAITING:
		if (a->connections < ASK_TCP_MAX) {
			start_tcp(a, ask);
		}
		return true;
	default:
		if (now_ms < ask->deadline_ms) {
			return true;
		}
		break;
	}
	give_up(a, ask);
	return false;
}

static void on_tick(uv_timer_t *timer)
{
	struct asker *a = timer->data;
	int64_t now_ms = clock_mono_ms();
	size_t sent = 0;
	struct ask *ask = a->first;

	while (ask != NULL) {
		struct ask *next = ask->next;
		if (!tick_one(a, ask, now_ms, &sent)) {
			/* Whoever was told may have cancelled the next one. */
			next = a->first;
		}
		ask = next;
	}
	if (a->first == NULL) {
		uv_timer_stop(timer);
	}
}

static void take_answer(struct asker *a, struct bytes message, const struct sockaddr *from)
{
	struct ask *ask = message.len < DNS_HEADER_LEN ? NULL : a->by_id[be16_get(message.data)];

	if (ask == NULL || ask->state != ASK_UDP || !conf_peer_is(ask->question.peer, from) ||
	    ask_check(ask, message) != ST_OK) {
		return;
	}
	if ((be16_get(message.data + 2) & HEADER_TC) != 0) {
		go_to(a, ask, ASK_TCP_WAITING, 0);
	} else {
		finish(a, ask, message);
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct asker *a = handle->data;

	(void)suggested;
	*buf = uv_buf_init(a->in, sizeof(a->in));
}

static void on_received(uv_udp_t *socket, ssize_t len, const uv_buf_t *buf,
			const struct sockaddr *from, unsigned flags)
{
	(void)flags;
	if (len > 0 && from != NULL) {
		take_answer(socket->data, (struct bytes){(const uint8_t *)buf->base, (size_t)len},
			    from);
	}
}

static bool open_socket(struct asker *a, bool six)
{
	struct sockaddr_storage from = socket_source(a->conf, six);
	uv_udp_t *s = &a->sockets[six];

	uv_udp_init(a->loop, s);
	s->data = a;
	return uv_udp_bind(s, (const struct sockaddr *)&from, six ? UV_UDP_IPV6ONLY : 0) == 0 &&
	       uv_udp_recv_start(s, on_alloc, on_received) == 0;
}

static void attach(struct asker *a)
{
	if (!a->attached) {
		uv_timer_init(a->loop, &a->tick);
		a->tick.data = a;
		a->attached = true;
		for (unsigned six = 0; six < 2; six++) {
			a->ready[six] = open_socket(a, six);
		}
	}
	if (!uv_is_active((uv_handle_t *)&a->tick)) {
		uv_timer_start(&a->tick, on_tick, 0, TICK_MS);
	}
}

void ask_start(struct asker *a, struct ask *ask, const struct ask_question *question, ask_done done,
	       void *ctx)
{
	*ask = (struct ask){.question = *question,
			    .done = done,
			    .ctx = ctx,
			    .asker = a,
			    .prev = a->last,
			    .state = ASK_WAITING};
	if (a->closed) {
		ask->state = ASK_IDLE;
		return;
	}
	if (a->last != NULL) {
		a->last->next = ask;
	} else {
		a->first = ask;
	}
	a->last = ask;
	attach(a);
}

static void on_tcp_done(struct ask *ask, struct bytes message, const char *why)
{
	enum status st = ST_EPARSE;

	ask->why = why;
	if (message.data != NULL) {
		ask->why = "what it says over TCP is no answer";
		st = ask_check(ask, message);
	}
	if (st == ST_OK) {
		finish(ask->asker, ask, message);
	} else {
		give_up(ask->asker, ask);
	}
}

void asker_close(struct asker *a)
{
	if (a == NULL) {
		return;
	}
	a->closed = true;
	while (a->first != NULL) {
		ask_cancel(a, a->first);
	}
	if (!a->attached) {
		return;
	}
	a->attached = false;
	uv_close((uv_handle_t *)&a->tick, NULL);
	for (unsigned six = 0; six < 2; six++) {
		uv_close((uv_handle_t *)&a->sockets[six], NULL);
	}
}
