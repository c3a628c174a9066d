/* A pass: a builder's walk over RRsets that are to be signed. Private to signer/. */
#pragma once

#include "signer/sign.h"

/* RRsets that others sign and a thread of a pass has yet to see done. */
#define OTHERS_MAX 256

struct crew;

/* What one thread of a pass works with. */
struct feed {
	struct signer *signer;
	struct version *version;
	struct keyset *keys;
	const _Atomic(bool) *stop;
	struct sign_batch *batch; /* all threads' */
	size_t limit;		  /* in flight */
	unsigned burst;		  /* signatures since it last stood back */
	bool stands_back;	  /* for questions: nobody waits for this pass */
	bool incomplete;
	struct rrset *others[OTHERS_MAX];
	size_t other_count;
};

/* Another thread's share of the same pass, from and to its own. */
void feed_split(const struct feed *of, struct feed *f);
void feed_merge(struct feed *into, const struct feed *f);
/* ST_OK: signed, under way, or not to be had now, which f->incomplete says. ST_EREFUSED: to stop.
 */
enum status feed_rrset(struct feed *f, const struct node *n, struct rrset *rs) MUST_USE;
/* Until what others sign is settled. */
enum status feed_wait_others(struct feed *f) MUST_USE;

/* Threads that share the signatures of one pass, all of whose keys are in the process. The lead is
 * the thread that walks; helpers are started beside it when it is the signing that takes the time,
 * and take its priority with them. */

/* A crew without helpers yet. */
enum status crew_new(struct feed *lead, struct crew **out) MUST_USE;
/* One more RRset. It is signed by whoever comes to it, at the latest in crew_end(). */
enum status crew_put(struct crew *c, const struct node *n, struct rrset *rs) MUST_USE;
/* What is left is signed, unless st, how the walk went, says otherwise; helpers are joined, and
 * what they saw is the lead's. Frees the crew. How it all went. */
enum status crew_end(struct crew *c, enum status st) MUST_USE;
