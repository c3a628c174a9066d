/* Signatures on their way to the disk, behind what is served: many zones in one transaction. */
#include "nsd-core/base/clock.h"
#include "nsd-core/log.h"
#include "nsd-core/zonemgr_state.h"

#include <stdio.h>
#include <time.h>

#define SAVE_MAX       256
#define SAVE_EACH_MS   1000
#define SAVE_FAILED_MS 60000
/* Looking for what is new takes at most this part of the time. */
#define SAVE_TIME_PART 20
/* Address space only; two hundred octets a signature. */
#define STORE_MAP_BYTES ((size_t)32 << 30)

#define PATH_ROOM 4200

static bool set_aside(const char *state, char path[PATH_ROOM], char aside[PATH_ROOM])
{
	snprintf(path, PATH_ROOM, "%s/%s.lmdb", state, ZONEMGR_SIGNATURES);
	snprintf(aside, PATH_ROOM, "%s/%s.lmdb.damaged", state, ZONEMGR_SIGNATURES);
	return rename(path, aside) == 0;
}

/* It opens, and cannot be written: so it would at each start. Once; the next start makes another.
 */
static void give_up(struct zonemgr *m)
{
	char path[PATH_ROOM];
	char aside[PATH_ROOM];

	if (m->saver.given_up) {
		return;
	}
	m->saver.given_up = true;
	if (set_aside(m->conf->server.state, path, aside)) {
		log_warn("%s: the store of signatures is damaged; it is kept as %s, and signatures "
			 "are kept again from the next start on",
			 path, aside);
	}
}

enum status signatures_open(const char *state, struct store **out, struct diags *d)
{
	const struct store_options opt = {.map_bytes = STORE_MAP_BYTES};
	char path[PATH_ROOM];
	char aside[PATH_ROOM];
	struct diags why;

	diags_init(&why, DIAGS_LIMIT);
	enum status st = store_open(state, ZONEMGR_SIGNATURES, &opt, out, &why);
	/* What is there can be made again; zones must be served. */
	if (st == ST_EIO && set_aside(state, path, aside)) {
		diags_warn(d,
			   "%s: the store of signatures is damaged; it is kept as %s, and what is "
			   "missing is signed again",
			   path, aside);
		st = store_open(state, ZONEMGR_SIGNATURES, &opt, out, d);
	} else if (st != ST_OK) {
		diags_take(d, &why);
	}
	diags_fini(&why);
	return st;
}

enum status saver_start(struct saver *s)
{
	pthread_mutex_init(&s->lock, NULL);
	s->last = &s->first;
	return builder_start("saver", 1, &s->thread);
}

void saver_stop(struct saver *s)
{
	builder_stop(s->thread);
}

void saver_fini(struct saver *s)
{
	builder_free(s->thread);
	pthread_mutex_destroy(&s->lock);
}

/* Up to SAVE_MAX zones; none: the job is over. */
static size_t take(struct saver *s, struct zone_state **zones)
{
	size_t count = 0;

	pthread_mutex_lock(&s->lock);
	while (s->first != NULL && count < SAVE_MAX) {
		zones[count++] = s->first;
		s->first = s->first->next_save;
	}
	if (s->first == NULL) {
		s->last = &s->first;
	}
	s->busy = count > 0;
	pthread_mutex_unlock(&s->lock);
	return count;
}

static int64_t since_ms(int64_t start_ms)
{
	return clock_mono_ms() - start_ms;
}

/* Where one transaction is lost, so is what all zones before put into it. */
static void save_zones(struct store *db, struct zone_state *const *zones, size_t count)
{
	struct sigstore_writer w = {.db = db};
	enum status st = ST_OK;

	for (size_t i = 0; i < count && st == ST_OK; i++) {
		struct saved *s = &zones[i]->saved;
		int64_t start_ms = clock_mono_ms();
		st = sigstore_save(&w, zones[i]->source.kept, s->version, &s->empty);
		s->took_ms = since_ms(start_ms);
	}
	enum status flushed = sigstore_flush(&w);
	st = st == ST_OK ? flushed : st;
	for (size_t i = 0; i < count; i++) {
		zones[i]->saved.status = st;
		if (st != ST_OK) {
			sigstore_doubt(zones[i]->source.kept);
		}
	}
}

static void on_saved(struct inbox_msg *msg)
{
	struct task *t = task_of_msg(msg);
	struct zone_state *z = t->zone;
	struct saved *s = &z->saved;
	char name[NAME_TEXT_MAX];
	struct version *v = s->version;

	t->busy = false;
	s->version = NULL;
	int64_t pause_ms = s->took_ms * SAVE_TIME_PART;
	s->at_ms = clock_mono_ms() + (pause_ms > SAVE_EACH_MS ? pause_ms : SAVE_EACH_MS);
	if (s->status == ST_OK) {
		s->any = true;
		s->serial = v->serial;
		s->made = s->made_then;
	} else {
		s->at_ms = clock_mono_ms() + SAVE_FAILED_MS;
		log_error("zone %s: its signatures cannot be written to the state directory: %s",
			  zone_text(z, name), status_text(s->status));
		if (s->status == ST_EIO) {
			give_up(z->mgr);
		}
	}
	version_unref(v);
}

static void save_job(struct builder_job *job)
{
	struct saver *s = container_of(job, struct saver, job);
	struct zone_state *zones[SAVE_MAX];
	size_t count;

	while ((count = take(s, zones)) > 0) {
		save_zones(zones[0]->mgr->signatures, zones, count);
		for (size_t i = 0; i < count; i++) {
			task_done(&zones[i]->saving, on_saved);
		}
	}
}

/* Has anything been signed or published that is not on disk? */
static bool is_behind(const struct zone_state *z)
{
	const struct saved *s = &z->saved;
	const struct version *v = z->zone.cur;

	if (z->source.kept == NULL || v == NULL || v->keys == NULL) {
		return false;
	}
	return !s->any || s->serial != v->serial ||
	       (s->empty > 0 && s->made != signer_made(z->source.signer));
}

bool zone_is_saved(const struct zone_state *z)
{
	return z->source.kept != NULL && !is_behind(z);
}

void zone_save(struct zone_state *z, int64_t now_ms)
{
	struct saver *s = &z->mgr->saver;

	if (z->saving.busy || s->given_up || now_ms < z->saved.at_ms || !is_behind(z)) {
		return;
	}
	z->saving.busy = true;
	z->saved.version = version_ref(z->zone.cur);
	z->saved.made_then = signer_made(z->source.signer);
	z->next_save = NULL;
	pthread_mutex_lock(&s->lock);
	*s->last = z;
	s->last = &z->next_save;
	if (!s->busy) {
		s->busy = true;
		builder_submit(s->thread, BUILDER_LATER, &s->job, save_job);
	}
	pthread_mutex_unlock(&s->lock);
}

void zonemgr_save_rest(struct zonemgr *m)
{
	struct zone_state *zones[SAVE_MAX];
	size_t count = 0;

	for (size_t i = 0; i < m->zone_count && !m->saver.given_up; i++) {
		struct zone_state *z = &m->states[i];
		if (!is_behind(z)) {
			continue;
		}
		z->saved.version = z->zone.cur;
		zones[count++] = z;
		if (count == SAVE_MAX) {
			save_zones(m->signatures, zones, count);
			count = 0;
		}
	}
	if (count > 0) {
		save_zones(m->signatures, zones, count);
	}
	for (size_t i = 0; i < m->zone_count; i++) {
		m->states[i].saved.version = NULL;
	}
}
