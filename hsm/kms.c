/* Keystores of type aws-kms: the key is the service's, by its ARN; a signature is a request. */
#include "hsm/kms.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#define SPKI_MAX     128
#define DER_MAX	     80
#define SETTLE_TRIES 5 /* a key that was just made is not known everywhere at once */
#define SETTLE_NS    INT64_C(200000000)

/* A key that was made here and has signed nothing yet. Whoever makes one again for the same use,
 * since it could not be used so far, gets this one: each one is paid for, and none is deleted. */
struct unproven {
	struct unproven *next;
	char id[KMS_ID_MAX + 1];
	char label[];
};

struct device {
	struct kms kms;
	pthread_mutex_t calls; /* http, seen */
	struct aws_http *http;
	char seen[KMS_ID_MAX + 1]; /* the key asked for last: so is whether the service is back */
	/* Under kms.lock. */
	struct session *sessions; /* for cancel */
	struct unproven *unproven;
};

struct session {
	struct device *dev;
	struct aws_http *http;
	struct session *next;
};

struct kms_key {
	struct hsm_key base;
};

static enum status endpoint_of(const struct keystore_options *opt, const char *region,
			       char out[KMS_URL_MAX])
{
	static const char *const variables[] = {"AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"};
	const char *url = opt->endpoint;
	for (size_t i = 0; i < 2 && url == NULL; i++) {
		const char *value = getenv(variables[i]);
		url = value != NULL && value[0] != '\0' ? value : NULL;
	}
	int len = url != NULL ? snprintf(out, KMS_URL_MAX, "%s", url)
			      : snprintf(out, KMS_URL_MAX, "https://kms.%s.amazonaws.com%s", region,
					 strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	return len < KMS_URL_MAX ? ST_OK : ST_ESPACE;
}

/* It becomes part of a host's name and of what is signed. */
static bool is_region(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
	return len > 0 && len < AWS_REGION_MAX && text[len] == '\0';
}

static enum status settle_options(const struct keystore_options *opt, struct kms *k,
				  struct diags *d)
{
	enum status st = ST_OK;
	k->opt = opt;
	if (opt->region != NULL) {
		snprintf(k->region, sizeof(k->region), "%s", opt->region);
	} else {
		st = aws_region(opt->profile, k->region);
	}
	if (st != ST_OK || !is_region(k->region)) {
		diags_error(d,
			    "keystore %s: 'region' is missing or none, and AWS_REGION does not "
			    "say it",
			    opt->name);
		return ST_EPARSE;
	}
	st = endpoint_of(opt, k->region, k->url);
	if (st != ST_OK || !aws_http_is_safe(k->url)) {
		diags_error(d,
			    "keystore %s: 'endpoint': expected https://HOST (http:// is for this "
			    "machine only)",
			    opt->name);
		return ST_EPARSE;
	}
	if (opt->rate == 0) {
		diags_error(d, "keystore %s: 'rate' must be 1 or more", opt->name);
		return ST_EPARSE;
	}
	return ST_OK;
}

static void kms_device_free(struct device *dev)
{
	if (dev == NULL) {
		return;
	}
	while (dev->unproven != NULL) {
		struct unproven *next = dev->unproven->next;
		free(dev->unproven);
		dev->unproven = next;
	}
	aws_http_free(dev->http);
	aws_chain_free(dev->kms.chain);
	pthread_cond_destroy(&dev->kms.wake);
	pthread_mutex_destroy(&dev->kms.lock);
	pthread_mutex_destroy(&dev->calls);
	free(dev);
}

static enum status kms_device_new(const struct keystore_options *opt, struct device **out,
				  struct diags *d)
{
	pthread_condattr_t attr;
	struct device *dev = calloc(1, sizeof(*dev));
	if (dev == NULL) {
		return ST_ENOMEM;
	}
	pthread_mutex_init(&dev->calls, NULL);
	pthread_mutex_init(&dev->kms.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&dev->kms.wake, &attr);
	pthread_condattr_destroy(&attr);
	enum status st = settle_options(opt, &dev->kms, d);
	if (st == ST_OK) {
		st = aws_chain_new(opt->profile, dev->kms.region, opt->ca_file, &dev->kms.chain);
	}
	if (st == ST_OK) {
		st = aws_http_new(&dev->http);
	}
	if (st != ST_OK) {
		kms_device_free(dev);
		return st;
	}
	*out = dev;
	return ST_OK;
}

static json_t *about(const char *id)
{
	return json_pack("{s:s}", "KeyId", id);
}

/* The keystore comes up where there are credentials; where the service was away, and a key is
 * known, once that is told of again. A start makes no request for this. */
static enum status kms_open(struct device *dev, struct fault *f)
{
	struct aws_credentials *c = malloc(sizeof(*c));
	if (c == NULL) {
		return ST_ENOMEM;
	}
	enum status st = aws_credentials_get(dev->kms.chain, c, f);
	wipe(c, sizeof(*c));
	free(c);
	f->kind = FAULT_DEVICE;
	if (st != ST_OK) {
		return st;
	}
	pthread_mutex_lock(&dev->calls);
	if (atomic_load(&dev->kms.doubted) && dev->seen[0] != '\0') {
		st = kms_call(&dev->kms, dev->http, "DescribeKey", dev->seen, about(dev->seen),
			      NULL, f);
		/* Of one key, which is not the keystore's fault; nor is it that only signing is
		 * allowed. */
		st = st == ST_EFATAL || (st != ST_OK && f->kind == FAULT_REQUEST) ? ST_OK : st;
	}
	pthread_mutex_unlock(&dev->calls);
	return st;
}

static enum status bad_answer(const char *operation, struct fault *f)
{
	fault_set(f, FAULT_DEVICE, "%s: the answer is not what the service gives", operation);
	return ST_EAGAIN;
}

/* An ARN, or what a reply calls the key. */
static enum status set_id(struct hsm_key *key, const char *id)
{
	size_t len = id != NULL ? strlen(id) : 0;
	if (len == 0 || len > KMS_ID_MAX) {
		return ST_ESPACE;
	}
	memcpy(key->id, id, len);
	key->id_len = len;
	return ST_OK;
}

/* SubjectPublicKeyInfo in base64 (RFC 5480). ST_ECRYPTO: of another kind. */
static enum status read_spki(const char *text, uint8_t point[HSM_PUBLIC_LEN])
{
	uint8_t spki[SPKI_MAX];
	size_t len;
	if (text == NULL || base64_decode(text, strlen(text), spki, sizeof(spki), &len) != ST_OK) {
		return ST_ECRYPTO;
	}
	const unsigned char *p = spki;
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &p, (long)len);
	enum status st =
		pkey != NULL && p == spki + len ? public_key_point(pkey, point) : ST_ECRYPTO;
	EVP_PKEY_free(pkey);
	return st;
}

