#include "hsm/pkcs11.h"

#include "nsd-core/base/digest.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX 4096

enum status p11_device_fault(struct device *dev, struct fault *f, const char *call, CK_RV rv)
{
	enum status st = p11_fault(f, call, rv);
	if (f->kind == FAULT_DEVICE) {
		atomic_store(&dev->bad_generation, dev->generation);
	} else if (f->kind == FAULT_PIN) {
		atomic_store(&dev->pin_doubted, true);
	}
	return st;
}

/* "file:/path", "file:///path" or a plain path (RFC 7512 2.4). */
static const char *pin_source_path(const char *source)
{
	if (strncmp(source, "file:", 5) != 0) {
		return source[0] == '/' ? source : NULL;
	}
	source += 5;
	if (strncmp(source, "//", 2) == 0) {
		source += 2;
	}
	return source[0] == '/' ? source : NULL;
}

static enum status uri_refuse(const struct keystore_options *opt, struct diags *d, const char *why)
{
	diags_error(d, "keystore %s: uri %s", opt->name, why);
	return ST_EPARSE;
}

/* p11-kit fills with zeros what a URI does not name. */
static bool uri_names_token(P11KitUri *uri)
{
	const CK_TOKEN_INFO *t = p11_kit_uri_get_token_info(uri);
	return t->label[0] != 0 || t->serialNumber[0] != 0 ||
	       p11_kit_uri_get_slot_id(uri) != (CK_SLOT_ID)-1;
}

static enum status uri_check(struct device *dev, struct diags *d)
{
	const struct keystore_options *opt = dev->opt;
	CK_ULONG attributes = 0;
	dev->uri = p11_kit_uri_new();
	if (dev->uri == NULL) {
		return ST_ENOMEM;
	}
	int rc = p11_kit_uri_parse(opt->uri, P11_KIT_URI_FOR_ANY, dev->uri);
	if (rc != P11_KIT_URI_OK) {
		return uri_refuse(opt, d, p11_kit_uri_message(rc));
	}
	if (p11_kit_uri_any_unrecognized(dev->uri)) {
		return uri_refuse(opt, d, "has an attribute that RFC 7512 does not know");
	}
	p11_kit_uri_get_attributes(dev->uri, &attributes);
	if (attributes > 0) {
		return uri_refuse(opt, d,
				  "names a key (object, id or type): it should name the token");
	}
	if (!uri_names_token(dev->uri)) {
		return uri_refuse(opt, d, "names no token, serial or slot-id");
	}
	if (p11_kit_uri_get_pin_value(dev->uri) != NULL) {
		return uri_refuse(opt, d,
				  "holds a PIN: put it in a file and name that with pin-file");
	}
	if (p11_kit_uri_get_module_name(dev->uri) != NULL ||
	    p11_kit_uri_get_module_path(dev->uri) != NULL) {
		return uri_refuse(opt, d, "names a module: name it with module");
	}
	const char *source = p11_kit_uri_get_pin_source(dev->uri);
	if (source == NULL) {
		return ST_OK;
	}
	if (pin_source_path(source) == NULL) {
		return uri_refuse(opt, d, "has a pin-source that is no absolute path of a file");
	}
	if (opt->pin_file != NULL) {
		return uri_refuse(opt, d, "has a pin-source, and there is a pin-file, too");
	}
	dev->pin_source = strdup(pin_source_path(source));
	return dev->pin_source != NULL ? ST_OK : ST_ENOMEM;
}

static void device_free(struct device *dev);

