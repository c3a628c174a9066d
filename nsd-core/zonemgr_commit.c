/* New serials on their way to the disk, many at a time, and how they came before them. */
#include "nsd-core/zonemgr_state.h"

#define COMMIT_MAX 256

enum status committer_start(struct committer *c)
{
	pthread_mutex_init(&c->lock, NULL);
	c->last = &c->first;
	return builder_start("committer", 1, &c->thread);
}

void committer_stop(struct committer *c)
{
	builder_stop(c->thread);
}

void committer_fini(struct committer *c)
{
	builder_free(c->thread);
	pthread_mutex_destroy(&c->lock);
}

/* Up to COMMIT_MAX zones; none: the job is over. */
static size_t take(struct committer *c, struct zone_state **zones)
{
	size_t count = 0;

	pthread_mutex_lock(&c->lock);
	while (c->first != NULL && count < COMMIT_MAX) {
		zones[count++] = c->first;
		c->first = c->first->next_commit;
	}
	if (c->first == NULL) {
		c->last = &c->first;
	}
	c->busy = count > 0;
	pthread_mutex_unlock(&c->lock);
	return count;
}

static void commit_failed(struct build *b, enum status st)
{
	char name[NAME_TEXT_MAX];

	diags_error(&b->diags, "zone %s: its serial cannot be written to the state directory: %s",
		    name_to_text(b->src->apex, name), status_text(st));
	version_unref(b->next);
	b->next = NULL;
	b->outcome = BUILD_FAILED;
	/* A disk that is full is not so for ever. */
	b->status = ST_EAGAIN;
}

/* A version is served whether or not secondaries can be told how it came: signatures end. */
static void commit_histories(struct journal *j, struct zone_state *const *zones, size_t count)
{
	struct journal_change *changes[COMMIT_MAX];
	size_t some = 0;
	char name[NAME_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		if (zones[i]->source.history != NULL) {
			changes[some++] = &zones[i]->build.change;
		}
	}
	journal_commit(j, changes, some);
	for (size_t i = 0; i < count; i++) {
		struct build *b = &zones[i]->build;
		if (b->src->history != NULL && b->change.status != ST_OK) {
			diags_warn(&b->diags,
				   "zone %s: its journal cannot be written: %s: secondaries "
				   "transfer all of serial %u",
				   zone_text(zones[i], name), status_text(b->change.status),
				   b->change.to);
		}
		/* It may be long. */
		difference_fini(&b->change.difference);
	}
}

/* Where they are ours to give: others have the serial that their file says. */
static enum status commit_serials(struct zone_state *const *zones, size_t count)
{
	struct build_source *sources[COMMIT_MAX];
	const struct published *published[COMMIT_MAX];
	size_t some = 0;

	for (size_t i = 0; i < count; i++) {
		if (zones[i]->source.serial != SERIAL_KEEP) {
			sources[some] = &zones[i]->source;
			published[some++] = &zones[i]->build.published;
		}
	}
	return ledger_put_serials(sources, published, some);
}

static void commit_job(struct builder_job *job)
{
	struct committer *c = container_of(job, struct committer, job);
	struct zone_state *zones[COMMIT_MAX];
	size_t count;

	while ((count = take(c, zones)) > 0) {
		commit_histories(zones[0]->mgr->journal, zones, count);
		enum status st = commit_serials(zones, count);
		for (size_t i = 0; i < count; i++) {
			if (st != ST_OK && zones[i]->source.serial != SERIAL_KEEP) {
				commit_failed(&zones[i]->build, st);
			}
			zone_built(zones[i]);
		}
	}
}

void committer_add(struct committer *c, struct zone_state *z)
{
	z->next_commit = NULL;
	pthread_mutex_lock(&c->lock);
	*c->last = z;
	c->last = &z->next_commit;
	if (!c->busy) {
		c->busy = true;
		builder_submit(c->thread, BUILDER_ASKED, &c->job, commit_job);
	}
	pthread_mutex_unlock(&c->lock);
}
