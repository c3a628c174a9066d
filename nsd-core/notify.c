#include "nsd-core/notify.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/encode.h"
#include "nsd-core/log.h"
#include "nsd-core/socket.h"

#include <stdlib.h>

#define TICK_MS 100
/* In one tick: ten thousand zones are told over seconds, not in one burst that nobody can take. */
#define SENDS_PER_TICK 100
#define WAIT_FIRST_MS  1000
#define WAIT_MAX_MS    900000
/* Tries until the log says that a secondary does not answer. */
#define TRIES_QUIET 5
#define MESSAGE_MAX 1232
#define IDS	    65536

/* One address of one secondary of one zone. */
struct target {
	const struct zone *zone;
	const struct conf_remote *remote;
	const struct conf_peer *peer;
	bool pending;
	bool in_flight; /* by_id[id] is it */
	uint16_t id;
	unsigned tries;
	int64_t next_ms; /* the next try */
	uint32_t serial;
	uint32_t acked;
	int64_t acked_s;
	const char *answer;
	struct tsig_session tsig; /* of the last try */
};

struct notifier {
	const struct conf *conf;
	const struct tsig_keys *keys;
	void (*acknowledged)(void *ctx, const struct zone *z, const struct conf_peer *peer);
	void *ctx;
	uv_loop_t *loop;
	uv_timer_t tick;
	uv_udp_t sockets[2]; /* IPv4, IPv6 */
	bool ready[2];
	bool attached;
	bool started;
	size_t pending;
	size_t next;	 /* where the next tick begins, so that all get their turn */
	uint32_t *by_id; /* targets in flight, counted from 1 */
	char in[MESSAGE_MAX + 1];
	size_t count;
	struct target targets[];
};

static size_t count_targets(const struct notifier_options *opt)
{
	size_t count = 0;

	for (size_t i = 0; i < opt->zone_count; i++) {
		const struct conf_zone *c = opt->zones[i]->conf;
		for (size_t k = 0; c != NULL && k < c->secondary_count; k++) {
			const struct conf_remote *r = &opt->conf->remotes[c->secondaries[k]];
			for (size_t p = 0; p < r->peer_count; p++) {
				count += !r->peers[p].is_range;
			}
		}
	}
	return count;
}

static void add_targets(struct notifier *n, const struct zone *z)
{
	for (size_t k = 0; z->conf != NULL && k < z->conf->secondary_count; k++) {
		const struct conf_remote *r = &n->conf->remotes[z->conf->secondaries[k]];
		for (size_t p = 0; p < r->peer_count; p++) {
			if (!r->peers[p].is_range) {
				n->targets[n->count++] = (struct target){
					.zone = z, .remote = r, .peer = &r->peers[p]};
			}
		}
	}
}

enum status notifier_new(const struct notifier_options *opt, struct notifier **out)
{
	size_t count = count_targets(opt);
	struct notifier *n = calloc(1, sizeof(*n) + count * sizeof(n->targets[0]));

	if (n == NULL) {
		return ST_ENOMEM;
	}
	n->by_id = calloc(IDS, sizeof(*n->by_id));
	if (n->by_id == NULL) {
		free(n);
		return ST_ENOMEM;
	}
	n->conf = opt->conf;
	n->keys = opt->keys;
	n->loop = opt->loop;
	n->acknowledged = opt->acknowledged;
	n->ctx = opt->ctx;
	for (size_t i = 0; i < opt->zone_count; i++) {
		add_targets(n, opt->zones[i]);
	}
	*out = n;
	return ST_OK;
}

void notifier_free(struct notifier *n)
{
	if (n == NULL) {
		return;
	}
	free(n->by_id);
	free(n);
}

