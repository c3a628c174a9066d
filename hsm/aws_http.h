/* Requests over HTTPS, bounded in time and size (libcurl). */
#pragma once

#include "hsm/backend.h"

#define AWS_BODY_MAX 65536 /* octets of an answer */

/* All borrowed. */
struct aws_http_request {
	const char *method; /* GET, PUT, POST */
	const char *url;
	const char *body;	    /* NULL: none */
	const char *const *headers; /* "Name: value", ended by NULL; may be NULL */
	/* Signature version 4: "aws:amz:REGION:SERVICE", and with whose credentials; NULL: none. */
	const char *sigv4, *key, *secret;
	const char *ca_file; /* NULL: the system's */
	long timeout_ms;
	bool no_proxy; /* else as the environment says */
};

struct aws_http_reply {
	long status; /* HTTP's */
	char *body;  /* ended by NUL besides; the caller's to free() */
	size_t len;
	char error_type[128]; /* x-amzn-ErrorType; empty: not there */
	int64_t date_s;	      /* of the Date header, since 1970; 0: not there */
	bool too_long;	      /* the body was longer than AWS_BODY_MAX and is not here */
};

/* May what is secret go there, and is what comes from there to be believed? Over HTTPS; over plain
 * HTTP only of this machine and the vendor's own addresses for containers. */
bool aws_http_is_safe(const char *url) MUST_USE;

/* A connection that is kept alive from one request to the next; used by one thread at a time. */
struct aws_http;

enum status aws_http_new(struct aws_http **out) MUST_USE;
void aws_http_free(struct aws_http *h); /* takes NULL */
/* Ends the request under way soon, and all later ones at once. Any thread. */
void aws_http_cancel(struct aws_http *h);
/* ST_OK: there is an answer, whatever its status. ST_EAGAIN: there is none; 'f' (FAULT_DEVICE) says
 * why, with the host's name. ST_ENOMEM. Blocks. */
enum status aws_http_do(struct aws_http *h, const struct aws_http_request *rq,
			struct aws_http_reply *reply, struct fault *f) MUST_USE;
