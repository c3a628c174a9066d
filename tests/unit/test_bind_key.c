#include "signer/bind_key.h"

#include "nsd-core/base/text.h"
#include "signer/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As dnssec-keygen wrote them. */
#define HEAD	"Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n"
#define NUMBER	"jTMZCKd/H0x/KY36jDNcBeaJbHVLalz6h69fXljAawA="
#define TIMES	"Created: 20261125230907\nPublish: 20261125230907\nActivate: 20261125230907\n"
#define PRIVATE HEAD "PrivateKey: " NUMBER "\n" TIMES
#define PUBLIC                                                                                     \
	"5vwLaTbEcLt642bHWTSIdBMmWZc2yd346TUCCKJL8QmxNmhH0DG27VYC "                                \
	"nEeE9s7FyHJpAN2X6P1h1PLAe6pAHA=="
#define TAG 20579

static void a_pair_is_read(void **state)
{
	static const char text[] = "; This is a key-signing key, keyid 20579, for example.com.\n"
				   "; Created: 20261125230907 (Wed Nov 25 23:09:07 2026)\n"
				   "Example.COM. IN DNSKEY 257 3 13 " PUBLIC "\n";
	uint8_t number[HSM_PRIVATE_LEN];
	uint8_t point[HSM_PUBLIC_LEN];
	uint8_t rdata[DNSKEY_LEN];
	char base64[TEXT_BASE64_SIZE(HSM_PRIVATE_LEN)];
	char name[NAME_TEXT_MAX];
	struct bind_dnskey dnskey;
	struct key key = {.flags = 257};
	(void)state;
	assert_int_equal(bind_private_parse("p", PRIVATE, strlen(PRIVATE), number, NULL), ST_OK);
	assert_string_equal(base64_encode(number, sizeof(number), base64), NUMBER);
	assert_int_equal(bind_dnskey_parse("k", text, strlen(text), &dnskey, NULL), ST_OK);
	assert_string_equal(name_to_text(dnskey.owner, name), "example.com.");
	assert_int_equal(dnskey.flags, 257);
	assert_int_equal(hsm_public_of(number, point), ST_OK);
	assert_memory_equal(point, dnskey.public_point, sizeof(point));
	memcpy(key.public_point, point, sizeof(point));
	assert_int_equal(dnskey_tag(rdata, dnskey_rdata(&key, rdata)), TAG);
}

static void a_short_number_is_padded(void **state)
{
	static const char text[] = HEAD "PrivateKey: AQI=\r\n";
	uint8_t number[HSM_PRIVATE_LEN];
	uint8_t want[HSM_PRIVATE_LEN] = {0};
	(void)state;
	want[30] = 1;
	want[31] = 2;
	assert_int_equal(bind_private_parse("p", text, strlen(text), number, NULL), ST_OK);
	assert_memory_equal(number, want, sizeof(want));
}

