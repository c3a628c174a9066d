#include "nsd-core/base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

size_t digest_size(enum digest_type type)
{
	switch (type) {
	case DIGEST_SHA1:
		return 20;
	case DIGEST_SHA256:
		return 32;
	case DIGEST_SHA384:
		return 48;
	}
	return 0;
}

static const EVP_MD *digest_md(enum digest_type type)
{
	switch (type) {
	case DIGEST_SHA1:
		return EVP_sha1();
	case DIGEST_SHA256:
		return EVP_sha256();
	case DIGEST_SHA384:
		return EVP_sha384();
	}
	return NULL;
}

enum status digest_of(enum digest_type type, const struct bytes *pieces, size_t count, uint8_t *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t result[EVP_MAX_MD_SIZE];
	enum status st = ST_ECRYPTO;

	if (ctx == NULL) {
		return ST_ENOMEM;
	}
	if (EVP_DigestInit_ex(ctx, digest_md(type), NULL) != 1) {
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		if (EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].len) != 1) {
			goto out;
		}
	}
	if (EVP_DigestFinal_ex(ctx, result, NULL) != 1) {
		goto out;
	}
	memcpy(out, result, digest_size(type));
	st = ST_OK;
out:
	EVP_MD_CTX_free(ctx);
	return st;
}

enum status random_bytes(void *out, size_t len)
{
	if (len > INT32_MAX) {
		return ST_ESPACE;
	}
	return RAND_bytes(out, (int)len) == 1 ? ST_OK : ST_ECRYPTO;
}

void wipe(void *data, size_t len)
{
	OPENSSL_cleanse(data, len);
}
