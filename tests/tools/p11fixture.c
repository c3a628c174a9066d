#include "tests/tools/p11fixture.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of p11_softhsm(), where it was this process that initialised it. */
static CK_FUNCTION_LIST *initialised;

bool p11_isolated(void)
{
	return getenv("P11_ISOLATED") != NULL;
}

struct keystore_options p11_options(struct p11_fixture *fx, const char *module, unsigned sessions)
{
	return (struct keystore_options){
		.name = "test",
		.type = KEYSTORE_PKCS11,
		.module = module,
		.token = "signet",
		.slot = -1,
		.pin_file = fx->pin,
		.isolate = p11_isolated(),
		.sessions = sessions,
	};
}

void p11_use(struct p11_fixture *fx, const char *module, unsigned sessions)
{
	struct keystore_options opt = p11_options(fx, module, sessions);
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
}

void p11_print(const struct diags *d)
{
	char line[300];
	for (size_t i = 0; i < d->count; i++) {
		print_message("  %s\n", diag_format(&d->items[i], line, sizeof(line)));
	}
}

/* A key on a keystore that works. */
void p11_make_key(struct p11_fixture *fx)
{
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	enum status st = keystore_generate(fx->ks, "example.com./ZSK/1", &fx->key, &d);
	p11_print(&d);
	assert_int_equal(st, ST_OK);
	diags_fini(&d);
}

int p11_setup(void **state)
{
	struct p11_fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	fx->dir = temp_make();
	softhsm_use(fx->dir);
	softhsm_token("signet", PIN);
	snprintf(fx->pin, sizeof(fx->pin), "%s/pin", fx->dir);
	file_write(fx->pin, PIN "\n");
	wrap_use(fx->dir, SOFTHSM_MODULE);
	*state = fx;
	return 0;
}

int p11_teardown(void **state)
{
	struct p11_fixture *fx = *state;
	clock_fake(-1, -1); /* of a test that failed, too */
	keystore_free(fx->ks);
	hsm_key_unref(fx->key);
	if (initialised != NULL) {
		initialised->C_Finalize(NULL);
		initialised = NULL;
	}
	temp_remove(fx->dir);
	free(fx);
	return 0;
}

const char *p11_wrapper(void)
{
	const char *path = getenv("P11WRAP");
	assert_non_null(path);
	return path;
}

enum keystore_state p11_state(struct p11_fixture *fx)
{
	struct keystore_health health;
	keystore_health(fx->ks, &health);
	return health.state;
}

enum status p11_find_again(struct p11_fixture *fx, const uint8_t *expect, struct hsm_key **out)
{
	size_t len;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	const uint8_t *id = hsm_key_id(fx->key, &len);
	enum status st = keystore_find(fx->ks, id, len, expect, out, &d);
	assert_int_equal(d.errors, st == ST_OK ? 0 : 1);
	diags_fini(&d);
	return st;
}

CK_FUNCTION_LIST *p11_softhsm(CK_SLOT_ID *slot)
{
	CK_FUNCTION_LIST *f;
	CK_C_GetFunctionList get;
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	/* Kept loaded: the keystore's may be in another process. */
	void *library = dlopen(SOFTHSM_MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	assert_non_null(library);
	void *symbol = dlsym(library, "C_GetFunctionList");
	memcpy(&get, &symbol, sizeof(get));
	assert_int_equal(get(&f), CKR_OK);
	if (p11_isolated() && initialised == NULL) {
		assert_int_equal(f->C_Initialize(NULL), CKR_OK);
		initialised = f;
	}
	assert_int_equal(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
	*slot = slots[0];
	dlclose(library);
	return f;
}

CK_FUNCTION_LIST *p11_stranger(CK_SESSION_HANDLE *session)
{
	CK_SLOT_ID slot;
	CK_UTF8CHAR pin[] = PIN;
	CK_FUNCTION_LIST *f = p11_softhsm(&slot);
	assert_int_equal(
		f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, session),
		CKR_OK);
	if (p11_isolated()) {
		CK_RV rv = f->C_Login(*session, CKU_USER, pin, sizeof(PIN) - 1);
		assert_true(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
	}
	return f;
}

CK_OBJECT_HANDLE p11_object_of(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
			       CK_OBJECT_CLASS class, const struct hsm_key *key)
{
	size_t len;
	CK_OBJECT_HANDLE object;
	CK_ULONG count = 0;
	const uint8_t *id = hsm_key_id(key, &len);
	CK_ATTRIBUTE wanted[] = {
		{CKA_CLASS, &class, sizeof(class)},
		{CKA_ID, (void *)id, len},
	};
	assert_int_equal(f->C_FindObjectsInit(session, wanted, 2), CKR_OK);
	assert_int_equal(f->C_FindObjects(session, &object, 1, &count), CKR_OK);
	assert_int_equal(f->C_FindObjectsFinal(session), CKR_OK);
	assert_int_equal(count, 1);
	return object;
}

void p11_pair_make(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const char *oid,
		   const uint8_t *id, size_t id_len, CK_BBOOL always)
{
	uint8_t params[16];
	size_t len;
	CK_MECHANISM mechanism = {.mechanism = CKM_EC_KEY_PAIR_GEN};
	CK_BBOOL yes = CK_TRUE;
	CK_OBJECT_HANDLE pub;
	CK_OBJECT_HANDLE priv;
	assert_int_equal(hex_decode(oid, strlen(oid), params, sizeof(params), &len), ST_OK);
	CK_ATTRIBUTE pub_wanted[] = {
		{CKA_TOKEN, &yes, sizeof(yes)},
		{CKA_VERIFY, &yes, sizeof(yes)},
		{CKA_EC_PARAMS, params, len},
		{CKA_ID, (void *)id, id_len},
	};
	CK_ATTRIBUTE priv_wanted[] = {
		{CKA_TOKEN, &yes, sizeof(yes)},
		{CKA_PRIVATE, &yes, sizeof(yes)},
		{CKA_SIGN, &yes, sizeof(yes)},
		{CKA_ID, (void *)id, id_len},
		{CKA_ALWAYS_AUTHENTICATE, &always, sizeof(always)},
	};
	assert_int_equal(f->C_GenerateKeyPair(session, &mechanism, pub_wanted, 4, priv_wanted, 5,
					      &pub, &priv),
			 CKR_OK);
}
