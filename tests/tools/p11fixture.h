/* A keystore on a SoftHSM of its own, for one test. */
#pragma once

#include "tests/tools/hsmtest.h"

#include <p11-kit/pkcs11.h>

#define PIN "4711"

struct p11_fixture {
	char *dir;
	char pin[300]; /* the PIN file */
	struct keystore *ks;
	struct hsm_key *key;
};

/* Do this run's keystores have the module in a process of its own? (P11_ISOLATED in the
 * environment) */
bool p11_isolated(void);
/* For cmocka: a token "signet", its PIN in a file, no keystore yet. */
int p11_setup(void **state);
int p11_teardown(void **state);
struct keystore_options p11_options(struct p11_fixture *fx, const char *module, unsigned sessions);
/* fx->ks anew, on that module. */
void p11_use(struct p11_fixture *fx, const char *module, unsigned sessions);
/* fx->key, on a keystore that works. */
void p11_make_key(struct p11_fixture *fx);
/* The path of the module that misbehaves. */
const char *p11_wrapper(void);
enum keystore_state p11_state(struct p11_fixture *fx);
/* fx->key once more, by its id; every failure says why, once. */
enum status p11_find_again(struct p11_fixture *fx, const uint8_t *expect, struct hsm_key **out);
void p11_print(const struct diags *d);
/* SoftHSM's own functions, as another user in this process would call them, and the first slot.
 * Where the keystore is in another process it is initialised here, until p11_teardown(). */
CK_FUNCTION_LIST *p11_softhsm(CK_SLOT_ID *slot);
/* A session there for reading and writing, logged in. */
CK_FUNCTION_LIST *p11_stranger(CK_SESSION_HANDLE *session);
/* The one object of that class with the key's id. */
CK_OBJECT_HANDLE p11_object_of(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
			       CK_OBJECT_CLASS class, const struct hsm_key *key);
/* A pair on the curve with that OID (hex), as others may have made it. */
void p11_pair_make(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const char *oid,
		   const uint8_t *id, size_t id_len, CK_BBOOL always);
