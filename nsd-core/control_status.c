/* 'status', 'zone list' and 'zone show'. */
#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"
#include "nsd-core/control_state.h"

/* 'status' is one screen: beyond this many zones those with problems come first, and the rest is
 * counted. */
#define STATUS_ZONES_MAX 40

static const char *signing_word(const struct zone_status *s)
{
	static const char *const words[] = {
		[SIGNING_NONE] = "none",
		[SIGNING_WARMING] = "warming",
		[SIGNING_COMPLETE] = "complete",
		[SIGNING_WAITING] = "waiting",
	};

	return words[s->signing];
}

/* For people. */
static const char *signing_text(const struct zone *z, const struct zone_status *s, char buf[48])
{
	if (s->waits) {
		return "waits for secondaries";
	}
	if (!s->loaded) {
		return s->last_error[0] != '\0' ? "not loaded" : "loading";
	}
	switch (s->signing) {
	case SIGNING_NONE:
		if (z->is_hidden) {
			return "catalog";
		}
		return z->cur->is_signed ? "signed in the file" : "unsigned";
	case SIGNING_WARMING:
		/* Not counted yet. */
		if (s->sign.rrsets == 0) {
			return "signing";
		}
		snprintf(buf, 48, "signing %zu/%zu", s->sign.filled, s->sign.rrsets);
		return buf;
	case SIGNING_COMPLETE:
		return "signed";
	default:
		return "waits for keystore";
	}
}

static const char *event_text(const struct zone_status *s, char buf[96])
{
	char time[24];

	if (s->next_event == INT64_MAX) {
		return "";
	}
	snprintf(buf, 96, "%s %s", time_to_text(s->next_event, time), s->next_event_text);
	return buf;
}

/* A zone that is being read for the first time has none yet. */
static bool has_problem(const struct control *c, const struct zone *z, const struct zone_status *s)
{
	return s->last_error[0] != '\0' || s->signing == SIGNING_WAITING ||
	       secondaries_in_trouble(c, z);
}

/* Until when everything signed verifies, if no keystore signs any more. */
static const char *safe_text(const struct zone_status *s, char buf[24])
{
	return s->signing == SIGNING_NONE || s->sign.safe_until == INT64_MAX ||
			       s->sign.safe_until == 0
		       ? "-"
		       : time_to_text(s->sign.safe_until, buf);
}

#define ZONE_COLUMNS 6

static void zone_head(struct table *t)
{
	table_put(t, "ZONE");
	table_put(t, "SERIAL");
	table_put(t, "NAMES");
	table_put(t, "SIGNING");
	table_put(t, "SAFE UNTIL");
	table_put(t, "NEXT EVENT");
}

static void zone_row(struct table *t, const struct zone *z, const struct zone_status *s)
{
	char name[NAME_TEXT_MAX];
	char signing[48];
	char safe[24];
	char event[96];

	table_put(t, "%s", name_to_text(z->name, name));
	if (s->loaded) {
		table_put(t, "%u", s->serial);
		table_put(t, "%zu", s->names);
	} else {
		table_put(t, "-");
		table_put(t, "-");
	}
	table_put(t, "%s", signing_text(z, s, signing));
	table_put(t, "%s", safe_text(s, safe));
	table_put(t, "%s", event_text(s, event));
}

static json_t *time_json(int64_t t)
{
	char text[24];

	return t != 0 && t != INT64_MAX ? json_string(time_to_text(t, text)) : json_null();
}

/* Is it a catalog, and which is it a member of? */
static json_t *catalog_json(json_t *zone, const struct conf_zone *conf)
{
	char name[NAME_TEXT_MAX];

	json_object_set_new(zone, "is_catalog", json_boolean(conf->is_catalog));
	json_object_set_new(zone, "catalog",
			    conf->catalog != NULL
				    ? json_string(name_to_text(conf->catalog->name, name))
				    : json_null());
	return zone;
}

