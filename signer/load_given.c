/* Keys that a zone is given: named by the operator, or shared by the zones of a policy. */
#include "signer/load.h"

#include "nsd-core/base/text.h"

#include <stdio.h>

/* The keystore was read, and what the configuration names is not to be had. */
static bool is_settled(enum status st)
{
	return st == ST_ENOENT || st == ST_EEXIST || st == ST_EPARSE || st == ST_ENOTSUP;
}

/* Of the keys in the DNSKEY set now, or with this load. */
static bool is_of_zone(const struct load *l, size_t i)
{
	enum key_state state = l->list.entries[i].key.state;
	bool chosen = false;
	for (size_t k = 0; k < l->wanted_count; k++) {
		chosen |= l->chosen[k] == i;
	}
	return chosen || state == KEY_PUBLISHED || state == KEY_ACTIVE || state == KEY_RETIRED;
}

/* A key that was not made for the zone may be there already, or have another's tag. */
static enum status check_beside(struct load *l, const struct key *key)
{
	for (size_t i = 0; i < l->list.count; i++) {
		const struct key *other = &l->list.entries[i].key;
		bool same = memcmp(other->public_point, key->public_point, HSM_PUBLIC_LEN) == 0;
		if (!is_of_zone(l, i)) {
			continue;
		}
		if (same && other->role != key->role) {
			diags_error(l->d,
				    "zone %s: its %s and its %s are one key: the policy for that "
				    "is csk",
				    l->zone, key_role_text(other->role), key_role_text(key->role));
			return ST_EREFUSED;
		}
		if (!same && other->tag == key->tag) {
			diags_warn(l->d,
				   "zone %s: its %s and its %s have one key tag, %u: validators "
				   "try both, and some do not: use another key",
				   l->zone, key_role_text(other->role), key_role_text(key->role),
				   key->tag);
		}
	}
	return ST_OK;
}

static enum status no_such_key(struct load *l, const struct key_wanted *w, const struct diags *why,
			       enum status st)
{
	diags_error(l->d, "zone %s: its %s is to be '%s': %s%s", l->zone, key_role_text(w->role),
		    source_ref(w->source), load_why(why, st),
		    is_settled(st) ? "; no key is made in its place" : "");
	return is_settled(st) ? ST_EFATAL : load_keystore_status(st);
}

/* On record with its name, unless an earlier start came so far. */
static enum status choose_named(struct load *l, const struct key_wanted *w, struct hsm_key *handle,
				size_t *chosen)
{
	struct hsm_id id;
	const uint8_t *octets = hsm_key_id(handle, &id.len);
	memcpy(id.data, octets, id.len);
	struct key_entry *entry = load_same(l, w, KEY_MADE, &id);
	bool fresh = entry == NULL;
	if (fresh) {
		enum status st = load_entry(l, w, handle, &entry);
		if (st != ST_OK) {
			return st;
		}
		entry->key.origin = KEY_NAMED;
	} else {
		hsm_key_unref(atomic_exchange(&entry->key.handle, handle));
	}
	entry->ref = source_ref(w->source);
	enum status st = check_beside(l, &entry->key);
	if (st == ST_OK) {
		enum status put = key_record_put(l->db, l->apex, entry, 1,
						 fresh ? KEY_PUT_FRESH : KEY_PUT_MADE);
		st = put == ST_OK ? ST_OK : load_record_error(l, put);
	}
	if (st == ST_OK) {
		*chosen = (size_t)(entry - l->list.entries);
		l->list.count += fresh;
	} else if (fresh) {
		hsm_key_unref(handle);
	}
	return st;
}

static enum status give_named(struct load *l, const struct key_wanted *w, size_t *chosen)
{
	struct hsm_id id;
	struct hsm_key *handle = NULL;
	struct diags why;
	diags_init(&why, 1);
	enum status st = source_identify(w->source, &id, &why);
	if (st == ST_OK) {
		st = source_find(w->source, id.data, id.len, NULL, &handle, &why);
	}
	st = st == ST_OK ? choose_named(l, w, handle, chosen) : no_such_key(l, w, &why, st);
	diags_fini(&why);
	return st;
}