/* With dev->calls held. */
static enum status get_public(struct device *dev, struct hsm_key *key, struct fault *f)
{
	char id[KMS_ID_MAX + 1];
	json_t *got = NULL;
	snprintf(id, sizeof(id), "%.*s", (int)key->id_len, (const char *)key->id);
	memcpy(dev->seen, id, sizeof(id));
	enum status st = kms_call(&dev->kms, dev->http, "GetPublicKey", id, about(id), &got, f);
	if (st != ST_OK) {
		return st;
	}
	const char *usage = json_string_value(json_object_get(got, "KeyUsage"));
	const char *spki = json_string_value(json_object_get(got, "PublicKey"));
	if (usage != NULL && strcmp(usage, "SIGN_VERIFY") != 0) {
		fault_set(f, FAULT_REQUEST, "key %s is for %s: make one for SIGN_VERIFY", id,
			  usage);
		st = ST_ECRYPTO;
	} else if (read_spki(spki, key->public_point) != ST_OK) {
		fault_set(f, FAULT_REQUEST, "key %s is not of ECC_NIST_P256", id);
		st = ST_ECRYPTO;
	} else if (set_id(key, json_string_value(json_object_get(got, "KeyId"))) != ST_OK) {
		st = bad_answer("GetPublicKey", f);
	}
	json_decref(got);
	return st;
}

