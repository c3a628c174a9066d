/* The zone manager's parts, up and down. */
#include "nsd-core/log.h"
#include "nsd-core/zonemgr_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS	     1000
#define WARMERS	     2
#define ERRANDS	     2
#define BUILDERS_MIN 2
#define BUILDERS_MAX 8

static enum status policy_init(struct build_policy *p, const struct conf_policy *c,
			       struct keystore *const *keystores)
{
	const struct {
		const struct conf_key *key;
		enum key_role role;
	} keys[] = {{&c->csk, KEY_CSK}, {&c->ksk, KEY_KSK}, {&c->zsk, KEY_ZSK}};

	p->params = (struct sign_params){
		.algorithm = ALG_ECDSAP256SHA256,
		.eager = c->eager,
		.publish_cds = c->publish_cds,
		.dnskey_ttl = c->dnskey_ttl,
		.refresh = c->refresh_s,
		.validity = c->validity_s,
		.propagation = c->propagation_s,
	};
	p->refresh_given = c->refresh_given;
	p->validity_given = c->validity_given;
	atomic_init(&p->denial, denial_from_conf(c));
	snprintf(p->params.policy, sizeof(p->params.policy), "%s", c->name);
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		const struct conf_key *key = keys[k].key;
		if (!key->present || p->wanted_count == POLICY_KEYS_MAX) {
			continue;
		}
		struct key_wanted *w = &p->wanted[p->wanted_count];
		*w = (struct key_wanted){.role = keys[k].role, .store = keystores[key->keystore]};
		if (key->key != NULL || key->shared) {
			enum status st =
				key_source_new(c->name, w->role, w->store, key->key, &w->source);
			if (st != ST_OK) {
				return st;
			}
		}
		p->wanted_count++;
	}
	return ST_OK;
}

/* After the keystores. */
static enum status make_policies(struct zonemgr *m)
{
	const struct conf *conf = m->conf;

	m->policies = calloc(conf->policy_count + 1, sizeof(*m->policies));
	if (m->policies == NULL) {
		return ST_ENOMEM;
	}
	enum status st = ST_OK;
	for (size_t i = 0; i < conf->policy_count && st == ST_OK; i++) {
		st = policy_init(&m->policies[i], &conf->policies[i], m->keystores);
	}
	return st;
}

static void free_policies(struct zonemgr *m)
{
	for (size_t i = 0; m->policies != NULL && i < m->conf->policy_count; i++) {
		for (size_t k = 0; k < m->policies[i].wanted_count; k++) {
			key_source_free(m->policies[i].wanted[k].source);
		}
	}
	free(m->policies);
}

enum status keystore_from_conf(const struct conf_keystore *c, const char *key_folder,
			       struct keystore **out, struct diags *d)
{
	const struct keystore_options opt = {
		.name = c->name,
		.type = c->type,
		.module = c->module,
		.token = c->token,
		.uri = c->uri,
		.slot = c->slot,
		.pin_file = c->pin_file,
		.init_args = c->init_args,
		.directory = key_folder,
		.passphrase_file = c->passphrase_file,
		.isolate = c->isolate,
		.region = c->region,
		.endpoint = c->endpoint,
		.profile = c->profile,
		.ca_file = c->ca_file,
		.rate = c->rate,
		.sessions = c->sessions,
	};

	return keystore_new(&opt, out, d);
}

/* Of the keystore that makes nearly all of the zone's signatures. */
static size_t line_of(const struct conf *conf, const struct conf_zone *c)
{
	if (c->policy < 0) {
		return conf->keystore_count;
	}
	const struct conf_policy *p = &conf->policies[c->policy];
	return p->csk.present ? p->csk.keystore : p->zsk.keystore;
}

static enum status zone_init(struct zonemgr *m, size_t i, struct diags *d)
{
	struct zone_state *z = &m->states[i];
	const struct conf_zone *c = &m->conf->zones[i];

