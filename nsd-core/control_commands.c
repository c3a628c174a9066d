/* What each command does. */
#include "nsd-core/base/clock.h"
#include "nsd-core/control_keys.h"
#include "nsd-core/control_state.h"
#include "nsd-core/log.h"

#include <stdlib.h>
#include <string.h>

/* Of a reload of many zones. */
#define FAILURES_MAX 50

static struct zone *find_zone(struct request *r)
{
	struct control *c = r->conn->control;
	const struct conf_zone *conf = conf_zone_by_text(c->conf, r->cmd.zone, &r->reply);

	return conf != NULL ? zonedb_exact(zonemgr_db(c->mgr), conf->name) : NULL;
}

/* Findings as lines. */
static char *diags_text(const struct diags *d, enum diag_level level)
{
	struct reply_text text;
	const char *sep = "";
	char line[1024];

	reply_text_open(&text);
	for (size_t i = 0; text.f != NULL && i < d->count; i++) {
		if (d->items[i].level == level) {
			fprintf(text.f, "%s%s", sep, diag_format(&d->items[i], line, sizeof(line)));
			sep = "\n";
		}
	}
	if (text.f == NULL || fclose(text.f) != 0 || text.len == 0) {
		free(text.text);
		return NULL;
	}
	return text.text;
}

/* One zone's reload: what a caller wants to know of it. */
struct reloading {
	struct request *request;
	struct zone *zone;
	const struct version *before; /* an identity */
};

static void note_warnings(struct request *r, const struct diags *d)
{
	char line[1024];

	for (size_t i = 0; i < d->count; i++) {
		if (d->items[i].level == DIAG_WARNING) {
			reply_note(&r->reply, "%s", diag_format(&d->items[i], line, sizeof(line)));
		}
	}
}

static void one_reloaded(void *ctx, enum status st, uint32_t serial, const struct diags *d)
{
	struct reloading *w = ctx;
	struct request *r = w->request;
	bool same = w->zone->cur == w->before;
	char name[NAME_TEXT_MAX];

	name_to_text(w->zone->name, name);
	if (st != ST_OK) {
		char *why = diags_text(d, DIAG_ERROR);
		reply_fail(&r->reply, EXIT_FAILED, "%s", why != NULL ? why : status_text(st));
		free(why);
	} else {
		struct reply_text text;
		reply_text_open(&text);
		if (text.f != NULL) {
			fprintf(text.f, same ? "%s unchanged, serial %u\n" : "%s serial %u\n", name,
				serial);
		}
		reply_text_close(&text, &r->reply);
		r->reply.data =
			json_pack("{s:i, s:s, s:I, s:b}", "version", CONTROL_VERSION, "zone", name,
				  "serial", (json_int_t)serial, "changed", !same);
		note_warnings(r, d);
	}
	free(w);
	request_finish(r);
}

static void all_reloaded(struct request *r)
{
	struct reply_text text;

	reply_text_open(&text);
	if (text.f != NULL) {
		fprintf(text.f, "%zu zones: %zu loaded, %zu unchanged, %zu failed\n",
			r->loaded + r->same + r->failed, r->loaded, r->same, r->failed);
	}
	reply_text_close(&text, &r->reply);
	r->reply.data = json_pack("{s:i, s:I, s:I, s:I, s:O?}", "version", CONTROL_VERSION,
				  "loaded", (json_int_t)r->loaded, "unchanged", (json_int_t)r->same,
				  "failed", (json_int_t)r->failed, "errors", r->failures);
	if (r->failed > 0) {
		size_t i;
		json_t *failure;
		reply_text_open(&text);
		json_array_foreach(r->failures, i, failure)
		{
			if (text.f != NULL) {
				fprintf(text.f, "%s%s", i > 0 ? "\n" : "",
					json_string_value(failure));
			}
		}
		if (text.f != NULL && r->failed > json_array_size(r->failures)) {
			fprintf(text.f, "\n%zu zones more failed",
				r->failed - json_array_size(r->failures));
		}
		if (text.f != NULL && fclose(text.f) == 0) {
			r->reply.error = text.text;
		}
		r->reply.exit = EXIT_FAILED;
	}
	request_finish(r);
}

