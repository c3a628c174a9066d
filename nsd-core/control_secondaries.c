/* What 'zone show' says of a zone's secondaries. */
#include "nsd-core/base/text.h"
#include "nsd-core/control_state.h"
#include "nsd-core/notify.h"

#define STATES_MAX 256

void control_set_notifier(struct control *c, const struct notifier *n)
{
	c->notifier = n;
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

static json_t *state_json(const struct notify_state *s)
{
	char at[24];

	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:o, s:o, s:o}", "name", s->remote->name,
			 "address", s->peer->at.text, "pending", s->pending, "serial",
			 (json_int_t)s->serial, "tries", (json_int_t)s->tries, "acknowledged",
			 s->acked_s != 0 ? json_integer(s->acked) : json_null(), "acknowledged_at",
			 s->acked_s != 0 ? json_string(time_to_text(s->acked_s, at)) : json_null(),
			 "answer", s->answer != NULL ? json_string(s->answer) : json_null());
}

json_t *secondaries_json(const struct control *c, const struct zone *zone)
{
	struct notify_state states[STATES_MAX];
	json_t *list = json_array();
	size_t count =
		c->notifier != NULL ? notifier_states(c->notifier, zone, states, STATES_MAX) : 0;

	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, state_json(&states[i]));
	}
	return list;
}

void secondaries_rows(const struct control *c, const struct zone *zone, struct table *t)
{
	struct notify_state states[STATES_MAX];
	char text[160];
	size_t count =
		c->notifier != NULL ? notifier_states(c->notifier, zone, states, STATES_MAX) : 0;

	for (size_t i = 0; i < count; i++) {
		const struct notify_state *s = &states[i];
		table_put(t, "secondary");
		table_put(t, "%s (%s): %s", s->remote->name, s->peer->at.text,
			  state_text(s, text, sizeof(text)));
	}
}
