#include "hsm/verify.h"

#include "nsd-core/base/wire.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#define FIELD_LEN    (HSM_SIGNATURE_LEN / 2)
#define TAG_INTEGER  0x02
#define TAG_SEQUENCE 0x30

static EVP_PKEY_CTX *ctx_pool_take(struct ctx_pool *p)
{
	for (size_t i = 0; i < CTX_POOL_SLOTS; i++) {
		/* A plain look first: an exchange takes the cache line from the other threads. */
		if (atomic_load_explicit(&p->slot[i], memory_order_relaxed) == NULL) {
			continue;
		}
		EVP_PKEY_CTX *ctx = atomic_exchange(&p->slot[i], NULL);
		if (ctx != NULL) {
			return ctx;
		}
	}
	return NULL;
}

static void ctx_pool_put(struct ctx_pool *p, EVP_PKEY_CTX *ctx)
{
	for (size_t i = 0; i < CTX_POOL_SLOTS; i++) {
		EVP_PKEY_CTX *expected = NULL;
		if (atomic_compare_exchange_strong(&p->slot[i], &expected, ctx)) {
			return;
		}
	}
	EVP_PKEY_CTX_free(ctx);
}

void ctx_pool_fini(struct ctx_pool *p)
{
	for (size_t i = 0; i < CTX_POOL_SLOTS; i++) {
		EVP_PKEY_CTX_free(atomic_exchange(&p->slot[i], NULL));
	}
}

static size_t der_integer(const uint8_t *field, uint8_t *out)
{
	size_t skip = 0;
	while (skip < FIELD_LEN - 1 && field[skip] == 0) {
		skip++;
	}
	size_t pad = field[skip] >= 0x80 ? 1 : 0; /* INTEGER is signed */
	size_t len = FIELD_LEN - skip + pad;
	out[0] = TAG_INTEGER;
	out[1] = (uint8_t)len;
	out[2] = 0;
	memcpy(out + 2 + pad, field + skip, FIELD_LEN - skip);
	return 2 + len;
}

size_t ecdsa_der_encode(const uint8_t *raw, uint8_t *out)
{
	size_t len = der_integer(raw, out + 2);
	len += der_integer(raw + FIELD_LEN, out + 2 + len);
	out[0] = TAG_SEQUENCE;
	out[1] = (uint8_t)len;
	return 2 + len;
}

static void der_field(struct wreader *r, uint8_t *field)
{
	uint8_t tag = wreader_u8(r);
	struct bytes v = wreader_bytes(r, wreader_u8(r));
	if (r->err != ST_OK || tag != TAG_INTEGER || v.len == 0 || v.data[0] >= 0x80) {
		wreader_fail(r);
		return;
	}
	if (v.data[0] == 0 && v.len > 1) {
		if (v.data[1] < 0x80) { /* not minimal */
			wreader_fail(r);
			return;
		}
		v.data++;
		v.len--;
	}
	if (v.len > FIELD_LEN) {
		wreader_fail(r);
		return;
	}
	memset(field, 0, FIELD_LEN - v.len);
	memcpy(field + FIELD_LEN - v.len, v.data, v.len);
}

enum status ecdsa_der_decode(const uint8_t *der, size_t len, uint8_t *raw)
{
	struct wreader r;
	uint8_t fields[HSM_SIGNATURE_LEN];
	wreader_init(&r, der, len);
	uint8_t tag = wreader_u8(&r);
	uint8_t inner = wreader_u8(&r);
	if (tag != TAG_SEQUENCE || inner != wreader_left(&r)) {
		return ST_EPARSE;
	}
	der_field(&r, fields);
	der_field(&r, fields + FIELD_LEN);
	if (r.err != ST_OK || wreader_left(&r) != 0) {
		return ST_EPARSE;
	}
	memcpy(raw, fields, sizeof(fields));
	return ST_OK;
}

