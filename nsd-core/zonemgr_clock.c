/* What the clock asks for: refreshing, trying again, looking at files, asking parents. */
#include "nsd-core/base/clock.h"
#include "nsd-core/log.h"
#include "nsd-core/zonemgr_state.h"

#define MEASURE_EACH_TICKS 5
#define MEASURING_MAX	   16
#define SOON_MS		   10

void zone_look_again(struct zone_state *z, int64_t in_ms)
{
	z->look_ms = clock_mono_ms() + in_ms;
	if (!uv_is_active((uv_handle_t *)&z->mgr->soon)) {
		uv_timer_start(&z->mgr->soon, zonemgr_on_tick, (uint64_t)in_ms + SOON_MS, 0);
	}
}

static void on_measured(struct inbox_msg *msg)
{
	struct zone_state *z = task_of_msg(msg)->zone;
	struct version *v = z->measure_version;

	z->measuring.busy = false;
	z->measure_version = NULL;
	z->mgr->measuring--;
	/* Warming that is over has counted later than this. */
	if (v == z->zone.cur && z->warming.busy) {
		z->stats = z->measure_stats;
	}
	version_unref(v);
}

static void measure_job(struct builder_job *job)
{
	struct task *t = task_of_job(job);

	signer_stats(t->zone->measure_version, &t->zone->measure_stats);
	task_done(t, on_measured);
}

/* How far is warming? Walking a zone is not for the loop. */
static void zone_measure(struct zone_state *z)
{
	if (z->measuring.busy || z->mgr->measuring >= MEASURING_MAX || z->zone.cur == NULL) {
		return;
	}
	z->mgr->measuring++;
	z->measure_version = version_ref(z->zone.cur);
	task_submit(&z->measuring, z->mgr->errands, BUILDER_ASKED, measure_job);
}

/* The parent. */

static void on_asked(struct inbox_msg *msg)
{
	struct zone_state *z = task_of_msg(msg)->zone;
	char name[NAME_TEXT_MAX];

	z->asking.busy = false;
	z->ask_ms = clock_mono_ms() + PARENT_EACH_MS;
	if (z->ask_status != ST_OK) {
		log_diags(&z->ask_diags);
	}
	/* z->record too: a DS that was seen counts even where that could not be written down. */
	bool never = z->ask_status == ST_OK && z->asked == PARENT_ABSENT &&
		     !z->ask_record.ds_ever_seen && !z->record.ds_ever_seen;
	if (z->asked == PARENT_PRESENT && !z->record.ds_ever_seen) {
		log_info("zone %s: its parent has a DS", zone_text(z, name));
		z->record.ds_ever_seen = true;
	}
	atomic_store(&z->zone.ds_never_seen, never);
}

static void ask_job(struct builder_job *job)
{
	struct task *t = task_of_job(job);
	struct zone_state *z = t->zone;

	diags_fini(&z->ask_diags);
	diags_init(&z->ask_diags, DIAGS_LIMIT);
	z->asked = parent_ask(z->zone.name, z->conf->parent, z->conf->parent_count, z->source.stop);
	z->ask_status = ST_OK;
	if (z->asked == PARENT_PRESENT) {
		z->ask_status = ledger_put_ds_seen(&z->source, &z->ask_diags);
	}
	if (z->ask_status == ST_OK) {
		z->ask_status = ledger_get(&z->source, &z->ask_record, &z->ask_diags);
	}
	task_done(t, on_asked);
}

/* The clock. */

static bool cds_is_due(const struct zone_state *z, int64_t now_s)
{
	const struct sign_params *p = &z->source.policy->params;

	return p->publish_cds && node_rrset(z->zone.cur->apex, RR_CDS) == NULL &&
	       ds_safe_from(&z->record, p->propagation) <= now_s;
}