static json_t *zone_json(const struct control *c, const struct zone *z, const struct zone_status *s)
{
	char name[NAME_TEXT_MAX];

	return json_pack("{s:s, s:b, s:b, s:o, s:I, s:I, s:s, s:I, s:I, s:b, s:o, s:o, s:o, s:s, "
			 "s:o, s:o, s:o}",
			 "zone", name_to_text(z->name, name), "loaded", s->loaded, "waits",
			 s->waits, "serial", s->loaded ? json_integer(s->serial) : json_null(),
			 "names", (json_int_t)s->names, "records", (json_int_t)s->records,
			 "signing", signing_word(s), "rrsets", (json_int_t)s->sign.rrsets,
			 "signatures", (json_int_t)s->sign.filled, "saved", s->saved,
			 "next_refresh", time_json(s->sign.next_refresh), "safe_until",
			 time_json(s->sign.safe_until), "next_event", time_json(s->next_event),
			 "next_event_text", s->next_event_text, "error",
			 s->last_error[0] != '\0' ? reply_string(s->last_error) : json_null(),
			 "secondaries", secondaries_json(c, z), "journal", journal_json(z));
}

/* What 'status' counts. */
struct summary {
	size_t zones, loaded, problems, warming;
	int64_t safe_until; /* the least of all zones that are signed; INT64_MAX: there is none */
};

static void count_zone(struct summary *sum, bool problem, const struct zone_status *s)
{
	sum->zones++;
	sum->loaded += s->loaded;
	sum->problems += problem;
	sum->warming += s->loaded && s->signing == SIGNING_WARMING;
	if (s->signing != SIGNING_NONE && s->sign.safe_until != 0 &&
	    s->sign.safe_until < sum->safe_until) {
		sum->safe_until = s->sign.safe_until;
	}
}

/* The zones that are shown: those with problems, then as many of the others as there is room for.
 */
static void print_zones(struct control *c, FILE *f, json_t *list, struct summary *sum)
{
	size_t count;
	size_t shown = 0;
	struct zone *const *zones = zonemgr_zones(c->mgr, &count);
	struct table t;

	table_init(&t, ZONE_COLUMNS);
	zone_head(&t);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < count; i++) {
			struct zone_status s;
			zonemgr_status(c->mgr, zones[i], &s);
			bool problem = has_problem(c, zones[i], &s);
			if (pass == 0) {
				count_zone(sum, problem, &s);
			}
			if (problem != (pass == 0) || shown == STATUS_ZONES_MAX) {
				continue;
			}
			shown++;
			zone_row(&t, zones[i], &s);
			json_array_append_new(list, catalog_json(zone_json(c, zones[i], &s),
								 zonemgr_conf(c->mgr, zones[i])));
		}
	}
	table_print(&t, f);
	table_fini(&t);
	if (shown < count) {
		fprintf(f, "(%zu zones more; signetctl zone list)\n", count - shown);
	}
}

static void print_errors(const struct control *c, FILE *f)
{
	size_t count;
	size_t shown = 0;
	struct zone *const *zones = zonemgr_zones(c->mgr, &count);
	char name[NAME_TEXT_MAX];

	for (size_t i = 0; i < count && shown < STATUS_ZONES_MAX; i++) {
		struct zone_status s;
		zonemgr_status(c->mgr, zones[i], &s);
		if (s.last_error[0] == '\0' && !secondaries_in_trouble(c, zones[i])) {
			continue;
		}
		fprintf(f, "%s%s\n", shown == 0 ? "\n" : "", name_to_text(zones[i]->name, name));
		if (s.last_error[0] != '\0') {
			fprintf(f, "  %s\n", s.last_error);
		}
		secondaries_troubles(c, zones[i], f);
		shown++;
	}
}

/* Over the last five to ten seconds. */
static double query_rate(const struct control *c)
{
	int64_t ms = clock_mono_ms() - c->rates[0].at_ms;
	uint64_t queries = control_queries(c) - c->rates[0].queries;

	return ms > 0 ? (double)queries * 1000.0 / (double)ms : 0.0;
}

