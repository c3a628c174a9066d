/* With nothing on record of a zone, as at its first start or where the state directory was lost,
 * nobody here knows which serials were published. Its secondaries do: they are asked, and the zone
 * starts above the highest. Where none of them says anything it waits. */
#include "nsd-core/ask.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/log.h"
#include "nsd-core/query.h"
#include "nsd-core/zonemgr_state.h"

#include <stdio.h>
#include <stdlib.h>

#define NAMED_MAX 200 /* octets of text: who did not answer */

struct census_ask {
	struct ask ask;
	struct census *census;
	const struct conf_remote *remote;
	const struct conf_peer *peer;
};

struct census {
	struct zone_state *zone;
	size_t waits; /* for answers */
	size_t silent;
	char silent_text[NAMED_MAX];
	bool any;
	uint32_t highest;
	const struct conf_remote *highest_at;
	size_t count;
	struct census_ask asks[];
};

static size_t count_peers(const struct conf *conf, const struct conf_zone *c)
{
	size_t count = 0;

	for (size_t i = 0; i < c->secondary_count; i++) {
		const struct conf_remote *r = &conf->remotes[c->secondaries[i]];
		for (size_t p = 0; p < r->peer_count; p++) {
			count += !r->peers[p].is_range;
		}
	}
	return count;
}

void census_drop(struct zone_state *z)
{
	struct census *s = z->census;

	z->census = NULL;
	z->waits = false;
	z->census_error[0] = '\0';
	retry_reset(&z->census_retry);
	for (size_t i = 0; s != NULL && i < s->count; i++) {
		ask_cancel(z->mgr->asker, &s->asks[i].ask);
	}
	free(s);
}

static void note_silent(struct census_ask *a, const char *why)
{
	struct census *s = a->census;
	size_t used = strlen(s->silent_text);

	s->silent++;
	snprintf(s->silent_text + used, sizeof(s->silent_text) - used, "%s%s (%s): %s",
		 used > 0 ? ", " : "", a->remote->name, a->peer->at.text, why);
}

/* Nobody knows: the zone is not served before somebody does. */
static void wait_for_secondaries(struct zone_state *z, const char *why)
{
	char name[NAME_TEXT_MAX];
	char text[sizeof(z->census_error)];

	snprintf(text, sizeof(text),
		 "waits for a secondary to say which serial it has: %s (or: zone reload ZONE "
		 "--serial N)",
		 why);
	z->waits = true;
	retry_later(&z->census_retry);
	if (strcmp(text, z->census_error) != 0) {
		log_error("zone %s: nothing is on record, and no secondary says which serial it "
			  "has: %s. Not served before one does, or before signetctl zone reload "
			  "%s --serial N",
			  zone_text(z, name), why, name);
	}
	snprintf(z->census_error, sizeof(z->census_error), "%s", text);
	z->want = 0;
	zone_fail_waiters(z, ST_EAGAIN, z->census_error);
	zone_was_tried(z);
}

/* Where the clock numbers what is made here, its serial is ahead of those that it gave before. */
static bool may_wait(const struct zone_state *z)
{
	return z->source.make == NULL || z->source.serial != SERIAL_UNIXTIME;
}

static void conclude(struct census *s)
{
	struct zone_state *z = s->zone;
	char name[NAME_TEXT_MAX];

	z->census = NULL;
	if (!s->any && s->silent > 0 && may_wait(z)) {
		wait_for_secondaries(z, s->silent_text);
		free(s);
		return;
	}
	if (s->any) {
		z->source.floor = s->highest;
		z->source.has_floor = true;
		log_info("zone %s: nothing is on record, and %s has serial %u: starts above it",
			 zone_text(z, name), s->highest_at->name, s->highest);
	}
	if (s->silent > 0) {
		log_warn("zone %s: starts without knowing which serial %s", zone_text(z, name),
			 s->silent_text);
	}
	free(s);
	census_drop(z);
	zone_build(z, BUILD_READ, false);
}

/* Whoever serves no such zone has no serial of it. Of a catalog Knot refuses to say anything,
 * though it has it. */
static bool says_none(const struct census *s, unsigned rcode)
{
	if (rcode == RCODE_REFUSED) {
		return s->zone->source.make == NULL;
	}
	return rcode == RCODE_SERVFAIL || rcode == RCODE_NXDOMAIN || rcode == RCODE_NOTAUTH;
}

static void on_answer(void *ctx, const struct ask_result *result)
{
	struct census_ask *a = ctx;
	struct census *s = a->census;
	struct ask_reading r;

	if (result->message.data == NULL) {
		if (!says_none(s, result->unsigned_rcode)) {
			note_silent(a, result->why);
		}
	} else if (ask_read(result->message, s->zone->zone.name, RR_SOA, &r) != ST_OK) {
		note_silent(a, "its answer is broken");
	} else if (r.found && r.authoritative && r.rcode == RCODE_NOERROR) {
		if (!s->any || serial_gt(r.serial, s->highest)) {
			s->highest = r.serial;
			s->highest_at = a->remote;
		}
		s->any = true;
	} else if (r.rcode != RCODE_NOERROR && !says_none(s, r.rcode)) {
		note_silent(a, "it answers with an error");
	}
	if (--s->waits == 0) {
		conclude(s);
	}
}

static void add_asks(struct census *s, const struct conf *conf, const struct conf_zone *c)
{
	for (size_t i = 0; i < c->secondary_count; i++) {
		const struct conf_remote *r = &conf->remotes[c->secondaries[i]];
		for (size_t p = 0; p < r->peer_count; p++) {
			if (!r->peers[p].is_range) {
				s->asks[s->count++] = (struct census_ask){
					.census = s, .remote = r, .peer = &r->peers[p]};
			}
		}
	}
}

static void census_start(struct zone_state *z, size_t count)
{
	struct zonemgr *m = z->mgr;
	struct census *s = calloc(1, sizeof(*s) + count * sizeof(s->asks[0]));

	if (s == NULL) {
		wait_for_secondaries(z, status_text(ST_ENOMEM));
		return;
	}
	s->zone = z;
	add_asks(s, m->conf, z->conf);
	s->waits = s->count;
	z->census = s;
	for (size_t i = 0; i < s->count; i++) {
		struct census_ask *a = &s->asks[i];
		const struct ask_question q = {
			.name = z->zone.name,
			.type = RR_SOA,
			.peer = a->peer,
			.key = a->remote->tsig_key >= 0 ? &m->keys->list[a->remote->tsig_key]
							: NULL,
		};
		ask_start(m->asker, &a->ask, &q, on_answer, a);
	}
}

void census_again(struct zone_state *z)
{
	z->census_retry.at_ms = INT64_MAX;
	if (z->census == NULL) {
		census_start(z, count_peers(z->mgr->conf, z->conf));
	}
}

void zone_first_build(struct zone_state *z)
{
	size_t count = count_peers(z->mgr->conf, z->conf);

	if (z->mgr->asker == NULL || z->source.serial == SERIAL_KEEP || z->record.has_serial ||
	    count == 0) {
		zone_build(z, BUILD_READ, false);
	} else {
		census_start(z, count);
	}
}
