/* The signing engine: makes the signatures of versions whose 'keys' is a struct keyset. */
#pragma once

#include "signer/keys.h"
#include "zones/draft.h"
#include "zones/version.h"

struct signer;

struct signer_options {
	/* A signature that a parked question waits for (sig_wanted) was made, or failed for now.
	 * Any thread. 'rs' is an identity, not to be followed. */
	void (*settled)(void *ctx, const struct rrset *rs, enum status result);
	void *ctx;
	/* Upper bound of what one background pass has in flight; twice the sessions of its
	 * keystores where that is less. 0: 256. */
	size_t batch_in_flight;
	/* Threads that passes may sign with together, where the keys are in the process: the
	 * callers' own, and those that they start beside them. 0: only the callers'. */
	unsigned threads;
};

enum status signer_new(const struct signer_options *opt, struct signer **out) MUST_USE;
/* After all keystores' lanes are idle or gone. */
void signer_free(struct signer *s);

/* Does this RRset of this node carry signatures? Not glue, not NS at a cut, not what is occluded.
 */
static inline bool signer_covers(const struct node *n, const struct rrset *rs)
{
	if ((n->flags & NODE_OCCLUDED) != 0 || rs->type == RR_RRSIG) {
		return false;
	}
	return (n->flags & NODE_CUT) == 0 || rs->type == RR_DS || rs->type == RR_NSEC;
}
/* A valid signature set for an answer at wall time 'now', or NULL (empty or expired). */
const struct sigset *signer_valid(const struct rrset *rs, int64_t now);

/* A worker wants rs's signatures; v is referenced by the caller or inside a read section, and is
 * referenced by the engine as long as it needs it. Idempotent, single flight: where it is urgent,
 * what is under way already goes before all that is not.
 * ST_OK: the slot is filled now (keys in the process sign here, on this thread).
 * ST_EBUSY: under way; settled() will be called, perhaps more than once.   ST_ELIMIT: too much
 * waits. ST_EAGAIN: a key has no handle now.   ST_ENOTSUP: v is not signed by us, or rs carries no
 * signatures. Other errors: the signature could not be made. Where it failed the slot is empty and
 * may be asked for again. */
enum status signer_want(struct signer *s, struct version *v, const struct node *n, struct rrset *rs,
			bool urgent) MUST_USE;

/* Would signer_want() make these signatures on the thread that asks, because every key that signs
 * such an RRset is in the process? Inside a read section or with a reference; cheap. */
bool signer_signs_here(const struct version *v, const struct node *n,
		       const struct rrset *rs) MUST_USE;

/* Signs every empty slot of v in the background order (apex, then canonical order), keeping a
 * bounded number in flight; with keys in the process on the calling builder thread and such as it
 * starts and joins (signer_options.threads). Returns when v is complete, or ST_EAGAIN when a
 * keystore failed (try later), or ST_EREFUSED when *stop became true (NULL: never). */
enum status signer_complete(struct signer *s, struct version *v,
			    const _Atomic(bool) *stop) MUST_USE;
/* Signs, before publication, those new RRsets of a frozen version that stood in 'rrsets'. */
enum status signer_sign_list(struct signer *s, struct version *v, const struct node *const *nodes,
			     struct rrset *const *rrsets, size_t count,
			     const _Atomic(bool) *stop) MUST_USE;

/* Slots filled since the start: has anything been signed since one looked? Any thread. */
uint64_t signer_made(const struct signer *s);

struct sign_stats {
	size_t rrsets;	      /* that carry signatures */
	size_t filled;	      /* with a slot filled */
	int64_t next_refresh; /* when the first of them falls due; INT64_MAX: none */
	int64_t safe_until;   /* the earliest expiration; INT64_MAX: nothing is filled */
};

/* Walks v: O(n); builder threads. */
void signer_stats(const struct version *v, struct sign_stats *out);

/* The validity window of one signature (seconds since 1970): inception one hour before now, the
 * expiration between refresh and validity later, spread by the id so that refreshing has no cliffs.
 * Pure: the same in, the same out. 'id': 32 octets, what is signed. */
void sign_window(const struct sign_params *p, const uint8_t id[32], int64_t now,
		 uint32_t *inception, uint32_t *expiration);

/* The same for what KSKs sign, a few RRsets a zone: as long as the policy allows. */
void sign_window_ksk(const struct sign_params *p, int64_t now, uint32_t *inception,
		     uint32_t *expiration);
/* A refresh takes along what falls due within so many seconds, so that serials do not move for
 * every single signature. */
uint32_t sign_ahead_s(const struct sign_params *p);

/* How a zone that we sign proves what is not there. */
enum sign_denial {
	SIGN_NSEC,
	SIGN_NSEC3,	    /* RFC 5155 with no further iterations and no salt (RFC 9276 3.1) */
	SIGN_NSEC3_OPT_OUT, /* the same without cuts that have no DS (RFC 5155 6) */
};

/* What a version that we signed does. */
enum sign_denial signer_denial(const struct version *v);

/* What a draft needs to be signed by a keyset: DNSKEY (and CDS, CDNSKEY where 'cds') at the apex,
 * and the chain of NSECs (RFC 4034 4) or NSEC3s (RFC 5155 7.1), TTL by RFC 9077: over what is
 * touched where the base has such a chain of ours, else over all, and then the other one goes. Call
 * after the content is applied; settles the draft. Nothing is signed here. Making a chain of NSEC3s
 * anew digests every name, on several CPUs.
 * ST_ELIMIT: the apex is too long for hashed names (NSEC3_LABEL_LEN). ST_EEXIST: two names have one
 * hash. */
enum status signer_prepare_draft(struct draft *d, const struct keyset *keys, bool cds,
				 enum sign_denial denial) MUST_USE;
/* Fills empty slots of the draft's new RRsets with copies of what their like has in 'from', a
 * version with the same keys that was made of the same zone and never published. *count: how many.
 */
enum status signer_adopt(struct draft *d, const struct version *from, size_t *count) MUST_USE;
/* Marks for renewal (draft_renew) every RRset whose signatures fall due before 'until' and whose
 * keystores are there. *count: how many. base is signed by us. */
enum status signer_renew_due(struct draft *d, const struct version *base, int64_t until,
			     size_t *count) MUST_USE;
