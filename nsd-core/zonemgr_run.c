/* What the loop does for zones: start builds, publish what they made, look at the clock. */
#include "nsd-core/base/clock.h"
#include "nsd-core/log.h"
#include "nsd-core/zonemgr_state.h"

#include <stdio.h>
#include <stdlib.h>

void retry_later(struct retry *r)
{
	r->delay_ms = r->delay_ms == 0 ? RETRY_MIN_MS : r->delay_ms * 2;
	if (r->delay_ms > RETRY_MAX_MS) {
		r->delay_ms = RETRY_MAX_MS;
	}
	r->at_ms = clock_mono_ms() + r->delay_ms;
}

void retry_reset(struct retry *r)
{
	*r = (struct retry){.at_ms = INT64_MAX};
}

/* Keeps the first error for 'status'. Is it another than before? */
static bool keep_error(char *kept, size_t size, const struct diags *d)
{
	char text[256] = "";

	for (size_t i = 0; i < d->count; i++) {
		if (d->items[i].level == DIAG_ERROR) {
			diag_format(&d->items[i], text, sizeof(text));
			break;
		}
	}
	if (text[0] == '\0' && d->count > 0) {
		diag_format(&d->items[0], text, sizeof(text));
	}
	bool is_new = strncmp(kept, text, size - 1) != 0;
	snprintf(kept, size, "%s", text);
	return is_new;
}

/* Warming. */

static void on_warmed(struct inbox_msg *msg);

static void warm_job(struct builder_job *job)
{
	struct task *t = task_of_job(job);

	warming_run(&t->zone->warm);
	task_done(t, on_warmed);
}

void zone_warm(struct zone_state *z)
{
	struct version *cur = z->zone.cur;

	if (z->mgr->stopped || z->source.policy == NULL || cur == NULL) {
		return;
	}
	if (z->warming.busy) {
		/* It signs what nobody is served any more; what both share is kept. */
		if (z->warm.version != cur) {
			atomic_store(&z->warm.stop, true);
		}
		return;
	}
	z->warm.version = version_ref(cur);
	atomic_store(&z->warm.stop, false);
	z->warm_retry.at_ms = INT64_MAX;
	task_submit(&z->warming, z->line->warmers, BUILDER_LATER, warm_job);
}

static void warm_failed(struct zone_state *z)
{
	z->signing = SIGNING_WAITING;
	if (keep_error(z->warm_error, sizeof(z->warm_error), &z->warm.diags)) {
		log_diags(&z->warm.diags);
	}
	retry_later(&z->warm_retry);
}

/* A secondary that does not reach us serves what it has until the SOA's expire is over, and caches
 * keep that for a TTL more. */
static void check_refresh(struct zone_state *z)
{
	uint32_t refresh = zone_params(z)->refresh;
	char name[NAME_TEXT_MAX];

	if (!z->source.complete || z->refresh_told || refresh >= (uint64_t)z->expire + z->max_ttl) {
		return;
	}
	z->refresh_told = true;
	log_warn("zone %s: a secondary that does not reach us would serve signatures that have "
		 "ended: signature-refresh is %us, SOA expire %us and the largest TTL %us",
		 zone_text(z, name), refresh, z->expire, z->max_ttl);
}

static void warm_complete(struct zone_state *z)
{
	char name[NAME_TEXT_MAX];

	check_refresh(z);
	if (z->signing != SIGNING_COMPLETE) {
		log_info("zone %s: completely signed, %zu signatures", zone_text(z, name),
			 z->stats.filled);
	}
	z->signing = SIGNING_COMPLETE;
	z->warm_error[0] = '\0';
	retry_reset(&z->warm_retry);
}

static void on_warmed(struct inbox_msg *msg)
{
	struct zone_state *z = task_of_msg(msg)->zone;
	struct version *v = z->warm.version;

	z->warming.busy = false;
	z->warm.version = NULL;
	version_unref(v);
	if (z->mgr->stopped) {
		return;
	}
	if (v != z->zone.cur || z->warm.status == ST_EREFUSED) {
		zone_warm(z);
		return;
	}
	z->stats = z->warm.stats;
	z->is_measured = true;
	z->record = z->warm.record;
	if (z->warm.status == ST_OK) {
		warm_complete(z);
	} else {
		warm_failed(z);
	}
}

/* Building. */

static void on_built(struct inbox_msg *msg);

void zone_built(struct zone_state *z)
{
	task_done(&z->building, on_built);
}

