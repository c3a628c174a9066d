#include "hsm/pkcs11.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>

/* Longer than any call into a module that still works. */
#define GATE_WAIT_S 10

/* PKCS #11 initialises a module for the whole process, so who uses which is known per process. */
static struct {
	pthread_mutex_t lock;
	struct p11_module *modules;
	pthread_mutex_t contexts; /* libp11 counts its contexts in a plain integer */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .contexts = PTHREAD_MUTEX_INITIALIZER};

static bool same_args(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void module_free(struct p11_module *m)
{
	if (m->library != NULL) {
		dlclose(m->library);
	}
	free(m->path);
	free(m->init_args);
	free(m);
}

static enum status module_load(const char *path, const char *init_args, struct p11_module **out,
			       struct fault *f)
{
	CK_C_GetFunctionList get;
	struct p11_module *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return ST_ENOMEM;
	}
	m->path = strdup(path);
	m->init_args = init_args != NULL ? strdup(init_args) : NULL;
	if (m->path == NULL || (init_args != NULL && m->init_args == NULL)) {
		module_free(m);
		return ST_ENOMEM;
	}
	/* Never unmapped: modules leave threads and exit handlers behind. */
	m->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (m->library == NULL) {
		fault_set(f, FAULT_DEVICE, "cannot load the module: %s", dlerror());
		module_free(m);
		return ST_EFATAL;
	}
	void *symbol = dlsym(m->library, "C_GetFunctionList");
	memcpy(&get, &symbol, sizeof(get));
	if (symbol == NULL || get(&m->f) != CKR_OK || m->f == NULL) {
		fault_set(f, FAULT_DEVICE, "%s is no PKCS #11 module", path);
		module_free(m);
		return ST_EFATAL;
	}
	*out = m;
	return ST_OK;
}

static enum status module_sync_init(struct p11_module *m)
{
	pthread_rwlockattr_t attr;
	pthread_rwlockattr_init(&attr);
	/* A keystore whose lanes are always busy must not keep another out of their common module.
	 */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	int err = pthread_rwlock_init(&m->gate, &attr);
	pthread_rwlockattr_destroy(&attr);
	if (err == 0) {
		err = pthread_mutex_init(&m->serial, NULL);
	}
	return err == 0 ? ST_OK : status_from_errno(err);
}

enum status p11_module_get(const char *path, const char *init_args, struct p11_module **out,
			   struct fault *f)
{
	struct p11_module *m = NULL;
	pthread_mutex_lock(&registry.lock);
	enum status st = module_load(path, init_args, &m, f);
	if (st != ST_OK) {
		goto out;
	}
	/* The same library under another path is still the same. */
	for (struct p11_module *other = registry.modules; other != NULL; other = other->next) {
		if (other->library != m->library) {
			continue;
		}
		module_free(m);
		if (!same_args(other->init_args, init_args)) {
			fault_set(f, FAULT_DEVICE,
				  "module %s is in use by another keystore with other init-args",
				  path);
			st = ST_EFATAL;
			goto out;
		}
		other->refs++;
		*out = other;
		goto out;
	}
	st = module_sync_init(m);
	if (st != ST_OK) {
		module_free(m);
		goto out;
	}
	m->refs = 1;
	m->next = registry.modules;
	registry.modules = m;
	*out = m;
out:
	pthread_mutex_unlock(&registry.lock);
	return st;
}

enum status p11_module_lock(struct p11_module *m, struct fault *f)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += GATE_WAIT_S;
	if (pthread_rwlock_timedwrlock(&m->gate, &until) != 0) {
		fault_set(f, FAULT_DEVICE,
			  "a call into the module does not return: only a restart of the process "
			  "heals it");
		return ST_EAGAIN;
	}
	return ST_OK;
}

static PKCS11_CTX *context_new(const char *init_args)
{
	pthread_mutex_lock(&registry.contexts);
	PKCS11_CTX *ctx = PKCS11_CTX_new();
	pthread_mutex_unlock(&registry.contexts);
	if (ctx != NULL) {
		PKCS11_CTX_init_args(ctx, init_args);
	}
	return ctx;
}

static void context_free(PKCS11_CTX *ctx)
{
	pthread_mutex_lock(&registry.contexts);
	PKCS11_CTX_free(ctx);
	pthread_mutex_unlock(&registry.contexts);
}

static void openssl_reason(char *buf, size_t size)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	snprintf(buf, size, "%s", reason != NULL ? reason : "no reason given");
	ERR_clear_error();
}

/* libp11 has initialised the function list that it was given. Most modules have but one; p11-kit's
 * client makes one for each who asks, with a connection of its own. */
static enum status instance_start(struct p11_module *m, struct fault *f)
{
	CK_C_INITIALIZE_ARGS args = {
		.flags = CKF_OS_LOCKING_OK,
		.pReserved = m->init_args,
	};
	CK_RV rv = m->f->C_Initialize(&args);
	if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return ST_OK;
	}
	if (rv != CKR_OK) {
		return p11_fault(f, "C_Initialize", rv);
	}
	m->own_instance = true;
	return ST_OK;
}

enum status p11_module_start(struct p11_module *m, struct fault *f)
{
	char reason[80];
	if (m->ctx != NULL) {
		return ST_OK;
	}
	PKCS11_CTX *ctx = context_new(m->init_args);
	if (ctx == NULL) {
		fault_set(f, FAULT_DEVICE, "out of memory");
		return ST_ENOMEM;
	}
	if (PKCS11_CTX_load(ctx, m->path) != 0) {
		openssl_reason(reason, sizeof(reason));
		fault_set(f, FAULT_DEVICE, "cannot initialise module %s: %s", m->path, reason);
		context_free(ctx);
		return ST_EAGAIN;
	}
	m->ctx = ctx;
	m->generation++;
	enum status st = instance_start(m, f);
	if (st != ST_OK) {
		p11_module_stop(m);
	}
	return st;
}

void p11_module_stop(struct p11_module *m)
{
	if (m->ctx == NULL) {
		return;
	}
	if (m->own_instance) {
		(void)m->f->C_Finalize(NULL);
		m->own_instance = false;
	}
	PKCS11_CTX_unload(m->ctx);
	context_free(m->ctx);
	m->ctx = NULL;
	ERR_clear_error();
}

void p11_module_put(struct p11_module *m)
{
	struct fault f;
	if (m == NULL) {
		return;
	}
	/* Held to the end: the next user of the library initialises it after it was finalised. */
	pthread_mutex_lock(&registry.lock);
	if (--m->refs > 0) {
		goto out;
	}
	struct p11_module **at = &registry.modules;
	while (*at != m) {
		at = &(*at)->next;
	}
	*at = m->next;
	if (p11_module_lock(m, &f) != ST_OK) {
		goto out; /* somebody is inside for ever: what he uses stays */
	}
	p11_module_stop(m);
	pthread_rwlock_unlock(&m->gate);
	pthread_rwlock_destroy(&m->gate);
	pthread_mutex_destroy(&m->serial);
	module_free(m);
out:
	pthread_mutex_unlock(&registry.lock);
}
