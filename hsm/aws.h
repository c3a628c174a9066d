/* Who signet is for AWS: credentials, region, endpoints. */
#pragma once

#include "hsm/backend.h"

/* Tokens of a session are longer than any other part. */
#define AWS_KEY_MAX    256
#define AWS_SECRET_MAX 256
#define AWS_TOKEN_MAX  8192
#define AWS_REGION_MAX 64

struct aws_credentials {
	char key[AWS_KEY_MAX];	     /* access key id */
	char secret[AWS_SECRET_MAX]; /* never in a log or a fault's text */
	char token[AWS_TOKEN_MAX];   /* empty: none */
	char source[64];	     /* for people: where they are from */
	int64_t expires_s;	     /* since 1970; 0: they do not */
};

/* Where credentials come from, and those that were found last. Any thread. */
struct aws_chain;

/* profile: NULL: AWS_PROFILE, else "default". Both borrowed. ca_file: NULL: the system's. Nothing
 * is read or asked yet. */
enum status aws_chain_new(const char *profile, const char *region, const char *ca_file,
			  struct aws_chain **out) MUST_USE;
void aws_chain_free(struct aws_chain *c); /* takes NULL */
/* Ends a search under way soon, and all later ones at once. Any thread. */
void aws_chain_cancel(struct aws_chain *c);

/* Those in use, or new ones where these end within 12 minutes (with what is still good where that
 * fails), in the order of the vendor's own tools: environment; web identity; the shared files with
 * source of a profile and credential_process; the container's endpoint; the instance's role
 * (IMDSv2). Blocks, some seconds at most. ST_EFATAL: there are none, or they are malformed, and
 * 'f' says what was looked for; ST_EAGAIN: a source did not answer. */
enum status aws_credentials_get(struct aws_chain *c, struct aws_credentials *out,
				struct fault *f) MUST_USE;
/* They were refused: the next get() asks its source again, once for each set of credentials. */
void aws_credentials_refused(struct aws_chain *c, const struct aws_credentials *old);

/* The region of the environment (AWS_REGION, AWS_DEFAULT_REGION) or of the profile. ST_ENOENT. */
enum status aws_region(const char *profile, char out[AWS_REGION_MAX]) MUST_USE;
