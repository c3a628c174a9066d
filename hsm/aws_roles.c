/* Credentials that are lent: to a web identity, a container, an instance. */
#include "hsm/aws_sources.h"

#include "nsd-core/base/digest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_FILE_MAX 65536
#define STS_MS	       5000
#define CONTAINER_MS   2000
#define INSTANCE_MS    1000 /* where there is no such address nothing answers */

#define CONTAINER_HOST "http://169.254.170.2"
#define INSTANCE_HOST  "http://169.254.169.254"
#define INSTANCE_ROLES "/latest/meta-data/iam/security-credentials/"

/* RFC 3986 2.1: all but unreserved characters. ST_ESPACE. */
static enum status put_escaped(char *out, size_t room, size_t *len, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		bool plain = isalnum(*p) || strchr("-._~", *p) != NULL;
		if (*len + 4 > room) {
			return ST_ESPACE;
		}
		if (plain) {
			out[(*len)++] = (char)*p;
		} else {
			out[(*len)++] = '%';
			out[(*len)++] = hex[*p >> 4];
			out[(*len)++] = hex[*p & 15];
		}
	}
	out[*len] = '\0';
	return ST_OK;
}

/* <name>text</name>, once; such texts need no unescaping. ST_EPARSE. */
static enum status xml_text(const char *body, const char *name, char *out, size_t room)
{
	char tag[64];
	snprintf(tag, sizeof(tag), "<%s>", name);
	const char *p = strstr(body, tag);
	const char *end = p != NULL ? strchr(p + strlen(tag), '<') : NULL;
	if (end == NULL) {
		return ST_EPARSE;
	}
	p += strlen(tag);
	size_t len = (size_t)(end - p);
	if (len == 0 || len >= room) {
		return ST_EPARSE;
	}
	memcpy(out, p, len);
	out[len] = '\0';
	return ST_OK;
}

static enum status sts_body(const char *role, const char *session, const char *token, char **out)
{
	const struct {
		const char *name, *value;
	} parts[] = {
		{"&RoleArn=", role}, {"&RoleSessionName=", session}, {"&WebIdentityToken=", token}};
	static const char head[] = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15";
	size_t room = sizeof(head) + 128 + 3 * (strlen(role) + strlen(session) + strlen(token));
	char *body = malloc(room);
	enum status st = body != NULL ? ST_OK : ST_ENOMEM;
	size_t len = sizeof(head) - 1;
	if (st == ST_OK) {
		memcpy(body, head, sizeof(head));
	}
	for (size_t i = 0; i < 3 && st == ST_OK; i++) {
		memcpy(body + len, parts[i].name, strlen(parts[i].name));
		len += strlen(parts[i].name);
		st = put_escaped(body, room, &len, parts[i].value);
	}
	if (st != ST_OK) {
		free(body);
		return st;
	}
	*out = body;
	return ST_OK;
}

/* What was lent, or will be asked for it with. */
static void reply_wipe(struct aws_http_reply *r)
{
	if (r->body != NULL) {
		wipe(r->body, r->len);
	}
	free(r->body);
}

static enum status sts_read(const struct aws_http_reply *r, struct aws_credentials *out,
			    struct fault *f)
{
	char code[64] = "";
	char end[64];
	const char *body = r->body != NULL ? r->body : "";
	if (r->status != 200) {
		(void)xml_text(body, "Code", code, sizeof(code));
		fault_set(f, FAULT_DEVICE, "AssumeRoleWithWebIdentity: %s (HTTP status %ld)",
			  code[0] != '\0' ? code : "refused", r->status);
		return ST_EAGAIN;
	}
	enum status st = xml_text(body, "AccessKeyId", out->key, sizeof(out->key));
	if (st == ST_OK) {
		st = xml_text(body, "SecretAccessKey", out->secret, sizeof(out->secret));
	}
	if (st == ST_OK) {
		st = xml_text(body, "SessionToken", out->token, sizeof(out->token));
	}
	if (st == ST_OK) {
		st = xml_text(body, "Expiration", end, sizeof(end));
	}
	if (st == ST_OK) {
		st = aws_read_time(end, &out->expires_s);
	}
	if (st != ST_OK) {
		fault_set(f, FAULT_DEVICE,
			  "AssumeRoleWithWebIdentity: the answer holds no credentials");
		return ST_EAGAIN;
	}
	snprintf(out->source, sizeof(out->source), "the web identity");
	return ST_OK;
}

