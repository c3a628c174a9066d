/* Keyed digests (RFC 2104) over pieces; OpenSSL underneath. */
#pragma once

#include "nsd-core/base/wire.h"

enum hmac_type {
	HMAC_SHA256,
	HMAC_SHA384,
	HMAC_SHA512,
	HMAC_SHA1,
};

#define HMAC_MAX 64

/* Octets of the result: 32, 48, 64 or 20. */
size_t hmac_size(enum hmac_type type);

/* A key, ready to be used by any number of threads at a time. Immutable. */
struct hmac_key;

/* Copies the secret, of one octet or more. ST_ENOMEM or ST_ECRYPTO. */
enum status hmac_key_new(enum hmac_type type, struct bytes secret, struct hmac_key **out) MUST_USE;
void hmac_key_free(struct hmac_key *key); /* takes NULL; wipes */
enum hmac_type hmac_key_type(const struct hmac_key *key);
/* Over the pieces one after the other; out has hmac_size() octets. ST_ENOMEM or ST_ECRYPTO. */
enum status hmac_of(const struct hmac_key *key, const struct bytes *pieces, size_t count,
		    uint8_t *out) MUST_USE;
/* Without telling by the time it takes where they differ. */
bool hmac_equal(const uint8_t *a, const uint8_t *b, size_t len);