static enum status device_new(const struct keystore_options *opt, struct device **out,
			      struct diags *d)
{
	struct stat sb;
	int chosen = (opt->token != NULL) + (opt->uri != NULL) + (opt->slot >= 0);
	if (opt->module == NULL || chosen != 1) {
		diags_error(
			d,
			"keystore %s: type pkcs11 needs a module, and one of token, slot and uri",
			opt->name);
		return ST_EPARSE;
	}
	struct device *dev = calloc(1, sizeof(*dev));
	if (dev == NULL) {
		return ST_ENOMEM;
	}
	dev->opt = opt;
	atomic_init(&dev->handles, 1);
	enum status st = opt->uri != NULL ? uri_check(dev, d) : ST_OK;
	if (st != ST_OK) {
		device_free(dev);
		return st;
	}
	dev->pin.path = dev->pin_source != NULL ? dev->pin_source : opt->pin_file;
	if (dev->pin.path != NULL && stat(dev->pin.path, &sb) == 0 && (sb.st_mode & S_IRWXO) != 0) {
		diags_warn(d,
			   "keystore %s: everybody may use the PIN file %s (mode %04o; chmod 600)",
			   opt->name, dev->pin.path, (unsigned)(sb.st_mode & 07777));
	}
	*out = dev;
	return ST_OK;
}

/* Under the exclusive gate. What the module remembers of us goes. */
static void device_close(struct device *dev)
{
	struct p11_module *m = dev->module;
	if (dev->anchor_open && m->ctx != NULL && m->generation == dev->generation) {
		(void)m->f->C_CloseSession(dev->anchor);
	}
	dev->anchor_open = false;
	if (dev->open) {
		dev->open = false;
		m->devices--;
	}
}

static void device_free(struct device *dev)
{
	struct fault f;
	if (dev == NULL) {
		return;
	}
	if (dev->module != NULL) {
		if (p11_module_lock(dev->module, &f) == ST_OK) {
			device_close(dev);
			pthread_rwlock_unlock(&dev->module->gate);
		}
		p11_module_put(dev->module);
	}
	p11_kit_uri_free(dev->uri);
	free(dev->pin_source);
	free(dev);
}

/* Fields of CK_TOKEN_INFO are padded with blanks; 'out' has room for size + 1. */
static void field_text(const unsigned char *field, size_t size, char *out)
{
	size_t len = size;
	while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == '\0')) {
		len--;
	}
	memcpy(out, field, len);
	out[len] = '\0';
}

static bool token_matches(const struct device *dev, CK_SLOT_ID slot, CK_TOKEN_INFO *token)
{
	CK_SLOT_INFO info;
	char label[LABEL_ROOM];
	if (dev->opt->slot >= 0) {
		return slot == (CK_SLOT_ID)dev->opt->slot;
	}
	if ((token->flags & CKF_TOKEN_INITIALIZED) == 0) {
		return false;
	}
	if (dev->opt->token != NULL) {
		field_text(token->label, sizeof(token->label), label);
		return strcmp(label, dev->opt->token) == 0;
	}
	CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(dev->uri);
	return dev->module->f->C_GetSlotInfo(slot, &info) == CKR_OK &&
	       p11_kit_uri_match_token_info(dev->uri, token) &&
	       p11_kit_uri_match_slot_info(dev->uri, &info) &&
	       (wanted == (CK_SLOT_ID)-1 || wanted == slot);
}

static void token_wanted(const struct device *dev, char *buf, size_t size)
{
	if (dev->opt->token != NULL) {
		snprintf(buf, size, "with label %s", dev->opt->token);
	} else if (dev->opt->uri != NULL) {
		snprintf(buf, size, "for %s", dev->opt->uri);
	} else {
		snprintf(buf, size, "in slot %lld", (long long)dev->opt->slot);
	}
}

