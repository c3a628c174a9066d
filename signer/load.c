#include "signer/load.h"

#include "nsd-core/base/text.h"

#include <stdio.h>
#include <stdlib.h>

/* Zones have a handful of keys, so that one try in thousands finds its tag taken. */
#define KEY_TRIES 32

enum status load_keystore_status(enum status st)
{
	switch (st) {
	case ST_OK:
	case ST_ENOENT:
	case ST_ENOMEM:
	case ST_ECRYPTO:
	case ST_EFATAL:
		return st;
	default:
		return ST_EAGAIN;
	}
}

const char *load_why(const struct diags *why, enum status st)
{
	return why->count > 0 && why->items[0].text != NULL ? why->items[0].text : status_text(st);
}

enum status load_find(const struct key_wanted *w, const uint8_t *id, size_t id_len,
		      const uint8_t *expect, struct hsm_key **out, struct diags *why)
{
	return w->source != NULL ? source_find(w->source, id, id_len, expect, out, why)
				 : keystore_find(w->store, id, id_len, expect, out, why);
}

static const struct key_wanted *wanted_for(const struct key_wanted *wanted, size_t count,
					   const struct key *key)
{
	for (size_t i = 0; i < count; i++) {
		if (wanted[i].role == key->role &&
		    strcmp(keystore_name(wanted[i].store), key->keystore) == 0) {
			return &wanted[i];
		}
	}
	return NULL;
}

/* Rolling over to what a changed policy wants takes weeks and a walk to the registrar: it never
 * happens as a side effect of loading. */
static enum status check_policy(struct load *l)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < l->list.count; i++) {
		const struct key *key = &l->list.entries[i].key;
		if ((key->state != KEY_ACTIVE && key->state != KEY_PUBLISHED) ||
		    wanted_for(l->wanted, l->wanted_count, key) != NULL) {
			continue;
		}
		diags_error(l->d,
			    "zone %s: its %s %s %u is in keystore %s, which is not what the policy "
			    "wants: give the policy the keys it had, since rolling over to other "
			    "ones is not supported yet",
			    l->zone, key_state_text(key->state), key_role_text(key->role), key->tag,
			    key->keystore);
		st = ST_EREFUSED;
	}
	return st;
}

/* The handle of a key on record. ST_OK, ST_EAGAIN, ST_EFATAL (locked), ST_ENOENT, ST_ECRYPTO,
 * ST_ENOMEM; what a person must do goes to d. */
static enum status find_handle(const struct key_wanted *w, const char *zone, const struct key *key,
			       struct hsm_key **out, struct diags *d)
{
	struct diags why;
	diags_init(&why, 1);
	enum status st = load_find(w, key->id, key->id_len, key->public_point, out, &why);
	switch (st) {
	case ST_OK:
	case ST_ENOMEM:
		break;
	case ST_ENOENT: {
		char id[TEXT_HEX_SIZE(sizeof(key->id))];
		diags_error(d,
			    "zone %s: %s %u (id %s) is on record and not in keystore %s: bring it "
			    "back; no other key is made in its place",
			    zone, key_role_text(key->role), key->tag,
			    key_id_text(key->id, key->id_len, id), key->keystore);
		break;
	}
	case ST_ECRYPTO:
		diags_error(d,
			    "zone %s: %s %u: what keystore %s has under its id is another key, or "
			    "does not sign rightly: %s",
			    zone, key_role_text(key->role), key->tag, key->keystore,
			    load_why(&why, st));
		break;
	default:
		/* The zone is served all the same. */
		diags_warn(d, "zone %s: %s %u cannot sign now: %s", zone, key_role_text(key->role),
			   key->tag, load_why(&why, st));
		break;
	}
	diags_fini(&why);
	return load_keystore_status(st);
}

static struct key_entry *find_active(struct load *l, const struct key_wanted *w)
{
	for (size_t i = 0; i < l->list.count; i++) {
		struct key *key = &l->list.entries[i].key;
		if (key->state == KEY_ACTIVE && wanted_for(w, 1, key) != NULL) {
			return &l->list.entries[i];
		}
	}
	return NULL;
}

