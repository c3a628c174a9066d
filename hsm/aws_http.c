#include "hsm/aws_http.h"

#include "nsd-core/base/digest.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 5000
#define HEADER_MAX 16384 /* octets of all headers of an answer */

struct aws_http {
	CURL *curl;
	_Atomic(bool) cancelled;
	/* Of the request under way. */
	struct aws_http_reply *reply;
	size_t room, headers;
	bool no_memory;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode once_code;

static void init_once(void)
{
	once_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum status aws_http_new(struct aws_http **out)
{
	pthread_once(&once, init_once);
	struct aws_http *h = calloc(1, sizeof(*h));
	if (h == NULL || once_code != CURLE_OK) {
		free(h);
		return ST_ENOMEM;
	}
	h->curl = curl_easy_init();
	if (h->curl == NULL) {
		free(h);
		return ST_ENOMEM;
	}
	*out = h;
	return ST_OK;
}

void aws_http_free(struct aws_http *h)
{
	if (h != NULL) {
		curl_easy_cleanup(h->curl);
		free(h);
	}
}

void aws_http_cancel(struct aws_http *h)
{
	atomic_store(&h->cancelled, true);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct aws_http *h = arg;
	struct aws_http_reply *r = h->reply;
	size_t len = size * count;
	if (len > AWS_BODY_MAX - r->len) {
		r->too_long = true;
		return 0;
	}
	if (r->len + len + 1 > h->room) {
		size_t room = h->room == 0 ? 4096 : h->room;
		while (room < r->len + len + 1) {
			room *= 2;
		}
		char *grown = realloc(r->body, room);
		if (grown == NULL) {
			h->no_memory = true;
			return 0;
		}
		r->body = grown;
		h->room = room;
	}
	memcpy(r->body + r->len, data, len);
	r->len += len;
	r->body[r->len] = '\0';
	return len;
}

/* Where a header of this name begins its value, or NULL. */
static const char *header_value(const char *line, size_t len, const char *name, size_t *value_len)
{
	size_t n = strlen(name);
	if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':') {
		return NULL;
	}
	const char *p = line + n + 1;
	const char *end = line + len;
	while (p < end && (*p == ' ' || *p == '\t')) {
		p++;
	}
	while (end > p && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' ')) {
		end--;
	}
	*value_len = (size_t)(end - p);
	return p;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct aws_http *h = arg;
	struct aws_http_reply *r = h->reply;
	size_t len = size * count;
	size_t value_len = 0;
	h->headers += len;
	if (h->headers > HEADER_MAX) {
		r->too_long = true;
		return 0;
	}
	const char *value = header_value(data, len, "x-amzn-ErrorType", &value_len);
	if (value != NULL && value_len < sizeof(r->error_type)) {
		memcpy(r->error_type, value, value_len);
		r->error_type[value_len] = '\0';
	}
	value = header_value(data, len, "Date", &value_len);
	if (value != NULL && value_len < 64) {
		char text[64];
		memcpy(text, value, value_len);
		text[value_len] = '\0';
		time_t date = curl_getdate(text, NULL);
		r->date_s = date > 0 ? (int64_t)date : 0;
	}
	return len;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	struct aws_http *h = arg;
	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	return atomic_load(&h->cancelled);
}

static struct curl_slist *header_list(const char *const *headers, bool *failed)
{
	struct curl_slist *list = NULL;
	*failed = false;
	for (; headers != NULL && *headers != NULL; headers++) {
		struct curl_slist *longer = curl_slist_append(list, *headers);
		if (longer == NULL) {
			*failed = true;
			break;
		}
		list = longer;
	}
	return list;
}

/* Each returns CURLE_OK or is remembered in *code. */
#define SET(option, value)                                                                         \
	do {                                                                                       \
		if (code == CURLE_OK) {                                                            \
			code = curl_easy_setopt(h->curl, option, value);                           \
		}                                                                                  \
	} while (0)

