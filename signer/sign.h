/* One RRset being signed: from the claim of its slot to the slot filled, or empty again. Private to
 * signer/. */
#pragma once

#include "signer/rrsig.h"
#include "signer/signer.h"

#include <pthread.h>

struct sign;
struct sign_batch;

/* As many as a keystore has room for in one queue. */
#define FLIGHT_BUCKETS 4096

/* What is with keystores, by RRset: so that a job may be raised. */
struct flights {
	uint64_t seed;
	pthread_mutex_t lock;
	struct sign *buckets[FLIGHT_BUCKETS];
};

struct signer {
	struct signer_options opt;
	struct flights flights;
	pthread_mutex_t lock; /* batches' counters, waiting, helpers */
	pthread_cond_t moved; /* signatures in flight were made or failed */
	unsigned waiting;     /* threads that are to hear of each, by 'moved' */
	_Atomic(uint64_t) made;
	/* When a question's signature was last made on the thread that answers, in monotonic ms. */
	_Atomic(int64_t) answered_ms;
	unsigned helpers; /* threads that passes have started */
};

/* What a builder's pass has in flight. Outlives the pass where it was told to stop: a lane may hang
 * in a device for ever. */
struct sign_batch {
	struct signer *signer;
	unsigned refs; /* under signer->lock, as what follows; what is atomic is read without */
	enum status first_error;
	size_t wake; /* who feeds it waits for fewer in flight than this; 0: nobody waits */
	_Atomic(size_t) in_flight;
	_Atomic(uint8_t) failures[KEYSET_MAX]; /* of each key, in a row */
};

/* A signature of this key was made, or failed. Any thread: of failures at once one may be lost. */
void batch_note_key(struct sign_batch *b, uint8_t key, bool made);

/* Takes the right to sign rs, which ends in sign_start(). */
bool sign_claim(struct rrset *rs);
/* An RRset to sign, claimed by the caller. */
struct sign_task {
	struct version *version;
	const struct node *node;
	struct rrset *rrset;
	struct sign_batch *batch; /* NULL: for a question */
	bool urgent;		  /* of questions: HSM_QUERY, else HSM_EXCESS */
};

/* Signs it.
 * ST_OK: the slot is filled.   ST_EBUSY: under way.   Else: the slot is free again, at once or when
 * the keys whose keystores took their part are done. ST_ELIMIT: a queue is full. ST_EAGAIN: a key
 * has no handle, or its keystore is away. */
enum status sign_start(struct signer *s, const struct sign_task *t) MUST_USE;
/* It has become urgent: its jobs that wait go before those that are not. Constant time. */
void sign_raise(struct signer *s, const struct rrset *rs);
/* signer_new()'s part, and signer_free()'s. */
enum status flights_init(struct flights *f) MUST_USE;
void flights_fini(struct flights *f);