static void one_of_all_reloaded(void *ctx, enum status st, uint32_t serial, const struct diags *d)
{
	struct reloading *w = ctx;
	struct request *r = w->request;

	(void)serial;
	if (st != ST_OK) {
		r->failed++;
		if (json_array_size(r->failures) < FAILURES_MAX) {
			char *why = diags_text(d, DIAG_ERROR);
			json_array_append_new(r->failures,
					      reply_string(why != NULL ? why : status_text(st)));
			free(why);
		}
	} else if (w->zone->cur == w->before) {
		r->same++;
	} else {
		r->loaded++;
	}
	free(w);
	if (--r->waits == 0) {
		all_reloaded(r);
	}
}

static bool reload(struct request *r, struct zone *zone, zonemgr_done done)
{
	struct reloading *w = malloc(sizeof(*w));

	if (w == NULL) {
		return false;
	}
	*w = (struct reloading){.request = r, .zone = zone, .before = zone->cur};
	if (r->cmd.has_serial) {
		zonemgr_reload_serial(r->conn->control->mgr, zone, r->cmd.force,
				      (uint32_t)r->cmd.serial, done, w);
	} else {
		zonemgr_reload(r->conn->control->mgr, zone, r->cmd.force, done, w);
	}
	return true;
}

static void run_reload(struct request *r)
{
	size_t count;
	struct zone *const *zones = zonemgr_zones(r->conn->control->mgr, &count);

	if (r->cmd.zone != NULL) {
		struct zone *zone = find_zone(r);
		if (zone == NULL) {
			request_finish(r);
		} else if (!reload(r, zone, one_reloaded)) {
			reply_fail(&r->reply, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
			request_finish(r);
		}
		return;
	}
	zonemgr_read_policies(r->conn->control->mgr);
	r->failures = json_array();
	/* One is ours, so that the end comes once, and after the last was asked for. */
	r->waits = 1;
	for (size_t i = 0; i < count; i++) {
		r->waits++;
		if (!reload(r, zones[i], one_of_all_reloaded)) {
			r->waits--;
			r->failed++;
		}
	}
	if (--r->waits == 0) {
		all_reloaded(r);
	}
}

static void run_keys(struct request *r)
{
	const struct control *c = r->conn->control;
	struct keys_query q = {.db = zonemgr_store(c->mgr),
			       .conf = c->conf,
			       .zone = conf_zone_by_text(c->conf, r->cmd.zone, &r->reply),
			       .now = clock_wall_s()};

	if (q.zone != NULL && r->cmd.id == COMMAND_KEY_LIST) {
		keys_list(&q, &r->reply);
	} else if (q.zone != NULL) {
		keys_ds(&q, r->cmd.form, &r->reply);
	}
	request_finish(r);
}

static void run_stop(struct request *r)
{
	struct control *c = r->conn->control;

	log_info("stopping: asked to by control");
	r->reply.text = strdup("stopping\n");
	r->reply.data = json_pack("{s:i, s:b}", "version", CONTROL_VERSION, "stopping", true);
	request_finish(r);
	c->stop(c->stop_ctx);
}

static void run_on_zone(struct request *r, void (*run)(struct request *r, struct zone *zone))
{
	struct zone *zone = find_zone(r);

	if (zone != NULL) {
		run(r, zone);
	} else {
		request_finish(r);
	}
}

void command_run(struct request *r)
{
	switch (r->cmd.id) {
	case COMMAND_STATUS:
		status_run(r);
		break;
	case COMMAND_ZONE_LIST:
		zone_list_run(r);
		break;
	case COMMAND_ZONE_SHOW:
		run_on_zone(r, zone_show_run);
		break;
	case COMMAND_ZONE_RELOAD:
		run_reload(r);
		break;
	case COMMAND_ZONE_DUMP:
		run_on_zone(r, dump_run);
		break;
	case COMMAND_KEY_LIST:
	case COMMAND_DS:
		run_keys(r);
		break;
	case COMMAND_KEYSTORE_LIST:
		keystore_list_run(r);
		break;
	case COMMAND_KEYSTORE_CHECK:
	case COMMAND_KEYSTORE_BENCH:
	case COMMAND_KEYSTORE_DELETE:
		keystore_probe_run(r);
		break;
	case COMMAND_KEY_IMPORT: /* refused before */
		request_finish(r);
		break;
	case COMMAND_STOP:
		run_stop(r);
		break;
	}
}
