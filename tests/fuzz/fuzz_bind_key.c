/* Key files of BIND: what is taken as a private number or a DNSKEY is taken again when it is
 * written plainly, and is the same. */
#include "nsd-core/base/text.h"
#include "signer/bind_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void number_again(const uint8_t *number)
{
	char base64[TEXT_BASE64_SIZE(HSM_PRIVATE_LEN)];
	char text[256];
	uint8_t again[HSM_PRIVATE_LEN];
	int len = snprintf(text, sizeof(text),
			   "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n"
			   "PrivateKey: %s\n",
			   base64_encode(number, HSM_PRIVATE_LEN, base64));

	if (bind_private_parse("again", text, (size_t)len, again, NULL) != ST_OK ||
	    memcmp(again, number, sizeof(again)) != 0) {
		abort();
	}
}

static void dnskey_again(const struct bind_dnskey *key)
{
	char base64[TEXT_BASE64_SIZE(HSM_PUBLIC_LEN)];
	char name[NAME_TEXT_MAX];
	char text[NAME_TEXT_MAX + 256];
	struct bind_dnskey again;
	int len = snprintf(text, sizeof(text), "%s 3600 IN DNSKEY %u 3 13 %s\n",
			   name_to_text(key->owner, name), key->flags,
			   base64_encode(key->public_point, HSM_PUBLIC_LEN, base64));

	if (bind_dnskey_parse("again", text, (size_t)len, &again, NULL) != ST_OK ||
	    !name_equal(again.owner, key->owner) || again.flags != key->flags ||
	    memcmp(again.public_point, key->public_point, HSM_PUBLIC_LEN) != 0) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t number[HSM_PRIVATE_LEN];
	struct bind_dnskey key;
	struct diags d;

	diags_init(&d, 4);
	if (bind_private_parse("private", (const char *)data, size, number, &d) == ST_OK) {
		number_again(number);
	}
	if (bind_dnskey_parse("key", (const char *)data, size, &key, &d) == ST_OK) {
		dnskey_again(&key);
	}
	diags_fini(&d);
	return 0;
}
