#include "hsm/pkcs11.h"

#include "nsd-core/base/clock.h"

#include <string.h>

/* How soon a key that is gone is looked for again: searching may be linear in the token's keys. */
#define ABSENT_MS 5000

/* The OID of prime256v1 (RFC 5480 2.1.1.1) in DER: what CKA_EC_PARAMS holds. */
static const uint8_t p256_oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

/* CKA_EC_POINT is a DER OCTET STRING of the uncompressed point; some modules leave out the string.
 */
static const uint8_t point_head_der[] = {0x04, 0x41, 0x04};
static const uint8_t point_head_raw[] = {0x04};

enum find_flaw {
	FLAW_NONE,
	FLAW_ABSENT,
	FLAW_TWICE,
	FLAW_NOT_P256,
	FLAW_ALWAYS_AUTHENTICATE,
	FLAW_POINT,
};

/* What the token says about one key. */
struct found {
	CK_OBJECT_HANDLE private, public;
	unsigned private_count, public_count; /* 2 stands for more */
	uint8_t point[HSM_PUBLIC_LEN];	      /* where public_count is 1 */
	enum find_flaw flaw;
};

/* Under the serial lock: does the work; a lost session or log-in is healed and the work done again,
 * once each. */
static enum status anchor_run(struct device *dev, p11_anchor_work *work, void *arg, struct fault *f)
{
	unsigned healed = 0;
	for (;;) {
		const char *call = "";
		enum status st = p11_login(dev, f);
		if (st != ST_OK) {
			return st;
		}
		CK_RV rv = work(dev, arg, &call);
		enum p11_class class = p11_classify(rv);
		if (class == P11_OK) {
			return ST_OK;
		}
		bool heals = class == P11_KEY || class == P11_SESSION || class == P11_LOGIN;
		if (!heals || (healed & 1U << class) != 0) {
			return p11_device_fault(dev, f, call, rv);
		}
		healed |= 1U << class;
		if (class == P11_SESSION) {
			(void)dev->module->f->C_CloseSession(dev->anchor);
			dev->anchor_open = false;
		}
	}
}

enum status p11_anchor_do(struct device *dev, p11_anchor_work *work, void *arg, struct fault *f)
{
	struct p11_module *m = dev->module;
	pthread_rwlock_rdlock(&m->gate);
	enum status st = p11_check_open(dev, f);
	if (st == ST_OK) {
		pthread_mutex_lock(&m->serial);
		st = anchor_run(dev, work, arg, f);
		pthread_mutex_unlock(&m->serial);
	}
	pthread_rwlock_unlock(&m->gate);
	return st;
}

static CK_RV find_objects(struct device *dev, CK_OBJECT_CLASS class, const struct hsm_key *key,
			  CK_OBJECT_HANDLE *handle, unsigned *count)
{
	CK_FUNCTION_LIST *f = dev->module->f;
	CK_ATTRIBUTE wanted[] = {
		{CKA_CLASS, &class, sizeof(class)},
		{CKA_ID, (void *)key->id, key->id_len},
	};
	*count = 0;
	CK_RV rv = f->C_FindObjectsInit(dev->anchor, wanted, 2);
	if (rv != CKR_OK) {
		return rv;
	}
	while (*count < 2) {
		CK_OBJECT_HANDLE next;
		CK_ULONG n = 0;
		rv = f->C_FindObjects(dev->anchor, &next, 1, &n);
		if (rv != CKR_OK || n == 0) {
			break;
		}
		if (*count == 0) {
			*handle = next;
		}
		++*count;
	}
	CK_RV end = f->C_FindObjectsFinal(dev->anchor);
	return rv != CKR_OK ? rv : end;
}

/* An attribute that tokens may lack: *len is 0 then. */
static CK_RV attribute_get(struct device *dev, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
			   void *buf, size_t room, size_t *len)
{
	CK_ATTRIBUTE a = {type, buf, room};
	CK_RV rv = dev->module->f->C_GetAttributeValue(dev->anchor, object, &a, 1);
	*len = 0;
	if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ||
	    rv == CKR_BUFFER_TOO_SMALL) {
		return CKR_OK;
	}
	if (rv == CKR_OK && a.ulValueLen != (CK_ULONG)-1 && a.ulValueLen <= room) {
		*len = a.ulValueLen;
	}
	return rv;
}