static void what_is_no_private_key_is_refused(void **state)
{
	static const struct {
		const char *name, *text;
		enum status want;
		const char *says;
	} cases[] = {
		{"empty", "", ST_EPARSE, "Private-key-format is missing"},
		{"a .key file", "example.com. IN DNSKEY 257 3 13 AAAA\n", ST_EPARSE,
		 "1: error: no private key of BIND"},
		{"PEM", "-----BEGIN PRIVATE KEY-----\n", ST_EPARSE, "no private key of BIND"},
		{"version 2", "Private-key-format: v2.0\n" NUMBER, ST_ENOTSUP, "not v1.x"},
		{"no version", "Private-key-format:\n", ST_ENOTSUP, "not v1.x"},
		{"RSA", "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\nModulus: AA==\n",
		 ST_ENOTSUP, "2: error: the key is of algorithm 8, RSASHA256; only 13"},
		{"Ed25519", "Private-key-format: v1.3\nAlgorithm: 15 (ED25519)\n", ST_ENOTSUP,
		 "algorithm 15, ED25519"},
		{"P-384", "Private-key-format: v1.3\nAlgorithm: 14 (ECDSAP384SHA384)\n", ST_ENOTSUP,
		 "algorithm 14, ECDSAP384SHA384"},
		{"of none", "Private-key-format: v1.3\nAlgorithm: 200\n", ST_ENOTSUP,
		 "algorithm 200; only"},
		{"a word", "Private-key-format: v1.3\nAlgorithm: ECDSA\n", ST_EPARSE,
		 "not a number"},
		{"no number", HEAD TIMES, ST_EPARSE, "PrivateKey is missing"},
		{"no algorithm", "Private-key-format: v1.3\nPrivateKey: " NUMBER "\n", ST_EPARSE,
		 "Algorithm is missing"},
		{"too long", HEAD "PrivateKey: AA" NUMBER "\n", ST_EPARSE, "not 32 octets"},
		{"33 octets", HEAD "PrivateKey: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
		 ST_EPARSE, "not 32 octets"},
		{"nothing", HEAD "PrivateKey:\n", ST_EPARSE, "not 32 octets"},
		{"twice", PRIVATE "PrivateKey: " NUMBER "\n", ST_EPARSE, "a second PrivateKey"},
		{"two algorithms", HEAD "Algorithm: 13\n", ST_EPARSE, "a second Algorithm"},
		{"two formats", PRIVATE HEAD, ST_EPARSE, "a second Private-key-format"},
		{"in a device", HEAD "Engine: cGtjczEx\nLabel: a2V5\n", ST_ENOTSUP, "in a device"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t number[HSM_PRIVATE_LEN];
		uint8_t untouched[HSM_PRIVATE_LEN];
		char line[256];
		struct diags d;
		memset(number, 0x5a, sizeof(number));
		memset(untouched, 0x5a, sizeof(untouched));
		diags_init(&d, 1);
		print_message("%s\n", cases[i].name);
		assert_int_equal(bind_private_parse("K.private", cases[i].text,
						    strlen(cases[i].text), number, &d),
				 cases[i].want);
		assert_memory_equal(number, untouched, sizeof(number));
		assert_int_equal(d.errors, 1);
		diag_format(&d.items[0], line, sizeof(line));
		if (strstr(line, cases[i].says) == NULL || strstr(line, "K.private") == NULL) {
			fail_msg("'%s' does not say '%s'", line, cases[i].says);
		}
		/* Nothing of the key goes to people. */
		assert_null(strstr(line, "jTMZ"));
		diags_fini(&d);
	}
}

static void dnskeys_in_all_shapes(void **state)
{
	static const struct {
		const char *name, *text;
		enum status want;
		const char *says;
	} cases[] = {
		{"TTL and class", "a. 1h IN DNSKEY 256 3 13 " PUBLIC, ST_OK, NULL},
		{"class and TTL", "a. in 3600 dnskey 256 3 13 " PUBLIC, ST_OK, NULL},
		{"neither", "a. DNSKEY 257 3 13 " PUBLIC "\n", ST_OK, NULL},
		{"parentheses", "a. DNSKEY 257 3 13 ( " PUBLIC " ) ; key\n\n", ST_OK, NULL},
		{"CRLF", "; c\r\na. DNSKEY 257 3 13 " PUBLIC "\r\n", ST_OK, NULL},
		{"an odd owner", "a\\;b\\(.c. DNSKEY 257 3 13 " PUBLIC "\n", ST_OK, NULL},
		{"empty", "", ST_EPARSE, "owner"},
		{"a comment", "; a", ST_EPARSE, "owner"},
		{"no name", "a..b. DNSKEY 257 3 13 " PUBLIC, ST_EPARSE, "K.key:1"},
		{"another type", "a. IN DS 1 13 2 AA", ST_EPARSE, "no DNSKEY"},
		{"the private file", PRIVATE, ST_EPARSE, "no DNSKEY"},
		{"cut short", "\na. IN DNSKEY 257 3", ST_EPARSE,
		 "2: error: the record is cut short"},
		{"flags 0", "a. DNSKEY 0 3 13 " PUBLIC, ST_EPARSE, "neither 256 nor 257"},
		{"flags 258", "a. DNSKEY 258 3 13 " PUBLIC, ST_EPARSE, "neither 256 nor 257"},
		{"no flags", "a. DNSKEY KSK 3 13 " PUBLIC, ST_EPARSE, "flags"},
		{"revoked", "a. DNSKEY 385 3 13 " PUBLIC, ST_ENOTSUP, "revoked"},
		{"protocol 2", "a. DNSKEY 257 2 13 " PUBLIC, ST_EPARSE, "protocol"},
		{"RSA", "a. DNSKEY 257 3 8 AwEAAQ==", ST_ENOTSUP, "8, RSASHA256"},
		{"no key", "a. DNSKEY 257 3 13", ST_EPARSE, "64 octets"},
		{"short", "a. DNSKEY 257 3 13 AAAA", ST_EPARSE, "64 octets"},
		{"two records", "a. DNSKEY 257 3 13 " PUBLIC "\na. DNSKEY 257 3 13 " PUBLIC,
		 ST_EPARSE, "too long"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bind_dnskey key;
		struct bind_dnskey untouched;
		char line[256];
		struct diags d;
		memset(&key, 0x5a, sizeof(key));
		untouched = key;
		diags_init(&d, 1);
		print_message("%s\n", cases[i].name);
		assert_int_equal(
			bind_dnskey_parse("K.key", cases[i].text, strlen(cases[i].text), &key, &d),
			cases[i].want);
		if (cases[i].want != ST_OK) {
			assert_memory_equal(&key, &untouched, sizeof(key));
			assert_int_equal(d.errors, 1);
			diag_format(&d.items[0], line, sizeof(line));
			if (strstr(line, cases[i].says) == NULL) {
				fail_msg("'%s' does not say '%s'", line, cases[i].says);
			}
		} else {
			assert_int_equal(d.errors, 0);
			assert_int_equal(key.public_point[0], 0xe6);
		}
		diags_fini(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pair_is_read),
		cmocka_unit_test(a_short_number_is_padded),
		cmocka_unit_test(what_is_no_private_key_is_refused),
		cmocka_unit_test(dnskeys_in_all_shapes),
	};
	return cmocka_run_group_tests_name("bind_key", tests, NULL, NULL);
}