/* The slots that have a token; the caller frees them. */
static CK_RV slots_list(CK_FUNCTION_LIST *f, CK_SLOT_ID **out, CK_ULONG *count)
{
	CK_SLOT_ID *slots = NULL;
	CK_RV rv;
	do {
		free(slots);
		slots = NULL;
		/* Asked without room, modules look for new tokens. */
		rv = f->C_GetSlotList(CK_TRUE, NULL, count);
		if (rv == CKR_OK && *count <= SLOTS_MAX) {
			slots = calloc(*count + 1, sizeof(*slots));
		}
		if (slots != NULL) {
			rv = f->C_GetSlotList(CK_TRUE, slots, count);
		} else if (rv == CKR_OK) {
			rv = CKR_HOST_MEMORY;
		}
	} while (rv == CKR_BUFFER_TOO_SMALL); /* one came in between */
	if (rv != CKR_OK) {
		free(slots);
		return rv;
	}
	*out = slots;
	return CKR_OK;
}

/* Under the exclusive gate. */
static enum status token_choose(struct device *dev, CK_TOKEN_INFO *out, struct fault *f)
{
	CK_FUNCTION_LIST *list = dev->module->f;
	CK_SLOT_ID *slots;
	CK_ULONG count;
	char wanted[80];
	char serial[SERIAL_ROOM];
	unsigned found = 0;
	token_wanted(dev, wanted, sizeof(wanted));
	CK_RV rv = slots_list(list, &slots, &count);
	if (rv != CKR_OK) {
		return p11_fault(f, "C_GetSlotList", rv);
	}
	for (CK_ULONG i = 0; i < count && found < 2; i++) {
		CK_TOKEN_INFO info;
		/* A slot that fails must not keep us from another one's token. */
		if (list->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
		    !token_matches(dev, slots[i], &info)) {
			continue;
		}
		if (found++ > 0) {
			field_text(info.serialNumber, sizeof(info.serialNumber), serial);
			break;
		}
		*out = info;
		dev->slot = slots[i];
		field_text(info.label, sizeof(info.label), dev->label);
		field_text(info.serialNumber, sizeof(info.serialNumber), dev->serial);
	}
	free(slots);
	if (found > 1) {
		fault_set(f, FAULT_DEVICE,
			  "two tokens %s, serials %s and %s: choose with uri or slot", wanted,
			  dev->serial, serial);
		return ST_EFATAL;
	}
	if (found == 0) {
		fault_set(f, FAULT_DEVICE, "no token %s: the device is away, or was never there",
			  wanted);
		return ST_EAGAIN;
	}
	if ((out->flags & CKF_TOKEN_INITIALIZED) == 0) {
		fault_set(f, FAULT_DEVICE, "the token %s is not initialised", wanted);
		return ST_EFATAL;
	}
	return ST_OK;
}

static CK_RV anchor_open(struct device *dev)
{
	CK_FUNCTION_LIST *f = dev->module->f;
	CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
	CK_RV rv = f->C_OpenSession(dev->slot, flags, NULL, NULL, &dev->anchor);
	if (rv == CKR_TOKEN_WRITE_PROTECTED) {
		rv = f->C_OpenSession(dev->slot, CKF_SERIAL_SESSION, NULL, NULL, &dev->anchor);
	}
	dev->anchor_open = rv == CKR_OK;
	return rv;
}

CK_RV p11_logged_in(struct device *dev, bool *out)
{
	CK_SESSION_INFO info;
	CK_RV rv = dev->module->f->C_GetSessionInfo(dev->anchor, &info);
	if (rv == CKR_OK) {
		*out = !dev->login_required || info.state == CKS_RO_USER_FUNCTIONS ||
		       info.state == CKS_RW_USER_FUNCTIONS;
	}
	return rv;
}

CK_RV p11_same_token(struct device *dev)
{
	CK_TOKEN_INFO info;
	char label[LABEL_ROOM];
	char serial[SERIAL_ROOM];
	CK_RV rv = dev->module->f->C_GetTokenInfo(dev->slot, &info);
	if (rv != CKR_OK) {
		return rv;
	}
	field_text(info.label, sizeof(info.label), label);
	field_text(info.serialNumber, sizeof(info.serialNumber), serial);
	bool same = strcmp(label, dev->label) == 0 && strcmp(serial, dev->serial) == 0;
	return same ? CKR_OK : CKR_TOKEN_NOT_PRESENT;
}

