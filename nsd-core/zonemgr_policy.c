/* What of the policies may change while zones are served. */
#include "nsd-core/log.h"
#include "nsd-core/zonemgr_state.h"

static const struct conf_policy *find_policy(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->policy_count; i++) {
		if (strcmp(c->policies[i].name, name) == 0) {
			return &c->policies[i];
		}
	}
	return NULL;
}

enum sign_denial denial_from_conf(const struct conf_policy *c)
{
	if (!c->nsec3) {
		return SIGN_NSEC;
	}
	return c->nsec3_opt_out ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3;
}

const char *denial_text(enum sign_denial denial)
{
	static const char *const texts[] = {[SIGN_NSEC] = "NSEC",
					    [SIGN_NSEC3] = "NSEC3",
					    [SIGN_NSEC3_OPT_OUT] = "NSEC3 with opt-out"};

	return texts[denial];
}

/* The next tick finds what is to be done. */
static void take_denial(struct zonemgr *m, struct build_policy *p, enum sign_denial denial)
{
	if (atomic_exchange(&p->denial, denial) == denial) {
		return;
	}
	log_info("policy %s: denial by %s from now on", p->params.policy, denial_text(denial));
	for (size_t i = 0; i < m->zone_count; i++) {
		if (m->states[i].source.policy == p) {
			m->states[i].clock_ms = 0;
		}
	}
}

void zonemgr_read_policies(struct zonemgr *m)
{
	struct conf *now = NULL;
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read(m->conf->path, &now, &d);
	if (st != ST_OK) {
		log_diags(&d);
		log_error("%s cannot be read again: policies stay as they are", m->conf->path);
	}
	for (size_t i = 0; st == ST_OK && i < m->conf->policy_count; i++) {
		const struct conf_policy *c = find_policy(now, m->conf->policies[i].name);
		if (c != NULL) {
			take_denial(m, &m->policies[i], denial_from_conf(c));
		}
	}
	conf_free(now);
	diags_fini(&d);
}