static bool is_plain(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~') {
			return false;
		}
	}
	return true;
}

static bool is_name(const struct hsm_key *key)
{
	return key->id_len <= KMS_ID_MAX && is_plain((const char *)key->id, key->id_len);
}

static enum status kms_find(struct device *dev, struct hsm_key *key, const uint8_t *expect,
			    struct fault *f)
{
	(void)expect;
	if (!is_name(key)) {
		fault_set(f, FAULT_REQUEST, "this is not the name of a key");
		return ST_ENOENT;
	}
	pthread_mutex_lock(&dev->calls);
	enum status st = get_public(dev, key, f);
	pthread_mutex_unlock(&dev->calls);
	return st;
}

/* What a tag's value or a description may hold. */
static void plain_text(const char *from, char *out, size_t room)
{
	size_t len = 0;
	for (; *from != '\0' && len + 1 < room; from++) {
		bool ok = (*from >= '0' && *from <= '9') || (*from >= 'a' && *from <= 'z') ||
			  (*from >= 'A' && *from <= 'Z') || strchr("+-=._:/@", *from) != NULL;
		out[len++] = ok ? *from : '_';
	}
	out[len] = '\0';
}

/* Labels end with the day. */
static bool same_use(const char *a, const char *b)
{
	const char *end = strrchr(a, '/');
	size_t len = end != NULL ? (size_t)(end - a) : strlen(a);
	const char *other = strrchr(b, '/');
	size_t other_len = other != NULL ? (size_t)(other - b) : strlen(b);
	return len == other_len && memcmp(a, b, len) == 0;
}

static bool unproven_find(struct device *dev, const char *label, struct hsm_key *key)
{
	bool found = false;
	pthread_mutex_lock(&dev->kms.lock);
	for (struct unproven *u = dev->unproven; u != NULL && !found; u = u->next) {
		found = same_use(u->label, label) && set_id(key, u->id) == ST_OK;
	}
	pthread_mutex_unlock(&dev->kms.lock);
	return found;
}

static void unproven_add(struct device *dev, struct unproven *u, const struct hsm_key *key)
{
	snprintf(u->id, sizeof(u->id), "%.*s", (int)key->id_len, (const char *)key->id);
	pthread_mutex_lock(&dev->kms.lock);
	u->next = dev->unproven;
	dev->unproven = u;
	pthread_mutex_unlock(&dev->kms.lock);
}

static void unproven_forget(struct device *dev, const char *id)
{
	struct unproven *gone = NULL;
	pthread_mutex_lock(&dev->kms.lock);
	for (struct unproven **p = &dev->unproven; *p != NULL; p = &(*p)->next) {
		if (strcmp((*p)->id, id) == 0) {
			gone = *p;
			*p = gone->next;
			break;
		}
	}
	pthread_mutex_unlock(&dev->kms.lock);
	free(gone);
}

static enum status create(struct device *dev, struct hsm_key *key, const char *label,
			  struct fault *f)
{
	json_t *got = NULL;
	char text[256];
	struct unproven *made = calloc(1, sizeof(*made) + strlen(label) + 1);
	if (made == NULL) {
		return ST_ENOMEM;
	}
	memcpy(made->label, label, strlen(label));
	plain_text(label, text, sizeof(text));
	json_t *body = json_pack("{s:s, s:s, s:s, s:[{s:s, s:s}]}", "KeySpec", "ECC_NIST_P256",
				 "KeyUsage", "SIGN_VERIFY", "Description", text, "Tags", "TagKey",
				 "signet", "TagValue", text);
	enum status st = kms_call(&dev->kms, dev->http, "CreateKey", NULL, body, &got, f);
	if (st == ST_OK) {
		json_t *meta = json_object_get(got, "KeyMetadata");
		st = set_id(key, json_string_value(json_object_get(meta, "Arn")));
		if (st != ST_OK) {
			st = bad_answer("CreateKey", f);
		}
	}
	if (st == ST_OK) {
		unproven_add(dev, made, key);
		made = NULL;
	}
	free(made);
	json_decref(got);
	return st;
}

