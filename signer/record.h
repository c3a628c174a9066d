/* The tables of the store "keys": docs/keys.md has the format. Private to signer/. */
#pragma once

#include "signer/keys.h"

/* A key and its place in the record: sequence numbers count from 0 per zone and are never reused.
 */
struct key_entry {
	uint16_t seq;
	struct key key;
	const char *ref; /* borrowed; what it is named by is put on record with it. NULL: nothing */
};

/* All keys a zone ever had, by sequence number. */
struct key_list {
	struct key_entry *entries;
	size_t count;
	size_t room;
};

/* The list and the handles in it; takes an empty one. */
void key_list_fini(struct key_list *list);
/* The place behind the last entry, which is the caller's to fill and to count. NULL: no memory. */
struct key_entry *key_list_room(struct key_list *list);

/* ST_OK with an empty list where nothing is on record. ST_EPARSE: an entry is damaged; ST_ENOTSUP:
 * it has a newer format; ST_EIO, ST_ENOMEM. */
enum status key_record_read(struct store *db, const uint8_t *apex, struct key_list *out) MUST_USE;

/* What has to stand on record where an entry is put. */
enum key_put {
	KEY_PUT_OVER,  /* anything */
	KEY_PUT_FRESH, /* nothing, else ST_EEXIST */
	KEY_PUT_MADE,  /* a key that is made and not used, else ST_EEXIST */
};

/* Puts entries on record in one durable transaction; on error nothing is written. */
enum status key_record_put(struct store *db, const uint8_t *apex, const struct key_entry *entries,
			   size_t count, enum key_put how) MUST_USE;
/* What a key of origin KEY_NAMED was named by. ST_ENOENT. */
enum status key_record_ref(struct store *db, const uint8_t *apex, uint16_t seq,
			   char out[HSM_REF_MAX + 1]) MUST_USE;

/* record_shared.c: the key that the zones of a policy share in a role. Its state is made until a
 * zone has it, then active. ST_ENOENT: there is none. */
enum status shared_key_get(struct store *db, const char *policy, enum key_role role,
			   struct key *out) MUST_USE;
enum status shared_key_put(struct store *db, const char *policy, const struct key *key,
			   enum key_put how) MUST_USE;
/* Gives it to a zone: a fresh entry, in one transaction with what is noted of the key. ST_EEXIST:
 * the zone has such an entry, or the shared key is not this one any more. */
enum status shared_key_take(struct store *db, const char *policy, const uint8_t *apex,
			    const struct key_entry *entry) MUST_USE;
/* Is it one that zones share? */
enum status shared_key_is(struct store_txn *txn, const struct key *key, bool *out) MUST_USE;

/* The inside of a transaction, for the record's own parts. */
#define KEY_RECORD_MAX 512
#define RECORD_KEY_MAX (NAME_MAX_LEN + 2)
#define RECORD_VERSION 1
#define KEYS_TABLE     "keys"

enum status key_encode(const struct key *key, struct wwriter *w) MUST_USE;
enum status key_decode(struct bytes value, struct key *out) MUST_USE;
enum status key_put(struct store_txn *txn, const uint8_t *apex, const struct key_entry *entry,
		    enum key_put how) MUST_USE;
/* May an entry be put under this key? */
enum status key_may_put(struct store_txn *txn, const char *table, struct bytes key,
			enum key_put how) MUST_USE;
/* Of one keystore, under one id. */
bool key_is_same(const struct key *a, const struct key *b);

/* keys.c: the keys of the list that stand in the DNSKEY set; their handles move, those of the
 * others stay. ST_ELIMIT: more than KEYSET_MAX. On error the list is as it was. */
enum status keyset_from_list(struct key_list *list, const uint8_t *apex,
			     struct keyset **out) MUST_USE;