static void build_job(struct builder_job *job)
{
	struct task *t = task_of_job(job);

	build_run(&t->zone->build);
	if (t->zone->build.uncommitted) {
		committer_add(&t->zone->mgr->committer, t->zone);
	} else {
		zone_built(t->zone);
	}
}

void zone_build(struct zone_state *z, unsigned want, bool asked)
{
	if (z->mgr->stopped) {
		return;
	}
	z->want |= want;
	z->want_asked |= asked;
	if (z->building.busy || z->census != NULL) {
		return;
	}
	if (z->waits) {
		if (asked) {
			census_again(z);
		}
		return;
	}
	/* What waits to be tried again goes along. */
	z->build.want = z->want | z->retry_want;
	z->want = 0;
	z->retry_want = 0;
	z->build.serial = z->given_serial;
	z->build_retry.at_ms = INT64_MAX;
	z->waiters = z->next_waiters;
	z->next_waiters = NULL;
	z->build.base = z->zone.cur != NULL ? version_ref(z->zone.cur) : NULL;
	z->build_asked = z->want_asked;
	z->want_asked = false;
	task_submit(&z->building, z->line->builds, z->build_asked ? BUILDER_ASKED : BUILDER_LATER,
		    build_job);
}

static void publish(struct zone_state *z)
{
	struct build *b = &z->build;
	struct version *old = z->zone.cur;
	struct version *next = b->next;
	char name[NAME_TEXT_MAX];

	if (old != NULL && next->keys != NULL && signer_denial(old) != signer_denial(next)) {
		log_info("zone %s: denial by %s", zone_text(z, name),
			 denial_text(signer_denial(next)));
	}
	b->next = NULL;
	version_succeed(old, next);
	rcu_publish(&z->zone.cur, next);
	if (old != NULL) {
		version_unref_deferred(old);
	}
	z->loaded_at = clock_wall_s();
	if (z->mgr->published != NULL) {
		z->mgr->published(z->mgr->published_ctx, &z->zone);
	}
	z->is_measured = b->measured;
	z->expire = b->expire;
	z->max_ttl = b->max_ttl;
	if (z->source.policy == NULL) {
		z->signing = SIGNING_NONE;
		return;
	}
	z->record = b->record;
	z->record.serial = next->serial;
	z->record.has_serial = true;
	if (b->measured) {
		z->stats = b->stats;
	}
	if (b->measured && b->stats.filled == b->stats.rrsets && b->record.signed_since != 0) {
		warm_complete(z);
		atomic_store(&z->warm.stop, true);
		return;
	}
	z->signing = SIGNING_WARMING;
	zone_warm(z);
}

static void log_published(const struct zone_state *z)
{
	const struct version *v = z->zone.cur;
	char name[NAME_TEXT_MAX];

	/* At start the sum is said once, not ten thousand lines. */
	if (!z->tried) {
		return;
	}
	if (z->build.renewed > 0) {
		log_info("zone %s: serial %u, %zu signatures renewed", zone_text(z, name),
			 v->serial, z->build.renewed);
	} else {
		log_info("zone %s: serial %u, %zu names", zone_text(z, name), v->serial,
			 v->name_count);
	}
}

/* A secondary is passed that is ahead by so much at most. */
#define PASS_MAX (UINT32_C(1) << 30)

/* Heals such a fault by itself? Those of the file do not; reading it again says the same. */
static bool is_passing(enum status st)
{
	return st == ST_EAGAIN || st == ST_EFATAL || st == ST_ENOMEM || st == ST_ELIMIT ||
	       st == ST_ETIMEDOUT;
}

static void build_failed(struct zone_state *z)
{
	struct build *b = &z->build;
	char name[NAME_TEXT_MAX];
	bool is_new = keep_error(z->build_error, sizeof(z->build_error), &b->diags);

	if (is_new || z->build_asked || !z->tried) {
		log_diags(&b->diags);
		if (z->zone.cur != NULL) {
			log_error("zone %s: not changed, serial %u is served on",
				  zone_text(z, name), z->zone.cur->serial);
		} else {
			log_error("zone %s: not loaded", zone_text(z, name));
		}
	}
	/* Another denial is the clock's to ask for again: an edit is not to wait for it. */
	if (is_passing(b->status) && (b->want & ~(unsigned)BUILD_DENIAL) != 0) {
		z->retry_want = b->want & ~(unsigned)BUILD_DENIAL;
		/* The file may have been read: it is to be read again, though it has not changed
		 * since. */
		if ((b->want & (BUILD_CHANGED | BUILD_SETTLED)) != 0) {
			file_stamps_fini(&b->read);
		}
		retry_later(&z->build_retry);
	} else if ((b->want & BUILD_BY_CLOCK) != 0) {
		z->clock_ms = clock_mono_ms() + REFRESH_PAUSE_MS;
	}
}

