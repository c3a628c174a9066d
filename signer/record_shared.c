/* The table "shared", and what becomes of the record of a key that is to be deleted. */
#include "signer/record.h"

#include "nsd-core/base/name.h"

#include <stdlib.h>

#define SHARED_TABLE	"shared"
#define POLICY_NAME_MAX 64
#define SHARED_KEY_MAX	(POLICY_NAME_MAX + 2)

/* The policy's name, a zero, the role. */
static struct bytes shared_key(const char *policy, enum key_role role, uint8_t buf[SHARED_KEY_MAX])
{
	size_t len = strnlen(policy, POLICY_NAME_MAX);
	memcpy(buf, policy, len);
	buf[len] = 0;
	buf[len + 1] = (uint8_t)role;
	return (struct bytes){buf, len + 2};
}

static enum status get_in(struct store_txn *txn, const char *policy, enum key_role role,
			  struct key *out)
{
	uint8_t buf[SHARED_KEY_MAX];
	struct bytes value;
	enum status st = store_get(txn, SHARED_TABLE, shared_key(policy, role, buf), &value);
	return st == ST_OK ? key_decode(value, out) : st;
}

static enum status put_in(struct store_txn *txn, const char *policy, const struct key *key,
			  enum key_put how)
{
	uint8_t buf[SHARED_KEY_MAX];
	uint8_t value[KEY_RECORD_MAX];
	struct wwriter w;
	struct bytes at = shared_key(policy, key->role, buf);
	enum status st = key_may_put(txn, SHARED_TABLE, at, how);
	wwriter_init(&w, value, sizeof(value));
	if (st == ST_OK) {
		st = key_encode(key, &w);
	}
	return st == ST_OK
		       ? store_put(txn, SHARED_TABLE, at, (struct bytes){w.start, wwriter_len(&w)})
		       : st;
}

static enum status end(struct store_txn *txn, enum status st)
{
	if (st != ST_OK) {
		store_abort(txn);
		return st;
	}
	return store_commit(txn);
}

enum status shared_key_get(struct store *db, const char *policy, enum key_role role,
			   struct key *out)
{
	struct store_txn *txn = NULL;
	enum status st = store_begin(db, false, &txn);
	if (st == ST_OK) {
		st = get_in(txn, policy, role, out);
	}
	store_abort(txn);
	return st;
}

enum status shared_key_put(struct store *db, const char *policy, const struct key *key,
			   enum key_put how)
{
	struct store_txn *txn = NULL;
	enum status st = store_begin(db, true, &txn);
	if (st == ST_OK) {
		st = put_in(txn, policy, key, how);
	}
	return end(txn, st);
}

enum status shared_key_take(struct store *db, const char *policy, const uint8_t *apex,
			    const struct key_entry *entry)
{
	struct store_txn *txn = NULL;
	struct key shared;
	enum status st = store_begin(db, true, &txn);
	if (st == ST_OK) {
		st = get_in(txn, policy, entry->key.role, &shared);
		/* Let go meanwhile. */
		st = st == ST_ENOENT || (st == ST_OK && !key_is_same(&shared, &entry->key))
			     ? ST_EEXIST
			     : st;
	}
	if (st == ST_OK && shared.state == KEY_MADE) {
		shared.state = KEY_ACTIVE;
		shared.times.published = entry->key.times.made;
		shared.times.active = entry->key.times.made;
		st = put_in(txn, policy, &shared, KEY_PUT_OVER);
	}
	if (st == ST_OK) {
		st = key_put(txn, apex, entry, KEY_PUT_FRESH);
	}
	return end(txn, st);
}

struct shared_search {
	const struct key *key;
	bool found;
};

static enum status shared_search_each(void *ctx, struct bytes key, struct bytes value)
{
	struct shared_search *s = ctx;
	struct key shared;
	(void)key;
	enum status st = key_decode(value, &shared);
	s->found |= st == ST_OK && key_is_same(&shared, s->key);
	return st;
}

enum status shared_key_is(struct store_txn *txn, const struct key *key, bool *out)
{
	struct shared_search s = {.key = key};
	enum status st =
		store_scan(txn, SHARED_TABLE, (struct bytes){NULL, 0}, shared_search_each, &s);
	if (st == ST_OK) {
		*out = s.found;
	}
	return st;
}

/* A place in one of the tables. */
struct place {
	uint8_t key[RECORD_KEY_MAX];
	size_t len;
};

struct place_list {
	struct place *places;
	size_t count, room;
};

