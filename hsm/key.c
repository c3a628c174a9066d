#include "hsm/backend.h"

#include <stdlib.h>

struct hsm_key *hsm_key_ref(struct hsm_key *key)
{
	atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
	return key;
}

void hsm_key_unref(struct hsm_key *key)
{
	if (key == NULL || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1) {
		return;
	}
	/* The keystore may be gone already: nothing here touches it. */
	ctx_pool_fini(&key->signers);
	ctx_pool_fini(&key->verifiers);
	EVP_PKEY_free(key->pkey);
	free(key);
}

const uint8_t *hsm_key_public(const struct hsm_key *key)
{
	return key->public_point;
}

const uint8_t *hsm_key_id(const struct hsm_key *key, size_t *len)
{
	*len = key->id_len;
	return key->id;
}

struct keystore *hsm_key_store(const struct hsm_key *key)
{
	return key->store;
}
