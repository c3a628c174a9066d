#include "nsd-core/monitor.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/log.h"
#include "nsd-core/query.h"
#include "signer/keys.h"

#include <stdlib.h>

#define TICK_MS 200
/* In one tick: with ten thousand zones all are asked in a few minutes, with few at once. */
#define STARTS_PER_TICK	  20
#define SPREAD_MS	  100 /* between the first questions of two secondaries */
#define SPREAD_MAX_MS	  60000
#define WAIT_TOLD_MS	  1000 /* from an acknowledgement to the first look */
#define WAIT_PUBLISHED_MS 5000
#define WAIT_FIRST_MS	  2000
#define WAIT_MAX_MS	  300000
#define EACH_MS		  900000
#define EACH_SPREAD_MS	  300000
/* Rounds of questions without an answer until that is trouble. */
#define ROUNDS_QUIET 2
/* Versions of a zone that are remembered. */
#define HISTORY_MAX 32
/* For zones without a policy. */
#define PROPAGATION_S 300
#define ENDING_S      86400

struct past {
	uint32_t serial;
	int64_t at_s;	    /* published */
	int64_t safe_until; /* INT64_MAX: not known */
};

struct watched {
	struct zone *zone;
	struct past past[HISTORY_MAX]; /* a ring; the newest at (count - 1) % HISTORY_MAX */
	uint64_t count;
	size_t first, targets;
};

/* One address of one secondary of one zone. */
struct target {
	struct monitor *monitor;
	struct watched *watched;
	struct ask ask;
	int64_t next_ms;
	int64_t wait_ms; /* to the next look, while something is not as it should be */
	size_t round;	 /* which question of the round is asked */
	int64_t round_s; /* when it began */
	unsigned silent_rounds;
	bool was_silent; /* in this round */
	bool known;	 /* since the start it has answered */
	unsigned kind;	 /* ABSENT, BEHIND, AHEAD, late or not; 0: as it should be */
	struct monitor_state state;
};

struct monitor {
	struct monitor_options opt;
	uv_timer_t tick;
	bool attached;
	size_t next; /* where the next tick begins, so that all get their turn */
	struct watched *zones;
	size_t zone_count;
	size_t count;
	struct target targets[];
};

/* What is asked in one round: the SOA's signature is as young as its version, those of the others
 * are the policy's. */
static const uint16_t round_types[] = {RR_SOA, RR_DNSKEY, RR_NS};

#define ROUND_COUNT (sizeof(round_types) / sizeof(round_types[0]))

/* How many versions were published after the one with this serial. False: it is not remembered. */
static bool find_past(const struct watched *w, uint32_t serial, uint32_t *after)
{
	for (uint32_t i = 0; i < HISTORY_MAX && i < w->count; i++) {
		if (w->past[(w->count - 1 - i) % HISTORY_MAX].serial == serial) {
			*after = i;
			return true;
		}
	}
	return false;
}

/* None of a catalog: who has one need not answer for it (Knot refuses every question, and does not
 * sign that). */
static size_t count_peers(const struct conf *conf, const struct zone *z)
{
	const struct conf_zone *c = z->is_hidden ? NULL : z->conf;
	size_t count = 0;

	for (size_t i = 0; c != NULL && i < c->secondary_count; i++) {
		const struct conf_remote *r = &conf->remotes[c->secondaries[i]];
		for (size_t p = 0; p < r->peer_count; p++) {
			count += !r->peers[p].is_range;
		}
	}
	return count;
}

static void add_targets(struct monitor *m, struct watched *w)
{
	const struct conf_zone *c = w->zone->conf;

	w->first = m->count;
	for (size_t i = 0; i < c->secondary_count; i++) {
		const struct conf_remote *r = &m->opt.conf->remotes[c->secondaries[i]];
		for (size_t p = 0; p < r->peer_count; p++) {
			if (r->peers[p].is_range) {
				continue;
			}
			m->targets[m->count++] = (struct target){
				.monitor = m,
				.watched = w,
				.next_ms = INT64_MAX,
				.wait_ms = WAIT_FIRST_MS,
				.state = {.remote = r,
					  .peer = &r->peers[p],
					  .ends_s = INT64_MAX,
					  .refusal = ""},
			};
		}
	}
	w->targets = m->count - w->first;
}

enum status monitor_new(const struct monitor_options *opt, struct monitor **out)
{
	size_t targets = 0;
	size_t zones = 0;

