/* What is said of zones, to operators and by --check. */
#include "nsd-core/base/clock.h"
#include "nsd-core/zonemgr_state.h"

#include <stdio.h>
#include <unistd.h>

static void sooner(struct zone_status *out, int64_t at, const char *text)
{
	if (at < out->next_event) {
		out->next_event = at;
		snprintf(out->next_event_text, sizeof(out->next_event_text), "%s", text);
	}
}

/* On the wall's clock. */
static int64_t retry_time(const struct retry *r)
{
	int64_t left_ms = r->at_ms - clock_mono_ms();

	if (r->at_ms == INT64_MAX) {
		return INT64_MAX;
	}
	return clock_wall_s() + (left_ms > 0 ? (left_ms + 999) / 1000 : 0);
}

static void signed_status(const struct zone_state *z, struct zone_status *out)
{
	const struct sign_params *p = &z->source.policy->params;
	const struct version *v = z->zone.cur;

	out->signing = z->retry_want != 0 ? SIGNING_WAITING : z->signing;
	out->sign = z->stats;
	out->saved = zone_is_saved(z);
	out->ds_safe_from = ds_safe_from(&z->record, p->propagation);
	if (v == NULL) {
		return;
	}
	if (z->is_measured) {
		sooner(out, z->stats.next_refresh, "signatures are refreshed");
	}
	if (p->publish_cds && node_rrset(v->apex, RR_CDS) == NULL) {
		sooner(out, out->ds_safe_from, "CDS and CDNSKEY are published");
	}
	sooner(out, retry_time(&z->warm_retry), "the keystore is tried again");
}

void zonemgr_status(struct zonemgr *m, struct zone *zone, struct zone_status *out)
{
	const struct zone_state *z = zone->manager;
	const struct version *v = zone->cur;
	const char *error = z->build_error[0] != '\0' ? z->build_error : z->warm_error;

	error = z->census_error[0] != '\0' ? z->census_error : error;

	(void)m;
	*out = (struct zone_status){
		.loaded = v != NULL,
		.waits = z->waits,
		.signing = SIGNING_NONE,
		.loaded_at = z->loaded_at,
		.ds_safe_from = INT64_MAX,
		.next_event = INT64_MAX,
		.sign = {.next_refresh = INT64_MAX, .safe_until = INT64_MAX},
	};
	snprintf(out->last_error, sizeof(out->last_error), "%s", error);
	if (v != NULL) {
		out->serial = v->serial;
		out->names = v->name_count;
		out->records = v->record_count;
		out->denial = v->denial;
		out->opt_out = v->keys != NULL && signer_denial(v) == SIGN_NSEC3_OPT_OUT;
	}
	if (z->source.policy != NULL) {
		signed_status(z, out);
	}
	sooner(out, retry_time(&z->build_retry), "loading is tried again");
	sooner(out, retry_time(&z->census_retry), "secondaries are asked again");
}

static void check_zone(const struct conf *conf, const struct conf_zone *zone, struct diags *d)
{
	const struct check_options check = {.signing = zone->policy >= 0};
	struct content c;
	char name[NAME_TEXT_MAX];
	size_t errors = d->errors;

	content_init(&c, zone->name);
	content_maker make = content_maker_of(zone);
	enum status st = make != NULL ? make(conf, zone, &c, d)
				      : master_read(zone->file, &(struct master_options){0}, &c, d);
	if (st == ST_OK && make == NULL) {
		st = content_sort(&c);
	}
	if (st == ST_OK) {
		st = content_check(&c, &check, d);
	}
	if (st != ST_OK && d->errors == errors) {
		diags_error(d, "zone %s: %s", name_to_text(zone->name, name), status_text(st));
	}
	content_fini(&c);
}

/* The keys that policies name in it. ks NULL: it holds nothing yet. */
static void check_named(const struct conf *conf, const struct conf_policy *p, size_t index,
			struct keystore *ks, struct diags *d)
{
	const struct conf_key *keys[] = {&p->ksk, &p->zsk, &p->csk};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct hsm_id id;
		struct hsm_key *key = NULL;
		if (!keys[i]->present || keys[i]->key == NULL || keys[i]->keystore != index) {
			continue;
		}
		if (ks == NULL) {
			diags_error(d, "policy %s: keystore %s has no key %s yet", p->name,
				    conf->keystores[index].name, keys[i]->key);
			continue;
		}
		enum status st = keystore_identify(ks, keys[i]->key, &id, d);
		if (st == ST_OK) {
			st = keystore_find(ks, id.data, id.len, NULL, &key, d);
		}
		hsm_key_unref(key);
		if (st != ST_OK) {
			diags_error(d, "policy %s: its key %s cannot be used", p->name,
				    keys[i]->key);
		}
	}
}

static void check_keystore(const struct conf *conf, size_t index, struct diags *d)
{
	const struct conf_keystore *c = &conf->keystores[index];
	char folder[4096];
	struct keystore *ks = NULL;
	size_t errors = d->errors;

	int n = snprintf(folder, sizeof(folder), "%s/keys", conf->server.state);
	/* Opening would make the folder of key files; where there is none yet nothing can be wrong
	 * with it. */
	if (c->type == KEYSTORE_FILE && access(folder, F_OK) != 0) {
		for (size_t i = 0; i < conf->policy_count; i++) {
			check_named(conf, &conf->policies[i], index, NULL, d);
		}
		return;
	}
	enum status st =
		n < (int)sizeof(folder) ? keystore_from_conf(c, folder, &ks, d) : ST_ESPACE;
	if (st == ST_OK) {
		st = keystore_open(ks, d);
	}
	if (st != ST_OK && d->errors == errors) {
		diags_error(d, "keystore %s: %s", c->name, status_text(st));
	}
	for (size_t i = 0; st == ST_OK && i < conf->policy_count; i++) {
		check_named(conf, &conf->policies[i], index, ks, d);
	}
	keystore_free(ks);
}

enum status zonemgr_check(const struct conf *conf, struct diags *d)
{
	size_t errors = d->errors;

	for (size_t i = 0; i < conf->zone_count; i++) {
		check_zone(conf, &conf->zones[i], d);
	}
	for (size_t i = 0; i < conf->keystore_count; i++) {
		check_keystore(conf, i, d);
	}
	return d->errors == errors ? ST_OK : ST_EPARSE;
}
