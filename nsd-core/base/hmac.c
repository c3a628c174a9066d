#include "nsd-core/base/hmac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

struct hmac_key {
	enum hmac_type type;
	/* The key is in it already: each use begins with a copy. */
	EVP_MAC_CTX *ctx;
};

size_t hmac_size(enum hmac_type type)
{
	switch (type) {
	case HMAC_SHA1:
		return 20;
	case HMAC_SHA256:
		return 32;
	case HMAC_SHA384:
		return 48;
	case HMAC_SHA512:
		return 64;
	}
	return 0;
}

static const char *digest_name(enum hmac_type type)
{
	static const char *const names[] = {
		[HMAC_SHA1] = "SHA1",
		[HMAC_SHA256] = "SHA256",
		[HMAC_SHA384] = "SHA384",
		[HMAC_SHA512] = "SHA512",
	};

	return names[type];
}

enum status hmac_key_new(enum hmac_type type, struct bytes secret, struct hmac_key **out)
{
	enum status st = ST_ENOMEM;
	char digest[8] = "";
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	struct hmac_key *key = calloc(1, sizeof(*key));

	if (mac == NULL || key == NULL) {
		goto out;
	}
	key->type = type;
	key->ctx = EVP_MAC_CTX_new(mac);
	if (key->ctx == NULL) {
		goto out;
	}
	/* The parameter's type takes no constant text, though nobody writes to it. */
	strncpy(digest, digest_name(type), sizeof(digest) - 1);
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	st = ST_ECRYPTO;
	if (EVP_MAC_init(key->ctx, secret.data, secret.len, params) == 1) {
		*out = key;
		key = NULL;
		st = ST_OK;
	}
out:
	hmac_key_free(key);
	EVP_MAC_free(mac);
	return st;
}

void hmac_key_free(struct hmac_key *key)
{
	if (key == NULL) {
		return;
	}
	EVP_MAC_CTX_free(key->ctx);
	free(key);
}

enum hmac_type hmac_key_type(const struct hmac_key *key)
{
	return key->type;
}

enum status hmac_of(const struct hmac_key *key, const struct bytes *pieces, size_t count,
		    uint8_t *out)
{
	enum status st = ST_ENOMEM;
	size_t len;
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(key->ctx);

	if (ctx == NULL) {
		return st;
	}
	st = ST_ECRYPTO;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len > 0 && EVP_MAC_update(ctx, pieces[i].data, pieces[i].len) != 1) {
			goto out;
		}
	}
	if (EVP_MAC_final(ctx, out, &len, hmac_size(key->type)) == 1) {
		st = ST_OK;
	}
out:
	EVP_MAC_CTX_free(ctx);
	return st;
}

bool hmac_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