static void build_good(struct zone_state *z)
{
	struct build *b = &z->build;

	log_diags(&b->diags);
	z->build_error[0] = '\0';
	retry_reset(&z->build_retry);
	if (b->outcome == BUILD_NEW) {
		publish(z);
		log_published(z);
	} else if ((b->want & BUILD_BY_CLOCK) != 0) {
		z->clock_ms = clock_mono_ms() + REFRESH_PAUSE_MS;
		zone_warm(z);
	}
}

static void tell_waiters(struct zone_state *z, enum status st)
{
	struct waiter *w = z->waiters;
	uint32_t serial = z->zone.cur != NULL ? z->zone.cur->serial : 0;

	z->waiters = NULL;
	while (w != NULL) {
		struct waiter *next = w->next;
		w->done(w->ctx, st, serial, &z->build.diags);
		free(w);
		w = next;
	}
}

void zone_was_tried(struct zone_state *z)
{
	struct zonemgr *m = z->mgr;

	if (z->tried) {
		return;
	}
	z->tried = true;
	if (--m->untried == 0 && m->loaded != NULL) {
		m->loaded(m->loaded_ctx);
	}
}

static void build_made_way(const struct zone_state *z)
{
	char name[NAME_TEXT_MAX];

	if (atomic_load(&z->build.yield)) {
		log_info("zone %s: denial by %s waits for other changes", zone_text(z, name),
			 denial_text(atomic_load(&z->source.policy->denial)));
	}
}

static void on_built(struct inbox_msg *msg)
{
	struct zone_state *z = task_of_msg(msg)->zone;
	struct build *b = &z->build;

	version_unref(b->base);
	b->base = NULL;
	if (z->mgr->stopped) {
		version_unref(b->next);
		b->next = NULL;
		z->building.busy = false;
		return;
	}
	switch (b->outcome) {
	case BUILD_NEW:
	case BUILD_SAME:
		build_good(z);
		break;
	case BUILD_FAILED:
		build_failed(z);
		break;
	case BUILD_UNSETTLED:
		zone_look_again(z, SETTLE_MS);
		break;
	case BUILD_NONE:
		build_made_way(z);
		break;
	}
	/* Still busy, so that a waiter who asks again waits for a build of its own. */
	tell_waiters(z, b->status);
	z->building.busy = false;
	zone_was_tried(z);
	if (z->want != 0) {
		zone_build(z, 0, false);
	}
}

/* With a finding of its own. */
static void refuse(zonemgr_done cb, void *ctx, enum status st, const char *why)
{
	struct diags d;

	diags_init(&d, 1);
	if (why != NULL) {
		diags_error(&d, "%s", why);
	}
	cb(ctx, st, 0, &d);
	diags_fini(&d);
}

void zone_fail_waiters(struct zone_state *z, enum status st, const char *why)
{
	struct waiter *w = z->next_waiters;

	z->next_waiters = NULL;
	while (w != NULL) {
		struct waiter *next = w->next;
		refuse(w->done, w->ctx, st, why);
		free(w);
		w = next;
	}
}

/* False: there is no memory, which is told. cb may be NULL. */
static bool add_waiter(struct zone_state *z, zonemgr_done cb, void *ctx)
{
	if (cb == NULL) {
		return true;
	}
	struct waiter *w = malloc(sizeof(*w));
	if (w == NULL) {
		refuse(cb, ctx, ST_ENOMEM, NULL);
		return false;
	}
	*w = (struct waiter){.next = z->next_waiters, .done = cb, .ctx = ctx};
	z->next_waiters = w;
	return true;
}

void zonemgr_reload(struct zonemgr *m, struct zone *zone, bool force, zonemgr_done cb, void *ctx)
{
	struct zone_state *z = zone->manager;

	(void)m;
	if (add_waiter(z, cb, ctx)) {
		zone_build(z, BUILD_READ | (force ? BUILD_FORCE : 0), true);
	}
}