static CURLcode set_options(struct aws_http *h, const struct aws_http_request *rq,
			    struct curl_slist *headers, char *error)
{
	CURLcode code = CURLE_OK;
	bool has_body = rq->body != NULL;
	/* Kept: connections, TLS sessions, DNS. */
	curl_easy_reset(h->curl);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_ERRORBUFFER, error);
	SET(CURLOPT_URL, rq->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_TIMEOUT_MS, rq->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, rq->timeout_ms < CONNECT_MS ? rq->timeout_ms : CONNECT_MS);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, h);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, h);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, h);
	SET(CURLOPT_NOPROGRESS, 0L);
	if (has_body) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDS, rq->body);
		SET(CURLOPT_POSTFIELDSIZE, (long)strlen(rq->body));
	}
	if (!has_body || strcmp(rq->method, "POST") != 0) {
		SET(CURLOPT_CUSTOMREQUEST, rq->method);
	}
	if (rq->ca_file != NULL) {
		SET(CURLOPT_CAINFO, rq->ca_file);
		/* Else the system's folder of authorities is trusted beside it. */
		SET(CURLOPT_CAPATH, NULL);
	}
	/* Plain HTTP is of this machine: a proxy would carry it to another one in the clear. */
	if (rq->no_proxy || strncasecmp(rq->url, "http:", 5) == 0) {
		SET(CURLOPT_NOPROXY, "*");
	}
	if (rq->sigv4 != NULL) {
		SET(CURLOPT_AWS_SIGV4, rq->sigv4);
		SET(CURLOPT_USERNAME, rq->key);
		SET(CURLOPT_PASSWORD, rq->secret);
	}
	return code;
}

static bool is_near(const char *host)
{
	static const char *const near[] = {"127.0.0.1",	    "localhost",      "[::1]",
					   "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
		if (strcasecmp(host, near[i]) == 0) {
			return true;
		}
	}
	return false;
}

bool aws_http_is_safe(const char *url)
{
	CURLU *u = curl_url();
	char *scheme = NULL;
	char *host = NULL;
	/* As curl reads it when it connects. */
	bool safe = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		    (strcasecmp(scheme, "https") == 0 ||
		     (strcasecmp(scheme, "http") == 0 && is_near(host)));
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return safe;
}

/* The host of a URL, for people. */
static void host_of(const char *url, char *out, size_t room)
{
	const char *p = strstr(url, "://");
	p = p != NULL ? p + 3 : url;
	snprintf(out, room, "%.*s", (int)strcspn(p, "/?"), p);
}

enum status aws_http_do(struct aws_http *h, const struct aws_http_request *rq,
			struct aws_http_reply *reply, struct fault *f)
{
	char error[CURL_ERROR_SIZE] = "";
	char host[64];
	bool failed;
	*reply = (struct aws_http_reply){.status = 0};
	h->reply = reply;
	h->room = h->headers = 0;
	h->no_memory = false;
	struct curl_slist *headers = header_list(rq->headers, &failed);
	CURLcode code = failed ? CURLE_OUT_OF_MEMORY : set_options(h, rq, headers, error);
	if (code == CURLE_OK) {
		code = curl_easy_perform(h->curl);
	}
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &reply->status);
	curl_slist_free_all(headers);
	/* Nothing of the request is referred to any more. */
	curl_easy_reset(h->curl);
	if (code == CURLE_OK || reply->too_long) {
		return ST_OK;
	}
	if (reply->body != NULL) {
		wipe(reply->body, reply->len);
	}
	free(reply->body);
	reply->body = NULL;
	if (h->no_memory || code == CURLE_OUT_OF_MEMORY) {
		return ST_ENOMEM;
	}
	host_of(rq->url, host, sizeof(host));
	fault_set(f, FAULT_DEVICE, "%s: %s", host,
		  error[0] != '\0' ? error : curl_easy_strerror(code));
	return ST_EAGAIN;
}