CK_RV p11_id_get(struct device *dev, CK_OBJECT_HANDLE object, struct hsm_id *out)
{
	return attribute_get(dev, object, CKA_ID, out->data, sizeof(out->data), &out->len);
}

static CK_RV private_check(struct device *dev, struct found *found, const char **call)
{
	uint8_t params[64];
	CK_KEY_TYPE type = 0;
	CK_BBOOL always = CK_FALSE;
	size_t len;
	*call = "C_GetAttributeValue";
	CK_RV rv = attribute_get(dev, found->private, CKA_KEY_TYPE, &type, sizeof(type), &len);
	if (rv != CKR_OK) {
		return rv;
	}
	if (len != sizeof(type) || type != CKK_EC) {
		found->flaw = FLAW_NOT_P256;
		return CKR_OK;
	}
	rv = attribute_get(dev, found->private, CKA_EC_PARAMS, params, sizeof(params), &len);
	if (rv != CKR_OK) {
		return rv;
	}
	if (len != 0 && (len != sizeof(p256_oid) || memcmp(params, p256_oid, len) != 0)) {
		found->flaw = FLAW_NOT_P256;
		return CKR_OK;
	}
	rv = attribute_get(dev, found->private, CKA_ALWAYS_AUTHENTICATE, &always, sizeof(always),
			   &len);
	if (rv == CKR_OK && len == sizeof(always) && always != CK_FALSE) {
		found->flaw = FLAW_ALWAYS_AUTHENTICATE;
	}
	return rv;
}

static CK_RV public_read(struct device *dev, struct found *found, const char **call)
{
	uint8_t point[128];
	size_t len;
	size_t head = sizeof(point_head_der);
	*call = "C_GetAttributeValue";
	CK_RV rv = attribute_get(dev, found->public, CKA_EC_POINT, point, sizeof(point), &len);
	if (rv != CKR_OK) {
		return rv;
	}
	if (len == POINT_UNCOMPRESSED_LEN) {
		head = sizeof(point_head_raw);
	}
	if (len != head + HSM_PUBLIC_LEN ||
	    memcmp(point, head == sizeof(point_head_raw) ? point_head_raw : point_head_der, head) !=
		    0) {
		found->flaw = FLAW_POINT;
		return CKR_OK;
	}
	memcpy(found->point, point + head, HSM_PUBLIC_LEN);
	return CKR_OK;
}