void zonemgr_reload_serial(struct zonemgr *m, struct zone *zone, bool force, uint32_t serial,
			   zonemgr_done cb, void *ctx)
{
	struct zone_state *z = zone->manager;

	(void)m;
	if (z->source.serial == SERIAL_KEEP) {
		if (cb != NULL) {
			refuse(cb, ctx, ST_EREFUSED,
			       "the zone is served as it is, with its file's serial: set that, or "
			       "give the zone 'serial: increment'");
		}
		return;
	}
	if (!add_waiter(z, cb, ctx)) {
		return;
	}
	/* Also where the build fails for now: what the operator says is what secondaries have. */
	if (z->census != NULL || z->waits) {
		census_drop(z);
		z->source.floor = serial - 1;
		z->source.has_floor = true;
	}
	z->given_serial = serial;
	zone_build(z, BUILD_READ | BUILD_SERIAL | (force ? BUILD_FORCE : 0), true);
}

void zonemgr_pass_serial(struct zonemgr *m, struct zone *zone, uint32_t serial)
{
	struct zone_state *z = zone->manager;
	bool is_under_way = z->has_passed && !serial_gt(serial, z->passed_serial);

	(void)m;
	if (z->source.serial == SERIAL_KEEP || zone->cur == NULL || is_under_way ||
	    !serial_gt(serial, zone->cur->serial)) {
		return;
	}
	/* Who is that far ahead may be wrong, or an answer forged where there is no key: half of
	 * all serials would be behind ours, and the others' secondaries with them. */
	if (serial - zone->cur->serial > PASS_MAX) {
		return;
	}
	z->has_passed = true;
	z->passed_serial = serial;
	z->given_serial = serial_next(z->source.serial, serial, clock_wall_s());
	zone_build(z, BUILD_READ | BUILD_SERIAL, true);
}

void zonemgr_reload_all(struct zonemgr *m)
{
	zonemgr_read_policies(m);
	for (size_t i = 0; i < m->zone_count; i++) {
		struct zone_state *z = &m->states[i];
		bool again = z->zone.cur == NULL || z->build_error[0] != '\0';
		zone_build(z, again ? BUILD_READ : BUILD_CHANGED, true);
	}
}

static void on_nothing_to_load(struct inbox_msg *msg)
{
	struct zonemgr *m = container_of(msg, struct zonemgr, loaded_msg);

	if (m->loaded != NULL && !m->stopped) {
		m->loaded(m->loaded_ctx);
	}
}

/* Which zones' folders are to be watched. Where that fails their files are looked at every few
 * seconds all the same. */
static enum status start_watch(struct zonemgr *m, struct diags *d)
{
	size_t count = 0;

	m->watch_paths = calloc(m->zone_count + 1, sizeof(*m->watch_paths));
	m->watched = calloc(m->zone_count + 1, sizeof(*m->watched));
	if (m->watch_paths == NULL || m->watched == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < m->zone_count; i++) {
		if (m->states[i].conf->watch) {
			m->watch_paths[count] = m->states[i].conf->file;
			m->watched[count++] = i;
		}
	}
	return watch_start(m->loop, m->watch_paths, count, zonemgr_on_touched, m, &m->watch, d);
}

void zonemgr_load_all(struct zonemgr *m, void (*done)(void *ctx), void *ctx)
{
	struct diags d;

	m->loaded = done;
	m->loaded_ctx = ctx;
	m->untried = m->zone_count;
	if (m->zone_count == 0) {
		inbox_post(&m->inbox, &m->loaded_msg, on_nothing_to_load);
	}
	for (size_t i = 0; i < m->zone_count; i++) {
		zone_first_build(&m->states[i]);
	}
	diags_init(&d, DIAGS_LIMIT);
	if (start_watch(m, &d) != ST_OK) {
		log_warn("folders are not watched: no memory");
	}
	log_diags(&d);
	diags_fini(&d);
	uv_timer_start(&m->tick, zonemgr_on_tick, m->tick_ms, m->tick_ms);
}

void zone_abandon(struct zone_state *z)
{
	census_drop(z);
	/* Jobs that builder_stop() dropped. */
	if (z->building.busy) {
		version_unref(z->build.base);
		z->build.base = NULL;
		z->building.busy = false;
	}
	if (z->warming.busy) {
		version_unref(z->warm.version);
		z->warming.busy = false;
	}
	if (z->saving.busy) {
		version_unref(z->saved.version);
		z->saved.version = NULL;
		z->saving.busy = false;
	}
	if (z->measuring.busy) {
		version_unref(z->measure_version);
		z->measuring.busy = false;
	}
	diags_fini(&z->build.diags);
	diags_init(&z->build.diags, 1);
	tell_waiters(z, ST_EREFUSED);
	z->waiters = z->next_waiters;
	z->next_waiters = NULL;
	tell_waiters(z, ST_EREFUSED);
}