/* What the token says about its PIN before a try is spent on it. */
static enum status token_flags_check(const CK_TOKEN_INFO *info, struct fault *f)
{
	if ((info->flags & CKF_USER_PIN_INITIALIZED) == 0) {
		fault_set(f, FAULT_PIN, "the token has no user PIN yet");
	} else if ((info->flags & CKF_USER_PIN_LOCKED) != 0) {
		fault_set(f, FAULT_PIN,
			  "the token's user PIN is locked: its security officer must reset it");
	} else if ((info->flags & CKF_USER_PIN_FINAL_TRY) != 0) {
		fault_set(f, FAULT_PIN,
			  "one more wrong PIN locks the token, so none is tried: log in once with "
			  "another tool");
	} else if ((info->flags & CKF_USER_PIN_TO_BE_CHANGED) != 0) {
		fault_set(f, FAULT_PIN, "the token wants its user PIN to be changed first");
	} else {
		return ST_OK;
	}
	return ST_EFATAL;
}

static enum status pin_try(struct device *dev, const CK_TOKEN_INFO *info, struct fault *f)
{
	struct pin pin;
	if (atomic_exchange(&dev->pin_doubted, false)) {
		pin_block(&dev->pin);
	}
	enum status st = pin_read(&dev->pin, (info->flags & CKF_USER_PIN_COUNT_LOW) != 0, &pin, f);
	if (st != ST_OK) {
		return st;
	}
	CK_RV rv = dev->module->f->C_Login(dev->anchor, CKU_USER, (CK_UTF8CHAR *)pin.text, pin.len);
	switch (p11_classify(rv)) {
	case P11_OK:
		pin_accepted(&dev->pin);
		/* Handles of private objects ended with the log-in they were found in. */
		atomic_fetch_add(&dev->handles, 1);
		break;
	case P11_PIN:
		st = p11_fault(f, "C_Login", rv);
		if (rv == CKR_PIN_LOCKED) {
			pin_locked_out(&dev->pin, &pin);
			st = pin_blocked_fault(&dev->pin, f);
			break;
		}
		pin_refused(&dev->pin, &pin);
		fault_set(f, FAULT_PIN, "the PIN in %s was refused: %s (0x%lx)", dev->pin.path,
			  p11_rv_text(rv), (unsigned long)rv);
		break;
	default:
		st = p11_device_fault(dev, f, "C_Login", rv);
		break;
	}
	wipe(&pin, sizeof(pin));
	return st;
}

enum status p11_login(struct device *dev, struct fault *f)
{
	CK_TOKEN_INFO info;
	bool in = false;
	CK_RV rv = dev->anchor_open ? p11_logged_in(dev, &in) : CKR_SESSION_CLOSED;
	if (p11_classify(rv) == P11_SESSION) {
		/* Somebody closed it, and so logged us out. */
		rv = anchor_open(dev);
		if (rv != CKR_OK) {
			return p11_device_fault(dev, f, "C_OpenSession", rv);
		}
		rv = p11_logged_in(dev, &in);
	}
	if (rv != CKR_OK) {
		return p11_device_fault(dev, f, "C_GetSessionInfo", rv);
	}
	if (in) {
		return ST_OK;
	}
	rv = dev->module->f->C_GetTokenInfo(dev->slot, &info);
	if (rv != CKR_OK) {
		return p11_device_fault(dev, f, "C_GetTokenInfo", rv);
	}
	enum status st = token_flags_check(&info, f);
	return st == ST_OK ? pin_try(dev, &info, f) : st;
}

/* Under the exclusive gate, on an initialised module. */
static enum status token_open(struct device *dev, struct fault *f)
{
	CK_TOKEN_INFO info = {0};
	enum status st = token_choose(dev, &info, f);
	if (st != ST_OK) {
		return st;
	}
	dev->login_required = (info.flags & CKF_LOGIN_REQUIRED) != 0;
	CK_RV rv = anchor_open(dev);
	if (rv != CKR_OK) {
		return p11_fault(f, "C_OpenSession", rv);
	}
	return p11_login(dev, f);
}