struct key_entry *load_same(struct load *l, const struct key_wanted *w, enum key_state state,
			    const struct hsm_id *id)
{
	for (size_t i = 0; i < l->list.count; i++) {
		struct key *key = &l->list.entries[i].key;
		if (key->state == state && wanted_for(w, 1, key) != NULL &&
		    key->id_len == id->len && memcmp(key->id, id->data, id->len) == 0) {
			return &l->list.entries[i];
		}
	}
	return NULL;
}

static bool tag_taken(const struct load *l, uint16_t tag)
{
	for (size_t i = 0; i < l->list.count; i++) {
		if (l->list.entries[i].key.tag == tag) {
			return true;
		}
	}
	return false;
}

void load_throw_away(struct load *l, struct keystore *store, struct hsm_key *handle)
{
	struct diags why;
	diags_init(&why, 1);
	if (keystore_delete(store, handle, &why) != ST_OK) {
		size_t id_len;
		const uint8_t *id = hsm_key_id(handle, &id_len);
		char hex[TEXT_HEX_SIZE(HSM_ID_MAX)];
		diags_warn(l->d, "zone %s: an unused key (id %s) is left behind in keystore %s",
			   l->zone, key_id_text(id, id_len, hex), keystore_name(store));
	}
	diags_fini(&why);
	hsm_key_unref(handle);
}

static void key_describe(struct load *l, const struct key_wanted *w, struct hsm_key *handle,
			 struct key *key)
{
	uint8_t rdata[DNSKEY_LEN];
	size_t id_len;
	const uint8_t *id = hsm_key_id(handle, &id_len);
	*key = (struct key){
		.role = w->role,
		.state = KEY_MADE,
		.times.made = l->now,
		.flags = w->role == KEY_ZSK ? 256 : 257,
		.id_len = (uint8_t)id_len,
		.handle = handle,
	};
	snprintf(key->keystore, sizeof(key->keystore), "%s", keystore_name(w->store));
	memcpy(key->id, id, id_len);
	memcpy(key->public_point, hsm_key_public(handle), HSM_PUBLIC_LEN);
	key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
}

/* A key pair whose tag is the zone's only one of that value: validators try keys by tag, and some
 * give up on collisions. */
enum status load_generate(struct load *l, const struct key_wanted *w, const char *owner,
			  struct key *out)
{
	char day[24];
	char label[NAME_TEXT_MAX + 32];
	time_to_text(l->now, day);
	snprintf(label, sizeof(label), "%s/%s/%.10s", owner, key_role_text(w->role), day);
	for (unsigned i = 0; i < KEY_TRIES; i++) {
		struct hsm_key *handle = NULL;
		struct key key;
		enum status st = keystore_generate(w->store, label, &handle, l->d);
		if (st != ST_OK) {
			return load_keystore_status(st);
		}
		key_describe(l, w, handle, &key);
		if (!tag_taken(l, key.tag)) {
			*out = key;
			return ST_OK;
		}
		l->tag_collisions++;
		load_throw_away(l, w->store, handle);
	}
	diags_error(l->d, "zone %s: no %s with a free key tag in %d tries", l->zone,
		    key_role_text(w->role), KEY_TRIES);
	return ST_ELIMIT;
}

enum status load_record_error(struct load *l, enum status st)
{
	diags_error(l->d, "zone %s: its keys cannot be put on record: %s", l->zone,
		    status_text(st));
	/* There already, or changed meanwhile: what another builder made is as good. */
	switch (st) {
	case ST_EEXIST:
		return ST_EAGAIN;
	case ST_ENOMEM:
		return st;
	default:
		return ST_EIO;
	}
}