enum status aws_from_web_identity(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	const char *file = aws_variable("AWS_WEB_IDENTITY_TOKEN_FILE");
	const char *role = aws_variable("AWS_ROLE_ARN");
	const char *session = aws_variable("AWS_ROLE_SESSION_NAME");
	const char *url = aws_variable("AWS_ENDPOINT_URL_STS");
	char regional[128];
	char *token = NULL;
	char *body = NULL;
	if (c->profile != NULL || file == NULL || role == NULL) {
		return ST_ENOENT;
	}
	enum status st = aws_read_file(file, TOKEN_FILE_MAX, &token);
	if (st != ST_OK) {
		fault_set(f, FAULT_DEVICE, "AWS_WEB_IDENTITY_TOKEN_FILE: %s: %s", file,
			  status_text(st));
		return ST_EAGAIN;
	}
	token[strcspn(token, "\r\n \t")] = '\0';
	url = url != NULL ? url : aws_variable("AWS_ENDPOINT_URL");
	if (url == NULL) {
		snprintf(regional, sizeof(regional), "https://sts.%s.amazonaws.com%s/", c->region,
			 strncmp(c->region, "cn-", 3) == 0 ? ".cn" : "");
		url = regional;
	}
	if (!aws_http_is_safe(url)) {
		fault_set(f, FAULT_DEVICE,
			  "the endpoint of STS: a token is not sent over plain HTTP to another "
			  "machine");
		st = ST_EFATAL;
	}
	st = st != ST_OK ? st : sts_body(role, session != NULL ? session : "signet", token, &body);
	if (st == ST_OK) {
		static const char *const headers[] = {
			"Content-Type: application/x-www-form-urlencoded", NULL};
		const struct aws_http_request rq = {.method = "POST",
						    .url = url,
						    .body = body,
						    .headers = headers,
						    .ca_file = c->ca_file,
						    .timeout_ms = STS_MS};
		struct aws_http_reply r;
		st = aws_http_do(c->http, &rq, &r, f);
		if (st == ST_OK) {
			st = sts_read(&r, out, f);
			reply_wipe(&r);
		}
	}
	if (body != NULL) {
		wipe(body, strlen(body));
	}
	free(body);
	wipe(token, strlen(token));
	free(token);
	return st;
}

/* GET, or PUT, of metadata: never through a proxy. */
static enum status metadata(struct aws_chain *c, const char *method, const char *url,
			    const char *header, long timeout_ms, struct aws_http_reply *r,
			    struct fault *f)
{
	const char *headers[] = {header, NULL};
	const struct aws_http_request rq = {.method = method,
					    .url = url,
					    .body = strcmp(method, "PUT") == 0 ? "" : NULL,
					    .headers = header != NULL ? headers : NULL,
					    .ca_file = c->ca_file,
					    .timeout_ms = timeout_ms,
					    .no_proxy = true};
	return aws_http_do(c->http, &rq, r, f);
}

/* "Authorization: TOKEN" or "". */
static enum status container_token(char *out, size_t room, struct fault *f)
{
	const char *path = aws_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = aws_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	char *text = NULL;
	out[0] = '\0';
	if (path != NULL) {
		enum status st = aws_read_file(path, TOKEN_FILE_MAX, &text);
		if (st != ST_OK) {
			fault_set(f, FAULT_DEVICE, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %s: %s",
				  path, status_text(st));
			return ST_EAGAIN;
		}
		text[strcspn(text, "\r\n")] = '\0';
		token = text;
	}
	int len = token != NULL ? snprintf(out, room, "Authorization: %s", token) : 0;
	bool bad =
		len < 0 || (size_t)len >= room || (token != NULL && strpbrk(token, "\r\n") != NULL);
	if (text != NULL) {
		wipe(text, strlen(text));
	}
	free(text);
	if (bad) {
		fault_set(f, FAULT_DEVICE, "the container's authorization token is malformed");
		return ST_EFATAL;
	}
	return ST_OK;
}

