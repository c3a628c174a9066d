/* What is said of a secondary. */
#include "nsd-core/base/text.h"
#include "nsd-core/monitor.h"

#include <stdarg.h>
#include <stdio.h>

struct phrases {
	char *buf;
	size_t used;
};

PRINTF(2, 3) static void say(struct phrases *p, const char *fmt, ...)
{
	size_t room = MONITOR_TEXT_MAX - p->used;
	va_list args;

	if (p->used > 0) {
		p->used += (size_t)snprintf(p->buf + p->used, room, "; ");
		room = MONITOR_TEXT_MAX - p->used;
	}
	va_start(args, fmt);
	int n = vsnprintf(p->buf + p->used, room, fmt, args);
	va_end(args);
	/* All that is said together fits; were it longer, it would be cut. */
	p->used += n > 0 && (size_t)n < room ? (size_t)n : 0;
}

/* "9 h", "45 min", "3 d". */
static char *span_text(int64_t s, char buf[24])
{
	if (s >= 2 * 86400) {
		snprintf(buf, 24, "%lld d", (long long)(s / 86400));
	} else if (s >= 2 * 3600) {
		snprintf(buf, 24, "%lld h", (long long)(s / 3600));
	} else {
		snprintf(buf, 24, "%lld min", (long long)(s > 0 ? s / 60 : 0));
	}
	return buf;
}

static void say_ending(struct phrases *p, const struct monitor_state *s, bool soon, int64_t now_s)
{
	char at[24];
	char span[24];

	time_to_text(s->ends_s, at);
	if (s->ends_s <= now_s) {
		say(p, "serves signatures that ENDED at %s", at);
	} else if (soon) {
		say(p, "serves signatures that end in %s, at %s",
		    span_text(s->ends_s - now_s, span), at);
	} else {
		say(p, "its signatures are good until %s", at);
	}
}

static void say_serial(struct phrases *p, const struct monitor_state *s)
{
	char at[24];

	time_to_text(s->since_s, at);
	if (!s->serves) {
		say(p, "does not serve the zone since %s: %s", at, s->refusal);
	} else if (s->is_behind && s->versions > 0) {
		say(p, "is %u serial%s behind (%u) since %s", s->versions,
		    s->versions == 1 ? "" : "s", s->serial, at);
	} else if (s->is_behind) {
		say(p, "is behind (%u) since %s", s->serial, at);
	} else if (s->serial != s->here) {
		say(p,
		    "has serial %u, which is ahead of %u, since %s: it takes nothing (zone reload "
		    "ZONE --serial %u)",
		    s->serial, s->here, at, s->serial + 1);
	} else {
		say(p, "serves serial %u", s->serial);
	}
}

char *monitor_text(const struct monitor_state *s, unsigned only, int64_t now_s,
		   char buf[MONITOR_TEXT_MAX])
{
	const unsigned of_serial = MONITOR_ABSENT | MONITOR_BEHIND | MONITOR_AHEAD;
	struct phrases p = {.buf = buf};
	char at[24];

	buf[0] = '\0';
	if (s->answered_s == 0 && s->silent_s == 0) {
		snprintf(buf, MONITOR_TEXT_MAX, "not asked yet");
		return buf;
	}
	if (s->silent_s != 0 && (only == 0 || (only & MONITOR_SILENT) != 0)) {
		say(&p, "does not answer since %s: %s", time_to_text(s->silent_s, at), s->why);
	}
	if (s->answered_s != 0 && (only == 0 || (only & of_serial) != 0)) {
		say_serial(&p, s);
	}
	if (s->answered_s != 0 && s->serves && s->ends_s != INT64_MAX &&
	    (only == 0 || (only & MONITOR_ENDING) != 0)) {
		say_ending(&p, s, (s->trouble & MONITOR_ENDING) != 0, now_s);
	}
	return buf;
}
