/* Threads for what blocks or takes long: reading files, making versions, signing ahead, asking
 * parents, dumping. They run at low priority, registered with RCU, without signals. */
#pragma once

#include "nsd-core/base/status.h"

struct builder;

enum builder_rank {
	BUILDER_ASKED, /* somebody waits for the result */
	BUILDER_LATER,
	BUILDER_RANKS,
};

/* Embedded in its owner, which submits it at most once at a time: so the queue is bounded by the
 * number of owners. */
struct builder_job {
	struct builder_job *next;	      /* the queue's */
	void (*run)(struct builder_job *job); /* on one of the threads; owns the job from then on */
};

/* name: of the threads, up to 15 characters. */
enum status builder_start(const char *name, unsigned threads, struct builder **out) MUST_USE;
/* Any thread. Jobs of a rank are run in the order they came. After builder_stop() jobs are dropped.
 */
void builder_submit(struct builder *b, enum builder_rank rank, struct builder_job *job,
		    void (*run)(struct builder_job *job));
/* Waits for what runs and drops what waits (the owners free it). Once. Takes NULL. */
void builder_stop(struct builder *b);
void builder_free(struct builder *b); /* after builder_stop(); takes NULL */