/* The key that is on record for the policy. *handle: a reference. ST_ENOENT: there is none, or it
 * is gone and no zone ever had it. */
static enum status find_shared(struct load *l, const struct key_wanted *w, struct key *key,
			       struct hsm_key **handle)
{
	const char *policy = source_policy(w->source);
	const char *role = key_role_text(w->role);
	char id[TEXT_HEX_SIZE(HSM_ID_MAX)];
	struct diags why;
	enum status st = shared_key_get(l->db, policy, w->role, key);
	if (st != ST_OK) {
		if (st != ST_ENOENT) {
			diags_error(l->d, "policy %s: its shared %s on record cannot be read: %s",
				    policy, role, status_text(st));
		}
		return st == ST_ENOENT || st == ST_ENOMEM ? st : ST_EIO;
	}
	if (strcmp(key->keystore, keystore_name(w->store)) != 0) {
		diags_error(l->d,
			    "policy %s: its shared %s %u is in keystore %s: give it that one, "
			    "since rolling over to another is not supported yet",
			    policy, role, key->tag, key->keystore);
		return ST_EREFUSED;
	}
	diags_init(&why, 1);
	st = source_find(w->source, key->id, key->id_len, key->public_point, handle, &why);
	key_id_text(key->id, key->id_len, id);
	if (st == ST_ENOENT && key->state == KEY_MADE) {
		diags_warn(l->d,
			   "policy %s: its shared %s %u (id %s) was made and never used, and is "
			   "gone: makes another",
			   policy, role, key->tag, id);
	} else if (st == ST_ENOENT) {
		diags_error(l->d,
			    "policy %s: its shared %s %u (id %s) is on record and not in keystore "
			    "%s: bring it back; no other key is made in its place",
			    policy, role, key->tag, id, key->keystore);
		st = ST_EFATAL;
	} else if (st != ST_OK) {
		diags_error(l->d, "policy %s: its shared %s %u: %s", policy, role, key->tag,
			    load_why(&why, st));
		st = load_keystore_status(st);
	}
	diags_fini(&why);
	return st;
}

/* Under the source's lock, so that there is one. */
static enum status make_shared(struct load *l, const struct key_wanted *w, struct key *key)
{
	char owner[80];
	const char *policy = source_policy(w->source);
	snprintf(owner, sizeof(owner), "policy:%s", policy);
	enum status st = load_generate(l, w, owner, key);
	if (st != ST_OK) {
		return st;
	}
	/* Over one that was made and is gone. */
	st = shared_key_put(l->db, policy, key, KEY_PUT_FRESH);
	if (st == ST_EEXIST) {
		st = shared_key_put(l->db, policy, key, KEY_PUT_MADE);
	}
	if (st != ST_OK) {
		load_throw_away(l, w->store, key->handle);
		return load_record_error(l, st);
	}
	return ST_OK;
}

static enum status give_shared(struct load *l, const struct key_wanted *w, size_t *chosen)
{
	struct key key;
	struct hsm_key *handle = NULL;
	struct key_entry *entry;
	enum status st = find_shared(l, w, &key, &handle);
	if (st == ST_ENOENT) {
		st = make_shared(l, w, &key);
		handle = key.handle;
	}
	if (st != ST_OK) {
		return st;
	}
	struct hsm_id id = {.len = key.id_len};
	memcpy(id.data, key.id, key.id_len);
	entry = load_same(l, w, KEY_MADE, &id);
	if (entry != NULL) {
		hsm_key_unref(atomic_exchange(&entry->key.handle, handle));
		st = check_beside(l, &entry->key);
		*chosen = (size_t)(entry - l->list.entries);
		return st;
	}
	st = load_entry(l, w, handle, &entry);
	if (st != ST_OK) {
		return st;
	}
	entry->key.origin = KEY_SHARED;
	entry->key.times.made = key.times.made;
	st = check_beside(l, &entry->key);
	if (st == ST_OK) {
		enum status put = shared_key_take(l->db, source_policy(w->source), l->apex, entry);
		st = put == ST_OK ? ST_OK : load_record_error(l, put);
	}
	if (st == ST_OK) {
		*chosen = l->list.count++;
	} else {
		/* It is on record for the policy. */
		hsm_key_unref(handle);
	}
	return st;
}

