#include "hsm/kms.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND_NS   INT64_C(1000000000)
#define BACKOFF_NS  (SECOND_NS / 10)
#define TARGET_HEAD "X-Amz-Target: TrentService."
#define TOKEN_HEAD  "X-Amz-Security-Token: "

enum kms_class kms_classify(const char *error, long status)
{
	static const struct {
		const char *name;
		enum kms_class class;
	} known[] = {
		{"ThrottlingException", KMS_THROTTLED},
		{"Throttling", KMS_THROTTLED},
		{"RequestLimitExceeded", KMS_THROTTLED},
		{"TooManyRequestsException", KMS_THROTTLED},
		{"SlowDown", KMS_THROTTLED},
		{"DependencyTimeoutException", KMS_AWAY},
		{"KMSInternalException", KMS_AWAY},
		{"KeyUnavailableException", KMS_AWAY},
		{"InternalFailure", KMS_AWAY},
		{"ServiceUnavailable", KMS_AWAY},
		{"ServiceUnavailableException", KMS_AWAY},
		{"NotFoundException", KMS_NOT_FOUND},
		{"DisabledException", KMS_KEY_STATE},
		{"KMSInvalidStateException", KMS_KEY_STATE},
		{"AccessDeniedException", KMS_DENIED},
		{"AccessDenied", KMS_DENIED},
		{"OptInRequired", KMS_DENIED},
		{"ExpiredTokenException", KMS_CREDENTIALS},
		{"ExpiredToken", KMS_CREDENTIALS},
		{"RequestExpired", KMS_CREDENTIALS},
		{"InvalidSignatureException", KMS_CREDENTIALS},
		{"SignatureDoesNotMatch", KMS_CREDENTIALS},
		{"IncompleteSignature", KMS_CREDENTIALS},
		{"IncompleteSignatureException", KMS_CREDENTIALS},
		{"InvalidClientTokenId", KMS_CREDENTIALS},
		{"MissingAuthenticationToken", KMS_CREDENTIALS},
		{"MissingAuthenticationTokenException", KMS_CREDENTIALS},
		{"NotAuthorized", KMS_CREDENTIALS},
		{"UnrecognizedClientException", KMS_CREDENTIALS},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(error, known[i].name) == 0) {
			return known[i].class;
		}
	}
	if (status == 429) {
		return KMS_THROTTLED;
	}
	/* Of no known name, such as a proxy's page: its status is all there is. */
	if (status >= 500 || status == 408 || status < 400) {
		return KMS_AWAY;
	}
	return status == 403 ? KMS_DENIED : KMS_INVALID;
}

static int64_t mono_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

/* With the lock held. */
static bool wait_until(struct kms *k, int64_t until_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_ns / SECOND_NS),
				 .tv_nsec = (long)(until_ns % SECOND_NS)};
	while (!atomic_load(&k->cancelled) && mono_ns() < until_ns) {
		pthread_cond_timedwait(&k->wake, &k->lock, &until);
	}
	return !atomic_load(&k->cancelled);
}

bool kms_pause(struct kms *k, int64_t ns)
{
	pthread_mutex_lock(&k->lock);
	bool on = wait_until(k, mono_ns() + ns);
	pthread_mutex_unlock(&k->lock);
	return on;
}

bool kms_take_turn(struct kms *k)
{
	int64_t apart_ns = SECOND_NS / (int64_t)k->opt->rate;
	pthread_mutex_lock(&k->lock);
	int64_t now = mono_ns();
	int64_t mine = k->next_ns > now ? k->next_ns : now;
	k->next_ns = mine + apart_ns;
	bool on = wait_until(k, mine);
	pthread_mutex_unlock(&k->lock);
	return on;
}

/* Full jitter: anything between nothing and the wait, which doubles. */
static int64_t backoff_ns(unsigned attempt)
{
	uint32_t r = 0;
	if (random_bytes(&r, sizeof(r)) != ST_OK) {
		r = UINT32_MAX;
	}
	return (BACKOFF_NS << attempt) * (int64_t)(r >> 16) / 65536;
}

