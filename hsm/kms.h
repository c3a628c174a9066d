/* AWS KMS: one request there and one answer back, and what its errors mean. Private to hsm/kms*. */
#pragma once

#include "hsm/aws.h"
#include "hsm/aws_http.h"

#include <jansson.h>

#define KMS_URL_MAX 256
#define KMS_CALL_MS 5000 /* one request */
#define KMS_ID_MAX  HSM_ID_MAX
#define KMS_SKEW_S  300 /* more than this and signatures of requests are refused */
#define KMS_TRIES   4	/* of a throttled request, in all */

/* What is to be done after an answer that is no success. */
enum kms_class {
	KMS_OK,
	KMS_THROTTLED,	 /* slower */
	KMS_AWAY,	 /* later */
	KMS_NOT_FOUND,	 /* there is no such key */
	KMS_KEY_STATE,	 /* disabled, pending deletion */
	KMS_DENIED,	 /* the operator gives permission */
	KMS_CREDENTIALS, /* other credentials, or another clock */
	KMS_INVALID,	 /* the request makes no sense there: configuration */
};

/* The name of an error as the service gave it (header or __type), without prefix and suffix;
 * status: HTTP's. */
enum kms_class kms_classify(const char *error, long status);

/* A keystore's way to the service; any thread, but for connections. */
struct kms {
	const struct keystore_options *opt;
	char region[AWS_REGION_MAX];
	char url[KMS_URL_MAX];
	struct aws_chain *chain;
	_Atomic(uint64_t) requests;
	_Atomic(bool) cancelled;
	_Atomic(bool) doubted; /* the last thing heard of the service was a fault */
	pthread_mutex_t lock;  /* what is below */
	pthread_cond_t wake;
	int64_t next_ns; /* when the rate allows the next signature; monotonic */
};

/* Waits for 'ns' to pass, or until the keystore ends: then false. */
bool kms_pause(struct kms *k, int64_t ns);
/* Waits until the rate of our own allows a signature; false: the keystore ends. */
bool kms_take_turn(struct kms *k);

/* Does TrentService.'operation'. 'body' is given over; *out, where asked for and ST_OK, is the
 * caller's. Throttled requests are tried again, refused credentials are renewed once. On error 'f'
 * is filled with what the operator can do; 'subject' is the key, or NULL. ST_ENOENT (no such key),
 * ST_EFATAL, ST_EAGAIN, ST_ENOMEM. Blocks. */
enum status kms_call(struct kms *k, struct aws_http *http, const char *operation,
		     const char *subject, json_t *body, json_t **out, struct fault *f) MUST_USE;