CK_RV p11_sure_absent(struct device *dev, const char **call)
{
	bool in = false;
	*call = "C_GetTokenInfo";
	CK_RV rv = p11_same_token(dev);
	if (rv == CKR_OK) {
		rv = p11_logged_in(dev, &in);
	}
	return rv != CKR_OK ? rv : in ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

struct find_work {
	const struct hsm_key *key;
	struct found found;
};

static CK_RV find_work(struct device *dev, void *arg, const char **call)
{
	struct find_work *work = arg;
	struct found *found = &work->found;
	memset(found, 0, sizeof(*found));
	*call = "C_FindObjects";
	CK_RV rv = find_objects(dev, CKO_PRIVATE_KEY, work->key, &found->private,
				&found->private_count);
	if (rv != CKR_OK) {
		return rv;
	}
	if (found->private_count == 0) {
		found->flaw = FLAW_ABSENT;
		return p11_sure_absent(dev, call);
	}
	if (found->private_count > 1) {
		found->flaw = FLAW_TWICE;
		return CKR_OK;
	}
	rv = private_check(dev, found, call);
	if (rv != CKR_OK || found->flaw != FLAW_NONE) {
		return rv;
	}
	*call = "C_FindObjects";
	rv = find_objects(dev, CKO_PUBLIC_KEY, work->key, &found->public, &found->public_count);
	if (rv != CKR_OK) {
		return rv;
	}
	if (found->public_count > 1) {
		found->flaw = FLAW_TWICE;
	}
	return found->public_count == 1 ? public_read(dev, found, call) : CKR_OK;
}

static enum status flaw_fault(const struct device *dev, const struct found *found, struct fault *f)
{
	switch (found->flaw) {
	case FLAW_NONE:
		return ST_OK;
	case FLAW_ABSENT:
		fault_set(f, FAULT_REQUEST, "token %s has no private key with this id", dev->label);
		return ST_ENOENT;
	case FLAW_TWICE:
		fault_set(f, FAULT_REQUEST, "token %s has two keys with this id: delete one",
			  dev->label);
		return ST_EFATAL;
	case FLAW_NOT_P256:
		fault_set(f, FAULT_REQUEST, "the key is not for ECDSA P-256");
		return ST_ECRYPTO;
	case FLAW_ALWAYS_AUTHENTICATE:
		fault_set(f, FAULT_REQUEST,
			  "the key wants the PIN for every signature (CKA_ALWAYS_AUTHENTICATE), "
			  "which "
			  "is not supported");
		return ST_ENOTSUP;
	case FLAW_POINT:
		fault_set(f, FAULT_REQUEST, "the public key has a point in no known form");
		return ST_ECRYPTO;
	}
	return ST_EFATAL;
}

static void key_found(struct device *dev, struct p11_key *key, const struct found *found)
{
	atomic_store(&key->handle, found->private);
	atomic_store(&key->found, atomic_load(&dev->handles));
	key->absent_until_ms = 0;
}

enum status p11_key_locate(struct device *dev, struct p11_key *key, CK_OBJECT_HANDLE stale,
			   struct fault *f)
{
	struct find_work work = {.key = &key->base};
	/* Another lane may have found it while this one waited for the lock. */
	if (atomic_load(&key->found) == atomic_load(&dev->handles) &&
	    atomic_load(&key->handle) != stale) {
		return ST_OK;
	}
	if (clock_mono_ms() < key->absent_until_ms) {
		fault_set(f, FAULT_REQUEST, "the key is gone from token %s", dev->label);
		return ST_EFATAL;
	}
	enum status st = anchor_run(dev, find_work, &work, f);
	if (st == ST_OK) {
		st = flaw_fault(dev, &work.found, f);
		if (st == ST_OK && work.found.public_count == 1 &&
		    memcmp(work.found.point, key->base.public_point, HSM_PUBLIC_LEN) != 0) {
			fault_set(f, FAULT_REQUEST, "token %s has another key under this id",
				  dev->label);
			st = ST_ECRYPTO;
		}
		if (st != ST_OK) {
			atomic_store(&key->found, 0);
			key->absent_until_ms = clock_mono_ms() + ABSENT_MS;
			return ST_EFATAL;
		}
		key_found(dev, key, &work.found);
	}
	return st;
}

enum status p11_find(struct device *dev, struct hsm_key *key, const uint8_t *expect,
		     struct fault *f)
{
	struct find_work work = {.key = key};
	const uint8_t *point = work.found.point;
	enum status st = p11_anchor_do(dev, find_work, &work, f);
	if (st == ST_OK) {
		st = flaw_fault(dev, &work.found, f);
	}
	if (st != ST_OK) {
		return st;
	}
	if (work.found.public_count == 0) {
		if (expect == NULL) {
			fault_set(f, FAULT_REQUEST,
				  "token %s has no public key beside the private one, and there is "
				  "no "
				  "point on record",
				  dev->label);
			return ST_EFATAL;
		}
		point = expect;
	}
	memcpy(key->public_point, point, HSM_PUBLIC_LEN);
	key_found(dev, (struct p11_key *)key, &work.found);
	return ST_OK;
}

struct generate_work {
	struct hsm_key *key;
	const char *label;
	CK_OBJECT_HANDLE public, private;
};

static CK_RV generate_work(struct device *dev, void *arg, const char **call)
{
	struct generate_work *work = arg;
	CK_MECHANISM mechanism = {.mechanism = CKM_EC_KEY_PAIR_GEN};
	CK_BBOOL yes = CK_TRUE;
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE public_wanted[] = {
		{CKA_TOKEN, &yes, sizeof(yes)},
		{CKA_PRIVATE, &no, sizeof(no)},
		{CKA_VERIFY, &yes, sizeof(yes)},
		{CKA_EC_PARAMS, (void *)p256_oid, sizeof(p256_oid)},
		{CKA_ID, work->key->id, work->key->id_len},
		{CKA_LABEL, (void *)work->label, strlen(work->label)},
	};
	CK_ATTRIBUTE private_wanted[] = {
		{CKA_TOKEN, &yes, sizeof(yes)},
		{CKA_PRIVATE, &yes, sizeof(yes)},
		{CKA_SENSITIVE, &yes, sizeof(yes)},
		{CKA_EXTRACTABLE, &no, sizeof(no)},
		{CKA_SIGN, &yes, sizeof(yes)},
		{CKA_ID, work->key->id, work->key->id_len},
		{CKA_LABEL, (void *)work->label, strlen(work->label)},
	};
	*call = "C_GenerateKeyPair";
	return dev->module->f->C_GenerateKeyPair(
		dev->anchor, &mechanism, public_wanted,
		sizeof(public_wanted) / sizeof(public_wanted[0]), private_wanted,
		sizeof(private_wanted) / sizeof(private_wanted[0]), &work->public, &work->private);
}

/* By handle: what cannot be found must not stay behind at every attempt. */
static CK_RV discard_work(struct device *dev, void *arg, const char **call)
{
	const struct generate_work *work = arg;
	CK_FUNCTION_LIST *f = dev->module->f;
	*call = "C_DestroyObject";
	CK_RV rv = f->C_DestroyObject(dev->anchor, work->private);
	CK_RV also = f->C_DestroyObject(dev->anchor, work->public);
	return rv != CKR_OK ? rv : also;
}

enum status p11_generate(struct device *dev, struct hsm_key *key, const char *label,
			 struct fault *f)
{
	struct generate_work work = {.key = key, .label = label != NULL ? label : ""};
	struct fault ignored;
	enum status st = p11_anchor_do(dev, generate_work, &work, f);
	if (st != ST_OK) {
		return st;
	}
	/* Found the way it will always be found: a token that drops the id is noticed now. */
	st = p11_find(dev, key, NULL, f);
	if (st != ST_OK && f->kind == FAULT_REQUEST) {
		/* The device works; the fault is the pair's, and told. */
		(void)p11_anchor_do(dev, discard_work, &work, &ignored);
	}
	/* A pair that cannot be found was not absent before. */
	return st == ST_ENOENT ? ST_EFATAL : st;
}

/* The private key first: what remains after a failure in between signs nothing. */
static CK_RV remove_work(struct device *dev, void *arg, const char **call)
{
	struct find_work *work = arg;
	CK_FUNCTION_LIST *f = dev->module->f;
	CK_RV rv = find_work(dev, work, call);
	struct found *found = &work->found;
	if (rv != CKR_OK) {
		return rv;
	}
	if (found->flaw != FLAW_NONE && found->flaw != FLAW_TWICE) {
		*call = "C_FindObjects";
		rv = find_objects(dev, CKO_PUBLIC_KEY, work->key, &found->public,
				  &found->public_count);
	}
	if (rv != CKR_OK || found->flaw == FLAW_TWICE) {
		return rv;
	}
	*call = "C_DestroyObject";
	if (found->private_count == 1) {
		rv = f->C_DestroyObject(dev->anchor, found->private);
	}
	if (rv == CKR_OK && found->public_count == 1) {
		rv = f->C_DestroyObject(dev->anchor, found->public);
	}
	return rv;
}

enum status p11_remove(struct device *dev, struct hsm_key *key, struct fault *f)
{
	struct find_work work = {.key = key};
	enum status st = p11_anchor_do(dev, remove_work, &work, f);
	if (st != ST_OK) {
		return st;
	}
	p11_distrust(key);
	if (work.found.flaw == FLAW_ABSENT || work.found.flaw == FLAW_TWICE) {
		return flaw_fault(dev, &work.found, f);
	}
	return ST_OK;
}

void p11_distrust(struct hsm_key *base)
{
	struct p11_key *key = (struct p11_key *)base;
	atomic_store(&key->found, 0);
}
