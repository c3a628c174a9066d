/* New serials on their way to the disk, many at a time. */
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

static void commit_job(struct builder_job *job)
{
	struct committer *c = container_of(job, struct committer, job);
	struct zone_state *zones[COMMIT_MAX];
	struct build_source *sources[COMMIT_MAX];
	const struct published *published[COMMIT_MAX];
	size_t count;

	while ((count = take(c, zones)) > 0) {
		for (size_t i = 0; i < count; i++) {
			sources[i] = &zones[i]->source;
			published[i] = &zones[i]->build.published;
		}
		enum status st = ledger_put_serials(sources, published, count);
		for (size_t i = 0; i < count; i++) {
			if (st != ST_OK) {
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
