/* What one RRSIG signs (RFC 4034 3.1.8.1). Private to signer/. */
#pragma once

#include "signer/keys.h"
#include "zones/rrset.h"

#define RRSIG_HEAD_MAX (RRSIG_FIXED_LEN + NAME_MAX_LEN)
#define RRSIG_MAX      (RRSIG_HEAD_MAX + HSM_SIGNATURE_LEN)

/* The RRSIG's RDATA without the signature, then the RRset in canonical form. Made once for an
 * RRset, then fitted to each key. */
struct rrsig_input {
	uint8_t *data;	 /* 'small', or the heap's */
	size_t head_len; /* the RDATA's part */
	size_t len;
	uint8_t small[1024];
};

/* apex: the signer's name. owner: lower case; a wildcard's as it is (RFC 4034 3.1.8.1, 6.2). */
enum status rrsig_input_init(struct rrsig_input *in, const uint8_t *apex, const uint8_t *owner,
			     const struct rrset *rs) MUST_USE;
void rrsig_input_fini(struct rrsig_input *in);
/* Sets tag and times in the RDATA, with the window of what this key signs at 'now'; 'digest' is
 * what is to be signed. The RDATA without the signature is then in->data[0 .. head_len). */
enum status rrsig_input_digest(struct rrsig_input *in, const struct sign_params *params,
			       const struct key *key, int64_t now,
			       uint8_t digest[HSM_DIGEST_LEN]) MUST_USE;

/* Is this RRset the KSKs' to sign? */
static inline bool rrsig_by_ksk(uint16_t type)
{
	return type == RR_DNSKEY || type == RR_CDS || type == RR_CDNSKEY;
}
/* The keys that sign RRsets of this type: DNSKEY, CDS and CDNSKEY are every active KSK's or CSK's,
 * all else is every active ZSK's or CSK's. Indexes into ks->keys; returns how many. */
size_t rrsig_keys(const struct keyset *ks, uint16_t type, uint8_t out[KEYSET_MAX]);
/* Are there such keys, and are all of them in the process? */
bool rrsig_keys_in_process(const struct keyset *ks, uint16_t type);