/* "com.amazonaws.kms#NotFoundException", "NotFoundException:http://...". */
static void error_name(const char *text, char *out, size_t room)
{
	const char *hash = strrchr(text, '#');
	text = hash != NULL ? hash + 1 : text;
	snprintf(out, room, "%.*s", (int)strcspn(text, ":"), text);
	for (char *p = out; *p != '\0'; p++) {
		*p = *p > ' ' && *p <= '~' ? *p : '?';
	}
}

/* An answer that was read. */
struct answer {
	enum kms_class class;
	char error[64];
	char message[96]; /* the service's, printable */
	int64_t skew_s;	  /* how far our clock is ahead of theirs; 0: not known */
	json_t *body;	  /* NULL: none */
};

static void printable(const char *from, char *out, size_t room)
{
	size_t len = 0;
	for (; *from != '\0' && len + 1 < room; from++) {
		out[len++] = *from >= ' ' && *from <= '~' ? *from : '?';
	}
	out[len] = '\0';
}

static void read_answer(struct aws_http_reply *r, struct answer *a)
{
	*a = (struct answer){.class = KMS_AWAY};
	if (r->date_s != 0) {
		a->skew_s = clock_wall_s() - r->date_s;
	}
	if (r->too_long) {
		snprintf(a->message, sizeof(a->message), "the answer is too long");
		return;
	}
	a->body =
		r->body != NULL ? json_loadb(r->body, r->len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (a->body != NULL && !json_is_object(a->body)) {
		json_decref(a->body);
		a->body = NULL;
	}
	if (r->status == 200) {
		a->class = a->body != NULL ? KMS_OK : KMS_AWAY;
		if (a->body == NULL) {
			snprintf(a->message, sizeof(a->message), "the answer is not JSON");
		}
		return;
	}
	const char *type = json_string_value(json_object_get(a->body, "__type"));
	const char *message = json_string_value(json_object_get(a->body, "message"));
	if (message == NULL) {
		message = json_string_value(json_object_get(a->body, "Message"));
	}
	error_name(r->error_type[0] != '\0' ? r->error_type
		   : type != NULL	    ? type
					    : "",
		   a->error, sizeof(a->error));
	if (message != NULL) {
		printable(message, a->message, sizeof(a->message));
	}
	a->class = kms_classify(a->error, r->status);
	if (a->error[0] == '\0') {
		snprintf(a->error, sizeof(a->error), "HTTP status %ld", r->status);
	}
}

/* What the operator does about it. */
static enum status explain(const struct kms *k, const struct answer *a,
			   const struct aws_credentials *c, const char *operation,
			   const char *subject, struct fault *f)
{
	const char *key = subject != NULL ? subject : "*";
	switch (a->class) {
	case KMS_NOT_FOUND:
		fault_set(f, FAULT_REQUEST, "%s: there is no key %s in %s", a->error, key,
			  k->region);
		return ST_ENOENT;
	case KMS_KEY_STATE:
		fault_set(f, FAULT_REQUEST,
			  "%s: key %s is disabled or to be deleted: enable it, or cancel its "
			  "deletion",
			  a->error, key);
		return ST_EFATAL;
	case KMS_DENIED:
		fault_set(f, FAULT_DEVICE, "%s: allow kms:%s on %s to the credentials of %s",
			  a->error, operation, key, c->source);
		return ST_EFATAL;
	case KMS_CREDENTIALS:
		if (a->skew_s > KMS_SKEW_S || a->skew_s < -KMS_SKEW_S) {
			fault_set(f, FAULT_DEVICE,
				  "%s: this machine's clock is %lld s %s: set it right", a->error,
				  (long long)(a->skew_s > 0 ? a->skew_s : -a->skew_s),
				  a->skew_s > 0 ? "ahead" : "behind");
		} else {
			fault_set(f, FAULT_DEVICE,
				  "%s: the credentials of %s are refused: renew them", a->error,
				  c->source);
		}
		return ST_EAGAIN;
	case KMS_INVALID:
		fault_set(f, FAULT_REQUEST, "%s: %s", a->error, a->message);
		return ST_EFATAL;
	case KMS_THROTTLED:
		fault_set(f, FAULT_DEVICE,
			  "%s: too many requests for %s: set a lower 'rate', or raise the quota",
			  a->error, k->region);
		return ST_EAGAIN;
	default:
		fault_set(f, FAULT_DEVICE, "%s%s%s", a->error, a->error[0] != '\0' ? ": " : "",
			  a->message[0] != '\0' ? a->message : "the service is not able to answer");
		return ST_EAGAIN;
	}
}

/* One request. ST_OK: 'a' is filled, whatever it says. */
static enum status ask(struct kms *k, struct aws_http *http, const struct aws_credentials *c,
		       const char *operation, const char *body, struct answer *a, struct fault *f)
{
	char target[sizeof(TARGET_HEAD) + 64];
	char token[sizeof(TOKEN_HEAD) + AWS_TOKEN_MAX];
	char sigv4[16 + AWS_REGION_MAX];
	const char *headers[] = {"Content-Type: application/x-amz-json-1.1", target, NULL, NULL};
	struct aws_http_reply reply;
	snprintf(target, sizeof(target), "%s%s", TARGET_HEAD, operation);
	snprintf(sigv4, sizeof(sigv4), "aws:amz:%s:kms", k->region);
	if (c->token[0] != '\0') {
		snprintf(token, sizeof(token), "%s%s", TOKEN_HEAD, c->token);
		headers[2] = token;
	}
	const struct aws_http_request rq = {.method = "POST",
					    .url = k->url,
					    .body = body,
					    .headers = headers,
					    .sigv4 = sigv4,
					    .key = c->key,
					    .secret = c->secret,
					    .ca_file = k->opt->ca_file,
					    .timeout_ms = KMS_CALL_MS};
	atomic_fetch_add_explicit(&k->requests, 1, memory_order_relaxed);
	enum status st = aws_http_do(http, &rq, &reply, f);
	wipe(token, sizeof(token));
	if (st == ST_OK) {
		read_answer(&reply, a);
		free(reply.body);
	}
	return st;
}

static enum status call(struct kms *k, struct aws_http *http, const char *operation,
			const char *subject, const char *body, struct aws_credentials *c,
			struct answer *a, struct fault *f)
{
	bool renewed = false;
	for (unsigned attempt = 0;; attempt++) {
		enum status st = aws_credentials_get(k->chain, c, f);
		if (st != ST_OK) {
			f->kind = FAULT_DEVICE;
			return ST_EAGAIN;
		}
		st = ask(k, http, c, operation, body, a, f);
		if (st != ST_OK || a->class == KMS_OK) {
			return st;
		}
		bool again = false;
		if (a->class == KMS_CREDENTIALS && !renewed) {
			aws_credentials_refused(k->chain, c);
			renewed = again = true;
		} else if (a->class == KMS_THROTTLED && attempt + 1 < KMS_TRIES) {
			again = kms_pause(k, backoff_ns(attempt));
		}
		if (!again) {
			return explain(k, a, c, operation, subject, f);
		}
		json_decref(a->body);
		a->body = NULL;
	}
}

enum status kms_call(struct kms *k, struct aws_http *http, const char *operation,
		     const char *subject, json_t *body, json_t **out, struct fault *f)
{
	struct answer a = {.body = NULL};
	/* Too large for a lane's stack beside the token's header. */
	struct aws_credentials *c = malloc(sizeof(*c));
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	enum status st = ST_ENOMEM;
	json_decref(body);
	if (c != NULL && text != NULL) {
		st = call(k, http, operation, subject, text, c, &a, f);
		wipe(c, sizeof(*c));
	}
	free(text);
	free(c);
	if (st == ST_OK || f->kind == FAULT_DEVICE) {
		atomic_store(&k->doubted, st != ST_OK);
	}
	if (st == ST_OK && out != NULL) {
		*out = a.body;
	} else {
		json_decref(a.body);
	}
	return st;
}
