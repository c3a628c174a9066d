/* The inside of keyset_load(), shared by its parts. Private to signer/. */
#pragma once

#include "signer/record.h"

#include "nsd-core/base/name.h"

#define CHOSEN_NONE SIZE_MAX

/* One keyset_load() under way. */
struct load {
	struct store *db;
	const uint8_t *apex;
	const struct key_wanted *wanted;
	size_t wanted_count;
	int64_t now;
	struct diags *d;
	char zone[NAME_TEXT_MAX];
	struct key_list list;
	size_t chosen[KEYSET_MAX]; /* for each wanted: the entry that comes into use, if any */
	unsigned tag_collisions;
};

/* load.c. What a keystore's fault means for the zone: that it cannot be had now, where it is not
 * graver. */
enum status load_keystore_status(enum status st);
/* The first finding in 'why', or what st means. */
const char *load_why(const struct diags *why, enum status st);
/* The key with that id, through the source where there is one. */
enum status load_find(const struct key_wanted *w, const uint8_t *id, size_t id_len,
		      const uint8_t *expect, struct hsm_key **out, struct diags *why) MUST_USE;
/* A new pair; 'owner' is for its label. Its tag is no other's of the zone. */
enum status load_generate(struct load *l, const struct key_wanted *w, const char *owner,
			  struct key *out) MUST_USE;
/* An entry for a key with this handle (taken), not counted yet. */
enum status load_entry(struct load *l, const struct key_wanted *w, struct hsm_key *handle,
		       struct key_entry **out) MUST_USE;
/* Says what st means for the record, and returns what it means for the load. */
enum status load_record_error(struct load *l, enum status st);
/* The pair is deleted where its keystore lets it. */
void load_throw_away(struct load *l, struct keystore *store, struct hsm_key *handle);
/* An entry of the list that has this key in this role and state. */
struct key_entry *load_same(struct load *l, const struct key_wanted *w, enum key_state state,
			    const struct hsm_id *id);

/* load_given.c. The key that w's source gives: an entry, made, is chosen. */
enum status load_given(struct load *l, const struct key_wanted *w, size_t *chosen) MUST_USE;
/* The active key against what the source gives now. ST_OK: it goes on. */
enum status load_check_given(struct load *l, const struct key_wanted *w,
			     const struct key_entry *active) MUST_USE;

/* source.c. Zones that ask within a minute get what was found then. */
enum status source_find(struct key_source *s, const uint8_t *id, size_t id_len,
			const uint8_t *expect, struct hsm_key **out, struct diags *why) MUST_USE;
enum status source_identify(struct key_source *s, struct hsm_id *out, struct diags *why) MUST_USE;
/* What it is named by; NULL: zones share it. */
const char *source_ref(const struct key_source *s);
const char *source_policy(const struct key_source *s);
/* Held by the one zone that makes or takes the shared key. */
void source_lock(struct key_source *s);
void source_unlock(struct key_source *s);