	z->mgr = m;
	z->conf = c;
	z->line = &m->lines[line_of(m->conf, c)];
	z->zone.name_len = (uint8_t)name_lower(z->zone.name, c->name);
	z->zone.labels = (uint8_t)name_labels(z->zone.name);
	z->zone.hash = name_hash(z->zone.name);
	z->zone.conf = c;
	z->zone.is_hidden = c->is_catalog;
	z->zone.manager = z;
	m->zones[i] = &z->zone;

	z->source.apex = z->zone.name;
	z->source.path = c->file;
	z->source.make = content_maker_of(c);
	z->source.conf = m->conf;
	z->source.zone = c;
	z->source.policy = c->policy >= 0 ? &m->policies[c->policy] : NULL;
	z->source.db = m->store;
	z->source.signer = m->signer;
	z->source.stop = &m->stop;
	z->source.complete = c->secondary_count > 0;
	z->source.serial = (enum serial_kind)c->serial;
	if (c->policy >= 0 && c->serial == SERIAL_KEEP) {
		z->source.serial = SERIAL_INCREMENT;
	}
	/* It has no file that says where to begin. */
	if (c->is_catalog && c->serial == SERIAL_KEEP) {
		z->source.serial = SERIAL_UNIXTIME;
	}
	ledger_init(&z->source.ledger);

	z->building.zone = z;
	z->warming.zone = z;
	z->measuring.zone = z;
	z->saving.zone = z;
	z->asking.zone = z;
	build_init(&z->build, &z->source);
	z->warm.src = &z->source;
	diags_init(&z->warm.diags, DIAGS_LIMIT);
	diags_init(&z->ask_diags, DIAGS_LIMIT);
	z->build_retry.at_ms = INT64_MAX;
	z->census_retry.at_ms = INT64_MAX;
	z->warm_retry.at_ms = INT64_MAX;
	z->stats.next_refresh = INT64_MAX;
	z->stats.safe_until = INT64_MAX;
	if (z->source.complete) {
		enum status st = journal_zone_new(m->journal, z->zone.name, c->journal_bytes,
						  &z->source.history, d);
		if (st != ST_OK) {
			return st;
		}
		z->zone.journal = z->source.history;
	}
	if (z->source.serial == SERIAL_KEEP) {
		return ST_OK;
	}
	enum status st = ST_OK;
	if (z->source.policy != NULL) {
		z->source.signatures = m->signatures;
		st = sigstore_zone_new(z->zone.name, &z->source.kept);
	}
	if (st != ST_OK) {
		return st;
	}
	/* Before anything is built: 'status' shows since when it has been signed. */
	st = zone_record_get(m->store, z->zone.name, &z->record);
	return st == ST_ENOENT ? ST_OK : st;
}

static bool keeps_history(void *ctx, const uint8_t *apex)
{
	const struct zonemgr *m = ctx;
	const struct zone *z = zonedb_exact(m->db, apex);

	return z != NULL && z->journal != NULL;
}

/* Of zones that have no secondaries any more, or are gone. */
static void drop_histories(struct zonemgr *m, struct diags *d)
{
	size_t removed = 0;
	enum status st = journal_prune(m->journal, keeps_history, m, &removed);

	if (st != ST_OK) {
		diags_warn(d, "journals that nobody needs cannot be removed: %s", status_text(st));
	} else if (removed > 0) {
		log_info("journals removed of %zu zones that have no secondaries", removed);
	}
}

static enum status make_zones(struct zonemgr *m, struct diags *d)
{
	size_t count = m->conf->zone_count;
	enum status st = ST_OK;
	char name[NAME_TEXT_MAX];

	m->lines = calloc(m->conf->keystore_count + 1, sizeof(*m->lines));
	m->states = calloc(count + 1, sizeof(*m->states));
	m->zones = calloc(count + 1, sizeof(struct zone *));
	if (m->lines == NULL || m->states == NULL || m->zones == NULL) {
		return ST_ENOMEM;
	}
	while (m->zone_count < count && st == ST_OK) {
		st = zone_init(m, m->zone_count++, d);
	}
	if (st != ST_OK) {
		diags_error(d, "zone %s: its record in the state directory cannot be read: %s",
			    name_to_text(m->zones[m->zone_count - 1]->name, name), status_text(st));
		return st;
	}
	st = zonedb_new(m->zones, count, &m->db);
	if (st == ST_OK) {
		drop_histories(m, d);
	}
	return st;
}

