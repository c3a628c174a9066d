/* Keys of a token by what operators name them, and their end. */
#include "tests/tools/p11fixture.h"

#include "nsd-core/base/text.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void label_set(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const struct hsm_key *key,
		      const char *label)
{
	CK_ATTRIBUTE a = {CKA_LABEL, (void *)label, strlen(label)};
	CK_OBJECT_HANDLE private = p11_object_of(f, session, CKO_PRIVATE_KEY, key);
	assert_int_equal(f->C_SetAttributeValue(session, private, &a, 1), CKR_OK);
}

static void id_clear(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const struct hsm_key *key)
{
	CK_ATTRIBUTE a = {CKA_ID, NULL, 0};
	CK_OBJECT_HANDLE private = p11_object_of(f, session, CKO_PRIVATE_KEY, key);
	assert_int_equal(f->C_SetAttributeValue(session, private, &a, 1), CKR_OK);
}

static void all_its_names_find_a_key(void **state)
{
	struct p11_fixture *fx = *state;
	CK_SESSION_HANDLE session;
	struct hsm_key *other = NULL;
	char hex[TEXT_HEX_SIZE(HSM_KEY_ID_LEN)];
	char percent[HSM_KEY_ID_LEN * 3 + 1];
	char refs[6][160];
	size_t len;
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	assert_int_equal(keystore_generate(fx->ks, "other", &other, NULL), ST_OK);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	label_set(f, session, fx->key, "the mail key");
	const uint8_t *id = hsm_key_id(fx->key, &len);
	hex_encode(id, len, hex);
	for (size_t i = 0; i < len; i++) {
		snprintf(percent + 3 * i, 4, "%%%02x", id[i]);
	}
	snprintf(refs[0], sizeof(refs[0]), "the mail key");
	snprintf(refs[1], sizeof(refs[1]), "%s", hex);
	snprintf(refs[2], sizeof(refs[2]), "pkcs11:object=the%%20mail%%20key");
	snprintf(refs[3], sizeof(refs[3]), "pkcs11:id=%s", percent);
	snprintf(refs[4], sizeof(refs[4]), "pkcs11:token=signet;id=%s;object=the%%20mail%%20key",
		 percent);
	snprintf(refs[5], sizeof(refs[5]), "pkcs11:object=the%%20mail%%20key;type=private");
	for (size_t i = 0; i < 6; i++) {
		struct hsm_id found = {.len = 0};
		print_message("%s\n", refs[i]);
		assert_int_equal(keystore_identify(fx->ks, refs[i], &found, NULL), ST_OK);
		assert_int_equal(found.len, len);
		assert_memory_equal(found.data, id, len);
	}
	hsm_key_unref(other);
}

static void bad_names_find_none(void **state)
{
	static const struct {
		const char *ref;
		enum status want;
		const char *says;
	} cases[] = {
		{"no such key", ST_ENOENT, "no private key with label no such key"},
		{"00ff", ST_ENOENT, "no private key with id 00ff"},
		{"pkcs11:object=none", ST_ENOENT, "no private key with pkcs11:object=none"},
		{"pkcs11:token=signet", ST_EPARSE, "neither id nor object"},
		{"pkcs11:token=another;object=other", ST_EPARSE, "another token than signet"},
		{"pkcs11:object=other;type=public", ST_EPARSE, "not private"},
		{"pkcs11:object=other?pin-value=1", ST_EPARSE, "PIN"},
		{"pkcs11:object=other?pin-source=/x", ST_EPARSE, "PIN"},
		{"pkcs11:object=other?module-path=/x", ST_EPARSE, "module"},
		{"pkcs11:objekt=other", ST_EPARSE, "RFC 7512"},
		{"pkcs11:%%", ST_EPARSE, "URI"},
		{"", ST_EPARSE, "1 to 511 octets"},
	};
	struct p11_fixture *fx = *state;
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hsm_id found = {.len = 77};
		struct diags d;
		diags_init(&d, 1);
		print_message("%s\n", cases[i].ref);
		assert_int_equal(keystore_identify(fx->ks, cases[i].ref, &found, &d),
				 cases[i].want);
		assert_int_equal(found.len, 77);
		if (strstr(d.items[0].text, cases[i].says) == NULL) {
			fail_msg("'%s' does not say '%s'", d.items[0].text, cases[i].says);
		}
		diags_fini(&d);
	}
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
}

static void a_name_of_two_is_told(void **state)
{
	struct p11_fixture *fx = *state;
	CK_SESSION_HANDLE session;
	struct hsm_key *other = NULL;
	struct hsm_id found;
	struct diags d;
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	assert_int_equal(keystore_generate(fx->ks, "other", &other, NULL), ST_OK);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	label_set(f, session, fx->key, "the mail key");
	label_set(f, session, other, "the mail key");
	diags_init(&d, 2);
	assert_int_equal(keystore_identify(fx->ks, "the mail key", &found, &d), ST_EEXIST);
	assert_non_null(strstr(d.items[0].text, "has 2 keys with label the mail key"));
	/* One that nothing would find again. */
	label_set(f, session, other, "lost");
	id_clear(f, session, other);
	assert_int_equal(keystore_identify(fx->ks, "lost", &found, &d), ST_ENOTSUP);
	assert_non_null(strstr(d.items[1].text, "no CKA_ID"));
	diags_fini(&d);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
	hsm_key_unref(other);
}

static void any_key_can_be_destroyed(void **state)
{
	struct p11_fixture *fx = *state;
	CK_SESSION_HANDLE session;
	struct hsm_key *out = NULL;
	int64_t until = 1;
	struct hsm_id odd = {.data = {0xee, 1}, .len = 2};
	struct hsm_id id;
	p11_use(fx, SOFTHSM_MODULE, 1);
	p11_make_key(fx);
	/* One that is in use here, and one that could not be. */
	const uint8_t *octets = hsm_key_id(fx->key, &id.len);
	memcpy(id.data, octets, id.len);
	CK_FUNCTION_LIST *f = p11_stranger(&session);
	p11_pair_make(f, session, "06052B81040022", odd.data, odd.len, CK_FALSE);
	assert_int_equal(keystore_find(fx->ks, odd.data, odd.len, NULL, &out, NULL), ST_ECRYPTO);
	assert_int_equal(keystore_destroy(fx->ks, &odd, 0, &until, NULL), ST_OK);
	assert_int_equal(until, 0);
	until = 1;
	assert_int_equal(keystore_find(fx->ks, odd.data, odd.len, NULL, &out, NULL), ST_ENOENT);
	assert_int_equal(keystore_destroy(fx->ks, &odd, 0, &until, NULL), ST_ENOENT);
	assert_int_equal(until, 1);
	assert_int_equal(keystore_destroy(fx->ks, &id, 0, &until, NULL), ST_OK);
	assert_int_equal(p11_find_again(fx, NULL, &out), ST_ENOENT);
	assert_int_equal(sign_one(fx->ks, fx->key), ST_EFATAL);
	assert_int_equal(p11_state(fx), KEYSTORE_UP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, p11_setup, p11_teardown)

int main(int argc, char **argv)
{
	if (hsm_is_host(argc, argv)) {
		return hsm_host_main();
	}
	const struct CMUnitTest tests[] = {
		TEST(all_its_names_find_a_key),
		TEST(bad_names_find_none),
		TEST(a_name_of_two_is_told),
		TEST(any_key_can_be_destroyed),
	};
	return cmocka_run_group_tests_name("keystore_names", tests, NULL, NULL);
}