static enum status lent(const char *what, const struct aws_http_reply *r,
			struct aws_credentials *out, struct fault *f)
{
	if (r->status != 200) {
		fault_set(f, FAULT_DEVICE, "%s: HTTP status %ld", what, r->status);
		return ST_EAGAIN;
	}
	if (r->body == NULL || aws_read_json(r->body, r->len, "Token", out) != ST_OK) {
		fault_set(f, FAULT_DEVICE, "%s: the answer holds no credentials", what);
		return ST_EAGAIN;
	}
	snprintf(out->source, sizeof(out->source), "%s", what);
	return ST_OK;
}

enum status aws_from_container(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	const char *relative = aws_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = aws_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	char url[1024];
	char header[AWS_TOKEN_MAX];
	struct aws_http_reply r;
	if (relative == NULL && full == NULL) {
		return ST_ENOENT;
	}
	int len = relative != NULL ? snprintf(url, sizeof(url), "%s%s", CONTAINER_HOST, relative)
				   : snprintf(url, sizeof(url), "%s", full);
	if (len < 0 || (size_t)len >= sizeof(url) || !aws_http_is_safe(url)) {
		fault_set(f, FAULT_DEVICE,
			  "AWS_CONTAINER_CREDENTIALS_FULL_URI: plain HTTP is for this machine and "
			  "the "
			  "container agent only");
		return ST_EFATAL;
	}
	enum status st = container_token(header, sizeof(header), f);
	if (st == ST_OK) {
		st = metadata(c, "GET", url, header[0] != '\0' ? header : NULL, CONTAINER_MS, &r,
			      f);
	}
	wipe(header, sizeof(header));
	if (st == ST_OK) {
		st = lent("the container's role", &r, out, f);
		reply_wipe(&r);
	}
	return st;
}

/* "X-aws-ec2-metadata-token: ..." for all other requests (IMDSv2). ST_ENOENT: this is no instance.
 */
static enum status instance_token(struct aws_chain *c, const char *host, char *out, size_t room,
				  struct fault *f)
{
	char url[300];
	struct aws_http_reply r;
	snprintf(url, sizeof(url), "%s/latest/api/token", host);
	enum status st = metadata(c, "PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 21600",
				  INSTANCE_MS, &r, f);
	if (st != ST_OK) {
		return st == ST_EAGAIN ? ST_ENOENT : st;
	}
	bool ok = r.status == 200 && r.body != NULL && r.len > 0 && strpbrk(r.body, "\r\n") == NULL;
	int len = ok ? snprintf(out, room, "X-aws-ec2-metadata-token: %s", r.body) : 0;
	reply_wipe(&r);
	return ok && len > 0 && (size_t)len < room ? ST_OK : ST_ENOENT;
}

enum status aws_from_instance(struct aws_chain *c, struct aws_credentials *out, struct fault *f)
{
	const char *host = aws_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *off = aws_variable("AWS_EC2_METADATA_DISABLED");
	char header[1024];
	char url[600];
	char role[256];
	struct aws_http_reply r;
	if (off != NULL && strcasecmp(off, "true") == 0) {
		return ST_ENOENT;
	}
	char base[200];
	snprintf(base, sizeof(base), "%s", host != NULL ? host : INSTANCE_HOST);
	if (base[strlen(base) - 1] == '/') {
		base[strlen(base) - 1] = '\0';
	}
	enum status st = instance_token(c, base, header, sizeof(header), f);
	if (st != ST_OK) {
		return st;
	}
	snprintf(url, sizeof(url), "%s%s", base, INSTANCE_ROLES);
	st = metadata(c, "GET", url, header, INSTANCE_MS, &r, f);
	if (st != ST_OK) {
		return st;
	}
	size_t len = r.body != NULL ? strcspn(r.body, "\r\n") : 0;
	bool named = r.status == 200 && len > 0 && len < sizeof(role);
	if (named) {
		snprintf(role, sizeof(role), "%.*s", (int)len, r.body);
	}
	reply_wipe(&r);
	if (!named) {
		return ST_ENOENT; /* an instance without a role */
	}
	snprintf(url, sizeof(url), "%s%s%s", base, INSTANCE_ROLES, role);
	st = metadata(c, "GET", url, header, INSTANCE_MS, &r, f);
	if (st == ST_OK) {
		st = lent("the instance's role", &r, out, f);
		reply_wipe(&r);
	}
	return st;
}
