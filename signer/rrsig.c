#include "signer/rrsig.h"

#include "nsd-core/base/digest.h"
#include "signer/signer.h"
#include "zones/rdata.h"

#include <stdlib.h>

/* Where the fields of RRSIG RDATA stand. */
#define AT_EXPIRATION 8
#define AT_TAG	      16

#define RR_FIXED_LEN 10 /* type, class, TTL, RDLENGTH */

/* A wildcard's first label does not count (RFC 4034 3.1.3). */
static uint8_t rrsig_labels(const uint8_t *owner)
{
	return (uint8_t)(name_labels(owner) - (name_is_wildcard(owner) ? 1 : 0));
}

enum status rrsig_input_init(struct rrsig_input *in, const uint8_t *apex, const uint8_t *owner,
			     const struct rrset *rs)
{
	size_t apex_len = name_len(apex);
	size_t owner_len = name_len(owner);
	size_t head_len = RRSIG_FIXED_LEN + apex_len;
	/* 'size' has two octets of length for each record, which are RDLENGTH here too. */
	size_t room = head_len + rs->size + rs->count * (owner_len + RR_FIXED_LEN - 2);
	uint8_t *data = room <= sizeof(in->small) ? in->small : malloc(room);
	struct wwriter w;
	if (data == NULL) {
		return ST_ENOMEM;
	}
	wwriter_init(&w, data, room);
	wwriter_u16(&w, rs->type);
	wwriter_u8(&w, ALG_ECDSAP256SHA256);
	wwriter_u8(&w, rrsig_labels(owner));
	wwriter_u32(&w, rs->ttl);
	wwriter_u32(&w, 0); /* expiration, inception and tag: the key's */
	wwriter_u32(&w, 0);
	wwriter_u16(&w, 0);
	wwriter_put(&w, apex, apex_len);
	name_lower(data + RRSIG_FIXED_LEN, apex);
	for (const uint8_t *p = rs->data; p < rs->data + rs->size; p = rdata_next(p)) {
		struct bytes rdata = rdata_at(p);
		wwriter_put(&w, owner, owner_len);
		wwriter_u16(&w, rs->type);
		wwriter_u16(&w, CLASS_IN);
		wwriter_u32(&w, rs->ttl);
		wwriter_u16(&w, (uint16_t)rdata.len);
		wwriter_put(&w, rdata.data, rdata.len);
		if (w.err == ST_OK) {
			rdata_canonical(rs->type, rdata, w.pos - rdata.len);
		}
	}
	if (w.err != ST_OK) {
		if (data != in->small) {
			free(data);
		}
		return w.err;
	}
	in->data = data;
	in->head_len = head_len;
	in->len = wwriter_len(&w);
	return ST_OK;
}

void rrsig_input_fini(struct rrsig_input *in)
{
	if (in->data != in->small) {
		free(in->data);
	}
	in->data = NULL;
}

enum status rrsig_input_digest(struct rrsig_input *in, const struct sign_params *params,
			       const struct key *key, int64_t now, uint8_t digest[HSM_DIGEST_LEN])
{
	uint8_t id[DIGEST_MAX];
	uint8_t result[DIGEST_MAX];
	uint32_t inception;
	uint32_t expiration;
	struct bytes pieces[2] = {
		{in->data, in->len},
		{key->public_point, HSM_PUBLIC_LEN},
	};
	/* The content's id: all that is signed but for the times, and whose signature it is. */
	memset(in->data + AT_EXPIRATION, 0, 8);
	be16_put(in->data + AT_TAG, key->tag);
	enum status st = digest_of(DIGEST_SHA256, pieces, 2, id);
	if (st != ST_OK) {
		return st;
	}
	if (rrsig_by_ksk(be16_get(in->data))) {
		sign_window_ksk(params, now, &inception, &expiration);
	} else {
		sign_window(params, id, now, &inception, &expiration);
	}
	be32_put(in->data + AT_EXPIRATION, expiration);
	be32_put(in->data + AT_EXPIRATION + 4, inception);
	st = digest_of(DIGEST_SHA256, pieces, 1, result);
	if (st == ST_OK) {
		memcpy(digest, result, HSM_DIGEST_LEN);
	}
	return st;
}

size_t rrsig_keys(const struct keyset *ks, uint16_t type, uint8_t out[KEYSET_MAX])
{
	enum key_role role = rrsig_by_ksk(type) ? KEY_KSK : KEY_ZSK;
	size_t count = 0;
	for (size_t i = 0; i < ks->count; i++) {
		const struct key *key = &ks->keys[i];
		if (key->state == KEY_ACTIVE && (key->role == role || key->role == KEY_CSK)) {
			out[count++] = (uint8_t)i;
		}
	}
	return count;
}

bool rrsig_keys_in_process(const struct keyset *ks, uint16_t type)
{
	uint8_t which[KEYSET_MAX];
	size_t count = rrsig_keys(ks, type, which);
	for (size_t i = 0; i < count; i++) {
		struct hsm_key *handle = ks->keys[which[i]].handle;
		if (handle == NULL || !keystore_in_process(hsm_key_store(handle))) {
			return false;
		}
	}
	return count > 0;
}
