/* One RRset being signed: from the claim of its slot to the slot filled, or empty again. Private to
 * signer/. */
#pragma once

#include "signer/rrsig.h"
#include "signer/signer.h"

#include <pthread.h>

struct sign_batch;

struct signer {
	struct signer_options opt;
	pthread_mutex_t lock; /* batches' counters, waiting */
	pthread_cond_t moved; /* a signature in flight was made or failed */
	unsigned waiting;     /* threads that wait for 'moved' */
};

/* What a builder's pass has in flight. Outlives the pass where it was told to stop: a lane may hang
 * in a device for ever. */
struct sign_batch {
	struct signer *signer;
	unsigned refs; /* under signer->lock, as all below */
	size_t in_flight;
	enum status first_error;
	uint8_t failures[KEYSET_MAX]; /* of each key, in a row */
};

/* Takes the right to sign rs, which ends in sign_start(). */
bool sign_claim(struct rrset *rs);
/* Signs rs, claimed by the caller. batch NULL: for a question.
 * ST_OK: the slot is filled.   ST_EBUSY: under way.   Else: the slot is free again, at once or when
 * the keys whose keystores took their part are done. ST_ELIMIT: a queue is full. ST_EAGAIN: a key
 * has no handle, or its keystore is away. */
enum status sign_start(struct signer *s, struct version *v, const struct node *n, struct rrset *rs,
		       struct sign_batch *batch) MUST_USE;
