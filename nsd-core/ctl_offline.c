#include "nsd-core/ctl.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/control_keys.h"
#include "nsd-core/zonemgr.h"

bool ctl_offline(const struct conf *conf, const struct command *cmd, struct reply *r)
{
	const struct store_options opt = {.read_only = true};
	struct keys_query q = {.conf = conf, .now = clock_wall_s()};
	struct diags d;
	char line[1024];

	if (cmd->id != COMMAND_KEY_LIST && cmd->id != COMMAND_DS) {
		return false;
	}
	q.zone = conf_zone_by_text(conf, cmd->zone, r);
	if (q.zone == NULL) {
		return true;
	}
	diags_init(&d, DIAGS_LIMIT);
	enum status st = store_open(conf->server.state, ZONEMGR_STORE, &opt, &q.db, &d);
	if (st != ST_OK) {
		reply_fail(r, EXIT_FAILED, "the server does not answer, and %s",
			   d.count > 0 ? diag_format(&d.items[0], line, sizeof(line))
				       : status_text(st));
	} else if (cmd->id == COMMAND_KEY_LIST) {
		keys_list(&q, r);
	} else {
		keys_ds(&q, cmd->form, r);
	}
	store_close(q.db);
	diags_fini(&d);
	return true;
}
