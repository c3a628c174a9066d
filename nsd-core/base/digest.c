#include "nsd-core/base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

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

/* Each thread keeps a context per type: an answer with NSEC3 digests several times, and making a
 * context costs a look-up of the algorithm and three allocations, more than the digest itself. */
struct digest_contexts {
	EVP_MD_CTX *ctx[DIGEST_SHA384 + 1];
};

static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static bool contexts_keyed;

static void contexts_free(void *arg)
{
	struct digest_contexts *c = arg;

	for (size_t i = 0; i <= DIGEST_SHA384; i++) {
		EVP_MD_CTX_free(c->ctx[i]);
	}
	free(c);
}

static void contexts_make_key(void)
{
	contexts_keyed = pthread_key_create(&contexts_key, contexts_free) == 0;
}

/* This thread's context, ready for input; NULL when memory is out. */
static EVP_MD_CTX *digest_begin(enum digest_type type)
{
	pthread_once(&contexts_once, contexts_make_key);
	struct digest_contexts *c = contexts_keyed ? pthread_getspecific(contexts_key) : NULL;
	if (c == NULL) {
		c = contexts_keyed ? calloc(1, sizeof(*c)) : NULL;
		if (c == NULL || pthread_setspecific(contexts_key, c) != 0) {
			free(c);
			return NULL;
		}
	}
	EVP_MD_CTX *ctx = c->ctx[type];
	if (ctx != NULL) {
		return EVP_DigestInit_ex2(ctx, NULL, NULL) == 1 ? ctx : NULL;
	}
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL || EVP_DigestInit_ex2(ctx, digest_md(type), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		return NULL;
	}
	c->ctx[type] = ctx;
	return ctx;
}

enum status digest_of(enum digest_type type, const struct bytes *pieces, size_t count, uint8_t *out)
{
	EVP_MD_CTX *ctx = digest_begin(type);
	uint8_t result[EVP_MAX_MD_SIZE];

	if (ctx == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		if (EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].len) != 1) {
			return ST_ECRYPTO;
		}
	}
	if (EVP_DigestFinal_ex(ctx, result, NULL) != 1) {
		return ST_ECRYPTO;
	}
	memcpy(out, result, digest_size(type));
	return ST_OK;
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
