/* The tables "keys" and "zones" of the store: docs/keys.md has the format. Private to signer/. */
#pragma once

#include "signer/keys.h"

/* A key and its place in the record: sequence numbers count from 0 per zone and are never reused.
 */
struct key_entry {
	uint16_t seq;
	struct key key;
};

/* All keys a zone ever had, by sequence number. */
struct key_list {
	struct key_entry *entries;
	size_t count;
	size_t room;
};

/* The list and the handles in it; takes an empty one. */
void key_list_fini(struct key_list *list);

/* ST_OK with an empty list where nothing is on record. ST_EPARSE: an entry is damaged; ST_ENOTSUP:
 * it has a newer format; ST_EIO, ST_ENOMEM. */
enum status key_record_read(struct store *db, const uint8_t *apex, struct key_list *out) MUST_USE;
/* Puts entries on record in one durable transaction. fresh: none of them may stand there yet, else
 * ST_EEXIST and nothing is written. */
enum status key_record_put(struct store *db, const uint8_t *apex, const struct key_entry *entries,
			   size_t count, bool fresh) MUST_USE;

/* keys.c: the keys of the list that stand in the DNSKEY set; their handles move, those of the
 * others stay. ST_ELIMIT: more than KEYSET_MAX. On error the list is as it was. */
enum status keyset_from_list(struct key_list *list, const uint8_t *apex,
			     struct keyset **out) MUST_USE;