/* What the workers counted since the start. Null before they started. */
static json_t *workers_json(const struct control *c)
{
	struct worker_stats s;

	if (c->workers == NULL) {
		return json_null();
	}
	workers_stats(c->workers, &s);
	return json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"udp_queries", (json_int_t)s.udp_queries, "udp_batches", (json_int_t)s.udp_batches,
		"tcp_queries", (json_int_t)s.tcp_queries, "tcp_accepted",
		(json_int_t)s.tcp_accepted, "tcp_refused", (json_int_t)s.tcp_refused,
		"send_dropped", (json_int_t)s.send_dropped, "parked_now", (json_int_t)s.parked_now,
		"parked_full", (json_int_t)s.parked_full, "parked_timeout",
		(json_int_t)s.parked_timeout, "later", (json_int_t)s.later, "later_full",
		(json_int_t)s.later_full, "over_budget", (json_int_t)s.over_budget, "over_share",
		(json_int_t)s.over_share, "transfers", (json_int_t)s.transfers, "transfers_refused",
		(json_int_t)s.transfers_refused);
}

void status_run(struct request *r)
{
	struct control *c = r->conn->control;
	struct summary sum = {.safe_until = INT64_MAX};
	struct reply_text zones;
	struct reply_text text;
	char up[32];
	char safe[24];
	json_t *zone_list = json_array();
	json_t *keystore_list = json_array();
	int64_t uptime_s = (clock_mono_ms() - c->started_ms) / 1000;

	/* The zones first: the line above them counts them. */
	reply_text_open(&zones);
	if (zones.f != NULL) {
		print_zones(c, zones.f, zone_list, &sum);
		print_errors(c, zones.f);
		if (c->conf->keystore_count > 0) {
			fprintf(zones.f, "\n");
			keystores_print(c, zones.f, keystore_list);
		}
	}
	reply_text_close(&zones, &r->reply);
	reply_text_open(&text);
	if (text.f != NULL) {
		fprintf(text.f, "signetd %s, up %s, %.1f queries/s, %zu zones", SIGNET_VERSION,
			duration_text(uptime_s, up), query_rate(c), sum.zones);
		if (sum.warming > 0) {
			fprintf(text.f, ", %zu being signed", sum.warming);
		}
		if (sum.problems > 0) {
			fprintf(text.f, ", %zu with problems", sum.problems);
		}
		if (sum.safe_until != INT64_MAX) {
			fprintf(text.f, ", safe until %s", time_to_text(sum.safe_until, safe));
		}
		fprintf(text.f, "\n\n%s", r->reply.text != NULL ? r->reply.text : "");
	}
	reply_text_close(&text, &r->reply);
	r->reply.data = json_pack(
		"{s:i, s:s, s:I, s:o, s:I, s:f, s:{s:I, s:I, s:I, s:I}, s:o, s:o, s:o, s:o}",
		"version", CONTROL_VERSION, "server", SIGNET_VERSION, "uptime_s",
		(json_int_t)uptime_s, "started", time_json(c->started_s), "queries",
		(json_int_t)control_queries(c), "queries_per_s", query_rate(c), "zone_counts",
		"all", (json_int_t)sum.zones, "loaded", (json_int_t)sum.loaded, "warming",
		(json_int_t)sum.warming, "problems", (json_int_t)sum.problems, "safe_until",
		time_json(sum.safe_until), "zones", zone_list, "keystores", keystore_list,
		"workers", workers_json(c));
	request_finish(r);
}

void zone_list_run(struct request *r)
{
	struct control *c = r->conn->control;
	size_t count;
	struct zone *const *zones = zonemgr_zones(c->mgr, &count);
	struct reply_text text;
	struct table t;
	json_t *list = json_array();

	table_init(&t, ZONE_COLUMNS);
	zone_head(&t);
	for (size_t i = 0; i < count; i++) {
		struct zone_status s;
		zonemgr_status(c->mgr, zones[i], &s);
		zone_row(&t, zones[i], &s);
		json_array_append_new(list, catalog_json(zone_json(c, zones[i], &s),
							 zonemgr_conf(c->mgr, zones[i])));
	}
	reply_text_open(&text);
	if (text.f != NULL) {
		table_print(&t, text.f);
	}
	reply_text_close(&text, &r->reply);
	table_fini(&t);
	r->reply.data = json_pack("{s:i, s:o}", "version", CONTROL_VERSION, "zones", list);
	request_finish(r);
}