enum status load_given(struct load *l, const struct key_wanted *w, size_t *chosen)
{
	if (source_ref(w->source) != NULL) {
		return give_named(l, w, chosen);
	}
	source_lock(w->source);
	enum status st = give_shared(l, w, chosen);
	source_unlock(w->source);
	return st;
}

static bool is_id(const struct key *key, const struct hsm_id *id)
{
	return key->id_len == id->len && memcmp(key->id, id->data, id->len) == 0;
}

/* What the policy names is another key than the active one, or none. An alias that was moved is not
 * the operator's word to the zone; another name in the configuration is. */
static enum status named_differs(struct load *l, const struct key_wanted *w, const struct key *key,
				 const struct hsm_id *id, const char *why, bool same_name)
{
	char mine[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char other[TEXT_HEX_SIZE(HSM_ID_MAX)];
	const char *ref = source_ref(w->source);
	const char *role = key_role_text(w->role);
	key_id_text(key->id, key->id_len, mine);
	if (id != NULL) {
		key_id_text(id->data, id->len, other);
	}
	if (same_name && id != NULL) {
		diags_warn(l->d,
			   "zone %s: '%s' names %s now: the zone goes on with its %s %u, which is "
			   "%s",
			   l->zone, ref, other, role, key->tag, mine);
		return ST_OK;
	}
	if (same_name) {
		diags_warn(l->d,
			   "zone %s: '%s' names no key now (%s): the zone goes on with its %s %u, "
			   "which is %s",
			   l->zone, ref, why, role, key->tag, mine);
		return ST_OK;
	}
	diags_error(l->d,
		    "zone %s: its active %s %u is %s, and the policy names '%s', which is %s: name "
		    "the key it has, since rolling over to another one is not supported yet",
		    l->zone, role, key->tag, mine, ref, id != NULL ? other : why);
	return ST_EREFUSED;
}

static enum status check_named(struct load *l, const struct key_wanted *w,
			       const struct key_entry *active)
{
	char before[HSM_REF_MAX + 1];
	struct hsm_id id;
	struct diags why;
	const char *ref = source_ref(w->source);
	bool same_name = false;
	if (active->key.origin == KEY_NAMED) {
		enum status st = key_record_ref(l->db, l->apex, active->seq, before);
		if (st != ST_OK) {
			return load_record_error(l, st);
		}
		same_name = strcmp(before, ref) == 0;
	}
	diags_init(&why, 1);
	enum status st = source_identify(w->source, &id, &why);
	if (st == ST_OK && is_id(&active->key, &id)) {
		struct key_entry renamed = *active;
		renamed.ref = ref;
		/* From now on this is the name that it goes by. */
		if (!same_name) {
			st = key_record_put(l->db, l->apex, &renamed, 1, KEY_PUT_OVER);
			st = st == ST_OK ? ST_OK : load_record_error(l, st);
		}
	} else if (st == ST_OK || is_settled(st)) {
		st = named_differs(l, w, &active->key, st == ST_OK ? &id : NULL, load_why(&why, st),
				   same_name);
	} else if (st != ST_ENOMEM) {
		/* The keystore is away: that is told of with the key. */
		st = ST_OK;
	}
	diags_fini(&why);
	return st;
}

enum status load_check_given(struct load *l, const struct key_wanted *w,
			     const struct key_entry *active)
{
	struct key shared;
	if (source_ref(w->source) != NULL) {
		return check_named(l, w, active);
	}
	const char *policy = source_policy(w->source);
	enum status st = shared_key_get(l->db, policy, w->role, &shared);
	if (st != ST_OK && st != ST_ENOENT) {
		return load_record_error(l, st);
	}
	if (st == ST_ENOENT || !key_is_same(&shared, &active->key)) {
		diags_warn(l->d,
			   "zone %s: its %s %u is not the one that the zones of policy %s share: "
			   "it goes on with it, since rolling over is not supported yet",
			   l->zone, key_role_text(w->role), active->key.tag, policy);
	}
	return ST_OK;
}
