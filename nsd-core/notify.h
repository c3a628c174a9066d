/* NOTIFY (RFC 1996) to the secondaries: each is told the newest serial, again and again with longer
 * and longer waits, until it acknowledges. Main thread. */
#pragma once

#include "nsd-core/remotes.h"
#include "nsd-core/zonedb.h"

#include <uv.h>

struct notifier;

struct notifier_options {
	uv_loop_t *loop;
	const struct conf *conf; /* all borrowed */
	const struct tsig_keys *keys;
	struct zone *const *zones; /* those with a conf_zone that has secondaries are told of */
	size_t zone_count;
	/* The secondary at this address has acknowledged the newest serial. May be NULL. */
	void (*acknowledged)(void *ctx, const struct zone *z, const struct conf_peer *peer);
	void *ctx;
};

/* Nothing is sent before notifier_start(). */
enum status notifier_new(const struct notifier_options *opt, struct notifier **out) MUST_USE;
/* From now on: what was published so far, and what will be. The server answers by now. */
void notifier_start(struct notifier *n);
/* A version of the zone was published. What was on its way of an older one is forgotten. */
void notifier_published(struct notifier *n, const struct zone *z);
/* Before the loop runs for the last time. Takes NULL. */
void notifier_close(struct notifier *n);
void notifier_free(struct notifier *n); /* after the loop; takes NULL */

struct notify_state {
	const struct conf_remote *remote;
	const struct conf_peer *peer;
	bool pending;	    /* is to be told, or did not acknowledge yet */
	uint32_t serial;    /* the last one that it is or was told */
	uint32_t acked;	    /* the last one that it acknowledged; of acked_s not 0 */
	int64_t acked_s;    /* when; 0: never */
	unsigned tries;	    /* of this serial */
	const char *answer; /* what it last said instead; static; NULL: nothing */
};

/* Of the zone's secondaries; returns how many, at most 'room'. */
size_t notifier_states(const struct notifier *n, const struct zone *z, struct notify_state *out,
		       size_t room);