	for (size_t i = 0; i < opt->zone_count; i++) {
		size_t count = count_peers(opt->conf, opt->zones[i]);
		targets += count;
		zones += count > 0;
	}
	struct monitor *m = calloc(1, sizeof(*m) + targets * sizeof(m->targets[0]));
	if (m == NULL) {
		return ST_ENOMEM;
	}
	m->opt = *opt;
	m->zones = calloc(zones + 1, sizeof(*m->zones));
	if (m->zones == NULL) {
		free(m);
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < opt->zone_count; i++) {
		if (count_peers(opt->conf, opt->zones[i]) > 0) {
			struct watched *w = &m->zones[m->zone_count++];
			w->zone = opt->zones[i];
			add_targets(m, w);
		}
	}
	*out = m;
	return ST_OK;
}

void monitor_free(struct monitor *m)
{
	if (m != NULL) {
		free(m->zones);
		free(m);
	}
}

/* Zones are in the order of their names. NULL: it is not watched. */
static struct watched *find_watched(const struct monitor *m, const struct zone *z)
{
	size_t low = 0;
	size_t high = m->zone_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (name_compare(m->zones[middle].zone->name, z->name) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low < m->zone_count && m->zones[low].zone == z ? &m->zones[low] : NULL;
}

/* What is known of the secondary's serial, beside what is served here. */
static void compare(struct target *t, int64_t now_s)
{
	struct monitor_state *s = &t->state;
	const struct watched *w = t->watched;
	unsigned kind = 0;
	uint32_t after;

	if (s->answered_s == 0 || w->zone->cur == NULL) {
		return;
	}
	s->here = w->zone->cur->serial;
	if (!s->serves) {
		kind = MONITOR_ABSENT;
	} else if (s->serial != s->here) {
		kind = serial_gt(s->here, s->serial) ? MONITOR_BEHIND : MONITOR_AHEAD;
	}
	if (kind != t->kind) {
		t->kind = kind;
		s->since_s = now_s;
	}
	s->is_behind = kind == MONITOR_BEHIND;
	s->versions = 0;
	if (s->is_behind && find_past(w, s->serial, &after) && after > 0) {
		s->versions = after;
		s->since_s = w->past[(w->count - after) % HISTORY_MAX].at_s;
	}
}

static int64_t propagation_s(const struct target *t)
{
	const struct conf_zone *c = t->watched->zone->conf;

	return c->policy >= 0 ? t->monitor->opt.conf->policies[c->policy].propagation_s
			      : PROPAGATION_S;
}

/* What is renewed in time is never as close to its end as that. */
static int64_t ending_s(const struct target *t)
{
	const struct keyset *keys = t->watched->zone->cur->keys;

	return keys != NULL ? keys->params.refresh / 2 : ENDING_S;
}

static unsigned judge(const struct target *t, int64_t now_s)
{
	const struct monitor_state *s = &t->state;
	unsigned trouble = t->silent_rounds >= ROUNDS_QUIET ? MONITOR_SILENT : 0;

	if (s->answered_s == 0) {
		return trouble;
	}
	if (t->kind == MONITOR_AHEAD || now_s - s->since_s > propagation_s(t)) {
		trouble |= t->kind;
	}
	if (s->serves && s->ends_s != INT64_MAX && s->ends_s - now_s < ending_s(t)) {
		trouble |= MONITOR_ENDING;
	}
	return trouble;
}

/* Once for each change, not for each look. */
static void tell(struct target *t, unsigned trouble, int64_t now_s)
{
	struct monitor_state *s = &t->state;
	unsigned begun = trouble & ~s->trouble;
	unsigned over = s->trouble & ~trouble;
	char name[NAME_TEXT_MAX];
	char text[MONITOR_TEXT_MAX];

	s->trouble = trouble;
	name_to_text(t->watched->zone->name, name);
	if (begun != 0) {
		log_warn("zone %s: %s (%s) %s", name, s->remote->name, s->peer->at.text,
			 monitor_text(s, begun, now_s, text));
	} else if (over != 0) {
		log_info("zone %s: %s (%s) %s%s", name, s->remote->name, s->peer->at.text,
			 trouble == 0 ? "is well again: " : "", monitor_text(s, 0, now_s, text));
	}
}

/* Every so often where all is well, each at a time of its own. */
static void schedule(struct target *t, int64_t now_s)
{
	const struct monitor_state *s = &t->state;
	size_t index = (size_t)(t - t->monitor->targets);
	int64_t now_ms = clock_mono_ms();

	if (s->silent_s == 0 && t->kind == 0) {
		t->wait_ms = WAIT_FIRST_MS;
		t->next_ms = now_ms + EACH_MS + (int64_t)(index * 7919 % EACH_SPREAD_MS);
		return;
	}
	t->next_ms = now_ms + t->wait_ms;
	t->wait_ms = t->wait_ms * 2 < WAIT_MAX_MS ? t->wait_ms * 2 : WAIT_MAX_MS;
	int64_t late_ms = now_ms + (s->since_s + propagation_s(t) + 1 - now_s) * 1000;
	if (s->silent_s == 0 && late_ms > now_ms && late_ms < t->next_ms) {
		t->next_ms = late_ms;
	}
}

static void end_round(struct target *t)
{
	struct monitor_state *s = &t->state;
	const struct monitor_options *opt = &t->monitor->opt;
	int64_t now_s = clock_wall_s();

	if (t->was_silent) {
		s->silent_s = s->silent_s != 0 ? s->silent_s : t->round_s;
		t->silent_rounds++;
	} else {
		s->silent_s = 0;
		t->silent_rounds = 0;
	}
	compare(t, now_s);
	schedule(t, now_s);
	bool is_first = !t->was_silent && !t->known;
	t->known |= is_first;
	if (is_first && t->kind == MONITOR_AHEAD && opt->ahead != NULL) {
		/* It is told at the next look, if it is so still. */
		opt->ahead(opt->ctx, t->watched->zone, s->serial);
		return;
	}
	tell(t, judge(t, now_s), now_s);
}

static const char *refusal_text(const struct ask_reading *r)
{
	switch (r->rcode) {
	case RCODE_NOERROR:
		return r->authoritative ? "it has no SOA there" : "its answer is not authoritative";
	case RCODE_SERVFAIL:
		return "SERVFAIL";
	case RCODE_NXDOMAIN:
		return "NXDOMAIN";
	case RCODE_REFUSED:
		return "REFUSED";
	case RCODE_NOTAUTH:
		return "NOTAUTH";
	default:
		return "an error";
	}
}

static void note_end(struct target *t, int64_t end_s)
{
	if (end_s < t->state.ends_s) {
		t->state.ends_s = end_s;
	}
}

static void take_soa(struct target *t, const struct ask_reading *r)
{
	struct monitor_state *s = &t->state;
	const struct watched *w = t->watched;
	uint32_t after;

	s->answered_s = clock_wall_s();
	s->ends_s = INT64_MAX;
	s->serves = r->found && r->authoritative && r->rcode == RCODE_NOERROR;
	s->refusal = s->serves ? "" : refusal_text(r);
	if (!s->serves) {
		return;
	}
	s->serial = r->serial;
	/* One serial stands for one content: what ends first in it is known here. */
	if (find_past(w, r->serial, &after)) {
		note_end(t, w->past[(w->count - 1 - after) % HISTORY_MAX].safe_until);
	}
}

static void ask_next(struct target *t);

/* False: the round ends with it. */
static bool take_answer(struct target *t, const struct ask_result *result)
{
	const uint8_t *name = t->watched->zone->name;
	struct ask_reading r;

	if (result->message.data == NULL ||
	    ask_read(result->message, name, round_types[t->round], &r) != ST_OK) {
		/* What comes after the SOA tells more of its signatures only. */
		if (t->round == 0) {
			t->was_silent = true;
			t->state.why = result->why != NULL ? result->why : "its answer is broken";
		}
		return t->round > 0;
	}
	if (t->round == 0) {
		take_soa(t, &r);
	}
	if (r.found && r.is_signed) {
		int64_t now_s = clock_wall_s();
		/* RFC 4034 3.1.5 */
		note_end(t, now_s + (int32_t)(r.expiration - (uint32_t)now_s));
	}
	return t->state.serves;
}

static void on_answer(void *ctx, const struct ask_result *result)
{
	struct target *t = ctx;
	bool more = take_answer(t, result) && t->watched->zone->cur->is_signed &&
		    t->round + 1 < ROUND_COUNT;

	if (more) {
		t->round++;
		ask_next(t);
	} else {
		end_round(t);
	}
}

static void ask_next(struct target *t)
{
	const struct conf_remote *r = t->state.remote;
	const struct ask_question q = {
		.name = t->watched->zone->name,
		.type = round_types[t->round],
		.peer = t->state.peer,
		.key = r->tsig_key >= 0 ? &t->monitor->opt.keys->list[r->tsig_key] : NULL,
	};

	ask_start(t->monitor->opt.asker, &t->ask, &q, on_answer, t);
}

static void begin_round(struct target *t)
{
	struct watched *w = t->watched;
	struct past *now = &w->past[(w->count - 1) % HISTORY_MAX];

	if (now->serial == w->zone->cur->serial) {
		now->safe_until = t->monitor->opt.safe_until(t->monitor->opt.ctx, w->zone);
	}
	t->round = 0;
	t->was_silent = false;
	t->round_s = clock_wall_s();
	ask_next(t);
}

static void on_tick(uv_timer_t *timer)
{
	struct monitor *m = timer->data;
	int64_t now_ms = clock_mono_ms();
	size_t started = 0;

	for (size_t i = 0; i < m->count && started < STARTS_PER_TICK; i++) {
		struct target *t = &m->targets[m->next];
		m->next = m->next + 1 < m->count ? m->next + 1 : 0;
		if (now_ms >= t->next_ms && t->watched->count > 0 && !ask_is_busy(&t->ask)) {
			begin_round(t);
			started++;
		}
	}
}

void monitor_start(struct monitor *m)
{
	int64_t now_ms = clock_mono_ms();

	if (m->count == 0) {
		return;
	}
	uv_timer_init(m->opt.loop, &m->tick);
	m->tick.data = m;
	m->attached = true;
	for (size_t i = 0; i < m->count; i++) {
		m->targets[i].next_ms = now_ms + (int64_t)(i * SPREAD_MS % SPREAD_MAX_MS);
	}
	uv_timer_start(&m->tick, on_tick, TICK_MS, TICK_MS);
}

static void look_soon(struct target *t, int64_t in_ms)
{
	int64_t at_ms = clock_mono_ms() + in_ms;

	t->wait_ms = WAIT_FIRST_MS;
	/* Before the start there is none. */
	if (t->monitor->attached && at_ms < t->next_ms) {
		t->next_ms = at_ms;
	}
}

void monitor_published(struct monitor *m, const struct zone *z)
{
	struct watched *w = find_watched(m, z);
	int64_t now_s = clock_wall_s();

	if (w == NULL) {
		return;
	}
	w->past[w->count++ % HISTORY_MAX] =
		(struct past){.serial = z->cur->serial, .at_s = now_s, .safe_until = INT64_MAX};
	for (size_t i = 0; i < w->targets; i++) {
		struct target *t = &m->targets[w->first + i];
		compare(t, now_s);
		look_soon(t, WAIT_PUBLISHED_MS);
	}
}

void monitor_acknowledged(struct monitor *m, const struct zone *z, const struct conf_peer *peer)
{
	const struct watched *w = find_watched(m, z);

	for (size_t i = 0; w != NULL && i < w->targets; i++) {
		struct target *t = &m->targets[w->first + i];
		if (t->state.peer == peer) {
			look_soon(t, WAIT_TOLD_MS);
		}
	}
}

void monitor_close(struct monitor *m)
{
	if (m == NULL || !m->attached) {
		return;
	}
	m->attached = false;
	uv_close((uv_handle_t *)&m->tick, NULL);
	for (size_t i = 0; i < m->count; i++) {
		ask_cancel(m->opt.asker, &m->targets[i].ask);
	}
}

size_t monitor_states(const struct monitor *m, const struct zone *z, struct monitor_state *out,
		      size_t room)
{
	const struct watched *w = find_watched(m, z);
	size_t count = w != NULL && w->targets < room ? w->targets : w != NULL ? room : 0;

	for (size_t i = 0; i < count; i++) {
		out[i] = m->targets[w->first + i].state;
	}
	return count;
}

bool monitor_has_trouble(const struct monitor *m, const struct zone *z)
{
	const struct watched *w = find_watched(m, z);
	unsigned trouble = 0;

	for (size_t i = 0; w != NULL && i < w->targets; i++) {
		trouble |= m->targets[w->first + i].state.trouble;
	}
	return trouble != 0;
}