static enum status kms_generate(struct device *dev, struct hsm_key *key, const char *label,
				struct fault *f)
{
	pthread_mutex_lock(&dev->calls);
	bool again = unproven_find(dev, label, key);
	enum status st = again ? ST_OK : create(dev, key, label, f);
	for (unsigned i = 0; st == ST_OK; i++) {
		st = get_public(dev, key, f);
		if (st != ST_ENOENT) {
			break;
		}
		st = i + 1 < SETTLE_TRIES && kms_pause(&dev->kms, SETTLE_NS << i) ? ST_OK
										  : ST_EAGAIN;
	}
	if (again && st != ST_OK && st != ST_ENOMEM && f->kind == FAULT_REQUEST) {
		/* A person has disabled or deleted it meanwhile. */
		unproven_forget(dev, dev->seen);
	}
	pthread_mutex_unlock(&dev->calls);
	return st;
}

/* Nothing there is deleted but by a person: it would be the end of every zone that it signs. */
static enum status kms_remove(struct device *dev, struct hsm_key *key, struct fault *f)
{
	(void)dev;
	fault_set(f, FAULT_REQUEST, "key %.*s stays: signet deletes none by itself",
		  (int)key->id_len, (const char *)key->id);
	return ST_EREFUSED;
}

/* What an alias points to is the service's to say, and may be another key tomorrow: the ARN stays.
 */
static enum status kms_identify(struct device *dev, const char *ref, struct hsm_id *out,
				struct fault *f)
{
	struct hsm_key key = {.store = NULL};
	json_t *got = NULL;
	if (!is_plain(ref, strlen(ref))) {
		fault_set(f, FAULT_REQUEST,
			  "'%.64s' names no key: give a key's id or ARN, or alias/NAME", ref);
		return ST_EPARSE;
	}
	pthread_mutex_lock(&dev->calls);
	enum status st = kms_call(&dev->kms, dev->http, "DescribeKey", ref, about(ref), &got, f);
	pthread_mutex_unlock(&dev->calls);
	if (st == ST_EFATAL) {
		/* Who may sign need not be allowed to look at every key. */
		f->kind = FAULT_REQUEST;
	}
	if (st != ST_OK) {
		return st;
	}
	json_t *meta = json_object_get(got, "KeyMetadata");
	st = set_id(&key, json_string_value(json_object_get(meta, "Arn")));
	if (st == ST_OK) {
		memcpy(out->data, key.id, key.id_len);
		out->len = key.id_len;
	} else {
		st = bad_answer("DescribeKey", f);
	}
	json_decref(got);
	return st;
}

static enum status kms_schedule(struct device *dev, const struct hsm_key *key, unsigned days,
				int64_t *until, struct fault *f)
{
	char id[KMS_ID_MAX + 1];
	json_t *got = NULL;
	snprintf(id, sizeof(id), "%.*s", (int)key->id_len, (const char *)key->id);
	json_t *body = json_pack("{s:s, s:i}", "KeyId", id, "PendingWindowInDays", (int)days);
	pthread_mutex_lock(&dev->calls);
	enum status st = kms_call(&dev->kms, dev->http, "ScheduleKeyDeletion", id, body, &got, f);
	pthread_mutex_unlock(&dev->calls);
	if (st == ST_EFATAL) {
		/* Who may sign need not be allowed to delete: the keystore is as good as before. */
		f->kind = FAULT_REQUEST;
	}
	if (st != ST_OK) {
		return st;
	}
	const json_t *date = json_object_get(got, "DeletionDate");
	if (json_is_number(date)) {
		*until = (int64_t)json_number_value(date);
	} else {
		st = bad_answer("ScheduleKeyDeletion", f);
	}
	json_decref(got);
	return st;
}

