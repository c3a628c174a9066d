/* DNSSEC keys of a zone: what is on record, and the key set a version is made for. */
#pragma once

#include "hsm/hsm.h"
#include "nsd-core/base/store.h"
#include "zones/rrset.h"

#define DNSKEY_LEN (4 + HSM_PUBLIC_LEN) /* RDATA of algorithm 13 */
#define KEYSET_MAX 8

enum key_role {
	KEY_KSK,
	KEY_ZSK,
	KEY_CSK,
};

enum key_state {
	KEY_MADE,      /* in the keystore, not in the zone */
	KEY_PUBLISHED, /* in the DNSKEY set, does not sign */
	KEY_ACTIVE,    /* signs */
	KEY_RETIRED,   /* in the DNSKEY set, signs no more */
	KEY_REMOVED,
};

/* How the zone came by it. */
enum key_origin {
	KEY_OWN,    /* made for this zone */
	KEY_SHARED, /* made for all zones of a policy */
	KEY_NAMED,  /* named in the configuration */
};

/* Seconds since 1970; 0: not yet. Kept for ever (RFC 7583: every event's time). */
struct key_times {
	int64_t made, published, active, retired, removed;
};

struct key {
	enum key_role role;
	enum key_state state;
	enum key_origin origin;
	struct key_times times;
	char keystore[64];
	uint8_t id[HSM_ID_MAX]; /* CKA_ID, ARN */
	uint8_t id_len;
	uint16_t flags; /* 257 or 256 */
	uint16_t tag;	/* RFC 4034 appendix B */
	uint8_t public_point[HSM_PUBLIC_LEN];
	/* Goes from NULL to set once, while the key stands in a keyset. NULL: the keystore is away
	 * (or the key signs no more); the key is on record all the same. */
	_Atomic(struct hsm_key *) handle;
};

/* What a policy says of signing; durations in seconds. */
struct sign_params {
	char policy[64];
	uint8_t algorithm;
	bool eager;
	bool publish_cds;
	uint32_t dnskey_ttl;
	uint32_t refresh;  /* signed again when less is left */
	uint32_t validity; /* from now to the expiration of a fresh signature */
	uint32_t propagation;
};

/* Immutable but for the handles, shared by versions. */
struct keyset {
	_Atomic(uint32_t) refs;
	uint8_t apex[NAME_MAX_LEN]; /* the zone's, lower case */
	struct sign_params params;
	unsigned tag_collisions; /* keys made again while this was loaded */
	size_t count;
	struct key keys[KEYSET_MAX]; /* those in the DNSKEY set */
};

struct keyset *keyset_ref(struct keyset *ks);
void keyset_unref(void *ks); /* takes NULL; void for struct version */

/* A key that the zones of a policy have in common: one that the operator names, or one that is made
 * for all of them. Builders of many zones use it at once. */
struct key_source;

/* ref: as for keystore_identify(); NULL: made, once. All is borrowed; the keystore may go first. */
enum status key_source_new(const char *policy, enum key_role role, struct keystore *store,
			   const char *ref, struct key_source **out) MUST_USE;
void key_source_free(struct key_source *s); /* takes NULL */

/* The key of a policy: which keystore, and how a zone comes by it. */
struct key_wanted {
	enum key_role role;
	struct keystore *store;
	struct key_source *source; /* NULL: one is made for each zone */
};

/* The zone's keys from the record in 'db'. Where the record has no active key of a wanted role the
 * one that the policy names, or its zones share, is taken, or one is made in its keystore; it is
 * put on record (durable), then used. A key of the zone's own whose tag equals another's is made
 * again. Blocks; builder threads only. now: seconds since 1970.
 *
 * ST_OK: all that is wanted is on record. A keystore that is away, or that was read and lacks the
 * key, leaves the handle NULL (a warning, or an error, in d): the zone can be served with what
 * signatures there are, and keyset_rebind() gets the handle later. A key on record is never
 * replaced, also where what names it names another one now (a warning). ST_EAGAIN, ST_EFATAL: a key
 * must be made or found and its keystore is away, or locked, or has no key of that name.   ST_EIO:
 * the record cannot be read or written.   ST_ECRYPTO: the keystore has another key under the id on
 * record, or what is named is no key of P-256. ST_EREFUSED: the active keys are not those the
 * policy wants (role, keystore, or name), or one key is to have two roles. ST_ELIMIT: no free key
 * tag, or more keys than KEYSET_MAX. */