enum status public_key_new(const uint8_t *public_point, EVP_PKEY **out)
{
	uint8_t octets[POINT_UNCOMPRESSED_LEN] = {0x04}; /* SEC 1, 2.3.3: uncompressed */
	char group[] = "P-256";
	EVP_PKEY *pkey = NULL;
	enum status st = ST_ECRYPTO;
	memcpy(octets + 1, public_point, HSM_PUBLIC_LEN);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, octets, sizeof(octets)),
		OSSL_PARAM_construct_end(),
	};

	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (ctx == NULL) {
		st = ST_ENOMEM;
		goto out;
	}
	if (EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
		goto out;
	}
	*out = pkey;
	st = ST_OK;
out:
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return st;
}

enum status public_key_point(const EVP_PKEY *pkey, uint8_t *public_point)
{
	char group[32];
	uint8_t point[HSM_PUBLIC_LEN];
	BIGNUM *x = NULL;
	BIGNUM *y = NULL;
	enum status st = ST_ECRYPTO;
	if (!EVP_PKEY_is_a(pkey, "EC") ||
	    EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
					   NULL) != 1 ||
	    (strcmp(group, "prime256v1") != 0 && strcmp(group, "P-256") != 0)) {
		goto out;
	}
	if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) != 1 ||
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) != 1 ||
	    BN_bn2binpad(x, point, FIELD_LEN) != FIELD_LEN ||
	    BN_bn2binpad(y, point + FIELD_LEN, FIELD_LEN) != FIELD_LEN) {
		goto out;
	}
	memcpy(public_point, point, sizeof(point));
	st = ST_OK;
out:
	BN_free(x);
	BN_free(y);
	ERR_clear_error();
	return st;
}

static EVP_PKEY_CTX *ctx_for(struct ctx_pool *p, EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *))
{
	EVP_PKEY_CTX *ctx = ctx_pool_take(p);
	if (ctx != NULL) {
		return ctx;
	}
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	if (ctx != NULL && init(ctx) != 1) {
		EVP_PKEY_CTX_free(ctx);
		ctx = NULL;
	}
	if (ctx == NULL) {
		ERR_clear_error();
	}
	return ctx;
}

enum status pool_verify(struct ctx_pool *p, EVP_PKEY *pkey, const uint8_t *digest,
			const uint8_t *signature)
{
	uint8_t der[ECDSA_DER_MAX];
	size_t len = ecdsa_der_encode(signature, der);
	EVP_PKEY_CTX *ctx = ctx_for(p, pkey, EVP_PKEY_verify_init);
	if (ctx == NULL) {
		return ST_ENOMEM;
	}
	int rc = EVP_PKEY_verify(ctx, der, len, digest, HSM_DIGEST_LEN);
	ctx_pool_put(p, ctx);
	if (rc != 1) {
		ERR_clear_error();
		return ST_ECRYPTO;
	}
	return ST_OK;
}

enum status pool_sign(struct ctx_pool *p, EVP_PKEY *pkey, const uint8_t *digest, uint8_t *signature)
{
	uint8_t der[ECDSA_DER_MAX];
	size_t len = sizeof(der);
	EVP_PKEY_CTX *ctx = ctx_for(p, pkey, EVP_PKEY_sign_init);
	if (ctx == NULL) {
		return ST_ENOMEM;
	}
	int rc = EVP_PKEY_sign(ctx, der, &len, digest, HSM_DIGEST_LEN);
	ctx_pool_put(p, ctx);
	if (rc != 1 || ecdsa_der_decode(der, len, signature) != ST_OK) {
		ERR_clear_error();
		return ST_ECRYPTO;
	}
	return ST_OK;
}

enum status hsm_verify(const uint8_t *public_point, const uint8_t *digest, const uint8_t *signature)
{
	struct ctx_pool pool;
	EVP_PKEY *pkey = NULL;
	memset(&pool, 0, sizeof(pool));
	enum status st = public_key_new(public_point, &pkey);
	if (st == ST_OK) {
		st = pool_verify(&pool, pkey, digest, signature);
	}
	ctx_pool_fini(&pool);
	EVP_PKEY_free(pkey);
	return st;
}
