#include "signer/record.h"

#include "nsd-core/base/name.h"

#include <stdlib.h>

#define ZONES_TABLE "zones"
#define NAMED_TABLE "named"

/* A name in wire form ends with its only zero length, so no zone's entries start with another's
 * name. */
static struct bytes record_prefix(const uint8_t *apex, uint8_t buf[RECORD_KEY_MAX])
{
	return (struct bytes){buf, name_lower(buf, apex)};
}

static struct bytes record_key(const uint8_t *apex, uint16_t seq, uint8_t buf[RECORD_KEY_MAX])
{
	struct bytes key = record_prefix(apex, buf);
	be16_put(buf + key.len, seq);
	key.len += 2;
	return key;
}

enum status key_encode(const struct key *key, struct wwriter *w)
{
	wwriter_u8(w, RECORD_VERSION);
	wwriter_u8(w, ALG_ECDSAP256SHA256);
	wwriter_u8(w, (uint8_t)key->role);
	wwriter_u8(w, (uint8_t)key->state);
	wwriter_u16(w, key->flags);
	wwriter_u16(w, key->tag);
	wwriter_u64(w, (uint64_t)key->times.made);
	wwriter_u64(w, (uint64_t)key->times.published);
	wwriter_u64(w, (uint64_t)key->times.active);
	wwriter_u64(w, (uint64_t)key->times.retired);
	wwriter_u64(w, (uint64_t)key->times.removed);
	wwriter_str8(w, key->keystore, strlen(key->keystore));
	wwriter_str8(w, key->id, key->id_len);
	wwriter_put(w, key->public_point, HSM_PUBLIC_LEN);
	return w->err;
}

/* Would this server have written such a key? */
static bool key_is_sane(const struct key *key)
{
	uint8_t rdata[DNSKEY_LEN];
	return key->role <= KEY_CSK && key->state <= KEY_REMOVED && key->id_len > 0 &&
	       key->keystore[0] != '\0' && key->flags == (key->role == KEY_ZSK ? 256 : 257) &&
	       key->tag == dnskey_tag(rdata, dnskey_rdata(key, rdata));
}

enum status key_decode(struct bytes value, struct key *out)
{
	struct key key = {.handle = NULL};
	struct wreader r;
	wreader_init(&r, value.data, value.len);
	uint8_t version = wreader_u8(&r);
	if (r.err == ST_OK && version != RECORD_VERSION) {
		return ST_ENOTSUP;
	}
	uint8_t algorithm = wreader_u8(&r);
	key.role = (enum key_role)wreader_u8(&r);
	key.state = (enum key_state)wreader_u8(&r);
	key.flags = wreader_u16(&r);
	key.tag = wreader_u16(&r);
	key.times.made = (int64_t)wreader_u64(&r);
	key.times.published = (int64_t)wreader_u64(&r);
	key.times.active = (int64_t)wreader_u64(&r);
	key.times.retired = (int64_t)wreader_u64(&r);
	key.times.removed = (int64_t)wreader_u64(&r);
	struct bytes keystore = wreader_str8(&r);
	struct bytes id = wreader_str8(&r);
	struct bytes point = wreader_bytes(&r, HSM_PUBLIC_LEN);
	if (r.err != ST_OK || wreader_left(&r) != 0 || algorithm != ALG_ECDSAP256SHA256 ||
	    keystore.len >= sizeof(key.keystore) || id.len > sizeof(key.id)) {
		return ST_EPARSE;
	}
	memcpy(key.keystore, keystore.data, keystore.len);
	memcpy(key.id, id.data, id.len);
	key.id_len = (uint8_t)id.len;
	memcpy(key.public_point, point.data, HSM_PUBLIC_LEN);
	if (strlen(key.keystore) != keystore.len || !key_is_sane(&key)) {
		return ST_EPARSE;
	}
	*out = key;
	return ST_OK;
}

void key_list_fini(struct key_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		hsm_key_unref(list->entries[i].key.handle);
	}
	free(list->entries);
	*list = (struct key_list){.count = 0};
}

struct key_entry *key_list_room(struct key_list *list)
{
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 4 : list->room * 2;
		struct key_entry *entries = realloc(list->entries, room * sizeof(*entries));
		if (entries == NULL) {
			return NULL;
		}
		list->entries = entries;
		list->room = room;
	}
	list->entries[list->count] = (struct key_entry){.seq = 0};
	return &list->entries[list->count];
}

struct key_scan {
	struct key_list list;
	size_t prefix_len;
};

static enum status key_scan_each(void *ctx, struct bytes key, struct bytes value)
{
	struct key_scan *scan = ctx;
	if (key.len != scan->prefix_len + 2) {
		return ST_EPARSE;
	}
	struct key_entry *entry = key_list_room(&scan->list);
	if (entry == NULL) {
		return ST_ENOMEM;
	}
	enum status st = key_decode(value, &entry->key);
	if (st == ST_OK) {
		entry->seq = be16_get(key.data + scan->prefix_len);
		scan->list.count++;
	}
	return st;
}