static void show_row(struct table *t, const char *what, const char *value)
{
	if (value[0] != '\0') {
		table_put(t, "%s", what);
		table_put(t, "%s", value);
	}
}

static void show_time(struct table *t, const char *what, int64_t at)
{
	char time[24];

	if (at != INT64_MAX && at != 0) {
		show_row(t, what, time_to_text(at, time));
	}
}

static void show_signing(struct table *t, const struct zone_status *s)
{
	char number[64];

	if (s->signing == SIGNING_NONE) {
		return;
	}
	snprintf(number, sizeof(number), "%zu of %zu", s->sign.filled, s->sign.rrsets);
	show_row(t, "signatures", number);
	show_row(t, "on disk", s->saved ? "all of them" : "not all of them yet");
	show_time(t, "refreshed from", s->sign.next_refresh);
	show_time(t, "valid until", s->sign.safe_until);
	if (s->ds_safe_from == INT64_MAX) {
		show_row(t, "DS safe", "once the zone is completely signed and caches forgot");
	} else {
		show_time(t, "DS safe from", s->ds_safe_from);
	}
}

static void show(const struct control *c, struct zone *zone, const struct zone_status *s, FILE *f)
{
	static const char *const denial[] = {
		[DENIAL_NONE] = "", [DENIAL_NSEC] = "NSEC", [DENIAL_NSEC3] = "NSEC3"};
	const struct conf_zone *conf = zonemgr_conf(c->mgr, zone);
	struct table t;
	char name[NAME_TEXT_MAX];
	char buf[96];

	table_init(&t, 2);
	show_row(&t, "zone", name_to_text(zone->name, name));
	if (conf->is_catalog) {
		show_row(&t, "file", "none: made of the zones that name it as their catalog");
	} else {
		show_row(&t, "file", conf->file);
		show_row(&t, "policy",
			 conf->policy >= 0 ? c->conf->policies[conf->policy].name
					   : "none: served as it is");
	}
	if (conf->catalog != NULL) {
		show_row(&t, "catalog", name_to_text(conf->catalog->name, name));
	}
	if (s->loaded) {
		snprintf(buf, sizeof(buf), "%u", s->serial);
		show_row(&t, "serial", buf);
		snprintf(buf, sizeof(buf), "%zu, %zu records", s->names, s->records);
		show_row(&t, "names", buf);
		show_time(&t, "since", s->loaded_at);
	}
	show_row(&t, "signing", signing_text(zone, s, buf));
	show_row(&t, "denial", s->opt_out ? "NSEC3 with opt-out" : denial[s->denial]);
	show_signing(&t, s);
	show_row(&t, "next event", event_text(s, buf));
	secondaries_rows(c, zone, &t);
	journal_rows(zone, &t);
	show_row(&t, "error", s->last_error);
	table_print(&t, f);
	table_fini(&t);
}

void zone_show_run(struct request *r, struct zone *zone)
{
	struct control *c = r->conn->control;
	const struct conf_zone *conf = zonemgr_conf(c->mgr, zone);
	struct zone_status s;
	struct reply_text text;

	zonemgr_status(c->mgr, zone, &s);
	reply_text_open(&text);
	if (text.f != NULL) {
		show(c, zone, &s, text.f);
	}
	reply_text_close(&text, &r->reply);
	r->reply.data = catalog_json(zone_json(c, zone, &s), conf);
	json_object_set_new(r->reply.data, "version", json_integer(CONTROL_VERSION));
	json_object_set_new(r->reply.data, "file",
			    conf->file != NULL ? reply_string(conf->file) : json_null());
	json_object_set_new(r->reply.data, "policy",
			    conf->policy >= 0 ? json_string(c->conf->policies[conf->policy].name)
					      : json_null());
	json_object_set_new(r->reply.data, "loaded_at", time_json(s.loaded_at));
	json_object_set_new(r->reply.data, "ds_safe_from", time_json(s.ds_safe_from));
	request_finish(r);
}
