/* SHA-1, SHA-256, SHA-384 over pieces, and random octets; OpenSSL underneath. */
#pragma once

#include "nsd-core/base/wire.h"

enum digest_type {
	DIGEST_SHA1, /* NSEC3 hashing only (RFC 5155) */
	DIGEST_SHA256,
	DIGEST_SHA384,
};

#define DIGEST_MAX 48

/* Octets of the result: 20, 32 or 48. */
size_t digest_size(enum digest_type type);
/* Digest of the pieces one after the other; out has digest_size(). ST_ENOMEM or ST_ECRYPTO. */
enum status digest_of(enum digest_type type, const struct bytes *pieces, size_t count,
		      uint8_t *out) MUST_USE;
enum status random_bytes(void *out, size_t len) MUST_USE;
/* Wipes in a way the compiler may not leave out. */
void wipe(void *data, size_t len);
