/* What operators name keys by: pkcs11: URIs (RFC 7512), CKA_IDs in hex, labels. */
#include "hsm/pkcs11.h"

#include "nsd-core/base/text.h"

#include <stdio.h>
#include <string.h>

/* Beyond it "or more" is said. */
#define COUNT_MAX 100

/* A name that was read. */
struct key_name {
	P11KitUri *uri; /* NULL: it is none */
	CK_ATTRIBUTE id, label;
	bool by_id, by_label;
	uint8_t octets[HSM_ID_MAX]; /* what 'id' points to, of one in hex */
	char text[2 * HSM_REF_MAX]; /* for people */
};

struct name_work {
	const struct key_name *name;
	bool other_token;
	unsigned count;
	struct hsm_id id; /* of the first; length 0: it has none that fits */
};

static enum status bad_uri(struct fault *f, const char *why)
{
	fault_set(f, FAULT_REQUEST, "the key's URI %s", why);
	return ST_EPARSE;
}

static bool take_attribute(P11KitUri *uri, CK_ATTRIBUTE_TYPE type, CK_ATTRIBUTE *out)
{
	const CK_ATTRIBUTE *a = p11_kit_uri_get_attribute(uri, type);
	if (a == NULL || a->pValue == NULL || a->ulValueLen == 0) {
		return false;
	}
	*out = *a;
	return true;
}

/* Its attributes of tokens and slots say where the key is to be, and so may stand there. */
static enum status read_uri(const char *ref, struct key_name *out, struct fault *f)
{
	CK_ATTRIBUTE class;
	out->uri = p11_kit_uri_new();
	if (out->uri == NULL) {
		return ST_ENOMEM;
	}
	int rc = p11_kit_uri_parse(ref, P11_KIT_URI_FOR_ANY, out->uri);
	if (rc != P11_KIT_URI_OK) {
		return bad_uri(f, p11_kit_uri_message(rc));
	}
	if (p11_kit_uri_any_unrecognized(out->uri)) {
		return bad_uri(f, "has an attribute that RFC 7512 does not know");
	}
	if (p11_kit_uri_get_pin_value(out->uri) != NULL ||
	    p11_kit_uri_get_pin_source(out->uri) != NULL) {
		return bad_uri(f, "has a PIN: that is the keystore's, in pin-file");
	}
	if (p11_kit_uri_get_module_name(out->uri) != NULL ||
	    p11_kit_uri_get_module_path(out->uri) != NULL) {
		return bad_uri(f, "names a module: that is the keystore's");
	}
	if (take_attribute(out->uri, CKA_CLASS, &class) &&
	    (class.ulValueLen != sizeof(CK_OBJECT_CLASS) ||
	     *(const CK_OBJECT_CLASS *)class.pValue != CKO_PRIVATE_KEY)) {
		return bad_uri(f, "has a type that is not private");
	}
	out->by_id = take_attribute(out->uri, CKA_ID, &out->id);
	out->by_label = take_attribute(out->uri, CKA_LABEL, &out->label);
	return out->by_id || out->by_label ? ST_OK : bad_uri(f, "has neither id nor object");
}

static enum status read_name(const char *ref, struct key_name *out, struct fault *f)
{
	size_t len;
	*out = (struct key_name){.uri = NULL};
	if (strncmp(ref, "pkcs11:", 7) == 0) {
		snprintf(out->text, sizeof(out->text), "%s", ref);
		return read_uri(ref, out, f);
	}
	if (hex_decode(ref, strlen(ref), out->octets, sizeof(out->octets), &len) == ST_OK) {
		out->id = (CK_ATTRIBUTE){CKA_ID, out->octets, len};
		out->by_id = true;
		snprintf(out->text, sizeof(out->text), "id %s", ref);
	} else {
		out->label = (CK_ATTRIBUTE){CKA_LABEL, (void *)ref, strlen(ref)};
		out->by_label = true;
		snprintf(out->text, sizeof(out->text), "label %s", ref);
	}
	return ST_OK;
}

static CK_RV count_objects(struct device *dev, struct name_work *work, CK_OBJECT_HANDLE *first)
{
	CK_FUNCTION_LIST *f = dev->module->f;
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE wanted[3] = {{CKA_CLASS, &class, sizeof(class)}};
	CK_ULONG n = 1;
	if (work->name->by_id) {
		wanted[n++] = work->name->id;
	}
	if (work->name->by_label) {
		wanted[n++] = work->name->label;
	}
	CK_RV rv = f->C_FindObjectsInit(dev->anchor, wanted, n);
	if (rv != CKR_OK) {
		return rv;
	}
	while (work->count < COUNT_MAX) {
		CK_OBJECT_HANDLE next;
		rv = f->C_FindObjects(dev->anchor, &next, 1, &n);
		if (rv != CKR_OK || n == 0) {
			break;
		}
		if (work->count++ == 0) {
			*first = next;
		}
	}
	CK_RV end = f->C_FindObjectsFinal(dev->anchor);
	return rv != CKR_OK ? rv : end;
}

static CK_RV name_work(struct device *dev, void *arg, const char **call)
{
	struct name_work *work = arg;
	CK_OBJECT_HANDLE first = CK_INVALID_HANDLE;
	CK_TOKEN_INFO info;
	work->count = 0;
	work->id.len = 0;
	if (work->name->uri != NULL) {
		*call = "C_GetTokenInfo";
		CK_RV rv = dev->module->f->C_GetTokenInfo(dev->slot, &info);
		if (rv != CKR_OK) {
			return rv;
		}
		work->other_token = p11_kit_uri_match_token_info(work->name->uri, &info) != 1;
		if (work->other_token) {
			return CKR_OK;
		}
	}
	*call = "C_FindObjects";
	CK_RV rv = count_objects(dev, work, &first);
	if (rv == CKR_OK && work->count == 0) {
		return p11_sure_absent(dev, call);
	}
	if (rv == CKR_OK && work->count == 1) {
		*call = "C_GetAttributeValue";
		rv = p11_id_get(dev, first, &work->id);
	}
	return rv;
}

static enum status conclude(const struct device *dev, const struct name_work *work, struct fault *f)
{
	const char *text = work->name->text;
	if (work->other_token) {
		fault_set(f, FAULT_REQUEST, "the key's URI is of another token than %s",
			  dev->label);
		return ST_EPARSE;
	}
	if (work->count == 0) {
		fault_set(f, FAULT_REQUEST, "token %s has no private key with %.96s", dev->label,
			  text);
		return ST_ENOENT;
	}
	if (work->count > 1) {
		fault_set(f, FAULT_REQUEST, "token %s has %u%s keys with %.64s: name one by its id",
			  dev->label, work->count, work->count == COUNT_MAX ? " or more" : "",
			  text);
		return ST_EEXIST;
	}
	if (work->id.len == 0) {
		fault_set(f, FAULT_REQUEST,
			  "the key with %.64s in token %s has no CKA_ID of 1 to %d octets: give it "
			  "one",
			  text, dev->label, HSM_ID_MAX);
		return ST_ENOTSUP;
	}
	return ST_OK;
}

enum status p11_identify(struct device *dev, const char *ref, struct hsm_id *out, struct fault *f)
{
	struct key_name name;
	struct name_work work = {.name = &name};
	enum status st = read_name(ref, &name, f);
	if (st == ST_OK) {
		st = p11_anchor_do(dev, name_work, &work, f);
	}
	if (st == ST_OK) {
		st = conclude(dev, &work, f);
	}
	if (st == ST_OK) {
		*out = work.id;
	}
	p11_kit_uri_free(name.uri);
	return st;
}