enum status keyset_load(struct store *db, const uint8_t *apex, const struct sign_params *params,
			const struct key_wanted *wanted, size_t count, int64_t now,
			struct keyset **out, struct diags *d) MUST_USE;
/* Looks again for the keys that have no handle. Versions that share the keyset sign with them from
 * then on. Blocks; any builder thread, several at once too.
 * ST_OK: every active key has its handle. Else why one has none: ST_EAGAIN (away), ST_EFATAL
 * (locked, or the key is missing), ST_ECRYPTO (another key stands in its place). */
enum status keyset_rebind(struct keyset *ks, const struct key_wanted *wanted, size_t count,
			  struct diags *d) MUST_USE;
/* The same keys, for a policy that says otherwise of signing. */
enum status keyset_with_params(const struct keyset *ks, const struct sign_params *params,
			       struct keyset **out) MUST_USE;
/* The record as it is, without any keystore: for 'key list' and 'ds' while the server is down.
 * Handles are NULL, params zero. ST_ENOENT: the zone has no key in its DNSKEY set. ST_EIO. */
enum status keyset_read(struct store *db, const uint8_t *apex, struct keyset **out) MUST_USE;

/* Who has a key. */
struct key_use {
	uint8_t zone[NAME_MAX_LEN]; /* of one of them */
	enum key_role role;
	enum key_state state;
	uint16_t tag;
	size_t zones; /* in all */
};

/* Takes a key off the record, so that it may be deleted: what was made and never used becomes
 * removed at 'now', and no zone will be given it as a shared one. Durable. ST_EREFUSED: zones have
 * it in another state than made or removed (*use), and nothing is changed. ST_EIO. */
enum status key_let_go(struct store *db, const char *keystore, const struct hsm_id *id, int64_t now,
		       struct key_use *use) MUST_USE;

/* "ksk", "zsk", "csk"; "own", "shared", "named"; "made", "published", "active", "retired",
 * "removed". Static. */
const char *key_role_text(enum key_role role);
const char *key_state_text(enum key_state state);
const char *key_origin_text(enum key_origin origin);

/* An id for people: a name such as an ARN as it is, octets in hex. 'buf' has TEXT_HEX_SIZE(len);
 * returns it. */
char *key_id_text(const uint8_t *id, size_t len, char *buf);

uint16_t dnskey_tag(const uint8_t *rdata, size_t len);
/* DNSKEY RDATA of a key; returns DNSKEY_LEN. */
size_t dnskey_rdata(const struct key *key, uint8_t out[DNSKEY_LEN]);
/* DS RDATA with SHA-256 (RFC 4509): tag, algorithm, 2, digest over the owner's canonical name and
 * the DNSKEY. 36 octets. */
enum status ds_rdata(const uint8_t *owner, const struct key *key, uint8_t out[36]) MUST_USE;

#define ZONE_CONTENT_LEN 32 /* a digest */

/* What is kept for a zone beside its keys, in the same store. */
struct zone_record {
	uint32_t serial; /* the last one published */
	bool has_serial;
	int64_t signed_since; /* when the zone was first complete with its present KSK; 0: not yet
			       */
	uint32_t max_ttl;     /* the largest TTL in the zone then, negative answers included */
	bool ds_ever_seen;
	uint32_t file_serial; /* its file's, when 'serial' was published */
	bool has_file_serial;
	/* What was published with 'serial', where that is not known by its signatures. */
	uint8_t content[ZONE_CONTENT_LEN];
	bool has_content;
};

/* ST_ENOENT: nothing on record (*out zeroed). */
enum status zone_record_get(struct store *db, const uint8_t *apex,
			    struct zone_record *out) MUST_USE;
enum status zone_record_put(struct store *db, const uint8_t *apex,
			    const struct zone_record *rec) MUST_USE;
/* The same in a transaction of the caller's, for many zones at once. */
enum status zone_record_put_in(struct store_txn *txn, const uint8_t *apex,
			       const struct zone_record *rec) MUST_USE;
/* From when a DS is safe: signed_since + max_ttl + propagation; INT64_MAX: not known yet. */
int64_t ds_safe_from(const struct zone_record *rec, uint32_t propagation);
