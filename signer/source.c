/* Keys that zones have in common: found, and proven, once for all that are loaded together. */
#include "signer/load.h"

#include "nsd-core/base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT_MS 60000

struct key_source {
	char policy[64];
	enum key_role role;
	struct keystore *store;
	char *ref;		  /* NULL: shared */
	pthread_mutex_t making;	  /* source_lock() */
	pthread_mutex_t lock;	  /* what is below; held while the keystore is asked */
	struct hsm_key *found;	  /* NULL: none yet */
	int64_t found_ms;	  /* clock_mono_ms() */
	struct hsm_id identified; /* length 0: not yet */
	int64_t identified_ms;
};

enum status key_source_new(const char *policy, enum key_role role, struct keystore *store,
			   const char *ref, struct key_source **out)
{
	struct key_source *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ST_ENOMEM;
	}
	if (ref != NULL) {
		s->ref = strdup(ref);
		if (s->ref == NULL) {
			free(s);
			return ST_ENOMEM;
		}
	}
	snprintf(s->policy, sizeof(s->policy), "%s", policy);
	s->role = role;
	s->store = store;
	pthread_mutex_init(&s->making, NULL);
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return ST_OK;
}

void key_source_free(struct key_source *s)
{
	if (s == NULL) {
		return;
	}
	hsm_key_unref(s->found);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->making);
	free(s->ref);
	free(s);
}

const char *source_ref(const struct key_source *s)
{
	return s->ref;
}

const char *source_policy(const struct key_source *s)
{
	return s->policy;
}

void source_lock(struct key_source *s)
{
	pthread_mutex_lock(&s->making);
}

void source_unlock(struct key_source *s)
{
	pthread_mutex_unlock(&s->making);
}

static bool is_found(const struct key_source *s, const uint8_t *id, size_t id_len,
		     const uint8_t *expect)
{
	size_t len;
	if (s->found == NULL || clock_mono_ms() - s->found_ms > KEPT_MS) {
		return false;
	}
	const uint8_t *found = hsm_key_id(s->found, &len);
	return len == id_len && memcmp(found, id, len) == 0 &&
	       (expect == NULL || memcmp(expect, hsm_key_public(s->found), HSM_PUBLIC_LEN) == 0);
}

enum status source_find(struct key_source *s, const uint8_t *id, size_t id_len,
			const uint8_t *expect, struct hsm_key **out, struct diags *why)
{
	struct hsm_key *key = NULL;
	enum status st = ST_OK;
	pthread_mutex_lock(&s->lock);
	if (!is_found(s, id, id_len, expect)) {
		st = keystore_find(s->store, id, id_len, expect, &key, why);
	}
	if (st == ST_OK && key != NULL) {
		hsm_key_unref(s->found);
		s->found = key;
		s->found_ms = clock_mono_ms();
	}
	if (st == ST_OK) {
		*out = hsm_key_ref(s->found);
	}
	pthread_mutex_unlock(&s->lock);
	return st;
}

enum status source_identify(struct key_source *s, struct hsm_id *out, struct diags *why)
{
	enum status st = ST_OK;
	pthread_mutex_lock(&s->lock);
	if (s->identified.len == 0 || clock_mono_ms() - s->identified_ms > KEPT_MS) {
		st = keystore_identify(s->store, s->ref, &s->identified, why);
		if (st == ST_OK) {
			s->identified_ms = clock_mono_ms();
		} else {
			s->identified.len = 0;
		}
	}
	if (st == ST_OK) {
		*out = s->identified;
	}
	pthread_mutex_unlock(&s->lock);
	return st;
}
