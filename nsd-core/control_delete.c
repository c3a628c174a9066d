/* 'keystore delete': the one way by which a key is deleted. */
#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"
#include "nsd-core/control_probe.h"

#include <stdlib.h>
#include <string.h>

/* Where --days does not say: the longest that there is. */
#define DAYS COMMAND_DAYS_MAX

static void fail_with(struct reply *r, const struct diags *d, enum status st)
{
	reply_fail(r, EXIT_FAILED, "%s",
		   d->count > 0 && d->items[0].text != NULL ? d->items[0].text : status_text(st));
}

/* Is it what the configuration names, or may be? The next zone to be loaded would want it. */
static bool is_named(const struct probe *p, const struct hsm_id *id, const struct conf_policy *c,
		     struct reply *r)
{
	const struct {
		const struct conf_key *key;
		const char *role;
	} keys[] = {{&c->ksk, "ksk"}, {&c->zsk, "zsk"}, {&c->csk, "csk"}};

	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		const struct conf_key *key = keys[k].key;
		struct hsm_id named = {.len = 0};
		struct diags d;
		/* Of another keystore that is perhaps the same device, too. */
		if (!key->present || key->key == NULL ||
		    p->conf->keystores[key->keystore].type != p->conf->keystores[p->index].type) {
			continue;
		}
		diags_init(&d, 1);
		enum status st = keystore_identify(p->ks, key->key, &named, &d);
		/* It may be this one: only what was read and has none can be passed over. */
		bool unknown = st != ST_OK && st != ST_ENOENT && st != ST_EEXIST &&
			       st != ST_EPARSE && st != ST_ENOTSUP;
		if (unknown) {
			fail_with(r, &d, st);
		}
		diags_fini(&d);
		if (unknown) {
			return true;
		}
		if (st == ST_OK && named.len == id->len &&
		    memcmp(named.data, id->data, id->len) == 0) {
			reply_fail(r, EXIT_FAILED,
				   "policy %s names this key, '%s', as its %s: take it out of the "
				   "configuration and start the server anew first",
				   c->name, key->key, keys[k].role);
			return true;
		}
	}
	return false;
}

static void refuse_use(const struct key_use *use, struct reply *r)
{
	char zone[NAME_TEXT_MAX];
	char more[48] = "";

	if (use->zones > 1) {
		snprintf(more, sizeof(more), ", and %zu zones more have it", use->zones - 1);
	}
	reply_fail(r, EXIT_FAILED, "it is the %s %s %u of %s%s: a key in use is not deleted",
		   key_state_text(use->state), key_role_text(use->role), use->tag,
		   name_to_text(use->zone, zone), more);
}

/* Off the record, so that nothing takes it into use meanwhile. */
static bool let_go(const struct probe *p, const struct hsm_id *id, struct reply *r)
{
	struct key_use use = {.zones = 0};
	const char *name = p->conf->keystores[p->index].name;

	if (p->db == NULL) {
		reply_fail(r, EXIT_FAILED,
			   "%s has no record of keys, so that nobody knows whether this one is in "
			   "use: nothing is deleted",
			   p->conf->server.state);
		return false;
	}
	enum status st = key_let_go(p->db, name, id, clock_wall_s(), &use);
	if (st == ST_EREFUSED) {
		refuse_use(&use, r);
	} else if (st != ST_OK) {
		reply_fail(r, EXIT_FAILED,
			   "the record in the state directory cannot be read or written, so that "
			   "nothing is deleted: %s",
			   status_text(st));
	}
	return st == ST_OK;
}

static void tell(const struct probe *p, const struct hsm_id *id, int64_t until, struct reply *r)
{
	char text[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char time[24];
	const char *name = p->conf->keystores[p->index].name;
	struct reply_text out;

	key_id_text(id->data, id->len, text);
	reply_text_open(&out);
	if (out.f != NULL && until != 0) {
		fprintf(out.f,
			"keystore %s: key %s is disabled, and will be deleted at %s\n"
			"until then this undoes it:\n"
			"  aws kms cancel-key-deletion --key-id %s\n"
			"  aws kms enable-key --key-id %s\n",
			name, text, time_to_text(until, time), text, text);
	} else if (out.f != NULL) {
		fprintf(out.f, "keystore %s: key %s is deleted; this cannot be undone\n", name,
			text);
	}
	reply_text_close(&out, r);
	r->data = json_pack("{s:i, s:o, s:s, s:o}", "version", CONTROL_VERSION, "keystore",
			    reply_string(name), "id", text, "until",
			    until != 0 ? json_string(time_to_text(until, time)) : json_null());
}

void probe_delete(const struct probe *p, struct reply *r)
{
	const struct conf_keystore *c = &p->conf->keystores[p->index];
	struct hsm_id id;
	struct diags d;
	int64_t until = 0;

	if (p->days != 0 && c->type != KEYSTORE_KMS) {
		reply_fail(r, EXIT_FAILED,
			   "keystore %s: --days is for aws-kms: here a key is deleted at once",
			   c->name);
		return;
	}
	diags_init(&d, 1);
	enum status st = keystore_identify(p->ks, p->key, &id, &d);
	if (st != ST_OK) {
		fail_with(r, &d, st);
		goto out;
	}
	for (size_t i = 0; i < p->conf->policy_count; i++) {
		if (is_named(p, &id, &p->conf->policies[i], r)) {
			goto out;
		}
	}
	if (!let_go(p, &id, r)) {
		goto out;
	}
	st = keystore_destroy(p->ks, &id, p->days != 0 ? p->days : DAYS, &until, &d);
	if (st != ST_OK) {
		fail_with(r, &d, st);
	} else {
		tell(p, &id, until, r);
	}
out:
	diags_fini(&d);
}
