#include "hsm/verify.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/ec.h>

/* RFC 6979 A.2.5: P-256, SHA-256 of "sample". */
static const char point_hex[] = "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
				"7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299";
static const char digest_hex[] = "AF2BDBE1AA9B6EC1E2ADE1D694F41FC71A831D0268E9891562113D8A62ADD1BF";
static const char signature_hex[] =
	"EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
	"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8";

static void from_hex(const char *hex, uint8_t *out, size_t len)
{
	size_t n;
	assert_int_equal(hex_decode(hex, strlen(hex), out, len, &n), ST_OK);
	assert_int_equal(n, len);
}

static void a_known_signature_verifies_and_no_other(void **state)
{
	(void)state;
	uint8_t point[HSM_PUBLIC_LEN];
	uint8_t digest[HSM_DIGEST_LEN];
	uint8_t sig[HSM_SIGNATURE_LEN];
	from_hex(point_hex, point, sizeof(point));
	from_hex(digest_hex, digest, sizeof(digest));
	from_hex(signature_hex, sig, sizeof(sig));
	assert_int_equal(hsm_verify(point, digest, sig), ST_OK);
	for (size_t i = 0; i < sizeof(sig); i += 7) {
		sig[i] ^= 0x10;
		assert_int_equal(hsm_verify(point, digest, sig), ST_ECRYPTO);
		sig[i] ^= 0x10;
	}
	for (size_t i = 0; i < sizeof(digest); i += 5) {
		digest[i] ^= 0x01;
		assert_int_equal(hsm_verify(point, digest, sig), ST_ECRYPTO);
		digest[i] ^= 0x01;
	}
	memset(sig, 0, sizeof(sig));
	assert_int_equal(hsm_verify(point, digest, sig), ST_ECRYPTO);
	memset(sig, 0xff, sizeof(sig));
	assert_int_equal(hsm_verify(point, digest, sig), ST_ECRYPTO);
	point[5] ^= 1; /* off the curve */
	assert_int_equal(hsm_verify(point, digest, sig), ST_ECRYPTO);
}

static void der_goes_there_and_back(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *raw;
		const char *der;
	} cases[] = {
		{"full, both high",
		 "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
		 "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		 "3046022100EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
		 "022100F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"},
		{"r short by one, s low",
		 "00D48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
		 "77CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		 "3044022000D48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
		 "022077CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"},
		{"r and s of one octet",
		 "0000000000000000000000000000000000000000000000000000000000000001"
		 "00000000000000000000000000000000000000000000000000000000000000FF",
		 "3007020101020200FF"},
		{"zero",
		 "0000000000000000000000000000000000000000000000000000000000000000"
		 "0000000000000000000000000000000000000000000000000000000000000000",
		 "3006020100020100"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t raw[HSM_SIGNATURE_LEN];
		uint8_t back[HSM_SIGNATURE_LEN];
		uint8_t der[ECDSA_DER_MAX];
		char hex[TEXT_HEX_SIZE(ECDSA_DER_MAX)];
		from_hex(cases[i].raw, raw, sizeof(raw));
		size_t len = ecdsa_der_encode(raw, der);
		print_message("%s\n", cases[i].name);
		assert_string_equal(hex_encode(der, len, hex), cases[i].der);
		assert_int_equal(ecdsa_der_decode(der, len, back), ST_OK);
		assert_memory_equal(back, raw, sizeof(raw));
	}
}

static void der_of_another_form_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *der;
	} cases[] = {
		{"empty", ""},
		{"one octet", "30"},
		{"wrong tag", "3106020100020100"},
		{"inner wrong tag", "3006030100020100"},
		{"second wrong tag", "3006020100030100"},
		{"length too small", "3005020100020100"},
		{"length too large", "3007020100020100"},
		{"long form of length", "308106020100020100"},
		{"trailing octet inside", "300702010002010000"},
		{"trailing octet outside", "300602010002010000"},
		{"negative", "3006020180020100"},
		{"empty integer", "300502000201000000"},
		{"padded for nothing", "300702020001020100"},
		{"only r", "3003020100"},
		{"r of 33 octets and no zero before",
		 "3026022101000000000000000000000000000000000000000000000000000000000000000002"
		 "0100"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t der[128];
		uint8_t raw[HSM_SIGNATURE_LEN];
		uint8_t before[HSM_SIGNATURE_LEN];
		size_t len;
		memset(raw, 0xa5, sizeof(raw));
		memset(before, 0xa5, sizeof(before));
		assert_int_equal(
			hex_decode(cases[i].der, strlen(cases[i].der), der, sizeof(der), &len),
			ST_OK);
		print_message("%s\n", cases[i].name);
		assert_int_equal(ecdsa_der_decode(der, len, raw), ST_EPARSE);
		assert_memory_equal(raw, before, sizeof(raw));
	}
}

/* One signature in 256 has a short r, one a short s: what is made must be 64 octets all the same.
 */
static void signatures_made_verify_whatever_their_length(void **state)
{
	(void)state;
	struct ctx_pool signers;
	struct ctx_pool verifiers;
	uint8_t point[HSM_PUBLIC_LEN];
	unsigned with_zero = 0;
	memset(&signers, 0, sizeof(signers));
	memset(&verifiers, 0, sizeof(verifiers));
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	EVP_PKEY *public = NULL;
	assert_non_null(pkey);
	assert_int_equal(public_key_point(pkey, point), ST_OK);
	assert_int_equal(public_key_new(point, &public), ST_OK);
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t digest[HSM_DIGEST_LEN];
		uint8_t sig[HSM_SIGNATURE_LEN];
		assert_int_equal(random_bytes(digest, sizeof(digest)), ST_OK);
		memset(sig, 0xee, sizeof(sig));
		assert_int_equal(pool_sign(&signers, pkey, digest, sig), ST_OK);
		assert_int_equal(pool_verify(&verifiers, public, digest, sig), ST_OK);
		with_zero += sig[0] == 0 || sig[32] == 0;
	}
	assert_true(with_zero > 0); /* 2000 tries: all but certain */
	ctx_pool_fini(&signers);
	ctx_pool_fini(&verifiers);
	EVP_PKEY_free(public);
	EVP_PKEY_free(pkey);
}

static void points_of_other_keys_are_refused(void **state)
{
	(void)state;
	uint8_t point[HSM_PUBLIC_LEN];
	uint8_t before[HSM_PUBLIC_LEN];
	memset(point, 0x11, sizeof(point));
	memset(before, 0x11, sizeof(before));
	EVP_PKEY *p384 = EVP_EC_gen("P-384");
	EVP_PKEY *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_int_equal(public_key_point(p384, point), ST_ECRYPTO);
	assert_int_equal(public_key_point(ed25519, point), ST_ECRYPTO);
	assert_memory_equal(point, before, sizeof(point));
	EVP_PKEY_free(p384);
	EVP_PKEY_free(ed25519);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_known_signature_verifies_and_no_other),
		cmocka_unit_test(der_goes_there_and_back),
		cmocka_unit_test(der_of_another_form_is_refused),
		cmocka_unit_test(signatures_made_verify_whatever_their_length),
		cmocka_unit_test(points_of_other_keys_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
