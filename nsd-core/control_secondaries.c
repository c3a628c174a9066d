/* What 'zone show' says of a zone's secondaries, and of the history that is kept for them. */
#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"
#include "nsd-core/control_state.h"
#include "nsd-core/journal.h"
#include "nsd-core/monitor.h"
#include "nsd-core/notify.h"

#define STATES_MAX 256

void control_set_notifier(struct control *c, const struct notifier *n)
{
	c->notifier = n;
}

void control_set_monitor(struct control *c, const struct monitor *m)
{
	c->monitor = m;
}

static const char *state_text(const struct notify_state *s, char *buf, size_t size)
{
	char at[24];

	if (s->pending && s->tries == 0) {
		snprintf(buf, size, "to be told of serial %u", s->serial);
	} else if (s->pending) {
		snprintf(buf, size, "told of serial %u, %u %s: %s", s->serial, s->tries,
			 s->tries == 1 ? "try" : "tries",
			 s->answer != NULL ? s->answer : "no answer yet");
	} else if (s->acked_s != 0) {
		snprintf(buf, size, "acknowledged serial %u at %s", s->acked,
			 time_to_text(s->acked_s, at));
	} else {
		snprintf(buf, size, "nothing to be told yet");
	}
	return buf;
}

static json_t *time_json(int64_t t)
{
	char text[24];

	return t != 0 && t != INT64_MAX ? json_string(time_to_text(t, text)) : json_null();
}

static json_t *state_json(const struct notify_state *s)
{
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:o, s:o, s:o}", "name", s->remote->name,
			 "address", s->peer->at.text, "pending", s->pending, "serial",
			 (json_int_t)s->serial, "tries", (json_int_t)s->tries, "acknowledged",
			 s->acked_s != 0 ? json_integer(s->acked) : json_null(), "acknowledged_at",
			 time_json(s->acked_s), "answer",
			 s->answer != NULL ? json_string(s->answer) : json_null());
}

static json_t *troubles_json(unsigned trouble)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {{MONITOR_SILENT, "silent"},
		     {MONITOR_ABSENT, "absent"},
		     {MONITOR_BEHIND, "behind"},
		     {MONITOR_AHEAD, "ahead"},
		     {MONITOR_ENDING, "ending"}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((trouble & words[i].bit) != 0) {
			json_array_append_new(list, json_string(words[i].word));
		}
	}
	return list;
}

/* What it serves, as far as it was asked. */
static json_t *served_json(const struct monitor_state *s)
{
	char text[MONITOR_TEXT_MAX];
	bool known = s->answered_s != 0;
	bool serves = known && s->serves;

	return json_pack("{s:s, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "text",
			 monitor_text(s, 0, clock_wall_s(), text), "trouble",
			 troubles_json(s->trouble), "answered_at", time_json(s->answered_s),
			 "silent_since", time_json(s->silent_s), "serves", serves, "serial",
			 serves ? json_integer(s->serial) : json_null(), "versions_behind",
			 !serves || (s->is_behind && s->versions == 0) ? json_null()
								       : json_integer(s->versions),
			 "since", time_json(known ? s->since_s : 0), "signatures_end",
			 time_json(serves ? s->ends_s : 0));
}

static const struct monitor_state *find_state(const struct monitor_state *states, size_t count,
					      const struct conf_peer *peer)
{
	for (size_t i = 0; i < count; i++) {
		if (states[i].peer == peer) {
			return &states[i];
		}
	}
	return NULL;
}

static size_t notify_list(const struct control *c, const struct zone *zone,
			  struct notify_state out[STATES_MAX])
{
	return c->notifier != NULL ? notifier_states(c->notifier, zone, out, STATES_MAX) : 0;
}

static size_t monitor_list(const struct control *c, const struct zone *zone,
			   struct monitor_state out[STATES_MAX])
{
	return c->monitor != NULL ? monitor_states(c->monitor, zone, out, STATES_MAX) : 0;
}

json_t *secondaries_json(const struct control *c, const struct zone *zone)
{
	struct notify_state states[STATES_MAX];
	struct monitor_state served[STATES_MAX];
	json_t *list = json_array();
	size_t count = notify_list(c, zone, states);
	size_t served_count = monitor_list(c, zone, served);

	for (size_t i = 0; i < count; i++) {
		const struct monitor_state *s = find_state(served, served_count, states[i].peer);
		json_t *one = state_json(&states[i]);
		json_object_set_new(one, "served", s != NULL ? served_json(s) : json_null());
		json_array_append_new(list, one);
	}
	return list;
}

void secondaries_rows(const struct control *c, const struct zone *zone, struct table *t)
{
	struct notify_state states[STATES_MAX];
	struct monitor_state served[STATES_MAX];
	char text[MONITOR_TEXT_MAX];
	size_t count = notify_list(c, zone, states);
	size_t served_count = monitor_list(c, zone, served);

	for (size_t i = 0; i < count; i++) {
		const struct notify_state *s = &states[i];
		const struct monitor_state *m = find_state(served, served_count, s->peer);
		table_put(t, "secondary");
		table_put(t, "%s (%s): %s", s->remote->name, s->peer->at.text,
			  state_text(s, text, sizeof(text)));
		if (m != NULL) {
			table_put(t, "%s", "");
			table_put(t, "%s", monitor_text(m, 0, clock_wall_s(), text));
		}
	}
}

bool secondaries_in_trouble(const struct control *c, const struct zone *zone)
{
	return c->monitor != NULL && monitor_has_trouble(c->monitor, zone);
}

void secondaries_troubles(const struct control *c, const struct zone *zone, FILE *f)
{
	struct monitor_state served[STATES_MAX];
	char text[MONITOR_TEXT_MAX];
	size_t count = monitor_list(c, zone, served);

	for (size_t i = 0; i < count; i++) {
		const struct monitor_state *s = &served[i];
		if (s->trouble != 0) {
			fprintf(f, "  %s (%s) %s\n", s->remote->name, s->peer->at.text,
				monitor_text(s, s->trouble, clock_wall_s(), text));
		}
	}
}

json_t *journal_json(const struct zone *zone)
{
	struct journal_status s;

	if (zone->journal == NULL) {
		return json_null();
	}
	journal_zone_status(zone->journal, &s);
	return json_pack("{s:I, s:I, s:o, s:I, s:I}", "versions", (json_int_t)s.versions, "bytes",
			 (json_int_t)s.octets, "oldest_serial",
			 s.versions > 0 ? json_integer(s.oldest) : json_null(), "ixfr",
			 (json_int_t)s.served[JOURNAL_IXFR], "axfr",
			 (json_int_t)s.served[JOURNAL_AXFR]);
}

void journal_rows(const struct zone *zone, struct table *t)
{
	struct journal_status s;

	if (zone->journal == NULL) {
		return;
	}
	journal_zone_status(zone->journal, &s);
	table_put(t, "history");
	if (s.versions > 0) {
		table_put(t, "%zu versions from serial %u on, %llu octets", s.versions, s.oldest,
			  (unsigned long long)s.octets);
	} else {
		table_put(t, "none");
	}
	table_put(t, "transfers");
	table_put(t, "%llu IXFR, %llu AXFR", (unsigned long long)s.served[JOURNAL_IXFR],
		  (unsigned long long)s.served[JOURNAL_AXFR]);
}
