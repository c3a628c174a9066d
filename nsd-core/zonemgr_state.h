/* The zone manager's inside: main thread, but for what builder threads hold while a job of theirs
 * runs. Private to zonemgr*.c. */
#pragma once

#include "nsd-core/base/inbox.h"
#include "nsd-core/base/text.h"
#include "nsd-core/builder.h"
#include "nsd-core/parent.h"
#include "nsd-core/zonemgr.h"
#include "nsd-core/zonemgr_build.h"

#define RETRY_MIN_MS   1000
#define RETRY_MAX_MS   60000
#define SETTLE_MS      300
#define LOOK_MS	       5000
#define PARENT_EACH_MS 600000
/* A refresh that found nothing due: the figures it was started by are made anew first. */
#define REFRESH_PAUSE_MS 60000
#define ALARM_EACH_S	 3600

/* Somebody who asked for a reload. */
struct waiter {
	struct waiter *next;
	zonemgr_done done;
	void *ctx;
};

/* Work on a builder thread, and the word that it is done. The owner looks at neither while it runs.
 */
struct task {
	struct builder_job job;
	struct inbox_msg msg;
	struct zone_state *zone;
	bool busy; /* submitted, and its message not yet seen */
};

struct retry {
	int64_t at_ms; /* clock_mono_ms(); INT64_MAX: none */
	int64_t delay_ms;
};

/* What of a zone is on disk, and what is on its way there. */
struct saved {
	bool any;
	uint32_t serial;
	uint64_t made;		 /* signer_made() before the last save began */
	size_t empty;		 /* slots then */
	int64_t at_ms;		 /* not again before */
	struct version *version; /* being saved; a reference */
	uint64_t made_then;
	int64_t took_ms;
	enum status status;
};

/* The threads that work for zones signed by one keystore, so that zones of one that is slow, or
 * hangs, are in nobody else's way. */
struct zone_line {
	struct builder *builds;	 /* files, versions */
	struct builder *warmers; /* signing ahead: may take hours; NULL: nothing is signed */
};

struct zone_state {
	struct zone zone;
	struct zonemgr *mgr;
	struct zone_line *line;
	const struct conf_zone *conf;
	struct build_source source;

	struct task building;
	struct build build;
	struct zone_state *next_commit;
	bool build_asked; /* somebody waits, or wants to see it in the log */
	unsigned want;	  /* of the build to come, while one runs */
	bool want_asked;
	struct waiter *waiters;	     /* of the build that runs */
	struct waiter *next_waiters; /* of the one to come */
	bool tried;		     /* the first load is over */
	uint32_t given_serial;	     /* of BUILD_SERIAL in 'want' */
	uint32_t passed_serial;	     /* of a secondary: the last one that made us go beyond it */
	bool has_passed;

	/* Before the first build of a zone that nothing is known of: what do its secondaries have?
	 */
	struct census *census; /* under way */
	bool waits;	       /* none of them said so far */
	struct retry census_retry;
	char census_error[256];

	struct task warming;
	struct warming warm;
	struct task measuring; /* how far warming is */
	struct version *measure_version;
	struct sign_stats measure_stats;
	struct task saving;
	struct saved saved;
	struct zone_state *next_save;
	struct task asking; /* the parent */
	enum parent_ds asked;
	enum status ask_status;
	struct zone_record ask_record;
	struct diags ask_diags;
	int64_t ask_ms;

	enum zone_signing signing;
	bool is_measured; /* stats are those of what is served */
	bool refresh_told;
	uint32_t expire, max_ttl; /* of what is served: struct build */
	struct sign_stats stats;
	struct zone_record record; /* main's copy of the ledger's */
	int64_t loaded_at;
	int64_t alarm_s;
	unsigned retry_want;
	struct retry build_retry;
	struct retry warm_retry;
	int64_t clock_ms; /* builds that the clock asks for: not before */
	int64_t look_ms;
	char build_error[256];
	char warm_error[256];
};

/* Zones whose new serials wait for the disk: those that come while one commit is under way go into
 * the next together, so that ten thousand zones do not wait for ten thousand of them. */
struct committer {
	struct builder *thread;
	struct builder_job job;
	pthread_mutex_t lock;
	struct zone_state *first, **last;
	bool busy; /* job is submitted or runs */
};

/* Zones whose signatures are to be written. */
struct saver {
	struct builder *thread;
	struct builder_job job;
	pthread_mutex_t lock;
	struct zone_state *first, **last;
	bool busy;     /* job is submitted or runs */
	bool given_up; /* main's: the store is damaged */
};