/* One key_let_go() under way. */
struct letting_go {
	struct key key;
	struct key_use use;
	struct place_list unused; /* made and never used */
	struct place_list shared;
};

static enum status note_place(struct place_list *list, struct bytes at)
{
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 4 : list->room * 2;
		struct place *places = realloc(list->places, room * sizeof(*places));
		if (places == NULL) {
			return ST_ENOMEM;
		}
		list->places = places;
		list->room = room;
	}
	struct place *p = &list->places[list->count++];
	memcpy(p->key, at.data, at.len);
	p->len = at.len;
	return ST_OK;
}

static enum status entry_each(void *ctx, struct bytes at, struct bytes value)
{
	struct letting_go *l = ctx;
	struct key key;
	if (at.len < 3 || at.len > RECORD_KEY_MAX) {
		return ST_EPARSE;
	}
	enum status st = key_decode(value, &key);
	/* Whatever the keystore is called: two may be one device, and names change. */
	bool same_id = key.id_len == l->key.id_len && memcmp(key.id, l->key.id, key.id_len) == 0;
	if (st != ST_OK || !same_id || key.state == KEY_REMOVED) {
		return st;
	}
	if (key.state == KEY_MADE) {
		return key_is_same(&key, &l->key) ? note_place(&l->unused, at) : ST_OK;
	}
	if (l->use.zones++ == 0) {
		memcpy(l->use.zone, at.data, at.len - 2);
		l->use.role = key.role;
		l->use.state = key.state;
		l->use.tag = key.tag;
	}
	return ST_OK;
}

static enum status shared_each(void *ctx, struct bytes at, struct bytes value)
{
	struct letting_go *l = ctx;
	struct key key;
	if (at.len > RECORD_KEY_MAX) {
		return ST_EPARSE;
	}
	enum status st = key_decode(value, &key);
	return st == ST_OK && key_is_same(&key, &l->key) ? note_place(&l->shared, at) : st;
}

static enum status remove_unused(struct store_txn *txn, const struct place *p, int64_t now)
{
	uint8_t buf[KEY_RECORD_MAX];
	struct bytes at = {p->key, p->len};
	struct bytes value;
	struct key key;
	struct wwriter w;
	enum status st = store_get(txn, KEYS_TABLE, at, &value);
	if (st == ST_OK) {
		st = key_decode(value, &key);
	}
	if (st != ST_OK) {
		return st;
	}
	key.state = KEY_REMOVED;
	key.times.removed = now;
	wwriter_init(&w, buf, sizeof(buf));
	st = key_encode(&key, &w);
	return st == ST_OK
		       ? store_put(txn, KEYS_TABLE, at, (struct bytes){w.start, wwriter_len(&w)})
		       : st;
}

static enum status let_go(struct store_txn *txn, struct letting_go *l, int64_t now)
{
	const struct bytes all = {NULL, 0};
	enum status st = store_scan(txn, KEYS_TABLE, all, entry_each, l);
	if (st == ST_OK && l->use.zones > 0) {
		return ST_EREFUSED;
	}
	if (st == ST_OK) {
		st = store_scan(txn, SHARED_TABLE, all, shared_each, l);
	}
	for (size_t i = 0; i < l->unused.count && st == ST_OK; i++) {
		st = remove_unused(txn, &l->unused.places[i], now);
	}
	for (size_t i = 0; i < l->shared.count && st == ST_OK; i++) {
		const struct place *p = &l->shared.places[i];
		st = store_del(txn, SHARED_TABLE, (struct bytes){p->key, p->len});
	}
	return st;
}

enum status key_let_go(struct store *db, const char *keystore, const struct hsm_id *id, int64_t now,
		       struct key_use *use)
{
	struct letting_go l = {.key = {.id_len = (uint8_t)id->len}};
	struct store_txn *txn = NULL;
	if (strlen(keystore) >= sizeof(l.key.keystore)) {
		return ST_ESPACE;
	}
	memcpy(l.key.keystore, keystore, strlen(keystore));
	memcpy(l.key.id, id->data, id->len);
	enum status st = store_begin(db, true, &txn);
	if (st == ST_OK) {
		st = let_go(txn, &l, now);
	}
	if (st == ST_OK && l.unused.count == 0 && l.shared.count == 0) {
		store_abort(txn);
	} else {
		st = end(txn, st);
	}
	if (st == ST_EREFUSED) {
		*use = l.use;
	}
	free(l.unused.places);
	free(l.shared.places);
	return st == ST_OK || st == ST_EREFUSED || st == ST_ENOMEM ? st : ST_EIO;
}
