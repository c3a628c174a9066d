#include "nsd-core/ctl.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/control_keys.h"
#include "nsd-core/control_probe.h"
#include "nsd-core/privileges.h"
#include "nsd-core/zonemgr.h"

#include <stdlib.h>
#include <unistd.h>

/* What 'd' says first, or else what st means. */
static void fail(struct reply *r, const struct diags *d, enum status st)
{
	char line[1024];

	reply_fail(r, EXIT_FAILED, "the server does not answer, and %s",
		   d->count > 0 ? diag_format(&d->items[0], line, sizeof(line)) : status_text(st));
}

static void answer_keys(const struct conf *conf, const struct command *cmd, struct reply *r)
{
	const struct store_options opt = {.read_only = true};
	struct keys_query q = {.conf = conf, .now = clock_wall_s()};
	struct diags d;

	q.zone = conf_zone_by_text(conf, cmd->zone, r);
	if (q.zone == NULL) {
		return;
	}
	diags_init(&d, DIAGS_LIMIT);
	enum status st = store_open(conf->server.state, ZONEMGR_STORE, &opt, &q.db, &d);
	if (st != ST_OK) {
		fail(r, &d, st);
	} else if (cmd->id == COMMAND_KEY_LIST) {
		keys_list(&q, r);
	} else {
		keys_ds(&q, cmd->form, r);
	}
	store_close(q.db);
	diags_fini(&d);
}

/* Open for writing where that is asked for, and it is there: before the first start there is none.
 */
static enum status open_record(const struct conf *conf, bool write, struct store **db,
			       struct diags *d)
{
	const struct store_options read = {.read_only = true};
	const struct store_options change = {.map_bytes = ZONEMGR_STORE_BYTES};
	struct diags none;

	diags_init(&none, 1);
	enum status st = store_open(conf->server.state, ZONEMGR_STORE, &read, db, &none);
	if (st == ST_OK && write) {
		store_close(*db);
		*db = NULL;
		st = store_open(conf->server.state, ZONEMGR_STORE, &change, db, &none);
	}
	if (st == ST_ENOENT) {
		st = ST_OK;
	} else {
		diags_take(d, &none);
	}
	diags_fini(&none);
	return st;
}

/* As the user the server runs as: what it may not reach is missing. *lock: a descriptor that keeps
 * a server from starting while its record is changed, or -1. */
static enum status open_probe(const struct conf *conf, struct probe *p, char *folder, int *lock,
			      struct diags *d)
{
	bool write = p->key != NULL;
	enum status st = ST_OK;

	if (write && access(conf->server.state, F_OK) == 0) {
		st = privileges_lock_state(&conf->server, lock, d);
	}
	if (st == ST_OK) {
		st = privileges_drop(&conf->server, d);
	}
	if (st == ST_OK) {
		st = open_record(conf, write, &p->db, d);
	}
	return st == ST_OK ? keystore_from_conf(&conf->keystores[p->index], folder, &p->ks, d) : st;
}

static void answer_probe(const struct conf *conf, const struct command *cmd, struct reply *r)
{
	struct probe p = {
		.conf = conf, .seconds = cmd->seconds, .key = cmd->key, .days = cmd->days};
	char *folder = NULL;
	int lock = -1;
	struct diags d;

	if (!conf_keystore_by_name(conf, cmd->keystore, &p.index, r)) {
		return;
	}
	if (asprintf(&folder, "%s/keys", conf->server.state) < 0) {
		reply_fail(r, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
		return;
	}
	diags_init(&d, DIAGS_LIMIT);
	enum status st = open_probe(conf, &p, folder, &lock, &d);
	if (st != ST_OK) {
		fail(r, &d, st);
	} else if (cmd->id == COMMAND_KEYSTORE_CHECK) {
		probe_check(&p, r);
	} else if (cmd->id == COMMAND_KEYSTORE_DELETE) {
		probe_delete(&p, r);
	} else {
		probe_bench(&p, r);
	}
	keystore_free(p.ks);
	store_close(p.db);
	if (lock >= 0) {
		close(lock);
	}
	diags_fini(&d);
	free(folder);
}

bool ctl_offline(const struct conf *conf, const struct command *cmd, struct reply *r)
{
	switch (cmd->id) {
	case COMMAND_KEY_LIST:
	case COMMAND_DS:
		answer_keys(conf, cmd, r);
		return true;
	case COMMAND_KEYSTORE_CHECK:
	case COMMAND_KEYSTORE_BENCH:
	case COMMAND_KEYSTORE_DELETE:
		answer_probe(conf, cmd, r);
		return true;
	default:
		return false;
	}
}