static enum status open_state(struct zonemgr *m, const struct zonemgr_options *opt, struct diags *d)
{
	const char *state = m->conf->server.state;
	const struct store_options store = {.map_bytes = ZONEMGR_STORE_BYTES};
	/* The CPUs that the operator gave the workers are those that signing may take. */
	const struct signer_options sign = {.settled = opt->settled,
					    .ctx = opt->settled_ctx,
					    .threads = m->conf->server.workers};

	if (mkdir(state, 0700) != 0 && errno != EEXIST) {
		diags_error(d, "%s: the state directory cannot be made: %s", state,
			    strerror(errno));
		return status_from_errno(errno);
	}
	if (asprintf(&m->key_folder, "%s/keys", state) < 0) {
		m->key_folder = NULL;
		return ST_ENOMEM;
	}
	enum status st = store_open(state, ZONEMGR_STORE, &store, &m->store, d);
	if (st == ST_OK) {
		st = signer_new(&sign, &m->signer);
	}
	if (st == ST_OK) {
		st = signatures_open(state, &m->signatures, d);
	}
	return st == ST_OK ? journal_open(state, JOURNAL_MAP_BYTES, &m->journal, d) : st;
}

static enum status make_keystores(struct zonemgr *m, struct diags *d)
{
	const struct conf *conf = m->conf;
	enum status st = ST_OK;

	m->keystores = calloc(conf->keystore_count + 1, sizeof(struct keystore *));
	m->keystores_up = calloc(conf->keystore_count + 1, sizeof(bool));
	if (m->keystores == NULL || m->keystores_up == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < conf->keystore_count && st == ST_OK; i++) {
		st = keystore_from_conf(&conf->keystores[i], m->key_folder, &m->keystores[i], d);
	}
	return st;
}

/* Where it is not started yet. */
static enum status line_start(struct zone_line *line, bool is_signed, unsigned count)
{
	enum status st = ST_OK;

	if (line->builds == NULL) {
		st = builder_start("builder", count, &line->builds);
	}
	if (st == ST_OK && is_signed && line->warmers == NULL) {
		st = builder_start("warmer", WARMERS, &line->warmers);
	}
	return st;
}

static enum status start_builders(struct zonemgr *m)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned count = cpus < BUILDERS_MIN   ? BUILDERS_MIN
			 : cpus > BUILDERS_MAX ? BUILDERS_MAX
					       : (unsigned)cpus;
	enum status st = ST_OK;

	for (size_t i = 0; i < m->zone_count && st == ST_OK; i++) {
		const struct zone_state *z = &m->states[i];
		st = line_start(z->line, z->source.policy != NULL, count);
	}
	if (st == ST_OK) {
		st = builder_start("errand", ERRANDS, &m->errands);
	}
	if (st == ST_OK) {
		st = committer_start(&m->committer);
	}
	return st == ST_OK ? saver_start(&m->saver) : st;
}

static enum status attach(struct zonemgr *m)
{
	enum status st = inbox_init(&m->inbox, m->loop);

	if (st != ST_OK) {
		return st;
	}
	/* Timers cannot fail. */
	uv_timer_init(m->loop, &m->tick);
	uv_timer_init(m->loop, &m->soon);
	m->tick.data = m;
	m->soon.data = m;
	m->attached = true;
	return ST_OK;
}

enum status zonemgr_new(const struct zonemgr_options *opt, struct zonemgr **out, struct diags *d)
{
	struct zonemgr *m = calloc(1, sizeof(*m));

