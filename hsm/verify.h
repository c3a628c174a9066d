/* ECDSA P-256 with OpenSSL: points, the two forms of a signature, and contexts worth keeping. */
#pragma once

#include "hsm/hsm.h"

#include <openssl/evp.h>

#define ECDSA_DER_MAX	       72 /* SEQUENCE of two INTEGERs of at most 33 octets */
#define CTX_POOL_SLOTS	       16
#define POINT_UNCOMPRESSED_LEN (1 + HSM_PUBLIC_LEN)

/* Initialised EVP_PKEY_CTXs of one key for one operation, shared by threads without a lock: who
 * takes one owns it until it is put back. Making one costs a tenth of a signature. */
struct ctx_pool {
	_Atomic(EVP_PKEY_CTX *) slot[CTX_POOL_SLOTS];
};

void ctx_pool_fini(struct ctx_pool *p);

/* r and s as DER (RFC 3279 2.2.3); returns the octets written to out[ECDSA_DER_MAX]. */
size_t ecdsa_der_encode(const uint8_t *raw, uint8_t *out);
/* DER, whole and minimal, to r and s. ST_EPARSE: anything else. */
enum status ecdsa_der_decode(const uint8_t *der, size_t len, uint8_t *raw) MUST_USE;

/* The public key of a point; ST_ECRYPTO: not on the curve. */
enum status public_key_new(const uint8_t *public_point, EVP_PKEY **out) MUST_USE;
/* X and Y of a P-256 key; ST_ECRYPTO: another kind of key. */
enum status public_key_point(const EVP_PKEY *pkey, uint8_t *public_point) MUST_USE;

/* With pooled contexts; any thread. */
enum status pool_verify(struct ctx_pool *p, EVP_PKEY *pkey, const uint8_t *digest,
			const uint8_t *signature) MUST_USE;
enum status pool_sign(struct ctx_pool *p, EVP_PKEY *pkey, const uint8_t *digest,
		      uint8_t *signature) MUST_USE;
