#include "hsm/pkcs11.h"

#include <stdlib.h>

struct session {
	struct device *dev;
	CK_SESSION_HANDLE handle;
	bool open;
	uint64_t epoch;	     /* the device's, when opened */
	uint64_t generation; /* the module's, when opened */
};

enum status p11_session_new(struct device *dev, struct session **out)
{
	struct session *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	s->dev = dev;
	*out = s;
	return ST_OK;
}

/* Under the shared gate and the serial lock. */
static void session_close(struct session *s)
{
	struct p11_module *m = s->dev->module;
	if (s->open && m->ctx != NULL && m->generation == s->generation) {
		(void)m->f->C_CloseSession(s->handle);
	}
	s->open = false;
}

void p11_session_free(struct session *s)
{
	if (s == NULL) {
		return;
	}
	struct p11_module *m = s->dev->module;
	if (s->open) {
		pthread_rwlock_rdlock(&m->gate);
		pthread_mutex_lock(&m->serial);
		session_close(s);
		pthread_mutex_unlock(&m->serial);
		pthread_rwlock_unlock(&m->gate);
	}
	free(s);
}

/* Under the shared gate. */
static enum status session_ready(struct session *s, struct fault *f)
{
	struct device *dev = s->dev;
	struct p11_module *m = dev->module;
	enum status st = ST_OK;
	if (s->open && s->epoch == dev->epoch) {
		return ST_OK;
	}
	pthread_mutex_lock(&m->serial);
	session_close(s);
	CK_RV rv = m->f->C_OpenSession(dev->slot, CKF_SERIAL_SESSION, NULL, NULL, &s->handle);
	if (rv == CKR_OK) {
		s->open = true;
		s->epoch = dev->epoch;
		s->generation = m->generation;
	} else if (rv == CKR_SESSION_COUNT) {
		fault_set(f, FAULT_REQUEST, "the token gives no session: others hold them all");
		st = ST_ELIMIT;
	} else {
		st = p11_device_fault(dev, f, "C_OpenSession", rv);
	}
	pthread_mutex_unlock(&m->serial);
	return st;
}

static enum status key_ready(struct device *dev, struct p11_key *key, CK_OBJECT_HANDLE stale,
			     struct fault *f)
{
	if (stale == CK_INVALID_HANDLE && atomic_load(&key->found) == atomic_load(&dev->handles)) {
		return ST_OK;
	}
	pthread_mutex_lock(&dev->module->serial);
	enum status st = p11_key_locate(dev, key, stale, f);
	pthread_mutex_unlock(&dev->module->serial);
	return st;
}

static enum status login_ready(struct device *dev, struct fault *f)
{
	pthread_mutex_lock(&dev->module->serial);
	enum status st = p11_login(dev, f);
	pthread_mutex_unlock(&dev->module->serial);
	return st;
}

static CK_RV sign_once(struct session *s, CK_OBJECT_HANDLE handle, const uint8_t *digest,
		       struct raw_signature *out, const char **call)
{
	CK_FUNCTION_LIST *f = s->dev->module->f;
	CK_MECHANISM mechanism = {.mechanism = CKM_ECDSA};
	CK_ULONG len = sizeof(out->data);
	*call = "C_SignInit";
	CK_RV rv = f->C_SignInit(s->handle, &mechanism, handle);
	if (rv == CKR_OK) {
		*call = "C_Sign";
		rv = f->C_Sign(s->handle, (CK_BYTE *)digest, HSM_DIGEST_LEN, out->data, &len);
	}
	/* What claims to be longer than its room has no form at all. */
	out->len = rv == CKR_OK && len <= sizeof(out->data) ? len : 0;
	return rv;
}

/* What the class of a failure asks for, short of opening the device anew. */
static enum status heal(struct session *s, struct p11_key *key, enum p11_class class,
			CK_OBJECT_HANDLE handle, struct fault *f)
{
	struct device *dev = s->dev;
	enum status st = ST_OK;
	if (class == P11_SESSION) {
		pthread_mutex_lock(&dev->module->serial);
		session_close(s);
		pthread_mutex_unlock(&dev->module->serial);
	}
	/* A handle and a session also become invalid with a log-out. */
	st = login_ready(dev, f);
	if (st == ST_OK && class == P11_KEY) {
		st = key_ready(dev, key, handle, f);
	}
	return st;
}

/* Under the shared gate. Each class is healed once for one signature; what comes back is for the
 * device. */
static enum status sign_gated(struct session *s, struct p11_key *key, const uint8_t *digest,
			      struct raw_signature *out, struct fault *f)
{
	struct device *dev = s->dev;
	unsigned healed = 0;
	enum status st = p11_check_open(dev, f);
	while (st == ST_OK) {
		const char *call;
		st = session_ready(s, f);
		if (st == ST_OK) {
			st = key_ready(dev, key, CK_INVALID_HANDLE, f);
		}
		if (st != ST_OK) {
			break;
		}
		CK_OBJECT_HANDLE handle = atomic_load(&key->handle);
		CK_RV rv = sign_once(s, handle, digest, out, &call);
		enum p11_class class = p11_classify(rv);
		if (class == P11_OK) {
			return ST_OK;
		}
		bool heals = class == P11_KEY || class == P11_SESSION || class == P11_LOGIN;
		if (!heals || (healed & 1U << class) != 0) {
			st = p11_device_fault(dev, f, call, rv);
			break;
		}
		healed |= 1U << class;
		st = heal(s, key, class, handle, f);
	}
	return st;
}

enum status p11_sign(struct session *s, struct hsm_key *key, const uint8_t *digest,
		     struct raw_signature *out, struct fault *f)
{
	pthread_rwlock_t *gate = &s->dev->module->gate;
	pthread_rwlock_rdlock(gate);
	enum status st = sign_gated(s, (struct p11_key *)key, digest, out, f);
	pthread_rwlock_unlock(gate);
	return st;
}