struct zonemgr {
	const struct conf *conf;
	uv_loop_t *loop;
	struct inbox inbox;
	uv_timer_t tick;
	uv_timer_t soon; /* a tick ahead of time */
	uint32_t tick_ms;
	bool attached; /* the three above are in the loop */
	_Atomic(bool) stop;
	bool stopped;

	struct asker *asker; /* NULL: nobody is asked */
	const struct tsig_keys *keys;
	struct store *store;
	struct store *signatures; /* NULL: none are kept */
	struct journal *journal;
	struct signer *signer;
	struct keystore **keystores;
	bool *keystores_up; /* at the last tick */
	struct build_policy *policies;
	char *key_folder;

	/* One for each keystore that signs a zone, and the last for zones served as they are. */
	struct zone_line *lines;
	struct builder *errands; /* parents, measuring */
	struct committer committer;
	struct saver saver;

	struct zone_state *states;
	struct zone **zones; /* of states, in the same order */
	size_t zone_count;
	struct zonedb *db;

	struct watch *watch;
	const char **watch_paths; /* of zones with 'watch' */
	size_t *watched;	  /* their index into states */

	uint64_t ticks;
	size_t measuring; /* jobs */
	size_t untried;
	void (*published)(void *ctx, const struct zone *z);
	void *published_ctx;
	void (*loaded)(void *ctx);
	void *loaded_ctx;
	struct inbox_msg loaded_msg;
};

/* zonemgr_policy.c */
enum sign_denial denial_from_conf(const struct conf_policy *c);
const char *denial_text(enum sign_denial denial);

/* zonemgr_commit.c */
enum status committer_start(struct committer *c) MUST_USE;
void committer_stop(struct committer *c);
void committer_fini(struct committer *c); /* after committer_stop() */
/* On a builder thread: z's build goes to main once its serial is durable. */
void committer_add(struct committer *c, struct zone_state *z);

/* zonemgr_save.c. A store that is damaged is set aside. */
enum status signatures_open(const char *state, struct store **out, struct diags *d) MUST_USE;
enum status saver_start(struct saver *s) MUST_USE;
void saver_stop(struct saver *s);
void saver_fini(struct saver *s); /* after saver_stop() */
/* Sees to it that what was signed gets to the disk, where that is due. */
void zone_save(struct zone_state *z, int64_t now_ms);
/* Is everything that was signed, and what is served, on disk? */
bool zone_is_saved(const struct zone_state *z);
/* All threads but this one have ended: what is not on disk yet. */
void zonemgr_save_rest(struct zonemgr *m);

/* zonemgr_census.c. Builds a zone for the first time, after its secondaries were asked where that
 * is to be. */
void zone_first_build(struct zone_state *z);
/* Asks again what a zone that waits has asked before. */
void census_again(struct zone_state *z);
void census_drop(struct zone_state *z);

/* zonemgr_run.c: what happens on the loop. */
void retry_later(struct retry *r);
void retry_reset(struct retry *r);
/* The first load of the zone is over, whatever came of it. */
void zone_was_tried(struct zone_state *z);
/* Whoever waits for the next build is told that there is none, and why (z->build is not running).
 */
void zone_fail_waiters(struct zone_state *z, enum status st, const char *why);
void zone_build(struct zone_state *z, unsigned want, bool asked);
/* On a builder thread: z's build is done. */
void zone_built(struct zone_state *z);
void zone_warm(struct zone_state *z);
void zonemgr_on_tick(uv_timer_t *timer);
void zonemgr_on_touched(void *ctx, size_t index); /* watch.h */
/* Ends what waits for builds with ST_EREFUSED; builders have ended. */
void zone_abandon(struct zone_state *z);
/* Looks at the zone's files in that many milliseconds. */
void zone_look_again(struct zone_state *z, int64_t in_ms);

static inline const char *zone_text(const struct zone_state *z, char *buf)
{
	return name_to_text(z->zone.name, buf);
}

/* How what is served is signed: of a zone with a policy that is loaded. */
static inline const struct sign_params *zone_params(const struct zone_state *z)
{
	const struct keyset *keys = z->zone.cur->keys;

	return &keys->params;
}

/* From the builder's thread back to the loop. */
static inline void task_done(struct task *t, void (*on_loop)(struct inbox_msg *))
{
	inbox_post(&t->zone->mgr->inbox, &t->msg, on_loop);
}

static inline void task_submit(struct task *t, struct builder *b, enum builder_rank rank,
			       void (*run)(struct builder_job *))
{
	t->busy = true;
	builder_submit(b, rank, &t->job, run);
}

static inline struct task *task_of_job(struct builder_job *job)
{
	return container_of(job, struct task, job);
}

static inline struct task *task_of_msg(struct inbox_msg *msg)
{
	return container_of(msg, struct task, msg);
}