static enum status find_origins(struct store_txn *txn, const uint8_t *apex, struct key_list *list)
{
	uint8_t buf[RECORD_KEY_MAX];
	struct bytes value;
	enum status st = ST_OK;
	for (size_t i = 0; i < list->count && st == ST_OK; i++) {
		struct key_entry *entry = &list->entries[i];
		bool shared = false;
		st = store_get(txn, NAMED_TABLE, record_key(apex, entry->seq, buf), &value);
		if (st == ST_OK) {
			entry->key.origin = KEY_NAMED;
		} else if (st == ST_ENOENT) {
			st = shared_key_is(txn, &entry->key, &shared);
			entry->key.origin = shared ? KEY_SHARED : KEY_OWN;
		}
	}
	return st;
}

enum status key_record_read(struct store *db, const uint8_t *apex, struct key_list *out)
{
	uint8_t buf[RECORD_KEY_MAX];
	struct bytes prefix = record_prefix(apex, buf);
	struct key_scan scan = {.prefix_len = prefix.len};
	struct store_txn *txn = NULL;
	enum status st = store_begin(db, false, &txn);
	if (st == ST_OK) {
		st = store_scan(txn, KEYS_TABLE, prefix, key_scan_each, &scan);
	}
	if (st == ST_OK) {
		st = find_origins(txn, apex, &scan.list);
	}
	store_abort(txn);
	if (st != ST_OK) {
		key_list_fini(&scan.list);
		return st;
	}
	*out = scan.list;
	return ST_OK;
}

bool key_is_same(const struct key *a, const struct key *b)
{
	return a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0 &&
	       strcmp(a->keystore, b->keystore) == 0;
}

enum status key_may_put(struct store_txn *txn, const char *table, struct bytes key,
			enum key_put how)
{
	struct bytes value;
	struct key present;
	if (how == KEY_PUT_OVER) {
		return ST_OK;
	}
	enum status st = store_get(txn, table, key, &value);
	if (how == KEY_PUT_FRESH) {
		return st == ST_ENOENT ? ST_OK : st == ST_OK ? ST_EEXIST : st;
	}
	if (st == ST_OK) {
		st = key_decode(value, &present);
	}
	if (st == ST_ENOENT || (st == ST_OK && present.state != KEY_MADE)) {
		return ST_EEXIST;
	}
	return st;
}

enum status key_put(struct store_txn *txn, const uint8_t *apex, const struct key_entry *entry,
		    enum key_put how)
{
	uint8_t key_buf[RECORD_KEY_MAX];
	uint8_t value_buf[KEY_RECORD_MAX];
	uint8_t ref_buf[HSM_REF_MAX + 3];
	struct bytes key = record_key(apex, entry->seq, key_buf);
	struct wwriter w;
	enum status st = key_may_put(txn, KEYS_TABLE, key, how);
	if (st != ST_OK) {
		return st;
	}
	wwriter_init(&w, value_buf, sizeof(value_buf));
	st = key_encode(&entry->key, &w);
	if (st == ST_OK) {
		st = store_put(txn, KEYS_TABLE, key, (struct bytes){w.start, wwriter_len(&w)});
	}
	if (st == ST_OK && entry->ref != NULL) {
		wwriter_init(&w, ref_buf, sizeof(ref_buf));
		wwriter_u8(&w, RECORD_VERSION);
		wwriter_put(&w, entry->ref, strlen(entry->ref));
		st = w.err != ST_OK ? w.err
				    : store_put(txn, NAMED_TABLE, key,
						(struct bytes){w.start, wwriter_len(&w)});
	}
	return st;
}

enum status key_record_put(struct store *db, const uint8_t *apex, const struct key_entry *entries,
			   size_t count, enum key_put how)
{
	struct store_txn *txn = NULL;
	enum status st = store_begin(db, true, &txn);
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		st = key_put(txn, apex, &entries[i], how);
	}
	if (st != ST_OK) {
		store_abort(txn);
		return st;
	}
	return store_commit(txn);
}

enum status key_record_ref(struct store *db, const uint8_t *apex, uint16_t seq,
			   char out[HSM_REF_MAX + 1])
{
	uint8_t buf[RECORD_KEY_MAX];
	struct store_txn *txn = NULL;
	struct bytes value;
	enum status st = store_begin(db, false, &txn);
	if (st == ST_OK) {
		st = store_get(txn, NAMED_TABLE, record_key(apex, seq, buf), &value);
	}
	if (st == ST_OK && (value.len < 2 || value.len > HSM_REF_MAX + 1)) {
		st = ST_EPARSE;
	} else if (st == ST_OK && value.data[0] != RECORD_VERSION) {
		st = ST_ENOTSUP;
	}
	if (st == ST_OK) {
		memcpy(out, value.data + 1, value.len - 1);
		out[value.len - 1] = '\0';
	}
	store_abort(txn);
	return st;
}