static enum status kms_session_new(struct device *dev, struct session **out)
{
	struct session *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	enum status st = aws_http_new(&s->http);
	if (st != ST_OK) {
		free(s);
		return st;
	}
	s->dev = dev;
	pthread_mutex_lock(&dev->kms.lock);
	s->next = dev->sessions;
	dev->sessions = s;
	pthread_mutex_unlock(&dev->kms.lock);
	*out = s;
	return ST_OK;
}

static void kms_session_free(struct session *s)
{
	if (s == NULL) {
		return;
	}
	pthread_mutex_lock(&s->dev->kms.lock);
	struct session **p = &s->dev->sessions;
	while (*p != s) {
		p = &(*p)->next;
	}
	*p = s->next;
	pthread_mutex_unlock(&s->dev->kms.lock);
	aws_http_free(s->http);
	free(s);
}

static enum status kms_sign(struct session *s, struct hsm_key *key, const uint8_t *digest,
			    struct raw_signature *out, struct fault *f)
{
	struct device *dev = s->dev;
	char id[KMS_ID_MAX + 1];
	char message[TEXT_BASE64_SIZE(HSM_DIGEST_LEN)];
	json_t *got = NULL;
	if (!kms_take_turn(&dev->kms)) {
		fault_set(f, FAULT_DEVICE, "the keystore ends");
		return ST_EAGAIN;
	}
	snprintf(id, sizeof(id), "%.*s", (int)key->id_len, (const char *)key->id);
	json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "KeyId", id, "Message",
				 base64_encode(digest, HSM_DIGEST_LEN, message), "MessageType",
				 "DIGEST", "SigningAlgorithm", "ECDSA_SHA_256");
	enum status st = kms_call(&dev->kms, s->http, "Sign", id, body, &got, f);
	if (st != ST_OK) {
		/* A key that is not there any more cannot sign, and that is no fault of the rest.
		 */
		return st == ST_ENOENT ? ST_EFATAL : st;
	}
	const char *text = json_string_value(json_object_get(got, "Signature"));
	if (text == NULL ||
	    base64_decode(text, strlen(text), out->data, sizeof(out->data), &out->len) != ST_OK) {
		st = bad_answer("Sign", f);
	} else {
		unproven_forget(dev, id);
	}
	json_decref(got);
	return st;
}

static void kms_cancel(struct device *dev)
{
	pthread_mutex_lock(&dev->kms.lock);
	atomic_store(&dev->kms.cancelled, true);
	/* Not dev->http: a key that is being made would be lost, and paid for. It takes seconds. */
	aws_chain_cancel(dev->kms.chain);
	for (struct session *s = dev->sessions; s != NULL; s = s->next) {
		aws_http_cancel(s->http);
	}
	pthread_cond_broadcast(&dev->kms.wake);
	pthread_mutex_unlock(&dev->kms.lock);
}

static void kms_process(struct device *dev, struct keystore_health *out)
{
	out->requests = atomic_load(&dev->kms.requests);
}

const struct backend backend_kms = {
	.in_process = false,
	.key_size = sizeof(struct kms_key),
	.device_new = kms_device_new,
	.device_free = kms_device_free,
	.open = kms_open,
	.find = kms_find,
	.generate = kms_generate,
	.remove = kms_remove,
	.identify = kms_identify,
	.schedule = kms_schedule,
	.session_new = kms_session_new,
	.session_free = kms_session_free,
	.sign = kms_sign,
	.cancel = kms_cancel,
	.process = kms_process,
};