/* Too little is left of some signature: refreshing did not get on for long. */
static void raise_alarm(struct zone_state *z, int64_t now_s)
{
	char name[NAME_TEXT_MAX];
	char until[24];

	if (!z->is_measured || z->stats.safe_until == INT64_MAX ||
	    z->stats.safe_until - now_s > zone_params(z)->refresh / 4 || now_s < z->alarm_s) {
		return;
	}
	z->alarm_s = now_s + ALARM_EACH_S;
	log_error("zone %s: its signatures %s at %s and are not renewed: %s", zone_text(z, name),
		  z->stats.safe_until <= now_s ? "EXPIRED" : "expire",
		  time_to_text(z->stats.safe_until, until),
		  z->build_error[0] != '\0' ? z->build_error : z->warm_error);
}

/* Others wait for a build of another denial, which may take long: it goes on after them. */
static void make_way(struct zone_state *z, int64_t now_ms)
{
	if (z->building.busy && z->build.want == BUILD_DENIAL && z->want != 0 &&
	    now_ms >= atomic_load(&z->build.yield_from_ms)) {
		atomic_store(&z->build.yield, true);
	}
}

static void signed_tick(struct zone_state *z, int64_t now_ms, int64_t now_s)
{
	if (z->conf->parent_count > 0 && !z->asking.busy && now_ms >= z->ask_ms) {
		task_submit(&z->asking, z->mgr->errands, BUILDER_LATER, ask_job);
	}
	if (z->zone.cur == NULL) {
		return;
	}
	if (now_ms >= z->warm_retry.at_ms) {
		zone_warm(z);
	}
	if (z->warming.busy && z->mgr->ticks % MEASURE_EACH_TICKS == 0) {
		zone_measure(z);
	}
	zone_save(z, now_ms);
	raise_alarm(z, now_s);
	make_way(z, now_ms);
	if (z->building.busy || z->retry_want != 0 || now_ms < z->clock_ms) {
		return;
	}
	unsigned want = 0;
	if (z->is_measured && z->stats.next_refresh <= now_s) {
		want |= BUILD_REFRESH;
	}
	if (cds_is_due(z, now_s)) {
		want |= BUILD_TIME;
	}
	if (want == 0 && signer_denial(z->zone.cur) != atomic_load(&z->source.policy->denial)) {
		want = BUILD_DENIAL;
	}
	if (want != 0) {
		zone_build(z, want, false);
	}
}

/* Has a keystore come back? */
static bool keystore_is_back(struct zonemgr *m)
{
	bool back = false;

	for (size_t i = 0; i < m->conf->keystore_count; i++) {
		struct keystore_health h;
		keystore_health(m->keystores[i], &h);
		back |= h.state == KEYSTORE_UP && !m->keystores_up[i];
		m->keystores_up[i] = h.state == KEYSTORE_UP;
	}
	return back;
}

/* What waits to be tried again need not wait longer. */
static void retry_now(struct retry *r, int64_t now_ms)
{
	if (r->at_ms != INT64_MAX) {
		r->at_ms = now_ms;
	}
}

void zonemgr_on_tick(uv_timer_t *timer)
{
	struct zonemgr *m = timer->data;
	int64_t now_ms = clock_mono_ms();
	int64_t now_s = clock_wall_s();
	bool back = keystore_is_back(m);

	m->ticks += timer == &m->tick;
	for (size_t i = 0; i < m->zone_count; i++) {
		struct zone_state *z = &m->states[i];
		if (!z->tried) {
			continue;
		}
		if (back) {
			retry_now(&z->build_retry, now_ms);
			retry_now(&z->warm_retry, now_ms);
			z->clock_ms = now_ms;
		}
		if (now_ms >= z->census_retry.at_ms) {
			census_again(z);
		}
		if (now_ms >= z->build_retry.at_ms) {
			zone_build(z, 0, false);
		}
		/* Trying again reads the file too, in its own time. */
		if (z->conf->watch && z->retry_want == 0 && now_ms >= z->look_ms) {
			z->look_ms = now_ms + LOOK_MS;
			zone_build(z, BUILD_SETTLED, false);
		}
		if (z->source.policy != NULL) {
			signed_tick(z, now_ms, now_s);
		}
	}
}

void zonemgr_on_touched(void *ctx, size_t index)
{
	struct zonemgr *m = ctx;

	zone_look_again(&m->states[m->watched[index]], 0);
}
