#include "signer/record.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/name.h"
#include "nsd-core/base/text.h"

#include <stdlib.h>

#define DNSKEY_PROTOCOL 3
#define DS_SHA256	2

const char *key_role_text(enum key_role role)
{
	static const char *const text[] = {
		[KEY_KSK] = "ksk",
		[KEY_ZSK] = "zsk",
		[KEY_CSK] = "csk",
	};
	return text[role];
}

const char *key_state_text(enum key_state state)
{
	static const char *const text[] = {
		[KEY_MADE] = "made",	   [KEY_PUBLISHED] = "published", [KEY_ACTIVE] = "active",
		[KEY_RETIRED] = "retired", [KEY_REMOVED] = "removed",
	};
	return text[state];
}

const char *key_origin_text(enum key_origin origin)
{
	static const char *const text[] = {
		[KEY_OWN] = "own",
		[KEY_SHARED] = "shared",
		[KEY_NAMED] = "named",
	};
	return text[origin];
}

struct keyset *keyset_ref(struct keyset *ks)
{
	atomic_fetch_add_explicit(&ks->refs, 1, memory_order_relaxed);
	return ks;
}

void keyset_unref(void *ptr)
{
	struct keyset *ks = ptr;
	if (ks == NULL || atomic_fetch_sub_explicit(&ks->refs, 1, memory_order_acq_rel) != 1) {
		return;
	}
	for (size_t i = 0; i < ks->count; i++) {
		hsm_key_unref(ks->keys[i].handle);
	}
	free(ks);
}

enum status keyset_with_params(const struct keyset *ks, const struct sign_params *params,
			       struct keyset **out)
{
	struct keyset *copy = calloc(1, sizeof(*copy));
	if (copy == NULL) {
		return ST_ENOMEM;
	}
	atomic_init(&copy->refs, 1);
	memcpy(copy->apex, ks->apex, sizeof(copy->apex));
	copy->params = *params;
	copy->tag_collisions = ks->tag_collisions;
	copy->count = ks->count;
	for (size_t i = 0; i < ks->count; i++) {
		struct hsm_key *handle = atomic_load(&ks->keys[i].handle);
		copy->keys[i] = ks->keys[i];
		atomic_init(&copy->keys[i].handle, handle != NULL ? hsm_key_ref(handle) : NULL);
	}
	*out = copy;
	return ST_OK;
}

enum status keyset_from_list(struct key_list *list, const uint8_t *apex, struct keyset **out)
{
	struct keyset *ks = calloc(1, sizeof(*ks));
	if (ks == NULL) {
		return ST_ENOMEM;
	}
	atomic_init(&ks->refs, 1);
	name_lower(ks->apex, apex);
	for (size_t i = 0; i < list->count; i++) {
		struct key *key = &list->entries[i].key;
		if (key->state == KEY_MADE || key->state == KEY_REMOVED) {
			continue;
		}
		if (ks->count == KEYSET_MAX) {
			/* What was moved stays the list's. */
			free(ks);
			return ST_ELIMIT;
		}
		ks->keys[ks->count++] = *key;
	}
	for (size_t i = 0; i < list->count; i++) {
		struct key *key = &list->entries[i].key;
		if (key->state != KEY_MADE && key->state != KEY_REMOVED) {
			atomic_store(&key->handle, NULL);
		}
	}
	*out = ks;
	return ST_OK;
}

enum status keyset_read(struct store *db, const uint8_t *apex, struct keyset **out)
{
	struct key_list list = {.count = 0};
	struct keyset *ks = NULL;
	enum status st = key_record_read(db, apex, &list);
	if (st == ST_OK) {
		st = keyset_from_list(&list, apex, &ks);
	}
	key_list_fini(&list);
	if (st == ST_EPARSE) {
		st = ST_EIO;
	}
	if (st == ST_OK && ks->count == 0) {
		st = ST_ENOENT;
	}
	if (st != ST_OK) {
		keyset_unref(ks);
		return st;
	}
	*out = ks;
	return ST_OK;
}

char *key_id_text(const uint8_t *id, size_t len, char *buf)
{
	if (len < 4 || memcmp(id, "arn:", 4) != 0) {
		return hex_encode(id, len, buf);
	}
	for (size_t i = 0; i < len; i++) {
		buf[i] = (char)(id[i] > ' ' && id[i] <= '~' ? id[i] : '?');
	}
	buf[len] = '\0';
	return buf;
}

/* RFC 4034 appendix B, for all algorithms but 1. */
uint16_t dnskey_tag(const uint8_t *rdata, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++) {
		sum += (i & 1) != 0 ? rdata[i] : (uint32_t)rdata[i] << 8;
	}
	sum += sum >> 16;
	return (uint16_t)sum;
}

size_t dnskey_rdata(const struct key *key, uint8_t out[DNSKEY_LEN])
{
	be16_put(out, key->flags);
	out[2] = DNSKEY_PROTOCOL;
	out[3] = ALG_ECDSAP256SHA256;
	memcpy(out + 4, key->public_point, HSM_PUBLIC_LEN);
	return DNSKEY_LEN;
}

enum status ds_rdata(const uint8_t *owner, const struct key *key, uint8_t out[36])
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t dnskey[DNSKEY_LEN];
	uint8_t digest[DIGEST_MAX];
	struct bytes pieces[2] = {
		{name, name_lower(name, owner)},
		{dnskey, dnskey_rdata(key, dnskey)},
	};
	enum status st = digest_of(DIGEST_SHA256, pieces, 2, digest);
	if (st != ST_OK) {
		return st;
	}
	be16_put(out, key->tag);
	out[2] = ALG_ECDSAP256SHA256;
	out[3] = DS_SHA256;
	memcpy(out + 4, digest, 32);
	return ST_OK;
}
