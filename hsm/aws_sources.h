/* Where credentials are looked for. Private to hsm/aws_*. */
#pragma once

#include "hsm/aws.h"
#include "hsm/aws_http.h"

struct aws_chain {
	const char *profile; /* NULL: the environment's, else "default" */
	const char *region, *ca_file;
	struct aws_http *http;
	_Atomic(bool) cancelled;
	pthread_mutex_t lock; /* all that follows, and http */
	bool has, refused;
	int64_t tried_s; /* when sources were asked last; clock_wall_s() */
	struct aws_credentials have;
};

/* Each: ST_OK; ST_ENOENT: this source is not in use here; else what stops the search, with 'f'
 * filled. *out is zeroed before. */
enum status aws_from_environment(struct aws_chain *c, struct aws_credentials *out, struct fault *f);
enum status aws_from_web_identity(struct aws_chain *c, struct aws_credentials *out,
				  struct fault *f);
enum status aws_from_files(struct aws_chain *c, struct aws_credentials *out, struct fault *f);
enum status aws_from_container(struct aws_chain *c, struct aws_credentials *out, struct fault *f);
enum status aws_from_instance(struct aws_chain *c, struct aws_credentials *out, struct fault *f);

/* A variable of the environment that is there and not empty, or NULL. */
const char *aws_variable(const char *name);
/* ST_ESPACE. */
enum status aws_copy(char *out, size_t room, const char *text);
/* Credentials in the JSON of processes, containers and instances; 'token' is what it calls the
 * session's. ST_EPARSE. */
enum status aws_read_json(const char *text, size_t len, const char *token,
			  struct aws_credentials *out);
/* ISO 8601: "2026-11-23T09:00:00Z", "2026-11-23T09:00:00.5+00:00"; seconds since 1970. ST_EPARSE.
 */
enum status aws_read_time(const char *text, int64_t *out) MUST_USE;
/* The whole of a small file, ended by NUL; the caller's to free(). ST_ENOENT, ST_EACCES, ST_EIO,
 * ST_ELIMIT. */
enum status aws_read_file(const char *path, size_t max, char **out) MUST_USE;
/* Runs a command to its end, without a shell; its standard output. ST_EIO: it failed, or took too
 * long, or said too much, or was not to be waited for any more. */
enum status aws_run(const char *command, const _Atomic(bool) *cancelled, char **out,
		    struct fault *f) MUST_USE;