/* Room for a key of w's, and the next sequence number. */
static enum status add_entry(struct load *l, const struct key_wanted *w, struct key_entry **out)
{
	struct key_list *list = &l->list;
	uint32_t seq = list->count == 0 ? 0 : list->entries[list->count - 1].seq + UINT32_C(1);
	if (strlen(keystore_name(w->store)) >= sizeof(((struct key *)NULL)->keystore)) {
		diags_error(l->d, "keystore %s: its name is too long", keystore_name(w->store));
		return ST_ESPACE;
	}
	if (seq > UINT16_MAX) {
		diags_error(l->d, "zone %s: its record of keys is full", l->zone);
		return ST_ELIMIT;
	}
	struct key_entry *entry = key_list_room(list);
	if (entry == NULL) {
		return ST_ENOMEM;
	}
	entry->seq = (uint16_t)seq;
	*out = entry;
	return ST_OK;
}

enum status load_entry(struct load *l, const struct key_wanted *w, struct hsm_key *handle,
		       struct key_entry **out)
{
	enum status st = add_entry(l, w, out);
	if (st == ST_OK) {
		key_describe(l, w, handle, &(*out)->key);
	} else {
		hsm_key_unref(handle);
	}
	return st;
}

static enum status make_key(struct load *l, const struct key_wanted *w, size_t *chosen)
{
	struct key_entry *entry;
	enum status st = add_entry(l, w, &entry);
	if (st == ST_OK) {
		st = load_generate(l, w, l->zone, &entry->key);
	}
	if (st != ST_OK) {
		return st;
	}
	/* The commit may have failed after it reached the disk: an entry whose key is gone is then
	 * what adopt() finds. */
	st = key_record_put(l->db, l->apex, entry, 1, KEY_PUT_FRESH);
	if (st != ST_OK) {
		load_throw_away(l, w->store, entry->key.handle);
		return load_record_error(l, st);
	}
	*chosen = l->list.count++;
	return ST_OK;
}

/* A key that an earlier start put on record and then did not come to use. ST_ENOENT: it is gone,
 * which is noted; it never was in the zone, so that another can be made. */
static enum status adopt(struct load *l, const struct key_wanted *w, struct key_entry *entry)
{
	struct key *key = &entry->key;
	struct hsm_key *handle = NULL;
	struct diags why;
	diags_init(&why, 1);
	enum status st =
		keystore_find(w->store, key->id, key->id_len, key->public_point, &handle, &why);
	if (st == ST_OK) {
		atomic_store(&key->handle, handle);
	} else if (st == ST_ENOENT) {
		diags_warn(l->d,
			   "zone %s: %s %u was made and never used, and is gone: makes another",
			   l->zone, key_role_text(key->role), key->tag);
		key->state = KEY_REMOVED;
		key->times.removed = l->now;
		enum status put = key_record_put(l->db, l->apex, entry, 1, KEY_PUT_OVER);
		st = put == ST_OK ? ST_ENOENT : load_record_error(l, put);
	} else {
		st = load_keystore_status(st);
		if (l->d != NULL) {
			diags_take(l->d, &why);
		}
	}
	diags_fini(&why);
	return st;
}

/* *chosen stays where an active key is there already. */
static enum status provide(struct load *l, const struct key_wanted *w, size_t *chosen)
{
	struct key_entry *active = find_active(l, w);
	if (active != NULL) {
		return w->source != NULL ? load_check_given(l, w, active) : ST_OK;
	}
	if (w->source != NULL) {
		return load_given(l, w, chosen);
	}
	for (size_t i = 0; i < l->list.count; i++) {
		struct key_entry *entry = &l->list.entries[i];
		/* What an earlier configuration named or shared is not this zone's own. */
		if (entry->key.state != KEY_MADE || entry->key.origin != KEY_OWN ||
		    wanted_for(w, 1, &entry->key) == NULL) {
			continue;
		}
		enum status st = adopt(l, w, entry);
		if (st != ST_ENOENT) {
			*chosen = i;
			return st;
		}
	}
	return make_key(l, w, chosen);
}