#define ZONE_HAS_SERIAL	     0x01
#define ZONE_DS_SEEN	     0x02
#define ZONE_HAS_FILE_SERIAL 0x04
#define ZONE_HAS_CONTENT     0x08
/* Version 1 has neither the file's serial nor a content. */
#define ZONE_VERSION	2
#define ZONE_RECORD_MAX (18 + 4 + ZONE_CONTENT_LEN)

static void zone_record_get_file(struct wreader *r, uint8_t flags, struct zone_record *rec)
{
	rec->has_file_serial = (flags & ZONE_HAS_FILE_SERIAL) != 0;
	rec->has_content = (flags & ZONE_HAS_CONTENT) != 0;
	if (rec->has_file_serial) {
		rec->file_serial = wreader_u32(r);
	}
	if (rec->has_content) {
		struct bytes content = wreader_bytes(r, ZONE_CONTENT_LEN);
		if (r->err == ST_OK) {
			memcpy(rec->content, content.data, ZONE_CONTENT_LEN);
		}
	}
}

enum status zone_record_get(struct store *db, const uint8_t *apex, struct zone_record *out)
{
	uint8_t buf[RECORD_KEY_MAX];
	struct zone_record rec = {.has_serial = false};
	struct store_txn *txn = NULL;
	struct bytes value;
	struct wreader r;
	enum status st = store_begin(db, false, &txn);
	if (st == ST_OK) {
		st = store_get(txn, ZONES_TABLE, record_prefix(apex, buf), &value);
	}
	if (st != ST_OK) {
		goto out;
	}
	wreader_init(&r, value.data, value.len);
	uint8_t version = wreader_u8(&r);
	uint8_t flags = wreader_u8(&r);
	rec.has_serial = (flags & ZONE_HAS_SERIAL) != 0;
	rec.ds_ever_seen = (flags & ZONE_DS_SEEN) != 0;
	rec.serial = wreader_u32(&r);
	rec.signed_since = (int64_t)wreader_u64(&r);
	rec.max_ttl = wreader_u32(&r);
	if (version == ZONE_VERSION) {
		zone_record_get_file(&r, flags, &rec);
	}
	if (r.err == ST_OK && version != RECORD_VERSION && version != ZONE_VERSION) {
		st = ST_ENOTSUP;
	} else if (r.err != ST_OK || wreader_left(&r) != 0) {
		st = ST_EPARSE;
	}
out:
	store_abort(txn);
	if (st == ST_OK || st == ST_ENOENT) {
		*out = rec;
	}
	return st;
}

enum status zone_record_put_in(struct store_txn *txn, const uint8_t *apex,
			       const struct zone_record *rec)
{
	uint8_t key_buf[RECORD_KEY_MAX];
	uint8_t value_buf[ZONE_RECORD_MAX];
	struct wwriter w;
	wwriter_init(&w, value_buf, sizeof(value_buf));
	wwriter_u8(&w, ZONE_VERSION);
	wwriter_u8(&w, (uint8_t)((rec->has_serial ? ZONE_HAS_SERIAL : 0) |
				 (rec->ds_ever_seen ? ZONE_DS_SEEN : 0) |
				 (rec->has_file_serial ? ZONE_HAS_FILE_SERIAL : 0) |
				 (rec->has_content ? ZONE_HAS_CONTENT : 0)));
	wwriter_u32(&w, rec->serial);
	wwriter_u64(&w, (uint64_t)rec->signed_since);
	wwriter_u32(&w, rec->max_ttl);
	if (rec->has_file_serial) {
		wwriter_u32(&w, rec->file_serial);
	}
	if (rec->has_content) {
		wwriter_put(&w, rec->content, sizeof(rec->content));
	}
	if (w.err != ST_OK) {
		return w.err;
	}
	return store_put(txn, ZONES_TABLE, record_prefix(apex, key_buf),
			 (struct bytes){value_buf, wwriter_len(&w)});
}

enum status zone_record_put(struct store *db, const uint8_t *apex, const struct zone_record *rec)
{
	struct store_txn *txn = NULL;
	enum status st = store_begin(db, true, &txn);
	if (st != ST_OK) {
		return st;
	}
	st = zone_record_put_in(txn, apex, rec);
	if (st != ST_OK) {
		store_abort(txn);
		return st;
	}
	return store_commit(txn);
}

int64_t ds_safe_from(const struct zone_record *rec, uint32_t propagation)
{
	if (rec->signed_since == 0) {
		return INT64_MAX;
	}
	return rec->signed_since + (int64_t)rec->max_ttl + (int64_t)propagation;
}