/* The targets of a zone stand together; zones are many, and their targets are in their order. */
static struct target *zone_targets(const struct notifier *n, const struct zone *z, size_t *count)
{
	struct target *all = (struct target *)(uintptr_t)n->targets;
	size_t low = 0;
	size_t high = n->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (name_compare(all[middle].zone->name, z->name) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	*count = 0;
	while (low + *count < n->count && all[low + *count].zone == z) {
		(*count)++;
	}
	return &all[low];
}

static void forget(struct notifier *n, struct target *t)
{
	if (t->in_flight) {
		n->by_id[t->id] = 0;
		t->in_flight = false;
	}
}

/* An ID that nobody could guess, and that nothing else in flight has. */
static bool take_id(struct notifier *n, struct target *t)
{
	uint16_t id;

	for (unsigned i = 0; i < 64; i++) {
		if (random_bytes(&id, sizeof(id)) == ST_OK && n->by_id[id] == 0) {
			n->by_id[id] = (uint32_t)(t - n->targets) + 1;
			t->id = id;
			t->in_flight = true;
			return true;
		}
	}
	return false;
}

/* RFC 1996 3.7: the question, and the SOA as a hint. */
static size_t make_message(struct notifier *n, struct target *t, uint8_t *out)
{
	uint8_t question[DNS_HEADER_LEN + NAME_MAX_LEN + 4] = {0};
	const struct version *v = t->zone->cur;
	struct query q = {.wire = question, .question_len = (uint16_t)(t->zone->name_len + 4)};
	const struct tsig_key *key =
		t->remote->tsig_key >= 0 ? &n->keys->list[t->remote->tsig_key] : NULL;
	struct encoder e;
	struct name_ref apex;

	be16_put(question, t->id);
	memcpy(question + DNS_HEADER_LEN, t->zone->name, t->zone->name_len);
	be16_put(question + DNS_HEADER_LEN + t->zone->name_len, RR_SOA);
	be16_put(question + DNS_HEADER_LEN + t->zone->name_len + 2, CLASS_IN);
	tsig_session_init(&t->tsig, key);
	encode_init(&e, out, MESSAGE_MAX, key != NULL ? tsig_len(key, TSIG_NOERROR) : 0, &q);
	name_ref_init(&apex, query_name(&q));
	encode_names(&e, &apex);
	struct encode_rrset soa = {.owner = v->apex_name, .ttl = v->soa->ttl, .rs = v->soa};
	(void)encode_rrset(&e, SECTION_ANSWER, &soa);
	size_t len = encode_finish(&e, OPCODE_NOTIFY << 11 | HEADER_AA, RCODE_NOERROR);
	if (key != NULL && tsig_sign(&t->tsig, out, len, clock_wall_s(), &len) != ST_OK) {
		return 0;
	}
	return len;
}

static void log_quiet(const struct target *t)
{
	char name[NAME_TEXT_MAX];

	if (t->tries == TRIES_QUIET) {
		log_warn("zone %s: %s (%s) does not acknowledge serial %u: %s",
			 name_to_text(t->zone->name, name), t->remote->name, t->peer->at.text,
			 t->serial, t->answer != NULL ? t->answer : "no answer");
	}
}

static void send_one(struct notifier *n, struct target *t, int64_t now_ms)
{
	uint8_t message[MESSAGE_MAX];
	const struct sockaddr *to = (const struct sockaddr *)&t->peer->at.addr;
	bool six = to->sa_family == AF_INET6;
	int64_t wait_ms = WAIT_FIRST_MS;

	log_quiet(t);
	forget(n, t);
	for (unsigned i = 0; i < t->tries && wait_ms < WAIT_MAX_MS; i++) {
		wait_ms *= 2;
	}
	t->next_ms = now_ms + (wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
	t->tries++;
	if (!n->ready[six] || !take_id(n, t)) {
		return;
	}
	size_t len = make_message(n, t, message);
	uv_buf_t buf = uv_buf_init((char *)message, (unsigned)len);
	if (len > 0) {
		/* What the system does not take is as good as lost: it is sent again. */
		(void)uv_udp_try_send(&n->sockets[six], &buf, 1, to);
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct notifier *n = timer->data;
	int64_t now_ms = clock_mono_ms();
	size_t sent = 0;

	for (size_t i = 0; i < n->count && sent < SENDS_PER_TICK; i++) {
		struct target *t = &n->targets[n->next];
		n->next = n->next + 1 < n->count ? n->next + 1 : 0;
		if (t->pending && now_ms >= t->next_ms) {
			send_one(n, t, now_ms);
			sent++;
		}
	}
	if (n->pending == 0) {
		uv_timer_stop(timer);
	}
}

static void settle(struct notifier *n, struct target *t)
{
	if (t->pending) {
		t->pending = false;
		n->pending--;
	}
	t->acked = t->serial;
	t->acked_s = clock_wall_s();
	t->answer = NULL;
	if (t->tries > TRIES_QUIET) {
		char name[NAME_TEXT_MAX];
		log_info("zone %s: %s (%s) acknowledges serial %u",
			 name_to_text(t->zone->name, name), t->remote->name, t->peer->at.text,
			 t->serial);
	}
	if (n->acknowledged != NULL) {
		n->acknowledged(n->ctx, t->zone, t->peer);
	}
}

/* Is it an answer to what the target was told (RFC 1996 4.7)? *at: where its TSIG stands; 0: it has
 * none. */
static bool answer_fits(const struct target *t, struct bytes message, size_t *at)
{
	struct query q;
	enum rcode rcode;
	uint8_t copy[MESSAGE_MAX];

	/* A question's parser, shown the answer as a question: it knows the rest of a message. */
	memcpy(copy, message.data, message.len);
	copy[2] &= 0x7f;
	if (query_parse(copy, message.len, &q, &rcode) != QUERY_GOOD || q.opcode != OPCODE_NOTIFY ||
	    q.qtype != RR_SOA || !name_equal(query_name(&q), t->zone->name)) {
		return false;
	}
	*at = q.tsig_at;
	return true;
}

static const char *rcode_phrase(unsigned rcode)
{
	switch (rcode) {
	case RCODE_FORMERR:
		return "it answers FORMERR";
	case RCODE_SERVFAIL:
		return "it answers SERVFAIL";
	case RCODE_NOTIMP:
		return "it answers NOTIMP: it knows no NOTIFY";
	case RCODE_REFUSED:
		return "it answers REFUSED: it does not take us for the zone's primary";
	case RCODE_NOTAUTH:
		return "it answers NOTAUTH: it does not have the zone, or not the TSIG key";
	default:
		return "it answers with another error";
	}
}

static void take_answer(struct notifier *n, struct bytes message, const struct sockaddr *from)
{
	size_t at;

	if (message.len < DNS_HEADER_LEN || message.len > MESSAGE_MAX ||
	    n->by_id[be16_get(message.data)] == 0) {
		return;
	}
	struct target *t = &n->targets[n->by_id[be16_get(message.data)] - 1];
	uint16_t flags = be16_get(message.data + 2);
	if (!conf_peer_is(t->peer, from) || (flags & HEADER_QR) == 0 ||
	    !answer_fits(t, message, &at)) {
		return;
	}
	if (t->tsig.key != NULL) {
		/* A copy: what somebody forged must not spoil it for the right answer. */
		struct tsig_session s = t->tsig;
		if (tsig_check_answer(&s, message, at, clock_wall_s()) != ST_OK) {
			t->answer = at != 0 && s.error != TSIG_NOERROR ? tsig_error_text(s.error)
								       : "its answer is not signed";
			return;
		}
	}
	forget(n, t);
	if ((flags & 15) == RCODE_NOERROR) {
		settle(n, t);
	} else {
		t->answer = rcode_phrase(flags & 15);
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct notifier *n = handle->data;

	(void)suggested;
	*buf = uv_buf_init(n->in, sizeof(n->in));
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

static bool open_socket(struct notifier *n, unsigned six)
{
	struct sockaddr_storage from = socket_source(&n->conf->server, six);
	const struct sockaddr *any = (const struct sockaddr *)&from;
	uv_udp_t *s = &n->sockets[six];

	uv_udp_init(n->loop, s);
	s->data = n;
	return uv_udp_bind(s, any, six ? UV_UDP_IPV6ONLY : 0) == 0 &&
	       uv_udp_recv_start(s, on_alloc, on_received) == 0;
}

static void wake(struct notifier *n)
{
	if (n->started && n->pending > 0 && !uv_is_active((uv_handle_t *)&n->tick)) {
		uv_timer_start(&n->tick, on_tick, 0, TICK_MS);
	}
}

void notifier_start(struct notifier *n)
{
	if (n->count == 0) {
		return;
	}
	uv_timer_init(n->loop, &n->tick);
	n->tick.data = n;
	n->attached = true;
	for (unsigned six = 0; six < 2; six++) {
		n->ready[six] = open_socket(n, six);
	}
	n->started = true;
	wake(n);
}

void notifier_published(struct notifier *n, const struct zone *z)
{
	size_t count;
	struct target *t = zone_targets(n, z, &count);
	int64_t now_ms = clock_mono_ms();

	for (size_t i = 0; i < count; i++) {
		forget(n, &t[i]);
		n->pending += !t[i].pending;
		t[i].pending = true;
		t[i].tries = 0;
		t[i].answer = NULL;
		t[i].next_ms = now_ms;
		t[i].serial = z->cur->serial;
	}
	wake(n);
}

void notifier_close(struct notifier *n)
{
	if (n == NULL || !n->attached) {
		return;
	}
	n->attached = false;
	n->started = false;
	uv_close((uv_handle_t *)&n->tick, NULL);
	for (unsigned six = 0; six < 2; six++) {
		uv_close((uv_handle_t *)&n->sockets[six], NULL);
	}
}

size_t notifier_states(const struct notifier *n, const struct zone *z, struct notify_state *out,
		       size_t room)
{
	size_t count;
	const struct target *t = zone_targets(n, z, &count);

	count = count < room ? count : room;
	for (size_t i = 0; i < count; i++) {
		out[i] = (struct notify_state){
			.remote = t[i].remote,
			.peer = t[i].peer,
			.pending = t[i].pending,
			.serial = t[i].serial,
			.acked = t[i].acked,
			.acked_s = t[i].acked_s,
			.tries = t[i].tries,
			.answer = t[i].answer,
		};
	}
	return count;
}
