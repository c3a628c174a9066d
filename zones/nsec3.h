/* Hashed names (RFC 5155 5, 3.3); SHA-1, the only algorithm there is. */
#pragma once

#include "nsd-core/base/name.h"

#define NSEC3_HASH_LEN 20
/* Octets that the hash's label puts before the apex: 32 characters and their count. */
#define NSEC3_LABEL_LEN 33
/* What stands before the types in our NSEC3 RDATA, which has no salt: algorithm, flags, iterations,
 * salt, next. */
#define NSEC3_NEXT_AT  6
#define NSEC3_TYPES_AT (NSEC3_NEXT_AT + NSEC3_HASH_LEN)
#define NSEC3_OPT_OUT  0x01 /* in the flags, the second octet */

/* The hash of a name in any case. ST_ENOMEM or ST_ECRYPTO. */
enum status nsec3_hash(const uint8_t *name, uint16_t iterations, struct bytes salt,
		       uint8_t out[NSEC3_HASH_LEN]) MUST_USE;
/* The name that owns the NSEC3 of a hash. ST_ELIMIT: it is longer than a name may be. */
enum status nsec3_owner(const uint8_t hash[NSEC3_HASH_LEN], const uint8_t *apex,
			uint8_t out[NAME_MAX_LEN]) MUST_USE;
/* The way back, from the first label. False: it is not of that form. */
bool nsec3_owner_hash(const uint8_t *owner, uint8_t hash[NSEC3_HASH_LEN]);
