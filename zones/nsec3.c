#include "zones/nsec3.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

_Static_assert(TEXT_BASE32HEX_SIZE(NSEC3_HASH_LEN) == NSEC3_LABEL_LEN,
	       "a label's length takes the place of the text's end");

enum status nsec3_hash(const uint8_t *name, uint16_t iterations, struct bytes salt,
		       uint8_t out[NSEC3_HASH_LEN])
{
	uint8_t lower[NAME_MAX_LEN];
	uint8_t hash[DIGEST_MAX];
	struct bytes pieces[2] = {{lower, name_lower(lower, name)}, salt};
	enum status st = digest_of(DIGEST_SHA1, pieces, 2, hash);
	for (unsigned i = 0; st == ST_OK && i < iterations; i++) {
		pieces[0] = (struct bytes){hash, NSEC3_HASH_LEN};
		st = digest_of(DIGEST_SHA1, pieces, 2, hash);
	}
	if (st == ST_OK) {
		memcpy(out, hash, NSEC3_HASH_LEN);
	}
	return st;
}

enum status nsec3_owner(const uint8_t hash[NSEC3_HASH_LEN], const uint8_t *apex,
			uint8_t out[NAME_MAX_LEN])
{
	char text[NSEC3_LABEL_LEN];
	size_t apex_len = name_len(apex);
	if (NSEC3_LABEL_LEN + apex_len > NAME_MAX_LEN) {
		return ST_ELIMIT;
	}
	out[0] = NSEC3_LABEL_LEN - 1;
	memcpy(out + 1, base32hex_encode(hash, NSEC3_HASH_LEN, text), NSEC3_LABEL_LEN - 1);
	memcpy(out + NSEC3_LABEL_LEN, apex, apex_len);
	return ST_OK;
}

bool nsec3_owner_hash(const uint8_t *owner, uint8_t hash[NSEC3_HASH_LEN])
{
	size_t len;
	return base32hex_decode((const char *)owner + 1, owner[0], hash, NSEC3_HASH_LEN, &len) ==
		       ST_OK &&
	       len == NSEC3_HASH_LEN;
}