static enum status device_open(struct device *dev, struct fault *f)
{
	enum status st;
	if (dev->module == NULL) {
		st = p11_module_get(dev->opt->module, dev->opt->init_args, &dev->module, f);
		if (st != ST_OK) {
			return st;
		}
	}
	struct p11_module *m = dev->module;
	st = p11_module_lock(m, f);
	if (st != ST_OK) {
		return st;
	}
	device_close(dev);
	if (pin_is_blocked(&dev->pin)) {
		st = pin_blocked_fault(&dev->pin, f);
		goto out;
	}
	/* A lost connection never comes back by itself; but another keystore's may be well. */
	if (m->ctx != NULL && m->devices == 0 &&
	    atomic_load(&dev->bad_generation) == m->generation) {
		p11_module_stop(m);
	}
	st = p11_module_start(m, f);
	if (st == ST_OK) {
		dev->generation = m->generation;
		dev->epoch++;
		atomic_fetch_add(&dev->handles, 1);
		st = token_open(dev, f);
		if (st == ST_OK) {
			dev->open = true;
			m->devices++;
		} else {
			device_close(dev);
			if (f->kind != FAULT_PIN) {
				atomic_store(&dev->bad_generation, m->generation);
			}
		}
	}
out:
	pthread_rwlock_unlock(&m->gate);
	return st;
}

enum status p11_check_open(const struct device *dev, struct fault *f)
{
	if (!dev->open || dev->module->generation != dev->generation || dev->module->ctx == NULL) {
		fault_set(f, FAULT_DEVICE, "the module was initialised anew");
		return ST_EAGAIN;
	}
	return ST_OK;
}

static enum status device_probe(struct device *dev, struct fault *f)
{
	struct p11_module *m = dev->module;
	pthread_rwlock_rdlock(&m->gate);
	enum status st = p11_check_open(dev, f);
	if (st == ST_OK) {
		pthread_mutex_lock(&m->serial);
		CK_RV rv = p11_same_token(dev);
		st = rv == CKR_OK ? p11_login(dev, f)
				  : p11_device_fault(dev, f, "C_GetTokenInfo", rv);
		pthread_mutex_unlock(&m->serial);
	}
	pthread_rwlock_unlock(&m->gate);
	return st;
}

/* Lanes may be logging in; a doubt that no log-in has turned into a refusal yet is one elsewhere.
 */
static size_t guard_get(struct device *dev, uint8_t *out, size_t room)
{
	struct p11_module *m = dev->module;
	if (m != NULL) {
		pthread_rwlock_rdlock(&m->gate);
		pthread_mutex_lock(&m->serial);
	}
	if (atomic_exchange(&dev->pin_doubted, false)) {
		pin_block(&dev->pin);
	}
	size_t len = pin_guard_save(&dev->pin, out, room);
	if (m != NULL) {
		pthread_mutex_unlock(&m->serial);
		pthread_rwlock_unlock(&m->gate);
	}
	return len;
}

static void guard_set(struct device *dev, const uint8_t *data, size_t len)
{
	pin_guard_load(&dev->pin, data, len);
}

const struct backend backend_pkcs11 = {
	.in_process = false,
	.key_size = sizeof(struct p11_key),
	.device_new = device_new,
	.device_free = device_free,
	.open = device_open,
	.probe = device_probe,
	.find = p11_find,
	.generate = p11_generate,
	.remove = p11_remove,
	.identify = p11_identify,
	.session_new = p11_session_new,
	.session_free = p11_session_free,
	.sign = p11_sign,
	.distrust = p11_distrust,
	.guard_get = guard_get,
	.guard_set = guard_set,
};
