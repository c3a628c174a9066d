/* The order of sources, and what was found. */
#include "hsm/aws_sources.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#define RENEW_S 720 /* before the end: the vendor's tools do so 10 to 15 minutes before */
#define RETRY_S 30  /* while the old ones are still good */

const char *aws_variable(const char *name)
{
	const char *value = getenv(name);
	return value != NULL && value[0] != '\0' ? value : NULL;
}

enum status aws_copy(char *out, size_t room, const char *text)
{
	size_t len = strlen(text);
	if (len >= room) {
		return ST_ESPACE;
	}
	memcpy(out, text, len + 1);
	return ST_OK;
}

enum status aws_read_time(const char *text, int64_t *out)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (p == NULL) {
		return ST_EPARSE;
	}
	if (*p == '.') {
		p += 1 + strspn(p + 1, "0123456789");
	}
	int64_t away_s = 0;
	if (*p == '+' || *p == '-') {
		uint32_t hours;
		uint32_t minutes;
		if (strlen(p) != 6 || p[3] != ':' || text_to_u32(p + 1, 2, 23, &hours) != ST_OK ||
		    text_to_u32(p + 4, 2, 59, &minutes) != ST_OK) {
			return ST_EPARSE;
		}
		away_s = ((int64_t)hours * 60 + minutes) * (*p == '+' ? 60 : -60);
	} else if (strcmp(p, "Z") != 0) {
		return ST_EPARSE;
	}
	*out = (int64_t)timegm(&tm) - away_s;
	return ST_OK;
}

static enum status take(json_t *from, const char *name, char *out, size_t room)
{
	const char *text = json_string_value(json_object_get(from, name));
	return text == NULL || text[0] == '\0' ? ST_EPARSE : aws_copy(out, room, text);
}

enum status aws_read_json(const char *text, size_t len, const char *token,
			  struct aws_credentials *out)
{
	json_t *j = json_loadb(text, len, 0, NULL);
	enum status st = take(j, "AccessKeyId", out->key, sizeof(out->key));
	if (st == ST_OK) {
		st = take(j, "SecretAccessKey", out->secret, sizeof(out->secret));
	}
	if (st == ST_OK && json_string_value(json_object_get(j, token)) != NULL) {
		st = take(j, token, out->token, sizeof(out->token));
	}
	json_t *end = json_object_get(j, "Expiration");
	if (st == ST_OK && end != NULL && !json_is_null(end)) {
		const char *when = json_string_value(end);
		st = when != NULL ? aws_read_time(when, &out->expires_s) : ST_EPARSE;
	}
	json_decref(j);
	return st == ST_OK ? ST_OK : ST_EPARSE;
}

enum status aws_from_environment(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	const char *key = aws_variable("AWS_ACCESS_KEY_ID");
	const char *secret = aws_variable("AWS_SECRET_ACCESS_KEY");
	const char *token = aws_variable("AWS_SESSION_TOKEN");
	/* A profile that was asked for goes before what happens to be in the environment. */
	if (c->profile != NULL || key == NULL) {
		return ST_ENOENT;
	}
	if (secret == NULL) {
		fault_set(f, FAULT_DEVICE,
			  "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not");
		return ST_EFATAL;
	}
	enum status st = aws_copy(out->key, sizeof(out->key), key);
	if (st == ST_OK) {
		st = aws_copy(out->secret, sizeof(out->secret), secret);
	}
	if (st == ST_OK && token != NULL) {
		st = aws_copy(out->token, sizeof(out->token), token);
	}
	if (st != ST_OK) {
		fault_set(f, FAULT_DEVICE, "the credentials in the environment are too long");
		return ST_EFATAL;
	}
	snprintf(out->source, sizeof(out->source), "the environment");
	return ST_OK;
}

enum status aws_chain_new(const char *profile, const char *region, const char *ca_file,
			  struct aws_chain **out)
{
	struct aws_chain *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return ST_ENOMEM;
	}
	enum status st = aws_http_new(&c->http);
	if (st != ST_OK) {
		free(c);
		return st;
	}
	c->profile = profile;
	c->region = region;
	c->ca_file = ca_file;
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return ST_OK;
}

void aws_chain_free(struct aws_chain *c)
{
	if (c != NULL) {
		aws_http_free(c->http);
		pthread_mutex_destroy(&c->lock);
		wipe(&c->have, sizeof(c->have));
		free(c);
	}
}

void aws_chain_cancel(struct aws_chain *c)
{
	atomic_store(&c->cancelled, true);
	aws_http_cancel(c->http);
}

/* With the lock held. */
static enum status search(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	static enum status (*const sources[])(struct aws_chain *, struct aws_credentials *,
					      struct fault *) = {
		aws_from_environment, aws_from_web_identity, aws_from_files,
		aws_from_container,   aws_from_instance,
	};
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		if (atomic_load(&c->cancelled)) {
			fault_set(f, FAULT_DEVICE, "the keystore ends");
			return ST_EAGAIN;
		}
		memset(out, 0, sizeof(*out));
		enum status st = sources[i](c, out, f);
		if (st != ST_ENOENT) {
			return st;
		}
	}
	fault_set(
		f, FAULT_DEVICE,
		"there are no AWS credentials: none in the environment, in the shared files, of a "
		"container or of an instance");
	return ST_EFATAL;
}

/* With the lock held. */
static bool is_good(const struct aws_chain *c, int64_t now, int64_t ahead_s)
{
	return c->has && !c->refused &&
	       (c->have.expires_s == 0 || c->have.expires_s - ahead_s > now);
}

enum status aws_credentials_get(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	enum status st = ST_OK;
	int64_t now = clock_wall_s();
	pthread_mutex_lock(&c->lock);
	bool wait = is_good(c, now, 0) && now - c->tried_s < RETRY_S && now >= c->tried_s;
	if (!is_good(c, now, RENEW_S) && !wait) {
		c->tried_s = now;
		st = search(c, out, f);
		if (st == ST_OK) {
			c->have = *out;
			c->has = true;
			c->refused = false;
		} else if (is_good(c, now, 0)) {
			st = ST_OK;
		}
	}
	if (st == ST_OK) {
		*out = c->have;
	}
	pthread_mutex_unlock(&c->lock);
	return st;
}

void aws_credentials_refused(struct aws_chain *c, const struct aws_credentials *old)
{
	pthread_mutex_lock(&c->lock);
	if (c->has && strcmp(c->have.key, old->key) == 0 &&
	    strcmp(c->have.token, old->token) == 0) {
		c->refused = true;
	}
	pthread_mutex_unlock(&c->lock);
}
