/* 'zone dump': a thread walks a version and waits for each piece to be written, so that a zone of
 * any size takes the room of one piece. */
#include "nsd-core/control_state.h"

#include "zones/dump.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536

struct dump {
	struct builder_job job;
	struct inbox_msg chunk_msg;
	struct inbox_msg done_msg;
	unsigned refs; /* main's: the request, and a write under way */
	struct control *control;
	struct request *request;
	struct version *version;
	struct dump_options options;
	enum status status;

	char *chunk; /* the thread's; main's while 'passed' */
	size_t used;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool passed;	/* main has the chunk */
	bool cancelled; /* nobody reads it any more */
};

static void dump_unref(struct dump *d)
{
	if (d == NULL || --d->refs > 0) {
		return;
	}
	version_unref(d->version);
	pthread_cond_destroy(&d->moved);
	pthread_mutex_destroy(&d->lock);
	free(d->chunk);
	free(d);
}

static void chunk_back(struct dump *d, bool ok)
{
	pthread_mutex_lock(&d->lock);
	d->passed = false;
	d->cancelled |= !ok;
	pthread_cond_signal(&d->moved);
	pthread_mutex_unlock(&d->lock);
}

static void on_chunk_written(void *ctx, bool ok)
{
	chunk_back(ctx, ok);
	dump_unref(ctx);
}

static void on_chunk(struct inbox_msg *msg)
{
	struct dump *d = container_of(msg, struct dump, chunk_msg);
	size_t len = 0;

	if (d->control->stopping) {
		return;
	}
	char *line = reply_chunk_line(d->chunk, d->used, &len);

	d->refs++;
	connection_write(d->request->conn, line, len, on_chunk_written, d);
}

/* On the thread. Gives the chunk to main and waits until it is written. */
static enum status pass_chunk(struct dump *d)
{
	pthread_mutex_lock(&d->lock);
	if (!d->cancelled) {
		d->passed = true;
		inbox_post(&d->control->inbox, &d->chunk_msg, on_chunk);
	}
	while (d->passed && !d->cancelled) {
		pthread_cond_wait(&d->moved, &d->lock);
	}
	bool cancelled = d->cancelled;
	pthread_mutex_unlock(&d->lock);
	d->used = 0;
	return cancelled ? ST_EREFUSED : ST_OK;
}

static enum status dump_line(void *ctx, const char *text, size_t len)
{
	struct dump *d = ctx;

	while (len > 0) {
		size_t n = CHUNK_BYTES - d->used < len ? CHUNK_BYTES - d->used : len;
		memcpy(d->chunk + d->used, text, n);
		d->used += n;
		text += n;
		len -= n;
		if (d->used == CHUNK_BYTES) {
			enum status st = pass_chunk(d);
			if (st != ST_OK) {
				return st;
			}
		}
	}
	return ST_OK;
}

static void on_dumped(struct inbox_msg *msg)
{
	struct dump *d = container_of(msg, struct dump, done_msg);
	struct control *c = d->control;
	struct request *r = d->request;

	for (size_t i = 0; i < CONTROL_DUMPS_MAX; i++) {
		if (c->dumps[i] == d) {
			c->dumps[i] = NULL;
		}
	}
	if (d->status == ST_EAGAIN) {
		reply_fail(&r->reply, EXIT_FAILED,
			   "%s is not completely signed yet; --now dumps it as it is", r->cmd.zone);
	} else if (d->status != ST_OK) {
		reply_fail(&r->reply, EXIT_FAILED, "%s: %s", r->cmd.zone, status_text(d->status));
	} else {
		r->reply.data = json_pack("{s:i, s:s, s:I}", "version", CONTROL_VERSION, "zone",
					  r->cmd.zone, "serial", (json_int_t)d->version->serial);
	}
	request_finish(r);
	dump_unref(d);
}

static void dump_job(struct builder_job *job)
{
	struct dump *d = container_of(job, struct dump, job);

	d->status = version_dump(d->version, &d->options, dump_line, d);
	if (d->status == ST_OK && d->used > 0) {
		d->status = pass_chunk(d);
	}
	inbox_post(&d->control->inbox, &d->done_msg, on_dumped);
}

static struct dump *dump_new(struct request *r, struct version *v)
{
	struct dump *d = calloc(1, sizeof(*d));
	char *chunk = malloc(CHUNK_BYTES);

	if (d == NULL || chunk == NULL) {
		free(d);
		free(chunk);
		return NULL;
	}
	d->refs = 1;
	d->control = r->conn->control;
	d->request = r;
	d->version = version_ref(v);
	d->chunk = chunk;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->moved, NULL);
	if (v->keys != NULL) {
		d->options.covers = signer_covers;
		d->options.complete_only = !r->cmd.now;
	}
	return d;
}

void dump_run(struct request *r, struct zone *zone)
{
	struct control *c = r->conn->control;
	/* Main publishes: what it sees is served, and stays while it looks. */
	struct version *v = zone->cur;
	size_t slot = 0;

	if (v == NULL) {
		reply_fail(&r->reply, EXIT_FAILED, "%s is not loaded", r->cmd.zone);
		request_finish(r);
		return;
	}
	while (slot < CONTROL_DUMPS_MAX && c->dumps[slot] != NULL) {
		slot++;
	}
	if (slot == CONTROL_DUMPS_MAX) {
		reply_fail(&r->reply, EXIT_FAILED, "%d other dumps run: try again later",
			   CONTROL_DUMPS_MAX);
		request_finish(r);
		return;
	}
	c->dumps[slot] = dump_new(r, v);
	if (c->dumps[slot] == NULL) {
		reply_fail(&r->reply, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
		request_finish(r);
		return;
	}
	builder_submit(c->dumpers, BUILDER_ASKED, &c->dumps[slot]->job, dump_job);
}

void dumps_stop(struct control *c)
{
	for (size_t i = 0; i < CONTROL_DUMPS_MAX; i++) {
		if (c->dumps[i] != NULL) {
			chunk_back(c->dumps[i], false);
		}
	}
	builder_stop(c->dumpers);
	/* What the threads said last; then those that had none yet. */
	inbox_drain(&c->inbox);
	for (size_t i = 0; i < CONTROL_DUMPS_MAX; i++) {
		if (c->dumps[i] != NULL) {
			c->dumps[i]->status = ST_EREFUSED;
			on_dumped(&c->dumps[i]->done_msg);
		}
	}
}