	if (m == NULL) {
		return ST_ENOMEM;
	}
	m->conf = opt->conf;
	m->asker = opt->asker;
	m->keys = opt->keys;
	m->published = opt->published;
	m->published_ctx = opt->published_ctx;
	m->loop = opt->loop;
	m->tick_ms = opt->tick_ms != 0 ? opt->tick_ms : TICK_MS;
	enum status st = open_state(m, opt, d);
	if (st == ST_OK) {
		st = make_keystores(m, d);
	}
	if (st == ST_OK) {
		st = make_policies(m);
	}
	if (st == ST_OK) {
		st = make_zones(m, d);
	}
	if (st == ST_OK) {
		st = start_builders(m);
	}
	/* Last, so that what fails leaves nothing in the loop. */
	if (st == ST_OK) {
		st = attach(m);
	}
	if (st != ST_OK) {
		zonemgr_stop(m);
		zonemgr_free(m);
		return st;
	}
	*out = m;
	return ST_OK;
}

void zonemgr_stop(struct zonemgr *m)
{
	if (m->stopped) {
		return;
	}
	m->stopped = true;
	atomic_store(&m->stop, true);
	for (size_t i = 0; i < m->zone_count; i++) {
		atomic_store(&m->states[i].warm.stop, true);
		atomic_store(&m->states[i].build.yield, true);
	}
	/* Builders may wait for them. */
	for (size_t i = 0; m->keystores != NULL && i < m->conf->keystore_count; i++) {
		if (m->keystores[i] != NULL) {
			keystore_stop(m->keystores[i]);
		}
	}
	for (size_t i = 0; m->lines != NULL && i <= m->conf->keystore_count; i++) {
		builder_stop(m->lines[i].builds);
		builder_stop(m->lines[i].warmers);
	}
	builder_stop(m->errands);
	committer_stop(&m->committer);
	saver_stop(&m->saver);
	for (size_t i = 0; m->keystores != NULL && i < m->conf->keystore_count; i++) {
		keystore_free(m->keystores[i]);
		m->keystores[i] = NULL;
	}
	if (m->attached) {
		inbox_drain(&m->inbox);
	}
	for (size_t i = 0; i < m->zone_count; i++) {
		zone_abandon(&m->states[i]);
	}
	zonemgr_save_rest(m);
	watch_stop(m->watch);
	m->watch = NULL;
	if (m->attached) {
		uv_close((uv_handle_t *)&m->tick, NULL);
		uv_close((uv_handle_t *)&m->soon, NULL);
		inbox_close(&m->inbox);
	}
}

void zonemgr_free(struct zonemgr *m)
{
	if (m == NULL) {
		return;
	}
	for (size_t i = 0; i < m->zone_count; i++) {
		struct zone_state *z = &m->states[i];
		build_fini(&z->build);
		diags_fini(&z->warm.diags);
		diags_fini(&z->ask_diags);
		version_unref(z->zone.cur);
		ledger_fini(&z->source.ledger);
		sigstore_zone_free(z->source.kept);
		journal_zone_free(z->source.history);
	}
	/* Versions that were replaced just now. */
	rcu_drain();
	for (size_t i = 0; m->lines != NULL && i <= m->conf->keystore_count; i++) {
		builder_free(m->lines[i].builds);
		builder_free(m->lines[i].warmers);
	}
	free(m->lines);
	builder_free(m->errands);
	committer_fini(&m->committer);
	saver_fini(&m->saver);
	signer_free(m->signer);
	store_close(m->store);
	store_close(m->signatures);
	journal_close(m->journal);
	zonedb_free(m->db);
	free(m->states);
	free(m->zones);
	free_policies(m);
	free(m->keystores);
	free(m->keystores_up);
	free(m->key_folder);
	free(m->watched);
	free(m->watch_paths);
	free(m);
}

const struct zonedb *zonemgr_db(const struct zonemgr *m)
{
	return m->db;
}

struct signer *zonemgr_signer(const struct zonemgr *m)
{
	return m->signer;
}

struct zone *const *zonemgr_zones(const struct zonemgr *m, size_t *count)
{
	*count = m->zone_count;
	return m->zones;
}

const struct conf_zone *zonemgr_conf(const struct zonemgr *m, const struct zone *z)
{
	(void)m;
	return ((const struct zone_state *)z->manager)->conf;
}

struct keystore *zonemgr_keystore(const struct zonemgr *m, size_t index)
{
	return m->keystores[index];
}

struct store *zonemgr_store(const struct zonemgr *m)
{
	return m->store;
}