/* All wanted keys that are new come into use together, on record before any of them signs. */
static enum status activate(struct load *l)
{
	struct key_entry fresh[KEYSET_MAX];
	struct key_entry *from[KEYSET_MAX];
	size_t count = 0;
	for (size_t i = 0; i < l->wanted_count; i++) {
		if (l->chosen[i] == CHOSEN_NONE) {
			continue;
		}
		from[count] = &l->list.entries[l->chosen[i]];
		fresh[count] = *from[count];
		fresh[count].key.state = KEY_ACTIVE;
		fresh[count].key.times.published = l->now;
		fresh[count].key.times.active = l->now;
		count++;
	}
	if (count == 0) {
		return ST_OK;
	}
	enum status st = key_record_put(l->db, l->apex, fresh, count, KEY_PUT_MADE);
	if (st != ST_OK) {
		return load_record_error(l, st);
	}
	for (size_t i = 0; i < count; i++) {
		*from[i] = fresh[i];
	}
	return ST_OK;
}

static enum status find_handles(struct load *l)
{
	for (size_t i = 0; i < l->list.count; i++) {
		struct key *key = &l->list.entries[i].key;
		struct hsm_key *handle = NULL;
		const struct key_wanted *w = wanted_for(l->wanted, l->wanted_count, key);
		if ((key->state != KEY_ACTIVE && key->state != KEY_PUBLISHED) || w == NULL ||
		    key->handle != NULL) {
			continue;
		}
		enum status st = find_handle(w, l->zone, key, &handle, l->d);
		if (st == ST_ECRYPTO || st == ST_ENOMEM) {
			return st;
		}
		if (st == ST_OK) {
			atomic_store(&key->handle, handle);
		}
	}
	return ST_OK;
}

enum status keyset_load(struct store *db, const uint8_t *apex, const struct sign_params *params,
			const struct key_wanted *wanted, size_t count, int64_t now,
			struct keyset **out, struct diags *d)
{
	struct load l = {.db = db,
			 .apex = apex,
			 .wanted = wanted,
			 .wanted_count = count,
			 .now = now,
			 .d = d};
	struct keyset *ks = NULL;
	if (count > KEYSET_MAX) {
		return ST_ELIMIT;
	}
	name_to_text(apex, l.zone);
	enum status st = key_record_read(db, apex, &l.list);
	if (st != ST_OK) {
		diags_error(d, "zone %s: its keys on record cannot be read: %s", l.zone,
			    status_text(st));
		st = st == ST_ENOMEM ? st : ST_EIO;
		goto out;
	}
	st = check_policy(&l);
	for (size_t i = 0; i < count; i++) {
		l.chosen[i] = CHOSEN_NONE;
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		st = provide(&l, &wanted[i], &l.chosen[i]);
	}
	if (st == ST_OK) {
		st = activate(&l);
	}
	if (st == ST_OK) {
		st = find_handles(&l);
	}
	if (st == ST_OK) {
		st = keyset_from_list(&l.list, apex, &ks);
		if (st == ST_ELIMIT) {
			diags_error(d, "zone %s: more than %d keys in its DNSKEY set", l.zone,
				    KEYSET_MAX);
		}
	}
	if (st == ST_OK) {
		ks->params = *params;
		ks->tag_collisions = l.tag_collisions;
		*out = ks;
	}
out:
	key_list_fini(&l.list);
	return st;
}

enum status keyset_rebind(struct keyset *ks, const struct key_wanted *wanted, size_t count,
			  struct diags *d)
{
	char zone[NAME_TEXT_MAX];
	enum status result = ST_OK;
	name_to_text(ks->apex, zone);
	for (size_t i = 0; i < ks->count; i++) {
		struct key *key = &ks->keys[i];
		struct hsm_key *handle = NULL;
		struct hsm_key *none = NULL;
		const struct key_wanted *w = wanted_for(wanted, count, key);
		if (key->state != KEY_ACTIVE || key->handle != NULL) {
			continue;
		}
		enum status st = ST_EFATAL;
		if (w != NULL) {
			st = find_handle(w, zone, key, &handle, d);
		}
		if (st == ST_OK && !atomic_compare_exchange_strong(&key->handle, &none, handle)) {
			hsm_key_unref(handle);
		}
		if (st == ST_ENOENT) {
			st = ST_EFATAL;
		}
		if (result == ST_OK) {
			result = st;
		}
	}
	return result;
}
